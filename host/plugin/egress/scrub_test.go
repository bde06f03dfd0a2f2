package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

func scrubberFor(values ...string) scrubber {
	var s scrubber
	for _, v := range values {
		s.needles = append(s.needles, needle{value: v, forms: forms(v, "{}")})
	}
	return s
}

func TestScrubLeavesCleanTextAlone(t *testing.T) {
	s := scrubberFor("s3cret-value", "another")
	clean := []byte(`{"a":"b\n\u00e9","c":"100%","d":"x&y;"}`)
	if got := s.scrub(clean); &got[0] != &clean[0] {
		t.Errorf("got %q", got)
	}
	if got := (scrubber{}).scrub(clean); &got[0] != &clean[0] {
		t.Errorf("without secrets: got %q", got)
	}
	if got := s.scrub(nil); got != nil {
		t.Errorf("nothing became %q", got)
	}
}

func TestScrubEdges(t *testing.T) {
	for _, c := range []struct{ secret, text, want string }{
		{"abcdefgh", "abcdefgh", marker},
		{"abcdefgh", "xabcdefghx", "x" + marker + "x"},
		{"abcdefgh", "abcdefghabcdefgh", marker},
		{"abcdefgh", "abcdefgh abcdefgh", marker + " " + marker},
		{"abcdefgh", "abcdefg", "abcdefg"},
		{"abababab", "abababababx", marker + "x"},
		{"a", "bab", "b" + marker + "b"},
		{"abcdefgh", `\u0061\u0062cdefg%68`, marker},
		{"abcdefgh", `%2561bcdefgh`, marker},
		{"abcdefgh", `%252561bcdefgh`, marker},
		{"abcdefgh", `\\\\u0061bcdefgh`, marker},
		{"abc%41def", "abc%41def", marker},
		{"abc%41def", "abc%2541def", marker},
		{`0%0000"0`, `0%0000\"0`, marker},
		{`a%41"b&lt;`, `a%2541%22b%26lt;`, marker},
		{`a%41"b&lt;`, `https:\/\/x\/?a%2541%22b%26lt;`, `https:\/\/x\/?` + marker},
		{`a%41"b&lt;`, `{\"x\":\"a%41\\\"b&lt;\"}`, `{\"x\":\"` + marker + `\"}`},
		{"ab cdefgh", "ab+cdefgh", marker},
		{"ab cdefgh", "ab%20cdefgh", marker},
		{`ab"c\d`, `"ab\"c\\d"`, `"` + marker + `"`},
		{"nabcdefgh", `x\nabcdefgh`, `x` + marker},
		{"nabcdefgh", `x\\nabcdefgh`, `x\\` + marker},
		{"abcdefgh", "%", "%"},
		{"abcdefgh", `\`, `\`},
		{"abcdefgh", "&", "&"},
		{"abcdefgh", "&#x61;bcdefgh&#;&#x;&#999;&#xg;", marker + "&#;&#x;&#999;&#xg;"},
	} {
		if got := scrubberFor(c.secret).scrubString(c.text); got != c.want {
			t.Errorf("%q in %q: got %q, want %q", c.secret, c.text, got, c.want)
		}
	}
}

// The characters of base64 that a secret shares with its neighbours go too.
func TestScrubLeavesNoBitsInBase64(t *testing.T) {
	const secret = "s3cret-value-1"
	for _, c := range []struct {
		before, after       string
		keepFront, keepBack int
	}{
		{"", "", 0, 0}, {"x", "", 1, 0}, {"xy", "", 2, 0}, {"xyz", "", 4, 0},
		{"", "x", 0, 1}, {"", "xyzw", 0, 5}, {"x", "x", 1, 2}, {"xy", "xyz", 2, 4},
	} {
		text := base64.RawStdEncoding.EncodeToString([]byte(c.before + secret + c.after))
		want := text[:c.keepFront] + marker + text[len(text)-c.keepBack:]
		if got := scrubberFor(secret).scrubString(text); got != want {
			t.Errorf("%q before and %q after: %s became %s, want %s", c.before, c.after, text, got, want)
		}
	}
}

func TestScrubKeepsJSONValid(t *testing.T) {
	const secret = `n"q\uote/+secret`
	for shift := range 3 {
		text := strings.Repeat("p", shift) + secret + "\n"
		doc, err := json.Marshal(map[string]string{
			"exact":  "\n" + text,
			"base64": "\n" + base64.StdEncoding.EncodeToString([]byte(text)) + "\n",
			"inner":  fmt.Sprintf("%q", "\n"+base64.URLEncoding.EncodeToString([]byte(text))),
			text:     "a name",
		})
		if err != nil {
			t.Fatal(err)
		}
		got := scrubberFor(secret).scrub(doc)
		if !jsontext.Value(got).IsValid() {
			t.Errorf("shift %d: %s became %s", shift, doc, got)
		}
		if bytes.Count(got, []byte(marker)) != 4 {
			t.Errorf("shift %d: got %s", shift, got)
		}
	}
}

// FuzzScrub hides a secret in a text in one of the ways that are promised to
// be found, between bytes of the fuzzer's own, and looks for it in the result
// with other eyes than the scrubber's.
func FuzzScrub(f *testing.F) {
	f.Add("s3cret-value", []byte(`{"a":"`), []byte(`"}`), uint8(0))
	f.Add(`quo"te\slash`, []byte(`\`), []byte(`\u00`), uint8(1))
	f.Add("with space", []byte("%"), []byte("%2"), uint8(2))
	f.Add("AAAAAAAA", []byte("AAA"), []byte("AAA"), uint8(3))
	f.Add("s3cret-value", []byte("&#"), []byte("1;"), uint8(4))
	f.Add("s3cret-value", []byte("x\\n"), []byte{0xff, 0}, uint8(5))
	f.Fuzz(func(t *testing.T, secret string, before, after []byte, way uint8) {
		if checkSecretValue(secret) != nil || len(secret) < 8 {
			return
		}
		if len(before)+len(after)+len(secret) > 1<<12 {
			return
		}
		quoted, _ := json.Marshal(secret)
		hidden := []string{
			secret,
			string(quoted[1 : len(quoted)-1]),
			url.QueryEscape(secret),
			url.PathEscape(secret),
			base64.StdEncoding.EncodeToString([]byte(secret)),
			base64.URLEncoding.EncodeToString([]byte(secret)),
			hex.EncodeToString([]byte(secret)),
			strings.ToUpper(hex.EncodeToString([]byte(secret))),
		}[way%8]
		text := bytes.Clone(before)
		if 1 <= way%8 && way%8 <= 3 {
			// An escaped text starts where a reader of escapes would start it:
			// not inside an escape that the bytes before it began.
			text = append(text, '"')
		}
		text = append(append(text, hidden...), after...)
		s := scrubberFor(secret)
		got := s.scrub(text)
		if bytes.Contains(got, []byte(hidden)) && !strings.Contains(marker, hidden) {
			// What surrounds the marker may spell the secret once more only
			// if the text held it more often than a scan from the left finds.
			t.Fatalf("%q is left in %q", hidden, got)
		}
		if len(s.find(text)) == 0 {
			t.Fatalf("%q was not found in %q", hidden, text)
		}
		for _, sp := range s.find(text) {
			if sp.from < 0 || sp.to > len(text) || sp.from >= sp.to {
				t.Fatalf("span %v of %d bytes", sp, len(text))
			}
		}
	})
}

// FuzzScrubAnything feeds text that holds no secret on purpose: the scrubber
// must survive it and keep all that it does not replace.
func FuzzScrubAnything(f *testing.F) {
	f.Add([]byte(`{"a":"\u0041%41&#65;&amp;\\"}`))
	f.Add([]byte(`%%%\\\&&&`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<14 {
			return
		}
		s := scrubberFor("s3cret-value-that-is-long")
		got := s.scrub(text)
		if len(s.find(text)) == 0 && !bytes.Equal(got, text) {
			t.Fatalf("%q became %q", text, got)
		}
		view, origin := unescape(text, nil, "%\\&")
		if len(view) > len(text) || origin != nil && (len(origin) != len(view)+1 || origin[len(view)] != len(text)) {
			t.Fatalf("unescaping %q: %d bytes, %d origins", text, len(view), len(origin))
		}
	})
}

func BenchmarkScrub(b *testing.B) {
	line := []byte(`{"id":"263d2ed6cda66a9f545bc646534d06e82541fd865bed556f052b9b14e9c628b1","status":"accepted","note":"a \"quoted\" word"},`)
	for _, size := range []int{1 << 10, 64 << 10, 4 << 20} {
		text := bytes.Repeat(line, size/len(line))
		s := scrubberFor("s3cret-value-that-is-long-enough", "another-secret-value-of-the-plugin")
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				s.scrub(text)
			}
		})
	}
}
