package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// failer is a test, or a run of a property.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// record is what was answered: the hash of each block, by its number.
type record map[uint64]Hash

// takes notes an answer. Two blocks with one number are a fork.
func (r record) takes(t failer, b *Block, err error) {
	t.Helper()
	if fault.CodeOf(err) == fault.LedgerTampered {
		t.Fatalf("nobody tampered: %v", err)
	}
	if err != nil {
		return
	}
	if old, ok := r[b.Seq]; ok && old != hashOf(b) {
		t.Fatalf("block %d was answered twice", b.Seq)
	}
	r[b.Seq] = hashOf(b)
}

// holds verifies the ledger, and that it has what was answered.
func (r record) holds(t failer, l *Ledger, when string) *Report {
	t.Helper()
	there := record{}
	report, err := l.Each(context.Background(), nil, func(b *Block, _ []byte, hash Hash) error {
		there[b.Seq] = hash
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for seq, hash := range r {
		if seq >= report.FirstSeq && there[seq] != hash {
			t.Fatalf("%s: block %d was answered, and is not there: %+v", when, seq, *report)
		}
	}
	return report
}

// deed is something that ledgers do, and that may be cut short.
type deed struct {
	name       string
	image      image
	maxSegment int64
	do         func(t failer, l *Ledger, r record)
}

func appendOne(t failer, l *Ledger, r record) {
	t.Helper()
	b, err := appendNote(l, "d")
	r.takes(t, b, err)
}

func appendTwo(t failer, l *Ledger, r record) {
	t.Helper()
	appendOne(t, l, r)
	appendOne(t, l, r)
}

// appendBatch appends several at once.
func appendBatch(t failer, l *Ledger, r record) {
	t.Helper()
	var batch []*request
	for range 4 {
		batch = append(batch, &request{decide: func(State) (Entry, error) { return &Note{"n", "d"}, nil }})
	}
	l.commit(batch)
	for _, q := range batch {
		r.takes(t, q.block, q.err)
	}
}

// rotateAndAppend takes a new key, and goes on with it.
func rotateAndAppend(t failer, l *Ledger, r record) {
	t.Helper()
	b, err := l.RotateKey(context.Background())
	r.takes(t, b, err)
	appendTwo(t, l, r)
}

// short is a ledger of files with one block behind the first.
func short(files int) *forged {
	f := ordinary()
	f.files = nil
	for range files {
		f.files = append(f.files, []Entry{&Note{"n", "d"}})
	}
	return f
}

func deeds(t testing.TB) []deed {
	one, four := short(1).make(t), short(4).make(t)
	beyond := short(1)
	beyond.covered = 1
	behind := beyond.make(t)
	closed := archiveName(activeName[:len(activeName)-len(".jsonl")], 0, 1)
	opener := one.image[activeName][:strings.IndexByte(one.image[activeName], '\n')+1]
	headless := one.with(activeName, opener).without(headName).without(edgeName)
	return []deed{
		{"the first block", image{}, 0, appendTwo},
		{"a second block without a head", headless, 0, appendTwo},
		{"another block", one.image, 0, appendTwo},
		{"several blocks", one.image, 0, appendBatch},
		{"behind a torn end", one.with(activeName, one.image[activeName]+"{torn"), 0, appendOne},
		{"behind a block beyond the head", behind.image, 0, appendOne},
		{"after a commit that was cut off", behind.with(lockName, "c"), 0, appendOne},
		{"the first rotation", one.image, 1, appendOne},
		{"a rotation beyond the head", behind.image, 1, appendOne},
		{"a rotation behind a torn end", one.with(activeName, one.image[activeName]+"{torn"), 1, appendOne},
		{"a rotation that was cut off", one.with(closed, one.image[activeName]), 1, appendOne},
		{"a rotation that prunes", four.image, 1, appendOne},
		// As after a power cut that brought closed files back.
		{"a rotation that prunes several", short(6).make(t).image, 1, appendOne},
		{"rotations among several blocks", one.image, 1200, appendBatch},
		// The open file goes on behind the copy that was made of it.
		{"a new key behind a close that was cut off", one.with(closed, one.image[activeName]), 1, rotateAndAppend},
	}
}

// strike is a way in which system calls go wrong: those of some kinds, from the
// n-th on, count of them.
type strike struct {
	ops   string // "" for all
	count int
	fault func(crashfs.Call) *crashfs.Fault
}

const writing = "write mkdir sync syncdir rename"

var strikes = map[string]strike{
	"kill":  {"", 1, func(crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Kill: true} }},
	"power": {"", 1, func(crashfs.Call) *crashfs.Fault { return &crashfs.Fault{PowerCut: true} }},
	"EIO":   {"", 1, func(c crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Err: syscall.EIO, Short: c.Size / 2} }},
	// What was asked for happened, and is said to have failed.
	"EINTR":      {"write", 1, func(c crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Err: syscall.EINTR, Short: c.Size} }},
	"disk full":  {writing, 1 << 20, func(c crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Err: syscall.ENOSPC, Short: c.Size * 2 / 3} }},
	"disk fails": {"", 1 << 20, func(crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Err: syscall.EIO} }},
}

