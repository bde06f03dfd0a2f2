package sync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/world"
)

const (
	// faultsBeforeSplit is how many failures in a row a batch that fells the
	// forwarder goes out whole: most faults pass, and halving repeats them.
	faultsBeforeSplit = 2
	// maxFaults bounds the faults of the forwarder in one window while batches
	// are halved. It finds one event among 256 (nine calls), and ends the
	// attempt where everything fails.
	maxFaults = 12
)

// haltKind says what is to become of a lane.
type haltKind int

const (
	goOn       haltKind = iota
	stopped             // ctx is done
	withheld            // consent is gone
	again               // something was stored, and the rest is to be tried at once
	backingOff          // try again later
	paused              // wait for the user
)

// halt is why a lane stops for now; its zero value is none.
type halt struct {
	kind         haltKind
	code         fault.Code
	reason, hint string
	retryAfterMS uint64
}

// deliver sends what is in flight, once.
func (l *lane) deliver(ctx context.Context) halt {
	if len(l.flight) == 0 {
		return halt{}
	}
	if stop := l.plugins(ctx); stop.kind != goOn {
		return stop
	}
	for rest := l.flight; len(rest) > 0; {
		n := l.fitting(rest)
		if stop := l.send(ctx, rest[:n]); stop.kind != goOn {
			return stop
		}
		rest = rest[n:]
	}
	return halt{}
}

// fitting returns how many of the events make one delivery, at least one.
func (l *lane) fitting(events []*flying) int {
	size := 0
	for n, f := range events {
		if size += len(f.Body); n > 0 && (n == l.limit || size > MaxBatchBytes) {
			return n
		}
	}
	return len(events)
}

// send makes one delivery, or as many as it takes to find the event that
// cannot be delivered. Where it returns a halt, what has no final answer
// stays pending.
func (l *lane) send(ctx context.Context, events []*flying) halt {
	if ctx.Err() != nil {
		return halt{kind: stopped}
	}
	if !l.stillGranted() {
		return halt{kind: withheld}
	}
	outcomes, err := l.forwarder.Deliver(ctx, l.topic, bare(events))
	if err != nil && ctx.Err() != nil {
		return halt{kind: stopped}
	}
	for _, f := range events {
		f.attempts++
	}
	if err == nil {
		err = wellFormed(outcomes, len(events))
	}
	if err == nil {
		return l.judge(events, outcomes)
	}

	var failure *world.Failure
	switch errors.As(err, &failure); {
	case failure == nil:
		return l.sendFaulty(ctx, events, err)
	case failure.Kind == world.TooLarge && len(events) > 1:
		// What is too large today is so for the rest of this run.
		l.limit = max(1, len(events)/2)
		return l.sendHalves(ctx, events)
	case failure.Kind == world.RejectedBatch && len(events) > 1:
		return l.sendHalves(ctx, events)
	case failure.Kind == world.TooLarge:
		l.bury(events[0], fault.SyncRejected, "the event is too large for the destination: "+failure.Message)
		return halt{}
	case failure.Kind == world.RejectedBatch:
		l.bury(events[0], fault.SyncRejected, failure.Message)
		return halt{}
	}
	return l.failed(ctx, failure)
}

// sendFaulty deals with events on which the forwarder itself failed. It may
// have delivered any of them or none, so that none is settled.
func (l *lane) sendFaulty(ctx context.Context, events []*flying, err error) halt {
	l.faults++
	stop := l.failed(ctx, err)
	if l.state.Attempts < faultsBeforeSplit || l.faults >= maxFaults {
		return stop
	}
	if len(events) > 1 {
		return l.sendHalves(ctx, events)
	}
	events[0].putOff = true
	l.put = stop
	return halt{}
}

func (l *lane) sendHalves(ctx context.Context, events []*flying) halt {
	middle := len(events) / 2
	if stop := l.send(ctx, events[:middle]); stop.kind != goOn {
		return stop
	}
	return l.send(ctx, events[middle:])
}

// bare is what a forwarder sees of events.
func bare(events []*flying) []world.Event {
	out := make([]world.Event, len(events))
	for i, f := range events {
		out[i] = f.Event
	}
	return out
}

// wellFormed refuses answers that cannot be matched with the events.
func wellFormed(outcomes []world.Outcome, events int) error {
	if len(outcomes) != events {
		return fault.New(fault.PluginBadOutput, "the forwarder gave %d outcomes for %d events", len(outcomes), events)
	}
	for _, o := range outcomes {
		if o.Kind > world.Conflict {
			return fault.New(fault.PluginBadOutput, "the forwarder gave an outcome that does not exist: %s", o.Kind)
		}
	}
	return nil
}

// judge acts on the outcome of each event.
func (l *lane) judge(events []*flying, outcomes []world.Outcome) halt {
	settled := 0
	for i, f := range events {
		switch o := outcomes[i]; o.Kind {
		case world.Accepted, world.Duplicate:
			l.acknowledge(f)
		case world.Rejected:
			l.bury(f, fault.SyncRejected, o.Text)
		case world.Conflict:
			reason := "the destination holds something else under this id"
			if o.Text != "" {
				reason += ": " + o.Text
			}
			l.bury(f, fault.SyncConflict, reason)
			l.o.Log(world.LogError, fmt.Sprintf("%s holds something else under the id %s: %s", l.dest.Name, f.ID, l.words(o.Text)))
		case world.Retry:
			f.putOff = true
			l.put = halt{kind: backingOff, code: fault.SyncUnavailable, reason: l.words("the destination put events off: " + o.Text)}
			continue
		}
		settled++
	}
	l.o.Progress(l.dest.Name, l.acknowledged)
	if settled == 0 {
		return l.put
	}
	return halt{}
}

