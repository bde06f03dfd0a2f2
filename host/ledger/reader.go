package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
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
	lines    []byte // of the file that is being read, from next on
	scan     scan

	first       uint64 // the first block that a file has
	pending     []byte
	pendingPath string
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
	r = &Reader{ledgerID: v.head.ledgerID, size: v.head.size, next: from, files: v.files, scan: scan{keys: v.keys}, pendingPath: l.paths.Pending}
	if r.pending, err = l.readPending(); err != nil {
		v.close()
		return nil, 0, err
	}
	if r.first, err = v.firstKept(); err != nil {
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
	// What waits and is kept as well is taken from where it is kept.
	if lines := waiting(r.pending, r.next, nil); lines != nil && r.next < r.first {
		// Its number says what is skipped: it is believed if it was signed, and if what
		// is skipped does not stand behind it.
		b, unsigned, ok := parse(firstLine(lines))
		ok = ok && r.scan.signed(b, unsigned) && b.Seq >= r.next
		if ok && b.Seq > r.next {
			for line := range bytes.Lines(lines) {
				n, _ := seqOf(line)
				ok = ok && n >= b.Seq
			}
		}
		if !ok {
			return 0, tampered("block %d that waits in %s is not what was signed", r.next, r.pendingPath)
		}
		r.lines, r.next = lines, b.Seq
		return r.next, nil
	}
	for i, f := range r.files {
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
			if i > 0 {
				break // a file is missing
			}
			r.next = opener.Seq
		}
		if b := firstFrom(data, r.next); b != nil {
			if n, _ := seqOf(firstLine(b)); n != r.next {
				break
			}
			r.lines = b
			return r.next, nil
		}
	}
	return 0, tampered("block %d is missing", r.next)
}

// waiting returns the lines of the pending file behind the blocks before one; nil
// where there is none. What is no block, or not in order, may be any; what is not
// signed too, where s is not nil.
func waiting(pending []byte, seq uint64, s *scan) []byte {
	from := uint64(0)
	for len(pending) > 0 {
		line, rest, ended := bytes.Cut(pending, []byte("\n"))
		b, unsigned, ok := parse(line)
		if !ended || !ok || b.Seq < from || b.Seq >= seq || s != nil && !s.signed(b, unsigned) {
			return pending
		}
		pending, from = rest, b.Seq+1
	}
	return nil
}

// firstFrom returns the lines from the first whose number is at least seq, nil
// where there is none.
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
	at := bytes.LastIndex(line, seqMember)
	if at < 0 {
		return 0, false
	}
	for at += len(seqMember); at < len(line) && line[at] >= '0' && line[at] <= '9'; at++ {
		n, ok = n*10+uint64(line[at]-'0'), true
	}
	return n, ok
}

// Next returns up to most blocks with up to size bytes, at least one, all signed
// with one key and without a gap between them; none at the end. What it returns
// was verified by its signature, and as the next in order. Blocks before one that
// is not what was signed are returned; the error comes with the next call.
func (r *Reader) Next(ctx context.Context, most, size int) ([]Line, error) {
	var lines []Line
	total := 0
	for len(lines) < most && r.next < r.size {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		line, rest, err := r.line()
		if err != nil && len(lines) == 0 {
			return nil, err
		}
		if total += len(line.Text); err != nil || len(lines) > 0 && (total > size || line.Key != lines[0].Key || line.Seq != lines[len(lines)-1].Seq+1) {
			break
		}
		lines = append(lines, line)
		r.lines, r.next = rest, line.Seq+1
	}
	return lines, nil
}

// line reads the next block, and returns what lies behind it.
func (r *Reader) line() (line Line, rest []byte, err error) {
	text, rest, ended := bytes.Cut(r.lines, []byte("\n"))
	if n, ok := seqOf(text); !ended || ok && n != r.next {
		// The end of a file, or of what waits without a gap in the pending file.
		if _, err := r.seek(); err != nil {
			return Line{}, nil, err
		}
		text, rest, ended = bytes.Cut(r.lines, []byte("\n"))
	}
	b, unsigned, ok := parse(text)
	if !ended || !ok || !r.scan.signed(b, unsigned) || b.LedgerID != r.ledgerID || b.Seq != r.next {
		return Line{}, nil, tampered("block %d is not what was signed", r.next)
	}
	key := base64.RawURLEncoding.EncodeToString(r.scan.keys.public[b.KeyID])
	return Line{Seq: b.Seq, Key: key, Kind: b.Kind, Time: b.Time, Sig: hex.EncodeToString(b.Sig[:]), Hash: hashBlock(unsigned, b.Sig[:]), Text: text}, rest, nil
}

// maxPending bounds the file of blocks whose own file is gone before a remote had
// them, in bytes: two files of the ledger, and what their last commits were over.
const maxPending = 24 << 20

// maxPendingFile bounds what is read of it: what is longer was not written here.
const maxPendingFile = 2 * maxPending

