//go:build unix

package spool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"carl.camp/carl/host/fault"
)

// TestReadOnlyHome runs, where it must, as a user without rights: root may
// write everywhere.
func TestReadOnlyHome(t *testing.T) {
	if dir := os.Getenv("READ_ONLY_HOME"); dir != "" {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, payloads(readAll(t, s, 0, 1)), []string{"one"})
		_, err = s.Writer()
		if fault.CodeOf(err) != fault.HomeUnusable || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%v", err)
		}
		fmt.Println("was refused")
		return
	}
	s := openTest(t, Options{})
	w := writer(t, s)
	appendAll(t, w, 0, "one")
	closeWriter(t, w)
	cmd := exec.Command(os.Args[0], "-test.run=^TestReadOnlyHome$", "-test.v")
	cmd.Env = append(os.Environ(), "READ_ONLY_HOME="+s.dir)
	// The folder's mode is as it must be; what cannot be written is the lock.
	// A lock of mode 0400 stands for a file system that is mounted read-only.
	if err := os.Chmod(filepath.Join(s.slotDir(0), "lock"), 0o400); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		const nobody = 65534
		err := filepath.Walk(s.dir, func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, nobody, nobody)
		})
		if err != nil {
			t.Fatal(err)
		}
		for dir := filepath.Dir(s.dir); dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		bin := filepath.Join(filepath.Dir(s.dir), "test")
		b, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(bin, b, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.Path = bin
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "was refused") {
		t.Errorf("%v\n%s", err, out)
	}
}
