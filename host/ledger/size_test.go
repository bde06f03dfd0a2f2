package ledger

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
)

// TestAFileThatIsTooLong has an open file of 500 MB, all but its beginning a hole: it is
// refused with little memory, and recovering it moves it aside.
func TestAFileThatIsTooLong(t *testing.T) {
	for what, segment := range map[string]int64{"the only file": 0, "behind closed files": 2 << 10} {
		dir := t.TempDir()
		l := newLedger(t, dir, segment)
		fill(t, l, 12)
		path := filepath.Join(dir, activeName)
		if err := os.Truncate(path, 500<<20); err != nil {
			t.Fatal(err)
		}
		for name, ask := range map[string]func(l *Ledger) error{
			"append": func(l *Ledger) error {
				_, err := l.Append(func(State) (Entry, error) { t.Error("it is decided"); return nil, nil })
				return err
			},
			"verify": func(l *Ledger) error { _, err := l.Verify(t.Context(), nil); return err },
			"read": func(l *Ledger) error {
				_, _, err := handedOut(t, l, 12)
				return err
			},
			"export": func(l *Ledger) error {
				_, err := l.Export(t.Context(), filepath.Join(t.TempDir(), "out"), nil)
				return err
			},
		} {
			for _, edge := range []bool{true, false} {
				if !edge {
					os.Remove(filepath.Join(dir, edgeName))
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := ask(newLedger(t, dir, segment))
				runtime.ReadMemStats(&after)
				if fault.CodeOf(err) != fault.LedgerTampered {
					t.Errorf("%s: %s: %v", what, name, err)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
					t.Errorf("%s: %s took %d MB", what, name, n>>20)
				}
				if info, err := os.Stat(path); err != nil || info.Size() != 500<<20 {
					t.Fatalf("%s: %s changed it: %v", what, name, err)
				}
			}
		}
		l = newLedger(t, dir, segment)
		r, err := l.Recover(t.Context())
		if err != nil {
			t.Errorf("%s: recovering it: %v", what, err)
			continue
		}
		if info, err := os.Stat(filepath.Join(r.Aside, activeName)); err != nil || info.Size() != 500<<20 || (r.Kept > 0) != (segment > 0) {
			t.Errorf("%s: %d blocks are kept, and aside is %v, %v", what, r.Kept, info, err)
		}
		if _, err := appendNote(l, "d"); err != nil {
			t.Errorf("%s: and then: %v", what, err)
		}
		verify(t, l)
	}
}

// TestNamesThatAreNone has files beside the ledger's that are called nearly as closed
// ones are: they do not count, and are left alone while files are closed and go.
func TestNamesThatAreNone(t *testing.T) {
	for _, numbers := range []string{"18446744073709551615-0", "5-2", "1-0", "0-18446744073709551616", "-1-2", "0-+2", "0--2", "0x0-0x2", "0-2 "} {
		name := "constitutional_ledger." + numbers + ".jsonl"
		g := newGenuine(t, ordinary())
		fsys := g.with(name, "x").disk(t)
		l := ledgerOn(fsys, 1)
		for range 5 {
			if _, err := appendNote(l, "d"); err != nil {
				t.Fatalf("beside %s: %v", name, err)
			}
			verify(t, l)
		}
		archives, err := l.archives()
		if err != nil || len(archives) != maxArchives || take(t, fsys, modelHome)[name] != "x" {
			t.Errorf("beside %s: %v, %v", name, archives, err)
		}
	}
}

// TestNoOpenFile takes the open file away, beside a checkpoint that ends before it, with
// it, or behind it: that is told, and recovering it goes on behind the closed files.
func TestNoOpenFile(t *testing.T) {
	for covered := uint64(3); covered <= 13; covered++ {
		f := ordinary()
		f.covered = covered
		g := newGenuine(t, f)
		what := fmt.Sprintf("a checkpoint of %d blocks", covered)
		im := g.without(activeName)
		undecided(t, what, im)
		undecided(t, what+", no edge", im.without(edgeName))
		if _, err := verifyImage(t, im); err == nil || !strings.Contains(err.Error(), "9") {
			t.Errorf("%s: %v", what, err)
		}
		r, after, l := recovered(t, im, what)
		if r == nil {
			continue
		}
		if r.Kept != 9 {
			t.Errorf("%s: %d are kept", what, r.Kept)
		}
		g.rest(t, what, r, after, l)
	}
	// Of a ledger that has no other file nothing is left: another begins.
	g := newGenuine(t, short(1))
	im := g.without(activeName)
	undecided(t, "the only file", im)
	r, _, l := recovered(t, im, "the only file")
	if r == nil || r.Kept != 0 || r.Block.LedgerID == short(1).id {
		t.Errorf("the only file: %+v", r)
	} else {
		verify(t, l)
	}
	if _, err := ledgerOn(image{}.disk(t), 0).Recover(t.Context()); fault.CodeOf(err) != fault.LedgerNotFound {
		t.Errorf("nothing: %v", err)
	}
	if fsys := (image{}).disk(t); !maps.Equal(take(t, fsys, modelHome), image{}) {
		t.Error("something is there")
	}
}

// TestWhatWaitsIsTooLong has a pending file that is longer than any that was written: it is
// not read, is told of, and one recovery mends it, also where a block is wrong as well.
func TestWhatWaitsIsTooLong(t *testing.T) {
	for what, damage := range map[string]bool{"alone": false, "and a damaged block": true} {
		dir := t.TempDir()
		l := newLedger(t, dir, 0)
		fill(t, l, 3)
		path := pathsIn(dir).Pending
		for _, err := range []error{os.WriteFile(path, nil, 0o600), os.Truncate(path, maxPendingFile+1)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		size := uint64(5)
		if damage {
			active := filepath.Join(dir, activeName)
			data, err := os.ReadFile(active)
			if err == nil {
				err = os.WriteFile(active, bytes.Replace(data, []byte(`"to":"state-2"`), []byte(`"to":"state-3"`), 1), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			size--
		}
		for name, ask := range map[string]func() error{
			"verify": func() error { _, err := l.Verify(t.Context(), nil); return err },
			"read":   func() error { _, _, err := l.Read(0); return err },
			"export": func() error { _, err := l.Export(t.Context(), filepath.Join(t.TempDir(), "out"), nil); return err },
			"rotate": func() error { _, err := l.RotateKey(t.Context()); return err },
			"trim":   func() error { return l.TrimPending(1) },
		} {
			if err := ask(); fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("%s: %s: %v", what, name, err)
			}
		}
		r, err := l.Recover(t.Context())
		if err != nil || r.Kept != size {
			t.Errorf("%s: %+v, %v", what, r, err)
			continue
		}
		if info, err := os.Stat(filepath.Join(r.Aside, pendingName)); err != nil || info.Size() != maxPendingFile+1 {
			t.Errorf("%s: aside is %v, %v", what, info, err)
		}
		if r := verify(t, l); r.Size != size+1 {
			t.Errorf("%s: %+v", what, r)
		}
		if _, err := l.Recover(t.Context()); fault.CodeOf(err) != fault.LedgerNotFound {
			t.Errorf("%s: recovering it once more: %v", what, err)
		}
	}
}
