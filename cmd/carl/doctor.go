package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

func (a *app) doctorCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that can be wrong, and name the command that mends it",
		Long: `Checks the home, the config, consent, credentials, the spool, every destination
and every plugin, without touching the network and without changing anything. The
exit status is 1 when a check fails; a warning does not fail.`,
		Example: "  carl doctor --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.printDiagnosis(host.Doctor(cmd.Context(), host.Options{Home: a.home, Log: a.logger(), Offline: a.offline}), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) printDiagnosis(d host.Diagnosis, asJSON bool) error {
	failed := 0
	for _, c := range d.Checks {
		if c.Status == home.Fail {
			failed++
		}
	}
	if asJSON {
		type row struct {
			Name   string `json:"name"`
			Status string `json:"status"`
			Detail string `json:"detail"`
			Fix    string `json:"fix,omitempty"`
		}
		rows := make([]row, 0, len(d.Checks))
		for _, c := range d.Checks {
			rows = append(rows, row{c.Name, string(c.Status), c.Detail, c.Fix})
		}
		if err := writeJSON(a.stdout, struct {
			Schema string `json:"schema"`
			OK     bool   `json:"ok"`
			Checks []row  `json:"checks"`

			Entitlements entitlementsBlock `json:"entitlements"`
		}{"carl.doctor/1", failed == 0, rows, blockOf(&d.Entitlements)}); err != nil {
			return err
		}
	} else {
		var rows [][]string
		for _, c := range d.Checks {
			detail := c.Detail
			if c.Fix != "" {
				detail += "; " + c.Fix
			}
			rows = append(rows, []string{c.Name, string(c.Status), detail})
		}
		table(a.stdout, []string{"CHECK", "STATUS", "DETAIL, AND WHAT MENDS IT"}, rows)
		fmt.Fprintln(a.stdout, verdict(failed))
	}
	if failed > 0 {
		return fault.New(fault.DoctorFailed, "%s failed", count(failed, "check"))
	}
	return nil
}

// entitlementsBlock is the entitlements as programs get them from doctor. What
// is not known is null.
type entitlementsBlock struct {
	Status string  `json:"status"`
	Age    *int64  `json:"age_s"`
	KeyID  *string `json:"key_id"`
}

func blockOf(s *entitle.State) entitlementsBlock {
	out := entitlementsJSON("", s)
	if out.Status == "" {
		out.Status = string(entitle.Missing)
	}
	return entitlementsBlock{out.Status, out.Age, out.KeyID}
}

func verdict(failed int) string {
	if failed == 0 {
		return "all is well"
	}
	return count(failed, "check") + " failed"
}
