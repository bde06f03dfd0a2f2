package meter

// immediate says what follows an opcode.
type immediate byte

const (
	immNone       immediate = iota
	immIllegal              // not an instruction of core 2.0
	immBlock                // block type
	immLabel                // relative depth
	immLabels               // br_table
	immFunc                 // function index
	immIndirect             // type index, table index
	immLocal                // local index
	immGlobal               // global index
	immTable                // table index
	immMemory               // alignment, offset
	immPage                 // a zero byte: the memory
	immI32                  // signed 32-bit number
	immI64                  // signed 64-bit number
	immF32                  // 4 bytes
	immF64                  // 8 bytes
	immTypes                // one value type
	immHeap                 // one reference type
	immDataPage             // data segment, zero byte
	immData                 // data segment
	immPages                // two zero bytes
	immElemTable            // element segment, table index
	immElem                 // element segment
	immTables               // two table indexes
	immLane                 // 1 byte
	immMemoryLane           // alignment, offset, 1 byte
	imm16                   // 16 bytes
)

// code is an opcode: one byte, or a prefix in the high byte and the number after it.
type code uint16

const (
	opUnreachable  code = 0x00
	opNop          code = 0x01
	opBlock        code = 0x02
	opLoop         code = 0x03
	opIf           code = 0x04
	opElse         code = 0x05
	opEnd          code = 0x0b
	opBr           code = 0x0c
	opBrIf         code = 0x0d
	opBrTable      code = 0x0e
	opReturn       code = 0x0f
	opCall         code = 0x10
	opCallIndirect code = 0x11
	opLocalGet     code = 0x20
	opLocalSet     code = 0x21
	opLocalTee     code = 0x22
	opGlobalGet    code = 0x23
	opGlobalSet    code = 0x24
	opMemoryGrow   code = 0x40
	opI32Const     code = 0x41
	opI64Const     code = 0x42
	opRefFunc      code = 0xd2

	prefixMisc   = 0xfc
	prefixVector = 0xfd

	opMemoryInit code = prefixMisc<<8 | 8
	opMemoryCopy code = prefixMisc<<8 | 10
	opMemoryFill code = prefixMisc<<8 | 11
	opTableInit  code = prefixMisc<<8 | 12
	opTableCopy  code = prefixMisc<<8 | 14
	opTableGrow  code = prefixMisc<<8 | 15
	opTableFill  code = prefixMisc<<8 | 17
)

// shape is what the rewriter must know of an instruction: what follows the
// opcode, and how many operands it takes and gives. Where the number of
// operands depends on a signature, pops and pushes are 0.
type shape struct {
	imm          immediate
	pops, pushes uint8
}

// The shapes by opcode: https://www.w3.org/TR/wasm-core-2/#binary-instr
var (
	plain  = plainShapes()
	misc   = miscShapes()
	vector = vectorShapes()
)

func fill(table []shape, from, to int, imm immediate, pops, pushes uint8) {
	for i := from; i <= to; i++ {
		table[i] = shape{imm, pops, pushes}
	}
}

