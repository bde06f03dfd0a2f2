package entitle

import (
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
)

// TestRotation follows the platform's keys as their tokens come: the kid that a
// token names, the set that is served, and what is pinned then.
func TestRotation(t *testing.T) {
	swapped := newSignerFrom("camp-1", "camp-2")
	for _, c := range []struct {
		name  string
		first []signer // of the first token and set
		set   []byte
		token signer
		after time.Duration
		// want is the code, or "" for a token that is taken.
		want       fault.Code
		check      Check
		keys       int
		kids, dead string
	}{
		{name: "nothing new", set: jwks(key2), token: key1, kids: "camp-1"},
		{name: "added", set: jwks(key1, key2), token: key2, keys: 1, kids: "camp-1 camp-2"},
		{name: "added, of which the token does not tell", set: jwks(key1, key2), token: key1, kids: "camp-1"},
		{name: "added, found a day later", set: jwks(key1, key2), token: key1, after: 24 * time.Hour, keys: 1, kids: "camp-1 camp-2"},
		{name: "not looked for within a day", set: jwks(key1, key2), token: key1, after: 24*time.Hour - 1, kids: "camp-1"},
		{name: "the clock was set back", set: jwks(key1, key2), token: key1, after: -time.Minute, keys: 1, kids: "camp-1 camp-2"},
		{name: "replaced", set: jwks(key2), token: key2, want: fault.EntitlementsJWKSStale, keys: 1, kids: "camp-1"},
		{name: "replaced, found a day later", set: jwks(key2), token: key1, after: 24 * time.Hour, want: fault.EntitlementsJWKSStale, keys: 1, kids: "camp-1"},
		{name: "exchanged", set: jwks(swapped), token: swapped, want: fault.EntitlementsJWKSStale, keys: 1, kids: "camp-1"},
		{name: "exchanged, beside another", set: jwks(swapped, key2), token: key2, want: fault.EntitlementsJWKSStale, keys: 1, kids: "camp-1"},
		{name: "exchanged, found a day later", set: jwks(swapped), token: key1, after: 24 * time.Hour, want: fault.EntitlementsJWKSStale, keys: 1, kids: "camp-1"},
		{name: "exchanged for what is no key", set: setOf(key2.jwk(), `{"kty":"RSA","kid":"camp-1","n":"AQAB","e":"AQAB"}`), token: key2, want: fault.EntitlementsJWKSStale, keys: 1, kids: "camp-1"},
		{name: "forged", set: jwks(key1), token: swapped, want: fault.EntitlementsSignatureInvalid, check: CheckSignature, keys: 1, kids: "camp-1"},
		{name: "unknown", set: jwks(key1), token: key2, want: fault.EntitlementsSignatureInvalid, check: CheckKeyID, keys: 1, kids: "camp-1"},
		{name: "withdrawn", first: []signer{key1, key2}, set: jwks(key2), token: key2, after: 24 * time.Hour, keys: 1, kids: "camp-2", dead: "camp-1"},
		{name: "withdrawn, found with a new one", first: []signer{key1, key2}, set: jwks(key2, key3), token: key3, keys: 1, kids: "camp-2 camp-3", dead: "camp-1"},
		// The platform says of the key that it is not to be trusted any more.
		{name: "withdrawn, and signed with", first: []signer{key1, key2}, set: jwks(key2), token: key1, after: 24 * time.Hour, want: fault.EntitlementsSignatureInvalid, check: CheckKeyID, keys: 1, kids: "camp-2", dead: "camp-1"},
		{name: "a set that is none", set: []byte("<html>"), token: key2, want: fault.EntitlementsSignatureInvalid, check: CheckKeySet, keys: 1, kids: "camp-1"},
		{name: "a set that is none, a day later", set: []byte("<html>"), token: key1, after: 24 * time.Hour, keys: 1, kids: "camp-1"},
		{name: "a kid twice", set: jwks(key1, key2, key2), token: key2, want: fault.EntitlementsSignatureInvalid, check: CheckDuplicate, keys: 1, kids: "camp-1"},
		{name: "a huge set", set: append(jwks(key1, key2), make([]byte, maxKeySet)...), token: key2, want: fault.EntitlementsSignatureInvalid, check: CheckKeySet, keys: 1, kids: "camp-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			if c.first == nil {
				c.first = []signer{key1}
			}
			s.from(c.first...)
			s.accepted()
			s.now = s.now.Add(c.after)
			s.store.Load()
			s.camp.requests()
			before := s.all()
			s.camp.set, s.camp.token = c.set, c.token.token(s.now, claimed{"sub": "new"})
			state, err := s.restart().Refresh(t.Context(), s.camp)
			s.asked(1, c.keys)
			s.pinned(c.kids, c.dead)
			if c.want == "" {
				if err != nil || state.Token == nil || state.Token.Subject != "new" {
					t.Fatalf("%v, token %v", err, state.Token)
				}
				wants(t, state, Fresh)
				return
			}
			if c.check != "" {
				s.rejected(err, c.check)
			} else {
				code(t, err, c.want)
			}
			if state.Token != nil && state.Token.Subject == "new" {
				t.Errorf("the token was taken")
			}
			if got := s.get(s.o.Files.Cache); got != before["entitlements.json"] {
				t.Errorf("the cache was changed: %s", got)
			}
			if got := s.get(s.o.Files.Pin); c.dead == "" && got != before["jwks_pin.json"] {
				t.Errorf("the pin was changed: %s", got)
			}
		})
	}
}

