package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/internal/wat"
	"github.com/tetratelabs/wazero"
)

// chain is a module without a loop whose functions call the next one twice:
// 2^n calls.
func chain(n int) string {
	var b strings.Builder
	b.WriteString("(module ")
	for i := range n {
		fmt.Fprintf(&b, "(func $f%d (call $f%d) (call $f%d))", i, i+1, i+1)
	}
	fmt.Fprintf(&b, `(func $f%d) (export "run" (func $f0)))`, n)
	return b.String()
}

// kept is a recursive function that keeps n values of a type alive across its call.
func kept(n int, typ string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `(module (memory 1) (func $f (export "run") (local %s)`, strings.Repeat(typ+" ", n))
	for i := range n {
		fmt.Fprintf(&b, "(local.set %d (%s.load (i32.const %d)))", i, typ, i*16)
	}
	b.WriteString("(call $f)")
	for i := range n {
		fmt.Fprintf(&b, "(%s.store (i32.const %d) (local.get %d))", typ, i*16, i)
	}
	b.WriteString("))")
	return b.String()
}

// operandsKept is a recursive function that keeps n operands on its stack.
func operandsKept(n int) string {
	return `(module (memory 1) (func $f (export "run") (result i64) ` + strings.Repeat("(i64.load (i32.const 8))", n) +
		"(call $f)" + strings.Repeat("(i64.add)", n) + "))"
}

// spilled is a recursive function of n short stretches that each make a value live across a call.
func spilled(n int) string {
	return `(module (memory 1) (func $nop) (func $f (export "run") ` +
		strings.Repeat("(i64.load (i32.const 8)) (call $nop) (i64.store offset=16 (i32.const 8) (i64.load (i32.const 0))) (drop)", n) + "(call $f)))"
}

// met is a recursive function in which n ways meet, each with another value in each of n locals.
func met(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `(module (memory 1) (func $f (export "run") (local %s)`, strings.Repeat("i64 ", n))
	for i := range n {
		b.WriteString("(if (i32.load (i32.const 0)) (then ")
		for j := range n {
			fmt.Fprintf(&b, "(local.set %d (i64.load (i32.const %d)))", j, 8*(i+j))
		}
		b.WriteString("))")
	}
	b.WriteString("(call $f)")
	for j := range n {
		fmt.Fprintf(&b, "(i64.store (i32.const %d) (local.get %d))", 8*j, j)
	}
	b.WriteString("))")
	return b.String()
}

// passed is a recursive function with n parameters and n results.
func passed(n int) string {
	gets := ""
	for i := range n {
		gets += fmt.Sprintf("(local.get %d)", i)
	}
	return fmt.Sprintf(`(module (func $f (param %s) (result %s) %s (call $f)) (func (export "run") %s (call $f) %s))`,
		strings.Repeat("i64 ", n), strings.Repeat("i64 ", n), gets, strings.Repeat("(i64.const 1)", n), strings.Repeat("(drop)", n))
}

