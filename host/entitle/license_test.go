package entitle

import (
	"crypto/ed25519"
	"reflect"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
)

func TestLicenseObeysItsExpiry(t *testing.T) {
	for _, token := range []bool{false, true} {
		for _, c := range []struct {
			after time.Duration // exp
			holds bool
		}{
			{-time.Hour, true}, {0, true}, {299 * time.Second, true}, {300 * time.Second, true},
			{301*time.Second - 1, true}, // NumericDate counts whole seconds
			{301 * time.Second, false}, {time.Hour, false}, {365 * 24 * time.Hour, false},
		} {
			s := newSite(t)
			if token {
				s.login(claimed{"tier": "free", "entitlements": omit})
			}
			exp := today.Add(10 * time.Hour)
			kept := s.importLicense(claimed{"exp": exp.Unix(), "sub": "site"})
			wants(t, kept, License)
			s.now = exp.Add(c.after)
			for _, state := range []State{s.restart().Look(), kept.At(s.now), s.store.Load()} {
				want := License
				switch {
				case !c.holds && token && c.after < 14*time.Hour:
					want = Grace
				case !c.holds:
					want = Expired
				}
				wants(t, state, want)
				if c.holds {
					if state.License == nil || state.License.Subject != "site" || state.LicenseErr != nil || !state.Ends().Equal(exp) || state.Granting() != state.License {
						t.Errorf("%v: %+v", c.after, state)
					}
				} else if code(t, state.LicenseErr, fault.EntitlementsLicenseRefused); state.License != nil || !strings.Contains(state.LicenseErr.Error(), exp.Format(time.RFC3339)) {
					t.Errorf("%v: %v, %v", c.after, state.License, state.LicenseErr)
				}
				if wantToken := map[bool]Status{true: byAge(10*time.Hour + c.after), false: Missing}[token]; state.TokenStatus() != wantToken {
					t.Errorf("the token is %s, want %s", state.TokenStatus(), wantToken)
				}
				if !state.ImportedAt.Equal(today) {
					t.Errorf("imported at %v", state.ImportedAt)
				}
			}
		}
	}
}

// TestLicenseAndTheClock turns the clock back behind the end of a licence, and
// loses the clock file.
func TestLicenseAndTheClock(t *testing.T) {
	s := newSite(t)
	exp := today.Add(10 * time.Hour)
	license := rootKey.license(today, claimed{"exp": exp.Unix()})
	if _, err := s.store.Import(license); err != nil {
		t.Fatal(err)
	}
	s.put(s.o.Files.Clock, gone)
	state := s.restart().Load()
	wants(t, state, Expired)
	code(t, state.LicenseErr, fault.EntitlementsCacheCorrupt)
	if _, err := s.store.Import(license); err != nil { // says what time it is, by the mark
		t.Fatal(err)
	}
	wants(t, s.store.Load(), License)

	s.now = exp.Add(time.Hour)
	wants(t, s.store.Load(), Expired)
	s.now = today
	wants(t, s.restart().Load(), Expired)
	_, err := s.store.Import(license)
	code(t, err, fault.EntitlementsLicenseRefused) // the mark does not go back
	// A refresh says what time it is.
	state = s.login(claimed{"tier": "free"})
	wants(t, state, License)
	if state.TokenStatus() != Fresh {
		t.Errorf("the token is %s", state.TokenStatus())
	}
}

