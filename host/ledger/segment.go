package ledger

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"carl.camp/carl/host/private"
)

// archive is a closed file.
type archive struct {
	path        string
	first, last uint64
}

// archives lists the closed files in the order of their blocks.
func (l *Ledger) archives() ([]archive, error) {
	entries, err := l.fs.ReadDir(filepath.Dir(l.paths.Base))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed("list", filepath.Dir(l.paths.Base), err)
	}
	var list []archive
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), filepath.Base(l.paths.Base)+".")
		if ok {
			middle, ok = strings.CutSuffix(middle, ".jsonl")
		}
		from, to, dash := strings.Cut(middle, "-")
		first, err1 := strconv.ParseUint(from, 10, 64)
		last, err2 := strconv.ParseUint(to, 10, 64)
		if ok && dash && err1 == nil && err2 == nil && first <= last && archiveName(l.paths.Base, first, last) == filepath.Join(filepath.Dir(l.paths.Base), e.Name()) {
			list = append(list, archive{archiveName(l.paths.Base, first, last), first, last})
		}
	}
	slices.SortFunc(list, func(a, b archive) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last))
	})
	return list, nil
}

// later reports whether a closed file has blocks that come after those of an open
// one, which begins with a block and ends before another. One that begins as the
// open file does is a copy of it, from before it was closed and not replaced.
func (a archive) later(opener, size uint64) bool { return a.first > opener || a.last >= size }

func archiveName(base string, first, last uint64) string {
	return base + "." + strconv.FormatUint(first, 10) + "-" + strconv.FormatUint(last, 10) + ".jsonl"
}

// openSegment begins the next file. The open one is copied under the name of a
// closed one, durably, and only then replaced: at every moment each block is
// under one name at least. The tail stands behind the new file's first block then.
func (l *Ledger) openSegment(t *tail) error {
	if t.empty() {
		if err := l.firstKeys(t); err != nil {
			return err
		}
		return l.beginFile(t, nil)
	}
	data, err := readAll(t.file)
	if err != nil {
		return failed("read", l.paths.active(), err)
	}
	data = data[:min(int64(len(data)), t.bytes)]
	previous := &Previous{First: t.opener, Last: t.edge.size - 1, SHA256: sha256.Sum256(data)}
	// A file that is closed is vouched for by the next one, and goes in the end:
	// what is wrong with it must not go with it.
	if err := l.whole(t, data); err != nil {
		return err
	}
	if err := l.removeCopies(previous); err != nil {
		return err
	}
	closed := archiveName(l.paths.Base, previous.First, previous.Last)
	if err := private.WriteFileOn(l.fs, closed, data); err != nil {
		return failed("close", closed, err)
	}
	t.seg++
	return l.beginFile(t, previous)
}

// removeCopies removes what is left of attempts to close the open file that were
// cut off: it went on since.
func (l *Ledger) removeCopies(file *Previous) error {
	archives, err := l.archives()
	if err != nil {
		return err
	}
	for _, a := range archives {
		if a.first == file.First && a.last != file.Last {
			if err := l.fs.Remove(a.path); err != nil && !notThere(err) {
				return failed("remove", a.path, err)
			}
		}
	}
	return nil
}

// whole makes sure that the open file has the blocks that the tail stands on: it
// has if its lines come to the tail's root.
func (l *Ledger) whole(t *tail, data []byte) error {
	r := &scan{keys: t.keys, path: l.paths.active(), first: t.opener}
	opener, err := r.opener(data)
	if err != nil {
		return err
	}
	e, ok := edge{opener.Segment.Size, slices.Clone(opener.Segment.Tree)}, true
	for rest := data; ok && len(rest) > 0; {
		var line []byte
		var hash Hash
		if line, rest, ok = bytes.Cut(rest, []byte("\n")); ok {
			if hash, ok = leaf(line); ok {
				e.push(hash)
			}
		}
	}
	if ok && e.size == t.edge.size && e.root() == t.edge.root() {
		return nil
	}
	if err := l.verifyLocked(context.Background()); err != nil {
		return err // which tells the block
	}
	return tampered("block %d of %s is not the one that was appended", t.edge.size-1, l.paths.active())
}

// beginFile makes the open file with its first block.
func (l *Ledger) beginFile(t *tail, previous *Previous) error {
	archives, err := l.archives()
	if err != nil {
		return err
	}
	doomed := archives[:max(0, len(archives)-maxArchives)]
	archives = archives[len(doomed):]
	var dropped *Dropped
	if from, some := l.unforwarded(t.ledgerID); some {
		for _, a := range doomed {
			d, err := l.savePending(t, a, from)
			if err != nil {
				return err
			}
			if d != nil && dropped != nil {
				d.From = dropped.From
			}
			if d != nil {
				dropped = d
			}
		}
	}
	pruned := t.edge.size
	if len(archives) > 0 {
		pruned = archives[0].first
	}
	b, line, hash := t.next(&Segment{
		Size: t.edge.size, Tree: slices.Clone(t.edge.hashes), Previous: previous, PrunedBefore: pruned,
		Constitution: t.constitution, State: t.stateName,
	}, l.now())
	line = append(line, '\n')
	t.push(b, hash)
	t.opener, t.pruned = b.Seq, pruned
	if dropped != nil {
		// What is lost is owned up to with the block that lets go of it.
		lost, more, hash := t.next(dropped, l.now())
		t.push(lost, hash)
		line = append(append(line, more...), '\n')
	}
	t.close()
	if err := private.WriteFileOn(l.fs, l.paths.active(), line); err != nil {
		return failed("begin", l.paths.active(), err)
	}
	t.bytes = int64(len(line))
	// Only now, when it is on record what goes and what is lost with it.
	for _, a := range doomed {
		if err := l.fs.Remove(a.path); err != nil && !notThere(err) {
			return failed("remove", a.path, err)
		}
	}
	return l.remade(t)
}

// unforwarded is the first block that some remote is still to have.
func (l *Ledger) unforwarded(ledgerID string) (from uint64, some bool) {
	if l.forwarded == nil {
		return 0, false
	}
	return l.forwarded(ledgerID)
}
