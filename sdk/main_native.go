//go:build !wasip1

package sdk

import (
	"os"

	"carl.camp/carl/sdk/internal/role"
)

// Main is a plugin's main. A native build cannot serve carl yet: it says what
// the program is and how it is built for carl, and exits 1.
func Main() {
	kind := role.Kind()
	if kind == "" {
		kind = "plugin that registers nothing (call Register from init)"
	}
	os.Stderr.WriteString("This is a carl " + kind + ", and not a program to run by itself.\n" +
		"Build it for carl with\n" +
		"  GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -buildmode=c-shared -ldflags=\"-s -w\" -o plugin.wasm .\n" +
		"and install the folder with\n" +
		"  carl plugin install --dev .\n")
	os.Exit(1)
}

// LimitMemory has no effect in a native build, where the operating system limits the process.
func LimitMemory(mib int) {}
