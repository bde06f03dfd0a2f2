//go:build unix

package train

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
)

func script(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestRun runs a program in its folder, with its arguments as they are, and passes on
// its output and its exit status.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "train.sh", "#!/bin/sh\npwd\nfor a; do echo \"<$a>\"; done\ncat\necho bad >&2\necho $SAID\nexit 7\n")
	var out, errs bytes.Buffer
	p := &Plan{Backend: "slime", Entrypoint: "train.sh", Argv: []string{"--a", "b c", "", "$HOME", "*"}}
	status, err := p.Run(t.Context(), LocalOptions{Dir: dir, Environ: []string{"PATH=" + os.Getenv("PATH"), "SAID=so"}, Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &errs})
	real, _ := filepath.EvalSymlinks(dir)
	if want := real + "\n<--a>\n<b c>\n<>\n<$HOME>\n<*>\nin\nso\n"; status != 7 || err != nil || out.String() != want || errs.String() != "bad\n" {
		t.Errorf("%d, %v, %q, %q", status, err, out.String(), errs.String())
	}
	// A program in Python is run by an interpreter.
	script(t, dir, "train.py", "echo py $1; kill -TERM $$\n")
	out.Reset()
	p.Entrypoint = "train.py"
	if status, err := p.Run(t.Context(), LocalOptions{Dir: dir, Python: "/bin/sh", Stdout: &out}); status != 128+15 || err != nil || out.String() != "py --a\n" {
		t.Errorf("%d, %v, %q", status, err, out.String())
	}
	if line, err := p.Command(LocalOptions{Dir: dir}); err != nil || line[0] != "python3" || line[1] != "train.py" || len(line) != 7 {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := p.Run(t.Context(), LocalOptions{Dir: dir, Python: "/nowhere/python"}); fault.CodeOf(err) != fault.TrainNotFound {
		t.Error(err)
	}
}

// TestRunNothing has entrypoints that are none.
func TestRunNothing(t *testing.T) {
	dir := t.TempDir()
	script(t, filepath.Dir(dir), "outside.sh", "#!/bin/sh\ntouch ran\n")
	for _, entrypoint := range []string{"train.py", "../outside.sh", filepath.Join(filepath.Dir(dir), "outside.sh"), ".", "a/../../outside.sh", "-c"} {
		p := &Plan{Backend: "slime", Entrypoint: entrypoint}
		if status, err := p.Run(t.Context(), LocalOptions{Dir: dir}); fault.CodeOf(err) != fault.TrainNotFound || status != 0 {
			t.Errorf("%s: %d, %v", entrypoint, status, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("what lies outside was run")
	}
	if _, err := (&Plan{Backend: "slime", Entrypoint: "train.py"}).Command(LocalOptions{}); fault.CodeOf(err) != fault.TrainNotFound || fault.HintOf(err) == "" {
		t.Error(err)
	}
}

// TestLeftBehind has a program leave a worker behind that holds its output: it ended
// when it ended.
func TestLeftBehind(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "train.sh", "#!/bin/sh\nsleep 60 &\necho $! > worker\necho done\n")
	var out bytes.Buffer
	began := time.Now()
	status, err := (&Plan{Backend: "slime", Entrypoint: "train.sh"}).Run(t.Context(), LocalOptions{Dir: dir, Stdout: &out, Environ: os.Environ()})
	if status != 0 || err != nil || out.String() != "done\n" || time.Since(began) > 10*drainTime {
		t.Errorf("%d, %v, %q after %v", status, err, out.String(), time.Since(began))
	}
	if pid, err := os.ReadFile(filepath.Join(dir, "worker")); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(pid))); err == nil {
			syscall.Kill(n, syscall.SIGKILL)
		}
	}
}

// TestMain is also the program of TestInterrupt, which says what it was told. A shell
// would not do: it cannot trap what its parents ignored.
func TestMain(m *testing.M) {
	if os.Getenv("CARL_TEST_INTERRUPTED") == "" {
		os.Exit(m.Run())
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt)
	os.Stdout.WriteString("began\n")
	<-told
	os.Stdout.WriteString("saved\n")
	os.Exit(5)
}

// TestInterrupt ends a program that ends by itself once it is told.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "train.bin")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), stopPatience/2)
	defer cancel()
	out := &watched{began: cancel}
	p := &Plan{Backend: "slime", Entrypoint: "train.bin"}
	status, err := p.Run(ctx, LocalOptions{Dir: dir, Stdout: out, Environ: append(os.Environ(), "CARL_TEST_INTERRUPTED=1")})
	if status != 5 || err != nil || out.text.String() != "began\nsaved\n" {
		t.Errorf("%d, %v, %q", status, err, out.text.String())
	}
}

// watched calls began at the first output.
type watched struct {
	text  bytes.Buffer
	began func()
}

func (w *watched) Write(p []byte) (int, error) {
	if w.text.Len() == 0 {
		defer w.began()
	}
	return w.text.Write(p)
}
