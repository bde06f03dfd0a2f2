package home_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

// withoutPrivilege runs f bound by the modes of files, for root too: its
// thread takes another file system uid, and ends with it.
func withoutPrivilege(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		const nobody = 65534
		syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0)
		f()
	}()
	<-done
}

func TestReadOnlyHome(t *testing.T) {
	base, err := os.MkdirTemp("", "carl-readonly-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := home.Open(filepath.Join(base, "home"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Create(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.Paths.Config, []byte("tier: paid\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.Paths.Dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(h.Paths.Dir, 0o700) })
	withoutPrivilege(t, func() {
		_, idErr := h.InstallID()
		for name, err := range map[string]error{
			"consent":    h.Consent().Grant(home.Telemetry),
			"token":      h.Credentials().SetToken("abc"),
			"secret":     h.Secrets().Set("a", "b"),
			"install id": idErr,
		} {
			if fault.CodeOf(err) != fault.HomeUnusable || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(fault.HintOf(err), "--home DIR") {
				t.Errorf("%s: %v, hint %s", name, err, fault.HintOf(err))
			}
		}
		c, err := h.Config(nil)
		if err != nil || c.Tier != "paid" {
			t.Errorf("reading a read-only home: %+v, %v", c, err)
		}
	})
	left, err := os.ReadDir(h.Paths.Dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// onFullDisk lets no file of this process grow, which ends in the same place
// as a full disk: the write of the new content fails.
func onFullDisk(h *home.Home) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 0, Max: 0}); err != nil {
		return err
	}
	for name, err := range map[string]error{
		"consent": h.Consent().Revoke(home.Telemetry),
		"token":   h.Credentials().SetToken("new"),
		"secret":  h.Secrets().Set("b", "new"),
	} {
		if fault.CodeOf(err) != fault.IO || !strings.Contains(err.Error(), "file too large") || fault.HintOf(err) == "" {
			return fmt.Errorf("%s: %v", name, err)
		}
	}
	return nil
}

func TestFullDiskKeepsWhatWasThere(t *testing.T) {
	h := fresh(t)
	if err := errors.Join(h.Consent().Grant(home.Telemetry), h.Credentials().SetToken("old"), h.Secrets().Set("a", "old")); err != nil {
		t.Fatal(err)
	}
	before := names(t, h)
	together(t, 1, "full disk", h.Paths.Dir)
	if s, err := h.Consent().State(nil); err != nil || !s.Granted {
		t.Errorf("%+v, %v", s, err)
	}
	if token, err := h.Credentials().Token(nil); err != nil || token.Value != "old" {
		t.Errorf("%+v, %v", token, err)
	}
	if list, err := h.Secrets().List(nil); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if after := names(t, h); !slices.Equal(before, after) {
		t.Errorf("left behind: %v, before %v", after, before)
	}
}

func names(t *testing.T, h *home.Home) []string {
	t.Helper()
	entries, err := os.ReadDir(h.Paths.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
