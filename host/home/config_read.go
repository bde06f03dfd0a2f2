package home

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"math"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"carl.camp/carl/host/yamltree"
)

// Bounds on what a config may say. They keep slips apart from wishes: nobody
// means 500 destinations, a tebibyte of memory or a timeout of a year.
const (
	maxDestinations   = 64
	maxPlugins        = 256
	maxGrants         = 64 // of one kind, for one destination
	maxText           = 4 << 10
	maxDestinationLen = 63

	maxMemoryMiB = 4096 // all that wasm can address with 32 bits
	maxFuel      = 1e15
	minTimeout   = time.Millisecond
	maxTimeout   = time.Hour
	maxAge       = 100 * 365 * 24 * time.Hour
)

// configDecoder reads the tree of a config.yaml.
type configDecoder struct{ *yamltree.Decoder }

func (d configDecoder) config(c *Config, root *yamltree.Node) {
	d.Object(root,
		yamltree.Field{Name: "camp", Read: func(n *yamltree.Node) { d.camp(c, n) }},
		yamltree.Field{Name: "tier", Read: func(n *yamltree.Node) { c.Tier = d.OneOf(n, "free", "paid") }},
		yamltree.Field{Name: "offline", Read: func(n *yamltree.Node) { c.Offline = d.Bool(n) }},
		yamltree.Field{Name: "strict_pinning", Read: func(n *yamltree.Node) { c.StrictPinning = d.Bool(n) }},
		yamltree.Field{Name: "offline_root", Read: func(n *yamltree.Node) { c.OfflineRoot = d.publicKey(n) }},
		yamltree.Field{Name: "slime", Read: func(n *yamltree.Node) {
			d.Object(n, yamltree.Field{Name: "dir", Read: func(n *yamltree.Node) { c.SlimeDir = d.path(n) }})
		}},
		yamltree.Field{Name: "destinations", Read: func(n *yamltree.Node) { c.Destinations = d.destinations(c.File, n) }},
		yamltree.Field{Name: "plugins", Read: func(n *yamltree.Node) { d.plugins(&c.Plugins, n) }},
		yamltree.Field{Name: "spool", Read: func(n *yamltree.Node) { d.spool(&c.Spool, n) }},
	)
}

func (d configDecoder) camp(c *Config, n *yamltree.Node) {
	d.Object(n,
		yamltree.Field{Name: "url", Read: func(n *yamltree.Node) {
			url, err := checkURL(d.text(n))
			if err != nil {
				d.Refuse(n.Pos, "camp.url: %v", err)
			}
			c.Camp.URL, c.Camp.URLSource = url, c.File
		}},
		yamltree.Field{Name: "paths", Read: func(n *yamltree.Node) { c.Camp.Paths = d.campPaths(n) }},
		yamltree.Field{Name: "receipt_key", Read: func(n *yamltree.Node) { c.Camp.ReceiptKey = d.verifierKey(n) }},
		yamltree.Field{Name: "proxy", Read: func(n *yamltree.Node) { c.Camp.Proxy = d.proxy(n) }},
		yamltree.Field{Name: "ca_file", Read: func(n *yamltree.Node) { c.Camp.CAFile = d.path(n) }},
	)
}

func (d configDecoder) campPaths(n *yamltree.Node) map[string]string {
	paths := make(map[string]string)
	var fields []yamltree.Field
	for _, name := range []string{"jwks", "entitlements", "signals", "ledger_append", "runs", "resonants"} {
		fields = append(fields, yamltree.Field{Name: name, Read: func(n *yamltree.Node) {
			path := d.text(n)
			if !plainPath(path) {
				d.Refuse(n.Pos, "%s is not a plain absolute path such as /api/axon/signals", yamltree.Quote(path))
			}
			paths[name] = path
		}})
	}
	d.Object(n, fields...)
	return paths
}

