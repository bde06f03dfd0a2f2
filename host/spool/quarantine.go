package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"carl.camp/carl/host/private"
)

const (
	// maxSpanCopy bounds the copy of one damaged span: a segment's worth.
	maxSpanCopy = SegmentSize
	// maxSpanFiles bounds the folder; the oldest copies go first.
	maxSpanFiles = 64
	// maxSpansCopied bounds the copies of one reading of one segment. Damage
	// comes in a few blocks; what is shredded more finely tells nothing more.
	maxSpansCopied = 16
)

func segmentLabel(slot int, first uint64) string {
	return fmt.Sprintf("slot-%02d-%020d", slot, first)
}

// quarantine keeps a copy of damaged bytes that stood at an offset of a file,
// and reports whether it is new. It is for people who look for what happened;
// no failure of it is a reason to stop.
func (s *Spool) quarantine(label string, off int64, b []byte) bool {
	dir := filepath.Join(s.dir, "quarantine")
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.bad", label, off))
	if _, err := s.fs.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if s.writeFile(path, b[:min(len(b), maxSpanCopy)]) != nil {
		return false
	}
	entries, err := s.fs.ReadDir(dir)
	if err != nil || len(entries) <= maxSpanFiles {
		return true
	}
	var copies []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), ".bad") {
			copies = append(copies, info)
		}
	}
	slices.SortFunc(copies, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, old := range copies[:max(0, len(copies)-maxSpanFiles)] {
		s.fs.Remove(filepath.Join(dir, old.Name()))
	}
	return true
}

// spans collects the damage of one segment while it is read.
type spans struct {
	s      *Spool
	label  string
	file   private.File
	copies int
}

func (s *Spool) spans(label string, f private.File) *spans {
	return &spans{s: s, label: label, file: f}
}

// note copies and counts the damaged bytes from ≤ n < to, once: a span whose
// copy is there was counted when that was made.
func (d *spans) note(from, to int64) {
	if d.copies++; d.copies > maxSpansCopied {
		return
	}
	b := make([]byte, min(to-from, maxSpanCopy))
	n, err := d.file.ReadAt(b, from)
	if err != nil && err != io.EOF || n == 0 {
		return
	}
	if d.s.quarantine(d.label, from, b[:n]) {
		d.s.count(LostDamaged, 1)
	}
}

// tail notes what stands behind the last record of a segment that has ended.
func (d *spans) tail(off int64) {
	if info, err := d.file.Stat(); err == nil && info.Size() > off {
		d.note(off, info.Size())
	}
}
