package entitle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/edwards25519"

	"carl.camp/carl/host/private"
)

// seed adds what a target starts from.
func seed[T string | []byte](f *testing.F, corpus []T) {
	f.Helper()
	if len(corpus) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	for _, c := range corpus {
		f.Add(c)
	}
}

// FuzzVerify gives any text to the verifier: what it accepts was signed by the
// key that it names, stands there in the one way to write it, and says what an
// independent reader reads.
func FuzzVerify(f *testing.F) {
	good := platform.token(today, nil)
	s := strings.Split(good, ".")
	corpus := []string{
		"", ".", "..", good, platform2.token(today, nil), thief.token(today, nil), good + "\n", good[:len(good)-1], good + "=",
		s[0] + "." + s[1] + ".", s[0] + "." + s[1], s[1] + "." + s[0] + "." + s[2],
		platform.token(today.Add(-time.Hour), nil), platform.token(today.Add(time.Hour), nil),
		platform.token(today, map[string]any{"aud": []string{"a", "carl"}, "iat": raw("1.5e9"), "nbf": nil}),
		platform.token(today, map[string]any{"entitlements": []any{map[string]any{"key": "a", "expires_at": "2027-01-01T00:00:00Z"}}}),
		platform.sign(`{"kid":"camp-1","\u0061lg":"EdDSA","n":[{}]}`, claimsAt(today, nil)),
		offline.license(today, nil), platform.endorse(platform2), rfc8037JWS,
	}
	seed(f, corpus)
	v := campVerifier(f)
	accepted := 0
	for _, c := range corpus {
		if _, err := v.Verify(c, today); err == nil {
			accepted++
		}
	}
	if accepted < 4 {
		f.Fatalf("%d seeds are accepted", accepted)
	}
	f.Fuzz(func(t *testing.T, token string) { checkVerified(t, v, token) })
}

// FuzzSigned signs any header and any payload with the platform's key, so that
// what is behind the signature is reached.
func FuzzSigned(f *testing.F) {
	payload := claimsAt(today, nil)
	type pair struct{ header, payload string }
	corpus := []pair{
		{platform.header(), payload},
		{platform.header(`,"typ":"JWT"`), claimsAt(today, map[string]any{"aud": []string{"carl", "x"}})},
		{platform.header(`,"x5c":[]`), payload},
		{platform.header(`,"kid":"camp-2"`), payload},
		{`{"alg":"none","kid":"camp-1"}`, payload},
		{`{"\u0061lg":"EdDSA","kid":"c\u0061mp-1","cty":"JWT","nonce":"n"}`, payload},
		{platform.header(), claimsAt(today, map[string]any{"iat": raw("1e3"), "exp": raw("253402300799")})},
		{platform.header(), claimsAt(today, map[string]any{"exp": raw("1e400")})},
		{platform.header(), claimsAt(today, map[string]any{"nbf": nil, "jti": nil, "tier_label": "", "entitlements": nil})},
		{platform.header(), claimsAt(today, map[string]any{"entitlements": []any{
			map[string]any{"key": "a", "granted_at": 1, "expires_at": "2027-01-01T00:00:00+01:00"}, map[string]any{"key": "b", "n": nil}}})},
		{platform.header(), strings.Replace(payload, `"sub"`, `"exp":9,"sub"`, 1)},
		{platform.header(), payload + payload},
		{"", ""},
	}
	if len(corpus) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	for _, c := range corpus {
		f.Add(c.header, c.payload)
	}
	v := campVerifier(f)
	f.Fuzz(func(t *testing.T, header, payload string) {
		token := platform.sign(header, payload)
		if checkVerified(t, v, token) {
			return
		}
		// Who reads a header of another algorithm or kid never gets here.
		if _, err := v.Verify(platform.sign(platform.header(), payload), today); isRejection(err, CheckForm, CheckHeader, CheckAlgorithm, CheckType, CheckKeyID, CheckSignature) &&
			len(payload) > 0 && len(payload) < 5000 {
			t.Errorf("a good header with %q: %v", payload, err)
		}
	})
}

