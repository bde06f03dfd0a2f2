package tier

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
)

// TestLoadedOnceInTenSeconds counts loads, of calls that need them and of calls
// that do not.
func TestLoadedOnceInTenSeconds(t *testing.T) {
	s := newSite(t)
	g := s.gate(Paid)
	for range 100 {
		g.Check(TrainManaged) // the declared tier does
		g.Check(TrainLocal)
	}
	if s.loads != 0 {
		t.Errorf("%d loads for what is declared", s.loads)
	}
	for range 100 {
		g.CheckRemote(TrainManaged)
		g.CheckRemote(TrainLocal)
		g.State()
	}
	if s.loads != 1 {
		t.Errorf("%d loads", s.loads)
	}
	if k := g.known.Load(); k.until < reloadEvery || k.until > time.Since(g.began)+reloadEvery {
		t.Errorf("what is known holds until %v", k.until)
	}
	pass(g)
	for range 100 {
		g.CheckRemote(TrainManaged)
	}
	if s.loads != 2 {
		t.Errorf("%d loads", s.loads)
	}
	g.Reload()
	for range 100 {
		g.CheckRemote(TrainManaged)
	}
	if s.loads != 3 {
		t.Errorf("%d loads", s.loads)
	}
	s = newSite(t)
	g = s.gate(Free)
	for range 100 {
		g.Check(TrainManaged)
	}
	if s.loads != 1 {
		t.Errorf("%d loads", s.loads)
	}
}

// pass lets ten seconds pass.
func pass(g *Gate) { g.known.Load().until = 0 }

// TestTenSeconds has time pass, to the nanosecond.
func TestTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		g := s.gate(Paid)
		for _, c := range []struct {
			pass  time.Duration
			loads int
		}{{0, 1}, {10*time.Second - 1, 1}, {1, 2}, {10*time.Second - 1, 2}, {time.Hour, 3}} {
			time.Sleep(c.pass)
			g.CheckRemote(TrainManaged)
			g.CheckRemote(TrainManaged)
			if s.loads != c.loads {
				t.Errorf("after %v: %d loads, want %d", c.pass, s.loads, c.loads)
			}
		}
	})
}

// TestMismatchOnALaterCall is what a declaration comes to that the platform does
// not bear out: the first call is allowed, and asks for a refresh.
func TestMismatchOnALaterCall(t *testing.T) {
	for _, c := range []struct {
		tier string
		want fault.Code
	}{{"free", fault.GateTierRemoteMismatch}, {"paid", ""}} {
		s := newSite(t)
		asked := 0
		g := New(Options{Declared: Paid, Load: s.load, Clock: s.clock, Refresh: func() { asked++ }})
		if d := g.CheckRemote(TrainManaged); !d.Allowed || d.By != ByLocal || asked != 1 {
			t.Errorf("at first %+v, asked %d times", d, asked)
		}
		s.login(map[string]any{"tier": c.tier})
		if d := g.CheckRemote(TrainManaged); !d.Allowed {
			t.Errorf("before it was loaded anew %+v", d)
		}
		g.Reload()
		if d := g.CheckRemote(TrainManaged); d.Code != c.want || d.Allowed != (c.want == "") || asked != 1 {
			t.Errorf("later %+v, asked %d times", d, asked)
		}
		if d := g.CheckRemote(TrainLocal); !d.Allowed {
			t.Errorf("%+v", d)
		}
		// The declared tier by itself does not hear of it.
		if d := g.Check(TrainManaged); !d.Allowed {
			t.Errorf("%+v", d)
		}
	}
}

// TestRefreshIsAskedForOnce counts how often a refresh is asked for.
func TestRefreshIsAskedForOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*site)
		want int // of each load
	}{
		{"nothing cached", func(*site) {}, 1},
		{"fresh", func(s *site) { s.login(map[string]any{"tier": "paid"}) }, 0},
		{"just fresh", func(s *site) { s.login(map[string]any{"tier": "paid"}); s.now = s.now.Add(15 * time.Minute) }, 0},
		{"stale", func(s *site) { s.login(map[string]any{"tier": "paid"}); s.now = s.now.Add(15*time.Minute + 1) }, 1},
		{"grace", func(s *site) { s.login(map[string]any{"tier": "paid"}); s.now = s.now.Add(2 * time.Hour) }, 1},
		{"ended", func(s *site) { s.login(map[string]any{"tier": "paid"}); s.refused() }, 1},
		{"a licence, and no token", func(s *site) { s.licensed(map[string]any{"tier": "paid", "exp": today.Add(time.Hour).Unix()}) }, 1},
		{"a licence, and a fresh token", func(s *site) {
			s.login(map[string]any{"tier": "free"})
			s.licensed(map[string]any{"tier": "paid", "exp": today.Add(time.Hour).Unix()})
		}, 0},
	} {
		for _, declared := range []Tier{Free, Paid} {
			s := newSite(t)
			c.make(s)
			asked := 0
			g := New(Options{Declared: declared, Load: s.load, Clock: s.clock, Refresh: func() { asked++ }})
			g.Check(TrainManaged)
			g.State()
			if asked != 0 {
				t.Errorf("%s: Check asked", c.name)
			}
			for range 50 {
				g.CheckRemote(TrainManaged)
				g.CheckRemote(TrainLocal)
			}
			if asked != c.want {
				t.Errorf("%s: asked %d times, want %d", c.name, asked, c.want)
			}
			g.Reload()
			g.CheckRemote(TrainLocal)
			if asked != 2*c.want {
				t.Errorf("%s: asked %d times after it was loaded again", c.name, asked)
			}
			if d := s.gate(declared).CheckRemote(TrainLocal); !d.Allowed { // with nobody to ask
				t.Errorf("%+v", d)
			}
		}
	}
}

