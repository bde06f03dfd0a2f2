package ledger

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// recovered recovers files, and makes sure that nothing of them is lost: what
// does not stand in place is in the folder aside, byte for byte.
func recovered(t *testing.T, im image, what string) (*Recovered, image, *Ledger) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	for name, data := range im {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fsys := private.OS()
	l := newLedger(t, dir, 0)
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
		if i%7 != 0 {
			continue // each takes some ten flushes
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
