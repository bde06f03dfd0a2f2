package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
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

	// entered says that a command's own code runs. An error from before that
	// is cobra's, and always one of usage.
	entered bool
	// leftWork asks for the background child once the command is done, if there
	// is consent to what it delivers; wantsRefresh for one that refreshes the
	// entitlements.
	leftWork     bool
	wantsRefresh bool
	// patient says that what runs may take its time to stop: a training that is
	// interrupted may be writing a checkpoint.
	patient atomic.Bool
}

// interruptGrace is how long a command may take to stop by itself after the
// first interrupt; a second interrupt ends it at once.
const interruptGrace = 10 * time.Second

// run is the whole command: it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) fault.Exit {
	results := &output{to: stdout}
	a := &app{stdin: stdin, stdout: results, stderr: stderr}
	ctx, stop := interruptible(context.Background(), &a.patient)
	defer stop()

	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(results)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	err = a.classify(ctx, cmd, err, results.err)
	a.report(err, slices.Contains(args, "--json"))
	if a.leftWork || a.wantsRefresh {
		a.spawnBackgroundSync()
	}
	var ended *programEnded
	if errors.As(err, &ended) {
		return fault.Exit(ended.status)
	}
	return fault.ExitOf(err)
}

// classify gives an error that has no code yet the one that fits where it
// comes from. A result that could not be written fails the command, since
// whoever reads it would take a part for the whole.
func (a *app) classify(ctx context.Context, cmd *cobra.Command, err, written error) error {
	var coded *fault.Error
	switch {
	case errors.As(err, &coded):
		if coded.Code == fault.Usage && coded.Hint == "" {
			return coded.WithHint("run `%s --help`", cmd.CommandPath())
		}
	case written != nil:
		return fault.New(fault.IO, "standard output: %w", written)
	case err == nil:
	case ctx.Err() != nil:
		return fault.New(fault.Interrupted, "interrupted")
	case !a.entered:
		return fault.New(fault.Usage, "%w", err).WithKept("nothing was done").WithHint("run `%s --help`", cmd.CommandPath())
	}
	return err
}

// interruptible returns a context that the first SIGINT or SIGTERM cancels. A
// second signal, or interruptGrace, ends the process: a command that hangs
// must not need SIGKILL.
func interruptible(parent context.Context, patient *atomic.Bool) (context.Context, context.CancelFunc) {
	ctx, cancelCause := context.WithCancelCause(parent)
	cancel := func() { cancelCause(nil) }
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			cancelCause(&signalled{s})
		case <-ctx.Done():
			return
		}
		grace := time.After(interruptGrace)
		if patient.Load() {
			grace = nil
		}
		select {
		case <-signals:
		case <-grace:
		}
		exitNow(fault.ExitInterrupted)
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

// signalled is the cause of a context that a signal has ended.
type signalled struct{ signal os.Signal }

func (s *signalled) Error() string { return s.signal.String() }

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
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.checkLogFlags()
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true, DisableDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", "", "the carl home `DIR` (default $CARL_HOME, else ~/.carl)")
	flags.StringVar(&a.logLevel, "log-level", "warn", "log to stderr from this `LEVEL` on: trace, debug, info, warn, error, off")
	flags.StringVar(&a.logFormat, "log-format", "text", "the `FORMAT` of log lines: text or json")
	flags.BoolVar(&a.offline, "offline", false, "never touch the network, whatever the config says")
	root.AddCommand(
		a.versionCmd(),
		a.campCmd(),
		a.fsmCmd(),
		a.ledgerCmd(),
		a.trainCmd(),
		a.runsCmd(),
		a.resonantCmd(),
		a.slimeSchemaCmd(),
		a.entitlementsCmd(),
		a.gateCmd(),
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
	a.noteEntry(root)
	return root
}

// noteEntry makes every command note that its own code begins: cobra checks
// arguments and flags before that, and some of them after PersistentPreRunE.
func (a *app) noteEntry(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.entered = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		a.noteEntry(sub)
	}
}

func (a *app) checkLogFlags() error {
	if hclog.LevelFromString(a.logLevel) == hclog.NoLevel {
		return fault.New(fault.Usage, "--log-level %q is not one of trace, debug, info, warn, error, off", a.logLevel)
	}
	if a.logFormat != "text" && a.logFormat != "json" {
		return fault.New(fault.Usage, "--log-format %q is not one of text, json", a.logFormat)
	}
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
