package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// edit changes the bytes of a slot's segment.
func edit(t testing.TB, s *Spool, slot int, first uint64, f func([]byte) []byte) {
	t.Helper()
	path := s.segmentPath(slot, first)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func quarantined(t testing.TB, s *Spool) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, "quarantine"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTornTailIsCut(t *testing.T) {
	whole := appendFrame(nil, frame{seq: 3, payload: []byte("never acknowledged")})
	for cut := 1; cut < len(whole); cut++ {
		s := openTest(t, Options{Sync: SyncOff})
		w := writer(t, s)
		appendAll(t, w, 0, "one", "two")
		closeWriter(t, w)
		edit(t, s, 0, 1, func(b []byte) []byte { return append(b, whole[:cut]...) })
		equal(t, payloads(readAll(t, s, 0, 1)), []string{"one", "two"})
		if got := quarantined(t, s); got != nil {
			t.Fatalf("a reader takes a torn tail for damage: %v", got)
		}
		w = writer(t, s)
		appendAll(t, w, 0, "three")
		es := readAll(t, s, 0, 1)
		equal(t, payloads(es), []string{"one", "two", "three"})
		if got := files(t, s, 0); es[2].Seq != 3 || !slices.Equal(got, []string{fmt.Sprintf("1:%d", 3*headerSize+11)}) {
			t.Fatalf("number %d in %v", es[2].Seq, got)
		}
		name := fmt.Sprintf("slot-00-%020d-78.bad", 1)
		kept, err := os.ReadFile(filepath.Join(s.dir, "quarantine", name))
		if err != nil || !bytes.Equal(kept, whole[:cut]) {
			t.Fatalf("quarantine holds %q: %v", kept, err)
		}
	}
}

// TestEveryDamagedByte flips each byte of a segment with five records: all
// other records are read, by readers before and after the next owner came.
func TestEveryDamagedByte(t *testing.T) {
	all := []string{"one", "two", "three", "four", "five"}
	var at []int
	for i, off := 0, 0; i < len(all); i++ {
		at = append(at, off)
		off += headerSize + len(all[i])
	}
	size := at[4] + headerSize + 4
	for i := range size {
		hit := 4
		for at[hit] > i {
			hit--
		}
		s := openTest(t, Options{Sync: SyncOff})
		w := writer(t, s)
		appendAll(t, w, 0, all...)
		closeWriter(t, w)
		edit(t, s, 0, 1, func(b []byte) []byte { b[i] ^= 0x40; return b })
		want := slices.Delete(slices.Clone(all), hit, hit+1)
		equal(t, payloads(readAll(t, s, 0, 1)), want)
		w = writer(t, s)
		appendAll(t, w, 0, "six")
		es := readAll(t, s, 0, 1)
		equal(t, payloads(es), append(want, "six"))
		if last := es[len(es)-1]; last.Seq < 6 && hit < 4 || last.Seq < 5 {
			t.Fatalf("byte %d: number %d again", i, last.Seq)
		}
		if got := quarantined(t, s); len(got) != 1 {
			t.Fatalf("byte %d: quarantine holds %v", i, got)
		}
		if ls, err := s.Losses(); err != nil || hit < 4 && (len(ls) != 1 || ls[0].Reason != LostDamaged || ls[0].Total != 1) {
			t.Fatalf("byte %d: losses %+v, %v", i, ls, err)
		}
	}
}

func TestNothingInAFileStopsTheSpool(t *testing.T) {
	frames := func(seqs ...uint64) (b []byte) {
		for _, n := range seqs {
			b = appendFrame(b, frame{seq: n, payload: []byte("x")})
		}
		return b
	}
	for name, c := range map[string]struct {
		content []byte
		want    int
	}{
		"empty":           {nil, 0},
		"text":            {[]byte("hello"), 0},
		"zeros":           {make([]byte, 10_000), 0},
		"magics":          {bytes.Repeat([]byte(magic), 300_000), 0},
		"huge length":     {append([]byte(magic+"\x00\x00\x00\x00\xff\xff\xff\xff"), make([]byte, 100)...), 0},
		"numbers go back": {frames(1, 2, 1, 2, 3), 3},
		"number far off":  {frames(1, 2, maxSeq-1), 2},
		"number too low":  {frames(0, 1), 0}, // the second one stands too far behind for its number, and is fine
		"last number":     {frames(maxSeq - 1), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, Options{Sync: SyncOff})
			closeWriter(t, writer(t, s))
			edit(t, s, 0, 1, func([]byte) []byte { return c.content })
			if name == "number too low" {
				c.want = 1
			}
			if es := readAll(t, s, 0, 1); len(es) != c.want {
				t.Errorf("%d records are read, want %d", len(es), c.want)
			}
			if _, err := s.Backlog(state(t, s, "camp")); err != nil {
				t.Error(err)
			}
			w := writer(t, s)
			appendAll(t, w, 0, "next")
			closeWriter(t, w)
			es := readAll(t, s, 0, 1)
			if len(es) != c.want+1 || string(es[c.want].Payload) != "next" {
				t.Fatalf("%d records are read, want %d", len(es), c.want+1)
			}
			st := state(t, s, "camp")
			for _, e := range es {
				st.SettleEntry(e)
			}
			save(t, st)
			if _, err := s.Trim("camp"); err != nil {
				t.Error(err)
			}
			if got := files(t, s, 0); len(got) != 1 || !strings.HasSuffix(got[0], ":0") {
				t.Errorf("left is %v", got)
			}
		})
	}
}

