package plugin

import (
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin/egress"
	"carl.camp/carl/host/yamltree"
)

// Kind is what a plugin does.
type Kind string

// The kinds.
const (
	Mapper     Kind = "mapper"
	Translator Kind = "translator"
	Forwarder  Kind = "forwarder"
)

// Runtime is how a plugin runs.
type Runtime string

// The runtimes.
const (
	Wasm   Runtime = "wasm"
	Native Runtime = "native"
)

// anyOrigin is the request for an origin that only the operator can know.
const anyOrigin = "https://*"

// Bounds on a manifest. They are far from anything that a plugin needs.
const (
	maxManifest  = 64 << 10
	maxVersion   = 64
	maxSummary   = 200 // one line in a listing
	maxLicense   = 100
	maxPath      = 256
	maxRequests  = 64 // of one kind
	maxMemoryMiB = 4096
	maxFuel      = 1e15
	minTimeout   = time.Millisecond
	maxTimeout   = time.Hour
)

// Manifest is a plugin.yaml.
type Manifest struct {
	// Name is namespace/path; see [home.CheckPluginName].
	Name string
	// Version is a semantic version without a leading v.
	Version string
	Kind    Kind
	Runtime Runtime
	// Payload is the slash-separated path of the payload below the manifest's
	// folder, by platform: "wasm" alone, or os/arch for native plugins.
	Payload map[string]string
	Summary string
	License string
	// Requests is what the plugin would like to be granted.
	Requests Requests
	Limits   Limits
	// Settings is the path of the settings' JSON Schema below the manifest's folder, or "".
	Settings string
}

// Requests is what a plugin asks for. Nothing is granted by it.
type Requests struct {
	// Net are origins in the spelling of [egress.Origin], or https://*.
	Net     []string
	Secrets []SecretRequest
	// Files asks for a folder to append below.
	Files bool
	// Env are names of environment variables; native plugins only.
	Env []string
}

// SecretRequest asks the host to put a secret into a header.
type SecretRequest struct {
	// Name is the secret's; see [home.CheckSecretName].
	Name   string
	Header string
	// Format is the header's value with {} where the secret goes.
	Format string
	// For is the origin that gets it, or https://*; it is one of the requested origins.
	For string
}

// Limits are what the plugin says it needs; a zero member says nothing. See [Manifest.LimitsUnder].
type Limits = home.Limits

// ParseManifest reads a plugin.yaml; file is its name for messages. The error
// is carl.plugin.manifest_invalid with file:line:column.
func ParseManifest(data []byte, file string) (*Manifest, error) {
	invalid := func(err error) error {
		return fault.New(fault.PluginManifestInvalid, "%w", err).WithKept("nothing was installed")
	}
	if len(data) > maxManifest {
		return nil, invalid(&yamltree.Error{File: file, Pos: yamltree.Pos{Line: 1, Column: 1}, Message: "larger than 64 KiB"})
	}
	root, err := yamltree.Parse(data, file)
	if err != nil {
		return nil, invalid(err)
	}
	d := manifestDecoder{yamltree.NewDecoder(file)}
	m := new(Manifest)
	d.manifest(m, root)
	if err := d.Err(); err != nil {
		return nil, invalid(err)
	}
	return m, nil
}

type manifestDecoder struct{ *yamltree.Decoder }

