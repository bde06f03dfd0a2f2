package meter

import (
	"unicode/utf8"

	"carl.camp/carl/host/fault"
)

func refuse(format string, args ...any) error {
	return fault.New(fault.PluginBadModule, "the module "+format, args...)
}

// cursor reads the binary format. The first fault sticks: every later read
// gives zero, so that a parser may check err once for several reads. Loops
// over a count read by [cursor.count] are bounded by the bytes that are there.
type cursor struct {
	b    []byte
	pos  int
	base int    // offset of b in the module, for messages
	what string // what is being read, for messages
	err  error
}

func (c *cursor) fail(problem string, args ...any) {
	if c.err == nil {
		c.err = refuse("is malformed at byte %d, in "+c.what+": "+problem, append([]any{c.base + c.pos}, args...)...)
	}
}

func (c *cursor) left() int { return len(c.b) - c.pos }

func (c *cursor) done() bool { return c.err != nil || c.pos >= len(c.b) }

func (c *cursor) byte() byte {
	if c.err != nil {
		return 0
	}
	if c.pos >= len(c.b) {
		c.fail("it ends too early")
		return 0
	}
	v := c.b[c.pos]
	c.pos++
	return v
}

func (c *cursor) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > c.left() {
		c.fail("it ends too early")
		return nil
	}
	v := c.b[c.pos : c.pos+n : c.pos+n]
	c.pos += n
	return v
}

// u32 reads an unsigned LEB128 number of at most 32 bits and 5 bytes.
func (c *cursor) u32() uint32 {
	if c.err == nil && c.pos < len(c.b) && c.b[c.pos] < 0x80 {
		c.pos++
		return uint32(c.b[c.pos-1])
	}
	var v uint32
	for shift := 0; ; shift += 7 {
		b := c.byte()
		if c.err != nil {
			return 0
		}
		if shift == 28 && b > 0x0f {
			c.fail("a number is longer than 32 bits")
			return 0
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// signed reads a signed LEB128 number of at most bits bits, which is 32, 33 or 64.
func (c *cursor) signed(bits int) int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		b := c.byte()
		if c.err != nil {
			return 0
		}
		v |= int64(b&0x7f) << shift
		if room := bits - shift; room <= 7 {
			// The last byte: no continuation, and what exceeds the width repeats the sign.
			sign := int8(b<<1) >> 1 >> (room - 1)
			if b >= 0x80 || sign != 0 && sign != -1 {
				c.fail("a number is longer than %d bits", bits)
				return 0
			}
		}
		if b < 0x80 {
			if shift+7 < 64 && b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// count reads how many items follow, each of at least size bytes, at most limit.
func (c *cursor) count(limit, size int, items string) int {
	n := c.u32()
	if c.err != nil {
		return 0
	}
	if n > uint32(limit) {
		c.err = refuse("has %d %s; the limit is %d", n, items, limit)
		return 0
	}
	if int(n) > c.left()/size {
		c.fail("%d %s do not fit in %d bytes", n, items, c.left())
		return 0
	}
	return int(n)
}

func (c *cursor) name() string {
	n := c.count(maxName, 1, "bytes of a name")
	b := c.take(n)
	if !utf8.Valid(b) {
		c.fail("a name is not UTF-8")
		return ""
	}
	return string(b)
}
