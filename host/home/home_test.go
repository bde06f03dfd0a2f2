package home_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

// roleVariable makes the test binary, started again, play one of several processes.
const roleVariable = "CARL_HOME_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play is one process among several on one home.
func play(role string, args []string) error {
	h, err := home.Open(args[0])
	if err != nil {
		return err
	}
	switch role {
	case "install-id":
		id, err := h.InstallID()
		fmt.Println(id)
		return err
	case "secrets":
		for i := range 10 {
			if err := h.Secrets().Set(fmt.Sprintf("%s-%d", args[1], i), "value"); err != nil {
				return err
			}
		}
		return nil
	case "consent":
		for range 10 {
			if err := h.Consent().Grant(home.Telemetry); err != nil {
				return err
			}
			if err := h.Consent().Revoke(home.Telemetry); err != nil {
				return err
			}
		}
		return nil
	case "secrets until killed":
		for i := 0; ; i++ {
			name := fmt.Sprintf("n-%d", i%100)
			if err := h.Secrets().Set(name, fmt.Sprintf("value-%d", i)); err != nil {
				return err
			}
			fmt.Println(name, i)
		}
	case "full disk":
		return onFullDisk(h)
	}
	return errors.New("no such role")
}

// together starts n processes in one role at once and returns what each printed.
func together(t *testing.T, n int, role, dir string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	outputs := make([]string, n)
	failures := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			cmd := exec.Command(self, dir, fmt.Sprintf("p%d", i))
			cmd.Env = append(os.Environ(), roleVariable+"="+role)
			out, err := cmd.CombinedOutput()
			outputs[i], failures[i] = strings.TrimSpace(string(out)), err
		})
	}
	wg.Wait()
	for i, err := range failures {
		if err != nil {
			t.Fatalf("process %d: %v: %s", i, err, outputs[i])
		}
	}
	return outputs
}

// killed starts a process in a role, kills it after it acknowledged n things,
// and returns every line that it printed until then.
func killed(t *testing.T, n int, role, dir string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scan := bufio.NewScanner(out); scan.Scan(); {
		lines = append(lines, scan.Text())
		if len(lines) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(lines) < n {
		t.Fatalf("the process ended by itself after %d lines: %v", len(lines), err)
	}
	return lines
}

// fresh returns a home that exists and is empty.
func fresh(t *testing.T) *home.Home {
	t.Helper()
	h, err := home.Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Create(); err != nil {
		t.Fatal(err)
	}
	return h
}

func needsModes(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no owners and modes here")
	}
}

func symlink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link); err != nil {
		t.Skipf("no symlinks here: %v", err)
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestLocate(t *testing.T) {
	user := t.TempDir()
	t.Setenv("HOME", user)
	t.Setenv("USERPROFILE", user)
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flag, env, want string }{
		{"", "", filepath.Join(user, ".carl")},
		{"", filepath.Join(user, "env"), filepath.Join(user, "env")},
		{filepath.Join(user, "flag"), filepath.Join(user, "env"), filepath.Join(user, "flag")},
		{"~/flag", "", filepath.Join(user, "flag")},
		{"relative", "", filepath.Join(cwd, "relative")},
		{"~other", "", filepath.Join(cwd, "~other")},
	} {
		t.Setenv("CARL_HOME", c.env)
		got, err := home.Locate(c.flag)
		if err != nil || got != c.want {
			t.Errorf("Locate(%q) with CARL_HOME=%q = %q, %v; want %q", c.flag, c.env, got, err, c.want)
		}
	}
	t.Setenv("CARL_HOME", "")
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	if dir, err := home.Locate(""); fault.CodeOf(err) != fault.HomeUnusable {
		t.Errorf("a home out of nowhere: %q, %v", dir, err)
	}
}

func TestReadingCreatesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	h, err := home.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if h.Exists() {
		t.Fatal("Open made the home")
	}
	if _, err := h.Config(nil); err != nil {
		t.Error(err)
	}
	if s, err := h.Consent().State(nil); err != nil || s.Granted || s.Epoch != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if token, err := h.Credentials().Token(nil); err != nil || token.Value != "" {
		t.Errorf("%+v, %v", token, err)
	}
	if list, err := h.Secrets().List(nil); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if dropped, err := h.Credentials().Drop(); err != nil || dropped {
		t.Errorf("%v, %v", dropped, err)
	}
	if err := h.Secrets().Remove("none"); fault.CodeOf(err) != fault.SecretNotFound {
		t.Error(err)
	}
	for _, c := range h.Checks(nil) {
		if c.Status == home.Fail {
			t.Errorf("%+v", c)
		}
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading left %s behind: %v", dir, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	needsModes(t)
	for _, c := range []struct {
		name, want, hint string
		make             func(t *testing.T, dir string)
	}{
		{"a symlink", "is a symlink", "replace the link", func(t *testing.T, dir string) {
			real := dir + "-real"
			if err := os.Mkdir(real, 0o700); err != nil {
				t.Fatal(err)
			}
			symlink(t, real, dir)
		}},
		{"a symlink to nowhere", "is a symlink", "replace the link", func(t *testing.T, dir string) { symlink(t, dir+"-none", dir) }},
		{"a file", "is not a folder", "move", func(t *testing.T, dir string) {
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"writable by all", "can be written by others (mode 0777)", "chmod 700", func(t *testing.T, dir string) { mkdirMode(t, dir, 0o777) }},
		{"writable by the group", "can be written by others (mode 0770)", "chmod 700", func(t *testing.T, dir string) { mkdirMode(t, dir, 0o770) }},
		{"someone else's", "belongs to another user (uid 65534)", "run carl as the owner", func(t *testing.T, dir string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root to give a folder away")
			}
			mkdirMode(t, dir, 0o700)
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}},
		{"below a file", "not a directory", "check space, owner and mode", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Dir(dir), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			if c.name == "below a file" {
				dir = filepath.Join(dir, "home")
			}
			c.make(t, dir)
			_, err := home.Open(dir)
			if fault.CodeOf(err) != fault.HomeUnusable {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.HintOf(err), c.hint) || !strings.Contains(fault.HintOf(err), "--home DIR") {
				t.Errorf("got %v\nhint %s", err, fault.HintOf(err))
			}
		})
	}
}

func mkdirMode(t *testing.T, dir string, mode fs.FileMode) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
}

func TestCreate(t *testing.T) {
	needsModes(t)
	dir := filepath.Join(t.TempDir(), "a", "b", "home")
	h, err := home.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Create(); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if got := mode(t, d); got != 0o700 {
			t.Errorf("%s has mode %04o", d, got)
		}
	}
	blocked, err := home.Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	symlink(t, "nowhere", blocked.Paths.Dir)
	if err := blocked.Create(); fault.CodeOf(err) != fault.HomeUnusable {
		t.Errorf("a link that appeared after Open: %v", err)
	}
}
