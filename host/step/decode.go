package step

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
)

// MaxRecorded bounds what [Decode] reads: a line of [MaxLine] bytes and what
// carl adds when it completes the step (an id, a time, numbers written out).
const MaxRecorded = MaxLine + 4096

// The members that carl knows, spelled as they must be.
const (
	memberID        = "step_id"
	memberAction    = "action"
	memberName      = "name"
	memberTime      = "ts"
	memberSession   = "session_id"
	memberTrace     = "trace_id"
	memberParent    = "parent_id"
	memberSuccess   = "success"
	memberDuration  = "duration_ms"
	memberPhi       = "phi"
	memberKuramotoR = "kuramoto_r"
	memberCoherence = "channel_coherence"
	memberInput     = "input"
	memberOutput    = "output"
	memberMetadata  = "metadata"
)

// knownMember returns the constant that name spells, or "".
func knownMember(name []byte) string {
	switch string(name) {
	case memberID:
		return memberID
	case memberAction:
		return memberAction
	case memberName:
		return memberName
	case memberTime:
		return memberTime
	case memberSession:
		return memberSession
	case memberTrace:
		return memberTrace
	case memberParent:
		return memberParent
	case memberSuccess:
		return memberSuccess
	case memberDuration:
		return memberDuration
	case memberPhi:
		return memberPhi
	case memberKuramotoR:
		return memberKuramotoR
	case memberCoherence:
		return memberCoherence
	case memberInput:
		return memberInput
	case memberOutput:
		return memberOutput
	case memberMetadata:
		return memberMetadata
	}
	return ""
}

// Decode reads one step: a JSON object as the table of formats.md has it, with
// nothing but white space around it.
//
// It is strict. The line is UTF-8 without a byte order mark, at most
// [MaxRecorded] bytes and [MaxDepth] deep; no object in it, at any depth, has
// two members of one name, escapes undone; names are case-sensitive; every
// member has the type and the range of the table. null is a value like any
// other: right for input, output and metadata, of the wrong type elsewhere.
// Members that are not in the table must be valid JSON and are otherwise
// ignored; [Decoder] collects their names.
//
// The members of the Step that hold JSON alias line; see [Step.Clone].
//
// Errors have the code carl.step.invalid. They name the member or the byte,
// counted from 1, and repeat nothing of the line: it may hold secrets.
// Decode may be called from several goroutines.
func Decode(line []byte) (Step, error) {
	return decode(line, nil)
}

// text is a string member as it stands in the line, its quotes included.
type text struct {
	raw     []byte
	escaped bool
}

// scalars holds what the optional members of one step point to, in one
// allocation.
type scalars struct {
	success                  bool
	duration, phi, kuramotoR float64
}

// reader reads one line. Readers are reused, since a jsontext.Decoder is large.
type reader struct {
	dec  jsontext.Decoder
	from bytes.Buffer
	line []byte
	// member is the top-level member being read, "" for one that carl does not
	// know: that may itself be a secret, and is not to stand in a message.
	member  string
	scratch [256]byte

	step                                     Step
	id, action, name, session, trace, parent text
	nums                                     *scalars
}

var readers = sync.Pool{New: func() any { return new(reader) }}

func decode(line []byte, unknown *unknownNames) (Step, error) {
	r := readers.Get().(*reader)
	st, err := r.read(line, unknown)
	// What aliases the line must not keep it alive in the pool.
	r.line, r.from, r.step, r.nums = nil, bytes.Buffer{}, Step{}, nil
	r.id, r.action, r.name, r.session, r.trace, r.parent = text{}, text{}, text{}, text{}, text{}, text{}
	r.dec.Reset(&r.from)
	readers.Put(r)
	return st, err
}

