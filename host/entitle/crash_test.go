package entitle

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// deed is something that a store does, and that may be cut short.
type deed struct {
	name string
	// before makes the home that it is done to, do does it.
	before func(*site)
	do     func(*site) error
	// takes says that it takes something away: when it returned nil that is
	// final, and when it failed nothing is better than before.
	takes bool
	// keys are the platform's after it; nil is the first one alone.
	keys []signer
	// between is what may be seen in the middle of it, since it has two steps.
	between Status
	// quiet says that it returns nil also where it could not be done.
	quiet bool
}

var deeds = []deed{
	{name: "the first token", before: func(s *site) { s.serve(nil) }, do: refreshOnce},
	{name: "a higher token", before: func(s *site) { s.login(claimed{"tier": "free"}); s.serve(nil) }, do: refreshOnce},
	{name: "a token that says the same", before: func(s *site) {
		s.login(nil)
		s.now = s.now.Add(20 * time.Minute)
		s.serve(nil)
	}, do: refreshOnce},
	{name: "a lower token", takes: true, before: func(s *site) {
		s.login(nil)
		s.now = s.now.Add(time.Minute)
		s.serve(claimed{"tier": "free", "entitlements": omit})
	}, do: refreshOnce},
	{name: "a lower token beside a licence", takes: true, before: func(s *site) {
		s.importLicense(claimed{"tier": "free", "entitlements": omit})
		s.login(nil)
		s.serve(claimed{"tier": "free", "entitlements": omit})
	}, do: refreshOnce},
	{name: "a token after the clock was far ahead", before: func(s *site) {
		s.login(nil)
		s.now = s.now.Add(80_000 * time.Hour)
		s.store.Load()
		s.now = today.Add(time.Hour)
		s.serve(nil)
	}, do: refreshOnce},
	{name: "a token over a damaged cache", between: Missing, before: func(s *site) {
		s.login(nil)
		s.put(s.o.Files.Cache, "garbage")
		s.serve(nil)
	}, do: refreshOnce},
	{name: "a token after the clock file was lost", before: func(s *site) {
		s.login(nil)
		s.put(s.o.Files.Clock, gone)
		s.serve(nil)
	}, do: refreshOnce},
	{name: "the end of the grace", takes: true, before: func(s *site) {
		s.login(nil)
		s.now = s.now.Add(2 * time.Hour)
		s.camp.tokenErr = fault.New(fault.CampUnauthorized, "401")
	}, do: func(s *site) error {
		_, err := s.refresh()
		if fault.CodeOf(err) == fault.CampUnauthorized && strings.Contains(err.Error(), "has ended") {
			return nil
		}
		return err
	}},
	{name: "a key that is added", keys: []signer{key2, key1}, before: func(s *site) { s.login(nil); s.from(key2, key1) }, do: refreshOnce},
	{name: "a key that is withdrawn", takes: true, keys: []signer{key2}, between: Expired, before: func(s *site) {
		s.withdraw(key1)
	}, do: refreshOnce},
	{name: "repin", takes: true, keys: []signer{key2}, before: func(s *site) { s.login(nil); s.camp.set = jwks(key2) }, do: func(s *site) error {
		_, err := s.store.Repin(s.tb.(*testing.T).Context(), s.camp, key2.thumbprint())
		return err
	}},
	{name: "the first licence", do: importOnce},
	{name: "a licence beside a token", before: func(s *site) { s.login(nil) }, do: importOnce},
	{name: "another licence", before: func(s *site) {
		s.importLicense(claimed{"tier": "free"})
		s.now = s.now.Add(time.Minute)
	}, do: importOnce},
	{name: "a licence beside a lost clock", before: func(s *site) {
		s.login(nil)
		s.put(s.o.Files.Clock, gone)
	}, do: importOnce},
	{name: "logging out", takes: true, before: func(s *site) { s.login(nil) }, do: forgetOnce},
	{name: "logging out beside a licence", takes: true, before: func(s *site) {
		s.importLicense(claimed{"tier": "free", "entitlements": omit})
		s.login(nil)
	}, do: forgetOnce},
	{name: "noting the time", quiet: true, before: func(s *site) {
		s.login(nil)
		s.now = s.now.Add(2 * time.Hour)
	}, do: loadOnce},
	{name: "moving a damaged cache aside", quiet: true, before: func(s *site) {
		s.login(nil)
		s.put(s.o.Files.Cache, "garbage")
	}, do: loadOnce},
}

// withdraw makes the next refresh find that the key of the cached token was
// withdrawn, and that key2 is left.
func (s *site) withdraw(old signer) {
	s.tb.Helper()
	s.from(old, key2)
	s.accepted()
	s.now = s.now.Add(checkEvery - time.Minute)
	s.from(old, key2)
	s.accepted()
	s.now = s.now.Add(time.Minute)
	s.from(key2)
}

