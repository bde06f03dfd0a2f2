package egress

import (
	"bytes"
	"slices"
	"strings"
)

const (
	// marker stands where a secret stood.
	marker = "[redacted:secret]"
	// maxUnescape is how many layers of escapes are looked through: a URL in a
	// JSON string in a JSON string has three.
	maxUnescape = 3
	// maxApart is the same for kinds of escapes taken off one at a time, in
	// all orders: the number of texts to look at grows with its power.
	maxApart = 2
)

// scrubber takes secrets out of what a destination sends back. It finds what a
// destination repeats in good faith, as debugging services and error messages
// do: the secret itself in any letter case, in base64 (both alphabets, at any
// offset in a longer text), in hex, and each of them under percent, JSON or
// HTML escapes, several layers deep. It cannot find what a destination
// disguises on purpose; whom to trust with a secret is the operator's choice.
type scrubber struct{ needles []needle }

// span is a range of bytes.
type span struct{ from, to int }

// scrub returns text without secrets: text itself when there is none in it.
func (s scrubber) scrub(text []byte) []byte {
	spans := s.find(text)
	if len(spans) == 0 {
		return text
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	out := make([]byte, 0, len(text))
	done := 0
	for _, sp := range spans {
		if sp.to <= done {
			continue
		}
		if sp.from >= done {
			out = append(out, text[done:sp.from]...)
			out = append(out, marker...)
		}
		done = sp.to
	}
	return append(out, text[done:]...)
}

func (s scrubber) scrubString(text string) string {
	return string(s.scrub([]byte(text)))
}

// find returns where secrets are in text, in no order, overlapping.
func (s scrubber) find(text []byte) []span {
	if len(s.needles) == 0 || len(text) == 0 {
		return nil
	}
	spans := s.search(nil, text, nil, maxUnescape, "%\\&")
	for _, n := range s.needles {
		// A secret that looks like an escape itself is lost where another of
		// its characters is escaped in another way, unless each kind of
		// escape is also taken off alone.
		if strings.ContainsAny(n.value, "%\\&") {
			return s.search(spans, text, nil, maxApart, "%", "\\", "&")
		}
	}
	return spans
}

// search looks in view, and in what it becomes when up to depth layers of
// escapes are taken off, at each layer in all the ways of kinds. origin[i] is
// where byte i of view began in the text; nil stands for the text itself.
func (s scrubber) search(spans []span, view []byte, origin []int, depth int, kinds ...string) []span {
	folded := fold(view)
	for _, n := range s.needles {
		for _, f := range n.forms {
			spans = f.find(spans, view, folded, origin)
		}
	}
	if depth == 0 {
		return spans
	}
	for _, kind := range kinds {
		if next, nextOrigin := unescape(view, origin, kind); len(next) < len(view) {
			spans = s.search(spans, next, nextOrigin, depth-1, kinds...)
		}
	}
	return spans
}

func (f form) find(spans []span, view, folded []byte, origin []int) []span {
	for at := 0; ; {
		i := bytes.Index(folded[at:], f.text)
		if i < 0 {
			return spans
		}
		from, to := at+i, at+i+len(f.text)
		at = from + 1
		if f.left && from > 0 && isBase64(view[from-1]) {
			from--
		}
		if f.right && to < len(view) && isBase64(view[to]) {
			to++
		}
		if origin != nil {
			from, to = origin[from], origin[to]
		} else if backslashes(folded[:from])%2 == 1 {
			// What is left of a JSON string must stay one: the n of \n is not
			// taken without its backslash.
			from--
		}
		// A text that repeats itself matches at every period: one span for a
		// run of matches keeps the list as short as the text allows.
		if last := len(spans) - 1; last >= 0 && spans[last].from <= from && from <= spans[last].to {
			spans[last].to = max(spans[last].to, to)
			continue
		}
		spans = append(spans, span{from, to})
	}
}

// backslashes counts those at the end of text.
func backslashes(text []byte) int {
	return len(text) - len(bytes.TrimRight(text, `\`))
}

// fold makes alike what does not tell secrets apart: letter case, since an
// echo may be lower-cased on its way, and the characters in which the two
// alphabets of base64, and form-encoded spaces, differ.
func fold(text []byte) []byte {
	out := make([]byte, len(text))
	for i, c := range text {
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '-', c == ' ':
			c = '+'
		case c == '_':
			c = '/'
		}
		out[i] = c
	}
	return out
}

// isBase64 reports whether c is a character of one of the alphabets.
func isBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+/-_", c) >= 0
}

// unescape takes one layer of escapes off, of all the kinds that their first
// characters in kinds name, and returns where each byte of the result, and its
// end, comes from in the first text. Escapes of what is not ASCII stay: no
// secret holds such a character.
func unescape(text []byte, origin []int, kinds string) ([]byte, []int) {
	if !bytes.ContainsAny(text, kinds) {
		return text, origin
	}
	out := make([]byte, 0, len(text))
	from := make([]int, 0, len(text)+1)
	at := func(i int) int {
		if origin == nil {
			return i
		}
		return origin[i]
	}
	for i := 0; i < len(text); {
		c, size := text[i], 1
		if strings.IndexByte(kinds, c) >= 0 {
			c, size = escape(text[i:])
		}
		out = append(out, c)
		from = append(from, at(i))
		i += size
	}
	return out, append(from, at(len(text)))
}

// escape reads one character that may be escaped, and how many bytes it takes.
func escape(text []byte) (byte, int) {
	switch text[0] {
	case '%':
		if c, ok := hexByte(text, 1); ok {
			return c, 3
		}
	case '\\':
		if len(text) < 2 {
			break
		}
		switch text[1] {
		case '"', '\\', '/', '\'':
			return text[1], 2
		case 'x', 'X':
			if c, ok := hexByte(text, 2); ok {
				return c, 4
			}
		case 'u', 'U':
			if len(text) >= 6 && text[2] == '0' && text[3] == '0' {
				if c, ok := hexByte(text, 4); ok {
					return c, 6
				}
			}
		}
	case '&':
		return entity(text)
	}
	return text[0], 1
}

// maxEntity is the length of the longest form of a character reference that is
// read, &#x0000041; with its leading zeros.
const maxEntity = 12

func entity(text []byte) (byte, int) {
	end := bytes.IndexByte(text[:min(len(text), maxEntity)], ';')
	if end < 0 {
		return text[0], 1
	}
	name := string(text[1:end])
	switch name {
	case "amp":
		return '&', end + 1
	case "lt":
		return '<', end + 1
	case "gt":
		return '>', end + 1
	case "quot":
		return '"', end + 1
	case "apos":
		return '\'', end + 1
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return text[0], 1
	}
	base := 10
	if len(digits) > 0 && digits[0]|0x20 == 'x' {
		digits, base = digits[1:], 16
	}
	n := 0
	for i := range len(digits) {
		d, ok := hexDigit(digits[i])
		if !ok || d >= base {
			return text[0], 1
		}
		if n = n*base + d; n > 0x7f {
			return text[0], 1
		}
	}
	if digits == "" {
		return text[0], 1
	}
	return byte(n), end + 1
}

// hexByte reads two hex digits of an ASCII character.
func hexByte(text []byte, at int) (byte, bool) {
	if len(text) < at+2 {
		return 0, false
	}
	hi, ok1 := hexDigit(text[at])
	lo, ok2 := hexDigit(text[at+1])
	return byte(hi<<4 | lo), ok1 && ok2 && hi < 8
}

func hexDigit(c byte) (int, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10, true
	}
	return 0, false
}
