package home

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"carl.camp/carl/host/fault"
)

// Status is how a check ended.
type Status string

// The statuses. A warning is worth reading; a failure keeps something from working.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Check is one row of carl doctor.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Detail is what was found. It holds no secret.
	Detail string `json:"detail"`
	// Fix is the command or step that mends it; "" where there is nothing to mend.
	Fix string `json:"fix,omitzero"`
}

// Checks looks at everything that this package keeps, and changes nothing.
func (h *Home) Checks(environ []string) []Check {
	return []Check{
		h.checkHome(),
		h.checkPermissions(),
		h.checkConfig(environ),
		h.checkConsent(environ),
		h.checkCredentials(environ),
		h.checkInstall(),
		h.checkSecrets(environ),
	}
}

// failed puts a refusal into a row.
func failed(name string, err error) Check {
	return Check{Name: name, Status: Fail, Detail: err.Error(), Fix: fault.HintOf(err)}
}

func (h *Home) checkHome() Check {
	const name = "home"
	if err := h.check(); err != nil {
		return failed(name, err)
	}
	info, err := os.Lstat(h.Paths.Dir)
	if err != nil {
		return Check{Name: name, Status: OK, Detail: h.Paths.Dir + " does not exist yet; it is made when something is to be kept"}
	}
	if err := mayWrite(h.Paths.Dir); err != nil {
		return Check{Name: name, Status: Fail, Detail: fmt.Sprintf("%s cannot be written: %v", h.Paths.Dir, err),
			Fix: fmt.Sprintf("run `chmod u+w %s`, or choose another home with --home DIR", h.Paths.Dir)}
	}
	if othersMayRead(info) {
		return Check{Name: name, Status: Warn, Detail: fmt.Sprintf("others can look into %s (mode %04o)", h.Paths.Dir, info.Mode().Perm()),
			Fix: "run `chmod 700 " + h.Paths.Dir + "`"}
	}
	return Check{Name: name, Status: OK, Detail: h.Paths.Dir}
}

// maxChecked bounds the files that are looked at: the spool can hold thousands.
const maxChecked = 10_000

// checkPermissions looks at the owner and mode of what lies in the home.
func (h *Home) checkPermissions() Check {
	const name = "permissions"
	if !modesCount {
		return Check{Name: name, Status: Warn, Detail: "owners and modes of files are not checked on this system"}
	}
	var wrong []string
	fix := ""
	count := 0
	refuse := func(path, what, mend string) {
		wrong = append(wrong, path+" "+what)
		if fix == "" {
			fix = mend
		}
	}
	err := filepath.WalkDir(h.Paths.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) { // removed meanwhile, or no home yet
				return nil
			}
			refuse(path, "cannot be read", "run `chmod u+rwX "+path+"`")
			return fs.SkipDir
		}
		if path == h.Paths.Dir || path == h.Paths.Config {
			return nil
		}
		if count++; count > maxChecked {
			return fs.SkipAll
		}
		info, err := e.Info()
		if err != nil {
			return nil // removed meanwhile
		}
		_, ours := ownedByUs(info)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			refuse(path, "is a symlink", "replace it by the file itself")
		case !ours:
			refuse(path, "belongs to another user", "run `sudo chown \"$USER\" "+path+"`, if it is yours")
		case othersMayWrite(info):
			refuse(path, fmt.Sprintf("can be written by others (mode %04o)", info.Mode().Perm()), "look into it, then run `chmod go-rwx "+path+"`")
		case h.isSecret(path) && othersMayRead(info):
			refuse(path, fmt.Sprintf("can be read by others (mode %04o)", info.Mode().Perm()), "run `chmod 600 "+path+"`, and replace what it holds if others have read it")
		}
		return nil
	})
	if err != nil {
		return Check{Name: name, Status: Fail, Detail: err.Error(), Fix: "check owner and mode of " + h.Paths.Dir}
	}
	if len(wrong) > 0 {
		detail := wrong[0]
		if len(wrong) > 1 {
			detail += fmt.Sprintf(", and %d more like it", len(wrong)-1)
		}
		return Check{Name: name, Status: Fail, Detail: detail, Fix: fix}
	}
	if count > maxChecked {
		return Check{Name: name, Status: Warn, Detail: fmt.Sprintf("the first %d files are yours alone; the rest was not looked at", maxChecked)}
	}
	return Check{Name: name, Status: OK, Detail: "every file is yours alone"}
}

func (h *Home) isSecret(path string) bool {
	switch path {
	case h.Paths.Credentials, h.Paths.Secrets, h.Paths.Entitlements, h.Paths.LedgerKey:
		return true
	}
	return false
}

func (h *Home) checkConfig(environ []string) Check {
	const name = "config"
	c, err := h.Config(environ)
	if err != nil {
		return failed(name, err)
	}
	where := c.File
	if where == "" {
		where = "no config.yaml, so the defaults hold"
	}
	names := make([]string, len(c.Destinations))
	for i, d := range c.Destinations {
		names[i] = d.Name
		if !d.Enabled {
			names[i] += " (switched off)"
		}
	}
	detail := fmt.Sprintf("%s; platform %s", where, c.Camp.URL)
	if c.Camp.URLSource == urlVariable {
		detail += " (from " + urlVariable + ")"
	}
	if len(names) == 0 {
		return Check{Name: name, Status: Warn, Detail: detail + "; no destination, so nothing is kept or sent", Fix: "name one under `destinations` in " + h.Paths.Config}
	}
	return Check{Name: name, Status: OK, Detail: detail + "; destinations " + strings.Join(names, ", ")}
}

func (h *Home) checkConsent(environ []string) Check {
	const name = "consent"
	s, err := h.Consent().State(environ)
	if err != nil {
		return failed(name, err)
	}
	switch {
	case s.Granted:
		return Check{Name: name, Status: OK, Detail: "telemetry: granted" + since(s)}
	case s.Stored:
		return Check{Name: name, Status: Warn, Detail: "telemetry: granted, but " + s.OverriddenBy + " is set and forbids it", Fix: "unset " + s.OverriddenBy + ", if you mean to send"}
	}
	return Check{Name: name, Status: OK, Detail: "telemetry: not granted, so nothing leaves this machine; `carl consent grant telemetry` allows it"}
}

func since(s ConsentState) string {
	if s.GrantedAt.IsZero() {
		return ""
	}
	return " since " + s.GrantedAt.Format("2006-01-02 15:04:05 MST")
}

func (h *Home) checkCredentials(environ []string) Check {
	const name = "credentials"
	t, err := h.Credentials().Token(environ)
	if err != nil {
		return failed(name, err)
	}
	if t.Value == "" {
		return Check{Name: name, Status: Warn, Detail: "not logged in", Fix: "run `carl camp login`"}
	}
	return Check{Name: name, Status: OK, Detail: "a token from " + t.Source}
}

func (h *Home) checkInstall() Check {
	const name = "install id"
	id, found, err := h.readInstallID()
	if err != nil {
		return failed(name, err)
	}
	if !found {
		return Check{Name: name, Status: OK, Detail: "not made yet; the first delivery makes it, and `carl entitlements install-id`"}
	}
	return Check{Name: name, Status: OK, Detail: id}
}

func (h *Home) checkSecrets(environ []string) Check {
	const name = "secrets"
	list, err := h.Secrets().List(environ)
	if err != nil {
		return failed(name, err)
	}
	if len(list) == 0 {
		return Check{Name: name, Status: OK, Detail: "none stored"}
	}
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	return Check{Name: name, Status: OK, Detail: "stored: " + strings.Join(names, ", ")}
}
