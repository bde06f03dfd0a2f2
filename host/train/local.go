package train

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
)

// LocalOptions say how a backend is run on this machine.
type LocalOptions struct {
	// Dir is the folder of the backend's source, in which it is run.
	Dir string
	// Python is the interpreter of a program that ends in .py; "" is python3.
	Python string
	// Environ is what the program gets, as os.Environ gives it.
	Environ []string
	// Stdin, Stdout and Stderr are the program's own.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signal is asked, when the context has ended, which signal the program gets; nil
	// for none, where it has been told already, as a terminal tells all that run in
	// its foreground. A nil Signal is an interrupt.
	Signal func() os.Signal
}

// Command is the command line of a plan: the entrypoint, which must be a file in the
// folder, and its arguments. The error is carl.train.not_found.
func (p *Plan) Command(o LocalOptions) ([]string, error) {
	missing := func(format string, args ...any) *fault.Error {
		return fault.New(fault.TrainNotFound, format, args...).WithKept("nothing was run")
	}
	if o.Dir == "" {
		return nil, missing("no folder of %s's source is known", p.Backend).
			WithHint("name it with --slime-dir DIR, or as `slime: {dir: …}` in config.yaml; --managed runs it on the platform")
	}
	if !filepath.IsLocal(p.Entrypoint) {
		return nil, missing("the entrypoint %q is not a file within the folder of the backend", p.Entrypoint)
	}
	path := filepath.Join(o.Dir, p.Entrypoint)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing("%s is not there", path).WithHint("name the folder of the backend's source with --slime-dir")
	case err != nil:
		return nil, missing("%w", err)
	case !info.Mode().IsRegular():
		return nil, missing("%s is not a file", path)
	}
	line := []string{"./" + p.Entrypoint}
	if strings.HasSuffix(p.Entrypoint, ".py") {
		python := o.Python
		if python == "" {
			python = "python3"
		}
		line = []string{python, p.Entrypoint}
	}
	return append(line, p.Argv...), nil
}

// drainTime is how long output is waited for that others hold open when the program
// has ended: workers that it left behind.
const drainTime = 2 * time.Second

// Run runs a plan on this machine until it ends, and returns its exit status; that
// of a program that a signal ended is 128 and the signal's number. When ctx ends
// first the program is told, and given time to end by itself. The error is that it
// could not be run.
func (p *Plan) Run(ctx context.Context, o LocalOptions) (status int, err error) {
	line, err := p.Command(o)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir, cmd.Env = o.Dir, o.Environ
	cmd.Stdin = o.Stdin
	cmd.Cancel = func() error {
		tell := os.Interrupt
		if o.Signal != nil {
			tell = o.Signal()
		}
		if tell == nil {
			return nil
		}
		return cmd.Process.Signal(tell)
	}
	cmd.WaitDelay = stopPatience
	out, err := pipe(o.Stdout)
	if err != nil {
		return 0, err
	}
	errs, err := pipe(o.Stderr)
	if err != nil {
		out.close()
		return 0, err
	}
	cmd.Stdout, cmd.Stderr = out.write, errs.write
	err = cmd.Start()
	out.write.Close()
	errs.write.Close()
	if err != nil {
		out.close()
		errs.close()
		return 0, fault.New(fault.TrainNotFound, "%s cannot be run: %w", line[0], err).WithKept("nothing was run").
			WithHint("install %s, or put it into PATH", line[0])
	}
	cmd.Wait() // what it says is in the state
	drained := time.Now().Add(drainTime)
	err = errors.Join(out.drain(drained), errs.drain(drained))
	if status = exitStatus(cmd.ProcessState); err != nil {
		return status, fault.New(fault.IO, "the output of %s: %w", line[0], err)
	}
	return status, nil
}

// stream is one stream of a program's output on its way.
type stream struct {
	read, write *os.File
	done        chan error
}

// pipe makes a stream that ends in w; nil discards it.
func pipe(w io.Writer) (*stream, error) {
	if w == nil {
		w = io.Discard
	}
	r, in, err := os.Pipe()
	if err != nil {
		return nil, fault.New(fault.IO, "a pipe for the program's output: %w", err).WithKept("nothing was run")
	}
	s := &stream{r, in, make(chan error, 1)}
	go func() {
		_, err := io.Copy(w, r)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			io.Copy(io.Discard, r) // the program goes on, though nobody reads it
		} else {
			err = nil
		}
		s.done <- err
	}()
	return s, nil
}

// drain waits for what is still on its way, until a moment.
func (s *stream) drain(until time.Time) error {
	s.read.SetReadDeadline(until)
	err := <-s.done
	s.read.Close()
	return err
}

func (s *stream) close() { s.write.Close(); s.drain(time.Now()) }
