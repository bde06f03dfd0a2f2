package files

import "carl.camp/carl/sdk/internal/abi"

//go:wasmimport carl:plugin/files@0.1.0 append
func importedAppend(pathPtr, pathLen, dataPtr, dataLen, result uint32)

// kept holds what the host reads and writes during the call, where the
// collector sees it.
var kept struct {
	path   string
	data   []byte
	result abi.AppendResult
}

func appendFile(path string, data []byte) string {
	kept.path, kept.data = path, data
	p, d := abi.ToStr(path), abi.ToList(data)
	importedAppend(p.Ptr, p.Len, d.Ptr, d.Len, abi.Addr(&kept.result))
	kept.path, kept.data = "", nil
	if kept.result.Err == 0 {
		return ""
	}
	if kept.result.Len == 0 {
		return "the host refused to append and gave no reason"
	}
	return abi.String(kept.result.Str)
}
