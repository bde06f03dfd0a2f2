package plugins_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"carl.camp/carl/sdk/mapper"
)

// TestMapperCarriesEveryField shows that each field of a step reaches the
// guest, present and absent, however the host lays it out.
func TestMapperCarriesEveryField(t *testing.T) {
	full := mapper.Step{
		ID: "0123456789ab", Action: "TOOL_CALL", Name: "naïve \"name\"\n", Time: math.MaxUint64,
		Session: "s", Trace: "tr", Parent: "par", Success: mapper.Some(true),
		DurationMS: mapper.Some(0.1), Phi: mapper.Some(-1e300), KuramotoR: mapper.Some(1.0),
		ChannelCoherence: `{"a":1}`, Input: `[null]`, Output: `"x"`, Metadata: `false`,
	}
	steps := []mapper.Step{full, {ID: "empty"}}
	// Each optional field alone, so that one standing in another's place shows.
	for i := range 11 {
		s := mapper.Step{ID: strconv.Itoa(i), Action: "A", Name: "n", Time: uint64(i)}
		switch i {
		case 0:
			s.Session = "one"
		case 1:
			s.Trace = "two"
		case 2:
			s.Parent = "three"
		case 3:
			s.Success = mapper.Some(false)
		case 4:
			s.DurationMS = mapper.Some(4.0)
		case 5:
			s.Phi = mapper.Some(5.0)
		case 6:
			s.KuramotoR = mapper.Some(0.6)
		case 7:
			s.ChannelCoherence = "{}"
		case 8:
			s.Input = "8"
		case 9:
			s.Output = "9"
		case 10:
			s.Metadata = "10"
		}
		steps = append(steps, s)
	}
	wasm := module(t, "./plugins/testdata/mapper")
	for _, oneBlock := range []bool{false, true} {
		t.Run(fmt.Sprintf("oneBlock=%v", oneBlock), func(t *testing.T) {
			in := instantiate(t, wasm, host{})
			in.oneBlock = oneBlock
			for round := range 3 {
				got, failed := in.mapSteps(steps)
				if failed != "" || len(got) != len(steps) {
					t.Fatalf("round %d: %d signals of %d steps, error %q", round, len(got), len(steps), failed)
				}
				for i, s := range got {
					if int(s.step) != i || s.kind != "echo" || s.subject != steps[i].Name || s.hasSubject != (steps[i].Name != "") {
						t.Errorf("step %d became %+v", i, s)
					}
					checkEcho(t, s.data, &steps[i])
				}
			}
		})
	}
}

func checkEcho(t *testing.T, data string, s *mapper.Step) {
	t.Helper()
	want := map[string]any{
		"id": s.ID, "action": s.Action, "name": s.Name, "time": json.Number(strconv.FormatUint(s.Time, 10)),
		"session": s.Session, "trace": s.Trace, "parent": s.Parent,
	}
	if s.Success.Set {
		want["success"] = s.Success.Value
	}
	for name, v := range map[string]mapper.Option[float64]{"duration_ms": s.DurationMS, "phi": s.Phi, "kuramoto_r": s.KuramotoR} {
		if v.Set {
			text, err := json.Marshal(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			want[name] = json.Number(text)
		}
	}
	for name, text := range map[string]string{
		"channel_coherence": s.ChannelCoherence, "input": s.Input, "output": s.Output, "metadata": s.Metadata,
	} {
		if text != "" {
			want[name] = decode(t, text)
		}
	}
	if got := decode(t, data); !reflect.DeepEqual(got, want) {
		t.Errorf("step %q came back as\n%v, not as\n%v", s.ID, got, want)
	}
}

// decode reads one JSON text with the standard library; numbers keep their text.
func decode(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q is not JSON: %v", text, err)
	}
	if d.More() {
		t.Fatalf("%q is more than one JSON text", text)
	}
	return v
}