// TestOneLoadsAndTheOthersGoOn has one goroutine be slow to load.
func TestOneLoadsAndTheOthersGoOn(t *testing.T) {
	s := newSite(t)
	var loads atomic.Int32
	began, free := make(chan struct{}, 1), make(chan struct{})
	g := New(Options{Declared: Paid, Clock: s.clock, Load: func() entitle.State {
		if loads.Add(1) > 1 {
			began <- struct{}{}
			<-free
		}
		return s.store.Look()
	}})
	g.CheckRemote(TrainManaged)
	pass(g)
	var slow sync.WaitGroup
	slow.Go(func() { g.CheckRemote(TrainManaged) })
	<-began
	for range 10 {
		if d := g.CheckRemote(TrainManaged); !d.Allowed {
			t.Errorf("%+v", d)
		}
	}
	close(free)
	slow.Wait()
	if n := loads.Load(); n != 2 {
		t.Errorf("%d loads", n)
	}
}

// TestTheFirstLoadIsOne has many goroutines ask before anything is known, and
// after a Reload.
func TestTheFirstLoadIsOne(t *testing.T) {
	s := newSite(t)
	s.login(map[string]any{"tier": "free"})
	var loads, started atomic.Int32
	g := New(Options{Declared: Paid, Clock: s.clock, Load: func() entitle.State {
		loads.Add(1)
		for n := 0; started.Load() < 16 || n < 1000; n++ { // so that the others come to wait
			runtime.Gosched()
		}
		return s.store.Look()
	}})
	for round := range int32(2) {
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				started.Add(1)
				if d := g.CheckRemote(TrainManaged); d.Code != fault.GateTierRemoteMismatch {
					t.Errorf("%+v", d)
				}
			})
		}
		all.Wait()
		if n := loads.Load(); n != round+1 {
			t.Errorf("%d loads", n)
		}
		started.Store(0)
		g.Reload()
	}
}

// TestReloadIsNotLost has something be refreshed while it is being loaded: what
// was read before does not stand in the way of what came after.
func TestReloadIsNotLost(t *testing.T) {
	s := newSite(t)
	var loads atomic.Int32
	began, free := make(chan struct{}), make(chan struct{})
	g := New(Options{Declared: Paid, Clock: s.clock, Load: func() entitle.State {
		state := s.store.Look()
		if loads.Add(1) == 1 {
			close(began)
			<-free
		}
		return state
	}})
	var slow sync.WaitGroup
	slow.Go(func() { g.CheckRemote(TrainManaged) })
	<-began
	s.login(map[string]any{"tier": "free"})
	g.Reload()
	close(free)
	slow.Wait()
	if d := g.CheckRemote(TrainManaged); d.Code != fault.GateTierRemoteMismatch {
		t.Errorf("after Reload: %+v, %d loads", d, loads.Load())
	}
}

// TestManyGoroutines uses one gate from many, while the home changes.
func TestManyGoroutines(t *testing.T) {
	free, paid := newSite(t), newSite(t)
	free.login(map[string]any{"tier": "free"})
	paid.login(map[string]any{"tier": "paid"})
	states := [2]entitle.State{free.store.Look(), paid.store.Look()}
	var loads, asked atomic.Int64
	for _, declared := range []Tier{Free, Paid} {
		g := New(Options{
			Declared: declared, Clock: free.clock,
			Load:    func() entitle.State { return states[loads.Add(1)%2] },
			Refresh: func() { asked.Add(1) },
		})
		legal := map[string]bool{string(ByGrace): true, string(fault.GateTierDenied): true}
		if declared == Paid {
			legal = map[string]bool{string(ByLocal): true, string(fault.GateTierRemoteMismatch): true}
		}
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 2000 {
					if d := g.CheckRemote(TrainManaged); !legal[string(d.By)+string(d.Code)] {
						t.Errorf("%+v", d)
					}
					g.Check(TrainManaged)
					if i == 0 && n%10 == 0 {
						g.Reload()
					}
					if n%50 == 0 {
						state := g.State()
						state.Granting()
					}
				}
			})
		}
		all.Wait()
	}
	if loads.Load() < 10 || asked.Load() != 0 {
		t.Errorf("%d loads, asked %d times", loads.Load(), asked.Load())
	}
}

// gates are homes in which the fast path allows.
func gates(tb testing.TB) []namedGate {
	none, cached := newSite(tb), newSite(tb)
	cached.login(map[string]any{"tier": "paid", "entitlements": []any{map[string]any{"key": TrainManaged}}})
	gate := func(s *site) *Gate { return New(Options{Declared: Paid, Load: s.load, Refresh: func() {}}) }
	return []namedGate{{"nothing cached", gate(none)}, {"a cached token", gate(cached)}}
}

type namedGate struct {
	name string
	*Gate
}

func TestTheFastPathDoesNotAllocate(t *testing.T) {
	for _, g := range gates(t) {
		for method, check := range map[string]func(string) Decision{"Check": g.Check, "CheckRemote": g.CheckRemote} {
			allowed := true
			if n := testing.AllocsPerRun(1000, func() { allowed = allowed && check(TrainManaged).Allowed }); n != 0 || !allowed {
				t.Errorf("%s, %s: %v allocations, allowed %v", method, g.name, n, allowed)
			}
		}
	}
}

// BenchmarkGate is the fast path: the declared tier allows.
func BenchmarkGate(b *testing.B) {
	for _, g := range gates(b) {
		b.Run(g.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !g.CheckRemote(TrainManaged).Allowed {
					b.Fatal("denied")
				}
			}
		})
	}
}
