package egress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/world"
)

// site is a real server on a loopback address that notes what reaches it.
type site struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request // guarded by mu
	body []string        // guarded by mu
}

// serve starts a site at ip, such as 127.0.0.2: another address is another origin.
func serve(t testing.TB, ip string, handler http.HandlerFunc) *site {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.seen, s.body = append(s.seen, r), append(s.body, string(body))
		s.mu.Unlock()
		handler(w, r)
	}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *site) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func (s *site) bodies() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.body)
}

func (s *site) origin(t testing.TB) Origin { return mustOrigin(t, s.URL) }

func client(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func granted(origins ...Origin) []Grant {
	var out []Grant
	for _, o := range origins {
		out = append(out, Grant{Origin: o})
	}
	return out
}

func get(url string) world.Request { return world.Request{Method: "GET", URL: url} }

func mustSend(t testing.TB, c *Client, req world.Request) world.Response {
	t.Helper()
	resp, err := c.Send(context.Background(), req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return resp
}

func mustFail(t testing.TB, c *Client, req world.Request, kind world.HTTPErrorKind) string {
	t.Helper()
	resp, err := c.Send(context.Background(), req)
	if err == nil {
		t.Fatalf("%s %s: answered %d %q, want an error", req.Method, req.URL, resp.Status, resp.Body)
	}
	if err.Kind != kind {
		t.Fatalf("%s %.80s: error %d %q, want kind %d", req.Method, req.URL, err.Kind, err.Text, kind)
	}
	if resp.Status != 0 || resp.Body != nil || resp.Headers != nil {
		t.Fatalf("a response beside an error: %+v", resp)
	}
	return err.Text
}

func field(resp world.Response, name string) (string, bool) {
	for _, h := range resp.Headers {
		if h.Name == name {
			return h.Value, true
		}
	}
	return "", false
}

func ok(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") }

func TestSendReachesAGrantedOrigin(t *testing.T) {
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(202)
		fmt.Fprint(w, "stored")
	})
	c := client(t, Config{Origins: granted(s.origin(t))})
	resp := mustSend(t, c, world.Request{
		Method:  "POST",
		URL:     s.URL + "/in?a=b#frag",
		Headers: []world.Header{{Name: "content-type", Value: "text/plain"}, {Name: "X-Two", Value: "1"}, {Name: "x-two", Value: "2"}},
		Body:    []byte("hello"),
	})
	if resp.Status != 202 || string(resp.Body) != "stored" {
		t.Errorf("got %d %q", resp.Status, resp.Body)
	}
	if v, _ := field(resp, "X-Answer"); v != "yes" {
		t.Errorf("fields %v", resp.Headers)
	}
	r := s.requests()[0]
	if r.Method != "POST" || r.RequestURI != "/in?a=b" || s.bodies()[0] != "hello" || r.ContentLength != 5 {
		t.Errorf("the site saw %s %s, %d bytes, %q", r.Method, r.RequestURI, r.ContentLength, s.bodies()[0])
	}
	if !slices.Equal(r.Header["X-Two"], []string{"1", "2"}) || r.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("the site saw fields %v", r.Header)
	}
	if r.Proto != "HTTP/1.1" || r.Host != strings.TrimPrefix(s.URL, "http://") {
		t.Errorf("the site saw %s for host %q", r.Proto, r.Host)
	}
}

