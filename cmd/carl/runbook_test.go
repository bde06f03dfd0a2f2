//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"carl.camp/carl/host/camp/standin"
)

// exits marks a command of the runbook that is meant to fail.
var exits = regexp.MustCompile(`^(\s*)(.*?)\s+# exit (\d+)$`)

// TestRunbook runs every sh block of the runbook, in order and in one shell, as
// a reader would who pastes them against a stand-in.
func TestRunbook(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing: apt-get install curl")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "host", "RUNBOOK.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, blocks := runbookScript(string(text))
	if blocks < 12 {
		t.Fatalf("only %d blocks were found", blocks)
	}

	server, err := standin.New(standin.Options{Tier: "paid"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	url, err := server.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	work, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "carl")); err != nil {
		t.Fatal(err)
	}
	user := filepath.Join(work, "user")
	if err := os.Mkdir(user, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = work
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CARL_") }),
		asCommand+"=1", "CARL_BACKGROUND=off", "CARL_CAMP_URL="+url, "URL="+url, "TOKEN="+server.Token(),
		"HOME="+user, "CARL_HOME="+filepath.Join(user, ".carl"), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, out.Bytes())
	}
	if !strings.Contains(out.String(), "status:   offline_license") {
		t.Errorf("the licence did not come to count:\n%s", out.Bytes())
	}
}

// runbookScript joins the sh blocks. Each command is echoed, and held to exit
// status 0 or the one that stands behind it.
func runbookScript(text string) (script string, blocks int) {
	b := new(strings.Builder)
	b.WriteString("set -eo pipefail\nwant() { local want=$1; shift; local got=0; \"$@\" || got=$?; [ $got = $want ] || { echo \"exit $got, and not $want: $*\"; exit 1; }; }\n")
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "```sh":
			in = true
			blocks++
		case line == "```":
			in = false
		case in:
			b.WriteString("echo " + shellQuote("$ "+line) + "\n")
			if m := exits.FindStringSubmatch(line); m != nil {
				line = "want " + m[3] + " " + m[2]
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String(), blocks
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
