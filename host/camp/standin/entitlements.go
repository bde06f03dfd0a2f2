package standin

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The tiers, and what the higher one brings.
const (
	tierFree   = "free"
	tierPaid   = "paid"
	paidBrings = "train.slime.managed"
)

const (
	audience = "carl"
	// subject is the one account that there is.
	subject = "acct-standin"
	// tokenLife is how long a token is valid.
	tokenLife = 15 * time.Minute
	// maxToken bounds a token, in bytes, so that no grant makes one that carl
	// refuses: it takes 8 KiB, and a licence holds an install_id besides.
	maxToken = 7 << 10
	// maxGrants bounds the grants beside those of the tier.
	maxGrants = 64
	// maxGrantKey bounds the key of a grant; the longest known has 19 bytes.
	maxGrantKey = 128
	// maxSpan bounds every duration that can be asked for: longer than any
	// licence, and no time in a claim gets before 1970.
	maxSpan = 10 * 365 * 24 * time.Hour
)

// Tiers returns the tiers there are, the lower one first.
func Tiers() []string { return []string{tierFree, tierPaid} }

func checkTier(tier string) error {
	if !slices.Contains(Tiers(), tier) {
		return illegal(fmt.Sprintf("%.40q is not a tier; the tiers are %s", tier, strings.Join(Tiers(), " and ")))
	}
	return nil
}

// label is how the platform's pages call a tier.
func label(tier string) string {
	switch tier {
	case tierFree:
		return "Free"
	case tierPaid:
		return "Pro"
	}
	return tier
}

// grant is one thing that the token's owner may do. Times are seconds.
type grant struct {
	Key       string `json:"key"`
	GrantedAt int64  `json:"granted_at"`
	ExpiresAt int64  `json:"expires_at,omitzero"` // 0 is never
}

func isGrantKey(s string) bool {
	if s == "" || len(s) > maxGrantKey {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("._-", c) < 0 {
			return false
		}
	}
	return true
}

// checkEnds checks after which time a grant ends.
func checkEnds(d time.Duration) error {
	if d < time.Second || d > maxSpan {
		return illegal(fmt.Sprintf("a grant ends after 1s to %v; without a time it does not end", maxSpan))
	}
	return nil
}

func (st *state) find(key string) (at int, found bool) {
	return slices.BinarySearchFunc(st.Grants, key, func(g grant, key string) int { return strings.Compare(g.Key, key) })
}

// grant grants key for a time, 0 for good. What has ended makes room.
func (st *state) grant(key string, ends time.Duration, now time.Time) error {
	if !isGrantKey(key) {
		return illegal(fmt.Sprintf("%.40q is not the key of a grant, which is 1 to %d characters of a-z, 0-9, point, hyphen and underscore", key, maxGrantKey))
	}
	if ends != 0 {
		if err := checkEnds(ends); err != nil {
			return err
		}
	}
	st.Grants = slices.DeleteFunc(st.Grants, func(g grant) bool { return g.ended(now.Unix()) })
	g := grant{Key: key, GrantedAt: now.Unix()}
	if ends != 0 {
		g.ExpiresAt = now.Add(ends).Unix()
	}
	if at, found := st.find(key); found {
		st.Grants[at] = g
	} else {
		st.Grants = slices.Insert(st.Grants, at, g)
	}
	if len(st.Grants) > maxGrants {
		return illegal(fmt.Sprintf("there are %d grants, which is all that there may be; revoke one first", maxGrants))
	}
	iss := strings.Repeat("i", maxIssuer)
	if len(st.token(st.claims(iss, st.Tier, now.Unix(), now.Unix(), now.Unix()))) > maxToken {
		return illegal(fmt.Sprintf("the token would be longer than %d bytes; revoke a grant first", maxToken))
	}
	return nil
}

// revoke takes back what grant gave.
func (st *state) revoke(key string, now time.Time) error {
	at, found := st.find(key)
	if !found || st.Grants[at].ended(now.Unix()) {
		if st.Tier == tierPaid && key == paidBrings {
			return illegal(fmt.Sprintf("%s comes with the tier %s, and goes with it", key, st.Tier))
		}
		return illegal(fmt.Sprintf("%.40q is not granted", key))
	}
	st.Grants = slices.Delete(st.Grants, at, at+1)
	return nil
}

func (g grant) ended(now int64) bool { return g.ExpiresAt != 0 && g.ExpiresAt <= now }

// granted is what the owner of a tier since then may do now, sorted by key. A
// grant of one's own stands before what the tier brings under the same key.
func (st *state) granted(tier string, since, now int64) []grant {
	var list []grant
	for _, g := range st.Grants {
		if !g.ended(now) {
			list = append(list, g)
		}
	}
	if tier == tierPaid && !slices.ContainsFunc(list, func(g grant) bool { return g.Key == paidBrings }) {
		list = append(list, grant{Key: paidBrings, GrantedAt: since})
	}
	slices.SortFunc(list, func(a, b grant) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// claims is the payload of a token and of a licence (RFC 7519 §4, with private
// claims of the platform's). Times are whole seconds.
type claims struct {
	Iss          string  `json:"iss"`
	Aud          string  `json:"aud"`
	Sub          string  `json:"sub"`
	Jti          string  `json:"jti"`
	Iat          int64   `json:"iat"`
	Nbf          int64   `json:"nbf"`
	Exp          int64   `json:"exp"`
	Tier         string  `json:"tier"`
	TierLabel    string  `json:"tier_label"`
	Entitlements []grant `json:"entitlements"`
	// InstallID is in licences for one installation only.
	InstallID string `json:"install_id,omitzero"`
}

// claims says what the owner of tier may do now, as of iat and until exp.
func (st *state) claims(iss, tier string, now, iat, exp int64) claims {
	since := iat
	if tier == st.Tier {
		since = st.TierSince
	}
	c := claims{
		Iss: iss, Aud: audience, Sub: subject, Jti: newID(),
		Iat: iat, Nbf: iat, Exp: exp,
		Tier: tier, TierLabel: label(tier),
		Entitlements: st.granted(tier, since, now),
	}
	for i := range c.Entitlements {
		// No platform could have known then what is granted later.
		c.Entitlements[i].GrantedAt = min(c.Entitlements[i].GrantedAt, iat)
	}
	return c
}

// newID is a jti: unique, and of one length.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (st *state) token(c claims) string {
	k := st.signing()
	return compact(k.Seed, k.KID, "JWT", c)
}

// entitlements is the answer to the call.
type entitlements struct {
	OK        bool   `json:"ok"`
	Token     string `json:"token"`
	ExpiresIn int    `json:"expires_in"` // seconds
	Tier      string `json:"tier"`
	TierLabel string `json:"tier_label"`
}

// entitlements signs a token, unless another status than 200 was asked for.
func (i *issuer) entitlements() (doc entitlements, status int) {
	now := i.clock()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.status != 200 {
		return doc, i.status
	}
	i.signed++
	c := i.state.claims(i.iss, i.state.Tier, now.Unix(), now.Add(-i.ago).Unix(), now.Add(tokenLife).Unix())
	return entitlements{
		OK:        true,
		Token:     i.state.token(c),
		ExpiresIn: int(tokenLife / time.Second),
		Tier:      c.Tier,
		TierLabel: c.TierLabel,
	}, 200
}

// getEntitlements answers what the token's owner may do, signed.
func (s *Server) getEntitlements(*call) answer {
	doc, status := s.issuer.entitlements()
	if status != 200 {
		return s.failure(status, "this status was asked for with /dev/entitlements")
	}
	return reply(200, doc)
}
