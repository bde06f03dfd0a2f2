package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// DeadLetter is one record or event that a destination will not get without
// help. In the file it is one line of JSON with these members.
type DeadLetter struct {
	ID       string         `json:"id"`              // of the event, else of the step; unique in the file
	Topic    string         `json:"topic"`           // "signals", "ledger"
	Code     string         `json:"code"`            // a fault code
	Reason   string         `json:"reason"`          // the message of the mapper or the destination
	Attempts int            `json:"attempts"`        // deliveries that were tried
	First    time.Time      `json:"first"`           // when it first failed
	Last     time.Time      `json:"last"`            // when it last failed
	Epoch    uint32         `json:"epoch"`           // consent epoch at recording
	Replay   bool           `json:"replay,omitzero"` // to be tried again by the next sync
	Step     jsontext.Value `json:"step,omitzero"`   // the step, where mapping failed: compact JSON
	Event    jsontext.Value `json:"event,omitzero"`  // the event exactly as it was sent: compact JSON
}

const (
	// maxDeadFile bounds a dead-letter file: what a person may still look
	// through, and a mapper that fails on everything must not fill the disk.
	maxDeadFile = 64 << 20
	// keptDeadFile is what is kept of a file beyond the bound, so that it is
	// not rewritten for each letter.
	keptDeadFile = maxDeadFile / 4 * 3
	// maxReason bounds what a plugin or a destination had to say.
	maxReason = 2 << 10
	// maxLetterID bounds an id: a SHA-256 in hex has 64 bytes.
	maxLetterID = 256
	// deadLockWait bounds the wait for a file that others hold for the time of
	// one rewriting.
	deadLockWait = 10 * time.Second
)

func (s *Spool) deadPath(destination string) string {
	return filepath.Join(s.dir, "dlq", destination+".jsonl")
}

// deadFile is a dead-letter file under its lock.
type deadFile struct {
	s    *Spool
	name string
	path string
	lock *private.FileLock
}

func (s *Spool) lockDead(destination string) (*deadFile, error) {
	if err := ValidName(destination); err != nil {
		return nil, err
	}
	path := s.deadPath(destination)
	if err := s.makeDir(filepath.Dir(path)); err != nil {
		return nil, spoolError("write", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadLockWait)
	defer cancel()
	lock, err := private.LockOn(ctx, s.fs, strings.TrimSuffix(path, ".jsonl")+".lock")
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fault.New(fault.SpoolFailed, "the dead letters of %s are locked by another process", destination)
	}
	if err != nil {
		return nil, spoolError("lock", err)
	}
	return &deadFile{s, destination, path, lock}, nil
}

// AppendDead adds letters durably. One with an ID that is there already takes
// its place: attempts add up, First stays, all else is as in the new one. The
// file is bounded (64 MiB); beyond, the oldest letters go and are counted as
// [LostLetters]. On an error none of them is acknowledged.
func (s *Spool) AppendDead(destination string, letters ...DeadLetter) error {
	var lines []byte
	for _, l := range letters {
		line, err := l.line()
		if err != nil {
			return err
		}
		lines = append(lines, line...)
	}
	d, err := s.lockDead(destination)
	if err != nil {
		return err
	}
	defer d.lock.Unlock()
	size, err := d.append(lines)
	if err != nil {
		return spoolError("write a dead letter to", err)
	}
	if size > maxDeadFile {
		return d.shrink()
	}
	return nil
}

