package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// owing is a ledger whose remotes are still to have the blocks from one on.
func owing(fsys private.FS, maxSegment int64, next uint64) *Ledger {
	return Open(Options{Paths: pathsIn(modelHome), FS: fsys, Clock: ticking(), MaxSegment: maxSegment,
		Forwarded: func(string) (uint64, bool) { return next, true }})
}

// handedOut are the blocks that a reader hands out, up to its end or its error, in
// batches of any size that have no gap.
func handedOut(t testing.TB, l *Ledger, from uint64) (lines []Line, skipped uint64, err error) {
	t.Helper()
	r, skipped, err := l.Read(from)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	for calls := 0; ; calls++ {
		if calls > 100_000 {
			t.Fatal("it hands out blocks without an end")
		}
		batch, err := r.Next(t.Context(), 7, 1<<20)
		if err != nil || len(batch) == 0 {
			return lines, skipped, err
		}
		for i, line := range batch {
			if i > 0 && line.Seq != batch[i-1].Seq+1 {
				t.Errorf("blocks %d and %d are in one batch", batch[i-1].Seq, line.Seq)
			}
		}
		lines = append(lines, batch...)
	}
}

// accounted has every block of a ledger be in its files, wait in the pending file, or
// be owned up to as dropped.
func accounted(t failer, l *Ledger, when string) *Report {
	t.Helper()
	dropped := map[uint64]bool{}
	r, err := l.Each(context.Background(), nil, func(b *Block, _ []byte, _ Hash) error {
		if d := b.Dropped; d != nil {
			for seq := d.From; seq <= d.To; seq++ {
				dropped[seq] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	pending, err := l.readPending()
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	waits := map[uint64]bool{}
	for line := range strings.Lines(string(pending)) {
		if b, _, ok := parse([]byte(strings.TrimSuffix(line, "\n"))); ok {
			waits[b.Seq] = true
		}
	}
	for seq := range r.FirstSeq {
		if !waits[seq] && !dropped[seq] {
			t.Fatalf("%s: block %d is neither kept, nor does it wait, nor is it said to be dropped: %+v", when, seq, *r)
		}
	}
	return r
}

// TestAFarBehindRemote has a remote that has nothing, and files of their real size:
// the blocks of two that go wait, those of the third as far as there is room, and
// the rest is owned up to, in the block behind the one that lets go of it.
func TestAFarBehindRemote(t *testing.T) {
	if underRace() {
		t.Skip("70 MB are signed")
	}
	fsys := image{}.disk(t)
	l := owing(fsys, 0, 0)
	adopt(t, l)
	payload := strings.Repeat("p", 60_000)
	for {
		var batch []*request
		for range 128 {
			batch = append(batch, &request{decide: func(s State) (Entry, error) {
				d := verdict(s, "a")
				d.Action.Payload = payload
				return d, nil
			}})
		}
		l.commit(batch)
		if err := batch[127].err; err != nil {
			t.Fatal(err)
		}
		if archives, err := l.archives(); err != nil || len(archives) > 0 && archives[0].first > 400 {
			break // the third file went
		}
	}
	var dropped *Dropped
	var at uint64
	hashes := map[uint64]Hash{}
	var opener *Block
	r, err := l.Each(t.Context(), nil, func(b *Block, _ []byte, hash Hash) error {
		hashes[b.Seq] = hash
		if b.Segment != nil {
			opener = b
		}
		if b.Dropped != nil {
			if dropped != nil {
				t.Errorf("dropped %+v, and %+v", dropped, b.Dropped)
			}
			if dropped, at = b.Dropped, b.Seq; opener.Seq+1 != at {
				t.Errorf("block %d opens a file, and block %d owns up to what goes with it", opener.Seq, at)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if dropped == nil {
		t.Fatalf("nothing is owned up to: %+v", r)
	}
	blocks, used, room, err := l.Pending()
	if err != nil || uint64(blocks) != dropped.From || used > room || room-used > maxLine || room != maxPending {
		t.Errorf("%d blocks wait, in %d of %d bytes, and those from %d on are dropped, %v", blocks, used, room, dropped.From, err)
	}
	if dropped.To != r.FirstSeq-1 || dropped.From <= 2*170 {
		t.Errorf("%+v, and the first that is kept is %d", dropped, r.FirstSeq)
	}
	lines, skipped, err := handedOut(t, l, 0)
	if err != nil || skipped != 0 {
		t.Errorf("%d skipped, %v", skipped, err)
	}
	want := uint64(0)
	for _, line := range lines {
		if line.Seq != want || line.Seq >= r.FirstSeq && line.Hash != hashes[line.Seq] {
			t.Fatalf("block %d is handed out, and %d is next", line.Seq, want)
		}
		if want++; want == dropped.From {
			want = dropped.To + 1
		}
	}
	if want != r.Size {
		t.Errorf("the last that is handed out is %d, of %d", want-1, r.Size)
	}
	if _, skipped, err := handedOut(t, l, dropped.From+3); err != nil || skipped != dropped.To+1-dropped.From-3 {
		t.Errorf("from block %d on: %d are skipped, of %+v, %v", dropped.From+3, skipped, dropped, err)
	}
}

// TestCrashesOfAPrune stops a file's going at each of its system calls, where a remote
// is still to have its blocks, and there is room for all, some and none of them.
func TestCrashesOfAPrune(t *testing.T) {
	t.Parallel()
	more := short(6)
	more.kept = 6
	four, six := newGenuine(t, short(4)), newGenuine(t, more)
	struck := 0
	for what, c := range map[string]struct {
		image
		room int
		next uint64
	}{
		"all fit":              {four.image, maxPending, 0},
		"one fits":             {four.image, len(four.lines[0][0]) + 10, 0},
		"none fits":            {four.image, 10, 0},
		"a remote has some":    {four.image, maxPending, 1},
		"several files, room":  {six.image, maxPending, 0},
		"several files, none":  {six.image, 10, 0},
		"several files, some":  {six.image, len(six.lines[0][0]) + len(six.lines[0][1]) + len(six.lines[1][0]) + 10, 0},
		"half was copied":      {four.with(pendingName, four.lines[0][0]), maxPending, 0},
		"half was copied, end": {four.with(pendingName, four.lines[0][0]), len(four.lines[0][0]) + 10, 0},
	} {
		open := func(fsys private.FS) *Ledger {
			l := owing(fsys, 1, c.next)
			l.maxPending = c.room
			return l
		}
		for kind, step := range map[string]int{"kill": 3, "power": 2, "EIO": 5, "disk full": 5} {
			for n, more := 1, true; more; n++ {
				if (n+len(what))%step > 0 || left(n/step) {
					continue
				}
				disk := crashfs.New(rand.New(rand.NewPCG(uint64(n), uint64(len(what)))).IntN)
				c.image.put(t, disk.Process(nil))
				a := &armed{strike: strike{writing + " remove truncate", strikes[kind].count, strikes[kind].fault}, n: n}
				process, r := disk.Process(a.fault), record{}
				appendTwo(t, open(process), r)
				if more = a.hit != nil; !more {
					continue
				}
				struck++
				process.Kill()
				when := fmt.Sprintf("%s, %s at call %d (%v)", what, kind, n, a.hit)
				for step := range 3 {
					l := open(disk.Process(nil))
					if c.next > 0 { // it has block 0
						l.forwarded = func(string) (uint64, bool) { return 0, true }
						if pending, err := l.readPending(); err != nil || strings.HasPrefix(string(pending), four.lines[0][0]) {
							t.Fatalf("%s: what a remote has waits for it: %v", when, err)
						}
						r.holds(t, l, when)
					} else {
						accounted(t, l, when)
					}
					r.holds(t, l, when)
					if step == 1 {
						disk.PowerCut()
						continue
					}
					b, err := appendNote(open(disk.Process(nil)), "next")
					if err != nil {
						t.Fatalf("%s: the next append: %v", when, err)
					}
					r.takes(t, b, err)
				}
			}
		}
	}
	if struck < 100 && !underRace() {
		t.Errorf("only %d calls were struck", struck)
	}
}

// TestWhatWaitsIsAnothers has a pending file that is another ledger's, or none, when a
// file goes: it is put aside as it is, and the blocks that go wait in a new one.
func TestWhatWaitsIsAnothers(t *testing.T) {
	g := newGenuine(t, short(4))
	foreign := short(1)
	foreign.id = strings.Repeat("f", 32)
	for what, was := range map[string]string{
		"another ledger's": foreign.make(t).image[activeName],
		"no block":         `{"x":1,"seq":999999999}` + "\n",
		"blank lines":      "\n\n",
		"not signed":       strings.Replace(g.lines[0][0], `"v":1`, `"v":1,"w":1`, 1),
		"torn":             g.lines[0][0][:100],
	} {
		fsys := g.with(pendingName, was).disk(t)
		if _, err := appendNote(owing(fsys, 1, 0), "d"); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		now, aside := take(t, fsys, modelHome), 0
		for name, data := range now {
			if strings.Contains(name, ".pending-") && data == was {
				aside++
			}
		}
		if now[pendingName] != strings.Join(g.lines[0], "") || aside != 1 {
			t.Errorf("%s: %d are aside, and %q waits", what, aside, now[pendingName])
		}
		accounted(t, owing(fsys, 1, 0), what)
	}
}

// TestReadWhatIsDamaged reads from files of which lines are damaged: the blocks before
// are handed out, then there is an error; none comes twice, none is left out without a
// word, and nothing is changed.
func TestReadWhatIsDamaged(t *testing.T) {
	f := ordinary()
	f.kept = 2
	pruned := newGenuine(t, f) // blocks 6 to 12
	g := newGenuine(t, ordinary())
	first := slices.Concat(g.lines[0], g.lines[1]) // blocks 0 to 5
	with := func(g *genuine, file string, lines []string) image { return g.with(file, strings.Join(lines, "")) }
	type damage struct {
		what string
		image
		bad uint64 // the first block that is not handed out
	}
	var all []damage
	edits := map[string]func(lines []string, i int) []string{
		"missing":     func(l []string, i int) []string { return slices.Delete(l, i, i+1) },
		"swapped":     func(l []string, i int) []string { l[i], l[i+1] = l[i+1], l[i]; return l },
		"blank":       func(l []string, i int) []string { l[i] = "\n"; return l },
		"short":       func(l []string, i int) []string { l[i] = "x\n"; return l },
		"cut":         func(l []string, i int) []string { l[i] = l[i][:len(l[i])/2] + "\n"; return l },
		"a number":    func(l []string, i int) []string { l[i] = `,"seq":` + "\n"; return l },
		"a blank one": func(l []string, i int) []string { return slices.Insert(l, i, "\n") },
		"not signed":  func(l []string, i int) []string { l[i] = strings.Replace(l[i], `T12:00`, `T12:01`, 1); return l },
		"of a later number": func(l []string, i int) []string {
			b, _, _ := parse([]byte(strings.TrimSuffix(l[i], "\n")))
			l[i] = strings.Replace(l[i], fmt.Sprintf(`"seq":%d,`, b.Seq), fmt.Sprintf(`"seq":%d,`, b.Seq+2), 1)
			return l
		},
	}
	for what, edit := range edits {
		for i := 1; i < 3; i++ {
			if what == "swapped" && i == 2 {
				continue
			}
			bad := uint64(i)
			all = append(all, damage{"a line is " + what + " in the first file", with(g, g.names[0], edit(slices.Clone(g.lines[0]), i)), bad})
			all = append(all, damage{"a line is " + what + " in the open file", with(g, activeName, edit(slices.Clone(g.lines[3]), i)), 9 + bad})
			if what != "missing" { // which may be as it was dropped
				all = append(all, damage{"a line is " + what + " in the pending file", with(pruned, pendingName, edit(slices.Clone(first), i)), bad})
			}
		}
	}
	for i, name := range g.names[1:3] {
		all = append(all, damage{name + " is gone", g.without(name), uint64(3 * (i + 1))})
	}
	// Behind it nothing shows that what it says is skipped is there.
	late := slices.Clone(first)
	late[5] = strings.Replace(late[5], `"seq":5,`, `"seq":8,`, 1)
	all = append(all, damage{"the last line that waits is of a later number", with(pruned, pendingName, late), 5})
	for _, d := range all {
		fsys := d.image.disk(t)
		l := ledgerOn(fsys, 0)
		lines, skipped, err := handedOut(t, l, 0)
		if fault.CodeOf(err) != fault.LedgerTampered || skipped != 0 {
			t.Errorf("%s: %d are skipped, and block %d is wrong: %v", d.what, skipped, d.bad, err)
		}
		if uint64(len(lines)) != d.bad {
			t.Errorf("%s: %d are handed out, and block %d is wrong", d.what, len(lines), d.bad)
		}
		for i, line := range lines {
			if line.Seq != uint64(i) || line.Hash != g.hashes[i] {
				t.Errorf("%s: block %d is handed out for block %d", d.what, line.Seq, i)
			}
		}
		// One that begins there is told as well, and does not go on behind it.
		if lines, skipped, err := handedOut(t, l, d.bad); !(strings.Contains(d.what, "a blank one") && uint64(len(lines)) == 13-d.bad) && fault.CodeOf(err) != fault.LedgerTampered || skipped > 0 {
			t.Errorf("%s: from block %d on %d are handed out, %d are skipped, %v", d.what, d.bad, len(lines), skipped, err)
		}
		for before := range uint64(8) {
			if err := l.TrimPending(before); err != nil {
				t.Errorf("%s: trimmed: %v", d.what, err)
			}
			now := take(t, fsys, modelHome)
			if was := d.image[pendingName]; was != "" && !strings.Contains(d.what, "swapped") {
				// Only blocks that every remote has went, of those before what is damaged.
				gone := strings.Join(first[:min(before, d.bad)], "")
				if want := strings.TrimPrefix(was, gone); now[pendingName] != want {
					t.Errorf("%s: trimmed before block %d, %q waits", d.what, before, now[pendingName])
				}
			}
			for name, data := range d.image {
				if name != pendingName && now[name] != data {
					t.Errorf("%s: trimmed: %s was changed", d.what, name)
				}
			}
		}
	}
	// A doubled line in a file is passed over: no block comes twice, and none is missing.
	doubled := with(g, g.names[0], slices.Insert(slices.Clone(g.lines[0]), 1, g.lines[0][1]))
	if lines, _, err := handedOut(t, ledgerOn(doubled.disk(t), 0), 0); err != nil && fault.CodeOf(err) != fault.LedgerTampered || err == nil && len(lines) != 13 {
		t.Errorf("a doubled line: %d are handed out, %v", len(lines), err)
	}
	// A gap in what waits is one that is known of.
	gap := with(pruned, pendingName, slices.Delete(slices.Clone(first), 2, 4))
	lines, skipped, err := handedOut(t, ledgerOn(gap.disk(t), 0), 0)
	if err != nil || skipped != 0 || len(lines) != 11 || lines[1].Seq != 1 || lines[2].Seq != 4 {
		t.Errorf("a gap: %d are skipped, %d handed out, %v", skipped, len(lines), err)
	}
	if _, skipped, err := handedOut(t, ledgerOn(gap.disk(t), 0), 2); err != nil || skipped != 2 {
		t.Errorf("a gap: %d are skipped, %v", skipped, err)
	}
}

// TestRecoverWhatWaits recovers beside a pending file, and from one that is damaged.
func TestRecoverWhatWaits(t *testing.T) {
	f := ordinary()
	f.kept = 2
	g, whole := newGenuine(t, f), newGenuine(t, ordinary())
	waits := slices.Concat(whole.lines[0], whole.lines[1])
	all := strings.Join(waits, "")
	// Where the ledger goes on, what waits stays; where another begins, it goes.
	for what, c := range map[string]struct {
		image
		stays bool
	}{
		"no checkpoint":           {g.without(headName), true},
		"a line of a closed file": {g.with(g.names[0], g.lines[0][0]+"x"+g.lines[0][1]+g.lines[0][2]), true},
		"a line of the open file": {g.with(activeName, g.lines[1][0]+g.lines[1][1]+"x\n"), true},
		"a later receipt":         {g.with(receiptsName, attest(t, f.id, 20, Hash{1})), true},
		"the first line":          {g.with(g.names[0], "x"+g.image[g.names[0]]), false},
	} {
		r, after, l := recovered(t, c.image.with(pendingName, all), what)
		if r == nil {
			continue
		}
		if stays := after[pendingName] == all; stays != c.stays || !stays && after[pendingName] != "" {
			t.Errorf("%s: %q waits", what, after[pendingName])
		}
		verify(t, l)
		if c.stays {
			if lines, skipped, err := handedOut(t, l, 0); err != nil || skipped != 0 || uint64(len(lines)) != l.Size() {
				t.Errorf("%s: %d are handed out of %d, %d skipped, %v", what, len(lines), l.Size(), skipped, err)
			}
		}
	}
	for i := range waits {
		for what, bad := range map[string]string{
			"not signed": strings.Replace(waits[i], `T12:00`, `T12:01`, 1),
			"no block":   "x" + waits[i],
			"in doubt":   strings.Replace(waits[i], `"sig":"`, `"sig":"0`, 1),
		} {
			what = fmt.Sprintf("line %d is %s", i, what)
			lines := slices.Clone(waits)
			lines[i] = bad
			im := g.with(pendingName, strings.Join(lines, ""))
			_, err := verifyImage(t, im)
			if fault.CodeOf(err) != fault.LedgerTampered || !strings.Contains(err.Error(), fmt.Sprintf("block %d ", i)) || !strings.Contains(err.Error(), pendingName) {
				t.Errorf("%s: %v", what, err)
			}
			r, after, l := recovered(t, im, what)
			if r == nil {
				continue
			}
			if want := strings.Join(slices.Delete(slices.Clone(waits), i, i+1), ""); after[pendingName] != want || r.Kept != 13 {
				t.Errorf("%s: %d are kept, %q waits", what, r.Kept, after[pendingName])
			}
			for _, name := range g.names {
				if !strings.HasPrefix(after[name], g.image[name]) {
					t.Errorf("%s: %s was changed", what, name)
				}
			}
			if aside := take(t, l.fs, r.Aside); len(aside) != 1 || aside[filepath.Base(pendingName)] != im[pendingName] {
				t.Errorf("%s: aside are %d files", what, len(aside))
			}
			g.rest(t, what, r, after, l)
		}
	}
	// Nothing is left of it.
	r, after, l := recovered(t, g.with(pendingName, "x\n"), "nothing that waits is right")
	if _, there := after[pendingName]; r == nil || there {
		t.Errorf("%+v, and it is still there: %v", r, there)
	} else {
		g.rest(t, "nothing that waits is right", r, after, l)
	}
}

// TestWhatGoesIsWhole has a closed file that is to go lack blocks that a remote is to have:
// it does not go without a word, nothing follows it, and a recovery mends it.
func TestWhatGoesIsWhole(t *testing.T) {
	f := short(4)
	f.files[0] = []Entry{&Note{"n", "1"}, &Note{"n", "2"}}
	g := newGenuine(t, f)
	lines := g.lines[0]
	for what, now := range map[string]string{
		"empty":              "",
		"one line":           lines[0],
		"without the last":   lines[0] + lines[1],
		"without the first":  lines[1] + lines[2],
		"without the second": lines[0] + lines[2],
		"a torn end":         lines[0] + lines[1] + lines[2][:20],
		"a line twice":       lines[0] + lines[1] + lines[1] + lines[2],
		"a line that is not": lines[0] + "x\n" + lines[2],
	} {
		for next := range uint64(3) {
			if next > 0 && (what == "without the first" || next > 1 && what != "empty" && what != "one line" && what != "without the last" && what != "a torn end") {
				continue // a remote has what is missing
			}
			what := fmt.Sprintf("%s, block %d is next", what, next)
			fsys := moving{g.with(g.names[0], now).disk(t)}
			for range 2 {
				if b, err := appendNote(owing(fsys, 1, next), "d"); fault.CodeOf(err) != fault.LedgerTampered {
					t.Errorf("%s: %+v, %v", what, b, err)
				}
			}
			if data, there := take(t, fsys, modelHome)[g.names[0]]; !there || data != now {
				t.Errorf("%s: the file became %q, there %v", what, data, there)
			}
			l := owing(fsys, 0, next)
			if _, err := l.Recover(t.Context()); err != nil {
				t.Errorf("%s: recovering it: %v", what, err)
			}
			accounted(t, l, what)
			if _, err := appendNote(l, "d"); err != nil {
				t.Errorf("%s: and then: %v", what, err)
			}
			accounted(t, l, what)
		}
	}
}

// TestWhatWaitsIsDamagedAtItsEnd has the last line that waits be damaged when a file goes:
// the others go on waiting, ahead of the blocks of the file, and the whole is aside.
func TestWhatWaitsIsDamagedAtItsEnd(t *testing.T) {
	f := short(5)
	f.kept = 4
	g, whole := newGenuine(t, f), newGenuine(t, short(5))
	first, last := whole.lines[0][0], whole.lines[0][1]
	foreign := short(1)
	foreign.id = strings.Repeat("f", 32)
	for what, end := range map[string]string{
		"torn":             last[:40],
		"cut":              last[:len(last)-3] + "\n",
		"without its end":  last[:len(last)-1],
		"not signed":       strings.Replace(last, `"detail":"d"`, `"detail":"e"`, 1),
		"another ledger's": foreign.make(t).image[activeName],
		"blank":            "\n",
		"none":             "x\n",
	} {
		fsys := g.with(pendingName, first+end).disk(t)
		if _, err := appendNote(owing(fsys, 1, 0), "d"); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		now, aside := take(t, fsys, modelHome), 0
		for name, data := range now {
			if strings.Contains(name, ".pending-") && data == first+end {
				aside++
			}
		}
		if now[pendingName] != first+strings.Join(whole.lines[1], "") || aside != 1 {
			t.Errorf("%s: %d are aside, and there waits\n%s", what, aside, now[pendingName])
		}
		l := owing(fsys, 1, 0)
		verify(t, l)
		lines, skipped, err := handedOut(t, l, 0)
		if want := l.Size() - 1; err != nil || skipped != 0 || uint64(len(lines)) != want {
			t.Errorf("%s: %d blocks are handed out of %d, %d skipped, %v", what, len(lines), want, skipped, err)
		}
	}
}

// TestAPruneThatWasCutOff has a prune fail at each of its calls, and then what is kept be
// read, recovered and pruned again, by who is to have more of it as well: what the first
// one has copied neither hides nor contradicts what is kept.
func TestAPruneThatWasCutOff(t *testing.T) {
	t.Parallel()
	f := short(4)
	f.files[0] = []Entry{&Note{"n", "1"}, &Note{"n", "2"}, &Note{"n", "3"}}
	g := newGenuine(t, f)
	struck, twice, damaged := 0, 0, 0
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EACCES} {
		for n, more := 1, true; more; n++ {
			if more = left(n) && n < 60; more {
				continue
			}
			for _, next := range []uint64{0, 2} {
				disk := crashfs.New(func(int) int { return 0 })
				g.put(t, disk.Process(nil))
				a := &armed{n: n, strike: strike{writing + " remove truncate", 1 << 20, func(c crashfs.Call) *crashfs.Fault {
					return &crashfs.Fault{Err: e, Short: c.Size * 2 / 3}
				}}}
				process := disk.Process(a.fault)
				r := record{}
				b, err := appendNote(owing(process, 1, next), "d")
				r.takes(t, b, err)
				process.Kill()
				if a.hit == nil {
					continue
				}
				more, struck = true, struck+1
				when := fmt.Sprintf("%v at call %d (%v), block %d is next", e, n, a.hit, next)
				fsys := disk.Process(nil)
				cut := take(t, fsys, modelHome)
				all := func(l *Ledger, from uint64) {
					t.Helper()
					r.holds(t, l, when)
					lines, skipped, err := handedOut(t, l, from)
					if err != nil || skipped != 0 || uint64(len(lines)) != l.Size()-from {
						t.Fatalf("%s: from block %d on, of %d, %d are handed out, %d skipped, %v", when, from, l.Size(), len(lines), skipped, err)
					}
					for _, line := range lines {
						if line.Seq < uint64(len(g.hashes)) && line.Hash != g.hashes[line.Seq] {
							t.Fatalf("%s: another block %d is handed out", when, line.Seq)
						}
					}
				}
				from := uint64(0)
				report := r.holds(t, ledgerOn(fsys, 0), when)
				if report.FirstSeq > 0 {
					from = next
				} else if cut[pendingName] != "" {
					twice++
				}
				all(ledgerOn(fsys, 0), from)
				// The oldest file is damaged then.
				if report.FirstSeq == 0 {
					damaged++
					bad := cut.with(g.names[0], g.lines[0][0]+g.lines[0][1]+strings.Replace(g.lines[0][2], `"v":1`, `"v":2`, 1)+g.lines[0][3])
					fsys := moving{bad.disk(t)}
					l := ledgerOn(fsys, 0)
					got, err := l.Recover(t.Context())
					if err != nil || got.Kept != 2 {
						t.Fatalf("%s: recovering it: %+v, %v", when, got, err)
					}
					verify(t, l)
					lines, skipped, err := handedOut(t, l, 0)
					if err != nil || skipped != 0 || len(lines) != 3 || lines[1].Hash != g.hashes[1] || lines[2].Hash != hashOf(got.Block) {
						t.Fatalf("%s: of the 3 blocks behind a recovery are handed out %d, %d skipped, %v", when, len(lines), skipped, err)
					}
					if waits := now(t, fsys, pendingName); strings.Contains(waits, g.lines[0][3]) {
						t.Fatalf("%s: behind a recovery there waits\n%s", when, waits)
					}
				}
				// It is done again, and another is to have all of it.
				b, err = appendNote(owing(fsys, 1, from), "again")
				r.takes(t, b, err)
				if err != nil {
					t.Fatalf("%s: and again: %v", when, err)
				}
				all(owing(fsys, 1, from), from)
			}
		}
	}
	if !underRace() && (struck < 40 || twice < 4 || damaged < 20) {
		t.Errorf("%d calls were struck; %d times a file was there twice, %d times damaged", struck, twice, damaged)
	}
}

// now is what a file has.
func now(t testing.TB, fsys private.FS, name string) string { return take(t, fsys, modelHome)[name] }
