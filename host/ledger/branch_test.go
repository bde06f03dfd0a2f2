package ledger

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private/crashfs"
)

// undecided has verification and an append refuse files before anything is decided by
// them, and leave them as they are.
func undecided(t *testing.T, what string, im image) {
	t.Helper()
	fsys := im.disk(t)
	l := ledgerOn(fsys, 0)
	if r, err := l.Verify(t.Context(), nil); fault.CodeOf(err) != fault.LedgerTampered {
		t.Errorf("%s: %+v, %v", what, r, err)
	}
	b, err := l.Append(func(s State) (Entry, error) {
		t.Errorf("%s: it is decided by %+v", what, s)
		return &Note{"n", "d"}, nil
	})
	if fault.CodeOf(err) != fault.LedgerTampered {
		t.Errorf("%s: appended %+v, %v", what, b, err)
	}
	if after := take(t, fsys, modelHome); !maps.Equal(after, im) {
		t.Errorf("%s: the files were changed", what)
	}
}

// TestTheLastBlockOfAnotherBranch puts a block that the ledger's key signed under the
// same number, on the same block before it, in the place of the last one that the
// checkpoint has: with the checkpoint's cached edge, without it, and with its own.
func TestTheLastBlockOfAnotherBranch(t *testing.T) {
	for what, ends := range map[string][2][]Entry{
		"another verdict":      {{decision("b", "c"), decision("c", "denied")}, {decision("b", "c"), decision("c", "approved")}},
		"a verdict for a note": {{decision("b", "c"), &Note{"n", "d"}}, {decision("b", "c"), decision("c", "approved")}},
		"the only verdict":     {{decision("b", "denied")}, {decision("b", "approved")}},
		"another constitution": {{&Constitution{digest("two"), "agent", "2"}}, {&Constitution{digest("three"), "agent", "3"}}},
		"another opener":       {nil, nil},
		"far behind a verdict": {{decision("b", "c"), &Note{"n", "d"}, &Note{"n", "d"}, &Note{"n", "one"}}, {decision("b", "c"), &Note{"n", "d"}, &Note{"n", "d"}, &Note{"n", "two"}}},
	} {
		f, f2 := ordinary(), ordinary()
		f.files[3], f2.files[3] = ends[0], ends[1]
		last := uint64(9 + len(ends[0]))
		if ends[0] == nil {
			branched(f2, last)
		}
		f.covered, f2.covered = last+1, last+1
		g, other := newGenuine(t, f), newGenuine(t, f2)
		n := len(g.lines[3]) - 1
		im := g.with(activeName, strings.Join(g.lines[3][:n], "")+other.lines[3][n])
		undecided(t, what, im)
		undecided(t, what+", no edge", im.without(edgeName))
		undecided(t, what+", its own edge", im.with(edgeName, other.image[edgeName]))
		undecided(t, what+", and a torn end", im.with(activeName, im[activeName]+"{torn"))
		// Its own checkpoint fits it.
		if _, err := verifyImage(t, im.with(headName, other.image[headName])); err != nil {
			t.Errorf("%s: with its own checkpoint: %v", what, err)
		}
	}
}

// TestCheckpointsOfAnotherBranch puts the checkpoint of a branch in place that left the
// ledger at some block, of every size from there on; and honest ones, which go on.
func TestCheckpointsOfAnotherBranch(t *testing.T) {
	g := newGenuine(t, ordinary())
	for at := range uint64(13) {
		for covered := at + 1; covered <= 13; covered++ {
			if left(int(at + covered)) {
				continue
			}
			f := branched(ordinary(), at)
			f.covered = covered
			m := f.make(t)
			what := fmt.Sprintf("a checkpoint of %d blocks, of a branch from block %d on", covered, at)
			im := g.with(headName, m.image[headName])
			undecided(t, what, im)
			undecided(t, what+", no edge", im.without(edgeName))
			undecided(t, what+", its edge", im.with(edgeName, m.image[edgeName]))
			if covered == at+1 {
				f := ordinary()
				f.covered = covered
				m := f.make(t)
				g.goesOn(t, fmt.Sprintf("an honest checkpoint of %d blocks", covered), g.with(headName, m.image[headName]).with(edgeName, m.image[edgeName]))
				g.goesOn(t, fmt.Sprintf("an honest checkpoint of %d blocks, no edge", covered), g.with(headName, m.image[headName]).without(edgeName))
			}
		}
	}
	// One that ends in what was pruned says nothing, and none is written so.
	f := ordinary()
	f.kept = 2
	pruned := newGenuine(t, f)
	for covered := uint64(1); covered < 6; covered++ {
		f := ordinary()
		f.covered = covered
		undecided(t, fmt.Sprintf("a checkpoint of %d blocks, which were pruned", covered), pruned.with(headName, f.make(t).image[headName]))
	}
}

