package constitution_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carl.camp/carl/host/constitution"
	"pgregory.net/rapid"
)

// reference decides by the document as encoding/json reads it: nothing is
// compiled, globs are regular expressions, and all rules of all states are tried.
type reference struct {
	rules []any
	globs map[string]*regexp.Regexp
}

func newReference(t fataler, doc string) *reference {
	t.Helper()
	return &reference{rules: decode(t, doc)["rules"].([]any), globs: map[string]*regexp.Regexp{}}
}

func decode(t fataler, text string) (out map[string]any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

func (r *reference) glob(glob, text string) bool {
	if r.globs[glob] == nil {
		quoted := strings.ReplaceAll(strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`), `\?`, `.`)
		r.globs[glob] = regexp.MustCompile(`(?s)\A` + quoted + `\z`)
	}
	return r.globs[glob].MatchString(text)
}

func (r *reference) decide(state string, action map[string]any) constitution.Decision {
	name, _ := action["name"].(string)
	attributes, _ := action["attributes"].(map[string]any)
	for _, entry := range r.rules {
		rule := entry.(map[string]any)
		if in, ok := rule["in"].([]any); ok && !slices.Contains(in, any(state)) {
			continue
		}
		if !r.glob(rule["action"].(string), action["kind"].(string)) {
			continue
		}
		if glob, ok := rule["name"].(string); ok && !r.glob(glob, name) {
			continue
		}
		where, _ := rule["where"].(map[string]any)
		all := true
		for attribute, m := range where {
			v, there := attributes[attribute]
			all = all && there && r.says(m, v) == "yes"
		}
		if !all {
			continue
		}
		to, ok := rule["next"].(string)
		if !ok {
			to = state
		}
		return constitution.Decision{Verdict: constitution.Verdict(rule["verdict"].(string)), Rule: rule["id"].(string), From: state, To: to}
	}
	return constitution.Decision{Verdict: "deny", Rule: "default", From: state, To: state}
}

// says is yes, no or nothing.
func (r *reference) says(m, v any) string {
	o, ok := m.(map[string]any)
	if !ok {
		o = map[string]any{"in": []any{m}}
	}
	if m, ok := o["equals"]; ok {
		o = map[string]any{"in": []any{m}}
	}
	answer := func(ok bool) string {
		if ok {
			return "yes"
		}
		return "no"
	}
	switch {
	case o["not"] != nil:
		return map[string]string{"yes": "no", "no": "yes", "nothing": "nothing"}[r.says(o["not"], v)]
	case o["in"] != nil:
		out := "nothing"
		for _, w := range o["in"].([]any) {
			switch w := w.(type) {
			case string:
				if v, ok := v.(string); ok && out != "yes" {
					out = answer(v == w)
				}
			case bool:
				if v, ok := v.(bool); ok && out != "yes" {
					out = answer(v == w)
				}
			case json.Number:
				if v, ok := v.(json.Number); ok && out != "yes" {
					out = answer(rat(v).Cmp(rat(w)) == 0)
				}
			}
		}
		return out
	case o["glob"] != nil:
		if v, ok := v.(string); ok {
			return answer(r.glob(o["glob"].(string), v))
		}
		return "nothing"
	}
	n, ok := v.(json.Number)
	if !ok {
		return "nothing"
	}
	inside := true
	if lo, ok := o["min"].(json.Number); ok {
		inside = inside && rat(n).Cmp(rat(lo)) >= 0
	}
	if hi, ok := o["max"].(json.Number); ok {
		inside = inside && rat(n).Cmp(rat(hi)) <= 0
	}
	return answer(inside)
}

func rat(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic(n)
	}
	return r
}

// What is drawn is drawn from so little that rules meet, cover and contradict
// each other all the time.
var (
	drawnGlob   = rapid.StringOfN(rapid.RuneFrom([]rune("ab.**?")), 1, 4, -1)
	drawnText   = rapid.StringOfN(rapid.RuneFrom([]rune("aab.é*?")), 1, 5, -1)
	drawnNumber = rapid.SampledFrom([]string{"0", "1", "1.0", "2", "25e-1", "3", "-1"})
	drawnScalar = rapid.OneOf(
		rapid.SampledFrom([]string{`"a"`, `"b"`, `"ab"`, `"a.b"`, "true", "false"}),
		drawnNumber,
	)
	drawnValue = rapid.OneOf(
		drawnScalar, drawnScalar,
		rapid.Map(drawnText, strconv.Quote),
		rapid.SampledFrom([]string{`null`, `["a"]`, `{"a": 1}`, `1.5`, `9007199254740993`, `-1e-30`, `1e30`}),
	)
	states = []string{"s0", "s1", "s2"}
)

func drawMatcher(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 8).Draw(t, "matcher")
	switch {
	case kind == 0:
		return drawnScalar.Draw(t, "scalar")
	case kind == 1:
		return `{"equals": ` + drawnScalar.Draw(t, "scalar") + `}`
	case kind == 2:
		return `{"glob": ` + strconv.Quote(drawnGlob.Draw(t, "glob")) + `}`
	case kind == 3:
		return `{"min": ` + drawnNumber.Draw(t, "min") + `}`
	case kind == 4:
		return `{"max": ` + drawnNumber.Draw(t, "max") + `}`
	case kind == 5:
		return `{"min": ` + drawnNumber.Draw(t, "min") + `, "max": ` + drawnNumber.Draw(t, "max") + `}`
	case kind == 6:
		return rapid.SampledFrom([]string{`{"not": {"glob": "**"}}`, `{"not": {"in": [true, false]}}`, `{"glob": "*"}`, `{"in": [true, false]}`}).Draw(t, "all or nothing")
	case kind == 7 || depth == 0:
		return `{"in": [` + strings.Join(rapid.SliceOfNDistinct(drawnScalar, 1, 4, func(s string) string { return strings.TrimSuffix(s, ".0") }).Draw(t, "in"), ", ") + `]}`
	}
	return `{"not": ` + drawMatcher(t, depth-1) + `}`
}

func drawRule(t *rapid.T, id string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"id": %q, "action": %q, "verdict": %q`, id, drawnGlob.Draw(t, "action"), rapid.SampledFrom([]string{"allow", "deny", "escalate"}).Draw(t, "verdict"))
	if in := rapid.SliceOfNDistinct(rapid.SampledFrom(states), 0, 3, rapid.ID).Draw(t, "in"); len(in) > 0 {
		fmt.Fprintf(&b, `, "in": ["%s"]`, strings.Join(in, `", "`))
	}
	if rapid.Bool().Draw(t, "named") {
		fmt.Fprintf(&b, `, "name": %q`, drawnGlob.Draw(t, "name"))
	}
	var where []string
	for _, attribute := range []string{"v", "w"} {
		if rapid.Bool().Draw(t, "looks") {
			where = append(where, fmt.Sprintf(`%q: %s`, attribute, drawMatcher(t, 3)))
		}
	}
	if len(where) > 0 {
		b.WriteString(`, "where": {` + strings.Join(where, ", ") + `}`)
	}
	if rapid.Bool().Draw(t, "moves") {
		fmt.Fprintf(&b, `, "next": %q`, rapid.SampledFrom(states).Draw(t, "next"))
	}
	return b.String() + "}"
}

// drawRules draws rules, after two that reach every state.
func drawRules(t *rapid.T) []string {
	rules := []string{
		`{"id": "up", "in": ["s0"], "action": "up", "verdict": "allow", "next": "s1"}`,
		`{"id": "on", "in": ["s1"], "action": "on", "verdict": "allow", "next": "s2"}`,
	}
	for i := range rapid.IntRange(1, 7).Draw(t, "rules") {
		rules = append(rules, drawRule(t, fmt.Sprintf("r%d", i)))
	}
	return rules
}

func threeStates(rules []string) string {
	return machine(`"s0"`, `["s0", "s1", "s2"]`, strings.Join(rules, ",\n"))
}

// drawAction draws an action; mostly one that some rule is about.
func drawAction(t *rapid.T, rules []string) string {
	rule := decode(t, rapid.SampledFrom(rules).Draw(t, "about"))
	text := func(glob any) string {
		g, ok := glob.(string)
		if !ok || rapid.IntRange(0, 4).Draw(t, "other") == 0 {
			return drawnText.Draw(t, "text")
		}
		var b strings.Builder
		for _, c := range g {
			switch c {
			case '*':
				b.WriteString(rapid.SampledFrom([]string{"", "", "a", "b.", "é*", "?"}).Draw(t, "run"))
			case '?':
				b.WriteString(rapid.SampledFrom([]string{"a", "b", "é", "*"}).Draw(t, "one"))
			default:
				b.WriteRune(c)
			}
		}
		return b.String()
	}
	kind := text(rule["action"])
	if kind == "" {
		kind = "a"
	}
	out := fmt.Sprintf(`{"kind": %q`, kind)
	if name := text(rule["name"]); name != "" {
		out += fmt.Sprintf(`, "name": %q`, name)
	}
	var attributes []string
	for _, attribute := range []string{"v", "w"} {
		if rapid.IntRange(0, 3).Draw(t, "has") > 0 {
			attributes = append(attributes, fmt.Sprintf(`%q: %s`, attribute, drawnValue.Draw(t, attribute)))
		}
	}
	return out + `, "attributes": {` + strings.Join(attributes, ", ") + `}}`
}

// TestEvaluateAgainstReference leaves out the rules that Parse refuses, holds
// the decisions about the others against the reference, and the refusals too: a
// rule that is said never to decide, or a matcher that nothing is said to
// match, does not decide in the reference either, where all rules are left.
func TestEvaluateAgainstReference(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		doc := threeStates(rules)
		never, empty := map[string]bool{}, map[string]bool{}
		_, problems := constitution.Parse([]byte(doc))
		for _, p := range problems {
			index := strings.Split(p.Pointer, "/")[2]
			i, err := strconv.Atoi(index)
			if err != nil {
				t.Fatalf("%s\n%v", doc, p)
			}
			id := fmt.Sprintf("r%d", i-2)
			switch {
			case strings.HasPrefix(p.Message, "this rule never decides"):
				seen["shadowed"]++
				never[id] = true
			case p.Message == "nothing can match this":
				seen[p.Message]++
				never[id] = true
			case p.Message == "min is greater than max": // which a not may turn into all numbers
				empty[id] = true
			default:
				t.Fatalf("%s\n%v", doc, p)
			}
		}
		without := func(ids map[string]bool, rules []string) []string {
			return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return ids[decode(t, r)["id"].(string)] })
		}
		rules = without(empty, rules)
		c := parse(t, threeStates(without(never, rules)))
		all, some := newReference(t, threeStates(rules)), newReference(t, threeStates(without(never, rules)))
		for range 40 {
			text := drawAction(t, rules)
			a := action(t, text)
			for _, state := range states {
				got, err := c.Evaluate(state, a)
				if err != nil {
					t.Fatal(err)
				}
				want := some.decide(state, decode(t, text))
				if got != want {
					t.Fatalf("%s\nin %s: %s\n got %+v\nwant %+v", doc, state, text, got, want)
				}
				if d := all.decide(state, decode(t, text)); never[d.Rule] || d != want {
					t.Fatalf("%s\nin %s: %s\nis decided by %s, which Parse refused: %v", doc, state, text, d.Rule, problems)
				}
				if got.Rule != constitution.DefaultRule {
					seen["decided"]++
				} else {
					seen["default"]++
				}
			}
		}
	})
	for _, what := range []string{"shadowed", "nothing can match this", "decided", "default"} {
		if seen[what] == 0 {
			t.Errorf("never seen: %s (%v)", what, seen)
		}
	}
}

