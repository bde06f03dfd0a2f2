package entitle

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
	"pgregory.net/rapid"
)

// camp is a small platform: it answers what was set, and counts what it was asked.
type camp struct {
	mu                sync.Mutex
	token             string
	set               []byte
	tokenErr, keysErr error
	tokens, keys      int // requests
}

func (c *camp) Token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens++
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return c.token, c.tokenErr
}

func (c *camp) Keys(ctx context.Context) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.set, c.keysErr
}

var (
	key1, key2, key3 = newSigner("camp-1"), newSigner("camp-2"), newSigner("camp-3")
	rootKey          = newSigner("root")
	rogueKey         = newSigner("rogue")
)

// lowerTier is the order of tiers that package tier has.
func lowerTier(tier, than string) bool { return tier != "paid" && than == "paid" }

// claimed is a change of a token's claims.
type claimed = map[string]any

// granting is the claim that grants features.
func granting(keys ...string) []any {
	list := []any{}
	for _, k := range keys {
		list = append(list, claimed{"key": k})
	}
	return list
}

// site is a home, with a store, a platform, and a clock that moves by hand. Its
// files are on a disk in memory.
type site struct {
	tb    rapid.TB
	camp  *camp
	now   time.Time
	o     Options
	store *Store
}

func newSite(tb rapid.TB) *site { return newSiteOn(tb, memory(tb), "/home") }

func newSiteOn(tb rapid.TB, fsys private.FS, dir string) *site {
	s := &site{tb: tb, now: today, camp: &camp{set: jwks(key1)}}
	s.o = Options{
		Files: filesIn(dir), URL: "https://camp.test", OfflineRoot: rootKey.public(), Lower: lowerTier,
		InstallID: func() string { return "install-1" }, Clock: func() time.Time { return s.now }, FS: fsys,
	}
	s.store = New(s.o)
	return s
}

func filesIn(dir string) Files {
	in := func(name string) string { return filepath.Join(dir, name) }
	return Files{in("entitlements.json"), in("jwks_pin.json"), in("clock.json"), in("witness.json"), in(".entitle.lock"), in(".refresh.lock")}
}

func memory(tb rapid.TB) private.FS {
	tb.Helper()
	fsys := crashfs.New(func(int) int { return 0 }).Process(nil)
	if err := private.MkdirAllOn(fsys, "/home"); err != nil {
		tb.Fatal(err)
	}
	return fsys
}

// restart is a new process with the same home.
func (s *site) restart() *Store {
	s.store = New(s.o)
	return s.store
}

// serve makes the platform answer with a token that is issued now.
func (s *site) serve(change claimed) { s.serveAt(s.now, change) }

func (s *site) serveAt(at time.Time, change claimed) {
	s.camp.token, s.camp.tokenErr = key1.token(at, change), nil
}

func (s *site) refresh() (State, error) { return s.store.Refresh(context.Background(), s.camp) }

// login serves a token and takes it over.
func (s *site) login(change claimed) State {
	s.tb.Helper()
	s.serve(change)
	return s.accepted()
}

// accepted is a refresh that must work.
func (s *site) accepted() State {
	s.tb.Helper()
	state, err := s.refresh()
	if err != nil {
		s.tb.Fatalf("the refresh failed: %v", err)
	}
	return state
}

func (s *site) importLicense(change claimed) State {
	s.tb.Helper()
	state, err := s.store.Import(rootKey.license(s.now, change))
	if err != nil {
		s.tb.Fatal(err)
	}
	return state
}

// get returns the content of a file.
func (s *site) get(path string) string {
	s.tb.Helper()
	data, err := private.ReadFileOn(s.store.fs, path, 1<<20)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gone
	case err != nil:
		s.tb.Fatal(err)
	}
	return string(data)
}

// gone as the content of a file stands for none.
const gone = "(no such file)"

// put replaces the content of a file.
func (s *site) put(path, content string) {
	s.tb.Helper()
	if content == gone {
		s.store.fs.Remove(path)
	} else if err := private.WriteFileOn(s.store.fs, path, []byte(content)); err != nil {
		s.tb.Fatal(err)
	}
}

