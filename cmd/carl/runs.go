package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"carl.camp/carl/host"
	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
)

func (a *app) runsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "Show managed training runs, and wait for them",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.runsStatusCmd(), a.runsListCmd())
	return cmd
}

func (a *app) runsStatusCmd() *cobra.Command {
	var o struct {
		wait    bool
		timeout time.Duration
		json    bool
	}
	cmd := &cobra.Command{
		Use:   "status ID",
		Short: "Show a managed run, or wait for its end",
		Long: `Asks the platform how a run is. With --wait it shows the progress until the run ends,
and exits with 1 if it failed or was cancelled. An interrupt, and --timeout, end the
waiting and not the run.`,
		Example: `  carl runs status 8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10
  carl runs status 8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10 --wait --timeout 1h`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.timeout < 0 || o.timeout > 0 && !o.wait {
				return fault.New(fault.Usage, "--timeout says how long --wait waits, and must be longer than nothing").WithKept("nothing was done")
			}
			return a.runsStatus(cmd.Context(), args[0], o.wait, o.timeout, o.json)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeRuns(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait for the end of the run")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "wait at most this `DURATION`; the run goes on")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (a *app) runsStatus(ctx context.Context, id string, wait bool, timeout time.Duration, asJSON bool) error {
	id, err := camp.ParseRunID(id)
	if err != nil {
		return err
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	show := func(run camp.Run) error {
		if asJSON {
			return writeJSON(a.stdout, runJSON("carl.run/1", run, false))
		}
		return a.printRun(run)
	}
	if wait {
		return a.waitForRun(ctx, h, id, timeout, "", asJSON, show)
	}
	run, err := h.Run(ctx, id)
	if err != nil {
		return err
	}
	return show(run)
}

// waitForRun shows the progress of a run until it ends, and how it ended. said is
// the state that its user knows of already.
func (a *app) waitForRun(ctx context.Context, h *host.Host, id string, timeout time.Duration, said string, asJSON bool, show func(camp.Run) error) error {
	within := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	p := &runProgress{app: a, last: said}
	if onTerminal(a.stderr) {
		p.width = terminalWidth(a.stderr)
	}
	run, err := h.WaitRun(within, id, p.seen, p.lost)
	p.end()
	a.leftWork = a.leftWork || run.ResonantID != ""
	resume := fmt.Sprintf("run `carl runs status %s --wait`", id)
	var refused error
	switch {
	case ctx.Err() != nil:
		refused = fault.New(fault.Interrupted, "interrupted").WithKept("the run goes on").WithHint("%s", resume)
	case within.Err() != nil && !run.Ended():
		refused = fault.New(fault.RunWaitEnded, "run %s has not ended in %v", id, timeout).WithKept("it goes on").WithHint("%s", resume)
	case fault.CodeOf(err) == fault.RunNotFound:
		return err
	case err != nil:
		var e *fault.Error
		if refused = err; errors.As(err, &e) {
			refused = e.WithKept("the run goes on")
			if e.Code == fault.CampUnauthorized {
				refused = e.WithKept("the run goes on").WithHint("run `carl camp login`, then `carl runs status %s --wait`", id)
			}
		}
	}
	if refused != nil {
		// A program gets what is known of the run all the same.
		if run.ID == "" {
			run.ID, run.Status = id, said
		}
		if asJSON {
			if err := show(run); err != nil {
				return err
			}
		}
		return refused
	}
	if err := show(run); err != nil {
		return err
	}
	if run.Status == "succeeded" {
		return nil
	}
	why := ""
	if run.Error != "" {
		why = ": " + run.Error
	}
	return fault.New(fault.RunFailed, "run %s %s%s", id, run.Status, why)
}

// terminalWidth is how many characters a line of a terminal has.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// runProgress tells people how a run goes: on a terminal in one line that changes,
// else by a line for each change.
type runProgress struct {
	app   *app
	width int // of the terminal; 0 off one
	last  string
	quiet bool // the last question had no answer, which was said
}

func (p *runProgress) seen(run camp.Run) {
	p.quiet = false
	line := run.Status
	if run.Step != nil && run.TotalSteps != nil {
		line += fmt.Sprintf(", step %d of %d", *run.Step, *run.TotalSteps)
	} else if run.Step != nil {
		line += fmt.Sprintf(", step %d", *run.Step)
	} else if run.Progress != nil && p.width == 0 {
		line += fmt.Sprintf(", %d%%", int(*run.Progress*100))
	}
	if p.width > 0 {
		if run.Progress != nil {
			line = bar(*run.Progress) + " " + line
		}
		shown := []rune(printable(line))
		fmt.Fprintf(p.app.stderr, "\r\x1b[K%s", string(shown[:min(len(shown), p.width-1)]))
		return
	}
	if line != p.last {
		p.last = line
		p.app.warn("run %s: %s", run.ID, line)
	}
}

func (p *runProgress) lost(err error, pause time.Duration) {
	if p.quiet {
		return
	}
	p.quiet = true
	p.end()
	p.app.warn("%s; the run goes on, and is asked for again", plainWords(err))
}

func (p *runProgress) end() {
	if p.width > 0 {
		p.app.endProgress()
	}
}

// barWidth is how many characters a bar has.
const barWidth = 30

func bar(progress float64) string {
	full := int(progress * barWidth)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", barWidth-full) + "] " + strconv.Itoa(int(progress*100)) + "%"
}

// printRun shows a run to people.
func (a *app) printRun(run camp.Run) error {
	fmt.Fprintf(a.stdout, "run %s: %s\n", run.ID, printable(run.Status))
	switch {
	case run.Step != nil && run.TotalSteps != nil:
		fmt.Fprintf(a.stdout, "step:     %d of %d\n", *run.Step, *run.TotalSteps)
	case run.Step != nil:
		fmt.Fprintf(a.stdout, "step:     %d\n", *run.Step)
	}
	if run.Progress != nil && run.Step == nil {
		fmt.Fprintf(a.stdout, "progress: %d%%\n", int(*run.Progress*100))
	}
	if run.ResonantID != "" {
		fmt.Fprintf(a.stdout, "resonant: %s\n", run.ResonantID)
	}
	if run.Error != "" {
		fmt.Fprintf(a.stdout, "error:    %s\n", printable(run.Error))
	}
	return nil
}

type runDocument struct {
	Schema     string   `json:"schema,omitempty"`
	RunID      string   `json:"run_id"`
	Status     string   `json:"status"`
	Created    bool     `json:"created,omitzero"`
	Progress   *float64 `json:"progress,omitempty"`
	Step       *int64   `json:"step,omitempty"`
	TotalSteps *int64   `json:"total_steps,omitempty"`
	ResonantID string   `json:"resonant_id,omitempty"`
	Error      string   `json:"error,omitempty"`
}

func runJSON(schema string, run camp.Run, created bool) runDocument {
	return runDocument{schema, run.ID, run.Status, created, run.Progress, run.Step, run.TotalSteps, run.ResonantID, run.Error}
}

func (a *app) runsListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the account's managed runs, the newest first",
		Example: "  carl runs list --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runsList(cmd.Context(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) runsList(ctx context.Context, asJSON bool) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	runs, err := h.Runs(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		list := make([]runDocument, len(runs))
		for i, run := range runs {
			list[i] = runJSON("", run, false)
		}
		return writeJSON(a.stdout, struct {
			Schema string        `json:"schema"`
			Runs   []runDocument `json:"runs"`
		}{"carl.runs/1", list})
	}
	if len(runs) == 0 {
		a.warn("there are no runs; `carl train CONFIG --managed` starts one")
		return nil
	}
	rows := make([][]string, len(runs))
	for i, run := range runs {
		step := ""
		if run.Step != nil && run.TotalSteps != nil {
			step = fmt.Sprintf("%d of %d", *run.Step, *run.TotalSteps)
		}
		rows[i] = []string{run.ID, run.Status, step, run.ResonantID, run.Error}
	}
	table(a.stdout, []string{"RUN", "STATUS", "STEP", "RESONANT", "ERROR"}, rows)
	return nil
}

