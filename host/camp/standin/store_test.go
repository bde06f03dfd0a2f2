package standin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

// TestMain turns the test binary into a stand-in that tests start and kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STANDIN_TEST_DIR"); dir != "" {
		os.Exit(serveUntilKilled(dir))
	}
	os.Exit(m.Run())
}

func serveUntilKilled(dir string) int {
	s, err := New(Options{DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	url, err := s.Start("127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(url)
	select {}
}

func TestDataOutlastsARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, Options{DataDir: dir})
	token := p.Token()
	a := strings.Replace(signal(idOf("a"), `{"n":1}`), ",", ",\n\t", 3)
	if got := p.post(t, batch(a, signal(idOf("b"), `{}`))); statuses(got) != "accepted accepted" {
		t.Fatalf("got %+v", got)
	}
	if err := p.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}

	p = start(t, Options{DataDir: dir})
	if p.Token() != token {
		t.Error("the token is another one")
	}
	got := p.post(t, batch(a, signal(idOf("b"), `{"other":1}`), signal(idOf("c"), `{}`)))
	if statuses(got) != "duplicate rejected accepted" {
		t.Errorf("after the restart: %+v", got)
	}
	if body, ok := p.Event(idOf("a")); !ok || string(body) != strings.ReplaceAll(a, "\n", " ") {
		t.Errorf("held: %q", body)
	}
	if s := p.Summary(); s.Signals != 3 || s.Types["interaction.created"] != 3 {
		t.Errorf("summary %+v", s)
	}
	p.Close()

	p = start(t, Options{DataDir: dir, Token: "another-token"})
	if p.Token() != "another-token" {
		t.Error("the token that was given is not the one in use")
	}
	p.Close()
	if p = start(t, Options{DataDir: dir}); p.Token() != "another-token" {
		t.Error("the token that was given is not kept")
	}
	for name, want := range map[string]os.FileMode{".": 0o700, "token": 0o600, "signals.jsonl": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want && os.PathSeparator == '/' {
			t.Errorf("%s has mode %v", name, got)
		}
	}
}

func TestOneProcessHasTheFolder(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	p := start(t, Options{DataDir: dir})
	if _, err := New(Options{DataDir: dir}); fault.CodeOf(err) != fault.IO {
		t.Errorf("got %v", err)
	}
	p.Close()
	start(t, Options{DataDir: dir})
}

func TestTornTailIsCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, Options{DataDir: dir})
	p.post(t, batch(signal(idOf("a"), `{}`)))
	p.Close()
	file := filepath.Join(dir, "signals.jsonl")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line, _ := appendLine(nil, 0, []byte(signal(idOf("b"), `{}`)), time.Unix(1, 0))
	for cut := 1; cut < len(line); cut++ {
		if err := os.WriteFile(file, append(whole[:len(whole):len(whole)], line[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{DataDir: dir})
		if err != nil {
			t.Fatalf("after %d bytes of a line: %v", cut, err)
		}
		if ids := s.IDs(); len(ids) != 1 || ids[0] != idOf("a") {
			t.Fatalf("after %d bytes of a line: %v", cut, ids)
		}
		s.Close()
		if now, err := os.ReadFile(file); err != nil || string(now) != string(whole) {
			t.Fatalf("after %d bytes of a line the file is %q, %v", cut, now, err)
		}
	}
}

func TestDamageInsideIsAnError(t *testing.T) {
	good, _ := appendLine(nil, 0, []byte(signal(idOf("a"), `{}`)), time.Unix(1, 0))
	for name, text := range map[string]string{
		"not JSON":      "hello\n" + string(good),
		"empty line":    "\n" + string(good),
		"twice":         string(good) + string(good),
		"no event":      `{"received":"2026-11-23T01:02:03Z"}` + "\n",
		"another event": strings.Replace(string(good), "interaction.created", "interaction.deleted", 1),
		"no id":         strings.Replace(string(good), idOf("a"), "x", 1),
		"another field": strings.Replace(string(good), `{"received"`, `{"x":1,"received"`, 1),
		"too long":      strings.Repeat("x", maxLine+10) + "\n",
	} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "signals.jsonl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{DataDir: dir})
		if fault.CodeOf(err) != fault.IO {
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			s.Close()
		}
		if now, err := os.ReadFile(filepath.Join(dir, "signals.jsonl")); err != nil || string(now) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// A store whose file can no longer be written acknowledges nothing, and after
// a failed fsync it never tries again.
func TestBrokenStoreAcknowledgesNothing(t *testing.T) {
	p := start(t, Options{DataDir: filepath.Join(t.TempDir(), "data")})
	p.post(t, batch(signal(idOf("a"), `{}`)))
	readOnly, err := os.Open(p.signals.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	p.signals.mu.Lock()
	p.signals.file.Close()
	p.signals.file = readOnly
	p.signals.mu.Unlock()
	for range 2 {
		resp, text := p.do(t, "POST", signalsPath, batchType, batch(signal(idOf("b"), `{}`)))
		if resp.StatusCode != 500 || refusal(t, text).Code != "storage" {
			t.Errorf("answered %d %s", resp.StatusCode, text)
		}
	}
	if len(p.IDs()) != 1 {
		t.Error("what was not stored is held")
	}
	if got := p.post(t, batch(signal(idOf("a"), `{}`))); statuses(got) != "duplicate" {
		t.Errorf("what is held already: %+v", got)
	}
}

func TestSignalsAreSyncedOnceAndNeverAfterAFailure(t *testing.T) {
	p := start(t, Options{DataDir: filepath.Join(t.TempDir(), "data")})
	synced, fail := 0, error(nil)
	p.signals.sync = func(f *os.File) error {
		synced++
		return fail
	}
	p.post(t, batch(signal(idOf("a"), `{}`), signal(idOf("b"), `{}`)))
	if synced != 1 {
		t.Errorf("%d times on disk before the answer", synced)
	}
	p.post(t, batch(signal(idOf("a"), `{}`)))
	if synced != 1 {
		t.Error("what is held was written again")
	}
	fail = errors.New("input/output error")
	for range 2 {
		if resp, text := p.do(t, "POST", signalsPath, batchType, batch(signal(idOf("c"), `{}`))); resp.StatusCode != 500 || refusal(t, text).Code != "storage" {
			t.Errorf("answered %d %s", resp.StatusCode, text)
		}
		fail = nil
	}
	if synced != 2 {
		t.Errorf("the file was synced again after it failed: %d", synced)
	}
	if len(p.IDs()) != 2 {
		t.Error("what was not stored is held")
	}
}

// TestKilledStandIn kills a stand-in again and again while it takes signals.
// What it had acknowledged is there after the next start.
func TestKilledStandIn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	acknowledged := map[string]bool{}
	for generation := range 5 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "STANDIN_TEST_DIR="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		token, err := os.ReadFile(filepath.Join(dir, "token"))
		if err != nil {
			t.Fatal(err)
		}
		p := &platform{&Server{token: strings.TrimSpace(string(token))}, strings.TrimSpace(line)}
		// The killer waits for some acknowledgements, and then strikes while
		// others are on their way.
		strike := make(chan struct{})
		go func() {
			<-strike
			cmd.Process.Kill()
		}()
		for n := 0; ; n++ {
			var events []string
			var ids []string
			for i := range 20 {
				id := idOf(fmt.Sprint(generation, n, i))
				ids, events = append(ids, id), append(events, signal(id, `"`+strings.Repeat("x", 500)+`"`))
			}
			resp, text, err := p.try("POST", signalsPath, batchType, batch(events...))
			if err != nil {
				break
			}
			if resp.StatusCode != http.StatusOK || strings.Count(text, `"accepted"`) != len(events) {
				t.Fatalf("answered %d %s", resp.StatusCode, text)
			}
			for _, id := range ids {
				acknowledged[id] = true
			}
			if n == 5+generation {
				close(strike)
			}
		}
		cmd.Wait()
	}
	s, err := New(Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	held := map[string]bool{}
	for _, id := range s.IDs() {
		held[id] = true
	}
	lost := 0
	for id := range acknowledged {
		if !held[id] {
			lost++
		}
		if body, ok := s.Event(id); ok {
			var doc struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(body, &doc); err != nil || doc.ID != id {
				t.Fatalf("under %s there is %.100q", id, body)
			}
		}
	}
	if lost != 0 || len(acknowledged) < 5*5*20 {
		t.Errorf("%d of %d acknowledged signals are lost", lost, len(acknowledged))
	}
}
