package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// tail is all that the next block depends on. It is used under the lock.
type tail struct {
	keys     *keys
	ledgerID string
	edge     edge // of all blocks
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
}

func (t *tail) empty() bool { return t.file == nil }

func (t *tail) close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

func (t *tail) state() State {
	s := State{LedgerID: t.ledgerID, Size: t.edge.size, Constitution: t.constitution, State: t.stateName}
	if t.edge.size > 0 {
		s.Root = t.edge.root()
	}
	return s
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

// push takes a block for the last one.
func (t *tail) push(b *Block, hash Hash) {
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

// load reads the tail, or takes what this process left if nobody came since.
func (l *Ledger) load() (*tail, error) {
	unfinished, err := l.unfinished()
	if err != nil {
		return nil, err
	}
	if t := l.tail; t != nil {
		l.tail = nil
		t.close()
		if !unfinished && l.unchanged(t) {
			return t, nil
		}
		t.close()
	}
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
	return &tail{keys: k, ledgerID: newLedgerID()}, nil
}

// remake puts the open file's blocks into a new file of its name, and the head
// beside it, durably.
func (l *Ledger) remake(t *tail) error {
	data, err := readAll(t.file)
	if err != nil {
		return failed("read", l.paths.active(), err)
	}
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
	if err := l.writeHead(t.ledgerID, &t.edge, t.keys.private); err != nil {
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
	start := make([]byte, min(info.Size(), maxLine+1))
	if _, err := t.file.ReadAt(start, 0); err != nil && err != io.EOF {
		return failed("read", l.paths.active(), err)
	}
	r := &scan{keys: t.keys, path: l.paths.active()}
	opener, err := r.opener(start)
	if err != nil {
		return err
	}
	t.ledgerID, t.seg = opener.LedgerID, opener.Seg
	r.first, t.opener = opener.Seq, opener.Seq
	t.edge = edge{opener.Segment.Size, slices.Clone(opener.Segment.Tree)}
	t.adopted = opener.Seq > 0 // in the file before, perhaps
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
	good, err := r.replay(t, data, h)
	if err != nil {
		return err
	}
	if good < len(data) {
		if err := l.cut(t, data[good:], from+int64(good)); err != nil {
			return err
		}
	}
	t.bytes = from + int64(good)
	return nil
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

// lastBlocks sets the tail to the last block that the head covers, told by the
// cached edge from the end of the file alone, and returns what lies behind it.
// Where that does not work out, the tail stays at the first block, and the whole
// file is returned.
func (l *Ledger) lastBlocks(t *tail, r *scan, h *head, size int64) (from int64, data []byte, err error) {
	if e, ok := l.readEdge(h); ok && h.size > r.first {
		for chunk := int64(tailChunk); ; chunk *= 4 {
			from = max(0, size-chunk)
			data = make([]byte, size-from)
			if _, err := t.file.ReadAt(data, from); err != nil && err != io.EOF {
				return 0, nil, failed("read", l.paths.active(), err)
			}
			before := *t
			if at, ok := r.covered(t, data, from, h, e); ok {
				// A doubled end is a chain as well, up to where it was copied from.
				if n, err := countLines(t.file, from+int64(at)); err != nil {
					return 0, nil, failed("read", l.paths.active(), err)
				} else if uint64(n) == e.size-r.first {
					return from + int64(at), data[at:], nil
				}
				*t = before
				break
			}
			if from == 0 {
				break
			}
		}
	}
	data, err = readAll(t.file)
	if err != nil {
		return 0, nil, failed("read", l.paths.active(), err)
	}
	return 0, data, nil
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

// scan reads the lines of one file.
type scan struct {
	keys  *keys
	path  string
	first uint64 // the first block of the file
}

// opener reads the first block of a file.
func (r *scan) opener(data []byte) (*Block, error) {
	line, _, ok := bytes.Cut(data, []byte("\n"))
	if ok {
		if b, unsigned, good := parse(line); good && b.Segment != nil && b.Segment.Size == b.Seq && b.opens() && r.signed(b, unsigned) {
			if e := (edge{b.Segment.Size, b.Segment.Tree}); e.fits() && isLedgerID(b.LedgerID) {
				return b, nil
			}
		}
	}
	return nil, tampered("the first block of %s is not one", r.path)
}

// covered looks in the end of a file, from a place on, for the last block that e
// covers, goes back to the last that says which constitution and which state
// hold, and sets the tail by them. It returns where the block after it begins.
func (r *scan) covered(t *tail, data []byte, from int64, h *head, e edge) (at int, ok bool) {
	was := *t
	defer func() {
		if !ok {
			*t = was
		}
	}()
	t.adopted = false
	var before Hash // of the block that comes next
	var constitution, stateName *string
	end := bytes.LastIndexByte(data, '\n') + 1
	for end > 0 {
		begin := bytes.LastIndexByte(data[:end-1], '\n') + 1
		b, unsigned, good := parse(data[begin : end-1])
		next := end
		end = begin
		if !good || b.Seq >= e.size {
			if at != 0 {
				return 0, false
			}
			continue // beyond the head, or torn
		}
		hash := hashBlock(unsigned, b.Sig[:])
		if at == 0 {
			if b.Seq+1 != e.size || !r.signed(b, unsigned) || b.LedgerID != t.ledgerID || b.Seg != t.seg || !mayHead(b, h, r.keys) {
				return 0, false
			}
			at = next
			t.prev, t.last, t.signer = hash, b.Time, b.successor()
		} else if hash != before {
			return 0, false // what the chain does not vouch for says nothing
		}
		before = b.Prev
		switch {
		case b.Segment != nil:
			if from+int64(begin) != 0 {
				return 0, false // a copy
			}
			t.adopted = t.adopted || stateName == nil
			constitution, stateName = or(constitution, b.Segment.Constitution), or(stateName, b.Segment.State)
		case b.Decision != nil:
			stateName = or(stateName, b.Decision.To)
		case b.Constitution != nil:
			t.adopted = t.adopted || stateName == nil
			constitution = or(constitution, b.Constitution.Digest)
		}
		if constitution != nil && stateName != nil {
			t.edge, t.constitution, t.stateName = e, *constitution, *stateName
			return at, true
		}
	}
	return 0, false
}

// or keeps what was found first.
func or(found *string, s string) *string {
	if found == nil {
		return &s
	}
	return found
}

func (r *scan) signed(b *Block, unsigned []byte) bool {
	key, ok := r.keys.public[b.KeyID]
	return ok && verified(unsigned, b.Sig[:], key)
}

// replay goes over the blocks of a file, and returns how many bytes of it are
// blocks that count. Below the head every block must be there; beyond it the
// first that is none ends them. Signatures are checked beyond the head and of
// the last block: the head is signed, and covers the others.
func (r *scan) replay(t *tail, data []byte, h *head) (good int, err error) {
	for good < len(data) {
		line, _, ended := bytes.Cut(data[good:], []byte("\n"))
		covered := t.edge.size < h.size
		b, unsigned, ok := (*Block)(nil), []byte(nil), false
		if ended {
			b, unsigned, ok = parse(line)
		}
		last := covered && t.edge.size+1 == h.size
		if ok {
			ok = r.follows(t, b) && (covered && !last || r.signed(b, unsigned)) && (!last || mayHead(b, h, r.keys))
		}
		if !ok {
			if covered {
				return 0, tampered("block %d of %s is not what the chain calls for", t.edge.size, r.path)
			}
			break
		}
		t.push(b, hashBlock(unsigned, b.Sig[:]))
		good += len(line) + 1
		if last {
			if root := t.edge.root(); root != h.root {
				return 0, tampered("the %d blocks up to %s are not those of the checkpoint", h.size, r.path)
			}
		}
	}
	if t.edge.size < h.size {
		return 0, tampered("%s ends with block %d, and the checkpoint has %d blocks", r.path, t.edge.size-1, h.size)
	}
	return good, nil
}

// follows reports whether a block is the next one of the chain.
func (r *scan) follows(t *tail, b *Block) bool {
	ok := b.LedgerID == t.ledgerID && b.Seq == t.edge.size && b.Seg == t.seg && !b.Time.Before(t.last)
	if b.KeyRotation != nil && !b.rotates() {
		return false
	}
	if b.Seq == r.first {
		// The opener stands for the blocks before it, which are in other files.
		return ok && b.Segment != nil && (r.first > 0 || b.Prev == Hash{})
	}
	return ok && b.Prev == t.prev && b.Segment == nil && b.KeyID == t.signer
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

// readAll reads a file that is open.
func readAll(f private.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > 4*maxSegment {
		return nil, fmt.Errorf("it is %d bytes long, which no file of a ledger is", info.Size())
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
		if ok && dash && err1 == nil && err2 == nil && archiveName(l.paths.Base, first, last) == filepath.Join(filepath.Dir(l.paths.Base), e.Name()) {
			list = append(list, archive{archiveName(l.paths.Base, first, last), first, last})
		}
	}
	slices.SortFunc(list, func(a, b archive) int { return int(int64(a.first) - int64(b.first)) })
	return list, nil
}

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
	closed := archiveName(l.paths.Base, previous.First, previous.Last)
	if err := private.WriteFileOn(l.fs, closed, data); err != nil {
		return failed("close", closed, err)
	}
	t.seg++
	return l.beginFile(t, previous)
}

// whole makes sure that the open file has the blocks that the tail stands on.
func (l *Ledger) whole(t *tail, data []byte) error {
	r := &scan{keys: t.keys, path: l.paths.active(), first: t.opener}
	opener, err := r.opener(data)
	if err != nil {
		return err
	}
	again := &tail{ledgerID: opener.LedgerID, seg: opener.Seg, edge: edge{opener.Segment.Size, slices.Clone(opener.Segment.Tree)}}
	_, err = r.replay(again, data, &head{ledgerID: t.ledgerID, size: t.edge.size, root: t.edge.root(), vkey: VerifierKey(t.ledgerID, t.keys.private.Public().(ed25519.PublicKey))})
	return err
}

// beginFile makes the open file with its first block.
func (l *Ledger) beginFile(t *tail, previous *Previous) error {
	archives, err := l.archives()
	if err != nil {
		return err
	}
	archives = slices.DeleteFunc(archives, func(a archive) bool {
		// A copy of the open file whose making was cut off, before others came.
		return a.last >= t.edge.size || previous != nil && a.first == previous.First && a.last != previous.Last
	})
	doomed := archives[:max(0, len(archives)-maxArchives)]
	archives = archives[len(doomed):]
	var dropped *Dropped
	if from, some := l.unforwarded(); some {
		for _, a := range doomed {
			d, err := l.savePending(a, from)
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
	if err := private.WriteFileOn(l.fs, l.paths.active(), line); err != nil {
		return failed("begin", l.paths.active(), err)
	}
	t.push(b, hash)
	t.bytes, t.opener = int64(len(line)), b.Seq
	if dropped != nil {
		if err := l.ownUp(t, dropped, line); err != nil {
			return err
		}
	}
	// Only now, when it is on record what goes and what is lost with it.
	for _, a := range doomed {
		if err := l.fs.Remove(a.path); err != nil && !notThere(err) {
			return failed("remove", a.path, err)
		}
	}
	return l.remade(t)
}

// ownUp records, behind the block that opens a file, which blocks are gone that
// no remote had.
func (l *Ledger) ownUp(t *tail, d *Dropped, opener []byte) error {
	b, line, hash := t.next(d, l.now())
	both := append(append(opener, line...), '\n')
	if err := private.WriteFileOn(l.fs, l.paths.active(), both); err != nil {
		return failed("begin", l.paths.active(), err)
	}
	t.push(b, hash)
	t.bytes = int64(len(both))
	return nil
}

// unforwarded is the first block that some remote is still to have.
func (l *Ledger) unforwarded() (from uint64, some bool) {
	if l.forwarded == nil {
		return 0, false
	}
	return l.forwarded()
}

func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
