package sync_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/redact"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

func TestDelivers(t *testing.T) {
	s := newStore()
	m, f := &mapper{}, &forwarder{store: s}
	p := newPlace(t, t.TempDir(), plain("archive", m, f))
	p.record(t, 0, slices.Concat(repeat("one", 600), repeat("two", 300), repeat("none", 400))...)

	report := p.run(t)
	same(t, s, p.due)
	d := report.Destinations[0]
	if d.State != sync.OK || d.Pending != 0 || d.Acknowledged != 1200 || d.DeadLetters != 0 || d.Reason != "" {
		t.Errorf("report %+v", d)
	}
	if m.largest > sync.MaxBatchSteps || f.largest > sync.MaxBatchSteps {
		t.Errorf("batches of %d steps and %d events, at most %d are allowed", m.largest, f.largest, sync.MaxBatchSteps)
	}
	if f.opened != 1 || f.settings != "{}" {
		t.Errorf("opened %d times with %q", f.opened, f.settings)
	}

	// Once more: nothing is pending, so nothing is loaded.
	p.Destinations[0].Load = func(context.Context) (sync.Mapper, sync.Forwarder, io.Closer, error) {
		t.Error("plugins were loaded for nothing")
		return nil, nil, nil, errors.New("no")
	}
	p.run(t)
}

// What is mapped ahead, while a window is delivered, is what would have been
// mapped after it: also when deliveries fail and steps are bad.
func TestManyWindows(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s}
	f.deliver = func([]world.Event) ([]world.Outcome, error) {
		if f.calls%23 == 0 {
			return nil, &world.Failure{Kind: world.Unavailable, Message: "now and then"}
		}
		return nil, nil
	}
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, f))
	kinds := repeat("one", 20_000)
	bad := 0
	for i := range kinds {
		switch {
		case i%3 == 0:
			kinds[i] = "none"
		case i%1777 == 1:
			kinds[i] = "trap"
			bad++
		}
	}
	steps := p.record(t, 0, kinds...)
	d := p.drain(t).Destinations[0]
	same(t, s, p.due)
	inOrder(t, s, steps)
	if d.DeadLetters != bad || d.Acknowledged != uint64(len(p.due)) || s.again != 0 {
		t.Errorf("%+v, %d sent again; want %d dead letters", d, s.again, bad)
	}
}

func TestEmptyHome(t *testing.T) {
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, &forwarder{store: newStore()}))
	if report := p.run(t); !report.Drained() {
		t.Errorf("%+v", report)
	}
}

// A mapper that fails on some steps of many costs those alone.
func TestBadStepsBecomeDeadLetters(t *testing.T) {
	s := newStore()
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, &forwarder{store: s}))
	kinds := repeat("one", 400)
	kinds[3], kinds[170], kinds[399] = "bad", "unknown", "contradiction"
	steps := p.record(t, 0, kinds...)

	report := p.run(t)
	same(t, s, p.due)
	if d := report.Destinations[0]; d.Pending != 0 || d.DeadLetters != 3 || !strings.Contains(d.Hint, "carl dlq list") {
		t.Errorf("report %+v", d)
	}
	letters := deadOf(t, p.spool, "archive")
	want := []fault.Code{fault.PluginFailed, fault.SyncEventRefused, fault.SyncConflict}
	for i, at := range []int{3, 170, 399} {
		l := letters[i]
		if l.ID != steps[at].ID || l.Code != string(want[i]) || l.Reason == "" || l.Topic != "signals" || l.Attempts != 1 {
			t.Errorf("letter %+v of step %+v", l, steps[at])
		}
		if back, err := step.Decode(l.Step); err != nil || back.Name != steps[at].Name {
			t.Errorf("the step of the letter: %+v, %v", back, err)
		}
	}
	if !strings.Contains(letters[0].Reason, "oracle") {
		t.Errorf("the plugin's message is not in %q", letters[0].Reason)
	}
}

// The bytes that were fixed before the first send go out again after a lost
// answer, though mapper and process have changed since.
func TestSameBytesAfterALostAnswer(t *testing.T) {
	s := newStore()
	m := &mapper{version: 1}
	f := &forwarder{store: s, after: func([]world.Event) error {
		return &world.Failure{Kind: world.Unavailable, Message: "connection reset"}
	}}
	p := newPlace(t, t.TempDir(), plain("camp", m, f))
	p.record(t, 0, repeat("one", 10)...)
	if d := p.run(t).Destinations[0]; d.State != sync.BackingOff || d.Pending != 10 || !strings.Contains(d.Reason, "connection reset") {
		t.Errorf("report %+v", d)
	}

	m.version, f.after = 2, nil
	p.reopen(t)
	p.record(t, 0, repeat("one", 5)...)
	p.drain(t)
	same(t, s, p.due)
	if s.again != 10 {
		t.Errorf("%d events came again, want the 10 that were sent", s.again)
	}
	versions := 0
	for _, body := range s.bodies {
		if strings.Contains(body, `"version":2`) {
			versions++
		}
	}
	if versions != 5 {
		t.Errorf("%d events have the new mapper's bytes, want the 5 that were recorded since", versions)
	}
}

