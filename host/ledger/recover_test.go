package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// recovered recovers files, and makes sure that nothing of them is lost: what
// does not stand in place is in the folder aside, byte for byte.
func recovered(t *testing.T, im image, what string) (*Recovered, image, *Ledger) {
	t.Helper()
	dir, fsys := modelHome, moving{im.disk(t)}
	l := ledgerOn(fsys, 0)
	_, before := l.Verify(t.Context(), nil)
	r, err := l.Recover(t.Context())
	if before == nil {
		if fault.CodeOf(err) != fault.LedgerNotFound || !maps.Equal(take(t, fsys, dir), im) {
			t.Errorf("%s: it is whole, and recovering it: %+v, %v", what, r, err)
		}
		return nil, nil, nil
	}
	if err != nil {
		t.Errorf("%s: %v: %v", what, before, err)
		return nil, nil, nil
	}
	aside := take(t, fsys, r.Aside)
	after := take(t, fsys, dir)
	for name, data := range im {
		if went := strings.HasPrefix(after[activeName], im[activeName]); went && (name == activeName || name == headName) {
			continue // all of it stays
		}
		if name != keyName && name != edgeName && after[name] != data && aside[filepath.Base(name)] != data {
			t.Errorf("%s: %s is neither where it was, nor aside as it was", what, name)
		}
	}
	return r, after, l
}

// TestRecover recovers from every change to a line. What was whole stays, what
// follows says why, and it verifies and goes on.
func TestRecover(t *testing.T) {
	t.Parallel()
	f := small(false)
	g := newGenuine(t, f)
	went := map[bool]int{}
	for i, v := range g.variants(t, f.key) {
		if i%3 != 0 {
			continue
		}
		r, after, l := recovered(t, v.image, v.what)
		if r == nil {
			continue
		}
		bad, _, _ := g.judge(v.image)
		report, err := l.Verify(t.Context(), nil)
		if err != nil {
			t.Errorf("%s: after a recovery: %v", v.what, err)
			continue
		}
		if r.Kept > uint64(max(bad, 0)) && !v.opens {
			t.Errorf("%s: %d blocks are kept, and block %d is wrong", v.what, r.Kept, bad)
		}
		same := report.LedgerID == f.id
		if went[same]++; same != (r.Kept > 0) {
			t.Errorf("%s: %d blocks are kept, and the ledger is %s", v.what, r.Kept, report.LedgerID)
		}
		if same {
			// What is kept is what was there, and the recovery follows on it.
			for seq, hash := range g.hashes[:r.Kept] {
				if b, line := blockOf(after, uint64(seq)); b == nil || hashOf(b) != hash {
					t.Errorf("%s: block %d is %q", v.what, seq, line)
				}
			}
		}
		if b := r.Block; b.Recovery == nil || b.Recovery.Reason != r.Reason || b.Seq+1 != report.Size || b.LedgerID != report.LedgerID {
			t.Errorf("%s: the recovery is recorded as %+v", v.what, b)
		}
		if b, err := appendNote(l, "d"); err != nil || b.Seq != report.Size {
			t.Errorf("%s: the next block is %+v, %v", v.what, b, err)
		}
		verify(t, l)
	}
	if went[true] < 30 || went[false] < 10 {
		t.Errorf("%d went on, and %d began anew", went[true], went[false])
	}
}

// blockOf finds a block in files.
func blockOf(im image, seq uint64) (*Block, string) {
	for _, name := range slices.Sorted(maps.Keys(im)) {
		if !strings.HasSuffix(name, ".jsonl") || strings.Contains(name, "damaged-") || strings.Contains(name, "torn-") {
			continue
		}
		for line := range strings.Lines(im[name]) {
			if b, _, ok := parse([]byte(strings.TrimSuffix(line, "\n"))); ok && b.Seq == seq {
				return b, line
			}
		}
	}
	return nil, ""
}

// TestRecoverLostRotation cuts a ledger ahead of the block that rotated to the
// key that is kept here. The old key is gone: another ledger begins.
func TestRecoverLostRotation(t *testing.T) {
	f := rotated()
	g := newGenuine(t, f)
	for at, same := range map[int]bool{1: false, 2: true} {
		second := g.lines[1]
		im := g.with(g.names[1], strings.Join(second[:at], ""))
		r, _, l := recovered(t, im, "a lost rotation")
		if r == nil {
			t.Fatal("nothing was wrong")
		}
		report := verify(t, l)
		if (report.LedgerID == f.id) != same || (r.Kept > 0) != same {
			t.Errorf("cut at line %d: %+v, %+v", at, r, report)
		}
		if told := strings.Contains(r.Reason, "rotated away"); told == same {
			t.Errorf("cut at line %d: %s", at, r.Reason)
		}
	}
}

