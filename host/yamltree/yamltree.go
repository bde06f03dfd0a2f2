// Package yamltree reads YAML that a person wrote, strictly, into a tree that
// knows where everything stands.
//
// What is accepted is the part of YAML that says what JSON can say: mappings
// with text for names, sequences, text, numbers, true, false and null. The
// rest is refused with its line and column: duplicate names, anchors, aliases,
// merge keys, tags, a second document, numbers in a spelling that JSON lacks
// (0x1f, 1_000, .5, 007, .inf), words that are truth values in some YAML and text
// in other (True, yes, no, on, off, unless they are names), names that are not
// text, and tabs that indent. A plain date is text, as in the core schema of YAML 1.2.
//
// Numbers keep their spelling, so that 1e-6 is still 1e-6 and 0.10 still 0.10
// when the tree is written as JSON.
package yamltree

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxBytes bounds one document. The files that people write for carl are a few
// kilobytes; a megabyte leaves room for generated ones and parses in well under a second.
const MaxBytes = 1 << 20

// MaxDepth bounds nesting, so that whoever walks a tree may recurse.
const MaxDepth = 64

// Kind is the JSON type of a node.
type Kind uint8

// The kinds. There is no zero kind, so that a forgotten one is noticed.
const (
	Null Kind = iota + 1
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	switch k {
	case Null:
		return "nothing"
	case Bool:
		return "true or false"
	case Number:
		return "a number"
	case String:
		return "text"
	case Array:
		return "a list"
	case Object:
		return "a mapping"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Pos is a place in a file. Line and Column count from 1, columns in characters.
type Pos struct {
	Line, Column int
}

// Node is one value. A tree is not changed after [Parse] returned it and may
// be read from several goroutines.
type Node struct {
	Pos
	Kind Kind
	// Text is the value of a String, the spelling of a Number (which is legal
	// JSON), "true" or "false" for a Bool; else "".
	Text string
	// Items are the elements of an Array.
	Items []*Node
	// Members are the members of an Object, in the order of the file. No name occurs twice.
	Members []Member
}

// Member is one member of an object. Its own place is that of its name.
type Member struct {
	Pos
	Name  string
	Value *Node
}

// Member returns the value under name, or nil.
func (n *Node) Member(name string) *Node {
	for i := range n.Members {
		if n.Members[i].Name == name {
			return n.Members[i].Value
		}
	}
	return nil
}

// At returns the node that a JSON Pointer (RFC 6901) leads to. Where the
// pointer leads past what is there, the last node on the way is returned, and
// false: a diagnostic about an absent member still has a place to point at.
// A nil node leads nowhere.
func (n *Node) At(pointer string) (*Node, bool) {
	p := jsontext.Pointer(pointer)
	if n == nil || !p.IsValid() {
		return n, false
	}
	for token := range p.Tokens() {
		var next *Node
		switch n.Kind {
		case Object:
			next = n.Member(token)
		case Array:
			if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Items) && strconv.Itoa(i) == token {
				next = n.Items[i]
			}
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// NameAt returns the place of the name under which the value stands that a JSON
// Pointer leads to, and the place of [Node.At] where it stands under none.
func (n *Node) NameAt(pointer string) Pos {
	at, found := n.At(pointer)
	if found {
		p := jsontext.Pointer(pointer)
		in, _ := n.At(string(p.Parent()))
		for _, m := range in.Members {
			if m.Value == at {
				return m.Pos
			}
		}
	}
	if at == nil {
		return Pos{}
	}
	return at.Pos
}

// AppendJSON appends n to dst as compact JSON. Members keep their order.
func (n *Node) AppendJSON(dst []byte) []byte {
	switch n.Kind {
	case Bool, Number:
		return append(dst, n.Text...)
	case String:
		return appendString(dst, n.Text)
	case Array:
		dst = append(dst, '[')
		for i, item := range n.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.AppendJSON(dst)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for i := range n.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, n.Members[i].Name)
			dst = append(dst, ':')
			dst = n.Members[i].Value.AppendJSON(dst)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// appendString cannot fail: Parse lets valid UTF-8 through and nothing else.
func appendString(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		panic("yamltree: text of a parsed tree is not valid UTF-8")
	}
	return out
}

// Error is a refusal with its place.
type Error struct {
	// File is the name that was given to [Parse].
	File string
	Pos
	// Message is lowercase without a full stop; input in it is quoted and short.
	Message string
}

// Error gives file:line:column: message, the form that editors jump to.
func (e *Error) Error() string { return e.In(e.File) + ": " + e.Message }

// In gives file:line:column.
func (p Pos) In(file string) string {
	return file + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}
