package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/plugins"
)

// Diagnosis is what [Doctor] found.
type Diagnosis struct {
	Checks []home.Check
	// Entitlements is what is cached of them; its zero value where the home
	// could not be opened.
	Entitlements entitle.State
}

// Doctor checks everything that can be wrong with a home, without touching the
// network and without changing anything but caches. Each row that is not well
// names what mends it.
func Doctor(ctx context.Context, o Options) Diagnosis {
	dir, err := home.Locate(o.Home)
	if err != nil {
		return Diagnosis{Checks: []home.Check{failedCheck("home", err)}}
	}
	hm, err := home.Open(dir)
	if err != nil {
		return Diagnosis{Checks: []home.Check{failedCheck("home", err)}}
	}
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	checks := hm.Checks(environ)
	checks = append(checks, checkBundled())
	checks = append(checks, checkInstalled(hm)...)
	checks = append(checks, checkPlatform())
	if slices.ContainsFunc(checks, func(c home.Check) bool { return c.Name == "config" && c.Status == home.Fail }) {
		return Diagnosis{Checks: checks} // nothing can be said of destinations that cannot be read
	}
	h, err := Open(o)
	if err != nil {
		return Diagnosis{Checks: append(checks, failedCheck("delivery", err))}
	}
	defer h.Close()
	state := h.entitlements.Look()
	checks = append(checks, h.checkEntitlements(&state), checkKeys(&state), h.checkLedger(), h.checkIsolation(), h.checkCache(), h.checkSpool())
	return Diagnosis{Checks: append(checks, h.checkDestinations(ctx)...), Entitlements: state}
}

func failedCheck(name string, err error) home.Check {
	fix := fault.HintOf(err)
	if fix == "" || strings.Contains(fix, "`carl doctor`") { // which is what runs here
		fix = "look at space, owner and mode of what is named; a file that is no use can be moved away"
	}
	return home.Check{Name: name, Status: home.Fail, Detail: err.Error(), Fix: fix}
}

// checkBundled says whether this build has its plugins inside.
func checkBundled() home.Check {
	var missing []string
	all := plugins.Manifests()
	for _, b := range all {
		if !plugins.Has(b.Name) {
			missing = append(missing, b.Name)
		}
	}
	if len(missing) > 0 {
		return home.Check{Name: "bundled plugins", Status: home.Fail, Detail: "this build lacks " + strings.Join(missing, ", "),
			Fix: "build carl with `make build`, which builds its plugins first"}
	}
	return home.Check{Name: "bundled plugins", Status: home.OK, Detail: fmt.Sprintf("%d inside", len(all))}
}

// checkInstalled has a row for each installed plugin, and one for a lock that
// cannot be read.
func checkInstalled(hm *home.Home) []home.Check {
	entries, err := manifests(hm).List()
	if err != nil {
		return []home.Check{failedCheck("plugins", err)}
	}
	var checks []home.Check
	for _, e := range entries {
		if e.Origin == plugin.Bundled {
			continue
		}
		row := home.Check{Name: "plugin " + e.Name, Status: home.OK, Detail: e.Digest}
		// Resolving reads the payload and holds it against its digest.
		if _, err := manifests(hm).Resolve(e.Name); err != nil {
			row = failedCheck(row.Name, err)
		} else if e.Origin == plugin.Dev {
			row.Status = home.Warn
			row.Detail = "unsigned, installed with --dev from " + e.Source
			row.Fix = "`carl plugin remove " + e.Name + "` removes it"
		}
		checks = append(checks, row)
	}
	return checks
}

// checkPlatform names what is not enforced on this system.
func checkPlatform() home.Check {
	if runtime.GOOS == "linux" {
		return home.Check{Name: "system", Status: home.OK, Detail: runtime.GOOS + "/" + runtime.GOARCH}
	}
	return home.Check{Name: "system", Status: home.Warn,
		Detail: runtime.GOOS + ": Linux is the full platform; folder flushes and confinement of processes are weaker here"}
}

// checkIsolation says when the config asks for more isolation than there is.
func (h *Host) checkIsolation() home.Check {
	const name = "isolation"
	asked := h.config.Plugins.Isolation == home.Process
	for _, p := range h.config.Plugins.Each {
		asked = asked || p.Isolation == home.Process
	}
	if asked {
		return home.Check{Name: name, Status: home.Warn,
			Detail: "config.yaml asks for a process of its own for plugins, which this version does not have: all run as metered wasm inside carl"}
	}
	return home.Check{Name: name, Status: home.OK, Detail: "plugins run as metered wasm inside carl"}
}

