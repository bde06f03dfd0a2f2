package constitution_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"carl.camp/carl/host/constitution"
)

// told is what Parse says of a document, one problem a line.
func told(t fataler, doc string) string {
	t.Helper()
	c, problems := constitution.Parse([]byte(doc))
	if (c == nil) != (len(problems) > 0) {
		t.Fatalf("%s\na constitution: %v, problems: %v", doc, c != nil, problems)
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.Pointer+": "+p.Message)
	}
	return strings.Join(lines, "\n")
}

const (
	notAName = " is not a name: at most 64 letters, digits, dots, underscores and hyphens, of which the first is a letter or a digit"
	members  = "; known here are id, action, verdict, in, name, where, next"
	wantOne  = "want one of equals, glob, in and not, or min and max, of which one may be left out"
	ok       = ""
)

func TestDocument(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for _, c := range []struct{ doc, want string }{
		// Not JSON, or not a document at all.
		{``, `: not valid JSON: nothing is here`},
		{` `, `: not valid JSON: nothing is here`},
		{`null`, `: want a mapping, and found nothing`},
		{`[]`, `: want a mapping, and found a list`},
		{`"x"`, `: want a mapping, and found text`},
		{`true`, `: want a mapping, and found true or false`},
		{`1`, `: want a mapping, and found a number`},
		{`{} {}`, `: not valid JSON: something follows the first value`},
		{`{} x`, `: not valid JSON: something follows the first value`},
		{`{"name": "x"`, `: not valid JSON: …`},
		{`{"name": "x",}`, `: not valid JSON: …`},
		{`{"rules": [{"id" 1}]}`, `/rules/0/id: not valid JSON: …`},
		{"{\"name\": \"\xff\"}", `/name: not valid JSON: …`},
		{`{"name": "x", "n\u0061me": "y"}`, `/name: not valid JSON: duplicate object member name…`},
		{`{"rules": [{"where": {"a": 1, "a": 2}}]}`, `/rules/0/where/a: not valid JSON: duplicate object member name…`},
		{strings.Repeat(`[`, 17) + strings.Repeat(`]`, 17), strings.Repeat("/0", 16) + `: nested deeper than 16 levels`},
		{strings.Repeat(`[`, 16) + strings.Repeat(`]`, 16), `: want a mapping, and found a list`},

		// Members.
		{`{}`, `: member "name" is missing
: member "version" is missing
: member "initial" is missing
: member "states" is missing
: member "rules" is missing`},
		{`{"name": "n", "version": "1", "initial": "a", "states": ["a"], "rules": []}`, ok},
		{`{"name": "n", "version": "1", "initial": "a", "states": ["a"], "rules": [], "Rules": [], "x\u001b": 1}`,
			`/Rules: unknown member "Rules"; known here are name, version, initial, states, rules
/x` + "\x1b" + `: unknown member "x\x1b"; known here are name, version, initial, states, rules`},
		{`{"name": "n", "version": "1", "initial": "a", "states": ["a"], "rules": [], "` + long + `": 1}`,
			`/` + long + `: unknown member "` + long[:48] + `"; known here are name, version, initial, states, rules`},
		{`{"name": 1, "version": null, "initial": ["a"], "states": "a", "rules": {}}`, `/name: want text, and found a number
/version: want text, and found nothing
/initial: want text, and found a list
/states: want a list, and found text
/rules: want a list, and found a mapping`},
		{`{"name": "", "version": "", "initial": "", "states": [], "rules": [null, 1]}`, `/name: the text is empty
/version: the text is empty
/initial: the text is empty
/states: a list without entries: leave it out, or fill it
/rules/0: want a mapping, and found nothing
/rules/1: want a mapping, and found a number`},

		// Names and versions.
		{head(`"`+strings.Repeat("x", 64)+`"`, `"0"`), ok},
		{head(`"`+strings.Repeat("x", 65)+`"`, `"0"`), `/name: "` + strings.Repeat("x", 64) + `"` + notAName},
		{machine(`"`+long+`"`, `["a", "`+long+`"]`, `{"id": "`+long+`", "in": ["`+long+`"], "action": "x", "verdict": "`+long+`"}`),
			"/initial: longer than 1024 bytes\n/states/1: longer than 1024 bytes\n/rules/0/id: longer than 1024 bytes\n/rules/0/in/0: longer than 1024 bytes\n/rules/0/verdict: longer than 1024 bytes"},
		{head(`"A.b_c-9"`, `"2024-01-02"`), ok},
		{head(`".b"`, `"0"`), `/name: ".b"` + notAName},
		{head(`"a b"`, `"1.2.0+x"`), `/name: "a b"` + notAName + "\n" + `/version: "1.2.0+x"` + notAName},
		{head(`"a\n"`, `"é"`), `/name: "a\n"` + notAName + "\n" + `/version: "é"` + notAName},
		{head(`"n"`, `0`), ok},
		{head(`"n"`, `999999999999999`), ok},
		{head(`"n"`, `9999999999999999`), `/version: want text, or a whole number of at most 15 digits: quote the version`},
		{head(`"n"`, `1.0`), `/version: want text, or a whole number of at most 15 digits: quote the version`},
		{head(`"n"`, `-1`), `/version: want text, or a whole number of at most 15 digits: quote the version`},
		{head(`"n"`, `1e3`), `/version: want text, or a whole number of at most 15 digits: quote the version`},
		{head(`"n"`, `true`), `/version: want text, and found true or false`},

		// States.
		{machine(`"a"`, `["a", "b c"]`, ``), `/states/1: "b c"` + notAName},
		{machine(`"a"`, `["a", "a", 7, ""]`, ``), `/states/1: this state stands here a second time
/states/2: want text, and found a number
/states/3: the text is empty`},
		{machine(`"A"`, `["a"]`, ``), `/initial: there is no state "A"`},
		{machine(`"a"`, `["a", "b"]`, ``), `/states/1: no rule leads to this state`},
		{machine(`"a"`, `["a", "b", "c"]`, `{"id": "r", "in": ["b"], "action": "x", "verdict": "allow", "next": "c"},
			{"id": "s", "in": ["c"], "action": "x", "verdict": "allow", "next": "b"},
			{"id": "t", "in": ["b", "c"], "action": "y", "verdict": "allow", "next": "a"}`),
			"/states/1: no rule leads to this state\n/states/2: no rule leads to this state"},
		{machine(`"a"`, `["a", "b", "c"]`, `{"id": "r", "in": ["b"], "action": "x", "verdict": "deny", "next": "c"},
			{"id": "s", "action": "y", "verdict": "escalate", "next": "b"}`), ok},

		// Rules.
		{document(`{}`), `/rules/2: member "id" is missing
/rules/2: member "action" is missing
/rules/2: member "verdict" is missing`},
		{document(`{"id": "r", "action": "x", "verdict": "allow", "nmae": "x"}`), `/rules/2/nmae: unknown member "nmae"` + members},
		{document(`{"id": "default", "action": "x", "verdict": "allow"}`), `/rules/2/id: the id "default" is taken: every rule has its own, and "default" stands for no rule`},
		{document(`{"id": "to-a", "action": "x", "verdict": "allow"}`), `/rules/2/id: the id "to-a" is taken: every rule has its own, and "default" stands for no rule`},
		{document(`{"id": "r r", "action": "x", "verdict": "allow"}`), `/rules/2/id: "r r"` + notAName},
		{document(`{"id": "r", "action": "", "verdict": ""}`), "/rules/2/action: the text is empty\n/rules/2/verdict: the text is empty"},
		{document(`{"id": "r", "action": ["x"], "name": null, "where": [], "in": "a", "next": 1, "verdict": true}`), `/rules/2/action: want text, and found a list
/rules/2/name: want text, and found nothing
/rules/2/where: want a mapping, and found a list
/rules/2/in: want a list, and found text
/rules/2/next: want text, and found a number
/rules/2/verdict: want text, and found true or false`},
		{document(`{"id": "r", "action": "x", "verdict": "Allow"}`), `/rules/2/verdict: want allow, deny or escalate, and found "Allow"`},
		{document(`{"id": "r", "action": "x", "verdict": "allow", "in": [], "name": "", "next": ""}`), `/rules/2/in: a list without entries: leave it out, or fill it
/rules/2/name: the text is empty
/rules/2/next: the text is empty`},
		{document(`{"id": "r", "in": ["a", "c", "a", "", 1], "action": "x", "verdict": "allow", "next": "d"}`), `/rules/2/in/1: there is no state "c"
/rules/2/in/2: this state stands here a second time
/rules/2/in/3: the text is empty
/rules/2/in/4: want text, and found a number
/rules/2/next: there is no state "d"`},

		{document(`{"id": "r", "in": ["c", "a", "b"], "action": "x", "verdict": "allow"}`), `/rules/2/in/0: there is no state "c"`},

		// Globs.
		{document(`{"id": "r", "action": "a[bc]", "name": "{x,y}", "where": {"v": {"glob": "\\*"}}, "verdict": "allow"}`),
			`/rules/2/action: '[' is not allowed: a glob has * for any run of characters and ? for one, and nothing else
/rules/2/name: '{' is not allowed: a glob has * for any run of characters and ? for one, and nothing else
/rules/2/where/v/glob: '\\' is not allowed: a glob has * for any run of characters and ? for one, and nothing else`},
		{document(`{"id": "r", "action": "x]", "name": "}", "verdict": "allow"}`),
			`/rules/2/action: ']' is not allowed: a glob has * for any run of characters and ? for one, and nothing else
/rules/2/name: '}' is not allowed: a glob has * for any run of characters and ? for one, and nothing else`},
		{document(`{"id": "r", "action": "` + long + `", "name": "` + long[1:] + `", "verdict": "allow"}`), `/rules/2/action: longer than 1024 bytes`},
		{document(`{"id": "r", "action": "`+long[:256]+`", "verdict": "allow"}`, `{"id": "s", "action": "*`+long[:255]+`?**", "verdict": "deny"}`), ok},
		{document(`{"id": "r", "action": "`+long[:257]+`", "verdict": "allow"}`, `{"id": "s", "action": "*`+long[:256]+`?**", "verdict": "deny"}`),
			`/rules/2/action: nothing can match this: the kind of an action has at most 256 bytes
/rules/3/action: nothing can match this: the kind of an action has at most 256 bytes`},

		// Matchers.
		{where(`{}`), `/rules/2/where: a mapping without entries: leave it out, or fill it`},
		{where(`{"": 1, "` + long + `": 1, "` + long[1:] + `": 1}`), `/rules/2/where/: the name of an attribute is empty, or longer than 1024 bytes
/rules/2/where/` + long + `: the name of an attribute is empty, or longer than 1024 bytes`},
		{where(`{"v": null, "w": [1], "x": ""}`), `/rules/2/where/v: want text, a number, true or false, and found nothing
/rules/2/where/w: want text, a number, true or false, and found a list
/rules/2/where/x: the text is empty`},
		{where(`{"v": "` + long + `", "w": {"equals": "` + long + `"}, "x": {"glob": "` + long + `"}, "y": {"in": ["` + long + `"]}}`), `/rules/2/where/v: longer than 1024 bytes
/rules/2/where/w/equals: longer than 1024 bytes
/rules/2/where/x/glob: longer than 1024 bytes
/rules/2/where/y/in/0: longer than 1024 bytes`},
		{where(`{"v": {}, "w": {"equals": 1, "glob": "x"}, "x": {"min": 1, "max": 2, "not": 1}, "y": {"min": 1, "in": [1]}}`),
			`/rules/2/where/v: ` + wantOne + "\n/rules/2/where/w: " + wantOne + "\n/rules/2/where/x: " + wantOne + "\n/rules/2/where/y: " + wantOne},
		{where(`{"v": {"regexp": "x"}}`), `/rules/2/where/v/regexp: unknown member "regexp"; known here are equals, glob, in, not, min, max`},
		{where(`{"v": {"equals": {"equals": 1}}, "w": {"in": 1}, "x": {"glob": 1}, "y": {"glob": ""}}`), `/rules/2/where/v/equals: want text, a number, true or false, and found a mapping
/rules/2/where/w/in: want a list, and found a number
/rules/2/where/x/glob: want text, and found a number
/rules/2/where/y/glob: the text is empty`},
		{where(`{"v": {"in": []}, "w": {"in": [1, "1", true, 1.0, "1", [], []]}, "x": {"not": {"in": []}}}`), `/rules/2/where/v/in: a list without entries: leave it out, or fill it
/rules/2/where/w/in/3: this value stands here a second time
/rules/2/where/w/in/4: this value stands here a second time
/rules/2/where/w/in/5: want text, a number, true or false, and found a list
/rules/2/where/w/in/6: want text, a number, true or false, and found a list
/rules/2/where/x/not/in: a list without entries: leave it out, or fill it`},
		{where(`{"v": {"min": 2, "max": 1.5}, "w": {"not": {"min": 1e-7, "max": -1}}, "x": {"min": 1, "max": 1}, "y": {"min": "1"}, "z": {"min": 1, "max": null}}`), `/rules/2/where/v: min is greater than max
/rules/2/where/w/not: min is greater than max
/rules/2/where/y/min: want a number, and found text
/rules/2/where/z/max: want a number, and found nothing`},
		{where(`{"v": {"not": null}, "w": {"not": {"not": {}}}}`), `/rules/2/where/v/not: want text, a number, true or false, and found nothing
/rules/2/where/w/not/not: ` + wantOne},
		{where(`{"v": {"not": {"glob": "**"}}, "w": {"not": {"in": [true, false]}}, "x": {"not": {"not": {"not": {"glob": "*"}}}}, "y": {"not": {"glob": "?*"}}, "z": {"not": {"in": [true, false, 1]}}}`),
			`/rules/2/where/v: nothing can match this
/rules/2/where/w: nothing can match this
/rules/2/where/x: nothing can match this`},
		{where(`{"v": ` + strings.Repeat(`{"not":`, 11) + `{"in":[1]}` + strings.Repeat(`}`, 11) + `}`), `/rules/2/where/v` + strings.Repeat("/not", 11) + `/in: nested deeper than 16 levels`},
		{where(`{"v": ` + strings.Repeat(`{"not":`, 10) + `{"in":[1]}` + strings.Repeat(`}`, 10) + `}`), ok},

		// Numbers.
		{where(`{"v": 9007199254740993, "w": 1e400, "x": {"min": -1e401}, "y": {"in": [0.1, 1e-400]}, "z": 0.10}`),
			`/rules/2/where/v: the number 9007199254740993 is not exact in RFC 8785, which has 9007199254740992: write that, or text
/rules/2/where/w: the number 1e400 is not exact in RFC 8785, which has 1.7976931348623157e+308: write that, or text
/rules/2/where/x/min: the number -1e401 is not exact in RFC 8785, which has -1.7976931348623157e+308: write that, or text
/rules/2/where/y/in/1: the number 1e-400 is not exact in RFC 8785, which has 0: write that, or text`},
		{where(`{"v": 1.` + strings.Repeat("0", 511) + `}`), `/rules/2/where/v: the number 1.` + strings.Repeat("0", 46) + ` is not exact in RFC 8785, which has 1: write that, or text`},
		{where(`{"v": 1.` + strings.Repeat("0", 510) + `, "w": 5e-324, "x": 1.7976931348623157e308, "y": -0.0e400}`), ok},
	} {
		got := told(t, c.doc)
		if start, rest, cut := strings.Cut(c.want, "…"); cut && rest == "" && strings.HasPrefix(got, start) && !strings.Contains(got, "\n") {
			continue // the words of the library
		}
		if got != c.want {
			t.Errorf("%.300s\ngot:\n%s\nwant:\n%s", c.doc, got, c.want)
		}
	}
}

