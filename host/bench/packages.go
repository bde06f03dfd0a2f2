package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// packages are those whose benchmarks the README quotes.
var packages = []string{
	"./host/entitle", "./host/tier", "./host/constitution", "./host/ledger",
	"./host/plugin/wasm", "./host/plugin/wasm/meter",
	"./host/step", "./host/redact", "./host/spool", "./host/axon", "./host/sync", "./host",
	"./plugins", "./plugins/slime",
}

// packageBenchmarks runs the benchmarks beside the code, a package at a time,
// and keeps each line of their output.
func packageBenchmarks(repo, pattern, benchTime string, keep func(result, error) error) error {
	if pattern == "none" {
		return nil
	}
	for _, pkg := range packages {
		cmd := exec.Command("go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-benchtime", benchTime, "-timeout", "60m", pkg)
		cmd.Dir = repo
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if r, ok := parseBenchmark(pkg, lines.Text()); ok {
				if err := keep(r, nil); err != nil {
					return err
				}
			}
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("go test -bench in %s: %w", pkg, err)
		}
	}
	return nil
}

// parseBenchmark reads a line such as "BenchmarkX-2  100  12.3 ns/op  4 B/op"
// (the Go benchmark data format).
func parseBenchmark(pkg, line string) (result, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return result{}, false
	}
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		name = name[:i]
	}
	r := result{Name: strings.TrimPrefix(pkg, "./") + " " + name, Figures: map[string]float64{}}
	for i := 2; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return result{}, false
		}
		r.Figures[fields[i+1]] = v
	}
	return r, true
}

func sortedKeys(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) }
