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
	switch d := b.Decision; {
	case b.KeyRotation != nil && !b.rotates(),
		d != nil && (d.Constitution != t.constitution || !t.mayBegin(d.From)):
		return false
	case b.Seq == r.first:
		// The opener stands for the blocks before it, which are in other files.
		return ok && b.Segment != nil && (r.first > 0 || b.Prev == Hash{})
	}
	return ok && b.Prev == t.prev && b.Segment == nil && b.KeyID == t.signer
}
