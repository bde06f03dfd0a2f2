// Package axon is what carl sends: AXON signals, each in a CloudEvents 1.0
// envelope in structured JSON mode.
//
// An event is one compact JSON object, without a line end, whose members stand
// in this order:
//
//	specversion      "1.0"
//	id               the idempotency key: hex SHA-256 of step id, ":" and type, see [ID]
//	source           "urn:carl:" and the install id
//	type             one of [Types]
//	subject          the mapper's, or the name of the step
//	time             the step's, RFC 3339 in UTC, with as many decimals as it needs, at most nine
//	datacontenttype  "application/json"
//	session          the step's session id; absent when the step has none
//	trace            the step's trace id; absent when the step has none
//	data             the signal: what the mapper returned, without the white space between tokens
//
// So a step of id 8e9030e06818 that became one interaction.created is
//
//	{"specversion":"1.0","id":"263d2ed6cda66a9f545bc646534d06e82541fd865bed556f052b9b14e9c628b1",
//	"source":"urn:carl:4be0643f","type":"interaction.created","subject":"reply",
//	"time":"2025-10-09T08:53:21.5Z","datacontenttype":"application/json",
//	"session":"1c9bb512bf238c10","data":{"tokens":12}}
//
// in one line. An event is at most [MaxEvent] bytes. Where one would be
// larger, the strings of its data are cut, the longest first, each no further
// than needed and never below [MinKept] bytes:
//
//	"the head of the string [cut from 70000 bytes, sha256:<64 hex digits>]"
//
// with the length and the digest of the whole string in UTF-8, unescaped. The
// same input gives the same bytes, always.
//
// Sources: CloudEvents 1.0.2 (spec.md, formats/json-format.md), RFC 3339, RFC 8259.
package axon

import (
	"crypto/sha256"
	"encoding/hex"
)

// The AXON signal types. The list is closed: a type that is not on it does not leave.
const (
	TrainingStarted    = "skill.training_started"
	Crystallized       = "skill.crystallized"
	InteractionCreated = "interaction.created"
	ActionDispatched   = "action.dispatched"
	CoherenceUpdate    = "coherence.update"
)

// Types returns every type that may leave, in a fixed order.
func Types() []string {
	return []string{TrainingStarted, Crystallized, InteractionCreated, ActionDispatched, CoherenceUpdate}
}

// Allowed reports whether signals of a type may leave.
func Allowed(typ string) bool {
	switch typ {
	case TrainingStarted, Crystallized, InteractionCreated, ActionDispatched, CoherenceUpdate:
		return true
	}
	return false
}

// ID is the idempotency key of the one signal of a type that a step may have:
// the lowercase hex SHA-256 of stepID + ":" + typ.
func ID(stepID, typ string) string {
	// A step id is 12 bytes and the longest type 22; what is longer moves to the heap.
	var buf [64]byte
	text := append(append(append(buf[:0], stepID...), ':'), typ...)
	sum := sha256.Sum256(text)
	var hexed [2 * sha256.Size]byte
	hex.Encode(hexed[:], sum[:])
	return string(hexed[:])
}

// Source is the CloudEvents source of everything that an installation sends.
func Source(installID string) string { return "urn:carl:" + installID }
