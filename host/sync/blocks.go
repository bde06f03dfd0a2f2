package sync

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
	"carl.camp/carl/host/world"
)

const (
	// maxBlocks and maxBlockBytes bound one delivery of the ledger: each block is
	// a request of its own at most destinations, and what was not answered is
	// sent again.
	maxBlocks     = 64
	maxBlockBytes = 1 << 20
	// lastCall is the least time in which a delivery is begun, or a quarter of
	// what a Run had, where that is less: the answer is awaited for half of it.
	lastCall = 2500 * time.Millisecond
)

// blockLane brings the ledger to one destination: the exact lines, in the order
// of their numbers, each as often as it takes to be answered, and nothing behind
// one that is not. It is used by one goroutine, under the sync lock.
type blockLane struct {
	lane    // its limit is of blocks, its progress of one delivery
	path    string
	cursor  blockCursor
	key     string // with which the blocks are signed that the forwarder was opened for
	waiting uint64
	least   time.Duration // in which a delivery may begin
	// wentBack is the block at which the destination asked for an earlier one in
	// this run, and one more; 0 where it did not.
	wentBack uint64
}

func newBlockLane(o *Options, d *Destination) *blockLane {
	return &blockLane{lane: lane{o: o, dest: d, topic: world.Ledger, limit: maxBlocks}, path: o.Spool.LedgerCursor(d.Name)}
}

// open returns a reader at the cursor, or why there is nothing to be sent. Where
// the ledger does not have the block any more that the destination had last, it
// begins with the one in its place: the destination will say what it holds.
func (l *blockLane) open(ctx context.Context) (*ledger.Reader, halt, error) {
	c := &l.cursor
	from, held := c.Next, c.Last != "" && c.Next > 0
	if held {
		from--
	}
	r, skipped, err := l.o.Ledger.Read(from)
	if err != nil {
		return nil, halt{}, err
	}
	if id := r.LedgerID(); id != "" && id != c.LedgerID {
		// Another ledger began since; or the first.
		anew := c.Next > 0
		c.LedgerID, c.Next, c.Last, c.Skipped, c.Noted = id, 0, "", 0, 0
		if anew {
			r.Close()
			return l.open(ctx)
		}
	}
	if r.Size() < c.Next {
		if r.LedgerID() == "" {
			return r, halt{}, nil // nothing is there, and nothing can be said of it
		}
		stop, err := l.rolledBack(ctx, r.Size())
		if err != nil || stop.kind != goOn {
			r.Close()
			return nil, stop, err
		}
		return r, halt{}, nil
	}
	switch {
	case held && skipped > 0:
		skipped--
	case held:
		lines, err := r.Next(context.Background(), 1, maxBlockBytes)
		if err != nil {
			r.Close()
			return nil, halt{}, err
		}
		if len(lines) != 1 || hex.EncodeToString(lines[0].Hash[:]) != c.Last {
			r.Close()
			c.Next, c.Last = from, ""
			return l.open(ctx)
		}
	}
	l.pass(skipped)
	l.waiting = r.Waiting()
	return r, halt{}, nil
}

// rolledBack is a ledger with fewer blocks than the destination has of it. After a
// power cut the checkpoint may be an older one, and the blocks are there.
func (l *blockLane) rolledBack(ctx context.Context, size uint64) (halt, error) {
	report, err := l.o.Ledger.Verify(ctx, nil)
	switch {
	case err == nil && report.Size >= l.cursor.Next:
		return halt{}, nil
	case err == nil:
		size = report.Size
	case fault.CodeOf(err) != fault.LedgerTampered:
		return halt{}, err
	}
	return halt{kind: paused, code: fault.ForwardFailed,
		reason: fmt.Sprintf("the destination has acknowledged %d blocks, and the ledger has %d: it was rolled back", l.cursor.Next, size),
		hint:   fmt.Sprintf("run `carl ledger verify`, and compare with a copy or with the destination; `carl sync --resume %s` goes on from what is here", l.dest.Name)}, nil
}