func (l *lane) acknowledge(f *flying) {
	f.done = true
	l.progress++
	l.acknowledged++
	l.state.Acknowledged++
}

// bury makes a dead letter of an event.
func (l *lane) bury(f *flying, code fault.Code, reason string) {
	f.done = true
	l.progress++
	l.dead = append(l.dead, spool.DeadLetter{
		ID:       f.ID,
		Topic:    l.topic.String(),
		Code:     string(code),
		Reason:   l.words(reason),
		Attempts: f.attempts,
		First:    f.since,
		Last:     l.o.now().UTC(),
		Epoch:    f.epoch,
		Event:    f.Body,
	})
}

// stillGranted checks consent once more, right before something leaves. A
// consent that was given anew in between is another one.
func (l *lane) stillGranted() bool {
	if !l.dest.Network {
		return true
	}
	granted, epoch := l.o.consent()
	if l.granted = granted; granted && epoch != l.epoch {
		l.granted = false
	}
	return l.granted
}

// askedToWait is the hint where not carl but the destination chose the time of
// the next attempt: [Resume] knows by it that the time is not carl's to change.
const askedToWait = "the destination asked carl to wait; carl tries again by itself"

// notAllowed begins the message of a failure unauthorized where the destination
// took the credentials, and refuses all the same (see wit/README.md).
const notAllowed = "not allowed: "

// failed puts an error of a plugin, or of its loading, into words.
func (l *lane) failed(ctx context.Context, err error) halt {
	if ctx.Err() != nil {
		return halt{kind: stopped}
	}
	var failure *world.Failure
	if !errors.As(err, &failure) {
		return halt{kind: backingOff, code: fault.CodeOf(err), reason: l.words(err.Error()), hint: fault.HintOf(err)}
	}
	resume := fmt.Sprintf("run `carl sync --resume %s`", l.dest.Name)
	switch failure.Kind {
	case world.Unavailable:
		stop := halt{kind: backingOff, code: fault.SyncUnavailable, retryAfterMS: failure.RetryAfterMS,
			reason: l.words("the destination is not available: " + failure.Message)}
		if failure.RetryAfterMS > 0 {
			stop.hint = askedToWait
		}
		return stop
	case world.Unauthorized:
		stop := halt{kind: paused, code: fault.SyncUnauthorized, hint: "mend the credentials, then " + resume,
			reason: l.words("the destination does not accept the credentials: " + failure.Message)}
		if why, ok := strings.CutPrefix(failure.Message, notAllowed); ok {
			stop.reason = l.words("the account may not do this: " + why)
			stop.hint = "mend it with the account, then " + resume
		} else if l.dest.Login {
			stop.hint = "run `carl camp login`"
		}
		return stop
	}
	return halt{kind: paused, code: fault.SyncMisconfigured, hint: "mend `destinations` in config.yaml, then " + resume,
		reason: l.words("the destination cannot work as it is configured: " + failure.Message)}
}

// notLoaded reports whether a code is one for which [Destination.Load] fails:
// nothing was sent, and the one who mends the cause is sitting here.
func notLoaded(code fault.Code) bool {
	switch code {
	case fault.ConfigInvalid, fault.HomeUnusable, fault.HomeCorrupt, fault.SecretInvalid,
		fault.PluginNotFound, fault.PluginManifestInvalid, fault.PluginSettingsInvalid, fault.PluginGrantDenied,
		fault.PluginUntrusted, fault.PluginDigestMismatch, fault.PluginLockInvalid, fault.PluginBadModule:
		return true
	}
	return false
}

// account writes into the state how a window ended.
func (l *lane) account(stop halt) {
	st := l.state
	switch stop.kind {
	case goOn:
		st.Attempts, st.NotBefore = 0, time.Time{}
	case stopped, withheld:
		if l.progress > 0 {
			st.Attempts = 0
		}
		return
	case backingOff:
		if l.progress > 0 {
			st.Attempts = 0
		}
		st.Attempts++
		st.NotBefore = l.o.now().Add(backoff(st.Attempts, stop.retryAfterMS)).UTC()
		l.o.Log(world.LogInfo, fmt.Sprintf("%s: %s; trying again at %s", l.dest.Name, stop.reason, st.NotBefore.Format("15:04:05")))
	case paused:
		st.Paused, st.NotBefore = true, time.Time{}
		l.o.Log(world.LogWarn, fmt.Sprintf("%s is paused: %s", l.dest.Name, stop.reason))
	}
	st.Code, st.Reason, st.Hint = string(stop.code), stop.reason, stop.hint
}

// words makes text of a plugin or a destination fit to be kept and shown.
func (l *lane) words(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if l.o.Redactor != nil {
		text = l.o.Redactor.String(text)
	}
	return axon.Label(text)
}
