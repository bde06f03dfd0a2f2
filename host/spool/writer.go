package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxUnsynced bounds the open files of ended segments that wait for the
	// flush at Close: as many as the default bound of the spool lets live.
	maxUnsynced = DefaultMaxBytes / SegmentSize
	// maxKeptBuffer bounds the memory that a Writer keeps between batches.
	maxKeptBuffer = 2 << 20
	// maxNameTries bounds how many names that something else took are passed
	// over when a segment is made.
	maxNameTries = 16
)

// Writer appends to one slot, which is its own until Close or until the
// process ends. Its methods may be called from several goroutines.
type Writer struct {
	s    *Spool
	slot int

	mu   sync.Mutex
	lock *private.FileLock // guarded by mu; nil once closed
	next uint64            // guarded by mu; the next record's number

	// The segment in use, guarded by mu. file is nil when the last one was
	// given up and no successor could be made yet.
	file   private.File
	first  uint64
	size   int64
	dirty  bool // has acknowledged records that were not flushed
	ragged bool // holds a failed batch beyond size
	spent  bool // a flush failed

	// What remains for Close, guarded by mu.
	unsynced []ended // segments to flush
	names    bool    // names in the slot's folder may not be durable
	wrote    bool    // something was acknowledged
	lost     error   // the first flush that failed for acknowledged records

	begun int64  // guarded by mu; segments begun for Append
	buf   []byte // guarded by mu
}

// ended is a segment that waits for its flush.
type ended struct {
	file  private.File
	first uint64
}

// Writer takes the lowest free slot, without waiting. Folders are made when
// missing. Errors are carl.home.unusable and carl.spool.failed.
func (s *Spool) Writer() (*Writer, error) {
	for _, dir := range []string{s.dir, filepath.Join(s.dir, "spool")} {
		if err := private.MkdirAllOn(s.fs, dir); err != nil {
			return nil, spoolError("write", err)
		}
	}
	for slot := range MaxSlots {
		if err := private.MkdirAllOn(s.fs, s.slotDir(slot)); err != nil {
			return nil, spoolError("write", err)
		}
		lock, ok, err := s.lockSlot(slot)
		if err != nil {
			return nil, spoolError("write", err)
		}
		if !ok {
			continue
		}
		w := &Writer{s: s, slot: slot, lock: lock}
		if err := w.open(); err != nil {
			w.release()
			return nil, spoolError("write", err)
		}
		return w, nil
	}
	return nil, fault.New(fault.SpoolFailed, "all %d slots of the spool are in use", MaxSlots).
		WithHint("wait until other carl processes have ended")
}

// open finds where the slot's last owner stopped.
func (w *Writer) open() error {
	segs, err := w.s.listOnce(w.slot)
	if err == nil {
		segs, err = w.s.measure(segs[max(0, len(segs)-1):])
	}
	if err != nil {
		return err
	}
	// A power cut may take records that were not flushed, while the progress of
	// a destination that had them already was. Their numbers are settled, and
	// would swallow any record that got them again.
	floor := w.s.floor(w.slot)
	if len(segs) == 0 {
		if err := w.s.makeDir(w.s.slotDir(w.slot)); err != nil {
			return err
		}
		return w.begin(max(1, floor))
	}
	last := segs[0]
	over, err := w.resume(last)
	if err != nil || over {
		// What the segment holds is not known to the end: go on behind all
		// that it could hold.
		w.next = last.ceiling()
	}
	if err == nil && !over && floor <= w.next {
		return nil
	}
	return w.begin(max(w.next, floor))
}

// resume opens a segment behind its last record. It reports that the segment
// has ended when what follows is not the torn end of an interrupted write.
func (w *Writer) resume(g segment) (over bool, err error) {
	f, err := w.s.openSegment(w.slot, g.first, os.O_RDWR)
	if err != nil {
		return false, err
	}
	sc := newScanner(f, g.first)
	for err == nil {
		_, _, err = sc.frame()
	}
	t, rest := clean, []byte(nil)
	if errors.Is(err, errTail) {
		t, rest, err = tailAt(f, sc.off)
	}
	if err == nil && t == torn {
		w.s.quarantine(segmentLabel(w.slot, g.first), sc.off, rest)
		err = f.Truncate(sc.off)
	}
	if err != nil || t == damaged {
		f.Close()
		return t == damaged, err
	}
	w.file, w.first, w.size, w.next = f, g.first, sc.off, sc.next
	w.names = true // its maker may have been killed before making the name durable
	return false, nil
}

// begin ends the segment in use and makes the next one, named next.
func (w *Writer) begin(next uint64) error {
	var f private.File
	err := error(fs.ErrExist)
	for range maxNameTries {
		if next >= maxSeq {
			return errors.New("the slot has no numbers left")
		}
		if f, err = w.s.createSegment(w.slot, next); !errors.Is(err, fs.ErrExist) {
			break
		}
		next++
	}
	if err != nil {
		return err
	}
	w.names = true
	w.end()
	w.file, w.first, w.size, w.next = f, next, 0, next
	return nil
}

// end puts the segment in use away, to be flushed at Close. An empty one is
// removed: it has a successor.
func (w *Writer) end() {
	if w.file == nil {
		return
	}
	g := ended{w.file, w.first}
	w.file = nil
	if w.ragged {
		g.file.Truncate(w.size)
	}
	switch {
	case w.size == 0:
		g.file.Close()
		w.s.fs.Remove(w.s.segmentPath(w.slot, g.first))
	case w.dirty && !w.spent && w.s.o.Sync != SyncOff:
		w.unsynced = append(w.unsynced, g)
	default:
		g.file.Close()
	}
	w.dirty, w.ragged, w.spent = false, false, false
	if len(w.unsynced) > maxUnsynced {
		w.flush(w.unsynced[0])
		w.unsynced = slices.Delete(w.unsynced, 0, 1)
	}
}