// pass moves the cursor over blocks that are gone.
func (l *blockLane) pass(gone uint64) {
	if gone == 0 {
		return
	}
	c := &l.cursor
	c.Skipped, c.Next, c.Last = c.Skipped+gone, c.Next+gone, ""
	l.o.Log(world.LogError, fmt.Sprintf("%s: %d blocks of the ledger were gone before they could be sent, up to block %d", l.dest.Name, gone, c.Next-1))
}

// run sends what the ledger has, until the destination wants no more.
func (l *blockLane) run(ctx context.Context, mode runMode) error {
	defer l.close()
	if err := l.load(); err != nil {
		return err
	}
	c := &l.cursor
	if !l.granted || c.Paused {
		return nil
	}
	if l.o.AtOnce || mode.mended && notLoaded(fault.Code(c.Code)) {
		c.NotBefore = time.Time{}
	}
	if c.Hint == longerDeadline {
		l.limit = 1 // else what it has answered meanwhile would be forgotten again
	}
	if deadline, ok := ctx.Deadline(); ok {
		l.least = min(lastCall, time.Until(deadline)/4)
	}
	for ctx.Err() == nil && l.ready(ctx) {
		stop, err := l.round(ctx)
		switch {
		case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return nil
		case err != nil:
			return err
		case stop.kind == again:
		case stop.kind != backingOff || l.o.AtOnce:
			return nil
		}
	}
	return nil
}

// round sends until there is nothing left, or something is in the way, which is
// in the cursor then.
func (l *blockLane) round(ctx context.Context) (stop halt, err error) {
	r, stop, err := l.open(ctx)
	if err != nil {
		return halt{}, err
	}
	if stop.kind != goOn {
		l.worked = true
		l.settleBlocks(stop)
		return stop, l.save()
	}
	defer r.Close()
	for stop.kind == goOn && l.timeLeft(ctx) {
		lines, err := r.Next(ctx, l.limit, maxBlockBytes)
		if err != nil || len(lines) == 0 {
			return halt{}, err
		}
		l.worked = true
		l.pass(lines[0].Seq - l.cursor.Next)
		stop = l.sendBlocks(ctx, lines)
		l.settleBlocks(stop)
		if err := l.save(); err != nil {
			return halt{}, err
		}
	}
	return stop, nil
}

// ready reports whether a back-off is over, or ends in time for a delivery, and
// waits for that.
func (l *blockLane) ready(ctx context.Context) bool {
	if deadline, ok := ctx.Deadline(); ok {
		early, cancel := context.WithDeadline(ctx, deadline.Add(-l.least))
		defer cancel()
		ctx = early
	}
	return l.o.ready(ctx, l.cursor.NotBefore)
}

// timeLeft reports whether an answer may be awaited for long enough.
func (l *blockLane) timeLeft(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() == nil && (!ok || time.Until(deadline) >= l.least)
}

// half is a context for half of the time that ctx leaves.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/2)
}

// sendBlocks makes one delivery, and moves the cursor behind what was answered.
func (l *blockLane) sendBlocks(ctx context.Context, lines []ledger.Line) halt {
	l.progress = 0
	if stop := l.forward(ctx, lines[0].Key); stop.kind != goOn {
		return stop
	}
	if !l.timeLeft(ctx) {
		return halt{kind: stopped} // loading took it
	}
	if !l.stillGranted() {
		return halt{kind: withheld}
	}
	events := make([]world.Event, len(lines))
	for i, line := range lines {
		events[i] = world.Event{ID: line.Sig, Type: "carl.ledger." + string(line.Kind), Subject: string(line.Kind), Time: nanoseconds(line.Time), Body: line.Text}
	}
	bounded, cancel := half(ctx)
	defer cancel()
	outcomes, err := l.forwarder.Deliver(bounded, world.Ledger, events)
	if err == nil {
		err = wellFormed(outcomes, len(events))
	}
	switch {
	case err == nil:
		return l.judgeBlocks(ctx, lines, outcomes)
	case errors.Is(ctx.Err(), context.Canceled):
		return halt{kind: stopped}
	case bounded.Err() != nil, fault.CodeOf(err) == fault.PluginTimeout && len(lines) > 1:
		return l.late(ctx, lines)
	}
	return l.undelivered(ctx, lines, err)
}

