//go:build !linux

package home_test

import (
	"errors"

	"carl.camp/carl/host/home"
)

func onFullDisk(*home.Home) error { return errors.New("no such role on this system") }
