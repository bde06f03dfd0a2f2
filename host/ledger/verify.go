package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Report is what verification found. It is true of the whole ledger, as far as
// it is kept, where there is no error beside it.
type Report struct {
	LedgerID string
	// Blocks were verified, from FirstSeq on; Size is one more than the last.
	Blocks, FirstSeq, Size uint64
	// Head is how many blocks the checkpoint covers; those beyond are whole as well.
	Head uint64
	// Root is the Merkle root of all Size blocks.
	Root Hash
	// PrunedRoot is what the blocks before FirstSeq came to.
	PrunedRoot Hash
	// Receipts is how many receipts fit the blocks.
	Receipts int
	// Torn is how many bytes behind the last block are none; the next append
	// saves them aside.
	Torn int
	// State is what the next block follows on.
	State State
}

// Verify checks every block that is kept: form, signature, chain, order, the
// openers of the files, and the checkpoint. It uses all processors, and tells
// progress how many of how many bytes are done; progress may be nil. Appends go
// on meanwhile.
//
// The error is carl.ledger.tampered with the number of the first block that is
// not what it should be; nothing is changed. A ledger without a block is
// verified with an empty report.
func (l *Ledger) Verify(ctx context.Context, progress func(done, total int64)) (*Report, error) {
	return l.Each(ctx, progress, nil)
}

// Each verifies as [Ledger.Verify], and calls f with each block as it is found
// right, in order. line is its text without a line end, and is not f's to keep.
// f's error ends it. f may be nil.
func (l *Ledger) Each(ctx context.Context, progress func(done, total int64), f func(b *Block, line []byte, hash Hash) error) (*Report, error) {
	beside, err := l.beside()
	if err != nil {
		return nil, err
	}
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	defer v.close()
	w := &walk{view: v, beside: beside, report: &Report{}, progress: progress, total: v.bytes()}
	if err := l.verify(ctx, w, f); err != nil {
		return nil, err
	}
	return w.report, nil
}

// beside is what lies beside the blocks, and is held against them. It is read before
// they are: a block that comes meanwhile may have its receipt at once, and one that
// goes may wait at once.
type beside struct {
	receipts map[uint64][]attested
	waiting  []byte // the pending file
}

func (l *Ledger) beside() (b beside, err error) {
	if b.receipts, err = l.receipts(); err == nil {
		b.waiting, err = l.readPending()
	}
	return b, err
}

// verify walks over all blocks, and holds them against what remotes attested, and
// what waits for remotes against them.
func (l *Ledger) verify(ctx context.Context, w *walk, f func(b *Block, line []byte, hash Hash) error) error {
	receipts := w.receipts
	if len(w.view.files) == 0 {
		if len(receipts) > 0 {
			return tampered("nothing is there, and a remote attested blocks: it was taken away")
		}
		return nil
	}
	// The last block that waits; those that are kept as well must be the same.
	last, kept := uint64(0), map[uint64]Hash{}
	for line := range bytes.Lines(w.waiting) {
		n, _ := seqOf(line)
		last = max(last, n)
	}
	err := w.all(ctx, func(b *Block, line []byte, hash Hash) error {
		for _, a := range receipts[b.Seq] {
			if a.ledgerID != b.LedgerID {
				continue
			}
			if a.hash != hash {
				return tampered("block %d is not the one that a remote attested", b.Seq)
			}
			w.report.Receipts++
		}
		if b.Seq <= last {
			kept[b.Seq] = hash
		}
		if f == nil {
			return nil
		}
		return f(b, line, hash)
	})
	if err != nil {
		return err
	}
	if err := w.attested(); err != nil {
		return err
	}
	w.pending, err = l.checkPending(w, kept)
	w.pendingWrong = err != nil
	return err
}

// attested holds the ledger against receipts for blocks that it does not have.
func (w *walk) attested() error {
	beyond, other := uint64(math.MaxUint64), ""
	for seq, list := range w.receipts {
		for _, a := range list {
			switch {
			case a.ledgerID != w.report.LedgerID:
				other = max(other, a.ledgerID)
			case seq >= w.report.Size:
				beyond = min(beyond, seq)
			}
		}
	}
	switch {
	case beyond != math.MaxUint64:
		return tampered("it ends with block %d, and a remote attested block %d: it was rolled back", w.report.Size-1, beyond)
	case other != "":
		return tampered("a remote attested ledger %s, and this is ledger %s: it was exchanged", other, w.report.LedgerID)
	}
	return nil
}

// walk goes over all blocks in order.
type walk struct {
	view *view
	beside
	report   *Report
	tail     tail
	before   Hash // of the block before the first that is kept
	previous *Previous
	opener   uint64 // the first block of the last file
	// prunedBefore is the first block that was kept when the last file was opened.
	prunedBefore uint64
	progress     func(done, total int64)
	done, total  int64

	// pending are the lines of the pending file that are right; pendingWrong says
	// that others are not.
	pending      []byte
	pendingWrong bool

	// index is the file that is being read, good how many bytes of it are blocks
	// that are right.
	index, good int
}

