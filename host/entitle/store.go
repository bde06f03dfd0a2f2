package entitle

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// PlatformIssuer is the issuer of the platform's own tokens, accepted beside the
// configured address.
const PlatformIssuer = "https://carl.camp"

// Options say what a store keeps where, and by which rules.
type Options struct {
	Files Files
	// URL is the platform's configured address: an accepted issuer.
	URL string
	// Strict accepts an added key only with the endorsement of a pinned one.
	Strict bool
	// OfflineRoot verifies licences; nil for none.
	OfflineRoot ed25519.PublicKey
	// InstallID tells this installation's id, "" where it has none yet; nil is
	// an installation without one. A licence may be bound to it.
	InstallID func() string
	// Lower reports whether a tier is lower than another: package tier has the order.
	Lower func(tier, than string) bool
	// Clock is the time; nil is the machine's.
	Clock func() time.Time
	// FS is the file system; nil is the real one.
	FS private.FS
}

// Store is the entitlements of one home. It holds no open file. Its methods may
// be called from several goroutines, and by several processes at once.
type Store struct {
	files  Files
	url    string
	strict bool
	rules  rules
	lower  func(tier, than string) bool
	clock  func() time.Time
	fs     private.FS
}

// New makes a store. It touches nothing.
func New(o Options) *Store {
	s := &Store{
		files:  o.Files,
		url:    o.URL,
		strict: o.Strict,
		rules:  rules{issuers: []string{PlatformIssuer, o.URL}, root: o.OfflineRoot, installID: o.InstallID},
		lower:  o.Lower,
		clock:  o.Clock,
		fs:     o.FS,
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.fs == nil {
		s.fs = private.OS()
	}
	return s
}

// now is the clock's time without its monotonic part, which files do not keep.
func (s *Store) now() time.Time { return s.clock().UTC().Round(0) }

// Look tells the state and changes nothing.
func (s *Store) Look() State { return s.rules.evaluate(s.look(), s.now()) }

// Load tells the state, notes the time, and moves a damaged cache aside. What
// cannot be written, or not at once since another process writes, is no reason not
// to tell the state.
func (s *Store) Load() State {
	f := s.look()
	state := s.rules.evaluate(f, s.now())
	if f.unusable() != nil || !f.movable() && !f.unsettled() && (f.cache.content == nil || !f.markDue(s.now())) {
		return state
	}
	s.inPassing(func(f *files) error {
		if f.movable() {
			state = s.rules.evaluate(f, s.now())
			state.Aside, _ = private.QuarantineOn(s.fs, f.cache.path)
			return nil
		}
		w := f.witnessed()
		if changed, err := s.settle(f, w); err != nil {
			return err
		} else if changed {
			if err := s.write(s.files.Witness, w); err != nil {
				return err
			}
		}
		if now := s.now(); f.cache.content != nil && f.markDue(now) {
			return s.writeMark(w, now)
		}
		return nil
	})
	return state
}

// movable reports whether the cache is damaged by itself. Where the keys are
// amiss as well it stays, since it tells that these are not the first ones.
func (f *files) movable() bool {
	return f.cache.damaged() && f.cache.err != errUnwitnessed && f.pin != nil
}

// firstMark notes the time ahead of the first thing that is cached. Where nothing
// is, nothing can come to count by it, and no reader finds a cache without a time.
func (s *Store) firstMark(f *files, mark time.Time) error {
	if f.cache.content != nil || f.cache.damaged() || f.clock.content != nil {
		return nil
	}
	return s.write(s.files.Clock, &clockFile{V: 1, Mark: mark})
}

// writeMark notes a time in both places.
func (s *Store) writeMark(w *witnessFile, mark time.Time) error {
	if err := s.write(s.files.Clock, &clockFile{V: 1, Mark: mark}); err != nil {
		return err
	}
	w.Mark = mark
	return s.write(s.files.Witness, w)
}

// accept caches a token that was just verified online. Where it says less than
// the one before, that one is over with first.
func (s *Store) accept(token string, t *Token) error {
	return s.locked(func(f *files) error {
		w := f.witnessed()
		content := &cacheFile{V: 1, Token: token, FetchedAt: s.now()}
		if c := f.cache.content; c != nil {
			content.License, content.ImportedAt = c.License, c.ImportedAt
		}
		if err := asideOn(s.fs, &f.cache); err != nil {
			return err
		}
		// With a token that is newer than any before the platform has just spoken,
		// so the clock is right, also where it once was far ahead. One that was seen
		// already, or is older, says nothing about the time: it may be served again
		// by somebody who turned the clock back.
		before := s.rules.evaluate(f, s.now()).Token
		if w.Mark = content.FetchedAt; before != nil && !t.IssuedAt.After(before.IssuedAt) {
			w.Mark = later(f.mark(), content.FetchedAt)
		}
		// The clock file comes last: it lets what is cached count.
		if err := s.firstMark(f, w.Mark); err != nil {
			return err
		}
		over := before != nil && s.less(t, before)
		if err := replace(s, w, &w.Cache, f.cache, content, over); err != nil {
			if over {
				err = withKept(err, "what was cached before may count no more")
			}
			return err
		}
		return s.write(s.files.Clock, &clockFile{V: 1, Mark: w.Mark})
	})
}

// less reports whether a token says less than another in any respect.
func (s *Store) less(t, than *Token) bool {
	return s.lower(t.Tier, than.Tier) || slices.ContainsFunc(than.Grants, func(g Grant) bool {
		return !slices.ContainsFunc(t.Grants, func(kept Grant) bool { return kept.Key == g.Key })
	})
}

// end notes that the platform took the cached token back, and reports whether
// there was one.
func (s *Store) end(code fault.Code) (was bool, err error) {
	err = s.locked(func(f *files) error {
		c := f.cache.content
		if c == nil || c.Token == "" || c.Ended != nil {
			return nil
		}
		was = true
		content := *c
		content.Ended = &ended{At: s.now(), Code: code}
		w := f.witnessed()
		return replace(s, w, &w.Cache, f.cache, &content, true)
	})
	return was, err
}

// Forget drops the platform's token, as logging out does; a licence stays.
func (s *Store) Forget() error {
	if f := s.look(); f.cache.absent() {
		return nil
	}
	return s.locked(func(f *files) error {
		c := f.cache.content
		if c == nil || c.Token == "" {
			return nil
		}
		w := f.witnessed()
		if c.License != "" {
			return replace(s, w, &w.Cache, f.cache, &cacheFile{V: 1, License: c.License, ImportedAt: c.ImportedAt}, true)
		}
		w.Cache = nil
		if err := s.write(s.files.Witness, w); err != nil {
			return err
		}
		if err := s.fs.Remove(f.cache.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.IO, "cannot remove %s: %w", f.cache.path, err)
		}
		return nil
	})
}

