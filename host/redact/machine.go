package redact

// machine is an Aho–Corasick automaton over the heads of all rules and
// literals, made deterministic: one table look-up a byte, whatever their
// number (Aho and Corasick, "Efficient string matching", CACM 18, 1975).
// Letters are folded; whoever cares about case looks again at the match.
type machine struct {
	class [256]uint8
	// next is indexed by row + class. A row is a state's number times width.
	next  []uint32
	width uint32
	// accept is the first row at which a head ends: such states come last.
	accept uint32
	// ends lists, for each accepting state, the heads that end at it.
	ends  [][]int32
	heads []head
}

// head is a text that the automaton looks for.
type head struct {
	text string
	// rule is what is tried where the head stands; for a literal, literal is
	// its number and rule is nil.
	rule    *rule
	literal int
}

// literalHead is how many bytes of a literal the automaton holds; the rest is
// compared where these stand, so that long keys do not make it large.
const literalHead = 8

// compile builds the automaton for the rules and the given literals.
func compile(literals []string) machine {
	var m machine
	for i := range rules {
		for _, text := range rules[i].heads {
			m.heads = append(m.heads, head{text: text, rule: &rules[i]})
		}
	}
	for i, l := range literals {
		m.heads = append(m.heads, head{text: l[:min(len(l), literalHead)], literal: i})
	}
	m.width = 1 // class 0 is every byte that stands in no head
	for _, h := range m.heads {
		for _, c := range []byte(h.text) {
			if c = fold(c); m.class[c] == 0 {
				m.class[c] = uint8(m.width)
				m.width++
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		m.class[c] = m.class[c|0x20]
	}
	m.build()
	return m
}

func fold(c byte) byte {
	if isUpper(c) {
		return c | 0x20
	}
	return c
}

func (m *machine) build() {
	width := int(m.width)
	const none = ^uint32(0)
	newState := func(table []uint32) []uint32 {
		for range width {
			table = append(table, none)
		}
		return table
	}
	most := 1
	for _, h := range m.heads {
		most += len(h.text)
	}
	trie := newState(make([]uint32, 0, most*width))
	ends := make([][]int32, 1, most)
	for i, h := range m.heads {
		at := 0
		for _, c := range []byte(h.text) {
			slot := at*width + int(m.class[c])
			if trie[slot] == none {
				trie[slot] = uint32(len(ends))
				trie, ends = newState(trie), append(ends, nil)
			}
			at = int(trie[slot])
		}
		ends[at] = append(ends[at], int32(i))
	}
	// Breadth first, so that where a state falls back to is complete before it.
	fail := make([]int, len(ends))
	queue := make([]int, 0, len(ends))
	for c := range width {
		if t := trie[c]; t == none {
			trie[c] = 0
		} else {
			queue = append(queue, int(t))
		}
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		ends[at] = append(ends[at], ends[fail[at]]...)
		for c := range width {
			slot := at*width + c
			back := trie[fail[at]*width+c]
			if t := trie[slot]; t == none {
				trie[slot] = back
			} else {
				fail[t] = int(back)
				queue = append(queue, int(t))
			}
		}
	}
	// Accepting states move to the end, so that one comparison tells them.
	place := make([]uint32, len(ends))
	at := uint32(0)
	for pass := range 2 {
		for i, e := range ends {
			if (len(e) > 0) == (pass == 1) {
				place[i] = at * m.width
				at++
				if pass == 1 {
					m.ends = append(m.ends, e)
				}
			}
		}
		if pass == 0 {
			m.accept = at * m.width
		}
	}
	m.next = make([]uint32, len(trie))
	for i := range ends {
		for c := range width {
			m.next[int(place[i])+c] = place[trie[i*width+c]]
		}
	}
}
