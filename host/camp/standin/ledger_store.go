package standin

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxArrival bounds a line of ledger_received.jsonl: a hash, a time and a key.
	maxArrival = 512
	// maxLinesPage is after how many bytes a page of lines ends.
	maxLinesPage = 16 << 20
)

// ledgerStore holds the ledgers. With files, the lines are in ledger.jsonl as
// they came, in order of arrival, and the line of the same number in
// ledger_received.jsonl says what belongs to it and is not in it:
//
//	{"block_hash":"<hex>","received":"2026-11-23T01:02:03Z","key":"<x>"}
//
// with the key only for the first block of a ledger. It is on disk before the
// block is, so that it may have one line more, of a block that nobody was told
// of, and never one less.
type ledgerStore struct {
	mu      sync.Mutex
	ledgers map[string]*heldLedger // guarded by mu
	lines   *appendFile            // guarded by mu; nil without files
	came    *appendFile            // guarded by mu; nil without files

	// What follows ends with the process.

	receipts bool // guarded by mu; acknowledgements have one
	conflict bool // guarded by mu; the next new block is answered as one
}

// arrival is a line of ledger_received.jsonl.
type arrival struct {
	BlockHash string `json:"block_hash"`
	Received  string `json:"received"`
	Key       b64    `json:"key,omitzero"`
}

func newLedgerStore() *ledgerStore {
	return &ledgerStore{ledgers: map[string]*heldLedger{}, receipts: true}
}

// openLedgerStore reads and verifies what is there. A last line without its end
// was never acknowledged, and is cut.
func openLedgerStore(dir string) (*ledgerStore, error) {
	s := newLedgerStore()
	var err error
	if s.lines, err = openAppendFile(filepath.Join(dir, "ledger.jsonl")); err != nil {
		return nil, fault.New(fault.IO, "stand-in: %w", err)
	}
	if s.came, err = openAppendFile(filepath.Join(dir, "ledger_received.jsonl")); err != nil {
		s.lines.file.Close()
		return nil, fault.New(fault.IO, "stand-in: %w", err)
	}
	err = s.load()
	if err == nil {
		// The names must be as durable as what will be acknowledged under them.
		err = private.OS().SyncDir(dir)
	}
	if err != nil {
		s.lines.file.Close()
		s.came.file.Close()
		return nil, fault.New(fault.IO, "stand-in: %w", err).
			WithKept("the files were left as they are").
			WithHint("mend the file, or move ledger.jsonl and ledger_received.jsonl away together")
	}
	return s, nil
}

func (s *ledgerStore) load() error {
	lines, came := s.lines.reader(maxBlock), s.came.reader(maxArrival)
	for n := 1; ; n++ {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		var a arrival
		if err == nil {
			a, err = nextArrival(came)
		}
		if err == nil {
			err = s.restore(line, a, lines.size)
		}
		if err != nil {
			return fmt.Errorf("line %d of %s is damaged, or what %s says of it: %w", n, s.lines.file.Name(), filepath.Base(s.came.file.Name()), err)
		}
		lines.take()
		came.take()
	}
	// At most one block was on its way when the process ended.
	if _, err := nextArrival(came); err == nil {
		size := came.size
		came.take()
		if _, err := came.next(); err != io.EOF {
			return fmt.Errorf("%s goes on behind the last line of %s", s.came.file.Name(), s.lines.file.Name())
		}
		came.size = size
	} else if err != errNoArrival {
		return fmt.Errorf("the last line of %s: %w", s.came.file.Name(), err)
	}
	s.lines.size, s.came.size = lines.size, came.size
	return errors.Join(s.lines.cut(), s.came.cut())
}

var errNoArrival = errors.New("nothing says when it was received")

func nextArrival(r *lineReader) (a arrival, err error) {
	line, err := r.next()
	if err == io.EOF {
		return a, errNoArrival
	}
	if err != nil {
		return a, err
	}
	if json.Unmarshal(line, &a, json.RejectUnknownMembers(true)) != nil || !bytes.Equal(a.line(), append(bytes.Clone(line), '\n')) {
		return a, errors.New("what says when it was received is damaged")
	}
	return a, nil
}