func (r *reader) read(line []byte, unknown *unknownNames) (Step, error) {
	if len(line) > MaxRecorded {
		return Step{}, fault.New(fault.StepInvalid, "longer than %d bytes", MaxLine)
	}
	if bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
		return Step{}, fault.New(fault.StepInvalid, "begins with a byte order mark, which JSON does not have")
	}
	if deeper(line, MaxDepth) {
		return Step{}, fault.New(fault.StepInvalid, "nested deeper than %d levels", MaxDepth)
	}
	r.line, r.member, r.from = line, "", *bytes.NewBuffer(line)
	r.dec.Reset(&r.from)
	if kind := r.dec.PeekKind(); kind != '{' {
		if _, err := r.dec.ReadValue(); err != nil {
			return Step{}, r.syntax(err)
		}
		return Step{}, fault.New(fault.StepInvalid, "%s, and must be an object", kindName(kind))
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return Step{}, r.syntax(err)
	}
	for r.dec.PeekKind() != '}' {
		name, err := r.dec.ReadValue()
		if err != nil {
			return Step{}, r.syntax(err)
		}
		r.member = knownMember(r.unquote(name))
		if r.member == "" {
			unknown.add(r.unquote(name))
		}
		value, err := r.dec.ReadValue()
		if err != nil {
			return Step{}, r.syntax(err)
		}
		if err := r.take(value); err != nil {
			return Step{}, err
		}
		r.member = ""
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return Step{}, r.syntax(err)
	}
	if rest := bytes.TrimLeft(line[r.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return Step{}, fault.New(fault.StepInvalid, "something follows the object, at byte %d", len(line)-len(rest)+1)
	}
	return r.finish()
}

// unquote returns what a checked JSON string stands for: a part of it, or of
// r.scratch.
func (r *reader) unquote(raw []byte) []byte {
	inside := raw[1 : len(raw)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		return inside
	}
	b, _ := jsontext.AppendUnquote(r.scratch[:0], raw)
	return b
}

// take keeps the value of r.member.
func (r *reader) take(value []byte) (err error) {
	switch r.member {
	case memberID:
		return r.text(value, &r.id)
	case memberAction:
		return r.text(value, &r.action)
	case memberName:
		return r.text(value, &r.name)
	case memberSession:
		return r.text(value, &r.session)
	case memberTrace:
		return r.text(value, &r.trace)
	case memberParent:
		return r.text(value, &r.parent)
	case memberTime:
		var t text
		if err = r.text(value, &t); err != nil {
			return err
		}
		var problem string
		if r.step.Time, problem = parseTime(r.unquote(value)); problem != "" {
			return fault.New(fault.StepInvalid, "ts %s", problem)
		}
	case memberSuccess:
		if value[0] != 't' && value[0] != 'f' {
			return r.wrong(value, "true or false")
		}
		r.scalars().success = value[0] == 't'
		r.step.Success = &r.nums.success
	case memberDuration:
		r.step.DurationMS = &r.scalars().duration
		return r.float(value, r.step.DurationMS)
	case memberPhi:
		r.step.Phi = &r.scalars().phi
		return r.float(value, r.step.Phi)
	case memberKuramotoR:
		r.step.KuramotoR = &r.scalars().kuramotoR
		return r.float(value, r.step.KuramotoR)
	case memberCoherence:
		r.step.ChannelCoherence = value
		if value[0] != '{' {
			return r.wrong(value, "an object of numbers")
		}
		if !allNumbers(value) {
			return fault.New(fault.StepInvalid, "channel_coherence has a member that is not a number of 64 bits")
		}
	case memberInput:
		r.step.Input = value
	case memberOutput:
		r.step.Output = value
	case memberMetadata:
		r.step.Metadata = value
	}
	return nil
}

func (r *reader) scalars() *scalars {
	if r.nums == nil {
		r.nums = new(scalars)
	}
	return r.nums
}

func (r *reader) text(value []byte, to *text) error {
	if value[0] != '"' {
		return r.wrong(value, "a string")
	}
	*to = text{raw: value, escaped: bytes.IndexByte(value, '\\') >= 0}
	return nil
}

func (r *reader) float(value []byte, to *float64) (err error) {
	if jsontext.Value(value).Kind() != '0' {
		return r.wrong(value, "a number")
	}
	if *to, err = strconv.ParseFloat(string(value), 64); err != nil {
		return fault.New(fault.StepInvalid, "%s is a number too large for 64 bits", r.member)
	}
	return nil
}

func (r *reader) wrong(value []byte, want string) error {
	return fault.New(fault.StepInvalid, "%s is %s, and must be %s", r.member, kindName(jsontext.Value(value).Kind()), want)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// syntax makes the error for what jsontext refused, without its text: that
// repeats the input.
func (r *reader) syntax(err error) error {
	place := ""
	if r.member != "" {
		place = r.member + ": "
	}
	return syntaxError(r.line, place, err)
}

func syntaxError(text []byte, place string, err error) error {
	offset := int64(len(text))
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		offset = s.ByteOffset
	}
	switch {
	case !utf8.Valid(text):
		return fault.New(fault.StepInvalid, "%snot valid UTF-8, at byte %d", place, invalidAt(text)+1)
	case errors.Is(err, jsontext.ErrDuplicateName):
		if s != nil && place == "" {
			if known := knownMember([]byte(strings.TrimPrefix(string(s.JSONPointer), "/"))); known != "" {
				return fault.New(fault.StepInvalid, "%s stands twice, again at byte %d", known, offset+1)
			}
		}
		return fault.New(fault.StepInvalid, "%san object has two members of one name, the second at byte %d", place, offset+1)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fault.New(fault.StepInvalid, "%sends in the middle of the JSON text", place)
	}
	return fault.New(fault.StepInvalid, "%snot valid JSON, at byte %d", place, offset+1)
}

