package mapper

import (
	"unsafe"

	"carl.camp/carl/sdk/internal/abi"
	"carl.camp/carl/sdk/internal/role"
)

func init() { abi.ReuseMemory() }

// What one call answers with. They are globals because the host reads them
// after the function has returned; an instance carries one call at a time.
var (
	steps   []Step
	signals Signals
	records []abi.Signal
	message string
	result  abi.MapResult
)

//go:wasmexport carl:plugin/mapper@0.1.0#map-steps
func mapSteps(ptr, n uint32) uint32 {
	f := role.Plugin("mapper").(Func)
	defer abi.Return()
	signals.reset() // again, for a host that leaves post-return out
	lift(abi.List[abi.Step](abi.Str{Ptr: ptr, Len: n}))
	signals.list = sized(signals.list, len(steps))[:0]
	err := f(steps, &signals)
	signals.finish()
	abi.Took(signals.allocated)
	if err != nil {
		message = err.Error()
		result = abi.MapResult{Err: 1, Str: abi.ToStr(message)}
		return abi.Addr(&result)
	}
	lower()
	result = abi.MapResult{Str: abi.ToList(records)}
	return abi.Addr(&result)
}

//go:wasmexport cabi_post_carl:plugin/mapper@0.1.0#map-steps
func postMapSteps(uint32) {
	clear(steps)
	signals.reset()
	message = ""
	abi.Release()
}

// sized returns a list of n elements: the one that is there, unless it is too
// short, or so long that it is better given back.
func sized[T any](list []T, n int) []T {
	if cap(list) < n || cap(list) > keepSignals && n <= keepSignals {
		list = make([]T, n)
		abi.Took(n * int(unsafe.Sizeof(list[0])))
	}
	return list[:n]
}

func lift(list []abi.Step) {
	steps = sized(steps, len(list))
	for i := range list {
		r, s := &list[i], &steps[i]
		s.ID = abi.String(r.ID)
		s.Action = abi.String(r.Action)
		s.Name = abi.String(r.Name)
		s.Time = r.Time
		s.Session = abi.Option(r.Session)
		s.Trace = abi.Option(r.Trace)
		s.Parent = abi.Option(r.Parent)
		s.Success = Option[bool]{r.Success.Value != 0, r.Success.Some != 0}
		s.DurationMS = option(&r.DurationMS)
		s.Phi = option(&r.Phi)
		s.KuramotoR = option(&r.KuramotoR)
		s.ChannelCoherence = abi.Option(r.ChannelCoherence)
		s.Input = abi.Option(r.Input)
		s.Output = abi.Option(r.Output)
		s.Metadata = abi.Option(r.Metadata)
	}
}

func option(o *abi.OptF64) Option[float64] {
	if o.Some == 0 {
		return Option[float64]{}
	}
	return Some(o.Value)
}

// lower writes the records of the collected signals. The strings they point
// to stay referenced by signals until post-return.
func lower() {
	records = sized(records, len(signals.list))
	for i := range records {
		p := &signals.list[i]
		records[i] = abi.Signal{
			Step:    uint32(p.step),
			Type:    abi.ToStr(p.kind),
			Subject: abi.ToOption(p.subject),
			Data:    abi.ToList(p.data),
		}
	}
}
