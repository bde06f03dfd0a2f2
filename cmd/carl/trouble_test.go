//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user id that owns nothing here.
const nobody = 65534

// asNobody runs a command without root's right to ignore modes.
func asNobody(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

// troubled runs the real command with a home, and returns its output and exit status.
func troubled(t *testing.T, home, stdin string, as func(*testing.T, *exec.Cmd), args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(reachable(t), args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "CARL_HOME="+home, "CARL_BACKGROUND=off", "CARL_CAMP_URL=", "DO_NOT_TRACK=")
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if as != nil {
		as(t, cmd)
	}
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// reachable is the test binary at a path that every user may execute.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "carl-test-bin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "carl")
	if err := os.Link(os.Args[0], to); err != nil {
		data, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// shared makes a folder that every user may enter, since t.TempDir's parents are closed.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "carl-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

const oneStep = `{"action":"EXTERNAL","name":"s"}` + "\n"

// localConfig is a home's config with a local file as its one destination, so
// that recording keeps what it is given.
func localConfig(t *testing.T, home string) {
	t.Helper()
	text := "destinations:\n  archive: {plugin: carl.camp/forward/jsonl, settings: {file: s.jsonl}, grants: {files: /nonexistent/archive}}\n"
	if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestHomeInTrouble(t *testing.T) {
	t.Run("read-only", func(t *testing.T) {
		home := filepath.Join(shared(t), "home")
		mkdir(t, home, 0o700)
		localConfig(t, home)
		if os.Getuid() == 0 {
			if err := os.Chown(home, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(home, 0o500); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := troubled(t, home, oneStep, asNobody, "record", "-")
		expect(t, stderr, code, 1, "carl.home.unusable")
		stdout, _, code := troubled(t, home, "", asNobody, "doctor")
		expect(t, stdout, code, 1, "cannot be written", "chmod")
		left(t, home, "config.yaml")
	})
	t.Run("someone else's", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root can make a folder that is someone else's")
		}
		home := filepath.Join(shared(t), "home")
		mkdir(t, home, 0o777)
		if err := os.Chmod(home, 0o777); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := troubled(t, home, oneStep, asNobody, "record", "-")
		expect(t, stderr, code, 1, "carl.home.unusable")
		left(t, home)
	})
	t.Run("a symlink", func(t *testing.T) {
		dir := shared(t)
		mkdir(t, filepath.Join(dir, "elsewhere"), 0o700)
		home := filepath.Join(dir, "home")
		if err := os.Symlink("elsewhere", home); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := troubled(t, home, oneStep, nil, "consent", "grant", "telemetry")
		expect(t, stderr, code, 1, "carl.home.unusable", "symlink")
		left(t, filepath.Join(dir, "elsewhere"))
	})
	t.Run("a symlink in place of the spool", func(t *testing.T) {
		dir := shared(t)
		home, elsewhere := filepath.Join(dir, "home"), filepath.Join(dir, "elsewhere")
		mkdir(t, home, 0o700)
		mkdir(t, elsewhere, 0o700)
		localConfig(t, home)
		if err := os.Symlink(elsewhere, filepath.Join(home, "spool")); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := troubled(t, home, oneStep, nil, "record", "-")
		expect(t, stderr, code, 1, "carl.home.unusable")
		left(t, elsewhere)
	})
	t.Run("a file", func(t *testing.T) {
		home := filepath.Join(shared(t), "home")
		if err := os.WriteFile(home, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := troubled(t, home, oneStep, nil, "record", "-")
		expect(t, stderr, code, 1, "carl.home.unusable")
	})
}

// TestDiskFull records onto a file system that fills up: what was acknowledged
// is there, what was not is said, and once there is space again all goes on.
func TestDiskFull(t *testing.T) {
	requireBundled(t)
	dir := shared(t)
	mkdir(t, filepath.Join(dir, "disk"), 0o700)
	script := filepath.Join(dir, "run.sh")
	// The small file system lives in a mount namespace of its own and ends with it.
	text := fmt.Sprintf(`set -u
mount -t tmpfs -o size=400k,mode=700 none %[1]s/disk || exit 77
export CARL_HOME=%[1]s/disk/home
mkdir -m 700 "$CARL_HOME" %[1]s/archive
cat > "$CARL_HOME/config.yaml" <<END
destinations:
  archive: {plugin: carl.camp/forward/jsonl, settings: {file: s.jsonl}, grants: {files: %[1]s/archive}}
END
acknowledged=0 refused=0
for i in $(seq 1000 1099); do
  if printf '{"step_id":"00000000%%s","ts":"2026-11-23T00:00:00Z","action":"EXTERNAL","name":"s","input":"%%s"}\n' $i "$(head -c 9000 /dev/zero | tr '\0' x)" |
    %[2]s record - 2>%[1]s/stderr; then
    acknowledged=$((acknowledged + 1))
  else
    refused=$((refused + 1)); cp %[1]s/stderr %[1]s/refusal
  fi
done
mount -o remount,size=64m %[1]s/disk || exit 78
echo '{"step_id":"ffffffffffff","ts":"2026-11-23T00:00:00Z","action":"EXTERNAL","name":"s"}' | %[2]s record - || exit 79
%[2]s sync --deadline 60s >&2 || exit 80
%[2]s doctor >&2
echo "acknowledged $acknowledged refused $refused held $(wc -l < %[1]s/archive/s.jsonl)"
`, dir, reachable(t))
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "-rm", "sh", script)
	cmd.Env = append(os.Environ(), asCommand+"=1", "CARL_BACKGROUND=off", "CARL_CAMP_URL=")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if err != nil && (cmd.ProcessState.ExitCode() == 77 || strings.Contains(stderr.String(), "unshare:")) {
		if os.Getenv("CI") != "" {
			t.Fatalf("no small file system can be mounted here: %s", stderr.String())
		}
		t.Skipf("no small file system can be mounted here: %s", stderr.String())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var acknowledged, refused, held int
	if _, err := fmt.Sscanf(stdout.String(), "acknowledged %d refused %d held %d", &acknowledged, &refused, &held); err != nil {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	if acknowledged == 0 || refused == 0 {
		t.Fatalf("%d acknowledged and %d refused: the disk was never full, or always", acknowledged, refused)
	}
	if held < acknowledged+1 || held > acknowledged+refused+1 {
		t.Errorf("%d arrived; %d were acknowledged and %d refused", held, acknowledged+1, refused)
	}
	refusal, err := os.ReadFile(filepath.Join(dir, "refusal"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(refusal), "no space left on device") || !strings.Contains(string(refusal), "(carl.") {
		t.Errorf("the refusal does not say why: %s", refusal)
	}
}

func mkdir(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Mkdir(dir, mode); err != nil {
		t.Fatal(err)
	}
}

// left fails unless exactly these names are in a folder.
func left(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(names, " ") {
		t.Errorf("%s holds %q, want %q", dir, have, names)
	}
}
