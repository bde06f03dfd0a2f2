package private

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// FileLock is a held advisory lock. It ends with Unlock, or with the process.
type FileLock struct{ f File }

// lockPoll is the longest pause between two tries of [Lock]. flock cannot wait
// with a deadline, and a waiter of at most this much is not noticed by people.
const lockPoll = 20 * time.Millisecond

// TryLock takes the exclusive lock of the file path, made with mode 0600 when
// missing, and reports false at once when somebody else holds it: another
// process, or another lock of this one. The folder must exist.
//
// Errors are *fault.Error.
func TryLock(path string) (*FileLock, bool, error) { return TryLockOn(OS(), path) }

// TryLockOn is [TryLock] on a given file system.
func TryLockOn(fsys FS, path string) (*FileLock, bool, error) {
	return tryLockAt(fsys, path, os.O_RDWR|os.O_CREATE)
}

func tryLockAt(fsys FS, path string, flag int) (*FileLock, bool, error) {
	f, err := fsys.OpenFile(path, flag, fileMode)
	if err != nil {
		return nil, false, failed("lock", path, err)
	}
	ok, err := f.TryLock()
	if err != nil || !ok {
		f.Close()
		if err != nil {
			return nil, false, failed("lock", path, err)
		}
		return nil, false, nil
	}
	return &FileLock{f}, true, nil
}

// Lock is [TryLock] that waits until the lock is free or ctx is done, and then
// returns ctx's error.
func Lock(ctx context.Context, path string) (*FileLock, error) { return LockOn(ctx, OS(), path) }

// LockOn is [Lock] on a given file system.
func LockOn(ctx context.Context, fsys FS, path string) (*FileLock, error) {
	return lock(ctx, fsys, path, os.O_RDWR|os.O_CREATE)
}

// LockToReadOn is [LockOn] for who only reads: the file must be there, and may be
// on a disk, or in a folder, that cannot be written to.
func LockToReadOn(ctx context.Context, fsys FS, path string) (*FileLock, error) {
	l, err := lock(ctx, fsys, path, os.O_RDWR)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return lock(ctx, fsys, path, os.O_RDONLY)
	}
	return l, err
}

func lock(ctx context.Context, fsys FS, path string, flag int) (*FileLock, error) {
	pause := time.Millisecond
	for {
		l, ok, err := tryLockAt(fsys, path, flag)
		if err != nil || ok {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, lockPoll)
		}
	}
}

// Unlock releases the lock; a second call does nothing. It is not for
// concurrent use.
func (l *FileLock) Unlock() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
