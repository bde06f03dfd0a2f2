//go:build unix && !linux

package private

import "os"

// On macOS this is F_FULLFSYNC, which reaches the platter where fsync does not.
func datasync(f *os.File) error { return f.Sync() }