// TestRecoverNothing leaves alone what is whole, and what only lacks its key.
func TestRecoverNothing(t *testing.T) {
	g := newGenuine(t, ordinary())
	for what, im := range map[string]image{"whole": g.image, "no key": g.without(keyName), "nothing": {}} {
		fsys := im.disk(t)
		_, err := ledgerOn(fsys, 0).Recover(t.Context())
		var e *fault.Error
		if !errors.As(err, &e) || e.Code != fault.LedgerNotFound && e.Code != fault.LedgerKeyInvalid {
			t.Errorf("%s: %v", what, err)
		}
		if !maps.Equal(take(t, fsys, modelHome), im) {
			t.Errorf("%s: the files were changed", what)
		}
	}
}

// rest has the whole of what a recovery left be right: it verifies, what was kept is
// what was there, it goes on, and nothing is left to recover.
func (g *genuine) rest(t *testing.T, what string, r *Recovered, after image, l *Ledger) {
	t.Helper()
	g.restOf(t, what, r, after, l, r.Kept)
}

func (g *genuine) restOf(t *testing.T, what string, r *Recovered, after image, l *Ledger, own uint64) {
	t.Helper()
	report, err := l.Verify(t.Context(), nil)
	if err != nil {
		t.Errorf("%s: after a recovery: %v", what, err)
		return
	}
	if same := report.LedgerID == g.blocks[0].LedgerID; same != (r.Kept > 0) {
		t.Errorf("%s: %d blocks are kept, and the ledger is %s", what, r.Kept, report.LedgerID)
	}
	for seq := report.FirstSeq; seq < own; seq++ {
		if b, line := blockOf(after, seq); b == nil || hashOf(b) != g.hashes[seq] {
			t.Errorf("%s: block %d is %q", what, seq, line)
		}
	}
	if _, err := l.Recover(t.Context()); fault.CodeOf(err) != fault.LedgerNotFound {
		t.Errorf("%s: recovering it once more: %v", what, err)
	}
	if b, err := appendNote(l, "d"); err != nil || b.Seq != report.Size {
		t.Errorf("%s: the next block is %+v, %v", what, b, err)
	}
	if _, err := l.Verify(t.Context(), nil); err != nil {
		t.Errorf("%s: after a recovery and an append: %v", what, err)
	}
}

// branched is another branch of a ledger, from a block on.
func branched(f *forged, at uint64) *forged {
	f.change = func(b *Block) {
		if b.Seq == at {
			b.Time = b.Time.Add(1000)
		}
	}
	return f
}

