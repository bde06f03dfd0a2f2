// Package redact takes secrets out of steps, before they reach the disk, and
// out of what mappers and senders handle, with the rules of that day.
//
// Three things make a secret:
//
//  1. Being one that is known: the exact values of the process's own
//     secret-looking environment variables and of carl's credentials. They go
//     wherever they stand, also inside longer words, escaped as JSON or
//     percent-encoded.
//  2. Standing under a name that says so, such as api_key or Authorization: the
//     whole value goes, whatever it is. Words, plurals and the names that only
//     look like it (input_key, max_tokens) are in keys.go.
//  3. Looking like one: the shapes of tokens in rules.go. One automaton finds
//     the heads of all of them in one pass, and only behind a head is a rule
//     tried. Names of members are searched like values.
//
// All of this is applied to texts with their escapes undone, to JSON that
// stands inside strings, and to the user and query parts of URLs. What goes is
// replaced by "[redacted:<rule>]".
//
// Redacting what was redacted changes nothing more. What is clean is returned
// as it is, without an allocation.
//
// Not found are secrets in another encoding (base64 other than of Basic
// credentials and private keys, compression, encryption), secrets split over
// several strings, and secrets of no known shape under a harmless name.
package redact

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"carl.camp/carl/host/step"
)

// Options says what a [Redactor] knows beside the rules.
type Options struct {
	// Literals are exact secret values. Those shorter than [MinLiteral] bytes
	// are left out.
	Literals []string
}

// Bounds of the literals.
const (
	// MinLiteral is the length from which a value counts as a secret: shorter
	// ones stand in every other sentence by accident.
	MinLiteral = 6
	// maxLiterals bounds how many are kept, spellings included: the automaton
	// grows with them. The longest go first, since they are the least likely
	// to be anything else.
	maxLiterals = 4096
)

// A Redactor is immutable and may be used by several goroutines.
type Redactor struct {
	machine  machine
	literals []string
	// digits says that a literal may stand in a JSON number.
	digits  bool
	scratch sync.Pool // of *state
}

// New returns a Redactor with the given literals and all rules.
func New(o Options) *Redactor {
	r := &Redactor{literals: spellings(o.Literals)}
	for _, l := range r.literals {
		r.digits = r.digits || isNumberLike(l)
	}
	r.machine = compile(r.literals)
	r.scratch.New = func() any { return &state{r: r} }
	return r
}

// FromEnviron returns a Redactor whose literals are the values of the
// secret-looking variables among environ, in the form of os.Environ, the
// passwords in URLs among them, and extra.
func FromEnviron(environ []string, extra ...string) *Redactor {
	return New(Options{Literals: append(environLiterals(environ), extra...)})
}

// String returns s without secrets.
func (r *Redactor) String(s string) string {
	st := r.get()
	defer r.put(st)
	st.text = append(st.text[:0], s...)
	if st.clean(st.text, 0) {
		return s
	}
	return string(st.redact([]byte(s), 0))
}

// JSON returns one JSON text without secrets: text itself when it is clean,
// else a new one, compact and valid. What is not JSON is treated as in String.
func (r *Redactor) JSON(text []byte) []byte {
	st := r.get()
	defer r.put(st)
	return st.json(text, false)
}

// Step takes the secrets out of s, in every field. Fields that are not clean
// are replaced and nothing that they alias is written to. A legal step stays
// one: an action becomes REDACTED, ids become other ids, the same ones every
// time, a number goes, and members that grew out of the line's bound are
// replaced whole or cut.
func (r *Redactor) Step(s *step.Step) {
	st := r.get()
	defer r.put(st)
	before := textSize(s)
	s.ID = st.id(s.ID)
	s.Parent = st.id(s.Parent)
	if s.Action != "" && !st.cleanString(s.Action) {
		s.Action = "REDACTED"
	}
	if clean := st.string(s.Name); clean != s.Name {
		s.Name = cut(clean, step.MaxName)
	}
	s.Session = st.string(s.Session)
	s.Trace = st.string(s.Trace)
	s.DurationMS = st.number(s.DurationMS)
	s.Phi = st.number(s.Phi)
	s.KuramotoR = st.number(s.KuramotoR)
	s.ChannelCoherence = st.json(s.ChannelCoherence, true)
	s.Input = st.json(s.Input, false)
	s.Output = st.json(s.Output, false)
	s.Metadata = st.json(s.Metadata, false)
	if textSize(s) > before {
		shrink(s)
	}
}

func textSize(s *step.Step) int {
	return len(s.Name) + len(s.Session) + len(s.Trace) + len(s.ChannelCoherence) + len(s.Input) + len(s.Output) + len(s.Metadata)
}

// oversize stands for a JSON member that became too long: replacing many short
// secrets makes a text grow.
const oversize = `"` + markerOpen + oversizeName + `]"`

// shrink replaces the longest members until the step can be read again.
func shrink(s *step.Step) {
	if len(s.AppendJSON(nil)) <= step.MaxRecorded {
		return
	}
	for _, m := range []*[]byte{&s.Input, &s.Output, &s.Metadata} {
		if len(*m) > step.MaxLine/5 {
			*m = []byte(oversize)
		}
	}
	// Were it none of these alone, all of them fit a line with the others gone.
	if len(s.ChannelCoherence) > step.MaxLine/8 {
		s.ChannelCoherence = nil
	}
	const most = step.MaxLine / 64
	s.Session, s.Trace = cut(s.Session, most), cut(s.Trace, most)
}

// cut shortens s to at most n bytes, between letters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (r *Redactor) get() *state   { return r.scratch.Get().(*state) }
func (r *Redactor) put(st *state) { r.scratch.Put(st) }

// cleanString reports whether s holds no secret.
func (st *state) cleanString(s string) bool {
	st.text = append(st.text[:0], s...)
	return st.clean(st.text, 0)
}

func (st *state) string(s string) string {
	if s == "" || st.cleanString(s) {
		return s
	}
	return string(st.redact([]byte(s), 0))
}

// id keeps a clean id, and makes of one that is or holds a secret another id,
// the same one every time: events and parents refer to it.
func (st *state) id(s string) string {
	if s == "" || st.cleanString(s) {
		return s
	}
	sum := sha256.Sum256([]byte("carl redacted id\n" + s))
	return hex.EncodeToString(sum[:6])
}

// number drops a number whose text is a known secret.
func (st *state) number(f *float64) *float64 {
	if f == nil || !st.r.digits {
		return f
	}
	if st.clean(strconv.AppendFloat(st.text[:0], *f, 'f', -1, 64), 0) {
		return f
	}
	return nil
}

func isNumberLike(s string) bool {
	return strings.Trim(s, "0123456789+-.eE") == ""
}