func TestSendRefusesWhatIsNotGranted(t *testing.T) {
	s := serve(t, "127.0.0.1", ok)
	other := serve(t, "127.0.0.1", ok)
	c := client(t, Config{Origins: granted(s.origin(t))})
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	for _, url := range []string{
		other.URL,
		"https://127.0.0.1" + port,
		"http://127.0.0.2" + port,
		"http://localhost" + port,
		"http://[::1]" + port,
		"http://[::ffff:127.0.0.1]" + port,
		"http://127.1" + port,
		"http://user@127.0.0.1" + port,
		"http://127.0.0.1" + port + "@127.0.0.2/",
		"http://127.0.0.1",
		"file:///etc/passwd",
		"/relative",
		"",
	} {
		if text := mustFail(t, c, get(url), world.HTTPDenied); text == "" {
			t.Errorf("%q is denied without a word", url)
		}
	}
	if n := len(s.requests()) + len(other.requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	none := client(t, Config{})
	mustFail(t, none, get(s.URL), world.HTTPDenied)
}

func TestSendMethods(t *testing.T) {
	s := serve(t, "127.0.0.1", ok)
	c := client(t, Config{Origins: granted(s.origin(t))})
	for _, m := range methods {
		mustSend(t, c, world.Request{Method: m, URL: s.URL})
	}
	if got := len(s.requests()); got != len(methods) {
		t.Errorf("%d requests arrived, want %d", got, len(methods))
	}
	for _, m := range []string{"CONNECT", "TRACE", "TRACK", "connect", "get", "", "PROPFIND", "GET ", "G\r\nET", "GET / HTTP/1.1\r\nX: y\r\n\r\nGET", strings.Repeat("G", 5000)} {
		mustFail(t, c, world.Request{Method: m, URL: s.URL}, world.HTTPDenied)
	}
	if got := len(s.requests()); got != len(methods) {
		t.Errorf("a refused method arrived: %d requests", got)
	}
}

func TestSendDropsFieldsOfTheHost(t *testing.T) {
	s := serve(t, "127.0.0.1", ok)
	c := client(t, Config{Origins: granted(s.origin(t))})
	mustSend(t, c, world.Request{Method: "POST", URL: s.URL, Body: []byte("four"), Headers: []world.Header{
		{Name: "Host", Value: "evil.example"},
		{Name: "hOsT", Value: "evil.example"},
		{Name: "Connection", Value: "X-Hop, close"},
		{Name: "X-Hop", Value: "1"},
		{Name: "Keep-Alive", Value: "1"},
		{Name: "TE", Value: "trailers"},
		{Name: "Trailer", Value: "X"},
		{Name: "Transfer-Encoding", Value: "chunked"},
		{Name: "Content-Length", Value: "4000"},
		{Name: "Upgrade", Value: "h2c"},
		{Name: "HTTP2-Settings", Value: "AAMAAABkAAQ"},
		{Name: "Expect", Value: "100-continue"},
		{Name: "Accept-Encoding", Value: "gzip"},
		{Name: "Cookie", Value: "a=b"},
		{Name: "Proxy-Authorization", Value: "Basic eDp5"},
		{Name: "Proxy-Anything", Value: "x"},
		{Name: "X-Kept", Value: "1"},
		{Name: "Authorization", Value: "Bearer of-the-plugin"},
	}})
	r := s.requests()[0]
	var names []string
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"Accept-Encoding", "Authorization", "Content-Length", "User-Agent", "X-Kept"}
	if !slices.Equal(names, want) {
		t.Errorf("fields that arrived: %v, want %v", names, want)
	}
	if r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("User-Agent") != "carl" || r.Header.Get("Authorization") != "Bearer of-the-plugin" {
		t.Errorf("fields that arrived: %v", r.Header)
	}
	if r.Host == "evil.example" || len(r.TransferEncoding) != 0 || s.bodies()[0] != "four" {
		t.Errorf("host %q, encoding %v, body %q", r.Host, r.TransferEncoding, s.bodies()[0])
	}
}

// net/http leaves some of these out by itself; the list does not rely on it.
func TestDropUnsafe(t *testing.T) {
	header := http.Header{"X-Kept": {"1"}, "Connection": {"x-hop , close", "X-Other"}, "X-Hop": {"1"}, "X-Other": {"1"}}
	for _, name := range []string{"host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "content-length", "expect", "accept-encoding", "cookie", "cookie2", "proxy-connection", "proxy-x"} {
		header.Set(name, "1")
	}
	dropUnsafe(header)
	if len(header) != 1 || header.Get("X-Kept") != "1" {
		t.Errorf("left: %v", header)
	}
}

func TestSendRefusesIllegalFields(t *testing.T) {
	s := serve(t, "127.0.0.1", ok)
	c := client(t, Config{Origins: granted(s.origin(t))})
	for _, h := range []world.Header{
		{Name: "", Value: "x"},
		{Name: "X Y", Value: "x"},
		{Name: "X:", Value: "x"},
		{Name: ":authority", Value: "x"},
		{Name: "X\r\nY", Value: "x"},
		{Name: "Ünlaut", Value: "x"},
		{Name: "X", Value: "a\r\nHost: evil"},
		{Name: "X", Value: "a\nb"},
		{Name: "X", Value: "a\x00b"},
		{Name: "X", Value: "a\x7fb"},
		{Name: "X", Value: "ü"},
		{Name: "X", Value: strings.Repeat("v", maxRequestHeader)},
	} {
		mustFail(t, c, world.Request{Method: "GET", URL: s.URL, Headers: []world.Header{h}}, world.HTTPDenied)
	}
	many := make([]world.Header, maxFields+1)
	for i := range many {
		many[i] = world.Header{Name: "X", Value: "y"}
	}
	mustFail(t, c, world.Request{Method: "GET", URL: s.URL, Headers: many}, world.HTTPDenied)
	if len(s.requests()) != 0 {
		t.Error("a request with an illegal field arrived")
	}
	mustSend(t, c, world.Request{Method: "GET", URL: s.URL, Headers: many[:maxFields]})
}

