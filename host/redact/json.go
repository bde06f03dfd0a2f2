package redact

import (
	"bytes"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxNested bounds how deep JSON inside strings inside JSON is looked at as
// JSON; deeper strings are searched as text. Each level doubles the
// backslashes, so honest data ends long before.
const maxNested = 8

// json returns one JSON text without secrets, text itself when it is clean.
// With numbers, the values are numbers and stay ones.
func (st *state) json(text []byte, numbers bool) []byte {
	if len(text) == 0 || st.cleanJSON(text, 0) {
		return text
	}
	w := rewriter{st: st, numbers: numbers}
	if out, ok := w.rewrite(text, 0); ok {
		if !w.changed {
			return text
		}
		return out
	}
	return st.replace(text)
}

// clean reports whether a text holds no secret, neither as text nor, where it
// is JSON, as JSON. It may say no of a clean one.
func (st *state) clean(text []byte, nested int) bool {
	st.search(text)
	if len(st.spans) > 0 {
		return false
	}
	return nested == maxNested || !looksJSON(text) || st.cleanJSON(text, nested+1)
}

// redact returns a text without secrets. JSON is taken apart before it is
// searched as text, since a replacement that goes by the bytes may leave
// something that is not JSON any more.
func (st *state) redact(text []byte, nested int) []byte {
	for range maxRounds {
		changed := false
		if nested < maxNested && looksJSON(text) {
			w := rewriter{st: st}
			if out, ok := w.rewrite(text, nested+1); ok && w.changed {
				text, changed = out, true
			}
		}
		clean := st.replace(text)
		if !changed && bytes.Equal(clean, text) {
			break
		}
		text = clean
	}
	return text
}

// looksJSON reports whether a text may be a JSON object, array or string.
func looksJSON(text []byte) bool {
	text = bytes.Trim(text, " \t\r\n")
	if len(text) < 2 {
		return false
	}
	switch text[0] {
	case '{':
		return text[len(text)-1] == '}'
	case '[':
		return text[len(text)-1] == ']'
	case '"':
		return text[len(text)-1] == '"'
	}
	return false
}

// cleanJSON looks at every string of a JSON text, and at its numbers where a
// literal may be one. Strings are told from names by what follows, so nothing
// need be remembered. It reports false as well for what is not JSON.
func (st *state) cleanJSON(text []byte, nested int) bool {
	for i := 0; i < len(text); {
		c := text[i]
		if c != '"' {
			if !outside[c] {
				return false
			}
			if st.r.digits && (c == '-' || isDigit(c)) {
				end := i
				for end < len(text) && outside[text[end]] && isNumberByte(text[end]) {
					end++
				}
				st.search(text[i:end])
				if len(st.spans) > 0 {
					return false
				}
				i = end
				continue
			}
			i++
			continue
		}
		inside, escaped, end := stringAt(text, i)
		if end < 0 {
			return false
		}
		i = end
		if escaped {
			st.scratch[nested] = unescape(st.scratch[nested][:0], inside)
			inside = st.scratch[nested]
		}
		for i < len(text) && isBlank(text[i]) {
			i++
		}
		if i < len(text) && text[i] == ':' {
			st.search(inside)
			if len(st.spans) > 0 {
				return false
			}
			if st.word {
				if what := st.words.judge(inside); what != harmless && !keeps(text[i+1:], what) {
					return false
				}
			}
			continue
		}
		if len(inside) > 0 && !st.clean(inside, nested) {
			return false
		}
	}
	return true
}

// outside tells what may stand outside of strings in JSON.
var outside = func() (t [256]bool) {
	for _, c := range []byte("{}[]:, \t\r\n0123456789+-.eEtrufalsn") {
		t[c] = true
	}
	return t
}()

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
func isNumberByte(c byte) bool {
	return isDigit(c) || c == '+' || c == '-' || c == '.' || c|0x20 == 'e'
}

// stringAt returns what stands between the quotes of the string that begins at
// i, whether it has escapes, and where it ends, or -1.
func stringAt(text []byte, i int) (inside []byte, escaped bool, end int) {
	from := i + 1
	for at := from; ; {
		n := bytes.IndexByte(text[at:], '"')
		if n < 0 {
			return nil, false, -1
		}
		end := at + n
		slashes := 0
		for end-slashes > from && text[end-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			inside = text[from:end]
			return inside, bytes.IndexByte(inside, '\\') >= 0, end + 1
		}
		at = end + 1
	}
}

// unescape appends what the inside of a JSON string stands for, in the way of
// jsontext, and takes what is not legal for what it says.
func unescape(dst, inside []byte) []byte {
	for {
		n := bytes.IndexByte(inside, '\\')
		if n < 0 || n+1 == len(inside) {
			return append(dst, inside...)
		}
		dst = append(dst, inside[:n]...)
		size := 2
		switch c := inside[n+1]; c {
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
			dst, size = unescapeUnicode(dst, inside[n:])
		default:
			dst = append(dst, c)
		}
		inside = inside[n+size:]
	}
}

// keeps reports whether the value at the beginning of rest stays under a
// secret's name: what says nothing (null, a boolean, something empty), what
// was redacted, and a count.
func keeps(rest []byte, what naming) bool {
	rest = bytes.TrimLeft(rest, " \t\r\n")
	if len(rest) < 2 {
		return false
	}
	switch c := rest[0]; {
	case c == 'n' || c == 't' || c == 'f':
		return true
	case c == '"':
		n := markerLen(rest[1:])
		return rest[1] == '"' || n > 0 && len(rest) > n+1 && rest[n+1] == '"'
	case c == '{' || c == '[':
		after := bytes.TrimLeft(rest[1:], " \t\r\n")
		return len(after) > 0 && after[0] == c+2
	}
	return what == counting
}

// rewriter writes JSON texts anew without their secrets.
type rewriter struct {
	st      *state
	numbers bool
	changed bool
	// names are those of an object that carry a marker: two redacted names
	// must not become one.
	names map[string]int
}

// rewrite returns a JSON text without secrets, and whether it is JSON.
func (w *rewriter) rewrite(text []byte, nested int) ([]byte, bool) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	out, err := w.value(make([]byte, 0, len(text)+64), dec, nested)
	if err != nil {
		return nil, false
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, false
	}
	return out, true
}

