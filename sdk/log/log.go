// Package log writes to the plugin's log, which the host keeps apart from its
// own, bounds in rate and size, and shows by the level the operator chose.
package log

// Trace, Debug, Info, Warn and Error write one message each. The host has no
// use for a line end in it.
func Trace(message string) { write(trace, message) }

// Debug writes what only the plugin's author wants to see.
func Debug(message string) { write(debug, message) }

// Info writes what went as it should.
func Info(message string) { write(info, message) }

// Warn writes what the operator may want to look at.
func Warn(message string) { write(warn, message) }

// Error writes what went wrong.
func Error(message string) { write(fault, message) }

// The cases of enum log.level.
const (
	trace = iota
	debug
	info
	warn
	fault
)
