package spool

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
)

const (
	// maxInflightHead bounds the head of a batch in flight, so that its
	// numbers can be read without its data.
	maxInflightHead = 1 << 20
	maxRanges       = 16384
)

// Inflight is a batch that was fixed before its first send.
type Inflight struct {
	// Entries are the places that the batch settles. The spool will not use
	// these numbers again, even when a power cut takes the records themselves.
	Entries []Range
	// Data is the caller's, byte for byte, at most [MaxInflight].
	Data []byte
}

// inflightFile is the JSON that stands before the data.
type inflightFile struct {
	V       int         `json:"v"`
	Entries [][3]uint64 `json:"entries"` // slot, from, to
	Length  int         `json:"length"`
	CRC     string      `json:"crc32c"` // of the data, 8 hex digits
}

func (f *inflightFile) ranges() ([]Range, bool) {
	if len(f.Entries) > maxRanges {
		return nil, false
	}
	out := make([]Range, len(f.Entries))
	for i, e := range f.Entries {
		if e[0] >= MaxSlots {
			return nil, false
		}
		out[i] = Range{int(e[0]), e[1], e[2]}
		if !out[i].valid() {
			return nil, false
		}
	}
	return out, true
}

func (s *Spool) inflightPath(destination string) string {
	return s.statePath(destination) + ".inflight"
}

func cutInflight(name string) (string, bool) { return strings.CutSuffix(name, ".inflight") }

// SaveInflight stores the batch durably, in the place of an earlier one. What
// it stores is ordered and joined: LoadInflight returns the same numbers,
// perhaps in fewer ranges.
func (s *Spool) SaveInflight(destination string, b *Inflight) error {
	if err := ValidName(destination); err != nil {
		return err
	}
	if len(b.Data) > MaxInflight {
		return fault.New(fault.SpoolFailed, "a batch of %d bytes cannot be kept: at most %d are", len(b.Data), MaxInflight)
	}
	f := inflightFile{
		V: version, Entries: [][3]uint64{}, Length: len(b.Data),
		CRC: fmt.Sprintf("%08x", crc32.Checksum(b.Data, castagnoli)),
	}
	for _, r := range join(b.Entries) {
		if !r.valid() {
			return fault.New(fault.Internal, "a batch in flight names slot %d, numbers %d to %d", r.Slot, r.From, r.To)
		}
		f.Entries = append(f.Entries, [3]uint64{uint64(r.Slot), r.From, r.To})
	}
	head, err := seal(f)
	if err != nil || len(f.Entries) > maxRanges || len(head) > maxInflightHead {
		return fault.New(fault.Internal, "a batch in flight settles %d separate ranges, and at most %d are kept", len(f.Entries), maxRanges)
	}
	return s.writeFile(s.inflightPath(destination), append(head, b.Data...))
}

// join sorts ranges and melts those that touch.
func join(in []Range) []Range {
	in = slices.Clone(in)
	slices.SortFunc(in, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.From, b.From))
	})
	var out []Range
	for _, r := range in {
		if n := len(out); n > 0 && out[n-1].Slot == r.Slot && r.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

// LoadInflight returns the stored batch, or nil when there is none or it was
// damaged (then it is moved aside). Who stored it may have been killed before
// its name was durable, so that is made sure of first: nothing may be sent that
// a power cut could take back. A sound batch stays as it is, so no lock is needed.
func (s *Spool) LoadInflight(destination string) (*Inflight, error) {
	if err := ValidName(destination); err != nil {
		return nil, err
	}
	var f inflightFile
	var b Inflight
	ok, err := s.loadSealed(s.inflightPath(destination), maxInflightHead+MaxInflight, &f, func(rest []byte) bool {
		ranges, ok := f.ranges()
		b = Inflight{ranges, rest}
		return ok && f.Length == len(rest) && f.CRC == fmt.Sprintf("%08x", crc32.Checksum(rest, castagnoli))
	})
	if err != nil || !ok {
		return nil, err
	}
	if err := s.fs.SyncDir(filepath.Dir(s.inflightPath(destination))); err != nil {
		return nil, spoolError("flush a batch in", err)
	}
	return &b, nil
}

// ClearInflight removes the batch. After a power cut it may be back: sending
// it once more is legal, since its bytes and ids are the same.
func (s *Spool) ClearInflight(destination string) error {
	if err := ValidName(destination); err != nil {
		return err
	}
	if err := s.fs.Remove(s.inflightPath(destination)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return spoolError("remove a delivered batch", err)
	}
	return nil
}

// inflightEnd is above every number of the slot that the destination has in
// flight. It reads the head alone.
func (s *Spool) inflightEnd(destination string, slot int) uint64 {
	f, err := s.fs.OpenFile(s.inflightPath(destination), os.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	head := make([]byte, 4<<10) // nearly always enough
	n, err := f.ReadAt(head, 0)
	if err == nil && strings.Count(string(head), "\n") < 2 {
		head = make([]byte, maxInflightHead)
		n, err = f.ReadAt(head, 0)
	}
	if err != nil && err != io.EOF {
		return 0
	}
	var b inflightFile
	if _, err := unseal(head[:n], &b); err != nil {
		return 0
	}
	end := uint64(0)
	ranges, _ := b.ranges()
	for _, r := range ranges {
		if r.Slot == slot {
			end = max(end, r.To)
		}
	}
	return end
}
