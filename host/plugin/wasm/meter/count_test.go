package meter

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

const countGlobal = "count"

// counting returns a module that counts every instruction just before it runs,
// in an exported global, and every bulk instruction by its length: slow, plain,
// and without any of the thought that the meter puts into it.
func counting(t testing.TB, module []byte) []byte {
	t.Helper()
	p, err := parse(module)
	if err != nil {
		t.Fatal(err)
	}
	global := uint32(len(p.globals))
	same := func(i uint32) uint32 { return i }
	code := func(e *emitter) {
		e.u32(uint32(len(p.bodies)))
		f := new(flow)
		for i := range p.bodies {
			if err := f.analyze(p, i); err != nil {
				t.Fatal(err)
			}
			b := &p.bodies[i]
			var w emitter
			w.u32(uint32(b.groups + 1))
			w.byte(b.declared...)
			w.byte(1, typeI32)
			length := uint32(len(p.types[p.funcs[p.imported+i]].params) + b.locals)
			for _, in := range f.code {
				switch in.op {
				case opNop, opBlock, opLoop, opElse, opEnd:
				case opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableFill, opTableGrow:
					w.op(opLocalTee, length)
					w.op(opGlobalGet, global)
					w.op(opLocalGet, length)
					w.byte(i64ExtU, i64Add)
					w.op(opGlobalSet, global)
					fallthrough
				default:
					w.op(opGlobalGet, global)
					w.i64(1)
					w.byte(i64Add)
					w.op(opGlobalSet, global)
				}
				w.byte(b.code[in.at:in.end]...)
			}
			e.u32(uint32(len(w.b)))
			e.byte(w.b...)
		}
	}
	out := emitter{}
	out.byte(module[:8]...)
	for _, id := range []byte{secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart, secElement, secDataCount, secCode, secData} {
		s := p.sections[id]
		switch {
		case id == secGlobal:
			out.section(id, func(e *emitter) {
				e.vectorShifted(s, 1, same)
				e.byte(typeI64, 1, byte(opI64Const), 0, byte(opEnd))
			})
		case id == secExport:
			out.section(id, func(e *emitter) {
				e.vectorShifted(s, 1, same)
				e.name(countGlobal)
				e.byte(byte(KindGlobal))
				e.u32(global)
			})
		case id == secCode:
			out.section(id, code)
		case s.present:
			out.section(id, func(e *emitter) { e.byte(s.content...) })
		}
	}
	return out.b
}

func counted(m api.Module) int64 { return int64(m.ExportedGlobal(countGlobal).Get()) }

// digest is the whole memory and every exported global of the guest's own.
func digest(t testing.TB, m api.Module, info *Info) string {
	t.Helper()
	out := ""
	if mem := m.Memory(); mem != nil {
		b, ok := mem.Read(0, mem.Size())
		if !ok {
			t.Fatal("memory cannot be read")
		}
		out = fmt.Sprintf("%d %x", mem.Size(), sha256.Sum256(b))
	}
	for _, e := range info.Exports {
		if e.Kind == KindGlobal {
			out += fmt.Sprintf(" %s=%d", e.Name, m.ExportedGlobal(e.Name).Get())
		}
	}
	return out
}

// TestGuests runs real guests plain, counted and metered, twice, and compares
// results, the whole memory, and the fuel with the count.
func TestGuests(t *testing.T) {
	type call struct {
		function string
		args     []uint64
	}
	for _, g := range []struct {
		name  string
		guest func(testing.TB) []byte
		calls []call
	}{
		{"go", mustGo, []call{{"json_work", []uint64{3}}, {"map_work", []uint64{3}}, {"channel_work", []uint64{50}},
			{"recurse", []uint64{5000}}, {"panics", []uint64{1}}, {"panics", []uint64{7}}, {"json_work", []uint64{1}}}},
		{"c", mustC, []call{{"tight", []uint64{1000}}, {"fib", []uint64{15}}, {"sieve", []uint64{5000}}, {"tokens", []uint64{5000}},
			{"dispatch", []uint64{1000}}, {"floats", []uint64{5}}, {"copies", []uint64{300}}, {"hanoi", []uint64{10, 1, 2, 3}}}},
	} {
		t.Run(g.name, func(t *testing.T) {
			guest := g.guest(t)
			info, err := Inspect(guest)
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			plain, _ := load(t, guest, nil, wazero.NewRuntimeConfig())
			count, _ := load(t, counting(t, guest), nil, wazero.NewRuntimeConfig())
			hosts := []*host{newHost(), newHost()}
			hosts[1].slice = 1013 // how fuel is handed out must not matter
			var metered []api.Module
			for _, h := range hosts {
				m, _ := load(t, guest, h, wazero.NewRuntimeConfig())
				metered = append(metered, m)
			}
			before, beforeCount := hosts[0].used(metered[0]), counted(count)
			if before < beforeCount {
				t.Errorf("instantiation: charged %d for %d instructions", before, beforeCount)
			}
			for _, c := range g.calls {
				want, err := plain.ExportedFunction(c.function).Call(ctx, c.args...)
				if err != nil {
					t.Fatalf("%s: %v", c.function, err)
				}
				for i, m := range append(metered, count) {
					got, err := m.ExportedFunction(c.function).Call(ctx, c.args...)
					if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("%s: variant %d gave %v, %v; plain %v", c.function, i, got, err, want)
					}
					if a, b := digest(t, m, info), digest(t, plain, info); a != b {
						t.Fatalf("%s: variant %d left %s; plain %s", c.function, i, a, b)
					}
				}
				used, executed := hosts[0].used(metered[0]), counted(count)
				if again := hosts[1].used(metered[1]); again != used {
					t.Errorf("%s: %d fuel, then %d", c.function, used, again)
				}
				spent, ran := used-before, executed-beforeCount
				if spent < ran || spent > (1+maxLoss)*ran {
					t.Errorf("%s: charged %d for %d instructions", c.function, spent, ran)
				}
				t.Logf("%-13s %9d instructions, charged %.3f times", c.function, ran, float64(spent)/float64(ran))
				before, beforeCount = used, executed
			}
		})
	}
}