// armed is a strike at the n-th call, until it is over.
type armed struct {
	strike
	n, seen int
	over    bool
	hit     []string // the first call
}

func (a *armed) fault(c crashfs.Call) *crashfs.Fault {
	if a.over || a.ops != "" && !strings.Contains(a.ops, c.Op) {
		return nil
	}
	if a.seen++; a.seen < a.n || a.seen >= a.n+a.count {
		return nil
	}
	if a.hit == nil {
		a.hit = []string{c.Op, filepath.Base(c.Path)}
	}
	return a.strike.fault(c)
}

// TestCrashes stops what ledgers do at each of its system calls, in every way.
// What was answered is there, what is there verifies, and it goes on.
func TestCrashes(t *testing.T) {
	for _, d := range deeds(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			struck, answered := 0, 0
			for kind, strike := range strikes {
				for n, more := 1, true; more; n++ {
					more = false
					seeds := uint64(1)
					if kind == "power" { // of which the model has many
						seeds = 2
					}
					for seed := range seeds {
						if more = left(n) && n < 60; more {
							continue
						}
						disk := crashfs.New(rand.New(rand.NewPCG(seed, uint64(n))).IntN)
						d.image.put(t, disk.Process(nil))
						a := &armed{strike: strike, n: n}
						process := disk.Process(a.fault)
						l, r := ledgerOn(process, d.maxSegment), record{}
						d.do(t, l, r)
						a.over = true
						if a.hit == nil {
							continue
						}
						more, struck, answered = true, struck+1, answered+len(r)
						when := fmt.Sprintf("%s at call %d (%v), seed %d", kind, n, a.hit, seed)
						if kind != "kill" && kind != "power" {
							before := len(r)
							if appendOne(t, l, r); len(r) == before {
								t.Fatalf("%s: the next append failed as well", when)
							}
						}
						process.Kill()
						r.holds(t, ledgerOn(disk.Process(nil), d.maxSegment), when)
						d.goesOn(t, disk, r, when)
					}
				}
			}
			if struck < 100 && !underRace() || answered == 0 {
				t.Errorf("only %d calls were struck, %d blocks answered", struck, answered)
			}
		})
	}
}

// goesOn looks at what is left when the power goes, and appends.
func (d deed) goesOn(t testing.TB, disk *crashfs.Disk, r record, when string) {
	t.Helper()
	fresh := func() *Ledger { return ledgerOn(disk.Process(nil), d.maxSegment) }
	disk.PowerCut()
	r.holds(t, fresh(), when+", and the power went")
	b, err := appendNote(fresh(), "next")
	if err != nil {
		t.Fatalf("%s: the next append: %v", when, err)
	}
	r.takes(t, b, err)
	disk.PowerCut()
	if report := r.holds(t, fresh(), when+", and the power went behind the next block"); report.Size != b.Seq+1 || report.Torn != 0 {
		t.Fatalf("%s: %+v behind block %d", when, *report, b.Seq)
	}
}

// TestCrashesInARow kills a process at any call, and has the power go while the
// next one does the same.
func TestCrashesInARow(t *testing.T) {
	for _, d := range deeds(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(7, uint64(len(d.name))))
			for n, more := 1, true; more; n++ {
				if more = left(n) && n < 60; more {
					continue
				}
				for range 2 {
					disk := crashfs.New(rand.New(rand.NewPCG(random.Uint64(), 1)).IntN)
					d.image.put(t, disk.Process(nil))
					kill, power := &armed{strike: strikes["kill"], n: n}, &armed{strike: strikes["power"], n: 1 + random.IntN(45)}
					r := record{}
					d.do(t, ledgerOn(disk.Process(kill.fault), d.maxSegment), r)
					d.do(t, ledgerOn(disk.Process(power.fault), d.maxSegment), r)
					more = more || kill.hit != nil
					d.goesOn(t, disk, r, fmt.Sprintf("killed at call %d (%v), and the power went at %d (%v) of the next", n, kill.hit, power.n, power.hit))
				}
			}
		})
	}
}

// flushes knows of which file each flush is, by whatever name: after one that
// failed there must be no other.
type flushes struct {
	mu     sync.Mutex
	names  map[string]int // guarded by mu
	last   int            // guarded by mu
	failed map[int]bool   // guarded by mu
	again  []string       // guarded by mu
}

func newFlushes() *flushes { return &flushes{names: map[string]int{}, failed: map[int]bool{}} }

// of is a process's file system, observed.
func (w *flushes) of(fsys private.FS) private.FS { return observed{fsys, w} }

func (w *flushes) number(name string) int {
	if _, ok := w.names[name]; !ok {
		w.last++
		w.names[name] = w.last
	}
	return w.names[name]
}

type observed struct {
	private.FS
	w *flushes
}

