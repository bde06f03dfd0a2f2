package meter

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// opcodeModule is a module whose function "f" takes operands of the given types
// from its parameter, the address of a row of 16-byte values in memory, runs one instruction,
// and stores what it gives after the row.
func opcodeModule(instruction []byte, operands []byte, result byte) []byte {
	e := emitter{b: []byte("\x00asm\x01\x00\x00\x00")}
	e.section(secType, func(e *emitter) { e.byte(1, 0x60, 1, typeI32, 0) })
	e.section(secFunction, func(e *emitter) { e.byte(1, 0) })
	e.section(secMemory, func(e *emitter) { e.byte(1, 1, 1, 2) })
	e.section(secGlobal, func(e *emitter) { e.byte(1, typeI32, 1, byte(opI32Const), 7, byte(opEnd)) })
	e.section(secExport, func(e *emitter) {
		e.byte(2)
		e.name("f")
		e.byte(byte(KindFunc), 0)
		e.name("memory")
		e.byte(byte(KindMemory), 0)
	})
	e.section(secCode, func(e *emitter) {
		b := emitter{b: []byte{0}}
		if result != 0 {
			b.op(opLocalGet, 0) // where the result goes
		}
		for i, t := range operands {
			b.op(opLocalGet, 0)
			b.byte(loads[t]...)
			b.byte(0)
			b.u32(uint32(16 * i))
		}
		b.byte(instruction...)
		if result != 0 {
			b.byte(stores[result]...)
			b.byte(0)
			b.u32(16 * 8)
		}
		b.byte(byte(opEnd))
		e.u32(1)
		e.u32(uint32(len(b.b)))
		e.byte(b.b...)
	})
	return e.b
}

var (
	loads  = map[byte][]byte{typeI32: {0x28}, typeI64: {0x29}, typeF32: {0x2a}, typeF64: {0x2b}, typeV128: {prefixVector, 0}}
	stores = map[byte][]byte{typeI32: {0x36}, typeI64: {0x37}, typeF32: {0x38}, typeF64: {0x39}, typeV128: {prefixVector, 11}}
	kinds  = []byte{typeI32, typeV128, typeI64, typeF32, typeF64}
)

// typings lists every choice of n types.
func typings(n int) [][]byte {
	out := [][]byte{nil}
	for range n {
		var longer [][]byte
		for _, t := range out {
			for _, k := range kinds {
				longer = append(longer, append(slices.Clone(t), k))
			}
		}
		out = longer
	}
	return out
}

// immediates gives bytes that are legal after an opcode in opcodeModule.
func immediates(s shape) []byte {
	switch s.imm {
	case immMemory, immPages:
		return []byte{0, 0}
	case immLane, immPage, immI32, immI64, immLocal, immGlobal:
		return []byte{0}
	case immMemoryLane:
		return []byte{0, 0, 0}
	case immF32:
		return []byte{1, 2, 3, 0x40}
	case immF64:
		return []byte{1, 2, 3, 4, 5, 6, 7, 0x40}
	case imm16:
		return []byte{0, 31, 5, 9, 17, 30, 2, 3, 8, 7, 6, 21, 20, 19, 18, 1}
	case immNone:
		return nil
	}
	return nil
}

// values are the bit patterns that operands take: small and large numbers,
// signed and not, infinities and not-numbers, as i32, f32, i64, f64 and lanes.
func values() []byte {
	var row []byte
	for _, v := range []uint64{0, 1, 2, 31, 33, 64, 0xff, 0x7f80, 65535, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1,
		0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7fa00001, 0x4f000000, 0xcf000001, 0x5f000000, 0x00000001, 0x80000000,
		0x3ff0000000000000, 0xc000000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x41e0000000000000, 0x43e0000000000000,
		0xdeadbeefcafebabe, 0x0123456789abcdef, 0x8080808080808080, 0x7f7f7f7f80808080, 0xfffefdfc03020100} {
		row = binary.LittleEndian.AppendUint64(row, v)
		row = binary.LittleEndian.AppendUint64(row, v*0x9e3779b97f4a7c15+v>>7)
	}
	return row
}

