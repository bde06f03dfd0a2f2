package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"
)

// TestExample computes the example of the package comment again.
func TestExample(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	b := &Block{
		LedgerID: "000102030405060708090a0b0c0d0e0f",
		Time:     time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC),
		Kind:     KindSegment,
		KeyID:    keyID(key.Public().(ed25519.PublicKey)),
		Segment:  &Segment{},
	}
	line, hash := b.sign(key)
	var e edge
	e.push(hash)
	note := string(formatHead(b.LedgerID, &e, key))
	signature := strings.TrimSuffix(note[strings.LastIndexByte(note, ' ')+1:], "\n")
	root := e.root()

	file, err := parser.ParseFile(token.NewFileSet(), "ledger.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	doc := file.Doc.Text()
	sig := hex.EncodeToString(b.Sig[:])
	shown := strings.NewReplacer(b.KeyID, "<K>", sig, "<S>", strings.Repeat("0", 64), "<64 zeros>").Replace(string(line))
	for _, want := range []string{
		shown,
		"K     " + b.KeyID,
		"S     " + sig[:64],
		sig[64:],
		"hash  " + hex.EncodeToString(hash[:]),
		fmt.Sprintf("carl.camp/ledger/%s\n\t1\n\t%s\n", b.LedgerID, root),
		"— carl.camp/ledger/" + b.LedgerID + " " + signature[:48],
		signature[48:],
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("the package comment does not say %q", want)
		}
	}
}
