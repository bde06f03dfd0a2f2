package tier

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// signer is a key of the platform's, or the root of licences.
type signer struct {
	header string
	key    ed25519.PrivateKey
}

func newSigner(header string) signer {
	sum := sha256.Sum256([]byte(header))
	return signer{header, ed25519.NewKeyFromSeed(sum[:])}
}

var (
	campKey = newSigner(`{"alg":"EdDSA","kid":"camp-1","typ":"JWT"}`)
	rootKey = newSigner(`{"alg":"EdDSA","typ":"carl-offline+jwt"}`)
)

func (s signer) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// sign issues a token for a quarter of an hour; claims come over that.
func (s signer) sign(at time.Time, claims map[string]any) string {
	all := map[string]any{"iss": entitle.PlatformIssuer, "aud": "carl", "sub": "u1", "iat": at.Unix(), "exp": at.Add(15 * time.Minute).Unix()}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(s.header)) + "." + b64(payload)
	return input + "." + b64(ed25519.Sign(s.key, []byte(input)))
}

// site is a home with its platform, and a clock that moves by hand.
type site struct {
	tb    testing.TB
	now   time.Time
	fs    private.FS
	store *entitle.Store
	token string
	err   error
	loads int
}

func (s *site) Token(context.Context) (string, error) { return s.token, s.err }

