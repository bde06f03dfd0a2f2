package main

import (
	"strconv"
	"unicode/utf8"

	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/json"
)

// readResults turns {"results":[{"id","status","reason"?,"have"?}]} into one outcome
// for each event. An event counts as stored only when the answer says so about
// its very id, once. An event that the answer leaves out is sent again. An
// answer that is not of this form, or speaks of events that were not sent or
// of one event twice, shows that something else has answered: nothing of it
// is believed.
func readResults(body string, events []forwarder.Event) ([]forwarder.Outcome, error) {
	answer, err := json.Parse(body)
	if err != nil {
		return nil, disbelieved(err.Error())
	}
	var results [1]json.Value
	if err := answer.Pick([]string{"results"}, results[:]); err != nil {
		return nil, disbelieved(err.Error())
	}
	if results[0].Kind() != json.Array {
		return nil, disbelieved(`"results" is ` + results[0].Kind().String() + ", not an array")
	}

	const unanswered = "the platform's answer says nothing about this event"
	answered := make(map[string]*forwarder.Outcome, len(events))
	for i := range events {
		answered[events[i].ID] = nil
	}
	for result := range results[0].Elements() {
		id, outcome, err := readResult(result)
		if err != nil {
			return nil, err
		}
		before, sent := answered[id]
		if !sent {
			return nil, disbelieved("it names an event that was not sent")
		}
		if before != nil {
			return nil, disbelieved("it names an event twice")
		}
		answered[id] = &outcome
	}

	outcomes := make([]forwarder.Outcome, len(events))
	for i := range events {
		if o := answered[events[i].ID]; o != nil {
			outcomes[i] = *o
		} else {
			outcomes[i] = forwarder.Retry(unanswered)
		}
	}
	return outcomes, nil
}

func readResult(v json.Value) (string, forwarder.Outcome, error) {
	var none forwarder.Outcome
	var members [4]json.Value
	if err := v.Pick([]string{"id", "status", "reason", "have"}, members[:]); err != nil {
		return "", none, disbelieved("a result: " + err.Error())
	}
	id, ok := members[0].Str()
	if !ok {
		return "", none, disbelieved(`a result's "id" is ` + members[0].Kind().String())
	}
	status, ok := members[1].Str()
	if !ok {
		return "", none, disbelieved(`a result's "status" is ` + members[1].Kind().String())
	}
	reason, ok := members[2].Str()
	if !ok && members[2].Kind() != json.Absent && members[2].Kind() != json.Null {
		return "", none, disbelieved(`a result's "reason" is ` + members[2].Kind().String())
	}
	switch status {
	case "accepted":
		return id, forwarder.Accepted(""), nil
	case "duplicate":
		return id, forwarder.Duplicate(), nil
	case "rejected":
		// A platform that says what it holds under the id says that it is something else.
		if have, ok := members[3].Str(); ok {
			return id, forwarder.Conflict(shown(have)), nil
		}
		if reason == "" {
			reason = "the platform gave no reason"
		}
		return id, forwarder.Rejected(shown(reason)), nil
	}
	return id, forwarder.Retry("the platform answered with an unknown status, " + strconv.Quote(shown(status))), nil
}

func disbelieved(why string) *forwarder.Failure {
	return unavailable("the platform's answer cannot be believed: " + why)
}

// maxShown bounds what is passed on of the platform's own words, in bytes: a
// sentence or two.
const maxShown = 300

// shown makes the platform's words fit for a line of a message.
func shown(s string) string {
	out := make([]byte, 0, min(len(s), maxShown))
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			r = ' '
		}
		if len(out)+utf8.RuneLen(r) > maxShown {
			return string(out) + "…"
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
