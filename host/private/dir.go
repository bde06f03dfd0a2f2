package private

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
)

// MkdirAll makes dir and what is missing above it, each folder with mode 0700
// and durably, and then checks dir as [CheckDir] does.
func MkdirAll(dir string) error { return MkdirAllOn(OS(), dir) }

// MkdirAllOn is [MkdirAll] on a given file system.
func MkdirAllOn(fsys FS, dir string) error {
	if err := mkdirAll(fsys, filepath.Clean(dir)); err != nil {
		return fault.New(fault.HomeUnusable, "cannot make the folder %s: %w", dir, cause(err))
	}
	return CheckDirOn(fsys, dir)
}

func mkdirAll(fsys FS, dir string) error {
	if _, err := fsys.Lstat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := mkdirAll(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := fsys.SyncDir(parent); err != nil {
		// The name may never become durable now; the next try makes it anew.
		fsys.Remove(dir)
		return err
	}
	return nil
}

// CheckDir returns nil when dir is a folder, not a symlink to one, belongs to
// this user and lets nobody else in. On Windows, where owner and mode mean
// nothing, only its kind is checked. What stands above dir is not looked at.
//
// Errors are *fault.Error carl.home.unusable; errors.Is(err, fs.ErrNotExist)
// tells a missing folder.
func CheckDir(dir string) error { return CheckDirOn(OS(), dir) }

// CheckDirOn is [CheckDir] on a given file system.
func CheckDirOn(fsys FS, dir string) error {
	info, err := fsys.Lstat(dir)
	if err != nil {
		return fault.New(fault.HomeUnusable, "cannot use the folder %s: %w", dir, cause(err))
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		err = errSymlink
	case !info.IsDir():
		err = errors.New("it is not a folder")
	default:
		if err = owned(info); err != nil {
			break
		}
		if err = closed(info); err != nil {
			return fault.New(fault.HomeUnusable, "cannot use the folder %s: %w", dir, err).
				WithHint("run `chmod 700 %s`", dir)
		}
	}
	if err != nil {
		return fault.New(fault.HomeUnusable, "cannot use the folder %s: %w", dir, err)
	}
	return nil
}

// maxQuarantined bounds how many damaged versions of one file are kept: enough
// to see a pattern, and no growth without end when something damages a file
// again and again.
const maxQuarantined = 8

// Quarantine moves the damaged file path aside, within its folder, and returns
// its new path: "name.ext" becomes "name.corrupt-<UTC time>.ext", the time as
// 20060102T150405.000000000Z. It moves a symlink, not what that points to. The
// oldest of more than 8 such files of one name are removed.
//
// Errors are *fault.Error; errors.Is(err, fs.ErrNotExist) tells that path is gone.
func Quarantine(path string) (string, error) { return QuarantineOn(OS(), path) }

// QuarantineOn is [Quarantine] on a given file system.
func QuarantineOn(fsys FS, path string) (string, error) {
	dir, ext := filepath.Dir(path), filepath.Ext(path)
	head := strings.TrimSuffix(filepath.Base(path), ext) + ".corrupt-"
	aside := filepath.Join(dir, head+time.Now().UTC().Format("20060102T150405.000000000Z")+ext)
	for n := 2; ; n++ {
		_, err := fsys.Lstat(aside)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return "", failed("move aside", path, err)
		}
		aside = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(aside, ext), n, ext)
	}
	if err := fsys.Rename(path, aside); err != nil {
		return "", failed("move aside", path, err)
	}
	prune(fsys, dir, head, ext)
	if err := fsys.SyncDir(dir); err != nil {
		return "", failed("move aside", path, err)
	}
	return aside, nil
}

func prune(fsys FS, dir, head, ext string) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return !strings.HasPrefix(e.Name(), head) || !strings.HasSuffix(e.Name(), ext) || !e.Type().IsRegular()
	})
	// ReadDir sorts by name, and the times in the names sort as they passed.
	for _, e := range entries[:max(0, len(entries)-maxQuarantined)] {
		fsys.Remove(filepath.Join(dir, e.Name()))
	}
}
