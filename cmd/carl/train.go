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
	hasKey   bool
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
			o.hasKey = cmd.Flags().Changed("idempotency-key")
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
	case !o.managed && o.hasKey:
		return refuse("--idempotency-key is for a managed run: add --managed")
	case o.hasKey && !camp.ValidKey(o.key):
		return refuse("--idempotency-key is not 1 to 128 characters of visible ASCII")
	case o.json && !o.managed && !o.dryRun:
		return refuse("--json is about a managed run, and the output of one on this machine is its own: add --managed")
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
	guard := train.NewGuard(os.Environ())
	if err := guard.CheckTexts("the idempotency key", []string{o.key}); err != nil {
		return err
	}
	config, err := a.readTraining(ctx, name, o.backend, guard)
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
	plan, err := train.Translate(ctx, t, config, guard)
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
func (a *app) readTraining(ctx context.Context, name, backend string, guard *train.Guard) (*train.Config, error) {
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
	config, err := train.Parse(text, name, backend, guard)
	var place *yamltree.Error
	if errors.As(err, &place) {
		return nil, &invalidFile{error: err, problems: []problem{{Line: place.Line, Column: place.Column, Message: place.Message}}}
	}
	return config, err
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

// noTranslator says, of a backend that has no translator, which backends have one.
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
	return a.waitForRun(ctx, h, submitted.ID, o.timeout, submitted.Status, o.json, func(run camp.Run) error {
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
	var failed *train.SubmitError
	if !errors.As(err, &failed) {
		return err
	}
	kept := "no run was started"
	if failed.Doubt {
		kept = "whether a run was started is not known; the same command goes on under the same key, and never starts a second"
	}
	var call *camp.CallError
	if ctx.Err() != nil || !errors.As(err, &call) || call.Failure == camp.FailEnded {
		return fault.New(fault.Interrupted, "interrupted").WithKept("%s", kept)
	}
	says := func(code fault.Code, hint string, args ...any) *fault.Error {
		e := fault.New(code, "%w", call).WithKept("%s", kept)
		if call.Hint != "" {
			return e.WithHint("%s", call.Hint)
		}
		return e.WithHint(hint, args...)
	}
	switch call.Failure {
	case camp.FailUnauthorized:
		return says(fault.CampUnauthorized, "run `carl camp login`, then the same command again")
	case camp.FailDenied:
		return says(fault.GateTierDenied, "see what the platform says; `carl entitlements show --refresh` shows what is granted")
	case camp.FailConflict:
		return says(fault.PayloadRefused, "the key was used for another config before: choose another --idempotency-key, or none")
	case camp.FailTooLarge:
		return says(fault.PayloadRefused, "make the config smaller")
	case camp.FailRefused, camp.FailNotFound:
		return says(fault.SubmitFailed, "check `camp.url`, or CARL_CAMP_URL, and `camp.paths` in config.yaml")
	case camp.FailInvalid:
		if len(call.Fields) == 0 {
			return says(fault.PayloadRefused, "see what the platform says; `carl train %s --dry-run` prints what was sent", name)
		}
		return &invalidFile{says(fault.PayloadRefused, "mend the places that are named in the config"), name, a.fieldProblems(ctx, t, config, plan, call.Fields)}
	case camp.FailThrottled, camp.FailUnavailable:
		if call.RetryAfter > 0 {
			return says(fault.SubmitFailed, "run the same command again in %v, as the platform asks", call.RetryAfter)
		}
	}
	return says(fault.SubmitFailed, "run the same command again: it goes on under the same key")
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
		out[i].Message = f.Message
		if f.Path != "" {
			out[i].Message = f.Path + ": " + f.Message
		}
		if pointer, ok := places[f.Path]; ok {
			at := config.At(pointer)
			out[i].Line, out[i].Column, out[i].Pointer = at.Line, at.Column, pointer
		}
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
	environ := os.Environ()
	if _, set := os.LookupEnv("PYTHONUNBUFFERED"); !set {
		// Else its output comes by the page, and its steps with it.
		environ = append(environ, "PYTHONUNBUFFERED=1")
	}
	log := h.LocalLog("local-" + strconv.FormatInt(time.Now().UnixNano(), 36))
	out, errs := log.Stream(), log.Stream()
	local := train.LocalOptions{
		Dir: dir, Environ: environ, Stdin: a.stdin,
		Stdout: io.MultiWriter(a.stdout, out), Stderr: io.MultiWriter(a.stderr, errs),
		Signal: func() os.Signal { return signalFor(ctx) },
	}
	if _, err := plan.Command(local); err != nil {
		return err
	}
	a.patient.Store(true)
	status, err := plan.Run(ctx, local)
	out.Close()
	errs.Close()
	a.leftWork = true
	if err != nil {
		return err
	}
	if status != 0 {
		return &programEnded{fault.New(fault.RunFailed, "%s ended with exit status %d", plan.Entrypoint, status).WithHint("its own output says why"), status}
	}
	return nil
}

// signalFor is what a program gets that carl runs when carl was told to end: the
// same, unless the terminal has told the program as well.
func signalFor(ctx context.Context) os.Signal {
	var told *signalled
	if errors.As(context.Cause(ctx), &told) && told.signal != os.Interrupt {
		return told.signal
	}
	if inForeground() {
		return nil
	}
	return os.Interrupt
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
