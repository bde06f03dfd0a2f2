package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// processBenchmarks times the command itself: its start, and recording and
// delivering to a local file, mapping included.
func processBenchmarks(repo string, most int, keep func(result, error) error) error {
	carl, err := filepath.Abs(filepath.Join(repo, "bin", "carl"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(carl); err != nil {
		return fmt.Errorf("%w: run make build first", err)
	}
	dir, err := os.MkdirTemp("", "carl-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	if err := shortCommands(repo, carl, filepath.Join(dir, "home"), keep); err != nil {
		return err
	}
	for n := 1000; n <= most; n *= 10 {
		if err := recordAndSync(carl, filepath.Join(dir, fmt.Sprint(n)), n, keep); err != nil {
			return err
		}
	}
	return nil
}

// usage is what the operating system counted for one process.
type usage struct {
	wall, cpu time.Duration
	peakMiB   float64
}

func measure(home, carl string, args ...string) (usage, error) {
	return measureIn(nil, home, carl, args...)
}

func measureIn(env []string, home, carl string, args ...string) (usage, error) {
	cmd := exec.Command(carl, args...)
	cmd.Env = append(append(os.Environ(), "CARL_HOME="+home, "CARL_BACKGROUND=off", "CARL_CAMP_URL="), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	begin := time.Now()
	err := cmd.Run()
	wall := time.Since(begin)
	if err != nil {
		return usage{}, fmt.Errorf("carl %v: %w: %s", args, err, stderr.Bytes())
	}
	u := usage{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.peakMiB = float64(r.Maxrss) / 1024 // KiB on Linux
	}
	return u, nil
}

// recordAndSync records n steps into a fresh home and delivers them to a file.
func recordAndSync(carl, home string, n int, keep func(result, error) error) error {
	archive := filepath.Join(home, "archive")
	if err := os.MkdirAll(archive, 0o700); err != nil {
		return err
	}
	config := fmt.Sprintf("destinations:\n  archive: {plugin: carl.camp/forward/jsonl, settings: {file: signals.jsonl}, grants: {files: %q}}\nspool: {max_bytes: %d}\n", archive, int64(8)<<30)
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(config), 0o600); err != nil {
		return err
	}
	steps := filepath.Join(home, "steps.jsonl")
	size, err := writeSteps(steps, n)
	if err != nil {
		return err
	}
	// The first sync of a home compiles the plugins: a cost of installing, not of delivering.
	first := filepath.Join(home, "first.jsonl")
	if _, err := writeSteps(first, 1); err != nil {
		return err
	}
	for _, args := range [][]string{{"record", first}, {"sync"}} {
		if _, err := measure(home, carl, args...); err != nil {
			return err
		}
	}

	recorded, err := measure(home, carl, "record", steps)
	if err != nil {
		return err
	}
	if err := keep(rate(fmt.Sprintf("process: record %d steps", n), n, size, recorded), nil); err != nil {
		return err
	}
	synced, err := measure(home, carl, "sync", "--deadline", "30m")
	if err != nil {
		return err
	}
	both := usage{recorded.wall + synced.wall, recorded.cpu + synced.cpu, max(recorded.peakMiB, synced.peakMiB)}
	if err := keep(rate(fmt.Sprintf("process: record and sync %d steps", n), n, size, both), nil); err != nil {
		return err
	}
	return os.RemoveAll(home)
}

func rate(name string, n int, size int64, u usage) result {
	return result{name, map[string]float64{
		"steps/s":     float64(n) / u.wall.Seconds(),
		"steps/cpu-s": float64(n) / u.cpu.Seconds(),
		"MB/s":        float64(size) / 1e6 / u.wall.Seconds(),
		"MiB/peak":    u.peakMiB,
	}}
}

// writeSteps writes n steps of an agent at work, 1 to 2 KB each, the same for
// every run.
func writeSteps(file string, n int) (int64, error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	actions := []string{"LLM_REPLY", "TOOL_CALL", "LLM_REPLY", "TOOL_CALL", "USER_INPUT", "TRAINING_STEP", "REWARD", "EXTERNAL"}
	prose := bytes.Repeat([]byte("The test fails because the header is parsed twice; I will parse it once, and keep the result. "), 24)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var size int64
	for i := range n {
		action := actions[i%len(actions)]
		coherence := ""
		if action == "LLM_REPLY" {
			coherence = fmt.Sprintf(`,"phi":0.%03d,"kuramoto_r":0.%03d`, i%1000, (i*7)%1000)
		}
		m, err := fmt.Fprintf(w, `{"step_id":"%012x","action":%q,"name":"step","ts":%q,"session_id":"bench","trace_id":"%032x","success":true,"duration_ms":%d.5%s,"input":{"text":%q},"metadata":{"turn":%d}}`+"\n",
			i+1, action, begin.Add(time.Duration(i)*time.Second).Format(time.RFC3339), i/100, i%500, coherence, prose[:900+i%1000], i)
		if err != nil {
			return 0, err
		}
		size += int64(m)
	}
	return size, w.Flush()
}
