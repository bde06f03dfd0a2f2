package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// FuzzParse reads any line. What is accepted is what is written for it, with the
// signature at its place, and holds no more than a block may; signed anew it is
// accepted again.
func FuzzParse(f *testing.F) {
	key := keyFrom("fuzz")
	for _, b := range everyKind() {
		line, _ := b.sign(key)
		f.Add(line)
	}
	for _, of := range []func() *forged{ordinary, rotated} {
		m := of().make(f)
		for _, name := range m.names {
			for line := range bytes.Lines([]byte(m.image[name])) {
				f.Add(bytes.TrimSuffix(line, []byte("\n")))
			}
		}
	}
	f.Add([]byte(`{"kind":"note","seq":1e0,"sig":"00","v":1.0}`))
	f.Add([]byte(`{"seq":7,"sig":"` + strings.Repeat("0", 128) + `","state":",\"seq\":9","v":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		b, unsigned, ok := parse(line)
		hash, isLeaf := leaf(line)
		if !bytes.Equal(before, line) {
			t.Fatal("the line was changed")
		}
		if !ok {
			return
		}
		if !isLeaf || hash != hashBlock(unsigned, b.Sig[:]) {
			t.Fatalf("as a leaf it is %v, %v", hash, isLeaf)
		}
		member := fmt.Sprintf(`,"sig":"%x"`, b.Sig[:])
		if again := b.appendUnsigned(nil, false); !bytes.Equal(again, unsigned) {
			t.Fatalf("written as %s, and as %s", unsigned, again)
		}
		if !bytes.Equal(insertSig(nil, unsigned, b.Sig[:]), line) {
			t.Fatalf("it is written otherwise: %s", insertSig(nil, unsigned, b.Sig[:]))
		}
		seq := fmt.Appendf(nil, `,"seq":%d%s,"`, b.Seq, member)
		if n := bytes.Count(line, seq); n != 1 {
			t.Fatalf("the signature stands behind the number %d times", n)
		}
		if len(line) > maxLine || bytes.ContainsAny(line, "\n\r") || b.Seq > maxInt || b.Seg > maxInt {
			t.Fatalf("%d bytes, block %d of file %d", len(line), b.Seq, b.Seg)
		}
		bodies := 0
		for _, there := range []bool{b.Segment != nil, b.Constitution != nil, b.Decision != nil, b.KeyRotation != nil, b.Dropped != nil, b.Recovery != nil, b.Note != nil} {
			if there {
				bodies++
			}
		}
		if bodies != 1 {
			t.Fatalf("%d bodies", bodies)
		}
		signed, hash := b.sign(key)
		back, unsigned2, ok := parse(signed)
		if !ok || !bytes.Equal(unsigned, unsigned2) || hashOf(back) != hash || !verified(unsigned2, back.Sig[:], key.Public().(ed25519.PublicKey)) {
			t.Fatalf("signed anew it is not accepted: %s", signed)
		}
	})
}

