package wasm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"carl.camp/carl/host/plugin/wasm/meter"
	"carl.camp/carl/host/private"
)

const (
	// maxCached bounds how many plugins' compiled code is kept; the longest
	// unused goes first. One takes 5 to 20 MB.
	maxCached = 32
	// sumSuffix names the file that holds an entry's checksum, beside it.
	sumSuffix = ".crc32c"
	// maxEntry bounds one entry of the cache, in bytes: native code is some ten
	// times the size of a module, which is at most 32 MiB.
	maxEntry = 1 << 30
	// abandonedAfter is when a temporary file of wazero's is one that a killed process left.
	abandonedAfter = time.Hour
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// codeCache is the folder that holds the compiled code of one module, metered
// by one version of the meter:
//
//	<cache>/<SHA-256 of the module>-m<version>/wazero-<version>-<arch>-<os>/<key>
//	                                                                      /<key>.crc32c
//	                                    /metered/<pages>
//
// What stands there is executed, so nobody else may be able to write it: the
// folders are checked for owner and mode. wazero itself guards only the code
// by a checksum, not the table of where its functions begin; carl adds one
// over the whole entry, against accidents. The metered module stands beside the
// code, for a limit of so many pages of memory: to make it again takes longer than
// everything else that a load from the cache does.
type codeCache struct {
	dir     string
	entries int  // found intact
	intact  bool // the metered module was read from here
}

// CheckCache says why a folder would not be used as a compilation cache, or
// nil. One that does not exist yet is fine: [Load] makes it.
func CheckCache(dir string) error {
	err := private.CheckDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// openCodeCache makes or checks the folder of one module, and removes entries
// that are damaged. An error says why there is no cache to use.
func openCodeCache(root string, digest [32]byte) (*codeCache, error) {
	if err := private.MkdirAll(root); err != nil {
		return nil, err
	}
	c := &codeCache{dir: filepath.Join(root, hex.EncodeToString(digest[:])+"-m"+meter.Version)}
	if err := private.MkdirAll(c.dir); err != nil {
		return nil, err
	}
	err := c.each(func(dir, name string) error {
		if sumOf(filepath.Join(dir, name)) == nil {
			c.entries++
			return nil
		}
		return remove(filepath.Join(dir, name))
	})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	os.Chtimes(c.dir, now, now) // the last use, for prune
	return c, nil
}

// seal writes the checksums of entries that have none yet, after a compilation.
func (c *codeCache) seal() error {
	return c.each(func(dir, name string) error {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path + sumSuffix); err == nil {
			return nil
		}
		sum, err := checksum(path)
		if err != nil {
			return err
		}
		return private.WriteFile(path+sumSuffix, []byte(sum))
	})
}

// clear removes every entry, and the metered modules.
func (c *codeCache) clear() error {
	c.entries, c.intact = 0, false
	if err := os.RemoveAll(filepath.Join(c.dir, meteredDir)); err != nil {
		return err
	}
	return c.each(func(dir, name string) error { return remove(filepath.Join(dir, name)) })
}

// each visits the entries. It refuses a folder that others could write.
func (c *codeCache) each(visit func(dir, name string) error) error {
	dirs, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		dir := filepath.Join(c.dir, d.Name())
		if err := private.CheckDir(dir); err != nil {
			return err
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, f := range files {
			switch name := f.Name(); {
			case strings.HasSuffix(name, sumSuffix):
			case isKey(name):
				if err := visit(dir, name); err != nil {
					return err
				}
			case strings.HasSuffix(name, ".tmp"):
				if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > abandonedAfter {
					os.Remove(filepath.Join(dir, name))
				}
			}
		}
	}
	return nil
}

// isKey tells whether a file name is one that wazero gives to an entry.
func isKey(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 64
}

// remove deletes an entry and its checksum.
func remove(path string) error {
	for _, p := range []string{path + sumSuffix, path} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sumOf compares an entry with its checksum.
func sumOf(path string) error {
	want, err := private.ReadFile(path+sumSuffix, 64)
	if err != nil {
		return err
	}
	got, err := checksum(path)
	if err != nil {
		return err
	}
	if got != string(want) {
		return errors.New("damaged")
	}
	return nil
}

// checksum is the CRC-32C and the size of a file.
func checksum(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEntry {
		return "", fmt.Errorf("%s is not an entry of the compilation cache", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, io.LimitReader(f, maxEntry))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%08x %d\n", h.Sum32(), n), nil
}

// prune keeps the number of modules in a cache within its bound. It removes
// nothing but what has the form of this cache.
func prune(root string) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	type used struct {
		name string
		at   time.Time
	}
	var modules []used
	for _, e := range entries {
		digest, _, ok := strings.Cut(e.Name(), "-m")
		if info, err := e.Info(); ok && isKey(digest) && e.IsDir() && err == nil {
			modules = append(modules, used{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(modules, func(a, b used) int { return b.at.Compare(a.at) })
	for _, m := range modules[min(len(modules), maxCached):] {
		os.RemoveAll(filepath.Join(root, m.name))
	}
}

// meteredDir is the folder of the metered modules. A file of it ends with the
// CRC-32C of what comes before, in 4 bytes.
const (
	meteredDir = "metered"
	// maxMetered bounds one, in bytes: metering adds a third to a real module, and
	// sixfold to the worst.
	maxMetered = 256 << 20
)

func (c *codeCache) meteredPath(pages uint32) string {
	return filepath.Join(c.dir, meteredDir, strconv.FormatUint(uint64(pages), 10))
}

// metered reads the metered module for a limit of memory. An error says that
// there is none, or none intact.
func (c *codeCache) metered(pages uint32) ([]byte, error) {
	if c.entries == 0 { // then time is not what matters
		return nil, fs.ErrNotExist
	}
	b, err := private.ReadFile(c.meteredPath(pages), maxMetered)
	if err != nil {
		return nil, err
	}
	at := len(b) - crc32.Size
	if at < 0 || crc32.Checksum(b[:at], castagnoli) != le.Uint32(b[at:]) {
		return nil, errors.New("damaged")
	}
	c.intact = true
	return b[:at], nil
}

// keepMetered writes the metered module, unless it was read from there.
func (c *codeCache) keepMetered(pages uint32, module []byte) error {
	if c.intact || len(module) > maxMetered-crc32.Size {
		return nil
	}
	if err := private.MkdirAll(filepath.Join(c.dir, meteredDir)); err != nil {
		return err
	}
	whole := append(make([]byte, 0, len(module)+crc32.Size), module...)
	return private.WriteFile(c.meteredPath(pages), le.AppendUint32(whole, crc32.Checksum(module, castagnoli)))
}
