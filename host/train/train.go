// Package train makes a backend's arguments of a training config, and runs them:
// on the platform, or on this machine.
//
// A config is YAML that a person wrote. Which members it has is the translator's
// to say, a plugin: this package knows of `backend` alone. What the translator
// makes is believed of nobody: the arguments are held against the plugin's own
// schema, and nothing is sent in which a Hugging Face token of the user stands
// (see [Guard]).
//
// A submission is one run, however often its command is repeated (see [Submit]).
package train

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
	"carl.camp/carl/host/yamltree"
)

// DefaultBackend is the backend of a config that names none.
const DefaultBackend = "slime"

// Translator is a plugin that makes a backend's arguments of a config.
type Translator interface {
	// ConfigSchema and ArgsSchema are JSON Schemas: of what it takes, and of what
	// it makes.
	ConfigSchema(ctx context.Context) ([]byte, error)
	ArgsSchema(ctx context.Context) ([]byte, error)
	// Translate makes arguments of a config, one JSON text, or says why not.
	Translate(ctx context.Context, config []byte) (world.Translation, []world.Diagnostic, error)
}

// Config is a training config that was read, and not yet translated.
type Config struct {
	file    string
	root    *yamltree.Node
	backend string
	json    []byte
}

// Parse reads a config, YAML of at most [yamltree.MaxBytes] bytes. file is its name
// in errors; backend, where not "", comes before the one that the config names. The
// error is carl.train.config_invalid with file, line and column, or
// carl.slime.hf_token_leak, which comes before every other that would show a token.
func Parse(text []byte, file, backend string, g *Guard) (*Config, error) {
	c, err := readConfig(text, file, backend)
	if gerr := g.CheckTexts("the backend", []string{backend}); gerr != nil {
		return nil, gerr
	}
	if err != nil {
		if gerr := g.CheckLines(string(text), file); gerr != nil {
			return nil, gerr
		}
		return nil, err
	}
	return c, g.Check(c.json, c.Place)
}

func readConfig(text []byte, file, backend string) (*Config, error) {
	root, err := yamltree.Parse(text, file)
	if err != nil {
		return nil, invalid("%w", err)
	}
	if root.Kind != yamltree.Object {
		return nil, invalid("%s: want a mapping of sections, and found %s", root.In(file), root.Kind)
	}
	c := &Config{file: file, root: root, backend: DefaultBackend}
	if named := root.Member("backend"); named != nil {
		if named.Kind != yamltree.String || named.Text == "" {
			return nil, invalid("%s: backend: want the name of a translator, such as slime or acme.dev/verl, and found %s", named.In(file), named.Kind)
		}
		c.backend = named.Text
	}
	if backend != "" && backend != c.backend {
		// The translator is told nothing of a backend that is not its own.
		c.backend = backend
		members := make([]yamltree.Member, 0, len(root.Members))
		for _, m := range root.Members {
			if m.Name != "backend" {
				members = append(members, m)
			}
		}
		c.root = &yamltree.Node{Pos: root.Pos, Kind: yamltree.Object, Members: members}
	}
	c.json = c.root.AppendJSON(nil)
	return c, nil
}

// Backend is what the config, or who read it, names: `slime`, or the name of a
// translator plugin.
func (c *Config) Backend() string { return c.backend }

// JSON is the config as the translator gets it: numbers keep their spelling.
func (c *Config) JSON() []byte { return c.json }