// checkVerified verifies a token, and holds what is accepted against other
// readers. It reports whether it was accepted.
func checkVerified(t *testing.T, v *Verifier, token string) bool {
	t.Helper()
	got, err := v.Verify(token, today)
	if err != nil {
		wantRefusal(t, err, CheckForm, CheckHeader, CheckAlgorithm, CheckType, CheckKeyID, CheckSignature,
			CheckClaims, CheckIssuer, CheckAudience, CheckExpired, CheckNotYet)
		return false
	}
	public := map[string]ed25519.PublicKey{platform.kid: platform.public(), platform2.kid: platform2.public()}[got.KeyID]
	s := strings.Split(token, ".")
	if public == nil || len(s) != 3 || len(token) > maxToken {
		t.Fatalf("accepted under %q: %q", got.KeyID, token)
	}
	parts := make([][]byte, 3)
	for i := range s {
		if parts[i], err = base64.RawURLEncoding.Strict().DecodeString(s[i]); err != nil || b64(parts[i]) != s[i] {
			t.Fatalf("segment %d is not in its one form: %q", i, token)
		}
	}
	if !ed25519.Verify(public, []byte(s[0]+"."+s[1]), parts[2]) {
		t.Fatalf("accepted without a signature: %q", token)
	}
	var header map[string]any
	if err := json.Unmarshal(parts[0], &header); err != nil || header["alg"] != "EdDSA" || header["kid"] != got.KeyID {
		t.Fatalf("header %s: %v", parts[0], err)
	}
	for name := range header {
		if slices.Contains([]string{"jwk", "jku", "crit", "b64"}, name) || strings.HasPrefix(name, "x5") {
			t.Fatalf("header %s", parts[0])
		}
	}
	if typ, ok := header["typ"].(string); ok && typ != "" && !strings.EqualFold(typ, "JWT") {
		t.Fatalf("header %s", parts[0])
	}
	// encoding/json keeps the last of two members, and takes names in any case.
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(parts[1], &claims); err != nil {
		t.Fatalf("payload %s: %v", parts[1], err)
	}
	for name, want := range map[string]string{"iss": got.Issuer, "sub": got.Subject, "tier": got.Tier, "jti": got.ID, "tier_label": got.TierLabel, "install_id": got.InstallID} {
		var s string
		if c, ok := claims[name]; ok && (json.Unmarshal(c, &s) != nil || s != want) || !ok && want != "" {
			t.Fatalf("%s is %q in %s", name, want, parts[1])
		}
	}
	if !slices.Contains(issued, got.Issuer) || got.Subject == "" || got.Tier == "" || !bytes.Contains(claims["aud"], []byte("c")) {
		t.Fatalf("%+v of %s", got, parts[1])
	}
	for name, at := range map[string]time.Time{"iat": got.IssuedAt, "exp": got.ExpiresAt, "nbf": got.NotBefore} {
		var n *float64
		if c, ok := claims[name]; ok && json.Unmarshal(c, &n) != nil || n == nil && !at.IsZero() || n != nil && (int64(*n) != at.Unix() || at.Nanosecond() != 0) {
			t.Fatalf("%s is %v in %s", name, at, parts[1])
		}
	}
	if got.ExpiresAt.Before(today.Add(-5*time.Minute)) || got.IssuedAt.After(today.Add(5*time.Minute)) || got.NotBefore.After(today.Add(5*time.Minute)) {
		t.Fatalf("at another time: %+v", got)
	}
	var list []map[string]any
	if c, ok := claims["entitlements"]; ok && json.Unmarshal(c, &list) != nil || len(list) != len(got.Grants) || len(list) > 256 {
		t.Fatalf("%d grants of %s", len(got.Grants), parts[1])
	}
	for i, g := range got.Grants {
		if g.Key == "" || list[i]["key"] != g.Key || (list[i]["expires_at"] == nil) != g.ExpiresAt.IsZero() {
			t.Fatalf("grant %+v of %s", g, parts[1])
		}
	}
	return true
}

// FuzzKeySet gives any bytes to the reader of key sets: what it returns are
// keys that a signature can be trusted under, each under its own kid.
func FuzzKeySet(f *testing.F) {
	odd, _ := nonCanonical(f)
	corpus := [][]byte{
		nil, []byte("{}"), []byte(`{"keys":[]}`), []byte(`{"keys":[null]}`), jwks(platform), jwks(platform, platform2), jwks(platform, platform),
		setOf(platform.jwk(`,"use":"sig","alg":"EdDSA"`), `{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}`),
		setOf(platform.jwk(`,"d":"AA","x5c":[]`), platform2.jwk(`,"endorsement":"`+platform.endorse(platform2)+`"`)),
		setOf(`{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AQ"}`),
		setOf(strings.Replace(platform.jwk(), `"x"`, `"\u0078"`, 1)),
		[]byte(`{"keys":[` + platform.jwk() + `],"keys":[]}`),
		append([]byte("\ufeff"), jwks(platform)...), append(jwks(platform), "{}"...),
	}
	for _, x := range append(smallOrder(f), odd...) {
		corpus = append(corpus, setOf(`{"kty":"OKP","crv":"Ed25519","kid":"k","x":"`+b64(x)+`"}`, platform.jwk()))
	}
	seed(f, corpus)
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseKeySet(data)
		if err != nil {
			wantRefusal(t, err, CheckKeySet, CheckDuplicate, CheckNoKey, CheckTooMany)
			if set != nil {
				t.Error("a refused set was returned")
			}
			return
		}
		if len(data) > maxKeySet || len(set.keys) == 0 || len(set.keys)+len(set.unusable) > maxKeys {
			t.Fatalf("%d and %d keys of %d bytes", len(set.keys), len(set.unusable), len(data))
		}
		var read struct{ Keys []map[string]any }
		if err := json.Unmarshal(data, &read); err != nil {
			t.Fatal(err)
		}
		kids := map[string]bool{}
		for _, k := range set.keys {
			checkKey(t, k.id, k.public)
			if kids[k.id] || slices.Contains(set.unusable, k.id) {
				t.Fatalf("%q is there twice", k.id)
			}
			kids[k.id] = true
			if !slices.ContainsFunc(read.Keys, func(m map[string]any) bool {
				return m["kid"] == k.id && m["x"] == b64(k.public) && m["kty"] == "OKP" && m["crv"] == "Ed25519"
			}) {
				t.Fatalf("%q is not in %s", k.id, data)
			}
			if !set.find(k.id).Equal(k.public) {
				t.Fatalf("%q is not found", k.id)
			}
		}
		// It can be pinned, and followed by itself, strictly too.
		pin := newPin(set, "", today)
		roundTrip(t, pin)
		if next, refused, err := pin.follow(set, true, today); err != nil || len(refused) > 0 || !samePin(next, pin) {
			t.Fatalf("%+v, %q, %v", next, refused, err)
		}
	})
}

