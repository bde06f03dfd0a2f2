package standin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/camp"
)

const (
	// maxBlock bounds a line of a ledger, without its line end.
	maxBlock = 64 << 10
	// maxBlockText bounds every text of a block but an action's payload; the
	// longest that carl writes by itself, an action's name, has 256 bytes.
	maxBlockText = 4 << 10
	// maxNumber is the largest integer that every JSON reader keeps (RFC 8785 §3.2.2.3).
	maxNumber = 1<<53 - 1
	// blockPrefix stands before the bytes that a ledger's key signs.
	blockPrefix = "carl.ledger.block.v1\n"
	blockTime   = "2006-01-02T15:04:05.000000Z"
	// ledgerIDDigits is the length of a ledger_id, in lowercase hex digits.
	ledgerIDDigits = 32
)

// block is one line of a ledger, as far as the chain depends on it. It is
// written by another hand than package ledger, so that two readings of the
// format are held against each other.
type block struct {
	ledgerID, keyID, kind string
	// ts has one form of one length: later times are greater texts.
	ts       string
	seq, seg uint64
	prev     digest
	sig      []byte
	// unsigned is the line without the member sig.
	unsigned []byte
	// hash is SHA-256(0x00 ‖ unsigned ‖ sig), the leaf hash of RFC 6962 §2.1.
	hash digest
	// payload is what an action says in so many words; nil for nothing.
	payload jsontext.Value

	// Of the block that opens a file:

	tree    []digest // the compact range of the blocks before it
	prevSeg *segment // the file before it, where it says one

	// Of the last block that a key signs:

	newKey     ed25519.PublicKey
	newSig     []byte
	bothSigned []byte // the line without sig and new_sig
}

// segment is a closed file, by its first and its last block.
type segment struct{ first, last uint64 }

const (
	kindOpener   = "segment_open"
	kindRotation = "key_rotation"
)

// form is what a member of a block must be.
type form struct {
	want     string
	ok       func(jsontext.Value) bool
	members  members // of an object; then want and ok say nothing
	optional bool
}

// members are all members that an object may have.
type members map[string]form

// optionally is the form of a member that may be missing.
func optionally(f form) form {
	f.optional = true
	return f
}

var (
	shortText = form{want: "a text of at most 4,096 bytes", ok: func(v jsontext.Value) bool {
		s, ok := text(v)
		return ok && len(s) <= maxBlockText
	}}
	// A text that may be missing is missing where it would be empty.
	someText = form{want: "a text of 1 to 4,096 bytes, or missing", optional: true, ok: func(v jsontext.Value) bool {
		s, ok := text(v)
		return ok && s != "" && len(s) <= maxBlockText
	}}
	anyText = form{want: "a text of at least a byte, or missing", optional: true, ok: func(v jsontext.Value) bool {
		s, ok := text(v)
		return ok && s != ""
	}}
	integer = form{want: "an integer from 0 to 2^53-1", ok: func(v jsontext.Value) bool {
		_, ok := blockNumber(v)
		return ok
	}}
	hexHash = form{want: "64 lowercase hex digits", ok: func(v jsontext.Value) bool { return isHexText(v, 2*sha256.Size) }}
	hexSig  = form{want: "128 lowercase hex digits", ok: func(v jsontext.Value) bool { return isHexText(v, 2*ed25519.SignatureSize) }}
	hexID   = form{want: "32 lowercase hex digits", ok: func(v jsontext.Value) bool { return isHexText(v, ledgerIDDigits) }}
	jkt     = form{want: "a JWK thumbprint: 32 bytes in base64url without padding", ok: func(v jsontext.Value) bool {
		_, ok := rawKey(v)
		return ok
	}}
	edKey = form{want: "an Ed25519 public key: 32 bytes in base64url without padding, canonical and not of small order", ok: func(v jsontext.Value) bool {
		raw, ok := rawKey(v)
		return ok && isStrongKey(raw)
	}}
	version = form{want: "1", ok: func(v jsontext.Value) bool { return string(v) == "1" }}
	moment  = form{want: "a time in UTC with six decimals, such as 2026-11-23T01:02:03.456789Z", ok: func(v jsontext.Value) bool {
		s, ok := text(v)
		t, err := time.Parse(blockTime, s)
		return ok && err == nil && t.Format(blockTime) == s
	}}
	verdictText = form{want: "allow, deny or escalate", ok: func(v jsontext.Value) bool {
		s, _ := text(v)
		return s == "allow" || s == "deny" || s == "escalate"
	}}
	// A compact range has at most one hash for each bit of a size.
	hashes = form{want: "at most 64 hashes of 64 lowercase hex digits", ok: func(v jsontext.Value) bool {
		list, ok := digests(v)
		return ok && len(list) <= 64
	}}
)

