package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	gosync "sync"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/plugin/egress"
	"carl.camp/carl/host/plugin/files"
	"carl.camp/carl/host/plugin/wasm"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
	"carl.camp/carl/plugins"
)

// campForwarder is the one plugin that carl itself grants something: the
// platform's origin and token.
const campForwarder = "carl.camp/forward/camp"

// Catalog returns the bundled and the installed plugins of a home.
func Catalog(h *home.Home) *plugin.Catalog {
	var bundles []plugin.Bundle
	for _, b := range plugins.Bundled() {
		bundles = append(bundles, plugin.Bundle{Name: b.Name, Manifest: b.Manifest, Settings: b.Settings, Module: b.Module})
	}
	return plugin.NewCatalog(h, bundles)
}

// manifests is Catalog without the bundled modules, whose bytes are costly to
// copy where only manifests are asked for.
func manifests(h *home.Home) *plugin.Catalog {
	var bundles []plugin.Bundle
	for _, b := range plugins.Manifests() {
		bundles = append(bundles, plugin.Bundle{Name: b.Name, Manifest: b.Manifest, Settings: b.Settings})
	}
	return plugin.NewCatalog(h, bundles)
}

// CheckModule holds a module against the limits and against the world of its
// kind: its imports and exports, by name and type. It runs nothing. The error
// is carl.plugin.bad_module.
func CheckModule(ctx context.Context, m *plugin.Manifest, module []byte) error {
	p, err := wasm.Load(ctx, module, wasm.Config{Name: m.Name, World: worldOf(m.Kind), MemoryMiB: m.LimitsUnder(plugin.Limits{}).MemoryMiB})
	if err != nil {
		return err
	}
	return p.Close(ctx)
}

func worldOf(k plugin.Kind) wasm.World {
	switch k {
	case plugin.Mapper:
		return wasm.SignalMapper
	case plugin.Translator:
		return wasm.ArgsTranslator
	default:
		return wasm.EventForwarder
	}
}

// loader loads the plugins of one delivery. A mapper is loaded once, however
// many destinations it serves. It is safe for use by several goroutines.
type loader struct {
	host    *Host
	catalog *plugin.Catalog

	mu      gosync.Mutex
	mappers map[string]*sharedMapper // guarded by mu
}

// sharedMapper is a loaded mapper and how many use it.
type sharedMapper struct {
	ready  chan struct{} // closed once plugin or err is set
	plugin *wasm.Plugin
	err    error
	users  int // guarded by loader.mu
}

func (h *Host) newLoader() *loader {
	return &loader{host: h, catalog: Catalog(h.home), mappers: map[string]*sharedMapper{}}
}

// config is what every plugin runs under: limits, cache, log.
func (l *loader) config(p *plugin.Plugin) wasm.Config {
	name := p.Manifest.Name
	limits := p.Manifest.LimitsUnder(l.host.config.Plugins.For(name).Limits)
	log := l.host.log.Named("plugin").With("plugin", name)
	return wasm.Config{
		Name:      name,
		World:     worldOf(p.Manifest.Kind),
		MemoryMiB: limits.MemoryMiB,
		Fuel:      limits.Fuel,
		Timeout:   limits.Timeout,
		CacheDir:  l.host.pluginCache(),
		Compiling: func() { l.host.compiling(name) },
		Log: func(level world.LogLevel, message string) {
			switch level {
			case world.LogTrace:
				log.Trace(message)
			case world.LogDebug:
				log.Debug(message)
			case world.LogInfo:
				log.Info(message)
			case world.LogWarn:
				log.Warn(message)
			default:
				log.Error(message)
			}
		},
	}
}

// pluginCache is where compiled plugins are kept, or "" where the home cannot
// be written: then each load compiles.
func (h *Host) pluginCache() string {
	if err := h.home.Create(); err != nil {
		return ""
	}
	return wasmCache(h.home)
}

// wasmCache is where compiled plugins of a home lie.
func wasmCache(h *home.Home) string { return filepath.Join(h.Paths.Cache, "wasm") }

// isA refuses a plugin of another kind than its use needs.
func isA(p *plugin.Plugin, kind plugin.Kind) error {
	if p.Manifest.Kind != kind {
		return fault.New(fault.PluginNotFound, "%s is a %s, not a %s", p.Manifest.Name, p.Manifest.Kind, kind)
	}
	return nil
}

// load resolves and loads a plugin of the given kind.
func (l *loader) load(ctx context.Context, p *plugin.Plugin, kind plugin.Kind, grant func(*wasm.Config)) (*wasm.Plugin, error) {
	if err := isA(p, kind); err != nil {
		return nil, err
	}
	if p.Origin == plugin.Dev {
		l.host.log.Warn("this plugin is unsigned; it was installed with --dev", "plugin", p.Manifest.Name, "from", p.Source)
	}
	c := l.config(p)
	if grant != nil {
		grant(&c)
	}
	loaded, err := wasm.Load(ctx, p.Module, c)
	if err != nil {
		return nil, err
	}
	for _, w := range loaded.Warnings() {
		l.host.log.Warn(w, "plugin", p.Manifest.Name)
	}
	return loaded, nil
}