const (
	// lateReason and longerDeadline are the words where an answer did not come in time;
	// the next run knows by the hint to go on block by block.
	lateReason     = "sent, and not answered in time"
	longerDeadline = "run `carl ledger replay --deadline 5m`"
)

// late is a delivery that was not answered in time. What of it the destination has
// is not known; block by block, each answer counts.
func (l *blockLane) late(ctx context.Context, lines []ledger.Line) halt {
	if len(lines) > 1 && l.timeLeft(ctx) {
		l.limit = 1
		return halt{kind: again}
	}
	return halt{kind: backingOff, code: fault.SyncUnavailable, reason: lateReason, hint: longerDeadline}
}

// undelivered deals with a delivery that failed as a whole: with fewer blocks
// where that may help.
func (l *blockLane) undelivered(ctx context.Context, lines []ledger.Line, err error) halt {
	var failure *world.Failure
	switch errors.As(err, &failure); {
	case failure == nil:
		// Most faults of a plugin pass. From one that does not, the blocks before
		// the one that fells it are saved.
		if l.faults == 0 && l.cursor.Attempts < faultsBeforeSplit || l.faults >= maxFaults {
			return l.failed(ctx, err)
		}
		if l.faults++; len(lines) == 1 {
			return l.failed(ctx, fmt.Errorf("block %d: %w", lines[0].Seq, err))
		}
	case failure.Kind != world.TooLarge && failure.Kind != world.RejectedBatch:
		return l.failed(ctx, failure)
	case len(lines) == 1:
		return l.refused(ctx, lines[0], failure.Message)
	}
	l.limit = len(lines) / 2
	return halt{kind: again}
}

// judgeBlocks takes the outcomes in order. Nothing behind a block that was not
// stored counts, whatever is said of it: the chain has no gaps.
func (l *blockLane) judgeBlocks(ctx context.Context, lines []ledger.Line, outcomes []world.Outcome) halt {
	var receipts []ledger.Receipt
	stop := halt{}
	for i, line := range lines {
		switch o := outcomes[i]; o.Kind {
		case world.Accepted, world.Duplicate:
			l.cursor.Next, l.cursor.Last = line.Seq+1, hex.EncodeToString(line.Hash[:])
			l.cursor.Acknowledged++
			l.progress++
			if o.Kind == world.Accepted && o.Text != "" {
				receipts = append(receipts, ledger.Receipt{Seq: line.Seq, Destination: l.dest.Name, Note: o.Text, LedgerID: l.cursor.LedgerID, Hash: line.Hash})
			}
			continue
		case world.Conflict:
			stop = l.conflict(line, o.Text)
		case world.Rejected:
			stop = l.refused(ctx, line, o.Text)
		case world.Retry:
			if i > 0 {
				stop = halt{kind: again} // it may only have had no time for more
				break
			}
			stop = halt{kind: backingOff, code: fault.SyncUnavailable, reason: l.words(fmt.Sprintf("the destination puts block %d off: %s", line.Seq, o.Text))}
		}
		break
	}
	l.o.Progress(l.dest.Name, int(l.cursor.Acknowledged))
	refused, err := l.o.Ledger.SaveReceipts(receipts)
	if err != nil {
		l.o.Log(world.LogError, fmt.Sprintf("%s: its receipts could not be kept: %v", l.dest.Name, err))
	}
	if refused > 0 {
		l.o.Log(world.LogWarn, fmt.Sprintf("%s: %d receipts are not for the blocks that they came for, and were not kept", l.dest.Name, refused))
	}
	return stop
}

// conflict is a destination that holds another block under a number. It gets no
// more: one of the two ledgers is not what it says.
func (l *blockLane) conflict(line ledger.Line, have string) halt {
	if have == "" {
		have = "another block"
	}
	return halt{kind: paused, code: fault.ForwardFailed, hint: fmt.Sprintf("run `carl ledger verify`, and compare; `carl sync --resume %s` tries again", l.dest.Name),
		reason: l.words(fmt.Sprintf("under block %d the destination holds %s, and here is %x", line.Seq, have, line.Hash[:]))}
}

