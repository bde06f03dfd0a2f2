package abi

import (
	"testing"
	"unsafe"
)

// TestLayout holds the structs against the offsets of wit/README.md, which
// are written here once more by hand. They are the same on every machine that
// aligns 8 bytes to 8, so a native run judges the wasm build too.
func TestLayout(t *testing.T) {
	var (
		step        Step
		signal      Signal
		event       Event
		outcome     Outcome
		failure     Failure
		diagnostic  Diagnostic
		translation Translation
		header      Header
		response    Response
		httpError   HTTPError
		mapped      MapResult
		forwarded   ForwardResult
		translated  TranslateResult
		answered    HTTPResult
		appended    AppendResult
	)
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"step", unsafe.Sizeof(step), 168},
		{"step.id", unsafe.Offsetof(step.ID), 0},
		{"step.action", unsafe.Offsetof(step.Action), 8},
		{"step.name", unsafe.Offsetof(step.Name), 16},
		{"step.time", unsafe.Offsetof(step.Time), 24},
		{"step.session", unsafe.Offsetof(step.Session), 32},
		{"step.trace", unsafe.Offsetof(step.Trace), 44},
		{"step.parent", unsafe.Offsetof(step.Parent), 56},
		{"step.success", unsafe.Offsetof(step.Success), 68},
		{"step.duration-ms", unsafe.Offsetof(step.DurationMS), 72},
		{"step.phi", unsafe.Offsetof(step.Phi), 88},
		{"step.kuramoto-r", unsafe.Offsetof(step.KuramotoR), 104},
		{"step.channel-coherence", unsafe.Offsetof(step.ChannelCoherence), 120},
		{"step.input", unsafe.Offsetof(step.Input), 132},
		{"step.output", unsafe.Offsetof(step.Output), 144},
		{"step.metadata", unsafe.Offsetof(step.Metadata), 156},
		{"option<string> payload", unsafe.Offsetof(step.Session.Str), 4},
		{"option<bool> payload", unsafe.Offsetof(step.Success.Value), 1},
		{"option<f64> payload", unsafe.Offsetof(step.Phi.Value), 8},
		{"signal", unsafe.Sizeof(signal), 32},
		{"signal.type", unsafe.Offsetof(signal.Type), 4},
		{"signal.subject", unsafe.Offsetof(signal.Subject), 12},
		{"signal.data", unsafe.Offsetof(signal.Data), 24},
		{"event", unsafe.Sizeof(event), 48},
		{"event.type", unsafe.Offsetof(event.Type), 8},
		{"event.subject", unsafe.Offsetof(event.Subject), 16},
		{"event.time", unsafe.Offsetof(event.Time), 32},
		{"event.body", unsafe.Offsetof(event.Body), 40},
		{"outcome", unsafe.Sizeof(outcome), 16},
		{"outcome payload", unsafe.Offsetof(outcome.Receipt), 4},
		{"failure", unsafe.Sizeof(failure), 32},
		{"failure.message", unsafe.Offsetof(failure.Message), 4},
		{"failure.retry-after-ms", unsafe.Offsetof(failure.RetryAfterMS), 16},
		{"diagnostic", unsafe.Sizeof(diagnostic), 28},
		{"diagnostic.message", unsafe.Offsetof(diagnostic.Message), 8},
		{"diagnostic.hint", unsafe.Offsetof(diagnostic.Hint), 16},
		{"translation", unsafe.Sizeof(translation), 32},
		{"translation.argv", unsafe.Offsetof(translation.Argv), 8},
		{"translation.entrypoint", unsafe.Offsetof(translation.Entrypoint), 16},
		{"translation.warnings", unsafe.Offsetof(translation.Warnings), 24},
		{"header", unsafe.Sizeof(header), 16},
		{"header value", unsafe.Offsetof(header.Value), 8},
		{"response", unsafe.Sizeof(response), 20},
		{"response.headers", unsafe.Offsetof(response.Headers), 4},
		{"response.body", unsafe.Offsetof(response.Body), 12},
		{"http error payload", unsafe.Offsetof(httpError.Text), 4},
		{"result of map-steps", unsafe.Sizeof(mapped), 12},
		{"result of map-steps payload", unsafe.Offsetof(mapped.Str), 4},
		{"result of deliver", unsafe.Sizeof(forwarded), 40},
		{"result of deliver payload", unsafe.Offsetof(forwarded.Failure), 8},
		{"result of translate", unsafe.Sizeof(translated), 36},
		{"result of translate payload", unsafe.Offsetof(translated.Translation), 4},
		{"result of send", unsafe.Sizeof(answered), 24},
		{"result of send payload", unsafe.Offsetof(answered.Response), 4},
		{"result of append", unsafe.Sizeof(appended), 12},
		{"result of append payload", unsafe.Offsetof(appended.Str), 4},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}
