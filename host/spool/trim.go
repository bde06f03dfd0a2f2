package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"carl.camp/carl/host/private"
)

// Trimmed is what one Trim removed.
type Trimmed struct {
	Segments int
	Bytes    int64
	Lost     uint64 // records that were not settled everywhere
}

// Trim removes the segments whose records are settled in the saved states of
// all the named destinations, and then, beyond the bounds of age and bytes,
// the oldest ones; what one of the named had not settled is counted as lost,
// by reason. With no name, nothing counts as settled. A segment that a living
// writer appends to stays. When another process is trimming, Trim does nothing.
func (s *Spool) Trim(destinations ...string) (Trimmed, error) {
	t := trimming{s: s, acknowledged: true}
	for _, name := range destinations {
		st, err := s.State(name)
		if err != nil {
			return Trimmed{}, err
		}
		t.states = append(t.states, st)
	}
	return t.run()
}

// enforce keeps the bounds of age and bytes where nobody runs Trim. The states
// on disk stand for the destinations, which a writer does not know.
func (s *Spool) enforce() {
	t := trimming{s: s}
	for _, name := range s.stateNames() {
		if st, err := s.State(name); err == nil {
			t.states = append(t.states, st)
		}
	}
	t.run() // a failure is no reason not to record
}

// slack is the part of the bound of bytes that a full spool gives up at once.
const slack = 16

type trimming struct {
	s            *Spool
	states       []*State
	acknowledged bool // remove what is settled, too
	queues       []*queue
	losses       lossFile
	out          Trimmed
}

// queue is the segments of one slot, oldest first. The last one is not for
// removal: it keeps the slot's numbers.
type queue struct {
	segs []segment
	head time.Time // of the first record in segs[0]; zero when not known yet
	busy bool      // a writer holds the last segment
}

func (t *trimming) run() (Trimmed, error) {
	if _, err := t.s.fs.Lstat(filepath.Dir(t.s.lossPath())); errors.Is(err, fs.ErrNotExist) {
		return Trimmed{}, nil
	}
	lock, ok, err := private.TryLockOn(t.s.fs, t.s.lossLockPath())
	if err != nil {
		return Trimmed{}, spoolError("trim", err)
	}
	if !ok {
		return Trimmed{}, nil
	}
	defer lock.Unlock()
	if err := t.load(); err != nil {
		return t.out, err
	}
	if t.acknowledged && len(t.states) > 0 {
		if err := t.removeSettled(); err != nil {
			return t.out, spoolError("trim", err)
		}
	}
	err = t.removeOld()
	if err == nil {
		err = t.removeExcess()
	}
	if err != nil {
		return t.out, spoolError("trim", err)
	}
	return t.out, nil
}

// load lists the slots, and finishes what a killed trimming had begun.
func (t *trimming) load() error {
	slots, err := t.s.Slots()
	if err != nil {
		return err
	}
	if t.losses, err = t.s.loadLosses(); err != nil {
		return err
	}
	if len(t.losses.Doomed) > 0 {
		// Who counted them may have been killed before the count was durable.
		if err := t.s.saveLosses(t.losses); err != nil {
			return err
		}
	}
	for _, slot := range slots {
		segs, err := t.s.segments(slot)
		if err == nil {
			segs, err = t.s.measure(segs)
		}
		if err != nil {
			return err
		}
		if len(segs) == 0 {
			continue
		}
		q := &queue{segs: segs}
		t.queues = append(t.queues, q)
		for _, d := range t.losses.Doomed {
			for i, g := range segs[:len(segs)-1] {
				if d == [2]uint64{uint64(slot), g.first} {
					if err := t.remove(q, i); err != nil {
						return spoolError("trim", err)
					}
					break
				}
			}
			segs = q.segs
		}
	}
	// Only when they are gone for good may their names be forgotten: a segment
	// that a power cut brings back would be counted again.
	for i, d := range t.losses.Doomed {
		if i > 0 && t.losses.Doomed[i-1][0] == d[0] {
			continue
		}
		if err := t.s.fs.SyncDir(t.s.slotDir(int(d[0]))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return spoolError("trim", err)
		}
	}
	t.losses.Doomed = nil
	return nil
}

