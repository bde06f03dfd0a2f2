package main

import (
	"strconv"
	"strings"

	"carl.camp/carl/sdk/translator"
)

// maxRemarks bounds what one config is told, errors and warnings each. Whoever
// has mended a hundred runs it again.
const maxRemarks = 100

// A place is a member of the config, or an item of a list, as a path from its
// root; nil is the root.
type place struct {
	up    *place
	name  string
	index int // of an item, from 1; 0 for a member
}

func (p *place) to(name string) *place { return &place{up: p, name: name} }

func (p *place) item(i int) *place { return &place{up: p, index: i + 1} }

// pointer is the JSON Pointer of the place (RFC 6901).
func (p *place) pointer() string {
	if p == nil {
		return ""
	}
	size := 0
	for q := p; q != nil; q = q.up {
		size += len(q.name) + 1
	}
	parts := make([]string, 0, 8)
	for q := p; q != nil; q = q.up {
		if q.index > 0 {
			parts = append(parts, strconv.Itoa(q.index-1))
		} else {
			parts = append(parts, q.name)
		}
	}
	out := make([]byte, 0, size)
	for i := len(parts) - 1; i >= 0; i-- {
		out = append(out, '/')
		for _, c := range []byte(parts[i]) {
			switch c {
			case '~':
				out = append(out, "~0"...)
			case '/':
				out = append(out, "~1"...)
			default:
				out = append(out, c)
			}
		}
	}
	return string(out)
}

// remarks is a bounded list of what is said about a config.
type remarks struct {
	list []translator.Diagnostic
	more int
}

// enough counts a remark that would not be kept, and reports whether it is
// one: whoever asks before it is put in words spares the work.
func (r *remarks) enough() bool {
	if len(r.list) < maxRemarks {
		return false
	}
	r.more++
	return true
}

func (r *remarks) add(at *place, message, hint string) {
	if r.enough() {
		return
	}
	r.list = append(r.list, translator.Diagnostic{Path: at.pointer(), Message: message, Hint: hint})
}

func (r *remarks) all() []translator.Diagnostic {
	if r.more == 0 {
		return r.list
	}
	return append(r.list, translator.Diagnostic{Message: "and " + strconv.Itoa(r.more) + " more"})
}

// quote writes foreign text for a message: short, and on one line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		end := most
		for end > 0 && s[end]&0xc0 == 0x80 {
			end--
		}
		return strconv.Quote(s[:end]) + "…"
	}
	return strconv.Quote(s)
}

// enumerate writes a, b or c.
func enumerate(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}
