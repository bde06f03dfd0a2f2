package wasm

import (
	"context"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/world"
)

const (
	// maxDiagnostics and maxArgv bound a translator's lists: no person reads more
	// remarks, and no command line has more arguments.
	maxDiagnostics = 4096
	maxArgv        = 65_536
)

// Translator runs a plugin of the world args-translator. It may be used from
// several goroutines. Errors are as of [Mapper.Map].
type Translator struct{ p *Plugin }

// ConfigSchema returns the JSON Schema of what the plugin translates. It is one JSON text.
func (t *Translator) ConfigSchema(ctx context.Context) ([]byte, error) {
	return t.schema(ctx, configSchema, "config-schema")
}

// ArgsSchema returns the JSON Schema of the arguments that it makes. It is one JSON text.
func (t *Translator) ArgsSchema(ctx context.Context) ([]byte, error) {
	return t.schema(ctx, argsSchema, "args-schema")
}

func (t *Translator) schema(ctx context.Context, which int, what string) ([]byte, error) {
	in, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer t.finish(in)
	var schema []byte
	err = in.run(which, func(l *lifter, ret uint32) { schema = liftSchema(l, ret, what) })
	if err != nil {
		return nil, err
	}
	return schema, nil
}

// Translate makes arguments of a config, one JSON text. The Args of the
// translation are one JSON object. Where the plugin refuses the config, the
// translation is empty, its Args nil, and the diagnostics say why; otherwise
// there are no diagnostics beside the translation's own warnings.
func (t *Translator) Translate(ctx context.Context, config []byte) (world.Translation, []world.Diagnostic, error) {
	in, err := t.begin(ctx)
	if err != nil {
		return world.Translation{}, nil, err
	}
	defer t.finish(in)
	w := lowering{in: in}
	w.bytes(in.scratch[:8], config)
	if w.err != nil {
		return world.Translation{}, nil, w.err
	}
	in.stack[0], in.stack[1] = uint64(le.Uint32(in.scratch[:])), uint64(len(config))
	var made world.Translation
	var refused []world.Diagnostic
	err = in.run(translate, func(l *lifter, ret uint32) { made, refused = liftTranslation(l, ret) })
	if err != nil {
		return world.Translation{}, nil, err
	}
	return made, refused, nil
}

func (t *Translator) begin(ctx context.Context) (*instance, error) {
	in, err := t.p.pool.take(ctx, false)
	if err != nil {
		return nil, err
	}
	in.begin(ctx, t.p.budget.of(0, 0))
	in.refuel()
	return in, nil
}

func (t *Translator) finish(in *instance) {
	in.end()
	t.p.pool.put(in)
}

// Layouts of the translator's results.
const (
	stringSize          = 8
	diagnosticSize      = 28
	translateResultSize = 36 // result<translation, list<diagnostic>>
)

// liftSchema reads a string that is one JSON text.
func liftSchema(l *lifter, ret uint32, what string) []byte {
	if !l.record("the result of "+what, ret, stringSize, 4) {
		return nil
	}
	return liftJSON(l, "the result of "+what, ret, false)
}

// liftJSON reads a string and holds it against RFC 8259.
func liftJSON(l *lifter, what string, at uint32, object bool) []byte {
	text := l.text(what, at)
	switch v := jsontext.Value(text); {
	case l.err != nil:
		return nil
	case !v.IsValid():
		l.fail("%s is not JSON", what)
	case object && v.Kind() != '{':
		l.fail("%s is not a JSON object", what)
	}
	return text
}

// liftTranslation reads result<translation, list<diagnostic>>.
func liftTranslation(l *lifter, ret uint32) (made world.Translation, refused []world.Diagnostic) {
	const what = "the result of translate"
	if !l.record(what, ret, translateResultSize, 4) {
		return made, nil
	}
	if l.variant(what, ret, 2) == 1 {
		refused = liftDiagnostics(l, ret+4)
		if len(refused) == 0 {
			l.fail("translate refused the config without a diagnostic")
		}
		return made, refused
	}
	at := ret + 4
	made.Args = liftJSON(l, "args", at, true)
	base, n := l.list("argv", at+8, maxArgv, stringSize, 4, int(unsafe.Sizeof("")))
	made.Argv = make([]string, 0, n)
	for i := uint32(0); i < n && l.err == nil; i++ {
		made.Argv = append(made.Argv, l.str("an element of argv", base+stringSize*i))
	}
	made.Entrypoint = l.str("the entrypoint", at+16)
	made.Warnings = liftDiagnostics(l, at+24)
	return made, nil
}

func liftDiagnostics(l *lifter, at uint32) []world.Diagnostic {
	base, n := l.list("the list of diagnostics", at, maxDiagnostics, diagnosticSize, 4, int(unsafe.Sizeof(world.Diagnostic{})))
	if n == 0 {
		return nil
	}
	list := make([]world.Diagnostic, 0, n)
	for i := uint32(0); i < n && l.err == nil; i++ {
		at := base + diagnosticSize*i
		list = append(list, world.Diagnostic{
			Path:    l.str("the path of a diagnostic", at),
			Message: cleanStr(l.str("the message of a diagnostic", at+8), maxMessage),
			Hint:    cleanStr(l.optStr("the hint of a diagnostic", at+16), maxMessage),
		})
	}
	return list
}
