package spool

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"time"

	"carl.camp/carl/host/private"
)

// Reasons of losses.
const (
	LostAge     = "age"     // records older than MaxAge
	LostBytes   = "bytes"   // records beyond MaxBytes
	LostDamaged = "damaged" // spans of a segment that held no valid records
	LostLetters = "letters" // dead letters beyond the bound of their file
)

// Loss counts what the spool gave up for one reason, since the home exists.
type Loss struct {
	Reason   string    `json:"reason"`
	Total    uint64    `json:"total"`
	Reported uint64    `json:"reported"` // how many of Total were reported
	Last     time.Time `json:"last"`     // when Total last grew
}

// lossFile is the JSON of spool/losses.
type lossFile struct {
	V      int    `json:"v"`
	Losses []Loss `json:"losses"`
	// Doomed are segments, as [slot, first], whose records are counted in
	// already. They are being removed, or were.
	Doomed [][2]uint64 `json:"doomed,omitempty"`
}

func (f *lossFile) valid() bool {
	for i, l := range f.Losses {
		if l.Reason == "" || i > 0 && f.Losses[i-1].Reason >= l.Reason {
			return false
		}
	}
	return true
}

// of returns the count for a reason, made when missing.
func (f *lossFile) of(reason string) *Loss {
	i, ok := slices.BinarySearchFunc(f.Losses, reason, func(l Loss, reason string) int { return cmp.Compare(l.Reason, reason) })
	if !ok {
		f.Losses = slices.Insert(f.Losses, i, Loss{Reason: reason})
	}
	return &f.Losses[i]
}

// lossLockWait bounds the wait for the counts, which are held for the time of
// a few flushes.
const lossLockWait = 5 * time.Second

func (s *Spool) lossPath() string { return filepath.Join(s.dir, "spool", "losses") }

func (s *Spool) lossLockPath() string { return s.lossPath() + ".lock" }

func (s *Spool) loadLosses() (lossFile, error) {
	var f lossFile
	if _, err := s.loadSealed(s.lossPath(), maxSealed, &f, func(rest []byte) bool { return len(rest) == 0 && f.valid() }); err != nil {
		return lossFile{}, err
	}
	if !f.valid() { // damaged, and moved aside
		f = lossFile{}
	}
	f.V = version
	return f, nil
}

func (s *Spool) saveLosses(f lossFile) error {
	b, err := seal(f)
	if err != nil {
		return spoolError("write", err)
	}
	return s.writeFile(s.lossPath(), b)
}

// changeLosses applies f to the counts, under their lock.
func (s *Spool) changeLosses(f func(*lossFile)) error {
	if err := s.makeDir(filepath.Dir(s.lossPath())); err != nil {
		return spoolError("write", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lossLockWait)
	defer cancel()
	lock, err := private.LockOn(ctx, s.fs, s.lossLockPath())
	if err != nil {
		return spoolError("lock", err)
	}
	defer lock.Unlock()
	l, err := s.loadLosses()
	if err != nil {
		return err
	}
	f(&l)
	return s.saveLosses(l)
}

// count adds n to a reason. Where the count cannot be kept it is lost: that is
// no reason to stop what found the loss.
func (s *Spool) count(reason string, n uint64) {
	_ = s.changeLosses(func(l *lossFile) { l.add(reason, n, s.o.Now()) })
}

func (f *lossFile) add(reason string, n uint64, now time.Time) {
	l := f.of(reason)
	l.Total += n
	l.Last = now.UTC()
}

// Losses returns the counts, sorted by reason. They are durable.
func (s *Spool) Losses() ([]Loss, error) {
	f, err := s.loadLosses()
	return f.Losses, err
}

// ReportLoss notes durably that total was reported for reason. An event whose
// id is made from (reason, total) is delivered once, however often a kill
// comes between its delivery and this call.
func (s *Spool) ReportLoss(reason string, total uint64) error {
	return s.changeLosses(func(f *lossFile) {
		l := f.of(reason)
		l.Reported = max(l.Reported, min(total, l.Total))
	})
}
