package step

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carl.camp/carl/host/fault"
)

func ptr[T any](v T) *T { return &v }

// anyJSON draws a JSON text of some depth, spelt in some way.
func anyJSON(t *rapid.T, depth int) string {
	space := rapid.SampledFrom([]string{"", "", " ", "\t"}).Draw(t, "space")
	kinds := 5
	if depth > 0 {
		kinds = 7
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return space + "null"
	case 1:
		return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool") + space
	case 2:
		return rapid.SampledFrom([]string{"0", "-0", "1e999", "-12.50E+3", "9007199254740993"}).Draw(t, "number")
	case 3, 4:
		return string(appendQuoted(nil, rapid.String().Draw(t, "string")))
	case 5:
		var parts []string
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			parts = append(parts, anyJSON(t, depth-1))
		}
		return "[" + space + strings.Join(parts, space+",") + "]"
	}
	var parts []string
	for name := range rapid.MapOfN(rapid.String(), rapid.Bool(), 0, 20).Draw(t, "names") {
		parts = append(parts, string(appendQuoted(nil, name))+space+":"+anyJSON(t, depth-1))
	}
	return "{" + strings.Join(parts, ","+space) + space + "}"
}

func anyStep(t *rapid.T) Step {
	var s Step
	if rapid.Bool().Draw(t, "has id") {
		s.ID = rapid.StringMatching(`[0-9a-f]{12}`).Draw(t, "id")
	}
	s.Action = rapid.OneOf(
		rapid.SampledFrom([]string{UserInput, CLICmd, ToolCall, LLMReply, TrainingStep, EvalPhase, Reward, Checkpoint, Payment, External, Gate}),
		rapid.StringMatching(`[A-Z][A-Z0-9]{0,5}(_[A-Z0-9]{1,5}){0,3}`),
	).Draw(t, "action")
	s.Name = rapid.StringN(1, -1, MaxName).Draw(t, "name")
	if rapid.Bool().Draw(t, "has time") {
		ns := rapid.Uint64().Draw(t, "time")
		s.Time = time.Unix(int64(ns/1e9), int64(ns%1e9)).UTC()
	}
	s.Session, s.Trace, s.Parent = rapid.String().Draw(t, "session"), rapid.String().Draw(t, "trace"), rapid.String().Draw(t, "parent")
	if rapid.Bool().Draw(t, "has success") {
		s.Success = ptr(rapid.Bool().Draw(t, "success"))
	}
	if rapid.Bool().Draw(t, "has numbers") {
		s.DurationMS = ptr(rapid.Float64Range(0, math.MaxFloat64).Draw(t, "duration"))
		s.Phi = ptr(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "phi"))
		s.KuramotoR = ptr(rapid.Float64Range(0, 1).Draw(t, "r"))
		s.ChannelCoherence = []byte(`{"a" : 1e-3,"\u0062":-4 }`)
	}
	for _, to := range []*[]byte{&s.Input, &s.Output, &s.Metadata} {
		if rapid.Bool().Draw(t, "has json") {
			*to = []byte(strings.TrimSpace(anyJSON(t, 3)))
		}
	}
	return s
}

func TestWhatIsWrittenReadsBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyStep(t)
		if err := s.Validate(); err != nil {
			t.Fatalf("a good step is refused: %v", err)
		}
		line := s.AppendJSON(nil)
		if bytes.ContainsAny(line, "\n\r") {
			t.Fatalf("the line is more than one: %q", line)
		}
		back, err := Decode(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if show(s) != show(back) {
			t.Fatalf("steps differ:\n%s\n%s", show(s), show(back))
		}
		if again := back.AppendJSON(nil); !bytes.Equal(line, again) {
			t.Fatalf("the same step gives other bytes:\n%s\n%s", line, again)
		}
		clone := back.Clone()
		for i := range line {
			line[i] = 'x'
		}
		if show(s) != show(clone) {
			t.Fatalf("the clone shares the line")
		}
	})
}

