package wasm

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"carl.camp/carl/host/world"
)

// page is a memory to lift from, with writers for what a guest would leave.
type page []byte

func (p page) u32(at int, values ...uint32) page {
	for i, v := range values {
		binary.LittleEndian.PutUint32(p[at+4*i:], v)
	}
	return p
}

func (p page) text(at int, s string) page {
	copy(p[at:], s)
	return p
}

func newPage() page { return make(page, 4096) }

// legal are memories whose results, at 64, are what the contract allows.
func legal() map[string]page {
	return map[string]page{
		"signals": newPage().u32(64, 0, 256, 2).
			u32(256, 0, 512, 6, 0, 0, 0, 520, 2).
			u32(288, 1, 512, 6, 1, 528, 3, 520, 2).
			text(512, "a.type").text(520, "{}").text(528, "sub"),
		"error":    newPage().u32(64, 1, 512, 5).text(512, "wrong"),
		"opened":   newPage(),
		"failure":  newPage().u32(64, 1, 0, 2, 512, 4, 0, 1, 0, 1500, 0).text(512, "wait"),
		"outcomes": newPage().u32(64, 0, 0, 256, 2).u32(256, 0, 1, 512, 3, 2, 512, 3, 0).text(512, "abc"),
		"schema":   newPage().u32(64, 512, 2).text(512, "{}"),
		"translation": newPage().u32(64, 0, 512, 2, 256, 1, 520, 3, 300, 1).
			u32(256, 520, 3).u32(300, 520, 3, 520, 3, 1, 520, 3).text(512, "{}").text(520, "arg"),
		"refusal": newPage().u32(64, 1, 300, 1).u32(300, 520, 0, 520, 3, 0, 0, 0).text(520, "why"),
		"request": newPage().u32(256, 512, 1, 513, 1).text(512, "ab"),
	}
}

// liftAll reads one memory as every kind of answer there is, and holds what
// comes out against what the host may rely on. It returns how many were legal.
func liftAll(t *testing.T, mem []byte, ret uint32, n int) (fine int) {
	kept := func(l *lifter, parts ...[]byte) {
		t.Helper()
		if l.err != nil {
			return
		}
		fine++
		total := 0
		for _, p := range parts {
			total += len(p)
			if !utf8.Valid(p) {
				t.Errorf("%q came out, which is not UTF-8", p)
			}
			if len(p) > 0 && len(mem) > 0 && &p[0] == &mem[0] {
				t.Error("what came out is still the guest's memory")
			}
		}
		if total > maxAnswer || l.left < 0 {
			t.Errorf("%d bytes came out", total)
		}
	}
	text := func(s string) []byte { return []byte(s) }

	l := newLifter(mem)
	signals, message, ok := liftSignals(&l, ret, n)
	parts := [][]byte{text(message)}
	for _, s := range signals {
		if int(s.Step) >= n {
			t.Errorf("a signal of step %d of %d", s.Step, n)
		}
		parts = append(parts, text(s.Type), text(s.Subject), s.Data)
	}
	if !ok && signals != nil {
		t.Error("signals beside an error")
	}
	kept(&l, parts...)

	l = newLifter(mem)
	if f := liftOpened(&l, ret); f != nil && l.err == nil {
		if f.Kind > world.RejectedBatch {
			t.Errorf("a failure of kind %d", f.Kind)
		}
		kept(&l, text(f.Message))
	}

	l = newLifter(mem)
	outcomes, failure := liftOutcomes(&l, ret, n)
	if l.err == nil && failure == nil && len(outcomes) != n {
		t.Errorf("%d outcomes for %d events", len(outcomes), n)
	}
	parts = nil
	for _, o := range outcomes {
		if o.Kind > world.Conflict || (o.Kind == world.Duplicate && o.Text != "") || len(o.Text) > maxMessage+8 {
			t.Errorf("the outcome %v", o)
		}
		parts = append(parts, text(o.Text))
	}
	kept(&l, parts...)

	l = newLifter(mem)
	kept(&l, liftSchema(&l, ret, "schema"))

	l = newLifter(mem)
	made, refused := liftTranslation(&l, ret)
	if l.err == nil && (made.Args == nil) != (len(refused) > 0) {
		t.Errorf("%v beside %v", made, refused)
	}
	parts = [][]byte{made.Args, text(made.Entrypoint)}
	for _, a := range made.Argv {
		parts = append(parts, text(a))
	}
	for _, d := range append(made.Warnings, refused...) {
		parts = append(parts, text(d.Path), text(d.Message), text(d.Hint))
	}
	kept(&l, parts...)

	l = newLifter(mem)
	var stack [11]uint64
	for i := range stack {
		if at := int(ret%4096) + 4*i; at+4 <= len(mem) {
			stack[i] = uint64(binary.LittleEndian.Uint32(mem[at:]))
		}
	}
	req, tooLarge := liftRequest(&l, stack[:])
	parts = [][]byte{text(req.Method), text(req.URL)}
	for _, h := range req.Headers {
		parts = append(parts, text(h.Name), text(h.Value))
	}
	if tooLarge && req.Body != nil {
		t.Error("a body that is too large was copied")
	}
	kept(&l, parts...)
	return fine
}

