package home

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/yamltree"
)

// What a config without a word about it says.
const (
	DefaultURL    = "https://carl.camp"
	DefaultTier   = "free"
	DefaultMapper = "carl.camp/axon"

	defaultDestination = "camp"
	defaultForwarder   = "carl.camp/forward/camp"

	defaultSpoolSync  = "exit"
	defaultSpoolBytes = 256 << 20
	defaultSpoolAge   = 7 * 24 * time.Hour
)

// urlVariable comes before camp.url.
const urlVariable = "CARL_CAMP_URL"

// Config is what the operator wrote in config.yaml, with defaults filled in.
// It is the operator's own word; nothing else writes it.
type Config struct {
	// File is the path of config.yaml, or "" when there is none.
	File string
	Camp Camp
	// Tier is the declared tier, free or paid; a verified token overrules it.
	Tier string
	// Offline forbids every use of the network.
	Offline bool
	// StrictPinning and OfflineRoot are about entitlements: an added key needs
	// the old one's signature; the public root key of offline licences, as the
	// member x of its JWK or as the JWK itself, "" for none.
	StrictPinning bool
	OfflineRoot   string
	// SlimeDir is the folder of a local slime, or "".
	SlimeDir string
	// Destinations are sorted by name. One that is switched off is among them.
	Destinations []Destination
	Plugins      Plugins
	Spool        Spool
}

// Camp is where and how the platform is reached.
type Camp struct {
	// URL has no slash at its end. It is https, or http for a loopback address.
	URL string
	// URLSource is "CARL_CAMP_URL", the path of config.yaml, or "" for the default.
	URLSource string
	// Paths are the calls whose path differs from the platform's own, by the
	// names jwks, entitlements, signals, ledger_append, runs and resonants.
	Paths map[string]string
	// ReceiptKey is the C2SP verifier key of the platform's receipts for blocks of
	// the ledger; "" takes them unverified.
	ReceiptKey string
	// Proxy is a URL and CAFile an absolute path; "" for none.
	Proxy, CAFile string
}

// Destination is one place that signals or ledger blocks go to.
type Destination struct {
	// Name is [a-z0-9][a-z0-9-_]*, at most 63 bytes, and a legal file name everywhere.
	Name string
	// Enabled is true unless the config says enabled: false.
	Enabled bool
	// Plugin is the forwarder and Mapper the mapper, by name.
	Plugin, Mapper string
	// Topics are signals, ledger or both; nil when the config names none.
	Topics []string
	// Settings is one JSON object, {} when absent. Numbers keep their spelling.
	Settings []byte
	Grants   Grants
	// Proxy and CAFile are as in [Camp], for this destination alone.
	Proxy, CAFile string

	file     string
	at       yamltree.Pos
	settings *yamltree.Node // nil when absent
}

// Grants are what a destination's plugin gets, in the notation of --grant. A
// nil member says nothing, an empty one grants nothing.
type Grants struct {
	// Net are origins scheme://host:port, with ",private" behind those that may
	// be on the machine or in the networks around it.
	Net []string
	// Files is the absolute path of the folder to append below.
	Files *string
	// Secrets are names, with "@" and an origin behind those that go to that
	// origin alone; see [Home.Secrets].
	Secrets []string
	// Env are names of environment variables, for native plugins.
	Env []string
}

// Place returns file:line:column of what a JSON Pointer into the settings
// leads to, or of the destination when there are no settings. It is "" for a
// destination that stands in no file.
func (d *Destination) Place(pointer string) string {
	if d.file == "" {
		return ""
	}
	at := d.at
	if n, _ := d.settings.At(pointer); n != nil {
		at = n.Pos
	}
	return at.In(d.file)
}

// Isolation levels.
const (
	InProcess = "inprocess"
	Process   = "process"
)

// Plugins is how plugins run.
type Plugins struct {
	// Isolation is [InProcess], [Process], or "" for each plugin's own default.
	Isolation string
	Limits    Limits
	// Each holds what the config says of single plugins, by name.
	Each map[string]PluginConfig
}

// PluginConfig is what the config says of one plugin. Zero members say nothing.
type PluginConfig struct {
	Isolation string
	Limits    Limits
}

// Limits are what plugins may use; a zero member says nothing.
type Limits struct {
	MemoryMiB int           // linear memory, in MiB
	Fuel      int64         // instructions per call
	Timeout   time.Duration // per call
}

// For returns what holds for the plugin name: what is said of it, else what is said of all.
func (p Plugins) For(name string) PluginConfig {
	c := p.Each[name]
	if c.Isolation == "" {
		c.Isolation = p.Isolation
	}
	if c.Limits.MemoryMiB == 0 {
		c.Limits.MemoryMiB = p.Limits.MemoryMiB
	}
	if c.Limits.Fuel == 0 {
		c.Limits.Fuel = p.Limits.Fuel
	}
	if c.Limits.Timeout == 0 {
		c.Limits.Timeout = p.Limits.Timeout
	}
	return c
}

