package step

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/step/steptest"
)

// benchLines is what a benchmark runs on: the generated sample, and the shared
// recording of real agents where it lies beside the repository.
func benchLines(b *testing.B) map[string][][]byte {
	b.Helper()
	sets := map[string][][]byte{"sample": steptest.Lines(512, 1)}
	if text := sharedSteps(b); text != nil {
		sets["swe"] = bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	}
	return sets
}

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

func perLine(b *testing.B, lines [][]byte, do func([]byte) error) {
	total := 0
	for _, l := range lines {
		total += len(l)
	}
	b.SetBytes(int64(total / len(lines)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := do(lines[i%len(lines)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode decodes a line an iteration. The peer jsontext only checks
// and splits the line, which is less than Decode does.
func BenchmarkDecode(b *testing.B) {
	for set, lines := range benchLines(b) {
		b.Run(set+"/carl", func(b *testing.B) {
			perLine(b, lines, func(l []byte) error { _, err := Decode(l); return err })
		})
		b.Run(set+"/jsontext", func(b *testing.B) {
			var dec jsontext.Decoder
			var buf bytes.Reader
			perLine(b, lines, func(l []byte) error {
				buf.Reset(l)
				dec.Reset(&buf)
				if _, err := dec.ReadToken(); err != nil {
					return err
				}
				for dec.PeekKind() != '}' {
					if _, err := dec.ReadToken(); err != nil {
						return err
					}
					if _, err := dec.ReadValue(); err != nil {
						return err
					}
				}
				if _, err := dec.ReadToken(); err != nil {
					return err
				}
				if _, err := dec.ReadToken(); err != io.EOF {
					return err
				}
				return nil
			})
		})
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	for set, lines := range benchLines(b) {
		steps := make([]Step, len(lines))
		for i, l := range lines {
			var err error
			if steps[i], err = Decode(l); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(set, func(b *testing.B) {
			var buf []byte
			i := 0
			perLine(b, lines, func([]byte) error {
				buf = steps[i%len(steps)].AppendJSON(buf[:0])
				i++
				return nil
			})
		})
	}
}

// BenchmarkHostile decodes lines of 1 MiB made to be slow; what matters is
// that none of them costs much more a byte than the others.
func BenchmarkHostile(b *testing.B) {
	for name, line := range hostileLines() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				_, _ = Decode(line)
			}
		})
	}
}
