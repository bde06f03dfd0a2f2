package nearest_test

import (
	"strings"
	"testing"

	"carl.camp/carl/host/nearest"
)

var members = []string{"camp", "tier", "offline", "destinations", "plugins", "spool", "strict_pinning"}

func TestOf(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"destinaton", "destinations"},
		{"destination", "destinations"},
		{"Tier", "tier"},
		{"teir", "tier"},
		{"tiers", "tier"},
		{"strict-pinning", "strict_pinning"},
		{"spol", "spool"},
		{"ofline", "offline"},
		{"kubernetes", ""},
		{"", ""},
		{strings.Repeat("tier", 1000), ""},
	} {
		if got := nearest.Of(c.name, members); got != c.want {
			t.Errorf("Of(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	if got := nearest.Of("aa", []string{"ab", "ac"}); got != "ab" {
		t.Errorf("of two equally near names the first is due, got %q", got)
	}
	if got := nearest.Of("x", nil); got != "" {
		t.Errorf("nothing is near in an empty list, got %q", got)
	}
}

func TestHint(t *testing.T) {
	for _, c := range []struct {
		name  string
		known []string
		want  string
	}{
		{"ulr", []string{"proxy", "url"}, `the nearest is "url"`},
		{"kubernetes", []string{"url", "proxy", "ca_file"}, "known are url, proxy and ca_file"},
		{"kubernetes", []string{"url"}, "known is url"},
		{"kubernetes", nil, ""},
	} {
		if got := nearest.Hint(c.name, c.known); got != c.want {
			t.Errorf("Hint(%q, %q) = %q, want %q", c.name, c.known, got, c.want)
		}
	}
}
