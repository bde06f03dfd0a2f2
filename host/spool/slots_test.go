package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
)

func closeWriter(t testing.TB, w *Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func state(t testing.TB, s *Spool, dest string) *State {
	t.Helper()
	st, err := s.State(dest)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func save(t testing.TB, st *State) {
	t.Helper()
	if err := st.Save(); err != nil {
		t.Fatal(err)
	}
}

func measured(s *Spool, slot int) ([]segment, error) {
	segs, err := s.segments(slot)
	if err != nil {
		return nil, err
	}
	return s.measure(segs)
}

// files lists the segments of a slot by name.
func files(t testing.TB, s *Spool, slot int) []string {
	t.Helper()
	segs, err := measured(s, slot)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range segs {
		names = append(names, fmt.Sprintf("%d:%d", g.first, g.size))
	}
	return names
}

func TestLowestFreeSlot(t *testing.T) {
	s := openTest(t, Options{})
	var ws []*Writer
	for i := range 4 {
		ws = append(ws, writer(t, s))
		if ws[i].Slot() != i {
			t.Fatalf("writer %d has slot %d", i, ws[i].Slot())
		}
	}
	closeWriter(t, ws[2])
	closeWriter(t, ws[1])
	if w := writer(t, s); w.Slot() != 1 {
		t.Errorf("the lowest free slot is 1, and not %d", w.Slot())
	}
	if slots, err := s.Slots(); err != nil || !slices.Equal(slots, []int{0, 1, 2, 3}) {
		t.Errorf("slots %v, %v", slots, err)
	}
}

// TestManyShortCommands is ten thousand commands in a row, one record each.
func TestManyShortCommands(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	s := openTest(t, Options{Sync: SyncOff})
	for i := range n {
		w, err := reopen(t, s.dir, Options{Sync: SyncOff}).Writer()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Append(1, fmt.Appendf(nil, "command %06d", i)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if slots, err := s.Slots(); err != nil || len(slots) != 1 {
		t.Errorf("slots %v, %v", slots, err)
	}
	if got := files(t, s, 0); len(got) != 1 {
		t.Errorf("segments %v", got)
	}
	es := readAll(t, s, 0, 1)
	if len(es) != n || string(es[n-1].Payload) != fmt.Sprintf("command %06d", n-1) || es[n-1].Seq != uint64(n) {
		t.Errorf("%d records, the last %+v", len(es), es[len(es)-1])
	}
}

func TestRotation(t *testing.T) {
	s := openTest(t, Options{})
	w := writer(t, s)
	big := bytes.Repeat([]byte("x"), SegmentSize-headerSize-100)
	if err := w.Append(0, big); err != nil {
		t.Fatal(err)
	}
	appendAll(t, w, 0, strings.Repeat("y", 64))        // fills the segment to the byte
	appendAll(t, w, 0, "z", "zz")                      // opens the next
	if err := w.Append(0, big, big, big); err != nil { // larger than a segment
		t.Fatal(err)
	}
	appendAll(t, w, 0, "end")
	want := []string{"1:1048576", "3:75", fmt.Sprintf("5:%d", 3*(SegmentSize-100)), "8:39"}
	if got := files(t, s, 0); !slices.Equal(got, want) {
		t.Errorf("segments %v, want %v", got, want)
	}
	es := readAll(t, s, 0, 1)
	if len(es) != 8 || es[7].Seq != 8 || string(es[7].Payload) != "end" || !bytes.Equal(es[5].Payload, big) {
		t.Errorf("%d records", len(es))
	}
}

func TestReadBounds(t *testing.T) {
	s := openTest(t, Options{})
	w := writer(t, s)
	appendAll(t, w, 0, "aaaa", "bbbb", "cccc", "dddd")
	for _, c := range []struct{ entries, bytes, want int }{
		{1, 100, 1}, {0, 0, 1}, {10, 3, 1}, {10, 4, 1}, {10, 7, 1}, {10, 8, 2}, {3, 100, 3}, {10, 100, 4},
	} {
		es, next, err := s.Read(0, 1, c.entries, c.bytes)
		if err != nil || len(es) != c.want || next != uint64(c.want+1) {
			t.Errorf("Read of %d entries and %d bytes: %d, next %d, %v", c.entries, c.bytes, len(es), next, err)
		}
	}
	if es, next, err := s.Read(0, 5, 10, 100); err != nil || len(es) != 0 || next != 5 {
		t.Errorf("at the end: %v, %d, %v", es, next, err)
	}
	if es, next, err := s.Read(7, 1, 10, 100); err != nil || len(es) != 0 || next != 1 {
		t.Errorf("a slot that is not there: %v, %d, %v", es, next, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	s := openTest(t, Options{})
	w := writer(t, s)
	huge := make([]byte, MaxPayload)
	many := make([][]byte, MaxBatch/MaxPayload)
	for i := range many {
		many[i] = huge
	}
	for name, batch := range map[string][][]byte{
		"empty": {[]byte("a"), nil}, "long": {make([]byte, MaxPayload+1)}, "batch": many,
	} {
		if err := w.Append(0, batch...); fault.CodeOf(err) != fault.SpoolFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Append(0); err != nil {
		t.Error(err)
	}
	if err := w.Append(0, huge); err != nil {
		t.Error(err)
	}
	if es := readAll(t, s, 0, 1); len(es) != 1 || len(es[0].Payload) != MaxPayload {
		t.Errorf("%d records", len(es))
	}
}

// TestReadBesideWriters reads while writers append, rotate and come and go.
func TestReadBesideWriters(t *testing.T) {
	s := openTest(t, Options{Sync: SyncOff})
	s.segmentSize = 10_000
	const writers, each = 3, 400
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				w, err := s.Writer()
				if err != nil {
					t.Error(err)
					return
				}
				for range 40 {
					if err := w.Append(0, fmt.Appendf(nil, "%d.%d", i, n), bytes.Repeat([]byte("."), n+1)); err != nil {
						t.Error(err)
					}
					n++
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	seen := map[string]int{}
	next := map[int]uint64{}
	for last := false; ; {
		slots, err := s.Slots()
		if err != nil {
			t.Fatal(err)
		}
		for _, slot := range slots {
			for _, e := range readAll(t, s, slot, next[slot]) {
				if e.First != e.Seq {
					t.Fatalf("slot %d has a gap before %d", slot, e.Seq)
				}
				next[slot] = e.Seq + 1
				if e.Payload[0] != '.' {
					seen[string(e.Payload)]++
				}
			}
		}
		if last {
			break
		}
		select {
		case <-done:
			last = true
		default:
		}
	}
	for i := range writers {
		for n := range each {
			if c := seen[fmt.Sprintf("%d.%d", i, n)]; c != 1 {
				t.Fatalf("record %d.%d was read %d times", i, n, c)
			}
		}
	}
}

// TestNumbersAreNotReused removes the slots' files under a destination's feet.
func TestNumbersAreNotReused(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s *Spool){
		"spool removed": func(t *testing.T, s *Spool) {
			if err := os.RemoveAll(filepath.Join(s.dir, "spool")); err != nil {
				t.Fatal(err)
			}
		},
		"segments removed": func(t *testing.T, s *Spool) {
			if err := os.Remove(s.segmentPath(0, 1)); err != nil {
				t.Fatal(err)
			}
		},
		"end cut off": func(t *testing.T, s *Spool) {
			if err := os.Truncate(s.segmentPath(0, 1), 39); err != nil {
				t.Fatal(err)
			}
		},
		"all cut off": func(t *testing.T, s *Spool) {
			if err := os.Truncate(s.segmentPath(0, 1), 0); err != nil {
				t.Fatal(err)
			}
		},
		"zeros": func(t *testing.T, s *Spool) {
			if err := os.WriteFile(s.segmentPath(0, 1), make([]byte, 200), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, how := range []string{"watermark", "span", "inflight"} {
			t.Run(name+"/"+how, func(t *testing.T) {
				s := openTest(t, Options{})
				w := writer(t, s)
				appendAll(t, w, 0, "one", "two", "three", "four", "five")
				closeWriter(t, w)
				st := state(t, s, "camp")
				var err error
				switch how {
				case "watermark":
					st.Settle(0, 1, 6)
				case "span":
					st.Settle(0, 4, 6)
				case "inflight":
					err = s.SaveInflight("camp", &Inflight{Entries: []Range{{0, 1, 3}, {0, 4, 6}}})
				}
				if err != nil {
					t.Fatal(err)
				}
				save(t, st)
				spoil(t, s)
				s = reopen(t, s.dir, Options{})
				w = writer(t, s)
				appendAll(t, w, 0, "new")
				es := readAll(t, s, 0, state(t, s, "camp").Watermark(0)+1)
				last := es[len(es)-1]
				if string(last.Payload) != "new" || last.Seq < 6 {
					t.Fatalf("the new record has number %d", last.Seq)
				}
			})
		}
	}
}

func TestSettledSegmentsGo(t *testing.T) {
	s := openTest(t, Options{})
	s.segmentSize = 100
	w := writer(t, s)
	for i := range 10 {
		appendAll(t, w, 0, fmt.Sprintf("record number %d, two in a segment", i))
	}
	all := files(t, s, 0)
	camp, archive := state(t, s, "camp"), state(t, s, "archive")
	camp.Settle(0, 1, 11)
	save(t, camp)
	archive.Settle(0, 1, 4)
	for _, names := range [][]string{nil, {"camp", "archive"}} {
		if got, err := s.Trim(names...); err != nil || got.Segments != 0 {
			t.Fatalf("Trim(%v): %+v, %v", names, got, err)
		}
	}
	save(t, archive)
	if got, err := s.Trim("camp", "archive"); err != nil || got != (Trimmed{Segments: 3, Bytes: got.Bytes}) {
		t.Fatalf("trim: %+v, %v", got, err)
	}
	if got := files(t, s, 0); !slices.Equal(got, all[3:]) {
		t.Fatalf("left is %v of %v", got, all)
	}
	archive.Settle(0, 1, 11)
	save(t, archive)
	// The writer is alive: its segment stays.
	if _, err := s.Trim("camp", "archive"); err != nil {
		t.Fatal(err)
	}
	if got := files(t, s, 0); !slices.Equal(got, all[9:]) {
		t.Fatalf("left is %v of %v", got, all)
	}
	closeWriter(t, w)
	if _, err := s.Trim("camp", "archive"); err != nil {
		t.Fatal(err)
	}
	if got := files(t, s, 0); !slices.Equal(got, []string{"11:0"}) {
		t.Fatalf("left is %v", got)
	}
	if got, err := s.Trim("camp", "archive"); err != nil || got.Segments != 0 {
		t.Fatalf("again: %+v, %v", got, err)
	}
	if ls, err := s.Losses(); err != nil || len(ls) != 0 {
		t.Errorf("losses %v, %v", ls, err)
	}
}

func TestBoundOfBytes(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := openTest(t, Options{MaxBytes: 2000, Now: func() time.Time { now = now.Add(time.Second); return now }})
	s.segmentSize = 100
	w := writer(t, s)
	closed := writer(t, s) // another slot, with the oldest record of all
	appendAll(t, closed, 0, "oldest")
	closeWriter(t, closed)
	const n = 200
	for i := range n {
		appendAll(t, w, 0, fmt.Sprintf("record number %d, two in a segment", i))
		size := int64(0)
		for _, slot := range []int{0, 1} {
			segs, err := measured(s, slot)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range segs {
				size += g.size
			}
		}
		if size > 2200 {
			t.Fatalf("after %d records the spool has %d bytes", i, size)
		}
	}
	if es := readAll(t, s, 1, 1); len(es) != 0 {
		t.Errorf("the oldest record is still there")
	}
	es := readAll(t, s, 0, 1)
	if es[0].First != 1 || len(es) < 15 {
		t.Fatalf("%d records are left, the first from %d", len(es), es[0].First)
	}
	if _, err := s.Trim(); err != nil {
		t.Fatal(err)
	}
	es = readAll(t, s, 0, 1)
	ls, err := s.Losses()
	if err != nil || len(ls) != 1 || ls[0].Reason != LostBytes || ls[0].Total != n+1-uint64(len(es)) {
		t.Fatalf("losses %+v, %v; %d are left", ls, err, len(es))
	}
	if err := s.ReportLoss(LostBytes, 100); err != nil {
		t.Fatal(err)
	}
	if err := s.ReportLoss(LostBytes, 50); err != nil {
		t.Fatal(err)
	}
	if ls, err := reopen(t, s.dir, Options{}).Losses(); err != nil || ls[0].Reported != 100 {
		t.Errorf("reported %+v, %v", ls, err)
	}
}

func TestBoundOfAge(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := openTest(t, Options{MaxAge: time.Hour, Now: func() time.Time { return now }})
	s.segmentSize = 100
	w := writer(t, s)
	appendAll(t, w, 0, strings.Repeat("a", 60))
	now = now.Add(30 * time.Minute)
	appendAll(t, w, 0, strings.Repeat("b", 60))
	camp := state(t, s, "camp")
	camp.Settle(0, 1, 2)
	save(t, camp)
	trim := func(lost uint64, left ...string) {
		t.Helper()
		if got, err := s.Trim("camp", "archive"); err != nil || got.Lost != lost {
			t.Fatalf("trim: %+v, %v", got, err)
		}
		if got := files(t, s, 0); !slices.Equal(got, left) {
			t.Fatalf("left is %v", got)
		}
	}
	trim(0, "1:96", "2:96")
	now = now.Add(31 * time.Minute)
	trim(1, "2:96") // settled by camp, and not by archive
	now = now.Add(time.Hour)
	trim(0, "2:96") // the writer lives
	closeWriter(t, w)
	trim(1, "3:0")
	ls, err := s.Losses()
	if err != nil || len(ls) != 1 || ls[0].Reason != LostAge || ls[0].Total != 2 || !ls[0].Last.Equal(now) {
		t.Errorf("losses %+v, %v", ls, err)
	}
	// A destination that is behind goes on after the gap.
	w = writer(t, s)
	appendAll(t, w, 0, "new")
	es := readAll(t, s, 0, camp.Watermark(0)+1)
	equal(t, payloads(es), []string{"new"})
}

func TestBacklog(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	s := openTest(t, Options{Now: func() time.Time { return now }})
	st := state(t, s, "camp")
	check := func(records uint64, oldest time.Time) {
		t.Helper()
		b, err := s.Backlog(st)
		if err != nil || b.Records != records || !b.Oldest.Equal(oldest) {
			t.Errorf("backlog %+v, %v; want %d since %v", b, err, records, oldest)
		}
	}
	check(0, time.Time{})
	w, w2 := writer(t, s), writer(t, s)
	first := now
	appendAll(t, w, 0, "a", "b", "c")
	now = now.Add(time.Minute)
	appendAll(t, w2, 0, "d")
	check(4, first)
	st.Settle(0, 2, 3)
	check(3, first)
	st.Settle(0, 1, 4)
	check(1, now)
	st.Settle(1, 1, 2)
	check(0, time.Time{})
}

func TestOpenCreatesNothing(t *testing.T) {
	s := openTest(t, Options{})
	if _, err := s.Trim("camp"); err != nil {
		t.Error(err)
	}
	state(t, s, "camp")
	if _, err := s.Losses(); err != nil {
		t.Error(err)
	}
	if _, err := s.LoadInflight("camp"); err != nil {
		t.Error(err)
	}
	if _, err := s.ListDead("camp"); err != nil {
		t.Error(err)
	}
	if n, err := s.DropDead("camp"); n != 0 || err != nil {
		t.Error(n, err)
	}
	if _, err := s.DeadLetters(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(s.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the home was made: %v", err)
	}
}
