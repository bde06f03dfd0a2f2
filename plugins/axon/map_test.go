package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"carl.camp/carl/sdk/mapper"
)

// due is the mapping table as delivery has it, written out for the test.
var due = map[string]string{
	"TRAINING_STEP": "skill.training_started",
	"CHECKPOINT":    "skill.crystallized",
	"LLM_REPLY":     "interaction.created",
	"REWARD":        "interaction.created",
	"EXTERNAL":      "action.dispatched",
	"USER_INPUT":    "",
	"CLI_CMD":       "",
	"TOOL_CALL":     "",
	"EVAL_PHASE":    "",
	"PAYMENT":       "",
	"GATE":          "",
	"SOMETHING_NEW": "",
	"training_step": "",
	"":              "",
}

func TestTable(t *testing.T) {
	for action, kind := range due {
		for coherence := range 8 {
			s := mapper.Step{ID: "0123456789ab", Action: action, Name: "n"}
			var want []string
			if kind != "" {
				want = append(want, kind)
			}
			if coherence&1 != 0 {
				s.Phi = mapper.Some(0.0)
			}
			if coherence&2 != 0 {
				s.KuramotoR = mapper.Some(0.0)
			}
			if coherence&4 != 0 {
				s.ChannelCoherence = `{}`
			}
			if coherence != 0 {
				want = append(want, "coherence.update")
			}
			got, err := mapper.Map(mapSteps, []mapper.Step{{Action: "GATE"}, s})
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, sig := range got {
				kinds = append(kinds, sig.Type)
				if sig.Step != 1 || sig.Subject != "" {
					t.Errorf("%q: signal %s is of step %d with subject %q", action, sig.Type, sig.Step, sig.Subject)
				}
			}
			if !slices.Equal(kinds, want) {
				t.Errorf("%q with coherence %03b became %v, want %v", action, coherence, kinds, want)
			}
		}
	}
}

func TestData(t *testing.T) {
	full := mapper.Step{
		ID: "0123456789ab", Action: "TRAINING_STEP", Name: "epoch \"1\"\n\u2028", Time: 1,
		Session: "s", Trace: "t", Parent: "p", Success: mapper.Some(false), DurationMS: mapper.Some(12.5),
		Phi: mapper.Some(-0.25), KuramotoR: mapper.Some(1e-7), ChannelCoherence: `{"a":0.5}`,
		Input: `{"deep":[1,{"x":"\ud83d\ude00"}]}`, Output: `"out"`, Metadata: `null`,
	}
	coherent := map[string]any{
		"step_id": "0123456789ab", "action": "TRAINING_STEP", "name": "epoch \"1\"\n\u2028",
		"session_id": "s", "trace_id": "t", "parent_id": "p",
		"phi": -0.25, "kuramoto_r": 1e-7, "channel_coherence": map[string]any{"a": 0.5},
	}
	whole := map[string]any{
		"success": false, "duration_ms": 12.5, "output": "out", "metadata": nil,
		"input": map[string]any{"deep": []any{1.0, map[string]any{"x": "😀"}}},
	}
	for name, v := range coherent {
		whole[name] = v
	}
	bare := mapper.Step{ID: "ba9876543210", Action: "REWARD", Name: "r"}
	got, err := mapper.Map(mapSteps, []mapper.Step{full, bare})
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{whole, coherent, {"step_id": "ba9876543210", "action": "REWARD", "name": "r"}}
	if len(got) != len(want) {
		t.Fatalf("%d signals, want %d", len(got), len(want))
	}
	for i, sig := range got {
		var data map[string]any
		if err := json.Unmarshal([]byte(sig.Data), &data); err != nil {
			t.Fatalf("signal %d: %v in %s", i, err, sig.Data)
		}
		if !reflect.DeepEqual(data, want[i]) {
			t.Errorf("signal %d holds\n%v, want\n%v", i, data, want[i])
		}
	}
	// The step's own texts pass through as they are, byte for byte.
	for _, text := range []string{full.Input, full.Output, full.ChannelCoherence} {
		if !strings.Contains(got[0].Data, text) {
			t.Errorf("%s is not in %s as it was", text, got[0].Data)
		}
	}
}

func TestWideBatch(t *testing.T) {
	steps := make([]mapper.Step, 10_000)
	for i := range steps {
		steps[i] = mapper.Step{ID: fmt.Sprintf("%012x", i), Action: "LLM_REPLY", Name: "r", KuramotoR: mapper.Some(0.5)}
	}
	got, err := mapper.Map(mapSteps, steps)
	if err != nil || len(got) != 20_000 {
		t.Fatalf("%d signals, error %v", len(got), err)
	}
	seen := map[string]bool{}
	for _, sig := range got {
		key := fmt.Sprint(sig.Step, sig.Type)
		if seen[key] {
			t.Fatalf("two signals %s of step %d", sig.Type, sig.Step)
		}
		seen[key] = true
		if !strings.HasPrefix(sig.Data, `{"step_id":"`+steps[sig.Step].ID+`"`) || !json.Valid([]byte(sig.Data)) {
			t.Fatalf("step %d became %s", sig.Step, sig.Data)
		}
	}
}

// BenchmarkMap is the mapping as plain Go: what the sandbox is compared with.
func BenchmarkMap(b *testing.B) {
	steps := make([]mapper.Step, 64)
	for i := range steps {
		steps[i] = mapper.Step{
			ID: "0123456789ab", Action: "LLM_REPLY", Name: "reply", Session: "1c9bb512bf238c10",
			Trace: "bafa2a6ba9dd1f91f8d32b15245347e6", Parent: "ba9876543210", Success: mapper.Some(true),
			DurationMS: mapper.Some(812.5), Phi: mapper.Some(0.6125), KuramotoR: mapper.Some(0.7231),
			ChannelCoherence: `{"plan":0.71,"code":0.93}`, Output: `{"text":"` + strings.Repeat("x", 1000) + `"}`,
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mapper.Map(mapSteps, steps); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(steps)), "ns/step")
}