func (d manifestDecoder) manifest(m *Manifest, root *yamltree.Node) {
	var payload, requests *yamltree.Node // read last: what is legal depends on kind and runtime
	d.Object(root,
		yamltree.Field{Name: "name", Required: true, Read: func(n *yamltree.Node) {
			m.Name = d.String(n)
			if err := home.CheckPluginName(m.Name); err != nil {
				d.Refuse(n.Pos, "%s: %v", yamltree.Quote(m.Name), err)
			}
		}},
		yamltree.Field{Name: "version", Required: true, Read: func(n *yamltree.Node) {
			m.Version = d.String(n)
			if !validVersion(m.Version) {
				d.Refuse(n.Pos, "%s is not a semantic version such as 1.4.2", yamltree.Quote(m.Version))
			}
		}},
		yamltree.Field{Name: "kind", Required: true, Read: func(n *yamltree.Node) {
			m.Kind = Kind(d.OneOf(n, string(Mapper), string(Translator), string(Forwarder)))
		}},
		yamltree.Field{Name: "runtime", Required: true, Read: func(n *yamltree.Node) {
			m.Runtime = Runtime(d.OneOf(n, string(Wasm), string(Native)))
		}},
		yamltree.Field{Name: "payload", Required: true, Read: func(n *yamltree.Node) { payload = n }},
		yamltree.Field{Name: "summary", Read: func(n *yamltree.Node) { m.Summary = d.line(n, maxSummary) }},
		yamltree.Field{Name: "license", Read: func(n *yamltree.Node) { m.License = d.line(n, maxLicense) }},
		yamltree.Field{Name: "requests", Read: func(n *yamltree.Node) { requests = n }},
		yamltree.Field{Name: "limits", Read: func(n *yamltree.Node) { m.Limits = d.limits(n) }},
		yamltree.Field{Name: "settings", Read: func(n *yamltree.Node) { m.Settings = d.path(n) }},
	)
	if d.Err() != nil {
		return
	}
	m.Payload = d.payload(m.Runtime, payload)
	if requests != nil {
		d.requests(m, requests)
	}
	if m.Settings != "" && m.Kind != Forwarder {
		d.Refuse(root.Pos, "settings are for a forwarder; a %s has none", m.Kind)
	}
}

func (d manifestDecoder) payload(r Runtime, n *yamltree.Node) map[string]string {
	if r == Wasm {
		return map[string]string{string(Wasm): d.path(n)}
	}
	payload := make(map[string]string)
	d.Members(n, func(m yamltree.Member) {
		goos, arch, ok := strings.Cut(m.Name, "/")
		if !ok || !isPlatformPart(goos) || !isPlatformPart(arch) {
			d.Refuse(m.Pos, "%s is not a platform such as linux/amd64", yamltree.Quote(m.Name))
		}
		payload[m.Name] = d.path(m.Value)
	})
	if len(payload) == 0 {
		d.Refuse(n.Pos, "a native plugin names one payload for each platform, such as {linux/amd64: dist/plugin}")
	}
	return payload
}

func (d manifestDecoder) requests(m *Manifest, n *yamltree.Node) {
	r := &m.Requests
	var secrets *yamltree.Node // read last: each is for one of the origins
	d.Object(n,
		yamltree.Field{Name: "net", Read: func(n *yamltree.Node) {
			d.Items(n, maxRequests, func(n *yamltree.Node) {
				origin := d.origin(n)
				if slices.Contains(r.Net, origin) {
					d.Refuse(n.Pos, "%s stands here a second time", yamltree.Quote(origin))
				}
				r.Net = append(r.Net, origin)
			})
		}},
		yamltree.Field{Name: "secrets", Read: func(n *yamltree.Node) { secrets = n }},
		yamltree.Field{Name: "files", Read: func(n *yamltree.Node) { r.Files = d.Bool(n) }},
		yamltree.Field{Name: "env", Read: func(n *yamltree.Node) {
			d.Items(n, maxRequests, func(n *yamltree.Node) {
				name := d.line(n, maxPath)
				if m.Runtime != Native {
					d.Refuse(n.Pos, "environment variables are for native plugins only")
				}
				if !isVariable(name) {
					d.Refuse(n.Pos, "%s is not the name of an environment variable", yamltree.Quote(name))
				}
				r.Env = append(r.Env, name)
			})
		}},
	)
	if secrets != nil {
		d.Items(secrets, maxRequests, func(n *yamltree.Node) { d.secret(r, n) })
	}
	if m.Runtime == Wasm && m.Kind != Forwarder && (len(r.Net) > 0 || len(r.Secrets) > 0 || r.Files) {
		d.Refuse(n.Pos, "a %s in wasm is pure: it can be granted nothing, and requests nothing", m.Kind)
	}
}

