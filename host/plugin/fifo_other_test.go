//go:build !unix

package plugin_test

import "errors"

func mkfifo(string) error { return errors.New("no FIFOs here") }
