package standin

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// b64 is bytes that stand in JSON as base64url without padding (RFC 7515 §2).
type b64 []byte

func (b b64) String() string { return base64.RawURLEncoding.EncodeToString(b) }

// MarshalText and UnmarshalText serve the JSON codec.
func (b b64) MarshalText() ([]byte, error) { return base64.RawURLEncoding.AppendEncode(nil, b), nil }

func (b *b64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	return err
}

// header is the protected header of what the stand-in signs; its members stand
// in this order.
type header struct {
	Alg string `json:"alg"`
	KID string `json:"kid,omitzero"`
	Typ string `json:"typ"`
}

// compact signs payload in the JWS compact serialization (RFC 7515 §3.1, with
// EdDSA as in RFC 8037 §3.1).
func compact(seed b64, kid, typ string, payload any) string {
	signed := encode(header{Alg: "EdDSA", KID: kid, Typ: typ}) + "." + encode(payload)
	return signed + "." + b64(ed25519.Sign(ed25519.NewKeyFromSeed(seed), []byte(signed))).String()
}

func encode(doc any) string {
	// Invalid UTF-8 can only come from a test, which gets U+FFFD for it.
	text, err := json.Marshal(doc, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		// The documents are this package's own, of strings and numbers.
		panic(err)
	}
	return b64(text).String()
}

// thumbprint is the JWK thumbprint (RFC 7638 §3, with the members that RFC
// 8037 §2 names) of the public key x.
func thumbprint(x b64) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x.String() + `"}`))
	return b64(sum[:]).String()
}
