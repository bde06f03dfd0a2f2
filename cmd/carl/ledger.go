package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
	"carl.camp/carl/host/sync"
)

func (a *app) ledgerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Show, verify and prove the signed record of every verdict",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.ledgerShowCmd(), a.ledgerVerifyCmd(), a.ledgerProveCmd(), a.ledgerExportCmd(), a.ledgerReplayCmd(), a.ledgerRecoverCmd(), a.ledgerKeyCmd())
	return cmd
}

// verifyLedger verifies the ledger, with a line of progress on a terminal.
func (a *app) verifyLedger(ctx context.Context, h *host.Host, each func(*ledger.Block, []byte, ledger.Hash) error) (*ledger.Report, error) {
	var progress func(done, total int64)
	if onTerminal(a.stderr) {
		var shown time.Time
		progress = func(done, total int64) {
			if time.Since(shown) >= progressEvery {
				shown = time.Now()
				fmt.Fprintf(a.stderr, "\r\x1b[Kverified: %d of %d KiB", done>>10, total>>10)
			}
		}
		defer a.endProgress()
	}
	r, err := h.Ledger().Each(ctx, progress, each)
	return r, onlyRead(err)
}

// firstBad is where an error says that the ledger stops being what was signed: the
// number of a block, where it is one, and what is wrong.
func firstBad(err error) (seq *uint64, reason string) {
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != fault.LedgerTampered {
		return nil, ""
	}
	reason = strings.TrimPrefix(e.Message, "ledger: ")
	m := badBlock.FindStringSubmatch(reason)
	if m == nil {
		return nil, reason // it is of a file
	}
	n, err := strconv.ParseInt(m[2], 10, 64)
	if err != nil {
		return nil, reason
	}
	if m[1] != "" {
		n++ // the last that is there is named, and the next one is missing
	}
	return new(uint64(n)), reason
}

var badBlock = regexp.MustCompile(`^(it ends with )?block (-?\d+)\b`)

type ledgerShowOptions struct {
	since   string
	verdict string
	json    bool
}

func (a *app) ledgerShowCmd() *cobra.Command {
	var o ledgerShowOptions
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the blocks, verified, as a table",
		Long: `Verifies the ledger and shows its blocks. --since takes a time (RFC 3339) or how long
ago (24h); times are UTC. --verdict shows decisions with that verdict alone. With
--json each block is one line, byte for byte as it was signed.`,
		Example: `  carl ledger show
  carl ledger show --since 24h --verdict deny`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ledgerShow(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.since, "since", "", "only blocks since this `TIME`, or so long ago")
	cmd.Flags().StringVar(&o.verdict, "verdict", "", "only decisions with this `VERDICT`: allow, deny or escalate")
	cmd.Flags().BoolVar(&o.json, "json", false, "print each block as it was signed, a line each")
	cmd.RegisterFlagCompletionFunc("verdict", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"allow", "deny", "escalate"}, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func (a *app) ledgerShow(ctx context.Context, o ledgerShowOptions) error {
	since, err := parseSince(o.since)
	if err != nil {
		return err
	}
	switch o.verdict {
	case "", "allow", "deny", "escalate":
	default:
		return fault.New(fault.Usage, "--verdict %q is not one of allow, deny, escalate", o.verdict).WithKept("nothing was done")
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	var rows [][]string
	var lines bytes.Buffer
	r, err := a.verifyLedger(ctx, h, func(b *ledger.Block, line []byte, _ ledger.Hash) error {
		if b.Time.Before(since) || o.verdict != "" && (b.Decision == nil || b.Decision.Verdict != o.verdict) {
			return nil
		}
		if o.json {
			lines.Write(append(line[:len(line):len(line)], '\n'))
			return nil
		}
		rows = append(rows, blockRow(b))
		return nil
	})
	if err != nil {
		return err
	}
	if o.json {
		_, err := a.stdout.Write(lines.Bytes())
		return err
	}
	if r.Size == 0 {
		a.warn("nothing was recorded yet; `carl fsm adopt FILE` begins")
		return nil
	}
	table(a.stdout, []string{"SEQ", "TIME (UTC)", "WHAT", "VERDICT", "RULE", "STATE", "NAME"}, rows)
	if r.FirstSeq > 0 {
		a.warn("blocks 0 to %d were pruned, and are committed by the root %s", r.FirstSeq-1, r.PrunedRoot)
	}
	return nil
}

// blockRow is a block in a table.
func blockRow(b *ledger.Block) []string {
	row := []string{strconv.FormatUint(b.Seq, 10), b.Time.UTC().Format("2006-01-02 15:04:05"), string(b.Kind), "", "", "", ""}
	switch {
	case b.Decision != nil:
		d := b.Decision
		row[2], row[3], row[4], row[6] = d.Action.Kind, d.Verdict, d.Rule, d.Action.Name
		if row[5] = d.From; d.To != d.From {
			row[5] += " -> " + d.To
		}
	case b.Constitution != nil:
		row[6] = b.Constitution.Name + " " + b.Constitution.Version + " (" + short(b.Constitution.Digest) + ")"
	case b.Segment != nil:
		row[5], row[6] = b.Segment.State, fmt.Sprintf("file %d", b.Seg)
	case b.Note != nil:
		row[6] = b.Note.Code + ": " + b.Note.Detail
	case b.Recovery != nil:
		row[6] = b.Recovery.Reason
	case b.KeyRotation != nil:
		row[6] = "new key " + thumbprint(b.KeyRotation.NewKey)
	case b.Dropped != nil:
		row[6] = fmt.Sprintf("blocks %d to %d", b.Dropped.From, b.Dropped.To)
	}
	return row
}

// thumbprint is the id of a key (RFC 7638, RFC 8037), as `carl ledger key` prints it.
func thumbprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// parseSince reads a time, or how long ago; the zero time for "".
func parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fault.New(fault.Usage, "--since %q is neither a time such as 2026-11-23T00:00:00Z nor a duration such as 24h", s).WithKept("nothing was done")
	}
	return t, nil
}

