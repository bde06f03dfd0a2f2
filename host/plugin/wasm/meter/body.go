package meter

import "slices"

// block is a basic block: a run of instructions that is entered at its head
// alone and left at its tail alone, where calls do not count as leaving.
// Blocks are numbered in the order of the code, so that every edge but those
// back to a loop header leads to a higher number.
type block struct {
	head     int32 // index in flow.code of the instruction that it starts before
	weight   int64 // cost of its instructions
	since    int32 // most instructions on a way from the last comparison to here, growing as it is filled
	edges    int32 // first of its edges in flow.edges, or -1
	preds    int32 // edges that lead here, those back to a loop header not counted
	depth    int32 // loops around it, itself included
	header   bool  // a loop header that is jumped back to: a check stands here
	long     bool  // begun because too much ran since the last comparison: a check stands here
	calls    bool  // holds a call, or a bulk instruction
	operands bool  // a loop header with parameters
	exits    bool  // may leave the function from its tail
	backs    int32 // first of its jumps back to loop headers in flow.edges, or -1
}

// maxStretch is how many instructions may run on any way through a function,
// loops aside, before the balance is compared, and charged for what comes next. It
// bounds what a caller runs after a call has returned: a chain of calls as deep as the
// stack allows, 40,000 frames, must not unwind for seconds on what it paid on its way down.
const maxStretch = 512

// edge is a way from one block to another. A way back to a loop header, or out
// of the function, has no edge: it asks for no credit.
type edge struct{ to, next int32 }

// frame is one open construct.
type frame struct {
	op      code
	height  int32 // operands below it
	params  int32
	results int32
	header  int32 // loop: its block
	waiting int32 // first edge, in flow.waiting, that leads to its end; -1 if none
	dead    bool  // the code before it cannot be reached
	ifBlock int32 // if: the block that ends with the condition
	hasElse bool
}

// flow is the control flow of one function. It is reused from function to function.
type flow struct {
	code    []instr
	blocks  []block
	edges   []edge
	frames  []frame
	waiting []edge // to: the block that jumps
	current int32  // block that code is added to; -1 in dead code
	height  int32  // operands on the stack
	depth   int32  // loops that are open

	params, results int32
	calls           []uint32 // functions called, with repeats
	indirect        bool     // call_indirect
	indirects       int      // how many
	free            int      // instructions that cost nothing
	loops           bool     // any loop that is jumped back to
	bulky           bool     // any instruction charged by its operand
	references      []uint32 // ref.func
	sets            int      // assignments to locals
	addresses       int      // loads, stores and vector instructions
	spilled         int      // operands that may not stay in a register
	marked          int32    // height below which operands are counted in spilled
	handed          int      // operands handed on where ways meet
	arguments       int      // most parameters and results of one call
	vectors         bool     // any v128
	exitsByBranch   bool     // a conditional branch leads out of the function
}

// analyze decodes one function and lays out its control flow. It refuses
// unknown instructions, indexes that do not exist, nesting past the limit and
// code that does not close its blocks.
func (f *flow) analyze(p *parsed, number int) error {
	b := &p.bodies[number]
	function := p.imported + number
	sig := &p.types[p.funcs[function]]
	*f = flow{
		code: f.code[:0], blocks: f.blocks[:0], edges: f.edges[:0], frames: f.frames[:0], waiting: f.waiting[:0],
		calls: f.calls[:0], references: f.references[:0],
		params: int32(len(sig.params)), results: int32(len(sig.results))}
	locals := len(sig.params) + b.locals
	c := &cursor{b: b.code, base: b.base, what: "the code section"}

	f.frames = append(f.frames, frame{op: opBlock, results: f.results, waiting: -1})
	f.vectors = slices.Contains(sig.params, typeV128) || slices.Contains(b.declared, typeV128)
	f.open()
	for c.err == nil && len(f.frames) > 0 {
		if from := f.current; from >= 0 && f.blocks[from].since >= maxStretch {
			to := f.open()
			f.link(from, to)
			f.blocks[to].long, f.blocks[to].since = true, 0
		}
		in, s := c.instr()
		if c.err != nil {
			break
		}
		f.code = append(f.code, in)
		f.step(c, p, in, s, locals)
		if err := f.excess(function); err != nil && c.err == nil {
			c.err = err // before more memory goes into it
		}
	}
	if c.err == nil && c.left() != 0 {
		c.fail("code after the end of a function")
	}
	return c.err
}

