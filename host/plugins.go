package host

import (
	"context"
	"path/filepath"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/plugin/wasm"
	"carl.camp/carl/plugins"
)

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

// isA refuses a plugin of another kind than its use needs.
func isA(p *plugin.Plugin, kind plugin.Kind) error {
	if p.Manifest.Kind != kind {
		return fault.New(fault.PluginNotFound, "%s is a %s, not a %s", p.Manifest.Name, p.Manifest.Kind, kind)
	}
	return nil
}

// wasmCache is where compiled plugins of a home lie.
func wasmCache(h *home.Home) string { return filepath.Join(h.Paths.Cache, "wasm") }
