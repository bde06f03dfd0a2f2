package wasm

import "context"

type budget struct{}
type exports struct{}
type pool struct{}

// Load checks, meters, compiles and links a module.
func Load(ctx context.Context, module []byte, cfg Config) (*Plugin, error) { panic("not yet") }

// Close ends what runs and frees everything.
func (p *Plugin) Close(ctx context.Context) error { panic("not yet") }
