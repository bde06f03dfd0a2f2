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
	// Told says that who interrupts carl interrupts the program as well, as a
	// terminal does: it is not told twice.
	Told bool
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

// Run runs a plan on this machine until it ends, and returns its exit status; that
// of a program that a signal ended is 128 and the signal's number. When ctx ends
// first the program is interrupted, and given time to end by itself. The error is
// that it could not be run.
func (p *Plan) Run(ctx context.Context, o LocalOptions) (status int, err error) {
	line, err := p.Command(o)
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir, cmd.Env = o.Dir, o.Environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.Stdin, o.Stdout, o.Stderr
	cmd.Cancel = func() error {
		if o.Told {
			return nil
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = stopPatience
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case cmd.ProcessState == nil:
		return 0, fault.New(fault.TrainNotFound, "%s cannot be run: %w", line[0], err).WithKept("nothing was run")
	case errors.As(err, &exit) || err == nil:
		return exitStatus(cmd.ProcessState), nil
	case ctx.Err() != nil:
		return exitStatus(cmd.ProcessState), nil
	}
	return exitStatus(cmd.ProcessState), fault.New(fault.IO, "the output of %s: %w", line[0], err)
}
