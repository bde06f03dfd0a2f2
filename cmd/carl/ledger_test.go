package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carl.camp/carl/host/camp/standin"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/ledger"
)

// constitutions are two states that an agent walks between.
const walkingRules = `name: walker
version: "1"
initial: left
states: [left, right]
rules:
  - {id: go, in: [left], action: step, verdict: allow, next: right}
  - {id: back, in: [right], action: step, verdict: allow, next: left}
`

// adopted has a constitution that allows steps.
func (in *installation) adopted() {
	in.t.Helper()
	file := filepath.Join(in.t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(walkingRules), 0o600); err != nil {
		in.t.Fatal(err)
	}
	in.must("fsm", "adopt", file)
}

// blocks are the lines of the ledger, by their number.
func (in *installation) blocks() map[uint64]string {
	in.t.Helper()
	blocks := map[uint64]string{}
	for line := range bytes.Lines(in.must("ledger", "show", "--json")) {
		var b struct{ Seq uint64 }
		if err := json.Unmarshal(line, &b); err != nil {
			in.t.Fatal(err)
		}
		blocks[b.Seq] = string(bytes.TrimSpace(line))
	}
	return blocks
}

// TestVerdictsOfManyProcesses has many processes decide at once, and kills some
// of them at random moments. What was answered is in the ledger under the number
// and the signature that were answered, the states follow on each other, and a
// third party finds the whole of it right.
func TestVerdictsOfManyProcesses(t *testing.T) {
	in := install(t, "")
	in.adopted()
	var mu sync.Mutex
	answered := map[uint64]string{} // signature by number
	killed := 0
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 12 {
				cmd := in.command("fsm", "evaluate", "-", "--json")
				cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"kind":"step","name":"%d-%d"}`, w, i))
				var stdout bytes.Buffer
				cmd.Stdout = &stdout
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				victim := random.IntN(3) == 0
				if victim {
					time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
					cmd.Process.Kill()
				}
				err := cmd.Wait()
				var out struct {
					Verdict, Sig string
					Seq          uint64
				}
				if json.Unmarshal(stdout.Bytes(), &out) != nil {
					mu.Lock()
					killed++
					mu.Unlock()
					if !victim {
						t.Errorf("%v: %q", err, stdout.String())
					}
					continue
				}
				mu.Lock()
				if other, there := answered[out.Seq]; there {
					t.Errorf("block %d was answered twice: %s and %s", out.Seq, other, out.Sig)
				}
				answered[out.Seq] = out.Sig
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if killed == 0 || len(answered) < 20 {
		t.Fatalf("%d were killed, %d answered", killed, len(answered))
	}
	blocks := in.blocks()
	for seq, sig := range answered {
		if !strings.Contains(blocks[seq], `"sig":"`+sig+`"`) {
			t.Errorf("block %d is not the one that was answered", seq)
		}
	}
	state := "left"
	for _, seq := range slices.Sorted(maps.Keys(blocks)) {
		var b struct {
			Kind  string
			State json.RawMessage
		}
		if err := json.Unmarshal([]byte(blocks[seq]), &b); err != nil {
			t.Fatal(err)
		}
		if b.Kind != "decision" {
			continue
		}
		var states struct{ From, To string }
		if err := json.Unmarshal(b.State, &states); err != nil {
			t.Fatal(err)
		}
		if states.From != state {
			t.Errorf("block %d begins in %s, and the one before it left %s", seq, states.From, state)
		}
		state = states.To
	}
	in.must("ledger", "verify")
	bundle := filepath.Join(t.TempDir(), "bundle")
	in.must("ledger", "export", bundle)
	out, err := exec.Command("node", filepath.Join("..", "..", "examples", "verify-ledger", "verify.mjs"), bundle).CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("blocks 0 to %d", len(blocks)-1)) {
		t.Errorf("the stand-alone verifier: %v\n%s", err, out)
	}
}

// TestLedgerUnderFaults forwards to a platform that fails in every way, and is
// killed in between: what it holds in the end is what was signed, each block
// once, in order, byte for byte.
func TestLedgerUnderFaults(t *testing.T) {
	in := install(t, "429:0.1,500:0.1,reset:0.1,lost:0.15,lie:0.15")
	in.adopted()
	// Nothing is in the way of the platform's answers but its faults.
	for range 30 {
		in.input(`{"kind":"step"}`, "fsm", "evaluate", "-")
	}
	random := rand.New(rand.NewPCG(2, 2))
	settled := func() bool {
		var status struct {
			Destinations []struct {
				Name   string
				Ledger *struct{ Pending int }
			}
		}
		if err := json.Unmarshal(in.must("sync", "status", "--json"), &status); err != nil {
			t.Fatal(err)
		}
		for _, d := range status.Destinations {
			if d.Ledger != nil && d.Ledger.Pending > 0 {
				return false
			}
		}
		return true
	}
	rounds := 0
	for ; !settled(); rounds++ {
		if rounds == 200 {
			t.Fatal("it does not come to an end")
		}
		cmd := in.command("ledger", "replay", "--deadline", "5s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if rounds%3 == 0 {
			time.Sleep(time.Duration(50+random.IntN(150)) * time.Millisecond)
			cmd.Process.Kill()
		}
		cmd.Wait()
		if rounds == 10 {
			in.must("ledger", "key", "--rotate")
			in.input(`{"kind":"step"}`, "fsm", "evaluate", "-")
		}
	}
	in.server.SetFaults(standin.Faults{})
	in.must("ledger", "replay")
	want := in.blocks()
	ledgers := in.server.Ledgers()
	if len(ledgers) != 1 {
		t.Fatalf("%+v", ledgers)
	}
	got := in.server.Lines(ledgers[0].LedgerID)
	if len(got) != len(want) {
		t.Fatalf("the platform holds %d blocks, and %d were signed", len(got), len(want))
	}
	for seq, line := range got {
		if want[uint64(seq)] != string(bytes.TrimSpace(line)) {
			t.Errorf("block %d differs:\n%s\n%s", seq, line, want[uint64(seq)])
		}
	}
	if rounds < 3 {
		t.Errorf("it took only %d rounds: nothing failed", rounds)
	}
	in.must("ledger", "verify")
}

// TestExportedReceipts exports a ledger with what the platform attested of it:
// the stand-alone verifier holds the blocks against that.
func TestExportedReceipts(t *testing.T) {
	in := install(t, "")
	in.adopted()
	config, err := os.OpenFile(filepath.Join(in.home, "config.yaml"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(config, "camp: {receipt_key: %q}\n", in.server.ReceiptKey())
	config.Close()
	for range 3 {
		in.input(`{"kind":"step"}`, "fsm", "evaluate", "-")
	}
	in.must("ledger", "replay")
	bundle := filepath.Join(t.TempDir(), "bundle")
	in.must("ledger", "export", bundle)
	receipts := filepath.Join(bundle, "ledger_receipts.jsonl")
	data, err := os.ReadFile(receipts)
	if err != nil || bytes.Count(data, []byte("\n")) != len(in.blocks()) {
		t.Fatalf("%d blocks, %v, and these receipts:\n%s", len(in.blocks()), err, data)
	}
	verify := func() (string, error) {
		out, err := exec.Command("node", filepath.Join("..", "..", "examples", "verify-ledger", "verify.mjs"), bundle).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.WriteFile(receipts, bytes.Replace(data, []byte("seq 2"), []byte("seq 1"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err == nil || !strings.Contains(out, "receipt") {
		t.Errorf("a receipt was changed: %v: %s", err, out)
	}
}

// TestBlockRows: what a rotation and a loss are about stands in the table as well.
func TestBlockRows(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	east := time.Date(2026, 11, 23, 1, 2, 3, 0, time.FixedZone("east", 3600))
	for _, c := range []struct {
		block ledger.Block
		what  string
	}{
		{ledger.Block{Kind: ledger.KindKeyRotation, KeyRotation: &ledger.KeyRotation{NewKey: key}}, "new key UDDReOZl1ipXAfp9wYsm13sDBMK5og--QWdBjzuf6o4"},
		{ledger.Block{Kind: ledger.KindDropped, Dropped: &ledger.Dropped{From: 3, To: 17}}, "blocks 3 to 17"},
	} {
		c.block.Time = east
		if row := blockRow(&c.block); row[6] != c.what || row[1] != "2026-11-23 00:02:03" {
			t.Errorf("%q", row)
		}
	}
}

// TestFirstBad holds what programs are told against the errors of the ledger.
func TestFirstBad(t *testing.T) {
	none := int64(-1)
	for _, c := range []struct {
		message string
		seq     int64
		reason  string
	}{
		{"ledger: block 5 in /x.jsonl is not a block", 5, "block 5 in /x.jsonl is not a block"},
		{"ledger: block 0: /x.jsonl does not begin with a block that opens a file", 0, "block 0: /x.jsonl does not begin with a block that opens a file"},
		{"ledger: it ends with block 5, and the checkpoint has 9 blocks", 6, "it ends with block 5, and the checkpoint has 9 blocks"},
		{"ledger: it ends with block -1, and the checkpoint has 9 blocks", 0, "it ends with block -1, and the checkpoint has 9 blocks"},
		{"ledger: the checkpoint is missing beside block 5", none, "the checkpoint is missing beside block 5"},
	} {
		seq, reason := firstBad(fault.New(fault.LedgerTampered, "%s", c.message))
		if reason != c.reason || (seq == nil) != (c.seq == none) || seq != nil && *seq != uint64(c.seq) {
			t.Errorf("%s: %v, %q", c.message, seq, reason)
		}
	}
	if seq, reason := firstBad(fault.New(fault.IO, "block 5")); seq != nil || reason != "" {
		t.Errorf("of another error: %v, %q", seq, reason)
	}
}