// TestCoverOfMatchers: where a rule is said to be covered by one that differs in
// one matcher alone, that matcher says yes to all that the other says yes to.
func TestCoverOfMatchers(t *testing.T) {
	covered := 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			earlier, later := drawMatcher(t, 2), drawMatcher(t, 2)
			rules := []string{
				`{"id": "r", "action": "x", "where": {"v": ` + earlier + `}, "verdict": "allow"}`,
				`{"id": "s", "action": "x", "where": {"v": ` + later + `}, "verdict": "allow"}`,
			}
			if !strings.HasPrefix(told(t, document(rules...)), "/rules/3: this rule never decides") {
				continue
			}
			covered++
			e, l := decode(t, rules[0])["where"].(map[string]any)["v"], decode(t, rules[1])["where"].(map[string]any)["v"]
			r := newReference(t, `{"rules": []}`)
			for range 30 {
				v := decode(t, `{"v": `+drawnValue.Draw(t, "value")+`}`)["v"]
				if r.says(l, v) == "yes" && r.says(e, v) != "yes" {
					t.Fatalf("%s does not cover %s: %v", earlier, later, v)
				}
			}
		}
	})
	if covered == 0 {
		t.Error("no matcher covered another")
	}
}

// TestCopiesAreShadowed: a rule that stands twice, or a second time with one
// condition more, is found.
func TestCopiesAreShadowed(t *testing.T) {
	copies := 0
	rapid.Check(t, func(t *rapid.T) {
		rule := drawRule(t, "r")
		first := []string{
			`{"id": "up", "in": ["s0"], "action": "up", "verdict": "allow", "next": "s1"}`,
			`{"id": "on", "in": ["s1"], "action": "on", "verdict": "allow", "next": "s2"}`, rule,
		}
		if told(t, threeStates(first)) != "" {
			return
		}
		copies++
		second := decode(t, rule)
		second["id"] = "s"
		if rapid.Bool().Draw(t, "narrower") {
			where, _ := second["where"].(map[string]any)
			if where == nil {
				where = map[string]any{}
			}
			where["x"] = 1
			second["where"] = where
		}
		text, err := json.Marshal(second)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := told(t, threeStates(append(first, string(text)))), "/rules/3: this rule never decides: all that it applies to is decided before it, by r"; got != want {
			t.Fatalf("%s\n%s\n%q", rule, text, got)
		}
	})
	if copies == 0 {
		t.Error("no rule was right")
	}
}

