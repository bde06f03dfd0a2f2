package train

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/step"
)

// what slime, Megatron and Ray wrote in a run, shortened.
const output = "\x1b[36m(RolloutManager pid=812)\x1b[0m [2026-11-20 10:00:01] rollout_metrics.py:268 - perf 0: {'perf/rollout_time': 61.2}\n" +
	"(MegatronTrainRayActor pid=993) [2026-11-20 10:00:02 RANK 0] train_metric_utils.py:135 - rollout 0: {'rollout/rewards': 0.25, 'rollout/advantages': nan, 'rollout/what': 'a, \"b\": 3}'}\r\n" +
	"[2026-11-20 10:00:03] model.py:918 - step 0: {'train/loss': -0.0031, 'train/grad_norm': 1.5e-05, 'train/lr-pg_0': 1e-06, 'train/n': np.float64(3.0), 'train/t': tensor([1, 2]), 'train/step': 0}\n" +
	"[2026-11-20 10:00:04] model.py:918 - critic-step 1: {'train/critic-loss': 2}\n" +
	"[2026-11-20 10:00:05] rollout_metrics.py:247 - eval 20: {'eval/aime': 0.5, 'eval/aime-truncated_ratio': inf}\n" +
	"  successfully saved checkpoint from iteration      19 to /root/Qwen3-4B_slime/ [ t 1/2, p 1/1 ]\n" +
	"step 3: {not a dict\nstep x: {'a': 1}\nmy step 4: ['a']\nnothing\n" +
	"[x] model.py:918 - step 0007: {}"

type logged struct{ action, name, metadata string }

func read(t *testing.T, pieces ...string) (got []logged) {
	t.Helper()
	log := &Log{RunID: "run", Record: func(s step.Step) {
		if s.Session != "run" || s.Time.IsZero() || !jsontext.Value(s.Metadata).IsValid() {
			t.Errorf("%+v", s)
		}
		got = append(got, logged{s.Action, s.Name, string(s.Metadata)})
	}}
	r := log.Stream()
	for _, p := range pieces {
		if n, err := r.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}
	r.Close()
	return got
}

// TestLog makes steps of what slime writes, however it is cut into pieces.
func TestLog(t *testing.T) {
	want := []logged{
		{step.Reward, "rollout 0", `{"rollout":0,"metrics":{"rollout/rewards":0.25}}`},
		{step.TrainingStep, "step 0", `{"step":0,"metrics":{"train/loss":-0.0031,"train/grad_norm":1.5e-05,"train/lr-pg_0":1e-06,"train/n":3,"train/step":0}}`},
		{step.TrainingStep, "critic step 1", `{"step":1,"metrics":{"train/critic-loss":2}}`},
		{step.EvalPhase, "eval 20", `{"eval":20,"metrics":{"eval/aime":0.5}}`},
		{step.Checkpoint, "checkpoint 19", `{"iteration":19,"path":"/root/Qwen3-4B_slime/"}`},
		{step.TrainingStep, "step 7", `{"step":7,"metrics":{}}`},
	}
	check := func(got []logged) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%d steps: %v", len(got), got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%d: %v, want %v", i, got[i], want[i])
			}
		}
	}
	check(read(t, output))
	check(read(t, strings.Split(output, "")...))
	for range 20 {
		var pieces []string
		for rest := output; rest != ""; {
			n := min(len(rest), 1+rand.IntN(80))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		check(read(t, pieces...))
	}
	// A line without an end keeps nothing, and those behind it count.
	long := "step 1: {'a': 1" + strings.Repeat(" ", 3*maxLogLine) + "}\nstep 2: {'a': 1}\n"
	if got := read(t, long); len(got) != 1 || got[0].name != "step 2" {
		t.Errorf("%v", got)
	}
}

