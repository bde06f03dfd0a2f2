package wasm

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/internal/wat"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

var ctxStart = time.Unix(1_000_000_000, 0)

// TestFuelIsDeterministic maps the same steps on fresh instances of two
// loaded plugins, after different histories.
func TestFuelIsDeterministic(t *testing.T) {
	module := goGuest(t, "carl.camp/carl/plugins/axon")
	steps := madeSteps(20)
	var fuel []int64
	var first any
	for range 2 {
		p := load(t, module, Config{World: SignalMapper})
		for i := range 3 {
			if _, err := p.Mapper().Map(ctx, madeSteps(i*7), false); err != nil {
				t.Fatal(err)
			}
			got, err := p.Mapper().Map(ctx, steps, true)
			if err != nil {
				t.Fatal(err)
			}
			fuel = append(fuel, p.LastFuel())
			if first == nil {
				first = got
			}
			if !reflect.DeepEqual(got, first) {
				t.Error("the same steps gave other signals")
			}
		}
	}
	for _, f := range fuel {
		if f != fuel[0] || f <= 0 {
			t.Fatalf("the same steps on fresh instances used %d", fuel)
		}
	}
}

// TestFuelIsTheBudget holds what a call is said to use against budgets.
func TestFuelIsTheBudget(t *testing.T) {
	module := wat.Assemble(t, "testdata/mapper.wat")
	steps := madeSteps(8)
	use := func(budget int64) (int64, error) {
		p := load(t, module, Config{World: SignalMapper, Fuel: budget})
		_, err := p.Mapper().Map(ctx, steps, true)
		return p.LastFuel(), err
	}
	used, err := use(1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := use(used + 1); err != nil {
		t.Errorf("a budget of one more than the %d it uses: %v", used, err)
	}
	// The balance is compared at loops and entries: the end of a call may pass the
	// last comparison, but not the half of it.
	_, err = use(used / 2)
	wantCode(t, err, fault.PluginFuelExhausted)
}

// TestBudgetGrowsWithTheInput: a mapper's budget is 50 M, 5 M a step and 1,000 a byte.
func TestBudgetGrowsWithTheInput(t *testing.T) {
	for _, c := range []struct {
		world        World
		asked        int64
		steps, bytes int
		want         int64
	}{
		{SignalMapper, 0, 0, 0, 50_000_000},
		{SignalMapper, 0, 64, 1000, 50_000_000 + 64*5_000_000 + 1000*1000},
		{SignalMapper, 7, 64, 1000, 7},
		{ArgsTranslator, 0, 0, 0, 2_000_000_000},
		{EventForwarder, 0, 0, 0, 2_000_000_000},
	} {
		if got := budgetOf(c.world, c.asked).of(c.steps, c.bytes); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

func TestContextEndsACall(t *testing.T) {
	p := load(t, hostileModule(t, "fuel-loop.wat"), Config{World: SignalMapper, Fuel: 1 << 60, Timeout: time.Minute})
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := p.Mapper().Map(ended, nil, false)
	wantCode(t, err, fault.Interrupted)
	due, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = p.Mapper().Map(due, nil, false)
	wantCode(t, err, fault.Interrupted)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap what ended the context", err)
	}
	_, err = Load(ended, wat.Assemble(t, "testdata/mapper.wat"), Config{World: SignalMapper})
	wantCode(t, err, fault.Interrupted)
}

// TestContextEndsACompilation leaves the compiler in the middle of its work.
func TestContextEndsACompilation(t *testing.T) {
	module := goGuest(t, "carl.camp/carl/plugins/axon")
	due, cancel := context.WithCancel(ctx)
	dir := t.TempDir() + "/cache"
	_, err := Load(due, module, Config{World: SignalMapper, CacheDir: dir, Compiling: func() { time.AfterFunc(5*time.Millisecond, cancel) }})
	wantCode(t, err, fault.Interrupted)
	if entries := cached(t, dir); len(entries) != 0 {
		t.Errorf("what was not compiled is cached: %q", entries)
	}
	if _, err := load(t, module, Config{World: SignalMapper, CacheDir: dir}).Mapper().Map(ctx, madeSteps(1), false); err != nil {
		t.Error(err)
	}
}

// TestGoMapperAtItsLimits hands the bundled mapper what tests hand to plugins.
func TestGoMapperAtItsLimits(t *testing.T) {
	p := load(t, goGuest(t, "carl.camp/carl/plugins/axon"), Config{World: SignalMapper})
	m := p.Mapper()
	signals, err := m.Map(ctx, madeSteps(10_000), true)
	if err != nil || len(signals) < 10_000/2 {
		t.Errorf("10,000 steps: %d signals, %v", len(signals), err)
	}
	big := madeSteps(1)
	big[0].Action = step.LLMReply
	big[0].Input = []byte(`"` + strings.Repeat(`\u00e9\n`, 1<<20/8-1) + `"`)
	big[0].Output = []byte(`{"a":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`)
	signals, err = m.Map(ctx, big, true)
	if err != nil || len(signals) == 0 {
		t.Errorf("a step of a megabyte: %v, %v", signals, err)
	}
	for _, s := range signals {
		if !jsontext.Value(s.Data).IsValid() {
			t.Errorf("the data of %s is not JSON", s.Type)
		}
	}
	if signals, err := m.Map(ctx, nil, true); err != nil || len(signals) != 0 {
		t.Errorf("no steps: %v, %v", signals, err)
	}
	for range 300 { // the guest's collector has work to do, and a memory to stay within
		if _, err := m.Map(ctx, big, false); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoMapperInLittleMemory runs it in the least that the contract promises.
func TestGoMapperInLittleMemory(t *testing.T) {
	p := load(t, goGuest(t, "carl.camp/carl/plugins/axon"), Config{World: SignalMapper, MemoryMiB: 4})
	for range 50 {
		if _, err := p.Mapper().Map(ctx, madeSteps(16), false); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTimeLimit(t *testing.T) {
	p := load(t, hostileModule(t, "fuel-loop.wat"), Config{World: SignalMapper, Fuel: 1 << 60, Timeout: 30 * time.Millisecond})
	_, err := p.Mapper().Map(ctx, nil, false)
	wantCode(t, err, fault.PluginTimeout, "30ms")
	p = load(t, hostileModule(t, "fuel-start.wat"), Config{World: SignalMapper, Timeout: time.Millisecond})
	_, err = p.Mapper().Map(ctx, nil, false)
	wantCode(t, err, fault.PluginTimeout)
}

// TestPool maps from many goroutines at once: each gets its own answer, and
// no more instances are made than there are processors.
func TestPool(t *testing.T) {
	p := load(t, wat.Assemble(t, "testdata/mapper.wat"), Config{World: SignalMapper})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 20 {
				steps := []step.Step{{ID: "aabbccddeeff", Action: fmt.Sprintf("A_%d_%d", g, i), Name: "n"}}
				got, err := p.Mapper().Map(ctx, steps, i%5 == 0)
				if err != nil || len(got) != 1 || got[0].Type != steps[0].Action {
					t.Errorf("got %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(p.pool.idle); n > runtime.GOMAXPROCS(0) || n == 0 {
		t.Errorf("%d instances are idle", n)
	}
}

// TestInstancesAreReplaced: after maxCalls calls, at the high-water mark, and for a fresh call.
func TestInstancesAreReplaced(t *testing.T) {
	p := load(t, wat.Assemble(t, "testdata/mapper.wat"), Config{World: SignalMapper, MemoryMiB: 1})
	idle := func() *instance {
		if len(p.pool.idle) == 0 {
			return nil
		}
		return p.pool.idle[0]
	}
	call := func(steps []step.Step, fresh bool) {
		t.Helper()
		if _, err := p.Mapper().Map(ctx, steps, fresh); err != nil {
			t.Fatal(err)
		}
	}
	call(nil, false)
	first := idle()
	call(nil, false)
	if idle() != first {
		t.Error("an instance was thrown away without need")
	}
	call(nil, true)
	if idle() == first {
		t.Error("a fresh call ran on an instance with a history")
	}
	first = idle()
	first.calls = maxCalls - 1
	call(nil, false)
	if idle() != nil {
		t.Error("an instance outlived its calls")
	}
	call([]step.Step{{ID: "aabbccddeeff", Action: "X", Name: "n", Input: make([]byte, 13<<16)}}, false)
	if idle() != nil {
		t.Error("an instance outlived its memory's high-water mark")
	}
	_, err := p.Mapper().Map(ctx, []step.Step{{ID: "aabbccddeeff", Action: "X", Name: "n", Input: make([]byte, 17<<16)}}, false)
	wantCode(t, err, fault.PluginOutOfMemory, "1 MiB", "cabi_realloc")
	_, err = p.Mapper().Map(ctx, make([]step.Step, maxSteps+1), false)
	wantCode(t, err, fault.Usage)
}

// TestClose ends what runs and refuses what comes after.
func TestClose(t *testing.T) {
	for _, file := range []string{"fuel-loop.wat", "forwarder-sleeps.wat"} {
		p := load(t, hostileModule(t, file), Config{World: hostileWorld(file), Fuel: 1 << 60, Timeout: time.Minute})
		done := make(chan error, 1)
		go func() { done <- exercise(p) }()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			running := len(p.pool.slots) > 0
			if f := p.Forwarder(); f != nil {
				running = !f.mu.TryLock()
				if !running {
					f.mu.Unlock()
				}
			}
			if running || time.Now().After(deadline) {
				break
			}
		}
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		wantCode(t, <-done, fault.Interrupted, "closed")
		wantCode(t, exercise(p), fault.Interrupted, "closed")
		if err := p.Close(ctx); err != nil {
			t.Errorf("closed twice: %v", err)
		}
	}
}

// TestNoInstanceIsLeaked counts what is mapped after instances that failed in
// every way.
func TestNoInstanceIsLeaked(t *testing.T) {
	if resident() == 0 {
		t.Skip("needs /proc")
	}
	for _, file := range []string{"trap-start.wat", "fuel-realloc.wat", "memory-bomb.wat", "trap-initialize.wat"} {
		p := load(t, hostileModule(t, file), Config{World: SignalMapper, MemoryMiB: 64, Fuel: 10_000_000})
		before := mapped(t)
		for range 20 {
			if err := exercise(p); err == nil {
				t.Fatal("not stopped")
			}
		}
		// Each instance reserves its 64 MiB.
		if after := mapped(t); after-before > 512<<20 {
			t.Errorf("%s: %d MiB of address space are lost", file, (after-before)>>20)
		}
	}
}

func TestClean(t *testing.T) {
	for _, c := range []struct {
		in   string
		most int
		want string
	}{
		{"plain text", 100, "plain text"},
		{"a\nb\tc\x00d\x7f", 100, "a b c d"},
		{"\x1b[2Jgone", 100, " [2Jgone"},
		{"caf\xe9", 100, "caf\uFFFD"},
		{"\u202eevil\u2066", 100, " evil"},
		{"too long", 3, "too …"},
		{"ab€", 3, "ab …"},
		{"ab€", 5, "ab€"},
	} {
		if got := clean([]byte(c.in), c.most); got != c.want {
			t.Errorf("clean(%q, %d) = %q, want %q", c.in, c.most, got, c.want)
		}
	}
}

// TestUnwindingIsInterrupted ends a call at the bottom of a deep recursion
// whose every frame has much to do on its way out. What it charged on its way
// down must not let it run on without asking.
func TestUnwindingIsInterrupted(t *testing.T) {
	p := load(t, wat.Assemble(t, `(module
  (import "carl:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (func $down (param $n i32) (result i32)
    (if (local.get $n)
      (then (drop (call $down (i32.sub (local.get $n) (i32.const 1)))))
      (else (call $log (i32.const 0) (i32.const 0) (i32.const 1))))
    (local.get $n)`+strings.Repeat("(i32.xor (i32.const 5))", 2000)+`)
  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param i32 i32) (result i32)
    (drop (call $down (i32.const 2000)))
    (i32.const 1024)))`), Config{World: SignalMapper})
	if _, err := p.Mapper().Map(ctx, madeSteps(1), false); err != nil {
		t.Fatal(err)
	}
	interrupted, cancel := context.WithCancel(ctx)
	p.cfg.Log = func(world.LogLevel, string) { cancel() }
	_, err := p.Mapper().Map(interrupted, madeSteps(1), false)
	wantCode(t, err, fault.Interrupted)
}

// TestPrintingIsInterrupted ends a call while one write of many lines is
// passed on, and holds its fuel against the lines.
func TestPrintingIsInterrupted(t *testing.T) {
	module := wat.Assemble(t, `(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 32)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (func (export "carl:plugin/mapper@0.1.0#map-steps") (param i32 i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 10) (i32.const 1000000))
    (i32.store (i32.const 0) (i32.const 65536))
    (i32.store (i32.const 4) (i32.const 1000000))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))
    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 12))
    (i32.const 1024)))`)
	interrupted, cancel := context.WithCancel(ctx)
	lines := 0
	p := load(t, module, Config{World: SignalMapper, Log: func(world.LogLevel, string) { lines++; cancel() }})
	_, err := p.Mapper().Map(interrupted, madeSteps(1), false)
	wantCode(t, err, fault.Interrupted)
	if lines > hostChunk+1 {
		t.Errorf("%d lines were passed on after the end", lines)
	}
	if _, err := p.Mapper().Map(ctx, madeSteps(1), false); err != nil {
		t.Fatal(err)
	}
	if fuel := p.LastFuel(); fuel < 1_000_000*logLineCost {
		t.Errorf("a million lines cost %d", fuel)
	}
}

// TestRequestCostsWhatItCarries sends one small request.
func TestRequestCostsWhatItCarries(t *testing.T) {
	p := load(t, wat.Assemble(t, `(module
  (import "carl:plugin/http@0.1.0" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  (func (export "carl:plugin/forwarder@0.1.0#open") (param i32 i32) (result i32)
    (call $send (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 0) (i32.const 0) (i32.const 2048))
    (i32.const 1024))
  (func (export "carl:plugin/forwarder@0.1.0#deliver") (param i32 i32 i32) (result i32) (i32.const 1024)))`), Config{World: EventForwarder})
	if err := p.Forwarder().Open(ctx, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if fuel := p.LastFuel(); fuel > 2000 || fuel < 112 {
		t.Errorf("a request of 112 bytes cost %d", fuel)
	}
}
