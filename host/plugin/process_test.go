package plugin_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"carl.camp/carl/host/home"
	"carl.camp/carl/host/plugin"
)

// folderVariable makes the test binary, started again, install a folder into a home.
const folderVariable = "CARL_PLUGIN_TEST_INSTALL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(folderVariable); dir != "" {
		if err := install(os.Args[1], dir, len(os.Args) > 2); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// install is one process among several: it installs a folder into a home, once
// or, with another payload each time, until it is killed.
func install(homeDir, dir string, forever bool) error {
	h, err := home.Open(homeDir)
	if err != nil {
		return err
	}
	catalog := plugin.NewCatalog(h, nil)
	for i := 0; ; i++ {
		if forever {
			if err := os.WriteFile(filepath.Join(dir, "plugin.wasm"), fmt.Appendf(nil, "\x00asm %d", i), 0o600); err != nil {
				return err
			}
		}
		if _, err := catalog.InstallDev(context.Background(), dir, plugin.InstallOptions{}); err != nil || !forever {
			return err
		}
		fmt.Println(i)
	}
}

func TestInstallsOfSeveralProcesses(t *testing.T) {
	s := newSite(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const processes = 6
	var wg sync.WaitGroup
	failures := make([]string, processes)
	for i := range processes {
		dir := s.author(fmt.Sprintf("acme.dev/p%d", i), "1.0.0", "", fmt.Sprintf("\x00asm %d", i))
		wg.Go(func() {
			cmd := exec.Command(self, s.home.Paths.Dir)
			cmd.Env = append(os.Environ(), folderVariable+"="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				failures[i] = fmt.Sprintf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	for i, f := range failures {
		if f != "" {
			t.Errorf("process %d: %s", i, f)
		}
		p, err := s.catalog.Resolve(fmt.Sprintf("acme.dev/p%d", i))
		if err != nil || string(p.Module) != fmt.Sprintf("\x00asm %d", i) {
			t.Errorf("plugin %d: %+v, %v", i, p, err)
		}
	}
	if n := len(s.stored()); n != 2*processes {
		t.Errorf("%d files in the store", n)
	}
}

func TestInstallsThatAreKilled(t *testing.T) {
	s := newSite(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := s.author("acme.dev/x", "1.0.0", "", "\x00asm")
	for round := range 8 {
		cmd := exec.Command(self, s.home.Paths.Dir, "forever")
		cmd.Env = append(os.Environ(), folderVariable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last := -1
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if last, err = strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(err)
			}
			if last == round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || last < round {
			t.Fatalf("the process ended by itself after %d installs: %v", last+1, err)
		}
		p, err := s.catalog.Resolve("acme.dev/x")
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got := string(p.Module); got != fmt.Sprintf("\x00asm %d", last) && got != fmt.Sprintf("\x00asm %d", last+1) {
			t.Fatalf("round %d: install %d was acknowledged, and %q is there", round, last, got)
		}
	}
	s.write(dir, "plugin.wasm", "\x00asm after")
	s.install(dir, plugin.InstallOptions{})
	if n := len(s.stored()); n != 2 {
		t.Errorf("%d files in the store", n)
	}
}

func TestAKilledInstallLeavesNothingForGood(t *testing.T) {
	s := newSite(t)
	s.install(s.author("acme.dev/x", "1.0.0", "", "\x00asm x"), plugin.InstallOptions{})
	// What an install leaves that was killed between the store and the lock.
	orphan := fmt.Sprintf("%x", sha256.Sum256([]byte("orphan")))
	if err := os.WriteFile(filepath.Join(s.home.Paths.Store, orphan), []byte("orphan"), 0o444); err != nil {
		t.Fatal(err)
	}
	s.install(s.author("acme.dev/y", "1.0.0", "", "\x00asm y"), plugin.InstallOptions{})
	if slices.Contains(s.stored(), orphan) {
		t.Error("the orphan stays")
	}
	if n := len(s.stored()); n != 4 {
		t.Errorf("%d files in the store", n)
	}
}

// A plugin that is replaced all the time can be loaded all the time.
func TestLoadingWhileAnotherProcessReplaces(t *testing.T) {
	s := newSite(t)
	dir := s.author("acme.dev/x", "1.0.0", "", "\x00asm 0")
	s.install(dir, plugin.InstallOptions{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 30 {
			s.write(dir, "plugin.wasm", fmt.Sprintf("\x00asm %d", i))
			if _, err := s.catalog.InstallDev(context.Background(), dir, plugin.InstallOptions{}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	loads := 0
	for running := true; running; loads++ {
		select {
		case <-done:
			running = false
		default:
		}
		p, err := s.catalog.Resolve("acme.dev/x")
		if err != nil {
			t.Fatalf("load %d: %v", loads, err)
		}
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(p.Module)); got != p.Digest {
			t.Fatalf("load %d: %s is not %s", loads, got, p.Digest)
		}
	}
}

// BenchmarkResolve is what verifying at every load costs, beside the hash alone.
func BenchmarkResolve(b *testing.B) {
	module := bytes.Repeat([]byte("0123456789abcdef"), 2<<20/16)
	work := b.TempDir()
	h, err := home.Open(filepath.Join(work, "home"))
	if err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"plugin.yaml": []byte("name: acme.dev/x\nversion: 1.0.0\nkind: mapper\nruntime: wasm\npayload: p.wasm\n"),
		"p.wasm":      module,
	} {
		if err := os.WriteFile(filepath.Join(work, name), data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	catalog := plugin.NewCatalog(h, nil)
	if _, err := catalog.InstallDev(context.Background(), work, plugin.InstallOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Run("resolve", func(b *testing.B) {
		b.SetBytes(int64(len(module)))
		for b.Loop() {
			if _, err := catalog.Resolve("acme.dev/x"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hash", func(b *testing.B) {
		b.SetBytes(int64(len(module)))
		for b.Loop() {
			sha256.Sum256(module)
		}
	})
}
