package axon_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/fault"
)

func ExampleAppendEvent() {
	event, err := axon.AppendEvent(nil, axon.Envelope{
		ID:      axon.ID("8e9030e06818", axon.InteractionCreated),
		Source:  axon.Source("4be0643f"),
		Type:    axon.InteractionCreated,
		Subject: "reply",
		Session: "1c9bb512bf238c10",
		Time:    time.Date(2025, 10, 9, 8, 53, 21, 500_000_000, time.UTC),
		Data:    []byte(`{ "tokens": 12 }`),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.Replace(string(event), `"time"`, "\n"+`"time"`, 1))
	// Output:
	// {"specversion":"1.0","id":"263d2ed6cda66a9f545bc646534d06e82541fd865bed556f052b9b14e9c628b1","source":"urn:carl:4be0643f","type":"interaction.created","subject":"reply",
	// "time":"2025-10-09T08:53:21.5Z","datacontenttype":"application/json","session":"1c9bb512bf238c10","data":{"tokens":12}}
}

func TestID(t *testing.T) {
	for _, typ := range append(axon.Types(), "", strings.Repeat("x", 500)) {
		sum := sha256.Sum256([]byte("8e9030e06818:" + typ))
		if got, want := axon.ID("8e9030e06818", typ), hex.EncodeToString(sum[:]); got != want {
			t.Errorf("ID(%q) = %s, want %s", typ, got, want)
		}
	}
}

func TestAllowList(t *testing.T) {
	types := axon.Types()
	if len(types) != 5 {
		t.Fatalf("%d types, want the five of the design", len(types))
	}
	for _, typ := range types {
		if !axon.Allowed(typ) {
			t.Errorf("%q is listed and not allowed", typ)
		}
		for _, wrong := range []string{typ + " ", strings.ToUpper(typ), typ[1:], typ + "\x00"} {
			if axon.Allowed(wrong) {
				t.Errorf("%q is allowed", wrong)
			}
		}
	}
}

// envelope is a legal one around data.
func envelope(data string) axon.Envelope {
	return axon.Envelope{
		ID: axon.ID("8e9030e06818", axon.CoherenceUpdate), Source: axon.Source("x"), Type: axon.CoherenceUpdate,
		Subject: "s", Session: "sess", Trace: "trace", Time: time.Unix(1, 23).UTC(), Data: []byte(data),
	}
}

func TestRefused(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, data := range map[string]string{
		"nothing":             ``,
		"white space":         "  \n",
		"not JSON":            `hello`,
		"half an object":      `{"a":1`,
		"two texts":           `{} {}`,
		"text and garbage":    `{}x`,
		"duplicate members":   `{"a":1,"a":2}`,
		"duplicates, escaped": `{"a":1,"\u0061":2}`,
		"duplicates, deep":    `[{"x":{"b":1,"c":2,"b":3}}]`,
		"invalid UTF-8":       "\"\xff\"",
		"invalid UTF-8 name":  "{\"\xc3\x28\":1}",
		"lone surrogate":      `"\ud800"`,
		"swapped surrogates":  `"\udc00\ud800"`,
		"too deep":            nested(axon.MaxDepth + 1),
		"absurdly deep":       nested(1 << 20),
		"bad number":          `01`,
		"NaN":                 `NaN`,
		"control character":   "\"a\nb\"",
		"byte order mark":     "\ufeff{}",
		"trailing comma":      `[1,]`,
		"only small strings":  `["` + strings.Repeat(`abc","`, 20_000) + `"]`,
		"a long member name":  `{"` + strings.Repeat("n", axon.MaxEvent) + `":1}`,
		"a long number":       strings.Repeat("9", axon.MaxEvent),
	} {
		dst := []byte("kept")
		got, err := axon.AppendEvent(dst, envelope(data))
		if fault.CodeOf(err) != fault.SyncEventRefused {
			t.Errorf("%s: error %v, want code %s", name, err, fault.SyncEventRefused)
		}
		if string(got) != "kept" {
			t.Errorf("%s: dst became %.100q", name, got)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: the error repeats the data: %.400s", name, err)
		}
	}

	e := envelope(`{}`)
	e.Type = "skill.uploaded"
	if _, err := axon.AppendEvent(nil, e); fault.CodeOf(err) != fault.SyncEventRefused {
		t.Errorf("a type that is not on the list: %v", err)
	}
	if _, err := axon.AppendEvent(nil, envelope(nested(axon.MaxDepth))); err != nil {
		t.Errorf("depth %d: %v", axon.MaxDepth, err)
	}
}

// cloudEvent is what a receiver reads, strictly.
type cloudEvent struct {
	SpecVersion string         `json:"specversion"`
	ID          string         `json:"id"`
	Source      string         `json:"source"`
	Type        string         `json:"type"`
	Subject     *string        `json:"subject"`
	Time        string         `json:"time"`
	ContentType string         `json:"datacontenttype"`
	Session     *string        `json:"session"`
	Trace       *string        `json:"trace"`
	Data        jsontext.Value `json:"data"`
}

func read(t interface{ Fatalf(string, ...any) }, event []byte) cloudEvent {
	var ce cloudEvent
	if err := json.Unmarshal(event, &ce, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("not an event: %v: %.200s", err, event)
	}
	return ce
}

func TestAttributes(t *testing.T) {
	e := envelope(`null`)
	e.Subject = "line\nbreak \x00 \u0085 \ufffe \xff end"
	e.Session = ""
	e.Trace = strings.Repeat("é", axon.MaxAttribute)
	event, err := axon.AppendEvent(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	ce := read(t, event)
	if want := "line\ufffdbreak \ufffd \ufffd \ufffd \ufffd end"; *ce.Subject != want {
		t.Errorf("subject %q, want %q", *ce.Subject, want)
	}
	if ce.Session != nil {
		t.Errorf("an absent session is written as %q", *ce.Session)
	}
	if len(*ce.Trace) > axon.MaxAttribute || !strings.HasSuffix(*ce.Trace, "é…") {
		t.Errorf("a trace of %d bytes became %d", len(e.Trace), len(*ce.Trace))
	}
	if ce.Time != "1970-01-01T00:00:01.000000023Z" {
		t.Errorf("time %s loses nanoseconds", ce.Time)
	}
}

var mark = regexp.MustCompile(`^(?s)(.*) \[cut from (\d+) bytes, sha256:([0-9a-f]{64})\]$`)

// checkCut fails unless got is want or a marked head of it.
func checkCut(t interface{ Fatalf(string, ...any) }, got, want string) (cut bool) {
	if got == want {
		return false
	}
	m := mark.FindStringSubmatch(got)
	if m == nil {
		t.Fatalf("changed without a mark: %.200q", got)
	}
	sum := sha256.Sum256([]byte(want))
	if n, _ := strconv.Atoi(m[2]); n != len(want) || m[3] != hex.EncodeToString(sum[:]) {
		t.Fatalf("the mark says %s bytes and %s, the string had %d and %x", m[2], m[3], len(want), sum)
	}
	if !strings.HasPrefix(want, m[1]) {
		t.Fatalf("the head is not one of the string: %.200q", m[1])
	}
	return true
}

func TestCutLongestFirst(t *testing.T) {
	long, middle, short := strings.Repeat("L", 70_000), strings.Repeat("m", 20_000), strings.Repeat("s", 3_000)
	data := fmt.Sprintf(`{"short":%q,"long":%q,"middle":%q,"n":1}`, short, long, middle)
	event, err := axon.AppendEvent(nil, envelope(data))
	if err != nil {
		t.Fatal(err)
	}
	if len(event) != axon.MaxEvent {
		t.Errorf("an event of %d bytes, want all of %d used: each character is one byte", len(event), axon.MaxEvent)
	}
	var got map[string]any
	if err := json.Unmarshal(read(t, event).Data, &got); err != nil {
		t.Fatal(err)
	}
	if got["short"] != short || got["middle"] != middle || got["n"] != 1.0 {
		t.Error("more was cut than the longest string")
	}
	if !checkCut(t, got["long"].(string), long) {
		t.Error("the longest string was not cut")
	}
}

// value draws any JSON value.
func value(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(text, func(s string) any { return s }),
	)
	if depth == 0 {
		return leaf
	}
	return rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 4), func(s []any) any { return s }),
		rapid.Map(rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 4), func(m map[string]any) any { return m }),
	)
}

