package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/constitution"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
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
		Long: `Checks a constitution, YAML or JSON, and names what is wrong with it by line and
column. Where it cannot be read as YAML, the first such place is named alone. After
that everything is, at once: unknown members and states, states that no rule leads
to, rules that can never decide because earlier ones cover them. Nothing is recorded.`,
		Example: "  carl fsm check constitution.yaml",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.readConstitution(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printConstitution(describe(c), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// readConstitution reads a constitution. The error names everything that is wrong
// with it. doc is its JSON text.
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
		refused := &invalidFile{error: fault.New(fault.ConstitutionInvalid, "%w", err).WithKept("nothing was done").
			WithHint("mend that place, then run `carl fsm check %s`", name)}
		var at *yamltree.Error
		if errors.As(err, &at) {
			refused.problems = []problem{{Line: at.Line, Column: at.Column, Message: at.Message}}
		}
		return nil, nil, refused
	}
	doc = root.AppendJSON(nil)
	c, found := constitution.Parse(doc)
	if len(found) == 0 {
		return c, doc, nil
	}
	refused := &invalidFile{
		error: fault.New(fault.ConstitutionInvalid, "%s has %s", name, count(len(found), "problem")).
			WithKept("nothing was done").WithHint("mend the lines that are named, then run `carl fsm check %s`", name),
		name: name,
	}
	for _, p := range found {
		at, _ := root.At(p.Pointer)
		place := at.Pos
		if p.Name {
			place = root.NameAt(p.Pointer)
		}
		refused.problems = append(refused.problems, problem{place.Line, place.Column, p.Pointer, p.Message})
	}
	return nil, nil, refused
}

// constitutionBody is a constitution for programs.
type constitutionBody struct {
	Schema  string     `json:"schema"`
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Digest  string     `json:"digest"`
	Initial string     `json:"initial"`
	State   string     `json:"state,omitzero"`
	Seq     uint64     `json:"seq,omitzero"` // of the block that adopts it, never the first
	Rules   []ruleBody `json:"rules,omitzero"`
}

type ruleBody struct {
	ID      string               `json:"id"`
	In      []string             `json:"in"`
	Here    bool                 `json:"here"` // whether it is tried in the state
	Action  string               `json:"action"`
	Name    string               `json:"name,omitzero"`
	Where   jsontext.Value       `json:"where,omitzero"`
	Verdict constitution.Verdict `json:"verdict"`
	Next    string               `json:"next,omitzero"`
}

func describe(c *constitution.Constitution) constitutionBody {
	return constitutionBody{Schema: "carl.fsm/1", Name: c.Name(), Version: c.Version(), Digest: c.Digest(), Initial: c.Initial()}
}

func (a *app) printConstitution(c constitutionBody, asJSON bool) error {
	if asJSON {
		return writeJSON(a.stdout, c)
	}
	fmt.Fprintf(a.stdout, "constitution: %s %s\ndigest:       %s\ninitial:      %s\n", c.Name, c.Version, c.Digest, c.Initial)
	if c.State == "" {
		return nil
	}
	fmt.Fprintf(a.stdout, "state:        %s\n\n", c.State)
	rows := make([][]string, 0, len(c.Rules))
	for _, r := range c.Rules {
		mark := ""
		if r.Here {
			mark = "*"
		}
		rows = append(rows, []string{mark, r.ID, string(r.Verdict), r.Next, r.Action, r.Name, strings.Join(r.In, ","), string(r.Where)})
	}
	if len(rows) > 0 {
		table(a.stdout, []string{"", "RULE", "VERDICT", "NEXT", "ACTION", "NAME", "IN", "WHERE"}, rows)
	}
	_, err := fmt.Fprintf(a.stdout, "In the state %s those with * are tried, from the top; what none applies to is denied (%s).\n", c.State, constitution.DefaultRule)
	return err
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
			b, err := h.Adopt(doc)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "carl: %s %s holds from block %d on\n", c.Name(), c.Version(), b.Seq)
			if asJSON {
				body := describe(c)
				body.Seq = b.Seq
				return recorded(a.printConstitution(body, true), "the constitution holds from block %d on", b.Seq)
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
		by := "by rule " + v.Rule
		if v.Rule == constitution.DefaultRule {
			by = "as no rule applies"
		}
		_, err = fmt.Fprintf(a.stdout, "%s, %s: %s -> %s (block %d)\n", v.Verdict, by, v.From, v.To, v.Block.Seq)
	}
	if refusal := v.Err(); refusal != nil {
		return refusal
	}
	return recorded(err, "the verdict is %s, and is recorded as block %d", v.Verdict, v.Block.Seq)
}

// recorded makes an error of writing the result say that what the command was for
// is done, for else whoever asks again does it twice.
func recorded(err error, kept string, args ...any) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.IO, "standard output: %w", err).WithKept(kept, args...).
		WithHint("do not run the same command again: `carl ledger show` has the block")
}

func (a *app) fsmShowCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the constitution that holds, the state, and the rules",
		Long: `Shows the constitution that was adopted last, the state that the last verdict left,
and all rules in the order in which they are tried. Those that are tried in this
state have a *.`,
		Example: "  carl fsm show\n  carl fsm show --json",
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
				return onlyRead(err)
			}
			body := describe(c)
			body.State = stateUnder(c, r.State)
			for _, r := range c.Rules() {
				here := slices.Contains(r.In, body.State)
				body.Rules = append(body.Rules, ruleBody{r.ID, r.In, here, r.Action, r.Name, r.Where, r.Verdict, r.Next})
			}
			return a.printConstitution(body, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// stateUnder is the state that the next verdict is given in.
func stateUnder(c *constitution.Constitution, s ledger.State) string {
	if c.Has(s.State) {
		return s.State
	}
	return c.Initial()
}

// short is the beginning of a digest, for tables.
func short(digest string) string { return strings.TrimSpace(digest[:min(12, len(digest))]) }
