//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// promptly is how soon an interrupted command has to be gone: far below
// interruptGrace, which is for commands that hang.
const promptly = interruptGrace / 2

// interrupted sends SIGINT to a command, and returns its exit status.
func interrupted(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	hanging := time.AfterFunc(promptly, func() {
		t.Errorf("%s did not end on an interrupt", cmd.Args[1])
		cmd.Process.Kill()
	})
	cmd.Wait()
	hanging.Stop()
	return cmd.ProcessState.ExitCode()
}

// TestInterruptedRecording interrupts a recorder that waits for its next line.
// What came before is in the spool already, and the half line is nothing.
func TestInterruptedRecording(t *testing.T) {
	in := install(t, "")
	cmd := in.command("record", "-", "--json")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		fmt.Fprintf(stdin, `{"step_id":"00000000000%d","ts":"2026-11-23T00:00:00Z","action":"EXTERNAL","name":"s"}`+"\n", i)
		eventually(t, "a step is in the spool before the next one comes", func() bool { return in.destination("archive").Pending == i+1 })
	}
	io.WriteString(stdin, `{"action":"EXTERNAL","name":"half`)
	if code := interrupted(t, cmd); code != 130 {
		t.Errorf("exit status %d", code)
	}
	if got, want := stdout.String(), `{"schema":"carl.record/1","recorded":3,"rejected":0,"discarded":0}`+"\n"; got != want {
		t.Errorf("stdout %q", got)
	}
	if !strings.Contains(stderr.String(), `"code":"carl.interrupted","message":"interrupted; 3 steps recorded"`) {
		t.Errorf("stderr %q", stderr.String())
	}
	in.drain()
	if n := len(in.archived()); n != 3 {
		t.Errorf("%d arrived", n)
	}
}

// TestInterruptedSync interrupts a delivery to a destination that accepts the
// connection and never answers. The other destination has its events, and
// nothing is lost.
func TestInterruptedSync(t *testing.T) {
	in := install(t, "")
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	well := in.env
	in.env = append(in.env, "CARL_CAMP_URL=http://"+hole.Addr().String())
	in.input(oneStep, "record", "-")
	for _, args := range [][]string{{"sync"}, {"sync", "--watch"}} {
		cmd := in.command(args...)
		cmd.Stderr = io.Discard
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := hole.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if code := interrupted(t, cmd); code != 130 {
			t.Errorf("%q: exit status %d", args, code)
		}
		conn.Close()
	}
	if d := in.destination("camp"); d.Pending != 1 {
		t.Errorf("%+v", d)
	}
	in.env = well
	in.drain()
	if n, m := len(in.archived()), len(in.server.IDs()); n != 1 || m != 1 {
		t.Errorf("%d and %d arrived", n, m)
	}
}

// TestInterruptedQuestion interrupts commands that wait for more of a value, or
// of a stream.
func TestInterruptedQuestion(t *testing.T) {
	in := install(t, "")
	for _, args := range [][]string{{"camp", "login", "--token-stdin"}, {"secret", "set", "x", "--stdin"}, {"axon", "map", "-"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := in.command(args...)
		cmd.Stdin = r
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "half a val")
		eventually(t, "the command reads", func() bool {
			var unread int32
			_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, r.Fd(), syscall.TIOCINQ, uintptr(unsafe.Pointer(&unread)))
			return errno == 0 && unread == 0
		})
		if code := interrupted(t, cmd); code != 130 {
			t.Errorf("%q: exit status %d", args, code)
		}
		r.Close()
		w.Close()
	}
	for _, name := range []string{"credentials.json", "secrets.json"} {
		if _, err := os.Stat(filepath.Join(in.home, name)); err == nil {
			t.Errorf("%s: half a value was stored", name)
		}
	}
}

// TestBrokenPipe records while the reader of the results is gone: the steps are
// kept all the same.
func TestBrokenPipe(t *testing.T) {
	in := install(t, "")
	cmd := in.command("record", "-", "--json")
	cmd.Stdin = strings.NewReader(oneStep)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd.Stdout = w
	cmd.Run()
	w.Close()
	if cmd.ProcessState.Success() {
		t.Error("nobody could read the result, and the command says that all is well")
	}
	if d := in.destination("archive"); d.Pending != 1 {
		t.Errorf("%+v", d)
	}
}
