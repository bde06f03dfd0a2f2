package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/sync"
)

type syncOptions struct {
	deadline   time.Duration
	watch      bool
	background bool
	resume     string
	json       bool
}

func (a *app) syncCmd() *cobra.Command {
	var o syncOptions
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Deliver what was recorded, or say what waits where and why",
		Long: `Maps what was recorded and delivers it to every destination, once, until nothing
is due or the deadline is reached. What is not acknowledged stays where it is.
The exit status is 0 when nothing waits, and 1 otherwise; it is 0 as well when
another sync is at work, which is said.

With --watch it goes on until it is interrupted. With --resume it first lifts the
pause of a destination that stopped for a reason which you have mended.`,
		Example: `  carl sync
  carl sync --deadline 1m
  carl sync --watch
  carl sync --resume archive`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.sync(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.deadline, "deadline", 10*time.Second, "stop after this `DURATION`")
	f.BoolVar(&o.watch, "watch", false, "go on until interrupted")
	f.BoolVar(&o.background, "background", false, "what a command starts behind itself: silent, one at a time, at most once a minute")
	f.StringVar(&o.resume, "resume", "", "lift the pause of the destination `NAME` first")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	cmd.MarkFlagsMutuallyExclusive("watch", "background", "json")
	cmd.MarkFlagsMutuallyExclusive("watch", "deadline")
	cmd.RegisterFlagCompletionFunc("resume", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.completeDestinations(), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.AddCommand(a.syncStatusCmd())
	return cmd
}

func (a *app) sync(ctx context.Context, o syncOptions) error {
	if o.background {
		return a.syncBackground(ctx)
	}
	if o.deadline <= 0 {
		return fault.New(fault.Usage, "--deadline must be longer than nothing")
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	if o.resume != "" {
		if err := h.Resume(ctx, o.resume); err != nil {
			return err
		}
	}
	if o.watch {
		return a.watch(ctx, h)
	}

	deadline, cancel := context.WithTimeout(ctx, o.deadline)
	defer cancel()
	h.OnProgress(a.progress())
	report, err := h.Sync(deadline)
	a.endProgress()
	if ctx.Err() != nil {
		return fault.New(fault.Interrupted, "interrupted").WithKept("what is not acknowledged waits in the spool")
	}
	if o.json {
		if werr := a.writeReport(report); werr != nil && err == nil {
			err = werr
		}
	} else if report.Busy {
		a.warn("another sync is at work, and delivers what waits")
	} else {
		a.printReport(report)
	}
	if err != nil || report.Busy {
		return err
	}
	return pendingError(report)
}

// watcher is the part of a host that --watch needs.
type watcher interface {
	Watch(context.Context) error
}

func (a *app) watch(ctx context.Context, h watcher) error {
	a.warn("delivering until interrupted")
	err := h.Watch(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return fault.New(fault.Interrupted, "interrupted").WithKept("what is not acknowledged waits in the spool")
	}
	return err
}

// pendingError is how a sync that left something behind fails.
func pendingError(r sync.Report) error {
	var waiting []string
	hint := ""
	for _, d := range r.Destinations {
		if d.Pending == 0 {
			continue
		}
		waiting = append(waiting, d.Name)
		if hint == "" {
			hint = d.Hint
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	err := fault.New(fault.SyncPending, "something still waits for %s", strings.Join(waiting, ", ")).WithKept("it is kept")
	if hint != "" {
		err = err.WithHint("%s", hint)
	}
	return err
}

func (a *app) syncStatusCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say what waits where, why, and which command helps",
		Example: "  carl sync status --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			report, err := h.SyncStatus(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeReport(report)
			}
			a.printReport(report)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) writeReport(r sync.Report) error {
	type row struct {
		Name         string `json:"name"`
		State        string `json:"state"`
		Reason       string `json:"reason,omitempty"`
		Hint         string `json:"hint,omitempty"`
		NotBefore    string `json:"not_before,omitempty"`
		Pending      uint64 `json:"pending"`
		Acknowledged uint64 `json:"acknowledged"`
		DeadLetters  int    `json:"dead_letters"`
	}
	rows := make([]row, 0, len(r.Destinations))
	for _, d := range r.Destinations {
		out := row{
			Name: d.Name, State: string(d.State), Reason: d.Reason, Hint: d.Hint,
			Pending: d.Pending, Acknowledged: d.Acknowledged, DeadLetters: d.DeadLetters,
		}
		if !d.NotBefore.IsZero() {
			out.NotBefore = d.NotBefore.UTC().Format(time.RFC3339Nano)
		}
		rows = append(rows, out)
	}
	return writeJSON(a.stdout, struct {
		Schema       string `json:"schema"`
		Busy         bool   `json:"busy,omitzero"`
		Destinations []row  `json:"destinations"`
	}{"carl.sync/1", r.Busy, rows})
}

func (a *app) printReport(r sync.Report) {
	var rows [][]string
	for _, d := range r.Destinations {
		rows = append(rows, []string{
			d.Name, string(d.State),
			strconv.FormatUint(d.Pending, 10), strconv.FormatUint(d.Acknowledged, 10), strconv.Itoa(d.DeadLetters),
			stateInWords(d),
		})
	}
	if len(rows) == 0 {
		a.warn("no destination is configured")
		return
	}
	table(a.stdout, []string{"DESTINATION", "STATE", "PENDING", "ACKNOWLEDGED", "DEAD LETTERS", "WHY, AND WHAT HELPS"}, rows)
}

// stateInWords is the last column: the reason, when the next attempt is due,
// and the command that helps.
func stateInWords(d sync.DestinationStatus) string {
	words := d.Reason
	if wait := time.Until(d.NotBefore); wait > 0 {
		words += fmt.Sprintf("; next attempt in %s", wait.Round(time.Second))
	}
	if d.Hint != "" {
		words += "; " + d.Hint
	}
	if d.DeadLetters > 0 {
		words += "; `carl dlq list` shows the dead letters"
	}
	return strings.TrimPrefix(words, "; ")
}
