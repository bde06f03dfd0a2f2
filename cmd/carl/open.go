package main

import (
	"context"
	"os"

	"carl.camp/carl/host"
	"carl.camp/carl/host/home"
)

// openHome opens the home that the flags and the environment name. It creates nothing.
func (a *app) openHome() (*home.Home, error) {
	dir, err := home.Locate(a.home)
	if err != nil {
		return nil, err
	}
	return home.Open(dir)
}

// openHost opens the home with everything that records and delivers.
func (a *app) openHost() (*host.Host, error) {
	return host.Open(host.Options{
		Home:    a.home,
		Log:     a.logger(),
		Offline: a.offline,
		Compiling: func(plugin string) {
			a.warn("compiling the plugin %s, once; the next command finds it compiled", plugin)
		},
	})
}

// resumeAfterLogin lets destinations go on that were paused for want of a good token.
func (a *app) resumeAfterLogin(ctx context.Context) error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	return h.LoggedIn(ctx)
}

// forgetEntitlements drops what the platform granted to who has logged out.
func (a *app) forgetEntitlements() error {
	h, err := a.openHost()
	if err != nil {
		return err
	}
	defer h.Close()
	return h.ForgetEntitlements()
}

// completeSecrets and completeDestinations serve shell completion, which has no
// place for an error: what cannot be read completes to nothing.
func (a *app) completeSecrets() []string {
	hm, err := a.openHome()
	if err != nil {
		return nil
	}
	secrets, err := hm.Secrets().List(os.Environ())
	if err != nil {
		return nil
	}
	var names []string
	for _, s := range secrets {
		names = append(names, s.Name)
	}
	return names
}

func (a *app) completeDestinations() []string {
	hm, err := a.openHome()
	if err != nil {
		return nil
	}
	config, err := hm.Config(os.Environ())
	if err != nil {
		return nil
	}
	var names []string
	for _, d := range config.Destinations {
		names = append(names, d.Name)
	}
	return names
}
