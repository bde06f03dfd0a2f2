//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// detach gives the child a session of its own, so that neither the terminal's
// hang-up nor a signal to the command's process group ends it.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}
