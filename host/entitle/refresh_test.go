package entitle

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// requests returns how often the platform was asked for a token and for keys
// since the last call.
func (c *camp) requests() (tokens, keys int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tokens, keys = c.tokens, c.keys
	c.tokens, c.keys = 0, 0
	return tokens, keys
}

// asked fails the test when the platform was asked another number of times.
func (s *site) asked(tokens, keys int) {
	s.tb.Helper()
	if t, k := s.camp.requests(); t != tokens || k != keys {
		s.tb.Errorf("%d requests for a token and %d for keys, want %d and %d", t, k, tokens, keys)
	}
}

// active returns the kids of the active keys, and of the others.
func active(p *Pin) (kids, dead []string) {
	if p == nil {
		return nil, nil
	}
	for _, k := range p.Keys {
		if k.Active() {
			kids = append(kids, k.ID)
		} else {
			dead = append(dead, k.ID)
		}
	}
	return kids, dead
}

// pinned fails the test when other keys are pinned.
func (s *site) pinned(kids, dead string) {
	s.tb.Helper()
	k, d := active(s.restart().Look().Pin)
	if strings.Join(k, " ") != kids || strings.Join(d, " ") != dead {
		s.tb.Errorf("pinned are %q, and withdrawn %q; want %q and %q", k, d, kids, dead)
	}
}

// rejected fails the test unless err is a failed check.
func (s *site) rejected(err error, check Check) {
	s.tb.Helper()
	code(s.tb, err, fault.EntitlementsSignatureInvalid)
	if !isRejection(err, check) {
		s.tb.Errorf("the error is %v (%v), want the check %q", err, errors.Unwrap(err), check)
	}
}

func TestFirstUsePins(t *testing.T) {
	s := newSite(t)
	s.camp.set = setOf(key1.jwk(), `{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}`, key2.jwk(`,"use":"sig"`))
	state := s.login(nil)
	wants(t, state, Fresh)
	s.asked(1, 1)
	s.pinned("camp-1 camp-2", "")
	p := state.Pin
	if p == nil || p.URL != "https://camp.test" || !p.PinnedAt.Equal(today) || !p.CheckedAt.Equal(today) || !p.Keys[0].AddedAt.Equal(today) {
		t.Errorf("%+v", p)
	}
	s.now = s.now.Add(time.Hour)
	s.login(nil)
	s.asked(1, 0)
	if names := slices.Sorted(maps.Keys(s.all())); strings.Join(names, " ") != "clock.json entitlements.json jwks_pin.json witness.json" {
		t.Errorf("the home has %q", names)
	}
	for _, secret := range []string{`"tier"`, "Pro", "u1"} { // the cache holds no parsed claims
		if strings.Contains(s.get(s.o.Files.Cache), secret) {
			t.Errorf("the cache says %s", secret)
		}
	}
}

// TestNothingIsPinnedForABadToken serves the first token with what is wrong
// with it, or with the keys.
func TestNothingIsPinnedForABadToken(t *testing.T) {
	good := func() string { return key1.token(today, nil) }
	for _, c := range []struct {
		name    string
		token   func() string
		set     []byte
		keysErr error
		want    Check
		code    fault.Code
		keys    int
	}{
		{name: "forged", token: newSignerFrom("camp-1", "x").forged, want: CheckSignature, keys: 1},
		{name: "another kid", token: func() string { return key2.token(today, nil) }, want: CheckKeyID, keys: 1},
		{name: "expired", token: func() string { return key1.token(today.Add(-time.Hour), nil) }, want: CheckExpired, keys: 1},
		{name: "issuer", token: func() string { return key1.token(today, claimed{"iss": "x"}) }, want: CheckIssuer, keys: 1},
		{name: "form", token: func() string { return "nonsense" }, want: CheckForm, keys: 1},
		{name: "a set that is none", token: good, set: []byte("<html>"), want: CheckKeySet, keys: 1},
		{name: "an empty set", token: good, set: jwks(), want: CheckNoKey, keys: 1},
		{name: "a kid twice", token: good, set: jwks(key1, key1), want: CheckDuplicate, keys: 1},
		{name: "a huge set", token: good, set: append(jwks(key1), make([]byte, maxKeySet)...), want: CheckKeySet, keys: 1},
		{name: "no keys", token: good, keysErr: fault.New(fault.EntitlementsNetworkUnavailable, "none"), code: fault.EntitlementsNetworkUnavailable, keys: 1},
		{name: "refused keys", token: good, keysErr: fault.New(fault.EntitlementsRefused, "403"), code: fault.EntitlementsRefused, keys: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.camp.token, s.camp.keysErr = c.token(), c.keysErr
			if c.set != nil {
				s.camp.set = c.set
			}
			state, err := s.refresh()
			if c.code != "" {
				code(t, err, c.code)
			} else {
				s.rejected(err, c.want)
			}
			wants(t, state, Missing)
			if all := s.all(); len(all) > 0 {
				t.Errorf("the home has %q", all)
			}
			s.asked(1, c.keys)
		})
	}
}

