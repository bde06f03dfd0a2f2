package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"carl.camp/carl/host"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/spool"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
)

// steps returns the names of the steps that the spool of a home holds, sorted.
func steps(t *testing.T, dir string) []string {
	t.Helper()
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	slots, err := s.Slots()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, slot := range slots {
		for from := uint64(0); ; {
			entries, next, err := s.Read(slot, from, 1000, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				got, err := step.Decode(e.Payload)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, got.Name)
			}
			if next == from || len(entries) == 0 {
				break
			}
			from = next
		}
	}
	slices.Sort(names)
	return names
}

func open(t *testing.T, o host.Options, with ...host.Option) *host.Host {
	t.Helper()
	h, err := host.Open(o, with...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestOpenMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	h := open(t, host.Options{Home: dir, Environ: []string{}})
	if _, err := h.SyncStatus(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := h.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	// Nobody receives it: no consent is given, and the one destination is the platform.
	if err := h.Record(step.Step{Action: step.LLMReply, Name: "answer"}); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a home was made: %v", err)
	}
}

func TestRecordRefusesWhatIsNoStep(t *testing.T) {
	dir, _ := localHome(t)
	h := open(t, host.Options{Home: dir})
	for _, s := range []step.Step{
		{},
		{Action: "lower", Name: "x"},
		{Action: step.Reward},
		{Action: step.Reward, Name: "x", ID: "XYZ"},
		{Action: step.Reward, Name: "x", Input: []byte(`{"a":1,"a":2}`)},
		{Action: step.Reward, Name: "x", Input: bytes.Repeat([]byte("["), 100)},
	} {
		if err := h.Record(s); fault.CodeOf(err) != fault.StepInvalid {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if got := steps(t, dir); got != nil {
		t.Errorf("the spool holds %q", got)
	}
}

func TestRecordAfterClose(t *testing.T) {
	for name, granted := range map[string]bool{"with a receiver": true, "without": false} {
		dir, _ := localHome(t)
		if !granted {
			dir = filepath.Join(t.TempDir(), "home")
		}
		h := open(t, host.Options{Home: dir, Environ: []string{}}, host.BackgroundSync())
		for range 2 {
			if err := h.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := h.Record(step.Step{Action: step.Reward, Name: "late"}); fault.CodeOf(err) != fault.SpoolFailed {
			t.Errorf("%s: %v", name, err)
		}
		if done, err := h.RecordLines(strings.NewReader(`{"action":"REWARD","name":"late"}`), nil, func(error) {}); err == nil || done.Recorded != 0 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
}

// TestOnStep holds the callback to its promises: it sees each recorded step,
// redacted, once it is in the spool; what it does wrong is logged at WARN, and
// changes nothing.
func TestOnStep(t *testing.T) {
	dir, _ := localHome(t)
	var log bytes.Buffer
	var seen []string
	o := host.Options{
		Home: dir, Environ: []string{"MY_TOKEN=hunter2-and-more"},
		Log: hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn}),
		OnStep: func(s step.Step) error {
			if s.ID == "" || s.Time.IsZero() {
				t.Errorf("%s is not completed", s.Name)
			}
			if strings.Contains(string(s.Input), "hunter2") {
				t.Errorf("the callback sees %s", s.Input)
			}
			if held := steps(t, dir); !slices.Contains(held, s.Name) {
				t.Errorf("%s is not in the spool when it is shown; %q are", s.Name, held)
			}
			seen = append(seen, s.Name)
			switch s.Name {
			case "fails", "line fails":
				return errors.New("the callback is unwell")
			case "panics", "line panics":
				panic("the callback is beside itself")
			}
			return nil
		},
	}
	h := open(t, o)
	for _, name := range []string{"fine", "fails", "panics"} {
		if err := h.Record(step.Step{Action: step.Reward, Name: name, Input: []byte(`"hunter2-and-more"`)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	lines := `{"action":"REWARD","name":"line fails"}` + "\n" + `{"action":"REWARD","name":"line panics"}` + "\nbad\n"
	if done, err := h.RecordLines(strings.NewReader(lines), nil, func(error) {}); err != nil || done.Recorded != 2 || done.Rejected != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if want := []string{"fine", "fails", "panics", "line fails", "line panics"}; !slices.Equal(seen, want) {
		t.Errorf("the callback saw %q, want %q", seen, want)
	}
	for _, want := range []string{"unwell", "beside itself"} {
		if n := strings.Count(log.String(), want); n != 2 {
			t.Errorf("%q is logged %d times", want, n)
		}
	}
	if n := strings.Count(log.String(), "[WARN]"); n != 4 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}

// TestRecordFromManyGoroutines records from several goroutines and two hosts of
// one home at once: each step is in the spool, whole, once.
func TestRecordFromManyGoroutines(t *testing.T) {
	dir, _ := localHome(t)
	const goroutines, each = 16, 40
	hosts := []*host.Host{open(t, host.Options{Home: dir, OnStep: func(step.Step) error { return nil }}), open(t, host.Options{Home: dir})}
	var work gosync.WaitGroup
	var want []string
	for g := range goroutines {
		h := hosts[g%len(hosts)]
		for i := range each {
			want = append(want, fmt.Sprintf("%02d-%02d", g, i), fmt.Sprintf("line-%02d-%02d", g, i))
		}
		work.Go(func() {
			for i := range each {
				if err := h.Record(step.Step{Action: step.Reward, Name: fmt.Sprintf("%02d-%02d", g, i)}); err != nil {
					t.Error(err)
				}
				line := fmt.Sprintf(`{"action":"REWARD","name":"line-%02d-%02d"}`, g, i)
				if _, err := h.RecordLines(strings.NewReader(line), nil, func(err error) { t.Error(err) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	slices.Sort(want)
	if got := steps(t, dir); !slices.Equal(got, want) {
		t.Errorf("the spool holds %d steps, want %d", len(got), len(want))
	}
}

// slowly gives one line at each read, and looks at the spool before it gives the next.
type slowly struct {
	t     *testing.T
	dir   string
	given int
}

func (s *slowly) Read(p []byte) (int, error) {
	if n := len(steps(s.t, s.dir)); n != s.given {
		s.t.Errorf("%d steps are in the spool while the stream waits, and %d were read", n, s.given)
	}
	if s.given == 5 {
		return 0, io.EOF
	}
	s.given++
	return copy(p, fmt.Sprintf(`{"action":"REWARD","name":"%d"}`+"\n", s.given)), nil
}

func TestRecordLinesAsTheyCome(t *testing.T) {
	dir, _ := localHome(t)
	h := open(t, host.Options{Home: dir})
	done, err := h.RecordLines(&slowly{t: t, dir: dir}, nil, func(err error) { t.Error(err) })
	if err != nil || done.Recorded != 5 {
		t.Errorf("%+v, %v", done, err)
	}
}

// full is a file for rejects on a disk that is full.
type full struct{ writes int }

func (f *full) Write([]byte) (int, error) { f.writes++; return 0, errors.New("the disk is full") }

// TestRecordLinesInTrouble: what can be recorded is, whatever becomes of the rest.
func TestRecordLinesInTrouble(t *testing.T) {
	dir, _ := localHome(t)
	h := open(t, host.Options{Home: dir})
	const good = `{"action":"REWARD","name":"good"}` + "\n"
	rejected := 0
	count := func(error) { rejected++ }

	disk := &full{}
	done, err := h.RecordLines(strings.NewReader("bad\n"+good+"worse\n"+good), disk, count)
	if fault.CodeOf(err) != fault.IO || !strings.Contains(err.Error(), "the disk is full") || done.Recorded != 2 || done.Rejected != 2 || rejected != 2 || disk.writes != 1 {
		t.Errorf("rejects that cannot be written: %+v, %d, %d, %v", done, rejected, disk.writes, err)
	}
	broken := io.MultiReader(strings.NewReader(good+good+`{"action":"REW`), failing{errors.New("the cable is out")})
	done, err = h.RecordLines(broken, nil, count)
	if fault.CodeOf(err) != fault.IO || !strings.Contains(err.Error(), "line 3") || done.Recorded != 2 {
		t.Errorf("a stream that breaks: %+v, %v", done, err)
	}
	done, err = h.RecordLines(strings.NewReader(`{"action":"REWARD","name":"x","sk-ant-REDACTED":1,"colour":2}`), nil, count)
	if err != nil || len(done.UnknownMembers) != 2 {
		t.Errorf("unknown members: %+v, %v", done, err)
	}
	if got := len(steps(t, dir)); got != 5 {
		t.Errorf("the spool holds %d steps", got)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// networkHome is a home with consent whose platform is at url.
func networkHome(tb testing.TB, url string) (dir string, environ []string) {
	tb.Helper()
	requireBundled(tb)
	dir = filepath.Join(tb.TempDir(), "home")
	hm, err := home.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	if err := hm.Create(); err != nil {
		tb.Fatal(err)
	}
	if err := hm.Consent().Grant(home.Telemetry); err != nil {
		tb.Fatal(err)
	}
	return dir, []string{"CARL_CAMP_URL=" + url, "CARL_CAMP_TOKEN=dev-" + strings.Repeat("t", 30)}
}

// blackHole accepts connections and answers nothing. It tells of each.
func blackHole(tb testing.TB) (url string, swallowed <-chan struct{}) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	connections := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			tb.Cleanup(func() { conn.Close() })
			connections <- struct{}{}
		}
	}()
	return "http://" + l.Addr().String(), connections
}

// TestBackgroundSyncHoldsNobodyUp records, with the background delivery stuck in
// a destination that never answers, and closes.
func TestBackgroundSyncHoldsNobodyUp(t *testing.T) {
	url, swallowed := blackHole(t)
	dir, environ := networkHome(t, url)
	h := open(t, host.Options{Home: dir, Environ: environ}, host.BackgroundSync())
	if err := h.Record(step.Step{Action: step.Reward, Name: "first"}); err != nil {
		t.Fatal(err)
	}
	<-swallowed
	for range 1000 {
		if err := h.Record(step.Step{Action: step.Reward, Name: "more"}); err != nil {
			t.Fatal(err)
		}
	}
	if report, err := h.Sync(t.Context()); err != nil || !report.Busy {
		t.Errorf("a second sync at the same time: %+v, %v", report, err)
	}
	closed := make(chan error)
	go func() { closed <- h.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second): // the request's own time limit is longer
		t.Fatal("Close waits for the destination")
	}
	if n := len(steps(t, dir)); n != 1001 {
		t.Errorf("the spool holds %d steps", n)
	}
}

// TestTopics: a destination for the ledger alone gets no signals, and keeps none.
func TestTopics(t *testing.T) {
	dir, archive := localHome(t)
	config := fmt.Sprintf("destinations:\n  books: {plugin: carl.camp/forward/jsonl, topics: [ledger], settings: {file: s.jsonl}, grants: {files: %q}}\n", archive)
	write := func(config string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := `{"action":"REWARD","name":"x"}` + "\n"
	for _, c := range []struct {
		topics               string
		discarded, delivered int
	}{{"[ledger]", 1, 0}, {"[signals]", 0, 1}, {"[signals, ledger]", 0, 2}} {
		write(strings.Replace(config, "[ledger]", c.topics, 1))
		h := open(t, host.Options{Home: dir, Environ: []string{}})
		done, err := h.RecordLines(strings.NewReader(lines), nil, func(err error) { t.Error(err) })
		if err != nil || done.Discarded != c.discarded {
			t.Errorf("%s: %+v, %v", c.topics, done, err)
		}
		if _, err := h.Sync(t.Context()); err != nil {
			t.Error(err)
		}
		held, _ := os.ReadFile(filepath.Join(archive, "s.jsonl"))
		if n := bytes.Count(held, []byte("\n")); n != c.delivered {
			t.Errorf("%s: %d lines are in the file, want %d", c.topics, n, c.delivered)
		}
		checks := host.Doctor(t.Context(), host.Options{Home: dir, Environ: []string{}}).Checks
		if !slices.ContainsFunc(checks, func(c home.Check) bool { return c.Name == "destination books" && c.Status == home.OK }) {
			t.Errorf("%s: doctor says %+v", c.topics, checks)
		}
		h.Close()
	}
}

// TestMendedConfig: who has mended what kept a plugin from loading waits for no
// back-off.
func TestMendedConfig(t *testing.T) {
	dir, archive := localHome(t)
	file := filepath.Join(dir, "config.yaml")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]string{
		"no such plugin": strings.Replace(string(right), "forward/jsonl", "forward/jsnl", 1),
		"settings":       strings.Replace(string(right), "file:", "fiel:", 1),
		"no grant":       strings.Replace(string(right), ", grants: {files: \""+archive+"\"}", "", 1),
		"wrong kind":     strings.Replace(string(right), "forward/jsonl", "axon", 1),
	} {
		if wrong == string(right) {
			t.Fatalf("%s: nothing is wrong", name)
		}
		record := func(config string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h := open(t, host.Options{Home: dir, Environ: []string{}})
		if err := h.Record(step.Step{Action: step.Reward, Name: "x"}); err != nil {
			t.Fatal(err)
		}
		h.Close()

		record(wrong)
		h = open(t, host.Options{Home: dir, Environ: []string{}})
		for range 3 {
			report, err := h.Sync(t.Context())
			if err != nil || len(report.Destinations) != 1 {
				t.Fatalf("%s: %+v, %v", name, report, err)
			}
		}
		checks := host.Doctor(t.Context(), host.Options{Home: dir, Environ: []string{}}).Checks
		if !slices.ContainsFunc(checks, func(c home.Check) bool {
			return c.Name == "destination archive" && c.Status == home.Fail && c.Fix != ""
		}) {
			t.Errorf("%s: doctor says %+v", name, checks)
		}
		h.Close()

		record(string(right))
		h = open(t, host.Options{Home: dir, Environ: []string{}})
		if report, err := h.Sync(t.Context()); err != nil || !report.Drained() {
			t.Errorf("%s: once it is mended: %+v, %v", name, report, err)
		}
		h.Close()
	}
}

// TestOffline: nothing is sent, whatever the config says, nothing is lost, and
// once carl is online again nothing has to be resumed.
func TestOffline(t *testing.T) {
	url, swallowed := blackHole(t)
	dir, environ := networkHome(t, url)
	h := open(t, host.Options{Home: dir, Environ: environ, Offline: true})
	if err := h.Record(step.Step{Action: step.Reward, Name: "x"}); err != nil {
		t.Fatal(err)
	}
	report, err := h.Sync(t.Context())
	if err != nil || len(report.Destinations) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	if d := report.Destinations[0]; d.State != sync.Disabled || d.Reason != "carl is offline" || d.Pending != 1 {
		t.Errorf("%+v", d)
	}
	select {
	case <-swallowed:
		t.Error("a connection was made")
	default:
	}
	h.Close()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h = open(t, host.Options{Home: dir, Environ: environ})
	go func() {
		<-swallowed
		cancel()
	}()
	if _, err := h.Sync(ctx); err != nil {
		t.Error(err)
	}
	if ctx.Err() == nil {
		t.Error("online again, nothing is sent")
	}
}
