package entitle

import (
	"crypto/ed25519"
	"errors"
	"time"

	"carl.camp/carl/host/fault"
)

// Status says how far the cached entitlements can be relied on.
type Status string

// The statuses. Of the first three and of a licence the grants hold.
const (
	Fresh   Status = "fresh"         // at most 15 minutes old: canonical
	Stale   Status = "stale"         // at most an hour old: a refresh may help
	Grace   Status = "offline_grace" // at most a day old: the platform cannot be asked, and the cache is the truth
	Expired Status = "offline_grace_expired"
	Missing Status = "missing" // nothing was cached yet
	Corrupt Status = "corrupt" // what is cached cannot be used
	License Status = "offline_license"
)

// The ages up to which a token is [Fresh], [Stale] and in [Grace], inclusive.
const (
	FreshFor = 15 * time.Minute
	StaleFor = time.Hour
	GraceFor = 24 * time.Hour
)

// State is what the files say at one moment. It is immutable.
type State struct {
	Status Status
	// Token is what the cached token says once it was verified, whether it still
	// counts or not; nil where there is none or it does not verify.
	Token *Token
	// Age is the token's: since it was fetched or issued, whichever was earlier.
	Age       time.Duration
	FetchedAt time.Time
	// EndedBy is the code of the refusal with which the platform ended the
	// grace; "" while it has not.
	EndedBy fault.Code
	// License is a licence that holds; nil where there is none, or where
	// LicenseErr says why it does not.
	License    *Token
	LicenseErr error
	ImportedAt time.Time
	// Pin is the pinned keys; nil before the first, and where PinErr says why
	// they cannot be used.
	Pin    *Pin
	PinErr error
	// Err is why a cached token does not count, but for its age: nil, or a
	// *[fault.Error].
	Err error
	// Aside is where a damaged cache was moved to by [Store.Load].
	Aside string

	now, mark time.Time
	token     Status // of the token alone
}

// usable reports whether the grants of a token hold.
func (s Status) usable() bool { return s == Fresh || s == Stale || s == Grace }

// Current returns the platform's token while it counts, else nil.
func (s *State) Current() *Token {
	if s.token.usable() {
		return s.Token
	}
	return nil
}

// TokenStatus is the status of the platform's token, also where a licence
// stands before it.
func (s *State) TokenStatus() Status { return s.token }

// Granting returns the token or licence that Status speaks of, and nil where
// none counts.
func (s *State) Granting() *Token {
	if s.Status == License {
		return s.License
	}
	return s.Current()
}

// Now is the time that the state was told for: the clock's, but never behind
// the latest that was seen.
func (s *State) Now() time.Time { return s.now }

// At is the state at a later moment of a program that keeps it.
func (s State) At(now time.Time) State {
	s.now = later(now, s.now)
	if s.token.usable() {
		s.Age = age(s.now, s.FetchedAt, s.Token.IssuedAt)
		s.token = byAge(s.Age)
	}
	if s.License != nil && notExpired(s.License, s.now) != nil {
		s.LicenseErr, s.License = licenseOver(s.License), nil
	}
	s.Status = s.summary()
	return s
}

// Ends is how long what Status speaks of still holds without the platform; zero
// where nothing does.
func (s *State) Ends() time.Time {
	switch t := s.Granting(); {
	case t == nil:
		return time.Time{}
	case s.Status == License:
		return t.ExpiresAt
	default:
		return s.now.Add(GraceFor - s.Age)
	}
}

