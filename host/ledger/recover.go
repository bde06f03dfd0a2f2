package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"path/filepath"

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
// The error is carl.ledger.not_found where nothing is wrong.
func (l *Ledger) Recover(ctx context.Context) (*Recovered, error) {
	r, err := l.setAside(ctx)
	if err != nil {
		return nil, err
	}
	r.Block, err = l.Append(func(State) (Entry, error) { return &Recovery{Reason: r.Reason}, nil })
	if err != nil {
		return nil, fault.New(fault.LedgerFailed, "ledger: the recovery could not be recorded: %w", err).
			WithKept("what was not whole is in %s", r.Aside)
	}
	return r, nil
}

// setAside moves away what is not whole.
func (l *Ledger) setAside(ctx context.Context) (*Recovered, error) {
	lock, err := l.takeLock()
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	v, err := l.openFiles()
	if err != nil {
		return nil, err
	}
	defer v.close()
	w := &walk{view: v, report: &Report{}}
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
	reason := e.Message[:min(len(e.Message), maxReason)]
	if k := v.keys; w.index == 0 && w.good == 0 {
		w.forget() // it was only called a file of so many blocks
	} else if k == nil || w.keyID != k.id && (k.next == nil || w.keyID != keyID(k.next.Public().(ed25519.PublicKey))) {
		// With the rotation to the key that is here the way to it was lost, and the
		// key that the last whole block calls for is gone: nothing can follow.
		reason += "; the key that could go on behind what is whole was rotated away"
		w.forget()
	}
	aside, err := l.aside("damaged", "")
	if err != nil {
		return nil, err
	}
	r := &Recovered{
		Reason: reason,
		Kept:   w.tail.edge.size,
		Aside:  aside,
	}
	return r, l.moveAside(v, w, r.Aside)
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
	paths := []string{l.paths.head(), l.paths.edge(), l.paths.Receipts, l.paths.Pending}
	for _, f := range v.files[from:] {
		paths = append(paths, f.path)
	}
	if w.tail.edge.size == 0 {
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
		if err := l.writeHead(w.tail.ledgerID, &w.tail.edge, v.keys.private); err != nil {
			return failed("write", l.paths.head(), err)
		}
	}
	if err := l.fs.SyncDir(filepath.Dir(l.paths.Base)); err != nil {
		return failed("write", l.paths.head(), err)
	}
	return nil
}
