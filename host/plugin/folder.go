package plugin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// folder is an author's folder with a plugin.yaml. Files are opened below it
// and nowhere else: a symlink that leads out of it is refused.
type folder struct {
	dir  string // absolute
	root *os.Root
}

func openFolder(dir string) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{dir, root}, nil
}

func (f *folder) close() { f.root.Close() }

// errChanged is reported for a file that is being written at the same time.
var errChanged = errors.New("it changed while it was read")

// read returns the bytes of one file, at most most of them. The file is opened
// once, without waiting for the writer of a FIFO, and what counts afterwards
// is the bytes that were read.
func (f *folder) read(name string, most int64) ([]byte, error) {
	file, err := f.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|nonBlock, 0)
	if err != nil {
		return nil, cause(err)
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return nil, cause(err)
	}
	if !before.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if before.Size() > most {
		return nil, fmt.Errorf("it is larger than %d bytes", most)
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, cause(err)
	}
	after, err := file.Stat()
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(data)) != before.Size() || after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, errChanged
	}
	return data, nil
}

// cause strips the path that the message names already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
