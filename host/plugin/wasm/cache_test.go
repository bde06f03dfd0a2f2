package wasm

import (
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"carl.camp/carl/host/plugin/wasm/internal/wat"
)

// loadCached loads the mapper in WAT by way of a cache and says whether it was compiled.
func loadCached(t *testing.T, dir string) (compiled int, warnings []string) {
	t.Helper()
	p, err := Load(ctx, wat.Assemble(t, "testdata/mapper.wat"), Config{Name: "m", World: SignalMapper, CacheDir: dir, Compiling: func() { compiled++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	if err := exercise(p); err != nil {
		t.Error(err)
	}
	return compiled, p.Warnings()
}

// cached lists the entries of a cache.
func cached(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "wazero-*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		if isKey(filepath.Base(f)) {
			out = append(out, f)
		}
	}
	return out
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home", "cache")
	if n, warnings := loadCached(t, dir); n != 1 || warnings != nil {
		t.Fatalf("the first load compiled %d times, %q", n, warnings)
	}
	entries := cached(t, dir)
	if len(entries) != 1 {
		t.Fatalf("the cache holds %q", entries)
	}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := loadCached(t, dir); n != 0 {
		t.Fatal("the second load compiled")
	}

	entry := entries[0]
	whole, err := os.ReadFile(entry)
	if err != nil {
		t.Fatal(err)
	}
	change := func(name string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if n, warnings := loadCached(t, dir); n != 1 || warnings != nil {
			t.Errorf("%s: compiled %d times, %q", name, n, warnings)
		}
		if n, _ := loadCached(t, dir); n != 0 {
			t.Errorf("%s: and once more at the next load", name)
		}
	}
	for _, at := range []int{0, 7, 20, 40, len(whole) / 2, len(whole) - 1} { // header, counts, offsets of functions, code
		change("a damaged byte", func() error {
			b := append([]byte{}, whole...)
			b[at] ^= 0x55
			return os.WriteFile(entry, b, 0o600)
		})
	}
	change("a torn entry", func() error { return os.Truncate(entry, int64(len(whole)/2)) })
	change("an empty entry", func() error { return os.Truncate(entry, 0) })
	change("no checksum", func() error { return os.Remove(entry + sumSuffix) })
	change("a damaged checksum", func() error { return os.WriteFile(entry+sumSuffix, []byte("00000000 0\n"), 0o600) })
	change("a huge checksum", func() error { return os.WriteFile(entry+sumSuffix, make([]byte, 1<<20), 0o600) })
	change("a link in its place", func() error {
		os.Remove(entry)
		return os.Symlink("/dev/zero", entry)
	})

	// wazero cannot load this one, and its checksum is right: out with it, and once more.
	if err := os.WriteFile(entry, []byte("something that is not an entry of wazero's, of some length"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := checksum(entry)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(entry+sumSuffix, []byte(sum), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, warnings := loadCached(t, dir); n != 1 || warnings != nil {
		t.Errorf("an entry that does not load: compiled %d times, %q", n, warnings)
	}
	if n, _ := loadCached(t, dir); n != 0 {
		t.Error("an entry that does not load is still there")
	}
}

// TestCacheOthersCouldWrite sees to it that no code is taken from a folder
// that is not the user's alone.
func TestCacheOthersCouldWrite(t *testing.T) {
	fill := func() string {
		dir := filepath.Join(t.TempDir(), "cache")
		if n, _ := loadCached(t, dir); n != 1 {
			t.Fatal("not compiled")
		}
		return dir
	}
	refused := func(name, dir string) {
		t.Helper()
		n, warnings := loadCached(t, dir)
		if n != 1 || len(warnings) == 0 || !strings.Contains(warnings[0], "not cached") {
			t.Errorf("%s: compiled %d times, %q", name, n, warnings)
		}
	}
	dir := fill()
	if err := CheckCache(dir); err != nil {
		t.Error(err)
	}
	os.Chmod(dir, 0o755)
	refused("a folder that others can enter", dir)
	if err := CheckCache(dir); err == nil || !strings.Contains(err.Error(), "0755") {
		t.Errorf("doctor would be told %v", err)
	}
	os.Chmod(dir, 0o700)
	if n, _ := loadCached(t, dir); n != 0 {
		t.Error("a mended folder is not used")
	}
	inner, _ := filepath.Glob(filepath.Join(dir, "*", "wazero-*"))
	os.Chmod(inner[0], 0o777)
	refused("an inner folder that others can write", dir)
	os.Chmod(filepath.Dir(inner[0]), 0o770)
	refused("a middle folder that its group can write", dir)

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(fill(), link); err != nil {
		t.Fatal(err)
	}
	refused("a link to a folder", link)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a file", file)
	if err := CheckCache(filepath.Join(t.TempDir(), "missing")); err != nil {
		t.Errorf("a folder that is still to be made: %v", err)
	}
	if os.Getuid() == 0 {
		dir := fill()
		os.Chown(dir, 12345, 12345)
		refused("a folder of another user", dir)
	}
}

// TestCacheIsShared loads from one cache in many goroutines, while it is empty.
func TestCacheIsShared(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { loadCached(t, dir) })
	}
	wg.Wait()
	loadCached(t, dir) // mends what the others' races may have left
	if n, warnings := loadCached(t, dir); n != 0 || warnings != nil {
		t.Errorf("compiled %d times, %q", n, warnings)
	}
}

func TestCacheIsPruned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if n, _ := loadCached(t, dir); n != 1 {
		t.Fatal("not compiled")
	}
	old, _ := filepath.Glob(filepath.Join(dir, "*-m*"))
	for i := range maxCached + 3 {
		name := strings.Repeat("0", 62) + string(rune('a'+i/16%6)) + string("0123456789abcdef"[i%16])
		if err := os.Mkdir(filepath.Join(dir, name+"-m1"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "somebody's"), 0o700); err != nil {
		t.Fatal(err)
	}
	os.Chtimes(old[0], ctxStart, ctxStart)
	prune(dir)
	left, _ := filepath.Glob(filepath.Join(dir, "*-m*"))
	if len(left) != maxCached {
		t.Errorf("%d are left, want %d", len(left), maxCached)
	}
	if _, err := os.Stat(old[0]); err == nil {
		t.Error("the longest unused is still there")
	}
	if _, err := os.Stat(filepath.Join(dir, "somebody's")); err != nil {
		t.Error(err)
	}
}

// TestMeteredIsCached damages the metered module beside the compiled code: it is
// made and written again, and what was compiled still serves.
func TestMeteredIsCached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	loadCached(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*", meteredDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("metered: %q, %v", files, err)
	}
	file := files[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"gone":    func() error { return os.Remove(file) },
		"empty":   func() error { return os.Truncate(file, 0) },
		"torn":    func() error { return os.Truncate(file, int64(len(whole)/2)) },
		"damaged": func() error { return os.WriteFile(file, append([]byte{1}, whole[1:]...), 0o600) },
		"a link": func() error {
			os.Remove(file)
			return os.Symlink("/dev/zero", file)
		},
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if n, warnings := loadCached(t, dir); n != 0 || warnings != nil {
			t.Errorf("%s: compiled %d times, %q", name, n, warnings)
		}
		if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, info, err)
		} else if b, err := os.ReadFile(file); err != nil || string(b) != string(whole) {
			t.Errorf("%s: the file is not as before: %v", name, err)
		}
	}

	// What passes its checksum and is no module goes with everything else.
	bad := []byte("not a module")
	if err := os.WriteFile(file, le.AppendUint32(bad, crc32.Checksum(bad, castagnoli)), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, warnings := loadCached(t, dir); n != 1 || warnings != nil {
		t.Errorf("no module: compiled %d times, %q", n, warnings)
	}
	if n, _ := loadCached(t, dir); n != 0 {
		t.Error("no module: and once more at the next load")
	}

	// A refused module leaves nothing.
	refused := filepath.Join(t.TempDir(), "cache")
	if _, err := Load(ctx, []byte("no module"), Config{World: SignalMapper, CacheDir: refused}); err == nil {
		t.Fatal("loaded")
	}
	if left, _ := os.ReadDir(refused); len(left) != 0 {
		t.Errorf("a refused module left %v", left)
	}
}
