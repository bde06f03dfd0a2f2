package sync

import (
	"context"
	"fmt"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
)

// LedgerStatus is the part of a [DestinationStatus] about the ledger.
type LedgerStatus struct {
	State        LaneState
	Code         fault.Code
	Reason, Hint string
	// Pending counts the blocks that the destination is still to have, Skipped
	// those that were gone before they could be sent, and Unnoted those of them
	// that the user has not taken note of, see [Resume].
	Pending, Acknowledged, Skipped, Unnoted uint64
	NotBefore                               time.Time
}

// Due reports whether blocks wait that may be sent. What nobody consented to is
// not due, and not lost either: the ledger keeps it.
func (s *LedgerStatus) Due() bool { return s != nil && s.Pending > 0 && s.State != Disabled }

// ledgerReport puts a lane of blocks into words.
func (l *blockLane) ledgerReport(ctx context.Context) (*LedgerStatus, error) {
	quiet := *l.o
	quiet.Log = func(world.LogLevel, string) {} // only a run says what it does
	l.o = &quiet
	if err := l.load(); err != nil {
		return &LedgerStatus{State: BackingOff, Reason: "its files could not be read", Hint: "run `carl doctor`"}, err
	}
	r, stop, err := l.open(ctx)
	if err != nil {
		return &LedgerStatus{State: Paused, Code: fault.CodeOf(err), Reason: "the ledger cannot be read", Hint: "run `carl ledger verify`"}, err
	}
	if r != nil {
		r.Close()
	}
	if stop.kind != goOn {
		l.settleBlocks(stop)
	}
	c := &l.cursor
	s := &LedgerStatus{State: OK, Pending: l.waiting, Acknowledged: c.Acknowledged, Skipped: c.Skipped, Unnoted: c.Skipped - min(c.Skipped, c.Noted),
		Code: fault.Code(c.Code), Reason: c.Reason, Hint: c.Hint}
	switch {
	case c.Paused && s.Code == fault.ForwardFailed: // worth knowing, consent or not
		s.State = Paused
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
	case s.Unnoted > 0:
		s.Reason = fmt.Sprintf("%d blocks were gone before they could be sent", s.Unnoted)
		s.Hint = fmt.Sprintf("the ledger's own checkpoint still covers them; `carl sync --resume %s` takes note", l.dest.Name)
	}
	return s, nil
}

// Worst is the state of a destination's signals or that of its ledger, whichever
// needs more attention.
func (d DestinationStatus) Worst() LaneState {
	if d.Ledger == nil {
		return d.State
	}
	for _, state := range []LaneState{Paused, BackingOff, Disabled} {
		if d.State == state || d.Ledger.State == state {
			return state
		}
	}
	return OK
}

// Alarm is the error carl.constitutional.forward_failed where what a destination
// holds and what the ledger is here contradict each other; nil otherwise.
func (r Report) Alarm() error {
	for _, d := range r.Destinations {
		if d.Ledger != nil && d.Ledger.State == Paused && d.Ledger.Code == fault.ForwardFailed {
			return fault.New(fault.ForwardFailed, "ledger: %s: %s", d.Name, d.Ledger.Reason).WithKept("it gets no more").WithHint("%s", d.Ledger.Hint)
		}
	}
	return nil
}