// flush flushes an ended segment, for the first and last time.
func (w *Writer) flush(g ended) {
	defer g.file.Close()
	if _, err := w.s.fs.Lstat(w.s.segmentPath(w.slot, g.first)); errors.Is(err, fs.ErrNotExist) {
		return // trimmed since
	}
	w.note(g.file.Sync())
}

func (w *Writer) note(err error) {
	if w.lost == nil {
		w.lost = err
	}
}

// Slot returns the slot's number.
func (w *Writer) Slot() int { return w.slot }

// Append appends one record for each payload, in order, with one write. It
// returns nil only when the kernel has all of them (and the disk, with
// [SyncAlways]); from then on no death of the process loses them. On an error
// (carl.spool.failed, carl.home.unusable) none of them is acknowledged, though
// some may be read later; the caller may try again, at once or when there is
// space. No payload may be empty or longer than [MaxPayload], nor all together
// than [MaxBatch]. epoch is the consent epoch, 0 for none. Payloads should be
// UTF-8 text: the search for a frame behind damaged bytes relies on their
// never holding the byte 0xF5.
func (w *Writer) Append(epoch uint32, payloads ...[]byte) error {
	total := 0
	for _, p := range payloads {
		if len(p) == 0 || len(p) > MaxPayload {
			return fault.New(fault.SpoolFailed, "a record of %d bytes cannot be spooled: it takes 1 to %d", len(p), MaxPayload)
		}
		total += headerSize + len(p)
	}
	if total > MaxBatch {
		return fault.New(fault.SpoolFailed, "a batch of %d bytes cannot be spooled: at most %d are written at once", total, MaxBatch)
	}
	if total == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lock == nil {
		return fault.New(fault.SpoolFailed, "the spool's writer is closed")
	}
	if err := w.append(epoch, payloads, total); err != nil {
		return spoolError("write", err)
	}
	return nil
}

func (w *Writer) append(epoch uint32, payloads [][]byte, total int) error {
	if w.file == nil || w.ragged || w.spent || w.size > 0 && w.size+int64(total) > w.s.segmentSize {
		if err := w.begin(w.next); err != nil {
			return err
		}
		w.enforce()
	}
	now := w.s.o.Now().UnixNano()
	b := w.buf[:0]
	if cap(b) < total {
		b = make([]byte, 0, total)
	}
	for i, p := range payloads {
		b = appendFrame(b, frame{seq: w.next + uint64(i), time: now, epoch: epoch, payload: p})
	}
	if cap(b) <= maxKeptBuffer {
		w.buf = b
	}
	n, err := w.file.WriteAt(b, w.size)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	next := w.next + uint64(len(payloads))
	if err != nil {
		w.abandon(next)
		return err
	}
	w.size += int64(n)
	w.next = next
	if w.s.o.Sync == SyncAlways {
		return w.syncNow()
	}
	w.dirty, w.wrote = true, true
	return nil
}

// enforce keeps the bounds of the spool, now and then: a writer that grows
// slowly looks at each new segment that it makes, a fast one at every few.
func (w *Writer) enforce() {
	if w.begun%max(1, w.s.o.MaxBytes/(2*slack*w.s.segmentSize)) == 0 {
		w.s.enforce()
	}
	w.begun++
}

// abandon gives up the segment in use after a write that failed: next is above
// the numbers that it spent. A reader may have seen whole records of the failed
// batch, so neither their numbers nor their place in the file may be used
// again. Hence the order: a successor first, and only then is the batch cut
// off. Without a successor it stays, and its whole records with it.
func (w *Writer) abandon(next uint64) {
	w.next, w.ragged = next, true
	w.begin(next) // where it fails, the next Append tries again
}

// syncNow makes the batch durable that was just written. After a failure the
// segment is given up, so that neither this Writer nor the slot's next one
// flushes it again.
func (w *Writer) syncNow() error {
	err := w.file.Sync()
	if err == nil && w.names {
		if err = w.s.fs.SyncDir(w.s.slotDir(w.slot)); err == nil {
			w.names = false
		}
	}
	if err != nil {
		w.spent = true
		w.begin(w.next)
	}
	return err
}

// Close flushes what was appended, unless [SyncOff], and frees the slot. An
// error (carl.spool.failed) means that a power cut may lose records that this
// Writer appended; the death of the process still does not. A second Close
// does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lock == nil {
		return nil
	}
	defer w.release()
	for _, g := range w.unsynced {
		w.flush(g)
	}
	w.unsynced = nil
	if w.file != nil && w.dirty && w.s.o.Sync != SyncOff {
		err := w.file.Sync()
		if err != nil {
			w.spent, w.dirty = true, false
			w.begin(w.next)
		}
		w.note(err)
	}
	if w.names && w.wrote && w.s.o.Sync != SyncOff {
		err := w.s.fs.SyncDir(w.s.slotDir(w.slot))
		if err != nil && w.file != nil {
			w.spent, w.dirty = true, false
			w.begin(w.next)
		}
		w.note(err)
	}
	if w.lost != nil {
		return fault.New(fault.SpoolFailed, "the spool could not be flushed to the disk: %w", w.lost).
			WithKept("the records are there unless the power fails")
	}
	return nil
}

// release frees the slot and closes what is open, flushing nothing.
func (w *Writer) release() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	w.lock.Unlock()
	w.lock = nil
}
