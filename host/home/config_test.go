package home_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

// write puts a config.yaml into a fresh home.
func write(t *testing.T, text string) *home.Home {
	t.Helper()
	h := fresh(t)
	if err := os.WriteFile(h.Paths.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConfigDefaults(t *testing.T) {
	for name, h := range map[string]*home.Home{
		"no file":       fresh(t),
		"empty file":    write(t, ""),
		"comments only": write(t, "# nothing yet\n"),
	} {
		c, err := h.Config(nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.Camp.URL != "https://carl.camp" || c.Tier != "free" || c.Offline || c.StrictPinning {
			t.Errorf("%s: %+v", name, c)
		}
		if len(c.Destinations) != 1 {
			t.Fatalf("%s: %d destinations", name, len(c.Destinations))
		}
		d := c.Destinations[0]
		if d.Name != "camp" || d.Plugin != "carl.camp/forward/camp" || d.Mapper != "carl.camp/axon" || !d.Enabled || string(d.Settings) != "{}" {
			t.Errorf("%s: %+v", name, d)
		}
		if c.Spool != (home.Spool{Sync: "exit", MaxBytes: 268435456, MaxAge: 168 * time.Hour}) {
			t.Errorf("%s: %+v", name, c.Spool)
		}
	}
}

func TestConfigReadsEverything(t *testing.T) {
	user := t.TempDir()
	t.Setenv("HOME", user)
	t.Setenv("USERPROFILE", user)
	h := write(t, `
camp:
  url: https://camp.example/prefix/
  paths: {signals: /v2/signals, ledger_append: /v2/ledger}
  proxy: http://proxy.example:3128
  ca_file: ~/ca.pem
tier: paid
offline: true
strict_pinning: true
offline_root: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo
slime: {dir: ~/slime}
destinations:
  lake:
    plugin: acme.dev/forward/nats
    mapper: acme.dev/own-mapper
    topics: [signals, ledger]
    settings: {subject: carl, ratio: 0.10, big: 12345678901234567890, nested: {list: [1e-6, ~]}}
    grants:
      net: ["https://nats.acme.dev:4443", {origin: "https://inner.acme.dev", private: true}]
      secrets: [nats-token]
      env: [NATS_DEBUG]
    proxy: https://other.example
    ca_file: /etc/ca.pem
    enabled: false
  archive: {plugin: carl.camp/forward/jsonl, settings: {file: signals.jsonl}, grants: {files: ~/carl-archive}}
plugins:
  isolation: process
  limits: {memory_mib: 64}
  acme.dev/forward/nats: {isolation: inprocess, limits: {fuel: 5000000000, timeout: 30s}}
spool: {sync: always, max_bytes: 1000000, max_age: 24h}
`)
	c, err := h.Config(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Camp.URL != "https://camp.example/prefix" || c.Camp.URLSource != h.Paths.Config || c.Camp.Paths["signals"] != "/v2/signals" ||
		c.Camp.Paths["ledger_append"] != "/v2/ledger" || c.Camp.Proxy != "http://proxy.example:3128" || c.Camp.CAFile != filepath.Join(user, "ca.pem") {
		t.Errorf("camp: %+v", c.Camp)
	}
	if c.Tier != "paid" || !c.Offline || !c.StrictPinning || c.OfflineRoot != "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" || c.SlimeDir != filepath.Join(user, "slime") {
		t.Errorf("%+v", c)
	}
	if len(c.Destinations) != 2 || c.Destinations[0].Name != "archive" || c.Destinations[1].Name != "lake" {
		t.Fatalf("destinations are not sorted: %+v", c.Destinations)
	}
	archive, lake := c.Destinations[0], c.Destinations[1]
	if archive.Grants.Files == nil || *archive.Grants.Files != filepath.Join(user, "carl-archive") || archive.Grants.Net != nil || archive.Topics != nil {
		t.Errorf("archive: %+v", archive)
	}
	if got, want := string(lake.Settings), `{"subject":"carl","ratio":0.10,"big":12345678901234567890,"nested":{"list":[1e-6,null]}}`; got != want {
		t.Errorf("settings: %s, want %s", got, want)
	}
	if !slices.Equal(lake.Grants.Net, []string{"https://nats.acme.dev:4443", "https://inner.acme.dev,private"}) ||
		!slices.Equal(lake.Grants.Secrets, []string{"nats-token"}) || !slices.Equal(lake.Grants.Env, []string{"NATS_DEBUG"}) || lake.Grants.Files != nil {
		t.Errorf("grants: %+v", lake.Grants)
	}
	if lake.Enabled || lake.Mapper != "acme.dev/own-mapper" || !slices.Equal(lake.Topics, []string{"signals", "ledger"}) || lake.Proxy != "https://other.example" || lake.CAFile != "/etc/ca.pem" {
		t.Errorf("lake: %+v", lake)
	}
	if got := lake.Place("/nested/list/0"); !strings.HasSuffix(got, "config.yaml:17:87") {
		t.Errorf("place of a setting: %s", got)
	}
	if got := archive.Place(""); !strings.HasSuffix(got, "config.yaml:25:56") {
		t.Errorf("place of the settings: %s", got)
	}
	want := home.PluginConfig{Isolation: home.InProcess, Limits: home.Limits{MemoryMiB: 64, Fuel: 5000000000, Timeout: 30 * time.Second}}
	if got := c.Plugins.For("acme.dev/forward/nats"); got != want {
		t.Errorf("plugin: %+v, want %+v", got, want)
	}
	if got := c.Plugins.For("acme.dev/other"); got != (home.PluginConfig{Isolation: home.Process, Limits: home.Limits{MemoryMiB: 64}}) {
		t.Errorf("other plugin: %+v", got)
	}
	if c.Spool != (home.Spool{Sync: "always", MaxBytes: 1000000, MaxAge: 24 * time.Hour}) {
		t.Errorf("spool: %+v", c.Spool)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown member", "tier: free\ndestinaton: {}\n", `:2:1: unknown member "destinaton"; the nearest is "destinations"`},
		{"unknown and far away", "kubernetes: {}\n", `:1:1: unknown member "kubernetes"; known are camp, tier, offline, strict_pinning, offline_root, slime, destinations, plugins and spool`},
		{"unknown in camp", "camp: {ulr: x}\n", `:1:8: unknown member "ulr"; the nearest is "url"`},
		{"unknown path", "camp: {paths: {signal: /x}}\n", `:1:16: unknown member "signal"; the nearest is "signals"`},
		{"unknown in a destination", "destinations:\n  a:\n    plugin: x.dev/y\n    setting: {}\n", `:4:5: unknown member "setting"; the nearest is "settings"`},
		{"unknown in grants", "destinations: {a: {plugin: x.dev/y, grants: {file: /x}}}\n", `unknown member "file"; the nearest is "files"`},
		{"unknown in spool", "spool: {maxbytes: 1}\n", `:1:9: unknown member "maxbytes"; the nearest is "max_bytes"`},
		{"unknown in limits", "plugins: {limits: {memory: 1}}\n", `:1:20: unknown member "memory"; known are memory_mib, fuel and timeout`},
		{"unknown in plugins", "plugins: {isolate: process}\n", `:1:11: unknown member "isolate"; known are isolation and limits`},
		{"unknown in slime", "slime: {folder: /x}\n", `:1:9: unknown member "folder"; known is dir`},
		{"duplicate", "tier: free\ntier: paid\n", `:2:1: member "tier" stands here a second time; the first is on line 1`},
		{"anchor", "camp: &c {url: https://x}\n", ":1:7: an anchor (&) is not allowed"},
		{"two documents", "tier: free\n---\ntier: paid\n", ":2:1: a second document"},
		{"tab", "camp:\n\turl: https://x\n", ":2:1: not valid YAML: a tab cannot indent"},
		{"list at the top", "- tier\n", ":1:1: want a mapping, and found a list"},
		{"wrong type of tier", "tier: 1\n", ":1:7: want text, and found a number: quote it"},
		{"offline root that is none", "offline_root: MCowBQYDK2VwAyEA\n", ":1:15: not the member x of a public JWK"},
		{"unknown tier", "tier: gold\n", `:1:7: "gold" is not one of free, paid`},
		{"off is not false", "offline: off\n", ":1:10: want true or false, and found text"},
		{"yes is not true", "offline: yes\n", `:1:10: "yes" is not clear: write true or false`},
		{"empty member", "offline:\n", ":1:9: want true or false, and found nothing"},
		{"http to the world", "camp: {url: http://carl.camp}\n", ":1:13: camp.url: plain http is accepted for loopback addresses only"},
		{"no address", "camp: {url: carl.camp}\n", ":1:13: camp.url: not an address"},
		{"user name in the address", "camp: {url: 'https://me:pw@carl.camp'}\n", ":1:13: camp.url: a user name or password"},
		{"query in the address", "camp: {url: 'https://carl.camp/?a=b'}\n", ":1:13: camp.url: the address has a query"},
		{"ftp", "camp: {url: 'ftp://carl.camp'}\n", ":1:13: camp.url: the scheme is neither"},
		{"path with dots", "camp: {paths: {signals: /a/../b}}\n", `:1:25: "/a/../b" is not a plain absolute path`},
		{"path without slash", "camp: {paths: {signals: api}}\n", `:1:25: "api" is not a plain absolute path`},
		{"proxy", "camp: {proxy: 'socks5://u:secret@p'}\n", ":1:15: not a URL of the form http://host:port"},
		{"relative CA file", "camp: {ca_file: ca.pem}\n", `:1:17: "ca.pem" is neither an absolute path nor one that begins with ~/`},
		{"destination name in capitals", "destinations: {Camp: {plugin: x.dev/y}}\n", `:1:16: "Camp" cannot be the name of a destination`},
		{"destination name with a path", "destinations: {../x: {plugin: x.dev/y}}\n", `:1:16: "../x" cannot be the name of a destination`},
		{"destination name for a device", "destinations: {nul: {plugin: x.dev/y}}\n", `:1:16: "nul" cannot be the name of a destination: it is the name of a device on Windows`},
		{"destination name for a port", "destinations: {com1: {plugin: x.dev/y}}\n", `:1:16: "com1" cannot be the name of a destination: it is the name of a device on Windows`},
		{"destination name too long", "destinations: {" + strings.Repeat("a", 64) + ": {plugin: x.dev/y}}\n", "it is longer than 63 bytes"},
		{"destination without a plugin", "destinations:\n  a: {mapper: x.dev/y}\n", `:2:6: member "plugin" is missing`},
		{"destination without anything", "destinations:\n  a:\n", ":2:5: want a mapping, and found nothing"},
		{"plugin name without namespace", "destinations: {a: {plugin: jsonl}}\n", `:1:28: "jsonl": the name of a plugin is namespace/path`},
		{"plugin name with dots", "destinations: {a: {plugin: x.dev/../y}}\n", `:1:28: "x.dev/../y": each part`},
		{"unknown topic", "destinations: {a: {plugin: x.dev/y, topics: [signal]}}\n", `"signal" is not one of signals, ledger`},
		{"topic twice", "destinations: {a: {plugin: x.dev/y, topics: [ledger, ledger]}}\n", `topic "ledger" stands here a second time`},
		{"no topics", "destinations: {a: {plugin: x.dev/y, topics: []}}\n", "no topics: leave the member out"},
		{"settings that are text", "destinations: {a: {plugin: x.dev/y, settings: x}}\n", "want a mapping, and found text"},
		{"files that are no path", "destinations: {a: {plugin: x.dev/y, grants: {files: true}}}\n", "want text, and found true or false"},
		{"relative files", "destinations: {a: {plugin: x.dev/y, grants: {files: out}}}\n", `"out" is neither an absolute path`},
		{"secret name", "destinations: {a: {plugin: x.dev/y, grants: {secrets: [A_B]}}}\n", `"A_B" is not the name of a secret`},
		{"isolation", "plugins: {isolation: none}\n", `:1:22: "none" is not one of inprocess, process`},
		{"memory of nothing", "plugins: {limits: {memory_mib: 0}}\n", `:1:32: "0" is not a whole number from 1 to 4096`},
		{"memory as a fraction", "plugins: {limits: {memory_mib: 6.5}}\n", `:1:32: "6.5" is not a whole number`},
		{"fuel below nothing", "plugins: {limits: {fuel: -1}}\n", `"-1" is not a whole number`},
		{"timeout without a unit", "plugins: {limits: {timeout: 10}}\n", ":1:29: want a duration with its unit"},
		{"timeout of a day", "plugins: {limits: {timeout: 24h}}\n", `:1:29: "24h" is out of range`},
		{"plugin override name", "plugins: {a//b: {}}\n", `:1:11: "a//b": each part`},
		{"plugin override member", "plugins: {a.dev/b: {limit: {}}}\n", `:1:21: unknown member "limit"; the nearest is "limits"`},
		{"spool sync", "spool: {sync: never}\n", `:1:15: "never" is not one of exit, always, off`},
		{"spool of nothing", "spool: {max_bytes: 0}\n", `:1:20: "0" is not a whole number of at least 1`},
		{"age in days", "spool: {max_age: 7d}\n", `:1:18: "7d" is not a duration`},
	} {
		h := write(t, c.yaml)
		_, err := h.Config(nil)
		if fault.CodeOf(err) != fault.ConfigInvalid {
			t.Errorf("%s: got %v", c.name, err)
			continue
		}
		got := err.Error()
		if !strings.HasPrefix(got, h.Paths.Config+":") || !strings.Contains(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if !strings.HasSuffix(got, "nothing was changed") {
			t.Errorf("%s: does not say what was left untouched: %s", c.name, got)
		}
		if strings.Contains(got, "secret@") || strings.Contains(got, ":pw@") {
			t.Errorf("%s: shows a password: %s", c.name, got)
		}
	}
}

func TestConfigAddressFromTheEnvironment(t *testing.T) {
	h := write(t, "camp: {url: https://camp.example}\n")
	for _, c := range []struct{ value, url, want string }{
		{"", "https://camp.example", ""},
		{"https://other.example/", "https://other.example", ""},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080", ""},
		{"http://[::1]:8080", "http://[::1]:8080", ""},
		{"http://localhost:8080/", "http://localhost:8080", ""},
		{"http://10.0.0.1", "", "CARL_CAMP_URL: plain http"},
		{"http://127.0.0.1.evil.example", "", "CARL_CAMP_URL: plain http"},
		{"nonsense", "", "CARL_CAMP_URL: not an address"},
	} {
		got, err := h.Config([]string{"CARL_CAMP_URL=https://earlier.example", "CARL_CAMP_URL=" + c.value})
		if c.want != "" {
			if fault.CodeOf(err) != fault.ConfigInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: got %v", c.value, err)
			}
			continue
		}
		if err != nil || got.Camp.URL != c.url {
			t.Errorf("%q: got %+v, %v", c.value, got, err)
		}
	}
}

func TestConfigFileOnDisk(t *testing.T) {
	t.Run("a link to dotfiles is followed", func(t *testing.T) {
		h := fresh(t)
		target := filepath.Join(t.TempDir(), "dotfiles.yaml")
		if err := os.WriteFile(target, []byte("tier: paid\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		symlink(t, target, h.Paths.Config)
		c, err := h.Config(nil)
		if err != nil || c.Tier != "paid" {
			t.Fatalf("%+v, %v", c, err)
		}
	})
	t.Run("a link to nowhere is named", func(t *testing.T) {
		h := fresh(t)
		symlink(t, "nowhere.yaml", h.Paths.Config)
		if _, err := h.Config(nil); fault.CodeOf(err) != fault.ConfigInvalid || !strings.Contains(err.Error(), "leads nowhere") {
			t.Fatal(err)
		}
	})
	t.Run("a folder of that name", func(t *testing.T) {
		h := fresh(t)
		if err := os.Mkdir(h.Paths.Config, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Config(nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Fatal(err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		h := write(t, strings.Repeat("# comment\n", 1<<17))
		if _, err := h.Config(nil); err == nil || !strings.Contains(err.Error(), "1048576") {
			t.Fatal(err)
		}
	})
	t.Run("someone else's", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root to give a file away")
		}
		h := write(t, "tier: paid\n")
		if err := os.Chown(h.Paths.Config, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Config(nil); fault.CodeOf(err) != fault.HomeUnusable || !strings.Contains(err.Error(), "belongs to another user (uid 65534)") {
			t.Fatal(err)
		}
	})
	t.Run("writable by others", func(t *testing.T) {
		needsModes(t)
		h := write(t, "tier: paid\n")
		if err := os.Chmod(h.Paths.Config, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := h.Config(nil)
		if fault.CodeOf(err) != fault.HomeUnusable || !strings.Contains(err.Error(), "can be written by others") || !strings.Contains(fault.HintOf(err), "chmod") {
			t.Fatal(err)
		}
	})
}

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"camp: {url: https://carl.camp}\ntier: free\noffline: false\n",
		"destinations:\n  camp: {plugin: carl.camp/forward/camp}\n  archive: {plugin: carl.camp/forward/jsonl, settings: {file: s.jsonl}, grants: {files: ~/a}}\n",
		"plugins: {isolation: process, limits: {memory_mib: 64}, a.dev/b: {limits: {timeout: 1s}}}\nspool: {sync: exit, max_bytes: 268435456, max_age: 168h}\n",
		"destinations: {a: {plugin: a.dev/b, grants: {net: [{origin: 'https://x', private: true}], secrets: [s], env: [E]}, topics: [ledger]}}\n",
		"slime: {dir: /x}\nstrict_pinning: true\noffline_root: abc\ncamp: {paths: {jwks: /a}, proxy: 'http://p:1', ca_file: /c}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := home.ParseConfig(data, "config.yaml")
		if err != nil {
			if fault.CodeOf(err) != fault.ConfigInvalid || !strings.HasPrefix(err.Error(), "config.yaml:") {
				t.Fatalf("a refusal without a place: %v", err)
			}
			return
		}
		if !strings.HasPrefix(c.Camp.URL, "https://") && !strings.HasPrefix(c.Camp.URL, "http://") || strings.HasSuffix(c.Camp.URL, "/") {
			t.Fatalf("platform %q", c.Camp.URL)
		}
		for i, d := range c.Destinations {
			if home.CheckDestinationName(d.Name) != nil || home.CheckPluginName(d.Plugin) != nil || home.CheckPluginName(d.Mapper) != nil || len(d.Settings) < 2 || d.Settings[0] != '{' {
				t.Fatalf("destination %+v", d)
			}
			if i > 0 && c.Destinations[i-1].Name >= d.Name {
				t.Fatalf("not sorted: %+v", c.Destinations)
			}
			if d.Grants.Files != nil && !filepath.IsAbs(*d.Grants.Files) {
				t.Fatalf("files %q", *d.Grants.Files)
			}
		}
		if c.Spool.MaxBytes < 1 || c.Spool.MaxAge < time.Second || c.Spool.Sync == "" {
			t.Fatalf("spool %+v", c.Spool)
		}
	})
}

// TestConfigWordOff: what YAML 1.1 took for false is a value of spool.sync.
func TestConfigWordOff(t *testing.T) {
	c, err := write(t, "spool: {sync: off}\n").Config(nil)
	if err != nil || c.Spool.Sync != "off" {
		t.Errorf("%+v, %v", c, err)
	}
}
