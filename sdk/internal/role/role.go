// Package role remembers which kind of plugin a program has registered as.
// The plugin's own packages register in init, since a wasm reactor's main
// never runs; one program is one plugin of one kind.
package role

var registered string // set in init, by one goroutine, and never again

// Set records the kind. It panics when the program has registered before,
// because carl calls the functions of one world only.
func Set(kind string) {
	if registered != "" {
		panic("carl sdk: this program is already registered as a " + registered + "; a plugin is registered once")
	}
	registered = kind
}

// Get returns the kind, or "" before registration.
func Get() string { return registered }
