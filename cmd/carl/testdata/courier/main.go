// Command courier is a forwarder as somebody else would write it: it posts each
// event to a URL of its settings, and tells carl everything that it hears.
package main

import (
	"strconv"

	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
	"carl.camp/carl/sdk/json"
)

func init() { forwarder.Register(&courier{}) }

func main() { sdk.Main() }

type courier struct{ url string }

func (c *courier) Open(settings string) error {
	v, err := json.Parse(settings)
	if err != nil {
		return err
	}
	var found [1]json.Value
	if err := v.Pick([]string{"url"}, found[:]); err != nil {
		return err
	}
	url, ok := found[0].Str()
	if !ok {
		return &forwarder.Failure{Kind: forwarder.Misconfigured, Message: `setting "url" is missing`}
	}
	c.url = url
	return nil
}

func (c *courier) Deliver(_ forwarder.Topic, events []forwarder.Event) ([]forwarder.Outcome, error) {
	outcomes := make([]forwarder.Outcome, len(events))
	for i, e := range events {
		answer, err := http.Send(http.Request{Method: "POST", URL: c.url, Body: []byte(e.Body)})
		switch {
		case err != nil:
			return nil, err
		case answer.Status == 200:
			outcomes[i] = forwarder.Accepted("")
		case answer.Status == 422:
			outcomes[i] = forwarder.Rejected(string(answer.Body) + " " + answer.Header("X-Echo"))
		default:
			return nil, &forwarder.Failure{Kind: forwarder.Unavailable, Message: "it answered " + strconv.Itoa(int(answer.Status))}
		}
	}
	return outcomes, nil
}
