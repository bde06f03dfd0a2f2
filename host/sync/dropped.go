package sync

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

// DroppedName is the name of the step that reports what the spool had to give
// up. Its action is EXTERNAL, and its metadata has the members reason, dropped
// (since the report before) and total (since the home exists).
const DroppedName = "carl.spool.dropped"

// reportLosses records one step for each reason for which the spool gave up
// something since the last report. The step is made of the count alone, so
// that a kill before the count is noted gives the same step again, and no
// second event.
func reportLosses(o *Options) error {
	granted, epoch := o.consent()
	if !granted {
		epoch = 0
	}
	// Nothing is spooled that nobody would receive.
	if !slices.ContainsFunc(o.Destinations, func(d Destination) bool { return !d.NoSignals && (granted || !d.Network) }) {
		return nil
	}
	losses, err := o.Spool.Losses()
	if err != nil {
		return err
	}
	var due []spool.Loss
	var payloads [][]byte
	for _, l := range losses {
		if l.Total > l.Reported {
			due = append(due, l)
			payloads = append(payloads, droppedStep(o.Source, l))
			o.Log(world.LogWarn, fmt.Sprintf("the spool gave up %d (%s)", l.Total-l.Reported, l.Reason))
		}
	}
	if len(due) == 0 {
		return nil
	}

	w, err := o.Spool.Writer()
	if err != nil {
		return err
	}
	if err := w.Append(epoch, payloads...); err != nil {
		w.Close()
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	for _, l := range due {
		if err := o.Spool.ReportLoss(l.Reason, l.Total); err != nil {
			return err
		}
	}
	return nil
}

func droppedStep(source string, l spool.Loss) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", source, DroppedName, l.Reason, l.Total))
	s := step.Step{
		// Step ids are 12 hex digits.
		ID:     hex.EncodeToString(sum[:6]),
		Action: step.External,
		Name:   DroppedName,
		Time:   l.Last.UTC(),
		Metadata: fmt.Appendf(nil, `{"reason":%s,"dropped":%d,"total":%d}`,
			strconv.Quote(l.Reason), l.Total-l.Reported, l.Total),
	}
	return s.AppendJSON(nil)
}
