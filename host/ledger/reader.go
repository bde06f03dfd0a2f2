package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// Line is a block on its way to a remote.
type Line struct {
	Seq  uint64
	Kind Kind
	Time time.Time
	// Key is the public key that signed, as member x of its JWK.
	Key string
	// Sig is the signature in hex, the idempotency key; Hash the block's hash.
	Sig  string
	Hash Hash
	// Text is the exact line, without a line end.
	Text []byte
}

// Reader hands out blocks in order, as they were when it was made. It is for one
// goroutine.
type Reader struct {
	ledgerID string
	size     uint64
	next     uint64
	files    []segmentFile
	pending  []byte
	lines    []byte // of the file that is being read, from next on
	scan     scan
}

// Read returns a reader of the blocks from one on that the checkpoint covers,
// those that wait in the pending file included. Where the first ones asked for
// are gone, it begins with the first that is there, which skipped counts.
func (l *Ledger) Read(from uint64) (r *Reader, skipped uint64, err error) {
	v, err := l.view()
	if err != nil {
		return nil, 0, err
	}
	if v.head == nil {
		v.close()
		return &Reader{}, 0, nil
	}
	r = &Reader{ledgerID: v.head.ledgerID, size: v.head.size, next: from, files: v.files, scan: scan{keys: v.keys}}
	if r.pending, err = l.readPending(); err != nil {
		v.close()
		return nil, 0, err
	}
	first, err := r.seek()
	if err != nil {
		v.close()
		return nil, 0, err
	}
	return r, first - from, nil
}

// LedgerID is 32 lowercase hex digits, or "" where there is no ledger yet.
func (r *Reader) LedgerID() string { return r.ledgerID }

// Size is how many blocks the ledger had ever.
func (r *Reader) Size() uint64 { return r.size }

// Waiting is how many blocks are still to come.
func (r *Reader) Waiting() uint64 { return r.size - min(r.size, r.next) }

// Close frees the files.
func (r *Reader) Close() { (&view{files: r.files}).close() }

// seek finds the block next, or the first after it, in the pending file or in
// the segments.
func (r *Reader) seek() (uint64, error) {
	if r.next >= r.size {
		return r.next, nil
	}
	if b := firstFrom(r.pending, r.next); b != nil {
		line, _, _ := bytes.Cut(b, []byte("\n"))
		if block, _, ok := parse(line); ok {
			r.lines, r.next = b, block.Seq
			return r.next, nil
		}
	}
	for _, f := range r.files {
		data, err := readAll(f.file)
		if err != nil {
			return 0, failed("read", f.path, err)
		}
		r.scan.path = f.path
		opener, err := r.scan.opener(data)
		if err != nil {
			return 0, err
		}
		if opener.Seq > r.next {
			r.next = opener.Seq
		}
		if b := firstFrom(data, r.next); b != nil {
			r.lines = b
			return r.next, nil
		}
	}
	return 0, tampered("block %d is missing", r.next)
}

// firstFrom returns the lines from the first whose number is at least seq, nil
// where there is none. Numbers in a file have no gaps but in the pending file.
func firstFrom(data []byte, seq uint64) []byte {
	for len(data) > 0 {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if !ended {
			return nil
		}
		if n, ok := seqOf(line); ok && n >= seq {
			return data
		}
		data = rest
	}
	return nil
}

// seqOf reads the number of a block without reading the block.
func seqOf(line []byte) (n uint64, ok bool) {
	at := sigPlace(line)
	for at > 0 && line[at-1] >= '0' && line[at-1] <= '9' {
		at--
	}
	for ; at < len(line) && line[at] >= '0' && line[at] <= '9'; at++ {
		n, ok = n*10+uint64(line[at]-'0'), true
	}
	return n, ok
}

