package host

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/plugin/egress"
)

// campForwarder is the one plugin that carl itself grants something: the
// platform's origin and token.
const campForwarder = "carl.camp/forward/camp"

// granted is what the plugin of a destination gets.
func (h *Host) granted(p *plugin.Plugin, d *home.Destination) (plugin.Effective, error) {
	ceiling, err := bundledGrants(p, h.config)
	if err != nil {
		return plugin.Effective{}, err
	}
	return p.For(d, ceiling)
}

// bundledGrants is what carl itself grants a bundled plugin: the platform's
// forwarder gets the platform's origin and token, and no other gets anything.
func bundledGrants(p *plugin.Plugin, c *home.Config) (plugin.Grants, error) {
	if p.Manifest.Name != campForwarder {
		return plugin.Grants{}, nil
	}
	url, err := camp.ParseURL(c.Camp.URL)
	if err != nil {
		return plugin.Grants{}, err
	}
	origin, err := egress.ParseOrigin(url.Origin())
	if err != nil {
		return plugin.Grants{}, fault.New(fault.ConfigInvalid, "camp.url: %w", err)
	}
	return plugin.Grants{
		Net:     []egress.Grant{{Origin: origin, Private: url.Named()}},
		Secrets: []plugin.SecretGrant{{Name: camp.TokenSecret, For: origin}},
	}, nil
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

// reachesNetwork reports whether a destination's plugin has a net grant, and
// so needs consent. It reads no module. A plugin that cannot be read is taken
// to reach the network: consent is the stricter of the two.
func (h *Host) reachesNetwork(d *home.Destination) bool {
	granted, err := h.grants(d)
	return err != nil || len(granted.Net) > 0
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

// settings is the JSON that a destination's plugin is opened with. For the
// platform's forwarder it is made from camp.url and camp.paths, so that its
// settings and its grant cannot name different hosts.
func (h *Host) settings(d *home.Destination) ([]byte, error) { return h.settingsFor(d, "") }

// settingsFor is settings for blocks of the ledger that are signed with a key.
func (h *Host) settingsFor(d *home.Destination, ledgerKey string) ([]byte, error) {
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
		LedgerPath  string `json:"ledger"`
		LedgerKey   string `json:"ledger_key,omitzero"`
	}{origin, strings.TrimPrefix(url.Call(paths.Signals), origin), strings.TrimPrefix(url.Call(paths.LedgerAppend), origin), ledgerKey})
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