func plainShapes() (t [256]shape) {
	fill(t[:], 0, 255, immIllegal, 0, 0)
	fill(t[:], 0x00, 0x01, immNone, 0, 0)     // unreachable, nop
	fill(t[:], 0x02, 0x03, immBlock, 0, 0)    // block, loop
	fill(t[:], 0x04, 0x04, immBlock, 1, 0)    // if
	fill(t[:], 0x05, 0x05, immNone, 0, 0)     // else
	fill(t[:], 0x0b, 0x0b, immNone, 0, 0)     // end
	fill(t[:], 0x0c, 0x0c, immLabel, 0, 0)    // br
	fill(t[:], 0x0d, 0x0d, immLabel, 1, 0)    // br_if
	fill(t[:], 0x0e, 0x0e, immLabels, 1, 0)   // br_table
	fill(t[:], 0x0f, 0x0f, immNone, 0, 0)     // return
	fill(t[:], 0x10, 0x10, immFunc, 0, 0)     // call
	fill(t[:], 0x11, 0x11, immIndirect, 1, 0) // call_indirect
	fill(t[:], 0x1a, 0x1a, immNone, 1, 0)     // drop
	fill(t[:], 0x1b, 0x1b, immNone, 3, 1)     // select
	fill(t[:], 0x1c, 0x1c, immTypes, 3, 1)    // select t
	fill(t[:], 0x20, 0x20, immLocal, 0, 1)    // local.get
	fill(t[:], 0x21, 0x21, immLocal, 1, 0)    // local.set
	fill(t[:], 0x22, 0x22, immLocal, 1, 1)    // local.tee
	fill(t[:], 0x23, 0x23, immGlobal, 0, 1)   // global.get
	fill(t[:], 0x24, 0x24, immGlobal, 1, 0)   // global.set
	fill(t[:], 0x25, 0x25, immTable, 1, 1)    // table.get
	fill(t[:], 0x26, 0x26, immTable, 2, 0)    // table.set
	fill(t[:], 0x28, 0x35, immMemory, 1, 1)   // loads
	fill(t[:], 0x36, 0x3e, immMemory, 2, 0)   // stores
	fill(t[:], 0x3f, 0x3f, immPage, 0, 1)     // memory.size
	fill(t[:], 0x40, 0x40, immPage, 1, 1)     // memory.grow
	fill(t[:], 0x41, 0x41, immI32, 0, 1)      // i32.const
	fill(t[:], 0x42, 0x42, immI64, 0, 1)      // i64.const
	fill(t[:], 0x43, 0x43, immF32, 0, 1)      // f32.const
	fill(t[:], 0x44, 0x44, immF64, 0, 1)      // f64.const
	fill(t[:], 0x45, 0x45, immNone, 1, 1)     // i32.eqz
	fill(t[:], 0x46, 0x4f, immNone, 2, 1)     // i32 comparisons
	fill(t[:], 0x50, 0x50, immNone, 1, 1)     // i64.eqz
	fill(t[:], 0x51, 0x66, immNone, 2, 1)     // i64, f32, f64 comparisons
	fill(t[:], 0x67, 0x69, immNone, 1, 1)     // i32 clz, ctz, popcnt
	fill(t[:], 0x6a, 0x78, immNone, 2, 1)     // i32 arithmetic
	fill(t[:], 0x79, 0x7b, immNone, 1, 1)     // i64 clz, ctz, popcnt
	fill(t[:], 0x7c, 0x8a, immNone, 2, 1)     // i64 arithmetic
	fill(t[:], 0x8b, 0x91, immNone, 1, 1)     // f32 abs … sqrt
	fill(t[:], 0x92, 0x98, immNone, 2, 1)     // f32 arithmetic
	fill(t[:], 0x99, 0x9f, immNone, 1, 1)     // f64 abs … sqrt
	fill(t[:], 0xa0, 0xa6, immNone, 2, 1)     // f64 arithmetic
	fill(t[:], 0xa7, 0xc4, immNone, 1, 1)     // conversions, sign extension
	fill(t[:], 0xd0, 0xd0, immHeap, 0, 1)     // ref.null
	fill(t[:], 0xd1, 0xd1, immNone, 1, 1)     // ref.is_null
	fill(t[:], 0xd2, 0xd2, immFunc, 0, 1)     // ref.func
	return t
}

func miscShapes() (t [18]shape) {
	fill(t[:], 0, 7, immNone, 1, 1)        // saturating conversions
	fill(t[:], 8, 8, immDataPage, 3, 0)    // memory.init
	fill(t[:], 9, 9, immData, 0, 0)        // data.drop
	fill(t[:], 10, 10, immPages, 3, 0)     // memory.copy
	fill(t[:], 11, 11, immPage, 3, 0)      // memory.fill
	fill(t[:], 12, 12, immElemTable, 3, 0) // table.init
	fill(t[:], 13, 13, immElem, 0, 0)      // elem.drop
	fill(t[:], 14, 14, immTables, 3, 0)    // table.copy
	fill(t[:], 15, 15, immTable, 2, 1)     // table.grow
	fill(t[:], 16, 16, immTable, 0, 1)     // table.size
	fill(t[:], 17, 17, immTable, 3, 0)     // table.fill
	return t
}

