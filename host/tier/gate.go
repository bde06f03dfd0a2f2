package tier

import (
	"sync"
	"sync/atomic"
	"time"

	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
)

// reloadEvery is how old what is known of the entitlements may be: another
// process may have refreshed them, and reading them takes a fifth of a
// millisecond.
const reloadEvery = 10 * time.Second

// Options say what a gate decides by.
type Options struct {
	// Declared is the tier that config.yaml declares.
	Declared Tier
	// Load tells the entitlements, from files alone.
	Load func() entitle.State
	// Refresh is told that a refresh would help. It must not wait for anything,
	// and may be called from several goroutines; nil is not called.
	Refresh func()
	// Clock is the time; nil is the machine's.
	Clock func() time.Time
}

// Gate answers whether features are allowed. It is safe for use by several
// goroutines, and never waits for the network.
type Gate struct {
	declared Tier
	load     func() entitle.State
	refresh  func()
	clock    func() time.Time

	began   time.Time
	known   atomic.Pointer[known]
	loading sync.Mutex
	reloads atomic.Uint64 // how often Reload was called
}

// known is what the entitlements say, told for one moment.
type known struct {
	state entitle.State
	// reloads is Gate.reloads from before it was told.
	reloads uint64
	// until is when it is to be told again, since Gate.began.
	until time.Duration
	// contradicted says of each feature that a token which counts denies it.
	contradicted [len(features)]bool
	// ask says that a refresh would help and was not asked for yet.
	ask atomic.Bool
}

// New makes a gate. It loads nothing before it is asked.
func New(o Options) *Gate {
	g := &Gate{declared: o.Declared, load: o.Load, refresh: o.Refresh, clock: o.Clock, began: time.Now()}
	if g.clock == nil {
		g.clock = time.Now
	}
	return g
}

// Check tells whether the local tier has a feature: the declared one, or that
// of a licence. It loads entitlements only where the declared tier does not do.
func (g *Gate) Check(feature string) Decision {
	i := find(feature)
	if i < 0 {
		return unknown(feature)
	}
	if g.declared >= features[i].Needs {
		return Decision{Feature: feature, Allowed: true, By: ByLocal, Tier: g.declared}
	}
	state := g.current().state.At(g.clock())
	if d, ok := licensed(&state, features[i]); ok {
		return d
	}
	return g.denied(features[i], g.declared)
}

// CheckRemote tells whether a feature is allowed, the platform's verified word
// taken into account. See the package comment for its ladder. An allow by the
// declared tier allocates nothing.
func (g *Gate) CheckRemote(feature string) Decision {
	i := find(feature)
	if i < 0 {
		return unknown(feature)
	}
	k := g.current()
	if k.ask.Load() && k.ask.CompareAndSwap(true, false) && g.refresh != nil {
		g.refresh()
	}
	if g.declared >= features[i].Needs {
		if !k.contradicted[i] {
			return Decision{Feature: feature, Allowed: true, By: ByLocal, Tier: g.declared}
		}
		return Decision{Feature: feature, Tier: Parse(k.state.Token.Tier), Code: fault.GateTierRemoteMismatch, needs: features[i].Needs}
	}
	state := k.state.At(g.clock())
	if d, ok := licensed(&state, features[i]); ok {
		return d
	}
	if token := state.Current(); token != nil {
		if has := Parse(token.Tier); has >= features[i].Needs {
			return Decision{Feature: feature, Allowed: true, By: ByGrace, Tier: has}
		}
		if _, ok := token.Grant(feature, state.Now()); ok {
			return Decision{Feature: feature, Allowed: true, By: ByGrant, Tier: Parse(token.Tier)}
		}
		return g.denied(features[i], max(g.declared, Parse(token.Tier)))
	}
	return g.denied(features[i], g.declared)
}

// Reload makes the next answer look at the entitlements anew.
func (g *Gate) Reload() { g.reloads.Add(1) }

// State is what the entitlements say now, at most ten seconds old.
func (g *Gate) State() entitle.State { return g.current().state.At(g.clock()) }

// current returns what is known. One goroutine at a time tells it anew, and
// the others go on with what was known before.
func (g *Gate) current() *known {
	k := g.known.Load()
	stands := k != nil && k.reloads == g.reloads.Load()
	if stands && time.Since(g.began) < k.until {
		return k
	}
	if !stands {
		g.loading.Lock()
		if k := g.known.Load(); k != nil && k.reloads == g.reloads.Load() {
			g.loading.Unlock()
			return k
		}
	} else if !g.loading.TryLock() {
		return k
	}
	defer g.loading.Unlock()
	k = g.tell()
	g.known.Store(k)
	return k
}

func (g *Gate) tell() *known {
	reloads := g.reloads.Load() // ahead of what is loaded
	k := &known{state: g.load(), reloads: reloads, until: time.Since(g.began) + reloadEvery}
	k.ask.Store(k.state.TokenStatus() != entitle.Fresh)
	token := k.state.Current()
	for i, f := range features {
		if token == nil || k.state.License != nil && allows(k.state.License, f, &k.state) {
			continue
		}
		k.contradicted[i] = !allows(token, f, &k.state)
	}
	return k
}

// allows reports whether a token has a feature, by its tier or by a grant.
func allows(t *entitle.Token, f Feature, s *entitle.State) bool {
	if Parse(t.Tier) >= f.Needs {
		return true
	}
	_, ok := t.Grant(f.Key, s.Now())
	return ok
}

// licensed asks the licence of a state that was told for now.
func licensed(s *entitle.State, f Feature) (Decision, bool) {
	if s.License == nil || !allows(s.License, f, s) {
		return Decision{}, false
	}
	return Decision{Feature: f.Key, Allowed: true, By: ByLicense, Tier: Parse(s.License.Tier)}, true
}

func (g *Gate) denied(f Feature, has Tier) Decision {
	return Decision{Feature: f.Key, Tier: has, Code: fault.GateTierDenied, needs: f.Needs}
}

func unknown(feature string) Decision {
	return Decision{Feature: feature, Code: fault.GateUnknownFeature}
}
