package meter

import "slices"

// Functions that the rewriter adds: two imports, and three of its own that
// stand after the guest's.
const (
	addedImports   = 2
	addedFunctions = 3
)

// Rewrite checks a core module as [Inspect] does and returns one that counts
// fuel and stack, as the package comment lays down. The result depends on
// the bytes, the config and [Version] alone. The Info describes the module as
// it was given. Errors are *fault.Error with [fault.PluginBadModule]. It may be
// called from several goroutines; it keeps no reference to module.
func Rewrite(module []byte, cfg Config) ([]byte, *Info, error) {
	if cfg.MaxStack == 0 {
		cfg.MaxStack = DefaultMaxStack
	}
	if cfg.MaxMemoryPages == 0 {
		cfg.MaxMemoryPages = maxPages
	}
	p, err := parse(module)
	if err != nil {
		return nil, nil, err
	}
	if p.info.MemoryMin > cfg.MaxMemoryPages {
		return nil, nil, refuse("wants a memory of %d pages at once; the limit is %d", p.info.MemoryMin, cfg.MaxMemoryPages)
	}
	st, err := measure(p)
	if err != nil {
		return nil, nil, err
	}
	defined := len(p.funcs) - p.imported
	w := &writer{
		p: p, f: new(flow), plan: new(plan), stack: st,
		state:  uint32(len(p.globals)),
		shift:  addedImports,
		slow:   uint32(len(p.funcs) + addedImports),
		bulk:   uint32(len(p.funcs) + addedImports + 1),
		grow:   uint32(len(p.funcs) + addedImports + 2),
		blocks: map[string]uint32{},
	}
	plain := w.addType(nil, nil)
	yield := w.addType([]byte{typeI64}, []byte{typeI64})
	length := w.addType([]byte{typeI32}, []byte{typeI32})
	code, err := w.code(cfg)
	if err != nil {
		return nil, nil, err
	}

	out := emitter{b: make([]byte, 0, len(module)+len(code)/2)}
	out.byte(0, 'a', 's', 'm', 1, 0, 0, 0)
	out.section(secType, func(e *emitter) {
		e.vector(p.sections[secType], len(w.types))
		for _, t := range w.types {
			e.byte(0x60)
			e.u32(uint32(len(t.params)))
			e.byte(t.params...)
			e.u32(uint32(len(t.results)))
			e.byte(t.results...)
		}
	})
	out.section(secImport, func(e *emitter) {
		e.vector(p.sections[secImport], addedImports)
		for _, f := range []struct {
			name string
			t    uint32
		}{{ImportYield, yield}, {ImportStack, plain}} {
			e.name(ImportModule)
			e.name(f.name)
			e.byte(byte(KindFunc))
			e.u32(f.t)
		}
	})
	out.section(secFunction, func(e *emitter) {
		e.vector(p.sections[secFunction], addedFunctions)
		e.u32(plain)
		e.u32(length)
		e.u32(length)
	})
	p.emitTables(&out)
	if s := p.sections[secMemory]; s.present {
		out.section(secMemory, func(e *emitter) {
			e.u32(uint32(s.count))
			if s.count == 1 {
				e.byte(1)
				e.u32(p.info.MemoryMin)
				e.u32(min(p.info.MemoryMax, cfg.MaxMemoryPages))
			}
		})
	}
	out.section(secGlobal, func(e *emitter) {
		e.vectorShifted(p.sections[secGlobal], 1, w.function)
		e.byte(typeI64, 1)
		e.i64(int64(cfg.MaxStack) << 32)
		e.byte(byte(opEnd))
	})
	out.section(secExport, func(e *emitter) {
		e.vectorShifted(p.sections[secExport], 1, w.function)
		e.name(ExportState)
		e.byte(byte(KindGlobal))
		e.u32(w.state)
	})
	if p.start >= 0 {
		out.section(secStart, func(e *emitter) { e.u32(w.function(uint32(p.start))) })
	}
	if s := p.sections[secElement]; s.present {
		out.section(secElement, func(e *emitter) { e.vectorShifted(s, 0, w.function) })
	}
	if s := p.sections[secDataCount]; s.present {
		out.section(secDataCount, func(e *emitter) { e.byte(s.content...) })
	}
	out.byte(secCode)
	header := emitter{}
	header.u32(uint32(defined + addedFunctions))
	out.u32(uint32(len(header.b) + len(code)))
	out.byte(header.b...)
	out.byte(code...)
	if s := p.sections[secData]; s.present {
		out.section(secData, func(e *emitter) { e.byte(s.content...) })
	}
	p.emitNames(&out, w)
	return out.b, p.info, nil
}

