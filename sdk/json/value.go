package json

import (
	"errors"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Value is one JSON text that [Parse] has checked. Its methods read it in
// place; the zero Value stands for a member that is not there. A Value may be
// read from several goroutines.
type Value struct{ text string }

// Kind is what a Value holds.
type Kind byte

// The kinds of a [Value].
const (
	Absent Kind = iota // the zero Value
	Null
	Bool
	Number
	String
	Array
	Obj
)

func (k Kind) String() string {
	switch k {
	case Absent:
		return "nothing"
	case Null:
		return "null"
	case Bool:
		return "a boolean"
	case Number:
		return "a number"
	case String:
		return "a string"
	case Array:
		return "an array"
	case Obj:
		return "an object"
	}
	return "an unknown kind"
}

// Parse checks that text is one JSON text (RFC 8259): UTF-8, no half
// surrogate pairs, nested no deeper than [MaxDepth], with nothing but space
// around it. The error is a [*SyntaxError]. A member's name that occurs twice
// is not found here but by [Value.Pick].
func Parse(text string) (Value, error) {
	return parse(scanner{text: text})
}

// ParseLine is [Parse] for a text that is to be a line of a file: it may hold
// no line feed and no carriage return, not even between its tokens.
func ParseLine(text string) (Value, error) {
	return parse(scanner{text: text, oneLine: true})
}

func parse(s scanner) (Value, error) {
	start := s.space(0)
	end := s.value(start, 0)
	if end >= 0 {
		if rest := s.space(end); rest != len(s.text) {
			end = s.fail(rest, "more than one value, or a line end")
		}
	}
	if end < 0 {
		return Value{}, &SyntaxError{Offset: s.at, What: s.what}
	}
	return Value{text: s.text[start:end]}, nil
}

// Text returns the JSON text, as it was read; "" when absent.
func (v Value) Text() string { return v.text }

// Kind says what v holds.
func (v Value) Kind() Kind {
	if v.text == "" {
		return Absent
	}
	switch v.text[0] {
	case '{':
		return Obj
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	return Number
}

// Str returns the string that v holds; ok is false when v holds none.
func (v Value) Str() (s string, ok bool) {
	if v.Kind() != String {
		return "", false
	}
	return unquote(v.text), true
}

// Bool returns the boolean that v holds; ok is false when v holds none.
func (v Value) Bool() (b, ok bool) {
	if v.Kind() != Bool {
		return false, false
	}
	return v.text == "true", true
}

// Float returns the number that v holds; ok is false when v holds none, or
// one beyond a float64.
func (v Value) Float() (f float64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.text, 64)
	return f, err == nil
}

// Int returns the integer that v holds; ok is false when v holds none, one
// written with a point or an exponent, or one beyond an int64.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	return n, err == nil
}

// Elements ranges over the elements of an array; over nothing when v is none.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		s := scanner{text: v.text}
		for i := s.space(1); s.text[i] != ']'; {
			end := s.value(i, 0)
			if !yield(Value{s.text[i:end]}) {
				return
			}
			if i = s.space(end); s.text[i] == ',' {
				i = s.space(i + 1)
			}
		}
	}
}

// Members ranges over the members of an object, in their order, repeated
// names included; over nothing when v is none.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Obj {
			return
		}
		s := scanner{text: v.text}
		for i := s.space(1); s.text[i] != '}'; {
			nameEnd := s.str(i)
			name := unquote(s.text[i:nameEnd])
			start := s.space(s.space(nameEnd) + 1)
			end := s.value(start, 0)
			if !yield(name, Value{s.text[start:end]}) {
				return
			}
			if i = s.space(end); s.text[i] == ',' {
				i = s.space(i + 1)
			}
		}
	}
}

// Pick finds the named members of an object: into[i] becomes the value of
// names[i], or the zero Value where there is none. It fails when v is not an
// object and when one of the names occurs twice, since two readers would then
// read two things; others names are passed over. into is as long as names.
func (v Value) Pick(names []string, into []Value) error {
	if v.Kind() != Obj {
		return errors.New("an object is wanted, and this is " + v.Kind().String())
	}
	clear(into)
	for name, value := range v.Members() {
		for i, want := range names {
			if name != want {
				continue
			}
			if into[i].text != "" {
				return errors.New("member " + strconv.Quote(want) + " occurs twice")
			}
			into[i] = value
		}
	}
	return nil
}

// Only fails when v is not an object or has a member that names does not
// list, and names it: for settings, where a misspelt member must not pass.
func (v Value) Only(names ...string) error {
	if v.Kind() != Obj {
		return errors.New("an object is wanted, and this is " + v.Kind().String())
	}
next:
	for name := range v.Members() {
		for _, known := range names {
			if name == known {
				continue next
			}
		}
		return errors.New("unknown member " + strconv.Quote(cut(name)) + "; known are " + strings.Join(names, ", "))
	}
	return nil
}

// cut keeps a foreign name short enough for a message.
func cut(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// unquote decodes a JSON string that the scanner has accepted.
func unquote(text string) string {
	text = text[1 : len(text)-1]
	i := strings.IndexByte(text, '\\')
	if i < 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	for ; i >= 0; i = strings.IndexByte(text, '\\') {
		out = append(out, text[:i]...)
		c := text[i+1]
		text = text[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := rune(hex4(text, 0))
			text = text[4:]
			if r >= 0xd800 && r <= 0xdfff {
				r = (r-0xd800)<<10 + rune(hex4(text, 2)) - 0xdc00 + 0x10000
				text = text[6:]
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
	return string(append(out, text...))
}
