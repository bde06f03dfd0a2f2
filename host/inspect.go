package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/plugin/wasm"
	"carl.camp/carl/host/private"
)

// maxModule is the largest module that could be loaded.
const maxModule = 32 << 20

// Inspection is what can be said of a plugin without running it.
type Inspection struct {
	// Name, Version and Kind are the manifest's; "" for a bare module.
	Name, Version, Kind string
	// Origin is bundled, dev, folder or file.
	Origin string
	Digest string // "sha256:" and 64 hex digits
	Size   int    // bytes of the module
	// Imports and Exports are module and field names of functions and memories.
	Imports, Exports []string
	// Network and Files say whether the import section lets it ask for HTTP
	// and for appends at all, whatever was granted.
	Network, Files bool
	// Requests, Grants and Missing are in the notation of --grant.
	Requests, Grants, Missing []string
	// Problem is why the module cannot be loaded, or "".
	Problem string
}

// InspectPlugin describes a plugin by name, or the plugin of a folder, or a
// wasm file. Errors are carl.plugin.not_found and those of reading.
func InspectPlugin(hm *home.Home, name string) (*Inspection, error) {
	if !looksLikeName(name) {
		return inspectPath(name)
	}
	p, err := Catalog(hm).Resolve(name)
	if err != nil {
		return nil, err
	}
	in := inspectModule(p.Module)
	in.Origin = string(p.Origin)
	granted := p.Granted
	if p.Origin == plugin.Bundled {
		config, err := hm.Config(os.Environ())
		if err != nil {
			return nil, err
		}
		if granted, err = bundledGrants(p, config); err != nil {
			return nil, err
		}
	}
	in.describe(p.Manifest, granted)
	return in, nil
}

func inspectPath(path string) (*Inspection, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.InputNotFound, "%q is neither a plugin's name nor a folder or module", path).WithHint("run `carl plugin list` for the names")
	case err != nil:
		return nil, fault.New(fault.IO, "%w", err)
	case info.IsDir():
		return inspectFolder(path)
	}
	return inspectFile(path)
}

// looksLikeName tells acme.dev/forward/splunk from ./splunk, so that a folder
// in the working directory cannot pass for an installed plugin.
func looksLikeName(s string) bool {
	return home.CheckPluginName(s) == nil && !strings.HasSuffix(s, ".wasm")
}

func inspectFolder(dir string) (*Inspection, error) {
	m, err := plugin.ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	in, err := inspectFile(filepath.Join(dir, filepath.FromSlash(m.Payload[string(plugin.Wasm)])))
	if err != nil {
		return nil, err
	}
	in.Origin = "folder"
	in.describe(m, plugin.Grants{})
	return in, nil
}

func inspectFile(file string) (*Inspection, error) {
	module, err := private.ReadFile(file, maxModule)
	if err != nil {
		return nil, err
	}
	in := inspectModule(module)
	in.Origin = "file"
	return in, nil
}

func (in *Inspection) describe(m *plugin.Manifest, granted plugin.Grants) {
	in.Name, in.Version, in.Kind = m.Name, m.Version, string(m.Kind)
	in.Requests = m.Missing(plugin.Grants{})
	in.Grants = granted.Strings()
	in.Missing = m.Missing(granted)
}

// inspectModule reads the sections of a module.
func inspectModule(module []byte) *Inspection {
	sum := sha256.Sum256(module)
	in := &Inspection{Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: len(module)}
	info, err := wasm.Inspect(module)
	if err != nil {
		in.Problem = err.Error()
		return in
	}
	for _, i := range info.Imports {
		in.Imports = append(in.Imports, i.Module+" "+i.Name)
		in.Network = in.Network || strings.HasPrefix(i.Module, "carl:plugin/http@")
		in.Files = in.Files || strings.HasPrefix(i.Module, "carl:plugin/files@")
	}
	for _, e := range info.Exports {
		in.Exports = append(in.Exports, e.Name)
	}
	slices.Sort(in.Imports)
	return in
}

// Precompile compiles an installed plugin into the cache, so that no later
// command pays for it.
func Precompile(ctx context.Context, hm *home.Home, name string) error {
	p, err := Catalog(hm).Resolve(name)
	if err != nil {
		return err
	}
	loaded, err := wasm.Load(ctx, p.Module, wasm.Config{
		Name:      name,
		World:     worldOf(p.Manifest.Kind),
		MemoryMiB: p.Manifest.LimitsUnder(plugin.Limits{}).MemoryMiB,
		CacheDir:  wasmCache(hm),
	})
	if err != nil {
		return err
	}
	return loaded.Close(ctx)
}
