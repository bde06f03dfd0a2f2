package private_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	if err := private.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFile(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "token.json")
	for _, content := range []string{"one", "", "three, longer"} {
		if err := private.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := private.ReadFile(path, 100)
		if err != nil || string(got) != content {
			t.Fatalf("read %q, %v", got, err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Fatalf("mode %v, %v", info.Mode(), err)
		}
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the folder holds %q", got)
	}
}

func TestWriteFileReplacesASymlinkAndKeepsItsTarget(t *testing.T) {
	dir := folder(t)
	target, link := filepath.Join(t.TempDir(), "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("theirs"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Skip("no symlinks here:", err)
	}
	if _, err := private.ReadFile(link, 100); err == nil || !strings.Contains(err.Error(), "symlink") {
		t.Errorf("reading through a symlink: %v", err)
	}
	if err := private.WriteFile(link, []byte("ours")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(target); string(got) != "theirs" {
		t.Errorf("the target holds %q", got)
	}
	if got, err := private.ReadFile(link, 100); string(got) != "ours" {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

func TestReadFileRefuses(t *testing.T) {
	dir := folder(t)
	if _, err := private.ReadFile(filepath.Join(dir, "none"), 10); !errors.Is(err, fs.ErrNotExist) || fault.CodeOf(err) != fault.IO {
		t.Errorf("missing: %v", err)
	}
	if _, err := private.ReadFile(dir, 10); err == nil {
		t.Error("a folder was read")
	}
	long := filepath.Join(dir, "long")
	if err := private.WriteFile(long, []byte("12345678901")); err != nil {
		t.Fatal(err)
	}
	if _, err := private.ReadFile(long, 10); err == nil || !strings.Contains(err.Error(), "11 bytes") {
		t.Errorf("too long: %v", err)
	}
	if b, err := private.ReadFile(long, 11); err != nil || len(b) != 11 {
		t.Errorf("just long enough: %q, %v", b, err)
	}
}

// TestLeftoversAreSwept kills writers between creating their file and renaming
// it, with others at work.
func TestLeftoversAreSwept(t *testing.T) {
	dir := folder(t)
	for i := range 50 {
		name := fmt.Sprintf(".carl-tmp-%016x", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Not ours: another name, and a writer that is alive.
	other := filepath.Join(dir, ".carl-tmp-notours")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	alive := filepath.Join(dir, ".carl-tmp-ffffffffffffffff")
	lock, ok, err := private.TryLock(alive)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := private.WriteFile(filepath.Join(dir, "a"), nil); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("the folder holds %q", got)
	}
	lock.Unlock()
	if err := private.WriteFile(filepath.Join(dir, "a"), nil); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("the folder holds %q", got)
	}
}

// TestWritersBesideEachOther shows that sweeping takes no living writer's file
// away for good.
func TestWritersBesideEachOther(t *testing.T) {
	dir := folder(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20 {
				path := filepath.Join(dir, fmt.Sprint(i%4))
				if err := private.WriteFile(path, fmt.Appendf(nil, "%d %d", i, n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := names(t, dir); len(got) != 4 {
		t.Errorf("the folder holds %q", got)
	}
}

func TestCheckDir(t *testing.T) {
	dir := folder(t)
	if err := private.CheckDir(dir); err != nil {
		t.Error(err)
	}
	refuse := func(dir, words string) {
		t.Helper()
		for _, check := range []func(string) error{private.CheckDir, private.MkdirAll} {
			err := check(dir)
			if fault.CodeOf(err) != fault.HomeUnusable || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v", dir, err)
			}
		}
	}
	if err := private.CheckDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || fault.CodeOf(err) != fault.HomeUnusable {
		t.Errorf("missing: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(file, "not a folder")
	if err := private.MkdirAll(filepath.Join(file, "sub")); fault.CodeOf(err) != fault.HomeUnusable {
		t.Errorf("below a file: %v", err)
	}
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o750); err != nil {
		t.Fatal(err)
	}
	refuse(open, "0750")
	if hint := fault.HintOf(private.CheckDir(open)); hint != "run `chmod 700 "+open+"`" {
		t.Errorf("hint %q", hint)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	refuse(link, "symlink")
	if os.Geteuid() == 0 {
		if err := os.Chown(open, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		refuse(open, "belongs to user 12345")
	}
}

func TestMkdirAllMakesAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	for range 2 {
		if err := private.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", d, info, err)
		}
	}
}

func TestQuarantine(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "entitlements.json")
	if _, err := private.Quarantine(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	last := ""
	for i := range 20 {
		if err := private.WriteFile(path, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		aside, err := private.Quarantine(path)
		if err != nil {
			t.Fatal(err)
		}
		if b := filepath.Base(aside); !strings.HasPrefix(b, "entitlements.corrupt-2") || !strings.HasSuffix(b, "Z.json") {
			t.Errorf("moved to %q", b)
		}
		if got, err := private.ReadFile(aside, 100); string(got) != fmt.Sprint(i) {
			t.Errorf("moved %q, %v", got, err)
		}
		last = aside
	}
	got := names(t, dir)
	if len(got) != 8 || got[7] != filepath.Base(last) {
		t.Errorf("the folder holds %q", got)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(folder(t), "lock")
	first, ok, err := private.TryLock(path)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := private.TryLock(path); ok || err != nil {
		t.Fatal("taken twice", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := private.Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("waiting: %v", err)
	}
	done := make(chan error)
	go func() {
		l, err := private.Lock(t.Context(), path)
		if err == nil {
			l.Unlock()
		}
		done <- err
	}()
	first.Unlock()
	first.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestLockDiesWithItsOwner kills a process that holds a lock.
func TestLockDiesWithItsOwner(t *testing.T) {
	if path := os.Getenv("LOCK_AND_HANG"); path != "" {
		if _, ok, err := private.TryLock(path); !ok || err != nil {
			os.Exit(1)
		}
		fmt.Println("locked")
		select {}
	}
	path := filepath.Join(folder(t), "lock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockDiesWithItsOwner$")
	cmd.Env = append(os.Environ(), "LOCK_AND_HANG="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := private.TryLock(path); ok || err != nil {
		t.Errorf("another process's lock is free: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	l, ok, err := private.TryLock(path)
	if err != nil || !ok {
		t.Fatalf("the lock outlives its owner: %v", err)
	}
	l.Unlock()
}

// TestWriteFileAtEveryCall fails, kills and cuts the power at each system call
// of a WriteFile.
func TestWriteFileAtEveryCall(t *testing.T) {
	const path = "/home/f"
	faults := map[string]crashfs.Fault{
		"EIO":    {Err: syscall.EIO},
		"ENOSPC": {Err: syscall.ENOSPC, Short: 3},
		"EINTR":  {Err: syscall.EINTR},
		"kill":   {Kill: true},
		"power":  {PowerCut: true},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			reached := 0
			for n := 1; n <= 20; n++ {
				for seed := range uint64(16) {
					d := crashfs.New(rand.New(rand.NewPCG(seed, uint64(n))).IntN)
					setup := d.Process(nil)
					if err := private.MkdirAllOn(setup, "/home"); err != nil {
						t.Fatal(err)
					}
					if err := private.WriteFileOn(setup, path, []byte("old")); err != nil {
						t.Fatal(err)
					}
					p := d.Process(func(c crashfs.Call) *crashfs.Fault {
						if c.N != n {
							return nil
						}
						reached++
						return &f
					})
					err := private.WriteFileOn(p, path, []byte("new!"))
					if f.Err == nil && err == nil && p.Calls() >= n {
						t.Fatal("a dead process reports success")
					}
					got := read(t, d, path)
					if got != "old" && got != "new!" || err == nil && got != "new!" {
						t.Fatalf("call %d: %v, and readers see %q", n, err, got)
					}
					d.PowerCut()
					got = read(t, d, path)
					if got != "old" && got != "new!" || err == nil && got != "new!" {
						t.Fatalf("call %d: %v, and after a power cut %q", n, err, got)
					}
					// The next writer finds its way, and no leftovers stay.
					p = d.Process(nil)
					if err := private.WriteFileOn(p, path, []byte("next")); err != nil {
						t.Fatal(err)
					}
					entries, err := p.ReadDir("/home")
					if err != nil || len(entries) != 1 || read(t, d, path) != "next" {
						t.Fatalf("afterwards the folder holds %v, %v", entries, err)
					}
				}
			}
			if reached < 8*16 {
				t.Errorf("only %d faults happened", reached)
			}
		})
	}
}

func read(t *testing.T, d *crashfs.Disk, path string) string {
	t.Helper()
	b, err := private.ReadFileOn(d.Process(nil), path, 100)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
