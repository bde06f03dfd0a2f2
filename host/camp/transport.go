package camp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"carl.camp/carl/host/fault"
)

const (
	// maxFields bounds status line and fields of an answer, in bytes; servers send less than 8 KiB.
	maxFields = 64 << 10
	// maxCAFile bounds the file of certificates: the whole web's roots take 250 KiB.
	maxCAFile = 4 << 20
)

var (
	errOffline     = errors.New("carl is offline")
	errNotLoopback = errors.New("plain http is for loopback addresses only, and the name leads to another")
)

// newTransport makes the connections of a client.
func newTransport(o ClientOptions, resolver *net.Resolver) (*http.Transport, error) {
	proxy, err := parseProxy(o.Proxy)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(o.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := newDialer(o.URL, resolver)
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if o.Offline {
				return nil, errOffline
			}
			conn, err := dialer.DialContext(ctx, network, address)
			if err == nil && ctx.Value(patience{}) != nil {
				conn = &patient{Conn: conn, closed: make(chan struct{})}
			}
			return conn, err
		},
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			RootCAs:    roots,
		},
		TLSHandshakeTimeout: callTimeout,
		DisableCompression:  true,
		// What a server sends on a connection that waits, net/http prints to
		// the standard error, word for word. And calls are many minutes apart.
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxFields,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	// What is on this machine is not another machine's to pass on, all the
	// less in plain http.
	if proxy != nil && !o.URL.Loopback() {
		t.Proxy = http.ProxyURL(proxy)
		// Without this, the error of a refusal is the proxy's own text.
		t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode != http.StatusOK {
				return proxyRefusal(resp.StatusCode)
			}
			return nil
		}
	}
	return t, nil
}

// newDialer makes what opens the connections to u. net/http does not end a dial
// or a handshake with the call that began it, so each has a bound of its own.
func newDialer(u URL, resolver *net.Resolver) *net.Dialer {
	d := &net.Dialer{Timeout: callTimeout, Resolver: resolver}
	if strings.HasPrefix(u.Origin(), "http://") {
		d.Control = loopbackOnly
	}
	return d
}

// patience is the key of a context whose connections are patient.
type patience struct{}

// linger is how long an answer is looked for that came before the connection
// failed: it is here already, or on its way.
const linger = time.Second

// patient is a connection on which a long body is sent. Who refuses it may
// answer, and hang up without reading the rest; to net/http the failed write
// comes first, and the answer is lost. So it is told of it late.
type patient struct {
	net.Conn
	once   sync.Once
	closed chan struct{} // closed by Close
}

func (p *patient) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	if err != nil {
		t := time.NewTimer(linger)
		defer t.Stop()
		select {
		case <-p.closed:
		case <-t.C:
		}
	}
	return n, err
}

func (p *patient) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Conn.Close()
}

// loopbackOnly refuses the connection to an address that a name led to, before
// it is made.
func loopbackOnly(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !to.Addr().Unmap().IsLoopback() {
		return errNotLoopback
	}
	return nil
}

// proxyRefusal is the status with which a proxy would not connect.
type proxyRefusal int

func (p proxyRefusal) Error() string { return fmt.Sprintf("the proxy answered %d", int(p)) }

// parseProxy reads camp.proxy. Errors do not hold the URL, which may hold a password.
func parseProxy(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fault.New(fault.ConfigInvalid, "camp.proxy: not a URL of the form http://host:port or https://host:port")
	}
	return u, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	invalid := func(why any) error {
		return fault.New(fault.ConfigInvalid, "camp.ca_file: %q cannot be used: %v", file, why)
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

// tooManyFields reports that an answer passed maxFields; net/http has no error value for it.
func tooManyFields(err error) bool {
	return err != nil && strings.Contains(err.Error(), "server response headers exceeded")
}

func unknownAuthority(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

// reason puts an error of the network into words. An error that is not known
// here is not quoted: it may hold what the peer sent.
func reason(err error) string {
	var (
		op      *net.OpError
		refusal proxyRefusal
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		netErr  net.Error
	)
	switch isOp := errors.As(err, &op); {
	case isOp && op.Op == "proxyconnect":
		return "at the proxy: " + reason(op.Err)
	case errors.As(err, &refusal):
		return refusal.Error()
	case errors.Is(err, errNotLoopback):
		return errNotLoopback.Error()
	case errors.As(err, &dns):
		return "the host could not be resolved"
	case errors.As(err, &host):
		return "TLS: the certificate is for another host"
	case unknownAuthority(err):
		return "TLS: the certificate is signed by an authority that is not trusted"
	case errors.As(err, &cert):
		return "TLS: the certificate is not valid"
	case errors.As(err, &record):
		return "TLS: it is not spoken there"
	case isOp && op.Op == "remote error":
		return "TLS: the other side ended it: " + strings.TrimPrefix(op.Err.Error(), "tls: ")
	case strings.HasPrefix(err.Error(), "tls: "):
		return "TLS: the handshake failed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "there is no way to its network"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer was complete"
	case errors.As(err, &netErr) && netErr.Timeout():
		return "no answer in time"
	case isOp:
		return "the connection failed"
	}
	return "no proper HTTP answer came"
}
