package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// A step of the usual size, as the recorder spools it.
var benchPayload = bytes.Repeat([]byte(`{"step_id":"0123456789ab","action":"LLM_REPLY"},`), 36)[:1700]

func benchBatch(n int) [][]byte {
	batch := make([][]byte, n)
	for i := range batch {
		batch[i] = benchPayload
	}
	return batch
}

func BenchmarkAppendBatch64(b *testing.B) { benchAppend(b, 64) }

func BenchmarkAppendSingle(b *testing.B) { benchAppend(b, 1) }

func benchAppend(b *testing.B, n int) {
	s := openTest(b, Options{Sync: SyncOff})
	w := writer(b, s)
	batch := benchBatch(n)
	b.SetBytes(int64(n * len(benchPayload)))
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Append(1, batch...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
}

// BenchmarkShortCommand is what one short command pays: open, take a slot,
// append, flush, close.
func BenchmarkShortCommand(b *testing.B) {
	for _, mode := range []struct {
		name string
		sync Sync
	}{{"exit", SyncExit}, {"off", SyncOff}} {
		b.Run(mode.name, func(b *testing.B) {
			dir := b.TempDir() + "/home"
			for b.Loop() {
				s, err := Open(dir, Options{Sync: mode.sync})
				if err != nil {
					b.Fatal(err)
				}
				w, err := s.Writer()
				if err != nil {
					b.Fatal(err)
				}
				if err := w.Append(1, benchPayload); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func fill(b *testing.B, bytes int) *Spool {
	b.Helper()
	s := openTest(b, Options{Sync: SyncOff, MaxBytes: 1 << 40})
	w := writer(b, s)
	batch := benchBatch(64)
	for n := 0; n < bytes; n += 64 * len(benchPayload) {
		if err := w.Append(1, batch...); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkRead(b *testing.B) {
	s := fill(b, 16<<20)
	b.SetBytes(int64(64 * len(benchPayload)))
	b.ReportAllocs()
	from := uint64(1)
	for b.Loop() {
		es, next, err := s.Read(0, from, 64, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if from = next; len(es) < 64 {
			from = 1
		}
	}
}

// BenchmarkOpenFull opens a full spool, takes a slot and counts what waits.
func BenchmarkOpenFull(b *testing.B) {
	dir := fill(b, DefaultMaxBytes).dir
	for b.Loop() {
		s, err := Open(dir, Options{Sync: SyncOff})
		if err != nil {
			b.Fatal(err)
		}
		st, err := s.State("camp")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Backlog(st); err != nil {
			b.Fatal(err)
		}
		w, err := s.Writer()
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadFull reads 256 MiB from one end to the other, by batches of 512.
func BenchmarkReadFull(b *testing.B) {
	s := fill(b, DefaultMaxBytes)
	b.SetBytes(DefaultMaxBytes)
	for b.Loop() {
		n := 0
		for from := uint64(1); ; {
			es, next, err := s.Read(0, from, 512, 4<<20)
			if err != nil {
				b.Fatal(err)
			}
			if n += len(es); len(es) == 0 {
				break
			}
			from = next
		}
		if n < DefaultMaxBytes/(len(benchPayload)+headerSize) {
			b.Fatalf("only %d records", n)
		}
	}
}

func BenchmarkSaveState(b *testing.B) {
	s := openTest(b, Options{})
	st, err := s.State("camp")
	if err != nil {
		b.Fatal(err)
	}
	st.Settle(0, 1, 1000)
	for b.Loop() {
		if err := st.Save(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareWrite64 is what AppendBatch64 is to be compared with: the same
// bytes, written by the same number of calls to files of the same size.
func BenchmarkBareWrite64(b *testing.B) {
	dir := b.TempDir()
	batch := bytes.Join(benchBatch(64), make([]byte, headerSize))
	b.SetBytes(int64(len(batch)))
	var f *os.File
	size, n := int64(0), 0
	for b.Loop() {
		if f == nil || size+int64(len(batch)) > SegmentSize {
			if f != nil {
				f.Close()
			}
			// As many files live as in AppendBatch64.
			os.Remove(filepath.Join(dir, strconv.Itoa(n-DefaultMaxBytes/SegmentSize)))
			var err error
			if f, err = os.OpenFile(filepath.Join(dir, strconv.Itoa(n)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
				b.Fatal(err)
			}
			size, n = 0, n+1
		}
		if _, err := f.WriteAt(batch, size); err != nil {
			b.Fatal(err)
		}
		size += int64(len(batch))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64), "ns/record")
}
