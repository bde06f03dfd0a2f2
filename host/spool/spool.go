// Package spool is the durable outbox: records go in without waiting, each
// destination reads them at its own pace, and what is acknowledged by all goes.
package spool

import (
	"sync"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// Limits.
const (
	// MaxPayload bounds one record: a step line of 1 MiB, with room for what
	// redaction and canonical spelling add.
	MaxPayload = 4 << 20
	// MaxBatch bounds the payloads of one Append together, since a batch is
	// one write and one segment.
	MaxBatch = 64 << 20
	// SegmentSize is where a segment ends: the unit of removal. Only a single
	// batch larger than this makes a larger segment.
	SegmentSize = 1 << 20
	// MaxSlots bounds the writers at one time.
	MaxSlots = 1000
	// MaxInflight bounds the bytes of a batch kept for an exact retry.
	MaxInflight = 64 << 20
	// DefaultMaxBytes and DefaultMaxAge are the bounds of the spool.
	DefaultMaxBytes = 256 << 20
	DefaultMaxAge   = 7 * 24 * time.Hour
)

// Sync says when records are flushed to the disk. Records survive the death of
// the process in every mode; flushing is for a power cut.
type Sync int

// The values of spool.sync.
const (
	SyncExit   Sync = iota // when a Writer is closed; the default
	SyncAlways             // before Append returns
	SyncOff                // never
)

// ParseSync reads the value of spool.sync: "exit", "always" or "off".
func ParseSync(s string) (Sync, error) {
	switch s {
	case "exit":
		return SyncExit, nil
	case "always":
		return SyncAlways, nil
	case "off":
		return SyncOff, nil
	}
	return 0, fault.New(fault.ConfigInvalid, "spool.sync is %q, and only exit, always and off are known", s)
}

// Options says how a spool behaves. The zero value is the default.
type Options struct {
	Sync     Sync
	MaxBytes int64            // bound of all segments together; 0: DefaultMaxBytes
	MaxAge   time.Duration    // bound of a record's age; 0: DefaultMaxAge
	Now      func() time.Time // nil: time.Now
}

// Spool is the outbox of one home. Its methods may be called from several
// goroutines, and several processes may have the same spool open.
type Spool struct {
	dir string
	o   Options
	fs  private.FS
	mu  sync.Mutex
}

// Open opens the spool of the home folder dir: dir/spool, dir/state, dir/dlq
// and dir/quarantine. It creates nothing, and never fails because of what the
// files in them hold; it fails, with carl.home.unusable, when dir or one of the
// four exists and is a symlink, not a folder, someone else's, or open to
// others.
func Open(dir string, o Options) (*Spool, error) {
	panic("not yet")
}

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

// Slots returns the numbers of the slots that exist, in ascending order.
func (s *Spool) Slots() ([]int, error) { panic("not yet") }

// Read returns records of a slot in order, beginning with number from or the
// first one after it, at most maxEntries of them and maxBytes of payload; the
// first one is returned however large it is. Only whole records are returned,
// so it may run while writers append. A from of 0 means 1.
//
// next is where to read on. Every number from from up to next-1 is either that
// of a returned entry, or covered by one (Entry.First), or gone for good. When
// no entry is returned and next > from, settle [from, next) with
// [State.Settle] and read on; when next == from, nothing more is there yet.
//
// A damaged span is copied to quarantine, counted ([Spool.Losses]) and
// skipped. Errors are those of the file system only.
func (s *Spool) Read(slot int, from uint64, maxEntries, maxBytes int) (entries []Entry, next uint64, err error) {
	panic("not yet")
}

// End returns the number that follows the last whole record of a slot.
func (s *Spool) End(slot int) (uint64, error) { panic("not yet") }

// Backlog is what waits for a destination.
type Backlog struct {
	Records uint64    // unsettled numbers; those that are missing for good may be counted in
	Oldest  time.Time // when the oldest of them was appended; zero when none waits
}

// Backlog counts what st has not settled. It reads little: file names and the
// last segment of each slot.
func (s *Spool) Backlog(st *State) (Backlog, error) { panic("not yet") }

// Trim removes the segments whose records are settled in the saved states of
// all the named destinations, and then, beyond the bounds of age and bytes,
// the oldest ones; what one of the named had not settled is counted as lost,
// by reason. With no name, nothing counts as settled. A segment that a living
// writer appends to stays.
func (s *Spool) Trim(destinations ...string) (Trimmed, error) { panic("not yet") }

// Trimmed is what one Trim removed.
type Trimmed struct {
	Segments int
	Bytes    int64
	Lost     uint64 // records that were not settled everywhere
}

// Reasons of losses.
const (
	LostAge     = "age"     // records older than MaxAge
	LostBytes   = "bytes"   // records beyond MaxBytes
	LostDamaged = "damaged" // spans of a segment that held no valid records
	LostLetters = "letters" // dead letters beyond the bound of their file
)

// Loss counts what the spool gave up for one reason, since the home exists.
type Loss struct {
	Reason   string
	Total    uint64
	Reported uint64 // how many of Total were reported
	Last     time.Time
}

// Losses returns the counts, sorted by reason. They are durable.
func (s *Spool) Losses() ([]Loss, error) { panic("not yet") }

// ReportLoss notes durably that total was reported for reason. An event whose
// id is made from (reason, total) is delivered once, however often a kill
// comes between its delivery and this call.
func (s *Spool) ReportLoss(reason string, total uint64) error { panic("not yet") }
