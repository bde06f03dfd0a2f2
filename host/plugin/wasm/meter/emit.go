package meter

// emitter writes the binary format.
type emitter struct{ b []byte }

func (e *emitter) byte(b ...byte) { e.b = append(e.b, b...) }

func (e *emitter) u32(v uint32) { e.b = appendU32(e.b, v) }

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func (e *emitter) signed(v int64) {
	for v < -64 || v > 63 {
		e.b = append(e.b, byte(v)|0x80)
		v >>= 7
	}
	e.b = append(e.b, byte(v)&0x7f)
}

func (e *emitter) name(s string) {
	e.u32(uint32(len(s)))
	e.b = append(e.b, s...)
}

// op writes an instruction of one byte with an index after it.
func (e *emitter) op(op code, index uint32) {
	e.byte(byte(op))
	e.u32(index)
}

func (e *emitter) i64(v int64) {
	e.byte(byte(opI64Const))
	e.signed(v)
}

// section writes a section whose content fill writes.
func (e *emitter) section(id byte, fill func(*emitter)) {
	var content emitter
	fill(&content)
	e.byte(id)
	e.u32(uint32(len(content.b)))
	e.b = append(e.b, content.b...)
}

const (
	i32LtS     = 0x48
	i64Ne      = 0x52
	i64LtS     = 0x53
	i64LeU     = 0x58
	i64GtU     = 0x56
	i64Add     = 0x7c
	i64Sub     = 0x7d
	i64And     = 0x83
	i64ShlOp   = 0x86
	i32WrapI64 = 0xa7
	i64ExtS    = 0xac
	i64ExtU    = 0xad
	emptyBlock = 0x40
)

// signs are the two sign bits of the state: that of the stack, in its upper
// half, and that of the balance, in its lower.
const signs = -1<<63 | 1<<31

// writer rewrites function bodies.
type writer struct {
	emitter
	p      *parsed
	f      *flow
	plan   *plan
	stack  *stack
	state  uint32 // index of the global
	shift  uint32 // functions added to the imports
	slow   uint32 // index of the function that yields
	bulk   uint32 // index of the function that charges by length
	grow   uint32 // index of the function that charges memory.grow
	blocks map[string]uint32
	types  []signature // added to the types of the module
}

func (w *writer) function(index uint32) uint32 {
	if index >= uint32(w.p.imported) {
		return index + w.shift
	}
	return index
}

// add changes the state by a constant.
func (w *writer) add(delta int64) {
	if delta == 0 {
		return
	}
	w.op(opGlobalGet, w.state)
	if delta < 0 && delta > -1<<31 {
		w.i64(-delta)
		w.byte(i64Sub)
	} else {
		w.i64(delta)
		w.byte(i64Add)
	}
	w.op(opGlobalSet, w.state)
}

// check compares. Where back is set, what follows the slow path is a jump to
// the loop that the check stands in, so that the fast path stays one straight line.
func (w *writer) check(stack, back bool) {
	w.op(opGlobalGet, w.state)
	if stack {
		w.i64(signs)
		w.byte(i64And)
		w.i64(0)
		w.byte(i64Ne)
	} else {
		w.byte(i32WrapI64, byte(opI32Const), 0, i32LtS)
	}
	w.byte(byte(opIf), emptyBlock)
	w.op(opCall, w.slow)
	if back {
		w.op(opBr, 1)
	}
	w.byte(byte(opEnd))
}

// resultType returns the block type of a block without parameters that gives results.
func (w *writer) resultType(results []byte) (one byte, index uint32) {
	switch len(results) {
	case 0:
		return emptyBlock, 0
	case 1:
		return results[0], 0
	}
	index, ok := w.blocks[string(results)]
	if !ok {
		index = uint32(len(w.p.types) + len(w.types))
		w.types = append(w.types, signature{results: results})
		w.blocks[string(results)] = index
	}
	return 0, index
}

// body rewrites one function's code after its locals.
func (w *writer) body(number int) {
	f, p := w.f, w.p
	source := p.bodies[number].code
	cost := int64(w.stack.weight[number]) << 32
	wrap := cost != 0 && f.exitsByBranch
	fused := f.fusedEntry()

	if !fused && !(cost == 0 && f.tinyLeaf(w.plan)) {
		w.byte(byte(opLoop), emptyBlock)
		w.check(true, true)
		w.byte(byte(opEnd))
	}
	w.add(-w.plan.charge[0] - cost)
	if wrap {
		w.byte(byte(opBlock))
		if one, index := w.resultType(p.types[p.funcs[p.imported+number]].results); one != 0 {
			w.byte(one)
		} else {
			w.signed(int64(index))
		}
	}

	next, copied := 1, uint32(0)
	upto := func(end uint32) {
		w.b = append(w.b, source[copied:end]...)
		copied = end
	}
	depth := 0
	for i := range f.code {
		in := &f.code[i]
		for next < len(f.blocks) && int(f.blocks[next].head) == i {
			upto(in.at)
			switch b := &f.blocks[next]; {
			case b.header:
				w.check(fused && next == 1, !b.operands)
			case b.long:
				w.check(false, false)
			}
			w.add(-w.plan.charge[next])
			next++
		}
		switch in.op {
		case opBlock, opLoop, opIf:
			depth++
		case opEnd:
			if depth == 0 { // the function's own
				upto(in.at)
				if wrap {
					w.byte(byte(opEnd))
				}
				w.add(cost)
			}
			depth--
		case opReturn:
			upto(in.at)
			w.add(cost)
		case opBr:
			if int(in.arg) == depth && !wrap {
				upto(in.at)
				w.add(cost)
			}
		case opCall, opRefFunc:
			if in.arg >= uint32(p.imported) {
				upto(in.at)
				w.op(in.op, w.function(in.arg))
				copied = in.end
			}
		case opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableFill, opTableGrow:
			upto(in.at)
			w.op(opCall, w.bulk)
		case opMemoryGrow:
			upto(in.at)
			w.op(opCall, w.grow)
		}
	}
	upto(uint32(len(source)))
}

// fusedEntry tells whether the check at the entry can be left to the header of
// a loop that the function falls straight into.
func (f *flow) fusedEntry() bool {
	if len(f.blocks) < 2 {
		return false
	}
	first := &f.blocks[0]
	return f.blocks[1].header && !f.blocks[1].operands && f.blocks[1].preds == 1 && first.edges >= 0 &&
		f.edges[first.edges].to == 1 && f.edges[first.edges].next < 0 && !first.calls && !first.exits && first.weight < smallEntry
}

// smallEntry is how many instructions may run ahead of the loop whose check
// serves as the function's.
const smallEntry = 64

// tinyLeaf tells whether a function is so small, and calls nothing, that its
// callers' checks are enough.
func (f *flow) tinyLeaf(pl *plan) bool {
	return len(f.calls) == 0 && !f.indirect && !f.loops && !f.bulky && pl.need[0] <= maxTinyLeaf
}

const maxTinyLeaf = 24
