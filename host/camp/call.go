package camp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"carl.camp/carl/host/fault"
)

// maxRetryAfter bounds how long the platform can ask to be left alone: who
// waits for longer is told by nobody that the platform is back.
const maxRetryAfter = time.Hour

// Failure is why a call about training runs or resonants failed.
type Failure uint8

const (
	// FailUnauthorized is 401, or there is no token to ask with: log in again.
	FailUnauthorized Failure = iota + 1
	// FailDenied is 402 or 403: the platform's message says what to upgrade.
	FailDenied
	// FailNotFound is 404: there is no such run, or no such call at this address.
	FailNotFound
	// FailConflict is 409: the idempotency key came with another body before.
	FailConflict
	// FailTooLarge is 413.
	FailTooLarge
	// FailInvalid is 400 or 422: the request is wrong for good; see Fields.
	FailInvalid
	// FailThrottled is 429.
	FailThrottled
	// FailUnavailable is 408, 425 or 5xx.
	FailUnavailable
	// FailRefused is another 4xx.
	FailRefused
	// FailNetwork is no answer, a part of one, or none in time.
	FailNetwork
	// FailMalformed is an answer that API.md does not know, a redirect that is
	// not followed, or something too large.
	FailMalformed
	// FailOffline is that carl is offline: nothing was asked.
	FailOffline
	// FailEnded is that the context ended first; errors.Is finds its error.
	FailEnded
	// FailSource is that what was to be sent could not be read; errors.Is finds
	// the reader's error.
	FailSource
)

// CallError is the error of the calls about training runs and resonants. It
// holds nothing of the bearer token, and no text that is not fit for a terminal.
type CallError struct {
	Failure Failure
	// Status is what was answered, 0 where there was no answer.
	Status int
	// Definite says that this request did nothing on the platform, for sure.
	// Otherwise it may have, and must be repeated under the same idempotency
	// key. It says nothing about requests before it.
	Definite bool
	// RetryAfter is how long the platform asks not to be asked again, at most an
	// hour; 0 where it does not say.
	RetryAfter time.Duration
	// Code and Message are the platform's own words, "" where it had none.
	Code, Message string
	// Fields are the parts of the body that were refused, at most 32.
	Fields []Field
	// Hint is what mends it, where that is known here; may be "".
	Hint string

	text  string
	cause error
}

// Error says which call failed, and how.
func (e *CallError) Error() string { return e.text }

// Unwrap returns the error of the context or of the reader, or nil.
func (e *CallError) Unwrap() error { return e.cause }

// Fault is the failure as carl's own error, under a code that fits every call.
// What a call means by 404 or 422, or that a submission failed, its caller says.
func (e *CallError) Fault() *fault.Error {
	code := fault.CampRefused
	switch e.Failure {
	case FailUnauthorized:
		code = fault.CampUnauthorized
	case FailDenied:
		code = fault.GateTierDenied
	case FailThrottled, FailUnavailable, FailNetwork, FailOffline, FailEnded:
		code = fault.CampUnreachable
	case FailMalformed:
		code = fault.CampMalformed
	case FailInvalid, FailTooLarge:
		code = fault.CampInvalid
	case FailSource:
		code = fault.IO
	}
	var fields strings.Builder
	for _, field := range e.Fields {
		fmt.Fprintf(&fields, "; %s: %s", field.Path, field.Message)
	}
	f := fault.New(code, "%w%s", e, fields.String())
	if e.Hint != "" {
		f = f.WithHint("%s", e.Hint)
	}
	return f
}

// order is one request about runs or resonants.
type order struct {
	method, path string
	header       http.Header // beside those of every request
	// body is nil for none, and has exactly size bytes.
	body io.Reader
	size int64
	// limit bounds the answer, in bytes.
	limit int
	// good are the statuses of an answer that is one.
	good []int
}

// reply is an answer with one of the good statuses.
type reply struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

// call carries an order out, within c.timeout.
func (c *Client) call(ctx context.Context, o order) (*reply, *CallError) {
	within, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("gave no complete answer in %s", c.timeout))
	defer cancel()
	return c.exchange(ctx, within, o)
}

