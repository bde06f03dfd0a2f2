package wasm

import (
	"context"

	"carl.camp/carl/host/world"
)

// Forwarder runs a plugin of the world event-forwarder on one instance, since
// a forwarder has a state. It may be used from several goroutines; calls wait
// for one another.
type Forwarder struct{ p *Plugin }

// Open hands the plugin its settings, one JSON text. The error is a
// *world.Failure when the plugin itself refuses, else as of [Mapper.Map].
func (f *Forwarder) Open(ctx context.Context, settings []byte) error { panic("not yet") }

// Deliver hands the plugin a batch of events and returns one outcome for each,
// in order. An instance that was thrown away is replaced, and opened with the
// settings of the last Open, before the events are handed over. The error is a
// *world.Failure when the whole batch was not delivered, else as of [Mapper.Map].
func (f *Forwarder) Deliver(ctx context.Context, topic world.Topic, events []world.Event) ([]world.Outcome, error) {
	panic("not yet")
}
