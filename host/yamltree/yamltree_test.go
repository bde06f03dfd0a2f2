package yamltree_test

import (
	"errors"
	"strings"
	"testing"

	"carl.camp/carl/host/yamltree"
)

func TestParseGivesWhatJSONCanSay(t *testing.T) {
	for _, c := range []struct{ name, yaml, json string }{
		{"nothing", "", "null"},
		{"a comment alone", "# nothing here\n", "null"},
		{"byte order mark", "\ufeffa: 1\n", `{"a":1}`},
		{"numbers keep their spelling", "[1e-6, 0.10, -0, 1E+5, 123456789012345678901234567890]", `[1e-6,0.10,-0,1E+5,123456789012345678901234567890]`},
		{"dates are text", "since: 2024-01-02", `{"since":"2024-01-02"}`},
		{"versions are text", "version: 1.4.2", `{"version":"1.4.2"}`},
		{"words of YAML 1.1, quoted and as names", "{on: 'yes', No: \"off\", yes: [y, n]}", `{"on":"yes","No":"off","yes":["y","n"]}`},
		{"words of YAML 1.1 in a block", "a: |-\n  yes\n", `{"a":"yes"}`},
		{"words that begin as those of YAML 1.1", "[yes!, nonsense, once, offline]", `["yes!","nonsense","once","offline"]`},
		{"null", "[~, null, ]\n", `[null,null]`},
		{"an empty member", "a:\nb: 1\n", `{"a":null,"b":1}`},
		{"quoted", `{"a": "1", 'b': 'true', "<<": "x"}`, `{"a":"1","b":"true","<<":"x"}`},
		{"blocks", "a: |\n  x\n  y\nb: >\n  x\n  y\n", `{"a":"x\ny\n","b":"x y\n"}`},
		{"order is kept", "{z: 1, a: {y: 2, b: 3}}", `{"z":1,"a":{"y":2,"b":3}}`},
		{"escapes", `{a: "\u00e9\n\"<>"}`, `{"a":"é\n\"<>"}`},
		{"windows line ends", "a: 1\r\nb:\r\n  - x\r\n", `{"a":1,"b":["x"]}`},
		{"document marker", "---\na: 1\n...\n", `{"a":1}`},
	} {
		n, err := yamltree.Parse([]byte(c.yaml), "f.yaml")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := string(n.AppendJSON(nil)); got != c.json {
			t.Errorf("%s: got %s, want %s", c.name, got, c.json)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"duplicate name", "a: 1\nb: {x: 1,\n  x: 2}\n", `f.yaml:3:3: member "x" stands here a second time; the first is on line 2`},
		{"anchor", "a: &x 1\n", "f.yaml:1:4: an anchor"},
		{"anchor on a mapping", "a: &x {b: 1}\n", "f.yaml:1:4: an anchor"},
		{"alias", "a: &x 1\nb: *x\n", "f.yaml:1:4: an anchor"},
		{"alias of nothing", "a: 1\nb: *x\n", "f.yaml:2:4: not valid YAML: unknown anchor"},
		{"merge key", "a: 1\n<<: {b: 1}\n", "f.yaml:2:1: a merge key"},
		{"tag", "a: !!binary aGk=\n", "f.yaml:1:4: a tag"},
		{"tag on a list", "a: !set [1]\n", "f.yaml:1:4: a tag"},
		{"two documents", "a: 1\n---\nb: 1\n", "f.yaml:2:1: a second document"},
		{"damaged second document", "a: 1\n---\nb: @\n", "f.yaml:3:4: not valid YAML: found character that cannot start"},
		{"hexadecimal", "a: 0x1f\n", `f.yaml:1:4: "0x1f" is not a number as JSON writes them`},
		{"octal", "a: 0755\n", `f.yaml:1:4: "0755" is not a number`},
		{"underscores", "a: 1_000\n", `f.yaml:1:4: "1_000" is not a number`},
		{"leading point", "a: .5\n", `f.yaml:1:4: ".5" is not a number`},
		{"plus", "a: +5\n", `f.yaml:1:4: "+5" is not a number`},
		{"infinity", "a: [-.inf]\n", `f.yaml:1:5: "-.inf" is not a number`},
		{"not a number", "a: .nan\n", `f.yaml:1:4: ".nan" is not a number`},
		{"shouted truth", "a: TRUE\n", `f.yaml:1:4: "TRUE" is not clear: write true`},
		{"yes", "where: {force: yes}\n", `f.yaml:1:16: "yes" is not clear: write true or false, or quote it if text is meant`},
		{"no", "a: No\n", `f.yaml:1:4: "No" is not clear: write true or false`},
		{"on, in a list", "a:\n  - on\n", `f.yaml:2:5: "on" is not clear: write true or false`},
		{"off, alone", "OFF", `f.yaml:1:1: "OFF" is not clear: write true or false`},
		{"name that is a number", "a:\n  1: x\n", "f.yaml:2:3: the name of a member must be text, not a number: quote it"},
		{"name that is a mapping", "? {a: 1}\n: 2\n", "f.yaml:1:3: the name of a member must be text, not a mapping"},
		{"no name", "? ~\n: 2\n", "f.yaml:1:3: the name of a member must be text, not nothing"},
		{"bad UTF-8", "a: 1\nb: \"é\xff\"\n", "f.yaml:2:6: not valid UTF-8"},
		{"UTF-16", "\xff\xfea\x00:\x00", "f.yaml:1:1: not valid UTF-8"},
		{"zero byte", "a: \x00\n", "f.yaml:1:4: control character U+0000"},
		{"too deep", strings.Repeat("[", 70) + strings.Repeat("]", 70), "f.yaml:1:65: nested deeper than 64 levels"},
		{"far too deep", strings.Repeat("[", 20000), "f.yaml:1:"},
		{"too large", strings.Repeat("# comment\n", 1<<17), "f.yaml:1:1: the file is larger than 1048576 bytes"},
	} {
		_, err := yamltree.Parse([]byte(c.yaml), "f.yaml")
		var e *yamltree.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: got %v, want a *yamltree.Error", c.name, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %q, want it to begin with %q", c.name, err, c.want)
		}
	}
}