// Spool bounds the spool and says when it is flushed.
type Spool struct {
	Sync     string // exit, always or off
	MaxBytes int64
	MaxAge   time.Duration
}

// Destination returns the destination of a name.
func (c *Config) Destination(name string) (*Destination, bool) {
	for i := range c.Destinations {
		if c.Destinations[i].Name == name {
			return &c.Destinations[i], true
		}
	}
	return nil, false
}

// DefaultConfig is the config of a home without config.yaml.
func DefaultConfig() *Config {
	return &Config{
		Camp: Camp{URL: DefaultURL},
		Tier: DefaultTier,
		Destinations: []Destination{{
			Name:     defaultDestination,
			Enabled:  true,
			Plugin:   defaultForwarder,
			Mapper:   DefaultMapper,
			Settings: []byte("{}"),
		}},
		Spool: Spool{Sync: defaultSpoolSync, MaxBytes: defaultSpoolBytes, MaxAge: defaultSpoolAge},
	}
}

// Config reads config.yaml, or takes the defaults where there is none, and
// lets CARL_CAMP_URL of environ come before camp.url. The error is
// carl.config.invalid with file:line:column; nothing was changed then.
func (h *Home) Config(environ []string) (*Config, error) {
	c, err := h.readConfig()
	if err != nil {
		return nil, err
	}
	if s := lookup(environ, urlVariable); s != "" {
		url, err := checkURL(s)
		if err != nil {
			return nil, fault.New(fault.ConfigInvalid, "%s: %w", urlVariable, err).
				WithKept("nothing was changed").WithHint("set %s to an address such as %s, or unset it", urlVariable, DefaultURL)
		}
		c.Camp.URL, c.Camp.URLSource = url, urlVariable
	}
	return c, nil
}

func (h *Home) readConfig() (*Config, error) {
	path := h.Paths.Config
	// The operator may keep config.yaml elsewhere and link to it, as people do
	// with their dotfiles: what counts is that others cannot change it.
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return nil, fault.New(fault.ConfigInvalid, "%s is a symlink that leads nowhere", path).
				WithKept("nothing was changed").WithHint("mend or remove the link")
		}
		return DefaultConfig(), nil
	}
	if err != nil {
		return nil, unusable(path, err)
	}
	if info.Mode().IsRegular() {
		// A file of root's is fine: an administrator may set carl up for others.
		if owner, ours := ownedByUs(info); !ours && owner != 0 {
			return nil, fault.New(fault.HomeUnusable, "%s belongs to another user (uid %d)", path, owner).
				WithKept("it was not read").WithHint("replace it by a file of your own")
		}
		if othersMayWrite(info) {
			return nil, fault.New(fault.HomeUnusable, "%s can be written by others (mode %04o)", path, info.Mode().Perm()).
				WithKept("it was not read").WithHint("look into it, then run `chmod go-w %s`", path)
		}
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, unusable(path, err)
	}
	data, err := private.ReadFile(target, yamltree.MaxBytes)
	if err != nil {
		return nil, unusable(path, err)
	}
	return ParseConfig(data, path)
}

// ParseConfig reads the text of a config.yaml; file is its name for messages.
func ParseConfig(data []byte, file string) (*Config, error) {
	invalid := func(err error) error {
		return fault.New(fault.ConfigInvalid, "%w", err).WithKept("nothing was changed")
	}
	root, err := yamltree.Parse(data, file, "off") // spool.sync may be
	if err != nil {
		return nil, invalid(err)
	}
	c := DefaultConfig()
	c.File = file
	if root.Kind == yamltree.Null { // a file with nothing but comments
		return c, nil
	}
	d := configDecoder{yamltree.NewDecoder(file)}
	d.config(c, root)
	if err := d.Err(); err != nil {
		return nil, invalid(err)
	}
	return c, nil
}

// maxPluginName bounds a plugin's name: it stands in messages, file contents and note lines.
const maxPluginName = 128

// CheckPluginName refuses what is not namespace/path: at least two segments of
// [a-z0-9.-], each beginning with a letter or digit, 128 bytes in all.
func CheckPluginName(name string) error {
	if len(name) > maxPluginName {
		return errors.New("the name of a plugin has at most 128 bytes")
	}
	segments := strings.Split(name, "/")
	if len(segments) < 2 {
		return errors.New("the name of a plugin is namespace/path, such as acme.dev/forward/splunk")
	}
	for _, s := range segments {
		if s == "" || !isLowerAlnum(s[0]) {
			return errors.New("each part of a plugin's name begins with a letter or digit, such as in acme.dev/forward/splunk")
		}
		for i := range len(s) {
			if !isLowerAlnum(s[i]) && s[i] != '.' && s[i] != '-' {
				return errors.New("the name of a plugin is made of a-z, 0-9, '.', '-' and '/'")
			}
		}
	}
	return nil
}