// every lists the members that every block has.
var every = members{
	"v": version, "ledger_id": hexID, "seq": integer, "seg": integer, "ts": moment,
	"kind": shortText, "key_id": jkt, "prev_hash": hexHash, "sig": hexSig,
}

// kinds lists, by kind, the members that a block has besides.
var kinds = map[string]members{
	kindOpener: {
		"size": integer, "tree": hashes, "pruned_before": integer, "constitution": optionally(hexHash), "state": someText,
		"prev_segment": {members: members{"first": integer, "last": integer, "sha256": hexHash}, optional: true},
	},
	"constitution": {"digest": hexHash, "name": shortText, "version": shortText},
	"decision": {
		"action":       {members: members{"digest": hexHash, "kind": shortText, "name": shortText, "payload": anyText}},
		"constitution": hexHash, "rule": shortText, "verdict": verdictText,
		"state": {members: members{"from": shortText, "to": shortText}},
	},
	kindRotation:      {"new_key": edKey, "new_sig": hexSig},
	"pending_dropped": {"from": integer, "to": integer, "hash": hexHash},
	"recovery":        {"reason": shortText},
	"note":            {"code": shortText, "detail": shortText},
}

// check returns the first thing that is wrong with the members of the object
// at path, or nil. Both lists say what it may have.
func check(path string, values map[string]jsontext.Value, lists ...members) *camp.Field {
	known := members{}
	for _, list := range lists {
		maps.Copy(known, list)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := known[name]; !ok {
			return &camp.Field{Path: path, Message: fmt.Sprintf("%.40q is no member of it", name)}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		f, at := known[name], path+"/"+name
		v, there := values[name]
		switch {
		case !there && f.optional:
		case !there:
			return &camp.Field{Path: at, Message: "missing"}
		case f.members != nil:
			inner, ok := object(v)
			if !ok {
				return &camp.Field{Path: at, Message: "not an object"}
			}
			if flaw := check(at, inner, f.members); flaw != nil {
				return flaw
			}
		case !f.ok(v):
			return &camp.Field{Path: at, Message: "not " + f.want}
		}
	}
	return nil
}

// parseBlock reads a line without its line end: one object in the form of RFC
// 8785, with the members that its kind has, and no others. What it says of
// itself fits together then; signature and place are for others to check. The
// flaw is the first thing that is wrong with it.
func parseBlock(line []byte) (b *block, flaw *camp.Field) {
	canonical := jsontext.Value(bytes.Clone(line))
	if err := canonical.Canonicalize(); err != nil {
		return nil, &camp.Field{Message: syntax(err)}
	}
	if !bytes.Equal(canonical, line) {
		return nil, &camp.Field{Message: "not in the canonical form of RFC 8785"}
	}
	values, ok := object(canonical)
	if !ok {
		return nil, &camp.Field{Message: "not an object"}
	}
	kind, _ := text(values["kind"])
	own, ok := kinds[kind]
	if !ok {
		return nil, &camp.Field{Path: "/kind", Message: "not a kind of block"}
	}
	if flaw := check("", values, every, own); flaw != nil {
		return nil, flaw
	}
	b = &block{kind: kind}
	b.ledgerID, _ = text(values["ledger_id"])
	b.keyID, _ = text(values["key_id"])
	b.ts, _ = text(values["ts"])
	b.seq, _ = blockNumber(values["seq"])
	b.seg, _ = blockNumber(values["seg"])
	b.prev = digest(unhex(values["prev_hash"]))
	b.sig = unhex(values["sig"])
	b.unsigned = without(values, "sig")
	b.hash = leafHash(b.unsigned, b.sig)
	if flaw := b.fits(); flaw != nil {
		return nil, flaw
	}
	switch kind {
	case kindOpener:
		flaw = b.readOpener(values)
	case kindRotation:
		flaw = b.readRotation(values)
	case "decision":
		action, _ := object(values["action"])
		b.payload = action["payload"]
	case "pending_dropped":
		from, _ := blockNumber(values["from"])
		to, _ := blockNumber(values["to"])
		if from > to || to >= b.seq {
			flaw = &camp.Field{Path: "/to", Message: "not from the first block that was dropped to one before this"}
		}
	}
	if flaw != nil {
		return nil, flaw
	}
	return b, nil
}

// fits holds against each other what every block says.
func (b *block) fits() *camp.Field {
	switch {
	case b.seg > b.seq:
		return &camp.Field{Path: "/seg", Message: "there are not as many blocks before it as files"}
	case b.seq == 0 && b.kind != kindOpener:
		return &camp.Field{Path: "/kind", Message: "block 0 is not one that opens a file"}
	case b.seq == 0 && b.prev != digest{}:
		return &camp.Field{Path: "/prev_hash", Message: "not 64 zeros, and there is no block before it"}
	}
	return nil
}

func (b *block) readOpener(values map[string]jsontext.Value) *camp.Field {
	size, _ := blockNumber(values["size"])
	pruned, _ := blockNumber(values["pruned_before"])
	b.tree, _ = digests(values["tree"])
	if v, there := values["prev_segment"]; there {
		inner, _ := object(v)
		b.prevSeg = new(segment)
		b.prevSeg.first, _ = blockNumber(inner["first"])
		b.prevSeg.last, _ = blockNumber(inner["last"])
	}
	switch p := b.prevSeg; {
	case size != b.seq:
		return &camp.Field{Path: "/size", Message: "not the number of the blocks before it"}
	case len(b.tree) != bits.OnesCount64(size):
		return &camp.Field{Path: "/tree", Message: "not as many hashes as the compact range of that many blocks has"}
	case pruned > b.seq:
		return &camp.Field{Path: "/pruned_before", Message: "a block that is not there yet"}
	case p != nil && (p.first > p.last || p.last+1 != b.seq):
		return &camp.Field{Path: "/prev_segment", Message: "not a file that ends with the block before this one"}
	}
	return nil
}

func (b *block) readRotation(values map[string]jsontext.Value) *camp.Field {
	b.newKey, _ = rawKey(values["new_key"])
	b.newSig = unhex(values["new_sig"])
	b.bothSigned = without(values, "sig", "new_sig")
	if thumbprint(b64(b.newKey)) == b.keyID {
		return &camp.Field{Path: "/new_key", Message: "the key that signs the block"}
	}
	return nil
}

// signed reports whether key signed the block.
func (b *block) signed(key ed25519.PublicKey) bool {
	return ed25519.Verify(key, append([]byte(blockPrefix), b.unsigned...), b.sig)
}

// signedByNew reports whether the key that follows signed as well. It is called
// of rotations only.
func (b *block) signedByNew() bool {
	return ed25519.Verify(b.newKey, append([]byte(blockPrefix), b.bothSigned...), b.newSig)
}

// leafHash is the hash of a leaf that is unsigned ‖ sig (RFC 6962 §2.1).
func leafHash(unsigned, sig []byte) digest {
	leaf := make([]byte, 0, 1+len(unsigned)+len(sig))
	return sha256.Sum256(append(append(append(leaf, 0), unsigned...), sig...))
}

// compactRange is the roots of the largest complete subtrees of a Merkle tree
// (RFC 6962 §2.1), from the left: one for each bit of its size that is set.
type compactRange struct {
	size   uint64
	hashes []digest
}

// push adds a leaf. Every complete subtree at the right end as large as what
// came becomes one with it.
func (r *compactRange) push(leaf digest) {
	for n := r.size; n&1 == 1; n >>= 1 {
		last := len(r.hashes) - 1
		node := append([]byte{1}, r.hashes[last][:]...)
		leaf = sha256.Sum256(append(node, leaf[:]...))
		r.hashes = r.hashes[:last]
	}
	r.hashes = append(r.hashes, leaf)
	r.size++
}

// without is the canonical form of an object without some of its members. The
// values are canonical, and the names ASCII: sorted by bytes they are sorted
// as RFC 8785 §3.2.3 wants it.
func without(values map[string]jsontext.Value, names ...string) []byte {
	out := []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if slices.Contains(names, name) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), name...), '"', ':')
		out = append(out, values[name]...)
	}
	return append(out, '}')
}