// TestTombstonesNeverComeBack serves a key again that was withdrawn, under its
// own kid and under another.
func TestTombstonesNeverComeBack(t *testing.T) {
	s := newSite(t)
	s.from(key1, key2)
	s.accepted()
	s.now = s.now.Add(24 * time.Hour)
	s.from(key2)
	s.accepted()
	s.pinned("camp-2", "camp-1")
	renamed := newSignerFrom("camp-9", "camp-1")
	for i, back := range []signer{key1, renamed} {
		s.now = s.now.Add(24 * time.Hour)
		s.from(key2, back)
		s.accepted()
		s.pinned("camp-2", "camp-1")
		s.from(back, key2)
		_, err := s.refresh()
		s.rejected(err, CheckKeyID)
		s.pinned("camp-2", "camp-1")
		if i == 1 {
			break
		}
		// With the last active key gone, the one that is back does not help.
		s.now = s.now.Add(24 * time.Hour)
		s.store.Load()
		before := s.all()
		s.from(back)
		_, err = s.refresh()
		code(t, err, fault.EntitlementsJWKSStale)
		if got := s.get(s.o.Files.Pin); got != before["jwks_pin.json"] {
			t.Errorf("the pin was changed: %s", got)
		}
	}
}

// TestUnknownKeysAreLookedForNowAndThen counts the requests that a token with an
// unknown kid brings about.
func TestUnknownKeysAreLookedForNowAndThen(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.camp.token = key2.token(s.now, nil)
	for _, step := range []struct {
		move time.Duration
		keys int
	}{
		{0, 1}, {0, 0}, {time.Second, 0}, {5*time.Minute - time.Second - 1, 0}, {1, 1}, {1, 0},
		{5 * time.Minute, 1}, {-time.Hour, 1}, {time.Minute, 0}, // a clock that jumps back
		{10 * 365 * 24 * time.Hour, 1}, {-10 * 365 * 24 * time.Hour, 1}, {4 * time.Minute, 0}, // far ahead, and back
	} {
		s.now = s.now.Add(step.move)
		s.camp.token = key2.token(s.now, nil)
		s.camp.requests()
		_, err := s.restart().Refresh(t.Context(), s.camp)
		s.asked(1, step.keys)
		if step.keys == 1 {
			s.rejected(err, CheckKeyID)
			continue
		}
		code(t, err, fault.EntitlementsJWKSStale)
		if !strings.Contains(fault.HintOf(err), "carl entitlements show --refresh") || !strings.Contains(err.Error(), "were kept") {
			t.Errorf("%v, hint %s", err, fault.HintOf(err))
		}
	}
	// What may not be noted is not done.
	s.now = s.now.Add(time.Hour)
	s.camp.keysErr = fault.New(fault.EntitlementsNetworkUnavailable, "none")
	s.camp.token = key2.token(s.now, nil)
	_, err := s.refresh()
	code(t, err, fault.EntitlementsNetworkUnavailable)
}

