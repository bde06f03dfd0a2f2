package meter

// plan decides what is charged at the head of each block.
//
// credit[i] is what has been charged already, on every way into block i,
// towards the cost of block i and of what follows it; charge[i] is added at
// its head. A block spends its weight, and what is left must cover the credit
// of whichever block comes next:
//
//	credit[i] + charge[i] - weight[i] >= credit[j]   for every edge i → j
//
// so by induction no instruction runs before it is paid. What an edge leaves
// over is lost: it is the price of charging ahead of a branch. plan keeps the
// loss of every edge out of a block within maxLoss times the weight of that
// block, so that no run pays for more than 1 + maxLoss times what it executes.
type plan struct {
	credit []int64
	charge []int64
	need   []int64 // weight plus the largest credit that follows
	cut    []bool  // merges that are not paid ahead
}

// maxLoss weighs speed against fidelity. On Go guests, 1 charges 1.07 times the
// instructions executed, 2 charges 1.1 times and saves a quarter of the charges.
const maxLoss = 2

// rounds bounds how often the plan is refined; what is left over then is
// charged block by block. Real functions take two to five.
const rounds = 12

func (pl *plan) make(f *flow) {
	n := len(f.blocks)
	pl.credit = resize(pl.credit, n)
	pl.charge = resize(pl.charge, n)
	pl.need = resize(pl.need, n)
	pl.cut = resize(pl.cut, n)
	clear(pl.cut)
	for round := 0; ; round++ {
		if round == rounds {
			for i := range pl.cut {
				pl.cut[i] = true
			}
		}
		if pl.refine(f) || round == rounds {
			return
		}
	}
}

// refine lays out one plan, from the last block to the first, and cuts the
// merges whose credit would make an edge lose too much. It reports whether
// there were none.
func (pl *plan) refine(f *flow) (settled bool) {
	settled = true
	for i := len(f.blocks) - 1; i >= 0; i-- {
		b := &f.blocks[i]
		// What the ways out ask for: the arms that only this block leads to
		// can still be settled either way, all others ask for their credit.
		least, out := int64(1)<<62, int64(0)
		stays := b.backs >= 0
		for e := b.edges; e >= 0; e = f.edges[e].next {
			to := f.edges[e].to
			stays = stays || f.blocks[to].depth >= b.depth
			if pl.open(f, to) {
				least = min(least, pl.need[to])
			} else {
				least, out = min(least, pl.credit[to]), max(out, pl.credit[to])
			}
		}
		if b.exits || b.backs >= 0 || b.edges < 0 {
			least = 0
		}
		ceiling := least + maxLoss*b.weight
		for e := b.edges; e >= 0; e = f.edges[e].next {
			to := f.edges[e].to
			leaves := stays && f.blocks[to].depth < b.depth
			switch {
			case pl.open(f, to):
				// Pay for the dearest arm within the bound, but never, round
				// after round, for what comes after the loop.
				if !leaves && pl.need[to] <= ceiling {
					out = max(out, pl.need[to])
				}
			case pl.credit[to] > ceiling || leaves && pl.credit[to] > 0:
				pl.cut[to] = true
				settled = false
			}
		}
		for e := b.edges; e >= 0; e = f.edges[e].next {
			if to := f.edges[e].to; pl.open(f, to) {
				pl.credit[to] = min(out, pl.need[to])
				pl.charge[to] = pl.need[to] - pl.credit[to]
			}
		}
		pl.need[i] = b.weight + out
		if i == 0 || b.header || b.long || b.preds > 1 && pl.cut[i] {
			pl.credit[i], pl.charge[i] = 0, pl.need[i]
		} else { // a merge; for an open arm its only predecessor says later
			pl.credit[i], pl.charge[i] = pl.need[i], 0
		}
	}
	return settled
}

// open tells whether a block's credit is for its only predecessor to settle.
func (pl *plan) open(f *flow, i int32) bool {
	return f.blocks[i].preds == 1 && !f.blocks[i].header && !f.blocks[i].long
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	return s[:n]
}
