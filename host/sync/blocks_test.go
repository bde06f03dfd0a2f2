package sync_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

// chain is a destination of the ledger, as strict as the platform: it begins with
// the first block of a file, and takes each next one once.
type chain struct {
	mu    gosync.Mutex
	id    string   // guarded by mu
	first uint64   // guarded by mu
	lines []string // from first on; guarded by mu
	again int      // blocks that came once more; guarded by mu
}

func (c *chain) put(e world.Event) world.Outcome {
	var b struct {
		LedgerID string `json:"ledger_id"`
		Kind     string `json:"kind"`
		Seq      uint64 `json:"seq"`
		Sig      string `json:"sig"`
	}
	if err := json.Unmarshal(e.Body, &b); err != nil || b.Sig != e.ID || "carl.ledger."+b.Kind != e.Type {
		return world.Outcome{Kind: world.Rejected, Text: fmt.Sprintf("no block: %v", err)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.LedgerID != c.id {
		c.id, c.first, c.lines = b.LedgerID, b.Seq, nil
		if b.Kind != "segment_open" {
			c.id = ""
			return world.Outcome{Kind: world.Rejected, Text: "gap: expected 0; nothing is held"}
		}
	}
	next := c.first + uint64(len(c.lines))
	switch {
	case b.Seq == next:
		c.lines = append(c.lines, string(e.Body))
		return world.Outcome{Kind: world.Accepted}
	case b.Seq > next:
		return world.Outcome{Kind: world.Rejected, Text: fmt.Sprintf("gap: expected %d", next)}
	case b.Seq < c.first:
		return world.Outcome{Kind: world.Rejected, Text: "from before the first"}
	case c.lines[b.Seq-c.first] == string(e.Body):
		c.again++
		return world.Outcome{Kind: world.Duplicate}
	}
	return world.Outcome{Kind: world.Conflict, Text: strings.Repeat("ab", 32)}
}

// lose forgets the blocks from one on.
func (c *chain) lose(from int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines = c.lines[:from]; from == 0 {
		c.id = ""
	}
}

func (c *chain) held() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// recorder is a destination of the ledger, and how it is reached.
func recorder(name string) (*forwarder, sync.Destination) {
	f := &forwarder{chain: new(chain), store: newStore()}
	return f, sync.Destination{
		Name: name, Ledger: true, NoSignals: true,
		LedgerSettings: func(key string) ([]byte, error) { return []byte(key), nil },
		LoadForwarder: func(context.Context) (sync.Forwarder, io.Closer, error) {
			return f, io.NopCloser(nil), nil
		},
	}
}

// ledgerPlace is a place with a ledger of files of a few blocks.
type ledgerPlace struct {
	*place
	ledger *ledger.Ledger
	paths  ledger.Paths
	at     time.Time // of the next block; zero is now
	logged []string
}

func newLedgerPlace(t *testing.T, destinations ...sync.Destination) *ledgerPlace {
	t.Helper()
	p := &ledgerPlace{place: newPlace(t, t.TempDir(), destinations...)}
	p.paths = ledger.Paths{
		Base:     filepath.Join(p.dir, "constitutional_ledger"),
		Key:      filepath.Join(p.dir, "keys", "ledger.key"),
		Pending:  filepath.Join(p.dir, "ledger_pending.jsonl"),
		Receipts: filepath.Join(p.dir, "ledger_receipts.jsonl"),
	}
	p.ledger = ledger.Open(ledger.Options{
		Paths:      p.paths,
		MaxSegment: 4 << 10,
		Clock: func() time.Time {
			if p.at.IsZero() {
				return time.Now()
			}
			return p.at
		},
		Forwarded: func(id string) (uint64, bool) { return sync.Forwarded(p.Options, id) },
	})
	p.Options.Ledger = p.ledger
	p.Options.Log = func(_ world.LogLevel, line string) { p.logged = append(p.logged, line) }
	return p
}

// grow appends decisions, all that follow on the first block at once.
func (p *ledgerPlace) grow(t *testing.T, n int) {
	t.Helper()
	decide := func(s ledger.State) (ledger.Entry, error) {
		if s.Constitution == "" {
			return &ledger.Constitution{Digest: strings.Repeat("ab", 32), Name: "n", Version: "1"}, nil
		}
		return &ledger.Decision{Action: ledger.Action{Kind: "k", Name: "n", Digest: strings.Repeat("cd", 32), Payload: strings.Repeat("x", 200)},
			Constitution: s.Constitution, Rule: "r", From: "a", To: "a", Verdict: "allow"}, nil
	}
	var work gosync.WaitGroup
	for range n {
		work.Go(func() {
			if _, err := p.ledger.Append(decide); err != nil {
				t.Error(err)
			}
		})
	}
	if work.Wait(); t.Failed() {
		t.FailNow()
	}
}

// lines are those of the ledger's files.
func (p *ledgerPlace) lines(t *testing.T) (first uint64, lines []string) {
	t.Helper()
	r, err := p.ledger.Each(t.Context(), nil, func(_ *ledger.Block, line []byte, _ ledger.Hash) error {
		lines = append(lines, string(line))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.FirstSeq, lines
}

// whole fails unless a destination holds the ledger from its first block on.
func (p *ledgerPlace) whole(t *testing.T, f *forwarder) {
	t.Helper()
	first, want := p.lines(t)
	got := f.chain.held()
	if f.chain.first != 0 || uint64(len(got)) != first+uint64(len(want)) || !slices.Equal(got[first:], want) {
		t.Fatalf("%d blocks from %d on are held, and there are %d from %d on", len(got), f.chain.first, len(want), first)
	}
}

// state is what the destination's lane is doing.
func (p *ledgerPlace) state(t *testing.T, name string) sync.LedgerStatus {
	t.Helper()
	report, err := sync.Status(t.Context(), p.Options)
	if err != nil {
		t.Fatal(err)
	}
	return statusIn(t, report, name)
}

func statusIn(t *testing.T, r sync.Report, name string) sync.LedgerStatus {
	t.Helper()
	for _, d := range r.Destinations {
		if d.Name == name && d.Ledger != nil {
			return *d.Ledger
		}
	}
	t.Fatalf("nothing is said of %s", name)
	panic("unreachable")
}

func (p *ledgerPlace) files(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(p.paths.Base + "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// rollBack puts the files of another day in place of the ledger's.
func (p *ledgerPlace) rollBack(t *testing.T, files map[string][]byte) {
	t.Helper()
	for name := range p.files(t) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func outage(wait time.Duration) error {
	return &world.Failure{Kind: world.Unavailable, Message: "down", RetryAfterMS: uint64(wait / time.Millisecond)}
}

// Two destinations, one of which loses answers, get the same lines in the same
// order, across files and keys, also those whose file is gone meanwhile.
func TestLedgerLanes(t *testing.T) {
	fast, toFast := recorder("fast")
	slow, toSlow := recorder("slow")
	p := newLedgerPlace(t, toFast, toSlow)
	isDown := true
	slow.deliver = func([]world.Event) ([]world.Outcome, error) {
		if isDown {
			return nil, outage(0)
		}
		return nil, nil
	}
	lost := 0
	slow.after = func([]world.Event) error {
		if lost++; lost%2 == 1 {
			return outage(0)
		}
		return nil
	}
	for range 7 {
		p.grow(t, 10)
		if _, err := p.ledger.RotateKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.run(t)
	}
	p.whole(t, fast)
	if s := p.state(t, "slow"); s.State != sync.BackingOff || s.Pending != p.ledger.Size() || s.Reason == "" {
		t.Errorf("%+v", s)
	}
	first, _ := p.lines(t)
	pending, _, _, err := p.ledger.Pending()
	if err != nil || first == 0 || uint64(pending) != first {
		t.Fatalf("%d blocks are pruned, and %d wait, %v: the test shows nothing", first, pending, err)
	}

	isDown = false
	for range 100 {
		if p.run(t); p.state(t, "slow").Pending == 0 {
			break
		}
		p.clock.advance(sync.MaxRetryAfter)
	}
	p.whole(t, slow)
	if !slices.Equal(fast.chain.held(), slow.chain.held()) || slow.chain.again == 0 || fast.chain.again > 0 {
		t.Errorf("the two differ, or no answer was lost: %d and %d blocks came again", fast.chain.again, slow.chain.again)
	}
	if pending, _, _, err := p.ledger.Pending(); err != nil || pending > 0 {
		t.Errorf("%d blocks still wait, %v", pending, err)
	}
	if slow.opened < 7 || slow.settings == "" {
		t.Errorf("the forwarder was opened %d times, last with the key %q", slow.opened, slow.settings)
	}
	calls := slow.calls
	if p.run(t); slow.calls != calls {
		t.Error("what is there already was sent again")
	}
}

// Runs end at any moment of a delivery; the next one goes on.
func TestLedgerKilledRuns(t *testing.T) {
	for moment := range 12 {
		f, to := recorder("d")
		p := newLedgerPlace(t, to)
		p.grow(t, 100)
		n := 0
		end := func([]world.Event) error {
			if n++; n == 1+moment/2 {
				abandon()
			}
			return nil
		}
		if moment%2 == 0 {
			f.deliver = func(e []world.Event) ([]world.Outcome, error) { return nil, end(e) }
		} else {
			f.after = end
		}
		done := make(chan bool)
		go func() {
			defer close(done)
			sync.Run(context.Background(), p.Options)
		}()
		<-done
		f.deliver, f.after = nil, nil
		p.grow(t, 3)
		p.run(t)
		p.whole(t, f)
		if most := 64; f.chain.again > most {
			t.Errorf("%d blocks came again, and a delivery has at most %d", f.chain.again, most)
		}
	}
}

func TestLedgerConflict(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.grow(t, 5)
	p.run(t)
	p.grow(t, 3)
	f.deliver = func(events []world.Event) ([]world.Outcome, error) {
		outcomes := make([]world.Outcome, len(events)) // the last one is not to count
		outcomes[1] = world.Outcome{Kind: world.Conflict, Text: strings.Repeat("ef", 32)}
		return outcomes, nil
	}
	report := p.run(t)
	s := statusIn(t, report, "d")
	if s.State != sync.Paused || s.Code != fault.ForwardFailed || s.Pending != p.ledger.Size()-7 || s.Acknowledged != 7 ||
		!strings.Contains(s.Reason, "under block 7 the destination holds "+strings.Repeat("ef", 32)) {
		t.Errorf("%+v", s)
	}
	if err := report.Alarm(); fault.CodeOf(err) != fault.ForwardFailed {
		t.Errorf("the alarm is %v", err)
	}
	if worst := report.Destinations[0].Worst(); worst != sync.Paused {
		t.Errorf("the destination is %s", worst)
	}
	calls := f.calls
	p.AtOnce = true
	if p.run(t); f.calls != calls {
		t.Error("it gets more all the same")
	}
	// What is worth an alarm is one without consent as well.
	p.Destinations[0].Network, p.Consent = true, nil
	if s := p.state(t, "d"); s.State != sync.Paused || s.Code != fault.ForwardFailed {
		t.Errorf("without consent: %+v", s)
	}
	p.Destinations[0].Network = false

	// Somebody looked into it. What was said to be there and is not comes again.
	f.deliver = nil
	if err := sync.Resume(t.Context(), p.Options, "d"); err != nil {
		t.Fatal(err)
	}
	if report := p.run(t); report.Alarm() != nil || !report.Drained() {
		t.Errorf("%+v", statusIn(t, report, "d"))
	}
	p.whole(t, f)
}

func TestLedgerConsentRevoked(t *testing.T) {
	f, to := recorder("d")
	to.Network = true
	p := newLedgerPlace(t, to)
	p.grow(t, 200)
	granted, epoch := true, uint32(1)
	p.Consent = func() (bool, uint32) { return granted, epoch }
	f.after = func([]world.Event) error { granted = false; return nil }
	s := statusIn(t, p.run(t), "d")
	if held := len(f.chain.held()); f.calls != 1 || s.State != sync.Disabled || s.Acknowledged != uint64(held) || s.Pending != p.ledger.Size()-uint64(held) {
		t.Errorf("%d deliveries, %d blocks held, %+v", f.calls, held, s)
	}
	// Given anew in the middle, it is another consent: that is for the next run.
	granted, f.after = true, func([]world.Event) error { epoch++; return nil }
	if p.run(t); f.calls != 2 {
		t.Errorf("%d deliveries", f.calls)
	}
	f.after = nil
	p.run(t)
	p.whole(t, f)
}

// TestLedgerKeptForConsent has a file go while nothing may be sent.
func TestLedgerKeptForConsent(t *testing.T) {
	offline := func() (bool, uint32) { return false, 1 }
	for _, c := range []struct {
		name      string
		consented bool
	}{{"offline", true}, {"revoked", false}} {
		f, to := recorder("d")
		to.Network = true
		p := newLedgerPlace(t, to)
		p.Consent = func() (bool, uint32) { return true, 1 }
		p.Consented = func() bool { return c.consented }
		f.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, outage(0) }
		p.grow(t, 70)
		p.run(t)
		p.Consent = offline
		p.run(t)
		p.grow(t, 70)
		first, lines := p.lines(t)
		pending, _, _, err := p.ledger.Pending()
		if err != nil || first == 0 {
			t.Fatalf("%s: %d blocks are gone, %v", c.name, first, err)
		}
		if c.consented != (uint64(pending) == first) {
			t.Errorf("%s: %d of %d blocks are kept", c.name, pending, first)
		}
		dropped := strings.Contains(strings.Join(lines, ""), "pending_dropped")
		if dropped {
			t.Errorf("%s: blocks were dropped for want of room", c.name)
		}
		if !c.consented {
			continue
		}
		p.Consent, f.deliver = func() (bool, uint32) { return true, 1 }, nil
		p.clock.advance(sync.MaxRetryAfter)
		p.run(t)
		p.whole(t, f)
	}
}

// TestLedgerBegunAnew has another ledger begin where a destination had the first.
func TestLedgerBegunAnew(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.grow(t, 40)
	p.run(t)
	before := p.ledger.ID()
	p.rollBack(t, nil)
	// Nothing is there to be compared with.
	if s := p.state(t, "d"); s.State != sync.OK || s.Pending != 0 {
		t.Errorf("with no ledger: %+v", s)
	}
	f.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, outage(0) }
	p.grow(t, 5)
	if next, some := sync.Forwarded(p.Options, p.ledger.ID()); next != 0 || !some || p.ledger.ID() == before {
		t.Errorf("of the new ledger it has %d blocks, %v", next, some)
	}
	if next, some := sync.Forwarded(p.Options, ""); next != 0 || !some {
		t.Errorf("of a ledger without a name it has %d blocks, %v", next, some)
	}
	p.grow(t, 60)
	p.run(t)
	f.deliver = nil
	p.clock.advance(sync.MaxRetryAfter)
	p.run(t)
	p.whole(t, f)
	if s := p.state(t, "d"); s.Skipped != 0 || s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

func TestLedgerRetryAfter(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.grow(t, 3)
	f.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, outage(10 * time.Minute) }
	for range 3 {
		p.run(t)
	}
	if s := p.state(t, "d"); f.calls != 1 || s.State != sync.BackingOff || !strings.Contains(s.Hint, "asked carl to wait") {
		t.Errorf("asked %d times; %+v", f.calls, s)
	}
	p.clock.advance(9 * time.Minute)
	if p.run(t); f.calls != 1 {
		t.Error("asked before its time")
	}
	p.AtOnce = true
	if p.run(t); f.calls != 2 {
		t.Errorf("asked %d times, by one who cannot wait", f.calls)
	}
	p.AtOnce = false
	if err := sync.Resume(t.Context(), p.Options, "d"); err != nil {
		t.Fatal(err)
	}
	if p.run(t); f.calls != 3 {
		t.Errorf("asked %d times, after it was resumed", f.calls)
	}
	// Set back by more than any wait, the clock says nothing about it.
	p.clock.advance(-48 * time.Hour)
	f.deliver = nil
	p.run(t)
	p.whole(t, f)

	// A failure without a wait backs off longer and longer.
	f.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, outage(0) }
	p.grow(t, 1)
	calls := f.calls
	for range 5 {
		p.run(t)
	}
	if f.calls != calls+1 {
		t.Errorf("asked %d times in a row", f.calls-calls)
	}
}

// A run with a deadline waits for the end of a short back-off.
func TestLedgerWaits(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.Now = nil
	p.grow(t, 3)
	f.deliver = func([]world.Event) ([]world.Outcome, error) {
		if f.calls == 1 {
			return nil, outage(time.Millisecond)
		}
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if report, err := sync.Run(ctx, p.Options); err != nil || !report.Drained() || f.calls != 2 {
		t.Errorf("%d deliveries, %+v, %v", f.calls, report, err)
	}

	// Not for one that ends when there is no time left to be answered.
	p.grow(t, 1)
	f.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, outage(9 * time.Second) }
	begun := time.Now()
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if report, err := sync.Run(ctx, p.Options); err != nil || report.Drained() || time.Since(begun) > 5*time.Second {
		t.Errorf("after %v: %+v, %v", time.Since(begun), report, err)
	}
}

// TestLedgerPluginTimeout has a plugin's own limit end each call with more than a block.
func TestLedgerPluginTimeout(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.grow(t, 12)
	f.deliver = func(events []world.Event) ([]world.Outcome, error) {
		if len(events) > 1 || strings.Contains(string(events[0].Body), `"seq":9,`) {
			return nil, fault.New(fault.PluginTimeout, "took longer than its 60s").WithHint("allow more")
		}
		return nil, nil
	}
	if s := statusIn(t, p.run(t), "d"); s.State != sync.BackingOff || s.Acknowledged != 9 || s.Code != fault.PluginTimeout || s.Hint != "allow more" {
		t.Errorf("%+v", s)
	}
}

// TestLedgerGap has destinations lose what they had, and say so.
func TestLedgerGap(t *testing.T) {
	for _, lost := range []int{0, 7} {
		f, to := recorder("d")
		p := newLedgerPlace(t, to)
		p.grow(t, 12)
		p.run(t)
		f.chain.lose(lost)
		p.grow(t, 3)
		report := p.run(t)
		p.whole(t, f)
		if s := statusIn(t, report, "d"); s.State != sync.OK || s.Acknowledged != p.ledger.Size() {
			t.Errorf("lost from %d on: %+v", lost, s)
		}
	}

	// A cursor that is ahead.
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.grow(t, 10)
	path := p.spool.LedgerCursor("d")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, `{"v":1,"ledger_id":%q,"next":7,"acknowledged":7}`, p.ledger.ID()), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run(t)
	p.whole(t, f)

	// What is gone is gone.
	f, to = recorder("d")
	p = newLedgerPlace(t, to)
	for range 15 {
		p.grow(t, 6)
		p.run(t)
	}
	first, _ := p.lines(t)
	if first == 0 {
		t.Fatal("nothing was pruned")
	}
	f.chain.lose(3)
	p.grow(t, 1)
	s := statusIn(t, p.run(t), "d")
	want := fmt.Sprintf("the destination wants block 3, and blocks 3 to %d are not kept here any more", first-1)
	if s.State != sync.Paused || s.Code != fault.SyncRejected || s.Reason != want || !strings.Contains(s.Hint, "carl sync --resume d") {
		t.Errorf("%+v; want %q", s, want)
	}

	// One that forgets what it gets, or contradicts itself, is not obeyed for ever.
	for name, answer := range map[string]func(n uint64) string{
		"forgetful":   func(uint64) string { return "gap: expected 0" },
		"its own":     func(n uint64) string { return fmt.Sprintf("gap: expected %d", n) },
		"a later one": func(n uint64) string { return fmt.Sprintf("gap: expected %d", n+1) },
		"no number":   func(uint64) string { return "gap: expected -1" },
		"too large":   func(uint64) string { return "gap: expected 18446744073709551616" },
		"other words": func(uint64) string { return "there is a gap: expected 0" },
	} {
		f, to := recorder("d")
		p := newLedgerPlace(t, to)
		p.grow(t, 20)
		f.deliver = func(events []world.Event) ([]world.Outcome, error) {
			outcomes := make([]world.Outcome, len(events))
			for i, e := range events {
				if strings.Contains(string(e.Body), `"seq":9,`) {
					outcomes[i] = world.Outcome{Kind: world.Rejected, Text: answer(9)}
				}
			}
			return outcomes, nil
		}
		s := statusIn(t, p.run(t), "d")
		if s.State != sync.Paused || s.Code != fault.SyncRejected || f.calls > 2 {
			t.Errorf("%s: %d deliveries, %+v", name, f.calls, s)
		}
	}
}

// TestLedgerHalves has deliveries fail that are more than a block, or have a
// certain one among them.
func TestLedgerHalves(t *testing.T) {
	trap := func(string) error { return errTrap }
	failing := func(kind world.FailureKind) func(string) error {
		return func(why string) error { return &world.Failure{Kind: kind, Message: why} }
	}
	for _, c := range []struct {
		name  string
		err   func(why string) error
		code  fault.Code
		state sync.LaneState
		runs  int
	}{
		{"too large", failing(world.TooLarge), fault.SyncRejected, sync.Paused, 1},
		{"rejected", failing(world.RejectedBatch), fault.SyncRejected, sync.Paused, 1},
		{"a trap", trap, fault.PluginTrapped, sync.BackingOff, 3},
	} {
		f, to := recorder("d")
		p := newLedgerPlace(t, to)
		p.grow(t, 50)
		f.deliver = func(events []world.Event) ([]world.Outcome, error) {
			if len(events) > 3 {
				return nil, c.err("many")
			}
			return nil, nil
		}
		for range c.runs {
			p.run(t)
			p.clock.advance(sync.MaxRetryAfter)
		}
		p.whole(t, f)

		p.grow(t, 50)
		bad := fmt.Sprintf(`"seq":%d,`, p.ledger.Size()-20)
		f.deliver = func(events []world.Event) ([]world.Outcome, error) {
			for _, e := range events {
				if strings.Contains(string(e.Body), bad) {
					return nil, c.err("this one")
				}
			}
			return nil, nil
		}
		for range c.runs {
			p.run(t)
			p.clock.advance(sync.MaxRetryAfter)
		}
		s := p.state(t, "d")
		if s.State != c.state || s.Code != c.code || s.Pending != 20 || uint64(len(f.chain.held())) != p.ledger.Size()-20 ||
			!strings.Contains(s.Reason, fmt.Sprintf("block %d", p.ledger.Size()-20)) {
			t.Errorf("%s: %d blocks are held of %d; %+v", c.name, len(f.chain.held()), p.ledger.Size(), s)
		}
	}
}

// TestLedgerHangs has a destination acknowledge some blocks and then say nothing.
func TestLedgerHangs(t *testing.T) {
	for name, wait := range map[string]func(deliver, run context.Context){
		"until it is ended": func(deliver, _ context.Context) { <-deliver.Done() },
		"beyond its end":    func(_, run context.Context) { <-run.Done() },
	} {
		f, to := recorder("d")
		p := newLedgerPlace(t, to)
		p.grow(t, 10)
		run, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		f.deliver = func(events []world.Event) ([]world.Outcome, error) {
			for i, e := range events {
				if strings.Contains(string(e.Body), `"seq":4,`) {
					for _, before := range events[:i] {
						f.chain.put(before)
					}
					wait(f.ctx, run)
					return nil, errors.New("ended")
				}
			}
			return nil, nil
		}
		if _, err := sync.Run(run, p.Options); err != nil {
			t.Fatal(err)
		}
		s := p.state(t, "d")
		if s.State != sync.BackingOff || s.Reason != "sent, and not answered in time" || s.Hint != "run `carl ledger replay --deadline 5m`" || s.NotBefore.IsZero() {
			t.Errorf("%s: %+v", name, s)
		}
		if name == "until it is ended" && s.Acknowledged != 4 {
			t.Errorf("%s: %d blocks were acknowledged and count", name, s.Acknowledged)
		}
		// The next one begins block by block.
		again, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		run = again
		p.clock.advance(sync.MaxRetryAfter)
		if _, err := sync.Run(again, p.Options); err != nil {
			t.Fatal(err)
		}
		if s := p.state(t, "d"); s.Acknowledged != 4 || s.State != sync.BackingOff {
			t.Errorf("%s: %+v", name, s)
		}
		f.deliver = nil
		p.clock.advance(sync.MaxRetryAfter)
		p.run(t)
		p.whole(t, f)
	}
}

// Interrupted by the user, nothing is said against the destination.
func TestLedgerInterrupted(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.grow(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	f.deliver = func([]world.Event) ([]world.Outcome, error) { cancel(); return nil, context.Canceled }
	if _, err := sync.Run(ctx, p.Options); err != nil {
		t.Fatal(err)
	}
	if s := p.state(t, "d"); s.State != sync.OK || s.Reason != "not sent yet" {
		t.Errorf("%+v", s)
	}
}

// TestLedgerRolledBack puts an older copy of the ledger in its place.
func TestLedgerRolledBack(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	p.grow(t, 4)
	before, size := p.files(t), p.ledger.Size()
	p.grow(t, 3)
	p.run(t)
	whole := p.files(t)
	want := fmt.Sprintf("the destination has acknowledged %d blocks, and the ledger has %d: it was rolled back", p.ledger.Size(), size)
	p.rollBack(t, before)

	if s := p.state(t, "d"); s.State != sync.Paused || s.Code != fault.ForwardFailed || s.Reason != want || s.Hint == "" {
		t.Errorf("the status is %+v", s)
	}
	calls := f.calls
	for range 2 {
		report := p.run(t)
		if s := statusIn(t, report, "d"); s.State != sync.Paused || s.Code != fault.ForwardFailed || s.Reason != want {
			t.Errorf("%+v", s)
		}
		if err := report.Alarm(); fault.CodeOf(err) != fault.ForwardFailed || f.calls != calls {
			t.Errorf("%v after %d deliveries", err, f.calls-calls)
		}
	}

	// After a power cut the checkpoint may be an older one, and nothing is lost.
	p.rollBack(t, whole)
	if err := sync.Resume(t.Context(), p.Options, "d"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.paths.Base+".head", before[p.paths.Base+".head"], 0o600); err != nil {
		t.Fatal(err)
	}
	if report := p.run(t); report.Alarm() != nil || !report.Drained() {
		t.Errorf("with an older checkpoint: %+v", statusIn(t, report, "d"))
	}
	p.grow(t, 1)
	p.run(t)
	p.whole(t, f)

	// Who says that it is to go on gets a conflict from what goes on otherwise.
	p.rollBack(t, before)
	p.run(t)
	if err := sync.Resume(t.Context(), p.Options, "d"); err != nil {
		t.Fatal(err)
	}
	p.grow(t, 1)
	if s := statusIn(t, p.run(t), "d"); s.State != sync.Paused || s.Code != fault.ForwardFailed || !strings.Contains(s.Reason, "under block 5 ") {
		t.Errorf("%+v", s)
	}
}

// TestLedgerGapInPending takes blocks out of the file of those that wait.
func TestLedgerGapInPending(t *testing.T) {
	f, to := recorder("d")
	p := newLedgerPlace(t, to)
	f.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, outage(0) }
	p.grow(t, 90)
	p.run(t)
	data, err := os.ReadFile(p.paths.Pending)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	if len(lines) < 15 {
		t.Fatalf("%d lines wait", len(lines))
	}
	if err := os.WriteFile(p.paths.Pending, []byte(strings.Join(slices.Delete(lines, 5, 9), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	f.deliver = func(events []world.Event) ([]world.Outcome, error) {
		for i, e := range events {
			var b struct{ Seq uint64 }
			if err := json.Unmarshal(e.Body, &b); err != nil {
				t.Error(err)
			}
			if got = append(got, b.Seq); i > 0 && b.Seq != got[len(got)-2]+1 {
				t.Errorf("a delivery has block %d behind block %d", b.Seq, got[len(got)-2])
			}
		}
		return make([]world.Outcome, len(events)), nil
	}
	p.clock.advance(sync.MaxRetryAfter)
	p.run(t)
	s := p.state(t, "d")
	if s.Skipped != 4 || s.Unnoted != 4 || uint64(len(got)) != p.ledger.Size()-4 || s.Pending != 0 {
		t.Errorf("%d blocks came; %+v", len(got), s)
	}
	said := 0
	for _, line := range p.logged {
		if strings.Contains(line, "4 blocks of the ledger were gone") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("it was said %d times:\n%s", said, strings.Join(p.logged, "\n"))
	}
	// Who knows of it says so.
	if s.Reason == "" || !strings.Contains(s.Hint, "carl sync --resume d") {
		t.Errorf("%+v", s)
	}
	if err := sync.Resume(t.Context(), p.Options, "d"); err != nil {
		t.Fatal(err)
	}
	if s := p.state(t, "d"); s.Skipped != 4 || s.Unnoted != 0 || s.Reason != "" {
		t.Errorf("%+v", s)
	}
}

func TestLedgerNotAllowed(t *testing.T) {
	for message, hint := range map[string]string{
		"not allowed: there are 16 ledgers": "mend it with the account, then run `carl sync --resume d`",
		"the token is no good":              "run `carl camp login`",
	} {
		f, to := recorder("d")
		to.Login = true
		p := newLedgerPlace(t, to)
		p.grow(t, 2)
		f.deliver = func([]world.Event) ([]world.Outcome, error) {
			return nil, &world.Failure{Kind: world.Unauthorized, Message: message}
		}
		if s := statusIn(t, p.run(t), "d"); s.State != sync.Paused || s.Code != fault.SyncUnauthorized || s.Hint != hint || strings.Contains(s.Reason, "not allowed: ") {
			t.Errorf("%+v; want the hint %q", s, hint)
		}
	}
}

// TestLedgerCursors puts what is no cursor in the place of one.
func TestLedgerCursors(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"nothing":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"garbage":   func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) },
		"too large": func(path string) error { return os.WriteFile(path, make([]byte, 70<<10), 0o600) },
		"a folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":    func(path string) error { return os.Symlink("/dev/null", path) },
		"far ahead, of no ledger": func(path string) error {
			return os.WriteFile(path, []byte(`{"v":1,"next":18446744073709551615,"acknowledged":0}`), 0o600)
		},
	} {
		f, to := recorder("d")
		p := newLedgerPlace(t, to)
		p.grow(t, 5)
		p.run(t)
		path := p.spool.LedgerCursor("d")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		if next, some := sync.Forwarded(p.Options, p.ledger.ID()); next != 0 || !some {
			t.Errorf("%s: Forwarded says %d, %v", name, next, some)
		}
		report := p.run(t)
		if p.whole(t, f); !report.Drained() || f.chain.again != 6 {
			t.Errorf("%s: %d blocks came again; %+v", name, f.chain.again, statusIn(t, report, "d"))
		}
	}
}

// The contract's times begin in 1970, and Go's nanoseconds end in 2262.
func TestLedgerTimes(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want uint64
	}{
		{time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		{time.Date(2026, 11, 23, 1, 2, 3, 4000, time.UTC), 1795395723000004000},
		{time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC), 1<<63 - 1},
	} {
		f, to := recorder("d")
		p := newLedgerPlace(t, to)
		p.at = c.at
		p.grow(t, 1)
		var got []uint64
		f.deliver = func(events []world.Event) ([]world.Outcome, error) {
			for _, e := range events {
				got = append(got, e.Time)
			}
			return nil, nil
		}
		p.run(t)
		if want := []uint64{c.want, c.want}; !slices.Equal(got, want) {
			t.Errorf("%s was %d, want %d", c.at, got, want)
		}
	}
}

// One destination gets both: trouble with one of the two is none of the other's.
func TestLedgerBesideSignals(t *testing.T) {
	f, to := recorder("d")
	to.NoSignals = false
	signals := &forwarder{store: newStore()}
	to.Load = plain("d", &mapper{}, signals).Load
	p := newLedgerPlace(t, to)
	p.grow(t, 30)
	p.record(t, 0, repeat("one", 30)...)
	f.deliver = func([]world.Event) ([]world.Outcome, error) {
		return nil, &world.Failure{Kind: world.Misconfigured, Message: "no such path"}
	}
	report := p.run(t)
	if d := report.Destinations[0]; d.State != sync.OK || d.Pending != 0 || d.Ledger.State != sync.Paused || d.Worst() != sync.Paused || report.Drained() || report.Alarm() != nil {
		t.Errorf("%+v; ledger: %+v", d, d.Ledger)
	}
	same(t, signals.store, p.due)

	f.deliver = nil
	signals.deliver = func([]world.Event) ([]world.Outcome, error) { return nil, outage(0) }
	p.record(t, 0, "one")
	if err := sync.Resume(t.Context(), p.Options, "d"); err != nil {
		t.Fatal(err)
	}
	report = p.run(t)
	if d := report.Destinations[0]; d.State != sync.BackingOff || d.Ledger.State != sync.OK || d.Ledger.Pending != 0 || d.Worst() != sync.BackingOff {
		t.Errorf("%+v; ledger: %+v", d, d.Ledger)
	}
	p.whole(t, f)
}
