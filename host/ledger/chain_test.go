package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

const (
	modelHome    = "/home"
	activeName   = "constitutional_ledger.jsonl"
	headName     = "constitutional_ledger.head"
	edgeName     = "constitutional_ledger.edge"
	lockName     = "constitutional_ledger.lock"
	keyName      = "keys/ledger.key"
	pendingName  = "ledger_pending.jsonl"
	receiptsName = "ledger_receipts.jsonl"
	owedName     = "constitutional_ledger.recovering"
)

// image is the files of a ledger, by their paths below its folder.
type image map[string]string

// with is the image with one file changed.
func (im image) with(name, content string) image {
	im = maps.Clone(im)
	im[name] = content
	return im
}

// without is the image with one file less.
func (im image) without(name string) image {
	im = maps.Clone(im)
	delete(im, name)
	return im
}

// put makes the files durable on a disk.
func (im image) put(t testing.TB, fsys private.FS) {
	t.Helper()
	if err := private.MkdirAllOn(fsys, filepath.Join(modelHome, "keys")); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(im)) {
		f, err := fsys.OpenFile(filepath.Join(modelHome, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.WriteAt([]byte(im[name]), 0)
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	for _, dir := range []string{modelHome, filepath.Join(modelHome, "keys")} {
		if err := fsys.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// disk is a process of a disk that has the files, and loses none.
func (im image) disk(t testing.TB) private.FS {
	t.Helper()
	p := crashfs.New(func(int) int { return 0 }).Process(nil)
	im.put(t, p)
	return p
}

// take reads the files of a folder; the lock says nothing.
func take(t testing.TB, fsys private.FS, dir string) image {
	t.Helper()
	im := image{}
	for _, below := range []string{"", "keys"} {
		entries, err := fsys.ReadDir(filepath.Join(dir, below))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if name := filepath.ToSlash(filepath.Join(below, e.Name())); !e.IsDir() && name != lockName {
				data, err := private.ReadFileOn(fsys, filepath.Join(dir, name), 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				im[name] = string(data)
			}
		}
	}
	return im
}

// moving has what the model has not: a file is moved from one folder to another, as
// several calls, of which any may be the last. It is in one of the two at least.
type moving struct{ private.FS }

func (m moving) Rename(from, to string) error {
	err := m.FS.Rename(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	data, err := private.ReadFileOn(m.FS, from, 1<<30)
	if err == nil {
		err = private.WriteFileOn(m.FS, to, data)
	}
	if err == nil {
		err = m.FS.Remove(from)
	}
	return err
}

// attest is the line that is kept of what a remote attested.
func attest(t testing.TB, id string, seq uint64, hash Hash) string {
	t.Helper()
	line, err := json.Marshal(receiptOf(id, seq, hash))
	if err != nil {
		t.Fatal(err)
	}
	return string(line) + "\n"
}

func receiptOf(id string, seq uint64, hash Hash) Receipt {
	return Receipt{Seq: seq, Destination: "camp", LedgerID: id, Hash: hash,
		Note: fmt.Sprintf("carl-receipt/v1\nledger_id %s\nseq %d\nblock_hash %x\ntime 2026-11-23T12:00:00Z\n\n— x AAAA\n", id, seq, hash[:])}
}

// noon is when the tests begin; a clock goes on by a second each time it is read.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ticking() func() time.Time {
	now := noon
	return func() time.Time { now = now.Add(time.Second); return now }
}

// ledgerOn is a ledger in the model's home.
func ledgerOn(fsys private.FS, maxSegment int64) *Ledger {
	return Open(Options{Paths: pathsIn(modelHome), FS: fsys, Clock: ticking(), MaxSegment: maxSegment})
}

// hashOf is the hash of a block that was answered.
func hashOf(b *Block) Hash { return hashBlock(b.appendUnsigned(nil, false), b.Sig[:]) }

// appendNote appends a note.
func appendNote(l *Ledger, detail string) (*Block, error) {
	return l.Append(func(State) (Entry, error) { return &Note{Code: "n", Detail: detail}, nil })
}

var blockNumber = regexp.MustCompile(`blocks? (?:up to )?(\d+)`)

// badSeq is the first block that an error of verification calls wrong.
func badSeq(err error) (int64, bool) {
	m := blockNumber.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	n, err2 := strconv.ParseInt(m[1], 10, 64)
	if strings.Contains(err.Error(), "ends with block") {
		n++ // the last that is there is named, and the next one is missing
	}
	return n, err2 == nil
}

// forged is a ledger as the bodies of its blocks, from which its files are
// made: what only the holder of the key could make, or another carl.
type forged struct {
	id    string
	key   ed25519.PrivateKey
	files [][]Entry
	// change, where it is not nil, is called with each block ahead of its
	// signature.
	change func(b *Block)
	// covered is how many blocks the head has; 0 for all.
	covered uint64
	// kept is how many files there are, all that were kept at any time; 0 for as
	// many as the ledger itself keeps, and all that were made.
	kept int
	// other are the keys that rotations lead to, by their public halves.
	other map[string]ed25519.PrivateKey
	// stale signs all blocks but rotations with the first key.
	stale bool
}

// made is what a forged ledger comes to.
type made struct {
	image
	names  []string // of the files that are kept, in order
	blocks []*Block // all ever
	hashes []Hash
	first  uint64 // that is kept
}

func (f *forged) make(t testing.TB) *made {
	t.Helper()
	key, m := f.key, &made{image: image{}}
	var previous []string
	var firsts []uint64
	archives := maxArchives
	if f.kept > 0 {
		archives = f.kept - 1
	}
	tl := &tail{ledgerID: f.id}
	var closed *Previous
	step := func(e Entry) string {
		b := &Block{LedgerID: f.id, Seq: tl.edge.size, Seg: tl.seg, Time: noon.Add(time.Duration(tl.edge.size) * time.Second), Prev: tl.prev}
		e.fill(b)
		signer, next := key, key
		if r := b.KeyRotation; r != nil {
			next = f.other[string(r.NewKey)]
			previous = append(previous, base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
		} else if f.stale {
			signer = f.key
		}
		b.KeyID = keyID(signer.Public().(ed25519.PublicKey))
		if b.KeyRotation != nil {
			copy(b.KeyRotation.NewSig[:], ed25519.Sign(next, append([]byte(signPrefix), b.appendUnsigned(nil, true)...)))
		}
		if f.change != nil {
			f.change(b)
		}
		line, hash := b.sign(signer)
		m.blocks, m.hashes = append(m.blocks, b), append(m.hashes, hash)
		tl.push(b, hash)
		tl.seg = uint64(len(m.names))
		if tl.edge.size == f.covered {
			m.image[headName], m.image[edgeName] = string(formatHead(f.id, &tl.edge, key)), string(formatEdge(&tl.prior))
		}
		key = next
		return string(line) + "\n"
	}
	for i, entries := range f.files {
		first := tl.edge.size
		firsts = append(firsts, first)
		tl.seg = uint64(i)
		var content strings.Builder
		content.WriteString(step(&Segment{
			Size: first, Tree: slices.Clone(tl.edge.hashes), Previous: closed, PrunedBefore: firsts[max(0, i-archives)],
			Constitution: tl.constitution, State: tl.stateName,
		}))
		for _, e := range entries {
			tl.seg = uint64(i)
			content.WriteString(step(e))
		}
		closed = &Previous{first, tl.edge.size - 1, sha256.Sum256([]byte(content.String()))}
		name := activeName
		if i < len(f.files)-1 {
			name = filepath.Base(archiveName(activeName[:len(activeName)-len(".jsonl")], first, tl.edge.size-1))
		}
		m.names = append(m.names, name)
		m.image[name] = content.String()
	}
	if gone := len(f.files) - f.kept; f.kept > 0 && gone > 0 {
		for _, name := range m.names[:gone] {
			delete(m.image, name)
		}
		m.names, m.first = m.names[gone:], firsts[gone]
	}
	if f.covered == 0 {
		m.image[headName], m.image[edgeName] = string(formatHead(f.id, &tl.edge, key)), string(formatEdge(&tl.prior))
	}
	file, err := private.FormatJSON(&keyFile{V: 1, Seed: base64.RawURLEncoding.EncodeToString(key.Seed()), MadeAt: noon, Previous: previous})
	if err != nil {
		t.Fatal(err)
	}
	m.image[keyName] = string(file)
	return m
}

// left reports whether the n-th of many cases is left out. The race detector makes
// a signature ten times as slow, and has nothing to see where one goroutine works:
// under it one case of eight is tried.
func left(n int) bool { return n%8 != 0 && underRace() }

var underRace = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})

// verifyImage verifies files.
func verifyImage(t testing.TB, im image) (*Report, error) {
	t.Helper()
	return ledgerOn(im.disk(t), 0).Verify(context.Background(), nil)
}

func decision(from, to string) *Decision {
	return &Decision{
		Action: Action{Kind: "deploy", Name: from + "→" + to, Digest: digest(to)}, Constitution: digest("one"),
		Rule: "r7", From: from, To: to, Verdict: "allow",
	}
}

// ordinary is a ledger of four files, in which every kind is that one key signs.
func ordinary() *forged {
	return &forged{id: "0123456789abcdef0123456789abcdef", key: keyFrom("ordinary"), files: [][]Entry{
		{&Constitution{digest("one"), "agent", "1"}, decision("idle", "a")}, // 0 1 2
		{&Note{"n", "d"}, decision("a", "b")},                               // 3 4 5
		{&Dropped{0, 1, Hash{7}}, &Recovery{"r"}},                           // 6 7 8
		{decision("b", "c"), &Constitution{digest("two"), "agent", "2"}, // 9 10 11
			&Note{"n", "last"}}, // 12
	}}
}

// small is a ledger of four files with few blocks, of which the head has all but
// the last two, or all.
func small(beyond bool) *forged {
	f := ordinary()
	f.files = [][]Entry{
		{&Constitution{digest("one"), "agent", "1"}}, // 0 1
		{decision("idle", "a")},                      // 2 3
		{&Recovery{"r"}},                             // 4 5
		{&Note{"n", "d"}, decision("a", "b"), &Note{"n", "the last one"}}, // 6 7 8 9
	}
	if beyond {
		f.covered = 8
	}
	return f
}

// rotated is a ledger whose key was changed in the middle of its second file.
func rotated() *forged {
	f := ordinary()
	next := keyFrom("next")
	public := next.Public().(ed25519.PublicKey)
	f.other = map[string]ed25519.PrivateKey{string(public): next}
	f.files[1] = []Entry{&KeyRotation{NewKey: public}, decision("a", "b")} // 3 4 5
	return f
}

// TestForge holds what these tests make of entries against what the ledger makes
// of them: the same bytes.
func TestForge(t *testing.T) {
	f := ordinary()
	fsys := image{keyName: f.make(t).image[keyName]}.disk(t)
	l := ledgerOn(fsys, 1<<10)
	for _, e := range []Entry{
		&Constitution{digest("one"), "agent", "1"}, decision("idle", "a"), decision("a", "b"), &Note{"n", "d"}, decision("b", "c"),
	} {
		if _, err := l.Append(func(State) (Entry, error) { return e, nil }); err != nil {
			t.Fatal(err)
		}
	}
	archives, err := l.archives()
	if err != nil || len(archives) != maxArchives {
		t.Fatalf("%v, %v", archives, err)
	}
	theirs, times := take(t, fsys, modelHome), []time.Time(nil)
	f.files, f.id = nil, verify(t, l).LedgerID
	for _, a := range append(archives, archive{path: l.paths.active()}) {
		var entries []Entry
		for line := range strings.Lines(theirs[filepath.Base(a.path)]) {
			b, _, ok := parse([]byte(strings.TrimSuffix(line, "\n")))
			if !ok || b.Seq != uint64(len(times)) {
				t.Fatal(line)
			}
			times = append(times, b.Time)
			switch {
			case b.Constitution != nil:
				entries = append(entries, b.Constitution)
			case b.Decision != nil:
				entries = append(entries, b.Decision)
			case b.Note != nil:
				entries = append(entries, b.Note)
			}
		}
		f.files = append(f.files, entries)
	}
	f.change = func(b *Block) { b.Time = times[b.Seq] }
	for name, ours := range f.make(t).image {
		if ours != theirs[name] {
			t.Errorf("%s:\n%q\n%q", name, ours, theirs[name])
		}
	}
}

// TestOneWrongBlock forges whole ledgers, signed and with a checkpoint, in which
// one block is not what the chain calls for: its number is named.
func TestOneWrongBlock(t *testing.T) {
	other := keyFrom("other")
	for name, c := range map[string]struct {
		of     func() *forged // nil is ordinary
		at     uint64
		change func(b *Block)
		bad    []int64 // any of these; nil is at
	}{
		"a greater size":                   {at: 6, change: func(b *Block) { b.Segment.Size++ }},
		"a smaller size":                   {at: 6, change: func(b *Block) { b.Segment.Size-- }},
		"another tree":                     {at: 6, change: func(b *Block) { b.Segment.Tree[0][0] ^= 1 }},
		"a tree with a hash less":          {at: 6, change: func(b *Block) { b.Segment.Tree = b.Segment.Tree[1:] }},
		"a tree with a hash more":          {at: 6, change: func(b *Block) { b.Segment.Tree = append(b.Segment.Tree, Hash{1}) }},
		"a first block with a tree":        {at: 0, change: func(b *Block) { b.Segment.Tree = []Hash{{1}} }},
		"a first block with a size":        {at: 0, change: func(b *Block) { b.Segment.Size, b.Segment.Tree = 1, []Hash{{1}} }},
		"a first block with a state":       {at: 0, change: func(b *Block) { b.Segment.State = "b" }},
		"a first block with a rule book":   {at: 0, change: func(b *Block) { b.Segment.Constitution = digest("two") }},
		"a first block with a file before": {at: 0, change: func(b *Block) { b.Segment.Previous = &Previous{} }},
		"a first block that pruned":        {at: 0, change: func(b *Block) { b.Segment.PrunedBefore = 3 }},
		"a first block of a later file":    {at: 0, change: func(b *Block) { b.Seg = 1 }},
		"a first block that follows":       {at: 0, change: func(b *Block) { b.Prev = Hash{1} }},
		"no file before":                   {at: 6, change: func(b *Block) { b.Segment.Previous = nil }},
		"a file that begins elsewhere":     {at: 6, change: func(b *Block) { b.Segment.Previous.First++ }},
		"a file that ends elsewhere":       {at: 6, change: func(b *Block) { b.Segment.Previous.Last++ }},
		"a file of other bytes":            {at: 6, change: func(b *Block) { b.Segment.Previous.SHA256[31] ^= 1 }},
		// The open file says what was kept when it was begun.
		"blocks kept that were pruned":     {at: 9, of: func() *forged { f := ordinary(); f.kept = 2; return f }, change: func(b *Block) { b.Segment.PrunedBefore = 3 }, bad: []int64{3, 9}},
		"a first kept file behind none":    {of: func() *forged { f := ordinary(); f.kept = 2; return f }, at: 6, change: func(b *Block) { b.Segment.Previous.First = 6 }},
		"a first kept file behind another": {of: func() *forged { f := ordinary(); f.kept = 2; return f }, at: 6, change: func(b *Block) { b.Segment.Previous.Last-- }},
		"a first kept file that is file 0": {of: func() *forged { f := ordinary(); f.kept = 1; return f }, at: 9, change: func(b *Block) { b.Seg = 0 }},
		"blocks pruned that follow":        {at: 6, change: func(b *Block) { b.Segment.PrunedBefore = 7 }},
		"the constitution left out":        {at: 6, change: func(b *Block) { b.Segment.Constitution = "" }},
		"another constitution":             {at: 6, change: func(b *Block) { b.Segment.Constitution = digest("two") }},
		"the state left out":               {at: 6, change: func(b *Block) { b.Segment.State = "" }},
		"another state":                    {at: 6, change: func(b *Block) { b.Segment.State = "a" }},
		"a file number again":              {at: 6, change: func(b *Block) { b.Seg-- }},
		"a file number too far":            {at: 6, change: func(b *Block) { b.Seg++ }},
		"a block of another file":          {at: 7, change: func(b *Block) { b.Seg++ }},
		"a file without an opener":         {at: 6, change: func(b *Block) { b.Segment, b.Kind, b.Note = nil, KindNote, &Note{"n", "d"} }},
		"an opener within a file": {at: 7, change: func(b *Block) {
			b.Dropped, b.Kind, b.Segment = nil, KindSegment, &Segment{Size: 7, Tree: make([]Hash, 3), Constitution: digest("one"), State: "b"}
		}},
		"a number left out":                 {at: 7, change: func(b *Block) { b.Seq++ }},
		"a number twice":                    {at: 7, change: func(b *Block) { b.Seq-- }},
		"another ledger's block":            {at: 7, change: func(b *Block) { b.LedgerID = strings.Repeat("f", 32) }},
		"another ledger's opener":           {at: 6, change: func(b *Block) { b.LedgerID = strings.Repeat("f", 32) }},
		"a ledger_id that is none":          {at: 0, change: func(b *Block) { b.LedgerID = "a" }},
		"another block before":              {at: 7, change: func(b *Block) { b.Prev[0] ^= 1 }},
		"another block before a file":       {at: 6, change: func(b *Block) { b.Prev[0] ^= 1 }},
		"an earlier time":                   {at: 7, change: func(b *Block) { b.Time = b.Time.Add(-time.Hour) }},
		"an earlier file":                   {at: 6, change: func(b *Block) { b.Time = b.Time.Add(-time.Hour) }},
		"a key_id that is unknown":          {at: 7, change: func(b *Block) { b.KeyID = keyID(other.Public().(ed25519.PublicKey)) }},
		"a verdict by another rule book":    {at: 5, change: func(b *Block) { b.Decision.Constitution = digest("two") }},
		"a verdict in another state":        {at: 5, change: func(b *Block) { b.Decision.From = "elsewhere" }},
		"a verdict in another file's state": {at: 10, change: func(b *Block) { b.Decision.From = "a" }},
		"a rotation that nobody took":       {of: rotated, at: 4, change: func(b *Block) { b.KeyRotation.NewSig[0] ^= 1 }},
		"a rotation to another key":         {of: rotated, at: 4, change: func(b *Block) { b.KeyRotation.NewKey = other.Public().(ed25519.PublicKey) }},
		"the old key after a rotation":      {of: func() *forged { f := rotated(); f.stale = true; return f }, at: 5},
		"the old key for the last block": {of: func() *forged {
			f := rotated()
			f.files, f.stale = [][]Entry{f.files[0], {f.files[1][0], &Note{"n", "d"}}}, true
			return f
		}, at: 5},
	} {
		f := ordinary()
		if c.of != nil {
			f = c.of()
		}
		changed := false
		if c.change != nil {
			f.change = func(b *Block) {
				if b.Seq == c.at && !changed {
					c.change(b)
					changed = true
				}
			}
		}
		if c.bad == nil {
			c.bad = []int64{int64(c.at)}
		}
		m := f.make(t)
		if !changed && c.change != nil {
			t.Errorf("%s: there is no block %d", name, c.at)
		}
		r, err := verifyImage(t, m.image)
		if fault.CodeOf(err) != fault.LedgerTampered {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		if bad, ok := badSeq(err); !ok || !slices.Contains(c.bad, bad) {
			t.Errorf("%s: block %v is wrong, and it says: %v", name, c.bad, err)
		}
	}
}

// TestEveryKindVerifies has no block that is wrong, however many files are kept,
// and however many of their blocks the head has.
func TestEveryKindVerifies(t *testing.T) {
	for name, of := range map[string]func() *forged{"one key": ordinary, "two keys": rotated} {
		for kept := 1; kept <= 4; kept++ {
			for covered := uint64(1); covered <= 13; covered++ {
				f := of()
				f.kept, f.covered = kept, covered
				m := f.make(t)
				r, err := verifyImage(t, m.image)
				if covered < m.first {
					// The head is durable before a file goes.
					if fault.CodeOf(err) != fault.LedgerTampered {
						t.Errorf("%s, %d files, head of %d: %v", name, kept, covered, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s, %d files, head of %d: %v", name, kept, covered, err)
					continue
				}
				before := edge{}
				for _, h := range m.hashes[:m.first] {
					before.push(h)
				}
				all := before.clone()
				for _, h := range m.hashes[m.first:] {
					all.push(h)
				}
				want := Report{
					LedgerID: f.id, Blocks: 13 - m.first, FirstSeq: m.first, Size: 13, Head: covered,
					Root: all.root(), PrunedRoot: before.root(),
					State: State{LedgerID: f.id, Size: 13, Constitution: digest("two"), State: "c"},
				}
				if *r != want {
					t.Errorf("%s, %d files, head of %d: %+v, want %+v", name, kept, covered, *r, want)
				}
			}
		}
	}
}

// TestAConstitutionInAPrunedFile adopts a constitution, and decides by it in the
// next file. What is kept verifies when the first of the two goes, as it did
// while both were there.
func TestAConstitutionInAPrunedFile(t *testing.T) {
	f := ordinary()
	second := decision("anew", "d")
	second.Constitution = digest("two")
	f.files = [][]Entry{
		{&Constitution{digest("one"), "agent", "1"}, decision("idle", "a"), &Constitution{digest("two"), "agent", "2"}},
		{second}, {&Note{"n", "d"}},
	}
	for kept := 3; kept > 0; kept-- {
		f.kept = kept
		if _, err := verifyImage(t, f.make(t).image); err != nil {
			t.Errorf("with %d of 3 files: %v", kept, err)
		}
	}
}
