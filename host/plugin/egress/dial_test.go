package egress

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
)

// nameServer is a real DNS server on loopback that answers from a table.
type nameServer struct {
	conn  net.PacketConn
	mu    sync.Mutex
	names map[string][]netip.Addr // guarded by mu
	asked int                     // guarded by mu
}

func startDNS(t *testing.T, names map[string][]netip.Addr) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, names: names}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := s.answer(buf[:n]); answer != nil {
				conn.WriteTo(answer, from)
			}
		}
	}()
	return s
}

func (s *nameServer) set(name string, ips []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = ips
}

func (s *nameServer) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

// answer makes the response to one query (RFC 1035 §4).
func (s *nameServer) answer(query []byte) []byte {
	if len(query) < 12 {
		return nil
	}
	var labels []string
	at := 12
	for query[at] != 0 {
		n := int(query[at])
		labels = append(labels, string(query[at+1:at+1+n]))
		at += 1 + n
	}
	qtype := binary.BigEndian.Uint16(query[at+1:])
	end := at + 5
	name := strings.ToLower(strings.Join(labels, "."))

	s.mu.Lock()
	s.asked++
	ips := s.names[name]
	s.mu.Unlock()

	out := append([]byte{}, query[:end]...)
	binary.BigEndian.PutUint16(out[2:], 0x8580) // an authoritative response
	binary.BigEndian.PutUint16(out[8:], 0)
	binary.BigEndian.PutUint16(out[10:], 0)
	count := uint16(0)
	for _, ip := range ips {
		if (qtype == 1) != ip.Is4() || qtype != 1 && qtype != 28 {
			continue
		}
		count++
		out = append(out, 0xc0, 12)
		out = binary.BigEndian.AppendUint16(out, qtype)
		out = binary.BigEndian.AppendUint16(out, 1)
		out = binary.BigEndian.AppendUint32(out, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(ip.BitLen()/8))
		out = append(out, ip.AsSlice()...)
	}
	binary.BigEndian.PutUint16(out[6:], count)
	if len(ips) == 0 {
		out[3] |= 3 // no such name
	}
	return out
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// secure starts a TLS site at 127.0.0.1 whose certificate is for example.com
// and 127.0.0.1, and returns it with a file of its authority.
func secure(t *testing.T, handler http.HandlerFunc, change func(*httptest.Server)) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return s, file
}

func portOf(url string) string { return url[strings.LastIndexByte(url, ':')+1:] }

func named(t *testing.T, cfg Config, dns *nameServer) *Client {
	t.Helper()
	c, err := newClient(cfg, dns.resolver())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func TestResolvedAddressIsJudged(t *testing.T) {
	served := 0
	s, ca := secure(t, func(w http.ResponseWriter, r *http.Request) { served++; fmt.Fprint(w, "inside") }, nil)
	origin := mustOrigin(t, "https://example.com:"+portOf(s.URL))
	for name, ips := range map[string][]netip.Addr{
		"loopback":        addrs("127.0.0.1"),
		"mapped loopback": addrs("::ffff:127.0.0.1"),
		"private":         addrs("10.0.0.1"),
		"link-local":      addrs("169.254.0.1"),
		"metadata":        addrs("169.254.169.254"),
		"unspecified":     addrs("0.0.0.0"),
		"multicast":       addrs("224.0.0.1"),
		"carrier NAT":     addrs("100.64.0.1"),
		"v6 loopback":     addrs("::1"),
		"v6 unique local": addrs("fd00::1"),
		"6to4":            addrs("2002:7f00:1::1"),
		"Teredo":          addrs("2001::1"),
		"NAT64":           addrs("64:ff9b::7f00:1"),
		"mixed":           addrs("93.184.215.14", "127.0.0.1"),
		"mixed, last":     addrs("127.0.0.1", "93.184.215.14"),
	} {
		dns := startDNS(t, map[string][]netip.Addr{"example.com": ips})
		c := named(t, Config{Origins: granted(origin), CAFile: ca, Timeout: 5 * time.Second}, dns)
		resp, err := c.Send(context.Background(), get(origin.String()))
		if err == nil {
			t.Errorf("%s: answered %q", name, resp.Body)
		} else if err.Kind != world.HTTPDenied {
			t.Errorf("%s: error %d %q, want denied", name, err.Kind, err.Text)
		}
	}
	if served != 0 {
		t.Errorf("%d requests arrived", served)
	}
}

func TestPrivateGrantReachesANamedNeighbour(t *testing.T) {
	s, ca := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "host "+r.Host) }, nil)
	origin := mustOrigin(t, "https://example.com:"+portOf(s.URL))
	dns := startDNS(t, map[string][]netip.Addr{"example.com": addrs("127.0.0.1")})
	c := named(t, Config{Origins: []Grant{{Origin: origin, Private: true}}, CAFile: ca}, dns)
	want := "host example.com:" + portOf(s.URL)
	if got := string(mustSend(t, c, get(origin.String())).Body); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A name that gave a good address when it was asked first, and a neighbour's
