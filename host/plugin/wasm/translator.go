package wasm

import (
	"context"

	"carl.camp/carl/host/world"
)

// Translator runs a plugin of the world args-translator. It may be used from
// several goroutines. Errors are as of [Mapper.Map].
type Translator struct{ p *Plugin }

// ConfigSchema returns the JSON Schema of what the plugin translates.
func (t *Translator) ConfigSchema(ctx context.Context) ([]byte, error) { panic("not yet") }

// ArgsSchema returns the JSON Schema of the arguments that it makes.
func (t *Translator) ArgsSchema(ctx context.Context) ([]byte, error) { panic("not yet") }

// Translate makes arguments of a config, one JSON text. Diagnostics without an
// error say why the plugin refuses the config; the translation is then empty.
func (t *Translator) Translate(ctx context.Context, config []byte) (world.Translation, []world.Diagnostic, error) {
	panic("not yet")
}