// TestRecoverOnce recovers where a receipt or a checkpoint contradicts a block, and
// where files are gone or others': once is enough, and what is before the block stays.
func TestRecoverOnce(t *testing.T) {
	t.Parallel()
	type damage struct {
		what string
		image
		kept int64 // -1 is not told
	}
	tried := 0
	for name, of := range map[string]func() *forged{"one key": ordinary, "two keys": rotated} {
		g := newGenuine(t, of())
		kept := func(n uint64) int64 {
			if name == "two keys" && n <= 4 {
				return 0 // the key that goes on behind it is gone
			}
			return int64(n)
		}
		var all []damage
		for seq := range uint64(len(g.blocks)) {
			all = append(all, damage{fmt.Sprintf("a receipt for another block %d", seq), g.with(receiptsName, attest(t, of().id, seq, Hash{1})), kept(seq)})
			f := branched(of(), seq)
			f.covered = seq + 1
			m := f.make(t)
			all = append(all, damage{fmt.Sprintf("a checkpoint of another block %d", seq), g.with(headName, m.image[headName]), kept(seq)})
			all = append(all, damage{fmt.Sprintf("a checkpoint of another block %d, no edge", seq), g.with(headName, m.image[headName]).without(edgeName), kept(seq)})
			for i, n := range m.names {
				if seq%3 > 0 {
					continue
				}
				all = append(all, damage{fmt.Sprintf("file %d of another branch from block %d on", i, seq), g.with(n, m.image[n]), -1})
			}
		}
		for _, seq := range []uint64{13, 14, 1000} {
			all = append(all, damage{fmt.Sprintf("a receipt for block %d", seq), g.with(receiptsName, attest(t, of().id, seq, Hash{1})), 13})
		}
		all = append(all,
			damage{"a receipt of another ledger", g.with(receiptsName, attest(t, strings.Repeat("f", 32), 5, Hash{1})), 13},
			damage{"no checkpoint", g.without(headName), 13}, damage{"a checkpoint that is none", g.with(headName, "x"), 13},
			damage{"no open file", g.without(activeName), 9},
		)
		for i, n := range g.names {
			first := uint64(3 * i)
			if all = append(all, damage{n + " is gone", g.without(n), kept(first)}); i == 0 {
				all[len(all)-1].kept = 13 // those behind it are whole
			}
			all = append(all,
				damage{n + " is empty", g.with(n, ""), kept(first)},
				damage{n + " ends early", g.with(n, g.image[n][:len(g.image[n])-1]), kept(uint64(3*i + len(g.lines[i]) - 1))},
				damage{n + " has two blocks", g.with(n, g.lines[i][0]+g.lines[i][1]), kept(first + 2)},
			)
			for j, other := range g.names {
				if i != j {
					all = append(all, damage{n + " stands in " + other, g.with(other, g.image[n]), -1})
				}
				if i < j {
					all = append(all, damage{n + " and " + other + " are swapped", g.with(n, g.image[other]).with(other, g.image[n]), -1})
				}
			}
		}
		for i, d := range all {
			if left(i) {
				continue
			}
			what := name + ": " + d.what
			r, after, l := recovered(t, d.image, what)
			if r == nil {
				if d.kept >= 0 {
					t.Errorf("%s: nothing was recovered", what)
				}
				continue
			}
			tried++
			if d.kept >= 0 && r.Kept != uint64(d.kept) {
				t.Errorf("%s: %d blocks are kept, of %d: %s", what, r.Kept, d.kept, r.Reason)
			}
			if after[receiptsName] != "" {
				t.Errorf("%s: the receipts are still there", what)
			}
			own := r.Kept
			if d.kept < 0 {
				own = 0 // some may be another's
			}
			g.restOf(t, what, r, after, l, own)
		}
	}
	if tried < 100 && !underRace() {
		t.Errorf("only %d", tried)
	}
}

// TestRecoverWithoutTheOldestFile has the block of the recovery begin a file, which
// says what is kept.
func TestRecoverWithoutTheOldestFile(t *testing.T) {
	g := newGenuine(t, ordinary())
	r, after, l := recovered(t, g.without(g.names[0]), "the oldest file is gone")
	if r == nil {
		t.Fatal("nothing was recovered")
	}
	opener, _, ok := parse([]byte(after[activeName][:strings.IndexByte(after[activeName], '\n')]))
	if !ok || opener.Seq != 13 || opener.Segment == nil || opener.Segment.PrunedBefore != 3 || r.Block.Seq != 14 {
		t.Errorf("%+v, and the recovery is block %d", opener, r.Block.Seq)
	}
	if report := verify(t, l); report.FirstSeq != 3 || report.Size != 15 {
		t.Errorf("%+v", report)
	}
	g.rest(t, "the oldest file is gone", r, after, l)
}

// TestRolledBack puts an older open file with its checkpoint beside later closed
// files, or beside what remotes attested since.
func TestRolledBack(t *testing.T) {
	g := newGenuine(t, short(4)) // two blocks a file
	for files := 1; files < 4; files++ {
		for blocks := uint64(1); blocks <= 2; blocks++ {
			f := short(files)
			if blocks == 1 {
				f.files[files-1] = nil
			}
			old := newGenuine(t, f)
			size := uint64(len(old.blocks))
			for what, im := range map[string]image{
				"later files":    g.with(activeName, old.image[activeName]).with(headName, old.image[headName]).with(edgeName, old.image[edgeName]),
				"later receipts": old.with(receiptsName, attest(t, f.id, 0, old.hashes[0])+attest(t, f.id, size, g.hashes[size])),
				// The last ones are what an append reads.
				"many receipts": old.with(receiptsName, strings.Repeat(attest(t, f.id, 0, old.hashes[0]), 400)+attest(t, f.id, size, g.hashes[size])),
			} {
				if what == "later files" && files == 3 && blocks == 2 {
					continue // the closed one is a copy of the open one
				}
				what = fmt.Sprintf("%d blocks beside %s", size, what)
				g.refused(t, what, im)
				r, after, l := recovered(t, im, what)
				if r == nil {
					continue
				}
				if r.Kept != size || !strings.Contains(r.Reason, "rolled back") {
					t.Errorf("%s: %d are kept, %s", what, r.Kept, r.Reason)
				}
				for name := range after {
					if a, ok := strings.CutSuffix(name, ".jsonl"); ok && strings.HasSuffix(a, "-5") {
						t.Errorf("%s: %s is still there", what, name)
					}
				}
				old.rest(t, what, r, after, l)
			}
			// A receipt for the last block says nothing against it.
			if r, err := verifyImage(t, old.with(receiptsName, attest(t, f.id, size-1, old.hashes[size-1]))); err != nil || r.Receipts != 1 {
				t.Errorf("%d blocks, and a receipt for the last: %+v, %v", size, r, err)
			}
		}
	}
}

