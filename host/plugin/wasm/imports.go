package wasm

import (
	"cmp"
	"context"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/meter"
	"carl.camp/carl/host/world"
)

const (
	// maxHeaders and maxHeaderBytes bound the fields of one request: what servers
	// accept is below that.
	maxHeaders     = 256
	maxHeaderBytes = 128 << 10
	// maxRequestBody bounds the body of one request, in bytes; the egress may
	// allow less.
	maxRequestBody = maxAnswer - maxHeaderBytes
	// maxPath bounds the path of an append, in bytes; that of Linux.
	maxPath = 4096
)

// Layouts of the imports' results.
const (
	sendResultSize   = 24 // result<response, error>
	appendResultSize = 12 // result<_, string>
)

// hostFunc is one import that a guest may have: its place, its type in value
// types ('i' for i32, 'I' for i64) and what it does.
type hostFunc struct {
	module, name    string
	params, results string
	run             func(in *instance, stack []uint64)
}

func valueTypes(s string) []api.ValueType {
	out := make([]api.ValueType, len(s))
	for i := range s {
		out[i] = api.ValueTypeI32
		if s[i] == 'I' {
			out[i] = api.ValueTypeI64
		}
	}
	return out
}

// importsOf lists what a module of a world may import: the world's own, and
// the functions of WASI that Go, C and JavaScript toolchains leave in a module.
func importsOf(w World) []hostFunc {
	funcs := append(wasiFuncs(), hostFunc{logModule, "write", "iii", "", logWrite})
	if w == EventForwarder {
		funcs = append(funcs,
			hostFunc{httpModule, "send", "iiiiiiiiiii", "", httpSend},
			hostFunc{filesModule, "append", "iiiii", "", filesAppend})
	}
	return funcs
}