func TestMapperErrorAndAdd(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/testdata/mapper"), host{})
	if _, failed := in.mapSteps([]mapper.Step{{ID: "a", Name: "x"}, {ID: "b", Name: "fail"}}); failed != "step b asked for it" {
		t.Errorf("the mapper's error came back as %q", failed)
	}
	got, failed := in.mapSteps([]mapper.Step{{ID: "a", Name: "x"}, {ID: "b", Name: "add"}, {ID: "c", Name: "y"}})
	if failed != "" || len(got) != 3 {
		t.Fatalf("after an error: %d signals, error %q", len(got), failed)
	}
	if want := (signal{1, "added", "subject of b", true, "[1,2]"}); got[1] != want {
		t.Errorf("Add became %+v, want %+v", got[1], want)
	}
	if got, failed := in.mapSteps(nil); failed != "" || len(got) != 0 {
		t.Errorf("no steps became %d signals, error %q", len(got), failed)
	}
}

func TestLog(t *testing.T) {
	var lines []string
	in := instantiate(t, module(t, "./plugins/testdata/mapper"), host{log: func(level uint32, message string) {
		lines = append(lines, fmt.Sprint(level, " ", message))
	}})
	in.mapSteps([]mapper.Step{{ID: "z", Name: "log"}})
	if want := []string{"0 a", "1 b", "2 c", "3 d", "4 ë z"}; !reflect.DeepEqual(lines, want) {
		t.Errorf("logged %q, want %q", lines, want)
	}
}

// TestMapperMemory shows that an instance lives in its memory for as long as
// it is used: usual batches, giant ones, and hosts that leave post-return out.
func TestMapperMemory(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/axon"), host{})
	usual := make([]mapper.Step, 64)
	for i := range usual {
		usual[i] = mapper.Step{ID: "0123456789ab", Action: "LLM_REPLY", Name: "reply", Input: `"` + strings.Repeat("x", 2000) + `"`, Phi: mapper.Some(0.5)}
	}
	giant := []mapper.Step{}
	for range 4 {
		giant = append(giant, mapper.Step{ID: "ba9876543210", Action: "EXTERNAL", Name: "big", Output: `"` + strings.Repeat("y", 1<<20-200) + `"`})
	}
	const limit = 32 << 20 // half of what a plugin is given
	many := make([]mapper.Step, 10_000)
	for i := range many {
		many[i] = mapper.Step{ID: "0123456789ab", Action: "TRAINING_STEP", Name: "t", KuramotoR: mapper.Some(0.5)}
	}
	round := func(n int) {
		for i := range n {
			if got, failed := in.mapSteps(usual); failed != "" || len(got) != 128 {
				t.Fatalf("call %d: %d signals, error %q", i, len(got), failed)
			}
			if _, got, _ := in.mapRaw(usual); len(got) != 128 {
				t.Fatalf("call %d without post-return before it: %d signals", i, len(got))
			}
		}
		if got, failed := in.mapSteps(giant); failed != "" || len(got) != 4 || len(got[3].data) < 1<<20-300 {
			t.Fatalf("giant steps: %d signals, error %q", len(got), failed)
		}
		if got, failed := in.mapSteps(many); failed != "" || len(got) != 20_000 {
			t.Fatalf("many steps: %d signals, error %q", len(got), failed)
		}
	}
	for range 8 {
		round(50)
	}
	if size := in.mod.Memory().Size(); size > limit {
		t.Errorf("linear memory grew to %d MiB", size>>20)
	}
}

// TestForwarderMemory is the same for batches as large as carl sends them.
func TestForwarderMemory(t *testing.T) {
	stored := 0
	in := instantiate(t, module(t, "./plugins/forward/jsonl"), host{append: func(_ string, data []byte) string {
		stored += len(data)
		return ""
	}})
	if f := in.open(`{}`); f != nil {
		t.Fatal(f)
	}
	events := make([]event, 64)
	for i := range events {
		events[i] = event{id: strconv.Itoa(i), body: `{"data":"` + strings.Repeat("z", 64<<10-20) + `"}`}
	}
	for i := range 60 {
		batch := events[:1+i*17%64]
		got, f := in.deliver(0, batch)
		if f != nil || len(got) != len(batch) {
			t.Fatalf("call %d: %d outcomes, failure %+v", i, len(got), f)
		}
	}
	if size := in.mod.Memory().Size(); size > 48<<20 {
		t.Errorf("linear memory grew to %d MiB", size>>20)
	}
	if stored < 60<<20 {
		t.Errorf("only %d bytes were appended", stored)
	}
}