// Digest is the SHA-256, in hex, of the config in the form of RFC 8785 but with its
// numbers as they were written: comments, order and layout are not in it.
func (c *Config) Digest() string {
	canonical := jsontext.Value(c.json).Clone()
	if err := canonical.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		panic("train: " + err.Error()) // the tree made it
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// At is the place of a JSON Pointer into the config, or of what is there on the
// way to it.
func (c *Config) At(pointer string) yamltree.Pos {
	n, _ := c.root.At(pointer)
	return n.Pos
}

// Place is file:line:column of a JSON Pointer into the config.
func (c *Config) Place(pointer string) string { return c.At(pointer).In(c.file) }

// Problem is a remark about one place of a config.
type Problem struct {
	yamltree.Pos
	// Pointer is a JSON Pointer (RFC 6901) into the config; "" is all of it.
	Pointer string
	Message string
	// Hint says what to do, or is "".
	Hint string
}

// RefusedError is a config that its translator refuses, with all that is wrong.
type RefusedError struct {
	// File is the config, Problems are what is wrong with it.
	File     string
	Problems []Problem

	refusal *fault.Error
}

func (e *RefusedError) Error() string { return e.refusal.Error() }

// Unwrap returns the refusal as a *[fault.Error], without its problems.
func (e *RefusedError) Unwrap() error { return e.refusal }

// Plan is what a config comes to.
type Plan struct {
	Backend string
	// Entrypoint is the backend's program, such as train.py.
	Entrypoint string
	// Args is the backend's arguments, one JSON object; Argv is the same as a
	// command line, without the program.
	Args []byte
	Argv []string
	// Warnings do not keep it from being run.
	Warnings []Problem
	// ConfigDigest is [Config.Digest].
	ConfigDigest string
}

const (
	// maxEntrypoint bounds the name of a backend's program.
	maxEntrypoint = 256
	// maxPayload bounds what a run is, in bytes, as API.md has it; the largest known
	// has 10 KiB.
	maxPayload = 1 << 20
)

// Translate has a translator make arguments of a config, holds them against its
// schema, and keeps the user's token out of them and of what is said about them. The
// error is carl.slime.hf_token_leak, a *[RefusedError] with carl.train.config_invalid where the
// translator refuses the config, carl.plugin.bad_output where what it made is
// nothing that can be run, or the plugin's own failure.
func Translate(ctx context.Context, t Translator, c *Config, g *Guard) (*Plan, error) {
	made, refused, err := t.Translate(ctx, c.json)
	if err != nil {
		return nil, err
	}
	for _, d := range slices.Concat(refused, made.Warnings) {
		if err := g.CheckTexts("what the translator says of it", []string{d.Message + "\n" + d.Hint + "\n" + d.Path}); err != nil {
			return nil, err
		}
	}
	if len(refused) > 0 {
		problems := c.problems(refused)
		slices.SortStableFunc(problems, inOrder)
		things := "1 problem"
		if len(problems) > 1 {
			things = fmt.Sprintf("%d problems", len(problems))
		}
		return nil, &RefusedError{
			File: c.file, Problems: problems,
			refusal: fault.New(fault.TrainConfigInvalid, "%s has %s", c.file, things).WithKept("nothing was sent or run").
				WithHint("mend the lines that are named, then run the same command again"),
		}
	}
	bad := func(format string, args ...any) error {
		return fault.New(fault.PluginBadOutput, "the translator of %q "+format, append([]any{c.backend}, args...)...).WithKept("nothing was sent or run")
	}
	size := len(made.Args)
	for _, arg := range made.Argv {
		size += len(arg)
		if strings.ContainsRune(arg, 0) {
			return nil, bad("returned an argument with a zero byte in it")
		}
	}
	switch {
	case size > maxPayload:
		return nil, bad("returned %d bytes of arguments, and may return %d", size, maxPayload)
	case !printable(made.Entrypoint) || len(made.Entrypoint) > maxEntrypoint:
		return nil, bad("returned an entrypoint that is not one line of 1 to %d bytes", maxEntrypoint)
	}
	schema, err := t.ArgsSchema(ctx)
	if err != nil {
		return nil, err
	}
	if err := validate(schema, made.Args); err != nil {
		return nil, bad("returned arguments that its own schema does not allow: %w", err)
	}
	// Whatever plugin made it.
	if err := g.Check(made.Args, nil); err != nil {
		return nil, err
	}
	if err := g.CheckTexts("the entrypoint that the translator names", []string{made.Entrypoint}); err != nil {
		return nil, err
	}
	if err := g.CheckTexts("of the command line that the translator made, argument", made.Argv); err != nil {
		return nil, err
	}
	return &Plan{
		Backend: c.backend, Entrypoint: made.Entrypoint, Args: made.Args, Argv: made.Argv,
		Warnings: c.problems(made.Warnings), ConfigDigest: c.Digest(),
	}, nil
}

// problems gives the diagnostics of a translator their places: that of the value, or
// of its name where it is the name that is unknown (wit/README.md).
func (c *Config) problems(list []world.Diagnostic) []Problem {
	out := make([]Problem, len(list))
	for i, d := range list {
		at := c.At(d.Path)
		if strings.HasPrefix(d.Message, "unknown ") {
			at = c.root.NameAt(d.Path)
		}
		out[i] = Problem{Pos: at, Pointer: d.Path, Message: d.Message, Hint: d.Hint}
	}
	return out
}

// inOrder is the order of the file; what is about all of it comes last.
func inOrder(a, b Problem) int {
	if whole := a.Pointer == ""; whole != (b.Pointer == "") {
		if whole {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

func printable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' }) < 0
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.TrainConfigInvalid, format, args...).WithKept("nothing was sent or run")
}

var errNotObject = errors.New("they are not one JSON object without duplicate members")