// line writes a letter as a line of the file. Every line begins with its id.
func (l DeadLetter) line() ([]byte, error) {
	if l.ID == "" || len(l.ID) > maxLetterID {
		return nil, fault.New(fault.Internal, "a dead letter has an id of %d bytes", len(l.ID))
	}
	l.Reason = clip(l.Reason)
	l.First, l.Last = l.First.UTC(), l.Last.UTC()
	b, err := json.Marshal(l, jsontext.PreserveRawStrings(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, fault.New(fault.Internal, "a dead letter cannot be written: %w", err)
	}
	if len(b) > maxDeadLine {
		return nil, fault.New(fault.SpoolFailed, "a dead letter of %d bytes cannot be kept: at most %d are", len(b), maxDeadLine)
	}
	return append(b, '\n'), nil
}

// maxDeadLine bounds one line: a step or an event of the largest size, and
// what is said about it.
const maxDeadLine = 2*MaxPayload + 64<<10

// clip bounds what others said, and makes text of it.
func clip(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// append writes whole lines behind the last whole line, durably, and returns
// the size of the file then.
func (d *deadFile) append(lines []byte) (int64, error) {
	f, err := d.s.fs.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("the dead-letter file is not a regular file")
	}
	size, err := d.cutTorn(f, info.Size())
	if err != nil {
		return 0, err
	}
	if _, err := f.WriteAt(lines, size); err != nil {
		f.Truncate(size)
		return 0, err
	}
	err = f.Sync()
	if err == nil {
		err = d.s.fs.SyncDir(filepath.Dir(d.path))
	}
	if err != nil {
		return 0, d.renew(size, err)
	}
	return size + int64(len(lines)), nil
}

// renew replaces the file, when it or its name could not be flushed, by a new
// one with what was acknowledged before: nobody can tell what of the old one is
// on the disk, and it must not be flushed again. It returns the cause.
func (d *deadFile) renew(size int64, cause error) error {
	if b, err := private.ReadFileOn(d.s.fs, d.path, maxDeadRead); err == nil && int64(len(b)) >= size {
		private.WriteFileOn(d.s.fs, d.path, b[:size])
	}
	return cause
}

// maxDeadRead is the longest file that AppendDead can leave behind.
const maxDeadRead = 2*maxDeadFile + 16*maxDeadLine

// cutTorn cuts the line that a killed writer left unfinished, and returns the
// size then. A hand that edits the file may leave off the last line end, so the
// bytes are kept in quarantine, and a whole letter is kept in the file.
func (d *deadFile) cutTorn(f private.File, size int64) (int64, error) {
	if size == 0 {
		return 0, nil
	}
	tail := make([]byte, min(size, maxDeadLine+1))
	n, err := f.ReadAt(tail, size-int64(len(tail)))
	if err != nil && err != io.EOF {
		return 0, err
	}
	tail = tail[:n]
	if bytes.HasSuffix(tail, []byte("\n")) {
		return size, nil
	}
	tail = tail[bytes.LastIndexByte(tail, '\n')+1:]
	if _, ok := parseLetter(tail); ok {
		_, err := f.WriteAt([]byte("\n"), size)
		return size + 1, err
	}
	at := size - int64(len(tail))
	d.s.quarantine("dlq-"+d.name, at, tail)
	return at, f.Truncate(at)
}

func parseLetter(line []byte) (DeadLetter, bool) {
	var l DeadLetter
	err := json.Unmarshal(line, &l)
	return l, err == nil && l.ID != "" && len(l.ID) <= maxLetterID
}

// ListDead returns the letters in the order of their arrival. Lines that
// cannot be read are left out.
func (s *Spool) ListDead(destination string) ([]DeadLetter, error) {
	if err := ValidName(destination); err != nil {
		return nil, err
	}
	b, err := private.ReadFileOn(s.fs, s.deadPath(destination), maxDeadRead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, spoolError("read", err)
	}
	letters, _ := parseLetters(b)
	return letters, nil
}

// parseLetters reads a file. Lines of one id become one letter, in the place of
// the first. Lines that are none are returned apart.
func parseLetters(b []byte) (letters []DeadLetter, others []byte) {
	at := map[string]int{}
	for line := range bytes.Lines(b) {
		l, ok := parseLetter(bytes.TrimSuffix(line, []byte("\n")))
		if !ok {
			others = append(others, line...)
			continue
		}
		i, again := at[l.ID]
		if !again {
			at[l.ID] = len(letters)
			letters = append(letters, l)
			continue
		}
		l.Attempts += letters[i].Attempts
		l.First = letters[i].First
		letters[i] = l
	}
	return letters, others
}

// rewrite replaces the file by what f makes of its letters, atomically. f
// reports false when nothing is to change.
func (d *deadFile) rewrite(f func([]DeadLetter) ([]DeadLetter, bool)) error {
	b, err := private.ReadFileOn(d.s.fs, d.path, maxDeadRead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return spoolError("read", err)
	}
	letters, others := parseLetters(b)
	letters, changed := f(letters)
	if !changed {
		return nil
	}
	if len(others) > 0 {
		d.s.quarantine(fmt.Sprintf("dlq-%s-%d", d.name, d.s.o.Now().UnixNano()), 0, others)
	}
	var out []byte
	for _, l := range letters {
		line, err := l.line()
		if err != nil {
			return err
		}
		out = append(out, line...)
	}
	if err := private.WriteFileOn(d.s.fs, d.path, out); err != nil {
		return spoolError("write", err)
	}
	return nil
}

// shrink drops the oldest letters.
func (d *deadFile) shrink() error {
	dropped := 0
	err := d.rewrite(func(letters []DeadLetter) ([]DeadLetter, bool) {
		kept, size := len(letters), 0
		for kept > 0 {
			line, err := letters[kept-1].line()
			if err != nil || size+len(line) > keptDeadFile {
				break
			}
			size += len(line)
			kept--
		}
		dropped = kept
		return letters[kept:], true
	})
	if err == nil && dropped > 0 {
		d.s.count(LostLetters, uint64(dropped))
	}
	return err
}

// DropDead removes the letters with these ids, all when none is given, and
// returns how many went. It is atomic: a kill leaves the file as it was or as
// it shall be. Unknown ids are ignored.
func (s *Spool) DropDead(destination string, ids ...string) (int, error) {
	dropped, chosen := 0, choice(ids)
	err := s.changeDead(destination, func(letters []DeadLetter) ([]DeadLetter, bool) {
		before := len(letters)
		letters = slices.DeleteFunc(letters, chosen)
		dropped = before - len(letters)
		return letters, dropped > 0
	})
	if err != nil {
		return 0, err
	}
	return dropped, nil
}

// ReplayDead marks the letters with these ids, all when none is given, to be
// tried again, and returns how many of them are marked now. They stay in the
// file: who delivers one calls DropDead then, and who fails calls AppendDead.
func (s *Spool) ReplayDead(destination string, ids ...string) (int, error) {
	marked, chosen := 0, choice(ids)
	err := s.changeDead(destination, func(letters []DeadLetter) ([]DeadLetter, bool) {
		for i := range letters {
			if chosen(letters[i]) {
				letters[i].Replay = true
				marked++
			}
		}
		return letters, marked > 0
	})
	if err != nil {
		return 0, err
	}
	return marked, nil
}

// choice tells the letters with one of the ids; without ids, all.
func choice(ids []string) func(DeadLetter) bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return func(l DeadLetter) bool { return len(ids) == 0 || set[l.ID] }
}

func (s *Spool) changeDead(destination string, f func([]DeadLetter) ([]DeadLetter, bool)) error {
	if err := ValidName(destination); err != nil {
		return err
	}
	if _, err := s.fs.Lstat(s.deadPath(destination)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d, err := s.lockDead(destination)
	if err != nil {
		return err
	}
	defer d.lock.Unlock()
	return d.rewrite(f)
}

// DeadLetters returns the destinations that have a dead-letter file, sorted.
func (s *Spool) DeadLetters() ([]string, error) {
	entries, err := s.fs.ReadDir(filepath.Join(s.dir, "dlq"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, spoolError("list the dead letters of", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".jsonl"); ok && ValidName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
