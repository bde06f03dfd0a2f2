// Package crashfs is a model of a file system that loses power and whose
// processes are killed, for tests of what must survive both.
//
// A [Disk] holds two states. The volatile one is what system calls see: the
// page cache and the directory cache. The durable one is what the platter
// holds. A [Process] is one process's view and implements [private.FS]; several
// may work on one disk at a time. Killing a process loses nothing that a system
// call did, but for the call in which it dies, which may have happened in part.
// A power cut kills all processes and keeps, of what was not flushed, an
// arbitrary part:
//
//   - file content by blocks of 512 bytes, each old or new; where the file grew,
//     zeros stand in for blocks that were lost;
//   - file lengths: any that the file had since its last flush;
//   - folder changes: each creation, rename and removal happened or did not,
//     whole, independently of the others.
//
// That is weaker than what common file systems promise, on purpose. Written
// back in the background, at any time, are blocks of the model's choice.
//
// A flush that fails, by injection, writes back an arbitrary part of the dirty
// blocks and marks all of them clean, as Linux does: a later flush succeeds
// without writing them, while reads still show them.
//
// Every method of [Process] and of its files is one system call with a number.
// A [Fault] makes the call with a given number fail, write less than asked, or
// be the last of its process or of the machine. Symlinks, owners and modes are
// not modelled; renames stay within one folder. Paths are absolute.
package crashfs

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrKilled is what every system call of a process returns after its end.
var ErrKilled = errors.New("the process is dead")

const blockSize = 512

// Disk is the model. Its methods may be called from several goroutines.
type Disk struct {
	mu     sync.Mutex
	choose func(n int) int // guarded by mu
	root   *node
	now    time.Time
	procs  []*Process
}

// New returns an empty disk. Wherever the model is free it calls choose, which
// returns a number from 0 to n-1; a test passes a seeded or a searching source.
func New(choose func(n int) int) *Disk {
	return &Disk{choose: choose, root: newFolder(), now: time.Unix(1_700_000_000, 0)}
}

// Process starts a process. fault is asked before each system call and may
// return nil; it may be nil itself.
func (d *Disk) Process(fault func(Call) *Fault) *Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &Process{d: d, fault: fault}
	d.procs = append(d.procs, p)
	return p
}

// Advance sets the model's clock, which gives files their times, forward.
func (d *Disk) Advance(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

// WriteBack flushes some dirty blocks, as the kernel does in the background.
func (d *Disk) WriteBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root.walk(func(n *node) {
		if !n.dir && d.choose(2) == 0 {
			n.flushSome(d.choose)
		}
	})
}

// PowerCut kills all processes and leaves what the platter holds.
func (d *Disk) PowerCut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerCut()
}

func (d *Disk) powerCut() {
	for _, p := range d.procs {
		p.dead = true
	}
	d.procs = nil
	d.root.recover(d.choose)
}

// node is a file or a folder.
type node struct {
	dir     bool
	mode    fs.FileMode
	modTime time.Time
	holder  *handle // of the lock

	// Files.
	data  []byte       // volatile
	disk  []byte       // durable
	dirty map[int]bool // blocks that differ, or may
	sizes []int        // lengths since the last flush

	// Folders.
	names   map[string]*node // volatile
	durable map[string]*node
	pending []change
}

// change is one folder operation that was not flushed: the names it sets, nil
// meaning that the name goes.
type change map[string]*node

func newFolder() *node {
	return &node{dir: true, mode: fs.ModeDir | 0o700, names: map[string]*node{}, durable: map[string]*node{}}
}

func (n *node) walk(f func(*node)) {
	f(n)
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		n.names[name].walk(f)
	}
}

// recover makes the durable state, and a part of the rest, the only one.
func (n *node) recover(choose func(int) int) {
	n.holder = nil
	if !n.dir {
		n.flushSome(choose)
		n.data = slices.Clone(n.disk)
		n.dirty, n.sizes = nil, nil
		return
	}
	n.flushSomeNames(choose)
	n.pending = nil
	n.names = maps.Clone(n.durable)
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		n.names[name].recover(choose)
	}
}

func (n *node) flushSomeNames(choose func(int) int) {
	for _, c := range n.pending {
		if choose(2) == 0 {
			apply(n.durable, c)
		}
	}
	n.pending = nil
}

func apply(names map[string]*node, c change) {
	for name, to := range c {
		if to == nil {
			delete(names, name)
		} else {
			names[name] = to
		}
	}
}

// change applies a folder operation, volatile for now.
func (n *node) change(c change) {
	apply(n.names, c)
	n.pending = append(n.pending, c)
}

func (n *node) syncNames() {
	for _, c := range n.pending {
		apply(n.durable, c)
	}
	n.pending = nil
}

// write stores p at an offset in the volatile state.
func (n *node) write(p []byte, off int) {
	if len(p) == 0 {
		return
	}
	n.resize(max(len(n.data), off+len(p)))
	copy(n.data[off:], p)
	n.soil(off, off+len(p))
}

func (n *node) resize(size int) {
	if size == len(n.data) {
		return
	}
	if len(n.sizes) == 0 {
		n.sizes = append(n.sizes, len(n.data))
	}
	n.soil(min(size, len(n.data)), max(size, len(n.data)))
	if size < len(n.data) {
		n.data = n.data[:size:size]
	} else {
		n.data = append(n.data, make([]byte, size-len(n.data))...)
	}
	n.sizes = append(n.sizes, size)
}

func (n *node) soil(from, to int) {
	if n.dirty == nil {
		n.dirty = map[int]bool{}
	}
	for b := from / blockSize; b*blockSize < to; b++ {
		n.dirty[b] = true
	}
}

// flush makes the dirty blocks that pick accepts durable, and the length.
func (n *node) flush(size int, pick func() bool) {
	disk := make([]byte, size)
	copy(disk, n.disk)
	for _, b := range slices.Sorted(maps.Keys(n.dirty)) {
		if !pick() {
			continue
		}
		from := b * blockSize
		to := min(from+blockSize, size)
		if from >= to {
			continue
		}
		clear(disk[from:to])
		if from < len(n.data) {
			copy(disk[from:to], n.data[from:])
		}
		if min(from+blockSize, len(n.data)) <= size {
			delete(n.dirty, b)
		}
	}
	n.disk = disk
}

func (n *node) sync() {
	n.flush(len(n.data), func() bool { return true })
	n.dirty, n.sizes = nil, nil
}

// flushSome makes some blocks durable and one of the lengths since the last
// flush; what it leaves stays dirty.
func (n *node) flushSome(choose func(int) int) {
	if len(n.dirty) == 0 && len(n.sizes) == 0 {
		return
	}
	size := len(n.data)
	if len(n.sizes) > 0 {
		size = n.sizes[choose(len(n.sizes))]
	}
	n.flush(size, func() bool { return choose(2) == 0 })
	if len(n.sizes) > 0 {
		n.sizes = []int{size, len(n.data)}
	}
}

// failSync is a flush that fails: some blocks are written, none is dirty after.
func (n *node) failSync(choose func(int) int) {
	n.flushSome(choose)
	n.dirty, n.sizes = nil, nil
	if len(n.disk) != len(n.data) {
		n.sizes = []int{len(n.disk), len(n.data)}
	}
}
