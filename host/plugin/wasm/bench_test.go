package wasm

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
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
	ctx := context.Background()
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

// BenchmarkMap maps batches of 64 real steps through a Go mapper, in one run:
// metered through the whole loader, plain, and with wazero's own switch. The
// figures are for one step.
func BenchmarkMap(b *testing.B) {
	module := goGuest(b, "carl.camp/carl/plugins/axon")
	steps := realSteps(b)
	const batch = 64
	batches := len(steps) / batch
	perStep := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/step")
	}
	b.Run("metered", func(b *testing.B) {
		p, err := Load(context.Background(), module, Config{Name: "axon", World: SignalMapper})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close(context.Background())
		m := p.Mapper()
		b.ReportAllocs()
		fuel := int64(0)
		for i := 0; b.Loop(); i++ {
			at := i % batches * batch
			if _, err := m.Map(context.Background(), steps[at:at+batch], false); err != nil {
				b.Fatal(err)
			}
			fuel += p.LastFuel()
		}
		perStep(b)
		b.ReportMetric(float64(fuel)/float64(b.N)/batch, "fuel/step")
	})
	plain := func(config wazero.RuntimeConfig) func(b *testing.B) {
		return func(b *testing.B) {
			in := plainInstance(b, module, config)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at := i % batches * batch
				in.begin(ctx, startFuel)
				if _, err := in.mapSteps(steps[at : at+batch]); err != nil {
					b.Fatal(err)
				}
			}
			perStep(b)
		}
	}
	b.Run("unmetered", plain(wazero.NewRuntimeConfig()))
	b.Run("close-on-context-done", plain(wazero.NewRuntimeConfig().WithCloseOnContextDone(true)))
}

// BenchmarkStart is how long it takes until a Go guest has mapped its first
// step: compiled anew, from the cache, and as a fresh instance of a loaded plugin.
func BenchmarkStart(b *testing.B) {
	module := goGuest(b, "carl.camp/carl/plugins/axon")
	steps := realSteps(b)[:1]
	ctx := context.Background()
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