// TestParseRefuses reads lines that say the same as good ones, in other words.
func TestParseRefuses(t *testing.T) {
	m, refused := ordinary().make(t), 0
	// These are written well, whatever stands in them.
	written := []string{"another key", "another key by id", "S plus the order", "a greater seq", "another time"}
	for _, name := range m.names {
		for line := range strings.Lines(m.image[name]) {
			for what, text := range rewritten(t, line, ordinary().key) {
				if _, _, ok := parse([]byte(text)); ok != slices.Contains(written, what) {
					t.Errorf("%s: %v: %s", what, ok, text)
				} else if !ok {
					refused++
				}
			}
		}
	}
	if refused < 400 {
		t.Errorf("only %d", refused)
	}
	public := keyFrom("next").Public().(ed25519.PublicKey)
	for what, b := range map[string]*Block{
		"a short key":       {Kind: KindKeyRotation, KeyRotation: &KeyRotation{NewKey: public[:31]}},
		"a long key":        {Kind: KindKeyRotation, KeyRotation: &KeyRotation{NewKey: append(slices.Clone(public), 0)}},
		"no key":            {Kind: KindKeyRotation, KeyRotation: &KeyRotation{}},
		"a great number":    {Kind: KindDropped, Dropped: &Dropped{From: 1 << 53}},
		"a great seq":       {Kind: KindNote, Seq: 1 << 53, Note: &Note{"n", "d"}},
		"a long tree":       {Kind: KindSegment, Segment: &Segment{Tree: make([]Hash, 65)}},
		"no kind":           {Note: &Note{"n", "d"}},
		"another kind":      {Kind: "x", Note: &Note{"n", "d"}},
		"another's body":    {Kind: KindNote, Constitution: &Constitution{"d", "n", "1"}},
		"two bodies":        {Kind: KindNote, Note: &Note{"n", "d"}, Recovery: &Recovery{"r"}},
		"no body":           {Kind: KindDecision},
		"a year too far":    {Kind: KindNote, Note: &Note{"n", "d"}, Time: noon.AddDate(9000, 0, 0)},
		"a text too long":   {Kind: KindNote, Note: &Note{"n", strings.Repeat("d", maxText+1)}},
		"a key_id too long": {Kind: KindNote, Note: &Note{"n", "d"}, KeyID: strings.Repeat("d", maxText+1)},
	} {
		line, _ := b.sign(keyFrom("x"))
		if _, _, ok := parse(line); ok {
			t.Errorf("%s: %s", what, line)
		}
	}
	good := &Block{Kind: KindKeyRotation, KeyRotation: &KeyRotation{NewKey: public}}
	line, _ := good.sign(keyFrom("x"))
	for _, text := range []string{strings.Repeat("0", 126), strings.Repeat("0", 130), strings.Repeat("0", 127) + "A"} {
		if _, _, ok := parse(bytes.Replace(line, []byte(strings.Repeat("0", 128)), []byte(text), 1)); ok {
			t.Errorf("new_sig %s", text)
		}
	}
	if _, _, ok := parse(line); !ok {
		t.Errorf("%s", line)
	}
}

// TestHeadsOfEachKey has the keys of a ledger sign its checkpoints: the one that
// signed the last block may, and the one that the last block introduces.
func TestHeadsOfEachKey(t *testing.T) {
	f := rotated()
	m := f.make(t)
	var e edge
	var next ed25519.PrivateKey
	for _, key := range f.other {
		next = key
	}
	for i, b := range m.blocks {
		prior := e.clone()
		e.push(m.hashes[i])
		for _, key := range []ed25519.PrivateKey{f.key, next} {
			id := keyID(key.Public().(ed25519.PublicKey))
			may := b.KeyID == id || b.successor() == id
			im := m.with(headName, string(formatHead(f.id, &e, key))).with(edgeName, string(formatEdge(&prior)))
			_, err := verifyImage(t, im)
			if may && err != nil || !may && fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("%d blocks, signed by %s: it may: %v; %v", e.size, id, may, err)
			}
			_, err = appendNote(ledgerOn(im.disk(t), 0), "d")
			if may && err != nil || !may && fault.CodeOf(err) != fault.LedgerTampered {
				t.Errorf("%d blocks, signed by %s: it may: %v; appending: %v", e.size, id, may, err)
			}
		}
	}
}

// FuzzHead reads any checkpoint, as it is and signed by the ledger's key. What is
// accepted is what is written for it, and from outside only what was signed.
func FuzzHead(f *testing.F) {
	of := ordinary()
	public := map[string]ed25519.PublicKey{"k": of.key.Public().(ed25519.PublicKey)}
	genuine := map[string]bool{}
	for _, covered := range []uint64{1, 5, 0} {
		of.covered = covered
		head := of.make(f).image[headName]
		genuine[head] = true
		f.Add([]byte(head))
		text, _, _ := strings.Cut(head, "\n\n")
		f.Add([]byte(text + "\n"))
	}
	for _, size := range []string{"0", "07", "+7", "9007199254740991", "9007199254740992", "18446744073709551616"} {
		f.Add([]byte("carl.camp/ledger/" + of.id + "\n" + size + "\n" + tlog.Hash{}.String() + "\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := parseHead(data, public); err == nil {
			if !genuine[string(data)] || !bytes.Equal(h.signed, data) {
				t.Fatalf("nobody signed %q", data)
			}
		} else if genuine[string(data)] {
			t.Fatalf("%q: %v", data, err)
		}
		msg, err := note.Sign(&note.Note{Text: string(data)}, newSigner(origin(of.id), of.key))
		if err != nil {
			return
		}
		h, err := parseHead(msg, public)
		if err != nil {
			return
		}
		if want := fmt.Sprintf("%s\n%d\n%s\n", origin(h.ledgerID), h.size, h.root); want != string(data) || h.ledgerID != of.id || h.size > maxInt || h.size == 0 {
			t.Fatalf("%q was read as %q", data, want)
		}
	})
}

