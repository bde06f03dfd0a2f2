package wasm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/step"
)

// built holds what goGuest and cGuest made, for the life of the test binary.
var built struct {
	sync.Mutex
	modules map[string][]byte
}

func once(t testing.TB, key string, make_ func(out string) *exec.Cmd) []byte {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if m := built.modules[key]; m != nil {
		return m
	}
	out := filepath.Join(t.TempDir(), "guest.wasm")
	cmd := make_(out)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, text)
	}
	m, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if built.modules == nil {
		built.modules = map[string][]byte{}
	}
	built.modules[key] = m
	return m
}

// goGuest builds a package as the Makefile builds the bundled plugins.
func goGuest(t testing.TB, pkg string) []byte {
	t.Helper()
	return once(t, pkg, func(out string) *exec.Cmd {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
		return cmd
	})
}

// cGuest compiles a C file of testdata without any library.
func cGuest(t testing.TB, file string) []byte {
	t.Helper()
	return once(t, file, func(out string) *exec.Cmd {
		return exec.Command("clang", "--target=wasm32", "-O2", "-Wall", "-Werror", "-nostdlib", "-mbulk-memory",
			"-Wl,--no-entry", "-o", out, filepath.Join("testdata", "c", file))
	})
}

// realSteps returns recorded steps where the shared data is present, else made
// ones of the same sizes.
func realSteps(t testing.TB) []step.Step {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		f, err := os.Open(filepath.Join(dir, "shared/data/steps/swe.jsonl"))
		if err != nil {
			continue
		}
		defer f.Close()
		var steps []step.Step
		for d := step.NewDecoder(f); ; {
			s, err := d.Next()
			if err != nil {
				break
			}
			steps = append(steps, s.Clone())
		}
		if len(steps) < 256 {
			t.Fatalf("%s holds %d steps", f.Name(), len(steps))
		}
		return steps
	}
	return madeSteps(320)
}

// madeSteps makes steps of every shape.
func madeSteps(n int) []step.Step {
	actions := []string{step.TrainingStep, step.LLMReply, step.ToolCall, step.External, step.Checkpoint, step.Reward}
	steps := make([]step.Step, n)
	for i := range steps {
		s := &steps[i]
		*s = step.Step{
			ID: fmt.Sprintf("%012x", i+1), Action: actions[i%len(actions)], Name: fmt.Sprintf("step %d ✓", i),
			Time: time.Unix(1_700_000_000, int64(i)).UTC(),
		}
		if i%2 == 0 {
			yes, ms := i%4 == 0, float64(i)*1.5
			s.Session, s.Success, s.DurationMS = "session-1", &yes, &ms
			s.Input = []byte(`{"prompt":"` + strings.Repeat("word ", i%200) + `"}`)
		}
		if i%3 == 0 {
			phi, r := 0.25, 0.75
			s.Trace, s.Parent, s.Phi, s.KuramotoR = "trace-1", "parent-1", &phi, &r
			s.ChannelCoherence = []byte(`{"a":0.5,"b":1}`)
			s.Output, s.Metadata = []byte(`["x",null]`), []byte(`{"k":"v"}`)
		}
	}
	return steps
}

// replace does several replacements, in pairs of old and new.
func replace(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

// failedMessage is what a plugin said of its own failure.
func failedMessage(t *testing.T, err error) string {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.PluginFailed {
		t.Fatalf("got %v, want a failure of the plugin's own", err)
	}
	_, message, _ := strings.Cut(f.Message, "failed: ")
	return message
}

// mapped is the address space of the process, in bytes.
func mapped(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages int64
	fmt.Sscan(string(b), &pages)
	return pages * int64(os.Getpagesize())
}
