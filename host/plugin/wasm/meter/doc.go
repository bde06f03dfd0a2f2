// Package meter rewrites a core WebAssembly module so that it counts what it executes.
package meter
