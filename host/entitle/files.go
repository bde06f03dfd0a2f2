package entitle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// maxFile bounds each of the files: two tokens of 8 KiB, or 64 pinned keys.
	maxFile = 64 << 10
	// lockPatience is how long another process may hold the lock, which it does
	// for the writing of a few small files.
	lockPatience = 10 * time.Second
)

// Files are the absolute paths of what a [Store] keeps.
type Files struct {
	Cache, Pin, Clock, Witness string
	// Lock guards the files, Refreshing a request to the platform.
	Lock, Refreshing string
}

// cacheFile is entitlements.json.
type cacheFile struct {
	V         int       `json:"v"`
	Token     string    `json:"token,omitzero"`
	FetchedAt time.Time `json:"fetched_at,omitzero"`
	// Ended says that the platform took the token back, and how.
	Ended *ended `json:"ended,omitzero"`
	// License is the licence that was imported.
	License    string    `json:"license,omitzero"`
	ImportedAt time.Time `json:"imported_at,omitzero"`
}

type ended struct {
	At time.Time `json:"at"`
	// Code is that of the refusal.
	Code fault.Code `json:"code"`
}

// clockFile is clock.json.
type clockFile struct {
	V    int       `json:"v"`
	Mark time.Time `json:"mark"`
}

// witnessFile is witness.json.
type witnessFile struct {
	V int `json:"v"`
	// Cache and Pin are the SHA-256, in hex, of what the files may hold: one
	// each, or two while one is being replaced.
	Cache []string  `json:"cache"`
	Pin   []string  `json:"pin"`
	Mark  time.Time `json:"mark"`
	// RefetchedAt is when the keys were last asked for because of an unknown kid.
	RefetchedAt time.Time `json:"refetched_at,omitzero"`
}

// record is one of the files as it was read.
type record[T any] struct {
	path string
	data []byte
	// content is nil with an error, and without a file.
	content *T
	// err is why a file that is there is of no use.
	err error
}

func (r *record[T]) absent() bool { return r.content == nil && r.err == nil }

// damaged reports whether the file itself is at fault, and not the right to
// read it or its version.
func (r *record[T]) damaged() bool {
	var d *private.DamagedError
	return errors.As(r.err, &d) || r.err == errUnwitnessed
}

// errUnwitnessed is why a file that looks whole counts for nothing.
var errUnwitnessed = errors.New("the witness of what carl wrote is missing or damaged")

// spoil makes a file that was read one that is damaged.
func (r *record[T]) spoil(why string) {
	r.content, r.err = nil, &private.DamagedError{Why: why}
}

func read[T any](fsys private.FS, path string) record[T] {
	r := record[T]{path: path}
	data, err := private.ReadFileOn(fsys, path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r
	}
	if errors.Is(err, private.ErrTooLarge) {
		err = &private.DamagedError{Why: "it is larger than any such file"}
	}
	if err != nil {
		r.err = err
		return r
	}
	content := new(T)
	if r.err = private.ParseJSON(data, content); r.err == nil {
		r.data, r.content = data, content
	}
	return r
}

// files is everything that a store keeps, as it was read at one moment.
type files struct {
	cache   record[cacheFile]
	pinned  record[pinFile]
	clock   record[clockFile]
	witness record[witnessFile]
	pin     *Pin // of a pinned that is whole
}

// look reads the files without a lock. Where they do not fit together, somebody
// may have been writing: then they are read once more, with the lock.
func (s *Store) look() *files {
	f := s.read()
	if f.cache.err == nil && f.pinned.err == nil && f.clock.err == nil && f.witness.err == nil {
		return f
	}
	s.withLock(func() error {
		f = s.read()
		return nil
	})
	return f
}

func (s *Store) read() *files {
	f := &files{
		cache:   read[cacheFile](s.fs, s.files.Cache),
		pinned:  read[pinFile](s.fs, s.files.Pin),
		clock:   read[clockFile](s.fs, s.files.Clock),
		witness: read[witnessFile](s.fs, s.files.Witness),
	}
	w := f.witness.content
	if c := f.cache.content; c != nil {
		switch {
		case (c.Token == "") != c.FetchedAt.IsZero(), (c.License == "") != c.ImportedAt.IsZero(), c.Token == "" && c.License == "":
			f.cache.spoil("its members do not go together")
		case w == nil:
			f.cache.content, f.cache.err = nil, errUnwitnessed
		case !slices.Contains(w.Cache, hash(f.cache.data)):
			f.cache.spoil("it is not the file that carl wrote last")
		}
	}
	if p := f.pinned.content; p != nil {
		pin, ok := p.pin()
		switch {
		case !ok:
			f.pinned.spoil("its keys are not a set of pinned keys")
		case w == nil:
			f.pinned.content, f.pinned.err = nil, errUnwitnessed
		case !slices.Contains(w.Pin, hash(f.pinned.data)):
			f.pinned.spoil("it is not the file that carl wrote last")
		default:
			f.pin = pin
		}
	}
	return f
}

