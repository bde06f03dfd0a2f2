package home_test

import (
	"os"
	"testing"

	"carl.camp/carl/host/home"
)

// BenchmarkReading is what each command pays before it does anything: open the
// home, read the config, ask for consent.
func BenchmarkReading(b *testing.B) {
	h, err := home.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	config := []byte("camp: {url: https://carl.camp}\ndestinations:\n  camp: {plugin: carl.camp/forward/camp}\n" +
		"  archive: {plugin: carl.camp/forward/jsonl, settings: {file: signals.jsonl}, grants: {files: /srv/archive}}\nspool: {sync: exit}\n")
	if err := os.WriteFile(h.Paths.Config, config, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := h.Consent().Grant(home.Telemetry); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if _, err := home.Open(h.Paths.Dir); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("config", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.Config(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("consent", func(b *testing.B) {
		for b.Loop() {
			if _, err := h.Consent().State(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
