package ledger

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// edge is the right edge of a Merkle tree (RFC 6962 §2.1): the roots of the
// largest complete subtrees, from the left, as the bits of its size have them.
// It is all that is needed to append, and to tell the root.
type edge struct {
	size   uint64
	hashes []Hash
}

// push appends a leaf.
func (e *edge) push(leaf Hash) {
	e.hashes = append(e.hashes, leaf)
	for n := e.size; n&1 == 1; n >>= 1 {
		last := len(e.hashes) - 1
		e.hashes[last-1] = tlog.NodeHash(e.hashes[last-1], e.hashes[last])
		e.hashes = e.hashes[:last]
	}
	e.size++
}

// root is the hash of the whole tree.
func (e *edge) root() Hash {
	if len(e.hashes) == 0 {
		h, _ := tlog.TreeHash(0, nil) // of nothing, which is never asked for more
		return h
	}
	root := e.hashes[len(e.hashes)-1]
	for i := len(e.hashes) - 2; i >= 0; i-- {
		root = tlog.NodeHash(e.hashes[i], root)
	}
	return root
}

// fits reports whether there are as many hashes as the size calls for.
func (e *edge) fits() bool { return len(e.hashes) == bits.OnesCount64(e.size) }

func (e *edge) clone() edge {
	return edge{e.size, append([]Hash(nil), e.hashes...)}
}

// forest tells hashes of a tree of which the first blocks are known by their
// edge alone: enough for a proof about any later block, since every subtree
// beside its way to the root is one of the edge's, or lies behind it.
type forest struct {
	before edge
	leaves []Hash
}

// ReadHashes is [tlog.HashReader].
func (f *forest) ReadHashes(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		h, ok := f.subtree(uint64(n)<<level, level)
		if !ok {
			return nil, errPruned
		}
		hashes[i] = h
	}
	return hashes, nil
}

// subtree is the root of the complete subtree of 2^level leaves from lo on.
func (f *forest) subtree(lo uint64, level int) (Hash, bool) {
	at := uint64(0)
	for i := range f.before.hashes {
		height := bits.Len64(f.before.size-at) - 1
		if at == lo && height == level {
			return f.before.hashes[i], true
		}
		at += 1 << height
	}
	if level == 0 {
		if lo < f.before.size || lo-f.before.size >= uint64(len(f.leaves)) {
			return Hash{}, false
		}
		return f.leaves[lo-f.before.size], true
	}
	left, ok1 := f.subtree(lo, level-1)
	right, ok2 := f.subtree(lo+1<<(level-1), level-1)
	return tlog.NodeHash(left, right), ok1 && ok2
}
