package plugin

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

const lockText = `{
  "v": 1,
  "plugins": [
    {
      "name": "acme.dev/x",
      "version": "1.0.0",
      "kind": "forwarder",
      "runtime": "wasm",
      "payloads": {
        "wasm": {
          "digest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
          "size": 8
        }
      },
      "manifest": {
        "digest": "sha256:1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "size": 100
      },
      "dev": true,
      "source": "/src/x",
      "grants": [
        "files=/out",
        "net=https://a.dev:443"
      ]
    },
    {
      "name": "acme.dev/y",
      "version": "1.0.0",
      "kind": "mapper",
      "runtime": "wasm",
      "payloads": {
        "wasm": {
          "digest": "sha256:2123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
          "size": 8
        }
      },
      "manifest": {
        "digest": "sha256:3123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "size": 100
      },
      "dev": true,
      "source": "/src/y",
      "grants": []
    }
  ]
}
`

func TestLockIsWhatItsContentSays(t *testing.T) {
	f, err := parseLock([]byte(lockText), "carl.plugins.lock")
	if err != nil {
		t.Fatal(err)
	}
	data, err := f.marshal()
	if err != nil || string(data) != lockText {
		t.Fatalf("%v\n%s", err, data)
	}
	y, ok := f.find("acme.dev/y")
	if !ok {
		t.Fatal("not found")
	}
	again, err := f.without("acme.dev/y").with(y).marshal()
	if err != nil || string(again) != lockText {
		t.Errorf("the order of installing shows: %v\n%s", err, again)
	}
	if len(f.Plugins) != 2 {
		t.Error("without changed the original")
	}
}

func TestLockRefuses(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(lockText, old) {
			t.Fatalf("%q is not in the lock", old)
		}
		return strings.Replace(lockText, old, new, 1)
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "not a JSON object"},
		{"cut", lockText[:200], "not a JSON object"},
		{"a list", "[]", "not a JSON object"},
		{"no version", `{"plugins":[]}`, `no version "v"`},
		{"version as text", `{"v":"1","plugins":[]}`, `no version "v"`},
		{"two versions", `{"v":1,"v":1,"plugins":[]}`, "has a member twice"},
		{"unknown member", swap(`"dev": true`, `"dev": true, "trusted": true`), "trusted"},
		{"member twice", swap(`"dev": true`, `"dev": true, "dev": true`), "has a member twice"},
		{"something behind", lockText + "{}", "not a JSON object"},
		{"name", swap(`"acme.dev/x"`, `"acme.dev/../x"`), "the name is not legal"},
		{"a name of carl's", swap(`"acme.dev/x"`, `"carl.camp/axon"`), "names below carl.camp/"},
		{"order", swap(`"acme.dev/y"`, `"acme.dev/w"`), "not in the order of names"},
		{"twice", swap(`"acme.dev/y"`, `"acme.dev/x"`), "stands twice"},
		{"version of the plugin", swap(`"1.0.0"`, `"1"`), "not a semantic version"},
		{"kind", swap(`"forwarder"`, `"Forwarder"`), "the kind is not known"},
		{"runtime", swap(`"wasm",`, `"native",`), "the runtime is not known"},
		{"platform", swap(`"wasm": {`, `"linux/amd64": {`), "not one wasm module"},
		{"digest in capitals", swap("sha256:0123456789abcdef", "sha256:0123456789ABCDEF"), "not one wasm module"},
		{"digest that is a path", swap("sha256:0123456789abcdef", "sha256:../../../etc/pas"), "not one wasm module"},
		{"short digest", swap("sha256:0123456789abcdef", "sha256:"), "not one wasm module"},
		{"other digest", swap("sha256:0123", "sha512:0123"), "not one wasm module"},
		{"size of nothing", swap(`"size": 8`, `"size": 0`), "not one wasm module"},
		{"size beyond all bounds", swap(`"size": 8`, `"size": 33554433`), "not one wasm module"},
		{"size as a fraction", swap(`"size": 8`, `"size": 8.5`), "size"},
		{"manifest", swap("sha256:1123", "sha256:x123"), "manifest's digest"},
		{"neither signed nor dev", swap(`"dev": true,`, ``), "neither signed nor marked as dev"},
		{"relative source", swap(`"/src/x"`, `"src/x"`), "not the absolute path"},
		{"source that writes to the terminal", swap(`"/src/x"`, `"/src/\u001b[31mx"`), "not the absolute path"},
		{"open grant", swap(`"net=https://a.dev:443"`, `"net=https://*"`), "the grants are not in their one spelling"},
		{"grant without a port", swap(`"net=https://a.dev:443"`, `"net=https://a.dev"`), "the grants are not in their one spelling"},
		{"grants out of order", swap(`"files=/out"`, `"secret=a"`), "the grants are not in their one spelling"},
		{"unknown grant", swap(`"files=/out"`, `"everything=yes"`), "the grants are not in their one spelling"},
		{"relative files", swap(`"files=/out"`, `"files=out"`), "the grants are not in their one spelling"},
	} {
		dir := t.TempDir()
		c2 := &Catalog{paths: home.PathsOf(dir)}
		path := filepath.Join(dir, "carl.plugins.lock")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := c2.List()
		if fault.CodeOf(err) != fault.PluginLockInvalid || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "no installed plugin was loaded") {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != c.text {
			t.Errorf("%s: the lock was touched", c.name)
		}
	}
	if _, err := parseLock([]byte(`{"v":2,"signed":[]}`), "l"); fault.CodeOf(err) != fault.HomeTooNew || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a later version: %v", err)
	}
}

