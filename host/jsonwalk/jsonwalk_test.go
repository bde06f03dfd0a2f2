package jsonwalk

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// TestMembers takes objects apart, and refuses what is not exactly one.
func TestMembers(t *testing.T) {
	var got []string
	ok := Members([]byte(` {"a":1, "A":{"b":[true,null]},"":"x","\u00e9":2} `), func(name string, v jsontext.Value) bool {
		got = append(got, name+"="+string(v))
		return true
	})
	if want := `a=1|A={"b":[true,null]}|=x|é=2`; !ok || strings.ReplaceAll(strings.Join(got, "|"), `"x"`, "x") != want {
		t.Errorf("%v, %q", ok, got)
	}
	all := func(string, jsontext.Value) bool { return true }
	for _, bad := range []string{
		``, ` `, `null`, `1`, `"a"`, `[]`, `["a",1]`, `{`, `}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1`, `{a:1}`, `{"a":1}x`, `{"a":1} {}`, `{"a":1}null`,
		`{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `{"b":{"a":1,"a":2}}`, `{"b":[{"a":1,"a":2}]}`, "{\"a\":\"\xff\"}", "{\"\xff\":1}", "{\"a\":\"\n\"}", `{"a":01}`, `{"a":"\ud800"}`,
		"\ufeff{}", "{}\x00",
	} {
		if Members([]byte(bad), all) {
			t.Errorf("%q was taken for an object", bad)
		}
	}
	calls := 0
	if Members([]byte(`{"a":1,"b":2}`), func(string, jsontext.Value) bool { calls++; return false }) || calls != 1 {
		t.Errorf("it went on after a refusal: %d", calls)
	}
}

// TestElements takes arrays apart, and refuses what is not exactly one.
func TestElements(t *testing.T) {
	var got []string
	ok := Elements([]byte(`[1,"a",{"b":2},[]]`), func(v jsontext.Value) bool { got = append(got, string(v)); return true })
	if !ok || strings.Join(got, "|") != `1|"a"|{"b":2}|[]` {
		t.Errorf("%v, %q", ok, got)
	}
	for _, bad := range []string{``, `{}`, `{"a":1}`, `1`, `[`, `[1`, `[1,]`, `[,]`, `[1 2]`, `[1]]`, `[1][2]`, `[{"a":1,"a":2}]`, "[\"\xff\"]"} {
		if Elements([]byte(bad), func(jsontext.Value) bool { return true }) {
			t.Errorf("%q was taken for an array", bad)
		}
	}
	calls := 0
	if Elements([]byte(`[1,2]`), func(jsontext.Value) bool { calls++; return false }) || calls != 1 {
		t.Errorf("it went on after a refusal: %d", calls)
	}
}

// TestText reads strings, and nothing else.
func TestText(t *testing.T) {
	var s string
	if !Text(jsontext.Value(`"a\u00e9\n"`), &s) || s != "aé\n" {
		t.Errorf("%q", s)
	}
	for _, bad := range []string{``, `1`, `null`, `true`, `["a"]`, `{"a":1}`} {
		if Text(jsontext.Value(bad), &s) {
			t.Errorf("%q was taken for text", bad)
		}
	}
}
