package redact

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"carl.camp/carl/host/step"
)

// hostileTexts are JSON texts of 1 MiB full of what rules begin with.
func hostileTexts() map[string][]byte {
	texts := map[string][]byte{}
	for name, part := range map[string]string{
		"dashes": "sk-", "jwt": "-eyJ", "jwt parts": "-eyJabcdefghij.", "pem": "-----BEGIN PRIVATE KEY-----", "pem heads": "-----BEGIN ", "urls": "://a:", "at": "://@",
		"queries": "?a=%41", "queries with names": "&api_key=", "assignments": "key=", "names": "password", "long names": "my-secret-key-", "bearer": "Bearer ", "basic": "Basic aa",
		"headers": "authorization: a ", "cookies": "cookie:", "xox": "xoxb-", "literal": "correct-horse-", "markers": "[redacted:", "telegram": "12345678:AA",
		"brackets": "[[", "quotes": `\"`, "escapes": `\u0068`, "flags": "--token ",
	} {
		texts[name] = []byte(`{"a":"` + strings.Repeat(part, step.MaxLine/len(part)-2) + `"}`)
	}
	var members strings.Builder
	for i := 0; members.Len() < step.MaxLine-100; i++ {
		fmt.Fprintf(&members, `"%s%d":1,`, fake("ghp"+"_", 36), i)
	}
	texts["members"] = []byte(`{` + members.String() + `"x":1}`)
	nested := `{"a":"b"}`
	for len(nested) < step.MaxLine/3 {
		nested = `{"a":` + quote(nested) + `}`
	}
	texts["nested"] = []byte(nested)
	return texts
}

func TestHostileTexts(t *testing.T) {
	r := testRedactor()
	texts := hostileTexts()
	if len(texts) == 0 {
		t.Fatal("there is nothing to try")
	}
	for name, text := range texts {
		out := r.JSON(text)
		if !jsontext.Value(out).IsValid() {
			t.Errorf("%s: not valid JSON", name)
		}
	}
}

// anyText draws texts with something in them that rules care about.
func anyText(t *rapid.T, secrets []string) string {
	var b strings.Builder
	for range rapid.IntRange(0, 5).Draw(t, "parts") {
		switch rapid.IntRange(0, 6).Draw(t, "part") {
		case 0:
			b.WriteString(rapid.String().Draw(t, "text"))
		case 1:
			b.WriteString(rapid.SampledFrom(secrets).Draw(t, "secret"))
		case 2:
			b.WriteString(rapid.SampledFrom(rules).Draw(t, "rule").heads[0])
		case 3:
			b.WriteString(rapid.SampledFrom([]string{" ", "\n", "\"", "\\", "=", ": ", "&", "?", "://", "@", "[redacted:", "]", "[redacted:key]", "Bearer ", "{", "}", "-", "_"}).Draw(t, "sign"))
		case 4:
			b.WriteString(rapid.SampledFrom([]string{"api_key", "password", "Authorization", "cookie", "token", "--secret", "max_tokens"}).Draw(t, "name"))
		case 5:
			b.WriteString(rapid.SampledFrom(tokens()).Draw(t, "token").secret)
		default:
			b.WriteString(fake("", rapid.IntRange(0, 40).Draw(t, "length")))
		}
	}
	return b.String()
}

func anyJSON(t *rapid.T, secrets []string, depth int) string {
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "12", "-1.5e3", "20457813", "1204578130"}).Draw(t, "scalar")
	case 1:
		if depth > 0 {
			var parts []string
			for range rapid.IntRange(0, 3).Draw(t, "length") {
				parts = append(parts, anyJSON(t, secrets, depth-1))
			}
			return "[" + strings.Join(parts, ", ") + "]"
		}
	case 2:
		if depth > 0 {
			var parts []string
			seen := map[string]bool{}
			for range rapid.IntRange(0, 3).Draw(t, "length") {
				if name := anyText(t, secrets); !seen[name] {
					seen[name] = true
					parts = append(parts, spell(t, name)+" :"+anyJSON(t, secrets, depth-1))
				}
			}
			return "{" + strings.Join(parts, ",") + "}"
		}
	case 3:
		if depth > 0 {
			return spell(t, anyJSON(t, secrets, depth-1))
		}
	}
	return spell(t, anyText(t, secrets))
}

