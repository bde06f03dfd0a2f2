package sync_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/redact"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

// everyStep is a mapper that costs next to nothing: one signal a step, of some
// three hundred bytes.
type everyStep struct{ data []byte }

func (m everyStep) Map(_ context.Context, steps []step.Step, _ bool) ([]world.Signal, error) {
	signals := make([]world.Signal, len(steps))
	for i := range steps {
		signals[i] = world.Signal{Step: uint32(i), Type: axon.InteractionCreated, Data: m.data}
	}
	return signals, nil
}

// blackHole takes everything.
type blackHole struct{}

func (blackHole) Open(context.Context, []byte) error { return nil }
func (blackHole) Deliver(_ context.Context, _ world.Topic, events []world.Event) ([]world.Outcome, error) {
	return make([]world.Outcome, len(events)), nil
}

// BenchmarkRun is what the engine itself costs: reading, decoding, sealing,
// fixing the bytes and keeping the state durable, without wasm and network.
func BenchmarkRun(b *testing.B) {
	for _, steps := range []int{1_000, 10_000, 100_000} {
		for _, destinations := range []int{1, 4} {
			for _, redacted := range []bool{false, true} {
				name := fmt.Sprintf("steps=%d/destinations=%d/redact=%v", steps, destinations, redacted)
				b.Run(name, func(b *testing.B) { benchmarkRun(b, steps, destinations, redacted) })
			}
		}
	}
}

func benchmarkRun(b *testing.B, steps, destinations int, redacted bool) {
	m := everyStep{fmt.Appendf(nil, `{"text":%q,"tokens":12}`, strings.Repeat("word ", 50))}
	s := newStep("one", 1)
	s.Input = fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("prompt ", 140))
	payload := s.AppendJSON(nil)
	id := strings.Index(string(payload), s.ID)

	b.ReportAllocs()
	for range b.N {
		b.StopTimer()
		p := newPlace(b, b.TempDir())
		for i := range destinations {
			p.Destinations = append(p.Destinations, plain(fmt.Sprintf("d%d", i), m, blackHole{}))
		}
		if redacted {
			p.Redactor = redact.New(redact.Options{})
		}
		w, err := p.spool.Writer()
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; n < steps; n += 1000 {
			payloads := make([][]byte, 1000)
			for i := range payloads {
				one := append([]byte(nil), payload...)
				copy(one[id:], fmt.Sprintf("%012x", n+i))
				payloads[i] = one
			}
			if err := w.Append(0, payloads...); err != nil {
				b.Fatal(err)
			}
		}
		w.Close()
		b.StartTimer()
		report, err := sync.Run(context.Background(), p.Options)
		if err != nil {
			b.Fatal(err)
		}
		for _, d := range report.Destinations {
			if d.Acknowledged != uint64(steps) {
				b.Fatalf("%+v", d)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*steps*destinations), "ns/step")
	b.SetBytes(int64(len(payload) * steps * destinations))
}
