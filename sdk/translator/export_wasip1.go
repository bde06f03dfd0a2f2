package translator

import (
	"carl.camp/carl/sdk/internal/abi"
	"carl.camp/carl/sdk/internal/role"
)

// What one call answers with. It is kept here because the host reads it after
// the function has returned; an instance carries one call at a time.
var answer struct {
	schema      string
	text        abi.Str
	translation Translation
	refusals    []Diagnostic
	argv        []abi.Str
	diagnostics []abi.Diagnostic
	result      abi.TranslateResult
}

//go:wasmexport carl:plugin/translator@0.1.0#config-schema
func configSchema() uint32 {
	defer abi.Return()
	return schema(plugin().ConfigSchema())
}

//go:wasmexport carl:plugin/translator@0.1.0#args-schema
func argsSchema() uint32 {
	defer abi.Return()
	return schema(plugin().ArgsSchema())
}

func schema(text string) uint32 {
	answer.schema = text
	answer.text = abi.ToStr(text)
	return abi.Addr(&answer.text)
}

//go:wasmexport carl:plugin/translator@0.1.0#translate
func translate(ptr, n uint32) uint32 {
	defer abi.Return()
	t, refusals := plugin().Translate(abi.String(abi.Str{Ptr: ptr, Len: n}))
	answer.translation, answer.refusals = t, refusals
	answer.result = abi.TranslateResult{}
	if len(refusals) > 0 {
		answer.result.Err = 1
		*answer.result.Diagnostics() = diagnostics(refusals)
		return abi.Addr(&answer.result)
	}
	answer.argv = make([]abi.Str, len(t.Argv))
	for i, arg := range t.Argv {
		answer.argv[i] = abi.ToStr(arg)
	}
	answer.result.Translation = abi.Translation{
		Args:       abi.ToStr(t.Args),
		Argv:       abi.ToList(answer.argv),
		Entrypoint: abi.ToStr(t.Entrypoint),
		Warnings:   diagnostics(t.Warnings),
	}
	return abi.Addr(&answer.result)
}

// diagnostics is called once in a call: for the warnings or for the refusals.
func diagnostics(list []Diagnostic) abi.Str {
	answer.diagnostics = make([]abi.Diagnostic, len(list))
	for i, d := range list {
		answer.diagnostics[i] = abi.Diagnostic{
			Path:    abi.ToStr(d.Path),
			Message: abi.ToStr(d.Message),
			Hint:    abi.ToOption(d.Hint),
		}
	}
	return abi.ToList(answer.diagnostics)
}

//go:wasmexport cabi_post_carl:plugin/translator@0.1.0#config-schema
func postConfigSchema(uint32) { release() }

//go:wasmexport cabi_post_carl:plugin/translator@0.1.0#args-schema
func postArgsSchema(uint32) { release() }

//go:wasmexport cabi_post_carl:plugin/translator@0.1.0#translate
func postTranslate(uint32) { release() }

func release() {
	answer.schema = ""
	answer.translation, answer.refusals = Translation{}, nil
	answer.argv, answer.diagnostics = nil, nil
	abi.Release()
}

func plugin() Translator { return role.Plugin("translator").(Translator) }
