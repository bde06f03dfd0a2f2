package host

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/plugins"
)

// Doctor checks everything that can be wrong with a home, without touching the
// network and without changing anything but caches. Each row that is not well
// names what mends it.
func Doctor(ctx context.Context, o Options) []home.Check {
	dir, err := home.Locate(o.Home)
	if err != nil {
		return []home.Check{failedCheck("home", err)}
	}
	hm, err := home.Open(dir)
	if err != nil {
		return []home.Check{failedCheck("home", err)}
	}
	environ := o.Environ
	if environ == nil {
		environ = os.Environ()
	}
	checks := hm.Checks(environ)
	checks = append(checks, checkBundled())
	checks = append(checks, checkInstalled(hm)...)
	checks = append(checks, checkPlatform())
	h, err := Open(o)
	if err != nil {
		// What keeps the host from opening is a row of the home's checks already.
		return append(checks, failedCheck("delivery", err))
	}
	defer h.Close()
	checks = append(checks, h.checkIsolation())
	return append(checks, h.checkDelivery(ctx)...)
}

func failedCheck(name string, err error) home.Check {
	return home.Check{Name: name, Status: home.Fail, Detail: err.Error(), Fix: fault.HintOf(err)}
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

// checkDelivery has a row for the spool's losses, for the compilation cache
// and for each destination.
func (h *Host) checkDelivery(ctx context.Context) []home.Check {
	var checks []home.Check
	losses, err := h.spool.Losses()
	switch {
	case err != nil:
		checks = append(checks, failedCheck("spool", err))
	case len(losses) > 0:
		var words []string
		for _, l := range losses {
			words = append(words, fmt.Sprintf("%d (%s)", l.Total, l.Reason))
		}
		checks = append(checks, home.Check{Name: "spool", Status: home.Warn,
			Detail: "gave up since this home exists: " + strings.Join(words, ", "),
			Fix:    "sync more often, or raise spool.max_bytes and spool.max_age in config.yaml"})
	default:
		checks = append(checks, home.Check{Name: "spool", Status: home.OK, Detail: "nothing was lost"})
	}
	if !h.home.Exists() {
		return checks
	}
	report, err := h.SyncStatus(ctx)
	if err != nil {
		return append(checks, failedCheck("delivery", err))
	}
	for _, d := range report.Destinations {
		checks = append(checks, h.checkDestination(d))
	}
	return checks
}

func (h *Host) checkDestination(d sync.DestinationStatus) home.Check {
	row := home.Check{Name: "destination " + d.Name, Status: home.OK}
	row.Detail = fmt.Sprintf("%s; %d acknowledged, %d pending, %d dead letters", d.State, d.Acknowledged, d.Pending, d.DeadLetters)
	if d.Reason != "" {
		row.Detail += "; " + d.Reason
	}
	row.Fix = d.Hint
	switch {
	case d.State == sync.Paused:
		row.Status = home.Fail
	case d.State == sync.BackingOff, d.DeadLetters > 0:
		row.Status = home.Warn
	case d.State == sync.OK && d.Pending == 0:
		row.Fix = ""
	}
	if c, ok := h.config.Destination(d.Name); ok {
		if _, err := h.grants(c); err != nil {
			row = failedCheck(row.Name, err)
		}
	}
	return row
}
