package ledger

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// keyFileOf is a key file.
func keyFileOf(t testing.TB, key ed25519.PrivateKey, previous ...ed25519.PrivateKey) string {
	t.Helper()
	f := keyFile{V: 1, Seed: base64.RawURLEncoding.EncodeToString(key.Seed()), MadeAt: noon}
	for _, p := range previous {
		f.Previous = append(f.Previous, base64.RawURLEncoding.EncodeToString(p.Public().(ed25519.PublicKey)))
	}
	data, err := private.FormatJSON(&f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRotateKeyRefuses asks for another key where there is none, or where the ledger is
// not whole: nothing is changed, and the key stays.
func TestRotateKeyRefuses(t *testing.T) {
	g := newGenuine(t, ordinary())
	edited := strings.Replace(g.image[g.names[1]], `"detail":"d"`, `"detail":"e"`, 1)
	for what, c := range map[string]struct {
		image
		code fault.Code
	}{
		"nothing":              {image{}, fault.LedgerNotFound},
		"a key":                {image{keyName: g.image[keyName]}, fault.LedgerNotFound},
		"a closed file":        {g.with(g.names[1], edited), fault.LedgerTampered},
		"a file is gone":       {g.without(g.names[1]), fault.LedgerTampered},
		"the oldest is gone":   {g.without(g.names[0]), fault.LedgerTampered},
		"the open file":        {g.with(activeName, g.lines[3][0]+"x"+g.lines[3][1]), fault.LedgerTampered},
		"no checkpoint":        {g.without(headName), fault.LedgerTampered},
		"a receipt":            {g.with(receiptsName, attest(t, ordinary().id, 5, Hash{1})), fault.LedgerTampered},
		"what waits":           {g.with(pendingName, "x\n"), fault.LedgerTampered},
		"another home's key":   {g.with(keyName, keyFileOf(t, keyFrom("other"))), fault.LedgerTampered},
		"a key that is damage": {g.with(keyName, "x"), fault.LedgerKeyInvalid},
	} {
		fsys := c.image.disk(t)
		b, err := ledgerOn(fsys, 0).RotateKey(t.Context())
		if b != nil || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %+v, %v", what, b, err)
		}
		if !maps.Equal(take(t, fsys, modelHome), c.image) {
			t.Errorf("%s: the files were changed", what)
		}
		if _, err := fsys.Lstat(filepath.Join(modelHome, lockName)); len(c.image) < 2 && !notThere(err) {
			t.Errorf("%s: asking left a lock: %v", what, err)
		}
	}
}

// TestTheLastKey rotates until there can be no other key: it is refused while the key
// file can still be read, and the ledger goes on with the last one.
func TestTheLastKey(t *testing.T) {
	f := ordinary()
	var previous []ed25519.PrivateKey
	for range maxKeysEver - 2 {
		previous = append(previous, keyFrom("previous"))
	}
	fsys := f.make(t).with(keyName, keyFileOf(t, f.key, previous...)).disk(t)
	l := ledgerOn(fsys, 0)
	for i := range 4 {
		before := take(t, fsys, modelHome)
		b, err := l.RotateKey(t.Context())
		if may := i < 2; may != (err == nil) || may != (b != nil) {
			t.Fatalf("rotation %d: %+v, %v", i, b, err)
		}
		if err != nil && (fault.CodeOf(err) != fault.LedgerFailed || !maps.Equal(before, take(t, fsys, modelHome))) {
			t.Errorf("rotation %d: the files were changed, %v", i, err)
		}
		for _, l := range []*Ledger{l, ledgerOn(fsys, 0)} {
			if _, err := appendNote(l, "d"); err != nil {
				t.Fatalf("behind rotation %d: %v", i, err)
			}
			verify(t, l)
		}
	}
	if n := len(mustKeys(t, l).file.Previous); n != maxKeysEver {
		t.Errorf("%d keys before", n)
	}
}

// TestRecoverWithAnotherKey has a key that is not the one that signed: the blocks may be
// whole, and nothing is given up for it.
func TestRecoverWithAnotherKey(t *testing.T) {
	one, two := ordinary(), rotated()
	g, r := newGenuine(t, one), newGenuine(t, two)
	late := rotated() // in the last file
	late.files[1], late.files[3] = []Entry{&Note{"n", "d"}, decision("a", "b")}, []Entry{&Note{"n", "d"}, rotated().files[1][0], &Note{"n", "d"}}
	last := newGenuine(t, late)
	atEnd := rotated()
	atEnd.files = [][]Entry{atEnd.files[0], atEnd.files[1][:1]}
	end := newGenuine(t, atEnd)
	var next ed25519.PrivateKey
	for _, key := range two.other {
		next = key
	}
	for what, im := range map[string]image{
		"another home's key":               g.with(keyName, keyFileOf(t, keyFrom("other"))),
		"another home's, that rotated":     g.with(keyName, keyFileOf(t, keyFrom("other"), keyFrom("more"))),
		"another home's, behind two keys":  r.with(keyName, keyFileOf(t, keyFrom("other"))),
		"from before a rotation":           r.with(keyName, keyFileOf(t, two.key)),
		"from before one in the last file": last.with(keyName, keyFileOf(t, late.key)),
		"from before one at the end":       end.with(keyName, keyFileOf(t, atEnd.key)),
		"the next alone":                   r.with(keyName, keyFileOf(t, next)),
	} {
		fsys := moving{im.disk(t)}
		l := ledgerOn(fsys, 0)
		got, err := l.Recover(t.Context())
		if got != nil || fault.CodeOf(err) != fault.LedgerKeyInvalid {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if !maps.Equal(take(t, fsys, modelHome), im) {
			t.Errorf("%s: the files were changed", what)
		}
		if what == "the next alone" {
			continue // which goes on, and does not look at the blocks before
		}
		if b, err := appendNote(l, "d"); err == nil {
			t.Errorf("%s: appended %+v", what, b)
		}
	}
}

// halfRotated is a ledger on a real disk whose last block rotates to a key that the key
// file has for the next one still.
func halfRotated(t *testing.T, dir string) *Ledger {
	t.Helper()
	l := newLedger(t, dir, 0)
	fill(t, l, 3)
	if _, err := l.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 1)
	boom, writes := errors.New("boom"), 0
	broken := Open(Options{Paths: l.paths, FS: renaming{private.OS(), func(to string) error {
		if to == l.paths.Key {
			if writes++; writes == 2 {
				return boom
			}
		}
		return nil
	}}})
	if _, err := broken.RotateKey(t.Context()); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	return newLedger(t, dir, 0)
}

// renaming is a file system of which renaming may fail.
type renaming struct {
	private.FS
	fails func(to string) error
}

func (r renaming) Rename(from, to string) error {
	if err := r.fails(to); err != nil {
		return err
	}
	return r.FS.Rename(from, to)
}

// TestExportHasAllKeys exports a ledger whose last block rotates to a key that the key
// file has for the next one still: every block and the checkpoint are by a key in the
// list, which ends with the one that goes on.
func TestExportHasAllKeys(t *testing.T) {
	dir := t.TempDir()
	l := halfRotated(t, dir)
	out := filepath.Join(t.TempDir(), "out")
	if _, err := l.Export(t.Context(), out, nil); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(out, "keys.txt"))
	if err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(strings.TrimSuffix(string(list), "\n"), "\n")
	if len(keys) != 3 {
		t.Errorf("%d keys: %q", len(keys), keys)
	}
	data, err := os.ReadFile(filepath.Join(out, activeName))
	if err != nil {
		t.Fatal(err)
	}
	public, lastSigner := map[string]string{}, ""
	for _, k := range mustKeys(t, l).public {
		public[keyID(k)] = VerifierKey(l.ID(), k)
	}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		b, _, ok := parse(s.Bytes())
		if !ok || !strings.Contains(string(list), public[b.KeyID]+"\n") {
			t.Errorf("%q is signed by a key that is not exported", s.Text())
		}
		lastSigner = b.successor()
	}
	if keys[len(keys)-1] != public[lastSigner] {
		t.Errorf("the last key is %s, and %s goes on", keys[len(keys)-1], public[lastSigner])
	}
	// The list is as long when the rotation has come to its end.
	if b, err := appendNote(l, "d"); err != nil || b.KeyID != lastSigner {
		t.Errorf("%+v, %v", b, err)
	}
	again := filepath.Join(t.TempDir(), "out")
	if _, err := l.Export(t.Context(), again, nil); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(filepath.Join(again, "keys.txt")); err != nil || !bytes.Equal(now, list) {
		t.Errorf("%q became %q, %v", list, now, err)
	}
}

