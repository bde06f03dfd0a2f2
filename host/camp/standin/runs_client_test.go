package standin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"carl.camp/carl/host/camp"
)

// client is carl's own, logged in to p.
func (p *platform) client(t testing.TB) *camp.Client {
	t.Helper()
	u, err := camp.ParseURL(p.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := camp.NewClient(camp.ClientOptions{URL: u, Paths: camp.DefaultPaths(), Token: p.Token(), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const goodPayload = `{"args":{"slime_args_version":1,"entrypoint":"train.py","args":{"hf_checkpoint":"/models/Qwen3-4B","rollout_batch_size":32,"num_rollout":12},` +
	`"megatron":{"num_layers":36,"swiglu":true},"sglang":{"sglang_mem_fraction_static":0.7},"router":{}},` +
	`"argv":["--hf-checkpoint","/models/Qwen3-4B"],"backend":"slime","config_digest":"4be0643f1d984573b97cdca98a65347d4be0643f1d984573b97cdca98a65347d"}`

func TestRunFromSubmissionToResonant(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	c := p.client(t)
	run, created, err := c.SubmitRun(t.Context(), []byte(goodPayload), "key-1")
	if err != nil || !created || run.Status != "queued" {
		t.Fatalf("%+v, %v, %v", run, created, err)
	}
	again, created, err := c.SubmitRun(t.Context(), []byte(" "+goodPayload+"\n"), "key-1")
	if err != nil || created || again.ID != run.ID || again.Status != "queued" {
		t.Fatalf("again: %+v, %v, %v", again, created, err)
	}
	for _, s := range []struct {
		after  time.Duration
		status string
		step   int64
	}{{0, "queued", 0}, {time.Second, "running", 0}, {2500 * time.Millisecond, "running", 6}, {10 * time.Second, "succeeded", 12}} {
		h.pass(s.after)
		got, err := c.Run(t.Context(), run.ID)
		if err != nil || got.Status != s.status || got.ID != run.ID {
			t.Fatalf("%+v, %v, want %s", got, err, s.status)
		}
		if s.status == "queued" {
			if got.Step != nil || got.Progress != nil {
				t.Errorf("%+v", got)
			}
			continue
		}
		if *got.Step != s.step || *got.TotalSteps != 12 || *got.Progress != float64(s.step)/12 {
			t.Errorf("%+v: step %d of %d, %v", got, *got.Step, *got.TotalSteps, *got.Progress)
		}
	}
	body := bytes.Repeat([]byte("weights "), 1<<17)
	var told []int64
	id, err := c.PublishResonant(t.Context(), bytes.NewReader(body), int64(len(body)), run.ID, "res-1", func(sent int64) { told = append(told, sent) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || told[len(told)-1] != int64(len(body)) {
		t.Errorf("told %v", told)
	}
	sum := sha256.Sum256(body)
	if r, ok := p.Resonant(id); !ok || r.SHA256 != hex.EncodeToString(sum[:]) || r.Size != int64(len(body)) || r.RunID != run.ID {
		t.Errorf("held: %+v", r)
	}
	runs, err := c.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0].ResonantID != id || runs[0].Status != "succeeded" {
		t.Errorf("%+v, %v", runs, err)
	}
	if got, ok := p.Payload(run.ID); !ok || string(got) != goodPayload {
		t.Errorf("payload %s", got)
	}
	if s := p.Summary(); s.Runs != 1 || s.Resonants != 1 {
		t.Errorf("%+v", s)
	}
}