func TestSendBoundsBytes(t *testing.T) {
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sized", "/chunked":
			if r.URL.Path == "/chunked" {
				w.(http.Flusher).Flush()
			}
			io.WriteString(w, strings.Repeat("x", 1001))
		case "/exact":
			io.WriteString(w, strings.Repeat("x", 1000))
		case "/endless":
			for {
				if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
					return
				}
			}
		case "/fields":
			w.Header().Set("X-Large", strings.Repeat("x", maxResponseHeader))
		}
	})
	c := client(t, Config{Origins: granted(s.origin(t)), MaxRequest: 100, MaxResponse: 1000})
	mustSend(t, c, world.Request{Method: "POST", URL: s.URL, Body: make([]byte, 100)})
	mustFail(t, c, world.Request{Method: "POST", URL: s.URL, Body: make([]byte, 101)}, world.HTTPTooLarge)
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d requests arrived: the one that is too large was sent", n)
	}
	if got := mustSend(t, c, get(s.URL+"/exact")); len(got.Body) != 1000 {
		t.Errorf("%d bytes", len(got.Body))
	}
	for _, path := range []string{"/sized", "/chunked", "/endless", "/fields"} {
		mustFail(t, c, get(s.URL+path), world.HTTPTooLarge)
	}
}

func TestSendBoundsTime(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
		case "/drip":
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
		case "/loop":
			time.Sleep(20 * time.Millisecond)
			http.Redirect(w, r, "/silent", http.StatusFound)
			return
		}
		<-release
	})
	// Cleanups run last in, first out: the handlers must end before the server closes.
	t.Cleanup(func() { close(release) })
	c := client(t, Config{Origins: granted(s.origin(t)), Timeout: 50 * time.Millisecond})
	for _, path := range []string{"/silent", "/drip", "/loop"} {
		mustFail(t, c, get(s.URL+path), world.HTTPTimeout)
	}
	patient := client(t, Config{Origins: granted(s.origin(t)), Timeout: time.Hour})
	mustFail(t, patient, world.Request{Method: "GET", URL: s.URL + "/silent", TimeoutMS: 50}, world.HTTPTimeout)
	// A plugin's wish does not lengthen the host's bound.
	mustFail(t, c, world.Request{Method: "GET", URL: s.URL + "/silent", TimeoutMS: 3600e3}, world.HTTPTimeout)

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := patient.Send(ctx, get(s.URL+"/silent")); err == nil || err.Kind != world.HTTPTimeout {
		t.Errorf("past the caller's deadline: %v", err)
	}
	gone, cancelNow := context.WithCancel(context.Background())
	cancelNow()
	if _, err := patient.Send(gone, get(s.URL+"/silent")); err == nil || err.Kind != world.HTTPNetwork {
		t.Errorf("after the caller left: %v", err)
	}
}

func TestSendNetworkErrorsAreWords(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + ln.Addr().String()
	ln.Close()
	reset := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		if r.URL.Path == "/garbage" {
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
		}
		if r.URL.Path == "/short" {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		}
		if r.URL.Path == "/upgrade" {
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		}
		conn.Close()
	})
	c := client(t, Config{Origins: granted(mustOrigin(t, gone), reset.origin(t), mustOrigin(t, "https://"+strings.TrimPrefix(reset.URL, "http://")))})
	for url, want := range map[string]string{
		gone:                   "connection refused",
		reset.URL + "/close":   "closed before",
		reset.URL + "/short":   "closed before",
		reset.URL + "/garbage": "",
		reset.URL + "/upgrade": "protocol",
		strings.Replace(reset.URL, "http:", "https:", 1): "TLS",
	} {
		text := mustFail(t, c, get(url), world.HTTPNetwork)
		if text == "" || !strings.Contains(text, want) {
			t.Errorf("%s: %q, want %q in it", url, text, want)
		}
		if strings.Contains(text, "127.0.0.1") {
			t.Errorf("%s: %q names an address", url, text)
		}
	}
}

