package meter

import "math/bits"

// Bounds on what wazero's compiler has to do for one function. It looks at
// its deadline only between two functions, and some of its passes take the square
// of the blocks; the figures are what it took at a bound, on one core.
const (
	maxInstructions = 300_000 // 1 s and 250 MB, of divisions 450; the largest of a Go program have 15,000
	maxBlocks       = 20_000  // basic blocks: 11 s; a Go program has 1,300
	maxEdges        = 100_000 // ways between blocks; each target of a br_table is one
	maxCallSites    = 100_000 // 0.5 s, 200 MB; a Go program has 300
	// maxMoves bounds the values that are handed on where ways meet: each local in
	// use there, on each of the ways. 1 s and 100 MB; a Go program has 10,000.
	maxMoves = 2_000_000
	// maxVisited bounds what the analysis of locals itself looks at in one module,
	// in words: half a second. A Go program of 2 MB takes a million.
	maxVisited = 32 << 20
)

// excess says which bound on its size a function breaks, nil for none.
func (f *flow) excess(function int) error {
	if len(f.code)-f.free <= maxInstructions && len(f.blocks) <= maxBlocks && len(f.edges) <= maxEdges && len(f.calls)+f.indirects <= maxCallSites {
		return nil
	}
	what, most := "calls", maxCallSites
	switch {
	case len(f.code)-f.free > maxInstructions:
		what, most = "instructions", maxInstructions
	case len(f.blocks) > maxBlocks:
		what, most = "basic blocks", maxBlocks
	case len(f.edges) > maxEdges:
		what, most = "branches", maxEdges
	}
	return refuse("has a function of more than %d %s, number %d", most, what, function)
}

// affordable refuses a function that would keep the compiler busy, or make it
// hold memory, out of proportion to its size.
func (f *flow) affordable(function, locals int, lv *liveness) error {
	if moves := lv.moves(f, locals); moves > maxMoves {
		return refuse("has a function, number %d, that hands on %d values where its ways meet; the limit is %d", function, moves, maxMoves)
	}
	if lv.visited > maxVisited {
		return refuse("has too many functions with many locals and branches")
	}
	return nil
}

// moves counts the locals in use where ways meet, once for each way. Where all
// of them together are few, it does not look closer.
func (lv *liveness) moves(f *flow, locals int) (n int64) {
	ways := int64(0)
	for i := range f.blocks {
		ways += int64(f.waysInto(i))
	}
	if ways*int64(locals) <= maxMoves || !lv.solve(f, locals) {
		return ways * int64(locals)
	}
	for i := range f.blocks {
		if in := f.waysInto(i); in > 0 {
			for _, word := range lv.live[i*lv.words : (i+1)*lv.words] {
				n += int64(in) * int64(bits.OnesCount64(word))
			}
		}
	}
	return n
}

// waysInto counts the ways that meet at the head of a block, 0 where none do.
func (f *flow) waysInto(i int) int {
	b := &f.blocks[i]
	if b.header {
		return int(b.preds) + 1
	}
	if b.preds > 1 {
		return int(b.preds)
	}
	return 0
}
