package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/camp/standin"
	"carl.camp/carl/host/fault"
)

type campDevOptions struct {
	listen   string
	anywhere bool
	data     string
	token    string
	tier     string
	issuer   string
	faults   string
	seed     uint64
	slow     time.Duration
	quiet    bool
	json     bool
}

func (a *app) campDevCmd() *cobra.Command {
	var o campDevOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a strict local stand-in of the platform",
		Long: `Runs a stand-in of the platform on this machine until it is interrupted. It
prints its URL and its token first, each on a line of its own, keeps what it
receives, in memory or with --data in files, and refuses what the platform would
refuse. With --fault it misbehaves on request.

It signs entitlements and licences with keys of its own, and becomes another
platform while it runs. With its URL and its token in the shell as URL and
TOKEN, these calls change the account:

  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/tier/free"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/tier/paid"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/grant/train.slime.managed?for=1h"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/revoke/train.slime.managed"

A grant without "for" does not end. Tier paid brings train.slime.managed by
itself. These make the entitlements fail with a status from 400 to 599, until it
is 200 again, and let tokens look as if they were issued that long ago, until it
is 0s again; 16m is stale, 2h in the offline grace, and 25h beyond it:

  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/entitlements/402"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/issued/2h"

These show the keys and change them: a new one beside the old, endorsed by the
one before; only the newest left; a new one instead of all others; another one
under the same name, as an attacker would:

  curl -H "Authorization: Bearer $TOKEN" "$URL/dev/keys"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/keys/add"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/keys/retire"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/keys/replace"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/keys/swap"

This signs a licence for an installation without a network, to be read with the
key that /dev/keys calls offline_root. All it takes is optional: tier, for (less
than 0s makes one that has ended), issued (how long ago) and install_id:

  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/license?tier=paid&for=720h" > carl.license

These answer the next block of a ledger as if another one were in its place, and
acknowledge blocks without a receipt, or with one again; /dev/keys has the key
that receipts are verified with as receipt_key:

  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/ledger/conflict"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/receipts/off"
  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/receipts/on"

A managed run moves through its states by a clock, in six seconds. This makes the
next ones take longer. Behind /dev/runs/ and the id of a run, succeed, cancel,
fail?error=TEXT, state/NAME, hold and release are posted to change it:

  curl -X POST -H "Authorization: Bearer $TOKEN" "$URL/dev/runs/speed/1m"
  curl -H "Authorization: Bearer $TOKEN" "$URL/dev/runs"

And these look at what was received, and how often what was asked for; the name
of a ledger behind /dev/ledger/ shows its blocks:

  curl -H "Authorization: Bearer $TOKEN" "$URL/dev/summary"
  curl -H "Authorization: Bearer $TOKEN" "$URL/dev/signals"
  curl -H "Authorization: Bearer $TOKEN" "$URL/dev/ledger"

What was received, keys, tier and grants outlast the stand-in with --data; the
rest does not.`,
		Example: `  carl camp dev --data platform
  carl camp dev --fault 429:0.1,500:0.05,reset:0.05,slow:0.1`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.campDev(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "listen on this `ADDRESS`; port 0 takes a free one")
	f.BoolVar(&o.anywhere, "listen-anywhere", false, "allow --listen to name an address that is not loopback")
	f.StringVar(&o.data, "data", "", "keep what is received, the token and the keys in `DIR`")
	f.StringVar(&o.token, "token", "", "the bearer `TOKEN` to ask for (default: a random one, or the one in --data)")
	f.StringVar(&o.tier, "tier", "", "the `TIER` that the token's owner has paid for, free or paid (default: the one in --data, or free)")
	cmd.RegisterFlagCompletionFunc("tier", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return standin.Tiers(), cobra.ShellCompDirectiveNoFileComp
	})
	f.StringVar(&o.issuer, "issuer", camp.DefaultURL, "the `URL` that tokens and licences name as their issuer")
	f.StringVar(&o.faults, "fault", "", "misbehave with these `PROBABILITIES`, such as 429:0.1,reset:0.05")
	f.Uint64Var(&o.seed, "seed", 0, "make the faults repeatable")
	f.DurationVar(&o.slow, "slow", 2*time.Second, "how long the fault slow waits")
	f.BoolVar(&o.quiet, "quiet", false, "do not print a line for each request")
	f.BoolVar(&o.json, "json", false, "print URL and token as one JSON object")
	return cmd
}

func (a *app) campDev(ctx context.Context, o campDevOptions) error {
	faults, err := standin.ParseFaults(o.faults)
	if err != nil {
		return err
	}
	server, err := standin.New(standin.Options{
		DataDir: o.data, Token: o.token, Tier: o.tier, Issuer: o.issuer,
		Faults: faults, Seed: o.seed, Slow: o.slow,
		Anywhere: o.anywhere,
		Log: func(r standin.Request) {
			if !o.quiet {
				a.logRequest(r)
			}
		},
	})
	if err != nil {
		return err
	}
	defer server.Close()
	url, err := server.Start(o.listen)
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(a.stdout, struct {
			Schema string `json:"schema"`
			URL    string `json:"url"`
			Token  string `json:"token"`
		}{"carl.camp.dev/1", url, server.Token()})
	} else {
		_, err = fmt.Fprintf(a.stdout, "url:   %s\ntoken: %s\n", url, server.Token())
		fmt.Fprintf(a.stderr, "hint: export CARL_CAMP_URL=%s, then `carl camp login`; Ctrl-C stops the stand-in\n", url)
	}
	if err != nil {
		return fault.New(fault.IO, "standard output: %w", err)
	}
	<-ctx.Done()

	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptGrace/2)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil && stopping.Err() == nil {
		return err
	}
	s := server.Summary()
	held := fmt.Sprintf("held %s after %s", count(s.Signals, "signal"), count(s.Requests, "request"))
	for _, more := range []struct {
		n    int
		noun string
	}{{s.Blocks, "block"}, {s.Runs, "run"}, {s.Resonants, "resonant"}} {
		if more.n > 0 {
			held = strings.Replace(held, " after ", ", "+count(more.n, more.noun)+" after ", 1)
		}
	}
	if s.Tokens > 0 {
		held += ", and signed " + count(s.Tokens, "token")
	}
	fmt.Fprintf(a.stderr, "carl: the stand-in %s\n", held)
	return nil
}

// logRequest prints a line for a request: what it was, how it ended, and which
// fault was played.
func (a *app) logRequest(r standin.Request) {
	answer := fmt.Sprint(r.Status)
	if r.Status == 0 {
		answer = "no answer"
	}
	line := fmt.Sprintf("%s %s %s %s %s", r.Time.UTC().Format(time.TimeOnly), r.Method, r.Path, answer, r.Took.Round(100*time.Microsecond))
	if r.Events > 0 {
		line += ", " + count(r.Events, "event")
	}
	if r.Fault != "" {
		line += ", fault " + r.Fault
	}
	fmt.Fprintln(a.stderr, printable(line))
}
