package spool

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// legalName leaves out dots, which part a destination's name from what carl
// adds to it, and upper case, which some file systems fold.
var legalName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// deviceName is what Windows takes for a device in every folder.
var deviceName = regexp.MustCompile(`^(con|prn|aux|nul|com[0-9]|lpt[0-9])$`)

// ValidName reports whether a destination may bear the name: a lowercase
// letter or digit, then up to 63 lowercase letters, digits, "-" and "_"; no
// device name of Windows. Names become file names. The error is
// carl.config.invalid.
func ValidName(name string) error {
	switch {
	case !legalName.MatchString(name):
		return fault.New(fault.ConfigInvalid, "%.80q cannot be the name of a destination: names are 1 to 64 of a-z, 0-9, - and _, and begin with a letter or digit", name)
	case deviceName.MatchString(name):
		return fault.New(fault.ConfigInvalid, "%q cannot be the name of a destination: Windows has a device of that name", name)
	}
	return nil
}

// State is the durable progress of one destination. It is not for concurrent
// use, and only the holder of the sync lock saves it.
type State struct {
	// NotBefore is when the next attempt is due; zero: now.
	NotBefore time.Time
	// Attempts counts failures since the last success.
	Attempts int
	// Paused destinations wait for the user. Code (carl.…), Reason and Hint say
	// why and what mends it (2 KiB of each are kept); they may also be set while backing off.
	Paused             bool
	Code, Reason, Hint string
	// Acknowledged counts the events that the destination took, for display.
	Acknowledged uint64
	// Updated is when the state was last saved, set by Save; zero: never.
	Updated time.Time

	s     *Spool
	name  string
	slots map[int]*progress
}

// stateFile is the JSON of a state.
type stateFile struct {
	V            int         `json:"v"`
	Destination  string      `json:"destination"`
	NotBefore    time.Time   `json:"not_before,omitzero"`
	Attempts     int         `json:"attempts,omitzero"`
	Paused       bool        `json:"paused,omitzero"`
	Code         string      `json:"code,omitzero"`
	Reason       string      `json:"reason,omitzero"`
	Hint         string      `json:"hint,omitzero"`
	Acknowledged uint64      `json:"acknowledged"`
	Updated      time.Time   `json:"updated"`
	Slots        []slotState `json:"slots"`
}

type slotState struct {
	Slot  int    `json:"slot"`
	Mark  uint64 `json:"mark"`
	Spans []span `json:"spans,omitempty"`
}

func (f *stateFile) valid(name string) bool {
	last := -1
	for _, e := range f.Slots {
		p := progress{e.Mark, e.Spans}
		if e.Slot <= last || e.Slot >= MaxSlots || !p.valid() {
			return false
		}
		last = e.Slot
	}
	return f.Destination == name && f.Attempts >= 0
}

func (s *Spool) statePath(destination string) string {
	return filepath.Join(s.dir, "state", destination)
}

// LedgerCursor is the path of the file that says how far a destination has the
// ledger. It lies beside the states, under a name that no destination can bear.
func (s *Spool) LedgerCursor(destination string) string {
	return s.statePath(destination) + ".ledger"
}

// State returns the saved state of a destination, or a new one, at the
// beginning of the spool, when none is there or it is damaged (then it is
// moved aside). A state written by a later carl is carl.home.too_new.
func (s *Spool) State(destination string) (*State, error) {
	if err := ValidName(destination); err != nil {
		return nil, err
	}
	st := &State{s: s, name: destination, slots: map[int]*progress{}}
	var f stateFile
	ok, err := s.loadSealed(s.statePath(destination), maxSealed, &f, func(rest []byte) bool {
		return len(rest) == 0 && f.valid(destination)
	})
	if err != nil {
		return nil, err
	}
	if ok {
		st.NotBefore, st.Attempts, st.Paused = f.NotBefore, f.Attempts, f.Paused
		st.Code, st.Reason, st.Hint = f.Code, f.Reason, f.Hint
		st.Acknowledged, st.Updated = f.Acknowledged, f.Updated
		for _, e := range f.Slots {
			st.slots[e.Slot] = &progress{e.Mark, e.Spans}
		}
	}
	return st, nil
}