// text draws strings, some long enough to be cut, with every kind of character.
var text = rapid.Custom(func(t *rapid.T) string {
	s := rapid.StringN(0, 40, -1).Draw(t, "s")
	return strings.Repeat(s, rapid.SampledFrom([]int{1, 1, 1, 50, 3000}).Draw(t, "times"))
})

// Whatever the data, an event is valid, small, the same each time, and says
// what the data said, but for strings that are marked as cut.
func TestEventProperties(t *testing.T) {
	cuts := 0
	rapid.Check(t, func(t *rapid.T) {
		want := value(3).Draw(t, "data")
		if rapid.Bool().Draw(t, "with a long string") {
			long := strings.Repeat("é\"\n😀x", rapid.IntRange(1_000, 20_000).Draw(t, "times"))
			want = []any{want, long}
		}
		data, err := json.Marshal(want, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "escaped") {
			data = escaped(data)
		}
		if rapid.Bool().Draw(t, "spaced") {
			spaced := jsontext.Value(data)
			if err := spaced.Indent(); err != nil {
				t.Fatal(err)
			}
			data = spaced
		}
		e := envelope(string(data))
		e.Subject, e.Session = text.Draw(t, "subject"), text.Draw(t, "session")

		event, err := axon.AppendEvent([]byte("head"), e)
		if err != nil {
			if fault.CodeOf(err) != fault.SyncEventRefused || len(data) < axon.MaxEvent/2 {
				t.Fatalf("refused %d bytes: %v", len(data), err)
			}
			return
		}
		if string(event[:4]) != "head" {
			t.Fatalf("what stood before is gone: %.20q", event)
		}
		event = event[4:]
		if len(event) > axon.MaxEvent || strings.ContainsAny(string(event), "\n\r") || !utf8.Valid(event) {
			t.Fatalf("%d bytes that are not one line of UTF-8", len(event))
		}
		again, _ := axon.AppendEvent(nil, e)
		if string(again) != string(event) {
			t.Fatalf("not the same twice")
		}
		ce := read(t, event)
		if ce.ID != e.ID || ce.Source != e.Source || ce.Type != e.Type {
			t.Fatalf("another event: %.200s", event)
		}
		var got any
		if err := json.Unmarshal(ce.Data, &got); err != nil {
			t.Fatal(err)
		}
		if same(t, got, want) {
			cuts++
		}
	})
	if cuts == 0 {
		t.Error("no string was ever cut: the generator tests nothing")
	}
}

