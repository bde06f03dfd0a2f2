//go:build unix

package train

import (
	"os"
	"syscall"
	"time"
)

// stopPatience is how long an interrupted program may take to end by itself: it may
// be writing a checkpoint.
const stopPatience = 30 * time.Second

func exitStatus(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
