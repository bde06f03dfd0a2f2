package meter

// graph is the call graph. Its nodes are the defined functions, and one more
// for everything that calls which are not direct may reach: an indirect call reaches
// every function whose reference is taken, and an imported function may call back
// into every exported one.
type graph struct {
	p      *parsed
	frames []uint32
	first  []uint32 // edges of node i: edges[first[i]:first[i+1]]
	edges  []uint32
}

func (g *graph) addOutside() {
	reached := make([]bool, len(g.p.funcs))
	copy(reached, g.p.taken)
	for _, fix := range g.p.sections[secExport].fixups {
		reached[fix.index] = true
	}
	for i, r := range reached {
		if r && i >= g.p.imported {
			g.edges = append(g.edges, uint32(i-g.p.imported))
		}
	}
	g.first = append(g.first, uint32(len(g.edges)))
}

// weigh finds the strongly connected components (Tarjan's algorithm, without
// recursion) and, as they come out callees first, the weights.
func (g *graph) weigh() []uint32 {
	n := len(g.frames) + 1
	const unseen = 0
	var (
		order   = make([]uint32, n) // when a node was met, from 1
		low     = make([]uint32, n) // earliest node that it reaches
		closed  = make([]bool, n)   // its component is complete
		next    = make([]uint32, n) // its next edge
		pending []uint32            // nodes of open components
		path    []uint32
		met     uint32
		weight  = make([]uint32, len(g.frames))
		below   = make([]uint32, n) // stack that a call takes until the next counted function
	)
	for root := range uint32(n) {
		if order[root] != unseen {
			continue
		}
		path = append(path[:0], root)
		for len(path) > 0 {
			v := path[len(path)-1]
			if order[v] == unseen {
				met++
				order[v], low[v], next[v] = met, met, g.first[v]
				pending = append(pending, v)
			}
			descended := false
			for next[v] < g.first[v+1] {
				to := g.edges[next[v]]
				if order[to] == unseen {
					path = append(path, to)
					descended = true
					break
				}
				next[v]++
				if !closed[to] {
					low[v] = min(low[v], low[to])
				}
			}
			if descended {
				continue
			}
			path = path[:len(path)-1]
			if low[v] != order[v] {
				continue
			}
			at := len(pending) - 1
			for pending[at] != v {
				at--
			}
			g.settle(pending[at:], weight, below)
			for _, member := range pending[at:] {
				closed[member] = true
			}
			pending = pending[:at]
		}
	}
	return weight
}

// settle weighs the nodes of one component. All that they call outside of it
// is settled; within it, every node is counted, so that nothing is below.
func (g *graph) settle(component []uint32, weight, below []uint32) {
	for _, v := range component {
		cyclic := len(component) > 1
		deepest := uint32(0)
		for _, to := range g.edges[g.first[v]:g.first[v+1]] {
			cyclic = cyclic || to == v
			deepest = max(deepest, below[to])
		}
		if int(v) == len(g.frames) { // not a function: it takes nothing itself
			if !cyclic {
				below[v] = deepest
			}
			continue
		}
		if total := g.frames[v] + deepest; cyclic || total > maxUncounted {
			weight[v] = total
		} else {
			below[v] = total
		}
	}
}
