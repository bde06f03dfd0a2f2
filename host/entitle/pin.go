package entitle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/jsonwalk"
)

// maxPinned bounds the pinned keys, withdrawn ones included: with one key in
// 180 days they last for thirty years.
const maxPinned = 64

// Pin is the keys that were accepted as the platform's: all of its first set,
// and since then each that came while one of the others still stood. It is
// immutable.
type Pin struct {
	// URL is the platform's address when the first set was pinned, for people.
	URL string
	// PinnedAt is when the first set was pinned, CheckedAt when the platform's
	// set was last held against this one.
	PinnedAt, CheckedAt time.Time
	Keys                []PinnedKey
}

// PinnedKey is one pinned key.
type PinnedKey struct {
	ID      string
	Public  ed25519.PublicKey
	AddedAt time.Time
	// RemovedAt is zero while the key is active. A key that was withdrawn stays
	// as a tombstone, and never becomes active again.
	RemovedAt time.Time
}

// Active reports whether tokens may be signed with the key.
func (k PinnedKey) Active() bool { return k.RemovedAt.IsZero() }

// find is the pin's keyring.
func (p *Pin) find(kid string) ed25519.PublicKey {
	if p == nil {
		return nil
	}
	for i := range p.Keys {
		if p.Keys[i].ID == kid && p.Keys[i].Active() {
			return p.Keys[i].Public
		}
	}
	return nil
}

// newPin pins every usable key of a first set.
func newPin(set *KeySet, url string, now time.Time) *Pin {
	p := &Pin{URL: url, PinnedAt: now, CheckedAt: now}
	for _, k := range set.keys {
		p.Keys = append(p.Keys, PinnedKey{ID: k.id, Public: k.public, AddedAt: now})
	}
	return p
}

// follow returns the pin that follows p once the platform serves set:
//
//   - a pinned kid with another key, or with one that cannot be used, is a swap;
//   - no active key left is a replacement;
//   - a pinned key that is gone becomes a tombstone, for good, and neither its
//     kid nor its key comes back under another name;
//   - every other key of the set is added; in strict mode only where a key that
//     is active in p endorses it.
//
// The first two are carl.entitlements.jwks_stale, and p stands. The kids that
// were not let in are returned.
func (p *Pin) follow(set *KeySet, strict bool, now time.Time) (next *Pin, refused []string, err error) {
	next = &Pin{URL: p.URL, PinnedAt: p.PinnedAt, CheckedAt: now, Keys: slices.Clone(p.Keys)}
	left := 0
	for i := range next.Keys {
		k := &next.Keys[i]
		if !k.Active() {
			continue
		}
		switch served := set.find(k.ID); {
		case served != nil && !bytes.Equal(served, k.Public), slices.Contains(set.unusable, k.ID):
			return nil, nil, stale("the platform serves another key under the pinned id %q", k.ID)
		case served != nil:
			left++
		default:
			k.RemovedAt = now
		}
	}
	if left == 0 {
		return nil, nil, stale("the platform serves none of the pinned keys any more")
	}
	for _, k := range set.keys {
		if next.knows(k.id) {
			if next.find(k.id) == nil {
				refused = append(refused, k.id)
			}
			continue
		}
		if next.buried(k.public) || strict && !p.endorses(k) {
			refused = append(refused, k.id)
			continue
		}
		next.Keys = append(next.Keys, PinnedKey{ID: k.id, Public: k.public, AddedAt: now})
	}
	if len(next.Keys) > maxPinned {
		return nil, nil, stale("the platform has had more than %d keys", maxPinned)
	}
	return next, refused, nil
}

// repin returns the pin that holds once a person vouched for the keys with
// these thumbprints. In strict mode they alone become active, else the whole
// set. What else p knew becomes tombstones.
func (p *Pin) repin(set *KeySet, expect []string, strict bool, url string, now time.Time) (*Pin, error) {
	if len(expect) == 0 {
		return nil, fault.New(fault.Usage, "entitlements: no thumbprint was given, and nobody vouches for a key without one")
	}
	next := &Pin{URL: url, PinnedAt: now, CheckedAt: now}
	found := map[string]bool{}
	for _, k := range set.keys {
		jkt := Thumbprint(k.public)
		switch {
		case slices.Contains(expect, jkt):
			found[jkt] = true
		case strict, p != nil && (p.buried(k.public) || p.knows(k.id) && p.find(k.id) == nil):
			continue // nobody vouched for it by hand
		}
		next.Keys = append(next.Keys, PinnedKey{ID: k.id, Public: k.public, AddedAt: now})
	}
	for _, jkt := range expect {
		if !found[jkt] {
			return nil, stale("the platform serves no key with the thumbprint %q", jkt)
		}
	}
	if p != nil {
		next.Keys = append(next.Keys, p.bury(next, now)...)
	}
	return next, nil
}

