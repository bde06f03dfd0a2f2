package meter

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"carl.camp/carl/host/plugin/wasm/internal/wat"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// withEnv instantiates a module that imports env.twice.
func withEnv(t testing.TB, module []byte, h *host) api.Module {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2))
	t.Cleanup(func() { rt.Close(ctx) })
	if _, err := rt.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithFunc(func(v uint32) uint32 { return 2 * v }).Export("twice").Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	if h != nil {
		if err := h.define(ctx, rt); err != nil {
			t.Fatal(err)
		}
	}
	m, err := rt.Instantiate(ctx, module)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestReferences runs every function of references.wat, one after the other on
// the same instances, over small and large numbers.
func TestReferences(t *testing.T) {
	module := wat.Assemble(t, "testdata/references.wat")
	metered, info, err := Rewrite(module, Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := newHost()
	plain, count, under := withEnv(t, module, nil), withEnv(t, counting(t, module), nil), withEnv(t, metered, h)
	ctx := context.Background()
	calls, traps := 0, 0
	for _, arg := range []uint64{0, 1, 2, 3, 4, 5, 8, 12, 40, 1 << 16, 1<<32 - 1} {
		for _, e := range info.Exports {
			if e.Kind != KindFunc {
				continue
			}
			if arg > 40 && slices.Contains([]string{"recursion", "set_recursion", "pairs"}, e.Name) {
				continue // plain wazero would run for long, or out of stack
			}
			calls++
			want, fault := plain.ExportedFunction(e.Name).Call(ctx, arg)
			if fault != nil {
				traps++
			}
			for i, m := range []api.Module{count, under} {
				got, err := m.ExportedFunction(e.Name).Call(ctx, arg)
				if (err == nil) != (fault == nil) || err != nil && trapName(err) != trapName(fault) || !slices.Equal(got, want) {
					t.Fatalf("%s(%d): variant %d gave %v, %v; plain %v, %v", e.Name, arg, i, got, err, want, fault)
				}
				if a, b := digest(t, m, info), digest(t, plain, info); a != b {
					t.Fatalf("%s(%d): variant %d left %s; plain %s", e.Name, arg, i, a, b)
				}
			}
			if used, ran := h.used(under), counted(count); used < ran {
				t.Fatalf("%s(%d): charged %d for %d instructions", e.Name, arg, used, ran)
			}
			if left := Stack(under.ExportedGlobal(ExportState).Get()); fault == nil && left > DefaultMaxStack {
				t.Fatalf("%s(%d): %d bytes of stack are left", e.Name, arg, left)
			}
		}
	}
	if traps == 0 || traps == calls {
		t.Errorf("%d of %d calls trapped", traps, calls)
	}
}

// TestStackIsGivenBack shows that every way out of a function gives back what
// its entry took.
func TestStackIsGivenBack(t *testing.T) {
	module := wat.Assemble(t, "testdata/references.wat")
	metered, info, err := Rewrite(module, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range info.Exports {
		if e.Kind != KindFunc {
			continue
		}
		for arg := range uint64(13) {
			m := withEnv(t, metered, newHost())
			m.ExportedFunction("set_recursion").Call(context.Background(), 5)
			if _, err := m.ExportedFunction(e.Name).Call(context.Background(), arg); err != nil {
				continue
			}
			if left := Stack(m.ExportedGlobal(ExportState).Get()); left != DefaultMaxStack {
				t.Errorf("%s(%d) ended with %d bytes of stack taken", e.Name, arg, DefaultMaxStack-left)
			}
		}
	}
}

func TestInspect(t *testing.T) {
	module := wat.Assemble(t, "testdata/references.wat")
	info, err := Inspect(module)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(info.Imports), "[{env twice func (i32) -> (i32)}]"; got != want {
		t.Errorf("imports %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(info.Exports[:3]), "[{memory memory 1 3} {g global mut i32} {indirect func (i32) -> (i32)}]"; got != want {
		t.Errorf("exports %s, want %s", got, want)
	}
	if !info.HasMemory || info.MemoryMin != 1 || info.MemoryMax != 3 || !info.HasStart || info.Functions != 25 || info.Size != len(module) {
		t.Errorf("%+v", info)
	}
	if len(info.Customs) != 1 || info.Customs[0].Name != "name" || info.Customs[0].Size == 0 {
		t.Errorf("custom sections %+v", info.Customs)
	}
	for _, text := range []string{
		`(module (import "m" "t" (table 1 9 funcref)) (import "m" "mem" (memory 2)) (import "m" "g" (global (mut f64))) (import "m" "f" (func (param v128 externref) (result i64 f32))))`,
	} {
		info, err := Inspect(wat.Assemble(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(info.Imports), "[{m t table funcref 1 9} {m mem memory 2} {m g global mut f64} {m f func (v128 externref) -> (i64 f32)}]"; got != want {
			t.Errorf("imports %s, want %s", got, want)
		}
		if info.MemoryMin != 2 || info.MemoryMax != maxPages {
			t.Errorf("memory %d to %d", info.MemoryMin, info.MemoryMax)
		}
	}
}

// TestNames shows that the names of functions, which traps are reported by,
// follow the functions.
func TestNames(t *testing.T) {
	module := wat.Assemble(t, `(module $guest (import "env" "twice" (func $twice (param i32) (result i32)))
		(func $first (export "f") call $second) (func $second unreachable))`)
	metered, _, err := Rewrite(module, Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, fault := withEnv(t, module, nil).ExportedFunction("f").Call(context.Background())
	_, under := withEnv(t, metered, newHost()).ExportedFunction("f").Call(context.Background())
	if fault == nil || under == nil || fault.Error() != under.Error() {
		t.Errorf("plain: %v\nmetered: %v", fault, under)
	}
}