func checkKey(t *testing.T, kid string, public ed25519.PublicKey) {
	t.Helper()
	p, err := new(edwards25519.Point).SetBytes(public)
	if err != nil || !bytes.Equal(p.Bytes(), public) || times(p, 8).Equal(edwards25519.NewIdentityPoint()) == 1 {
		t.Fatalf("%q has the key %x", kid, public)
	}
	if kid == "" || len(kid) > 128 || strings.ContainsFunc(kid, func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.Fatalf("kid %q", kid)
	}
	// A signature of no key verifies.
	forged := make([]byte, 64)
	forged[0] = 1
	if ed25519.Verify(public, []byte("message"), forged) {
		t.Fatalf("%x verifies what nobody signed", public)
	}
}

// FuzzPin gives any bytes to the reader of the pin file: what it takes is a pin
// that is written as it was read.
func FuzzPin(f *testing.F) {
	format := func(p *Pin) []byte {
		data, err := private.FormatJSON(p.file())
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	one := format(pinned([]signer{kA}, nil))
	corpus := [][]byte{
		nil, []byte("{}"), []byte(`{"v":1}`), []byte(`{"v":2}`), []byte(`{"v":1,"keys":null}`),
		one, one[:len(one)/2], append(slices.Clone(one), "{}"...),
		format(pinned([]signer{kA, kB}, []signer{kC})),
		format(pinned(nil, []signer{kC})),
		format(pinned([]signer{kA}, []signer{kA})),
		bytes.Replace(one, []byte(kA.x()), []byte(weakX(f)), 1),
		bytes.Replace(one, []byte(kA.x()), []byte("AQ"), 1),
		bytes.Replace(one, []byte(`"kid": "a"`), []byte(`"kid": ""`), 1),
	}
	seed(f, corpus)
	f.Fuzz(func(t *testing.T, data []byte) {
		var file pinFile
		if private.ParseJSON(data, &file) != nil {
			return
		}
		p, ok := file.pin()
		if !ok {
			if p != nil && len(p.Keys) > 0 && slices.ContainsFunc(p.Keys, PinnedKey.Active) && len(p.Keys) <= maxPinned {
				t.Fatalf("a pin was refused: %+v", p)
			}
			return
		}
		kids, active := map[string]bool{}, 0
		for _, k := range p.Keys {
			checkKey(t, k.ID, k.Public)
			if found := p.find(k.ID); k.Active() {
				active++
				if kids[k.ID] {
					t.Fatalf("%q is active twice", k.ID)
				}
				kids[k.ID] = true
				if !k.Public.Equal(found) {
					t.Fatalf("%q is not found", k.ID)
				}
			} else if k.Public.Equal(found) {
				t.Fatalf("the tombstone %q is found", k.ID)
			}
		}
		if active == 0 || len(p.Keys) > 64 {
			t.Fatalf("%d keys, of which %d active", len(p.Keys), active)
		}
		again, err := private.FormatJSON(p.file())
		if err != nil {
			return // a time or a text that this version never writes
		}
		var reread pinFile
		if err := private.ParseJSON(again, &reread); err != nil {
			t.Fatal(err)
		}
		if q, ok := reread.pin(); !ok || !samePin(p, q) {
			t.Fatalf("read again: %+v, was %+v", q, p)
		}
	})
}
