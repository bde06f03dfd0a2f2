package step

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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

// text is a string member as it stands in the line.
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

func decode(line []byte, unknown *unknownNames) (Step, error) {
	if len(line) > MaxRecorded {
		return Step{}, fault.New(fault.StepInvalid, "the line is longer than %d bytes", MaxLine)
	}
	if bytes.HasPrefix(line, []byte("\xef\xbb\xbf")) {
		return Step{}, fault.New(fault.StepInvalid, "the line begins with a byte order mark, which JSON does not have")
	}
	if !utf8.Valid(line) {
		return Step{}, fault.New(fault.StepInvalid, "the line is not valid UTF-8, at byte %d", invalidAt(line)+1)
	}
	var room [48]nameRef
	s := scanner{src: line, seed: maphash.MakeSeed(), names: room[:0]}
	if s.peek() != '{' {
		if s.at < len(line) {
			return Step{}, s.reject("the line is not a JSON object: it begins with %s", describe(line[s.at]))
		}
		return Step{}, s.reject("the line is empty")
	}
	var r reader
	more, err := s.openObject(1)
	for more && err == nil {
		var raw []byte
		var escaped bool
		if raw, escaped, err = s.name(0); err != nil {
			break
		}
		if escaped {
			raw = unescape(s.scratch[:0], raw)
		}
		s.member = knownMember(raw)
		if s.member == "" {
			unknown.add(raw)
		}
		if err = r.member(&s); err != nil {
			break
		}
		s.member = ""
		more, err = s.nextMember(0)
	}
	if err != nil {
		return Step{}, err
	}
	if s.peek(); s.at < len(line) {
		return Step{}, s.reject("something follows the JSON object, at byte %d", s.at+1)
	}
	return r.finish()
}

func invalidAt(line []byte) int {
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(line)
}

// reader gathers the members of one step.
type reader struct {
	step                                     Step
	id, action, name, session, trace, parent text
	nums                                     *scalars
}

func (r *reader) scalars() *scalars {
	if r.nums == nil {
		r.nums = new(scalars)
	}
	return r.nums
}

// member reads the value of s.member, or checks and skips that of an unknown one.
func (r *reader) member(s *scanner) (err error) {
	switch s.member {
	case memberID:
		return s.wantText(&r.id)
	case memberAction:
		return s.wantText(&r.action)
	case memberName:
		return s.wantText(&r.name)
	case memberSession:
		return s.wantText(&r.session)
	case memberTrace:
		return s.wantText(&r.trace)
	case memberParent:
		return s.wantText(&r.parent)
	case memberTime:
		var t text
		if err = s.wantText(&t); err != nil {
			return err
		}
		raw := t.raw
		if t.escaped {
			raw = unescape(s.scratch[:0], raw)
		}
		var problem string
		if r.step.Time, problem = parseTime(raw); problem != "" {
			return fault.New(fault.StepInvalid, "ts %s", problem)
		}
	case memberSuccess:
		n := r.scalars()
		r.step.Success = &n.success
		return s.wantBool(&n.success)
	case memberDuration:
		n := r.scalars()
		r.step.DurationMS = &n.duration
		return s.wantFloat(&n.duration)
	case memberPhi:
		n := r.scalars()
		r.step.Phi = &n.phi
		return s.wantFloat(&n.phi)
	case memberKuramotoR:
		n := r.scalars()
		r.step.KuramotoR = &n.kuramotoR
		return s.wantFloat(&n.kuramotoR)
	case memberCoherence:
		r.step.ChannelCoherence, err = s.coherence()
	case memberInput:
		r.step.Input, err = s.raw()
	case memberOutput:
		r.step.Output, err = s.raw()
	case memberMetadata:
		r.step.Metadata, err = s.raw()
	default:
		return s.value(1)
	}
	return err
}

// finish makes strings of what was read and checks what is not a matter of
// type: the rules that a step built by a Go program must keep as well.
func (r *reader) finish() (Step, error) {
	st := &r.step
	known := knownAction(r.action.raw)
	if known != "" {
		r.action.raw = nil
	}
	var b strings.Builder
	var scratch [256]byte
	fields := [...]struct {
		from *text
		to   *string
	}{
		{&r.id, &st.ID}, {&r.action, &st.Action}, {&r.name, &st.Name},
		{&r.session, &st.Session}, {&r.trace, &st.Trace}, {&r.parent, &st.Parent},
	}
	var ends [len(fields)]int
	size := 0
	for _, f := range fields {
		size += len(f.from.raw)
	}
	b.Grow(size)
	for i, f := range fields {
		if f.from.escaped {
			b.Write(unescape(scratch[:0], f.from.raw))
		} else {
			b.Write(f.from.raw)
		}
		ends[i] = b.Len()
	}
	all, start := b.String(), 0
	for i, f := range fields {
		*f.to = all[start:ends[i]]
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
	return *st, nil
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

// wrong makes the error for a value of the wrong type.
func (s *scanner) wrong(want string) error {
	found := ""
	switch c := s.peek(); {
	case c == '"':
		found = "a string"
	case c == '{':
		found = "an object"
	case c == '[':
		found = "an array"
	case c == 't' || c == 'f':
		found = "a boolean"
	case c == 'n':
		found = "null"
	case c == '-' || '0' <= c && c <= '9':
		found = "a number"
	default:
		return s.unexpected(want)
	}
	return fault.New(fault.StepInvalid, "%s is %s, and must be %s", s.member, found, want)
}

func (s *scanner) wantText(t *text) (err error) {
	if s.peek() != '"' {
		return s.wrong("a string")
	}
	t.raw, t.escaped, err = s.text()
	return err
}

func (s *scanner) wantBool(to *bool) error {
	switch s.peek() {
	case 't':
		*to = true
		return s.word("true")
	case 'f':
		return s.word("false")
	}
	return s.wrong("true or false")
}

func (s *scanner) wantFloat(to *float64) error {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return s.wrong("a number")
	}
	raw, err := s.number()
	if err != nil {
		return err
	}
	*to, err = strconv.ParseFloat(string(raw), 64)
	if math.IsInf(*to, 0) {
		return fault.New(fault.StepInvalid, "%s is a number too large for 64 bits", s.member)
	}
	return err
}

// raw reads one value of any kind and returns its text.
func (s *scanner) raw() ([]byte, error) {
	s.space()
	start := s.at
	if err := s.value(1); err != nil {
		return nil, err
	}
	return s.src[start:s.at:s.at], nil
}

// coherence reads an object of numbers and returns its text.
func (s *scanner) coherence() ([]byte, error) {
	if s.peek() != '{' {
		return nil, s.wrong("an object of numbers")
	}
	start, base := s.at, len(s.names)
	more, err := s.openObject(2)
	for more && err == nil {
		if _, _, err = s.name(base); err != nil {
			break
		}
		if c := s.peek(); c != '-' && (c < '0' || c > '9') {
			err = fault.New(fault.StepInvalid, "channel_coherence has a member that is not a number, at byte %d", s.at+1)
			break
		}
		var f float64
		if err = s.wantFloat(&f); err != nil {
			break
		}
		more, err = s.nextMember(base)
	}
	if err != nil {
		return nil, err
	}
	return s.src[start:s.at:s.at], nil
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
