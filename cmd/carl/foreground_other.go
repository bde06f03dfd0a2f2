//go:build !unix

package main

// inForeground reports whether a terminal interrupts what carl runs, as consoles do.
func inForeground() bool { return true }