// object is the members of an object that is valid JSON.
func object(v jsontext.Value) (map[string]jsontext.Value, bool) {
	if v.Kind() != '{' {
		return nil, false
	}
	values := map[string]jsontext.Value{}
	d := jsontext.NewDecoder(bytes.NewReader(v))
	d.ReadToken() // the brace
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, false
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, false
		}
		values[key] = value.Clone()
	}
	return values, true
}

// digests reads an array of hashes.
func digests(v jsontext.Value) ([]digest, bool) {
	if v.Kind() != '[' {
		return nil, false
	}
	var list []digest
	d := jsontext.NewDecoder(bytes.NewReader(v))
	d.ReadToken() // the bracket
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil || !isHexText(value, 2*sha256.Size) {
			return nil, false
		}
		list = append(list, digest(unhex(value)))
	}
	return list, true
}

// blockNumber reads an integer in canonical form.
func blockNumber(v jsontext.Value) (uint64, bool) {
	n, err := strconv.ParseUint(string(v), 10, 64)
	return n, err == nil && n <= maxNumber
}

func isHexText(v jsontext.Value, digits int) bool {
	s, ok := text(v)
	return ok && isHex(s, digits)
}

// unhex decodes a text of hex digits.
func unhex(v jsontext.Value) []byte {
	s, _ := text(v)
	raw, _ := hex.DecodeString(s)
	return raw
}

