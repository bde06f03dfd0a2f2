package wasm

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"carl.camp/carl/host/world"
)

const (
	// maxLog bounds what a plugin logs in one call, in bytes.
	maxLog = 1 << 20
	// logLineCost is what a line counts beyond its bytes: a flood of empty lines is one too.
	logLineCost = 32
	// maxLogLine bounds one line, in bytes, so that it stays one that a person reads.
	maxLogLine = 16 << 10
)

// callLog passes a plugin's lines on, up to the bound of one call.
type callLog struct {
	out     func(world.LogLevel, string)
	left    int
	lines   int // dropped in this call
	dropped int // bytes of them
}

func (l *callLog) begin(out func(world.LogLevel, string)) {
	*l = callLog{out: out, left: maxLog}
}

// write passes one line on. It keeps nothing of text, which may be guest memory.
func (l *callLog) write(level world.LogLevel, text []byte) {
	if l.out == nil {
		return
	}
	if cost := min(len(text), maxLogLine) + logLineCost; cost <= l.left {
		l.left -= cost
		l.out(level, clean(text, maxLogLine))
		return
	}
	l.left = 0 // a short line must not slip in behind a long one that was dropped
	l.lines++
	l.dropped += len(text)
}

// flush says how much was dropped, in one line, at the end of a call.
func (l *callLog) flush() {
	if l.lines > 0 {
		l.out(world.LogWarn, fmt.Sprintf("the plugin logged more than %d bytes in one call: %d lines (%d bytes) were dropped", maxLog, l.lines, l.dropped))
		l.lines, l.dropped = 0, 0
	}
}

// clean makes text of a guest fit for one line on a terminal: cut to at most
// most bytes and a mark, valid UTF-8, and a space for each character that
// controls how what surrounds it is shown.
func clean(text []byte, most int) string {
	cut := len(text) > most
	if cut {
		text = text[:most]
		// A rune that the cut went through is dropped, not shown as a broken one.
		for i := len(text) - 1; i >= max(0, len(text)-utf8.UTFMax); i-- {
			if utf8.RuneStart(text[i]) {
				if !utf8.FullRune(text[i:]) {
					text = text[:i]
				}
				break
			}
		}
	}
	s := string(text)
	if !plain(s) {
		s = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
				return ' '
			}
			return r
		}, strings.ToValidUTF8(s, "\uFFFD"))
	}
	s = strings.TrimRight(s, " ")
	if cut {
		s += " …"
	}
	return s
}

// plain tells whether s is visible ASCII, as most lines are.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// cleanStr is clean for a string, and costs nothing for what is short and plain.
func cleanStr(s string, most int) string {
	if len(s) <= most && plain(s) {
		return s
	}
	return clean([]byte(s), most)
}
