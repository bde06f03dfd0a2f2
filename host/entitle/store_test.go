package entitle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

func TestRefusalEndsTheGrace(t *testing.T) {
	for _, refusal := range []error{
		fault.New(fault.CampUnauthorized, "401"),
		fault.New(fault.EntitlementsRefused, "402"),
		fmt.Errorf("wrapped: %w", fault.New(fault.EntitlementsRefused, "403")),
	} {
		for _, age := range []time.Duration{0, 30 * time.Minute, 20 * time.Hour, 30 * time.Hour} {
			s := newSite(t)
			s.login(nil)
			s.now = s.now.Add(age)
			s.camp.tokenErr = refusal
			was := fault.CodeOf(refusal)
			state, err := s.refresh()
			code(t, err, was)
			if _, wrapped := refusal.(*fault.Error); wrapped && !strings.Contains(err.Error(), "the grace of the cached entitlements has ended") {
				t.Errorf("%v", err)
			}
			over := s.all()
			for _, state := range []State{state, s.restart().Look(), s.restart().Load(), state.At(s.now.Add(time.Hour))} {
				wants(t, state, Expired)
				if state.EndedBy != was || state.Current() != nil || state.Token == nil || state.Err != nil {
					t.Errorf("%+v", state)
				}
			}
			// A second refusal has nothing to end, and no answer changes nothing.
			for _, next := range []error{fault.New(fault.CampUnauthorized, "again"), fault.New(fault.EntitlementsNetworkUnavailable, "none")} {
				s.camp.tokenErr = next
				state, err := s.refresh()
				code(t, err, fault.CodeOf(next))
				if strings.Contains(err.Error(), "has ended") {
					t.Errorf("ended twice: %v", err)
				}
				wants(t, state, Expired)
				if state.EndedBy != was {
					t.Errorf("ended by %s", state.EndedBy)
				}
			}
			s.untouched(over)
			s.now = s.now.Add(time.Minute)
			if state := s.login(nil); state.EndedBy != "" {
				t.Errorf("still ended by %s", state.EndedBy)
			}
			wants(t, s.restart().Load(), Fresh)
		}
	}
}

// TestRefusalLeavesALicense ends the grace beside a licence, which holds by itself.
func TestRefusalLeavesALicense(t *testing.T) {
	s := newSite(t)
	s.importLicense(nil)
	s.camp.tokenErr = fault.New(fault.CampUnauthorized, "401")
	before := s.all()
	state, err := s.refresh() // no token that could end
	code(t, err, fault.CampUnauthorized)
	wants(t, state, License)
	s.untouched(before)

	s.login(claimed{"tier": "free"})
	s.camp.tokenErr = fault.New(fault.CampUnauthorized, "401")
	state, err = s.refresh()
	code(t, err, fault.CampUnauthorized)
	wants(t, state, License)
	if state.TokenStatus() != Expired || state.EndedBy != fault.CampUnauthorized {
		t.Errorf("the token is %s, ended by %q", state.TokenStatus(), state.EndedBy)
	}
}

