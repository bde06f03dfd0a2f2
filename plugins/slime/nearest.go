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
	// Each slip changes the set of letters by at most two.
	if bits.OnesCount64(n.letters^letters(name)) > 2*allowed {
		return
	}
	if slips := distance(n.wanted, name, allowed); slips <= allowed {
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

// distance is the optimal string alignment distance of a, which is folded, and
// b; more than allowed when it is more. It needs the last two rows of its
// table, because an exchange of neighbours reaches back by two, and of a row
// no more than is near the diagonal.
func distance(a, b string, allowed int) int {
	if apart := len(a) - len(b); apart > allowed || -apart > allowed {
		return allowed + 1
	}
	const far = maxName + 1
	var rows [3][maxName + 1]uint8
	var folded [maxName]byte
	for j := range len(b) {
		folded[j] = fold(b[j])
	}
	before, above, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		above[j] = uint8(j)
	}
	for i := 1; i <= len(a); i++ {
		first, last := max(1, i-allowed), min(len(b), i+allowed)
		row[first-1] = far
		if first == 1 {
			row[0] = uint8(i)
		}
		least := row[first-1]
		for j := first; j <= last; j++ {
			d := above[j-1]
			if a[i-1] != folded[j-1] {
				d++
			}
			if j < i+allowed {
				d = min(d, above[j]+1)
			}
			d = min(d, row[j-1]+1)
			if i > 1 && j > 1 && a[i-2] == folded[j-1] && a[i-1] == folded[j-2] {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if int(least) > allowed {
			return allowed + 1
		}
		before, above, row = above, row, before
	}
	return int(above[len(b)])
}
