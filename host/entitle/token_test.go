package entitle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
)

const (
	alphabet  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	ownIssuer = "https://camp.example:8443"

	// refusal is what every refusal says, whatever was wrong.
	refusal = "entitlements: signature invalid (carl.entitlements.signature_invalid)"
)

var (
	platform  = newSigner("camp-1")
	platform2 = newSigner("camp-2")
	offline   = newSigner("root")
	thief     = newSignerFrom("camp-1", "a thief's")
	issued    = []string{PlatformIssuer, ownIssuer}
)

// campVerifier has both keys of the platform.
func campVerifier(t testing.TB) *Verifier {
	t.Helper()
	set, err := ParseKeySet(jwks(platform, platform2))
	if err != nil {
		t.Fatal(err)
	}
	return NewVerifier(set, issued...)
}

// wantRefusal holds an error against the one form that refusals have: only who
// asks for the Rejection learns which check it was, and nothing of the input.
func wantRefusal(t testing.TB, err error, want ...Check) {
	t.Helper()
	var r *Rejection
	if !errors.As(err, &r) || !slices.Contains(want, r.Check) {
		t.Errorf("refused by %v (%v), want %q", r, err, want)
		return
	}
	if err.Error() != refusal || fault.CodeOf(err) != fault.EntitlementsSignatureInvalid {
		t.Errorf("the refusal reads %q", err)
	}
	if r.Error() != "the check that failed: "+string(r.Check) {
		t.Errorf("the cause reads %q", r)
	}
	var e *fault.Error
	if errors.As(err, &e); e.Hint != "" || e.Kept != "" {
		t.Errorf("the refusal says more than another: %+v", e)
	}
}

func TestVerify(t *testing.T) {
	v := campVerifier(t)
	for _, s := range []signer{platform, platform2} {
		got, err := v.Verify(s.token(today, map[string]any{
			"iss": ownIssuer, "nbf": today.Unix() - 1, "install_id": "i1",
			"entitlements": []any{
				map[string]any{"key": "a", "granted_at": today.Unix(), "expires_at": "2027-01-01T01:00:00+01:00"},
				map[string]any{"key": "b"},
			},
		}), today)
		if err != nil {
			t.Fatal(err)
		}
		want := Token{
			KeyID: s.kid, Issuer: ownIssuer, Subject: "u1", ID: "j1",
			IssuedAt: today, NotBefore: today.Add(-time.Second), ExpiresAt: today.Add(15 * time.Minute),
			Tier: "paid", TierLabel: "Pro", InstallID: "i1",
		}
		grants := []Grant{{"a", today, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}, {Key: "b"}}
		if !slices.Equal(got.Grants, grants) {
			t.Errorf("grants %+v", got.Grants)
		}
		got.Grants = nil
		if got.KeyID != want.KeyID || got.Issuer != want.Issuer || got.Subject != want.Subject || got.ID != want.ID ||
			got.IssuedAt != want.IssuedAt || got.NotBefore != want.NotBefore || got.ExpiresAt != want.ExpiresAt ||
			got.Tier != want.Tier || got.TierLabel != want.TierLabel || got.InstallID != want.InstallID {
			t.Errorf("%+v, want %+v", *got, want)
		}
	}
}

// A caller that overlooks an error must not hold a token that looks verified.
func TestRefusedTokenIsNotReturned(t *testing.T) {
	v := campVerifier(t)
	for _, c := range []struct {
		name, token string
		want        Check
	}{
		{"expired", platform.token(today.Add(-time.Hour), nil), CheckExpired},
		{"of the future", platform.token(today.Add(time.Hour), nil), CheckNotYet},
		{"of another issuer", platform.token(today, map[string]any{"iss": "https://evil.example"}), CheckIssuer},
		{"for another audience", platform.token(today, map[string]any{"aud": "other"}), CheckAudience},
		{"of a thief", thief.token(today, nil), CheckSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := v.Verify(c.token, today)
			wantRefusal(t, err, c.want)
			if got != nil {
				t.Errorf("Verify returned a token with the refusal: %+v", *got)
			}
			if got, err := v.verifyCached(c.token, today); err != nil && got != nil {
				t.Errorf("verifyCached returned a token with the refusal: %+v", *got)
			}
		})
	}
	license := offline.license(today, map[string]any{"iss": "https://evil.example"})
	if got, err := verifyLicense(license, offline.public(), issued, today); err == nil || got != nil {
		t.Errorf("verifyLicense: %+v, %v", got, err)
	}
}