func (a *app) ledgerVerifyCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify every block, the chain and the checkpoint",
		Long: `Verifies every block that is kept: its form, its signature, the chain, the order, the
files, and the checkpoint. The exit status is 3 when one is not what was signed. The
first such block is named, or the file where it is none, such as a checkpoint that is
missing. Nothing is changed or healed.`,
		Example: "  carl ledger verify --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ledgerVerify(cmd.Context(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) ledgerVerify(ctx context.Context, asJSON bool) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	r, err := a.verifyLedger(ctx, h, nil)
	var tampered *fault.Error
	if errors.As(err, &tampered) && tampered.Code == fault.LedgerTampered {
		err = tampered.WithHint("%s", lossHint)
	}
	if asJSON && (err == nil || fault.CodeOf(err) == fault.LedgerTampered) {
		out := struct {
			Schema       string `json:"schema"`
			OK           bool   `json:"ok"`
			LedgerID     string `json:"ledger_id,omitempty"`
			Blocks       uint64 `json:"blocks"`
			FirstSeq     uint64 `json:"first_seq"`
			Size         uint64 `json:"size"`
			Head         uint64 `json:"head"`
			Root         string `json:"root,omitempty"`
			PrunedBefore uint64 `json:"pruned_before"`
			PrunedRoot   string `json:"pruned_root,omitempty"`
			Pending      uint64 `json:"pending"`
			Receipts     int    `json:"receipts,omitzero"`
			TornBytes    int    `json:"torn_bytes,omitzero"`

			Seq    *uint64 `json:"seq,omitempty"` // the first block that is wrong
			Reason string  `json:"reason,omitempty"`
		}{Schema: "carl.ledger.verify/1", OK: err == nil}
		out.Seq, out.Reason = firstBad(err)
		if r != nil && r.Size > 0 {
			out.LedgerID, out.Blocks, out.FirstSeq, out.Size, out.Head = r.LedgerID, r.Blocks, r.FirstSeq, r.Size, r.Head
			out.Root, out.PrunedBefore, out.TornBytes = r.Root.String(), r.FirstSeq, r.Torn
			out.Pending, out.Receipts = h.LedgerPending(r.Size), r.Receipts
			if r.FirstSeq > 0 {
				out.PrunedRoot = r.PrunedRoot.String()
			}
		}
		if werr := writeJSON(a.stdout, out); werr != nil && err == nil {
			err = werr
		}
	}
	if err != nil || asJSON {
		return err
	}
	if r.Size == 0 {
		fmt.Fprintln(a.stdout, "nothing was recorded yet")
		return nil
	}
	fmt.Fprintf(a.stdout, "verified: %s from seq %d on, ledger %s\nroot:     %s (%s)\n", count(int(r.Blocks), "block"), r.FirstSeq, r.LedgerID, r.Root, count(int(r.Size), "block"))
	if r.FirstSeq > 0 {
		fmt.Fprintf(a.stdout, "pruned:   0 to %d, committed by root %s\n", r.FirstSeq-1, r.PrunedRoot)
	}
	if r.Head < r.Size {
		fmt.Fprintf(a.stdout, "head:     covers %s; those beyond were signed and not yet covered\n", count(int(r.Head), "block"))
	}
	if r.Torn > 0 {
		fmt.Fprintf(a.stdout, "torn:     %s behind the last block, of a write that nobody was told of; the next one sets them aside\n", count(r.Torn, "byte"))
	}
	return nil
}

