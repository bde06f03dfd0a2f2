package sync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

// mapper is a mapper in Go. What it makes of a step is written in the step's
// name, see signalsOf; how it fails is told by the fields.
type mapper struct {
	// version is in the data of every signal: another version makes other bytes.
	version int
	// tired fails batches on an instance that has a history, though no step is to blame.
	tired bool
	// broken fails on anything.
	broken error
	// before is called ahead of each batch.
	before func(ctx context.Context) error

	calls, fresh, largest int
}

var errBadStep = fault.New(fault.PluginFailed, "cannot read the oracle's mind")

func (m *mapper) Map(ctx context.Context, steps []step.Step, fresh bool) ([]world.Signal, error) {
	m.calls++
	m.largest = max(m.largest, len(steps))
	if fresh {
		m.fresh++
	}
	if m.before != nil {
		if err := m.before(ctx); err != nil {
			return nil, err
		}
	}
	if m.broken != nil {
		return nil, m.broken
	}
	if m.tired && !fresh {
		return nil, fault.New(fault.PluginFuelExhausted, "out of fuel")
	}
	var signals []world.Signal
	for i, s := range steps {
		of, err := signalsOf(s, m.version)
		if err != nil {
			return nil, err
		}
		for j := range of {
			of[j].Step += uint32(i)
		}
		signals = append(signals, of...)
	}
	return signals, nil
}

// signalsOf is what the mapper makes of one step. The word before the first
// dash of its name says what: see the cases.
func signalsOf(s step.Step, version int) ([]world.Signal, error) {
	data := fmt.Appendf(nil, `{"name":%q,"version":%d}`, s.Name, version)
	one := world.Signal{Type: axon.InteractionCreated, Data: data}
	two := world.Signal{Type: axon.CoherenceUpdate, Data: data}
	kind, _, _ := strings.Cut(s.Name, "-")
	switch kind {
	case "none":
		return nil, nil
	case "one":
		return []world.Signal{one}, nil
	case "two":
		return []world.Signal{one, two}, nil
	case "bad":
		return nil, errBadStep
	case "trap":
		return nil, fault.New(fault.PluginTrapped, "unreachable")
	case "same":
		return []world.Signal{one, one}, nil
	case "contradiction":
		other := one
		other.Data = []byte(`{}`)
		return []world.Signal{one, two, other}, nil
	case "unknown":
		return []world.Signal{two, {Type: "skill.uploaded", Data: data}}, nil
	case "garbage":
		return []world.Signal{{Type: axon.InteractionCreated, Data: []byte(`{"a":1,"a":2}`)}}, nil
	case "lost":
		return []world.Signal{{Step: 1 << 31, Type: axon.InteractionCreated, Data: data}}, nil
	}
	return nil, fmt.Errorf("the test has no step of kind %q", kind)
}

// delivered and refusedKinds are the kinds of steps, and how many signals the good ones have.
var (
	delivered = map[string]int{"none": 0, "one": 1, "two": 2, "same": 1}
	refused   = map[string]fault.Code{
		"bad":           fault.PluginFailed,
		"trap":          fault.PluginTrapped,
		"lost":          fault.PluginBadOutput,
		"contradiction": fault.SyncConflict,
		"unknown":       fault.SyncEventRefused,
		"garbage":       fault.SyncEventRefused,
	}
	kinds = []string{"none", "one", "two", "same", "bad", "trap", "contradiction", "unknown", "garbage", "lost"}
)

func newStep(kind string, n int) step.Step {
	return step.Step{
		ID:     fmt.Sprintf("%012x", n),
		Action: step.LLMReply,
		Name:   fmt.Sprintf("%s-%d", kind, n),
		Time:   time.Date(2026, 1, 2, 3, 4, 5, n, time.UTC),
	}
}

func kindOf(s step.Step) string {
	kind, _, _ := strings.Cut(s.Name, "-")
	return kind
}

var seal = sync.Sealing{Source: axon.Source("test")}

