package plugin_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin"
)

const splunk = `name: acme.dev/forward/splunk
version: 1.4.2
kind: forwarder
runtime: wasm
payload: plugin.wasm
summary: Sends signals to a Splunk HTTP Event Collector
license: Apache-2.0
requests:
  net: ["https://splunk.acme.dev:8088"]
  secrets: [{name: splunk-token, header: Authorization, format: "Splunk {}", for: "https://splunk.acme.dev:8088"}]
  files: false
limits: {memory_mib: 32, fuel: 2000000000, timeout: 10s}
settings: settings.schema.json
`

func TestParseManifest(t *testing.T) {
	m, err := plugin.ParseManifest([]byte(splunk), "plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := &plugin.Manifest{
		Name:    "acme.dev/forward/splunk",
		Version: "1.4.2",
		Kind:    plugin.Forwarder,
		Runtime: plugin.Wasm,
		Payload: map[string]string{"wasm": "plugin.wasm"},
		Summary: "Sends signals to a Splunk HTTP Event Collector",
		License: "Apache-2.0",
		Requests: plugin.Requests{
			Net: []string{"https://splunk.acme.dev:8088"},
			Secrets: []plugin.SecretRequest{{
				Name: "splunk-token", Header: "Authorization", Format: "Splunk {}", For: "https://splunk.acme.dev:8088",
			}},
		},
		Limits:   plugin.Limits{MemoryMiB: 32, Fuel: 2000000000, Timeout: 10 * time.Second},
		Settings: "settings.schema.json",
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
	native, err := plugin.ParseManifest([]byte("name: a.dev/b\nversion: 0.1.0-rc.1+build.5\nkind: mapper\nruntime: native\npayload: {linux/amd64: dist/b-linux, darwin/arm64: dist/b-mac}\nrequests: {env: [B_DEBUG]}\n"), "plugin.yaml")
	if err != nil || native.Payload["darwin/arm64"] != "dist/b-mac" || native.Requests.Env[0] != "B_DEBUG" {
		t.Errorf("%+v, %v", native, err)
	}
}

// The manifests of the plugins that come with carl are legal.
func TestBundledManifests(t *testing.T) {
	paths, err := filepath.Glob("../../plugins/*/plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("../../plugins/*/*/plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	paths = append(paths, deeper...)
	if len(paths) < 3 {
		t.Fatalf("only %d manifests found", len(paths))
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plugin.ParseManifest(data, path); err != nil {
			t.Error(err)
		}
	}
}

func TestManifestRefuses(t *testing.T) {
	const head = "name: a.dev/b\nversion: 1.0.0\nkind: forwarder\nruntime: wasm\npayload: p.wasm\n" // five lines
	replace := func(old, new string) string { return strings.Replace(head, old, new, 1) }
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown member", head + "sumary: x\n", `:6:1: unknown member "sumary"; the nearest is "summary"`},
		{"unknown request", head + "requests: {network: []}\n", `:6:12: unknown member "network"; known are net, secrets, files and env`},
		{"unknown secret member", head + "requests: {net: ['https://x.dev'], secrets: [{name: a, headers: b}]}\n", `unknown member "headers"; the nearest is "header"`},
		{"unknown limit", head + "limits: {memory: 1}\n", `:6:10: unknown member "memory"`},
		{"missing member", strings.Replace(head, "version: 1.0.0\n", "", 1), `:1:1: member "version" is missing`},
		{"not a mapping", "- a\n", ":1:1: want a mapping"},
		{"empty", "", ":1:1: want a mapping, and found nothing"},
		{"duplicate", head + "name: a.dev/c\n", `:6:1: member "name" stands here a second time; the first is on line 1`},
		{"name in capitals", replace("a.dev/b", "a.dev/bB"), `:1:7: "a.dev/bB": the name of a plugin is made of`},
		{"name without namespace", replace("a.dev/b", "b"), `:1:7: "b": the name of a plugin is namespace/path`},
		{"name with dots", replace("a.dev/b", "a.dev/../b"), `:1:7: "a.dev/../b": each part`},
		{"name with an empty part", replace("a.dev/b", "a.dev//b"), `:1:7: "a.dev//b": each part`},
		{"absolute name", replace("a.dev/b", "/a.dev/b"), `:1:7: "/a.dev/b": each part`},
		{"name too long", replace("a.dev/b", "a.dev/"+strings.Repeat("b", 128)), "at most 128 bytes"},
		{"version with a v", replace("1.0.0", "v1.0.0"), `:2:10: "v1.0.0" is not a semantic version`},
		{"short version", replace("1.0.0", "'1.0'"), `:2:10: "1.0" is not a semantic version`},
		{"version as a number", replace("1.0.0", "1.0"), ":2:10: want text, and found a number: quote it"},
		{"version with a leading zero", replace("1.0.0", "01.0.0"), `:2:10: "01.0.0" is not a semantic version`},
		{"kind", replace("forwarder", "forwarders"), `:3:7: "forwarders" is not one of mapper, translator, forwarder`},
		{"runtime", replace("runtime: wasm", "runtime: wasi"), `:4:10: "wasi" is not one of wasm, native`},
		{"absolute payload", replace("p.wasm", "/etc/passwd"), `:5:10: "/etc/passwd" does not lead to a file in or below`},
		{"payload above", replace("p.wasm", "../p.wasm"), `:5:10: "../p.wasm" does not lead to a file in or below`},
		{"payload by detour", replace("p.wasm", "a/../p.wasm"), `:5:10: "a/../p.wasm" does not lead`},
		{"payload of Windows", replace("p.wasm", `'C:\p.wasm'`), `:5:10: "C:\\p.wasm" is not a path with /`},
		{"payload by platform", replace("p.wasm", "{linux/amd64: p}"), ":5:10: want text, and found a mapping"},
		{"native payload", replace("runtime: wasm", "runtime: native"), ":5:10: want a mapping, and found text"},
		{"native platform", strings.Replace(replace("runtime: wasm", "runtime: native"), "p.wasm", "{linux: p}", 1), `:5:11: "linux" is not a platform`},
		{"summary of two lines", head + "summary: \"a\\nb\"\n", ":6:10: want one line of text"},
		{"summary that runs backwards", head + "summary: \"a\\u202eb\"\n", ":6:10: want one line of text"},
		{"origin with a path", head + "requests: {net: ['https://x.dev/a']}\n", `:6:18: "https://x.dev/a": an origin`},
		{"http to the world", head + "requests: {net: ['http://x.dev']}\n", "plain http is for loopback"},
		{"half-open origin", head + "requests: {net: ['https://*.x.dev']}\n", `"https://*.x.dev": the host has a character`},
		{"origin twice", head + "requests: {net: ['https://x.dev', 'https://X.dev:443']}\n", "stands here a second time"},
		{"secret for another origin", head + "requests: {net: ['https://x.dev'], secrets: [{name: a, header: Authorization, for: 'https://y.dev'}]}\n", "which requests.net does not list"},
		{"secret for any origin", head + "requests: {net: ['https://x.dev'], secrets: [{name: a, header: Authorization, for: 'https://*'}]}\n", "which requests.net does not list"},
		{"secret in another header", head + "requests: {net: ['https://x.dev'], secrets: [{name: a, header: Host, for: 'https://x.dev'}]}\n", `"Host" is not a header that may carry a secret`},
		{"secret format", head + "requests: {net: ['https://x.dev'], secrets: [{name: a, header: Authorization, format: 'Bearer', for: 'https://x.dev'}]}\n", "does not hold {} exactly once"},
		{"secret name", head + "requests: {net: ['https://x.dev'], secrets: [{name: A, header: Authorization, for: 'https://x.dev'}]}\n", `"A" is not the name of a secret`},
		{"two secrets in one header", head + "requests: {net: ['https://*'], secrets: [{name: a, header: Authorization, for: 'https://*'}, {name: b, header: authorization, for: 'https://*'}]}\n", "two secrets for one header"},
		{"files as text", head + "requests: {files: /tmp}\n", "want true or false, and found text"},
		{"environment of wasm", head + "requests: {env: [HOME]}\n", "environment variables are for native plugins only"},
		{"a mapper with a network", replace("forwarder", "mapper") + "requests: {net: ['https://x.dev']}\n", ":6:11: a mapper in wasm is pure"},
		{"a translator with files", replace("forwarder", "translator") + "requests: {files: true}\n", ":6:11: a translator in wasm is pure"},
		{"a mapper with settings", replace("forwarder", "mapper") + "settings: s.json\n", "settings are for a forwarder"},
		{"memory beyond wasm", head + "limits: {memory_mib: 5000}\n", `:6:22: "5000" is not a whole number from 1 to 4096`},
		{"timeout", head + "limits: {timeout: 10}\n", ":6:19: want a duration with its unit"},
		{"anchor", head + "limits: &l {fuel: 1}\n", ":6:9: an anchor"},
		{"too large", head + strings.Repeat("# comment\n", 7000), ":1:1: larger than 64 KiB"},
	} {
		_, err := plugin.ParseManifest([]byte(c.yaml), "dir/plugin.yaml")
		if fault.CodeOf(err) != fault.PluginManifestInvalid {
			t.Errorf("%s: got %v", c.name, err)
			continue
		}
		if got := err.Error(); !strings.HasPrefix(got, "dir/plugin.yaml:") || !strings.Contains(got, c.want) || !strings.HasSuffix(got, "nothing was installed") {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	for _, seed := range []string{
		splunk,
		"name: a.dev/b\nversion: 1.0.0\nkind: mapper\nruntime: wasm\npayload: p.wasm\n",
		"name: a.dev/b\nversion: 1.0.0-rc.1+b\nkind: translator\nruntime: native\npayload: {linux/amd64: p}\nrequests: {env: [A], net: ['https://*']}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := plugin.ParseManifest(data, "plugin.yaml")
		if err != nil {
			if fault.CodeOf(err) != fault.PluginManifestInvalid || !strings.HasPrefix(err.Error(), "plugin.yaml:") {
				t.Fatalf("a refusal without a place: %v", err)
			}
			return
		}
		for platform, path := range m.Payload {
			if !filepath.IsLocal(filepath.FromSlash(path)) || platform == "" {
				t.Fatalf("payload %q for %q", path, platform)
			}
		}
		if m.Settings != "" && !filepath.IsLocal(filepath.FromSlash(m.Settings)) {
			t.Fatalf("settings %q", m.Settings)
		}
		if e := m.Effective(plugin.Grants{}); len(e.Net)+len(e.Secrets)+len(e.Env) > 0 || e.Files != "" {
			t.Fatalf("something is granted by default: %+v", e)
		}
	})
}
