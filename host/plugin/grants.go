package plugin

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin/egress"
)

// privateMark follows an origin that may be on this machine or in the networks around it.
const privateMark = ",private"

// Grants is what an operator gave: concrete, whatever the request left open.
// The zero Grants is nothing.
type Grants struct {
	// Net is sorted; no origin occurs twice.
	Net []egress.Grant
	// Files is the absolute path of the folder to append below, or "".
	Files string
	// Secrets is sorted.
	Secrets []SecretGrant
	// Env are names of environment variables, sorted.
	Env []string
}

// SecretGrant lets the host use a secret on behalf of a plugin.
type SecretGrant struct {
	Name string
	// For is the origin that gets it. The zero Origin stands for the one that
	// the plugin's request names, or the only one that is granted.
	For egress.Origin
}

// String gives the notation of --grant without "secret=".
func (s SecretGrant) String() string {
	if s.For == (egress.Origin{}) {
		return s.Name
	}
	return s.Name + "@" + s.For.String()
}

// IsZero reports whether g grants nothing.
func (g Grants) IsZero() bool {
	return len(g.Net) == 0 && g.Files == "" && len(g.Secrets) == 0 && len(g.Env) == 0
}

// Strings gives g in the notation of --grant, sorted.
func (g Grants) Strings() []string {
	var list []string
	for _, name := range g.Env {
		list = append(list, "env="+name)
	}
	if g.Files != "" {
		list = append(list, "files="+g.Files)
	}
	for _, n := range g.Net {
		list = append(list, "net="+netString(n))
	}
	for _, s := range g.Secrets {
		list = append(list, "secret="+s.String())
	}
	return list
}

func netString(n egress.Grant) string {
	if n.Private {
		return n.Origin.String() + privateMark
	}
	return n.Origin.String()
}

// ParseGrants reads the values of --grant: net=https://host:port, with
// ",private" behind an origin that may be on this machine or in the networks
// around it; files=DIR; secret=NAME, with @https://host:port behind the name
// where several origins could be meant; env=NAME. The error is carl.usage.
func ParseGrants(list []string) (Grants, error) {
	var g Grants
	for _, s := range list {
		if err := g.parse(s); err != nil {
			return Grants{}, fault.New(fault.Usage, "--grant: %w", err).WithKept("nothing was granted").
				WithHint("write net=https://host:port, files=DIR, secret=NAME or env=NAME")
		}
	}
	g.sort()
	return g, nil
}

func (g *Grants) parse(s string) error {
	what, value, ok := strings.Cut(s, "=")
	if !ok || value == "" {
		return fmt.Errorf("%.80q is not of the form what=value", s)
	}
	switch what {
	case "net":
		return g.parseNet(value)
	case "files":
		return g.parseFiles(value)
	case "secret":
		return g.parseSecret(value)
	case "env":
		return g.parseEnv(value)
	}
	return fmt.Errorf("%.80q is nothing that can be granted", what)
}

func (g *Grants) parseNet(s string) error {
	rest, private := strings.CutSuffix(s, privateMark)
	if rest == anyOrigin {
		return fmt.Errorf("%s leaves the origin open: a grant names one host, such as https://splunk.acme.dev:8088", anyOrigin)
	}
	o, err := egress.ParseOrigin(rest)
	if err != nil {
		return fmt.Errorf("%.80q: %w", s, err)
	}
	for _, n := range g.Net {
		if n.Origin == o {
			return fmt.Errorf("%s is granted twice", o)
		}
	}
	g.Net = append(g.Net, egress.Grant{Origin: o, Private: private})
	return nil
}

func (g *Grants) parseFiles(s string) error {
	if g.Files != "" {
		return fmt.Errorf("only one folder can be granted, and %s is", g.Files)
	}
	dir, err := home.Expand(s)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil || strings.ContainsFunc(dir, isControl) {
		return fmt.Errorf("%.80q is not the path of a folder", s)
	}
	g.Files = dir
	return nil
}

func (g *Grants) parseSecret(s string) error {
	name, origin, bound := strings.Cut(s, "@")
	if home.CheckSecretName(name) != nil {
		return fmt.Errorf("%.80q is not the name of a secret ([a-z0-9-])", name)
	}
	secret := SecretGrant{Name: name}
	if bound {
		var err error
		if secret.For, err = egress.ParseOrigin(origin); err != nil {
			return fmt.Errorf("%.80q: %w", s, err)
		}
	}
	if !slices.Contains(g.Secrets, secret) {
		g.Secrets = append(g.Secrets, secret)
	}
	return nil
}

