package wasm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/internal/wat"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

var ctx = context.Background()

func load(t testing.TB, module []byte, cfg Config) *Plugin {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "test/guest"
	}
	p, err := Load(ctx, module, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

func wantCode(t *testing.T, err error, code fault.Code, words ...string) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Fatalf("got %q (%v), want %q", got, err, code)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// edgeSteps are steps with every field absent, present, empty and extreme.
func edgeSteps() []step.Step {
	yes, no := true, false
	f := func(v float64) *float64 { return &v }
	return append(madeSteps(12),
		step.Step{ID: "000000000001", Action: "X", Name: "n"},
		step.Step{ID: "000000000002", Action: "X", Name: "", Time: time.Unix(0, 1), Success: &yes,
			DurationMS: f(0), Phi: f(math.Copysign(0, -1)), KuramotoR: f(math.SmallestNonzeroFloat64),
			Input: []byte("{}"), Output: []byte("null"), Metadata: []byte(`"\u0000"`), ChannelCoherence: []byte("{}")},
		step.Step{ID: "000000000003", Action: "X", Name: "ünïcödé 🜁 \U0010FFFF", Time: time.Unix(9_000_000_000, 999_999_999), Success: &no,
			Session: "s", Trace: "t", Parent: "p", DurationMS: f(math.MaxFloat64), Phi: f(math.NaN()), KuramotoR: f(math.Inf(-1)),
			Input: []byte(`"` + strings.Repeat("long ", 200_000) + `"`)},
		step.Step{ID: "000000000004", Action: "X", Name: "before the epoch", Time: time.Unix(-5, 0)},
	)
}

// TestMapperInWAT runs a mapper that was written from the layouts alone.
func TestMapperInWAT(t *testing.T) {
	var lines []string
	p := load(t, wat.Assemble(t, "testdata/mapper.wat"), Config{World: SignalMapper, Log: func(l world.LogLevel, m string) {
		lines = append(lines, fmt.Sprint(l, " ", m))
	}})
	steps := edgeSteps()
	got, err := p.Mapper().Map(ctx, steps, false)
	if err != nil {
		t.Fatal(err)
	}
	var want []world.Signal
	for i, s := range steps {
		data := s.Metadata
		if data == nil {
			data = []byte("{}")
		}
		want = append(want, world.Signal{Step: uint32(i), Type: s.Action, Subject: s.Session, Data: data})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !slices.Equal(lines, []string{"2 mapped a batch"}) {
		t.Errorf("logged %q", lines)
	}
	if got, err := p.Mapper().Map(ctx, nil, false); err != nil || len(got) != 0 {
		t.Errorf("an empty batch gave %v, %v", got, err)
	}
	_, err = p.Mapper().Map(ctx, []step.Step{{ID: "000000000001", Action: "X", Name: "fail"}}, false)
	wantCode(t, err, fault.PluginFailed, "asked to fail", "test/guest")
	if _, err := p.Mapper().Map(ctx, steps, false); err != nil {
		t.Errorf("after a failure of its own: %v", err)
	}
}

// TestMapperInC reads back every field of every step as a C guest found it. The
// guest frees each string by itself and traps on a block that it did not hand out.
func TestMapperInC(t *testing.T) {
	p := load(t, cGuest(t, "mapper.c"), Config{World: SignalMapper})
	steps := edgeSteps()
	for round := range 3 { // the second and third reuse what the first freed
		got, err := p.Mapper().Map(ctx, steps, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(steps) {
			t.Fatalf("%d signals for %d steps", len(got), len(steps))
		}
		for i := range steps {
			want := world.Signal{Step: uint32(i), Type: "coherence.update", Data: []byte(dump(&steps[i]))}
			if steps[i].Trace != "" {
				want.Subject = "traced"
			}
			if !reflect.DeepEqual(got[i], want) {
				t.Errorf("round %d, step %d: got %s, want %s", round, i, got[i].Data, want.Data)
			}
		}
	}
	if got, err := p.Mapper().Map(ctx, nil, false); err != nil || len(got) != 0 {
		t.Errorf("an empty batch gave %v, %v", got, err)
	}
}

// dump writes a step as testdata/c/mapper.c does.
func dump(s *step.Step) string {
	var b strings.Builder
	member := func(name string, value any) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s":%s`, name, value)
	}
	quoted := func(name, value string) {
		member(name, `"`+value+`"`)
	}
	b.WriteByte('{')
	quoted("id", s.ID)
	quoted("action", s.Action)
	quoted("name", s.Name)
	since := s.Time.UnixNano()
	if s.Time.Unix() < 0 {
		since = 0
	}
	member("time", fmt.Sprint(since))
	for _, o := range []struct{ name, value string }{{"session", s.Session}, {"trace", s.Trace}, {"parent", s.Parent}} {
		if o.value != "" {
			quoted(o.name, o.value)
		}
	}
	if s.Success != nil {
		member("success", fmt.Sprint(*s.Success))
	}
	for _, o := range []struct {
		name  string
		value *float64
	}{{"duration", s.DurationMS}, {"phi", s.Phi}, {"r", s.KuramotoR}} {
		if o.value != nil {
			quoted(o.name, fmt.Sprint(math.Float64bits(*o.value)))
		}
	}
	for _, o := range []struct {
		name  string
		value []byte
	}{{"coherence", s.ChannelCoherence}, {"input", s.Input}, {"output", s.Output}, {"metadata", s.Metadata}} {
		if o.value != nil {
			member(o.name, string(o.value))
		}
	}
	b.WriteByte('}')
	return b.String()
}

// network answers requests as their URL says, and keeps them.
type network struct{ seen []world.Request }

func (n *network) Send(ctx context.Context, r world.Request) (world.Response, *world.HTTPError) {
	n.seen = append(n.seen, r)
	switch r.URL {
	case "denied":
		return world.Response{}, &world.HTTPError{Kind: world.HTTPDenied, Text: "no such grant"}
	case "timeout":
		return world.Response{}, &world.HTTPError{Kind: world.HTTPTimeout}
	case "large":
		return world.Response{}, &world.HTTPError{Kind: world.HTTPTooLarge}
	case "hang":
		<-ctx.Done()
		return world.Response{}, &world.HTTPError{Kind: world.HTTPTimeout}
	case "latin1":
		return world.Response{Status: 200, Headers: []world.Header{{Name: "X", Value: "caf\xe9"}}}, nil
	}
	return world.Response{Status: 207, Headers: []world.Header{{Name: "A", Value: "1"}, {Name: "B", Value: ""}}, Body: []byte("body ✓")}, nil
}

type folder struct{ wrote []string }

func (f *folder) Append(_ context.Context, path string, data []byte) error {
	if path == "" || path == "full" {
		return errors.New("no space\nleft on device")
	}
	f.wrote = append(f.wrote, path+"="+string(data))
	return nil
}

// TestForwarderInC takes a C guest through all of its world.
func TestForwarderInC(t *testing.T) {
	var lines []string
	net, dir := &network{}, &folder{}
	p := load(t, cGuest(t, "forwarder.c"), Config{World: EventForwarder, HTTP: net, Files: dir, Timeout: 2 * time.Second,
		Log: func(_ world.LogLevel, m string) { lines = append(lines, m) }})
	f := p.Forwarder()
	one := func(typ, subject string, body ...string) (world.Outcome, error) {
		t.Helper()
		o, err := f.Deliver(ctx, world.Ledger, []world.Event{{ID: "id-1", Type: typ, Subject: subject, Time: 42, Body: []byte(strings.Join(body, ""))}})
		if err != nil {
			return world.Outcome{}, err
		}
		if len(o) != 1 {
			t.Fatalf("%d outcomes for one event", len(o))
		}
		return o[0], nil
	}

	_, err := one("accepted", "")
	wantCode(t, err, fault.Internal, "before its settings")

	var failure *world.Failure
	if err := f.Open(ctx, []byte(`"refuse"`)); !errors.As(err, &failure) || failure.Kind != world.Misconfigured || failure.Message != "these settings will not do" || failure.RetryAfterMS != 0 {
		t.Fatalf("open: %v", err)
	}
	if _, err := one("accepted", ""); !errors.As(err, &failure) || failure.Kind != world.Misconfigured {
		t.Fatalf("deliver on refused settings: %v", err)
	}
	if err := f.Open(ctx, []byte(`{"url":"x"}`)); err != nil {
		t.Fatal(err)
	}
	if want := []string{`"refuse"`, `"refuse"`, `{"url":"x"}`}; !slices.Equal(lines, want) {
		t.Errorf("the guest saw the settings %q, want %q", lines, want)
	}

	for _, c := range []struct {
		typ, subject, body string
		want               world.Outcome
	}{
		{"accepted", "", "", world.Outcome{Kind: world.Accepted}},
		{"accepted", "receipt-7", "", world.Outcome{Kind: world.Accepted, Text: "receipt-7"}},
		{"duplicate", "", "", world.Outcome{Kind: world.Duplicate}},
		{"rejected", "", "", world.Outcome{Kind: world.Rejected, Text: "not that one"}},
		{"conflict", "", "", world.Outcome{Kind: world.Conflict, Text: "abc123"}},
		{"http", "u", "sent", world.Outcome{Kind: world.Retry, Text: "207 A=1 B= body ✓"}},
		{"http", "denied", "", world.Outcome{Kind: world.Retry, Text: "error 0 no such grant"}},
		{"http", "timeout", "", world.Outcome{Kind: world.Retry, Text: "error 1"}},
		{"http", "large", "", world.Outcome{Kind: world.Retry, Text: "error 2"}},
		{"http", "latin1", "", world.Outcome{Kind: world.Retry, Text: "200 X=caf\uFFFD"}},
		{"append", "a/b", "line\n", world.Outcome{Kind: world.Retry, Text: "ok"}},
		{"append", "full", "line\n", world.Outcome{Kind: world.Retry, Text: "no: no space left on device"}},
	} {
		if got, err := one(c.typ, c.subject, c.body); err != nil || got != c.want {
			t.Errorf("%s %s: got %v, %v, want %v", c.typ, c.subject, got, err, c.want)
		}
	}
	if want := (world.Request{Method: "POST", URL: "u", Body: []byte("sent"), TimeoutMS: 1500,
		Headers: []world.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Id", Value: "id-1"}}}); !reflect.DeepEqual(net.seen[0], want) {
		t.Errorf("the request was %+v, want %+v", net.seen[0], want)
	}
	if !slices.Equal(dir.wrote, []string{"a/b=line\n"}) {
		t.Errorf("appended %q", dir.wrote)
	}

	if _, err := one("unavailable", ""); !errors.As(err, &failure) || *failure != (world.Failure{Kind: world.Unavailable, Message: "come back later", RetryAfterMS: 2500}) {
		t.Errorf("a failure came back as %v", err)
	}
	if got, err := one("count", ""); err != nil || got.Text != "3 12 1 42" {
		t.Errorf("count: %v, %v: want 3 opens, 12 deliveries, topic 1, time 42", got, err)
	}

	// An instance that is thrown away is replaced, and opened with the same settings.
	_, err = one("trap", "")
	wantCode(t, err, fault.PluginTrapped, "deliver")
	if got, err := one("count", ""); err != nil || got.Text != "1 0 1 42" {
		t.Errorf("after a trap: %v, %v", got, err)
	}
	_, err = one("http", "hang")
	wantCode(t, err, fault.PluginTimeout, "2s")
	if got, err := one("count", ""); err != nil || got.Text != "1 0 1 42" {
		t.Errorf("after a timeout: %v, %v", got, err)
	}
	if o, err := f.Deliver(ctx, world.Signals, nil); err != nil || len(o) != 0 {
		t.Errorf("an empty batch: %v, %v", o, err)
	}
}

// TestNothingIsGranted shows what a forwarder gets that was granted nothing.
func TestNothingIsGranted(t *testing.T) {
	p := load(t, cGuest(t, "forwarder.c"), Config{World: EventForwarder})
	f := p.Forwarder()
	if err := f.Open(ctx, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	got, err := f.Deliver(ctx, world.Signals, []world.Event{{Type: "http", Subject: "https://example.com"}, {Type: "append", Subject: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []world.Outcome{{Kind: world.Retry, Text: "error 0 no network access was granted"}, {Kind: world.Retry, Text: "no: no file access was granted"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestGoTranslator holds the world args-translator against a Go guest that was
// written by hand over the canonical ABI.
func TestGoTranslator(t *testing.T) {
	p := load(t, goGuest(t, "./testdata/gotranslator"), Config{World: ArgsTranslator})
	tr := p.Translator()
	if got, err := tr.ConfigSchema(ctx); err != nil || string(got) != `{"type":"object"}` {
		t.Errorf("config schema: %s, %v", got, err)
	}
	if got, err := tr.ArgsSchema(ctx); err != nil || string(got) != `true` {
		t.Errorf("args schema: %s, %v", got, err)
	}
	text := []byte(`{"lr":0.5,"name":"ü"}`)
	got, refused, err := tr.Translate(ctx, text)
	if err != nil || refused != nil {
		t.Fatal(refused, err)
	}
	want := world.Translation{Args: []byte(`{"config":` + string(text) + `}`), Argv: []string{"--config", string(text), ""}, Entrypoint: "train.py",
		Warnings: []world.Diagnostic{{Path: "/lr", Message: "large", Hint: "try less"}, {Path: "", Message: "no hint"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got, refused, err = tr.Translate(ctx, []byte(`{"refuse":1}`))
	if err != nil || !reflect.DeepEqual(refused, []world.Diagnostic{{Path: "/refuse", Message: "refused"}}) || got.Args != nil {
		t.Errorf("got %+v, %v, %v", got, refused, err)
	}
	if _, _, err = tr.Translate(ctx, []byte(`{"args":[]}`)); fault.CodeOf(err) != fault.PluginBadOutput {
		t.Errorf("args that are no object: %v", err)
	}
	if _, _, err = tr.Translate(ctx, []byte(`{"panic":1}`)); fault.CodeOf(err) != fault.PluginTrapped || !strings.Contains(err.Error(), "panic: asked to") {
		t.Errorf("a panic: %v", err)
	}
}

// TestBundledForwarders takes the bundled Go forwarders through a delivery.
func TestBundledForwarders(t *testing.T) {
	events := []world.Event{
		{ID: "e1", Type: "interaction.created", Subject: "s", Time: 1, Body: []byte(`{"id":"e1"}`)},
		{ID: "e2", Type: "coherence.update", Time: 2, Body: []byte(`{"id":"e2"}`)},
	}
	dir := &folder{}
	p := load(t, goGuest(t, "carl.camp/carl/plugins/forward/jsonl"), Config{World: EventForwarder, Files: dir})
	if err := p.Forwarder().Open(ctx, []byte(`{"file":"signals.jsonl"}`)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := p.Forwarder().Deliver(ctx, world.Signals, events)
		if err != nil || len(got) != 2 || got[0].Kind != world.Accepted {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	if all := strings.Join(dir.wrote, ""); strings.Count(all, `{"id":"e1"}`+"\n") != 3 {
		t.Errorf("appended %q", all)
	}

	net := &network{}
	p = load(t, goGuest(t, "carl.camp/carl/plugins/forward/camp"), Config{World: EventForwarder, HTTP: net})
	if err := p.Forwarder().Open(ctx, []byte(`{"url":"https://carl.camp","signals_path":"/api/axon/signals"}`)); err != nil {
		t.Fatal(err)
	}
	// The network answers 207 and no JSON, which is not what the platform promises.
	got, err := p.Forwarder().Deliver(ctx, world.Signals, events)
	var failure *world.Failure
	if !errors.As(err, &failure) {
		t.Errorf("got %v, %v", got, err)
	}
	if len(net.seen) == 0 || net.seen[0].URL != "https://carl.camp/api/axon/signals" || !jsontext.Value(net.seen[0].Body).IsValid() {
		t.Errorf("asked for %+v", net.seen)
	}
}
