package json

import "unicode/utf8"

// MaxDepth bounds the nesting that [Parse] accepts. The scanner recurses, and
// the host stops a guest that recurses far; a Step nests to 64 at most.
const MaxDepth = 128

// A SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	// Offset is counted in bytes from the start of the text.
	Offset int
	// What says what is wrong there; it holds nothing of the text.
	What string
}

func (e *SyntaxError) Error() string {
	return "not JSON at byte " + string(AppendInt(nil, int64(e.Offset))) + ": " + e.What
}

// scanner checks the grammar of RFC 8259. Its methods return the offset
// behind what they read, or -1 after setting what and at.
type scanner struct {
	text string
	what string
	at   int
	// oneLine refuses line ends between the tokens; in strings they never are.
	oneLine bool
}

func (s *scanner) fail(at int, what string) int {
	s.at, s.what = at, what
	return -1
}

// space skips what may stand between tokens. A line end that is not wanted
// stays, and no token begins with it.
func (s *scanner) space(i int) int {
	for i < len(s.text) {
		switch s.text[i] {
		case ' ', '\t':
		case '\r', '\n':
			if s.oneLine {
				return i
			}
		default:
			return i
		}
		i++
	}
	return i
}

func (s *scanner) value(i, depth int) int {
	if i >= len(s.text) {
		return s.fail(i, "the text ends where a value should be")
	}
	switch c := s.text[i]; {
	case c == '{':
		return s.object(i, depth+1)
	case c == '[':
		return s.array(i, depth+1)
	case c == '"':
		return s.str(i)
	case c == '-' || c >= '0' && c <= '9':
		return s.number(i)
	case c == 't':
		return s.literal(i, "true")
	case c == 'f':
		return s.literal(i, "false")
	case c == 'n':
		return s.literal(i, "null")
	}
	return s.fail(i, "no value begins like this")
}

func (s *scanner) object(i, depth int) int {
	if depth > MaxDepth {
		return s.fail(i, "nested too deep")
	}
	i = s.space(i + 1)
	if i < len(s.text) && s.text[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(s.text) || s.text[i] != '"' {
			return s.fail(i, "a member's name should be here")
		}
		if i = s.str(i); i < 0 {
			return i
		}
		i = s.space(i)
		if i >= len(s.text) || s.text[i] != ':' {
			return s.fail(i, "a colon should be here")
		}
		if i = s.value(s.space(i+1), depth); i < 0 {
			return i
		}
		i = s.space(i)
		if i < len(s.text) && s.text[i] == '}' {
			return i + 1
		}
		if i >= len(s.text) || s.text[i] != ',' {
			return s.fail(i, "a comma or the end of the object should be here")
		}
		i = s.space(i + 1)
	}
}

func (s *scanner) array(i, depth int) int {
	if depth > MaxDepth {
		return s.fail(i, "nested too deep")
	}
	i = s.space(i + 1)
	if i < len(s.text) && s.text[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth); i < 0 {
			return i
		}
		i = s.space(i)
		if i < len(s.text) && s.text[i] == ']' {
			return i + 1
		}
		if i >= len(s.text) || s.text[i] != ',' {
			return s.fail(i, "a comma or the end of the array should be here")
		}
		i = s.space(i + 1)
	}
}

func (s *scanner) str(i int) int {
	for i = plainEnd(s.text, i+1); i < len(s.text); i = plainEnd(s.text, i) {
		c := s.text[i]
		switch {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = s.escape(i); i < 0 {
				return i
			}
		case c < 0x20:
			return s.fail(i, "a control character in a string")
		default:
			r, size := utf8.DecodeRuneInString(s.text[i:])
			if r == utf8.RuneError && size == 1 {
				return s.fail(i, "not UTF-8")
			}
			i += size
		}
	}
	return s.fail(len(s.text), "the text ends inside a string")
}

// escape refuses half a surrogate pair: it has no UTF-8 form, so the string
// would not be the same after reading and writing it.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.text) {
		return s.fail(i, "the text ends inside a string")
	}
	switch s.text[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		u := hex4(s.text, i+2)
		switch {
		case u < 0:
			return s.fail(i, "a \\u without four hex digits")
		case u < 0xd800 || u > 0xdfff:
			return i + 6
		case u > 0xdbff, i+7 >= len(s.text), s.text[i+6] != '\\', s.text[i+7] != 'u':
			return s.fail(i, "half a surrogate pair")
		}
		if low := hex4(s.text, i+8); low < 0xdc00 || low > 0xdfff {
			return s.fail(i, "half a surrogate pair")
		}
		return i + 12
	}
	return s.fail(i, "an unknown escape")
}

// hex4 returns the four hex digits at i as a number, or -1.
func hex4(text string, i int) int {
	if i+4 > len(text) {
		return -1
	}
	n := 0
	for _, c := range []byte(text[i : i+4]) {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int(c-'A'+10)
		default:
			return -1
		}
	}
	return n
}

func (s *scanner) number(i int) int {
	start := i
	if s.text[i] == '-' {
		i++
	}
	digits := func() bool {
		from := i
		for i < len(s.text) && s.text[i] >= '0' && s.text[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s.text) && s.text[i] == '0' {
		i++
	} else if !digits() {
		return s.fail(start, "a number without digits")
	}
	if i < len(s.text) && s.text[i] == '.' {
		i++
		if !digits() {
			return s.fail(start, "a number without digits behind its point")
		}
	}
	if i < len(s.text) && (s.text[i] == 'e' || s.text[i] == 'E') {
		i++
		if i < len(s.text) && (s.text[i] == '+' || s.text[i] == '-') {
			i++
		}
		if !digits() {
			return s.fail(start, "a number without digits in its exponent")
		}
	}
	return i
}

func (s *scanner) literal(i int, word string) int {
	if len(s.text)-i < len(word) || s.text[i:i+len(word)] != word {
		return s.fail(i, "no value begins like this")
	}
	return i + len(word)
}
