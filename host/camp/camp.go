// Package camp knows the platform, carl.camp: where its calls are, which
// addresses carl accepts for it, what a bearer token looks like, and what its
// refusals mean. API.md beside this file is the API as carl uses it.
package camp

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"carl.camp/carl/host/fault"
)

// DefaultURL is the platform's own address.
const DefaultURL = "https://carl.camp"

// TokenSecret is the name under which plugins are granted the platform's
// bearer token: header Authorization, format "Bearer {}".
const TokenSecret = "camp-token"

// Paths are where the calls of API.md are. Config changes them under camp.paths.
type Paths struct {
	JWKS         string
	Entitlements string
	Signals      string
	LedgerAppend string
	// Runs also serves Runs + "/" + id.
	Runs      string
	Resonants string
}

// DefaultPaths returns the platform's own paths.
func DefaultPaths() Paths {
	return Paths{
		JWKS:         "/.well-known/carl-camp-jwks.json",
		Entitlements: "/api/platform/entitlements",
		Signals:      "/api/axon/signals",
		LedgerAppend: "/api/ledger/append",
		Runs:         "/api/training/slime/runs",
		Resonants:    "/api/resonants",
	}
}

// Override returns p with the paths in overrides, keyed as camp.paths is:
// jwks, entitlements, signals, ledger_append, runs, resonants. A path starts
// with a slash and holds no query, fragment, dot segment or character that
// must be escaped. The error is a *[fault.Error] with code [fault.ConfigInvalid].
func (p Paths) Override(overrides map[string]string) (Paths, error) {
	fields := map[string]*string{
		"jwks":          &p.JWKS,
		"entitlements":  &p.Entitlements,
		"signals":       &p.Signals,
		"ledger_append": &p.LedgerAppend,
		"runs":          &p.Runs,
		"resonants":     &p.Resonants,
	}
	for name, path := range overrides {
		field, ok := fields[name]
		if !ok {
			return Paths{}, fault.New(fault.ConfigInvalid, "camp.paths: no call is named %q", name)
		}
		if !validPath(path) {
			return Paths{}, fault.New(fault.ConfigInvalid, "camp.paths.%s: %q is not a plain absolute path", name, path)
		}
		*field = path
	}
	return p, nil
}

// maxPath bounds a configured path; the longest of the platform's own has 32 bytes.
const maxPath = 256

func validPath(path string) bool {
	if len(path) < 2 || len(path) > maxPath || path[0] != '/' {
		return false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for i := range len(segment) {
			c := segment[i]
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			default:
				return false
			}
		}
	}
	return true
}

// URL is an address of the platform that carl accepts. The zero URL is none.
type URL struct {
	origin   string // scheme://host[:port]
	prefix   string // of every path; no slash at the end
	loopback bool
	name     string // the host
}

// maxURL bounds the configured address.
const maxURL = 2 << 10

// ParseURL reads camp.url: https, or http for a loopback address or
// localhost; a path in front of every call is allowed, user name, query and
// fragment are not. The error is a *[fault.Error] with code
// [fault.ConfigInvalid] that names what is wrong and echoes no password.
func ParseURL(s string) (URL, error) {
	u, err := parseURL(s)
	if err != nil {
		return URL{}, fault.New(fault.ConfigInvalid, "camp.url: %w", err).
			WithHint("set camp.url, or CARL_CAMP_URL, to an address such as %s", DefaultURL)
	}
	return u, nil
}

func parseURL(s string) (URL, error) {
	if len(s) > maxURL {
		return URL{}, errors.New("the address is too long")
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return URL{}, errors.New("the address holds a space or a character beyond ASCII")
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return URL{}, errors.New("not an address of the form https://host")
	}
	host := strings.ToLower(u.Hostname())
	switch {
	case u.User != nil:
		return URL{}, errors.New("a user name or password in the address is not allowed")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return URL{}, errors.New("the address has a query or a fragment")
	case !validHost(host):
		return URL{}, errors.New("the address has no proper host")
	case !validPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		return URL{}, errors.New("the port is not a number from 1 to 65535")
	}
	loopback := isLoopback(host)
	switch u.Scheme {
	case "https":
	case "http":
		if !loopback {
			return URL{}, errors.New("plain http is accepted for loopback addresses only")
		}
	default:
		return URL{}, errors.New("the scheme is neither https nor http")
	}
	prefix := strings.TrimRight(u.EscapedPath(), "/")
	if prefix != "" && !validPath(prefix) {
		return URL{}, errors.New("the path in the address is not a plain one")
	}
	origin := u.Scheme + "://" + strings.ToLower(u.Host)
	return URL{origin: origin, prefix: prefix, loopback: loopback, name: host}, nil
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// validHost accepts an address, or a name whose last label is no number: such
// a name is an IPv4 address to some resolvers and none to others.
func validHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == "" && !ip.Is4In6() && !ip.IsUnspecified() && !ip.IsMulticast()
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last[0] < '0' || last[0] > '9'
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// String returns the address without a slash at its end.
func (u URL) String() string { return u.origin + u.prefix }

// Origin returns scheme://host[:port], what a forwarder to the platform is granted.
func (u URL) Origin() string { return u.origin }

// Loopback reports whether the platform is on this machine.
func (u URL) Loopback() bool { return u.loopback }

// Named reports whether the host is the name localhost and not an address, in
// which case a grant for it must allow private addresses.
func (u URL) Named() bool { return u.name == "localhost" }

// Path returns the path of a call, one of [Paths], behind u's own path, as a
// forwarder that knows the origin is told it.
func (u URL) Path(path string) string { return u.prefix + path }

// Call returns the address of a call, one of [Paths].
func (u URL) Call(path string) string { return u.origin + u.prefix + path }
