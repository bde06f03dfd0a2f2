package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// answers are what several appenders were answered.
type answers struct {
	mu   sync.Mutex
	all  record // guarded by mu
	some []uint64
}

func (a *answers) takes(t testing.TB, b *Block, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.all[b.Seq]; ok {
		t.Errorf("block %d was answered twice", b.Seq)
	}
	a.all[b.Seq] = hashOf(b)
	a.some = append(a.some, b.Seq)
}

// pick is a block that was answered, and how many were.
func (a *answers) pick() (seq uint64, hash Hash, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.some) == 0 {
		return 0, Hash{}, 0
	}
	seq = a.some[rand.IntN(len(a.some))]
	return seq, a.all[seq], len(a.some)
}

// TestTogether has several processes append, each with several goroutines, while
// others verify and prove: no fork, no gap, and each block is where it was
// answered to be.
func TestTogether(t *testing.T) {
	t.Parallel()
	const processes, goroutines, each = 3, 3, 7
	disk := crashfs.New(func(int) int { return 0 })
	image{}.put(t, disk.Process(nil))
	open := func() *Ledger { return ledgerOn(disk.Process(nil), 12<<10) }
	adopt(t, open())
	a := &answers{all: record{}}
	var writers, readers sync.WaitGroup
	var left atomic.Int64
	for p := range processes {
		l := Open(Options{Paths: pathsIn(modelHome), FS: disk.Process(nil), MaxSegment: 12 << 10})
		for g := range goroutines {
			left.Add(1)
			writers.Go(func() {
				defer left.Add(-1)
				for i := range each {
					b, err := decide(l, fmt.Sprintf("%d.%d.%d", p, g, i))
					a.takes(t, b, err)
				}
			})
		}
	}
	for range 2 {
		readers.Go(func() {
			l := open()
			for left.Load() > 0 {
				seq, hash, n := a.pick()
				if r, err := l.Verify(context.Background(), nil); err != nil || r.Blocks < uint64(n) || r.Torn > 0 {
					t.Errorf("%d were answered: %+v, %v", n, r, err)
				}
				if n == 0 {
					continue
				}
				p, err := l.Prove(context.Background(), seq)
				if err != nil {
					t.Errorf("block %d was answered: %v", seq, err)
					continue
				}
				if err := tlog.CheckRecord(p.Hashes, int64(p.Size), p.Root, int64(seq), hash); err != nil {
					t.Errorf("block %d was answered: %v", seq, err)
				}
			}
		})
	}
	writers.Wait()
	readers.Wait()
	r := a.all.holds(t, open(), "at the end")
	// The openers and the constitution beside what was answered, with no gap.
	if n := processes * goroutines * each; len(a.all) != n || r.FirstSeq != 0 || r.Size != uint64(n)+5 || r.Head != r.Size {
		t.Errorf("%d answered, %+v", len(a.all), *r)
	}
}

// TestManyAtOnce has more goroutines append at once than one commit takes, to one
// ledger on a real disk.
func TestManyAtOnce(t *testing.T) {
	l, a := newLedger(t, t.TempDir(), 0), &answers{all: record{}}
	var wg sync.WaitGroup
	l.mu.Lock() // all are there before the first is taken
	for range maxCommit + 50 {
		wg.Go(func() {
			b, err := appendNote(l, "d")
			a.takes(t, b, err)
		})
	}
	l.mu.Unlock()
	wg.Wait()
	if r := a.all.holds(t, l, "at the end"); len(a.all) != maxCommit+50 || r.Size != maxCommit+51 {
		t.Errorf("%d answered, %+v", len(a.all), *r)
	}
}

// TestTheFirstBlockOfMany begins one ledger in several processes at once.
func TestTheFirstBlockOfMany(t *testing.T) {
	dir, a := t.TempDir(), &answers{all: record{}}
	var wg sync.WaitGroup
	var ids sync.Map
	for range 6 {
		l := newLedger(t, dir, 0)
		wg.Go(func() {
			b, err := appendNote(l, "d")
			a.takes(t, b, err)
			if err == nil {
				ids.Store(b.LedgerID+b.KeyID, true)
			}
		})
	}
	wg.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if r := a.all.holds(t, newLedger(t, dir, 0), "at the end"); r.Size != 7 || n != 1 {
		t.Errorf("%+v, %d ledgers", *r, n)
	}
}

// hooked is a file system that calls a function after each look at a file.
type hooked struct {
	private.FS
	after func()
}

func (h *hooked) Lstat(name string) (fs.FileInfo, error) {
	defer h.after()
	return h.FS.Lstat(name)
}

