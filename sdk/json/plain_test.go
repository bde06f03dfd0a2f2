package json

import (
	"strings"
	"testing"
)

// TestPlainEnd puts every byte at every place among plain and other bytes.
func TestPlainEnd(t *testing.T) {
	for _, fill := range []string{"a", " ", "\x7f", "~", "!", "#", "[", "]"} {
		for c := range 256 {
			for at := range 19 {
				s := strings.Repeat(fill, at) + string([]byte{byte(c)}) + strings.Repeat(fill, 18-at)
				want := at
				if c >= 0x20 && c < 0x80 && c != '"' && c != '\\' {
					want = len(s)
				}
				for from := 0; from <= at; from++ {
					if got := plainEnd(s, from); got != want {
						t.Fatalf("plainEnd(%q, %d) = %d, want %d", s, from, got, want)
					}
				}
			}
		}
	}
	if got := plainEnd("", 0); got != 0 {
		t.Errorf("the empty string ends at %d", got)
	}
}
