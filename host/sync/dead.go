package sync

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/world"
)

// DeadLetter is what one destination will not get without help.
type DeadLetter struct {
	Destination string
	spool.DeadLetter
}

// DeadLetters returns every dead letter, by destination, in the order of their
// arrival; those of one destination where name is not "". Destinations that
// are configured no more are included.
func DeadLetters(s *spool.Spool, name string) ([]DeadLetter, error) {
	names, err := s.DeadLetters()
	if err != nil {
		return nil, err
	}
	var all []DeadLetter
	for _, destination := range names {
		if name != "" && name != destination {
			continue
		}
		letters, err := s.ListDead(destination)
		if err != nil {
			return nil, err
		}
		for _, letter := range letters {
			all = append(all, DeadLetter{destination, letter})
		}
	}
	return all, nil
}

// FindDead returns the dead letters whose ids begin with id: one for each
// destination that has it. An id that stands for several letters of a
// destination, or for none, is carl.dlq.not_found.
func FindDead(s *spool.Spool, name, id string) ([]DeadLetter, error) {
	all, err := DeadLetters(s, name)
	if err != nil {
		return nil, err
	}
	var found []DeadLetter
	for _, letter := range all {
		if id == "" || !strings.HasPrefix(letter.ID, id) {
			continue
		}
		if n := len(found); n > 0 && found[n-1].Destination == letter.Destination && found[n-1].ID != id && letter.ID != id {
			return nil, fault.New(fault.DeadLetterNotFound, "more than one dead letter has an id that begins with %q", id)
		}
		found = append(found, letter)
	}
	// Where one id is the beginning of another, the one that was named in full is meant.
	if slices.ContainsFunc(found, func(l DeadLetter) bool { return l.ID == id }) {
		found = slices.DeleteFunc(found, func(l DeadLetter) bool { return l.ID != id })
	}
	if len(found) == 0 {
		return nil, fault.New(fault.DeadLetterNotFound, "no dead letter has the id %q", id)
	}
	return found, nil
}

// Replay marks dead letters to be tried again by the next sync, and returns
// how many are marked. A step is mapped again, with the mapper and the rules
// of that day; an event goes out with exactly the bytes that it has. Letters
// that fail again come back with their attempts added up.
func Replay(s *spool.Spool, letters ...DeadLetter) (int, error) {
	return eachDestination(letters, s.ReplayDead)
}

// Drop removes dead letters for good, and returns how many went.
func Drop(s *spool.Spool, letters ...DeadLetter) (int, error) {
	return eachDestination(letters, s.DropDead)
}

