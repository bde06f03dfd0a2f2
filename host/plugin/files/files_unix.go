//go:build unix

package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// nonblock makes opening a FIFO return at once instead of waiting for a reader.
const nonblock = syscall.O_NONBLOCK

// lockPause is the time between two tries for a lock that another process
// holds; that one is busy with an fsync, which takes about as long.
const lockPause = 2 * time.Millisecond

func linkCount(_ *os.File, info os.FileInfo) (uint64, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("the number of links cannot be told")
	}
	return uint64(stat.Nlink), nil
}

func lock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err == unix.EINTR:
			continue
		case err != unix.EWOULDBLOCK:
			return fmt.Errorf("lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another process holds the file: %w", ctx.Err())
		case <-time.After(lockPause):
		}
	}
}

func unlock(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// syncFolder makes the entries of a folder durable.
func (d *Dir) syncFolder(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	err = d.sync(f)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		// Some network and FUSE file systems have no such call for folders.
		return nil
	}
	return err
}
