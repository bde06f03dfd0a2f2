package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// startRuns is how often a short command is run for its median.
const startRuns = 41

// short is one command that people wait for.
type short struct {
	name  string
	env   []string
	args  []string
	walls []time.Duration
	peak  float64
}

// shortCommands times the start of the command, the commands that look at
// entitlements, and what a training config comes to: in turn, so that a machine which changes its pace changes it for
// all of them. The gate is asked with nobody where the platform should be, and
// with a black hole there, which takes the connection and never answers.
func shortCommands(repo, carl, home string, keep func(result, error) error) error {
	if err := refresh(carl, home); err != nil {
		return err
	}
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer hole.Close()
	nobody, err := unused()
	if err != nil {
		return err
	}
	gate := []string{"gate", "check", "train.slime.managed", "--remote"}
	// The launch with the most flags, its translator compiled.
	dry := []string{"train", filepath.Join(repo, "plugins", "slime", "testdata", "launches", "run-glm5-744B-A40B.yaml"), "--dry-run"}
	if _, err := measure(home, carl, dry...); err != nil {
		return err
	}
	commands := []*short{
		{name: "carl version", args: []string{"version"}},
		{name: "carl entitlements show", args: []string{"entitlements", "show"}},
		{name: "carl gate check --remote, no platform", env: platformAt(nobody), args: gate},
		{name: "carl gate check --remote, platform black-holed", env: platformAt(hole.Addr().String()), args: gate},
		{name: "carl train --dry-run, no platform", env: platformAt(nobody), args: dry},
		{name: "carl train --dry-run, platform black-holed", env: platformAt(hole.Addr().String()), args: dry},
	}
	for range startRuns {
		for _, c := range commands {
			u, err := measureIn(c.env, home, carl, c.args...)
			if err != nil {
				return err
			}
			c.walls, c.peak = append(c.walls, u.wall), max(c.peak, u.peakMiB)
		}
	}
	for _, c := range commands {
		slices.Sort(c.walls)
		if err := keep(result{"process: " + c.name, map[string]float64{
			"ms/median": float64(c.walls[len(c.walls)/2].Microseconds()) / 1000,
			"ms/min":    float64(c.walls[0].Microseconds()) / 1000,
			"MiB/peak":  c.peak,
		}}, nil); err != nil {
			return err
		}
	}
	return nil
}

func platformAt(address string) []string {
	return []string{"CARL_CAMP_URL=http://" + address, "CARL_CAMP_TOKEN=bench"}
}

// unused is an address where nobody listens.
func unused() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// refresh fills a home with the entitlements of somebody who has paid, from a
// stand-in that is gone afterwards.
func refresh(carl, home string) error {
	platform := exec.Command(carl, "camp", "dev", "--tier", "paid", "--json", "--quiet")
	platform.Env = append(os.Environ(), "CARL_HOME="+home)
	out, err := platform.StdoutPipe()
	if err != nil {
		return err
	}
	if err := platform.Start(); err != nil {
		return err
	}
	defer platform.Wait()
	defer platform.Process.Kill()
	var hello struct{ URL, Token string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, &hello); err != nil {
		return fmt.Errorf("the stand-in said %q: %w", line, err)
	}
	_, err = measureIn([]string{"CARL_CAMP_URL=" + hello.URL, "CARL_CAMP_TOKEN=" + hello.Token}, home, carl, "entitlements", "show", "--refresh")
	return err
}
