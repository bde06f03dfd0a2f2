package wasm

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"carl.camp/carl/host/step"
)

// unmetered stands for the fuel global in a module that was not rewritten.
type unmetered struct {
	api.MutableGlobal
	v uint64
}

func (u *unmetered) Get() uint64  { return u.v }
func (u *unmetered) Set(v uint64) { u.v = v }

// plainInstance runs a module that was not rewritten, through the same host code.
func plainInstance(b *testing.B, module []byte, config wazero.RuntimeConfig) *instance {
	b.Helper()
	p := &Plugin{cfg: withDefaults(Config{Name: "plain", World: SignalMapper}), pages: DefaultMemoryMiB << 4}
	p.life, p.end = context.WithCancel(ctx)
	p.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	b.Cleanup(func() { p.runtime.Close(ctx) })
	var err error
	if p.compiled, err = p.runtime.CompileModule(ctx, module); err != nil {
		b.Fatal(err)
	}
	if err := instantiateImports(ctx, p.runtime, SignalMapper); err != nil {
		b.Fatal(err)
	}
	in := &instance{p: p, linear: newLinearMemory(p.pages), state: &unmetered{}}
	in.cc.in = in
	in.wasi.init(SignalMapper)
	in.begin(experimental.WithMemoryAllocator(ctx, in.linear), startFuel)
	mod, err := p.runtime.InstantiateModule(&in.cc, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	in.bind(mod)
	if err := in.call(mod.ExportedFunction(initializeName), in.stack[:]); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(in.close)
	return in
}

// BenchmarkMap maps batches of 64 real steps through the bundled Go mapper:
// metered through the whole loader, unmetered through the same host code, and
// with wazero's own switch. The three take turns, all steps at a time, and the
// figures are lower quartiles for one step, so that what else the machine does
// falls on all of them alike, and little of it counts.
func BenchmarkMap(b *testing.B) {
	module := goGuest(b, "carl.camp/carl/plugins/axon")
	steps := realSteps(b)
	const batch = 64
	p, err := Load(ctx, module, Config{Name: "axon", World: SignalMapper})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(ctx)
	m := p.Mapper()
	plain := plainInstance(b, module, wazero.NewRuntimeConfig())
	switched := plainInstance(b, module, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	fuel := int64(0)
	variants := []struct {
		name string
		run  func(steps []step.Step) error
		took []time.Duration
	}{
		{name: "metered", run: func(steps []step.Step) error {
			_, err := m.Map(ctx, steps, false)
			fuel += p.LastFuel()
			return err
		}},
		{name: "unmetered", run: func(steps []step.Step) error {
			plain.begin(ctx, startFuel)
			_, err := plain.mapSteps(steps)
			return err
		}},
		{name: "close-on-context-done", run: func(steps []step.Step) error {
			switched.begin(cancelled, startFuel)
			_, err := switched.mapSteps(steps)
			return err
		}},
	}
	batches := slices.Collect(slices.Chunk(steps[:len(steps)/batch*batch], batch))
	for b.Loop() {
		for v := range variants {
			for _, steps := range batches {
				began := time.Now()
				if err := variants[v].run(steps); err != nil {
					b.Fatal(err)
				}
				variants[v].took = append(variants[v].took, time.Since(began))
			}
		}
	}
	quartile := func(v int) float64 {
		slices.Sort(variants[v].took)
		return float64(variants[v].took[len(variants[v].took)/4]) / batch
	}
	b.ReportMetric(0, "ns/op")
	for v := range variants {
		b.ReportMetric(quartile(v), variants[v].name+"-ns/step")
	}
	b.ReportMetric(quartile(0)/quartile(1), "metered/unmetered")
	b.ReportMetric(quartile(2)/quartile(1), "close-on-context-done/unmetered")
	b.ReportMetric(float64(fuel)/float64(len(variants[0].took))/batch, "fuel/step")
	allocs := testing.AllocsPerRun(100, func() { m.Map(ctx, steps[:batch], false) })
	b.ReportMetric(allocs/batch, "allocs/step")
}

// BenchmarkStart is how long it takes until a Go guest has mapped its first
// step: compiled anew, from the cache, and as a fresh instance of a loaded plugin.
func BenchmarkStart(b *testing.B) {
	module := goGuest(b, "carl.camp/carl/plugins/axon")
	steps := realSteps(b)[:1]
	first := func(b *testing.B, dir string) {
		p, err := Load(ctx, module, Config{Name: "axon", World: SignalMapper, CacheDir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Mapper().Map(ctx, steps, false); err != nil {
			b.Fatal(err)
		}
		p.Close(ctx)
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			first(b, "")
		}
	})
	b.Run("cached", func(b *testing.B) {
		dir := b.TempDir() + "/cache"
		first(b, dir)
		for b.Loop() {
			first(b, dir)
		}
	})
	b.Run("instance", func(b *testing.B) {
		p, err := Load(ctx, module, Config{Name: "axon", World: SignalMapper})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close(ctx)
		for b.Loop() {
			if _, err := p.Mapper().Map(ctx, steps, true); err != nil {
				b.Fatal(err)
			}
		}
	})
}
