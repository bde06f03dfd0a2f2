package home_test

import (
	"os"
	"path/filepath"
	"runtime"
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
