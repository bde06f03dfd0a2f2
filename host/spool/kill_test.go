package spool

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/private"
)

const (
	killRecorders = 4
	kills         = 80
)

// TestMain lets the test binary be the processes that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_CHILD_HOME"); dir != "" {
		s, err := openSmall(dir)
		if err == nil && os.Getenv("SPOOL_CHILD") == "record" {
			err = recordForever(s, os.Getenv("SPOOL_CHILD_NAME"))
		} else if err == nil {
			err = syncForever(s)
		}
		fmt.Println("failed", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func openSmall(dir string) (*Spool, error) {
	s, err := Open(dir, Options{Sync: SyncOff})
	if err == nil {
		s.segmentSize = 8 << 10
	}
	return s, err
}

// recordForever is a run of short commands. It says what was acknowledged.
func recordForever(s *Spool, name string) error {
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	for n := 0; ; {
		w, err := s.Writer()
		if err != nil {
			return err
		}
		for range r.IntN(20) + 1 {
			var batch [][]byte
			var ids []string
			for range r.IntN(30) + 1 {
				id := fmt.Sprintf("%s.%d", name, n)
				n++
				ids = append(ids, id)
				batch = append(batch, []byte(id+" "+strings.Repeat("x", r.IntN(1500))))
			}
			if err := w.Append(1, batch...); err != nil {
				return err
			}
			fmt.Println("acked", strings.Join(ids, " "))
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}

func syncForever(s *Spool) error {
	for {
		err := syncOnce(s, func(event string) { fmt.Println("sent", event) })
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// syncOnce delivers what is there to one destination, under the sync lock. The
// body of an event is another one each time that it is made.
func syncOnce(s *Spool, send func(event string)) error {
	if err := private.MkdirAll(s.dir); err != nil {
		return err
	}
	lock, ok, err := private.TryLock(filepath.Join(s.dir, "sync.lock"))
	if err != nil || !ok {
		return err
	}
	defer lock.Unlock()
	st, err := s.State("camp")
	if err != nil {
		return err
	}
	deliver := func(b *Inflight) error {
		for event := range strings.Lines(string(b.Data)) {
			send(strings.TrimSpace(event))
		}
		for _, r := range b.Entries {
			st.Settle(r.Slot, r.From, r.To)
		}
		if err := st.Save(); err != nil {
			return err
		}
		return s.ClearInflight("camp")
	}
	b, err := s.LoadInflight("camp")
	if err == nil && b != nil {
		err = deliver(b)
	}
	if err != nil {
		return err
	}
	slots, err := s.Slots()
	if err != nil {
		return err
	}
	for _, slot := range slots {
		for {
			from := st.Watermark(slot) + 1
			es, next, err := s.Read(slot, from, 500, 1<<20)
			if err != nil {
				return err
			}
			if len(es) == 0 {
				if next == from {
					break
				}
				st.Settle(slot, from, next)
				continue
			}
			b := &Inflight{Entries: []Range{{slot, from, next}}}
			for _, e := range es {
				id, _, _ := strings.Cut(string(e.Payload), " ")
				b.Data = fmt.Appendf(b.Data, "%s %d\n", id, rand.Uint64())
			}
			if err := s.SaveInflight("camp", b); err != nil {
				return err
			}
			if err := deliver(b); err != nil {
				return err
			}
		}
	}
	_, err = s.Trim("camp")
	return err
}

// TestKill kills recorders and a syncer at any moment, while others are alive.
// Nothing acknowledged is lost, no id is sent with two bodies, no lock stays,
// nothing grows.
func TestKill(t *testing.T) {
	n := kills
	if testing.Short() {
		n = 10
	}
	dir := filepath.Join(t.TempDir(), "home")
	var mu sync.Mutex
	acked, sent := map[string]bool{}, map[string]string{}
	note := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "acked":
			for _, id := range strings.Fields(rest) {
				acked[id] = true
			}
		case "sent":
			id, body, _ := strings.Cut(rest, " ")
			if old, ok := sent[id]; ok && old != body {
				t.Errorf("%s was sent as %s and as %s", id, old, body)
			}
			sent[id] = body
		default:
			t.Errorf("a process says %q", line)
		}
	}
	type child struct {
		cmd  *exec.Cmd
		done chan struct{}
	}
	start := func(i, generation int) child {
		cmd := exec.Command(os.Args[0])
		role := "record"
		if i == killRecorders {
			role = "sync"
		}
		cmd.Env = append(os.Environ(), "SPOOL_CHILD_HOME="+dir, "SPOOL_CHILD="+role, "SPOOL_CHILD_NAME="+strconv.Itoa(i)+"-"+strconv.Itoa(generation))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The last line may be cut by the kill: what is not said is not
			// acknowledged, and what was sent by half was sent.
			for r := bufio.NewReader(out); ; {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				note(strings.TrimSpace(line))
			}
		}()
		return child{cmd, done}
	}
	stop := func(c child) {
		c.cmd.Process.Kill()
		<-c.done
		c.cmd.Wait()
	}
	var children []child
	for i := range killRecorders + 1 {
		children = append(children, start(i, 0))
	}
	for k := range n {
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		i := rand.IntN(len(children))
		stop(children[i])
		children[i] = start(i, k+1)
	}
	for _, c := range children {
		stop(c)
	}

	s, err := openSmall(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ws []*Writer
	for i := range killRecorders + 1 {
		ws = append(ws, writer(t, s))
		if ws[i].Slot() != i {
			t.Errorf("slot %d is locked for ever", i)
		}
	}
	for _, w := range ws {
		closeWriter(t, w)
	}
	if err := syncOnce(s, func(event string) { note("sent " + event) }); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for id := range acked {
		if sent[id] == "" {
			lost++
		}
	}
	if lost > 0 || len(acked) < n {
		t.Errorf("%d of %d acknowledged records were never sent", lost, len(acked))
	}
	files := 0
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "quarantine") {
			files++
		}
		if strings.Contains(path, ".carl-tmp-") && !strings.Contains(path, "quarantine") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	// A lock and a segment for each slot, and a handful beside.
	if err != nil || files > 2*(killRecorders+2)+6 {
		t.Errorf("%d files are left, %v", files, err)
	}
	t.Logf("%d kills, %d acknowledged, %d sent, %d quarantined, %d files left", n, len(acked), len(sent), len(quarantined(t, s)), files)
}
