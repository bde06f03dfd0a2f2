package sync_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/axon"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/sync"
	"carl.camp/carl/host/world"
)

// The test binary runs itself as recorders and syncers, to be killed.
const (
	roleEnv = "CARL_SYNC_TEST_ROLE" // "record", "sync"
	homeEnv = "CARL_SYNC_TEST_HOME"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleEnv) {
	case "":
		os.Exit(m.Run())
	case "record":
		err = recordForEver(os.Getenv(homeEnv))
	case "sync":
		err = syncForEver(os.Getenv(homeEnv))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// recordForEver appends steps, and prints the number of each once it is acknowledged.
func recordForEver(home string) error {
	s, err := spool.Open(home, spool.Options{Sync: spool.SyncOff})
	if err != nil {
		return err
	}
	w, err := s.Writer()
	if err != nil {
		return err
	}
	for n := os.Getpid() << 20; ; n++ {
		st := newStep("one", n)
		if err := w.Append(0, st.AppendJSON(nil)); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
	}
}

// fileDestination appends a line for each event to a file, and now and then
// loses the answer.
type fileDestination struct{ f *os.File }

func (d fileDestination) Open(context.Context, []byte) error { return nil }

func (d fileDestination) Deliver(_ context.Context, _ world.Topic, events []world.Event) ([]world.Outcome, error) {
	for _, e := range events {
		if _, err := d.f.Write(append(bytes.Clone(e.Body), '\n')); err != nil {
			return nil, err
		}
	}
	if rand.IntN(4) == 0 {
		return nil, &world.Failure{Kind: world.Unavailable, Message: "the answer was lost"}
	}
	return make([]world.Outcome, len(events)), nil
}

// syncForEver ships with a mapper whose bytes are this process's own.
func syncForEver(home string) error {
	s, err := spool.Open(home, spool.Options{})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(home, "destination"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	o := sync.Options{
		Spool:        s,
		Lock:         filepath.Join(home, "state", "sync.lock"),
		Source:       axon.Source("test"),
		Destinations: []sync.Destination{plain("file", &mapper{version: os.Getpid()}, fileDestination{f})},
		// Back-offs are over before they begin.
		Now: func() time.Time { return time.Now().Add(time.Duration(rand.Int64N(int64(time.Hour)))) },
	}
	for {
		if _, err := sync.Run(context.Background(), o); err != nil {
			return err
		}
	}
}

// child is a process of the test.
type child struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func start(t *testing.T, role, home string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), roleEnv+"="+role, homeEnv+"="+home)
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// kill ends the process at once. It fails when it had ended by itself.
func (c *child) kill(t *testing.T) {
	t.Helper()
	c.cmd.Process.Kill()
	c.cmd.Wait()
	if c.stderr.Len() > 0 {
		t.Errorf("%s: %s", c.cmd.Path, c.stderr.String())
	}
}

// How long the killing goes on, and what it must have been about.
const (
	minRounds, maxRounds = 25, 400
	enoughSteps          = 500
)

// Recorders and syncers, several at once, are killed at any moment, again and
// again. What a recorder was told is recorded arrives, under one id with one body.
func TestKilledProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some hundred processes")
	}
	p := newPlace(t, t.TempDir())
	acknowledged := make(map[string]bool)
	// A slow machine takes more rounds to record enough.
	for round := 0; round < minRounds || len(acknowledged) < enoughSteps && round < maxRounds; round++ {
		var recorders, syncers []*child
		for range 2 {
			recorders = append(recorders, start(t, "record", p.dir))
			syncers = append(syncers, start(t, "sync", p.dir))
		}
		time.Sleep(20*time.Millisecond + time.Duration(rand.IntN(60))*time.Millisecond)
		for _, c := range syncers {
			c.kill(t)
		}
		for _, c := range recorders {
			c.kill(t)
			// A line that the kill has torn was never read by anybody.
			text := c.stdout.String()
			for _, line := range strings.Split(text[:strings.LastIndexByte(text, '\n')+1], "\n") {
				if n, err := strconv.Atoi(line); err == nil {
					acknowledged[axon.ID(newStep("one", n).ID, axon.InteractionCreated)] = true
				}
			}
		}
	}

	path := filepath.Join(p.dir, "destination")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.Destinations = []sync.Destination{plain("file", &mapper{}, fileDestination{f})}
	p.drain(t)

	held, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(map[string]string)
	total, torn := 0, 0
	for line := range strings.Lines(string(held)) {
		line = strings.TrimSuffix(line, "\n")
		total++
		if !strings.HasPrefix(line, `{"specversion"`) || !strings.HasSuffix(line, "}}") {
			torn++ // by a kill in the middle of the destination's own write
			continue
		}
		id := line[strings.Index(line, `"id":"`)+6:][:64]
		if before, ok := bodies[id]; ok && before != line {
			t.Fatalf("two bodies under one id:\n%s\n%s", before, line)
		}
		bodies[id] = line
	}
	missing := 0
	for id := range acknowledged {
		if _, ok := bodies[id]; !ok {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d steps were acknowledged and did not arrive", missing)
	}
	if len(acknowledged) < enoughSteps {
		t.Errorf("only %d steps were recorded: the test shows nothing", len(acknowledged))
	}
	if dead := deadOf(t, p.spool, ""); len(dead) > 0 {
		t.Errorf("%d dead letters: %+v", len(dead), dead[0])
	}
	t.Logf("%d steps acknowledged, %d arrived, %d sent again, %d torn", len(acknowledged), len(bodies), total-torn-len(bodies), torn)
}
