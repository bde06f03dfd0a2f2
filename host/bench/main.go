// Command bench measures carl and prints one table: the benchmarks that stand
// beside the code, then the command as whole processes, over 10³ to 10⁶ steps.
//
//	make bench
//
// Times are those of this machine in this run; compare ratios, not runs.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"text/tabwriter"
	"time"
)

// result is one row: the figures by unit.
type result struct {
	Name    string             `json:"name"`
	Figures map[string]float64 `json:"figures"`
}

func main() {
	repo := flag.String("repo", "../..", "the repository")
	pattern := flag.String("bench", ".", "which benchmarks beside the code to run")
	benchTime := flag.String("benchtime", "1s", "how long each of them runs")
	most := flag.Int("steps", 1_000_000, "the largest number of steps to record and sync")
	out := flag.String("json", "", "also write the results to this file")
	flag.Parse()
	if err := run(*repo, *pattern, *benchTime, *most, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(repo, pattern, benchTime string, most int, out string) error {
	var results []result
	keep := func(r result, err error) error {
		if err == nil {
			results = append(results, r)
			printRow(r)
		}
		return err
	}
	fmt.Printf("# %s %s/%s, %d cores, %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	if err := packageBenchmarks(repo, pattern, benchTime, keep); err != nil {
		return err
	}
	if err := processBenchmarks(repo, most, keep); err != nil {
		return err
	}
	if out == "" {
		return nil
	}
	data, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o644)
}

// printRow prints a row at once: a long run shows where it is.
func printRow(r result) {
	tw := tabwriter.NewWriter(os.Stdout, 68, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "%s\t", r.Name)
	for _, unit := range sortedKeys(r.Figures) {
		fmt.Fprintf(tw, "%s %s   ", figure(r.Figures[unit]), unit)
	}
	fmt.Fprintln(tw)
	tw.Flush()
}

func figure(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
