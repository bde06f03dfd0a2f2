package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/sync"
)

func (a *app) axonCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "axon",
		Short: "Look at the AXON signals that Steps become",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.axonMapCmd())
	return cmd
}

func (a *app) axonMapCmd() *cobra.Command {
	var mapper string
	cmd := &cobra.Command{
		Use:   "map FILE|-",
		Short: "Print the events that these Steps would become, and deliver nothing",
		Long: `Maps Steps with a mapper plugin and prints the events, one CloudEvents object a
line, exactly as they would be delivered: redacted, with their ids. Nothing is
recorded and nothing delivered. A line that is not a valid step, and a step that
the mapper fails on, are named on standard error, and the exit status is 1.`,
		Example: `  carl axon map steps.jsonl
  carl axon map - --mapper carl.camp/axon < steps.jsonl`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.axonMap(cmd.Context(), args[0], mapper)
		},
	}
	cmd.Flags().StringVar(&mapper, "mapper", home.DefaultMapper, "the mapper plugin to use, by `NAME`")
	cmd.RegisterFlagCompletionFunc("mapper", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.completePlugins("mapper"), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// mapping is one run of `axon map`.
type mapping struct {
	app    *app
	file   string
	mapper *host.Mapper
	out    *bufio.Writer

	steps []step.Step
	lines []int // of each step
	bytes int
	bad   int // lines refused, and steps that the mapper failed on
}

func (a *app) axonMap(ctx context.Context, file, mapper string) error {
	in, err := a.openInput(ctx, file)
	if err != nil {
		return err
	}
	defer in.Close()
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	m, err := h.Mapper(ctx, mapper)
	if err != nil {
		return err
	}
	defer m.Close()

	run := &mapping{app: a, file: file, mapper: m, out: bufio.NewWriterSize(a.stdout, 64<<10)}
	err = run.all(ctx, in)
	if ctx.Err() != nil {
		err = fault.New(fault.Interrupted, "interrupted")
	}
	if err != nil {
		run.out.Flush()
		return err
	}
	if err := run.out.Flush(); err != nil {
		return fault.New(fault.IO, "standard output: %w", err)
	}
	if run.bad > 0 {
		return fault.New(fault.RecordRejected, "%s of %s could not be mapped", count(run.bad, "line"), file).
			WithKept("the events of all others were printed").WithHint("mend the lines that are named")
	}
	return nil
}

func (m *mapping) all(ctx context.Context, in io.Reader) error {
	d := step.NewDecoder(in)
	for {
		s, err := d.Next()
		switch {
		case err == io.EOF:
			return m.flush(ctx)
		case fault.CodeOf(err) == fault.StepInvalid:
			m.refuse(reason(err))
			continue
		case err != nil:
			return err
		}
		s.Complete(time.Now())
		m.steps = append(m.steps, s.Clone())
		m.lines = append(m.lines, d.Line())
		m.bytes += len(s.Input) + len(s.Output) + len(s.Metadata)
		if len(m.steps) == sync.MaxBatchSteps || m.bytes > sync.MaxBatchBytes/2 {
			if err := m.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// refuse names a line that made no events.
func (m *mapping) refuse(why string) {
	if m.bad++; m.bad <= maxNamedLines {
		m.app.warn("%s: %s", m.file, why)
	}
}

func (m *mapping) flush(ctx context.Context) error {
	events, refused, err := m.mapper.Map(ctx, m.steps)
	if err != nil {
		return err
	}
	for _, e := range events {
		m.out.Write(e.Body)
		if err := m.out.WriteByte('\n'); err != nil {
			return fault.New(fault.IO, "standard output: %w", err)
		}
	}
	for _, r := range refused {
		m.refuse(fmt.Sprintf("line %d: %s", m.lines[r.Step], r.Err))
	}
	m.steps, m.lines, m.bytes = m.steps[:0], m.lines[:0], 0
	return nil
}