// TestOtherFailuresKeepTheGrace fails in every way that is not a refusal.
func TestOtherFailuresKeepTheGrace(t *testing.T) {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	valid := func(s *site) string { return key1.token(s.now, nil) }
	for _, c := range []struct {
		name  string
		ctx   context.Context
		err   error
		token func(*site) string
		want  fault.Code
	}{
		{name: "network", err: fault.New(fault.EntitlementsNetworkUnavailable, "no route"), want: fault.EntitlementsNetworkUnavailable},
		{name: "unreachable", err: fault.New(fault.CampUnreachable, "no route"), want: fault.CampUnreachable},
		{name: "404", err: fault.New(fault.CampRefused, "404"), want: fault.CampRefused},
		{name: "malformed", err: fault.New(fault.CampMalformed, "no token in it"), want: fault.CampMalformed},
		{name: "another error", err: errors.New("out of luck"), want: fault.Internal},
		{name: "a refusal as the cause", err: fault.New(fault.CampUnreachable, "proxy: %w", fault.New(fault.CampUnauthorized, "401")), want: fault.CampUnreachable},
		{name: "cancelled", ctx: done, want: fault.Internal},
		{name: "no token", token: func(*site) string { return "" }, want: fault.EntitlementsSignatureInvalid},
		{name: "nonsense", token: func(*site) string { return "a.b.c" }, want: fault.EntitlementsSignatureInvalid},
		{name: "forged", token: func(s *site) string { return newSignerFrom("camp-1", "rogue").token(s.now, nil) }, want: fault.EntitlementsSignatureInvalid},
		{name: "another issuer", token: func(s *site) string { return key1.token(s.now, claimed{"iss": "https://else"}) }, want: fault.EntitlementsSignatureInvalid},
		{name: "a licence", token: func(s *site) string { return key1.license(s.now, nil) }, want: fault.EntitlementsSignatureInvalid},
	} {
		for _, age := range []time.Duration{0, 30 * time.Minute, 20 * time.Hour, 30 * time.Hour} {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t)
				s.login(nil)
				s.now = s.now.Add(age)
				want := s.store.Load() // notes the time
				before := s.all()
				s.serve(nil)
				if s.camp.tokenErr = c.err; c.err == nil && c.token == nil {
					c.token = valid
				}
				if c.token != nil {
					s.camp.token = c.token(s)
				}
				ctx := c.ctx
				if ctx == nil {
					ctx = t.Context()
				}
				state, err := s.store.Refresh(ctx, s.camp)
				code(t, err, c.want)
				if c.ctx != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
				if _, ok := err.(*fault.Error); ok && !strings.Contains(err.Error(), "the cached entitlements were kept") {
					t.Errorf("%v", err)
				}
				wants(t, state, want.Status)
				s.untouched(before)
			})
		}
	}
}

// TestALowerTokenReplacesAtOnce takes something away, and puts the file from
// before back.
func TestALowerTokenReplacesAtOnce(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after claimed
		lower         bool
	}{
		{"the tier", nil, claimed{"tier": "free"}, true},
		{"the tier, for one that is not known", nil, claimed{"tier": "platinum"}, true},
		{"a grant", nil, claimed{"entitlements": omit}, true},
		{"one grant for another", claimed{"entitlements": granting("a", "b")}, claimed{"entitlements": granting("a", "c")}, true},
		{"nothing", nil, nil, false},
		{"a higher tier", claimed{"tier": "free"}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.login(c.before)
			old := s.all()
			s.now = s.now.Add(time.Minute)
			state := s.login(c.after)
			wants(t, state, Fresh)
			if want := claimsTier(c.after); state.Token.Tier != want {
				t.Errorf("the tier is %s, want %s", state.Token.Tier, want)
			}
			s.put(s.o.Files.Cache, old["entitlements.json"])
			s.put(s.o.Files.Clock, old["clock.json"])
			state = s.restart().Look()
			wants(t, state, Corrupt)
			code(t, state.Err, fault.EntitlementsCacheCorrupt)
		})
	}
}

func claimsTier(change claimed) string {
	if tier, ok := change["tier"].(string); ok {
		return tier
	}
	return "paid"
}

// TestReplay has the platform's answer of before come again. While it has not
// expired it is taken, and its age still counts from when it was issued.
func TestReplay(t *testing.T) {
	for _, c := range []struct {
		after time.Duration // it was issued
		taken bool
	}{
		{time.Minute, true}, {15 * time.Minute, true}, {20 * time.Minute, true},
		{20*time.Minute + time.Second, false}, {time.Hour, false}, {1000 * time.Hour, false},
	} {
		s := newSite(t)
		s.login(nil)
		old := s.camp.token
		s.now = s.now.Add(c.after)
		s.login(claimed{"tier": "free", "entitlements": omit})
		before := s.all()
		s.camp.token = old
		state, err := s.refresh()
		if !c.taken {
			s.rejected(err, CheckExpired)
			s.untouched(before)
			if state.Token.Tier != "free" {
				t.Errorf("the tier is %s", state.Token.Tier)
			}
			continue
		}
		if err != nil || state.Age != c.after {
			t.Errorf("%v: %v, age %v", c.after, err, state.Age)
		}
		wants(t, state, byAge(c.after))
	}
}

