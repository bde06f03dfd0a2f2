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
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	defer v.close()
	if len(v.files) == 0 || v.head == nil {
		return nil, fault.New(fault.LedgerNotFound, "ledger: there is no block %d: nothing was recorded yet", seq)
	}
	w := &walk{view: v, report: &Report{}}
	f := new(forest)
	p := &Proof{Seq: seq, Size: v.head.size, Root: v.head.root}
	err = w.all(ctx, func(b *Block, line []byte, hash Hash) error {
		if f.leaves == nil {
			f.before = edge{b.Segment.Size, b.Segment.Tree}
		}
		f.leaves = append(f.leaves, hash)
		if b.Seq == seq {
			p.Line = append([]byte(nil), line...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p.Line == nil || seq >= p.Size {
		return nil, fault.New(fault.LedgerNotFound, "ledger: block %d is not among the blocks %d to %d that are kept", seq, w.report.FirstSeq, p.Size-1)
	}
	proof, err := tlog.ProveRecord(int64(p.Size), int64(seq), f)
	if err != nil {
		return nil, fault.New(fault.Internal, "ledger: the proof of block %d: %w", seq, err)
	}
	p.Hashes, p.Checkpoint, p.VerifierKey = proof, v.head.signed, v.head.vkey
	return p, nil
}
