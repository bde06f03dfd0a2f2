package yamltree_test

import (
	"math"
	"testing"
	"time"

	"carl.camp/carl/host/yamltree"
)

// read decodes one text with one description of everything that Decoder knows.
func read(text string) (string, error) {
	root, err := yamltree.Parse([]byte(text), "f.yaml")
	if err != nil {
		return "", err
	}
	d := yamltree.NewDecoder("f.yaml")
	got := ""
	d.Object(root,
		yamltree.Field{Name: "name", Required: true, Read: func(n *yamltree.Node) { got += "name " + d.String(n) }},
		yamltree.Field{Name: "on", Read: func(n *yamltree.Node) {
			if d.Bool(n) {
				got += ", on"
			}
		}},
		yamltree.Field{Name: "count", Read: func(n *yamltree.Node) {
			if d.Int(n, 1, 9) == 3 {
				got += ", three"
			}
		}},
		yamltree.Field{Name: "many", Read: func(n *yamltree.Node) { d.Int(n, 1, math.MaxInt64) }},
		yamltree.Field{Name: "wait", Read: func(n *yamltree.Node) { got += ", wait " + d.Duration(n, time.Second, time.Hour).String() }},
		yamltree.Field{Name: "size", Read: func(n *yamltree.Node) { got += ", size " + d.OneOf(n, "small", "large") }},
		yamltree.Field{Name: "list", Read: func(n *yamltree.Node) {
			d.Items(n, 2, func(n *yamltree.Node) { got += ", item " + d.String(n) })
		}},
		yamltree.Field{Name: "free", Read: func(n *yamltree.Node) {
			d.Members(n, func(m yamltree.Member) { got += ", " + m.Name + " " + d.String(m.Value) })
		}},
	)
	return got, d.Err()
}

func TestDecoder(t *testing.T) {
	for _, c := range []struct{ yaml, want, refusal string }{
		{"{name: x, on: true, count: 3, many: 5, wait: 90s, size: small, list: [a, b], free: {c: d}}", "name x, on, three, wait 1m30s, size small, item a, item b, c d", ""},
		{"name: x\non: false", "name x", ""},
		{"on: true", "", `f.yaml:1:1: member "name" is missing`},
		{"nmae: x", "", `f.yaml:1:1: unknown member "nmae"; the nearest is "name"`},
		{"[name]", "", "f.yaml:1:1: want a mapping, and found a list"},
		{"name:", "", "f.yaml:1:6: want text, and found nothing: write a value, or leave the member out"},
		{"name: true", "", "f.yaml:1:7: want text, and found true or false: quote it"},
		{"name: 007x\ncount: 3.0", "", `f.yaml:2:8: "3.0" is not a whole number from 1 to 9`},
		{"{name: x, count: 10}", "", `f.yaml:1:18: "10" is not a whole number from 1 to 9`},
		{"{name: x, count: three}", "", "f.yaml:1:18: want a number, and found text"},
		{"{name: x, many: 99999999999999999999}", "", `f.yaml:1:17: "99999999999999999999" is not a whole number of at least 1`},
		{"{name: x, on: maybe}", "", "f.yaml:1:15: want true or false, and found text"},
		{"{name: x, wait: 5}", "", `f.yaml:1:17: want a duration with its unit, such as 10s or 168h, and found the number "5"`},
		{"{name: x, wait: soon}", "", `f.yaml:1:17: "soon" is not a duration such as 10s or 168h`},
		{"{name: x, wait: 1ms}", "", `f.yaml:1:17: "1ms" is out of range: from 1s to 1h0m0s`},
		{"{name: x, size: huge}", "", `f.yaml:1:17: "huge" is not one of small, large`},
		{"{name: x, list: [a, b, c]}", "", "f.yaml:1:17: a list of 3; at most 2 are allowed"},
		{"{name: x, list: {a: b}}", "", "f.yaml:1:17: want a list, and found a mapping"},
		{"{name: x, list: [a, [b]]}", "", "f.yaml:1:21: want text, and found a list"},
		{"{name: x, free: [a]}", "", "f.yaml:1:17: want a mapping, and found a list"},
		{"{size: huge, wait: soon}", "", `f.yaml:1:8: "huge" is not one of small, large`}, // the first refusal stays
	} {
		got, err := read(c.yaml)
		switch {
		case c.refusal == "" && (err != nil || got != c.want):
			t.Errorf("%s: got %q, %v; want %q", c.yaml, got, err, c.want)
		case c.refusal != "" && (err == nil || err.Error() != c.refusal):
			t.Errorf("%s:\n got %v\nwant %s", c.yaml, err, c.refusal)
		}
	}
}

func TestQuoteIsShort(t *testing.T) {
	for in, want := range map[string]string{
		"name":  `"name"`,
		"a\x1b": `"a\x1b"`,
		"0123456789012345678901234567890123456789012345678":  `"012345678901234567890123456789012345678901234567…"`,
		"01234567890123456789012345678901234567890123456é89": `"01234567890123456789012345678901234567890123456…"`,
	} {
		if got := yamltree.Quote(in); got != want {
			t.Errorf("Quote(%q) = %s, want %s", in, got, want)
		}
	}
}
