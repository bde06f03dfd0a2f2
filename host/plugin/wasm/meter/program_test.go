package meter

import "errors"

// program is a module as a tree, for generated tests: it can be written in the
// binary format, and run by the interpreter below, which shares no code with the
// meter. All values are i32. Every function has two parameters, two locals more,
// and one result, or two for odd numbers; the table holds all functions; there are
// two mutable globals and a memory of one page that can grow to three.
type program struct{ functions [][]node }

const (
	programLocals   = 4
	programGlobals  = 2
	programMaxPages = 3
)

// node is one instruction, with what is nested in it.
type node struct {
	op              code
	arg             uint32   // index, depth, constant or offset
	labels          []uint32 // br_table
	params, results int      // blocks
	body, other     []node
}

func resultsOf(function uint32) int { return 1 + int(function&1) }

// trap is what ends a run early.
var (
	errTrap     = errors.New("trap")
	errNotEnded = errors.New("not ended")
)

// machine runs a program and counts its instructions.
type machine struct {
	p        *program
	memory   []byte
	globals  [programGlobals]uint32
	executed int64 // instructions, bulk ones by their length as well
	limit    int64
	depth    int
}

const (
	machineDepth = 300
	falls        = -1 // how a sequence ends: by running to its end,
	returns      = -2 // by a return, or else by a branch of that depth
	lands        = -3 // by a branch to the block itself
)

type activation struct {
	m      *machine
	locals [programLocals]uint32
	stack  []uint32
}

func newMachine(p *program, limit int64) *machine {
	return &machine{p: p, memory: make([]byte, 1<<16), limit: limit}
}

func (m *machine) call(function uint32, args []uint32) (results []uint32, err error) {
	if m.depth++; m.depth > machineDepth {
		return nil, errNotEnded
	}
	defer func() { m.depth-- }()
	a := &activation{m: m}
	copy(a.locals[:], args)
	if _, err := a.run(m.p.functions[function]); err != nil {
		return nil, err
	}
	return a.popN(resultsOf(function)), nil
}

func (a *activation) push(v ...uint32) { a.stack = append(a.stack, v...) }

func (a *activation) pop() uint32 { return a.popN(1)[0] }

func (a *activation) popN(n int) []uint32 {
	at := len(a.stack) - n
	out := append([]uint32(nil), a.stack[at:]...)
	a.stack = a.stack[:at]
	return out
}

func (a *activation) flag(b bool) {
	if b {
		a.push(1)
	} else {
		a.push(0)
	}
}

func (a *activation) run(code []node) (int, error) {
	for i := range code {
		if end, err := a.step(&code[i]); err != nil || end != falls {
			return end, err
		}
	}
	return falls, nil
}

// enter runs the body of a block, whose label takes arity operands.
func (a *activation) enter(n *node, body []node, arity int) (int, error) {
	height := len(a.stack) - n.params
	end, err := a.run(body)
	if err != nil || end == falls || end == returns {
		return end, err
	}
	if end > 0 {
		return end - 1, nil
	}
	kept := a.popN(arity)
	a.stack = append(a.stack[:height], kept...)
	return lands, nil
}

func (a *activation) step(n *node) (int, error) {
	m := a.m
	if !n.op.free() {
		if m.executed++; m.executed > m.limit {
			return falls, errNotEnded
		}
	}
	switch n.op {
	case opNop:
	case opUnreachable:
		return falls, errTrap
	case opBlock, opIf:
		body := n.body
		if n.op == opIf && a.pop() == 0 {
			body = n.other
		}
		end, err := a.enter(n, body, n.results)
		if end == lands {
			end = falls
		}
		return end, err
	case opLoop:
		for {
			if end, err := a.enter(n, n.body, n.params); end != lands || err != nil {
				return end, err
			}
		}
	case opBr:
		return int(n.arg), nil
	case opBrIf:
		if a.pop() != 0 {
			return int(n.arg), nil
		}
	case opBrTable:
		return int(n.labels[min(a.pop(), uint32(len(n.labels)-1))]), nil
	case opReturn:
		return returns, nil
	case opCall, opCallIndirect:
		function := n.arg
		if n.op == opCallIndirect {
			function = a.pop()
			if function >= uint32(len(m.p.functions)) || resultsOf(function) != resultsOf(n.arg) {
				return falls, errTrap
			}
		}
		results, err := m.call(function, a.popN(2))
		if err != nil {
			return falls, err
		}
		a.push(results...)
	case opLocalGet:
		a.push(a.locals[n.arg])
	case opLocalSet:
		a.locals[n.arg] = a.pop()
	case opLocalTee:
		a.locals[n.arg] = a.stack[len(a.stack)-1]
	case opGlobalGet:
		a.push(m.globals[n.arg])
	case opGlobalSet:
		m.globals[n.arg] = a.pop()
	case opI32Const:
		a.push(n.arg)
	default:
		return falls, a.operate(n)
	}
	return falls, nil
}

// Instructions that programs use besides the ones that the meter names.
const (
	opDrop       code = 0x1a
	opLoad8      code = 0x2d
	opStore8     code = 0x3a
	opMemorySize code = 0x3f
	opEqz        code = 0x45
	opAdd        code = 0x6a
	opMul        code = 0x6c
	opDivU       code = 0x6e
	opXor        code = 0x73
)

