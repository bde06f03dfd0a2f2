// Package plugin knows which plugins there are: what a manifest says, which
// bytes were installed, and what they were granted. It runs nothing.
//
// # Where plugins come from
//
// Some are bundled with carl and trusted as carl is. Others the operator
// installs: their payload, manifest and settings schema are kept in the store,
// each under the SHA-256 of its bytes, and carl.plugins.lock says which digests
// belong to which name. Whatever is returned from the store was hashed in the
// very bytes that are returned, at every load; no modification time is believed.
//
// # What a plugin gets
//
// Nothing, unless its manifest requests it and the operator granted it. A
// request may leave an origin open (https://*); a grant is always concrete.
// The lock's grants are the ceiling, and config.yaml narrows them for one
// destination. A bundled plugin has no entry in the lock: config.yaml, or carl
// itself for the platform's own origin and token, is what grants.
package plugin

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/nearest"
)

// bundledNamespace is closed to what is installed, so that nothing can pass for a part of carl.
const bundledNamespace = "carl.camp/"

// Bundle is one plugin that comes with carl.
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

// Origin is how a plugin came here.
type Origin string

// The origins.
const (
	Bundled Origin = "bundled"
	Dev     Origin = "dev" // an unsigned folder of the operator's own
)

// Catalog is the bundled and the installed plugins of one home. It keeps no
// state but its arguments, so it sees what other processes install, and may be
// used from several goroutines.
type Catalog struct {
	paths   home.Paths
	create  func() error // makes the home
	bundles []Bundle
}

// NewCatalog returns the plugins of h together with bundles, whose bytes must
// not be changed afterwards.
func NewCatalog(h *home.Home, bundles []Bundle) *Catalog {
	return &Catalog{paths: h.Paths, create: h.Create, bundles: bundles}
}

// Plugin is one plugin with everything that was verified.
type Plugin struct {
	Manifest *Manifest
	// Module is the payload. It hashes to Digest.
	Module []byte
	// Digest is "sha256:" and 64 lowercase hex digits.
	Digest string
	Origin Origin
	// Source is the folder that a [Dev] plugin was installed from.
	Source string
	// Granted is what the lock says; nothing for a bundled plugin.
	Granted Grants
	// Schema is the text of the JSON Schema of the settings, or nil.
	Schema []byte
}

// Entry is one plugin in a listing.
type Entry struct {
	Name    string
	Version string
	Kind    Kind
	Runtime Runtime
	Origin  Origin
	// Digest and Size are those of the payload; "" and 0 for a bundled plugin that this build lacks.
	Digest  string
	Size    int64
	Source  string
	Granted Grants
	Summary string
	// Problem is why the plugin cannot be loaded, as far as that shows without
	// reading its payload; nil when nothing is known against it.
	Problem error
}

