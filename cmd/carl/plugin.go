package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin"
)

func (a *app) pluginCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Install, look at and remove plugins",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.pluginListCmd(), a.pluginInspectCmd(), a.pluginInstallCmd(), a.pluginRemoveCmd())
	return cmd
}

// completePlugins completes the names of plugins of a kind, "" for all.
func (a *app) completePlugins(kind plugin.Kind) []string {
	hm, err := a.openHome()
	if err != nil {
		return nil
	}
	entries, err := host.Catalog(hm).List()
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if kind == "" || e.Kind == kind {
			names = append(names, e.Name)
		}
	}
	return names
}

// onePlugin completes the argument of commands that take one plugin.
func (a *app) onePlugin(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completePlugins(""), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) pluginListCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the bundled and the installed plugins",
		Example: "  carl plugin list --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.pluginList(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) pluginList(asJSON bool) error {
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	entries, err := host.Catalog(hm).List()
	if err != nil {
		return err
	}
	if asJSON {
		type row struct {
			Name    string   `json:"name"`
			Version string   `json:"version"`
			Kind    string   `json:"kind"`
			Runtime string   `json:"runtime"`
			Origin  string   `json:"origin"`
			Digest  string   `json:"digest,omitempty"`
			Source  string   `json:"source,omitempty"`
			Grants  []string `json:"grants"`
			Summary string   `json:"summary,omitempty"`
			Problem string   `json:"problem,omitempty"`
		}
		rows := make([]row, 0, len(entries))
		for _, e := range entries {
			r := row{e.Name, e.Version, string(e.Kind), string(e.Runtime), string(e.Origin), e.Digest, e.Source, e.Granted.Strings(), e.Summary, ""}
			if e.Problem != nil {
				r.Problem = e.Problem.Error()
			}
			rows = append(rows, r)
		}
		return writeJSON(a.stdout, struct {
			Schema  string `json:"schema"`
			Plugins []row  `json:"plugins"`
		}{"carl.plugins/1", rows})
	}
	var rows [][]string
	for _, e := range entries {
		words := e.Summary
		if e.Problem != nil {
			words = "cannot be loaded: " + e.Problem.Error()
		} else if e.Origin == plugin.Dev {
			words = "unsigned, from " + e.Source + "; " + words
		}
		rows = append(rows, []string{e.Name, e.Version, string(e.Kind), string(e.Origin), words})
	}
	table(a.stdout, []string{"NAME", "VERSION", "KIND", "ORIGIN", "SUMMARY"}, rows)
	return nil
}

func (a *app) pluginInspectCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect NAME|DIR|FILE.wasm",
		Short: "Say what a plugin is, what it imports, and what it can reach",
		Long: `Reads a plugin without running it: its manifest, its digest, what it was granted,
and, from the import section of its module, what it could reach at all. NAME is a
bundled or an installed plugin, DIR a folder with a plugin.yaml, FILE.wasm a module.`,
		Example:           "  carl plugin inspect carl.camp/axon\n  carl plugin inspect ./my-forwarder --json",
		Args:              oneArg,
		ValidArgsFunction: a.onePlugin,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.pluginInspect(args[0], asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) pluginInspect(name string, asJSON bool) error {
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	in, err := host.InspectPlugin(hm, name)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(a.stdout, struct {
			Schema   string   `json:"schema"`
			Name     string   `json:"name,omitempty"`
			Version  string   `json:"version,omitempty"`
			Kind     string   `json:"kind,omitempty"`
			Runtime  string   `json:"runtime"`
			Origin   string   `json:"origin"`
			Digest   string   `json:"digest"`
			Size     int      `json:"size"`
			Imports  []string `json:"imports"`
			Exports  []string `json:"exports"`
			Network  bool     `json:"can_reach_network"`
			Files    bool     `json:"can_append_files"`
			Requests []string `json:"requests"`
			Grants   []string `json:"grants"`
			Missing  []string `json:"missing"`
			Problem  string   `json:"problem,omitempty"`
		}{"carl.plugin.inspect/1", in.Name, in.Version, in.Kind, "wasm", in.Origin, in.Digest, in.Size,
			in.Imports, in.Exports, in.Network, in.Files, in.Requests, in.Grants, in.Missing, in.Problem})
	}
	yesNo := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	list := func(items []string) string {
		if len(items) == 0 {
			return "nothing"
		}
		return strings.Join(items, ", ")
	}
	rows := [][]string{}
	add := func(k, v string) {
		if v != "" {
			rows = append(rows, []string{k, printable(v)})
		}
	}
	add("name", in.Name)
	add("version", in.Version)
	add("kind", in.Kind)
	add("origin", in.Origin)
	add("digest", in.Digest)
	add("size", strconv.Itoa(in.Size)+" bytes")
	add("network", yesNo(in.Network, "its imports let it ask for HTTP; it reaches what is granted", "this plugin cannot reach the network: it imports nothing that could"))
	add("files", yesNo(in.Files, "its imports let it append to files, below the granted folder", "this plugin cannot write files"))
	add("requests", list(in.Requests))
	add("granted", list(in.Grants))
	if len(in.Missing) > 0 {
		add("not granted", strings.Join(in.Missing, ", "))
	}
	add("imports", list(in.Imports))
	add("exports", list(in.Exports))
	add("problem", in.Problem)
	for _, r := range rows {
		fmt.Fprintf(a.stdout, "%-12s %s\n", r[0]+":", r[1])
	}
	return nil
}