func TestForwarderWorld(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/testdata/forwarder"), host{})
	for kind := range 5 {
		f := in.open("fail " + strconv.Itoa(kind))
		want := failure{byte(kind), "as told", uint64(kind) << 33}
		if f == nil || *f != want {
			t.Errorf("open failed with %+v, want %+v", f, want)
		}
	}
	if f := in.open("plain error"); f == nil || *f != (failure{3, "plain", 0}) {
		t.Errorf("a plain error of Open became %+v, want misconfigured", f)
	}
	if f := in.open(`{"a":"ü"}`); f != nil {
		t.Fatalf("open: %+v", f)
	}
	got, f := in.deliver(1, []event{
		{id: "1", body: "accepted"},
		{id: "2", body: "accepted receipt"},
		{id: "3", body: "duplicate"},
		{id: "4", body: "rejected for good"},
		{id: "5", body: "retry later"},
		{id: "6", body: "conflict ff00"},
		{id: "7", body: "settings"},
		{id: "8", kind: "k", subject: "sub", time: 1<<63 + 5, body: "describe"},
		{id: "9", body: "rejected"},
	})
	want := []outcome{{0, ""}, {0, "receipt"}, {1, ""}, {2, "for good"}, {3, "later"}, {4, "ff00"},
		{0, `{"a":"ü"}`}, {0, "1|8|k|sub|9223372036854775813"}, {2, ""}}
	if f != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("deliver answered %v, failure %+v; want %v", got, f, want)
	}
	if _, f := in.deliver(0, []event{{id: "1", body: "error went wrong"}}); f == nil || *f != (failure{0, "went wrong", 0}) {
		t.Errorf("a plain error of Deliver became %+v, want unavailable", f)
	}
	if got, f := in.deliver(0, nil); f != nil || len(got) != 0 {
		t.Errorf("no events became %v, failure %+v", got, f)
	}
}

// TestForwarderKeeps shows that what a forwarder keeps of a call is not
// overwritten by later ones.
func TestForwarderKeeps(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/testdata/forwarder"), host{})
	var want []string
	for i := range 300 {
		id := fmt.Sprintf("id-%03d", i)
		body := "keep " + strings.Repeat(strconv.Itoa(i%10), 1+i*7%5000)
		want = append(want, id+"="+body)
		if _, f := in.deliver(0, []event{{id: id, body: body}}); f != nil {
			t.Fatal(f)
		}
	}
	got, f := in.deliver(0, []event{{id: "x", body: "kept"}})
	if f != nil || got[0].text != strings.Join(want, ",") {
		t.Errorf("what was kept has changed (failure %+v)", f)
	}
}

func TestForwarderHTTP(t *testing.T) {
	var asked []request
	answers := map[string]func() (*response, *httpError){
		"http://a/ok": func() (*response, *httpError) {
			return &response{404, [][2]string{{"Other", "x"}, {"X-Answer", "ja"}}, []byte("the body")}, nil
		},
		"http://a/empty":   func() (*response, *httpError) { return &response{status: 204}, nil },
		"http://a/denied":  func() (*response, *httpError) { return nil, &httpError{0, "no grant"} },
		"http://a/slow":    func() (*response, *httpError) { return nil, &httpError{kind: 1} },
		"http://a/large":   func() (*response, *httpError) { return nil, &httpError{kind: 2} },
		"http://a/network": func() (*response, *httpError) { return nil, &httpError{3, "reset"} },
	}
	h := host{
		send: func(r request) (*response, *httpError) {
			asked = append(asked, r)
			return answers[r.url]()
		},
	}
	in := instantiate(t, module(t, "./plugins/testdata/forwarder"), h)
	for _, c := range []struct {
		url  string
		want outcome
	}{
		{"http://a/ok", outcome{0, "404 ja the body"}},
		{"http://a/empty", outcome{0, "204  "}},
		{"http://a/denied", outcome{3, "0 denied: no grant"}},
		{"http://a/slow", outcome{3, "1 no answer in time"}},
		{"http://a/large", outcome{3, "2 the answer is larger than the host takes"}},
		{"http://a/network", outcome{3, "3 reset"}},
	} {
		got, f := in.deliver(0, []event{{body: "get " + c.url}})
		if f != nil || got[0] != c.want {
			t.Errorf("%s: %v, failure %+v, want %v", c.url, got, f, c.want)
		}
	}
	if len(asked) != 8 {
		t.Fatalf("the guest sent %d requests, want 8", len(asked))
	}
	first := request{"PUT", "http://a/ok", [][2]string{{"X-One", "1"}, {"X-Two", ""}}, []byte("body of http://a/ok"), 1234}
	if !reflect.DeepEqual(asked[0], first) {
		t.Errorf("the guest sent %+v, want %+v", asked[0], first)
	}
	if second := asked[1]; second.method != "GET" || second.timeoutMS != 0 || len(second.body) != 0 || second.headers != nil {
		t.Errorf("the guest sent %+v for a bare GET", second)
	}
}

