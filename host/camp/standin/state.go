package standin

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	stateVersion = 1
	// maxStateFile bounds keys.json: 32 keys of 600 bytes and 64 grants of 250.
	maxStateFile = 64 << 10
)

// state is what a stand-in says of the token's owner and what it signs that
// with, and the content of keys.json:
//
//	{
//	  "v": 1,
//	  "tier": "paid",
//	  "tier_since": 1795478400,
//	  "grants": [
//	    {"key": "train.slime.priority", "granted_at": 1795478400, "expires_at": 1795482000}
//	  ],
//	  "offline_root": "<seed>",
//	  "receipt_key": "<seed>",
//	  "keys": [
//	    {"kid": "camp-1", "x": "…"},
//	    {"kid": "camp-2", "x": "…", "published": true},
//	    {"kid": "camp-3", "x": "…", "published": true, "endorsement": "<jws>", "seed": "<seed>"}
//	  ]
//	}
//
// Times are seconds, as in claims. Keys are in the order of their making, and
// the last one signs. What is read must be, byte for byte, what would be written.
type state struct {
	V    int    `json:"v"`
	Tier string `json:"tier"`
	// TierSince is when the tier became this one: what it brings was granted then.
	TierSince   int64   `json:"tier_since"`
	Grants      []grant `json:"grants"` // sorted by key
	OfflineRoot b64     `json:"offline_root"`
	// ReceiptKey is missing in files from before there were receipts.
	ReceiptKey b64   `json:"receipt_key,omitzero"`
	Keys       []key `json:"keys"`
}

func newState(tier string, now int64) state {
	return state{V: stateVersion, Tier: tier, TierSince: now, OfflineRoot: newSeed(), ReceiptKey: newSeed(), Keys: []key{newKey(1)}}
}

// clone returns a state that can be changed while others read st. The bytes of
// keys are shared: nobody writes into them.
func (st state) clone() state {
	st.Grants, st.Keys = slices.Clone(st.Grants), slices.Clone(st.Keys)
	return st
}

// parseState reads the content of keys.json. Errors are those of
// [private.ParseJSON]; they echo nothing of data.
func parseState(data []byte) (state, error) {
	var st state
	if err := private.ParseJSON(data, &st); err != nil {
		return state{}, err
	}
	if why := st.problem(); why != "" {
		return state{}, &private.DamagedError{Why: why}
	}
	again, err := private.FormatJSON(st)
	if err != nil || !bytes.Equal(again, data) {
		return state{}, &private.DamagedError{Why: "it is not in the form in which it was written"}
	}
	return st, nil
}

// problem says what in st cannot have been written by a stand-in, or "".
func (st *state) problem() string {
	switch {
	case checkTier(st.Tier) != nil:
		return "its tier is none"
	case len(st.OfflineRoot) != ed25519.SeedSize:
		return "its offline root is none"
	case st.ReceiptKey != nil && len(st.ReceiptKey) != ed25519.SeedSize:
		return "its receipt key is none"
	case len(st.Grants) > maxGrants:
		return "it has too many grants"
	case len(st.Keys) == 0:
		return "it has no key"
	case st.published() > maxPublished || len(st.Keys)-st.published() > maxRetired:
		return "it has too many keys"
	}
	for i, g := range st.Grants {
		if !isGrantKey(g.Key) || i > 0 && st.Grants[i-1].Key >= g.Key {
			return fmt.Sprintf("its grant %d is not in order", i+1)
		}
	}
	kids := map[string]bool{}
	for i, k := range st.Keys {
		last := i == len(st.Keys)-1
		n := number(k.KID)
		switch {
		case n == 0 || i > 0 && n < number(st.Keys[i-1].KID) || k.Published && kids[k.KID]:
			return fmt.Sprintf("the kid of its key %d is not in order", i+1)
		case len(k.X) != ed25519.PublicKeySize || !last && k.Seed != nil:
			return fmt.Sprintf("its key %d is none", i+1)
		case last && (!k.Published || len(k.Seed) != ed25519.SeedSize || !bytes.Equal(public(k.Seed), k.X)):
			return "its last key cannot sign"
		case k.Endorsement != "" && !(k.Published && k.endorsed()):
			return fmt.Sprintf("the endorsement of its key %d is none of it", i+1)
		}
		kids[k.KID] = kids[k.KID] || k.Published
	}
	return ""
}

// endorsed reports whether k's endorsement is about k. Who signed it is for
// others to check: that key may be gone from the list.
func (k key) endorsed() bool {
	parts := strings.Split(k.Endorsement, ".")
	if len(parts) != 3 || parts[1] != encode(endorsement{k.KID, thumbprint(k.X)}) {
		return false
	}
	var h header
	head, err1 := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	sig, err2 := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err1 != nil || err2 != nil || len(sig) != ed25519.SignatureSize || json.Unmarshal(head, &h) != nil {
		return false
	}
	by := number(h.KID)
	return parts[0] == encode(header{Alg: "EdDSA", KID: h.KID, Typ: endorsementType}) && by > 0 && by < number(k.KID)
}

// readState reads the file path and reports whether it is there.
func readState(path string) (st state, found bool, err error) {
	data, err := private.ReadFile(path, maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, false, nil
	}
	if err != nil {
		return state{}, true, err
	}
	st, err = parseState(data)
	var later *private.TooNewError
	switch {
	case errors.As(err, &later):
		return state{}, true, fault.New(fault.IO, "stand-in: %s: %w", path, err).
			WithKept("the file was left as it is").WithHint("%s", later.Use)
	case err != nil:
		return state{}, true, fault.New(fault.IO, "stand-in: %s is damaged: %w", path, err).
			WithKept("the file was left as it is, and no keys were made in place of its own").
			WithHint("bring the file back; or move it away, and carl will take the new keys for an attack until `carl entitlements repin`")
	}
	return st, true, nil
}

func (st state) write(path string) error {
	data, err := private.FormatJSON(st)
	if err != nil {
		return err
	}
	return private.WriteFile(path, data)
}
