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
		if kind := signalType(s.Action); kind != "" {
			data := out.Start(i, kind, "")
			identify(data, s)
			coherence(data, s)
			content(data, s)
		}
		if s.Phi.Set || s.KuramotoR.Set || s.ChannelCoherence != "" {
			data := out.Start(i, coherenceUpdate, "")
			identify(data, s)
			coherence(data, s)
		}
	}
	return nil
}

// identify writes which step the signal is about, under the names that a Step
// line has, so that a reader can check the event's id from its data.
func identify(data *json.Object, s *mapper.Step) {
	data.String("step_id", s.ID)
	data.String("action", s.Action)
	data.String("name", s.Name)
	optional(data, "session_id", s.Session)
	optional(data, "trace_id", s.Trace)
	optional(data, "parent_id", s.Parent)
}

func coherence(data *json.Object, s *mapper.Step) {
	if s.Phi.Set {
		data.Float("phi", s.Phi.Value)
	}
	if s.KuramotoR.Set {
		data.Float("kuramoto_r", s.KuramotoR.Value)
	}
	raw(data, "channel_coherence", s.ChannelCoherence)
}

// content writes what happened. The texts are the step's own, unchanged.
func content(data *json.Object, s *mapper.Step) {
	if s.Success.Set {
		data.Bool("success", s.Success.Value)
	}
	if s.DurationMS.Set {
		data.Float("duration_ms", s.DurationMS.Value)
	}
	raw(data, "input", s.Input)
	raw(data, "output", s.Output)
	raw(data, "metadata", s.Metadata)
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
