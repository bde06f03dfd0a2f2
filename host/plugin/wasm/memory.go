package wasm

import "github.com/tetratelabs/wazero/experimental"

// linearMemory is the memory of one instance. The whole of what it may grow to
// is reserved at once, so that growing copies nothing and the memory never
// moves; pages that the guest has not touched cost nothing. It lies outside
// of Go's heap where the platform allows, and holds the plugin's limit itself
// rather than leaving that to wazero, so as to see when a guest was denied.
type linearMemory struct {
	limit  uint64 // bytes
	region []byte // the reservation, nil before the first use and after Free
	mapped bool   // region is not of Go's heap
	denied bool   // growth was refused since this was last cleared
}

func newLinearMemory(pages uint32) *linearMemory {
	return &linearMemory{limit: uint64(pages) << 16}
}

// Allocate implements experimental.MemoryAllocator: an instance has one memory.
func (m *linearMemory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements experimental.LinearMemory. It returns nil to refuse.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > m.limit {
		m.denied = true
		return nil
	}
	if m.region == nil {
		var err error
		if m.region, err = reserve(m.limit); err == nil {
			m.mapped = true
		} else {
			// wazero asks for the first pages without a way to be told no; the heap
			// serves, or the process is at its end anyway.
			m.region = make([]byte, m.limit)
		}
	}
	return m.region[:size:size]
}

// Free implements experimental.LinearMemory. A second call does nothing.
func (m *linearMemory) Free() {
	if m.mapped {
		release(m.region)
	}
	m.region, m.mapped = nil, false
}
