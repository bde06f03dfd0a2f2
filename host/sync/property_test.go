package sync_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

// faultKind is what one delivery comes to.
type faultKind string

const (
	fine          faultKind = "fine"
	down          faultKind = "down"           // nothing was stored
	lostAnswer    faultKind = "lost answer"    // everything was, and nobody heard
	halfStored    faultKind = "half stored"    // the first half was
	tooLarge      faultKind = "too large"      // ask again with less
	rejectedBatch faultKind = "rejected batch" // something is wrong with something
	miscounted    faultKind = "miscounted"     // an answer that cannot be matched
	trapped       faultKind = "trapped"        // stored, then the plugin fell over
	killedBefore  faultKind = "killed before"
	killedAfter   faultKind = "killed after"
	killedAtWord  faultKind = "killed at a word" // when the engine next tells its progress
	killedAtLog   faultKind = "killed at a line" // when it next backs off, its dead letters on file and its state not
	deadAtLog     faultKind = "dead, then killed at a line"
	someLater     faultKind = "some later"    // every third event is put off
	someRejected  faultKind = "some rejected" // every third event is refused for good
)

var (
	wholeFaults  = []faultKind{fine, down, lostAnswer, halfStored, tooLarge, miscounted, trapped, killedBefore, killedAfter, killedAtWord, killedAtLog}
	singleFaults = []faultKind{someLater, someRejected, rejectedBatch, deadAtLog}
)

// faulty is a destination whose deliveries end as its plan says, and well once
// the plan is done.
type faulty struct {
	*store
	plan []faultKind
	// killed and cut say that the engine is to be killed when it next tells
	// its progress, or logs a line.
	killed, cut bool
	check       func(world.Event)
}

func (f *faulty) next() faultKind {
	if len(f.plan) == 0 {
		return fine
	}
	kind := f.plan[0]
	f.plan = f.plan[1:]
	return kind
}

func (f *faulty) deliver(events []world.Event) ([]world.Outcome, error) {
	for _, e := range events {
		f.check(e)
	}
	putAll := func(events []world.Event) []world.Outcome {
		out := make([]world.Outcome, len(events))
		for i, e := range events {
			out[i] = f.put(e)
		}
		return out
	}
	putOthers := func(o world.Outcome) []world.Outcome {
		out := make([]world.Outcome, len(events))
		for i, e := range events {
			if out[i] = o; i%3 != 0 {
				out[i] = f.put(e)
			}
		}
		return out
	}
	switch f.next() {
	case down:
		return nil, &world.Failure{Kind: world.Unavailable, Message: "down"}
	case lostAnswer:
		putAll(events)
		return nil, &world.Failure{Kind: world.Unavailable, Message: "reset"}
	case halfStored:
		putAll(events[:len(events)/2])
		return nil, &world.Failure{Kind: world.Unavailable, Message: "reset half way"}
	case tooLarge:
		if len(events) > 1 { // a single one would be lost for good
			return nil, &world.Failure{Kind: world.TooLarge, Message: "413"}
		}
	case rejectedBatch:
		return nil, &world.Failure{Kind: world.RejectedBatch, Message: "422"}
	case miscounted:
		return putAll(events)[1:], nil
	case trapped:
		putAll(events)
		return nil, errTrap
	case killedBefore:
		abandon()
	case killedAfter:
		putAll(events)
		abandon()
	case killedAtWord:
		f.killed = true
	case killedAtLog:
		f.cut = true
		return nil, &world.Failure{Kind: world.Unavailable, Message: "down"}
	case deadAtLog:
		f.cut = true
		out := putOthers(world.Outcome{Kind: world.Rejected, Text: "no"})
		out[len(out)-1] = world.Outcome{Kind: world.Retry, Text: "later"}
		return out, nil
	case someLater:
		return putOthers(world.Outcome{Kind: world.Retry, Text: "later"}), nil
	case someRejected:
		return putOthers(world.Outcome{Kind: world.Rejected, Text: "no"}), nil
	}
	return putAll(events), nil
}

// epochs is when each event was recorded, and what may leave now.
type epochs struct {
	granted bool
	epoch   uint32
	of      map[string]uint32
}

