package forwarder

import (
	"errors"
	"fmt"
	"testing"
)

func TestAsFailure(t *testing.T) {
	told := &Failure{Kind: TooLarge, Message: "m", RetryAfterMS: 5}
	for _, c := range []struct {
		err  error
		want Failure
	}{
		{told, *told},
		{fmt.Errorf("around: %w", told), *told},
		{errors.New("plain"), Failure{Kind: Misconfigured, Message: "plain"}},
	} {
		if got := asFailure(c.err, Misconfigured); *got != c.want {
			t.Errorf("%v became %+v, want %+v", c.err, *got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		Accepted("").String():   "accepted",
		Accepted("r").String():  "accepted: r",
		Duplicate().String():    "duplicate",
		Rejected("no").String(): "rejected: no",
		Retry("later").String(): "retry: later",
		Conflict("ff").String(): "conflict: ff",
		(&Failure{Kind: RejectedBatch, Message: "which"}).Error(): "rejected: which",
		(&Failure{Kind: Unauthorized, Message: "no key"}).Error(): "unauthorized: no key",
		(&Failure{Kind: Unavailable, Message: "down"}).Error():    "unavailable: down",
		(&Failure{Kind: Misconfigured, Message: "bad"}).Error():   "misconfigured: bad",
		(&Failure{Kind: TooLarge, Message: "4 MiB"}).Error():      "too large: 4 MiB",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
