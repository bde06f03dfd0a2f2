package host

import (
	"context"
	"errors"
	"io"
	gosync "sync"

	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/plugin/egress"
	"carl.camp/carl/host/plugin/files"
	"carl.camp/carl/host/plugin/wasm"
	"carl.camp/carl/host/sync"
)

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
		Log:       logTo(log),
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
