package constitution_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestShadowed: whether the last of some rules is told never to decide.
func TestShadowed(t *testing.T) {
	for _, c := range []struct {
		rules []string // without ids and verdicts
		by    string   // "" where the last one may decide
	}{
		{[]string{`"action":"x"`, `"action":"x"`}, "r0"},
		{[]string{`"action":"x"`, `"action":"y"`}, ""},
		{[]string{`"action":"*"`, `"action":"x","name":"n","where":{"v":1},"next":"b"`}, "r0"},
		{[]string{`"action":"x.*"`, `"action":"x.y.*"`}, "r0"},
		{[]string{`"action":"x.y"`, `"action":"x.*"`}, ""},
		{[]string{`"action":"x?"`, `"action":"xé"`}, "r0"},
		{[]string{`"action":"x?"`, `"action":"x*"`}, ""},
		// Names.
		{[]string{`"action":"x","name":"*.md"`, `"action":"x","name":"docs/*.md"`}, "r0"},
		{[]string{`"action":"x","name":"*.md"`, `"action":"x","name":"*"`}, ""},
		{[]string{`"action":"x","name":"*.md"`, `"action":"x"`}, ""},
		{[]string{`"action":"x","name":"*"`, `"action":"x"`}, "r0"},
		{[]string{`"action":"x","name":"?*"`, `"action":"x"`}, ""}, // an action without a name
		{[]string{`"action":"x"`, `"action":"x","name":"n"`}, "r0"},
		{[]string{`"action":"x","name":"n"`, `"action":"x","name":"n"`}, "r0"},
		// States.
		{[]string{`"in":["a"],"action":"x"`, `"action":"x"`}, ""},
		{[]string{`"action":"x"`, `"in":["a"],"action":"x"`}, "r0"},
		{[]string{`"in":["a"],"action":"x"`, `"in":["b"],"action":"x"`}, ""},
		{[]string{`"in":["a"],"action":"x"`, `"in":["b"],"action":"x*"`, `"action":"x"`}, "r0, r1"},
		{[]string{`"in":["a"],"action":"x"`, `"in":["a"],"action":"*"`, `"action":"x"`}, ""},
		{[]string{`"in":["a","b"],"action":"x"`, `"action":"x"`}, "r0"},
		{[]string{`"in":["a"],"action":"x"`, `"in":["a"],"action":"*"`, `"in":["b"],"action":"x*"`, `"action":"x"`}, "r0, r2"},
		{[]string{`"in":["a"],"action":"x","where":{"v":1}`, `"in":["b"],"action":"x"`, `"action":"x","where":{"v":1,"w":2}`}, "r0, r1"},
		{[]string{`"in":["a"],"action":"x","where":{"v":1}`, `"in":["b"],"action":"x"`, `"action":"x"`}, ""},
		// Attributes.
		{[]string{`"action":"x","where":{"v":1}`, `"action":"x"`}, ""},
		{[]string{`"action":"x"`, `"action":"x","where":{"v":1}`}, "r0"},
		{[]string{`"action":"x","where":{"v":1}`, `"action":"x","where":{"w":1}`}, ""},
		{[]string{`"action":"x","where":{"v":1}`, `"action":"x","where":{"w":1,"v":1.0}`}, "r0"},
		{[]string{`"action":"x","where":{"v":1,"w":1}`, `"action":"x","where":{"v":1}`}, ""},
	} {
		checkShadow(t, c.rules, c.by)
	}
}

func checkShadow(t *testing.T, rules []string, by string) {
	t.Helper()
	var all []string
	for i, r := range rules {
		all = append(all, fmt.Sprintf(`{"id": "r%d", %s, "verdict": "deny"}`, i, r))
	}
	want := ""
	if by != "" {
		want = fmt.Sprintf("/rules/%d: this rule never decides: all that it applies to is decided before it, by %s", len(rules)+1, by)
	}
	if got := told(t, document(all...)); got != want {
		t.Errorf("%s:\n got %s\nwant %s", strings.Join(rules, "; "), got, want)
	}
}