// FuzzEdge reads any cached edge: only the one that was written is believed.
func FuzzEdge(f *testing.F) {
	var e edge
	var heads []*head
	var good [][]byte
	for n := range 12 {
		good = append(good, formatEdge(&e))
		e.push(tlog.RecordHash([]byte{byte(n)}))
		heads = append(heads, &head{size: e.size, root: e.root()})
		f.Add(good[n])
	}
	f.Add([]byte{})
	f.Add(make([]byte, 8))
	f.Add(append(make([]byte, 7), 12))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := ledgerOn(image{edgeName: string(data)}.disk(t), 0)
		for i, h := range heads {
			e, ok := l.readEdge()
			if ok {
				with := e.clone()
				with.push(tlog.RecordHash([]byte{byte(i)}))
				ok = with.root() == h.root
			}
			if ok != bytes.Equal(data, good[i]) {
				t.Fatalf("%x is the edge of %d blocks: %v", data, h.size, ok)
			}
			if ok && !bytes.Equal(formatEdge(&e), data) {
				t.Fatalf("%x was read as %x", data, formatEdge(&e))
			}
		}
	})
}

// FuzzVerifyFile puts any bytes in the place of the open file, beside a genuine
// head. What verifies has every line that the head covers; an append keeps them,
// and refuses where one is missing at the end.
func FuzzVerifyFile(f *testing.F) {
	of := short(2)
	of.files[1] = []Entry{&Note{"n", "a"}, &Note{"n", "b"}, &Note{"n", "c"}}
	of.covered = 4
	m := of.make(f)
	content := m.image[activeName]
	lines := strings.SplitAfter(content, "\n")
	covered := lines[0] + lines[1]
	f.Add([]byte(content))
	f.Add([]byte(covered))
	f.Add([]byte(covered + "{torn"))
	f.Add([]byte(covered + lines[2] + "\n" + lines[3]))
	f.Add([]byte(covered + lines[3] + lines[2]))
	f.Add([]byte(covered + lines[1]))
	f.Add([]byte(content + lines[1]))
	f.Add([]byte(lines[0]))
	f.Add([]byte(lines[1] + lines[0]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := m.with(activeName, string(data)).disk(t)
		before := take(t, fsys, modelHome)
		l := ledgerOn(fsys, 0)
		r, err := l.Verify(t.Context(), nil)
		whole := strings.HasPrefix(string(data), covered)
		if (err == nil) != whole || err != nil && fault.CodeOf(err) != fault.LedgerTampered {
			t.Fatalf("all that the head covers is there: %v; %+v, %v", whole, r, err)
		}
		blocks := 2
		for end := covered; blocks < 4 && strings.HasPrefix(string(data), end+lines[blocks]); blocks++ {
			end += lines[blocks]
		}
		if err == nil && (r.Size != uint64(2+blocks) || r.Torn != len(data)-len(strings.Join(lines[:blocks], ""))) {
			t.Fatalf("%d lines are there of %q: %+v", blocks, data, r)
		}
		b, err := appendNote(l, "d")
		after := take(t, fsys, modelHome)
		if err != nil {
			if whole || !maps.Equal(before, after) {
				t.Fatalf("%v", err)
			}
			return
		}
		r, err = l.Verify(t.Context(), nil)
		if (err == nil) != whole {
			t.Fatalf("all that the head covered was there: %v, and after an append: %+v, %v", whole, r, err)
		}
		if err == nil && (b.Seq != uint64(2+blocks) || r.Size != b.Seq+1 || r.Torn != 0) {
			t.Fatalf("%d lines were there, block %d was appended: %+v", blocks, b.Seq, r)
		}
	})
}

