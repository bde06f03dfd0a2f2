package camp

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"carl.camp/carl/host/fault"
)

const (
	// bearer is what the tests are logged in with. None of it may stand in an error.
	bearer = "camp-Bearer.of_the-tests~0123456789"
	// served is the signed token that the tests' platform answers with.
	served = "eyJhbGciOiJFZERTQSJ9.e30.c2ln"
	// hang bounds a test that waits for what must come; it is never reached by one that passes.
	hang = 10 * time.Second
)

// site is a real server on loopback that notes what reaches it.
type site struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request // guarded by mu
}

func (s *site) requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func newSite(handler http.HandlerFunc) *site {
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r)
		s.mu.Unlock()
		handler(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are meant to
	return s
}

// serve starts a site with plain http.
func serve(t testing.TB, handler http.HandlerFunc) *site {
	t.Helper()
	s := newSite(handler)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// raw starts a TCP listener that hands each connection to a function, after
// the request on it was read, and returns its http address.
func raw(t testing.TB, handle func(conn net.Conn)) string {
	t.Helper()
	return "http://" + listen(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			handle(conn)
		}
	})
}

// listen starts a TCP listener that hands each connection to a function.
func listen(t testing.TB, handle func(conn net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// says answers each request with a text, as it is.
func says(answer string) func(net.Conn) {
	return func(conn net.Conn) { io.WriteString(conn, answer) }
}

// untilGone waits for the other side to hang up.
func untilGone(conn net.Conn) { io.Copy(io.Discard, conn) }

func platform(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case DefaultPaths().JWKS:
		io.WriteString(w, ` {"keys":[]}`)
	case DefaultPaths().Entitlements:
		fmt.Fprintf(w, `{"ok":true,"token":%q,"expires_in":900,"tier":"paid","tier_label":"Pro"}`, served)
	default:
		w.WriteHeader(404)
	}
}

func options(t testing.TB, address string) ClientOptions {
	t.Helper()
	u, err := ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	return ClientOptions{URL: u, Paths: DefaultPaths(), Token: bearer, Version: "1.2.3"}
}

func client(t testing.TB, o ClientOptions) *Client {
	t.Helper()
	return named(t, o, net.DefaultResolver)
}

func named(t testing.TB, o ClientOptions, resolver *net.Resolver) *Client {
	t.Helper()
	c, err := newClient(o, resolver)
	if err != nil {
		t.Fatal(err)
	}
	c.timeout = hang // what ends by itself must not need the bound
	return c
}

// wantFault holds an error of the client against its code, what it says, and
// what no error may say.
func wantFault(t testing.TB, err error, code fault.Code, words ...string) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(e.Message+" "+e.Hint, word) {
			t.Errorf("got %q with hint %q, want %q in it", e.Message, e.Hint, word)
		}
	}
	if e.Kept != "" {
		t.Errorf("%v: what was kept is the caller's to say", e)
	}
	wantNoSecret(t, err)
}

const proxyPassword = "hunter2-of-the-proxy"

func wantNoSecret(t testing.TB, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		text := strings.ToLower(fmt.Sprintf("%v %#v %s", err, err, fault.HintOf(err)))
		for _, secret := range []string{bearer, proxyPassword} {
			for i := 0; i+minEcho <= len(secret); i++ {
				if strings.Contains(text, strings.ToLower(secret[i:i+minEcho])) {
					t.Errorf("%q of a secret stands in %s", secret[i:i+minEcho], text)
					break
				}
			}
		}
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%q is not fit for a terminal", text)
		}
	}
}

func mustToken(t testing.TB, c *Client) {
	t.Helper()
	if got, err := c.Token(context.Background()); err != nil || got != served {
		t.Errorf("token %q, %v", got, err)
	}
}

func mustFail(t testing.TB, c *Client, code fault.Code, words ...string) {
	t.Helper()
	got, err := c.Token(context.Background())
	if got != "" {
		t.Errorf("token %q beside %v", got, err)
	}
	wantFault(t, err, code, words...)
}

func TestCalls(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "id", Value: "1", Path: "/"})
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/carl")
		platform(w, r)
	})
	c := client(t, options(t, s.URL+"/carl"))
	mustToken(t, c)
	keys, err := c.Keys(context.Background())
	if err != nil || string(keys) != ` {"keys":[]}` {
		t.Errorf("keys %q, %v", keys, err)
	}
	mustToken(t, c)
	if len(s.requests()) != 3 {
		t.Fatalf("%d requests", len(s.requests()))
	}
	for i, r := range s.requests() {
		uri := "/carl/api/platform/entitlements"
		want := http.Header{"Accept": {"application/json"}, "Accept-Encoding": {"identity"}, "Connection": {"close"}, "User-Agent": {"carl/1.2.3"}, "Authorization": {"Bearer " + bearer}}
		if i == 1 {
			uri = "/carl/.well-known/carl-camp-jwks.json"
			delete(want, "Authorization")
		}
		if r.Method != "GET" || r.RequestURI != uri || r.Proto != "HTTP/1.1" || r.ContentLength != 0 || fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("the site saw %s %s %s, %d bytes, %v", r.Method, r.RequestURI, r.Proto, r.ContentLength, r.Header)
		}
	}
	if got := client(t, ClientOptions{URL: c.url, Paths: c.paths}).agent; got != "carl" {
		t.Errorf("without a version it is %q", got)
	}
}

