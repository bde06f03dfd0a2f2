package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
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
		for _, name := range []string{"constitutional_ledger.x-y.jsonl", "constitutional_ledger.1.jsonl", "constitutional_ledger.torn-20261123T120000.000000Z.jsonl", "constitutional_ledger.01-02.jsonl", "other.0-2.jsonl"} {
			if _, err := verifyImage(t, g.with(name, "x")); err != nil {
				t.Errorf("beside %s: %v", name, err)
			}
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

// TestKeys takes the key away, and puts others in its place.
func TestKeys(t *testing.T) {
	keyFileOf := func(key ed25519.PrivateKey, previous ...ed25519.PrivateKey) string {
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
	f := ordinary()
	g := newGenuine(t, f)
	good := keyFileOf(f.key)
	for what, im := range map[string]image{
		"no key": g.without(keyName), "an empty key": g.with(keyName, ""), "garbage": g.with(keyName, "garbage"),
		"a short seed":     g.with(keyName, strings.Replace(good, f.keySeed()[:8], "", 1)),
		"a member more":    g.with(keyName, strings.Replace(good, `"v"`, `"w": 1, "v"`, 1)),
		"another key":      g.with(keyName, keyFileOf(keyFrom("other"))),
		"its successor":    g.with(keyName, keyFileOf(keyFrom("other"), f.key)), // that no block introduces
		"no key, archives": g.without(keyName).without(activeName),
	} {
		fsys := im.disk(t)
		l := ledgerOn(fsys, 0)
		_, err := l.Verify(t.Context(), nil)
		if code := fault.CodeOf(err); code != fault.LedgerKeyInvalid && code != fault.LedgerTampered {
			t.Errorf("%s: %v", what, err)
		}
		_, err = appendNote(l, "d")
		if code := fault.CodeOf(err); code != fault.LedgerKeyInvalid && code != fault.LedgerTampered {
			t.Errorf("%s: appended, %v", what, err)
		}
		if !maps.Equal(take(t, fsys, modelHome), im) {
			t.Errorf("%s: the files were changed", what)
		}
	}
	_, err := verifyImage(t, g.with(keyName, strings.Replace(good, `"v": 1`, `"v": 2`, 1)))
	if fault.CodeOf(err) != fault.HomeTooNew {
		t.Error(err)
	}
}

func (f *forged) keySeed() string { return base64.RawURLEncoding.EncodeToString(f.key.Seed()) }

// TestARetiredKeySignsNothing has a key that was rotated away sign a block
// beyond the head: it is torn, for an append as for verification.
func TestARetiredKeySignsNothing(t *testing.T) {
	f := rotated()
	f.covered = 12
	m := f.make(t)
	last := *m.blocks[12]
	last.KeyID = keyID(f.key.Public().(ed25519.PublicKey))
	line, _ := last.sign(f.key)
	content := m.image[activeName]
	im := m.with(activeName, content[:strings.LastIndexByte(content[:len(content)-1], '\n')+1]+string(line)+"\n")
	l := ledgerOn(im.disk(t), 0)
	if r := verify(t, l); r.Size != 12 || r.Torn != len(line)+1 {
		t.Errorf("%+v", r)
	}
	if b, err := appendNote(l, "d"); err != nil || b.Seq != 12 {
		t.Errorf("%+v, %v", b, err)
	}
	verify(t, l)
}

// TestWhatVerificationRefusesIsNotAppended offers entries that no ledger holds.
func TestWhatVerificationRefusesIsNotAppended(t *testing.T) {
	change := func(f func(d *Decision)) Entry {
		d := decision("b", "d")
		f(d)
		return d
	}
	for what, e := range map[string]Entry{
		"another constitution's verdict": change(func(d *Decision) { d.Constitution = digest("another") }),
		"a verdict in another state":     change(func(d *Decision) { d.From = "x" }),
		"a long verdict":                 change(func(d *Decision) { d.Verdict = strings.Repeat("x", maxText+1) }),
		"bad UTF-8 in a payload":         change(func(d *Decision) { d.Action.Payload = "\xff" }),
		"a line that is too long":        change(func(d *Decision) { d.Action.Payload = strings.Repeat("x", maxLine) }),
		"an action that has no digest":   change(func(d *Decision) { d.Action.Digest = "x" }),
		"a constitution in capitals":     &Constitution{Digest: strings.ToUpper(digest("two"))},
		"a long constitution":            &Constitution{Digest: digest("two"), Name: strings.Repeat("x", maxText+1)},
		"an opener":                      &Segment{Size: 6, Tree: []Hash{{1}, {2}}, Constitution: digest("one"), State: "b"},
		"a rotation that nobody took":    &KeyRotation{NewKey: keyFrom("x").Public().(ed25519.PublicKey)},
		"a long name":                    &Note{"n", strings.Repeat("x", maxText+1)},
		"bad UTF-8":                      &Note{"n", "\xff"},
		"a number that is too large":     &Dropped{From: 1 << 60},
		"a long reason":                  &Recovery{strings.Repeat("x", maxText+1)},
	} {
		t.Run(what, func(t *testing.T) {
			f := ordinary()
			f.files = f.files[:2]
			m := f.make(t)
			fsys := m.image.disk(t)
			l := ledgerOn(fsys, 0)
			_, err := l.Append(func(State) (Entry, error) { return e, nil })
			if fault.CodeOf(err) != fault.LedgerFailed {
				t.Errorf("%v", err)
			}
			if err != nil && !maps.Equal(take(t, fsys, modelHome), m.image) {
				t.Error("the files were changed")
			}
			if _, err := l.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
			if b, err := appendNote(l, "d"); err != nil || b.Seq != 6 {
				t.Errorf("and then: %+v, %v", b, err)
			}
		})
	}
}

// TestTheLongestLine appends a block of exactly the length that a line may have.
func TestTheLongestLine(t *testing.T) {
	fsys := image{}.disk(t)
	l := ledgerOn(fsys, 0)
	adopt(t, l)
	payload := func(n int) Entry {
		d := decision("a", "a")
		d.Constitution, d.Action.Payload = digest("constitution"), strings.Repeat("x", n)
		return d
	}
	b, err := l.Append(func(State) (Entry, error) { return payload(1), nil })
	if err != nil {
		t.Fatal(err)
	}
	line, _ := b.sign(keyFrom("any"))
	room := maxLine - len(line)
	for more, ok := range map[int]bool{0: true, 1: false} {
		b, err := l.Append(func(State) (Entry, error) { return payload(1 + room + more), nil })
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", maxLine+more, err)
		}
		if ok && b != nil {
			if line, _ := b.sign(keyFrom("any")); len(line) != maxLine {
				t.Errorf("%d bytes", len(line))
			}
		}
	}
	if r := verify(t, l); r.Size != 4 {
		t.Errorf("%+v", r)
	}
	verify(t, ledgerOn(fsys, 0))
	// A longer one is none, whoever signed it.
	f := ordinary()
	f.files[3] = append(f.files[3], &Recovery{strings.Repeat("x", maxText)}, &Decision{
		Action: Action{Digest: digest("x"), Payload: strings.Repeat("x", maxLine)}, Constitution: digest("two"),
	})
	g := newGenuine(t, f)
	g.refused(t, "a longer line", g.image)
	for _, e := range []Entry{&Recovery{strings.Repeat("x", maxText+1)}, &Constitution{digest("two"), "agent", strings.Repeat("x", maxText+1)}} {
		f := ordinary()
		f.files[3] = append(f.files[3], e)
		g := newGenuine(t, f)
		g.refused(t, "a longer text", g.image)
	}
}
