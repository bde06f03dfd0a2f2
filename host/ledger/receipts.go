package ledger

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/note"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// maxReceipts bounds the file of receipts. Beyond it the older half goes: what
// matters of receipts is the last ones, which a rollback contradicts.
const maxReceipts = 10 << 20

// maxNote bounds one receipt, in bytes: five short lines, and a signature.
const maxNote = 4 << 10

// Receipt is what a remote answered when it stored a block.
type Receipt struct {
	Seq         uint64 `json:"seq"`
	Destination string `json:"destination"`
	// Note is a C2SP signed note, as it came.
	Note string `json:"receipt"`
	// LedgerID and Hash are of the block that it came for.
	LedgerID string `json:"-"`
	Hash     Hash   `json:"-"`
}

// SaveReceipts keeps receipts, a line each, on disk when it returns. One that does
// not attest the block that it came for is not kept: it would bear witness against
// a ledger that is whole. refused counts them.
func (l *Ledger) SaveReceipts(receipts []Receipt) (refused int, err error) {
	verifier, err := l.receiptVerifier()
	if err != nil {
		return 0, err
	}
	if len(receipts) == 0 {
		return 0, nil
	}
	lock, err := l.takeLock()
	if err != nil {
		return 0, err
	}
	defer lock.Unlock()
	held, err := l.holds()
	if err != nil {
		return 0, err
	}
	var lines []byte
	for _, r := range receipts {
		a, ok := parseReceipt(r.Note, verifier)
		ok = ok && a.ledgerID == r.LedgerID && a.seq == r.Seq && a.hash == r.Hash
		if ok {
			// Since it was sent, a recovery may have put another block in its place.
			if ok, err = held(a); err != nil {
				return refused, err
			}
		}
		if !ok {
			refused++
			continue
		}
		line, err := json.Marshal(r)
		if err != nil {
			return refused, failed("write", l.paths.Receipts, err)
		}
		lines = append(append(lines, line...), '\n')
	}
	if len(lines) == 0 {
		return refused, nil
	}
	return refused, l.appendReceipts(lines)
}

// holds reports of receipts whether the ledger has the blocks that they are for, as
// far as it keeps them; under the lock.
func (l *Ledger) holds() (func(attested) (bool, error), error) {
	v, err := l.openFiles()
	if err != nil {
		return nil, err
	}
	v.close()
	files := map[string][]byte{}
	return func(a attested) (bool, error) {
		if v.head == nil || a.ledgerID != v.head.ledgerID {
			return false, nil
		}
		path := l.paths.active()
		for _, f := range v.files {
			if f.name != nil && a.seq <= f.name.last {
				path = f.path
				break
			}
		}
		data, read := files[path]
		if !read {
			var err error
			if data, err = private.ReadFileOn(l.fs, path, 4*maxSegment); err != nil {
				return false, err
			}
			files[path] = data
		}
		if first, ok := seqOf(firstLine(data)); ok && a.seq < first {
			return true, nil // it waited, and no file has it any more
		}
		at, ok := lineOf(data, a.seq)
		if !ok {
			return false, nil
		}
		hash, ok := leaf(firstLine(data[at:]))
		return ok && hash == a.hash, nil
	}, nil
}

// appendReceipts appends lines, under the lock. A file whose flush failed, or that of
// its name, is made once more.
func (l *Ledger) appendReceipts(lines []byte) error {
	again := l.receiptsUnsure
	l.receiptsUnsure = true
	err := l.addReceipts(lines, again)
	l.receiptsUnsure = err != nil
	return err
}

func (l *Ledger) addReceipts(lines []byte, again bool) error {
	f, err := l.fs.OpenFile(l.paths.Receipts, os.O_RDWR, 0)
	if notThere(err) {
		return private.WriteFileOn(l.fs, l.paths.Receipts, lines)
	}
	if err != nil {
		return failed("open", l.paths.Receipts, err)
	}
	defer f.Close()
	data, err := readAll(f)
	if err != nil {
		return failed("read", l.paths.Receipts, err)
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1] // without a torn end
	if full := len(whole)+len(lines) > maxReceipts; full || again {
		if full {
			whole = whole[len(whole)/2:]
			whole = whole[bytes.IndexByte(whole, '\n')+1:]
		}
		return private.WriteFileOn(l.fs, l.paths.Receipts, slices.Concat(whole, lines))
	}
	if _, err := f.WriteAt(lines, int64(len(whole))); err != nil {
		f.Truncate(int64(len(whole)))
		return failed("write", l.paths.Receipts, err)
	}
	if err := f.Sync(); err != nil {
		return failed("flush", l.paths.Receipts, err)
	}
	// Who made the file may have ended before its name was on disk.
	if err := l.fs.SyncDir(filepath.Dir(l.paths.Receipts)); err != nil {
		return failed("flush", l.paths.Receipts, err)
	}
	return nil
}

// attested is what a receipt says.
type attested struct {
	ledgerID string
	seq      uint64
	hash     Hash
}