func TestPathsAreTheConfigured(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, `{"jwt":%q}`, served) })
	o := options(t, s.URL)
	o.Paths.Entitlements, o.Paths.JWKS = "/e", "/k"
	c := client(t, o)
	mustToken(t, c)
	if _, err := c.Keys(context.Background()); err != nil {
		t.Error(err)
	}
	if got := s.requests(); len(got) != 2 || got[0].RequestURI != "/e" || got[1].RequestURI != "/k" {
		t.Errorf("%d requests", len(got))
	}
}

func TestNewClientRefuses(t *testing.T) {
	good := options(t, DefaultURL)
	_, authority := secure(t, platform, nil)
	ca, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*ClientOptions)
		code   fault.Code
	}{
		"no address":       {func(o *ClientOptions) { o.URL = URL{} }, fault.ConfigInvalid},
		"no paths":         {func(o *ClientOptions) { o.Paths = Paths{} }, fault.ConfigInvalid},
		"a foreign path":   {func(o *ClientOptions) { o.Paths.JWKS = "//elsewhere" }, fault.ConfigInvalid},
		"no bearer token":  {func(o *ClientOptions) { o.Token = bearer + "\r\nX: y" }, fault.CampTokenInvalid},
		"a SOCKS proxy":    {func(o *ClientOptions) { o.Proxy = "socks5://u:" + proxyPassword + "@127.0.0.1:1" }, fault.ConfigInvalid},
		"a bare proxy":     {func(o *ClientOptions) { o.Proxy = "127.0.0.1:3128" }, fault.ConfigInvalid},
		"a broken proxy":   {func(o *ClientOptions) { o.Proxy = "http://u:" + proxyPassword + "@p:99999999/path" }, fault.ConfigInvalid},
		"a proxy nowhere":  {func(o *ClientOptions) { o.Proxy = "http://:3128" }, fault.ConfigInvalid},
		"a proxy's path":   {func(o *ClientOptions) { o.Proxy = "http://127.0.0.1:3128/x" }, fault.ConfigInvalid},
		"a proxy's query":  {func(o *ClientOptions) { o.Proxy = "http://127.0.0.1:3128?x" }, fault.ConfigInvalid},
		"a missing file":   {func(o *ClientOptions) { o.CAFile = t.TempDir() + "/none.pem" }, fault.ConfigInvalid},
		"a folder":         {func(o *ClientOptions) { o.CAFile = t.TempDir() }, fault.ConfigInvalid},
		"no certificate":   {func(o *ClientOptions) { o.CAFile = file(t, []byte("hello")) }, fault.ConfigInvalid},
		"a file too large": {func(o *ClientOptions) { o.CAFile = file(t, append(ca, make([]byte, maxCAFile)...)) }, fault.ConfigInvalid},
	} {
		o := good
		c.change(&o)
		got, err := NewClient(o)
		if got != nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		wantFault(t, err, c.code)
	}
	c, err := NewClient(good)
	if err != nil || c.timeout != callTimeout {
		t.Errorf("%v", err)
	}
}

func TestNotLoggedIn(t *testing.T) {
	s := serve(t, platform)
	o := options(t, s.URL)
	o.Token = ""
	c := client(t, o)
	mustFail(t, c, fault.CampUnauthorized, "not logged in", "`carl camp login`")
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	if _, err := c.Keys(context.Background()); err != nil {
		t.Error("the keys need no login:", err)
	}
}

