//go:build unix

package plugin

import "syscall"

const nonBlock = syscall.O_NONBLOCK
