package standin

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"carl.camp/carl/host/camp"
	"carl.camp/carl/host/fault"
)

// illegal is what was asked for and cannot be had, and says what can.
type illegal string

func (e illegal) Error() string { return string(e) }

// asFault is what a Go caller gets for an error of the issuer's.
func asFault(err error) error {
	var bad illegal
	if errors.As(err, &bad) {
		return fault.New(fault.Usage, "stand-in: %s", bad)
	}
	return err
}

// issuer says what the token's owner may do, and signs it.
type issuer struct {
	iss   string
	clock func() time.Time

	mu sync.Mutex
	// state is replaced as a whole by a change, after it is on disk. A change
	// that could not be made durable has not happened, though it may be there
	// after a restart.
	state  state  // guarded by mu
	file   string // "" without a data folder
	closed bool   // guarded by mu

	// What follows ends with the process.

	status int           // guarded by mu; what the entitlements answer
	ago    time.Duration // guarded by mu; how long ago tokens look issued
	signed int           // guarded by mu; how many entitlements were signed
}

// openIssuer reads file, or makes keys where it is missing; "" keeps them in memory.
func openIssuer(file string, o Options, clock func() time.Time) (*issuer, error) {
	i := &issuer{iss: o.Issuer, clock: clock, file: file, status: 200}
	if i.iss == "" {
		i.iss = camp.DefaultURL
	}
	if file != "" {
		st, found, err := readState(file)
		if err != nil {
			return nil, err
		}
		if found {
			i.state = st
			if st.ReceiptKey == nil {
				err = i.change(func(st *state) error {
					st.ReceiptKey = newSeed()
					return nil
				})
			}
			if err == nil && o.Tier != "" {
				err = i.setTier(o.Tier)
			}
			return i, err
		}
	}
	tier := o.Tier
	if tier == "" {
		tier = tierFree
	}
	i.state = newState(tier, clock().Unix())
	return i, i.change(func(*state) error { return nil })
}

// maxIssuer bounds iss; a token must stay under 8 KiB.
const maxIssuer = 256

func checkIssuer(iss string) error {
	for i := range len(iss) {
		if c := iss[i]; c <= ' ' || c >= 0x7f {
			return illegal("the issuer holds a space or a character beyond ASCII")
		}
	}
	if len(iss) > maxIssuer {
		return illegal(fmt.Sprintf("the issuer is longer than %d bytes", maxIssuer))
	}
	return nil
}

// current returns the state. It is not to be written to.
func (i *issuer) current() state {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state
}

// change makes a change to the state, durably, or none.
func (i *issuer) change(f func(*state) error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return fault.New(fault.IO, "stand-in: %w", errClosed)
	}
	st := i.state.clone()
	if err := f(&st); err != nil {
		return err
	}
	if i.file != "" {
		if err := st.write(i.file); err != nil {
			return err
		}
	}
	i.state = st
	return nil
}

// close ends changes: the folder may have another owner from now on.
func (i *issuer) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = i.file != ""
}

func (i *issuer) summary() (tier string, signed int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state.Tier, i.signed
}

func (i *issuer) setTier(tier string) error {
	if err := checkTier(tier); err != nil {
		return err
	}
	now := i.clock().Unix()
	return i.change(func(st *state) error {
		if st.Tier != tier {
			st.Tier, st.TierSince = tier, now
		}
		return nil
	})
}

func (i *issuer) grant(key string, ends time.Duration) error {
	now := i.clock()
	return i.change(func(st *state) error { return st.grant(key, ends, now) })
}

func (i *issuer) revoke(key string) error {
	now := i.clock()
	return i.change(func(st *state) error { return st.revoke(key, now) })
}

func (i *issuer) rotate(how Rotation) error {
	return i.change(func(st *state) error { return st.rotate(how) })
}

func (i *issuer) answerEntitlements(status int) error {
	if status != 200 && (status < 400 || status > 599) {
		return illegal(fmt.Sprintf("%d is neither 200 nor a status from 400 to 599", status))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status = status
	return nil
}

func (i *issuer) issuedAgo(d time.Duration) error {
	if d < 0 || d > maxSpan {
		return illegal(fmt.Sprintf("%v is not a duration from 0s to %v", d, maxSpan))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ago = d
	return nil
}
