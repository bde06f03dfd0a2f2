package private

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

func openNoFollow(name string, flag int, perm fs.FileMode) (*os.File, error) {
	// No flag refuses a reparse point in one call; in a folder that only this
	// user may write to, looking first is enough.
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errSymlink}
	}
	return os.OpenFile(name, flag, perm)
}

// syncDir does nothing: Windows flushes no folder, and NTFS journals renames.
func syncDir(string) error { return nil }

func datasync(f *os.File) error { return f.Sync() }

func tryLock(f *os.File) (bool, error) {
	// One byte far beyond any content: a lock on Windows forbids reading and
	// writing what it covers.
	at := windows.Overlapped{OffsetHigh: 0x7fffffff}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	}
	return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
}

func unusable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errSymlink)
}

// Owner and mode say nothing on Windows: the profile folder's access list
// keeps other users out.
func owned(fs.FileInfo) error  { return nil }
func closed(fs.FileInfo) error { return nil }
