package meter

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"carl.camp/carl/host/plugin/wasm/internal/wat"
)

// TestDocumentedExample assembles the two functions of the package comment and
// rewrites the first into the second.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var functions []string
	for _, line := range strings.Split(string(text), "\n") {
		line, code := strings.CutPrefix(line, "//\t")
		switch {
		case !code:
		case strings.HasPrefix(line, "(func"):
			functions = append(functions, line)
		default:
			functions[len(functions)-1] += "\n" + line
		}
	}
	if len(functions) != 2 {
		t.Fatalf("the package comment has %d functions", len(functions))
	}
	metered, _, err := Rewrite(wat.Assemble(t, "(module "+functions[0]+")"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	after, err := parse(wat.Assemble(t, `(module (import "a" "b" (func)) (import "a" "c" (func)) (global (mut i64) (i64.const 0))`+functions[1]+"(func))"))
	if err != nil {
		t.Fatal(err)
	}
	if want := after.bodies[0].code; !bytes.Contains(metered, want) {
		t.Errorf("the rewritten module does not hold\n% x\nbut is\n% x", want, metered)
	}
}
