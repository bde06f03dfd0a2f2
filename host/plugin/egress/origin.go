package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	// maxURL bounds a URL that a plugin or a redirect names; common servers stop at 8 KiB.
	maxURL = 8 << 10
	// maxHost and maxLabel are DNS's own bounds (RFC 1035 §2.3.4).
	maxHost  = 253
	maxLabel = 63
)

// localhost is the one name that may be used with plain http. It is never
// looked up: RFC 6761 §6.3 gives it to the loopback interface.
const localhost = "localhost"

// Origin is scheme, host and port in their only spelling, so that two origins
// are the same exactly when they are == to each other. The zero Origin is no
// origin and matches nothing.
type Origin struct {
	scheme string
	host   string // lower case; an IPv6 address without its brackets
	port   uint16
	ip     netip.Addr // valid when host is an address
}

// ParseOrigin reads "scheme://host" or "scheme://host:port", as an operator
// writes it in a grant. Schemes are https, and http for a loopback address or
// localhost. Letter case is ignored and a default port filled in; every other
// variant spelling of a host (a trailing dot, an IPv4 address that is not four
// decimal numbers, an IPv4 address inside an IPv6 one, a zone, non-ASCII
// letters) is refused instead of being understood. The error echoes no input
// beyond the host.
func ParseOrigin(s string) (Origin, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Origin{}, errors.New("an origin is scheme://host:port")
	}
	if strings.ContainsAny(rest, "/?#\\") {
		return Origin{}, errors.New("an origin is scheme://host:port and has no path")
	}
	return makeOrigin(scheme, rest)
}

// String returns scheme://host:port, the port always given.
func (o Origin) String() string {
	if o == (Origin{}) {
		return ""
	}
	return o.scheme + "://" + o.address()
}

// Loopback reports whether o names an address of the loopback interface, or localhost.
func (o Origin) Loopback() bool {
	return o.host == localhost || o.ip.IsValid() && o.ip.IsLoopback()
}

// address is host:port as dialled.
func (o Origin) address() string {
	return o.authority() + ":" + strconv.Itoa(int(o.port))
}

// authority is the host as a URL and a Host field spell it, without a port.
func (o Origin) authority() string {
	if o.ip.Is6() {
		return "[" + o.host + "]"
	}
	return o.host
}

// hostField is the Host that a request carries: no port where it is the scheme's own.
func (o Origin) hostField() string {
	if o.port == defaultPort(o.scheme) {
		return o.authority()
	}
	return o.address()
}

func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

func makeOrigin(scheme, authority string) (Origin, error) {
	o := Origin{scheme: strings.ToLower(scheme)}
	if o.scheme != "https" && o.scheme != "http" {
		return Origin{}, errors.New("the scheme is neither https nor http")
	}
	if strings.Contains(authority, "@") {
		return Origin{}, errors.New("a user name or password before the host is not allowed")
	}
	host, port, err := splitPort(authority, defaultPort(o.scheme))
	if err != nil {
		return Origin{}, err
	}
	o.port = port
	if o.host, o.ip, err = parseHost(host); err != nil {
		return Origin{}, err
	}
	if o.scheme == "http" && !o.Loopback() {
		return Origin{}, fmt.Errorf("plain http is for loopback addresses only, and %q is none", o.host)
	}
	return o, nil
}

// splitPort separates host and port; the host of an IPv6 address keeps its brackets.
func splitPort(authority string, otherwise uint16) (host string, port uint16, err error) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return authority, otherwise, nil
	}
	host, digits := authority[:i], authority[i+1:]
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != digits {
		return "", 0, errors.New("the port is not a number from 1 to 65535")
	}
	return host, uint16(n), nil
}

func parseHost(host string) (string, netip.Addr, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		if !ok || err != nil || !ip.Is6() || ip.Is4In6() || ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
			return "", netip.Addr{}, errors.New("what stands in brackets is not an IPv6 address that can be reached")
		}
		return ip.String(), ip, nil
	}
	host = strings.ToLower(host)
	if err := checkName(host); err != nil {
		return "", netip.Addr{}, err
	}
	// A last label that starts like a number makes the whole an IPv4 address
	// for somebody's resolver (127.1, 0x7f.1, 2130706433): there is one
	// spelling of those, or none.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last[0] < '0' || last[0] > '9' {
		return host, netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsUnspecified() || ip.IsMulticast() || ip == broadcast {
		return "", netip.Addr{}, fmt.Errorf("%q is not an IPv4 address that can be reached", host)
	}
	return host, ip, nil
}

func checkName(host string) error {
	if host == "" {
		return errors.New("the host is missing")
	}
	if len(host) > maxHost {
		return errors.New("the host is longer than DNS allows")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return errors.New("the host has an empty label or a trailing dot")
		}
		if len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("the host has a label that DNS does not allow")
		}
		for i := range len(label) {
			c := label[i]
			switch {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			case c >= 0x80:
				return errors.New("the host has letters beyond ASCII: write it in its xn-- form")
			default:
				return errors.New("the host has a character that no host name has")
			}
		}
	}
	return nil
}

// parseURL reads a URL of a plugin or of a Location and returns it together
// with its origin. The URL it returns is made of parts that were checked, with
// the origin's one spelling of the host, and without a fragment.
func parseURL(s string) (*url.URL, Origin, error) {
	if len(s) > maxURL {
		return nil, Origin{}, fmt.Errorf("the URL is longer than %d bytes", maxURL)
	}
	for i := range len(s) {
		// url.Parse takes what others read differently: a backslash is a
		// slash to browsers, and a space ends the request line.
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, Origin{}, errors.New("the URL has a character that must be percent-encoded")
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Scheme == "" {
		return nil, Origin{}, errors.New("not an absolute URL")
	}
	if u.User != nil {
		return nil, Origin{}, errors.New("a user name or password in the URL is not allowed")
	}
	o, err := makeOrigin(u.Scheme, u.Host)
	if err != nil {
		return nil, Origin{}, err
	}
	u.Scheme, u.Host = o.scheme, o.address()
	u.Fragment, u.RawFragment = "", ""
	return u, o, nil
}
