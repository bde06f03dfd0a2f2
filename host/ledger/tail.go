package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// tail is all that the next block depends on. It is used under the lock.
type tail struct {
	keys     *keys
	ledgerID string
	edge     edge // of all blocks
	prior    edge // of all but the last
	prev     Hash
	last     time.Time
	seg      uint64

	constitution, stateName string
	adopted                 bool   // a constitution was, since the last decision, or may have been
	signer                  string // the id of the key that signs the next block

	file     private.File // the open file; nil before the first block
	bytes    int64        // of it that are blocks
	headSize uint64       // what the head says
	opener   uint64       // the first block of the open file
	pruned   uint64       // the first block that was kept when that was written
	owed     *owed        // a recovery that is still to be recorded

	recovered *Block // what recorded the recovery that was owed
}

func (t *tail) empty() bool { return t.file == nil }

func (t *tail) close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

func (t *tail) state() State {
	return State{LedgerID: t.ledgerID, Size: t.edge.size, Constitution: t.constitution, State: t.stateName}
}

// mayBegin reports whether the next decision may begin in a state: the one that the
// last decision left, and any where a constitution was adopted since, whose first
// state the ledger does not know.
func (t *tail) mayBegin(in string) bool {
	return t.adopted || t.stateName == "" || in == t.stateName
}

// next makes the block that follows.
func (t *tail) next(e Entry, now time.Time) (b *Block, line []byte, hash Hash) {
	if now.Before(t.last) {
		now = t.last
	}
	if last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC); now.After(last) {
		now = last // RFC 3339 has no later year
	} else if now.Year() < 0 {
		now = time.Time{}
	}
	b = &Block{LedgerID: t.ledgerID, Seq: t.edge.size, Seg: t.seg, Time: now, KeyID: t.keys.id, Prev: t.prev}
	e.fill(b)
	line, hash = b.sign(t.keys.private)
	return b, line, hash
}

// start puts the tail before the block that opens a file.
func (t *tail) start(b *Block) {
	t.ledgerID, t.seg, t.prev, t.signer = b.LedgerID, b.Seg, b.Prev, b.KeyID
	t.edge = edge{b.Segment.Size, slices.Clone(b.Segment.Tree)}
	t.constitution, t.stateName = b.Segment.Constitution, b.Segment.State
	t.adopted = b.Seq > 0 // in the files before, perhaps
	t.pruned = b.Segment.PrunedBefore
}

// wrong says what is wrong with the next block, in a file that begins with block
// first; "" for nothing.
func (t *tail) wrong(b *Block, signed bool, first uint64) string {
	switch {
	case b.Seq != t.edge.size:
		return fmt.Sprintf("is missing: block %d stands there", b.Seq)
	case !signed || b.KeyID != t.signer:
		return "is not signed with the ledger's key"
	case b.LedgerID != t.ledgerID:
		return "is another ledger's"
	case b.Prev != t.prev:
		return "does not follow on the block before it"
	case b.Seg != t.seg || (b.Segment != nil) != (b.Seq == first):
		return "is in the wrong file"
	case b.Time.Before(t.last):
		return "is older than the block before it"
	case b.Segment != nil && (b.Segment.Constitution != t.constitution || b.Segment.State != t.stateName):
		return "opens a file with another state than the last decision left"
	case b.Decision != nil && b.Decision.Constitution != t.constitution:
		return "was decided by a constitution that was not adopted"
	case b.Decision != nil && !t.mayBegin(b.Decision.From):
		return "does not begin in the state that the last decision left"
	case b.KeyRotation != nil && !b.rotates():
		return "rotates to a key that did not sign it"
	}
	return ""
}

// push takes a block for the last one.
func (t *tail) push(b *Block, hash Hash) {
	t.prior.size, t.prior.hashes = t.edge.size, append(t.prior.hashes[:0], t.edge.hashes...)
	t.edge.push(hash)
	t.prev, t.last, t.seg = hash, b.Time, b.Seg
	t.signer = b.successor()
	switch {
	case b.Segment != nil:
		t.constitution, t.stateName = b.Segment.Constitution, b.Segment.State
	case b.Constitution != nil:
		t.constitution, t.adopted = b.Constitution.Digest, true
	case b.Decision != nil:
		t.stateName, t.adopted = b.Decision.To, false
	}
}

// successor is the id of the key that signs the block behind this one.
func (b *Block) successor() string {
	if b.KeyRotation != nil {
		return keyID(b.KeyRotation.NewKey)
	}
	return b.KeyID
}

