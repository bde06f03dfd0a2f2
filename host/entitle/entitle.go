// Package entitle decides which entitlements this installation has: it verifies
// what the platform signed, pins the keys that it signs with, keeps the verified
// token for when the platform cannot be asked, and says how far it can still be
// relied on. It opens no connection: what answers for the platform is a
// [Platform], and every file and the clock are handed in.
//
// # The token
//
// A compact JWS (RFC 7515 §7.1) of at most 8 KiB: three segments of base64url
// without padding, each decoded strictly, since the decoders in use skip line
// feeds and the idle bits of a last character.
//
//	header   {"alg":"EdDSA","kid":"camp-1","typ":"JWT"}
//	payload  {"iss":"https://carl.camp","aud":"carl","sub":"u1","iat":1764230400,
//	          "exp":1764231300,"tier":"paid","entitlements":[{"key":"train.slime.managed"}]}
//
// The header: alg is EdDSA (RFC 8037, with Ed25519); kid names one active
// pinned key; typ is absent or JWT; no jwk, jku, x5*, crit or b64, each of which
// would let the token say how it wants to be verified. The claims iss, aud, sub,
// iat, exp and tier are required; nbf, jti, tier_label and entitlements are not.
// Names are case-sensitive and none may be there twice. Times are seconds
// (NumericDate, RFC 7519 §2); exp and nbf, and an iat in the future, have 5
// minutes of tolerance, inclusive.
//
// A licence for a site that never asks the network is the same with typ
// carl-offline+jwt, any kid or none, an optional install_id, and the signature
// of the offline root key.
//
// # Why a token was refused
//
// Every refusal reads the same: carl.entitlements.signature_invalid. Whoever
// forges tokens learns nothing from it; errors.As with a *[Rejection] tells the
// operator's own debug log which check it was.
//
// # Files
//
// All have mode 0600 from the moment they exist, are replaced atomically and
// durably, and begin with "v":1.
//
//	entitlements.json  the token and the licence themselves, never a parsed tier;
//	                   both are verified again at each load
//	jwks_pin.json      the keys that were accepted, and those that were withdrawn
//	clock.json         the latest time that was seen: the high-water mark
//	witness.json       SHA-256 of the two first, and the mark again
//
// A token says itself what it grants and when it was issued. What it cannot say
// is that another has taken its place, that the platform has since refused, or
// that it was checked with the platform's own keys; the witness says that. So an
// edited, exchanged or restored older file is noticed, and no change of the
// first three files, in any combination, raises a tier or a lifetime. Whoever
// also forges the witness has forged the home as a whole, and could as well
// start a new one: local gates advise an honest user.
//
// Writing a file puts its new hash beside the old one into the witness, replaces
// the file, and then drops the old hash, so that a crash at any moment leaves a
// pair that fits. When grace ends, or a token says less, the old hash goes first.
package entitle

import (
	"context"

	"carl.camp/carl/host/fault"
)

// Check names one check that a token or a key set can fail. The names are
// static: nothing of the input is in them.
type Check string

// The checks, in the order in which they are made.
const (
	CheckForm      Check = "form"      // size, three segments, strict base64url
	CheckHeader    Check = "header"    // the header's JSON, and members that it may not have
	CheckAlgorithm Check = "algorithm" // alg is not EdDSA
	CheckType      Check = "type"      // typ is another kind of token's
	CheckKeyID     Check = "key id"    // kid names no active pinned key
	CheckSignature Check = "signature" // the signature does not fit the key
	CheckClaims    Check = "claims"    // the payload's JSON, and claims that are missing or of another type
	CheckIssuer    Check = "issuer"
	CheckAudience  Check = "audience"
	CheckExpired   Check = "expired"    // exp has passed
	CheckNotYet    Check = "not yet"    // nbf or iat is in the future
	CheckKeySet    Check = "key set"    // the set as a whole is not one
	CheckDuplicate Check = "duplicate"  // a kid is there twice in the set
	CheckNoKey     Check = "no key"     // the set has no key that can be used
	CheckTooMany   Check = "many keys"  // more keys than a set may have
	CheckInstallID Check = "install id" // the licence is for another installation
)

// Rejection is the cause of a refusal, for a debug log: errors.As finds it.
type Rejection struct{ Check Check }

func (r *Rejection) Error() string { return "the check that failed: " + string(r.Check) }

// reject is the one way in which a verification fails.
func reject(c Check) error {
	return &fault.Error{Code: fault.EntitlementsSignatureInvalid, Message: "entitlements: signature invalid", Err: &Rejection{c}}
}

// Platform is what a refresh asks. Its errors are *[fault.Error]: the codes
// [fault.CampUnauthorized] and [fault.EntitlementsRefused] end the grace of what
// is cached, no other does.
type Platform interface {
	// Token returns the signed token of who is logged in.
	Token(context.Context) (string, error)
	// Keys returns the platform's JSON Web Key Set, as it was served.
	Keys(context.Context) ([]byte, error)
}
