package ledger

import (
	"context"

	"golang.org/x/mod/sumdb/tlog"

	"carl.camp/carl/host/fault"
)

// Proof shows that a block is in a ledger of a size, to somebody who has
// nothing of the ledger but a checkpoint and the key that signs it.
type Proof struct {
	Seq, Size uint64
	// Line is the block, without its line end.
	Line []byte
	// Hashes is the audit path (RFC 6962 §2.1.1), from the leaf up.
	Hashes []Hash
	Root   Hash
	// Checkpoint is the signed note that holds size and root.
	Checkpoint []byte
	// VerifierKey is the public key of the checkpoint's signature.
	VerifierKey string
}

// Prove verifies the ledger, and proves that a block is in it, for the tree
// that its checkpoint has. The error is carl.ledger.not_found for a block that
// is not kept or that the checkpoint does not have yet.
func (l *Ledger) Prove(ctx context.Context, seq uint64) (*Proof, error) {
	var line []byte
	f, h, first, err := l.forest(ctx, func(b *Block, text []byte) {
		if b.Seq == seq {
			line = append([]byte(nil), text...)
		}
	})
	if err != nil {
		return nil, err
	}
	if line == nil || seq >= h.size {
		return nil, fault.New(fault.LedgerNotFound, "ledger: block %d is not among the blocks %d to %d that are kept", seq, first, h.size-1)
	}
	hashes, err := tlog.ProveRecord(int64(h.size), int64(seq), f)
	if err != nil {
		return nil, fault.New(fault.Internal, "ledger: the proof of block %d: %w", seq, err)
	}
	return &Proof{seq, h.size, line, hashes, h.root, h.signed, h.vkey}, nil
}

// Consistency shows that a ledger of one size is the beginning of one of another,
// to somebody who has both checkpoints.
type Consistency struct {
	OldSize, Size uint64
	// OldRoot and Root are the roots of the two; Hashes is the proof (RFC 6962
	// §2.1.2).
	OldRoot, Root Hash
	Hashes        []Hash
	Checkpoint    []byte
	VerifierKey   string
}

// ProveConsistency verifies the ledger, and proves that what its checkpoint has
// goes on from the first size blocks. The error is carl.ledger.not_found for a
// size that the checkpoint does not reach, or that lies in what was pruned.
func (l *Ledger) ProveConsistency(ctx context.Context, size uint64) (*Consistency, error) {
	f, h, first, err := l.forest(ctx, func(*Block, []byte) {})
	if err != nil {
		return nil, err
	}
	missing := fault.New(fault.LedgerNotFound, "ledger: no checkpoint of %d blocks can be proved; those of %d to %d can", size, max(first, 1), h.size)
	if size < max(first, 1) || size > h.size {
		return nil, missing
	}
	hashes, err := tlog.ProveTree(int64(h.size), int64(size), f)
	if err != nil {
		return nil, missing
	}
	old := edge{f.before.size, append([]Hash(nil), f.before.hashes...)}
	for _, leaf := range f.leaves[:size-first] {
		old.push(leaf)
	}
	return &Consistency{size, h.size, old.root(), h.root, hashes, h.signed, h.vkey}, nil
}

// forest verifies the ledger and returns its hashes, with the checkpoint that
// they are proved against and the first block that is kept.
func (l *Ledger) forest(ctx context.Context, each func(b *Block, line []byte)) (*forest, *head, uint64, error) {
	beside, err := l.beside()
	if err != nil {
		return nil, nil, 0, err
	}
	v, err := l.view()
	if err != nil {
		return nil, nil, 0, err
	}
	defer v.close()
	if len(v.files) == 0 || v.head == nil {
		return nil, nil, 0, fault.New(fault.LedgerNotFound, "ledger: there is nothing to prove yet: nothing was recorded")
	}
	w := &walk{view: v, beside: beside, report: &Report{}}
	f := new(forest)
	err = l.verify(ctx, w, func(b *Block, line []byte, hash Hash) error {
		if f.leaves == nil {
			f.before = edge{b.Segment.Size, b.Segment.Tree}
		}
		f.leaves = append(f.leaves, hash)
		each(b, line)
		return nil
	})
	return f, v.head, w.report.FirstSeq, err
}
