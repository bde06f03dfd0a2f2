package constitution_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/constitution"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/yamltree"
)

// fataler is a test, drawn or not.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// document puts rules into a constitution with the states a and b, both reached.
func document(rules ...string) string {
	rules = append([]string{
		`{"id": "to-b", "in": ["a"], "action": "go.b", "verdict": "allow", "next": "b"}`,
		`{"id": "to-a", "in": ["b"], "action": "go.a", "verdict": "allow", "next": "a"}`,
	}, rules...)
	return `{"name": "test", "version": "1.2.0", "initial": "a", "states": ["a", "b"], "rules": [` + strings.Join(rules, ",\n") + `]}`
}

func parse(t fataler, doc string) *constitution.Constitution {
	t.Helper()
	c, problems := constitution.Parse([]byte(doc))
	if c == nil || problems != nil {
		t.Fatalf("%s\nhas problems: %v", doc, problems)
	}
	return c
}

func action(t fataler, text string) constitution.Action {
	t.Helper()
	a, err := constitution.ParseAction([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return a
}

func decide(t fataler, c *constitution.Constitution, state, text string) constitution.Decision {
	t.Helper()
	d, err := c.Evaluate(state, action(t, text))
	if err != nil {
		t.Fatalf("%s in %s: %v", text, state, err)
	}
	return d
}

func Example() {
	c, problems := constitution.Parse([]byte(`{
		"name": "coding-agent", "version": "1.2.0", "initial": "idle",
		"states": ["idle", "coding"],
		"rules": [
			{"id": "read", "action": "read.*", "verdict": "allow"},
			{"id": "notes", "in": ["idle"], "action": "write.file", "name": "*.md",
			 "where": {"lines": {"max": 500}}, "verdict": "allow", "next": "coding"}]}`))
	if problems != nil {
		fmt.Println(problems)
		return
	}
	for _, text := range []string{
		`{"kind": "write.file", "name": "README.md", "attributes": {"lines": 12}}`,
		`{"kind": "write.file", "name": "README.md"}`,
	} {
		a, err := constitution.ParseAction([]byte(text))
		if err != nil {
			fmt.Println(err)
			return
		}
		d, err := c.Evaluate(c.Initial(), a)
		fmt.Println(d.Verdict, d.Rule, d.From, d.To, err)
	}
	// Output:
	// allow notes idle coding <nil>
	// deny default idle idle <nil>
}

func TestWhatAConstitutionSays(t *testing.T) {
	c := parse(t, document())
	if c.Name() != "test" || c.Version() != "1.2.0" || c.Initial() != "a" || !c.Has("a") || !c.Has("b") || c.Has("c") || c.Has("") {
		t.Errorf("%s %s %s", c.Name(), c.Version(), c.Initial())
	}
	// The canonical form, written down by hand, through sha256sum.
	tiny := parse(t, `{ "version": 7, "states": ["\u0061"], "rules": [], "name": "n", "initial": "a" }`)
	if tiny.Version() != "7" {
		t.Errorf("version %q", tiny.Version())
	}
	if got, want := tiny.Digest(), "005781e4bec4cf1ff6a28ead8f632353115cc626b4d31dd123ffc8a9d52bac61"; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if parse(t, document()).Digest() != c.Digest() || parse(t, document(`{"id":"x","action":"x","verdict":"deny"}`)).Digest() == c.Digest() {
		t.Error("digests do not tell documents apart")
	}
}

func TestRules(t *testing.T) {
	c := parse(t, document(
		`{"id": "r", "in": ["b", "a"], "action": "read.*", "name": "*.md", "where": {"n": {"min": 10e-1}, "b": true}, "verdict": "escalate"}`,
		`{"id": "s", "action": "*", "verdict": "deny", "next": "b"}`,
	))
	want := []constitution.Rule{
		{ID: "to-b", In: []string{"a"}, Action: "go.b", Verdict: "allow", Next: "b"},
		{ID: "to-a", In: []string{"b"}, Action: "go.a", Verdict: "allow", Next: "a"},
		{ID: "r", In: []string{"a", "b"}, Action: "read.*", Name: "*.md", Where: jsontext.Value(`{"b":true,"n":{"min":1}}`), Verdict: "escalate"},
		{ID: "s", In: []string{"a", "b"}, Action: "*", Verdict: "deny", Next: "b"},
	}
	got := c.Rules()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	got[0].ID = "changed"
	if c.Rules()[0].ID != "to-b" {
		t.Error("the caller's list is the constitution's own")
	}
}

func TestEvaluate(t *testing.T) {
	c := parse(t, document(
		`{"id": "r1", "in": ["a"], "action": "read.*", "name": "*.md", "verdict": "allow"}`,
		`{"id": "r2", "action": "read.?", "verdict": "escalate", "next": "b"}`,
		`{"id": "r3", "in": ["b"], "action": "read.secret", "verdict": "deny", "next": "a"}`,
		`{"id": "r4", "action": "read.*", "name": "?*", "where": {"n": {"min": 1}, "branch": {"not": "main"}}, "verdict": "allow"}`,
	))
	for _, test := range []struct {
		state, action string
		want          constitution.Decision
	}{
		{"a", `{"kind": "go.b"}`, constitution.Decision{Verdict: "allow", Rule: "to-b", From: "a", To: "b"}},
		{"b", `{"kind": "go.b"}`, constitution.Decision{Verdict: "deny", Rule: "default", From: "b", To: "b"}},
		{"a", `{"kind": "read.file", "name": "docs/x.md"}`, constitution.Decision{Verdict: "allow", Rule: "r1", From: "a", To: "a"}},
		{"b", `{"kind": "read.file", "name": "docs/x.md"}`, constitution.Decision{Verdict: "deny", Rule: "default", From: "b", To: "b"}},
		{"a", `{"kind": "read.x", "name": "x.md"}`, constitution.Decision{Verdict: "allow", Rule: "r1", From: "a", To: "a"}},
		{"a", `{"kind": "read.x"}`, constitution.Decision{Verdict: "escalate", Rule: "r2", From: "a", To: "b"}},
		{"b", `{"kind": "read.é"}`, constitution.Decision{Verdict: "escalate", Rule: "r2", From: "b", To: "b"}},
		{"b", `{"kind": "read.secret", "name": "x", "attributes": {"n": 1, "branch": "x"}}`, constitution.Decision{Verdict: "deny", Rule: "r3", From: "b", To: "a"}},
		{"a", `{"kind": "read.secret", "name": "x", "attributes": {"n": 1, "branch": "x"}}`, constitution.Decision{Verdict: "allow", Rule: "r4", From: "a", To: "a"}},
		{"a", `{"kind": "read.secret", "attributes": {"n": 1, "branch": "x"}}`, constitution.Decision{Verdict: "deny", Rule: "default", From: "a", To: "a"}},
		{"a", `{"kind": "read.secret", "name": "x", "attributes": {"n": 1}}`, constitution.Decision{Verdict: "deny", Rule: "default", From: "a", To: "a"}},
		{"a", `{"kind": "read.secret", "name": "x", "attributes": {"branch": "x"}}`, constitution.Decision{Verdict: "deny", Rule: "default", From: "a", To: "a"}},
		{"a", `{"kind": "READ.x"}`, constitution.Decision{Verdict: "deny", Rule: "default", From: "a", To: "a"}},
	} {
		if got := decide(t, c, test.state, test.action); got != test.want {
			t.Errorf("%s in %s: got %+v, want %+v", test.action, test.state, got, test.want)
		}
	}
	if d, err := c.Evaluate("a", constitution.Action{}); err != nil || d.Rule != constitution.DefaultRule {
		t.Errorf("the zero action: %+v, %v", d, err)
	}
	for _, state := range []string{"", "c", "A"} {
		d, err := c.Evaluate(state, action(t, `{"kind":"go.b"}`))
		if fault.CodeOf(err) != fault.ConstitutionNotAdopted || d != (constitution.Decision{}) {
			t.Errorf("state %q: %+v, %v", state, d, err)
		}
	}
}

// TestMatchers is three-valued: yes, no, and nothing. The negation turns yes
// and no round, and leaves nothing.
func TestMatchers(t *testing.T) {
	const all = `"main" "" "Main" 3 3.0 30e-1 4 -3 0 -0 true false null [] ["main"] {} {"x":3} 9007199254740993 9007199254740992 "3" "true" "release/1/2" "é" 1e400 -1e-400 absent`
	for _, test := range []struct{ matcher, yes, no string }{
		{`"main"`, `"main"`, `"" "Main" "3" "true" "release/1/2" "é"`},
		{`{"equals": "main"}`, `"main"`, `"" "Main" "3" "true" "release/1/2" "é"`},
		{`"\u006dain"`, `"main"`, `"" "Main" "3" "true" "release/1/2" "é"`},
		{`3`, `3 3.0 30e-1`, `4 -3 0 -0 9007199254740993 9007199254740992 1e400 -1e-400`},
		{`0.3e1`, `3 3.0 30e-1`, `4 -3 0 -0 9007199254740993 9007199254740992 1e400 -1e-400`},
		{`-0.0`, `0 -0`, `3 3.0 30e-1 4 -3 9007199254740993 9007199254740992 1e400 -1e-400`},
		{`9007199254740992`, `9007199254740992`, `3 3.0 30e-1 4 -3 0 -0 9007199254740993 1e400 -1e-400`},
		{`true`, `true`, `false`},
		{`{"equals": false}`, `false`, `true`},
		{`{"glob": "main"}`, `"main"`, `"" "Main" "3" "true" "release/1/2" "é"`},
		{`{"glob": "release/*"}`, `"release/1/2"`, `"main" "" "Main" "3" "true" "é"`},
		{`{"glob": "*"}`, `"main" "" "Main" "3" "true" "release/1/2" "é"`, ``},
		{`{"glob": "?"}`, `"3" "é"`, `"main" "" "Main" "true" "release/1/2"`},
		{`{"glob": "?*ain"}`, `"main" "Main"`, `"" "3" "true" "release/1/2" "é"`},
		{`{"min": 3}`, `3 3.0 30e-1 4 9007199254740993 9007199254740992 1e400`, `-3 0 -0 -1e-400`},
		{`{"max": 3}`, `3 3.0 30e-1 -3 0 -0 -1e-400`, `4 9007199254740993 9007199254740992 1e400`},
		{`{"min": 0, "max": 3.5}`, `3 3.0 30e-1 0 -0`, `4 -3 9007199254740993 9007199254740992 1e400 -1e-400`},
		{`{"max": 9007199254740992}`, `3 3.0 30e-1 4 -3 0 -0 9007199254740992 -1e-400`, `9007199254740993 1e400`},
		{`{"min": 4, "max": 4.0}`, `4`, `3 3.0 30e-1 -3 0 -0 9007199254740993 9007199254740992 1e400 -1e-400`},
		{`{"in": ["main", "x"]}`, `"main"`, `"" "Main" "3" "true" "release/1/2" "é"`},
		{`{"in": ["main", 3]}`, `"main" 3 3.0 30e-1`, `"" "Main" 4 -3 0 -0 9007199254740993 9007199254740992 "3" "true" "release/1/2" "é" 1e400 -1e-400`},
		{`{"in": [true, "true"]}`, `true "true"`, `"main" "" "Main" false "3" "release/1/2" "é"`},
	} {
		for _, matcher := range []string{test.matcher, `{"not": {"not": ` + test.matcher + `}}`} {
			checkMatcher(t, matcher, all, test.yes)
		}
		if test.no != "" {
			checkMatcher(t, `{"not": `+test.matcher+`}`, all, test.no)
			checkMatcher(t, `{"not": {"not": {"not": `+test.matcher+`}}}`, all, test.no)
		}
	}
}

func checkMatcher(t *testing.T, matcher, all, want string) {
	t.Helper()
	c := parse(t, document(`{"id": "r", "action": "x", "where": {"v": `+matcher+`}, "verdict": "allow"}`))
	var yes []string
	for _, v := range strings.Fields(all) {
		text := `{"kind": "x", "attributes": {"v": ` + v + `}}`
		if v == "absent" {
			text = `{"kind": "x", "attributes": {"w": 3}}`
		}
		if decide(t, c, "a", text).Verdict == constitution.Allow {
			yes = append(yes, v)
		}
	}
	if got := strings.Join(yes, " "); got != want {
		t.Errorf("%s\nmatches %s\nwant    %s", matcher, got, want)
	}
}

// TestNotIsNoWayAround is what the third value is for.
func TestNotIsNoWayAround(t *testing.T) {
	c := parse(t, document(`{"id": "r", "action": "git.push", "where": {"branch": {"not": "main"}}, "verdict": "allow"}`))
	for text, want := range map[string]constitution.Verdict{
		`{"kind": "git.push", "attributes": {"branch": "topic"}}`:           constitution.Allow,
		`{"kind": "git.push", "attributes": {"branch": "main"}}`:            constitution.Deny,
		`{"kind": "git.push", "attributes": {"branch": "m\u0061in"}}`:       constitution.Deny,
		`{"kind": "git.push", "attributes": {"branch": null}}`:              constitution.Deny,
		`{"kind": "git.push", "attributes": {"branch": ["topic"]}}`:         constitution.Deny,
		`{"kind": "git.push", "attributes": {"branch": {"name": "topic"}}}`: constitution.Deny,
		`{"kind": "git.push", "attributes": {"branch": 0}}`:                 constitution.Deny,
		`{"kind": "git.push", "attributes": {"branch": false}}`:             constitution.Deny,
		`{"kind": "git.push", "attributes": {"Branch": "topic"}}`:           constitution.Deny,
		`{"kind": "git.push", "attributes": {}}`:                            constitution.Deny,
		`{"kind": "git.push"}`:                                              constitution.Deny,
	} {
		if got := decide(t, c, "a", text); got.Verdict != want {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// TestDigestHoldsEveryNumber: documents with numbers that compare as different
// have different digests, which doubles alone would not give.
func TestDigestHoldsEveryNumber(t *testing.T) {
	digests := map[string]string{}
	for _, n := range []string{"9007199254740992", "9007199254740994", "0.1", "0.2", "1e21", "5e-324", "-1"} {
		d := parse(t, document(`{"id": "r", "action": "x", "where": {"v": `+n+`}, "verdict": "allow"}`)).Digest()
		if other, twice := digests[d]; twice {
			t.Errorf("%s and %s have one digest", n, other)
		}
		digests[d] = n
	}
	same := parse(t, document(`{"id": "r", "action": "x", "where": {"v": 1e2}, "verdict": "allow"}`)).Digest()
	if parse(t, document(`{"id": "r", "action": "x", "where": {"v": 100.0}, "verdict": "allow"}`)).Digest() != same {
		t.Error("two spellings of a number have two digests")
	}
}

func TestSeveralGoroutines(t *testing.T) {
	c := parse(t, document(`{"id": "r", "action": "x*", "where": {"v": {"min": 0.1, "max": 1e20}, "w": {"not": {"in": [1, 2]}}}, "verdict": "allow"}`))
	a := action(t, `{"kind": "xyz", "attributes": {"v": 0.7, "w": 2.5}}`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				if d, err := c.Evaluate("b", a); err != nil || d.Rule != "r" {
					t.Errorf("%+v, %v", d, err)
					return
				}
			}
		})
	}
	all.Wait()
}

var row = regexp.MustCompile("(?m)^\\| (\\S+) \\| `(.+)` \\| (\\S+) \\| (\\S+) \\| (\\S+) \\|$")

// TestExamples holds the two examples against the tables in their README.
func TestExamples(t *testing.T) {
	const dir = "../../examples/constitutions/"
	readme, err := os.ReadFile(dir + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(readme), "\n## ")[1:]
	if len(sections) != 2 {
		t.Fatalf("%d sections", len(sections))
	}
	for _, section := range sections {
		name, table, _ := strings.Cut(section, "\n")
		yaml, err := os.ReadFile(dir + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		tree, err := yamltree.Parse(yaml, name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		c, problems := constitution.Parse(tree.AppendJSON(nil))
		for _, p := range problems {
			at, _ := tree.At(p.Pointer)
			t.Errorf("%s: %s", at.In(name+".yaml"), p.Message)
		}
		if c == nil {
			continue
		}
		if c.Name() != name {
			t.Errorf("%s.yaml is called %s", name, c.Name())
		}
		rows := row.FindAllStringSubmatch(table, -1)
		if len(rows) < 20 || len(rows) != strings.Count(table, "\n| ") {
			t.Errorf("%s: %d rows", name, len(rows))
		}
		decided := map[string]bool{}
		for _, r := range rows {
			d := decide(t, c, r[1], r[2])
			if want := (constitution.Decision{Verdict: constitution.Verdict(r[3]), Rule: r[4], From: r[1], To: r[5]}); d != want {
				t.Errorf("%s: %s in %s: got %+v, want %+v", name, r[2], r[1], d, want)
			}
			decided[d.Rule] = true
		}
		for _, rule := range tree.Member("rules").Items {
			if id := rule.Member("id").Text; !decided[id] {
				t.Errorf("%s: no row shows the rule %s", name, id)
			}
		}
	}
}
