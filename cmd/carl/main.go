// Command carl records what programs and agents do, maps it to AXON signals
// through sandboxed plugins, and delivers them with consent.
package main

import "os"

func main() {
	os.Exit(int(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
}
