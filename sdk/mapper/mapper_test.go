package mapper

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestSignals mixes small signals with ones far beyond a piece of memory, so
// that pieces fill, grow and are left behind, and compares all that was written.
func TestSignals(t *testing.T) {
	var out Signals
	for round := range 4 {
		var want []Signal
		for i := range 300 {
			text := strings.Repeat(fmt.Sprint(i%10), 1+i*i*37%9000)
			if i%50 == 7 {
				text = strings.Repeat("z", lastChunk+i)
			}
			switch i % 3 {
			case 0:
				out.Add(Signal{Step: i, Type: "added", Subject: "s", Data: `"` + text + `"`})
				want = append(want, Signal{i, "added", "s", `"` + text + `"`})
			case 1:
				o := out.Start(i, "open", "")
				o.String("text", text)
				o.Key("left open")
				o.Open()
				want = append(want, Signal{i, "open", "", `{"text":"` + text + `","left open":{}}`})
			default:
				out.Start(i, "empty", "")
				want = append(want, Signal{i, "empty", "", `{}`})
			}
		}
		out.finish()
		if len(out.list) != len(want) {
			t.Fatalf("round %d: %d signals, want %d", round, len(out.list), len(want))
		}
		for i, p := range out.list {
			if got := (Signal{p.step, p.kind, p.subject, string(p.data)}); got != want[i] {
				t.Fatalf("round %d: signal %d is %.100v, want %.100v", round, i, got, want[i])
			}
		}
		out.reset()
	}
}

// TestSignalsAreReused shows that a mapper whose batches are alike allocates
// nothing after the first ones.
func TestSignalsAreReused(t *testing.T) {
	var out Signals
	batch := func() {
		for i := range 200 {
			out.Start(i, "t", "").String("text", "some two hundred bytes, more or less, for each of the signals of the batch")
		}
		out.finish()
		out.reset()
	}
	for range 5 {
		batch()
	}
	if n := testing.AllocsPerRun(100, batch); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func TestMapReturnsTheError(t *testing.T) {
	failed := errors.New("no")
	got, err := Map(func([]Step, *Signals) error { return failed }, nil)
	if got != nil || err != failed {
		t.Errorf("Map = %v, %v", got, err)
	}
}