// TestReachedStates holds what is told of states against a walk over the graph
// as the document has it.
func TestReachedStates(t *testing.T) {
	lost := 0
	rapid.Check(t, func(t *rapid.T) {
		var rules []string
		edges := map[[2]string]bool{}
		for i := range rapid.IntRange(0, 8).Draw(t, "rules") {
			from, to := rapid.SliceOfNDistinct(rapid.SampledFrom(states), 0, 2, rapid.ID).Draw(t, "in"), rapid.SampledFrom(states).Draw(t, "next")
			in := ""
			if len(from) > 0 {
				in = `"in": ["` + strings.Join(from, `", "`) + `"], `
			} else {
				from = states
			}
			for _, f := range from {
				edges[[2]string{f, to}] = true
			}
			rules = append(rules, fmt.Sprintf(`{%s"id": "r%d", "action": "x%d", "verdict": "allow", "next": %q}`, in, i, i, to))
		}
		reached := map[string]bool{"s0": true}
		for range states {
			for e := range edges {
				reached[e[1]] = reached[e[1]] || reached[e[0]]
			}
		}
		var want []string
		for i, s := range states {
			if !reached[s] {
				lost++
				want = append(want, fmt.Sprintf("/states/%d: no rule leads to this state", i))
			}
		}
		if got := told(t, threeStates(rules)); got != strings.Join(want, "\n") {
			t.Fatalf("%v\n%s", rules, got)
		}
	})
	if lost == 0 {
		t.Error("every state was reached")
	}
}

