//go:build windows

package files

const syncsFolders = false
