package wasm

import "encoding/binary"

// sectionMemory is the number of the memory section in the binary format.
const sectionMemory = 5

// withMaximum gives a metered module another maximum for its memory. The
// meter lowers it to the plugin's limit, and wazero then refuses to grow
// without a word to anybody; raised again, it leaves the refusal to
// [linearMemory], which remembers that a guest was denied. A module that is
// not of the form that the meter writes is returned as it is: it only tells
// less when it runs out of memory.
func withMaximum(module []byte, pages uint32) []byte {
	for at := 8; at < len(module); {
		id := module[at]
		size, n := binary.Uvarint(module[at+1:])
		begin := at + 1 + n
		if n <= 0 || size > uint64(len(module)-begin) {
			return module
		}
		end := begin + int(size)
		if id != sectionMemory {
			at = end
			continue
		}
		content := module[begin:end]
		if len(content) < 3 || content[0] != 1 || content[1] != 1 { // one memory, with a maximum
			return module
		}
		_, n = binary.Uvarint(content[2:])
		if n <= 0 {
			return module
		}
		changed := binary.AppendUvarint(content[:2+n:2+n], uint64(pages))
		out := make([]byte, 0, len(module)+binary.MaxVarintLen32)
		out = append(out, module[:at+1]...)
		out = binary.AppendUvarint(out, uint64(len(changed)))
		out = append(out, changed...)
		return append(out, module[end:]...)
	}
	return module
}
