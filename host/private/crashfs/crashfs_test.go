package crashfs_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// trials is how often each freedom of the model is tried: enough that an
// outcome with a chance of one half is seen.
const trials = 64

func seeded(seed uint64) func(int) int {
	r := rand.New(rand.NewPCG(seed, 1))
	return r.IntN
}

func create(t *testing.T, p *crashfs.Process, name, content string) private.File {
	t.Helper()
	f, err := p.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// content returns what is in a file, and "none" when there is none.
func content(t *testing.T, p *crashfs.Process, name string) string {
	t.Helper()
	f, err := p.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := f.ReadAt(b, 0)
	if err != io.EOF {
		t.Fatal(err)
	}
	return string(b[:n])
}

// outcomes collects what a file holds after a power cut, over many trials.
func outcomes(t *testing.T, name string, before func(p *crashfs.Process)) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	for seed := range uint64(trials) {
		d := crashfs.New(seeded(seed))
		before(d.Process(nil))
		d.PowerCut()
		seen[content(t, d.Process(nil), name)] = true
	}
	return seen
}

func want(t *testing.T, got map[string]bool, all ...string) {
	t.Helper()
	for _, w := range all {
		if !got[w] {
			t.Errorf("never %q, but %v", w, got)
		}
		delete(got, w)
	}
	if len(got) > 0 {
		t.Errorf("also %v", got)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingFlushed(t *testing.T) {
	want(t, outcomes(t, "/a", func(p *crashfs.Process) { create(t, p, "/a", "new") }),
		"none", "", "new", "\x00\x00\x00")
}

func TestFlushedWithoutName(t *testing.T) {
	want(t, outcomes(t, "/a", func(p *crashfs.Process) {
		check(t, create(t, p, "/a", "new").Sync())
	}), "none", "new")
}

func TestAllFlushed(t *testing.T) {
	want(t, outcomes(t, "/a", func(p *crashfs.Process) {
		check(t, create(t, p, "/a", "new").Sync())
		check(t, p.SyncDir("/"))
	}), "new")
}

func TestOverwriteIsOldOrNew(t *testing.T) {
	want(t, outcomes(t, "/a", func(p *crashfs.Process) {
		f := create(t, p, "/a", "old")
		check(t, f.Sync())
		check(t, p.SyncDir("/"))
		if _, err := f.WriteAt([]byte("new"), 0); err != nil {
			t.Fatal(err)
		}
		if got := content(t, p, "/a"); got != "new" {
			t.Fatalf("a reader sees %q", got)
		}
	}), "old", "new")
}

// The length may be the old one while the cut block is new, as when a page is
// written back whose tail was cleared.
func TestTruncateIsOldOrNew(t *testing.T) {
	want(t, outcomes(t, "/a", func(p *crashfs.Process) {
		f := create(t, p, "/a", "long")
		check(t, f.Sync())
		check(t, p.SyncDir("/"))
		check(t, f.Truncate(1))
	}), "long", "l", "l\x00\x00\x00")
}

func TestRenameIsAtomic(t *testing.T) {
	want(t, outcomes(t, "/a", func(p *crashfs.Process) {
		check(t, create(t, p, "/a", "old").Sync())
		check(t, create(t, p, "/b", "new").Sync())
		check(t, p.SyncDir("/"))
		check(t, p.Rename("/b", "/a"))
	}), "old", "new")
}

func TestRemoveMayComeBack(t *testing.T) {
	want(t, outcomes(t, "/a", func(p *crashfs.Process) {
		check(t, create(t, p, "/a", "old").Sync())
		check(t, p.SyncDir("/"))
		check(t, p.Remove("/a"))
	}), "old", "none")
}

// TestFailedSyncIsFinal shows what makes a second flush after a failed one
// worthless: it succeeds, readers see the data, and the power cut takes it.
func TestFailedSyncIsFinal(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(trials) {
		d := crashfs.New(seeded(seed))
		failed := false
		p := d.Process(func(c crashfs.Call) *crashfs.Fault {
			if c.Op == "sync" && !failed {
				failed = true
				return &crashfs.Fault{Err: syscall.EIO}
			}
			return nil
		})
		f := create(t, p, "/a", "new")
		check(t, p.SyncDir("/"))
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("the flush returns %v", err)
		}
		check(t, f.Sync())
		if got := content(t, p, "/a"); got != "new" {
			t.Fatalf("a reader sees %q", got)
		}
		d.PowerCut()
		seen[content(t, d.Process(nil), "/a")] = true
	}
	want(t, seen, "new", "\x00\x00\x00")
}

func TestKillKeepsWhatWasWrittenAndFreesLocks(t *testing.T) {
	d := crashfs.New(seeded(1))
	p, q := d.Process(nil), d.Process(nil)
	f := create(t, p, "/a", "new")
	if ok, err := f.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	g, err := q.OpenFile("/a", os.O_RDWR, 0)
	check(t, err)
	if ok, err := g.TryLock(); ok || err != nil {
		t.Fatal("two hold the lock", err)
	}
	p.Kill()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, crashfs.ErrKilled) {
		t.Errorf("a dead process writes: %v", err)
	}
	if ok, err := g.TryLock(); !ok || err != nil {
		t.Errorf("the lock outlives its owner: %v", err)
	}
	if got := content(t, q, "/a"); got != "new" {
		t.Errorf("the file holds %q", got)
	}
}

func TestKillTearsAWrite(t *testing.T) {
	lengths := map[int]bool{}
	for seed := range uint64(trials) {
		d := crashfs.New(seeded(seed))
		p := d.Process(func(c crashfs.Call) *crashfs.Fault {
			if c.Op == "write" {
				return &crashfs.Fault{Kill: true}
			}
			return nil
		})
		f, err := p.OpenFile("/a", os.O_RDWR|os.O_CREATE, 0o600)
		check(t, err)
		full := bytes.Repeat([]byte("x"), 8)
		if _, err := f.WriteAt(full, 0); !errors.Is(err, crashfs.ErrKilled) {
			t.Fatal(err)
		}
		got := content(t, d.Process(nil), "/a")
		if got != string(full[:len(got)]) {
			t.Fatalf("torn to %q", got)
		}
		lengths[len(got)] = true
	}
	if !lengths[0] || !lengths[8] || len(lengths) < 4 {
		t.Errorf("lengths seen: %v", lengths)
	}
}

func TestShortWrite(t *testing.T) {
	d := crashfs.New(seeded(1))
	p := d.Process(func(c crashfs.Call) *crashfs.Fault {
		if c.Op == "write" {
			return &crashfs.Fault{Err: syscall.ENOSPC, Short: 2}
		}
		return nil
	})
	f, err := p.OpenFile("/a", os.O_RDWR|os.O_CREATE, 0o600)
	check(t, err)
	n, err := f.WriteAt([]byte("abcd"), 0)
	if n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a short write returns %d, %v", n, err)
	}
	if got := content(t, d.Process(nil), "/a"); got != "ab" {
		t.Errorf("the file holds %q", got)
	}
}