func TestStatuses(t *testing.T) {
	const (
		unavailable  = fault.EntitlementsNetworkUnavailable
		unauthorized = fault.CampUnauthorized
		refused      = fault.EntitlementsRefused
		wrong        = fault.CampRefused
		malformed    = fault.CampMalformed
	)
	for _, c := range []struct {
		status      int
		token, keys fault.Code
	}{
		{101, malformed, malformed},
		{201, malformed, malformed}, {202, malformed, malformed}, {203, malformed, malformed}, {204, malformed, malformed}, {206, malformed, malformed}, {226, malformed, malformed},
		{300, malformed, malformed}, {301, malformed, malformed}, {302, malformed, malformed}, {303, malformed, malformed}, {304, malformed, malformed}, {305, malformed, malformed}, {307, malformed, malformed}, {308, malformed, malformed}, {399, malformed, malformed},
		{400, wrong, wrong}, {401, unauthorized, wrong}, {402, refused, wrong}, {403, refused, wrong}, {404, wrong, wrong}, {405, wrong, wrong}, {407, wrong, wrong},
		{408, unavailable, unavailable}, {409, wrong, wrong}, {410, wrong, wrong}, {413, wrong, wrong}, {418, wrong, wrong}, {421, wrong, wrong}, {422, wrong, wrong},
		{425, unavailable, unavailable}, {426, wrong, wrong}, {429, unavailable, unavailable}, {431, wrong, wrong}, {451, wrong, wrong}, {499, wrong, wrong},
		{500, unavailable, unavailable}, {501, unavailable, unavailable}, {502, unavailable, unavailable}, {503, unavailable, unavailable}, {504, unavailable, unavailable}, {511, unavailable, unavailable}, {599, unavailable, unavailable},
		{600, malformed, malformed}, {999, malformed, malformed},
	} {
		const body = `{"error":{"code":"no_plan","message":"the plan ended"}}`
		answer := fmt.Sprintf("HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%s", c.status, len(body), body)
		cl := client(t, options(t, raw(t, says(answer))))
		said := strconv.Itoa(c.status)
		if c.status == 301 || c.status == 302 || c.status == 303 || c.status == 307 || c.status == 308 {
			said = "redirects to no address"
		}
		mustFail(t, cl, c.token, said)
		keys, err := cl.Keys(context.Background())
		if keys != nil {
			t.Errorf("%d: keys %q", c.status, keys)
		}
		wantFault(t, err, c.keys, said)
		if c.status >= 400 && c.status <= 599 {
			wantFault(t, err, c.keys, "the plan ended")
		}
	}
}

func TestHints(t *testing.T) {
	for status, hint := range map[int]string{401: "`carl camp login`", 404: "`camp.paths`", 422: "`camp.url`", 429: "again", 503: "again"} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		_, err := client(t, options(t, s.URL)).Token(context.Background())
		if got := fault.HintOf(err); !strings.Contains(got, hint) {
			t.Errorf("%d: hint %q", status, got)
		}
	}
}

