package spool

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// TestLossesAreExact stops an eviction at each of its system calls, and then
// finishes it: every record is there or was counted as lost, once.
func TestLossesAreExact(t *testing.T) {
	faults := map[string]crashfs.Fault{
		"kill":  {Kill: true},
		"power": {PowerCut: true},
		"EIO":   {Err: syscall.EIO},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			stopped := 0
			for n, before := 1, -1; before < stopped; n++ {
				before = stopped
				for seed := range uint64(2) {
					stopped += lossesAt(t, n, seed, fault)
				}
			}
			if stopped < 100 {
				t.Errorf("only %d evictions were stopped", stopped)
			}
		})
	}
}

func lossesAt(t *testing.T, n int, seed uint64, fault crashfs.Fault) (stopped int) {
	t.Helper()
	disk := crashfs.New(rand.New(rand.NewPCG(seed, uint64(n))).IntN)
	now := time.Unix(1_700_000_000, 0)
	spool := func(p *crashfs.Process, maxBytes int64) *Spool {
		s, err := open(p, "/home", Options{
			Sync: SyncAlways, MaxBytes: maxBytes, MaxAge: time.Hour, Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		s.segmentSize = 150
		return s
	}
	s := spool(disk.Process(nil), 1<<20)
	w, w2 := writer(t, s), writer(t, s)
	const records = 24
	for i := range records / 2 {
		appendAll(t, w, 0, fmt.Sprintf("record %30d", i))
		appendAll(t, w2, 0, fmt.Sprintf("record %30d", i))
		now = now.Add(10 * time.Minute)
	}
	closeWriter(t, w)
	closeWriter(t, w2)
	st := state(t, s, "camp")
	st.Settle(0, 1, 4) // three records are no loss
	save(t, st)

	p := disk.Process(func(c crashfs.Call) *crashfs.Fault {
		if c.N != n {
			return nil
		}
		stopped++
		return &fault
	})
	if s, err := open(p, "/home", Options{MaxBytes: 400, MaxAge: time.Hour, Now: func() time.Time { return now }}); err == nil {
		s.Trim("camp")
	}
	p.Kill()

	s = spool(disk.Process(nil), 400)
	if _, err := s.Trim("camp"); err != nil {
		t.Fatal(err)
	}
	// Removals are not flushed: a power cut may bring segments back.
	disk.PowerCut()
	s = spool(disk.Process(nil), 400)
	if _, err := s.Trim("camp"); err != nil {
		t.Fatal(err)
	}
	left := uint64(0)
	for _, slot := range []int{0, 1} {
		es := readAll(t, s, slot, 1)
		left += uint64(len(es))
		if slot == 0 && len(es) > 0 && es[0].Seq <= 4 {
			t.Fatalf("record %d is still there", es[0].Seq)
		}
	}
	var lost uint64
	ls, err := s.Losses()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		lost += l.Total
	}
	if left+lost+3 != records || lost == 0 || left == 0 {
		t.Fatalf("call %d: %d records are left of %d, and %d are counted as lost (%+v)", n, left, records, lost, ls)
	}
	return stopped
}

// interrupted lets something happen between two reads of a file.
type interrupted struct {
	private.FS
	between func(path string, read int)
}

type interruptedFile struct {
	private.File
	path    string
	read    int
	between func(path string, read int)
}

func (f interrupted) OpenFile(name string, flag int, perm os.FileMode) (private.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &interruptedFile{File: file, path: name, between: f.between}, nil
}

func (f *interruptedFile) ReadAt(b []byte, off int64) (int, error) {
	f.read++
	f.between(f.path, f.read)
	return f.File.ReadAt(b, off)
}

// TestTailIsCutUnderAReader has the slot's next owner cut a torn tail, and
// append in its place, between two reads of a reader. The tail lies across the
// end of the reader's first read: so the reader has the beginning of the old
// bytes and the middle of the new ones, and a valid frame behind them.
func TestTailIsCutUnderAReader(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	w := writer(t, s)
	first := strings.Repeat("1", scanChunk-2*headerSize-len("two")-50)
	appendAll(t, w, 0, first, "two")
	closeWriter(t, w)
	torn := appendFrame(nil, frame{seq: 3, payload: []byte(strings.Repeat("t", 100))})[:90]
	edit(t, s, 0, 1, func(b []byte) []byte { return append(b, torn...) })

	done := false
	reader := reopen(t, s.dir, Options{})
	reader.fs = interrupted{private.OS(), func(path string, read int) {
		if read != 2 || done || !strings.HasSuffix(path, ".log") {
			return
		}
		done = true
		w := writer(t, s)
		appendAll(t, w, 0, "three", strings.Repeat("four", 50), "five")
		closeWriter(t, w)
	}}
	es, _, err := reader.Read(0, 1, 100, 1<<20)
	if err != nil || len(es) != 5 {
		t.Fatalf("%d records, %v", len(es), err)
	}
	equal(t, payloads(es[1:]), []string{"two", "three", strings.Repeat("four", 50), "five"})
	if ls, err := reader.Losses(); err != nil || len(ls) != 0 || !done {
		t.Errorf("losses %+v, %v", ls, err)
	}
}

// staleListing is a file system whose listing of a folder takes its time, as
// POSIX allows: of the names that are made meanwhile it shows the last alone.
type staleListing struct {
	private.FS
	during func(dir string)
}

func (f staleListing) ReadDir(name string) ([]fs.DirEntry, error) {
	before, err := f.FS.ReadDir(name)
	if err != nil {
		return nil, err
	}
	f.during(name)
	after, err := f.FS.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var shown []fs.DirEntry
	for i, e := range after {
		known := slices.ContainsFunc(before, func(b fs.DirEntry) bool { return b.Name() == e.Name() })
		if known || !strings.HasSuffix(e.Name(), ".log") || i == len(after)-1 || !strings.HasSuffix(after[i+1].Name(), ".log") {
			shown = append(shown, e)
		}
	}
	return shown, nil
}

// TestSegmentsMadeDuringAListing rotates while a reader lists the slot.
func TestSegmentsMadeDuringAListing(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	s.segmentSize = 50
	w := writer(t, s)
	appendAll(t, w, 0, "first record, a segment of its own")
	n := 1
	reader := reopen(t, s.dir, Options{})
	reader.fs = staleListing{private.OS(), func(dir string) {
		if filepath.Base(dir) == "slot-00" && n < 30 {
			for range 3 {
				n++
				appendAll(t, w, 0, fmt.Sprintf("record %d, a segment of its own", n))
			}
		}
	}}
	for from := uint64(1); from < 30; {
		es, next, err := reader.Read(0, from, 2, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range es {
			if e.First != from+uint64(i) || e.Seq != e.First {
				t.Fatalf("record %d begins at %d, after %d", e.Seq, e.First, from)
			}
		}
		if next != from+uint64(len(es)) || len(es) == 0 {
			t.Fatalf("%d records from %d, and next is %d", len(es), from, next)
		}
		from = next
	}
}