// load reads the tail, or takes what this process left if nobody came since. A
// recovery that is owed is recorded first.
func (l *Ledger) load() (*tail, error) {
	unfinished, err := l.unfinished()
	if err != nil {
		return nil, err
	}
	if t := l.tail; t != nil {
		l.tail = nil
		if _, err := l.fs.Lstat(l.paths.owed()); notThere(err) && !unfinished && l.unchanged(t) {
			return t, nil
		}
		t.close()
	}
	t, err := l.read(unfinished)
	if err != nil {
		return nil, err
	}
	if t.owed, err = l.owed(); err == nil && t.owed != nil {
		t.recovered, err = l.recordRecovery(t)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// read reads the tail.
func (l *Ledger) read(unfinished bool) (*tail, error) {
	k, err := l.loadKeys()
	if err != nil {
		return nil, err
	}
	f, err := l.fs.OpenFile(l.paths.active(), os.O_RDWR, 0)
	if notThere(err) {
		return l.begin(k)
	}
	if err != nil {
		return nil, failed("open", l.paths.active(), err)
	}
	t := &tail{keys: k, file: f}
	if k == nil {
		err = fault.New(fault.LedgerKeyInvalid, "ledger: %s is missing, and %s has blocks that it signed", l.paths.Key, l.paths.active()).
			WithKept("nothing was recorded").WithHint("restore %s from a copy; without it no block can follow", l.paths.Key)
	}
	if err == nil {
		err = l.readTail(t)
	}
	// A file whose flush may have failed is never flushed again, and the name of a
	// new one may not be on disk yet: in both cases it is made once more.
	if err == nil && (unfinished || t.headSize <= t.opener+1) {
		err = l.remake(t)
	}
	if err == nil {
		err = l.mayGoOn(t)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// mayGoOn makes sure that the key is the one that signs the next block, and brings
// a rotation of it to its end whose block is there, durably.
func (l *Ledger) mayGoOn(t *tail) (err error) {
	if next := t.keys.next; next != nil && t.signer == keyID(next.Public().(ed25519.PublicKey)) {
		if err := l.adoptNext(t.keys); err != nil {
			return err
		}
		if t.keys, err = l.loadKeys(); err != nil {
			return err
		}
	}
	if t.keys == nil || t.signer != t.keys.id {
		return tampered("block %d is to be signed with another key than %s has", t.edge.size, l.paths.Key)
	}
	return nil
}

// unchanged opens the open file once more, since another may have been put in its
// place, and reports whether the files are those that this process left: the
// head, which every commit replaces, and the length of the open file.
func (l *Ledger) unchanged(t *tail) bool {
	var err error
	if t.file, err = l.fs.OpenFile(l.paths.active(), os.O_RDWR, 0); err != nil {
		t.file = nil
		return false
	}
	info, err := t.file.Stat()
	if err != nil || info.Size() != t.bytes || !info.Mode().IsRegular() {
		return false
	}
	head, err := private.ReadFileOn(l.fs, l.paths.head(), maxHead)
	return err == nil && t.headSize == t.edge.size && bytes.Equal(head, formatHead(t.ledgerID, &t.edge, t.keys.private))
}

// begin starts a ledger where nothing is. The key is made once there is
// something to sign.
func (l *Ledger) begin(k *keys) (*tail, error) {
	if archives, err := l.archives(); err != nil || len(archives) > 0 {
		if err == nil {
			err = tampered("%s is missing, and closed files are there", l.paths.active())
		}
		return nil, err
	}
	if _, err := l.fs.Lstat(l.paths.head()); err == nil {
		// Before a second block is written the first one's file is durable.
		if k == nil {
			return nil, tampered("%s is there, and no block is", l.paths.head())
		}
		if h, err := l.readHead(k); err != nil || h.size > 1 {
			if err == nil {
				err = tampered("%s is there, and no block is", l.paths.head())
			}
			return nil, err
		}
	}
	receipts, err := l.receipts()
	if err == nil && len(receipts) > 0 {
		err = tampered("nothing is there, and a remote attested blocks: it was taken away")
	}
	if err != nil {
		return nil, err
	}
	return &tail{keys: k, ledgerID: newLedgerID()}, nil
}

// remake puts the open file's blocks into a new file of its name, and the head
// beside it, durably.
func (l *Ledger) remake(t *tail) error {
	data, err := readAll(t.file)
	if err != nil {
		return failed("read", l.paths.active(), err)
	}
	t.close()
	if err := private.WriteFileOn(l.fs, l.paths.active(), data[:min(int64(len(data)), t.bytes)]); err != nil {
		return failed("write", l.paths.active(), err)
	}
	return l.remade(t)
}

// remade goes on with a file that was just made.
func (l *Ledger) remade(t *tail) (err error) {
	t.close()
	if t.file, err = l.fs.OpenFile(l.paths.active(), os.O_RDWR, 0); err != nil {
		return failed("open", l.paths.active(), err)
	}
	if err := l.writeHead(t, t.keys); err != nil {
		return failed("write", l.paths.head(), err)
	}
	t.headSize = t.edge.size
	if t.headSize <= t.opener+1 {
		// From now on a missing head is one that somebody took away.
		if err := l.fs.SyncDir(filepath.Dir(l.paths.head())); err != nil {
			return failed("write", l.paths.head(), err)
		}
	}
	return l.finish()
}

// readTail reads the open file's first block, and those at its end that matter:
// the last one that the head covers, and what lies beyond.
func (l *Ledger) readTail(t *tail) error {
	h, err := l.readHead(t.keys)
	if err != nil {
		return err
	}
	info, err := t.file.Stat()
	if err != nil {
		return failed("read", l.paths.active(), err)
	}
	if info.Size() > 4*maxSegment {
		return failed("read", l.paths.active(), errTooLong)
	}
	start := make([]byte, min(info.Size(), maxLine+1))
	if _, err := t.file.ReadAt(start, 0); err != nil && err != io.EOF {
		return failed("read", l.paths.active(), err)
	}
	r := &scan{keys: t.keys, path: l.paths.active()}
	opener, err := r.opener(start)
	if err != nil {
		return err
	}
	t.start(opener)
	r.first, t.opener = opener.Seq, opener.Seq
	if h == nil {
		if err := l.firstHead(t, r, info.Size()); err != nil {
			return err
		}
		h = &head{ledgerID: t.ledgerID}
	}
	if h.ledgerID != t.ledgerID {
		return tampered("%s is another ledger's", l.paths.head())
	}
	t.headSize = h.size
	from, data, err := l.lastBlocks(t, r, h, info.Size())
	if err != nil {
		return err
	}
	good := r.beyond(t, data)
	t.bytes = from + int64(good)
	if err := l.notRolledBack(t); err != nil || good == len(data) {
		return err
	}
	return l.cut(t, data[good:], t.bytes)
}

// notRolledBack refuses to go on behind a block where later ones are known: by a
// closed file, or by what a remote attested.
func (l *Ledger) notRolledBack(t *tail) error {
	archives, err := l.archives()
	if err != nil {
		return err
	}
	for _, a := range archives {
		if a.later(t.opener, t.edge.size) {
			return tampered("it ends with block %d, and %s is there: it was rolled back", t.edge.size-1, a.path)
		}
	}
	next, err := l.lastAttested(t.ledgerID, t.edge.size)
	if err == nil && next > t.edge.size {
		err = tampered("it ends with block %d, and a remote attested block %d: it was rolled back", t.edge.size-1, next-1)
	}
	return err
}

// firstHead makes sure that a missing head is one that was never written: the
// first one is durable before a second block is.
func (l *Ledger) firstHead(t *tail, r *scan, size int64) error {
	data, err := readAll(t.file)
	if err != nil {
		return failed("read", l.paths.active(), err)
	}
	_, rest, _ := bytes.Cut(data[:min(int64(len(data)), size)], []byte("\n"))
	if line, _, ended := bytes.Cut(rest, []byte("\n")); r.first == 0 && !ended && len(line) == 0 {
		return nil
	}
	return tampered("%s is missing, and %s has more than the block that opens it", l.paths.head(), l.paths.active())
}

// tailChunk is what is read from the end of the open file at first; it holds
// some hundred blocks.
const tailChunk = 256 << 10

// lastBlocks sets the tail behind the last block that the head covers, and returns
// what lies behind it: by the cached edge from the end of the file alone, and
// otherwise by the whole of it. Where the head ends before the file, all files are
// verified, and the whole of this one lies behind.
func (l *Ledger) lastBlocks(t *tail, r *scan, h *head, size int64) (from int64, data []byte, err error) {
	var unread error // what a file before says that could not be read
	adoptedBefore := func() bool {
		adopted, err := l.adoptedBefore(t.opener)
		if err != nil {
			unread = err
		}
		return adopted
	}
	defer func() {
		if err == nil {
			err = unread
		}
	}()
	if prior, ok := l.readEdge(); ok && prior.size+1 == h.size && h.size > r.first {
		for chunk := int64(tailChunk); ; chunk *= 4 {
			from = max(0, size-chunk)
			data = make([]byte, size-from)
			if _, err := t.file.ReadAt(data, from); err != nil && err != io.EOF {
				return 0, nil, failed("read", l.paths.active(), err)
			}
			if at, ok := lineOf(data, prior.size); ok {
				if end, ok := r.stand(t, data, from, at, h, prior, adoptedBefore); ok {
					// A doubled end is a chain as well, up to where it was copied from.
					if n, err := countLines(t.file, from+int64(end)); err != nil {
						return 0, nil, failed("read", l.paths.active(), err)
					} else if uint64(n) == h.size-r.first {
						return from + int64(end), data[end:], nil
					}
					break
				}
			}
			if from == 0 {
				break
			}
		}
	}
	if data, err = readAll(t.file); err != nil {
		return 0, nil, failed("read", l.paths.active(), err)
	}
	opener, err := r.opener(data)
	if err != nil {
		return 0, nil, err
	}
	t.start(opener)
	if h.size <= r.first {
		if h.size > 0 {
			err = l.verifyLocked(context.Background())
		}
		t.adopted = r.first > 0 && adoptedBefore()
		return 0, data, err
	}
	if prior, at, ok := rebuild(t.edge.clone(), data, h.size); ok {
		if end, ok := r.stand(t, data, 0, at, h, prior, adoptedBefore); ok {
			return int64(end), data[end:], nil
		}
	}
	// Verification tells which block it is.
	if err = l.verifyLocked(context.Background()); err == nil {
		err = tampered("the %d blocks up to %s are not those of the checkpoint", h.size, r.path)
	}
	return 0, nil, err
}

// adoptedBefore reports whether, in the files before the one that begins with a
// block, a constitution was adopted after the last decision; also where neither is
// in what is kept.
func (l *Ledger) adoptedBefore(opener uint64) (bool, error) {
	archives, err := l.archives()
	if err != nil {
		return false, err
	}
	for _, a := range slices.Backward(archives) {
		if a.last >= opener {
			continue
		}
		data, err := private.ReadFileOn(l.fs, a.path, 4*maxSegment)
		if err != nil {
			return false, err
		}
		for end := len(data); end > 0; {
			begin := bytes.LastIndexByte(data[:end-1], '\n') + 1
			b, _, ok := parse(bytes.TrimSuffix(data[begin:end], []byte("\n")))
			switch {
			case ok && b.Constitution != nil:
				return true, nil
			case ok && b.Decision != nil:
				return false, nil
			}
			end = begin
		}
	}
	return true, nil
}

// countLines counts the line ends in the beginning of a file.
func countLines(f private.File, size int64) (n int, err error) {
	buf := make([]byte, min(size, tailChunk))
	for at := int64(0); at < size; {
		part := buf[:min(int64(len(buf)), size-at)]
		if _, err := f.ReadAt(part, at); err != nil {
			return 0, err
		}
		n += bytes.Count(part, []byte("\n"))
		at += int64(len(part))
	}
	return n, nil
}

// cut saves a torn end aside and cuts it off.
func (l *Ledger) cut(t *tail, torn []byte, good int64) error {
	aside, err := l.aside("torn", ".jsonl")
	if err != nil {
		return err
	}
	if err := private.WriteFileOn(l.fs, aside, torn); err != nil {
		return err
	}
	if err := t.file.Truncate(good); err != nil {
		return failed("cut the torn end of", l.paths.active(), err)
	}
	return nil
}

// aside makes a name that nothing has yet.
func (l *Ledger) aside(what, ending string) (string, error) {
	for at := l.now(); ; at = at.Add(time.Microsecond) {
		path := l.paths.Base + "." + what + "-" + at.Format("20060102T150405.000000Z") + ending
		if _, err := l.fs.Lstat(path); notThere(err) {
			return path, nil
		} else if err != nil {
			return "", failed("write", path, err)
		}
	}
}

// errTooLong is a file of more bytes than one of a ledger has.
var errTooLong = errors.New("it is longer than any file of a ledger")

// readAll reads a file that is open.
func readAll(f private.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > 4*maxSegment {
		return nil, errTooLong
	}
	data := make([]byte, info.Size())
	n, err := f.ReadAt(data, 0)
	if err == io.EOF {
		err = nil
	}
	return data[:n], err
}

// unfinished reports whether a commit did not come to its end: its process died,
// or its flush failed. The lock file holds a byte as long as one is under way; it
// is not flushed, since the page cache outlives processes, and after a power cut
// no flush is in doubt.
func (l *Ledger) unfinished() (bool, error) {
	info, err := l.fs.Lstat(l.paths.lock())
	if err != nil {
		return false, failed("read", l.paths.lock(), err)
	}
	return info.Size() > 0, nil
}

// start notes that a commit is under way, finish that it came to its end.
func (l *Ledger) start() error { return l.note("c") }

func (l *Ledger) finish() error {
	if err := l.note(""); err != nil {
		return unsure(err)
	}
	return nil
}

func (l *Ledger) note(text string) error {
	f, err := l.fs.OpenFile(l.paths.lock(), os.O_RDWR, 0)
	if err == nil {
		if text == "" {
			err = f.Truncate(0)
		} else {
			_, err = f.WriteAt([]byte(text), 0)
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return failed("write", l.paths.lock(), err)
	}
	return nil
}

func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
