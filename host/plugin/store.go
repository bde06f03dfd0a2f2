package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxPayload is what the loader takes at most; the largest plugins in use,
	// JavaScript engines, have 12 MiB.
	maxPayload = 32 << 20

	digestPrefix = "sha256:"
	// storeMode keeps an editor's slip from a file whose name is its content.
	storeMode = 0o444
)

// blob is a file of the store.
type blob struct {
	// Digest is "sha256:" and 64 lowercase hex digits.
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return digestPrefix + hex.EncodeToString(sum[:])
}

func blobOf(data []byte) blob { return blob{Digest: digestOf(data), Size: int64(len(data))} }

func (b blob) valid(most int64) bool {
	name, ok := strings.CutPrefix(b.Digest, digestPrefix)
	return ok && isStoreName(name) && 0 < b.Size && b.Size <= most
}

// isStoreName accepts 64 lowercase hex digits.
func isStoreName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(name) == 2*sha256.Size
}

func (c *Catalog) pathOf(b blob) string {
	return filepath.Join(c.paths.Store, strings.TrimPrefix(b.Digest, digestPrefix))
}

// get returns the bytes of b, which hash to its digest. errors.Is(err,
// fs.ErrNotExist) tells that the store does not have them.
func (c *Catalog) get(name string, b blob) ([]byte, error) {
	data, err := private.ReadFile(c.pathOf(b), maxPayload)
	if err != nil {
		return nil, mismatch(name, "%s cannot be read from the store: %w", b.Digest, err)
	}
	if int64(len(data)) != b.Size || digestOf(data) != b.Digest {
		return nil, mismatch(name, "%s in the store has other bytes", b.Digest)
	}
	return data, nil
}

// stat is what can be said of b without reading it.
func (c *Catalog) stat(b blob) error {
	info, err := os.Lstat(c.pathOf(b))
	if err != nil {
		return fault.New(fault.PluginDigestMismatch, "the store does not have %s: %w", b.Digest, err)
	}
	if !info.Mode().IsRegular() || info.Size() != b.Size {
		return fault.New(fault.PluginDigestMismatch, "%s in the store is not the file that was installed", b.Digest)
	}
	return nil
}

func mismatch(name, format string, args ...any) error {
	return fault.New(fault.PluginDigestMismatch, name+": "+format, args...).
		WithKept("it was not loaded").WithHint("install %s again", name)
}

// put keeps data under its digest. What is there already is believed only
// after it was read.
func (c *Catalog) put(data []byte) (blob, error) {
	b := blobOf(data)
	path := c.pathOf(b)
	if have, err := private.ReadFile(path, maxPayload); err != nil || digestOf(have) != b.Digest {
		if err := private.MkdirAll(c.paths.Store); err != nil {
			return blob{}, err
		}
		if err := private.WriteFile(path, data); err != nil {
			return blob{}, err
		}
	}
	if err := os.Chmod(path, storeMode); err != nil {
		return blob{}, fault.New(fault.IO, "cannot protect %s: %w", path, err)
	}
	return b, nil
}

// sweep removes from the store what no entry of lock names: what was replaced,
// and what an install that ended early left. The caller holds the guard. What
// cannot be removed does no harm and is left for the next time.
func (c *Catalog) sweep(lock *lockFile) {
	entries, err := os.ReadDir(c.paths.Store)
	if err != nil {
		return
	}
	named := make(map[string]bool)
	for _, l := range lock.Plugins {
		for _, b := range l.blobs() {
			named[strings.TrimPrefix(b.Digest, digestPrefix)] = true
		}
	}
	for _, e := range entries {
		if isStoreName(e.Name()) && !named[e.Name()] && e.Type().IsRegular() {
			remove(filepath.Join(c.paths.Store, e.Name()))
		}
	}
}

// remove makes a file writable first where the system would keep it otherwise.
func remove(path string) {
	if err := os.Remove(path); errors.Is(err, fs.ErrPermission) && os.Chmod(path, 0o600) == nil {
		os.Remove(path)
	}
}
