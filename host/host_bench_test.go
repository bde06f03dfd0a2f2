package host_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host"
	"carl.camp/carl/host/step"
	"carl.camp/carl/plugins"
)

// requireBundled fails a test that needs the bundled plugins in a build that
// lacks them: to skip would be to pass.
func requireBundled(tb testing.TB) {
	tb.Helper()
	for _, b := range plugins.Manifests() {
		if !plugins.Has(b.Name) {
			tb.Fatalf("%s is not built: run `make plugins` first", b.Name)
		}
	}
}

// localHome is a home whose one destination is a local file.
func localHome(tb testing.TB) (home, archive string) {
	tb.Helper()
	requireBundled(tb)
	home, archive = tb.TempDir(), tb.TempDir()
	config := fmt.Sprintf("destinations:\n  archive: {plugin: carl.camp/forward/jsonl, settings: {file: signals.jsonl}, grants: {files: %q}}\nspool: {max_bytes: 8589934592}\n", archive)
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(home, 0o700); err != nil {
		tb.Fatal(err)
	}
	return home, archive
}

// stepLines is n steps of an agent at work, 1 to 2 KB each.
func stepLines(n int) []byte {
	actions := []string{"LLM_REPLY", "TOOL_CALL", "LLM_REPLY", "TOOL_CALL", "USER_INPUT", "TRAINING_STEP", "REWARD", "EXTERNAL"}
	prose := bytes.Repeat([]byte("The test fails because the header is parsed twice; I will parse it once, and keep the result. "), 24)
	var b bytes.Buffer
	for i := range n {
		coherence := ""
		if i%2 == 0 {
			coherence = fmt.Sprintf(`,"phi":0.%03d,"kuramoto_r":0.%03d`, i%1000, (i*7)%1000)
		}
		fmt.Fprintf(&b, `{"action":%q,"name":"step","ts":"2026-01-01T00:00:%02d.%09dZ","session_id":"bench","trace_id":"%032x","success":true,"duration_ms":%d.5%s,"input":{"text":%q},"metadata":{"turn":%d}}`+"\n",
			actions[i%len(actions)], i%60, i, i/100, i%500, coherence, prose[:900+i%1000], i)
	}
	return b.Bytes()
}

const benchSteps = 20_000

// BenchmarkRecord is decode, redact and spool, from lines in memory.
func BenchmarkRecord(b *testing.B) {
	home, _ := localHome(b)
	h, err := host.Open(host.Options{Home: home})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	lines := stepLines(benchSteps)
	b.SetBytes(int64(len(lines)))
	for b.Loop() {
		record(b, h, lines)
	}
	b.ReportMetric(float64(b.N)*benchSteps/b.Elapsed().Seconds(), "steps/s")
}

// BenchmarkRecordAndSync is that and the delivery to a local file, mapping included.
func BenchmarkRecordAndSync(b *testing.B) {
	home, _ := localHome(b)
	h, err := host.Open(host.Options{Home: home})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	// The first delivery compiles the plugins.
	if err := h.Record(step.Step{Action: step.External, Name: "warm"}); err != nil {
		b.Fatal(err)
	}
	if _, err := h.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	lines := stepLines(benchSteps)
	b.SetBytes(int64(len(lines)))
	for b.Loop() {
		record(b, h, lines)
		report, err := h.Sync(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if !report.Drained() {
			b.Fatalf("something is left: %+v", report)
		}
	}
	b.ReportMetric(float64(b.N)*benchSteps/b.Elapsed().Seconds(), "steps/s")
}

// BenchmarkRecordOne is what recording adds to a program: one step at a time,
// while the background delivery is stuck in a destination that never answers.
func BenchmarkRecordOne(b *testing.B) {
	url, swallowed := blackHole(b)
	dir, environ := networkHome(b, url)
	h, err := host.Open(host.Options{Home: dir, Environ: environ}, host.BackgroundSync())
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	s := step.Step{Action: step.LLMReply, Name: "answer", Input: []byte(`{"text":"` + strings.Repeat("The test fails. ", 64) + `"}`)}
	if err := h.Record(s); err != nil {
		b.Fatal(err)
	}
	<-swallowed
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if err := h.Record(s); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	b.ReportMetric(float64(took[len(took)-1].Nanoseconds()), "max-ns")
}

func record(tb testing.TB, h *host.Host, lines []byte) {
	tb.Helper()
	done, err := h.RecordLines(bytes.NewReader(lines), nil, func(err error) { tb.Error(err) })
	if err != nil || done.Recorded != benchSteps {
		tb.Fatalf("recorded %d: %v", done.Recorded, err)
	}
}
