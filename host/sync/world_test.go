package sync_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	gosync "sync"
	"testing"
	"time"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// store is a destination: it keeps the first body of each id, as the platform does.
type store struct {
	mu      gosync.Mutex
	bodies  map[string]string // guarded by mu
	order   []string          // ids in order of their first arrival; guarded by mu
	changed []string          // ids under which a second body came; guarded by mu
	again   int               // events that came once more; guarded by mu
}

func newStore() *store { return &store{bodies: make(map[string]string)} }

func (s *store) put(e world.Event) world.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, ok := s.bodies[e.ID]
	switch {
	case !ok:
		s.bodies[e.ID] = string(e.Body)
		s.order = append(s.order, e.ID)
		return world.Outcome{Kind: world.Accepted}
	case before == string(e.Body):
		s.again++
		return world.Outcome{Kind: world.Duplicate}
	}
	s.changed = append(s.changed, e.ID)
	return world.Outcome{Kind: world.Conflict, Text: axon.ID(before, "")}
}

func (s *store) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.bodies))
}

// forwarder brings events to a store, and misbehaves as it is told. It is the
// shape of a real one: what it stores and what it answers are two things.
type forwarder struct {
	store *store
	// deliver is asked first; a nil answer of both kinds means: store and say so.
	deliver func(events []world.Event) (answer []world.Outcome, err error)
	// after is asked once the events are stored: an error is a lost answer.
	after func(events []world.Event) error
	open  func() error
	// chain gets what is of the ledger; nil refuses it.
	chain *chain

	opened, calls, largest int
	settings               string
	ctx                    context.Context // of the last delivery
}

func (f *forwarder) Open(_ context.Context, settings []byte) error {
	f.opened++
	f.settings = string(settings)
	if f.open != nil {
		return f.open()
	}
	return nil
}

func (f *forwarder) Deliver(ctx context.Context, topic world.Topic, events []world.Event) ([]world.Outcome, error) {
	f.calls++
	f.largest = max(f.largest, len(events))
	if topic != world.Signals && f.chain == nil {
		return nil, fmt.Errorf("topic %s", topic)
	}
	f.ctx = ctx
	if f.deliver != nil {
		if answer, err := f.deliver(events); answer != nil || err != nil {
			return answer, err
		}
	}
	outcomes := make([]world.Outcome, len(events))
	for i, e := range events {
		if topic == world.Signals {
			outcomes[i] = f.store.put(e)
		} else if outcomes[i] = f.chain.put(e); outcomes[i].Kind > world.Duplicate {
			for j := range outcomes[i+1:] {
				outcomes[i+1+j] = world.Outcome{Kind: world.Retry, Text: "a block before it was not stored"}
			}
			break
		}
	}
	if f.after != nil {
		if err := f.after(events); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// place is a home with one spool, a clock, and the two plugins of each destination.
type place struct {
	dir   string
	spool *spool.Spool
	clock clock
	sync.Options
	next int // number of the next step
	due  map[string]bool
}

// clock is moved by the test alone.
type clock struct {
	mu  gosync.Mutex
	now time.Time // guarded by mu
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newPlace(t tester, dir string, destinations ...sync.Destination) *place {
	dir = filepath.Join(dir, "home")
	if err := private.MkdirAll(dir); err != nil {
		t.Fatalf("%v", err)
	}
	p := &place{dir: dir, due: make(map[string]bool)}
	p.clock.now = time.Now()
	p.reopen(t)
	p.Options = sync.Options{
		Spool:        p.spool,
		Lock:         filepath.Join(dir, "state", "sync.lock"),
		Source:       axon.Source("test"),
		Consent:      func() (bool, uint32) { return true, 1 },
		Now:          p.clock.Now,
		Destinations: destinations,
	}
	return p
}

// reopen opens the spool as a new process would.
func (p *place) reopen(t tester) {
	s, err := spool.Open(p.dir, spool.Options{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	p.spool, p.Options.Spool = s, s
}

// record appends steps of the given kinds under one epoch, in one slot.
func (p *place) record(t tester, epoch uint32, kinds ...string) []step.Step {
	t.Helper()
	w, err := p.spool.Writer()
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer w.Close()
	return p.recordTo(t, w, epoch, kinds...)
}

func (p *place) recordTo(t tester, w *spool.Writer, epoch uint32, kinds ...string) []step.Step {
	t.Helper()
	var steps []step.Step
	var payloads [][]byte
	for _, kind := range kinds {
		p.next++
		s := newStep(kind, p.next)
		steps = append(steps, s)
		payloads = append(payloads, s.AppendJSON(nil))
		for _, typ := range []string{axon.InteractionCreated, axon.CoherenceUpdate}[:delivered[kind]] {
			p.due[axon.ID(s.ID, typ)] = true
		}
	}
	if err := w.Append(epoch, payloads...); err != nil {
		t.Fatalf("%v", err)
	}
	return steps
}

func (p *place) run(t tester) sync.Report {
	t.Helper()
	report, err := sync.Run(context.Background(), p.Options)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return report
}

// drain runs, past every back-off, until nothing is pending.
func (p *place) drain(t tester) sync.Report {
	t.Helper()
	for range 400 {
		report := p.run(t)
		if report.Drained() {
			return report
		}
		p.clock.advance(sync.MaxRetryAfter)
	}
	t.Fatalf("still pending: %+v", p.run(t))
	panic("unreachable")
}

// plain is a destination without consent, without faults.
func plain(name string, m sync.Mapper, f sync.Forwarder) sync.Destination {
	return sync.Destination{
		Name:     name,
		Settings: []byte(`{}`),
		Load: func(context.Context) (sync.Mapper, sync.Forwarder, io.Closer, error) {
			return m, f, io.NopCloser(nil), nil
		},
		LoadMapper: func(context.Context) (sync.Mapper, io.Closer, error) {
			return m, io.NopCloser(nil), nil
		},
	}
}

// same fails unless the store holds exactly the ids that are due.
func same(t tester, s *store, due map[string]bool) {
	t.Helper()
	got, want := s.ids(), slices.Sorted(maps.Keys(due))
	if !slices.Equal(got, want) {
		t.Fatalf("the destination holds %d ids, %d were due", len(got), len(want))
	}
	if len(s.changed) > 0 {
		t.Fatalf("a second body came under %d ids", len(s.changed))
	}
}

func repeat(kind string, n int) []string {
	return slices.Repeat([]string{kind}, n)
}

func deadOf(t tester, s *spool.Spool, name string) []sync.DeadLetter {
	t.Helper()
	letters, err := sync.DeadLetters(s, name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return letters
}

func codesOf(letters []sync.DeadLetter) (codes []string) {
	for _, l := range letters {
		codes = append(codes, l.Code)
	}
	return codes
}

// abandon ends the goroutine that calls it where it stands, as a kill would:
// what comes after it is never done.
func abandon() { runtime.Goexit() }

func status(t *testing.T, o sync.Options) sync.DestinationStatus {
	t.Helper()
	report, err := sync.Status(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Destinations) != 1 {
		t.Fatalf("%d destinations", len(report.Destinations))
	}
	return report.Destinations[0]
}

var errTrap = fault.New(fault.PluginTrapped, "unreachable")
