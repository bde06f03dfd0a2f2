package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
)

const (
	// maxAddresses bounds how many addresses of one name are tried.
	maxAddresses = 8
	// minAttempt is the least time that one of several addresses gets.
	minAttempt = 2 * time.Second
	// handshakeTimeout bounds TLS alone, so that a peer that falls silent in
	// it does not use up a long request's time.
	handshakeTimeout = 15 * time.Second
	// maxIdle is how many connections to one origin wait for the next request;
	// a forwarder sends one at a time.
	maxIdle = 2
	// idleTimeout is for how long they do.
	idleTimeout = 60 * time.Second
	// maxResponseHeader bounds status line and fields of an answer, in bytes.
	maxResponseHeader = 64 << 10
	// maxCAFile bounds the file of certificates: the whole web's roots take 250 KiB.
	maxCAFile = 4 << 20
)

// dialer opens the connections of one route: to the addresses of one origin.
type dialer struct {
	grant    Grant
	resolver *net.Resolver
	offline  bool
}

func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if d.offline {
		return nil, denial("carl is offline")
	}
	o := d.grant.Origin
	if address != o.address() {
		return nil, denial(fmt.Sprintf("%s is granted, and something else was to be dialled", o))
	}
	ips, err := d.lookup(ctx)
	if err != nil {
		return nil, err
	}
	// One forbidden address condemns the answer: a mixed one is how a name is
	// moved to a neighbour, and no proper service has it.
	for _, ip := range ips {
		if err := d.grant.allows(ip); err != nil {
			return nil, err
		}
	}
	return dialFirst(ctx, ips, o.port)
}

func (d *dialer) lookup(ctx context.Context) ([]netip.Addr, error) {
	o := d.grant.Origin
	if o.ip.IsValid() {
		return []netip.Addr{o.ip}, nil
	}
	if o.host == localhost {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	ips, err := d.resolver.LookupNetIP(ctx, "ip", o.host)
	if err != nil {
		return nil, err
	}
	return ips, nil
}

// dialFirst tries the addresses in turn and divides what time there is among them.
func dialFirst(ctx context.Context, ips []netip.Addr, port uint16) (net.Conn, error) {
	if len(ips) > maxAddresses {
		ips = ips[:maxAddresses]
	}
	var first error
	for i, ip := range ips {
		var d net.Dialer
		if deadline, ok := ctx.Deadline(); ok {
			d.Timeout = max(time.Until(deadline)/time.Duration(len(ips)-i), minAttempt)
		}
		conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(ip.Unmap(), port).String())
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first == nil {
		first = &net.DNSError{Err: "no address", Name: "", IsNotFound: true}
	}
	return nil, first
}

// newTransport makes the connections of one route. With a proxy, it is the
// proxy alone that is dialled.
func newTransport(d *dialer, proxy *url.URL, roots *x509.CertPool) *http.Transport {
	t := &http.Transport{
		DialContext: d.dial,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			RootCAs:    roots,
		},
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	if proxy != nil && !d.grant.Origin.Loopback() {
		t.Proxy = http.ProxyURL(proxy)
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if d.offline {
				return nil, denial("carl is offline")
			}
			var plain net.Dialer
			return plain.DialContext(ctx, network, address)
		}
	}
	return t
}

// parseProxy reads Config.Proxy. Errors do not hold the URL, which may hold a password.
func parseProxy(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fault.New(fault.ConfigInvalid, "proxy: not a URL of the form http://host:port or https://host:port")
	}
	return u, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	invalid := func(why any) error {
		return fault.New(fault.ConfigInvalid, "ca_file: %q cannot be used: %v", file, why)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, invalid(err)
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err != nil {
		return nil, invalid(err)
	}
	if len(pem) > maxCAFile {
		return nil, invalid("it is too large")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		// A system without a list of its own leaves the file's certificates.
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, invalid("it holds no PEM certificate")
	}
	return pool, nil
}
