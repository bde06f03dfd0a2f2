package sync

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/world"
)

const (
	// maxBlocks and maxBlockBytes bound one delivery of the ledger: each block is
	// a request of its own at most destinations, and what was not answered is
	// sent again.
	maxBlocks     = 64
	maxBlockBytes = 1 << 20
	// maxCursor bounds the file of a cursor.
	maxCursor = 64 << 10
)

// blockCursor is how far a destination has the ledger: the file
// state/<name>.ledger. Losing it costs the blocks being offered again, and
// answered as known.
type blockCursor struct {
	V        int    `json:"v"`
	LedgerID string `json:"ledger_id,omitzero"`
	// Next is the first block that the destination was not heard to have.
	Next uint64 `json:"next"`
	// Last is the hash of the block before that, in hex: what the destination has,
	// whatever the ledger came to have there since.
	Last string `json:"last,omitzero"`
	// Skipped blocks were gone before they could be sent.
	Skipped      uint64    `json:"skipped,omitzero"`
	Acknowledged uint64    `json:"acknowledged"`
	Attempts     int       `json:"attempts,omitzero"`
	NotBefore    time.Time `json:"not_before,omitzero"`
	Paused       bool      `json:"paused,omitzero"`
	Code         string    `json:"code,omitzero"`
	Reason       string    `json:"reason,omitzero"`
	Hint         string    `json:"hint,omitzero"`
}

// blockLane brings the ledger to one destination: the exact lines, in the order
// of their numbers, each as often as it takes to be answered, and nothing behind
// one that is not. It is used by one goroutine, under the sync lock.
type blockLane struct {
	lane
	path    string
	cursor  blockCursor
	key     string // with which the blocks are signed that the forwarder was opened for
	waiting uint64
}

func newBlockLane(o *Options, d *Destination) *blockLane {
	return &blockLane{lane: lane{o: o, dest: d, topic: world.Ledger}, path: o.Spool.LedgerCursor(d.Name)}
}

// load reads the cursor, and whether anything may be sent. A damaged cursor is
// moved aside.
func (l *blockLane) load() error {
	l.granted = true
	if l.dest.Network {
		l.granted, l.epoch = l.o.consent()
	}
	l.cursor = blockCursor{V: 1}
	data, err := private.ReadFile(l.path, maxCursor)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = private.ParseJSON(data, &l.cursor)
	var later *private.TooNewError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &later):
		return fault.New(fault.HomeTooNew, "%s: %w", l.path, err).WithHint("%s", later.Use)
	}
	l.cursor = blockCursor{V: 1}
	_, err = private.Quarantine(l.path)
	return err
}

func (l *blockLane) save() error {
	data, err := private.FormatJSON(&l.cursor)
	if err != nil {
		return err
	}
	if err := private.MkdirAll(filepath.Dir(l.path)); err != nil {
		return err
	}
	return private.WriteFile(l.path, data)
}

// open returns a reader at the cursor. Where the ledger does not have the block
// any more that the destination had last, it begins with the one in its place: the
// destination will say what it holds.
func (l *blockLane) open() (*ledger.Reader, error) {
	from, held := l.cursor.Next, l.cursor.Last != "" && l.cursor.Next > 0
	if held {
		from--
	}
	r, skipped, err := l.o.Ledger.Read(from)
	if err != nil {
		return nil, err
	}
	if id := r.LedgerID(); id != "" && id != l.cursor.LedgerID {
		// Another ledger began since; or the first.
		if l.cursor.LedgerID != "" && l.cursor.Next > 0 {
			r.Close()
			l.cursor.Next, l.cursor.Last, l.cursor.LedgerID = 0, "", id
			return l.open()
		}
		l.cursor.LedgerID = id
	}
	if r.Size() < l.cursor.Next {
		l.cursor.Next, l.cursor.Last = r.Size(), ""
		r.Close()
		l.o.Log(world.LogError, fmt.Sprintf("%s: it has blocks that the ledger has not: run `carl ledger verify`", l.dest.Name))
		return l.open()
	}
	switch {
	case held && skipped > 0:
		skipped--
	case held:
		lines, err := r.Next(context.Background(), 1, maxBlockBytes)
		if err != nil {
			r.Close()
			return nil, err
		}
		if len(lines) != 1 || hex.EncodeToString(lines[0].Hash[:]) != l.cursor.Last {
			r.Close()
			l.cursor.Next, l.cursor.Last = from, ""
			return l.open()
		}
	}
	if skipped > 0 {
		l.cursor.Skipped += skipped
		l.cursor.Next += skipped
		l.o.Log(world.LogError, fmt.Sprintf("%s: %d blocks of the ledger were gone before they could be sent", l.dest.Name, skipped))
	}
	l.waiting = r.Waiting()
	return r, nil
}

// run sends what the ledger has, until the destination wants no more.
func (l *blockLane) run(ctx context.Context, mode runMode) error {
	defer l.close()
	if err := l.load(); err != nil {
		return err
	}
	if !l.granted || l.cursor.Paused || !mode.mended && l.cursor.NotBefore.After(l.o.now()) {
		return nil
	}
	r, err := l.open()
	if err != nil {
		return err
	}
	defer func() { r.Close() }()
	for ctx.Err() == nil {
		lines, err := r.Next(ctx, maxBlocks, maxBlockBytes)
		if err != nil || len(lines) == 0 {
			return err
		}
		l.worked = true
		stop := l.sendBlocks(ctx, lines)
		l.settleBlocks(stop)
		if stop.kind == stopped || stop.kind == withheld {
			return l.save()
		}
		if err := l.save(); err != nil {
			return err
		}
		switch stop.kind {
		case goOn:
		case again:
			next, err := l.open()
			if err != nil {
				return err
			}
			r.Close()
			r = next
		default:
			return nil
		}
	}
	return nil
}

