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
	defaultLedgerPath  = "/api/ledger/append"
	batchType          = "application/cloudevents-batch+json"
)

// platform is the destination: one origin, and a path for each topic.
type platform struct {
	send func(http.Request) (*http.Response, error)
	now  func() time.Time
	// signalsURL and ledgerURL are "" until Open has accepted the settings.
	signalsURL, ledgerURL string
	// ledgerKey is the public key that the ledger's blocks are sent with, or "".
	ledgerKey string
	// met is what the last batch of blocks ended with.
	met met
}

// Open takes {"url", "signals_path"?, "ledger"?, "ledger_key"?}.
func (p *platform) Open(settings string) error {
	p.signalsURL, p.ledgerURL, p.ledgerKey, p.met = "", "", "", met{}
	v, err := json.Parse(settings)
	if err != nil {
		return misconfigured("the settings are " + err.Error())
	}
	known := [...]string{"url", "signals_path", "ledger", "ledger_key"}
	if err := v.Only(known[:]...); err != nil {
		return misconfigured("the settings: " + err.Error())
	}
	var found [len(known)]json.Value
	if err := v.Pick(known[:], found[:]); err != nil {
		return misconfigured("the settings: " + err.Error())
	}
	origin, ok := found[0].Str()
	origin = strings.TrimSuffix(origin, "/")
	if !ok || !isOrigin(origin) {
		return misconfigured(`setting "url" must be the platform's origin, such as https://carl.camp`)
	}
	signals, ok := path(found[1], defaultSignalsPath)
	if !ok {
		return misconfigured(`setting "signals_path" must be a path, such as ` + defaultSignalsPath)
	}
	ledger, ok := path(found[2], defaultLedgerPath)
	if !ok {
		return misconfigured(`setting "ledger" must be a path, such as ` + defaultLedgerPath)
	}
	key, ok := found[3].Str()
	if found[3].Kind() != json.Absent && !(ok && isKey(key)) {
		return misconfigured(`setting "ledger_key" must be the ledger's public key, 32 bytes in base64url without padding`)
	}
	p.signalsURL, p.ledgerURL, p.ledgerKey = origin+signals, origin+ledger, key
	return nil
}

// path is the path that a setting names, or otherwise where there is no setting.
func path(v json.Value, otherwise string) (string, bool) {
	if v.Kind() == json.Absent {
		return otherwise, true
	}
	s, ok := v.Str()
	return s, ok && isPath(s)
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

// isKey reports whether s is member x of an Ed25519 JWK (RFC 8037 §2): 32 bytes
// in base64url without padding, in the one form that they have. Two bits of the
// last digit stand for nothing, and are 0.
func isKey(s string) bool {
	const digits, last = 43, "AEIMQUYcgkosw048"
	if len(s) != digits || strings.IndexByte(last, s[digits-1]) < 0 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

func isVisible(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// Deliver posts signals as one batch, and the ledger's blocks one by one.
func (p *platform) Deliver(topic forwarder.Topic, events []forwarder.Event) ([]forwarder.Outcome, error) {
	switch {
	case p.signalsURL == "":
		return nil, misconfigured("nothing is delivered before the settings were accepted")
	case topic == forwarder.Signals:
		return p.deliverSignals(events)
	case topic == forwarder.Ledger:
		return p.deliverLedger(events)
	}
	return nil, misconfigured("this version of carl.camp/forward/camp knows signals and the ledger, and no other topic")
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
