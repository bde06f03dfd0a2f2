package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"carl.camp/carl/host"
	"carl.camp/carl/host/step"
)

// openHost opens carl's home so that recorded steps are delivered while the
// program runs. seen may be nil.
func openHost(home string, seen func(step.Step) error) (*host.Host, error) {
	return host.Open(host.Options{Home: home, OnStep: seen}, host.BackgroundSync())
}

// How often a run is looked at.
const (
	rewardEvery     = 10
	checkpointEvery = 25
)

// train trains and records: an EXTERNAL step at the start and at the end, a
// TRAINING_STEP each time the couplings move, a REWARD and a CHECKPOINT now
// and then and at the end.
func train(o options, record func(step.Step) error, out io.Writer) error {
	begun := time.Now()
	t := NewTrainer(o.oscillators, o.seed)
	run := recorder{
		record:  record,
		session: fmt.Sprintf("kuramoto-%d-%d", o.oscillators, o.seed),
		root:    step.NewID(),
	}
	before, moment := t.Evaluate()
	fmt.Fprintf(out, "%d oscillators, %d couplings, seed %d\n", o.oscillators, len(t.Coupling), o.seed)
	fmt.Fprintf(out, "before        r %.3f  phi %.3f  (runs never trained on: mean r %.3f)\n", moment.R, moment.Phi, before)
	run.add(step.Step{
		ID: run.root, Action: step.External, Name: "kuramoto/start", Time: begun,
		Input: object("oscillators", o.oscillators, "couplings", len(t.Coupling), "groups", groups, "steps", o.steps, "seed", o.seed, "dt", dt, "ticks", ticks),
	}, moment)
	for range o.steps {
		at := time.Now()
		p := t.Step()
		took := milliseconds(time.Since(at))
		run.add(step.Step{
			Action: step.TrainingStep, Name: "kuramoto/coupling", Time: at, DurationMS: &took,
			Input:  object("step", p.Step, "lr", rate, "batch", batch),
			Output: object("loss", p.Loss, "grad_norm", p.GradNorm, "mean_coupling", p.Mean),
		}, p.Moment)
		last := p.Step == o.steps
		if p.Step%rewardEvery == 0 || last {
			reward, moment := t.Evaluate()
			run.add(step.Step{
				Action: step.Reward, Name: "kuramoto/synchrony", Time: time.Now(),
				Output: object("step", p.Step, "reward", reward, "gain", reward-before),
			}, moment)
		}
		if p.Step%checkpointEvery == 0 || last {
			_, moment := t.Evaluate()
			run.add(step.Step{
				Action: step.Checkpoint, Name: "kuramoto/coupling", Time: time.Now(),
				Output: object("step", p.Step, "loss", p.Loss, "parameters", len(t.Coupling), "sha256", t.Digest()),
			}, moment)
			fmt.Fprintf(out, "step %-8d r %.3f  phi %.3f  loss %.4f\n", p.Step, moment.R, moment.Phi, p.Loss)
		}
		if run.err != nil {
			return run.err
		}
	}
	after, moment := t.Evaluate()
	took := milliseconds(time.Since(begun))
	run.add(step.Step{
		Action: step.External, Name: "kuramoto/end", Time: time.Now(), DurationMS: &took,
		Output: object("reward_before", before, "reward_after", after, "sha256", t.Digest()),
	}, moment)
	fmt.Fprintf(out, "after         r %.3f  phi %.3f  (runs never trained on: mean r %.3f)\n", moment.R, moment.Phi, after)
	if run.err == nil {
		fmt.Fprintf(out, "handed %d steps to carl\n", run.count)
	}
	return run.err
}

// recorder gives the steps of a run what they share. It keeps the first error.
type recorder struct {
	record  func(step.Step) error
	session string
	root    string // the id of the step that all others hang from
	count   int
	err     error
}

func (r *recorder) add(s step.Step, m Moment) {
	if r.err != nil {
		return
	}
	success := true
	s.Session, s.Success = r.session, &success
	if s.ID != r.root {
		s.Parent = r.root
	}
	s.KuramotoR, s.Phi = &m.R, &m.Phi
	var channels []any
	for g, r := range m.Groups {
		channels = append(channels, "group_"+strconv.Itoa(g+1), r)
	}
	s.ChannelCoherence = object(channels...)
	if r.err = r.record(s); r.err == nil {
		r.count++
	}
}

// object writes a flat JSON object of names and values in turn; the names are
// plain words.
func object(members ...any) []byte {
	b := []byte{'{'}
	for i := 0; i < len(members); i += 2 {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, members[i].(string))
		b = append(b, ':')
		switch v := members[i+1].(type) {
		case int:
			b = strconv.AppendInt(b, int64(v), 10)
		case uint64:
			b = strconv.AppendUint(b, v, 10)
		case float64:
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		case string:
			b = strconv.AppendQuote(b, v)
		}
	}
	return append(b, '}')
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
