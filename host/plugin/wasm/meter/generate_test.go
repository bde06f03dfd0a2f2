package meter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tetratelabs/wazero"
	"pgregory.net/rapid"
)

// generator draws programs that validate.
type generator struct {
	t         *rapid.T
	functions int
	labels    []int // operands that each open label takes, the function's first
	budget    int   // nodes left
}

func (g *generator) draw(n int) int { return rapid.IntRange(0, n-1).Draw(g.t, "n") }

func drawProgram(t *rapid.T) *program {
	g := &generator{t: t, functions: 1 + rapid.IntRange(0, 3).Draw(t, "functions")}
	p := new(program)
	for i := range g.functions {
		g.budget = 60
		results := resultsOf(uint32(i))
		g.labels = []int{results}
		p.functions = append(p.functions, g.sequence(0, results, 0))
	}
	return p
}

// sequence draws code that finds height operands and leaves results.
func (g *generator) sequence(height, results, depth int) []node {
	var seq []node
	add := func(n node, delta int) {
		seq = append(seq, n)
		height += delta
	}
	number := func(v uint32) { add(node{op: opI32Const, arg: v}, 1) }
	small := func(limit int) { number(uint32(g.draw(limit))) }
	for range 1 + g.draw(8) {
		if g.budget--; g.budget < 0 {
			break
		}
		switch choice := g.draw(24); choice {
		case 0, 1:
			number(uint32(rapid.SampledFrom([]int64{0, 1, 2, 3, 7, 64, 255, 4096, 65535, 65536, -1, -2, 1 << 31}).Draw(g.t, "const")))
		case 2, 3:
			add(node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, 1)
		case 4:
			add(node{op: opGlobalGet, arg: uint32(g.draw(programGlobals))}, 1)
		case 5, 6, 7, 8:
			if height == 0 {
				add(node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, 1)
			}
			switch choice {
			case 5:
				add(node{op: opLocalSet, arg: uint32(g.draw(programLocals))}, -1)
			case 6:
				add(node{op: opLocalTee, arg: uint32(g.draw(programLocals))}, 0)
			case 7:
				add(node{op: opGlobalSet, arg: uint32(g.draw(programGlobals))}, -1)
			case 8:
				add(node{op: opEqz}, 0)
			}
		case 9, 10:
			for height < 2 {
				add(node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, 1)
			}
			add(node{op: rapid.SampledFrom([]code{opAdd, opAdd, opMul, opXor, opDivU}).Draw(g.t, "op")}, -1)
		case 11:
			small(300)
			add(node{op: opLoad8, arg: uint32(g.draw(100))}, 0)
		case 12:
			small(300)
			add(node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, 1)
			add(node{op: opStore8, arg: uint32(g.draw(100))}, -2)
		case 13:
			small(300)
			add(node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, 1)
			small(500)
			add(node{op: opMemoryFill}, -3)
		case 14:
			small(60000)
			small(60000)
			small(8000) // now and then past the end
			add(node{op: opMemoryCopy}, -3)
		case 15:
			if g.draw(2) == 0 {
				add(node{op: opMemorySize}, 1)
			} else {
				small(2)
				add(node{op: opMemoryGrow}, 0)
			}
		case 16, 17, 18:
			if depth > 6 {
				continue
			}
			n := node{op: []code{opBlock, opLoop, opIf}[choice-16], params: g.draw(min(height, maxArity) + 1), results: g.draw(maxArity + 1)}
			if n.op == opIf {
				add(node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, 0)
			}
			label := n.results
			if n.op == opLoop {
				label = n.params
			}
			g.labels = append(g.labels, label)
			n.body = g.sequence(n.params, n.results, depth+1)
			if n.op == opIf && (n.params != n.results || g.draw(2) == 0) {
				n.other = g.sequence(n.params, n.results, depth+1)
			}
			g.labels = g.labels[:len(g.labels)-1]
			add(n, n.results-n.params)
		case 19, 20:
			target := uint32(g.draw(len(g.labels)))
			for height < g.arity(target) {
				number(0)
			}
			add(node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, 0)
			add(node{op: opBrIf, arg: target}, 0)
		case 21:
			for height < 2 {
				small(9)
			}
			callee := uint32(g.draw(g.functions))
			if g.draw(2) == 0 {
				add(node{op: opCall, arg: callee}, resultsOf(callee)-2)
			} else {
				small(g.functions + 1) // now and then past the end of the table, or of another type
				add(node{op: opCallIndirect, arg: callee}, resultsOf(callee)-3)
			}
		case 22:
			add(node{op: opNop}, 0)
		default:
			return g.leave(seq, height)
		}
	}
	for ; height > results; height-- {
		seq = append(seq, node{op: opDrop})
	}
	for height < results {
		number(5)
	}
	return seq
}

func (g *generator) arity(depth uint32) int { return g.labels[len(g.labels)-1-int(depth)] }

