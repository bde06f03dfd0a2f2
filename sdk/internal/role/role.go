// Package role remembers what a program has registered, and as which kind of
// plugin. A plugin registers in init, since a wasm reactor's main never runs;
// one program is one plugin of one kind.
package role

// registered is set in init, by one goroutine, and never again.
var registered struct {
	kind   string
	plugin any
}

// Set records the plugin and its kind. It panics when the program has
// registered before, because carl calls the functions of one world only.
func Set(kind string, plugin any) {
	if registered.kind != "" {
		panic("carl sdk: this program is already registered as a " + registered.kind + "; a plugin is registered once")
	}
	registered.kind, registered.plugin = kind, plugin
}

// Kind returns the kind, or "" before registration.
func Kind() string { return registered.kind }

// Plugin returns what was registered as this kind. It panics, in words for
// the plugin's author, when nothing was.
func Plugin(kind string) any {
	if registered.kind != kind {
		panic("carl sdk: no " + kind + " is registered; call " + kind + ".Register from init")
	}
	return registered.plugin
}
