package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"pgregory.net/rapid"
)

func TestStateRoundTrip(t *testing.T) {
	s := openTest(t, Options{})
	st := state(t, s, "camp")
	if st.Destination() != "camp" || !st.Updated.IsZero() || st.Watermark(0) != 0 {
		t.Errorf("a new state is %+v", st)
	}
	st.NotBefore = time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)
	st.Attempts, st.Paused, st.Acknowledged = 3, true, 99
	st.Code, st.Reason, st.Hint = "carl.camp.unauthorized", "it said \xff no", strings.Repeat("h", 10_000)
	st.Settle(0, 1, 10)
	st.Settle(0, 20, 30)
	st.Settle(7, 5, 6)
	save(t, st)
	got := state(t, reopen(t, s.dir, Options{}), "camp")
	if got.NotBefore != st.NotBefore || got.Attempts != 3 || !got.Paused || got.Acknowledged != 99 ||
		got.Code != st.Code || got.Reason != "it said \uFFFD no" || len(got.Hint) != maxReason || got.Updated.IsZero() {
		t.Errorf("got %+v", got)
	}
	for n := range uint64(40) {
		if want := n < 10 || n >= 20 && n < 30; got.Settled(Pos{0, n}) != want {
			t.Errorf("number %d: %v", n, !want)
		}
	}
	if got.Watermark(0) != 9 || got.Watermark(7) != 0 || got.Watermark(8) != 0 || !got.Settled(Pos{7, 5}) || got.Settled(Pos{8, 1}) {
		t.Error("watermarks are wrong")
	}
	if err := s.Forget("camp"); err != nil {
		t.Fatal(err)
	}
	if state(t, s, "camp").Watermark(0) != 0 {
		t.Error("a forgotten state is there")
	}
}

// TestSettle compares the ranges with a plain set.
func TestSettle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p progress
		set := map[uint64]bool{0: true}
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			from := rapid.Uint64Range(0, 40).Draw(t, "from")
			to := rapid.Uint64Range(0, 45).Draw(t, "to")
			p.settle(from, to)
			for n := from; n < to; n++ {
				set[n] = true
			}
			if !p.valid() {
				t.Fatalf("invalid after %d-%d: %+v", from, to, p)
			}
			mark := uint64(0)
			for set[mark+1] {
				mark++
			}
			if p.mark != mark {
				t.Fatalf("mark %d, want %d", p.mark, mark)
			}
		}
		var waiting uint64
		for n := uint64(1); n < 50; n++ {
			if p.covers(n, n+1) != set[n] {
				t.Fatalf("%d: %v in %+v", n, !set[n], p)
			}
			if !set[n] {
				waiting++
			}
			if n >= p.end() && set[n] {
				t.Fatalf("%d is settled, beyond the end", n)
			}
		}
		if got := p.waiting(1, 50); got != waiting {
			t.Fatalf("%d wait, want %d", got, waiting)
		}
		from := rapid.Uint64Range(1, 45).Draw(t, "query from")
		to := rapid.Uint64Range(1, 50).Draw(t, "query to")
		all := true
		for n := from; n < to; n++ {
			all = all && set[n]
		}
		if p.covers(from, to) != all {
			t.Fatalf("%d-%d: %v", from, to, !all)
		}
	})
}

func TestSpansAreBounded(t *testing.T) {
	var p progress
	for n := uint64(2); n < 4*maxSpans; n += 2 {
		p.settle(n, n+1)
	}
	if len(p.spans) != maxSpans || !p.valid() || p.covers(4*maxSpans-2, 4*maxSpans-1) {
		t.Errorf("%d spans", len(p.spans))
	}
}

