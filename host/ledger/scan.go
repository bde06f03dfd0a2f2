package ledger

import "bytes"

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

func (r *scan) signed(b *Block, unsigned []byte) bool {
	key, ok := r.keys.public[b.KeyID]
	return ok && verified(unsigned, b.Sig[:], key)
}

// rebuild goes over the lines of a file, which begins behind e, up to the last that
// a checkpoint of size blocks covers. It returns the edge before that one, and where
// its line begins.
func rebuild(e edge, data []byte, size uint64) (prior edge, at int, ok bool) {
	for e.size+1 < size {
		line, _, ended := bytes.Cut(data[at:], []byte("\n"))
		hash, isLeaf := leaf(line)
		if !ended || !isLeaf {
			return edge{}, 0, false
		}
		e.push(hash)
		at += len(line) + 1
	}
	return e, at, true
}

// lineOf finds, from the end, the line of a block by its number.
func lineOf(data []byte, seq uint64) (at int, ok bool) {
	for end := bytes.LastIndexByte(data, '\n') + 1; end > 0; end = at {
		at = bytes.LastIndexByte(data[:end-1], '\n') + 1
		if n, ok := seqOf(data[at : end-1]); ok && n == seq {
			return at, true
		}
	}
	return 0, false
}

// stand puts the tail behind the last block that the checkpoint covers, whose line
// begins at a place of data, which begins at a place of the file: it is that block
// if with it the tree has the checkpoint's root. By the chain it goes back to the
// blocks that say which constitution and which state hold. ok is false where the
// block is another, or where data does not reach back far enough.
func (r *scan) stand(t *tail, data []byte, from int64, at int, h *head, prior edge, adoptedBefore func() bool) (end int, ok bool) {
	line, _, ended := bytes.Cut(data[at:], []byte("\n"))
	b, unsigned, isBlock := parse(line)
	if !ended || !isBlock || b.Seq+1 != h.size || b.LedgerID != t.ledgerID || b.Seg != t.seg || !r.signed(b, unsigned) || !mayHead(b, h, r.keys) {
		return 0, false
	}
	hash := hashBlock(unsigned, b.Sig[:])
	e := prior.clone()
	if e.push(hash); e.root() != h.root {
		return 0, false
	}
	end = at + len(line) + 1
	prev, last, signer := hash, b.Time, b.successor()
	adopted := false
	var constitution, stateName *string
	for {
		switch {
		case b.Segment != nil:
			if from+int64(at) != 0 {
				return 0, false // a copy
			}
			if stateName == nil {
				adopted = adopted || adoptedBefore()
			}
			constitution, stateName = or(constitution, b.Segment.Constitution), or(stateName, b.Segment.State)
		case b.Decision != nil:
			stateName = or(stateName, b.Decision.To)
			constitution = or(constitution, b.Decision.Constitution)
		case b.Constitution != nil:
			adopted = adopted || stateName == nil
			constitution = or(constitution, b.Constitution.Digest)
		}
		if constitution != nil && stateName != nil {
			t.edge, t.prior = e, prior
			t.prev, t.last, t.signer = prev, last, signer
			t.constitution, t.stateName, t.adopted = *constitution, *stateName, adopted
			return end, true
		}
		if at == 0 {
			return 0, false
		}
		before := b.Prev
		begin := bytes.LastIndexByte(data[:at-1], '\n') + 1
		if b, unsigned, isBlock = parse(data[begin : at-1]); !isBlock || hashBlock(unsigned, b.Sig[:]) != before {
			return 0, false // what the chain does not vouch for says nothing
		}
		at = begin
	}
}

// or keeps what was found first.
func or(found *string, s string) *string {
	if found == nil {
		return &s
	}
	return found
}

// beyond takes the blocks behind the checkpoint, as far as each is the next one, and
// returns how many bytes of data they are.
func (r *scan) beyond(t *tail, data []byte) (good int) {
	for good < len(data) {
		line, _, ended := bytes.Cut(data[good:], []byte("\n"))
		b, unsigned, ok := parse(line)
		if !ended || !ok || t.wrong(b, r.signed(b, unsigned), r.first) != "" {
			break
		}
		t.push(b, hashBlock(unsigned, b.Sig[:]))
		good += len(line) + 1
	}
	return good
}
