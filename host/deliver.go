package host

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

// watchInterval is how often a watch looks for what is new: often enough that
// people see things arrive, seldom enough that looking costs nothing.
const watchInterval = time.Second

// Sync maps and delivers what waits, to every destination, until nothing is
// due or ctx is done. What destinations do is in the report; the error is
// carl's own trouble. When another sync is at work it delivers nothing, and says
// so in the report. It may be called beside Record. Beside the deliveries it
// refreshes the entitlements, where a gate asked for that.
func (h *Host) Sync(ctx context.Context) (sync.Report, error) {
	if !h.home.Exists() {
		return h.SyncStatus(ctx) // nothing waits, and looking must not make a home
	}
	o, err := h.syncOptions()
	if err != nil {
		return sync.Report{}, err
	}
	return sync.Run(ctx, o)
}

// Watch delivers what is recorded, as it is recorded, until ctx is done. each
// is told how a round ended that did something or failed; it may be nil.
func (h *Host) Watch(ctx context.Context, each func(sync.Report, error)) error {
	o, err := h.syncOptions()
	if err != nil {
		return err
	}
	return sync.Watch(ctx, o, watchInterval, each)
}

// SyncStatus says what waits where, and why, without sending anything. It
// loads mappers, where steps wait, to count the signals that they will become.
func (h *Host) SyncStatus(ctx context.Context) (sync.Report, error) {
	source := noSource // looking must not make a home
	if h.home.Exists() {
		source = h.anySource()
	}
	o, err := h.optionsWith(source)
	if err != nil {
		return sync.Report{}, err
	}
	return sync.Status(ctx, o)
}

// Resume lifts the pause and the back-off of a destination.
func (h *Host) Resume(ctx context.Context, destination string) error {
	o, err := h.optionsWith(noSource)
	if err != nil {
		return err
	}
	return sync.Resume(ctx, o, destination)
}

// LoggedIn lifts the pause of destinations that waited for a login.
func (h *Host) LoggedIn(ctx context.Context) error {
	o, err := h.optionsWith(noSource)
	if err != nil {
		return err
	}
	return sync.LoggedIn(ctx, o)
}

// Purge drops what waits for destinations that can reach the network: what
// follows when consent is revoked.
func (h *Host) Purge(ctx context.Context) error {
	o, err := h.optionsWith(noSource)
	if err != nil {
		return err
	}
	return sync.Purge(ctx, o)
}

// DeadLetters returns what a destination, or "" for all, will not get without help.
func (h *Host) DeadLetters(destination string) ([]sync.DeadLetter, error) {
	return sync.DeadLetters(h.spool, destination)
}

// FindDead returns the dead letters whose id begins with id. The error is carl.dlq.not_found.
func (h *Host) FindDead(destination, id string) ([]sync.DeadLetter, error) {
	return sync.FindDead(h.spool, destination, id)
}

// ReplayDead has the next sync try the letters again, and returns how many.
func (h *Host) ReplayDead(letters ...sync.DeadLetter) (int, error) {
	return sync.Replay(h.spool, letters...)
}

// DropDead removes the letters for good, and returns how many went.
func (h *Host) DropDead(letters ...sync.DeadLetter) (int, error) {
	return sync.Drop(h.spool, letters...)
}

// OnProgress sets what [Host.Sync] and [Host.Watch] tell how many events a
// destination has acknowledged. It is set before them.
func (h *Host) OnProgress(f func(destination string, acknowledged int)) { h.progress = f }

// source is the CloudEvents source of this installation.
func (h *Host) source() (string, error) {
	id, err := h.home.InstallID()
	if err != nil {
		return "", err
	}
	return axon.Source(id), nil
}

// noSource stands for the source where events are looked at and never sent.
var noSource = axon.Source(strings.Repeat("0", 32))

// anySource is source, or noSource in a home that has no id yet and cannot be written.
func (h *Host) anySource() string {
	source, err := h.source()
	if err != nil {
		h.log.Warn("this installation has no id, and none can be made", "error", err)
		return noSource
	}
	return source
}

// syncOptions is what a delivery needs to know, told from the home as it is now.
func (h *Host) syncOptions() (sync.Options, error) {
	source, err := h.source()
	if err != nil {
		return sync.Options{}, err
	}
	o, err := h.optionsWith(source)
	o.Tasks = []sync.Task{{Name: "entitlements", Run: h.refreshIfAsked}}
	return o, err
}

func (h *Host) optionsWith(source string) (sync.Options, error) {
	o := sync.Options{
		Spool:     h.spool,
		Ledger:    h.ledger,
		Lock:      filepath.Join(h.home.Paths.Spool, "sync.lock"),
		Source:    source,
		Redactor:  h.redactor,
		Consent:   h.consent,
		Consented: h.consented,
		Exact:     true,
		Log:       logTo(h.log.Named("sync")),
		Progress:  h.progress,
	}
	state, err := h.home.Consent().State(h.environ)
	if err != nil {
		return sync.Options{}, err
	}
	switch {
	case state.OverriddenBy != "" && state.Stored:
		o.Withheld = state.OverriddenBy + " forbids telemetry"
		o.WithheldHint = "unset " + state.OverriddenBy
	case state.Granted && h.offline:
		o.Withheld = "carl is offline"
		o.WithheldHint = "run without --offline, and without `offline: true` in config.yaml"
	}
	loader := h.newLoader()
	for i := range h.config.Destinations {
		if d := &h.config.Destinations[i]; receivesSignals(d) || receivesLedger(d) {
			o.Destinations = append(o.Destinations, h.destination(d, loader))
		}
	}
	return o, nil
}