// inTheMiddle is the key file of a rotation whose block is there.
func inTheMiddle(t testing.TB, old, next ed25519.PrivateKey) string {
	t.Helper()
	data, err := private.FormatJSON(&keyFile{
		V: 1, Seed: base64.RawURLEncoding.EncodeToString(old.Seed()), NextSeed: base64.RawURLEncoding.EncodeToString(next.Seed()), MadeAt: noon,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestTheKeyOfACheckpoint has the key file be the one from the middle of a rotation, as
// the power brings it back, where the rotation is the last block, or far behind it. What
// is done then signs the checkpoint with the key of the last block: also an append that
// is refused, and a recovery.
func TestTheKeyOfACheckpoint(t *testing.T) {
	next := keyFrom("next")
	public := next.Public().(ed25519.PublicKey)
	rotation, n := &KeyRotation{NewKey: public}, &Note{"n", "d"}
	for what, files := range map[string][][]Entry{
		"the last block":                    {{n, rotation}},
		"one block before":                  {{rotation, n}},
		"in a closed file":                  {{n, rotation}, {}},
		"in a closed file, one block ahead": {{n, rotation}, {n}},
		"far back":                          {{rotation}, {n}, {n, n}},
	} {
		f := ordinary()
		f.files, f.other = files, map[string]ed25519.PrivateKey{string(public): next}
		m := f.make(t)
		im := m.image.with(keyName, inTheMiddle(t, f.key, next))
		size := uint64(len(m.blocks))
		for deed, do := range map[string]func(l *Ledger) error{
			"a refused append": func(l *Ledger) error {
				no := errors.New("no")
				if _, err := l.Append(func(State) (Entry, error) { return nil, no }); err != no {
					return err
				}
				return nil
			},
			"an append":          func(l *Ledger) error { _, err := appendNote(l, "d"); return err },
			"a new file":         func(l *Ledger) error { l.maxSegment = 1; _, err := appendNote(l, "d"); return err },
			"another rotation":   func(l *Ledger) error { _, err := l.RotateKey(t.Context()); return err },
			"a recovery, or not": func(l *Ledger) error { _, err := l.Recover(t.Context()); return err },
		} {
			for state, im := range map[string]image{"": im, ", a commit was cut off": im.with(lockName, "c"), ", no checkpoint": im.without(headName)} {
				what, recovers := what+": "+deed+state, deed == "a recovery, or not"
				if lost := state == ", no checkpoint"; lost && !recovers {
					continue
				}
				fsys := moving{im.disk(t)}
				err := do(ledgerOn(fsys, 0))
				if whole := state != ", no checkpoint"; recovers && whole {
					if fault.CodeOf(err) != fault.LedgerNotFound {
						t.Errorf("%s: %v", what, err)
					}
				} else if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				r, err := ledgerOn(fsys, 0).Verify(t.Context(), nil)
				if err != nil || r.Size < size || r.Head != r.Size {
					t.Errorf("%s: then %+v, %v", what, r, err)
					continue
				}
				if b, err := appendNote(ledgerOn(fsys, 0), "d"); err != nil || b.Seq != r.Size {
					t.Errorf("%s: the next block is %+v, %v", what, b, err)
				}
				verify(t, ledgerOn(fsys, 0))
			}
		}
	}
}

// TestRotateKeyTwice has a rotation fail, and another follow, in which the power goes: the
// key of each block that may be on disk is on disk before it, also where the first one
// left its key in a file whose flush failed.
func TestRotateKeyTwice(t *testing.T) {
	t.Parallel()
	struck, ends := 0, [2]int{}
	fails := map[string]func(crashfs.Call) *crashfs.Fault{"kill": strikes["kill"].fault, "EIO": strikes["EIO"].fault}
	for kind, fail := range fails {
		ops := ""
		if kind == "EIO" {
			ops = writing
		}
		for first, more := 1, true; more; first++ {
			more = false
			for second := 1 + first%3; ; second += 3 {
				if left(second / 3) {
					if second > 60 {
						break
					}
					more = more || first < 40
					continue
				}
				rnd := rand.New(rand.NewPCG(uint64(first), uint64(second)))
				disk := crashfs.New(rnd.IntN)
				setup := disk.Process(nil)
				if err := private.MkdirAllOn(setup, modelHome); err != nil {
					t.Fatal(err)
				}
				r := record{}
				appendOne(t, ledgerOn(setup, 0), r)
				a := &armed{strike: strike{ops, 1, fail}, n: first}
				process := disk.Process(a.fault)
				b, err := ledgerOn(process, 0).RotateKey(t.Context())
				r.takes(t, b, err)
				process.Kill()
				if a.hit == nil {
					break
				}
				more = true
				cut := &armed{strike: strike{writing, 1, strikes["power"].fault}, n: second}
				b, err = ledgerOn(disk.Process(cut.fault), 0).RotateKey(t.Context())
				r.takes(t, b, err)
				if cut.hit == nil {
					break
				}
				struck++
				disk.PowerCut()
				when := fmt.Sprintf("%s at call %d (%v), power at call %d (%v)", kind, first, a.hit, second, cut.hit)
				l := ledgerOn(disk.Process(nil), 0)
				r.holds(t, l, when)
				if b, err = appendNote(l, "d"); err != nil {
					t.Fatalf("%s: the next append: %v", when, err)
				}
				ends[min(1, len(mustKeys(t, l).file.Previous))]++
				r.takes(t, b, err)
				r.holds(t, l, when)
			}
		}
	}
	if !underRace() && (struck < 200 || ends[0] == 0 || ends[1] == 0) {
		t.Errorf("%d pairs of calls were struck; the keys were changed in %v", struck, ends)
	}
}
