package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"carl.camp/carl/host/ledger"
)

// bundle is an export of one file that somebody with keys of their own changes.
type bundle struct {
	t     *testing.T
	id    string
	lines []string // without their line ends
	keys  []string // of keys.txt
	head  []byte
}

func exported(in *installation) *bundle {
	in.t.Helper()
	dir := filepath.Join(in.t.TempDir(), "bundle")
	in.must("ledger", "export", dir)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			in.t.Fatal(err)
		}
		return data
	}
	b := &bundle{
		t: in.t, head: read("constitutional_ledger.head"), keys: strings.Fields(string(read("keys.txt"))),
		lines: strings.Split(strings.TrimSuffix(string(read("constitutional_ledger.jsonl")), "\n"), "\n"),
	}
	var first struct {
		ID string `json:"ledger_id"`
	}
	if err := json.Unmarshal([]byte(b.lines[0]), &first); err != nil {
		in.t.Fatal(err)
	}
	b.id = first.ID
	return b
}

// unsigned is a line without its signature, and the signature.
func (b *bundle) unsigned(line string) (body, sig []byte) {
	b.t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &members); err != nil {
		b.t.Fatal(err)
	}
	var digits string
	if err := json.Unmarshal(members["sig"], &digits); err != nil {
		b.t.Fatal(err)
	}
	sig, err := hex.DecodeString(digits)
	if err != nil {
		b.t.Fatal(err)
	}
	delete(members, "sig")
	return b.canonical(members), sig
}

func (b *bundle) canonical(v any) []byte {
	b.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := (*jsontext.Value)(&text).Canonicalize(); err != nil {
		b.t.Fatal(err)
	}
	return text
}

