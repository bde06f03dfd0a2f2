package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/camp/standin"
)

// platform is a real stand-in on loopback, and carl's own client of it.
func platform(t *testing.T, faults string) (*standin.Server, *camp.Client) {
	t.Helper()
	f, err := standin.ParseFaults(faults)
	if err != nil {
		t.Fatal(err)
	}
	s, err := standin.New(standin.Options{Tier: "paid", Faults: f, Seed: 7, RetryAfter: -1})
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, client(t, url, s.Token())
}

func client(t *testing.T, url, token string) *camp.Client {
	t.Helper()
	u, err := camp.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := camp.NewClient(camp.ClientOptions{URL: u, Paths: camp.DefaultPaths(), Token: token, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// payload is one that the stand-in takes; n tells them apart.
func payload(n int) []byte {
	p := &Plan{
		Backend: "slime", Entrypoint: "train.py",
		Args:         fmt.Appendf(nil, `{"slime_args_version":1,"entrypoint":"train.py","args":{"hf_checkpoint":"/m","rollout_batch_size":%d,"num_rollout":3},"megatron":{},"sglang":{},"router":{}}`, n),
		Argv:         []string{"--hf-checkpoint", "/m"},
		ConfigDigest: strings.Repeat("0a", 32),
	}
	return p.Payload()
}

func keyFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestSubmit starts a run for each command, and leaves no key behind.
func TestSubmit(t *testing.T) {
	t.Parallel()
	s, c := platform(t, "")
	dir := filepath.Join(t.TempDir(), "keys")
	var ids []string
	for range 2 {
		run, err := Submit(t.Context(), c, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir})
		if err != nil || run.Earlier || run.Status != "queued" {
			t.Fatalf("%+v, %v", run, err)
		}
		// Whoever was not told of it finds it again.
		if again, err := Submit(t.Context(), c, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir}); err != nil || !again.Earlier || again.ID != run.ID {
			t.Errorf("%+v, %v", again, err)
		}
		if err := run.Settle(); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, run.ID)
	}
	if ids[0] == ids[1] || s.Summary().Runs != 2 || len(keyFiles(t, dir)) != 0 {
		t.Errorf("%v: %d runs, %v", ids, s.Summary().Runs, keyFiles(t, dir))
	}
	// A key of one's own is one run, ever.
	for i := range 3 {
		run, err := Submit(t.Context(), c, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir, Key: "mine"})
		if err != nil || run.Earlier != (i > 0) {
			t.Fatalf("%+v, %v", run, err)
		}
	}
	var call *camp.CallError
	if _, err := Submit(t.Context(), c, payload(9), SubmitOptions{pause: time.Millisecond, Keys: dir, Key: "mine"}); !errors.As(err, &call) || call.Failure != camp.FailConflict {
		t.Errorf("%v", err)
	}
	if s.Summary().Runs != 3 {
		t.Errorf("%d runs", s.Summary().Runs)
	}
}

// TestLostAnswer loses every answer: whatever is repeated, one run is started.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	s, c := platform(t, "lost:1")
	dir := filepath.Join(t.TempDir(), "keys")
	tries := 0
	_, err := Submit(t.Context(), c, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir, Trying: func(err error, pause time.Duration) {
		tries++
		if err == nil || pause <= 0 {
			t.Errorf("%v, %v", err, pause)
		}
	}})
	var call *camp.CallError
	if !errors.As(err, &call) || call.Definite || tries != maxTries-1 {
		t.Fatalf("%d tries, %v", tries, err)
	}
	if len(keyFiles(t, dir)) != 1 || s.Summary().Runs != 1 {
		t.Fatalf("%v, %d runs", keyFiles(t, dir), s.Summary().Runs)
	}
}

// flaky is a platform before a stand-in that does what it is told to the answers of
// submissions.
type flaky struct {
	Platform
	mu   sync.Mutex
	next []func(camp.Run, bool, error) (camp.Run, bool, error)
	keys []string
}

func (f *flaky) SubmitRun(ctx context.Context, body []byte, key string) (camp.Run, bool, error) {
	run, created, err := f.Platform.SubmitRun(ctx, body, key)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = append(f.keys, key)
	if len(f.next) > 0 {
		change := f.next[0]
		f.next = f.next[1:]
		return change(run, created, err)
	}
	return run, created, err
}

func answers(e camp.CallError) func(camp.Run, bool, error) (camp.Run, bool, error) {
	return func(camp.Run, bool, error) (camp.Run, bool, error) { return camp.Run{}, false, &e }
}

