package files

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var background = context.Background()

func open(t *testing.T) (*Dir, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "granted")
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mustAppend(t *testing.T, d *Dir, name, data string) {
	t.Helper()
	if err := d.Append(background, name, []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func TestAppend(t *testing.T) {
	d, dir := open(t)
	mustAppend(t, d, "a.jsonl", "1\n2\n")
	mustAppend(t, d, "a.jsonl", "3\n")
	mustAppend(t, d, "a.jsonl", "")
	mustAppend(t, d, "a.jsonl", "ended by the host")
	mustAppend(t, d, "2026/11/b.jsonl", "x\n")
	mustAppend(t, d, "2026/11/ünïcode name.jsonl", "y\n")
	if got, want := read(t, filepath.Join(dir, "a.jsonl")), "1\n2\n3\nended by the host\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := read(t, filepath.Join(dir, "2026", "11", "b.jsonl")); got != "x\n" {
		t.Errorf("got %q", got)
	}
	err := d.Append(background, "never.jsonl", nil)
	if _, statErr := os.Stat(filepath.Join(dir, "never.jsonl")); err != nil || !errors.Is(statErr, fs.ErrNotExist) {
		t.Errorf("appending nothing: %v, and the file: %v", err, statErr)
	}
}

func TestAppendLeavesTheCallersBytesAlone(t *testing.T) {
	d, _ := open(t)
	buf := []byte("abcX")
	if err := d.Append(background, "a", buf[:3]); err != nil {
		t.Fatal(err)
	}
	if string(buf) != "abcX" {
		t.Errorf("the caller's buffer became %q", buf)
	}
}

func TestAppendRefusesPaths(t *testing.T) {
	d, dir := open(t)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	for _, name := range []string{
		"", ".", "..", "../outside", "a/../../outside", "a/..", "./a", "a/./b", "a//b", "a/", "/", outside, "/etc/passwd",
		`..\outside`, `a\b`, `C:\x`, "C:x", "a:stream", "a\x00b", "a\nb", "a\x1b[0m", "a\u202eb", "a\xff", strings.Repeat("a", MaxPath+1), "1/2/3/4/5/6/7/8/9",
	} {
		if err := d.Append(background, name, []byte("x\n")); err == nil {
			t.Errorf("%q was appended to", name)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a file was made outside")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("refused paths left %v, %v", entries, err)
	}
}

func TestAppendBoundsData(t *testing.T) {
	d, dir := open(t)
	if err := d.Append(background, "a", make([]byte, MaxData+1)); err == nil {
		t.Error("too much was appended")
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("a refused append made a file")
	}
	if err := d.Append(background, "a", bytes.Repeat([]byte("x"), MaxData)); err != nil {
		t.Error(err)
	}
}

func TestAppendCutsATornLine(t *testing.T) {
	long := strings.Repeat("y", 200<<10)
	for _, c := range []struct{ before, want string }{
		{"1\n2\ntor", "1\n2\nnew\n"},
		{"torn from the start", "new\n"},
		{"1\n" + long, "1\nnew\n"},
		{long, "new\n"},
		{"1\n", "1\nnew\n"},
		{"\n", "\nnew\n"},
		{"", "new\n"},
	} {
		d, dir := open(t)
		path := filepath.Join(dir, "a")
		if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, d, "a", "new\n")
		if got := read(t, path); got != c.want {
			t.Errorf("%.40q became %.40q, want %q", c.before, got, c.want)
		}
	}
}

func TestAppendLeavesAForeignFileAlone(t *testing.T) {
	d, dir := open(t)
	path := filepath.Join(dir, "a")
	foreign := "line\n" + strings.Repeat("z", maxTorn+1)
	if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Append(background, "a", []byte("new\n")); err == nil {
		t.Error("appended to a file whose last line no append has torn")
	}
	if read(t, path) != foreign {
		t.Error("the file was changed")
	}
}

func TestAppendToWhatIsNoFile(t *testing.T) {
	d, dir := open(t)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, d, "file", "x\n")
	for _, name := range []string{"folder", "file/below"} {
		err := d.Append(background, name, []byte("x\n"))
		if err == nil {
			t.Errorf("%s was appended to", name)
		} else if strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v names the operator's directory", name, err)
		}
	}
}

