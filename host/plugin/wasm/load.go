package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
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
	// compileTimeout bounds compiling one module. A Go guest takes a second, and
	// half a minute under the race detector.
	compileTimeout = 2 * time.Minute
	// maxWorkers bounds how many goroutines compile one module; more gain little.
	maxWorkers = 4
	// maxMemoryMiB is the largest memory whose size in bytes fits 32 bits.
	maxMemoryMiB = 4095
)

// componentPreamble begins a Component Model binary: layer 1 instead of 0.
var componentPreamble = []byte{0x00, 'a', 's', 'm', 0x0d, 0x00, 0x01, 0x00}

// budget is how much fuel one call may use.
type budget struct{ base, step, byte int64 }

// of is the budget of a call with an input of that size.
func (b budget) of(steps, bytes int) int64 {
	more := float64(b.step)*float64(steps) + float64(b.byte)*float64(bytes)
	return b.base + int64(min(more, math.MaxInt64/4))
}

func budgetOf(w World, asked int64) budget {
	switch {
	case asked > 0:
		return budget{base: min(asked, math.MaxInt64/4)}
	case w == SignalMapper:
		// A legal step of 1 MiB through a JSON library burns 375 M.
		return budget{base: 50_000_000, step: 5_000_000, byte: 1_000}
	}
	return budget{base: 2_000_000_000}
}

// Load makes a plugin of a core module: it is held against the limits and
// metered, compiled or taken from the cache, and linked against its world.
// Nothing of it runs yet. The module is not kept.
//
// Errors: carl.plugin.bad_module, which names what was refused;
// carl.interrupted when ctx ended.
func Load(ctx context.Context, module []byte, cfg Config) (*Plugin, error) {
	cfg = withDefaults(cfg)
	if ctx.Err() != nil {
		return nil, interrupted(cfg.Name, context.Cause(ctx))
	}
	if exportsOf(cfg.World) == nil {
		return nil, fault.New(fault.Internal, "plugin %q was loaded for no world", cfg.Name)
	}
	if bytes.HasPrefix(module, componentPreamble) {
		return nil, pluginFault(cfg.Name, fault.PluginBadModule, "is a component: this version of carl loads core modules alone").
			WithHint("install the core module that the component wraps")
	}
	pages := uint32(cfg.MemoryMiB) << 4
	p := &Plugin{cfg: cfg, pages: pages, budget: budgetOf(cfg.World, cfg.Fuel)}
	code := p.openCache(module)
	metered, err := p.meter(module, code)
	if err == nil {
		err = p.compile(ctx, module, metered, code)
	}
	if err != nil {
		if code != nil {
			os.Remove(code.dir) // if nothing is in it
		}
		return nil, err
	}
	p.life, p.end = context.WithCancel(context.Background())
	p.pool = newPool(p, runtime.GOMAXPROCS(0))
	if cfg.World == EventForwarder {
		p.forwarder = &Forwarder{p: p}
	}
	return p, nil
}

func withDefaults(cfg Config) Config {
	if cfg.MemoryMiB <= 0 {
		cfg.MemoryMiB = DefaultMemoryMiB
	}
	cfg.MemoryMiB = min(cfg.MemoryMiB, maxMemoryMiB)
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
		if cfg.World == EventForwarder {
			cfg.Timeout = DefaultForwardTimeout
		}
	}
	return cfg
}

func (p *Plugin) openCache(module []byte) *codeCache {
	if p.cfg.CacheDir == "" {
		return nil
	}
	code, err := openCodeCache(p.cfg.CacheDir, sha256.Sum256(module))
	if err != nil {
		p.warn("compiled code of plugin %q is not cached: %v", p.cfg.Name, err)
		return nil
	}
	return code
}

// meter rewrites the module, or takes what an earlier load made of it, which
// then passed every check. Either way it is linked against its world.
func (p *Plugin) meter(module []byte, code *codeCache) ([]byte, error) {
	if code != nil {
		if metered, err := code.metered(p.pages); err == nil {
			if info, err := meter.Describe(module); err == nil {
				p.info = info
				return metered, link(p.cfg.Name, p.cfg.World, info)
			}
		}
	}
	metered, info, err := meter.Rewrite(module, meter.Config{MaxMemoryPages: p.pages})
	if err != nil {
		var f *fault.Error
		if errors.As(err, &f) {
			return nil, pluginFault(p.cfg.Name, f.Code, "is refused: %s", f.Message)
		}
		return nil, pluginFault(p.cfg.Name, fault.PluginBadModule, "is refused: %w", err)
	}
	p.info = info
	if err := link(p.cfg.Name, p.cfg.World, info); err != nil {
		return nil, err
	}
	if info.MemoryMax > p.pages {
		metered = withMaximum(metered, info.MemoryMax)
	}
	return metered, nil
}