// TestKeyOutlivesCommands ends commands without a definite answer: the next one goes
// on under the same key, and finds the run that was started.
func TestKeyOutlivesCommands(t *testing.T) {
	s, c := platform(t, "")
	dir := filepath.Join(t.TempDir(), "keys")
	lost := answers(camp.CallError{Failure: camp.FailMalformed})
	f := &flaky{Platform: c, next: []func(camp.Run, bool, error) (camp.Run, bool, error){lost}}
	if _, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir, Platform: "a"}); err == nil {
		t.Fatal("it was believed")
	}
	// A definite refusal says nothing about the request before it.
	f.next = append(f.next, answers(camp.CallError{Failure: camp.FailUnauthorized, Definite: true}))
	if _, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir, Platform: "a"}); err == nil {
		t.Fatal("it was not refused")
	}
	if len(keyFiles(t, dir)) != 1 {
		t.Fatalf("%v", keyFiles(t, dir))
	}
	// Another payload, and another platform, have keys of their own.
	for i, o := range []struct {
		n        int
		platform string
	}{{9, "a"}, {8, "b"}} {
		run, err := Submit(t.Context(), f, payload(o.n), SubmitOptions{pause: time.Millisecond, Keys: dir, Platform: o.platform})
		if err != nil || run.Earlier || run.Settle() != nil {
			t.Errorf("%d: %+v, %v", i, run, err)
		}
	}
	run, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir, Platform: "a"})
	if err != nil || !run.Earlier || run.Settle() != nil {
		t.Fatalf("%+v, %v", run, err)
	}
	if f.keys[0] != f.keys[1] || f.keys[0] != f.keys[4] || f.keys[2] == f.keys[0] || f.keys[3] == f.keys[0] {
		t.Errorf("%v", f.keys)
	}
	if len(keyFiles(t, dir)) != 0 || s.Summary().Runs != 3 {
		t.Errorf("%v, %d runs", keyFiles(t, dir), s.Summary().Runs)
	}
	// And now it is another run.
	if run, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir, Platform: "a"}); err != nil || run.Earlier {
		t.Errorf("%+v, %v", run, err)
	}
}

// TestDefiniteRefusal forgets the key of a run that was never started.
func TestDefiniteRefusal(t *testing.T) {
	for failure, keeps := range map[camp.Failure]bool{
		camp.FailUnauthorized: false, camp.FailDenied: false, camp.FailInvalid: false, camp.FailTooLarge: false,
		camp.FailMalformed: false, camp.FailOffline: false, // where it is definite
	} {
		_, c := platform(t, "")
		dir := filepath.Join(t.TempDir(), "keys")
		f := &flaky{Platform: c, next: []func(camp.Run, bool, error) (camp.Run, bool, error){answers(camp.CallError{Failure: failure, Definite: true})}}
		if _, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir}); err == nil {
			t.Fatal(failure)
		}
		if (len(keyFiles(t, dir)) == 1) != keeps || len(f.keys) != 1 {
			t.Errorf("%d: %v, %d requests", failure, keyFiles(t, dir), len(f.keys))
		}
	}
}

// TestPassing tries again where that helps, and then gives up with the key kept.
func TestPassing(t *testing.T) {
	s, c := platform(t, "")
	dir := filepath.Join(t.TempDir(), "keys")
	down := answers(camp.CallError{Failure: camp.FailUnavailable, Definite: true})
	f := &flaky{Platform: c, next: []func(camp.Run, bool, error) (camp.Run, bool, error){down, down}}
	var pauses []time.Duration
	run, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir, Trying: func(_ error, pause time.Duration) { pauses = append(pauses, pause) }})
	if err != nil || len(pauses) != 2 || pauses[1] <= pauses[0] || run.Settle() != nil {
		t.Errorf("%+v, %v, %v", run, err, pauses)
	}
	// Who asks for more patience than a minute is not waited for.
	f.next = append(f.next, answers(camp.CallError{Failure: camp.FailThrottled, Definite: true, RetryAfter: time.Hour}))
	began := time.Now()
	if _, err := Submit(t.Context(), f, payload(9), SubmitOptions{pause: time.Millisecond, Keys: dir}); err == nil || time.Since(began) > patience/2 {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	// An interrupt ends the pause, and keeps the key.
	ctx, cancel := context.WithCancel(t.Context())
	f.next = append(f.next, answers(camp.CallError{Failure: camp.FailNetwork}))
	_, err = Submit(ctx, f, payload(10), SubmitOptions{pause: time.Millisecond, Keys: dir, Trying: func(error, time.Duration) { cancel() }})
	if !errors.Is(err, context.Canceled) || len(keyFiles(t, dir)) != 2 {
		t.Errorf("%v, %v", err, keyFiles(t, dir))
	}
	if s.Summary().Runs == 0 {
		t.Error("nothing was started")
	}
}