func TestLineEndsInJSONBecomeSpaces(t *testing.T) {
	s := Step{Action: External, Name: "n", Input: []byte("{\n\t\"a\": \"x\\ny\",\r\n\"b\": 1\n}")}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	line := s.AppendJSON([]byte("before:"))
	if want := "before:" + `{"action":"EXTERNAL","name":"n","input":{ ` + "\t" + `"a": "x\ny",  "b": 1 }}`; string(line) != want {
		t.Errorf("got  %q\nwant %q", line, want)
	}
}

func TestValidateRefuses(t *testing.T) {
	good := Step{Action: External, Name: "n"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spoil func(*Step)
		says  string
	}{
		{func(s *Step) { s.ID = "xyz" }, "step_id is not 12"},
		{func(s *Step) { s.Action = "" }, "action is missing"},
		{func(s *Step) { s.Action = "a" }, "UPPER_SNAKE"},
		{func(s *Step) { s.Name = "" }, "name is missing"},
		{func(s *Step) { s.Name = strings.Repeat("n", MaxName+1) }, "name is longer"},
		{func(s *Step) { s.Name = "\xff" }, "name is not valid UTF-8"},
		{func(s *Step) { s.Session = "\xff" }, "session_id is not valid UTF-8"},
		{func(s *Step) { s.Trace = "\xff" }, "trace_id is not valid UTF-8"},
		{func(s *Step) { s.Parent = "\xed\xa0\x80" }, "parent_id is not valid UTF-8"},
		{func(s *Step) { s.Time = time.Unix(-1, 0) }, "ts lies outside"},
		{func(s *Step) { s.Time = time.Date(2555, 1, 1, 0, 0, 0, 0, time.UTC) }, "ts lies outside"},
		{func(s *Step) { s.DurationMS = ptr(-1.0) }, "duration_ms"},
		{func(s *Step) { s.DurationMS = ptr(math.NaN()) }, "duration_ms"},
		{func(s *Step) { s.DurationMS = ptr(math.Inf(1)) }, "duration_ms"},
		{func(s *Step) { s.Phi = ptr(math.Inf(-1)) }, "phi"},
		{func(s *Step) { s.Phi = ptr(math.NaN()) }, "phi"},
		{func(s *Step) { s.KuramotoR = ptr(1.5) }, "kuramoto_r"},
		{func(s *Step) { s.KuramotoR = ptr(math.NaN()) }, "kuramoto_r"},
		{func(s *Step) { s.ChannelCoherence = []byte(`[1]`) }, "channel_coherence"},
		{func(s *Step) { s.ChannelCoherence = []byte(`{"a":"b"}`) }, "channel_coherence"},
		{func(s *Step) { s.ChannelCoherence = []byte(`{"a":1,"a":1}`) }, "channel_coherence"},
		{func(s *Step) { s.Input = []byte{} }, "input: ends in the middle"},
		{func(s *Step) { s.Input = []byte(`{}{}`) }, "input: not valid JSON"},
		{func(s *Step) { s.Input = []byte(`{"a":1,"a":1}`) }, "input: an object has two members"},
		{func(s *Step) { s.Output = []byte("\"\xff\"") }, "output: not valid UTF-8"},
		{func(s *Step) { s.Metadata = []byte(nested(MaxDepth)) }, "metadata: nested deeper"},
		{func(s *Step) { s.Input = []byte(`"` + strings.Repeat("x", MaxLine) + `"`) }, "longer than"},
		{func(s *Step) { s.Session = strings.Repeat("\x00", MaxLine/6) }, "longer than"},
	} {
		s := good
		c.spoil(&s)
		err := s.Validate()
		if fault.CodeOf(err) != fault.StepInvalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error is %v, want %q in it", err, c.says)
		}
	}
}

func TestCompleteGivesWhatIsAbsent(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600))
	s := Step{Action: External, Name: "n"}
	if !s.Complete(now) || !isID(s.ID) || !s.Time.Equal(now) || s.Time.Location() != time.UTC {
		t.Errorf("not completed: %+v", s)
	}
	before := s
	if s.Complete(now.Add(time.Hour)) || show(s) != show(before) {
		t.Errorf("a complete step was changed: %+v", s)
	}
	if a, b := NewID(), NewID(); a == b {
		t.Errorf("two ids are equal: %s", a)
	}
}
