package axon

import (
	"bytes"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
)

const (
	// MaxEvent bounds one event, envelope included: CloudEvents asks every
	// receiver to take 64 KiB, and promises nothing above.
	MaxEvent = 64 << 10
	// MaxDepth bounds the nesting of data, its outermost value included, as
	// that of a step is bounded: receivers read recursively.
	MaxDepth = 64
	// MaxAttribute bounds subject, session and trace, in bytes: they are
	// labels, and leave the room to data.
	MaxAttribute = 1024
)

// Envelope is what one event is made of.
type Envelope struct {
	// ID is the idempotency key, see [ID]; Source that of [Source]. Both are
	// carl's own and written as they are.
	ID, Source string
	// Type is one of [Types].
	Type string
	// Subject, Session and Trace come from steps and mappers: characters that
	// CloudEvents disallows become U+FFFD, and what is longer than
	// [MaxAttribute] is cut. Session and Trace may be "", and so may Subject.
	Subject, Session, Trace string
	Time                    time.Time
	// Data is what the mapper returned. It is not trusted: unless it is
	// exactly one JSON text in valid UTF-8, without duplicate members and at
	// most [MaxDepth] deep, the event is refused.
	Data []byte
}

// AppendEvent appends the event that e describes to dst, as the package
// comment lays it out. On an error dst is returned unchanged; the error is a
// [*fault.Error] of code carl.sync.event_refused that says which rule was
// broken and quotes nothing of the data. Safe for concurrent use.
func AppendEvent(dst []byte, e Envelope) ([]byte, error) {
	if !Allowed(e.Type) {
		return dst, refused("type %q is not one that carl sends", clip(e.Type))
	}
	start := len(dst)
	out := append(dst, `{"specversion":"1.0","id":`...)
	out = appendString(out, e.ID)
	out = append(out, `,"source":`...)
	out = appendString(out, e.Source)
	out = append(out, `,"type":"`...)
	out = append(out, e.Type...)
	out = append(out, '"')
	out = appendAttribute(out, `,"subject":`, e.Subject)
	out = append(out, `,"time":"`...)
	out = e.Time.UTC().AppendFormat(out, time.RFC3339Nano)
	out = append(out, `","datacontenttype":"application/json"`...)
	out = appendAttribute(out, `,"session":`, e.Session)
	out = appendAttribute(out, `,"trace":`, e.Trace)
	out = append(out, `,"data":`...)

	data := len(out)
	out, err := appendData(out, e.Data)
	if err != nil {
		return dst, err
	}
	if excess := len(out) + 1 - start - MaxEvent; excess > 0 {
		cut, ok := cutStrings(out[data:], excess)
		if !ok {
			return dst, refused("data of %d bytes is too large for an event of %d even with its strings cut",
				len(out)-data, MaxEvent)
		}
		out = append(out[:data], cut...)
	}
	return append(out, '}'), nil
}

// appendData appends one strict JSON text without the white space between its tokens.
func appendData(dst, data []byte) ([]byte, error) {
	start := len(dst)
	// Strings stay as they were written: what is signed off here is what the
	// mapper meant, and the redactor has seen exactly these bytes.
	out, err := jsontext.AppendFormat(dst, data, jsontext.PreserveRawStrings(true))
	if err != nil {
		var at *jsontext.SyntacticError
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			return dst, refused("data has the same member twice in one object")
		case errors.As(err, &at):
			return dst, refused("data is not one JSON text in valid UTF-8: it breaks off at byte %d of %d", at.ByteOffset, len(data))
		}
		return dst, refused("data is not one JSON text in valid UTF-8")
	}
	if text := out[start:]; opened(text) > MaxDepth && depth(text) > MaxDepth {
		return dst, refused("data is nested deeper than %d", MaxDepth)
	}
	return out, nil
}

// opened bounds the depth of a text from above, quickly.
func opened(text []byte) int { return bytes.Count(text, []byte("{")) + bytes.Count(text, []byte("[")) }

// depth is how deep a valid JSON text is nested.
func depth(text []byte) int {
	level, deepest := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
		case '{', '[':
			level++
			deepest = max(deepest, level)
		case '}', ']':
			level--
		}
	}
	return deepest
}

func appendAttribute(dst []byte, member, value string) []byte {
	if value == "" {
		return dst
	}
	return appendString(append(dst, member...), Label(value))
}

// Label makes value one that CloudEvents allows as an attribute: no control
// characters, no noncharacters, no surrogates, at most [MaxAttribute] bytes.
func Label(value string) string {
	if strings.ContainsFunc(value, disallowed) || !utf8.ValidString(value) {
		value = strings.Map(func(r rune) rune {
			if disallowed(r) {
				return utf8.RuneError
			}
			return r
		}, value)
	}
	if len(value) <= MaxAttribute {
		return value
	}
	const mark = "…"
	end := MaxAttribute - len(mark)
	for !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end] + mark
}

func disallowed(r rune) bool {
	return unicode.IsControl(r) || r&0xfffe == 0xfffe || 0xfdd0 <= r && r <= 0xfdef
}

func appendString(dst []byte, s string) []byte {
	// AppendQuote fails on invalid UTF-8 alone, and then has written the
	// string with U+FFFD in its place, which is what is wanted.
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// clip bounds what an error repeats of a name that a mapper chose.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

func refused(format string, args ...any) error {
	return fault.New(fault.SyncEventRefused, format, args...)
}
