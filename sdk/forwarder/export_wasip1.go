package forwarder

import (
	"carl.camp/carl/sdk/internal/abi"
	"carl.camp/carl/sdk/internal/role"
)

// What one call answers with. It is kept here because the host reads it after
// the function has returned; an instance carries one call at a time.
var answer struct {
	outcomes []Outcome
	records  []abi.Outcome
	failure  *Failure
	result   abi.ForwardResult
}

//go:wasmexport carl:plugin/forwarder@0.1.0#open
func open(ptr, n uint32) uint32 {
	defer abi.Return()
	if err := plugin().Open(abi.String(abi.Str{Ptr: ptr, Len: n})); err != nil {
		return fail(asFailure(err, Misconfigured))
	}
	answer.result = abi.ForwardResult{}
	return abi.Addr(&answer.result)
}

//go:wasmexport carl:plugin/forwarder@0.1.0#deliver
func deliver(topic, ptr, n uint32) uint32 {
	defer abi.Return()
	records := abi.List[abi.Event](abi.Str{Ptr: ptr, Len: n})
	events := make([]Event, len(records))
	for i := range records {
		r := &records[i]
		events[i] = Event{
			ID:      abi.String(r.ID),
			Type:    abi.String(r.Type),
			Subject: abi.Option(r.Subject),
			Time:    r.Time,
			Body:    abi.Bytes(r.Body),
		}
	}
	outcomes, err := plugin().Deliver(Topic(topic), events)
	if err != nil {
		return fail(asFailure(err, Unavailable))
	}
	answer.outcomes = outcomes
	answer.records = make([]abi.Outcome, len(outcomes))
	for i, o := range outcomes {
		r := &answer.records[i]
		r.Case = uint8(o.kind)
		switch o.kind {
		case accepted:
			r.Receipt = abi.ToOption(o.text)
		case duplicate:
		default:
			*r.Reason() = abi.ToStr(o.text)
		}
	}
	answer.result = abi.ForwardResult{}
	*answer.result.Outcomes() = abi.ToList(answer.records)
	return abi.Addr(&answer.result)
}

//go:wasmexport cabi_post_carl:plugin/forwarder@0.1.0#open
func postOpen(uint32) { release() }

//go:wasmexport cabi_post_carl:plugin/forwarder@0.1.0#deliver
func postDeliver(uint32) { release() }

func release() {
	answer.outcomes, answer.records, answer.failure = nil, nil, nil
	abi.Release()
}

func fail(f *Failure) uint32 {
	answer.failure = f
	answer.result = abi.ForwardResult{Err: 1, Failure: abi.Failure{
		Kind:    uint8(f.Kind),
		Message: abi.ToStr(f.Message),
	}}
	if f.RetryAfterMS > 0 {
		answer.result.RetryAfterMS = abi.OptU64{Some: 1, Value: f.RetryAfterMS}
	}
	return abi.Addr(&answer.result)
}

func plugin() Forwarder { return role.Plugin("forwarder").(Forwarder) }
