//go:build unix

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func openNoFollow(name string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, perm)
	// FreeBSD and NetBSD say EMLINK and EFTYPE; there the plain error stands.
	if errors.Is(err, syscall.ELOOP) {
		err = &fs.PathError{Op: "open", Path: name, Err: errSymlink}
	}
	return f, err
}

func syncDir(name string) error {
	d, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	// Some network file systems cannot flush a folder; there is no more to be had.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

func tryLock(f *os.File) (bool, error) {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err {
		case nil:
			return true, nil
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return false, nil
		default:
			return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

// unusable tells whether err means that the folder itself refuses.
func unusable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) ||
		errors.Is(err, syscall.ENOTDIR) || errors.Is(err, errSymlink)
}

// owned returns why the owner of a file is not this user, or nil.
func owned(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if me := os.Geteuid(); int(st.Uid) != me {
		return fmt.Errorf("it belongs to user %d, and this is user %d", st.Uid, me)
	}
	return nil
}

// closed returns why others could enter a folder, or this user cannot, or nil.
func closed(info fs.FileInfo) error {
	switch perm := info.Mode().Perm(); {
	case perm&0o077 != 0:
		return fmt.Errorf("its mode is %04o, and others must be kept out (0700)", perm)
	case perm&0o700 != 0o700:
		return fmt.Errorf("its mode is %04o, and 0700 is needed", perm)
	}
	return nil
}