// remove removes the i-th segment of a queue.
func (t *trimming) remove(q *queue, i int) error {
	g := q.segs[i]
	if err := t.s.fs.Remove(t.s.segmentPath(g.slot, g.first)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.out.Segments++
	t.out.Bytes += g.size
	q.segs = slices.Delete(slices.Clone(q.segs), i, i+1)
	q.head = time.Time{}
	return nil
}

// removeSettled removes what every destination is done with.
func (t *trimming) removeSettled() error {
	for _, q := range t.queues {
		for i := 0; i < len(q.segs)-1; {
			if !t.settled(q.segs[i], q.segs[i+1].first) {
				i++
			} else if err := t.remove(q, i); err != nil {
				return err
			}
		}
		last := q.segs[len(q.segs)-1]
		if last.size == 0 {
			continue
		}
		end, _, err := t.s.segmentEnd(last)
		if err != nil || !t.settled(last, end) || !t.end(q) {
			continue
		}
		if err := t.remove(q, len(q.segs)-2); err != nil {
			return err
		}
	}
	return nil
}

func (t *trimming) settled(g segment, end uint64) bool {
	for _, st := range t.states {
		if !st.slots[g.slot].covers(g.first, end) {
			return false
		}
	}
	return true
}

// end gives the last segment of a queue, as it was listed, a successor, so that
// it can go. It reports false when a writer is at work in the slot or was.
func (t *trimming) end(q *queue) bool {
	if q.busy {
		return false
	}
	q.busy = true // until it turns out otherwise
	g := q.segs[len(q.segs)-1]
	lock, ok, err := t.s.lockSlot(g.slot)
	if err != nil || !ok {
		return false
	}
	defer lock.Unlock()
	now, err := t.s.listOnce(g.slot)
	if err == nil {
		now, err = t.s.measure(now[max(0, len(now)-1):])
	}
	if err != nil || len(now) == 0 || now[0] != g {
		return false
	}
	next, off, err := t.s.segmentEnd(g)
	if err != nil {
		return false
	}
	if off != g.size {
		next = g.ceiling()
	}
	f, err := t.s.createSegment(g.slot, next)
	if err != nil {
		return false
	}
	f.Close()
	// The old one goes only when the name of the new one, which keeps the
	// slot's numbers, is there to stay.
	if t.s.fs.SyncDir(t.s.slotDir(g.slot)) != nil {
		return false
	}
	q.segs = append(q.segs, segment{g.slot, next, 0})
	q.busy = false
	return true
}

// removeOld removes segments whose newest record is beyond the bound of age.
func (t *trimming) removeOld() error {
	cutoff := t.s.o.Now().Add(-t.s.o.MaxAge)
	var old []victim
	for _, q := range t.queues {
		for len(q.segs) > 0 && q.segs[0].size > 0 && t.headTime(q).Before(cutoff) {
			c, err := t.inspect(q.segs[0])
			if err != nil || !c.newest.Before(cutoff) || len(q.segs) == 1 && !t.end(q) {
				break
			}
			old = append(old, victim{q.segs[0], c.lost})
			q.segs, q.head = q.segs[1:], time.Time{}
		}
	}
	return t.evict(LostAge, old)
}

// removeExcess removes the oldest segments of all slots beyond the bound of bytes.
func (t *trimming) removeExcess() error {
	var total int64
	for _, q := range t.queues {
		for _, g := range q.segs {
			total += g.size
		}
	}
	if total <= t.s.o.MaxBytes {
		return nil
	}
	// A little more than must go goes, so that a full spool is not trimmed,
	// with a flush for the count, at each new segment.
	keep := t.s.o.MaxBytes - t.s.o.MaxBytes/slack
	var excess []victim
	for total > keep {
		var oldest *queue
		for _, q := range t.queues {
			if q.segs[0].size == 0 && len(q.segs) == 1 || q.busy && len(q.segs) == 1 {
				continue
			}
			if oldest == nil || t.headTime(q).Before(t.headTime(oldest)) {
				oldest = q
			}
		}
		if oldest == nil {
			break
		}
		if len(oldest.segs) == 1 && !t.end(oldest) {
			continue // it is busy, and passed over now
		}
		g := oldest.segs[0]
		c, err := t.inspect(g)
		if err != nil {
			return err
		}
		excess = append(excess, victim{g, c.lost})
		total -= g.size
		oldest.segs, oldest.head = oldest.segs[1:], time.Time{}
	}
	return t.evict(LostBytes, excess)
}

// headTime returns when the first record of a queue was appended, or else
// when its file was last written.
func (t *trimming) headTime(q *queue) time.Time {
	if !q.head.IsZero() {
		return q.head
	}
	q.head = time.Unix(0, 0) // gone, or not to be read: first in line
	f, err := t.s.openSegment(q.segs[0].slot, q.segs[0].first, os.O_RDONLY)
	if err != nil {
		return q.head
	}
	defer f.Close()
	if fr, _, err := newScanner(f, q.segs[0].first).frame(); err == nil {
		q.head = time.Unix(0, fr.time)
	} else if info, err := f.Stat(); err == nil {
		q.head = info.ModTime()
	}
	return q.head
}

// census is what one segment holds.
type census struct {
	newest time.Time
	lost   uint64 // records that not every destination has settled
}

func (t *trimming) inspect(g segment) (census, error) {
	var c census
	f, err := t.s.openSegment(g.slot, g.first, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer f.Close()
	for sc := newScanner(f, g.first); ; {
		fr, _, err := sc.frame()
		if errors.Is(err, errTail) {
			if info, err := f.Stat(); err == nil && c.newest.IsZero() {
				c.newest = info.ModTime()
			}
			return c, nil
		}
		if err != nil {
			return c, err
		}
		if at := time.Unix(0, fr.time); at.After(c.newest) {
			c.newest = at
		}
		if len(t.states) == 0 || !t.settled(segment{slot: g.slot, first: fr.seq}, fr.seq+1) {
			c.lost++
		}
	}
}

type victim struct {
	segment
	lost uint64
}

// evict counts what the victims hold and removes them. The count is durable
// first, together with their names: so a kill in between neither forgets nor
// repeats it.
func (t *trimming) evict(reason string, victims []victim) error {
	if len(victims) == 0 {
		return nil
	}
	var lost uint64
	for _, v := range victims {
		lost += v.lost
		t.losses.Doomed = append(t.losses.Doomed, [2]uint64{uint64(v.slot), v.first})
	}
	if lost > 0 {
		t.losses.add(reason, lost, t.s.o.Now())
		if err := t.s.saveLosses(t.losses); err != nil {
			return err
		}
	}
	t.out.Lost += lost
	for _, v := range victims {
		if err := t.s.fs.Remove(t.s.segmentPath(v.slot, v.first)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		t.out.Segments++
		t.out.Bytes += v.size
	}
	return nil
}
