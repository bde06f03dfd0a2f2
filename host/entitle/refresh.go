package entitle

import (
	"context"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// refetchEvery is how often a token that names an unknown key may make carl
	// ask for the keys: whoever sends such tokens must not get to choose.
	refetchEvery = 5 * time.Minute
	// checkEvery is how often the platform's keys are held against the pinned
	// ones without a cause, so that a withdrawn one does not stay for long.
	checkEvery = 24 * time.Hour
	// refreshPatience is how long another process may be at its own refresh: it
	// makes three requests at most, of ten seconds each.
	refreshPatience = 40 * time.Second
)

// Refresh asks the platform for a token, verifies and caches it. One refresh is
// under way at a time, of all processes; who waited for another takes what that
// one brought.
//
// Errors are those of the platform; carl.entitlements.signature_invalid where
// the token does not stand verification; carl.entitlements.jwks_stale where the
// keys do not follow from the pinned ones; ctx's; and those of writing. What was
// cached is kept, unless the platform refused: then its grace has ended. The
// state is told in any case.
func (s *Store) Refresh(ctx context.Context, platform Platform) (State, error) {
	began := s.now()
	lock, free, err := private.TryLockOn(s.fs, s.files.Refreshing)
	if err == nil && !free {
		lock, err = s.waitForRefresh(ctx)
		if state := s.Load(); err == nil && state.token == Fresh && state.FetchedAt.After(began) {
			lock.Unlock()
			return state, nil
		}
	}
	if err == nil {
		defer lock.Unlock()
		err = s.refresh(ctx, platform)
	}
	return s.Load(), err
}

// waitForRefresh takes the lock of a refresh once the one under way has ended.
func (s *Store) waitForRefresh(ctx context.Context) (*private.FileLock, error) {
	patient, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	lock, err := private.LockOn(patient, s.fs, s.files.Refreshing)
	if patient.Err() != nil && ctx.Err() == nil && err != nil {
		return nil, fault.New(fault.IO, "another carl process has been asking the platform for %v, and holds %s", refreshPatience, s.files.Refreshing).
			WithKept("the cached entitlements were kept").WithHint("end that process, then run the same command again")
	}
	return lock, err
}

func (s *Store) refresh(ctx context.Context, platform Platform) error {
	f := s.look()
	if err := f.unusable(); err != nil {
		return kept(err)
	}
	if f.pin == nil && (!f.pinned.absent() || f.holdsToken()) {
		return kept(f.pinErr())
	}
	token, err := platform.Token(ctx)
	if err != nil {
		return s.refused(err)
	}
	r := refreshing{Store: s, ctx: ctx, platform: platform, files: f, token: token}
	t, err := r.verify()
	if err != nil {
		return kept(err)
	}
	return kept(s.accept(token, t))
}

// holdsToken reports whether a token was cached, or may have been, so that
// these are not the first keys.
func (f *files) holdsToken() bool {
	return f.cache.err != nil || f.cache.content != nil && f.cache.content.Token != ""
}

// refused looks at why the platform sent no token, and ends the grace where it
// said no.
func (s *Store) refused(err error) error {
	switch code := fault.CodeOf(err); code {
	case fault.CampUnauthorized, fault.EntitlementsRefused:
		was, failed := s.end(code)
		if failed != nil {
			return failed
		}
		if was {
			return withKept(err, "the grace of the cached entitlements has ended")
		}
		return err
	}
	return kept(err)
}

// kept adds to a failed refresh what was left untouched.
func kept(err error) error { return withKept(err, "the cached entitlements were kept") }

func withKept(err error, what string) error {
	if e, ok := err.(*fault.Error); ok && e.Kept == "" {
		return e.WithKept("%s", what)
	}
	return err
}

// refreshing is one refresh after its token came.
type refreshing struct {
	*Store
	ctx      context.Context
	platform Platform
	files    *files
	token    string
}

// verify finds the keys that the token is to be verified with, and does it.
func (r *refreshing) verify() (*Token, error) {
	pin := r.files.pin
	if pin == nil {
		return r.verifyFirst()
	}
	t, err := r.against(pin)
	switch {
	case err == nil:
		return r.checkKeys(pin, t)
	case isRejection(err, CheckKeyID):
		return r.verifyUnknown(pin, err)
	case isRejection(err, CheckSignature):
		// A key that was exchanged under its kid shows as a bad signature.
		if _, _, moved := r.follow(pin); fault.CodeOf(moved) == fault.EntitlementsJWKSStale {
			return nil, moved
		}
	}
	return nil, err
}

