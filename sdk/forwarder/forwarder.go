// Package forwarder is for plugins that deliver events to a destination:
// world event-forwarder of the contract in wit/.
//
// carl calls Open once before the first delivery, and again when the settings
// change; then Deliver, one batch at a time. It keeps, repeats, splits and
// gives up batches by what Deliver answers, so a forwarder holds no queue and
// never retries by itself.
package forwarder

import (
	"errors"

	"carl.camp/carl/sdk/internal/role"
)

// A Topic says what the events of a batch are.
type Topic uint8

// The topics.
const (
	// Signals are CloudEvents 1.0 JSON objects.
	Signals Topic = iota
	// Ledger events are signed lines of the constitutional ledger, to be
	// stored byte for byte and in order.
	Ledger
)

// An Event is one event on its way out. What it holds stays valid for as long
// as it is referenced.
type Event struct {
	// ID is the idempotency key: the destination may see an event more than
	// once, and never under another id.
	ID, Type string
	// Subject may be "".
	Subject string
	// Time is in nanoseconds since the Unix epoch, UTC.
	Time uint64
	// Body is what is to be delivered.
	Body []byte
}

// An Outcome is the answer for one event; make it with [Accepted],
// [Duplicate], [Rejected], [Retry] or [Conflict].
type Outcome struct {
	kind outcome
	text string
}

type outcome uint8

// The cases of variant outcome.
const (
	accepted outcome = iota
	duplicate
	rejected
	retry
	conflict
)

// String says the outcome in words.
func (o Outcome) String() string {
	word := [...]string{"accepted", "duplicate", "rejected", "retry", "conflict"}[o.kind]
	if o.text == "" {
		return word
	}
	return word + ": " + o.text
}

// Accepted says that the event is stored; receipt is what the destination
// gives as proof, or "".
func Accepted(receipt string) Outcome { return Outcome{accepted, receipt} }

// Duplicate says that the event was there already.
func Duplicate() Outcome { return Outcome{duplicate, ""} }

// Rejected says that the destination refuses the event for good; carl keeps
// it as a dead letter with this reason.
func Rejected(reason string) Outcome { return Outcome{rejected, reason} }

// Retry says that the event was not stored this time.
func Retry(reason string) Outcome { return Outcome{retry, reason} }

// Conflict says that something else is stored under this id; hash is what the
// destination says it holds.
func Conflict(hash string) Outcome { return Outcome{conflict, hash} }

// A Kind says what carl is to do about a [Failure].
type Kind uint8

// The kinds of failure.
const (
	// Unavailable: back off and send the same again.
	Unavailable Kind = iota
	// Unauthorized: pause until the operator has given a credential.
	Unauthorized
	// TooLarge: send the batch in parts.
	TooLarge
	// Misconfigured: pause until the operator has mended the settings.
	Misconfigured
	// RejectedBatch: some event of the batch is refused for good, and the
	// destination does not say which; send parts until one event remains.
	RejectedBatch
)

// String says the kind in words.
func (k Kind) String() string {
	words := [...]string{"unavailable", "unauthorized", "too large", "misconfigured", "rejected"}
	if int(k) < len(words) {
		return words[k]
	}
	return "failure of an unknown kind"
}

// A Failure is why Open failed, or why nothing is known about any event of a
// batch. Any other error is taken as Misconfigured from Open and as
// Unavailable from Deliver.
type Failure struct {
	Kind Kind
	// Message is for the operator; it ends up in `carl sync status`.
	Message string
	// RetryAfterMS is the least time to wait, in milliseconds; 0 when the
	// destination named none.
	RetryAfterMS uint64
}

func (f *Failure) Error() string { return f.Kind.String() + ": " + f.Message }

// asFailure makes a failure of any error.
func asFailure(err error, otherwise Kind) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Kind: otherwise, Message: err.Error()}
}

// A Forwarder delivers to one destination.
type Forwarder interface {
	// Open takes the settings, a JSON object.
	Open(settings string) error
	// Deliver answers with one outcome for each event, in their order.
	Deliver(topic Topic, events []Event) ([]Outcome, error)
}

// Register makes f the plugin's forwarder. Call it once, from init: main is
// not run in a wasm plugin.
func Register(f Forwarder) {
	role.Set("forwarder", f)
}