// Next returns up to most blocks with up to size bytes, all signed with one key,
// at least one, and none at the end. What it returns was verified by its signature, and as the next in
// order.
func (r *Reader) Next(ctx context.Context, most, size int) ([]Line, error) {
	var lines []Line
	total := 0
	for len(lines) < most && r.next < r.size {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		text, rest, ended := bytes.Cut(r.lines, []byte("\n"))
		if !ended {
			if _, err := r.seek(); err != nil {
				return nil, err
			}
			continue
		}
		b, unsigned, ok := parse(text)
		if !ok || !r.scan.signed(b, unsigned) || b.LedgerID != r.ledgerID {
			return nil, tampered("block %d is not what was signed", r.next)
		}
		if b.Seq != r.next {
			// The end of what waits in the pending file.
			if _, err := r.seek(); err != nil {
				return nil, err
			}
			if r.next != b.Seq {
				continue
			}
		}
		key := base64.RawURLEncoding.EncodeToString(r.scan.keys.public[b.KeyID])
		if total += len(text); len(lines) > 0 && (total > size || key != lines[0].Key) {
			break
		}
		lines = append(lines, Line{Seq: b.Seq, Key: key, Kind: b.Kind, Time: b.Time, Sig: hex.EncodeToString(b.Sig[:]), Hash: hashBlock(unsigned, b.Sig[:]), Text: text})
		r.lines, r.next = rest, r.next+1
	}
	return lines, nil
}

const (
	// maxPending bounds the file of blocks whose own file is gone before a remote
	// had them: as much as one file of the ledger.
	maxPending = 10 << 20
)

func (l *Ledger) readPending() ([]byte, error) {
	data, err := private.ReadFileOn(l.fs, l.paths.Pending, 2*maxPending)
	if notThere(err) {
		return nil, nil
	}
	return data, err
}

// savePending copies to the pending file what a file that goes still holds for a
// remote. It returns the blocks for which there was no room, or nil.
func (l *Ledger) savePending(a archive, from uint64) (*Dropped, error) {
	if a.last < from {
		return nil, nil
	}
	data, err := private.ReadFileOn(l.fs, a.path, 4*maxSegment)
	if err != nil {
		return nil, err
	}
	pending, err := l.readPending()
	if err != nil {
		return nil, err
	}
	if last := bytes.LastIndexByte(bytes.TrimSuffix(pending, []byte("\n")), '\n') + 1; last < len(pending) {
		if have, ok := seqOf(pending[last:]); ok {
			from = max(from, have+1) // what an attempt that was cut off has copied
		}
	}
	lines := firstFrom(data, from)
	if len(pending)+len(lines) <= maxPending {
		return nil, private.WriteFileOn(l.fs, l.paths.Pending, append(pending, lines...))
	}
	last := bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n') + 1
	b, unsigned, ok := parse(bytes.TrimSuffix(data[last:], []byte("\n")))
	if !ok {
		return nil, tampered("the last block of %s is not one", a.path)
	}
	return &Dropped{From: max(from, a.first), To: a.last, Hash: hashBlock(unsigned, b.Sig[:])}, nil
}

// TrimPending drops from the pending file what every remote has: the blocks
// before one.
func (l *Ledger) TrimPending(before uint64) error {
	if _, err := l.fs.Lstat(l.paths.Pending); notThere(err) {
		return nil
	}
	lock, err := l.takeLock()
	if err != nil {
		return err
	}
	defer lock.Unlock()
	pending, err := l.readPending()
	if err != nil {
		return err
	}
	rest := firstFrom(pending, before)
	switch {
	case len(rest) == len(pending):
		return nil
	case len(rest) == 0:
		if err := l.fs.Remove(l.paths.Pending); err != nil && !notThere(err) {
			return fault.New(fault.LedgerFailed, "ledger: cannot remove %s: %w", l.paths.Pending, err)
		}
		return nil
	}
	return private.WriteFileOn(l.fs, l.paths.Pending, rest)
}

// Pending is how many blocks wait in the pending file, and how many bytes of
// its room they take.
func (l *Ledger) Pending() (blocks int, used, room int64, err error) {
	data, err := l.readPending()
	return bytes.Count(data, []byte("\n")), int64(len(data)), maxPending, err
}