// Under any mixture of recording, faults, kills, changed mappers, consent
// given and revoked, and replays: what each destination holds in the end is
// what was due to it, under one id with one body, and nothing ever left
// without the consent of its own time.
func TestOracleAgainstJudge(t *testing.T) {
	kills, cuts := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "oracle")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		ordered := rapid.Bool().Draw(t, "only faults that keep the order")
		faults := wholeFaults
		if !ordered {
			faults = append(slices.Clone(wholeFaults), singleFaults...)
		}

		consent := &epochs{granted: true, epoch: 1, of: make(map[string]uint32)}
		m := &mapper{version: 1}
		destinations := map[string]*faulty{}
		for _, name := range []string{"archive", "camp"} {
			destinations[name] = &faulty{store: newStore(), check: func(world.Event) {}}
		}
		destinations["camp"].check = func(e world.Event) {
			if of := consent.of[e.ID]; !consent.granted || of != consent.epoch {
				t.Fatalf("an event of epoch %d leaves; granted %v, epoch %d", of, consent.granted, consent.epoch)
			}
		}
		p := newPlace(t, dir,
			plain("archive", &mapper{}, &forwarder{store: destinations["archive"].store, deliver: destinations["archive"].deliver}),
			plain("camp", m, &forwarder{store: destinations["camp"].store, deliver: destinations["camp"].deliver}))
		p.Destinations[1].Network = true
		p.Consent = func() (bool, uint32) { return consent.granted, consent.epoch }
		word := func(name string) {
			if f := destinations[name]; f != nil && f.killed {
				f.killed = false
				kills++
				abandon()
			}
		}
		p.Progress = func(name string, _ int) { word(name) }
		p.Log = func(_ world.LogLevel, line string) {
			name, _, _ := strings.Cut(line, ":")
			if f := destinations[name]; f != nil && f.cut {
				f.cut = false
				cuts++
				abandon()
			}
		}

		// Two recorders at a time, so that there are two slots.
		var recorders [2]*spool.Writer
		open := func() {
			for i := range recorders {
				if recorders[i], err = p.spool.Writer(); err != nil {
					t.Fatal(err)
				}
			}
		}
		closeAll := func() {
			for _, w := range recorders {
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		open()
		defer closeAll()
		var bySlot [2][]step.Step

		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			switch rapid.SampledFrom([]string{"record", "record", "sync", "sync", "sync", "mapper", "consent", "restart", "replay", "wait"}).Draw(t, "action") {
			case "record":
				slot := rapid.IntRange(0, 1).Draw(t, "slot")
				epoch := uint32(0)
				if consent.granted && rapid.IntRange(0, 3).Draw(t, "with consent") > 0 {
					epoch = consent.epoch
				}
				n := rapid.SampledFrom([]int{1, 3, 20, 300}).Draw(t, "steps")
				drawn := repeat("one", n)
				for range rapid.IntRange(0, 5).Draw(t, "odd ones") {
					drawn[rapid.IntRange(0, n-1).Draw(t, "where")] = rapid.SampledFrom(kinds).Draw(t, "kind")
				}
				steps := p.recordTo(t, recorders[slot], epoch, drawn...)
				bySlot[slot] = append(bySlot[slot], steps...)
				for _, s := range steps {
					for _, typ := range axon.Types() {
						consent.of[axon.ID(s.ID, typ)] = epoch
					}
				}
			case "sync":
				for _, name := range []string{"archive", "camp"} {
					destinations[name].plan = rapid.SliceOfN(rapid.SampledFrom(faults), 0, 4).Draw(t, name)
				}
				p.run(t)
				for _, f := range destinations {
					f.plan, f.killed, f.cut = nil, false, false
				}
			case "mapper":
				m.version++
			case "consent":
				if consent.granted = !consent.granted; consent.granted {
					consent.epoch++
				} else if rapid.Bool().Draw(t, "purge") {
					if err := sync.Purge(t.Context(), p.Options); err != nil {
						t.Fatal(err)
					}
				}
			case "restart":
				closeAll()
				p.reopen(t)
				open()
			case "replay":
				if _, err := sync.Replay(p.spool, deadOf(t, p.spool, "")...); err != nil {
					t.Fatal(err)
				}
			case "wait":
				p.clock.advance(sync.MaxBackoff)
			}
		}

		// In the end all is well, and what was refused is tried again.
		if !consent.granted {
			consent.granted = true
			consent.epoch++
		}
		p.drain(t)
		if _, err := sync.Replay(p.spool, deadOf(t, p.spool, "")...); err != nil {
			t.Fatal(err)
		}
		p.drain(t)

		same(t, destinations["archive"].store, p.due)
		camp := destinations["camp"]
		if len(camp.changed) > 0 {
			t.Fatalf("camp was given a second body under %d ids", len(camp.changed))
		}
		for id := range camp.bodies {
			if !p.due[id] {
				t.Fatalf("camp holds %s, which nobody recorded", id)
			}
		}
		for id := range p.due {
			if _, ok := camp.bodies[id]; !ok && consent.of[id] == consent.epoch {
				t.Fatalf("camp lacks %s, which is due", id)
			}
		}
		wantDead := 0
		for _, steps := range bySlot {
			for _, s := range steps {
				if _, bad := refused[kindOf(s)]; bad {
					wantDead++
				}
			}
			if ordered {
				inOrder(t, destinations["archive"].store, steps)
			}
		}
		if dead := deadOf(t, p.spool, "archive"); len(dead) != wantDead {
			t.Fatalf("%d dead letters, want one for each of %d bad steps", len(dead), wantDead)
		}
	})
	if kills+cuts == 0 {
		t.Error("the engine was never killed: the generator tests nothing")
	}
}

// inOrder fails unless the first events of the steps arrived in their order.
func inOrder(t tester, s *store, steps []step.Step) {
	at := make(map[string]int)
	for i, id := range s.order {
		at[id] = i
	}
	last := -1
	for _, st := range steps {
		if delivered[kindOf(st)] == 0 {
			continue
		}
		i := at[axon.ID(st.ID, axon.InteractionCreated)]
		if i < last {
			t.Fatalf("step %s of one slot arrived before an earlier one", st.Name)
		}
		last = i
	}
}
