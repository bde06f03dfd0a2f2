package spool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/private/crashfs"
	"pgregory.net/rapid"
)

const modelHome = "/home"

// fate is what must be true of a record.
type fate int

const (
	attempted fate = iota // may be there
	acked                 // is there while the power lasts
	flushed               // is there
)

// world is a machine with several carl processes, and what an observer outside
// of it knows.
type world struct {
	t    *rapid.T
	disk *crashfs.Disk
	mode Sync
	now  time.Time

	recorders []*recorder
	syncer    *Spool
	syncProc  *crashfs.Process

	records map[string]fate                  // by payload
	bodies  map[string]map[string]string     // destination → payload → what was sent
	letters map[string]map[string]letterFate // destination → id
	seen    map[Pos]string                   // what was read where, since the last power cut
	serial  int
	cuts    int // power cuts
	faults  map[string]int
}

type letterFate int

const (
	letterMaybe letterFate = iota
	letterThere
)

type recorder struct {
	proc *crashfs.Process
	w    *Writer
	mine []string // acknowledged since the writer was opened
}

var modelDestinations = []string{"camp", "archive"}

func newWorld(t *rapid.T) *world {
	seed := rapid.Uint64().Draw(t, "seed")
	w := &world{
		t: t, disk: crashfs.New(rand.New(rand.NewPCG(seed, 0)).IntN),
		mode:    Sync(rapid.IntRange(0, 1).Draw(t, "mode")),
		now:     time.Unix(1_700_000_000, 0),
		records: map[string]fate{}, bodies: map[string]map[string]string{},
		letters: map[string]map[string]letterFate{}, seen: map[Pos]string{},
		faults: map[string]int{},
	}
	for _, d := range modelDestinations {
		w.bodies[d] = map[string]string{}
		w.letters[d] = map[string]letterFate{}
	}
	return w
}

// plan draws the fault of a new process: one, at some call, or none.
func (w *world) plan() func(crashfs.Call) *crashfs.Fault {
	at := rapid.IntRange(0, 250).Draw(w.t, "fault at")
	kind := rapid.SampledFrom([]string{"none", "kill", "kill", "power", "EIO", "EIO", "ENOSPC", "EINTR"}).Draw(w.t, "fault")
	if kind == "none" {
		return nil
	}
	return func(c crashfs.Call) *crashfs.Fault {
		if c.N != at {
			return nil
		}
		w.faults[kind]++
		switch kind {
		case "kill":
			return &crashfs.Fault{Kill: true}
		case "power":
			w.powerLost()
			return &crashfs.Fault{PowerCut: true}
		case "EIO":
			return &crashfs.Fault{Err: syscall.EIO, Short: c.Size / 2}
		case "ENOSPC":
			return &crashfs.Fault{Err: syscall.ENOSPC, Short: c.Size * 2 / 3}
		default:
			return &crashfs.Fault{Err: syscall.EINTR}
		}
	}
}

// powerLost is what the observer concludes from a power cut.
func (w *world) powerLost() {
	for r, f := range w.records {
		if f == acked {
			w.records[r] = attempted
		}
	}
	clear(w.seen)
	w.cuts++
	w.recorders, w.syncer = nil, nil
}

func (w *world) spool(p *crashfs.Process) (*Spool, error) {
	s, err := open(p, modelHome, Options{Sync: w.mode, Now: func() time.Time { return w.now }})
	if err == nil {
		s.segmentSize = 400
	}
	return s, err
}

func (w *world) startRecorder() {
	if len(w.recorders) == 3 {
		return
	}
	p := w.disk.Process(w.plan())
	s, err := w.spool(p)
	if err != nil {
		return
	}
	wr, err := s.Writer()
	if err != nil {
		return
	}
	w.recorders = append(w.recorders, &recorder{proc: p, w: wr})
}

func (w *world) pick() *recorder {
	if len(w.recorders) == 0 {
		w.startRecorder()
	}
	if len(w.recorders) == 0 {
		w.t.Skip("no recorder starts")
	}
	return w.recorders[rapid.IntRange(0, len(w.recorders)-1).Draw(w.t, "recorder")]
}

func (w *world) append() {
	r := w.pick()
	var batch []string
	var bytes [][]byte
	for range rapid.IntRange(1, 5).Draw(w.t, "batch") {
		w.serial++
		p := fmt.Sprintf("r%d%s", w.serial, strings.Repeat(".", rapid.IntRange(0, 90).Draw(w.t, "pad")))
		batch = append(batch, p)
		bytes = append(bytes, []byte(p))
		w.records[p] = attempted
	}
	if err := r.w.Append(3, bytes...); err != nil {
		return
	}
	for _, p := range batch {
		w.records[p] = acked
		if w.mode == SyncAlways {
			w.records[p] = flushed
		}
	}
	r.mine = append(r.mine, batch...)
}

func (w *world) closeRecorder() {
	r := w.pick()
	if r.w.Close() == nil {
		for _, p := range r.mine {
			w.records[p] = flushed
		}
	}
	w.recorders = slices.DeleteFunc(w.recorders, func(o *recorder) bool { return o == r })
}

