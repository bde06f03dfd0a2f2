//go:build unix

package ledger

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"carl.camp/carl/host/fault"
)

const (
	killWriters = 3
	kills       = 16
	// killSegment has the writers close a file every few kills, and prune some; in
	// between all that is kept is looked at.
	killSegment = 48 << 10
)

// TestMain lets the test binary be the processes of these tests.
func TestMain(m *testing.M) {
	dir := os.Getenv("LEDGER_CHILD_HOME")
	switch os.Getenv("LEDGER_CHILD") {
	case "append":
		fmt.Println("failed", appendForever(dir))
		os.Exit(1)
	case "full":
		if err := appendToAFullDisk(dir); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		os.Exit(0)
	case "readonly":
		look(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is this test binary as another process.
func child(role, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEDGER_CHILD="+role, "LEDGER_CHILD_HOME="+dir)
	return cmd
}

// appendForever says when it is about to append, and what was answered.
func appendForever(dir string) error {
	l := Open(Options{Paths: pathsIn(dir), MaxSegment: killSegment})
	for n := 0; ; n++ {
		if n%5 == 4 { // as a new process
			l = Open(Options{Paths: pathsIn(dir), MaxSegment: killSegment})
		}
		var wg sync.WaitGroup
		errs := make([]error, 1+n%3)
		for i := range errs {
			wg.Go(func() {
				b, err := l.Append(func(State) (Entry, error) {
					fmt.Println("deciding")
					return &Note{"n", strings.Repeat("x", 800)}, nil
				})
				if errs[i] = err; err == nil {
					hash := hashOf(b)
					fmt.Printf("answered %d %x\n", b.Seq, hash[:])
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
	}
}

// TestKill kills writers at any moment of their commits, while others are alive.
// All that was answered is there, what is there verifies, and it goes on.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newLedger(t, dir, 0)
	var mu sync.Mutex
	answered := record{}
	type process struct {
		cmd      *exec.Cmd
		deciding chan struct{}
		done     chan struct{}
	}
	start := func() *process {
		p := &process{child("append", dir), make(chan struct{}, 1), make(chan struct{})}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(p.done)
			for r := bufio.NewReader(out); ; {
				line, err := r.ReadString('\n')
				if err != nil {
					return // what the kill cut off was not answered
				}
				fields := strings.Fields(line)
				switch fields[0] {
				case "deciding":
					select {
					case p.deciding <- struct{}{}:
					default:
					}
				case "answered":
					seq, err1 := strconv.ParseUint(fields[1], 10, 64)
					raw, err2 := hex.DecodeString(fields[2])
					mu.Lock()
					if old, ok := answered[seq]; err1 != nil || err2 != nil || ok && old != Hash(raw) {
						t.Errorf("a process says %q, and block %d was %v", line, seq, old)
					}
					answered[seq] = Hash(raw)
					mu.Unlock()
				default:
					t.Errorf("a process says %q", line)
				}
			}
		}()
		return p
	}
	stop := func(p *process) {
		p.cmd.Process.Kill()
		<-p.done
		p.cmd.Wait()
	}
	var writers []*process
	for range killWriters {
		writers = append(writers, start())
	}
	for k := range kills {
		if k%2 == 0 {
			mu.Lock()
			so := maps.Clone(answered)
			mu.Unlock()
			so.holds(t, newLedger(t, dir, killSegment), "in between")
		}
		i := rand.IntN(len(writers))
		select {
		case <-writers[i].deciding: // what was there before
		default:
		}
		select {
		case <-writers[i].deciding: // now it signs, writes, and flushes twice
		case <-writers[i].done:
		}
		sum := [32]byte{}
		for range rand.IntN(30_000) {
			sum = sha256.Sum256(sum[:]) // up to some milliseconds, in which the commit goes on
		}
		stop(writers[i])
		writers[i] = start()
	}
	for _, p := range writers {
		stop(p)
	}
	l := newLedger(t, dir, killSegment)
	r := answered.holds(t, l, "at the end")
	b, err := appendNote(l, "last")
	if err != nil || b.Seq != r.Size && b.Seq != r.Size+1 { // the first block of a file may come before it
		t.Errorf("%+v behind %d blocks, %v", b, r.Size, err)
	}
	if r := answered.holds(t, newLedger(t, dir, killSegment), "behind the last block"); r.Torn != 0 || r.Size != b.Seq+1 && r.Size != b.Seq+2 {
		t.Errorf("%+v", *r)
	}
	if len(answered) < kills {
		t.Errorf("only %d blocks were answered", len(answered))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for _, e := range entries {
		if strings.Contains(e.Name(), ".torn-") {
			torn++
		}
	}
	t.Logf("%d kills, %d blocks, %d answered, %d not, %d torn ends, first kept %d", kills, r.Size, len(answered), int(r.Size)-len(answered), torn, r.FirstSeq)
}

// appendToAFullDisk has the system refuse to let files grow, in the middle of a
// line, at its end, and for all files but the open one, and then have room again.
func appendToAFullDisk(dir string) error {
	path := filepath.Join(dir, activeName)
	l := Open(Options{Paths: pathsIn(dir)})
	for i, room := range []int64{1, 100, 450} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		var was syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			return err
		}
		limit := was
		limit.Cur = uint64(info.Size() + room)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		_, failed := appendNote(l, strings.Repeat("x", 300))
		after, err := os.Stat(path)
		if err != nil {
			return err
		}
		_, again := appendNote(Open(Options{Paths: pathsIn(dir)}), strings.Repeat("x", 300))
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			return err
		}
		if fault.CodeOf(failed) != fault.LedgerFailed || fault.CodeOf(again) != fault.LedgerFailed || after.Size() != info.Size() {
			return fmt.Errorf("with room for %d bytes: %d bytes became %d, %v, %v", room, info.Size(), after.Size(), failed, again)
		}
		if i == 1 {
			l = Open(Options{Paths: pathsIn(dir)})
		}
		if _, err := appendNote(l, "d"); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	return nil
}

// TestDiskFull appends where files may not grow any more: nothing that is half
// written stays, and with room again it goes on.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	l := newLedger(t, dir, 0)
	fill(t, l, 2)
	if out, err := child("full", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r := verify(t, l); r.Size != 4+3 || r.Torn != 0 {
		t.Errorf("%+v", *r)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{edgeName, headName, activeName, lockName, "keys"}; !slices.Equal(names, want) {
		t.Errorf("left are %v", names)
	}
}

// look appends to a ledger, which may fail, and does all that only reads it. It says a
// line of each.
func look(dir string) {
	ctx, l := context.Background(), Open(Options{Paths: pathsIn(dir)})
	say := func(what string, ok bool, err error) { fmt.Printf("%s %v %s %v\n", what, ok, fault.CodeOf(err), err) }
	b, err := appendNote(l, "d")
	say("append", b != nil, err)
	r, err := l.Verify(ctx, nil)
	say("verify", r != nil, err)
	p, err := l.Prove(ctx, 1)
	say("prove", p != nil, err)
	c, err := l.ProveConsistency(ctx, 1)
	say("consistency", c != nil, err)
	k, err := l.Key()
	say("key", k != nil, err)
	out, err := os.MkdirTemp("", "ledger")
	if err == nil {
		defer os.RemoveAll(out)
		r, err = l.Export(ctx, filepath.Join(out, "out"), nil)
	}
	say("export", r != nil && err == nil, err)
	reader, _, err := l.Read(0)
	var lines []Line
	if err == nil {
		lines, err = reader.Next(ctx, 100, 1<<20)
		reader.Close()
	}
	say("read", len(lines) == 4, err)
}

// TestReadOnly has a user look at a ledger, and append to it, who may not write
// the files, or not make new ones beside them.
func TestReadOnly(t *testing.T) {
	for what, modes := range map[string]struct{ folder, files os.FileMode }{
		"files":  {0o700, 0o400},
		"folder": {0o500, 0o600},
		"both":   {0o500, 0o400},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			l := newLedger(t, dir, 0)
			fill(t, l, 2)
			before, err := os.ReadFile(filepath.Join(dir, activeName))
			if err != nil {
				t.Fatal(err)
			}
			cmd := child("readonly", dir)
			unprivileged(t, cmd, dir)
			for _, name := range []string{activeName, headName, edgeName, lockName, keyName} {
				if err := os.Chmod(filepath.Join(dir, name), modes.files); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(dir, modes.folder); err != nil {
				t.Fatal(err)
			}
			out, err := cmd.CombinedOutput()
			os.Chmod(dir, 0o700)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			said := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			if len(said) != 7 || !strings.HasPrefix(said[0], "append false "+string(fault.LedgerFailed)) && !strings.HasPrefix(said[0], "append false "+string(fault.HomeUnusable)) {
				t.Errorf("appending: %s", out)
			}
			after, err := os.ReadFile(filepath.Join(dir, activeName))
			if err != nil || strings.Contains(said[0], "nothing was recorded") && string(after) != string(before) {
				t.Errorf("it says that nothing was recorded, and there are %d bytes more, %v", len(after)-len(before), err)
			}
			// One may look.
			for _, line := range said[1:] {
				if fields := strings.Fields(line); len(fields) < 2 || fields[1] != "true" {
					t.Errorf("looking: %s", line)
				}
			}
			for _, name := range []string{activeName, headName, edgeName, lockName, keyName} {
				os.Chmod(filepath.Join(dir, name), 0o600)
			}
			if b, err := appendNote(newLedger(t, dir, 0), "d"); err != nil {
				t.Errorf("and then: %+v, %v", b, err)
			}
			verify(t, l)
		})
	}
}

// unprivileged has a process run as a user without rights, who owns the folder:
// root may write everywhere.
func unprivileged(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	if err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, nobody, nobody)
	}); err != nil {
		t.Fatal(err)
	}
	for above := filepath.Dir(dir); above != os.TempDir() && len(above) > 1; above = filepath.Dir(above) {
		if err := os.Chmod(above, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Dir = filepath.Join(filepath.Dir(dir), "test"), "/"
	if err := os.WriteFile(cmd.Path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// TestAFileThatWasPutInPlace puts a copy of the open file in its place, as
// somebody does who restores it, while a ledger is at work: it goes on in the
// file that is there.
func TestAFileThatWasPutInPlace(t *testing.T) {
	dir := t.TempDir()
	l, r := newLedger(t, dir, 0), record{}
	appendOne(t, l, r)
	path := filepath.Join(dir, activeName)
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path+".copy", data, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".copy", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	appendOne(t, l, r)
	r.holds(t, newLedger(t, dir, 0), "at the end")
}

// TestSymlinks puts a symlink in the way of each file: nothing is written to what
// it points to.
func TestSymlinks(t *testing.T) {
	for _, name := range []string{activeName, headName, edgeName, lockName, keyName, headName + ".new", edgeName + ".new", "constitutional_ledger.unsynced", "keys"} {
		dir := t.TempDir()
		l := newLedger(t, dir, 0)
		if _, err := appendNote(l, "d"); err != nil {
			t.Fatal(err)
		}
		victim, path := filepath.Join(t.TempDir(), "victim"), filepath.Join(dir, name)
		if err := os.Rename(path, victim); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		} else if err != nil {
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		was, _ := os.ReadFile(victim)
		if err := os.Symlink(victim, path); err != nil {
			t.Fatal(err)
		}
		for i, l := range []*Ledger{l, newLedger(t, dir, 0)} {
			// The key is read once.
			if _, err := appendNote(l, "d"); err == nil && (name == activeName || name == headName || name == lockName || name == keyName && i > 0) {
				t.Errorf("%s is a symlink, and is followed", name)
			} else if err != nil && !strings.Contains(err.Error(), "symlink") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if now, _ := os.ReadFile(victim); string(now) != string(was) {
			t.Errorf("%s: what it points to was changed", name)
		}
	}
}

// TestWhatVerificationRefusesIsNotAppended offers entries that no ledger holds.
func TestWhatVerificationRefusesIsNotAppended(t *testing.T) {
	change := func(f func(d *Decision)) Entry {
		d := decision("b", "d")
		f(d)
		return d
	}
	for what, e := range map[string]Entry{
		"another constitution's verdict": change(func(d *Decision) { d.Constitution = digest("another") }),
		"a verdict in another state":     change(func(d *Decision) { d.From = "x" }),
		"a long verdict":                 change(func(d *Decision) { d.Verdict = strings.Repeat("x", maxText+1) }),
		"bad UTF-8 in a payload":         change(func(d *Decision) { d.Action.Payload = "\xff" }),
		"a line that is too long":        change(func(d *Decision) { d.Action.Payload = strings.Repeat("x", maxLine) }),
		"an action that has no digest":   change(func(d *Decision) { d.Action.Digest = "x" }),
		"a constitution in capitals":     &Constitution{Digest: strings.ToUpper(digest("two"))},
		"a long constitution":            &Constitution{Digest: digest("two"), Name: strings.Repeat("x", maxText+1)},
		"an opener":                      &Segment{Size: 6, Tree: []Hash{{1}, {2}}, Constitution: digest("one"), State: "b"},
		"a rotation that nobody took":    &KeyRotation{NewKey: keyFrom("x").Public().(ed25519.PublicKey)},
		"a long name":                    &Note{"n", strings.Repeat("x", maxText+1)},
		"bad UTF-8":                      &Note{"n", "\xff"},
		"a number that is too large":     &Dropped{From: 1 << 60},
		"a long reason":                  &Recovery{strings.Repeat("x", maxText+1)},
	} {
		t.Run(what, func(t *testing.T) {
			f := ordinary()
			f.files = f.files[:2]
			m := f.make(t)
			fsys := m.image.disk(t)
			l := ledgerOn(fsys, 0)
			_, err := l.Append(func(State) (Entry, error) { return e, nil })
			if fault.CodeOf(err) != fault.LedgerFailed {
				t.Errorf("%v", err)
			}
			if err != nil && !maps.Equal(take(t, fsys, modelHome), m.image) {
				t.Error("the files were changed")
			}
			if _, err := l.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
			if b, err := appendNote(l, "d"); err != nil || b.Seq != 6 {
				t.Errorf("and then: %+v, %v", b, err)
			}
		})
	}
}