// TestBeyondAfterAnAdoption has a decision beyond the checkpoint begin in any state:
// where a constitution was adopted since the last one, in the file before too, or where
// that is not known any more, an append goes on behind it, as verification does.
func TestBeyondAfterAnAdoption(t *testing.T) {
	two := func(from, to string) *Decision {
		d := decision(from, to)
		d.Constitution = digest("two")
		return d
	}
	adopted := &Constitution{digest("two"), "agent", "2"}
	taken := map[bool]int{}
	for i, c := range []struct {
		before, open []Entry // of the file before, and of the open one
		size         uint64  // that stands, where all files are kept
	}{
		{[]Entry{adopted}, []Entry{&Note{"n", "d"}, two("anywhere", "z")}, 11},
		{[]Entry{adopted}, []Entry{&Note{"n", "d"}, two("b", "z")}, 11},
		{[]Entry{adopted}, []Entry{two("anywhere", "z"), two("z", "y")}, 11},
		{[]Entry{adopted}, []Entry{two("anywhere", "z"), two("elsewhere", "y")}, 10},
		{[]Entry{adopted, two("anywhere", "y")}, []Entry{&Note{"n", "d"}, two("y", "z")}, 12},
		{[]Entry{adopted, two("anywhere", "y")}, []Entry{&Note{"n", "d"}, two("anywhere", "z")}, 11},
		{[]Entry{&Note{"n", "d"}}, []Entry{adopted, two("anywhere", "z")}, 11},
	} {
		for kept := 1; kept <= 4; kept++ {
			opener := uint64(7 + len(c.before))
			for covered := opener; covered <= opener+3; covered++ {
				f := ordinary()
				f.files[2], f.files[3], f.kept, f.covered = c.before, c.open, kept, covered
				m := f.make(t)
				whole, err := verifyImage(t, m.image)
				if err != nil {
					// What does not stand is wrong where the checkpoint has it.
					if covered <= c.size {
						t.Errorf("case %d, %d files, %d blocks: %v", i, kept, covered, err)
					}
					continue
				}
				if kept == 4 && whole.Size != c.size {
					t.Errorf("case %d: %d blocks stand, of %d", i, whole.Size, c.size)
				}
				for _, im := range []image{m.image, m.without(edgeName)} {
					l := ledgerOn(im.disk(t), 0)
					b, err := appendNote(l, "d")
					if err != nil || b.Seq != whole.Size || b.Prev != m.hashes[whole.Size-1] {
						t.Errorf("case %d, %d files, %d blocks: %d stand, and the next is %+v, %v", i, kept, covered, whole.Size, b, err)
						continue
					}
					taken[whole.Torn > 0]++
					if r := verify(t, l); r.Size != whole.Size+1 || r.State.State != whole.State.State {
						t.Errorf("case %d, %d files, %d blocks: %+v", i, kept, covered, r)
					}
				}
			}
		}
	}
	if taken[true] < 5 || taken[false] < 20 {
		t.Errorf("%v", taken)
	}
}

// TestAnAdoptionThatCannotBeRead has each call fail that reads the file before, in which
// the last decision is: no other is recorded that does not begin where it ended, as none
// is where nothing fails.
func TestAnAdoptionThatCannotBeRead(t *testing.T) {
	f := ordinary()
	f.files[2], f.files[3] = []Entry{decision("b", "c")}, []Entry{&Note{"n", "d"}}
	m := f.make(t)
	for _, im := range []image{m.image, m.without(edgeName)} {
		for n, struck := 1, true; struck; n++ {
			disk := crashfs.New(func(int) int { return 0 })
			im.put(t, disk.Process(nil))
			a := &armed{strike: strikes["EIO"], n: n}
			b, err := ledgerOn(disk.Process(a.fault), 0).Append(func(State) (Entry, error) { return decision("anywhere", "z"), nil })
			if struck = a.hit != nil; b != nil || err == nil {
				t.Errorf("where %v fails, it is recorded: %+v", a.hit, b)
			}
			if _, err := ledgerOn(disk.Process(nil), 0).Verify(t.Context(), nil); err != nil {
				t.Errorf("where %v fails: %v", a.hit, err)
			}
		}
	}
}

// TestACopyWhereTheOpenFileCannotBeRead has each call fail while verifying beside a copy
// of the open file, of a close that was cut off: nobody tampered.
func TestACopyWhereTheOpenFileCannotBeRead(t *testing.T) {
	f := ordinary()
	f.files = f.files[:2]
	m := f.make(t)
	im := m.with(filepath.Base(archiveName(activeName[:len(activeName)-len(".jsonl")], 3, 4)), strings.Join(newGenuine(t, f).lines[1][:2], ""))
	for n, struck := 1, true; struck; n++ {
		disk := crashfs.New(func(int) int { return 0 })
		im.put(t, disk.Process(nil))
		a := &armed{strike: strikes["EIO"], n: n}
		r, err := ledgerOn(disk.Process(a.fault), 0).Verify(t.Context(), nil)
		if struck = a.hit != nil; fault.CodeOf(err) == fault.LedgerTampered || err == nil && r.Size != 6 {
			t.Errorf("where %v fails: %+v, %v", a.hit, r, err)
		}
		if !struck && err != nil {
			t.Error(err)
		}
	}
}