func (a *activation) operate(n *node) error {
	m := a.m
	switch n.op {
	case opDrop:
		a.pop()
	case opEqz:
		a.flag(a.pop() == 0)
	case opAdd, opMul, opDivU, opXor:
		y, x := a.pop(), a.pop()
		switch n.op {
		case opAdd:
			x += y
		case opMul:
			x *= y
		case opXor:
			x ^= y
		case opDivU:
			if y == 0 {
				return errTrap
			}
			x /= y
		}
		a.push(x)
	case opLoad8:
		at := uint64(a.pop()) + uint64(n.arg)
		if at >= uint64(len(m.memory)) {
			return errTrap
		}
		a.push(uint32(m.memory[at]))
	case opStore8:
		v := a.pop()
		at := uint64(a.pop()) + uint64(n.arg)
		if at >= uint64(len(m.memory)) {
			return errTrap
		}
		m.memory[at] = byte(v)
	case opMemorySize:
		a.push(uint32(len(m.memory) >> 16))
	case opMemoryGrow:
		pages, old := a.pop(), uint32(len(m.memory)>>16)
		if uint64(pages)+uint64(old) > programMaxPages {
			old = 1<<32 - 1
		} else {
			m.memory = append(m.memory, make([]byte, pages<<16)...)
		}
		a.push(old)
	case opMemoryFill, opMemoryCopy:
		length, second, to := uint64(a.pop()), a.pop(), uint64(a.pop())
		m.executed += int64(length)
		if to+length > uint64(len(m.memory)) || n.op == opMemoryCopy && uint64(second)+length > uint64(len(m.memory)) {
			return errTrap
		}
		if n.op == opMemoryCopy {
			copy(m.memory[to:to+length], m.memory[second:uint64(second)+length])
			break
		}
		for i := range length {
			m.memory[to+i] = byte(second)
		}
	default:
		panic("no such instruction in programs")
	}
	return nil
}

// module writes a program in the binary format.
func (p *program) module() []byte {
	e := emitter{b: []byte("\x00asm\x01\x00\x00\x00")}
	types := blockTypes()
	e.section(secType, func(e *emitter) {
		e.u32(uint32(len(types)))
		for _, t := range types {
			e.byte(0x60)
			for _, n := range t {
				e.u32(uint32(n))
				for range n {
					e.byte(typeI32)
				}
			}
		}
	})
	count := uint32(len(p.functions))
	e.section(secFunction, func(e *emitter) {
		e.u32(count)
		for i := range count {
			e.u32(blockIndex(2, resultsOf(i)))
		}
	})
	e.section(secTable, func(e *emitter) {
		e.byte(1, typeFuncref, 0)
		e.u32(count)
	})
	e.section(secMemory, func(e *emitter) { e.byte(1, 1, 1, programMaxPages) })
	e.section(secGlobal, func(e *emitter) {
		e.u32(programGlobals)
		for range programGlobals {
			e.byte(typeI32, 1, byte(opI32Const), 0, byte(opEnd))
		}
	})
	e.section(secExport, func(e *emitter) {
		e.u32(count + programGlobals + 1)
		for i := range count {
			e.name(string(rune('a' + i)))
			e.byte(byte(KindFunc))
			e.u32(i)
		}
		for i := range programGlobals {
			e.name(string(rune('0' + i)))
			e.byte(byte(KindGlobal), byte(i))
		}
		e.name("memory")
		e.byte(byte(KindMemory), 0)
	})
	e.section(secElement, func(e *emitter) {
		e.byte(1, 0, byte(opI32Const), 0, byte(opEnd))
		e.u32(count)
		for i := range count {
			e.u32(i)
		}
	})
	e.section(secCode, func(e *emitter) {
		e.u32(count)
		for _, f := range p.functions {
			b := emitter{b: []byte{1, programLocals - 2, typeI32}}
			b.nodes(f)
			b.byte(byte(opEnd))
			e.u32(uint32(len(b.b)))
			e.byte(b.b...)
		}
	})
	return e.b
}

const maxArity = 2

// blockTypes lists every signature of up to maxArity parameters and results.
func blockTypes() (types [][2]int) {
	for params := range maxArity + 1 {
		for results := range maxArity + 1 {
			types = append(types, [2]int{params, results})
		}
	}
	return types
}

func blockIndex(params, results int) uint32 { return uint32(params*(maxArity+1) + results) }

func (e *emitter) nodes(code []node) {
	for i := range code {
		n := &code[i]
		if n.op>>8 != 0 {
			e.byte(byte(n.op>>8), byte(n.op))
		} else {
			e.byte(byte(n.op))
		}
		switch n.op {
		case opBlock, opLoop, opIf:
			e.signed(int64(blockIndex(n.params, n.results)))
			e.nodes(n.body)
			if n.op == opIf && (n.other != nil || n.params != n.results) {
				e.byte(byte(opElse))
				e.nodes(n.other)
			}
			e.byte(byte(opEnd))
		case opBr, opBrIf, opCall, opLocalGet, opLocalSet, opLocalTee, opGlobalGet, opGlobalSet:
			e.u32(n.arg)
		case opI32Const:
			e.signed(int64(int32(n.arg)))
		case opBrTable:
			e.u32(uint32(len(n.labels) - 1))
			for _, l := range n.labels {
				e.u32(l)
			}
		case opCallIndirect:
			e.u32(blockIndex(2, resultsOf(n.arg)))
			e.byte(0)
		case opLoad8, opStore8:
			e.byte(0)
			e.u32(n.arg)
		case opMemorySize, opMemoryGrow, opMemoryFill:
			e.byte(0)
		case opMemoryCopy:
			e.byte(0, 0)
		}
	}
}