func TestForm(t *testing.T) {
	v := campVerifier(t)
	good := platform.token(today, nil)
	s := strings.Split(good, ".")
	sig, err := base64.RawURLEncoding.DecodeString(s[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, token string }{
		{"empty", ""},
		{"dot", "."},
		{"two dots", ".."},
		{"three dots", "..."},
		{"one segment", s[0]},
		{"two segments", s[0] + "." + s[1]},
		{"four segments", good + "." + s[2]},
		{"five segments, as JWE has", good + "." + s[1] + "." + s[2]},
		{"leading dot", "." + good},
		{"trailing dot", good + "."},
		{"no header", "." + s[1] + "." + s[2]},
		{"no payload", s[0] + ".." + s[2]},
		{"no signature", s[0] + "." + s[1] + "."},
		{"signature of 63 bytes", s[0] + "." + s[1] + "." + b64(sig[:63])},
		{"signature of 65 bytes", s[0] + "." + s[1] + "." + b64(append(bytes.Clone(sig), 0))},
		{"signature doubled", s[0] + "." + s[1] + "." + b64(append(bytes.Clone(sig), sig...))},
		{"header of one character", "e." + s[1] + "." + s[2]},
		{"payload of five characters", s[0] + ".e30AA." + s[2]},
		{"JSON serialization", `{"payload":"` + s[1] + `","protected":"` + s[0] + `","signature":"` + s[2] + `"}`},
		{"with the scheme", "Bearer " + good},
		{"byte order mark", "\ufeff" + good},
		{"invalid UTF-8", good + "\xff"},
		{"full-width dot", strings.Replace(good, ".", "\uff0e", 1)},
		{"9 KiB of one letter", strings.Repeat("A", 9<<10)},
		{"9 KiB of dots", strings.Repeat(".", 9<<10)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.Verify(c.token, today)
			wantRefusal(t, err, CheckForm)
		})
	}
}

// The decoders beneath skip line feeds, and an encoder of another base64 uses
// other characters: none may stand anywhere.
func TestFormOfEachPosition(t *testing.T) {
	v := campVerifier(t)
	good := platform.token(today, nil)
	for _, stray := range []string{"\n", "\r", "\r\n", " ", "\t", "=", "+", "/", "\x00", "\x7f", "%", "é", "\u200b", "\u00a0", ".", "\x80"} {
		t.Run(strconv.QuoteToASCII(stray), func(t *testing.T) {
			for i := range len(good) + 1 {
				_, err := v.Verify(good[:i]+stray+good[i:], today)
				wantRefusal(t, err, CheckForm)
				if i < len(good) && good[i:i+1] != stray {
					_, err = v.Verify(good[:i]+stray+good[i+1:], today)
					wantRefusal(t, err, CheckForm)
				}
				if t.Failed() {
					t.Fatalf("at %d of %d", i, len(good))
				}
			}
		})
	}
}

// A last character has idle bits; with all 64 characters tried, the one that an
// encoder writes is the only one that passes.
func TestFormOfLastCharacter(t *testing.T) {
	v := campVerifier(t)
	tried := map[string]int{}
	for pad := range 3 {
		header := platform.header(`,"n":"` + strings.Repeat("n", pad) + `"`)
		payload := claimsAt(today, map[string]any{"sub": "u" + strings.Repeat("u", pad)})
		s := strings.Split(platform.sign(header, payload), ".")
		for i, name := range []string{"header", "payload", "signature"} {
			last := len(s[i]) - 1
			raw, err := base64.RawURLEncoding.DecodeString(s[i])
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range alphabet {
				sloppy := s[i][:last] + string(c)
				if got, err := base64.RawURLEncoding.DecodeString(sloppy); sloppy == s[i] || err != nil || !bytes.Equal(got, raw) {
					continue // another text, or the right one
				}
				tried[name+strconv.Itoa(len(s[i])%4)]++
				u := slices.Clone(s)
				u[i] = sloppy
				// Signed as the decoders read it, and signed as it stands there.
				again := u[0] + "." + u[1] + "." + b64(ed25519.Sign(platform.private, []byte(u[0]+"."+u[1])))
				for _, token := range []string{strings.Join(u, "."), again} {
					if i == 2 && token == again {
						continue // the signature as it should stand there
					}
					_, err := v.Verify(token, today)
					wantRefusal(t, err, CheckForm)
				}
			}
		}
	}
	// Two idle bits have 3 other values, four have 15.
	for what, want := range map[string]int{"header2": 15, "header3": 3, "payload2": 15, "payload3": 3, "signature2": 45} {
		if tried[what] != want {
			t.Errorf("%s: %d variants tried, want %d", what, tried[what], want)
		}
	}
}

