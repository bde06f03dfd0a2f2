package egress

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
)

func bearer(value string, origin Origin) Secret {
	return Secret{Name: "token", Header: "Authorization", Format: "Bearer {}", For: origin, Value: func() (string, error) { return value, nil }}
}

func TestSecretIsInjectedAndNeverSeen(t *testing.T) {
	const secret = `sk-Abc/123+"quoted"\~{x}&<y>-_end`
	echo := func(w http.ResponseWriter, r *http.Request) {
		got := r.Header.Get("Authorization")
		raw := strings.TrimPrefix(got, "Bearer ")
		w.Header().Set("X-Echo", got)
		w.Header().Set("X-"+hex.EncodeToString([]byte(raw)), "in a name")
		w.Header().Set("Www-Authenticate", "Bearer error=\""+raw+"\"")
		w.WriteHeader(401)
		fmt.Fprintf(w, "exact %s\n", got)
		fmt.Fprintf(w, "upper %s\n", strings.ToUpper(raw))
		fmt.Fprintf(w, "json %q\n", raw)
		fmt.Fprintf(w, "query %s\n", url.QueryEscape(raw))
		fmt.Fprintf(w, "path %s\n", url.PathEscape(raw))
		fmt.Fprintf(w, "query in json %q\n", "https://x/?a="+url.QueryEscape(raw))
		fmt.Fprintf(w, "json in json %q\n", fmt.Sprintf("%q", raw))
		fmt.Fprintf(w, "base64 %s\n", base64.StdEncoding.EncodeToString([]byte(raw)))
		fmt.Fprintf(w, "base64 url %s\n", base64.RawURLEncoding.EncodeToString([]byte(raw)))
		fmt.Fprintf(w, "base64 1 %s\n", base64.StdEncoding.EncodeToString([]byte("x"+raw+"yz")))
		fmt.Fprintf(w, "base64 2 %s\n", base64.StdEncoding.EncodeToString([]byte("xy"+raw+"z")))
		fmt.Fprintf(w, "hex %x %X\n", raw, raw)
		every := ""
		for i := range len(raw) {
			every += fmt.Sprintf([]string{"%%%02X", "%%%02x", `\u%04x`, `\x%02x`, "&#%d;", "&#x%x;", "%c"}[i%7], raw[i])
		}
		fmt.Fprintf(w, "mixed %s\n", every)
		fmt.Fprint(w, "end")
	}
	s := serve(t, "127.0.0.1", echo)
	var seen []Attempt
	c := client(t, Config{Origins: granted(s.origin(t)), Secrets: []Secret{bearer(secret, s.origin(t))}, Observe: func(a Attempt) { seen = append(seen, a) }})
	resp := mustSend(t, c, world.Request{Method: "GET", URL: s.URL, Headers: []world.Header{{Name: "authorization", Value: "Bearer of-the-plugin"}}})
	if got := s.requests()[0].Header["Authorization"]; len(got) != 1 || got[0] != "Bearer "+secret {
		t.Fatalf("the site got %q", got)
	}
	body := string(resp.Body)
	for _, line := range strings.Split(body, "\n") {
		if line == "end" {
			break
		}
		if strings.Count(line, marker) == 0 {
			t.Errorf("not scrubbed: %s", line)
		}
		kind, rest, _ := strings.Cut(line, "[")
		if strings.Contains(kind, "base64 ") && len(strings.TrimPrefix(rest, marker[1:])) > 6 {
			t.Errorf("too much left of %s", line)
		}
	}
	for _, left := range []string{"sk-", "abc/123", "quoted", "736b2d", base64.RawStdEncoding.EncodeToString([]byte(secret))[:8]} {
		if strings.Contains(strings.ToLower(body), strings.ToLower(left)) {
			t.Errorf("%q is left in %s", left, body)
		}
	}
	if !strings.HasSuffix(body, "\nend") {
		t.Errorf("what is no secret was lost: %q", body)
	}
	for _, h := range resp.Headers {
		if strings.Contains(strings.ToLower(h.Name+h.Value), "abc/123") || strings.Contains(strings.ToLower(h.Name), "736b2d") {
			t.Errorf("field %s: %s", h.Name, h.Value)
		}
		if h.Name == "Content-Length" {
			t.Errorf("a length of %s that is no longer true", h.Value)
		}
	}
	if v, _ := field(resp, "X-Echo"); v != "Bearer "+marker {
		t.Errorf("X-Echo: %q", v)
	}
	if len(seen) != 1 {
		t.Errorf("%d attempts", len(seen))
	}
}

