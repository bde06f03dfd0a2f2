// A translator in Go without the SDK: the canonical ABI by hand.
package main

import (
	"strings"
	"unsafe"
)

type str struct{ ptr, len uint32 }

func strOf(s string) str {
	if s == "" {
		return str{}
	}
	keep = append(keep, []byte(s))
	b := keep[len(keep)-1]
	return str{uint32(uintptr(unsafe.Pointer(&b[0]))), uint32(len(b))}
}

type diagnostic struct {
	path, message str
	some          uint8
	hint          str
}

type result struct {
	err uint8
	// args and argv are the list of diagnostics when err is set: pointer and count lie where args does.
	args, argv, entrypoint, warnings str
}

// keep holds what the host or its answer points at until the next call.
var keep [][]byte

var (
	text   str
	answer result
	argv   [3]str
	diags  [2]diagnostic
)

//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	keep = append(keep, make([]byte, size))
	return uint32(uintptr(unsafe.Pointer(&keep[len(keep)-1][0])))
}

//go:wasmexport carl:plugin/translator@0.1.0#config-schema
func configSchema() unsafe.Pointer {
	text = strOf(`{"type":"object"}`)
	return unsafe.Pointer(&text)
}

//go:wasmexport carl:plugin/translator@0.1.0#args-schema
func argsSchema() unsafe.Pointer {
	text = strOf(`true`)
	return unsafe.Pointer(&text)
}

//go:wasmexport carl:plugin/translator@0.1.0#translate
func translate(ptr, n uint32) unsafe.Pointer {
	config := string(unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), n))
	switch {
	case strings.Contains(config, `"panic"`):
		panic("asked to")
	case strings.Contains(config, `"refuse"`):
		diags[0] = diagnostic{path: strOf("/refuse"), message: strOf("refused")}
		answer = result{err: 1, args: str{uint32(uintptr(unsafe.Pointer(&diags))), 1}}
		return unsafe.Pointer(&answer)
	}
	args := `{"config":` + config + `}`
	if strings.Contains(config, `"args"`) {
		args = "[]"
	}
	argv = [3]str{strOf("--config"), strOf(config), strOf("")}
	diags = [2]diagnostic{
		{path: strOf("/lr"), message: strOf("large"), some: 1, hint: strOf("try less")},
		{path: strOf(""), message: strOf("no hint")},
	}
	answer = result{
		args: strOf(args), argv: str{uint32(uintptr(unsafe.Pointer(&argv))), 3}, entrypoint: strOf("train.py"),
		warnings: str{uint32(uintptr(unsafe.Pointer(&diags))), 2},
	}
	return unsafe.Pointer(&answer)
}

//go:wasmexport cabi_post_carl:plugin/translator@0.1.0#translate
func translatePost(uint32) { keep = nil }

func main() {}