func spell(t *rapid.T, s string) string {
	if rapid.IntRange(0, 3).Draw(t, "spelling") == 0 {
		return everyEscaped(strings.ToValidUTF8(s, "?"))
	}
	return quote(strings.ToValidUTF8(s, "?"))
}

func TestLiteralsNeverSurvive(t *testing.T) {
	r := testRedactor()
	rapid.Check(t, func(t *rapid.T) {
		text := anyJSON(t, literals, 4)
		if !jsontext.Value(text).IsValid() {
			t.Fatalf("the test made no JSON: %s", text)
		}
		once := string(r.JSON([]byte(text)))
		if !jsontext.Value(once).IsValid() {
			t.Fatalf("not valid JSON:\n%s\n%s", text, once)
		}
		plain := unquoted(once)
		for _, l := range literals {
			if strings.Contains(once, l) || strings.Contains(plain, l) {
				t.Fatalf("the literal %q is left:\n%s\n%s", l, text, once)
			}
		}
		if twice := string(r.JSON([]byte(once))); twice != once {
			t.Fatalf("changed the second time:\n%s\n%s\n%s", text, once, twice)
		}
	})
}

func TestStringsAreRedactedOnceAndForAll(t *testing.T) {
	r := testRedactor()
	rapid.Check(t, func(t *rapid.T) {
		text := anyText(t, literals)
		once := r.String(text)
		for _, l := range literals {
			if strings.Contains(once, l) {
				t.Fatalf("the literal %q is left: %q became %q", l, text, once)
			}
		}
		if twice := r.String(once); twice != once {
			t.Fatalf("changed the second time:\n%q\n%q\n%q", text, once, twice)
		}
	})
}

func TestStepsAreRedactedOnceAndForAll(t *testing.T) {
	r := testRedactor()
	rapid.Check(t, func(t *rapid.T) {
		text := func() string { return strings.ToValidUTF8(anyText(t, literals), "?") }
		s := step.Step{
			Action: step.ToolCall, Name: cut("n"+text(), step.MaxName), Time: time.Unix(1, 2).UTC(), Session: text(), Trace: text(), Parent: text(),
			Input: []byte(anyJSON(t, literals, 3)), Output: []byte(anyJSON(t, literals, 3)), Metadata: []byte(anyJSON(t, literals, 2)),
			ChannelCoherence: []byte(`{` + quote(text()) + `:20457813}`),
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("the test made no step: %v", err)
		}
		before := s.AppendJSON(nil)
		r.Step(&s)
		once := s.AppendJSON(nil)
		if _, err := step.Decode(once); err != nil {
			t.Fatalf("the redacted step is not legal: %v\n%s\n%s", err, before, once)
		}
		for _, l := range literals {
			if strings.Contains(string(once), l) || strings.Contains(unquoted(string(once)), l) {
				t.Fatalf("the literal %q is left:\n%s\n%s", l, before, once)
			}
		}
		if r.Step(&s); !bytes.Equal(once, s.AppendJSON(nil)) {
			t.Fatalf("changed the second time:\n%s\n%s\n%s", before, once, s.AppendJSON(nil))
		}
	})
}

func FuzzJSON(f *testing.F) {
	r := testRedactor()
	n := 0
	for _, c := range tokens() {
		f.Add([]byte(`{"a":` + quote("x "+c.secret) + `}`))
		n++
	}
	for _, s := range []string{`{"api_key":"x"}`, `{"a":"[redacted:key]"}`, `["{\"password\":1}"]`, `"\ud83d\ude42 hunter2hunter2"`, `{"a":"?key=1&b=%41"}`, `"Cookie: a=b`, `20457813`} {
		f.Add([]byte(s))
		n++
	}
	if n == 0 {
		f.Fatal("the seed corpus is empty")
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		once := r.JSON(text)
		if !bytes.Equal(before, text) {
			t.Fatalf("the input was written to: %q", before)
		}
		if jsontext.Value(before).IsValid() {
			if !jsontext.Value(once).IsValid() {
				t.Fatalf("not valid JSON: %q became %q", before, once)
			}
			for _, l := range literals[3:] {
				if bytes.Contains(once, []byte(l)) {
					t.Fatalf("the literal %q is left: %q became %q", l, before, once)
				}
			}
		}
		if twice := r.JSON(once); !bytes.Equal(once, twice) {
			t.Fatalf("changed the second time: %q became %q, then %q", before, once, twice)
		}
		r.String(string(before))
	})
}
