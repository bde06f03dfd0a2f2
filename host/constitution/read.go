package constitution

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxProblems bounds what is told at once: nobody mends more in one go.
const maxProblems = 100

// Problem is one thing that is wrong with a document.
type Problem struct {
	// Pointer is the JSON Pointer (RFC 6901) of the value; for a member that is
	// missing, of the mapping that lacks it.
	Pointer string
	// Name says that it is the name of the member there which is wrong.
	Name bool
	// Message is lowercase without a full stop; input in it is quoted and short.
	Message string
}

// node is one value of a JSON text.
type node struct {
	parent *node
	token  string // its name or its index in the parent
	offset int    // of its first byte in the text
	raw    jsontext.Value
}

// open returns the root of one JSON text: UTF-8, without a name that stands
// twice, of at most so many bytes and levels.
func open(data []byte, most, depth int) (*node, []Problem) {
	if len(data) > most {
		return nil, []Problem{{Message: fmt.Sprintf("larger than %d bytes", most)}}
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	for first := true; first || d.StackDepth() > 0; first = false {
		_, err := d.ReadToken()
		var syntax *jsontext.SyntacticError
		switch {
		case errors.As(err, &syntax):
			return nil, []Problem{{Pointer: string(syntax.JSONPointer), Message: "not valid JSON: " + syntax.Err.Error()}}
		case err != nil:
			return nil, []Problem{{Message: "not valid JSON: nothing is here"}}
		case d.StackDepth() > depth:
			return nil, []Problem{{Pointer: string(d.StackPointer()), Message: fmt.Sprintf("nested deeper than %d levels", depth)}}
		}
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, []Problem{{Message: "not valid JSON: something follows the first value"}}
	}
	return &node{raw: data}, nil
}

// children returns the members of a mapping or the elements of a list.
func (n *node) children() (out []*node) {
	d := jsontext.NewDecoder(bytes.NewBuffer(n.raw))
	_, _ = d.ReadToken() // the bracket
	for {
		c := &node{parent: n, token: strconv.Itoa(len(out))}
		if n.raw.Kind() == '{' {
			name, _ := d.ReadToken()
			c.token = name.String()
		}
		value, err := d.ReadValue()
		if err != nil {
			return out // the end, since the text is well-formed
		}
		end := int(d.InputOffset())
		c.raw, c.offset = n.raw[end-len(value):end], n.offset+end-len(value)
		out = append(out, c)
	}
}

func (n *node) pointer() string {
	if n.parent == nil {
		return ""
	}
	return string(jsontext.Pointer(n.parent.pointer()).AppendToken(n.token))
}

// kinds names the JSON types in the words in which YAML is refused, too.
var kinds = map[jsontext.Kind]string{
	'{': "a mapping", '[': "a list", '"': "text", '0': "a number", 't': "true or false", 'f': "true or false", 'n': "nothing",
}

// reader reads one text and gathers what is wrong with it. Its methods take the
// nil node of a member that is not there for an empty value.
type reader struct{ found []found }

type found struct {
	at      *node
	name    bool
	message string
}

func (r *reader) refuse(at *node, format string, args ...any) {
	r.found = append(r.found, found{at: at, message: fmt.Sprintf(format, args...)})
}

// refuseName refuses the name under which a value stands.
func (r *reader) refuseName(at *node, format string, args ...any) {
	r.found = append(r.found, found{at, true, fmt.Sprintf(format, args...)})
}

// problems returns the first of what is wrong, in the order of the text.
func (r *reader) problems() []Problem {
	slices.SortStableFunc(r.found, func(a, b found) int { return cmp.Compare(a.at.offset, b.at.offset) })
	out := make([]Problem, min(len(r.found), maxProblems))
	for i := range out {
		out[i] = Problem{r.found[i].at.pointer(), r.found[i].name, r.found[i].message}
	}
	return out
}

func (r *reader) want(n *node, kind jsontext.Kind) bool {
	if n != nil && n.raw.Kind() != kind {
		r.refuse(n, "want %s, and found %s", kinds[kind], kinds[n.raw.Kind()])
	}
	return n != nil && n.raw.Kind() == kind
}

// entries reads a mapping or a list with a number of entries.
func (r *reader) entries(n *node, kind jsontext.Kind, least, most int) []*node {
	if !r.want(n, kind) {
		return nil
	}
	out := n.children()
	switch {
	case len(out) < least:
		r.refuse(n, "%s without entries: leave it out, or fill it", kinds[kind])
	case len(out) > most:
		r.refuse(n, "%s of %d entries; at most %d are allowed", kinds[kind], len(out), most)
		return nil
	}
	return out
}

// object reads a mapping with the members of names, of which the first so many
// are required.
func (r *reader) object(n *node, required int, names ...string) map[string]*node {
	out := make(map[string]*node)
	if !r.want(n, '{') {
		return out
	}
	for _, c := range n.children() {
		out[c.token] = c
		if !slices.Contains(names, c.token) {
			r.refuseName(c, "unknown member %.48q; known here are %s", c.token, strings.Join(names, ", "))
		}
	}
	for _, name := range names[:required] {
		if out[name] == nil {
			r.refuse(n, "member %q is missing", name)
		}
	}
	return out
}

// text reads a text of 1 to most bytes; what it refuses is "".
func (r *reader) text(n *node, most int) string {
	if !r.want(n, '"') {
		return ""
	}
	v, _ := valueOf(n.raw)
	switch {
	case v.text == "":
		r.refuse(n, "the text is empty")
	case len(v.text) > most:
		r.refuse(n, "longer than %d bytes", most)
		return ""
	}
	return v.text
}