// forged is a token for today.
func (s signer) forged() string { return s.token(today, nil) }

// TestThePinIsInTheWay damages, edits or loses the pinned keys beside a cache:
// nothing is asked, nothing is changed, and only a person's word mends it.
func TestThePinIsInTheWay(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(s *site, old string) string
	}{
		{"missing", func(*site, string) string { return gone }},
		{"empty", func(*site, string) string { return "" }},
		{"garbage", func(*site, string) string { return "garbage" }},
		{"one byte", func(s *site, _ string) string {
			return strings.Replace(s.get(s.o.Files.Pin), "camp.test", "camp.tesT", 1)
		}},
		{"a space", func(s *site, _ string) string { return s.get(s.o.Files.Pin) + " " }},
		{"another key", func(s *site, _ string) string {
			return strings.Replace(s.get(s.o.Files.Pin), key1.x(), rogueKey.x(), 1)
		}},
		{"no keys", func(*site, string) string {
			return `{"v":1,"url":"","pinned_at":"2026-11-23T12:00:00Z","checked_at":"2026-11-23T12:00:00Z","keys":[]}`
		}},
		{"an older version", func(_ *site, old string) string { return old }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.login(nil)
			old := s.get(s.o.Files.Pin)
			s.camp.set = jwks(key1, key2)
			s.now = s.now.Add(25 * time.Hour)
			s.login(nil)
			s.pinned("camp-1 camp-2", "")
			s.put(s.o.Files.Pin, c.spoil(s, old))
			s.camp.requests()
			before := s.all()

			s.camp.set = jwks(newSignerFrom("camp-1", "rogue"))
			s.camp.token = newSignerFrom("camp-1", "rogue").token(s.now, nil)
			for range 2 {
				state, err := s.refresh()
				code(t, err, fault.EntitlementsJWKSStale)
				wants(t, state, Corrupt)
				code(t, state.Err, fault.EntitlementsJWKSStale)
				if c.spoil(s, old) != gone {
					code(t, state.PinErr, fault.EntitlementsJWKSStale)
				} else if !strings.Contains(err.Error(), "is missing") {
					t.Errorf("%v", err)
				}
				if !strings.Contains(err.Error(), "jwks_pin.json") || !strings.Contains(fault.HintOf(err), "carl entitlements repin") || state.Pin != nil {
					t.Errorf("%v, hint %s, pin %v", err, fault.HintOf(err), state.Pin)
				}
			}
			s.asked(0, 0)
			s.untouched(before)

			// Vouched for is a key that the platform does not serve.
			_, err := s.store.Repin(t.Context(), s.camp, key1.thumbprint())
			code(t, err, fault.EntitlementsJWKSStale)
			s.asked(0, 1)
			s.untouched(before)

			s.camp.set = jwks(key1)
			pin, err := s.store.Repin(t.Context(), s.camp, key1.thumbprint())
			if err != nil || pin.find("camp-1") == nil {
				t.Fatalf("%v, %v", pin, err)
			}
			s.pinned("camp-1", "")
			if w := s.store.read().witness.content; len(w.Pin) != 1 {
				t.Errorf("the witness knows %q", w.Pin)
			}
			aside := gone
			for name, content := range s.all() {
				if strings.HasPrefix(name, "jwks_pin.corrupt-") {
					aside = content
				}
			}
			if aside != before["jwks_pin.json"] && (aside != gone || before["jwks_pin.json"] != "") {
				t.Errorf("aside is %q", aside)
			}
			wants(t, s.restart().Look(), Fresh) // what was cached counts again
			wants(t, s.login(nil), Fresh)
		})
	}
}

