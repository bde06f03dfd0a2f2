package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"carl.camp/carl/host"
	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/tier"
	"carl.camp/carl/host/train"
	"carl.camp/carl/host/yamltree"
)

type trainOptions struct {
	managed  bool
	dryRun   bool
	output   string
	wait     bool
	timeout  time.Duration
	key      string
	backend  string
	slimeDir string
	schema   bool
	json     bool
}

func (a *app) trainCmd() *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:   "train CONFIG|-",
		Short: "Train from a config: on the platform, or on this machine",
		Long: `Translates a training config with the translator of its backend (slime, unless it
names another), refuses it with every problem that it has at once, and runs what came
of it: with --managed on the platform, else the backend's program in --slime-dir, whose
output and exit status are passed on.

--dry-run prints what would be sent, and -o argv the command line, one argument a line;
neither touches the network. No Hugging Face token leaves this machine: a config in
which one stands is refused.

A managed run is started once, however often the command is repeated until the platform
has answered. --wait shows its progress until it ends, and exits with 1 if it fails; an
interrupt ends the waiting, not the run.`,
		Example: `  carl train config.yaml --dry-run
  carl train config.yaml -o argv
  carl train config.yaml --managed --wait
  carl train config.yaml --slime-dir ~/slime
  carl train --schema > slime.schema.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.schema {
				return noArgs(cmd, args)
			}
			return oneArg(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.schema {
				return a.trainSchema(cmd.Context(), o.backend)
			}
			o.dryRun = o.dryRun || cmd.Flags().Changed("output")
			return a.train(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.managed, "managed", false, "run it on the platform")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be sent, and do nothing")
	f.StringVarP(&o.output, "output", "o", "json", "print what it comes to as `FORMAT`, json or argv, and do nothing")
	f.BoolVar(&o.wait, "wait", false, "wait for the end of a managed run")
	f.DurationVar(&o.timeout, "timeout", 0, "wait at most this `DURATION`; the run goes on")
	f.StringVar(&o.key, "idempotency-key", "", "start at most one run under this `KEY`, ever")
	f.StringVar(&o.backend, "backend", "", "the `NAME` of the translator, in place of the config's")
	f.StringVar(&o.slimeDir, "slime-dir", "", "the `DIR` of the backend's source, for a run on this machine")
	f.BoolVar(&o.schema, "schema", false, "print the JSON Schema of a config, for editors")
	f.BoolVar(&o.json, "json", false, "print one JSON object about the run")
	cmd.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"json", "argv"}, cobra.ShellCompDirectiveNoFileComp
	})
	cmd.RegisterFlagCompletionFunc("backend", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return a.completePlugins("translator"), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// check refuses flags that mean nothing together.
func (o *trainOptions) check() error {
	refuse := func(format string, args ...any) error {
		return fault.New(fault.Usage, format, args...).WithKept("nothing was done")
	}
	switch {
	case o.output != "json" && o.output != "argv":
		return refuse("-o %q is not one of json, argv", o.output)
	case o.managed && o.slimeDir != "":
		return refuse("--slime-dir is for a run on this machine, and --managed is none")
	case !o.managed && o.wait:
		return refuse("--wait is for a managed run: add --managed")
	case !o.managed && o.key != "":
		return refuse("--idempotency-key is for a managed run: add --managed")
	case o.timeout != 0 && !o.wait:
		return refuse("--timeout says how long --wait waits: add --wait")
	case o.timeout < 0:
		return refuse("--timeout must be longer than nothing")
	}
	return nil
}

func (a *app) train(ctx context.Context, name string, o trainOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	config, err := a.readTraining(ctx, name, o.backend)
	if err != nil {
		return err
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	t, err := h.Translator(ctx, config.Backend())
	if err != nil {
		return a.noTranslator(err, config.Backend())
	}
	defer t.Close()
	plan, err := h.PlanTraining(ctx, t, config)
	var refused *train.RefusedError
	if errors.As(err, &refused) {
		return &invalidFile{err, name, problemsOf(refused.Problems)}
	}
	if err != nil {
		return err
	}
	for _, w := range plan.Warnings {
		a.warn("%s: %s", w.In(name), withHint(w.Message, w.Hint))
	}
	switch {
	case o.dryRun && o.output == "argv":
		return a.printArgv(plan)
	case o.dryRun:
		_, err := a.stdout.Write(append(plan.Payload(), '\n'))
		return err
	}
	// Only now, when all that can be known without the network is known.
	if err := a.mayTrain(ctx, h, o.managed); err != nil {
		return err
	}
	if o.managed {
		return a.trainManaged(ctx, h, t, config, plan, name, o)
	}
	return a.trainHere(ctx, h, plan, o)
}

// readTraining reads a config from a file or standard input.
func (a *app) readTraining(ctx context.Context, name, backend string) (*train.Config, error) {
	in, err := a.openInput(ctx, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, yamltree.MaxBytes+1))
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fault.New(fault.IO, "%s: %w", name, err).WithKept("nothing was sent or run")
	}
	return train.Parse(text, name, backend)
}

func withHint(message, hint string) string {
	if hint == "" {
		return message
	}
	return message + "; " + hint
}

func problemsOf(list []train.Problem) []problem {
	out := make([]problem, len(list))
	for i, p := range list {
		out[i] = problem{Line: p.Line, Column: p.Column, Pointer: p.Pointer, Message: withHint(p.Message, p.Hint)}
	}
	return out
}

// noTranslator says of a backend that there is no translator for it which are there.
func (a *app) noTranslator(err error, backend string) error {
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != fault.PluginNotFound {
		return err
	}
	known := a.completePlugins("translator")
	for i, name := range known {
		known[i] = strings.TrimPrefix(name, "carl.camp/")
	}
	return fault.New(fault.PluginNotFound, "there is no translator for the backend %q", backend).WithKept("nothing was sent or run").
		WithHint("the backends here are %s; `carl plugin install` adds others", strings.Join(known, ", "))
}

// printArgv prints a command line, one argument a line: an argument with a line end
// in it could not be told from two.
func (a *app) printArgv(plan *train.Plan) error {
	var b strings.Builder
	for i, arg := range plan.Argv {
		if strings.ContainsAny(arg, "\n\r") {
			return fault.New(fault.TrainConfigInvalid, "argument %d has a line end in it, which one argument a line cannot say", i+1).
				WithKept("nothing was printed").WithHint("use -o json")
		}
		b.WriteString(arg + "\n")
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// mayTrain asks the gate. For a managed run, which needs the network anyway, the
// platform is asked once where what is cached does not allow it.
func (a *app) mayTrain(ctx context.Context, h *host.Host, managed bool) error {
	if !managed {
		return gateRefusal(h.Check(tier.TrainLocal), false)
	}
	if h.LookRemote(tier.TrainManaged).Allowed {
		return nil
	}
	if _, err := h.RefreshEntitlements(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		switch fault.CodeOf(err) {
		case fault.CampUnauthorized, fault.EntitlementsRefused, fault.CampTokenInvalid, fault.EntitlementsSignatureInvalid, fault.EntitlementsJWKSStale:
			return err // the platform's word, or that it cannot be believed
		}
		a.warn("the entitlements could not be refreshed: %s", reason(err))
	}
	return gateRefusal(h.LookRemote(tier.TrainManaged), true)
}

// trainManaged starts a run on the platform, and waits for it.
func (a *app) trainManaged(ctx context.Context, h *host.Host, t train.Translator, config *train.Config, plan *train.Plan, name string, o trainOptions) error {
	submitted, err := h.SubmitTraining(ctx, plan, o.key, func(err error, pause time.Duration) {
		a.warn("%v; trying again in %v, under the same key", plainWords(err), pause.Round(time.Second))
	})
	a.leftWork = submitted != nil
	a.wantsRefresh = h.RefreshAsked()
	if submitted == nil {
		return a.submitError(ctx, t, config, plan, name, err)
	}
	if submitted.Earlier {
		a.warn("this run was started before, under the same key; no other was")
	}
	switch {
	case !o.json:
		_, err = fmt.Fprintf(a.stdout, "run %s: %s\n", submitted.ID, submitted.Status)
	case !o.wait:
		err = writeJSON(a.stdout, runJSON("carl.train/1", submitted.Run, !submitted.Earlier))
	default:
		a.warn("run %s: %s", submitted.ID, submitted.Status)
	}
	if err != nil {
		return err // nobody was told: the same command says it again
	}
	if err := submitted.Settle(); err != nil {
		a.warn("%s", reason(err))
	}
	if !o.wait {
		if !o.json {
			fmt.Fprintf(a.stderr, "hint: run `carl runs status %s --wait`\n", submitted.ID)
		}
		return nil
	}
	return a.waitForRun(ctx, h, submitted.ID, o.timeout, submitted.Status, func(run camp.Run) error {
		if o.json {
			return writeJSON(a.stdout, runJSON("carl.train/1", run, !submitted.Earlier))
		}
		return a.printRun(run)
	})
}

func plainWords(err error) string {
	var call *camp.CallError
	if errors.As(err, &call) {
		return call.Error()
	}
	return reason(err)
}

// submitError puts the failure of a submission into words.
func (a *app) submitError(ctx context.Context, t train.Translator, config *train.Config, plan *train.Plan, name string, err error) error {
	var call *camp.CallError
	if !errors.As(err, &call) {
		if ctx.Err() != nil {
			return fault.New(fault.Interrupted, "interrupted").WithKept("the same command goes on under the same key: it never starts a second run")
		}
		return err
	}
	switch call.Failure {
	case camp.FailUnauthorized, camp.FailDenied:
		return call.Fault().WithKept("no run was started")
	case camp.FailEnded:
		return fault.New(fault.Interrupted, "interrupted").WithKept("the same command goes on under the same key: it never starts a second run")
	case camp.FailConflict:
		return fault.New(fault.PayloadRefused, "%w", call).WithKept("no other run was started").
			WithHint("the key was used for another config before: choose another --idempotency-key, or none")
	case camp.FailInvalid, camp.FailTooLarge, camp.FailRefused, camp.FailNotFound:
		refused := fault.New(fault.PayloadRefused, "%w", call).WithKept("no run was started")
		if call.Failure != camp.FailInvalid || len(call.Fields) == 0 {
			return refused
		}
		return &invalidFile{refused, name, a.fieldProblems(ctx, t, config, plan, call.Fields)}
	}
	kept := "no run was started"
	if !call.Definite {
		kept = "whether a run was started is not known"
	}
	return fault.New(fault.SubmitFailed, "%w", call).WithKept("%s", kept)
}

// fieldProblems gives what the platform says of parts of a payload their places in
// the config.
func (a *app) fieldProblems(ctx context.Context, t train.Translator, config *train.Config, plan *train.Plan, fields []camp.Field) []problem {
	var pointers []string
	for _, f := range fields {
		pointers = append(pointers, f.Path)
	}
	within, cancel := context.WithTimeout(ctx, traceTime)
	defer cancel()
	places := train.Trace(within, t, config, plan, pointers)
	out := make([]problem, len(fields))
	for i, f := range fields {
		pointer := places[f.Path]
		at := config.At(pointer)
		out[i] = problem{Line: at.Line, Column: at.Column, Pointer: pointer, Message: f.Path + ": " + f.Message}
	}
	return out
}

// traceTime bounds how long a refusal is traced to the config.
const traceTime = 5 * time.Second

// trainHere runs the backend's program on this machine.
func (a *app) trainHere(ctx context.Context, h *host.Host, plan *train.Plan, o trainOptions) error {
	dir := o.slimeDir
	if dir == "" {
		dir = h.SlimeDir()
	}
	log := h.StartLocal("local-" + strconv.FormatInt(time.Now().UnixNano(), 36))
	local := train.LocalOptions{
		Dir: dir, Environ: os.Environ(), Stdin: a.stdin,
		Stdout: io.MultiWriter(a.stdout, log), Stderr: io.MultiWriter(a.stderr, log),
		Told: onTerminal(a.stderr),
	}
	if _, err := plan.Command(local); err != nil {
		return err
	}
	a.patient.Store(true)
	status, err := plan.Run(ctx, local)
	log.Close()
	a.leftWork = true
	if err != nil {
		return err
	}
	if status != 0 {
		return &programEnded{fault.New(fault.RunFailed, "%s ended with exit status %d", plan.Entrypoint, status).WithHint("its own output says why"), status}
	}
	return nil
}

// programEnded is that a program which carl ran ended with another exit status than
// 0, which becomes carl's own.
type programEnded struct {
	error
	status int
}

func (e *programEnded) Unwrap() error { return e.error }

// trainSchema prints the schema of configs.
func (a *app) trainSchema(ctx context.Context, backend string) error {
	if backend == "" {
		backend = train.DefaultBackend
	}
	return a.printSchema(ctx, backend, true, (*host.Translator).ConfigSchema)
}

func (a *app) slimeSchemaCmd() *cobra.Command {
	var pretty bool
	cmd := &cobra.Command{
		Use:     "slime-schema",
		Short:   "Print the JSON Schema of slime's arguments, as a payload holds them",
		Example: "  carl slime-schema --pretty",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.printSchema(cmd.Context(), train.DefaultBackend, pretty, (*host.Translator).ArgsSchema)
		},
	}
	cmd.Flags().BoolVar(&pretty, "pretty", false, "indent it for people")
	return cmd
}

func (a *app) printSchema(ctx context.Context, backend string, pretty bool, schema func(*host.Translator, context.Context) ([]byte, error)) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	t, err := h.Translator(ctx, backend)
	if err != nil {
		return a.noTranslator(err, backend)
	}
	defer t.Close()
	text, err := schema(t, ctx)
	if err != nil {
		return err
	}
	v := jsontext.Value(text)
	if pretty {
		err = v.Indent(jsontext.WithIndent("  "))
	} else {
		err = v.Compact()
	}
	if err != nil {
		return fault.New(fault.PluginBadOutput, "the schema of %q is not JSON", backend)
	}
	_, err = a.stdout.Write(append(v, '\n'))
	return err
}
