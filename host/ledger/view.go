package ledger

import (
	"bytes"
	"io"
	"os"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// view is the files of a ledger as they were at one moment.
type view struct {
	keys    *keys
	head    *head
	headErr error // why there is none
	files   []segmentFile
	others  []archive // closed files that are not among them
}

type segmentFile struct {
	path string
	file private.File
	size int64
	name *archive // what a closed one is called; nil for the open one
}

func (v *view) close() {
	for _, f := range v.files {
		f.file.Close()
	}
}

func (v *view) bytes() (n int64) {
	for _, f := range v.files {
		n += f.size
	}
	return n
}

// firstKept is the first block that a file has; there is a file.
func (v *view) firstKept() (uint64, error) {
	f := v.files[0]
	if f.name != nil {
		return f.name.first, nil
	}
	start := make([]byte, min(f.size, maxLine+1))
	if _, err := f.file.ReadAt(start, 0); err != nil && err != io.EOF {
		return 0, failed("read", f.path, err)
	}
	opener, err := (&scan{keys: v.keys, path: f.path}).opener(start)
	if err != nil {
		return 0, err
	}
	return opener.Seq, nil
}

// view opens all files while nobody appends. It is empty where there is no
// ledger.
func (l *Ledger) view() (*view, error) {
	locked := l.begun()
	if locked {
		lock, err := l.lockWith(private.LockToReadOn)
		if err != nil {
			return nil, err
		}
		defer lock.Unlock()
	}
	v, err := l.openFiles()
	if !locked && l.begun() {
		// Somebody made the first block while this looked.
		if err == nil {
			v.close()
		}
		return l.view()
	}
	if err != nil {
		return nil, err
	}
	if v.headErr != nil {
		v.close()
		return nil, v.headErr
	}
	return v, nil
}

// begun reports whether anybody ever appended: the lock file comes first.
func (l *Ledger) begun() bool {
	_, err := l.fs.Lstat(l.paths.lock())
	return err == nil
}

// openFiles opens all files. What is wrong with the checkpoint is in the view.
func (l *Ledger) openFiles() (v *view, err error) {
	v = new(view)
	opened := v
	defer func() {
		if err != nil {
			opened.close()
		}
	}()
	if v.keys, err = l.loadKeys(); err != nil {
		return nil, err
	}
	archives, err := l.archives()
	if err != nil {
		return nil, err
	}
	kept, others, err := l.kept(v.keys, archives)
	if err != nil {
		return nil, err
	}
	v.others = others
	for _, a := range append(kept, archive{path: l.paths.active()}) {
		path := a.path
		f, err := l.fs.OpenFile(path, os.O_RDONLY, 0)
		if notThere(err) {
			continue
		}
		if err != nil {
			return nil, failed("open", path, err)
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, failed("open", path, err)
		}
		file := segmentFile{path: path, file: f, size: info.Size()}
		if path != l.paths.active() {
			file.name = &a
		}
		v.files = append(v.files, file)
	}
	if v.keys == nil {
		if len(v.files) > 0 {
			return nil, fault.New(fault.LedgerKeyInvalid, "ledger: %s is missing, and with it the keys that the blocks are verified with", l.paths.Key).
				WithHint("restore %s from a copy", l.paths.Key)
		}
		if _, err := l.fs.Lstat(l.paths.head()); err == nil {
			v.headErr = tampered("%s is there, and no block is", l.paths.head())
		}
		return v, nil
	}
	v.head, err = l.readHead(v.keys)
	switch {
	case fault.CodeOf(err) == fault.LedgerTampered:
		v.headErr, err = err, nil
	case err == nil && len(v.files) == 0 && v.head != nil:
		v.headErr = tampered("%s is there, and no block is", l.paths.head())
	}
	return v, err
}

// kept tells which closed files belong to the ledger, by the open file's first
// block: from what it says was kept, up to itself. Others are copies of the open
// file whose making was cut off, files whose removal was, or from a time that the
// open file does not know of.
func (l *Ledger) kept(k *keys, archives []archive) (kept, others []archive, err error) {
	f, err := l.fs.OpenFile(l.paths.active(), os.O_RDONLY, 0)
	if notThere(err) {
		return archives, nil, nil
	}
	if err != nil {
		return nil, nil, failed("open", l.paths.active(), err)
	}
	defer f.Close()
	start := make([]byte, maxLine+1)
	n, err := f.ReadAt(start, 0)
	if err != nil && err != io.EOF {
		return nil, nil, failed("read", l.paths.active(), err)
	}
	line, _, ended := bytes.Cut(start[:n], []byte("\n"))
	b, unsigned, ok := parse(line)
	if !ended || !ok || b.Segment == nil || k == nil || !(&scan{keys: k}).signed(b, unsigned) {
		return archives, nil, nil
	}
	for _, a := range archives {
		if a.first >= b.Seq || a.last < b.Segment.PrunedBefore {
			others = append(others, a)
		} else {
			kept = append(kept, a)
		}
	}
	return kept, others, nil
}