func vectorShapes() (t [256]shape) {
	fill(t[:], 0x00, 0xff, immNone, 2, 1)   // most take two and give one; the others follow
	fill(t[:], 0x00, 0x0a, immMemory, 1, 1) // loads
	fill(t[:], 0x0b, 0x0b, immMemory, 2, 0) // v128.store
	fill(t[:], 0x0c, 0x0c, imm16, 0, 1)     // v128.const
	fill(t[:], 0x0d, 0x0d, imm16, 2, 1)     // i8x16.shuffle
	fill(t[:], 0x0f, 0x14, immNone, 1, 1)   // splats
	for _, lane := range []struct{ extract, last int }{{0x15, 0x16}, {0x18, 0x19}, {0x1b, 0x1b}, {0x1d, 0x1d}, {0x1f, 0x1f}, {0x21, 0x21}} {
		fill(t[:], lane.extract, lane.last, immLane, 1, 1)  // extract_lane
		fill(t[:], lane.last+1, lane.last+1, immLane, 2, 1) // replace_lane
	}
	fill(t[:], 0x4d, 0x4d, immNone, 1, 1)       // v128.not
	fill(t[:], 0x52, 0x52, immNone, 3, 1)       // v128.bitselect
	fill(t[:], 0x53, 0x53, immNone, 1, 1)       // v128.any_true
	fill(t[:], 0x54, 0x57, immMemoryLane, 2, 1) // load_lane
	fill(t[:], 0x58, 0x5b, immMemoryLane, 2, 0) // store_lane
	fill(t[:], 0x5c, 0x5d, immMemory, 1, 1)     // load_zero
	fill(t[:], 0x5e, 0x64, immNone, 1, 1)       // demote, promote, i8x16 abs … bitmask
	fill(t[:], 0x67, 0x6a, immNone, 1, 1)       // f32x4 ceil … nearest
	fill(t[:], 0x74, 0x75, immNone, 1, 1)       // f64x2 ceil, floor
	fill(t[:], 0x7a, 0x7a, immNone, 1, 1)       // f64x2.trunc
	fill(t[:], 0x7c, 0x81, immNone, 1, 1)       // extadd_pairwise, i16x8 abs, neg
	fill(t[:], 0x83, 0x84, immNone, 1, 1)       // i16x8 all_true, bitmask
	fill(t[:], 0x87, 0x8a, immNone, 1, 1)       // i16x8 extend
	fill(t[:], 0x94, 0x94, immNone, 1, 1)       // f64x2.nearest
	fill(t[:], 0xa0, 0xaa, immNone, 1, 1)       // i32x4 abs … extend
	fill(t[:], 0xc0, 0xca, immNone, 1, 1)       // i64x2 abs … extend
	fill(t[:], 0xe0, 0xe3, immNone, 1, 1)       // f32x4 abs, neg, sqrt
	fill(t[:], 0xec, 0xef, immNone, 1, 1)       // f64x2 abs, neg, sqrt
	fill(t[:], 0xf8, 0xff, immNone, 1, 1)       // conversions
	// The holes of the encoding.
	for _, hole := range []int{0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb,
		0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3, 0xd4, 0xe2, 0xee} {
		t[hole] = shape{imm: immIllegal}
	}
	return t
}

// free tells whether an instruction costs nothing: it leaves no machine code,
// or none that could repeat without another instruction.
func (c code) free() bool {
	return c >= opNop && c <= opLoop || c == opElse || c == opEnd
}

