package plugins_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"carl.camp/carl/plugins"
)

// bundled says where each bundled plugin's source is, and what of the
// contract its module may import.
var bundled = map[string]struct {
	pkg, module string
	imports     []string
}{
	"carl.camp/axon":          {"./plugins/axon", "axon.wasm", nil},
	"carl.camp/forward/camp":  {"./plugins/forward/camp", "forward-camp.wasm", []string{"carl:plugin/http@0.1.0.send"}},
	"carl.camp/forward/jsonl": {"./plugins/forward/jsonl", "forward-jsonl.wasm", []string{"carl:plugin/files@0.1.0.append"}},
	"carl.camp/slime":         {"./plugins/slime", "slime.wasm", nil},
}

// TestImports shows from the modules themselves that the mapper reaches
// neither network nor files, and each forwarder only what it is for.
func TestImports(t *testing.T) {
	r := wazero.NewRuntime(t.Context())
	defer r.Close(t.Context())
	for name, b := range bundled {
		m, err := r.CompileModule(t.Context(), module(t, b.pkg))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		wasi := 0
		for _, f := range m.ImportedFunctions() {
			mod, field, _ := f.Import()
			if mod == "wasi_snapshot_preview1" {
				wasi++
				continue
			}
			got = append(got, mod+"."+field)
		}
		if !slices.Equal(got, b.imports) {
			t.Errorf("%s imports %v, want %v", name, got, b.imports)
		}
		if wasi == 0 {
			t.Errorf("%s imports nothing of WASI, which no Go guest can do without: the listing is broken", name)
		}
		exports := m.ExportedFunctions()
		world := "carl:plugin/forwarder@0.1.0#"
		switch name {
		case "carl.camp/axon":
			world = "carl:plugin/mapper@0.1.0#"
		case "carl.camp/slime":
			world = "carl:plugin/translator@0.1.0#"
		}
		seen := 0
		for export := range exports {
			if at := strings.Index(export, "#"); at >= 0 {
				seen++
				if !strings.HasPrefix(strings.TrimPrefix(export, "cabi_post_"), world) {
					t.Errorf("%s exports %s, which is not of its world", name, export)
				}
			}
		}
		if seen == 0 || exports["cabi_realloc"] == nil || exports["_initialize"] == nil || m.ExportedMemories()["memory"] == nil {
			t.Errorf("%s lacks exports; it has %d of its world", name, seen)
		}
	}
}

// TestGuestsAreSmall shows that no guest drags in what a sandboxed one has no
// use for; the mapper, whose instances start most often, not even a clock.
func TestGuestsAreSmall(t *testing.T) {
	for pkg, banned := range map[string][]string{
		"./plugins/axon":          {"fmt", "os", "reflect", "encoding/json", "time", "syscall", "runtime/debug"},
		"./plugins/forward/camp":  {"fmt", "os", "reflect", "encoding/json", "net", "net/http", "runtime/debug"},
		"./plugins/forward/jsonl": {"fmt", "os", "reflect", "encoding/json", "time", "runtime/debug"},
		"./plugins/slime":         {"fmt", "os", "reflect", "encoding/json", "time", "syscall", "runtime/debug"},
	} {
		cmd := exec.Command("go", "list", "-deps", pkg)
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		if len(deps) < 10 {
			t.Fatalf("%s: go list gave %d packages", pkg, len(deps))
		}
		for _, ban := range banned {
			if slices.Contains(deps, ban) {
				t.Errorf("%s depends on %s", pkg, ban)
			}
		}
	}
}

// TestSameBytes builds every bundled plugin in two copies of the tree, in two
// folders of different length, and compares them with each other and with the
// build of this folder.
func TestSameBytes(t *testing.T) {
	var roots []string
	for _, name := range []string{"a", "another/folder that is/much longer"} {
		root := filepath.Join(t.TempDir(), filepath.FromSlash(name))
		copyTree(t, root)
		roots = append(roots, root)
	}
	for name, b := range bundled {
		want := sha256.Sum256(module(t, b.pkg))
		for _, root := range roots {
			out := filepath.Join(root, "out.wasm")
			if err := buildGuest(root, b.pkg, out); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if sha256.Sum256(got) != want {
				t.Errorf("%s built in %q has other bytes than built in this folder", name, root)
			}
			if bytes.Contains(got, []byte(root)) {
				t.Errorf("%s names the folder that it was built in", name)
			}
		}
	}
}

