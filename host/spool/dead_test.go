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
	"github.com/go-json-experiment/json/jsontext"
)

func letterIDs(t testing.TB, s *Spool, dest string) []string {
	t.Helper()
	ls, err := s.ListDead(dest)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range ls {
		ids = append(ids, l.ID)
	}
	return ids
}

func addDead(t testing.TB, s *Spool, dest string, ls ...DeadLetter) {
	t.Helper()
	if err := s.AppendDead(dest, ls...); err != nil {
		t.Fatal(err)
	}
}

func TestDeadLetterRoundTrip(t *testing.T) {
	s := openTest(t, Options{})
	at := time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC)
	// Escapes and numbers that a careless encoder would rewrite.
	event := jsontext.Value(`{"id":"e","data":{"a":"\u003c\/ä","n":1.50e+02,"big":12345678901234567890}}`)
	in := DeadLetter{
		ID: "e", Topic: "signals", Code: "carl.sync.rejected", Reason: "it said\n\"no\"", Attempts: 2,
		First: at, Last: at.Add(time.Hour), Epoch: 4, Event: event,
	}
	addDead(t, s, "camp", in, DeadLetter{ID: "s", Step: jsontext.Value(`{"step_id":"s"}`), Reason: "\xff" + strings.Repeat("x", 5000)})
	got, err := s.ListDead("camp")
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if !bytes.Equal(got[0].Event, event) {
		t.Errorf("the event is %s", got[0].Event)
	}
	if fmt.Sprint(got[0]) != fmt.Sprint(in) {
		t.Errorf("got  %+v\nwant %+v", got[0], in)
	}
	if got[1].Event != nil || string(got[1].Step) != `{"step_id":"s"}` || !strings.HasPrefix(got[1].Reason, "\uFFFDxxx") || len(got[1].Reason) > maxReason+3 {
		t.Errorf("got %+v", got[1])
	}
	if names, err := s.DeadLetters(); err != nil || !slices.Equal(names, []string{"camp"}) {
		t.Errorf("%v, %v", names, err)
	}
	info, err := os.Stat(s.deadPath("camp"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, bad := range []DeadLetter{{}, {ID: strings.Repeat("x", 300)}, {ID: "x", Event: jsontext.Value("{")}} {
		if err := s.AppendDead("camp", bad); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestDeadLetterOfOneID(t *testing.T) {
	s := openTest(t, Options{})
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	addDead(t, s, "camp", DeadLetter{ID: "a", Attempts: 2, First: at, Last: at}, DeadLetter{ID: "b"})
	if n, err := s.ReplayDead("camp", "a", "none"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	ls, err := s.ListDead("camp")
	if err != nil || !ls[0].Replay || ls[1].Replay {
		t.Fatalf("%+v, %v", ls, err)
	}
	later := at.Add(time.Hour)
	addDead(t, s, "camp", DeadLetter{ID: "a", Attempts: 1, First: later, Last: later, Reason: "again"})
	ls, err = s.ListDead("camp")
	if err != nil || len(ls) != 2 || ls[0].ID != "a" || ls[0].Attempts != 3 || ls[0].First != at || ls[0].Last != later || ls[0].Reason != "again" || ls[0].Replay {
		t.Fatalf("%+v, %v", ls, err)
	}
	if n, err := s.DropDead("camp", "a", "x"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	equal(t, letterIDs(t, s, "camp"), []string{"b"})
	if n, err := s.ReplayDead("camp"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.DropDead("camp"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	equal(t, letterIDs(t, s, "camp"), nil)
}

func TestTornDeadLetter(t *testing.T) {
	line, err := DeadLetter{ID: "torn", Reason: "of a killed writer"}.line()
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut <= len(line); cut++ {
		s := openTest(t, Options{})
		addDead(t, s, "camp", DeadLetter{ID: "a"})
		f, err := os.OpenFile(s.deadPath("camp"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(line[:cut])
		f.Close()
		want := []string{"a", "b"}
		if cut >= len(line)-1 { // whole, with or without its line end
			want = []string{"a", "torn", "b"}
		}
		addDead(t, s, "camp", DeadLetter{ID: "b"})
		equal(t, letterIDs(t, s, "camp"), want)
		if got := quarantined(t, s); (len(got) == 1) != (len(want) == 2) {
			t.Fatalf("cut at %d: quarantine holds %v", cut, got)
		}
	}
}

func TestHandEditedDeadLetters(t *testing.T) {
	s := openTest(t, Options{})
	addDead(t, s, "camp", DeadLetter{ID: "a"}, DeadLetter{ID: "b"})
	b, err := os.ReadFile(s.deadPath("camp"))
	if err != nil {
		t.Fatal(err)
	}
	b = slices.Concat([]byte("# a note\n\n{}\n[1]\n{\"id\":\"a\",\"id\":\"c\"}\n"), b, []byte(`{"id":"d","extra":1}`))
	if err := os.WriteFile(s.deadPath("camp"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	equal(t, letterIDs(t, s, "camp"), []string{"a", "b", "d"})
	if n, err := s.DropDead("camp", "b"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	equal(t, letterIDs(t, s, "camp"), []string{"a", "d"})
	kept, err := filepath.Glob(filepath.Join(s.dir, "quarantine", "dlq-camp-*.bad"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("quarantine holds %v, %v", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || !strings.HasPrefix(string(b), "# a note\n") {
		t.Errorf("quarantine holds %q, %v", b, err)
	}
}

func TestDeadLettersAreBounded(t *testing.T) {
	s := openTest(t, Options{})
	payload := jsontext.Value(`"` + strings.Repeat("x", 1<<20) + `"`)
	var batch []DeadLetter
	for i := range 70 {
		batch = append(batch, DeadLetter{ID: fmt.Sprint(i), Event: payload})
	}
	addDead(t, s, "camp", batch[:40]...)
	addDead(t, s, "camp", batch[40:]...)
	info, err := os.Stat(s.deadPath("camp"))
	if err != nil || info.Size() > keptDeadFile {
		t.Fatalf("%v, %v", info.Size(), err)
	}
	ids := letterIDs(t, s, "camp")
	if len(ids) < 40 || ids[len(ids)-1] != "69" {
		t.Errorf("%d letters are left, the last %s", len(ids), ids[len(ids)-1])
	}
	ls, err := s.Losses()
	if err != nil || len(ls) != 1 || ls[0].Reason != LostLetters || ls[0].Total != uint64(70-len(ids)) {
		t.Errorf("losses %+v, %v", ls, err)
	}
}