// licenseWarnings are when before its end a licence is warned of, nearest first.
var licenseWarnings = [...]time.Duration{24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// LicenseEndsWithin is the least of 1, 7 and 30 days within which the licence
// that holds ends; zero where there is none or it holds for longer.
func (s *State) LicenseEndsWithin() time.Duration {
	if s.License == nil {
		return 0
	}
	for _, d := range licenseWarnings {
		if s.License.ExpiresAt.Sub(s.now) <= d {
			return d
		}
	}
	return 0
}

// age is the greatest that any of the two times allows: neither a clock that
// was set back nor a file says that a token is younger than it was signed.
func age(now, fetched, issued time.Time) time.Duration {
	return max(now.Sub(fetched), now.Sub(issued), 0)
}

func byAge(age time.Duration) Status {
	switch {
	case age <= FreshFor:
		return Fresh
	case age <= StaleFor:
		return Stale
	case age <= GraceFor:
		return Grace
	}
	return Expired
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// summary is the status of the whole.
func (s *State) summary() Status {
	switch {
	case s.License != nil:
		return License
	case s.token == Missing && s.LicenseErr != nil:
		return Expired
	}
	return s.token
}

// rules is what files are evaluated by.
type rules struct {
	issuers   []string
	root      ed25519.PublicKey
	installID func() string
}

// evaluate tells the state from the files. It is pure.
func (r rules) evaluate(f *files, clock time.Time) State {
	s := State{now: later(clock, f.mark()), mark: f.mark(), token: Missing, Pin: f.pin}
	if f.pinned.err != nil {
		s.PinErr = f.pinErr()
	}
	c := f.cache.content
	switch {
	case f.cache.err != nil:
		s.token, s.Err = Corrupt, f.cacheErr()
	case c == nil:
	default:
		if c.Token != "" {
			r.evaluateToken(&s, f, c)
		}
		if c.License != "" {
			r.evaluateLicense(&s, f, c)
		}
	}
	s.Status = s.summary()
	return s
}

func (r rules) evaluateToken(s *State, f *files, c *cacheFile) {
	s.FetchedAt = c.FetchedAt
	if f.pin == nil {
		s.token, s.Err = Corrupt, f.pinErr()
		return
	}
	v := Verifier{Issuers: r.issuers, keys: f.pin.find}
	t, err := v.verifyCached(c.Token, s.now)
	if err != nil {
		// The bytes are those that were verified once. What no longer fits is what
		// they are held against: the keys, the platform's address, the clock.
		s.token, s.Err = Expired, err
		return
	}
	s.Token = t
	s.Age = age(s.now, c.FetchedAt, t.IssuedAt)
	s.token = byAge(s.Age)
	switch {
	case c.Ended != nil:
		s.token, s.EndedBy = Expired, c.Ended.Code
	case f.clock.content == nil:
		s.token = Expired
		s.Err = f.clockErr("how old the cached entitlements are")
	}
}

func (r rules) evaluateLicense(s *State, f *files, c *cacheFile) {
	s.ImportedAt = c.ImportedAt
	if f.clock.content == nil {
		s.LicenseErr = f.clockErr("whether the licence has ended")
		return
	}
	s.License, s.LicenseErr = r.license(c.License, s.now)
}

// license makes every check of a licence.
func (r rules) license(jws string, now time.Time) (*Token, error) {
	if r.root == nil {
		return nil, fault.New(fault.EntitlementsNoKey, "entitlements: no offline root key is configured, so no licence can be verified")
	}
	t, err := verifyLicense(jws, r.root, r.issuers, now)
	switch {
	case err != nil:
		return nil, err
	case notExpired(t, now) != nil:
		return nil, licenseOver(t)
	case t.InstallID != "" && (r.installID == nil || t.InstallID != r.installID()):
		return nil, &fault.Error{Code: fault.EntitlementsLicenseRefused,
			Message: "entitlements: the licence was made for another installation", Err: &Rejection{CheckInstallID}}
	}
	return t, nil
}

func licenseOver(t *Token) error {
	return fault.New(fault.EntitlementsLicenseRefused, "entitlements: the licence ended on %s", t.ExpiresAt.Format(time.RFC3339))
}

// clockErr, cacheErr and pinErr put a file that is of no use into words.
func (f *files) clockErr(unknown string) error {
	if err := f.unusable(); err != nil {
		return err
	}
	return corrupt("%s is missing or damaged, so nobody knows %s", f.clock.path, unknown)
}

func (f *files) cacheErr() error {
	if err := f.unusable(); err != nil {
		return err
	}
	return corrupt("%s cannot be used: %w", f.cache.path, f.cache.err)
}

func (f *files) pinErr() error {
	if err := f.unusable(); err != nil {
		return err
	}
	if f.pinned.err == nil {
		return stale("%s is missing beside cached entitlements, and keys are not pinned a second time unasked", f.pinned.path)
	}
	return stale("%s cannot be used: %w", f.pinned.path, f.pinned.err)
}

func corrupt(format string, args ...any) *fault.Error {
	return fault.New(fault.EntitlementsCacheCorrupt, "entitlements: "+format, args...)
}

// markStep is how far the clock runs ahead of the high-water mark before it is
// noted: writing it costs two flushes of a file, and statuses differ by quarters
// of an hour.
const markStep = time.Minute

// markDue reports whether the mark is to be raised. A clock file that is
// missing or damaged stays so: only a verified token makes it anew.
func (f *files) markDue(now time.Time) bool {
	return f.clock.content != nil && f.witness.content != nil && now.Sub(f.mark()) >= markStep
}

// isRejection reports whether err is of one of the checks.
func isRejection(err error, checks ...Check) bool {
	var r *Rejection
	if !errors.As(err, &r) {
		return false
	}
	for _, c := range checks {
		if r.Check == c {
			return true
		}
	}
	return false
}