// TestReplayUnderAnOldClock turns the clock back and has a token served again that
// was the platform's then, as somebody with a server of their own can: it is as
// old as it was, and takes nothing back that was said since.
func TestReplayUnderAnOldClock(t *testing.T) {
	for name, since := range map[string]func(*site){
		"a lower tier": func(s *site) { s.login(claimed{"tier": "free", "entitlements": omit}) },
		"the same":     func(s *site) { s.store.Load() },
		"the end":      func(s *site) { s.camp.token, s.camp.tokenErr = "", fault.New(fault.CampRefused, "402"); s.refresh() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.login(nil)
			old, then := s.camp.token, s.now
			s.now = s.now.Add(30 * time.Hour)
			since(s)
			s.now = then.Add(time.Minute)
			s.camp.token, s.camp.tokenErr = old, nil
			for range 2 {
				s.refresh()
				if state := s.restart().Look(); state.Current() != nil && state.Current().Tier != "free" {
					t.Fatalf("%s, of the tier %s, at the age of %v", state.Status, state.Current().Tier, state.Age)
				}
			}
			// What the platform says anew counts, and mends the time.
			s.now = then.Add(2 * time.Minute)
			s.login(nil)
			wants(t, s.restart().Look(), Fresh)
		})
	}
}

// writes counts what a file system was asked to replace, and can refuse it.
type writes struct {
	private.FS
	n   int
	err error
}

func (w *writes) Rename(from, to string) error {
	if w.n++; w.err != nil {
		return w.err
	}
	return w.FS.Rename(from, to)
}

func TestLoadNotesTheTime(t *testing.T) {
	for _, license := range []bool{false, true} {
		fsys := &writes{FS: memory(t)}
		s := newSiteOn(t, fsys, "/home")
		s.login(nil)
		if license {
			s.importLicense(nil)
			if err := s.store.Forget(); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			move  time.Duration
			noted bool
		}{
			{0, false}, {time.Minute - 1, false}, {1, true}, {0, false}, {59 * time.Second, false}, {time.Second, true},
			{30 * time.Hour, true}, {-20 * time.Hour, false}, {20 * time.Hour, false}, {time.Minute, true},
		} {
			s.now = s.now.Add(step.move)
			before := s.all()
			fsys.n = 0
			s.restart().Load()
			if got := fsys.n > 0; got != step.noted {
				t.Errorf("after %v: %d files were written", step.move, fsys.n)
			}
			if !step.noted {
				s.untouched(before)
				continue
			}
			if f := s.store.read(); !f.clock.content.Mark.Equal(s.now) || !f.witness.content.Mark.Equal(s.now) {
				t.Errorf("at %v the marks are %v and %v", s.now, f.clock.content.Mark, f.witness.content.Mark)
			}
			if s.get(s.o.Files.Cache) != before["entitlements.json"] || s.get(s.o.Files.Pin) != before["jwks_pin.json"] {
				t.Error("more than the time was noted")
			}
		}
		// With nothing cached there is no age to know.
		if err := s.store.Forget(); err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(time.Hour)
		if fsys.n = 0; !license {
			if s.store.Load(); fsys.n > 0 {
				t.Errorf("with nothing cached %d files were written", fsys.n)
			}
			s.login(nil)
		}
		// Where nothing can be written the state is told all the same.
		s.now = s.now.Add(time.Hour)
		want, before := s.store.Look(), s.all()
		fsys.err = syscall.ENOSPC
		if got := s.store.Load(); !reflect.DeepEqual(got, want) {
			t.Errorf("loaded %+v\nlooked %+v", got, want)
		}
		s.untouched(before)
	}
}

// TestTheTimeIsKeptInUTC has a clock in another zone.
func TestTheTimeIsKeptInUTC(t *testing.T) {
	s := newSite(t)
	s.now = s.now.In(time.FixedZone("there", 2*60*60))
	s.importLicense(nil)
	if state := s.login(nil); state.Now().Location() != time.UTC {
		t.Errorf("it is %v", state.Now())
	}
	for name, content := range s.all() {
		if strings.Contains(content, "+02:00") {
			t.Errorf("%s: %s", name, content)
		}
	}
}

