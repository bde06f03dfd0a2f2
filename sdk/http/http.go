// Package http sends requests through the host, which is a forwarder's only
// way to the network. The host checks scheme, host and port against what the
// operator granted, on the first request and on every redirect; it adds the
// credentials that the manifest names, and a plugin never sees one. It drops
// or refuses Host, Accept-Encoding, and hop-by-hop headers.
package http

// A Header is one field. Order is kept, and a name may occur twice.
type Header struct{ Name, Value string }

// A Request is what the plugin asks for.
type Request struct {
	// Method is GET, POST, PUT, PATCH, DELETE or HEAD.
	Method string
	// URL is absolute.
	URL     string
	Headers []Header
	Body    []byte
	// TimeoutMS is in milliseconds; 0 leaves it to the host, whose own limit holds in any case.
	TimeoutMS uint32
}

// A Response is what the destination answered, whatever its status.
type Response struct {
	Status  int
	Headers []Header
	Body    []byte
}

// Header returns the value of the first field of that name, whatever its
// case, and "" when there is none.
func (r *Response) Header(name string) string {
	for _, h := range r.Headers {
		if equalFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// equalFold compares as HTTP does: by the ASCII letters only.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// ErrorKind is why there is no response.
type ErrorKind uint8

// The kinds of [Error].
const (
	// Denied: the operator has not granted this; trying again will not help.
	Denied ErrorKind = iota
	// Timeout: the destination may have acted on the request all the same.
	Timeout
	// TooLarge: the response is larger than the host takes.
	TooLarge
	// Network: the connection failed, before or after the request was sent.
	Network
)

// An Error is why a request got no response.
type Error struct {
	Kind ErrorKind
	// Text says what was denied or what failed; "" for the other kinds.
	Text string
}

func (e *Error) Error() string {
	switch e.Kind {
	case Denied:
		return "denied: " + e.Text
	case Timeout:
		return "no answer in time"
	case TooLarge:
		return "the answer is larger than the host takes"
	}
	return e.Text
}

// Send sends a request and waits for the response. The error is an [*Error].
// The request's body may not change until Send returns.
func Send(r Request) (*Response, error) { return send(&r) }
