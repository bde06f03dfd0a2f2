package home

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

const (
	// version is the one layout of the JSON files that this carl writes and reads.
	version = 1
	// maxSmallFile bounds a file with a handful of members; the largest is the
	// credentials with a token of 8 KiB.
	maxSmallFile = 64 << 10
	// guardPatience is how long another process may hold the guard. It is held
	// for one small file's writing and flushing; whoever holds it longer is stuck.
	guardPatience = 10 * time.Second
)

// jsonFile is one of the JSON files of the home.
type jsonFile struct {
	path string
	max  int64
	// lost says what follows while the file is damaged or too new, such as "consent counts as not given".
	lost string
	// mend is the hint of a damaged file.
	mend string
}

// read fills into, a pointer to a struct with all members of the file, and
// reports whether the file is there.
func (f jsonFile) read(into any) (found bool, err error) {
	if info, err := os.Lstat(f.path); err == nil {
		if err := f.checkOwner(info); err != nil {
			return true, err
		}
	}
	data, err := private.ReadFile(f.path, f.max)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, unusable(f.path, err)
	}
	return true, f.parse(data, into)
}

// checkOwner refuses what somebody else may have put there: a foreign token
// would send the user's data to a foreign account.
func (f jsonFile) checkOwner(info fs.FileInfo) error {
	refuse := func(format string, args ...any) *fault.Error {
		return fault.New(fault.HomeUnusable, f.path+" "+format, args...).WithKept("%s", f.lost)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return refuse("is a symlink, and is not followed").WithHint("replace the link by the file itself")
	}
	if !info.Mode().IsRegular() {
		return refuse("is not a regular file").WithHint("move it away")
	}
	if owner, ours := ownedByUs(info); !ours {
		return refuse("belongs to another user (uid %d)", owner).WithHint("remove it, if it is not yours")
	}
	if othersMayWrite(info) {
		return refuse("can be written by others (mode %04o)", info.Mode().Perm()).
			WithHint("look into it, then run `chmod 600 %s`", f.path)
	}
	return nil
}

func (f jsonFile) parse(data []byte, into any) error {
	err := private.ParseJSON(data, into)
	var damaged *private.DamagedError
	var later *private.TooNewError
	switch {
	case errors.As(err, &damaged):
		return f.corrupt(damaged.Why)
	case errors.As(err, &later):
		return fault.New(fault.HomeTooNew, "%s: %w", f.path, err).
			WithKept("%s; the file was left as it is", f.lost).WithHint("%s", later.Use)
	}
	return err
}

// corrupt says why without the parser's words, which quote the file.
func (f jsonFile) corrupt(why string) error {
	return fault.New(fault.HomeCorrupt, "%s is damaged: %s", f.path, why).
		WithKept("%s; the file was left as it is", f.lost).WithHint("%s", f.mend)
}

func (f jsonFile) write(from any) error {
	data, err := private.FormatJSON(from)
	if err != nil {
		return err
	}
	if err := private.WriteFile(f.path, data); err != nil {
		return unusable(f.path, err)
	}
	return nil
}

// aside moves a damaged file away, so that a new one can take its place.
func (f jsonFile) aside() error {
	if _, err := private.Quarantine(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unusable(f.path, err)
	}
	return nil
}

// guarded runs change while no other process changes a JSON file of the home,
// which it creates if need be.
func (h *Home) guarded(change func() error) error {
	if err := h.Create(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	lock, err := private.Lock(ctx, h.Paths.Guard)
	if errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.IO, "another carl process has held %s for %v", h.Paths.Guard, guardPatience).
			WithKept("nothing was changed").WithHint("end that process, then run the same command again")
	}
	if err != nil {
		return unusable(h.Paths.Guard, err)
	}
	defer lock.Unlock()
	return change()
}
