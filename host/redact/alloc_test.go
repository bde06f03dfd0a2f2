//go:build !race

// The race detector makes sync.Pool forget at random, so that allocations are
// counted without it.

package redact

import (
	"testing"

	"carl.camp/carl/host/step"
)

func TestCleanInputIsNotCopied(t *testing.T) {
	r := testRedactor()
	for set, all := range lineSets(t) {
		steps := make([]step.Step, len(all))
		for i, l := range all {
			var err error
			if steps[i], err = step.Decode(l); err != nil {
				t.Fatal(err)
			}
		}
		round := func() {
			for i, l := range all {
				r.JSON(l)
				r.Step(&steps[i])
			}
		}
		round()
		if n := testing.AllocsPerRun(3, round); n > float64(len(all))/100 {
			t.Errorf("%s: %v allocations in %d lines", set, n, len(all))
		}
	}
}
