package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"

	"carl.camp/carl/host/jsonwalk"
)

const (
	// maxLine bounds a block, without its line end.
	maxLine = 64 << 10
	// maxInt is the largest integer that every JSON reader keeps (RFC 8785 §3.2.2.3).
	maxInt = 1<<53 - 1
	// maxText bounds one text of a block but a payload; names of actions have 256 bytes.
	maxText = 4 << 10

	signPrefix = "carl.ledger.block.v1\n"
	timeForm   = "2006-01-02T15:04:05.000000Z"
)

// Hash is the hash of a block, which is also its leaf in the Merkle tree.
type Hash = tlog.Hash

// Kind is what a block records.
type Kind string

// The kinds.
const (
	KindSegment      Kind = "segment_open"
	KindConstitution Kind = "constitution"
	KindDecision     Kind = "decision"
	KindKeyRotation  Kind = "key_rotation"
	KindDropped      Kind = "pending_dropped"
	KindRecovery     Kind = "recovery"
	KindNote         Kind = "note"
)

// Block is one signed block. Of its bodies the one that Kind names is set.
type Block struct {
	LedgerID string
	Seq, Seg uint64
	Time     time.Time
	Kind     Kind
	KeyID    string
	Prev     Hash
	Sig      [ed25519.SignatureSize]byte

	Segment      *Segment
	Constitution *Constitution
	Decision     *Decision
	KeyRotation  *KeyRotation
	Dropped      *Dropped
	Recovery     *Recovery
	Note         *Note
}

// Segment is the body of the block that opens a file.
type Segment struct {
	// Size is the number of blocks before this one, Tree their compact range.
	Size uint64
	Tree []Hash
	// Previous is the file before this one; nil for the first.
	Previous *Previous
	// PrunedBefore is the first block that was kept when this file was opened.
	PrunedBefore uint64
	// Constitution and State are those of the last block before; "" for none.
	Constitution, State string
}

// Previous names a closed file by its blocks and the SHA-256 of its bytes.
type Previous struct {
	First, Last uint64
	SHA256      Hash
}

// Constitution is the body of a block that adopts one.
type Constitution struct{ Digest, Name, Version string }

// Decision is the body of a block that records a verdict.
type Decision struct {
	Action       Action
	Constitution string // digest
	Rule         string
	From, To     string // states
	Verdict      string
}

// Action is what was decided about. Digest is the SHA-256, in hex, of the action
// as it was asked about, payload included: in the form of RFC 8785, but with its
// numbers as they were written. Payload is the payload's text where that was to
// be kept, else "".
type Action struct{ Kind, Name, Digest, Payload string }

// KeyRotation is the body of the last block that the old key signs.
type KeyRotation struct {
	NewKey ed25519.PublicKey
	// NewSig is the new key's signature over the same bytes that the old one
	// signs, but without the member new_sig.
	NewSig [ed25519.SignatureSize]byte
}

// Dropped is the body of a block that owns up to blocks which left this machine
// before any remote had them.
type Dropped struct {
	From, To uint64
	// Hash is the hash of the block To.
	Hash Hash
}

// Recovery is the body of a block behind which a loss lies that somebody
// confirmed.
type Recovery struct{ Reason string }

// Note is the body of a block that only says something.
type Note struct{ Code, Detail string }

// writer writes one canonical JSON object: RFC 8785, restricted to texts,
// booleans, arrays, objects and integers up to 2^53−1. Its caller adds the
// members in the order of their names; a test holds every kind against a
// canonicalizer.
type writer struct{ buf []byte }

func (w *writer) name(name string) {
	if last := w.buf[len(w.buf)-1]; last != '{' && last != '[' {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(append(append(w.buf, '"'), name...), '"', ':')
}

func (w *writer) text(name, value string) {
	w.name(name)
	w.buf, _ = jsontext.AppendQuote(w.buf, value)
}

func (w *writer) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *writer) number(name string, value uint64) {
	w.name(name)
	w.buf = strconv.AppendUint(w.buf, value, 10)
}

func (w *writer) hex(name string, value []byte) {
	w.name(name)
	w.buf = append(hex.AppendEncode(append(w.buf, '"'), value), '"')
}

func (w *writer) object(name string, members func()) {
	w.name(name)
	w.buf = append(w.buf, '{')
	members()
	w.buf = append(w.buf, '}')
}

