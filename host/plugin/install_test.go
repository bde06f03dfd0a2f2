package plugin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
)

// site is a home with its catalog, and a folder for authors' folders.
type site struct {
	t       *testing.T
	home    *home.Home
	catalog *plugin.Catalog
	work    string
}

func newSite(t *testing.T) *site {
	t.Helper()
	work := t.TempDir()
	h, err := home.Open(filepath.Join(work, "home"))
	if err != nil {
		t.Fatal(err)
	}
	bundles := []plugin.Bundle{
		{Name: "carl.camp/axon", Manifest: []byte("name: carl.camp/axon\nversion: 0.1.0\nkind: mapper\nruntime: wasm\npayload: plugin.wasm\nsummary: Maps\n"), Module: []byte("\x00asm bundled")},
		{Name: "carl.camp/forward/jsonl", Manifest: []byte("name: carl.camp/forward/jsonl\nversion: 0.1.0\nkind: forwarder\nruntime: wasm\npayload: plugin.wasm\n")},
	}
	return &site{t, h, plugin.NewCatalog(h, bundles), work}
}

// author writes a folder with a plugin.yaml and a payload.
func (s *site) author(name, version, extra, payload string) string {
	s.t.Helper()
	dir := filepath.Join(s.work, strings.ReplaceAll(name, "/", "-"))
	s.write(dir, "plugin.yaml", fmt.Sprintf("name: %s\nversion: %s\nkind: forwarder\nruntime: wasm\npayload: plugin.wasm\nsummary: A test\n%s", name, version, extra))
	s.write(dir, "plugin.wasm", payload)
	return dir
}