func TestForwarderFiles(t *testing.T) {
	var path, data string
	in := instantiate(t, module(t, "./plugins/testdata/forwarder"), host{append: func(p string, d []byte) string {
		path, data = p, string(d)
		if p == "full" {
			return "no space left"
		}
		return ""
	}})
	got, f := in.deliver(0, []event{{body: "append a/b.jsonl line one"}, {body: "append full x"}})
	if f != nil || got[0] != (outcome{0, ""}) || got[1] != (outcome{2, "no space left"}) {
		t.Errorf("append answered %v, failure %+v", got, f)
	}
	if path != "full" || data != "x" {
		t.Errorf("the last append was of %q to %q", data, path)
	}
}

func TestTranslatorWorld(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/testdata/translator"), host{})
	for range 3 {
		if got := in.schema("config-schema"); got != `{"type":"object"}` {
			t.Errorf("config-schema: %s", got)
		}
		if got := in.schema("args-schema"); got != `{"type":"object","title":"args"}` {
			t.Errorf("args-schema: %s", got)
		}
		got, refused := in.translate(`{"argv":["--a","","ü"]}`)
		want := &translation{`{"count":3}`, "train.py", []string{"--a", "", "ü"}, []diagnostic{{"/argv/1", "empty", ""}}}
		if refused != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("translated to %+v, refused %v; want %+v", got, refused, want)
		}
		got, refused = in.translate(`[]`)
		if got != nil || len(refused) != 2 || refused[1] != (diagnostic{"/argv", "wanted", "give a list"}) {
			t.Errorf("a refused config became %+v, %v", got, refused)
		}
		got, refused = in.translate(`{"argv":[]}`)
		if refused != nil || len(got.argv) != 0 || got.args != `{"count":0}` || got.warnings != nil {
			t.Errorf("no arguments became %+v, %v", got, refused)
		}
	}
}

// TestRegistration shows that a plugin that registers nothing, or twice, says
// so where its author looks: on standard error, which is the plugin's log.
func TestRegistration(t *testing.T) {
	const program = `package main

import (
	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/mapper"
)

func none([]mapper.Step, *mapper.Signals) error { return nil }

func main() { sdk.Main(); mapper.Map(none, nil) }
`
	in := instantiate(t, readmeGuest(t, program), host{})
	if _, err := in.mod.ExportedFunction("carl:plugin/mapper@0.1.0#map-steps").Call(in.ctx, 0, 0); err == nil {
		t.Error("a mapper that was never registered answered")
	}
	if said := in.out.String(); !strings.Contains(said, "no mapper is registered; call mapper.Register from init") {
		t.Errorf("it said %q", said)
	}
	in = &instance{t: t, ctx: in.ctx}
	err := in.start(readmeGuest(t, program+"func init() { mapper.Register(none); mapper.Register(none) }\n"), host{})
	if said := in.out.String(); err == nil || !strings.Contains(said, "already registered as a mapper") {
		t.Errorf("registered twice: %v, it said %q", err, said)
	}
}
