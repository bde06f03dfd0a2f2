package wat

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestAssemble(t *testing.T) {
	text := `(module (func (export "one") (result i32) (i32.const 1)))`
	got := Assemble(t, text)
	if !bytes.HasPrefix(got, []byte("\x00asm\x01\x00\x00\x00")) {
		t.Fatalf("not a module: % x", got)
	}
	got[0] = 'x'
	path := filepath.Join(t.TempDir(), "one.wat")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := Assemble(t, path); again[0] != 0 {
		t.Error("the caller's change reached the cache")
	}
}

func TestAssembleReportsWhatIsWrong(t *testing.T) {
	if _, fault := assemble([]byte("(module (func (unknown)))")); fault == "" {
		t.Error("a text that is not wat was assembled")
	}
}
