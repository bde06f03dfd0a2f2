package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// launch is a real launch of slime's, as a config that a person can read.
var launch = filepath.Join("plugins", "slime", "testdata", "launches", "run-qwen3-4B.yaml")

// showTraining submits a run of a real launch, waits for it, and publishes what came
// of it.
func (d *demo) showTraining(ctx context.Context) error {
	say("a training run of a real launch: a config that a person can read becomes slime's command line, in a sandboxed plugin")
	config, err := os.ReadFile(launch)
	if err != nil {
		return err
	}
	argv, err := d.run(ctx, "", "train", launch, "-o", "argv")
	if err != nil {
		return err
	}
	flags := 0
	for line := range bytes.Lines(argv) {
		if bytes.HasPrefix(line, []byte("--")) {
			flags++
		}
	}
	fmt.Printf("  %d lines of config, %d flags\n", bytes.Count(config, []byte("\n")), flags)

	say("and on the platform: submitted once, whatever is lost on the way, and followed to its end")
	out, err := d.run(ctx, "", "train", launch, "--managed", "--wait", "--json")
	if err != nil {
		return err
	}
	var run struct {
		RunID  string `json:"run_id"`
		Status string `json:"status"`
	}
	if err := json.Unmarshal(out, &run); err != nil || run.Status != "succeeded" {
		return fmt.Errorf("carl train: %s", out)
	}
	fmt.Printf("  run %s %s\n", run.RunID, run.Status)

	weights := d.path("weights.bin")
	content := make([]byte, 1<<20)
	rand.Read(content)
	if err := os.WriteFile(weights, content, 0o600); err != nil {
		return err
	}
	if err := d.shown(ctx, "resonant", "publish", weights, "--slime-run-id", run.RunID); err != nil {
		return err
	}
	if err := d.shown(ctx, "runs", "list"); err != nil {
		return err
	}

	say("a config that would fail hours later, or only waste them, is refused now")
	bad := d.path("bad.yaml")
	mended := strings.NewReplacer("train_batch: 256", "train_batch: 200", "temperature:", "temprature:", "deepscaler", "deepscalar").Replace(string(config))
	if err := os.WriteFile(bad, []byte(mended), 0o600); err != nil {
		return err
	}
	if err := d.refused(ctx, "carl.train.config_invalid", "train", bad, "--managed"); err != nil {
		return err
	}
	_, err = d.run(ctx, "", "sync", "--deadline", "60s")
	return err
}