// Import verifies an offline licence and keeps it. Errors are
// carl.entitlements.signature_invalid, .license_refused, .no_key, and those of
// writing; what was cached is kept then.
func (s *Store) Import(license string) (State, error) {
	err := s.locked(func(f *files) error {
		now := later(s.now(), f.mark())
		if _, err := s.rules.license(license, now); err != nil {
			return err
		}
		content := &cacheFile{V: 1}
		if c := f.cache.content; c != nil {
			*content = *c
		}
		content.License, content.ImportedAt = license, s.now()
		if err := asideOn(s.fs, &f.cache); err != nil {
			return err
		}
		// The clock file is made anew here, and only a verified token may let a
		// cached one count again that lost it.
		if f.clock.content == nil && content.Token != "" && content.Ended == nil {
			content.Ended = &ended{At: s.now(), Code: fault.EntitlementsCacheCorrupt}
		}
		if err := s.firstMark(f, now); err != nil {
			return err
		}
		w := f.witnessed()
		if err := replace(s, w, &w.Cache, f.cache, content, false); err != nil {
			return err
		}
		// A licence says when it was issued, and not what time it is, so the mark
		// does not go back.
		return s.writeMark(w, now)
	})
	if err != nil {
		return State{}, err
	}
	return s.Look(), nil
}

// asideOn moves a damaged file away before another takes its place.
func asideOn[T any](fsys private.FS, r *record[T]) error {
	if !r.damaged() {
		return nil
	}
	if _, err := private.QuarantineOn(fsys, r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Inspect verifies a token or a licence as it would be verified if it came
// today, and keeps nothing of it. With a set, a token is verified against that
// instead of the pinned keys.
func (s *Store) Inspect(jws string, set *KeySet) (t *Token, license bool, err error) {
	f := s.look()
	now := s.now()
	if raw, ok := wellFormed(jws); ok {
		if h, ok := readHeader(raw); ok && h.typ == typeLicense {
			t, err := s.rules.license(jws, later(now, f.mark()))
			return t, true, err
		}
	}
	v := Verifier{Issuers: s.rules.issuers}
	switch {
	case set != nil:
		v.keys = set.find
	case f.pin != nil:
		v.keys = f.pin.find
	case !f.pinned.absent():
		return nil, false, f.pinErr()
	default:
		return nil, false, fault.New(fault.EntitlementsNoKey, "entitlements: no keys of the platform are pinned yet")
	}
	t, err = v.Verify(jws, now)
	if err != nil {
		return nil, false, err
	}
	return t, false, nil
}