// TestProblemsOfNames: whoever knows where names stand is told that it is one.
func TestProblemsOfNames(t *testing.T) {
	_, problems := constitution.Parse([]byte(document(`{"id": "", "action": "x", "verdict": "allow", "nmae": 1, "where": {"": 1, "v": {"regexp": "x"}, "w": {}}}`)))
	named := map[string]bool{}
	for _, p := range problems {
		named[p.Pointer] = p.Name
	}
	want := map[string]bool{"/rules/2/id": false, "/rules/2/nmae": true, "/rules/2/where/": true, "/rules/2/where/v/regexp": true, "/rules/2/where/w": false}
	if !reflect.DeepEqual(named, want) {
		t.Errorf("got %v, want %v", named, want)
	}
}

// head is a document with a name and a version.
func head(name, version string) string {
	return `{"name": ` + name + `, "version": ` + version + `, "initial": "a", "states": ["a"], "rules": []}`
}

// machine is a document with an initial state, states and rules.
func machine(initial, states, rules string) string {
	return `{"name": "n", "version": "1", "initial": ` + initial + `, "states": ` + states + `, "rules": [` + rules + `]}`
}

// where is a document with matchers.
func where(matchers string) string {
	return document(`{"id": "r", "action": "x", "where": ` + matchers + `, "verdict": "allow"}`)
}

