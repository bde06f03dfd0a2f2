package entitle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
)

// Each header is signed by the pinned key: the header alone is what is wrong.
func TestHeader(t *testing.T) {
	v := campVerifier(t)
	attacker := newSigner("attacker")
	h := platform.header
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	for _, c := range []struct {
		name, header string
		want         Check // "" is accepted
	}{
		{"least", h(), ""},
		{"typ JWT", h(`,"typ":"JWT"`), ""},
		{"typ jwt", h(`,"typ":"jwt"`), ""},
		{"typ Jwt", h(`,"typ":"Jwt"`), ""},
		{"members in another order", `{"typ":"JWT","kid":"camp-1","alg":"EdDSA"}`, ""},
		{"white space", " {\n\t\"alg\" : \"EdDSA\" ,\r\n \"kid\" : \"camp-1\" } ", ""},
		{"escaped name", `{"\u0061lg":"EdDSA","kid":"camp-1"}`, ""},
		{"escaped values", `{"alg":"\u0045dDSA","kid":"c\u0061mp-1"}`, ""},
		{"harmless members", h(`,"cty":"x","iss":"https://carl.camp","n":null,"list":[1,{"a":{}}],"url":"u","nonce":"n"`), ""},
		{"harmless names like others", h(`,"jw":1,"jwks":{},"x":5,"critical":[],"b6":1,"jk":"u"`), ""},
		{"empty name", h(`,"":1`), ""},
		{"names in other case beside", h(`,"ALG":"none","Kid":"x","CRIT":["exp"],"Jwk":{},"B64":false`), ""},
		{"deep", h(`,"deep":` + deep), ""},

		{"alg none", `{"alg":"none","kid":"camp-1"}`, CheckAlgorithm},
		{"alg None", `{"alg":"None","kid":"camp-1"}`, CheckAlgorithm},
		{"alg NONE", `{"alg":"NONE","kid":"camp-1"}`, CheckAlgorithm},
		{"alg empty", `{"alg":"","kid":"camp-1"}`, CheckAlgorithm},
		{"alg missing", `{"kid":"camp-1"}`, CheckAlgorithm},
		{"alg null", `{"alg":null,"kid":"camp-1"}`, CheckHeader},
		{"alg number", `{"alg":8,"kid":"camp-1"}`, CheckHeader},
		{"alg list", `{"alg":["EdDSA"],"kid":"camp-1"}`, CheckHeader},
		{"alg HS256", `{"alg":"HS256","kid":"camp-1"}`, CheckAlgorithm},
		{"alg RS256", `{"alg":"RS256","kid":"camp-1"}`, CheckAlgorithm},
		{"alg ES256", `{"alg":"ES256","kid":"camp-1"}`, CheckAlgorithm},
		{"alg eddsa", `{"alg":"eddsa","kid":"camp-1"}`, CheckAlgorithm},
		{"alg EDDSA", `{"alg":"EDDSA","kid":"camp-1"}`, CheckAlgorithm},
		{"alg EdDsa", `{"alg":"EdDsa","kid":"camp-1"}`, CheckAlgorithm},
		{"alg Ed25519", `{"alg":"Ed25519","kid":"camp-1"}`, CheckAlgorithm},
		{"alg with a space", `{"alg":"EdDSA ","kid":"camp-1"}`, CheckAlgorithm},
		{"alg with a NUL", `{"alg":"EdDSA\u0000","kid":"camp-1"}`, CheckAlgorithm},
		{"name alg in capitals", `{"ALG":"EdDSA","kid":"camp-1"}`, CheckAlgorithm},
		{"name Alg", `{"Alg":"EdDSA","kid":"camp-1"}`, CheckAlgorithm},

		{"jwk", h(`,"jwk":` + platform.jwk()), CheckHeader},
		{"jwk null", h(`,"jwk":null`), CheckHeader},
		{"jku", h(`,"jku":"https://evil.example/jwks.json"`), CheckHeader},
		{"jku empty", h(`,"jku":""`), CheckHeader},
		{"x5u", h(`,"x5u":"https://evil.example/cert.pem"`), CheckHeader},
		{"x5c", h(`,"x5c":["MIIB"]`), CheckHeader},
		{"x5c empty", h(`,"x5c":[]`), CheckHeader},
		{"x5t", h(`,"x5t":"dGh1bWI"`), CheckHeader},
		{"x5t#S256", h(`,"x5t#S256":"dGh1bWI"`), CheckHeader},
		{"x5anything", h(`,"x5anything":1`), CheckHeader},
		{"x5 alone", h(`,"x5":1`), CheckHeader},
		{"crit empty", h(`,"crit":[]`), CheckHeader},
		{"crit exp", h(`,"crit":["exp"],"exp":1`), CheckHeader},
		{"crit b64", h(`,"crit":["b64"],"b64":true`), CheckHeader},
		{"crit null", h(`,"crit":null`), CheckHeader},
		{"b64 true", h(`,"b64":true`), CheckHeader},
		{"b64 false", h(`,"b64":false`), CheckHeader},
		{"escaped jwk", h(`,"j\u0077k":` + attacker.jwk()), CheckHeader},
		{"escaped jku", h(`,"\u006aku":"u"`), CheckHeader},
		{"escaped crit", h(`,"cri\u0074":["b64"]`), CheckHeader},
		{"escaped b64", h(`,"\u00624":1,"\u006264":false`), CheckHeader},
		{"escaped x5c", h(`,"\u00785c":[]`), CheckHeader},

		{"alg twice", `{"alg":"EdDSA","alg":"EdDSA","kid":"camp-1"}`, CheckHeader},
		{"alg twice, the last none", `{"alg":"EdDSA","kid":"camp-1","alg":"none"}`, CheckHeader},
		{"alg twice, escaped", `{"alg":"EdDSA","kid":"camp-1","\u0061lg":"none"}`, CheckHeader},
		{"kid twice", h(`,"kid":"camp-2"`), CheckHeader},
		{"kid twice, escaped", h(`,"k\u0069d":"camp-2"`), CheckHeader},
		{"harmless member twice", h(`,"n":1,"n":1`), CheckHeader},
		{"twice further down", h(`,"n":{"a":1,"a":2}`), CheckHeader},
		{"twice further down, escaped", h(`,"n":[{"a":1,"\u0061":2}]`), CheckHeader},

		{"typ empty", h(`,"typ":""`), CheckType},
		{"typ of a licence", h(`,"typ":"carl-offline+jwt"`), CheckType},
		{"typ of an endorsement", h(`,"typ":"carl-key+jwt"`), CheckType},
		{"typ of an access token", h(`,"typ":"at+jwt"`), CheckType},
		{"typ JOSE", h(`,"typ":"JOSE"`), CheckType},
		{"typ JWT with a space", h(`,"typ":"JWT "`), CheckType},
		{"typ JWS", h(`,"typ":"JWS"`), CheckType},
		{"typ null", h(`,"typ":null`), CheckHeader},
		{"typ number", h(`,"typ":1`), CheckHeader},
		{"typ list", h(`,"typ":["JWT"]`), CheckHeader},

		{"kid missing", `{"alg":"EdDSA"}`, CheckKeyID},
		{"kid empty", `{"alg":"EdDSA","kid":""}`, CheckKeyID},
		{"kid unknown", `{"alg":"EdDSA","kid":"camp-9"}`, CheckKeyID},
		{"kid in other case", `{"alg":"EdDSA","kid":"Camp-1"}`, CheckKeyID},
		{"kid with a space", `{"alg":"EdDSA","kid":"camp-1 "}`, CheckKeyID},
		{"kid with a NUL", `{"alg":"EdDSA","kid":"camp-1\u0000"}`, CheckKeyID},
		{"kid is a thumbprint", `{"alg":"EdDSA","kid":"` + platform.thumbprint() + `"}`, CheckKeyID},
		{"kid is a path", `{"alg":"EdDSA","kid":"../../dev/null"}`, CheckKeyID},
		{"name Kid", `{"alg":"EdDSA","Kid":"camp-1"}`, CheckKeyID},
		{"name KID", `{"alg":"EdDSA","KID":"camp-1"}`, CheckKeyID},
		{"kid of 128 bytes", `{"alg":"EdDSA","kid":"` + strings.Repeat("k", 128) + `"}`, CheckKeyID},
		{"kid of 129 bytes", `{"alg":"EdDSA","kid":"` + strings.Repeat("k", 129) + `"}`, CheckHeader},
		{"kid number", `{"alg":"EdDSA","kid":1}`, CheckHeader},
		{"kid null", `{"alg":"EdDSA","kid":null}`, CheckHeader},
		{"kid list", `{"alg":"EdDSA","kid":["camp-1"]}`, CheckHeader},

		{"list", `[` + h() + `]`, CheckHeader},
		{"list of names and values", `["alg","EdDSA","kid","camp-1"]`, CheckHeader},
		{"text", `"EdDSA"`, CheckHeader},
		{"null", `null`, CheckHeader},
		{"number", `17`, CheckHeader},
		{"white space alone", ` `, CheckHeader},
		{"not JSON", `alg=EdDSA`, CheckHeader},
		{"cut", `{"alg":"EdDSA","kid":"camp-1"`, CheckHeader},
		{"cut in a name", `{"alg":"EdDSA","kid":"camp-1","n`, CheckHeader},
		{"cut after a name", `{"alg":"EdDSA","kid":"camp-1","n"`, CheckHeader},
		{"comma at the end", `{"alg":"EdDSA","kid":"camp-1",}`, CheckHeader},
		{"no comma", `{"alg":"EdDSA" "kid":"camp-1"}`, CheckHeader},
		{"name without quotes", `{"alg":"EdDSA","kid":"camp-1",n:1}`, CheckHeader},
		{"single quotes", `{'alg':'EdDSA','kid':'camp-1'}`, CheckHeader},
		{"comment", `{"alg":"EdDSA",/**/"kid":"camp-1"}`, CheckHeader},
		{"trailing brace", h() + `}`, CheckHeader},
		{"trailing object", h() + `{}`, CheckHeader},
		{"trailing NUL", h() + "\x00", CheckHeader},
		{"trailing word", h() + ` true`, CheckHeader},
		{"byte order mark", "\ufeff" + h(), CheckHeader},
		{"UTF-16", "{\x00\"\x00a\x00}\x00", CheckHeader},
		{"invalid UTF-8 in a value", h(",\"n\":\"\xff\""), CheckHeader},
		{"invalid UTF-8 in a name", h(",\"\xff\":1"), CheckHeader},
		{"overlong UTF-8", h(",\"n\":\"\xc0\x80\""), CheckHeader},
		{"half a surrogate pair", h(`,"n":"\ud800"`), CheckHeader},
		{"half a surrogate pair in a kid", `{"alg":"EdDSA","kid":"camp-1\ud800"}`, CheckHeader},
		{"control character in a text", h(",\"n\":\"\x01\""), CheckHeader},
		{"number that JSON has not", h(`,"n":01`), CheckHeader},
		{"NaN", h(`,"n":NaN`), CheckHeader},
		// The library beneath reads these members itself.
		{"nonce number", h(`,"nonce":1`), CheckHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := platform.sign(c.header, claimsAt(today, nil))
			got, err := v.Verify(token, today)
			if c.want != "" {
				wantRefusal(t, err, c.want)
				return
			}
			if err != nil || got.KeyID != platform.kid {
				t.Fatalf("%+v, %v", got, err)
			}
		})
	}
}

