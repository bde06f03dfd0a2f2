package wasm

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/meter"
)

const (
	// sliceFuel is how much a guest executes between two returns into Go: 0.1 to
	// 0.5 ms of work, so that the garbage collector, which stops every goroutine,
	// never waits longer for a guest.
	sliceFuel = 250_000
	// slicesAStep is after how many slices a guest also steps behind whatever
	// else wants the processor, which costs some 10 µs: about a millisecond, so
	// that a batch of steps never pays and a guest that spins always does.
	slicesAStep = 4
	// startFuel bounds what instantiating may execute: start function, _initialize.
	startFuel = 500_000_000
	// hostCallFuel is charged for each call of an import, on top of one unit a
	// byte that the host moves: a guest that only calls out pays for that too.
	hostCallFuel = 100
	// maxCalls is when an instance is replaced, whatever its state, so that a
	// slow leak in a guest never counts.
	maxCalls = 100_000
	// maxReason bounds what is quoted of a guest's own words in an error.
	maxReason = 512
	// maxMessage bounds a text that a plugin meant for people: an error, a reason.
	maxMessage = 4096
)

// phase is what an instance is doing, which decides what its imports may do.
type phase uint8

const (
	starting   phase = iota // start function and _initialize
	running                 // an exported function of the world
	allocating              // cabi_realloc, on the host's behalf
	returning               // post-return
)

// errStopped unwinds a guest; why it was stopped stands in instance.stop.
var errStopped = errors.New("the guest was stopped")

// An instance is one running copy of a module, used by one goroutine at a time.
type instance struct {
	p       *Plugin
	mod     api.Module
	mem     api.Memory
	linear  *linearMemory
	state   api.MutableGlobal // fuel and stack, see meter.Balance
	realloc api.Function
	funcs   []guestFunc // in the order of exportsOf
	phase   phase
	// cc carries the instance to the imports that the guest calls: wazero hands
	// them the very context that the call began with.
	cc callContext
	// stack is where parameters and results of calls lie, so that a call allocates nothing.
	stack [8]uint64
	// scratch is where a record is made before it is copied into the guest's memory.
	scratch [stepSize]byte

	initial   uint32 // bytes of memory after the start
	calls     int    // since the start
	dead      bool   // trapped or stopped: must not run again
	deadline  time.Time
	budget    int64 // of this call
	given     int64 // of it, to the guest so far
	slices    int   // granted by yield in this call
	hosted    int64 // of it, charged for the host's work
	hostSlice int64 // of that, since others were last let run
	stop      error // why the host ended the call
	log       callLog
	wasi      wasiState
}

// view is the whole of the guest's memory. It holds until the guest runs again.
func (in *instance) view() []byte {
	b, _ := in.mem.Read(0, in.mem.Size())
	return b
}

// guestFunc is an export of the world with its post-return, which may be nil.
type guestFunc struct{ call, post api.Function }

// callContext is the context of a guest's call. It belongs to one instance and
// is set anew for each call.
type callContext struct {
	context.Context
	in *instance
}

// guestOf returns the instance that called an import.
func guestOf(ctx context.Context) *instance { return ctx.(*callContext).in }

// instantiate makes an instance: memory, data, start function, _initialize.
func (p *Plugin) instantiate(ctx context.Context) (*instance, error) {
	in := &instance{p: p, linear: newLinearMemory(p.pages), phase: starting}
	in.cc.in = in
	in.wasi.init(p.cfg.World)
	in.begin(experimental.WithMemoryAllocator(ctx, in.linear), startFuel)
	// A metered module begins without fuel, so its very first charge asks for
	// some: start function and _initialize share one account.
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	mod, err := p.runtime.InstantiateModule(&in.cc, p.compiled, config)
	if err != nil {
		in.wasi.flush(&in.log)
		in.log.flush()
		err = in.ended("its start", err)
		in.linear.Free()
		return nil, err
	}
	in.state = mod.ExportedGlobal(meter.ExportState).(api.MutableGlobal)
	in.bind(mod)
	if start := mod.ExportedFunction(initializeName); start != nil {
		err = in.call(start, in.stack[:])
	}
	in.wasi.flush(&in.log)
	in.log.flush()
	if err != nil {
		in.close()
		return nil, err
	}
	in.initial = in.mem.Size()
	return in, nil
}

// bind finds what the link check saw to be there.
func (in *instance) bind(mod api.Module) {
	in.mod, in.mem = mod, mod.Memory()
	in.realloc = mod.ExportedFunction(reallocName)
	for _, e := range exportsOf(in.p.cfg.World) {
		in.funcs = append(in.funcs, guestFunc{call: mod.ExportedFunction(e.name), post: mod.ExportedFunction(postPrefix + e.name)})
	}
}

// begin starts the account of one call of the host.
func (in *instance) begin(ctx context.Context, budget int64) {
	in.cc.Context = ctx
	in.deadline = time.Now().Add(in.p.cfg.Timeout)
	in.budget, in.given, in.hosted = budget, 0, 0
	in.stop = nil
	in.linear.denied = false
	in.log.begin(in.p.cfg.Log)
	in.wasi.begin()
}

// refuel grants the first slice of a call.
func (in *instance) refuel() {
	in.given, in.slices = min(sliceFuel, in.budget), 0
	in.state.Set(meter.SetBalance(in.state.Get(), in.given))
}

// used is the fuel of this call so far. The guest must not be running.
func (in *instance) used() int64 {
	return in.given - meter.Balance(in.state.Get()) + in.hosted
}