// mapper returns a mapper for one user, who closes it.
func (l *loader) mapper(ctx context.Context, name string) (*wasm.Mapper, io.Closer, error) {
	l.mu.Lock()
	m, ok := l.mappers[name]
	if !ok {
		m = &sharedMapper{ready: make(chan struct{})}
		l.mappers[name] = m
	}
	m.users++
	l.mu.Unlock()

	release := closerFunc(func() error { return l.release(name, m) })
	if ok {
		select {
		case <-m.ready:
		case <-ctx.Done():
			release.Close()
			return nil, nil, ctx.Err()
		}
	} else {
		m.plugin, m.err = l.loadMapper(ctx, name)
		close(m.ready)
	}
	if m.err != nil {
		release.Close()
		return nil, nil, m.err
	}
	return m.plugin.Mapper(), release, nil
}

func (l *loader) loadMapper(ctx context.Context, name string) (*wasm.Plugin, error) {
	p, err := l.catalog.Resolve(name)
	if err != nil {
		return nil, err
	}
	return l.load(ctx, p, plugin.Mapper, nil)
}

// release gives a mapper back; the last user closes it.
func (l *loader) release(name string, m *sharedMapper) error {
	l.mu.Lock()
	m.users--
	last := m.users == 0
	if last && l.mappers[name] == m {
		delete(l.mappers, name)
	}
	l.mu.Unlock()
	if !last {
		return nil
	}
	<-m.ready
	if m.plugin == nil {
		return nil
	}
	return m.plugin.Close(context.Background())
}

// forwarder loads the forwarder of a destination with what it was granted there.
func (l *loader) forwarder(ctx context.Context, d *home.Destination) (sync.Forwarder, io.Closer, error) {
	p, err := l.catalog.Resolve(d.Plugin)
	if err != nil {
		return nil, nil, err
	}
	settings, err := l.host.settings(d)
	if err != nil {
		return nil, nil, err
	}
	if err := p.CheckSettings(settings, d.Place); err != nil {
		return nil, nil, err
	}
	granted, err := l.host.granted(p, d)
	if err != nil {
		return nil, nil, err
	}
	if err := mayDeliver(p, d, granted); err != nil {
		return nil, nil, err
	}
	var owned closers
	client, err := l.client(p, d, granted)
	if err != nil {
		return nil, nil, err
	}
	if client != nil {
		owned = append(owned, closerFunc(func() error { client.CloseIdle(); return nil }))
	}
	var dir *files.Dir
	if granted.Files != "" {
		if dir, err = files.Open(granted.Files); err != nil {
			return nil, nil, err
		}
		owned = append(owned, dir)
	}
	loaded, err := l.load(ctx, p, plugin.Forwarder, func(c *wasm.Config) {
		// A nil interface denies; a nil pointer in one would not.
		if client != nil {
			c.HTTP = client
		}
		if dir != nil {
			c.Files = dir
		}
	})
	if err != nil {
		return nil, nil, errors.Join(err, owned.Close())
	}
	owned = append(owned, closerFunc(func() error { return loaded.Close(context.Background()) }))
	return loaded.Forwarder(), owned, nil
}

// mayDeliver refuses a forwarder that asks for a way out and was granted none:
// it could only fail, and not say why.
func mayDeliver(p *plugin.Plugin, d *home.Destination, granted plugin.Effective) error {
	asks := p.Manifest.Requests
	if len(granted.Net) > 0 || granted.Files != "" || len(asks.Net) == 0 && !asks.Files {
		return nil
	}
	hint := fmt.Sprintf("widen the `grants` of %s in config.yaml", d.Name)
	if p.Origin == plugin.Bundled {
		hint = fmt.Sprintf("give %s `grants: {files: DIR}` in config.yaml", d.Name)
	} else if missing := p.Manifest.Missing(p.Granted); len(missing) > 0 {
		hint = fmt.Sprintf("run `carl plugin install --dev %s --grant %s`", p.Source, strings.Join(missing, " --grant "))
	}
	return fault.New(fault.PluginGrantDenied, "%s is granted neither an origin nor a folder, and can deliver nothing", p.Manifest.Name).
		WithKept("nothing was sent").WithHint("%s", hint)
}