// all is the name and the content of every file but the locks.
func (s *site) all() map[string]string {
	s.tb.Helper()
	dir := filepath.Dir(s.o.Files.Cache)
	entries, err := s.store.fs.ReadDir(dir)
	if err != nil {
		s.tb.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			out[e.Name()] = s.get(filepath.Join(dir, e.Name()))
		}
	}
	return out
}

// untouched fails the test when a file is not what it was.
func (s *site) untouched(before map[string]string) {
	s.tb.Helper()
	after := s.all()
	for name, content := range after {
		if old, ok := before[name]; !ok || old != content {
			s.tb.Errorf("%s was changed:\n%s\n%s", name, old, content)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			s.tb.Errorf("%s was removed", name)
		}
	}
}

// wants holds a state against a status, and what goes with it.
func wants(tb rapid.TB, s State, want Status) {
	tb.Helper()
	if s.Status != want {
		tb.Errorf("the status is %s, want %s (age %v, error %v)", s.Status, want, s.Age, s.Err)
	}
	holds := want == Fresh || want == Stale || want == Grace || want == License
	if got := s.Granting() != nil; got != holds {
		tb.Errorf("%s: granting is %v", s.Status, s.Granting())
	}
	if s.Ends().IsZero() == holds {
		tb.Errorf("%s: it ends at %v", s.Status, s.Ends())
	}
}

// code fails the test when err is not of a code.
func code(tb rapid.TB, err error, want fault.Code) {
	tb.Helper()
	if got := fault.CodeOf(err); got != want {
		tb.Errorf("the error is %v, want code %q", err, want)
	}
}

func TestAgeDecides(t *testing.T) {
	for _, issue := range []struct {
		name string
		iat  time.Duration // after the fetch
	}{
		{"issued when it was fetched", 0},
		{"fetched before it was issued", 4 * time.Minute}, // the platform's clock is ahead
		{"issued before it was fetched", -10 * time.Minute},
	} {
		for _, c := range []struct {
			age  time.Duration
			want Status
		}{
			{10 * time.Minute, Fresh},
			{15*time.Minute - 1, Fresh}, {15 * time.Minute, Fresh}, {15*time.Minute + 1, Stale},
			{time.Hour - 1, Stale}, {time.Hour, Stale}, {time.Hour + 1, Grace},
			{24*time.Hour - 1, Grace}, {24 * time.Hour, Grace}, {24*time.Hour + 1, Expired},
			{48 * time.Hour, Expired}, {20 * 365 * 24 * time.Hour, Expired},
		} {
			t.Run(issue.name+"/"+c.age.String(), func(t *testing.T) {
				s := newSite(t)
				s.serveAt(s.now.Add(issue.iat), nil)
				kept := s.accepted()
				if want := max(0, -issue.iat); kept.Age != want || kept.Status != Fresh {
					t.Fatalf("after the refresh: %s, age %v, want %v", kept.Status, kept.Age, want)
				}
				// The age counts from the earlier of the two times.
				now := today.Add(min(0, issue.iat)).Add(c.age)
				s.now = now
				state := s.restart().Look()
				wants(t, state, c.want)
				if state.Age != c.age || !state.FetchedAt.Equal(today) || state.TokenStatus() != c.want || state.Err != nil {
					t.Errorf("age %v, fetched %v, token %s, %v", state.Age, state.FetchedAt, state.TokenStatus(), state.Err)
				}
				if state.Token == nil || (state.Current() == state.Token) != (c.want != Expired) {
					t.Errorf("token %v, current %v", state.Token, state.Current())
				}
				if end := state.Ends(); c.want != Expired && !end.Equal(now.Add(24*time.Hour-c.age)) {
					t.Errorf("it ends at %v", end)
				}
				// A program that keeps a state comes to the same, in one step or in two.
				if got := kept.At(now); !reflect.DeepEqual(got, state) {
					t.Errorf("kept %+v\nread %+v", got, state)
				}
				half := kept.At(today.Add(now.Sub(today) / 2))
				if got := half.At(now); half.Status != Expired && !reflect.DeepEqual(got, state) {
					t.Errorf("kept in two steps %+v\nread %+v", got, state)
				}
				// And it never grows younger.
				if got := kept.At(now).At(today); !reflect.DeepEqual(got, state) {
					t.Errorf("turned back %+v\nread %+v", got, state)
				}
			})
		}
	}
}

