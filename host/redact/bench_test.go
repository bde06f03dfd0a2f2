package redact

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"carl.camp/carl/host/step"
	"carl.camp/carl/host/step/steptest"
)

// sharedSteps returns ../shared/data/steps/swe.jsonl as seen from the
// repository's root, or nil when it is not there.
func sharedSteps(tb testing.TB) []byte {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			text, err := os.ReadFile(filepath.Join(dir, "..", "shared", "data", "steps", "swe.jsonl"))
			if err == nil {
				return text
			}
			return nil
		}
	}
	return nil
}

// lineSets is what benchmarks and the tests of clean input run on.
func lineSets(tb testing.TB) map[string][][]byte {
	sets := map[string][][]byte{"sample": steptest.Lines(512, 1)}
	if text := sharedSteps(tb); text != nil {
		sets["swe"] = bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	}
	return sets
}

func perLine(b *testing.B, lines [][]byte, do func([]byte)) {
	total := 0
	for _, l := range lines {
		total += len(l)
	}
	b.SetBytes(int64(total / len(lines)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		do(lines[i%len(lines)])
	}
}

// BenchmarkJSON is redaction alone: a clean line an iteration, and one with a secret.
func BenchmarkJSON(b *testing.B) {
	r := testRedactor()
	for set, lines := range lineSets(b) {
		b.Run(set+"/clean", func(b *testing.B) {
			perLine(b, lines, func(l []byte) {
				if got := r.JSON(l); &got[0] != &l[0] {
					b.Fatalf("not clean: %s", got)
				}
			})
		})
		dirty := make([][]byte, len(lines))
		for i, l := range lines {
			dirty[i] = bytes.Replace(l, []byte(`"session_id"`), []byte(`"x":"see `+fake("hf_", 34)+`","session_id"`), 1)
		}
		b.Run(set+"/dirty", func(b *testing.B) {
			perLine(b, dirty, func(l []byte) {
				if got := r.JSON(l); &got[0] == &l[0] {
					b.Fatal("not redacted")
				}
			})
		})
	}
}

// BenchmarkRecord is what recording does with a line before the spool: decode,
// redact, write out.
func BenchmarkRecord(b *testing.B) {
	r := testRedactor()
	for set, lines := range lineSets(b) {
		b.Run(set, func(b *testing.B) {
			var payload []byte
			perLine(b, lines, func(l []byte) {
				s, err := step.Decode(l)
				if err != nil {
					b.Fatal(err)
				}
				r.Step(&s)
				payload = s.AppendJSON(payload[:0])
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}

// BenchmarkHostile redacts texts of 1 MiB that are full of heads; none may cost
// out of proportion to its size.
func BenchmarkHostile(b *testing.B) {
	r := testRedactor()
	for name, text := range hostileTexts() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r.JSON(text)
			}
		})
	}
}

// BenchmarkNew is what opening a home pays for the automaton.
func BenchmarkNew(b *testing.B) {
	environ := []string{"HF_TOKEN=" + fake("hf"+"_", 34), "OPENAI_API_KEY=" + fake("sk"+"-", 48), "DB_PASSWORD=hunter2hunter2"}
	b.ReportAllocs()
	for b.Loop() {
		FromEnviron(environ)
	}
	b.ReportMetric(float64(len(FromEnviron(environ).machine.next)*4), "table-bytes")
}
