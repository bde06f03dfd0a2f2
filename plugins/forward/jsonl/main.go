// Command jsonl is carl's bundled forwarder to a local file: one event a line.
//
// # What a reader finds
//
// Every line is the body of one event: a CloudEvent in the signals' file, a
// signed line in the ledger's. A batch is appended whole, and is on the disk
// before any event of it counts as delivered. When carl is killed between the
// append and its own note of it, the batch is appended again: the same lines,
// byte for byte, under the same ids. A reader who wants each event once keeps
// the first line of each id. The forwarder cannot do that for the reader: it
// may append to its file, and not read it.
package main

import (
	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/files"
	"carl.camp/carl/sdk/forwarder"
)

func init() { forwarder.Register(&lines{append: files.Append}) }

func main() { sdk.Main() }
