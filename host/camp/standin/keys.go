package standin

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxPublished is how many keys carl takes in one set.
	maxPublished = 16
	// maxRetired bounds how many keys that were published once are shown.
	maxRetired = 16
	// kidPrefix begins every kid; a number from 1 follows.
	kidPrefix = "camp-"
	// maxKID bounds that number: more rotations than anybody makes, and far from overflow.
	maxKID = 1 << 30
)

// Rotation is a way to change the keys.
type Rotation string

const (
	// AddKey publishes a new key beside the old ones. It signs from now on,
	// and carries an endorsement of the key that signed before.
	AddKey Rotation = "add"
	// RetireKeys leaves only the signing key published.
	RetireKeys Rotation = "retire"
	// ReplaceKeys publishes a new key with a new kid and no endorsement, and
	// none of the others any more.
	ReplaceKeys Rotation = "replace"
	// SwapKey puts a new key under the kid of the signing one, which is what
	// an attacker, or a platform that lost its key, looks like.
	SwapKey Rotation = "swap"
)

// Key is what can be known of a signing key.
type Key struct {
	KID string `json:"kid"`
	// JKT is the JWK thumbprint (RFC 7638), base64url.
	JKT string `json:"jkt"`
	// Signing marks the one key that signs.
	Signing bool `json:"signing"`
	// Published marks the keys of the key set.
	Published bool `json:"published"`
}

// key is an Ed25519 key of the key set, as keys.json holds it.
type key struct {
	KID         string `json:"kid"`
	X           b64    `json:"x"`
	Published   bool   `json:"published,omitzero"`
	Endorsement string `json:"endorsement,omitzero"`
	// Seed is the private half (RFC 8032 §5.1.5). Only the signing key has
	// it: what signs no more need not be kept.
	Seed b64 `json:"seed,omitzero"`
}

func newSeed() b64 {
	seed := make(b64, ed25519.SeedSize)
	rand.Read(seed) // never fails
	return seed
}

// public is the public half that belongs to a seed.
func public(seed b64) b64 {
	return b64(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}

func newKey(number int) key {
	seed := newSeed()
	return key{KID: kidPrefix + strconv.Itoa(number), X: public(seed), Published: true, Seed: seed}
}

// number is the number in a kid, or 0 where it is not a kid of the stand-in's.
func number(kid string) int {
	digits, ok := strings.CutPrefix(kid, kidPrefix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > maxKID || strconv.Itoa(n) != digits {
		return 0
	}
	return n
}

// endorsement is what the signing key says of the one that follows it.
type endorsement struct {
	KID string `json:"kid"`
	JKT string `json:"jkt"`
}

const endorsementType = "carl-key+jwt"

func endorse(old, fresh key) string {
	return compact(old.Seed, old.KID, endorsementType, endorsement{fresh.KID, thumbprint(fresh.X)})
}

// signing is the key that signs: always the last.
func (st *state) signing() *key { return &st.Keys[len(st.Keys)-1] }

// rotate changes the keys.
func (st *state) rotate(how Rotation) error {
	old := *st.signing()
	next := number(old.KID) + 1
	if next > maxKID {
		return illegal("there is no kid left")
	}
	switch how {
	case AddKey:
		if st.published() == maxPublished {
			return illegal(fmt.Sprintf("%d keys are published, which is all that a set may have; retire the old ones first", maxPublished))
		}
		fresh := newKey(next)
		fresh.Endorsement = endorse(old, fresh)
		st.follow(fresh)
	case RetireKeys:
		st.withdraw(len(st.Keys) - 1)
	case ReplaceKeys:
		st.withdraw(len(st.Keys))
		st.follow(newKey(next))
	case SwapKey:
		last := st.signing()
		last.Published, last.Endorsement = false, ""
		st.follow(newKey(next - 1))
	default:
		return illegal(fmt.Sprintf("%.40q is not a way to change the keys; these are add, retire, replace and swap", how))
	}
	// The oldest go first, for the list is in the order of their making.
	tooMany := len(st.Keys) - st.published() - maxRetired
	st.Keys = slices.DeleteFunc(st.Keys, func(k key) bool {
		if k.Published || tooMany <= 0 {
			return false
		}
		tooMany--
		return true
	})
	return nil
}

// follow makes fresh the signing key.
func (st *state) follow(fresh key) {
	st.signing().Seed = nil
	st.Keys = append(st.Keys, fresh)
}

// withdraw takes the first n keys out of the key set.
func (st *state) withdraw(n int) {
	for i := range st.Keys[:n] {
		st.Keys[i].Published, st.Keys[i].Endorsement = false, ""
	}
}

func (st *state) published() int {
	n := 0
	for _, k := range st.Keys {
		if k.Published {
			n++
		}
	}
	return n
}

// jwk is a key as the key set shows it (RFC 8037 §2).
type jwk struct {
	KTY string `json:"kty"`
	CRV string `json:"crv"`
	KID string `json:"kid"`
	X   b64    `json:"x"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	// Endorsement is a member of the platform's own, which others ignore (RFC 7517 §4).
	Endorsement string `json:"endorsement,omitzero"`
}

// getJWKS answers the key set, the oldest key first.
func (s *Server) getJWKS(*call) answer {
	var doc struct {
		Keys []jwk `json:"keys"`
	}
	for _, k := range s.issuer.current().Keys {
		if k.Published {
			doc.Keys = append(doc.Keys, jwk{KTY: "OKP", CRV: "Ed25519", KID: k.KID, X: k.X, Use: "sig", Alg: "EdDSA", Endorsement: k.Endorsement})
		}
	}
	return reply(200, doc)
}

// Keys returns the keys there are, the oldest first: those that are published,
// and the last 16 that were.
func (s *Server) Keys() []Key {
	st := s.issuer.current()
	list := make([]Key, len(st.Keys))
	for i, k := range st.Keys {
		list[i] = Key{KID: k.KID, JKT: thumbprint(k.X), Signing: i == len(st.Keys)-1, Published: k.Published}
	}
	return list
}

// OfflineRoot returns the public half of the key that signs licences, as a
// JWK's member x has it.
func (s *Server) OfflineRoot() string { return public(s.issuer.current().OfflineRoot).String() }

// RotateKeys changes the keys, durably where there is a data folder. Tokens
// are signed by the new key from then on. Errors are *[fault.Error]:
// [fault.Usage] for another way than those four and for a key set that is
// full, [fault.IO].
func (s *Server) RotateKeys(how Rotation) error { return asFault(s.issuer.rotate(how)) }