// TestRecoverReason has the file that is damaged in a folder whose name is of
// characters of two bytes, where the reason is cut.
func TestRecoverReason(t *testing.T) {
	for _, of := range []func() *forged{ordinary, rotated} {
		g := newGenuine(t, of())
		im := g.with(g.names[1], g.lines[1][0]+"x"+g.lines[1][1]+g.lines[1][2])
		for pad := range 2 {
			dir := filepath.Join("/home", strings.Repeat("a", pad)+strings.Repeat("ä", 100), strings.Repeat("ö", 100), strings.Repeat("ü", 100), "home")
			fsys := moving{image{}.disk(t)}
			for name, data := range im {
				path := filepath.Join(dir, name)
				err := private.MkdirAllOn(fsys, filepath.Dir(path))
				if err == nil {
					err = private.WriteFileOn(fsys, path, []byte(data))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			l := Open(Options{Paths: pathsIn(dir), FS: fsys, Clock: ticking()})
			r, err := l.Recover(t.Context())
			if err != nil {
				t.Errorf("pad %d: %v", pad, err)
				continue
			}
			if !utf8.ValidString(r.Reason) || len(r.Reason) > maxReason || len(r.Reason) < maxReason-2 || r.Block.Recovery.Reason != r.Reason {
				t.Errorf("pad %d: %d bytes: %q", pad, len(r.Reason), r.Reason)
			}
			verify(t, l)
		}
	}
}

// TestRecoverCutOff ends a recovery at each of its system calls. What is done then,
// an append or another recovery, records it, once; the blocks that it keeps are those
// that it would have kept.
func TestRecoverCutOff(t *testing.T) {
	t.Parallel()
	g, two := newGenuine(t, ordinary()), newGenuine(t, rotated())
	one := ordinary()
	one.files = [][]Entry{slices.Repeat([]Entry{&Note{"n", "d"}}, 4)}
	single := newGenuine(t, one)
	edited := func(g *genuine, file, line int) image {
		lines := slices.Clone(g.lines[file])
		lines[line] = strings.Replace(lines[line], `"v":1`, `"v":2`, 1)
		return g.with(g.names[file], strings.Join(lines, ""))
	}
	head := branched(ordinary(), 7)
	head.covered = 8
	pruned := ordinary()
	pruned.kept = 2
	waits := newGenuine(t, pruned)
	all := strings.Join(slices.Concat(g.lines[0], g.lines[1]), "")
	type damage struct {
		*genuine
		image
	}
	for what, d := range map[string]damage{
		"a line of a closed file":        {g, edited(g, 1, 1)},
		"a line of the open file":        {g, edited(g, 3, 2)},
		"a line of the only file":        {single, edited(single, 0, 3)},
		"the first line":                 {g, edited(g, 0, 0)},
		"a file in the middle is gone":   {g, g.without(g.names[1])},
		"the oldest file is gone":        {g, g.without(g.names[0])},
		"the open file is gone":          {g, g.without(activeName)},
		"no checkpoint":                  {g, g.without(headName)},
		"a checkpoint of another branch": {g, g.with(headName, head.make(t).image[headName])},
		"a receipt contradicts":          {g, g.with(receiptsName, attest(t, ordinary().id, 5, Hash{1}))},
		"a receipt for a later block":    {g, g.with(receiptsName, attest(t, ordinary().id, 20, Hash{1}))},
		"a lost rotation":                {two, two.with(two.names[1], two.lines[1][0])},
		"a line that waits":              {waits, waits.with(pendingName, strings.Replace(all, `"to":"a"`, `"to":"x"`, 1))},
		"a file, and lines wait":         {waits, edited(waits, 0, 1).with(pendingName, all)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			whole, after, _ := recovered(t, d.image, what)
			if whole == nil {
				t.Fatal("nothing was recovered")
			}
			struck, byAppend := 0, 0
			for kind, seeds := range map[string]uint64{"kill": 1, "power": 2, "EIO": 1} {
				// What only looks is no different from what comes next. A folder of which a
				// flush fails may be as it was when the power goes: that is seen then.
				ops := writing + " remove truncate"
				if kind == "EIO" {
					ops = strings.ReplaceAll(ops, " syncdir", "")
				}
				for n, more := 1, true; more; n++ {
					more = false
					for seed := range seeds {
						if (n+int(seed))%2 == 0 || left(n/2) {
							more = more || n < 30
							continue
						}
						disk := crashfs.New(rand.New(rand.NewPCG(seed, uint64(n))).IntN)
						d.image.put(t, disk.Process(nil))
						a := &armed{strike: strike{ops, 1, strikes[kind].fault}, n: n}
						process := disk.Process(a.fault)
						ledgerOn(moving{process}, 0).Recover(t.Context())
						if a.hit == nil {
							continue
						}
						more, struck = true, struck+1
						process.Kill()
						when := fmt.Sprintf("%s at call %d (%v), seed %d", kind, n, a.hit, seed)
						fsys := moving{disk.Process(nil)}
						l := ledgerOn(fsys, 0)
						if n%4 < 2 {
							if b, err := appendNote(l, "d"); err == nil && fault.CodeOf(verifyErr(l)) == "" {
								byAppend++
							} else if err != nil && fault.CodeOf(err) != fault.LedgerTampered {
								t.Fatalf("%s: the next append: %+v, %v", when, b, err)
							}
						}
						if _, err := l.Recover(t.Context()); err != nil && fault.CodeOf(err) != fault.LedgerNotFound {
							t.Fatalf("%s: recovering it then: %v", when, err)
						}
						d.recorded(t, when, l, whole, after)
						if b, err := appendNote(l, "last"); err != nil {
							t.Fatalf("%s: and then: %+v, %v", when, b, err)
						}
						disk.PowerCut()
						l = ledgerOn(moving{disk.Process(nil)}, 0)
						if _, err := appendNote(l, "behind the power cut"); err != nil {
							t.Fatalf("%s, and the power went: %v", when, err)
						}
						d.recorded(t, when+", and the power went", l, whole, after)
					}
				}
			}
			if !underRace() && (struck < 40 || byAppend == 0) {
				t.Errorf("%d calls were struck, and %d recorded by an append", struck, byAppend)
			}
		})
	}
}

func verifyErr(l *Ledger) error {
	_, err := l.Verify(context.Background(), nil)
	return err
}

// recorded has a ledger be the one that a recovery leaves that nobody cut off.
func (g *genuine) recorded(t *testing.T, when string, l *Ledger, whole *Recovered, after image) {
	t.Helper()
	there, recoveries := record{}, 0
	report, err := l.Each(t.Context(), nil, func(b *Block, _ []byte, hash Hash) error {
		if there[b.Seq] = hash; b.Recovery != nil && b.Recovery.Reason != "r" {
			if recoveries++; b.Recovery.Reason != whole.Reason {
				t.Errorf("%s: it is recorded as %q, which is %q", when, b.Recovery.Reason, whole.Reason)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	// An append does not look at what waits: it may record that it is to go, and then
	// it is recorded that it went.
	if most := 1 + strings.Count(whole.Reason, "waits in"); recoveries < 1 || recoveries > most {
		t.Fatalf("%s: %d blocks record a recovery", when, recoveries)
	}
	if same := report.LedgerID == g.blocks[0].LedgerID; same != (whole.Kept > 0) {
		t.Fatalf("%s: %d blocks would have been kept, and the ledger is %s", when, whole.Kept, report.LedgerID)
	}
	for seq := report.FirstSeq; seq < whole.Kept; seq++ {
		if there[seq] != g.hashes[seq] {
			t.Fatalf("%s: block %d would have been kept, and is not there: %+v", when, seq, *report)
		}
	}
	if _, err := l.fs.Lstat(filepath.Join(modelHome, owedName)); !notThere(err) {
		t.Fatalf("%s: %s is still there: %v", when, owedName, err)
	}
	if now := take(t, l.fs, modelHome); now[pendingName] != after[pendingName] {
		t.Fatalf("%s: %q waits, and %q would", when, now[pendingName], after[pendingName])
	}
}

// TestAnOwedRecovery has a recovery end before it is recorded: whoever writes next
// records it first, once, also one that knew what the last block was.
func TestAnOwedRecovery(t *testing.T) {
	g := newGenuine(t, short(2))
	for what, do := range map[string]func(l *Ledger) error{
		"an append":  func(l *Ledger) error { _, err := appendNote(l, "d"); return err },
		"a new file": func(l *Ledger) error { l.maxSegment = 1; _, err := appendNote(l, "d"); return err },
		"a new key":  func(l *Ledger) error { _, err := l.RotateKey(t.Context()); return err },
		"a recovery": func(l *Ledger) error { _, err := l.Recover(t.Context()); return err },
		"a refused entry": func(l *Ledger) error {
			l.Append(func(State) (Entry, error) { return nil, errors.New("no") })
			return nil
		},
	} {
		for _, knows := range []bool{true, false} {
			what := fmt.Sprintf("%s, knows the last block: %v", what, knows)
			fsys := moving{g.disk(t)}
			l, other := ledgerOn(fsys, 0), ledgerOn(fsys, 0)
			if knows {
				if _, err := appendNote(l, "d"); err != nil {
					t.Fatal(err)
				}
			}
			size := other.Size()
			if err := private.WriteFileOn(fsys, pathsIn(modelHome).Receipts, []byte(attest(t, short(2).id, 20, Hash{1}))); err != nil {
				t.Fatal(err)
			}
			lock, err := other.takeLock()
			if err != nil {
				t.Fatal(err)
			}
			r, err := other.setAside(t.Context())
			lock.Unlock() // and there it ends
			if err != nil {
				t.Fatal(err)
			}
			if err := do(l); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			var at []uint64
			if _, err := other.Each(t.Context(), nil, func(b *Block, _ []byte, _ Hash) error {
				if b.Recovery != nil && b.Recovery.Reason == r.Reason {
					at = append(at, b.Seq)
				}
				return nil
			}); err != nil || len(at) != 1 || at[0] != size {
				t.Errorf("%s: blocks %d record it, of the first %d, %v", what, at, size, err)
			}
			if _, err := fsys.Lstat(filepath.Join(modelHome, owedName)); !notThere(err) {
				t.Errorf("%s: %s is still there: %v", what, owedName, err)
			}
		}
	}
}

// handles counts the files of a file system that are open.
type handles struct {
	private.FS
	open *int
}

func (h handles) OpenFile(name string, flag int, perm fs.FileMode) (private.File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	*h.open++
	return &handle{File: f, open: h.open}, nil
}

type handle struct {
	private.File
	open   *int
	closed bool
}

func (h *handle) Close() error {
	if !h.closed {
		h.closed = true
		*h.open--
	}
	return h.File.Close()
}

// TestRecoverLeavesNothingOpen recovers ledgers that are whole, that are damaged, and that
// cannot be recovered, by who has appended to them.
func TestRecoverLeavesNothingOpen(t *testing.T) {
	g := newGenuine(t, ordinary())
	bad := g.lines[3][0] + "x" + g.lines[3][1] + g.lines[3][2]
	for what, now := range map[string]image{
		"whole":        {},
		"damaged":      {activeName: bad},
		"what waits":   {pendingName: "x\n"},
		"a receipt":    {receiptsName: attest(t, ordinary().id, 50, Hash{1})},
		"a wrong key":  {keyName: keyFileOf(t, keyFrom("other"))},
		"no key":       {keyName: "x"},
		"to be closed": {owedName: "x"},
	} {
		open := 0
		fsys := handles{moving{g.disk(t)}, &open}
		l := ledgerOn(fsys, 0)
		for range 3 {
			if _, err := appendNote(l, "d"); err != nil && len(now) == 0 {
				t.Errorf("%s: %v", what, err)
			}
			for name, data := range now {
				if err := private.WriteFileOn(fsys, filepath.Join(modelHome, name), []byte(data)); err != nil {
					t.Fatal(err)
				}
			}
			r, err := l.Recover(t.Context())
			if open != 0 {
				t.Errorf("%s: %d files are open behind %+v, %v", what, open, r, err)
				break
			}
		}
	}
}