// all verifies every file, and calls each with every block, where it is not nil.
func (w *walk) all(ctx context.Context, each func(b *Block, line []byte, hash Hash) error) error {
	for i, f := range w.view.files {
		w.index, w.good = i, 0
		data, err := readAll(f.file)
		if err != nil {
			return failed("read", f.path, err)
		}
		data = data[:min(int64(len(data)), f.size)]
		if err := w.file(ctx, f, data, i == len(w.view.files)-1, each); err != nil && err != errTorn {
			return err
		}
		if f.name != nil && f.name.last+1 != w.tail.edge.size {
			return tampered("block %d: %s does not have the blocks that its name says", w.tail.edge.size, f.path)
		}
	}
	w.index, w.good = len(w.view.files), 0
	r, t := w.report, &w.tail
	for _, a := range w.view.others {
		if a.later(w.opener, t.edge.size) {
			return tampered("it ends with block %d, and %s is there: it was rolled back", t.edge.size-1, a.path)
		}
	}
	if last := w.view.files[len(w.view.files)-1]; last.name != nil {
		return tampered("block %d is missing: there is no open file behind %s", t.edge.size, last.path)
	}
	h := w.view.head
	if h != nil && h.size < r.FirstSeq {
		return tampered("the checkpoint has %d blocks, and block %d is the first that is kept", h.size, r.FirstSeq)
	}
	if h == nil && (r.FirstSeq > 0 || t.edge.size > 1 || r.Torn > 0) {
		return tampered("the checkpoint is missing beside block %d", t.edge.size-1)
	}
	if h != nil {
		if t.edge.size < h.size {
			return tampered("it ends with block %d, and the checkpoint has %d blocks", int64(t.edge.size)-1, h.size)
		}
		if h.ledgerID != t.ledgerID {
			return tampered("the checkpoint is another ledger's")
		}
		r.Head = h.size
	}
	if r.FirstSeq > w.prunedBefore {
		return tampered("block %d is missing: nothing says that it was pruned", w.prunedBefore)
	}
	if !w.view.keys.signs(t.signer) {
		return tampered("its last block %d was not signed with the key that is kept here", t.edge.size-1)
	}
	r.LedgerID, r.Size, r.Root, r.State = t.ledgerID, t.edge.size, t.edge.root(), t.state()
	r.Blocks = r.Size - r.FirstSeq
	return nil
}

// checked is a line that was looked at by itself.
type checked struct {
	line   []byte
	block  *Block
	hash   Hash
	signed bool
}

// group is lines that all processors look at, each by itself, while the order of
// those before them is looked at.
type group struct {
	lines []checked
	next  atomic.Int64 // the first that nobody has looked at
	done  sync.WaitGroup
}

const (
	// groupLines is how many lines a group has at most.
	groupLines = 4096
	// stride is how many of them one goroutine takes at a time.
	stride = 64
)

// start takes whole lines from the beginning of data, and returns what is behind
// them.
func (g *group) start(s *scan, data []byte) (rest []byte) {
	g.lines, rest = g.lines[:0], data
	for len(g.lines) < groupLines {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if !ended {
			break
		}
		g.lines, rest = append(g.lines, checked{line: line}), after
	}
	g.next.Store(0)
	for range min(runtime.GOMAXPROCS(0), (len(g.lines)+stride-1)/stride) {
		g.done.Go(func() { g.check(s) })
	}
	return rest
}

func (g *group) check(s *scan) {
	for {
		from := int(g.next.Add(stride)) - stride
		if from >= len(g.lines) {
			return
		}
		for i := from; i < min(from+stride, len(g.lines)); i++ {
			c := &g.lines[i]
			b, unsigned, ok := parse(c.line)
			if !ok {
				continue
			}
			c.block, c.signed, c.hash = b, s.signed(b, unsigned), hashBlock(unsigned, b.Sig[:])
		}
	}
}

// stop has nobody look at the rest.
func (g *group) stop() {
	g.next.Store(groupLines)
	g.done.Wait()
}

func (w *walk) file(ctx context.Context, f segmentFile, data []byte, last bool, each func(*Block, []byte, Hash) error) error {
	path := f.path
	if w.previous == nil && f.name != nil {
		w.tail.edge.size = f.name.first // until it is opened
	}
	s := &scan{keys: w.view.keys, path: path, first: w.tail.edge.size}
	opened := false
	now, next := new(group), new(group)
	defer func() { next.stop() }()
	rest := next.start(s, data)
	sum := Hash(sha256.Sum256(data))
	for len(next.lines) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, next = next, now
		rest = next.start(s, rest)
		now.done.Wait()
		for i := range now.lines {
			c := &now.lines[i]
			if !opened {
				if err := w.open(s, c, f); err != nil {
					return err
				}
				opened = true
			} else if why := w.wrong(s, c); why != "" {
				return w.bad(path, data, last, why)
			}
			// What contradicts a block is known before it counts: it is the first that
			// is not right, and what is before it stays so.
			if w.contradicted(c) {
				return tampered("block %d, or one before it, is not the one that the checkpoint has", c.block.Seq)
			}
			if each != nil {
				if err := each(c.block, c.line, c.hash); err != nil {
					return err
				}
			}
			w.tail.push(c.block, c.hash)
			w.done += int64(len(c.line)) + 1
			w.good += len(c.line) + 1
		}
		if w.progress != nil {
			w.progress(w.done, w.total)
		}
	}
	if !opened {
		return tampered("block %d is missing: %s does not begin with one", w.tail.edge.size, path)
	}
	if len(rest) > 0 {
		if !last || w.covered() {
			return tampered("block %d of %s is torn", w.tail.edge.size, path)
		}
		w.report.Torn = len(rest)
	}
	w.previous = &Previous{First: s.first, Last: w.tail.edge.size - 1, SHA256: sum}
	return nil
}

