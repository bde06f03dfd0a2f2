package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"carl.camp/carl/host/camp/standin"
)

// installation is a home with two destinations, the stand-in platform and a
// local file, and the real command to use it.
type installation struct {
	t       *testing.T
	home    string
	archive string
	server  *standin.Server
	env     []string
}

func install(t *testing.T, faults string) *installation {
	t.Helper()
	requireBundled(t)
	dir := t.TempDir()
	in := &installation{t: t, home: filepath.Join(dir, "home"), archive: filepath.Join(dir, "archive")}
	for _, d := range []string{in.home, in.archive} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o := standin.Options{Token: "dev-" + strings.Repeat("k", 30), Seed: 7, Slow: 20 * time.Millisecond}
	if faults != "" {
		f, err := standin.ParseFaults(faults)
		if err != nil {
			t.Fatal(err)
		}
		o.Faults = f
	}
	server, err := standin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	url, err := server.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in.server = server
	config := fmt.Sprintf(`destinations:
  camp:    {plugin: carl.camp/forward/camp}
  archive: {plugin: carl.camp/forward/jsonl, settings: {file: signals.jsonl}, grants: {files: %q}}
`, in.archive)
	if err := os.WriteFile(filepath.Join(in.home, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	in.env = append(os.Environ(), asCommand+"=1", "CARL_HOME="+in.home, "CARL_CAMP_URL="+url,
		"CARL_CAMP_TOKEN="+server.Token(), "CARL_BACKGROUND=off", "DO_NOT_TRACK=", "AXON_FORWARD_DISABLED=")
	in.must("consent", "grant", "telemetry")
	return in
}

// command is the real command with arguments, not started.
func (in *installation) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = in.env
	return cmd
}

func (in *installation) must(args ...string) []byte {
	in.t.Helper()
	cmd := in.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		in.t.Fatalf("carl %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// drain syncs until nothing waits.
func (in *installation) drain() {
	in.t.Helper()
	var out []byte
	for range 20 {
		cmd := in.command("sync", "--deadline", "30s", "--json")
		var err error
		if out, err = cmd.Output(); err == nil {
			return
		}
	}
	in.t.Fatalf("something still waits: %s", out)
}

// archived returns what the local file holds, id → type, and fails on an id with two bodies.
func (in *installation) archived() map[string]string {
	in.t.Helper()
	f, err := os.Open(filepath.Join(in.archive, "signals.jsonl"))
	if err != nil {
		in.t.Fatal(err)
	}
	defer f.Close()
	held, bodies := map[string]string{}, map[string]string{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var e struct{ ID, Type string }
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			in.t.Fatalf("a line of the archive is not an event: %v", err)
		}
		if before, ok := bodies[e.ID]; ok && before != sc.Text() {
			in.t.Fatalf("%s has two bodies:\n%s\n%s", e.ID, before, sc.Text())
		}
		held[e.ID], bodies[e.ID] = e.Type, sc.Text()
	}
	if err := sc.Err(); err != nil {
		in.t.Fatal(err)
	}
	return held
}

func signalID(stepID, typ string) string {
	sum := sha256.Sum256([]byte(stepID + ":" + typ))
	return hex.EncodeToString(sum[:])
}

// TestKilled records and syncs with several processes at once and kills them
// at any moment. What was acknowledged arrives everywhere, under one id with
// one body, nothing arrives that was not recorded, and no lock stays behind.
func TestKilled(t *testing.T) {
	in := install(t, "lost:0.05")
	const (
		recorders = 3
		rounds    = 25
		steps     = 40
	)
	var (
		mu           gosync.Mutex
		tried        = map[string]bool{} // ids of signals that may exist
		acknowledged = map[string]bool{} // ids of signals that must exist
		killed       int
	)
	var work gosync.WaitGroup
	stopSync := make(chan struct{})
	for r := range recorders {
		work.Go(func() {
			for round := range rounds {
				var lines bytes.Buffer
				var ids []string
				for i := range steps {
					id := fmt.Sprintf("%02x%04x%06x", r, round, i)
					ids = append(ids, signalID(id, "interaction.created"))
					fmt.Fprintf(&lines, `{"step_id":%q,"action":"LLM_REPLY","name":"s","ts":"2026-11-23T00:00:%02dZ","output":{"text":%q}}`+"\n", id, i, strings.Repeat("x", 500))
				}
				mu.Lock()
				for _, id := range ids {
					tried[id] = true
				}
				mu.Unlock()
				cmd := in.command("record", "-")
				cmd.Stdin = &lines
				dead, err := runAndMaybeKill(cmd, 40*time.Millisecond)
				mu.Lock()
				if dead {
					killed++
				} else if err != nil {
					t.Errorf("record: %v", err)
				} else {
					for _, id := range ids {
						acknowledged[id] = true
					}
				}
				mu.Unlock()
			}
		})
	}
	var syncers gosync.WaitGroup
	for range 2 {
		syncers.Go(func() {
			for {
				select {
				case <-stopSync:
					return
				default:
				}
				dead, _ := runAndMaybeKill(in.command("sync", "--deadline", "5s"), 600*time.Millisecond)
				mu.Lock()
				if dead {
					killed++
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	close(stopSync)
	syncers.Wait()
	if killed < 10 || len(acknowledged) == 0 {
		t.Fatalf("%d processes were killed and %d signals acknowledged: the test showed nothing", killed, len(acknowledged))
	}

	in.drain()
	platform := map[string]bool{}
	for _, id := range in.server.IDs() {
		platform[id] = true
	}
	archive := in.archived()
	for id := range acknowledged {
		if !platform[id] {
			t.Errorf("the platform lacks %s, which was acknowledged", id)
		}
		if archive[id] == "" {
			t.Errorf("the archive lacks %s, which was acknowledged", id)
		}
	}
	for id := range platform {
		if !tried[id] {
			t.Errorf("the platform holds %s, which nobody recorded", id)
		}
	}
	if s := in.server.Summary(); s.Conflicts != 0 || s.Rejected != 0 {
		t.Errorf("the platform saw %d conflicts and %d rejects", s.Conflicts, s.Rejected)
	}
	t.Logf("%d killed, %d signals acknowledged, %d held, %d sent again", killed, len(acknowledged), len(platform), in.server.Summary().Duplicates)

	if n := files(t, filepath.Join(in.home, "spool"), filepath.Join(in.home, "state")); n > 60 {
		t.Errorf("%d files stay behind", n)
	}
	if out := in.must("dlq", "list", "--json"); len(out) != 0 {
		t.Errorf("dead letters: %s", out)
	}
}

// runAndMaybeKill runs a command and kills it, two times out of three, after a
// random part of within.
func runAndMaybeKill(cmd *exec.Cmd, within time.Duration) (killed bool, err error) {
	if err := cmd.Start(); err != nil {
		return false, err
	}
	if rand.IntN(3) > 0 {
		timer := time.AfterFunc(rand.N(within), func() { cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	return cmd.ProcessState.ExitCode() == -1, err
}

// files counts the files below some folders.
func files(t *testing.T, dirs ...string) (n int) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestManyShortCommands runs one command after another and looks that neither
// slots nor files pile up.
func TestManyShortCommands(t *testing.T) {
	in := install(t, "")
	const commands = 300
	for i := range commands {
		cmd := in.command("record", "-")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"step_id":"%012x","ts":"2026-11-23T00:00:00Z","action":"EXTERNAL","name":"short"}`+"\n", i))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if n := files(t, filepath.Join(in.home, "spool")); n > 10 {
		t.Errorf("%d files after %d commands", n, commands)
	}
	in.drain()
	if n := len(in.server.IDs()); n != commands {
		t.Errorf("the platform holds %d of %d", n, commands)
	}
	if n := len(in.archived()); n != commands {
		t.Errorf("the archive holds %d of %d", n, commands)
	}
}