// bury returns the keys of p that next does not have, as tombstones: as many as
// there is room for, those that were withdrawn last.
func (p *Pin) bury(next *Pin, now time.Time) []PinnedKey {
	var dead []PinnedKey
	for _, k := range p.Keys {
		if bytes.Equal(next.find(k.ID), k.Public) {
			continue
		}
		if k.Active() {
			k.RemovedAt = now
		}
		dead = append(dead, k)
	}
	slices.Reverse(dead) // of equals, the one that came last
	slices.SortStableFunc(dead, func(a, b PinnedKey) int { return b.RemovedAt.Compare(a.RemovedAt) })
	return dead[:min(len(dead), maxPinned-len(next.Keys))]
}

func (p *Pin) knows(kid string) bool {
	return slices.ContainsFunc(p.Keys, func(k PinnedKey) bool { return k.ID == kid })
}

// buried reports whether a key is a tombstone, under whichever kid.
func (p *Pin) buried(public ed25519.PublicKey) bool {
	return slices.ContainsFunc(p.Keys, func(k PinnedKey) bool { return !k.Active() && bytes.Equal(k.Public, public) })
}

// endorses reports whether an active key of p says of k that it is the
// platform's: a compact JWS with typ carl-key+jwt and the payload
// {"kid":…,"jkt":…} of the new key, in the member endorsement of its JWK.
func (p *Pin) endorses(k key) bool {
	_, payload, err := open(k.endorsement, typeEndorsement, p.find)
	if err != nil {
		return false
	}
	var kid, jkt string
	ok := jsonwalk.Members(payload, func(name string, v jsontext.Value) bool {
		switch name {
		case "kid":
			return jsonwalk.Text(v, &kid)
		case "jkt":
			return jsonwalk.Text(v, &jkt)
		}
		return true
	})
	return ok && kid == k.id && jkt == Thumbprint(k.public)
}

func stale(format string, args ...any) *fault.Error {
	return fault.New(fault.EntitlementsJWKSStale, "entitlements: "+format, args...)
}

// pinFile is jwks_pin.json.
type pinFile struct {
	V         int       `json:"v"`
	URL       string    `json:"url"`
	PinnedAt  time.Time `json:"pinned_at"`
	CheckedAt time.Time `json:"checked_at"`
	Keys      []pinLine `json:"keys"`
}

type pinLine struct {
	ID        string    `json:"kid"`
	X         string    `json:"x"`
	AddedAt   time.Time `json:"added_at"`
	RemovedAt time.Time `json:"removed_at,omitzero"`
}

func (p *Pin) file() *pinFile {
	f := &pinFile{V: 1, URL: p.URL, PinnedAt: p.PinnedAt, CheckedAt: p.CheckedAt}
	for _, k := range p.Keys {
		f.Keys = append(f.Keys, pinLine{k.ID, base64.RawURLEncoding.EncodeToString(k.Public), k.AddedAt, k.RemovedAt})
	}
	return f
}

// pin holds the file against what a pin can be.
func (f *pinFile) pin() (*Pin, bool) {
	p := &Pin{URL: f.URL, PinnedAt: f.PinnedAt, CheckedAt: f.CheckedAt}
	active := 0
	for _, line := range f.Keys {
		public, ok := parsePublicKey(line.X)
		// A kid is active once, and a key has it once.
		twice := slices.ContainsFunc(p.Keys, func(k PinnedKey) bool {
			return k.ID == line.ID && (k.Active() && line.RemovedAt.IsZero() || bytes.Equal(k.Public, public))
		})
		if !ok || !validKeyID(line.ID) || twice {
			return nil, false
		}
		if line.RemovedAt.IsZero() {
			active++
		}
		p.Keys = append(p.Keys, PinnedKey{line.ID, public, line.AddedAt, line.RemovedAt})
	}
	return p, active > 0 && len(p.Keys) <= maxPinned
}
