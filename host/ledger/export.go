package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"

	"carl.camp/carl/host/fault"
)

// exportReadme says how to check what was exported.
const exportReadme = `# A constitutional ledger

Exported by carl. It can be checked without carl:

    node verify.mjs .

with examples/verify-ledger/verify.mjs of carl's source, which needs Node.js and
nothing else, or with a program of your own after the format below.

| file | what |
|---|---|
| constitutional_ledger.<first>-<last>.jsonl | closed files, the oldest first; one block a line |
| constitutional_ledger.jsonl | the open file |
| constitutional_ledger.head | the checkpoint: a C2SP signed note with size and Merkle root |
| keys.txt | the public keys that signed, the oldest first, as C2SP verifier keys |
| ledger_receipts.jsonl, receipt_keys.txt | what others attested of single blocks, as signed notes, and the key of that; where there are any |

A line is one JSON object in the form of RFC 8785, of texts, booleans, lists,
objects and integers. Its member sig is an Ed25519 signature over
"carl.ledger.block.v1", a line feed, and the line without sig, under the key whose
RFC 7638 thumbprint is key_id. Its hash is SHA-256 over a zero byte, the line
without sig, and the 64 bytes of the signature: the prev_hash of the next line, and
a leaf of the Merkle tree of RFC 6962 whose root the checkpoint signs.

Ask somebody other than who gave you this folder whether the last key of keys.txt,
the one in use, whose id the program prints, is the right one: ` + "`carl ledger key`" + `
prints key and id on the machine that signs. An earlier key in that file vouches for
nothing but the blocks that it signed.
`

// Export verifies the ledger and writes it to dir, a folder that does not exist
// yet: every file that is kept, the checkpoint, the public keys, the receipts that
// were verified, and a README that says how to check them. It is a copy of one
// moment; appends go on.
//
// The error is carl.ledger.not_found where there is no block, and that of
// [Ledger.Verify] where the ledger is not whole; nothing is written then.
func (l *Ledger) Export(ctx context.Context, dir string, progress func(done, total int64)) (*Report, error) {
	beside, err := l.beside()
	if err != nil {
		return nil, err
	}
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	defer v.close()
	if len(v.files) == 0 || v.head == nil {
		return nil, fault.New(fault.LedgerNotFound, "ledger: there is nothing to export yet").WithKept("nothing was written")
	}
	w := &walk{view: v, beside: beside, report: &Report{}, progress: progress, total: v.bytes()}
	if err := l.verify(ctx, w, nil); err != nil {
		return nil, err
	}
	receipts, err := l.attestations(w.tail.ledgerID, w.tail.edge.size)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fault.New(fault.LedgerFailed, "ledger: the folder to export to: %w", err).WithKept("nothing was written").
			WithHint("name a folder that does not exist yet")
	}
	files := map[string][]byte{
		filepath.Base(l.paths.head()): v.head.signed,
		"keys.txt":                    v.keys.list(&w.tail),
		"README.md":                   []byte(exportReadme),
	}
	if len(receipts) > 0 {
		files["ledger_receipts.jsonl"], files["receipt_keys.txt"] = receipts, []byte(l.receiptKey+"\n")
	}
	for i, f := range v.files {
		data, err := readAll(f.file)
		if err != nil {
			return nil, failed("read", f.path, err)
		}
		data = data[:min(int64(len(data)), f.size)]
		if i == len(v.files)-1 {
			data = data[:len(data)-w.report.Torn]
		}
		files[filepath.Base(f.path)] = data
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return nil, fault.New(fault.LedgerFailed, "ledger: cannot export: %w", err).WithHint("remove %s, and check space and mode", dir)
		}
	}
	return w.report, nil
}

// list is the public keys that signed up to the tail, the oldest first, a verifier
// key a line.
func (k *keys) list(t *tail) []byte {
	var b strings.Builder
	for _, x := range k.file.Previous {
		raw, _ := base64.RawURLEncoding.DecodeString(x) // loadKeys has read it
		b.WriteString(VerifierKey(t.ledgerID, raw) + "\n")
	}
	b.WriteString(VerifierKey(t.ledgerID, k.private.Public().(ed25519.PublicKey)) + "\n")
	if t.signer != k.id {
		// A rotation whose block is there, and which the next append ends.
		b.WriteString(VerifierKey(t.ledgerID, k.public[t.signer]) + "\n")
	}
	return []byte(b.String())
}