// TestProblemsTogether: one reading tells everything, in the order of the
// document, and nothing that only follows from something else.
func TestProblemsTogether(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"order, and proofs beside other problems", `{
			"rules": [
				{"id": "r1", "action": "x*", "verdict": "allow"},
				{"verdict": "maybe", "id": "r2", "action": "y"},
				{"id": "r3", "action": "xy", "verdict": "allow"},
				{"id": "r1", "action": "z", "verdict": "allow"}],
			"states": ["a", "b"], "version": 1.5, "initial": "a", "name": "-"}`,
			`/rules/1/verdict: want allow, deny or escalate, and found "maybe"
/rules/2: this rule never decides: all that it applies to is decided before it, by r1
/rules/3/id: the id "r1" is taken: every rule has its own, and "default" stands for no rule
/states/1: no rule leads to this state
/version: want text, or a whole number of at most 15 digits: quote the version
/name: "-"` + notAName},
		{"a rule that may lead to b", machine(`"a"`, `["a", "b"]`, `{"id": "r", "action": "x", "verdict": "allow", "nxet": "b"}`), `/rules/0/nxet: unknown member "nxet"` + members},
		{"one of the first rules may lead to b", machine(`"a"`, `["a", "b"]`, `{"id": "r", "action": "x", "verdict": "allow", "nxet": "b"}, {"id": "s", "action": "y", "verdict": "allow"}`),
			`/rules/0/nxet: unknown member "nxet"` + members},
		{"a rule that leads to b whatever else is wrong with it", machine(`"a"`, `["a", "b"]`, `{"id": "r", "action": "[", "verdict": "allow", "next": "b"}`),
			`/rules/0/action: '[' is not allowed: a glob has * for any run of characters and ? for one, and nothing else`},
		{"no initial state", machine(`"c"`, `["a", "b"]`, ``), `/initial: there is no state "c"`},
		{"no states", machine(`"a"`, `[]`, `{"id": "r", "in": ["a"], "action": "x", "verdict": "allow", "next": "b"}`), `/states: a list without entries: leave it out, or fill it`},
		{"no rules", `{"name": "n", "version": "1", "initial": "a", "states": ["a", "b"]}`, `: member "rules" is missing`},
		{"a broken rule covers nothing", document(`{"id": "r", "action": "x*", "verdict": "maybe"}`, `{"id": "s", "action": "x", "verdict": "allow"}`),
			`/rules/2/verdict: want allow, deny or escalate, and found "maybe"`},
		{"a broken rule is covered by nothing", document(`{"id": "r", "action": "x*", "verdict": "allow"}`, `{"id": "s", "action": "x", "verdict": "maybe"}`),
			`/rules/3/verdict: want allow, deny or escalate, and found "maybe"`},
	} {
		if got := told(t, c.doc); got != c.want {
			t.Errorf("%s: got:\n%s\nwant:\n%s", c.name, got, c.want)
		}
	}
}

