package axon

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// MinKept is the length, in bytes as written, below which no string is cut: a
// head that is shorter tells a reader nothing.
const MinKept = 64

// span is the inside of one string of a JSON text, its quotes excluded.
type span struct{ start, end int }

func (s span) len() int { return s.end - s.start }

// cutStrings returns a valid and compact JSON text with its longest strings
// cut, shorter by at least excess bytes, or false when its strings do not give
// as much. Member names are never cut.
func cutStrings(text []byte, excess int) ([]byte, bool) {
	spans := stringValues(text)
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(b.len(), a.len()) })

	type cut struct {
		span
		with []byte
	}
	var cuts []cut
	for _, s := range spans {
		if excess <= 0 {
			break
		}
		raw := text[s.start:s.end]
		if len(raw) <= MinKept {
			break
		}
		mark := cutMark(raw)
		head := headLen(raw, max(MinKept, len(raw)-excess-len(mark)))
		if head+len(mark) >= len(raw) {
			break // and every string that follows is shorter still
		}
		excess -= len(raw) - head - len(mark)
		cuts = append(cuts, cut{s, append(slices.Clone(raw[:head]), mark...)})
	}
	if excess > 0 {
		return nil, false
	}

	slices.SortFunc(cuts, func(a, b cut) int { return cmp.Compare(a.start, b.start) })
	out := make([]byte, 0, len(text))
	from := 0
	for _, c := range cuts {
		out = append(append(out, text[from:c.start]...), c.with...)
		from = c.end
	}
	return append(out, text[from:]...), true
}

// stringValues finds the strings of a valid, compact JSON text that are not
// member names.
func stringValues(text []byte) []span {
	var spans []span
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		end := stringEnd(text, i)
		if end+1 >= len(text) || text[end+1] != ':' {
			spans = append(spans, span{i + 1, end})
		}
		i = end
	}
	return spans
}

// stringEnd returns the index of the quote that ends the string whose first
// quote is at start. The text is valid JSON.
func stringEnd(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}

// cutMark is what stands in place of the tail of a string: the length and the
// digest of all of it, so that whoever has the original can tell.
func cutMark(raw []byte) []byte {
	quoted := append(append([]byte{'"'}, raw...), '"')
	// The text is valid JSON in valid UTF-8, so that unquoting cannot fail.
	whole, _ := jsontext.AppendUnquote(nil, quoted)
	sum := sha256.Sum256(whole)
	mark := append([]byte(" [cut from "), strconv.Itoa(len(whole))...)
	mark = append(mark, " bytes, sha256:"...)
	mark = hex.AppendEncode(mark, sum[:])
	return append(mark, ']')
}

// headLen returns the greatest length, at most limit, at which raw may be cut
// without parting a character or an escape.
func headLen(raw []byte, limit int) int {
	at := 0
	for at < len(raw) {
		next := at + charLen(raw[at:])
		if next > limit {
			break
		}
		at = next
	}
	return at
}

// charLen is how many bytes the first character of a string's inside takes.
func charLen(raw []byte) int {
	c := raw[0]
	switch {
	case c == '\\' && raw[1] != 'u':
		return 2
	case c == '\\' && (raw[2] == 'd' || raw[2] == 'D') && raw[3] >= '8':
		return 12 // a surrogate pair; the validator refuses half of one
	case c == '\\':
		return 6
	case c < 0x80:
		return 1
	case c < 0xe0:
		return 2
	case c < 0xf0:
		return 3
	}
	return 4
}
