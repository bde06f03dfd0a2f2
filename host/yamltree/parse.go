package yamltree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// Parse reads one document. An empty one is a Null at 1:1. The error is a
// *Error that names file, line and column; file is used for nothing else. words
// are those of yes, no, on and off that need no quotes in this document, since it
// has them as text.
func Parse(data []byte, file string, words ...string) (*Node, error) {
	r := reader{file: file, words: words}
	if len(data) > MaxBytes {
		return nil, r.refuse(Pos{1, 1}, "the file is larger than %d bytes", MaxBytes)
	}
	if err := r.checkText(data); err != nil {
		return nil, err
	}
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	err := decode(documents, &document)
	if errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0 {
		return &Node{Pos: Pos{1, 1}, Kind: Null}, nil
	}
	if err != nil {
		return nil, r.syntax(data, err)
	}
	root, err := r.value(document.Content[0], 1)
	if err != nil {
		return nil, err
	}
	var second yaml.Node
	switch err := decode(documents, &second); {
	case err == nil:
		return nil, r.refuse(Pos{second.Line, second.Column}, "a second document begins here; only one is read")
	case !errors.Is(err, io.EOF):
		return nil, r.syntax(data, err)
	}
	return root, nil
}

// decode turns a panic of the YAML package into an error: it has had some on
// malformed input, and a damaged file must not end the process.
func decode(d *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("yaml: not well-formed")
		}
	}()
	return d.Decode(into)
}

type reader struct {
	file  string
	words []string
}

func (r *reader) refuse(at Pos, format string, args ...any) *Error {
	return &Error{File: r.file, Pos: at, Message: fmt.Sprintf(format, args...)}
}

// checkText refuses what is not text in UTF-8 before the YAML package guesses at an encoding.
func (r *reader) checkText(data []byte) error {
	line, column := 1, 1
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			return r.refuse(Pos{line, column}, "not valid UTF-8")
		case c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f:
			return r.refuse(Pos{line, column}, "control character %U", c)
		}
		if c == '\n' {
			line, column = line+1, 1
		} else {
			column++
		}
		i += size
	}
	return nil
}

// value reads a node that is not a name. As names, yes and on are text.
func (r *reader) value(y *yaml.Node, depth int) (*Node, error) {
	n, err := r.node(y, depth)
	if err != nil || n.Kind != String || y.Style != 0 || slices.Contains(r.words, n.Text) {
		return n, err
	}
	// Who writes them thinks of YAML 1.1, where they are true and false: a rule
	// that compares with the text would never apply.
	switch strings.ToLower(n.Text) {
	case "yes", "no", "on", "off":
		return nil, r.refuse(n.Pos, "%s is not clear: write true or false, or quote it if text is meant", Quote(n.Text))
	}
	return n, nil
}

func (r *reader) node(y *yaml.Node, depth int) (*Node, error) {
	at := Pos{max(y.Line, 1), max(y.Column, 1)}
	switch {
	case depth > MaxDepth:
		return nil, r.refuse(at, "nested deeper than %d levels", MaxDepth)
	case y.Kind == yaml.AliasNode:
		return nil, r.refuse(at, "an alias (*) is not allowed: write the value out")
	case y.Anchor != "":
		return nil, r.refuse(at, "an anchor (&) is not allowed")
	case y.Style&yaml.TaggedStyle != 0:
		return nil, r.refuse(at, "a tag (!) is not allowed")
	}
	switch y.Kind {
	case yaml.ScalarNode:
		return r.scalar(y, at)
	case yaml.SequenceNode:
		n := &Node{Pos: at, Kind: Array, Items: make([]*Node, 0, len(y.Content))}
		for _, c := range y.Content {
			item, err := r.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, item)
		}
		return n, nil
	case yaml.MappingNode:
		return r.mapping(y, at, depth)
	}
	return nil, r.refuse(at, "not well-formed")
}

func (r *reader) mapping(y *yaml.Node, at Pos, depth int) (*Node, error) {
	n := &Node{Pos: at, Kind: Object, Members: make([]Member, 0, len(y.Content)/2)}
	seen := make(map[string]int, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := y.Content[i]
		if key.Kind == yaml.ScalarNode && key.Style == 0 && key.Value == "<<" {
			return nil, r.refuse(Pos{key.Line, key.Column}, "a merge key (<<) is not allowed: write the members out")
		}
		name, err := r.node(key, depth+1)
		if err != nil {
			return nil, err
		}
		if name.Kind != String {
			return nil, r.refuse(name.Pos, "the name of a member must be text, not %s: quote it", name.Kind)
		}
		if first, twice := seen[name.Text]; twice {
			return nil, r.refuse(name.Pos, "member %s stands here a second time; the first is on line %d", Quote(name.Text), first)
		}
		seen[name.Text] = name.Line
		value, err := r.value(y.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		n.Members = append(n.Members, Member{Pos: name.Pos, Name: name.Text, Value: value})
	}
	return n, nil
}

// scalar goes by the spelling, since the YAML package's own idea of a plain
// scalar is that of YAML 1.1 with octal, sexagesimal and underscored numbers.
func (r *reader) scalar(y *yaml.Node, at Pos) (*Node, error) {
	if y.Style != 0 { // quoted or a block
		return &Node{Pos: at, Kind: String, Text: y.Value}, nil
	}
	switch y.Value {
	case "", "~", "null":
		return &Node{Pos: at, Kind: Null}, nil
	case "true", "false":
		return &Node{Pos: at, Kind: Bool, Text: y.Value}, nil
	}
	if isNumber(y.Value) {
		return &Node{Pos: at, Kind: Number, Text: y.Value}, nil
	}
	switch y.ShortTag() {
	case "!!bool", "!!null":
		return nil, r.refuse(at, "%s is not clear: write %s, or quote it if text is meant", Quote(y.Value), strings.ToLower(y.Value))
	case "!!int", "!!float":
		return nil, r.refuse(at, "%s is not a number as JSON writes them: write it in decimal, or quote it if text is meant", Quote(y.Value))
	}
	return &Node{Pos: at, Kind: String, Text: y.Value}, nil
}

func isNumber(s string) bool {
	if s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	v := jsontext.Value(s)
	return v.Kind() == '0' && v.IsValid()
}

// Quote quotes input for a message, cut to a length that leaves the message readable.
func Quote(s string) string {
	const most = 48 // longer than any name that carl knows
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return fmt.Sprintf("%q", s)
}