func (w *writer) addType(params, results []byte) uint32 {
	w.types = append(w.types, signature{params, results})
	return uint32(len(w.p.types) + len(w.types) - 1)
}

// vector copies the items of a section's vector, with room for more.
func (e *emitter) vector(s section, more int) {
	e.u32(uint32(s.count + more))
	e.byte(s.content[s.items:]...)
}

// vectorShifted copies a vector with its function indexes renumbered.
func (e *emitter) vectorShifted(s section, more int, renumber func(uint32) uint32) {
	e.u32(uint32(s.count + more))
	at := uint32(s.items)
	for _, fix := range s.fixups {
		e.byte(s.content[at:fix.at]...)
		e.u32(renumber(fix.index))
		at = fix.end
	}
	e.byte(s.content[at:]...)
}

// code rewrites all bodies and adds the rewriter's own.
func (w *writer) code(cfg Config) ([]byte, error) {
	total := w.p.info.CodeBytes
	out := emitter{b: make([]byte, 0, total+total/3+64*len(w.p.bodies))}
	add := func() {
		out.u32(uint32(len(w.b)))
		out.byte(w.b...)
	}
	lv := new(liveness)
	for i := range w.p.bodies {
		if err := w.f.analyze(w.p, i); err != nil {
			return nil, err
		}
		lv.crowd(w.f, int(w.f.params)+w.p.bodies[i].locals)
		w.plan.make(w.f)
		w.b = w.b[:0]
		w.u32(uint32(w.p.bodies[i].groups))
		w.byte(w.p.bodies[i].declared...)
		w.body(i)
		add()
	}
	for _, helper := range []func(*writer, Config){(*writer).slowBody, (*writer).bulkBody, (*writer).growBody} {
		w.b = w.b[:0]
		helper(w, cfg)
		add()
	}
	return out.b, nil
}

const (
	yieldImport = 0 // places among the imports that the rewriter adds
	stackImport = 1
)

// slowBody writes the function that runs when a comparison finds the balance
// or the stack below zero.
//
//	balance := int32(state)
//	if balance < 0 { state += min(yield(balance), MaxBalance) - balance }
//	if state < 0 { stack(); unreachable }
func (w *writer) slowBody(Config) {
	const balance, granted = 0, 1
	w.byte(1, 2, typeI64) // two i64 locals
	w.op(opGlobalGet, w.state)
	w.byte(i32WrapI64, i64ExtS)
	w.op(opLocalTee, balance)
	w.i64(0)
	w.byte(i64LtS, byte(opIf), emptyBlock)
	w.op(opLocalGet, balance)
	w.op(opCall, uint32(w.p.imported+yieldImport))
	w.op(opLocalSet, granted)
	w.op(opGlobalGet, w.state)
	w.op(opLocalGet, granted)
	w.i64(MaxBalance)
	w.op(opLocalGet, granted)
	w.i64(MaxBalance)
	w.byte(i64LtS, 0x1b) // select: the smaller
	w.byte(i32WrapI64, i64ExtS)
	w.byte(i64Add)
	w.op(opLocalGet, balance)
	w.byte(i64Sub)
	w.op(opGlobalSet, w.state)
	w.byte(byte(opEnd))
	w.op(opGlobalGet, w.state)
	w.i64(0)
	w.byte(i64LtS, byte(opIf), emptyBlock)
	w.op(opCall, uint32(w.p.imported+stackImport))
	w.byte(byte(opUnreachable), byte(opEnd), byte(opEnd))
}

