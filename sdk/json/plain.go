package json

import "unicode/utf8"

// plainByte says which bytes stand for themselves in a JSON string.
var plainByte = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\'
	}
	return plain
}()

// plainEnd returns where s stops being ASCII that stands for itself in a JSON
// string, from i on: the offset of the first other byte, or len(s). Most of
// what passes through here is long plain text, so it looks at eight bytes at
// a time.
func plainEnd(s string, i int) int {
	for i+8 <= len(s) && allPlain(word(s, i)) {
		i += 8
	}
	for i < len(s) && plainByte[s[i]] {
		i++
	}
	return i
}

// allPlain reports whether all eight bytes of w stand for themselves. The
// subtractions borrow into the top bit of each byte that is below the bound;
// a borrow that runs on into the next byte begins at one that is not plain.
func allPlain(w uint64) bool {
	const (
		ones = 0x0101010101010101
		tops = 0x80 * ones
	)
	control := w - ' '*ones
	quote := w ^ '"'*ones - ones
	backslash := w ^ '\\'*ones - ones
	return (w|control|quote|backslash)&tops == 0
}
