package main

import (
	"carl.camp/carl/sdk/json"
	"carl.camp/carl/sdk/mapper"
)

// The AXON signal types that this mapper makes.
const (
	trainingStarted    = "skill.training_started"
	crystallized       = "skill.crystallized"
	interactionCreated = "interaction.created"
	actionDispatched   = "action.dispatched"
	coherenceUpdate    = "coherence.update"
)

// signalType returns the signal that an action stands for, or "" for none.
func signalType(action string) string {
	switch action {
	case "TRAINING_STEP":
		return trainingStarted
	case "CHECKPOINT":
		return crystallized
	case "LLM_REPLY", "REWARD":
		return interactionCreated
	case "EXTERNAL":
		return actionDispatched
	}
	return ""
}

// mapSteps makes at most one signal of each type from a step: what its action
// stands for, and a coherence update whatever its action, when it carries a
// measure of coherence.
func mapSteps(steps []mapper.Step, out *mapper.Signals) error {
	for i := range steps {
		s := &steps[i]
		coherent := s.Phi.Set || s.KuramotoR.Set || s.ChannelCoherence != ""
		kind := signalType(s.Action)
		if kind == "" {
			if coherent {
				state(out.Start(i, coherenceUpdate, ""), s)
			}
			continue
		}
		data := out.Start(i, kind, "")
		state(data, s)
		shared := data.Written()
		content(data, s)
		if coherent {
			out.Start(i, coherenceUpdate, "").Members(shared)
		}
	}
	return nil
}

// state writes which step the signal is about and how coherent things were at
// that moment: the whole data of a coherence update, and the head of every
// other signal's. The names are those of a Step line, so that a reader can
// check the event's id from its data.
func state(data *json.Object, s *mapper.Step) {
	data.String("step_id", s.ID)
	data.String("action", s.Action)
	data.String("name", s.Name)
	optional(data, "session_id", s.Session)
	optional(data, "trace_id", s.Trace)
	optional(data, "parent_id", s.Parent)
	number(data, "phi", s.Phi)
	number(data, "kuramoto_r", s.KuramotoR)
	raw(data, "channel_coherence", s.ChannelCoherence)
}

// content writes what happened. The texts are the step's own, unchanged.
func content(data *json.Object, s *mapper.Step) {
	if s.Success.Set {
		data.Bool("success", s.Success.Value)
	}
	number(data, "duration_ms", s.DurationMS)
	raw(data, "input", s.Input)
	raw(data, "output", s.Output)
	raw(data, "metadata", s.Metadata)
}

func number(data *json.Object, name string, v mapper.Option[float64]) {
	if v.Set {
		data.Float(name, v.Value)
	}
}

func optional(data *json.Object, name, value string) {
	if value != "" {
		data.String(name, value)
	}
}

func raw(data *json.Object, name, text string) {
	if text != "" {
		data.Raw(name, text)
	}
}