// exchange sends one request, and for a GET those that redirects lead to. It
// ends with within, whose cause says why where ctx has not ended.
func (c *Client) exchange(ctx, within context.Context, o order) (*reply, *CallError) {
	switch {
	case c.offline:
		return nil, &CallError{
			Failure: FailOffline, Definite: true, text: "camp: " + errOffline.Error(),
			Hint: "run without --offline, and without `offline: true` in config.yaml",
		}
	case c.token == "":
		return nil, &CallError{Failure: FailUnauthorized, Definite: true, text: "camp: not logged in", Hint: "run `carl camp login`"}
	}
	at, err := url.Parse(c.url.Call(o.path))
	if err != nil || !validPath(o.path) {
		return nil, &CallError{Failure: FailRefused, Definite: true, text: "camp: the call has no address", Hint: "check `camp.paths` in config.yaml"}
	}
	var sent atomic.Bool
	within = httptrace.WithClientTrace(within, &httptrace.ClientTrace{
		// Before there is a connection, nothing of the request is on its way.
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	for range maxRedirects + 1 {
		answer, next, err := c.step(within, o, at)
		var failed *CallError
		switch {
		case errors.As(err, &failed):
			return nil, failed
		case err != nil:
			return nil, c.silence(ctx, within, o, sent.Load(), err)
		case next == nil:
			return answer, nil
		}
		at = next
	}
	return nil, c.garbled(0, c.malformed(o.path, "redirects more than %d times", maxRedirects))
}

// step sends one request, and returns the answer or where a redirect leads. An
// error that is no *CallError is the network's.
func (c *Client) step(ctx context.Context, o order, at *url.URL) (*reply, *url.URL, error) {
	req := c.request(ctx, o.method, at, c.token)
	for name, values := range o.header {
		req.Header[name] = values
	}
	if o.body != nil {
		req.Body, req.ContentLength = io.NopCloser(o.body), o.size
		if o.size == 0 {
			req.Body = http.NoBody // else the length is taken for unknown
		}
	}
	resp, err := c.send(o.path, req)
	if err != nil {
		return nil, nil, c.known(0, err)
	}
	// What is left of a body is not read: the connection goes instead.
	defer resp.Body.Close()
	status := resp.StatusCode
	switch {
	case slices.Contains(o.good, status):
		body, err := c.body(o.path, resp, o.limit)
		if err != nil {
			return nil, nil, c.known(status, err)
		}
		return &reply{status, body, retryAfter(resp)}, nil, nil
	case status == 301, status == 302, status == 303, status == 307, status == 308:
		next, err := c.target(o.path, at, resp.Header.Get("Location"))
		if err == nil && o.method != http.MethodGet {
			// Some turn it into a GET, some send it twice.
			err = c.malformed(o.path, "redirects what is not only asked for").
				WithHint("check `camp.url`, or CARL_CAMP_URL, and `camp.paths` in config.yaml")
		}
		if err != nil {
			return nil, nil, c.known(status, err)
		}
		return nil, next, nil
	case status < 400 || status > 599:
		return nil, nil, c.garbled(status, c.malformed(o.path, "answered %d, which the API does not know", status))
	}
	return nil, nil, c.refused(o, resp)
}

// known makes a *CallError of this package's own error, and leaves the network's.
func (c *Client) known(status int, err error) error {
	var own *fault.Error
	if errors.As(err, &own) {
		return c.garbled(status, own)
	}
	return err
}

// garbled is an answer that cannot be believed.
func (c *Client) garbled(status int, why *fault.Error) *CallError {
	return &CallError{Failure: FailMalformed, Status: status, Hint: why.Hint, text: why.Message}
}

// unexpected is an answer with a good status that is not what was expected.
func (c *Client) unexpected(o order, status int, why error, want string) *CallError {
	return c.garbled(status, c.malformed(o.path, "answered %d with what is not expected: %w; expected was %s", status, why, want))
}

// refused is what an answer with 4xx or 5xx means.
func (c *Client) refused(o order, resp *http.Response) *CallError {
	e := &CallError{Status: resp.StatusCode, Definite: true, RetryAfter: retryAfter(resp)}
	if !encoded(resp) {
		r := ReadRefusal(e.Status, resp.Body)
		e.Code, e.Message = c.scrub(r.Code), c.scrub(r.Message)
		for _, f := range r.Fields {
			e.Fields = append(e.Fields, Field{Path: c.scrub(f.Path), Message: c.scrub(f.Message)})
		}
	}
	e.text = fmt.Sprintf("camp: %s answered %d", c.url.Call(o.path), e.Status)
	if e.Message != "" {
		e.text += ": " + e.Message
	}
	switch {
	case e.Status == 401:
		e.Failure, e.Hint = FailUnauthorized, "run `carl camp login`"
	case e.Status == 402, e.Status == 403:
		e.Failure = FailDenied
	case e.Status == 404:
		e.Failure = FailNotFound
	case e.Status == 409:
		e.Failure = FailConflict
	case e.Status == 413:
		e.Failure = FailTooLarge
	case e.Status == 400, e.Status == 422:
		e.Failure = FailInvalid
	case e.Status == 429:
		e.Failure, e.Hint = FailThrottled, "try again in a while"
	case e.Status == 408, e.Status == 425, e.Status >= 500:
		e.Failure, e.Hint = FailUnavailable, "try again in a while"
		// A gateway that gives up does not know what became of the request.
		e.Definite = e.Status == 425
	default:
		e.Failure = FailRefused
	}
	return e
}

// silence says why no answer came. The error of the network stays out of the
// chain: it quotes what the peer sent.
func (c *Client) silence(ctx, within context.Context, o order, sent bool, err error) *CallError {
	e := &CallError{Failure: FailNetwork, Definite: !sent}
	var why string
	switch {
	case ctx.Err() != nil:
		e.Failure, e.cause = FailEnded, ctx.Err()
		why = "was not waited for: " + ctx.Err().Error()
	case within.Err() != nil:
		why = context.Cause(within).Error()
	default:
		why = "gave no answer: " + reason(err)
		if unknownAuthority(err) {
			e.Hint = "if something on the way inspects TLS, name the file of its certificate in `camp.ca_file`; else check `camp.url`"
		}
	}
	e.text = fmt.Sprintf("camp: %s %s", c.url.Call(o.path), why)
	return e
}

// retryAfter reads the field of that name (RFC 9110 §10.2.3): seconds, or a time.
func retryAfter(resp *http.Response) time.Duration {
	field := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if n, err := strconv.ParseUint(field, 10, 64); err == nil {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if field != "" && !strings.ContainsFunc(field, func(r rune) bool { return r < '0' || r > '9' }) {
		return maxRetryAfter // more than 64 bits of seconds
	}
	at, err := http.ParseTime(field)
	if err != nil {
		return 0
	}
	return min(max(time.Until(at), 0), maxRetryAfter)
}