// TestHostile runs what would not end, or would eat the host, and shows that
// it ends with the fuel or the stack that it was given.
func TestHostile(t *testing.T) {
	const budget = 50_000_000
	for _, c := range []struct {
		name, wat string
		want      error // nil: it traps, or ends, by itself
	}{
		{"loop", `(module (func (export "run") (loop (br 0))))`, errFuel},
		{"loop of two", `(module (func (export "run") (loop (loop (br 1)))))`, errFuel},
		{"loop by table", `(module (func (export "run") (loop (br_table 0 0 0 (i32.const 1)))))`, errFuel},
		{"loop by condition", `(module (func (export "run") (loop (br_if 0 (i32.const 1)))))`, errFuel},
		{"loop with parameters", `(module (func (export "run") (i32.const 1) (loop (param i32) (result i32) (br 0)) (drop)))`, errFuel},
		{"loop in start", `(module (start $f) (func $f (loop (br 0))) (func (export "run")))`, errFuel},
		{"loop in _initialize", `(module (func (export "_initialize") (loop (br 0))) (func (export "run")))`, errFuel},
		{"loop in cabi_realloc", `(module (func (export "cabi_realloc") (loop (br 0))) (func (export "run") (call 0)))`, errFuel},
		{"loop of calls", `(module (func $f) (func (export "run") (loop (call $f) (br 0))))`, errFuel},
		{"loop through a table", `(module (table 1 funcref) (elem (i32.const 0) $f) (func $f) (func (export "run") (loop (call_indirect (i32.const 0)) (br 0))))`, errFuel},
		{"exponential calls", chain(60), errFuel},
		{"exponential recursion", `(module (func $f (param i32) (if (local.get 0) (then
			(call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 1))))))
			(func (export "run") (call $f (i32.const 100))))`, errFuel},
		{"loop of fills", `(module (memory 1000) (func (export "run") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65000000)) (br 0))))`, errFuel},
		{"fills in a row", `(module (memory 1000) (func (export "run") ` + strings.Repeat("(memory.fill (i32.const 0) (i32.const 1) (i32.const 65000000))", 1000) + `))`, errFuel},
		{"copies in a row", `(module (memory 1000) (func (export "run") ` + strings.Repeat("(memory.copy (i32.const 0) (i32.const 9) (i32.const 65000000))", 1000) + `))`, errFuel},
		{"table fills in a row", `(module (table 1000000 funcref) (func (export "run") ` + strings.Repeat("(table.fill 0 (i32.const 0) (ref.null func) (i32.const 1000000))", 1000) + `))`, errFuel},
		{"table copies in a row", `(module (table 1000000 funcref) (func (export "run") ` + strings.Repeat("(table.copy (i32.const 0) (i32.const 9) (i32.const 999990))", 1000) + `))`, errFuel},
		{"fill past the end", `(module (memory 1) (func (export "run") (memory.fill (i32.const 0) (i32.const 1) (i32.const -1))))`, errFuel},
		{"memory without end", `(module (memory 1) (func (export "run") (loop (drop (memory.grow (i32.const 1))) (br 0))))`, errFuel},
		{"memory at once", `(module (memory 1) (func (export "run") (drop (memory.grow (i32.const -1)))))`, nil},
		{"table without end", `(module (table 1 funcref) (func (export "run") (loop (drop (table.grow 0 (ref.null func) (i32.const 100000))) (br 0))))`, errFuel},
		{"recursion", `(module (func $f (export "run") (call $f)))`, errStack},
		{"mutual recursion", `(module (func $f (export "run") (call $g)) (func $g (call $f)))`, errStack},
		{"recursion through a table", `(module (table 1 funcref) (elem (i32.const 0) $f) (func $f (export "run") (call_indirect (i32.const 0))))`, errStack},
		{"recursion by ref.func", `(module (table 1 funcref) (elem declare func $f) (func $f (export "run") (table.set 0 (i32.const 0) (ref.func $f)) (call_indirect (i32.const 0))))`, errStack},
		{"recursion in start", `(module (start $f) (func $f (call $f)) (func (export "run")))`, errStack},
		{"recursion with locals", kept(200, "i64"), errStack},
		{"recursion with many locals", kept(4000, "i64"), errStack},
		{"recursion with vectors", kept(500, "v128"), errStack},
		{"recursion with operands", operandsKept(900), errStack},
		{"recursion with many values", spilled(3000), errStack},
		{"recursion with ways that meet", met(40), errStack},
		{"recursion with parameters", passed(300), errStack},
	} {
		t.Run(c.name, func(t *testing.T) {
			module := wat.Assemble(t, c.wat)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			h := &host{slice: testSlice, budget: budget}
			m, rt, err := tryLoad(module, h, wazero.NewRuntimeConfig().WithMemoryLimitPages(1024), Config{MaxMemoryPages: 1024})
			compiled := uint64(0)
			if err == nil {
				defer rt.Close(context.Background())
				runtime.ReadMemStats(&after)
				compiled = after.TotalAlloc - before.TotalAlloc
				_, err = m.ExportedFunction("run").Call(context.Background())
				for _, e := range []error{errFuel, errStack} {
					if errors.Is(err, e) && h.used(m) > budget+1<<30 {
						t.Errorf("%d fuel was used of %d", h.used(m), budget)
					}
				}
			}
			runtime.ReadMemStats(&after)
			if c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("ended with %v, want %v", err, c.want)
			}
			if c.want == nil && (errors.Is(err, errFuel) || errors.Is(err, errStack)) {
				t.Fatalf("was ended: %v", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc - compiled; c.want == errStack && took > 64<<20 {
				t.Errorf("the host allocated %d MiB", took>>20)
			}
		})
	}
}

// TestHostRuns shows that a guest that spins stops neither the collector nor
// other goroutines, though all but one processor are taken.
func TestHostRuns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, text := range []string{
		`(module (func (export "run") (loop (br 0))))`,
		chain(60),
		`(module (memory 16) (func (export "run") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000000)) (br 0))))`,
	} {
		var stop atomic.Bool
		h := &host{slice: testSlice, budget: 1 << 50}
		h.onYield = func() {
			if stop.Load() {
				panic(errFuel)
			}
			runtime.Gosched()
		}
		m, _ := load(t, wat.Assemble(t, text), h, wazero.NewRuntimeConfig())
		ended := make(chan error)
		go func() {
			_, err := m.ExportedFunction("run").Call(context.Background())
			ended <- err
		}()
		for range 20 {
			runtime.GC() // would wait for ever for a guest that never yields
		}
		stop.Store(true)
		if err := <-ended; !errors.Is(err, errFuel) {
			t.Errorf("the guest ended with %v", err)
		}
		if h.yields == 0 {
			t.Error("the guest never yielded")
		}
	}
}

