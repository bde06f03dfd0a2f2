package spool

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func sealLine(line []byte) []byte {
	line = append(bytes.Clone(line), '\n')
	return fmt.Appendf(line, "crc32c %08x\n", crcOf(line))
}

// FuzzSegment gives any bytes to a slot: it is read to its end, by a reader and
// the next owner, and what they and a record of today make of it is the same.
func FuzzSegment(f *testing.F) {
	good := appendFrame(appendFrame(nil, frame{seq: 1, payload: []byte("one")}), frame{seq: 2, epoch: 3, payload: []byte("two")})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append([]byte("junk"), good...))
	f.Add(bytes.Join([][]byte{good[:39], good[39:]}, make([]byte, 50)))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		s := memorySpool(t)
		put(t, s, s.segmentPath(0, 1), content)
		before := readAll(t, s, 0, 1)
		w := writer(t, s)
		appendAll(t, w, 9, "today")
		closeWriter(t, w)
		clear(s.cursors)
		after := readAll(t, s, 0, 1)
		if len(after) != len(before)+1 || string(after[len(before)].Payload) != "today" {
			t.Fatalf("%d records before, and then %d", len(before), len(after))
		}
		for i, e := range before {
			a := after[i]
			if a.Seq != e.Seq || !bytes.Equal(a.Payload, e.Payload) || a.Epoch != e.Epoch || !a.Time.Equal(e.Time) {
				t.Fatalf("record %d was %+v and is %+v", i, e, a)
			}
			// What is accepted is what the formatter writes.
			if !bytes.Contains(content, appendFrame(nil, frame{e.Seq, e.Time.UnixNano(), e.Epoch, e.Payload})) {
				t.Fatalf("record %d is not in the file", i)
			}
		}
	})
}

func FuzzState(f *testing.F) {
	good, err := seal(stateFile{V: 1, Destination: "camp", Slots: []slotState{{0, 41, []span{{43, 45}}}, {3, 1, nil}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("41"), []byte("99"), 1))
	f.Add([]byte("{\"v\":1}\ncrc32c 00000000\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, seal := range []bool{false, true} { // the checksum must not shield what is behind it
			if seal {
				line, _, _ := bytes.Cut(content, []byte("\n"))
				content = sealLine(line)
			}
			s := memorySpool(t)
			put(t, s, s.statePath("camp"), content)
			floor := s.floor(3)
			st, err := s.State("camp")
			if err != nil {
				continue // too new
			}
			for slot, p := range st.slots {
				if !p.valid() || slot < 0 || slot >= MaxSlots {
					t.Fatalf("slot %d: %+v", slot, p)
				}
			}
			if p := st.slots[3]; p != nil && floor < p.end() {
				t.Fatalf("floor %d, end %d", floor, p.end())
			}
			st.Settle(3, 1, 5)
			save(t, st)
			if got := state(t, s, "camp"); got.Watermark(3) != st.Watermark(3) || got.Watermark(0) != st.Watermark(0) {
				t.Fatal("a state that was read cannot be written")
			}
		}
	})
}

func FuzzInflight(f *testing.F) {
	head, err := seal(inflightFile{V: 1, Entries: [][3]uint64{{0, 1, 3}}, Length: 4, CRC: "8e25ac55"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(head, "data"...))
	f.Add(head)
	f.Add([]byte("{}\ncrc32c 00000000\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, seal := range []bool{false, true} {
			if seal {
				line, rest, _ := bytes.Cut(content, []byte("\n"))
				content = append(sealLine(line), rest...)
			}
			s := memorySpool(t)
			put(t, s, s.inflightPath("camp"), content)
			end := s.inflightEnd("camp", 0)
			b, err := s.LoadInflight("camp")
			if err != nil || b == nil {
				continue
			}
			for _, r := range b.Entries {
				if !r.valid() || r.Slot == 0 && r.To > end {
					t.Fatalf("%+v, end %d", r, end)
				}
			}
			if err := s.SaveInflight("camp", b); err != nil {
				t.Fatal(err)
			}
			again, err := s.LoadInflight("camp")
			if err != nil || again == nil || !bytes.Equal(again.Data, b.Data) {
				t.Fatalf("a batch that was read cannot be written: %v", err)
			}
		}
	})
}

func FuzzDeadLetters(f *testing.F) {
	line, err := DeadLetter{ID: "a", Reason: "no", Event: []byte(`{"a":[1,2.0]}`)}.line()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(append(bytes.Clone(line), line[:20]...))
	f.Add([]byte("{\"id\":\"x\",\"step\": { \"a\" : 1 } }\n\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := memorySpool(t)
		put(t, s, s.deadPath("camp"), content)
		before := letterIDs(t, s, "camp")
		addDead(t, s, "camp", DeadLetter{ID: "\u00ff today"})
		after := letterIDs(t, s, "camp")
		if len(after) != len(before)+1 && !bytes.Contains(content, []byte("today")) {
			t.Fatalf("%q and then %q", before, after)
		}
		if n, err := s.ReplayDead("camp"); err != nil || n != len(after) {
			t.Fatalf("%d marked of %d: %v", n, len(after), err)
		}
		equal(t, letterIDs(t, s, "camp"), after)
		if n, err := s.DropDead("camp"); err != nil || n != len(after) {
			t.Fatalf("%d dropped of %d: %v", n, len(after), err)
		}
	})
}

// memorySpool is a spool on a model of a file system, for the sake of speed.
func memorySpool(t *testing.T) *Spool {
	t.Helper()
	s, err := open(crashfs.New(func(int) int { return 0 }).Process(nil), "/home", Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Spool, path string, content []byte) {
	t.Helper()
	if err := private.MkdirAllOn(s.fs, filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	f, err := s.fs.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
}
