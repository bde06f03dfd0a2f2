package wasm

import (
	"context"
	"strings"
	"sync"
	"unicode"
	"unsafe"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
)

// Forwarder runs a plugin of the world event-forwarder on one instance, since
// a forwarder has a state. It may be used from several goroutines; calls wait
// for one another.
type Forwarder struct {
	p        *Plugin
	mu       sync.Mutex
	in       *instance // guarded by mu; nil before the first call, and when the last one was thrown away
	opened   bool      // guarded by mu; in has accepted settings
	settings []byte    // guarded by mu; of the last Open, nil before it
}

// Open hands the plugin its settings, one JSON text. The error is a
// *world.Failure when the plugin itself refuses, else as of [Mapper.Map].
func (f *Forwarder) Open(ctx context.Context, settings []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings = append([]byte{}, settings...)
	f.opened = false
	return f.ready(ctx)
}

// Deliver hands the plugin a batch of events and returns one outcome for each,
// in order, its text fit to be shown. An instance that was thrown away is
// replaced, and opened with the settings of the last Open, before the events
// are handed over; so is one that refused them. The error is a *world.Failure
// when the whole batch was not delivered, else as of [Mapper.Map].
func (f *Forwarder) Deliver(ctx context.Context, topic world.Topic, events []world.Event) ([]world.Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return nil, err
	}
	var outcomes []world.Outcome
	err := f.call(ctx, func(in *instance) error {
		list, err := in.lowerEvents(events)
		if err != nil {
			return err
		}
		in.stack[0], in.stack[1], in.stack[2] = uint64(topic), uint64(list), uint64(len(events))
		var refusal *world.Failure
		err = in.run(deliver, func(l *lifter, ret uint32) { outcomes, refusal = liftOutcomes(l, ret, len(events)) })
		if err == nil && refusal != nil {
			return refusal
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// ready sees to it that there is an instance which has accepted the settings.
// The caller holds mu.
func (f *Forwarder) ready(ctx context.Context) error {
	if f.settings == nil {
		return f.p.unopened()
	}
	if f.in != nil && f.opened {
		return nil
	}
	return f.call(ctx, func(in *instance) error {
		w := lowering{in: in}
		w.bytes(in.scratch[:8], f.settings)
		if w.err != nil {
			return w.err
		}
		in.stack[0], in.stack[1] = uint64(le.Uint32(in.scratch[:])), uint64(len(f.settings))
		var refusal *world.Failure
		err := in.run(open, func(l *lifter, ret uint32) { refusal = liftOpened(l, ret) })
		if err == nil && refusal != nil {
			return refusal
		}
		f.opened = err == nil
		return err
	})
}

func (p *Plugin) unopened() error {
	return pluginFault(p.cfg.Name, fault.Internal, "was handed events before its settings")
}

// call does one call on the instance, and makes or throws it away as needed.
// The caller holds mu.
func (f *Forwarder) call(ctx context.Context, do func(in *instance) error) error {
	if f.p.life.Err() != nil {
		return interrupted(f.p.cfg.Name, errClosed)
	}
	if err := ctx.Err(); err != nil {
		return interrupted(f.p.cfg.Name, context.Cause(ctx))
	}
	if f.in == nil {
		in, err := f.p.instantiate(ctx)
		if err != nil {
			return err
		}
		f.in, f.opened = in, false
	}
	in := f.in
	in.begin(ctx, f.p.budget.of(0, 0))
	in.refuel()
	err := do(in)
	in.end()
	if in.worn() {
		in.close()
		f.in, f.opened = nil, false
	}
	return err
}

// close frees the instance. The plugin's life is over, so none is made anew.
func (f *Forwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in != nil {
		f.in.close()
		f.in = nil
	}
}

// Layout of record event.
const (
	eventSize  = 48
	eventAlign = 8
)

// lowerEvents writes a list<event> into the guest's memory.
func (in *instance) lowerEvents(events []world.Event) (uint32, error) {
	w := lowering{in: in}
	list := w.list(len(events), eventSize, eventAlign)
	rec := in.scratch[:eventSize]
	for i := range events {
		e := &events[i]
		clear(rec)
		w.str(rec[0:], e.ID)
		w.str(rec[8:], e.Type)
		w.optStr(rec[16:], e.Subject)
		le.PutUint64(rec[32:], e.Time)
		w.bytes(rec[40:], e.Body)
		w.put(list+uint32(i)*eventSize, rec)
		if w.err != nil {
			return 0, w.err
		}
	}
	return list, w.err
}

// Layouts of the forwarder's results.
const (
	outcomeSize       = 16
	outcomeCases      = 5
	failureKinds      = 5
	forwardResultSize = 40 // result<_, failure> and result<list<outcome>, failure>
)

// liftOpened reads result<_, failure>.
func liftOpened(l *lifter, ret uint32) *world.Failure {
	const what = "the result of open"
	if !l.record(what, ret, forwardResultSize, 8) || l.variant(what, ret, 2) == 0 {
		return nil
	}
	return liftFailure(l, ret+8)
}

func liftFailure(l *lifter, at uint32) *world.Failure {
	f := &world.Failure{
		Kind:    world.FailureKind(l.variant("the kind of a failure", at, failureKinds)),
		Message: cleanStr(l.str("the message of a failure", at+4), maxMessage),
	}
	if l.variant("retry-after-ms", at+16, 2) == 1 {
		f.RetryAfterMS = l.u64(at + 24)
	}
	return f
}

// liftOutcomes reads result<list<outcome>, failure>, with one outcome for each event.
func liftOutcomes(l *lifter, ret uint32, events int) ([]world.Outcome, *world.Failure) {
	const what = "the result of deliver"
	if !l.record(what, ret, forwardResultSize, 8) {
		return nil, nil
	}
	if l.variant(what, ret, 2) == 1 {
		return nil, liftFailure(l, ret+8)
	}
	base, n := l.list("the list of outcomes", ret+8, events, outcomeSize, 4, int(unsafe.Sizeof(world.Outcome{})))
	if l.err != nil {
		return nil, nil
	}
	if int(n) != events {
		l.fail("there are %d outcomes for %d events", n, events)
		return nil, nil
	}
	outcomes := make([]world.Outcome, n)
	for i := range outcomes {
		at := base + uint32(i)*outcomeSize
		o := &outcomes[i]
		o.Kind = world.OutcomeKind(l.variant("an outcome", at, outcomeCases))
		switch o.Kind {
		case world.Accepted:
			o.Text = receipt(l.optStr("a receipt", at+4))
		case world.Duplicate:
		default:
			o.Text = cleanStr(l.str("the text of an outcome", at+4), maxMessage)
		}
		if l.err != nil {
			return nil, nil
		}
	}
	return outcomes, nil
}

// receipt keeps a receipt as it is: it is signed, line ends and all. One that is
// longer than any, or not made of lines of text, is none.
func receipt(s string) string {
	if len(s) > maxMessage || strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }) {
		return ""
	}
	return s
}