func TestParseWithWords(t *testing.T) {
	if n, err := yamltree.Parse([]byte("[off]"), "f.yaml", "off"); err != nil || string(n.AppendJSON(nil)) != `["off"]` {
		t.Errorf("%v, %v", n, err)
	}
	for _, other := range []string{"[Off]", "[on]"} {
		if n, err := yamltree.Parse([]byte(other), "f.yaml", "off"); err == nil {
			t.Errorf("%s is %s", other, n.AppendJSON(nil))
		}
	}
}

func TestSyntaxErrorsNameTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"no colon", "camp: {url: x}\ntier free\noffline: false\n", "f.yaml:2:1: "},
		{"tab indents", "camp:\n\turl: x\n", "f.yaml:2:1: not valid YAML: a tab cannot indent"},
		{"tab after spaces", "camp:\n  \turl: x\n  b: 1\n", "f.yaml:2:3: not valid YAML: a tab cannot indent"},
		{"tab closes a block", "camp:\n  url: x\n\ttier: y\n", "f.yaml:3:1: not valid YAML: a tab cannot indent"},
		{"unclosed list", "x: 1\na: [1,2\nb: 3\n", "f.yaml:2:"},
		{"indented too far", "a: 1\n b: 2\n", "f.yaml:2:"},
		{"indented between", "a:\n  - b\n c: 2\nd: 3\n", "f.yaml:3:"},
		{"unclosed quote", "x: 1\na: \"x\nb: 2\nc: 3\n", "f.yaml:2:"},
		{"reserved character", "a: 1\nb: @x\nc: 2\n", "f.yaml:2:4: "},
		{"two colons", "a: b: c\n", "f.yaml:1:5: "},
		{"closing alone", "x: 1\na: }\nb: 2\n", "f.yaml:2:4: "},
		{"list then mapping", "- a\nb: 2\n", "f.yaml:2:1: "},
		{"unknown escape", "tier: free\ncamp: {url: \"a\\qb\"}\n", "f.yaml:2:"},
		{"directive", "%FOO\na: 1\n", "f.yaml:1:1: "},
	} {
		_, err := yamltree.Parse([]byte(c.yaml), "f.yaml")
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %q, want it to begin with %q", c.name, err, c.want)
		}
	}
}

func TestAt(t *testing.T) {
	root, err := yamltree.Parse([]byte("a:\n  - x\n  - {b/c: 1, d~: 2}\n"), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pointer string
		found   bool
		at      yamltree.Pos
	}{
		{"", true, yamltree.Pos{Line: 1, Column: 1}},
		{"/a", true, yamltree.Pos{Line: 2, Column: 3}},
		{"/a/1/b~1c", true, yamltree.Pos{Line: 3, Column: 11}},
		{"/a/1/d~0", true, yamltree.Pos{Line: 3, Column: 18}},
		{"/a/1/missing", false, yamltree.Pos{Line: 3, Column: 5}},
		{"/a/01", false, yamltree.Pos{Line: 2, Column: 3}},
		{"/a/2", false, yamltree.Pos{Line: 2, Column: 3}},
		{"not a pointer", false, yamltree.Pos{Line: 1, Column: 1}},
	} {
		n, found := root.At(c.pointer)
		if found != c.found || n.Pos != c.at {
			t.Errorf("At(%q) = %v, %v; want %v, %v", c.pointer, n.Pos, found, c.at, c.found)
		}
	}
	for pointer, want := range map[string]yamltree.Pos{
		"":            {Line: 1, Column: 1},
		"/a":          {Line: 1, Column: 1},
		"/a/0":        {Line: 2, Column: 5},
		"/a/1/b~1c":   {Line: 3, Column: 6},
		"/a/1/d~0":    {Line: 3, Column: 14},
		"/a/1/absent": {Line: 3, Column: 5},
		"no pointer":  {Line: 1, Column: 1},
	} {
		if got := root.NameAt(pointer); got != want {
			t.Errorf("NameAt(%q) = %v, want %v", pointer, got, want)
		}
	}
	if got := (*yamltree.Node)(nil).NameAt("/a"); got != (yamltree.Pos{}) {
		t.Errorf("nowhere is %v", got)
	}
}
