package plugin

import "carl.camp/carl/host/fault"

// Describe returns the plugin of a name without its payload: Module is nil,
// and nothing was verified but the manifest. It is for those who ask what a
// plugin may do, and run nothing. Errors are as of [Catalog.Resolve].
func (c *Catalog) Describe(name string) (*Plugin, error) {
	for _, b := range c.bundles {
		if b.Name != name {
			continue
		}
		m, err := b.manifest()
		if err != nil {
			return nil, err
		}
		return &Plugin{Manifest: m, Origin: Bundled, Schema: b.Settings}, nil
	}
	lock, err := c.readLock()
	if err != nil {
		return nil, err
	}
	l, ok := lock.find(name)
	if !ok {
		return nil, c.notFound(name, lock)
	}
	m, err := c.storedManifest(l)
	if err != nil {
		return nil, err
	}
	p := &Plugin{Manifest: m, Origin: Dev, Source: l.Source, Granted: l.granted()}
	payload, ok := l.payload()
	if !ok {
		return nil, fault.New(fault.PluginNotFound, "%s has no payload for this machine", name)
	}
	p.Digest = payload.Digest
	return p, nil
}