func eachDestination(letters []DeadLetter, do func(destination string, ids ...string) (int, error)) (int, error) {
	byName := make(map[string][]string)
	var names []string
	for _, l := range letters {
		if byName[l.Destination] == nil {
			names = append(names, l.Destination)
		}
		byName[l.Destination] = append(byName[l.Destination], l.ID)
	}
	total := 0
	for _, name := range names {
		n, err := do(name, byName[name]...)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Resume takes back the pause or the back-off of a destination, once what
// caused it is mended. A time that the destination asked carl to wait for
// stays, but for the ledger, which is small and in order. What of the ledger was
// gone before it could be sent counts as known from then on. It waits for a sync that is at work, until ctx is done: carl.sync.busy.
func Resume(ctx context.Context, o Options, name string) error {
	if _, err := o.find(name); err != nil {
		return err
	}
	return o.resume(ctx, true, func(d *Destination, _ string) bool { return d.Name == name })
}

// LoggedIn takes back the pauses that a login mends, see [Destination.Login].
func LoggedIn(ctx context.Context, o Options) error {
	return o.resume(ctx, false, func(d *Destination, pausedFor string) bool {
		return d.Login && fault.Code(pausedFor) == fault.SyncUnauthorized
	})
}

// resume takes back the pauses and the back-offs that match says so of; it is
// told the code of a pause. For note see [Options.resumeBlocks].
func (o *Options) resume(ctx context.Context, note bool, match func(d *Destination, pausedFor string) bool) error {
	lock, err := lock(ctx, o.Lock)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	for i := range o.Destinations {
		d := &o.Destinations[i]
		err := o.resumeBlocks(d, note, func(c *blockCursor) bool { return match(d, code(c.Paused, c.Code)) })
		if err != nil {
			return err
		}
		st, err := o.Spool.State(d.Name)
		if err != nil {
			return err
		}
		if !match(d, code(st.Paused, st.Code)) || !st.Paused && (st.Attempts == 0 || st.Hint == askedToWait) {
			continue
		}
		st.Paused, st.Attempts, st.NotBefore = false, 0, time.Time{}
		st.Code, st.Reason, st.Hint = "", "", ""
		if err := st.Save(); err != nil {
			return err
		}
	}
	return nil
}

// code is the code of a pause, "" where there is none.
func code(paused bool, code string) string {
	if paused {
		return code
	}
	return ""
}

// Purge forgets what waits for destinations that can reach the network, what
// is in flight included: call it when consent was revoked. Dead letters stay,
// for the user to see; their consent is gone, so that none is sent again.
//
// It waits for a sync that is at work, until ctx is done: carl.sync.busy. What
// it cannot purge then is not sent all the same, since its consent is gone, and
// goes with the next sync.
func Purge(ctx context.Context, o Options) error {
	lock, err := lock(ctx, o.Lock)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	for _, d := range o.Destinations {
		if !d.Network {
			continue
		}
		if err := purge(o.Spool, d.Name); err != nil {
			return err
		}
	}
	return trim(&o)
}

func purge(s *spool.Spool, name string) error {
	st, err := s.State(name)
	if err != nil {
		return err
	}
	slots, err := s.Slots()
	if err != nil {
		return err
	}
	changed := false
	for _, slot := range slots {
		end, err := s.End(slot)
		if err != nil {
			return err
		}
		if from := st.Watermark(slot) + 1; from < end {
			st.Settle(slot, from, end)
			changed = true
		}
	}
	if changed {
		if err := st.Save(); err != nil {
			return err
		}
	}
	if b, err := s.LoadInflight(name); err == nil && b == nil {
		return nil
	}
	return s.ClearInflight(name)
}

// stepLetter makes a dead letter of a step that could not be mapped.
func (l *lane) stepLetter(p prepared) spool.DeadLetter {
	now := l.o.now().UTC()
	letter := spool.DeadLetter{
		ID:       p.stepID,
		Topic:    l.topic.String(),
		Code:     string(p.refused.Code),
		Reason:   l.words(p.refused.Message),
		Attempts: 1,
		First:    now,
		Last:     now,
		Epoch:    p.epoch,
		Step:     p.payload,
	}
	if p.place.letter != "" {
		letter.ID = p.place.letter
	}
	if letter.ID == "" {
		// What cannot be read has no id; its digest is as good.
		letter.ID = axon.ID(string(p.payload), "unreadable")[:2*stepIDBytes]
		head := p.payload[:min(len(p.payload), maxUnreadable)]
		letter.Step, _ = json.Marshal(strings.ToValidUTF8(string(head), "\ufffd"))
	}
	return letter
}

// stepIDBytes is the length of a step's id before it is written in hex.
const stepIDBytes = 6

// maxUnreadable bounds what is kept of a record that is no step: enough for a
// person to see what it is.
const maxUnreadable = 64 << 10

// notReplayed ends the reason of a dead letter whose consent is gone.
const notReplayed = "; not tried again: the consent under which it was recorded is gone"

// unmark leaves a dead letter on file that must not be tried again.
func (l *lane) unmark(letter spool.DeadLetter) error {
	letter.Replay, letter.Attempts = false, 0
	letter.Reason = strings.TrimSuffix(letter.Reason, notReplayed) + notReplayed
	return l.o.Spool.AppendDead(l.dest.Name, letter)
}

// eventOf reads back, from the bytes that go out, what a forwarder is told
// beside them.
func eventOf(letter spool.DeadLetter) (world.Event, error) {
	var envelope struct {
		ID      string    `json:"id"`
		Type    string    `json:"type"`
		Subject string    `json:"subject"`
		Time    time.Time `json:"time"`
	}
	if err := json.Unmarshal(letter.Event, &envelope); err != nil {
		return world.Event{}, fault.New(fault.HomeCorrupt, "the dead letter %s is damaged: %w", letter.ID, err)
	}
	return world.Event{
		ID:      envelope.ID,
		Type:    envelope.Type,
		Subject: envelope.Subject,
		Time:    nanoseconds(envelope.Time),
		Body:    letter.Event,
	}, nil
}

// nanoseconds is the time as the contract counts it: from 1970 on, and in Go's
// range, which ends in 2262.
func nanoseconds(t time.Time) uint64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return uint64(t.UnixNano())
}
