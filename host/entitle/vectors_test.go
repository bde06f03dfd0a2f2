package entitle

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"
)

// RFC 8037, Appendix A.
const (
	rfc8037D          = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	rfc8037X          = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfc8037Thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	rfc8037JWS        = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc." +
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)

func TestRFC8037(t *testing.T) {
	public, ok := parsePublicKey(rfc8037X)
	if !ok {
		t.Fatal("the key of A.2 is refused")
	}
	if got := Thumbprint(public); got != rfc8037Thumbprint { // A.3
		t.Errorf("thumbprint %s, want %s", got, rfc8037Thumbprint)
	}
	if got, err := ParseOfflineRoot(`{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037X + `"}`); err != nil || !got.Equal(public) {
		t.Errorf("A.2: %x, %v", got, err)
	}
	if _, err := ParseOfflineRoot(`{"kty":"OKP","crv":"Ed25519","d":"` + rfc8037D + `","x":"` + rfc8037X + `"}`); err == nil {
		t.Error("the private key of A.1 is taken for a root")
	}
	set := mustParse(t, `{"kty":"OKP","crv":"Ed25519","kid":"a1","d":"`+rfc8037D+`","x":"`+rfc8037X+`"}`)
	if !set.find("a1").Equal(public) {
		t.Error("A.1 as an element of a set is not found")
	}

	ring := func(kid string) ed25519.PublicKey {
		if kid != "" {
			t.Errorf("asked for the key %q", kid)
		}
		return public
	}
	kid, payload, err := open(rfc8037JWS, "", ring) // A.5
	if err != nil || kid != "" || string(payload) != "Example of Ed25519 signing" {
		t.Errorf("%q, %q, %v", kid, payload, err)
	}
	_, _, err = open(strings.Replace(rfc8037JWS, "RXhhbX", "RXhhbW", 1), "", ring)
	wantRefusal(t, err, CheckSignature)
	// The verifier wants a kid, and claims.
	v := &Verifier{Issuers: issued, keys: set.find}
	_, err = v.Verify(rfc8037JWS, today)
	wantRefusal(t, err, CheckKeyID)
	v.keys = ring
	_, err = v.Verify(rfc8037JWS, today)
	wantRefusal(t, err, CheckClaims)
	// A.4: signed again it is the same.
	seed, err := hex.DecodeString("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	if err != nil {
		t.Fatal(err)
	}
	s := signer{private: ed25519.NewKeyFromSeed(seed)}
	if b64(seed) != rfc8037D || s.x() != rfc8037X || s.sign(`{"alg":"EdDSA"}`, "Example of Ed25519 signing") != rfc8037JWS {
		t.Error("the tests sign in another way than A.4")
	}
}

func TestIsThumbprint(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"thumbprint", rfc8037Thumbprint, true},
		{"x, which looks the same", rfc8037X, true},
		{"empty", "", false},
		{"short", rfc8037Thumbprint[:42], false},
		{"long", rfc8037Thumbprint + "A", false},
		{"padded", rfc8037Thumbprint + "=", false},
		{"of base64", "+" + rfc8037Thumbprint[1:], false},
		{"with a line feed", rfc8037Thumbprint[:42] + "\n", false},
		{"sloppy last character", rfc8037Thumbprint[:42] + "5", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := IsThumbprint(c.text); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// RFC 8032 §7.1: seed, public key, message, signature.
var rfc8032 = []struct{ name, seed, public, message, signature string }{
	{"1",
		"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
		"",
		"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
	{"2",
		"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
		"72",
		"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
	{"3",
		"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
		"af82",
		"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
	{"SHA(abc)",
		"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
		"ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
		"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		"dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"},
}

func TestRFC8032(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range rfc8032 {
		t.Run(c.name, func(t *testing.T) {
			s := signer{c.name, ed25519.NewKeyFromSeed(unhex(c.seed))}
			public, ok := parsePublicKey(b64(unhex(c.public)))
			if !ok || !public.Equal(s.public()) {
				t.Fatalf("%x, want %x", s.public(), public)
			}
			if !ed25519.Verify(public, unhex(c.message), unhex(c.signature)) {
				t.Error("the signature does not fit")
			}
			set := mustParse(t, s.jwk())
			got, err := NewVerifier(set, issued...).Verify(s.token(today, nil), today)
			if err != nil || got.KeyID != c.name {
				t.Errorf("%+v, %v", got, err)
			}
			// The vector's own signature fits its message, and no token.
			token := s.token(today, nil)
			token = token[:strings.LastIndexByte(token, '.')+1] + b64(unhex(c.signature))
			_, err = NewVerifier(set, issued...).Verify(token, today)
			wantRefusal(t, err, CheckSignature)
		})
	}
}
