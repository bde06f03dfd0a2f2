package standin

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// receiptName is the name of the key that signs receipts.
const receiptName = "carl.camp/receipts"

// receipt says that the platform has a block, and since when.
type receipt struct {
	ledgerID string
	seq      uint64
	hash     digest
	received time.Time // in UTC, whole seconds
}

// text is what is signed of a receipt.
func (r receipt) text() string {
	return fmt.Sprintf("carl-receipt/v1\nledger_id %s\nseq %d\nblock_hash %s\ntime %s\n",
		r.ledgerID, r.seq, r.hash, r.received.Format(time.RFC3339))
}

// sign returns the receipt as a C2SP signed note. The same receipt is signed in
// the same bytes, as often as it is asked for (RFC 8032 §5.1.6).
func (r receipt) sign(seed b64) string {
	msg, err := note.Sign(&note.Note{Text: r.text()}, newReceiptSigner(seed))
	if err != nil {
		// The text is this package's own, and ends in a line feed.
		panic(err)
	}
	return string(msg)
}

// receiptSigner is a [note.Signer] of algorithm 1, Ed25519.
type receiptSigner struct{ key ed25519.PrivateKey }

func newReceiptSigner(seed b64) receiptSigner {
	return receiptSigner{ed25519.NewKeyFromSeed(seed)}
}

func (s receiptSigner) Name() string { return receiptName }

// KeyHash is the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
func (s receiptSigner) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(receiptName+"\n\x01"), s.key.Public().(ed25519.PublicKey)...))
	return binary.BigEndian.Uint32(sum[:])
}

func (s receiptSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

// ReceiptKey returns the public half of the key that signs receipts, in the
// form of a C2SP signed note's verifier key: name+hash+key.
func (s *Server) ReceiptKey() string {
	vkey, err := note.NewEd25519VerifierKey(receiptName, ed25519.PublicKey(public(s.issuer.current().ReceiptKey)))
	if err != nil {
		// The name is a constant, and the key has its length.
		panic(err)
	}
	return vkey
}