func refreshOnce(s *site) error { _, err := s.refresh(); return err }
func importOnce(s *site) error  { _, err := s.store.Import(crashLicense); return err }
func forgetOnce(s *site) error  { return s.store.Forget() }
func loadOnce(s *site) error    { s.store.Load(); return nil }

var crashLicense = rootKey.license(today, nil)

// faults are the ways in which a system call can go wrong.
var faults = map[string]func(crashfs.Call) *crashfs.Fault{
	"kill":       func(crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Kill: true} },
	"power":      func(crashfs.Call) *crashfs.Fault { return &crashfs.Fault{PowerCut: true} },
	"EIO":        func(c crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Err: syscall.EIO, Short: c.Size / 2} },
	"ENOSPC":     func(c crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Err: syscall.ENOSPC, Short: c.Size * 2 / 3} },
	"disk fails": func(crashfs.Call) *crashfs.Fault { return &crashfs.Fault{Err: syscall.EIO} }, // for good
}

// scene is a deed's home, kept as an image, so that each fault finds it anew.
type scene struct {
	deed
	image         map[string]string
	now           time.Time
	camp          *camp
	before, after State
	known         map[string]bool // what was left, and looked at
}

func newScene(t *testing.T, d deed) scene {
	s := newSite(t)
	if d.before != nil {
		d.before(s)
	}
	c := scene{deed: d, image: s.all(), now: s.now, before: s.restart().Look(), known: map[string]bool{}}
	c.camp = &camp{token: s.camp.token, set: s.camp.set, tokenErr: s.camp.tokenErr, keysErr: s.camp.keysErr}
	if err := d.do(s); err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	c.after = s.restart().Look()
	return c
}

// on puts the home on a disk, and a store into a process of it.
func (c scene) on(t *testing.T, disk *crashfs.Disk, process *crashfs.Process) *site {
	p := disk.Process(nil)
	if err := private.MkdirAllOn(p, "/home"); err != nil {
		t.Fatal(err)
	}
	for name, content := range c.image {
		if err := private.WriteFileOn(p, filepath.Join("/home", name), []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	s := newSiteOn(t, process, "/home")
	s.now = c.now
	s.camp = &camp{token: c.camp.token, set: c.camp.set, tokenErr: c.camp.tokenErr, keysErr: c.camp.keysErr}
	return s
}

// holds checks what a fresh process sees after the deed returned err.
func (c scene) holds(t *testing.T, state State, err error, when string) {
	t.Helper()
	switch {
	case better(state, c.before) != "" && better(state, c.after) != "":
		t.Fatalf("%s: better than before (%s) and than after (%s)", when, better(state, c.before), better(state, c.after))
	case !c.takes && better(c.before, state) != "" && better(c.after, state) != "":
		t.Fatalf("%s: worse than before (%s) and than after (%s): %s, %v", when, better(c.before, state), better(c.after, state), state.Status, state.Err)
	case c.quiet:
	case err == nil && better(state, c.after) != "":
		t.Fatalf("%s: it was done, and is better than after: %s", when, better(state, c.after))
	case err == nil && better(c.after, state) != "":
		t.Fatalf("%s: it was done, and is gone: %s, %v", when, better(c.after, state), state.Err)
	case err != nil && c.takes && says(state.Current(), c.before.Current(), state.Now(), c.before.Now()) != "":
		t.Fatalf("%s: it failed with %v, and more is granted than before", when, err)
	}
}

// calls are the system calls of a deed, when nothing goes wrong.
func (c scene) calls(t *testing.T) (ops []string) {
	disk := crashfs.New(func(int) int { return 0 })
	s := c.on(t, disk, disk.Process(func(call crashfs.Call) *crashfs.Fault {
		ops = append(ops, call.Op)
		return nil
	}))
	if err := c.do(s); err != nil {
		t.Fatal(err)
	}
	return ops
}

// changes are the system calls that can leave something else behind: to die in
// another is to die in the next of these.
var changes = map[string]bool{"open": true, "write": true, "sync": true, "rename": true, "syncdir": true, "remove": true}

// TestCrashes stops every deed at each of its system calls, in every way.
func TestCrashes(t *testing.T) {
	for _, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			c := newScene(t, d)
			struck := 0
			for kind, strike := range faults {
				seeds := uint64(1)
				if kind == "power" { // of which the model has many
					seeds = 3
				}
				for i, op := range c.calls(t) {
					if kind != "EIO" && !changes[op] {
						continue
					}
					for seed := range seeds {
						n := i + 1
						disk := crashfs.New(rand.New(rand.NewPCG(seed, uint64(n))).IntN)
						process := disk.Process(func(call crashfs.Call) *crashfs.Fault {
							if call.N == n || call.N > n && kind == "disk fails" && changes[call.Op] {
								return strike(call)
							}
							return nil
						})
						s := c.on(t, disk, process)
						guarded := &patient{FS: process}
						s.o.FS = guarded
						s.restart()
						err := c.do(s)
						process.Kill()
						when := fmt.Sprintf("%s at call %d, seed %d", kind, n, seed)
						if guarded.ended > 0 {
							t.Fatalf("%s: looking for a free name does not come to an end", when)
						}
						c.left(t, s, disk, err, when)
						struck++
					}
				}
			}
			if struck < 60 {
				t.Errorf("only %d faults struck", struck)
			}
		})
	}
}

