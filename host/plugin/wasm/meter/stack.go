package meter

// Bounds on what a guest takes of the native stack. wazero keeps the stack in
// a Go slice that it doubles as a guest goes deeper, and copies: at the worst,
// the old one, the new one and the garbage of all before come to five times what is in use.
const (
	// DefaultMaxStack keeps the host below 64 MiB for one guest's stack.
	DefaultMaxStack = 12 << 20
	// maxFrame bounds one function's frame, which wazero allocates before any
	// code of the function could object.
	maxFrame = 2 << 20
	// maxUncounted bounds what a chain of functions that are not counted may
	// take: callers of such a chain are counted with all of it.
	maxUncounted = 256 << 10
	// maxLiveness bounds the words that the liveness of locals may take for one
	// function. Past it every local is taken to be live everywhere.
	maxLiveness = 4 << 20
)

// What wazero's compiler puts on the stack for one function: a return address,
// a frame pointer, the registers that it saves, and a slot for every value that
// does not stay in a register. It never shares a slot between two values, so
// what counts is how many values there are, not how many at a time.
const (
	frameFixed   = 288 // 16 registers of up to 16 bytes and 32 bytes for linkage and the check
	registers    = 12  // operands that are taken to fit in registers
	addressShare = 2   // of so many loads, stores and vector instructions, one leaves something on the stack
	slot         = 8
	slotVector   = 16
	argumentMax  = 16 // bytes that one argument or result takes on the stack
)

// stack says which functions are counted at their entries and exits, and with
// how many bytes.
type stack struct {
	weight []uint32 // by defined function; 0: not counted
}

// measure estimates the frame of every function and weighs the call graph.
// Only functions that can be on a cycle of calls have to be counted; what lies
// between two of them is bounded, and part of the first one's weight.
func measure(p *parsed) (*stack, error) {
	g := &graph{p: p, frames: make([]uint32, len(p.bodies)), first: make([]uint32, 1, len(p.bodies)+2)}
	f, lv := new(flow), new(liveness)
	seen := make([]uint32, len(p.bodies)) // 1 + the last caller
	for i := range p.bodies {
		if err := f.analyze(p, i); err != nil {
			return nil, err
		}
		if err := f.affordable(p.imported+i, int(f.params)+p.bodies[i].locals, lv); err != nil {
			return nil, err
		}
		size := f.frame(p, i, lv)
		if size > maxFrame {
			return nil, refuse("has a function, number %d, that may take %d bytes of stack for one call; the limit is %d",
				p.imported+i, size, maxFrame)
		}
		g.frames[i] = uint32(size)
		outside := f.indirect
		for _, callee := range f.calls {
			if int(callee) < p.imported {
				outside = true
			} else if d := callee - uint32(p.imported); seen[d] != uint32(i)+1 {
				seen[d] = uint32(i) + 1
				g.edges = append(g.edges, d)
			}
		}
		if outside {
			g.edges = append(g.edges, uint32(len(p.bodies)))
		}
		g.first = append(g.first, uint32(len(g.edges)))
		for _, r := range f.references {
			p.take(r)
		}
	}
	g.addOutside()
	return &stack{weight: g.weigh()}, nil
}

// frame estimates the bytes of native stack that one call takes.
func (f *flow) frame(p *parsed, number int, lv *liveness) int64 {
	bytes := int64(slot)
	if f.vectors {
		bytes = slotVector
	}
	locals := int(f.params) + p.bodies[number].locals
	values := int64(locals) + int64(f.addresses)/addressShare + int64(f.spilled) + int64(f.handed) + lv.values(f, locals)
	return frameFixed + bytes*values + argumentMax*int64(f.arguments)
}