// Whatever steps a batch has, the good ones become their events in order, and
// each bad one is refused for its own reason.
func TestMapCondemnsOnlyTheBadSteps(t *testing.T) {
	sawRefusal := false
	rapid.Check(t, func(t *rapid.T) {
		drawn := rapid.SliceOfN(rapid.SampledFrom(append([]string{"one", "two", "one", "none"}, kinds...)), 0, 80).Draw(t, "kinds")
		steps := make([]step.Step, len(drawn))
		for i, kind := range drawn {
			steps[i] = newStep(kind, i)
		}
		m := &mapper{tired: rapid.Bool().Draw(t, "tired")}
		events, refusals, err := sync.Map(t.Context(), m, steps, seal)
		if err != nil {
			t.Fatal(err)
		}

		var wantIDs, gotIDs []string
		wantRefused := make(map[int]fault.Code)
		for i, s := range steps {
			kind := kindOf(s)
			if code, bad := refused[kind]; bad {
				wantRefused[i] = code
				sawRefusal = true
			}
			for _, typ := range []string{axon.InteractionCreated, axon.CoherenceUpdate}[:delivered[kind]] {
				wantIDs = append(wantIDs, axon.ID(s.ID, typ))
			}
		}
		for _, e := range events {
			gotIDs = append(gotIDs, e.ID)
			if e.Time != uint64(steps[e.Step].Time.UnixNano()) || e.Subject != steps[e.Step].Name {
				t.Fatalf("event %+v of step %+v", e.Event, steps[e.Step])
			}
		}
		if !slices.Equal(gotIDs, wantIDs) {
			t.Fatalf("got events %v, want %v", gotIDs, wantIDs)
		}
		if len(refusals) != len(wantRefused) {
			t.Fatalf("%d refusals, want %d", len(refusals), len(wantRefused))
		}
		for _, r := range refusals {
			if r.Err.Code != wantRefused[r.Step] {
				t.Fatalf("step %q: %v, want code %s", steps[r.Step].Name, r.Err, wantRefused[r.Step])
			}
		}
	})
	if !sawRefusal {
		t.Error("no step was ever refused: the generator tests nothing")
	}
}

func TestMapSaysWhatThePluginSaid(t *testing.T) {
	_, refusals, err := sync.Map(t.Context(), &mapper{}, []step.Step{newStep("one", 0), newStep("bad", 1)}, seal)
	if err != nil || len(refusals) != 1 {
		t.Fatal(refusals, err)
	}
	if got := refusals[0].Err.Message; !strings.Contains(got, "cannot read the oracle's mind") {
		t.Errorf("the plugin's message is not in %q", got)
	}
}

// A mapper that is broken as a whole condemns nothing.
func TestMapBrokenMapper(t *testing.T) {
	steps := []step.Step{newStep("one", 0), newStep("one", 1)}
	m := &mapper{broken: fault.New(fault.PluginTrapped, "unreachable")}
	events, refusals, err := sync.Map(t.Context(), m, steps, seal)
	if fault.CodeOf(err) != fault.PluginTrapped || len(events)+len(refusals) > 0 {
		t.Errorf("got %d events, %d refusals, %v; want an error and nothing condemned", len(events), len(refusals), err)
	}

	// One that merely has an opinion on every batch is not broken.
	m.broken = fault.New(fault.PluginFailed, "not in the mood")
	_, refusals, err = sync.Map(t.Context(), m, steps, seal)
	if err != nil || len(refusals) != 2 {
		t.Errorf("%d refusals, %v; want both steps refused", len(refusals), err)
	}
}

// A deadline that falls into a batch is nobody's fault.
func TestMapStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &mapper{before: func(context.Context) error {
		cancel()
		return fault.New(fault.PluginTimeout, "took too long")
	}}
	_, refusals, err := sync.Map(ctx, m, []step.Step{newStep("one", 0)}, seal)
	if !errors.Is(err, context.Canceled) || len(refusals) > 0 {
		t.Errorf("%v, and %d steps condemned", err, len(refusals))
	}
}

// Finding one bad step costs a few calls, not one for each step.
func TestMapSplits(t *testing.T) {
	steps := make([]step.Step, sync.MaxBatchSteps)
	for i := range steps {
		steps[i] = newStep("one", i)
	}
	steps[77] = newStep("trap", 77)
	m := &mapper{}
	events, refusals, err := sync.Map(t.Context(), m, steps, seal)
	if err != nil || len(refusals) != 1 || len(events) != len(steps)-1 {
		t.Fatalf("%d events, %d refusals, %v", len(events), len(refusals), err)
	}
	// The whole batch, two levels of sixteen, the fresh instance, the probe.
	if m.calls != 1+16+16+1+1 || m.fresh != 2 {
		t.Errorf("%d calls, %d of them fresh", m.calls, m.fresh)
	}
}

func BenchmarkMap(b *testing.B) {
	steps := make([]step.Step, 64)
	for i := range steps {
		steps[i] = newStep("one", i)
	}
	m := constant{{Type: axon.InteractionCreated, Data: fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("word ", 200))}}
	for i := range steps {
		if i > 0 {
			m = append(m, m[0])
			m[i].Step = uint32(i)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := sync.Map(b.Context(), m, steps, seal); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(steps)), "ns/step")
}

// constant is a mapper that costs nothing.
type constant []world.Signal

func (c constant) Map(context.Context, []step.Step, bool) ([]world.Signal, error) { return c, nil }
