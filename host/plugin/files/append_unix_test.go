//go:build unix

package files

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const syncsFolders = true

// TestMain turns the test binary into one of the processes that the tests
// start and kill.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("FILES_TEST_DIR"); os.Getenv("FILES_TEST_ROLE") {
	case "appender":
		os.Exit(appender(dir, os.Getenv("FILES_TEST_NAME")))
	case "limited":
		os.Exit(limited(dir))
	}
	os.Exit(m.Run())
}

// appender appends numbered lines for ever, and prints each number after it
// was acknowledged.
func appender(dir, name string) int {
	d, err := Open(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for n := 0; ; n++ {
		var lines strings.Builder
		for part := range linesPerAppend {
			fmt.Fprintf(&lines, "%s %d %d %s\n", name, n, part, strings.Repeat(name, 100+n%700))
		}
		if err := d.Append(background, "shared.jsonl", []byte(lines.String())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(n)
	}
}

const linesPerAppend = 20

// limited appends what the file size limit cuts short, then what fits.
func limited(dir string) int {
	signal.Ignore(syscall.SIGXFSZ)
	d, err := Open(dir)
	if err != nil {
		return 1
	}
	first := d.Append(background, "a", []byte(strings.Repeat("1", 999)+"\n"))
	limit := syscall.Rlimit{Cur: 1500, Max: 1500}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return 1
	}
	second := d.Append(background, "a", []byte(strings.Repeat("2", 999)+"\n"))
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil {
		return 1
	}
	third := d.Append(background, "a", []byte("3\n"))
	fmt.Printf("%v|%v|%v|%d|%v", first, errors.Is(second, syscall.EFBIG), strings.Contains(second.Error(), dir), info.Size(), third)
	return 0
}

func child(t *testing.T, role, dir, name string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "FILES_TEST_ROLE="+role, "FILES_TEST_DIR="+dir, "FILES_TEST_NAME="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestShortWriteIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	out, err := child(t, "limited", dir, "").Output()
	if err != nil || string(out) != "<nil>|true|false|1000|<nil>" {
		t.Fatalf("the process said %q, %v", out, err)
	}
	if got, want := read(t, filepath.Join(dir, "a")), strings.Repeat("1", 999)+"\n3\n"; got != want {
		t.Errorf("%d bytes, want %d: what was written of a failed append is still there", len(got), len(want))
	}
}

// TestKilledAppenders kills processes that append to one file at once. What
// one had acknowledged is there, whole and unmixed, whenever it was killed.
func TestKilledAppenders(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]int{}
	const generations, writers = 6, 3
	for generation := range generations {
		type result struct {
			name string
			last int
		}
		results := make(chan result, writers)
		for w := range writers {
			name := fmt.Sprintf("w%d-%d", generation, w)
			cmd := child(t, "appender", dir, name)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() {
				last := -1
				scan := bufio.NewScanner(out)
				for scan.Scan() {
					last, _ = strconv.Atoi(scan.Text())
					// Each dies at another moment, the others still at work.
					if last == 5+3*w {
						cmd.Process.Kill()
					}
				}
				cmd.Wait()
				results <- result{name, last}
			}()
		}
		for range writers {
			select {
			case r := <-results:
				acknowledged[r.name] = r.last
			case <-time.After(time.Minute):
				t.Fatal("an appender did not come to its end")
			}
		}
	}
	mustOpenAndAppend(t, dir)

	seen := map[string]int{}
	for i, line := range strings.Split(strings.TrimSuffix(read(t, filepath.Join(dir, "shared.jsonl")), "\n"), "\n") {
		if line == "last" {
			continue
		}
		var name, pad string
		var n, part int
		if _, err := fmt.Sscanf(line, "%s %d %d %s", &name, &n, &part, &pad); err != nil || pad != strings.Repeat(name, 100+n%700) {
			t.Fatalf("line %d is torn or mixed: %.80q", i+1, line)
		}
		// Only the append under way when its writer was killed may be there in part.
		if part != seen[name]%linesPerAppend || n != seen[name]/linesPerAppend {
			t.Fatalf("line %d: %s %d %d after %d lines of its own", i+1, name, n, part, seen[name])
		}
		seen[name]++
	}
	for name, last := range acknowledged {
		if last < 0 {
			t.Errorf("%s acknowledged nothing", name)
		}
		if seen[name] < (last+1)*linesPerAppend {
			t.Errorf("%s acknowledged %d appends, and %d of their lines are there", name, last+1, seen[name])
		}
	}
	if len(acknowledged) != generations*writers {
		t.Errorf("%d appenders ran", len(acknowledged))
	}
}

func mustOpenAndAppend(t *testing.T, dir string) {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mustAppend(t, d, "shared.jsonl", "last\n")
}

func TestAppendRefusesFIFOs(t *testing.T) {
	d, dir := open(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "read"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(filepath.Join(dir, "read"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, name := range []string{"fifo", "read"} {
		// Without O_NONBLOCK this would hang; the test's own timeout would show it.
		if err := d.Append(background, name, []byte("x\n")); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAppendFollowsNoLinkOut(t *testing.T) {
	d, dir := open(t)
	outside := t.TempDir()
	target := filepath.Join(outside, "target")
	if err := os.WriteFile(target, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"absolute": target,
		"relative": "../" + filepath.Base(filepath.Dir(outside)) + "/target",
		"parent":   "../missing",
		"folder":   outside,
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"absolute", "relative", "parent", "folder/target", "folder/new", "folder/new/new"} {
		if err := d.Append(background, name, []byte("2\n")); err == nil {
			t.Errorf("%s was appended to", name)
		}
	}
	if got := read(t, target); got != "1\n" {
		t.Errorf("the file outside holds %q", got)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("outside there are %v, %v", entries, err)
	}
	// The file's folder replaced by a link, after it was opened once.
	mustAppend(t, d, "sub/target", "x\n")
	if err := os.Rename(filepath.Join(dir, "sub"), filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	if err := d.Append(background, "sub/target", []byte("2\n")); err == nil {
		t.Error("a folder that became a link was followed")
	}
}

func TestModes(t *testing.T) {
	d, dir := open(t)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	mustAppend(t, d, "sub/a", "x\n")
	for name, want := range map[string]os.FileMode{"": 0o700, "sub": 0o700, "sub/a": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
}