func (s *site) write(dir, name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) install(dir string, o plugin.InstallOptions) *plugin.Installed {
	s.t.Helper()
	done, err := s.catalog.InstallDev(context.Background(), dir, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

// stored lists the store's files.
func (s *site) stored() []string {
	s.t.Helper()
	entries, err := os.ReadDir(s.home.Paths.Store)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// snapshot is everything in the home but its lock files, to show that nothing was touched.
func (s *site) snapshot() map[string]string {
	s.t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(s.home.Paths.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == ".lock" {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return all
}

func (s *site) untouched(before map[string]string, what string) {
	s.t.Helper()
	after := s.snapshot()
	for path, text := range before {
		if after[path] != text {
			s.t.Errorf("%s: %s was changed or removed", what, path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			s.t.Errorf("%s: %s was left behind", what, path)
		}
	}
}

func TestInstallResolveRemove(t *testing.T) {
	s := newSite(t)
	const schema = `{"type":"object","properties":{"file":{"type":"string"}},"additionalProperties":false}`
	dir := s.author("acme.dev/x", "1.2.3", "requests: {net: ['https://a.dev'], files: true}\nsettings: s.json\n", "\x00asm one")
	s.write(dir, "s.json", schema)
	checked := false
	done := s.install(dir, plugin.InstallOptions{
		Grants: grants(t, "net=https://a.dev"),
		Check: func(_ context.Context, m *plugin.Manifest, module []byte) error {
			checked = m.Name == "acme.dev/x" && string(module) == "\x00asm one"
			return nil
		},
	})
	if !checked || done.Replaced != "" || !slices.Equal(done.Missing, []string{"files=DIR"}) {
		t.Errorf("checked %v, %+v", checked, done)
	}
	p, err := s.catalog.Resolve("acme.dev/x")
	if err != nil {
		t.Fatal(err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("\x00asm one")))
	if string(p.Module) != "\x00asm one" || p.Digest != digest || p.Origin != plugin.Dev || p.Source != dir || string(p.Schema) != schema ||
		p.Manifest.Version != "1.2.3" || !slices.Equal(p.Granted.Strings(), []string{"net=https://a.dev:443"}) {
		t.Errorf("%+v", p)
	}
	for _, name := range s.stored() {
		path := filepath.Join(s.home.Paths.Store, name)
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || info.Mode().Perm()&0o222 != 0 || fmt.Sprintf("%x", sha256.Sum256(data)) != name {
			t.Errorf("%s: mode %04o, %v", name, info.Mode().Perm(), err)
		}
	}
	described, err := s.catalog.Describe("acme.dev/x")
	if err != nil || described.Module != nil || described.Digest != digest || string(described.Schema) != schema || !slices.Equal(described.Granted.Strings(), p.Granted.Strings()) {
		t.Errorf("%+v, %v", described, err)
	}
	// The folder may go: what counts was copied.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.catalog.Resolve("acme.dev/x"); err != nil {
		t.Error(err)
	}
	list, err := s.catalog.List()
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	if e := list[0]; e.Name != "acme.dev/x" || e.Version != "1.2.3" || e.Kind != plugin.Forwarder || e.Digest != digest || e.Size != 8 || e.Summary != "A test" || e.Problem != nil || e.Origin != plugin.Dev {
		t.Errorf("%+v", e)
	}
	if e := list[1]; e.Name != "carl.camp/axon" || e.Origin != plugin.Bundled || e.Problem != nil || e.Digest == "" {
		t.Errorf("%+v", e)
	}
	if e := list[2]; e.Name != "carl.camp/forward/jsonl" || e.Digest != "" || fault.CodeOf(e.Problem) != fault.PluginNotFound {
		t.Errorf("%+v", e)
	}
	before := s.snapshot()
	if err := s.catalog.Remove(context.Background(), "acme.dev/x", []string{"lake"}, false); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), `the destination "lake"`) || !strings.Contains(err.Error(), "nothing was removed") {
		t.Errorf("%v", err)
	}
	s.untouched(before, "a refused removal")
	if err := s.catalog.Remove(context.Background(), "acme.dev/x", []string{"lake"}, true); err != nil {
		t.Error(err)
	}
	if left := s.stored(); len(left) != 0 {
		t.Errorf("left in the store: %v", left)
	}
	if _, err := s.catalog.Resolve("acme.dev/x"); fault.CodeOf(err) != fault.PluginNotFound {
		t.Errorf("%v", err)
	}
	if err := s.catalog.Remove(context.Background(), "acme.dev/x", nil, false); fault.CodeOf(err) != fault.PluginNotFound {
		t.Errorf("%v", err)
	}
	if err := s.catalog.Remove(context.Background(), "carl.camp/axon", nil, true); fault.CodeOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
}

func TestResolveBundled(t *testing.T) {
	s := newSite(t)
	p, err := s.catalog.Resolve("carl.camp/axon")
	if err != nil || p.Origin != plugin.Bundled || !bytes.HasPrefix(p.Module, []byte("\x00asm")) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := s.catalog.Resolve("carl.camp/forward/jsonl"); fault.CodeOf(err) != fault.PluginNotFound || !strings.Contains(fault.HintOf(err), "make build") {
		t.Errorf("a plugin that this build lacks: %v", err)
	}
	if p, err := s.catalog.Describe("carl.camp/forward/jsonl"); err != nil || p.Manifest.Version != "0.1.0" {
		t.Errorf("what a plugin may do shows without its module: %+v, %v", p, err)
	}
	if _, err := s.catalog.Resolve("carl.camp/axom"); fault.CodeOf(err) != fault.PluginNotFound || !strings.Contains(fault.HintOf(err), "did you mean carl.camp/axon") {
		t.Errorf("%v, hint %s", err, fault.HintOf(err))
	}
	if s.home.Exists() {
		t.Error("looking made the home")
	}
}

func TestSharedBytesStayUntilTheLastUser(t *testing.T) {
	s := newSite(t)
	s.install(s.author("acme.dev/x", "1.0.0", "", "\x00asm same"), plugin.InstallOptions{})
	s.install(s.author("acme.dev/y", "1.0.0", "", "\x00asm same"), plugin.InstallOptions{})
	if n := len(s.stored()); n != 3 { // two manifests, one payload
		t.Errorf("%d files in the store", n)
	}
	if err := s.catalog.Remove(context.Background(), "acme.dev/x", nil, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.catalog.Resolve("acme.dev/y"); err != nil {
		t.Error(err)
	}
	if n := len(s.stored()); n != 2 {
		t.Errorf("%d files in the store", n)
	}
}

func TestInstallRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		code fault.Code
		want string
		make func(s *site) string
		opts func(t *testing.T) plugin.InstallOptions
	}{
		{"no folder", fault.InputNotFound, "cannot be opened as a folder", func(s *site) string { return filepath.Join(s.work, "none") }, nil},
		{"a file", fault.InputNotFound, "cannot be opened as a folder", func(s *site) string {
			return filepath.Join(s.author("acme.dev/x", "1.0.0", "", "x"), "plugin.yaml")
		}, nil},
		{"no manifest", fault.InputNotFound, "there is no plugin.yaml", func(s *site) string { return s.work }, nil},
		{"bad manifest", fault.PluginManifestInvalid, `plugin.yaml:7:1: unknown member "sumary"; the nearest is "summary"`, func(s *site) string {
			return s.author("acme.dev/x", "1.0.0", "sumary: x\n", "x")
		}, nil},
		{"a name of carl's", fault.PluginUntrusted, "names below carl.camp/ are for plugins that come with carl", func(s *site) string {
			return s.author("carl.camp/axon", "9.0.0", "", "x")
		}, nil},
		{"another name of carl's", fault.PluginUntrusted, "names below carl.camp/", func(s *site) string {
			return s.author("carl.camp/new", "9.0.0", "", "x")
		}, nil},
		{"native", fault.PluginManifestInvalid, "native plugins are not in this version of carl", func(s *site) string {
			dir := s.author("acme.dev/x", "1.0.0", "", "x")
			s.write(dir, "plugin.yaml", "name: acme.dev/x\nversion: 1.0.0\nkind: forwarder\nruntime: native\npayload: {linux/amd64: plugin.wasm}\n")
			return dir
		}, nil},
		{"no payload", fault.PluginManifestInvalid, "plugin.wasm: the payload cannot be read: no such file", func(s *site) string {
			dir := s.author("acme.dev/x", "1.0.0", "", "x")
			if err := os.Remove(filepath.Join(dir, "plugin.wasm")); err != nil {
				s.t.Fatal(err)
			}
			return dir
		}, nil},
		{"an empty payload", fault.PluginBadModule, "the payload is empty", func(s *site) string { return s.author("acme.dev/x", "1.0.0", "", "") }, nil},
		{"a payload of 33 MiB", fault.PluginManifestInvalid, "larger than 33554432 bytes", func(s *site) string {
			dir := s.author("acme.dev/x", "1.0.0", "", "x")
			if err := os.Truncate(filepath.Join(dir, "plugin.wasm"), 33<<20); err != nil {
				s.t.Fatal(err)
			}
			return dir
		}, nil},
		{"a folder for a payload", fault.PluginManifestInvalid, "it is not a regular file", func(s *site) string {
			return s.swap("plugin.wasm", func(path string) error { return os.Mkdir(path, 0o755) })
		}, nil},
		{"a FIFO for a payload", fault.PluginManifestInvalid, "it is not a regular file", func(s *site) string { return s.swap("plugin.wasm", mkfifo) }, nil},
		{"a FIFO for a manifest", fault.PluginManifestInvalid, "it is not a regular file", func(s *site) string { return s.swap("plugin.yaml", mkfifo) }, nil},
		{"a link out of the folder", fault.PluginManifestInvalid, "path escapes from parent", func(s *site) string {
			return s.swap("plugin.wasm", func(path string) error {
				s.write(s.work, "outside.wasm", "\x00asm outside")
				return os.Symlink("../outside.wasm", path)
			})
		}, nil},
		{"a link to an absolute path", fault.PluginManifestInvalid, "path escapes from parent", func(s *site) string {
			return s.swap("plugin.wasm", func(path string) error { return os.Symlink("/etc/passwd", path) })
		}, nil},
		{"a manifest that is a link out", fault.PluginManifestInvalid, "path escapes from parent", func(s *site) string {
			return s.swap("plugin.yaml", func(path string) error { return os.Symlink("/etc/passwd", path) })
		}, nil},
		{"no schema", fault.PluginManifestInvalid, "s.json: the settings' schema cannot be read", func(s *site) string {
			return s.author("acme.dev/x", "1.0.0", "settings: s.json\n", "x")
		}, nil},
		{"a schema that is none", fault.PluginManifestInvalid, "s.json: ", func(s *site) string {
			dir := s.author("acme.dev/x", "1.0.0", "settings: s.json\n", "x")
			s.write(dir, "s.json", `{"type":"objekt"}`)
			return dir
		}, nil},
		{"a grant that nobody requested", fault.Usage, "acme.dev/x does not request files=/out", func(s *site) string {
			return s.author("acme.dev/x", "1.0.0", "requests: {net: ['https://a.dev']}\n", "x")
		}, func(t *testing.T) plugin.InstallOptions {
			return plugin.InstallOptions{Grants: grants(t, "files=/out")}
		}},
		{"a secret for which origin", fault.Usage, "secret=tok does not say which of the 2 granted origins gets it", func(s *site) string {
			return s.author("acme.dev/x", "1.0.0", "requests: {net: ['https://*'], secrets: [{name: tok, header: Authorization, for: 'https://*'}]}\n", "x")
		}, func(t *testing.T) plugin.InstallOptions {
			return plugin.InstallOptions{Grants: grants(t, "net=https://a.dev", "net=https://b.dev", "secret=tok")}
		}},
		{"a module that the loader refuses", fault.PluginBadModule, "no such world", func(s *site) string { return s.author("acme.dev/x", "1.0.0", "", "x") },
			func(t *testing.T) plugin.InstallOptions {
				return plugin.InstallOptions{Check: func(context.Context, *plugin.Manifest, []byte) error {
					return fault.New(fault.PluginBadModule, "no such world")
				}}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.install(s.author("acme.dev/stays", "1.0.0", "", "\x00asm stays"), plugin.InstallOptions{})
			dir := c.make(s)
			var o plugin.InstallOptions
			if c.opts != nil {
				o = c.opts(t)
			}
			before := s.snapshot()
			_, err := s.catalog.InstallDev(context.Background(), dir, o)
			if fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if !strings.Contains(err.Error(), "nothing was installed") {
				t.Errorf("does not say what was left untouched: %v", err)
			}
			s.untouched(before, c.name)
		})
	}
}

// swap makes a folder in which one file is replaced by something else.
func (s *site) swap(name string, with func(path string) error) string {
	s.t.Helper()
	dir := s.author("acme.dev/x", "1.0.0", "", "x")
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil {
		s.t.Fatal(err)
	}
	if err := with(path); err != nil {
		s.t.Skipf("cannot be made here: %v", err)
	}
	return dir
}

func TestALinkWithinTheFolderIsFine(t *testing.T) {
	s := newSite(t)
	dir := s.swap("plugin.wasm", func(path string) error {
		s.write(filepath.Join(filepath.Dir(path), "dist"), "x.wasm", "\x00asm dist")
		return os.Symlink("dist/x.wasm", path)
	})
	s.install(dir, plugin.InstallOptions{})
	if p, err := s.catalog.Resolve("acme.dev/x"); err != nil || string(p.Module) != "\x00asm dist" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestAcceptGrants(t *testing.T) {
	s := newSite(t)
	dir := s.author("acme.dev/x", "1.0.0", "requests: {net: ['https://a.dev', 'https://*'], files: true, secrets: [{name: tok, header: Authorization, for: 'https://a.dev'}]}\n", "x")
	done := s.install(dir, plugin.InstallOptions{AcceptGrants: true})
	if got := done.Entry.Granted.Strings(); !slices.Equal(got, []string{"net=https://a.dev:443", "secret=tok"}) || !slices.Equal(done.Missing, []string{"files=DIR"}) {
		t.Errorf("granted %q, missing %q", got, done.Missing)
	}
	done = s.install(dir, plugin.InstallOptions{AcceptGrants: true, Grants: grants(t, "net=https://b.dev,private", "files=/out")})
	if got := done.Entry.Granted.Strings(); !slices.Equal(got, []string{"files=/out", "net=https://a.dev:443", "net=https://b.dev:443,private", "secret=tok"}) || len(done.Missing) != 0 {
		t.Errorf("granted %q, missing %q", got, done.Missing)
	}
}

func TestUpdate(t *testing.T) {
	s := newSite(t)
	const little = "requests: {net: ['https://a.dev'], files: true}\n"
	const more = "requests: {net: ['https://a.dev', 'https://b.dev'], files: true}\n"
	const less = "requests: {net: ['https://a.dev']}\n"
	s.install(s.author("acme.dev/x", "1.0.0", little, "\x00asm 1"), plugin.InstallOptions{Grants: grants(t, "net=https://a.dev", "files=/out")})

	done := s.install(s.author("acme.dev/x", "1.1.0", little, "\x00asm 2"), plugin.InstallOptions{})
	if done.Replaced != "1.0.0" || !slices.Equal(done.Entry.Granted.Strings(), []string{"files=/out", "net=https://a.dev:443"}) {
		t.Errorf("an update that asks for the same: %+v", done)
	}
	if n := len(s.stored()); n != 2 {
		t.Errorf("%d files in the store; the replaced ones are to go", n)
	}

	dir := s.author("acme.dev/x", "2.0.0", more, "\x00asm 3")
	before := s.snapshot()
	_, err := s.catalog.InstallDev(context.Background(), dir, plugin.InstallOptions{})
	if fault.CodeOf(err) != fault.PluginGrantDenied || !strings.Contains(err.Error(), "acme.dev/x 2.0.0 requests more than 1.1.0 did: net https://b.dev:443") ||
		!strings.Contains(err.Error(), "version 1.1.0 stays installed") || !strings.Contains(fault.HintOf(err), "--accept-grants") {
		t.Errorf("an update that asks for more: %v", err)
	}
	s.untouched(before, "an update that asks for more")
	if p, err := s.catalog.Resolve("acme.dev/x"); err != nil || string(p.Module) != "\x00asm 2" {
		t.Errorf("%+v, %v", p, err)
	}

	done = s.install(dir, plugin.InstallOptions{AcceptGrants: true})
	if !slices.Equal(done.Entry.Granted.Strings(), []string{"files=/out", "net=https://a.dev:443", "net=https://b.dev:443"}) {
		t.Errorf("accepted: %q", done.Entry.Granted.Strings())
	}
	done = s.install(s.author("acme.dev/x", "2.1.0", less, "\x00asm 4"), plugin.InstallOptions{})
	if !slices.Equal(done.Entry.Granted.Strings(), []string{"net=https://a.dev:443"}) {
		t.Errorf("an update that asks for less: %q", done.Entry.Granted.Strings())
	}
	s.install(s.author("acme.dev/x", "3.0.0", more, "\x00asm 5"), plugin.InstallOptions{Grants: grants(t, "net=https://b.dev")})
	p, err := s.catalog.Resolve("acme.dev/x")
	if err != nil || !slices.Equal(p.Granted.Strings(), []string{"net=https://b.dev:443"}) {
		t.Errorf("grants that are named stand alone: %q, %v", p.Granted.Strings(), err)
	}
}

func TestStoredBytesAreVerifiedAtEveryLoad(t *testing.T) {
	s := newSite(t)
	dir := s.author("acme.dev/x", "1.0.0", "settings: s.json\n", "\x00asm true")
	s.write(dir, "s.json", `{"type":"object"}`)
	s.install(dir, plugin.InstallOptions{})
	for _, name := range s.stored() {
		path := filepath.Join(s.home.Paths.Store, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		spoil := map[string]func() error{
			"one bit":  func() error { return os.WriteFile(path, append([]byte{data[0] ^ 1}, data[1:]...), 0o600) },
			"longer":   func() error { return os.WriteFile(path, append(slices.Clone(data), ' '), 0o600) },
			"shorter":  func() error { return os.WriteFile(path, data[:len(data)-1], 0o600) },
			"gone":     func() error { return os.Remove(path) },
			"a link":   func() error { return os.Symlink(filepath.Join(dir, "plugin.wasm"), path) },
			"a folder": func() error { return os.Mkdir(path, 0o700) },
			"a FIFO":   func() error { return mkfifo(path) },
		}
		for what, do := range spoil {
			os.RemoveAll(path)
			if err := do(); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Logf("%s cannot be made here: %v", what, err)
				continue
			}
			p, err := s.catalog.Resolve("acme.dev/x")
			if fault.CodeOf(err) != fault.PluginDigestMismatch || p != nil || !strings.Contains(err.Error(), "it was not loaded") || !strings.Contains(fault.HintOf(err), "install acme.dev/x again") {
				t.Errorf("%s: %+v, %v", what, p, err)
			}
			if list, err := s.catalog.List(); err != nil || list[0].Name != "acme.dev/x" {
				t.Errorf("%s: the listing does not survive: %v", what, err)
			}
		}
		os.RemoveAll(path)
		s.install(dir, plugin.InstallOptions{}) // which mends it
		if _, err := s.catalog.Resolve("acme.dev/x"); err != nil {
			t.Errorf("installed again: %v", err)
		}
	}
}

func TestInstallingAgainMendsDamagedBytes(t *testing.T) {
	s := newSite(t)
	dir := s.author("acme.dev/x", "1.0.0", "", "\x00asm true")
	s.install(dir, plugin.InstallOptions{})
	for _, name := range s.stored() {
		path := filepath.Join(s.home.Paths.Store, name)
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.catalog.Resolve("acme.dev/x"); fault.CodeOf(err) != fault.PluginDigestMismatch {
		t.Fatalf("%v", err)
	}
	s.install(dir, plugin.InstallOptions{})
	if p, err := s.catalog.Resolve("acme.dev/x"); err != nil || string(p.Module) != "\x00asm true" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestReadManifest(t *testing.T) {
	s := newSite(t)
	m, err := plugin.ReadManifest(s.author("acme.dev/x", "1.0.0", "", "x"))
	if err != nil || m.Name != "acme.dev/x" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := plugin.ReadManifest(filepath.Join(s.work, "none")); fault.CodeOf(err) != fault.InputNotFound || !strings.Contains(fault.HintOf(err), "plugin.yaml") {
		t.Errorf("%v", err)
	}
}

func TestUpdateThatRequestsMoreOfAnyKind(t *testing.T) {
	const all = "requests: {net: ['https://a.dev'], files: true, secrets: [{name: tok, header: Authorization, for: 'https://a.dev'}]}\n"
	for _, c := range []struct{ old, new, more string }{
		{"", "requests: {files: true}\n", "files"},
		{"requests: {net: ['https://a.dev']}\n", all, "secret tok in Authorization for https://a.dev:443"},
		{all, strings.Replace(all, "Authorization", "X-Api-Key", 1), "secret tok in X-Api-Key"},
		{"requests: {net: ['https://a.dev']}\n", "requests: {net: ['https://*']}\n", "net https://*"},
		{"requests: {net: ['https://*']}\n", "requests: {net: ['https://a.dev']}\n", ""},
		{all, all, ""},
	} {
		s := newSite(t)
		s.install(s.author("acme.dev/x", "1.0.0", c.old, "x"), plugin.InstallOptions{})
		_, err := s.catalog.InstallDev(context.Background(), s.author("acme.dev/x", "1.1.0", c.new, "y"), plugin.InstallOptions{})
		if c.more == "" && err != nil || c.more != "" && (fault.CodeOf(err) != fault.PluginGrantDenied || !strings.Contains(err.Error(), "more than 1.0.0 did: "+c.more)) {
			t.Errorf("%q to %q: %v", c.old, c.new, err)
		}
	}
}

func TestUsedBy(t *testing.T) {
	c, err := home.ParseConfig([]byte("destinations:\n  b: {plugin: acme.dev/x}\n  a: {plugin: acme.dev/y, mapper: acme.dev/x}\n  c: {plugin: acme.dev/y}\n"), "config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := plugin.UsedBy(c, "acme.dev/x"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%v", got)
	}
}
