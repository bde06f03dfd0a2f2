//go:build windows

package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// nonblock has no use where no FIFO lies in a folder.
const nonblock = 0

// lockPause is the time between two tries for a lock that another process holds.
const lockPause = 2 * time.Millisecond

// The lock covers one byte far beyond the end: a lock on Windows keeps others
// from reading what it covers, and nobody should be kept from reading lines.
var lockAt = windows.Overlapped{Offset: 0xfffffffe, OffsetHigh: 0x7fffffff}

func linkCount(f *os.File, _ os.FileInfo) (uint64, error) {
	var info syscall.ByHandleFileInformation
	if err := syscall.GetFileInformationByHandle(syscall.Handle(f.Fd()), &info); err != nil {
		return 0, err
	}
	return uint64(info.NumberOfLinks), nil
}

func lock(ctx context.Context, f *os.File) error {
	for {
		at := lockAt
		err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, windows.ERROR_LOCK_VIOLATION) && !errors.Is(err, windows.ERROR_IO_PENDING):
			return fmt.Errorf("lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another process holds the file: %w", ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

func unlock(f *os.File) {
	at := lockAt
	windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

// syncFolder has nothing to call on Windows, where a folder's entries are the
// file system's own to keep.
func (d *Dir) syncFolder(string) error { return nil }
