package ledger

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// maxReason bounds what of an error is recorded, in bytes.
const maxReason = 512

// Recovered says what a recovery set aside, and where the ledger goes on.
type Recovered struct {
	// Reason is what was wrong.
	Reason string
	// Kept blocks are whole, and stay; the recovery is recorded behind them.
	Kept uint64
	// Aside is the folder that has everything else, as it was.
	Aside string
	// Block records the recovery.
	Block *Block
}

// Recover lets a ledger go on that is not whole, once somebody has confirmed the
// loss. The blocks before the first that is not what it should be stay as they
// are. The files from that block on, the checkpoint and the receipts are moved
// aside as they are; no line is written again but those that stay. Then a signed
// block says what happened. Where no block is whole, or a rotation to the key that
// is kept here was lost, another ledger begins, under another id.
//
// A remote that has some of the blocks that were lost holds others than those
// that will follow, and will say so.
//
// The error is carl.ledger.not_found where nothing is wrong, and
// carl.ledger.key_invalid where the key is, and not the blocks.
func (l *Ledger) Recover(ctx context.Context) (*Recovered, error) {
	lock, err := l.takeLock()
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	l.tail = nil
	r, err := l.setAside(ctx)
	if fault.CodeOf(err) == fault.LedgerNotFound {
		// A recovery that ended before it was recorded.
		if owed, oerr := l.owed(); oerr == nil && owed != nil {
			r, err = &Recovered{Reason: owed.Reason, Kept: owed.Kept, Aside: owed.Aside}, nil
		}
	}
	if err != nil {
		return nil, err
	}
	t, err := l.load()
	if err == nil {
		defer t.close()
		r.Block, err = l.recordRecovery(t)
	}
	if err != nil {
		return nil, fault.New(fault.LedgerFailed, "ledger: the recovery could not be recorded: %w", err).
			WithKept("what was not whole is in %s; the next block records it", r.Aside)
	}
	return r, nil
}

// owed is what a recovery writes, durably, before it moves anything: from then on
// the ledger does not go on without a block that says so.
type owed struct {
	V      int    `json:"v"`
	Reason string `json:"reason"`
	Kept   uint64 `json:"kept"`
	Aside  string `json:"aside"`
}

// maxOwed bounds that file, in bytes.
const maxOwed = 64 << 10

func (l *Ledger) owed() (*owed, error) {
	data, err := private.ReadFileOn(l.fs, l.paths.owed(), maxOwed)
	if notThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o := new(owed)
	if err := private.ParseJSON(data, o); err != nil || len(o.Reason) > maxReason || !utf8.ValidString(o.Reason) {
		o = &owed{Reason: "something was not whole"}
	}
	return o, nil
}

// recordRecovery appends the block of a recovery. Where closed files are gone that
// the open one knows of, it begins another first, which says what is kept.
func (l *Ledger) recordRecovery(t *tail) (*Block, error) {
	archives, err := l.archives()
	if err != nil {
		return nil, err
	}
	first := t.opener
	if len(archives) > 0 {
		first = min(first, archives[0].first)
	}
	if t.empty() || first > t.pruned {
		if err := l.openSegment(t); err != nil {
			return nil, err
		}
	}
	b, line, hash := t.next(&Recovery{Reason: t.owed.Reason}, l.now())
	t.push(b, hash)
	line = append(line, '\n')
	if err := l.flush(t, &line); err != nil {
		return nil, err
	}
	if err := l.fs.Remove(l.paths.owed()); err != nil && !notThere(err) {
		return nil, failed("remove", l.paths.owed(), err)
	}
	t.owed = nil
	return b, nil
}

// setAside moves away what is not whole, under the lock.
func (l *Ledger) setAside(ctx context.Context) (*Recovered, error) {
	receipts, err := l.receipts()
	if err != nil {
		return nil, err
	}
	v, err := l.openFiles()
	if err != nil {
		return nil, err
	}
	defer v.close()
	w := &walk{view: v, receipts: receipts, report: &Report{}}
	wrong := l.verify(ctx, w, nil)
	if wrong == nil {
		wrong = v.headErr
	}
	var e *fault.Error
	switch {
	case wrong == nil:
		return nil, fault.New(fault.LedgerNotFound, "ledger: nothing is wrong with it, so there is nothing to recover").WithKept("nothing was changed").
			WithHint("run `carl ledger verify`")
	case !errors.As(wrong, &e) || e.Code != fault.LedgerTampered:
		return nil, wrong
	}
	if l.foreign(v, w) {
		return nil, fault.New(fault.LedgerKeyInvalid, "ledger: %s is not the key that signs the blocks: they may be whole", l.paths.Key).
			WithKept("nothing was changed").
			WithHint("restore %s from a copy; where none is left, move the files of the ledger away by hand, and another one begins", l.paths.Key)
	}
	reason := strings.ToValidUTF8(e.Message[:min(len(e.Message), maxReason)], "")
	if w.index == 0 && w.good == 0 {
		w.forget() // it was only called a file of so many blocks
	} else if !v.keys.signs(w.tail.signer) {
		// With the rotation to the key that is here the way to it was lost, and the
		// key that the last whole block calls for is gone: nothing can follow.
		const gone = "; the key that could go on behind what is whole was rotated away"
		reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason-len(gone))], "") + gone
		w.forget()
	}
	aside, err := l.aside("damaged", "")
	if err != nil {
		return nil, err
	}
	r := &Recovered{Reason: reason, Kept: w.tail.edge.size, Aside: aside}
	data, err := private.FormatJSON(&owed{V: 1, Reason: reason, Kept: r.Kept, Aside: aside})
	if err == nil {
		err = private.WriteFileOn(l.fs, l.paths.owed(), data)
	}
	if err != nil {
		return nil, err
	}
	if w.pendingWrong && wrong != v.headErr {
		return r, l.movePending(w.pending, r.Aside)
	}
	return r, l.moveAside(v, w, r.Aside)
}