func TestBasicCredentialsAreScrubbedWithin(t *testing.T) {
	const password = "correct horse"
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		user, pw, _ := r.BasicAuth()
		fmt.Fprintf(w, "user %s password %s raw %s", user, pw, r.Header.Get("Authorization"))
	})
	secret := bearer(base64.StdEncoding.EncodeToString([]byte("alice:"+password)), s.origin(t))
	secret.Format = "Basic {}"
	c := client(t, Config{Origins: granted(s.origin(t)), Secrets: []Secret{secret}})
	want := "user alice password " + marker + " raw Basic " + marker
	if got := string(mustSend(t, c, get(s.URL)).Body); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBasicCredentialsWithoutAPassword(t *testing.T) {
	s := scrubber{needles: []needle{{forms: forms(base64.StdEncoding.EncodeToString([]byte("a-key-as-the-user:")), "Basic {}")}}}
	for _, text := range []string{"a-key-as-the-user", hex.EncodeToString([]byte("a-key-as-the-user")), base64.StdEncoding.EncodeToString([]byte("a-key-as-the-user:"))} {
		if got := s.scrubString(text); !strings.HasPrefix(got, marker) {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	const secret = "hunter2-hunter2"
	for name, handler := range map[string]http.HandlerFunc{
		"redirect host": sendTo("https://"+strings.ToUpper(secret)+".example/", 302),
		"redirect path": sendTo("https://evil.example/"+secret, 302),
		"redirect user": sendTo("https://"+secret+"@evil.example/", 302),
		"garbage": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "GARBAGE "+secret+"\r\n\r\n")
			conn.Close()
		},
		"bad status": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "HTTP/1.1 "+secret+" no\r\n\r\n")
			conn.Close()
		},
		"bad field": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+secret+"\r\n\r\n")
			conn.Close()
		},
		"bad length": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+secret+"\r\n\r\n")
			conn.Close()
		},
	} {
		s := serve(t, "127.0.0.1", handler)
		var seen Attempt
		c := client(t, Config{Origins: granted(s.origin(t)), Secrets: []Secret{bearer(secret, s.origin(t))}, Observe: func(a Attempt) { seen = a }})
		_, err := c.Send(context.Background(), get(s.URL))
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if text := strings.ToLower(fmt.Sprintf("%v %+v", err, seen)); strings.Contains(text, secret) {
			t.Errorf("%s: %s", name, text)
		}
		s.Close()
	}
}

func TestAnEarlierSecretIsScrubbedToo(t *testing.T) {
	value := "first-value-of-the-secret"
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "first-value-of-the-secret") })
	other := serve(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "first-value-of-the-secret") })
	secret := bearer("", s.origin(t))
	secret.Value = func() (string, error) { return value, nil }
	c := client(t, Config{Origins: granted(s.origin(t), other.origin(t)), Secrets: []Secret{secret}})
	mustSend(t, c, get(s.URL))
	value = "second-value-of-the-secret"
	for _, url := range []string{s.URL, other.URL} {
		if got := string(mustSend(t, c, get(url)).Body); got != marker {
			t.Errorf("%s answered %q", url, got)
		}
	}
}

