package spool

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"time"
)

// Pos is the place of one record: numbers start at 1, grow strictly within a
// slot, and are never used twice, though some may be missing.
type Pos struct {
	Slot int
	Seq  uint64
}

// Entry is one record as it was appended.
type Entry struct {
	Pos
	// First is the number that this entry begins with: Seq, or lower where the
	// numbers between are gone for good (evicted, damaged, never written). Who
	// settles the entry settles First to Seq.
	First uint64
	// Epoch is the consent epoch at recording; 0 means without consent, for
	// destinations that cannot reach the network.
	Epoch   uint32
	Time    time.Time // of Append, UTC
	Payload []byte    // the caller's to keep
}

const (
	// maxCursors bounds the remembered read positions: a few for each
	// destination and slot that are read at the same time.
	maxCursors = 256
	// maxRelists bounds how often a read starts over because segments were
	// trimmed under it.
	maxRelists = 8
)

// place is a slot and the number to read from; cursor is where in the files
// the frame of that number begins, if it is there yet. Bytes of a segment
// before such an offset never change.
type place struct {
	slot int
	from uint64
}

type cursor struct {
	first uint64
	off   int64
}

// Read returns records of a slot in order, beginning with number from or the
// first one after it, at most maxEntries of them and maxBytes of payload; the
// first one is returned however large it is. Only whole records are returned,
// so it may run while writers append. A from of 0 means 1.
//
// next is where to read on. Every number from from up to next-1 is either that
// of a returned entry, or covered by one (Entry.First), or gone for good. When
// no entry is returned and next > from, settle from ≤ n < next with
// [State.Settle] and read on; when next == from, nothing more is there yet.
//
// A damaged span is copied to quarantine, counted ([Spool.Losses]) and
// skipped. Errors are those of the file system only.
func (s *Spool) Read(slot int, from uint64, maxEntries, maxBytes int) (entries []Entry, next uint64, err error) {
	r := reading{s: s, slot: slot, cover: max(from, 1), next: max(from, 1), maxEntries: max(maxEntries, 1), bytes: maxBytes}
	for range maxRelists {
		segs, err := s.segments(slot)
		if err != nil {
			return nil, 0, err
		}
		err = r.run(segs)
		if err == nil {
			return r.entries, r.next, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, spoolError("read", err)
		}
	}
	return r.entries, r.next, nil
}

// reading is one Read at work.
type reading struct {
	s          *Spool
	slot       int
	cover      uint64 // all below is returned or covered
	next       uint64 // all below is returned, covered or gone
	entries    []Entry
	maxEntries int
	bytes      int // what remains of maxBytes
}

// run reads on in the segments given. fs.ErrNotExist asks for a new list.
func (r *reading) run(segs []segment) error {
	start := 0
	for i, g := range segs {
		if g.first <= r.next {
			start = i
		}
	}
	for i := start; i < len(segs); i++ {
		last := i == len(segs)-1
		full, err := r.segment(segs[i], last)
		if err != nil || full {
			return err
		}
		if !last {
			r.pass(segs[i+1].first)
		}
	}
	// Below the last segment's name nothing more can appear.
	if len(segs) > 0 {
		r.pass(segs[len(segs)-1].first)
	}
	return nil
}

// pass notes that nothing is left below n. While entries are held, it is the
// next entry that covers the gap, so that settling entries settles it too.
func (r *reading) pass(n uint64) {
	if len(r.entries) == 0 {
		r.next = max(r.next, n)
	}
}

// segment reads one segment and reports whether the reading is full.
func (r *reading) segment(g segment, last bool) (full bool, err error) {
	f, err := r.s.openSegment(g.slot, g.first, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sc := newScanner(f, g.first)
	spans := r.s.spans(segmentLabel(g.slot, g.first), f)
	sc.damaged = spans.note
	if c, ok := r.s.cursor(place{g.slot, r.next}); ok && c.first == g.first {
		sc.seek(c.off, r.next)
	}
	for {
		fr, at, err := sc.frame()
		if errors.Is(err, errTail) {
			break
		}
		if err != nil {
			return false, err
		}
		if fr.seq < r.next {
			continue
		}
		if len(r.entries) > 0 && (len(r.entries) == r.maxEntries || len(fr.payload) > r.bytes) {
			r.s.remember(place{g.slot, r.next}, cursor{g.first, at})
			return true, nil
		}
		r.bytes -= len(fr.payload)
		r.entries = append(r.entries, Entry{
			Pos:     Pos{g.slot, fr.seq},
			First:   r.cover,
			Epoch:   fr.epoch,
			Time:    time.Unix(0, fr.time).UTC(),
			Payload: bytes.Clone(fr.payload),
		})
		r.next = fr.seq + 1
		r.cover = r.next
	}
	if last {
		r.s.remember(place{g.slot, r.next}, cursor{g.first, sc.off})
		return false, nil
	}
	spans.tail(sc.off)
	return false, nil
}

func (s *Spool) cursor(p place) (cursor, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cursors[p]
	return c, ok
}

func (s *Spool) remember(p place, c cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cursors) >= maxCursors {
		clear(s.cursors) // they cost one scan each to win back
	}
	s.cursors[p] = c
}

// End returns the number that follows the last whole record of a slot.
func (s *Spool) End(slot int) (uint64, error) {
	for range maxRelists {
		segs, err := s.segments(slot)
		if err != nil || len(segs) == 0 {
			return 1, err
		}
		end, _, err := s.segmentEnd(segs[len(segs)-1])
		if err == nil {
			return end, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return 0, spoolError("read", err)
		}
	}
	return 1, nil
}

// segmentEnd returns the number and the offset behind a segment's last record.
func (s *Spool) segmentEnd(g segment) (uint64, int64, error) {
	f, err := s.openSegment(g.slot, g.first, os.O_RDONLY)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	sc := newScanner(f, g.first)
	for err == nil {
		_, _, err = sc.frame()
	}
	if !errors.Is(err, errTail) {
		return 0, 0, err
	}
	return sc.next, sc.off, nil
}

// Backlog is what waits for a destination.
type Backlog struct {
	Records uint64    // unsettled numbers; those that are missing for good may be counted in
	Oldest  time.Time // when the oldest of them was appended; zero when none waits
}

// Backlog counts what st has not settled. It reads little: file names, the
// last segment of each slot, and the first record that waits in each.
func (s *Spool) Backlog(st *State) (Backlog, error) {
	slots, err := s.Slots()
	if err != nil {
		return Backlog{}, err
	}
	var b Backlog
	for _, slot := range slots {
		segs, err := s.segments(slot)
		if err != nil {
			return b, err
		}
		end, err := s.End(slot)
		if err != nil {
			return b, err
		}
		if len(segs) == 0 {
			continue
		}
		p := st.slots[slot]
		if p == nil {
			p = &progress{}
		}
		n := p.waiting(segs[0].first, end)
		if n == 0 {
			continue
		}
		b.Records += n
		head, _, err := s.Read(slot, p.mark+1, 1, 1)
		if err != nil {
			return b, err
		}
		if len(head) > 0 && (b.Oldest.IsZero() || head[0].Time.Before(b.Oldest)) {
			b.Oldest = head[0].Time
		}
	}
	return b, nil
}
