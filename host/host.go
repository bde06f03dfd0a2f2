// Package host joins carl's parts for a Go program that embeds carl: it opens
// a home, records steps, and delivers them. The command carl is built on it.
//
//	h, err := host.Open(host.Options{}, host.BackgroundSync())
//	if err != nil { … }
//	defer h.Close()
//	h.Record(step.Step{Action: step.LLMReply, Name: "answer"})
//
// Recording never waits: it loads no plugin, touches no network and takes no
// lock that another process could hold. Delivery happens in [Host.Sync], which
// a program calls, or asks for with [BackgroundSync]. The library never starts
// a process.
package host

import (
	"context"
	"errors"
	"os"
	gosync "sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"carl.camp/carl/host/constitution"
	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/ledger"
	"carl.camp/carl/host/redact"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/tier"
)

// Version is carl's own version (semver).
const Version = "0.1.0"

// Options say which home to open, and how. The zero value is the user's own
// home, silent, with the network allowed as the home's config has it.
type Options struct {
	// Home is the folder; "" means $CARL_HOME, else ~/.carl.
	Home string
	// OnStep, when set, sees every recorded step, redacted, from the goroutine
	// that recorded it and after it is in the spool. Its errors and panics are
	// logged at WARN and change nothing. It must not block, and may keep no part
	// of the step's JSON members: it clones the step to keep it.
	OnStep func(step.Step) error
	// OnVerdict, when set, sees every verdict of [Host.Evaluate] once it is
	// recorded. Its errors and panics are logged at WARN and change nothing. It
	// must not block.
	OnVerdict func(*Verdict) error
	// Log is where the host and its plugins log; nil discards.
	Log hclog.Logger
	// Offline keeps every plugin off the network, whatever the config says.
	Offline bool
	// Compiling is called before a plugin is compiled anew, which takes about a
	// second and happens once per plugin; nil is not called.
	Compiling func(plugin string)
	// Environ is the environment to read carl's variables from, as os.Environ
	// gives it; nil means the process's own.
	Environ []string
}

// Option changes what [Open] starts.
type Option func(*Host)

// BackgroundSync makes the host deliver from a goroutine of its own: shortly
// after the first step, then once a minute, until Close. What Close leaves
// undelivered waits in the spool for the next sync of any process. It also
// refreshes the entitlements when a gate asks for it, at most once a minute.
func BackgroundSync() Option {
	return func(h *Host) { h.background = true }
}

// Host is an open home. Its methods may be called from several goroutines.
type Host struct {
	home      *home.Home
	config    *home.Config
	spool     *spool.Spool
	redactor  *redact.Redactor
	log       hclog.Logger
	onStep    func(step.Step) error
	offline   bool
	environ   []string
	compiling func(string)

	entitlements *entitle.Store
	gate         *tier.Gate
	ledger       *ledger.Ledger
	onVerdict    func(*Verdict) error

	background    bool
	recorded      chan struct{} // capacity 1: something was recorded
	refreshWanted chan struct{} // capacity 1: a gate asked for a refresh
	refreshAsked  atomic.Bool
	stop          context.CancelFunc
	running       gosync.WaitGroup // the background goroutines

	progress func(string, int)

	mu       gosync.Mutex
	audience audience      // guarded by mu
	writer   *spool.Writer // guarded by mu; nil until the first step that somebody receives
	closed   bool          // guarded by mu

	constitution *constitution.Constitution // guarded by mu; the one that was asked last

	refreshTried time.Time // guarded by mu; when the background last asked for entitlements
}

