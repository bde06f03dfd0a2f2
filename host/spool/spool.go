package spool

import (
	"errors"
	"io/fs"
	"path/filepath"
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
	// segmentSize is SegmentSize; tests have smaller ones.
	segmentSize int64

	mu      sync.Mutex
	cursors map[place]cursor // guarded by mu
	durable map[string]bool  // guarded by mu; folders whose names were flushed
}

// Open opens the spool of the home folder dir: dir/spool, dir/state, dir/dlq
// and dir/quarantine. It creates nothing, and never fails because of what the
// files in them hold; it fails, with carl.home.unusable, when dir or one of the
// four exists and is a symlink, not a folder, someone else's, or open to
// others.
func Open(dir string, o Options) (*Spool, error) { return open(private.OS(), dir, o) }

func open(fsys private.FS, dir string, o Options) (*Spool, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, sub := range []string{"", "spool", "state", "dlq", "quarantine"} {
		if err := private.CheckDirOn(fsys, filepath.Join(dir, sub)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return &Spool{dir: dir, o: o, fs: fsys, segmentSize: SegmentSize, cursors: map[place]cursor{}, durable: map[string]bool{}}, nil
}

// makeDir makes a folder of the home. Whoever made it before may have been
// killed before its name was durable, so the first use in a process flushes the
// names once more.
func (s *Spool) makeDir(dir string) error {
	if err := private.MkdirAllOn(s.fs, dir); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		done := s.durable[dir]
		s.mu.Unlock()
		parent := filepath.Dir(dir)
		if done || parent == dir {
			return nil
		}
		if err := s.fs.SyncDir(parent); err != nil {
			s.fs.Remove(dir) // where it is empty, the next try makes it anew
			return spoolError("flush the folders of", err)
		}
		s.mu.Lock()
		s.durable[dir] = true
		s.mu.Unlock()
		if dir == s.dir {
			return nil
		}
		dir = parent
	}
}

// spoolError says what could not be done. An error that names the home as the
// trouble, or a later carl, keeps its code.
func spoolError(verb string, err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		if f.Code != fault.IO {
			return err
		}
		c := *f
		c.Code = fault.SpoolFailed
		return &c
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	code := fault.SpoolFailed
	if private.Unusable(err) {
		code = fault.HomeUnusable
	}
	return fault.New(code, "cannot %s the spool: %w", verb, err)
}
