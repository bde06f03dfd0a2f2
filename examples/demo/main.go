// Command demo shows carl's main job from end to end, with the real command, a
// real stand-in of the platform on loopback and a home of its own that is gone
// afterwards:
//
//	go run ./examples/demo bin/carl
//
// It fails when what the platform and the local file hold is not exactly what
// was due.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo PATH-TO-CARL")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one showing: a carl command, and a folder that holds all it makes.
type demo struct {
	carl string
	dir  string
	env  []string
	url  string
	tok  string
	// stopPlatform stops the stand-in; a second call does nothing.
	stopPlatform func()
}

func run(ctx context.Context, carl string) (err error) {
	carl, err = filepath.Abs(carl)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carl-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{carl: carl, dir: dir}
	// The demo's own home and nothing of the caller's settings.
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CARL_") && !strings.HasPrefix(kv, "AXON_") && !strings.HasPrefix(kv, "DO_NOT_TRACK=") {
			d.env = append(d.env, kv)
		}
	}
	// Nothing is delivered behind the demo's back: it shows each delivery.
	d.env = append(d.env, "CARL_HOME="+d.path("home"), "CARL_BACKGROUND=off")

	say("a stand-in of the platform, on a free loopback port")
	if err := d.startPlatform(ctx, "127.0.0.1:0"); err != nil {
		return err
	}
	defer func() { d.stopPlatform() }()
	if err := d.configure(); err != nil {
		return err
	}
	return d.show(ctx)
}

func (d *demo) path(elem ...string) string {
	return filepath.Join(append([]string{d.dir}, elem...)...)
}

// startPlatform runs `carl camp dev` until d.stopPlatform is called.
func (d *demo) startPlatform(ctx context.Context, listen string) error {
	hello, stop, err := d.campDev(ctx, listen)
	if err != nil {
		return fmt.Errorf("the stand-in platform: %w", err)
	}
	d.stopPlatform = sync.OnceFunc(stop)
	d.url, d.tok = hello.URL, hello.Token
	d.env = append(d.env, "CARL_CAMP_URL="+d.url)
	fmt.Printf("  it listens on %s\n", d.url)
	return nil
}

// greeting is what `carl camp dev --json` says once it listens.
type greeting struct{ URL, Token string }

func (d *demo) campDev(ctx context.Context, listen string) (hello greeting, stop func(), err error) {
	args := []string{"camp", "dev", "--tier", "paid", "--data", d.path("platform"), "--listen", listen}
	echo("carl", "camp", "dev", "--tier", "paid", "--data", "platform")
	cmd := exec.Command(d.carl, append(args, "--json")...)
	cmd.Env = d.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return hello, nil, err
	}
	if err := cmd.Start(); err != nil {
		return hello, nil, err
	}
	stop = func() {
		cmd.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() { cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-done
		}
	}
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		s, _ := r.ReadString('\n')
		line <- s
		io.Copy(io.Discard, r)
	}()
	select {
	case s := <-line:
		if err := json.Unmarshal([]byte(s), &hello); err != nil || hello.URL == "" {
			stop()
			return hello, nil, fmt.Errorf("it did not say where it listens: %q, stderr: %s", s, stderr.String())
		}
	case <-time.After(20 * time.Second):
		stop()
		return hello, nil, errors.New("it did not start within 20 s")
	case <-ctx.Done():
		stop()
		return hello, nil, ctx.Err()
	}
	return hello, stop, nil
}

// configure writes a home with two destinations: the platform, and a file.
func (d *demo) configure() error {
	if err := os.MkdirAll(d.path("home"), 0o700); err != nil {
		return err
	}
	config := fmt.Sprintf(`destinations:
  camp:    {plugin: carl.camp/forward/camp}
  archive: {plugin: carl.camp/forward/jsonl, settings: {file: signals.jsonl}, grants: {files: %q}}
`, d.path("archive"))
	if err := os.MkdirAll(d.path("archive"), 0o700); err != nil {
		return err
	}
	say("two destinations: the platform, and a local file")
	d.indent([]byte(config))
	return os.WriteFile(d.path("home", "config.yaml"), []byte(config), 0o600)
}

func (d *demo) show(ctx context.Context) error {
	say("log in, and consent to telemetry: without both, nothing leaves")
	if _, err := d.run(ctx, d.tok, "camp", "login", "--token-stdin"); err != nil {
		return err
	}
	if _, err := d.run(ctx, "", "consent", "grant", "telemetry"); err != nil {
		return err
	}

	if err := d.showEntitlements(ctx); err != nil {
		return err
	}

	say("a program that embeds carl: coupled oscillators, trained towards synchrony")
	recorded := d.path("kuramoto.jsonl")
	echo("go", "run", "./examples/kuramoto", "--steps-out", "kuramoto.jsonl")
	if err := d.exec(ctx, "go", "run", "./examples/kuramoto", "--home", d.path("home"), "--steps-out", recorded); err != nil {
		return err
	}

	say("a file of steps as well")
	file := filepath.Join("examples", "demo", "steps.jsonl")
	if _, err := d.run(ctx, "", "record", file); err != nil {
		return err
	}

	say("ship: the mapper and both forwarders run as sandboxed WebAssembly")
	if _, err := d.run(ctx, "", "sync", "--deadline", "60s"); err != nil {
		return err
	}
	if out, err := d.run(ctx, "", "sync", "status"); err != nil {
		return err
	} else {
		d.indent(out)
	}

	say("what arrived, held against what was due")
	if err := d.check(ctx, recorded, file); err != nil {
		return err
	}

	if err := d.showLedger(ctx); err != nil {
		return err
	}
	if err := d.showTraining(ctx); err != nil {
		return err
	}

	say("and the whole installation looks well")
	out, err := d.run(ctx, "", "doctor")
	d.indent(out)
	if err != nil {
		return err
	}
	return d.showGrace(ctx)
}

// run runs carl and returns its standard output; standard error is shown.
func (d *demo) run(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	shown := append([]string{"carl"}, args...)
	for i := range shown {
		shown[i] = d.short(shown[i])
	}
	echo(shown...)
	cmd := exec.CommandContext(ctx, d.carl, args...)
	cmd.Env = d.env
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	d.indent(stderr.Bytes())
	if err != nil {
		d.indent(out)
		return out, fmt.Errorf("carl %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

func (d *demo) exec(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = d.env
	out, err := cmd.CombinedOutput()
	d.indent(out)
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

func say(s string)        { fmt.Printf("\n# %s\n", s) }
func echo(args ...string) { fmt.Printf("$ %s\n", strings.Join(args, " ")) }

// indent shows output, without the name of the folder that nobody will see again.
func (d *demo) indent(out []byte) {
	for _, line := range strings.Split(strings.TrimRight(d.short(string(out)), "\n"), "\n") {
		if line != "" {
			fmt.Println("  " + line)
		}
	}
}

func (d *demo) short(s string) string {
	return strings.ReplaceAll(s, d.dir+string(filepath.Separator), "")
}