// contradicted reports whether the checkpoint ends with the next block, and says
// otherwise than the blocks do.
func (w *walk) contradicted(c *checked) bool {
	h := w.view.head
	if h == nil || w.tail.edge.size+1 != h.size {
		return false
	}
	e := w.tail.edge.clone()
	e.push(c.hash)
	return e.root() != h.root || !mayHead(c.block, h, w.view.keys)
}

// mayHead reports whether a checkpoint that ends with a block is signed by the
// key of that block, or by the one that it rotates to: a key that was withdrawn
// must not sign away what came later.
func mayHead(b *Block, h *head, k *keys) bool {
	public, ok := k.public[b.KeyID]
	if ok && h.vkey == VerifierKey(b.LedgerID, public) {
		return true
	}
	return b.KeyRotation != nil && h.vkey == VerifierKey(b.LedgerID, b.KeyRotation.NewKey)
}

// covered reports whether the checkpoint covers the block that comes next.
func (w *walk) covered() bool { return w.view.head != nil && w.tail.edge.size < w.view.head.size }

// bad is a block that is not what it should be. Behind the checkpoint in the
// open file it is the torn end of a commit that nobody was told of.
func (w *walk) bad(path string, data []byte, last bool, why string) error {
	if !last || w.covered() {
		return tampered("block %d in %s %s", w.tail.edge.size, path, why)
	}
	w.report.Torn = len(data) - w.good
	return errTorn
}

// errTorn ends the last file where its torn end begins.
var errTorn = errors.New("torn")

// open takes the first block of a file.
func (w *walk) open(s *scan, c *checked, f segmentFile) error {
	t, b := &w.tail, c.block
	first := w.previous == nil
	switch {
	case b == nil || b.Segment == nil || !c.signed || b.Segment.Size != b.Seq:
		return tampered("block %d: %s does not begin with a block that opens a file", t.edge.size, s.path)
	case f.name != nil && f.name.first != b.Seq:
		at := t.edge.size
		if first {
			at = min(at, b.Seq)
		}
		return tampered("block %d: %s begins with block %d, which its name does not say", at, s.path, b.Seq)
	case first:
		e := edge{b.Segment.Size, b.Segment.Tree}
		if !e.fits() || !isLedgerID(b.LedgerID) || !b.opens() {
			return tampered("block %d opens %s as no block of that number does", b.Seq, s.path)
		}
		t.start(b)
		w.before, s.first = b.Prev, b.Seq
		w.report.FirstSeq, w.report.PrunedRoot = b.Seq, e.root()
		if h := w.view.head; h != nil && h.size == b.Seq && h.root != e.root() {
			return tampered("block %d opens %s on other blocks than the checkpoint has", b.Seq, s.path)
		}
	default:
		t.seg++
		p := b.Segment.Previous
		if !b.opens() || b.Segment.Size != t.edge.size || !slices.Equal(b.Segment.Tree, t.edge.hashes) || p == nil || *p != *w.previous {
			return tampered("block %d does not follow: %s opens on other blocks than those before it", t.edge.size, s.path)
		}
	}
	if why := w.wrong(s, c); why != "" {
		return tampered("block %d in %s %s", t.edge.size, s.path, why)
	}
	w.opener, w.prunedBefore = b.Seq, b.Segment.PrunedBefore
	return nil
}

func (w *walk) wrong(s *scan, c *checked) string {
	if c.block == nil {
		return "is not a block"
	}
	return w.tail.wrong(c.block, c.signed, s.first)
}

// opens reports whether a block can open a file: the first of all has nothing
// before it, and every other one has.
func (b *Block) opens() bool {
	s := b.Segment
	if b.Seq == 0 {
		return b.Seg == 0 && s.Previous == nil && s.PrunedBefore == 0 && s.Constitution == "" && s.State == "" && b.Prev == Hash{}
	}
	return b.Seg > 0 && s.PrunedBefore <= s.Size && s.Previous != nil && s.Previous.First < s.Size && s.Previous.Last == s.Size-1
}

// rotates reports whether the new key of a rotation signed as well.
func (b *Block) rotates() bool {
	return verified(b.appendUnsigned(nil, true), b.KeyRotation.NewSig[:], b.KeyRotation.NewKey)
}
