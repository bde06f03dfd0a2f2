// Package json reads and writes the JSON that crosses the plugin contract,
// without reflection: encoding/json would add 1.2 MB to a guest of 1.9, and
// take most of a call's time.
//
// Writing appends to a byte slice ([Object], [AppendString], ...); reading
// checks a whole text once ([Parse]) and then picks from it in place ([Value]).
package json

import (
	"math"
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s to dst as a JSON string. What is not UTF-8 in s
// becomes U+FFFD, so that the result is always a legal JSON text.
func AppendString(dst []byte, s string) []byte {
	// Most strings need no escape; they are copied at once.
	plain := plainEnd(s, 0)
	n := len(dst)
	dst = extend(dst, plain+2)
	dst[n] = '"'
	copy(dst[n+1:], s[:plain])
	dst[n+1+plain] = '"'
	if plain == len(s) {
		return dst
	}
	return appendEscaped(dst[:n+1+plain], s[plain:])
}

// extend makes dst n bytes longer; what they hold is the caller's to write.
func extend(dst []byte, n int) []byte {
	if need := len(dst) + n; need <= cap(dst) {
		return dst[:need]
	}
	return append(dst, make([]byte, n)...)
}

// appendEscaped writes the rest of a string and its end.
func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := plainEnd(s, 0); i < len(s); i = plainEnd(s, i) {
		c := s[i]
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			start = i + 1
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// AppendFloat appends f in the shortest form that reads back as f, written
// as ECMAScript writes it; null stands for a NaN or an infinity, which JSON
// cannot hold.
func AppendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if short, ok := appendShort(dst, f); ok {
		return short
	}
	abs := math.Abs(f)
	if abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		// strconv writes e-07 where ECMAScript writes e-7.
		if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
			dst[n-2] = dst[n-1]
			dst = dst[:n-1]
		}
		return dst
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}

// appendShort writes what has at most six decimals and fifteen digits in all,
// as most measurements do, several times faster than the general way. No two
// such decimals are the same float64, so one that reads back as f is the
// shortest.
func appendShort(dst []byte, f float64) ([]byte, bool) {
	const scale = 1e6
	abs := math.Abs(f)
	if !(abs < 1e9) || f == 0 && math.Signbit(f) {
		return dst, false
	}
	n := uint64(abs*scale + 0.5)
	// Both are integers that a float64 holds exactly, so the quotient is
	// rounded once: it is what reading the decimal would give.
	if float64(n)/scale != abs {
		return dst, false
	}
	if f < 0 {
		dst = append(dst, '-')
	}
	dst = strconv.AppendUint(dst, n/scale, 10)
	rest := n % scale
	if rest == 0 {
		return dst, true
	}
	at := len(dst)
	dst = extend(dst, len(".000000"))
	dst[at] = '.'
	for i := at + 6; i > at; i-- {
		dst[i] = byte('0' + rest%10)
		rest /= 10
	}
	end := len(dst)
	for dst[end-1] == '0' {
		end--
	}
	return dst[:end], true
}

// AppendInt appends n.
func AppendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// AppendUint appends n.
func AppendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

// AppendBool appends true or false.
func AppendBool(dst []byte, b bool) []byte { return strconv.AppendBool(dst, b) }