func (h *hooked) OpenFile(name string, flag int, perm fs.FileMode) (private.File, error) {
	defer h.after()
	return h.FS.OpenFile(name, flag, perm)
}

// TestLookingWhileALedgerBegins has another process begin a ledger, and append to
// it, at every moment while one verifies where there was none.
func TestLookingWhileALedgerBegins(t *testing.T) {
	for first := 0; ; first++ {
		more := false
		for second := first; ; second++ {
			fsys := image{}.disk(t)
			writer, calls := ledgerOn(fsys, 0), 0
			look := &hooked{fsys, func() {
				if calls++; calls-1 != first && calls-1 != second {
					return
				}
				if _, err := fsys.Lstat(filepath.Join(modelHome, lockName)); err == nil {
					lock, free, err := private.TryLockOn(fsys, filepath.Join(modelHome, lockName))
					if err != nil || !free {
						return // the one that looks has it
					}
					lock.Unlock()
				}
				if _, err := appendNote(writer, "d"); err != nil {
					t.Fatal(err)
				}
			}}
			if r, err := ledgerOn(look, 0).Verify(t.Context(), nil); err != nil {
				t.Errorf("appended after looks %d and %d: %+v, %v", first, second, r, err)
			}
			if calls > first {
				more = true
			}
			if calls <= second {
				break
			}
		}
		if !more {
			return
		}
	}
}

// TestAnswersDoNotWaitForOthers has one goroutine append once, and two others go
// on by turns, so that one waits at any moment: what is durable is answered,
// however many come after it.
func TestAnswersDoNotWaitForOthers(t *testing.T) {
	l := ledgerOn(image{}.disk(t), 0)
	const patience = 200
	var wg sync.WaitGroup
	var after atomic.Int64
	answered := make(chan struct{})
	// waits returns when somebody waits to append, or after a while.
	waits := func() {
		for range 1_000_000 {
			select {
			case <-answered:
				return
			default:
			}
			l.mu.Lock()
			n := len(l.waiting)
			l.mu.Unlock()
			if n > 0 {
				return
			}
			runtime.Gosched()
		}
	}
	start := func(first func()) {
		wg.Go(func() {
			for range patience {
				_, err := l.Append(func(State) (Entry, error) {
					if first != nil {
						first()
						first = nil
					}
					waits()
					return &Note{"n", "d"}, nil
				})
				if err != nil {
					t.Error(err)
				}
				select {
				case <-answered:
					return
				default:
				}
				after.Add(1)
			}
		})
	}
	_, err := l.Append(func(State) (Entry, error) {
		start(func() { start(nil) })
		waits()
		return &Note{"n", "d"}, nil
	})
	n := after.Load()
	close(answered)
	wg.Wait()
	if err != nil || n >= patience {
		t.Errorf("it was answered after %d others, %v", n, err)
	}
}

// TestAViewOutlivesPruning verifies files while appends close and remove them.
func TestAViewOutlivesPruning(t *testing.T) {
	fsys := short(4).make(t).image.disk(t)
	v, err := ledgerOn(fsys, 0).view()
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	l := ledgerOn(fsys, 1)
	for range 6 {
		if _, err := appendNote(l, "d"); err != nil {
			t.Fatal(err)
		}
	}
	w := &walk{view: v, report: &Report{}}
	if err := w.all(t.Context(), nil); err != nil || w.report.Size != 8 || w.report.FirstSeq != 0 {
		t.Errorf("%+v, %v", *w.report, err)
	}
	if r := verify(t, l); r.FirstSeq < 8 || r.Size != 20 {
		t.Errorf("%+v", *r)
	}
}