type pluginInstallOptions struct {
	dev          bool
	grants       []string
	acceptGrants bool
	json         bool
}

func (a *app) pluginInstallCmd() *cobra.Command {
	var o pluginInstallOptions
	cmd := &cobra.Command{
		Use:   "install --dev DIR",
		Short: "Install an unsigned plugin of your own from a folder",
		Long: `Installs the plugin of a folder that holds a plugin.yaml and its payload. The
module is checked first: its size and shape, and its imports and exports against
the world of its kind. It is stored under its digest and recorded in the lock
with what you grant it. Nothing is granted that is not named here; with
--accept-grants, what it requests is. Being unsigned, it is warned about on every
run.`,
		Example: `  carl plugin install --dev ./my-mapper
  carl plugin install --dev ./my-forwarder --grant net=https://collector.example:8088 --grant secret=collector`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.pluginInstall(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.dev, "dev", false, "install from a folder, unsigned")
	f.StringArrayVar(&o.grants, "grant", nil, "grant `WHAT=VALUE`: net=https://host:port, files=DIR or secret=NAME; may be repeated")
	f.BoolVar(&o.acceptGrants, "accept-grants", false, "grant what the plugin requests, as far as it names it")
	f.BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (a *app) pluginInstall(ctx context.Context, dir string, o pluginInstallOptions) error {
	if !o.dev {
		return fault.New(fault.PluginUntrusted, "%q is not signed, and signed plugins are not in this version of carl", dir).
			WithKept("nothing was installed").WithHint("install a folder of your own with `carl plugin install --dev DIR`")
	}
	grants, err := plugin.ParseGrants(o.grants)
	if err != nil {
		return err
	}
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stderr, "carl: checking and compiling the plugin …")
	done, err := host.Catalog(hm).InstallDev(ctx, dir, plugin.InstallOptions{
		Grants: grants, AcceptGrants: o.acceptGrants, Check: host.CheckModule,
	})
	if err != nil {
		return err
	}
	// So that no later command pays for compiling. What fails here fails there
	// again, with its own message; the plugin is installed.
	if err := host.Precompile(ctx, hm, done.Entry.Name); err != nil {
		a.warn("the plugin is installed, but could not be compiled ahead: %v", err)
	}
	e := done.Entry
	if o.json {
		return writeJSON(a.stdout, struct {
			Schema   string   `json:"schema"`
			Name     string   `json:"name"`
			Version  string   `json:"version"`
			Kind     string   `json:"kind"`
			Digest   string   `json:"digest"`
			Grants   []string `json:"grants"`
			Missing  []string `json:"missing"`
			Replaced string   `json:"replaced,omitempty"`
		}{"carl.plugin.install/1", e.Name, e.Version, string(e.Kind), e.Digest, e.Granted.Strings(), done.Missing, done.Replaced})
	}
	fmt.Fprintf(a.stdout, "installed %s %s (%s)\n", e.Name, e.Version, e.Kind)
	for _, g := range e.Granted.Strings() {
		fmt.Fprintf(a.stdout, "granted   %s\n", g)
	}
	a.warn("%s is unsigned", e.Name)
	if len(done.Missing) > 0 {
		a.warn("it requests more than it was granted: %s", strings.Join(done.Missing, ", "))
	}
	return nil
}

func (a *app) pluginRemoveCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove an installed plugin and its bytes",
		Example:           "  carl plugin remove acme.dev/forward/splunk",
		Args:              oneArg,
		ValidArgsFunction: a.onePlugin,
		RunE: func(cmd *cobra.Command, args []string) error {
			hm, err := a.openHome()
			if err != nil {
				return err
			}
			config, err := hm.Config(os.Environ())
			if err != nil {
				return err
			}
			if err := host.Catalog(hm).Remove(cmd.Context(), args[0], plugin.UsedBy(config, args[0]), force); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "carl: %s is removed\n", args[0])
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it although a destination uses it")
	return cmd
}