// TestLookChangesNothing looks at a home in which Load would have work to do.
func TestLookChangesNothing(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.now = s.now.Add(time.Hour)
	before := s.all()
	wants(t, s.store.Look(), Stale)
	s.untouched(before)
	s.put(s.o.Files.Cache, "garbage")
	before = s.all()
	wants(t, s.store.Look(), Corrupt)
	s.untouched(before)
}

// TestADamagedCacheIsMovedAside loads what cannot be a cache. It is kept beside,
// and the next refresh brings a new one.
func TestADamagedCacheIsMovedAside(t *testing.T) {
	genuine := key1.token(today, nil)
	for _, bad := range []string{
		"", "garbage", "{}", "null", "[]", `{"v":1}`, `{"v":0}`, `{"v":1,"token":"x"}`, `{"v":1,"fetched_at":"2026-11-23T12:00:00Z"}`,
		`{"v":1,"license":"x"}`, `{"v":1,"imported_at":"2026-11-23T12:00:00Z"}`, `{"v":1,"v":1}`,
		`{"v":1,"token":"` + genuine + `","fetched_at":"2026-11-23T12:00:00Z"}`, // but not what carl wrote
		`{"v":1,"token":"` + genuine + `","fetched_at":"2026-11-23T12:00:00Z","tier":"paid"}`,
		strings.Repeat(" ", maxFile) + "x", // larger than is read
	} {
		s := newSite(t)
		s.login(nil)
		s.put(s.o.Files.Cache, bad)
		state := s.restart().Load()
		wants(t, state, Corrupt)
		code(t, state.Err, fault.EntitlementsCacheCorrupt)
		name := filepath.Base(state.Aside)
		if !strings.HasPrefix(name, "entitlements.corrupt-") || !strings.HasSuffix(name, ".json") || s.get(state.Aside) != bad || s.get(s.o.Files.Cache) != gone {
			t.Errorf("%.20q is in %q", bad, state.Aside)
		}
		if strings.Contains(state.Err.Error(), "garbage") || !strings.Contains(state.Err.Error(), "entitlements.json") {
			t.Error(state.Err)
		}
		state = s.store.Load()
		if wants(t, state, Missing); state.Aside != "" || state.Err != nil {
			t.Errorf("%+v", state)
		}
		wants(t, s.login(nil), Fresh)
		s.asked(2, 1)
	}
}

// TestRefreshMovesADamagedCacheAside does it without Load before it, and again
// and again: not more than eight are kept.
func TestRefreshMovesADamagedCacheAside(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	for i := range 12 {
		s.put(s.o.Files.Cache, fmt.Sprint("garbage ", i))
		if i%2 == 0 {
			s.store.Load()
		}
		wants(t, s.login(nil), Fresh)
	}
	asides := 0
	for name, content := range s.all() {
		if strings.HasPrefix(name, "entitlements.corrupt-") {
			asides++
			if !strings.HasPrefix(content, "garbage") {
				t.Errorf("%s holds %q", name, content)
			}
		}
	}
	if asides != 8 {
		t.Errorf("%d damaged files are kept", asides)
	}
}

// TestTheWitnessIsGone loses the witness: nothing counts any more, and nothing
// is moved, since the files themselves may be whole.
func TestTheWitnessIsGone(t *testing.T) {
	for _, bad := range []string{gone, "", "garbage", `{"v":1}`, `{"v":1,"cache":[],"pin":[],"mark":"2026-11-23T12:00:00Z"}`} {
		t.Run(bad, func(t *testing.T) {
			s := newSite(t)
			s.importLicense(nil)
			s.login(nil)
			whole := s.get(s.o.Files.Witness)
			s.put(s.o.Files.Witness, bad)
			before := s.all()
			for _, state := range []State{s.restart().Look(), s.store.Look()} {
				wants(t, state, Corrupt)
				if state.Token != nil || state.License != nil || state.Pin != nil {
					t.Errorf("%+v", state)
				}
			}
			if !strings.HasPrefix(bad, `{"v":1`) {
				wants(t, s.store.Load(), Corrupt)
			}
			s.camp.requests()
			_, err := s.refresh()
			code(t, err, fault.EntitlementsJWKSStale)
			s.asked(0, 0)
			if !strings.HasPrefix(bad, `{"v":1`) {
				s.untouched(before)
				s.put(s.o.Files.Witness, whole)
				wants(t, s.store.Load(), License)
				s.put(s.o.Files.Witness, bad)
			}
			// A person's word and a refresh mend it.
			if _, err := s.store.Repin(t.Context(), s.camp, key1.thumbprint()); err != nil {
				t.Fatal(err)
			}
			if state := s.store.Look(); state.Granting() != nil {
				t.Errorf("it grants %v", state.Granting())
			}
			wants(t, s.login(nil), Fresh)
		})
	}
}