// later, gains nothing: what is judged is what is dialled, each time.
func TestRebindingIsJudgedAtEachDial(t *testing.T) {
	served := 0
	s, ca := secure(t, func(w http.ResponseWriter, r *http.Request) { served++ }, nil)
	origin := mustOrigin(t, "https://example.com:"+portOf(s.URL))
	dns := startDNS(t, map[string][]netip.Addr{"example.com": addrs("93.184.215.14")})
	c := named(t, Config{Origins: granted(origin), CAFile: ca, Timeout: 10 * time.Second}, dns)
	// The first may time out or be refused on its way to the good address:
	// this machine may have no route to it. It must not be denied.
	_, err := c.Send(context.Background(), world.Request{Method: "GET", URL: origin.String(), TimeoutMS: 50})
	if err == nil || err.Kind == world.HTTPDenied {
		t.Fatalf("the good address: %v", err)
	}
	dns.set("example.com", addrs("127.0.0.1"))
	c.CloseIdle()
	mustFail(t, c, get(origin.String()), world.HTTPDenied)
	if served != 0 {
		t.Errorf("%d requests arrived", served)
	}
}

func TestLocalhostIsNeverLookedUp(t *testing.T) {
	s := serve(t, "127.0.0.1", ok)
	origin := mustOrigin(t, "http://localhost:"+portOf(s.URL))
	dns := startDNS(t, map[string][]netip.Addr{"localhost": addrs("93.184.215.14")})
	mustFail(t, named(t, Config{Origins: granted(origin)}, dns), get(origin.String()), world.HTTPDenied)
	mustSend(t, named(t, Config{Origins: []Grant{{Origin: origin, Private: true}}}, dns), get(origin.String()))
	if n := dns.questions(); n != 0 {
		t.Errorf("%d questions were asked", n)
	}
}

func TestUnknownNameIsANetworkError(t *testing.T) {
	dns := startDNS(t, nil)
	c := named(t, Config{Origins: granted(mustOrigin(t, "https://nowhere.example"))}, dns)
	if text := mustFail(t, c, get("https://nowhere.example/"), world.HTTPNetwork); !strings.Contains(text, "resolved") {
		t.Errorf("got %q", text)
	}
}

func TestOfflineAsksNothing(t *testing.T) {
	s := serve(t, "127.0.0.1", ok)
	dns := startDNS(t, map[string][]netip.Addr{"example.com": addrs("93.184.215.14")})
	name := mustOrigin(t, "https://example.com")
	secret := bearer("", name)
	secret.Value = func() (string, error) { t.Error("a secret was read"); return "", nil }
	c := named(t, Config{Origins: granted(s.origin(t), name), Secrets: []Secret{secret}, Offline: true}, dns)
	for _, url := range []string{s.URL, "https://example.com/"} {
		if text := mustFail(t, c, get(url), world.HTTPDenied); !strings.Contains(text, "offline") {
			t.Errorf("%s: %q", url, text)
		}
	}
	// The dialer refuses by itself too, should anything ever go around Send.
	for _, r := range c.routes {
		if conn, err := r.transport.DialContext(context.Background(), "tcp", r.dialer.grant.Origin.address()); err == nil {
			conn.Close()
			t.Error("the dialer dialled")
		}
	}
	if n := len(s.requests()) + dns.questions(); n != 0 {
		t.Errorf("%d requests and questions left", n)
	}
}

func TestRouteDialsNothingElse(t *testing.T) {
	s := serve(t, "127.0.0.1", ok)
	other := serve(t, "127.0.0.2", ok)
	c := client(t, Config{Origins: granted(s.origin(t))})
	r := c.routes[s.origin(t)]
	if conn, err := r.transport.DialContext(context.Background(), "tcp", other.Listener.Addr().String()); err == nil {
		conn.Close()
		t.Error("a route dialled an origin that is not its own")
	}
}

