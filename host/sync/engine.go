package sync

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	gosync "sync"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/world"
)

const (
	// windowSteps and windowBytes bound the steps and the bytes that are fixed
	// at one time. Each window costs four flushes of the disk, so it holds many
	// batches; a kill makes at most one window go out twice.
	windowSteps = 4096
	windowBytes = 2 << 20
)

// lane brings events of one topic to one destination. It is used by one
// goroutine, under the sync lock.
type lane struct {
	o     *Options
	dest  *Destination
	topic world.Topic
	state *spool.State

	granted bool   // the destination may be sent to
	epoch   uint32 // consent epoch that it may be sent, where that matters

	cursors []cursor           // what is to be read, one for each slot
	held    map[spool.Pos]bool // records whose events were in flight when the lane was loaded
	letters []spool.DeadLetter // dead letters to be tried again
	read    []prepared         // read, and not yet mapped
	queue   []prepared         // mapped, and not yet in a window

	flight  []*flying          // fixed, in order, without a final answer
	byID    map[string]*flying // the same by id
	stored  bool               // the inflight file holds something
	encoded []byte             // room to write that file from

	window []place            // what is settled once none of its events is in flight
	dead   []spool.DeadLetter // made in this window

	mapper    Mapper
	forwarder Forwarder
	closer    io.Closer
	mapping   gosync.WaitGroup // what is mapped ahead, see mapAhead

	limit        int  // events a delivery, fewer after a too-large
	faults       int  // faults of the forwarder in this window
	progress     int  // final answers in this window
	put          halt // the last reason for which an event was put off in this window
	acknowledged int  // events in this run
	worked       bool // a window was sent or settled
	deadCount    int  // dead letters on file that nothing is done about
}

func newLane(o *Options, d *Destination) *lane {
	return &lane{
		o: o, dest: d, topic: world.Signals,
		held:  make(map[spool.Pos]bool),
		byID:  make(map[string]*flying),
		limit: MaxBatchSteps,
	}
}

// run works until nothing is due now or ctx is done.
func (l *lane) run(ctx context.Context, mode runMode) (err error) {
	defer l.close()
	if err := l.load(mode); err != nil {
		return err
	}
	if !l.granted {
		return l.skim()
	}
	if mode.mended && notLoaded(fault.Code(l.state.Code)) {
		l.state.NotBefore = time.Time{}
	}
	for ctx.Err() == nil && l.hasWork() && l.ready(ctx) {
		if err := l.step(ctx); err != nil {
			return err
		}
	}
	if l.stored && len(l.flight) == 0 {
		return l.o.Spool.ClearInflight(l.dest.Name)
	}
	return nil
}

// step sends one window.
func (l *lane) step(ctx context.Context) error {
	l.worked = true
	l.faults, l.progress, l.put = 0, 0, halt{}
	before := len(l.flight)
	stop, err := l.fill(ctx)
	if err != nil {
		return err
	}
	if err := l.mapAhead(ctx); err != nil {
		return err
	}
	defer l.mapping.Wait()
	if len(l.flight) > before {
		if err := l.store(); err != nil {
			return err
		}
	}
	if failed := l.deliver(ctx); failed.kind != goOn {
		stop = failed
	}
	if stop.kind == goOn {
		stop = l.put
	}
	return l.settle(stop)
}

// load reads what is durable about the lane.
func (l *lane) load(mode runMode) (err error) {
	s, name := l.o.Spool, l.dest.Name
	l.granted = true
	if l.dest.Network {
		l.granted, l.epoch = l.o.consent()
	}
	if l.state, err = s.State(name); err != nil {
		return err
	}
	if !mode.unlocked {
		if err := l.loadFlight(); err != nil {
			return err
		}
	}
	if err := l.loadLetters(mode); err != nil {
		return err
	}
	slots, err := s.Slots()
	if err != nil {
		return err
	}
	for _, slot := range slots {
		end, err := s.End(slot)
		if err != nil {
			return err
		}
		if next := l.state.Watermark(slot) + 1; next < end {
			l.cursors = append(l.cursors, cursor{slot, next, end})
		}
	}
	return nil
}