// Open opens a home. It creates nothing: the first recorded step does. Errors
// are carl.home.unusable, carl.config.invalid and the like; nothing was
// touched then.
func Open(o Options, with ...Option) (*Host, error) {
	dir, err := home.Locate(o.Home)
	if err != nil {
		return nil, err
	}
	hm, err := home.Open(dir)
	if err != nil {
		return nil, err
	}
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	config, err := hm.Config(environ)
	if err != nil {
		return nil, err
	}
	mode, err := spool.ParseSync(config.Spool.Sync)
	if err != nil {
		return nil, err
	}
	sp, err := spool.Open(hm.Paths.Dir, spool.Options{
		Sync:     mode,
		MaxBytes: config.Spool.MaxBytes,
		MaxAge:   config.Spool.MaxAge,
	})
	if err != nil {
		return nil, err
	}
	entitlements, err := newStore(hm, config)
	if err != nil {
		return nil, err
	}
	h := &Host{
		home:          hm,
		config:        config,
		spool:         sp,
		log:           o.Log,
		onStep:        o.OnStep,
		offline:       o.Offline || config.Offline,
		environ:       environ,
		compiling:     o.Compiling,
		entitlements:  entitlements,
		onVerdict:     o.OnVerdict,
		recorded:      make(chan struct{}, 1),
		refreshWanted: make(chan struct{}, 1),
	}
	h.ledger = ledger.Open(ledger.Options{Paths: ledger.Paths{
		Base:     hm.Paths.Ledger,
		Key:      hm.Paths.LedgerKey,
		Pending:  hm.Paths.LedgerPending,
		Receipts: hm.Paths.LedgerReceipts,
	}, Forwarded: h.forwarded, ReceiptKey: config.Camp.ReceiptKey})
	h.gate = tier.New(tier.Options{Declared: tier.Parse(config.Tier), Load: entitlements.Load, Refresh: h.askRefresh})
	if h.log == nil {
		h.log = hclog.NewNullLogger()
	}
	if h.compiling == nil {
		h.compiling = func(string) {}
	}
	h.redactor = redact.FromEnviron(environ, h.ownSecrets()...)
	h.audience = audience{host: h}
	for _, option := range with {
		option(h)
	}
	if h.background {
		ctx, stop := context.WithCancel(context.Background())
		h.stop = stop
		h.running.Go(func() { h.runBackground(ctx) })
		h.running.Go(func() { h.runRefreshes(ctx) })
	}
	return h, nil
}

// ownSecrets are the values that the redactor replaces wherever they occur. A
// store that cannot be read has none that could be used either: doctor names
// it, and recording goes on.
func (h *Host) ownSecrets() []string {
	var values []string
	if token, err := h.home.Credentials().Token(h.environ); err == nil && token.Value != "" {
		values = append(values, token.Value)
	}
	stored, err := h.home.Secrets().Values()
	if err != nil {
		h.log.Warn("the stored secrets cannot be read, and are not redacted by value", "error", err)
	}
	return append(values, stored...)
}

// Home returns the open home.
func (h *Host) Home() *home.Home { return h.home }

// Config returns the home's configuration. It must not be changed.
func (h *Host) Config() *home.Config { return h.config }

// Close ends the background delivery, makes durable what was recorded, as
// spool.sync has it, and frees the spool. A second Close does nothing. The
// error says that a power cut may lose steps; the end of the process does not.
func (h *Host) Close() error {
	if h.stop != nil {
		h.stop()
		h.running.Wait()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	if h.writer == nil {
		return nil
	}
	return h.writer.Close()
}

// The rhythm of the background goroutine.
const (
	// settleTime lets the first steps gather, so that they leave as one batch.
	settleTime = time.Second
	// backgroundInterval keeps a long run's telemetry flowing without a
	// request for every step.
	backgroundInterval = time.Minute
)

// runBackground delivers until ctx ends.
func (h *Host) runBackground(ctx context.Context) {
	for {
		select {
		case <-h.recorded:
		case <-ctx.Done():
			return
		}
		if !sleep(ctx, settleTime) {
			return
		}
		if _, err := h.Sync(ctx); err != nil && !errors.Is(err, context.Canceled) {
			h.log.Warn("background delivery failed; everything is kept", "code", string(fault.CodeOf(err)), "error", err)
		}
		if !sleep(ctx, backgroundInterval) {
			return
		}
	}
}

// sleep waits, and reports whether it waited to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
