// Package egress is the HTTP that plugins may do: the host sends, and the
// plugin gets what it was granted and not one thing more.
//
// # What is checked
//
// A request leaves only for a granted origin (scheme, host and port, equal in
// their one spelling). The same holds for every hop of a redirect, of which
// there are at most [MaxRedirects]. Each granted origin has connections of its
// own, which can dial that origin and nothing else: its name is resolved,
// every address of the answer is judged, and one that was judged is dialled,
// so that a name which changes its mind between check and use gains nothing.
// Loopback, private, link-local, multicast and metadata addresses are refused
// unless the grant names that very address or is [Grant.Private].
//
// # What is bounded
//
// Methods are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS. Request and
// response, their fields included, are bounded in bytes, and the whole of a
// request, redirects and body included, in time.
//
// # What is added and taken away
//
// Secrets are put into their header by the host, on hops to their own origin
// only, and scrubbed from everything that comes back (see [Client.Send]).
// Fields of a plugin that would steer the connection, the encoding or the
// credentials are dropped. No cookie is kept or passed, no proxy is taken from
// the environment, nothing is decompressed, and HTTP/1.1 over TLS 1.2 or later
// is all that is spoken.
package egress

import (
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"sync"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
)

const (
	// MaxRedirects is how many redirects one request follows. Real services need one or two.
	MaxRedirects = 5
	// DefaultMaxRequest is the request's bound, in bytes of the body: twice a full batch of events.
	DefaultMaxRequest = 8 << 20
	// DefaultMaxResponse is the response's bound, in bytes of the body: a
	// verdict for each event of a full batch takes a tenth of it.
	DefaultMaxResponse = 4 << 20
	// DefaultTimeout is the time for one request where the host names none.
	DefaultTimeout = 30 * time.Second
)

// Grant is one origin that a plugin may talk to.
type Grant struct {
	Origin Origin
	// Private lets the origin's name resolve to addresses of this machine and
	// of the networks around it. Without it only an origin that is itself
	// written as such an address reaches one, so that whoever owns a name on
	// the internet cannot point it at a neighbour. Cloud metadata services
	// stay closed: they give out credentials of the machine, and must be
	// granted by address.
	Private bool
}

// Secret is a credential that the host adds to requests for one origin. The
// plugin knows its name, never its value.
type Secret struct {
	Name string
	// Header is the field that carries it; [SecretHeader] says which may.
	Header string
	// Format is the field's value with {} where the secret goes, such as "Bearer {}".
	Format string
	// For is the one origin that gets it.
	For Origin
	// Value returns the secret, and is asked at each request that carries it.
	// It may be called from several goroutines.
	Value func() (string, error)
}

// Config is what one plugin was granted. The zero value of a bound means its default.
type Config struct {
	// Plugin is the plugin's name, for messages.
	Plugin  string
	Origins []Grant
	Secrets []Secret
	// MaxRequest and MaxResponse bound the bodies, in bytes. What a redirect
	// makes the host send again counts again.
	MaxRequest, MaxResponse int64
	// Timeout bounds a request as a whole. A plugin may ask for less.
	Timeout time.Duration
	// Proxy is the URL, http or https, of a proxy for everything but loopback
	// origins; "" for none. Behind a proxy it is the proxy that resolves
	// names, so the judgement of resolved addresses is the proxy's too.
	Proxy string
	// CAFile names a PEM file of certificates to trust beside the system's; "" for none.
	CAFile string
	// Offline makes every request fail before a name is looked up or a socket opened.
	Offline bool
	// Observe, when set, is told of every request after it ended, the refused
	// ones included. It is called from the goroutine that called Send.
	Observe func(Attempt)
}

// Attempt is what became of one request, for people and tests. No part of it
// holds a secret, a path, a query or a body.
type Attempt struct {
	Method string
	// Origin is where the last hop went, or "" where the URL named none that could be read.
	Origin string
	// Hops is how many requests went out.
	Hops int
	// Sent and Received count bytes of bodies.
	Sent, Received int64
	// Status is the answer's, or 0 where there was none.
	Status int
	// Err is what the plugin got in place of an answer, or nil.
	Err *world.HTTPError
}

// Client sends what one plugin may send. It is safe for use by several goroutines.
type Client struct {
	routes                  map[Origin]*route
	maxRequest, maxResponse int64
	timeout                 time.Duration
	offline                 bool
	observe                 func(Attempt)

	mu   sync.Mutex
	sent []needle // guarded by mu; every secret that left, in the order it first did
}

// route is one granted origin: the only way to it, and what goes with it.
type route struct {
	dialer    *dialer
	secrets   []Secret
	transport *http.Transport
}

// New makes the client for one plugin. The error is a *[fault.Error]: with code
// [fault.PluginGrantDenied] when a grant or a secret is not legal, with
// [fault.ConfigInvalid] for Proxy and CAFile. Nothing is resolved or dialled.
func New(cfg Config) (*Client, error) {
	return newClient(cfg, net.DefaultResolver)
}

func newClient(cfg Config, resolver *net.Resolver) (*Client, error) {
	proxy, err := parseProxy(cfg.Proxy)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	c := &Client{
		routes:      map[Origin]*route{},
		maxRequest:  bound(cfg.MaxRequest, DefaultMaxRequest),
		maxResponse: bound(cfg.MaxResponse, DefaultMaxResponse),
		timeout:     cfg.Timeout,
		offline:     cfg.Offline,
		observe:     cfg.Observe,
	}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	refused := func(format string, args ...any) (*Client, error) {
		return nil, fault.New(fault.PluginGrantDenied, "plugin %s: %s", cfg.Plugin, fmt.Sprintf(format, args...))
	}
	for _, g := range cfg.Origins {
		if g.Origin == (Origin{}) {
			return refused("a grant without an origin")
		}
		if r := c.routes[g.Origin]; r != nil {
			// Named twice, an origin has the wider of its grants.
			r.dialer.grant.Private = r.dialer.grant.Private || g.Private
			continue
		}
		d := &dialer{grant: g, resolver: resolver, offline: cfg.Offline}
		c.routes[g.Origin] = &route{dialer: d, transport: newTransport(d, proxy, roots)}
	}
	for _, s := range cfg.Secrets {
		if !SecretHeader(s.Header) {
			return refused("secret %q may not travel in field %s", s.Name, quote(s.Header))
		}
		if err := CheckFormat(s.Format); err != nil {
			return refused("secret %q: %v", s.Name, err)
		}
		if s.Value == nil {
			return refused("secret %q has no value", s.Name)
		}
		r := c.routes[s.For]
		if r == nil {
			// Not granted, or no longer: then there is no request to put it in.
			continue
		}
		for _, other := range r.secrets {
			if textproto.CanonicalMIMEHeaderKey(other.Header) == textproto.CanonicalMIMEHeaderKey(s.Header) {
				return refused("secrets %q and %q want the same field of %s", other.Name, s.Name, s.For)
			}
		}
		r.secrets = append(r.secrets, s)
	}
	return c, nil
}

// maxBound is the most that a bound on a body may be set to; both bodies are held in memory.
const maxBound = 64 << 20

func bound(asked, otherwise int64) int64 {
	if asked <= 0 {
		return otherwise
	}
	return min(asked, maxBound)
}

// CloseIdle closes the connections that no request is using. The client stays usable.
func (c *Client) CloseIdle() {
	for _, r := range c.routes {
		r.transport.CloseIdleConnections()
	}
}