// refused is a block that the destination will never take as it is, unless it only
// lacks blocks before it.
func (l *blockLane) refused(ctx context.Context, line ledger.Line, why string) halt {
	reason := fmt.Sprintf("the destination refuses block %d: %s", line.Seq, why)
	if next, ok := gap(why); ok && next < line.Seq {
		r, skipped, err := l.o.Ledger.Read(next)
		if err != nil {
			return l.failed(ctx, err)
		}
		r.Close()
		switch {
		case skipped > 0:
			reason = fmt.Sprintf("the destination wants block %d, and blocks %d to %d are not kept here any more", next, next, next+skipped-1)
		case line.Seq < l.wentBack:
			reason = fmt.Sprintf("the destination wants block %d again, and did not keep what it got from there on", next)
		default:
			l.goBack(line, next)
			return halt{kind: again}
		}
	}
	return halt{kind: paused, code: fault.SyncRejected, reason: l.words(reason),
		hint: fmt.Sprintf("see why, then run `carl sync --resume %s`", l.dest.Name)}
}

// goBack moves the cursor to what the destination wants: it has lost blocks, or
// never had them. It does so again in this run only behind the block at which
// it was asked to.
func (l *blockLane) goBack(line ledger.Line, next uint64) {
	l.o.Log(world.LogWarn, fmt.Sprintf("%s: it does not have the ledger from block %d on; it gets it again", l.dest.Name, next))
	c := &l.cursor
	l.wentBack = line.Seq + 1
	c.Acknowledged -= min(c.Acknowledged, c.Next-next)
	c.Next, c.Last = next, ""
}

// gap reads the reason of a refusal that says which block a destination wants
// first: "gap: expected N", and whatever follows a semicolon (see wit/README.md).
func gap(reason string) (next uint64, ok bool) {
	rest, ok := strings.CutPrefix(reason, "gap: expected ")
	digits, _, _ := strings.Cut(rest, ";")
	next, err := strconv.ParseUint(digits, 10, 64)
	return next, ok && err == nil
}

// settleBlocks writes into the cursor how a delivery ended.
func (l *blockLane) settleBlocks(stop halt) {
	c := &l.cursor
	switch stop.kind {
	case goOn, again:
		if l.progress == 0 {
			return
		}
		c.Attempts, c.NotBefore = 0, time.Time{}
		c.Code, c.Reason, c.Hint = "", "", ""
		return
	case stopped, withheld:
		return
	case backingOff:
		if l.progress > 0 {
			c.Attempts = 0
		}
		c.Attempts++
		c.NotBefore = l.o.now().Add(backoff(c.Attempts, stop.retryAfterMS)).UTC()
		l.o.Log(world.LogInfo, fmt.Sprintf("%s: ledger: %s; trying again at %s", l.dest.Name, stop.reason, c.NotBefore.Format("15:04:05")))
	case paused:
		c.Paused, c.NotBefore = true, time.Time{}
		level := world.LogWarn
		if stop.code == fault.ForwardFailed {
			level = world.LogError
		}
		l.o.Log(level, fmt.Sprintf("%s: the ledger is paused: %s", l.dest.Name, stop.reason))
	}
	c.Code, c.Reason, c.Hint = string(stop.code), stop.reason, stop.hint
}

// forward loads the forwarder alone, for blocks that are signed with key.
func (l *blockLane) forward(ctx context.Context, key string) halt {
	if l.forwarder != nil && l.key == key {
		return halt{}
	}
	l.close()
	settings := l.dest.Settings
	if l.dest.LedgerSettings != nil {
		var err error
		if settings, err = l.dest.LedgerSettings(key); err != nil {
			return l.failed(ctx, err)
		}
	}
	forwarder, closer, err := l.dest.LoadForwarder(ctx)
	if err != nil {
		return l.failed(ctx, err)
	}
	l.closer = closer
	if err := forwarder.Open(ctx, settings); err != nil {
		l.close()
		return l.failed(ctx, err)
	}
	l.forwarder, l.key = forwarder, key
	return halt{}
}
