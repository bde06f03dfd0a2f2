package redact

import (
	"bytes"
	"slices"
)

// state is the working memory of one redaction.
type state struct {
	r     *Redactor
	text  []byte
	spans []span
	words nameWords
	// scratch holds unescaped strings, one buffer for each level of JSON
	// inside strings.
	scratch [maxNested + 1][]byte
	// word says that the text searched last holds a word that may make a name
	// a secret's name.
	word bool
	// covered is up to where secrets were found: what is behind a head within
	// is replaced already.
	covered int
	// assigned is up to where names of assignments were looked at.
	assigned int
	// runs remember, by class, the run of bytes that was measured last, so that
	// a text full of heads costs no more than its length.
	runs [classes]struct{ start, end int }
	// endMark is the place of the next end of a PEM block, from endFrom on.
	endFrom, endMark int
	// nesting bounds how often a part of a text is looked at as a text of its own.
	nesting int
}

// span is a secret in a text, and the rule that found it.
type span struct {
	start, end int
	name       string
}

// add reports a secret, unless it is part of a marker.
func (st *state) add(b []byte, start, end int, name string) {
	from := max(0, start-len(markerOpen)-longestName)
	if i := bytes.LastIndexByte(b[from:start+1], '['); i >= 0 && from+i+markerLen(b[from+i:]) > start {
		return
	}
	st.spans = append(st.spans, span{start, end, name})
	st.covered = max(st.covered, end)
}

// search fills st.spans with the secrets in b.
func (st *state) search(b []byte) {
	st.spans = st.spans[:0]
	st.word = false
	st.covered, st.assigned = 0, 0
	st.endFrom, st.endMark = 0, -1
	clear(st.runs[:])
	m := &st.r.machine
	next, accept := m.next, m.accept
	row := uint32(0)
	for i, c := range b {
		row = next[row+uint32(m.class[c])]
		if row >= accept {
			st.hit(b, i+1, m.ends[(row-accept)/m.width])
		}
	}
}

// hit tries the rules whose heads end at end.
func (st *state) hit(b []byte, end int, heads []int32) {
	for _, i := range heads {
		h := &st.r.machine.heads[i]
		start := end - len(h.text)
		if h.rule == nil {
			l := st.r.literals[h.literal]
			if len(b)-start >= len(l) && string(b[start:start+len(l)]) == l {
				st.add(b, start, start+len(l), literalName)
			}
			continue
		}
		r := h.rule
		if r.find == byAssignment {
			st.word = true
		}
		if start < st.covered {
			continue
		}
		switch r.find {
		case byRun:
			if string(b[start:end]) != h.text || r.apart && start > 0 && isAlnum(b[start-1]) {
				continue
			}
			to := st.run(b, end, r.class)
			n := to - end
			if r.min > 0 && n >= r.min || r.loose > 0 && n >= r.loose && mixed(b[end:to]) {
				st.add(b, start, to, r.name)
			}
		case byDashed:
			st.findDashed(b, start, end, r)
		case bySlack:
			st.findSlack(b, start, end, r)
		case byTelegram:
			st.findTelegram(b, start, end, r)
		case byJWT:
			st.findJWT(b, start, end, h)
		case byAzure:
			st.findAzure(b, start, end, r)
		case byAirtable:
			st.findAirtable(b, start, end, r)
		case byCurl:
			st.findCurl(b, end, r)
		case byPEM:
			st.findPEM(b, start, end, r)
		case byEncodedPEM:
			st.findEncodedPEM(b, start, end, r)
		case byBearer:
			st.findBearer(b, start, end, r)
		case byBasic:
			st.findBasic(b, start, end, r)
		case byUserinfo:
			st.findUserinfo(b, start, end, r)
		case byQuery:
			st.findQuery(b, start, end, r)
		case byAssignment:
			st.findAssignment(b, start, end, r)
		}
	}
}

// run returns the end of the run of bytes of a class that begins at i.
func (st *state) run(b []byte, i int, c class) int {
	known := &st.runs[c]
	if i >= known.start && i < known.end {
		return known.end
	}
	end := i
	for end < len(b) && in(c, b[end]) {
		end++
	}
	known.start, known.end = i, end
	return end
}

// probe bounds how much of a run is looked at to tell a token from a word.
const probe = 256

// mixed reports whether b has a digit and a letter near its beginning.
func mixed(b []byte) bool {
	digit, letter := false, false
	for _, c := range b[:min(len(b), probe)] {
		digit = digit || isDigit(c)
		letter = letter || isLetter(c)
	}
	return digit && letter
}

// maxRounds bounds how often a text is searched again after a replacement: one
// can bring to light what stood in the shadow of another secret.
const maxRounds = 8

// replace returns b with the secrets in it replaced, b itself when there are none.
func (st *state) replace(b []byte) []byte {
	for range maxRounds {
		st.search(b)
		if len(st.spans) == 0 {
			return b
		}
		spans := st.spans
		slices.SortStableFunc(spans, func(a, b span) int { return a.start - b.start })
		out := make([]byte, 0, len(b)+64)
		at := 0
		for i := 0; i < len(spans); {
			s := spans[i]
			// Secrets that overlap go together, under the name of the first.
			for i++; i < len(spans) && spans[i].start < s.end; i++ {
				s.end = max(s.end, spans[i].end)
			}
			out = append(out, b[at:s.start]...)
			out = append(out, markerOpen...)
			out = append(out, s.name...)
			out = append(out, ']')
			at = s.end
		}
		b = append(out, b[at:]...)
	}
	return b
}
