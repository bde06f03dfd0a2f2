package main

import (
	"strings"
	"time"

	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
	"carl.camp/carl/sdk/json"
)

const (
	defaultSignalsPath = "/api/axon/signals"
	batchType          = "application/cloudevents-batch+json"
)

// platform is the destination: one origin, and a path for each topic.
type platform struct {
	send func(http.Request) (*http.Response, error)
	now  func() time.Time
	// signalsURL is "" until Open has accepted the settings.
	signalsURL string
}

// Open takes {"url", "signals_path"?}.
func (p *platform) Open(settings string) error {
	p.signalsURL = ""
	v, err := json.Parse(settings)
	if err != nil {
		return misconfigured("the settings are " + err.Error())
	}
	if err := v.Only("url", "signals_path"); err != nil {
		return misconfigured("the settings: " + err.Error())
	}
	var found [2]json.Value
	if err := v.Pick([]string{"url", "signals_path"}, found[:]); err != nil {
		return misconfigured("the settings: " + err.Error())
	}
	origin, ok := found[0].Str()
	origin = strings.TrimSuffix(origin, "/")
	if !ok || !isOrigin(origin) {
		return misconfigured(`setting "url" must be the platform's origin, such as https://carl.camp`)
	}
	path := defaultSignalsPath
	if found[1].Kind() != json.Absent {
		if path, ok = found[1].Str(); !ok || !isPath(path) {
			return misconfigured(`setting "signals_path" must be a path, such as ` + defaultSignalsPath)
		}
	}
	p.signalsURL = origin + path
	return nil
}

// isOrigin checks the form only: whether the host may be reached is for carl to say.
func isOrigin(s string) bool {
	host, ok := strings.CutPrefix(s, "https://")
	if !ok {
		host, ok = strings.CutPrefix(s, "http://")
	}
	return ok && host != "" && !strings.ContainsAny(host, "/?#@\\ ") && isVisible(host)
}

func isPath(s string) bool {
	return strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//") && !strings.ContainsAny(s, "?#\\ ") && isVisible(s)
}

func isVisible(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// Deliver posts one batch. The ledger's call is not made yet.
func (p *platform) Deliver(topic forwarder.Topic, events []forwarder.Event) ([]forwarder.Outcome, error) {
	switch {
	case p.signalsURL == "":
		return nil, misconfigured("nothing is delivered before the settings were accepted")
	case topic == forwarder.Signals:
		return p.deliverSignals(events)
	}
	return nil, misconfigured("this version of carl.camp/forward/camp does not forward the ledger yet; the blocks stay where they are")
}

func (p *platform) deliverSignals(events []forwarder.Event) ([]forwarder.Outcome, error) {
	if len(events) == 0 {
		return nil, nil
	}
	response, err := p.send(http.Request{
		Method: "POST",
		URL:    p.signalsURL,
		Headers: []http.Header{
			{Name: "Content-Type", Value: batchType},
			{Name: "Accept", Value: "application/json"},
		},
		Body: batch(events),
	})
	if err != nil {
		return nil, unsent(err)
	}
	if response.Status == 200 {
		return readResults(string(response.Body), events)
	}
	if response.Status == 409 && len(events) == 1 {
		return []forwarder.Outcome{forwarder.Conflict(heldHash(string(response.Body)))}, nil
	}
	return nil, refusal(response, p.now())
}

// batch is the events' bodies as one JSON array (CloudEvents JSON batch format).
func batch(events []forwarder.Event) []byte {
	size := len("[]")
	for i := range events {
		size += len(events[i].Body) + len(",")
	}
	body := make([]byte, 0, size)
	body = append(body, '[')
	for i := range events {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, events[i].Body...)
	}
	return append(body, ']')
}

func misconfigured(message string) *forwarder.Failure {
	return &forwarder.Failure{Kind: forwarder.Misconfigured, Message: message}
}

func unavailable(message string) *forwarder.Failure {
	return &forwarder.Failure{Kind: forwarder.Unavailable, Message: message}
}
