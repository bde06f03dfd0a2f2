package wasm

import (
	"context"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"

	"carl.camp/carl/host/plugin/wasm/meter"
	"carl.camp/carl/host/world"
)

// World is the WIT world that a plugin implements. The zero value is none.
type World uint8

// The worlds of wit/plugin.wit.
const (
	SignalMapper World = iota + 1
	ArgsTranslator
	EventForwarder
)

// String returns the world's name in the contract.
func (w World) String() string {
	switch w {
	case SignalMapper:
		return "signal-mapper"
	case ArgsTranslator:
		return "args-translator"
	case EventForwarder:
		return "event-forwarder"
	}
	return "no world"
}

// HTTP is how a forwarder's requests leave. Send answers before ctx ends; it
// may keep nothing of the request afterwards. It is called by one goroutine at
// a time for one plugin.
type HTTP interface {
	Send(ctx context.Context, r world.Request) (world.Response, *world.HTTPError)
}

// Files is where a forwarder's appends go. It keeps nothing of data. It is
// called by one goroutine at a time for one plugin. The error's text is shown
// to the guest.
type Files interface {
	Append(ctx context.Context, path string, data []byte) error
}

// Config is what a plugin may use. Zero values are the defaults, which grant nothing.
type Config struct {
	// Name stands in messages, such as "carl.camp/axon".
	Name string
	// World is what the module must implement, and all that it may import from.
	World World
	// MemoryMiB bounds the linear memory of each instance; 0 means [DefaultMemoryMiB].
	MemoryMiB int
	// Fuel is the budget of one call in instructions; 0 means the world's own,
	// which for a mapper grows with its input.
	Fuel int64
	// Timeout bounds one call, the host's work for the guest included; 0 means
	// [DefaultTimeout], for a forwarder [DefaultForwardTimeout].
	Timeout time.Duration
	// CacheDir is where compiled code is kept; "" means nowhere. The folder is
	// made 0700 when missing. One that others could write is not used, since who
	// can write it owns every process that loads from it: see [Plugin.Warnings].
	CacheDir string
	// Compiling is called before a compilation that the cache could not spare,
	// which takes about a second for a Go guest; may be nil.
	Compiling func()
	// Log receives the plugin's log lines, cleaned of control characters and at
	// most 1 MiB a call; may be nil. A mapper's instances call it concurrently.
	Log func(level world.LogLevel, message string)
	// HTTP is the grant of network access; nil answers every request with denied.
	HTTP HTTP
	// Files is the grant of file access; nil answers every append with an error.
	Files Files
}

// Defaults of [Config].
const (
	DefaultMemoryMiB      = 64
	DefaultTimeout        = 10 * time.Second
	DefaultForwardTimeout = 60 * time.Second // a forwarder waits for others
)

// Usage is what one finished call used.
type Usage struct {
	// Fuel counts instructions, and bytes that the host moved for the guest.
	// From a fresh instance it depends on the plugin and its input alone.
	Fuel int64
	// Memory is the size of the linear memory after the call, in bytes.
	Memory int64
}

// Plugin is a loaded plugin. Its methods may be called from several
// goroutines. Close it.
type Plugin struct {
	cfg      Config
	budget   budget
	pages    uint32 // limit of an instance's memory
	runtime  wazero.Runtime
	cache    wazero.CompilationCache // nil without a folder
	compiled wazero.CompiledModule
	info     *meter.Info
	warnings []string

	pool      *pool
	forwarder *Forwarder
	life      context.Context // ends when Close begins
	end       context.CancelFunc
	closeOnce sync.Once
	closeErr  error // of closeOnce

	mu    sync.Mutex
	usage Usage // guarded by mu
}

// Mapper returns the plugin as a mapper, nil when it is of another world.
func (p *Plugin) Mapper() *Mapper {
	if p.cfg.World != SignalMapper {
		return nil
	}
	return &Mapper{p}
}

// Translator returns the plugin as a translator, nil when it is of another world.
func (p *Plugin) Translator() *Translator {
	if p.cfg.World != ArgsTranslator {
		return nil
	}
	return &Translator{p}
}

// Forwarder returns the plugin as a forwarder, nil when it is of another
// world. It is the same one at each call: a forwarder has a state.
func (p *Plugin) Forwarder() *Forwarder { return p.forwarder }

// Warnings says in words what [Load] could not do as asked: why a compilation
// cache was not used.
func (p *Plugin) Warnings() []string { return p.warnings }

// Info describes the module as it was given.
func (p *Plugin) Info() *meter.Info { return p.info }

// Usage returns what the last finished call used; of calls that overlap, one of them.
func (p *Plugin) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usage
}

// LastFuel returns the fuel of [Plugin.Usage].
func (p *Plugin) LastFuel() int64 { return p.Usage().Fuel }

func (p *Plugin) note(u Usage) {
	p.mu.Lock()
	p.usage = u
	p.mu.Unlock()
}

// Inspect checks a module against the limits and describes it, without
// compiling or running anything. Errors are carl.plugin.bad_module.
func Inspect(module []byte) (*meter.Info, error) { return meter.Inspect(module) }
