// Package ledger keeps the constitutional ledger: one signed block for each
// decision, in a hash chain that is also a Merkle tree, in files that outlive
// crashes and rotation.
//
// # A block
//
// One line, of at most 64 KiB: a JSON object in the form of RFC 8785, restricted
// to texts, booleans, lists, objects and integers up to 2^53−1. A reader writes
// it again and demands the same bytes. Every block has the members
//
//	v          1
//	ledger_id  32 lowercase hex digits, the same in all blocks
//	seq        its number, from 0 on
//	seg        the number of its file, from 0 on
//	ts         UTC with six decimals; never before that of the block before
//	kind       which of the bodies below it has
//	key_id     RFC 7638 thumbprint of the Ed25519 key that signs it, in base64url
//	prev_hash  the hash of the block before, in hex; 64 zeros in the first
//	sig        the signature, 128 lowercase hex digits
//
// and those of its kind:
//
//	segment_open     size, tree, prev_segment?, pruned_before, constitution?, state?
//	constitution     digest, name, version
//	decision         action {digest, kind, name, payload?}, constitution, rule,
//	                 state {from, to}, verdict
//	key_rotation     new_key (base64url), new_sig
//	pending_dropped  from, to, hash
//	recovery         reason
//	note             code, detail
//
// The signature is over "carl.ledger.block.v1", a line feed, and the line without
// the member sig. new_sig is the new key's over the same without new_sig too. The
// hash is SHA-256(0x00 ‖ line without sig ‖ 64 bytes of the signature): the leaf
// hash of RFC 6962, so that chain and Merkle tree share it.
//
// # An example
//
// With the key whose seed is 32 bytes of 0x01, the first block of a ledger:
//
//	{"key_id":"<K>","kind":"segment_open","ledger_id":"000102030405060708090a0b0c0d0e0f","prev_hash":"<64 zeros>","pruned_before":0,"seg":0,"seq":0,"sig":"<S>","size":0,"tree":[],"ts":"2026-11-23T01:02:03.456789Z","v":1}
//
//	K     UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4
//	S     56136a3527b334fae7c1a48851fbed7a5cd374e564b757ed4bd93680d76f182e
//	      8c95c818846bbf80023fa561641258f0a56b50ad43f3ec4b7e9d49b15ef11402
//	hash  493a8d01d84dda8f15f2468801cd0869c7109bc423b1290dafb9dd8b11735fa9
//
// and the checkpoint of a ledger that has no other:
//
//	carl.camp/ledger/000102030405060708090a0b0c0d0e0f
//	1
//	STqNAdhN2o8V8kaIAc0IaccQm8QjsSkNr7ndixFzX6k=
//
//	— carl.camp/ledger/000102030405060708090a0b0c0d0e0f snS083FEGhNJ26NQQVc1+h3Wlwv7ABS+hu0t92NXxfNkmA1I
//	  4yoUFPoaqeHhbo8L9w+Ix2lRStOiiKV9RI3jQOTJMgo=
//
// (without the line break in its signature). A test computes all of it again.
//
// # Files
//
//	<base>.jsonl                  the open file
//	<base>.<first>-<last>.jsonl   closed files, at most three
//	<base>.head                   the checkpoint: a C2SP signed note with origin
//	                              carl.camp/ledger/<ledger_id>, size and Merkle root
//	<base>.edge                   the compact range of all blocks but the last, a cache
//	<base>.lock                   held by who reads or appends; holds a byte meanwhile
//	<base>.recovering             a recovery whose block is still to be written
//	<base>.torn-<time>.jsonl      what lay behind the last block
//	<base>.damaged-<time>/        what a recovery moved aside
//	ledger_pending.jsonl          blocks that some remote is to have and no file holds
//	ledger_receipts.jsonl         what remotes attested
//	keys/ledger.key               the seed of the key that signs, and the public
//	                              keys before it
//
// Every file begins with a segment_open block, which repeats what is needed to go
// on without the files before it: size and compact range of the tree (the hashes of
// its largest complete subtrees, from the left), the SHA-256 of the file before,
// constitution and state. A file is closed at 10 MB.
//
// # Appending
//
// Under the lock: write the lines of all who wait with one call, flush, replace
// the checkpoint by a flushed temporary file, and only then answer. A reader finds
// the last block that the checkpoint covers from the end of the file, by the edge,
// which is believed if with that block it folds to the checkpoint's root. Blocks beyond the
// checkpoint are accepted, if they follow; what lies behind them is the torn end of
// a write that nobody was told of, and is set aside. Anything wrong within the
// checkpoint is carl.ledger.tampered.
//
// A file of which a flush failed, or during whose flush its writer died, is not
// flushed again: its blocks go into a new file of its name.
package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
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
	// maxKept is how much space for lines is kept from commit to commit.
	maxKept = 1 << 20
	// maxCommit is how many blocks one write and one flush carry.
	maxCommit = 256
	// lockPatience is how long another process may hold the lock: it flushes a few
	// files, or verifies all of them.
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
func (p Paths) owed() string   { return p.Base + ".recovering" }

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
	// Forwarded tells the first block of the ledger with this id that some remote is
	// still to have; false where there is no remote. Nil is no remote.
	Forwarded func(ledgerID string) (next uint64, some bool)
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
	maxPending int
	forwarded  func(string) (uint64, bool)
	receiptKey string

	mu      sync.Mutex
	waiting []*request // guarded by mu
	leading bool       // guarded by mu; somebody is committing

	writing sync.Mutex // held with the lock file by who writes
	// tail is what the last commit of this process left; guarded by writing.
	tail *tail
	// receiptsUnsure says that receipts were not kept for sure; guarded by writing.
	receiptsUnsure bool
	// lines is the space that its blocks were written from; guarded by writing.
	lines []byte
}