func (d manifestDecoder) secret(r *Requests, n *yamltree.Node) {
	var s SecretRequest
	d.Object(n,
		yamltree.Field{Name: "name", Required: true, Read: func(n *yamltree.Node) {
			s.Name = d.String(n)
			if home.CheckSecretName(s.Name) != nil {
				d.Refuse(n.Pos, "%s is not the name of a secret ([a-z0-9-])", yamltree.Quote(s.Name))
			}
		}},
		yamltree.Field{Name: "header", Required: true, Read: func(n *yamltree.Node) {
			s.Header = d.String(n)
			if !egress.SecretHeader(s.Header) {
				d.Refuse(n.Pos, "%s is not a header that may carry a secret, such as Authorization or X-Api-Key", yamltree.Quote(s.Header))
			}
		}},
		yamltree.Field{Name: "format", Read: func(n *yamltree.Node) {
			s.Format = d.String(n)
			if err := egress.CheckFormat(s.Format); err != nil {
				d.Refuse(n.Pos, "%v", err)
			}
		}},
		yamltree.Field{Name: "for", Required: true, Read: func(n *yamltree.Node) {
			s.For = d.origin(n)
			if !slices.Contains(r.Net, s.For) && !slices.Contains(r.Net, anyOrigin) {
				d.Refuse(n.Pos, "the secret is for %s, which requests.net does not list", yamltree.Quote(s.For))
			}
		}},
	)
	if s.Format == "" {
		s.Format = "{}"
	}
	for _, other := range r.Secrets {
		if strings.EqualFold(other.Header, s.Header) && overlap(other.For, s.For) {
			d.Refuse(n.Pos, "two secrets for one header of one origin")
		}
	}
	r.Secrets = append(r.Secrets, s)
}

func overlap(a, b string) bool { return a == b || a == anyOrigin || b == anyOrigin }

func (d manifestDecoder) origin(n *yamltree.Node) string {
	s := d.String(n)
	if d.Err() != nil || s == anyOrigin {
		return s
	}
	o, err := egress.ParseOrigin(s)
	if err != nil {
		d.Refuse(n.Pos, "%s: %v", yamltree.Quote(s), err)
	}
	return o.String()
}

func (d manifestDecoder) limits(n *yamltree.Node) Limits {
	var l Limits
	d.Object(n,
		yamltree.Field{Name: "memory_mib", Read: func(n *yamltree.Node) { l.MemoryMiB = int(d.Int(n, 1, maxMemoryMiB)) }},
		yamltree.Field{Name: "fuel", Read: func(n *yamltree.Node) { l.Fuel = d.Int(n, 1, maxFuel) }},
		yamltree.Field{Name: "timeout", Read: func(n *yamltree.Node) { l.Timeout = d.Duration(n, minTimeout, maxTimeout) }},
	)
	return l
}

// line reads one line of printable text.
func (d manifestDecoder) line(n *yamltree.Node, most int) string {
	s := d.String(n)
	if d.Err() == nil && (s == "" || len(s) > most || strings.ContainsFunc(s, isControl)) {
		d.Refuse(n.Pos, "want one line of text of at most %d bytes", most)
	}
	return s
}

// path reads the path of a file in or below the manifest's folder.
func (d manifestDecoder) path(n *yamltree.Node) string {
	s := d.String(n)
	if d.Err() != nil {
		return ""
	}
	switch {
	case s == "" || len(s) > maxPath || strings.ContainsFunc(s, isControl) || strings.ContainsAny(s, `\:`):
		d.Refuse(n.Pos, "%s is not a path with / between its parts, without \\ and :", yamltree.Quote(s))
	case path.IsAbs(s) || path.Clean(s) != s || s == "." || s == ".." || strings.HasPrefix(s, "../"):
		d.Refuse(n.Pos, "%s does not lead to a file in or below the manifest's folder in the shortest way", yamltree.Quote(s))
	}
	return s
}

// validVersion accepts semver 2.0.0 in full: semver.IsValid alone takes v1 and v1.2 too.
func validVersion(s string) bool {
	v := "v" + s
	return len(s) <= maxVersion && semver.IsValid(v) && semver.Canonical(v)+semver.Build(v) == v
}

func isPlatformPart(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 16
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// isControl also catches what makes text run backwards or vanish on a terminal.
func isControl(r rune) bool {
	return r < ' ' || 0x7f <= r && r <= 0x9f || 0x200b <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 || r == 0xfeff
}
