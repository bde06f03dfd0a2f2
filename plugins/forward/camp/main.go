// Command camp is carl's bundled forwarder to the platform: it posts signals
// as CloudEvents batches and the ledger block by block, and believes no answer
// that does not account for what was sent.
package main

import (
	"time"

	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
)

func init() { forwarder.Register(&platform{send: http.Send, now: time.Now}) }

func main() { sdk.Main() }
