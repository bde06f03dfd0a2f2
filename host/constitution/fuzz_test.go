package constitution_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carl.camp/carl/host/constitution"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/yamltree"
	"github.com/go-json-experiment/json/jsontext"
)

// documents are what the fuzz targets start from.
func documents(f *testing.F) []string {
	f.Helper()
	out := []string{
		document(), head(`"n"`, `7`), machine(`"a"`, `["a"]`, ``), `{}`, `[`, ``, `{"rules": [{"where": {"x": {"not": null}}}]}`,
		document(`{"id": "r", "action": "*", "verdict": "allow"}`, `{"id": "s", "action": "x?*", "name": "*.md", "verdict": "deny", "next": "b"}`),
		where(`{"v": {"min": 1, "max": 9.5}, "w": {"not": {"in": ["x", 3, true]}}, "x": {"glob": "a*b?"}, "y": 1e2}`),
		where(`{"v": {"not": {"not": {"glob": "é*"}}}, "w": {"not": {"max": -0.0}}, "x": {"equals": "\u0061"}}`),
		where(`{"v": 9007199254740993}`), where(`{"v": {"in": []}}`),
	}
	for _, name := range []string{"coding-agent", "training-agent"} {
		yaml, err := os.ReadFile("../../examples/constitutions/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		tree, err := yamltree.Parse(yaml, name)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, string(tree.AppendJSON(nil)))
	}
	right := 0
	for _, doc := range out {
		if c, _ := constitution.Parse([]byte(doc)); c != nil {
			right++
		}
	}
	if right < 6 {
		f.Fatalf("%d documents are right", right)
	}
	return out
}

// actions are what the fuzz targets start from.
func actions(f *testing.F) []string {
	f.Helper()
	out := []string{
		`{"kind": "x"}`, `{"kind": "go.b", "name": "n.md", "attributes": {"v": 3, "w": "x", "x": "a.b.", "y": 100.0}, "payload": [1, {"a": null}]}`,
		`{"kind": "x", "attributes": {"v": "été", "w": -1e-300, "x": "a"}}`, `{"kind": "x", "attributes": {"v": null, "w": [], "x": {}}}`,
		`{"kind": "x\u0000", "name": "\ud83d\ude00", "payload": null}`, `{"kind": "x", "kind": "y"}`, `{"kind": 1}`, `{`, `{"kind": "x", "attributes": {"v": 1e999}}`,
	}
	right := 0
	for _, text := range out {
		if _, err := constitution.ParseAction([]byte(text)); err == nil {
			right++
		}
	}
	if right < 5 {
		f.Fatalf("%d actions are right", right)
	}
	return out
}

// FuzzParse: whatever is read is either right or has problems with places that
// are there, twice the same, and what is right has the digest of its canonical form.
func FuzzParse(f *testing.F) {
	for _, doc := range documents(f) {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		given := string(doc)
		c, problems := constitution.Parse(doc)
		again, same := constitution.Parse(doc)
		if string(doc) != given || !slices.Equal(problems, same) || (c == nil) != (again == nil) || (c == nil) != (len(problems) > 0) || len(problems) > 100 {
			t.Fatalf("%q: %v, %v and %v, %v", doc, c, problems, again, same)
		}
		for _, p := range problems {
			if p.Message == "" || !jsontext.Pointer(p.Pointer).IsValid() {
				t.Fatalf("%q: %+v", doc, p)
			}
		}
		if c == nil {
			if jsontext.Value(doc).IsValid() {
				checkPlaces(t, doc, problems)
			}
			return
		}
		canonical := jsontext.Value(doc).Clone()
		if err := canonical.Canonicalize(); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(canonical)
		respelled, problems := constitution.Parse(canonical)
		if c.Digest() != hex.EncodeToString(sum[:]) || respelled == nil || respelled.Digest() != c.Digest() || respelled.Version() != c.Version() {
			t.Fatalf("%q: digest %s, problems of its canonical form: %v", doc, c.Digest(), problems)
		}
		if !c.Has(c.Initial()) || c.Name() == "" || c.Version() == "" {
			t.Fatalf("%q: %q %q %q", doc, c.Name(), c.Version(), c.Initial())
		}
	})
}

// checkPlaces holds the pointers against the document, and their order against
// that of its nodes.
func checkPlaces(t *testing.T, doc []byte, problems []constitution.Problem) {
	t.Helper()
	order := map[string]int{}
	var walk func(pointer jsontext.Pointer, raw jsontext.Value)
	walk = func(pointer jsontext.Pointer, raw jsontext.Value) {
		order[string(pointer)] = len(order)
		switch raw.Kind() {
		case '{':
			d := json.NewDecoder(strings.NewReader(string(raw)))
			if _, err := d.Token(); err != nil {
				t.Fatal(err)
			}
			for d.More() {
				name, err := d.Token()
				if err != nil {
					t.Fatal(err)
				}
				var value json.RawMessage
				if err := d.Decode(&value); err != nil {
					t.Fatal(err)
				}
				walk(pointer.AppendToken(name.(string)), jsontext.Value(value))
			}
		case '[':
			var values []json.RawMessage
			if err := json.Unmarshal(raw, &values); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				walk(pointer.AppendToken(strconv.Itoa(i)), jsontext.Value(v))
			}
		}
	}
	walk("", doc)
	last := 0
	for _, p := range problems {
		at, there := order[p.Pointer]
		if !there || at < last {
			t.Fatalf("%q: %v", doc, problems)
		}
		last = at
	}
}

// FuzzEvaluate holds decisions about any action by any constitution against
// the reference.
func FuzzEvaluate(f *testing.F) {
	for _, doc := range documents(f) {
		for _, text := range actions(f) {
			f.Add([]byte(doc), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, doc, text []byte) {
		c, _ := constitution.Parse(doc)
		a, err := constitution.ParseAction(text)
		if c == nil || err != nil {
			return
		}
		reference, plain := newReference(t, string(doc)), decode(t, string(text))
		for _, s := range decode(t, string(doc))["states"].([]any) {
			state := s.(string)
			got, err := c.Evaluate(state, a)
			want := reference.decide(state, plain)
			if err != nil || got != want || !c.Has(got.To) {
				t.Fatalf("%s\nin %s: %s\n got %+v, %v\nwant %+v", doc, state, text, got, err, want)
			}
		}
	})
}

// FuzzAction: what is accepted has the members that a lenient reader finds,
// within their bounds, and no others; what is refused has its code.
func FuzzAction(f *testing.F) {
	for _, text := range actions(f) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := constitution.ParseAction(text)
		if err != nil {
			if fault.CodeOf(err) != fault.ActionInvalid || a.Kind != "" || a.Payload != nil {
				t.Fatalf("%q: %+v, %v", text, a, err)
			}
			return
		}
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(text, &plain); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var kind, name string
		if err := json.Unmarshal(plain["kind"], &kind); err != nil || kind != a.Kind || kind == "" || len(kind) > 256 {
			t.Fatalf("%q: kind %q, %v", text, a.Kind, err)
		}
		if raw, ok := plain["name"]; ok && (json.Unmarshal(raw, &name) != nil || name == "") || name != a.Name || len(name) > 1024 {
			t.Fatalf("%q: name %q", text, a.Name)
		}
		if string(plain["payload"]) != string(a.Payload) {
			t.Fatalf("%q: payload %q", text, a.Payload)
		}
		for _, known := range []string{"kind", "name", "attributes", "payload"} {
			delete(plain, known)
		}
		if len(plain) > 0 || !jsontext.Value(text).IsValid() {
			t.Fatalf("%q: accepted with %v", text, plain)
		}
	})
}
