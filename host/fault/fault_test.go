package fault_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
)

func TestErrorSaysWhatWhyAndWhatWasKept(t *testing.T) {
	cause := errors.New("permission denied")
	plain := fault.New(fault.IO, "cannot read %s: %w", "x.json", cause)
	full := plain.WithKept("the old %s was kept", "file").WithHint("run `chmod %s`", "u+r")
	if got, want := plain.Error(), "cannot read x.json: permission denied (carl.io)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := full.Error(), "cannot read x.json: permission denied (carl.io); the old file was kept"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if plain.Kept != "" || plain.Hint != "" {
		t.Error("the With methods changed their receiver")
	}
	if !errors.Is(full, cause) {
		t.Error("the cause is lost")
	}
	if got := fault.HintOf(full); got != "run `chmod u+r`" {
		t.Errorf("hint %q", got)
	}
	if got := fault.HintOf(plain); !strings.HasPrefix(got, "check space") {
		t.Errorf("a code's remedy serves where there is no hint: %q", got)
	}
	if fault.HintOf(cause) != "" || fault.HintOf(nil) != "" {
		t.Error("a hint out of nowhere")
	}
}

func TestErrorWithin(t *testing.T) {
	low := fault.New(fault.IO, "cannot read x: %w", fs.ErrNotExist).WithKept("nothing was read").WithHint("look")
	high := fault.New(fault.PluginDigestMismatch, "acme.dev/x: %w", low)
	if got, want := high.Error(), "acme.dev/x: cannot read x: file does not exist (carl.plugin.digest_mismatch)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(high, fs.ErrNotExist) || !errors.Is(high, low) {
		t.Error("the chain is cut")
	}
	if fault.CodeOf(high) != fault.PluginDigestMismatch || fault.CodeOf(fmt.Errorf("wrapped: %w", high)) != fault.PluginDigestMismatch {
		t.Error("the code is not the outermost one's")
	}
	both := fault.New(fault.IO, "%w, and then %w", fs.ErrExist, fs.ErrClosed)
	if !errors.Is(both, fs.ErrExist) || !errors.Is(both, fs.ErrClosed) {
		t.Error("one of two causes is lost")
	}
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		err  error
		code fault.Code
		exit fault.Exit
	}{
		{nil, "", fault.ExitOK},
		{errors.New("anything"), fault.Internal, fault.ExitFailed},
		{fault.New(fault.Usage, "x"), fault.Usage, fault.ExitUsage},
		{fault.New(fault.PluginUntrusted, "x"), fault.PluginUntrusted, fault.ExitTrust},
		{fmt.Errorf("more: %w", fault.New(fault.CampUnauthorized, "x")), fault.CampUnauthorized, fault.ExitDenied},
		{fault.New(fault.PluginNotFound, "x"), fault.PluginNotFound, fault.ExitNotFound},
		{fault.New("carl.no.such", "x"), "carl.no.such", fault.ExitFailed},
	} {
		if got := fault.CodeOf(c.err); got != c.code {
			t.Errorf("%v: code %q, want %q", c.err, got, c.code)
		}
		if got := fault.ExitOf(c.err); got != c.exit {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.exit)
		}
	}
}

var codeForm = regexp.MustCompile(`^carl(\.[a-z][a-z0-9_]*){1,2}$`)

// TestList holds the list that `carl help errors` prints against the constants.
func TestList(t *testing.T) {
	constants := codeConstants(t)
	list := fault.Codes()
	if !slices.IsSortedFunc(list, func(a, b fault.Entry) int { return strings.Compare(string(a.Code), string(b.Code)) }) {
		t.Error("the list is not sorted")
	}
	seen := make(map[fault.Code]bool)
	for _, e := range list {
		if seen[e.Code] {
			t.Errorf("%s stands twice", e.Code)
		}
		seen[e.Code] = true
		if !codeForm.MatchString(string(e.Code)) {
			t.Errorf("%s does not have the form of a code", e.Code)
		}
		if constants[e.Code] == "" {
			t.Errorf("%s is in the list and is no constant", e.Code)
		}
		for _, text := range []string{e.Meaning, e.Remedy} {
			if text == "" || strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text {
				t.Errorf("%s: %q", e.Code, text)
			}
		}
		if e.Exit == fault.ExitOK {
			t.Errorf("%s ends with exit 0", e.Code)
		}
	}
	for code, name := range constants {
		if !seen[code] {
			t.Errorf("%s (%s) is not in the list", code, name)
		}
	}
}

// codeConstants reads the constants of type Code out of codes.go.
func codeConstants(t *testing.T) map[fault.Code]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := make(map[fault.Code]string)
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		typ, ok := v.Type.(*ast.Ident)
		lit, isLit := v.Values[0].(*ast.BasicLit)
		if !ok || typ.Name != "Code" || !isLit {
			return true
		}
		code, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		if other := constants[fault.Code(code)]; other != "" {
			t.Errorf("%s and %s are the same code", other, v.Names[0].Name)
		}
		constants[fault.Code(code)] = v.Names[0].Name
		return true
	})
	if len(constants) < 20 {
		t.Fatalf("only %d constants found", len(constants))
	}
	return constants
}
