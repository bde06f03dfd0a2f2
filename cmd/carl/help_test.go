package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/camp/standin"
	"carl.camp/carl/host/fault"
)

// everyCommand calls f with each command that is there, hidden ones too.
func everyCommand(f func(*cobra.Command)) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		f(cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
}

func TestEveryCommandIsDescribed(t *testing.T) {
	seen := 0
	everyCommand(func(cmd *cobra.Command) {
		seen++
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short description is %q", path, cmd.Short)
		}
		if cmd.RunE == nil {
			t.Errorf("%s does nothing, not even show its help", path)
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Example, path) && path != "carl help errors" {
			t.Errorf("%s has no example of itself:\n%s", path, cmd.Example)
		}
	})
	if seen < 25 {
		t.Errorf("only %d commands were seen", seen)
	}
}

// TestExamplesWorkAsPasted runs the examples of every command's help in a shell,
// as they stand there, in a folder that holds what they name.
func TestExamplesWorkAsPasted(t *testing.T) {
	// What these name has to be there first, or never ends.
	skip := map[string]string{
		"carl camp dev":            "runs until it is interrupted",
		"carl camp login\n":        "asks on a terminal",
		"carl sync --watch":        "runs until it is interrupted",
		"/etc/bash_completion.d":   "writes to the system",
		"collector.example":        "names a host of the reader's",
		"carl plugin remove acme":  "names a plugin of the reader's",
		"carl dlq show 8e9030e06":  "names a dead letter of the reader's",
		"carl dlq drop 8e9030e06":  "names a dead letter of the reader's",
		"plugin inspect ./my-forw": "names a plugin of the reader's",
		"carl ledger recover":      "mends what is not broken here",
		"8f14e45f-ceea-467f-a8d9-": "names a run of the reader's",
		"repin --expect NzbLsXh8":  "names a key that the reader's platform announced",
	}
	used := map[string]bool{}
	in := install(t, "")
	work, bin := t.TempDir(), t.TempDir()
	if err := os.Symlink(os.Args[0], filepath.Join(bin, "carl")); err != nil {
		t.Fatal(err)
	}
	in.env = append(in.env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "TOKEN="+in.server.Token(), "CARL_CAMP_TOKEN=", "HOME="+work)
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(work, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.server.SetTier("paid"); err != nil {
		t.Fatal(err)
	}
	config, err := os.OpenFile(filepath.Join(in.home, "config.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(config, "offline_root: %s\n", in.server.OfflineRoot())
	if err := config.Close(); err != nil {
		t.Fatal(err)
	}
	write("licence.jwt", in.server.License(standin.LicenseOptions{For: time.Hour}))
	token, keys := signed(t, in)
	write("token.jwt", token)
	write("keys.json", keys)
	write("constitution.yaml", "name: agent\nversion: \"1\"\ninitial: idle\nstates: [idle]\nrules:\n  - {id: read, action: \"read.*\", verdict: allow}\n")
	write("action.json", `{"kind":"read.file","name":"README.md"}`)
	in.must("fsm", "adopt", filepath.Join(work, "constitution.yaml"))
	write("config.yaml", trainConfig)
	write("slime/train.py", "exit 0\n")
	if err := os.Symlink("/bin/sh", filepath.Join(bin, "python3")); err != nil {
		t.Fatal(err)
	}
	if err := in.server.SetRunTime(10 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	write("steps.jsonl", `{"action":"LLM_REPLY","name":"answer"}`+"\n")
	write("token.txt", in.server.Token()+"\n")
	write("my-mapper/plugin.yaml", "name: acme.test/mapper\nversion: 1.0.0\nkind: mapper\nruntime: wasm\npayload: plugin.wasm\nsummary: Mine\nlicense: MIT\n")
	if out, err := exec.Command("wat2wasm", filepath.Join(testdata, "moody.wat"), "-o", filepath.Join(work, "my-mapper", "plugin.wasm")).CombinedOutput(); err != nil {
		t.Fatalf("wat2wasm: %v\n%s", err, out)
	}
	ran := 0
	everyCommand(func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			skipped := false
			for part := range skip {
				if strings.Contains(line+"\n", part) {
					used[part], skipped = true, true
				}
			}
			if skipped {
				continue
			}
			ran++
			in.input(in.server.Token(), "camp", "login", "--token-stdin")
			in.input("value-of-the-secret", "secret", "set", "splunk-token", "--stdin")
			sh := exec.Command("sh", "-c", line)
			sh.Dir, sh.Env = work, in.env
			var stdout, stderr bytes.Buffer
			sh.Stdout, sh.Stderr = &stdout, &stderr
			if err := sh.Run(); err != nil {
				t.Errorf("%s: `%s`: %v\n%s%s", cmd.CommandPath(), line, err, stdout.Bytes(), stderr.Bytes())
			}
		}
	})
	if ran < 20 {
		t.Errorf("only %d examples were run", ran)
	}
	for part := range skip {
		if !used[part] {
			t.Errorf("%q is in no example, and need not be skipped", part)
		}
	}
}

// signed is a token of the stand-in, and the key set to verify it with.
func signed(t *testing.T, in *installation) (token, keys string) {
	t.Helper()
	url, err := camp.ParseURL(strings.TrimPrefix(in.env[slices.IndexFunc(in.env, func(kv string) bool { return strings.HasPrefix(kv, "CARL_CAMP_URL=http") })], "CARL_CAMP_URL="))
	if err != nil {
		t.Fatal(err)
	}
	client, err := camp.NewClient(camp.ClientOptions{URL: url, Paths: camp.DefaultPaths(), Token: in.server.Token()})
	if err != nil {
		t.Fatal(err)
	}
	token, err = client.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set, err := client.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token + "\n", string(set)
}

// TestErrorsHaveTwoLines holds every code's error to the two lines that people get.
func TestErrorsHaveTwoLines(t *testing.T) {
	for _, e := range fault.Codes() {
		var stderr bytes.Buffer
		a := &app{stderr: &stderr}
		a.report(fault.New(e.Code, "something\nwith \x1b[31mlines\u2028").WithKept("all"), false)
		if text := stderr.String(); strings.Count(text, "\n") != 2 || strings.ContainsAny(text, "\x1b\u2028") ||
			!strings.HasPrefix(text, "carl: something with ") || !strings.Contains(text, "\nhint: ") {
			t.Errorf("%s: %q", e.Code, text)
		}
		stderr.Reset()
		a.report(fault.New(e.Code, "something").WithKept("all"), true)
		if text, want := stderr.String(), `{"error":{"code":"`+string(e.Code)+`","message":"something; all","hint":"`; !strings.HasPrefix(text, want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: %s", e.Code, text)
		}
	}
}

// TestCompletion asks for completions as a shell does.
func TestCompletion(t *testing.T) {
	in := install(t, "")
	in.input("value-of-the-secret", "secret", "set", "lake-token", "--stdin")
	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte(trainConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := in.server.SetTier("paid"); err != nil {
		t.Fatal(err)
	}
	if err := in.server.SetRunTime(time.Hour); err != nil {
		t.Fatal(err)
	}
	in.must("train", config, "--managed")
	run := in.server.Runs()[0]
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"sync", "--resume", ""}, "archive\ncamp\n"},
		{[]string{"dlq", "list", "--destination", ""}, "archive\ncamp\n"},
		{[]string{"plugin", "inspect", ""}, "carl.camp/axon\ncarl.camp/forward/camp\ncarl.camp/forward/jsonl\ncarl.camp/slime\n"},
		{[]string{"train", "--backend", ""}, "carl.camp/slime\n"},
		{[]string{"train", "--output", ""}, "json\nargv\n"},
		{[]string{"runs", "status", ""}, run.RunID + "\tqueued\n"},
		{[]string{"axon", "map", "--mapper", ""}, "carl.camp/axon\n"},
		{[]string{"secret", "remove", ""}, "lake-token\n"},
		{[]string{"consent", "grant", ""}, "telemetry\n"},
		{[]string{"gate", "check", ""}, "train.slime.local\ntrain.slime.managed\n"},
		{[]string{"camp", "dev", "--tier", ""}, "free\npaid\n"},
		{[]string{"completion", ""}, "bash\nzsh\nfish\npowershell\n"},
	} {
		out := string(in.must(append([]string{"__complete"}, c.args...)...))
		if got, _, _ := strings.Cut(out, ":"); got != c.want {
			t.Errorf("%q completes to %q, want %q", c.args, got, c.want)
		}
	}
}
