package plugins_test

import "carl.camp/carl/sdk/mapper"

// signal is what a mapper answered, with its subject told from none.
type signal struct {
	step          uint32
	kind, subject string
	hasSubject    bool
	data          string
}

// mapRaw lowers steps, calls map-steps and lifts the answer: signals, or the
// mapper's own error. It leaves post-return to its caller.
func (in *instance) mapRaw(steps []mapper.Step) (ret uint32, signals []signal, failure string) {
	in.t.Helper()
	list := in.lowerSteps(steps)
	ret = in.call("carl:plugin/mapper@0.1.0#map-steps", uint64(list), uint64(len(steps)))
	if in.u8(ret) != 0 {
		return ret, nil, in.str(ret + 4)
	}
	at, n := in.u32(ret+4), in.u32(ret+8)
	signals = make([]signal, n)
	for i := range signals {
		p := at + 32*uint32(i)
		signals[i] = signal{step: in.u32(p), kind: in.str(p + 4), data: in.str(p + 24)}
		signals[i].subject, signals[i].hasSubject = in.option(p + 12)
	}
	return ret, signals, ""
}

// mapSteps is a whole call, post-return included.
func (in *instance) mapSteps(steps []mapper.Step) ([]signal, string) {
	in.t.Helper()
	ret, signals, failure := in.mapRaw(steps)
	in.call("cabi_post_carl:plugin/mapper@0.1.0#map-steps", uint64(ret))
	return signals, failure
}

func (in *instance) lowerSteps(steps []mapper.Step) uint32 {
	in.t.Helper()
	if in.oneBlock {
		in.block = in.call("cabi_realloc", 0, 0, 8, uint64(sizeOf(steps)))
	}
	list := in.alloc(8, uint32(168*len(steps)))
	for i := range steps {
		s, p := &steps[i], list+uint32(168*i)
		in.putStr(p, s.ID)
		in.putStr(p+8, s.Action)
		in.putStr(p+16, s.Name)
		in.put64(p+24, s.Time)
		in.putOption(p+32, s.Session)
		in.putOption(p+44, s.Trace)
		in.putOption(p+56, s.Parent)
		in.putByte(p+68, flag(s.Success.Set))
		in.putByte(p+69, flag(s.Success.Value))
		in.putFloat(p+72, s.DurationMS)
		in.putFloat(p+88, s.Phi)
		in.putFloat(p+104, s.KuramotoR)
		in.putOption(p+120, s.ChannelCoherence)
		in.putOption(p+132, s.Input)
		in.putOption(p+144, s.Output)
		in.putOption(p+156, s.Metadata)
	}
	return list
}

func (in *instance) putFloat(p uint32, v mapper.Option[float64]) {
	in.putByte(p, flag(v.Set))
	in.putF64(p+8, v.Value)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// sizeOf is what steps need as one block: records, then strings.
func sizeOf(steps []mapper.Step) int {
	n := 8
	for i := range steps {
		s := &steps[i]
		n += 168 + len(s.ID) + len(s.Action) + len(s.Name) + len(s.Session) + len(s.Trace) + len(s.Parent) +
			len(s.ChannelCoherence) + len(s.Input) + len(s.Output) + len(s.Metadata)
	}
	return n
}

// event and outcome are the records of the forwarder's world.
type event struct {
	id, kind, subject string
	time              uint64
	body              string
}

type outcome struct {
	kind byte
	text string
}

type failure struct {
	kind       byte
	message    string
	retryAfter uint64
}

func (in *instance) failure(p uint32) *failure {
	f := &failure{kind: in.u8(p), message: in.str(p + 4)}
	if in.u8(p+16) != 0 {
		f.retryAfter = in.u64(p + 24)
	}
	return f
}

func (in *instance) open(settings string) *failure {
	in.t.Helper()
	p := in.alloc(1, uint32(len(settings)))
	copy(in.bytes(p, uint32(len(settings))), settings)
	ret := in.call("carl:plugin/forwarder@0.1.0#open", uint64(p), uint64(len(settings)))
	var f *failure
	if in.u8(ret) != 0 {
		f = in.failure(ret + 8)
	}
	in.call("cabi_post_carl:plugin/forwarder@0.1.0#open", uint64(ret))
	return f
}

func (in *instance) deliver(topic uint64, events []event) ([]outcome, *failure) {
	in.t.Helper()
	list := in.alloc(8, uint32(48*len(events)))
	for i, e := range events {
		p := list + uint32(48*i)
		in.putStr(p, e.id)
		in.putStr(p+8, e.kind)
		in.putOption(p+16, e.subject)
		in.put64(p+32, e.time)
		in.putStr(p+40, e.body)
	}
	ret := in.call("carl:plugin/forwarder@0.1.0#deliver", topic, uint64(list), uint64(len(events)))
	defer func() { in.call("cabi_post_carl:plugin/forwarder@0.1.0#deliver", uint64(ret)) }()
	if in.u8(ret) != 0 {
		return nil, in.failure(ret + 8)
	}
	at, n := in.u32(ret+8), in.u32(ret+12)
	outcomes := make([]outcome, n)
	for i := range outcomes {
		p := at + 16*uint32(i)
		outcomes[i].kind = in.u8(p)
		switch outcomes[i].kind {
		case 0:
			outcomes[i].text, _ = in.option(p + 4)
		case 1:
		default:
			outcomes[i].text = in.str(p + 4)
		}
	}
	return outcomes, nil
}

type diagnostic struct{ path, message, hint string }

type translation struct {
	args, entrypoint string
	argv             []string
	warnings         []diagnostic
}

func (in *instance) diagnostics(p uint32) []diagnostic {
	at, n := in.u32(p), in.u32(p+4)
	var list []diagnostic
	for i := range n {
		q := at + 28*i
		d := diagnostic{path: in.str(q), message: in.str(q + 8)}
		d.hint, _ = in.option(q + 16)
		list = append(list, d)
	}
	return list
}

func (in *instance) schema(name string) string {
	ret := in.call("carl:plugin/translator@0.1.0#" + name)
	s := in.str(ret)
	in.call("cabi_post_carl:plugin/translator@0.1.0#"+name, uint64(ret))
	return s
}

func (in *instance) translate(config string) (*translation, []diagnostic) {
	p := in.alloc(1, uint32(len(config)))
	copy(in.bytes(p, uint32(len(config))), config)
	ret := in.call("carl:plugin/translator@0.1.0#translate", uint64(p), uint64(len(config)))
	defer func() { in.call("cabi_post_carl:plugin/translator@0.1.0#translate", uint64(ret)) }()
	if in.u8(ret) != 0 {
		return nil, in.diagnostics(ret + 4)
	}
	t := &translation{args: in.str(ret + 4), entrypoint: in.str(ret + 20), warnings: in.diagnostics(ret + 28)}
	at, n := in.u32(ret+12), in.u32(ret+16)
	for i := range n {
		t.argv = append(t.argv, in.str(at+8*i))
	}
	return t, nil
}