// TestProofs proves every block of ledgers of any size, of which any number of
// files was pruned, and holds the proofs against everything else.
func TestProofs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := ordinary()
		f.files = nil
		for range rapid.IntRange(1, 6).Draw(rt, "files") {
			f.files = append(f.files, make([]Entry, rapid.IntRange(0, 6).Draw(rt, "blocks")))
			for i := range f.files[len(f.files)-1] {
				f.files[len(f.files)-1][i] = &Note{"n", "d"}
			}
		}
		f.kept = rapid.IntRange(1, len(f.files)).Draw(rt, "kept")
		m := f.make(t)
		if all := uint64(len(m.blocks)); all > m.first+1 && rapid.Bool().Draw(rt, "beyond") {
			f.covered = m.first + 1 + rapid.Uint64Range(0, all-m.first-1).Draw(rt, "covered")
			m = f.make(t)
		}
		l := ledgerOn(m.image.disk(t), 0)
		size := uint64(len(m.blocks))
		if f.covered > 0 {
			size = f.covered
		}
		var tree edge
		for _, h := range m.hashes[:size] {
			tree.push(h)
		}
		seq := rapid.Uint64Range(0, size+1).Draw(rt, "seq")
		p, err := l.Prove(t.Context(), seq)
		if seq < m.first || seq >= size {
			if fault.CodeOf(err) != fault.LedgerNotFound {
				rt.Fatalf("block %d of %d to %d: %v", seq, m.first, size, err)
			}
			return
		}
		if err != nil {
			rt.Fatalf("block %d of %d to %d: %v", seq, m.first, size, err)
		}
		if p.Seq != seq || p.Size != size || p.Root != tree.root() || string(p.Checkpoint) != m.image[headName] ||
			p.VerifierKey != VerifierKey(f.id, f.key.Public().(ed25519.PublicKey)) || hashOf(parsed(rt, p.Line)) != m.hashes[seq] {
			rt.Fatalf("%+v", p)
		}
		for at := range int64(size) {
			for i, h := range append(m.hashes, Hash{}) {
				err := tlog.CheckRecord(p.Hashes, int64(size), p.Root, at, h)
				if right := at == int64(seq) && i == int(seq); (err == nil) != right {
					rt.Fatalf("block %d of %d: its proof is one of hash %d at %d: %v", seq, size, i, at, err)
				}
			}
		}
		var other edge
		for n, h := range append(m.hashes, Hash{}, Hash{1}) {
			if other.push(h); other.size != size && tlog.CheckRecord(p.Hashes, int64(other.size), other.root(), int64(seq), m.hashes[seq]) == nil {
				rt.Fatalf("block %d of %d: its proof is one for %d blocks", seq, size, n+1)
			}
		}
		for i := range p.Hashes {
			p.Hashes[i][5] ^= 1
			if tlog.CheckRecord(p.Hashes, int64(size), p.Root, int64(seq), m.hashes[seq]) == nil {
				rt.Fatalf("hash %d of the proof does not matter", i)
			}
			p.Hashes[i][5] ^= 1
		}
	})
}

func parsed(t failer, line []byte) *Block {
	b, _, ok := parse(line)
	if !ok {
		t.Fatalf("%s", line)
	}
	return b
}

// world is a machine with several processes that append to one ledger, and what
// an observer outside of it was answered.
type world struct {
	t       *rapid.T
	disk    *crashfs.Disk
	ledgers []*Ledger
	procs   []*crashfs.Process
	answers record
	flushes *flushes
	strikes map[string]int
	open    func(fsys private.FS) *Ledger
}

// start starts a process, with a system call at which something happens to it.
func (w *world) start() {
	kind := rapid.SampledFrom([]string{"none", "kill", "kill", "power", "EIO", "EINTR", "disk full"}).Draw(w.t, "strike")
	a := &armed{strike: strikes[kind], n: rapid.IntRange(1, 120).Draw(w.t, "at"), over: kind == "none"}
	a.count = min(a.count, 10) // then there is room again
	p := w.disk.Process(func(c crashfs.Call) *crashfs.Fault {
		f := a.fault(c)
		if f != nil {
			w.strikes[kind]++
		}
		if f != nil && f.PowerCut {
			w.flushes.powerLost()
		}
		return f
	})
	w.procs, w.ledgers = append(w.procs, p), append(w.ledgers, w.open(w.flushes.of(p)))
}

func (w *world) pick() int {
	if len(w.ledgers) == 0 {
		w.start()
	}
	return rapid.IntRange(0, len(w.ledgers)-1).Draw(w.t, "process")
}

func (w *world) kill() {
	i := w.pick()
	w.procs[i].Kill()
	w.procs, w.ledgers = append(w.procs[:i:i], w.procs[i+1:]...), append(w.ledgers[:i:i], w.ledgers[i+1:]...)
}