func TestSecretValuesThatCannotBeSent(t *testing.T) {
	for _, value := range []string{"", " padded", "padded ", "two\nlines", "two\r\nHost: evil", "nul\x00", "del\x7f", "tab\there", "ümlaut", strings.Repeat("x", maxSecret+1)} {
		s := serve(t, "127.0.0.1", ok)
		c := client(t, Config{Origins: granted(s.origin(t)), Secrets: []Secret{bearer(value, s.origin(t))}})
		text := mustFail(t, c, get(s.URL), world.HTTPDenied)
		if len(strings.TrimSpace(value)) > 3 && strings.Contains(text, strings.TrimSpace(value)) {
			t.Errorf("the error for %q holds it: %s", value, text)
		}
		if len(s.requests()) != 0 {
			t.Errorf("a request with the value %q arrived", value)
		}
		s.Close()
	}
	s := serve(t, "127.0.0.1", ok)
	broken := bearer("", s.origin(t))
	broken.Value = func() (string, error) { return "", errors.New("secrets.json: cannot read hunter2") }
	c := client(t, Config{Origins: granted(s.origin(t)), Secrets: []Secret{broken}})
	if text := mustFail(t, c, get(s.URL), world.HTTPDenied); strings.Contains(text, "hunter2") || !strings.Contains(text, `"token"`) {
		t.Errorf("error %q", text)
	}
	broken.Value = func() (string, error) { return "", fault.New(fault.CampUnauthorized, "no token but hunter2") }
	c = client(t, Config{Origins: granted(s.origin(t)), Secrets: []Secret{broken}})
	if text := mustFail(t, c, get(s.URL), world.HTTPDenied); strings.Contains(text, "hunter2") || !strings.Contains(text, "carl camp login") {
		t.Errorf("error %q", text)
	}
	if len(s.requests()) != 0 {
		t.Error("a request without its secret arrived")
	}
}

func TestNewRefusesIllegalSecrets(t *testing.T) {
	o := mustOrigin(t, "https://a.example")
	for name, change := range map[string]func(*Secret){
		"host":              func(s *Secret) { s.Header = "Host" },
		"cookie":            func(s *Secret) { s.Header = "Cookie" },
		"content-length":    func(s *Secret) { s.Header = "Content-Length" },
		"transfer-encoding": func(s *Secret) { s.Header = "Transfer-Encoding" },
		"any header":        func(s *Secret) { s.Header = "X-Whatever" },
		"no header":         func(s *Secret) { s.Header = "" },
		"split header":      func(s *Secret) { s.Header = "Authorization\r\nX: y" },
		"no placeholder":    func(s *Secret) { s.Format = "Bearer" },
		"two placeholders":  func(s *Secret) { s.Format = "{} {}" },
		"line in format":    func(s *Secret) { s.Format = "Bearer {}\r\nHost: evil" },
		"long format":       func(s *Secret) { s.Format = "{}" + strings.Repeat("x", maxFormat) },
		"no format":         func(s *Secret) { s.Format = "" },
		"no value":          func(s *Secret) { s.Value = nil },
	} {
		s := bearer("value", o)
		change(&s)
		if _, err := New(Config{Plugin: "a/b", Origins: granted(o), Secrets: []Secret{s}}); fault.CodeOf(err) != fault.PluginGrantDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := []Secret{bearer("one", o), bearer("two", o)}
	twice[1].Header = "authorization"
	if _, err := New(Config{Origins: granted(o), Secrets: twice}); fault.CodeOf(err) != fault.PluginGrantDenied {
		t.Errorf("two secrets in one field: %v", err)
	}
	if _, err := New(Config{Origins: []Grant{{}}}); fault.CodeOf(err) != fault.PluginGrantDenied {
		t.Errorf("a grant without an origin: %v", err)
	}
	if _, err := New(Config{Secrets: []Secret{bearer("one", o)}}); err != nil {
		t.Errorf("a secret for an origin that is not granted is never sent, and no error: %v", err)
	}
}
