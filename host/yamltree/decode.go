package yamltree

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"carl.camp/carl/host/nearest"
)

// Decoder reads a tree into Go values by a description of what is known:
//
//	d := yamltree.NewDecoder(file)
//	d.Object(root,
//		yamltree.Field{Name: "tier", Read: func(n *yamltree.Node) { c.Tier = d.OneOf(n, "free", "paid") }},
//	)
//	if err := d.Err(); err != nil { … }
//
// The first refusal is kept and ends the reading; every method returns a zero
// value from then on. A Decoder is for one goroutine.
type Decoder struct {
	file string
	err  *Error
}

// NewDecoder returns a Decoder whose errors name file.
func NewDecoder(file string) *Decoder { return &Decoder{file: file} }

// Err returns the first refusal, a *Error, or nil.
func (d *Decoder) Err() error {
	if d.err == nil {
		return nil
	}
	return d.err
}

// Refuse records a refusal at a place, unless there is one already.
func (d *Decoder) Refuse(at Pos, format string, args ...any) {
	if d.err == nil {
		d.err = &Error{File: d.file, Pos: at, Message: fmt.Sprintf(format, args...)}
	}
}

// Field is one member that an object may have.
type Field struct {
	Name string
	// Read is called once, when the member is there.
	Read func(*Node)
	// Required refuses an object without the member.
	Required bool
}

// Object reads a mapping. A member that no field names is refused with the nearest name.
func (d *Decoder) Object(n *Node, fields ...Field) {
	known := make(map[string]Field, len(fields))
	for _, f := range fields {
		known[f.Name] = f
	}
	d.Members(n, func(m Member) {
		f, ok := known[m.Name]
		if !ok {
			names := make([]string, len(fields))
			for i, f := range fields {
				names[i] = f.Name
			}
			d.Unknown(m, names)
			return
		}
		delete(known, m.Name)
		f.Read(m.Value)
	})
	for _, f := range fields {
		if _, missing := known[f.Name]; missing && f.Required {
			d.Refuse(n.Pos, "member %q is missing", f.Name)
		}
	}
}

// Unknown refuses a member whose name is none of known.
func (d *Decoder) Unknown(m Member, known []string) {
	d.Refuse(m.Pos, "unknown member %s; %s", Quote(m.Name), nearest.Hint(m.Name, known))
}

// Members calls each for the members of a mapping whose names are free.
func (d *Decoder) Members(n *Node, each func(Member)) {
	if !d.is(n, Object) {
		return
	}
	for _, m := range n.Members {
		if d.err != nil {
			return
		}
		each(m)
	}
}

// Items calls each for the elements of a list, of which there may be most.
func (d *Decoder) Items(n *Node, most int, each func(*Node)) {
	if !d.is(n, Array) {
		return
	}
	if len(n.Items) > most {
		d.Refuse(n.Pos, "a list of %d; at most %d are allowed", len(n.Items), most)
	}
	for _, item := range n.Items {
		if d.err != nil {
			return
		}
		each(item)
	}
}

// String reads text.
func (d *Decoder) String(n *Node) string {
	if !d.is(n, String) {
		return ""
	}
	return n.Text
}

// Bool reads true or false.
func (d *Decoder) Bool(n *Node) bool {
	return d.is(n, Bool) && n.Text == "true"
}

// Int reads a whole number from least to most.
func (d *Decoder) Int(n *Node, least, most int64) int64 {
	if !d.is(n, Number) {
		return 0
	}
	v, err := strconv.ParseInt(n.Text, 10, 64)
	if err != nil || v < least || v > most {
		if most == math.MaxInt64 {
			d.Refuse(n.Pos, "%s is not a whole number of at least %d", Quote(n.Text), least)
		} else {
			d.Refuse(n.Pos, "%s is not a whole number from %d to %d", Quote(n.Text), least, most)
		}
		return 0
	}
	return v
}

// Duration reads a duration in Go's notation, such as 10s or 168h, from least to most.
func (d *Decoder) Duration(n *Node, least, most time.Duration) time.Duration {
	if n.Kind == Number {
		d.Refuse(n.Pos, "want a duration with its unit, such as 10s or 168h, and found the number %s", Quote(n.Text))
	}
	if !d.is(n, String) {
		return 0
	}
	v, err := time.ParseDuration(n.Text)
	switch {
	case err != nil:
		d.Refuse(n.Pos, "%s is not a duration such as 10s or 168h", Quote(n.Text))
		return 0
	case v < least || v > most:
		d.Refuse(n.Pos, "%s is out of range: from %v to %v", Quote(n.Text), least, most)
		return 0
	}
	return v
}

// OneOf reads text that is one of allowed.
func (d *Decoder) OneOf(n *Node, allowed ...string) string {
	s := d.String(n)
	if d.err != nil {
		return ""
	}
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	d.Refuse(n.Pos, "%s is not one of %s", Quote(s), strings.Join(allowed, ", "))
	return ""
}

func (d *Decoder) is(n *Node, k Kind) bool {
	if d.err != nil {
		return false
	}
	if n.Kind == k {
		return true
	}
	switch {
	case n.Kind == Null:
		d.Refuse(n.Pos, "want %s, and found nothing: write a value, or leave the member out", k)
	case k == String && (n.Kind == Bool || n.Kind == Number):
		d.Refuse(n.Pos, "want %s, and found %s: quote it", k, n.Kind)
	default:
		d.Refuse(n.Pos, "want %s, and found %s", k, n.Kind)
	}
	return false
}
