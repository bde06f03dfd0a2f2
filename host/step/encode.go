package step

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
)

// idBytes is the size of an id before it is written in hex.
const idBytes = 6

// NewID makes an id: 12 hex digits from the system's random numbers.
func NewID() string {
	var b [idBytes]byte
	// Read never fails: where the system has no random numbers it ends the program.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Complete gives the step what carl makes when it is absent: an id, and now as
// its time. It reports whether it did.
func (s *Step) Complete(now time.Time) bool {
	changed := false
	if s.ID == "" {
		s.ID, changed = NewID(), true
	}
	if s.Time.IsZero() {
		s.Time, changed = now.UTC(), true
	}
	return changed
}

// Clone returns a copy of s that shares no memory with it, nor with the line
// that it was decoded from.
func (s *Step) Clone() Step {
	c := *s
	if s.Success != nil {
		v := *s.Success
		c.Success = &v
	}
	clone := func(f *float64) *float64 {
		if f == nil {
			return nil
		}
		v := *f
		return &v
	}
	c.DurationMS, c.Phi, c.KuramotoR = clone(s.DurationMS), clone(s.Phi), clone(s.KuramotoR)
	c.ChannelCoherence = bytes.Clone(s.ChannelCoherence)
	c.Input = bytes.Clone(s.Input)
	c.Output = bytes.Clone(s.Output)
	c.Metadata = bytes.Clone(s.Metadata)
	return c
}

const notAnID = "is not 12 lowercase hex digits"

// problem says what is wrong with the members that are not JSON, "" for
// nothing. That strings are UTF-8 is not looked at here.
func (s *Step) problem() string {
	switch {
	case s.ID != "" && !isID(s.ID):
		return "step_id " + notAnID
	case s.Action == "":
		return "action is missing"
	case !isUpperSnake(s.Action):
		return "action is not in UPPER_SNAKE form"
	case s.Name == "":
		return "name is missing or empty"
	case len(s.Name) > MaxName:
		return "name is longer than " + strconv.Itoa(MaxName) + " bytes"
	case !s.Time.IsZero() && !inRange(s.Time):
		return "ts " + outsideTime
	case s.DurationMS != nil && !(*s.DurationMS >= 0 && isFinite(*s.DurationMS)):
		return "duration_ms is not a finite number from 0 up"
	case s.Phi != nil && !isFinite(*s.Phi):
		return "phi is not a finite number"
	case s.KuramotoR != nil && !(*s.KuramotoR >= 0 && *s.KuramotoR <= 1):
		return "kuramoto_r is not in [0,1]"
	}
	return ""
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func isID(s string) bool {
	if len(s) != 2*idBytes {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isUpperSnake reports whether s is words of A-Z and 0-9 joined by single
// underscores, the first beginning with a letter.
func isUpperSnake(s string) bool {
	last := byte('_')
	for i, c := range []byte(s) {
		switch {
		case 'A' <= c && c <= 'Z':
		case '0' <= c && c <= '9':
			if i == 0 {
				return false
			}
		case c == '_' && last != '_':
		default:
			return false
		}
		last = c
	}
	return last != '_'
}

// Validate holds a step built by a Go program to the rules that [Decode] keeps:
// ranges, UTF-8, one JSON text in each member that holds JSON, and the bounds
// of size and depth that the step has as a line. An absent id and time are
// fine. Errors have the code carl.step.invalid.
func (s *Step) Validate() error {
	if problem := s.problem(); problem != "" {
		return fault.New(fault.StepInvalid, "%s", problem)
	}
	size := 0
	for _, f := range [...]struct{ member, value string }{
		{memberName, s.Name}, {memberSession, s.Session}, {memberTrace, s.Trace}, {memberParent, s.Parent},
	} {
		if !utf8.ValidString(f.value) {
			return fault.New(fault.StepInvalid, "%s is not valid UTF-8", f.member)
		}
		size += len(f.value)
	}
	for _, f := range [...]struct {
		member string
		value  []byte
	}{
		{memberCoherence, s.ChannelCoherence}, {memberInput, s.Input}, {memberOutput, s.Output}, {memberMetadata, s.Metadata},
	} {
		if f.value == nil {
			continue
		}
		size += len(f.value)
		if size > MaxLine {
			break
		}
		if deeper(f.value, MaxDepth-1) {
			return fault.New(fault.StepInvalid, "%s: nested deeper than %d levels", f.member, MaxDepth-1)
		}
		if err := checkJSON(f.value); err != nil {
			return syntaxError(f.value, f.member+": ", err)
		}
		if f.member == memberCoherence && (jsontext.Value(f.value).Kind() != '{' || !allNumbers(bytes.TrimSpace(f.value))) {
			return fault.New(fault.StepInvalid, "channel_coherence is not an object of numbers of 64 bits")
		}
	}
	// A byte of a string becomes at most six, and all else of a step is
	// below 1 KiB: only a step near the bound is written out to be measured.
	if size > MaxLine || 6*size+1024 > MaxLine && len(s.AppendJSON(nil)) > MaxLine {
		return fault.New(fault.StepInvalid, "the step is longer than %d bytes as a line", MaxLine)
	}
	return nil
}

// checkJSON reports what is wrong with text as one JSON text.
func checkJSON(text []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(text))
	if err := dec.SkipValue(); err != nil {
		return err
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return &jsontext.SyntacticError{ByteOffset: dec.InputOffset(), Err: err}
	}
	return nil
}

// AppendJSON appends the step as one JSON object on one line, without a line
// end: the members of formats.md in the order of its table, absent ones left
// out, times in UTC. It is what the spool holds. For a step that [Step.Validate]
// accepts, Decode gives back an equal one; of any other step, AppendJSON makes
// what it can.
func (s *Step) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if s.ID != "" {
		dst = appendText(dst, memberID, s.ID)
	}
	dst = appendText(dst, memberAction, s.Action)
	dst = appendText(dst, memberName, s.Name)
	if !s.Time.IsZero() {
		dst = appendMember(dst, memberTime)
		dst = append(dst, '"')
		dst = s.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, '"')
	}
	if s.Session != "" {
		dst = appendText(dst, memberSession, s.Session)
	}
	if s.Trace != "" {
		dst = appendText(dst, memberTrace, s.Trace)
	}
	if s.Parent != "" {
		dst = appendText(dst, memberParent, s.Parent)
	}
	if s.Success != nil {
		dst = strconv.AppendBool(appendMember(dst, memberSuccess), *s.Success)
	}
	dst = appendFloat(dst, memberDuration, s.DurationMS)
	dst = appendFloat(dst, memberPhi, s.Phi)
	dst = appendFloat(dst, memberKuramotoR, s.KuramotoR)
	dst = appendRaw(dst, memberCoherence, s.ChannelCoherence)
	dst = appendRaw(dst, memberInput, s.Input)
	dst = appendRaw(dst, memberOutput, s.Output)
	dst = appendRaw(dst, memberMetadata, s.Metadata)
	return append(dst, '}')
}

func appendMember(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, `":`...)
}

func appendText(dst []byte, name, value string) []byte {
	return appendQuoted(appendMember(dst, name), value)
}

// appendFloat writes the shortest form that reads back the same, with an
// exponent where ECMAScript would write one.
func appendFloat(dst []byte, name string, f *float64) []byte {
	if f == nil {
		return dst
	}
	form := byte('f')
	if abs := math.Abs(*f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(appendMember(dst, name), *f, form, -1, 64)
}

// appendRaw writes a JSON text. Line ends in one are white space, since
// strings hold none, and become spaces: the step is to stay on its line.
func appendRaw(dst []byte, name string, value []byte) []byte {
	if value == nil {
		return dst
	}
	dst = appendMember(dst, name)
	start := len(dst)
	dst = append(dst, value...)
	for _, end := range []byte("\n\r") {
		rest := dst[start:]
		for i := bytes.IndexByte(rest, end); i >= 0; i = bytes.IndexByte(rest, end) {
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
	return dst
}

// appendQuoted writes s as a JSON string, U+FFFD for what is not UTF-8.
func appendQuoted(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < 0x20:
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}