func (l *Ledger) readPending() ([]byte, error) {
	data, err := private.ReadFileOn(l.fs, l.paths.Pending, maxPendingFile)
	switch {
	case notThere(err):
		return nil, nil
	case errors.Is(err, private.ErrTooLarge):
		return nil, tampered("%s: %w", l.paths.Pending, errTooLong)
	}
	return data, err
}

// savePending copies to the pending file what a file that goes still holds for a
// remote. It returns the blocks for which there was no room, or nil.
func (l *Ledger) savePending(t *tail, a archive, from uint64) (*Dropped, error) {
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
	if len(pending) > 0 {
		last, unsigned, ok := parse(lastLine(pending))
		if !ok || pending[len(pending)-1] != '\n' || last.LedgerID != t.ledgerID || !(&scan{keys: t.keys}).signed(last, unsigned) {
			// Another ledger's, or damaged: what is this one's and right goes on waiting.
			right := t.ownLines(pending)
			if err := l.putAside(l.paths.Pending, "pending"); err != nil {
				return nil, err
			}
			if pending = right; len(right) > 0 {
				if err := private.WriteFileOn(l.fs, l.paths.Pending, right); err != nil {
					return nil, err
				}
			}
		}
	}
	// What an attempt that was cut off has copied of it is copied again.
	behind := firstFrom(pending, a.last+1)
	pending = pending[:len(pending)-len(firstFrom(pending, a.first))]
	lines := firstFrom(data, from)
	next := max(from, a.first)
	for line := range bytes.Lines(lines) {
		if n, ok := seqOf(line); !ok || n != next {
			break
		}
		next++
	}
	if next != a.last+1 {
		return nil, tampered("block %d of %s is missing", next, a.path)
	}
	room := lines[:min(len(lines), max(0, l.maxPending-len(pending)-len(behind)))]
	fit := lines[:bytes.LastIndexByte(room, '\n')+1]
	if len(fit) > 0 {
		if err := private.WriteFileOn(l.fs, l.paths.Pending, slices.Concat(pending, fit, behind)); err != nil {
			return nil, err
		}
	}
	if len(fit) == len(lines) {
		return nil, nil
	}
	b, unsigned, ok := parse(lastLine(data))
	first, known := seqOf(firstLine(lines[len(fit):]))
	if !ok || !known {
		return nil, tampered("the last block of %s is not one", a.path)
	}
	return &Dropped{From: first, To: a.last, Hash: hashBlock(unsigned, b.Sig[:])}, nil
}

// ownLines are those of the lines of a pending file that are blocks of this ledger,
// in order.
func (t *tail) ownLines(data []byte) (own []byte) {
	s, from := scan{keys: t.keys}, uint64(0)
	for line := range bytes.Lines(data) {
		b, unsigned, ok := parse(bytes.TrimSuffix(line, []byte("\n")))
		if ok && b.LedgerID == t.ledgerID && b.Seq >= from && line[len(line)-1] == '\n' && s.signed(b, unsigned) {
			own, from = append(own, line...), b.Seq+1
		}
	}
	return own
}

func firstLine(data []byte) []byte {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return line
}

func lastLine(data []byte) []byte {
	data = bytes.TrimSuffix(data, []byte("\n"))
	return data[bytes.LastIndexByte(data, '\n')+1:]
}

// putAside gives a file a name that says what it was.
func (l *Ledger) putAside(path, what string) error {
	aside, err := l.aside(what, ".jsonl")
	if err != nil {
		return err
	}
	if err := l.fs.Rename(path, aside); err != nil {
		return failed("move aside", path, err)
	}
	return nil
}

// checkPending verifies the blocks that wait in the pending file: each by itself,
// each behind the one before it, and the last before the first that is kept. Where
// a file was about to go, its blocks are the same as those that are kept. ok are the
// lines that are right.
func (l *Ledger) checkPending(w *walk, kept map[uint64]Hash) (ok []byte, err error) {
	s, r, first := scan{keys: w.view.keys}, w.report, w.before
	var before *Block
	var hash Hash
	for rest := w.waiting; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		text := rest[:len(rest)-len(after)]
		rest = after
		b, unsigned, good := parse(line)
		good = good && ended && s.signed(b, unsigned) && b.LedgerID == r.LedgerID &&
			(before == nil || b.Seq > before.Seq && (b.Seq != before.Seq+1 || b.Prev == hash))
		switch {
		case good && b.Seq >= r.FirstSeq:
			good = hashBlock(unsigned, b.Sig[:]) == kept[b.Seq]
		case good && b.Seq+1 == r.FirstSeq:
			good = hashBlock(unsigned, b.Sig[:]) == first
		}
		if !good {
			if err == nil {
				n, _ := seqOf(line)
				err = tampered("block %d that waits in %s is not what was signed", n, l.paths.Pending)
			}
			continue
		}
		before, hash, ok = b, hashBlock(unsigned, b.Sig[:]), append(ok, text...)
	}
	return ok, err
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
	k, err := l.loadKeys()
	if err != nil || k == nil {
		return err
	}
	rest := waiting(pending, before, &scan{keys: k})
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
	return bytes.Count(data, []byte("\n")), int64(len(data)), int64(l.maxPending), err
}
