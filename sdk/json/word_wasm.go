package json

import "unsafe"

// word loads the eight bytes at s[i:], which the caller knows to be there.
// WebAssembly loads from any address; the compiler does not know that and
// would load byte by byte.
func word(s string, i int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))
}
