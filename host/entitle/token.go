package entitle

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/jsonwalk"
)

const (
	// maxToken bounds a token: it travels in one HTTP header on its way to
	// others, where common servers take 8 KiB.
	maxToken = 8 << 10
	// skew is how far the platform's clock and this one may be apart.
	skew = 5 * time.Minute
	// maxKeyID bounds a kid; thumbprints have 43 bytes.
	maxKeyID = 128

	typeLicense     = "carl-offline+jwt"
	typeEndorsement = "carl-key+jwt"

	audience = "carl"
)

// Grant is one entitlement of a token: the right to one feature, by its key.
type Grant struct {
	Key string
	// GrantedAt and ExpiresAt are zero where the token does not say.
	GrantedAt, ExpiresAt time.Time
}

// Live reports whether the grant holds at a time.
func (g Grant) Live(now time.Time) bool { return g.ExpiresAt.IsZero() || now.Before(g.ExpiresAt) }

// Token is what a verified token says. There is no other way to get one than
// verification.
type Token struct {
	// KeyID is the kid of the key that verified it; "" for the offline root.
	KeyID string

	Issuer, Subject, ID string
	// IssuedAt and ExpiresAt are always set; NotBefore may be zero.
	IssuedAt, NotBefore, ExpiresAt time.Time
	// Tier is the name of a tier, perhaps of one that this version does not
	// know. TierLabel is the platform's name for it, for people; may be "".
	Tier, TierLabel string
	Grants          []Grant
	// InstallID is the installation that a licence was made for; "" for any.
	InstallID string
}

// Grant returns the live grant of a key.
func (t *Token) Grant(key string, now time.Time) (Grant, bool) {
	for _, g := range t.Grants {
		if g.Key == key && g.Live(now) {
			return g, true
		}
	}
	return Grant{}, false
}

// Verifier holds what a token is verified against. It is immutable, and safe
// for use by several goroutines.
type Verifier struct {
	// Issuers are the accepted values of iss.
	Issuers []string
	keys    keyring
}

// keyring finds the active key of a kid, or nil.
type keyring func(kid string) ed25519.PublicKey

// NewVerifier verifies against the keys of a set, all of them active.
func NewVerifier(set *KeySet, issuers ...string) *Verifier {
	return &Verifier{Issuers: issuers, keys: set.find}
}

// Verify verifies a token of the platform at a time. The error is
// carl.entitlements.signature_invalid with a *[Rejection] as its cause.
func (v *Verifier) Verify(token string, now time.Time) (*Token, error) {
	t, err := v.verifyCached(token, now)
	if err == nil {
		err = notExpired(t, now)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// verifyCached makes every check but that of exp, whose place the age takes for
// a cached token.
func (v *Verifier) verifyCached(token string, now time.Time) (*Token, error) {
	kid, payload, err := open(token, "", v.keys)
	if err != nil {
		return nil, err
	}
	t, err := readClaims(payload, v.Issuers, now)
	if err != nil {
		return nil, err
	}
	t.KeyID = kid
	return t, nil
}

// verifyLicense makes every check but that of exp and install_id, of which the
// caller says more than that the licence is refused.
func verifyLicense(token string, root ed25519.PublicKey, issuers []string, now time.Time) (*Token, error) {
	_, payload, err := open(token, typeLicense, func(string) ed25519.PublicKey { return root })
	if err != nil {
		return nil, err
	}
	return readClaims(payload, issuers, now)
}

// notExpired compares whole seconds, as NumericDate counts them.
func notExpired(t *Token, now time.Time) error {
	if now.Unix() > t.ExpiresAt.Unix()+int64(skew/time.Second) {
		return reject(CheckExpired)
	}
	return nil
}

// header is what the header of a token says, before anything is verified.
type header struct {
	alg, kid, typ string
	typed         bool
}

// open checks the form and the header of a token, finds its key, and returns
// the payload that go-jose verified. typ is "" for a token of the platform.
func open(token, typ string, keys keyring) (kid string, payload []byte, err error) {
	raw, ok := wellFormed(token)
	if !ok {
		return "", nil, reject(CheckForm)
	}
	h, ok := readHeader(raw)
	switch {
	case !ok:
		return "", nil, reject(CheckHeader)
	case h.alg != string(jose.EdDSA):
		return "", nil, reject(CheckAlgorithm)
	// Explicit types keep one kind of token from passing for another (RFC 8725
	// §3.11). Media types are compared without case.
	case typ == "" && h.typed && !strings.EqualFold(h.typ, "JWT"), typ != "" && h.typ != typ:
		return "", nil, reject(CheckType)
	}
	key := keys(h.kid)
	if key == nil {
		return "", nil, reject(CheckKeyID)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return "", nil, reject(CheckHeader)
	}
	payload, err = jws.Verify(key)
	if err != nil {
		return "", nil, reject(CheckSignature)
	}
	return h.kid, payload, nil
}

// wellFormed checks what go-jose lets pass: length, alphabet, the number of
// segments, and the idle bits of each segment's last character. It returns the
// decoded header.
func wellFormed(token string) (header []byte, ok bool) {
	if len(token) > maxToken {
		return nil, false
	}
	segments := strings.Split(token, ".")
	if len(segments) != 3 || base64.RawURLEncoding.DecodedLen(len(segments[2])) != ed25519.SignatureSize {
		return nil, false
	}
	for _, s := range segments {
		if !strictBase64URL(s) {
			return nil, false
		}
	}
	header, err := base64.RawURLEncoding.DecodeString(segments[0])
	return header, err == nil
}

// strictBase64URL accepts a non-empty text that an encoder of base64url without
// padding would write (RFC 4648 §5, §3.5).
func strictBase64URL(s string) bool {
	for i := range len(s) {
		if base64Value(s[i]) < 0 {
			return false
		}
	}
	if s == "" {
		return false
	}
	last := base64Value(s[len(s)-1])
	switch len(s) % 4 {
	case 1:
		return false
	case 2:
		return last&0x0f == 0
	case 3:
		return last&0x03 == 0
	}
	return true
}

// base64Value is a character's six bits, or -1.
func base64Value(c byte) int {
	switch {
	case 'A' <= c && c <= 'Z':
		return int(c - 'A')
	case 'a' <= c && c <= 'z':
		return int(c-'a') + 26
	case '0' <= c && c <= '9':
		return int(c-'0') + 52
	case c == '-':
		return 62
	case c == '_':
		return 63
	}
	return -1
}

func readHeader(data []byte) (h header, ok bool) {
	ok = jsonwalk.Members(data, func(name string, value jsontext.Value) bool {
		switch name {
		case "alg":
			return jsonwalk.Text(value, &h.alg)
		case "kid":
			return jsonwalk.Text(value, &h.kid) && len(h.kid) <= maxKeyID
		case "typ":
			h.typed = true
			return jsonwalk.Text(value, &h.typ)
		case "jwk", "jku", "crit", "b64":
			return false
		}
		return !strings.HasPrefix(name, "x5")
	})
	return h, ok
}
