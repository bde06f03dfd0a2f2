package crashfs

import (
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"carl.camp/carl/host/private"
)

// Call is one system call that is about to happen.
type Call struct {
	N    int    // from 1, in the process
	Op   string // "open", "mkdir", "rename", "remove", "lstat", "readdir", "syncdir", "read", "write", "stat", "truncate", "sync", "lock", "close"
	Path string
	Size int // of a write or a read
}

// Fault is what happens in place of a system call, or in its course.
type Fault struct {
	// Err is returned, such as syscall.EIO, ENOSPC or EINTR. A sync that fails
	// leaves its file clean and not durable.
	Err error
	// Short is how many bytes a failing write stores all the same.
	Short int
	// Kill ends the process in the call, PowerCut the machine; the call may
	// have happened, in part or not at all.
	Kill, PowerCut bool
}

// Process is the file system as one process sees it.
type Process struct {
	d     *Disk
	fault func(Call) *Fault
	calls int
	dead  bool
	open  []*handle
}

var _ private.FS = (*Process)(nil)

// Kill ends the process: its locks are free, its calls fail with ErrKilled.
func (p *Process) Kill() {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	p.dead = true
	for _, h := range p.open {
		h.release()
	}
	p.open = nil
}

// Calls returns how many system calls were made.
func (p *Process) Calls() int {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return p.calls
}

// call does one system call: run, unless a fault comes first. partly does a
// part of it, before a kill or a failure; it may be nil.
func (p *Process) call(op, path string, size int, run func() error, partly func(*Fault)) error {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if p.dead {
		return ErrKilled
	}
	p.calls++
	var f *Fault
	if p.fault != nil {
		f = p.fault(Call{p.calls, op, path, size})
	}
	if f == nil {
		return wrap(op, path, run())
	}
	if f.Kill || f.PowerCut {
		switch p.d.choose(3) {
		case 0:
		case 1:
			run()
		default:
			if partly != nil {
				partly(&Fault{Short: p.d.choose(size + 1)})
			}
		}
		if p.kill(); f.PowerCut {
			p.d.powerCut()
		}
		return ErrKilled
	}
	if partly != nil {
		partly(f)
	}
	return wrap(op, path, f.Err)
}

func wrap(op, path string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// find returns the node of a path and the folder that it is in; node is nil
// where only the folder exists.
func (d *Disk) find(path string) (parent, n *node, err error) {
	path = filepath.ToSlash(strings.TrimPrefix(path, filepath.VolumeName(path)))
	n = d.root
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		if n == nil {
			return nil, nil, syscall.ENOENT
		}
		if !n.dir {
			return nil, nil, syscall.ENOTDIR
		}
		parent, n = n, n.names[part]
	}
	return parent, n, nil
}

// existing is find for what must be there.
func (d *Disk) existing(path string) (parent, n *node, err error) {
	parent, n, err = d.find(path)
	if err == nil && n == nil {
		err = syscall.ENOENT
	}
	return parent, n, err
}