func (r *refreshing) against(pin *Pin) (*Token, error) {
	v := Verifier{Issuers: r.rules.issuers, keys: pin.find}
	return v.Verify(r.token, r.now())
}

// verifyFirst pins the first set, if the token is signed by one of it.
func (r *refreshing) verifyFirst() (*Token, error) {
	set, err := r.keySet()
	if err != nil {
		return nil, err
	}
	pin := newPin(set, r.url, r.now())
	t, err := r.against(pin)
	if err != nil {
		return nil, err
	}
	return t, r.savePin(pin)
}

// verifyUnknown looks for the key that the token names. unknown is how the
// token was refused.
func (r *refreshing) verifyUnknown(pin *Pin, unknown error) (*Token, error) {
	if err := r.mayRefetch(); err != nil {
		return nil, err
	}
	next, left, err := r.follow(pin)
	if err != nil {
		return nil, err
	}
	if err := r.savePin(next); err != nil {
		return nil, err
	}
	t, err := r.against(next)
	if isRejection(err, CheckKeyID) {
		raw, _ := wellFormed(r.token)
		if h, _ := readHeader(raw); r.strict && slices.Contains(left, h.kid) && !next.knows(h.kid) {
			return nil, stale("the platform signs with the key %q, which no pinned key endorses, and strict_pinning asks for that", h.kid)
		}
		return nil, unknown
	}
	return t, err
}

// mayRefetch notes that the keys are asked for because of an unknown kid, and
// refuses when that was done a moment ago.
func (r *refreshing) mayRefetch() error {
	return r.locked(func(f *files) error {
		w := f.witnessed()
		now := r.now()
		// A time in the future is that of a clock that was wrong.
		if since := now.Sub(w.RefetchedAt); since >= 0 && since < refetchEvery {
			return stale("the token names a key that is not pinned, and the platform was asked for its keys %v ago", since.Round(time.Second)).
				WithHint("run `carl entitlements show --refresh` in %v", (refetchEvery - since).Round(time.Second))
		}
		w.RefetchedAt = now
		return r.write(r.Store.files.Witness, w)
	})
}

// checkKeys holds the platform's keys against the pinned ones now and then, and
// then t against those that are left.
func (r *refreshing) checkKeys(pin *Pin, t *Token) (*Token, error) {
	if since := r.now().Sub(pin.CheckedAt); since >= 0 && since < checkEvery {
		return t, nil
	}
	next, _, err := r.follow(pin)
	if fault.CodeOf(err) == fault.EntitlementsJWKSStale {
		return nil, err
	}
	if err != nil {
		return t, nil // it stands by itself, and the keys are asked for again
	}
	if err := r.savePin(next); err != nil {
		return nil, err
	}
	return r.against(next)
}

// follow asks for the keys and tells which pin follows. An answer that cannot
// be had, or is no key set, is an error of its own.
func (r *refreshing) follow(pin *Pin) (*Pin, []string, error) {
	set, err := r.keySet()
	if err != nil {
		return nil, nil, err
	}
	return pin.follow(set, r.strict, r.now())
}

func (r *refreshing) keySet() (*KeySet, error) {
	data, err := r.platform.Keys(r.ctx)
	if err != nil {
		return nil, err
	}
	return ParseKeySet(data)
}

func (r *refreshing) savePin(pin *Pin) error {
	return r.locked(func(f *files) error {
		if err := asideOn(r.fs, &f.pinned); err != nil {
			return err
		}
		w := f.witnessed()
		return replace(r.Store, w, &w.Pin, f.pinned, pin.file(), false)
	})
}

// Repin pins the platform's keys anew because a person vouches for those with
// the thumbprints expect. The error is carl.entitlements.jwks_stale where one
// of them is not served; the pinned keys are kept then.
func (s *Store) Repin(ctx context.Context, platform Platform, expect ...string) (*Pin, error) {
	lock, err := s.waitForRefresh(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	r := refreshing{Store: s, ctx: ctx, platform: platform, files: s.look()}
	if err := r.files.unusable(); err != nil {
		return nil, err
	}
	set, err := r.keySet()
	if err != nil {
		return nil, withKept(err, "the pinned keys were kept")
	}
	pin, err := r.files.pin.repin(set, expect, s.strict, s.url, s.now())
	if err != nil {
		return nil, withKept(err, "the pinned keys were kept")
	}
	if err := r.savePin(pin); err != nil {
		return nil, err
	}
	// The next token may name a key that stands beside the vouched one.
	return pin, s.locked(func(f *files) error {
		w := f.witnessed()
		w.RefetchedAt = time.Time{}
		return s.write(s.files.Witness, w)
	})
}
