package wasm

import (
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"carl.camp/carl/host/plugin/wasm/internal/wat"
	"carl.camp/carl/host/world"
)

// TestWASIIsComplete compares the names and types with wazero's own set: a
// function that is missing here would refuse a guest for no reason.
func TestWASIIsComplete(t *testing.T) {
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	theirs, err := wasi_snapshot_preview1.NewBuilder(r).Compile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]hostFunc{}
	for _, f := range wasiFuncs() {
		if _, twice := ours[f.name]; twice {
			t.Errorf("%s is there twice", f.name)
		}
		ours[f.name] = f
	}
	want := theirs.ExportedFunctions()
	if len(want) < 40 || len(ours) != len(want) {
		t.Errorf("%d functions, wazero has %d", len(ours), len(want))
	}
	for name, def := range want {
		f, ok := ours[name]
		if !ok {
			t.Errorf("%s is missing", name)
		} else if !slices.Equal(valueTypes(f.params), def.ParamTypes()) || !slices.Equal(valueTypes(f.results), def.ResultTypes()) {
			t.Errorf("%s is %s, and wazero's is %v -> %v", name, signature(f.params, f.results), def.ParamTypes(), def.ResultTypes())
		}
	}
}

// probe is a guest that gives what it learnt from WASI as the data of a signal.
const probe = `(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 3000) "one\ntwo\n\1b[31mthree\nhalf")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 32768))
  ;; what is learnt lies from 2048 on, as hex digits in 4096 on
  (func $learn
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 2048)))
    ;; sleep for 90 seconds: a relative clock
    (i32.store8 (i32.const 1032) (i32.const 0))
    (i32.store (i32.const 1040) (i32.const 1))
    (i64.store (i32.const 1048) (i64.const 90000000000))
    (i32.store8 offset=10 (i32.const 1200) (i32.const 9))
    (i32.store (i32.const 2056) (call $poll (i32.const 1024) (i32.const 1200) (i32.const 1) (i32.const 2060)))
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 2064)))
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 2072)))
    (i32.store (i32.const 2080) (call $random (i32.const 2084) (i32.const 12)))
    (i32.store (i32.const 2096) (call $prestat (i32.const 3) (i32.const 0)))
    (i64.store (i32.const 2100) (i64.const -1))
    (i32.store (i32.const 2108) (i32.add (call $args (i32.const 2100) (i32.const 2104)) (i32.add (i32.load (i32.const 2100)) (i32.load (i32.const 2104)))))
    (i64.store (i32.const 2100) (i64.const -1))
    (i32.store (i32.const 2112) (i32.add (call $environ (i32.const 2100) (i32.const 2104)) (i32.add (i32.load (i32.const 2100)) (i32.load (i32.const 2104)))))
    (i32.store (i32.const 2116) (call $fdstat (i32.const 3) (i32.const 0)))
    (i32.store (i32.const 2120) (call $clock (i32.const 2) (i64.const 0) (i32.const 0)))
    (i32.store (i32.const 16) (i32.const 3000))
    (i32.store (i32.const 20) (i32.const 24))
    (i32.store (i32.const 2124) (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 2128)))
    (i32.store (i32.const 2132) (call $write (i32.const 3) (i32.const 16) (i32.const 1) (i32.const 0)))
    (i32.store (i32.const 2136) (i32.const 77))
    (i32.store (i32.const 2140) (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 2136)))
  )
  (func (export "FUNCTION") (param i32 i32) (result i32)
    (local $i i32) (local $v i32)
    (call $learn)
    (loop $l
      (local.set $v (i32.load8_u offset=2048 (local.get $i)))
      (i32.store8 offset=4096 (i32.mul (local.get $i) (i32.const 2)) (i32.add (i32.const 97) (i32.shr_u (local.get $v) (i32.const 4))))
      (i32.store8 offset=4097 (i32.mul (local.get $i) (i32.const 2)) (i32.add (i32.const 97) (i32.and (local.get $v) (i32.const 15))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 96))))
    (i32.store8 (i32.const 6000) (i32.const 1))
    (i32.store (i32.const 6004) (i32.const 4096))
    (i32.store (i32.const 6008) (i32.const 192))
    EXTRA
    (i32.const 6000))
  DELIVER)
`

// learnt undoes the digits of probe.
func learnt(t *testing.T, text string) []byte {
	t.Helper()
	if len(text) != 192 {
		t.Fatalf("the guest says %q", text)
	}
	out := make([]byte, 96)
	for i := range out {
		out[i] = (text[2*i]-'a')<<4 | (text[2*i+1] - 'a')
	}
	return out
}