// TestImport makes the checks of a licence, each beside a token and without one.
func TestImport(t *testing.T) {
	for _, c := range []struct {
		name   string
		root   ed25519.PublicKey
		id     func() string
		by     signer
		change claimed
		want   fault.Code
		check  Check
	}{
		{name: "right", root: rootKey.public(), by: rootKey},
		{name: "for this installation", root: rootKey.public(), by: rootKey, id: func() string { return "install-1" }, change: claimed{"install_id": "install-1"}},
		{name: "by the platform's address", root: rootKey.public(), by: rootKey, change: claimed{"iss": "https://camp.test"}},
		{name: "no root", by: rootKey, want: fault.EntitlementsNoKey},
		{name: "another root", root: rogueKey.public(), by: rootKey, want: fault.EntitlementsSignatureInvalid, check: CheckSignature},
		{name: "by the platform's key", root: rootKey.public(), by: key1, want: fault.EntitlementsSignatureInvalid, check: CheckSignature},
		{name: "ended", root: rootKey.public(), by: rootKey, change: claimed{"exp": today.Unix() - 301}, want: fault.EntitlementsLicenseRefused},
		{name: "just not ended", root: rootKey.public(), by: rootKey, change: claimed{"exp": today.Unix() - 300}},
		{name: "not begun", root: rootKey.public(), by: rootKey, change: claimed{"nbf": today.Unix() + 301}, want: fault.EntitlementsSignatureInvalid, check: CheckNotYet},
		{name: "about to begin", root: rootKey.public(), by: rootKey, change: claimed{"nbf": today.Unix() + 300, "iat": today.Unix() + 300}},
		{name: "issued in the future", root: rootKey.public(), by: rootKey, change: claimed{"iat": today.Unix() + 301}, want: fault.EntitlementsSignatureInvalid, check: CheckNotYet},
		{name: "another issuer", root: rootKey.public(), by: rootKey, change: claimed{"iss": "https://else"}, want: fault.EntitlementsSignatureInvalid, check: CheckIssuer},
		{name: "another audience", root: rootKey.public(), by: rootKey, change: claimed{"aud": "else"}, want: fault.EntitlementsSignatureInvalid, check: CheckAudience},
		{name: "another installation", root: rootKey.public(), by: rootKey, id: func() string { return "install-1" }, change: claimed{"install_id": "install-2"}, want: fault.EntitlementsLicenseRefused, check: CheckInstallID},
		{name: "an installation without an id", root: rootKey.public(), by: rootKey, id: func() string { return "" }, change: claimed{"install_id": "install-1"}, want: fault.EntitlementsLicenseRefused, check: CheckInstallID},
		{name: "no way to tell the id", root: rootKey.public(), by: rootKey, change: claimed{"install_id": "install-1"}, want: fault.EntitlementsLicenseRefused, check: CheckInstallID},
	} {
		for _, beside := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t)
				s.o.OfflineRoot, s.o.InstallID = c.root, c.id
				s.restart()
				if beside {
					s.login(claimed{"tier": "free"})
				}
				was, before := s.store.Look(), s.all()
				state, err := s.store.Import(c.by.license(s.now, c.change))
				if c.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					if w := s.store.read().witness.content; len(w.Cache) != 1 || strings.Contains(s.get(s.o.Files.Cache), "ended") {
						t.Errorf("the witness knows %q, and the cache is %s", w.Cache, s.get(s.o.Files.Cache))
					}
					for _, state := range []State{state, s.restart().Look(), s.store.Load()} {
						wants(t, state, License)
						if state.TokenStatus() != was.Status || !reflect.DeepEqual(state.Token, was.Token) || !state.ImportedAt.Equal(today) || state.License.Tier != "paid" {
							t.Errorf("%+v", state)
						}
					}
					return
				}
				code(t, err, c.want)
				if c.check != "" && !isRejection(err, c.check) {
					t.Errorf("%v, want the check %q", err, c.check)
				}
				if !reflect.DeepEqual(state, State{}) {
					t.Errorf("%+v", state)
				}
				s.untouched(before)
				wants(t, s.restart().Look(), was.Status)
			})
		}
	}
	// A token is no licence.
	s := newSite(t)
	_, err := s.store.Import(rootKey.token(today, nil))
	s.rejected(err, CheckType)
}