// TestAForgedTokenWithoutKeys has the keys not be served while a forged token is
// looked into: it is forged all the same.
func TestAForgedTokenWithoutKeys(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.camp.token = newSignerFrom("camp-1", "rogue").token(s.now, nil)
	s.camp.keysErr = fault.New(fault.EntitlementsNetworkUnavailable, "none")
	_, err := s.refresh()
	s.rejected(err, CheckSignature)
}

// TestTheRoutineCheckMayFail has the keys not be served, a day later: the token
// stands by itself, and the next refresh asks again.
func TestTheRoutineCheckMayFail(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.now = s.now.Add(24 * time.Hour)
	s.camp.keysErr = fault.New(fault.EntitlementsRefused, "403")
	for range 2 {
		s.camp.requests()
		wants(t, s.login(nil), Fresh)
		s.asked(1, 1)
	}
	s.camp.keysErr = nil
	s.login(nil)
	s.asked(1, 1)
	if p := s.store.Look().Pin; !p.CheckedAt.Equal(s.now) || !p.PinnedAt.Equal(today) {
		t.Errorf("pinned %v, checked %v", p.PinnedAt, p.CheckedAt)
	}
	s.login(nil)
	s.asked(1, 0)
}

func TestStrictPinning(t *testing.T) {
	with := func(s signer, endorsement string) string { return s.jwk(`,"endorsement":` + quote(endorsement)) }
	for _, c := range []struct {
		name  string
		added string
		taken bool
	}{
		{"none", key2.jwk(), false},
		{"by the pinned key", with(key2, key1.endorse(key2)), true},
		{"of another key", with(key2, key1.endorse(key3)), false},
		{"of another kid", with(key2, key1.endorse(newSignerFrom("camp-3", "camp-2"))), false},
		{"by itself", with(key2, key2.endorse(key2)), false},
		{"by a key that is not pinned", with(key2, key3.endorse(key2)), false},
		{"by a forger under the pinned kid", with(key2, newSignerFrom("camp-1", "rogue").endorse(key2)), false},
		{"a token in its place", with(key2, key1.token(today, claimed{"kid": "camp-2", "jkt": key2.thumbprint()})), false},
	} {
		for _, strict := range []bool{true, false} {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t)
				s.o.Strict = strict
				s.restart()
				s.login(nil)
				s.camp.set, s.camp.token = setOf(key1.jwk(), c.added), key2.token(s.now, nil)
				_, err := s.refresh()
				if c.taken || !strict {
					if err != nil {
						t.Error(err)
					}
					s.pinned("camp-1 camp-2", "")
					return
				}
				code(t, err, fault.EntitlementsJWKSStale)
				if !strings.Contains(err.Error(), `"camp-2"`) || !strings.Contains(err.Error(), "strict_pinning") {
					t.Error(err)
				}
				s.pinned("camp-1", "")
				s.from(key1)
				s.accepted()
			})
		}
	}
	// A withdrawn key endorses nothing, and a kid that is not served is not strict's matter.
	s := newSite(t)
	s.o.Strict = true
	s.restart()
	s.from(key1, key2)
	s.accepted()
	s.now = s.now.Add(24 * time.Hour)
	s.from(key2)
	s.accepted()
	s.camp.set, s.camp.token = setOf(key2.jwk(), with(key3, key1.endorse(key3))), key3.token(s.now, nil)
	_, err := s.refresh()
	code(t, err, fault.EntitlementsJWKSStale)
	s.pinned("camp-2", "camp-1")
	s.now = s.now.Add(time.Hour)
	s.camp.token = rogueKey.token(s.now, nil)
	_, err = s.refresh()
	s.rejected(err, CheckKeyID)
	// An endorsement would not help one that was withdrawn.
	s.now = s.now.Add(time.Hour)
	s.camp.set, s.camp.token = jwks(key2, key1), key1.token(s.now, nil)
	_, err = s.refresh()
	s.rejected(err, CheckKeyID)
}
