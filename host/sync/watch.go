package sync

import (
	"context"
	"time"
)

const (
	// minInterval bounds how often a watch looks, whatever it was asked.
	minInterval = 100 * time.Millisecond
	// letterInterval is how often a watch reads the dead letters, which may be
	// many, for some that are to be tried again.
	letterInterval = time.Minute
	// maxTrouble bounds the pause after errors in a row.
	maxTrouble = time.Minute
)

// Watch ships until ctx is done, and then returns nil: it looks every interval
// for what is new and for what has become due. A destination that is backing
// off is left alone until its time; looking is cheap, and loads no plugin where
// nothing is due.
//
// each is told how a round ended that did something or failed; it may be nil.
// An error does not end a Watch, it makes the pauses longer. The lock is held
// only while a round is at work, so that other syncs get their turn.
func Watch(ctx context.Context, o Options, interval time.Duration, each func(Report, error)) error {
	if each == nil {
		each = func(Report, error) {}
	}
	interval = max(interval, minInterval)
	var lettersAt time.Time
	for pause := interval; ctx.Err() == nil; {
		mode := runMode{letters: !time.Now().Before(lettersAt)}
		if mode.letters {
			lettersAt = time.Now().Add(letterInterval)
		}
		done, err := run(ctx, o, mode)
		if err != nil {
			pause = min(2*pause, max(maxTrouble, interval))
		} else {
			pause = interval
		}
		if done.worked || err != nil {
			report, statusErr := Status(ctx, o)
			if err == nil {
				err = statusErr
			}
			report.Tasks = done.tasks
			each(report, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}