// TestADamagedPinWithoutACache is no first use.
func TestADamagedPinWithoutACache(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	if err := s.store.Forget(); err != nil {
		t.Fatal(err)
	}
	s.put(s.o.Files.Pin, "garbage")
	before := s.all()
	s.camp.requests()
	s.from(rogueKey)
	_, err := s.refresh()
	code(t, err, fault.EntitlementsJWKSStale)
	s.asked(0, 0)
	s.untouched(before)
}

// TestFirstUseAgain loses the pin together with the cache, or where no token was
// cached: there is nothing that other keys could be told by.
func TestFirstUseAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(*site)
		want Status
	}{
		{"both files", func(s *site) { s.put(s.o.Files.Cache, gone) }, Fresh},
		{"logged out", func(s *site) { s.store.Forget() }, Fresh},
		{"a licence alone", func(s *site) { s.importLicense(nil); s.store.Forget() }, License},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.login(nil)
			c.lose(s)
			s.put(s.o.Files.Pin, gone)
			s.camp.set, s.camp.token = jwks(key2), key2.token(s.now, nil)
			state := s.accepted()
			if wants(t, state, c.want); state.TokenStatus() != Fresh {
				t.Errorf("the token is %s", state.TokenStatus())
			}
			s.pinned("camp-2", "")
		})
	}
}

// TestNoFirstUseAfterADamagedCache loses the pin and damages the cache. That
// carl itself moves the damaged cache aside must not make it a first use.
func TestNoFirstUseAfterADamagedCache(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.put(s.o.Files.Pin, gone)
	s.put(s.o.Files.Cache, "garbage")
	s.camp.set, s.camp.token = jwks(rogueKey), rogueKey.token(s.now, nil)
	s.camp.requests()
	for range 3 {
		_, err := s.refresh()
		code(t, err, fault.EntitlementsJWKSStale)
	}
	s.asked(0, 0)
	s.pinned("", "")
}

// from makes the platform serve keys, and a token by the first of them.
func (s *site) from(signers ...signer) {
	s.camp.set, s.camp.token, s.camp.tokenErr = jwks(signers...), signers[0].token(s.now, nil), nil
}

func TestRepin(t *testing.T) {
	for _, c := range []struct {
		name       string
		strict     bool
		set        []byte
		expect     []string
		ok         bool
		kids, dead string
	}{
		{name: "the new one", set: jwks(key2), expect: []string{key2.thumbprint()}, ok: true, kids: "camp-2", dead: "camp-1"},
		{name: "the new one among others", set: jwks(key2, key3), expect: []string{key2.thumbprint()}, ok: true, kids: "camp-2 camp-3", dead: "camp-1"},
		{name: "among others, strictly", strict: true, set: jwks(key2, key3), expect: []string{key2.thumbprint()}, ok: true, kids: "camp-2", dead: "camp-1"},
		{name: "two", strict: true, set: jwks(key2, key3), expect: []string{key3.thumbprint(), key2.thumbprint()}, ok: true, kids: "camp-2 camp-3", dead: "camp-1"},
		{name: "under the old kid", set: jwks(newSignerFrom("camp-1", "camp-2")), expect: []string{key2.thumbprint()}, ok: true, kids: "camp-1", dead: "camp-1"},
		{name: "none of them", set: jwks(key2), expect: []string{key1.thumbprint()}, kids: "camp-1"},
		{name: "one of two", set: jwks(key2), expect: []string{key2.thumbprint(), key3.thumbprint()}, kids: "camp-1"},
		{name: "nonsense", set: jwks(key2), expect: []string{""}, kids: "camp-1"},
		// Nobody vouched for anything.
		{name: "nothing expected", set: jwks(key2), kids: "camp-1"},
		{name: "nothing expected, strictly", strict: true, set: jwks(key2), kids: "camp-1"},
		{name: "no set", set: []byte("x"), expect: []string{key2.thumbprint()}, kids: "camp-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.o.Strict = c.strict
			s.restart()
			s.login(nil)
			// An unknown key was looked for just now.
			s.camp.token = key2.token(s.now, nil)
			s.refresh()
			before := s.all()
			s.camp.requests()
			s.camp.set = c.set
			pin, err := s.store.Repin(t.Context(), s.camp, c.expect...)
			s.pinned(c.kids, c.dead)
			if !c.ok {
				if err == nil || pin != nil || len(c.expect) > 0 && !strings.Contains(err.Error(), "the pinned keys were kept") {
					t.Errorf("%v, %v", pin, err)
				}
				s.untouched(before)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.asked(0, 1)
			if kids, _ := active(pin); strings.Join(kids, " ") != c.kids {
				t.Errorf("it says %v", kids)
			}
			// The next unknown key is looked for at once.
			s.camp.token = rogueKey.token(s.now, nil)
			s.refresh()
			s.asked(1, 1)
		})
	}
}