func (d configDecoder) destinations(file string, n *yamltree.Node) []Destination {
	var list []Destination
	d.Members(n, func(m yamltree.Member) {
		if err := CheckDestinationName(m.Name); err != nil {
			d.Refuse(m.Pos, "%s cannot be the name of a destination: %v", yamltree.Quote(m.Name), err)
		}
		list = append(list, d.destination(file, m))
	})
	if len(list) > maxDestinations {
		d.Refuse(n.Pos, "%d destinations; at most %d are allowed", len(list), maxDestinations)
	}
	slices.SortFunc(list, func(a, b Destination) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (d configDecoder) destination(file string, m yamltree.Member) Destination {
	t := Destination{
		Name:     m.Name,
		Enabled:  true,
		Mapper:   DefaultMapper,
		Settings: []byte("{}"),
		file:     file,
		at:       m.Pos,
	}
	d.Object(m.Value,
		yamltree.Field{Name: "plugin", Required: true, Read: func(n *yamltree.Node) { t.Plugin = d.plugin(n) }},
		yamltree.Field{Name: "mapper", Read: func(n *yamltree.Node) { t.Mapper = d.plugin(n) }},
		yamltree.Field{Name: "topics", Read: func(n *yamltree.Node) { t.Topics = d.topics(n) }},
		yamltree.Field{Name: "settings", Read: func(n *yamltree.Node) {
			d.Members(n, func(yamltree.Member) {})
			t.Settings, t.settings = n.AppendJSON(nil), n
		}},
		yamltree.Field{Name: "grants", Read: func(n *yamltree.Node) { t.Grants = d.grants(n) }},
		yamltree.Field{Name: "proxy", Read: func(n *yamltree.Node) { t.Proxy = d.proxy(n) }},
		yamltree.Field{Name: "ca_file", Read: func(n *yamltree.Node) { t.CAFile = d.path(n) }},
		yamltree.Field{Name: "enabled", Read: func(n *yamltree.Node) { t.Enabled = d.Bool(n) }},
	)
	return t
}

func (d configDecoder) topics(n *yamltree.Node) []string {
	topics := []string{}
	d.Items(n, 2, func(n *yamltree.Node) {
		topic := d.OneOf(n, "signals", "ledger")
		if slices.Contains(topics, topic) {
			d.Refuse(n.Pos, "topic %q stands here a second time", topic)
		}
		topics = append(topics, topic)
	})
	if len(topics) == 0 {
		d.Refuse(n.Pos, "no topics: leave the member out, or switch the destination off with enabled: false")
	}
	return topics
}

func (d configDecoder) grants(n *yamltree.Node) Grants {
	var g Grants
	d.Object(n,
		yamltree.Field{Name: "net", Read: func(n *yamltree.Node) {
			g.Net = []string{}
			d.Items(n, maxGrants, func(n *yamltree.Node) { g.Net = append(g.Net, d.origin(n)) })
		}},
		yamltree.Field{Name: "files", Read: func(n *yamltree.Node) {
			dir := d.path(n)
			g.Files = &dir
		}},
		yamltree.Field{Name: "secrets", Read: func(n *yamltree.Node) {
			g.Secrets = []string{}
			d.Items(n, maxGrants, func(n *yamltree.Node) {
				secret := d.text(n)
				name, _, _ := strings.Cut(secret, "@")
				if CheckSecretName(name) != nil {
					d.Refuse(n.Pos, "%s is not the name of a secret ([a-z0-9-])", yamltree.Quote(name))
				}
				g.Secrets = append(g.Secrets, secret)
			})
		}},
		yamltree.Field{Name: "env", Read: func(n *yamltree.Node) {
			g.Env = []string{}
			d.Items(n, maxGrants, func(n *yamltree.Node) {
				name := d.text(n)
				if !visible(name, '!') || strings.Contains(name, "=") {
					d.Refuse(n.Pos, "%s is not the name of an environment variable", yamltree.Quote(name))
				}
				g.Env = append(g.Env, name)
			})
		}},
	)
	return g
}

// origin reads "https://host:port", the same with ",private" behind it, or
// {origin: …, private: true}. Whether the origin is a legal one is for those
// to say who enforce it.
func (d configDecoder) origin(n *yamltree.Node) string {
	if n.Kind != yamltree.Object {
		return d.text(n)
	}
	origin, private := "", false
	d.Object(n,
		yamltree.Field{Name: "origin", Required: true, Read: func(n *yamltree.Node) { origin = d.text(n) }},
		yamltree.Field{Name: "private", Read: func(n *yamltree.Node) { private = d.Bool(n) }},
	)
	if private {
		origin += ",private"
	}
	return origin
}

func (d configDecoder) plugins(p *Plugins, n *yamltree.Node) {
	known := []string{"isolation", "limits"}
	d.Members(n, func(m yamltree.Member) {
		switch {
		case m.Name == "isolation":
			p.Isolation = d.OneOf(m.Value, InProcess, Process)
		case m.Name == "limits":
			p.Limits = d.limits(m.Value)
		case strings.Contains(m.Name, "/"):
			if err := CheckPluginName(m.Name); err != nil {
				d.Refuse(m.Pos, "%s: %v", yamltree.Quote(m.Name), err)
			}
			if p.Each == nil {
				p.Each = make(map[string]PluginConfig)
			}
			var c PluginConfig
			d.Object(m.Value,
				yamltree.Field{Name: "isolation", Read: func(n *yamltree.Node) { c.Isolation = d.OneOf(n, InProcess, Process) }},
				yamltree.Field{Name: "limits", Read: func(n *yamltree.Node) { c.Limits = d.limits(n) }},
			)
			p.Each[m.Name] = c
		default:
			d.Unknown(m, known)
		}
	})
	if len(p.Each) > maxPlugins {
		d.Refuse(n.Pos, "%d plugins; at most %d are allowed", len(p.Each), maxPlugins)
	}
}

func (d configDecoder) limits(n *yamltree.Node) Limits {
	var l Limits
	d.Object(n,
		yamltree.Field{Name: "memory_mib", Read: func(n *yamltree.Node) { l.MemoryMiB = int(d.Int(n, 1, maxMemoryMiB)) }},
		yamltree.Field{Name: "fuel", Read: func(n *yamltree.Node) { l.Fuel = d.Int(n, 1, maxFuel) }},
		yamltree.Field{Name: "timeout", Read: func(n *yamltree.Node) { l.Timeout = d.Duration(n, minTimeout, maxTimeout) }},
	)
	return l
}

func (d configDecoder) spool(s *Spool, n *yamltree.Node) {
	d.Object(n,
		yamltree.Field{Name: "sync", Read: func(n *yamltree.Node) { s.Sync = d.OneOf(n, "exit", "always", "off") }},
		yamltree.Field{Name: "max_bytes", Read: func(n *yamltree.Node) { s.MaxBytes = d.Int(n, 1, math.MaxInt64) }},
		yamltree.Field{Name: "max_age", Read: func(n *yamltree.Node) { s.MaxAge = d.Duration(n, time.Second, maxAge) }},
	)
}

// text reads one line of text that is not empty.
func (d configDecoder) text(n *yamltree.Node) string {
	s := d.String(n)
	switch {
	case d.Err() != nil:
		return ""
	case s == "":
		d.Refuse(n.Pos, "the text is empty: write a value, or leave the member out")
	case len(s) > maxText:
		d.Refuse(n.Pos, "the text is longer than %d bytes", maxText)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		d.Refuse(n.Pos, "the text holds a line end or a control character")
	}
	return s
}

// publicKey reads the member x of an Ed25519 JWK, or the whole JWK as a
// mapping. Whether it is a key that can be trusted is for those to say who
// verify with it.
func (d configDecoder) publicKey(n *yamltree.Node) string {
	if n.Kind == yamltree.Object {
		return string(n.AppendJSON(nil))
	}
	s := d.text(n)
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(s); d.Err() == nil && (err != nil || len(raw) != ed25519.PublicKeySize) {
		d.Refuse(n.Pos, "not the member x of a public JWK: 43 characters of base64url")
	}
	return s
}

// verifierKey reads a C2SP verifier key: name+hash+key. Whether it is one is for
// those to say who verify with it.
func (d configDecoder) verifierKey(n *yamltree.Node) string {
	s := d.text(n)
	if d.Err() == nil && strings.Count(s, "+") < 2 {
		d.Refuse(n.Pos, "not a verifier key of the form name+hash+key")
	}
	return s
}

// path reads an absolute path, or one below ~.
func (d configDecoder) path(n *yamltree.Node) string {
	s := d.text(n)
	if d.Err() != nil {
		return ""
	}
	path, err := Expand(s)
	if err != nil {
		d.Refuse(n.Pos, "%s: %v", yamltree.Quote(s), err)
		return ""
	}
	if !filepath.IsAbs(path) {
		d.Refuse(n.Pos, "%s is neither an absolute path nor one that begins with ~/", yamltree.Quote(s))
		return ""
	}
	return filepath.Clean(path)
}

func (d configDecoder) plugin(n *yamltree.Node) string {
	name := d.text(n)
	if d.Err() == nil {
		if err := CheckPluginName(name); err != nil {
			d.Refuse(n.Pos, "%s: %v", yamltree.Quote(name), err)
		}
	}
	return name
}

// proxy never shows what it read: the URL of a proxy may hold a password.
func (d configDecoder) proxy(n *yamltree.Node) string {
	s := d.text(n)
	if d.Err() != nil {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		d.Refuse(n.Pos, "not a URL of the form http://host:port or https://host:port")
	}
	return s
}

// CheckDestinationName refuses a name that is not [a-z0-9][a-z0-9-_]*, at most
// 63 bytes, or that Windows keeps for a device: a destination has files of its name.
func CheckDestinationName(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case len(name) > maxDestinationLen:
		return errors.New("it is longer than 63 bytes")
	case !isLowerAlnum(name[0]):
		return errors.New("it begins with neither a letter a-z nor a digit")
	}
	for i := range len(name) {
		if c := name[i]; !isLowerAlnum(c) && c != '-' && c != '_' {
			return errors.New("it is not made of a-z, 0-9, - and _")
		}
	}
	switch name {
	case "con", "prn", "aux", "nul":
		return errors.New("it is the name of a device on Windows")
	}
	if len(name) == 4 && (name[:3] == "com" || name[:3] == "lpt") && '0' <= name[3] && name[3] <= '9' {
		return errors.New("it is the name of a device on Windows")
	}
	return nil
}

// checkURL accepts the platform's address, as host/camp does, and cuts the slash at its end.
func checkURL(s string) (string, error) {
	if len(s) > maxText || !visible(s, '!') || strings.Contains(s, `\`) {
		return "", errors.New("the address is too long, or holds a space or a character beyond ASCII")
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") {
		return "", errors.New("not an address of the form https://host")
	}
	switch {
	case u.User != nil:
		return "", errors.New("a user name or password in the address is not allowed")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return "", errors.New("the address has a query or a fragment")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("the scheme is neither https nor http")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", errors.New("plain http is accepted for loopback addresses only")
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if path != "" && !plainPath(path) {
		return "", errors.New("the path in the address is not a plain one")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host) + path, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// plainPath accepts /segments of unreserved characters (RFC 3986 §2.3), none of them . or .. or empty.
func plainPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || len(path) > maxText {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for i := range len(segment) {
			c := segment[i]
			if !isLowerAlnum(c) && (c < 'A' || c > 'Z') && strings.IndexByte("-._~", c) < 0 {
				return false
			}
		}
	}
	return true
}
