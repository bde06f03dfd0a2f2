package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// asked are the actions of a coding agent at work, and what its constitution
// says of them.
var asked = []struct{ action, verdict string }{
	{`{"kind":"task.start"}`, "allow"},
	{`{"kind":"write.file","name":"parser.go","attributes":{"lines":12}}`, "allow"},
	{`{"kind":"write.file","name":"parser.go","attributes":{"lines":900}}`, "escalate"},
	{`{"kind":"run.command","name":"curl example.org","attributes":{"network":true}}`, "deny"},
	{`{"kind":"git.commit"}`, "allow"},
}

// showLedger has an agent ask before it acts, and shows what is on record.
func (d *demo) showLedger(ctx context.Context) error {
	say("an agent asks before it acts; each answer is a signed block before it is given")
	if err := d.shown(ctx, "fsm", "adopt", filepath.Join("examples", "constitutions", "coding-agent.yaml")); err != nil {
		return err
	}
	for _, a := range asked {
		fmt.Printf("$ echo '%s' | carl fsm evaluate -\n", a.action)
		cmd := exec.CommandContext(ctx, d.carl, "fsm", "evaluate", "-", "--json")
		cmd.Env, cmd.Stdin = d.env, strings.NewReader(a.action)
		out, err := cmd.Output()
		var answer struct {
			Verdict, Rule string
			State         struct{ From, To string }
		}
		if jerr := json.Unmarshal(out, &answer); jerr != nil {
			return fmt.Errorf("carl fsm evaluate: %w", errors.Join(jerr, err))
		}
		fmt.Printf("  %s, by the rule %s: %s → %s\n", answer.Verdict, answer.Rule, answer.State.From, answer.State.To)
		if answer.Verdict != a.verdict || (err == nil) != (a.verdict == "allow") {
			return fmt.Errorf("%s was to be answered with %s", a.action, a.verdict)
		}
	}
	for _, args := range [][]string{{"ledger", "show"}, {"ledger", "verify"}} {
		if err := d.shown(ctx, args...); err != nil {
			return err
		}
	}

	say("one block, proved to who has nothing but the ledger's public key")
	out, err := d.run(ctx, "", "ledger", "prove", "3")
	if err != nil {
		return err
	}
	d.indent(out)

	say("the blocks go the way of the signals: through the same plugin, in the same sync")
	if err := d.shown(ctx, "ledger", "replay"); err != nil {
		return err
	}
	return d.showVerifier(ctx)
}

// showVerifier has a program that shares nothing with carl look at the ledger.
func (d *demo) showVerifier(ctx context.Context) error {
	say("somebody else looks at it, with a program of their own, and nothing of carl")
	if err := d.shown(ctx, "ledger", "export", d.path("bundle")); err != nil {
		return err
	}
	verifier := filepath.Join("examples", "verify-ledger", "verify.mjs")
	if _, err := exec.LookPath("node"); err != nil {
		fmt.Printf("  node is not installed here, so %s is not run\n", verifier)
		return nil
	}
	echo("node", verifier, "bundle")
	return d.exec(ctx, "node", verifier, d.path("bundle"))
}