// Open makes a ledger of what lies at the paths. It touches nothing: the first
// append makes the files, and the key.
func Open(o Options) *Ledger {
	l := &Ledger{paths: o.Paths, fs: o.FS, clock: o.Clock, maxSegment: o.MaxSegment, maxPending: maxPending, forwarded: o.Forwarded, receiptKey: o.ReceiptKey}
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
	// Size is the number of blocks ever.
	Size uint64
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
	panic  any // what decide panicked with, for the goroutine that asked
	// deciding says that decide was called, and did not come to its end.
	deciding bool
	// turn says once what the wait was for: to commit, or the answer.
	turn chan bool
}

// entry calls decide, and checks what it decided. Where that panics it is the request
// that fails.
func (r *request) entry(t *tail) (e Entry, err error) {
	r.deciding = true
	defer func() {
		if p := recover(); p != nil {
			r.panic, err, r.deciding = p, errDeciding, false
		}
	}()
	if e, err = r.decide(t.state()); err == nil {
		err = t.check(e)
	}
	r.deciding = false
	return e, err
}

// ErrTooLong is in the error of an append whose block would be longer than one may be.
var ErrTooLong = errors.New("the block is too long")

var errDeciding = errors.New("ledger: deciding did not come to its end")

// answer returns what became of a request.
func (r *request) answer() (*Block, error) {
	if r.panic != nil {
		panic(r.panic)
	}
	return r.block, r.err
}

// Append asks decide for an entry, with the state that it follows on, and
// returns the block once it is durable. decide is called while no other process
// appends, at most once, and must not wait for anything; with its error nothing
// is appended, and the error is returned. Appends that come together share a
// write and a flush.
//
// Errors are carl.ledger.tampered, .failed, .key_invalid, and those of the
// home. The entry was not recorded then, as far as anybody was told; where its
// block may stand in the file all the same, the error says so.
func (l *Ledger) Append(decide func(State) (Entry, error)) (*Block, error) {
	r := &request{decide: decide, turn: make(chan bool, 1)}
	l.mu.Lock()
	l.waiting = append(l.waiting, r)
	follows := l.leading
	l.leading = true
	l.mu.Unlock()
	if follows && !<-r.turn {
		return r.answer()
	}
	// It is this one's turn to commit, with all who came meanwhile: it is the first
	// of them. Those who come from now on are somebody else's: else the answer would
	// wait for as long as others come.
	l.mu.Lock()
	batch := l.waiting[:min(len(l.waiting), maxCommit)]
	l.waiting = append([]*request(nil), l.waiting[len(batch):]...)
	l.mu.Unlock()
	l.commit(batch)
	l.mu.Lock()
	if l.leading = len(l.waiting) > 0; l.leading {
		l.waiting[0].turn <- true
	}
	l.mu.Unlock()
	for _, other := range batch[1:] {
		other.turn <- false
	}
	return r.answer()
}

