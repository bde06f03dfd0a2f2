package standin

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"maps"
	"math/bits"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"
)

const ledgerPath = "/api/ledger/append"

// author writes a ledger by this test's own means: encoding/json, a
// canonicalizer, and RFC 6962 as it words the tree.
type author struct {
	id     string
	key    ed25519.PrivateKey
	seg    uint64
	from   uint64 // the first block of the open file
	at     time.Time
	leaves [][32]byte
	lines  [][]byte
}

// doc is a block that is not signed yet.
type doc map[string]any

func keyNamed(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newAuthor(name string) *author {
	return &author{id: idOf(name)[:32], key: keyNamed(name), at: time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC)}
}

// xOf is a public key as a JWK has it.
func xOf(key ed25519.PrivateKey) string {
	return base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

func jktOf(key ed25519.PrivateKey) string { return published{x: xOf(key)}.jkt() }

func (a *author) seq() int { return len(a.leaves) }

// block is a block of the next seq, with the members that every one has.
func (a *author) block(kind string, more doc) doc {
	prev := [32]byte{}
	if n := len(a.leaves); n > 0 {
		prev = a.leaves[n-1]
	}
	d := doc{
		"v": 1, "ledger_id": a.id, "seq": a.seq(), "seg": a.seg, "kind": kind, "key_id": jktOf(a.key),
		"prev_hash": hex.EncodeToString(prev[:]),
		"ts":        a.at.Add(time.Duration(a.seq()) * time.Millisecond).Format("2006-01-02T15:04:05.000000Z"),
	}
	maps.Copy(d, more)
	return d
}

// decision is a decision of the next seq.
func (a *author) decision(name string) doc {
	return a.block("decision", doc{
		"action":       doc{"digest": idOf(name), "kind": "deploy", "name": name},
		"constitution": idOf("constitution"), "rule": "r7", "verdict": "allow",
		"state": doc{"from": "idle", "to": "deploying"},
	})
}

// mth is the Merkle tree hash (RFC 6962 §2.1) of leaves that are hashed already.
func mth(leaves [][32]byte) [32]byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1 << (bits.Len(uint(len(leaves)-1)) - 1) // the largest power of two below their number
	left, right := mth(leaves[:k]), mth(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

// opener opens a file, the first one or the next.
func (a *author) opener() doc {
	tree := []string{}
	for at := 0; at < len(a.leaves); {
		n := 1 << (bits.Len(uint(len(a.leaves)-at)) - 1)
		h := mth(a.leaves[at : at+n])
		tree = append(tree, hex.EncodeToString(h[:]))
		at += n
	}
	more := doc{"size": a.seq(), "tree": tree, "pruned_before": 0, "constitution": idOf("constitution"), "state": "idle"}
	if a.seq() == 0 {
		delete(more, "constitution")
		delete(more, "state")
	} else {
		more["prev_segment"] = doc{"first": a.from, "last": a.seq() - 1, "sha256": idOf("file")}
		more["seg"] = a.seg + 1
	}
	return a.block("segment_open", more)
}

func canonical(d doc) []byte {
	text, err := stdjson.Marshal(d)
	if err != nil {
		panic(err)
	}
	v := jsontext.Value(text)
	if err := v.Canonicalize(); err != nil {
		panic(err)
	}
	return v
}

// signed signs a block, whatever it says, and returns its line and its hash.
func signed(d doc, key ed25519.PrivateKey) (line []byte, hash [32]byte) {
	unsigned := canonical(d)
	sig := ed25519.Sign(key, slices.Concat([]byte("carl.ledger.block.v1\n"), unsigned))
	full := maps.Clone(d)
	full["sig"] = hex.EncodeToString(sig)
	return canonical(full), sha256.Sum256(slices.Concat([]byte{0}, unsigned, sig))
}

// rotation is a block that hands over to another key.
func (a *author) rotation(to ed25519.PrivateKey) doc {
	d := a.block("key_rotation", doc{"new_key": xOf(to)})
	d["new_sig"] = hex.EncodeToString(ed25519.Sign(to, slices.Concat([]byte("carl.ledger.block.v1\n"), canonical(d))))
	return d
}

// write makes d the next block.
func (a *author) write(d doc) []byte {
	line, hash := signed(d, a.key)
	if d["kind"] == "segment_open" {
		if a.seq() > 0 {
			a.seg++
		}
		a.from = uint64(a.seq())
	}
	a.leaves, a.lines = append(a.leaves, hash), append(a.lines, line)
	return line
}

// begin writes the first blocks: a file, a constitution, a decision.
func (a *author) begin() {
	a.write(a.opener())
	a.write(a.block("constitution", doc{"digest": idOf("constitution"), "name": "coding-agent", "version": "1"}))
	a.write(a.decision("first"))
}

// sigOf is the member sig of a line, or what stands in its place.
func sigOf(line []byte) string {
	_, rest, _ := bytes.Cut(line, []byte(`"sig":"`))
	sig, _, _ := bytes.Cut(rest, []byte(`"`))
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?' // no field may hold it
		}
		return r
	}, string(sig))
}

// withKey shows a public key.
func withKey(key ed25519.PrivateKey) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("X-Carl-Ledger-Key", xOf(key)) }
}

// append sends a line with its sig as the idempotency key.
func (p *platform) append(t testing.TB, line []byte, change ...func(*http.Request)) (status int, body string) {
	t.Helper()
	with := func(r *http.Request) { r.Header.Set("Idempotency-Key", sigOf(line)) }
	resp, body := p.do(t, "POST", ledgerPath, "application/json", string(line), append([]func(*http.Request){with}, change...)...)
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 204 && got != "application/json" {
		t.Fatalf("an answer of type %q", got)
	}
	return resp.StatusCode, body
}

// take sends lines that must be acknowledged, the first with its key.
func (p *platform) take(t testing.TB, a *author, lines ...[]byte) []acknowledgement {
	t.Helper()
	var list []acknowledgement
	for i, line := range lines {
		var change []func(*http.Request)
		if i == 0 {
			change = append(change, withKey(a.key))
		}
		status, body := p.append(t, line, change...)
		if status != 200 {
			t.Fatalf("block %d of %s: %d %s", i, line, status, body)
		}
		list = append(list, readAck(t, body))
	}
	return list
}

func readAck(t testing.TB, body string) acknowledgement {
	t.Helper()
	var ack acknowledgement
	if err := json.Unmarshal([]byte(body), &ack, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return ack
}

// refused sends a line that must be refused with a field that names path, and
// must leave nothing behind.
func (p *platform) refused(t *testing.T, name string, line []byte, status int, code, path string, change ...func(*http.Request)) problemBody {
	t.Helper()
	before := p.holding()
	got, body := p.append(t, line, change...)
	e := refusal(t, body)
	if got != status || e.Code != code || path != "" && (len(e.Fields) != 1 || e.Fields[0].Path != path || e.Fields[0].Message == "") {
		t.Errorf("%s: %d %s, want %d %s at %q", name, got, body, status, code, path)
	}
	if after := p.holding(); after != before {
		t.Errorf("%s: what was refused left %s, and before there was %s", name, after, before)
	}
	return e
}

// holding is all that is held of ledgers, as text.
func (p *platform) holding() string {
	return fmt.Sprint(p.Ledgers(), p.Summary().Blocks)
}

// receiptOf verifies a receipt with the key that /dev/keys shows.
func (p *platform) receiptOf(t testing.TB, receipt string) string {
	t.Helper()
	v, err := note.NewVerifier(p.ReceiptKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(receipt), note.VerifierList(v))
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		t.Fatalf("%v: %q", err, receipt)
	}
	return n.Text
}