// rawKey decodes 32 bytes in base64url.
func rawKey(v jsontext.Value) ([]byte, bool) {
	s, ok := text(v)
	if !ok {
		return nil, false
	}
	return parseX(s)
}

// parseX decodes the member x of an Ed25519 JWK (RFC 8037 §2).
func parseX(s string) ([]byte, bool) {
	// The decoder ignores line feeds.
	if len(s) != base64.RawURLEncoding.EncodedLen(ed25519.PublicKeySize) {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return raw, err == nil && len(raw) == ed25519.PublicKeySize
}

// smallOrder are the y coordinates, as RFC 8032 §5.1.2 encodes them, of the
// points whose order divides 8. Under such a key one signature fits every
// eighth message, and crypto/ed25519 takes it.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

// isStrongKey reports whether a key has one encoding (its y is less than 2^255
// − 19) and is not of small order.
func isStrongKey(raw []byte) bool {
	y := bytes.Clone(raw)
	y[len(y)-1] &= 0x7f // the sign of x
	if y[0] >= 0xed && y[len(y)-1] == 0x7f && !slices.ContainsFunc(y[1:len(y)-1], func(c byte) bool { return c != 0xff }) {
		return false
	}
	return !slices.Contains(smallOrder, hex.EncodeToString(y))
}
