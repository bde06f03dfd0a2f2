package meter

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/internal/wat"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// seeds are small modules of every kind.
func seeds(f *testing.F) [][]byte {
	out := [][]byte{
		wat.Assemble(f, "testdata/references.wat"),
		wat.Assemble(f, chain(3)),
		wat.Assemble(f, met(3)),
		wat.Assemble(f, passed(3)),
		wat.Assemble(f, kept(3, "v128")),
		wat.Assemble(f, `(module (memory 1) (data (i32.const 1) "a") (func (loop (br_table 0 0 (i32.const 0)))))`),
		opcodeModule([]byte{prefixVector, 0x15, 1}, []byte{typeV128}, typeI32),
		one("\x01\x02\x7e\x03\x40\x0c\x00\x0b\x0b"),
		raw("\x00", "\x04name\x00\x02\x01a"),
	}
	for i := range 4 {
		p := &program{functions: [][]node{
			{{op: opLoop, body: []node{{op: opLocalGet}, {op: opBrIf, arg: uint32(i & 1)}}}, {op: opI32Const, arg: uint32(i)}},
			{{op: opBlock, results: 2, body: []node{{op: opI32Const}, {op: opI32Const}, {op: opCall, arg: 1}, {op: opLocalGet}, {op: opBrTable, labels: []uint32{0, 1}}}}},
		}}
		out = append(out, p.module())
	}
	return out
}

// FuzzRewrite holds that arbitrary bytes never panic, that a refusal has its
// code, that Inspect agrees, and that wazero accepts what was rewritten if and only if it
// accepted it before, custom sections aside.
func FuzzRewrite(f *testing.F) {
	corpus := seeds(f)
	if len(corpus) == 0 {
		f.Fatal("no seeds")
	}
	accepted := 0
	for _, s := range corpus {
		if _, _, err := Rewrite(s, Config{}); err == nil {
			accepted++
		}
		f.Add(s)
	}
	if accepted < len(corpus) {
		f.Fatalf("only %d of %d seeds are accepted", accepted, len(corpus))
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	f.Cleanup(func() { rt.Close(ctx) })
	compiles := func(module []byte) error {
		m, err := rt.CompileModule(ctx, module)
		if err == nil {
			m.Close(ctx)
		}
		return err
	}
	f.Fuzz(func(t *testing.T, module []byte) {
		kept := bytes.Clone(module)
		metered, _, err := Rewrite(module, Config{})
		if !bytes.Equal(kept, module) {
			t.Fatal("the module was changed")
		}
		if err != nil {
			if fault.CodeOf(err) != fault.PluginBadModule {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if _, err := Inspect(module); err != nil {
			t.Fatalf("rewritten, and refused by Inspect: %v", err)
		}
		if again, _, _ := Rewrite(module, Config{}); !bytes.Equal(again, metered) {
			t.Fatal("two rewrites differ")
		}
		before, after := compiles(module), compiles(metered)
		if before != nil && strings.Contains(before.Error(), "custom") {
			return // wazero refuses some custom sections that the format allows; the meter drops them
		}
		if (before == nil) != (after == nil) {
			t.Fatalf("wazero before: %v\nafter: %v\n%x\n%x", before, after, module, metered)
		}
	})
}