// TestDigestOfAnySpelling writes drawn documents in another order and with
// other white space.
func TestDigestOfAnySpelling(t *testing.T) {
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		doc := threeStates([]string{
			`{"id": "up", "in": ["s0"], "action": "up", "verdict": "allow", "next": "s1"}`,
			`{"id": "on", "in": ["s1"], "action": "on", "verdict": "allow", "next": "s2"}`, drawRule(t, "r"),
		})
		c, problems := constitution.Parse([]byte(doc))
		if problems != nil {
			return
		}
		compared++
		again := parse(t, shuffled(t, decode(t, doc)))
		if again.Digest() != c.Digest() || again.Initial() != c.Initial() || again.Version() != c.Version() {
			t.Fatalf("%s\n%s\n%s", doc, c.Digest(), again.Digest())
		}
	})
	if compared == 0 {
		t.Error("no document was right")
	}
}

func shuffled(t *rapid.T, v any) string {
	space := func() string { return rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "space") }
	var parts []string
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range v {
				if !yield(name) {
					return
				}
			}
		})
		for _, name := range rapid.Permutation(names).Draw(t, "order") {
			parts = append(parts, space()+strconv.Quote(name)+space()+":"+shuffled(t, v[name]))
		}
		return "{" + strings.Join(parts, ",") + space() + "}"
	case []any:
		for _, e := range v {
			parts = append(parts, shuffled(t, e))
		}
		return "[" + strings.Join(parts, ",") + space() + "]"
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return space() + string(text) + space()
}
