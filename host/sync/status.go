package sync

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/step"
)

// maxCounted bounds the steps that are mapped only to be counted, to what
// takes well under a second with the bundled mapper.
const maxCounted = 16_384

// LaneState is what a destination is doing.
type LaneState string

// The states of a destination.
const (
	OK         LaneState = "ok"
	BackingOff LaneState = "backing_off" // it failed last; NotBefore says when it is tried again
	Paused     LaneState = "paused"      // until the user does what Hint says
	Disabled   LaneState = "disabled"    // there is no consent
)

// Report is what waits where, and why.
type Report struct {
	// Busy says that another sync was at work, and that this one did nothing.
	Busy         bool
	Destinations []DestinationStatus // as configured
	Tasks        []TaskStatus
}

// DestinationStatus is the part of a Report about one destination.
type DestinationStatus struct {
	Name  string
	State LaneState
	// Code, Reason and Hint say in words why State is not OK, or why something
	// is pending, and which command helps; "" where there is nothing to say.
	Code         fault.Code
	Reason, Hint string
	// Pending counts the due signals without a final answer. A step that no
	// mapper has seen yet counts as one; there are Unmapped of these, and
	// where Unmapped is 0 Pending is exact. See [Options.Exact].
	Pending, Unmapped uint64
	// Acknowledged counts the signals that the destination took since it is configured.
	Acknowledged uint64
	DeadLetters  int
	// Ledger is about the blocks that it gets; nil where it gets none.
	Ledger *LedgerStatus
	// NotBefore is the earliest time at which a destination that is backing
	// off is tried again; it may be past.
	NotBefore time.Time
}

// TaskStatus is how a Task ended.
type TaskStatus struct {
	Name string
	Err  error
}

// Drained reports whether nothing is pending anywhere.
func (r Report) Drained() bool {
	for _, d := range r.Destinations {
		if d.Pending > 0 || d.Ledger.Due() {
			return false
		}
	}
	return true
}

// Status reports without sending anything. It loads a mapper only with
// [Options.Exact], and only where steps wait. Beside a sync that is at work it
// counts what is in flight like what is only recorded: as the steps that it
// was made from.
func Status(ctx context.Context, o Options) (Report, error) {
	o.serialize()
	// To load what is in flight is to store it once more, and so is for the
	// holder of the lock alone.
	lock, locked, err := private.TryLock(o.Lock)
	v := look(&o, err != nil || !locked)
	if locked {
		lock.Unlock()
	}
	return v.report(ctx)
}

// view is what there is to report, loaded and not yet counted.
type view struct {
	lanes   []*lane
	trouble errorList
}

func look(o *Options, unlocked bool) *view {
	v := new(view)
	for i := range o.Destinations {
		l := newLane(o, &o.Destinations[i])
		v.lanes = append(v.lanes, l)
		if !l.dest.NoSignals {
			v.trouble.add(l.load(runMode{letters: true, readOnly: true, unlocked: unlocked}))
		}
	}
	return v
}

func (v *view) report(ctx context.Context) (Report, error) {
	var report Report
	for _, l := range v.lanes {
		status := DestinationStatus{Name: l.dest.Name, State: OK}
		if !l.dest.NoSignals {
			var err error
			status, err = l.report(ctx)
			v.trouble.add(err)
		}
		if l.dest.Ledger && l.o.Ledger != nil {
			var err error
			status.Ledger, err = newBlockLane(l.o, l.dest).ledgerReport(ctx)
			v.trouble.add(err)
		}
		report.Destinations = append(report.Destinations, status)
	}
	return report, v.trouble.join()
}

