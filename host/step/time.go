package step

import (
	"math"
	"time"
)

// Why a text is not a time that carl takes.
const (
	notATime    = "is not an RFC 3339 time with at most 9 decimals"
	outsideTime = "lies outside 1970-01-01 to 2554-07-21, what 64 bits of nanoseconds hold"
)

// parseTime reads an RFC 3339 date-time (RFC 3339, section 5.6) and gives it in
// UTC. A leap second has no number of nanoseconds since 1970 and is refused.
// The second result says what is wrong, "" for nothing. time.Parse is more
// liberal than the RFC (a comma for the point, hours of one digit).
func parseTime(b []byte) (time.Time, string) {
	if len(b) < len("2006-01-02T15:04:05Z") ||
		b[4] != '-' || b[7] != '-' || b[10]|0x20 != 't' || b[13] != ':' || b[16] != ':' {
		return time.Time{}, notATime
	}
	year, ok1 := decimal(b[0:4])
	month, ok2 := decimal(b[5:7])
	day, ok3 := decimal(b[8:10])
	hour, ok4 := decimal(b[11:13])
	minute, ok5 := decimal(b[14:16])
	second, ok6 := decimal(b[17:19])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || hour > 23 || minute > 59 || second > 59 ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return time.Time{}, notATime
	}
	rest, nanos := b[19:], 0
	if rest[0] == '.' {
		n := 1
		for unit := 100_000_000; n < len(rest) && '0' <= rest[n] && rest[n] <= '9'; n++ {
			nanos += int(rest[n]-'0') * unit
			unit /= 10
		}
		if n < 2 || n > 10 {
			return time.Time{}, notATime
		}
		rest = rest[n:]
	}
	offset := 0
	switch {
	case len(rest) == 1 && rest[0]|0x20 == 'z':
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		hours, ok1 := decimal(rest[1:3])
		minutes, ok2 := decimal(rest[4:6])
		if !ok1 || !ok2 || hours > 23 || minutes > 59 {
			return time.Time{}, notATime
		}
		offset = hours*3600 + minutes*60
		if rest[0] == '-' {
			offset = -offset
		}
	default:
		return time.Time{}, notATime
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	t = t.Add(-time.Duration(offset) * time.Second)
	if !inRange(t) {
		return time.Time{}, outsideTime
	}
	return t, ""
}

// inRange reports whether t has a number of nanoseconds since 1970 that fits
// an unsigned 64-bit integer, as the contract with plugins carries it.
func inRange(t time.Time) bool {
	const perSecond = 1_000_000_000
	const lastSecond, lastNano = math.MaxUint64 / perSecond, math.MaxUint64 % perSecond
	s := t.Unix()
	return s >= 0 && (s < lastSecond || s == lastSecond && t.Nanosecond() <= lastNano)
}

func decimal(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