// instantiateImports gives a runtime what its guests may import. One set
// serves every instance: which of them called is in the context.
func instantiateImports(ctx context.Context, r wazero.Runtime, w World) error {
	builders := map[string]wazero.HostModuleBuilder{}
	var order []string
	for _, f := range importsOf(w) {
		b := builders[f.module]
		if b == nil {
			b = r.NewHostModuleBuilder(f.module)
			builders[f.module] = b
			order = append(order, f.module)
		}
		run := f.run
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
			in := guestOf(ctx)
			if in.mem == nil { // the start function runs before the host has the module
				in.mem = mod.Memory()
			}
			in.charge(0)
			run(in, stack)
		}), valueTypes(f.params), valueTypes(f.results)).Export(f.name)
	}
	m := r.NewHostModuleBuilder(meter.ImportModule)
	m.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, stack []uint64) {
		stack[0] = uint64(guestOf(ctx).yield(int64(stack[0])))
	}), valueTypes("I"), valueTypes("I")).Export(meter.ImportYield)
	m.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(ctx context.Context, _ []uint64) {
		in := guestOf(ctx)
		in.halt(in.crashed("a call", "its calls are nested too deep for the stack"))
	}), nil, nil).Export(meter.ImportStack)
	if _, err := m.Instantiate(ctx); err != nil {
		return err
	}
	for _, name := range order {
		if _, err := builders[name].Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

// leave ends a guest that calls an import of its world at a time when the
// Component Model does not let it: while the host waits for its allocator or
// its post-return. Requests and appends must also wait for the start to be over.
func (in *instance) leave(what string, whileStarting bool) {
	switch {
	case in.phase == running, in.phase == starting && whileStarting:
		return
	case in.phase == starting:
		in.halt(in.fault(fault.PluginTrapped, "called %s while it started", what))
	case in.phase == allocating:
		in.halt(in.fault(fault.PluginTrapped, "called %s from cabi_realloc", what))
	default:
		in.halt(in.fault(fault.PluginTrapped, "called %s from its post-return", what))
	}
}

// refuse ends a guest whose arguments broke the contract.
func (in *instance) refuse(what string, err error) {
	in.halt(in.badOutput("%s: %w", what, err))
}

func logWrite(in *instance, stack []uint64) {
	in.leave("log.write", true)
	level, ptr, n := uint32(stack[0]), uint32(stack[1]), uint32(stack[2])
	l := newLifter(in.view())
	if level > uint32(world.LogError) {
		l.fail("level %d is none", level)
	}
	text := l.textView("the message", ptr, n)
	if l.err != nil {
		in.refuse("log.write", l.err)
	}
	in.charge(uint64(len(text)))
	in.log.write(world.LogLevel(level), text)
}

func httpSend(in *instance, stack []uint64) {
	in.leave("http.send", false)
	ret := uint32(stack[10])
	l := newLifter(in.view())
	l.record("the place of the result", ret, sendResultSize, 4)
	req, tooLarge := liftRequest(&l, stack)
	if l.err != nil {
		in.refuse("http.send", l.err)
	}
	in.charge(uint64(maxAnswer - l.left))
	var resp world.Response
	var fail *world.HTTPError
	switch {
	case tooLarge:
		fail = &world.HTTPError{Kind: world.HTTPTooLarge}
	case in.p.cfg.HTTP == nil:
		fail = &world.HTTPError{Kind: world.HTTPDenied, Text: "no network access was granted"}
	default:
		ctx, cancel := in.hostContext()
		resp, fail = in.p.cfg.HTTP.Send(ctx, req)
		cancel()
	}
	in.charge(uint64(len(resp.Body)))
	w := lowering{in: in}
	record := in.scratch[:sendResultSize]
	clear(record)
	if fail != nil {
		lowerHTTPError(&w, record, fail)
	} else {
		lowerResponse(&w, record, &resp)
	}
	w.put(ret, record)
	if w.err != nil {
		in.halt(w.err)
	}
}

// liftRequest reads the eleven flat parameters of http.send but the last.
func liftRequest(l *lifter, stack []uint64) (req world.Request, tooLarge bool) {
	arg := func(i int) uint32 { return uint32(stack[i]) }
	// The parts are measured before one is copied. A body that no grant allows is
	// the guest's to hear of, not a breach.
	if uint64(arg(7)) > maxRequestBody {
		l.span("the body", arg(6), arg(7), 1, 1)
		return req, true
	}
	body := l.bytesAt("the body", arg(6), arg(7))
	held := max(l.left-maxHeaderBytes, 0) // not for the rest of the request
	l.left -= held
	req = world.Request{
		Method: l.strAt("the method", arg(0), arg(1)),
		URL:    l.strAt("the url", arg(2), arg(3)),
		Body:   body,
	}
	base, n := l.listAt("the list of headers", arg(4), arg(5), maxHeaders, 16, 4, 32)
	if n > 0 {
		req.Headers = make([]world.Header, 0, n)
	}
	for i := uint32(0); i < n && l.err == nil; i++ {
		at := base + 16*i
		req.Headers = append(req.Headers, world.Header{Name: l.str("the name of a header", at), Value: l.str("the value of a header", at+8)})
	}
	switch disc := arg(8); disc {
	case 0:
	case 1:
		req.TimeoutMS = arg(9)
	default:
		l.fail("the timeout has the discriminant %d of 2 cases", disc)
	}
	l.left += held
	return req, false
}

// lowerResponse makes a result<response, error> that is a response.
func lowerResponse(w *lowering, record []byte, r *world.Response) {
	le.PutUint16(record[4:], r.Status)
	var fields [16]byte
	list := w.list(len(r.Headers), 16, 4)
	le.PutUint32(record[8:], list)
	le.PutUint32(record[12:], uint32(len(r.Headers)))
	for i, h := range r.Headers {
		w.str(fields[:], utf8Of(h.Name))
		w.str(fields[8:], utf8Of(h.Value))
		w.put(list+16*uint32(i), fields[:])
	}
	w.bytes(record[16:], r.Body)
}

// lowerHTTPError makes a result<response, error> that is an error.
func lowerHTTPError(w *lowering, record []byte, e *world.HTTPError) {
	record[0] = 1
	record[4] = byte(e.Kind)
	if e.Kind == world.HTTPDenied || e.Kind == world.HTTPNetwork {
		w.str(record[8:], utf8Of(e.Text))
	}
}

func filesAppend(in *instance, stack []uint64) {
	in.leave("files.append", false)
	arg := func(i int) uint32 { return uint32(stack[i]) }
	ret := arg(4)
	l := newLifter(in.view())
	l.record("the place of the result", ret, appendResultSize, 4)
	path := l.textView("the path", arg(0), arg(1))
	l.span("the data", arg(2), arg(3), 1, 1)
	if l.err != nil {
		in.refuse("files.append", l.err)
	}
	in.charge(uint64(arg(1)) + uint64(arg(3)))
	var reason string // why not; "" when it was done
	switch {
	case len(path) > maxPath:
		reason = "the path is too long"
	case arg(3) > maxAnswer:
		reason = "the data is too long for one append"
	case in.p.cfg.Files == nil:
		reason = "no file access was granted"
	default:
		ctx, cancel := in.hostContext()
		if err := in.p.cfg.Files.Append(ctx, string(path), l.bytesAt("the data", arg(2), arg(3))); err != nil {
			reason = cmp.Or(cleanStr(err.Error(), maxReason), "failed")
		}
		cancel()
	}
	w := lowering{in: in}
	record := in.scratch[:appendResultSize]
	clear(record)
	if reason != "" {
		record[0] = 1
		w.str(record[4:], reason)
	}
	w.put(ret, record)
	if w.err != nil {
		in.halt(w.err)
	}
}

// hostContext is the context of what the host does for the guest: it ends with
// the call's time, and when the plugin is closed.
func (in *instance) hostContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithDeadline(in.cc.Context, in.deadline)
	stop := context.AfterFunc(in.p.life, cancel)
	return ctx, func() { stop(); cancel() }
}
