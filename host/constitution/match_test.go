package constitution

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// pattern is a glob as a regular expression: the reference.
func pattern(glob string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(glob)
	quoted = strings.ReplaceAll(quoted, `\*`, `.*`)
	quoted = strings.ReplaceAll(quoted, `\?`, `.`)
	return regexp.MustCompile(`(?s)\A` + quoted + `\z`)
}

var (
	globs = rapid.StringOfN(rapid.RuneFrom([]rune("aab.é€**?")), 1, 8, -1)
	texts = rapid.StringOfN(rapid.RuneFrom([]rune("aaab.é€\n*?")), 0, 9, -1)
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		glob, text string
		want       bool
	}{
		{"a", "a", true}, {"a", "aa", false}, {"a", "", false}, {"a", "A", false},
		{"*", "", true}, {"*", "a/b.c\nd", true}, {"**", "", true}, {"?", "", false}, {"?", "é", true}, {"??", "é", false}, {"?", "/", true}, {"?", "\n", true},
		{"*.md", ".md", true}, {"*.md", "a.md.md", true}, {"*.md", "a.mdx", false},
		{"a*b*c", "abc", true}, {"a*b*c", "abcbc", true}, {"a*b*c", "acb", false},
		{"*?", "", false}, {"*?", "é", true}, {"?*?", "é", false}, {"?*?", "éé", true},
		{"*é", "èé", true}, {"?é", "é", false}, {"*??xy", "€xy", false}, {"*ab", "aab", true}, {"*a?b*", "aaxb", true},
	} {
		if got := match(c.glob, c.text); got != c.want {
			t.Errorf("%q, %q: %v", c.glob, c.text, got)
		}
	}
	yes := 0
	rapid.Check(t, func(t *rapid.T) {
		glob := globs.Draw(t, "glob")
		re := pattern(glob)
		for range 20 {
			text := texts.Draw(t, "text")
			want := re.MatchString(text)
			if want {
				yes++
			}
			if got := match(glob, text); got != want {
				t.Fatalf("%q, %q: %v", glob, text, got)
			}
		}
	})
	if yes == 0 {
		t.Error("nothing matched")
	}
}

// TestGlobWithin: a glob that is said to cover another matches all that the
// other matches.
func TestGlobWithin(t *testing.T) {
	for _, c := range []struct {
		outer, inner string
		want         bool
	}{
		{"*", "a", true}, {"*", "*", true}, {"*", "**", true}, {"**", "*", true}, {"*", "?*a", true},
		{"a*", "abc", true}, {"a*", "a?*b", true}, {"a*", "*a", false}, {"?", "a", true}, {"?", "?", true}, {"?", "*", false}, {"a", "?", false},
		{"a", "*", false}, {"?*", "*", false}, {"?*", "a*", true}, {"*.md", "docs/*.md", true}, {"docs/*.md", "*.md", false}, {"*a*", "*ba*", true},
		{"??", "é", false}, {"?*", "é*", true}, {"*?", "*", false}, {"é?", "é?", true},
		{"?*", "*a", false}, // it does cover it; that is not found
	} {
		if got, _ := walk(c.outer, c.inner, true); got != c.want {
			t.Errorf("%q covers %q: %v", c.outer, c.inner, got)
		}
	}
	covered := 0
	rapid.Check(t, func(t *rapid.T) {
		outer, inner := globs.Draw(t, "outer"), globs.Draw(t, "inner")
		if ok, _ := walk(inner, inner, true); !ok {
			t.Fatalf("%q does not cover itself", inner)
		}
		if ok, _ := walk(outer, inner, true); !ok {
			return
		}
		covered++
		for range 50 {
			if text := instance(t, inner); !pattern(outer).MatchString(text) {
				t.Fatalf("%q does not cover %q: %q", outer, inner, text)
			}
		}
	})
	if covered == 0 {
		t.Error("no glob covered another")
	}
}