// end closes the account of one call.
func (in *instance) end() {
	in.wasi.flush(&in.log)
	in.log.flush()
	in.calls++
	in.p.note(Usage{Fuel: in.used(), Memory: int64(in.mem.Size())})
	in.cc.Context = nil
}

// worn tells whether the instance must not be used again.
func (in *instance) worn() bool {
	size := in.mem.Size()
	// A memory never shrinks. Seven eighths of the limit is where a guest's own
	// collector begins to work for little; one that started so is left alone.
	high := size > in.initial && uint64(size) > uint64(in.p.pages)<<16/8*7
	return in.dead || in.calls >= maxCalls || high
}

func (in *instance) close() {
	in.dead = true
	if in.mod != nil {
		in.mod.Close(context.Background())
	}
	in.linear.Free()
}

// call runs a function of the guest. Afterwards every view of its memory is void.
func (in *instance) call(fn api.Function, stack []uint64) error {
	if in.dead {
		return in.fault(fault.PluginTrapped, "was used after it had crashed")
	}
	if err := fn.CallWithStack(&in.cc, stack); err != nil {
		return in.ended(fn.Definition().ExportNames()[0], err)
	}
	return nil
}

// run calls a function of the world, whose parameters are on the stack, lifts
// its result, and lets the guest free it. What lift keeps must be copied. The
// error is not nil when the call or the result was illegal.
func (in *instance) run(which int, lift func(l *lifter, ret uint32)) error {
	in.phase = running
	f := in.funcs[which]
	if err := in.call(f.call, in.stack[:]); err != nil {
		return err
	}
	ret := in.stack[0]
	l := newLifter(in.view())
	lift(&l, uint32(ret))
	if l.err != nil {
		return in.badOutput("%w", l.err)
	}
	if f.post == nil {
		return nil
	}
	in.phase = returning
	in.stack[0] = ret
	return in.call(f.post, in.stack[:])
}

// ended says why a call ended before it returned.
func (in *instance) ended(where string, err error) error {
	in.dead = true
	if in.stop != nil {
		return in.stop
	}
	reason, _, _ := strings.Cut(err.Error(), "\n")
	reason = strings.TrimSuffix(strings.TrimPrefix(reason, "wasm error: "), " (recovered by wazero)")
	return in.crashed(where, reason)
}

// crashed is the error of a guest that ended itself.
func (in *instance) crashed(where, reason string) *fault.Error {
	if in.linear.denied {
		return in.fault(fault.PluginOutOfMemory, "wanted more than its %d MiB of memory, and ended in %s: %s", in.p.cfg.MemoryMiB, where, reason)
	}
	if said := in.wasi.lastWords(); said != "" {
		reason += ": " + said
	}
	return in.fault(fault.PluginTrapped, "crashed in %s: %s", where, reason)
}

// halt ends the guest that called an import. It does not return.
func (in *instance) halt(why error) {
	in.dead = true
	if in.stop == nil {
		in.stop = why
	}
	panic(errStopped)
}

func (in *instance) fault(code fault.Code, format string, args ...any) *fault.Error {
	return pluginFault(in.p.cfg.Name, code, format, args...)
}

func pluginFault(name string, code fault.Code, format string, args ...any) *fault.Error {
	return fault.New(code, "plugin %q "+format, append([]any{name}, args...)...)
}

// badOutput condemns the instance for something that the contract does not allow.
func (in *instance) badOutput(format string, args ...any) *fault.Error {
	in.dead = true
	return in.fault(fault.PluginBadOutput, "broke its contract: "+format, args...)
}

// yield is called by the metered guest when its balance is below zero. It
// returns the next slice, or ends the call.
func (in *instance) yield(balance int64) int64 {
	in.check()
	used := in.given - balance
	left := in.budget - used - in.hosted
	if left <= 0 {
		in.exhausted()
	}
	// The scheduler would leave the processor to this goroutine for 10 ms at a
	// time; on one processor, whoever waits in steps waits that long for each.
	if in.slices++; in.slices%slicesAStep == 0 {
		runtime.Gosched()
	}
	slice := min(sliceFuel, left)
	in.given = used + slice
	return slice
}

func (in *instance) exhausted() {
	in.halt(in.fault(fault.PluginFuelExhausted, "used up its %d units of fuel", in.budget))
}

// check ends the call when its time is over.
func (in *instance) check() {
	if why := in.overdue(); why != nil {
		in.halt(why)
	}
}

func (in *instance) overdue() *fault.Error {
	if err := in.cc.Err(); err != nil {
		return interrupted(in.p.cfg.Name, context.Cause(in.cc.Context))
	}
	if in.p.life.Err() != nil {
		return interrupted(in.p.cfg.Name, errClosed)
	}
	if !time.Now().Before(in.deadline) {
		return in.fault(fault.PluginTimeout, "took longer than its %s", in.p.cfg.Timeout)
	}
	return nil
}

var errClosed = errors.New("the plugin was closed")

func interrupted(name string, cause error) *fault.Error {
	return fault.New(fault.Interrupted, "plugin %q was interrupted: %w", name, cause)
}

// charge accounts for work that the host does for the guest, and looks at the clock.
func (in *instance) charge(bytes uint64) {
	cost := hostCallFuel + int64(min(bytes, 1<<32))
	in.hosted += cost
	if in.hosted > in.budget {
		in.exhausted()
	}
	in.check()
	// A guest that has the host work for it returns into Go often enough, but
	// never waits.
	if in.hostSlice += cost; in.hostSlice > sliceFuel {
		in.hostSlice = 0
		runtime.Gosched()
	}
}