// copyTree copies what a guest is built from.
func copyTree(t *testing.T, root string) {
	t.Helper()
	files := 0
	for _, part := range []string{"go.mod", "go.sum", "sdk", "plugins"} {
		err := filepath.WalkDir(filepath.Join("..", part), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			to := filepath.Join(root, strings.TrimPrefix(path, ".."))
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			return os.WriteFile(to, data, 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 20 {
		t.Fatalf("copied only %d files", files)
	}
}

// TestBundled holds what is embedded against the folders that it comes from.
func TestBundled(t *testing.T) {
	list := plugins.Bundled()
	if len(list) != len(bundled) {
		t.Fatalf("%d plugins are bundled, want %d", len(list), len(bundled))
	}
	if !slices.IsSortedFunc(list, func(a, b plugins.Bundle) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the bundled plugins are not sorted by name")
	}
	for _, b := range list {
		source, ok := bundled[b.Name]
		if !ok {
			t.Errorf("%s is not known here", b.Name)
			continue
		}
		dir := filepath.Join("..", source.pkg)
		manifest, err := os.ReadFile(filepath.Join(dir, "plugin.yaml"))
		if err != nil || !bytes.Equal(b.Manifest, manifest) {
			t.Errorf("%s: the embedded manifest is not that of %s (%v)", b.Name, dir, err)
		}
		if !regexp.MustCompile(`(?m)^name: ` + regexp.QuoteMeta(b.Name) + `$`).Match(b.Manifest) {
			t.Errorf("%s: its manifest names something else", b.Name)
		}
		wantsSettings := bytes.Contains(b.Manifest, []byte("settings: settings.schema.json"))
		if wantsSettings != (b.Settings != nil) || wantsSettings && !json.Valid(b.Settings) {
			t.Errorf("%s: its manifest asks for settings: %v; %d bytes of schema are embedded", b.Name, wantsSettings, len(b.Settings))
		}
		// What was built before this test binary is inside; where nothing was,
		// the module is nil and not an empty one.
		built, err := os.ReadFile(filepath.Join("built", source.module))
		switch {
		case errors.Is(err, os.ErrNotExist):
			if b.Module != nil {
				t.Errorf("%s: a module is embedded that is not in plugins/built", b.Name)
			}
		case err != nil:
			t.Error(err)
		case !bytes.Equal(b.Module, built):
			t.Errorf("%s: the embedded module is not that of plugins/built", b.Name)
		}
	}
	for _, b := range plugins.Manifests() {
		if b.Module != nil || len(b.Manifest) == 0 {
			t.Errorf("%s: Manifests gave %d bytes of module, %d of manifest", b.Name, len(b.Module), len(b.Manifest))
		}
	}
}

// TestNativeBuild shows that the same source builds natively, and that the
// program then says what it is and how it is built for carl.
func TestNativeBuild(t *testing.T) {
	for pkg, kind := range map[string]string{
		"./plugins/axon": "mapper", "./plugins/forward/jsonl": "forwarder", "./plugins/testdata/translator": "translator",
		"./plugins/slime": "translator",
	} {
		out := filepath.Join(t.TempDir(), "plugin")
		if runtime.GOOS == "windows" {
			out += ".exe"
		}
		build := exec.Command("go", "build", "-o", out, pkg)
		build.Dir = ".."
		if text, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", pkg, err, text)
		}
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(out)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%s ended with %v, want exit 1", pkg, err)
		}
		said := stderr.String()
		if !strings.HasPrefix(said, "This is a carl "+kind+", ") || !strings.Contains(said, "GOOS=wasip1 GOARCH=wasm go build") || stdout.Len() > 0 {
			t.Errorf("%s said %q on stderr and %q on stdout", pkg, said, stdout.String())
		}
	}
}
