package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/plugins"
)

func (a *app) versionCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version, and which plugins this build bundles",
		Example: "  carl version --json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.version(asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) version(asJSON bool) error {
	var bundled, missing []string
	for _, b := range plugins.Manifests() {
		if plugins.Has(b.Name) {
			bundled = append(bundled, b.Name)
		} else {
			missing = append(missing, b.Name)
		}
	}
	if asJSON {
		return writeJSON(a.stdout, struct {
			Schema  string   `json:"schema"`
			Version string   `json:"version"`
			Go      string   `json:"go"`
			OS      string   `json:"os"`
			Arch    string   `json:"arch"`
			Bundled []string `json:"bundled"`
			Missing []string `json:"missing"`
		}{"carl.version/1", host.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, bundled, missing})
	}
	fmt.Fprintf(a.stdout, "carl %s (%s %s/%s)\n", host.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if len(missing) > 0 {
		a.warn("this build lacks the bundled plugins; build with `make build` to have them inside")
	}
	return nil
}