// TestLiftLegal sees to it that what the fuzzer starts from is legal, so that
// it begins where there is something to break.
func TestLiftLegal(t *testing.T) {
	for name, mem := range legal() {
		before := bytes.Clone(mem)
		if fine := liftAll(t, mem, 64, 2); fine == 0 {
			t.Errorf("%s is legal in no way", name)
		}
		if !bytes.Equal(before, mem) {
			t.Errorf("%s: lifting wrote to memory", name)
		}
	}
	mem := legal()["signals"]
	l := newLifter(mem)
	signals, _, _ := liftSignals(&l, 64, 2)
	if l.err != nil || len(signals) != 2 || signals[1].Type != "a.type" || signals[1].Subject != "sub" || string(signals[1].Data) != "{}" {
		t.Fatalf("got %v, %v", signals, l.err)
	}
	clear(mem)
	if signals[1].Type != "a.type" || string(signals[1].Data) != "{}" {
		t.Error("what was lifted changes with the guest's memory")
	}
	if s := append(signals[0].Data, "overwritten"...); signals[1].Type != "a.type" || len(s) == 0 {
		t.Error("appending to the data of one signal changes another")
	}
}

// TestLiftEveryByte puts every value that tends to break things at every word
// of each legal memory.
func TestLiftEveryByte(t *testing.T) {
	tried := 0
	for _, mem := range legal() {
		for at := 64; at < 640; at += 4 {
			for _, v := range []uint32{0, 1, 2, 3, 5, 63, 64, 4095, 4096, 4097, 1 << 16, 1 << 31, 1<<32 - 8, 1<<32 - 1} {
				m := bytes.Clone(mem)
				binary.LittleEndian.PutUint32(m[at:], v)
				liftAll(t, m, 64, 2)
				tried++
			}
		}
		for ret := uint32(4000); ret < 4200; ret++ {
			liftAll(t, mem, ret, 2)
		}
		for _, ret := range []uint32{1 << 31, 1<<32 - 40, 1<<32 - 1} {
			liftAll(t, mem, ret, 2)
		}
	}
	if tried == 0 {
		t.Fatal("nothing was tried")
	}
}

// TestLiftIsBounded points many texts at the same bytes.
func TestLiftIsBounded(t *testing.T) {
	mem := page(make([]byte, 1<<20))
	const n = 512
	mem.u32(64, 0, 4096, n)
	for i := range n {
		mem.u32(4096+32*i, 0, 65536, 500_000, 0, 0, 0, 65536, 500_000)
	}
	l := newLifter(mem)
	allocs := testing.AllocsPerRun(1, func() {
		l = newLifter(mem)
		liftSignals(&l, 64, n)
	})
	if l.err == nil || !strings.Contains(l.err.Error(), "larger than") {
		t.Errorf("got %v", l.err)
	}
	if allocs > 64 {
		t.Errorf("%.0f allocations", allocs)
	}
}

// FuzzLift reads any memory as every kind of answer.
func FuzzLift(f *testing.F) {
	seeds := legal()
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, mem := range seeds {
		f.Add([]byte(mem), uint32(64), byte(2))
	}
	f.Add([]byte{}, uint32(0), byte(0))
	f.Fuzz(func(t *testing.T, mem []byte, ret uint32, n byte) { liftAll(t, mem, ret, int(n)) })
}

// FuzzClean holds what is shown to people against what it promises.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "", "a\x1b[31mred", "é\xff", "new\nline", "\u202eright to left", strings.Repeat("long ✓", 100), "€"} {
		f.Add([]byte(s), 16)
	}
	f.Fuzz(func(t *testing.T, text []byte, most int) {
		most = max(4, min(most, 1000))
		s := clean(text, most)
		if !utf8.ValidString(s) || strings.ContainsAny(s, "\n\r\x00\x1b\x7f\u2028\u202e\u0085") {
			t.Errorf("%q is not clean", s)
		}
		// A broken byte becomes a mark of three.
		if len(s) > 3*most+len(" …") {
			t.Errorf("%d bytes of at most %d", len(s), most)
		}
		if again := cleanStr(s, 4*most); again != s {
			t.Errorf("cleaning %q again gives %q", s, again)
		}
	})
}
