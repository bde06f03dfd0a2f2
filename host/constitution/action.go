package constitution

import (
	"carl.camp/carl/host/fault"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxAction bounds an action and maxActionDepth its nesting, as those of a step.
	maxAction      = 1 << 20
	maxActionDepth = 64
	// maxKind and maxName bound what is written into a ledger block of 64 KiB.
	maxKind = 256
	maxName = 1 << 10
	// maxAttribute bounds a text that globs are matched with: long enough for a
	// command line. What is bulky and decides nothing belongs into the payload.
	maxAttribute = 64 << 10
	// maxAttributes bounds how many there are: four times what one rule can look at.
	maxAttributes = 128
)

// Action is what somebody wants to do. [ParseAction] makes one; the zero
// Action has neither kind nor attributes, and may be judged.
type Action struct {
	// Kind says what sort of action it is, such as "deploy" or "write.file".
	Kind string
	// Name says what it is done to, such as a path; "" where it has none.
	Name string
	// Payload is one JSON value, as it was given, or nil. No rule sees it.
	Payload jsontext.Value
	// attributes are those that are text, numbers, true or false.
	attributes map[string]value
}

// ParseAction reads one action:
//
//	{"kind": "deploy", "name": "web", "attributes": {"branch": "main"}, "payload": {"any": "JSON"}}
//
// kind is required. Members of other names are refused, and so is a number among
// the attributes that is too long to be compared exactly: if it were taken for
// absent, a later rule could decide. The error is
// carl.constitutional.action_invalid.
func ParseAction(data []byte) (Action, error) {
	root, problems := open(data, maxAction, maxActionDepth)
	if problems != nil {
		return Action{}, invalid(problems[0])
	}
	var r reader
	m := r.object(root, 1, "kind", "name", "attributes", "payload")
	a := Action{Kind: r.text(m["kind"], maxKind), Name: r.text(m["name"], maxName), attributes: make(map[string]value)}
	if m["payload"] != nil {
		a.Payload = m["payload"].raw.Clone()
	}
	for _, n := range r.entries(m["attributes"], '{', 0, maxAttributes) {
		v, ok := valueOf(n.raw)
		switch {
		case !ok:
			r.refuse(n, "the number is too long: at most %d characters, and exponents up to %d", maxNumber, maxExponent)
		case len(v.text) > maxAttribute:
			r.refuse(n, "longer than %d bytes: what is bulky belongs into the payload", maxAttribute)
		}
		a.attributes[n.token] = v
	}
	if len(r.found) > 0 {
		return Action{}, invalid(r.problems()[0])
	}
	return a, nil
}

func invalid(p Problem) error {
	if p.Pointer == "" {
		return fault.New(fault.ActionInvalid, "action: %s", p.Message)
	}
	return fault.New(fault.ActionInvalid, "action: %.128q: %s", p.Pointer, p.Message)
}