// TestAgeIsTheGreatest of the two, and none is negative.
func TestAgeIsTheGreatest(t *testing.T) {
	for _, c := range []struct{ fetched, issued, want time.Duration }{
		{0, 0, 0}, {-time.Hour, -time.Minute, time.Hour}, {-time.Minute, -time.Hour, time.Hour},
		{time.Hour, -time.Minute, time.Minute}, {time.Hour, time.Minute, 0}, {-time.Second, time.Minute, time.Second},
	} {
		if got := age(today, today.Add(c.fetched), today.Add(c.issued)); got != c.want {
			t.Errorf("%v and %v: %v, want %v", c.fetched, c.issued, got, c.want)
		}
	}
}

// TestATokenThatIsOldAtOnce has the platform answer with tokens that were issued
// long ago and are valid for long.
func TestATokenThatIsOldAtOnce(t *testing.T) {
	for _, c := range []struct {
		ago  time.Duration
		want Status
	}{
		{0, Fresh}, {15 * time.Minute, Fresh}, {15*time.Minute + time.Second, Stale}, {30 * time.Minute, Stale},
		{2 * time.Hour, Grace}, {24 * time.Hour, Grace}, {25 * time.Hour, Expired},
	} {
		s := newSite(t)
		s.serveAt(s.now.Add(-c.ago), claimed{"exp": s.now.Add(48 * time.Hour).Unix()})
		state := s.accepted()
		wants(t, state, c.want)
		if state.Age != c.ago || state.Err != nil || state.EndedBy != "" {
			t.Errorf("%v: age %v, %v, %s", c.ago, state.Age, state.Err, state.EndedBy)
		}
	}
}

// TestExpiryCountsOnline tells exp of a token that just came from that of one
// that is cached, whose age counts.
func TestExpiryCountsOnline(t *testing.T) {
	for _, c := range []struct {
		past int // seconds that exp is in the past
		ok   bool
	}{{-1, true}, {0, true}, {300, true}, {301, false}, {3600, false}} {
		s := newSite(t)
		s.login(nil)
		before := s.all()
		s.serve(claimed{"exp": s.now.Unix() - int64(c.past), "iat": s.now.Add(-2 * time.Hour).Unix(), "nbf": omit})
		_, err := s.refresh()
		if (err == nil) != c.ok || err != nil && !isRejection(err, CheckExpired) {
			t.Errorf("exp %d s ago: %v", c.past, err)
		}
		if !c.ok {
			s.untouched(before)
		}
	}
}

// TestAClockThatIsTurnedBack moves the clock to and fro: a token is never
// younger than it was when it was last seen, but for the minute within which
// the time is not noted again.
func TestAClockThatIsTurnedBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSite(rt)
		s.login(nil)
		seen := s.now
		for range rapid.IntRange(1, 8).Draw(rt, "moves") {
			move := rapid.Int64Range(-int64(30*time.Hour), int64(30*time.Hour)).Draw(rt, "move")
			if rapid.IntRange(0, 9).Draw(rt, "far") == 0 {
				move *= 3000
			}
			s.now = s.now.Add(time.Duration(move))
			state := s.restart().Load()
			oldest := later(s.now, seen.Add(-markStep+1)).Sub(today)
			if state.Age < oldest {
				rt.Fatalf("the age is %v at %v, and it was %v before", state.Age, s.now, oldest)
			}
			if want := byAge(max(state.Age, oldest)); state.Status != want {
				rt.Fatalf("the status is %s, want %s", state.Status, want)
			}
			seen = later(seen, s.now)
		}
	})
}

// TestAClockThatWasFarAhead sets the clock to 2035 and back: what is cached has
// expired until the platform speaks again, and then all is as before.
func TestAClockThatWasFarAhead(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.now = time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)
	wants(t, s.restart().Load(), Expired)
	s.now = today.Add(time.Minute)
	wants(t, s.restart().Load(), Expired)
	wants(t, s.restart().Look(), Expired)

	s.camp.tokenErr = fault.New(fault.EntitlementsNetworkUnavailable, "no network")
	state, err := s.refresh()
	code(t, err, fault.EntitlementsNetworkUnavailable)
	wants(t, state, Expired)

	state = s.login(nil)
	wants(t, state, Fresh)
	if state.Age != 0 || !state.Now().Equal(s.now) {
		t.Errorf("age %v at %v", state.Age, state.Now())
	}
	if f := s.store.read(); !f.clock.content.Mark.Equal(s.now) || !f.witness.content.Mark.Equal(s.now) {
		t.Errorf("the marks are %v and %v", f.clock.content.Mark, f.witness.content.Mark)
	}
	s.now = s.now.Add(time.Hour + 1)
	wants(t, s.restart().Load(), Grace)
}

