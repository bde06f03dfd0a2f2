package ledger

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
)

// TestAppendHealsNothing appends to ledgers of which lines were changed. Where
// it goes on at all, what was wrong stays wrong, and is named as before.
func TestAppendHealsNothing(t *testing.T) {
	t.Parallel()
	f := ordinary()
	g := newGenuine(t, f)
	refused, went := 0, 0
	for i, v := range g.variants(t, f.key) {
		if i%4 > 0 && !strings.Contains(v.what, activeName) {
			continue // an append looks at no closed file
		}
		if left(i / 4) {
			continue
		}
		bad, size, torn := g.judge(v.image)
		fsys := v.disk(t)
		l := ledgerOn(fsys, 0)
		b, err := appendNote(l, "d")
		after := take(t, fsys, modelHome)
		switch {
		case err != nil && bad >= 0:
			refused++
			if fault.CodeOf(err) != fault.LedgerTampered || !maps.Equal(after, v.image) {
				t.Errorf("%s: it was refused with %v, and what is there is changed: %v", v.what, err, !maps.Equal(after, v.image))
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", v.what, err)
			continue
		case bad < 0:
			if b.Seq != size || b.Prev != g.hashes[size-1] {
				t.Errorf("%s: %d was appended to %d", v.what, b.Seq, size)
			}
			if r, err := l.Verify(t.Context(), nil); err != nil || r.Size != size+1 || r.Torn != 0 {
				t.Errorf("%s: %d bytes are torn, and after an append: %+v, %v", v.what, torn, r, err)
			}
			continue
		}
		went++
		line, _ := b.sign(f.key)
		for name, content := range v.image {
			switch name {
			case activeName:
				if strings.HasPrefix(content, g.image[activeName]) {
					content = g.image[activeName] // what stands behind the head is torn
				}
				content += string(line) + "\n"
			case headName, edgeName:
				continue
			}
			if after[name] != content {
				t.Errorf("%s: %s was changed", v.what, name)
			}
		}
		if r, err := l.Verify(t.Context(), nil); fault.CodeOf(err) != fault.LedgerTampered {
			t.Errorf("%s: looks whole after an append: %+v, %v", v.what, r, err)
		} else if n, _ := badSeq(err); n != bad && !v.opens {
			t.Errorf("%s: block %d is wrong, and after an append: %v", v.what, bad, err)
		}
	}
	if (refused < 50 || went < 50) && !underRace() {
		t.Errorf("%d were refused, %d went on", refused, went)
	}
}

// TestAppendRefuses changes what an append looks at: with the cached edge the first
// block of the open file and the last that the head has, without it all of them.
func TestAppendRefuses(t *testing.T) {
	f := ordinary()
	g := newGenuine(t, f)
	lines := g.lines[3]
	last := len(lines) - 1
	refused := func(what string, j int, with ...string) {
		t.Helper()
		now := slices.Concat(lines[:j], with, lines[j+1:])
		im := g.with(activeName, strings.Join(now, ""))
		if j == 0 || j == last {
			g.refused(t, what, im)
		}
		g.refused(t, what+", no edge", im.without(edgeName))
	}
	for j, line := range lines {
		texts := rewritten(t, line, f.key)
		for _, what := range slices.Sorted(maps.Keys(texts)) {
			if what == "doubled" && j == last {
				continue // that is a torn end
			}
			if left(j) {
				continue
			}
			text := texts[what] + "\n"
			if what == "removed" {
				text = ""
			}
			refused(fmt.Sprintf("line %d: %s", j, what), j, text)
		}
	}
	for n := range g.image[activeName] {
		if n%11 == 0 || g.image[activeName][n] == '\n' {
			g.refused(t, fmt.Sprintf("cut at %d", n), g.with(activeName, g.image[activeName][:n]))
		}
	}
	// Signed by the key of the ledger, which never signs two blocks of one number.
	for what, change := range map[string]func(b *Block){
		"another ledger's": func(b *Block) { b.LedgerID = strings.Repeat("f", 32) },
		"of another file":  func(b *Block) { b.Seg++ },
		"of another seq":   func(b *Block) { b.Seq-- },
	} {
		b := *g.blocks[12]
		change(&b)
		line, _ := b.sign(f.key)
		refused("the last block "+what, last, string(line)+"\n")
	}
	for what, change := range map[string]func(b *Block){
		"of another size":      func(b *Block) { b.Segment.Size-- },
		"with half a tree":     func(b *Block) { b.Segment.Tree = b.Segment.Tree[1:] },
		"of no ledger":         func(b *Block) { b.LedgerID = "x" },
		"of the first file":    func(b *Block) { b.Seg = 0 },
		"that kept too little": func(b *Block) { b.Segment.PrunedBefore = 10 },
	} {
		b, body := *g.blocks[9], *g.blocks[9].Segment
		b.Segment = &body
		change(&b)
		line, _ := b.sign(f.key)
		refused("a first block "+what, 0, string(line)+"\n")
	}
}

// TestOneWrongBlockBeyond has a block beyond the head, signed by the ledger's own
// key, that is not what the chain calls for: to an append, as to verification, it
// is a torn end.
func TestOneWrongBlockBeyond(t *testing.T) {
	other := keyFrom("other").Public().(ed25519.PublicKey)
	for what, c := range map[string]struct {
		e      Entry
		change func(b *Block)
	}{
		"a number left out":      {&Note{"n", "d"}, func(b *Block) { b.Seq++ }},
		"a number twice":         {&Note{"n", "d"}, func(b *Block) { b.Seq-- }},
		"another file's":         {&Note{"n", "d"}, func(b *Block) { b.Seg++ }},
		"another ledger's":       {&Note{"n", "d"}, func(b *Block) { b.LedgerID = strings.Repeat("f", 32) }},
		"another block before":   {&Note{"n", "d"}, func(b *Block) { b.Prev[0] ^= 1 }},
		"an earlier time":        {&Note{"n", "d"}, func(b *Block) { b.Time = b.Time.Add(-time.Hour) }},
		"an unknown key":         {&Note{"n", "d"}, func(b *Block) { b.KeyID = keyID(other) }},
		"an opener":              {&Segment{Size: 12, Tree: []Hash{{1}, {2}}, Previous: &Previous{9, 11, Hash{}}}, func(b *Block) {}},
		"a rotation":             {&KeyRotation{NewKey: other}, func(b *Block) { b.KeyRotation.NewSig[0] ^= 1 }},
		"another constitution's": {decision("c", "d"), func(b *Block) { b.Decision.Constitution = digest("other") }},
		"from another state":     {decision("c", "d"), func(b *Block) { b.Decision.From = "x" }},
	} {
		for _, edge := range []bool{true, false} {
			f := ordinary()
			f.files[3] = []Entry{decision("c", "c"), &Note{"n", "d"}, c.e}
			f.files[2] = append(f.files[2][:1:1], decision("b", "c"))
			f.covered = 12
			f.other = map[string]ed25519.PrivateKey{string(other): keyFrom("other")}
			f.change = func(b *Block) {
				if b.Seq == 12 {
					c.change(b)
				}
			}
			g := newGenuine(t, f)
			im := g.image.with(keyName, ordinary().make(t).image[keyName])
			if !edge {
				im = im.without(edgeName)
			}
			l := ledgerOn(im.disk(t), 0)
			if r, err := l.Verify(t.Context(), nil); err != nil || r.Size != 12 || r.Torn != len(g.lines[3][3]) {
				t.Errorf("%s: %+v, %v", what, r, err)
			}
			if b, err := appendNote(l, "d"); err != nil || b.Seq != 12 || b.Prev != g.hashes[11] {
				t.Errorf("%s, with the edge: %v: %+v, %v", what, edge, b, err)
			}
			if r, err := l.Verify(t.Context(), nil); err != nil || r.Size != 13 || r.Torn != 0 {
				t.Errorf("%s, with the edge: %v: after an append: %+v, %v", what, edge, r, err)
			}
		}
	}
}

// TestStateAfterAnAdoption decides where a constitution was adopted since the last
// decision, in this file or in the one before: in any state, and else in none but
// the one that the last decision left.
func TestStateAfterAnAdoption(t *testing.T) {
	two := func(from, to string) *Decision {
		d := decision(from, to)
		d.Constitution = digest("two")
		return d
	}
	adopted := &Constitution{digest("two"), "agent", "2"}
	for i, c := range []struct {
		before, open []Entry
		any          bool
	}{
		{[]Entry{&Note{"n", "d"}}, []Entry{adopted}, true},
		{[]Entry{&Note{"n", "d"}}, []Entry{adopted, &Note{"n", "d"}}, true},
		{[]Entry{&Note{"n", "d"}}, []Entry{decision("b", "c"), adopted}, true},
		{[]Entry{&Note{"n", "d"}}, []Entry{decision("b", "c"), adopted, &Note{"n", "d"}}, true},
		{[]Entry{adopted}, []Entry{&Note{"n", "d"}}, true},
		{[]Entry{adopted}, nil, true},
		{[]Entry{adopted}, []Entry{two("x", "y")}, false},
		{[]Entry{&Note{"n", "d"}}, []Entry{adopted, two("x", "y")}, false},
		{[]Entry{&Note{"n", "d"}}, []Entry{adopted, two("x", "y"), &Note{"n", "d"}}, false},
	} {
		f := ordinary()
		f.files[2], f.files[3] = c.before, c.open
		m := f.make(t)
		for _, im := range []image{m.image, m.without(edgeName)} {
			l := ledgerOn(im.disk(t), 0)
			_, err := l.Append(func(State) (Entry, error) { return two("anywhere", "z"), nil })
			if (err == nil) != c.any {
				t.Errorf("case %d: %v", i, err)
			}
			if _, err := l.Append(func(s State) (Entry, error) { return two(s.State, "z"), nil }); err != nil {
				t.Errorf("case %d: in the state that it says: %v", i, err)
			}
			verify(t, l)
		}
	}
}

// TestTornTail ends the open file anywhere beyond its head. The next append
// goes on behind the last whole block, and keeps the rest in a file of its own.
func TestTornTail(t *testing.T) {
	f := ordinary()
	f.covered = 10
	g := newGenuine(t, f)
	content := g.image[activeName]
	var ends []string
	for n := len(g.lines[3][0]); n <= len(content); n++ {
		if n%3 == 0 || content[n-1] == '\n' || n == len(content) {
			ends = append(ends, content[:n])
		}
	}
	for _, junk := range []string{"\n", "\n\n", "{}\n", "x", strings.Repeat("\x00", 600), strings.Repeat("y", maxLine+100) + "\n", g.lines[3][0], g.lines[3][3], g.lines[0][0]} {
		ends = append(ends, content+junk, content[:len(content)-10]+junk)
	}
	texts := rewritten(t, g.lines[3][3], f.key)
	for _, what := range slices.Sorted(maps.Keys(texts)) {
		ends = append(ends, strings.TrimSuffix(content, g.lines[3][3])+texts[what]+"\n")
	}
	for i, end := range ends {
		if left(i / 2) {
			continue
		}
		im := g.with(activeName, end)
		if i%2 == 0 {
			im = im.without(edgeName)
		}
		_, size, torn := g.judge(im)
		fsys := im.disk(t)
		l := ledgerOn(fsys, 0)
		if r := verify(t, l); r.Size != size || r.Torn != torn {
			t.Errorf("%q: %d blocks and %d bytes: %+v", tailOf(end), size, torn, r)
		}
		before := take(t, fsys, modelHome)
		b, err := decide(l, "next")
		if err != nil || b.Seq != size || b.Prev != g.hashes[size-1] {
			t.Errorf("%q: %v, %v", tailOf(end), b, err)
			continue
		}
		after := take(t, fsys, modelHome)
		aside := 0
		for name, data := range after {
			if _, ok := before[name]; !ok && name != edgeName {
				if aside++; data != end[len(end)-torn:] || !strings.HasPrefix(name, "constitutional_ledger.torn-") || !strings.HasSuffix(name, ".jsonl") {
					t.Errorf("%q: %s has %q", tailOf(end), name, tailOf(data))
				}
			}
		}
		if aside != min(torn, 1) {
			t.Errorf("%q: %d files were saved aside", tailOf(end), aside)
		}
		if want := end[:len(end)-torn]; !strings.HasPrefix(after[activeName], want) || lineCount(after[activeName][len(want):]) != 1 {
			t.Errorf("%q became %q", tailOf(end), tailOf(after[activeName]))
		}
		if r := verify(t, l); r.Size != size+1 || r.Head != size+1 || r.Torn != 0 {
			t.Errorf("%q: %+v", tailOf(end), r)
		}
	}
}

func tailOf(s string) string { return s[max(0, len(s)-60):] }

func lineCount(s string) int { return strings.Count(s, "\n") }

// TestDoubledEnd writes the last lines of the open file once more, as many as
// there are: the copies are a torn end.
func TestDoubledEnd(t *testing.T) {
	f := ordinary()
	decided := decision("c", "d")
	decided.Constitution = digest("three")
	f.files[3] = []Entry{&Note{"n", "d"}, &Constitution{digest("three"), "agent", "3"}, decided}
	g := newGenuine(t, f)
	for from := range g.lines[3] {
		end := strings.Join(g.lines[3][from:], "")
		for _, im := range []image{g.image, g.without(edgeName)} {
			l := ledgerOn(im.with(activeName, g.image[activeName]+end).disk(t), 0)
			b, err := appendNote(l, "d")
			if err != nil || b.Seq != 13 || b.Prev != g.hashes[12] {
				t.Errorf("the last %d lines are doubled: %v, %v", len(g.lines[3])-from, b, err)
			}
			if _, err := l.Verify(t.Context(), nil); err != nil {
				t.Errorf("the last %d lines are doubled: after an append: %v", len(g.lines[3])-from, err)
			}
		}
	}
}

// TestEveryTornTailIsKept tears twice, in one moment: both ends are kept.
func TestEveryTornTailIsKept(t *testing.T) {
	g := newGenuine(t, ordinary())
	fsys := g.disk(t)
	l := Open(Options{Paths: pathsIn(modelHome), FS: fsys, Clock: func() time.Time { return noon.Add(time.Hour) }})
	for _, end := range []string{"one", "two"} {
		im := take(t, fsys, modelHome)
		im.with(activeName, im[activeName]+end).put(t, fsys)
		if _, err := appendNote(l, "d"); err != nil {
			t.Fatal(err)
		}
	}
	kept := map[string]bool{}
	for name, data := range take(t, fsys, modelHome) {
		if strings.Contains(name, ".torn-") {
			kept[data] = true
		}
	}
	if !kept["one"] || !kept["two"] {
		t.Errorf("kept: %v", kept)
	}
}

// TestRotationLooksAtWhatItCloses changes a block in the middle of the open
// file. A file that is closed is vouched for by the one after it, and goes in
// the end: what is wrong with it must not go with it.
func TestRotationLooksAtWhatItCloses(t *testing.T) {
	f := ordinary()
	g := newGenuine(t, f)
	was := g.lines[3][1]
	im := g.with(activeName, strings.Replace(g.image[activeName], was, strings.Replace(was, `"verdict":"allow"`, `"verdict":"deny!"`, 1), 1))
	fsys := im.disk(t)
	l := ledgerOn(fsys, 1)
	for n := range 6 {
		_, err := appendNote(l, "d")
		if r, err := l.Verify(t.Context(), nil); fault.CodeOf(err) != fault.LedgerTampered {
			t.Fatalf("after %d appends: %+v, %v", n+1, r, err)
		}
		if fault.CodeOf(err) == fault.LedgerTampered && maps.Equal(take(t, fsys, modelHome), im) {
			return
		}
		t.Errorf("append %d closed a file of which a block is wrong: %v", n+1, err)
	}
}

// TestForgedState changes the last decision, behind which other blocks stand:
// nobody is told the state that it says now.
func TestForgedState(t *testing.T) {
	for at, edit := range map[int][2]string{1: {`"to":"c"`, `"to":"x"`}, 2: {digest("two"), digest("own")}} {
		for _, edge := range []bool{true, false} {
			g := newGenuine(t, ordinary())
			im := g.with(activeName, strings.Replace(g.image[activeName], g.lines[3][at], strings.Replace(g.lines[3][at], edit[0], edit[1], 1), 1))
			if !edge {
				im = im.without(edgeName)
			}
			_, err := ledgerOn(im.disk(t), 0).Append(func(s State) (Entry, error) {
				if s.State != "c" || s.Constitution != digest("two") {
					t.Errorf("line %d was changed, with the edge: %v: the state is %+v", at, edge, s)
				}
				return &Note{"n", "d"}, nil
			})
			if fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("line %d was changed, with the edge: %v: %v", at, edge, err)
			}
		}
	}
}

