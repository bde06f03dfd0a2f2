// Command slime is carl's bundled translator for slime, a framework that
// trains language models by reinforcement learning: it makes slime's
// arguments of a config that a person can read.
package main

import (
	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/translator"
)

func init() { translator.Register(slime{}) }

func main() { sdk.Main() }

// slime is the translator.
type slime struct{}

func (slime) ConfigSchema() string { return configSchema() }

func (slime) ArgsSchema() string { return argsSchema() }

func (slime) Translate(config string) (translator.Translation, []translator.Diagnostic) {
	return translate(config)
}
