package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/schema"
)

const (
	manifestName = "plugin.yaml"
	// guardPatience is how long another install may hold the guard: it writes
	// and flushes at most one payload while it does.
	guardPatience = 30 * time.Second
)

// InstallOptions say what an installed plugin gets.
type InstallOptions struct {
	// Grants are the operator's; see [ParseGrants]. Where an installed plugin
	// is replaced, they stand in for what it was granted; without any, it keeps that.
	Grants Grants
	// AcceptGrants grants what is requested too, as far as the request is concrete.
	AcceptGrants bool
	// Check is asked about the payload before anything is written: limits,
	// imports, compilation. It must not keep module. It may be nil in tests.
	Check func(ctx context.Context, m *Manifest, module []byte) error
}

// Installed is what an install did.
type Installed struct {
	Entry Entry
	// Replaced is the version that was there before, or "".
	Replaced string
	// Missing is what the plugin requests and was not granted; see [Manifest.Missing].
	Missing []string
}

// InstallDev installs the unsigned plugin of a folder: plugin.yaml, the payload
// that it names and the settings schema. The store and the lock are changed
// after everything was checked; on an error both are as they were.
//
// Errors are carl.input.not_found and carl.plugin.manifest_invalid for the
// folder, carl.plugin.untrusted for a name below carl.camp/, carl.usage for
// grants that were not requested, carl.plugin.grant_denied for an update that
// requests more than the plugin it replaces without an answer to that, and
// those of Check.
func (c *Catalog) InstallDev(ctx context.Context, dir string, o InstallOptions) (*Installed, error) {
	p, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	if o.Check != nil {
		if err := o.Check(ctx, p.Manifest, p.Module); err != nil {
			var refusal *fault.Error
			if errors.As(err, &refusal) && refusal.Kept == "" {
				return nil, refusal.WithKept("nothing was installed")
			}
			return nil, err
		}
	}
	var done *Installed
	err = c.guarded(ctx, func() error {
		lock, err := c.readLock()
		if err != nil {
			return err
		}
		old, replaces := lock.find(p.Manifest.Name)
		if p.Granted, err = c.grantsFor(p.Manifest, old, replaces, o); err != nil {
			return err
		}
		entry, err := c.keep(p)
		if err != nil {
			c.sweep(lock)
			return err
		}
		next := lock.with(entry)
		if err := c.writeLock(next); err != nil {
			c.sweep(lock)
			return err
		}
		c.sweep(next)
		done = &Installed{Entry: c.entry(entry), Replaced: old.Version, Missing: p.Manifest.Missing(p.Granted)}
		return nil
	})
	return done, err
}

// ReadManifest reads the plugin.yaml of a folder, for a command that asks the
// operator before it installs.
func ReadManifest(dir string) (*Manifest, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, noFolder(dir, err)
	}
	defer f.close()
	m, _, err := f.manifest()
	return m, err
}

// folderPlugin is a folder's plugin as it was read, once.
type folderPlugin struct {
	Plugin
	text []byte // of the manifest
}

