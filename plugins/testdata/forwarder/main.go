// Command forwarder is a forwarder that does what the body of each event says,
// and keeps every body it has seen, to show that they stay as they were.
package main

import (
	"errors"
	"strconv"
	"strings"

	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/files"
	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
)

func init() { forwarder.Register(&obedient{}) }

func main() { sdk.Main() }

type obedient struct {
	settings string
	seen     []string
	bodies   [][]byte
}

func (o *obedient) Open(settings string) error {
	if kind, found := strings.CutPrefix(settings, "fail "); found {
		n, _ := strconv.Atoi(kind)
		return &forwarder.Failure{Kind: forwarder.Kind(n), Message: "as told", RetryAfterMS: uint64(n) << 33}
	}
	if settings == "plain error" {
		return errors.New("plain")
	}
	o.settings = settings
	return nil
}

func (o *obedient) Deliver(topic forwarder.Topic, events []forwarder.Event) ([]forwarder.Outcome, error) {
	var out []forwarder.Outcome
	for _, e := range events {
		word, rest, _ := strings.Cut(string(e.Body), " ")
		switch word {
		case "accepted":
			out = append(out, forwarder.Accepted(rest))
		case "duplicate":
			out = append(out, forwarder.Duplicate())
		case "rejected":
			out = append(out, forwarder.Rejected(rest))
		case "retry":
			out = append(out, forwarder.Retry(rest))
		case "conflict":
			out = append(out, forwarder.Conflict(rest))
		case "error":
			return nil, errors.New(rest)
		case "settings":
			out = append(out, forwarder.Accepted(o.settings))
		case "describe":
			out = append(out, forwarder.Accepted(strings.Join([]string{
				strconv.Itoa(int(topic)), e.ID, e.Type, e.Subject, strconv.FormatUint(e.Time, 10)}, "|")))
		case "keep":
			o.seen = append(o.seen, e.ID)
			o.bodies = append(o.bodies, e.Body)
			out = append(out, forwarder.Accepted(""))
		case "kept":
			var all []string
			for i, id := range o.seen {
				all = append(all, id+"="+string(o.bodies[i]))
			}
			out = append(out, forwarder.Accepted(strings.Join(all, ",")))
		case "get":
			out = append(out, get(rest))
		case "append":
			path, data, _ := strings.Cut(rest, " ")
			if err := files.Append(path, []byte(data)); err != nil {
				out = append(out, forwarder.Rejected(err.Error()))
			} else {
				out = append(out, forwarder.Accepted(""))
			}
		}
	}
	return out, nil
}

// get fetches one URL twice, so that the first response must outlive the second request.
func get(url string) forwarder.Outcome {
	request := http.Request{
		Method: "PUT", URL: url, TimeoutMS: 1234, Body: []byte("body of " + url),
		Headers: []http.Header{{Name: "X-One", Value: "1"}, {Name: "X-Two", Value: ""}},
	}
	first, err := http.Send(request)
	if err != nil {
		var e *http.Error
		if errors.As(err, &e) {
			return forwarder.Retry(strconv.Itoa(int(e.Kind)) + " " + e.Error())
		}
		return forwarder.Retry("not an *http.Error")
	}
	if _, err := http.Send(http.Request{Method: "GET", URL: url}); err != nil {
		return forwarder.Retry(err.Error())
	}
	return forwarder.Accepted(strconv.Itoa(first.Status) + " " + first.Header("x-answer") + " " + string(first.Body))
}