// appendUnsigned appends the canonical JSON of a block without its sig. Where
// what both keys of a rotation sign is asked for, new_sig is left out as well.
func (b *Block) appendUnsigned(dst []byte, bothSign bool) []byte {
	w := &writer{append(dst, '{')}
	if d := b.Decision; d != nil {
		w.object("action", func() {
			w.text("digest", d.Action.Digest)
			w.text("kind", d.Action.Kind)
			w.text("name", d.Action.Name)
			w.optional("payload", d.Action.Payload)
		})
		w.text("constitution", d.Constitution)
	}
	if n := b.Note; n != nil {
		w.text("code", n.Code)
	}
	if s := b.Segment; s != nil {
		w.optional("constitution", s.Constitution)
	}
	if n := b.Note; n != nil {
		w.text("detail", n.Detail)
	}
	if c := b.Constitution; c != nil {
		w.text("digest", c.Digest)
	}
	if d := b.Dropped; d != nil {
		w.number("from", d.From)
		w.hex("hash", d.Hash[:])
	}
	w.text("key_id", b.KeyID)
	w.text("kind", string(b.Kind))
	w.text("ledger_id", b.LedgerID)
	if c := b.Constitution; c != nil {
		w.text("name", c.Name)
	}
	if k := b.KeyRotation; k != nil {
		w.text("new_key", base64.RawURLEncoding.EncodeToString(k.NewKey))
		if !bothSign {
			w.hex("new_sig", k.NewSig[:])
		}
	}
	w.hex("prev_hash", b.Prev[:])
	if s := b.Segment; s != nil {
		if p := s.Previous; p != nil {
			w.object("prev_segment", func() {
				w.number("first", p.First)
				w.number("last", p.Last)
				w.hex("sha256", p.SHA256[:])
			})
		}
		w.number("pruned_before", s.PrunedBefore)
	}
	if r := b.Recovery; r != nil {
		w.text("reason", r.Reason)
	}
	if d := b.Decision; d != nil {
		w.text("rule", d.Rule)
	}
	w.number("seg", b.Seg)
	w.number("seq", b.Seq)
	if s := b.Segment; s != nil {
		w.number("size", s.Size)
		w.optional("state", s.State)
	}
	if d := b.Decision; d != nil {
		w.object("state", func() {
			w.text("from", d.From)
			w.text("to", d.To)
		})
	}
	if d := b.Dropped; d != nil {
		w.number("to", d.To)
	}
	if s := b.Segment; s != nil {
		w.name("tree")
		w.buf = append(w.buf, '[')
		for i := range s.Tree {
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.buf = append(hex.AppendEncode(append(w.buf, '"'), s.Tree[i][:]), '"')
		}
		w.buf = append(w.buf, ']')
	}
	w.text("ts", b.Time.UTC().Format(timeForm))
	w.number("v", 1)
	if d := b.Decision; d != nil {
		w.text("verdict", d.Verdict)
	}
	if c := b.Constitution; c != nil {
		w.text("version", c.Version)
	}
	return append(w.buf, '}')
}

// sigMember is how the signature stands in a line: behind seq, ahead of size,
// state, to, tree or ts, one of which every block has.
var (
	seqMember = []byte(`,"seq":`)
	sigMember = []byte(`,"sig":"`)
)

const sigLength = len(`,"sig":"`) + 2*ed25519.SignatureSize + len(`"`)

// insertSig appends the line of an unsigned block and its signature.
func insertSig(dst, unsigned []byte, sig []byte) []byte {
	at := sigPlace(unsigned)
	dst = append(dst, unsigned[:at]...)
	dst = append(dst, sigMember...)
	dst = append(hex.AppendEncode(dst, sig), '"')
	return append(dst, unsigned[at:]...)
}

// sigPlace is where the signature belongs in an unsigned block: behind the
// member seq. The members behind that hold no text of others but the names of
// states, in which a quote is escaped, so that the last match is the member.
func sigPlace(unsigned []byte) int {
	at := bytes.LastIndex(unsigned, seqMember) + len(seqMember)
	for at < len(unsigned) && unsigned[at] >= '0' && unsigned[at] <= '9' {
		at++
	}
	return at
}

