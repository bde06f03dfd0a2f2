package sync

import (
	"context"
	"slices"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/redact"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

// Mapper turns a batch of steps into signals. With fresh set it does so on an
// instance without history, whose budget no earlier call has touched: only
// then may a failure condemn a step. It is called from one goroutine at a time.
type Mapper interface {
	Map(ctx context.Context, steps []step.Step, fresh bool) ([]world.Signal, error)
}

// Sealing is what the host adds to a mapper's signals.
type Sealing struct {
	// Source is the CloudEvents source, see [axon.Source].
	Source string
	// Redactor goes over what the mapper returned; nil redacts nothing.
	Redactor *redact.Redactor
}

// Event is one signal, sealed: id, envelope and bytes are final.
type Event struct {
	world.Event
	// Step is the index of the step that it was made from.
	Step int
}

// Refusal says why one step of a batch became nothing.
type Refusal struct {
	// Step is the index of the step.
	Step int
	// Err has the plugin's own code, such as carl.plugin.fuel_exhausted, or
	// carl.sync.mapper_failed, carl.sync.event_refused or carl.sync.conflict, and the plugin's own message where there is one.
	Err *fault.Error
}

// fanOut is into how many parts a batch is split that the mapper fails on. A
// step that burns all its fuel costs that of each batch it is in, so that few
// levels are cheaper than few calls.
const fanOut = 16

// Map maps steps and seals what comes of them, in the order of the steps. A
// step that the mapper fails on, or for which it returns what may not leave,
// is refused as a whole; all others pass: a batch that fails is split until
// the step is found, and that one is tried once more on a fresh instance
// before it is condemned.
//
// The error is that of ctx, or says that the mapper is broken: it fails on no
// steps at all. Then nothing is condemned, and nothing returned.
func Map(ctx context.Context, m Mapper, steps []step.Step, seal Sealing) ([]Event, []Refusal, error) {
	events, refused, _, err := mapSteps(ctx, m, steps, seal)
	if err != nil {
		return nil, nil, err
	}
	return events, refused, nil
}

// mapSteps is [Map] that returns, beside an error, what became of the steps
// that were decided before it: the first ones.
func mapSteps(ctx context.Context, m Mapper, steps []step.Step, seal Sealing) (events []Event, refused []Refusal, decided int, err error) {
	b := batch{mapper: m, steps: steps, sealing: seal}
	if len(steps) > 0 {
		err = b.mapRange(ctx, 0, len(steps))
	}
	// Only now does the arena stand still.
	for i, at := range b.bodies {
		b.events[i].Body = b.arena[at.start:at.end:at.end]
	}
	return b.events, b.refused, b.decided, err
}

// batch is one call of Map.
type batch struct {
	mapper  Mapper
	sealing Sealing
	steps   []step.Step

	events  []Event
	bodies  []extent // where in arena the body of each event lies
	arena   []byte
	refused []Refusal
	decided int  // how many steps are done with, in order
	alive   bool // the mapper was seen to do nothing without failing
}

type extent struct{ start, end int }

// mapRange maps steps [from, to), at least one.
func (b *batch) mapRange(ctx context.Context, from, to int) error {
	signals, err := b.call(ctx, from, to, false)
	if err != nil && ctx.Err() == nil {
		if to-from > 1 {
			return b.split(ctx, from, to)
		}
		signals, err = b.call(ctx, from, to, true)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		b.seal(from, signals)
	} else {
		if broken := b.probe(ctx); broken != nil {
			return broken
		}
		b.refuse(from, fault.New(mapperCode(err), "the mapper failed on this step: %w", err))
	}
	b.decided = to
	return nil
}

// split maps steps [from, to) in parts.
func (b *batch) split(ctx context.Context, from, to int) error {
	part := (to - from + fanOut - 1) / fanOut
	for ; from < to; from += part {
		if err := b.mapRange(ctx, from, min(from+part, to)); err != nil {
			return err
		}
	}
	return nil
}

// mapperCode is the plugin's own code where it has one: it says more than that
// the mapper failed.
func mapperCode(err error) fault.Code {
	if code := fault.CodeOf(err); code != fault.Internal {
		return code
	}
	return fault.SyncMapperFailed
}

// call maps steps [from, to). What the mapper says of steps that it was not
// given is a failure like any other.
func (b *batch) call(ctx context.Context, from, to int, fresh bool) ([]world.Signal, error) {
	signals, err := b.mapper.Map(ctx, b.steps[from:to], fresh)
	if err != nil {
		return nil, err
	}
	for _, s := range signals {
		if uint64(s.Step) >= uint64(to-from) {
			return nil, fault.New(fault.PluginBadOutput, "a signal names step %d of a batch of %d", s.Step, to-from)
		}
	}
	return signals, nil
}

// probe tells a mapper that fails on a step from one that is broken and would
// condemn every step there is, by giving it none.
func (b *batch) probe(ctx context.Context) error {
	if b.alive {
		return nil
	}
	_, err := b.mapper.Map(ctx, nil, true)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch fault.CodeOf(err) {
	case "", fault.PluginFailed, fault.PluginBadOutput: // it runs, and has something to say
		b.alive = true
		return nil
	}
	return fault.New(mapperCode(err), "the mapper fails without a single step: %w", err)
}

func (b *batch) refuse(step int, err *fault.Error) {
	b.refused = append(b.refused, Refusal{step, err})
}

// seal makes events of the signals of steps base and following.
func (b *batch) seal(base int, signals []world.Signal) {
	inOrder := func(x, y world.Signal) int { return int(x.Step) - int(y.Step) }
	if !slices.IsSortedFunc(signals, inOrder) {
		slices.SortStableFunc(signals, inOrder)
	}
	b.grow(signals)
	for len(signals) > 0 {
		n := 1
		for n < len(signals) && signals[n].Step == signals[0].Step {
			n++
		}
		b.sealStep(base+int(signals[0].Step), signals[:n])
		signals = signals[n:]
	}
}

// grow makes room for what the signals are about to become, so that a batch
// costs a few allocations however many events it has.
func (b *batch) grow(signals []world.Signal) {
	const envelope = 512 // more than most have
	size := 0
	for _, s := range signals {
		size += min(len(s.Data)+envelope, axon.MaxEvent)
	}
	b.arena = slices.Grow(b.arena, size)
	b.events = slices.Grow(b.events, len(signals))
	b.bodies = slices.Grow(b.bodies, len(signals))
}

// sealStep makes events of the signals of one step: of all, or of none.
func (b *batch) sealStep(index int, signals []world.Signal) {
	first, arena := len(b.events), len(b.arena)
	for _, s := range signals {
		if err := b.sealSignal(index, first, s); err != nil {
			b.events, b.bodies, b.arena = b.events[:first], b.bodies[:first], b.arena[:arena]
			b.refuse(index, err)
			return
		}
	}
}

// sealSignal appends one event to those of its step, which begin at first.
func (b *batch) sealSignal(index, first int, s world.Signal) *fault.Error {
	from := &b.steps[index]
	envelope := axon.Envelope{
		ID:      axon.ID(from.ID, s.Type),
		Source:  b.sealing.Source,
		Type:    s.Type,
		Subject: s.Subject,
		Session: from.Session,
		Trace:   from.Trace,
		Time:    from.Time,
		Data:    s.Data,
	}
	if envelope.Subject == "" {
		envelope.Subject = from.Name
	}
	if r := b.sealing.Redactor; r != nil {
		envelope.Subject = r.String(envelope.Subject)
		envelope.Session = r.String(envelope.Session)
		envelope.Trace = r.String(envelope.Trace)
		envelope.Data = r.JSON(envelope.Data)
	}
	start := len(b.arena)
	arena, err := axon.AppendEvent(b.arena, envelope)
	if err != nil {
		return fault.New(fault.SyncEventRefused, "the mapper returned what may not leave: %w", err)
	}

	for i := first; i < len(b.events); i++ {
		if b.events[i].ID != envelope.ID {
			continue
		}
		before := b.bodies[i]
		if string(arena[before.start:before.end]) == string(arena[start:]) {
			return nil
		}
		return fault.New(fault.SyncConflict,
			"the mapper returned two different signals of type %q for this step: they would share one id", s.Type)
	}

	b.arena = arena
	b.bodies = append(b.bodies, extent{start, len(arena)})
	b.events = append(b.events, Event{
		Step: index,
		Event: world.Event{
			ID:      envelope.ID,
			Type:    envelope.Type,
			Subject: axon.Label(envelope.Subject),
			Time:    nanoseconds(from.Time),
		},
	})
	return nil
}
