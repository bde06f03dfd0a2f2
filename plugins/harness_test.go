package plugins_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// This file is a second, plain host for the guests: it lowers and lifts by
// the offsets of wit/README.md, written out by hand and shared with nobody,
// so that neither the SDK nor carl's own loader is its own judge.

// buildGuest builds the package pkg of the module at root, as the Makefile
// builds the bundled plugins.
func buildGuest(root, pkg, out string, overlay ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out}, overlay...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// guests are built once for all tests of this package.
var guests struct {
	sync.Mutex
	modules map[string][]byte
}

func module(t testing.TB, pkg string) []byte {
	t.Helper()
	guests.Lock()
	defer guests.Unlock()
	if m, ok := guests.modules[pkg]; ok {
		return m
	}
	out := filepath.Join(t.TempDir(), "guest.wasm")
	if err := buildGuest("..", pkg, out); err != nil {
		t.Fatal(err)
	}
	m, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if guests.modules == nil {
		guests.modules = map[string][]byte{}
	}
	guests.modules[pkg] = m
	return m
}

// host is what a guest may reach in a test.
type host struct {
	log    func(level uint32, message string)
	send   func(r request) (*response, *httpError)
	append func(path string, data []byte) string
}

type request struct {
	method, url string
	headers     [][2]string
	body        []byte
	timeoutMS   uint32
}

type response struct {
	status  uint16
	headers [][2]string
	body    []byte
}

type httpError struct {
	kind byte
	text string
}

// compiled shares wazero's work between the tests of this package.
var compiled = wazero.NewCompilationCache()

// instance is one instance of a guest.
type instance struct {
	t   testing.TB
	ctx context.Context
	mod api.Module
	// oneBlock lowers the strings of a list into one allocation, as carl
	// does, in place of one for each string, as generated hosts do.
	oneBlock bool
	block    uint32
	out      bytes.Buffer
	funcs    map[string]api.Function
	stack    [4]uint64
}

func instantiate(t testing.TB, wasm []byte, h host) *instance {
	t.Helper()
	in := &instance{t: t, ctx: context.Background()}
	if err := in.start(wasm, h); err != nil {
		t.Fatalf("instantiate: %v\n%s", err, in.out.String())
	}
	return in
}

func (in *instance) start(wasm []byte, h host) error {
	cfg := wazero.NewRuntimeConfig().WithMemoryLimitPages(1024).WithCompilationCache(compiled)
	r := wazero.NewRuntimeWithConfig(in.ctx, cfg)
	in.t.Cleanup(func() { r.Close(in.ctx) })
	wasi_snapshot_preview1.MustInstantiate(in.ctx, r)
	in.imports(r, h)
	mod, err := r.InstantiateWithConfig(in.ctx, wasm, wazero.NewModuleConfig().WithStartFunctions("_initialize").
		WithSysWalltime().WithSysNanotime().WithStdout(io.Discard).WithStderr(&in.out))
	in.mod = mod
	return err
}

func (in *instance) imports(r wazero.Runtime, h host) {
	i32 := api.ValueTypeI32
	add := func(module, name string, params int, f api.GoModuleFunc) {
		types := make([]api.ValueType, params)
		for i := range types {
			types[i] = i32
		}
		_, err := r.NewHostModuleBuilder(module).NewFunctionBuilder().
			WithGoModuleFunction(f, types, nil).Export(name).Instantiate(in.ctx)
		if err != nil {
			in.t.Fatal(err)
		}
	}
	add("carl:plugin/log@0.1.0", "write", 3, func(_ context.Context, _ api.Module, s []uint64) {
		h.log(uint32(s[0]), string(in.bytes(uint32(s[1]), uint32(s[2]))))
	})
	add("carl:plugin/http@0.1.0", "send", 11, func(_ context.Context, m api.Module, s []uint64) {
		in.mod = m
		q := request{
			method: string(in.bytes(uint32(s[0]), uint32(s[1]))),
			url:    string(in.bytes(uint32(s[2]), uint32(s[3]))),
			body:   bytes.Clone(in.bytes(uint32(s[6]), uint32(s[7]))),
		}
		for i := range uint32(s[5]) {
			at := uint32(s[4]) + 16*i
			q.headers = append(q.headers, [2]string{in.str(at), in.str(at + 8)})
		}
		if s[8] != 0 {
			q.timeoutMS = uint32(s[9])
		}
		in.lowerResponse(uint32(s[10]), h, q)
	})
	add("carl:plugin/files@0.1.0", "append", 5, func(_ context.Context, m api.Module, s []uint64) {
		in.mod = m
		failed := h.append(string(in.bytes(uint32(s[0]), uint32(s[1]))), bytes.Clone(in.bytes(uint32(s[2]), uint32(s[3]))))
		ret := uint32(s[4])
		in.putByte(ret, 0)
		if failed != "" {
			in.putByte(ret, 1)
			in.putStr(ret+4, failed)
		}
	})
}