func (a *app) ledgerProveCmd() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "prove SEQ",
		Short: "Print a proof that a block is in the ledger, which stands without carl",
		Long: `Prints, as one JSON object, a block, its Merkle audit path (RFC 6962), and the signed
checkpoint whose root it leads to. Who has the ledger's public key can check it
without carl and without the rest of the ledger: hash the line without its member
sig, followed by the 64 bytes of the signature, as a leaf, and fold the path.

With --since SIZE instead of a block it proves that the ledger goes on from the one
that had so many blocks, to who has a checkpoint of that size.`,
		Example: "  carl ledger prove 1\n  carl ledger prove --since 2",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || (since == "") == (len(args) == 0) {
				return fault.New(fault.Usage, "`carl ledger prove` takes the number of one block, or --since SIZE").WithKept("nothing was done")
			}
			number, what := since, "a number of blocks"
			if since == "" {
				number, what = args[0], "the number of a block"
			}
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				return fault.New(fault.Usage, "%q is not %s", number, what).WithKept("nothing was done").
					WithHint("`carl ledger show` lists the blocks by their numbers")
			}
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			if since != "" {
				return a.proveConsistency(cmd.Context(), h, n)
			}
			return a.proveBlock(cmd.Context(), h, n)
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "prove that the ledger goes on from one of this `SIZE`")
	cmd.Flags().Bool("json", false, "a proof is one JSON object in any case")
	return cmd
}

func (a *app) proveBlock(ctx context.Context, h *host.Host, seq uint64) error {
	p, err := h.Ledger().Prove(ctx, seq)
	if err != nil {
		return onlyRead(err)
	}
	return writeJSON(a.stdout, struct {
		Schema      string   `json:"schema"`
		Seq         uint64   `json:"seq"`
		Size        uint64   `json:"size"`
		Root        string   `json:"root"`
		Hashes      []string `json:"hashes"`
		Line        string   `json:"line"`
		Checkpoint  string   `json:"checkpoint"`
		VerifierKey string   `json:"verifier_key"`
	}{"carl.ledger.proof/1", p.Seq, p.Size, p.Root.String(), hexes(p.Hashes), string(p.Line), string(p.Checkpoint), p.VerifierKey})
}

func (a *app) proveConsistency(ctx context.Context, h *host.Host, size uint64) error {
	p, err := h.Ledger().ProveConsistency(ctx, size)
	if err != nil {
		return onlyRead(err)
	}
	return writeJSON(a.stdout, struct {
		Schema      string   `json:"schema"`
		OldSize     uint64   `json:"old_size"`
		OldRoot     string   `json:"old_root"`
		Size        uint64   `json:"size"`
		Root        string   `json:"root"`
		Hashes      []string `json:"hashes"`
		Checkpoint  string   `json:"checkpoint"`
		VerifierKey string   `json:"verifier_key"`
	}{"carl.ledger.consistency/1", p.OldSize, p.OldRoot.String(), p.Size, p.Root.String(), hexes(p.Hashes), string(p.Checkpoint), p.VerifierKey})
}

func hexes(hashes []ledger.Hash) []string {
	out := make([]string, 0, len(hashes))
	for _, h := range hashes {
		out = append(out, hex.EncodeToString(h[:]))
	}
	return out
}