func TestFailuresOfABatch(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		login  bool
		state  sync.LaneState
		code   fault.Code
		reason string
		hint   string
		least  time.Duration // the least that is waited
		most   time.Duration
	}{
		"down": {
			err:   &world.Failure{Kind: world.Unavailable, Message: "connection refused"},
			state: sync.BackingOff, code: fault.SyncUnavailable, reason: "connection refused",
			least: sync.MinBackoff, most: 2 * time.Second,
		},
		"asks for patience": {
			err:   &world.Failure{Kind: world.Unavailable, Message: "429", RetryAfterMS: 90_000},
			state: sync.BackingOff, code: fault.SyncUnavailable, reason: "429", least: 90 * time.Second, most: 90 * time.Second,
		},
		"asks for ten years": {
			err:   &world.Failure{Kind: world.Unavailable, Message: "429", RetryAfterMS: 1 << 60},
			state: sync.BackingOff, code: fault.SyncUnavailable, least: sync.MaxRetryAfter, most: sync.MaxRetryAfter,
		},
		"unauthorized, the platform": {
			err: &world.Failure{Kind: world.Unauthorized, Message: "HTTP 401"}, login: true,
			state: sync.Paused, code: fault.SyncUnauthorized, reason: "HTTP 401", hint: "`carl camp login`",
		},
		"unauthorized": {
			err:   &world.Failure{Kind: world.Unauthorized, Message: "HTTP 401"},
			state: sync.Paused, code: fault.SyncUnauthorized, hint: "`carl sync --resume lake`",
		},
		"misconfigured": {
			err:   &world.Failure{Kind: world.Misconfigured, Message: "HTTP 404"},
			state: sync.Paused, code: fault.SyncMisconfigured, reason: "HTTP 404", hint: "`carl sync --resume lake`",
		},
		"the plugin crashes": {
			err: errTrap, state: sync.BackingOff, code: fault.PluginTrapped, reason: "unreachable",
			least: sync.MinBackoff, most: 2 * time.Second,
		},
		"the plugin says something unheard of": {
			err: errors.New("boo"), state: sync.BackingOff, code: fault.Internal, reason: "boo",
			least: sync.MinBackoff, most: 2 * time.Second,
		},
	} {
		for _, at := range []string{"deliver", "open"} {
			t.Run(name+", "+at, func(t *testing.T) {
				s := newStore()
				f := &forwarder{store: s}
				fail := c.err
				if at == "open" {
					f.open = func() error { return fail }
				} else {
					f.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, fail }
				}
				p := newPlace(t, t.TempDir(), plain("lake", &mapper{}, f))
				p.Destinations[0].Login = c.login
				p.record(t, 0, repeat("two", 20)...)

				p.Exact = true
				before := p.clock.Now()
				d := p.run(t).Destinations[0]
				if d.State != c.state || d.Code != c.code || !strings.Contains(d.Reason, c.reason) || !strings.Contains(d.Hint, c.hint) || d.Reason == "" || d.Hint == "" {
					t.Errorf("report %+v", d)
				}
				if d.Pending != 40 || d.Acknowledged != 0 || d.DeadLetters != 0 {
					t.Errorf("pending %d, acknowledged %d, dead %d; want all 40 pending", d.Pending, d.Acknowledged, d.DeadLetters)
				}
				if again := status(t, p.Options); again != d {
					t.Errorf("the status afterwards is another: %+v, not %+v", again, d)
				}
				calls := f.calls + f.opened
				p.run(t)
				if f.calls+f.opened != calls {
					t.Error("it was tried again before its time")
				}

				fail = nil
				f.open, f.deliver = nil, nil
				if c.state == sync.Paused {
					p.clock.advance(24 * time.Hour)
					p.run(t)
					if f.calls+f.opened != calls {
						t.Error("a paused destination was tried")
					}
					if c.login {
						if err := sync.LoggedIn(t.Context(), p.Options); err != nil {
							t.Fatal(err)
						}
					} else if err := sync.Resume(t.Context(), p.Options, "lake"); err != nil {
						t.Fatal(err)
					}
				} else {
					if wait := d.NotBefore.Sub(before); wait < c.least || wait > c.most {
						t.Errorf("waits %s, want %s to %s", wait, c.least, c.most)
					}
					p.clock.advance(d.NotBefore.Sub(before))
				}
				d = p.run(t).Destinations[0]
				if d.State != sync.OK || d.Acknowledged != 40 || d.Pending != 0 || d.Reason != "" {
					t.Errorf("after it was mended: %+v", d)
				}
				same(t, s, p.due)
			})
		}
	}
}

func TestResumeUnknown(t *testing.T) {
	p := newPlace(t, t.TempDir(), plain("lake", &mapper{}, &forwarder{store: newStore()}))
	if err := sync.Resume(t.Context(), p.Options, "laek"); fault.CodeOf(err) != fault.SyncUnknownDestination {
		t.Errorf("%v", err)
	}
}

// A clock that was wrong by years when a back-off was drawn does not silence
// the destination for as long.
func TestClockSetBack(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s, deliver: func([]world.Event) ([]world.Outcome, error) {
		return nil, &world.Failure{Kind: world.Unavailable, Message: "down", RetryAfterMS: 1000}
	}}
	p := newPlace(t, t.TempDir(), plain("lake", &mapper{}, f))
	p.record(t, 0, "one")
	p.clock.advance(20_000 * time.Hour)
	p.run(t)
	f.deliver = nil
	p.clock.advance(-20_000 * time.Hour)
	p.run(t)
	same(t, s, p.due)
}

