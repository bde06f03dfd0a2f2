package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
)

// courierSecret is what the courier is granted and must never see.
const courierSecret = "correct-horse-battery-staple"

// buildCourier builds the third party's forwarder into a folder that can be installed.
func buildCourier(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	manifest, err := os.ReadFile(filepath.Join(testdata, "courier", "plugin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w",
		"-o", filepath.Join(dir, "plugin.wasm"), filepath.Join(testdata, "courier", "main.go"))
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// inbox is a server of somebody else's: it keeps what it is sent, and repeats
// the credential that came with it wherever it can.
type inbox struct {
	*httptest.Server
	mu     gosync.Mutex
	tokens []string // of each request; guarded by mu
	bodies []string // guarded by mu
}

func newInbox(t *testing.T) *inbox {
	in := &inbox{}
	in.Server = httptest.NewServer(http.HandlerFunc(in.serve))
	t.Cleanup(in.Close)
	return in
}

func (in *inbox) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	token := r.Header.Get("Authorization")
	in.mu.Lock()
	in.tokens, in.bodies = append(in.tokens, token), append(in.bodies, string(body))
	in.mu.Unlock()
	w.Header().Set("X-Echo", token)
	switch {
	case strings.HasPrefix(r.URL.Path, "/to/"):
		http.Redirect(w, r, "http://"+strings.TrimPrefix(r.URL.Path, "/to/"), http.StatusTemporaryRedirect)
	case strings.Contains(string(body), "unwanted"):
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprintf(w, "no thanks, %s", token)
	}
}

func (in *inbox) requests() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.tokens)
}

// TestThirdPartyForwarder installs somebody else's forwarder with a grant and a
// secret, and shows what it can reach and what it cannot.
func TestThirdPartyForwarder(t *testing.T) {
	granted, other := newInbox(t), newInbox(t)
	in := install(t, "")
	in.must("consent", "revoke", "telemetry")
	folder := buildCourier(t)
	point := func(url string) {
		t.Helper()
		config := fmt.Sprintf("destinations:\n  courier: {plugin: acme.test/courier, settings: {url: %q}}\n", url)
		if err := os.WriteFile(filepath.Join(in.home, "config.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(stdin string, args ...string) (string, int) {
		t.Helper()
		cmd := in.command(args...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	step := func(id, name string) string {
		return fmt.Sprintf(`{"step_id":%q,"ts":"2026-11-23T00:00:00Z","action":"EXTERNAL","name":%q}`+"\n", id, name)
	}

	// Installed without a grant, it can do nothing, and doctor says what helps.
	point(granted.URL + "/in")
	out, code := run("", "plugin", "install", "--dev", folder)
	expect(t, out, code, 0, "requests more than it was granted", "secret=courier-token", "unsigned")
	out, code = run("", "doctor")
	expect(t, out, code, 1, "destination courier", "carl.plugin.grant_denied", "--grant net=")

	out, code = run("", "plugin", "install", "--dev", folder, "--grant", "net="+granted.URL, "--grant", "secret=courier-token")
	expect(t, out, code, 0, "granted   net="+granted.URL)
	out, code = run("", "doctor")
	expect(t, out, code, 1, "courier-token", "carl secret set courier-token")
	out, code = run(courierSecret, "secret", "set", "courier-token", "--stdin")
	expect(t, out, code, 0)
	if strings.Contains(out, courierSecret) {
		t.Error("secret set prints the secret")
	}

	// It has a grant for the network, so it needs consent.
	out, code = run(step("000000000001", "early"), "record", "-", "--json")
	expect(t, out, code, 0, `"discarded":1`)
	out, code = run("", "sync", "status", "--json")
	expect(t, out, code, 0, `"state":"disabled"`)
	in.must("consent", "grant", "telemetry")

	// The server gets the secret, and the guest does not, though it is told.
	out, code = run(step("000000000002", "wanted")+step("000000000003", "unwanted"), "record", "-")
	expect(t, out, code, 0)
	out, code = run("", "sync", "--json", "--deadline", "60s")
	expect(t, out, code, 0, `"pending":0,"acknowledged":1,"dead_letters":1`)
	if want := []string{"Token " + courierSecret, "Token " + courierSecret}; !slices.Equal(granted.tokens, want) {
		t.Errorf("the server saw %q", granted.tokens)
	}
	out, code = run("", "dlq", "list", "--json")
	expect(t, out, code, 0, "no thanks, ")
	if strings.Contains(out, courierSecret) {
		t.Errorf("the guest was told the secret: %s", out)
	}

	// An origin that was not granted is refused in words, and so is a redirect there.
	for i, url := range []string{other.URL + "/in", granted.URL + "/to/" + strings.TrimPrefix(other.URL, "http://") + "/in"} {
		point(url)
		id := fmt.Sprintf("00000000001%d", i)
		out, code = run(step(id, "wanted"), "record", "-")
		expect(t, out, code, 0)
		in.command("sync", "--resume", "courier").Run()
		out, code = run("", "sync", "status")
		expect(t, out, code, 0, "grant", "courier")
		t.Logf("%s", out)
	}
	if n := other.requests(); n != 0 {
		t.Errorf("the server that was not granted got %d requests", n)
	}

	// Pointed to where it may go, all arrives, each under one id.
	point(granted.URL + "/in")
	out, code = run("", "sync", "--resume", "courier", "--json", "--deadline", "60s")
	expect(t, out, code, 0, `"pending":0,"acknowledged":3,"dead_letters":1`)

	// The secret is in one file of the home alone.
	filepath.WalkDir(in.home, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && filepath.Base(path) != "secrets.json" {
			if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), courierSecret) {
				t.Errorf("%s holds the secret", path)
			}
		}
		return nil
	})
}