func invalidAt(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(text)
}

// deeper reports whether the JSON text nests deeper than limit. Of a text that
// is not JSON it may report either. jsontext has a bound of its own, which is
// 10,000 and fixed.
func deeper(text []byte, limit int) bool {
	if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) <= limit {
		return false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return false
}

// allNumbers reports whether the members of a checked JSON object are numbers
// of 64 bits.
func allNumbers(object []byte) bool {
	// Each member is a name and a value, and neither holds a container: the
	// values are what stands behind a colon outside of strings.
	for i := 1; i < len(object)-1; i++ {
		switch object[i] {
		case '"':
			for i++; object[i] != '"'; i++ {
				if object[i] == '\\' {
					i++
				}
			}
		case ':':
			start := i + 1
			for start < len(object) && isSpace(object[start]) {
				start++
			}
			end := start
			for end < len(object) && (object[end] == '-' || object[end] == '+' || object[end] == '.' ||
				object[end]|0x20 == 'e' || '0' <= object[end] && object[end] <= '9') {
				end++
			}
			if _, err := strconv.ParseFloat(string(object[start:end]), 64); err != nil {
				return false
			}
			i = end - 1
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// finish makes strings of what was read and checks what is not a matter of
// type: the rules that a step built by a Go program must keep as well.
func (r *reader) finish() (Step, error) {
	st := r.step
	known := ""
	if r.action.raw != nil {
		known = knownAction(r.unquote(r.action.raw))
	}
	if known != "" {
		r.action = text{}
	}
	fields := [...]struct {
		from *text
		to   *string
	}{
		{&r.id, &st.ID}, {&r.action, &st.Action}, {&r.name, &st.Name},
		{&r.session, &st.Session}, {&r.trace, &st.Trace}, {&r.parent, &st.Parent},
	}
	// One string for all, of which each takes its part: one allocation.
	var all strings.Builder
	var ends [len(fields)]int
	size := 0
	for _, f := range fields {
		size += len(f.from.raw)
	}
	all.Grow(size)
	for i, f := range fields {
		if f.from.raw != nil {
			all.Write(r.unquote(f.from.raw))
		}
		ends[i] = all.Len()
	}
	start := 0
	for i, f := range fields {
		*f.to = all.String()[start:ends[i]]
		start = ends[i]
	}
	if known != "" {
		st.Action = known
	}
	if r.id.raw != nil && st.ID == "" {
		return Step{}, fault.New(fault.StepInvalid, "step_id %s", notAnID)
	}
	if problem := st.problem(); problem != "" {
		return Step{}, fault.New(fault.StepInvalid, "%s", problem)
	}
	return st, nil
}

func knownAction(name []byte) string {
	switch string(name) {
	case UserInput:
		return UserInput
	case CLICmd:
		return CLICmd
	case ToolCall:
		return ToolCall
	case LLMReply:
		return LLMReply
	case TrainingStep:
		return TrainingStep
	case EvalPhase:
		return EvalPhase
	case Reward:
		return Reward
	case Checkpoint:
		return Checkpoint
	case Payment:
		return Payment
	case External:
		return External
	case Gate:
		return Gate
	}
	return ""
}

// Bounds of what is remembered of unknown members: enough to tell a person
// which are misspelt, and nothing that a hostile file can make grow.
const (
	maxUnknown     = 32
	maxUnknownName = 64
)

// unknownNames collects the names of unknown members. A nil one drops them.
type unknownNames struct {
	names []string // sorted
}

func (u *unknownNames) add(name []byte) {
	if u == nil || len(u.names) == maxUnknown {
		return
	}
	if len(name) > maxUnknownName {
		name = name[:maxUnknownName]
		for !utf8.Valid(name) {
			name = name[:len(name)-1]
		}
		name = append(slices.Clone(name), "…"...)
	}
	i, found := slices.BinarySearchFunc(u.names, name, func(have string, name []byte) int {
		return strings.Compare(have, string(name))
	})
	if !found {
		u.names = slices.Insert(u.names, i, string(name))
	}
}