// Resume lifts a back-off of carl's own, and none that the destination asked for.
func TestResumeLiftsBackoff(t *testing.T) {
	for _, asked := range []uint64{0, 60_000} {
		f := &forwarder{store: newStore(), deliver: func([]world.Event) ([]world.Outcome, error) {
			return nil, &world.Failure{Kind: world.Unavailable, Message: "down", RetryAfterMS: asked}
		}}
		p := newPlace(t, t.TempDir(), plain("lake", &mapper{}, f))
		p.record(t, 0, "one")
		p.run(t)
		f.deliver = nil
		if err := sync.Resume(t.Context(), p.Options, "lake"); err != nil {
			t.Fatal(err)
		}
		if got, want := p.run(t).Drained(), asked == 0; got != want {
			t.Errorf("asked to wait %d ms: delivered %v after resuming, want %v", asked, got, want)
		}
	}
}

// A plugin that cannot be loaded loses nothing, and says so; who has mended
// that does not wait for the end of a back-off.
func TestLoadFails(t *testing.T) {
	s := newStore()
	p := newPlace(t, t.TempDir(), plain("lake", &mapper{}, &forwarder{store: s}))
	load := p.Destinations[0].Load
	p.Destinations[0].Load = func(context.Context) (sync.Mapper, sync.Forwarder, io.Closer, error) {
		return nil, nil, nil, fault.New(fault.PluginDigestMismatch, "the stored plugin is another")
	}
	p.record(t, 0, "one")
	d := p.run(t).Destinations[0]
	if d.State != sync.BackingOff || d.Code != fault.PluginDigestMismatch || d.Hint == "" || d.Pending != 1 {
		t.Errorf("report %+v", d)
	}
	p.Destinations[0].Load = load
	if d := p.run(t).Destinations[0]; d.State != sync.OK || d.Pending != 0 {
		t.Errorf("after mending: %+v", d)
	}
	same(t, s, p.due)
}

// Answers that cannot be matched with the events settle none of them.
func TestIllegalAnswers(t *testing.T) {
	for name, answer := range map[string][]world.Outcome{
		"none at all":     {},
		"one too few":     make([]world.Outcome, 4),
		"one too many":    make([]world.Outcome, 6),
		"an unknown kind": {{}, {}, {Kind: 77}, {}, {}},
	} {
		s := newStore()
		f := &forwarder{store: s, deliver: func([]world.Event) ([]world.Outcome, error) { return answer, nil }}
		p := newPlace(t, t.TempDir(), plain("lake", &mapper{}, f))
		p.record(t, 0, repeat("one", 5)...)
		d := p.run(t).Destinations[0]
		if d.State != sync.BackingOff || d.Code != fault.PluginBadOutput || d.Pending != 5 || d.Acknowledged != 0 {
			t.Errorf("%s: %+v", name, d)
		}
		f.deliver = nil
		p.drain(t)
		same(t, s, p.due)
	}
}

// judged answers for each event by what its subject is a prefix of.
func judged(s *store, by func(e world.Event) (world.Outcome, bool)) func([]world.Event) ([]world.Outcome, error) {
	return func(events []world.Event) ([]world.Outcome, error) {
		out := make([]world.Outcome, len(events))
		for i, e := range events {
			if o, ok := by(e); ok {
				out[i] = o
			} else {
				out[i] = s.put(e)
			}
		}
		return out, nil
	}
}

func TestOutcomesOfSingleEvents(t *testing.T) {
	s := newStore()
	var loud []string
	f := &forwarder{store: s}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	p.Log = func(level world.LogLevel, message string) {
		if level == world.LogError {
			loud = append(loud, message)
		}
	}
	steps := p.record(t, 0, repeat("one", 10)...)
	id := func(n int) string { return axon.ID(steps[n].ID, axon.InteractionCreated) }
	f.deliver = judged(s, func(e world.Event) (world.Outcome, bool) {
		switch e.ID {
		case id(2):
			return world.Outcome{Kind: world.Rejected, Text: "no such\n\x1b[31mfield"}, true
		case id(5):
			return world.Outcome{Kind: world.Conflict, Text: "abc"}, true
		case id(7):
			return world.Outcome{Kind: world.Retry, Text: "busy"}, true
		}
		return world.Outcome{}, false
	})
	d := p.run(t).Destinations[0]
	if d.State != sync.BackingOff || d.Pending != 1 || d.Acknowledged != 7 || d.DeadLetters != 2 || !strings.Contains(d.Reason, "busy") {
		t.Errorf("report %+v", d)
	}
	letters := deadOf(t, p.spool, "camp")
	if got := codesOf(letters); !slices.Equal(got, []string{string(fault.SyncRejected), string(fault.SyncConflict)}) {
		t.Fatalf("dead letters %v", got)
	}
	if l := letters[0]; l.ID != id(2) || l.Attempts != 1 || l.Step != nil || !strings.Contains(string(l.Event), `"specversion":"1.0"`) || strings.ContainsAny(l.Reason, "\n\x1b") {
		t.Errorf("letter %+v", l)
	}
	if len(loud) != 1 || !strings.Contains(loud[0], id(5)) {
		t.Errorf("a conflict was logged as %q", loud)
	}

	// The one that was put off arrives; the others are sent no second time.
	f.deliver = nil
	p.drain(t)
	delete(p.due, id(2))
	delete(p.due, id(5))
	same(t, s, p.due)
	if s.again != 0 {
		t.Errorf("%d events were sent again", s.again)
	}
}

