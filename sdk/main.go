// Package sdk is what a carl plugin in Go is built with. A plugin imports the
// package of its kind (mapper, forwarder or translator below this one),
// registers itself in init, and has this main:
//
//	func main() { sdk.Main() }
//
// It is built as WebAssembly by the standard toolchain:
//
//	GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false \
//		-buildmode=c-shared -ldflags="-s -w" -o plugin.wasm .
//
// What a plugin may use of its host is in the packages log, http and files;
// json reads and writes JSON without reflection. The folder's README writes a
// forwarder in ten minutes.
package sdk
