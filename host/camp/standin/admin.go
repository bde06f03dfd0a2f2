package standin

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SetTier sets what the token's owner has paid for, one of [Tiers], durably
// where there is a data folder. Errors are *[fault.Error]: [fault.Usage] for
// another one, [fault.IO].
func (s *Server) SetTier(tier string) error { return asFault(s.issuer.setTier(tier)) }

// Grant grants one thing more, beside what the tier brings, for a time of 1 s
// to 10 years, or for good with 0; a grant of that key that is there already is
// replaced. It is durable where there is a data folder. Errors are
// *[fault.Error]: [fault.Usage] for a key that is none (1 to 128 characters of
// [a-z0-9._-]), for another time, and for more than 64 grants or a token of
// more than 7 KiB, [fault.IO].
func (s *Server) Grant(key string, ends time.Duration) error {
	return asFault(s.issuer.grant(key, ends))
}

// Revoke takes back what Grant gave, durably where there is a data folder.
// Errors are *[fault.Error]: [fault.Usage] for what was not granted or comes
// with the tier, [fault.IO].
func (s *Server) Revoke(key string) error { return asFault(s.issuer.revoke(key)) }

// AnswerEntitlements answers the entitlements with this status from now on,
// until it is called with 200 or the stand-in ends. The error is a
// *[fault.Error] with code [fault.Usage] for a status that is neither 200 nor
// from 400 to 599.
func (s *Server) AnswerEntitlements(status int) error {
	return asFault(s.issuer.answerEntitlements(status))
}

// IssuedAgo lets tokens look as if they were issued d ago, until it is called
// with 0 or the stand-in ends: iat and nbf are moved back, and exp stays 15
// minutes ahead. The error is a *[fault.Error] with code [fault.Usage] for a d
// below 0 or beyond 10 years.
func (s *Server) IssuedAgo(d time.Duration) error { return asFault(s.issuer.issuedAgo(d)) }

// account is what the calls that change it answer: what the next token will say.
type account struct {
	Tier      string `json:"tier"`
	TierLabel string `json:"tier_label"`
	// Entitlements are as in the token.
	Entitlements []grant `json:"entitlements"`
	// Status is what the entitlements are answered with.
	Status    int    `json:"status"`
	IssuedAgo string `json:"issued_ago"` // a duration of Go's
}

func (i *issuer) account() account {
	now := i.clock()
	i.mu.Lock()
	defer i.mu.Unlock()
	iat := now.Add(-i.ago).Unix()
	c := i.state.claims(i.iss, i.state.Tier, now.Unix(), iat, iat)
	return account{c.Tier, c.TierLabel, c.Entitlements, i.status, i.ago.String()}
}

func (s *Server) postTier(c *call) answer {
	return s.changed(c, nil, func(url.Values) error { return s.issuer.setTier(c.rest) })
}

func (s *Server) postGrant(c *call) answer {
	return s.changed(c, []string{"for"}, func(members url.Values) error {
		if !members.Has("for") {
			return s.issuer.grant(c.rest, 0)
		}
		ends, err := parseSpan(members.Get("for"))
		if err != nil {
			return err
		}
		if err := checkEnds(ends); err != nil {
			return err
		}
		return s.issuer.grant(c.rest, ends)
	})
}

func (s *Server) postRevoke(c *call) answer {
	return s.changed(c, nil, func(url.Values) error { return s.issuer.revoke(c.rest) })
}

func (s *Server) postEntitlements(c *call) answer {
	return s.changed(c, nil, func(url.Values) error {
		status, err := strconv.Atoi(c.rest)
		if err != nil || strconv.Itoa(status) != c.rest {
			return illegal(fmt.Sprintf("%.40q is not a status", c.rest))
		}
		return s.issuer.answerEntitlements(status)
	})
}

func (s *Server) postIssued(c *call) answer {
	return s.changed(c, nil, func(url.Values) error {
		d, err := parseSpan(c.rest)
		if err != nil {
			return err
		}
		return s.issuer.issuedAgo(d)
	})
}

func (s *Server) postKeys(c *call) answer {
	if _, err := c.only(); err != nil {
		return refuseChange(err)
	}
	if err := s.issuer.rotate(Rotation(c.rest)); err != nil {
		return refuseChange(err)
	}
	return s.getKeys(c)
}

func (s *Server) getKeys(*call) answer {
	return reply(200, struct {
		Keys        []Key  `json:"keys"`
		OfflineRoot string `json:"offline_root"`
		ReceiptKey  string `json:"receipt_key"`
	}{s.Keys(), s.OfflineRoot(), s.ReceiptKey()})
}

// changed makes a change that may take the named members of a query, and
// answers what it led to.
func (s *Server) changed(c *call, names []string, change func(url.Values) error) answer {
	members, err := c.only(names...)
	if err == nil {
		err = change(members)
	}
	if err != nil {
		return refuseChange(err)
	}
	return reply(200, s.issuer.account())
}

// refuseChange is the answer where a change was not made.
func refuseChange(err error) answer {
	var bad illegal
	if errors.As(err, &bad) {
		return refuse(422, "invalid_value", string(bad))
	}
	return refuse(500, "storage", "the change could not be stored")
}

// only reads the query of a call that takes no body and, of a query, the named
// members, each once. What it does not know would be a mistake of the caller's
// that changed nothing.
func (c *call) only(names ...string) (url.Values, error) {
	if len(c.body) > 0 {
		return nil, illegal("the call takes no body")
	}
	members, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, illegal("the query is not one")
	}
	for name, values := range members {
		switch {
		case len(names) == 0:
			return nil, illegal("the call takes no query")
		case !slices.Contains(names, name):
			return nil, illegal(fmt.Sprintf("%.40q is no member of the query; it takes %s", name, strings.Join(names, ", ")))
		case len(values) > 1:
			return nil, illegal(name + " is there twice")
		}
	}
	return members, nil
}
