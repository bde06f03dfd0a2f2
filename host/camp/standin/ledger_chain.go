package standin

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"carl.camp/carl/host/camp"
)

// maxLedgers bounds how many ledgers one account has: each installation has one.
const maxLedgers = 16

// blockError is why a block is not taken, and what is answered then.
type blockError struct {
	status        int
	code, message string
	fields        []camp.Field
}

func (e *blockError) Error() string {
	s := e.message
	for _, f := range e.fields {
		s += fmt.Sprintf("; %s: %s", f.Path, f.Message)
	}
	return s
}

func malformed(f camp.Field) error {
	return &blockError{422, "invalid_block", "the body is not a block of a ledger", []camp.Field{f}}
}

func badSignature(path, message string) error {
	return &blockError{422, "invalid_signature", "the block is not signed by the key of its ledger", []camp.Field{{Path: path, Message: message}}}
}

func badChain(path, format string, args ...any) error {
	return &blockError{422, "invalid_chain", "the block does not follow on the one before it", []camp.Field{{Path: path, Message: fmt.Sprintf(format, args...)}}}
}

func gap(expected uint64, message string) error {
	return &blockError{422, "gap", message, []camp.Field{{Path: "/seq", Message: fmt.Sprintf("expected %d", expected)}}}
}

// blockConflict is another block than the one that is held under a seq.
type blockConflict struct {
	seq  uint64
	have digest
}

func (e *blockConflict) Error() string {
	return fmt.Sprintf("another block is held under seq %d", e.seq)
}

// heldLedger is one ledger: what is held of it, and what its next block must be.
type heldLedger struct {
	id     string
	first  uint64
	blocks []heldBlock // from first on, without a gap
	// keys are all that signed, by their thumbprints; keyID is the one that
	// signs now.
	keys  map[string]ed25519.PublicKey
	keyID string
	// What follows is of the last block.
	ts   string
	seg  uint64
	from uint64       // the first block of its file, as far as it is known
	tree compactRange // of all blocks up to it
}

type heldBlock struct {
	hash     digest
	received time.Time // in UTC, whole seconds
	line     []byte    // without its line end; nil with a file
	at       int64     // where the line is in the file
	length   int
}

// beginLedger makes a ledger for its first block here, which opens a file, and
// holds nothing yet. It is bound to the key that was shown, which b names.
func beginLedger(b *block, shown ed25519.PublicKey) (*heldLedger, error) {
	if b.kind != kindOpener {
		return nil, gap(0, "nothing is held of this ledger, which begins here with block 0, or with any that opens a file")
	}
	if shown == nil {
		return nil, &blockError{422, "missing_key", "the first block of a ledger must come with its public key in " + ledgerKeyField,
			[]camp.Field{{Path: "/key_id", Message: "the key of this name is not known"}}}
	}
	return &heldLedger{
		id:    b.ledgerID,
		first: b.seq,
		keys:  map[string]ed25519.PublicKey{b.keyID: shown},
		keyID: b.keyID,
		tree:  compactRange{b.seq, slices.Clone(b.tree)},
	}, nil
}

// next is the seq of the block that is expected.
func (l *heldLedger) next() uint64 { return l.first + uint64(len(l.blocks)) }

// find returns the block that is held under b's seq, if that is b; nil where
// none is held. The error is a *blockConflict for another block that a key of
// this ledger signed, else a *blockError.
func (l *heldLedger) find(b *block) (*heldBlock, error) {
	if b.seq < l.first {
		return nil, badChain("/seq", "this ledger begins here with block %d", l.first)
	}
	if b.seq >= l.next() {
		return nil, nil
	}
	held := &l.blocks[b.seq-l.first]
	if held.hash == b.hash {
		return held, nil
	}
	// Only the ledger's owner can contradict himself.
	key, known := l.keys[b.keyID]
	switch {
	case !known:
		return nil, badSignature("/key_id", "not a key of this ledger")
	case !b.signed(key):
		return nil, badSignature("/sig", "not a signature of this key over this block")
	}
	return nil, &blockConflict{b.seq, held.hash}
}

// follows returns what keeps b, which find did not find, from being the next
// block, or nil. The error is a *blockError.
func (l *heldLedger) follows(b *block) error {
	next := l.next()
	switch {
	case b.seq > next:
		// Who signs then may be somebody that the blocks in between introduce.
		return gap(next, "blocks before this one are missing")
	case b.keyID != l.keyID:
		return badSignature("/key_id", "not the key that signs this ledger now")
	case !b.signed(l.keys[l.keyID]):
		return badSignature("/sig", "not a signature of this key over this block")
	case b.newKey != nil && !b.signedByNew():
		return badSignature("/new_sig", "not a signature of the new key over this block")
	case len(l.blocks) == 0:
		return nil // the blocks before it are what it says
	}
	last := l.blocks[len(l.blocks)-1].hash
	opens := b.kind == kindOpener
	switch {
	case b.prev != last:
		return badChain("/prev_hash", "not the hash of block %d, which is %s", next-1, last)
	case b.ts < l.ts:
		return badChain("/ts", "before the time of block %d", next-1)
	case opens && b.seg != l.seg+1:
		return badChain("/seg", "block %d is in file %d, and this one opens the next", next-1, l.seg)
	case !opens && b.seg != l.seg:
		return badChain("/seg", "block %d is in file %d, and this one opens no other", next-1, l.seg)
	case opens && !slices.Equal(b.tree, l.tree.hashes):
		return badChain("/tree", "not the compact range of the blocks before it")
	case opens && b.prevSeg != nil && b.prevSeg.first != l.from:
		return badChain("/prev_segment/first", "the file before this one begins with block %d", l.from)
	}
	return nil
}

// push takes a block for the next one.
func (l *heldLedger) push(b *block, held heldBlock) {
	l.blocks = append(l.blocks, held)
	l.tree.push(b.hash)
	l.ts, l.seg = b.ts, b.seg
	if b.kind == kindOpener {
		l.from = b.seq
	}
	if b.newKey != nil {
		l.keyID = thumbprint(b64(b.newKey))
		l.keys[l.keyID] = b.newKey
	}
}
