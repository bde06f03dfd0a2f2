package main

import (
	"strings"
	"testing"
	"time"
)

// eventually waits for what another process does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("in vain: %s", what)
}

// expect holds an exit status, and what the output must say.
func expect(t *testing.T, output string, code, want int, parts ...string) {
	t.Helper()
	if code != want {
		t.Errorf("exit status %d, want %d", code, want)
	}
	for _, part := range parts {
		if !strings.Contains(output, part) {
			t.Errorf("the output does not say %q:\n%s", part, output)
		}
	}
}
