package host

import (
	"context"
	"io"

	"carl.camp/carl/host/plugin/wasm"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
)

// Mapper is one loaded mapper, for looking at what steps would become.
type Mapper struct {
	mapper *wasm.Mapper
	closer io.Closer
	seal   sync.Sealing
}

// Mapper loads a mapper by name. Close it.
func (h *Host) Mapper(ctx context.Context, name string) (*Mapper, error) {
	m, closer, err := h.newLoader().mapper(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Mapper{mapper: m, closer: closer, seal: sync.Sealing{Source: h.anySource(), Redactor: h.redactor}}, nil
}

// Map returns the events that the steps, at most sync.MaxBatchSteps, become,
// redacted and sealed as a delivery would, and why others become nothing.
func (m *Mapper) Map(ctx context.Context, steps []step.Step) ([]sync.Event, []sync.Refusal, error) {
	for i := range steps {
		m.seal.Redactor.Step(&steps[i])
	}
	return sync.Map(ctx, m.mapper, steps, m.seal)
}

// Close frees the mapper.
func (m *Mapper) Close() error { return m.closer.Close() }
