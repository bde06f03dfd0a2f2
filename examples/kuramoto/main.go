// Command kuramoto trains the couplings of a network of phase oscillators
// towards synchrony, and records what happens through carl. See README.md.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"carl.camp/carl/host/step"
)

func main() {
	var o options
	flag.StringVar(&o.home, "home", "", "the carl home to record in (default $CARL_HOME, else ~/.carl)")
	flag.IntVar(&o.steps, "steps", 200, "training steps to take")
	flag.IntVar(&o.oscillators, "oscillators", 36, "oscillators in the network")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the network and of every start")
	flag.StringVar(&o.stepsOut, "steps-out", "", "write every recorded step, redacted, to this file as well")
	flag.Parse()
	if err := o.check(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "kuramoto:", err)
		os.Exit(2)
	}
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kuramoto:", err)
		os.Exit(1)
	}
}

type options struct {
	home, stepsOut     string
	steps, oscillators int
	seed               uint64
}

// Bounds of the flags: below, there is nothing to synchronise; above, a run
// takes hours.
const (
	fewest, most = 9, 600
	longest      = 100_000
)

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.oscillators < fewest || o.oscillators > most:
		return fmt.Errorf("--oscillators must be %d to %d", fewest, most)
	case o.steps < 1 || o.steps > longest:
		return fmt.Errorf("--steps must be 1 to %d", longest)
	}
	return nil
}

// run opens the home, trains, and closes it.
func run(o options, out io.Writer) (err error) {
	var seen func(step.Step) error
	if o.stepsOut != "" {
		f, failed := os.Create(o.stepsOut)
		if failed != nil {
			return failed
		}
		w := bufio.NewWriter(f)
		defer func() { err = errors.Join(err, w.Flush(), f.Close()) }()
		seen = func(s step.Step) error {
			_, err := w.Write(append(s.AppendJSON(nil), '\n'))
			return err
		}
	}
	h, err := openHost(o.home, seen)
	if err != nil {
		return err
	}
	err = train(o, h.Record, out)
	return errors.Join(err, h.Close())
}