// TestRepinAsksForKeysOnly has the platform fail, and ctx be done.
func TestRepinFails(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	before := s.all()
	s.camp.keysErr = fault.New(fault.CampUnauthorized, "401")
	_, err := s.store.Repin(t.Context(), s.camp, key1.thumbprint())
	code(t, err, fault.CampUnauthorized)
	s.untouched(before)
	wants(t, s.store.Look(), Fresh) // keys are public: what their server says ends nothing
}

// TestNobodyWaitsForEver has another process hold a lock, and not let go.
func TestNobodyWaitsForEver(t *testing.T) {
	held := func(s *site, path string) {
		t.Helper()
		lock, ok, err := private.TryLockOn(s.o.FS, path)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		t.Cleanup(lock.Unlock)
	}
	busy := func(s *site, err error, path string, patience time.Duration, began time.Time) {
		t.Helper()
		code(t, err, fault.IO)
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), patience.String()) || !strings.Contains(fault.HintOf(err), "end that process") {
			t.Errorf("%v, hint %s", err, fault.HintOf(err))
		}
		if took := time.Since(began); took < patience || took > patience+time.Second {
			t.Errorf("it took %v, want %v", took, patience)
		}
	}
	synctest.Test(t, func(t *testing.T) { // in which time passes by itself
		s := newSite(t)
		s.login(nil)
		s.serve(claimed{"tier": "free"})
		before := s.all()
		held(s, s.o.Files.Lock)
		for _, do := range []func(*site) error{importOnce, forgetOnce, refreshOnce} {
			began := time.Now()
			busy(s, do(s), s.o.Files.Lock, lockPatience, began)
		}
		s.put(s.o.Files.Clock, "garbage")
		wants(t, s.store.Look(), Expired)
		s.put(s.o.Files.Clock, before["clock.json"])
		s.untouched(before)
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.login(nil)
		s.camp.requests()
		before := s.all()
		held(s, s.o.Files.Refreshing)
		began := time.Now()
		_, err := s.refresh()
		busy(s, err, s.o.Files.Refreshing, refreshPatience, began)
		began = time.Now()
		_, err = s.store.Repin(t.Context(), s.camp, key1.thumbprint())
		busy(s, err, s.o.Files.Refreshing, refreshPatience, began)
		for _, patience := range []time.Duration{time.Second, 39 * time.Second} { // a caller's own
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if _, err := s.store.Refresh(ctx, s.camp); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			cancel()
		}
		s.asked(0, 0)
		s.untouched(before)
		if _, err := s.store.Import(crashLicense); err != nil { // not its lock
			t.Error(err)
		}
	})
}

// TestTheTimeIsNotedInPassing has another process hold the lock: a state is told
// at once, also where the time is to be noted.
func TestTheTimeIsNotedInPassing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.login(nil)
		lock, ok, err := private.TryLockOn(s.o.FS, s.o.Files.Lock)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		defer lock.Unlock()
		s.now = s.now.Add(2 * time.Minute)
		began := time.Now()
		wants(t, s.store.Look(), Fresh)
		wants(t, s.store.Load(), Fresh)
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}
