package plugins_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"carl.camp/carl/sdk/mapper"
)

// snippets returns the blocks of one language of a README.
func snippets(t *testing.T, file, lang string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, part := range strings.Split(string(text), "```"+lang+"\n")[1:] {
		code, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatalf("%s: a block is not closed", file)
		}
		list = append(list, code)
	}
	return list
}

// readmeGuest builds a snippet as a program of this module that is in no
// folder of it: go build reads it from an overlay.
func readmeGuest(t *testing.T, code string) []byte {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(root, "plugins", "testdata", "readme", "main.go"): source},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "plugin.wasm")
	if err := buildGuest("..", "./plugins/testdata/readme", out, "-overlay", file); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// TestSDKReadme builds and runs the three plugins of sdk/README.md.
func TestSDKReadme(t *testing.T) {
	code := snippets(t, "../sdk/README.md", "go")
	if len(code) != 3 {
		t.Fatalf("sdk/README.md has %d programs, want a forwarder, a mapper and a translator", len(code))
	}
	t.Run("forwarder", func(t *testing.T) {
		var sent []request
		status := uint16(200)
		in := instantiate(t, readmeGuest(t, code[0]), host{send: func(q request) (*response, *httpError) {
			sent = append(sent, q)
			return &response{status: status}, nil
		}})
		if f := in.open(`{}`); f == nil || f.kind != 3 {
			t.Errorf("settings without a URL: %+v", f)
		}
		if f := in.open(`{"url":"https://hooks.acme.dev/carl"}`); f != nil {
			t.Fatal(f)
		}
		events := []event{{id: "a", kind: "x"}, {id: "b", kind: "coherence.update"}}
		got, f := in.deliver(0, events)
		if f != nil || len(got) != 2 || got[0].kind != 0 || got[1].kind != 0 {
			t.Errorf("outcomes %v, failure %+v", got, f)
		}
		if len(sent) != 1 || sent[0].url != "https://hooks.acme.dev/carl" ||
			string(sent[0].body) != `{"text":"2 signals, the last of type coherence.update"}` {
			t.Errorf("sent %+v", sent)
		}
		for code, kind := range map[uint16]byte{401: 1, 403: 1, 500: 0} {
			status = code
			if _, f := in.deliver(0, events); f == nil || f.kind != kind {
				t.Errorf("%d: %+v", code, f)
			}
		}
		if _, f := in.deliver(1, events); f == nil || f.kind != 3 {
			t.Errorf("the ledger: %+v", f)
		}
	})
	t.Run("mapper", func(t *testing.T) {
		in := instantiate(t, readmeGuest(t, code[1]), host{})
		got, failed := in.mapSteps([]mapper.Step{
			{ID: "a", Action: "GATE"},
			{ID: "b", Action: "EXTERNAL", DurationMS: mapper.Some(1.5), Input: `[1]`},
		})
		want := signal{step: 1, kind: "action.dispatched", data: `{"step_id":"b","duration_ms":1.5,"input":[1]}`}
		if failed != "" || len(got) != 1 || got[0] != want {
			t.Errorf("signals %+v, error %q", got, failed)
		}
	})
	t.Run("translator", func(t *testing.T) {
		in := instantiate(t, readmeGuest(t, code[2]), host{})
		got, refused := in.translate(`{"model":"m"}`)
		if refused != nil || got.args != `{"hf_checkpoint":"m"}` || strings.Join(got.argv, " ") != "--hf-checkpoint m" || got.entrypoint != "train.py" {
			t.Errorf("translated to %+v, %v", got, refused)
		}
		if _, refused := in.translate(`{}`); len(refused) != 1 || refused[0].path != "/model" {
			t.Errorf("refused with %v", refused)
		}
	})
}

// TestContractReadme builds and runs the mapper in C of wit/README.md.
func TestContractReadme(t *testing.T) {
	code := snippets(t, "../wit/README.md", "c")
	if len(code) != 1 {
		t.Fatalf("wit/README.md has %d programs in C, want one", len(code))
	}
	clang, err := exec.LookPath("clang")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("clang is not installed: apt-get install clang lld")
		}
		t.Skip("clang is not installed: apt-get install clang lld")
	}
	dir := t.TempDir()
	source, out := filepath.Join(dir, "plugin.c"), filepath.Join(dir, "plugin.wasm")
	if err := os.WriteFile(source, []byte(code[0]), 0o644); err != nil {
		t.Fatal(err)
	}
	command, _, _ := strings.Cut(code[0], "\n")
	args := strings.Fields(strings.TrimPrefix(command, "// clang"))
	for i, arg := range args {
		switch arg {
		case "plugin.c":
			args[i] = source
		case "plugin.wasm":
			args[i] = out
		}
	}
	if text, err := exec.Command(clang, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, text)
	} else if len(text) > 0 {
		t.Errorf("%s: %s", command, text)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	in := instantiate(t, wasm, host{})
	steps := []mapper.Step{{Action: "EXTERNAL"}, {Action: "EXTERNAM"}, {Action: "EXTERNAL", Input: `"` + strings.Repeat("x", 300_000) + `"`}, {}}
	for range 50 {
		got, failed := in.mapSteps(steps)
		if failed != "" || len(got) != 2 || got[0] != (signal{step: 0, kind: "action.dispatched", data: "{}"}) || got[1].step != 2 {
			t.Fatalf("signals %+v, error %q", got, failed)
		}
	}
	if size := in.mod.Memory().Size(); size > 4<<20 {
		t.Errorf("the memory grew to %d bytes", size)
	}
}
