package entitle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"time"
)

// today is the time of the tests; the defaults of a token are relative to the
// time that it is issued at.
var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// signer issues what the platform would, and what an attacker would.
type signer struct {
	kid     string
	private ed25519.PrivateKey
}

// newSigner makes the key of a kid: the same one in each run.
func newSigner(kid string) signer { return newSignerFrom(kid, kid) }

// newSignerFrom makes the key of a seed under any kid, also one that another
// key has.
func newSignerFrom(kid, seed string) signer {
	sum := sha256.Sum256([]byte("carl test key " + seed))
	return signer{kid, ed25519.NewKeyFromSeed(sum[:])}
}

func (s signer) public() ed25519.PublicKey { return s.private.Public().(ed25519.PublicKey) }

// x is the member x of the public JWK, and what ParseOfflineRoot reads.
func (s signer) x() string { return b64(s.public()) }

func (s signer) thumbprint() string { return Thumbprint(s.public()) }

// sign makes a compact JWS of any two texts.
func (s signer) sign(header, payload string) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(ed25519.Sign(s.private, []byte(input)))
}

// header is a header of this key; extra are further members, each with a
// comma before it.
func (s signer) header(extra ...string) string {
	return `{"alg":"EdDSA","kid":` + quote(s.kid) + strings.Join(extra, "") + `}`
}

// token issues a token of the platform at a time, with the members of change
// over the defaults; see claimsAt.
func (s signer) token(at time.Time, change map[string]any) string {
	return s.sign(s.header(`,"typ":"JWT"`), claimsAt(at, change))
}

// license issues a licence for half a year, with an offline root's key.
func (s signer) license(at time.Time, change map[string]any) string {
	claims := map[string]any{"exp": at.Add(180 * 24 * time.Hour).Unix()}
	maps.Copy(claims, change)
	return s.sign(`{"alg":"EdDSA","typ":"carl-offline+jwt"}`, claimsAt(at, claims))
}

// endorse says of a new key that it is the platform's.
func (s signer) endorse(new signer) string {
	return s.sign(s.header(`,"typ":"carl-key+jwt"`), `{"kid":`+quote(new.kid)+`,"jkt":`+quote(new.thumbprint())+`}`)
}

// omit in the change of claimsAt leaves a claim out.
var omit = new(struct{})

// claimsAt is a payload: a paid token for 15 minutes that lets
// train.slime.managed through.
func claimsAt(at time.Time, change map[string]any) string {
	claims := map[string]any{
		"iss": PlatformIssuer, "aud": "carl", "sub": "u1", "jti": "j1",
		"iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(15 * time.Minute).Unix(),
		"tier": "paid", "tier_label": "Pro",
		"entitlements": []any{map[string]any{"key": "train.slime.managed"}},
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == omit })
	data, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// jwk is the public key as an element of a set; extra as in header.
func (s signer) jwk(extra ...string) string {
	return `{"kty":"OKP","crv":"Ed25519","kid":` + quote(s.kid) + `,"x":"` + s.x() + `"` + strings.Join(extra, "") + `}`
}

// jwks is the key set that the platform serves.
func jwks(signers ...signer) []byte {
	elements := make([]string, 0, len(signers))
	for _, s := range signers {
		elements = append(elements, s.jwk())
	}
	return setOf(elements...)
}

// setOf is a key set of any elements.
func setOf(elements ...string) []byte {
	return []byte(`{"keys":[` + strings.Join(elements, ",") + `]}`)
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}