// parseReceipt reads the text of a receipt:
//
//	carl-receipt/v1
//	ledger_id <32 hex>
//	seq <number>
//	block_hash <64 hex>
//	time <RFC 3339>
//
// With a verifier the signature must be its; without one the note is taken as it
// was kept.
func parseReceipt(text string, verifier note.Verifier) (a attested, ok bool) {
	body, _, found := strings.Cut(text, "\n\n")
	if !found || len(text) > maxNote {
		return a, false
	}
	if verifier != nil {
		n, err := note.Open([]byte(text), note.VerifierList(verifier))
		if err != nil {
			return a, false
		}
		body = strings.TrimSuffix(n.Text, "\n")
	}
	lines := strings.Split(body, "\n")
	if len(lines) != 5 || lines[0] != "carl-receipt/v1" {
		return a, false
	}
	var values [4]string
	for i, name := range []string{"ledger_id ", "seq ", "block_hash ", "time "} {
		if values[i], ok = strings.CutPrefix(lines[i+1], name); !ok {
			return a, false
		}
	}
	seq, err := strconv.ParseUint(values[1], 10, 64)
	if err != nil || strconv.FormatUint(seq, 10) != values[1] || !isLedgerID(values[0]) {
		return a, false
	}
	a.ledgerID, a.seq = values[0], seq
	if raw, err := hex.DecodeString(values[2]); err != nil || copy(a.hash[:], raw) != len(a.hash) || len(raw) != len(a.hash) {
		return a, false
	}
	_, err = time.Parse(time.RFC3339, values[3])
	return a, err == nil
}

// receiptVerifier is nil where receipts are taken as they come.
func (l *Ledger) receiptVerifier() (note.Verifier, error) {
	if l.receiptKey == "" {
		return nil, nil
	}
	v, err := note.NewVerifier(l.receiptKey)
	if err != nil {
		return nil, fault.New(fault.ConfigInvalid, "camp.receipt_key is not a verifier key: %w", err)
	}
	return v, nil
}

// receipts are what remotes attested, by number.
func (l *Ledger) receipts() (map[uint64][]attested, error) {
	all := map[uint64][]attested{}
	err := l.eachReceipt(func(_ []byte, a attested) { all[a.seq] = append(all[a.seq], a) })
	return all, err
}

// Attested is one more than the last block of this ledger that a remote attested; 0
// where none was. A ledger that has fewer blocks was rolled back.
func (l *Ledger) Attested() (next uint64, err error) {
	id := l.ID()
	err = l.eachReceipt(func(_ []byte, a attested) {
		if a.ledgerID == id {
			next = max(next, a.seq+1)
		}
	})
	return next, err
}

// recentReceipts is how much of the end of the receipts an append looks at.
const recentReceipts = 64 << 10

// lastAttested is one more than the last block of a ledger, from a number on, that the
// receipts at the end of their file attest: those that came last. Only what says so
// is verified.
func (l *Ledger) lastAttested(ledgerID string, from uint64) (next uint64, err error) {
	f, err := l.fs.OpenFile(l.paths.Receipts, os.O_RDONLY, 0)
	if notThere(err) {
		return 0, nil
	}
	if err != nil {
		return 0, failed("open", l.paths.Receipts, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, failed("read", l.paths.Receipts, err)
	}
	at := max(0, info.Size()-recentReceipts)
	data := make([]byte, info.Size()-at)
	if _, err := f.ReadAt(data, at); err != nil && err != io.EOF {
		return 0, failed("read", l.paths.Receipts, err)
	}
	if at > 0 {
		data = data[bytes.IndexByte(data, '\n')+1:]
	}
	verifier, err := l.receiptVerifier()
	if err != nil {
		return 0, err
	}
	eachReceipt(data, nil, func(line []byte, a attested) {
		if a.ledgerID == ledgerID && a.seq >= max(next, from) {
			eachReceipt(line, verifier, func(_ []byte, a attested) { next = max(next, a.seq+1) })
		}
	})
	return next, nil
}

// attestations are the lines of the receipts for the first size blocks that verify
// under a key, which must be known for that.
func (l *Ledger) attestations(ledgerID string, size uint64) (lines []byte, err error) {
	if l.receiptKey == "" {
		return nil, nil
	}
	err = l.eachReceipt(func(line []byte, a attested) {
		if a.ledgerID == ledgerID && a.seq < size {
			lines = append(lines, line...)
		}
	})
	return lines, err
}

// eachReceipt goes over the receipts that were kept and hold.
func (l *Ledger) eachReceipt(f func(line []byte, a attested)) error {
	data, err := private.ReadFileOn(l.fs, l.paths.Receipts, 2*maxReceipts)
	if notThere(err) {
		return nil
	}
	if err != nil {
		return err
	}
	verifier, err := l.receiptVerifier()
	if err != nil {
		return err
	}
	eachReceipt(data, verifier, f)
	return nil
}

func eachReceipt(data []byte, verifier note.Verifier, f func(line []byte, a attested)) {
	for line := range bytes.Lines(data) {
		var r Receipt
		if json.Unmarshal(line, &r) != nil {
			continue // a torn end
		}
		if a, ok := parseReceipt(r.Note, verifier); ok && a.seq == r.Seq {
			f(line, a)
		}
	}
}