// completionTime bounds what a completion waits for the platform.
const completionTime = 2 * time.Second

// completeRuns serves shell completion: what cannot be asked completes to nothing.
func (a *app) completeRuns(ctx context.Context) []string {
	h, err := a.openHost()
	if err != nil {
		return nil
	}
	defer h.Close()
	within, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	runs, err := h.Runs(within)
	if err != nil {
		return nil
	}
	ids := make([]string, len(runs))
	for i, run := range runs {
		ids[i] = run.ID + "\t" + run.Status
	}
	return ids
}

func (a *app) resonantCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resonant",
		Short: "Publish what came of a run",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.resonantPublishCmd())
	return cmd
}

func (a *app) resonantPublishCmd() *cobra.Command {
	var o struct {
		runID string
		json  bool
	}
	cmd := &cobra.Command{
		Use:   "publish FILE",
		Short: "Send a file to the platform as the resonant of a run",
		Long: `Sends a file to the platform, as it is, as what came of a managed run. Nothing of it is
kept in memory, and there is no bound on how long it takes. Sending it again under the
same run publishes it once.`,
		Example: "  carl resonant publish model.safetensors --slime-run-id 8f14e45f-ceea-467f-a8d9-2d5b1a6c9e10",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.resonantPublish(cmd.Context(), args[0], o.runID, cmd.Flags().Changed("slime-run-id"), o.json)
		},
	}
	cmd.Flags().StringVar(&o.runID, "slime-run-id", "", "the `UUID` of the run that it came from")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	cmd.RegisterFlagCompletionFunc("slime-run-id", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completeRuns(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func (a *app) resonantPublish(ctx context.Context, name, runID string, ofRun, asJSON bool) error {
	if ofRun {
		var err error
		if runID, err = camp.ParseRunID(runID); err != nil {
			return err
		}
	}
	// Opening a pipe waits for somebody who writes into it.
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return fault.New(fault.Usage, "%q is not a file", name).WithKept("nothing was published")
	}
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.InputNotFound, "there is no file %q", name).WithKept("nothing was published")
	}
	if err != nil {
		return fault.New(fault.IO, "%w", err).WithKept("nothing was published")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fault.New(fault.IO, "%w", err).WithKept("nothing was published")
	}
	if !info.Mode().IsRegular() {
		return fault.New(fault.Usage, "%q is not a file", name).WithKept("nothing was published")
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	var progress func(sent int64)
	if onTerminal(a.stderr) {
		var shown time.Time
		size := max(info.Size(), 1)
		progress = func(sent int64) {
			if time.Since(shown) >= progressEvery {
				shown = time.Now()
				fmt.Fprintf(a.stderr, "\r\x1b[K%s of %d MiB", bar(min(1, float64(sent)/float64(size))), size>>20)
			}
		}
	}
	id, err := h.PublishResonant(ctx, f, info.Size(), runID, progress)
	if progress != nil {
		a.endProgress()
	}
	if err != nil {
		if ctx.Err() != nil {
			return fault.New(fault.Interrupted, "interrupted").WithKept("nothing is known to be published").WithHint("run the same command again")
		}
		return err
	}
	a.leftWork = true
	if asJSON {
		return writeJSON(a.stdout, struct {
			Schema     string `json:"schema"`
			ResonantID string `json:"resonant_id"`
			RunID      string `json:"run_id,omitempty"`
			Bytes      int64  `json:"bytes"`
		}{"carl.resonant/1", id, runID, info.Size()})
	}
	of := ""
	if runID != "" {
		of = " of run " + runID
	}
	fmt.Fprintf(a.stdout, "resonant %s: %d bytes%s\n", id, info.Size(), of)
	return nil
}