// Two signals of one step end differently: the step is not done until both
// are, and the first is not sent again.
func TestStepDeliveredInPart(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s, deliver: judged(s, func(e world.Event) (world.Outcome, bool) {
		return world.Outcome{Kind: world.Retry, Text: "later"}, e.Type == axon.CoherenceUpdate
	})}
	m := &mapper{version: 1}
	p := newPlace(t, t.TempDir(), plain("camp", m, f))
	p.record(t, 0, repeat("two", 3)...)
	if d := p.run(t).Destinations[0]; d.Pending != 3 || d.Acknowledged != 3 {
		t.Errorf("%+v", d)
	}
	m.version, f.deliver = 2, nil
	p.reopen(t)
	p.drain(t)
	same(t, s, p.due)
	if s.again != 0 {
		t.Errorf("%d events were sent again", s.again)
	}
}

// A destination that puts off one event for ever gets all the others.
func TestOneEventPutOffForEver(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	steps := p.record(t, 0, repeat("one", 20)...)
	poison := axon.ID(steps[0].ID, axon.InteractionCreated)
	for _, kind := range []string{"retry", "too large and retry", "trap"} {
		steps := p.record(t, 0, repeat("one", 300)...)
		f.deliver = func(events []world.Event) ([]world.Outcome, error) {
			if kind == "too large and retry" && len(events) > 1 {
				return nil, &world.Failure{Kind: world.TooLarge, Message: "one at a time"}
			}
			if kind == "trap" && slices.ContainsFunc(events, func(e world.Event) bool { return e.ID == poison }) {
				return nil, errTrap
			}
			return judged(s, func(e world.Event) (world.Outcome, bool) {
				return world.Outcome{Kind: world.Retry, Text: "later"}, e.ID == poison
			})(events)
		}
		last := axon.ID(steps[len(steps)-1].ID, axon.InteractionCreated)
		for range 8 {
			p.run(t)
			p.clock.advance(sync.MaxBackoff)
		}
		if _, ok := s.bodies[last]; !ok {
			t.Errorf("%s: one event holds up the others", kind)
		}
	}
	f.deliver = nil
	p.drain(t)
	same(t, s, p.due)
}

func TestTooLargeSplits(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	steps := p.record(t, 0, repeat("one", 1000)...)
	giant := axon.ID(steps[500].ID, axon.InteractionCreated)
	refusals := 0
	f.deliver = func(events []world.Event) ([]world.Outcome, error) {
		if len(events) > 10 || events[0].ID == giant {
			refusals++
			return nil, &world.Failure{Kind: world.TooLarge, Message: "413"}
		}
		for _, e := range events {
			if e.ID == giant {
				refusals++
				return nil, &world.Failure{Kind: world.TooLarge, Message: "413"}
			}
		}
		return nil, nil
	}
	d := p.run(t).Destinations[0]
	delete(p.due, giant)
	same(t, s, p.due)
	if d.State != sync.OK || d.DeadLetters != 1 || d.Pending != 0 {
		t.Errorf("%+v", d)
	}
	if l := deadOf(t, p.spool, "camp"); l[0].ID != giant || !strings.Contains(l[0].Reason, "too large") {
		t.Errorf("letter %+v", l[0])
	}
	if s.again != 0 {
		t.Errorf("%d events were sent again", s.again)
	}
	if refusals > 60 {
		t.Errorf("%d refusals: what the destination takes was not learnt", refusals)
	}
}

// A batch that is rejected without a word about which event is at fault.
func TestRejectedBatchIsHalved(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	steps := p.record(t, 0, repeat("one", 700)...)
	bad := make(map[string]bool)
	for _, n := range []int{0, 300, 301, 699} {
		bad[axon.ID(steps[n].ID, axon.InteractionCreated)] = true
	}
	f.deliver = func(events []world.Event) ([]world.Outcome, error) {
		for _, e := range events {
			if bad[e.ID] {
				return nil, &world.Failure{Kind: world.RejectedBatch, Message: "422 unprocessable"}
			}
		}
		return nil, nil
	}
	d := p.run(t).Destinations[0]
	for id := range bad {
		delete(p.due, id)
	}
	same(t, s, p.due)
	if d.State != sync.OK || d.DeadLetters != len(bad) || d.Pending != 0 {
		t.Errorf("%+v", d)
	}
	for _, l := range deadOf(t, p.spool, "camp") {
		if !bad[l.ID] || l.Code != string(fault.SyncRejected) || !strings.Contains(l.Reason, "422") || l.Attempts < 8 {
			t.Errorf("letter %+v", l)
		}
	}
}

// A slow or dead destination holds up no other.
func TestDestinationsAreIndependent(t *testing.T) {
	quick, slow := newStore(), newStore()
	ctx, cancel := context.WithCancel(t.Context())
	hang := &hanging{until: ctx.Done()}
	done := &forwarder{store: quick, after: func([]world.Event) error { cancel(); return nil }}
	p := newPlace(t, t.TempDir(),
		plain("slow", &mapper{}, hang), plain("broken", &mapper{broken: errTrap}, &forwarder{store: slow}), plain("quick", &mapper{}, done))
	p.record(t, 0, repeat("one", 50)...)
	report, err := sync.Run(ctx, p.Options)
	if err != nil {
		t.Fatal(err)
	}
	same(t, quick, p.due)
	if d := report.Destinations[0]; d.State != sync.OK || d.Pending != 50 {
		t.Errorf("a run that was stopped is held against the destination: %+v", d)
	}

	// A mapper that is broken as a whole condemns nothing, and is told from the destination.
	if d := p.run(t).Destinations[1]; d.State != sync.BackingOff || d.Pending != 50 || d.Code != fault.PluginTrapped || d.DeadLetters != 0 {
		t.Errorf("a broken mapper: %+v", d)
	}
}

// hanging is a forwarder whose destination never answers.
type hanging struct{ until <-chan struct{} }

