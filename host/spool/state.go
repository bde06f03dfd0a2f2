package spool

import "time"

// ValidName reports whether a destination may bear the name: a lowercase
// letter or digit, then up to 63 lowercase letters, digits, "-" and "_"; no
// device name of Windows. Names become file names. The error is
// carl.config.invalid.
func ValidName(name string) error { panic("not yet") }

// State is the durable progress of one destination. It is not for concurrent
// use, and only the holder of the sync lock saves it.
type State struct {
	// NotBefore is when the next attempt is due; zero: now.
	NotBefore time.Time
	// Attempts counts failures since the last success.
	Attempts int
	// Paused destinations wait for the user. Code (carl.…), Reason and Hint say
	// why and what mends it; they may also be set while backing off.
	Paused             bool
	Code, Reason, Hint string
	// Acknowledged counts the events that the destination took, for display.
	Acknowledged uint64
	// Updated is when the state was last saved, set by Save.
	Updated time.Time
}

// State returns the saved state of a destination, or a new one, at the
// beginning of the spool, when none is there or it is damaged (then it is
// moved aside). A state written by a later carl is carl.home.too_new.
func (s *Spool) State(destination string) (*State, error) { panic("not yet") }

// Forget removes state and batch in flight of a destination that is no more.
// Dead letters stay.
func (s *Spool) Forget(destination string) error { panic("not yet") }

// Save makes the state durable: when it returns nil, a later State returns
// this, whatever happens.
func (st *State) Save() error { panic("not yet") }

// Destination returns the name that the state belongs to.
func (st *State) Destination() string { panic("not yet") }

// Watermark returns the highest number of the slot up to which everything is
// settled; 0 when nothing is. Read from Watermark+1.
func (st *State) Watermark(slot int) uint64 { panic("not yet") }

// Settled reports whether the number is done with: acknowledged, a dead
// letter, or gone for good.
func (st *State) Settled(p Pos) bool { panic("not yet") }

// Settle marks the numbers from ≤ n < to of a slot as settled. More than 4096
// separate ranges in a slot are not kept: the highest are forgotten, and what
// they held will be read again.
func (st *State) Settle(slot int, from, to uint64) { panic("not yet") }

// SettleEntry marks e, and the missing numbers before it, as settled.
func (st *State) SettleEntry(e Entry) { st.Settle(e.Slot, e.First, e.Seq+1) }

// Inflight is a batch that was fixed before its first send.
type Inflight struct {
	// Entries are the places that the batch settles; the spool will not use
	// these numbers again even when a power cut takes the records themselves.
	Entries []Range
	// Data is the caller's, byte for byte, at most [MaxInflight].
	Data []byte
}

// Range is the numbers From ≤ n < To of a slot.
type Range struct {
	Slot     int
	From, To uint64
}

// SaveInflight stores the batch durably, in the place of an earlier one.
func (s *Spool) SaveInflight(destination string, b *Inflight) error { panic("not yet") }

// LoadInflight returns the stored batch, or nil when there is none or it was
// damaged (then it is moved aside).
func (s *Spool) LoadInflight(destination string) (*Inflight, error) { panic("not yet") }

// ClearInflight removes the batch. After a power cut it may be back: sending
// it once more is legal, since its bytes and ids are the same.
func (s *Spool) ClearInflight(destination string) error { panic("not yet") }
