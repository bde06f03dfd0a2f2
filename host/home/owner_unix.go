//go:build unix

package home

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// modesCount tells that owner and mode keep others out.
const modesCount = true

// ownedByUs compares with the effective user. Root gets no exemption: files
// that root leaves in a user's home would lock the user out of it.
func ownedByUs(info fs.FileInfo) (uid uint32, ours bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, st.Uid == uint32(os.Geteuid())
}

func othersMayWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

func othersMayRead(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

func mayEnter(dir string) error { return unix.Access(dir, unix.R_OK|unix.X_OK) }

// mayWrite asks the kernel, which knows about read-only mounts too.
func mayWrite(dir string) error { return unix.Access(dir, unix.W_OK) }

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

func isNotDir(err error) bool { return errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) }
