// Package wat assembles WebAssembly text for tests, with wabt's wat2wasm.
//
// Only tests import it. Hostile and hand-written modules stand in the tree as
// text that a reviewer can read, and become bytes when the tests run.
package wat

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Install is the command that brings wat2wasm.
const Install = "apt-get install -y wabt"

// flags asks for what CoreFeaturesV2 does not cover but a test may want to
// show refused, and keeps the names of functions and locals.
var flags = []string{"--enable-threads", "--enable-tail-call", "--enable-exceptions", "--enable-multi-memory", "--debug-names"}

type assembled struct {
	once sync.Once
	wasm []byte
	err  string
}

// cache maps the SHA-256 of a text to its *assembled, for the life of the test binary.
var cache sync.Map

// Assemble returns the binary form of a module in text form: the text itself
// when it holds a parenthesis, else the content of the file at that path.
// The bytes are the caller's to change. A text that wat2wasm refuses fails the
// test, and so does a missing wat2wasm, with the command that installs it: a
// corpus that is skipped looks like one that passed.
func Assemble(t testing.TB, pathOrText string) []byte {
	t.Helper()
	text, name := []byte(pathOrText), "module.wat"
	if !strings.ContainsRune(pathOrText, '(') {
		name = pathOrText
		read, err := os.ReadFile(pathOrText)
		if err != nil {
			t.Fatal(err)
		}
		text = read
	}
	entry, _ := cache.LoadOrStore(sha256.Sum256(text), new(assembled))
	a := entry.(*assembled)
	a.once.Do(func() { a.wasm, a.err = assemble(text) })
	if a.err != "" {
		t.Fatalf("%s: %s", name, a.err)
	}
	return bytes.Clone(a.wasm)
}

func assemble(text []byte) (wasm []byte, fault string) {
	tool, err := exec.LookPath("wat2wasm")
	if err != nil {
		return nil, "wat2wasm is not installed; run `" + Install + "`"
	}
	dir, err := os.MkdirTemp("", "wat")
	if err != nil {
		return nil, err.Error()
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "module.wat"), filepath.Join(dir, "module.wasm")
	if err := os.WriteFile(in, text, 0o600); err != nil {
		return nil, err.Error()
	}
	if said, err := exec.Command(tool, append(flags, "-o", out, in)...).CombinedOutput(); err != nil {
		return nil, "wat2wasm: " + err.Error() + "\n" + string(said)
	}
	wasm, err = os.ReadFile(out)
	if err != nil {
		return nil, err.Error()
	}
	return wasm, ""
}