// resign has a key sign every block anew, after change has seen it.
func (b *bundle) resign(key ed25519.PrivateKey, change func(block map[string]json.RawMessage)) {
	b.t.Helper()
	public := key.Public().(ed25519.PublicKey)
	thumbprint := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`))
	previous := strings.Repeat("0", 64)
	quoted := func(s string) json.RawMessage { return json.RawMessage(strconv.Quote(s)) }
	for i, line := range b.lines {
		var block map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &block); err != nil {
			b.t.Fatal(err)
		}
		delete(block, "sig")
		block["key_id"] = quoted(base64.RawURLEncoding.EncodeToString(thumbprint[:]))
		block["prev_hash"] = quoted(previous)
		if change != nil {
			change(block)
		}
		body := b.canonical(block)
		sig := ed25519.Sign(key, append([]byte("carl.ledger.block.v1\n"), body...))
		hash := tlog.RecordHash(append(body, sig...))
		previous = hex.EncodeToString(hash[:])
		block["sig"] = quoted(hex.EncodeToString(sig))
		b.lines[i] = string(b.canonical(block))
	}
	b.keys = []string{ledger.VerifierKey(b.id, public)}
	b.checkpoint(key, len(b.lines))
}

// checkpoint has a key sign one of the first so many blocks.
func (b *bundle) checkpoint(key ed25519.PrivateKey, size int) {
	b.t.Helper()
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, _ error) {
		for _, i := range at {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i, line := range b.lines[:size] {
		body, sig := b.unsigned(line)
		stored, err := tlog.StoredHashesForRecordHash(int64(i), tlog.RecordHash(append(body, sig...)), read)
		if err != nil {
			b.t.Fatal(err)
		}
		hashes = append(hashes, stored...)
	}
	root, err := tlog.TreeHash(int64(size), read)
	if err != nil {
		b.t.Fatal(err)
	}
	name := "carl.camp/ledger/" + b.id
	_, rest, _ := strings.Cut(ledger.VerifierKey(b.id, key.Public().(ed25519.PublicKey)), "+")
	hash, _, _ := strings.Cut(rest, "+")
	signer, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...)))
	if err != nil {
		b.t.Fatal(err)
	}
	b.head, err = note.Sign(&note.Note{Text: name + "\n" + strconv.Itoa(size) + "\n" + root.String() + "\n"}, signer)
	if err != nil {
		b.t.Fatal(err)
	}
}

// verified runs the stand-alone verifier.
func (b *bundle) verified() (exit int, stdout, stderr string) {
	b.t.Helper()
	dir := b.t.TempDir()
	for name, data := range map[string]string{
		"constitutional_ledger.jsonl": strings.Join(b.lines, "\n") + "\n",
		"constitutional_ledger.head":  string(b.head),
		"keys.txt":                    strings.Join(b.keys, "\n") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	cmd := exec.Command("node", filepath.Join("..", "..", "examples", "verify-ledger", "verify.mjs"), dir)
	var out, warned bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &warned
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		b.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), warned.String()
}

func (b *bundle) passes(what string) {
	b.t.Helper()
	if exit, _, stderr := b.verified(); exit != 0 {
		b.t.Errorf("%s: exit %d: %s", what, exit, stderr)
	}
}

func (b *bundle) refused(what, why string) {
	b.t.Helper()
	if exit, stdout, stderr := b.verified(); exit != 3 || !strings.Contains(stderr, why) || stdout != "" {
		b.t.Errorf("%s: exit %d: %s%s", what, exit, stdout, stderr)
	}
}

// signingKey is the key that signs now.
func (in *installation) signingKey() ed25519.PrivateKey {
	in.t.Helper()
	data, err := os.ReadFile(filepath.Join(in.home, "keys", "ledger.key"))
	if err != nil {
		in.t.Fatal(err)
	}
	var file struct{ Seed string }
	if err := json.Unmarshal(data, &file); err != nil {
		in.t.Fatal(err)
	}
	seed, err := base64.RawURLEncoding.DecodeString(file.Seed)
	if err != nil || len(seed) != ed25519.SeedSize {
		in.t.Fatal(err, len(seed))
	}
	return ed25519.NewKeyFromSeed(seed)
}

// TestVerifierAgainstForgers: who signs with a key of their own cannot have it
// taken for the owner's, and a key that was rotated away signs nothing any more.
func TestVerifierAgainstForgers(t *testing.T) {
	in := install(t, "")
	in.adopted()
	step := func() { in.input(`{"kind":"step"}`, "fsm", "evaluate", "-") }
	step()
	old := in.signingKey()
	forger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

	b := exported(in)
	b.passes("as it was exported")
	owner := b.keys[0]
	b.resign(old, nil)
	b.passes("signed by the owner, a second time")
	b.resign(old, func(block map[string]json.RawMessage) { block["ts"] = json.RawMessage(`"2026-02-28T23:59:59.000000Z"`) })
	b.passes("on a day that there is")
	b.resign(old, func(block map[string]json.RawMessage) { block["ts"] = json.RawMessage(`"2026-02-30T23:59:59.000000Z"`) })
	b.refused("on 30 February", "block 0: not a block")

	b = exported(in)
	b.resign(forger, nil)
	b.passes("by the forger, whose key is named")
	mine := b.keys[0]
	b.keys = []string{mine, owner}
	b.refused("the owner's key last, and the forger's in use", "keys.txt: its last key")
	b.keys = []string{owner, mine}
	b.passes("the forger's key last, as readers see")

	in.must("ledger", "key", "--rotate")
	for range 3 {
		step()
	}
	b = exported(in)
	if len(b.keys) != 2 {
		t.Fatalf("keys.txt: %q", b.keys)
	}
	var key struct {
		ID string `json:"key_id"`
	}
	if err := json.Unmarshal(in.must("ledger", "key", "--json"), &key); err != nil {
		t.Fatal(err)
	}
	if exit, stdout, stderr := b.verified(); exit != 0 || !strings.Contains(stdout, "\nkey id in use: "+key.ID+"\n") {
		t.Errorf("exit %d: %s%s", exit, stdout, stderr)
	}
	keys := b.keys
	b.keys = []string{keys[1], keys[0]}
	b.refused("the newest key first", "block 3: rotates to another key than the next one of keys.txt")
	b.keys = []string{keys[0], mine, keys[1]}
	b.refused("a key between", "block 3: rotates to another key than the next one of keys.txt")
	b.keys = []string{keys[0], keys[1], mine}
	b.refused("a key behind", "keys.txt: its last key")
	b.keys = []string{mine, keys[0], keys[1]}
	b.passes("a key of an earlier ledger")
	b.keys = keys

	// Block 3 is the rotation, which the old key has signed, and the checkpoint too.
	b.checkpoint(old, 4)
	b.passes("the old key, up to its last block")
	b.checkpoint(in.signingKey(), 3)
	b.refused("the new key, before its time", "constitutional_ledger.head: not by the key in use at block 2")
	b.checkpoint(old, 5)
	b.refused("the old key, after its time", "constitutional_ledger.head: not by the key in use at block 4")
	b.lines = b.lines[:5]
	b.checkpoint(old, 5)
	b.refused("the old key, of a ledger that was cut", "constitutional_ledger.head: not by the key in use at block 4")
	b.lines = b.lines[:3]
	b.checkpoint(old, 3)
	b.refused("the old key, of a ledger that was cut before the rotation", "keys.txt: its last key")
}
