//go:build unix

package entitle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// newFolder is a home on the real file system.
func newFolder(t *testing.T) *site {
	dir := filepath.Join(t.TempDir(), "home")
	if err := private.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return newSiteOn(t, private.OS(), dir)
}

// created notes the mode of every file as it is made.
type created struct {
	private.FS
	modes map[string]fs.FileMode
}

func (c created) OpenFile(name string, flag int, perm fs.FileMode) (private.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err == nil && flag&os.O_CREATE != 0 {
		if info, err := os.Lstat(name); err == nil {
			c.modes[name] = info.Mode()
		}
	}
	return f, err
}

// TestModes makes every file that there is, under the widest of masks.
func TestModes(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o077} {
		old := syscall.Umask(mask)
		defer syscall.Umask(old)
		s := newFolder(t)
		c := created{private.OS(), map[string]fs.FileMode{}}
		s.o.FS = c
		s.restart()
		s.login(nil)
		s.importLicense(nil)
		s.now = s.now.Add(25 * time.Hour)
		s.camp.set = jwks(key1, key2)
		s.login(nil)
		s.camp.tokenErr = fault.New(fault.CampUnauthorized, "401")
		s.refresh()
		s.put(s.o.Files.Cache, "garbage")
		s.now = s.now.Add(time.Hour)
		s.store.Load()
		if err := s.store.Forget(); err != nil {
			t.Fatal(err)
		}
		if len(c.modes) < 10 {
			t.Errorf("only %d files were made", len(c.modes))
		}
		for name, mode := range c.modes {
			if mode != 0o600 {
				t.Errorf("mask %03o: %s was made with mode %v", mask, name, mode)
			}
		}
		entries, err := os.ReadDir(filepath.Dir(s.o.Files.Cache))
		if err != nil || len(entries) < 6 {
			t.Fatal(entries, err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
				t.Errorf("mask %03o: %s has mode %v, %v", mask, e.Name(), info.Mode(), err)
			}
			if strings.HasPrefix(e.Name(), ".carl-tmp-") {
				t.Errorf("%s was left", e.Name())
			}
		}
	}
}

// everything calls each method of a store, and returns what each said.
func everything(t *testing.T, s *site) map[string]error {
	t.Helper()
	_, imported := s.store.Import(rootKey.license(s.now, nil))
	_, refreshed := s.refresh()
	_, repinned := s.store.Repin(t.Context(), s.camp, key1.thumbprint())
	return map[string]error{"import": imported, "refresh": refreshed, "repin": repinned, "forget": s.store.Forget()}
}

