package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
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
		Args: noArgs,
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
		return fault.New(fault.Usage, "--deadline must be longer than nothing").WithKept("nothing was done")
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
	switch {
	case err != nil && len(report.Destinations) == 0: // it did not get as far as a report
	case o.json:
		if werr := a.writeReport(report); werr != nil && err == nil {
			err = werr
		}
	case report.Busy:
		a.warn("another sync is at work, and delivers what waits")
	default:
		a.printReport(report)
	}
	if err != nil || report.Busy {
		return err
	}
	if err := report.Alarm(); err != nil {
		return err
	}
	return pendingError(report, deadline.Err() != nil)
}

// watch delivers until it is interrupted, and says a line when something changed.
func (a *app) watch(ctx context.Context, h *host.Host) error {
	a.warn("delivering until interrupted")
	last := ""
	err := h.Watch(ctx, func(r sync.Report, err error) {
		line := summary(r)
		if err != nil {
			line = err.Error()
		}
		if line != last {
			a.warn("%s", line)
			last = line
		}
	})
	if err != nil {
		return err
	}
	return fault.New(fault.Interrupted, "interrupted").WithKept("what is not acknowledged waits in the spool").WithHint("run `carl sync status`")
}

// summary is a report on one line.
func summary(r sync.Report) string {
	var parts []string
	for _, d := range r.Destinations {
		part := fmt.Sprintf("%s: %d acknowledged", d.Name, d.Acknowledged)
		if d.Pending > 0 {
			part += fmt.Sprintf(", %d pending", d.Pending)
		}
		if d.Worst() != sync.OK {
			part += ", " + stateInWords(d)
		} else if d.Ledger.Due() {
			part += fmt.Sprintf(", %s of the ledger pending", count(int(d.Ledger.Pending), "block"))
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// pendingError is how a sync that left something behind fails. hasty says that
// the deadline ended it.
func pendingError(r sync.Report, hasty bool) error {
	var waiting []string
	hint := ""
	for _, d := range r.Destinations {
		if d.Pending == 0 && d.Ledger.Due() {
			waiting = append(waiting, d.Name+" (the ledger)")
			if hint == "" {
				hint = d.Ledger.Hint
			}
		}
		if d.Pending == 0 {
			continue
		}
		waiting = append(waiting, d.Name)
		switch {
		case hint != "":
		case hasty && d.State == sync.OK:
			hint = "the deadline came first; run `carl sync --deadline 5m` to give it longer"
		default:
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
		Args:    noArgs,
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

		Ledger *ledgerStatus `json:"ledger,omitempty"`
	}
	rows := make([]row, 0, len(r.Destinations))
	for _, d := range r.Destinations {
		out := row{
			Name: d.Name, State: string(d.Worst()), Reason: d.Reason, Hint: d.Hint,
			Pending: d.Pending, Acknowledged: d.Acknowledged, DeadLetters: d.DeadLetters,
		}
		if !d.NotBefore.IsZero() {
			out.NotBefore = d.NotBefore.UTC().Format(time.RFC3339Nano)
		}
		if s := d.Ledger; s != nil && (s.Pending+s.Acknowledged+s.Skipped > 0 || s.State == sync.Paused) {
			out.Ledger = ledgerStatusOf(d.Ledger)
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
			d.Name, string(d.Worst()),
			pendingInWords(d), strconv.FormatUint(d.Acknowledged, 10), strconv.Itoa(d.DeadLetters),
			stateInWords(d),
		})
	}
	if len(rows) == 0 {
		a.warn("no destination is configured")
		return
	}
	table(a.stdout, []string{"DESTINATION", "STATE", "PENDING", "ACKNOWLEDGED", "DEAD LETTERS", "WHY, AND WHAT HELPS"}, rows)
}

// pendingInWords is the number that waits; where steps were counted that no
// mapper has seen, it is about that many.
func pendingInWords(d sync.DestinationStatus) string {
	if d.Unmapped > 0 {
		return "~" + strconv.FormatUint(d.Pending, 10)
	}
	return strconv.FormatUint(d.Pending, 10)
}

// progress shows how much was acknowledged so far, on a terminal only.
func (a *app) progress() func(string, int) {
	if !onTerminal(a.stderr) {
		return nil
	}
	so := map[string]int{}
	var shown time.Time
	return func(destination string, acknowledged int) {
		so[destination] = acknowledged
		if time.Since(shown) < progressEvery {
			return
		}
		shown = time.Now()
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(so)) {
			parts = append(parts, fmt.Sprintf("%s %d", name, so[name]))
		}
		fmt.Fprintf(a.stderr, "\r\x1b[Kdelivered: %s", strings.Join(parts, ", "))
	}
}

// progressEvery is how often a progress line changes: as fast as people read.
const progressEvery = 200 * time.Millisecond

// endProgress clears the progress line.
func (a *app) endProgress() {
	if onTerminal(a.stderr) {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
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
	if d.DeadLetters > 0 && !strings.Contains(d.Hint, "carl dlq") {
		words += "; `carl dlq list` shows the dead letters"
	}
	if s := d.Ledger; s.Due() || s != nil && (s.State == sync.Paused || s.Unnoted > 0) {
		words += "; ledger: " + ledgerInWords(s)
	}
	return strings.TrimPrefix(words, "; ")
}

// ledgerStatus is what programs get about the ledger at a destination.
type ledgerStatus struct {
	State        string `json:"state"`
	Code         string `json:"code,omitempty"`
	Reason       string `json:"reason,omitempty"`
	Hint         string `json:"hint,omitempty"`
	Pending      uint64 `json:"pending"`
	Acknowledged uint64 `json:"acknowledged"`
	Skipped      uint64 `json:"skipped,omitzero"`
}

func ledgerStatusOf(s *sync.LedgerStatus) *ledgerStatus {
	return &ledgerStatus{string(s.State), string(s.Code), s.Reason, s.Hint, s.Pending, s.Acknowledged, s.Skipped}
}

// ledgerInWords says what waits of the ledger, why, and what helps.
func ledgerInWords(s *sync.LedgerStatus) string {
	var words []string
	if s.Pending > 0 {
		words = append(words, count(int(s.Pending), "block")+" pending")
	}
	if s.Reason != "" {
		words = append(words, s.Reason)
	}
	if wait := time.Until(s.NotBefore); wait > 0 {
		words = append(words, "next attempt in "+wait.Round(time.Second).String())
	}
	if s.Hint != "" {
		words = append(words, s.Hint)
	}
	return strings.Join(words, "; ")
}
