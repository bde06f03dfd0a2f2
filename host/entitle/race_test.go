package entitle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// TestMain lets the test binary be the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("ENTITLE_CHILD_HOME"); dir != "" {
		refreshForever(dir)
	}
	os.Exit(m.Run())
}

// interrupted lets something happen before a file is opened for reading.
type interrupted struct {
	private.FS
	before func(n int) // the n-th, from 1
	n      int
}

func (i *interrupted) OpenFile(name string, flag int, perm os.FileMode) (private.File, error) {
	if flag == os.O_RDONLY {
		if i.n++; i.before != nil {
			i.before(i.n)
		}
	}
	return i.FS.OpenFile(name, flag, perm)
}

// TestReadersSeeAWholeHome has another process change the home while a state is
// read, between any two of its files: what is told is what was there before or
// what is there after.
func TestReadersSeeAWholeHome(t *testing.T) {
	for name, change := range map[string]func(*site) error{
		"the same":  func(s *site) error { s.serve(nil); return refreshOnce(s) },
		"lower":     func(s *site) error { s.serve(claimed{"tier": "free"}); return refreshOnce(s) },
		"a new key": func(s *site) error { s.from(key2, key1); return refreshOnce(s) },
		"repinned": func(s *site) error {
			_, err := s.store.Repin(t.Context(), s.camp, key1.thumbprint())
			return err
		},
		"a licence": importOnce,
		"ended": func(s *site) error {
			s.camp.tokenErr = fault.New(fault.CampUnauthorized, "401")
			s.refresh()
			return nil
		},
		"the time": loadOnce,
	} {
		for method, look := range map[string]func(*Store) State{"look": (*Store).Look, "load": (*Store).Load} {
			t.Run(name+"/"+method, func(t *testing.T) {
				for at := 1; at <= 4; at++ {
					s := newSite(t)
					s.login(nil)
					s.now = s.now.Add(2 * time.Minute)
					before := s.store.Look()
					reader := s.o
					reader.FS = &interrupted{FS: s.o.FS, before: func(n int) {
						if n == at {
							if err := change(s); err != nil {
								t.Error(err)
							}
						}
					}}
					state := look(New(reader))
					after := s.store.Look()
					if (state.Status != before.Status || better(before, state) != "") && (state.Status != after.Status || better(after, state) != "") {
						t.Fatalf("changed before file %d was read: %s, %v; before %s, after %s", at, state.Status, state.Err, before.Status, after.Status)
					}
				}
			})
		}
	}
}

// TestARefreshBesideAnImport has another process import a licence while a
// refresh reads its files.
func TestARefreshBesideAnImport(t *testing.T) {
	for _, login := range []bool{true, false} {
		for at := 1; at <= 4; at++ { // those are read without the lock
			s := newSite(t)
			if login {
				s.login(nil)
			} else {
				s.importLicense(claimed{"tier": "free"})
			}
			s.now = s.now.Add(time.Second)
			s.serve(nil)
			refresher := s.o
			refresher.FS = &interrupted{FS: s.o.FS, before: func(n int) {
				if n == at {
					if err := importOnce(s); err != nil {
						t.Error(err)
					}
				}
			}}
			state, err := New(refresher).Refresh(t.Context(), s.camp)
			if err != nil || state.TokenStatus() != Fresh {
				t.Errorf("logged in %v, imported before file %d was read: %v, %s", login, at, err, state.TokenStatus())
			}
			if state := s.store.Look(); state.TokenStatus() != Fresh || state.License == nil {
				t.Errorf("logged in %v, imported before file %d was read: %s, %v", login, at, state.TokenStatus(), state.LicenseErr)
			}
		}
	}
}

// ticking is a clock that each look moves on.
type ticking struct{ ns atomic.Int64 }

func (c *ticking) now() time.Time { return today.Add(time.Duration(c.ns.Add(1000))) }

// guarded is a platform that counts how many requests are under way at once.
type guarded struct {
	answer         func(n int) (string, error)
	under, most, n atomic.Int32
	keys           []byte
}

func (g *guarded) Token(context.Context) (string, error) {
	u := g.under.Add(1)
	for m := g.most.Load(); u > m && !g.most.CompareAndSwap(m, u); m = g.most.Load() {
	}
	defer g.under.Add(-1)
	return g.answer(int(g.n.Add(1)))
}

func (g *guarded) Keys(context.Context) ([]byte, error) { return g.keys, nil }

// arrivals tells when a lock was asked for.
type arrivals struct {
	private.FS
	path string
	came chan struct{}
	once sync.Once
}

func (a *arrivals) OpenFile(name string, flag int, perm os.FileMode) (private.File, error) {
	f, err := a.FS.OpenFile(name, flag, perm)
	if name == a.path {
		a.once.Do(func() { a.came <- struct{}{} })
	}
	return f, err
}

