package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/constitution"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/yamltree"
)

func (a *app) fsmCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fsm",
		Short: "Check and adopt a constitution, and ask it what may be done",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.fsmCheckCmd(), a.fsmAdoptCmd(), a.fsmEvaluateCmd(), a.fsmShowCmd())
	return cmd
}

func (a *app) fsmCheckCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE|-",
		Short: "Check a constitution: its form, and that every part of it can have an effect",
		Long: `Checks a constitution, YAML or JSON, and names everything that is wrong with it at
once, by line and column: unknown members and states, states that no rule leads to,
rules that can never decide because earlier ones cover them. Nothing is recorded.`,
		Example: "  carl fsm check constitution.yaml",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.readConstitution(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printConstitution(c, "", asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// maxProblems bounds how many problems are named one by one.
const maxProblems = 50

// readConstitution reads a constitution, and names on standard error everything
// that is wrong with it. doc is its JSON text.
func (a *app) readConstitution(ctx context.Context, name string) (c *constitution.Constitution, doc []byte, err error) {
	in, err := a.openInput(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, yamltree.MaxBytes+1))
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, err
		}
		return nil, nil, fault.New(fault.IO, "%s: %w", name, err).WithKept("nothing was done")
	}
	root, err := yamltree.Parse(text, name)
	if err != nil {
		return nil, nil, fault.New(fault.ConstitutionInvalid, "%w", err).WithKept("nothing was done")
	}
	doc = root.AppendJSON(nil)
	c, problems := constitution.Parse(doc)
	if len(problems) == 0 {
		return c, doc, nil
	}
	for i, p := range problems {
		if i == maxProblems {
			a.warn("%s: and %s more", name, count(len(problems)-i, "problem"))
			break
		}
		at, _ := root.At(p.Pointer)
		a.warn("%s: %s", at.In(name), p.Message)
	}
	return nil, nil, fault.New(fault.ConstitutionInvalid, "%s has %s", name, count(len(problems), "problem")).
		WithKept("nothing was done").WithHint("mend the lines that are named, then run `carl fsm check %s`", name)
}

func (a *app) printConstitution(c *constitution.Constitution, state string, asJSON bool) error {
	if asJSON {
		return writeJSON(a.stdout, struct {
			Schema  string `json:"schema"`
			Name    string `json:"name"`
			Version string `json:"version"`
			Digest  string `json:"digest"`
			Initial string `json:"initial"`
			State   string `json:"state,omitempty"`
		}{"carl.fsm/1", c.Name(), c.Version(), c.Digest(), c.Initial(), state})
	}
	fmt.Fprintf(a.stdout, "constitution: %s %s\ndigest:       %s\ninitial:      %s\n", c.Name(), c.Version(), c.Digest(), c.Initial())
	if state != "" {
		fmt.Fprintf(a.stdout, "state:        %s\n", state)
	}
	return nil
}

func (a *app) fsmAdoptCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "adopt FILE|-",
		Short: "Make a constitution the one that holds, with a signed block",
		Long: `Checks a constitution, keeps it under its digest, and records in a signed block of
the ledger that it holds from now on. Evaluation under any other is refused. The
state stays, where the new constitution has it; else it begins at its initial one.`,
		Example: "  carl fsm adopt constitution.yaml",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, doc, err := a.readConstitution(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			b, err := h.Adopt(c, doc)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "carl: %s %s holds from block %d on\n", c.Name(), c.Version(), b.Seq)
			if asJSON {
				return a.printConstitution(c, "", true)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) fsmEvaluateCmd() *cobra.Command {
	var o struct {
		host.EvaluateOptions
		json bool
	}
	cmd := &cobra.Command{
		Use:   "evaluate ACTION.json|-",
		Short: "Ask whether an action is allowed: decided, signed and recorded before it is answered",
		Long: `Asks the adopted constitution about an action, records the verdict in a signed block,
and answers once that is on disk. The exit status is 0 for allow, and 4 for deny and
escalate. Without a verdict, for whatever reason, the action must not be done.

An action is one JSON object:

  {"kind":"deploy","name":"web","attributes":{"branch":"main","lines":12},"payload":{"any":"JSON"}}

Rules look at kind, name and attributes. The block holds kind, name and the SHA-256
of the whole action; with --keep-payload also the payload, redacted.`,
		Example: `  echo '{"kind":"read.file","name":"README.md"}' | carl fsm evaluate -
  carl fsm evaluate action.json --json`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.fsmEvaluate(cmd.Context(), args[0], o.EvaluateOptions, o.json)
		},
	}
	cmd.Flags().BoolVar(&o.KeepPayload, "keep-payload", false, "keep the payload's text, redacted, in the block")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

// maxActionInput bounds what is read as an action; a longer one is refused by
// those who know why.
const maxActionInput = 2 << 20

func (a *app) fsmEvaluate(ctx context.Context, name string, o host.EvaluateOptions, asJSON bool) error {
	in, err := a.openInput(ctx, name)
	if err != nil {
		return err
	}
	defer in.Close()
	action, err := io.ReadAll(io.LimitReader(in, maxActionInput))
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fault.New(fault.IO, "%s: %w", name, err).WithKept("nothing was recorded")
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	v, err := h.Evaluate(action, o)
	if err != nil {
		return err
	}
	if asJSON {
		type states struct {
			From string `json:"from"`
			To   string `json:"to"`
		}
		err = writeJSON(a.stdout, struct {
			Schema  string               `json:"schema"`
			Verdict constitution.Verdict `json:"verdict"`
			Rule    string               `json:"rule"`
			State   states               `json:"state"`
			Seq     uint64               `json:"seq"`
			Sig     string               `json:"sig"`
		}{"carl.fsm.evaluate/1", v.Verdict, v.Rule, states{v.From, v.To}, v.Block.Seq, fmt.Sprintf("%x", v.Block.Sig)})
	} else {
		_, err = fmt.Fprintf(a.stdout, "%s, by rule %s: %s -> %s (block %d)\n", v.Verdict, v.Rule, v.From, v.To, v.Block.Seq)
	}
	if refusal := v.Err(); refusal != nil {
		return refusal
	}
	return err
}

func (a *app) fsmShowCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show the constitution that holds, and the state",
		Example: "  carl fsm show --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			r, err := a.verifyLedger(cmd.Context(), h, nil)
			if err != nil {
				return err
			}
			c, err := h.Constitution(r.State.Constitution)
			if err != nil {
				var e *fault.Error
				if errors.As(err, &e) {
					err = e.WithKept("")
				}
				return err
			}
			state := r.State.State
			if !c.Has(state) {
				state = c.Initial()
			}
			return a.printConstitution(c, state, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// short is the beginning of a digest, for tables.
func short(digest string) string { return strings.TrimSpace(digest[:min(12, len(digest))]) }
