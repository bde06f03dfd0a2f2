package spool

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

const (
	// magic begins every frame. UTF-8 has no byte 0xF5, so text inside a
	// payload is never taken for a frame when a damaged span is searched.
	magic = "\xf5spl"

	headerSize = 36
	// minFrame is the shortest frame: a payload is at least one byte.
	minFrame = headerSize + 1
	maxFrame = headerSize + MaxPayload

	// maxSeq bounds sequence numbers far below overflow, so that n+1 and
	// ranges of numbers need no care.
	maxSeq = 1 << 62
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one parsed record. payload aliases what was parsed.
type frame struct {
	seq     uint64
	time    int64
	epoch   uint32
	payload []byte
}

func (f frame) size() int { return headerSize + len(f.payload) }

func appendFrame(dst []byte, f frame) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.payload)))
	dst = binary.LittleEndian.AppendUint32(dst, 0) // flags
	dst = binary.LittleEndian.AppendUint64(dst, f.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.time))
	dst = binary.LittleEndian.AppendUint32(dst, f.epoch)
	dst = append(dst, f.payload...)
	binary.LittleEndian.PutUint32(dst[at+4:], crc32.Checksum(dst[at+8:], castagnoli))
	return dst
}

// verdict is what parseFrame makes of the beginning of some bytes.
type verdict int

const (
	whole verdict = iota // a frame
	short                // could become a frame with more bytes
	bad                  // is no frame, whatever follows
)

// parseFrame reads the frame at the beginning of b.
func parseFrame(b []byte) (frame, verdict) {
	if len(b) < headerSize {
		if bytes.HasPrefix([]byte(magic), b[:min(len(b), len(magic))]) {
			return frame{}, short
		}
		return frame{}, bad
	}
	length := binary.LittleEndian.Uint32(b[8:])
	flags := binary.LittleEndian.Uint32(b[12:])
	if string(b[:4]) != magic || length == 0 || length > MaxPayload || flags != 0 {
		return frame{}, bad
	}
	end := headerSize + int(length)
	if len(b) < end {
		return frame{}, short
	}
	if crc32.Checksum(b[8:end], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return frame{}, bad
	}
	f := frame{
		seq:     binary.LittleEndian.Uint64(b[16:]),
		time:    int64(binary.LittleEndian.Uint64(b[24:])),
		epoch:   binary.LittleEndian.Uint32(b[32:]),
		payload: b[headerSize:end:end],
	}
	if f.seq == 0 || f.seq >= maxSeq {
		return frame{}, bad
	}
	return f, whole
}