func TestWASIPure(t *testing.T) {
	var lines []string
	text := replace(probe, "FUNCTION", mapperPrefix+"map-steps", "EXTRA", "", "DELIVER", "")
	p := load(t, wat.Assemble(t, text), Config{Name: "p", World: SignalMapper, Log: func(l world.LogLevel, m string) { lines = append(lines, m) }})
	ask := func(fresh bool) []byte {
		t.Helper()
		_, err := p.Mapper().Map(ctx, nil, fresh)
		return learnt(t, failedMessage(t, err))
	}
	first := ask(true)
	if got := le.Uint64(first[0:]); got != 0 {
		t.Errorf("the clock of a pure guest starts at %d", got)
	}
	if errno, events := le.Uint32(first[8:]), le.Uint32(first[12:]); errno != 0 || events != 1 {
		t.Errorf("poll_oneoff: errno %d, %d events", errno, events)
	}
	if got := time.Duration(le.Uint64(first[16:])); got != 90*time.Second {
		t.Errorf("after a sleep of 90 s the clock says %s", got)
	}
	if got := time.Duration(le.Uint64(first[24:])); got != 90*time.Second+1 {
		t.Errorf("and the monotonic one %s", got)
	}
	checkDenied(t, first)
	again := ask(true)
	if string(again) != string(first) {
		t.Errorf("two fresh instances learn different things:\n%x\n%x", first, again)
	}
	later := ask(false)
	if got := time.Duration(le.Uint64(later[0:])); got != 90*time.Second {
		t.Errorf("the second call of an instance begins at %s", got)
	}
	if string(later[36:48]) == string(first[36:48]) {
		t.Error("random bytes repeat within an instance")
	}
	if want := []string{"one", "two", " [31mthree", "half"}; !slices.Equal(lines[:4], want) {
		t.Errorf("stderr came as %q, want %q", lines[:4], want)
	}
}

// checkDenied looks at what both kinds of guest get alike.
func checkDenied(t *testing.T, b []byte) {
	t.Helper()
	for _, c := range []struct {
		what string
		at   int
		want uint32
	}{
		{"random_get", 32, 0}, {"fd_prestat_get", 48, errnoBadf}, {"args_sizes_get", 60, 0}, {"environ_sizes_get", 64, 0},
		{"fd_fdstat_get of 3", 68, errnoBadf}, {"clock 2", 72, errnoInval}, {"fd_write", 76, 0}, {"bytes written", 80, 24},
		{"fd_write to 3", 84, errnoBadf}, {"bytes read", 88, 0}, {"fd_read", 92, 0},
	} {
		if got := le.Uint32(b[c.at:]); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

func TestWASIForwarder(t *testing.T) {
	// open answers a failure whose message is what was learnt; a forwarder really
	// sleeps, so the 90 s become 3 ms.
	text := replace(probe, "FUNCTION", forwarderPrefix+"open", "90000000000", "3000000",
		"EXTRA", `(i32.store8 (i32.const 6008) (i32.const 0)) (i32.store (i32.const 6012) (i32.const 4096)) (i32.store (i32.const 6016) (i32.const 192))`,
		"DELIVER", `(func (export "`+forwarderPrefix+`deliver") (param i32 i32 i32) (result i32) (i32.const 0))`)
	p := load(t, wat.Assemble(t, text), Config{Name: "f", World: EventForwarder})
	ask := func() []byte {
		t.Helper()
		f, ok := p.Forwarder().Open(ctx, nil).(*world.Failure)
		if !ok {
			t.Fatal("no failure")
		}
		return learnt(t, f.Message)
	}
	before := time.Now().Truncate(time.Millisecond)
	first := ask()
	began, ended := time.Unix(0, int64(le.Uint64(first[0:]))), time.Unix(0, int64(le.Uint64(first[16:])))
	if began.Before(before) || ended.After(time.Now()) || ended.Sub(began) < 2*time.Millisecond {
		t.Errorf("a real clock says %s, then %s; it was asked after %s", began, ended, before)
	}
	if began.Nanosecond()%1e6 != 0 {
		t.Errorf("the clock is finer than a millisecond: %s", began)
	}
	checkDenied(t, first)
	if second := ask(); string(second[36:48]) == string(first[36:48]) {
		t.Error("real randomness repeats")
	}
}