// receivesSignals reports whether a destination is to get signals: it is
// switched on, and its topics are not the ledger alone.
func receivesSignals(d *home.Destination) bool {
	return d.Enabled && (d.Topics == nil || slices.Contains(d.Topics, world.Signals.String()))
}

// receivesLedger reports whether a destination is to get the blocks of the
// ledger: its topics name it, or it is the platform and names none.
func receivesLedger(d *home.Destination) bool {
	if d.Topics == nil {
		return d.Enabled && d.Plugin == campForwarder
	}
	return d.Enabled && slices.Contains(d.Topics, world.Ledger.String())
}

// forwarded is what the ledger asks before it lets go of a file.
func (h *Host) forwarded(ledgerID string) (next uint64, some bool) {
	o := sync.Options{Spool: h.spool, Ledger: h.ledger, Consent: h.consent, Consented: h.consented}
	for i := range h.config.Destinations {
		if d := &h.config.Destinations[i]; receivesLedger(d) {
			o.Destinations = append(o.Destinations, sync.Destination{Name: d.Name, Ledger: true, Network: h.reachesNetwork(d)})
		}
	}
	return sync.Forwarded(o, ledgerID)
}

// LedgerPending is how many of the first size blocks of the ledger the slowest
// destination that gets them is still to have.
func (h *Host) LedgerPending(size uint64) uint64 {
	next, some := h.forwarded(h.ledger.ID())
	if !some {
		return 0
	}
	return size - min(size, next)
}

// ReplayLedger forwards what destinations are still to have of the ledger, now,
// whatever they asked carl to wait; a pause stays one. It says what happened; the
// error is carl.constitutional.forward_failed where a destination holds another
// block, or more of them than there are.
func (h *Host) ReplayLedger(ctx context.Context) (sync.Report, error) {
	if !h.home.Exists() {
		return h.SyncStatus(ctx) // there is no ledger, and looking must not make a home
	}
	o, err := h.syncOptions()
	if err != nil {
		return sync.Report{}, err
	}
	o.Tasks, o.AtOnce = nil, true
	o.Destinations = slices.DeleteFunc(o.Destinations, func(d sync.Destination) bool { return !d.Ledger })
	for i := range o.Destinations {
		o.Destinations[i].NoSignals = true
	}
	report, err := sync.Run(ctx, o)
	if err == nil {
		err = report.Alarm()
	}
	return report, err
}

// consent is asked before each delivery. Offline it is withheld: a plugin that
// tried all the same would take the refusal for a fault of its settings.
func (h *Host) consent() (granted bool, epoch uint32) {
	state, err := h.home.Consent().State(h.environ)
	if err != nil {
		h.log.Warn("consent cannot be read, so none is given", "error", err)
		return false, 0
	}
	return state.Granted && !h.offline, state.Epoch
}

// consented is whether the user has consented, whatever forbids sending at this
// moment. Where that cannot be read, nothing is given up for it.
func (h *Host) consented() bool {
	state, err := h.home.Consent().State(h.environ)
	return err != nil || state.Stored
}

func (h *Host) destination(d *home.Destination, l *loader) sync.Destination {
	settings, _ := h.settings(d) // its error is Load's
	return sync.Destination{
		Name:      d.Name,
		Ledger:    receivesLedger(d),
		NoSignals: !receivesSignals(d),
		Network:   h.reachesNetwork(d),
		Settings:  settings,
		LedgerSettings: func(key string) ([]byte, error) {
			return h.settingsFor(d, key)
		},
		Login: d.Plugin == campForwarder,
		LoadForwarder: func(ctx context.Context) (sync.Forwarder, io.Closer, error) {
			if err := h.loggedIn(d); err != nil {
				return nil, nil, err
			}
			return l.forwarder(ctx, d)
		},
		LoadMapper: func(ctx context.Context) (sync.Mapper, io.Closer, error) {
			return l.mapper(ctx, d.Mapper)
		},
		Load: func(ctx context.Context) (sync.Mapper, sync.Forwarder, io.Closer, error) {
			if err := h.loggedIn(d); err != nil {
				return nil, nil, nil, err
			}
			mapper, closeMapper, err := l.mapper(ctx, d.Mapper)
			if err != nil {
				return nil, nil, nil, err
			}
			forwarder, closeForwarder, err := l.forwarder(ctx, d)
			if err != nil {
				closeMapper.Close()
				return nil, nil, nil, err
			}
			return mapper, forwarder, closers{closeMapper, closeForwarder}, nil
		},
	}
}

// loggedIn fails for the platform where nobody is logged in.
func (h *Host) loggedIn(d *home.Destination) error {
	if d.Plugin != campForwarder {
		return nil
	}
	if _, err := h.token(); err != nil {
		return &world.Failure{Kind: world.Unauthorized, Message: "nobody is logged in"}
	}
	return nil
}

// logTo writes the lines of plugins and deliveries to a log.
func logTo(log hclog.Logger) func(world.LogLevel, string) {
	return func(level world.LogLevel, message string) {
		switch level {
		case world.LogTrace:
			log.Trace(message)
		case world.LogDebug:
			log.Debug(message)
		case world.LogInfo:
			log.Info(message)
		case world.LogWarn:
			log.Warn(message)
		default:
			log.Error(message)
		}
	}
}
