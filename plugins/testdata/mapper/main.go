// Command mapper is a mapper that shows what it was given: one signal for each
// step, whose data repeats every field. A step named "fail" refuses the batch,
// one named "keep" is still referenced in the next call, and one named "log"
// writes to the log.
package main

import (
	"errors"

	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/log"
	"carl.camp/carl/sdk/mapper"
)

func init() { mapper.Register(mapSteps) }

func main() { sdk.Main() }

func mapSteps(steps []mapper.Step, out *mapper.Signals) error {
	for i := range steps {
		s := &steps[i]
		switch s.Name {
		case "fail":
			return errors.New("step " + s.ID + " asked for it")
		case "log":
			log.Trace("a")
			log.Debug("b")
			log.Info("c")
			log.Warn("d")
			log.Error("ë " + s.ID)
		case "add":
			out.Add(mapper.Signal{Step: i, Type: "added", Subject: "subject of " + s.ID, Data: `[1,2]`})
			continue
		}
		o := out.Start(i, "echo", s.Name)
		o.String("id", s.ID)
		o.String("action", s.Action)
		o.String("name", s.Name)
		o.Uint("time", s.Time)
		o.String("session", s.Session)
		o.String("trace", s.Trace)
		o.String("parent", s.Parent)
		if s.Success.Set {
			o.Bool("success", s.Success.Value)
		}
		for _, f := range []struct {
			name string
			v    mapper.Option[float64]
		}{{"duration_ms", s.DurationMS}, {"phi", s.Phi}, {"kuramoto_r", s.KuramotoR}} {
			if f.v.Set {
				o.Float(f.name, f.v.Value)
			}
		}
		for _, j := range []struct{ name, text string }{
			{"channel_coherence", s.ChannelCoherence}, {"input", s.Input}, {"output", s.Output}, {"metadata", s.Metadata},
		} {
			if j.text != "" {
				o.Raw(j.name, j.text)
			}
		}
	}
	return nil
}
