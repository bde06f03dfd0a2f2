package main

import (
	"strings"
	"testing"
)

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
