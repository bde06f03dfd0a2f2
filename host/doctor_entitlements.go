package host

import (
	"fmt"
	"strings"
	"time"

	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/tier"
)

// checkEntitlements says how far the cached entitlements can be relied on.
func (h *Host) checkEntitlements(s *entitle.State) home.Check {
	row := home.Check{Name: "entitlements", Status: home.OK, Detail: string(s.Status)}
	told := s.Granting()
	switch {
	case s.Status == entitle.Missing:
		row.Detail = fmt.Sprintf("none are cached, so the declared tier (%s) holds; `carl entitlements show --refresh` asks the platform", h.config.Tier)
		return row
	case s.Status == entitle.License:
		row.Detail += fmt.Sprintf("; tier %s, until %s", told.Tier, told.ExpiresAt.Format(time.RFC3339))
	case told != nil:
		row.Detail += fmt.Sprintf("; tier %s, signed with %s %s ago", told.Tier, told.KeyID, s.Age.Round(time.Second))
	}
	for _, err := range []error{s.Err, s.LicenseErr} {
		if err != nil {
			row.Status, row.Fix = home.Warn, fault.HintOf(err)
			row.Detail += "; " + err.Error()
		}
	}
	switch {
	case s.Status == entitle.Corrupt:
		row.Status = home.Fail
	case s.EndedBy != "":
		row.Status, row.Fix = home.Warn, "see why with `carl entitlements show --refresh`"
		row.Detail += fmt.Sprintf("; the platform took them back (%s)", s.EndedBy)
	case s.Status == entitle.Expired && row.Status == home.OK:
		row.Status, row.Fix = home.Warn, "run `carl entitlements show --refresh`"
		if s.Token != nil {
			row.Detail += fmt.Sprintf("; they are %s old, and count for nothing", s.Age.Round(time.Minute))
		}
	}
	if within := s.LicenseEndsWithin(); within > 0 {
		row.Status, row.Fix = home.Warn, "ask for the next licence, and run `carl entitlements import FILE`"
		row.Detail += fmt.Sprintf("; the licence ends within %d days", within/(24*time.Hour))
	}
	if token := s.Current(); token != nil && tier.Lower(token.Tier, h.config.Tier) {
		row.Status, row.Fix = home.Warn, "correct `tier` in config.yaml"
		row.Detail += fmt.Sprintf("; config.yaml declares the tier %s, which the platform does not bear out", h.config.Tier)
	}
	return row
}

// checkKeys names the pinned keys, and how they came to be.
func checkKeys(s *entitle.State) home.Check {
	const name = "entitlement keys"
	switch {
	case s.PinErr != nil:
		return failedCheck(name, s.PinErr)
	case s.Pin == nil:
		return home.Check{Name: name, Status: home.OK, Detail: "none are pinned yet; the first refresh pins them"}
	}
	var active, withdrawn []string
	rotated := ""
	for _, k := range s.Pin.Keys {
		if !k.Active() {
			withdrawn = append(withdrawn, k.ID)
			continue
		}
		active = append(active, k.ID)
		if k.AddedAt.After(s.Pin.PinnedAt) {
			rotated = fmt.Sprintf("; the platform added %s on %s", k.ID, k.AddedAt.Format(time.DateOnly))
		}
	}
	detail := fmt.Sprintf("pinned since %s: %s", s.Pin.PinnedAt.Format(time.DateOnly), strings.Join(active, ", ")) + rotated
	if len(withdrawn) > 0 {
		detail += "; withdrawn: " + strings.Join(withdrawn, ", ")
	}
	return home.Check{Name: name, Status: home.OK, Detail: detail}
}
