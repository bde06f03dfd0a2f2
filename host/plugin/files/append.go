package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxPath and MaxDepth bound a path, in bytes and elements: room for a
	// folder a day and a name that says what is in it.
	MaxPath  = 255
	MaxDepth = 8
	// MaxData bounds one append, in bytes: two full batches of events.
	MaxData = 8 << 20
	// maxTorn bounds what is cut off the end of a file. A torn append leaves no
	// more than it would have written, so a longer last line is somebody else's.
	maxTorn = MaxData + 1
	// maxReopen bounds how often a file that is moved away meanwhile is opened again.
	maxReopen = 8
	// maxSettled bounds how many files are remembered as having a durable name.
	maxSettled = 1024
)

// Dir is one granted directory. It is safe for use by several goroutines, and
// several processes may append below one directory at once.
type Dir struct {
	root *os.Root
	sync func(*os.File) error

	mu sync.Mutex
	// settled holds the files whose names are known to be on disk, not only their data.
	settled map[string]os.FileInfo // guarded by mu
}

// Open prepares dir for appends, and makes it, mode 0700, where it is missing.
func Open(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	return &Dir{root: root, sync: (*os.File).Sync, settled: map[string]os.FileInfo{}}, nil
}

// Close lets go of the directory. Appends under way may fail.
func (d *Dir) Close() error { return d.root.Close() }

// Append adds data to the file at name, which it makes, folders included,
// where it is missing; files are 0600 and folders 0700. It returns nil when
// data is on disk. On an error the file is as it was, unless the disk refused
// that too; then the torn rest is cut by the next append.
//
// It waits for other appends to the same file, until ctx ends. Errors name
// the path as the plugin gave it and nothing above it.
func (d *Dir) Append(ctx context.Context, name string, data []byte) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	if len(data) > MaxData {
		return fmt.Errorf("%d bytes are more than the %d of one append", len(data), MaxData)
	}
	if len(data) == 0 {
		return nil
	}
	if data[len(data)-1] != '\n' {
		data = append(bytes.Clone(data), '\n')
	}
	if err := d.append(ctx, name, data); err != nil {
		return fmt.Errorf("append to %q: %w", name, plain(err))
	}
	return nil
}

// plain takes the path off an error of the file system: where the operator's
// directory lies is no plugin's business.
func plain(err error) error {
	if at, ok := err.(*fs.PathError); ok {
		return at.Err
	}
	return err
}

// CheckPath reports what is wrong with the path of a file.
func CheckPath(name string) error {
	if name == "" || len(name) > MaxPath || !utf8.ValidString(name) {
		return fmt.Errorf("a path has 1 to %d bytes of UTF-8", MaxPath)
	}
	elements := strings.Split(name, "/")
	if len(elements) > MaxDepth {
		return fmt.Errorf("%q has more than %d elements", name, MaxDepth)
	}
	for _, e := range elements {
		if e == "" || e == "." || e == ".." {
			return fmt.Errorf("%q is not a plain relative path", name)
		}
		// A backslash or a colon leads elsewhere on Windows, and the same
		// settings should mean the same file everywhere.
		if i := strings.IndexFunc(e, func(r rune) bool { return r == '\\' || r == ':' || !unicode.IsPrint(r) }); i >= 0 {
			return fmt.Errorf("%q has a character that file names do not have everywhere", name)
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("%q is not a plain relative path", name)
	}
	return nil
}

func (d *Dir) append(ctx context.Context, name string, data []byte) error {
	for range maxReopen {
		f, err := d.open(name)
		if err != nil {
			return err
		}
		again, err := d.appendTo(ctx, f, name, data)
		// Closing reports nothing that the fsync has not.
		f.Close()
		if err != nil || !again {
			return err
		}
	}
	return errors.New("the file is moved away again and again")
}

// open opens the file for one append and no longer: a file whose fsync once
// failed has pages that the kernel takes for written, and must not be trusted
// with another through the same descriptor.
func (d *Dir) open(name string) (*os.File, error) {
	flag := os.O_RDWR | os.O_APPEND | nonblock
	f, err := d.root.OpenFile(name, flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if dir := path.Dir(name); dir != "." {
			if err := d.root.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
		}
		f, err = d.root.OpenFile(name, flag|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if err := checkFile(f); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	links, err := linkCount(f, info)
	if err != nil {
		return err
	}
	if links != 1 {
		return fmt.Errorf("the file has %d links, and what is written to it would show elsewhere", links)
	}
	return nil
}

// appendTo writes under the file's lock. It asks to be called again when the
// file is no longer the one of that name.
func (d *Dir) appendTo(ctx context.Context, f *os.File, name string, data []byte) (again bool, err error) {
	if err := lock(ctx, f); err != nil {
		return false, err
	}
	defer unlock(f)
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := d.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, named) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// A link may have been added while the lock was waited for.
	if err := checkFile(f); err != nil {
		return false, err
	}
	// The name comes before the data: an append that is acknowledged must not
	// lie in a file that a power cut leaves without one.
	if err := d.settle(name, mine); err != nil {
		return false, err
	}
	end, err := cutTorn(f, mine.Size())
	if err != nil {
		return false, err
	}
	if n, err := f.Write(data); err != nil {
		if n > 0 {
			err = restore(f, end, err)
		}
		return false, err
	}
	if err := d.sync(f); err != nil {
		return false, restore(f, end, err)
	}
	return false, nil
}

// restore cuts what an append that failed with cause has written. Where that
// fails too, the next append finds a torn line, or whole lines that were not
// acknowledged and come again.
func restore(f *os.File, end int64, cause error) error {
	if err := f.Truncate(end); err != nil {
		return fmt.Errorf("%w; and it could not be undone: %w", plain(cause), plain(err))
	}
	return cause
}

// cutTorn removes what follows the last line feed and returns the new end.
func cutTorn(f *os.File, size int64) (end int64, err error) {
	if size == 0 {
		return 0, nil
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return size, nil
	}
	const step = 64 << 10
	buf := make([]byte, step)
	for end = size; end > 0; {
		from := max(end-step, 0)
		part := buf[:end-from]
		if _, err := f.ReadAt(part, from); err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			end = from + int64(i) + 1
			break
		}
		if end = from; size-end > maxTorn {
			break
		}
	}
	if size-end > maxTorn {
		return 0, errors.New("the last line of the file has no end and is too long to be a torn append; it was left alone")
	}
	return end, f.Truncate(end)
}

// settle makes the name of a file durable, once: its folder may have been
// written by a process that died before it could.
func (d *Dir) settle(name string, info os.FileInfo) error {
	d.mu.Lock()
	known := d.settled[name]
	d.mu.Unlock()
	if known != nil && os.SameFile(known, info) {
		return nil
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if err := d.syncFolder(dir); err != nil {
			return err
		}
		if dir == "." {
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.settled) >= maxSettled {
		clear(d.settled)
	}
	d.settled[name] = info
	return nil
}
