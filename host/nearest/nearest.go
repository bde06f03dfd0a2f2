// Package nearest finds the name that somebody meant: the one of a list that
// is the fewest slips of the keyboard away from what was written. It serves
// refusals such as `unknown member "destinaton"; the nearest is "destinations"`.
package nearest

import (
	"strconv"
	"strings"
)

// maxName bounds what is compared, in bytes. The work grows with the product
// of two lengths, and what is longer than this is not a slip in a known name.
const maxName = 64

// Of returns the name in known that is nearest to name, or "" where none is so
// near that it is likely to be meant: one slip for each three bytes, and at
// least one. Case, `-` and `_` do not count as slips. Of two names that are
// equally near the one that stands first is returned.
//
// A slip is an insertion, a deletion, a substitution or an exchange of two
// neighbours (the optimal string alignment distance).
func Of(name string, known []string) string {
	if name == "" || len(name) > maxName {
		return ""
	}
	folded := fold(name)
	best, bestSlips := "", 0
	for _, k := range known {
		if len(k) > maxName {
			continue
		}
		allowed := max(1, min(len(name), len(k))/3)
		slips := distance(folded, fold(k))
		if slips <= allowed && (best == "" || slips < bestSlips) {
			best, bestSlips = k, slips
		}
	}
	return best
}

// Hint completes the refusal of an unknown name: `the nearest is "x"` where
// one of known is near, else `known are a, b and c`, and "" for an empty list.
func Hint(name string, known []string) string {
	if near := Of(name, known); near != "" {
		return "the nearest is " + strconv.Quote(near)
	}
	switch len(known) {
	case 0:
		return ""
	case 1:
		return "known is " + known[0]
	}
	last := len(known) - 1
	return "known are " + strings.Join(known[:last], ", ") + " and " + known[last]
}

func fold(s string) string {
	return strings.ReplaceAll(strings.ToLower(s), "-", "_")
}

// distance needs the last two rows of its table, because an exchange of
// neighbours reaches back by two.
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	above := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
