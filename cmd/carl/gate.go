package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/nearest"
	"carl.camp/carl/host/tier"
)

func (a *app) gateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gate",
		Short: "Ask whether a feature is allowed, and list the features",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.gateCheckCmd(), a.gateListCmd())
	return cmd
}

type gateCheckOptions struct {
	remote bool
	json   bool
}

func (a *app) gateCheckCmd() *cobra.Command {
	var o gateCheckOptions
	cmd := &cobra.Command{
		Use:   "check FEATURE",
		Short: "Say whether a feature is allowed: exit status 0, or 4",
		Long: `Says whether a feature is allowed. Without --remote the local tier decides: what
config.yaml declares, or an offline licence.

With --remote the platform's word is taken into account, as far as it was fetched
and verified before: cached entitlements within their grace of 24 hours allow what
the local tier does not, and where they deny what config.yaml declares, the answer
is carl.gate.tier_remote_mismatch. The network is never touched: where a refresh
would help, it is left to the background.`,
		Example: `  carl gate check train.slime.local
  carl gate check train.slime.managed --remote --json`,
		Args: oneArg,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.gateCheck(args[0], o)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return featureKeys(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVar(&o.remote, "remote", false, "take the platform's verified entitlements into account")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func featureKeys() []string {
	var keys []string
	for _, f := range tier.Features() {
		keys = append(keys, f.Key)
	}
	return keys
}

func (a *app) gateCheck(feature string, o gateCheckOptions) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	var d tier.Decision
	if o.remote {
		d = h.CheckRemote(feature)
	} else {
		d = h.Check(feature)
	}
	a.wantsRefresh = h.RefreshAsked()
	a.leftWork = d.By == tier.ByGrace || d.By == tier.ByGrant // the step that was recorded
	if d.By == tier.ByLicense {
		state := h.Entitlements()
		a.warnOfLicense(&state)
	}
	refusal := gateRefusal(d, o.remote)
	if o.json && d.Code != fault.GateUnknownFeature {
		err = writeJSON(a.stdout, struct {
			Schema  string     `json:"schema"`
			Feature string     `json:"feature"`
			Allowed bool       `json:"allowed"`
			By      tier.By    `json:"by,omitempty"`
			Tier    string     `json:"tier"`
			Code    fault.Code `json:"code,omitempty"`
		}{"carl.gate/1", d.Feature, d.Allowed, d.By, d.Tier.String(), d.Code})
	} else if d.Allowed {
		_, err = fmt.Fprintf(a.stdout, "%s is allowed, by %s (tier %s)\n", d.Feature, byInWords(d.By), d.Tier)
	}
	if refusal != nil {
		return refusal
	}
	return err
}

// gateRefusal is the error of a decision that does not allow, with the command
// that helps there.
func gateRefusal(d tier.Decision, remote bool) error {
	err, refused := d.Err().(*fault.Error)
	switch {
	case !refused:
		return nil
	case d.Code == fault.GateUnknownFeature:
		if near := nearest.Of(d.Feature, featureKeys()); near != "" {
			return err.WithHint("did you mean `%s`? `carl gate list` lists the features", near)
		}
	case d.Code == fault.GateTierDenied && !remote:
		return err.WithHint("run `carl gate check %s --remote`, which takes the platform's entitlements into account", d.Feature)
	}
	return err
}

func byInWords(by tier.By) string {
	switch by {
	case tier.ByLicense:
		return "the offline licence"
	case tier.ByGrace:
		return "the grace of the cached entitlements"
	case tier.ByGrant:
		return "a grant for it in the cached entitlements"
	}
	return "the local tier"
}

func (a *app) gateListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the features, the tier that each needs, and whether it is allowed here",
		Long:    "Lists the features, the tier that each needs, and whether `carl gate check --remote` would allow it now. The network is not touched, and nothing is recorded.",
		Example: "  carl gate list --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.gateList(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) gateList(asJSON bool) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	type row struct {
		Feature string     `json:"feature"`
		Needs   string     `json:"needs"`
		Allowed bool       `json:"allowed"`
		By      tier.By    `json:"by,omitempty"`
		Code    fault.Code `json:"code,omitempty"`
		Summary string     `json:"summary"`
	}
	rows := []row{}
	var lines [][]string
	for _, f := range tier.Features() {
		d := h.LookRemote(f.Key)
		rows = append(rows, row{f.Key, f.Needs.String(), d.Allowed, d.By, d.Code, f.Summary})
		answer := string(d.Code)
		if d.Allowed {
			answer = "allowed by " + byInWords(d.By)
		}
		lines = append(lines, []string{f.Key, f.Needs.String(), answer, f.Summary})
	}
	if asJSON {
		return writeJSON(a.stdout, struct {
			Schema   string `json:"schema"`
			Features []row  `json:"features"`
		}{"carl.gate.list/1", rows})
	}
	table(a.stdout, []string{"FEATURE", "NEEDS", "HERE", "WHAT IT IS"}, lines)
	return nil
}