func (h *hanging) Open(context.Context, []byte) error { return nil }
func (h *hanging) Deliver(context.Context, world.Topic, []world.Event) ([]world.Outcome, error) {
	<-h.until
	return nil, &world.Failure{Kind: world.Unavailable, Message: "timeout"}
}

func TestBusy(t *testing.T) {
	s := newStore()
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, &forwarder{store: s}))
	p.record(t, 0, "one")
	if err := private.MkdirAll(p.dir + "/state"); err != nil {
		t.Fatal(err)
	}
	lock, ok, err := private.TryLock(p.Lock)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	report := p.run(t)
	if !report.Busy || report.Destinations[0].Pending != 1 || len(s.bodies) != 0 {
		t.Errorf("%+v", report)
	}
	soon, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := sync.Purge(soon, p.Options); fault.CodeOf(err) != fault.SyncBusy {
		t.Errorf("purge under another's lock: %v", err)
	}
	lock.Unlock()
	p.drain(t)
	same(t, s, p.due)
}

// A deadline that is too short for a batch with bad steps still gets on: what
// was decided before it is kept.
func TestShortDeadlinesGetOn(t *testing.T) {
	s := newStore()
	m := &mapper{}
	p := newPlace(t, t.TempDir(), plain("archive", m, &forwarder{store: s}))
	kinds := repeat("one", 512)
	bad := 0
	for i := 7; i < len(kinds); i += 31 {
		kinds[i] = "trap"
		bad++
	}
	p.record(t, 0, kinds...)
	runs := 0
	for ; runs < 100; runs++ {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		m.before = func(context.Context) error {
			if calls++; calls > 40 { // one bad step takes up to 35
				cancel()
				return ctx.Err()
			}
			return nil
		}
		if _, err := sync.Run(ctx, p.Options); err != nil {
			t.Fatal(err)
		}
		cancel()
		m.before = nil
		if status(t, p.Options).Pending == 0 {
			break
		}
	}
	same(t, s, p.due)
	if dead := deadOf(t, p.spool, "archive"); len(dead) != bad || runs == 0 {
		t.Errorf("%d dead letters after %d runs, want %d after several", len(dead), runs, bad)
	}
}

// A step that was recorded twice is one event; under one id, two different
// events do not leave.
func TestRecordedTwice(t *testing.T) {
	s := newStore()
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, &forwarder{store: s}))
	steps := p.record(t, 0, "one", "one")
	w, err := p.spool.Writer()
	if err != nil {
		t.Fatal(err)
	}
	other := steps[1]
	other.Time = other.Time.Add(1)
	if err := w.Append(0, steps[0].AppendJSON(nil), other.AppendJSON(nil)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	d := p.run(t).Destinations[0]
	same(t, s, p.due)
	if s.again != 0 || d.DeadLetters != 1 || d.Pending != 0 {
		t.Errorf("%d sent again, %+v", s.again, d)
	}
	if l := deadOf(t, p.spool, "archive"); l[0].Code != string(fault.SyncConflict) {
		t.Errorf("%+v", l[0])
	}
}

func TestConsent(t *testing.T) {
	local, camp := newStore(), newStore()
	granted, epoch := true, uint32(2)
	fc := &forwarder{store: camp}
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, &forwarder{store: local}), plain("camp", &mapper{}, fc))
	p.Destinations[1].Network = true
	p.Consent = func() (bool, uint32) { return granted, epoch }

	due := func(steps []step.Step) map[string]bool {
		ids := make(map[string]bool)
		for _, s := range steps {
			ids[axon.ID(s.ID, axon.InteractionCreated)] = true
		}
		return ids
	}
	p.record(t, 0, repeat("one", 3)...)
	p.record(t, 1, repeat("one", 3)...)
	current := due(p.record(t, 2, repeat("one", 300)...))
	p.run(t)
	same(t, local, p.due)
	same(t, camp, current)

	// Withdrawn: nothing more leaves, and the report says so.
	granted = false
	p.record(t, 0, repeat("one", 4)...)
	late := due(p.record(t, 2, repeat("one", 4)...))
	report := p.run(t)
	same(t, local, p.due)
	same(t, camp, current)
	if d := report.Destinations[1]; d.State != sync.Disabled || !strings.Contains(d.Hint, "carl consent grant telemetry") || d.Pending != 4 {
		t.Errorf("%+v", d)
	}
	// What only the environment had forbidden leaves later.
	granted = true
	p.run(t)
	for id := range late {
		current[id] = true
	}
	same(t, camp, current)

	// Revoked in the middle of a delivery: what was fixed does not leave under a later consent.
	fc.deliver = func([]world.Event) ([]world.Outcome, error) {
		granted = false
		return nil, &world.Failure{Kind: world.TooLarge, Message: "halve it"}
	}
	p.record(t, 2, repeat("one", 10)...)
	calls := fc.calls
	p.run(t)
	if fc.calls != calls+1 {
		t.Errorf("%d deliveries, want the one in which consent was revoked", fc.calls-calls)
	}
	granted, epoch, fc.deliver = true, 3, nil
	for id := range due(p.record(t, 3, repeat("one", 5)...)) {
		current[id] = true
	}
	if d := p.drain(t).Destinations[1]; d.Pending != 0 || d.State != sync.OK {
		t.Errorf("%+v", d)
	}
	same(t, camp, current)
	same(t, local, p.due)
}

