package main

import (
	"strings"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/fault"
)

// noArgs is for commands that take none: groups refuse what is no command of
// theirs, and name the one that may have been meant.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasSubCommands() {
		return fault.New(fault.Usage, "`%s` takes no argument, and was given %q", cmd.CommandPath(), args[0]).WithKept("nothing was done")
	}
	err := fault.New(fault.Usage, "`%s` has no command %q", cmd.CommandPath(), args[0]).WithKept("nothing was done")
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return err.WithHint("did you mean `%s %s`?", cmd.CommandPath(), near[0])
	}
	return err
}

// oneArg is for commands that take exactly the argument that their usage names.
func oneArg(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	_, want, _ := strings.Cut(cmd.Use, " ")
	given := "none"
	if len(args) > 1 {
		given = count(len(args), "argument")
	}
	return fault.New(fault.Usage, "`%s` takes %s, and was given %s", cmd.CommandPath(), want, given).WithKept("nothing was done")
}