// movePending moves the pending file into a folder, and keeps of it what is right.
func (l *Ledger) movePending(right []byte, aside string) error {
	if err := private.MkdirAllOn(l.fs, aside); err != nil {
		return err
	}
	if err := l.fs.Rename(l.paths.Pending, filepath.Join(aside, filepath.Base(l.paths.Pending))); err != nil {
		return failed("move aside", l.paths.Pending, err)
	}
	if err := l.fs.SyncDir(aside); err != nil {
		return failed("move aside", aside, err)
	}
	if len(right) == 0 {
		return nil
	}
	return private.WriteFileOn(l.fs, l.paths.Pending, right)
}

// foreign reports whether it is the key that is wrong: none of the blocks at both
// ends of the first file names a key that is kept here, or the last block that is
// right hands over to another one.
func (l *Ledger) foreign(v *view, w *walk) bool {
	if v.keys == nil || len(v.files) == 0 {
		return false
	}
	known := func(id string) bool { _, ok := v.keys.public[id]; return ok }
	if w.index > 0 || w.good > 0 {
		return !known(w.tail.signer)
	}
	data, err := readAll(v.files[0].file)
	if err != nil {
		return false
	}
	lines := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	first, _, ok1 := parse(lines[0])
	last, _, ok2 := parse(lines[len(lines)-1])
	return ok1 && ok2 && len(lines) > 1 && !known(first.KeyID) && !known(last.KeyID)
}

// forget has none of the blocks be whole.
func (w *walk) forget() {
	w.index, w.good, w.tail = 0, 0, tail{}
}

// moveAside moves the files from the first that is not whole on into a folder,
// and makes the blocks of that one that are whole the open file.
func (l *Ledger) moveAside(v *view, w *walk, aside string) error {
	var good []byte
	from := w.index
	if w.tail.edge.size > 0 {
		if w.good == 0 {
			from-- // where a file was whole to its end, it is the one that goes on
		}
		data, err := readAll(v.files[from].file)
		if err != nil {
			return failed("read", v.files[from].path, err)
		}
		if good = data[:w.good]; w.good == 0 {
			good = data[:len(data)-w.report.Torn]
		}
	}
	if err := private.MkdirAllOn(l.fs, aside); err != nil {
		return err
	}
	paths := []string{l.paths.head(), l.paths.edge(), l.paths.Receipts}
	for _, f := range v.files[from:] {
		paths = append(paths, f.path)
	}
	for _, a := range v.others {
		if a.later(w.opener, w.tail.edge.size) {
			paths = append(paths, a.path)
		}
	}
	if w.tail.edge.size == 0 {
		// Nothing that waits for a remote is another ledger's; else it comes from
		// before what is whole.
		paths = append(paths, l.paths.Pending)
		archives, err := l.archives()
		if err != nil {
			return err
		}
		for _, a := range archives {
			paths = append(paths, a.path)
		}
	}
	for _, path := range paths {
		if err := l.fs.Rename(path, filepath.Join(aside, filepath.Base(path))); err != nil && !notThere(err) {
			return failed("move aside", path, err)
		}
	}
	if err := l.fs.SyncDir(aside); err != nil {
		return failed("move aside", aside, err)
	}
	if len(good) > 0 {
		if err := private.WriteFileOn(l.fs, l.paths.active(), good); err != nil {
			return err
		}
	}
	if w.tail.edge.size > 0 {
		if err := l.writeHead(&w.tail, v.keys.private); err != nil {
			return failed("write", l.paths.head(), err)
		}
	}
	if err := l.fs.SyncDir(filepath.Dir(l.paths.Base)); err != nil {
		return failed("write", l.paths.head(), err)
	}
	return nil
}
