package standin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/camp"
)

const (
	batchType = "application/cloudevents-batch+json"
	// maxEvents bounds a batch: 256 steps make at most 512 signals.
	maxEvents = 1024
)

// postSignals takes a CloudEvents batch. A batch that is none is refused as a
// whole; in one that is, each event gets a verdict of its own.
func (s *Server) postSignals(c *call) answer {
	if !c.contentType(batchType) {
		return refuse(415, "unsupported_media_type", "the body must be "+batchType)
	}
	events, bad := parseBatch(c.body)
	if bad != nil {
		return *bad
	}
	c.events = len(events)
	for i := range events {
		if e := &events[i]; e.problem == "" {
			if kind := findToken(e.body, s.token); kind != "" {
				e.problem = "it holds a token (" + kind + ")"
			}
		}
	}
	verdicts, err := s.signals.put(events, s.clock())
	if err != nil {
		return refuse(500, "storage", "the signals could not be stored: "+err.Error())
	}
	doc := results{Results: make([]result, len(events))}
	for i, v := range verdicts {
		doc.Results[i] = v.result(events[i])
	}
	s.counts.verdicts(verdicts)
	return reply(200, doc)
}

// verdict is what became of one event.
type verdict struct {
	kind verdictKind
	held digest // of the body that is held, for a conflict
	came digest
	id   string
}

type verdictKind uint8

const (
	accepted verdictKind = iota
	duplicate
	rejected
	conflict
)

func (v verdict) result(e event) result {
	switch v.kind {
	case accepted:
		return result{ID: e.id, Status: "accepted"}
	case duplicate:
		return result{ID: e.id, Status: "duplicate"}
	case conflict:
		return result{ID: e.id, Status: "rejected", Reason: "conflict: another body is held under this id", Have: v.held.String()}
	}
	return result{ID: e.id, Status: "rejected", Reason: e.problem}
}

// parseBatch reads a CloudEvents batch (JSON batch format, CloudEvents 1.0
// §4): one array of objects, nothing after it, no duplicate members, valid
// UTF-8. An event without a proper id cannot be answered for, and fails the batch.
func parseBatch(body []byte) ([]event, *answer) {
	bad := func(path, format string, args ...any) ([]event, *answer) {
		a := refuse(422, "invalid_batch", "the body is not a CloudEvents batch", camp.Field{Path: path, Message: fmt.Sprintf(format, args...)})
		return nil, &a
	}
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if d.PeekKind() != '[' {
		return bad("", "not a JSON array")
	}
	if _, err := d.ReadToken(); err != nil {
		return bad("", "%s", syntax(err))
	}
	var events []event
	for d.PeekKind() != ']' {
		path := "/" + strconv.Itoa(len(events))
		if len(events) == maxEvents {
			a := refuse(413, "too_large", fmt.Sprintf("the batch has more than %d events", maxEvents))
			return nil, &a
		}
		if k := d.PeekKind(); k != '{' && k != 0 {
			return bad(path, "not an object")
		}
		value, err := d.ReadValue()
		if err != nil {
			return bad(path, "%s", syntax(err))
		}
		e, member, problem := parseEvent(bytes.Clone(value))
		if problem != "" {
			return bad(path+member, "%s", problem)
		}
		events = append(events, e)
	}
	if _, err := d.ReadToken(); err != nil {
		return bad("", "%s", syntax(err))
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return bad("", "something follows the array")
	}
	return events, nil
}

// syntax names the kind of a syntax error, without the bytes that caused it.
func syntax(err error) string {
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "a member is there twice"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the JSON ends too early"
	}
	return "not valid JSON in valid UTF-8"
}