// commit appends what a batch of requests decides. It is called by one
// goroutine of this process at a time.
func (l *Ledger) commit(batch []*request) {
	settled := 0 // requests whose blocks are durable
	fail := func(err error) {
		for _, r := range batch[settled:] {
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
	defer t.close()
	lines := l.lines[:0]
	defer func() {
		if cap(lines) <= maxKept {
			l.lines = lines
		}
	}()
	one := func(i int) error {
		r := batch[i]
		entry, err := r.entry(t)
		if err != nil {
			r.err = err
			return nil
		}
		if t.empty() || t.bytes+int64(len(lines)) >= l.maxSegment {
			if err = l.flush(t, &lines); err == nil {
				settled = i
				err = l.openSegment(t)
			}
			if err != nil {
				return err
			}
		}
		b, line, hash := t.next(entry, l.now())
		if len(line) > maxLine {
			r.err = fault.New(fault.LedgerFailed, "ledger: %w: %d bytes, and it may have %d", ErrTooLong, len(line), maxLine).WithKept("nothing was recorded")
			return nil
		}
		t.push(b, hash)
		lines = append(append(lines, line...), '\n')
		r.block = b
		return nil
	}
	for next := 0; next < len(batch); {
		if next, err = each(batch, next, one); err != nil {
			fail(err)
			return
		}
	}
	if err := l.flush(t, &lines); err != nil {
		fail(err)
		return
	}
	l.tail = t
}

// each calls one for the requests of a batch from one on, in a goroutine that is
// theirs to end: what decides may do so, as a test that fails does, and then only its
// own request fails. It returns the request to go on with.
func each(batch []*request, from int, one func(i int) error) (next int, err error) {
	done := make(chan struct{})
	next = from
	go func() {
		ended := false
		defer func() {
			switch {
			case ended:
			case batch[next].deciding:
				batch[next].err = errDeciding
				next++
			default: // what the commit itself calls: the clock, say
				err = errDeciding
			}
			close(done)
		}()
		for ; next < len(batch) && err == nil; next++ {
			err = one(next)
		}
		ended = true
	}()
	<-done
	return next, err
}

// flush makes lines durable, and then the head.
func (l *Ledger) flush(t *tail, lines *[]byte) error {
	if len(*lines) == 0 {
		return nil
	}
	if err := l.start(); err != nil {
		return err
	}
	if _, err := t.file.WriteAt(*lines, t.bytes); err != nil {
		// What is there of it was never answered for. If it cannot be cut, the
		// next one finds a torn tail, or blocks that it may go on from.
		err = failed("write", l.paths.active(), err)
		if t.file.Truncate(t.bytes) != nil {
			err = unsure(err)
		}
		return err
	}
	if err := t.file.Sync(); err != nil {
		return unsure(failed("flush", l.paths.active(), err))
	}
	t.bytes += int64(len(*lines))
	*lines = (*lines)[:0]
	if err := l.writeHead(t, t.keys); err != nil {
		return unsure(failed("write", l.paths.head(), err))
	}
	t.headSize = t.edge.size
	return l.finish()
}

// check refuses what no block could hold, and what verification would not take
// for the next one.
func (t *tail) check(e Entry) error {
	refuse := func(why string) error {
		return fault.New(fault.LedgerFailed, "ledger: "+why).WithKept("nothing was recorded")
	}
	var texts []string
	switch e := e.(type) {
	case *Constitution:
		if texts = []string{e.Name, e.Version}; !isDigest(e.Digest) {
			return refuse("the digest of the constitution is not one")
		}
	case *Decision:
		texts = []string{e.Action.Kind, e.Action.Name, e.Rule, e.From, e.To, e.Verdict}
		switch {
		case !isDigest(e.Action.Digest):
			return refuse("the digest of the action is not one")
		case e.Constitution != t.constitution || t.constitution == "":
			return refuse("the verdict is by a constitution that was not adopted")
		case !t.mayBegin(e.From):
			return refuse("the verdict does not begin in the state that the last one left")
		case !utf8.ValidString(e.Action.Payload):
			return refuse("the payload is not valid UTF-8")
		}
	case *Note:
		texts = []string{e.Code, e.Detail}
	default:
		return refuse("such a block is not appended by request")
	}
	for _, s := range texts {
		if len(s) > maxText || !utf8.ValidString(s) {
			return refuse("a text of the block is too long, or not valid UTF-8")
		}
	}
	return nil
}

func isDigest(s string) bool {
	var raw Hash
	return lowerHex([]byte(s), raw[:])
}

// takeLock takes the lock of who writes, for this goroutine and this process.
func (l *Ledger) takeLock() (*held, error) {
	l.writing.Lock()
	lock, err := l.lockWith(private.LockOn)
	if err != nil {
		l.writing.Unlock()
		return nil, err
	}
	return &held{l, lock}, nil
}

type held struct {
	l    *Ledger
	lock *private.FileLock
}

func (h *held) Unlock() {
	h.lock.Unlock()
	h.l.writing.Unlock()
}

func (l *Ledger) lockWith(take func(context.Context, private.FS, string) (*private.FileLock, error)) (*private.FileLock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	lock, err := take(ctx, l.fs, l.paths.lock())
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
	if errors.Is(err, errTooLong) {
		return tampered("%s: %w", path, err)
	}
	var p *fs.PathError
	if errors.As(err, &p) && p.Path == path {
		err = p.Err // which does not name the path again
	}
	return fault.New(fault.LedgerFailed, "ledger: cannot %s %s: %w", verb, path, err).WithKept("nothing was recorded")
}

// unsure makes an error say that a block which nobody was told of may be there:
// the next append goes on behind it.
func unsure(err error) error {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.WithKept("no verdict was given, though its block may stand in the ledger")
	}
	return err
}

func tampered(format string, args ...any) *fault.Error {
	return fault.New(fault.LedgerTampered, "ledger: "+format, args...).WithKept("nothing was changed or healed")
}
