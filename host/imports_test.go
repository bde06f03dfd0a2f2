package host_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "carl.camp/carl"

// kind is a package's place in the house. What a kind may import of this
// module is the rule table below.
type kind string

const (
	core   kind = "core"   // verifies, decides, signs
	base   kind = "base"   // files, steps, errors: what everything stands on
	data   kind = "data"   // moves steps and events
	plugin kind = "plugin" // loads and confines what is not ours
	guest  kind = "guest"  // runs inside the sandbox
	shell  kind = "shell"  // joins the others
	test   kind = "test"   // imported by tests alone
	leaf   kind = "leaf"   // programs of their own: examples
)

// house lists every package of the module. A package that is not listed fails
// the test, so that each new one is given its place by a person.
var house = map[string]kind{
	"host": shell,

	"host/fault":    base,
	"host/home":     base,
	"host/private":  base,
	"host/redact":   base,
	"host/step":     base,
	"host/world":    base,
	"host/yamltree": base,
	"host/nearest":  base,
	"host/schema":   base,

	"host/entitle":      core,
	"host/tier":         core,
	"host/jsonwalk":     core,
	"host/ledger":       core,
	"host/constitution": core,

	"host/private/crashfs": test,
	"host/step/steptest":   test,

	"host/axon":         data,
	"host/spool":        data,
	"host/sync":         data,
	"host/camp":         data,
	"host/camp/standin": data,
	"host/train":        data,

	"host/plugin":                   plugin,
	"host/plugin/egress":            plugin,
	"host/plugin/files":             plugin,
	"host/plugin/wasm":              plugin,
	"host/plugin/wasm/meter":        plugin,
	"host/plugin/wasm/internal/wat": test,

	"cmd/carl": shell,

	"examples/demo":            leaf,
	"examples/kuramoto":        leaf,
	"examples/translator-verl": leaf,
}

// mayImport is which kinds a kind may import directly.
var mayImport = map[kind][]kind{
	core:   {core, base},
	base:   {base},
	data:   {data, base, core},
	plugin: {plugin, base},
	guest:  {guest},
	shell:  {shell, core, base, data, plugin, guest},
	test:   {test, base, data, plugin},
	leaf:   {shell, base, guest},
}

// coreBase is the base that the trusted core may stand on: the rest of base
// is not needed to verify, decide or sign.
var coreBase = []string{"host/fault", "host/private"}

// only says which packages alone may import what, by path prefix.
var only = map[string][]string{
	"github.com/tetratelabs/wazero":         {"host/plugin/wasm"},
	"github.com/hashicorp/go-plugin":        {"host/plugin/native"},
	"github.com/go-jose/go-jose":            {"host/entitle"},
	"filippo.io/edwards25519":               {"host/entitle"},
	"golang.org/x/mod/sumdb":                {"host/ledger", "host/plugin", "host/camp/standin"},
	"github.com/spf13/cobra":                {"cmd/carl"},
	"github.com/hashicorp/go-hclog":         {"cmd/carl", "host", "host/plugin/native"},
	"go.yaml.in/yaml":                       {"host/yamltree"},
	"github.com/santhosh-tekuri/jsonschema": {"host/plugin", "host/schema", "host/train"},
}

// never is what core must not reach, even transitively. net itself comes in
// with crypto/x509 and is banned as a direct import.
var never = []string{
	"net/http", "os/exec", "plugin", "log", "log/slog",
	"github.com/tetratelabs/wazero", "github.com/hashicorp", "github.com/spf13",
	module + "/plugins", module + "/sdk",
}

type listed struct {
	ImportPath   string
	Imports      []string
	Deps         []string
	TestImports  []string
	XTestImports []string
	Standard     bool
}

// kindOf places a package of the module; guests are placed by their folder,
// since authors may split theirs as they like.
func kindOf(rel string) (kind, bool) {
	if k, ok := house[rel]; ok {
		return k, true
	}
	if rel == "sdk" || strings.HasPrefix(rel, "sdk/") || rel == "plugins" || strings.HasPrefix(rel, "plugins/") {
		return guest, true
	}
	return "", false
}

func within(importPath, prefix string) bool {
	return importPath == prefix || strings.HasPrefix(importPath, prefix+"/")
}

func list(t *testing.T, env []string, patterns ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Imports,Deps,Standard"}, patterns...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// TestImports holds the import graph against the rules of the house. Run it
// with -count=1: the test cache does not see what go list reads.
func TestImports(t *testing.T) {
	seen := 0
	for _, p := range list(t, nil, "./...") {
		rel, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue
		}
		seen++
		k, ok := kindOf(rel)
		if !ok {
			t.Errorf("%s has no place: list it in the table of this test, with its kind", rel)
			continue
		}
		for _, imp := range p.Imports {
			checkImport(t, rel, k, imp)
		}
		if k == core {
			for _, dep := range p.Deps {
				for _, ban := range never {
					if within(dep, ban) {
						t.Errorf("core package %s reaches %s", rel, dep)
					}
				}
			}
		}
	}
	if seen < 20 {
		t.Fatalf("saw %d packages of the module: the listing is broken", seen)
	}
	for rel := range house {
		if _, err := os.Stat(path.Join("..", rel)); err != nil {
			t.Errorf("the table lists %s, which is not there", rel)
		}
	}
}

func checkImport(t *testing.T, rel string, k kind, imp string) {
	t.Helper()
	for prefix, allowed := range only {
		if within(imp, prefix) && !slices.Contains(allowed, rel) {
			t.Errorf("%s imports %s, which only %s may", rel, imp, strings.Join(allowed, ", "))
		}
	}
	if k == core && imp == "net" {
		t.Errorf("core package %s imports net", rel)
	}
	to, ours := strings.CutPrefix(imp, module+"/")
	if !ours {
		if (k == core || k == guest) && strings.Contains(strings.Split(imp, "/")[0], ".") && !externalAllowed(rel, k, imp) {
			t.Errorf("%s package %s imports %s", k, rel, imp)
		}
		return
	}
	tk, ok := kindOf(to)
	if !ok {
		return // reported where it is listed itself
	}
	if !slices.Contains(mayImport[k], tk) {
		t.Errorf("%s package %s imports %s package %s", k, rel, tk, to)
	}
	if k == core && tk == base && !slices.Contains(coreBase, to) {
		t.Errorf("core package %s imports %s; of base it may import only %s", rel, to, strings.Join(coreBase, ", "))
	}
}

// externalAllowed says which modules of others the two strictest kinds may use.
func externalAllowed(rel string, k kind, imp string) bool {
	if k == guest {
		return false
	}
	for _, ok := range []string{"github.com/go-json-experiment/json", "golang.org/x/mod/sumdb/note", "golang.org/x/mod/sumdb/tlog", "github.com/go-jose/go-jose/v4", "filippo.io/edwards25519"} {
		if within(imp, ok) {
			return true
		}
	}
	return false
}

// TestGuestsStandAlone shows that what is compiled to wasm depends on nothing
// but the standard library and the SDK.
func TestGuestsStandAlone(t *testing.T) {
	pkgs := list(t, []string{"GOOS=wasip1", "GOARCH=wasm"}, "./sdk/...", "./plugins/axon", "./plugins/forward/...", "./plugins/slime")
	seen := 0
	for _, p := range pkgs {
		if p.Standard {
			continue
		}
		seen++
		if !within(p.ImportPath, module+"/sdk") && !within(p.ImportPath, module+"/plugins") {
			t.Errorf("a guest depends on %s", p.ImportPath)
		}
	}
	if seen < 4 {
		t.Fatalf("saw %d guest packages: the listing is broken", seen)
	}
}