// open starts a block before the instruction that comes next.
func (f *flow) open() int32 {
	f.current = int32(len(f.blocks))
	f.blocks = append(f.blocks, block{head: int32(len(f.code)), edges: -1, backs: -1, depth: f.depth})
	return f.current
}

func (f *flow) link(from, to int32) {
	f.blocks[to].since = max(f.blocks[to].since, f.blocks[from].since)
	f.edges = append(f.edges, edge{to, f.blocks[from].edges})
	f.blocks[from].edges = int32(len(f.edges) - 1)
	f.blocks[to].preds++
}

// jump records a branch of the current block to a label.
func (f *flow) jump(c *cursor, depth uint32, conditional bool) {
	if int(depth) >= len(f.frames) {
		c.fail("no label %d", depth)
		return
	}
	target := &f.frames[len(f.frames)-1-int(depth)]
	switch {
	case f.current < 0:
	case int(depth) == len(f.frames)-1:
		f.blocks[f.current].exits = true
		f.exitsByBranch = f.exitsByBranch || conditional
	case target.op == opLoop:
		f.blocks[target.header].header = true
		f.edges = append(f.edges, edge{target.header, f.blocks[f.current].backs})
		f.blocks[f.current].backs = int32(len(f.edges) - 1)
		f.loops = true
	default:
		f.waiting = append(f.waiting, edge{f.current, target.waiting})
		target.waiting = int32(len(f.waiting) - 1)
	}
}

// operands takes and gives operands.
func (f *flow) operands(c *cursor, pops, pushes int32) {
	if f.current < 0 {
		return
	}
	if f.height-pops < f.frames[len(f.frames)-1].height {
		c.fail("an instruction lacks operands")
		return
	}
	f.height -= pops
	f.marked = min(f.marked, f.height)
	f.height += pushes
	f.spill(f.height - registers)
}

// spill counts the operands below a height as values that need a place on the stack.
func (f *flow) spill(height int32) {
	if height > f.marked {
		f.spilled += int(height - f.marked)
		f.marked = height
	}
}

func (f *flow) step(c *cursor, p *parsed, in instr, s shape, locals int) {
	live := f.current >= 0
	if in.op.free() {
		f.free++
	} else if live {
		f.blocks[f.current].weight++
		f.blocks[f.current].since++
	}
	if s.imm == immMemory || in.op>>8 == prefixVector {
		f.addresses++
	}
	f.vectors = f.vectors || in.op>>8 == prefixVector
	f.operands(c, int32(s.pops), int32(s.pushes))
	switch in.op {
	case opBlock, opLoop, opIf:
		params, results := int32(0), int32(0)
		switch {
		case in.arg == blockValue:
			results = 1
		case in.arg == blockEmpty:
		case int(in.arg) >= len(p.types):
			c.fail("no type %d", in.arg)
		default:
			params, results = int32(len(p.types[in.arg].params)), int32(len(p.types[in.arg].results))
		}
		if len(f.frames) > maxNesting {
			c.err = refuse("has a function that nests more than %d blocks", maxNesting)
		}
		f.operands(c, params, params)
		f.handed += int(params + results)
		f.frames = append(f.frames, frame{op: in.op, height: f.height - params, params: params, results: results,
			waiting: -1, dead: !live, ifBlock: f.current})
		if !live {
			return
		}
		if in.op == opLoop {
			f.depth++
		}
		if from := f.current; in.op != opBlock {
			to := f.open()
			f.link(from, to)
			f.frames[len(f.frames)-1].header = to
			f.blocks[to].operands = params > 0
		}
	case opElse:
		top := &f.frames[len(f.frames)-1]
		if top.op != opIf || top.hasElse {
			c.fail("else without if")
			return
		}
		top.hasElse = true
		f.fall(c, top)
		f.current = -1
		if !top.dead {
			f.height = top.height + top.params
			f.link(top.ifBlock, f.open())
		}
	case opEnd:
		f.close(c)
	case opBr:
		f.jump(c, in.arg, false)
		f.current = -1
	case opBrIf:
		f.jump(c, in.arg, true)
		if from := f.current; live {
			f.link(from, f.open())
		}
	case opBrTable:
		f.jumpTable(c, in)
		f.current = -1
	case opReturn:
		if live {
			f.blocks[f.current].exits = true
		}
		f.current = -1
	case opUnreachable:
		f.current = -1
	case opCall:
		if int(in.arg) >= len(p.funcs) {
			c.fail("no function %d", in.arg)
			return
		}
		f.call(c, &p.types[p.funcs[in.arg]])
		if live {
			f.blocks[f.current].since += maxTinyLeaf
			f.calls = append(f.calls, in.arg)
		}
	case opCallIndirect:
		if int(in.arg) >= len(p.types) {
			c.fail("no type %d", in.arg)
			return
		}
		f.call(c, &p.types[in.arg])
		f.indirect = f.indirect || live
		if live {
			f.blocks[f.current].since += maxTinyLeaf
			f.indirects++
		}
	case opRefFunc:
		if int(in.arg) >= len(p.funcs) {
			c.fail("no function %d", in.arg)
			return
		}
		f.references = append(f.references, in.arg)
	case opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableFill, opTableGrow, opMemoryGrow:
		f.bulky = true
		if live {
			f.blocks[f.current].calls = true
		}
	case opLocalGet, opLocalSet, opLocalTee:
		if in.op != opLocalGet {
			f.sets++
		}
		if int(in.arg) >= locals {
			c.fail("no local %d", in.arg)
		}
	case opGlobalGet, opGlobalSet:
		if int(in.arg) >= len(p.globals) {
			c.fail("no global %d", in.arg)
		}
	}
}

