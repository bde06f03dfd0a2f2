package host

import (
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/sync"
)

// TestCheckLedgerAt holds what doctor says of the ledger at a destination against
// what helps: a row that is not ok names it.
func TestCheckLedgerAt(t *testing.T) {
	const hint = "run this"
	for _, c := range []struct {
		name   string
		is     *sync.LedgerStatus
		status home.Status
		says   string
	}{
		{"no ledger", nil, home.OK, ""},
		{"nothing yet", &sync.LedgerStatus{State: sync.OK}, home.OK, ""},
		{"all there", &sync.LedgerStatus{State: sync.OK, Acknowledged: 9}, home.OK, "ledger: ok, 9 blocks acknowledged, 0 pending"},
		{"gone", &sync.LedgerStatus{State: sync.OK, Acknowledged: 9, Skipped: 4, Unnoted: 4, Reason: "4 blocks were gone", Hint: hint}, home.Warn, "4 blocks were gone"},
		{"gone, and noted", &sync.LedgerStatus{State: sync.OK, Acknowledged: 9, Skipped: 4}, home.OK, "4 blocks were gone before they could be sent, as you have noted"},
		{"backing off", &sync.LedgerStatus{State: sync.BackingOff, Pending: 1, Reason: "down", Hint: hint}, home.Warn, "down"},
		{"paused", &sync.LedgerStatus{State: sync.Paused, Pending: 1, Reason: "refused", Hint: hint}, home.Fail, "refused"},
		{"rolled back to nothing", &sync.LedgerStatus{State: sync.Paused, Code: fault.ForwardFailed, Reason: "rolled back", Hint: hint}, home.Fail, "rolled back (carl.constitutional.forward_failed)"},
	} {
		row := checkLedgerAt(home.Check{Name: "destination d", Status: home.OK}, c.is)
		if row.Status != c.status || !strings.Contains(row.Detail, c.says) || (row.Fix == hint) != (c.status != home.OK) {
			t.Errorf("%s: %+v", c.name, row)
		}
	}
}
