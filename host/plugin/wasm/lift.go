package wasm

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
	"unsafe"
)

const (
	// maxAnswer bounds what the host copies for one answer, in bytes: four times
	// the largest batch, while a guest can make a list of overlapping texts that
	// stands for terabytes.
	maxAnswer = 16 << 20
	// arenaChunk is how much of an answer's memory is taken at once.
	arenaChunk = 64 << 10
)

// A lifter reads what a guest left in its memory. It checks everything, and
// after the first illegal thing only keeps that as err and gives zero values:
// a loop over a guest's list must look at err in each round.
type lifter struct {
	mem []byte // the whole linear memory; holds until the guest runs again
	// left is what may still be copied for this answer.
	left int
	err  error
	// chunk is what remains of the block that texts are copied to.
	chunk []byte
}

func newLifter(mem []byte) lifter { return lifter{mem: mem, left: maxAnswer} }

func (l *lifter) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

// span checks that n elements of a size lie in memory at ptr, aligned.
func (l *lifter) span(what string, ptr, n, size, align uint32) bool {
	if l.err != nil {
		return false
	}
	if ptr&(align-1) != 0 {
		l.fail("%s at %#x is not aligned to %d", what, ptr, align)
		return false
	}
	if uint64(ptr)+uint64(n)*uint64(size) > uint64(len(l.mem)) {
		l.fail("%s of %d × %d bytes at %#x is outside of memory (%d bytes)", what, n, size, ptr, len(l.mem))
		return false
	}
	return true
}

// record checks that a record lies in memory at ptr. Its fields may be read with u8, u32 and u64 then.
func (l *lifter) record(what string, ptr, size, align uint32) bool {
	return l.span(what, ptr, 1, size, align)
}

func (l *lifter) u8(at uint32) byte    { return l.mem[at] }
func (l *lifter) u32(at uint32) uint32 { return binary.LittleEndian.Uint32(l.mem[at:]) }
func (l *lifter) u64(at uint32) uint64 { return binary.LittleEndian.Uint64(l.mem[at:]) }

// variant reads the discriminant byte of a variant, enum, option or result of n cases.
func (l *lifter) variant(what string, at uint32, cases byte) byte {
	if l.err != nil {
		return 0
	}
	d := l.u8(at)
	if d >= cases {
		l.fail("%s has the discriminant %d of %d cases", what, d, cases)
		return 0
	}
	return d
}

// list checks a list whose pointer and count are at the given place, and
// takes cost bytes for each element, before a single one is read.
func (l *lifter) list(what string, at uint32, most int, size, align uint32, cost int) (base, n uint32) {
	if l.err != nil {
		return 0, 0
	}
	return l.listAt(what, l.u32(at), l.u32(at+4), most, size, align, cost)
}

func (l *lifter) listAt(what string, ptr, n uint32, most int, size, align uint32, cost int) (uint32, uint32) {
	if l.err != nil {
		return 0, 0
	}
	if uint64(n) > uint64(most) {
		l.fail("%s has %d elements, over the limit of %d", what, n, most)
		return 0, 0
	}
	if !l.span(what, ptr, n, size, align) || !l.take(what, int(n)*cost) {
		return 0, 0
	}
	return ptr, n
}

// take counts n bytes of host memory against the answer's bound.
func (l *lifter) take(what string, n int) bool {
	if l.err != nil {
		return false
	}
	if n > l.left {
		l.fail("%s makes the answer larger than %d bytes", what, maxAnswer)
		return false
	}
	l.left -= n
	return true
}

// bytesAt copies n bytes.
func (l *lifter) bytesAt(what string, ptr, n uint32) []byte {
	if !l.span(what, ptr, n, 1, 1) || !l.take(what, int(n)) {
		return nil
	}
	return l.keep(l.mem[ptr : uint64(ptr)+uint64(n)])
}

// textAt copies n bytes, which must be UTF-8.
func (l *lifter) textAt(what string, ptr, n uint32) []byte {
	view := l.textView(what, ptr, n)
	if !l.take(what, len(view)) {
		return nil
	}
	return l.keep(view)
}

// text copies the string whose pointer and count are at the given place.
func (l *lifter) text(what string, at uint32) []byte {
	if l.err != nil {
		return nil
	}
	return l.textAt(what, l.u32(at), l.u32(at+4))
}

func (l *lifter) str(what string, at uint32) string { return frozen(l.text(what, at)) }

func (l *lifter) strAt(what string, ptr, n uint32) string { return frozen(l.textAt(what, ptr, n)) }

// optStr reads an option<string>: the discriminant is at the given place, the string 4 bytes on.
func (l *lifter) optStr(what string, at uint32) string {
	if l.variant(what, at, 2) == 0 {
		return ""
	}
	return l.str(what, at+4)
}

// keep copies view to memory of the host. Small pieces share blocks, so that a
// batch of a thousand short texts costs a handful of allocations.
func (l *lifter) keep(view []byte) []byte {
	n := len(view)
	if n == 0 {
		return []byte{}
	}
	if n > arenaChunk/4 {
		return append(make([]byte, 0, n), view...)
	}
	if n > len(l.chunk) {
		l.chunk = make([]byte, arenaChunk)
	}
	out := l.chunk[:n:n]
	l.chunk = l.chunk[n:]
	copy(out, view)
	return out
}

// frozen makes a string of bytes that keep handed out and nobody else holds:
// they are written once, so the string may share them.
func frozen(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// putF64 writes an f64. Canonical ABI: any NaN may be handed over as it is.
func putF64(b []byte, v float64) { binary.LittleEndian.PutUint64(b, math.Float64bits(v)) }

// textView checks a text without copying it.
func (l *lifter) textView(what string, ptr, n uint32) []byte {
	if !l.span(what, ptr, n, 1, 1) {
		return nil
	}
	view := l.mem[ptr : uint64(ptr)+uint64(n)]
	if !utf8.Valid(view) {
		l.fail("%s is not UTF-8", what)
		return nil
	}
	return view
}

// utf8Of replaces what is not UTF-8 in a text of the outside: a guest's
// language may take the validity of a string for granted.
func utf8Of(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