// sendBlocks makes one delivery, and moves the cursor behind what was answered.
func (l *blockLane) sendBlocks(ctx context.Context, lines []ledger.Line) halt {
	if stop := l.forward(ctx, lines[0].Key); stop.kind != goOn {
		return stop
	}
	if !l.stillGranted() {
		return halt{kind: withheld}
	}
	events := make([]world.Event, len(lines))
	for i, line := range lines {
		events[i] = world.Event{ID: line.Sig, Type: "carl.ledger." + string(line.Kind), Subject: string(line.Kind), Time: uint64(line.Time.UnixNano()), Body: line.Text}
	}
	outcomes, err := l.forwarder.Deliver(ctx, world.Ledger, events)
	if err != nil && ctx.Err() != nil {
		return halt{kind: stopped}
	}
	if err == nil {
		err = wellFormed(outcomes, len(events))
	}
	if err != nil {
		return l.failed(ctx, err)
	}
	return l.judgeBlocks(lines, outcomes)
}

// judgeBlocks takes the outcomes in order. Nothing behind a block that was not
// stored counts, whatever is said of it: the chain has no gaps.
func (l *blockLane) judgeBlocks(lines []ledger.Line, outcomes []world.Outcome) halt {
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
			stop = halt{kind: paused, code: fault.SyncRejected, hint: fmt.Sprintf("see why, then run `carl sync --resume %s`", l.dest.Name),
				reason: l.words(fmt.Sprintf("the destination refuses block %d: %s", line.Seq, o.Text))}
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

// settleBlocks writes into the cursor how a delivery ended.
func (l *blockLane) settleBlocks(stop halt) {
	c := &l.cursor
	switch stop.kind {
	case goOn, again:
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

// LedgerStatus is the part of a [DestinationStatus] about the ledger.
type LedgerStatus struct {
	State        LaneState
	Code         fault.Code
	Reason, Hint string
	// Pending counts the blocks that the destination is still to have, Skipped
	// those that were gone before they could be sent.
	Pending, Acknowledged, Skipped uint64
	NotBefore                      time.Time
}

// Due reports whether blocks wait that may be sent. What nobody consented to is
// not due, and not lost either: the ledger keeps it.
func (s *LedgerStatus) Due() bool { return s != nil && s.Pending > 0 && s.State != Disabled }

// ledgerReport puts a lane of blocks into words.
func (l *blockLane) ledgerReport() (*LedgerStatus, error) {
	if err := l.load(); err != nil {
		return &LedgerStatus{State: BackingOff, Reason: "its files could not be read", Hint: "run `carl doctor`"}, err
	}
	r, err := l.open()
	if err != nil {
		return &LedgerStatus{State: Paused, Code: fault.CodeOf(err), Reason: "the ledger cannot be read", Hint: "run `carl ledger verify`"}, err
	}
	r.Close()
	c := &l.cursor
	s := &LedgerStatus{State: OK, Pending: l.waiting, Acknowledged: c.Acknowledged, Skipped: c.Skipped,
		Code: fault.Code(c.Code), Reason: c.Reason, Hint: c.Hint}
	switch {
	case !l.granted:
		s.State, s.Code, s.Reason, s.Hint = Disabled, "", l.o.Withheld, l.o.WithheldHint
		if s.Reason == "" {
			s.Reason, s.Hint = "telemetry consent is not given", "run `carl consent grant telemetry`"
		}
	case c.Paused:
		s.State = Paused
	case c.Attempts > 0 && s.Pending > 0:
		s.State, s.NotBefore = BackingOff, c.NotBefore
		if s.Hint == "" {
			s.Hint = "run `carl ledger replay`"
		}
	case s.Pending > 0:
		s.Reason, s.Hint = "not sent yet", "run `carl sync`"
	}
	return s, nil
}

// resumeBlocks lifts the pause and the back-off of a destination's ledger.
func (o *Options) resumeBlocks(d *Destination, match func(*blockCursor) bool) error {
	if !d.Ledger || o.Ledger == nil {
		return nil
	}
	l := newBlockLane(o, d)
	if err := l.load(); err != nil {
		return err
	}
	c := &l.cursor
	if !match(c) || !c.Paused && (c.Attempts == 0 || c.Hint == askedToWait) {
		return nil
	}
	c.Paused, c.Attempts, c.NotBefore = false, 0, time.Time{}
	c.Code, c.Reason, c.Hint = "", "", ""
	return l.save()
}

// Forwarded is the first block that some destination is still to have; false
// where no destination gets the ledger, or may have it.
func Forwarded(o Options) (next uint64, some bool) {
	for i := range o.Destinations {
		if d := &o.Destinations[i]; d.Ledger {
			l := newBlockLane(&o, d)
			if l.load() != nil {
				return 0, true
			}
			if !l.granted {
				continue // what nobody may have need not be kept for anybody
			}
			if !some || l.cursor.Next < next {
				next = l.cursor.Next
			}
			some = true
		}
	}
	return next, some
}
