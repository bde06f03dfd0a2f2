package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"carl.camp/carl/host/home"
	"carl.camp/carl/host/private"
)

// The rhythm of the background child.
const (
	// backgroundEvery is how often a child is started at most.
	backgroundEvery = time.Minute
	// backgroundSettle is how long a child waits before it ships, so that
	// commands which follow one another share one delivery, and one that ships
	// in the foreground finds the lock free.
	backgroundSettle = 3 * time.Second
	// backgroundDeadline ends a child whose destinations are slow; the next one goes on.
	backgroundDeadline = 5 * time.Minute
)

// backgroundVariable marks the child, which never starts another. The value
// "off" keeps every command from starting one.
const backgroundVariable = "CARL_BACKGROUND"

// backgroundStamp and backgroundLock lie in the cache: losing them costs one
// child too many.
func backgroundStamp(h *home.Home) string { return filepath.Join(h.Paths.Cache, "background.stamp") }
func backgroundLock(h *home.Home) string  { return filepath.Join(h.Paths.Cache, "background.lock") }

// spawnBackgroundSync starts a detached child that ships what the command left
// behind, and refreshes the entitlements if a gate asked for it. The command is done already: nothing here may fail it or hold it up.
func (a *app) spawnBackgroundSync() {
	if os.Getenv(backgroundVariable) != "" {
		return
	}
	hm, err := a.openHome()
	if err != nil {
		return
	}
	if !a.wantsRefresh {
		consent, err := hm.Consent().State(os.Environ())
		if err != nil || !consent.Granted {
			return
		}
	}
	if info, err := os.Stat(backgroundStamp(hm)); err == nil && recent(info.ModTime()) {
		return
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	self, err := os.Executable()
	if err != nil {
		return
	}
	args := []string{"--home", hm.Paths.Dir, "sync", "--background"}
	if a.offline {
		args = append(args, "--offline")
	}
	child := exec.Command(self, args...)
	child.Env = append(os.Environ(), backgroundVariable+"=child")
	child.Dir = hm.Paths.Dir // not a folder that somebody wants to unmount
	detach(child)
	if err := child.Start(); err != nil {
		a.logger().Debug("no background sync", "error", err)
		return
	}
	child.Process.Release()
}

// recent says whether the last child is younger than the interval. A stamp
// from the future is not: a clock that was wrong must not stop delivery.
func recent(stamp time.Time) bool {
	age := time.Since(stamp)
	return age >= 0 && age < backgroundEvery
}

// syncBackground is the child. It says nothing, and a loser of the race for
// the lock ends at once.
func (a *app) syncBackground(ctx context.Context) error {
	hm, err := a.openHome()
	if err != nil {
		return err
	}
	if !hm.Exists() {
		return nil // it was removed since: a child must not bring it back
	}
	if err := private.MkdirAll(hm.Paths.Cache); err != nil {
		return err
	}
	lock, ok, err := private.TryLock(backgroundLock(hm))
	if err != nil || !ok {
		return err
	}
	defer lock.Unlock()
	if info, err := os.Stat(backgroundStamp(hm)); err == nil && recent(info.ModTime()) {
		return nil
	}
	if err := private.WriteFile(backgroundStamp(hm), nil); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, backgroundDeadline)
	defer cancel()
	select {
	case <-time.After(backgroundSettle):
	case <-ctx.Done():
		return nil
	}
	if !hm.Exists() {
		return nil
	}
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	_, err = h.Sync(ctx)
	return err
}
