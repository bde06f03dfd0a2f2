package standin

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// license verifies a licence with the offline root and reads its claims.
func (p *platform) license(t testing.TB, jws string) (claims, string) {
	t.Helper()
	o, ok := open(jws, unb64(t, p.OfflineRoot()))
	if !ok || o.header != `{"alg":"EdDSA","typ":"carl-offline+jwt"}` {
		t.Fatalf("verified: %v, with the header %s", ok, o.header)
	}
	for _, k := range p.keySet(t) {
		if _, ok := open(jws, k.public()); ok {
			t.Fatal("a key of the set signs licences")
		}
	}
	return readClaims(t, o.payload), o.payload
}

func TestLicense(t *testing.T) {
	h := newHand()
	p := start(t, Options{Clock: h.clock})
	p.Grant("x", time.Hour)
	now := h.clock().Unix()
	const hours, id = 3600, "4be0643f1d984573b97cdca98a65347d"
	for query, want := range map[string]struct {
		tier, label, grants, id string
		iat, exp                int64
	}{
		"":                            {"free", "Free", "x", "", now, now + 720*hours},
		"?tier=paid":                  {"paid", "Pro", "train.slime.managed x", "", now, now + 720*hours},
		"?tier=free&for=48h":          {"free", "Free", "x", "", now, now + 48*hours},
		"?issued=24h":                 {"free", "Free", "x", "", now - 24*hours, now + 720*hours},
		"?issued=-24h":                {"free", "Free", "x", "", now + 24*hours, now + 720*hours},
		"?for=0s":                     {"free", "Free", "x", "", now - 720*hours, now},
		"?for=-1h":                    {"free", "Free", "x", "", now - 721*hours, now - hours},
		"?for=-1h&issued=3h":          {"free", "Free", "x", "", now - 3*hours, now - hours},
		"?tier=paid&install_id=" + id: {"paid", "Pro", "train.slime.managed x", id, now, now + 720*hours},
	} {
		resp, text := p.do(t, "POST", "/dev/license"+query, "", "")
		if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || strings.Count(text, "\n") != 1 {
			t.Fatalf("%q: %d %s", query, resp.StatusCode, text)
		}
		c, payload := p.license(t, strings.TrimSuffix(text, "\n"))
		if c.Iss != "https://carl.camp" || c.Aud != "carl" || c.Sub == "" || c.Jti == "" || c.Nbf != c.Iat ||
			c.Tier != want.tier || c.TierLabel != want.label || grantsOf(c) != want.grants || c.InstallID != want.id || c.Iat != want.iat || c.Exp != want.exp {
			t.Errorf("%q: %+v, want %+v", query, c, want)
		}
		if strings.Contains(payload, "install_id") != (want.id != "") {
			t.Errorf("%q: %s", query, payload)
		}
		for _, g := range c.Entitlements {
			if g.GrantedAt > c.Iat || g.ExpiresAt != 0 != (g.Key == "x") {
				t.Errorf("%q: %+v", query, g)
			}
		}
	}
	// A licence is no token: nothing was signed with the key of tokens.
	if s := p.Summary(); s.Tokens != 0 || s.Entitlements != 0 {
		t.Errorf("summary %+v", s)
	}
}

func TestLicenseFromGo(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	now := h.clock().Unix()
	for i, c := range []struct {
		o        LicenseOptions
		tier     string
		iat, exp int64
	}{
		{LicenseOptions{}, "paid", now, now + 720*3600},
		{LicenseOptions{For: time.Hour, InstallID: "any text"}, "paid", now, now + 3600},
		{LicenseOptions{Tier: "free", For: -time.Hour}, "free", now - 721*3600, now - 3600},
		{LicenseOptions{Tier: "gold", Issued: -time.Hour}, "gold", now + 3600, now + 720*3600},
		{LicenseOptions{Tier: "\xff"}, "\ufffd", now, now + 720*3600},
	} {
		got, _ := p.license(t, p.License(c.o))
		if got.Tier != c.tier || got.Iat != c.iat || got.Exp != c.exp || got.InstallID != c.o.InstallID {
			t.Errorf("%d: %+v, want %+v", i, got, c)
		}
	}
	first, _ := p.license(t, p.License(LicenseOptions{}))
	if again, _ := p.license(t, p.License(LicenseOptions{})); again.Jti == first.Jti {
		t.Error("two licences have one jti")
	}
	// No rotation touches licences.
	before := p.License(LicenseOptions{})
	for _, how := range []Rotation{AddKey, RetireKeys, ReplaceKeys, SwapKey} {
		if err := p.RotateKeys(how); err != nil {
			t.Fatal(err)
		}
		p.license(t, before)
	}
	if fmt.Sprint(p.Summary().Tokens) != "0" {
		t.Error("a licence counts as a token")
	}
}
