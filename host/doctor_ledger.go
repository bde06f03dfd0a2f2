package host

import (
	"context"
	"fmt"
	"os"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/sync"
)

// checkLedger says whether the ledger can go on, and whether blocks wait for a
// destination whose file is about to go. It does not verify every block: that is
// `carl ledger verify`.
func (h *Host) checkLedger() home.Check {
	const name = "ledger"
	if _, err := os.Lstat(h.home.Paths.LedgerKey); err != nil {
		return home.Check{Name: name, Status: home.OK, Detail: "nothing was recorded yet"}
	}
	key, err := h.ledger.Key()
	if err != nil {
		return failedCheck(name, err)
	}
	size := h.ledger.Size()
	row := home.Check{Name: name, Status: home.OK,
		Detail: fmt.Sprintf("%d blocks, signed with %.8s…; `carl ledger verify` checks each", size, key.ID)}
	attested, err := h.ledger.Attested()
	if err == nil && attested > size {
		// After a power cut the checkpoint may be an older one; then this finds more.
		_, err = h.ledger.Verify(context.Background(), nil)
	}
	if err != nil {
		return failedCheck(name, err)
	}
	blocks, used, room, err := h.ledger.Pending()
	switch {
	case err != nil:
		return failedCheck(name, err)
	case used > room/2:
		row.Status, row.Fix = home.Warn, "run `carl ledger replay`, and see why the destination does not take them"
		row.Detail += fmt.Sprintf("; %d blocks wait for a destination and take %d of the %d bytes that are kept for them; beyond that they are lost to it", blocks, used, room)
	case blocks > 0:
		row.Detail += fmt.Sprintf("; %d blocks wait for a destination outside of its files", blocks)
	}
	return row
}

// checkLedgerAt says how far a destination has the ledger.
func checkLedgerAt(row home.Check, s *sync.LedgerStatus) home.Check {
	if s == nil || s.Pending+s.Acknowledged+s.Skipped == 0 && s.State != sync.Paused {
		return row
	}
	row.Detail += fmt.Sprintf("; ledger: %s, %d blocks acknowledged, %d pending", s.State, s.Acknowledged, s.Pending)
	if s.Reason != "" && s.State != sync.Disabled {
		row.Detail += "; " + s.Reason
	}
	if known := s.Skipped - s.Unnoted; known > 0 {
		row.Detail += fmt.Sprintf("; %d blocks were gone before they could be sent, as you have noted", known)
	}
	switch {
	case s.State == sync.Paused:
		row.Status, row.Fix = home.Fail, s.Hint
		if s.Code == fault.ForwardFailed {
			row.Detail += " (" + string(s.Code) + ")"
		}
	case (s.State == sync.BackingOff || s.Unnoted > 0) && row.Status == home.OK:
		row.Status, row.Fix = home.Warn, s.Hint
	}
	return row
}
