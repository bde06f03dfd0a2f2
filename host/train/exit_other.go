//go:build !unix

package train

import (
	"os"
	"time"
)

const stopPatience = 30 * time.Second

func exitStatus(s *os.ProcessState) int { return s.ExitCode() }