// TestHistories is the model test: processes at work on one ledger, each dying or
// failing at some system call, the power going, files closed and pruned; and what
// was answered is there under its number, as it was answered. No file is flushed
// again of which a flush has failed.
func TestHistories(t *testing.T) {
	t.Parallel()
	total, pruned := map[string]int{}, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{
			t: rt, disk: crashfs.New(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)).IntN),
			answers: record{}, flushes: newFlushes(), strikes: total,
			open: func(fsys private.FS) *Ledger { return ledgerOn(fsys, 2500) },
		}
		if err := private.MkdirAllOn(w.disk.Process(nil), modelHome); err != nil {
			rt.Fatal(err)
		}
		fresh := func() *Ledger { return w.open(w.flushes.of(w.disk.Process(nil))) }
		rt.Repeat(map[string]func(*rapid.T){
			"start":     func(*rapid.T) { w.start() },
			"append":    func(*rapid.T) { appendOne(rt, w.ledgers[w.pick()], w.answers) },
			"again":     func(*rapid.T) { appendTwo(rt, w.ledgers[w.pick()], w.answers) },
			"batch":     func(*rapid.T) { appendBatch(rt, w.ledgers[w.pick()], w.answers) },
			"kill":      func(*rapid.T) { w.kill() },
			"writeback": func(*rapid.T) { w.disk.WriteBack() },
			"power": func(*rapid.T) {
				w.disk.PowerCut()
				w.flushes.powerLost()
				w.ledgers, w.procs = nil, nil
			},
			"verify": func(*rapid.T) { w.answers.holds(rt, fresh(), "in between") },
		})
		for i := range w.procs {
			w.procs[i].Kill()
		}
		w.answers.holds(rt, fresh(), "at the end")
		w.disk.PowerCut()
		w.flushes.powerLost()
		w.answers.holds(rt, fresh(), "when the power had gone")
		b, err := appendNote(fresh(), "last")
		w.answers.takes(rt, b, err)
		if err != nil {
			rt.Fatal(err)
		}
		if r := w.answers.holds(rt, fresh(), "behind the last block"); r.FirstSeq > 0 {
			pruned++
		}
		if len(w.flushes.again) > 0 {
			rt.Fatalf("a flush failed, and these files were flushed again: %v", w.flushes.again)
		}
	})
	if !t.Failed() && (len(total) < 5 || pruned == 0) {
		t.Errorf("strikes %v, %d ledgers were pruned", total, pruned)
	}
}

// remote is what a machine far away has of a ledger.
type remote struct {
	has     record
	next    uint64          // that it is to have
	kept    map[uint64]bool // blocks whose receipts were said to be kept
	dropped map[uint64]bool // blocks that are owned up to as dropped
	to      uint64          // the last of them
}

// told notes what a block says that was dropped.
func (r *remote) told(b *Block) {
	if d := b.Dropped; d != nil {
		r.to = max(r.to, d.To)
		for seq := d.From; seq <= d.To; seq++ {
			r.dropped[seq] = true
		}
	}
}

// takes sends it some blocks, and keeps its receipts.
func (r *remote) takes(t *rapid.T, l *Ledger, batches, most int) {
	reader, _, err := l.Read(r.next)
	if fault.CodeOf(err) == fault.LedgerTampered {
		t.Fatalf("nobody tampered: %v", err)
	}
	if err != nil {
		return
	}
	defer reader.Close()
	for range batches {
		lines, err := reader.Next(context.Background(), most, 1<<20)
		if fault.CodeOf(err) == fault.LedgerTampered {
			t.Fatalf("nobody tampered: %v", err)
		}
		if err != nil || len(lines) == 0 {
			return
		}
		var receipts []Receipt
		for _, line := range lines {
			if hash, ok := r.has[line.Seq]; ok && hash != line.Hash {
				t.Fatalf("the remote has another block %d", line.Seq)
			}
			r.has[line.Seq], r.next = line.Hash, line.Seq+1
			r.told(parsed(t, line.Text))
			receipts = append(receipts, receiptOf(reader.LedgerID(), line.Seq, line.Hash))
		}
		refused, err := l.SaveReceipts(receipts)
		if refused > 0 {
			t.Fatalf("%d of %d receipts are refused, from block %d on", refused, len(receipts), lines[0].Seq)
		}
		for _, receipt := range receipts {
			if err == nil {
				r.kept[receipt.Seq] = true
			}
		}
	}
}