func TestPurge(t *testing.T) {
	local, camp := newStore(), newStore()
	granted := true
	down := func([]world.Event) ([]world.Outcome, error) {
		return nil, &world.Failure{Kind: world.Unavailable, Message: "down"}
	}
	fl, fc := &forwarder{store: local, deliver: down}, &forwarder{store: camp, deliver: down}
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, fl), plain("camp", &mapper{}, fc))
	p.Destinations[1].Network = true
	p.Consent = func() (bool, uint32) { return granted, 1 }
	p.record(t, 1, repeat("one", 5000)...)
	p.run(t)
	if b, err := p.spool.LoadInflight("camp"); err != nil || b == nil {
		t.Fatal("nothing is in flight", err)
	}

	granted = false
	if err := sync.Purge(t.Context(), p.Options); err != nil {
		t.Fatal(err)
	}
	if b, err := p.spool.LoadInflight("camp"); err != nil || b != nil {
		t.Errorf("in flight still: %v, %v", b != nil, err)
	}
	report := p.run(t)
	if d := report.Destinations[1]; d.Pending != 0 || d.State != sync.Disabled {
		t.Errorf("%+v", d)
	}
	// Even the same epoch, which the home never gives again, finds nothing.
	granted = true
	fl.deliver, fc.deliver = nil, nil
	p.drain(t)
	same(t, local, p.due)
	same(t, camp, nil)
}

func TestReplay(t *testing.T) {
	s := newStore()
	m, f := &mapper{}, &forwarder{store: s}
	p := newPlace(t, t.TempDir(), plain("camp", m, f))
	p.Destinations[0].Network = true
	steps := p.record(t, 1, slices.Concat(repeat("one", 3), repeat("bad", 2))...)
	rejected := axon.ID(steps[0].ID, axon.InteractionCreated)
	f.deliver = judged(s, func(e world.Event) (world.Outcome, bool) {
		return world.Outcome{Kind: world.Rejected, Text: "no"}, e.ID == rejected
	})
	p.run(t)
	letters := deadOf(t, p.spool, "camp")
	if len(letters) != 3 {
		t.Fatalf("letters %+v", letters)
	}
	event := letters[slices.IndexFunc(letters, func(l sync.DeadLetter) bool { return l.ID == rejected })]

	// Replayed while it is refused still: they come back, with attempts added up.
	if n, err := sync.Replay(p.spool, letters...); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if d := status(t, p.Options); d.Pending != 3 || d.DeadLetters != 0 {
		t.Errorf("marked: %+v", d)
	}
	if d := p.run(t).Destinations[0]; d.Pending != 0 || d.DeadLetters != 3 {
		t.Errorf("refused again: %+v", d)
	}
	for _, l := range deadOf(t, p.spool, "camp") {
		if l.Attempts != 2 || l.Replay {
			t.Errorf("letter %+v", l)
		}
	}

	// Once everything is mended they arrive, an event with the bytes that it had.
	f.deliver = nil
	good := renamed{m}
	p.Destinations[0] = plain("camp", good, f)
	p.Destinations[0].Network = true
	if n, err := sync.Replay(p.spool, deadOf(t, p.spool, "camp")...); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if d := p.drain(t).Destinations[0]; d.DeadLetters != 0 || d.Pending != 0 {
		t.Errorf("%+v", d)
	}
	for _, st := range steps[3:] {
		p.due[axon.ID(st.ID, axon.InteractionCreated)] = true
	}
	same(t, s, p.due)
	if s.bodies[rejected] != string(event.Event) {
		t.Errorf("replayed as %s, it was %s", s.bodies[rejected], event.Event)
	}
}

// renamed is a mapper that was mended: it takes the bad steps for good ones.
type renamed struct{ *mapper }

func (r renamed) Map(ctx context.Context, steps []step.Step, fresh bool) ([]world.Signal, error) {
	steps = slices.Clone(steps)
	for i := range steps {
		steps[i].Name = strings.Replace(steps[i].Name, "bad-", "one-", 1)
	}
	return r.mapper.Map(ctx, steps, fresh)
}

// A letter from an earlier consent is not sent under a later one.
func TestReplayAfterRevocation(t *testing.T) {
	s := newStore()
	epoch := uint32(1)
	f := &forwarder{store: s, deliver: func(events []world.Event) ([]world.Outcome, error) {
		return slices.Repeat([]world.Outcome{{Kind: world.Rejected, Text: "no"}}, len(events)), nil
	}}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	p.Destinations[0].Network = true
	p.Consent = func() (bool, uint32) { return true, epoch }
	p.record(t, 1, "one", "bad")
	p.run(t)
	epoch, f.deliver = 2, nil
	for range 2 {
		if n, err := sync.Replay(p.spool, deadOf(t, p.spool, "camp")...); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		if d := p.run(t).Destinations[0]; d.Pending != 0 || d.DeadLetters != 2 {
			t.Errorf("%+v", d)
		}
	}
	for _, l := range deadOf(t, p.spool, "camp") {
		if l.Replay || strings.Count(l.Reason, "consent") != 1 {
			t.Errorf("letter %+v", l)
		}
	}
	same(t, s, nil)
}

