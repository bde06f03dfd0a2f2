package entitle

import (
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/jsonwalk"
)

const (
	// maxName bounds the names in a token: tiers, keys of features, subjects.
	maxName = 256
	// maxGrants bounds the entitlements of a token; 8 KiB hold few more.
	maxGrants = 256
	// lastSecond is the last that RFC 3339 can write: 9999-12-31T23:59:59Z.
	lastSecond = 253402300799
)

// readClaims reads the payload of a token whose signature was verified, and
// holds it against who may issue it and when. exp is not looked at.
func readClaims(payload []byte, issuers []string, now time.Time) (*Token, error) {
	t := new(Token)
	var seen struct{ iss, aud, sub, iat, exp, tier bool }
	meant := false
	ok := jsonwalk.Members(payload, func(name string, v jsontext.Value) bool {
		switch name {
		case "iss":
			seen.iss = true
			return claimText(v, &t.Issuer)
		case "aud":
			seen.aud = true
			meant = forCarl(v)
		case "sub":
			seen.sub = true
			return claimText(v, &t.Subject)
		case "iat":
			seen.iat = true
			return numericDate(v, &t.IssuedAt)
		case "exp":
			seen.exp = true
			return numericDate(v, &t.ExpiresAt)
		case "tier":
			seen.tier = true
			return claimText(v, &t.Tier)
		case "nbf":
			return absent(v) || numericDate(v, &t.NotBefore)
		case "jti":
			return absent(v) || claimText(v, &t.ID)
		case "tier_label":
			return absent(v) || jsonwalk.Text(v, &t.TierLabel) && len(t.TierLabel) <= maxName
		case "install_id":
			return absent(v) || claimText(v, &t.InstallID)
		case "entitlements":
			return absent(v) || grants(v, &t.Grants)
		}
		return true
	})
	if !ok || !(seen.iss && seen.aud && seen.sub && seen.iat && seen.exp && seen.tier) {
		return nil, reject(CheckClaims)
	}
	future := now.Unix() + int64(skew/time.Second)
	switch {
	case !meant:
		return nil, reject(CheckAudience)
	case !slices.Contains(issuers, t.Issuer):
		return nil, reject(CheckIssuer)
	case !t.NotBefore.IsZero() && t.NotBefore.Unix() > future, t.IssuedAt.Unix() > future:
		return nil, reject(CheckNotYet)
	}
	return t, nil
}

// absent tells a member that says nothing. Only optional ones may: several
// languages write null for what is not set.
func absent(v jsontext.Value) bool { return v.Kind() == 'n' }

// claimText reads a text that is not empty.
func claimText(v jsontext.Value, into *string) bool {
	return jsonwalk.Text(v, into) && *into != "" && len(*into) <= maxName
}

// forCarl reports whether aud, a text or a list of texts (RFC 7519 §4.1.3),
// names carl.
func forCarl(v jsontext.Value) bool {
	var s string
	if v.Kind() == '"' {
		return jsonwalk.Text(v, &s) && s == audience
	}
	found := false
	return jsonwalk.Elements(v, func(v jsontext.Value) bool {
		ok := jsonwalk.Text(v, &s)
		found = found || s == audience
		return ok
	}) && found
}

// numericDate reads seconds since 1970 (RFC 7519 §2), of which the fraction is dropped.
func numericDate(v jsontext.Value, into *time.Time) bool {
	if v.Kind() != '0' {
		return false
	}
	seconds, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || !(f >= 0 && f <= lastSecond) {
			return false
		}
		seconds = int64(f)
	}
	if seconds < 0 || seconds > lastSecond {
		return false
	}
	*into = time.Unix(seconds, 0).UTC()
	return true
}

func grants(v jsontext.Value, into *[]Grant) bool {
	return jsonwalk.Elements(v, func(v jsontext.Value) bool {
		if len(*into) == maxGrants {
			return false
		}
		var g Grant
		ok := jsonwalk.Members(v, func(name string, v jsontext.Value) bool {
			switch name {
			case "key":
				return claimText(v, &g.Key)
			case "granted_at":
				return absent(v) || moment(v, &g.GrantedAt)
			case "expires_at":
				return absent(v) || moment(v, &g.ExpiresAt)
			}
			return true
		})
		*into = append(*into, g)
		return ok && g.Key != ""
	})
}

// moment reads a time of a grant: seconds, as claims have them, or RFC 3339, as
// the rest of the platform's API has them.
func moment(v jsontext.Value, into *time.Time) bool {
	if v.Kind() == '0' {
		return numericDate(v, into)
	}
	var s string
	if !jsonwalk.Text(v, &s) {
		return false
	}
	t, err := time.Parse(time.RFC3339, s)
	*into = t.UTC()
	return err == nil && t.Unix() >= 0 // as seconds; and the zero time stands for no end
}
