// Package jsonwalk reads JSON that others wrote, a member at a time, strictly:
// one value and nothing after it, valid UTF-8, names compared byte by byte, and
// none there twice at any depth. It is what the trusted core reads tokens, key
// sets and blocks with, where a decoder that maps names onto structs would be
// too forgiving, or too slow.
package jsonwalk

import (
	"bytes"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Members calls f with each member of the one object that data is, until f
// returns false. A value is good until f returns. It reports whether data is
// such an object, and f took all of it.
func Members(data []byte, f func(name string, value jsontext.Value) bool) bool {
	d := decoder(data)
	defer d.release()
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return false
	}
	for d.PeekKind() == '"' {
		token, err := d.ReadToken()
		if err != nil {
			return false
		}
		name := token.String()
		value, err := d.ReadValue()
		if err != nil || !f(name, value) {
			return false
		}
	}
	return ends(d)
}

// Elements calls f with each element of the one array that data is, until f
// returns false. It reports whether data is such an array, and f took all of it.
func Elements(data []byte, f func(jsontext.Value) bool) bool {
	d := decoder(data)
	defer d.release()
	if token, err := d.ReadToken(); err != nil || token.Kind() != '[' {
		return false
	}
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil || !f(value) {
			return false
		}
	}
	return ends(d)
}

// pooled is a decoder that is used again: making one costs as much as reading a
// small object with it.
type pooled struct{ jsontext.Decoder }

var pool = sync.Pool{New: func() any { return new(pooled) }}

func decoder(data []byte) *pooled {
	d := pool.Get().(*pooled)
	d.Reset(bytes.NewBuffer(data))
	return d
}

func (d *pooled) release() {
	d.Reset(bytes.NewBuffer(nil)) // it keeps nobody's data
	pool.Put(d)
}

// ends reads the closing token of a value, behind which nothing may stand.
func ends(d *pooled) bool {
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	_, err := d.ReadToken()
	return err == io.EOF
}

// Text reads a JSON string.
func Text(v jsontext.Value, into *string) bool {
	if v.Kind() != '"' {
		return false
	}
	s, err := jsontext.AppendUnquote(nil, v)
	*into = string(s)
	return err == nil
}