func (a *app) ledgerExportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write the ledger to a folder that a third party can check without carl",
		Long: `Verifies the ledger and writes it to a new folder: the files, the checkpoint, the
public keys, and a README that says how to check them. examples/verify-ledger in
carl's source is a program that does, in under 200 lines of JavaScript.`,
		Example: "  carl ledger export bundle",
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			r, err := h.Ledger().Export(cmd.Context(), args[0], nil)
			var e *fault.Error
			if errors.Is(err, fs.ErrNotExist) && errors.As(err, &e) {
				return e.WithHint("make the folder %s first", filepath.Dir(args[0]))
			}
			if err != nil {
				return onlyRead(err)
			}
			fmt.Fprintf(a.stderr, "carl: exported %s of ledger %s to %s\n", count(int(r.Blocks), "block"), r.LedgerID, args[0])
			return nil
		},
	}
	return cmd
}

func (a *app) ledgerRecoverCmd() *cobra.Command {
	var o struct{ yes, json bool }
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Let a ledger that is not whole go on, once you have confirmed the loss",
		Long: `Keeps the blocks before the first that is not what was signed, moves everything
behind them, the checkpoint and the receipts aside as they are, and records in a
signed block that this happened. No line is written again but those that stay. Where
none stays, another ledger begins, under another id, and a constitution has to be
adopted in it.

Look at it first with carl ledger verify, and at a copy or at the receipts: this says
that you have confirmed the loss. It does nothing without --yes, and nothing to a
ledger that is whole. A remote that has blocks of those that are lost holds others
than those that will follow, and gets no more until that is settled.`,
		Example: "  carl ledger recover --yes",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ledgerRecover(cmd.Context(), o.yes, o.json)
		},
	}
	cmd.Flags().BoolVar(&o.yes, "yes", false, "you have confirmed the loss")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

// lossHint is what helps where the ledger is not whole.
const lossHint = "compare with a copy or with receipts, then confirm the loss with `carl ledger recover --yes`"

func (a *app) ledgerRecover(ctx context.Context, yes, asJSON bool) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	if !yes {
		if _, err := a.verifyLedger(ctx, h, nil); err != nil {
			var e *fault.Error
			if errors.As(err, &e) && e.Code == fault.LedgerTampered {
				return e.WithHint("%s", lossHint)
			}
			return err
		}
		return fault.New(fault.LedgerNotFound, "ledger: nothing is wrong with it, so there is nothing to recover").WithKept("nothing was changed")
	}
	r, err := h.Ledger().Recover(ctx)
	if err != nil {
		return err
	}
	out := struct {
		Schema       string `json:"schema"`
		Reason       string `json:"reason"`
		Kept         uint64 `json:"kept"`
		Aside        string `json:"aside"`
		Seq          uint64 `json:"seq"`
		LedgerID     string `json:"ledger_id"`
		Another      bool   `json:"another_ledger"`
		Constitution string `json:"constitution,omitzero"` // its digest; none holds without
		State        string `json:"state,omitzero"`
	}{Schema: "carl.ledger.recover/1", Reason: r.Reason, Kept: r.Kept, Aside: r.Aside, Seq: r.Block.Seq, LedgerID: r.Block.LedgerID, Another: r.Kept == 0}
	report, err := a.verifyLedger(ctx, h, nil)
	if err != nil {
		return err
	}
	var under string
	if out.Constitution = report.State.Constitution; out.Constitution == "" {
		under = "without a constitution: nothing is allowed until `carl fsm adopt FILE`"
	} else if c, err := h.Constitution(out.Constitution); err != nil {
		under = "under the constitution " + short(out.Constitution) + ", which is not kept here: `carl fsm adopt FILE` puts it back"
	} else {
		out.State = stateUnder(c, report.State)
		under = fmt.Sprintf("under the constitution %s %s (%s), in the state %s", c.Name(), c.Version(), short(out.Constitution), out.State)
	}
	if asJSON {
		return recorded(writeJSON(a.stdout, out), "the ledger was recovered, as block %d says", out.Seq)
	}
	a.warn("%s kept; what was not whole is in %s; block %d records it", count(int(r.Kept), "block"), r.Aside, r.Block.Seq)
	if out.Another {
		a.warn("another ledger begins, %s, %s", out.LedgerID, under)
	} else {
		a.warn("ledger %s goes on, %s", out.LedgerID, under)
	}
	return nil
}