func (in *instance) lowerResponse(ret uint32, h host, q request) {
	answer, failed := h.send(q)
	if failed != nil {
		in.putByte(ret, 1)
		in.putByte(ret+4, failed.kind)
		if failed.kind == 0 || failed.kind == 3 {
			in.putStr(ret+8, failed.text)
		}
		return
	}
	in.putByte(ret, 0)
	in.put16(ret+4, answer.status)
	list := in.alloc(4, uint32(16*len(answer.headers)))
	for i, header := range answer.headers {
		in.putStr(list+uint32(16*i), header[0])
		in.putStr(list+uint32(16*i)+8, header[1])
	}
	in.put32(ret+8, list)
	in.put32(ret+12, uint32(len(answer.headers)))
	in.putStr(ret+16, string(answer.body))
}

// alloc asks the guest for memory.
func (in *instance) alloc(align, size uint32) uint32 {
	in.t.Helper()
	if in.oneBlock {
		p := (in.block + align - 1) &^ (align - 1)
		in.block = p + size
		return p
	}
	return in.call("cabi_realloc", 0, 0, uint64(align), uint64(size))
}

// call calls an export that has at most one i32 result.
func (in *instance) call(name string, args ...uint64) uint32 {
	in.t.Helper()
	// A call in progress has its own api.Function, since one may not be
	// entered again; only cabi_realloc is called from inside another.
	f := in.funcs[name]
	if f == nil {
		if f = in.mod.ExportedFunction(name); f == nil {
			in.t.Fatalf("the guest does not export %q", name)
		}
		if in.funcs == nil {
			in.funcs = map[string]api.Function{}
		}
		in.funcs[name] = f
	}
	stack := in.stack[:]
	clear(stack)
	copy(stack, args)
	if err := f.CallWithStack(in.ctx, stack); err != nil {
		in.t.Fatalf("%s: %v\n%s", name, err, in.out.String())
	}
	return uint32(stack[0])
}

func (in *instance) bytes(p, n uint32) []byte {
	in.t.Helper()
	b, ok := in.mod.Memory().Read(p, n)
	if !ok {
		in.t.Fatalf("the guest points at %d bytes from %d, outside its memory", n, p)
	}
	return b
}

func (in *instance) u32(p uint32) uint32 { return binary.LittleEndian.Uint32(in.bytes(p, 4)) }
func (in *instance) u8(p uint32) byte    { return in.bytes(p, 1)[0] }
func (in *instance) u64(p uint32) uint64 { return binary.LittleEndian.Uint64(in.bytes(p, 8)) }

func (in *instance) str(p uint32) string { return string(in.bytes(in.u32(p), in.u32(p+4))) }

// option reads option<string>; ok is false for none.
func (in *instance) option(p uint32) (string, bool) {
	if in.u8(p) == 0 {
		return "", false
	}
	return in.str(p + 4), true
}

func (in *instance) putByte(p uint32, v byte)   { in.bytes(p, 1)[0] = v }
func (in *instance) put16(p uint32, v uint16)   { binary.LittleEndian.PutUint16(in.bytes(p, 2), v) }
func (in *instance) put32(p uint32, v uint32)   { binary.LittleEndian.PutUint32(in.bytes(p, 4), v) }
func (in *instance) put64(p uint32, v uint64)   { binary.LittleEndian.PutUint64(in.bytes(p, 8), v) }
func (in *instance) putF64(p uint32, v float64) { in.put64(p, math.Float64bits(v)) }

func (in *instance) putStr(p uint32, s string) {
	q := in.alloc(1, uint32(len(s)))
	if len(s) > 0 {
		copy(in.bytes(q, uint32(len(s))), s)
	}
	in.put32(p, q)
	in.put32(p+4, uint32(len(s)))
}

// putOption writes option<string>, "" as none.
func (in *instance) putOption(p uint32, s string) {
	in.putByte(p, 0)
	if s != "" {
		in.putByte(p, 1)
		in.putStr(p+4, s)
	}
}
