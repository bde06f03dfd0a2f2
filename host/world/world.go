// Package world is the Go form of the contract in wit/: the records that carl
// and its plugins exchange, whatever runtime a plugin has. The one record that
// is not here is step, which is [carl.camp/carl/host/step.Step].
//
// The types hold what the contract can say and no more; who may send what is
// checked by the package that sends it. An absent option<string> is "".
package world

import "strconv"

// Version of the WIT package carl:plugin that this package mirrors.
const Version = "0.1.0"

// Signal is what a mapper makes of a step (WIT record signal). The host adds
// id, source, time and envelope.
type Signal struct {
	// Step is the index, in the batch that was mapped, of the step it was made from.
	Step uint32
	// Type is an AXON signal type; the host refuses one that is not on the allow-list.
	Type string
	// Subject may be "": then the step's name serves.
	Subject string
	// Data is one JSON text.
	Data []byte
}

// Topic is what a batch of events consists of (WIT enum topic).
type Topic uint8

// The topics, numbered as the WIT enum numbers them.
const (
	Signals Topic = 0
	Ledger  Topic = 1
)

func (t Topic) String() string {
	switch t {
	case Signals:
		return "signals"
	case Ledger:
		return "ledger"
	}
	return "topic(" + strconv.Itoa(int(t)) + ")"
}

// Event is one event on its way out (WIT record event).
type Event struct {
	// ID is the idempotency key: a destination may see an event more than once, never under another id.
	ID      string
	Type    string
	Subject string
	// Time is in nanoseconds since the Unix epoch.
	Time uint64
	// Body is a CloudEvents 1.0 JSON object, or the signed line of the ledger, byte for byte.
	Body []byte
}

// OutcomeKind is the discriminant of WIT variant outcome.
type OutcomeKind uint8

// The outcomes, numbered as the WIT variant numbers them.
const (
	Accepted  OutcomeKind = 0 // stored; Text is the receipt, or ""
	Duplicate OutcomeKind = 1 // there already
	Rejected  OutcomeKind = 2 // refused for good; Text is the reason
	Retry     OutcomeKind = 3 // not stored this time; Text is the reason
	Conflict  OutcomeKind = 4 // something else is there; Text is the hash held there
)

func (k OutcomeKind) String() string {
	switch k {
	case Accepted:
		return "accepted"
	case Duplicate:
		return "duplicate"
	case Rejected:
		return "rejected"
	case Retry:
		return "retry"
	case Conflict:
		return "conflict"
	}
	return "outcome(" + strconv.Itoa(int(k)) + ")"
}

// Outcome is the answer for one event.
type Outcome struct {
	Kind OutcomeKind
	Text string
}

// FailureKind is WIT enum failure-kind.
type FailureKind uint8

// The kinds of failure, numbered as the WIT enum numbers them.
const (
	Unavailable   FailureKind = 0
	Unauthorized  FailureKind = 1
	TooLarge      FailureKind = 2
	Misconfigured FailureKind = 3
	// RejectedBatch says that some event of the batch is refused for good, and
	// that the destination does not say which.
	RejectedBatch FailureKind = 4
)

func (k FailureKind) String() string {
	switch k {
	case Unavailable:
		return "unavailable"
	case Unauthorized:
		return "unauthorized"
	case TooLarge:
		return "too-large"
	case Misconfigured:
		return "misconfigured"
	case RejectedBatch:
		return "rejected"
	}
	return "failure(" + strconv.Itoa(int(k)) + ")"
}

// Failure says why a whole batch was not delivered (WIT record failure). A
// forwarder's open and deliver return it as their error; any other error is
// a failure of the plugin itself (a trap, a limit, an illegal answer).
type Failure struct {
	Kind    FailureKind
	Message string
	// RetryAfterMS is the least time to wait, in milliseconds; 0 when the destination named none.
	RetryAfterMS uint64
}

func (f *Failure) Error() string { return f.Kind.String() + ": " + f.Message }

// Diagnostic is a translator's remark about one place of a config.
type Diagnostic struct {
	// Path is a JSON Pointer (RFC 6901) into the config.
	Path    string
	Message string
	Hint    string
}

// Translation is what a translator makes of a config.
type Translation struct {
	Args       []byte // one JSON object
	Argv       []string
	Entrypoint string
	Warnings   []Diagnostic
}

// Header is one HTTP field. Order is kept, and a name may occur twice.
type Header struct{ Name, Value string }

// Request is what a guest asks of the host's http import (WIT record request).
type Request struct {
	Method  string
	URL     string
	Headers []Header
	Body    []byte
	// TimeoutMS is 0 when the guest named none; the host's own limit holds in any case.
	TimeoutMS uint32
}

// Response is what the host's http import answers (WIT record response).
type Response struct {
	Status  uint16
	Headers []Header
	Body    []byte
}

// HTTPErrorKind is the discriminant of WIT variant http.error.
type HTTPErrorKind uint8

// The errors, numbered as the WIT variant numbers them.
const (
	HTTPDenied   HTTPErrorKind = 0 // Text says what was not granted
	HTTPTimeout  HTTPErrorKind = 1
	HTTPTooLarge HTTPErrorKind = 2
	HTTPNetwork  HTTPErrorKind = 3 // Text says what failed
)

// HTTPError is why a request got no response.
type HTTPError struct {
	Kind HTTPErrorKind
	Text string
}

func (e *HTTPError) Error() string {
	switch e.Kind {
	case HTTPDenied:
		return "denied: " + e.Text
	case HTTPTimeout:
		return "timeout"
	case HTTPTooLarge:
		return "too large"
	}
	return e.Text
}

// LogLevel is WIT enum log.level.
type LogLevel uint8

// The levels, numbered as the WIT enum numbers them.
const (
	LogTrace LogLevel = 0
	LogDebug LogLevel = 1
	LogInfo  LogLevel = 2
	LogWarn  LogLevel = 3
	LogError LogLevel = 4
)
