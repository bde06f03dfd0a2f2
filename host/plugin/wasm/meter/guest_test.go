package meter

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

var (
	errFuel  = errors.New("out of fuel")
	errStack = errors.New("out of stack")
)

// host is the meter's side of a guest, as a loader would have it.
type host struct {
	slice   int64 // granted by one yield
	budget  int64
	granted int64
	yields  int
	onYield func()
}

func (h *host) define(ctx context.Context, rt wazero.Runtime) error {
	_, err := rt.NewHostModuleBuilder(ImportModule).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
		h.yields++
		if h.onYield != nil {
			h.onYield()
		}
		balance := int64(stack[0])
		if h.granted-balance > h.budget {
			panic(errFuel)
		}
		h.granted += h.slice
		stack[0] = uint64(balance + h.slice)
	}), []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64}).Export(ImportYield).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(context.Context, []uint64) {
		panic(errStack)
	}), nil, nil).Export(ImportStack).
		Instantiate(ctx)
	return err
}

// used returns the fuel spent so far.
func (h *host) used(m api.Module) int64 {
	return h.granted - Balance(m.ExportedGlobal(ExportState).Get())
}

const testSlice = 200_000

func newHost() *host { return &host{slice: testSlice, budget: 1 << 50} }

// load instantiates a module, metered with h unless h is nil.
func load(t testing.TB, module []byte, h *host, cfg wazero.RuntimeConfig) (api.Module, wazero.Runtime) {
	t.Helper()
	m, rt, err := tryLoad(module, h, cfg, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close(context.Background()) })
	return m, rt
}

func tryLoad(module []byte, h *host, rc wazero.RuntimeConfig, cfg Config) (api.Module, wazero.Runtime, error) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, rc.WithCoreFeatures(api.CoreFeaturesV2))
	fail := func(err error) (api.Module, wazero.Runtime, error) {
		rt.Close(ctx)
		return nil, nil, err
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, rt); err != nil {
		return fail(err)
	}
	if h != nil {
		metered, _, err := Rewrite(module, cfg)
		if err != nil {
			return fail(err)
		}
		module = metered
		if err := h.define(ctx, rt); err != nil {
			return fail(err)
		}
	}
	compiled, err := rt.CompileModule(ctx, module)
	if err != nil {
		return fail(err)
	}
	m, err := rt.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		return fail(err)
	}
	return m, rt, nil
}

// goGuest builds testdata/goguest once.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	return build("go", "build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w", "-o", "OUT", "./testdata/goguest")
})

// cGuest builds testdata/cguest once.
var cGuest = sync.OnceValues(func() ([]byte, error) {
	return build("clang", "--target=wasm32", "-O2", "-nostdlib", "-Wl,--no-entry", "-Wl,--export-dynamic",
		"-msimd128", "-mbulk-memory", "-fno-builtin-memset", "-o", "OUT", "testdata/cguest/work.c")
})

func build(command ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	for i, arg := range command {
		if arg == "OUT" {
			command[i] = out
		}
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(err.Error() + ": " + string(said))
	}
	return os.ReadFile(out)
}

func mustGo(t testing.TB) []byte {
	t.Helper()
	wasm, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// mustC skips without clang, except in CI.
func mustC(t testing.TB) []byte {
	t.Helper()
	if _, err := exec.LookPath("clang"); err != nil {
		const how = "clang with wasm32 is not installed; run `apt-get install -y clang lld`"
		if os.Getenv("CI") == "true" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	wasm, err := cGuest()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}
