// Package mapper is for plugins that turn recorded Steps into AXON signals:
// world signal-mapper of the contract in wit/.
//
//	func init() { mapper.Register(mapSteps) }
//
//	func mapSteps(steps []mapper.Step, out *mapper.Signals) error {
//		for i := range steps {
//			if s := &steps[i]; s.Action == "LLM_REPLY" {
//				data := out.Start(i, "interaction.created", "")
//				data.String("step_id", s.ID)
//			}
//		}
//		return nil
//	}
//
// A mapper is pure: no clock, no randomness, no I/O; the same steps give the
// same signals, whatever was mapped before.
package mapper

import (
	"carl.camp/carl/sdk/internal/role"
	"carl.camp/carl/sdk/json"
)

// A Step is one recorded interaction, already redacted. Its strings lie in
// memory that the next call uses again: clone what is kept longer than the call.
type Step struct {
	// ID is 12 lowercase hex digits.
	ID string
	// Action is an UPPER_SNAKE name of an open set.
	Action string
	Name   string
	// Time is in nanoseconds since the Unix epoch, UTC.
	Time uint64
	// Session, Trace and Parent are "" when the step has none.
	Session, Trace, Parent string
	Success                Option[bool]
	// DurationMS is in milliseconds.
	DurationMS, Phi, KuramotoR Option[float64]
	// Each of these is one legal JSON text, or "" when the step has none.
	ChannelCoherence, Input, Output, Metadata string
}

// An Option is a value that may be missing.
type Option[T any] struct {
	Value T
	Set   bool
}

// Some returns an Option that holds v.
func Some[T any](v T) Option[T] { return Option[T]{v, true} }

// A Signal is what a mapper made of a step.
type Signal struct {
	// Step is the index of the step in the batch.
	Step int
	// Type is an AXON signal type that the host allows; at most one signal of
	// a type for each step.
	Type string
	// Subject may be "": then the step's name serves.
	Subject string
	// Data is one JSON text.
	Data string
}

// A Func maps one batch. An error refuses the whole batch: carl then maps its
// parts, until the one step remains that the error is about.
type Func func(steps []Step, out *Signals) error

// Register makes f the plugin's mapper. Call it once, from init: main is not
// run in a wasm plugin.
func Register(f Func) {
	role.Set("mapper", f)
}

// Signals collects what a mapper makes of a batch. Its memory is used again
// by the next call.
type Signals struct {
	object json.Object
	list   []pending
	// start and capacity are those of the object's memory when the last
	// signal began.
	start, capacity int
	// allocated counts the bytes that writing has taken anew in this batch.
	allocated int
}

// pending is a signal with its data where it was written.
type pending struct {
	step          int
	kind, subject string
	data          []byte
}

const (
	// firstChunk and lastChunk bound the pieces of memory that data is
	// written to, each twice as large as the one before. A full piece stays
	// where it is: one that moved to grow would leave all its earlier sizes
	// behind. A mapper whose batches fill no more than the last one allocates nothing.
	firstChunk = 64 << 10
	lastChunk  = 1 << 20
	// room is what a piece must have left for a signal to begin in it: the
	// usual signal fits, and what is left unused is little.
	room = 4 << 10
	// keepSignals bounds the list that is kept for the next call: more
	// signals than a usual batch has.
	keepSignals = 4 << 10
)

// Start begins a signal whose data is a JSON object, and returns the object
// for its members to be written. It is closed by the next Start or Add, or at
// the end of the batch.
func (s *Signals) Start(step int, kind, subject string) *json.Object {
	s.begin(step, kind, subject)
	s.object.Open()
	return &s.object
}

// Add takes a whole signal. Its Data, which must be one JSON text, is copied.
func (s *Signals) Add(sig Signal) {
	s.begin(sig.Step, sig.Type, sig.Subject)
	s.object.Value(sig.Data)
}

func (s *Signals) begin(step int, kind, subject string) {
	s.finish()
	chunk := s.object.Bytes()
	if cap(chunk)-len(chunk) < room {
		chunk = make([]byte, 0, min(max(2*cap(chunk), firstChunk), lastChunk))
		s.object = json.NewObject(chunk)
		s.allocated += cap(chunk)
	}
	s.start, s.capacity = len(chunk), cap(chunk)
	s.list = append(s.list, pending{step: step, kind: kind, subject: subject})
}

// finish ends the signal that was begun last.
func (s *Signals) finish() {
	if len(s.list) == 0 {
		return
	}
	if p := &s.list[len(s.list)-1]; p.data == nil {
		s.object.CloseAll()
		chunk := s.object.Bytes()
		p.data = chunk[s.start:]
		if cap(chunk) != s.capacity {
			s.allocated += cap(chunk)
		}
	}
}

// reset forgets the batch and keeps its memory, unless that has grown large.
func (s *Signals) reset() {
	if cap(s.object.Bytes()) > lastChunk {
		s.object = json.Object{}
	}
	if cap(s.list) > keepSignals {
		s.list = nil
	}
	s.object.Reset()
	clear(s.list)
	s.list = s.list[:0]
	s.allocated = 0
}

// Map runs f over steps and returns the signals in memory of their own: what
// a test of a mapper calls.
func Map(f Func, steps []Step) ([]Signal, error) {
	var out Signals
	if err := f(steps, &out); err != nil {
		return nil, err
	}
	out.finish()
	list := make([]Signal, len(out.list))
	for i, p := range out.list {
		list[i] = Signal{p.step, p.kind, p.subject, string(p.data)}
	}
	return list, nil
}