// TestPythonNumbers reads dicts as Python writes them.
func TestPythonNumbers(t *testing.T) {
	var long, kept strings.Builder
	for i := range maxMetrics + 2 {
		fmt.Fprintf(&long, "'x%d': %d, ", i, i)
		if i < maxMetrics {
			if i > 0 {
				kept.WriteByte(',')
			}
			fmt.Fprintf(&kept, `"x%d":%d`, i, i)
		}
	}
	for text, want := range map[string]string{
		`{}`:                      `{}`,
		` { } `:                   `{}`,
		`{'a': 1, "b": -2.5e-3}`:  `{"a":1,"b":-0.0025}`,
		`{'a': 1,'b': 2}`:         `{"a":1,"b":2}`,
		`{'a': nan, 'b': 1}`:      `{"b":1}`,
		`{'a': inf, 'b': -inf}`:   `{}`,
		`{'a': None, 'b': True}`:  `{}`,
		`{'a': 1_000}`:            `{}`,
		`{'a': 1, 'a': 2}`:        `{"a":1}`,
		`{'': 1}`:                 `{"":1}`,
		`{'a': 'x, }', 'b': 1}`:   `{"b":1}`,
		`{'a': "x', }", 'b': 1}`:  `{"b":1}`,
		`{'a': 'x\', }', 'b': 1}`: `{"b":1}`,
		`{'a': [1, 2], 'b': 1}`:   `{"b":1}`,
		`{'a': {'c': 2}, 'b': 1}`: `{"b":1}`,
		`{'a': (1, 2), 'b': 1}`:   `{"b":1}`,
		`{'a': f([{1}]), 'b': 1}`: `{"b":1}`,
		`{'a': np.float64(0.5)}`:  `{"a":0.5}`,
		`{'a': tensor(0.5)}`:      `{}`,
		`{'a': 1`:                 `{}`,
		"{" + long.String() + "}": "{" + kept.String() + "}",
	} {
		if got, ok := pythonNumbers(text); !ok || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{``, `a`, `[1]`, `{a: 1}`, `{1: 2}`, `{'a' 1}`, `{'a}`, `{'a\\b': 1}`, `{'a'`} {
		if got, ok := pythonNumbers(text); ok {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// TestDurations are between training steps, and of no other line.
func TestDurations(t *testing.T) {
	var got []bool
	log := &Log{Record: func(s step.Step) {
		got = append(got, s.DurationMS != nil)
		if s.DurationMS != nil && (*s.DurationMS < 0 || *s.DurationMS > 60_000) {
			t.Errorf("%v ms", *s.DurationMS)
		}
	}}
	r := log.Stream()
	r.Write([]byte("eval 0: {'a': 1}\nstep 0: {'a': 1}\nstep 1: {'a': 1}\neval 1: {'a': 1}\nstep 2: {'a': 1}"))
	if len(got) != 4 {
		t.Errorf("%v before the last line has ended", got)
	}
	r.Close()
	r.Close()
	if want := []bool{false, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// A line may be of this length, and no longer.
	for more, n := range map[int]int{0: 1, 1: 0} {
		got = nil
		r := log.Stream()
		r.Write([]byte("step 1: {'a': 1" + strings.Repeat(" ", maxLogLine-16+more) + "}"))
		if r.Close(); len(got) != n {
			t.Errorf("%d bytes: %d steps", maxLogLine+more, len(got))
		}
	}
}

// FuzzLog takes any output: what it makes of it is valid.
func FuzzLog(f *testing.F) {
	for line := range strings.Lines(output) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) { read(t, text) })
}

// TestStreams writes two streams at once: no line of one is torn by the other.
func TestStreams(t *testing.T) {
	const each = 2000
	counts := map[string]int{}
	log := &Log{Record: func(s step.Step) { counts[s.Action]++ }}
	var wg sync.WaitGroup
	for _, line := range []string{"step 1: {'a': 1}\n", "rollout 1: {'a': 1}\n"} {
		wg.Go(func() {
			r := log.Stream()
			for range each {
				r.Write([]byte(line[:7]))
				r.Write([]byte(line[7:]))
			}
			r.Close()
		})
	}
	wg.Wait()
	if counts[step.TrainingStep] != each || counts[step.Reward] != each || len(counts) != 2 {
		t.Errorf("%v", counts)
	}
}
