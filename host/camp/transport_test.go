package camp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
)

func file(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// secure starts a site whose certificate is for example.com and 127.0.0.1, and
// returns it with the file of its authority.
func secure(t testing.TB, handler http.HandlerFunc, change func(*httptest.Server)) (*site, string) {
	t.Helper()
	s := newSite(handler)
	if change != nil {
		change(s.Server)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, file(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// names starts a DNS server on loopback that answers every question with
// ip, or with no such name, and counts the questions.
func names(t testing.TB, ip string) (*net.Resolver, *atomic.Int64) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	asked := new(atomic.Int64)
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			asked.Add(1)
			conn.WriteTo(resolve(buf[:n], ip), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}, asked
}

// resolve makes the answer to one query (RFC 1035 §4).
func resolve(query []byte, ip string) []byte {
	at := 12
	for query[at] != 0 {
		at += 1 + int(query[at])
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	out := append([]byte{}, query[:at+5]...)
	binary.BigEndian.PutUint16(out[2:], 0x8580) // an authoritative response
	binary.BigEndian.PutUint32(out[8:], 0)
	if ip == "" {
		out[3] |= 3 // no such name
		return out
	}
	addr := netip.MustParseAddr(ip)
	if kind == 1 && addr.Is4() || kind == 28 && addr.Is6() {
		binary.BigEndian.PutUint16(out[6:], 1)
		out = append(out, 0xc0, 12)
		out = binary.BigEndian.AppendUint16(out, kind)
		out = binary.BigEndian.AppendUint16(out, 1)
		out = binary.BigEndian.AppendUint32(out, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(addr.BitLen()/8))
		out = append(out, addr.AsSlice()...)
	}
	return out
}

func TestUnknownName(t *testing.T) {
	resolver, _ := names(t, "")
	mustFail(t, named(t, options(t, "https://camp.test"), resolver), fault.EntitlementsNetworkUnavailable, "could not be resolved")
}

// A URL that is loopback by its name alone is held against the address that
// the name leads to.
func TestPlainHTTPGoesToLoopbackOnly(t *testing.T) {
	s := serve(t, platform)
	port := portOf(s.URL)
	for ip, ok := range map[string]bool{
		"127.0.0.1": true,
		// Linux connects it to loopback, so that a request would arrive.
		"0.0.0.0":          false,
		"::":               false,
		"10.0.0.1":         false,
		"192.0.2.1":        false,
		"169.254.169.254":  false,
		"::ffff:192.0.2.1": false,
		"fe80::1":          false,
		"2001:db8::1":      false,
	} {
		resolver, _ := names(t, ip)
		o := options(t, "http://localhost:"+port)
		o.URL.origin = "http://camp.test:" + port // localhost itself stands in the machine's own file
		before := len(s.requests())
		c := named(t, o, resolver)
		if ok {
			mustToken(t, c)
			continue
		}
		mustFail(t, c, fault.EntitlementsNetworkUnavailable, "loopback")
		if len(s.requests()) != before {
			t.Errorf("%s: a request arrived", ip)
		}
	}
	for address, ok := range map[string]bool{
		"127.0.0.1:80": true, "127.255.0.1:1": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true,
		"0.0.0.0:80": false, "128.0.0.1:80": false, "[::]:80": false, "[fe80::1%lo]:80": false, "localhost:80": false, "127.0.0.1": false, "": false,
	} {
		if err := loopbackOnly("tcp", address, nil); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	mustToken(t, client(t, options(t, "http://localhost:"+port)))
}

// With TLS, it is the certificate that says who answers.
func TestTLSMayGoAnywhere(t *testing.T) {
	s, ca := secure(t, platform, nil)
	resolver, _ := names(t, "127.0.0.1")
	o := options(t, "https://example.com:"+portOf(s.URL))
	o.CAFile = ca
	c := named(t, o, resolver)
	mustToken(t, c)
	if got := s.requests()[0].Host; got != "example.com:"+portOf(s.URL) {
		t.Errorf("the site saw the host %q", got)
	}
}

func TestTLS(t *testing.T) {
	const unavailable = fault.EntitlementsNetworkUnavailable
	t.Run("unknown authority", func(t *testing.T) {
		s, _ := secure(t, platform, nil)
		mustFail(t, client(t, options(t, s.URL)), unavailable, "authority", "`camp.ca_file`")
		if n := len(s.requests()); n != 0 {
			t.Errorf("%d requests arrived", n)
		}
	})
	t.Run("ca_file", func(t *testing.T) {
		s, ca := secure(t, platform, nil)
		o := options(t, s.URL)
		o.CAFile = ca
		mustToken(t, client(t, o))
	})
	t.Run("another host's certificate", func(t *testing.T) {
		s, ca := secure(t, platform, nil)
		resolver, _ := names(t, "127.0.0.1")
		o := options(t, "https://camp.test:"+portOf(s.URL))
		o.CAFile = ca
		mustFail(t, named(t, o, resolver), unavailable, "another host")
		if n := len(s.requests()); n != 0 {
			t.Errorf("%d requests arrived", n)
		}
	})
	t.Run("version 1.1", func(t *testing.T) {
		s, ca := secure(t, platform, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		})
		o := options(t, s.URL)
		o.CAFile = ca
		c := client(t, o)
		mustFail(t, c, unavailable, "TLS")
		// Go's own default may change, or be changed with GODEBUG.
		if c.transport.TLSClientConfig.MinVersion != tls.VersionTLS12 {
			t.Error("the least version is left to the default")
		}
	})
	t.Run("no HTTP/2", func(t *testing.T) {
		s, ca := secure(t, platform, func(s *httptest.Server) { s.EnableHTTP2 = true })
		o := options(t, s.URL)
		o.CAFile = ca
		c := client(t, o)
		mustToken(t, c)
		if got := s.requests()[0].Proto; got != "HTTP/1.1" {
			t.Errorf("spoke %s", got)
		}
		// net/http leaves it out by itself while it is given a TLS configuration.
		if p := c.transport.Protocols; p == nil || p.HTTP2() || p.UnencryptedHTTP2() {
			t.Errorf("left open: %v", p)
		}
	})
	t.Run("a certificate that has ended", func(t *testing.T) {
		s, ca := secure(t, platform, nil)
		o := options(t, s.URL)
		o.CAFile = ca
		c := client(t, o)
		c.transport.TLSClientConfig.Time = func() time.Time { return s.Certificate().NotAfter.Add(time.Hour) }
		mustFail(t, c, unavailable, "not valid")
	})
	t.Run("no plain answer over https", func(t *testing.T) {
		s := serve(t, platform)
		mustFail(t, client(t, options(t, strings.Replace(s.URL, "http:", "https:", 1))), unavailable, "TLS")
		if n := len(s.requests()); n != 0 {
			t.Errorf("%d requests arrived", n)
		}
	})
	t.Run("no TLS answer over http", func(t *testing.T) {
		s, ca := secure(t, platform, nil)
		o := options(t, strings.Replace(s.URL, "https:", "http:", 1))
		o.CAFile = ca
		mustFail(t, client(t, o), fault.CampRefused, "400") // net/http answers so itself
		if n := len(s.requests()); n != 0 {
			t.Errorf("%d requests arrived", n)
		}
	})
}

// What a call leaves behind ends by itself.
func TestDialsAreBoundedInTime(t *testing.T) {
	c := client(t, options(t, DefaultURL))
	if got := newDialer(c.url, net.DefaultResolver).Timeout; got <= 0 || got > callTimeout {
		t.Errorf("a dial may take %s", got)
	}
	if got := c.transport.TLSHandshakeTimeout; got <= 0 || got > callTimeout {
		t.Errorf("a handshake may take %s", got)
	}
}

func TestReasons(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for want, err := range map[string]error{
		"no answer in time":                         dial(os.ErrDeadlineExceeded),
		"there is no way to its network":            dial(os.NewSyscallError("connect", syscall.ENETUNREACH)),
		"connection reset":                          &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)},
		"the connection failed":                     dial(errors.New(bearer)),
		"at the proxy: the connection failed":       &net.OpError{Op: "proxyconnect", Net: "tcp", Err: dial(errors.New(proxyPassword))},
		"TLS: the handshake failed":                 errors.New("tls: " + bearer),
		"TLS: the other side ended it: bad weather": &net.OpError{Op: "remote error", Err: errors.New("tls: bad weather")},
		"no proper HTTP answer came":                errors.New(bearer),
	} {
		if got := reason(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestOffline(t *testing.T) {
	s := serve(t, platform)
	resolver, asked := names(t, "127.0.0.1")
	local := options(t, s.URL)
	far := options(t, "https://camp.test")
	proxied := far
	proxied.Proxy = s.URL
	stranger := local
	stranger.Token = "" // whether anybody is logged in is not the question
	for _, o := range []ClientOptions{local, far, proxied, stranger} {
		o.Offline = true
		c := named(t, o, resolver)
		mustFail(t, c, fault.EntitlementsNetworkUnavailable, "carl is offline", "--offline", "`offline: true`")
		_, err := c.Keys(context.Background())
		wantFault(t, err, fault.EntitlementsNetworkUnavailable, "carl is offline")
		// The dialer refuses by itself too, should anything ever go around it.
		if conn, err := c.transport.DialContext(context.Background(), "tcp", s.Listener.Addr().String()); err == nil {
			conn.Close()
			t.Error("the dialer dialled")
		}
	}
	if n := int64(len(s.requests())) + asked.Load(); n != 0 {
		t.Errorf("%d requests and questions left", n)
	}
}

// proxySite is a proxy that tunnels everything to one address.
func proxySite(t *testing.T, to string, start func(*httptest.Server)) *site {
	t.Helper()
	p := newSite(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(400)
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			w.WriteHeader(502)
			return
		}
		defer out.Close()
		in, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer in.Close()
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		var wg sync.WaitGroup
		wg.Go(func() {
			io.Copy(out, in)
			out.Close()
		})
		io.Copy(in, out)
		in.Close()
		wg.Wait()
	})
	start(p.Server)
	t.Cleanup(p.Close)
	return p
}

func TestProxy(t *testing.T) {
	for scheme, start := range map[string]func(*httptest.Server){"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS} {
		s, ca := secure(t, platform, nil)
		p := proxySite(t, s.Listener.Addr().String(), start)
		resolver, asked := names(t, "")
		o := options(t, "https://example.com")
		o.CAFile = ca
		o.Proxy = scheme + "://user:" + proxyPassword + "@" + p.Listener.Addr().String() + "/"
		c := named(t, o, resolver)
		mustToken(t, c)
		got := p.requests()
		if len(got) != 1 || got[0].Method != http.MethodConnect || got[0].Host != "example.com:443" || got[0].Header.Get("Proxy-Authorization") == "" {
			t.Fatalf("%s: the proxy saw %d requests", scheme, len(got))
		}
		if got[0].Header.Get("Authorization") != "" {
			t.Error("the proxy saw the token")
		}
		if got := s.requests(); len(got) != 1 || got[0].Header.Get("Proxy-Authorization") != "" || got[0].Header.Get("Authorization") != "Bearer "+bearer {
			t.Errorf("%s: the platform saw %d requests", scheme, len(got))
		}
		if asked.Load() != 0 {
			t.Error("the proxy resolves the platform's name, not carl")
		}
	}
}

func TestProxyIsNotForLoopback(t *testing.T) {
	plain := serve(t, platform)
	tls, ca := secure(t, platform, nil)
	p := proxySite(t, plain.Listener.Addr().String(), (*httptest.Server).Start)
	for _, address := range []string{plain.URL, tls.URL, "http://localhost:" + portOf(plain.URL)} {
		o := options(t, address)
		o.CAFile, o.Proxy = ca, p.URL
		mustToken(t, client(t, o))
	}
	if n := len(p.requests()); n != 0 {
		t.Errorf("the proxy saw %d requests", n)
	}
}

func TestNoProxyFromTheEnvironment(t *testing.T) {
	s, ca := secure(t, platform, nil)
	p := proxySite(t, s.Listener.Addr().String(), (*httptest.Server).Start)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, p.URL)
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	resolver, _ := names(t, "127.0.0.1")
	o := options(t, "https://example.com:"+portOf(s.URL))
	o.CAFile = ca
	c := named(t, o, resolver)
	mustToken(t, c)
	if n := len(p.requests()); n != 0 {
		t.Errorf("the proxy saw %d requests", n)
	}
	// net/http reads the environment once in a process, perhaps before this test.
	if c.transport.Proxy != nil {
		t.Error("without a configured proxy, one is asked for")
	}
}

func TestProxyFailures(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	ln.Close()
	for name, c := range map[string]struct{ proxy, says string }{
		"nobody":      {nobody, "at the proxy: connection refused"},
		"refusing":    {strings.TrimPrefix(raw(t, says("HTTP/1.1 407 no "+proxyPassword+" "+bearer+"\r\nContent-Length: 0\r\n\r\n")), "http://"), "the proxy answered 407"},
		"not HTTP":    {strings.TrimPrefix(raw(t, says(proxyPassword+bearer+"\r\n\r\n")), "http://"), "no proper HTTP answer"},
		"hanging up":  {strings.TrimPrefix(raw(t, says("")), "http://"), "closed"},
		"redirecting": {strings.TrimPrefix(raw(t, says("HTTP/1.1 302 x\r\nLocation: https://portal.example\r\nContent-Length: 0\r\n\r\n")), "http://"), "the proxy answered 302"},
		"no TLS":      {strings.TrimPrefix(raw(t, says("HTTP/1.1 200 OK\r\n\r\n"+proxyPassword+bearer)), "http://"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "https://example.com")
			o.Proxy = "http://user:" + proxyPassword + "@" + c.proxy
			mustFail(t, client(t, o), fault.EntitlementsNetworkUnavailable, c.says)
		})
	}
}
