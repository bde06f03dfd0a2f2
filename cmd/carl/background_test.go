package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBackgroundChild shows that a command leaves a child behind which
// delivers, that the next command within the minute starts none, and that none
// is started without consent.
func TestBackgroundChild(t *testing.T) {
	in := install(t, "")
	in.env = slices.DeleteFunc(in.env, func(kv string) bool { return strings.HasPrefix(kv, backgroundVariable+"=") })
	record := func(id string) {
		t.Helper()
		cmd := in.command("record", "-")
		cmd.Stdin = strings.NewReader(`{"step_id":"` + id + `","ts":"2026-11-23T00:00:00Z","action":"EXTERNAL","name":"s"}` + "\n")
		begin := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if took := time.Since(begin); took > backgroundSettle {
			t.Errorf("the command waited %s for its child", took)
		}
	}
	stamp := filepath.Join(in.home, "cache", "background.stamp")

	in.must("consent", "revoke", "telemetry")
	record("000000000001")
	time.Sleep(500 * time.Millisecond)
	if _, err := os.Stat(stamp); err == nil {
		t.Error("a child was started without consent")
	}

	in.must("consent", "grant", "telemetry")
	record("000000000002")
	deadline := time.Now().Add(time.Minute)
	for len(in.server.IDs()) == 0 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if ids := in.server.IDs(); len(ids) != 1 || ids[0] != signalID("000000000002", "action.dispatched") {
		t.Fatalf("the platform holds %q", ids)
	}
	first, err := os.Stat(stamp)
	if err != nil {
		t.Fatal(err)
	}

	record("000000000003")
	time.Sleep(backgroundSettle + time.Second)
	if n := len(in.server.IDs()); n != 1 {
		t.Errorf("a second child delivered within the minute: %d ids", n)
	}
	// Once the minute has passed, a child comes again.
	old := time.Now().Add(-2 * backgroundEvery)
	if err := os.Chtimes(stamp, old, old); err != nil {
		t.Fatal(err)
	}
	record("000000000004")
	for len(in.server.IDs()) < 3 && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
	}
	if n := len(in.server.IDs()); n != 3 {
		t.Errorf("the platform holds %d of 3", n)
	}
	if again, err := os.Stat(stamp); err != nil || !again.ModTime().After(first.ModTime().Add(-time.Hour)) {
		t.Errorf("the stamp was not renewed: %v", err)
	}
	// The child ends by itself: its lock is free for the test's clean-up.
	for range 100 {
		if entries, err := os.ReadDir(filepath.Join(in.home, "state")); err == nil && len(entries) > 0 && !holds(in, "background.lock") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the child did not end")
}

// TestBackgroundRefresh shows that a gate which would like fresher entitlements
// waits for nothing, and leaves a child behind that fetches them: without
// consent, which is about telemetry, and not where nobody is logged in.
func TestBackgroundRefresh(t *testing.T) {
	in := install(t, "")
	in.must("consent", "revoke", "telemetry")
	in.env = slices.DeleteFunc(in.env, func(kv string) bool { return strings.HasPrefix(kv, backgroundVariable+"=") })
	stamp := filepath.Join(in.home, "cache", "background.stamp")
	well := in.env
	in.env = append(in.env, "CARL_CAMP_TOKEN=")
	if _, code := in.gate("--remote"); code != 4 {
		t.Errorf("exit status %d", code)
	}
	in.env = well
	if _, code := in.gate(); code != 4 {
		t.Errorf("exit status %d", code)
	}
	time.Sleep(200 * time.Millisecond)
	if _, err := os.Stat(stamp); err == nil {
		t.Error("a child was started by somebody who is not logged in, or by the local gate")
	}

	if err := in.server.SetTier("paid"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if out, code := in.gate("--remote"); code != 4 {
		t.Errorf("exit status %d: %s", code, out)
	}
	if took := time.Since(began); took > backgroundSettle {
		t.Errorf("the gate waited %s for its child", took)
	}
	for deadline := time.Now().Add(time.Minute); in.server.Summary().Tokens == 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	eventually(t, "the child has stored what it fetched", func() bool {
		out, code := in.gate("--remote")
		return code == 0 && strings.Contains(out, `"by":"grace"`)
	})
	if n := in.server.Summary().Entitlements; n != 1 {
		t.Errorf("the platform was asked %d times", n)
	}
	eventually(t, "the child ends", func() bool { return !holds(in, "background.lock") })
}

// gate asks the gate before managed training.
func (in *installation) gate(flags ...string) (stdout string, code int) {
	in.t.Helper()
	cmd := in.command(append([]string{"gate", "check", "train.slime.managed", "--json"}, flags...)...)
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		in.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// holds reports whether a process has a file of the cache open.
func holds(in *installation, name string) bool {
	procs, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return false
	}
	for _, fd := range procs {
		if to, err := os.Readlink(fd); err == nil && to == filepath.Join(in.home, "cache", name) {
			return true
		}
	}
	return false
}
