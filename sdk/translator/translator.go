// Package translator is for plugins that turn a training config into a
// backend's arguments: world args-translator of the contract in wit/.
//
// A translator is pure: no clock, no randomness, no I/O; the same config
// gives the same arguments.
package translator

import "carl.camp/carl/sdk/internal/role"

// A Diagnostic is a remark about one place of a config.
type Diagnostic struct {
	// Path is a JSON Pointer (RFC 6901) into the config; "" is the whole of it.
	Path    string
	Message string
	// Hint says what to do, or is "".
	Hint string
}

// A Translation is what became of a config.
type Translation struct {
	// Args is the backend's arguments, a JSON object that [Translator.ArgsSchema] accepts.
	Args string
	// Argv is the same as a command line, without the program.
	Argv []string
	// Entrypoint is the backend's program, such as "train.py".
	Entrypoint string
	// Warnings do not keep the config from being run.
	Warnings []Diagnostic
}

// A Translator serves one backend.
type Translator interface {
	// ConfigSchema is the JSON Schema of the configs that it takes.
	ConfigSchema() string
	// ArgsSchema is the JSON Schema of the arguments that it makes.
	ArgsSchema() string
	// Translate takes one config, a JSON text. When the second result is not
	// empty, the config is refused for these reasons and the first is ignored.
	Translate(config string) (Translation, []Diagnostic)
}

// Register makes t the plugin's translator. Call it once, from init: main is
// not run in a wasm plugin.
func Register(t Translator) {
	role.Set("translator", t)
}