// bulkBody writes the function that a bulk instruction's length passes
// through: it charges the length, in pieces that the balance can hold, and compares.
func (w *writer) bulkBody(Config) {
	const length, left = 0, 1
	w.byte(1, 1, typeI64)
	w.op(opLocalGet, length)
	w.byte(i64ExtU)
	w.op(opLocalSet, left)
	w.byte(byte(opLoop), emptyBlock)
	w.check(false, true)
	w.op(opLocalGet, left)
	w.i64(bulkPiece)
	w.byte(i64GtU, byte(opIf), emptyBlock)
	w.add(-bulkPiece)
	w.op(opLocalGet, left)
	w.i64(bulkPiece)
	w.byte(i64Sub)
	w.op(opLocalSet, left)
	w.op(opBr, 1)
	w.byte(byte(opEnd), byte(opEnd))
	w.charge(left)
	w.byte(byte(opLoop), emptyBlock)
	w.check(false, true)
	w.byte(byte(opEnd))
	w.op(opLocalGet, length)
	w.byte(byte(opEnd))
}

// charge subtracts an i64 local from the state.
func (w *writer) charge(local uint32) {
	w.op(opGlobalGet, w.state)
	w.op(opLocalGet, local)
	w.byte(i64Sub)
	w.op(opGlobalSet, w.state)
}

// growBody writes the function that the operand of memory.grow passes
// through. Growing takes memory that has to be cleared, and now and then a copy of
// all that is there; a wish above the limit fails at once and costs nothing more.
func (w *writer) growBody(cfg Config) {
	const pages = 0
	w.byte(0)
	w.op(opLocalGet, pages)
	w.byte(i64ExtU)
	w.i64(int64(cfg.MaxMemoryPages))
	w.byte(i64LeU, byte(opIf), emptyBlock)
	w.op(opGlobalGet, w.state)
	w.op(opLocalGet, pages)
	w.byte(i64ExtU)
	w.i64(pageCostShift)
	w.byte(i64ShlOp, i64Sub)
	w.op(opGlobalSet, w.state)
	w.byte(byte(opEnd), byte(opLoop), emptyBlock)
	w.check(false, true)
	w.byte(byte(opEnd))
	w.op(opLocalGet, pages)
	w.byte(byte(opEnd))
}

const (
	// bulkPiece is the most that is charged by length before a comparison.
	bulkPiece = 1 << 28
	// pageCostShift makes a page of memory.grow cost 4,096: what clearing 64 KiB takes.
	pageCostShift = 12
)

// emitTables copies the tables with their maximum lowered, so that all of
// them together stay within twice maxTableSize.
func (p *parsed) emitTables(out *emitter) {
	s := p.sections[secTable]
	if !s.present {
		return
	}
	out.section(secTable, func(e *emitter) {
		e.u32(uint32(s.count))
		c := &cursor{b: s.content, pos: s.items}
		for range s.count {
			e.byte(c.byte())
			low, high, bounded := c.limits()
			share := uint32(maxTableSize / s.count)
			if !bounded {
				high = maxTableSize
			}
			e.byte(1)
			e.u32(low)
			e.u32(max(low, min(high, share)))
		}
	})
}

// emitNames writes a name section with the module's name and its functions'.
func (p *parsed) emitNames(out *emitter, w *writer) {
	names := slices.DeleteFunc(p.names, func(n functionName) bool { return int(n.index) >= len(p.funcs) })
	if p.name == "" && len(names) == 0 {
		return
	}
	out.section(secCustom, func(e *emitter) {
		e.name("name")
		if p.name != "" {
			e.section(0, func(e *emitter) { e.name(p.name) })
		}
		if len(names) > 0 {
			e.section(1, func(e *emitter) {
				e.u32(uint32(len(names)))
				for _, n := range names {
					e.u32(w.function(n.index))
					e.name(n.name)
				}
			})
		}
	})
}