func TestProblemsAreBounded(t *testing.T) {
	for n, want := range map[int]int{99: 99, 100: 100, 101: 100, 1000: 100} {
		_, problems := constitution.Parse([]byte(machine(`"a"`, `["a"]`, strings.TrimSuffix(strings.Repeat(`0,`, n), ","))))
		if len(problems) != want || problems[0].Pointer != "/rules/0" || problems[want-1].Pointer != fmt.Sprintf("/rules/%d", want-1) {
			t.Errorf("%d problems: %d told, from %v to %v", n, len(problems), problems[0], problems[len(problems)-1])
		}
	}
}

// TestBounds goes up to each bound, and one beyond it.
func TestBounds(t *testing.T) {
	list := func(n int, format string) string {
		out := make([]string, n)
		for i := range out {
			out[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
		}
		return strings.Join(out, ",")
	}
	states := func(n int) string {
		return machine(`"s0"`, `[`+list(n, `"s#"`)+`]`, list(min(n, 256), `{"id":"r#","action":"x#","verdict":"allow","next":"s#"}`))
	}
	rules := func(n int) string {
		return machine(`"a"`, `["a"]`, list(n, `{"id":"r#","action":"x#","verdict":"allow"}`))
	}
	size := func(n int) string {
		doc := rules(3)
		return doc + strings.Repeat(" ", n-len(doc))
	}
	for _, c := range []struct{ name, fits, not, want string }{
		{"document", size(256 << 10), size(256<<10 + 1), `: larger than 262144 bytes`},
		{"states", states(256), states(257), `/states: a list of 257 entries; at most 256 are allowed`},
		{"rules", rules(1024), rules(1025), `/rules: a list of 1025 entries; at most 1024 are allowed`},
		{"matchers", where(`{` + list(32, `"v#":1`) + `}`), where(`{` + list(33, `"v#":1`) + `}`), `/rules/2/where: a mapping of 33 entries; at most 32 are allowed`},
		{"values", where(`{"v":{"in":[` + list(256, `#`) + `]}}`), where(`{"v":{"in":[` + list(257, `#`) + `]}}`), `/rules/2/where/v/in: a list of 257 entries; at most 256 are allowed`},
		{"in", machine(`"a"`, `["a"]`, `{"id":"r","in":["a"],"action":"x","verdict":"allow"}`),
			machine(`"a"`, `["a"]`, `{"id":"r","in":[`+list(257, `"a"`)+`],"action":"x","verdict":"allow"}`), `/rules/0/in: a list of 257 entries; at most 256 are allowed`},
	} {
		if got := told(t, c.fits); got != "" {
			t.Errorf("%s: what fits has problems:\n%s", c.name, got)
		}
		if got := told(t, c.not); got != c.want {
			t.Errorf("%s: got %.300s", c.name, got)
		}
	}
	c := parse(t, states(256))
	for i := range 256 {
		from, to := fmt.Sprintf("s%d", i), fmt.Sprintf("s%d", 255-i)
		if d := decide(t, c, from, fmt.Sprintf(`{"kind": "x%d"}`, 255-i)); d.To != to || d.Verdict != constitution.Allow {
			t.Fatalf("%+v", d)
		}
	}
}

// TestSpelling: neither white space nor the order of members nor escapes
// change the digest, and Parse says the same each time.
func TestSpelling(t *testing.T) {
	doc := document(`{"id": "r", "action": "x", "where": {"b": {"min": 1, "max": 2}, "a": "é"}, "verdict": "allow"}`)
	want := parse(t, doc).Digest()
	var any map[string]any
	if err := json.Unmarshal([]byte(doc), &any); err != nil {
		t.Fatal(err)
	}
	compact, err := json.Marshal(any)
	if err != nil {
		t.Fatal(err)
	}
	indented, err := json.MarshalIndent(any, "\t", "   ")
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{string(compact), string(indented), strings.ReplaceAll(doc, "é", `\u00e9`), strings.ReplaceAll(doc, `"min": 1`, `"min": 10e-1`)} {
		if other == doc {
			t.Error("nothing was changed")
		}
		if got := parse(t, other).Digest(); got != want {
			t.Errorf("%s\nhas another digest", other)
		}
	}
	bad := []byte(`{"rules": [{}, {"in": [], "where": {"x": []}}], "states": ["a", "b", "a"], "x": 1}`)
	_, first := constitution.Parse(bad)
	for range 20 {
		if _, again := constitution.Parse(bad); !reflect.DeepEqual(again, first) {
			t.Fatalf("%v\n%v", again, first)
		}
	}
}
