package ledger

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// bare makes the system calls of one commit, and its signatures, with nothing
// around them.
type bare struct {
	dir  string
	file *os.File
	size int64
	key  ed25519.PrivateKey
}

func newBare(b *testing.B) *bare {
	dir := b.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return &bare{dir: dir, file: f, key: keyFrom("bare")}
}

func (w *bare) commit(b *testing.B, blocks int, line []byte) {
	var lines []byte
	for range blocks {
		ed25519.Sign(w.key, line)
		lines = append(lines, line...)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	if w.size >= maxSegment {
		w.rotate(b)
	}
	_, err := w.file.WriteAt(lines, w.size)
	must(err)
	must(fdatasync(w.file))
	w.size += int64(len(lines))
	ed25519.Sign(w.key, line[:200])
	w.replace(b, "head", line[:300], true)
	w.replace(b, "edge", line[:300], false)
}

// rotate copies a full file under another name, durably, and begins a new one.
func (w *bare) rotate(b *testing.B) {
	data := make([]byte, w.size)
	if _, err := w.file.ReadAt(data, 0); err != nil {
		b.Fatal(err)
	}
	w.replace(b, "closed", data, true)
	w.replace(b, "ledger", data[:700], true)
	w.file.Close()
	f, err := os.OpenFile(filepath.Join(w.dir, "ledger"), os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	w.file, w.size = f, 700
}

func (w *bare) replace(b *testing.B, name string, data []byte, durable bool) {
	temp := filepath.Join(w.dir, name+".new")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err == nil && durable {
		err = fdatasync(f)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(temp, filepath.Join(w.dir, name))
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAppend appends one block, and 64 that came together, durably, each in
// turn with the bare system calls and signatures of such a commit.
func BenchmarkAppend(b *testing.B) {
	line := make([]byte, 700)
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newBare(b)
			l := newLedger(b, b.TempDir(), 0)
			adopt(b, l)
			var bare, ours time.Duration
			for b.Loop() {
				start := time.Now()
				w.commit(b, n, line)
				middle := time.Now()
				batch := make([]*request, n)
				for i := range batch {
					batch[i] = &request{decide: func(s State) (Entry, error) { return verdict(s, "x"), nil }}
				}
				l.commit(batch)
				bare, ours = bare+middle.Sub(start), ours+time.Since(middle)
				for _, r := range batch {
					if r.err != nil {
						b.Fatal(r.err)
					}
				}
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N*n), "ns/block")
			b.ReportMetric(float64(bare.Nanoseconds())/float64(b.N*n), "bare-ns/block")
			b.ReportMetric(float64(ours)/float64(bare), "x-bare")
		})
	}
}

// BenchmarkVerify verifies a ledger of 10,000 blocks, against the signatures
// alone on the same processors.
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	l := newLedger(b, dir, 0)
	adopt(b, l)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 156 {
				if _, err := decide(l, "x"); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r := verify(b, l)
	key := keyFrom("x")
	msg := make([]byte, 700)
	sig := ed25519.Sign(key, msg)
	public := key.Public().(ed25519.PublicKey)
	var bare, ours time.Duration
	for b.Loop() {
		start := time.Now()
		verify(b, l)
		middle := time.Now()
		var wg sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for range r.Size / uint64(runtime.GOMAXPROCS(0)) {
					ed25519.Verify(public, msg, sig)
				}
			})
		}
		wg.Wait()
		ours, bare = ours+middle.Sub(start), bare+time.Since(middle)
	}
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N)/float64(r.Size), "ns/block")
	b.ReportMetric(float64(ours)/float64(bare), "x-raw")
}

// long is a ledger of four files with some 40 MB.
func long(b *testing.B) *Ledger {
	b.Helper()
	l := newLedger(b, b.TempDir(), 0)
	adopt(b, l)
	payload := `{"text":"` + strings.Repeat("x", 1000) + `"}`
	for range 39 << 20 / (256 * 1700) {
		batch := make([]*request, 256)
		for i := range batch {
			batch[i] = &request{decide: func(s State) (Entry, error) {
				d := verdict(s, "x")
				d.Action.Payload = payload
				return d, nil
			}}
		}
		l.commit(batch)
		for _, r := range batch {
			if r.err != nil {
				b.Fatal(r.err)
			}
		}
	}
	return l
}

// BenchmarkProve proves one block of the first file of a long ledger, which is
// verified for that.
func BenchmarkProve(b *testing.B) {
	l := long(b)
	var size uint64
	for b.Loop() {
		p, err := l.Prove(b.Context(), 7)
		if err != nil {
			b.Fatal(err)
		}
		size = p.Size
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/block")
}

// BenchmarkRead hands out a long ledger to a remote: each block is verified by its
// signature.
func BenchmarkRead(b *testing.B) {
	l := long(b)
	var read int64
	for b.Loop() {
		r, _, err := l.Read(0)
		if err != nil {
			b.Fatal(err)
		}
		for {
			lines, err := r.Next(b.Context(), 64, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if len(lines) == 0 {
				break
			}
			for _, line := range lines {
				read += int64(len(line.Text)) + 1
			}
		}
		r.Close()
	}
	b.SetBytes(read / int64(b.N))
	b.ReportMetric(float64(read)/float64(b.N)/(1<<20), "MiB")
}
