package wasm

import (
	"encoding/binary"
	"math"

	"carl.camp/carl/host/fault"
)

var le = binary.LittleEndian

// alloc asks the guest for memory, as the Canonical ABI has it for every
// string and list, the empty ones too. The view holds until the guest runs again.
func (in *instance) alloc(size, align uint32) (ptr uint32, view []byte, err error) {
	s := in.stack[:4]
	s[0], s[1], s[2], s[3] = 0, 0, uint64(align), uint64(size)
	was := in.phase
	in.phase = allocating
	err = in.call(in.realloc, s)
	in.phase = was
	if err != nil {
		return 0, nil, err
	}
	ptr = uint32(s[0])
	if ptr&(align-1) != 0 {
		return 0, nil, in.badOutput("cabi_realloc gave %#x, which is not aligned to %d", ptr, align)
	}
	view, ok := in.mem.Read(ptr, size)
	if !ok {
		return 0, nil, in.badOutput("cabi_realloc gave %d bytes at %#x, outside of memory (%d bytes)", size, ptr, in.mem.Size())
	}
	return ptr, view, nil
}

// lowering writes one argument after another into a guest's memory, and after
// the first error does nothing more.
type lowering struct {
	in  *instance
	err error
}

// str writes a string and puts its pointer and length at dst.
func (w *lowering) str(dst []byte, s string) {
	if w.err != nil {
		return
	}
	ptr, view, err := w.in.alloc(uint32(len(s)), 1)
	if err != nil {
		w.err = err
		return
	}
	copy(view, s)
	le.PutUint32(dst, ptr)
	le.PutUint32(dst[4:], uint32(len(s)))
}

// bytes writes a list<u8> or a string of these bytes and puts its pointer and length at dst.
func (w *lowering) bytes(dst, b []byte) {
	if w.err != nil {
		return
	}
	ptr, view, err := w.in.alloc(uint32(len(b)), 1)
	if err != nil {
		w.err = err
		return
	}
	copy(view, b)
	le.PutUint32(dst, ptr)
	le.PutUint32(dst[4:], uint32(len(b)))
}

// optStr writes an option<string> at dst, none for "".
func (w *lowering) optStr(dst []byte, s string) {
	if s == "" {
		dst[0] = 0
		return
	}
	dst[0] = 1
	w.str(dst[4:], s)
}

// optBytes writes an option<string> at dst, none for nil.
func (w *lowering) optBytes(dst, b []byte) {
	if b == nil {
		dst[0] = 0
		return
	}
	dst[0] = 1
	w.bytes(dst[4:], b)
}

// optF64 writes an option<f64> at dst, none for nil.
func optF64(dst []byte, v *float64) {
	if v == nil {
		dst[0] = 0
		return
	}
	dst[0] = 1
	putF64(dst[8:], *v)
}

// list asks for n records of a size.
func (w *lowering) list(n int, size, align uint32) (ptr uint32) {
	if w.err != nil {
		return 0
	}
	total := uint64(n) * uint64(size)
	if total > math.MaxUint32 {
		w.err = w.in.fault(fault.PluginOutOfMemory, "was given a list of %d × %d bytes, more than any memory holds", n, size)
		return 0
	}
	ptr, _, w.err = w.in.alloc(uint32(total), align)
	return ptr
}

// put copies a record that was made in the host's memory to its place: the
// list's memory was checked when it was handed out, but what the guest's
// allocator did since is its own affair, so it is checked once more.
func (w *lowering) put(ptr uint32, record []byte) {
	if w.err == nil && !w.in.mem.Write(ptr, record) {
		w.err = w.in.badOutput("the memory of a list at %#x is gone", ptr)
	}
}
