package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

func (a *app) consentCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consent",
		Short: "Show, grant or revoke consent: without it nothing leaves this machine",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.consentShowCmd(), a.consentGrantCmd(), a.consentRevokeCmd())
	return cmd
}

func (a *app) consentShowCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Show what was consented to",
		Example: "  carl consent show --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.consentShow(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) consentShow(asJSON bool) error {
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	state, err := hm.Consent().State(os.Environ())
	if err != nil {
		return err
	}
	since := state.RevokedAt
	if state.Stored {
		since = state.GrantedAt
	}
	if asJSON {
		out := struct {
			Schema       string `json:"schema"`
			Telemetry    bool   `json:"telemetry"`
			Stored       bool   `json:"stored"`
			OverriddenBy string `json:"overridden_by,omitempty"`
			Since        string `json:"since,omitempty"`
		}{Schema: "carl.consent/1", Telemetry: state.Granted, Stored: state.Stored, OverriddenBy: state.OverriddenBy}
		if !since.IsZero() {
			out.Since = since.UTC().Format(time.RFC3339)
		}
		return writeJSON(a.stdout, out)
	}
	word := "not granted"
	if state.Stored {
		word = "granted"
	}
	if !since.IsZero() {
		word += " since " + since.Local().Format(time.DateTime)
	}
	if state.OverriddenBy != "" && state.Stored {
		word += ", but " + state.OverriddenBy + " forbids it"
	}
	fmt.Fprintf(a.stdout, "telemetry: %s\n", word)
	return nil
}

// theOneConsent completes the only thing that can be consented to.
func theOneConsent(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{home.Telemetry}, cobra.ShellCompDirectiveNoFileComp
}

// consentArg checks the argument of grant and revoke.
func consentArg(args []string) error {
	if args[0] != home.Telemetry {
		return fault.New(fault.ConsentUnknown, "there is nothing called %q to consent to", args[0]).WithKept("nothing was changed")
	}
	return nil
}

func (a *app) consentGrantCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "grant telemetry",
		Short: "Let recorded steps leave this machine, redacted, for the configured destinations",
		Long: `From now on steps are recorded for destinations that can reach the network, and
delivered to them, redacted. What was recorded before stays where it was; blocks
of the ledger, which are not recorded for anybody, are forwarded from the first.`,
		Example:           "  carl consent grant telemetry",
		Args:              oneArg,
		ValidArgsFunction: theOneConsent,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := consentArg(args); err != nil {
				return err
			}
			hm, err := a.openHome()
			if err != nil {
				return err
			}
			if err := hm.Create(); err != nil {
				return err
			}
			a.sayWhatGoesAlong()
			if err := hm.Consent().Grant(args[0]); err != nil {
				return err
			}
			fmt.Fprintln(a.stderr, "carl: consent to telemetry is granted; `carl consent revoke telemetry` takes it back")
			if state, err := hm.Consent().State(os.Environ()); err == nil && state.OverriddenBy != "" {
				a.warn("%s is set, and forbids telemetry all the same", state.OverriddenBy)
			}
			return nil
		},
	}
}

// sayWhatGoesAlong says before consent is given what is there already and will
// be forwarded with it.
func (a *app) sayWhatGoesAlong() {
	h, err := a.openHost()
	if err != nil {
		return // which the commands that need a host say
	}
	defer h.Close()
	if n := h.Ledger().Size(); n > 0 {
		a.warn("the ledger is forwarded from its first block on: %s from before now will leave this machine", count(int(n), "block"))
	}
}

func (a *app) consentRevokeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke telemetry",
		Short: "Keep everything here from now on, and drop what waits for the network",
		Long: `From now on nothing is recorded for destinations that can reach the network, and
what waits for them is purged. What they were sent already is theirs to delete.
Destinations that cannot reach the network are not concerned.`,
		Example:           "  carl consent revoke telemetry",
		Args:              oneArg,
		ValidArgsFunction: theOneConsent,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := consentArg(args); err != nil {
				return err
			}
			hm, err := a.openHome()
			if err != nil {
				return err
			}
			if err := hm.Create(); err != nil {
				return err
			}
			if err := hm.Consent().Revoke(args[0]); err != nil {
				return err
			}
			h, err := a.openHost()
			if err != nil {
				return err
			}
			defer h.Close()
			if err := h.Purge(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintln(a.stderr, "carl: consent to telemetry is revoked; what waited for the network is purged")
			return nil
		},
	}
}