func TestFormOfLength(t *testing.T) {
	v := campVerifier(t)
	sized := func(pad int) string {
		return platform.sign(platform.header(), claimsAt(today, map[string]any{"pad": strings.Repeat("p", pad)}))
	}
	exact, over := false, false
	for pad := 5700; !over; pad++ {
		token := sized(pad)
		_, err := v.Verify(token, today)
		switch {
		case len(token) <= 8<<10:
			if err != nil {
				t.Fatalf("%d bytes: %v", len(token), err)
			}
			exact = exact || len(token) == 8<<10
		default:
			over = true
			wantRefusal(t, err, CheckForm)
			if len(token) > 8<<10+2 {
				t.Fatalf("the first one that is too long has %d bytes", len(token))
			}
		}
	}
	if !exact {
		t.Fatal("no token of exactly 8 KiB was tried")
	}
}

func TestSignatureOfOthers(t *testing.T) {
	v := campVerifier(t)
	good := platform.token(today, nil)
	s := strings.Split(good, ".")
	other := strings.Split(platform.token(today, map[string]any{"tier": "free"}), ".")
	sig, _ := base64.RawURLEncoding.DecodeString(s[2])
	with := func(sig []byte) string { return s[0] + "." + s[1] + "." + b64(sig) }
	for _, c := range []struct{ name, token string }{
		{"thief under a pinned kid", thief.token(today, nil)},
		{"another pinned key", platform2.sign(platform.header(), claimsAt(today, nil))},
		{"another payload's", s[0] + "." + s[1] + "." + other[2]},
		{"another header's", b64([]byte(platform.header())) + "." + s[1] + "." + s[2]},
		{"payload alone signed", s[0] + "." + s[1] + "." + b64(ed25519.Sign(platform.private, []byte(claimsAt(today, nil))))},
		{"zero", with(make([]byte, 64))},
		{"ones", with(bytes.Repeat([]byte{0xff}, 64))},
		{"S of zero", with(append(bytes.Clone(sig[:32]), make([]byte, 32)...))},
		{"R and S exchanged", with(append(bytes.Clone(sig[32:]), sig[:32]...))},
		{"prehashed", s[0] + "." + s[1] + "." + b64(prehashed(t, platform, s[0]+"."+s[1]))},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.Verify(c.token, today)
			wantRefusal(t, err, CheckSignature)
		})
	}
	t.Run("small order R", func(t *testing.T) {
		for _, r := range smallOrder(t) {
			for _, rest := range [][]byte{sig[32:], make([]byte, 32)} {
				_, err := v.Verify(with(append(bytes.Clone(r), rest...)), today)
				wantRefusal(t, err, CheckSignature)
			}
		}
	})
	// S+L is the same scalar: RFC 8032 §5.1.7 wants it below L.
	t.Run("S plus multiples of L", func(t *testing.T) {
		l, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
		l.Add(l, new(big.Int).Lsh(big.NewInt(1), 252))
		n := new(big.Int).SetBytes(reversed(sig[32:]))
		tried := 0
		for n.Add(n, l); n.BitLen() <= 256; n.Add(n, l) {
			_, err := v.Verify(with(append(bytes.Clone(sig[:32]), reversed(n.FillBytes(make([]byte, 32)))...)), today)
			wantRefusal(t, err, CheckSignature)
			tried++
		}
		if tried < 14 {
			t.Errorf("%d multiples tried", tried)
		}
	})
}

