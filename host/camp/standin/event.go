package standin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/axon"
)

const (
	// maxAttribute bounds the name of an extension (CloudEvents 1.0, "Naming conventions").
	maxAttribute = 20
	// maxText bounds a text attribute, in bytes; the longest subject is a step's name of 256.
	maxText = 1 << 10
	// maxDepth bounds the nesting of an event: a step may have 64 levels, and the envelope adds its own.
	maxDepth = 70
)

// digest is the SHA-256 of an event without the white space between tokens.
type digest [sha256.Size]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

// event is one element of a batch.
type event struct {
	id, typ string
	// problem says why the event is refused for good; "" when it is not.
	problem string
	body    []byte
	sum     digest
}

// parseEvent reads one event, a valid JSON object. Where it has no proper id,
// member is the JSON Pointer of what is wrong and problem says it; every other
// fault is the event's own and stands in its problem.
func parseEvent(body []byte) (e event, member, problem string) {
	e.body = body
	compact := jsontext.Value(bytes.Clone(body))
	if err := compact.Compact(); err != nil {
		return e, "", "not valid JSON"
	}
	e.sum = sha256.Sum256(compact)

	d := jsontext.NewDecoder(bytes.NewReader(body))
	d.ReadToken() // the brace; body is an object
	attributes := map[string]jsontext.Value{}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return e, "", "not valid JSON"
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return e, "", "not valid JSON"
		}
		attributes[key] = value.Clone()
	}
	id, ok := text(attributes["id"])
	if !ok || !isID(id) {
		return e, "/id", "not 64 lowercase hex digits"
	}
	e.id = id
	e.problem = e.check(attributes)
	return e, "", ""
}

func (e *event) check(attributes map[string]jsontext.Value) string {
	if len(e.body) > axon.MaxEvent {
		return fmt.Sprintf("it is larger than %d bytes", axon.MaxEvent)
	}
	if depth(e.body) > maxDepth {
		return fmt.Sprintf("it is nested deeper than %d levels", maxDepth)
	}
	if v, _ := text(attributes["specversion"]); v != "1.0" {
		return `specversion is not "1.0"`
	}
	if v, _ := text(attributes["source"]); !strings.HasPrefix(v, "urn:carl:") || len(v) == len("urn:carl:") || len(v) > maxText {
		return "source is not urn:carl: and an install id"
	}
	e.typ, _ = text(attributes["type"])
	if !axon.Allowed(e.typ) {
		return fmt.Sprintf("type %.40q is not an AXON signal type", e.typ)
	}
	if v, _ := text(attributes["time"]); !isTime(v) {
		return "time is not an RFC 3339 time"
	}
	if v, _ := text(attributes["datacontenttype"]); v != "application/json" {
		return "datacontenttype is not application/json"
	}
	if _, has := attributes["data"]; !has {
		return "data is missing"
	}
	for name, value := range attributes {
		if name == "data" {
			continue
		}
		if !isAttribute(name) {
			return fmt.Sprintf("%.40q is not the name of an attribute", name)
		}
		switch name {
		case "subject", "session", "trace":
			if v, ok := text(value); !ok || v == "" || len(v) > maxText {
				return name + " is not a short text"
			}
		default:
			if k := value.Kind(); k == '{' || k == '[' || k == 'n' {
				return fmt.Sprintf("attribute %q is neither text, number nor boolean", name)
			}
		}
	}
	return ""
}

// text is the content of a JSON string.
func text(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	out, err := jsontext.AppendUnquote(nil, v)
	return string(out), err == nil
}

func isID(s string) bool { return isHex(s, 2*sha256.Size) }

// isHex accepts lowercase hex digits, as many as digits says.
func isHex(s string, digits int) bool {
	if len(s) != digits {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isTime accepts RFC 3339 with at most nine decimals; the parser of package
// time alone takes a comma for the point too.
func isTime(s string) bool {
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil && len(s) <= len("2006-01-02T15:04:05.999999999+07:00") && !strings.Contains(s, ",")
}

func isAttribute(s string) bool {
	if s == "" || len(s) > maxAttribute {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// depth is how deep arrays and objects are nested in a valid JSON text.
func depth(body []byte) int {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	deepest := 0
	for {
		if _, err := d.ReadToken(); err != nil {
			return deepest
		}
		deepest = max(deepest, d.StackDepth())
	}
}
