package sync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// maxCursor bounds the file of a cursor, whose reason is the longest part.
const maxCursor = 64 << 10

// blockCursor is how far a destination has the ledger: the file
// state/<name>.ledger. Losing it costs the blocks being offered again, and
// answered as known.
type blockCursor struct {
	V        int    `json:"v"`
	LedgerID string `json:"ledger_id,omitzero"`
	// Next is the first block that the destination was not heard to have.
	Next uint64 `json:"next"`
	// Last is the hash of the block before that, in hex: what the destination has,
	// whatever the ledger came to have there since.
	Last string `json:"last,omitzero"`
	// Skipped blocks were gone before they could be sent; the user has taken note
	// of Noted of them.
	Skipped      uint64    `json:"skipped,omitzero"`
	Noted        uint64    `json:"noted,omitzero"`
	Acknowledged uint64    `json:"acknowledged"`
	Attempts     int       `json:"attempts,omitzero"`
	NotBefore    time.Time `json:"not_before,omitzero"`
	Paused       bool      `json:"paused,omitzero"`
	Code         string    `json:"code,omitzero"`
	Reason       string    `json:"reason,omitzero"`
	Hint         string    `json:"hint,omitzero"`
}

// load reads the cursor, and whether anything may be sent. What is no cursor is
// moved aside.
func (l *blockLane) load() error {
	l.granted = true
	if l.dest.Network {
		l.granted, l.epoch = l.o.consent()
	}
	l.cursor = blockCursor{V: 1}
	data, err := private.ReadFile(l.path, maxCursor)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, private.ErrTooLarge), err != nil && !isFile(l.path):
		return quarantine(l.path)
	case err != nil:
		return err
	}
	err = private.ParseJSON(data, &l.cursor)
	var later *private.TooNewError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &later):
		return fault.New(fault.HomeTooNew, "%s: %w", l.path, err).WithHint("%s", later.Use)
	}
	l.cursor = blockCursor{V: 1}
	return quarantine(l.path)
}

// isFile reports whether there is a file, and not a folder or a link.
func isFile(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

// quarantine moves a file aside, unless somebody else has.
func quarantine(path string) error {
	if _, err := private.Quarantine(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (l *blockLane) save() error {
	data, err := private.FormatJSON(&l.cursor)
	if err != nil {
		return err
	}
	if err := private.MkdirAll(filepath.Dir(l.path)); err != nil {
		return err
	}
	return private.WriteFile(l.path, data)
}

// resumeBlocks lifts the pause and the back-off of a destination's ledger, also
// the time that it asked carl to wait for: as `carl ledger replay`, which asks at
// once. Where the ledger was rolled back it goes on from what is there. With note
// it notes that the user knows what was gone before it could be sent.
func (o *Options) resumeBlocks(d *Destination, note bool, match func(*blockCursor) bool) error {
	if !d.Ledger || o.Ledger == nil {
		return nil
	}
	l := newBlockLane(o, d)
	if err := l.load(); err != nil {
		return err
	}
	c := &l.cursor
	stopped := c.Paused || c.Attempts > 0
	note = note && c.Noted < c.Skipped
	if !match(c) || !stopped && !note {
		return nil
	}
	if note {
		c.Noted = c.Skipped
	}
	if size := o.Ledger.Size(); c.Paused && c.Code == string(fault.ForwardFailed) && c.LedgerID == o.Ledger.ID() && size < c.Next {
		c.Next, c.Last = size, ""
	}
	c.Paused, c.Attempts, c.NotBefore = false, 0, time.Time{}
	c.Code, c.Reason, c.Hint = "", "", ""
	return l.save()
}

// Forwarded is the first block of the ledger with this id that some destination
// is still to have; false where no destination gets the ledger, or the user has
// not consented that one does. What forbids sending at this moment alone keeps
// nothing from being kept: see [Options.Consented].
func Forwarded(o Options, ledgerID string) (next uint64, some bool) {
	consented := o.consented()
	for i := range o.Destinations {
		d := &o.Destinations[i]
		if !d.Ledger || d.Network && !consented {
			continue
		}
		l := newBlockLane(&o, d)
		if l.load() != nil {
			return 0, true
		}
		at := l.cursor.Next
		if l.cursor.LedgerID != ledgerID {
			at = 0 // it has another one, or none
		}
		if !some || at < next {
			next = at
		}
		some = true
	}
	return next, some
}