// TestForeignThings puts in the spool's folders what is not the spool's.
func TestForeignThings(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	w := writer(t, s)
	appendAll(t, w, 0, "one")
	closeWriter(t, w)
	for _, name := range []string{"spool/slot-1", "spool/slot-0001", "spool/slot-x", "spool/slot--1", "spool/slot-01234"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"1.log", "+0000000000000000005.log", "00000000000000000000.log", "99999999999999999999.log", "x"} {
		if err := os.WriteFile(filepath.Join(s.slotDir(0), name), []byte("?"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.slotDir(0), "00000000000000000009.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(s.slotDir(0), "00000000000000000010.log")); err != nil {
		t.Fatal(err)
	}
	if slots, err := s.Slots(); err != nil || !slices.Equal(slots, []int{0}) {
		t.Errorf("slots %v, %v", slots, err)
	}
	w = writer(t, s)
	appendAll(t, w, 0, "two")
	equal(t, payloads(readAll(t, s, 0, 1)), []string{"one", "two"})
}

func TestQuarantineIsBounded(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	for i := range 3 * maxSpanFiles {
		s.quarantine("slot-00", int64(i), []byte("bad"))
	}
	if got := quarantined(t, s); len(got) != maxSpanFiles {
		t.Errorf("%d files", len(got))
	}
	if s.quarantine("big", 0, make([]byte, 2*maxSpanCopy)); len(quarantined(t, s)) != maxSpanFiles {
		t.Error("no bound")
	}
	info, err := os.Stat(filepath.Join(s.dir, "quarantine", "big-0.bad"))
	if err != nil || info.Size() != maxSpanCopy {
		t.Errorf("%v, %v", info, err)
	}
}

func TestHomeUnusable(t *testing.T) {
	refused := func(t *testing.T, dir, words string) {
		t.Helper()
		s, err := Open(dir, Options{})
		if err == nil {
			_, err = s.Writer()
		}
		if fault.CodeOf(err) != fault.HomeUnusable || !strings.Contains(err.Error(), words) {
			t.Errorf("%v", err)
		}
	}
	home := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "home")
		if err := private.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	other := t.TempDir()
	for _, sub := range []string{"", "spool", "spool/slot-00", "state", "dlq", "quarantine"} {
		t.Run("symlink "+sub, func(t *testing.T) {
			dir := home(t)
			at := filepath.Join(dir, sub)
			if sub != "" {
				if err := private.MkdirAll(filepath.Dir(at)); err != nil {
					t.Fatal(err)
				}
			}
			os.Remove(at)
			if err := os.Symlink(other, at); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, "symlink")
		})
	}
	t.Run("symlink at the lock", func(t *testing.T) {
		dir := home(t)
		if err := private.MkdirAll(filepath.Join(dir, "spool/slot-00")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(other, "lock"), filepath.Join(dir, "spool/slot-00/lock")); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "symlink")
	})
	t.Run("file", func(t *testing.T) {
		dir := home(t)
		if err := os.WriteFile(filepath.Join(dir, "spool"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "not a folder")
	})
	t.Run("open to others", func(t *testing.T) {
		dir := home(t)
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "0755")
	})
	t.Run("foreign", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a folder away")
		}
		dir := home(t)
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		refused(t, dir, "belongs to user 12345")
	})
	if entries, err := os.ReadDir(other); err != nil || len(entries) != 0 {
		t.Errorf("something was written through a symlink: %v, %v", entries, err)
	}
}