// List returns every plugin, sorted by name. It reads no payload.
func (c *Catalog) List() ([]Entry, error) {
	lock, err := c.readLock()
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, b := range c.bundles {
		list = append(list, b.entry())
	}
	for _, l := range lock.Plugins {
		list = append(list, c.entry(l))
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (b Bundle) entry() Entry {
	e := Entry{Name: b.Name, Origin: Bundled, Size: int64(len(b.Module))}
	if b.Module != nil {
		e.Digest = digestOf(b.Module)
	} else {
		e.Problem = missing(b.Name)
	}
	m, err := b.manifest()
	if err != nil {
		e.Problem = err
		return e
	}
	e.Version, e.Kind, e.Runtime, e.Summary = m.Version, m.Kind, m.Runtime, m.Summary
	return e
}

func (c *Catalog) entry(l lockEntry) Entry {
	e := Entry{
		Name:    l.Name,
		Version: l.Version,
		Kind:    l.Kind,
		Runtime: l.Runtime,
		Origin:  Dev,
		Source:  l.Source,
		Granted: l.granted(),
	}
	payload := l.payload()
	e.Digest, e.Size = payload.Digest, payload.Size
	if err := c.stat(payload); err != nil {
		e.Problem = err
	}
	m, err := c.storedManifest(l)
	if err != nil {
		e.Problem = err
		return e
	}
	e.Summary = m.Summary
	return e
}

// Resolve returns the plugin of a name with its payload, verified. Errors are
// carl.plugin.not_found, carl.plugin.digest_mismatch and those of the lock.
func (c *Catalog) Resolve(name string) (*Plugin, error) {
	p, err := again(func() (*Plugin, error) {
		p, payload, err := c.describe(name)
		if err == nil && p.Origin != Bundled {
			p.Module, err = c.get(name, payload)
		}
		return p, err
	})
	if err != nil {
		return nil, err
	}
	if p.Module == nil {
		return nil, missing(name)
	}
	if p.Origin == Bundled {
		p.Digest = digestOf(p.Module)
	}
	return p, nil
}

// Describe returns the plugin of a name without its payload: Module is nil, and
// nothing was verified but manifest and schema. Digest is what the lock says,
// "" for a bundled plugin. It is for those who ask what a plugin may do, and
// run nothing. Errors are those of [Catalog.Resolve].
func (c *Catalog) Describe(name string) (*Plugin, error) {
	p, err := again(func() (*Plugin, error) {
		p, _, err := c.describe(name)
		return p, err
	})
	if err != nil {
		return nil, err
	}
	p.Module = nil
	return p, nil
}

// maxReads bounds how often a plugin is looked up while others replace it.
const maxReads = 8

// again reads once more what the store did not have: another process may have
// replaced the plugin, and removed its old bytes, between the reading of the
// lock and of the store.
func again(read func() (*Plugin, error)) (p *Plugin, err error) {
	for range maxReads {
		if p, err = read(); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return p, err
}

// describe returns a bundled plugin whole, and of an installed one everything
// but the payload, which it names.
func (c *Catalog) describe(name string) (*Plugin, blob, error) {
	for _, b := range c.bundles {
		if b.Name == name {
			m, err := b.manifest()
			if err != nil {
				return nil, blob{}, err
			}
			return &Plugin{Manifest: m, Module: b.Module, Origin: Bundled, Schema: b.Settings}, blob{}, nil
		}
	}
	lock, err := c.readLock()
	if err != nil {
		return nil, blob{}, err
	}
	l, ok := lock.find(name)
	if !ok {
		return nil, blob{}, c.notFound(name, lock)
	}
	m, err := c.storedManifest(l)
	if err != nil {
		return nil, blob{}, err
	}
	payload := l.payload()
	p := &Plugin{Manifest: m, Digest: payload.Digest, Origin: Dev, Source: l.Source, Granted: l.granted()}
	if l.Settings != nil {
		if p.Schema, err = c.get(name, *l.Settings); err != nil {
			return nil, blob{}, err
		}
	}
	return p, payload, nil
}

// storedManifest reads the manifest of an installed plugin and holds it against the lock.
func (c *Catalog) storedManifest(l lockEntry) (*Manifest, error) {
	text, err := c.get(l.Name, l.Manifest)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(text, "plugin.yaml of "+l.Name)
	if err != nil {
		return nil, err
	}
	if m.Name != l.Name || m.Version != l.Version || m.Kind != l.Kind || m.Runtime != l.Runtime || (m.Settings != "") != (l.Settings != nil) {
		return nil, invalidLock(c.paths.PluginLock, "what it says of %q is not what the plugin's manifest says", l.Name)
	}
	return m, nil
}

func (c *Catalog) notFound(name string, lock *lockFile) error {
	names := make([]string, 0, len(c.bundles)+len(lock.Plugins))
	for _, b := range c.bundles {
		names = append(names, b.Name)
	}
	for _, l := range lock.Plugins {
		names = append(names, l.Name)
	}
	e := fault.New(fault.PluginNotFound, "no plugin %.80q is installed or bundled", name)
	if near := nearest.Of(name, names); near != "" {
		return e.WithHint("did you mean %s? `carl plugin list` shows them all", near)
	}
	return e
}

func (b Bundle) manifest() (*Manifest, error) {
	m, err := ParseManifest(b.Manifest, "plugin.yaml of "+b.Name)
	if err != nil {
		return nil, err
	}
	if m.Name != b.Name || !strings.HasPrefix(m.Name, bundledNamespace) {
		return nil, fault.New(fault.Internal, "the bundled plugin %s calls itself %s", b.Name, m.Name)
	}
	return m, nil
}

func missing(name string) error {
	return fault.New(fault.PluginNotFound, "%s comes with carl, but this build of carl was made without it", name).
		WithHint("build carl with `make build`, which builds its plugins first")
}