// patient is a file system that ends what would go on for ever.
type patient struct {
	private.FS
	looks, ended int
}

func (p *patient) Lstat(name string) (fs.FileInfo, error) {
	info, err := p.FS.Lstat(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	if p.looks++; p.looks > 100 {
		p.ended++
		return nil, fs.ErrNotExist
	}
	return info, err
}

// left looks at what is left of a deed that returned err.
func (c scene) left(t *testing.T, s *site, disk *crashfs.Disk, err error, when string) {
	t.Helper()
	for _, power := range []bool{true, false} {
		s.o.FS = disk.Process(nil)
		s.restart()
		// The same was left before, but for the names of files that are set aside.
		what := s.all()
		for name := range what {
			if strings.Contains(name, ".corrupt-") {
				delete(what, name)
			}
		}
		key := fmt.Sprint(err == nil, power, what)
		known := c.known[key]
		c.known[key] = true
		switch {
		case known && power:
			disk.PowerCut()
		case known:
		case power:
			c.holds(t, s.store.Look(), err, when)
			disk.PowerCut()
		default:
			c.holds(t, s.store.Load(), err, when+", and the power went")
			c.holds(t, s.store.Look(), err, when+", the power went, and it was loaded before")
			c.heal(t, s, when)
		}
	}
}

// heal checks that the next refresh heals what is left.
func (c scene) heal(t *testing.T, s *site, when string) {
	t.Helper()
	s.now = s.now.Add(refetchEvery)
	if c.name == "repin" {
		if _, err := s.store.Repin(t.Context(), s.camp, key2.thumbprint()); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	if c.keys == nil {
		c.keys = []signer{key1}
	}
	s.from(c.keys...)
	state, err := s.refresh()
	if err != nil || state.TokenStatus() != Fresh {
		t.Fatalf("%s: the next refresh: %v, %s", when, err, state.TokenStatus())
	}
	for name := range s.all() {
		if strings.HasPrefix(name, ".carl-tmp-") {
			t.Fatalf("%s: %s is left", when, name)
		}
	}
}

// pausing lets something happen before the n-th file is put in its place.
type pausing struct {
	private.FS
	n      int
	before func(n int)
}

func (p *pausing) Rename(from, to string) error {
	p.n++
	p.before(p.n)
	return p.FS.Rename(from, to)
}

// TestReadersBesideAWriter looks at a home in the middle of each deed, before
// each file is put in its place. A reader may wait for the deed to end, and what
// it tells is what was there before or what is there after.
func TestReadersBesideAWriter(t *testing.T) {
	for _, d := range deeds {
		for method, look := range map[string]func(*Store) State{"look": (*Store).Look, "load": (*Store).Load} {
			t.Run(d.name+"/"+method, func(t *testing.T) {
				c := newScene(t, d)
				for at, more := 1, true; more; at++ {
					more = false
					disk := crashfs.New(func(int) int { return 0 })
					var state State
					done := make(chan struct{})
					s := c.on(t, disk, disk.Process(nil))
					writer := &pausing{FS: s.o.FS, before: func(n int) {
						if n != at {
							return
						}
						more = true
						o, waits := s.o, make(chan struct{}, 1)
						o.FS = &arrivals{FS: disk.Process(nil), path: o.Files.Lock, came: waits}
						go func() {
							defer close(done)
							state = look(New(o))
						}()
						select {
						case <-done:
						case <-waits:
						}
					}}
					s.o.FS = writer
					s.restart()
					if err := d.do(s); err != nil {
						t.Fatal(err)
					}
					if !more {
						break
					}
					<-done
					if state.Status == c.between {
						continue
					}
					if (state.Status != c.before.Status || better(state, c.before) != "") && (state.Status != c.after.Status || better(state, c.after) != "") {
						t.Fatalf("before file %d was written: %s, %v, %v; before it was %s, and after %s", at, state.Status, state.Err, state.LicenseErr, c.before.Status, c.after.Status)
					}
				}
			})
		}
	}
}