// TestDiskFull runs out of space, for a long time, and then has some again.
func TestDiskFull(t *testing.T) {
	full := false
	var truncated bool
	disk := crashfs.New(func(int) int { return 0 })
	p := disk.Process(func(c crashfs.Call) *crashfs.Fault {
		truncated = truncated || c.Op == "truncate"
		if full && c.Op == "write" {
			return &crashfs.Fault{Err: syscall.ENOSPC, Short: c.Size - 1}
		}
		return nil
	})
	s, err := open(p, "/home", Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Writer()
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, w, 0, "one", "two")
	full = true
	for range 1000 {
		err := w.Append(0, []byte("lost"), []byte("lost too"))
		if fault.CodeOf(err) != fault.SpoolFailed || !strings.Contains(err.Error(), "no space left") {
			t.Fatal(err)
		}
	}
	if got := files(t, s, 0); len(got) != 2 || got[0] != "1:78" {
		t.Errorf("segments %v", got)
	}
	equal(t, payloads(readAll(t, s, 0, 1)), []string{"one", "two"})
	full = false
	appendAll(t, w, 0, "three")
	es := readAll(t, s, 0, 1)
	equal(t, payloads(es), []string{"one", "two", "three"})
	if es[2].First != 3 || es[2].Seq != 3+2*1000 {
		t.Errorf("numbers of failed records were used again: %+v", es[2])
	}
	if err := w.Close(); err != nil || !truncated {
		t.Error(err, truncated)
	}
	disk.PowerCut()
	s, err = open(disk.Process(nil), "/home", Options{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, payloads(readAll(t, s, 0, 1)), []string{"one", "two", "three"})
}

// TestFailedFlush shows that no file is flushed again after a failed flush, in
// this process or by the slot's next owner.
func TestFailedFlush(t *testing.T) {
	for _, mode := range []Sync{SyncExit, SyncAlways} {
		failed := map[string]bool{}
		fail := true
		disk := crashfs.New(func(int) int { return 1 })
		p := disk.Process(func(c crashfs.Call) *crashfs.Fault {
			if c.Op != "sync" {
				return nil
			}
			if failed[c.Path] {
				t.Errorf("%s is flushed again", c.Path)
			}
			if fail {
				failed[c.Path] = true
				return &crashfs.Fault{Err: syscall.EIO}
			}
			return nil
		})
		s, err := open(p, "/home", Options{Sync: mode})
		if err != nil {
			t.Fatal(err)
		}
		w, err := s.Writer()
		if err != nil {
			t.Fatal(err)
		}
		err = w.Append(0, []byte("one"))
		if mode == SyncExit {
			if err != nil {
				t.Fatal(err)
			}
			err = w.Close()
		}
		if fault.CodeOf(err) != fault.SpoolFailed || !strings.Contains(err.Error(), "input/output error") || len(failed) != 1 {
			t.Fatalf("%v after %v", err, failed)
		}
		w.Close()
		fail = false
		if w, err = s.Writer(); err != nil {
			t.Fatal(err)
		}
		appendAll(t, w, 0, "two")
		closeWriter(t, w)
		equal(t, payloads(readAll(t, s, 0, 1)), []string{"one", "two"})
		disk.PowerCut()
		s, err = open(disk.Process(nil), "/home", Options{Sync: mode})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, payloads(readAll(t, s, 0, 1)), []string{"two"})
	}
}