// line is the one form in which an arrival is written, with a line end.
func (a arrival) line() []byte {
	text, err := json.Marshal(a, json.Deterministic(true))
	if err != nil {
		// Its texts are this package's own, or were read as valid UTF-8.
		panic(err)
	}
	return append(text, '\n')
}

// restore takes a line that was taken before.
func (s *ledgerStore) restore(line []byte, a arrival, at int64) error {
	b, flaw := parseBlock(line)
	if flaw != nil {
		return malformed(*flaw)
	}
	received, err := time.Parse(time.RFC3339, a.Received)
	if err != nil || received.UTC().Format(time.RFC3339) != a.Received {
		return errors.New("the time at which it was received is none")
	}
	if a.BlockHash != b.hash.String() {
		return errors.New("these are of two blocks")
	}
	if a.Key != nil && (!isStrongKey(a.Key) || thumbprint(a.Key) != b.keyID) {
		return errors.New("the key is not the one that signs it")
	}
	l, held, err := s.place(b, ed25519.PublicKey(a.Key))
	switch {
	case err != nil:
		return err
	case held != nil:
		return errors.New("the block is there twice")
	case (len(l.blocks) == 0) != (a.Key != nil):
		return errors.New("there is a key that is not of the first block of its ledger")
	}
	l.push(b, heldBlock{hash: b.hash, received: received, at: at, length: len(line)})
	s.ledgers[l.id] = l
	return nil
}

// place finds the ledger of a block, and the block itself where it is held. A
// ledger that it begins is not among the ledgers yet. The error is a
// *blockError or a *blockConflict.
func (s *ledgerStore) place(b *block, shown ed25519.PublicKey) (*heldLedger, *heldBlock, error) {
	l := s.ledgers[b.ledgerID]
	if l != nil {
		held, err := l.find(b)
		if held != nil || err != nil {
			return l, held, err
		}
		return l, nil, l.follows(b)
	}
	l, err := beginLedger(b, shown)
	if err == nil {
		err = l.follows(b)
	}
	if err == nil && len(s.ledgers) == maxLedgers {
		err = &blockError{403, "too_many_ledgers", fmt.Sprintf("there are %d ledgers, which is all that an account may have", maxLedgers), nil}
	}
	return l, nil, err
}

// kept is what became of a block that is held.
type kept struct {
	received  time.Time
	duplicate bool
	receipts  bool // the acknowledgement has one
}

// append keeps a block, which line is, durably, if it is the next one of its
// ledger, or finds that it is held already. On an error nothing is kept: a
// *blockError, a *blockConflict, or one of the files.
func (s *ledgerStore) append(b *block, line []byte, shown ed25519.PublicKey, now time.Time) (kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, held, err := s.place(b, shown)
	if err != nil {
		return kept{}, err
	}
	if held != nil {
		return kept{held.received, true, s.receipts}, nil
	}
	if s.conflict {
		s.conflict = false
		made := &blockConflict{seq: b.seq}
		rand.Read(made.have[:]) // never fails
		return kept{}, made
	}
	fresh := heldBlock{hash: b.hash, received: now.UTC().Truncate(time.Second), length: len(line)}
	if s.lines == nil {
		fresh.line = bytes.Clone(line)
	} else {
		fresh.at = s.lines.size
		a := arrival{BlockHash: b.hash.String(), Received: fresh.received.Format(time.RFC3339)}
		if len(l.blocks) == 0 {
			a.Key = b64(shown)
		}
		if err := s.write(append(bytes.Clone(line), '\n'), a.line()); err != nil {
			return kept{}, err
		}
	}
	l.push(b, fresh)
	s.ledgers[l.id] = l
	return kept{fresh.received, false, s.receipts}, nil
}

// write makes a block and its arrival durable, or leaves both files as they
// were. Where nobody knows what became of the block, its arrival stays.
func (s *ledgerStore) write(line, arrival []byte) error {
	before := s.came.size
	if s.lines.broken != nil {
		return s.lines.broken
	}
	if err := s.came.add(arrival); err != nil {
		return err
	}
	err := s.lines.add(line)
	if err != nil && s.lines.broken == nil {
		s.came.size = before
		if s.came.cut() != nil {
			s.came.broken = errUnrestored
		}
	}
	return err
}