// badClocks are contents that are no clock file.
var badClocks = []string{gone, "", "nonsense", "{}", `{"v":1`, `{"v":1,"mark":"soon"}`, `{"v":1,"mark":17}`, `{"v":1,"mark":"2026-11-23T12:00:00Z","more":1}`, "null", "\x00"}

func TestTheClockFileIsGone(t *testing.T) {
	for _, bad := range badClocks {
		t.Run(bad, func(t *testing.T) {
			s := newSite(t)
			s.login(nil)
			s.put(s.o.Files.Clock, bad)
			for range 2 {
				state := s.restart().Load()
				wants(t, state, Expired)
				code(t, state.Err, fault.EntitlementsCacheCorrupt)
				if !strings.Contains(state.Err.Error(), "clock.json") || state.Token == nil || state.Current() != nil {
					t.Errorf("%v, %v, %v", state.Err, state.Token, state.Current())
				}
				wants(t, state.At(s.now), Expired)
				s.now = s.now.Add(2 * time.Minute)
			}
			if got := s.get(s.o.Files.Clock); got != bad {
				t.Errorf("loading made a clock file: %q", got)
			}
			// No answer, and a refused one, do not make it anew.
			s.camp.tokenErr = fault.New(fault.EntitlementsNetworkUnavailable, "no network")
			state, _ := s.refresh()
			wants(t, state, Expired)
			s.camp.token, s.camp.tokenErr = rogueKey.token(s.now, nil), nil
			state, _ = s.refresh()
			wants(t, state, Expired)
			if state = s.login(nil); state.Err != nil {
				t.Error(state.Err)
			}
			wants(t, state, Fresh)
			wants(t, s.restart().Load(), Fresh)
		})
	}
}

// TestTheMarkIsEdited changes clock.json alone: to the past it changes nothing,
// since the witness knows the mark too, and to the future it only ages.
func TestTheMarkIsEdited(t *testing.T) {
	for _, c := range []struct {
		mark string
		want Status
	}{
		{"0001-01-01T00:00:00Z", Stale}, {"1970-01-01T00:00:00Z", Stale}, {"2026-11-23T12:00:00Z", Stale},
		{"2026-11-23T12:20:00Z", Stale}, {"2026-11-23T14:00:00+01:00", Stale}, {"2026-11-23T14:00:00Z", Grace},
		{"2026-11-24T12:00:00.000000001Z", Expired}, {"2035-01-01T00:00:00Z", Expired}, {"9999-12-31T23:59:59Z", Expired},
	} {
		s := newSite(t)
		s.login(nil)
		s.now = today.Add(20 * time.Minute)
		s.store.Load()
		s.put(s.o.Files.Clock, `{"v":1,"mark":"`+c.mark+`"}`)
		s.now = today // turned back as well
		state := s.restart().Look()
		if wants(t, state, c.want); state.Age < 20*time.Minute {
			t.Errorf("%s: age %v", c.mark, state.Age)
		}
		wants(t, s.store.Load(), c.want)
		wants(t, s.login(nil), c.want) // the same token once more
		s.now = today.Add(time.Second)
		wants(t, s.login(nil), Fresh)
	}
}

// TestNothingIsMadeOfNothing looks at an empty home.
func TestNothingIsMadeOfNothing(t *testing.T) {
	s := newSite(t)
	for _, state := range []State{s.store.Look(), s.store.Load()} {
		wants(t, state, Missing)
		if state.Token != nil || state.Pin != nil || state.Err != nil || state.PinErr != nil || state.TokenStatus() != Missing || state.Aside != "" {
			t.Errorf("%+v", state)
		}
		wants(t, state.At(s.now.Add(time.Hour)), Missing)
	}
	if err := s.store.Forget(); err != nil {
		t.Error(err)
	}
	entries, err := s.store.fs.ReadDir("/home")
	if err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