// instance draws a text that a glob matches.
func instance(t *rapid.T, glob string) string {
	var b strings.Builder
	for _, c := range glob {
		switch c {
		case '*':
			b.WriteString(texts.Draw(t, "run"))
		case '?':
			b.WriteRune(rapid.SampledFrom([]rune("ab.é€*?\n")).Draw(t, "one"))
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// TestGlobSteps counts steps where a matcher that tries every star would take
// more than there are atoms.
func TestGlobSteps(t *testing.T) {
	text := strings.Repeat("a", maxAttribute)
	for _, c := range []struct {
		glob string
		most int
	}{
		{strings.Repeat("a*", maxText/2) + "b", len(text) * 3},
		{strings.Repeat("*a", maxText/2) + "*b", len(text) * 3},
		{strings.Repeat("?*", maxText/2) + "b", len(text) * 3},
		{strings.Repeat("*", maxText-1) + "b", len(text) * 3},
		{"*" + strings.Repeat("a", maxText-2) + "b", len(text) * (maxText + 1)},
		{"*" + strings.Repeat("?", maxText-2) + "b", len(text) * (maxText + 1)},
	} {
		ok, steps := walk(c.glob, text, false)
		if ok || steps > c.most {
			t.Errorf("%.12q…: %v in %d steps; at most %d", c.glob, ok, steps, c.most)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		glob, text := globs.Draw(t, "glob"), texts.Draw(t, "text")
		if _, steps := walk(glob, text, rapid.Bool().Draw(t, "within")); steps > (len(glob)+1)*(len(text)+1) {
			t.Fatalf("%q, %q: %d steps", glob, text, steps)
		}
	})
}

// TestWorkIsBounded: documents of which the rules cannot be held against each
// other in time are refused, not taken unproved.
func TestWorkIsBounded(t *testing.T) {
	var globs, lists []string
	for i := range 224 { // each glob of the first half is looked for all along the second
		glob := "*" + strings.Repeat("a", 480) + "b"
		if i >= 112 {
			glob = strings.Repeat("a", 1000)
		}
		globs = append(globs, fmt.Sprintf(`{"id":"r%d","action":"x","name":%q,"where":{"w":%d},"verdict":"allow"}`, i, glob, i))
	}
	var values []string
	for i := range 100 {
		values = append(values, fmt.Sprintf("%q", strings.Repeat("a", 900)+fmt.Sprint(i)))
		lists = append(lists, fmt.Sprintf(`{"id":"r%d","action":"x","where":{"v":{"glob":"*%s*"},"w":%d},"verdict":"allow"}`, i, strings.Repeat("a", 900), i))
	}
	lists = append(lists, `{"id":"last","action":"x","where":{"v":{"in":[`+strings.Join(values, ",")+`]},"w":"x"},"verdict":"allow"}`)
	for name, rules := range map[string][]string{"globs": globs, "lists": lists} {
		_, problems := Parse([]byte(`{"name":"n","version":1,"initial":"a","states":["a"],"rules":[` + strings.Join(rules, ",") + `]}`))
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Pointer, "/rules/") || problems[0].Message != "the rules up to here are too long to be held against each other" {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// TestNumbers holds the bounds, and the fraction that stands for a number,
// against exact arithmetic.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		raw string
		ok  bool
	}{
		{"0", true}, {"-0", true}, {"-0.0e-0", true}, {"1e400", true}, {"1e401", false}, {"1E-400", true}, {"1e-401", false}, {"1E401", false}, {"1E99999999", false}, {"0e+0400", true}, {"0e401", false},
		{"1e99999999999999999999", false}, {"-1e-9223372036854775808", false}, {"1e-9223372036854775809", false},
		{strings.Repeat("9", 512), true}, {strings.Repeat("9", 513), false}, {"0." + strings.Repeat("0", 510), true}, {"0." + strings.Repeat("0", 511), false},
	} {
		v, ok := valueOf(jsontext.Value(c.raw))
		if ok != c.ok || v.is != isNumber {
			t.Errorf("%.40s: %v", c.raw, ok)
		}
	}
	numbers := rapid.StringMatching(`-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := numbers.Draw(t, "a"), numbers.Draw(t, "b")
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		v, _ := valueOf(jsontext.Value(a))
		w, _ := valueOf(jsontext.Value(b))
		if (x.Cmp(y) == 0) != v.equal(w) || v.number.Cmp(w.number) != x.Cmp(y) {
			t.Fatalf("%s is %+v, %s is %+v", a, v, b, w)
		}
	})
}