func TestForget(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	old := s.all()
	if err := s.store.Forget(); err != nil {
		t.Fatal(err)
	}
	state := s.restart().Load()
	if wants(t, state, Missing); state.Pin == nil || s.get(s.o.Files.Cache) != gone || s.get(s.o.Files.Pin) != old["jwks_pin.json"] {
		t.Errorf("%+v", state)
	}
	before := s.all()
	if err := s.store.Forget(); err != nil {
		t.Error(err)
	}
	s.untouched(before)
	// What was logged out of does not come back with its file.
	s.put(s.o.Files.Cache, old["entitlements.json"])
	wants(t, s.restart().Look(), Corrupt)
	wants(t, s.login(nil), Fresh)
	s.asked(2, 1)

	// A licence by itself is not rewritten.
	fsys := &writes{FS: memory(t)}
	s = newSiteOn(t, fsys, "/home")
	s.importLicense(nil)
	fsys.n = 0
	if err := s.store.Forget(); err != nil || fsys.n > 0 {
		t.Errorf("%v, %d files were written", err, fsys.n)
	}
}

func TestInspect(t *testing.T) {
	s := newSite(t)
	set, err := ParseKeySet(jwks(key2))
	if err != nil {
		t.Fatal(err)
	}
	token, license := key1.token(today, claimed{"sub": "t"}), rootKey.license(today, claimed{"sub": "l"})
	inspect := func(jws string, set *KeySet, want string, wantCode fault.Code) {
		t.Helper()
		before := s.all()
		got, isLicense, err := s.store.Inspect(jws, set)
		if code(t, err, wantCode); isLicense != (jws == license) {
			t.Errorf("a licence: %v", isLicense)
		}
		if (err == nil) != (got != nil) || got != nil && got.Subject != want {
			t.Errorf("%+v, %v", got, err)
		}
		s.untouched(before)
	}
	inspect(token, nil, "", fault.EntitlementsNoKey)
	inspect(license, nil, "l", "")
	inspect(key2.token(today, claimed{"sub": "u"}), set, "u", "")
	inspect(token, set, "", fault.EntitlementsSignatureInvalid)
	inspect("nonsense", set, "", fault.EntitlementsSignatureInvalid)
	inspect("nonsense", nil, "", fault.EntitlementsNoKey)
	s.login(nil)
	inspect(token, nil, "t", "")
	inspect(token, set, "", fault.EntitlementsSignatureInvalid) // that set alone counts
	inspect(rogueKey.token(today, nil), nil, "", fault.EntitlementsSignatureInvalid)
	s.now = today.Add(20*time.Minute + time.Second)
	inspect(token, nil, "", fault.EntitlementsSignatureInvalid) // exp counts
	s.now = today.Add(181 * 24 * time.Hour)
	inspect(license, nil, "", fault.EntitlementsLicenseRefused)
	s.store.Load()
	s.now = today // the mark holds for licences
	inspect(license, nil, "", fault.EntitlementsLicenseRefused)
	s.o.OfflineRoot = nil
	s.restart()
	inspect(license, nil, "", fault.EntitlementsNoKey)
	s.put(s.o.Files.Pin, "garbage")
	inspect(token, nil, "", fault.EntitlementsJWKSStale)
	inspect(key2.token(today, claimed{"sub": "u"}), set, "u", "")
}