// A kill between a replayed letter's second refusal and the state that tells
// of it loses neither the letter nor a record that shares its event.
func TestReplayKilled(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s, deliver: func(events []world.Event) ([]world.Outcome, error) {
		return slices.Repeat([]world.Outcome{{Kind: world.Rejected, Text: "no"}}, len(events)), nil
	}}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	steps := p.record(t, 0, repeat("one", 4)...)
	p.run(t)
	if n, err := sync.Replay(p.spool, deadOf(t, p.spool, "camp")...); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	// The last two are recorded once more, and share their letters' events.
	w, err := p.spool.Writer()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range steps[2:] {
		if err := w.Append(0, st.AppendJSON(nil)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	f.deliver = func(events []world.Event) ([]world.Outcome, error) {
		if len(events) != 4 {
			t.Errorf("%d events in flight, want 4", len(events))
		}
		return []world.Outcome{{Kind: world.Rejected}, {Kind: world.Rejected}, {Kind: world.Retry}, {Kind: world.Retry}}, nil
	}
	killed := false
	p.Log = func(world.LogLevel, string) {
		killed = true
		abandon()
	}
	p.run(t)
	p.Log = nil
	if !killed {
		t.Fatal("nothing was logged to be killed at")
	}
	// Meanwhile the user drops one of the letters that are in flight.
	letters, err := sync.FindDead(p.spool, "camp", axon.ID(steps[3].ID, axon.InteractionCreated))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := sync.Drop(p.spool, letters...); n != 1 || err != nil {
		t.Fatal(n, err)
	}

	f.deliver = nil
	p.clock.advance(sync.MaxBackoff)
	p.drain(t)
	if got := len(deadOf(t, p.spool, "camp")); got != 2 {
		t.Errorf("%d dead letters, want the 2 that were refused again", got)
	}
	if n, err := sync.Replay(p.spool, deadOf(t, p.spool, "camp")...); n != 2 || err != nil {
		t.Error(n, err)
	}
	p.drain(t)
	same(t, s, p.due)
}

// A letter whose event is no event any more stays one.
func TestReplayOfADamagedLetter(t *testing.T) {
	s := newStore()
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, &forwarder{store: s}))
	damaged := spool.DeadLetter{ID: "x", Topic: "signals", Code: "c", Reason: "r", Event: []byte(`{"id":7}`), Replay: true}
	if err := p.spool.AppendDead("camp", damaged); err != nil {
		t.Fatal(err)
	}
	p.record(t, 0, "one")
	if d := p.run(t).Destinations[0]; d.DeadLetters != 1 || d.Pending != 0 {
		t.Errorf("%+v", d)
	}
	same(t, s, p.due)
	if l := deadOf(t, p.spool, "camp"); len(l) != 1 || l[0].Replay || !strings.Contains(l[0].Reason, "damaged") {
		t.Errorf("%+v", l)
	}
}

