package standin

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carl.camp/carl/host/ledger"
)

// TestCarlsOwnLedger holds what package ledger writes against what is taken
// here: the whole of a ledger of several files and keys, and what is left of one
// whose first files were pruned.
func TestCarlsOwnLedger(t *testing.T) {
	for decisions, pruned := range map[int]bool{20: false, 80: true} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		l := ledger.Open(ledger.Options{
			Paths: ledger.Paths{
				Base:     filepath.Join(dir, "constitutional_ledger"),
				Key:      filepath.Join(dir, "keys", "ledger.key"),
				Pending:  filepath.Join(dir, "ledger_pending.jsonl"),
				Receipts: filepath.Join(dir, "ledger_receipts.jsonl"),
			},
			MaxSegment: 6 << 10,
		})
		appended := func(entry func(ledger.State) ledger.Entry) {
			t.Helper()
			if _, err := l.Append(func(s ledger.State) (ledger.Entry, error) { return entry(s), nil }); err != nil {
				t.Fatal(err)
			}
		}
		appended(func(ledger.State) ledger.Entry {
			return &ledger.Constitution{Digest: idOf("constitution"), Name: "coding-agent", Version: "1 é"}
		})
		appended(func(ledger.State) ledger.Entry {
			return &ledger.Note{Code: "carl.ledger.provisional_key", Detail: "\"quoted\" \\ / <&> \u2028\n\x7f"}
		})
		xs := map[string]string{} // the keys, by their ids
		for i := range decisions {
			if i%8 == 7 {
				if _, err := l.RotateKey(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			key, err := l.Key()
			if err != nil {
				t.Fatal(err)
			}
			xs[key.ID] = key.X
			appended(func(s ledger.State) ledger.Entry {
				return &ledger.Decision{
					Action:       ledger.Action{Kind: "deploy", Name: fmt.Sprint(i), Digest: idOf(fmt.Sprint(i)), Payload: strings.Repeat(`{"a":"\u00e9"}`, i%3)},
					Constitution: s.Constitution, Rule: "r7", From: s.State, To: fmt.Sprint("state ", i), Verdict: []string{"allow", "deny", "escalate"}[i%3],
				}
			})
		}
		key, err := l.Key()
		if err != nil {
			t.Fatal(err)
		}
		lines := linesIn(t, dir)
		if len(lines) < 10 {
			t.Fatalf("%d lines", len(lines))
		}

		p := start(t, Options{})
		openers := 0
		for i, line := range lines {
			_, rest, _ := bytes.Cut(line, []byte(`"key_id":"`))
			x, known := xs[string(rest[:43])]
			if !known {
				t.Fatalf("line %d is by a key that never signed: %s", i, line)
			}
			status, body := p.append(t, line, func(r *http.Request) { r.Header.Set("X-Carl-Ledger-Key", x) })
			if status != 200 {
				t.Fatalf("line %d: %d %s for %s", i, status, body, line)
			}
			if bytes.Contains(line, []byte(`"kind":"segment_open"`)) {
				openers++
			}
		}
		report, err := l.Verify(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := Ledger{key.LedgerID, report.FirstSeq, report.Size, key.ID}
		if got := p.Ledgers(); len(got) != 1 || got[0] != want || (report.FirstSeq > 0) != pruned || openers < 3 {
			t.Errorf("%+v is held, and there is %+v in %d files", got, want, openers)
		}
		// Both come to the same tree.
		p.ledgers.mu.Lock()
		held := p.ledgers.ledgers[key.LedgerID]
		root := held.tree.hashes[len(held.tree.hashes)-1]
		for i := len(held.tree.hashes) - 2; i >= 0; i-- {
			root = mth([][32]byte{held.tree.hashes[i], root})
		}
		p.ledgers.mu.Unlock()
		if root != digest(report.Root) {
			t.Errorf("the root is %s, and carl says %x", root, report.Root)
		}
	}
}

// linesIn reads the lines of all files of a ledger, in order.
func linesIn(t *testing.T, dir string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "constitutional_ledger.*-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	first := func(path string) int {
		name, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), "constitutional_ledger."), "-")
		n, err := strconv.Atoi(name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	slices.SortFunc(files, func(a, b string) int { return first(a) - first(b) })
	var lines [][]byte
	for _, file := range append(files, filepath.Join(dir, "constitutional_ledger.jsonl")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))...)
	}
	return lines
}
