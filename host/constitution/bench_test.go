package constitution_test

import (
	"fmt"
	"strings"
	"testing"

	"carl.camp/carl/host/constitution"
)

// Sinks keep the compiler from leaving the work out.
var (
	decision constitution.Decision
	parsed   *constitution.Constitution
	done     constitution.Action
)

// TestEvaluateAllocates: nothing, but for ranges, which take exact arithmetic.
func TestEvaluateAllocates(t *testing.T) {
	c := parse(t, document(
		`{"id": "r", "action": "r*", "name": "*.md", "verdict": "allow"}`,
		`{"id": "s", "action": "s*", "where": {"v": {"glob": "x*"}, "w": {"not": {"in": [1, 2.5, true]}}}, "verdict": "allow"}`,
		`{"id": "t", "action": "t*", "where": {"v": {"min": 1, "max": 9}}, "verdict": "allow"}`,
	))
	for _, test := range []struct {
		rule, action string
		most         float64
	}{
		{"r", `{"kind": "read", "name": "docs/x.md", "attributes": {"v": "xyz"}}`, 0},
		{"s", `{"kind": "say", "attributes": {"v": "xyz", "w": 3}}`, 0},
		{"default", `{"kind": "unheard-of", "attributes": {"v": "xyz", "w": 3}}`, 0},
		{"t", `{"kind": "tell", "attributes": {"v": 2.5}}`, 8},
	} {
		a := action(t, test.action)
		if got := testing.AllocsPerRun(100, func() { decision, _ = c.Evaluate("a", a) }); got > test.most || decision.Rule != test.rule {
			t.Errorf("%s: %v allocations, decided by %s", test.action, got, decision.Rule)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	const rules = 100
	var plain, looking []string
	for i := range rules {
		plain = append(plain, fmt.Sprintf(`{"id": "r%d", "action": "kind-%d.*", "name": "*.f%d", "verdict": "allow"}`, i, i, i))
		looking = append(looking, fmt.Sprintf(`{"id": "r%d", "action": "x", "where": {"v": {"min": %d, "max": %d}, "w": {"glob": "*/%d"}}, "verdict": "allow"}`, i, i, i+1, i))
	}
	for _, bench := range []struct {
		name, doc, action string
	}{
		{"first rule", document(plain...), `{"kind": "go.b"}`},
		{"rule 100", document(plain...), `{"kind": "kind-99.x", "name": "docs/a.f99"}`},
		{"default after 100", document(plain...), `{"kind": "something.else", "name": "docs/a.md"}`},
		{"globs and ranges, rule 100", document(looking...), `{"kind": "x", "attributes": {"v": 99.5, "w": "a/b/99"}}`},
		{"one value", where(`{"v": "main", "w": {"not": 3}}`), `{"kind": "x", "attributes": {"v": "main", "w": 4}}`},
		{"one range", where(`{"v": {"min": 1, "max": 500}}`), `{"kind": "x", "attributes": {"v": 12}}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c, a := parse(b, bench.doc), action(b, bench.action)
			b.ReportAllocs()
			for b.Loop() {
				decision, _ = c.Evaluate("a", a)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 100, 1024} {
		var rules []string
		for i := range n {
			rules = append(rules, fmt.Sprintf(`{"id":"r%d","in":["a"],"action":"kind-%d.*","name":"*.f%d","where":{"v":{"max":%d}},"verdict":"allow"}`, i, i, i, i))
		}
		doc := []byte(machine(`"a"`, `["a"]`, strings.Join(rules, ",")))
		b.Run(fmt.Sprint(n, " rules"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parsed, _ = constitution.Parse(doc)
			}
		})
	}
}

func BenchmarkParseAction(b *testing.B) {
	text := []byte(`{"kind": "write.file", "name": "host/host.go", "attributes": {"lines": 12, "branch": "topic"}, "payload": {"text": "` + strings.Repeat("x", 1000) + `"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		done, _ = constitution.ParseAction(text)
	}
}
