package camp

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

const (
	// maxRefusal bounds the body of an error answer that is read.
	maxRefusal = 64 << 10
	// maxRefusalText bounds what of it is shown.
	maxRefusalText = 300
	// maxRefusalFields bounds how many fields are kept.
	maxRefusalFields = 32
)

// Refusal is an error answer of the platform, in the form of API.md.
type Refusal struct {
	Status int
	// Code and Message are the platform's, cleaned of control characters and
	// bounded; empty when the body was not in the form of API.md.
	Code, Message string
	Fields        []Field
}

// Field is the part of a request that the platform refused.
type Field struct {
	// Path is a JSON Pointer (RFC 6901) into the request body.
	Path    string `json:"path"`
	Message string `json:"message"`
}

// ReadRefusal reads an error answer. It never fails: a body in another form,
// or none, leaves the status alone to speak.
func ReadRefusal(status int, body io.Reader) *Refusal {
	r := &Refusal{Status: status}
	text, err := io.ReadAll(io.LimitReader(body, maxRefusal))
	if err != nil {
		return r
	}
	var doc struct {
		Error struct {
			Code    string  `json:"code"`
			Message string  `json:"message"`
			Fields  []Field `json:"fields"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &doc) != nil {
		return r
	}
	r.Code, r.Message = clean(doc.Error.Code), clean(doc.Error.Message)
	for i, f := range doc.Error.Fields {
		if i == maxRefusalFields {
			break
		}
		r.Fields = append(r.Fields, Field{Path: clean(f.Path), Message: clean(f.Message)})
	}
	return r
}

// Fault is the refusal as carl's own error: 401 and 403 are
// [fault.CampUnauthorized], everything else [fault.CampRefused]. What a call
// means by 402, 404, 409 or 422 its caller says, from the Status.
func (r *Refusal) Fault() *fault.Error {
	code := fault.CampRefused
	if r.Status == 401 || r.Status == 403 {
		code = fault.CampUnauthorized
	}
	text := fmt.Sprintf("camp: the platform answered %d", r.Status)
	if r.Message != "" {
		text += ": " + r.Message
	}
	for _, f := range r.Fields {
		text += fmt.Sprintf("; %s: %s", f.Path, f.Message)
	}
	return fault.New(code, "%s", text)
}

// clean makes text of the platform fit for a terminal: one line, no control
// or formatting characters, bounded.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxRefusalText {
		cut := maxRefusalText
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.TrimSpace(s)
}
