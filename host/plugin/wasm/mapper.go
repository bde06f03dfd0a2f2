package wasm

import (
	"context"

	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

// Mapper runs a plugin of the world signal-mapper. It may be used from several
// goroutines: each call has an instance of its own.
type Mapper struct{ p *Plugin }

// Map asks the plugin what signals the steps make. With fresh, it runs on an
// instance without a history: only such a one may condemn a step, since it
// alone uses the same fuel and memory each time.
//
// The texts of the steps must be valid UTF-8, as [step.Decode] gives them. The
// signals share memory with one another, not with the guest. Their data is
// UTF-8; whether it is legal JSON and the type is on the allow-list is left to
// whoever makes events of them.
//
// Errors: carl.plugin.failed with the plugin's own message, bad_output,
// trapped, out_of_memory, timeout, fuel_exhausted; carl.interrupted when ctx ended.
func (m *Mapper) Map(ctx context.Context, steps []step.Step, fresh bool) ([]world.Signal, error) {
	panic("not yet")
}
