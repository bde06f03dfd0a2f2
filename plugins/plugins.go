// Package plugins carries the plugins that come with carl: their manifests
// always, their modules when they were built before carl was (`make build`
// does both; a plain `go build` embeds whatever plugins/built holds).
package plugins

import (
	"embed"
	"io/fs"
)

//go:embed built axon/plugin.yaml forward/camp/plugin.yaml forward/camp/settings.schema.json forward/jsonl/plugin.yaml forward/jsonl/settings.schema.json slime/plugin.yaml
var files embed.FS

// A Bundle is one bundled plugin. Its bytes are the caller's.
type Bundle struct {
	// Name is the plugin's name, as its manifest has it.
	Name string
	// Manifest is the text of its plugin.yaml.
	Manifest []byte
	// Settings is the JSON Schema that the manifest names under settings, or nil.
	Settings []byte
	// Module is the wasm module, or nil when this build of carl lacks it.
	Module []byte
}

// sources says where a plugin's files are. Its module is built/<module>.
var sources = []struct{ name, dir, module string }{
	{"carl.camp/axon", "axon", "axon.wasm"},
	{"carl.camp/forward/camp", "forward/camp", "forward-camp.wasm"},
	{"carl.camp/forward/jsonl", "forward/jsonl", "forward-jsonl.wasm"},
	{"carl.camp/slime", "slime", "slime.wasm"},
}

// Bundled returns the bundled plugins, sorted by name. It copies their
// modules, some megabytes each: see [Manifests]. It may be called from several
// goroutines.
func Bundled() []Bundle {
	list := Manifests()
	for i, s := range sources {
		list[i].Module = read("built/" + s.module)
	}
	return list
}

// Manifests returns the bundled plugins without their modules, for whoever
// only asks what they are.
func Manifests() []Bundle {
	list := make([]Bundle, len(sources))
	for i, s := range sources {
		list[i] = Bundle{
			Name:     s.name,
			Manifest: read(s.dir + "/plugin.yaml"),
			Settings: read(s.dir + "/settings.schema.json"),
		}
	}
	return list
}

// Has reports whether this build carries the module of the plugin name.
func Has(name string) bool {
	for _, s := range sources {
		if s.name == name {
			_, err := fs.Stat(files, "built/"+s.module)
			return err == nil
		}
	}
	return false
}

// read returns nil for a file that this build has not embedded.
func read(path string) []byte {
	data, err := files.ReadFile(path)
	if err != nil {
		return nil
	}
	return data
}