// TestForwardedHistories is the model test of a ledger that is forwarded: processes
// append, take new keys, send blocks, keep receipts and trim what waits, each dying or
// failing at some system call, and the power goes. What was answered, and what the remote
// has, is there under its number; the remote is handed out all that it is still to have,
// or is told that it was dropped.
func TestForwardedHistories(t *testing.T) {
	t.Parallel()
	total, seen := map[string]int{}, map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		far := &remote{has: record{}, kept: map[uint64]bool{}, dropped: map[uint64]bool{}}
		w := &world{
			t: rt, disk: crashfs.New(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)).IntN),
			answers: record{}, flushes: newFlushes(), strikes: total,
			open: func(fsys private.FS) *Ledger {
				l := Open(Options{Paths: pathsIn(modelHome), FS: fsys, Clock: ticking(), MaxSegment: 1800,
					Forwarded: func(string) (uint64, bool) { return far.next, true }})
				l.maxPending = 4000
				return l
			},
		}
		if err := private.MkdirAllOn(w.disk.Process(nil), modelHome); err != nil {
			rt.Fatal(err)
		}
		fresh := func() *Ledger { return w.open(w.flushes.of(w.disk.Process(nil))) }
		holds := func(when string) *Report {
			r := w.answers.holds(rt, fresh(), when)
			far.has.holds(rt, fresh(), when+", of what the remote has")
			return r
		}
		send := func(*rapid.T) {
			far.takes(rt, w.ledgers[w.pick()], rapid.IntRange(1, 3).Draw(rt, "batches"), rapid.IntRange(1, 4).Draw(rt, "most"))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"start":     func(*rapid.T) { w.start() },
			"append":    func(*rapid.T) { appendTwo(rt, w.ledgers[w.pick()], w.answers) },
			"batch":     func(*rapid.T) { appendBatch(rt, w.ledgers[w.pick()], w.answers) },
			"another":   func(*rapid.T) { appendBatch(rt, w.ledgers[w.pick()], w.answers) },
			"send":      send,
			"send more": send,
			"trim":      func(*rapid.T) { w.ledgers[w.pick()].TrimPending(far.next) },
			"rotate": func(*rapid.T) {
				b, err := w.ledgers[w.pick()].RotateKey(context.Background())
				w.answers.takes(rt, b, err)
			},
			"kill":      func(*rapid.T) { w.kill() },
			"writeback": func(*rapid.T) { w.disk.WriteBack() },
			"power": func(*rapid.T) {
				w.disk.PowerCut()
				w.ledgers, w.procs = nil, nil
			},
			"verify": func(*rapid.T) { holds("in between") },
		})
		for i := range w.procs {
			w.procs[i].Kill()
		}
		for _, when := range []string{"when the power had gone", "and had gone again"} {
			w.disk.PowerCut()
			l := fresh()
			holds(when)
			b, err := appendNote(l, "last")
			if w.answers.takes(rt, b, err); err != nil {
				rt.Fatal(err)
			}
			report := holds(when + ", behind the last block")
			if _, err := l.Each(context.Background(), nil, func(b *Block, _ []byte, _ Hash) error { far.told(b); return nil }); err != nil {
				rt.Fatal(err)
			}
			there := map[uint64]bool{}
			if err := l.eachReceipt(func(_ []byte, a attested) { there[a.seq] = true }); err != nil {
				rt.Fatal(err)
			}
			for seq := range far.kept {
				if !there[seq] {
					rt.Fatalf("%s: the receipt for block %d was kept, and is not there", when, seq)
				}
			}
			if far.next < report.FirstSeq {
				seen["waited"]++
			}
			far.takes(rt, l, 1000, 5)
			for seq := range report.Size {
				switch _, sent := far.has[seq]; {
				case sent:
				case seq >= report.FirstSeq || seq > far.to:
					rt.Fatalf("%s: block %d was not handed out, and nothing says so: %+v", when, seq, *report)
				case far.dropped[seq]:
					seen["dropped"]++
				default:
					seen["dropped long ago"]++ // the block that owned up went as well
				}
			}
			if report.FirstSeq > 0 {
				seen["pruned"]++
			}
		}
	})
	if !t.Failed() && (len(total) < 5 || seen["pruned"] == 0 || seen["waited"] == 0 || seen["dropped"] == 0) {
		t.Errorf("strikes %v, %v", total, seen)
	}
}