// unusable returns why nothing may be decided or replaced: a file of a later
// version, or one that cannot be read.
func (f *files) unusable() error {
	for _, r := range []struct {
		path string
		err  error
		ok   bool
	}{
		{f.cache.path, f.cache.err, f.cache.damaged()},
		{f.pinned.path, f.pinned.err, f.pinned.damaged()},
		{f.clock.path, f.clock.err, f.clock.damaged()},
		{f.witness.path, f.witness.err, f.witness.damaged()},
	} {
		var later *private.TooNewError
		switch {
		case r.err == nil || r.ok:
		case errors.As(r.err, &later):
			return fault.New(fault.HomeTooNew, "%s: %w", r.path, r.err).WithHint("%s", later.Use)
		default:
			return r.err
		}
	}
	return nil
}

// settle makes what a crash left of two files that count the one that is there,
// durably, and reports whether it changed the witness.
func (s *Store) settle(f *files, w *witnessFile) (bool, error) {
	changed := false
	for _, r := range []struct {
		list  *[]string
		path  string
		data  []byte
		whole bool
	}{
		{&w.Cache, f.cache.path, f.cache.data, f.cache.content != nil},
		{&w.Pin, f.pinned.path, f.pinned.data, f.pin != nil},
	} {
		if len(*r.list) < 2 || !r.whole {
			continue
		}
		// Its name may not be on disk yet, and the other file's still be.
		if err := private.WriteFileOn(s.fs, r.path, r.data); err != nil {
			return false, err
		}
		*r.list, changed = []string{hash(r.data)}, true
	}
	return changed, nil
}

// unsettled reports whether a crash, or a writer that is at work, left two files
// that count.
func (f *files) unsettled() bool {
	w := f.witness.content
	return w != nil && (len(w.Cache) > 1 || len(w.Pin) > 1)
}

// mark is the latest time that was seen; zero where none was noted.
func (f *files) mark() time.Time {
	var m time.Time
	if f.clock.content != nil {
		m = f.clock.content.Mark
	}
	if w := f.witness.content; w != nil && w.Mark.After(m) {
		m = w.Mark
	}
	return m
}

// witnessed returns the witness to change, a new one where there is none. What
// an unwitnessed file says is not taken over.
func (f *files) witnessed() *witnessFile {
	if f.witness.content != nil {
		w := *f.witness.content
		return &w
	}
	return &witnessFile{V: 1}
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// write replaces a file.
func (s *Store) write(path string, content any) error {
	data, err := private.FormatJSON(content)
	if err != nil {
		return err
	}
	return private.WriteFileOn(s.fs, path, data)
}

// replace puts content into the witnessed file that r was read from; list is
// the member of w for it. While it happens the old content counts as well,
// unless it is over with it.
func replace[T any](s *Store, w *witnessFile, list *[]string, r record[T], content *T, over bool) error {
	data, err := private.FormatJSON(content)
	if err != nil {
		return err
	}
	sum := hash(data)
	*list = []string{sum}
	both := !over && r.content != nil && hash(r.data) != sum
	if both {
		*list = []string{hash(r.data), sum}
	}
	if err := s.write(s.files.Witness, w); err != nil {
		return err
	}
	if err := private.WriteFileOn(s.fs, r.path, data); err != nil {
		return err
	}
	if !both {
		return nil
	}
	*list = []string{sum}
	return s.write(s.files.Witness, w)
}

// locked runs change while no other process changes the files.
func (s *Store) locked(change func(*files) error) error {
	return s.withLock(func() error {
		f := s.read()
		if err := f.unusable(); err != nil {
			return err
		}
		return change(f)
	})
}

// inPassing runs change as [Store.locked] does, or not at all where another process
// is at work.
func (s *Store) inPassing(change func(*files) error) error {
	lock, free, err := private.TryLockOn(s.fs, s.files.Lock)
	if err != nil || !free {
		return err
	}
	defer lock.Unlock()
	f := s.read()
	if err := f.unusable(); err != nil {
		return err
	}
	return change(f)
}

func (s *Store) withLock(do func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	lock, err := private.LockOn(ctx, s.fs, s.files.Lock)
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.IO, "another carl process has held %s for %v", s.files.Lock, lockPatience).
			WithKept("nothing was changed").WithHint("end that process, then run the same command again")
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return do()
}