func (a *app) ledgerReplayCmd() *cobra.Command {
	var o struct {
		deadline time.Duration
		json     bool
	}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Forward now what destinations are still to have of the ledger",
		Long: `Forwards blocks to every destination that gets the ledger, from where each stopped,
in order and byte for byte, and says what happened. What a destination has already
counts as done. One that holds another block under a number gets no more, and the
exit status is 1. carl sync and its background child do the same as they go.`,
		Example: "  carl ledger replay",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ledgerReplay(cmd.Context(), o.deadline, o.json)
		},
	}
	cmd.Flags().DurationVar(&o.deadline, "deadline", time.Minute, "stop after this `DURATION`")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (a *app) ledgerReplay(ctx context.Context, deadline time.Duration, asJSON bool) error {
	if deadline <= 0 {
		return fault.New(fault.Usage, "--deadline must be longer than nothing").WithKept("nothing was done")
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	bounded, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	report, err := h.ReplayLedger(bounded)
	if ctx.Err() != nil {
		return fault.New(fault.Interrupted, "interrupted").WithKept("what is not acknowledged stays in the ledger")
	}
	if err != nil && len(report.Destinations) == 0 {
		return err // nothing is known of any, not even that there is none
	}
	if asJSON {
		type row struct {
			Name string `json:"name"`
			*ledgerStatus
		}
		rows := []row{}
		for _, d := range report.Destinations {
			if d.Ledger != nil {
				rows = append(rows, row{d.Name, ledgerStatusOf(d.Ledger)})
			}
		}
		if werr := writeJSON(a.stdout, struct {
			Schema       string `json:"schema"`
			Busy         bool   `json:"busy,omitzero"`
			Destinations []row  `json:"destinations"`
		}{"carl.ledger.replay/1", report.Busy, rows}); werr != nil && err == nil {
			err = werr
		}
	} else {
		a.printReplay(report)
	}
	if err != nil || report.Busy {
		return err
	}
	return pendingError(report, bounded.Err() != nil)
}

func (a *app) printReplay(report sync.Report) {
	if report.Busy {
		a.warn("another sync is at work, and forwards what waits")
		return
	}
	var rows [][]string
	for _, d := range report.Destinations {
		if s := d.Ledger; s != nil {
			words := strings.TrimPrefix(ledgerInWords(s), count(int(s.Pending), "block")+" pending")
			rows = append(rows, []string{d.Name, string(s.State), strconv.FormatUint(s.Pending, 10), strconv.FormatUint(s.Acknowledged, 10), strings.TrimPrefix(words, "; ")})
		}
	}
	if len(rows) == 0 {
		a.warn("no destination gets the ledger; name it under `topics` of one in config.yaml")
		return
	}
	table(a.stdout, []string{"DESTINATION", "STATE", "PENDING", "ACKNOWLEDGED", "WHY, AND WHAT HELPS"}, rows)
}

func (a *app) ledgerKeyCmd() *cobra.Command {
	var asJSON, rotate bool
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print the ledger's public key, or rotate it",
		Long: `Prints the public key that the ledger's blocks and checkpoints are signed with: as a
JWK, and in the form of signed notes (C2SP). Give it to those who are to verify the
ledger. With --rotate a new key follows on it first, by a block that both sign.`,
		Example: "  carl ledger key --json\n  carl ledger key --rotate",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			kept := func(err error) error { return err }
			if rotate {
				b, err := h.Ledger().RotateKey(cmd.Context())
				if err != nil {
					return err
				}
				fmt.Fprintf(a.stderr, "carl: a new key signs from block %d on\n", b.Seq+1)
				kept = func(err error) error { return recorded(err, "the key was rotated, by block %d", b.Seq) }
			}
			k, err := h.Ledger().Key()
			if err != nil {
				return onlyRead(err)
			}
			if asJSON {
				return kept(writeJSON(a.stdout, struct {
					Schema      string `json:"schema"`
					LedgerID    string `json:"ledger_id"`
					KeyID       string `json:"key_id"`
					KeyType     string `json:"kty"`
					Curve       string `json:"crv"`
					X           string `json:"x"`
					VerifierKey string `json:"verifier_key"`
				}{"carl.ledger.key/1", k.LedgerID, k.ID, "OKP", "Ed25519", k.X, k.VerifierKey}))
			}
			_, err = fmt.Fprintf(a.stdout, "ledger:       %s\nkey id:       %s\npublic key:   %s\nverifier key: %s\n", k.LedgerID, k.ID, k.X, k.VerifierKey)
			return kept(err)
		},
	}
	cmd.Flags().BoolVar(&rotate, "rotate", false, "let a new key follow on this one first")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