// TestImportAgain replaces a licence by another, in which case the other holds,
// and a refresh and a logout leave it.
func TestImportAgain(t *testing.T) {
	s := newSite(t)
	s.importLicense(nil)
	old := s.all()
	s.now = s.now.Add(time.Hour)
	state := s.importLicense(claimed{"tier": "free", "sub": "second"})
	if wants(t, state, License); state.License.Subject != "second" || !state.ImportedAt.Equal(s.now) {
		t.Errorf("%+v", state)
	}
	state = s.login(nil)
	if wants(t, state, License); state.License.Subject != "second" || state.TokenStatus() != Fresh {
		t.Errorf("%+v", state)
	}
	if err := s.store.Forget(); err != nil {
		t.Fatal(err)
	}
	state = s.restart().Load()
	if wants(t, state, License); state.License.Subject != "second" || state.TokenStatus() != Missing || state.Token != nil {
		t.Errorf("%+v", state)
	}
	s.put(s.o.Files.Cache, old["entitlements.json"])
	wants(t, s.restart().Look(), Corrupt)
	// Over a damaged file, which is kept.
	s.put(s.o.Files.Cache, "garbage")
	state = s.importLicense(nil)
	wants(t, state, License)
	aside := ""
	for name, content := range s.all() {
		if strings.HasPrefix(name, "entitlements.corrupt-") {
			aside = content
		}
	}
	if aside != "garbage" {
		t.Errorf("aside is %q", aside)
	}
}

// TestImportBesideALostClock makes the clock file anew: the licence counts, and
// the token does not until it was verified again.
func TestImportBesideALostClock(t *testing.T) {
	for _, bad := range badClocks {
		s := newSite(t)
		s.login(nil)
		clock := s.get(s.o.Files.Clock)
		s.put(s.o.Files.Clock, bad)
		state := s.importLicense(claimed{"tier": "free"})
		for _, state := range []State{state, s.restart().Load()} {
			if wants(t, state, License); state.TokenStatus() != Expired || state.Current() != nil || state.EndedBy != fault.EntitlementsCacheCorrupt {
				t.Errorf("%+v", state)
			}
		}
		s.put(s.o.Files.Clock, clock)
		if state := s.restart().Look(); state.TokenStatus() != Expired {
			t.Errorf("the token is %s", state.TokenStatus())
		}
		if state := s.login(nil); state.TokenStatus() != Fresh || state.EndedBy != "" {
			t.Errorf("%+v", state)
		}
	}
}

// TestImportBesideWhatHasEnded loses the clock after a refusal, of which the
// import does not lose sight.
func TestImportBesideWhatHasEnded(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.camp.tokenErr = fault.New(fault.CampUnauthorized, "401")
	s.refresh()
	s.put(s.o.Files.Clock, gone)
	if state := s.importLicense(nil); state.EndedBy != fault.CampUnauthorized {
		t.Errorf("ended by %q", state.EndedBy)
	}
}

// TestImportDoesNotTurnBack imports with a clock that was turned back.
func TestImportDoesNotTurnBack(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.now = today.Add(10 * time.Hour)
	s.store.Load()
	s.now = today
	state, err := s.store.Import(crashLicense)
	if err != nil || state.Age != 10*time.Hour || state.TokenStatus() != Grace {
		t.Errorf("%v, age %v, %s", err, state.Age, state.TokenStatus())
	}
	if f := s.store.read(); !f.clock.content.Mark.Equal(today.Add(10*time.Hour)) || !f.witness.content.Mark.Equal(today.Add(10*time.Hour)) {
		t.Errorf("the marks are %v and %v", f.clock.content.Mark, f.witness.content.Mark)
	}
}

// TestLicenseWarnings tells 30, 7 and 1 days before the end.
func TestLicenseWarnings(t *testing.T) {
	const day = 24 * time.Hour
	s := newSite(t)
	if got := s.store.Look(); got.LicenseEndsWithin() != 0 {
		t.Errorf("without a licence: %v", got.LicenseEndsWithin())
	}
	exp := today.Add(100 * day)
	state := s.importLicense(claimed{"exp": exp.Unix()})
	for _, c := range []struct{ left, want time.Duration }{
		{100 * day, 0}, {30*day + 1, 0}, {30 * day, 30 * day}, {7*day + 1, 30 * day}, {7 * day, 7 * day},
		{day + 1, 7 * day}, {day, day}, {0, day}, {-300 * time.Second, day}, {-301 * time.Second, 0},
	} {
		at := state.At(exp.Add(-c.left))
		if got := at.LicenseEndsWithin(); got != c.want {
			t.Errorf("%v before the end: %v, want %v", c.left, got, c.want)
		}
	}
}