func (w *rewriter) value(dst []byte, dec *jsontext.Decoder, nested int) ([]byte, error) {
	switch dec.PeekKind() {
	case '{':
		return w.object(dst, dec, nested)
	case '[':
		return w.array(dst, dec, nested)
	}
	raw, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	switch raw.Kind() {
	case '"':
		return w.text(dst, raw, nested)
	case '0':
		if w.st.r.digits {
			if w.st.search(raw); len(w.st.spans) > 0 {
				w.changed = true
				if w.numbers {
					return append(dst, '0'), nil
				}
				return appendMarker(dst, literalName), nil
			}
		}
	}
	return append(dst, raw...), nil
}

func (w *rewriter) text(dst, raw []byte, nested int) ([]byte, error) {
	plain, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil, err
	}
	if w.st.clean(plain, nested) {
		return append(dst, raw...), nil
	}
	clean := w.st.redact(plain, nested)
	if bytes.Equal(clean, plain) {
		return append(dst, raw...), nil
	}
	w.changed = true
	return jsontext.AppendQuote(dst, clean)
}

func (w *rewriter) array(dst []byte, dec *jsontext.Decoder, nested int) ([]byte, error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	dst = append(dst, '[')
	var err error
	for first := true; dec.PeekKind() != ']'; first = false {
		if !first {
			dst = append(dst, ',')
		}
		if dst, err = w.value(dst, dec, nested); err != nil {
			return nil, err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	return append(dst, ']'), nil
}

func (w *rewriter) object(dst []byte, dec *jsontext.Decoder, nested int) ([]byte, error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	outer := w.names
	w.names = nil
	dst = append(dst, '{')
	for first := true; dec.PeekKind() != '}'; first = false {
		if !first {
			dst = append(dst, ',')
		}
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		plain, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return nil, err
		}
		clean := w.name(plain)
		if bytes.Equal(clean, plain) {
			dst = append(dst, raw...)
		} else {
			w.changed = true
			if dst, err = jsontext.AppendQuote(dst, clean); err != nil {
				return nil, err
			}
		}
		dst = append(dst, ':')
		// What is left of a name may say what the whole did not.
		what := w.st.words.judge(plain)
		if rest := w.st.words.judge(clean); what == harmless || rest == secret {
			what = rest
		}
		if what != harmless && !w.numbers {
			value, err := dec.ReadValue()
			if err != nil {
				return nil, err
			}
			if keeps(append(value, ' '), what) {
				// A count may still be a literal.
				if value.Kind() == '0' && w.st.r.digits {
					if w.st.search(value); len(w.st.spans) > 0 {
						w.changed = true
						dst = appendMarker(dst, literalName)
						continue
					}
				}
				dst = append(dst, value...)
				continue
			}
			w.changed = true
			dst = appendMarker(dst, keyName)
			continue
		}
		if dst, err = w.value(dst, dec, nested); err != nil {
			return nil, err
		}
	}
	w.names = outer
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// name returns a member's name, redacted where it must be, and told apart from
// others that became the same.
func (w *rewriter) name(plain []byte) []byte {
	clean := w.st.replace(plain)
	if !bytes.Contains(clean, []byte(markerOpen)) {
		return clean
	}
	if w.names == nil {
		w.names = make(map[string]int)
	}
	unique := string(clean)
	for n := w.names[unique]; n > 0; n = w.names[unique] {
		w.names[unique] = n + 1
		unique += "#" + strconv.Itoa(n+1)
	}
	w.names[unique] = 1
	return []byte(unique)
}

func appendMarker(dst []byte, name string) []byte {
	dst = append(dst, `"`+markerOpen...)
	dst = append(dst, name...)
	return append(dst, `]"`...)
}

// unescapeUnicode appends what the \u escape at the beginning of b stands for
// and returns how long it is, both halves of a surrogate pair together.
func unescapeUnicode(dst, b []byte) ([]byte, int) {
	r, ok := hex4(b)
	if !ok {
		return append(dst, b[:2]...), 2
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hex4(b[6:]); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return utf8.AppendRune(dst, both), 12
			}
		}
		r = utf8.RuneError
	}
	return utf8.AppendRune(dst, r), 6
}

// hex4 reads \uXXXX.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		d, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}
