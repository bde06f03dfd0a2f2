package host

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/tier"
)

// offlineRoot is the public root key of offline licences that a build bakes in:
//
//	go build -ldflags "-X carl.camp/carl/host.offlineRoot=<member x of the JWK>"
//
// `offline_root` in config.yaml comes before it.
var offlineRoot string

// newStore returns the entitlements of a home. The error is carl.config.invalid.
func newStore(hm *home.Home, c *home.Config) (*entitle.Store, error) {
	var root ed25519.PublicKey
	text := c.OfflineRoot
	if text == "" {
		text = offlineRoot
	}
	if text != "" {
		var err error
		if root, err = entitle.ParseOfflineRoot(text); err != nil {
			return nil, err
		}
	}
	return entitle.New(entitle.Options{
		Files: entitle.Files{
			Cache:      hm.Paths.Entitlements,
			Pin:        hm.Paths.JWKSPin,
			Clock:      hm.Paths.Clock,
			Witness:    hm.Paths.Witness,
			Lock:       hm.Paths.Guard,
			Refreshing: hm.Paths.Refreshing,
		},
		URL:         c.Camp.URL,
		Strict:      c.StrictPinning,
		OfflineRoot: root,
		InstallID:   hm.KnownInstallID,
		Lower:       tier.Lower,
	}), nil
}

// Entitlements tells what is cached, without asking the network. A damaged
// cache is moved aside.
func (h *Host) Entitlements() entitle.State { return h.entitlements.Load() }

// RefreshEntitlements asks the platform, verifies and caches what it signed,
// and tells what holds now, also beside an error. Without an error the platform
// answered. See [entitle.Store.Refresh] for the errors; nobody being logged in
// is carl.camp.unauthorized, and leaves everything as it is.
func (h *Host) RefreshEntitlements(ctx context.Context) (entitle.State, error) {
	client, err := h.platform(true)
	if err == nil {
		err = h.home.Create()
	}
	if err != nil {
		return h.entitlements.Load(), err
	}
	state, err := h.entitlements.Refresh(ctx, client)
	h.gate.Reload()
	return state, err
}

// RepinKeys pins the platform's keys anew, on the word of somebody who compared
// the thumbprints (RFC 7638) with what the platform announced.
func (h *Host) RepinKeys(ctx context.Context, expect ...string) (*entitle.Pin, error) {
	client, err := h.platform(false)
	if err == nil {
		err = h.home.Create()
	}
	if err != nil {
		return nil, err
	}
	pin, err := h.entitlements.Repin(ctx, client, expect...)
	h.gate.Reload()
	return pin, err
}

// ImportLicense verifies an offline licence and keeps it.
func (h *Host) ImportLicense(license string) (entitle.State, error) {
	if err := h.home.Create(); err != nil {
		return entitle.State{}, err
	}
	state, err := h.entitlements.Import(license)
	h.gate.Reload()
	return state, err
}

// InspectToken verifies a token of the platform, or a licence, as if it came
// now, and keeps nothing of it. keys, where not nil, is a JSON Web Key Set to
// verify a token with instead of the pinned keys.
func (h *Host) InspectToken(token string, keys []byte) (t *entitle.Token, license bool, err error) {
	var set *entitle.KeySet
	if keys != nil {
		if set, err = entitle.ParseKeySet(keys); err != nil {
			return nil, false, err
		}
	}
	return h.entitlements.Inspect(token, set)
}

// ForgetEntitlements drops the cached token of the platform, as logging out
// does. A licence stays.
func (h *Host) ForgetEntitlements() error {
	err := h.entitlements.Forget()
	h.gate.Reload()
	return err
}

// platform is the platform's client; with who is logged in, if asked.
func (h *Host) platform(loggedIn bool) (*camp.Client, error) {
	o := camp.ClientOptions{
		Proxy:   h.config.Camp.Proxy,
		CAFile:  h.config.Camp.CAFile,
		Offline: h.offline,
		Version: Version,
	}
	var err error
	if o.URL, err = camp.ParseURL(h.config.Camp.URL); err != nil {
		return nil, err
	}
	if o.Paths, err = camp.DefaultPaths().Override(h.config.Camp.Paths); err != nil {
		return nil, err
	}
	if loggedIn {
		if o.Token, err = h.token(); err != nil {
			return nil, err
		}
	}
	return camp.NewClient(o)
}

// Check tells whether the local tier has a feature: what config.yaml declares,
// or an offline licence. See package tier.
func (h *Host) Check(feature string) tier.Decision { return h.gate.Check(feature) }