// instr is one instruction of a body.
type instr struct {
	op  code
	at  uint32 // offset in the body of its first byte
	end uint32 // offset of the byte after its last
	// arg is the index or the depth that follows the opcode, the type index of
	// call_indirect, or the block type: see [cursor.blockType].
	arg uint32
}

// instr reads one instruction. It refuses what is not core 2.0.
func (c *cursor) instr() (in instr, s shape) {
	in.at = uint32(c.pos)
	b := c.byte()
	in.op, s = code(b), plain[b]
	switch b {
	case prefixMisc:
		n := c.u32()
		if n >= uint32(len(misc)) {
			c.fail("unknown instruction 0xfc %d", n)
			return in, s
		}
		in.op, s = prefixMisc<<8|code(n), misc[n]
	case prefixVector:
		n := c.u32()
		// One encoding each: wazero reads the low byte alone.
		if n >= uint32(len(vector)) || vector[n].imm == immIllegal || c.pos != int(in.at)+2+int(n>>7) {
			c.fail("unknown instruction 0xfd %d", n)
			return in, s
		}
		in.op, s = prefixVector<<8|code(n), vector[n]
	}
	switch s.imm {
	case immNone:
	case immBlock:
		in.arg = c.blockType()
	case immLabel, immFunc, immLocal, immGlobal, immTable, immData, immElem:
		in.arg = c.u32()
	case immLabels:
		in.arg = uint32(c.count(maxLabels, 1, "targets of one br_table"))
		for range in.arg + 1 {
			c.u32()
		}
	case immIndirect, immElemTable, immTables:
		in.arg = c.u32()
		c.u32()
	case immMemory:
		c.memarg()
	case immPage:
		c.zero()
	case immPages:
		c.zero()
		c.zero()
	case immDataPage:
		in.arg = c.u32()
		c.zero()
	case immI32:
		c.signed(32)
	case immI64:
		c.signed(64)
	case immF32:
		c.take(4)
	case immF64:
		c.take(8)
	case immTypes:
		if c.byte() != 1 {
			c.fail("select with other than one type")
		}
		c.valueType()
	case immHeap:
		if t := c.byte(); t != typeFuncref && t != typeExternref {
			c.fail("0x%x is not a reference type", t)
		}
	case immLane:
		c.byte()
	case immMemoryLane:
		c.memarg()
		c.byte()
	case imm16:
		c.take(16)
	default:
		c.pos = int(in.at)
		c.fail("unknown instruction 0x%02x", b)
	}
	in.end = uint32(c.pos)
	return in, s
}

func (c *cursor) zero() {
	if c.byte() != 0 {
		c.fail("more than one memory")
	}
}

func (c *cursor) memarg() {
	if align := c.u32(); align >= 32 {
		c.fail("an alignment of 2^%d", align)
	}
	c.u32()
}

// Value types: https://www.w3.org/TR/wasm-core-2/#binary-valtype
const (
	typeI32       = 0x7f
	typeI64       = 0x7e
	typeF32       = 0x7d
	typeF64       = 0x7c
	typeV128      = 0x7b
	typeFuncref   = 0x70
	typeExternref = 0x6f
)

func (c *cursor) valueType() byte {
	t := c.byte()
	if c.err == nil && (t < typeV128 || t > typeI32) && t != typeFuncref && t != typeExternref {
		c.fail("0x%x is not a value type", t)
	}
	return t
}

// Block types that are not a type index; a function type is its index.
const (
	blockEmpty uint32 = 1<<32 - 1 - iota
	blockValue        // one result, no parameters
)

func (c *cursor) blockType() uint32 {
	if c.pos < len(c.b) {
		switch b := c.b[c.pos]; {
		case b == 0x40:
			c.pos++
			return blockEmpty
		case b >= 0x40 && b < 0x80:
			c.valueType()
			return blockValue
		}
	}
	index := c.signed(33)
	if index < 0 || index >= maxTypes {
		c.fail("no such block type")
		return blockEmpty
	}
	return uint32(index)
}