// OpenFile implements [private.FS].
func (p *Process) OpenFile(name string, flag int, perm fs.FileMode) (private.File, error) {
	var h *handle
	err := p.call("open", name, 0, func() error {
		parent, n, err := p.d.find(name)
		switch {
		case err != nil:
			return err
		case n == nil && flag&os.O_CREATE == 0:
			return syscall.ENOENT
		case n != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
			return syscall.EEXIST
		case n != nil && n.dir:
			return syscall.EISDIR
		}
		if n == nil {
			n = &node{mode: perm, modTime: p.d.now}
			parent.change(change{filepath.Base(name): n})
		}
		h = &handle{p: p, n: n, name: name}
		p.open = append(p.open, h)
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Mkdir implements [private.FS].
func (p *Process) Mkdir(name string, perm fs.FileMode) error {
	return p.call("mkdir", name, 0, func() error {
		parent, n, err := p.d.find(name)
		if err != nil {
			return err
		}
		if n != nil {
			return syscall.EEXIST
		}
		n = newFolder()
		n.mode, n.modTime = fs.ModeDir|perm, p.d.now
		parent.change(change{filepath.Base(name): n})
		return nil
	}, nil)
}

// Rename implements [private.FS].
func (p *Process) Rename(from, to string) error {
	return p.call("rename", from, 0, func() error {
		parent, n, err := p.d.existing(from)
		if err != nil {
			return err
		}
		parent2, _, err := p.d.find(to)
		if err != nil {
			return err
		}
		if parent != parent2 {
			return syscall.EXDEV
		}
		parent.change(change{filepath.Base(from): nil, filepath.Base(to): n})
		return nil
	}, nil)
}

// Remove implements [private.FS].
func (p *Process) Remove(name string) error {
	return p.call("remove", name, 0, func() error {
		parent, n, err := p.d.existing(name)
		if err != nil {
			return err
		}
		if n.dir && len(n.names) > 0 {
			return syscall.ENOTEMPTY
		}
		parent.change(change{filepath.Base(name): nil})
		return nil
	}, nil)
}

// Lstat implements [private.FS].
func (p *Process) Lstat(name string) (info fs.FileInfo, err error) {
	err = p.call("lstat", name, 0, func() error {
		_, n, err := p.d.existing(name)
		if err == nil {
			info = n.info(name)
		}
		return err
	}, nil)
	return info, err
}

// ReadDir implements [private.FS].
func (p *Process) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = p.call("readdir", name, 0, func() error {
		_, n, err := p.d.existing(name)
		if err != nil {
			return err
		}
		if !n.dir {
			return syscall.ENOTDIR
		}
		for _, e := range slices.Sorted(maps.Keys(n.names)) {
			entries = append(entries, fs.FileInfoToDirEntry(n.names[e].info(e)))
		}
		return nil
	}, nil)
	return entries, err
}

// SyncDir implements [private.FS].
func (p *Process) SyncDir(name string) error {
	return p.call("syncdir", name, 0, func() error {
		_, n, err := p.d.existing(name)
		if err == nil {
			n.syncNames()
		}
		return err
	}, func(f *Fault) {
		if _, n, err := p.d.existing(name); err == nil && f.Err != nil {
			n.flushSomeNames(p.d.choose)
		}
	})
}

// handle is an open file.
type handle struct {
	p    *Process
	n    *node
	name string
	shut bool
}

func (h *handle) call(op string, size int, run func() error, partly func(*Fault)) error {
	return h.p.call(op, h.name, size, func() error {
		if h.shut {
			return fs.ErrClosed
		}
		return run()
	}, partly)
}

func (h *handle) ReadAt(b []byte, off int64) (n int, err error) {
	err = h.call("read", len(b), func() error {
		if off < int64(len(h.n.data)) {
			n = copy(b, h.n.data[off:])
		}
		if n < len(b) {
			return io.EOF
		}
		return nil
	}, nil)
	return n, err
}

func (h *handle) WriteAt(b []byte, off int64) (n int, err error) {
	err = h.call("write", len(b), func() error {
		h.n.write(b, int(off))
		h.n.modTime = h.p.d.now
		n = len(b)
		return nil
	}, func(f *Fault) {
		n = min(f.Short, len(b))
		h.n.write(b[:n], int(off))
	})
	return n, err
}

func (h *handle) Stat() (info fs.FileInfo, err error) {
	err = h.call("stat", 0, func() error {
		info = h.n.info(h.name)
		return nil
	}, nil)
	return info, err
}

func (h *handle) Truncate(size int64) error {
	return h.call("truncate", 0, func() error {
		h.n.resize(int(size))
		h.n.modTime = h.p.d.now
		return nil
	}, nil)
}

func (h *handle) Sync() error {
	return h.call("sync", 0, func() error {
		h.n.sync()
		return nil
	}, func(f *Fault) {
		if f.Err != nil {
			h.n.failSync(h.p.d.choose)
		} else {
			h.n.flushSome(h.p.d.choose)
		}
	})
}

func (h *handle) TryLock() (ok bool, err error) {
	err = h.call("lock", 0, func() error {
		if ok = h.n.holder == nil || h.n.holder == h; ok {
			h.n.holder = h
		}
		return nil
	}, nil)
	return ok, err
}

// Close frees the lock even where the call fails, as close(2) does.
func (h *handle) Close() error {
	return h.call("close", 0, func() error {
		h.release()
		h.shut = true
		h.p.open = slices.DeleteFunc(h.p.open, func(o *handle) bool { return o == h })
		return nil
	}, func(*Fault) { h.release() })
}

func (h *handle) release() {
	if h.n.holder == h {
		h.n.holder = nil
	}
}

// info is a file's description. It has no Sys: the model has no owners.
type info struct {
	name    string
	size    int64
	mode    fs.FileMode
	modTime time.Time
}

func (n *node) info(name string) info {
	return info{filepath.Base(name), int64(len(n.data)), n.mode, n.modTime}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.modTime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