// hashBlock is SHA-256(0x00 ‖ line without sig ‖ sig): the leaf hash of RFC
// 6962 §2.1.
func hashBlock(unsigned, sig []byte) Hash {
	return tlog.RecordHash(append(unsigned[:len(unsigned):len(unsigned)], sig...))
}

// usualLine is what a block without a payload fits into.
const usualLine = 1 << 10

// sign signs a block and returns its line, without a line end, and its hash.
func (b *Block) sign(key ed25519.PrivateKey) (line []byte, hash Hash) {
	message := b.appendUnsigned(append(make([]byte, 0, usualLine), signPrefix...), false)
	unsigned := message[len(signPrefix):]
	sig := ed25519.Sign(key, message)
	copy(b.Sig[:], sig)
	return insertSig(make([]byte, 0, len(unsigned)+sigLength), unsigned, sig), hashBlock(unsigned, sig)
}

// verified reports whether the block that unsigned came from was signed with key.
func verified(unsigned []byte, sig []byte, key ed25519.PublicKey) bool {
	signed := make([]byte, 0, len(signPrefix)+len(unsigned))
	return ed25519.Verify(key, append(append(signed, signPrefix...), unsigned...), sig)
}

// leaf tells the hash that a line has in the tree if it is a block's, without
// looking at what it says: no two lines have the same one. ok is false for a line
// that has no signature where a block has it.
func leaf(line []byte) (hash Hash, ok bool) {
	at := bytes.LastIndex(line, sigMember)
	if at < 0 || len(line) < at+sigLength {
		return Hash{}, false
	}
	var sig [ed25519.SignatureSize]byte
	unsigned := append(append(make([]byte, 0, len(line)), line[:at]...), line[at+sigLength:]...)
	if at != sigPlace(unsigned) || line[at+sigLength-1] != '"' || !lowerHex(line[at+len(sigMember):at+sigLength-1], sig[:]) {
		return Hash{}, false
	}
	return hashBlock(unsigned, sig[:]), true
}

// parse reads a line without its line end. It accepts only what a block's own
// line is: the block is written again, and must give the same bytes.
func parse(line []byte) (b *Block, unsigned []byte, ok bool) {
	if len(line) > maxLine {
		return nil, nil, false
	}
	b = new(Block)
	if !b.read(line) {
		return nil, nil, false
	}
	unsigned = b.appendUnsigned(make([]byte, 0, len(line)), false)
	at := sigPlace(unsigned)
	// The line is unsigned with the signature put in.
	if len(line) != len(unsigned)+sigLength || !bytes.Equal(line[:at], unsigned[:at]) || !bytes.Equal(line[at+sigLength:], unsigned[at:]) {
		return nil, nil, false
	}
	member := line[at : at+sigLength]
	if !bytes.HasPrefix(member, sigMember) || member[sigLength-1] != '"' || !lowerHex(member[len(sigMember):sigLength-1], b.Sig[:]) {
		return nil, nil, false
	}
	return b, unsigned, true
}