// TestStateFarBack has more behind the last decision than is read of a file's end
// at first, whole lines and parts of them.
func TestStateFarBack(t *testing.T) {
	for _, notes := range []int{500, 650, 1500} { // 200 to 600 kB
		f := ordinary()
		f.files[3] = append([]Entry{decision("b", "c")}, slices.Repeat([]Entry{&Note{"n", "d"}}, notes)...)
		m := f.make(t)
		for _, im := range []image{m.image, m.without(edgeName), m.with(activeName, m.image[activeName]+strings.Repeat("x", tailChunk))} {
			b, err := ledgerOn(im.disk(t), 0).Append(func(s State) (Entry, error) {
				if s.State != "c" || s.Constitution != digest("one") || s.Size != uint64(len(m.blocks)) {
					t.Errorf("behind %d notes: %+v", notes, s)
				}
				return decision(s.State, "d"), nil
			})
			if err != nil || b.Seq != uint64(len(m.blocks)) || b.Prev != m.hashes[len(m.hashes)-1] {
				t.Errorf("behind %d notes: %v, %v", notes, b, err)
			}
		}
	}
}

// TestFiles takes files away, swaps and renames them.
func TestFiles(t *testing.T) {
	for _, kept := range []int{4, 3} {
		f := ordinary()
		f.files = append([][]Entry{{&Note{"n", "d"}}, {&Note{"n", "d"}}}, f.files...)
		f.kept = kept
		g := newGenuine(t, f)
		first := map[string]int64{} // block of each file
		seq := int64(g.first)
		var bounds []int64
		for i, name := range g.names {
			first[name] = seq
			seq += int64(len(g.lines[i]))
			bounds = append(bounds, seq)
		}
		tampered := func(what string, im image, bad ...int64) {
			t.Helper()
			r, err := verifyImage(t, im)
			if fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("%d files, %s: verified %v, %v", kept, what, r != nil, err)
			} else if n, ok := badSeq(err); !ok || !slices.Contains(bad, n) {
				t.Errorf("%d files, %s: block %d is wrong: %v", kept, what, bad, err)
			}
		}
		for i, name := range g.names {
			tampered(name+" is missing", g.without(name), first[name])
			tampered(name+" is empty", g.with(name, ""), first[name])
			tampered("the first line of "+name+" is garbage", g.with(name, "x"+g.image[name][1:]), first[name])
			for _, other := range g.names[:i] {
				swapped, doubled := []int64{first[other]}, []int64{first[name]}
				if name == activeName {
					// What stands in the open file says which closed ones count: where
					// it ends is where the blocks do.
					swapped, doubled = append(swapped, bounds...), append(doubled, bounds...)
				}
				tampered(other+" and "+name+" are swapped", g.with(name, g.image[other]).with(other, g.image[name]), swapped...)
				tampered(other+" stands in "+name, g.with(name, g.image[other]), doubled...)
			}
			if name == activeName {
				continue
			}
			next := first[g.names[i+1]]
			base := activeName[:len(activeName)-len(".jsonl")]
			for _, to := range [][2]int64{{first[name], next}, {first[name] + 1, next - 1}, {first[name], next - 2}} {
				// A name that is not right leads the next rotation astray.
				as := archiveName(base, uint64(to[0]), uint64(to[1]))
				tampered(name+" is called "+as, g.without(name).with(as, g.image[name]), first[name], next)
			}
			tampered(name+" is there under another name too", g.with(archiveName(base, uint64(first[name]), uint64(next)), g.image[name]), first[name], next)
			tampered(name+" is called otherwise", g.without(name).with(name+".bak", g.image[name]), first[name])
			tampered(name+" has a zero in its name", g.without(name).with(strings.Replace(name, "-", "-0", 1), g.image[name]), first[name])
		}
	}
	// What is not called as a closed file is none.
	g := newGenuine(t, ordinary())
	for _, name := range []string{
		"constitutional_ledger.x-y.jsonl", "constitutional_ledger.0-y.jsonl", "constitutional_ledger.x-2.jsonl", "constitutional_ledger.0.jsonl",
		"constitutional_ledger.torn-20261123T120000.000000Z.jsonl", "constitutional_ledger.00-02.jsonl", "constitutional_ledger.0-2.jsonl.jsonl", "constitutional_ledger.0-2", "other.0-2.jsonl",
	} {
		if _, err := verifyImage(t, g.with(name, "x")); err != nil {
			t.Errorf("beside %s: %v", name, err)
		}
	}
}

