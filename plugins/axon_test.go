package plugins_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/sdk/mapper"
)

// line is a Step as a line of a file has it.
type line struct {
	StepID           string          `json:"step_id"`
	Action           string          `json:"action"`
	Name             string          `json:"name"`
	TS               time.Time       `json:"ts"`
	SessionID        string          `json:"session_id"`
	TraceID          string          `json:"trace_id"`
	ParentID         string          `json:"parent_id"`
	Success          *bool           `json:"success"`
	DurationMS       *float64        `json:"duration_ms"`
	Phi              *float64        `json:"phi"`
	KuramotoR        *float64        `json:"kuramoto_r"`
	ChannelCoherence json.RawMessage `json:"channel_coherence"`
	Input            json.RawMessage `json:"input"`
	Output           json.RawMessage `json:"output"`
	Metadata         json.RawMessage `json:"metadata"`
}

func some[T any](p *T) mapper.Option[T] {
	if p == nil {
		return mapper.Option[T]{}
	}
	return mapper.Some(*p)
}

func (l *line) step() mapper.Step {
	return mapper.Step{
		ID: l.StepID, Action: l.Action, Name: l.Name, Time: uint64(l.TS.UnixNano()),
		Session: l.SessionID, Trace: l.TraceID, Parent: l.ParentID,
		Success: some(l.Success), DurationMS: some(l.DurationMS), Phi: some(l.Phi), KuramotoR: some(l.KuramotoR),
		ChannelCoherence: string(l.ChannelCoherence), Input: string(l.Input), Output: string(l.Output), Metadata: string(l.Metadata),
	}
}

// realSteps reads the recorded steps that lie beside the repository in a full
// checkout; without them it makes steps of the same shapes.
func realSteps(t testing.TB) (texts []string, steps []mapper.Step) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "data", "steps", "swe.jsonl"))
	if err != nil {
		return madeSteps(t)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		texts = append(texts, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return texts, parseSteps(t, texts)
}

func parseSteps(t testing.TB, texts []string) []mapper.Step {
	t.Helper()
	var steps []mapper.Step
	for _, text := range texts {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, l.step())
	}
	return steps
}

func madeSteps(t testing.TB) ([]string, []mapper.Step) {
	kinds := []string{
		`"action":"LLM_REPLY","name":"reply","success":true,"duration_ms":812.5,"phi":0.61,"kuramoto_r":0.72,"channel_coherence":{"plan":0.7,"code":0.9},"output":{"text":"` + strings.Repeat("lorem ipsum \\\"dolor\\\" ", 60) + `"}`,
		`"action":"TOOL_CALL","name":"bash","success":false,"duration_ms":12,"parent_id":"00000000000a","input":{"command":"go test ./..."},"metadata":{"cwd":"/src"}`,
		`"action":"USER_INPUT","name":"observation","input":{"text":"` + strings.Repeat("line of output\\n", 100) + `"}`,
		`"action":"EXTERNAL","name":"system_prompt","success":true,"input":{"text":"be brief"}`,
		`"action":"TRAINING_STEP","name":"epoch","metadata":{"loss":0.25},"kuramoto_r":0.4`,
		`"action":"REWARD","name":"reward","output":1`,
		`"action":"CHECKPOINT","name":"ckpt","output":{"path":"ckpt/10"}`,
	}
	var texts []string
	for i := range 280 {
		id := "0000" + strings.Repeat(string("0123456789abcdef"[i%16]), 6) + string("0123456789abcdef"[i/16%16]) + "f"
		texts = append(texts, `{"step_id":"`+id+`","ts":"2026-01-02T03:04:05.6789Z","session_id":"s-1","trace_id":"t-1",`+kinds[i%len(kinds)]+`}`)
	}
	return texts, parseSteps(t, texts)
}