func (w *world) killRecorder() {
	r := w.pick()
	r.proc.Kill()
	w.recorders = slices.DeleteFunc(w.recorders, func(o *recorder) bool { return o == r })
}

func (w *world) startSyncer() {
	if w.syncer != nil {
		w.syncProc.Kill()
	}
	w.syncer = nil
	p := w.disk.Process(w.plan())
	if s, err := w.spool(p); err == nil {
		w.syncer, w.syncProc = s, p
	}
}

// sync is one round of a syncer for one destination. It returns how much it
// did; an error ends the round, as it does in life.
func (w *world) sync(s *Spool, dest string) (int, error) {
	st, err := s.State(dest)
	if err != nil {
		return 0, err
	}
	if b, err := s.LoadInflight(dest); err != nil {
		return 0, err
	} else if b != nil {
		return 1, w.deliver(s, st, b)
	}
	slots, err := s.Slots()
	if err != nil {
		return 0, err
	}
	for _, slot := range slots {
		from := st.Watermark(slot) + 1
		cuts := w.cuts
		es, next, err := s.Read(slot, from, 6, 200)
		if err != nil || cuts != w.cuts {
			return 0, err
		}
		if len(es) == 0 {
			if next == from {
				continue
			}
			st.Settle(slot, from, next)
			return 1, st.Save()
		}
		b := &Inflight{}
		var events []string
		for _, e := range es {
			p := string(e.Payload)
			if old, ok := w.seen[e.Pos]; ok && old != p {
				w.t.Fatalf("%v was %q and is %q", e.Pos, old, p)
			}
			w.seen[e.Pos] = p
			if _, ok := w.records[p]; !ok {
				w.t.Fatalf("%v holds %q, which nobody recorded", e.Pos, p)
			}
			b.Entries = append(b.Entries, Range{slot, e.First, e.Seq + 1})
			// A mapper that never says the same twice.
			w.serial++
			events = append(events, fmt.Sprintf("%s|%d", p, w.serial))
		}
		b.Data = []byte(strings.Join(events, "\n"))
		if err := s.SaveInflight(dest, b); err != nil {
			return 0, err
		}
		return 1, w.deliver(s, st, b)
	}
	return 0, nil
}

func (w *world) deliver(s *Spool, st *State, b *Inflight) error {
	dest := st.Destination()
	for event := range strings.SplitSeq(string(b.Data), "\n") {
		p, _, _ := strings.Cut(event, "|")
		if old, ok := w.bodies[dest][p]; ok && old != event {
			w.t.Fatalf("%s got %q and then %q (%v, mark %d)", dest, old, event, b.Entries, st.Watermark(b.Entries[0].Slot))
		}
		w.bodies[dest][p] = event
		if len(event)%7 == 0 { // refused for good
			if w.letters[dest][p] != letterThere {
				w.letters[dest][p] = letterMaybe
			}
			if err := s.AppendDead(dest, DeadLetter{ID: p, Reason: "refused", Attempts: 1}); err != nil {
				return err
			}
			w.letters[dest][p] = letterThere
		}
	}
	for _, r := range b.Entries {
		st.Settle(r.Slot, r.From, r.To)
	}
	if err := st.Save(); err != nil {
		return err
	}
	return s.ClearInflight(dest)
}

func (w *world) alive() *Spool {
	if w.syncer == nil {
		w.startSyncer()
	}
	if w.syncer == nil {
		w.t.Skip("no syncer starts")
	}
	return w.syncer
}

func (w *world) dropLetters() {
	s := w.alive()
	dest := rapid.SampledFrom(modelDestinations).Draw(w.t, "destination")
	var ids []string
	for id := range w.letters[dest] {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		w.t.Skip("no letters")
	}
	slices.Sort(ids)
	ids = ids[:1+len(ids)/2]
	if rapid.Bool().Draw(w.t, "replay") {
		s.ReplayDead(dest, ids...)
		return
	}
	for _, id := range ids {
		w.letters[dest][id] = letterMaybe
	}
	s.DropDead(dest, ids...)
}

