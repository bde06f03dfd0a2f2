package standin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"carl.camp/carl/host/camp"
)

// ledgerKeyField is the field of a request that shows the public key of a
// ledger which the platform does not know yet: a JWK's member x.
const ledgerKeyField = "X-Carl-Ledger-Key"

// blockTypes are the content types of a block, which is bytes to be kept and
// JSON at once.
var blockTypes = []string{"application/json", "application/octet-stream", "text/plain"}

// acknowledgement is the answer to a block that is held.
type acknowledgement struct {
	Ack       string `json:"ack"` // the block's sig
	Receipt   string `json:"receipt,omitzero"`
	Duplicate bool   `json:"duplicate,omitzero"`
}

// postBlock takes one block.
func (s *Server) postBlock(c *call) answer {
	if !slices.ContainsFunc(blockTypes, c.contentType) {
		return refuse(415, "unsupported_media_type", "the body must be "+strings.Join(blockTypes, " or "))
	}
	line := bytes.TrimSuffix(c.body, []byte("\n"))
	if len(line) > maxBlock {
		return refuse(413, "too_large", fmt.Sprintf("the block is larger than %d bytes", maxBlock))
	}
	b, flaw := parseBlock(line)
	if flaw != nil {
		return refuseBlock(malformed(*flaw))
	}
	if keys := c.Header["Idempotency-Key"]; len(keys) != 1 || keys[0] != hex.EncodeToString(b.sig) {
		return refuse(422, "invalid_idempotency_key", "the Idempotency-Key is not the sig of the block", camp.Field{Path: "/sig", Message: "not the Idempotency-Key"})
	}
	shown, ok := c.ledgerKey(b)
	if !ok {
		return refuse(422, "invalid_key", ledgerKeyField+" is not the public key that the block names", camp.Field{Path: "/key_id", Message: "not the thumbprint of " + ledgerKeyField})
	}
	if kind := findToken(b.payload, s.token); kind != "" {
		return refuseBlock(malformed(camp.Field{Path: "/action/payload", Message: "it holds a token (" + kind + ")"}))
	}
	k, err := s.ledgers.append(b, line, shown, s.clock())
	if err != nil {
		return refuseBlock(err)
	}
	doc := acknowledgement{Ack: hex.EncodeToString(b.sig), Duplicate: k.duplicate}
	r := receipt{b.ledgerID, b.seq, b.hash, k.received}
	if k.receipts {
		doc.Receipt = r.sign(s.issuer.current().ReceiptKey)
	}
	a := reply(200, doc)
	a.lies = s.ledgerLies(doc, r)
	return a
}

// ledgerKey returns the key that the request shows, or nil. It is the one that
// b names, or there is something wrong.
func (c *call) ledgerKey(b *block) (ed25519.PublicKey, bool) {
	fields := c.Header[ledgerKeyField]
	if len(fields) == 0 {
		return nil, true
	}
	raw, ok := parseX(fields[0])
	return raw, len(fields) == 1 && ok && isStrongKey(raw) && thumbprint(raw) == b.keyID
}

// refuseBlock is the answer where a block was not taken.
func refuseBlock(err error) answer {
	var refused *blockError
	var conflict *blockConflict
	switch {
	case errors.As(err, &refused):
		return refuse(refused.status, refused.code, refused.message, refused.fields...)
	case errors.As(err, &conflict):
		return reply(409, struct {
			Seq  uint64 `json:"seq"`
			Have string `json:"have"`
		}{conflict.seq, conflict.have.String()})
	}
	return refuse(500, "storage", "the block could not be stored: "+err.Error())
}

// ledgerLies are the ways in which an acknowledgement shows that it cannot be
// believed, beside those of every answer: it acknowledges another block or
// none, or comes with a receipt that was changed, that is another key's, or
// that is about another block.
func (s *Server) ledgerLies(doc acknowledgement, r receipt) []func() answer {
	say := func(change func(*acknowledgement)) func() answer {
		return func() answer {
			other := doc
			change(&other)
			return reply(200, other)
		}
	}
	lies := []func() answer{
		say(func(a *acknowledgement) {
			var sig [ed25519.SignatureSize]byte
			rand.Read(sig[:]) // never fails
			a.Ack = hex.EncodeToString(sig[:])
		}),
		say(func(a *acknowledgement) { a.Ack = "" }),
	}
	if doc.Receipt == "" {
		return lies
	}
	another := r
	rand.Read(another.hash[:]) // never fails
	return append(lies,
		say(func(a *acknowledgement) { a.Receipt = strings.Replace(a.Receipt, r.text(), another.text(), 1) }),
		say(func(a *acknowledgement) { a.Receipt = r.sign(newSeed()) }),
		say(func(a *acknowledgement) { a.Receipt = another.sign(s.issuer.current().ReceiptKey) }),
	)
}

// Ledger is what is held of one ledger.
type Ledger struct {
	LedgerID string `json:"ledger_id"`
	// First is the seq of the first block that is held, and Next that of the
	// one that is expected; all in between are there.
	First uint64 `json:"first"`
	Next  uint64 `json:"next"`
	// KeyID is the thumbprint of the key that signs Next.
	KeyID string `json:"key_id"`
}

// Ledgers returns what is held of each ledger, sorted by LedgerID.
func (s *Server) Ledgers() []Ledger { return s.ledgers.list() }

// Lines returns the blocks of a ledger, from the first to the last, each as it
// was received and without its line end; nil where nothing is held of it, or
// it cannot be read.
func (s *Server) Lines(ledgerID string) [][]byte {
	const all = int(^uint(0) >> 1)
	text, found, err := s.ledgers.page(ledgerID, 0, all, all)
	if !found || err != nil {
		return nil
	}
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

// ConflictNextBlock answers the next block that would be kept as one in whose
// place another is held, under a hash that is made up. The block is not kept;
// sent again, it is. A restart forgets it.
func (s *Server) ConflictNextBlock() {
	s.ledgers.answers(func(l *ledgerStore) { l.conflict = true })
}

// SetReceipts says whether blocks are acknowledged with a receipt, which they
// are at first, until it is called again or the stand-in ends.
func (s *Server) SetReceipts(on bool) {
	s.ledgers.answers(func(l *ledgerStore) { l.receipts = on })
}

func (s *Server) getLedgers(*call) answer {
	return reply(200, struct {
		Ledgers []Ledger `json:"ledgers"`
	}{s.Ledgers()})
}

func (s *Server) getLedger(c *call) answer {
	after, limit, ok := c.pageOf()
	if !ok {
		return refuse(422, "invalid_query", "after and limit are numbers")
	}
	lines, found, err := s.ledgers.page(c.rest, after, limit, maxLinesPage)
	switch {
	case err != nil:
		return refuse(500, "storage", "the blocks could not be read")
	case !found:
		return refuse(404, "not_found", "nothing is held of this ledger")
	}
	if lines == nil {
		lines = []byte{}
	}
	return answer{status: 200, contentType: "application/x-ndjson", body: lines}
}

func (s *Server) postConflict(c *call) answer {
	if _, err := c.only(); err != nil {
		return refuseChange(err)
	}
	return reply(200, s.ledgers.answers(func(l *ledgerStore) { l.conflict = true }))
}

func (s *Server) postReceipts(c *call) answer {
	_, err := c.only()
	if err == nil && c.rest != "on" && c.rest != "off" {
		err = illegal(fmt.Sprintf("%.40q is neither on nor off", c.rest))
	}
	if err != nil {
		return refuseChange(err)
	}
	return reply(200, s.ledgers.answers(func(l *ledgerStore) { l.receipts = c.rest == "on" }))
}
