package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/fault"
)

// helpCmd is cobra's help command with the topic `errors` beside the commands.
func (a *app) helpCmd(root *cobra.Command) *cobra.Command {
	help := &cobra.Command{
		Use:     "help [command]",
		Short:   "Help about any command, and `help errors` for the list of error codes",
		Example: "  carl help errors",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == nil || len(rest) > 0 {
				return fault.New(fault.Usage, "there is no help on %q", strings.Join(args, " ")).WithHint("run `carl help`")
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if len(args) == 0 {
				for _, c := range root.Commands() {
					if c.IsAvailableCommand() {
						names = append(names, c.Name())
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	help.AddCommand(a.helpErrorsCmd())
	return help
}

func (a *app) helpErrorsCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "errors [CODE]",
		Short:   "List every error code with its exit status, meaning and remedy",
		Example: "  carl help errors\n  carl help errors carl.plugin.fuel_exhausted",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.helpErrors(args, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) helpErrors(args []string, asJSON bool) error {
	entries := fault.Codes()
	if len(args) == 1 {
		var found []fault.Entry
		for _, e := range entries {
			if string(e.Code) == args[0] {
				found = append(found, e)
			}
		}
		if len(found) == 0 {
			return fault.New(fault.Usage, "no error code %q", args[0]).WithHint("run `carl help errors` for all of them")
		}
		entries = found
	}
	if asJSON {
		type row struct {
			Code    string `json:"code"`
			Exit    int    `json:"exit"`
			Meaning string `json:"meaning"`
			Remedy  string `json:"remedy"`
		}
		rows := make([]row, 0, len(entries))
		for _, e := range entries {
			rows = append(rows, row{string(e.Code), int(e.Exit), e.Meaning, e.Remedy})
		}
		return writeJSON(a.stdout, struct {
			Schema string `json:"schema"`
			Codes  []row  `json:"codes"`
		}{"carl.errors/1", rows})
	}
	if len(entries) == 1 {
		e := entries[0]
		fmt.Fprintf(a.stdout, "%s (exit %d)\n  meaning: %s\n  remedy:  %s\n", e.Code, e.Exit, e.Meaning, e.Remedy)
		return nil
	}
	var rows [][]string
	for _, e := range entries {
		rows = append(rows, []string{string(e.Code), strconv.Itoa(int(e.Exit)), e.Meaning, e.Remedy})
	}
	table(a.stdout, []string{"CODE", "EXIT", "MEANING", "REMEDY"}, rows)
	return nil
}
