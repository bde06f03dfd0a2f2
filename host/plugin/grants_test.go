package plugin_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
)

func grants(t *testing.T, list ...string) plugin.Grants {
	t.Helper()
	g, err := plugin.ParseGrants(list)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func manifest(t *testing.T, requests string) *plugin.Manifest {
	t.Helper()
	m, err := plugin.ParseManifest([]byte("name: acme.dev/x\nversion: 1.0.0\nkind: forwarder\nruntime: wasm\npayload: p.wasm\nrequests: {"+requests+"}\n"), "plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// show gives what is effective in one line.
func show(e plugin.Effective) string {
	var list []string
	for _, n := range e.Net {
		s := "net " + n.Origin.String()
		if n.Private {
			s += " private"
		}
		list = append(list, s)
	}
	for _, s := range e.Secrets {
		list = append(list, fmt.Sprintf("secret %s in %s as %q for %s", s.Name, s.Header, s.Format, s.For))
	}
	if e.Files != "" {
		list = append(list, "files "+e.Files)
	}
	for _, name := range e.Env {
		list = append(list, "env "+name)
	}
	return strings.Join(list, "; ")
}

func TestParseGrants(t *testing.T) {
	user := t.TempDir()
	t.Setenv("HOME", user)
	t.Setenv("USERPROFILE", user)
	g := grants(t, "net=https://B.dev", "net=https://a.dev:8443,private", "files=~/out", "secret=tok", "secret=tok@https://a.dev:8443", "secret=tok", "env=Z", "env=A_1")
	want := []string{"env=A_1", "env=Z", "files=" + filepath.Join(user, "out"), "net=https://a.dev:8443,private", "net=https://b.dev:443", "secret=tok", "secret=tok@https://a.dev:8443"}
	if got := g.Strings(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := grants(t, g.Strings()...); !slices.Equal(again.Strings(), want) {
		t.Errorf("read again: %q", again.Strings())
	}
	for _, c := range []struct{ grant, want string }{
		{"https://a.dev", "not of the form what=value"},
		{"net=", "not of the form"},
		{"nets=https://a.dev", "nothing that can be granted"},
		{"net=https://*", "leaves the origin open"},
		{"net=a.dev", "an origin is scheme://host:port"},
		{"net=http://a.dev", "plain http is for loopback"},
		{"net=https://a.dev/x", "has no path"},
		{"net=https://u@a.dev", "user name"},
		{"net=https://a.dev,public", "has a character"},
		{"secret=A", "not the name of a secret"},
		{"secret=a@a.dev", "an origin is"},
		{"files=\x01", "not the path of a folder"},
		{"env=A=B", "not the name of an environment variable"},
	} {
		_, err := plugin.ParseGrants([]string{c.grant})
		if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "nothing was granted") {
			t.Errorf("%q: %v", c.grant, err)
		}
	}
	for _, twice := range [][]string{{"net=https://a.dev", "net=https://a.dev:443,private"}, {"files=/a", "files=/b"}} {
		if _, err := plugin.ParseGrants(twice); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", twice, err)
		}
	}
}

func TestEffective(t *testing.T) {
	const one = `net: ["https://a.dev"], secrets: [{name: tok, header: X-Api-Key, for: "https://a.dev"}]`
	const open = `net: ["https://*"], secrets: [{name: tok, header: Authorization, format: "Bearer {}", for: "https://*"}]`
	for _, c := range []struct {
		name, requests, grants, want, missing string
	}{
		{"nothing by default", one, "", "", "net=https://a.dev:443 secret=tok"},
		{"as requested", one, "net=https://a.dev secret=tok", `net https://a.dev:443; secret tok in X-Api-Key as "{}" for https://a.dev:443`, ""},
		{"another origin", one, "net=https://b.dev secret=tok", "", "net=https://a.dev:443 secret=tok"},
		{"another port", one, "net=https://a.dev:444 secret=tok", "", "net=https://a.dev:443 secret=tok"},
		{"a secret without its origin", one, "secret=tok", "", "net=https://a.dev:443 secret=tok"},
		{"an origin without its secret", one, "net=https://a.dev", "net https://a.dev:443", "secret=tok"},
		{"private", one, "net=https://a.dev,private", "net https://a.dev:443 private", "secret=tok"},
		{"an open request", open, "net=https://b.dev:8443 secret=tok", `net https://b.dev:8443; secret tok in Authorization as "Bearer {}" for https://b.dev:8443`, ""},
		{"an open request on loopback", open, "net=http://127.0.0.1:80", "net http://127.0.0.1:80", "secret=tok"},
		{"an open request alone", open, "", "", "net=https://HOST:PORT secret=tok"},
		{"a secret for which of two", open, "net=https://a.dev net=https://b.dev secret=tok", "net https://a.dev:443; net https://b.dev:443", "secret=tok@https://HOST:PORT"},
		{"a secret for one of two", open, "net=https://a.dev net=https://b.dev secret=tok@https://b.dev", `net https://a.dev:443; net https://b.dev:443; secret tok in Authorization as "Bearer {}" for https://b.dev:443`, ""},
		{"a secret for an origin that is not granted", open, "net=https://a.dev secret=tok@https://b.dev", "net https://a.dev:443", "secret=tok"},
		{"files", "files: true", "files=/out", "files /out", ""},
		{"files that nobody requested", "files: false", "files=/out", "", ""},
		{"environment that nobody requested", "files: true", "env=HOME", "", "files=DIR"},
	} {
		m := manifest(t, c.requests)
		g := grants(t, strings.Fields(c.grants)...)
		if got := show(m.Effective(g)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if got := strings.Join(m.Missing(g), " "); got != c.missing {
			t.Errorf("%s: missing %q, want %q", c.name, got, c.missing)
		}
	}
}

// destination reads one destination out of a config, so that its place is known.
func destination(t *testing.T, grants string) *home.Destination {
	t.Helper()
	c, err := home.ParseConfig([]byte("destinations:\n  d: {plugin: acme.dev/x, grants: {"+grants+"}}\n"), "config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return &c.Destinations[0]
}

func TestConfigNarrowsWhatTheLockGrants(t *testing.T) {
	p := &plugin.Plugin{
		Origin:   plugin.Dev,
		Source:   "/src",
		Manifest: manifest(t, `net: ["https://*"], secrets: [{name: tok, header: Authorization, for: "https://*"}], files: true`),
		Granted:  grants(t, "net=https://a.dev", "net=https://b.dev,private", "secret=tok@https://a.dev", "files=/out"),
	}
	const all = `net https://a.dev:443; net https://b.dev:443 private; secret tok in Authorization as "{}" for https://a.dev:443; files /out`
	for _, c := range []struct{ grants, want, refused string }{
		{"", all, ""},
		{"net: ['https://b.dev']", "net https://b.dev:443; files /out", ""},
		{"net: []", "files /out", ""},
		{"net: [], secrets: []", "files /out", ""},
		{"secrets: [tok]", all, ""},
		{"secrets: ['tok@https://a.dev']", all, ""},
		{"secrets: ['tok@https://b.dev', tok]", "", "secret tok@https://b.dev:443"},
		{"secrets: []", "net https://a.dev:443; net https://b.dev:443 private; files /out", ""},
		{"files: /out/below", strings.Replace(all, "/out", "/out/below", 1), ""},
		{"files: /out/../etc", "", "files /etc"},
		{"files: /output", "", "files /output"},
		{"files: /", "", "files /"},
		{"net: ['https://c.dev']", "", "net https://c.dev:443"},
		{"net: ['https://a.dev,private']", "", "net https://a.dev:443,private"},
		{"net: ['https://*']", "", "leaves the origin open"},
		{"secrets: [other]", "", "secret other"},
		{"secrets: ['tok@https://b.dev']", "", "secret tok@https://b.dev:443"},
		{"env: [HOME]", "", "env HOME"},
	} {
		e, err := p.For(destination(t, c.grants), plugin.Grants{})
		if c.refused != "" {
			if fault.CodeOf(err) != fault.PluginGrantDenied || !strings.Contains(err.Error(), c.refused) || !strings.HasPrefix(err.Error(), `config.yaml:2:3: destination "d"`) ||
				!strings.Contains(fault.HintOf(err), "carl plugin install --dev /src") {
				t.Errorf("%q: %v, hint %s", c.grants, err, fault.HintOf(err))
			}
			continue
		}
		if err != nil || show(e) != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.grants, show(e), err, c.want)
		}
	}
}

func TestASecretForTwoOriginsStaysForBoth(t *testing.T) {
	p := &plugin.Plugin{
		Origin:   plugin.Dev,
		Manifest: manifest(t, `net: ["https://*"], secrets: [{name: tok, header: Authorization, for: "https://*"}]`),
		Granted:  grants(t, "net=https://a.dev", "net=https://b.dev", "secret=tok@https://a.dev", "secret=tok@https://b.dev"),
	}
	for wish, want := range map[string]int{"": 2, "secrets: [tok]": 2, "secrets: ['tok@https://b.dev']": 1, "secrets: [tok], net: ['https://a.dev']": 1} {
		if e, err := p.For(destination(t, wish), plugin.Grants{}); err != nil || len(e.Secrets) != want {
			t.Errorf("%q: %q, %v", wish, show(e), err)
		}
	}
}

func TestBundledPluginsAreGrantedByConfigOrByCarl(t *testing.T) {
	writer := &plugin.Plugin{Origin: plugin.Bundled, Manifest: manifest(t, "files: true")}
	if e, err := writer.For(destination(t, "files: /out"), plugin.Grants{}); err != nil || show(e) != "files /out" {
		t.Errorf("%q, %v", show(e), err)
	}
	if e, err := writer.For(destination(t, ""), plugin.Grants{}); err != nil || show(e) != "" {
		t.Errorf("%q, %v", show(e), err)
	}
	if _, err := writer.For(destination(t, "net: ['https://a.dev']"), plugin.Grants{}); fault.CodeOf(err) != fault.ConfigInvalid || !strings.Contains(err.Error(), "does not request net=https://a.dev:443") {
		t.Errorf("%v", err)
	}
	sender := &plugin.Plugin{Origin: plugin.Bundled, Manifest: manifest(t, `net: ["https://*"], secrets: [{name: camp-token, header: Authorization, format: "Bearer {}", for: "https://*"}]`)}
	platform := grants(t, "net=http://127.0.0.1:4711", "secret=camp-token@http://127.0.0.1:4711")
	const want = `net http://127.0.0.1:4711; secret camp-token in Authorization as "Bearer {}" for http://127.0.0.1:4711`
	if e, err := sender.For(destination(t, ""), platform); err != nil || show(e) != want {
		t.Errorf("%q, %v", show(e), err)
	}
	if _, err := sender.For(destination(t, "net: ['https://evil.dev']"), platform); fault.CodeOf(err) != fault.PluginGrantDenied {
		t.Errorf("the platform's token could go to another origin: %v", err)
	}
}

func TestLimitsUnder(t *testing.T) {
	parse := func(kind, limits string) *plugin.Manifest {
		m, err := plugin.ParseManifest([]byte("name: a.dev/b\nversion: 1.0.0\nkind: "+kind+"\nruntime: wasm\npayload: p\nlimits: {"+limits+"}\n"), "plugin.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, c := range []struct {
		kind, limits string
		operator     plugin.Limits
		want         plugin.Limits
	}{
		{"forwarder", "", plugin.Limits{}, plugin.Limits{}},
		{"forwarder", "memory_mib: 32, fuel: 1000, timeout: 5s", plugin.Limits{}, plugin.Limits{MemoryMiB: 32, Fuel: 1000, Timeout: 5 * time.Second}},
		{"forwarder", "memory_mib: 4096, fuel: 1000000000000, timeout: 1h", plugin.Limits{}, plugin.Limits{MemoryMiB: 64, Fuel: 2e9, Timeout: time.Minute}},
		{"translator", "timeout: 1h", plugin.Limits{}, plugin.Limits{Timeout: 10 * time.Second}},
		{"mapper", "fuel: 3000000000", plugin.Limits{}, plugin.Limits{Fuel: 3e9}},
		{"forwarder", "memory_mib: 32", plugin.Limits{MemoryMiB: 256, Fuel: 9e9, Timeout: time.Hour}, plugin.Limits{MemoryMiB: 256, Fuel: 9e9, Timeout: time.Hour}},
	} {
		if got := parse(c.kind, c.limits).LimitsUnder(c.operator); got != c.want {
			t.Errorf("%s {%s} under %+v: got %+v, want %+v", c.kind, c.limits, c.operator, got, c.want)
		}
	}
}