// TestNoOpener has nothing in the open file that opens one, where the head has
// none of its blocks yet.
func TestNoOpener(t *testing.T) {
	f := ordinary()
	f.covered = 9
	g := newGenuine(t, f)
	for _, content := range []string{"", "\n", "{torn", g.lines[3][0][:100], g.lines[3][1], g.lines[2][0], strings.Repeat("x", maxLine+10) + "\n", "\n" + g.image[activeName]} {
		im := g.with(activeName, content)
		g.refused(t, tailOf(content), im)
		if _, err := verifyImage(t, im); err == nil {
			t.Errorf("%q", tailOf(content))
		} else if n, ok := badSeq(err); content != g.lines[2][0] && (!ok || n != 9) {
			t.Errorf("%q: %v", tailOf(content), err)
		}
	}
}

// TestRollback puts an older ledger in place with its older head. Nothing in the
// folder can show it; only receipts that are kept elsewhere do.
func TestRollback(t *testing.T) {
	f := ordinary()
	whole := f.make(t)
	f.files[3] = f.files[3][:1]
	older := f.make(t)
	im := maps.Clone(whole.image)
	maps.Copy(im, older.image)
	if r, err := verifyImage(t, im); err != nil || r.Size != 11 || r.Head != 11 {
		t.Errorf("%+v, %v", r, err)
	}
	// With the newer head it does show.
	if _, err := verifyImage(t, im.with(headName, whole.image[headName])); fault.CodeOf(err) != fault.LedgerTampered {
		t.Error(err)
	}
}

