//go:build !wasip1

package log

import "os"

var names = [...]string{trace: "trace", debug: "debug", info: "info", warn: "warn", fault: "error"}

// write goes to standard error in a native build, such as a plugin's own tests.
func write(level int32, message string) {
	os.Stderr.WriteString(names[level] + ": " + message + "\n")
}