// leave ends a sequence with a jump or a trap, and code after it that is never reached.
func (g *generator) leave(seq []node, height int) []node {
	target := uint32(g.draw(len(g.labels)))
	want := g.arity(target)
	kind := g.draw(4)
	if kind == 2 {
		want = g.labels[0]
	}
	for ; height < want; height++ {
		seq = append(seq, node{op: opI32Const, arg: uint32(height)})
	}
	switch kind {
	case 0:
		seq = append(seq, node{op: opBr, arg: target})
	case 1:
		labels := []uint32{target}
		for other := range uint32(len(g.labels)) {
			if g.arity(other) == want && g.draw(2) == 0 {
				labels = append(labels, other)
			}
		}
		seq = append(seq, node{op: opLocalGet, arg: uint32(g.draw(programLocals))}, node{op: opBrTable, labels: labels})
	case 2:
		seq = append(seq, node{op: opReturn})
	case 3:
		seq = append(seq, node{op: opUnreachable})
	}
	dead := []node{{op: opDrop}, {op: opBr, arg: 0}, {op: opReturn}, {op: opNop}, {op: opCall, arg: 0},
		{op: opBlock, body: []node{{op: opLocalGet}, {op: opBrIf, arg: 0}}}, {op: opLoop, body: []node{{op: opBr, arg: 0}}},
		{op: opIf, body: []node{{op: opUnreachable}}, other: []node{{op: opNop}}}, {op: opUnreachable}}
	for range g.draw(3) {
		seq = append(seq, dead[g.draw(len(dead))])
	}
	if g.draw(2) == 0 {
		seq = append(seq, node{op: opUnreachable}) // what stands before may have given a type to the stack
	}
	return append(seq, node{op: opUnreachable})
}

// outcome is all that can be seen of a run.
type outcome struct {
	results []uint32
	trapped bool
	memory  []byte
	globals [programGlobals]uint32
}

func (o outcome) String() string { return fmt.Sprint(o.results, o.trapped, len(o.memory), o.globals) }

func (o outcome) equal(p outcome) bool {
	return o.String() == p.String() && bytes.Equal(o.memory, p.memory)
}

// runProgram runs the first function of a module, and gives what it did and the fuel.
func runProgram(t *rapid.T, module []byte, h *host, args [2]uint32) (out outcome, used int64, err error) {
	m, rt, err := tryLoad(module, h, wazero.NewRuntimeConfig(), Config{})
	if err != nil {
		t.Fatalf("%v\n%x", err, module)
	}
	defer rt.Close(context.Background())
	results, err := m.ExportedFunction("a").Call(context.Background(), uint64(args[0]), uint64(args[1]))
	if h != nil {
		used = h.used(m)
	}
	if errors.Is(err, errFuel) || errors.Is(err, errStack) {
		return out, used, err
	}
	out.trapped = err != nil
	for _, r := range results {
		out.results = append(out.results, uint32(r))
	}
	for i := range out.globals {
		out.globals[i] = uint32(m.ExportedGlobal(string(rune('0' + i))).Get())
	}
	memory, _ := m.Memory().Read(0, m.Memory().Size())
	out.memory = bytes.Clone(memory)
	return out, used, nil
}

// TestGeneratedPrograms holds generated control flow against an interpreter:
// results, traps, memory and globals are the same, plain and metered; the fuel
// is at least the instructions executed, at most 1 + maxLoss times as many, and the same
// however it is handed out; and what does not end is ended.
func TestGeneratedPrograms(t *testing.T) {
	const limit = 20_000
	ended, endless, trapped := 0, 0, 0
	check := func(t *rapid.T) {
		p := drawProgram(t)
		module := p.module()
		args := [2]uint32{uint32(rapid.IntRange(-1, 9).Draw(t, "a")), uint32(rapid.IntRange(0, 3).Draw(t, "b"))}
		oracle := newMachine(p, limit)
		results, fault := oracle.call(0, args[:])
		h := &host{slice: 100, budget: 3 * limit}
		got, used, err := runProgram(t, module, h, args)
		if errors.Is(fault, errNotEnded) {
			endless++
			if err == nil && used < oracle.executed {
				t.Fatalf("charged %d for more than %d instructions", used, oracle.executed)
			}
			return
		}
		if err != nil {
			t.Fatalf("%d instructions were stopped: %v", oracle.executed, err)
		}
		ended++
		want := outcome{results: results, trapped: fault != nil, memory: oracle.memory, globals: oracle.globals}
		if want.trapped {
			trapped++
		}
		if !got.equal(want) {
			t.Fatalf("metered: %v, interpreted: %v", got, want)
		}
		if plain, _, _ := runProgram(t, module, nil, args); !plain.equal(want) {
			t.Fatalf("plain: %v, interpreted: %v", plain, want)
		}
		if used < oracle.executed {
			t.Fatalf("charged %d for %d instructions", used, oracle.executed)
		}
		// A trap wastes what was charged ahead; memory.grow costs by the page.
		if most := (1+maxLoss)*oracle.executed + 60*programMaxPages<<pageCostShift; !want.trapped && used > most {
			t.Fatalf("charged %d for %d instructions", used, oracle.executed)
		}
		h = &host{slice: 7777, budget: 3 * limit}
		if _, again, _ := runProgram(t, module, h, args); again != used {
			t.Fatalf("%d fuel, then %d", used, again)
		}
	}
	for range 5 { // a hundred programs each, where no flag says otherwise
		rapid.Check(t, check)
	}
	t.Logf("%d ended, %d of them trapped, %d did not end", ended, trapped, endless)
	if ended < 20 || trapped == 0 || endless == 0 {
		t.Errorf("the generator is lopsided: %d ended, %d trapped, %d did not end", ended, trapped, endless)
	}
}