func (f *flow) call(c *cursor, sig *signature) {
	f.operands(c, int32(len(sig.params)), 0)
	if f.current >= 0 {
		f.spill(f.height)
		f.operands(c, 0, int32(len(sig.results)))
		f.arguments = max(f.arguments, len(sig.params)+len(sig.results))
		f.blocks[f.current].calls = true
	}
}

// jumpTable records every target of a br_table, default included, once.
func (f *flow) jumpTable(c *cursor, in instr) {
	labels := &cursor{b: c.b[:in.end], pos: int(in.at) + 1, base: c.base, what: c.what}
	labels.u32()
	seen := [(maxNesting + 64) / 64]uint64{}
	for range in.arg + 1 {
		depth := labels.u32()
		if int(depth) >= len(f.frames) {
			c.fail("no label %d", depth)
			return
		}
		if seen[depth/64]&(1<<(depth%64)) == 0 {
			seen[depth/64] |= 1 << (depth % 64)
			f.jump(c, depth, true)
		}
	}
}

// fall lets the code before an else or end run into the end of its construct.
func (f *flow) fall(c *cursor, top *frame) {
	if f.current < 0 {
		return
	}
	if f.height != top.height+top.results {
		c.fail("a block ends with %d operands, not %d", f.height-top.height, top.results)
		return
	}
	f.waiting = append(f.waiting, edge{f.current, top.waiting})
	top.waiting = int32(len(f.waiting) - 1)
}

// close ends the innermost construct.
func (f *flow) close(c *cursor) {
	top := f.frames[len(f.frames)-1]
	f.frames = f.frames[:len(f.frames)-1]
	if top.op == opLoop && !top.dead {
		f.depth--
		// What goes on after the loop began after its last jump back, mostly.
		if f.current >= 0 && f.blocks[f.current].backs < 0 && !f.blocks[f.current].header {
			f.blocks[f.current].depth = f.depth
		}
	}
	if len(f.frames) == 0 {
		if f.current >= 0 {
			f.blocks[f.current].exits = true
			if f.height != f.results {
				c.fail("a function ends with %d operands, not %d", f.height, f.results)
			}
		}
		return
	}
	if top.op == opIf && !top.hasElse && !top.dead {
		// Without an else, the condition's block leads to the end as well.
		f.waiting = append(f.waiting, edge{top.ifBlock, top.waiting})
		top.waiting = int32(len(f.waiting) - 1)
	}
	if top.op != opIf && top.waiting < 0 && f.current >= 0 {
		// No branch leads here: the block goes on.
		if f.height != top.height+top.results {
			c.fail("a block ends with %d operands, not %d", f.height-top.height, top.results)
		}
		return
	}
	f.fall(c, &top)
	f.current = -1
	f.height = top.height + top.results
	if top.waiting < 0 {
		return
	}
	merged := f.open()
	for w := top.waiting; w >= 0; w = f.waiting[w].next {
		f.link(f.waiting[w].to, merged)
	}
}
