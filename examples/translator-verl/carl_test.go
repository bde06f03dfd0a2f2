package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build runs go build in this folder.
func build(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// site is a machine with carl, as a newcomer has it: a new home, and nothing in
// the environment.
type site struct {
	t         *testing.T
	dir, carl string
}

func (s *site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *site) run(args ...string) (stdout, stderr string, status int) {
	s.t.Helper()
	cmd := exec.Command(s.carl, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{
		"HOME=" + s.dir, "CARL_HOME=" + filepath.Join(s.dir, "home"), "CARL_BACKGROUND=off",
		"PATH=" + filepath.Join(s.dir, "bin") + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (s *site) ok(args ...string) string {
	s.t.Helper()
	stdout, stderr, status := s.run(args...)
	if status != 0 {
		s.t.Fatalf("carl %s: exit status %d\n%s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout
}

// The real command takes the translator from this folder, and trains with it:
// the core knows nothing of verl.
func TestWithCarl(t *testing.T) {
	s := &site{t: t, dir: t.TempDir()}
	s.carl = filepath.Join(s.dir, "carl")
	build(t, []string{"CGO_ENABLED=0", "GOFLAGS="}, "-o", s.carl, "../../cmd/carl")
	manifest, err := os.ReadFile("plugin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.write("plugin/plugin.yaml", string(manifest))
	build(t, []string{"GOOS=wasip1", "GOARCH=wasm", "GOFLAGS="}, "-buildmode=c-shared", "-ldflags=-s -w", "-o", filepath.Join(s.dir, "plugin", "plugin.wasm"), ".")
	config := s.write("config.yaml", example(t))

	if _, stderr, status := s.run("train", config, "--backend", "acme.dev/verl", "-o", "argv"); status == 0 || !strings.Contains(stderr, `there is no translator for the backend "acme.dev/verl"`) {
		t.Fatalf("without the plugin: exit status %d\n%s", status, stderr)
	}
	s.ok("plugin", "install", "--dev", "plugin")

	if got := s.ok("train", config, "--backend", "acme.dev/verl", "-o", "argv"); got != exampleOverrides {
		t.Errorf("the overrides are\n%s", got)
	}
	named := s.write("named.yaml", "backend: acme.dev/verl\n"+example(t))
	if got := s.ok("train", named, "-o", "argv"); got != exampleOverrides {
		t.Errorf("where the config names the backend, the overrides are\n%s", got)
	}

	var payload struct {
		Backend string
		Argv    []string
		Args    json.RawMessage
	}
	if err := json.Unmarshal([]byte(s.ok("train", config, "--backend", "acme.dev/verl", "--managed", "--dry-run")), &payload); err != nil {
		t.Fatal(err)
	}
	if payload.Backend != "acme.dev/verl" || strings.Join(payload.Argv, "\n")+"\n" != exampleOverrides {
		t.Errorf("the payload is of %q, with %q", payload.Backend, payload.Argv)
	}
	if native := accepted(t, toJSON(t, example(t))); string(payload.Args) != native.Args {
		t.Errorf("the payload's arguments are\n%s\nand natively\n%s", payload.Args, native.Args)
	}

	if got := s.ok("train", "--schema", "--backend", "acme.dev/verl"); validate(t, got, toJSON(t, example(t))) != nil {
		t.Errorf("the schema does not take the example: %s", got)
	}

	// What is refused is named by line and column, all of it.
	bad := s.write("bad.yaml", "model: {hf: /m}\nextra:\n  slime: {lr: 1}\nrollout: {promts: 5}\n")
	_, stderr, status := s.run("train", bad, "--backend", "acme.dev/verl", "--dry-run")
	for _, want := range []string{"bad.yaml:3:10: verl takes no flags of slime", `bad.yaml:4:11: unknown member "promts"; known are count, epochs,`,
		"bad.yaml:4:10: rollout.prompts is missing, and verl needs it", "bad.yaml:1:1: data.prompts is missing, and verl needs it", "7 problems (carl.train.config_invalid)"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is missing from\n%s", want, stderr)
		}
	}
	if status != 2 {
		t.Errorf("exit status %d", status)
	}

	// A run on this machine: verl's file, with the overrides, in verl's folder.
	s.write("bin/python3", "#!/bin/sh\necho \"$0 in $(pwd)\" >&2\nfor a in \"$@\"; do echo \"$a\"; done\nexit 7\n")
	s.write("verl/verl/trainer/main_ppo.py", "")
	stdout, stderr, status := s.run("train", config, "--backend", "acme.dev/verl", "--slime-dir", "verl")
	if stdout != "verl/trainer/main_ppo.py\n"+exampleOverrides || status != 7 || !strings.Contains(stderr, "/bin/python3 in "+filepath.Join(s.dir, "verl")) {
		t.Errorf("run here: exit status %d\n%s%s", status, stdout, stderr)
	}
}

// The README's config, schema line and commands are what is tested here.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	for _, line := range []string{
		`GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -buildmode=c-shared -ldflags="-s -w" -o plugin.wasm .`,
		"carl plugin install --dev .",
		"carl train config.yaml --backend acme.dev/verl -o argv",
		"carl train config.yaml --backend acme.dev/verl --slime-dir ~/verl",
		"The entrypoint is `" + entrypoint + "`",
	} {
		if !strings.Contains(readme, line) {
			t.Errorf("the README does not say %s", line)
		}
	}
	blocks := map[string][]string{}
	for _, part := range strings.Split(readme, "\n```")[1:] {
		if kind, body, ok := strings.Cut(part, "\n"); ok && kind != "" {
			blocks[kind] = append(blocks[kind], body)
		}
	}
	made := accepted(t, toJSON(t, blocks["yaml"][0]))
	if got := placesOf(made.Warnings); len(got) != 1 || got[0] != "/reward/builtin" {
		t.Errorf("the README's config is warned about at %q", got)
	}
	_, shown, _ := strings.Cut(readme, "prints one override a line:\n\n```\n")
	shown, _, _ = strings.Cut(shown, "```")
	all := "\n" + strings.Join(made.Argv, "\n") + "\n"
	for part := range strings.SplitSeq(shown, "…\n") {
		if !strings.Contains(all, "\n"+part) {
			t.Errorf("the README shows %sand the overrides are%s", part, all)
		}
	}
	accepted(t, toJSON(t, blocks["yaml"][0]+"\n"+blocks["yaml"][1]))
	if err := validate(t, argsSchema(), blocks["json"][0]); err != nil {
		t.Error(err)
	}
}
