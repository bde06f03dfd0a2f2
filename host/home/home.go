// Package home is the carl home folder: where every file of it is, the
// operator's configuration, and the small pieces of state that belong to the
// user: consent, credentials, secrets, and the id of this installation.
//
// # Who may touch it
//
// The home is a folder of the user's own with mode 0700. [Open] refuses one
// that belongs to someone else, that others may write to, or that is not a
// folder but a symlink or a file; it creates nothing. [Home.Create] makes the
// folder, and whatever writes calls it first, so that a command which only
// reads leaves no trace.
//
// # The JSON files
//
// consent.json, credentials.json, install.json and secrets.json are one JSON
// object each with "v":1, read strictly (no unknown member, no duplicate) and
// bounded, replaced as a whole by host/private with mode 0600. Reading and
// writing one back happens under an advisory lock, so that two processes lose
// nothing of each other. A file of a later version is refused with
// carl.home.too_new; when that version left a member "carl" that says which
// carl reads it, the message names it. A damaged file is carl.home.corrupt, and
// never echoed. Reading moves nothing. Writing moves a damaged file aside where
// nothing is lost that cannot be given again (consent, credentials, install id),
// and refuses to replace damaged secrets.
//
// All methods may be called from several goroutines and processes.
package home

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// Paths is where every file of a home is. All are absolute.
type Paths struct {
	Dir           string // the home itself
	Config        string // config.yaml, the operator's
	Consent       string // consent.json
	Credentials   string // credentials.json
	Install       string // install.json
	Secrets       string // secrets.json
	Entitlements  string // entitlements.json
	JWKSPin       string // jwks_pin.json
	Clock         string // clock.json
	Witness       string // witness.json
	Constitutions string // constitutions/, by digest
	Keys          string // keys/
	LedgerKey     string // keys/ledger.key
	// Ledger is constitutional_ledger, to which the ledger's parts add their
	// endings: .jsonl, .head, .edge, .lock, .<first>-<last>.jsonl.
	Ledger         string
	LedgerPending  string // ledger_pending.jsonl
	LedgerReceipts string // ledger_receipts.jsonl
	Spool          string // spool/
	State          string // state/
	DLQ            string // dlq/
	Quarantine     string // quarantine/
	Plugins        string // plugins/
	Store          string // plugins/store/sha256/
	Trust          string // plugins/trust.d/
	PluginLock     string // carl.plugins.lock
	// Submissions is submissions/: idempotency keys without a definite answer.
	Submissions string
	Cache       string // cache/
	// Guard is .lock, the lock file under which the JSON files are changed;
	// Refreshing is .refresh.lock, held while the platform is asked for entitlements.
	Guard      string
	Refreshing string
}

// PathsOf returns the paths of the home dir, which need not exist.
func PathsOf(dir string) Paths {
	in := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	return Paths{
		Dir:            dir,
		Config:         in("config.yaml"),
		Consent:        in("consent.json"),
		Credentials:    in("credentials.json"),
		Install:        in("install.json"),
		Secrets:        in("secrets.json"),
		Entitlements:   in("entitlements.json"),
		JWKSPin:        in("jwks_pin.json"),
		Clock:          in("clock.json"),
		Witness:        in("witness.json"),
		Constitutions:  in("constitutions"),
		Keys:           in("keys"),
		LedgerKey:      in("keys", "ledger.key"),
		Ledger:         in("constitutional_ledger"),
		LedgerPending:  in("ledger_pending.jsonl"),
		LedgerReceipts: in("ledger_receipts.jsonl"),
		Spool:          in("spool"),
		State:          in("state"),
		DLQ:            in("dlq"),
		Quarantine:     in("quarantine"),
		Plugins:        in("plugins"),
		Store:          in("plugins", "store", "sha256"),
		Trust:          in("plugins", "trust.d"),
		PluginLock:     in("carl.plugins.lock"),
		Submissions:    in("submissions"),
		Cache:          in("cache"),
		Guard:          in(".lock"),
		Refreshing:     in(".refresh.lock"),
	}
}

// Home is one carl home. It holds no open file.
type Home struct {
	// Paths is where its files are; it is not changed after Open.
	Paths Paths
}

// Locate returns the absolute path of the home to use: flag, else the
// environment's CARL_HOME, else ~/.carl. A leading ~/ is expanded, since not
// every shell does that behind --home=. Nothing is touched.
func Locate(flag string) (string, error) {
	dir := flag
	if dir == "" {
		dir = os.Getenv("CARL_HOME")
	}
	if dir == "" {
		dir = filepath.Join("~", ".carl")
	}
	dir, err := Expand(dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", fault.New(fault.HomeUnusable, "no home folder can be found: %w", err).
			WithHint("choose one with --home DIR or CARL_HOME")
	}
	return dir, nil
}

// Open checks the home dir and returns it. A folder that does not exist is
// fine: it has no state yet. The error is carl.home.unusable.
func Open(dir string) (*Home, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.New(fault.HomeUnusable, "the home cannot be found: %w", err)
	}
	h := &Home{Paths: PathsOf(dir)}
	if err := h.check(); err != nil {
		return nil, err
	}
	return h, nil
}

// Exists reports whether the folder is there.
func (h *Home) Exists() bool {
	_, err := os.Lstat(h.Paths.Dir)
	return err == nil
}

// Create makes the folder with mode 0700 unless it is there, and checks it
// again. Missing parents are made with the same mode.
func (h *Home) Create() error {
	if h.Exists() {
		return h.check()
	}
	if err := private.MkdirAll(h.Paths.Dir); err != nil {
		return unusable(h.Paths.Dir, err)
	}
	return h.check()
}

// check refuses a folder in which carl's files would not be the user's own.
func (h *Home) check() error {
	dir := h.Paths.Dir
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unusable(dir, err)
	}
	refuse := func(hint, format string, args ...any) error {
		return fault.New(fault.HomeUnusable, "the home "+dir+" "+format, args...).
			WithKept("nothing in it was read or written").
			WithHint(hint+", or choose another home with --home DIR", dir)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return refuse("replace the link %s by a folder", "is a symlink, and what it leads to can be exchanged")
	case !info.IsDir():
		return refuse("move %s away", "is not a folder")
	}
	if owner, ours := ownedByUs(info); !ours {
		return refuse("run carl as the owner of %s", "belongs to another user (uid %d)", owner)
	}
	if othersMayWrite(info) {
		return refuse("run `chmod 700 %s`", "can be written by others (mode %04o)", info.Mode().Perm())
	}
	if err := mayEnter(dir); err != nil {
		return unusable(dir, err)
	}
	return nil
}

// unusable puts a failure to reach, read or write path into words.
func unusable(path string, err error) error {
	const hint = "check space, owner and mode of %s, or choose another home with --home DIR"
	var known *fault.Error
	if errors.As(err, &known) {
		if known.Hint == "" {
			known = known.WithHint(hint, filepath.Dir(path))
		}
		return known
	}
	code := fault.IO
	if errors.Is(err, fs.ErrPermission) || isReadOnly(err) || isNotDir(err) {
		code = fault.HomeUnusable
	}
	return fault.New(code, "the home cannot be used: %w", err).WithHint(hint, filepath.Dir(path))
}

// Expand replaces a leading ~ or ~/ of path by the user's folder.
func Expand(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~")
	if !ok || rest != "" && !os.IsPathSeparator(rest[0]) {
		return path, nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(user, rest), nil
}

// lookup returns the last value of name in environ, as os/exec reads such a
// list; "" counts as not set.
func lookup(environ []string, name string) string {
	value := ""
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			value = v
		}
	}
	return value
}
