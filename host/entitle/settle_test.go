package entitle

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"carl.camp/carl/host/private"
	"carl.camp/carl/host/private/crashfs"
)

// TestWhatIsSaidToBeKeptIsKept has writing fail: an error that says that the
// cached entitlements were kept is not to be read while they are gone.
func TestWhatIsSaidToBeKeptIsKept(t *testing.T) {
	for _, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			c := newScene(t, d)
			for n, struck := 1, true; struck; n++ {
				struck = false
				disk := crashfs.New(rand.New(rand.NewPCG(1, uint64(n))).IntN)
				s := c.on(t, disk, disk.Process(func(call crashfs.Call) *crashfs.Fault {
					// For good, but one may still look for a free name.
					if struck = struck || call.N >= n && call.Op != "lstat"; struck && call.Op != "lstat" && call.Op != "close" {
						return &crashfs.Fault{Err: syscall.ENOSPC}
					}
					return nil
				}))
				err := c.do(s)
				s.o.FS = disk.Process(nil)
				state := s.restart().Look()
				if err != nil && strings.Contains(err.Error(), "entitlements were kept") && state.Status == Corrupt && c.before.Status != Corrupt {
					t.Fatalf("call %d: %v; but %s: %v", n, err, state.Status, state.Err)
				}
			}
		})
	}
}

// TestWhatEndsEndsFirst has the cache not be replaced where something was taken
// away: what it says counts no more, although the file is still there.
func TestWhatEndsEndsFirst(t *testing.T) {
	for _, d := range append([]deed{{name: "a grant less", before: func(s *site) {
		s.login(claimed{"entitlements": granting("a", "b")})
		s.serve(claimed{"entitlements": granting("a")})
	}, do: refreshOnce, takes: true}, {name: "a lower tier alone", before: func(s *site) {
		s.login(nil)
		s.serve(claimed{"tier": "free"})
	}, do: refreshOnce, takes: true}}, deeds...) {
		if !d.takes || d.keys != nil { // where the pin is replaced, and not the cache
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			s := newSite(t)
			d.before(s)
			old := s.get(s.o.Files.Cache)
			fsys := s.o.FS
			s.o.FS = stuck{fsys, s.o.Files.Cache}
			s.restart()
			err := d.do(s)
			if !errors.Is(err, syscall.EROFS) {
				t.Fatalf("%v", err)
			}
			s.o.FS = fsys
			if state := s.restart().Look(); state.Current() != nil {
				t.Errorf("%s, granting %v", state.TokenStatus(), state.Current())
			}
			s.put(s.o.Files.Cache, old)
			if state := s.store.Look(); state.Current() != nil {
				t.Errorf("%s, granting %v", state.TokenStatus(), state.Current())
			}
		})
	}
}

// stuck does not let go of one file.
type stuck struct {
	private.FS
	path string
}

func (f stuck) Rename(from, to string) error {
	if to == f.path {
		return syscall.EROFS
	}
	return f.FS.Rename(from, to)
}

func (f stuck) Remove(name string) error {
	if name == f.path {
		return syscall.EROFS
	}
	return f.FS.Remove(name)
}

// TestSettling has a crash have left two hashes of a file. Load drops the one
// that the file does not have; where the file is gone or damaged it makes none.
func TestSettling(t *testing.T) {
	for i, name := range []string{"entitlements.json", "jwks_pin.json"} {
		for _, content := range []string{"whole", gone, "garbage"} {
			t.Run(name+" "+content, func(t *testing.T) {
				s := newSite(t)
				s.login(nil)
				whole := s.shoot()[i]
				w := *s.store.read().witness.content
				list := []*[]string{&w.Cache, &w.Pin}[i]
				*list = append(*list, hash([]byte("another")))
				if err := s.store.write(s.o.Files.Witness, &w); err != nil {
					t.Fatal(err)
				}
				if content == "whole" {
					content = whole
				}
				s.put("/home/"+name, content)
				s.restart().Load()
				w = *s.store.read().witness.content
				list = []*[]string{&w.Cache, &w.Pin}[i]
				if content == whole {
					wants(t, s.store.Look(), Fresh)
					if len(*list) != 1 || (*list)[0] != hash([]byte(whole)) {
						t.Errorf("the witness knows %q", *list)
					}
				} else if len(*list) != 2 {
					t.Errorf("the witness knows %q", *list)
				}
				if got := s.get("/home/" + name); got != content && (i == 1 || got != gone) {
					t.Errorf("the file holds %q", got)
				}
			})
		}
	}
}

