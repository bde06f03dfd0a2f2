package train

import (
	"context"
	"errors"
	"time"

	"carl.camp/carl/host/camp"
)

const (
	// firstPoll and lastPoll are how often a run is asked for: less and less, since
	// runs take hours.
	firstPoll = time.Second
	lastPoll  = 30 * time.Second
	// maxMalformed is how many answers in a row may be nothing that can be believed:
	// a captive portal goes away, and a wrong address does not.
	maxMalformed = 3
)

// Wait asks for a run until it has ended, and tells seen of every answer and lost of
// every question without one; both may be nil. A network that fails, and a platform
// that is in trouble, are waited out. The error is a *[camp.CallError] that waiting
// does not mend, or that of ctx, beside the last state that was seen.
func Wait(ctx context.Context, p Platform, id string, seen func(camp.Run), lost func(err error, pause time.Duration)) (camp.Run, error) {
	var last camp.Run
	malformed := 0
	for pause := firstPoll; ; {
		run, err := p.Run(ctx, id)
		var call *camp.CallError
		switch {
		case err == nil:
			if run.Status != last.Status || run.Step != nil && (last.Step == nil || *run.Step != *last.Step) {
				pause = firstPoll // something happens
			} else {
				pause = min(pause*3/2, lastPoll)
			}
			last, malformed = run, 0
			if seen != nil {
				seen(run)
			}
			if run.Ended() {
				return run, nil
			}
			pause = max(pause, run.RetryAfter)
		case ctx.Err() != nil:
			return last, ctx.Err()
		case errors.As(err, &call) && (passing(call) || call.Failure == camp.FailMalformed && malformed < maxMalformed):
			if malformed++; passing(call) {
				malformed = 0
			}
			pause = max(min(pause*2, lastPoll), call.RetryAfter)
			if lost != nil {
				lost(err, pause)
			}
		default:
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-time.After(pause):
		}
	}
}
