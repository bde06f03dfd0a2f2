//go:build !unix

package plugin

// nonBlock is for FIFOs, which are files on unix only.
const nonBlock = 0
