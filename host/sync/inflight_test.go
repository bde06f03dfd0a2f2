package sync

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
)

var anyFlying = rapid.Custom(func(t *rapid.T) *flying {
	text := rapid.String()
	f := &flying{
		Event: world.Event{
			ID: text.Draw(t, "id"), Type: text.Draw(t, "type"), Subject: text.Draw(t, "subject"),
			Time: rapid.Uint64().Draw(t, "time"), Body: rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "body"),
		},
		epoch:    rapid.Uint32().Draw(t, "epoch"),
		attempts: rapid.IntRange(0, 1<<30).Draw(t, "attempts"),
		since:    time.Unix(0, rapid.Int64().Draw(t, "since")).UTC(),
	}
	for range rapid.IntRange(1, 3).Draw(t, "places") {
		if rapid.Bool().Draw(t, "letter") {
			f.places = append(f.places, place{letter: rapid.StringN(1, 12, -1).Draw(t, "letter id")})
		} else {
			seq := rapid.Uint64Range(1, 1<<63).Draw(t, "seq")
			f.places = append(f.places, place{slot: rapid.IntRange(0, 999).Draw(t, "slot"), first: seq, seq: seq + 3})
		}
	}
	return f
})

func TestFlightRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(anyFlying, 0, 5).Draw(t, "flight")
		stored := encodeFlight(nil, world.Signals, want)
		got, err := decodeFlight(world.Signals, stored.Data)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d", len(got), len(want))
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("got %+v, want %+v", got[i], want[i])
			}
			for _, p := range want[i].places {
				covered := p.letter != ""
				for _, r := range stored.Entries {
					covered = covered || r.Slot == p.slot && r.From <= p.first && p.seq < r.To
				}
				if !covered {
					t.Fatalf("%+v is in no range of %+v", p, stored.Entries)
				}
			}
		}
		if _, err := decodeFlight(world.Ledger, stored.Data); len(want) > 0 && fault.CodeOf(err) != fault.HomeCorrupt {
			t.Fatalf("signals are taken for ledger blocks: %v", err)
		}
		// A file that is cut anywhere is refused.
		cut := rapid.IntRange(0, len(stored.Data)-1).Draw(t, "cut")
		if _, err := decodeFlight(world.Signals, stored.Data[:cut]); err == nil {
			t.Fatalf("%d of %d bytes are taken", cut, len(stored.Data))
		}
	})
	if _, err := decodeFlight(world.Signals, []byte("carl-inflight/2\n\x00")); fault.CodeOf(err) != fault.HomeTooNew {
		t.Errorf("a later version: %v", err)
	}
}

func FuzzDecodeFlight(f *testing.F) {
	one := &flying{Event: world.Event{ID: "id", Type: "t", Body: []byte("{}")}, since: time.Unix(1, 0), places: []place{{slot: 1, first: 2, seq: 3}, {letter: "x"}}}
	f.Add(encodeFlight(nil, world.Signals, nil).Data)
	f.Add(encodeFlight(nil, world.Signals, []*flying{one, one}).Data)
	f.Add([]byte(inflightMagic + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		flight, err := decodeFlight(world.Signals, data)
		if err != nil {
			return
		}
		again, err := decodeFlight(world.Signals, encodeFlight(nil, world.Signals, flight).Data)
		if err != nil || !reflect.DeepEqual(again, flight) {
			t.Fatalf("not the same after writing it again: %v", err)
		}
	})
}

func TestBackoff(t *testing.T) {
	if MinBackoff != time.Second || MaxBackoff != 5*time.Minute || MaxRetryAfter != time.Hour {
		t.Error("the bounds are not those of the design")
	}
	least, most := make(map[int]time.Duration), make(map[int]time.Duration)
	rapid.Check(t, func(t *rapid.T) {
		failures := rapid.IntRange(0, 1<<40).Draw(t, "failures")
		asked := rapid.Uint64().Draw(t, "retry after")
		if rapid.Bool().Draw(t, "sane") {
			asked %= uint64(MaxRetryAfter / time.Millisecond)
		}
		wait := backoff(failures, asked)
		if wait < MinBackoff || wait > MaxRetryAfter {
			t.Fatalf("waits %s", wait)
		}
		if asked <= uint64(MaxRetryAfter/time.Millisecond) && wait < time.Duration(asked)*time.Millisecond {
			t.Fatalf("waits %s, and was asked for %d ms", wait, asked)
		}
		if asked == 0 && wait > MaxBackoff {
			t.Fatalf("waits %s of its own accord", wait)
		}
	})
	for failures := range 15 {
		least[failures], most[failures] = MaxRetryAfter, 0
		for range 500 {
			wait := backoff(failures, 0)
			least[failures], most[failures] = min(least[failures], wait), max(most[failures], wait)
		}
	}
	// Full jitter: short waits stay possible, long ones become so.
	if most[1] > 2*time.Second || most[4] < 8*time.Second || most[14] < 4*time.Minute || least[14] > time.Minute {
		t.Errorf("from %v to %v", least, most)
	}
}