func TestFindAndDropDead(t *testing.T) {
	p := newPlace(t, t.TempDir(), plain("a", &mapper{}, &forwarder{store: newStore()}), plain("b", &mapper{}, &forwarder{store: newStore()}))
	steps := p.record(t, 0, "bad", "bad")
	p.run(t)
	found, err := sync.FindDead(p.spool, "", steps[0].ID)
	if err != nil || len(found) != 2 || found[0].Destination != "a" || found[1].Destination != "b" {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, id := range []string{"", "f00", steps[0].ID[:6]} {
		if _, err := sync.FindDead(p.spool, "", id); fault.CodeOf(err) != fault.DeadLetterNotFound {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if n, err := sync.Drop(p.spool, found[0]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if left := deadOf(t, p.spool, ""); len(left) != 3 {
		t.Errorf("%d letters left", len(left))
	}
}

// A record that is no step at all is kept where a person can see it.
func TestGarbageInTheSpool(t *testing.T) {
	s := newStore()
	p := newPlace(t, t.TempDir(), plain("archive", &mapper{}, &forwarder{store: s}))
	w, err := p.spool.Writer()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(0, []byte("not JSON \xff"), []byte(`{"a":1}`), []byte(strings.Repeat("x", 3<<20))); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.record(t, 0, "one")
	d := p.run(t).Destinations[0]
	same(t, s, p.due)
	if d.DeadLetters != 3 || d.Pending != 0 {
		t.Errorf("%+v", d)
	}
}

// What the spool gave up becomes one step, once.
func TestLossesAreReported(t *testing.T) {
	s := newStore()
	echo := echoMapper{}
	p := newPlace(t, t.TempDir(), plain("archive", echo, &forwarder{store: s}))
	p.record(t, 0, repeat("one", 50)...)
	old, err := spool.Open(p.dir, spool.Options{MaxAge: time.Hour, Now: func() time.Time { return time.Now().Add(48 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Trim("archive"); err != nil {
		t.Fatal(err)
	}
	losses, err := old.Losses()
	if err != nil || len(losses) != 1 || losses[0].Total != 50 {
		t.Fatalf("losses %+v, %v", losses, err)
	}
	p.drain(t)
	p.drain(t)
	if len(s.bodies) != 1 {
		t.Fatalf("%d events, want the one that reports the loss", len(s.bodies))
	}
	for _, body := range s.bodies {
		for _, want := range []string{`"type":"action.dispatched"`, `"subject":"carl.spool.dropped"`, `"reason":"age","dropped":50,"total":50`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s has no %s", body, want)
			}
		}
	}
}

// echoMapper makes of each EXTERNAL step what the bundled mapper does.
type echoMapper struct{}

func (echoMapper) Map(_ context.Context, steps []step.Step, _ bool) (signals []world.Signal, err error) {
	for i, s := range steps {
		if s.Action == step.External {
			signals = append(signals, world.Signal{Step: uint32(i), Type: axon.ActionDispatched, Data: s.Metadata})
		}
	}
	return signals, nil
}

func TestTasks(t *testing.T) {
	p := newPlace(t, t.TempDir())
	ran := errors.New("ran")
	p.Tasks = []sync.Task{{Name: "refresh", Run: func(context.Context) error {
		if _, ok, err := private.TryLock(p.Lock); ok || err != nil {
			t.Errorf("a task runs without the lock: %v", err)
		}
		return ran
	}}}
	report := p.run(t)
	if len(report.Tasks) != 1 || report.Tasks[0].Name != "refresh" || report.Tasks[0].Err != ran {
		t.Errorf("%+v", report.Tasks)
	}
}

// With a deadline beyond the end of a back-off, a run waits for it.
func TestRunWaitsWithinItsDeadline(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s}
	failures := 1
	f.deliver = func([]world.Event) ([]world.Outcome, error) {
		if failures--; failures >= 0 {
			return nil, &world.Failure{Kind: world.Unavailable, Message: "once"}
		}
		return nil, nil
	}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	p.Now = nil
	p.record(t, 0, "one")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := sync.Run(ctx, p.Options)
	if err != nil || !report.Drained() {
		t.Errorf("%+v, %v", report, err)
	}
	same(t, s, p.due)
}

func TestWatch(t *testing.T) {
	s := newStore()
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, &forwarder{store: s}))
	p.Now = nil
	p.record(t, 0, "one")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rounds := 0
	err := sync.Watch(ctx, p.Options, 0, func(r sync.Report, err error) {
		if err != nil || !r.Drained() {
			t.Errorf("%+v, %v", r, err)
		}
		if rounds++; rounds == 3 {
			cancel()
			return
		}
		p.record(t, 0, "one")
	})
	if err != nil {
		t.Fatal(err)
	}
	if rounds != 3 {
		t.Errorf("%d rounds told of work, want 3", rounds)
	}
	same(t, s, p.due)
}

// What a mapper returns is redacted once more, and so is what a plugin says;
// ids stay what they are.
func TestRedactsWhatMappersAndPluginsSay(t *testing.T) {
	const secret = "correct-horse-battery-staple"
	s := newStore()
	f := &forwarder{store: s, deliver: func([]world.Event) ([]world.Outcome, error) {
		return nil, &world.Failure{Kind: world.Unavailable, Message: "Bearer " + secret + " is no good"}
	}}
	leak := leaking{world.Signal{
		Type: axon.InteractionCreated, Subject: "about " + secret,
		Data: []byte(`{"token":"abc","text":"it is ` + secret + `","n":[1,2]}`),
	}}
	p := newPlace(t, t.TempDir(), plain("camp", leak, f))
	p.Redactor = redact.New(redact.Options{Literals: []string{secret}})
	p.record(t, 0, "one")
	if d := p.run(t).Destinations[0]; strings.Contains(d.Reason, secret) || !strings.Contains(d.Reason, "no good") {
		t.Errorf("reason %q", d.Reason)
	}
	f.deliver = nil
	p.drain(t)
	same(t, s, p.due)
	for id, body := range s.bodies {
		if strings.Contains(body, secret) || strings.Contains(body, `"abc"`) || !strings.Contains(body, id) || !strings.Contains(body, `"n":[1,2]`) {
			t.Errorf("sent: %s", body)
		}
	}
}

// leaking is a mapper that returns the same for every step.
type leaking struct{ world.Signal }

func (l leaking) Map(_ context.Context, steps []step.Step, _ bool) (signals []world.Signal, err error) {
	for i := range steps {
		l.Step = uint32(i)
		signals = append(signals, l.Signal)
	}
	return signals, nil
}

// What is stored about a batch in flight and cannot be read costs its exact
// bytes, and nothing else.
func TestDamagedInflight(t *testing.T) {
	s := newStore()
	f := &forwarder{store: s, deliver: func([]world.Event) ([]world.Outcome, error) {
		return nil, &world.Failure{Kind: world.Unavailable, Message: "down"}
	}}
	p := newPlace(t, t.TempDir(), plain("camp", &mapper{}, f))
	p.record(t, 0, repeat("one", 3)...)
	p.run(t)
	if err := p.spool.SaveInflight("camp", &spool.Inflight{Data: []byte("carl-inflight/1\n\x05garbage")}); err != nil {
		t.Fatal(err)
	}
	f.deliver = nil
	p.drain(t)
	same(t, s, p.due)
	if err := p.spool.SaveInflight("camp", &spool.Inflight{Data: []byte("carl-inflight/9\n")}); err != nil {
		t.Fatal(err)
	}
	if _, err := sync.Run(t.Context(), p.Options); fault.CodeOf(err) != fault.HomeTooNew {
		t.Errorf("what a later carl stored: %v", err)
	}
}

// Data that a mapper blows up is fixed in windows that stay small.
func TestHugeAnswers(t *testing.T) {
	s := newStore()
	big := leaking{world.Signal{Type: axon.InteractionCreated, Data: []byte(`{"text":"` + strings.Repeat("x", 200_000) + `"}`)}}
	f := &forwarder{store: s}
	largest := 0
	f.deliver = func(events []world.Event) ([]world.Outcome, error) {
		size := 0
		for _, e := range events {
			size += len(e.Body)
		}
		largest = max(largest, size)
		return nil, nil
	}
	p := newPlace(t, t.TempDir(), plain("camp", big, f))
	p.record(t, 0, repeat("one", 600)...)
	p.run(t)
	same(t, s, p.due)
	if largest > sync.MaxBatchBytes {
		t.Errorf("a delivery of %d bytes", largest)
	}
	for _, body := range s.bodies {
		if len(body) > axon.MaxEvent || !strings.Contains(body, "[cut from 200000 bytes") {
			t.Fatalf("an event of %d bytes", len(body))
		}
	}
}