// compile makes the runtime and the compiled module, by way of the cache where there is one.
func (p *Plugin) compile(ctx context.Context, module, metered []byte, code *codeCache) error {
	known := code != nil && code.entries > 0
	if !known && p.cfg.Compiling != nil {
		p.cfg.Compiling()
	}
	err := p.compileWith(ctx, metered, code)
	if known && fault.CodeOf(err) == fault.PluginBadModule {
		// An entry that wazero cannot load stays where it is and would fail every
		// time: out with it, and once more.
		if err := code.clear(); err != nil {
			p.warn("compiled code of plugin %q is not cached: %v", p.cfg.Name, err)
			code = nil
		}
		if metered, err = p.meter(module, nil); err != nil {
			return err
		}
		if p.cfg.Compiling != nil {
			p.cfg.Compiling()
		}
		err = p.compileWith(ctx, metered, code)
	}
	if err != nil {
		return err
	}
	if code != nil {
		err := code.seal()
		if err == nil {
			err = code.keepMetered(p.pages, metered)
		}
		if err != nil {
			p.warn("compiled code of plugin %q is not cached: %v", p.cfg.Name, err)
		}
		if !known {
			prune(p.cfg.CacheDir)
		}
	}
	return nil
}

func (p *Plugin) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// compileWith makes one attempt.
func (p *Plugin) compileWith(ctx context.Context, metered []byte, code *codeCache) error {
	config := wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false)
	var cache wazero.CompilationCache
	if code != nil {
		var err error
		if cache, err = wazero.NewCompilationCacheWithDir(code.dir); err != nil {
			p.warn("compiled code of plugin %q is not cached: %v", p.cfg.Name, err)
			cache = nil
		} else {
			config = config.WithCompilationCache(cache)
		}
	}
	r := wazero.NewRuntimeWithConfig(ctx, config)
	discard := func() {
		r.Close(context.Background())
		if cache != nil {
			cache.Close(context.Background())
		}
	}
	bounded, cancel := context.WithTimeout(ctx, compileTimeout)
	bounded = experimental.WithCompilationWorkers(bounded, min(runtime.GOMAXPROCS(0), maxWorkers))
	type outcome struct {
		compiled wazero.CompiledModule
		err      error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.err = fmt.Errorf("the compiler failed: %v", r)
			}
			done <- o
		}()
		o.compiled, o.err = r.CompileModule(bounded, metered)
	}()
	var o outcome
	select {
	case o = <-done:
		cancel()
	case <-bounded.Done():
		// The compiler looks at the context between two functions; what it has
		// begun is left to end by itself.
		o.err = bounded.Err()
		go func() { <-done; cancel(); discard() }()
		discard = func() {}
	}
	if o.err == nil {
		o.err = instantiateImports(ctx, r, p.cfg.World)
	}
	if o.err != nil {
		discard()
		if ctx.Err() != nil {
			return interrupted(p.cfg.Name, context.Cause(ctx))
		}
		if errors.Is(o.err, context.DeadlineExceeded) {
			return pluginFault(p.cfg.Name, fault.PluginBadModule, "took longer than %s to compile", compileTimeout)
		}
		reason, _, _ := strings.Cut(o.err.Error(), "\n")
		return pluginFault(p.cfg.Name, fault.PluginBadModule, "does not compile: %s", cleanStr(reason, maxReason))
	}
	p.runtime, p.cache, p.compiled = r, cache, o.compiled
	return nil
}

// Close ends the calls that run, waits for them, and frees everything. The
// plugin must not be used afterwards: what is called then fails. It waits no
// longer than ctx lasts, and frees what is left as soon as it can.
func (p *Plugin) Close(ctx context.Context) error {
	p.end()
	closed := make(chan error, 1)
	go func() {
		p.closeOnce.Do(func() {
			p.pool.drain()
			if p.forwarder != nil {
				p.forwarder.close()
			}
			err := p.runtime.Close(context.Background())
			if p.cache != nil {
				err = errors.Join(err, p.cache.Close(context.Background()))
			}
			p.closeErr = err
		})
		closed <- p.closeErr
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return interrupted(p.cfg.Name, context.Cause(ctx))
	}
}
