package sync

import (
	"math/rand/v2"
	"time"
)

const (
	// MinBackoff is the least that carl waits after a failure: a destination
	// that is down is asked at most once a second.
	MinBackoff = time.Second
	// MaxBackoff is the most that carl waits of its own accord: what was down
	// is noticed to be up within minutes.
	MaxBackoff = 5 * time.Minute
	// MaxRetryAfter is the most that carl waits because a destination asks for
	// it. A header that says ten years, by malice or by a slip of units, must
	// not silence a destination for good.
	MaxRetryAfter = time.Hour
)

// backoff draws how long to wait after the given number of failures in a row,
// at least one: anything between MinBackoff and a bound that doubles each time
// up to MaxBackoff, with full jitter, so that many carls that failed together
// do not come back together; and never less than the destination asked for,
// up to MaxRetryAfter.
func backoff(failures int, retryAfterMS uint64) time.Duration {
	bound := MaxBackoff
	// 2⁹ seconds are more than five minutes; shifting further would overflow.
	if failures < 9 {
		bound = min(MaxBackoff, MinBackoff<<max(failures, 1))
	}
	wait := MinBackoff + rand.N(bound-MinBackoff+1)
	asked := MaxRetryAfter
	if retryAfterMS < uint64(MaxRetryAfter/time.Millisecond) {
		asked = time.Duration(retryAfterMS) * time.Millisecond
	}
	return max(wait, asked)
}
