package egress

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"carl.camp/carl/host/world"
)

// hopper answers /N with a redirect to /N-1 of the same site, and /0 with ok.
func hopper(w http.ResponseWriter, r *http.Request) {
	var n int
	fmt.Sscanf(r.URL.Path, "/%d", &n)
	if n == 0 {
		fmt.Fprint(w, "arrived")
		return
	}
	http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusTemporaryRedirect)
}

// sendTo redirects every request to target with a status.
func sendTo(target string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", target)
		w.WriteHeader(status)
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	s := serve(t, "127.0.0.1", hopper)
	c := client(t, Config{Origins: granted(s.origin(t))})
	if resp := mustSend(t, c, get(fmt.Sprintf("%s/%d", s.URL, MaxRedirects))); string(resp.Body) != "arrived" {
		t.Errorf("got %q", resp.Body)
	}
	before := len(s.requests())
	mustFail(t, c, get(fmt.Sprintf("%s/%d", s.URL, MaxRedirects+1)), world.HTTPDenied)
	if n := len(s.requests()) - before; n != MaxRedirects+1 {
		t.Errorf("%d requests for a chain that is too long, want %d", n, MaxRedirects+1)
	}
}

func TestEveryHopIsHeldAgainstTheGrant(t *testing.T) {
	other := serve(t, "127.0.0.2", ok)
	port := other.URL[strings.LastIndexByte(other.URL, ':')+1:]
	for _, location := range []string{
		other.URL + "/x",
		"//127.0.0.2:" + port + "/x",
		"https://127.0.0.2:" + port,
		"http://localhost:" + port,
		"http://[::ffff:127.0.0.2]:" + port,
		"http://0x7f000002:" + port,
		"http://user@127.0.0.2:" + port,
		"file:///etc/passwd",
		"javascript:alert(1)",
		"http://[",
		"http://a b/",
		"/" + strings.Repeat("x", maxURL),
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			s := serve(t, "127.0.0.1", sendTo(location, status))
			c := client(t, Config{Origins: granted(s.origin(t))})
			mustFail(t, c, get(s.URL), world.HTTPDenied)
			s.Close()
		}
	}
	// Not the first hop, but the second leads out.
	inner := serve(t, "127.0.0.3", sendTo(other.URL, 302))
	outer := serve(t, "127.0.0.1", sendTo(inner.URL, 302))
	c := client(t, Config{Origins: granted(outer.origin(t), inner.origin(t))})
	mustFail(t, c, get(outer.URL), world.HTTPDenied)
	if len(inner.requests()) != 1 {
		t.Error("the granted hop was not taken")
	}
	if n := len(other.requests()); n != 0 {
		t.Errorf("%d requests reached an origin that was not granted", n)
	}
}

func TestRedirectBetweenGrantedOrigins(t *testing.T) {
	const secretA, secretB = "the-secret-of-origin-A", "the-secret-of-origin-B"
	b := serve(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "auth=%s", r.Header.Get("Authorization"))
	})
	a := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", b.URL+"/landed")
		w.WriteHeader(307)
	})
	c := client(t, Config{
		Origins: granted(a.origin(t), b.origin(t)),
		Secrets: []Secret{bearer(secretA, a.origin(t)), bearer(secretB, b.origin(t))},
	})
	resp := mustSend(t, c, world.Request{Method: "PUT", URL: a.URL, Body: []byte("body"), Headers: []world.Header{
		{Name: "Authorization", Value: "Bearer of-the-plugin"},
		{Name: "X-Api-Key", Value: "of-the-plugin"},
		{Name: "X-Session-Id", Value: "of-the-plugin"},
		{Name: "Dpop-Signature", Value: "of-the-plugin"},
		{Name: "Idempotency-Key", Value: "1"},
		{Name: "Content-Type", Value: "text/plain"},
	}})
	if got := string(resp.Body); got != "auth=Bearer "+marker {
		t.Errorf("got %q", got)
	}
	ra, rb := a.requests()[0], b.requests()[0]
	if got := ra.Header.Get("Authorization"); got != "Bearer "+secretA {
		t.Errorf("A got %q", got)
	}
	if ra.Header.Get("X-Api-Key") != "of-the-plugin" {
		t.Error("the plugin's own key did not reach the origin it was for")
	}
	if got := rb.Header.Get("Authorization"); got != "Bearer "+secretB {
		t.Errorf("B got %q", got)
	}
	for _, name := range []string{"X-Api-Key", "X-Session-Id", "Dpop-Signature"} {
		if rb.Header.Get(name) != "" {
			t.Errorf("the plugin's %s for A reached B", name)
		}
	}
	if rb.Header.Get("Idempotency-Key") != "1" || rb.Header.Get("Content-Type") != "text/plain" || rb.Method != "PUT" || b.bodies()[0] != "body" {
		t.Errorf("B got %s %v %q", rb.Method, rb.Header, b.bodies()[0])
	}
}

