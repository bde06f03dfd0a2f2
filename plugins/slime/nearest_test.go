package main

import (
	"math/rand/v2"
	"testing"
)

// plainDistance is the distance by its definition, with the whole table.
func plainDistance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if fold(a[i-1]) == fold(b[j-1]) {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && fold(a[i-1]) == fold(b[j-2]) && fold(a[i-2]) == fold(b[j-1]) {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

func TestDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		w := make([]byte, r.IntN(12))
		for i := range w {
			w[i] = "ab_c"[r.IntN(4)]
		}
		return string(w)
	}
	for range 20_000 {
		a, b, allowed := word(), word(), r.IntN(8)
		want := plainDistance(a, b)
		got := distance(a, b, allowed)
		if got > allowed && want > allowed {
			continue
		}
		if got != want {
			t.Fatalf("distance(%q, %q, %d) = %d, want %d", a, b, allowed, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"prompts", "samples_per_prompt", "max_response", "qwen3-4B"}
	for wanted, want := range map[string]string{
		"promts": "prompts", "PROMPTS": "prompts", "rpompts": "prompts", "max-response": "max_response", "qwen3_4b": "qwen3-4B",
		"": "", "x": "", "something": "", "maximum_response_length": "",
	} {
		if got := nearestOf(wanted, names).best; got != want {
			t.Errorf("%q: %q, want %q", wanted, got, want)
		}
	}
}
