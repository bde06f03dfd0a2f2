package step

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
	"unicode/utf8"

	"carl.camp/carl/host/fault"
)

// smallObject is how many members an object may have for its names to be
// compared as they come; a larger one is sorted once at its end, so that a
// line of 100,000 names costs n log n.
const smallObject = 16

// scanner reads one JSON text in one pass and checks all of it: the grammar of
// RFC 8259, nesting, lone surrogates, and that no object has two members of
// one name, escapes undone. That the text is UTF-8 is checked before.
//
// It exists beside go-json-experiment because it is several times faster on
// whole lines (see BenchmarkDecode); FuzzDecode holds the two against each
// other.
type scanner struct {
	src []byte
	at  int
	// member is the top-level member being read, for messages; only a name
	// that carl knows, since any other may itself be a secret.
	member string
	seed   maphash.Seed
	// names holds those of every open object, outermost first.
	names   []nameRef
	scratch [128]byte
}

// nameRef is a member's name: its hash with escapes undone, and where it
// stands between its quotes.
type nameRef struct {
	hash       uint64
	start, end int
}

// reject makes the error for what stands at s.at.
func (s *scanner) reject(format string, args ...any) error {
	err := fault.New(fault.StepInvalid, format, args...)
	if s.member != "" {
		err.Message = "in " + s.member + ": " + err.Message
	}
	return err
}

func (s *scanner) unexpected(want string) error {
	if s.at >= len(s.src) {
		return s.reject("the line ends where %s should stand", want)
	}
	return s.reject("%s where %s should stand, at byte %d", describe(s.src[s.at]), want, s.at+1)
}

// describe names a byte of the input without repeating control bytes.
func describe(c byte) string {
	switch {
	case c > ' ' && c < 0x7f:
		return "'" + string(rune(c)) + "'"
	case c == ' ':
		return "a space"
	case c < 0x80:
		return "a control character"
	}
	return "a character that is not ASCII"
}

func (s *scanner) space() {
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.at >= len(s.src) {
		return 0
	}
	return s.src[s.at]
}

// value reads one value of any kind that stands inside depth containers.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, _, err := s.text()
		return err
	case c == '{':
		return s.object(depth + 1)
	case c == '[':
		return s.array(depth + 1)
	case c == '-' || '0' <= c && c <= '9':
		_, err := s.number()
		return err
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.unexpected("a value")
}

func (s *scanner) word(w string) error {
	if len(s.src)-s.at < len(w) || string(s.src[s.at:s.at+len(w)]) != w {
		return s.unexpected("a value")
	}
	s.at += len(w)
	return nil
}

func (s *scanner) deeper(depth int) error {
	if depth > MaxDepth {
		return s.reject("nested deeper than %d levels, at byte %d", MaxDepth, s.at+1)
	}
	return nil
}

func (s *scanner) array(depth int) error {
	if err := s.deeper(depth); err != nil {
		return err
	}
	s.at++
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.at++
		case ']':
			s.at++
			return nil
		default:
			return s.unexpected("',' or ']'")
		}
	}
}

func (s *scanner) object(depth int) error {
	base := len(s.names)
	more, err := s.openObject(depth)
	for more && err == nil {
		if _, _, err = s.name(base); err != nil {
			break
		}
		if err = s.value(depth); err != nil {
			break
		}
		more, err = s.nextMember(base)
	}
	return err
}

// openObject reads '{' and reports whether a member follows.
func (s *scanner) openObject(depth int) (bool, error) {
	if err := s.deeper(depth); err != nil {
		return false, err
	}
	s.at++
	if s.peek() == '}' {
		s.at++
		return false, nil
	}
	return true, nil
}

// nextMember reads what stands after a member of the object whose names begin
// at base, and reports whether another member follows.
func (s *scanner) nextMember(base int) (bool, error) {
	switch s.peek() {
	case ',':
		s.at++
		return true, nil
	case '}':
		s.at++
		return false, s.closeNames(base)
	}
	return false, s.unexpected("',' or '}'")
}

// name reads a member's name and its colon, and refuses a name that the object
// has already. The result is what stands between the quotes.
func (s *scanner) name(base int) (raw []byte, escaped bool, err error) {
	if s.peek() != '"' {
		return nil, false, s.unexpected("a member name in double quotes")
	}
	start := s.at + 1
	raw, escaped, err = s.text()
	if err != nil {
		return nil, false, err
	}
	ref := nameRef{hash: s.hash(raw, escaped), start: start, end: start + len(raw)}
	open := s.names[base:]
	if len(open) < smallObject {
		for i := range open {
			if open[i].hash == ref.hash && s.sameName(open[i], ref) {
				return nil, false, s.duplicate(ref)
			}
		}
	}
	s.names = append(s.names, ref)
	if s.peek() != ':' {
		return nil, false, s.unexpected("':'")
	}
	s.at++
	return raw, escaped, nil
}