func readFolder(dir string) (*folderPlugin, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, noFolder(dir, err)
	}
	defer f.close()
	m, text, err := f.manifest()
	if err != nil {
		return nil, err
	}
	refuse := func(code fault.Code, file, format string, args ...any) *fault.Error {
		return fault.New(code, filepath.Join(f.dir, filepath.FromSlash(file))+": "+format, args...).WithKept("nothing was installed")
	}
	if strings.HasPrefix(m.Name, bundledNamespace) {
		return nil, refuse(fault.PluginUntrusted, manifestName, "%s: names below %s are for plugins that come with carl", m.Name, bundledNamespace).
			WithHint("give the plugin a name of your own, such as example.com/%s", strings.TrimPrefix(m.Name, bundledNamespace))
	}
	if m.Runtime != Wasm {
		return nil, refuse(fault.PluginManifestInvalid, manifestName, "%s plugins are not in this version of carl, only wasm ones are", m.Runtime).
			WithHint("build %s as wasm", m.Name)
	}
	p := &folderPlugin{Plugin: Plugin{Manifest: m, Origin: Dev, Source: f.dir}, text: text}
	payload := m.Payload[string(Wasm)]
	if p.Module, err = f.read(payload, maxPayload); err != nil {
		return nil, refuse(fault.PluginManifestInvalid, payload, "the payload cannot be read: %w", err).WithHint("build the plugin first, or correct `payload`")
	}
	if len(p.Module) == 0 {
		return nil, refuse(fault.PluginBadModule, payload, "the payload is empty").WithHint("build the plugin first")
	}
	if m.Settings != "" {
		if p.Schema, err = f.read(m.Settings, maxSchema); err != nil {
			return nil, refuse(fault.PluginManifestInvalid, m.Settings, "the settings' schema cannot be read: %w", err)
		}
		if _, err := schema.Compile(p.Schema, maxSchema); err != nil {
			return nil, refuse(fault.PluginManifestInvalid, m.Settings, "%w", err)
		}
	}
	return p, nil
}

func (f *folder) manifest() (*Manifest, []byte, error) {
	name := filepath.Join(f.dir, manifestName)
	text, err := f.read(manifestName, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.New(fault.InputNotFound, "%s: there is no %s in this folder", f.dir, manifestName).WithKept("nothing was installed")
	}
	if err != nil {
		return nil, nil, fault.New(fault.PluginManifestInvalid, "%s cannot be read: %w", name, err).WithKept("nothing was installed")
	}
	m, err := ParseManifest(text, name)
	return m, text, err
}

func noFolder(dir string, err error) error {
	return fault.New(fault.InputNotFound, "%s cannot be opened as a folder: %w", dir, cause(err)).WithKept("nothing was installed").
		WithHint("name a folder that holds a %s", manifestName)
}

// grantsFor decides what the plugin gets. An answer of the operator decides;
// without one a plugin keeps what it had, unless it now asks for more: then the
// question is open, and nothing is installed.
func (c *Catalog) grantsFor(m *Manifest, old lockEntry, replaces bool, o InstallOptions) (Grants, error) {
	if err := m.check(o.Grants); err != nil {
		return Grants{}, fault.New(fault.Usage, "%s does not request %w", m.Name, err).WithKept("nothing was installed or granted").
			WithHint("grant what its plugin.yaml requests: %s", orNothing(m.Missing(Grants{})))
	}
	granted := o.Grants
	if replaces && granted.IsZero() {
		granted = m.within(old.granted())
		if !o.AcceptGrants {
			if err := c.checkUpdate(m, old); err != nil {
				return Grants{}, err
			}
		}
	}
	if o.AcceptGrants {
		granted = granted.union(m.requested())
	}
	for _, r := range m.Requests.Secrets {
		ambiguous := slices.Contains(granted.Secrets, SecretGrant{Name: r.Name}) && r.For == anyOrigin && len(granted.Net) > 1
		if ambiguous {
			return Grants{}, fault.New(fault.Usage, "secret=%s does not say which of the %d granted origins gets it", r.Name, len(granted.Net)).
				WithKept("nothing was installed or granted").WithHint("write --grant secret=%s@https://host:port", r.Name)
		}
	}
	return granted, nil
}

func (c *Catalog) checkUpdate(m *Manifest, old lockEntry) error {
	was, err := c.storedManifest(old)
	if err != nil {
		// The old manifest is lost. What was granted still says what was accepted.
		was = &Manifest{Requests: Requests{Files: old.granted().Files != ""}}
		for _, n := range old.granted().Net {
			was.Requests.Net = append(was.Requests.Net, n.Origin.String())
		}
	}
	more := m.asksMore(was)
	if more == "" {
		return nil
	}
	return fault.New(fault.PluginGrantDenied, "%s %s requests more than %s did: %s", m.Name, m.Version, old.Version, more).
		WithKept("version %s stays installed, with what it was granted", old.Version).
		WithHint("run the same command with --accept-grants, or with --grant for each thing that it shall get")
}