func TestSecretDoesNotFollowARedirect(t *testing.T) {
	const secret = "the-secret-of-origin-A"
	b := serve(t, "127.0.0.2", ok)
	a := serve(t, "127.0.0.1", sendTo(b.URL, 302))
	c := client(t, Config{Origins: granted(a.origin(t), b.origin(t)), Secrets: []Secret{bearer(secret, a.origin(t))}})
	mustSend(t, c, get(a.URL))
	if got := b.requests()[0].Header.Get("Authorization"); got != "" {
		t.Errorf("B got %q", got)
	}
	if got := a.requests()[0].Header.Get("Authorization"); got != "Bearer "+secret {
		t.Errorf("A got %q", got)
	}
}

func TestRedirectMethods(t *testing.T) {
	for _, c := range []struct {
		status        int
		method, after string
		body          bool
	}{
		{301, "POST", "GET", false}, {302, "POST", "GET", false}, {303, "POST", "GET", false}, {307, "POST", "POST", true}, {308, "POST", "POST", true},
		{301, "PUT", "PUT", true}, {302, "DELETE", "DELETE", true}, {303, "PUT", "GET", false}, {303, "HEAD", "HEAD", true}, {302, "GET", "GET", true},
	} {
		end := serve(t, "127.0.0.2", ok)
		start := serve(t, "127.0.0.1", sendTo(end.URL, c.status))
		cl := client(t, Config{Origins: granted(start.origin(t), end.origin(t))})
		mustSend(t, cl, world.Request{Method: c.method, URL: start.URL, Body: []byte("body"), Headers: []world.Header{{Name: "Content-Type", Value: "a/b"}}})
		r := end.requests()[0]
		wantBody, wantType := "", ""
		if c.body {
			wantBody, wantType = "body", "a/b"
		}
		if r.Method != c.after || end.bodies()[0] != wantBody || r.Header.Get("Content-Type") != wantType {
			t.Errorf("%d %s: went on as %s %q %q", c.status, c.method, r.Method, end.bodies()[0], r.Header.Get("Content-Type"))
		}
		start.Close()
		end.Close()
	}
}

func TestRedirectResendsWithinTheBound(t *testing.T) {
	s := serve(t, "127.0.0.1", hopper)
	c := client(t, Config{Origins: granted(s.origin(t)), MaxRequest: 100})
	mustSend(t, c, world.Request{Method: "POST", URL: s.URL + "/1", Body: make([]byte, 50)})
	mustFail(t, c, world.Request{Method: "POST", URL: s.URL + "/1", Body: make([]byte, 51)}, world.HTTPTooLarge)
	if n := len(s.requests()); n != 3 {
		t.Errorf("%d requests arrived, want 3: the second body is beyond the bound", n)
	}
}

func TestWhatIsNoRedirectIsAnAnswer(t *testing.T) {
	for _, status := range []int{300, 304, 305, 399} {
		s := serve(t, "127.0.0.1", sendTo("http://127.0.0.9:1/", status))
		c := client(t, Config{Origins: granted(s.origin(t))})
		if resp := mustSend(t, c, get(s.URL)); int(resp.Status) != status {
			t.Errorf("%d arrived as %d", status, resp.Status)
		}
		s.Close()
	}
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(302) })
	c := client(t, Config{Origins: granted(s.origin(t))})
	if resp := mustSend(t, c, get(s.URL)); resp.Status != 302 {
		t.Errorf("a redirect without a Location arrived as %d", resp.Status)
	}
}
