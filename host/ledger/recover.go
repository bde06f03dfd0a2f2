package ledger

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
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
	l.tail = nil // whose file is closed
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
		r.Block = t.recovered
	}
	if err != nil {
		return nil, fault.New(fault.LedgerFailed, "ledger: the recovery could not be recorded: %w", err).
			WithKept("what was not whole is in %s; the next block records it", r.Aside)
	}
	return r, nil
}

// owed is what a recovery writes, durably, before it moves anything: from then on
// whoever appends first appends a block that says so.
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
	// What a recovery that was cut off has moved must not come back.
	if err := l.fs.SyncDir(filepath.Dir(l.paths.Base)); err != nil {
		return nil, failed("write", l.paths.Base, err)
	}
	b, err := l.recorded(t, archives)
	if err != nil {
		return nil, err
	}
	if b == nil {
		first := t.opener
		if len(archives) > 0 {
			first = min(first, archives[0].first)
		}
		if t.empty() || first > t.pruned {
			if err := l.openSegment(t); err != nil {
				return nil, err
			}
		}
		var line []byte
		var hash Hash
		b, line, hash = t.next(&Recovery{Reason: t.owed.Reason}, l.now())
		t.push(b, hash)
		line = append(line, '\n')
		if err := l.flush(t, &line); err != nil {
			return nil, err
		}
	}
	if err := l.fs.Remove(l.paths.owed()); err != nil && !notThere(err) {
		return nil, failed("remove", l.paths.owed(), err)
	}
	t.owed = nil
	return b, nil
}

// recorded is the block of a recovery that was cut off behind it, or whose file
// came back with the power; nil where there is none.
func (l *Ledger) recorded(t *tail, archives []archive) (*Block, error) {
	if t.empty() {
		return nil, nil
	}
	for _, a := range append(archives, archive{path: l.paths.active(), last: t.edge.size - 1}) {
		if a.last < t.owed.Kept {
			continue
		}
		data, err := private.ReadFileOn(l.fs, a.path, 4*maxSegment)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			b, _, ok := parse(bytes.TrimSuffix(line, []byte("\n")))
			if ok && b.Recovery != nil && b.Seq >= t.owed.Kept && b.Recovery.Reason == t.owed.Reason {
				return b, nil
			}
		}
	}
	return nil, nil
}

// setAside moves away what is not whole, under the lock.
func (l *Ledger) setAside(ctx context.Context) (*Recovered, error) {
	beside, long := l.beside()
	if long != nil && !errors.Is(long, errTooLong) { // which is the pending file
		return nil, long
	}
	v, err := l.openFiles()
	if err != nil {
		return nil, err
	}
	defer v.close()
	w := &walk{view: v, beside: beside, report: &Report{}}
	wrong := l.verify(ctx, w, nil)
	if wrong == nil {
		wrong = v.headErr
	}
	if wrong == nil {
		wrong = long
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
	if o, err := l.owed(); err == nil && o != nil {
		reason = o.Reason // of the recovery that this one brings to its end
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
	if long != nil || w.pendingWrong {
		if err := l.movePending(w.pending, r.Aside); err != nil || w.pendingWrong || wrong == long {
			return r, err
		}
	}
	return r, l.moveAside(v, w, r.Aside)
}

// movePending keeps of the pending file what is right, and the whole of it in a
// folder, before.
func (l *Ledger) movePending(right []byte, aside string) error {
	if err := private.MkdirAllOn(l.fs, aside); err != nil {
		return err
	}
	data, err := private.ReadFileOn(l.fs, l.paths.Pending, maxPendingFile)
	if errors.Is(err, private.ErrTooLarge) {
		return l.moveAll([]string{l.paths.Pending}, aside)
	}
	if err == nil {
		err = private.WriteFileOn(l.fs, filepath.Join(aside, filepath.Base(l.paths.Pending)), data)
	}
	if err != nil {
		return err
	}
	if len(right) > 0 {
		return private.WriteFileOn(l.fs, l.paths.Pending, right)
	}
	if err := l.fs.Remove(l.paths.Pending); err != nil && !notThere(err) {
		return failed("remove", l.paths.Pending, err)
	}
	return nil
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
//
// What is whole stays in place at every moment, and what is not says so until it
// has gone: the last files go first, then the one that is whole in part, and what
// contradicts a block, or ends behind it, at the end. A recovery that is cut off
// comes to the same when it is done again.
func (l *Ledger) moveAside(v *view, w *walk, aside string) error {
	var all, good []byte
	from := w.index
	whole := w.tail.edge.size > 0
	if whole {
		if w.good == 0 {
			from-- // where a file was whole to its end, it is the one that goes on
		}
		var err error
		if all, err = readAll(v.files[from].file); err != nil {
			return failed("read", v.files[from].path, err)
		}
		if good = all[:w.good]; w.good == 0 {
			good = all[:len(all)-w.report.Torn]
		}
	}
	if err := private.MkdirAllOn(l.fs, aside); err != nil {
		return err
	}
	var first, last []string
	for _, f := range slices.Backward(v.files[from:]) {
		first = append(first, f.path)
	}
	for _, a := range v.others {
		if !whole || a.later(w.opener, w.tail.edge.size) {
			first = append(first, a.path)
		}
	}
	if len(v.files) > 0 {
		last = []string{v.files[from].path}
		first = slices.DeleteFunc(first, func(path string) bool { return path == last[0] })
	}
	if !whole {
		// Nothing that waits for a remote is another ledger's.
		last = append(last, l.paths.Pending)
	} else if behind := firstFrom(w.waiting, w.tail.edge.size); len(behind) > 0 {
		// What a prune that was cut off has copied of blocks that are not whole now.
		if err := l.movePending(w.waiting[:len(w.waiting)-len(behind)], aside); err != nil {
			return err
		}
	}
	err := l.moveAll(first, aside)
	if err == nil {
		err = l.fs.SyncDir(filepath.Dir(l.paths.Base))
	}
	if err != nil {
		return err
	}
	if whole {
		if last[0] == l.paths.active() {
			last = nil // a copy goes, since it is replaced
			if err := private.WriteFileOn(l.fs, filepath.Join(aside, filepath.Base(l.paths.active())), all); err != nil {
				return err
			}
		}
		if err := private.WriteFileOn(l.fs, l.paths.active(), good); err != nil {
			return err
		}
	}
	if err := l.moveAll(append(last, l.paths.Receipts, l.paths.edge(), l.paths.head()), aside); err != nil {
		return err
	}
	if whole {
		if err := l.writeHead(&w.tail, v.keys); err != nil {
			return failed("write", l.paths.head(), err)
		}
	}
	if err := l.fs.SyncDir(filepath.Dir(l.paths.Base)); err != nil {
		return failed("write", l.paths.head(), err)
	}
	return nil
}

// moveAll moves files that are there into a folder, in order.
func (l *Ledger) moveAll(paths []string, aside string) error {
	for _, path := range paths {
		if err := l.fs.Rename(path, filepath.Join(aside, filepath.Base(path))); err != nil && !notThere(err) {
			return failed("move aside", path, err)
		}
	}
	if err := l.fs.SyncDir(aside); err != nil {
		return failed("move aside", aside, err)
	}
	return nil
}
