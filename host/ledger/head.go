package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"carl.camp/carl/host/private"
)

// maxHead bounds a checkpoint: origin, size, root and one signature take 300 bytes.
const maxHead = 4 << 10

// head is a checkpoint of the ledger: a C2SP tlog-checkpoint.
//
//	carl.camp/ledger/<ledger_id>
//	<size>
//	<root, base64>
//
//	— carl.camp/ledger/<ledger_id> <signature>
type head struct {
	ledgerID string
	size     uint64
	root     Hash
	// signed is the note as it was read, vkey the key that verified it.
	signed []byte
	vkey   string
}

func formatHead(ledgerID string, e *edge, key ed25519.PrivateKey) []byte {
	root := e.root()
	text := origin(ledgerID) + "\n" + strconv.FormatUint(e.size, 10) + "\n" + base64.StdEncoding.EncodeToString(root[:]) + "\n"
	msg, err := note.Sign(&note.Note{Text: text}, newSigner(origin(ledgerID), key))
	if err != nil {
		panic("ledger: " + err.Error()) // the text is this function's own
	}
	return msg
}

// parseHead reads and verifies a checkpoint with one of the ledger's keys. The
// error has no detail.
func parseHead(data []byte, public map[string]ed25519.PublicKey) (*head, error) {
	first, _, _ := strings.Cut(string(data), "\n")
	id, ok := strings.CutPrefix(first, "carl.camp/ledger/")
	if !ok || !isLedgerID(id) {
		return nil, errHead
	}
	var verifiers []note.Verifier
	vkeys := map[uint32]string{}
	for _, key := range public {
		v, err := note.NewVerifier(VerifierKey(id, key))
		if err != nil {
			return nil, errHead
		}
		verifiers, vkeys[v.KeyHash()] = append(verifiers, v), VerifierKey(id, key)
	}
	n, err := note.Open(data, note.VerifierList(verifiers...))
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return nil, errHead
	}
	// A second signature of the same key, right or not, is passed over by note.
	if s := n.Sigs[0]; string(data) != n.Text+"\n— "+s.Name+" "+s.Base64+"\n" {
		return nil, errHead
	}
	// The idle bits of the last character are not looked at by others.
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil {
		return nil, errHead
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return nil, errHead
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] || size == 0 || size > maxInt {
		return nil, errHead
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return nil, errHead
	}
	return &head{id, size, root, bytes.Clone(data), vkeys[n.Sigs[0].Hash]}, nil
}

var (
	errHead   = errors.New("the checkpoint is not one of this ledger's")
	errPruned = errors.New("the blocks that the proof needs were pruned")
)

func isLedgerID(id string) bool {
	var raw [16]byte
	return lowerHex([]byte(id), raw[:])
}

// readHead returns the head; nil where there is none.
func (l *Ledger) readHead(k *keys) (*head, error) {
	data, err := private.ReadFileOn(l.fs, l.paths.head(), maxHead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if errors.Is(err, private.ErrTooLarge) {
		return nil, tampered("%s: %w", l.paths.head(), errHead)
	}
	if err != nil {
		return nil, err
	}
	h, err := parseHead(data, k.public)
	if err != nil {
		return nil, tampered("%s: %w", l.paths.head(), err)
	}
	return h, nil
}

// writeHead replaces the head by one of all blocks. Its folder is not flushed: after
// a power cut an older head is legal, since blocks beyond it are accepted.
func (l *Ledger) writeHead(t *tail, k *keys) error {
	key := k.private
	if t.signer != k.id && k.next != nil {
		key = k.next // see mayHead
	}
	if err := l.replace(l.paths.head(), formatHead(t.ledgerID, &t.edge, key), true); err != nil {
		return err
	}
	// The edge is a cache, believed only if with the last block it folds to the
	// head's root: it need not be durable, and it is no error if it cannot be
	// written.
	l.replace(l.paths.edge(), formatEdge(&t.prior), false)
	return nil
}

// replace replaces a file under the ledger's lock, by way of a new one: never one
// that somebody left, whose flush may have failed.
func (l *Ledger) replace(path string, data []byte, durable bool) error {
	temp := path + ".new"
	f, err := l.fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err = l.fs.Remove(temp); err == nil {
			f, err = l.fs.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = l.fs.Rename(temp, path)
	}
	if err != nil {
		l.fs.Remove(temp)
	}
	return err
}

// formatEdge writes the size, big-endian, and the hashes.
func formatEdge(e *edge) []byte {
	data := binary.BigEndian.AppendUint64(nil, e.size)
	for i := range e.hashes {
		data = append(data, e.hashes[i][:]...)
	}
	return data
}

// readEdge returns the cached edge, which is to be held against the head.
func (l *Ledger) readEdge() (e edge, ok bool) {
	data, err := private.ReadFileOn(l.fs, l.paths.edge(), 8+64*tlog.HashSize)
	if err != nil || len(data) < 8 || len(data)%tlog.HashSize != 8 {
		return edge{}, false
	}
	e.size = binary.BigEndian.Uint64(data)
	for rest := data[8:]; len(rest) > 0; rest = rest[tlog.HashSize:] {
		e.hashes = append(e.hashes, Hash(rest[:tlog.HashSize]))
	}
	return e, e.fits()
}

// Size is how many blocks the checkpoint covers; 0 where there is none, or none
// that can be read.
func (l *Ledger) Size() uint64 {
	if h := l.anyHead(); h != nil {
		return h.size
	}
	return 0
}

// ID is the ledger's, 32 lowercase hex digits, as the checkpoint says it; "" where
// there is none, or none that can be read.
func (l *Ledger) ID() string {
	if h := l.anyHead(); h != nil {
		return h.ledgerID
	}
	return ""
}

func (l *Ledger) anyHead() *head {
	k, err := l.loadKeys()
	if err != nil || k == nil {
		return nil
	}
	h, err := l.readHead(k)
	if err != nil {
		return nil
	}
	return h
}