// A lock that says something else than the manifest is not believed.
func TestLockAgainstManifest(t *testing.T) {
	dir := t.TempDir()
	c := &Catalog{paths: home.PathsOf(dir)}
	text := []byte("name: acme.dev/x\nversion: 1.0.0\nkind: forwarder\nruntime: wasm\npayload: p.wasm\n")
	m, err := c.put(text)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := c.put([]byte("\x00asm"))
	if err != nil {
		t.Fatal(err)
	}
	good := lockEntry{Name: "acme.dev/x", Version: "1.0.0", Kind: Forwarder, Runtime: Wasm, Payloads: map[string]blob{"wasm": payload}, Manifest: m, Dev: true, Source: "/src"}
	for name, change := range map[string]func(*lockEntry){
		"":                      func(*lockEntry) {},
		"another name":          func(l *lockEntry) { l.Name = "acme.dev/y" },
		"another version":       func(l *lockEntry) { l.Version = "2.0.0" },
		"another kind":          func(l *lockEntry) { l.Kind = Mapper },
		"settings from nowhere": func(l *lockEntry) { l.Settings = &m },
	} {
		l := good
		change(&l)
		if err := c.writeLock((&lockFile{}).with(l)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Resolve(l.Name)
		if name == "" && err != nil || name != "" && fault.CodeOf(err) != fault.PluginLockInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzLock(f *testing.F) {
	f.Add([]byte(lockText))
	f.Add([]byte(`{"v":1,"plugins":[]}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLock(data, "lock")
		if err != nil {
			if code := fault.CodeOf(err); code != fault.PluginLockInvalid && code != fault.HomeTooNew {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, e := range l.Plugins {
			for _, b := range e.blobs() {
				if name := filepath.Base((&Catalog{paths: home.PathsOf("/h")}).pathOf(b)); !isStoreName(name) {
					t.Fatalf("a digest leads to %q", name)
				}
			}
		}
		out, err := l.marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseLock(out, "lock")
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, out)
		}
		if twice, _ := again.marshal(); !bytes.Equal(out, twice) {
			t.Fatalf("not stable:\n%s\n%s", out, twice)
		}
	})
}
