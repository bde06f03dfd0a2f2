package main

import "math/bits"

// maxName bounds the names that are compared: what is longer than the longest
// flag is no slip in one.
const maxName = 80

// nearest collects names and keeps the one that the wanted is the fewest slips
// away from. A slip is an insertion, a deletion, a substitution or an exchange
// of two neighbours; one for each three bytes is allowed, and at least one.
// Case and - for _ are none.
type nearest struct {
	wanted  string
	letters uint64
	slips   int
	best    string
}

func near(wanted string) *nearest {
	if len(wanted) > maxName {
		wanted = ""
	}
	folded := make([]byte, len(wanted))
	for i := range len(wanted) {
		folded[i] = fold(wanted[i])
	}
	n := &nearest{wanted: string(folded)}
	n.letters = letters(n.wanted)
	return n
}

func (n *nearest) offer(name string) {
	if n.wanted == "" || len(name) > maxName {
		return
	}
	allowed := max(1, min(len(n.wanted), len(name))/3)
	if n.best != "" {
		allowed = min(allowed, n.slips-1)
	}
	// Each slip changes the length by at most one, and the set of letters by
	// at most two.
	apart := len(n.wanted) - len(name)
	if apart > allowed || -apart > allowed || bits.OnesCount64(n.letters^letters(name)) > 2*allowed {
		return
	}
	if slips := distance(n.wanted, name); slips <= allowed {
		n.best, n.slips = name, slips
	}
}

func (n *nearest) hint() string {
	if n.best == "" {
		return ""
	}
	return "the nearest is " + quote(n.best)
}

func nearestOf(wanted string, names []string) *nearest {
	n := near(wanted)
	for _, name := range names {
		n.offer(name)
	}
	return n
}

func fold(c byte) byte {
	switch {
	case c == '-':
		return '_'
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

func letters(s string) (set uint64) {
	for i := range len(s) {
		set |= 1 << (fold(s[i]) & 63)
	}
	return set
}

// distance is the optimal string alignment distance. It needs the last two
// rows of its table, because an exchange of neighbours reaches back by two.
func distance(a, b string) int {
	var rows [3][maxName + 1]uint8
	before, above, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		above[j] = uint8(j)
	}
	for i := 1; i <= len(a); i++ {
		row[0] = uint8(i)
		for j := 1; j <= len(b); j++ {
			c := fold(b[j-1])
			cost := uint8(1)
			if a[i-1] == c {
				cost = 0
			}
			d := min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-2] == c && a[i-1] == fold(b[j-2]) {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
		}
		before, above, row = above, row, before
	}
	return int(above[len(b)])
}