// escaped writes every string of a JSON text with \u escapes.
func escaped(data []byte) []byte {
	out, err := jsontext.AppendFormat(nil, data, jsontext.EscapeForHTML(true), jsontext.EscapeForJS(true))
	if err != nil {
		panic(err)
	}
	var ascii []byte
	for _, r := range string(out) {
		if r < 0x80 {
			ascii = append(ascii, byte(r))
		} else if r < 0x10000 {
			ascii = fmt.Appendf(ascii, `\u%04x`, r)
		} else {
			r -= 0x10000
			ascii = fmt.Appendf(ascii, `\u%04X\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return ascii
}

// same fails unless got is want with strings cut, and reports whether any was.
func same(t *rapid.T, got, want any) (cut bool) {
	switch want := want.(type) {
	case string:
		s, ok := got.(string)
		if !ok {
			t.Fatalf("got %T for a string", got)
		}
		return checkCut(t, s, want)
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			t.Fatalf("got %T for a list of %d", got, len(want))
		}
		for i := range want {
			cut = same(t, list[i], want[i]) || cut
		}
		return cut
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(want) {
			t.Fatalf("got %T for an object of %d", got, len(want))
		}
		for k := range want {
			cut = same(t, object[k], want[k]) || cut
		}
		return cut
	}
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
	return false
}

var seeds = []string{
	`{}`, `null`, `{"a":[1,2,{"b":"c"}]}`, "{ \"a\" : \"\\ud83d\\ude00\\n\" }", `{"a":1,"a":2}`, "\"\xff\"", `[[[[`,
	`"` + strings.Repeat(`\u00e9`, 12_000) + `"`, `["` + strings.Repeat("x", 70_000) + `","` + strings.Repeat(`\\\"`, 20_000) + `"]`,
	strings.Repeat("[", 64) + strings.Repeat("]", 64),
}

func FuzzAppendEvent(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), "subject", "session")
	}
	f.Fuzz(func(t *testing.T, data []byte, subject, session string) {
		e := envelope(string(data))
		e.Subject, e.Session = subject, session
		event, err := axon.AppendEvent(nil, e)
		strict := jsontext.Value(data).IsValid()
		if err != nil {
			var fe *fault.Error
			if !errors.As(err, &fe) || fe.Code != fault.SyncEventRefused {
				t.Fatalf("error without its code: %v", err)
			}
			return
		}
		if !strict {
			t.Fatalf("took data that is not strict JSON: %.200q", data)
		}
		if len(event) > axon.MaxEvent {
			t.Fatalf("%d bytes", len(event))
		}
		if ce := read(t, event); ce.ID != e.ID || ce.Type != e.Type || ce.Source != e.Source {
			t.Fatalf("the data changed the envelope: %.300s", event)
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	for _, size := range []int{200, 2_000, 200_000} {
		e := envelope(fmt.Sprintf(`{"text":%q,"tokens":12}`, strings.Repeat("word ", size/5)))
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			b.SetBytes(int64(len(e.Data)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = axon.AppendEvent(dst[:0], e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		axon.ID("8e9030e06818", axon.InteractionCreated)
	}
}