// within drops of g what m does not request any more.
func (m *Manifest) within(g Grants) Grants {
	var out Grants
	for _, s := range g.Strings() {
		one, err := ParseGrants([]string{s})
		if err == nil && m.check(one) == nil {
			out = out.union(one)
		}
	}
	return out
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// keep puts the files of p into the store and returns its entry.
func (c *Catalog) keep(p *folderPlugin) (lockEntry, error) {
	m := p.Manifest
	entry := lockEntry{
		Name:    m.Name,
		Version: m.Version,
		Kind:    m.Kind,
		Runtime: m.Runtime,
		Dev:     true,
		Source:  p.Source,
		Grants:  append([]string{}, p.Granted.Strings()...),
	}
	payload, err := c.put(p.Module)
	if err != nil {
		return lockEntry{}, err
	}
	entry.Payloads = map[string]blob{string(Wasm): payload}
	if entry.Manifest, err = c.put(p.text); err != nil {
		return lockEntry{}, err
	}
	if p.Schema != nil {
		schema, err := c.put(p.Schema)
		if err != nil {
			return lockEntry{}, err
		}
		entry.Settings = &schema
	}
	if why := entry.invalid(); why != "" {
		return lockEntry{}, fault.New(fault.PluginManifestInvalid, "%s cannot be written to the lock: %s", m.Name, why).WithKept("nothing was installed")
	}
	return entry, nil
}

// Remove takes an installed plugin out of the lock, and its bytes out of the
// store where no other entry names them. usedBy are the destinations that
// config.yaml gives it; with any, force is needed. Errors are
// carl.plugin.not_found and carl.usage.
func (c *Catalog) Remove(ctx context.Context, name string, usedBy []string, force bool) error {
	for _, b := range c.bundles {
		if b.Name == name {
			return fault.New(fault.Usage, "%s comes with carl and cannot be removed", name).WithKept("nothing was removed").
				WithHint("take it out of `destinations` in config.yaml")
		}
	}
	lock, err := c.readLock()
	if err != nil {
		return err
	}
	if _, ok := lock.find(name); !ok {
		return c.notFound(name, lock)
	}
	if len(usedBy) > 0 && !force {
		return fault.New(fault.Usage, "%s is used by %s", name, destinations(usedBy)).WithKept("nothing was removed").
			WithHint("take it out of config.yaml first, or add --force")
	}
	return c.guarded(ctx, func() error {
		lock, err := c.readLock()
		if err != nil {
			return err
		}
		if _, ok := lock.find(name); !ok {
			return c.notFound(name, lock)
		}
		next := lock.without(name)
		if err := c.writeLock(next); err != nil {
			return err
		}
		c.sweep(next)
		return nil
	})
}

func destinations(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("the destination %q", names[0])
	}
	return fmt.Sprintf("the destinations %q", names)
}

// UsedBy returns the destinations of a config that name a plugin, as forwarder
// or mapper, sorted.
func UsedBy(c *home.Config, name string) []string {
	var list []string
	for _, d := range c.Destinations {
		if d.Plugin == name || d.Mapper == name {
			list = append(list, d.Name)
		}
	}
	return list
}

// guarded runs change while no other process changes lock or store.
func (c *Catalog) guarded(ctx context.Context, change func() error) error {
	if err := c.create(); err != nil {
		return err
	}
	if err := private.MkdirAll(c.paths.Plugins); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, guardPatience)
	defer cancel()
	guard := filepath.Join(c.paths.Plugins, ".lock")
	held, err := private.Lock(ctx, guard)
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.IO, "another carl process holds %s", guard).WithKept("nothing was changed").
			WithHint("wait for that process, or end it, then run the same command again")
	}
	if err != nil {
		return err
	}
	defer held.Unlock()
	return change()
}
