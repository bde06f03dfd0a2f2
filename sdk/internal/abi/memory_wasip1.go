package abi

import (
	"runtime"
	"unsafe"
)

const (
	// chunkSize is the least that the arena takes from Go at once, so that
	// many short strings cost one allocation.
	chunkSize = 64 << 10
	// keepSize is the largest chunk that a mapper's arena keeps for the next
	// call: more than a batch of usual steps needs, and little beside the
	// memory limit. What a rare giant batch took goes back to the collector.
	keepSize = 1 << 20
	// collectAfter is how much may be taken anew before the collector is
	// called. Left to its own pace it comes too late: it has one thread, in
	// which it runs only between calls, and by a clock that stands still.
	collectAfter = 4 << 20
)

// An arena holds what the host writes into this instance during one call. The
// collector does not see the host's pointers, so the chunks stay referenced
// from here until the call is over.
type arena struct {
	chunks [][]uint64
	free   []uint64
	// returned says that the call's function has answered.
	returned bool
	// taken counts the bytes that came from Go since the last collection.
	taken int
}

// memory is the one arena: an instance is one thread, and carries one call at a time.
var memory arena

// keep is set by a guest whose values never outlive the call they came with.
var keep bool

// ReuseMemory makes the arena keep its first chunk from call to call. Only a
// mapper may ask for it: strings that point into the arena change afterwards.
func ReuseMemory() { keep = true }

// realloc is the host's way to get memory. What it hands out is aligned to 8,
// the most that any record here asks for.
//
//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	if memory.returned {
		// The host left post-return out; the new call begins here.
		Release()
	}
	if size == 0 {
		return align
	}
	p := memory.alloc(size)
	if oldSize > 0 {
		copy(unsafe.Slice((*byte)(p), size), Bytes(Str{old, oldSize}))
	}
	return uint32(uintptr(p))
}

func (a *arena) alloc(size uint32) unsafe.Pointer {
	words := int((uint64(size) + 7) / 8)
	if words > len(a.free) {
		a.free = make([]uint64, max(words, chunkSize/8))
		a.chunks = append(a.chunks, a.free)
		a.taken += 8 * len(a.free)
	}
	p := unsafe.Pointer(&a.free[0])
	a.free = a.free[words:]
	return p
}

// Return marks that the call's function answers now: the next allocation, or
// post-return, ends the call.
func Return() { memory.returned = true }

// Took tells the arena that a call has allocated size bytes elsewhere.
func Took(size int) { memory.taken += size }

// Release ends a call: what the host wrote for it may go. It yields, because
// the collector of a Go program that is only ever called, and never waits,
// gets no other chance to run; and it collects when much is to be collected.
func Release() {
	memory.returned = false
	var kept []uint64
	if keep {
		for _, c := range memory.chunks {
			if len(c) > len(kept) && len(c) <= keepSize/8 {
				kept = c
			}
		}
	}
	clear(memory.chunks)
	memory.chunks, memory.free = memory.chunks[:0], kept
	if kept != nil {
		memory.chunks = append(memory.chunks, kept)
	}
	if memory.taken >= collectAfter {
		memory.taken = 0
		runtime.GC()
	}
	runtime.Gosched()
}

// at turns an address of linear memory into a pointer. In a wasm build the
// two are the same number; vet cannot know that.
func at(addr uint32) unsafe.Pointer {
	p := uintptr(addr)
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}

// Addr returns the address of what p points to, which must stay referenced.
func Addr[T any](p *T) uint32 { return uint32(uintptr(unsafe.Pointer(p))) }

// String returns the host's string where it lies.
func String(s Str) string {
	if s.Len == 0 {
		return ""
	}
	return unsafe.String((*byte)(at(s.Ptr)), s.Len)
}

// Option returns the host's string where it lies, "" when there is none.
func Option(o OptStr) string {
	if o.Some == 0 {
		return ""
	}
	return String(o.Str)
}

// Bytes returns the host's list<u8> where it lies.
func Bytes(s Str) []byte { return List[byte](s) }

// List returns the host's list where it lies.
func List[T any](s Str) []T {
	if s.Len == 0 {
		return nil
	}
	return unsafe.Slice((*T)(at(s.Ptr)), s.Len)
}

// ToStr describes a string to the host; s must stay referenced until the host has read it.
func ToStr(s string) Str {
	return Str{uint32(uintptr(unsafe.Pointer(unsafe.StringData(s)))), uint32(len(s))}
}

// ToOption is [ToStr] for option<string>: "" stands for none.
func ToOption(s string) OptStr {
	if s == "" {
		return OptStr{}
	}
	return OptStr{Some: 1, Str: ToStr(s)}
}

// ToList describes a list to the host; l must stay referenced until the host has read it.
func ToList[T any](l []T) Str {
	return Str{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(l)))), uint32(len(l))}
}