func (o observed) OpenFile(name string, flag int, perm os.FileMode) (private.File, error) {
	f, err := o.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return observedFile{f, o.w, name, o.w.number(name)}, nil
}

func (o observed) Rename(from, to string) error {
	err := o.FS.Rename(from, to)
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if err == nil {
		o.w.names[to] = o.w.number(from)
		delete(o.w.names, from)
	} else if errors.Is(err, crashfs.ErrKilled) { // it may have happened
		delete(o.w.names, from)
		delete(o.w.names, to)
	}
	return err
}

func (o observed) Remove(name string) error {
	err := o.FS.Remove(name)
	if err == nil || errors.Is(err, crashfs.ErrKilled) {
		o.w.mu.Lock()
		defer o.w.mu.Unlock()
		delete(o.w.names, name)
	}
	return err
}

// powerLost forgets what no longer holds: nothing is in a cache any more.
func (w *flushes) powerLost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.names)
	clear(w.failed)
}

type observedFile struct {
	private.File
	w      *flushes
	name   string
	number int
}

func (f observedFile) Sync() error {
	f.w.mu.Lock()
	if f.w.failed[f.number] {
		f.w.again = append(f.w.again, filepath.Base(f.name))
	}
	f.w.mu.Unlock()
	err := f.File.Sync()
	if err != nil && !errors.Is(err, crashfs.ErrKilled) {
		f.w.mu.Lock()
		defer f.w.mu.Unlock()
		f.w.failed[f.number] = true
	}
	return err
}

// TestNoFlushAfterAFailedOne has each flush fail, and then other calls, one or all
// for a while: the same file is never flushed again, by this ledger, by another
// that was there before, or by one that comes later. What was answered outlasts
// the power.
func TestNoFlushAfterAFailedOne(t *testing.T) {
	for _, d := range deeds(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			failures, again := 0, map[string]int{}
			for k, flushed := 1, true; flushed; k++ {
				// The k-th flush fails, and count of the calls from the n-th after it on.
				flushed = false
				for _, next := range []struct{ n, count int }{
					{0, 0}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {6, 1}, {8, 1}, {11, 1}, {15, 1}, {1, 1 << 20}, {6, 1 << 20},
				} {
					if next.n > 2 && underRace() {
						continue
					}
					disk, w := crashfs.New(rand.New(rand.NewPCG(uint64(k), uint64(next.n))).IntN), newFlushes()
					d.image.put(t, disk.Process(nil))
					other, r := ledgerOn(w.of(disk.Process(nil)), d.maxSegment), record{}
					appendOne(t, other, r)
					first := &armed{strike: strike{"sync", 1, strikes["EIO"].fault}, n: k}
					second := &armed{strike: strike{"", next.count, strikes["EIO"].fault}, n: next.n}
					l := ledgerOn(w.of(disk.Process(func(c crashfs.Call) *crashfs.Fault {
						if first.hit != nil {
							return second.fault(c)
						}
						if c.Op == "syncdir" {
							return nil
						}
						return first.fault(c)
					})), d.maxSegment)
					d.do(t, l, r)
					appendOne(t, l, r)
					if first.hit == nil {
						continue
					}
					second.over, flushed = true, true
					failures++
					when := fmt.Sprintf("flush %d (%v) failed, and %d calls from %d after it (%v) on", k, first.hit, next.count, next.n, second.hit)
					for _, l := range []*Ledger{other, l, ledgerOn(w.of(disk.Process(nil)), d.maxSegment)} {
						before := len(r)
						if appendOne(t, l, r); len(r) == before {
							t.Fatalf("%s: no append any more", when)
						}
					}
					for _, name := range w.again {
						if again[name]++; again[name] == 1 {
							t.Errorf("%s: %s was flushed again", when, name)
						}
					}
					if len(w.again) == 0 {
						d.goesOn(t, disk, r, when)
					}
				}
			}
			if len(again) > 0 || failures < 4 {
				t.Errorf("flushed again in %d runs: %v", failures, again)
			}
		})
	}
}

// TestNothingRecordedIsNothing has each call fail. A block of which it is said that
// nothing was recorded does not count later.
func TestNothingRecordedIsNothing(t *testing.T) {
	one := short(1).make(t)
	for _, strike := range []string{"EIO", "EINTR"} {
		for n, more := 1, true; more; n++ {
			disk := crashfs.New(func(int) int { return 0 })
			one.put(t, disk.Process(nil))
			a := &armed{strike: strikes[strike], n: n}
			l := ledgerOn(disk.Process(a.fault), 0)
			_, refused := appendNote(l, "refused")
			if more = a.hit != nil; !more || refused == nil {
				continue
			}
			a.over = true
			b, err := appendNote(l, "d")
			if err != nil {
				t.Fatal(err)
			}
			if b.Seq != 2 && strings.Contains(refused.Error(), "nothing was recorded") {
				t.Errorf("%s at %v: it said that nothing was recorded, and that is block 2", strike, a.hit)
			}
		}
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
