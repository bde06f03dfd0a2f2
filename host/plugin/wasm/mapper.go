package wasm

import (
	"cmp"
	"context"
	"math"
	"time"
	"unsafe"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

// Mapper runs a plugin of the world signal-mapper. It may be used from several
// goroutines: each call has an instance of its own.
type Mapper struct{ p *Plugin }

// Map asks the plugin what signals the steps make. With fresh, it runs on an
// instance without a history: only such a one may condemn a step, since it
// alone uses the same fuel and memory each time.
//
// The texts of the steps must be valid UTF-8, as [step.Decode] gives them. The
// signals share memory with one another, not with the guest. Their data is
// UTF-8; whether it is legal JSON and the type is on the allow-list is left to
// whoever makes events of them.
//
// Errors: carl.plugin.failed with the plugin's own message, bad_output,
// trapped, out_of_memory, timeout, fuel_exhausted; carl.interrupted when ctx ended.
func (m *Mapper) Map(ctx context.Context, steps []step.Step, fresh bool) ([]world.Signal, error) {
	p := m.p
	bytes, err := p.measure(steps)
	if err != nil {
		return nil, err
	}
	in, err := p.pool.take(ctx, fresh)
	if err != nil {
		return nil, err
	}
	defer p.pool.put(in)
	in.begin(ctx, p.budget.of(len(steps), bytes))
	defer in.end()
	in.refuel()
	return in.mapSteps(steps)
}

const (
	// maxSteps and maxInput bound one batch: carl's own are 256 steps and 4 MiB;
	// what tests a plugin hands over more.
	maxSteps = 16_384
	maxInput = 64 << 20
	// signalsPerStep and signalsBeside bound how many signals a batch may give. The
	// platform's list has five types, and a step may give one of each.
	signalsPerStep = 16
	signalsBeside  = 16
)

// measure counts the bytes of a batch's texts, and refuses one that is too large.
func (p *Plugin) measure(steps []step.Step) (int, error) {
	total := 0
	for i := range steps {
		s := &steps[i]
		total += len(s.ID) + len(s.Action) + len(s.Name) + len(s.Session) + len(s.Trace) + len(s.Parent) +
			len(s.ChannelCoherence) + len(s.Input) + len(s.Output) + len(s.Metadata)
		if total > maxInput {
			break
		}
	}
	if len(steps) > maxSteps || total > maxInput {
		return 0, pluginFault(p.cfg.Name, fault.Usage, "was given a batch over the limit of %d steps and %d bytes", maxSteps, maxInput)
	}
	return total, nil
}

// mapSteps runs map-steps: result<list<signal>, string>.
func (in *instance) mapSteps(steps []step.Step) ([]world.Signal, error) {
	list, err := in.lowerSteps(steps)
	if err != nil {
		return nil, err
	}
	in.stack[0], in.stack[1] = uint64(list), uint64(len(steps))
	var signals []world.Signal
	var refusal error
	err = in.run(mapSteps, func(l *lifter, ret uint32) {
		var message string
		var ok bool
		if signals, message, ok = liftSignals(l, ret, len(steps)); !ok {
			refusal = in.fault(fault.PluginFailed, "failed: %s", cmp.Or(cleanStr(message, maxMessage), "it does not say why"))
		}
	})
	if err != nil {
		return nil, err
	}
	return signals, refusal
}

// Layout of record step.
const (
	stepSize  = 168
	stepAlign = 8
)

// lowerSteps writes a list<step> into the guest's memory.
func (in *instance) lowerSteps(steps []step.Step) (uint32, error) {
	w := lowering{in: in}
	list := w.list(len(steps), stepSize, stepAlign)
	rec := in.scratch[:stepSize]
	for i := range steps {
		s := &steps[i]
		clear(rec)
		w.str(rec[0:], s.ID)
		w.str(rec[8:], s.Action)
		w.str(rec[16:], s.Name)
		le.PutUint64(rec[24:], nanos(s.Time))
		w.optStr(rec[32:], s.Session)
		w.optStr(rec[44:], s.Trace)
		w.optStr(rec[56:], s.Parent)
		if s.Success != nil {
			rec[68] = 1
			if *s.Success {
				rec[69] = 1
			}
		}
		optF64(rec[72:], s.DurationMS)
		optF64(rec[88:], s.Phi)
		optF64(rec[104:], s.KuramotoR)
		w.optBytes(rec[120:], s.ChannelCoherence)
		w.optBytes(rec[132:], s.Input)
		w.optBytes(rec[144:], s.Output)
		w.optBytes(rec[156:], s.Metadata)
		w.put(list+uint32(i)*stepSize, rec)
		if w.err != nil {
			return 0, w.err
		}
	}
	return list, w.err
}

// nanos is a time in nanoseconds since the Unix epoch, 0 for what a u64 of
// them, or Go's own int64, cannot say.
func nanos(t time.Time) uint64 {
	if sec := t.Unix(); sec < 0 || sec >= math.MaxInt64/int64(time.Second) {
		return 0
	}
	return uint64(t.UnixNano())
}

// Layout of record signal, and of the result of map-steps.
const (
	signalSize    = 32
	signalAlign   = 4
	mapResultSize = 12
)

// liftSignals reads result<list<signal>, string>. ok is false for its error,
// whose text is the message.
func liftSignals(l *lifter, ret uint32, steps int) (signals []world.Signal, message string, ok bool) {
	if !l.record("the result of map-steps", ret, mapResultSize, 4) {
		return nil, "", true
	}
	if l.variant("the result of map-steps", ret, 2) == 1 {
		return nil, l.str("the error of map-steps", ret+4), l.err != nil
	}
	base, n := l.list("the list of signals", ret+4, signalsPerStep*steps+signalsBeside, signalSize, signalAlign, int(unsafe.Sizeof(world.Signal{})))
	if n == 0 {
		return nil, "", true
	}
	signals = make([]world.Signal, n)
	for i := range signals {
		at := base + uint32(i)*signalSize
		s := &signals[i]
		if s.Step = l.u32(at); uint64(s.Step) >= uint64(steps) {
			l.fail("a signal is said to be of step %d of %d", s.Step, steps)
		}
		s.Type = l.str("the type of a signal", at+4)
		s.Subject = l.optStr("the subject of a signal", at+12)
		s.Data = l.text("the data of a signal", at+24)
		if l.err != nil {
			return nil, "", true
		}
	}
	return signals, "", true
}