// TestACrashLeavesNoWayBack kills what takes something away. A minute later,
// when carl was used again, the files from before count for no more than what
// was left.
func TestACrashLeavesNoWayBack(t *testing.T) {
	for _, d := range []deed{
		{name: "a lower tier", before: func(s *site) {
			s.login(nil)
			s.serve(claimed{"tier": "free"})
		}, do: refreshOnce},
		{name: "a grant less", before: func(s *site) {
			s.login(claimed{"tier": "free", "entitlements": granting("a", "b")})
			s.serve(claimed{"tier": "free", "entitlements": granting("a")})
		}, do: refreshOnce},
		{name: "a key that is withdrawn", before: func(s *site) {
			s.withdraw(key1)
		}, do: refreshOnce},
		{name: "repin", before: func(s *site) { s.login(nil); s.camp.set = jwks(key2) }, do: func(s *site) error {
			_, err := s.store.Repin(s.tb.(*testing.T).Context(), s.camp, key2.thumbprint())
			return err
		}},
	} {
		t.Run(d.name, func(t *testing.T) {
			c := newScene(t, d)
			for n, struck := 1, true; struck; n++ {
				struck = false
				disk := crashfs.New(rand.New(rand.NewPCG(1, uint64(n))).IntN)
				s := c.on(t, disk, disk.Process(func(call crashfs.Call) *crashfs.Fault {
					if call.N < n {
						return nil
					}
					struck = true
					return &crashfs.Fault{Kill: true}
				}))
				c.do(s)
				s.o.FS = disk.Process(nil)
				s.now = s.now.Add(time.Minute)
				s.restart().Load()
				left, untouched := s.shoot(), s.store.Look()
				for set := range 8 {
					old := left
					for i, name := range []string{"entitlements.json", "jwks_pin.json", "clock.json"} {
						if set&(1<<i) != 0 {
							old[i] = c.image[name]
						}
					}
					s.restore(old)
					if why := better(s.restart().Look(), untouched); why != "" {
						t.Fatalf("killed at call %d, files %03b put back: %s", n, set, why)
					}
				}
			}
		})
	}
}

// TestWhatTheWitnessKnowsMustBeWhole has the witness know files that carl never
// writes: they count for nothing all the same.
func TestWhatTheWitnessKnowsMustBeWhole(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	token, license := s.camp.token, rootKey.license(today, nil)
	const at = `"2026-11-23T12:00:00Z"`
	for _, c := range []struct{ path, content string }{
		{s.o.Files.Cache, `{"v":1}`},
		{s.o.Files.Cache, `{"v":1,"token":"` + token + `"}`},
		{s.o.Files.Cache, `{"v":1,"fetched_at":` + at + `,"license":"` + license + `","imported_at":` + at + `}`},
		{s.o.Files.Cache, `{"v":1,"license":"` + license + `"}`},
		{s.o.Files.Cache, `{"v":1,"imported_at":` + at + `,"token":"` + token + `","fetched_at":` + at + `}`},
		{s.o.Files.Cache, `{"v":1,"token":"` + token + `","fetched_at":` + at + `,"tier":"paid"}`},
		{s.o.Files.Pin, `{"v":1,"url":"","pinned_at":` + at + `,"checked_at":` + at + `,"keys":[]}`},
		{s.o.Files.Pin, `{"v":1,"url":"","pinned_at":` + at + `,"checked_at":` + at + `,"keys":[{"kid":"camp-1","x":"` + key1.x() + `","added_at":` + at + `,"removed_at":` + at + `}]}`},
	} {
		s := newSite(t)
		s.login(nil)
		w := *s.store.read().witness.content
		w.Cache, w.Pin = append(w.Cache, hash([]byte(c.content))), append(w.Pin, hash([]byte(c.content)))
		if err := s.store.write(s.o.Files.Witness, &w); err != nil {
			t.Fatal(err)
		}
		s.put(c.path, c.content)
		state := s.restart().Look()
		if wants(t, state, Corrupt); state.Err == nil || !strings.Contains(state.Err.Error(), c.path+" cannot be used") {
			t.Errorf("%s: %v", c.content, state.Err)
		}
	}
}

// TestALostClockStaysLost kills an import after the clock was lost and the cache
// was damaged: with the cache back in its place, nothing but a token that is
// verified anew makes it count.
func TestALostClockStaysLost(t *testing.T) {
	home := newSite(t)
	home.login(nil)
	whole := home.get(home.o.Files.Cache)
	home.put(home.o.Files.Cache, "garbage")
	home.put(home.o.Files.Clock, gone)
	c := scene{image: home.all(), now: home.now, camp: &camp{}}
	for n, struck := 1, true; struck; n++ {
		struck = false
		disk := crashfs.New(rand.New(rand.NewPCG(1, uint64(n))).IntN)
		s := c.on(t, disk, disk.Process(func(call crashfs.Call) *crashfs.Fault {
			if call.N < n {
				return nil
			}
			struck = true
			return &crashfs.Fault{Kill: true}
		}))
		importOnce(s)
		s.o.FS = disk.Process(nil)
		s.restart()
		s.put(s.o.Files.Cache, whole)
		if state := s.store.Look(); state.Current() != nil {
			t.Fatalf("killed at call %d: the token is %s", n, state.TokenStatus())
		}
	}
}
