package plugin_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
	"carl.camp/carl/host/plugin/egress"
)

// TestNothingBeyondTheCeiling draws requests, grants and configs from small
// pools, so that they meet often, and holds what a plugin gets against all three.
func TestNothingBeyondTheCeiling(t *testing.T) {
	origins := []string{"https://a.dev:443", "https://b.dev:8443", "http://127.0.0.1:80"}
	secrets := []string{"s", "t"}
	folders := []string{"/out", "/out/below", "/other", "/"}
	given := 0
	rapid.Check(t, func(t *rapid.T) {
		someOrigins := rapid.SliceOfDistinct(rapid.SampledFrom(origins), rapid.ID[string])
		m := &plugin.Manifest{Name: "acme.dev/x", Kind: plugin.Forwarder, Runtime: plugin.Wasm}
		m.Requests.Net = someOrigins.Draw(t, "requested net")
		if rapid.Bool().Draw(t, "any origin") {
			m.Requests.Net = append(m.Requests.Net, "https://*")
		}
		for _, name := range secrets {
			if len(m.Requests.Net) > 0 && rapid.Bool().Draw(t, "request "+name) {
				m.Requests.Secrets = append(m.Requests.Secrets, plugin.SecretRequest{
					Name: name, Header: "X-Api-Key", Format: "{}", For: rapid.SampledFrom(m.Requests.Net).Draw(t, "for"),
				})
			}
		}
		m.Requests.Files = rapid.Bool().Draw(t, "requested files")

		// net draws origins, some marked private, in the notation of --grant.
		net := func(label string) []string {
			var list []string
			for _, o := range someOrigins.Draw(t, label) {
				if rapid.Bool().Draw(t, label+" private") {
					o += ",private"
				}
				list = append(list, o)
			}
			return list
		}
		secret := func(label string) []string {
			var list []string
			for _, s := range rapid.SliceOfDistinct(rapid.SampledFrom(secrets), rapid.ID[string]).Draw(t, label) {
				if rapid.Bool().Draw(t, label+" bound") {
					s += "@" + rapid.SampledFrom(origins).Draw(t, label+" to")
				}
				list = append(list, s)
			}
			return list
		}
		var flags []string
		for _, n := range net("granted net") {
			flags = append(flags, "net="+n)
		}
		for _, s := range secret("granted secrets") {
			flags = append(flags, "secret="+s)
		}
		if rapid.Bool().Draw(t, "granted files") {
			flags = append(flags, "files="+rapid.SampledFrom(folders).Draw(t, "granted folder"))
		}
		granted, err := plugin.ParseGrants(flags)
		if err != nil {
			t.Fatal(err)
		}
		var wish home.Grants
		if rapid.Bool().Draw(t, "config has net") {
			wish.Net = append([]string{}, net("configured net")...)
		}
		if rapid.Bool().Draw(t, "config has secrets") {
			wish.Secrets = append([]string{}, secret("configured secrets")...)
		}
		if rapid.Bool().Draw(t, "config has files") {
			f := rapid.SampledFrom(folders).Draw(t, "configured folder")
			wish.Files = &f
		}

		p := &plugin.Plugin{Origin: plugin.Dev, Manifest: m, Granted: granted}
		got, err := p.For(&home.Destination{Name: "d", Grants: wish}, plugin.Grants{Files: "/", Net: []egress.Grant{}})
		if err != nil {
			return // what was wished is more than was granted
		}
		ceiling := m.Effective(granted)
		if len(got.Net) > 0 || got.Files != "" {
			given++
		}
		for _, n := range got.Net {
			if !slices.Contains(granted.Strings(), "net="+n.Origin.String()+",private") && (n.Private || !slices.Contains(granted.Strings(), "net="+n.Origin.String())) {
				t.Fatalf("%v was not granted by %q", n, granted.Strings())
			}
			if !slices.Contains(m.Requests.Net, n.Origin.String()) && !slices.Contains(m.Requests.Net, "https://*") {
				t.Fatalf("%s was not requested by %q", n.Origin, m.Requests.Net)
			}
			if wish.Net != nil && !slices.ContainsFunc(wish.Net, func(s string) bool { return strings.TrimSuffix(s, ",private") == n.Origin.String() }) {
				t.Fatalf("%s is not left by the config's %q", n.Origin, wish.Net)
			}
		}
		for _, s := range got.Secrets {
			if !slices.ContainsFunc(granted.Secrets, func(g plugin.SecretGrant) bool {
				return g.Name == s.Name && (g.For == s.For || g.For == egress.Origin{})
			}) {
				t.Fatalf("secret %s for %s was not granted by %q", s.Name, s.For, granted.Strings())
			}
			if !slices.ContainsFunc(m.Requests.Secrets, func(r plugin.SecretRequest) bool {
				return r.Name == s.Name && (r.For == s.For.String() || r.For == "https://*")
			}) {
				t.Fatalf("secret %s for %s was not requested", s.Name, s.For)
			}
			if !slices.ContainsFunc(got.Net, func(n egress.Grant) bool { return n.Origin == s.For }) {
				t.Fatalf("secret %s would go to %s, which is not granted", s.Name, s.For)
			}
			if wish.Secrets != nil && !slices.ContainsFunc(wish.Secrets, func(w string) bool { return w == s.Name || w == s.Name+"@"+s.For.String() }) {
				t.Fatalf("secret %s for %s is not left by the config's %q", s.Name, s.For, wish.Secrets)
			}
		}
		if got.Files != "" {
			rel, err := filepath.Rel(ceiling.Files, got.Files)
			if ceiling.Files == "" || err != nil || !filepath.IsLocal(rel) {
				t.Fatalf("files %q are not below %q", got.Files, ceiling.Files)
			}
		}
	})
	if given == 0 {
		t.Fatal("nothing was ever given, so nothing was tested")
	}
}