// TestCoveredMatchers: whether one matcher covers another.
func TestCoveredMatchers(t *testing.T) {
	const yes, no = true, false
	for _, c := range []struct {
		earlier, later string
		want           bool
	}{
		// Values.
		{`1`, `1.0`, yes}, {`1`, `2`, no}, {`1`, `"1"`, no}, {`"true"`, `true`, no},
		{`{"in": [1, 2, "x"]}`, `2`, yes}, {`{"in": [1, 2]}`, `{"in": [2, 1]}`, yes}, {`{"in": [1, 2]}`, `{"in": [1, 2, 3]}`, no},
		{`{"in": [1, "x"]}`, `{"in": ["x", 1.0]}`, yes},
		{`{"min": 1, "max": 3}`, `{"in": [1, 2.5, 3]}`, yes}, {`{"min": 1, "max": 3}`, `{"in": [1, 3.5]}`, no}, {`{"min": 1}`, `{"in": [1, "x"]}`, no},
		{`{"glob": "m*"}`, `"main"`, yes}, {`{"glob": "m*"}`, `{"in": ["main", "x"]}`, no}, {`{"glob": "*"}`, `{"in": ["main", 1]}`, no},
		{`{"not": 1}`, `2`, yes}, {`{"not": 1}`, `1`, no}, {`{"not": 1}`, `"x"`, no}, {`{"not": {"glob": "m*"}}`, `"x"`, yes}, {`{"not": {"min": 3}}`, `{"in": [1, 2]}`, yes},
		{`{"min": 1}`, `{"min": 2, "max": 2}`, yes}, {`2`, `{"min": 2, "max": 2.0}`, yes}, {`{"in": ["a", "b"]}`, `{"glob": "a"}`, yes},
		// True and false.
		{`true`, `true`, yes}, {`true`, `false`, no}, {`false`, `{"not": true}`, yes}, {`{"not": true}`, `false`, yes}, {`{"not": true}`, `{"not": true}`, yes}, {`{"not": true}`, `{"not": false}`, no},
		{`{"in": [true, false]}`, `{"not": false}`, yes}, {`{"in": [true, 1]}`, `{"not": false}`, yes}, {`{"not": {"in": [false, 1]}}`, `{"not": false}`, yes},
		// Globs.
		{`{"glob": "m*"}`, `{"glob": "ma*"}`, yes}, {`{"glob": "ma*"}`, `{"glob": "m*"}`, no}, {`{"glob": "*"}`, `{"glob": "?"}`, yes}, {`"m"`, `{"glob": "m*"}`, no},
		{`{"not": "x"}`, `{"glob": "m*"}`, yes}, {`{"not": {"in": ["x", "main"]}}`, `{"glob": "m*"}`, no}, {`{"not": {"in": ["x", 1]}}`, `{"glob": "m*"}`, yes}, {`{"not": 1}`, `{"glob": "m*"}`, no},
		{`{"not": {"glob": "ma*"}}`, `{"not": {"glob": "m*"}}`, yes}, {`{"not": {"glob": "m*"}}`, `{"not": {"glob": "ma*"}}`, no}, {`{"not": {"glob": "m*"}}`, `{"glob": "m*"}`, no}, {`{"glob": "m*"}`, `{"not": {"glob": "m*"}}`, no},
		{`{"glob": "*"}`, `{"not": {"glob": "m*"}}`, yes}, {`{"glob": "*"}`, `{"not": "m"}`, yes}, {`{"glob": "?*"}`, `{"not": "m"}`, no}, {`{"glob": "*"}`, `{"not": {"in": ["m", 1]}}`, no},
		{`{"not": "main"}`, `{"not": {"glob": "m*"}}`, yes}, {`{"not": "x"}`, `{"not": {"glob": "m*"}}`, no}, {`{"not": {"glob": "m*"}}`, `{"not": "main"}`, no},
		{`{"not": {"glob": "x*"}}`, `{"glob": "m*"}`, no}, // it does cover it; that is not found
		// Ranges.
		{`{"min": 1}`, `{"min": 1}`, yes}, {`{"min": 1}`, `{"min": 2}`, yes}, {`{"min": 2}`, `{"min": 1}`, no}, {`{"max": 2}`, `{"max": 1}`, yes}, {`{"max": 1}`, `{"max": 2}`, no}, {`{"min": 1}`, `{"max": 1}`, no},
		{`{"min": 1, "max": 9}`, `{"min": 1, "max": 9}`, yes}, {`{"min": 1, "max": 9}`, `{"min": 2, "max": 3}`, yes}, {`{"min": 1, "max": 9}`, `{"min": 2}`, no}, {`{"min": 1, "max": 9}`, `{"max": 3}`, no}, {`{"min": 1}`, `{"min": 2, "max": 3}`, yes}, {`{"max": 9}`, `{"min": 2, "max": 3}`, yes},
		{`{"min": 1, "max": 9}`, `{"min": 0, "max": 3}`, no}, {`{"min": 1, "max": 9}`, `{"min": 2, "max": 10}`, no}, {`2`, `{"min": 1, "max": 3}`, no}, {`{"not": {"in": [0, 4]}}`, `{"min": 1, "max": 3}`, yes}, {`{"not": {"in": [0, 3]}}`, `{"min": 1, "max": 3}`, no}, {`{"not": "x"}`, `{"min": 1, "max": 3}`, no},
		{`{"not": {"min": 2, "max": 3}}`, `{"not": {"min": 1, "max": 9}}`, yes}, {`{"not": {"min": 1, "max": 9}}`, `{"not": {"min": 2, "max": 3}}`, no}, {`{"not": {"min": 2}}`, `{"not": {"min": 1}}`, yes}, {`{"not": {"min": 1}}`, `{"not": {"min": 2}}`, no},
		{`{"not": {"min": 2, "max": 3}}`, `{"min": 2, "max": 3}`, no}, {`{"min": 2, "max": 3}`, `{"not": {"min": 2, "max": 3}}`, no}, {`{"not": 5}`, `{"not": {"min": 1, "max": 9}}`, yes}, {`{"not": 5}`, `{"not": {"min": 6, "max": 9}}`, no}, {`{"min": 1}`, `{"not": 5}`, no}, {`{"not": {"min": 4, "max": 6}}`, `{"not": 5}`, no},
		// Negated values.
		{`{"not": 1}`, `{"not": {"in": [1, 2]}}`, yes}, {`{"not": {"in": [1, 2]}}`, `{"not": 1}`, no}, {`{"not": 1}`, `{"not": "x"}`, no}, {`{"not": {"in": [1, "x"]}}`, `{"not": 1}`, yes}, {`{"not": 1}`, `{"not": {"in": [1, "x"]}}`, no},
		{`{"in": [1, 2]}`, `{"not": 3}`, no}, {`1`, `{"not": 1}`, no}, {`"x"`, `{"glob": "m*"}`, no}, {`1`, `{"min": 2}`, no}, {`"x"`, `{"not": {"glob": "x*"}}`, no},
		{`{"not": {"not": 1}}`, `1`, yes},
	} {
		by := ""
		if c.want {
			by = "r0"
		}
		checkShadow(t, []string{`"action": "x", "where": {"v": ` + c.earlier + `}`, `"action": "x", "where": {"v": ` + c.later + `}`}, by)
	}
}

// TestManyCover: of the rules that cover one, those are told that suffice, and
// not so many that the message gets long.
func TestManyCover(t *testing.T) {
	var rules, states []string
	for i := range 40 {
		states = append(states, fmt.Sprintf(`"s%d"`, i))
		rules = append(rules, fmt.Sprintf(`{"id":"to-%d-%s","in":["s%d"],"action":"x","verdict":"allow","next":"s%d"}`, i, strings.Repeat("x", 50), i, (i+1)%40))
	}
	rules = append(rules, `{"id":"r","action":"x","verdict":"allow"}`)
	got := told(t, machine(`"s0"`, `[`+strings.Join(states, ",")+`]`, strings.Join(rules, ",")))
	if !strings.HasPrefix(got, "/rules/40: this rule never decides: all that it applies to is decided before it, by to-0-x") || len(got) > 400 {
		t.Errorf("%s", got)
	}
}
