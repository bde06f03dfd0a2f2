package wasm

import (
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/meter"
	"carl.camp/carl/host/world"
)

// Names of the contract, as wit-bindgen writes them into core modules.
const (
	packageName = "carl:plugin/"

	logModule   = packageName + "log@" + world.Version
	httpModule  = packageName + "http@" + world.Version
	filesModule = packageName + "files@" + world.Version

	mapperPrefix     = packageName + "mapper@" + world.Version + "#"
	translatorPrefix = packageName + "translator@" + world.Version + "#"
	forwarderPrefix  = packageName + "forwarder@" + world.Version + "#"

	postPrefix     = "cabi_post_"
	reallocName    = "cabi_realloc"
	initializeName = "_initialize"
	memoryName     = "memory"
)

// worldFunc is a function that a world asks of a module. Each returns a
// pointer to its result, which its post-return takes.
type worldFunc struct{ name, params string }

// Places of the functions in exportsOf.
const (
	mapSteps = 0

	configSchema = 0
	argsSchema   = 1
	translate    = 2

	open    = 0
	deliver = 1
)

// exportsOf lists what a world asks for.
func exportsOf(w World) []worldFunc {
	switch w {
	case SignalMapper:
		return []worldFunc{{mapperPrefix + "map-steps", "ii"}}
	case ArgsTranslator:
		return []worldFunc{{translatorPrefix + "config-schema", ""}, {translatorPrefix + "args-schema", ""}, {translatorPrefix + "translate", "ii"}}
	case EventForwarder:
		return []worldFunc{{forwarderPrefix + "open", "ii"}, {forwarderPrefix + "deliver", "iii"}}
	}
	return nil
}

// signature writes a function type as meter does.
func signature(params, results string) string {
	words := func(s string) string {
		out := make([]string, len(s))
		for i := range s {
			out[i] = map[byte]string{'i': "i32", 'I': "i64"}[s[i]]
		}
		return "(" + strings.Join(out, " ") + ")"
	}
	return words(params) + " -> " + words(results)
}

// link holds a module against a world: what it imports must be there for it,
// what the world asks for must be exported, all under the exact names and types.
func link(name string, w World, info *meter.Info) error {
	refuse := func(format string, args ...any) error {
		return pluginFault(name, fault.PluginBadModule, format, args...)
	}
	offered := importsOf(w)
	for _, imp := range info.Imports {
		if imp.Kind != meter.KindFunc {
			return refuse("imports %q %q, a %s: only functions may be imported", imp.Module, imp.Name, imp.Kind)
		}
		i := slices.IndexFunc(offered, func(f hostFunc) bool { return f.module == imp.Module && f.name == imp.Name })
		if i < 0 {
			return refuse("imports %q %q, which the world %s does not have", imp.Module, imp.Name, w)
		}
		if want := signature(offered[i].params, offered[i].results); imp.Type != want {
			return refuse("imports %q %q as %s, which is %s", imp.Module, imp.Name, imp.Type, want)
		}
	}
	exported := func(name string, kind meter.Kind) (string, bool) {
		for _, e := range info.Exports {
			if e.Name == name && e.Kind == kind {
				return e.Type, true
			}
		}
		return "", false
	}
	if _, ok := exported(memoryName, meter.KindMemory); !ok {
		return refuse("exports no memory named %q", memoryName)
	}
	type want struct {
		name, typ string
		optional  bool
	}
	wants := []want{
		{reallocName, signature("iiii", "i"), false},
		{initializeName, signature("", ""), true},
	}
	for _, f := range exportsOf(w) {
		wants = append(wants, want{f.name, signature(f.params, "i"), false}, want{postPrefix + f.name, signature("i", ""), true})
	}
	for _, x := range wants {
		typ, ok := exported(x.name, meter.KindFunc)
		switch {
		case !ok && !x.optional:
			return refuse("does not export the function %q of the world %s", x.name, w)
		case ok && typ != x.typ:
			return refuse("exports %q as %s, which is %s in the world %s", x.name, typ, x.typ, w)
		}
	}
	return nil
}