// client is the HTTP that a plugin may do, or nil where it may do none.
func (l *loader) client(p *plugin.Plugin, d *home.Destination, granted plugin.Effective) (*egress.Client, error) {
	if len(granted.Net) == 0 {
		return nil, nil
	}
	h := l.host
	c := egress.Config{
		Plugin:  p.Manifest.Name,
		Origins: granted.Net,
		Proxy:   d.Proxy,
		CAFile:  d.CAFile,
		Offline: h.offline,
	}
	if d.Plugin == campForwarder {
		if c.Proxy == "" {
			c.Proxy = h.config.Camp.Proxy
		}
		if c.CAFile == "" {
			c.CAFile = h.config.Camp.CAFile
		}
	}
	for _, s := range granted.Secrets {
		c.Secrets = append(c.Secrets, egress.Secret{
			Name: s.Name, Header: s.Header, Format: s.Format, For: s.For,
			Value: func() (string, error) { return h.secret(d, s.Name) },
		})
	}
	return egress.New(c)
}

// secret is the value of a secret for one destination: the platform's token
// for the platform's own forwarder, else what the user stored.
func (h *Host) secret(d *home.Destination, name string) (string, error) {
	if d.Plugin == campForwarder && name == camp.TokenSecret {
		return h.token()
	}
	return h.home.Secrets().Get(name, h.environ)
}

// token is the platform's bearer token.
func (h *Host) token() (string, error) {
	t, err := h.home.Credentials().Token(h.environ)
	if err != nil {
		return "", err
	}
	if t.Value == "" {
		return "", fault.New(fault.CampUnauthorized, "not logged in to %s", h.config.Camp.URL)
	}
	return t.Value, nil
}

// granted is what the plugin of a destination gets.
func (h *Host) granted(p *plugin.Plugin, d *home.Destination) (plugin.Effective, error) {
	var ceiling plugin.Grants
	if p.Manifest.Name == campForwarder {
		url, err := camp.ParseURL(h.config.Camp.URL)
		if err != nil {
			return plugin.Effective{}, err
		}
		origin, err := egress.ParseOrigin(url.Origin())
		if err != nil {
			return plugin.Effective{}, fault.New(fault.ConfigInvalid, "camp.url: %w", err)
		}
		ceiling = plugin.Grants{
			Net:     []egress.Grant{{Origin: origin, Private: url.Named()}},
			Secrets: []plugin.SecretGrant{{Name: camp.TokenSecret, For: origin}},
		}
	}
	return p.For(d, ceiling)
}

// settings is the JSON that a destination's plugin is opened with. For the
// platform's forwarder it is made from camp.url and camp.paths, so that its
// settings and its grant cannot name different hosts.
func (h *Host) settings(d *home.Destination) ([]byte, error) {
	if d.Plugin != campForwarder {
		return d.Settings, nil
	}
	if string(d.Settings) != "{}" {
		at := d.Place("")
		return nil, fault.New(fault.ConfigInvalid, "%s: %s takes no settings of its own: camp.url and camp.paths say where it sends", at, campForwarder).
			WithKept("nothing was sent")
	}
	url, err := camp.ParseURL(h.config.Camp.URL)
	if err != nil {
		return nil, err
	}
	paths, err := camp.DefaultPaths().Override(h.config.Camp.Paths)
	if err != nil {
		return nil, err
	}
	origin := url.Origin()
	return json.Marshal(struct {
		URL         string `json:"url"`
		SignalsPath string `json:"signals_path"`
	}{origin, strings.TrimPrefix(url.Call(paths.Signals), origin)})
}

// reachesNetwork reports whether a destination's plugin has a net grant, and
// so needs consent. It reads no module. A plugin that cannot be read is taken
// to reach the network: consent is the stricter of the two.
func (h *Host) reachesNetwork(d *home.Destination) bool {
	granted, err := h.grants(d)
	return err != nil || len(granted.Net) > 0
}

// grants is what a destination's plugin gets, told from its manifest and the
// lock alone.
func (h *Host) grants(d *home.Destination) (plugin.Effective, error) {
	p, err := manifests(h.home).Describe(d.Plugin)
	if err != nil {
		return plugin.Effective{}, err
	}
	return h.granted(p, d)
}

// Mapper is one loaded mapper, for looking at what steps would become.
type Mapper struct {
	mapper *wasm.Mapper
	closer io.Closer
	seal   sync.Sealing
}

// Mapper loads a mapper by name. Close it.
func (h *Host) Mapper(ctx context.Context, name string) (*Mapper, error) {
	m, closer, err := h.newLoader().mapper(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Mapper{mapper: m, closer: closer, seal: sync.Sealing{Source: h.anySource(), Redactor: h.redactor}}, nil
}

// Map returns the events that the steps, at most sync.MaxBatchSteps, become,
// redacted and sealed as a delivery would, and why others become nothing.
func (m *Mapper) Map(ctx context.Context, steps []step.Step) ([]sync.Event, []sync.Refusal, error) {
	for i := range steps {
		m.seal.Redactor.Step(&steps[i])
	}
	return sync.Map(ctx, m.mapper, steps, m.seal)
}

// Close frees the mapper.
func (m *Mapper) Close() error { return m.closer.Close() }

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

// closers close in reverse order.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].Close())
	}
	return errors.Join(errs...)
}