// raw is a module of the given sections: id, content, id, content …
func raw(sections ...string) []byte {
	e := emitter{b: []byte("\x00asm\x01\x00\x00\x00")}
	for i := 0; i < len(sections); i += 2 {
		e.byte(sections[i][0])
		e.name(sections[i+1])
	}
	return e.b
}

// one is a module of one function of type () -> () with the given locals and code.
func one(body string) []byte {
	e := emitter{}
	e.byte(1)
	e.name(body)
	return raw("\x01", "\x01\x60\x00\x00", "\x03", "\x01\x00", "\x0a", string(e.b))
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }

func leb(v uint32) string { return string(appendU32(nil, v)) }

// TestRefused holds what must not be compiled, and why.
func TestRefused(t *testing.T) {
	const code, none = "\x0a", "\x01\x60\x00\x00"
	for _, c := range []struct {
		name   string
		module []byte
		says   string
	}{
		{"nothing", nil, "not WebAssembly"},
		{"text", []byte("(module)"), "not WebAssembly"},
		{"a component", []byte("\x00asm\x0d\x00\x01\x00"), "a component"},
		{"a version to come", []byte("\x00asm\x02\x00\x00\x00"), "unknown version"},
		{"too long", append(raw(), make([]byte, maxModule)...), "the limit is 33554432"},
		{"locals past 32 bits", one("\x01\xff\xff\xff\xff\x0f\x7e\x0b"), "4294967295 locals"},
		{"many locals", one("\x02" + leb(25_000) + "\x7e" + leb(25_001) + "\x7f\x0b"), "50001 locals"},
		{"60,000 blocks", one("\x00" + repeat("\x02\x40", 60_000) + repeat("\x0b", 60_001)), "nests more than 1000"},
		{"60,000 blocks in dead code", one("\x00\x00" + repeat("\x02\x40", 60_000) + repeat("\x0b", 60_001)), "nests more than 1000"},
		{"a long function", one("\x00" + repeat("\x01", maxBody) + "\x0b"), "a function of"},
		{"many instructions", one("\x00" + repeat("\x41\x00\x1a", 150_001) + "\x0b"), "more than 300000 instructions"},
		{"many ways", one("\x00" + repeat("\x02\x40", 200) + repeat("\x02\x40\x41\x00\x0e"+leb(200)+allLabels(201)+"\x0b", 500) + repeat("\x0b", 201)), "branches"},
		{"many calls", one("\x00" + repeat("\x10\x00", 100_001) + "\x0b"), "more than 100000 calls"},
		{"many functions", raw("\x01", none, "\x03", leb(maxFunctions+1)+repeat("\x00", maxFunctions+1)), "100001 functions"},
		{"many types", raw("\x01", leb(maxTypes+1)+repeat("\x60\x00\x00", maxTypes+1)), "50001 types"},
		{"many parameters", raw("\x01", "\x01\x60"+leb(1001)+repeat("\x7f", 1001)+"\x00"), "1001 values"},
		{"types that are not there", raw("\x01", leb(50_000)+"\x60\x00\x00"), "do not fit"},
		{"4 G types", raw("\x01", "\xff\xff\xff\xff\x0f"), "4294967295 types"},
		{"4 G imports", raw("\x02", "\xff\xff\xff\xff\x0f"), "4294967295 imports"},
		{"4 G exports", raw("\x07", "\xff\xff\xff\xff\x0f"), "4294967295 exports"},
		{"4 G elements", raw("\x01", none, "\x09", "\x01\x01\x00\xff\xff\xff\xff\x0f"), "elements of segments"},
		{"4 G data", raw("\x0b", "\x01\x01\xff\xff\xff\xff\x0f"), "ends too early"},
		{"4 G targets", one("\x00\x41\x00\x0e\xff\xff\xff\xff\x0f\x00\x0b"), "targets of one br_table"},
		{"4 G bytes of name", raw("\x02", "\x01\xff\xff\xff\xff\x0fa\x00\x00"), "bytes of a name"},
		{"a huge table", raw("\x04", "\x01\x70\x00"+leb(1_000_001)), "tables of 1000001"},
		{"huge tables", raw("\x04", "\x02\x70\x00"+leb(600_000)+"\x70\x00"+leb(600_000)), "tables of 1200000"},
		{"a huge memory", raw("\x05", "\x01\x00"+leb(65_537)), "more than 65536 pages"},
		{"two memories", raw("\x05", "\x02\x00\x01\x00\x01"), "2 memories"},
		{"a section twice", raw("\x01", none, "\x01", none), "wrong place, or twice"},
		{"sections in disorder", raw("\x03", "\x00", "\x01", "\x00"), "wrong place, or twice"},
		{"an unknown section", raw("\x0e", "\x00"), "unknown section, id 14"},
		{"the tag section", raw("\x0d", "\x00"), "unknown section, id 13"},
		{"bytes past a section's end", raw("\x01", none+"\x00"), "bytes too many"},
		{"a section past the end", []byte("\x00asm\x01\x00\x00\x00\x01\x7f\x00"), "ends too early"},
		{"an overlong number", raw("\x01", "\x80\x80\x80\x80\x80\x00"), "longer than 32 bits"},
		{"a type that is no function", raw("\x01", "\x01\x5f\x00\x00"), "not a function type"},
		{"a recursive type", raw("\x01", "\x01\x4e\x01\x60\x00\x00"), "not a function type"},
		{"a typed reference", raw("\x01", "\x01\x60\x01\x63\x70\x00"), "not a value type"},
		{"a function without code", raw("\x01", none, "\x03", "\x01\x00"), "code for 0"},
		{"code without a function", raw(code, "\x01\x02\x00\x0b"), "code without a function"},
		{"code without an end", one("\x00\x01"), "ends too early"},
		{"code after the end", one("\x00\x0b\x0b"), "code after the end"},
		{"else without if", one("\x00\x02\x40\x05\x0b\x0b"), "else without if"},
		{"an unknown instruction", one("\x00\x27\x0b"), "unknown instruction 0x27"},
		{"a tail call", one("\x00\x12\x00\x0b"), "unknown instruction 0x12"},
		{"a throw", one("\x00\x08\x00\x0b"), "unknown instruction 0x08"},
		{"an atomic fence", one("\x00\xfe\x03\x00\x0b"), "unknown instruction 0xfe"},
		{"a relaxed vector instruction", one("\x00\xfd\x80\x02\x0b"), "unknown instruction 0xfd 256"},
		{"a vector instruction spelt at length", one("\x00\xfd\x80\x00\x0b"), "unknown instruction 0xfd 0"},
		{"a bulk instruction to come", one("\x00\xfc\x12\x0b"), "unknown instruction 0xfc 18"},
		{"the meter's global", one("\x00\x42\x00\x24\x00\x0b"), "no global 0"},
		{"the meter's functions", one("\x00\x10\x01\x0b"), "no function 1"},
		{"no such local", one("\x00\x20\x00\x1a\x0b"), "no local 0"},
		{"no such label", one("\x00\x0c\x01\x0b"), "no label 1"},
		{"no such type", one("\x00\x02\x01\x0b\x0b"), "no type 1"},
		{"no operands", one("\x00\x1a\x0b"), "lacks operands"},
		{"an operand left over", one("\x00\x41\x00\x0b"), "ends with 1 operands"},
		{"an export of nothing", raw("\x07", "\x01\x01a\x00\x00"), "no function 0"},
		{"an export twice", raw("\x05", "\x01\x00\x01", "\x07", "\x02\x01a\x02\x00\x01a\x02\x00"), `"a" twice`},
		{"a reserved export", raw("\x05", "\x01\x00\x01", "\x07", "\x01\x10carl:meter/state\x02\x00"), "reserved for the meter"},
		{"a reserved import", raw("\x01", none, "\x02", "\x01\x0acarl:meter\x05yield\x00\x00"), "reserved for the meter"},
		{"a start without a function", raw("\x08", "\x00"), "no function 0"},
		{"a frame without bound", wat.Assemble(t, kept(49_000, "v128")), "bytes of stack for one call"},
		{"a name section twice", raw("\x00", "\x04name", "\x00", "\x04name"), "two name sections"},
		{"a torn name section", raw("\x00", "\x04name\x01\x09"), "ends too early"},
		{"a name that is not UTF-8", raw("\x00", "\x01\xff"), "not UTF-8"},
		{"many custom sections", append(raw(), bytes.Repeat([]byte{0, 1, 0}, maxCustoms+1)...), "custom sections"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := Rewrite(c.module, Config{})
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatal("accepted")
			}
			if fault.CodeOf(err) != fault.PluginBadModule || !strings.Contains(err.Error(), c.says) {
				t.Errorf("refused with: %v; want it to say %q", err, c.says)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20+64*uint64(len(c.module)) {
				t.Errorf("reading %d bytes took %d bytes of memory", len(c.module), took)
			}
			if _, inspected := Inspect(c.module); inspected == nil {
				t.Error("Inspect accepts it")
			}
		})
	}
	module := wat.Assemble(t, `(module (memory 100))`)
	if _, _, err := Rewrite(module, Config{MaxMemoryPages: 99}); err == nil || !strings.Contains(err.Error(), "100 pages at once; the limit is 99") {
		t.Errorf("more memory than allowed: %v", err)
	}
}