func TestTLS(t *testing.T) {
	t.Run("unknown authority", func(t *testing.T) {
		s, _ := secure(t, ok, nil)
		c := client(t, Config{Origins: granted(mustOrigin(t, s.URL))})
		if text := mustFail(t, c, get(s.URL), world.HTTPNetwork); !strings.Contains(text, "authority") {
			t.Errorf("got %q", text)
		}
	})
	t.Run("ca_file", func(t *testing.T) {
		s, ca := secure(t, ok, nil)
		c := client(t, Config{Origins: granted(mustOrigin(t, s.URL)), CAFile: ca})
		mustSend(t, c, get(s.URL))
	})
	t.Run("another host's certificate", func(t *testing.T) {
		s, ca := secure(t, ok, func(s *httptest.Server) {
			ln, err := net.Listen("tcp", "127.0.0.7:0")
			if err != nil {
				t.Fatal(err)
			}
			s.Listener.Close()
			s.Listener = ln
		})
		c := client(t, Config{Origins: granted(mustOrigin(t, s.URL)), CAFile: ca})
		if text := mustFail(t, c, get(s.URL), world.HTTPNetwork); !strings.Contains(text, "another host") {
			t.Errorf("got %q", text)
		}
	})
	t.Run("version 1.1", func(t *testing.T) {
		s, ca := secure(t, ok, func(s *httptest.Server) {
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		})
		c := client(t, Config{Origins: granted(mustOrigin(t, s.URL)), CAFile: ca})
		mustFail(t, c, get(s.URL), world.HTTPNetwork)
	})
	t.Run("no HTTP/2", func(t *testing.T) {
		s, ca := secure(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }, func(s *httptest.Server) { s.EnableHTTP2 = true })
		c := client(t, Config{Origins: granted(mustOrigin(t, s.URL)), CAFile: ca})
		if got := string(mustSend(t, c, get(s.URL)).Body); got != "HTTP/1.1" {
			t.Errorf("spoke %s", got)
		}
	})
	t.Run("no plain answer over https", func(t *testing.T) {
		s := serve(t, "127.0.0.1", ok)
		url := "https://127.0.0.1:" + portOf(s.URL)
		c := client(t, Config{Origins: granted(mustOrigin(t, url))})
		mustFail(t, c, get(url), world.HTTPNetwork)
	})
}

// proxySite is a proxy that tunnels everything to one address.
func proxySite(t *testing.T, to string) (*httptest.Server, *[]*http.Request) {
	t.Helper()
	var mu sync.Mutex
	var seen []*http.Request
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r)
		mu.Unlock()
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
		in, _, _ := w.(http.Hijacker).Hijack()
		defer in.Close()
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(out, in)
		io.Copy(in, out)
	}))
	t.Cleanup(p.Close)
	return p, &seen
}

func TestProxyByConfigOnly(t *testing.T) {
	s, ca := secure(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "through") }, nil)
	proxy, seen := proxySite(t, s.Listener.Addr().String())
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	origin := mustOrigin(t, "https://example.com")
	dns := startDNS(t, map[string][]netip.Addr{"example.com": addrs("10.0.0.1")})

	without := named(t, Config{Origins: granted(origin), CAFile: ca}, dns)
	mustFail(t, without, get("https://example.com/"), world.HTTPDenied)
	if len(*seen) != 0 {
		t.Fatal("the proxy of the environment was used")
	}
	// net/http reads the environment once in a process, perhaps before this test.
	for _, r := range without.routes {
		if r.transport.Proxy != nil {
			t.Error("a route without a configured proxy asks for one")
		}
	}

	withPassword := strings.Replace(proxy.URL, "http://", "http://user:hunter2@", 1)
	with := named(t, Config{Origins: granted(origin), CAFile: ca, Proxy: withPassword}, dns)
	if got := string(mustSend(t, with, get("https://example.com/")).Body); got != "through" {
		t.Errorf("got %q", got)
	}
	if len(*seen) != 1 || (*seen)[0].Host != "example.com:443" || (*seen)[0].Header.Get("Proxy-Authorization") == "" {
		t.Errorf("the proxy saw %v", *seen)
	}

	plain := serve(t, "127.0.0.1", ok)
	local := named(t, Config{Origins: granted(plain.origin(t)), Proxy: proxy.URL}, dns)
	mustSend(t, local, get(plain.URL))
	if len(*seen) != 1 {
		t.Error("a loopback origin went through the proxy")
	}

	offline := named(t, Config{Origins: granted(origin), Proxy: proxy.URL, Offline: true}, dns)
	mustFail(t, offline, get("https://example.com/"), world.HTTPDenied)
	for _, r := range offline.routes {
		if conn, err := r.transport.DialContext(context.Background(), "tcp", proxy.Listener.Addr().String()); err == nil {
			conn.Close()
			t.Error("offline, the proxy was dialled")
		}
	}
}

func TestProxyFailureHoldsNoPassword(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := ln.Addr().String()
	ln.Close()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(407) }))
	t.Cleanup(refusing.Close)
	for _, proxy := range []string{gone, refusing.Listener.Addr().String()} {
		c := client(t, Config{Origins: granted(mustOrigin(t, "https://example.com")), Proxy: "http://user:hunter2@" + proxy})
		if text := mustFail(t, c, get("https://example.com/"), world.HTTPNetwork); strings.Contains(text, "hunter2") {
			t.Errorf("got %q", text)
		}
	}
}

func TestNewRefusesBadProxyAndCAFile(t *testing.T) {
	dir := t.TempDir()
	noCert := filepath.Join(dir, "no.pem")
	if err := os.WriteFile(noCert, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{
		{Proxy: "socks5://127.0.0.1:1"},
		{Proxy: "127.0.0.1:3128"},
		{Proxy: "http://"},
		{Proxy: "http://user:hunter2@proxy:99999999/path"},
		{CAFile: filepath.Join(dir, "missing.pem")},
		{CAFile: noCert},
		{CAFile: dir},
	} {
		_, err := New(cfg)
		if fault.CodeOf(err) != fault.ConfigInvalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