// TestAxonOnRealSteps maps whole recordings through the built module, in
// batches, and holds every signal against the line that its step came from.
func TestAxonOnRealSteps(t *testing.T) {
	texts, steps := realSteps(t)
	if len(steps) < 200 {
		t.Fatalf("only %d steps to map", len(steps))
	}
	kinds := map[string]string{
		"TRAINING_STEP": "skill.training_started", "CHECKPOINT": "skill.crystallized", "LLM_REPLY": "interaction.created",
		"REWARD": "interaction.created", "EXTERNAL": "action.dispatched",
	}
	in := instantiate(t, module(t, "./plugins/axon"), host{})
	in.oneBlock = true
	counts := map[string]int{}
	want := map[string]int{}
	for from := 0; from < len(steps); from += 64 {
		batch := steps[from:min(from+64, len(steps))]
		signals, failed := in.mapSteps(batch)
		if failed != "" {
			t.Fatal(failed)
		}
		for _, sig := range signals {
			counts[sig.kind]++
			checkAxonData(t, sig, texts[from+int(sig.step)])
		}
		for i := range batch {
			if kind := kinds[batch[i].Action]; kind != "" {
				want[kind]++
			}
			if batch[i].Phi.Set || batch[i].KuramotoR.Set || batch[i].ChannelCoherence != "" {
				want["coherence.update"]++
			}
		}
	}
	if !reflect.DeepEqual(counts, want) {
		t.Errorf("signals by type: %v, want %v", counts, want)
	}
}

// checkAxonData compares a signal's data with the members of its step's line:
// all of them but the time, or for coherence those that say which and how coherent.
func checkAxonData(t *testing.T, sig signal, text string) {
	t.Helper()
	step := decodeObject(t, text)
	delete(step, "ts")
	if sig.kind == "coherence.update" {
		for _, name := range []string{"success", "duration_ms", "input", "output", "metadata"} {
			delete(step, name)
		}
	}
	if got := decodeObject(t, sig.data); !reflect.DeepEqual(got, step) {
		t.Errorf("%s of step %v holds\n%v, want\n%v", sig.kind, step["step_id"], got, step)
	}
}

func decodeObject(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	return v
}

// TestAxonIsPure shows that the same steps give the same bytes: again, after
// others, and in a fresh instance.
func TestAxonIsPure(t *testing.T) {
	_, steps := realSteps(t)
	wasm := module(t, "./plugins/axon")
	in := instantiate(t, wasm, host{})
	first, _ := in.mapSteps(steps[:100])
	in.mapSteps(steps[100:200])
	again, _ := in.mapSteps(steps[:100])
	fresh, _ := instantiate(t, wasm, host{}).mapSteps(steps[:100])
	if len(first) == 0 {
		t.Fatal("no signals")
	}
	if !reflect.DeepEqual(first, again) {
		t.Error("an instance that has mapped other steps maps the same steps differently")
	}
	if !reflect.DeepEqual(first, fresh) {
		t.Error("a fresh instance maps the same steps differently")
	}
}

// BenchmarkAxon reports what a step costs with the guest alone: plain wazero,
// no metering, and a host that copies the same lowered batch each time.
func BenchmarkAxon(b *testing.B) {
	_, steps := realSteps(b)
	batch := steps[:64]
	in := instantiate(b, module(b, "./plugins/axon"), host{})
	in.oneBlock = true
	// The arena's first pieces are given back as it finds its size; after
	// that every batch is written to the same place.
	for range 4 {
		in.mapSteps(batch)
	}
	list := in.lowerSteps(batch)
	size := uint32(sizeOf(batch))
	lowered := append([]byte(nil), in.bytes(list, size)...)
	bytes := 0
	for i := range batch {
		bytes += len(batch[i].Input) + len(batch[i].Output)
	}
	run := func() {
		ret := in.call("carl:plugin/mapper@0.1.0#map-steps", uint64(list), uint64(len(batch)))
		in.call("cabi_post_carl:plugin/mapper@0.1.0#map-steps", uint64(ret))
	}
	run()
	b.ReportAllocs()
	for b.Loop() {
		if p := in.call("cabi_realloc", 0, 0, 8, uint64(size)); p != list {
			b.Fatalf("the batch lies at %d, not at %d as before", p, list)
		}
		in.mod.Memory().Write(list, lowered)
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/step")
	b.ReportMetric(float64(bytes)/float64(len(batch)), "content-B/step")
}
