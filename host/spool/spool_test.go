package spool

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func openTest(t testing.TB, o Options) *Spool {
	t.Helper()
	return reopen(t, t.TempDir()+"/home", o)
}

func reopen(t testing.TB, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writer(t testing.TB, s *Spool) *Writer {
	t.Helper()
	w, err := s.Writer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func appendAll(t testing.TB, w *Writer, epoch uint32, payloads ...string) {
	t.Helper()
	b := make([][]byte, len(payloads))
	for i, p := range payloads {
		b[i] = []byte(p)
	}
	if err := w.Append(epoch, b...); err != nil {
		t.Fatal(err)
	}
}

// readAll reads a slot to its end, in small bites, and checks the promises of Read.
func readAll(t testing.TB, s *Spool, slot int, from uint64) []Entry {
	t.Helper()
	var all []Entry
	at := max(from, 1)
	for {
		es, next, err := s.Read(slot, at, 7, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			if e.First != at || e.Seq < at || e.Slot != slot {
				t.Fatalf("entry %d begins at %d, want %d", e.Seq, e.First, at)
			}
			at = e.Seq + 1
		}
		all = append(all, es...)
		if next == at && len(es) == 0 {
			return all
		}
		if next < at {
			t.Fatalf("next is %d, behind %d", next, at)
		}
		at = next
	}
}

func payloads(es []Entry) []string {
	var out []string
	for _, e := range es {
		out = append(out, string(e.Payload))
	}
	return out
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Fatalf("got %.2000q\nwant %.2000q", got, want)
	}
}

func TestAppendRead(t *testing.T) {
	now := time.Date(2026, 11, 23, 1, 2, 3, 456789012, time.UTC)
	s := openTest(t, Options{Now: func() time.Time { return now }})
	if slots, err := s.Slots(); err != nil || slots != nil {
		t.Fatalf("a new spool has slots %v, %v", slots, err)
	}
	w := writer(t, s)
	appendAll(t, w, 7, "a", "bb")
	appendAll(t, w, 0, "ccc")
	es := readAll(t, s, 0, 0)
	equal(t, payloads(es), []string{"a", "bb", "ccc"})
	for i, e := range es {
		if e.Seq != uint64(i+1) || !e.Time.Equal(now) || e.Epoch != []uint32{7, 7, 0}[i] {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(0, []byte("x")); err == nil {
		t.Error("a closed writer appends")
	}
	w2 := writer(t, s)
	appendAll(t, w2, 0, "dddd")
	equal(t, payloads(readAll(t, s, 0, 3)), []string{"ccc", "dddd"})
	if end, err := s.End(0); err != nil || end != 5 {
		t.Errorf("End is %d, %v", end, err)
	}
}

func TestTrimKeepsNumbers(t *testing.T) {
	s := openTest(t, Options{})
	for i := range 5 {
		w := writer(t, s)
		appendAll(t, w, 0, fmt.Sprint(i))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		st, err := s.State("camp")
		if err != nil {
			t.Fatal(err)
		}
		es := readAll(t, s, 0, st.Watermark(0)+1)
		if len(es) != 1 || es[0].Seq != uint64(i+1) || !bytes.Equal(es[0].Payload, []byte(fmt.Sprint(i))) {
			t.Fatalf("round %d reads %v", i, es)
		}
		st.SettleEntry(es[0])
		if err := st.Save(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Trim("camp"); err != nil || got.Segments != 1 {
			t.Fatalf("trim: %+v, %v", got, err)
		}
	}
}