// read takes the members of a line. Which ones a kind must have shows when the
// block is written again.
func (b *Block) read(line []byte) bool {
	var action, state jsontext.Value
	var rotation KeyRotation
	var t struct {
		kind, code, detail, digest, name, version, reason, rule, verdict, constitution, newKey, newSig string
		from, to, size, pruned                                                                         uint64
		hash                                                                                           Hash
		previous                                                                                       *Previous
		tree                                                                                           []Hash
	}
	ok := jsonwalk.Members(line, func(name string, v jsontext.Value) bool {
		switch name {
		case "action":
			action = bytes.Clone(v)
		case "code":
			return readText(v, &t.code)
		case "constitution":
			return readText(v, &t.constitution)
		case "detail":
			return readText(v, &t.detail)
		case "digest":
			return readText(v, &t.digest)
		case "from":
			return readNumber(v, &t.from)
		case "hash":
			return readHash(v, &t.hash)
		case "key_id":
			return readText(v, &b.KeyID)
		case "kind":
			return readText(v, &t.kind)
		case "ledger_id":
			return readText(v, &b.LedgerID)
		case "name":
			return readText(v, &t.name)
		case "new_key":
			return readText(v, &t.newKey)
		case "new_sig":
			return readText(v, &t.newSig)
		case "prev_hash":
			return readHash(v, &b.Prev)
		case "prev_segment":
			t.previous = new(Previous)
			return t.previous.read(v)
		case "pruned_before":
			return readNumber(v, &t.pruned)
		case "reason":
			return readText(v, &t.reason)
		case "rule":
			return readText(v, &t.rule)
		case "seg":
			return readNumber(v, &b.Seg)
		case "seq":
			return readNumber(v, &b.Seq)
		case "sig":
			return v.Kind() == '"'
		case "size":
			return readNumber(v, &t.size)
		case "state":
			state = bytes.Clone(v)
		case "to":
			return readNumber(v, &t.to)
		case "tree":
			return jsonwalk.Elements(v, func(v jsontext.Value) bool {
				var h Hash
				t.tree = append(t.tree, h)
				return len(t.tree) <= 64 && readHash(v, &t.tree[len(t.tree)-1])
			})
		case "ts":
			return readTime(v, &b.Time)
		case "v":
			return string(v) == "1"
		case "verdict":
			return readText(v, &t.verdict)
		case "version":
			return readText(v, &t.version)
		default:
			return false
		}
		return true
	})
	if !ok {
		return false
	}
	b.Kind = Kind(t.kind)
	switch b.Kind {
	case KindSegment:
		b.Segment = &Segment{Size: t.size, Tree: t.tree, Previous: t.previous, PrunedBefore: t.pruned, Constitution: t.constitution}
		return state == nil || readText(state, &b.Segment.State)
	case KindConstitution:
		b.Constitution = &Constitution{t.digest, t.name, t.version}
	case KindDecision:
		b.Decision = &Decision{Constitution: t.constitution, Rule: t.rule, Verdict: t.verdict}
		return b.Decision.Action.read(action) && b.Decision.readState(state)
	case KindKeyRotation:
		raw, err := base64.RawURLEncoding.DecodeString(t.newKey)
		rotation.NewKey = raw
		b.KeyRotation = &rotation
		return err == nil && len(raw) == ed25519.PublicKeySize && lowerHex([]byte(t.newSig), rotation.NewSig[:])
	case KindDropped:
		b.Dropped = &Dropped{t.from, t.to, t.hash}
	case KindRecovery:
		b.Recovery = &Recovery{t.reason}
	case KindNote:
		b.Note = &Note{t.code, t.detail}
	default:
		return false
	}
	return true
}

func (a *Action) read(v jsontext.Value) bool {
	return jsonwalk.Members(v, func(name string, v jsontext.Value) bool {
		switch name {
		case "digest":
			return readText(v, &a.Digest)
		case "kind":
			return readText(v, &a.Kind)
		case "name":
			return readText(v, &a.Name)
		case "payload":
			return jsonwalk.Text(v, &a.Payload)
		}
		return false
	})
}

func (d *Decision) readState(v jsontext.Value) bool {
	return jsonwalk.Members(v, func(name string, v jsontext.Value) bool {
		switch name {
		case "from":
			return readText(v, &d.From)
		case "to":
			return readText(v, &d.To)
		}
		return false
	})
}

func (p *Previous) read(v jsontext.Value) bool {
	return jsonwalk.Members(v, func(name string, v jsontext.Value) bool {
		switch name {
		case "first":
			return readNumber(v, &p.First)
		case "last":
			return readNumber(v, &p.Last)
		case "sha256":
			return readHash(v, &p.SHA256)
		}
		return false
	})
}

func readText(v jsontext.Value, into *string) bool {
	return jsonwalk.Text(v, into) && len(*into) <= maxText
}

func readNumber(v jsontext.Value, into *uint64) bool {
	n, err := strconv.ParseUint(string(v), 10, 64)
	*into = n
	return err == nil && n <= maxInt
}

func readHash(v jsontext.Value, into *Hash) bool {
	return len(v) == 2+2*tlog.HashSize && v[0] == '"' && lowerHex(v[1:len(v)-1], into[:])
}

// readTime accepts the one form that is written.
func readTime(v jsontext.Value, into *time.Time) bool {
	var s string
	if !jsonwalk.Text(v, &s) {
		return false
	}
	t, err := time.Parse(timeForm, s)
	*into = t
	return err == nil
}

// lowerHex decodes lowercase hex of exactly the length of into.
func lowerHex(s []byte, into []byte) bool {
	if len(s) != 2*len(into) {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(into, s)
	return err == nil
}