// settle ends all trouble and checks that everything due has arrived.
func (w *world) settle() {
	for _, r := range w.recorders {
		r.proc.Kill()
	}
	if rapid.Bool().Draw(w.t, "power cut at the end") {
		w.disk.PowerCut()
		w.powerLost()
	}
	p := w.disk.Process(nil)
	s, err := w.spool(p)
	if err != nil {
		w.t.Fatal(err)
	}
	// The slots' next owners, all at once, so that each tail is seen to.
	var ws []*Writer
	for range 4 {
		wr, err := s.Writer()
		if err != nil {
			w.t.Fatal(err)
		}
		ws = append(ws, wr)
		w.serial++
		last := fmt.Sprintf("r%d", w.serial)
		w.records[last] = attempted
		if err := wr.Append(0, []byte(last)); err != nil {
			w.t.Fatal(err)
		}
		w.records[last] = acked
	}
	for _, dest := range modelDestinations {
		for round := 0; ; round++ {
			n, err := w.sync(s, dest)
			if err != nil {
				w.t.Fatal(err)
			}
			if n == 0 {
				break
			}
			if round > 10_000 {
				w.t.Fatal("the syncer does not come to an end")
			}
		}
		for r, f := range w.records {
			if f >= acked && w.bodies[dest][r] == "" {
				w.t.Fatalf("%s never got %q, which was acknowledged\n%s", dest, r, w.dump(s))
			}
		}
		letters, err := s.ListDead(dest)
		if err != nil {
			w.t.Fatal(err)
		}
		there := map[string]bool{}
		for _, l := range letters {
			if _, ok := w.letters[dest][l.ID]; !ok || there[l.ID] {
				w.t.Fatalf("%s has the letter %q, unknown or twice", dest, l.ID)
			}
			there[l.ID] = true
		}
		for id, f := range w.letters[dest] {
			if f == letterThere && !there[id] {
				w.t.Fatalf("%s lost the letter %q", dest, id)
			}
		}
	}
	for _, wr := range ws {
		if err := wr.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := s.Trim(modelDestinations...); err != nil {
		w.t.Fatal(err)
	}
	w.nothingGrows(s)
}

// dump shows what is on the disk, for a failing test.
func (w *world) dump(s *Spool) string {
	var b strings.Builder
	slots, _ := s.Slots()
	for _, slot := range slots {
		segs, _ := measured(s, slot)
		for _, g := range segs {
			f, err := s.openSegment(slot, g.first, os.O_RDONLY)
			if err != nil {
				continue
			}
			fmt.Fprintf(&b, "slot %d segment %d of %d bytes:", slot, g.first, g.size)
			sc := newScanner(f, g.first)
			sc.damaged = func(from, to int64) { fmt.Fprintf(&b, " damaged %d-%d", from, to) }
			for {
				fr, at, err := sc.frame()
				if err != nil {
					break
				}
				fmt.Fprintf(&b, " %d@%d=%.8s", fr.seq, at, fr.payload)
			}
			fmt.Fprintf(&b, " end %d\n", sc.off)
			f.Close()
		}
	}
	for _, dest := range modelDestinations {
		if st, err := s.State(dest); err == nil {
			for slot, p := range st.slots {
				fmt.Fprintf(&b, "%s slot %d: %+v\n", dest, slot, *p)
			}
		}
	}
	return b.String()
}

// nothingGrows checks that all is trimmed that can be, and no leftovers stay.
func (w *world) nothingGrows(s *Spool) {
	slots, err := s.Slots()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, slot := range slots {
		segs, err := measured(s, slot)
		if err != nil || len(segs) > 1 || len(segs) == 1 && segs[0].size != 0 {
			w.t.Fatalf("slot %d holds %v, %v", slot, segs, err)
		}
	}
	for _, dir := range []string{"spool", "state"} {
		entries, err := s.fs.ReadDir(modelHome + "/" + dir)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), "tmp") && dir == "state" || strings.Contains(e.Name(), "corrupt") {
				w.t.Fatalf("%s holds %s", dir, e.Name())
			}
		}
	}
}

// TestCrashes is the model test: recorders and a syncer at work, each dying or
// failing at some system call, the power going, and at the end nothing that was
// acknowledged is lost and no id has two bodies.
func TestCrashes(t *testing.T) {
	faults, delivered := map[string]int{}, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.startRecorder()
		w.startSyncer()
		rt.Repeat(map[string]func(*rapid.T){
			"start":   func(*rapid.T) { w.startRecorder() },
			"append":  func(*rapid.T) { w.append() },
			"append2": func(*rapid.T) { w.append() },
			"append3": func(*rapid.T) { w.append() },
			"close":   func(*rapid.T) { w.closeRecorder() },
			"kill":    func(*rapid.T) { w.killRecorder() },
			"syncer":  func(*rapid.T) { w.startSyncer() },
			"sync": func(*rapid.T) {
				w.sync(w.alive(), rapid.SampledFrom(modelDestinations).Draw(rt, "destination"))
			},
			"trim":      func(*rapid.T) { w.alive().Trim(modelDestinations...) },
			"letters":   func(*rapid.T) { w.dropLetters() },
			"writeback": func(*rapid.T) { w.disk.WriteBack() },
			"power":     func(*rapid.T) { w.disk.PowerCut(); w.powerLost() },
			"time":      func(*rapid.T) { w.now = w.now.Add(time.Second); w.disk.Advance(time.Second) },
		})
		w.settle()
		for k, n := range w.faults {
			faults[k] += n
		}
		delivered += len(w.bodies["camp"])
	})
	if !t.Failed() && (delivered == 0 || len(faults) < 5) {
		t.Errorf("only %d delivered, faults %v", delivered, faults)
	}
	t.Logf("%d records delivered, faults %v", delivered, faults)
}