func TestSendRefusesEncodedAnswers(t *testing.T) {
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", r.URL.Query().Get("coding"))
		w.Write([]byte{0x1f, 0x8b})
	})
	c := client(t, Config{Origins: granted(s.origin(t))})
	for _, coding := range []string{"gzip", "br", "identity,%20gzip", "x"} {
		mustFail(t, c, get(s.URL+"/?coding="+coding), world.HTTPNetwork)
	}
	mustSend(t, c, get(s.URL+"/?coding=identity"))
}

func TestSendKeepsNoCookies(t *testing.T) {
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "id", Value: "1"})
		if r.URL.Path == "/first" {
			http.Redirect(w, r, "/second", http.StatusFound)
		}
	})
	c := client(t, Config{Origins: granted(s.origin(t))})
	resp := mustSend(t, c, get(s.URL+"/first"))
	mustSend(t, c, get(s.URL+"/third"))
	if _, found := field(resp, "Set-Cookie"); found {
		t.Error("the plugin got a cookie")
	}
	for _, r := range s.requests() {
		if len(r.Cookies()) != 0 {
			t.Errorf("%s carries %v", r.URL.Path, r.Cookies())
		}
	}
}

func TestSendRepairsFieldsThatAreNotUTF8(t *testing.T) {
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Latin"] = []string{"caf\xe9"}
	})
	c := client(t, Config{Origins: granted(s.origin(t))})
	if v, _ := field(mustSend(t, c, get(s.URL)), "X-Latin"); v != "caf\uFFFD" {
		t.Errorf("got %q", v)
	}
}

func TestObserveIsToldOfEverything(t *testing.T) {
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://127.0.0.9:1/secret-path", http.StatusFound)
			return
		}
		fmt.Fprint(w, "four")
	})
	var got []Attempt
	c := client(t, Config{Origins: granted(s.origin(t)), Observe: func(a Attempt) { got = append(got, a) }})
	mustSend(t, c, world.Request{Method: "POST", URL: s.URL, Body: []byte("abc")})
	mustFail(t, c, get("https://elsewhere.example/x?token=1"), world.HTTPDenied)
	mustFail(t, c, get(s.URL+"/away"), world.HTTPDenied)
	mustFail(t, c, world.Request{Method: "TRACE", URL: s.URL}, world.HTTPDenied)
	if len(got) != 4 {
		t.Fatalf("%d attempts", len(got))
	}
	if a := got[0]; a.Method != "POST" || a.Origin != s.origin(t).String() || a.Hops != 1 || a.Sent != 3 || a.Received != 4 || a.Status != 200 || a.Err != nil {
		t.Errorf("%+v", a)
	}
	if a := got[1]; a.Origin != "https://elsewhere.example:443" || a.Hops != 0 || a.Err == nil || a.Err.Kind != world.HTTPDenied {
		t.Errorf("%+v", a)
	}
	if a := got[2]; a.Hops != 1 || a.Err == nil || strings.Contains(a.Err.Text, "secret-path") {
		t.Errorf("%+v", a)
	}
	if a := got[3]; a.Method != "TRACE" || a.Hops != 0 || a.Err == nil {
		t.Errorf("%+v", a)
	}
}

func TestSendFromSeveralGoroutines(t *testing.T) {
	const secret = "s3cr3t-value-of-many"
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Authorization"))
	})
	c := client(t, Config{Origins: granted(s.origin(t)), Secrets: []Secret{bearer(secret, s.origin(t))}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				resp, err := c.Send(context.Background(), get(s.URL))
				if err != nil || bytes.Contains(resp.Body, []byte(secret)) || len(resp.Body) == 0 {
					t.Errorf("%v, %q", err, resp.Body)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkSend holds a request through egress, with a secret and scrubbing,
// against the same request done bare.
func BenchmarkSend(b *testing.B) {
	answer := bytes.Repeat([]byte(`{"id":"263d2ed6cda66a9f545bc646534d06e82541fd865bed556f052b9b14e9c628b1","status":"accepted"},`), 256)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(answer)
	}))
	defer s.Close()
	body := make([]byte, 256<<10)
	b.Run("egress", func(b *testing.B) {
		o := mustOrigin(b, s.URL)
		c := client(b, Config{Origins: granted(o), Secrets: []Secret{bearer("s3cret-value-that-is-long", o)}})
		for b.Loop() {
			mustSend(b, c, world.Request{Method: "POST", URL: s.URL, Body: body})
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			resp, err := http.Post(s.URL, "", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
	})
}