// TestSomethingInTheWay puts a symlink, a FIFO or a folder in the place of each
// file. It is named, and neither followed nor removed; with the file back in
// its place all is as before.
func TestSomethingInTheWay(t *testing.T) {
	target := filepath.Join(t.TempDir(), "target")
	for kind, obstruct := range map[string]func(string) error{
		"symlink":           func(path string) error { return os.Symlink(target, path) },
		"symlink to itself": func(path string) error { return os.Symlink(path, path) },
		"FIFO":              func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder":            func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		for i := range 6 {
			s := newFolder(t)
			files := s.o.Files
			path := []string{files.Cache, files.Pin, files.Clock, files.Witness, files.Lock, files.Refreshing}[i]
			name := filepath.Base(path)
			t.Run(kind+"/"+name, func(t *testing.T) {
				s.login(nil)
				// What a symlink leads to is as genuine as can be.
				content := s.get(path)
				if err := os.WriteFile(target, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := obstruct(path); err != nil {
					t.Fatal(err)
				}
				was, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				s.camp.requests()
				s.now = s.now.Add(2 * time.Minute)
				s.serve(nil)
				for _, state := range []State{s.restart().Look(), s.store.Load()} {
					switch name {
					case "clock.json":
						wants(t, state, Expired)
					case ".entitle.lock", ".refresh.lock":
						wants(t, state, Fresh)
						continue
					default:
						wants(t, state, Corrupt)
					}
					if state.Err == nil || !strings.Contains(state.Err.Error(), path) {
						t.Errorf("%v", state.Err)
					}
					if state.Aside != "" {
						t.Errorf("moved to %s", state.Aside)
					}
				}
				for method, err := range everything(t, s) {
					switch {
					case kind == "FIFO" && strings.HasSuffix(name, ".lock"):
						continue // as good a lock as any
					case name == ".refresh.lock" && (method == "import" || method == "forget"):
						continue // not theirs
					case err == nil:
						t.Errorf("%s took it", method)
					case !strings.Contains(err.Error(), path):
						t.Errorf("%s: %v", method, err)
					}
				}
				if !strings.HasSuffix(name, ".lock") {
					s.asked(0, 0)
				}
				is, err := os.Lstat(path)
				if err != nil || !os.SameFile(is, was) || is.Mode() != was.Mode() {
					t.Errorf("it became %v, %v", is, err)
				}
				if got, err := os.ReadFile(target); err != nil || string(got) != content {
					t.Errorf("the target holds %q, %v", got, err)
				}
				if strings.HasSuffix(name, ".lock") {
					return
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				s.put(path, content)
				wants(t, s.restart().Load(), Fresh)
			})
		}
	}
}

// TestLaterVersions has a later version of carl have written each of the files.
func TestLaterVersions(t *testing.T) {
	for i := range 4 {
		for text, use := range map[string]string{
			`{"v":2,"carl":"3.1.0","what":["ever"]}`: "use carl 3.1.0 or later",
			`{"v":7}`:                                "use the version of carl that wrote it, or a later one",
		} {
			for _, beside := range []bool{true, false} {
				s := newSite(t)
				files := s.o.Files
				path := []string{files.Cache, files.Pin, files.Clock, files.Witness}[i]
				name := filepath.Base(path)
				t.Run(fmt.Sprint(name, " beside others ", beside), func(t *testing.T) {
					if beside {
						s.importLicense(nil)
						s.login(nil)
						s.camp.requests()
					}
					s.put(path, text)
					before := s.all()
					s.now = s.now.Add(2 * time.Minute)
					s.serve(nil)
					for _, state := range []State{s.restart().Look(), s.store.Load()} {
						if beside || name == "entitlements.json" {
							code(t, state.Err, fault.HomeTooNew)
						}
						if beside && name == "clock.json" {
							code(t, state.LicenseErr, fault.HomeTooNew)
						}
						// A licence needs no pinned keys.
						if granted := state.Granting(); granted != nil && (name != "jwks_pin.json" || granted != state.License) {
							t.Errorf("%s grants %v", state.Status, granted)
						}
					}
					for method, err := range everything(t, s) {
						if method == "forget" && !beside && name != "entitlements.json" {
							continue // nothing to forget
						}
						code(t, err, fault.HomeTooNew)
						if !strings.Contains(err.Error(), path) || !strings.Contains(fault.HintOf(err), use) {
							t.Errorf("%s: %v, hint %q", method, err, fault.HintOf(err))
						}
					}
					s.asked(0, 0)
					s.untouched(before)
				})
			}
		}
	}
}

// TestOversizedFiles makes each file larger than is read.
func TestOversizedFiles(t *testing.T) {
	for i, want := range []Status{Corrupt, Corrupt, Expired, Corrupt} {
		s := newFolder(t)
		s.login(nil)
		files := s.o.Files
		path := []string{files.Cache, files.Pin, files.Clock, files.Witness}[i]
		s.put(path, strings.Repeat(" ", maxFile-1)+s.get(path))
		state := s.restart().Look()
		wants(t, state, want)
		if path != files.Witness && !strings.Contains(state.Err.Error(), path) {
			t.Errorf("%v", state.Err)
		}
	}
	s := newFolder(t)
	s.login(nil)
	clock := s.get(s.o.Files.Clock)
	s.put(s.o.Files.Clock, clock+strings.Repeat(" ", maxFile-len(clock)))
	wants(t, s.restart().Look(), Fresh)
	s.put(s.o.Files.Clock, clock+strings.Repeat(" ", maxFile-len(clock)+1))
	wants(t, s.restart().Look(), Expired)
}

// TestAFolderThatIsGone has the whole folder removed.
func TestAFolderThatIsGone(t *testing.T) {
	s := newFolder(t)
	s.login(nil)
	if err := os.RemoveAll(filepath.Dir(s.o.Files.Cache)); err != nil {
		t.Fatal(err)
	}
	s.camp.requests()
	wants(t, s.restart().Load(), Missing)
	s.serve(nil)
	state, err := s.refresh()
	if wants(t, state, Missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	s.asked(0, 0)
	if _, err := s.store.Import(rootKey.license(s.now, nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