// loadFlight takes up what was fixed and not answered for good. A state that
// was saved after the file knows better what is settled.
func (l *lane) loadFlight() error {
	stored, err := l.o.Spool.LoadInflight(l.dest.Name)
	if err != nil || stored == nil {
		return err
	}
	l.stored = true
	flight, err := decodeFlight(l.topic, stored.Data)
	if fault.CodeOf(err) == fault.HomeCorrupt {
		// Its checksum is right, so this is a fault of carl's own. To map the
		// steps again is better than never to send them.
		l.o.Log(world.LogError, fmt.Sprintf("%s: %v; its steps are mapped again", l.dest.Name, err))
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range flight {
		open := f.places[:0]
		for _, p := range f.places {
			if p.letter != "" || !l.state.Settled(p.pos()) {
				open = append(open, p)
			}
		}
		if f.places = open; len(open) == 0 {
			continue
		}
		if l.granted && !l.due(f.epoch) {
			// The consent under which it was fixed is gone, and so is it. What
			// came from a dead letter goes on being one.
			for _, p := range f.places {
				if p.letter == "" {
					l.window = append(l.window, p)
				}
			}
			continue
		}
		for _, p := range f.places {
			l.held[p.pos()] = true
			l.window = append(l.window, p)
		}
		l.flight = append(l.flight, f)
		l.byID[f.ID] = f
	}
	return nil
}

// loadLetters takes up the dead letters that are to be tried again.
func (l *lane) loadLetters(mode runMode) error {
	inFlight := make(map[string]bool)
	for _, f := range l.flight {
		for _, p := range f.places {
			if p.letter != "" {
				inFlight[p.letter] = true
			}
		}
	}
	if !mode.letters && len(inFlight) == 0 {
		return nil
	}
	letters, err := l.o.Spool.ListDead(l.dest.Name)
	if err != nil {
		return err
	}
	marked := make(map[string]bool)
	for _, letter := range letters {
		switch {
		case !letter.Replay:
			l.deadCount++
		case l.granted && !l.due(letter.Epoch):
			l.deadCount++
			if mode.readOnly {
				continue
			}
			if err := l.unmark(letter); err != nil {
				return err
			}
		default:
			marked[letter.ID] = true
			if !inFlight[letter.ID] {
				l.letters = append(l.letters, letter)
			}
		}
	}
	// A letter that is gone was delivered, or the user dropped it; one that is
	// not to be tried any more was refused again. In either case nothing is to
	// be settled about it.
	unmarked := func(p place) bool { return p.letter != "" && !marked[p.letter] }
	l.window = slices.DeleteFunc(l.window, unmarked)
	l.flight = slices.DeleteFunc(l.flight, func(f *flying) bool {
		if f.places = slices.DeleteFunc(f.places, unmarked); len(f.places) > 0 {
			return false
		}
		delete(l.byID, f.ID)
		return true
	})
	return nil
}

// due reports whether a step of this epoch may go to the destination.
func (l *lane) due(epoch uint32) bool {
	return !l.dest.Network || epoch != 0 && epoch == l.epoch
}

func (l *lane) hasWork() bool {
	return len(l.cursors)+len(l.letters)+len(l.read)+len(l.queue)+len(l.window) > 0
}

// ready reports whether the destination may be tried now, see [Options.ready].
func (l *lane) ready(ctx context.Context) bool {
	return l.granted && !l.state.Paused && l.o.ready(ctx, l.state.NotBefore)
}

// ready reports whether a back-off is over. It waits for its end where ctx has a
// deadline beyond it.
func (o *Options) ready(ctx context.Context, notBefore time.Time) bool {
	wait := notBefore.Sub(o.now())
	if wait <= 0 {
		return true
	}
	if wait > MaxRetryAfter {
		return true // no such wait is ever drawn: the clock was set back
	}
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// fill tops the flight up with what is due next; [lane.store] makes it durable.
// The halt says why there could be no more; what is in flight can be sent all
// the same.
func (l *lane) fill(ctx context.Context) (halt, error) {
	steps, size := 0, 0
	for _, f := range l.flight {
		size += len(f.Body)
	}
	var stop halt
	for steps < windowSteps && size < windowBytes {
		if len(l.queue) == 0 {
			var more bool
			var err error
			if stop.kind == goOn {
				more, stop, err = l.prepare(ctx)
			}
			if err != nil {
				return halt{}, err
			}
			if !more {
				break
			}
			continue
		}
		next := l.queue[0]
		l.queue[0] = prepared{}
		l.queue = l.queue[1:]
		steps++
		size += next.size()
		l.take(next)
	}
	return stop, nil
}

// take moves a prepared step into the window.
func (l *lane) take(p prepared) {
	l.window = append(l.window, p.place)
	if p.refused != nil {
		l.dead = append(l.dead, l.stepLetter(p))
		return
	}
	for _, e := range p.events {
		if other := l.byID[e.ID]; other != nil {
			// The same step was recorded twice. One event stands for both,
			// unless they differ: then the second would be a second body
			// under one id, and no destination is asked to sort that out.
			if bytes.Equal(other.Body, e.Body) {
				other.places = append(other.places, p.place)
				continue
			}
			l.bury(&flying{Event: e, epoch: p.epoch, since: l.o.now()}, fault.SyncConflict,
				"another step with the same id became a different event of this type")
			continue
		}
		f := &flying{Event: e, epoch: p.epoch, since: l.o.now().UTC(), places: []place{p.place}}
		l.flight = append(l.flight, f)
		l.byID[e.ID] = f
	}
}

// settle makes the answers of a window durable, in the order that the package
// comment gives.
func (l *lane) settle(stop halt) error {
	s, name := l.o.Spool, l.dest.Name
	if len(l.dead) > 0 {
		if err := s.AppendDead(name, l.dead...); err != nil {
			return err
		}
	}

	open, changed := l.land()

	if err := l.settleWindow(open); err != nil {
		return err
	}
	l.dead = nil
	l.account(stop)
	if err := l.state.Save(); err != nil {
		return err
	}
	if changed && len(l.flight) > 0 {
		return l.store()
	}
	return nil
}

// land takes out of the flight what has its final answer. Events that were put
// off go to the end, so that none of them is always the first to be tried. It
// returns the places that are still open, and whether the flight is another now.
func (l *lane) land() (open map[place]bool, changed bool) {
	open = make(map[place]bool)
	var pending, later []*flying
	for _, f := range l.flight {
		if f.done {
			delete(l.byID, f.ID)
			changed = true
			continue
		}
		for _, p := range f.places {
			open[p] = true
		}
		if f.putOff {
			f.putOff, changed = false, true
			later = append(later, f)
		} else {
			pending = append(pending, f)
		}
	}
	l.flight = append(pending, later...)
	return open, changed
}

// settleWindow settles every place of the window that has no event in flight.
func (l *lane) settleWindow(open map[place]bool) error {
	deadAgain := make(map[string]bool)
	for _, letter := range l.dead {
		deadAgain[letter.ID] = true
	}
	var settled []spool.Range
	var delivered []string
	rest := l.window[:0]
	for _, p := range l.window {
		switch {
		case open[p]:
			rest = append(rest, p)
		case p.letter == "":
			settled = appendRange(settled, p)
		case !deadAgain[p.letter]:
			delivered = append(delivered, p.letter)
		}
	}
	l.window = rest
	for _, r := range settled {
		l.state.Settle(r.Slot, r.From, r.To)
	}
	l.deadCount += len(l.dead)
	if len(delivered) == 0 {
		return nil
	}
	_, err := l.o.Spool.DropDead(l.dest.Name, delivered...)
	return err
}

// store makes the bytes of what is in flight durable.
func (l *lane) store() error {
	l.stored = true
	inflight := encodeFlight(l.encoded, l.topic, l.flight)
	l.encoded = inflight.Data[:0]
	return l.o.Spool.SaveInflight(l.dest.Name, inflight)
}

// skim settles, at the head of each slot, what will never be due for a
// destination without consent, so that it does not fill the spool.
func (l *lane) skim() error {
	changed := false
	for _, c := range l.cursors {
		for c.next < c.end {
			entries, next, err := l.o.Spool.Read(c.slot, c.next, MaxBatchSteps, MaxBatchBytes)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if e.Epoch >= max(l.epoch, 1) {
					next = e.First
					break
				}
			}
			if next == c.next {
				break
			}
			l.state.Settle(c.slot, c.next, next)
			c.next, changed = next, true
		}
	}
	if !changed {
		return nil
	}
	return l.state.Save()
}

// plugins loads and opens the plugins on first use.
func (l *lane) plugins(ctx context.Context) halt {
	if l.forwarder != nil {
		return halt{}
	}
	mapper, forwarder, closer, err := l.dest.Load(ctx)
	if err != nil {
		return l.failed(ctx, err)
	}
	l.closer = closer
	if err := forwarder.Open(ctx, l.dest.Settings); err != nil {
		l.close()
		return l.failed(ctx, err)
	}
	l.mapper, l.forwarder = mapper, forwarder
	return halt{}
}

func (l *lane) close() {
	l.mapping.Wait()
	if l.closer == nil {
		return
	}
	if err := l.closer.Close(); err != nil {
		l.o.Log(world.LogWarn, fmt.Sprintf("%s: closing its plugins: %v", l.dest.Name, err))
	}
	l.mapper, l.forwarder, l.closer = nil, nil, nil
}