// TestEveryInstruction finds out for each opcode that is no control flow whether
// wazero accepts it, under any types, holds the meter's table against that, and
// runs it plain and metered over many operands.
func TestEveryInstruction(t *testing.T) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	defer rt.Close(ctx)
	accepts := func(module []byte) bool {
		m, err := rt.CompileModule(ctx, module)
		if err != nil {
			return false
		}
		m.Close(ctx)
		return true
	}
	type group struct {
		name   string
		prefix []byte
		table  []shape
		skip   func(int) bool
	}
	run := 0
	for _, g := range []group{
		{"plain", nil, plain[:], func(op int) bool {
			return op <= 0x1f || op == 0x25 || op == 0x26 || op >= 0xd0 // control flow, tables and references: in TestWat
		}},
		{"misc", []byte{prefixMisc}, misc[:], func(op int) bool { return op == 8 || op == 9 || op >= 12 }}, // likewise
		{"vector", []byte{prefixVector}, vector[:], func(int) bool { return false }},
	} {
		for op := range g.table {
			if g.skip(op) {
				continue
			}
			s := g.table[op]
			instruction := appendU32(slices.Clone(g.prefix), uint32(op))
			if g.prefix == nil {
				instruction = []byte{byte(op)}
			}
			name := fmt.Sprintf("%s 0x%02x", g.name, op)
			if s.imm == immIllegal {
				for _, operands := range append(append(typings(1), typings(2)...), typings(0)...) {
					for _, result := range append(kinds, 0) {
						if accepts(opcodeModule(instruction, operands, result)) {
							t.Errorf("%s: wazero knows it, the meter does not", name)
						}
					}
				}
				continue
			}
			instruction = append(instruction, immediates(s)...)
			var found []byte
			for _, operands := range typings(int(s.pops)) {
				results := []byte{0}
				if s.pushes == 1 {
					results = kinds
				}
				for _, result := range results {
					if module := opcodeModule(instruction, operands, result); found == nil && accepts(module) {
						found = module
					}
				}
			}
			if found == nil {
				t.Errorf("%s: the meter takes it, wazero under no types", name)
				continue
			}
			compareRows(t, name, found)
			run++
		}
	}
	if run < 380 {
		t.Errorf("only %d instructions ran", run)
	}
	t.Logf("%d instructions", run)
}

// compareRows runs "f" over rows of values and compares memory and errors.
func compareRows(t *testing.T, name string, module []byte) {
	t.Helper()
	ctx := context.Background()
	plain, rt1, err := tryLoad(module, nil, wazero.NewRuntimeConfig(), Config{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer rt1.Close(ctx)
	h := newHost()
	metered, rt2, err := tryLoad(module, h, wazero.NewRuntimeConfig(), Config{})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer rt2.Close(ctx)
	row := values()
	for at := range len(row)/16 - 3 {
		var memories [2][]byte
		var faults [2]string
		for i, m := range []api.Module{plain, metered} {
			m.Memory().Write(1024, row[16*at:])
			m.Memory().Write(0, row)
			if _, err := m.ExportedFunction("f").Call(ctx, 1024); err != nil {
				faults[i] = trapName(err)
			}
			memories[i], _ = m.Memory().Read(0, m.Memory().Size())
		}
		if faults[0] != faults[1] || !slices.Equal(memories[0], memories[1]) {
			t.Errorf("%s, operands %x: plain and metered differ: %q, %q", name, row[16*at:16*at+32], faults[0], faults[1])
		}
	}
	if used := h.used(metered); used <= 0 {
		t.Errorf("%s: charged %d", name, used)
	}
}

// trapName cuts the stack trace, in which functions of the meter may appear, from an error.
func trapName(err error) string {
	text := err.Error()
	if i := slices.Index([]byte(text), '\n'); i >= 0 {
		text = text[:i]
	}
	return text
}