// An attacker who brings a key along gets nothing from it.
func TestHeaderBringsKey(t *testing.T) {
	v := campVerifier(t)
	attacker := newSigner("attacker")
	for _, c := range []struct {
		name, header string
		want         Check
	}{
		{"jwk", `{"alg":"EdDSA","jwk":` + attacker.jwk() + `}`, CheckHeader},
		{"jwk under a pinned kid", platform.header(`,"jwk":` + attacker.jwk()), CheckHeader},
		{"jwk that names a pinned kid", platform.header(`,"jwk":` + thief.jwk()), CheckHeader},
		{"jwk with the private key", platform.header(`,"jwk":` + attacker.jwk(`,"d":"`+b64(attacker.private.Seed())+`"`)), CheckHeader},
		{"jku", `{"alg":"EdDSA","kid":"attacker","jku":"https://evil.example"}`, CheckHeader},
		{"JWK, which nobody reads", platform.header(`,"JWK":` + attacker.jwk()), CheckSignature},
		{"own kid", attacker.header(), CheckKeyID},
		{"thumbprint for a kid", `{"alg":"EdDSA","kid":"` + attacker.thumbprint() + `"}`, CheckKeyID},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.Verify(attacker.sign(c.header, claimsAt(today, nil)), today)
			wantRefusal(t, err, c.want)
		})
	}
}

