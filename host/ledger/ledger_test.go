package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"carl.camp/carl/host/fault"
)

// pathsIn are the paths of a ledger in a folder.
func pathsIn(dir string) Paths {
	return Paths{
		Base:     filepath.Join(dir, "constitutional_ledger"),
		Key:      filepath.Join(dir, "keys", "ledger.key"),
		Pending:  filepath.Join(dir, "ledger_pending.jsonl"),
		Receipts: filepath.Join(dir, "ledger_receipts.jsonl"),
	}
}

// newLedger is a ledger in a folder of the test, with small files.
func newLedger(t testing.TB, dir string, maxSegment int64) *Ledger {
	t.Helper()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return Open(Options{Paths: pathsIn(dir), MaxSegment: maxSegment})
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// decide appends one decision.
func decide(l *Ledger, name string) (*Block, error) {
	return l.Append(func(s State) (Entry, error) { return verdict(s, name), nil })
}

// verdict goes to the state of a name.
func verdict(s State, name string) *Decision {
	from := s.State
	if from == "" {
		from = "idle"
	}
	return &Decision{
		Action:       Action{Kind: "deploy", Name: name, Digest: digest(name)},
		Constitution: s.Constitution, Rule: "r7", From: from, To: "state-" + name, Verdict: "allow",
	}
}

func adopt(t testing.TB, l *Ledger) {
	t.Helper()
	if _, err := l.Append(func(State) (Entry, error) {
		return &Constitution{Digest: digest("constitution"), Name: "coding-agent", Version: "1"}, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// fill makes a ledger with n decisions.
func fill(t testing.TB, l *Ledger, n int) {
	t.Helper()
	adopt(t, l)
	for i := range n {
		if _, err := decide(l, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, l *Ledger) *Report {
	t.Helper()
	r, err := l.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAppendAndVerify(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir, 0)
	if r := verify(t, l); r.Size != 0 || r.LedgerID != "" {
		t.Errorf("%+v", r)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("looking left %v", entries)
	}
	fill(t, l, 10)
	r := verify(t, l)
	// The opener, the constitution and ten decisions.
	if r.Size != 12 || r.Blocks != 12 || r.FirstSeq != 0 || r.Head != 12 || r.Torn != 0 {
		t.Errorf("%+v", r)
	}
	if r.State.Constitution != digest("constitution") || r.State.State != "state-9" {
		t.Errorf("%+v", r.State)
	}
	// Another process goes on, and then this one.
	other := newLedger(t, dir, 0)
	if b, err := decide(other, "other"); err != nil || b.Seq != 12 || b.Decision.From != "state-9" {
		t.Errorf("%+v, %v", b, err)
	}
	if b, err := decide(l, "mine"); err != nil || b.Seq != 13 || b.Decision.From != "state-other" {
		t.Errorf("%+v, %v", b, err)
	}
	if r := verify(t, other); r.Size != 14 || r.Head != 14 {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"constitutional_ledger.jsonl", "constitutional_ledger.head", "constitutional_ledger.edge", "keys/ledger.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestLinesAreCanonical holds each kind against a canonicalizer (RFC 8785).
func TestLinesAreCanonical(t *testing.T) {
	for i, b := range everyKind() {
		unsigned := b.appendUnsigned(nil, false)
		canonical := jsontext.Value(bytes.Clone(unsigned))
		if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, unsigned) {
			t.Errorf("%d: %v\n%s\n%s", i, err, unsigned, canonical)
		}
		line, hash := b.sign(keyFrom("test"))
		canonical = jsontext.Value(bytes.Clone(line))
		if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, line) {
			t.Errorf("%d: %v\n%s\n%s", i, err, line, canonical)
		}
		again, back, ok := parse(line)
		if !ok || !bytes.Equal(back, unsigned) || again.Sig != b.Sig || hashBlock(back, again.Sig[:]) != hash {
			t.Errorf("%d: %v %s", i, ok, back)
		}
	}
}

func everyKind() []*Block {
	base := func() *Block {
		return &Block{LedgerID: strings.Repeat("0a", 16), Seq: 42, Seg: 1, Time: time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC), KeyID: "key \"\u2028\x01", Prev: Hash{1, 2}}
	}
	var blocks []*Block
	for _, e := range []Entry{
		&Segment{Size: 42, Tree: []Hash{{1}, {2}, {3}}, Previous: &Previous{3, 41, Hash{9}}, PrunedBefore: 3, Constitution: digest("x"), State: "idle"},
		&Segment{Size: 42, Tree: []Hash{}},
		&Constitution{Digest: digest("x"), Name: "name", Version: "1"},
		&Decision{Action: Action{"deploy", "n\"ame,\"seq\":7", digest("x"), ""}, Constitution: digest("c"), Rule: "r7", From: "idle", To: "deploying", Verdict: "allow"},
		&Decision{Action: Action{"deploy", "näme", digest("x"), `{"a":1.5}`}, Constitution: digest("c"), Rule: "r7", From: `,"seq":9`, To: "ü\u007f\t", Verdict: "deny"},
		&KeyRotation{NewKey: bytes.Repeat([]byte{7}, 32), NewSig: [64]byte{1}},
		&Dropped{From: 3, To: 9, Hash: Hash{5}},
		&Recovery{Reason: "a \\ reason"},
		&Note{Code: "code", Detail: "detail"},
	} {
		b := base()
		e.fill(b)
		blocks = append(blocks, b)
	}
	return blocks
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir, 4<<10)
	fill(t, l, 60)
	archives, err := l.archives()
	if err != nil || len(archives) != maxArchives {
		t.Fatalf("%v, %v", archives, err)
	}
	r := verify(t, l)
	if r.FirstSeq == 0 || r.FirstSeq != archives[0].first || r.Blocks != r.Size-r.FirstSeq || r.State.State != "state-59" {
		t.Errorf("%+v", r)
	}
	// The state goes on over the openers.
	if b, err := decide(newLedger(t, dir, 4<<10), "next"); err != nil || b.Decision.From != "state-59" {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestProve(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir, 4<<10)
	fill(t, l, 60)
	r := verify(t, l)
	for seq := uint64(0); seq < r.Size+2; seq++ {
		p, err := l.Prove(t.Context(), seq)
		if seq < r.FirstSeq || seq >= r.Size {
			if fault.CodeOf(err) != fault.LedgerNotFound {
				t.Errorf("%d: %v", seq, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		// What somebody does who has only the proof and the key.
		v, err := note.NewVerifier(p.VerifierKey)
		if err != nil {
			t.Fatal(err)
		}
		n, err := note.Open(p.Checkpoint, note.VerifierList(v))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(n.Text, fmt.Sprintf("\n%d\n%s\n", p.Size, p.Root)) {
			t.Errorf("%q", n.Text)
		}
		b, unsigned, ok := parse(p.Line)
		if !ok || b.Seq != seq {
			t.Fatalf("%s", p.Line)
		}
		if err := tlog.CheckRecord(p.Hashes, int64(p.Size), p.Root, int64(seq), hashBlock(unsigned, b.Sig[:])); err != nil {
			t.Errorf("%d: %v", seq, err)
		}
	}
}

// TestProveConsistency proves each earlier size, and holds the proof against
// what somebody has who kept the checkpoints.
func TestProveConsistency(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir, 4<<10)
	var roots []Hash
	adopt(t, l)
	for i := range 60 {
		if _, err := decide(l, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		h, err := l.readHead(mustKeys(t, l))
		if err != nil {
			t.Fatal(err)
		}
		for uint64(len(roots)) <= h.size {
			roots = append(roots, Hash{})
		}
		roots[h.size] = h.root
	}
	r := verify(t, l)
	proved := 0
	for size := uint64(0); size < r.Size+2; size++ {
		p, err := l.ProveConsistency(t.Context(), size)
		if size == 0 || size < r.FirstSeq || size > r.Size {
			if fault.CodeOf(err) != fault.LedgerNotFound {
				t.Errorf("%d: %v", size, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if roots[size] == (Hash{}) {
			continue // several blocks came with one checkpoint
		}
		proved++
		if p.OldRoot != roots[size] {
			t.Errorf("the root of %d blocks is not the one that was signed", size)
		}
		if err := tlog.CheckTree(p.Hashes, int64(p.Size), p.Root, int64(size), roots[size]); err != nil {
			t.Errorf("%d: %v", size, err)
		}
		if tlog.CheckTree(p.Hashes, int64(p.Size), p.Root, int64(size), Hash{1}) == nil {
			t.Errorf("%d: any root will do", size)
		}
	}
	if proved < 10 {
		t.Errorf("only %d were proved", proved)
	}
}

func mustKeys(t *testing.T, l *Ledger) *keys {
	t.Helper()
	k, err := l.loadKeys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestRotateKey rotates the key a few times, also where a rotation was cut off
// between its block and the key file, and among other ledgers of one folder.
func TestRotateKey(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir, 4<<10)
	if _, err := l.RotateKey(t.Context()); fault.CodeOf(err) != fault.LedgerNotFound {
		t.Errorf("%v", err)
	}
	fill(t, l, 5)
	other := newLedger(t, dir, 4<<10)
	ids, seedOf := map[string]bool{}, map[string]string{}
	for i := range 6 {
		cut := i%2 == 1
		b, err := l.RotateKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if cut {
			// The key file as it was while the block was written.
			k := mustKeys(t, l)
			f := k.file
			f.NextSeed, f.Seed = f.Seed, seedOf[b.KeyID]
			f.Previous = f.Previous[:len(f.Previous)-1]
			if err := l.writeKeys(&f); err != nil {
				t.Fatal(err)
			}
			l.tail = nil
		}
		verify(t, other)
		d, err := decide(other, fmt.Sprint("after", i))
		if err != nil || d.KeyID != keyID(b.KeyRotation.NewKey) {
			t.Fatalf("%+v, %v", d, err)
		}
		if d, err = decide(l, fmt.Sprint("mine", i)); err != nil || d.KeyID != keyID(b.KeyRotation.NewKey) {
			t.Fatalf("%+v, %v", d, err)
		}
		ids[d.KeyID] = true
		seedOf[d.KeyID] = mustKeys(t, l).file.Seed
		verify(t, l)
	}
	if len(ids) != 6 {
		t.Errorf("%d keys", len(ids))
	}
}

func TestConcurrentAppends(t *testing.T) {
	dir := t.TempDir()
	ledgers := []*Ledger{newLedger(t, dir, 16<<10), newLedger(t, dir, 16<<10), newLedger(t, dir, 16<<10)}
	adopt(t, ledgers[0])
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for j := range 10 {
				if _, err := decide(ledgers[i%3], fmt.Sprintf("%d-%d", i, j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r := verify(t, ledgers[0])
	decisions := 0
	v, err := ledgers[0].view()
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	w := &walk{view: v, report: &Report{}}
	if err := w.all(t.Context(), func(b *Block, _ []byte, _ Hash) error {
		if b.Decision != nil {
			decisions++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if r.FirstSeq == 0 && decisions != 120 {
		t.Errorf("%d decisions, %+v", decisions, r)
	}
}

func keyFrom(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}
