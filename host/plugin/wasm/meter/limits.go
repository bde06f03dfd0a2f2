package meter

// Bounds on a module, checked before anything of it is compiled. wazero checks
// few of them itself, and allocates by what a module declares.
const (
	maxModule    = 32 << 20  // bytes; the largest plugins in use, JavaScript engines, take 12 MiB
	maxFunctions = 100_000   // defined and imported; compile time and memory grow with them
	maxBody      = 7 << 20   // bytes of code in one function; wazero's passes are not all linear
	maxLocals    = 50_000    // of one function, parameters included; wazero allocates each one
	maxNesting   = 1_000     // blocks within blocks; wazero's work grows with the square
	maxTypes     = 50_000    // function signatures
	maxValues    = 1_000     // parameters, or results, of one signature
	maxImports   = 10_000    // of all kinds
	maxExports   = 100_000   // of all kinds; a module may export every function
	maxGlobals   = 100_000   // defined and imported
	maxTables    = 100       // defined and imported
	maxTableSize = 1_000_000 // elements of all tables at their start
	maxElements  = 100_000   // element segments
	maxData      = 100_000   // data segments
	maxName      = 100_000   // bytes of an import's, export's or custom section's name
	maxCustoms   = 1_000     // custom sections
	maxPages     = 65_536    // pages of 64 KiB: the whole 32-bit address space
	maxLabels    = 1_000_000 // targets of one br_table
)

// maxSegmentElements bounds the elements of all segments of a module together,
// since wazero keeps an expression of 32 bytes and more for each, and looks at
// each again for every instance: at the bound that takes 0.2 s.
const maxSegmentElements = 1_000_000