// Save makes the state durable: when it returns nil, a later State returns
// this, whatever happens.
func (st *State) Save() error {
	st.Updated = st.s.o.Now().UTC()
	f := stateFile{
		V: version, Destination: st.name,
		NotBefore: st.NotBefore.UTC(), Attempts: st.Attempts, Paused: st.Paused,
		Code: st.Code, Reason: clip(st.Reason), Hint: clip(st.Hint),
		Acknowledged: st.Acknowledged, Updated: st.Updated,
	}
	for _, slot := range slices.Sorted(maps.Keys(st.slots)) {
		p := st.slots[slot]
		f.Slots = append(f.Slots, slotState{slot, p.mark, p.spans})
	}
	b, err := seal(f)
	if err != nil {
		return spoolError("write", err)
	}
	return st.s.writeFile(st.s.statePath(st.name), b)
}

// writeFile replaces a file of a folder that may be missing yet.
func (s *Spool) writeFile(path string, b []byte) error {
	if err := s.makeDir(filepath.Dir(path)); err != nil {
		return spoolError("write", err)
	}
	if err := private.WriteFileOn(s.fs, path, b); err != nil {
		return spoolError("write", err)
	}
	return nil
}

// Forget removes state and batch in flight of a destination that is no more.
// Dead letters stay.
func (s *Spool) Forget(destination string) error {
	if err := ValidName(destination); err != nil {
		return err
	}
	for _, path := range []string{s.inflightPath(destination), s.statePath(destination)} {
		if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return spoolError("remove the state", err)
		}
	}
	return nil
}

// Destination returns the name that the state belongs to.
func (st *State) Destination() string { return st.name }

// Watermark returns the highest number of the slot up to which everything is
// settled; 0 when nothing is. Read from Watermark+1.
func (st *State) Watermark(slot int) uint64 {
	if p := st.slots[slot]; p != nil {
		return p.mark
	}
	return 0
}

// Settled reports whether the number is done with: acknowledged, a dead
// letter, or gone for good.
func (st *State) Settled(p Pos) bool { return st.slots[p.Slot].covers(p.Seq, p.Seq+1) }

// Settle marks the numbers from ≤ n < to of a slot as settled. Of more than
// 4096 separate ranges in a slot the highest are forgotten, and what they held
// will be read again.
func (st *State) Settle(slot int, from, to uint64) {
	if slot < 0 || slot >= MaxSlots {
		return
	}
	p := st.slots[slot]
	if p == nil {
		p = &progress{}
		st.slots[slot] = p
	}
	p.settle(from, to)
}

// SettleEntry marks e, and the missing numbers before it, as settled.
func (st *State) SettleEntry(e Entry) { st.Settle(e.Slot, e.First, e.Seq+1) }

// floor returns the lowest number of a slot that no destination can have
// settled, nor has in flight. Damaged files claim nothing: those destinations
// begin anew.
func (s *Spool) floor(slot int) uint64 {
	floor := uint64(1)
	for _, name := range s.stateNames() {
		var f stateFile
		if b, err := private.ReadFileOn(s.fs, s.statePath(name), maxSealed); err == nil {
			if rest, err := unseal(b, &f); err == nil && len(rest) == 0 && f.valid(name) {
				for _, e := range f.Slots {
					if e.Slot == slot {
						p := progress{e.Mark, e.Spans}
						floor = max(floor, p.end())
					}
				}
			}
		}
		floor = max(floor, s.inflightEnd(name, slot))
	}
	return floor
}

// stateNames returns the destinations that have a state or a batch in flight.
func (s *Spool) stateNames() []string {
	entries, err := s.fs.ReadDir(filepath.Join(s.dir, "state"))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if base, ok := cutInflight(name); ok {
			name = base
		}
		if ValidName(name) == nil && e.Type().IsRegular() && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
