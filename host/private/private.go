// Package private keeps files that only the user may read: created with mode
// 0600, replaced atomically and durably, moved aside when corrupt, and guarded
// by advisory locks that die with their owner.
//
// # Replacing a file
//
// [WriteFile] creates a temporary file ".carl-tmp-<16 hex digits>" in the same
// folder with O_CREATE|O_EXCL and mode 0600, locks it, writes it, flushes it,
// renames it over the target and flushes the folder. A reader therefore sees
// the old content or the new, never a mixture, at any moment and after a power
// cut; and when WriteFile has returned nil it is the new one.
//
// A writer that is killed leaves its temporary file behind. Nobody holds its
// lock any more, so the next WriteFile in that folder removes it. The lock is
// what tells it from the file of a writer that is still at work.
//
// # Flushing
//
// A failed flush is final. The kernel reports it once and may have dropped the
// pages that it could not write, so a second attempt can succeed without the
// data being there. No function of this package flushes a file again after a
// failure, and callers that hold a [File] must not either.
//
// # Locks
//
// [Lock] and [TryLock] use flock(2), or LockFileEx on Windows, on a file that
// is never removed: removing it would let two owners hold a lock of one name.
// The kernel releases the lock when its owner ends, however it ends.
//
// The functions take a path and work on the real file system; those whose name
// ends in On take the file system too, which tests replace by a model that
// loses power (host/private/crashfs). All may be called from several
// goroutines and processes.
package private

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"carl.camp/carl/host/fault"
)

const (
	fileMode = 0o600
	dirMode  = 0o700

	tempPrefix = ".carl-tmp-"
	// tempDigits is the length of the random part of a temporary name, in hex
	// digits: 64 bits, so that no name is used twice, and removing a file by
	// its name cannot hit one that was made later.
	tempDigits = 16
	// maxAttempts bounds how often a temporary file may be swept away under its
	// writer, in the moments when it exists without its lock.
	maxAttempts = 16
)

var errSwept = errors.New("the temporary file was removed by another process")

// WriteFile replaces the file path by data, mode 0600, atomically and durably.
// The folder must exist. An existing file, or a symlink, of that name is
// replaced, never followed. On an error the old file is untouched, except when
// flushing the folder failed: then either may be there after a power cut.
//
// Errors are *fault.Error: carl.home.unusable where the folder cannot be
// written to, carl.io otherwise.
func WriteFile(path string, data []byte) error { return WriteFileOn(OS(), path, data) }

// WriteFileOn is [WriteFile] on a given file system.
func WriteFileOn(fsys FS, path string, data []byte) error {
	dir := filepath.Dir(path)
	sweep(fsys, dir)
	err := errSwept
	for range maxAttempts {
		if err = replace(fsys, dir, path, data); err != errSwept {
			break
		}
	}
	if err != nil {
		return failed("write", path, err)
	}
	return nil
}

// replace makes one attempt; errSwept asks for another.
func replace(fsys FS, dir, path string, data []byte) error {
	temp := filepath.Join(dir, tempPrefix+randomHex(tempDigits))
	f, err := fsys.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	// A file system without locks still gets atomic files; only the leftovers
	// of killed writers stay there.
	if locked, err := f.TryLock(); err == nil && !locked {
		f.Close()
		return errSwept
	}
	if err = writeAndSync(f, data); err != nil {
		fsys.Remove(temp)
		return err
	}
	// Windows renames no open file, so the lock goes a moment too early.
	if err := fsys.Rename(temp, path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return errSwept
		}
		fsys.Remove(temp)
		return err
	}
	return fsys.SyncDir(dir)
}

func writeAndSync(f File, data []byte) error {
	_, err := f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// sweep removes the temporary files of writers that were killed. What it
// cannot remove it leaves for the next one: it is never a reason not to write.
func sweep(fsys FS, dir string) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !isTemp(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(dir, e.Name())
		f, err := fsys.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		locked, err := f.TryLock()
		f.Close()
		if err == nil && locked {
			fsys.Remove(name)
		}
	}
}

func isTemp(name string) bool {
	digits, ok := strings.CutPrefix(name, tempPrefix)
	if !ok || len(digits) != tempDigits {
		return false
	}
	_, err := hex.DecodeString(digits)
	return err == nil
}

func randomHex(digits int) string {
	b := make([]byte, digits/2)
	rand.Read(b) // never fails: see crypto/rand
	return hex.EncodeToString(b)
}

// ReadFile returns the content of the regular file path, at most max bytes. It
// follows no symlink at the last element and does not wait for a FIFO's writer.
//
// Errors are *fault.Error carl.io; errors.Is(err, fs.ErrNotExist) tells a
// missing file, errors.Is(err, ErrTooLarge) one with more than max bytes.
func ReadFile(path string, max int64) ([]byte, error) { return ReadFileOn(OS(), path, max) }

// ReadFileOn is [ReadFile] on a given file system.
func ReadFileOn(fsys FS, path string, max int64) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, failed("read", path, err)
	}
	defer f.Close()
	data, err := readAll(f, max)
	if err != nil {
		return nil, failed("read", path, err)
	}
	return data, nil
}

func readAll(f File, max int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	if info.Size() > max {
		return nil, &sizeError{info.Size(), max}
	}
	data := make([]byte, info.Size())
	n, err := f.ReadAt(data, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return data[:n], nil
}

var errNotRegular = errors.New("it is not a regular file")

// ErrTooLarge tells a file that is longer than its reader takes.
var ErrTooLarge = errors.New("the file is too large")

type sizeError struct{ size, max int64 }

func (e *sizeError) Error() string {
	return fmt.Sprintf("it is %d bytes long, and at most %d are allowed", e.size, e.max)
}

func (e *sizeError) Is(target error) bool { return target == ErrTooLarge }

// failed names what could not be done to which path. Where it is the folder
// that refuses, the home as a whole is of no use.
func failed(verb, path string, err error) error {
	code := fault.IO
	if unusable(err) {
		code = fault.HomeUnusable
	}
	return fault.New(code, "cannot %s %s: %w", verb, path, cause(err))
}

// cause strips the path that *fs.PathError repeats.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// Unusable reports whether err means that a folder refuses to be used at all:
// a read-only file system, no permission, a symlink or a file in its place.
func Unusable(err error) bool { return unusable(err) }
