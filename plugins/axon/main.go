// Command axon is carl's bundled mapper: it makes AXON signals of the Steps
// that the platform knows.
package main

import (
	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/mapper"
)

func init() { mapper.Register(mapSteps) }

func main() { sdk.Main() }