// TestMovesAreCharged shows that a loop whose compiled code moves thousands of
// values around, without an instruction that says so, pays for them.
func TestMovesAreCharged(t *testing.T) {
	const locals, rounds = 2000, 50
	var b strings.Builder
	fmt.Fprintf(&b, `(module (memory 1) (func (export "run") (param i32) (local %s) (loop (if (i32.load (i32.const 0)) (then `, strings.Repeat("i64 ", locals))
	for i := range locals {
		fmt.Fprintf(&b, "(local.set %d (i64.load (i32.const %d)))", i+1, 8*i)
	}
	b.WriteString(")) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))")
	for i := range locals {
		fmt.Fprintf(&b, "(i64.store (i32.const %d) (local.get %d))", 8*i, i+1)
	}
	b.WriteString("))")
	h := newHost()
	m, _ := load(t, wat.Assemble(t, b.String()), h, wazero.NewRuntimeConfig())
	if _, err := m.ExportedFunction("run").Call(context.Background(), rounds); err != nil {
		t.Fatal(err)
	}
	if used := h.used(m); used < rounds*(locals-crowded) {
		t.Errorf("charged %d for %d rounds over %d values", used, rounds, locals)
	}
}

// TestCompilerIsSpared refuses functions of a few kilobytes that would keep
// the compiler busy for minutes, or make it hold gigabytes.
func TestCompilerIsSpared(t *testing.T) {
	for _, c := range []struct {
		name   string
		module []byte
		says   string
	}{
		{"many merges", one("\x00" + repeat("\x41\x00\x04\x40\x0b", 20_001) + "\x0b"), "basic blocks"},
		{"many values in use at merges", one("\x01" + leb(2_000) + "\x7f" + repeat("\x41\x00\x04\x40\x0b", 1500) + readAll(2_000) + "\x0b"), "hands on 6000000 values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Inspect(c.module)
			if fault.CodeOf(err) != fault.PluginBadModule || !strings.Contains(err.Error(), c.says) {
				t.Errorf("refused with: %v; want it to say %q", err, c.says)
			}
		})
	}
}

// allLabels is the immediate of a br_table that names labels 0 to n-1.
func allLabels(n int) string {
	var b []byte
	for i := range n {
		b = appendU32(b, uint32(i))
	}
	return string(b)
}

// readAll is code that reads the first n locals.
func readAll(n int) string {
	var b []byte
	for i := range n {
		b = append(appendU32(append(b, byte(opLocalGet)), uint32(i)), 0x1a)
	}
	return string(b)
}
