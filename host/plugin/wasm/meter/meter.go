package meter

// Version names the form of the rewriter's output. It is part of the name of
// a compilation cache: bump it with every change that gives other bytes.
const Version = "2"

// Names of what a rewritten module imports and exports beyond the guest's
// own. A guest that uses one of them itself is refused.
const (
	// ImportModule is the module of every import that the rewriter adds.
	ImportModule = "carl:meter"
	// ImportYield is called when the balance is below zero, with the balance.
	// What it returns is the new balance, and should be above zero. It ends the
	// call by panicking. Type: (i64) -> i64.
	ImportYield = "yield"
	// ImportStack is called when a call would exceed the bound of the native
	// stack. It must end the call by panicking; should it return, the guest
	// traps with unreachable. Type: () -> ().
	ImportStack = "stack"
	// ExportState is the mutable i64 global that holds the balance and what is
	// left of the stack; see [Balance] and [SetBalance].
	ExportState = "carl:meter/state"
	// reservedPrefix is what no name of a guest's import module or export may start with.
	reservedPrefix = "carl:meter"
)

// Config bounds what a rewritten module can use. The zero value asks for the defaults.
type Config struct {
	// MaxStack bounds the native stack of one instance in bytes, by a static
	// estimate of every function's frame; 0 means [DefaultMaxStack].
	MaxStack int
	// MaxMemoryPages lowers the maximum that the module declares for its memory,
	// in pages of 64 KiB; a module whose minimum is above it is refused.
	// 0 means the 65,536 of the format.
	MaxMemoryPages uint32
}

// Kind says what an import or export is.
type Kind byte

// The kinds, with the bytes that the binary format gives them.
const (
	KindFunc Kind = iota
	KindTable
	KindMemory
	KindGlobal
)

// String returns the keyword of the text format.
func (k Kind) String() string {
	return [...]string{"func", "table", "memory", "global"}[k&3]
}

// Import is one import of a module, in the order of the module.
type Import struct {
	Module, Name string
	Kind         Kind
	// Type is the signature in the text format's words: "(i32 i64) -> (i32)",
	// "funcref 1 16", "1 1024" (pages), "mut i64".
	Type string
}

// Export is one export of a module, in the order of the module.
type Export struct {
	Name string
	Kind Kind
	Type string // as in Import
}

// Custom is one custom section.
type Custom struct {
	Name string
	Size int // bytes of content, the name not counted
}

// Info is what can be said of a module without running it.
type Info struct {
	Size    int // bytes of the module
	Imports []Import
	Exports []Export
	// HasMemory tells whether the module defines or imports a memory. MemoryMin
	// and MemoryMax are its limits in pages of 64 KiB; MemoryMax is 65,536 where
	// the module declares none.
	HasMemory            bool
	MemoryMin, MemoryMax uint32
	// HasStart tells whether instantiating the module runs a function of it.
	HasStart  bool
	Functions int // defined, imports not counted
	CodeBytes int // of all function bodies
	Customs   []Custom
}

// Inspect checks a core module against every limit, down to the last
// instruction, and describes it. It does not check types: wazero does, when it
// compiles. Errors are *fault.Error with [fault.PluginBadModule]. It may be
// called from several goroutines.
func Inspect(module []byte) (*Info, error) {
	p, err := parse(module)
	if err != nil {
		return nil, err
	}
	if _, err := measure(p); err != nil {
		return nil, err
	}
	return p.info, nil
}

// Describe describes a module as [Inspect] does, without looking at the code
// of its functions: it is for a module that [Rewrite] is known to accept. Errors
// are *fault.Error with [fault.PluginBadModule]. It may be called from several goroutines.
func Describe(module []byte) (*Info, error) {
	p, err := parse(module)
	if err != nil {
		return nil, err
	}
	return p.info, nil
}

// Balance returns the fuel that a value of the global [ExportState] holds.
// Below zero it is a debt of less than 2^31.
func Balance(state uint64) int64 { return int64(int32(uint32(state))) }

// Stack returns the bytes of native stack that a value of the global
// [ExportState] leaves, by the meter's estimate: [Config].MaxStack between calls,
// and below zero where a call goes too deep.
func Stack(state uint64) int64 { return (int64(state) - Balance(state)) >> 32 }

// MaxBalance is the largest balance that [SetBalance] and the answer of the
// yield import may hold, so that no chain of charges between two comparisons
// leaves the 32 bits that hold it.
const MaxBalance = 1 << 30

// SetBalance returns state with its balance replaced by fuel, which is cut to
// at most [MaxBalance] and at least -MaxBalance.
func SetBalance(state uint64, fuel int64) uint64 {
	fuel = max(min(fuel, MaxBalance), -MaxBalance)
	return state - uint64(Balance(state)) + uint64(fuel)
}
