package ledger

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// attestedBy counts the receipts that were kept, by destination.
func attestedBy(t testing.TB, l *Ledger) map[string]int {
	t.Helper()
	n := map[string]int{}
	if err := l.eachReceipt(func(line []byte, _ attested) {
		_, destination, _ := strings.Cut(string(line), `"destination":"`)
		destination, _, _ = strings.Cut(destination, `"`)
		n[destination]++
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReceiptsAtOnce saves the receipts of several destinations at once: none is lost,
// the first ones included.
func TestReceiptsAtOnce(t *testing.T) {
	g := newGenuine(t, ordinary())
	for what, fsys := range map[string]private.FS{"no file": g.disk(t), "a torn end": g.with(receiptsName, `{"seq":3,"dest`).disk(t)} {
		l := ledgerOn(fsys, 0)
		var wg sync.WaitGroup
		for d := range 4 {
			wg.Go(func() {
				for i := range 40 {
					r := receiptOf(ordinary().id, uint64(i%13), g.hashes[i%13])
					r.Destination = fmt.Sprint("d", d)
					if refused, err := l.SaveReceipts([]Receipt{r}); refused > 0 || err != nil {
						t.Errorf("%s: %d refused, %v", what, refused, err)
					}
				}
			})
		}
		wg.Wait()
		for d, n := range attestedBy(t, l) {
			if n != 40 {
				t.Errorf("%s: %d of %s, of 40", what, n, d)
			}
		}
		if r := verify(t, l); r.Receipts != 160 {
			t.Errorf("%s: %d of 160 fit", what, r.Receipts)
		}
	}
}

// TestReceiptsAreDurable has the power go at any moment: what was said to be saved is
// there, the first one and those behind it, and what was there before.
func TestReceiptsAreDurable(t *testing.T) {
	g := newGenuine(t, ordinary())
	saved := map[bool]int{}
	for _, before := range []int{0, 3} {
		var had strings.Builder
		for i := range before {
			had.WriteString(attest(t, ordinary().id, uint64(i), g.hashes[i]))
		}
		im := g.image
		if before > 0 {
			im = im.with(receiptsName, had.String())
		}
		for kind, strike := range strikes {
			for n := 1; n < 60; n++ {
				if left(n) {
					continue
				}
				disk := crashfs.New(mathrand.New(mathrand.NewPCG(uint64(n), uint64(before))).IntN)
				im.put(t, disk.Process(nil))
				a := &armed{strike: strike, n: n}
				l := ledgerOn(disk.Process(a.fault), 0)
				var promised []uint64
				for seq := range uint64(before) {
					promised = append(promised, seq)
				}
				for seq := uint64(before); seq < uint64(before)+3; seq++ {
					if seq == uint64(before)+1 && kind == "kill" { // another process goes on
						l = ledgerOn(disk.Process(nil), 0)
					}
					if _, err := l.SaveReceipts([]Receipt{receiptOf(ordinary().id, seq, g.hashes[seq])}); err == nil {
						promised = append(promised, seq)
					}
				}
				saved[a.hit == nil]++
				disk.PowerCut()
				l = ledgerOn(disk.Process(nil), 0)
				there := map[uint64]bool{}
				if err := l.eachReceipt(func(_ []byte, a attested) { there[a.seq] = true }); err != nil {
					t.Fatal(err)
				}
				for _, seq := range promised {
					if !there[seq] {
						t.Errorf("%s at call %d (%v), behind %d: the receipt for block %d was saved, and is not there", kind, n, a.hit, before, seq)
					}
				}
				if r := verify(t, l); r.Receipts < len(promised) {
					t.Errorf("%s at call %d (%v), behind %d: %d of %d fit", kind, n, a.hit, before, r.Receipts, len(promised))
				}
			}
		}
	}
	if (saved[true] < 20 || saved[false] < 20) && !underRace() {
		t.Errorf("%v", saved)
	}
}

// TestReceiptsThatAreNone offers what does not attest its block: none of it is kept.
func TestReceiptsThatAreNone(t *testing.T) {
	g := newGenuine(t, ordinary())
	good := receiptOf(ordinary().id, 5, g.hashes[5])
	for what, change := range map[string]func(r *Receipt){
		"of another block":   func(r *Receipt) { r.Hash = g.hashes[6] },
		"of another number":  func(r *Receipt) { r.Seq = 6 },
		"of another ledger":  func(r *Receipt) { r.LedgerID = strings.Repeat("f", 32) },
		"too long":           func(r *Receipt) { r.Note += strings.Repeat("x", maxNote) },
		"too long by one":    func(r *Receipt) { r.Note += strings.Repeat("x", maxNote+1-len(r.Note)) },
		"empty":              func(r *Receipt) { r.Note = "" },
		"without a time":     func(r *Receipt) { r.Note = strings.Replace(r.Note, "time 2", "tame 2", 1) },
		"with a line more":   func(r *Receipt) { r.Note = strings.Replace(r.Note, "time 2", "more\ntime 2", 1) },
		"of a later version": func(r *Receipt) { r.Note = strings.Replace(r.Note, "/v1", "/v2", 1) },
	} {
		fsys := g.disk(t)
		l, r := ledgerOn(fsys, 0), good
		change(&r)
		if refused, err := l.SaveReceipts([]Receipt{r}); refused != 1 || err != nil {
			t.Errorf("%s: %d refused, %v", what, refused, err)
		}
		if data, there := take(t, fsys, modelHome)[receiptsName]; there {
			t.Errorf("%s: %q was kept", what, data)
		}
		if refused, err := l.SaveReceipts([]Receipt{r, good}); refused != 1 || err != nil {
			t.Errorf("%s, and a good one: %d refused, %v", what, refused, err)
		}
		if r := verify(t, l); r.Receipts != 1 {
			t.Errorf("%s, and a good one: %d fit", what, r.Receipts)
		}
	}
	longest := good
	longest.Note += strings.Repeat("x", maxNote-len(good.Note))
	l := ledgerOn(g.disk(t), 0)
	if refused, err := l.SaveReceipts([]Receipt{longest}); refused != 0 || err != nil || verify(t, l).Receipts != 1 {
		t.Errorf("one of %d bytes: %d refused, %v", maxNote, refused, err)
	}
}

// TestReceiptsOfAKey has a key that receipts are signed with: others' say nothing.
func TestReceiptsOfAKey(t *testing.T) {
	g := newGenuine(t, ordinary())
	signed := func(skey string) Receipt {
		signer, err := note.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		r := receiptOf(ordinary().id, 5, g.hashes[5])
		text, _, _ := strings.Cut(r.Note, "\n\n")
		msg, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
		if err != nil {
			t.Fatal(err)
		}
		r.Note = string(msg)
		return r
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, "carl.camp/receipts")
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := note.GenerateKey(rand.Reader, "carl.camp/receipts")
	if err != nil {
		t.Fatal(err)
	}
	// What somebody else wrote into the file does not bear witness against it either.
	im := g.with(receiptsName, attest(t, ordinary().id, 5, Hash{1})+attest(t, ordinary().id, 50, Hash{1}))
	l := Open(Options{Paths: pathsIn(modelHome), FS: im.disk(t), Clock: ticking(), ReceiptKey: vkey})
	for skey, want := range map[string]int{skey: 0, other: 1} {
		if refused, err := l.SaveReceipts([]Receipt{signed(skey)}); refused != want || err != nil {
			t.Errorf("%d refused, of %d, %v", refused, want, err)
		}
	}
	if r := verify(t, l); r.Receipts != 1 {
		t.Errorf("%d fit", r.Receipts)
	}
	if _, err := appendNote(l, "d"); err != nil {
		t.Error(err)
	}
}

// TestReceiptsOfAnotherLedger has receipts of a ledger that was here before: they do
// not count, are an alarm of their own, and hide no other.
func TestReceiptsOfAnotherLedger(t *testing.T) {
	g := newGenuine(t, ordinary())
	own := func(seq uint64, hash Hash) string { return attest(t, ordinary().id, seq, hash) }
	foreign := func(seq uint64) string { return attest(t, strings.Repeat("a", 32), seq, g.hashes[5]) }
	for what, c := range map[string]struct{ receipts, says string }{
		"one that would fit":               {foreign(5), "exchanged"},
		"a later one":                      {foreign(50), "exchanged"},
		"beside one that fits":             {own(3, g.hashes[3]) + foreign(5), "exchanged"},
		"behind a rollback":                {own(20, Hash{1}) + foreign(50), "attested block 20: it was rolled back"},
		"ahead of a rollback":              {foreign(20) + own(20, Hash{1}), "attested block 20: it was rolled back"},
		"of an earlier block":              {foreign(14) + own(20, Hash{1}) + own(18, Hash{1}), "attested block 18: it was rolled back"},
		"beside one that contradicts":      {foreign(7) + own(7, Hash{1}), "block 7 is not the one that a remote attested"},
		"beside many that the append sees": {strings.Repeat(own(3, g.hashes[3]), 500) + own(20, Hash{1}) + foreign(50), "attested block 20: it was rolled back"},
	} {
		im := g.with(receiptsName, c.receipts)
		r, err := verifyImage(t, im)
		if fault.CodeOf(err) != fault.LedgerTampered || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		fsys := im.disk(t)
		_, err = appendNote(ledgerOn(fsys, 0), "d")
		if back := strings.Contains(c.says, "rolled back"); back != (fault.CodeOf(err) == fault.LedgerTampered) || !back && err != nil {
			t.Errorf("%s: appended: %v", what, err)
		}
	}
	// Where nothing is left but receipts, no other ledger begins.
	for what, im := range map[string]image{"nothing else": {receiptsName: own(5, g.hashes[5])}, "the key": {receiptsName: foreign(0), keyName: g.image[keyName]}} {
		undecided(t, what, im)
	}
}

// TestVerifyBesideReceipts appends, and saves the receipts of what it appended, at every
// moment while another process verifies: there is no alarm.
func TestVerifyBesideReceipts(t *testing.T) {
	for first := 0; ; first++ {
		fsys := short(4).make(t).image.disk(t)
		writer, calls := owing(fsys, 1, 0), 0
		look := &hooked{fsys, func() {
			if calls++; calls-1 != first {
				return
			}
			lock, free, err := private.TryLockOn(fsys, filepath.Join(modelHome, lockName))
			if err != nil || !free {
				return // the one that looks has it
			}
			lock.Unlock()
			for range 5 { // which closes files, and has some go
				b, err := appendNote(writer, "d")
				if err != nil {
					t.Fatal(err)
				}
				if refused, err := writer.SaveReceipts([]Receipt{receiptOf(b.LedgerID, b.Seq, hashOf(b))}); refused > 0 || err != nil {
					t.Fatal(refused, err)
				}
			}
		}}
		for name, ask := range map[string]func(l *Ledger) error{
			"verifying": func(l *Ledger) error { _, err := l.Verify(t.Context(), nil); return err },
			"proving": func(l *Ledger) error {
				_, err := l.ProveConsistency(t.Context(), l.Size())
				if fault.CodeOf(err) == fault.LedgerNotFound {
					return nil // it went
				}
				return err
			},
		} {
			if err := ask(ledgerOn(look, 0)); err != nil {
				t.Errorf("%s, with appends after look %d: %v", name, first, err)
			}
		}
		if calls <= first {
			if first < 10 {
				t.Errorf("only %d looks", first)
			}
			return
		}
	}
}

// TestProveWhatAReceiptContradicts proves nothing of a ledger that a remote knows
// otherwise, and exports nothing of it.
func TestProveWhatAReceiptContradicts(t *testing.T) {
	g := newGenuine(t, ordinary())
	for what, receipt := range map[string]string{
		"a block": attest(t, ordinary().id, 5, Hash{1}), "a later block": attest(t, ordinary().id, 20, Hash{1}), "another ledger": attest(t, strings.Repeat("a", 32), 5, g.hashes[5]),
	} {
		l := ledgerOn(g.with(receiptsName, receipt).disk(t), 0)
		for seq := range uint64(13) {
			if p, err := l.Prove(t.Context(), seq); p != nil || fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("%s: block %d: %+v, %v", what, seq, p, err)
			}
			if p, err := l.ProveConsistency(t.Context(), seq+1); p != nil || fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("%s: %d blocks: %+v, %v", what, seq+1, p, err)
			}
		}
		dir := filepath.Join(t.TempDir(), "out")
		if _, err := l.Export(t.Context(), dir, nil); fault.CodeOf(err) != fault.LedgerTampered {
			t.Errorf("%s: exported: %v", what, err)
		}
		if _, err := private.OS().Lstat(dir); !notThere(err) {
			t.Errorf("%s: %s was made: %v", what, dir, err)
		}
	}
}

// TestReceiptsBehindARecovery has receipts come for blocks that a recovery has given up
// since they were sent: none is kept, and those for what was kept are.
func TestReceiptsBehindARecovery(t *testing.T) {
	g := newGenuine(t, ordinary())
	all := make([]Receipt, len(g.blocks))
	for seq := range all {
		all[seq] = receiptOf(ordinary().id, uint64(seq), g.hashes[seq])
	}
	for what, c := range map[string]struct {
		image
		refused int
	}{
		"the last block":   {g.with(activeName, strings.Replace(g.image[activeName], `"detail":"last"`, `"detail":"lust"`, 1)), 1},
		"the open file":    {g.with(activeName, "x"), 4},
		"a closed file":    {g.with(g.names[2], g.lines[2][0]), 6},
		"the oldest file":  {g.with(g.names[0], ""), 13},
		"what has no file": {g.without(g.names[0]), 0},
	} {
		fsys := moving{c.image.disk(t)}
		sender := ledgerOn(fsys, 0)
		if _, err := ledgerOn(fsys, 0).Recover(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if refused, err := sender.SaveReceipts(all); refused != c.refused || err != nil {
			t.Errorf("%s: %d are refused, of %d, %v", what, refused, c.refused, err)
		}
		r, err := sender.Verify(t.Context(), nil)
		if err != nil || what != "what has no file" && r.Receipts != len(all)-c.refused {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		if b, err := appendNote(sender, "d"); err != nil {
			t.Errorf("%s: and then: %+v, %v", what, b, err)
		}
	}
}

// TestReceiptsThatCannotBeChecked has each call fail: what is not known to be wrong is not
// said to be, and what is not said to be kept is an error.
func TestReceiptsThatCannotBeChecked(t *testing.T) {
	g := newGenuine(t, ordinary())
	errs := 0
	for _, seq := range []uint64{0, 5, 12} {
		for n, more := 1, true; more; n++ {
			disk := crashfs.New(func(int) int { return 0 })
			g.put(t, disk.Process(nil))
			a := &armed{strike: strikes["EIO"], n: n}
			refused, err := ledgerOn(disk.Process(a.fault), 0).SaveReceipts([]Receipt{receiptOf(ordinary().id, seq, g.hashes[seq])})
			more = a.hit != nil
			r := verify(t, ledgerOn(disk.Process(nil), 0))
			if refused > 0 || err == nil && r.Receipts != 1 || !more && err != nil {
				t.Errorf("block %d, EIO at call %d (%v): %d refused, %d kept, %v", seq, n, a.hit, refused, r.Receipts, err)
			}
			if err != nil {
				errs++
			}
		}
	}
	if errs < 20 {
		t.Errorf("only %d failed", errs)
	}
}

// TestExportBesideAnAppend exports while a block is appended and attested: a copy has the
// receipts of the blocks that it has.
func TestExportBesideAnAppend(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "carl.camp/receipts")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	newLedger(t, dir, 0)
	open := func() *Ledger { return Open(Options{Paths: pathsIn(dir), ReceiptKey: vkey}) }
	attested := func(name string) {
		b, err := decide(open(), name)
		if err != nil {
			t.Fatal(err)
		}
		r := receiptOf(b.LedgerID, b.Seq, hashOf(b))
		text, _, _ := strings.Cut(r.Note, "\n\n")
		msg, err := note.Sign(&note.Note{Text: text + "\n"}, signer)
		if err != nil {
			t.Fatal(err)
		}
		r.Note = string(msg)
		if refused, err := open().SaveReceipts([]Receipt{r}); refused > 0 || err != nil {
			t.Fatal(refused, err)
		}
	}
	fill(t, open(), 2)
	attested("early") // block 4
	late := false
	r, err := open().Export(t.Context(), out, func(done, total int64) {
		if !late {
			late = true
			attested("late")
		}
	})
	if err != nil || r.Size != 5 || !late {
		t.Fatal(r, late, err)
	}
	data, err := private.ReadFileOn(private.OS(), filepath.Join(out, receiptsName), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n != 1 || !strings.Contains(string(data), `"seq":4,`) {
		t.Errorf("%d receipts: %s", n, data)
	}
	if r := verify(t, open()); r.Receipts != 2 {
		t.Errorf("%+v", r)
	}
}
