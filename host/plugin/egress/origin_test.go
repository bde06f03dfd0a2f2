package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseOriginSpellings(t *testing.T) {
	for in, want := range map[string]string{
		"https://carl.camp":            "https://carl.camp:443",
		"https://carl.camp:443":        "https://carl.camp:443",
		"HTTPS://Carl.CAMP:8443":       "https://carl.camp:8443",
		"https://xn--bcher-kva.de":     "https://xn--bcher-kva.de:443",
		"https://my_service.internal":  "https://my_service.internal:443",
		"https://10.0.0.7:8088":        "https://10.0.0.7:8088",
		"https://[2001:DB8:0:0::1]":    "https://[2001:db8::1]:443",
		"http://127.0.0.1":             "http://127.0.0.1:80",
		"http://127.9.9.9:4000":        "http://127.9.9.9:4000",
		"http://[::1]:4000":            "http://[::1]:4000",
		"http://LocalHost:4000":        "http://localhost:4000",
		"https://169.254.169.254":      "https://169.254.169.254:443",
		"https://a.b-c.d0:65535":       "https://a.b-c.d0:65535",
		"https://[fe80::1]:1":          "https://[fe80::1]:1",
		"https://3com.example":         "https://3com.example:443",
		"https://" + long(63) + ".com": "https://" + long(63) + ".com:443",
	} {
		o, err := ParseOrigin(in)
		if err != nil {
			t.Errorf("ParseOrigin(%q): %v", in, err)
			continue
		}
		if o.String() != want {
			t.Errorf("ParseOrigin(%q) = %s, want %s", in, o, want)
		}
	}
}

func long(n int) string { return strings.Repeat("a", n) }

func TestParseOriginRefuses(t *testing.T) {
	for _, in := range []string{
		"", "carl.camp", "//carl.camp", "https:carl.camp", "https://", "https:///", "https://:443",
		"ftp://carl.camp", "file:///etc/passwd", "unix://x", "javascript://x", "ws://carl.camp",
		"https://*", "https://*.carl.camp",
		"https://carl.camp/", "https://carl.camp/x", "https://carl.camp?x", "https://carl.camp#x", `https://carl.camp\x`,
		"https://user@carl.camp", "https://user:pw@carl.camp", "https://@carl.camp", "https://a@b@carl.camp",
		"https://carl.camp.", "https://carl..camp", "https://.carl.camp", "https://.",
		"https://-carl.camp", "https://carl-.camp", "https://carl camp", "https://carl\tcamp", "https://carl.camp\n",
		"https://carl\x00camp", "https://carl%2ecamp", "https://carl.camp%00",
		"https://bücher.de", "https://ｃarl.camp", "https://carl。camp",
		"https://carl.camp:", "https://carl.camp:0", "https://carl.camp:0443", "https://carl.camp:65536", "https://carl.camp:-1", "https://carl.camp:+443", "https://carl.camp:4 43", "https://carl.camp:https",
		"http://carl.camp", "http://10.0.0.1", "http://localhost.evil.com", "http://127.0.0.1.evil.com", "http://evil.localhost", "http://[::2]",
		// Other spellings of 127.0.0.1 and of addresses in general.
		"http://127.1", "http://127.0.1", "http://2130706433", "http://0x7f.0.0.1", "http://0x7f000001", "http://0177.0.0.1", "http://127.0.0.01",
		"https://1.2.3", "https://1.2.3.4.5", "https://256.1.1.1", "https://example.1", "https://example.0x1",
		"http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]", "https://[::127.0.0.1", "https://::1", "https://[127.0.0.1]", "https://[fe80::1%25eth0]", "https://[fe80::1%eth0]", "https://[::1]x", "https://[::1", "https://[]",
		"https://0.0.0.0", "https://[::]", "https://224.0.0.1", "https://[ff02::1]", "https://255.255.255.255",
		"https://" + long(64) + ".com", "https://" + strings.Repeat("a.", 127) + "com",
	} {
		if o, err := ParseOrigin(in); err == nil {
			t.Errorf("ParseOrigin(%q) = %s, want an error", in, o)
		} else if o != (Origin{}) {
			t.Errorf("ParseOrigin(%q) returned an origin beside its error", in)
		}
	}
}

func TestParseOriginKeepsPasswordsOut(t *testing.T) {
	_, err := ParseOrigin("https://user:hunter2@carl.camp")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "password") {
		t.Errorf("error %v", err)
	}
}

func TestParseURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://Carl.camp/a/b?c=d#e":          "https://carl.camp:443/a/b?c=d",
		"https://carl.camp":                    "https://carl.camp:443",
		"https://carl.camp:8443/%2e%2e/x":      "https://carl.camp:8443/%2e%2e/x",
		"http://127.0.0.1:80/?u=https://x@y/z": "http://127.0.0.1:80/?u=https://x@y/z",
	} {
		u, o, err := parseURL(in)
		if err != nil {
			t.Errorf("parseURL(%q): %v", in, err)
			continue
		}
		if u.String() != want || !strings.HasPrefix(want, o.String()) {
			t.Errorf("parseURL(%q) = %s of %s, want %s", in, u, o, want)
		}
	}
	for _, in := range []string{
		"", "/path", "//carl.camp/x", "carl.camp/x", "https:carl.camp/x", "mailto:a@b",
		"https://u:p@carl.camp/", "https://carl.camp./", "https://carl.camp/a b", "https://carl.camp/\r\nHost: x", "https://carl.camp\\@evil.com/", `https://carl.camp/a\b`,
		"https://carl.camp/ü", "https://bücher.de/", "http://carl.camp/", "https://127.1/", "https://carl.camp/%zz", "https://carl.camp:99999/",
		"https://carl.camp/" + long(maxURL),
	} {
		if u, o, err := parseURL(in); err == nil {
			t.Errorf("parseURL(%.60q) = %s of %s, want an error", in, u, o)
		}
	}
}

// FuzzParseOrigin holds every origin that is accepted to be in its one
// spelling, and plain http to stay on this machine.
func FuzzParseOrigin(f *testing.F) {
	for _, s := range []string{"https://carl.camp", "http://127.0.0.1:8080", "https://[2001:db8::1]:8443", "HTTP://LOCALHOST", "https://a@b", "http://0x7f.1", "https://x.:1", "https://[::ffff:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOrigin(s)
		if err != nil {
			return
		}
		again, err := ParseOrigin(o.String())
		if err != nil || again != o {
			t.Fatalf("%q gives %q, which gives %q, %v", s, o, again, err)
		}
		u, fromURL, err := parseURL(o.String() + "/x?y")
		if err != nil || fromURL != o {
			t.Fatalf("as a URL %q gives %q, %v", o, fromURL, err)
		}
		if u.Hostname() != o.host {
			t.Fatalf("net/url reads host %q in %q", u.Hostname(), o)
		}
		if o.scheme == "http" && o.host != "localhost" {
			ip, err := netip.ParseAddr(o.host)
			if err != nil || !ip.IsLoopback() {
				t.Fatalf("plain http for %q", o)
			}
		}
		for i := range len(o.host) {
			if c := o.host[i]; c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' {
				t.Fatalf("host %q", o.host)
			}
		}
	})
}