// TestRefusedCutsNothing has bytes behind the last block of a ledger that was rolled back,
// or of which the oldest is missing: it is refused before they are cut off.
func TestRefusedCutsNothing(t *testing.T) {
	four, g := newGenuine(t, short(4)), newGenuine(t, short(1))
	for what, torn := range map[string]string{"a torn end": "{torn", "a line": "junk\n", "a doubled end": g.lines[0][1]} {
		im := g.with(activeName, g.image[activeName]+torn)
		g.refused(t, what+", and a later receipt", im.with(receiptsName, attest(t, short(1).id, 7, Hash{1})))
		g.refused(t, what+", and a later file", im.with(four.names[1], four.image[four.names[1]]))
	}
}

// TestAppendIsForWhoDecides asks for blocks that only the ledger itself makes.
func TestAppendIsForWhoDecides(t *testing.T) {
	fsys := newGenuine(t, short(1)).disk(t)
	before := take(t, fsys, modelHome)
	for _, e := range []Entry{&Recovery{"r"}, &Dropped{0, 1, Hash{7}}, &KeyRotation{NewKey: keyFrom("next").Public().(ed25519.PublicKey)}, &Segment{Size: 2, Tree: []Hash{{1}}}} {
		if b, err := ledgerOn(fsys, 0).Append(func(State) (Entry, error) { return e, nil }); b != nil || fault.CodeOf(err) != fault.LedgerFailed {
			t.Errorf("%T: %+v, %v", e, b, err)
		}
	}
	after := take(t, fsys, modelHome)
	if after[activeName] != before[activeName] {
		t.Errorf("%q", tailOf(after[activeName]))
	}
}