// report puts the lane into words. Beside an error it says what it knows.
func (l *lane) report(ctx context.Context) (DestinationStatus, error) {
	status := DestinationStatus{Name: l.dest.Name, State: OK}
	st := l.state
	if st == nil {
		status.State = BackingOff
		status.Reason = "its files could not be read"
		status.Hint = "run `carl doctor`"
		return status, nil
	}
	status.Acknowledged = st.Acknowledged
	status.DeadLetters = l.deadCount
	status.Code, status.Reason, status.Hint = fault.Code(st.Code), st.Reason, st.Hint

	var err error
	status.Pending, status.Unmapped, err = l.pending(ctx)
	switch {
	case !l.granted:
		status.State, status.Code = Disabled, ""
		status.Reason, status.Hint = l.o.Withheld, l.o.WithheldHint
		if status.Reason == "" {
			status.Reason, status.Hint = "telemetry consent is not given", "run `carl consent grant telemetry`"
		}
	case st.Paused:
		status.State = Paused
	case st.Attempts > 0 && status.Pending > 0:
		status.State = BackingOff
		status.NotBefore = st.NotBefore
		switch due := !st.NotBefore.After(l.o.now()); {
		case status.Hint != "":
		case due:
			status.Hint = "run `carl sync`"
		default:
			status.Hint = "carl tries again by itself; `carl sync --watch` waits for it"
		}
	case status.Pending > 0 && status.Reason == "" && len(l.flight) > 0:
		status.Reason, status.Hint = "sent, and not answered yet", "run `carl sync --deadline 1m`"
	case status.Pending > 0 && status.Reason == "":
		status.Reason, status.Hint = "not sent yet", "run `carl sync`"
	case status.Pending == 0 && status.DeadLetters > 0:
		status.Reason, status.Hint = fmt.Sprintf("%d dead letters", status.DeadLetters), "run `carl dlq list`"
	case status.Pending == 0:
		status.Code, status.Reason, status.Hint = "", "", ""
	}
	return status, err
}

// pending counts what has no final answer: what is fixed or mapped exactly,
// what is only recorded by mapping it where that was asked for.
func (l *lane) pending(ctx context.Context) (signals, unmapped uint64, err error) {
	for _, f := range l.flight {
		if l.due(f.epoch) {
			signals++
		}
	}
	count := counter{lane: l, ctx: ctx}
	defer count.close()
	add := func(read []prepared) {
		for batch := range slices.Chunk(read, MaxBatchSteps) {
			n, exact := count.batch(batch)
			signals += uint64(n)
			if !exact {
				unmapped += uint64(n)
			}
		}
	}
	for len(l.letters) > 0 {
		add(l.nextLetters())
	}
	for {
		batch, err := l.nextRecords()
		if err != nil {
			return signals, unmapped, err
		}
		if len(batch) == 0 {
			return signals, unmapped, nil
		}
		add(batch)
	}
}

// counter counts signals by mapping, for as long as that is possible and allowed.
type counter struct {
	lane   *lane
	ctx    context.Context
	mapper Mapper
	closer io.Closer
	mapped int
	gaveUp bool
}

// batch returns how many signals become of a batch, or how many steps of it
// are due, and which of the two it is.
func (c *counter) batch(batch []prepared) (n int, exact bool) {
	var steps []step.Step
	due := 0
	for _, p := range batch {
		n += len(p.events)
		if p.payload == nil {
			continue
		}
		due++
		if c.gaveUp || !c.lane.o.Exact || c.lane.dest.LoadMapper == nil {
			continue
		}
		if s, err := step.Decode(p.payload); err == nil {
			steps = append(steps, s)
		}
	}
	if due == 0 {
		return n, true
	}
	if len(steps) == 0 || !c.load() {
		return n + due, false
	}
	events, _, err := Map(c.ctx, c.mapper, steps, Sealing{Source: c.lane.o.Source})
	if err != nil {
		c.gaveUp = true
		return n + due, false
	}
	if c.mapped += len(steps); c.mapped >= maxCounted {
		c.gaveUp = true
	}
	return n + len(events), true
}

func (c *counter) load() bool {
	if c.mapper != nil {
		return true
	}
	mapper, closer, err := c.lane.dest.LoadMapper(c.ctx)
	if err != nil {
		c.gaveUp = true
		return false
	}
	c.mapper, c.closer = mapper, closer
	return true
}

func (c *counter) close() {
	if c.closer != nil {
		c.closer.Close()
	}
}
