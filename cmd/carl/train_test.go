package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"
	"time"
)

const runsPath = "/api/training/slime/runs"

const trainConfig = `model:
  hf: /root/Qwen3-4B
  reference: /root/Qwen3-4B_torch_dist
  architecture: qwen3-4B
data: {prompts: /root/dapo.jsonl, input: prompt, label: label}
reward: {builtin: deepscaler}
algorithm: {name: grpo}
rollout:
  count: 3
  prompts: 32
  samples_per_prompt: 8
  engine: {gpus: 2}
training:
  train_batch: 256 samples
  tokens_per_gpu: 9216
  optimizer: {lr: 1e-6}
resources: {nodes: 1, gpus_per_node: 8, mode: colocated}
`

// between is a real server between carl and the stand-in, which answers the calls
// about runs itself where its script says so.
type between struct {
	*httptest.Server
	mu       gosync.Mutex
	script   []http.HandlerFunc // one for each call about runs; nil passes it on
	requests []string           // method and path of the calls about runs
	keys     []string
}

func (b *between) calls() (requests, keys []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests, b.keys
}

// between puts itself before the stand-in of an installation.
func (in *installation) between(script ...http.HandlerFunc) *between {
	in.t.Helper()
	var target string
	for _, e := range in.env {
		if v, ok := strings.CutPrefix(e, "CARL_CAMP_URL="); ok {
			target = v
		}
	}
	u, err := url.Parse(target)
	if err != nil {
		in.t.Fatal(err)
	}
	b := &between{script: script}
	proxy := httputil.NewSingleHostReverseProxy(u)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, runsPath) {
			proxy.ServeHTTP(w, r)
			return
		}
		b.mu.Lock()
		b.requests, b.keys = append(b.requests, r.Method+" "+r.URL.Path), append(b.keys, r.Header.Get("Idempotency-Key"))
		var answer http.HandlerFunc
		if len(b.script) > 0 {
			answer, b.script = b.script[0], b.script[1:]
		}
		b.mu.Unlock()
		if answer == nil {
			proxy.ServeHTTP(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		answer(w, r)
	}))
	in.t.Cleanup(b.Close)
	in.env = append(in.env, "CARL_CAMP_URL="+b.URL)
	return b
}

