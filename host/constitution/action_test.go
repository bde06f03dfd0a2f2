package constitution_test

import (
	"strings"
	"testing"

	"carl.camp/carl/host/constitution"
	"carl.camp/carl/host/fault"
)

func TestParseAction(t *testing.T) {
	a := action(t, ` {"payload": {"a" : [1, 2.50, "\u0061"]} , "kind": "write.\u0066ile", "name": "é", "attributes": {}} `)
	if a.Kind != "write.file" || a.Name != "é" || string(a.Payload) != `{"a" : [1, 2.50, "\u0061"]}` {
		t.Errorf("%+v", a)
	}
	if a := action(t, `{"kind": "x"}`); a.Payload != nil || a.Name != "" {
		t.Errorf("%+v", a)
	}
	if a := action(t, `{"kind": "x", "payload": null}`); string(a.Payload) != "null" {
		t.Errorf("%+v", a)
	}
	text := []byte(`{"kind": "x", "payload": [1], "attributes": {"v": "x"}}`)
	a, err := constitution.ParseAction(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		text[i] = 'x'
	}
	if string(a.Payload) != "[1]" {
		t.Error("the payload is the caller's memory")
	}
}

func TestParseActionRefuses(t *testing.T) {
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"v` + strings.Repeat("x", i) + `":1`)
		}
		return `{` + b.String()[1:] + `}`
	}
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ text, want string }{
		{``, `action: not valid JSON: nothing is here`},
		{`{"kind": "x"} {}`, `action: not valid JSON: something follows the first value`},
		{`{"kind": "x"`, `action: not valid JSON: …`},
		{"{\"kind\": \"\xff\"}", `action: "/kind": not valid JSON: …`},
		{`null`, `action: want a mapping, and found nothing`},
		{`[{"kind": "x"}]`, `action: want a mapping, and found a list`},
		{`{}`, `action: member "kind" is missing`},
		{`{"Kind": "x", "kind": "x"}`, `action: "/Kind": unknown member "Kind"; known here are kind, name, attributes, payload`},
		{`{"kind": "x", "atributes": {}}`, `action: "/atributes": unknown member "atributes"; known here are kind, name, attributes, payload`},
		{`{"kind": "x", "kind": "x"}`, `action: "/kind": not valid JSON: …`},
		{`{"kind": "x", "payload": [{"a": {"b": 1, "\u0062": 2}}]}`, `action: "/payload/0/a/b": not valid JSON: …`},
		{`{"kind": "x", "attributes": {"v": 1, "v": 1}}`, `action: "/attributes/v": not valid JSON: …`},
		{`{"kind": null}`, `action: "/kind": want text, and found nothing`},
		{`{"kind": ["x"]}`, `action: "/kind": want text, and found a list`},
		{`{"kind": ""}`, `action: "/kind": the text is empty`},
		{`{"kind": ` + long(257) + `}`, `action: "/kind": longer than 256 bytes`},
		{`{"kind": ` + long(256) + `}`, ok},
		{`{"kind": "x", "name": null}`, `action: "/name": want text, and found nothing`},
		{`{"kind": "x", "name": ""}`, `action: "/name": the text is empty`},
		{`{"kind": "x", "name": ` + long(1025) + `}`, `action: "/name": longer than 1024 bytes`},
		{`{"kind": "x", "name": ` + long(1024) + `}`, ok},
		{`{"kind": "x", "attributes": null}`, `action: "/attributes": want a mapping, and found nothing`},
		{`{"kind": "x", "attributes": [1]}`, `action: "/attributes": want a mapping, and found a list`},
		{`{"kind": "x", "attributes": ` + many(129) + `}`, `action: "/attributes": a mapping of 129 entries; at most 128 are allowed`},
		{`{"kind": "x", "attributes": ` + many(128) + `}`, ok},
		{`{"kind": "x", "attributes": {"a\u001b[1m/b": 1e401}}`, `action: "/attributes/a\x1b[1m~1b": the number is too long: at most 512 characters, and exponents up to 400`},
		{`{"kind": "x", "attributes": {"v": 1.` + strings.Repeat("0", 512) + `}}`, `action: "/attributes/v": the number is too long: at most 512 characters, and exponents up to 400`},
		{`{"kind": "x", "attributes": {"v": [1e999999]}, "payload": 1e999999}`, ok},
		{`{"kind": "x", "attributes": {"v": ` + long(64<<10+1) + `}}`, `action: "/attributes/v": longer than 65536 bytes: what is bulky belongs into the payload`},
		{`{"kind": "x", "attributes": {"v": ` + long(64<<10) + `}}`, ok},
		{`{"kind": "x", "payload": ` + nested(63) + `}`, ok},
		{`{"kind": "x", "payload": ` + nested(64) + `}`, `action: "/payload` + strings.Repeat("/0", 60) + `": nested deeper than 64 levels`}, // the pointer is cut,
		{`{"kind": "x", "payload": ` + long(1<<20-28) + `}`, ok},
		{`{"kind": "x", "payload": ` + long(1<<20-27) + `}`, `action: larger than 1048576 bytes`},
		{`{"name": 1, "kind": 2}`, `action: "/name": want text, and found a number`}, // the first one in the text
	} {
		a, err := constitution.ParseAction([]byte(c.text))
		if c.want == ok {
			if err != nil {
				t.Errorf("%.60s: %v", c.text, err)
			}
			continue
		}
		start, rest, cut := strings.Cut(c.want, "…")
		if fault.CodeOf(err) != fault.ActionInvalid || fault.ExitOf(err) != fault.ExitUsage {
			t.Errorf("%.60s: %v", c.text, err)
			continue
		}
		got := strings.TrimSuffix(err.Error(), " (carl.constitutional.action_invalid)")
		if got != c.want && !(cut && rest == "" && strings.HasPrefix(got, start)) {
			t.Errorf("%.60s:\n got %s\nwant %s", c.text, got, c.want)
		}
		if a.Kind != "" || a.Name != "" || a.Payload != nil {
			t.Errorf("%.60s: a refused action comes back: %+v", c.text, a)
		}
	}
}
