package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin/egress"
)

// Effective is what a plugin gets: requested and granted.
type Effective struct {
	Net     []egress.Grant
	Secrets []Secret
	// Files is the absolute path of the folder to append below, or "".
	Files string
	Env   []string
}

// Secret is one use of a secret that is requested and granted.
type Secret struct {
	Name   string
	Header string
	Format string
	For    egress.Origin
}

// Effective returns what m requests of what g grants.
func (m *Manifest) Effective(g Grants) Effective {
	var e Effective
	for _, n := range g.Net {
		if slices.ContainsFunc(m.Requests.Net, func(r string) bool { return covers(r, n.Origin) }) {
			e.Net = append(e.Net, n)
		}
	}
	for _, r := range m.Requests.Secrets {
		for _, o := range r.origins(g, e.Net) {
			e.Secrets = append(e.Secrets, Secret{Name: r.Name, Header: r.Header, Format: r.Format, For: o})
		}
	}
	slices.SortFunc(e.Secrets, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.For.String(), b.For.String()))
	})
	if m.Requests.Files {
		e.Files = g.Files
	}
	for _, name := range g.Env {
		if slices.Contains(m.Requests.Env, name) {
			e.Env = append(e.Env, name)
		}
	}
	return e
}

// origins returns which of the granted origins get the secret. Where neither
// the request nor the grant names one and several are granted, none does: the
// operator has not said which of them may see it.
func (r SecretRequest) origins(g Grants, net []egress.Grant) []egress.Origin {
	var out []egress.Origin
	for _, s := range g.Secrets {
		if s.Name != r.Name {
			continue
		}
		for _, n := range net {
			named := s.For == n.Origin || s.For == (egress.Origin{}) && (r.For != anyOrigin || len(net) == 1)
			if named && covers(r.For, n.Origin) && !slices.Contains(out, n.Origin) {
				out = append(out, n.Origin)
			}
		}
	}
	return out
}

// covers reports whether a requested origin is satisfied by o. The open
// request takes plain http too: where that is legal at all, on a loopback
// address, it is for the operator to grant.
func covers(request string, o egress.Origin) bool {
	return request == anyOrigin || request == o.String()
}

// check refuses grants that m does not request: they would do nothing, and the
// operator means something by them.
func (m *Manifest) check(g Grants) error {
	for _, n := range g.Net {
		if !slices.ContainsFunc(m.Requests.Net, func(r string) bool { return covers(r, n.Origin) }) {
			return fmt.Errorf("net=%s", netString(n))
		}
	}
	for _, s := range g.Secrets {
		if !slices.ContainsFunc(m.Requests.Secrets, func(r SecretRequest) bool {
			return r.Name == s.Name && (s.For == egress.Origin{} || covers(r.For, s.For))
		}) {
			return fmt.Errorf("secret=%s", s)
		}
	}
	if g.Files != "" && !m.Requests.Files {
		return fmt.Errorf("files=%s", g.Files)
	}
	for _, name := range g.Env {
		if !slices.Contains(m.Requests.Env, name) {
			return fmt.Errorf("env=%s", name)
		}
	}
	return nil
}

// requested returns what can be granted as it is requested: all but open
// origins and the folder, which only the operator can name.
func (m *Manifest) requested() Grants {
	var g Grants
	for _, r := range m.Requests.Net {
		if o, err := egress.ParseOrigin(r); err == nil {
			g.Net = append(g.Net, egress.Grant{Origin: o})
		}
	}
	for _, r := range m.Requests.Secrets {
		if !slices.ContainsFunc(g.Secrets, func(s SecretGrant) bool { return s.Name == r.Name }) {
			g.Secrets = append(g.Secrets, SecretGrant{Name: r.Name})
		}
	}
	g.Env = slices.Clone(m.Requests.Env)
	g.sort()
	return g
}

