package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/term"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/yamltree"
)

// exitNow is os.Exit, named for the one place outside main that may need it:
// a second interrupt.
var exitNow = func(code fault.Exit) { os.Exit(int(code)) }

// report prints an error as cli.md has it: for people at most two lines, for
// programs one JSON object, always on stderr.
func (a *app) report(err error, asJSON bool) {
	if err == nil {
		return
	}
	var file *invalidFile
	if !errors.As(err, &file) {
		file = new(invalidFile)
	}
	if asJSON {
		type body struct {
			Code     fault.Code `json:"code"`
			Message  string     `json:"message"`
			Hint     string     `json:"hint,omitempty"`
			Problems []problem  `json:"problems,omitempty"`
		}
		writeJSON(a.stderr, struct {
			Error body `json:"error"`
		}{body{fault.CodeOf(err), plain(err), fault.HintOf(err), file.problems}})
		return
	}
	if file.name != "" {
		for i, p := range file.problems {
			if i == maxProblems {
				a.warn("%s: and %s more", file.name, count(len(file.problems)-i, "problem"))
				break
			}
			at := file.name
			if p.Line > 0 {
				at = yamltree.Pos{Line: p.Line, Column: p.Column}.In(file.name)
			}
			a.warn("%s: %s", at, p.Message)
		}
	}
	fmt.Fprintf(a.stderr, "carl: %s\n", printable(err.Error()))
	if hint := fault.HintOf(err); hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable(hint))
	}
}

// problem is one thing that is wrong with a file.
type problem struct {
	Line    int    `json:"line,omitzero"` // 0 where the place is not known
	Column  int    `json:"column,omitzero"`
	Pointer string `json:"pointer"` // RFC 6901
	Message string `json:"message"`
}

// invalidFile is an error of a file, with what is wrong with it: for people a line
// each before the error, where it has a name; without one the error says it itself.
type invalidFile struct {
	error
	name     string
	problems []problem
}

func (f *invalidFile) Unwrap() error { return f.error }

// maxProblems bounds how many problems people are told one by one.
const maxProblems = 50

// onlyRead takes back that nothing was recorded, of an error of a command that was
// not going to.
func onlyRead(err error) error {
	var e *fault.Error
	if errors.As(err, &e) && e.Kept == "nothing was recorded" {
		return e.WithKept("")
	}
	return err
}

// plain is an error's message and what was kept, without the code, which
// stands beside it.
func plain(err error) string {
	var e *fault.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if e.Kept == "" {
		return e.Message
	}
	return e.Message + "; " + e.Kept
}

// output is where results go. It keeps the first error of writing, and writes
// nothing more after it, so that no command has to look at every line it prints.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	o.err = err
	return n, err
}

// warn tells people something that does not fail the command.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "carl: %s\n", printable(fmt.Sprintf(format, args...)))
}

// writeJSON writes one JSON object and a line end.
func writeJSON(w io.Writer, v any) error {
	if err := json.MarshalWrite(w, v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true), json.OmitZeroStructFields(false)); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// printable keeps what came from outside from steering a terminal: control
// characters become spaces, so that a message stays on its line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return ' '
		}
		return r
	}, s)
}

// table prints rows in columns, for people.
func table(w io.Writer, header []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
}

// onTerminal says whether w is a terminal; off one there is no bar and no colour.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// count is "1 step", "2 steps".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
