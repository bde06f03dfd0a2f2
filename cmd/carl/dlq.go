package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/sync"
)

func (a *app) dlqCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters: what a destination or a mapper refused for good",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.dlqListCmd(), a.dlqShowCmd(), a.dlqReplayCmd(), a.dlqDropCmd())
	return cmd
}

// letterSelection is which letters a command is about.
type letterSelection struct {
	destination string
	all         bool
}

func (a *app) addSelection(cmd *cobra.Command, s *letterSelection, withAll bool) {
	cmd.Flags().StringVar(&s.destination, "destination", "", "only those of the destination `NAME`")
	cmd.RegisterFlagCompletionFunc("destination", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.completeDestinations(), cobra.ShellCompDirectiveNoFileComp
	})
	if withAll {
		cmd.Flags().BoolVar(&s.all, "all", false, "all of them")
	}
}

// find returns the letters that ids name, or all.
func (s letterSelection) find(h *host.Host, ids []string) ([]sync.DeadLetter, error) {
	switch {
	case s.all && len(ids) > 0:
		return nil, fault.New(fault.Usage, "name dead letters or give --all, not both").WithKept("nothing was done")
	case s.all:
		return h.DeadLetters(s.destination)
	case len(ids) == 0:
		return nil, fault.New(fault.Usage, "no dead letter is named").WithKept("nothing was done").
			WithHint("name ids as `carl dlq list` shows them, or give --all")
	}
	var found []sync.DeadLetter
	for _, id := range ids {
		letters, err := h.FindDead(s.destination, id)
		if err != nil {
			return nil, err
		}
		found = append(found, letters...)
	}
	return found, nil
}

func (a *app) dlqListCmd() *cobra.Command {
	var s letterSelection
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the dead letters with their reasons",
		Example: "  carl dlq list --destination camp --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.dlqList(s, asJSON)
		},
	}
	a.addSelection(cmd, &s, false)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// letterRow is a dead letter as programs see it.
type letterRow struct {
	Schema      string         `json:"schema"`
	ID          string         `json:"id"`
	Destination string         `json:"destination"`
	Topic       string         `json:"topic"`
	Code        string         `json:"code"`
	Reason      string         `json:"reason"`
	Attempts    int            `json:"attempts"`
	First       string         `json:"first"`
	Last        string         `json:"last"`
	Replay      bool           `json:"replay"`
	Step        jsontext.Value `json:"step,omitzero"`
	Event       jsontext.Value `json:"event,omitzero"`
}

func (a *app) writeLetter(l sync.DeadLetter, whole bool) error {
	row := letterRow{
		Schema: "carl.dlq/1", ID: l.ID, Destination: l.Destination, Topic: l.Topic, Code: l.Code, Reason: l.Reason,
		Attempts: l.Attempts, First: l.First.UTC().Format(time.RFC3339Nano), Last: l.Last.UTC().Format(time.RFC3339Nano), Replay: l.Replay,
	}
	if whole {
		row.Step, row.Event = l.Step, l.Event
	}
	return writeJSON(a.stdout, row)
}

func (a *app) dlqList(s letterSelection, asJSON bool) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	letters, err := h.DeadLetters(s.destination)
	if err != nil {
		return err
	}
	if asJSON {
		for _, l := range letters {
			if err := a.writeLetter(l, false); err != nil {
				return err
			}
		}
		return nil
	}
	if len(letters) == 0 {
		a.warn("there is no dead letter")
		return nil
	}
	var rows [][]string
	for _, l := range letters {
		reason := l.Reason
		if l.Replay {
			reason = "to be tried again; " + reason
		}
		rows = append(rows, []string{shortID(l.ID), l.Destination, strconv.Itoa(l.Attempts), l.Last.Local().Format(time.DateTime), l.Code, reason})
	}
	table(a.stdout, []string{"ID", "DESTINATION", "ATTEMPTS", "LAST", "CODE", "REASON"}, rows)
	return nil
}

// shortID is as much of an id as people need to name it.
func shortID(id string) string {
	const enough = 12
	if len(id) > enough {
		return id[:enough]
	}
	return id
}

func (a *app) dlqShowCmd() *cobra.Command {
	var s letterSelection
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show a dead letter whole: its reason, and the step or event as it was",
		Long:    "Shows a dead letter whole. An id may be shortened as far as it names one letter.",
		Example: "  carl dlq show 8e9030e06818",
		Args:    oneArg,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.dlqShow(s, args[0], asJSON)
		},
	}
	a.addSelection(cmd, &s, false)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (a *app) dlqShow(s letterSelection, id string, asJSON bool) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	letters, err := h.FindDead(s.destination, id)
	if err != nil {
		return err
	}
	for i, l := range letters {
		if asJSON {
			if err := a.writeLetter(l, true); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		for _, row := range [][2]string{
			{"id", l.ID}, {"destination", l.Destination}, {"code", l.Code}, {"reason", l.Reason},
			{"attempts", strconv.Itoa(l.Attempts)},
			{"first", l.First.Local().Format(time.DateTime)}, {"last", l.Last.Local().Format(time.DateTime)},
			{"step", string(l.Step)}, {"event", string(l.Event)},
		} {
			if row[1] != "" {
				fmt.Fprintf(a.stdout, "%-12s %s\n", row[0]+":", printable(row[1]))
			}
		}
	}
	return nil
}

func (a *app) dlqReplayCmd() *cobra.Command {
	var s letterSelection
	cmd := &cobra.Command{
		Use:   "replay ID… | --all",
		Short: "Have the next sync try dead letters again",
		Long: `Marks dead letters to be tried again by the next sync. A step is mapped again,
with today's mapper; an event goes out with exactly the bytes that it has. A
letter that fails again comes back.`,
		Example: "  carl dlq replay --all\n  carl sync",
		RunE: func(_ *cobra.Command, ids []string) error {
			return a.eachLetter(s, ids, func(h *host.Host, letters []sync.DeadLetter) error {
				n, err := h.ReplayDead(letters...)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "carl: %s will be tried again; run `carl sync`\n", count(n, "dead letter"))
				a.leftWork = n > 0
				return nil
			})
		},
	}
	a.addSelection(cmd, &s, true)
	return cmd
}

func (a *app) dlqDropCmd() *cobra.Command {
	var s letterSelection
	cmd := &cobra.Command{
		Use:     "drop ID… | --all",
		Short:   "Remove dead letters for good",
		Example: "  carl dlq drop 8e9030e06818",
		RunE: func(_ *cobra.Command, ids []string) error {
			return a.eachLetter(s, ids, func(h *host.Host, letters []sync.DeadLetter) error {
				n, err := h.DropDead(letters...)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "carl: %s dropped\n", count(n, "dead letter"))
				return nil
			})
		},
	}
	a.addSelection(cmd, &s, true)
	return cmd
}

func (a *app) eachLetter(s letterSelection, ids []string, do func(*host.Host, []sync.DeadLetter) error) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	letters, err := s.find(h, ids)
	if err != nil {
		return err
	}
	return do(h, letters)
}
