package sync

import (
	"context"
	"slices"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

// readSteps is how many records are read at one time. Each reading looks into
// the folder first, which a mapper's batch alone would not be worth.
const readSteps = 8 * MaxBatchSteps

// cursor is where reading a slot goes on, and where it ends: at what was there
// when the lane was loaded, so that a busy recorder does not keep one sync
// going for ever.
type cursor struct {
	slot      int
	next, end uint64
}

// prepared is one record, or one dead letter, on its way into a window.
type prepared struct {
	place   place
	epoch   uint32
	payload []byte // the step as recorded; nil where there is nothing to map
	stepID  string // of payload, once that was decoded
	events  []world.Event
	refused *fault.Error // why it became a dead letter instead
}

// size is what it adds to a window.
func (p *prepared) size() int {
	if p.refused != nil {
		return len(p.payload)
	}
	n := 0
	for _, e := range p.events {
		n += len(e.Body)
	}
	return n
}

// prepare maps the next batch into the queue, and reports whether there was one.
func (l *lane) prepare(ctx context.Context) (more bool, stop halt, err error) {
	if len(l.read) == 0 {
		if l.read = l.nextLetters(); len(l.read) == 0 {
			if l.read, err = l.nextRecords(); err != nil || len(l.read) == 0 {
				return false, halt{}, err
			}
		}
	}
	batch := l.read[:min(len(l.read), MaxBatchSteps)]
	n, stop := l.mapBatch(ctx, batch)
	l.queue, l.read = batch[:n], l.read[n:]
	return n > 0, stop, nil
}

// mapAhead begins to map the next window while this one is stored and
// delivered: the one takes a processor, the other mostly waits. Until l.mapping is done, read and
// queue belong to it, and the mapper with them. A destination that failed last
// gets nothing prepared that it would not take.
func (l *lane) mapAhead(ctx context.Context) error {
	if l.forwarder == nil || l.state.Attempts > 0 || len(l.flight) == 0 {
		return nil
	}
	size := 0
	for i := range l.queue {
		size += l.queue[i].size()
	}
	for _, p := range l.read {
		size += len(p.payload)
	}
	for len(l.queue)+len(l.read) < windowSteps && size < windowBytes {
		more, err := l.nextRecords()
		if err != nil {
			return err
		}
		if len(more) == 0 {
			break
		}
		l.read = append(l.read, more...)
		for _, p := range more {
			size += len(p.payload)
		}
	}
	l.mapping.Go(func() {
		done := 0
		for done < len(l.read) {
			batch := l.read[done:min(done+MaxBatchSteps, len(l.read))]
			n, _ := l.mapBatch(ctx, batch) // a halt comes again when fill gets there
			if done += n; n < len(batch) {
				break
			}
		}
		l.queue, l.read = slices.Concat(l.queue, l.read[:done]), l.read[done:]
	})
	return nil
}

// nextRecords reads records, from one slot after the other. Those
// that are not due are in it, with nothing to map.
func (l *lane) nextRecords() ([]prepared, error) {
	for len(l.cursors) > 0 {
		c := l.cursors[0]
		entries, next, err := l.o.Spool.Read(c.slot, c.next, readSteps, MaxBatchBytes)
		if err != nil {
			return nil, err
		}
		gone := c.next
		if n := len(entries); n > 0 {
			gone = entries[n-1].Seq + 1
		}
		if gone < next {
			l.state.Settle(c.slot, gone, next)
		}

		// The slots take turns, so that no busy one holds up the others.
		copy(l.cursors, l.cursors[1:])
		l.cursors = l.cursors[:len(l.cursors)-1]
		if more := next < c.end && next > c.next; more {
			l.cursors = append(l.cursors, cursor{c.slot, next, c.end})
		}
		if batch := l.undecided(entries); len(batch) > 0 {
			return batch, nil
		}
	}
	return nil, nil
}

// undecided leaves out what is settled or in flight already.
func (l *lane) undecided(entries []spool.Entry) []prepared {
	batch := make([]prepared, 0, len(entries))
	for _, e := range entries {
		if l.held[e.Pos] || l.state.Settled(e.Pos) {
			continue
		}
		p := prepared{place: recordPlace(e), epoch: e.Epoch}
		if l.due(e.Epoch) {
			p.payload = e.Payload
		}
		batch = append(batch, p)
	}
	return batch
}

// nextLetters takes a batch of the dead letters that are to be tried again: a
// step is mapped anew, an event goes out with the bytes that it has.
func (l *lane) nextLetters() []prepared {
	var batch []prepared
	size := 0
	for len(l.letters) > 0 && len(batch) < MaxBatchSteps && size < MaxBatchBytes {
		letter := l.letters[0]
		l.letters = l.letters[1:]
		p := prepared{place: place{letter: letter.ID}, epoch: letter.Epoch}
		if letter.Event == nil {
			p.payload = letter.Step
		} else if event, err := eventOf(letter); err == nil {
			p.events = []world.Event{event}
		} else {
			letter.Replay, letter.Attempts, letter.Reason = false, 0, l.words(err.Error())
			l.dead = append(l.dead, letter)
		}
		size += len(letter.Event) + len(letter.Step)
		batch = append(batch, p)
	}
	return batch
}

// mapBatch maps a batch, and returns how much of it is mapped: all, or the part
// before the step at which the halt came. So a deadline that is shorter than a
// bad batch takes still gets on.
func (l *lane) mapBatch(ctx context.Context, batch []prepared) (int, halt) {
	steps := make([]step.Step, 0, len(batch))
	of := make([]int, 0, len(batch)+1) // of[i] is the index in batch of steps[i]
	for i := range batch {
		p := &batch[i]
		if p.payload == nil || p.refused != nil {
			continue
		}
		s, err := step.Decode(p.payload)
		if err != nil {
			p.refused = fault.New(fault.SyncEventRefused, "the spool holds what is not a step: %w", err)
			continue
		}
		p.stepID = s.ID
		steps, of = append(steps, s), append(of, i)
	}
	if len(steps) == 0 {
		return len(batch), halt{}
	}
	of = append(of, len(batch))
	if stop := l.plugins(ctx); stop.kind != goOn {
		return of[0], stop
	}
	events, refused, decided, err := mapSteps(ctx, l.mapper, steps, Sealing{Source: l.o.Source, Redactor: l.o.Redactor})
	bare := make([]world.Event, len(events))
	for from, to := 0, 0; from < len(events); from = to {
		for to = from; to < len(events) && events[to].Step == events[from].Step; to++ {
			bare[to] = events[to].Event
		}
		batch[of[events[from].Step]].events = bare[from:to:to]
	}
	for _, r := range refused {
		batch[of[r.Step]].refused = r.Err
	}
	if err != nil {
		return of[decided], l.failed(ctx, err)
	}
	return len(batch), halt{}
}