func (g *Grants) parseEnv(s string) error {
	if !isVariable(s) {
		return fmt.Errorf("%.80q is not the name of an environment variable", s)
	}
	if !slices.Contains(g.Env, s) {
		g.Env = append(g.Env, s)
	}
	return nil
}

func (g *Grants) sort() {
	slices.SortFunc(g.Net, func(a, b egress.Grant) int { return cmp.Compare(a.Origin.String(), b.Origin.String()) })
	slices.SortFunc(g.Secrets, func(a, b SecretGrant) int { return cmp.Compare(a.String(), b.String()) })
	slices.Sort(g.Env)
}

// union adds what g lacks. An origin, and the folder, that both have stay as in g.
func (g Grants) union(other Grants) Grants {
	out := Grants{Net: slices.Clone(g.Net), Files: g.Files, Secrets: slices.Clone(g.Secrets), Env: slices.Clone(g.Env)}
	for _, n := range other.Net {
		if _, ok := out.origin(n.Origin); !ok {
			out.Net = append(out.Net, n)
		}
	}
	if out.Files == "" {
		out.Files = other.Files
	}
	for _, s := range other.Secrets {
		if !slices.ContainsFunc(out.Secrets, func(o SecretGrant) bool { return o.Name == s.Name }) {
			out.Secrets = append(out.Secrets, s)
		}
	}
	for _, name := range other.Env {
		if !slices.Contains(out.Env, name) {
			out.Env = append(out.Env, name)
		}
	}
	out.sort()
	return out
}

func (g Grants) origin(o egress.Origin) (egress.Grant, bool) {
	for _, n := range g.Net {
		if n.Origin == o {
			return n, true
		}
	}
	return egress.Grant{}, false
}

// fromConfig reads the grants of a destination. Members that the config does
// not have are nothing.
func fromConfig(c home.Grants) (Grants, error) {
	var g Grants
	for _, s := range c.Net {
		if err := g.parseNet(s); err != nil {
			return Grants{}, err
		}
	}
	for _, s := range c.Secrets {
		if err := g.parseSecret(s); err != nil {
			return Grants{}, err
		}
	}
	for _, s := range c.Env {
		if err := g.parseEnv(s); err != nil {
			return Grants{}, err
		}
	}
	if c.Files != nil {
		if err := g.parseFiles(*c.Files); err != nil {
			return Grants{}, err
		}
	}
	g.sort()
	return g, nil
}

// narrow returns g where c says nothing, and what c says where that is no more than g.
func (g Grants) narrow(c home.Grants) (Grants, error) {
	wish, err := fromConfig(c)
	if err != nil {
		return Grants{}, err
	}
	out := g
	if c.Net != nil {
		for _, n := range wish.Net {
			have, ok := g.origin(n.Origin)
			if !ok || n.Private && !have.Private {
				return Grants{}, fmt.Errorf("net %s", netString(n))
			}
		}
		out.Net = wish.Net
	}
	if c.Secrets != nil {
		out.Secrets = nil
		for _, s := range wish.Secrets {
			left := g.secretsWithin(s)
			if len(left) == 0 {
				return Grants{}, fmt.Errorf("secret %s", s)
			}
			out.Secrets = append(out.Secrets, left...)
		}
	}
	if c.Files != nil {
		if !below(wish.Files, g.Files) {
			return Grants{}, fmt.Errorf("files %s", wish.Files)
		}
		out.Files = wish.Files
	}
	if c.Env != nil {
		for _, name := range wish.Env {
			if !slices.Contains(g.Env, name) {
				return Grants{}, fmt.Errorf("env %s", name)
			}
		}
		out.Env = wish.Env
	}
	return out, nil
}

// secretsWithin returns what of wish g grants: for a wish without an origin
// every grant of that name, else the wish itself.
func (g Grants) secretsWithin(wish SecretGrant) []SecretGrant {
	var left []SecretGrant
	for _, have := range g.Secrets {
		switch {
		case have.Name != wish.Name:
		case wish.For == egress.Origin{}:
			left = append(left, have)
		case have.For == egress.Origin{} || have.For == wish.For:
			return []SecretGrant{wish}
		}
	}
	return left
}

// below reports whether dir is top or lies in it.
func below(dir, top string) bool {
	if top == "" {
		return false
	}
	rel, err := filepath.Rel(top, dir)
	return err == nil && filepath.IsLocal(rel)
}
