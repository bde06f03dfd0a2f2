package entitle

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"

	"filippo.io/edwards25519"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/jsonwalk"
)

const (
	// maxKeySet bounds a JSON Web Key Set, in bytes; one with 16 keys has 4 KiB.
	maxKeySet = 64 << 10
	// maxKeys bounds the keys of a set: a rotation needs two.
	maxKeys = 16
)

// KeySet is a JSON Web Key Set (RFC 7517) of which the keys that carl can use
// were taken: Ed25519 keys (RFC 8037) that a signature can be trusted under.
type KeySet struct {
	keys []key
	// unusable are the kids of the other keys: a pinned kid among them is a key
	// that was exchanged, and not one that was withdrawn.
	unusable []string
}

type key struct {
	id     string
	public ed25519.PublicKey
	// endorsement is a statement of an older key about this one, or "".
	endorsement string
}

// ParseKeySet reads a JSON Web Key Set, one key at a time: a key of another
// type, for another use, or that no signature can be trusted under, is passed
// over. A set that is no set, that has more than 16 keys or a kid twice, or no
// key that can be used, is refused as a whole with
// carl.entitlements.signature_invalid.
func ParseKeySet(data []byte) (*KeySet, error) {
	if len(data) > maxKeySet {
		return nil, reject(CheckKeySet)
	}
	set := new(KeySet)
	seen, count, duplicate := map[string]bool{}, 0, false
	found := false
	ok := jsonwalk.Members(data, func(name string, v jsontext.Value) bool {
		if name != "keys" {
			return true
		}
		found = true
		return jsonwalk.Elements(v, func(v jsontext.Value) bool {
			if count++; count > maxKeys || v.Kind() != '{' {
				return false
			}
			k, usable := readKey(v)
			usable = usable && validKeyID(k.id)
			if k.id != "" {
				duplicate = duplicate || seen[k.id]
				seen[k.id] = true
			}
			if usable {
				set.keys = append(set.keys, k)
			} else if k.id != "" {
				set.unusable = append(set.unusable, k.id)
			}
			return true
		})
	})
	switch {
	case count > maxKeys:
		return nil, reject(CheckTooMany)
	case !ok || !found:
		return nil, reject(CheckKeySet)
	case duplicate:
		return nil, reject(CheckDuplicate)
	case len(set.keys) == 0:
		return nil, reject(CheckNoKey)
	}
	return set, nil
}

// readKey reads one key of a set. Its kid is returned also where the key is
// not usable.
func readKey(v jsontext.Value) (k key, usable bool) {
	var kty, crv, x, use, alg string
	var kid, endorsement string
	form := true // of the members that are read
	jsonwalk.Members(v, func(name string, v jsontext.Value) bool {
		into := map[string]*string{"kty": &kty, "crv": &crv, "x": &x, "use": &use, "alg": &alg, "kid": &kid, "endorsement": &endorsement}[name]
		if into != nil && !jsonwalk.Text(v, into) {
			form = false
		}
		return true
	})
	k = key{id: kid, endorsement: endorsement}
	if !form || kty != "OKP" || crv != "Ed25519" || use != "" && use != "sig" || alg != "" && alg != "EdDSA" {
		return k, false
	}
	k.public, usable = parsePublicKey(x)
	return k, usable
}

// validKeyID accepts what can stand in a header, a file and a message: 1 to 128
// characters of visible ASCII.
func validKeyID(kid string) bool {
	if kid == "" || len(kid) > maxKeyID {
		return false
	}
	for i := range len(kid) {
		if kid[i] <= ' ' || kid[i] > '~' {
			return false
		}
	}
	return true
}

// parsePublicKey reads the member x of a JWK. It refuses what Go's verifier
// would take: an encoding that is not the point's one canonical form (RFC 8032
// §5.1.3), and a point of small order, under which one signature fits many
// messages.
func parsePublicKey(x string) (ed25519.PublicKey, bool) {
	if len(x) != base64.RawURLEncoding.EncodedLen(ed25519.PublicKeySize) || !strictBase64URL(x) {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil {
		return nil, false
	}
	p, err := new(edwards25519.Point).SetBytes(raw)
	if err != nil || string(p.Bytes()) != string(raw) {
		return nil, false
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, false
	}
	return raw, true
}

// ParseOfflineRoot reads the public root key of offline licences, as config.yaml
// has it: the member x of a JWK, or the whole JWK. The error is
// carl.config.invalid.
func ParseOfflineRoot(s string) (ed25519.PublicKey, error) {
	if root, ok := parsePublicKey(s); ok {
		return root, nil
	}
	private := false // which has no business in a config
	whole := jsonwalk.Members([]byte(s), func(name string, _ jsontext.Value) bool {
		private = private || name == "d"
		return true
	})
	if k, usable := readKey(jsontext.Value(s)); whole && !private && usable {
		return k.public, nil
	}
	return nil, fault.New(fault.ConfigInvalid, "offline_root is not an Ed25519 public key").
		WithHint("set it to the member x of the issuer's public JWK: 43 characters of base64url")
}

// find is the set's keyring.
func (s *KeySet) find(kid string) ed25519.PublicKey {
	for i := range s.keys {
		if s.keys[i].id == kid {
			return s.keys[i].public
		}
	}
	return nil
}

// IsThumbprint reports whether s can be the thumbprint of a key.
func IsThumbprint(s string) bool {
	return len(s) == base64.RawURLEncoding.EncodedLen(sha256.Size) && strictBase64URL(s)
}

// Thumbprint is the JWK thumbprint of an Ed25519 key, in base64url (RFC 7638
// §3, RFC 8037 §2 and A.3): what a person compares.
func Thumbprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