// list says what is held of each ledger, sorted by ledger_id.
func (s *ledgerStore) list() []Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []Ledger{}
	for l := range maps.Values(s.ledgers) {
		list = append(list, Ledger{l.id, l.first, l.next(), l.keyID})
	}
	slices.SortFunc(list, func(a, b Ledger) int { return cmp.Compare(a.LedgerID, b.LedgerID) })
	return list
}

// count is how many blocks are held.
func (s *ledgerStore) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.ledgers {
		n += len(l.blocks)
	}
	return n
}

// page returns up to limit lines of a ledger after the first skip, each with
// its line end, and less where these come to more than size bytes.
func (s *ledgerStore) page(id string, skip, limit, size int) (lines []byte, found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ledgers[id]
	if l == nil {
		return nil, false, nil
	}
	from := min(skip, len(l.blocks))
	for _, h := range l.blocks[from : from+min(limit, len(l.blocks)-from)] {
		if len(lines) > size {
			break
		}
		line := h.line
		if s.lines != nil {
			line = make([]byte, h.length)
			if _, err := s.lines.file.ReadAt(line, h.at); err != nil {
				return nil, true, err
			}
		}
		lines = append(append(lines, line...), '\n')
	}
	return lines, true, nil
}

// ledgerAnswers is how blocks are answered, as /dev/ may have it.
type ledgerAnswers struct {
	// Receipts says that acknowledgements come with one.
	Receipts bool `json:"receipts"`
	// Conflict says that the next new block will be answered as a conflict.
	Conflict bool `json:"conflict"`
}

// answers changes how blocks are answered, and returns how they are then.
func (s *ledgerStore) answers(change func(*ledgerStore)) ledgerAnswers {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	return ledgerAnswers{s.receipts, s.conflict}
}

func (s *ledgerStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines == nil {
		return nil
	}
	return errors.Join(s.lines.close(), s.came.close())
}

// appendFile is a file to which lines are added. Its owner's lock guards it.
type appendFile struct {
	file *os.File
	size int64 // of what counts
	sync func(*os.File) error
	// broken is why the file takes nothing more. After a failed fsync nobody
	// knows what is on disk, and asking again would be told a lie.
	broken error
}

var errUnrestored = errors.New("the file could not be restored after a failed write")

func openAppendFile(path string) (*appendFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &appendFile{file: f, sync: (*os.File).Sync}, nil
}

// add makes a line durable, or leaves the file as it was.
func (a *appendFile) add(line []byte) error {
	if a.broken != nil {
		return a.broken
	}
	if _, err := a.file.WriteAt(line, a.size); err != nil {
		if a.cut() != nil {
			a.broken = errUnrestored
		}
		return errors.New("the file cannot be written")
	}
	if err := a.sync(a.file); err != nil {
		a.broken = errors.New("the file could not be made durable; restart the stand-in")
		return a.broken
	}
	a.size += int64(len(line))
	return nil
}

// cut takes away what does not count.
func (a *appendFile) cut() error {
	info, err := a.file.Stat()
	if err != nil || info.Size() == a.size {
		return err
	}
	return a.file.Truncate(a.size)
}

func (a *appendFile) close() error {
	if a.broken == errClosed {
		return nil
	}
	a.broken = errClosed
	return a.file.Close()
}

// lineReader reads the lines of a file, one that is taken after the other.
type lineReader struct {
	r    *bufio.Reader
	size int64 // of what was taken
	line int64 // of the line that was read last, with its end
}

// reader reads lines of up to longest bytes, without their ends, from the start.
func (a *appendFile) reader(longest int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(io.NewSectionReader(a.file, 0, 1<<62), longest+1)}
}

// next returns the next line without its end, which is good until the next
// call, or [io.EOF] where no whole line follows.
func (r *lineReader) next() ([]byte, error) {
	line, err := r.r.ReadSlice('\n')
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errors.New("it is longer than it can be")
	case err != nil:
		return nil, err
	}
	r.line = int64(len(line))
	return line[:len(line)-1], nil
}

// take counts the line that was read last among those that are good.
func (r *lineReader) take() { r.size += r.line }