// A public key is no secret: a MAC under it must not pass for a signature, in
// whichever form the key is taken for one.
func TestAlgorithmConfusion(t *testing.T) {
	v := campVerifier(t)
	der, err := x509.MarshalPKIXPublicKey(platform.public())
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{
		"raw":       platform.public(),
		"base64url": []byte(platform.x()),
		"base64":    []byte(base64.StdEncoding.EncodeToString(platform.public())),
		"JWK":       []byte(platform.jwk()),
		"set":       jwks(platform, platform2),
		"DER":       der,
		"PEM":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"PEM, no line feed at the end": []byte(strings.TrimSuffix(
			string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "\n")),
		"empty": nil,
	}
	for name, secret := range secrets {
		for alg, h := range map[string]struct {
			hash crypto.Hash
			// A MAC of another length than a signature does not get as far as the header.
			want Check
		}{
			"HS256": {crypto.SHA256, CheckForm}, "HS384": {crypto.SHA384, CheckForm}, "HS512": {crypto.SHA512, CheckAlgorithm},
		} {
			t.Run(alg+" "+name, func(t *testing.T) {
				for _, header := range []string{`{"alg":"` + alg + `","kid":"camp-1"}`, `{"alg":"` + alg + `","kid":"camp-1","typ":"JWT"}`} {
					input := b64([]byte(header)) + "." + b64([]byte(claimsAt(today, nil)))
					mac := hmac.New(h.hash.New, secret)
					mac.Write([]byte(input))
					_, err := v.Verify(input+"."+b64(mac.Sum(nil)), today)
					wantRefusal(t, err, h.want)
				}
			})
		}
		// With the right alg the MAC is a signature that does not fit.
		t.Run("EdDSA "+name, func(t *testing.T) {
			input := b64([]byte(platform.header())) + "." + b64([]byte(claimsAt(today, nil)))
			mac := hmac.New(crypto.SHA512.New, secret)
			mac.Write([]byte(input))
			_, err := v.Verify(input+"."+b64(mac.Sum(nil)), today)
			wantRefusal(t, err, CheckSignature)
		})
	}

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		alg  jose.SignatureAlgorithm
		key  any
		want Check
	}{
		{jose.RS256, rsaKey, CheckForm},
		{jose.PS256, rsaKey, CheckForm},
		{jose.ES256, ecKey, CheckAlgorithm}, // its signatures have 64 bytes too
		{jose.EdDSA, thief.private, CheckSignature},
		{jose.EdDSA, platform.private, ""}, // what the library signs is what we verify
	} {
		t.Run("signed with "+string(c.alg), func(t *testing.T) {
			s, err := jose.NewSigner(jose.SigningKey{Algorithm: c.alg, Key: jose.JSONWebKey{KeyID: platform.kid, Key: c.key}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			jws, err := s.Sign([]byte(claimsAt(today, nil)))
			if err != nil {
				t.Fatal(err)
			}
			token, err := jws.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Verify(token, today)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantRefusal(t, err, c.want)
		})
	}
	t.Run("unsigned", func(t *testing.T) {
		for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
			header := b64([]byte(`{"alg":"` + alg + `","kid":"camp-1"}`))
			_, err := v.Verify(header+"."+b64([]byte(claimsAt(today, nil)))+".", today)
			wantRefusal(t, err, CheckForm)
		}
	})
}

// A key that was withdrawn verifies nothing, whatever it signed while it stood.
func TestHeaderNamesTombstone(t *testing.T) {
	pin := newPin(&KeySet{keys: []key{{id: platform.kid, public: platform.public()}, {id: platform2.kid, public: platform2.public()}}}, "", today)
	set, err := ParseKeySet(jwks(platform2))
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := pin.follow(set, false, today)
	if err != nil {
		t.Fatal(err)
	}
	token := platform.token(today, nil)
	for _, c := range []struct {
		name string
		keys keyring
		want Check
	}{
		{"before", pin.find, ""},
		{"after", next.find, CheckKeyID},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Verifier{Issuers: issued, keys: c.keys}
			if _, err := v.Verify(token, today); c.want != "" {
				wantRefusal(t, err, c.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