func TestBlocksAreKept(t *testing.T) {
	h := newHand()
	p := start(t, Options{Clock: h.clock})
	a := newAuthor("a")
	a.begin()
	a.write(a.block("note", doc{"code": "carl.ledger.provisional_key", "detail": "café \"quoted\" \u2028 <&> \x01"}))
	d := a.decision("kept")
	d["action"].(doc)["payload"] = `{"to":"production"}`
	a.write(d)
	a.write(a.block("pending_dropped", doc{"from": 0, "to": 1, "hash": hex.EncodeToString(a.leaves[1][:])}))
	a.write(a.block("recovery", doc{"reason": "a disk was lost"}))
	a.write(a.opener())
	a.write(a.decision("in the second file"))
	for i := range 5 {
		a.write(a.decision(fmt.Sprint(i)))
	}
	a.write(a.opener())

	for i, line := range a.lines {
		status, body := p.append(t, line, withKey(a.key))
		ack := readAck(t, body)
		if want := fmt.Sprintf(`{"ack":"%s","receipt":%s}`+"\n", sigOf(line), quoted(t, ack.Receipt)); status != 200 || body != want {
			t.Fatalf("block %d: %d %s, want %s", i, status, body, want)
		}
		want := fmt.Sprintf("carl-receipt/v1\nledger_id %s\nseq %d\nblock_hash %x\ntime 2026-11-23T01:02:%02dZ\n", a.id, i, a.leaves[i], 3+i)
		if got := p.receiptOf(t, ack.Receipt); got != want {
			t.Errorf("receipt %d says %q, want %q", i, got, want)
		}
		if !strings.HasPrefix(ack.Receipt, want+"\n— carl.camp/receipts ") {
			t.Errorf("receipt %d is %q", i, ack.Receipt)
		}
		if s := p.Summary(); s.Blocks != i+1 {
			t.Errorf("the summary counts %d blocks after %d", s.Blocks, i+1)
		}
		h.pass(time.Second)
	}
	resp, text := p.do(t, "GET", "/dev/ledger", "", "")
	if want := fmt.Sprintf(`{"ledgers":[{"ledger_id":"%s","first":0,"next":%d,"key_id":"%s"}]}`+"\n", a.id, len(a.lines), jktOf(a.key)); resp.StatusCode != 200 || text != want {
		t.Errorf("answered %s, want %s", text, want)
	}
	resp, text = p.do(t, "GET", "/dev/ledger/"+a.id, "", "")
	if want := string(bytes.Join(a.lines, []byte("\n"))) + "\n"; resp.StatusCode != 200 || text != want || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("held are %s", text)
	}
	if !slices.EqualFunc(p.Lines(a.id), a.lines, bytes.Equal) || p.Lines(idOf("x")[:32]) != nil {
		t.Error("the lines are others")
	}
	_, text = p.do(t, "GET", "/dev/ledger/"+a.id+"?after=2&limit=3", "", "")
	if want := string(bytes.Join(a.lines[2:5], []byte("\n"))) + "\n"; text != want {
		t.Errorf("a page is %s", text)
	}
	for path, want := range map[string]int{"?after=100": 200, "?limit=0": 200, "?limit=x": 422, "?after=-1": 422} {
		if resp, text := p.do(t, "GET", "/dev/ledger/"+a.id+path, "", ""); resp.StatusCode != want || want == 200 && text != "" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
}

func quoted(t testing.TB, s string) string {
	t.Helper()
	text, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPagesOfBlocksAreBounded(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	first := len(a.lines[0]) + 1
	for size, want := range map[int]int{0: 1, first - 1: 1, first: 2, first + len(a.lines[1]): 2, 1 << 20: 3} {
		lines, found, err := p.ledgers.page(a.id, 0, 10, size)
		if n := bytes.Count(lines, []byte("\n")); !found || err != nil || n != want {
			t.Errorf("up to %d bytes there are %d lines, want %d", size, n, want)
		}
	}
}

func TestTheSameBlockAgain(t *testing.T) {
	h := newHand()
	p := start(t, Options{Clock: h.clock})
	a := newAuthor("a")
	a.begin()
	first := p.take(t, a, a.lines...)
	h.pass(time.Hour)
	for i, line := range a.lines {
		// The key need not be shown again, and may be.
		for _, change := range [][]func(*http.Request){nil, {withKey(a.key)}} {
			status, body := p.append(t, line, change...)
			want := first[i]
			want.Duplicate = true
			if got := readAck(t, body); status != 200 || got != want || !strings.HasSuffix(body, `,"duplicate":true}`+"\n") {
				t.Errorf("block %d again: %d %s", i, status, body)
			}
		}
	}
	if s := p.Summary(); s.Blocks != 3 || s.Duplicates != 0 {
		t.Errorf("summary %+v", s)
	}
}

func TestFormOfTheCall(t *testing.T) {
	a := newAuthor("a")
	a.begin()
	line := a.lines[0]
	for contentType, want := range map[string]int{
		"application/json":                200,
		"application/json; charset=utf-8": 200,
		"application/octet-stream":        200,
		"text/plain":                      200,
		"text/plain; charset=UTF-8":       200,
		"":                                415,
		"application/x-ndjson":            415,
		"text/plain; charset=latin1":      415,
		"text/html":                       415,
		batchType:                         415,
	} {
		p := start(t, Options{})
		resp, text := p.do(t, "POST", ledgerPath, contentType, string(line), withKey(a.key), func(r *http.Request) { r.Header.Set("Idempotency-Key", sigOf(line)) })
		if resp.StatusCode != want || (p.Summary().Blocks == 1) != (want == 200) {
			t.Errorf("type %q: %d %s", contentType, resp.StatusCode, text)
		}
	}
	p := start(t, Options{})
	if status, body := p.append(t, append(bytes.Clone(line), '\n'), withKey(a.key)); status != 200 {
		t.Errorf("with a line end: %d %s", status, body)
	}
	if got := p.Lines(a.id); len(got) != 1 || !bytes.Equal(got[0], line) {
		t.Errorf("held are %q", got)
	}
	for name, change := range map[string]func(http.Header){
		"missing":     func(h http.Header) { h.Del("Idempotency-Key") },
		"empty":       func(h http.Header) { h.Set("Idempotency-Key", "") },
		"another":     func(h http.Header) { h.Set("Idempotency-Key", strings.Repeat("0", 128)) },
		"in capitals": func(h http.Header) { h.Set("Idempotency-Key", strings.ToUpper(sigOf(line))) },
		"in quotes":   func(h http.Header) { h.Set("Idempotency-Key", `"`+sigOf(line)+`"`) },
		"twice":       func(h http.Header) { h.Add("Idempotency-Key", sigOf(line)) },
	} {
		// Of a block that is held, and of one that is not.
		for _, line := range a.lines[:2] {
			p.refused(t, "key "+name, line, 422, "invalid_idempotency_key", "/sig", func(r *http.Request) { change(r.Header) })
		}
	}
	resp, text := p.do(t, "GET", ledgerPath, "", "")
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %s", resp.StatusCode, text)
	}
	for _, call := range [][2]string{{"POST", ledgerPath}, {"GET", "/dev/ledger"}, {"GET", "/dev/ledger/" + a.id}, {"POST", "/dev/ledger/conflict"}, {"POST", "/dev/receipts/off"}} {
		if resp, text := p.do(t, call[0], call[1], "application/json", "", withoutToken); resp.StatusCode != 401 || refusal(t, text).Code != "unauthorized" {
			t.Errorf("%s without the token: %d %s", call[1], resp.StatusCode, text)
		}
	}
}

