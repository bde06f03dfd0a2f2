package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"carl.camp/carl/host/fault"
)

// app is what every command shares: the streams and the persistent flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	home      string
	logLevel  string
	logFormat string
	offline   bool

	// entered says that a command's own code ran. An error from before that
	// is cobra's, and always one of usage.
	entered bool
	// leftWork asks for the background child once the command is done.
	leftWork bool
}

// interruptGrace is how long a command may take to stop by itself after the
// first interrupt; a second interrupt ends it at once.
const interruptGrace = 10 * time.Second

// run is the whole command: it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) fault.Exit {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	ctx, stop := interruptible(context.Background())
	defer stop()

	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil && !errors.As(err, new(*fault.Error)) {
		err = fault.New(fault.Interrupted, "interrupted")
	}
	if err != nil && !a.entered && !errors.As(err, new(*fault.Error)) {
		err = fault.New(fault.Usage, "%w", err).WithKept("nothing was done")
	}
	a.report(err, slices.Contains(args, "--json"))
	if a.leftWork {
		a.spawnBackgroundSync()
	}
	return fault.ExitOf(err)
}

// interruptible returns a context that the first SIGINT or SIGTERM cancels. A
// second signal, or interruptGrace, ends the process: a command that hangs
// must not need SIGKILL.
func interruptible(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		cancel()
		select {
		case <-signals:
		case <-time.After(interruptGrace):
		}
		exitNow(fault.ExitInterrupted)
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "carl",
		Short: "Record, map and deliver what your programs do; verify, decide and sign what they may do",
		Long: `carl is a small trusted host. It records interaction Steps without ever waiting,
maps them to AXON signals in sandboxed plugins, and delivers them, with consent, at
least once on the wire and once by id.`,
		Example: `  carl camp login --token-stdin < token.txt
  carl consent grant telemetry
  carl record steps.jsonl
  carl sync`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.enter()
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true, DisableDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", "", "the carl home `DIR` (default $CARL_HOME, else ~/.carl)")
	flags.StringVar(&a.logLevel, "log-level", "warn", "log to stderr from this `LEVEL` on: trace, debug, info, warn, error, off")
	flags.StringVar(&a.logFormat, "log-format", "text", "how log lines look: text or json")
	flags.BoolVar(&a.offline, "offline", false, "never touch the network, whatever the config says")
	root.AddCommand(
		a.versionCmd(),
		a.campCmd(),
		a.consentCmd(),
		a.recordCmd(),
		a.axonCmd(),
		a.syncCmd(),
		a.dlqCmd(),
		a.secretCmd(),
		a.pluginCmd(),
		a.doctorCmd(),
		a.completionCmd(),
	)
	root.SetHelpCommand(a.helpCmd(root))
	return root
}

// enter checks the persistent flags and notes that a command's code begins.
func (a *app) enter() error {
	if hclog.LevelFromString(a.logLevel) == hclog.NoLevel {
		return fault.New(fault.Usage, "--log-level %q is not one of trace, debug, info, warn, error, off", a.logLevel)
	}
	if a.logFormat != "text" && a.logFormat != "json" {
		return fault.New(fault.Usage, "--log-format %q is not one of text, json", a.logFormat)
	}
	a.entered = true
	return nil
}

func (a *app) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:       "carl",
		Level:      hclog.LevelFromString(a.logLevel),
		JSONFormat: a.logFormat == "json",
		Output:     a.stderr,
	})
}