// TestWhoWaitedTakesWhatCame has many processes want a refresh at once: one
// asks, and the others take what it brought.
func TestWhoWaitedTakesWhatCame(t *testing.T) {
	const stores = 8
	s := newSite(t)
	clock := new(ticking)
	s.o.Clock = clock.now
	asked, came := make(chan struct{}), make(chan struct{}, stores)
	platform := &guarded{keys: jwks(key1), answer: func(n int) (string, error) {
		if n == 1 {
			close(asked)
			for range stores {
				<-came
			}
		}
		return key1.token(clock.now(), nil), nil
	}}
	var all sync.WaitGroup
	for i := range stores {
		o := s.o
		o.FS = &arrivals{FS: s.o.FS, path: s.o.Files.Refreshing, came: came}
		all.Go(func() {
			if i > 0 {
				<-asked
			}
			state, err := New(o).Refresh(t.Context(), platform)
			if err != nil || state.Status != Fresh {
				t.Errorf("%v, %s", err, state.Status)
			}
		})
	}
	all.Wait()
	if n := platform.n.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestWhoWaitedAsksAgain has the one that was waited for fail, or bring a token
// from before: then each asks by itself, one at a time.
func TestWhoWaitedAsksAgain(t *testing.T) {
	const stores = 4
	for name, answer := range map[string]func(now time.Time) (string, error){
		"no network": func(time.Time) (string, error) {
			return "", fault.New(fault.EntitlementsNetworkUnavailable, "none")
		},
		"an old token": func(now time.Time) (string, error) {
			return key1.token(now.Add(-time.Hour), claimed{"exp": now.Add(time.Hour).Unix()}), nil
		},
	} {
		s := newSite(t)
		clock := new(ticking)
		s.o.Clock = clock.now
		s.restart()
		s.login(nil) // fresh, but from before
		came := make(chan struct{}, stores)
		platform := &guarded{keys: jwks(key1), answer: func(n int) (string, error) {
			if n == 1 {
				for range stores {
					<-came
				}
			}
			return answer(clock.now())
		}}
		var all sync.WaitGroup
		for range stores {
			o := s.o
			o.FS = &arrivals{FS: s.o.FS, path: s.o.Files.Refreshing, came: came}
			all.Go(func() { New(o).Refresh(t.Context(), platform) })
		}
		all.Wait()
		if n, most := platform.n.Load(), platform.most.Load(); n != stores || most != 1 {
			t.Errorf("%s: %d requests, %d at once", name, n, most)
		}
	}
}

// TestWhoWaitsMayGiveUp cancels a refresh that waits for another.
func TestWhoWaitsMayGiveUp(t *testing.T) {
	s := newSite(t)
	s.login(nil)
	s.camp.requests()
	lock, ok, err := private.TryLockOn(s.o.FS, s.o.Files.Refreshing)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer lock.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	state, err := s.store.Refresh(ctx, s.camp)
	if wants(t, state, Fresh); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := s.store.Repin(ctx, s.camp, key1.thumbprint()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	s.asked(0, 0)
}

// TestManyAtOnce lets several processes do everything at once, in one home.
func TestManyAtOnce(t *testing.T) {
	s := newSiteOn(t, private.OS(), t.TempDir())
	clock := new(ticking)
	s.o.Clock = clock.now
	platform := &guarded{keys: jwks(key1), answer: func(n int) (string, error) {
		switch n % 5 {
		case 0:
			return "", fault.New(fault.CampUnauthorized, "401")
		case 1:
			return key1.token(clock.now(), claimed{"tier": "free"}), nil
		case 2:
			return "", fault.New(fault.EntitlementsNetworkUnavailable, "none")
		}
		return key1.token(clock.now(), nil), nil
	}}
	if _, err := New(s.o).Import(crashLicense); err != nil {
		t.Fatal(err)
	}
	expected := map[fault.Code]bool{"": true, fault.CampUnauthorized: true, fault.EntitlementsNetworkUnavailable: true}
	var all sync.WaitGroup
	for i := range 6 {
		store := New(s.o)
		r := rand.New(rand.NewPCG(uint64(i), 0))
		all.Go(func() {
			for range 12 {
				var err error
				switch r.IntN(6) {
				case 0, 1:
					_, err = store.Refresh(t.Context(), platform)
				case 2:
					_, err = store.Import(crashLicense)
				case 3:
					err = store.Forget()
				case 4:
					clock.ns.Add(int64(time.Minute)) // the mark is due
					store.Load()
				case 5:
					store.Look()
				}
				if !expected[fault.CodeOf(err)] {
					t.Errorf("%v", err)
				}
				for _, path := range s.editable() {
					if data, err := private.ReadFile(path, maxFile); err == nil {
						var v struct {
							V int `json:"v"`
						}
						if err := private.ParseJSON(data, &v); err != nil && !strings.Contains(err.Error(), "members") {
							t.Errorf("%s: %v", path, err)
						}
					}
				}
			}
		})
	}
	all.Wait()
	if most := platform.most.Load(); most > 1 {
		t.Errorf("%d requests at once", most)
	}
	store := New(s.o)
	platform.answer = func(int) (string, error) { return key1.token(clock.now(), nil), nil }
	if state, err := store.Refresh(t.Context(), platform); err != nil || state.TokenStatus() != Fresh || state.License == nil {
		t.Errorf("afterwards: %v, %s, licence %v", err, state.TokenStatus(), state.LicenseErr)
	}
	s.nothingIsHeld()
}

// nothingIsHeld fails the test when a lock, or a file of a writer, is left.
func (s *site) nothingIsHeld() {
	s.tb.Helper()
	for _, path := range []string{s.o.Files.Lock, s.o.Files.Refreshing} {
		lock, ok, err := private.TryLockOn(s.o.FS, path)
		if err != nil || !ok {
			s.tb.Errorf("%s is held: %v", path, err)
			continue
		}
		lock.Unlock()
	}
	for name := range s.all() {
		if strings.HasPrefix(name, ".carl-tmp-") || strings.Contains(name, ".corrupt-") {
			s.tb.Errorf("%s is left", name)
		}
	}
}

// What a child does, and what its home grants after that.
var childDeeds = []struct{ name, grants string }{
	{"paid", "paid"}, {"free", "free"}, {"paid", "paid"}, {"refused", ""}, {"paid", "paid"}, {"paid", "paid"},
}

// child is a site on the real file system and by the real clock, so that several
// processes have one.
func child(tb testing.TB, dir string) *site {
	s := newSiteOn(tb, private.OS(), dir)
	s.o.Clock, s.o.FS = nil, nil
	s.restart()
	return s
}

// do does one of the deeds.
func (s *site) childDoes(name string) error {
	s.now = time.Now()
	if name == "refused" {
		s.camp.tokenErr = fault.New(fault.CampUnauthorized, "401")
		if _, err := s.refresh(); fault.CodeOf(err) != fault.CampUnauthorized {
			return err
		}
		return nil
	}
	s.serve(claimed{"tier": name})
	_, err := s.refresh()
	return err
}

// refreshForever says what it is about to do and what it has done.
func refreshForever(dir string) {
	s := child(nil, dir)
	for i := 0; ; i++ {
		d := childDeeds[i%len(childDeeds)]
		fmt.Println("try", d.name)
		if err := s.childDoes(d.name); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		fmt.Println("did", d.name)
	}
}

// TestKill kills a process at any moment of its refreshes. What it leaves is
// what it did last, or what it was about to do, or nothing; and the next
// refresh works.
func TestKill(t *testing.T) {
	kills := 25
	if testing.Short() {
		kills = 5
	}
	dir := filepath.Join(t.TempDir(), "home")
	if err := private.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	grants := map[string]string{}
	for _, d := range childDeeds {
		grants[d.name] = d.grants
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range kills {
		s := child(t, dir)
		if err := s.childDoes("free"); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "ENTITLE_CHILD_HOME="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done, trying := "free", ""
		note := func(line string) {
			switch verb, name, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
			case "try":
				trying = name
			case "did":
				done, trying = name, ""
			default:
				t.Errorf("the process says %q", line)
			}
		}
		lines := bufio.NewReader(out)
		for range 1 + r.IntN(12) {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("it ended by itself: %v", err)
			}
			note(line)
		}
		// At any moment of what it does now: a pause is what puts it there.
		<-time.After(time.Duration(r.IntN(6000)) * time.Microsecond)
		cmd.Process.Kill()
		rest, _ := io.ReadAll(lines)
		cmd.Wait()
		for line := range strings.Lines(string(rest)) {
			if strings.HasSuffix(line, "\n") {
				note(line)
			}
		}

		state := s.restart().Look()
		granted := ""
		if token := state.Granting(); token != nil {
			granted = token.Tier
		}
		allowed := granted == grants[done]
		if trying != "" {
			allowed = allowed || granted == grants[trying] || granted == ""
		}
		if !allowed {
			t.Errorf("it did %q and tried %q, and %q is granted (%s, %v)", done, trying, granted, state.Status, state.Err)
		}
		if err := s.childDoes("paid"); err != nil {
			t.Fatalf("after it did %q and tried %q: %v", done, trying, err)
		}
		wants(t, s.restart().Look(), Fresh)
		if err := s.store.Forget(); err != nil {
			t.Fatal(err)
		}
	}
}
