package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"carl.camp/carl/host/private"
)

// segment is one file of a slot.
type segment struct {
	slot  int
	first uint64 // the number that its first record has or would have
	size  int64  // when it was measured
}

func (s *Spool) slotDir(slot int) string {
	return filepath.Join(s.dir, "spool", fmt.Sprintf("slot-%02d", slot))
}

func (s *Spool) segmentPath(slot int, first uint64) string {
	return filepath.Join(s.slotDir(slot), fmt.Sprintf("%020d.log", first))
}

// lockSlot takes the slot's lock, which its writer holds.
func (s *Spool) lockSlot(slot int) (*private.FileLock, bool, error) {
	return private.TryLockOn(s.fs, filepath.Join(s.slotDir(slot), "lock"))
}

// Slots returns the numbers of the slots that exist, in ascending order.
func (s *Spool) Slots() ([]int, error) {
	entries, err := s.fs.ReadDir(filepath.Join(s.dir, "spool"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, spoolError("list the slots", err)
	}
	var slots []int
	for _, e := range entries {
		if n, ok := parseSlot(e.Name()); ok && e.IsDir() {
			slots = append(slots, n)
		}
	}
	slices.Sort(slots)
	return slots, nil
}

func parseSlot(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "slot-")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n >= MaxSlots || name != fmt.Sprintf("slot-%02d", n) {
		return 0, false
	}
	return n, true
}

// segments lists a slot's segments in the order of their numbers, without
// their sizes. What is not a regular file with a segment's name is not the
// spool's, and left alone.
//
// A listing of a folder is not one moment: of two segments that are made
// meanwhile it may show the later one alone, and a reader would take the other
// for gone. But whatever comes before a segment that one listing shows was
// there before the next listing began, so two of them are complete.
func (s *Spool) segments(slot int) ([]segment, error) {
	seen, err := s.listOnce(slot)
	if err != nil || len(seen) == 0 {
		return nil, err
	}
	segs, err := s.listOnce(slot)
	last := seen[len(seen)-1].first
	return slices.DeleteFunc(segs, func(g segment) bool { return g.first > last }), err
}

// listOnce is a listing that is complete only for who holds the slot's lock.
func (s *Spool) listOnce(slot int) ([]segment, error) {
	entries, err := s.fs.ReadDir(s.slotDir(slot))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, spoolError("list a slot", err)
	}
	var segs []segment
	for _, e := range entries {
		if first, ok := parseSegment(e.Name()); ok && e.Type().IsRegular() {
			segs = append(segs, segment{slot: slot, first: first})
		}
	}
	return segs, nil // by name is by number: the names have one length
}

// measure adds the sizes to a list of segments, and leaves out those that are
// gone.
func (s *Spool) measure(segs []segment) ([]segment, error) {
	var out []segment
	for _, g := range segs {
		info, err := s.fs.Lstat(s.segmentPath(g.slot, g.first))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, spoolError("list a slot", err)
		}
		g.size = info.Size()
		out = append(out, g)
	}
	return out, nil
}

func parseSegment(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || digits[0] == '+' || first == 0 || first >= maxSeq {
		return 0, false
	}
	return first, true
}

// ceiling is above every number that a segment can hold.
func (g segment) ceiling() uint64 { return g.first + uint64(g.size)/minFrame + 1 }

func (s *Spool) openSegment(slot int, first uint64, flag int) (private.File, error) {
	return s.fs.OpenFile(s.segmentPath(slot, first), flag, 0)
}

// createSegment makes an empty segment. The name is durable only after SyncDir.
func (s *Spool) createSegment(slot int, first uint64) (private.File, error) {
	return s.fs.OpenFile(s.segmentPath(slot, first), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}

// tail is how a segment ends, after its last valid frame.
type tail int

const (
	clean   tail = iota // nothing follows
	torn                // the beginning of a frame follows, and then the file ends
	damaged             // something else follows
)

// tailAt tells what stands in a segment file from off to its end.
func tailAt(f private.File, off int64) (tail, []byte, error) {
	info, err := f.Stat()
	if err != nil {
		return clean, nil, err
	}
	rest := make([]byte, max(0, min(info.Size()-off, maxFrame+1)))
	n, err := f.ReadAt(rest, off)
	if err != nil && err != io.EOF {
		return clean, nil, err
	}
	rest = rest[:n]
	if len(rest) == 0 {
		return clean, nil, nil
	}
	if _, v := parseFrame(rest); v == short {
		return torn, rest, nil
	}
	return damaged, rest, nil
}