// closeNames ends the object whose names begin at base, and does the checking
// that name left out because there were many.
func (s *scanner) closeNames(base int) error {
	open := s.names[base:]
	if len(open) > smallObject {
		slices.SortFunc(open, func(a, b nameRef) int {
			switch {
			case a.hash < b.hash:
				return -1
			case a.hash > b.hash:
				return 1
			}
			return a.start - b.start
		})
		for i := 1; i < len(open); i++ {
			// The seed is secret and fresh, so equal hashes are equal names but
			// for accidents, and runs of accidents are short.
			for j := i - 1; j >= 0 && open[j].hash == open[i].hash; j-- {
				if s.sameName(open[j], open[i]) {
					return s.duplicate(open[i])
				}
			}
		}
	}
	s.names = s.names[:base]
	return nil
}

func (s *scanner) duplicate(ref nameRef) error {
	if known := knownMember(s.src[ref.start:ref.end]); s.member == "" && known != "" {
		return s.reject("%s stands twice, again at byte %d", known, ref.start)
	}
	return s.reject("two members of one object have the same name, the second at byte %d", ref.start)
}

func (s *scanner) hash(raw []byte, escaped bool) uint64 {
	if escaped {
		raw = unescape(s.scratch[:0], raw)
	}
	return maphash.Bytes(s.seed, raw)
}

func (s *scanner) sameName(a, b nameRef) bool {
	return string(unescape(nil, s.src[a.start:a.end])) == string(unescape(nil, s.src[b.start:b.end]))
}

// number reads a number of RFC 8259.
func (s *scanner) number() ([]byte, error) {
	start := s.at
	if s.src[s.at] == '-' {
		s.at++
	}
	switch {
	case s.at < len(s.src) && s.src[s.at] == '0':
		s.at++
	case !s.digits():
		return nil, s.unexpected("a digit")
	}
	if s.at < len(s.src) && s.src[s.at] == '.' {
		s.at++
		if !s.digits() {
			return nil, s.unexpected("a digit")
		}
	}
	if s.at < len(s.src) && s.src[s.at]|0x20 == 'e' {
		s.at++
		if s.at < len(s.src) && (s.src[s.at] == '+' || s.src[s.at] == '-') {
			s.at++
		}
		if !s.digits() {
			return nil, s.unexpected("a digit")
		}
	}
	return s.src[start:s.at], nil
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.src) && '0' <= s.src[s.at] && s.src[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stops marks, in the high bit of each byte of w, those that end a run of
// plain text: control characters, '"' and '\'. Only the lowest mark is exact.
func stops(w uint64) uint64 {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
}

// text reads a string and returns what stands between its quotes, and whether
// an escape is in it.
func (s *scanner) text() (raw []byte, escaped bool, err error) {
	src, start := s.src, s.at+1
	i := start
	for {
		for i+8 <= len(src) {
			if m := stops(binary.LittleEndian.Uint64(src[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(src) {
			s.at = len(src)
			return nil, false, s.unexpected("the end of a string")
		}
		switch c := src[i]; {
		case c == '"':
			s.at = i + 1
			return src[start:i], escaped, nil
		case c == '\\':
			escaped = true
			n := escapeLen(src[i:])
			if n == 0 {
				s.at = i
				return nil, false, s.reject("a string has an escape that JSON does not know or half of a surrogate pair, at byte %d", i+1)
			}
			i += n
		case c < 0x20:
			s.at = i
			return nil, false, s.reject("a string has a control character that is not escaped, at byte %d", i+1)
		default:
			i++
		}
	}
}

// escapeLen returns the length of the escape that b begins with, both halves
// of a surrogate pair together, or 0 when it is not legal.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		r, ok := hex4(b[2:])
		switch {
		case !ok || 0xdc00 <= r && r <= 0xdfff:
			return 0
		case 0xd800 <= r && r <= 0xdbff:
			if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
				return 0
			}
			low, ok := hex4(b[8:])
			if !ok || low < 0xdc00 || low > 0xdfff {
				return 0
			}
			return 12
		}
		return 6
	}
	return 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// unescape appends what raw, the inside of a checked string, stands for.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		c := raw[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		n := 2
		switch raw[i+1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw[i+2:])
			n = 6
			if 0xd800 <= r && r <= 0xdbff {
				low, _ := hex4(raw[i+8:])
				r, n = 0x10000+(r-0xd800)<<10+(low-0xdc00), 12
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, raw[i+1])
		}
		i += n
	}
	return dst
}