func prehashed(t *testing.T, s signer, input string) []byte {
	t.Helper()
	sig, err := s.private.Sign(nil, []byte(input), &ed25519.Options{Context: "carl"})
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func reversed(b []byte) []byte {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return b
}

// No bit of a token may be another: of the signature, of what is signed, and of
// the text itself.
func TestSignatureCoversEachBit(t *testing.T) {
	v := campVerifier(t)
	good := platform.token(today, nil)
	if _, err := v.Verify(good, today); err != nil {
		t.Fatal(err)
	}
	s := strings.Split(good, ".")
	for i, want := range [][]Check{
		{CheckHeader, CheckAlgorithm, CheckType, CheckKeyID, CheckSignature},
		{CheckSignature},
		{CheckSignature},
	} {
		raw, err := base64.RawURLEncoding.DecodeString(s[i])
		if err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(raw) {
			flipped := bytes.Clone(raw)
			flipped[bit/8] ^= 1 << (bit % 8)
			u := slices.Clone(s)
			u[i] = b64(flipped)
			_, err := v.Verify(strings.Join(u, "."), today)
			wantRefusal(t, err, want...)
			if t.Failed() {
				t.Fatalf("bit %d of segment %d", bit, i)
			}
		}
	}
	for bit := range 8 * len(good) {
		flipped := []byte(good)
		flipped[bit/8] ^= 1 << (bit % 8)
		_, err := v.Verify(string(flipped), today)
		wantRefusal(t, err, CheckForm, CheckHeader, CheckAlgorithm, CheckType, CheckKeyID, CheckSignature)
		if t.Failed() {
			t.Fatalf("bit %d of the text", bit)
		}
	}
}

func TestLicenseIsVerifiedByRootAlone(t *testing.T) {
	own := map[string]any{"install_id": "i1"}
	for _, c := range []struct {
		name, token string
		want        Check // "" is accepted
	}{
		{"licence", offline.license(today, nil), ""},
		{"for an installation", offline.license(today, own), ""},
		{"expired, of which the caller says more", offline.license(today.AddDate(-1, 0, 0), nil), ""},
		{"under any kid", offline.sign(offline.header(`,"typ":"carl-offline+jwt"`), claimsAt(today, nil)), ""},
		{"by a key of the platform", platform.license(today, nil), CheckSignature},
		{"by a key of the platform, with its kid", platform.sign(platform.header(`,"typ":"carl-offline+jwt"`), claimsAt(today, nil)), CheckSignature},
		{"token of the platform", platform.token(today, nil), CheckType},
		{"token of the platform's kind, by root", offline.token(today, nil), CheckType},
		{"no typ", offline.sign(offline.header(), claimsAt(today, nil)), CheckType},
		{"empty typ", offline.sign(offline.header(`,"typ":""`), claimsAt(today, nil)), CheckType},
		{"endorsement", offline.endorse(platform), CheckType},
		{"typ in other case", offline.sign(offline.header(`,"typ":"Carl-Offline+JWT"`), claimsAt(today, nil)), CheckType},
		{"not yet", offline.license(today.Add(301*time.Second), nil), CheckNotYet},
		{"issuer", offline.license(today, map[string]any{"iss": "https://evil.example"}), CheckIssuer},
		{"audience", offline.license(today, map[string]any{"aud": "other"}), CheckAudience},
		{"no exp", offline.license(today, map[string]any{"exp": omit}), CheckClaims},
		{"form", offline.license(today, nil) + "\n", CheckForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := verifyLicense(c.token, offline.public(), issued, today)
			if c.want != "" {
				wantRefusal(t, err, c.want)
				return
			}
			if err != nil || got.KeyID != "" || got.Tier != "paid" {
				t.Fatalf("%+v, %v", got, err)
			}
		})
	}
	t.Run("no root", func(t *testing.T) {
		_, err := verifyLicense(offline.license(today, nil), nil, issued, today)
		wantRefusal(t, err, CheckKeyID)
	})
}

func TestVerifierWithoutKeysOrIssuers(t *testing.T) {
	token := platform.token(today, nil)
	_, err := NewVerifier(new(KeySet), issued...).Verify(token, today)
	wantRefusal(t, err, CheckKeyID)
	set, err := ParseKeySet(jwks(platform))
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewVerifier(set).Verify(token, today)
	wantRefusal(t, err, CheckIssuer)
	var none *Pin
	if none.find(platform.kid) != nil {
		t.Error("no pin has a key")
	}
}
