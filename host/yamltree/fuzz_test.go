package yamltree_test

import (
	"errors"
	"testing"

	"carl.camp/carl/host/yamltree"
	"github.com/go-json-experiment/json/jsontext"
)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"camp: {url: https://carl.camp}\ntier: free\n",
		"a: &x [1, *x]\n", "<<: {a: 1}\n", "? a\n: b\n", "- - - a\n", "a: |\n  b\n# c\n",
		"a: \"\\x41\\u00e9\"\n", "---\n...\n---\n", "%YAML 1.1\n---\na\n", "\ta: 1\n", "a: [1,\n", "'", "!!int 3", "a:\n#x\n - b\n#y\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := yamltree.Parse(data, "f.yaml")
		if err != nil {
			var e *yamltree.Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Message == "" {
				t.Fatalf("a refusal without a place: %#v", err)
			}
			return
		}
		text := root.AppendJSON(nil)
		if v := jsontext.Value(text); !v.IsValid() {
			t.Fatalf("%q became illegal JSON: %s", data, text)
		}
		again, err := yamltree.Parse(text, "f.yaml")
		if err == nil && string(again.AppendJSON(nil)) != string(text) {
			t.Fatalf("%s read again is %s", text, again.AppendJSON(nil))
		}
	})
}
