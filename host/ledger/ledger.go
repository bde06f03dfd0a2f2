// Package ledger keeps the constitutional ledger: one signed block for each
// decision, in a hash chain that is also a Merkle tree, in files that outlive
// crashes and rotation.
package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"time"
	"unicode/utf8"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxSegment is the size at which a file is closed and another opened.
	maxSegment = 10 << 20
	// maxArchives is how many closed files are kept beside the open one.
	maxArchives = 3
	// maxCommit is how many blocks one write and one flush carry.
	maxCommit = 256
	// lockPatience is how long another process may hold the lock: it flushes a
	// few files, or reads a file of 10 MB.
	lockPatience = 30 * time.Second
)

// Paths are where a ledger is. All are absolute.
type Paths struct {
	// Base is the path to which the endings of the ledger's files are added.
	Base string
	// Key is the file of the key that signs.
	Key string
	// Pending takes blocks that no remote has when their file goes.
	Pending string
	// Receipts takes what remotes answered.
	Receipts string
}

func (p Paths) active() string { return p.Base + ".jsonl" }
func (p Paths) head() string   { return p.Base + ".head" }
func (p Paths) edge() string   { return p.Base + ".edge" }
func (p Paths) lock() string   { return p.Base + ".lock" }

// unsynced is there while what was written to the open file may not be on disk:
// a flush of it failed, and the same file is never flushed again.
func (p Paths) unsynced() string { return p.Base + ".unsynced" }

// Options say where a ledger is, and how it is kept.
type Options struct {
	Paths Paths
	// FS is the file system; nil is the real one.
	FS private.FS
	// Clock is the time; nil is the machine's.
	Clock func() time.Time
	// ReceiptKey is the key that receipts are signed with, as a C2SP verifier key;
	// "" takes receipts as they were kept.
	ReceiptKey string
	// Forwarded tells the first block that some remote is still to have; false
	// where there is no remote. Nil is no remote.
	Forwarded func() (next uint64, some bool)
	// MaxSegment is the size at which a file is closed; 0 is 10 MB.
	MaxSegment int64
}

// Ledger is one ledger. Its methods may be called from several goroutines, and
// by several processes at once: all share one chain.
type Ledger struct {
	paths      Paths
	fs         private.FS
	clock      func() time.Time
	maxSegment int64
	forwarded  func() (uint64, bool)
	receiptKey string

	mu      sync.Mutex
	waiting []*request // guarded by mu
	leading bool       // guarded by mu; somebody is committing

	// tail is what the last commit of this process left. The leader has it.
	tail *tail
}

// Open makes a ledger of what lies at the paths. It touches nothing: the first
// append makes the files, and the key.
func Open(o Options) *Ledger {
	l := &Ledger{paths: o.Paths, fs: o.FS, clock: o.Clock, maxSegment: o.MaxSegment, forwarded: o.Forwarded, receiptKey: o.ReceiptKey}
	if l.fs == nil {
		l.fs = private.OS()
	}
	if l.clock == nil {
		l.clock = time.Now
	}
	if l.maxSegment == 0 {
		l.maxSegment = maxSegment
	}
	return l
}

func (l *Ledger) now() time.Time { return l.clock().UTC().Truncate(time.Microsecond) }

// State is what a ledger says at one moment.
type State struct {
	// LedgerID is 32 lowercase hex digits; "" before the first block.
	LedgerID string
	// Size is the number of blocks ever, Root their Merkle root.
	Size uint64
	Root Hash
	// Constitution is the digest of the one that was adopted last, State what
	// the last decision left; "" for none.
	Constitution, State string
}

// Entry is the body of a block to append: one of *[Constitution], *[Decision]
// and *[Note].
type Entry interface{ fill(*Block) }

func (e *Constitution) fill(b *Block) { b.Kind, b.Constitution = KindConstitution, e }
func (e *Decision) fill(b *Block)     { b.Kind, b.Decision = KindDecision, e }
func (e *KeyRotation) fill(b *Block)  { b.Kind, b.KeyRotation = KindKeyRotation, e }
func (e *Dropped) fill(b *Block)      { b.Kind, b.Dropped = KindDropped, e }
func (e *Recovery) fill(b *Block)     { b.Kind, b.Recovery = KindRecovery, e }
func (e *Note) fill(b *Block)         { b.Kind, b.Note = KindNote, e }
func (e *Segment) fill(b *Block)      { b.Kind, b.Segment = KindSegment, e }

// request is one append that waits for its commit.
type request struct {
	decide func(State) (Entry, error)
	block  *Block
	err    error
	done   chan struct{}
}

