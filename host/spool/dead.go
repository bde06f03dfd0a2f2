package spool

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// DeadLetter is one record or event that a destination will not get without
// help. In the file it is one line of JSON with these members.
type DeadLetter struct {
	ID       string         `json:"id"`              // of the event, else of the step; unique in the file
	Topic    string         `json:"topic"`           // "signals", "ledger"
	Code     string         `json:"code"`            // a fault code
	Reason   string         `json:"reason"`          // the message of the mapper or the destination
	Attempts int            `json:"attempts"`        // deliveries that were tried
	First    time.Time      `json:"first"`           // when it first failed
	Last     time.Time      `json:"last"`            // when it last failed
	Epoch    uint32         `json:"epoch"`           // consent epoch at recording
	Replay   bool           `json:"replay,omitzero"` // to be tried again by the next sync
	Step     jsontext.Value `json:"step,omitzero"`   // the step, where mapping failed
	Event    jsontext.Value `json:"event,omitzero"`  // the event, exactly as it was sent
}

// AppendDead adds letters durably. One with an ID that is there already takes
// its place: attempts add up, First stays, Replay is as in the new one. The
// file is bounded (64 MiB); beyond, the oldest letters go and are counted as
// [LostLetters].
func (s *Spool) AppendDead(destination string, letters ...DeadLetter) error { panic("not yet") }

// ListDead returns the letters in the order of their arrival. Lines that
// cannot be read are left out.
func (s *Spool) ListDead(destination string) ([]DeadLetter, error) { panic("not yet") }

// DropDead removes the letters with these ids, all when none is given, and
// returns how many went. It is atomic: a kill leaves the file as it was or as
// it shall be. Unknown ids are ignored.
func (s *Spool) DropDead(destination string, ids ...string) (int, error) { panic("not yet") }

// ReplayDead marks the letters with these ids, all when none is given, to be
// tried again, and returns how many are marked now. They stay in the file: who
// delivers one calls DropDead then, and who fails calls AppendDead.
func (s *Spool) ReplayDead(destination string, ids ...string) (int, error) { panic("not yet") }

// DeadLetters returns the destinations that have a dead-letter file, sorted.
func (s *Spool) DeadLetters() ([]string, error) { panic("not yet") }