// TestManyLines verifies more lines than are looked at side by side, the wrong
// one behind the first of such groups.
func TestManyLines(t *testing.T) {
	f := ordinary()
	f.files = [][]Entry{slices.Repeat([]Entry{&Note{"n", "d"}}, groupLines+200)}
	m := f.make(t)
	total, calls := int64(len(m.image[activeName])), 0
	l := ledgerOn(m.image.disk(t), 0)
	if r, err := l.Verify(t.Context(), func(done, of int64) {
		if calls++; of != total || done > total || calls == 2 && done != total {
			t.Errorf("%d of %d bytes are done, of %d", done, of, total)
		}
	}); err != nil || r.Size != groupLines+201 || calls != 2 {
		t.Errorf("%+v, %v, progress was told %d times", r, err, calls)
	}
	lines := strings.SplitAfter(m.image[activeName], "\n")
	at := groupLines + 1
	lines[at] = strings.Replace(lines[at], `"detail":"d"`, `"detail":"e"`, 1)
	if _, err := verifyImage(t, m.image.with(activeName, strings.Join(lines, ""))); err == nil {
		t.Errorf("block %d was changed", at)
	} else if bad, ok := badSeq(err); !ok || bad != int64(at) {
		t.Errorf("block %d was changed: %v", at, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Verify(ctx, nil); err != context.Canceled {
		t.Errorf("%v", err)
	}
}

// TestTime has the clock go back, and once far ahead. No block is older than the
// one before it; what is appended after a time that was wrong has that time, until
// it has passed.
func TestTime(t *testing.T) {
	far := noon.AddDate(300, 0, 0)
	now := noon
	fsys := image{}.disk(t)
	open := func() *Ledger {
		return Open(Options{Paths: pathsIn(modelHome), FS: fsys, Clock: func() time.Time { return now }, MaxSegment: 2 << 10})
	}
	l := open()
	for i, c := range []struct{ clock, want time.Time }{
		{noon, noon}, {noon.Add(-time.Hour), noon}, {noon.AddDate(-3000, 0, 0), noon}, {noon.Add(1500), noon.Add(1000)}, {noon, noon.Add(1000)},
		{noon.In(time.FixedZone("X", 3600)).Add(time.Second), noon.Add(time.Second)},
		{far, far}, {noon.Add(time.Minute), far}, {noon.Add(time.Hour), far}, {noon.Add(time.Hour), far}, {far.Add(time.Second), far.Add(time.Second)},
	} {
		if i%3 == 2 {
			l = open()
		}
		now = c.clock
		b, err := appendNote(l, "d")
		if err != nil {
			t.Fatal(err)
		}
		if !b.Time.Equal(c.want) {
			t.Errorf("at %v: %v", c.clock, b.Time)
		}
		verify(t, l)
	}
}

// TestTimeThatNoBlockHolds has a clock that shows a year of five digits: an
// append says so, or what it answers verifies.
func TestTimeThatNoBlockHolds(t *testing.T) {
	for _, year := range []int{-1, 0, 9999, 10000, 292277026596} {
		fsys := image{}.disk(t)
		now := noon
		l := Open(Options{Paths: pathsIn(modelHome), FS: fsys, Clock: func() time.Time { return now }})
		for range 2 {
			appendNote(l, "d")
			now = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if _, err := l.Verify(t.Context(), nil); err != nil {
			t.Errorf("in the year %d: %v", year, err)
		}
	}
}

// TestDecideFails has what decides return an error, panic, decide nothing, and end its
// goroutine, among others of one commit: it fails alone, who asked is told, and later
// appends go on.
func TestDecideFails(t *testing.T) {
	no := errors.New("no")
	good := func(State) (Entry, error) { return &Note{"n", "d"}, nil }
	for what, c := range map[string]struct {
		decide func(State) (Entry, error)
		panics bool
		err    error
	}{
		"an error":        {func(State) (Entry, error) { return nil, no }, false, no},
		"a panic":         {func(State) (Entry, error) { panic(no) }, true, nil},
		"a panic of nil":  {func(State) (Entry, error) { panic(nil) }, true, nil},
		"a typed nil":     {func(State) (Entry, error) { return (*Note)(nil), nil }, true, nil},
		"a nil decision":  {func(State) (Entry, error) { return (*Decision)(nil), nil }, true, nil},
		"nothing":         {func(State) (Entry, error) { return nil, nil }, false, nil},
		"its goroutine's": {func(State) (Entry, error) { runtime.Goexit(); return &Note{"n", "d"}, nil }, false, errDeciding},
	} {
		fsys := image{}.disk(t)
		l, a := ledgerOn(fsys, 0), &answers{all: record{}}
		// fails asks for it, and tells what it panicked with.
		fails := func() (b *Block, panicked any, err error) {
			defer func() { panicked = recover() }()
			b, err = l.Append(c.decide)
			return b, nil, err
		}
		told := func(b *Block, panicked any, err error) {
			t.Helper()
			if b != nil || (panicked != nil) != c.panics || !c.panics && err == nil || c.err != nil && err != c.err {
				t.Errorf("%s: %+v, %v, panicked with %v", what, b, err, panicked)
			}
		}
		// Before the first block it leaves nothing.
		told(fails())
		if now := take(t, fsys, modelHome); len(now) != 0 {
			t.Errorf("%s: left are %d files", what, len(now))
		}
		for range 3 {
			var wg sync.WaitGroup
			l.mu.Lock() // all are there before the first is taken
			for i := range 12 {
				wg.Go(func() {
					if i%3 == 0 {
						told(fails())
						return
					}
					b, err := l.Append(good)
					a.takes(t, b, err)
				})
			}
			l.mu.Unlock()
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatalf("%s: others wait for ever", what)
			}
		}
		if r := a.all.holds(t, l, what); len(a.all) != 24 || r.Size != 25 {
			t.Errorf("%s: %d were answered: %+v", what, len(a.all), *r)
		}
	}
}

// TestKeys takes the key away, and puts others in its place.
func TestKeys(t *testing.T) {
	f := ordinary()
	g := newGenuine(t, f)
	good := keyFileOf(t, f.key)
	for what, im := range map[string]image{
		"no key": g.without(keyName), "an empty key": g.with(keyName, ""), "garbage": g.with(keyName, "garbage"),
		"a short seed":     g.with(keyName, strings.Replace(good, f.keySeed()[:8], "", 1)),
		"a member more":    g.with(keyName, strings.Replace(good, `"v"`, `"w": 1, "v"`, 1)),
		"another key":      g.with(keyName, keyFileOf(t, keyFrom("other"))),
		"its successor":    g.with(keyName, keyFileOf(t, keyFrom("other"), f.key)), // that no block introduces
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

// TestARotationBeyondTheHead has a whole rotation behind the head, and what the
// next key signed: an append goes on behind both.
func TestARotationBeyondTheHead(t *testing.T) {
	f := rotated()
	f.files[1], f.files[3] = []Entry{&Note{"n", "d"}}, append([]Entry{&Note{"n", "d"}}, f.files[1]...)
	f.files[3][2] = &Note{"n", "d"}
	f.covered = 11
	m := f.make(t)
	for _, im := range []image{m.image, m.without(edgeName)} {
		l := ledgerOn(im.disk(t), 0)
		if r := verify(t, l); r.Size != uint64(len(m.blocks)) || r.Head > r.Size || r.Torn != 0 {
			t.Errorf("%+v", *r)
		}
		if b, err := appendNote(l, "d"); err != nil || b.Seq != uint64(len(m.blocks)) || b.Prev != m.hashes[b.Seq-1] {
			t.Errorf("%v, %v", b, err)
		}
		verify(t, l)
	}
}

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

// TestWhatTheCommitCalls has the clock, and who tells what a remote has, end the goroutine
// that calls it, at each of their calls: all of the commit fails that is not durable yet,
// nobody waits for ever, what is there verifies, and later appends go on.
func TestWhatTheCommitCalls(t *testing.T) {
	g := newGenuine(t, short(4))
	failures := map[string]int{}
	for what, segment := range map[string]int64{"the clock": 0, "the clock, new files": 1, "forwarded": 1} {
		for n, more := 1, true; more; n++ {
			calls, ended := 0, false
			end := func() {
				if calls++; calls == n {
					ended = true
					runtime.Goexit()
				}
			}
			fsys, tick, r := g.disk(t), ticking(), record{}
			o := Options{Paths: pathsIn(modelHome), FS: fsys, Clock: tick, MaxSegment: segment, Forwarded: func(string) (uint64, bool) { return 0, true }}
			if what == "forwarded" {
				o.Forwarded = func(string) (uint64, bool) { end(); return 0, true }
			} else {
				o.Clock = func() time.Time { end(); return tick() }
			}
			l := Open(o)
			batch := make([]*request, 4)
			for i := range batch {
				batch[i] = &request{decide: func(State) (Entry, error) { return &Note{"n", "d"}, nil }}
			}
			done := make(chan struct{})
			go func() { defer close(done); l.commit(batch) }()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatalf("%s, call %d: it waits for ever", what, n)
			}
			more, calls = ended, n // it ends none from here on
			failed := false
			for i, q := range batch {
				if (q.block == nil) == (q.err == nil) || failed && q.err == nil || !ended && q.err != nil {
					t.Errorf("%s, call %d: request %d is answered %+v, %v", what, n, i, q.block, q.err)
				}
				if failed = q.err != nil; failed {
					failures[what]++
				}
				r.takes(t, q.block, q.err)
			}
			if ended && !failed {
				t.Errorf("%s, call %d: nothing failed", what, n)
			}
			when := fmt.Sprintf("%s, call %d", what, n)
			r.holds(t, ledgerOn(fsys, 0), when)
			for _, l := range []*Ledger{l, ledgerOn(fsys, 0)} {
				b, err := appendNote(l, "d")
				if r.takes(t, b, err); err != nil {
					t.Errorf("%s: the next append: %v", when, err)
				}
				r.holds(t, l, when)
			}
		}
	}
	for _, what := range []string{"the clock", "the clock, new files", "forwarded"} {
		if failures[what] == 0 {
			t.Errorf("%s: nothing failed", what)
		}
	}
}