// Append asks decide for an entry, with the state that it follows on, and
// returns the block once it is durable. decide is called while no other process
// appends, at most once, and must not wait for anything; with its error nothing
// is appended, and the error is returned. Appends that come together share a
// write and a flush.
//
// Errors are carl.ledger.tampered, .failed, .key_invalid, and those of the
// home. The entry was not recorded then, as far as anybody was told.
func (l *Ledger) Append(decide func(State) (Entry, error)) (*Block, error) {
	r := &request{decide: decide, done: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, r)
	if l.leading {
		l.mu.Unlock()
		<-r.done
		return r.block, r.err
	}
	l.leading = true
	for len(l.waiting) > 0 {
		batch := l.waiting[:min(len(l.waiting), maxCommit)]
		l.waiting = append([]*request(nil), l.waiting[len(batch):]...)
		l.mu.Unlock()
		l.commit(batch)
		for _, r := range batch {
			close(r.done)
		}
		l.mu.Lock()
	}
	l.leading = false
	l.mu.Unlock()
	return r.block, r.err
}

// commit appends what a batch of requests decides. It is called by one
// goroutine of this process at a time.
func (l *Ledger) commit(batch []*request) {
	fail := func(err error) {
		for _, r := range batch {
			if r.err == nil {
				r.block, r.err = nil, err
			}
		}
	}
	lock, err := l.takeLock()
	if err != nil {
		fail(err)
		return
	}
	defer lock.Unlock()
	t, err := l.load()
	if err != nil {
		l.tail = nil
		fail(err)
		return
	}
	// Whatever happens from here on, what this process believes of the files is
	// worth nothing until the commit is done.
	l.tail = nil
	defer func() {
		if l.tail != t {
			t.close()
		}
	}()
	var lines []byte
	for _, r := range batch {
		entry, err := r.decide(t.state())
		if err == nil {
			err = check(entry)
		}
		if err != nil {
			r.err = err
			continue
		}
		if t.empty() || t.bytes+int64(len(lines)) >= l.maxSegment {
			if err = l.flush(t, &lines); err == nil {
				err = l.openSegment(t)
			}
			if err != nil {
				fail(err)
				return
			}
		}
		b, line, hash := t.next(entry, l.now())
		if len(line) > maxLine {
			r.err = fault.New(fault.LedgerFailed, "ledger: the block would be %d bytes long, and may be %d", len(line), maxLine).WithKept("nothing was recorded")
			continue
		}
		t.push(b, hash)
		lines = append(append(lines, line...), '\n')
		r.block = b
	}
	if err := l.flush(t, &lines); err != nil {
		fail(err)
		return
	}
	l.tail = t
}

// flush makes lines durable, and then the head.
func (l *Ledger) flush(t *tail, lines *[]byte) error {
	if len(*lines) == 0 {
		return nil
	}
	if _, err := t.file.WriteAt(*lines, t.bytes); err != nil {
		// What is there of it was never answered for. If it cannot be cut, the
		// next one finds a torn tail, or blocks that it may go on from.
		t.file.Truncate(t.bytes)
		return failed("write", l.paths.active(), err)
	}
	if err := t.file.Sync(); err != nil {
		l.markUnsynced()
		return failed("flush", l.paths.active(), err)
	}
	t.bytes += int64(len(*lines))
	*lines = (*lines)[:0]
	if err := l.writeHead(t.ledgerID, &t.edge, t.keys.private); err != nil {
		return failed("write", l.paths.head(), err)
	}
	t.headSize = t.edge.size
	return nil
}

// check refuses what no block could hold.
func check(e Entry) error {
	var texts []string
	switch e := e.(type) {
	case *Constitution:
		texts = []string{e.Digest, e.Name, e.Version}
	case *Decision:
		texts = []string{e.Action.Digest, e.Action.Kind, e.Action.Name, e.Constitution, e.Rule, e.From, e.To, e.Verdict}
		if !utf8.ValidString(e.Action.Payload) {
			return fault.New(fault.LedgerFailed, "ledger: the payload is not valid UTF-8").WithKept("nothing was recorded")
		}
	case *Note:
		texts = []string{e.Code, e.Detail}
	case *Recovery:
		texts = []string{e.Reason}
	}
	for _, s := range texts {
		if len(s) > maxText || !utf8.ValidString(s) {
			return fault.New(fault.LedgerFailed, "ledger: a text of the block is longer than %d bytes, or not valid UTF-8", maxText).WithKept("nothing was recorded")
		}
	}
	return nil
}

func (l *Ledger) takeLock() (*private.FileLock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	lock, err := private.LockOn(ctx, l.fs, l.paths.lock())
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fault.New(fault.LedgerFailed, "ledger: another carl process has held %s for %v", l.paths.lock(), lockPatience).
			WithKept("nothing was recorded").WithHint("end that process, then run the same command again")
	}
	return lock, err
}

func newLedgerID() string {
	var raw [16]byte
	rand.Read(raw[:]) // never fails: see crypto/rand
	return hex.EncodeToString(raw[:])
}

func failed(verb, path string, err error) error {
	return fault.New(fault.LedgerFailed, "ledger: cannot %s %s: %w", verb, path, err).WithKept("nothing was recorded")
}

func tampered(format string, args ...any) *fault.Error {
	return fault.New(fault.LedgerTampered, "ledger: "+format, args...).WithKept("nothing was changed or healed")
}