// The platform's words are shown without what they repeat of the token, and
// without what a terminal would obey.
func TestRefusalIsScrubbed(t *testing.T) {
	for name, message := range map[string]string{
		"the token":         "no account has " + bearer + ", sorry",
		"its field":         "Authorization: Bearer " + bearer,
		"in capitals":       strings.ToUpper(bearer) + ", sorry",
		"twice":             bearer + bearer,
		"cut off":           strings.Repeat("x", maxRefusalText-20) + bearer,
		"a part":            "begins with " + bearer[:minEcho] + ", sorry",
		"another part":      "ends with " + bearer[len(bearer)-minEcho:] + ", sorry",
		"beside long words": strings.Repeat("ü", 100) + bearer + strings.Repeat("K", 3),
		"escape sequences":  "\x1b[31m" + bearer + "\r\n\u202e",
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(403)
			text, _ := stdjson.Marshal(map[string]any{"error": map[string]any{"code": bearer, "message": message, "fields": []any{map[string]any{"path": bearer, "message": bearer}}}})
			w.Write(text)
		})
		t.Run(name, func(t *testing.T) { mustFail(t, client(t, options(t, s.URL)), fault.EntitlementsRefused, redacted) })
	}
	c := client(t, options(t, DefaultURL))
	if got, want := c.scrub("a "+bearer+" b "+bearer[3:14]+"ü"), "a [redacted] b [redacted]ü"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, text := range []string{"", "plain", bearer[:minEcho-1]} {
		if got := c.scrub(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	c.token = ""
	if got := c.scrub("without a token"); got != "without a token" {
		t.Errorf("got %q", got)
	}
	c.token = "ab"
	if got := c.scrub("xABy"); got != "x[redacted]y" {
		t.Errorf("a short token: %q", got)
	}
}

// What a refusal's status says stands, whatever becomes of its body.
func TestRefusalBodies(t *testing.T) {
	for name, answer := range map[string]string{
		"compressed": "HTTP/1.1 403 x\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n" + `{"error":{"message":"never to be read"}}`,
		"HTML":       "HTTP/1.1 403 x\r\nContent-Length: 6\r\n\r\n<html>",
		"cut off":    "HTTP/1.1 403 x\r\nContent-Length: 600\r\n\r\n" + `{"error":{"message":"cut"`,
		"endless":    "HTTP/1.1 403 x\r\n\r\n" + strings.Repeat("x", 2*maxRefusal),
	} {
		c := client(t, options(t, raw(t, says(answer))))
		_, err := c.Token(context.Background())
		wantFault(t, err, fault.EntitlementsRefused)
		if !strings.HasSuffix(err.(*fault.Error).Message, "answered 403") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := client(t, options(t, raw(t, func(conn net.Conn) {
		io.WriteString(conn, "HTTP/1.1 403 x\r\nContent-Length: 600\r\n\r\n{")
		untilGone(conn)
	})))
	c.timeout = 200 * time.Millisecond
	mustFail(t, c, fault.EntitlementsRefused)
}

func TestEnvelope(t *testing.T) {
	long := strings.Repeat("a", maxToken)
	for in, want := range map[string]string{
		`{"ok":true,"token":"a.b.c"}`:                                        "a.b.c",
		`{"token":"t","jwt":"j","access_token":"a"}`:                         "t",
		`{"jwt":"j","access_token":"a"}`:                                     "j",
		`{"access_token":"a"}`:                                               "a",
		`{"token":null,"jwt":"j"}`:                                           "j",
		`{"ok":null,"token":"t"}`:                                            "t",
		` { "token" : "t" } ` + "\r\n":                                       "t",
		`{"token":"\u0061"}`:                                                 "a",
		`{"token":"t","expires_in":900,"x":{"token":"y","ok":false},"z":[]}`: "t",
		`{"Token":"T","token":"t"}`:                                          "t",
		`{"token":"` + long + `"}`:                                           long,
		`{"token":"!~"}`:                                                     "!~",
	} {
		if got, err := parseEnvelope([]byte(in)); err != nil || got != want {
			t.Errorf("%.60q: %.60q, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", " ", "null", "true", `"hunter2"`, "[]", `[{"token":"hunter2"}]`, "{}", `{"ok":true}`, "<html>hunter2", "\ufeff" + `{"token":"hunter2"}`,
		`{"ok":false,"token":"hunter2"}`, `{"ok":"true","token":"hunter2"}`, `{"ok":1,"token":"hunter2"}`,
		`{"token":"hunter2"`, `{"token":"hunter2"}}`, `{"token":"hunter2"}{}`, `{"token":"hunter2"} x`, `{"token":"hunter2",}`, `{'token':'hunter2'}`,
		`{"token":"hunter2","token":"hunter2"}`, `{"token":"hunter2","jwt":"j","jwt":"j"}`, `{"token":"hunter2","x":1,"x":1}`, `{"token":"hunter2","x":{"hunter2":1,"hunter2":1}}`, `{"token":"hunter2","\u0074oken":"x"}`,
		`{"TOKEN":"hunter2"}`, `{"Jwt":"hunter2"}`, `{"token":""}`, `{"token":"","jwt":"hunter2"}`, `{"token":1}`, `{"token":["hunter2"]}`, `{"token":{"jwt":"hunter2"}}`,
		`{"token":"hunter2 x"}`, `{"token":"hunter2\n"}`, `{"token":"hunter2\u0000"}`, `{"token":"hünter2"}`, `{"token":"hunter2\u007f"}`, "{\"token\":\"hunter2\xff\"}", `{"token":"hunter2\ud800"}`, "{\"token\":\"t\",\"x\":\"\xff\"}",
		`{"token":"` + long + `a"}`, `{"token":"t","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
	} {
		got, err := parseEnvelope([]byte(in))
		if err == nil || got != "" {
			t.Errorf("%.60q: %.60q", in, got)
		} else if strings.Contains(err.Error(), "nter2") {
			t.Errorf("%.60q: %v", in, err)
		}
	}
	for _, in := range []string{`{"ok":false}`, `{"token":"two words"}`, "<html>", ""} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, in) })
		mustFail(t, client(t, options(t, s.URL)), fault.CampMalformed, s.URL)
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"ok":true,"token":"a.b.c","expires_in":900,"tier":"paid","tier_label":"Pro"}`, `{"jwt":"x"}`, `{"access_token":"x","token":null}`,
		`{"ok":false,"token":"x"}`, `{"token":"x","token":"y"}`, `{"token":"\u0078"}`, "{\"token\":\"\xff\"}", `{"token":""}`, `[]`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		token, err := parseEnvelope(text)
		if err != nil {
			if token != "" {
				t.Fatalf("%q beside %v", token, err)
			}
			return
		}
		if token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
			t.Fatalf("%q gives the token %q", text, token)
		}
		// Another decoder reads the same token out of it.
		var other map[string]any
		if err := stdjson.Unmarshal(text, &other); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, name := range []string{"token", "jwt", "access_token"} {
			if other[name] != nil {
				if other[name] != token || other["ok"] == false {
					t.Fatalf("%q gives the token %q", text, token)
				}
				return
			}
		}
		t.Fatalf("%q gives the token %q out of nowhere", text, token)
	})
}

func TestKeysAreAnObject(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"keys":[]}`: true, "\t\r\n {": true, "{": true,
		"": false, " ": false, "<html>": false, "[{}]": false, "null": false, "\ufeff{}": false, "\v{}": false,
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		got, err := client(t, options(t, s.URL)).Keys(context.Background())
		if ok && (err != nil || string(got) != body) {
			t.Errorf("%q: %q, %v", body, got, err)
		}
		if !ok {
			wantFault(t, err, fault.CampMalformed)
			if got != nil {
				t.Errorf("%q: %q", body, got)
			}
		}
	}
}

// hopper answers /N with a redirect to /N-1 of the same site, and /0 as the platform does.
func hopper(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		at := n
		if i := strings.LastIndexByte(r.URL.Path, '/'); i == 0 {
			at, _ = strconv.Atoi(r.URL.Path[1:])
		}
		if at == 0 {
			fmt.Fprintf(w, `{"token":%q}`, served)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/%d", at-1), http.StatusFound)
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	s := serve(t, hopper(maxRedirects))
	mustToken(t, client(t, options(t, s.URL)))
	if n := len(s.requests()); n != maxRedirects+1 {
		t.Errorf("%d requests", n)
	}
	for name, handler := range map[string]http.HandlerFunc{
		"one more": hopper(maxRedirects + 1),
		"itself": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.RequestURI, http.StatusTemporaryRedirect)
		},
		"a circle": func(w http.ResponseWriter, r *http.Request) {
			to := "/a"
			if r.URL.Path == to {
				to = "/b"
			}
			http.Redirect(w, r, to, http.StatusPermanentRedirect)
		},
	} {
		s := serve(t, handler)
		mustFail(t, client(t, options(t, s.URL)), fault.CampMalformed, "redirects")
		if n := len(s.requests()); n != maxRedirects+1 {
			t.Errorf("%s: %d requests, want %d", name, n, maxRedirects+1)
		}
	}
}

// redirecting answers the calls of the API with a redirect, everything else as the platform does.
func redirecting(status int, location func(r *http.Request) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != DefaultPaths().Entitlements && r.URL.Path != DefaultPaths().JWKS {
			fmt.Fprintf(w, `{"token":%q}`, served)
			return
		}
		w.Header().Set("Location", location(r))
		w.WriteHeader(status)
		io.WriteString(w, strings.Repeat("moved ", 1000))
	}
}

func TestRedirectsWithinTheOrigin(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for location, want := range map[string]string{
			"/x?y=1":               "/x?y=1",
			"/x#fragment":          "/x",
			"x":                    "/api/platform/x",
			"../a/./%2F%41":        "/api/a/%2F%41",
			"//{host}/x":           "/x",
			"http://{host}":        "/",
			"HTTP://{host}/x":      "/x",
			"http://{host}/x//y?#": "/x//y",
		} {
			s := serve(t, redirecting(status, func(r *http.Request) string { return strings.Replace(location, "{host}", r.Host, 1) }))
			mustToken(t, client(t, options(t, s.URL)))
			got := s.requests()
			if len(got) != 2 || got[1].RequestURI != want || got[1].Method != "GET" || got[1].Host != got[0].Host || got[1].Header.Get("Authorization") != "Bearer "+bearer {
				t.Errorf("%d %s: %d requests, the last %s %s %v", status, location, len(got), got[len(got)-1].Method, got[len(got)-1].RequestURI, got[len(got)-1].Header)
			}
		}
	}
	s := serve(t, redirecting(302, func(*http.Request) string { return "/k" }))
	if _, err := client(t, options(t, s.URL)).Keys(context.Background()); err != nil {
		t.Error(err)
	}
	for _, r := range s.requests() {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token went with the keys")
		}
	}
}

func TestRedirectsElsewhereGetNoRequest(t *testing.T) {
	other := serve(t, platform)
	_, otherPort, _ := net.SplitHostPort(other.Listener.Addr().String())
	secureOther, _ := secure(t, platform, nil)
	for _, c := range []struct {
		location string // {host} and {port} are the platform's own
		named    string // what the error names, or "" for no address
	}{
		{other.URL, other.URL},
		{other.URL + "/x?token=1", other.URL},
		{"//" + other.Listener.Addr().String() + "/x", other.URL},
		{secureOther.URL + "/x", secureOther.URL},
		{"https://{host}/x", "https://127.0.0.1:"},
		{"ftp://{host}/x", "ftp://127.0.0.1:"},
		{"http://localhost:{port}/x", "http://localhost:"},
		{"http://LOCALHOST:{port}/x", "http://LOCALHOST:"},
		{"http://127.0.0.1./x", "http://127.0.0.1."},
		{"http://127.0.0.1/x", "127.0.0.1"},
		{"http://127.0.0.1:0{port}/x", "127.0.0.1:0"},
		{"http://[::ffff:127.0.0.1]:{port}/x", "[::ffff:127.0.0.1]"},
		{"http://[::1]:{port}/x", "[::1]"},
		{"http://user@{host}/x", "a user name"},
		{"http://" + bearer + ":x@{host}/x", "a user name"},
		{"http://{host}@127.0.0.1:" + otherPort + "/x", other.URL},
		{"https://portal.example/login", "https://portal.example"},
		{"https://" + bearer + ".example/", redacted},
		{"https://p%C2%9Bx/", "p x"},
		{"https://p%E2%80%AEx/", "p x"},
		{"https://" + strings.Repeat("p", 500) + "/", "…"},
		{"", ""}, {"http://", ""}, {"http:///x", ""}, {"http:x", ""}, {"mailto:a@b", ""}, {"file:///etc/passwd", ""}, {"javascript:alert(1)", ""},
		{"http://[", ""}, {"%zz", ""}, {"http://a b/", ""}, {`http:\\{host}\x`, ""}, {`/\{host}/x`, ""}, {"/ü", ""}, {"http://{host}:x/", ""}, {"/" + strings.Repeat("x", maxLocation), ""},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s := serve(t, redirecting(status, func(r *http.Request) string {
				_, port, _ := net.SplitHostPort(r.Host)
				return strings.NewReplacer("{host}", r.Host, "{port}", port).Replace(c.location)
			}))
			cl := client(t, options(t, s.URL))
			_, errKeys := cl.Keys(context.Background())
			_, errToken := cl.Token(context.Background())
			for _, err := range []error{errKeys, errToken} {
				switch c.named {
				case "":
					wantFault(t, err, fault.CampMalformed, "redirects to no address")
				case "a user name":
					wantFault(t, err, fault.CampMalformed, c.named)
				default:
					wantFault(t, err, fault.CampMalformed, c.named, "captive portal", "`camp.url`")
				}
				if t.Failed() {
					t.Fatalf("%d %q: %v", status, c.location, err)
				}
			}
			if n := len(s.requests()); n != 2 {
				t.Errorf("%d %q: %d requests", status, c.location, n)
			}
			s.Close()
		}
	}
	if n := len(other.requests()) + len(secureOther.requests()); n != 0 {
		t.Errorf("%d requests reached another origin", n)
	}
	// net/http itself refuses a field with these.
	c := client(t, options(t, DefaultURL))
	for _, location := range []string{"/\x00", "/\x7f", "/\r\n", "\t/"} {
		_, err := c.target("/", &url.URL{Scheme: "https", Host: "carl.camp", Path: "/"}, location)
		wantFault(t, err, fault.CampMalformed, "redirects to no address")
	}
	// Not the first hop, but the second leads out.
	s := serve(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, map[bool]string{true: other.URL, false: "/next"}[r.URL.Path == "/next"], http.StatusFound)
	})
	mustFail(t, client(t, options(t, s.URL)), fault.CampMalformed, other.URL)
	if n := len(other.requests()); n != 0 {
		t.Errorf("%d requests reached another origin", n)
	}
}

func TestOrigins(t *testing.T) {
	of := func(s string) origin {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return originOf(u)
	}
	for _, same := range [][2]string{
		{"https://carl.camp", "HTTPS://CARL.camp:443/x"}, {"http://127.0.0.1", "http://127.0.0.1:80"}, {"http://[::1]", "http://[0:0:0::1]:80/"}, {"https://carl.camp:", "https://carl.camp"},
	} {
		if of(same[0]) != of(same[1]) {
			t.Errorf("%v are two", same)
		}
	}
	for _, different := range [][2]string{
		{"https://carl.camp", "http://carl.camp"}, {"https://carl.camp", "http://carl.camp:443"}, {"https://carl.camp", "https://carl.camp:80"}, {"https://carl.camp", "https://carl.camp."}, {"https://carl.camp", "https://www.carl.camp"}, {"http://127.0.0.1", "http://127.0.0.2"}, {"http://127.0.0.1", "http://[::ffff:127.0.0.1]"},
	} {
		if of(different[0]) == of(different[1]) {
			t.Errorf("%v are one", different)
		}
	}
}

// zeros is gzip of a gigabyte of zeros, or the start of it.
func zeros(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for out.Len() < maxAnswer/2 {
		w.Write(block)
	}
	w.Close()
	return out.Bytes()
}

func TestEncodedAnswersAreRefused(t *testing.T) {
	bomb := zeros(t)
	for coding, ok := range map[string]bool{
		"gzip": false, "GZIP": false, "x-gzip": false, "br": false, "identity, gzip": false, "deflate": false, "x": false,
		"identity": true, "Identity ": true, "": true,
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", coding)
			if ok {
				platform(w, r)
				return
			}
			w.Write(bomb)
		})
		c := client(t, options(t, s.URL))
		keys, err := c.Keys(context.Background())
		if ok {
			mustToken(t, c)
			if err != nil {
				t.Errorf("%q: %v", coding, err)
			}
			continue
		}
		mustFail(t, c, fault.CampMalformed, "encoded")
		wantFault(t, err, fault.CampMalformed, "encoded")
		if keys != nil {
			t.Errorf("%q: %d bytes", coding, len(keys))
		}
	}
	// Two fields, of which the first looks harmless.
	c := client(t, options(t, raw(t, says("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"))))
	mustFail(t, c, fault.CampMalformed, "encoded")
	if !c.transport.DisableCompression {
		t.Error("the transport may decompress by itself")
	}
}

func TestAnswersAreBounded(t *testing.T) {
	exact := `{"token":"` + served + `","x":"` + strings.Repeat("x", maxAnswer)
	exact = exact[:maxAnswer-2] + `"}`
	gone := make(chan struct{}, 2)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("User-Agent") {
		case "carl/exact":
			io.WriteString(w, exact)
		case "carl/more":
			io.WriteString(w, exact+" ")
		case "carl/chunked":
			io.WriteString(w, exact)
			w.(http.Flusher).Flush()
			io.WriteString(w, " ")
		case "carl/large":
			w.Header().Set("Content-Length", strconv.Itoa(10<<20))
			io.WriteString(w, exact)
			w.Write(bytes.Repeat([]byte(" "), 10<<20-len(exact)))
		case "carl/endless":
			io.WriteString(w, exact)
			for {
				if _, err := io.WriteString(w, exact); err != nil {
					gone <- struct{}{}
					return
				}
			}
		case "carl/fields":
			w.Header().Set("X-Large", strings.Repeat("x", maxFields))
		case "carl/many":
			for i := range 2 * maxFields / 100 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
		}
	})
	for version, bounded := range map[string]string{"exact": "", "more": "more than 64 KiB", "chunked": "more than 64 KiB", "large": "more than 64 KiB", "endless": "more than 64 KiB", "fields": "fields of more than 64 KiB", "many": "fields of more than 64 KiB"} {
		o := options(t, s.URL)
		o.Version = version
		c := client(t, o)
		keys, err := c.Keys(context.Background())
		if bounded == "" {
			if err != nil || string(keys) != exact {
				t.Errorf("%s: %d bytes, %v", version, len(keys), err)
			}
			mustToken(t, c)
			continue
		}
		if keys != nil {
			t.Errorf("%s: %d bytes", version, len(keys))
		}
		wantFault(t, err, fault.CampMalformed, bounded)
		mustFail(t, c, fault.CampMalformed, bounded)
	}
	for range 2 {
		wait(t, gone, "the endless answer is still read")
	}
}