func TestBlocksAreBounded(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	of := func(size int) []byte {
		d := a.decision("large")
		d["action"].(doc)["payload"] = "x"
		line, _ := signed(d, a.key)
		d["action"].(doc)["payload"] = strings.Repeat("x", size-len(line)+1)
		line, _ = signed(d, a.key)
		if len(line) != size {
			t.Fatalf("a block of %d bytes, want %d", len(line), size)
		}
		return line
	}
	p.refused(t, "one byte more", of(64<<10+1), 413, "too_large", "")
	p.refused(t, "larger than any body", bytes.Repeat([]byte(" "), maxBody+1), 413, "too_large", "")
	if status, body := p.append(t, append(of(64<<10), '\n')); status != 200 {
		t.Errorf("the largest: %d %s", status, body)
	}
}

// change is one thing that is different from a good block.
type change struct {
	path string
	edit func(doc)
}

func set(name string, value any) func(doc) { return func(d doc) { d[name] = value } }

func remove(name string) func(doc) { return func(d doc) { delete(d, name) } }

// inside edits the object in a member.
func inside(name string, edit func(doc)) func(doc) { return func(d doc) { edit(d[name].(doc)) } }

// TestFormOfBlocks signs blocks that are none, so that nothing but their form
// is wrong.
func TestFormOfBlocks(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	next := keyNamed("next")
	good := map[string]func() doc{
		"decision":        func() doc { return a.decision("x") },
		"opener":          a.opener,
		"constitution":    func() doc { return a.block("constitution", doc{"digest": idOf("c"), "name": "", "version": "2"}) },
		"rotation":        func() doc { return a.rotation(next) },
		"pending_dropped": func() doc { return a.block("pending_dropped", doc{"from": 1, "to": 2, "hash": idOf("h")}) },
		"recovery":        func() doc { return a.block("recovery", doc{"reason": "r"}) },
		"note":            func() doc { return a.block("note", doc{"code": "c", "detail": ""}) },
	}
	bad := map[string][]change{}
	for name := range good {
		bad[name] = []change{
			{"/v", remove("v")}, {"/v", set("v", 2)}, {"/v", set("v", "1")},
			{"/ledger_id", remove("ledger_id")}, {"/ledger_id", set("ledger_id", strings.ToUpper(a.id))}, {"/ledger_id", set("ledger_id", a.id+"0")}, {"/ledger_id", set("ledger_id", nil)},
			{"/seq", remove("seq")}, {"/seq", set("seq", -1)}, {"/seq", set("seq", 1.5)}, {"/seq", set("seq", 1<<53)}, {"/seq", set("seq", "3")}, {"/seq", set("seq", true)},
			{"/seg", remove("seg")}, {"/seg", set("seg", -1)}, {"/seg", set("seg", 4)},
			{"/ts", remove("ts")}, {"/ts", set("ts", "2026-11-23T01:02:03Z")}, {"/ts", set("ts", "2026-11-23T01:02:04,456789Z")}, {"/ts", set("ts", "2026-11-23T01:02:04.456789+00:00")},
			{"/ts", set("ts", "2026-11-31T01:02:04.456789Z")}, {"/ts", set("ts", "2026-11-23T01:02:04.4567890Z")}, {"/ts", set("ts", 1795478400)},
			{"/kind", remove("kind")}, {"/kind", set("kind", "")}, {"/kind", set("kind", "Decision")}, {"/kind", set("kind", 1)},
			{"/key_id", remove("key_id")}, {"/key_id", set("key_id", jktOf(a.key)+"=")}, {"/key_id", set("key_id", "x")}, {"/key_id", set("key_id", jktOf(a.key)[:42]+sloppy(jktOf(a.key)[42]))},
			{"/key_id", set("key_id", jktOf(a.key)+"\n")},
			{"/prev_hash", remove("prev_hash")}, {"/prev_hash", set("prev_hash", "")}, {"/prev_hash", set("prev_hash", strings.Repeat("A", 64))},
			{"", set("extra", "x")}, {"", set("", "x")}, {"", set("Verdict", "allow")},
		}
	}
	add := func(name string, list ...change) { bad[name] = append(bad[name], list...) }
	add("decision",
		change{"/action", remove("action")}, change{"/action", set("action", "deploy")}, change{"/action", set("action", []any{})},
		change{"/action", inside("action", set("extra", ""))}, change{"/action/digest", inside("action", remove("digest"))}, change{"/action/digest", inside("action", set("digest", "abc"))},
		change{"/action/kind", inside("action", set("kind", nil))}, change{"/action/name", inside("action", set("name", strings.Repeat("x", 4097)))},
		change{"/action/payload", inside("action", set("payload", ""))}, change{"/action/payload", inside("action", set("payload", doc{}))},
		change{"/constitution", set("constitution", "")}, change{"/rule", remove("rule")}, change{"/rule", set("rule", 7)},
		change{"/state", set("state", "idle")}, change{"/state/to", inside("state", remove("to"))}, change{"/state/from", inside("state", set("from", 1))},
		change{"/verdict", set("verdict", "maybe")}, change{"/verdict", remove("verdict")}, change{"", set("size", 3)}, change{"", set("reason", "r")},
		change{"/kind", func(d doc) { d["seq"], d["seg"], d["prev_hash"] = 0, 0, strings.Repeat("0", 64) }},
	)
	add("opener",
		change{"/size", remove("size")}, change{"/size", set("size", 2)}, change{"/size", set("size", 4)},
		change{"/tree", remove("tree")}, change{"/tree", set("tree", []string{})}, change{"/tree", set("tree", []string{idOf("1"), "x"})}, change{"/tree", set("tree", doc{})},
		change{"/tree", set("tree", slices.Repeat([]string{idOf("1")}, 3))}, change{"/tree", set("tree", slices.Repeat([]string{idOf("1")}, 65))},
		change{"/pruned_before", remove("pruned_before")}, change{"/pruned_before", set("pruned_before", 4)},
		change{"/constitution", set("constitution", "")}, change{"/state", set("state", "")},
		change{"/prev_segment", set("prev_segment", nil)}, change{"/prev_segment/sha256", inside("prev_segment", remove("sha256"))}, change{"/prev_segment", inside("prev_segment", set("last", 1))},
		change{"/prev_segment", inside("prev_segment", set("first", 3))}, change{"/prev_segment", inside("prev_segment", set("x", 1))}, change{"", set("verdict", "allow")},
		change{"/prev_hash", func(d doc) { d["seq"], d["seg"], d["size"] = 0, 0, 0 }},
	)
	add("constitution", change{"/digest", set("digest", "x")}, change{"/name", remove("name")}, change{"/version", set("version", 1)})
	add("rotation",
		change{"/new_key", remove("new_key")}, change{"/new_key", set("new_key", xOf(next)[:42])}, change{"/new_key", set("new_key", xOf(next)[:42]+sloppy(xOf(next)[42]))}, change{"/new_key", set("new_key", xOf(a.key))},
		change{"/new_key", set("new_key", strings.Repeat("A", 43))}, change{"/new_sig", remove("new_sig")}, change{"/new_sig", set("new_sig", strings.Repeat("0", 127))},
	)
	add("pending_dropped", change{"/to", set("to", 0)}, change{"/to", set("to", 3)}, change{"/from", remove("from")}, change{"/hash", set("hash", "")})
	add("recovery", change{"/reason", remove("reason")}, change{"/reason", set("reason", strings.Repeat("é", 2049))})
	add("note", change{"/code", remove("code")}, change{"/detail", set("detail", nil)})
	n := 0
	for name, list := range bad {
		for i, c := range list {
			d := good[name]()
			c.edit(d)
			line, _ := signed(d, a.key)
			p.refused(t, fmt.Sprintf("%s %d, %s", name, i, line), line, 422, "invalid_block", c.path)
			n++
		}
		d := good[name]()
		line, _ := signed(d, a.key)
		fresh := start(t, Options{})
		fresh.take(t, a, a.lines...)
		if status, body := fresh.append(t, line); status != 200 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if n < 300 {
		t.Errorf("saw %d changes", n)
	}
	// A sig of another form is no idempotency key either; the form comes first.
	for _, sig := range []any{"", strings.Repeat("A", 128), strings.Repeat("0", 126), 7, nil} {
		d := a.decision("x")
		d["sig"] = sig
		p.refused(t, fmt.Sprint("sig ", sig), canonical(d), 422, "invalid_block", "/sig")
	}
	p.refused(t, "no sig", canonical(a.decision("x")), 422, "invalid_block", "/sig")
}

// Bytes that say the same as a block are none.
func TestOtherEncodingsOfABlock(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	line, _ := signed(a.block("note", doc{"code": "é", "detail": "a/b\n"}), a.key)
	s := string(line)
	edit := func(old, new string) string {
		t.Helper()
		if strings.Count(s, old) != 1 {
			t.Fatalf("%q is not there once in %s", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	for name, text := range map[string]string{
		"nothing":              "",
		"a line end":           "\n",
		"another line end":     s + "\r\n",
		"two line ends":        s + "\n\n",
		"a space":              s + " ",
		"a space before":       " " + s,
		"a space inside":       edit(`"v":1`, `"v": 1`),
		"a byte order mark":    "\ufeff" + s,
		"an array":             "[" + s + "]",
		"a text":               quoted(t, s),
		"two blocks":           s + "\n" + s,
		"two in one line":      s + s,
		"cut off":              s[:len(s)-1],
		"another order":        edit(`,"v":1}`, `}`)[:1] + `"v":1,` + edit(`,"v":1}`, `}`)[1:],
		"a member twice":       edit(`"v":1`, `"v":1,"v":1`),
		"a member twice, else": edit(`"v":1`, `"v":2,"v":1`),
		"an escape":            edit(`"é"`, `"\u00e9"`),
		"an escaped name":      edit(`"code"`, `"c\u006fde"`),
		"an escaped slash":     edit(`a/b`, `a\/b`),
		"an escape in long":    edit(`\n`, `\u000a`),
		"a point":              edit(`"v":1`, `"v":1.0`),
		"an exponent":          edit(`"v":1`, `"v":1e0`),
		"a minus":              edit(`"seg":0`, `"seg":-0`),
		"a zero in front":      edit(`"seg":0`, `"seg":00`),
		"invalid UTF-8":        edit(`é`, "\xe9"),
		"a NUL":                s + "\x00",
		"deep":                 strings.Repeat("[", 20000),
		"a comment":            edit(`"v":1`, `"v":1/**/`),
	} {
		p.refused(t, name, []byte(text), 422, "invalid_block", "", func(r *http.Request) { r.Header.Set("Idempotency-Key", sigOf(line)) })
	}
	if status, body := p.append(t, line); status != 200 {
		t.Errorf("the block itself: %d %s", status, body)
	}
}

// recorded serves a request without a network.
func (p *platform) recorded(line []byte, key ed25519.PrivateKey) int {
	req, err := http.NewRequest("POST", p.url+ledgerPath, bytes.NewReader(line))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.Token())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", sigOf(line))
	req.Header.Set("X-Carl-Ledger-Key", xOf(key))
	w := &statusOnly{header: http.Header{}}
	p.Handler().ServeHTTP(w, req)
	return w.status
}

type statusOnly struct {
	header http.Header
	status int
}

func (w *statusOnly) Header() http.Header         { return w.header }
func (w *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (w *statusOnly) WriteHeader(status int)      { w.status = status }

// TestEveryBitCounts turns every bit of a decision and a bit of every byte of
// other kinds, and removes and doubles every byte: none of it is taken, with the sig that is then in the
// line as the idempotency key.
func TestEveryBitCounts(t *testing.T) {
	for _, kind := range []string{"opener", "decision", "rotation", "second opener"} {
		p := start(t, Options{})
		a := newAuthor("a")
		var d doc
		if kind == "opener" {
			d = a.opener()
		} else {
			a.begin()
			p.take(t, a, a.lines...)
			d = map[string]func() doc{
				"decision": func() doc { return a.decision("x") }, "rotation": func() doc { return a.rotation(keyNamed("y")) }, "second opener": a.opener,
			}[kind]()
		}
		line, _ := signed(d, a.key)
		before := p.holding()
		try := func(what string, at int, text []byte) {
			if status := p.recorded(text, a.key); status != 422 {
				t.Errorf("%s: byte %d %s: %d for %q", kind, at, what, status, text)
			}
		}
		for i := range line {
			for bit := range 8 {
				if kind != "decision" && bit != i%8 {
					continue // of the others, one bit of every byte
				}
				text := bytes.Clone(line)
				text[i] ^= 1 << bit
				if i == len(line)-1 && text[i] == '\n' {
					continue
				}
				try("turned", i, text)
			}
			try("removed", i, slices.Delete(bytes.Clone(line), i, i+1))
			try("doubled", i, slices.Insert(bytes.Clone(line), i, line[i]))
		}
		if after := p.holding(); after != before {
			t.Errorf("%s: %s became %s", kind, before, after)
		}
		if status := p.recorded(line, a.key); status != 200 {
			t.Errorf("%s: the block itself: %d", kind, status)
		}
	}
}

func TestChain(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	other := keyNamed("other")
	sign := func(d doc, edits ...func(doc)) []byte {
		for _, edit := range edits {
			edit(d)
		}
		line, _ := signed(d, a.key)
		return line
	}
	for name, c := range map[string]struct {
		line       []byte
		code, path string
	}{
		"another block before it":    {sign(a.decision("x"), set("prev_hash", hex.EncodeToString(a.leaves[1][:]))), "invalid_chain", "/prev_hash"},
		"nothing before it":          {sign(a.decision("x"), set("prev_hash", strings.Repeat("0", 64))), "invalid_chain", "/prev_hash"},
		"an older block":             {sign(a.decision("x"), set("ts", "2026-11-23T01:02:03.458788Z")), "invalid_chain", "/ts"},
		"another file":               {sign(a.decision("x"), set("seg", 1)), "invalid_chain", "/seg"},
		"opens the same file":        {sign(a.opener(), set("seg", 0)), "invalid_chain", "/seg"},
		"opens the file after next":  {sign(a.opener(), set("seg", 2)), "invalid_chain", "/seg"},
		"opens on other blocks":      {sign(a.opener(), set("tree", []string{idOf("x"), hex.EncodeToString(a.leaves[2][:])})), "invalid_chain", "/tree"},
		"opens behind another file":  {sign(a.opener(), inside("prev_segment", set("first", 1))), "invalid_chain", "/prev_segment/first"},
		"signed by another key":      {first(signed(a.decision("x"), other)), "invalid_signature", "/sig"},
		"signed by a key of its own": {first(signed(a.block("note", doc{"code": "c", "detail": "", "key_id": jktOf(other)}), other)), "invalid_signature", "/key_id"},
		"signed without the prefix":  {bare(a.decision("x"), a.key, ""), "invalid_signature", "/sig"},
		"signed with another prefix": {bare(a.decision("x"), a.key, "carl.ledger.block.v2\n"), "invalid_signature", "/sig"},
		"the next but one":           {sign(a.decision("x"), set("seq", 4)), "gap", "/seq"},
		"far ahead":                  {sign(a.decision("x"), set("seq", 1<<53-1)), "gap", "/seq"},
		"far ahead, by another key":  {first(signed(a.block("note", doc{"code": "c", "detail": "", "seq": 9, "key_id": jktOf(other)}), other)), "gap", "/seq"},
	} {
		e := p.refused(t, name, c.line, 422, c.code, c.path)
		if c.code == "gap" && e.Fields[0].Message != "expected 3" {
			t.Errorf("%s: %+v", name, e)
		}
		if name == "another block before it" && !strings.Contains(e.Fields[0].Message, hex.EncodeToString(a.leaves[2][:])) {
			t.Errorf("%s: the evidence is %+v", name, e)
		}
	}
	// Times may be equal.
	if status, body := p.append(t, sign(a.decision("x"), set("ts", "2026-11-23T01:02:03.458789Z"))); status != 200 {
		t.Errorf("at the same time: %d %s", status, body)
	}
}

func first(line []byte, _ [32]byte) []byte { return line }

// bare signs a block under another prefix than blocks have.
func bare(d doc, key ed25519.PrivateKey, prefix string) []byte {
	d["sig"] = hex.EncodeToString(ed25519.Sign(key, slices.Concat([]byte(prefix), canonical(d))))
	return canonical(d)
}

func TestAnotherBlockUnderAKnownSeq(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	for seq := range 3 {
		fork := newAuthor("a")
		fork.leaves = a.leaves[:seq]
		d := fork.decision("fork")
		if seq == 0 {
			d = fork.opener()
			d["state"] = "elsewhere"
		}
		line, hash := signed(d, a.key)
		if hash == a.leaves[seq] {
			t.Fatal("the fork is none")
		}
		before := p.holding()
		status, body := p.append(t, line)
		if want := fmt.Sprintf(`{"seq":%d,"have":"%x"}`+"\n", seq, a.leaves[seq]); status != 409 || body != want || p.holding() != before {
			t.Errorf("%d: %d %s, want %s", seq, status, body, want)
		}
		// Somebody else cannot say that there are two.
		p.refused(t, "a fork by somebody else", first(signed(d, keyNamed("else"))), 422, "invalid_signature", "/sig")
		d["key_id"] = jktOf(keyNamed("else"))
		p.refused(t, "a fork by a key of its own", first(signed(d, keyNamed("else"))), 422, "invalid_signature", "/key_id", withKey(keyNamed("else")))
	}
	// What is held stays what it was.
	if !slices.EqualFunc(p.Lines(a.id), a.lines, bytes.Equal) {
		t.Error("the lines are others")
	}
	if acks := p.take(t, a, a.lines...); !acks[0].Duplicate || !acks[2].Duplicate {
		t.Errorf("%+v", acks)
	}
}

func TestFirstKey(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	other := keyNamed("other")
	show := func(values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header["X-Carl-Ledger-Key"] = values }
	}
	p.refused(t, "no key", a.lines[0], 422, "missing_key", "/key_id")
	for name, change := range map[string]func(*http.Request){
		"another key": withKey(other), "empty": show(""), "padded": show(xOf(a.key) + "="), "short": show(xOf(a.key)[:42]),
		"in another code": show(hex.EncodeToString(a.key.Public().(ed25519.PublicKey))), "the thumbprint": show(jktOf(a.key)),
		"sloppy": show(xOf(a.key)[:42] + sloppy(xOf(a.key)[42])), "twice": show(xOf(a.key), xOf(a.key)),
	} {
		p.refused(t, name, a.lines[0], 422, "invalid_key", "/key_id", change)
	}
	// The key is the one that the block names, and did not sign it.
	d := a.opener()
	d["key_id"] = jktOf(other)
	p.refused(t, "signed by another", first(signed(d, a.key)), 422, "invalid_signature", "/sig", withKey(other))

	p.take(t, a, a.lines[0])
	// From now on the ledger has its key, and a key that is shown must be it.
	p.refused(t, "another key later", a.lines[1], 422, "invalid_key", "/key_id", withKey(other))
	stranger := newAuthor("a")
	stranger.leaves, stranger.key = a.leaves[:1], other
	p.refused(t, "another owner", first(signed(stranger.decision("x"), other)), 422, "invalid_signature", "/key_id", withKey(other))
	p.take(t, a, a.lines[1:]...)
}

// Under a key of small order one signature fits many messages.
func TestKeysOfSmallOrderAreRefused(t *testing.T) {
	p := start(t, Options{})
	var forged [64]byte
	forged[0] = 1 // R is the neutral element, S is 0
	// The neutral element, the points of order 2, 4 and 8, and those of them that
	// have a second encoding.
	list := []string{
		"01" + strings.Repeat("00", 31), "ec" + strings.Repeat("ff", 30) + "7f", strings.Repeat("00", 32), strings.Repeat("00", 31) + "80",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"01" + strings.Repeat("00", 30) + "80", "ec" + strings.Repeat("ff", 31),
		"ed" + strings.Repeat("ff", 30) + "7f", "ed" + strings.Repeat("ff", 31), "ee" + strings.Repeat("ff", 30) + "7f", "ee" + strings.Repeat("ff", 31),
	}
	weak := 0
	for _, encoded := range list {
		raw, err := hex.DecodeString(encoded)
		if err != nil || len(raw) != 32 {
			t.Fatal(err)
		}
		x := base64.RawURLEncoding.EncodeToString(raw)
		if isStrongKey(raw) {
			t.Errorf("%s counts as a strong key", encoded)
		}
		a := newAuthor(encoded)
		for i := range 100 {
			d := a.opener()
			d["key_id"] = published{x: x}.jkt()
			d["state"] = fmt.Sprint(i)
			message := slices.Concat([]byte("carl.ledger.block.v1\n"), canonical(d))
			if !ed25519.Verify(raw, message, forged[:]) {
				continue
			}
			weak++
			d["sig"] = hex.EncodeToString(forged[:])
			p.refused(t, encoded, canonical(d), 422, "invalid_key", "/key_id", func(r *http.Request) { r.Header.Set("X-Carl-Ledger-Key", x) })
			break
		}
		// Nor can a key like this follow.
		b := newAuthor("b " + encoded)
		b.begin()
		p.take(t, b, b.lines...)
		d := b.block("key_rotation", doc{"new_key": x, "new_sig": hex.EncodeToString(forged[:])})
		p.refused(t, encoded+" follows", first(signed(d, b.key)), 422, "invalid_block", "/new_key")
	}
	if weak != len(list) {
		t.Errorf("under %d of %d keys a signature was forged", weak, len(list))
	}
}

func TestRotationOfKeys(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	for n := range 3 {
		old, next, other := a.key, keyNamed(fmt.Sprint("next ", n)), keyNamed("other")
		d := a.rotation(next)
		for name, edit := range map[string]func(doc){
			"signed by nobody":       set("new_sig", strings.Repeat("0", 128)),
			"signed by another":      set("new_sig", a.rotation(other)["new_sig"]),
			"introduces another":     set("new_key", xOf(other)),
			"signed at another time": set("ts", "2027-01-01T00:00:00.000000Z"),
			"signed without the new key": func(d doc) {
				c := maps.Clone(d)
				delete(c, "new_sig")
				delete(c, "new_key")
				d["new_sig"] = sigOf(bare(c, next, blockPrefix))
			},
			"signed without the prefix":   func(d doc) { c := maps.Clone(d); delete(c, "new_sig"); d["new_sig"] = sigOf(bare(c, next, "")) },
			"signed with its own new_sig": func(d doc) { d["new_sig"] = sigOf(bare(maps.Clone(d), next, blockPrefix)) },
		} {
			c := maps.Clone(d)
			edit(c)
			p.refused(t, name, first(signed(c, old)), 422, "invalid_signature", "/new_sig")
		}
		p.refused(t, "signed by the new key alone", first(signed(d, next)), 422, "invalid_signature", "/sig")
		p.refused(t, "the new key before it is known", first(signed(a.block("note", doc{"code": "c", "detail": "", "key_id": jktOf(next)}), next)), 422, "invalid_signature", "/key_id", withKey(next))

		rotated := a.write(d)
		p.take(t, a, rotated)
		if l := p.Ledgers(); l[0].KeyID != jktOf(next) {
			t.Errorf("%+v", l)
		}
		p.refused(t, "the old key afterwards", first(signed(a.decision("x"), old)), 422, "invalid_signature", "/key_id", withKey(old))
		a.key = next
		// Neither key has to be shown.
		if status, body := p.append(t, a.write(a.decision("x"))); status != 200 {
			t.Fatalf("after the rotation: %d %s", status, body)
		}
		// What the old key signed is still a block, and a fork of it one that counts.
		if status, body := p.append(t, rotated); status != 200 || !strings.Contains(body, `"duplicate":true`) {
			t.Errorf("the rotation again: %d %s", status, body)
		}
		d["ts"] = "2027-01-01T00:00:00.000000Z"
		if status, body := p.append(t, first(signed(d, old))); status != 409 {
			t.Errorf("another rotation: %d %s", status, body)
		}
	}
}

// A ledger whose first blocks are gone, or are from before consent, begins with
// any block that opens a file.
func TestLedgerThatBeginsLate(t *testing.T) {
	a := newAuthor("a")
	a.begin()
	for range 4 {
		a.write(a.decision("x"))
	}
	a.write(a.opener()) // 7
	for range 5 {
		a.write(a.decision("y"))
	}
	d := a.opener() // 13
	d["pruned_before"] = 7
	a.write(d)
	for i := range a.lines {
		p := start(t, Options{})
		opens := i == 0 || i == 7 || i == 13
		if !opens {
			e := p.refused(t, fmt.Sprint("block ", i), a.lines[i], 422, "gap", "/seq", withKey(a.key))
			if e.Fields[0].Message != "expected 0" {
				t.Errorf("%+v", e)
			}
			continue
		}
		p.take(t, a, a.lines[i:]...)
		if l := p.Ledgers(); len(l) != 1 || l[0].First != uint64(i) || l[0].Next != uint64(len(a.lines)) {
			t.Errorf("from %d on: %+v", i, l)
		}
		if i > 0 {
			p.refused(t, "an earlier block", a.lines[i-1], 422, "invalid_chain", "/seq")
			p.refused(t, "the first block", a.lines[0], 422, "invalid_chain", "/seq", withKey(a.key))
		}
		// The tree that it began with goes on.
		next := a.opener()
		next["tree"].([]string)[0] = idOf("x")
		p.refused(t, "another tree", first(signed(next, a.key)), 422, "invalid_chain", "/tree")
		if status, body := p.append(t, first(signed(a.opener(), a.key))); status != 200 {
			t.Errorf("from %d on, the next file: %d %s", i, status, body)
		}
	}
	// What was pruned on this side since need not be named.
	p := start(t, Options{})
	p.take(t, a, a.lines...)
	next := a.opener()
	delete(next, "prev_segment")
	if status, body := p.append(t, first(signed(next, a.key))); status != 200 {
		t.Errorf("without the file before: %d %s", status, body)
	}
}

func TestLedgersAreBounded(t *testing.T) {
	p := start(t, Options{})
	var authors []*author
	for i := range maxLedgers + 1 {
		a := newAuthor(fmt.Sprint(i))
		a.begin()
		authors = append(authors, a)
		if i == maxLedgers {
			p.refused(t, "one ledger more", a.lines[0], 403, "too_many_ledgers", "", withKey(a.key))
			break
		}
		p.take(t, a, a.lines[0])
	}
	// Each has its own chain, and one key may have several.
	for _, a := range authors[:maxLedgers] {
		p.take(t, a, a.lines[1:]...)
	}
	list := p.Ledgers()
	if len(list) != maxLedgers || !slices.IsSortedFunc(list, func(a, b Ledger) int { return strings.Compare(a.LedgerID, b.LedgerID) }) {
		t.Errorf("ledgers %+v", list)
	}
	a, b := authors[0], authors[1]
	stray := a.decision("x")
	stray["ledger_id"] = b.id
	p.refused(t, "a block of another ledger", first(signed(stray, a.key)), 422, "invalid_signature", "/key_id")
	stray["key_id"] = jktOf(b.key)
	p.refused(t, "a block of another ledger, signed for it", first(signed(stray, b.key)), 422, "invalid_chain", "/prev_hash")
}

func TestPayloadsThatHoldATokenAreRefused(t *testing.T) {
	p := start(t, Options{Token: "the-token-of-this-test"})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines...)
	for _, token := range []string{"the-token-of-this-test", "ghp_" + strings.Repeat("a1B2", 10), "-----BEGIN OPENSSH PRIVATE KEY-----"} {
		d := a.decision("x")
		d["action"].(doc)["payload"] = `{"env":{"TOKEN":"` + token + `"}}`
		e := p.refused(t, token, first(signed(d, a.key)), 422, "invalid_block", "/action/payload")
		if strings.Contains(fmt.Sprint(e), token) {
			t.Errorf("the refusal holds it: %+v", e)
		}
	}
	d := a.decision("x")
	d["action"].(doc)["payload"] = `{"env":{"TOKEN":"[redacted]"}}`
	if status, body := p.append(t, first(signed(d, a.key))); status != 200 {
		t.Errorf("redacted: %d %s", status, body)
	}
}

func TestConflictOnRequest(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	p.take(t, a, a.lines[0])
	resp, text := p.do(t, "POST", "/dev/ledger/conflict", "", "")
	if resp.StatusCode != 200 || text != `{"receipts":true,"conflict":true}`+"\n" {
		t.Errorf("answered %d %s", resp.StatusCode, text)
	}
	// Neither a block that is held nor one that is refused uses it up.
	p.take(t, a, a.lines[0])
	p.refused(t, "a gap", a.lines[2], 422, "gap", "/seq")
	before := p.holding()
	status, body := p.append(t, a.lines[1])
	var got struct {
		Seq  int    `json:"seq"`
		Have string `json:"have"`
	}
	if err := json.Unmarshal([]byte(body), &got, json.RejectUnknownMembers(true)); err != nil || status != 409 || got.Seq != 1 || !isID(got.Have) || got.Have == hex.EncodeToString(a.leaves[1][:]) {
		t.Errorf("answered %d %s, %v", status, body, err)
	}
	if p.holding() != before {
		t.Error("the block was kept")
	}
	// Once.
	if acks := p.take(t, a, a.lines[1:]...); acks[0].Duplicate {
		t.Error("the block was kept")
	}
	p.ConflictNextBlock()
	if status, _ := p.append(t, a.write(a.decision("x"))); status != 409 {
		t.Errorf("from Go: %d", status)
	}
}

func TestReceiptsOnRequest(t *testing.T) {
	p := start(t, Options{})
	a := newAuthor("a")
	a.begin()
	for i, c := range []struct {
		path, want string
		receipt    bool
	}{
		{"off", `{"receipts":false,"conflict":false}` + "\n", false},
		{"off", `{"receipts":false,"conflict":false}` + "\n", false},
		{"on", `{"receipts":true,"conflict":false}` + "\n", true},
	} {
		if resp, text := p.do(t, "POST", "/dev/receipts/"+c.path, "", ""); resp.StatusCode != 200 || text != c.want {
			t.Errorf("%s: %d %s", c.path, resp.StatusCode, text)
		}
		_, body := p.append(t, a.lines[i], withKey(a.key))
		if strings.Contains(body, "receipt") != c.receipt {
			t.Errorf("%s: %s", c.path, body)
		}
	}
	// What was acknowledged without one gets it later.
	if acks := p.take(t, a, a.lines[0]); p.receiptOf(t, acks[0].Receipt) == "" {
		t.Error("no receipt")
	}
	p.SetReceipts(false)
	if acks := p.take(t, a, a.lines...); acks[0].Receipt != "" || acks[2].Receipt != "" {
		t.Errorf("%+v", acks)
	}
	for path, want := range map[string]int{
		"/dev/receipts/maybe": 422, "/dev/receipts/On": 422, "/dev/receipts/on?x=1": 422, "/dev/ledger/conflict?n=2": 422,
		"/dev/receipts": 404, "/dev/receipts/": 404, "/dev/ledger/conflict/": 404, "/dev/ledger/" + a.id: 405, "/dev/ledger": 405,
	} {
		if resp, text := p.do(t, "POST", path, "", ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	for _, path := range []string{"/dev/receipts/on", "/dev/ledger/conflict"} {
		if resp, text := p.do(t, "POST", path, "application/json", "{}"); resp.StatusCode != 422 || !strings.Contains(text, "no body") {
			t.Errorf("%s with a body: %d %s", path, resp.StatusCode, text)
		}
	}
	for _, path := range []string{"/dev/ledger/conflict", "/dev/ledger/" + idOf("x")[:32]} {
		if resp, text := p.do(t, "GET", path, "", ""); resp.StatusCode != 404 || refusal(t, text).Code != "not_found" {
			t.Errorf("GET %s: %d %s", path, resp.StatusCode, text)
		}
	}
}

func TestReceiptKey(t *testing.T) {
	p := start(t, Options{})
	_, text := p.do(t, "GET", "/dev/keys", "", "")
	if !strings.HasSuffix(text, `,"receipt_key":"`+p.ReceiptKey()+`"}`+"\n") || !strings.HasPrefix(p.ReceiptKey(), "carl.camp/receipts+") {
		t.Errorf("answered %s", text)
	}
	// It is nobody else's key, and no rotation touches it.
	before := p.ReceiptKey()
	for _, how := range []Rotation{AddKey, RetireKeys, ReplaceKeys, SwapKey} {
		if err := p.RotateKeys(how); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(strings.SplitN(before, "+", 3)[2])
	if err != nil || len(raw) != 33 || raw[0] != 1 {
		t.Fatalf("%x, %v", raw, err)
	}
	x := base64.RawURLEncoding.EncodeToString(raw[1:])
	if _, text := p.do(t, "GET", jwksPath, "", ""); p.ReceiptKey() != before || x == p.OfflineRoot() || strings.Contains(text, x) {
		t.Error("the key of receipts is in use elsewhere")
	}
	if start(t, Options{}).ReceiptKey() == before {
		t.Error("two stand-ins have one key")
	}
}

func keyOf(seed []byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

// The example of API.md, with the key of RFC 8032 §7.1, TEST 1.
func TestReceiptExample(t *testing.T) {
	seed, err := hex.DecodeString("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	if err != nil {
		t.Fatal(err)
	}
	r := receipt{"4be0643f1d984573b97cdca98a65347d", 42, sha256.Sum256([]byte("block")), time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)}
	p := start(t, Options{})
	if err := p.issuer.change(func(st *state) error { st.ReceiptKey = seed; return nil }); err != nil {
		t.Fatal(err)
	}
	signed, api := r.sign(seed), string(readFile(t, "../API.md"))
	if want := "```\n" + signed + "```\n"; !strings.Contains(api, want) {
		t.Errorf("API.md does not have the receipt\n%s", want)
	}
	if !strings.Contains(api, "`"+p.ReceiptKey()+"`") {
		t.Errorf("API.md does not have the key %s", p.ReceiptKey())
	}
	// The same by hand, as C2SP signed-note words it.
	text, line, ok := strings.Cut(signed, "\n\n")
	encoded := strings.TrimSuffix(strings.TrimPrefix(line, "— carl.camp/receipts "), "\n")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	key := keyOf(seed)
	id := sha256.Sum256(slices.Concat([]byte("carl.camp/receipts\n\x01"), key))
	if !ok || err != nil || len(raw) != 4+64 || !bytes.Equal(raw[:4], id[:4]) || !ed25519.Verify(key, []byte(text+"\n"), raw[4:]) {
		t.Errorf("%q does not verify, %v", signed, err)
	}
	if p.receiptOf(t, signed) != r.text() {
		t.Errorf("it says %q", r.text())
	}
}

func TestFaultsOfTheLedger(t *testing.T) {
	a := newAuthor("a")
	a.begin()
	for fault, kept := range map[string]int{"500:1": 0, "401:1": 0, "409:1": 0, "reset:1": 0, "slow:1": 1, "lost:1": 1, "lie:1": 1} {
		logged := make(chan Request, 10)
		p := start(t, Options{Faults: mustFaults(t, fault), Slow: time.Millisecond, Log: func(r Request) { logged <- r }})
		resp, _, err := p.try("POST", ledgerPath, "application/json", string(a.lines[0]), withKey(a.key), func(r *http.Request) { r.Header.Set("Idempotency-Key", sigOf(a.lines[0])) })
		name, _, _ := strings.Cut(fault, ":")
		if cut := name == "reset" || name == "lost"; (err != nil) != cut || !cut && name[0] < 'a' && fmt.Sprint(resp.StatusCode) != name {
			t.Errorf("%s: %v", fault, err)
		}
		<-logged // a connection may be cut before the call is counted
		if s := p.Summary(); s.Blocks != kept || s.Faults[name] != 1 {
			t.Errorf("%s: %+v", fault, s)
		}
		p.SetFaults(Faults{})
		if ack := p.take(t, a, a.lines...)[0]; ack.Duplicate != (kept == 1) {
			t.Errorf("%s: afterwards %+v", fault, ack)
		}
	}
}

// TestLiesAboutBlocks plays every lie. The block is kept, and the answer shows
// to whoever looks that it cannot be believed.
func TestLiesAboutBlocks(t *testing.T) {
	a := newAuthor("a")
	a.begin()
	kinds := map[bool]map[string]bool{true: {}, false: {}}
	played := map[string]bool{}
	for seed := uint64(1); seed < 400; seed++ {
		// One call for each lie is enough: some of them are large.
		receipts, pick := seed%2 == 0, newDraws(mustFaults(t, "lie:1"), seed).next().pick
		which := fmt.Sprint(receipts, pick%map[bool]uint64{true: anyLies + 5, false: anyLies + 2}[receipts])
		if played[which] {
			continue
		}
		played[which] = true
		p := start(t, Options{Faults: mustFaults(t, "lie:1"), Seed: seed})
		p.SetReceipts(receipts)
		resp, text := p.do(t, "POST", ledgerPath, "application/json", string(a.lines[0]), withKey(a.key), func(r *http.Request) { r.Header.Set("Idempotency-Key", sigOf(a.lines[0])) })
		if p.Summary().Blocks != 1 {
			t.Fatal("the block was not kept")
		}
		var ack acknowledgement
		err := json.Unmarshal([]byte(text), &ack)
		v, verr := note.NewVerifier(p.ReceiptKey())
		if verr != nil {
			t.Fatal(verr)
		}
		n, nerr := note.Open([]byte(ack.Receipt), note.VerifierList(v))
		var kind string
		switch {
		case resp.StatusCode == 204 && text == "":
			kind = "empty"
		case resp.StatusCode != 200:
			t.Errorf("answered %d", resp.StatusCode)
		case strings.HasPrefix(text, "<"):
			kind = "not JSON"
		case err != nil:
			kind = "cut off"
		case len(text) > endless:
			kind = "endless"
		case ack.Ack == "":
			kind = "no ack"
		case ack.Ack != sigOf(a.lines[0]):
			kind = "another ack"
			if len(ack.Ack) != 128 {
				t.Errorf("acknowledged %q", ack.Ack)
			}
		case nerr == nil && !strings.Contains(n.Text, fmt.Sprintf("%x", a.leaves[0])):
			kind = "receipt of another block"
		case nerr == nil || !receipts:
			t.Errorf("an answer that looks honest: %s", text)
		case strings.Contains(nerr.Error(), "invalid signature"):
			kind = "receipt that was changed"
		default:
			kind = "receipt by another key"
			if !strings.Contains(ack.Receipt, fmt.Sprintf("%x", a.leaves[0])) {
				t.Errorf("%q, %v", ack.Receipt, nerr)
			}
		}
		kinds[receipts][kind] = true
		p.Close()
	}
	want := []string{"another ack", "cut off", "empty", "endless", "no ack", "not JSON", "receipt by another key", "receipt of another block", "receipt that was changed"}
	if got := slices.Sorted(maps.Keys(kinds[true])); !slices.Equal(got, want) {
		t.Errorf("lies that were told: %q, want %q", got, want)
	}
	if got := slices.Sorted(maps.Keys(kinds[false])); !slices.Equal(got, want[:6]) {
		t.Errorf("lies without receipts: %q, want %q", got, want[:6])
	}
}

// Many clients send the blocks of several ledgers, each all of them, at once.
func TestBlocksAtOnce(t *testing.T) {
	p := start(t, Options{DataDir: t.TempDir() + "/data"})
	var authors []*author
	for i := range 4 {
		a := newAuthor(fmt.Sprint(i))
		a.begin()
		for n := range 20 {
			a.write(a.decision(fmt.Sprint(n)))
		}
		authors = append(authors, a)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh, receipts := map[string]int{}, map[string]string{}
	for _, a := range authors {
		for range 3 {
			wg.Go(func() {
				for _, line := range a.lines {
					status, body := p.append(t, line, withKey(a.key))
					if status != 200 {
						t.Errorf("%d %s", status, body)
						return
					}
					ack := readAck(t, body)
					mu.Lock()
					if !ack.Duplicate {
						fresh[ack.Ack]++
					}
					if had, ok := receipts[ack.Ack]; ok && had != ack.Receipt {
						t.Errorf("two receipts, %q and %q", had, ack.Receipt)
					}
					receipts[ack.Ack] = ack.Receipt
					mu.Unlock()
				}
			})
		}
		wg.Go(func() {
			for range 20 {
				p.do(t, "GET", "/dev/ledger", "", "")
				p.do(t, "GET", "/dev/ledger/"+a.id, "", "")
				p.do(t, "GET", "/dev/summary", "", "")
			}
		})
	}
	wg.Wait()
	for _, a := range authors {
		if !slices.EqualFunc(p.Lines(a.id), a.lines, bytes.Equal) {
			t.Errorf("ledger %s is not what was sent", a.id)
		}
		for _, line := range a.lines {
			if fresh[sigOf(line)] != 1 {
				t.Errorf("a block was new %d times", fresh[sigOf(line)])
			}
		}
	}
}

// FuzzParseBlock holds that a line is either refused with a field, or is the
// one form of what was read from it.
func FuzzParseBlock(f *testing.F) {
	a := newAuthor("a")
	a.begin()
	a.write(a.rotation(keyNamed("next")))
	a.write(a.opener())
	a.write(a.block("note", doc{"code": "é", "detail": "a/b\n\""}))
	for _, line := range a.lines {
		f.Add(line)
	}
	f.Add([]byte(`{"kind":"note"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		b, flaw := parseBlock(line)
		if flaw != nil {
			if b != nil || flaw.Message == "" {
				t.Fatalf("refused with %+v and %v", flaw, b)
			}
			return
		}
		values := map[string]jsontext.Value{}
		if err := json.Unmarshal(line, &values); err != nil {
			t.Fatalf("%q is no object: %v", line, err)
		}
		delete(values, "sig")
		unsigned, err := json.Marshal(values, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		v := jsontext.Value(unsigned)
		if err := v.Canonicalize(); err != nil || !bytes.Equal(v, b.unsigned) {
			t.Fatalf("without its sig %q is %q, and not %q", line, v, b.unsigned)
		}
		if len(b.sig) != 64 || sigOf(line) != hex.EncodeToString(b.sig) || b.hash != sha256.Sum256(slices.Concat([]byte{0}, v, b.sig)) {
			t.Fatalf("%q has the hash %s", line, b.hash)
		}
	})
}
