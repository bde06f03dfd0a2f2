package private

import (
	"io"
	"io/fs"
)

// FS is what durable files need of a file system: one method for each system
// call, so that a model can fail or cut the power at any of them. [OS] is the
// real one; all others are models for tests. Methods may be called from
// several goroutines.
type FS interface {
	// OpenFile opens a file as os.OpenFile does. It fails on a symlink at the
	// last element and does not block on a FIFO; children do not inherit it.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Mkdir makes one folder; it exists durably after SyncDir of its parent.
	Mkdir(name string, perm fs.FileMode) error
	// Rename replaces to by from, atomically; durable after SyncDir.
	Rename(from, to string) error
	// Remove removes a file; durable after SyncDir.
	Remove(name string) error
	// Lstat describes name itself, also when it is a symlink.
	Lstat(name string) (fs.FileInfo, error)
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes creations, renames and removals in a folder durable, where
	// the platform can.
	SyncDir(name string) error
}

// File is an open file of an [FS].
type File interface {
	io.ReaderAt
	// WriteAt writes with one write call where the kernel takes all of p at
	// once; n < len(p) comes with an error.
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Sync makes content and length durable. After an error the file must not
	// be synced again.
	Sync() error
	// TryLock takes the exclusive advisory lock of the file, which ends with
	// Close or with the process. It reports false when another open file,
	// of this process or another, holds it.
	TryLock() (bool, error)
}

// OS returns the real file system. Interrupted system calls are repeated.
func OS() FS { return osFS{} }