func wait(t testing.TB, c <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(hang):
		t.Error(otherwise)
	}
}

// Nothing but the bound on the whole call ends these.
func TestCallsAreBoundedInTime(t *testing.T) {
	drip := func(head, drop string) func(net.Conn) {
		return func(conn net.Conn) {
			for _, err := io.WriteString(conn, head); err == nil; _, err = io.WriteString(conn, drop) {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	for name, address := range map[string]string{
		"silent":         raw(t, untilGone),
		"half a status":  raw(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 2"); untilGone(conn) }),
		"half an answer": raw(t, func(conn net.Conn) { io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n{"); untilGone(conn) }),
		"dripping field": raw(t, drip("HTTP/1.1 200 OK\r\nX: ", "x")),
		"dripping body":  raw(t, drip("HTTP/1.1 200 OK\r\n\r\n{", " ")),
		"dripping chunk": raw(t, drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n")),
		// net/http lets a handshake go on whose call has ended; it has a bound of its own.
		"silent TLS": "https://" + listen(t, func(net.Conn) { <-t.Context().Done() }),
		"slow redirects": raw(t, func(conn net.Conn) {
			time.Sleep(90 * time.Millisecond)
			io.WriteString(conn, "HTTP/1.1 302 x\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}),
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, options(t, address))
			c.timeout = 200 * time.Millisecond
			start := time.Now()
			_, err := c.Token(context.Background())
			wantFault(t, err, fault.EntitlementsNetworkUnavailable, "in 200ms")
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				t.Error("the client's own bound looks like the caller's")
			}
			if took := time.Since(start); took > hang {
				t.Errorf("took %s", took)
			}
		})
	}
	if callTimeout > 10*time.Second {
		t.Errorf("a call may take %s", callTimeout)
	}
}

func TestCallerEndsACall(t *testing.T) {
	arrived := make(chan struct{}, 1)
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\n\r\n{"} {
		c := client(t, options(t, raw(t, func(conn net.Conn) {
			io.WriteString(conn, answer)
			arrived <- struct{}{}
			untilGone(conn)
		})))
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-arrived
			cancel()
		}()
		_, err := c.Token(ctx)
		wantFault(t, err, fault.EntitlementsNetworkUnavailable, "canceled")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not the caller's", err)
		}

		ctx, cancel = context.WithTimeout(context.Background(), 100*time.Millisecond)
		_, err = c.Keys(ctx)
		cancel()
		wantFault(t, err, fault.EntitlementsNetworkUnavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is not the caller's", err)
		}
		<-arrived
	}
	s := serve(t, platform)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := client(t, options(t, s.URL)).Token(ctx)
	wantFault(t, err, fault.EntitlementsNetworkUnavailable)
	if !errors.Is(err, context.Canceled) || len(s.requests()) != 0 {
		t.Errorf("%v, %d requests", err, len(s.requests()))
	}
}

func TestNetworkErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	ln.Close()
	const json = `{"token":"a.b.c"}`
	for name, c := range map[string]struct{ address, says string }{
		"nobody":         {nobody, "connection refused"},
		"no answer":      {raw(t, says("")), "closed before the answer was complete"},
		"half a status":  {raw(t, says("HTTP/1.1 20")), "no proper HTTP answer"},
		"cut":            {raw(t, says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+json)), "closed before the answer was complete"},
		"cut in a chunk": {raw(t, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n"+json+"\r\n")), "closed before the answer was complete"},
		"reset": {raw(t, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"+json)
			conn.(*net.TCPConn).SetLinger(0)
		}), ""},
		"not HTTP":        {raw(t, says("SSH-2.0-OpenSSH_9.9 "+bearer+"\r\n\r\n")), "no proper HTTP answer"},
		"no fields":       {raw(t, says("HTTP/1.1 200 OK\r\n"+bearer+"\r\n\r\n"+json)), "no proper HTTP answer"},
		"no status":       {raw(t, says("HTTP/1.1 xyz\r\n\r\n"+json)), "no proper HTTP answer"},
		"no length":       {raw(t, says("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"+json)), "no proper HTTP answer"},
		"two lengths":     {raw(t, says("HTTP/1.1 200 OK\r\nContent-Length: 17\r\nContent-Length: 5\r\n\r\n"+json)), "no proper HTTP answer"},
		"no chunks":       {raw(t, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+json+"\r\n")), "no proper HTTP answer"},
		"gzip on the way": {raw(t, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"+json)), "no proper HTTP answer"},
		"endless status":  {raw(t, says("HTTP/1.1 200 "+strings.Repeat("x", 10<<20))), ""},
		"hints for ever":  {raw(t, says(strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n", 1000))), ""},
	} {
		t.Run(name, func(t *testing.T) {
			code := fault.EntitlementsNetworkUnavailable
			if c.says == "" && name != "reset" {
				code = fault.CampMalformed
			}
			cl := client(t, options(t, c.address))
			mustFail(t, cl, code, c.says, c.address)
			keys, err := cl.Keys(context.Background())
			if keys != nil {
				t.Errorf("keys %q", keys)
			}
			wantFault(t, err, code, c.says)
		})
	}
}

func TestServerDiesInTheAnswer(t *testing.T) {
	s := serve(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"token":`)
		w.(http.Flusher).Flush()
		s.CloseClientConnections()
	})
	mustFail(t, client(t, options(t, s.URL)), fault.EntitlementsNetworkUnavailable)
}

func TestNoConnectionIsKept(t *testing.T) {
	opened, closed := make(chan struct{}, 10), make(chan struct{}, 10)
	s := newSite(platform)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened <- struct{}{}
		case http.StateClosed:
			closed <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := client(t, options(t, s.URL))
	for range 3 {
		mustToken(t, c)
		wait(t, opened, "a connection of an earlier call was used")
		wait(t, closed, "the connection is still open")
	}
	// What comes behind an answer is printed by nobody.
	var printed bytes.Buffer
	log.SetOutput(&printed)
	defer log.SetOutput(os.Stderr)
	hungUp := make(chan struct{})
	mustToken(t, client(t, options(t, raw(t, func(conn net.Conn) {
		body := fmt.Sprintf(`{"token":%q}`, served)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sand more", len(body), body)
		untilGone(conn)
		close(hungUp)
	}))))
	wait(t, hungUp, "the connection is still open")
	if printed.Len() != 0 {
		t.Errorf("printed: %s", printed.String())
	}
}

func TestSeveralGoroutines(t *testing.T) {
	s, ca := secure(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == DefaultPaths().JWKS && r.Header.Get("Authorization") != "" {
			t.Error("the token went with the keys")
		}
		platform(w, r)
	}, nil)
	o := options(t, s.URL)
	o.CAFile = ca
	c := client(t, o)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				mustToken(t, c)
				if _, err := c.Keys(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.requests()); n != 8*5*2 {
		t.Errorf("%d requests", n)
	}
}
