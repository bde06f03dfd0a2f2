package plugin

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/private"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// lockVersion is the one layout of carl.plugins.lock that this carl writes and reads.
	lockVersion = 1
	// maxLock and maxInstalled bound the lock: an entry takes about a kilobyte.
	maxLock      = 4 << 20
	maxInstalled = 1024
)

// lockFile is carl.plugins.lock: one JSON object, its plugins sorted by name,
// its members in the order of the fields, indented by two spaces, with a line
// end behind it. The bytes follow from the content alone.
type lockFile struct {
	V       int         `json:"v"`
	Plugins []lockEntry `json:"plugins"`
}

type lockEntry struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Kind    Kind    `json:"kind"`
	Runtime Runtime `json:"runtime"`
	// Payloads are by platform, as in the manifest.
	Payloads map[string]blob `json:"payloads"`
	Manifest blob            `json:"manifest"`
	Settings *blob           `json:"settings,omitempty"`
	// Dev marks an unsigned plugin, and Source is the folder that it came from.
	Dev    bool   `json:"dev,omitzero"`
	Source string `json:"source,omitzero"`
	// Grants are in the notation of --grant, sorted.
	Grants []string `json:"grants"`
}

// payload returns the payload that runs here; invalid has seen that there is one.
func (l lockEntry) payload() blob { return l.Payloads[string(Wasm)] }

func (l lockEntry) blobs() []blob {
	list := slices.Collect(maps.Values(l.Payloads))
	list = append(list, l.Manifest)
	if l.Settings != nil {
		list = append(list, *l.Settings)
	}
	return list
}

// granted cannot fail: validate read the grants before.
func (l lockEntry) granted() Grants {
	g, err := ParseGrants(l.Grants)
	if err != nil {
		return Grants{}
	}
	return g
}

func (f *lockFile) find(name string) (lockEntry, bool) {
	i, ok := slices.BinarySearchFunc(f.Plugins, name, func(l lockEntry, name string) int { return cmp.Compare(l.Name, name) })
	if !ok {
		return lockEntry{}, false
	}
	return f.Plugins[i], true
}

func (f *lockFile) without(name string) *lockFile {
	out := &lockFile{V: lockVersion, Plugins: slices.Clone(f.Plugins)}
	out.Plugins = slices.DeleteFunc(out.Plugins, func(l lockEntry) bool { return l.Name == name })
	return out
}

func (f *lockFile) with(l lockEntry) *lockFile {
	out := f.without(l.Name)
	out.Plugins = append(out.Plugins, l)
	slices.SortFunc(out.Plugins, func(a, b lockEntry) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (c *Catalog) readLock() (*lockFile, error) {
	data, err := private.ReadFile(c.paths.PluginLock, maxLock)
	if errors.Is(err, fs.ErrNotExist) {
		return &lockFile{V: lockVersion}, nil
	}
	if err != nil {
		return nil, err
	}
	return parseLock(data, c.paths.PluginLock)
}

func (c *Catalog) writeLock(f *lockFile) error {
	data, err := f.marshal()
	if err != nil {
		return err
	}
	return private.WriteFile(c.paths.PluginLock, data)
}

func (f *lockFile) marshal() ([]byte, error) {
	data, err := json.Marshal(f, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fault.New(fault.Internal, "the plugin lock cannot be encoded: %w", err)
	}
	return append(data, '\n'), nil
}

func invalidLock(path, format string, args ...any) error {
	return fault.New(fault.PluginLockInvalid, path+": "+format, args...).WithKept("no installed plugin was loaded")
}

// parseLock reads strictly: an entry that is not understood in full could be a
// grant that is not understood.
func parseLock(data []byte, path string) (*lockFile, error) {
	var later struct {
		V jsontext.Value `json:"v"`
	}
	var v int64
	if err := json.Unmarshal(data, &later); err != nil {
		return nil, invalidLock(path, "it is not a JSON object, or has a member twice")
	}
	if later.V == nil || json.Unmarshal(later.V, &v) != nil || v < 1 {
		return nil, invalidLock(path, `it has no version "v"`)
	}
	if v > lockVersion {
		return nil, fault.New(fault.HomeTooNew, "%s has version %d, and this carl knows version %d: use the version of carl that wrote it, or a later one", path, v, lockVersion).
			WithKept("no installed plugin was loaded; the file was left as it is")
	}
	f := new(lockFile)
	if err := json.Unmarshal(data, f, json.RejectUnknownMembers(true)); err != nil {
		return nil, invalidLock(path, "%w", err)
	}
	if len(f.Plugins) > maxInstalled {
		return nil, invalidLock(path, "it lists %d plugins, and at most %d are read", len(f.Plugins), maxInstalled)
	}
	for i, l := range f.Plugins {
		if why := l.invalid(); why != "" {
			return nil, invalidLock(path, "entry %d (%.80q): %s", i+1, l.Name, why)
		}
		if i > 0 && f.Plugins[i-1].Name >= l.Name {
			return nil, invalidLock(path, "entry %d (%.80q) is not in the order of names, or stands twice", i+1, l.Name)
		}
	}
	return f, nil
}

func (l lockEntry) invalid() string {
	switch {
	case home.CheckPluginName(l.Name) != nil:
		return "the name is not legal"
	case strings.HasPrefix(l.Name, bundledNamespace):
		return "names below " + bundledNamespace + " are for plugins that come with carl"
	case !validVersion(l.Version):
		return "the version is not a semantic version"
	case l.Kind != Mapper && l.Kind != Translator && l.Kind != Forwarder:
		return "the kind is not known"
	case l.Runtime != Wasm:
		return "the runtime is not known"
	case len(l.Payloads) != 1 || !l.Payloads[string(Wasm)].valid(maxPayload):
		return "the payload is not one wasm module with its digest and size"
	case !l.Manifest.valid(maxManifest):
		return "the manifest's digest or size is not legal"
	case l.Settings != nil && !l.Settings.valid(maxSchema):
		return "the digest or size of the settings' schema is not legal"
	case !l.Dev:
		return "it is neither signed nor marked as dev"
	case !filepath.IsAbs(l.Source) || strings.ContainsFunc(l.Source, isControl):
		return "the source is not the absolute path of a folder"
	}
	g, err := ParseGrants(l.Grants)
	if err != nil || !slices.Equal(g.Strings(), l.Grants) {
		return "the grants are not in their one spelling and order"
	}
	return ""
}
