package egress

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"carl.camp/carl/host/world"
)

const (
	// maxFields bounds how many fields a plugin may set; HTTP clients set a dozen.
	maxFields = 64
	// maxRequestHeader bounds the names and values of those fields, in bytes. Servers stop at 8 to 32 KiB.
	maxRequestHeader = 32 << 10
	// userAgent is sent where the plugin names none.
	userAgent = "carl"
)

// methods are what a plugin may ask for. CONNECT would open a tunnel, TRACE
// would echo the credentials, and of the others no destination has need.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// hop is one request as it goes out, before the host adds what is its own.
type hop struct {
	method string
	url    *url.URL
	origin Origin
	header http.Header
	body   []byte
}

// firstHop checks all of a plugin's request but whether its origin is granted.
func firstHop(req world.Request) (*hop, error) {
	known := false
	for _, m := range methods {
		known = known || m == req.Method
	}
	if !known {
		return nil, fmt.Errorf("method %s is not one of %s", quote(req.Method), strings.Join(methods, ", "))
	}
	u, o, err := parseURL(req.URL)
	if err != nil {
		return nil, err
	}
	h := &hop{method: req.Method, url: u, origin: o, header: http.Header{}, body: req.Body}
	if len(req.Headers) > maxFields {
		return nil, fmt.Errorf("more than %d fields", maxFields)
	}
	size := 0
	for _, f := range req.Headers {
		if size += len(f.Name) + len(f.Value); size > maxRequestHeader {
			return nil, fmt.Errorf("fields of more than %d bytes", maxRequestHeader)
		}
		if !isToken(f.Name) {
			return nil, fmt.Errorf("%s is not the name of a field", quote(f.Name))
		}
		if !isFieldValue(f.Value) {
			return nil, fmt.Errorf("the value of field %s holds a character that no field may", quote(f.Name))
		}
		h.header.Add(f.Name, strings.Trim(f.Value, " \t"))
	}
	dropUnsafe(h.header)
	return h, nil
}

// dropUnsafe removes the fields that are the host's to set: those that steer
// the connection and the framing (RFC 9110 §7.6.1, also those that Connection
// names), the encoding of the answer, in which an echoed credential could not
// be found, and cookies. It is dropping and not a refusal because the HTTP
// clients inside plugins set many of them of their own accord.
func dropUnsafe(header http.Header) {
	for _, list := range header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			header.Del(textproto.TrimString(name))
		}
	}
	for name := range header {
		switch name {
		case "Host", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
			"Http2-Settings", "Content-Length", "Expect", "Accept-Encoding", "Cookie", "Cookie2":
			delete(header, name)
		default:
			if strings.HasPrefix(name, "Proxy-") {
				delete(header, name)
			}
		}
	}
}

// redirect returns the hop that an answer asks for, or nil when it is no redirect.
func (h *hop) redirect(status int, location string) (*hop, error) {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if location == "" {
		return nil, nil
	}
	ref, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("its Location is not a URL")
	}
	target := h.url.ResolveReference(ref)
	u, o, err := parseURL(target.String())
	if err != nil {
		return nil, err
	}
	next := &hop{method: h.method, url: u, origin: o, header: h.header.Clone(), body: h.body}
	// As browsers do it (Fetch standard, HTTP-redirect fetch): 303 always
	// means a GET, 301 and 302 do for a POST, 307 and 308 repeat the request.
	toGet := status == http.StatusSeeOther && h.method != "HEAD" ||
		(status == http.StatusMovedPermanently || status == http.StatusFound) && h.method == "POST"
	if toGet {
		next.method, next.body = "GET", nil
		for name := range next.header {
			if strings.HasPrefix(name, "Content-") {
				delete(next.header, name)
			}
		}
	}
	if o != h.origin {
		for name := range next.header {
			if isCredential(name) {
				delete(next.header, name)
			}
		}
	}
	return next, nil
}

// isCredential reports whether a field of a plugin may hold a credential of
// its own for the origin it addressed, going by the name.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	if name == "idempotency-key" {
		return false
	}
	for _, word := range []string{"auth", "cookie", "credential", "key", "passw", "secret", "session", "signature", "token"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return SecretHeader(name)
}

// isToken is the production token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// isFieldValue accepts what all servers read alike: visible ASCII, spaces and
// tabs. RFC 9110 §5.5 calls the rest obsolete.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '\t' && (c < ' ' || c > '~') {
			return false
		}
	}
	return true
}

// maxQuoted bounds what an error repeats of a plugin's own words.
const maxQuoted = 40

func quote(s string) string {
	if len(s) > maxQuoted {
		return fmt.Sprintf("%q…", s[:maxQuoted])
	}
	return fmt.Sprintf("%q", s)
}