// checkCache says when compiled plugins cannot be kept, so that every command
// that needs one compiles it anew.
func (h *Host) checkCache() home.Check {
	const name = "cache"
	dir := wasmCache(h.home)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return home.Check{Name: name, Status: home.OK, Detail: "no plugin is compiled yet"}
	}
	if err := private.CheckDir(dir); err != nil {
		return home.Check{Name: name, Status: home.Warn,
			Detail: fmt.Sprintf("compiled plugins are not kept, and every command that needs one compiles it: %v", err),
			Fix:    fmt.Sprintf("run `rm -rf %s`; it is made anew", dir)}
	}
	return home.Check{Name: name, Status: home.OK, Detail: dir}
}

// checkSpool says what the spool gave up.
func (h *Host) checkSpool() home.Check {
	const name = "spool"
	losses, err := h.spool.Losses()
	if err != nil {
		return failedCheck(name, err)
	}
	if len(losses) == 0 {
		return home.Check{Name: name, Status: home.OK, Detail: "nothing was lost"}
	}
	var words []string
	for _, l := range losses {
		words = append(words, fmt.Sprintf("%d (%s)", l.Total, l.Reason))
	}
	return home.Check{Name: name, Status: home.Warn,
		Detail: "gave up since this home exists: " + strings.Join(words, ", "),
		Fix:    "sync more often, or raise spool.max_bytes and spool.max_age in config.yaml"}
}

// checkDestinations has a row for each destination: whether its plugins could
// be loaded, and what waits for it.
func (h *Host) checkDestinations(ctx context.Context) []home.Check {
	report, err := h.SyncStatus(ctx)
	if err != nil {
		return []home.Check{failedCheck("delivery", err)}
	}
	waiting := make(map[string]sync.DestinationStatus)
	for _, d := range report.Destinations {
		waiting[d.Name] = d
	}
	var checks []home.Check
	for i := range h.config.Destinations {
		d := &h.config.Destinations[i]
		name := "destination " + d.Name
		switch {
		case !d.Enabled:
			checks = append(checks, home.Check{Name: name, Status: home.OK, Detail: "switched off"})
		case !receivesSignals(d):
			checks = append(checks, home.Check{Name: name, Status: home.OK, Detail: "its topics in config.yaml do not name signals, so it gets none"})
			checks[len(checks)-1] = checkLedgerAt(checks[len(checks)-1], waiting[d.Name].Ledger)
		default:
			checks = append(checks, checkLedgerAt(h.checkDestination(d, waiting[d.Name]), waiting[d.Name].Ledger))
		}
	}
	return checks
}

func (h *Host) checkDestination(d *home.Destination, now sync.DestinationStatus) home.Check {
	row := home.Check{Name: "destination " + d.Name, Status: home.OK, Fix: now.Hint}
	if err := h.checkPlugins(d); err != nil {
		return failedCheck(row.Name, err)
	}
	row.Detail = fmt.Sprintf("%s; %d acknowledged, %d pending, %d dead letters", now.State, now.Acknowledged, now.Pending, now.DeadLetters)
	if now.Reason != "" {
		row.Detail += "; " + now.Reason
	}
	switch {
	case now.State == sync.Paused:
		row.Status = home.Fail
	case now.State == sync.BackingOff, now.DeadLetters > 0:
		row.Status = home.Warn
	case now.State == sync.OK && now.Pending == 0:
		row.Fix = ""
	}
	return row
}

// checkPlugins says why a destination's plugins could not be loaded, told from
// manifests, settings and grants alone.
func (h *Host) checkPlugins(d *home.Destination) error {
	catalog := manifests(h.home)
	forwarder, err := catalog.Describe(d.Plugin)
	if err != nil {
		return err
	}
	if err := isA(forwarder, plugin.Forwarder); err != nil {
		return err
	}
	settings, err := h.settings(d)
	if err != nil {
		return err
	}
	if err := forwarder.CheckSettings(settings, d.Place); err != nil {
		return err
	}
	granted, err := h.granted(forwarder, d)
	if err != nil {
		return err
	}
	if err := mayDeliver(forwarder, d, granted); err != nil {
		return err
	}
	for _, s := range granted.Secrets {
		if _, err := h.secret(d, s.Name); fault.CodeOf(err) == fault.SecretNotFound {
			return fault.New(fault.SecretNotFound, "the secret %s that %s is granted is not stored", s.Name, d.Plugin).
				WithHint("run `carl secret set %s`", s.Name)
		}
	}
	mapper, err := catalog.Describe(d.Mapper)
	if err != nil {
		return err
	}
	return isA(mapper, plugin.Mapper)
}