func TestAppendRefusesSecondLinks(t *testing.T) {
	d, dir := open(t)
	mustAppend(t, d, "a", "1\n")
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(filepath.Dir(dir), "elsewhere")); err != nil {
		t.Skipf("this file system has no hard links: %v", err)
	}
	if err := d.Append(background, "a", []byte("2\n")); err == nil || !strings.Contains(err.Error(), "links") {
		t.Errorf("got %v", err)
	}
	if got := read(t, filepath.Join(dir, "a")); got != "1\n" {
		t.Errorf("the file holds %q", got)
	}
}

func TestAppendAfterAFailedFsync(t *testing.T) {
	d, dir := open(t)
	path := filepath.Join(dir, "a")
	mustAppend(t, d, "a", "1\n")
	var failed *os.File
	broken := errors.New("input/output error")
	d.sync = func(f *os.File) error { failed = f; return broken }
	if err := d.Append(background, "a", []byte("2\n")); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if got := read(t, path); got != "1\n" {
		t.Errorf("after the failed fsync the file holds %q", got)
	}
	if _, err := failed.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the descriptor whose fsync failed is still open: %v", err)
	}
	d.sync = func(f *os.File) error {
		if f == failed {
			t.Error("fsync again on the descriptor that failed")
		}
		return f.Sync()
	}
	mustAppend(t, d, "a", "3\n")
	if got := read(t, path); got != "1\n3\n" {
		t.Errorf("the file holds %q", got)
	}
}

func TestAppendIsSyncedWithItsName(t *testing.T) {
	d, dir := open(t)
	var synced []string
	d.sync = func(f *os.File) error {
		rel, err := filepath.Rel(dir, f.Name())
		if err != nil {
			t.Fatal(err)
		}
		synced = append(synced, filepath.ToSlash(rel))
		return f.Sync()
	}
	mustAppend(t, d, "x/y/a", "1\n")
	mustAppend(t, d, "x/y/a", "2\n")
	want := "x/y x . x/y/a x/y/a"
	if !syncsFolders {
		want = "x/y/a x/y/a"
	}
	if got := strings.Join(synced, " "); got != want {
		t.Errorf("synced %q, want %q", got, want)
	}
}

func TestAppendFollowsARotatedFile(t *testing.T) {
	d, dir := open(t)
	path := filepath.Join(dir, "a")
	mustAppend(t, d, "a", "1\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, d, "a", "2\n")
	if old, now := read(t, path+".1"), read(t, path); old != "1\n" || now != "2\n" {
		t.Errorf("the old file holds %q, the new one %q", old, now)
	}
}

func TestAppendWaitsForTheLockUntilTheContextEnds(t *testing.T) {
	d, dir := open(t)
	mustAppend(t, d, "a", "1\n")
	holder, err := os.OpenFile(filepath.Join(dir, "a"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := lock(background, holder); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	if err := d.Append(ctx, "a", []byte("2\n")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	done := make(chan error)
	go func() { done <- d.Append(background, "a", []byte("3\n")) }()
	unlock(holder)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(dir, "a")); got != "1\n3\n" {
		t.Errorf("the file holds %q", got)
	}
}

func TestAppendFromSeveralGoroutines(t *testing.T) {
	d, dir := open(t)
	const writers, each = 4, 10
	line := strings.Repeat("x", 3000) + "\n"
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := d.Append(background, "a", []byte(line)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if read(t, filepath.Join(dir, "a")) != strings.Repeat(line, writers*each) {
		t.Error("the appends mixed, or some are missing")
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if err := d.Append(background, "a", []byte("x\n")); err == nil {
		t.Error("appended after Close")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil {
		t.Error("opened a file as a directory")
	}
}

// FuzzCheckPath holds that no accepted path leads out of a directory on any platform.
func FuzzCheckPath(f *testing.F) {
	for _, s := range []string{"a.jsonl", "2026/11/a", "../a", "a/../b", "/a", `a\b`, "C:", "a\x00", "NUL", "…"} {
		f.Add(s)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		if CheckPath(name) != nil {
			return
		}
		rel, err := filepath.Rel(root, filepath.Join(root, filepath.FromSlash(name)))
		if err != nil || filepath.ToSlash(rel) != name {
			t.Fatalf("%q is %q below the root, %v", name, rel, err)
		}
		if strings.ContainsAny(name, "\\:\x00\n") || !fs.ValidPath(name) {
			t.Fatalf("%q was accepted", name)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	d, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	batch := bytes.Repeat([]byte(strings.Repeat("x", 499)+"\n"), 256)
	for name, sync := range map[string]func(*os.File) error{"durable": (*os.File).Sync, "without-fsync": func(*os.File) error { return nil }} {
		b.Run(name, func(b *testing.B) {
			d.sync = sync
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				if err := d.Append(background, "a", batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