// CheckRemote tells whether a feature is allowed, with what the platform signed
// taken into account as far as it is cached. It never touches the network; where
// a refresh would help, it is left to the background. An allow that rests on the
// cache is recorded as the step tier_remote_grace.
func (h *Host) CheckRemote(feature string) tier.Decision {
	d := h.gate.CheckRemote(feature)
	if d.By == tier.ByGrace || d.By == tier.ByGrant {
		h.recordGrace(d)
	}
	return d
}

// LookRemote answers as [Host.CheckRemote], and neither records anything nor
// asks for a refresh: for those who only list.
func (h *Host) LookRemote(feature string) tier.Decision {
	return tier.New(tier.Options{Declared: tier.Parse(h.config.Tier), Load: h.entitlements.Look}).CheckRemote(feature)
}

func (h *Host) recordGrace(d tier.Decision) {
	yes := true
	state := h.gate.State()
	metadata := []byte(`{"feature":` + strconv.Quote(d.Feature) + `,"by":` + strconv.Quote(string(d.By)) +
		`,"tier":` + strconv.Quote(d.Tier.String()) + `,"status":` + strconv.Quote(string(state.TokenStatus())) +
		`,"age_s":` + strconv.FormatInt(int64(state.Age/time.Second), 10) + `}`)
	if err := h.Record(step.Step{Action: step.Gate, Name: "tier_remote_grace", Success: &yes, Metadata: metadata}); err != nil {
		h.log.Warn("the gate's decision could not be recorded; it stands", "feature", d.Feature, "error", err)
	}
}

// refreshMark is the file that asks the next sync of any process for a refresh.
// It lies in the cache: losing it costs one refresh.
func refreshMark(hm *home.Home) string { return filepath.Join(hm.Paths.Cache, "entitlements.asked") }

// askRefresh has the entitlements refreshed in the background: by this
// program's own goroutine where it has one, else by the next sync of any
// process. It waits for nothing.
func (h *Host) askRefresh() {
	if h.offline {
		return
	}
	if _, err := h.token(); err != nil {
		return // whom would the platform answer?
	}
	h.refreshAsked.Store(true)
	if h.background {
		select {
		case h.refreshWanted <- struct{}{}:
		default:
		}
		return
	}
	if err := h.markRefresh(); err != nil {
		h.log.Debug("no refresh of the entitlements can be asked for", "error", err)
	}
}

func (h *Host) markRefresh() error {
	if err := h.home.Create(); err != nil {
		return err
	}
	if err := private.MkdirAll(h.home.Paths.Cache); err != nil {
		return err
	}
	f, err := os.OpenFile(refreshMark(h.home), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// RefreshAsked reports whether a gate of this host asked for a refresh.
func (h *Host) RefreshAsked() bool { return h.refreshAsked.Load() }

// refreshIfAsked does what a gate asked for. Nobody waits for its outcome, and
// so it has none.
func (h *Host) refreshIfAsked(ctx context.Context) error {
	if h.offline || !h.mayRefresh() {
		return nil
	}
	// Removed first: what a gate asks for from now on is another refresh.
	if err := os.Remove(refreshMark(h.home)); err == nil {
		h.refreshQuietly(ctx)
	} else if !errors.Is(err, fs.ErrNotExist) {
		h.log.Debug("whether a refresh of the entitlements was asked for cannot be told", "error", err)
	}
	return nil
}

// mayRefresh keeps a host that syncs again and again, as a watch does, from
// asking the platform more often than the background would.
func (h *Host) mayRefresh() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refreshTried.IsZero() || time.Since(h.refreshTried) >= backgroundInterval
}

func (h *Host) refreshQuietly(ctx context.Context) {
	h.mu.Lock()
	h.refreshTried = time.Now()
	h.mu.Unlock()
	if _, err := h.RefreshEntitlements(ctx); err != nil {
		h.log.Debug("the entitlements were not refreshed", "code", string(fault.CodeOf(err)), "error", err, "check", failedCheckOf(err))
	}
}

// failedCheckOf names the check that a token failed, for the debug log alone.
func failedCheckOf(err error) string {
	var r *entitle.Rejection
	if errors.As(err, &r) {
		return string(r.Check)
	}
	return ""
}

// runRefreshes refreshes the entitlements when a gate asks, until ctx ends.
func (h *Host) runRefreshes(ctx context.Context) {
	for {
		select {
		case <-h.refreshWanted:
		case <-ctx.Done():
			return
		}
		h.refreshQuietly(ctx)
		if !sleep(ctx, backgroundInterval) {
			return
		}
	}
}