func status(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// cut ends the connection in the middle of an answer, or before one.
func cut(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }

// training is an installation that may train, with a config.
func training(t *testing.T) (in *installation, config string) {
	t.Helper()
	in = install(t, "")
	if err := in.server.SetTier("paid"); err != nil {
		t.Fatal(err)
	}
	if err := in.server.SetRunTime(100 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	config = filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte(trainConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	in.must("entitlements", "show", "--refresh")
	in.must("train", config, "-o", "argv") // compiles the translator
	return in, config
}

// outcome runs the command to its end.
func (in *installation) outcome(args ...string) (code int, stdout, stderr string) {
	in.t.Helper()
	cmd := in.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		in.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestSubmissionAnswers plays each answer that a platform may give to a submission.
func TestSubmissionAnswers(t *testing.T) {
	const started = `{"run_id":"8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10","status":"queued"}`
	fields := `{"error":{"code":"invalid","message":"no","fields":[{"path":"/args/args/rollout_batch_size","message":"too many prompts"},` +
		`{"path":"/args/args/lr","message":"too fast"},{"path":"/args/megatron/hidden_size","message":"odd"},{"path":"/nowhere","message":"what"}]}}`
	for what, c := range map[string]struct {
		script   []http.HandlerFunc
		code     int
		says     []string
		requests int
		kept     bool // the key is, for the next command
	}{
		"401":                     {script: []http.HandlerFunc{status(401, `{}`)}, code: 4, says: []string{"carl.camp.unauthorized", "carl camp login", "no run was started"}, requests: 1},
		"402":                     {script: []http.HandlerFunc{status(402, `{"error":{"code":"upgrade","message":"take the plan Pro"}}`)}, code: 4, says: []string{"take the plan Pro", "carl.gate.tier_denied"}, requests: 1},
		"422 with fields":         {script: []http.HandlerFunc{status(422, fields)}, code: 2, says: []string{"c.yaml:10:12: /args/args/rollout_batch_size: too many prompts", "c.yaml:16:19: /args/args/lr: too fast", "c.yaml:4:17: /args/megatron/hidden_size: odd", "c.yaml: /nowhere: what", "carl.slime.payload_refused", "no run was started"}, requests: 1},
		"422 of the command line": {script: []http.HandlerFunc{status(422, `{"error":{"code":"x","message":"no","fields":[{"path":"/args/args/rm_type","message":"which"},{"path":"/args/args/colocate","message":"not here"},{"path":"","message":"all of it"}]}}`)}, code: 2, says: []string{"c.yaml:6:19: /args/args/rm_type: which", "c.yaml:17:47: /args/args/colocate: not here", "c.yaml: all of it"}, requests: 1},
		"404":                     {script: []http.HandlerFunc{status(404, `{}`)}, code: 1, says: []string{"camp.url", "no run was started"}, requests: 1},
		"cut, and then 422":       {script: []http.HandlerFunc{cut, status(422, `{}`)}, code: 2, says: []string{"is not known"}, requests: 2, kept: true},
		"422":                     {script: []http.HandlerFunc{status(422, `nonsense`)}, code: 2, says: []string{"carl.slime.payload_refused"}, requests: 1},
		"500 and then well":       {script: []http.HandlerFunc{status(500, `x`), status(503, ``, "Retry-After", "1"), status(201, started)}, code: 0, says: []string{"trying again in", "queued"}, requests: 3},
		"429 and then well":       {script: []http.HandlerFunc{status(429, ``, "Retry-After", "2"), status(200, started)}, code: 0, says: []string{"trying again in 2s", "was started before"}, requests: 2},
		"429 for long":            {script: []http.HandlerFunc{status(429, ``, "Retry-After", "3000")}, code: 1, says: []string{"carl.slime.managed_submit_failed", "no run was started"}, requests: 1, kept: true},
		"cut, and then well":      {script: []http.HandlerFunc{cut, status(200, started)}, code: 0, says: []string{"queued"}, requests: 2},
		"another's page":          {script: []http.HandlerFunc{status(200, `<html>log in here</html>`)}, code: 1, says: []string{"carl.slime.managed_submit_failed", "run_id", "is not known"}, requests: 1, kept: true},
		"no UUID":                 {script: []http.HandlerFunc{status(201, `{"run_id":"7","status":"queued"}`)}, code: 1, says: []string{"carl.slime.managed_submit_failed", "UUID"}, requests: 1, kept: true},
		"a status of three":       {script: []http.HandlerFunc{status(201, `{"run_id":"8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10","status":"a\nb\u001b[31m"}`)}, code: 1, says: []string{"carl.slime.managed_submit_failed"}, requests: 1, kept: true},
		"elsewhere":               {script: []http.HandlerFunc{status(307, ``, "Location", "http://127.0.0.2:9/x")}, code: 1, says: []string{"carl.slime.managed_submit_failed"}, requests: 1, kept: true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			in, config := training(t)
			b := in.between(c.script...)
			code, out, errs := in.outcome("train", config, "--managed")
			expect(t, out+errs, code, c.code, c.says...)
			requests, keys := b.calls()
			if len(requests) != c.requests {
				t.Errorf("%d requests, want %d: %v", len(requests), c.requests, requests)
			}
			for _, key := range keys {
				if key != keys[0] || len(key) != 32 {
					t.Errorf("keys %v", keys)
				}
			}
			if strings.Contains(out+errs, in.server.Token()) || strings.ContainsRune(out+errs, 0x1b) {
				t.Errorf("what nobody should see: %s%s", out, errs)
			}
			// The next command goes on under the same key, or under another.
			in.must("train", config, "--managed")
			if _, keys := b.calls(); (keys[len(keys)-1] == keys[0]) != c.kept {
				t.Errorf("keys %v; kept: %v", keys, c.kept)
			}
			if left, _ := filepath.Glob(filepath.Join(in.home, "submissions", "*.json")); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestWaitAnswers plays what may be answered while a run is waited for.
func TestWaitAnswers(t *testing.T) {
	const id = "8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10"
	run := func(state string) http.HandlerFunc {
		return status(200, fmt.Sprintf(`{"run_id":%q,"status":%q,"error":"why \u001b[31m so","resonant_id":"r-1"}`, id, state))
	}
	for what, c := range map[string]struct {
		script []http.HandlerFunc
		code   int
		says   []string
	}{
		"it succeeds":            {[]http.HandlerFunc{run("running"), run("succeeded")}, 0, []string{"resonant: r-1"}},
		"it fails":               {[]http.HandlerFunc{run("failed")}, 1, []string{"carl.slime.run_failed", "why"}},
		"it is cancelled":        {[]http.HandlerFunc{run("cancelled")}, 1, []string{"cancelled"}},
		"an unknown state":       {[]http.HandlerFunc{run("hibernating"), run("succeeded")}, 0, []string{"hibernating"}},
		"a gap":                  {[]http.HandlerFunc{cut, status(502, ``), run("succeeded")}, 0, []string{"the run goes on"}},
		"somebody else's answer": {[]http.HandlerFunc{status(200, `{"run_id":"00000000-0000-4000-8000-000000000000","status":"succeeded"}`), run("succeeded")}, 0, []string{"the run goes on"}},
		"nobody knows it":        {[]http.HandlerFunc{status(404, `{}`)}, 6, []string{"carl.slime.run_not_found"}},
		"logged out":             {[]http.HandlerFunc{run("running"), status(401, `{}`)}, 4, []string{"carl camp login"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			in, _ := training(t)
			in.between(c.script...)
			code, out, errs := in.outcome("runs", "status", id, "--wait", "--timeout", "30s")
			expect(t, out+errs, code, c.code, c.says...)
			if strings.ContainsRune(out+errs, 0x1b) {
				t.Errorf("%q%q", out, errs)
			}
		})
	}
	t.Run("it takes too long", func(t *testing.T) {
		t.Parallel()
		in, _ := training(t)
		in.between(run("running"), run("running"), run("running"))
		code, out, errs := in.outcome("runs", "status", id, "--wait", "--timeout", "1500ms")
		expect(t, out+errs, code, 1, "carl.slime.wait_ended", "it goes on", "carl runs status "+id+" --wait")
	})
}

// TestSubmitKilled kills submissions at any moment, and repeats each until one comes
// through: there is one run for each config, and never a second.
func TestSubmitKilled(t *testing.T) {
	in, config := training(t)
	b := in.between()
	const configs = 6
	for i := range configs {
		path := filepath.Join(filepath.Dir(config), fmt.Sprintf("%d.yaml", i))
		if err := os.WriteFile(path, []byte(strings.Replace(trainConfig, "count: 3", fmt.Sprintf("count: %d", i+3), 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		for try := 0; ; try++ {
			if try == 40 {
				t.Fatal("no command came through")
			}
			// Now and then the answer is lost as well.
			b.mu.Lock()
			if b.script = nil; rand.IntN(3) == 0 {
				b.script = []http.HandlerFunc{nil, nil, cut}
			}
			b.mu.Unlock()
			cmd := in.command("train", path, "--managed")
			var out bytes.Buffer
			cmd.Stdout = &out
			runAndMaybeKill(cmd, 150*time.Millisecond)
			if strings.HasPrefix(out.String(), "run ") && strings.HasSuffix(out.String(), "\n") {
				break // its user was told, killed or not
			}
		}
	}
	rounds := map[string]bool{}
	for _, run := range in.server.Runs() {
		payload, _ := in.server.Payload(run.RunID)
		var p struct {
			Digest string `json:"config_digest"`
		}
		if err := json.Unmarshal(payload, &p); err != nil {
			t.Fatal(err)
		}
		if rounds[p.Digest] {
			t.Errorf("two runs of config %s", p.Digest)
		}
		rounds[p.Digest] = true
	}
	if len(rounds) != configs {
		t.Errorf("%d configs run, want %d", len(rounds), configs)
	}
}
