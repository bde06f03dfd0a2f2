package abi

import _ "unsafe" // for go:linkname

// defaultMemoryMiB is what carl gives a plugin whose manifest asks for nothing else.
const defaultMemoryMiB = 64

func init() { LimitMemory(defaultMemoryMiB) }

// LimitMemory tells the collector to stay below three quarters of a plugin's
// memory; the rest is for stacks, for fragments, and for the host's writes.
func LimitMemory(mib int) { setMemoryLimit(int64(mib) << 20 / 4 * 3) }

// setMemoryLimit is what runtime/debug.SetMemoryLimit calls. The package
// itself would bring fmt and os along: 400 KB, six more imports of WASI, and
// a guest that looks for open files before its first call.
//
//go:linkname setMemoryLimit runtime/debug.setMemoryLimit
func setMemoryLimit(limit int64) int64
