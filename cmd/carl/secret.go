package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/home"
)

func (a *app) secretCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Keep the credentials that plugins are granted by name and never see",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.secretSetCmd(), a.secretListCmd(), a.secretRemoveCmd())
	return cmd
}

func (a *app) secretSetCmd() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Store a secret, readable by you alone",
		Long: `Stores a secret in the home, readable by you alone. On a terminal it is asked for
without echo; elsewhere give it with --stdin. The host puts it into the requests
of a plugin that was granted it, for the granted origin only; the plugin itself
never sees it. CARL_SECRET_<NAME> in the environment comes first.`,
		Example: `  printf '%s' "$TOKEN" | carl secret set splunk-token --stdin`,
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.secretSet(cmd.Context(), args[0], fromStdin)
		},
	}
	cmd.Flags().BoolVar(&fromStdin, "stdin", false, "read the value from standard input")
	return cmd
}

func (a *app) secretSet(ctx context.Context, name string, fromStdin bool) error {
	if err := home.CheckSecretName(name); err != nil {
		return err
	}
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	value, err := a.readHidden(ctx, "value of "+name+": ", fromStdin, "--stdin")
	if err != nil {
		return err
	}
	if err := hm.Create(); err != nil {
		return err
	}
	if err := hm.Secrets().Set(name, value); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "carl: the secret %s is stored in %s\n", name, hm.Paths.Secrets)
	return nil
}

func (a *app) secretListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the names of the stored secrets, and where each value comes from",
		Example: "  carl secret list --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.secretList(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) secretList(asJSON bool) error {
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	secrets, err := hm.Secrets().List(os.Environ())
	if err != nil {
		return err
	}
	if asJSON {
		type row struct {
			Name   string `json:"name"`
			Source string `json:"source"`
		}
		rows := make([]row, 0, len(secrets))
		for _, s := range secrets {
			rows = append(rows, row{s.Name, s.Source})
		}
		return writeJSON(a.stdout, struct {
			Schema  string `json:"schema"`
			Secrets []row  `json:"secrets"`
		}{"carl.secrets/1", rows})
	}
	if len(secrets) == 0 {
		fmt.Fprintln(a.stderr, "carl: no secret is stored")
		return nil
	}
	var rows [][]string
	for _, s := range secrets {
		rows = append(rows, []string{s.Name, s.Source})
	}
	table(a.stdout, []string{"NAME", "SOURCE"}, rows)
	return nil
}

func (a *app) secretRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Drop a stored secret",
		Example: "  carl secret remove splunk-token",
		Args:    oneArg,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return a.completeSecrets(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			hm, err := a.openHome()
			if err != nil {
				return err
			}
			if err := hm.Secrets().Remove(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "carl: the secret %s is removed\n", args[0])
			return nil
		},
	}
}