// Missing says, in the notation of --grant, what m requests and g does not
// give it. Nothing is wrong with that; the plugin has to do without.
func (m *Manifest) Missing(g Grants) []string {
	e := m.Effective(g)
	var missing []string
	for _, r := range m.Requests.Net {
		if !slices.ContainsFunc(e.Net, func(n egress.Grant) bool { return covers(r, n.Origin) }) {
			if r == anyOrigin {
				r = "https://HOST:PORT"
			}
			missing = append(missing, "net="+r)
		}
	}
	for _, r := range m.Requests.Secrets {
		if slices.ContainsFunc(e.Secrets, func(s Secret) bool { return s.Name == r.Name && covers(r.For, s.For) }) {
			continue
		}
		name := r.Name
		if r.For == anyOrigin && len(e.Net) > 1 {
			name += "@https://HOST:PORT"
		}
		missing = append(missing, "secret="+name)
	}
	if m.Requests.Files && e.Files == "" {
		missing = append(missing, "files=DIR")
	}
	for _, name := range m.Requests.Env {
		if !slices.Contains(e.Env, name) {
			missing = append(missing, "env="+name)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// asksMore says what m requests beyond what old did, or "".
func (m *Manifest) asksMore(old *Manifest) string {
	was, is := old.Requests, m.Requests
	for _, r := range is.Net {
		if !slices.Contains(was.Net, r) && !slices.Contains(was.Net, anyOrigin) {
			return "net " + r
		}
	}
	for _, r := range is.Secrets {
		if !slices.Contains(was.Secrets, r) {
			return "secret " + r.Name + " in " + r.Header + " for " + r.For
		}
	}
	if is.Files && !was.Files {
		return "files"
	}
	for _, name := range is.Env {
		if !slices.Contains(was.Env, name) {
			return "env " + name
		}
	}
	return ""
}

// For returns what p gets at the destination d. ceiling is what carl itself
// grants a bundled plugin, the platform's origin and token; for a bundled
// plugin without one, config.yaml grants. For an installed plugin the lock is
// the ceiling. config.yaml only narrows a ceiling: the error, for what it does
// not give, is carl.plugin.grant_denied.
func (p *Plugin) For(d *home.Destination, ceiling Grants) (Effective, error) {
	name := p.Manifest.Name
	at := fmt.Sprintf("destination %q", d.Name)
	if place := d.Place(""); place != "" {
		at = place + ": " + at
	}
	if p.Origin == Bundled && ceiling.IsZero() {
		g, err := fromConfig(d.Grants)
		if err != nil {
			return Effective{}, fault.New(fault.ConfigInvalid, "%s: grants: %w", at, err).WithKept("nothing was sent")
		}
		if err := p.Manifest.check(g); err != nil {
			return Effective{}, fault.New(fault.ConfigInvalid, "%s: %s does not request %w", at, name, err).
				WithKept("nothing was sent").WithHint("take it out of `grants`; `carl plugin inspect %s` shows what it requests", name)
		}
		return p.Manifest.Effective(g), nil
	}
	hint := "take it out of `grants` in config.yaml"
	if p.Origin != Bundled {
		ceiling = p.Granted
		hint += fmt.Sprintf(", or grant it with `carl plugin install --dev %s --grant …`", p.Source)
	}
	g, err := ceiling.narrow(d.Grants)
	if err != nil {
		return Effective{}, fault.New(fault.PluginGrantDenied, "%s: config.yaml can narrow what %s was granted, and %w is not part of that", at, name, err).
			WithKept("nothing was sent").WithHint("%s", hint)
	}
	return p.Manifest.Effective(g), nil
}

// What the sandbox gives where nobody says anything, and so the most that a
// manifest alone can ask for. A mapper's own budget grows with its input; its
// bound here is that of the largest batch: 50 M, 5 M for each of 256 steps,
// and 1,000 for each of 4 Mi bytes.
const (
	defaultMemoryMiB   = 64
	defaultFuel        = 2_000_000_000
	mostMapperFuel     = 50_000_000 + 256*5_000_000 + (4<<20)*1000
	defaultTimeout     = 10 * time.Second
	defaultForwardTime = 60 * time.Second
)

// LimitsUnder returns the limits to run with: the operator's word, else what
// the manifest asks for up to the default, else 0 for the default.
func (m *Manifest) LimitsUnder(operator Limits) Limits {
	fuel, timeout := int64(defaultFuel), defaultTimeout
	switch m.Kind {
	case Mapper:
		fuel = mostMapperFuel
	case Forwarder:
		timeout = defaultForwardTime
	}
	return Limits{
		MemoryMiB: cmp.Or(operator.MemoryMiB, min(m.Limits.MemoryMiB, defaultMemoryMiB)),
		Fuel:      cmp.Or(operator.Fuel, min(m.Limits.Fuel, fuel)),
		Timeout:   cmp.Or(operator.Timeout, min(m.Limits.Timeout, timeout)),
	}
}
