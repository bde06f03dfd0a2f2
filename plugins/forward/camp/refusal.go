package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
	"carl.camp/carl/sdk/json"
)

// refusal says what an answer other than 200 means for the whole batch.
func refusal(r *http.Response, now time.Time) *forwarder.Failure {
	f := &forwarder.Failure{Message: "the platform answered " + strconv.Itoa(r.Status) + explanation(r)}
	switch s := r.Status; {
	case s == 401:
		f.Kind = forwarder.Unauthorized
	case s == 402, s == 403:
		// It knows whose token this is: neither another one nor other settings mend that.
		f.Kind = forwarder.Unauthorized
		f.Message = "not allowed: " + f.Message
	case s == 413:
		f.Kind = forwarder.TooLarge
	case s == 400, s == 409, s == 422:
		f.Kind = forwarder.RejectedBatch
	case s == 408, s == 425, s == 429, s >= 500:
		f.Kind = forwarder.Unavailable
		f.RetryAfterMS = retryAfter(r.Header("Retry-After"), now)
	case s < 300:
		// Only 200 accounts for the events one by one.
		f.Kind = forwarder.Unavailable
		f.Message += ", which does not say what became of the events"
	default:
		// 404 and its like, and a redirect that led nowhere: somebody has to
		// look at the URL.
		f.Kind = forwarder.Misconfigured
	}
	return f
}

// tokenSecret is what the manifest calls the platform's token.
const tokenSecret = "camp-token"

// unsent says what it means that there was no answer.
func unsent(err error) *forwarder.Failure {
	var e *http.Error
	if errors.As(err, &e) && e.Kind == http.Denied {
		f := misconfigured("carl did not send the request: " + shown(e.Text))
		if strings.Contains(e.Text, strconv.Quote(tokenSecret)) {
			// A token that is missing is mended as one that is refused: by logging in.
			f.Kind = forwarder.Unauthorized
		}
		return f
	}
	return unavailable("no answer from the platform: " + shown(err.Error()))
}

// explanation is what {"error":{"code","message","fields":[{"path","message"}]}}
// says, or "" when the body is something else.
func explanation(r *http.Response) string {
	var parts [3]json.Value
	if !errorParts(r, &parts) {
		return ""
	}
	out := ""
	if message, _ := parts[1].Str(); message != "" {
		out += ": " + shown(message)
	}
	for field := range parts[2].Elements() {
		var at [2]json.Value
		if field.Pick([]string{"path", "message"}, at[:]) != nil {
			break
		}
		path, _ := at[0].Str()
		message, _ := at[1].Str()
		out += "; at " + strconv.Quote(shown(path)) + ": " + shown(message)
		break // the first is enough for a line
	}
	if code, _ := parts[0].Str(); code != "" {
		out += " (" + shown(code) + ")"
	}
	return out
}

// errorParts picks the members code, message and fields of an answer's error.
func errorParts(r *http.Response, parts *[3]json.Value) bool {
	v, err := json.Parse(string(r.Body))
	if err != nil {
		return false
	}
	var found [1]json.Value
	return v.Pick([]string{"error"}, found[:]) == nil &&
		found[0].Pick([]string{"code", "message", "fields"}, parts[:]) == nil
}

// heldHash is what {"have":"<hash>"} says is stored in the event's place.
func heldHash(body string) string {
	v, err := json.Parse(body)
	if err != nil {
		return ""
	}
	var found [1]json.Value
	if v.Pick([]string{"have"}, found[:]) != nil {
		return ""
	}
	hash, _ := found[0].Str()
	return shown(hash)
}

// maxWait bounds a Retry-After. A longer wait would outlast the spool, whose
// signals live seven days.
const maxWait = 7 * 24 * time.Hour

// dates are the forms of an HTTP date (RFC 9110 §5.6.7); the first is the one
// that servers send today.
var dates = [...]string{
	"Mon, 02 Jan 2006 15:04:05 GMT",
	"Monday, 02-Jan-06 15:04:05 GMT",
	"Mon Jan _2 15:04:05 2006",
}

// retryAfter reads the field of that name (RFC 9110 §10.2.3), in seconds or as
// a date, and returns milliseconds from now, rounded up; 0 when it says
// nothing or lies in the past.
func retryAfter(field string, now time.Time) uint64 {
	field = strings.Trim(field, " \t")
	if digits(field) {
		seconds, err := strconv.ParseUint(field, 10, 64)
		if err != nil || seconds > uint64(maxWait/time.Second) {
			return uint64(maxWait / time.Millisecond)
		}
		return seconds * 1000
	}
	for _, form := range dates {
		at, err := time.Parse(form, field)
		if err != nil {
			continue
		}
		wait := at.Sub(now)
		if wait <= 0 {
			return 0
		}
		return uint64((min(wait, maxWait) + time.Millisecond - 1) / time.Millisecond)
	}
	return 0
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