// TestSubmitAtOnce submits the same from many goroutines, none of which waits for
// the others to settle: no run is lost, and no key is left.
func TestSubmitAtOnce(t *testing.T) {
	s, c := platform(t, "")
	dir := filepath.Join(t.TempDir(), "keys")
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for range 8 {
		wg.Go(func() {
			run, err := Submit(t.Context(), c, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir})
			if err != nil {
				t.Error(err)
				return
			}
			if err := run.Settle(); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[run.ID] = true
		})
	}
	wg.Wait()
	if len(ids) == 0 || s.Summary().Runs != len(ids) || len(keyFiles(t, dir)) != 0 {
		t.Errorf("%d ids, %d runs, %v", len(ids), s.Summary().Runs, keyFiles(t, dir))
	}
}

// TestKeyFiles has what lies in the place of a key be no key.
func TestKeyFiles(t *testing.T) {
	_, c := platform(t, "")
	dir := filepath.Join(t.TempDir(), "keys")
	f := &flaky{Platform: c, next: []func(camp.Run, bool, error) (camp.Run, bool, error){answers(camp.CallError{Failure: camp.FailMalformed})}}
	Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir})
	file := keyFiles(t, dir)[0]
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if run, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir}); err != nil || f.keys[0] == f.keys[1] || run.Settle() != nil {
		t.Errorf("%+v, %v", run, err)
	}
	if err := os.Symlink("/dev/zero", file); err != nil {
		t.Fatal(err)
	}
	if _, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: dir}); err == nil || len(f.keys) != 2 {
		t.Errorf("a symlink was followed: %v", err)
	}
	if _, err := Submit(t.Context(), f, payload(8), SubmitOptions{pause: time.Millisecond, Keys: filepath.Join(file, "x")}); err == nil || len(f.keys) != 2 {
		t.Errorf("without a folder for its key it was sent: %v", err)
	}
}

// following answers with states, one after the other.
type following struct {
	Platform
	states []any // a camp.Run or an error
}

func (f *following) Run(context.Context, string) (camp.Run, error) {
	next := f.states[0]
	if len(f.states) > 1 {
		f.states = f.states[1:]
	}
	if err, ok := next.(error); ok {
		return camp.Run{}, err
	}
	return next.(camp.Run), nil
}

// TestWait waits out what passes, and ends where the run does.
func TestWait(t *testing.T) {
	t.Parallel()
	run := func(status string) camp.Run { return camp.Run{ID: "x", Status: status} }
	gone := &camp.CallError{Failure: camp.FailNetwork}
	f := &following{states: []any{run("queued"), gone, run("a state of tomorrow"), &camp.CallError{Failure: camp.FailMalformed}, run("cancelled")}}
	var seen []string
	lost := 0
	got, err := Wait(t.Context(), f, "x", func(r camp.Run) { seen = append(seen, r.Status) }, func(error, time.Duration) { lost++ })
	if err != nil || got.Status != "cancelled" || strings.Join(seen, " ") != "queued a state of tomorrow cancelled" || lost != 2 {
		t.Errorf("%+v, %v, %v, %d", got, err, seen, lost)
	}
	for _, failure := range []camp.Failure{camp.FailNotFound, camp.FailUnauthorized, camp.FailDenied, camp.FailRefused} {
		f := &following{states: []any{run("running"), &camp.CallError{Failure: failure}}}
		if got, err := Wait(t.Context(), f, "x", nil, nil); err == nil || got.Status != "running" {
			t.Errorf("%d: %+v, %v", failure, got, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := Wait(ctx, &following{states: []any{run("running")}}, "x", nil, nil); !errors.Is(err, context.DeadlineExceeded) || got.Status != "running" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestWaitGivesUp ends where nothing that comes can be believed.
func TestWaitGivesUp(t *testing.T) {
	t.Parallel()
	f := &following{states: []any{&camp.CallError{Failure: camp.FailMalformed}}}
	lost := 0
	var call *camp.CallError
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := Wait(ctx, f, "x", nil, func(error, time.Duration) { lost++ }); !errors.As(err, &call) || lost != maxMalformed {
		t.Errorf("%v after %d", err, lost)
	}
}

// TestWaitForARealRun follows one at the stand-in to its end.
func TestWaitForARealRun(t *testing.T) {
	t.Parallel()
	_, c := platform(t, "")
	run, err := Submit(t.Context(), c, payload(8), SubmitOptions{pause: time.Millisecond, Keys: filepath.Join(t.TempDir(), "keys")})
	if err != nil {
		t.Fatal(err)
	}
	last := int64(-1)
	got, err := Wait(t.Context(), c, run.ID, func(r camp.Run) {
		if r.Step != nil && *r.Step < last {
			t.Errorf("from step %d to %d", last, *r.Step)
		} else if r.Step != nil {
			last = *r.Step
		}
	}, nil)
	if err != nil || got.Status != "succeeded" || last != 3 {
		t.Errorf("%+v, %v, step %d", got, err, last)
	}
	var call *camp.CallError
	if _, err := Wait(t.Context(), c, "00000000-0000-4000-8000-000000000000", nil, nil); !errors.As(err, &call) || call.Failure != camp.FailNotFound {
		t.Errorf("%v", err)
	}
}