func (s *site) Keys(context.Context) ([]byte, error) {
	return []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"camp-1","x":"` + base64.RawURLEncoding.EncodeToString(campKey.public()) + `"}]}`), nil
}

func newSite(tb testing.TB) *site {
	s := &site{tb: tb, now: today, fs: crashfs.New(func(int) int { return 0 }).Process(nil)}
	if err := private.MkdirAllOn(s.fs, "/home"); err != nil {
		tb.Fatal(err)
	}
	in := func(name string) string { return filepath.Join("/home", name) }
	s.store = entitle.New(entitle.Options{
		Files: entitle.Files{
			Cache: in("entitlements.json"), Pin: in("jwks_pin.json"), Clock: in("clock.json"), Witness: in("witness.json"),
			Lock: in("lock"), Refreshing: in("refreshing"),
		},
		URL: "https://camp.test", OfflineRoot: rootKey.public(), Lower: Lower, Clock: s.clock, FS: s.fs,
	})
	return s
}

func (s *site) clock() time.Time { return s.now }

func (s *site) load() entitle.State {
	s.loads++
	return s.store.Look()
}

// gate is a gate that decides by the home.
func (s *site) gate(declared Tier) *Gate {
	return New(Options{Declared: declared, Load: s.load, Clock: s.clock})
}

func (s *site) login(claims map[string]any) {
	s.tb.Helper()
	s.token, s.err = campKey.sign(s.now, claims), nil
	if _, err := s.store.Refresh(context.Background(), s); err != nil {
		s.tb.Fatal(err)
	}
}

func (s *site) refused() {
	s.tb.Helper()
	s.err = fault.New(fault.CampUnauthorized, "401")
	if _, err := s.store.Refresh(context.Background(), s); fault.CodeOf(err) != fault.CampUnauthorized {
		s.tb.Fatal(err)
	}
}

func (s *site) licensed(claims map[string]any) {
	s.tb.Helper()
	if _, err := s.store.Import(rootKey.sign(s.now.Add(-time.Hour), claims)); err != nil {
		s.tb.Fatal(err)
	}
}

// What a token or a licence may say.
type said struct {
	name string
	tier string
	// grant is when a grant of train.slime.managed ends, after today; 0 is no
	// grant, and forever one without an end.
	grant time.Duration
}

const forever = time.Duration(1<<63 - 1)

func (s said) claims() map[string]any {
	c := map[string]any{"tier": s.tier}
	switch s.grant {
	case 0:
	case forever:
		c["entitlements"] = []any{map[string]any{"key": TrainManaged}}
	default:
		c["entitlements"] = []any{map[string]any{"key": TrainManaged, "expires_at": today.Add(s.grant).Unix()}}
	}
	return c
}

// has reports whether it says enough for train.slime.managed, at a time.
func (s said) has(now time.Time) (tier, grant bool) {
	return s.tier == "paid", s.grant == forever || s.grant != 0 && now.Before(today.Add(s.grant))
}

// TestLadder goes through all that can come together. What is expected is the
// ladder of the package comment, said once more.
func TestLadder(t *testing.T) {
	tokens := []said{
		{"free", "free", 0}, {"paid", "paid", 0}, {"unknown tier", "platinum", 0}, {"free with a grant", "free", forever},
		{"free with a grant that ends", "free", 48 * time.Hour}, {"free with a grant that ended", "free", time.Second},
		{"paid with a grant that ended", "paid", time.Second},
	}
	states := []struct {
		status entitle.Status
		make   func(s *site, say said)
		usable bool
	}{
		{entitle.Missing, func(*site, said) {}, false},
		{entitle.Fresh, func(s *site, say said) { s.login(say.claims()); s.now = s.now.Add(time.Minute) }, true},
		{entitle.Stale, func(s *site, say said) { s.login(say.claims()); s.now = s.now.Add(time.Hour) }, true},
		{entitle.Grace, func(s *site, say said) { s.login(say.claims()); s.now = s.now.Add(24 * time.Hour) }, true},
		{entitle.Expired, func(s *site, say said) { s.login(say.claims()); s.now = s.now.Add(24*time.Hour + 1) }, false},
		{entitle.Expired, func(s *site, say said) { s.login(say.claims()); s.now = s.now.Add(time.Minute); s.refused() }, false},
		{entitle.Corrupt, func(s *site, say said) {
			s.login(say.claims())
			if err := private.WriteFileOn(s.fs, "/home/entitlements.json", []byte("garbage")); err != nil {
				s.tb.Fatal(err)
			}
			s.now = s.now.Add(time.Minute)
		}, false},
	}
	licenses := []struct {
		said
		ends time.Duration // 0 for no licence
	}{
		{said{name: "none"}, 0}, {said{"paid", "paid", 0}, 1000 * time.Hour}, {said{"free", "free", 0}, 1000 * time.Hour},
		{said{"free with a grant", "free", forever}, 1000 * time.Hour}, {said{"ended", "paid", forever}, -299 * time.Second},
	}
	seen := map[string]int{}
	for _, st := range states {
		for _, say := range tokens {
			for _, lic := range licenses {
				s := newSite(t)
				if lic.ends != 0 {
					claims := lic.claims()
					claims["exp"] = today.Add(lic.ends).Unix()
					s.licensed(claims)
				}
				st.make(s, say)
				if st.status == entitle.Missing {
					s.now = s.now.Add(time.Minute)
				}
				state := s.store.Look()
				if state.TokenStatus() != st.status {
					t.Fatalf("the token is %s, want %s", state.TokenStatus(), st.status)
				}
				byTier, byGrant := say.has(s.now)
				licTier, licGrant := lic.has(s.now)
				licenseHolds := lic.ends > 0 && (licTier || licGrant) && st.status != entitle.Corrupt
				for _, declared := range []Tier{Free, Paid} {
					name := fmt.Sprintf("declared %s, token %s (%s, ended %q), licence %s", declared, st.status, say.name, state.EndedBy, lic.name)
					g := s.gate(declared)
					check, remote := Decision{Code: fault.GateTierDenied}, Decision{Code: fault.GateTierDenied}
					switch {
					case declared == Paid:
						check = Decision{Allowed: true, By: ByLocal, Tier: Paid}
					case licenseHolds:
						check = Decision{Allowed: true, By: ByLicense, Tier: Parse(lic.tier)}
					}
					switch {
					case declared == Paid && st.usable && !byTier && !byGrant && !licenseHolds:
						remote = Decision{Code: fault.GateTierRemoteMismatch}
					case declared == Paid, licenseHolds:
						remote = check
					case st.usable && byTier:
						remote = Decision{Allowed: true, By: ByGrace, Tier: Paid}
					case st.usable && byGrant:
						remote = Decision{Allowed: true, By: ByGrant, Tier: Free}
					}
					for method, pair := range map[string][2]Decision{
						"Check": {g.Check(TrainManaged), check}, "CheckRemote": {g.CheckRemote(TrainManaged), remote},
					} {
						got, want := pair[0], pair[1]
						if got.Feature != TrainManaged || got.Allowed != want.Allowed || got.By != want.By || got.Tier != want.Tier || got.Code != want.Code {
							t.Errorf("%s: %s is %+v, want %+v", name, method, got, want)
						}
						if (got.Err() == nil) != want.Allowed || fault.CodeOf(got.Err()) != want.Code {
							t.Errorf("%s: %s has the error %v", name, method, got.Err())
						}
						seen[method+" "+string(got.By)+string(got.Code)]++
					}
					// What everybody has is never refused.
					for method, got := range map[string]Decision{"Check": g.Check(TrainLocal), "CheckRemote": g.CheckRemote(TrainLocal)} {
						if !got.Allowed || got.By != ByLocal || got.Tier != declared || got.Err() != nil {
							t.Errorf("%s: %s of %s is %+v", name, method, TrainLocal, got)
						}
					}
				}
			}
		}
	}
	if len(seen) != 9 {
		t.Errorf("only these answers were seen: %v", seen)
	}
}

// TestLadderByHand is a part of the same, one line for each promise.
func TestLadderByHand(t *testing.T) {
	paid, free, grant := said{tier: "paid"}, said{tier: "free"}, said{tier: "free", grant: forever}
	for _, c := range []struct {
		name     string
		declared Tier
		token    *said
		age      time.Duration
		want     string
	}{
		{"declared, and nothing known", Paid, nil, 0, "local"},
		{"declared, and borne out", Paid, &paid, 0, "local"},
		{"declared, and granted", Paid, &grant, 23 * time.Hour, "local"},
		{"declared, and contradicted", Paid, &free, 0, "carl.gate.tier_remote_mismatch"},
		{"declared, and contradicted yesterday", Paid, &free, 24 * time.Hour, "carl.gate.tier_remote_mismatch"},
		{"declared, and contradicted the day before", Paid, &free, 25 * time.Hour, "local"},
		{"not declared, and nothing known", Free, nil, 0, "carl.gate.tier_denied"},
		{"not declared, and paid", Free, &paid, 0, "grace"},
		{"not declared, and paid yesterday", Free, &paid, 24 * time.Hour, "grace"},
		{"not declared, and paid the day before", Free, &paid, 24*time.Hour + 1, "carl.gate.tier_denied"},
		{"not declared, and granted yesterday", Free, &grant, 24 * time.Hour, "grant"},
		{"not declared, and granted the day before", Free, &grant, 24*time.Hour + 1, "carl.gate.tier_denied"},
		{"not declared, and free", Free, &free, 0, "carl.gate.tier_denied"},
	} {
		s := newSite(t)
		if c.token != nil {
			s.login(c.token.claims())
		}
		s.now = s.now.Add(c.age)
		d := s.gate(c.declared).CheckRemote(TrainManaged)
		if got := string(d.By) + string(d.Code); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestEveryCallLooksAtTheClock lets a licence and a token end while a gate keeps
// what it loaded once.
func TestEveryCallLooksAtTheClock(t *testing.T) {
	exp := today.Add(10 * time.Hour)
	s := newSite(t)
	s.licensed(map[string]any{"tier": "paid", "exp": exp.Unix()})
	g := s.gate(Free)
	for _, c := range []struct {
		at      time.Time
		allowed bool
	}{
		{today, true}, {exp, true}, {exp.Add(300 * time.Second), true}, {exp.Add(301*time.Second - 1), true}, {exp.Add(301 * time.Second), false}, {exp.Add(time.Hour), false},
	} {
		s.now = c.at
		for method, d := range map[string]Decision{"Check": g.Check(TrainManaged), "CheckRemote": g.CheckRemote(TrainManaged)} {
			if d.Allowed != c.allowed || c.allowed && d.By != ByLicense {
				t.Errorf("%s at %v: %+v", method, c.at.Sub(exp), d)
			}
		}
		if state := g.State(); (state.Status == entitle.License) != c.allowed || !state.Now().Equal(c.at) {
			t.Errorf("at %v the state is %s", c.at.Sub(exp), state.Status)
		}
	}
	if s.loads != 1 {
		t.Errorf("%d loads", s.loads)
	}

	s = newSite(t)
	s.login(map[string]any{"tier": "free", "entitlements": []any{map[string]any{"key": TrainManaged, "expires_at": today.Add(2 * time.Hour).Unix()}}})
	g = s.gate(Free)
	for _, c := range []struct {
		after   time.Duration
		allowed bool
	}{{0, true}, {2*time.Hour - 1, true}, {2 * time.Hour, false}} {
		s.now = today.Add(c.after)
		if d := g.CheckRemote(TrainManaged); d.Allowed != c.allowed || c.allowed && d.By != ByGrant {
			t.Errorf("after %v: %+v", c.after, d)
		}
	}

	s = newSite(t)
	s.login(map[string]any{"tier": "paid"})
	g = s.gate(Free)
	for _, c := range []struct {
		after   time.Duration
		allowed bool
	}{{0, true}, {24 * time.Hour, true}, {24*time.Hour + 1, false}} {
		s.now = today.Add(c.after)
		if d := g.CheckRemote(TrainManaged); d.Allowed != c.allowed || c.allowed && d.By != ByGrace {
			t.Errorf("after %v: %+v", c.after, d)
		}
	}
	if s.loads != 1 {
		t.Errorf("%d loads", s.loads)
	}
}

// TestUnknownFeatures asks for what there is not.
func TestUnknownFeatures(t *testing.T) {
	s := newSite(t)
	g := s.gate(Paid)
	for _, name := range []string{"", "train.slime", "train.slime.managed ", "TRAIN.SLIME.MANAGED", "x\ny"} {
		for method, d := range map[string]Decision{"Check": g.Check(name), "CheckRemote": g.CheckRemote(name)} {
			err := d.Err()
			if d.Allowed || d.By != "" || d.Feature != name || fault.CodeOf(err) != fault.GateUnknownFeature || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
				t.Errorf("%s of %q: %+v, %v", method, name, d, err)
			}
		}
	}
	if s.loads != 0 {
		t.Errorf("%d loads", s.loads)
	}
}

func TestDecisionErr(t *testing.T) {
	for _, c := range []struct {
		d    Decision
		want string
	}{
		{Decision{Feature: "f", Code: fault.GateTierDenied, needs: Paid}, "gate: f needs the tier paid, and the tier here is free (carl.gate.tier_denied)"},
		{Decision{Feature: "f", Code: fault.GateTierRemoteMismatch, needs: Paid}, "gate: f needs the tier paid, which config.yaml declares and the platform's verified entitlements (free) do not grant (carl.gate.tier_remote_mismatch)"},
		{Decision{Feature: "f\x1b", Code: fault.GateUnknownFeature}, `gate: there is no feature "f\x1b" (carl.gate.unknown_feature)`},
	} {
		err := c.d.Err()
		var f *fault.Error
		if err == nil || err.Error() != c.want || !errors.As(err, &f) || fault.HintOf(err) == "" {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if err := (Decision{Allowed: true}).Err(); err != nil {
		t.Error(err)
	}
}

func TestTiers(t *testing.T) {
	for name, want := range map[string]Tier{"paid": Paid, "free": Free, "": Free, "Paid": Free, "PAID": Free, "paid ": Free, "platinum": Free} {
		if got := Parse(name); got != want {
			t.Errorf("%q is %v", name, got)
		}
	}
	for _, tier := range []Tier{Free, Paid} {
		if Parse(tier.String()) != tier {
			t.Errorf("%d is written %s", tier, tier)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"free", "paid", true}, {"platinum", "paid", true}, {"", "paid", true},
		{"paid", "free", false}, {"paid", "paid", false}, {"free", "free", false}, {"free", "platinum", false}, {"platinum", "free", false},
	} {
		if got := Lower(c.a, c.b); got != c.want {
			t.Errorf("%q is lower than %q: %v", c.a, c.b, got)
		}
	}
	list := Features()
	if len(list) < 2 {
		t.Fatal(list)
	}
	for i, f := range list {
		if i > 0 && list[i-1].Key >= f.Key || f.Summary == "" || find(f.Key) != i {
			t.Errorf("%+v", f)
		}
	}
	list[0].Needs = Paid // a copy
	if Features()[0].Needs != Free {
		t.Error("the table can be changed")
	}
}