func TestDamagedStateBeginsAnew(t *testing.T) {
	s := openTest(t, Options{})
	st := state(t, s, "camp")
	st.Settle(0, 1, 100)
	save(t, st)
	path := filepath.Join(s.dir, "state", "camp")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	resealed := func(old, new string) []byte {
		line, _, _ := bytes.Cut(good, []byte("\n"))
		line = append(bytes.Replace(line, []byte(old), []byte(new), 1), '\n')
		if bytes.Contains(good, line) {
			t.Fatalf("%q is not in the state", old)
		}
		return append(line, fmt.Sprintf("crc32c %08x\n", crcOf(line))...)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-1], "longer": append(slices.Clone(good), '\n'),
		"flipped":       append([]byte{good[0] ^ 1}, good[1:]...),
		"another's":     resealed("camp", "cams"),
		"unknown":       resealed(`"v":1`, `"v":1,"x":2`),
		"twice":         resealed(`"v":1`, `"v":1,"v":1`),
		"no version":    resealed(`"v":1`, `"v":0`),
		"bad slot":      resealed(`"slot":0`, `"slot":1000`),
		"negative slot": resealed(`"slot":0`, `"slot":-1`),
		"far mark":      resealed(`"mark":99`, `"mark":4611686018427387904`),
		"bad span":      resealed(`"mark":99`, `"mark":99,"spans":[[100,101]]`),
	} {
		if err := private.WriteFile(path, b); err != nil {
			t.Fatal(err)
		}
		if s.floor(0) != 1 {
			t.Errorf("%s: a damaged state claims numbers", name)
		}
		if got := state(t, s, "camp"); got.Watermark(0) != 0 {
			t.Errorf("%s: watermark %d", name, got.Watermark(0))
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s was not moved aside: %v", name, err)
		}
	}
	if err := private.WriteFile(path, resealed(`"v":1`, `"v":2`)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.State("camp"); fault.CodeOf(err) != fault.HomeTooNew {
		t.Errorf("a later version: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("a later version was moved: %v", err)
	}
}

func TestInflight(t *testing.T) {
	s := openTest(t, Options{})
	if b, err := s.LoadInflight("camp"); b != nil || err != nil {
		t.Fatal(b, err)
	}
	if err := s.ClearInflight("camp"); err != nil {
		t.Fatal(err)
	}
	data := append(bytes.Repeat([]byte{0, '\n', 0xff}, 10_000), "\ncrc32c 00000000\n"...)
	in := []Range{{1, 7, 9}, {0, 5, 6}, {0, 6, 8}, {0, 1, 3}}
	if err := s.SaveInflight("camp", &Inflight{Entries: in, Data: data}); err != nil {
		t.Fatal(err)
	}
	b, err := s.LoadInflight("camp")
	if err != nil || !bytes.Equal(b.Data, data) || !slices.Equal(b.Entries, []Range{{0, 1, 3}, {0, 5, 8}, {1, 7, 9}}) {
		t.Fatalf("%+v, %v", b.Entries, err)
	}
	if s.floor(0) != 8 || s.floor(1) != 9 || s.floor(2) != 1 {
		t.Error("numbers in flight are free")
	}
	// A head that is longer than the first read of it.
	var many []Range
	for n := range uint64(5000) {
		many = append(many, Range{3, 2*n + 1, 2*n + 2})
	}
	if err := s.SaveInflight("camp", &Inflight{Entries: many, Data: data}); err != nil {
		t.Fatal(err)
	}
	if got := s.floor(3); got != 10_000 {
		t.Errorf("floor %d", got)
	}
	path := s.inflightPath("camp")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{good[:len(good)-1], append(slices.Clone(good), 0), good[:100], nil} {
		if err := private.WriteFile(path, bad); err != nil {
			t.Fatal(err)
		}
		if b, err := s.LoadInflight("camp"); b != nil || err != nil {
			t.Errorf("a damaged batch: %v, %v", b, err)
		}
	}
	if err := s.SaveInflight("camp", &Inflight{Entries: []Range{{0, 3, 3}}}); err == nil {
		t.Error("an empty range is stored")
	}
	if err := s.SaveInflight("camp", &Inflight{Data: make([]byte, MaxInflight+1)}); err == nil {
		t.Error("too much is stored")
	}
	if err := s.SaveInflight("camp", &Inflight{}); err != nil {
		t.Error(err)
	}
	if err := s.ClearInflight("camp"); err != nil {
		t.Error(err)
	}
	if b, err := s.LoadInflight("camp"); b != nil || err != nil {
		t.Error(b, err)
	}
}

func TestValidName(t *testing.T) {
	for _, name := range []string{"camp", "0", "a-b_c", strings.Repeat("x", 64), "com", "com10", "console"} {
		if err := ValidName(name); err != nil {
			t.Error(err)
		}
	}
	s := openTest(t, Options{})
	for _, name := range []string{
		"", ".", "..", "a/b", "../x", "a\\b", "A", "camp.inflight", ".hidden", "-x", "_x", "a b", "ä", "a\n", "a\x00",
		"con", "nul", "com1", "lpt9", strings.Repeat("x", 65),
	} {
		if err := ValidName(name); fault.CodeOf(err) != fault.ConfigInvalid {
			t.Errorf("%q: %v", name, err)
		}
		_, e1 := s.State(name)
		_, e2 := s.LoadInflight(name)
		_, e3 := s.ListDead(name)
		_, e4 := s.DropDead(name)
		_, e5 := s.ReplayDead(name)
		for i, err := range []error{
			e1, e2, e3, e4, e5, s.AppendDead(name, DeadLetter{ID: "x"}), s.SaveInflight(name, &Inflight{}),
			s.ClearInflight(name), s.Forget(name),
		} {
			if fault.CodeOf(err) != fault.ConfigInvalid {
				t.Errorf("%q, function %d: %v", name, i, err)
			}
		}
	}
	if _, err := os.Lstat(s.dir); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
}
