package camp

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"carl.camp/carl/host/fault"
)

func TestParseURL(t *testing.T) {
	for in, want := range map[string]struct {
		text, origin    string
		loopback, named bool
	}{
		"https://carl.camp":           {"https://carl.camp", "https://carl.camp", false, false},
		"https://carl.camp/":          {"https://carl.camp", "https://carl.camp", false, false},
		"HTTPS://Carl.Camp:8443":      {"https://carl.camp:8443", "https://carl.camp:8443", false, false},
		"https://acme.dev/carl/":      {"https://acme.dev/carl", "https://acme.dev", false, false},
		"http://127.0.0.1:4000":       {"http://127.0.0.1:4000", "http://127.0.0.1:4000", true, false},
		"http://[::1]:4000":           {"http://[::1]:4000", "http://[::1]:4000", true, false},
		"http://localhost:4000":       {"http://localhost:4000", "http://localhost:4000", true, true},
		"https://10.0.0.1":            {"https://10.0.0.1", "https://10.0.0.1", false, false},
		"https://camp.internal:8/a.b": {"https://camp.internal:8/a.b", "https://camp.internal:8", false, false},
		"https://xn--bcher-kva.de":    {"https://xn--bcher-kva.de", "https://xn--bcher-kva.de", false, false},
	} {
		u, err := ParseURL(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if u.String() != want.text || u.Origin() != want.origin || u.Loopback() != want.loopback || u.Named() != want.named {
			t.Errorf("%q: %s, %s, loopback %v, named %v", in, u, u.Origin(), u.Loopback(), u.Named())
		}
		if got := u.Call(DefaultPaths().Signals); got != want.text+"/api/axon/signals" || got != u.Origin()+u.Path(DefaultPaths().Signals) {
			t.Errorf("%q: the signals are at %s", in, got)
		}
	}
	for _, in := range []string{
		"", "carl.camp", "//carl.camp", "https://", "https:///x", "ftp://carl.camp", "file:///etc/passwd",
		"http://carl.camp", "http://10.0.0.1", "http://localhost.evil.com", "http://127.0.0.1.evil.com", "http://127.1", "http://2130706433", "http://0x7f.1", "http://[::ffff:127.0.0.1]", "http://0.0.0.0",
		"https://127.1", "https://a..b", "https://carl.camp.", "https://carl.camp:", "https://carl.camp:x", "https://carl.camp:0", "https://carl.camp:0443", "https://carl.camp:65536", "https://bücher.de", "https://car l.camp", "https://carl.camp\n", `https://carl.camp\x`, "https://[fe80::1%25eth0]",
		"https://user@carl.camp", "https://user:hunter2@carl.camp", "https://carl.camp?x=hunter2", "https://carl.camp?", "https://carl.camp#x", "https://carl.camp#",
		"https://carl.camp/a//b", "https://carl.camp/../b", "https://carl.camp/a%2fb", "https://carl.camp/a b", "https://carl.camp/" + strings.Repeat("a", maxURL),
	} {
		u, err := ParseURL(in)
		if fault.CodeOf(err) != fault.ConfigInvalid || u != (URL{}) {
			t.Errorf("%.60q: %v, %v", in, u, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := ParseURL(DefaultURL); err != nil {
		t.Error(err)
	}
}

func TestPaths(t *testing.T) {
	p, err := DefaultPaths().Override(map[string]string{"signals": "/v2/in", "runs": "/runs"})
	if err != nil || p.Signals != "/v2/in" || p.Runs != "/runs" || p.JWKS != DefaultPaths().JWKS {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []map[string]string{
		{"signal": "/x"}, {"signals": ""}, {"signals": "x"}, {"signals": "/"}, {"signals": "/a?b"}, {"signals": "/a#b"}, {"signals": "/../a"}, {"signals": "/a/./b"}, {"signals": "//evil"},
		{"signals": "/a b"}, {"signals": "/a%2fb"}, {"signals": "/a/"}, {"signals": "/\r\n"}, {"signals": "/" + strings.Repeat("a", maxPath)},
	} {
		if _, err := DefaultPaths().Override(bad); fault.CodeOf(err) != fault.ConfigInvalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestParseToken(t *testing.T) {
	for in, want := range map[string]string{
		"abc": "abc", " abc\r\n": "abc", "eyJ.a-b_c~d+e/f==": "eyJ.a-b_c~d+e/f==", strings.Repeat("a", maxToken): strings.Repeat("a", maxToken),
	} {
		if got, err := ParseToken(in); err != nil || got != want {
			t.Errorf("%.40q: %.40q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", " \n", "two words", "two\nlines", "Bearer hunter2", "=", "a=b", "hunter2\x00", "hünter2", `"hunter2"`, strings.Repeat("a", maxToken+1)} {
		got, err := ParseToken(in)
		if fault.CodeOf(err) != fault.CampTokenInvalid || got != "" {
			t.Errorf("%.40q: %.40q, %v", in, got, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestReadRefusal(t *testing.T) {
	body := `{"error":{"code":"invalid_batch","message":"not a batch","fields":[{"path":"/3/id","message":"missing"}]}}`
	r := ReadRefusal(422, strings.NewReader(body))
	if r.Status != 422 || r.Code != "invalid_batch" || r.Message != "not a batch" || len(r.Fields) != 1 || r.Fields[0] != (Field{"/3/id", "missing"}) {
		t.Errorf("%+v", r)
	}
	if e := r.Fault(); e.Code != fault.CampRefused || !strings.Contains(e.Message, "422: not a batch; /3/id: missing") {
		t.Errorf("%v", e)
	}
	for status, want := range map[int]fault.Code{401: fault.CampUnauthorized, 403: fault.CampUnauthorized, 402: fault.CampRefused, 404: fault.CampRefused, 500: fault.CampRefused} {
		if e := ReadRefusal(status, strings.NewReader("")).Fault(); e.Code != want {
			t.Errorf("%d is %s", status, e.Code)
		}
	}
	hostile := `{"error":{"message":"a\u001b[31m\nb\u202e` + strings.Repeat("ü", 1000) + `"}}`
	if m := ReadRefusal(500, strings.NewReader(hostile)).Message; strings.ContainsAny(m, "\x1b\n\u202e") || len(m) > maxRefusalText+len("…") || !utf8.ValidString(m) {
		t.Errorf("%q", m)
	}
	many := `{"error":{"message":"m","fields":[` + strings.TrimSuffix(strings.Repeat(`{"path":"/a","message":"b"},`, 100), ",") + `]}}`
	if r := ReadRefusal(500, strings.NewReader(many)); len(r.Fields) != maxRefusalFields {
		t.Errorf("%d fields", len(r.Fields))
	}
	for _, body := range []io.Reader{strings.NewReader("<html>"), strings.NewReader(`{"error":"text"}`), strings.NewReader(`[]`), strings.NewReader(`{"error":{"message":"` + strings.Repeat("x", maxRefusal) + `"}}`), iotest.ErrReader(io.ErrUnexpectedEOF)} {
		if r := ReadRefusal(502, body); r.Status != 502 || r.Message != "" || r.Code != "" {
			t.Errorf("%+v", r)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{DefaultURL, "http://127.0.0.1:8080/x", "http://LOCALHOST/", "https://[::1]:1/a/b", "http://0x7f.1", "https://a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		again, err := ParseURL(u.String())
		if err != nil || again != u {
			t.Fatalf("%q gives %v, which gives %v, %v", s, u, again, err)
		}
		if strings.HasPrefix(u.String(), "http://") && !u.Loopback() {
			t.Fatalf("plain http to %v", u)
		}
	})
}

func FuzzReadRefusal(f *testing.F) {
	f.Add(422, `{"error":{"code":"c","message":"m","fields":[{"path":"/0","message":"x"}]}}`)
	f.Add(500, "\x1b[31m")
	f.Fuzz(func(t *testing.T, status int, body string) {
		text := ReadRefusal(status, strings.NewReader(body)).Fault().Error()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Fatalf("%q is not fit for a terminal", text)
		}
	})
}
