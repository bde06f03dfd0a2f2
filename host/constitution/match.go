package constitution

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxNumber bounds the characters of a number, and maxExponent its exponent:
	// beyond what doubles reach, and little work in exact arithmetic.
	maxNumber   = 512
	maxExponent = 400
)

// scalars is a set of the JSON types that can be compared. null, lists and
// mappings are none of them.
type scalars uint8

const (
	isText scalars = 1 << iota
	isNumber
	isTruth
)

// value is a text, a number, true or false. The zero value is anything else, and
// what is absent.
type value struct {
	is scalars
	// text is the text, "true", "false", or the number as a reduced fraction: two
	// values are equal where is and text are.
	text   string
	number *big.Rat
}

// valueOf returns the value of legal JSON. It is false for a number beyond the bounds.
func valueOf(raw jsontext.Value) (v value, ok bool) {
	switch raw.Kind() {
	case '"':
		s, err := jsontext.AppendUnquote(nil, raw)
		return value{is: isText, text: string(s)}, err == nil
	case 't', 'f':
		return value{is: isTruth, text: string(raw)}, true
	case '0':
		v := value{is: isNumber}
		if i := strings.IndexAny(string(raw), "eE"); i >= 0 {
			// Exact arithmetic writes exponents out: they are bounded before it begins.
			if e, err := strconv.Atoi(string(raw[i+1:])); err != nil || e < -maxExponent || e > maxExponent {
				return v, false
			}
		}
		if len(raw) > maxNumber {
			return v, false
		}
		if v.number, ok = new(big.Rat).SetString(string(raw)); ok {
			v.text = v.number.RatString()
		}
		return v, ok
	}
	return value{}, true
}

func (v value) equal(w value) bool { return v.is == w.is && v.text == w.text }

// matcher looks at one attribute: by a glob, by a range, or else by a list of values.
type matcher struct {
	attribute string
	is        scalars // the types that it says yes or no of
	negated   bool
	values    []value
	glob      string
	min, max  *big.Rat // inclusive; nil is none
}

func (m *matcher) ranged() bool { return m.min != nil || m.max != nil }

// match reports whether m says yes.
func (m *matcher) match(v value) bool {
	if m.is&v.is == 0 {
		return false
	}
	var holds bool
	switch {
	case m.glob != "":
		holds = match(m.glob, v.text)
	case m.ranged():
		holds = (m.min == nil || m.min.Cmp(v.number) <= 0) && (m.max == nil || m.max.Cmp(v.number) >= 0)
	default:
		holds = slices.ContainsFunc(m.values, v.equal)
	}
	return holds != m.negated
}

// finite returns the values that m says yes to, where they are finitely many.
func (m *matcher) finite() (yes []value, ok bool) {
	switch {
	case m.is == isTruth:
		both := []value{{is: isTruth, text: "true"}, {is: isTruth, text: "false"}}
		return slices.DeleteFunc(both, func(v value) bool { return !m.match(v) }), true
	case m.negated && m.glob != "" && strings.Trim(m.glob, "*") == "":
		return nil, true
	}
	return m.values, m.glob == "" && !m.ranged() && !m.negated
}

// match reports whether a glob matches all of s.
func match(glob, s string) bool {
	ok, _ := walk(glob, s, false)
	return ok
}

// walk matches greedily and goes back to the last star alone, which suffices:
// what an earlier star could give up, the last one can take. So it takes at
// most (len(glob)+1)·(len(s)+1) steps.
//
// With within, s is a glob too, and the answer is whether glob matches all that
// s matches; it may be no where it should be yes. A star of s is then something
// that only a star of glob matches.
func walk(glob, s string, within bool) (ok bool, steps int) {
	g, i := 0, 0
	star, from := -1, 0 // the last star, and where in s its run ends
	for i < len(s) {
		steps++
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, i
			g++
		case g < len(glob) && glob[g] == '?' && !(within && s[i] == '*'):
			_, size := utf8.DecodeRuneInString(s[i:])
			g, i = g+1, i+size
		case g < len(glob) && glob[g] == s[i]:
			g, i = g+1, i+1
		case star >= 0:
			_, size := utf8.DecodeRuneInString(s[from:])
			from += size
			g, i = star+1, from
		default:
			return false, steps
		}
	}
	return strings.Trim(glob[g:], "*") == "", steps
}
