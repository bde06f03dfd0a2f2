package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/fault"
)

type recordOptions struct {
	json    bool
	rejects string
}

func (a *app) recordCmd() *cobra.Command {
	var o recordOptions
	cmd := &cobra.Command{
		Use:   "record FILE|-",
		Short: "Record Steps, one JSON object a line",
		Long: `Records Steps into the spool, redacted. No plugin is loaded, no network touched,
no lock waited for. A line that is not a valid step is named by its number and
counted, the good ones are kept, and the exit status is 1.

A step is one JSON object a line, at most 1 MiB and 64 levels deep:

  step_id            12 lowercase hex digits; made when absent
  action             UPPER_SNAKE: USER_INPUT, CLI_CMD, TOOL_CALL, LLM_REPLY,
                     TRAINING_STEP, EVAL_PHASE, REWARD, CHECKPOINT, PAYMENT,
                     EXTERNAL, GATE, or a name of your own
  name               required, at most 256 bytes
  ts                 RFC 3339, up to 9 decimals; now when absent
  session_id, trace_id, parent_id          optional strings
  success            optional boolean
  duration_ms        optional number, not negative
  phi, kuramoto_r    optional numbers, kuramoto_r from 0 to 1
  channel_coherence  optional object of numbers
  input, output, metadata                  optional, any JSON`,
		Example: `  carl record steps.jsonl
  echo '{"action":"LLM_REPLY","name":"answer"}' | carl record -`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.record(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	cmd.Flags().StringVar(&o.rejects, "rejects", "", "write the lines that were refused to `FILE`")
	return cmd
}

// maxNamedLines bounds how many bad lines are named one by one: a file that is
// not JSON lines at all must not bury its own summary.
const maxNamedLines = 20

func (a *app) record(ctx context.Context, name string, o recordOptions) error {
	in, err := a.openInput(ctx, name)
	if err != nil {
		return err
	}
	defer in.Close()
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()

	var rejects io.Writer
	if o.rejects != "" {
		f, err := createRejects(o.rejects, in)
		if err != nil {
			return err
		}
		defer f.Close()
		rejects = f
	}

	named := 0
	done, err := h.RecordLines(in, rejects, func(bad error) {
		if named++; named <= maxNamedLines {
			a.warn("%s: %s", name, reason(bad))
		}
	})
	if err == nil {
		err = h.Close()
	}
	if hidden := named - maxNamedLines; hidden > 0 {
		a.warn("%s: and %s more", name, count(hidden, "bad line"))
	}
	if len(done.UnknownMembers) > 0 {
		a.warn("%s: ignored unknown members: %s", name, strings.Join(done.UnknownMembers, ", "))
	}
	a.leftWork = done.Recorded > done.Discarded

	if o.json {
		if werr := writeJSON(a.stdout, struct {
			Schema    string `json:"schema"`
			Recorded  int    `json:"recorded"`
			Rejected  int    `json:"rejected"`
			Discarded int    `json:"discarded"`
		}{"carl.record/1", done.Recorded, done.Rejected, done.Discarded}); werr != nil && err == nil {
			err = werr
		}
	} else {
		fmt.Fprintf(a.stderr, "carl: recorded %s, rejected %d\n", count(done.Recorded, "step"), done.Rejected)
	}
	if done.Discarded > 0 {
		a.warn("nobody would receive %s, so nothing was kept of them; `carl consent grant telemetry` lets destinations on the network have the next ones",
			count(done.Discarded, "step"))
	}
	if ctx.Err() != nil {
		return fault.New(fault.Interrupted, "interrupted").WithKept("%s recorded", count(done.Recorded, "step"))
	}
	if err != nil {
		return err
	}
	if done.Rejected > 0 {
		return fault.New(fault.RecordRejected, "%s of %s %s not valid", count(done.Rejected, "line"), name, isAre(done.Rejected)).
			WithKept("%s recorded", count(done.Recorded, "step"))
	}
	return nil
}

// createRejects makes the file for rejects, or empties it. It is not the file
// that is read: that one would be lost.
func createRejects(name string, in *input) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fault.New(fault.IO, "the file for rejects: %w", err).WithKept("nothing was recorded")
	}
	if in.sameFile(f) {
		f.Close()
		return nil, fault.New(fault.Usage, "--rejects %q is the file to read", name).WithKept("nothing was done")
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return f, nil // a pipe or a device has nothing to empty
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fault.New(fault.IO, "the file for rejects: %w", err).WithKept("nothing was recorded")
	}
	return f, nil
}

// reason is an error's message without its code, for lists where the code is the same in every row.
func reason(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
