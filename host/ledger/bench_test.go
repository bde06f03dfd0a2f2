package ledger

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
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
	_, err := w.file.WriteAt(lines, w.size)
	must(err)
	must(fdatasync(w.file))
	w.size += int64(len(lines))
	ed25519.Sign(w.key, line[:200])
	w.replace(b, "head", line[:300], true)
	w.replace(b, "edge", line[:300], false)
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

// BenchmarkAppend appends one block, and 64 at a time, durably.
func BenchmarkAppend(b *testing.B) {
	line := make([]byte, 700)
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d/bare", n), func(b *testing.B) {
			w := newBare(b)
			for b.Loop() {
				w.commit(b, n, line)
			}
		})
		b.Run(fmt.Sprintf("%d/ledger", n), func(b *testing.B) {
			l := newLedger(b, b.TempDir(), 0)
			adopt(b, l)
			batch := make([]*request, n)
			for b.Loop() {
				if n == 1 {
					if _, err := decide(l, "x"); err != nil {
						b.Fatal(err)
					}
					continue
				}
				var wg sync.WaitGroup
				_ = batch
				l.mu.Lock() // all are there before the first is taken
				for range n {
					wg.Go(func() {
						if _, err := decide(l, "x"); err != nil {
							b.Error(err)
						}
					})
				}
				l.mu.Unlock()
				wg.Wait()
			}
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
	b.Run("ledger", func(b *testing.B) {
		for b.Loop() {
			verify(b, l)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(r.Size), "ns/block")
	})
	key := keyFrom("x")
	msg := make([]byte, 700)
	sig := ed25519.Sign(key, msg)
	public := key.Public().(ed25519.PublicKey)
	b.Run("signatures", func(b *testing.B) {
		for b.Loop() {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					for range r.Size / 2 {
						ed25519.Verify(public, msg, sig)
					}
				})
			}
			wg.Wait()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(r.Size), "ns/block")
	})
}
