package entitle

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
	"pgregory.net/rapid"
)

// shot is the content of the three files that anybody may edit: the cache, the
// pin and the clock.
type shot [3]string

func (s *site) editable() [3]string {
	return [3]string{s.o.Files.Cache, s.o.Files.Pin, s.o.Files.Clock}
}

func (s *site) shoot() (c shot) {
	for i, path := range s.editable() {
		c[i] = s.get(path)
	}
	return c
}

func (s *site) restore(c shot) {
	for i, path := range s.editable() {
		s.put(path, c[i])
	}
}

// rank orders the statuses by what they give.
func rank(s Status) int {
	return slices.Index([]Status{Grace, Stale, Fresh, License}, s) + 1
}

// better tells in what one state is better than another; "" where in nothing.
// The token and the licence are held against each other one by one: where a
// licence has ended sooner, Status and Ends speak of the token, which may hold
// for longer.
func better(s, than State) string {
	switch {
	case rank(s.TokenStatus()) > rank(than.TokenStatus()):
		return fmt.Sprintf("token %s after %s", s.TokenStatus(), than.TokenStatus())
	case rank(s.Status) > max(rank(than.Status), rank(than.TokenStatus())):
		return fmt.Sprintf("status %s after %s", s.Status, than.Status)
	}
	if why := says(s.Current(), than.Current(), s.Now(), than.Now()); why != "" {
		return "token: " + why
	}
	if why := says(s.License, than.License, s.Now(), than.Now()); why != "" {
		return "licence: " + why
	}
	if s.License != nil && s.License.ExpiresAt.After(than.License.ExpiresAt) {
		return "a longer licence"
	}
	if s.Current() != nil {
		s.Status, than.Status = s.TokenStatus(), than.TokenStatus()
		if s.Ends().After(than.Ends()) {
			return fmt.Sprintf("the token ends at %v after %v", s.Ends(), than.Ends())
		}
	}
	return ""
}

// says tells what a token says that another does not say; each may be nil.
func says(t, than *Token, now, thanNow time.Time) string {
	if t == nil {
		return ""
	}
	if than == nil {
		return "a token after none"
	}
	if lowerTier(than.Tier, t.Tier) {
		return "tier " + t.Tier + " after " + than.Tier
	}
	for _, g := range t.Grants {
		covers := func(o Grant) bool {
			return o.Key == g.Key && o.Live(thanNow) && (o.ExpiresAt.IsZero() || !g.ExpiresAt.IsZero() && !g.ExpiresAt.After(o.ExpiresAt))
		}
		if g.Live(now) && !slices.ContainsFunc(than.Grants, covers) {
			return "grant " + g.Key
		}
	}
	return ""
}

// longAgo is when the licences were issued: one that has not begun yet is made
// to begin by a clock that is set forward, as any clock can be.
var longAgo = today.Add(-100 * 24 * time.Hour)

// past is how a home came to be what it is.
type past struct {
	*site
	shots    []shot
	tokens   []string // genuine ones
	licenses []string
	ring     []signer // the platform's keys, the one that it signs with last
	steps    int      // of the rotation
}

// events are what may happen to a home. Sizes are drawn with n.
var events = []struct {
	name string
	run  func(p *past, n func(int) int)
}{
	{"refresh", (*past).refreshes},
	{"another refresh", (*past).refreshes},
	{"refused", func(p *past, n func(int) int) {
		p.camp.tokenErr = fault.New([]fault.Code{fault.CampUnauthorized, fault.EntitlementsRefused}[n(2)], "no")
		p.refresh()
	}},
	{"no network", func(p *past, _ func(int) int) {
		p.camp.tokenErr = fault.New(fault.EntitlementsNetworkUnavailable, "none")
		p.refresh()
	}},
	{"licence", func(p *past, n func(int) int) {
		jws := rootKey.license(longAgo, claimed{
			"exp": p.now.Add(time.Duration(1+n(100)) * time.Hour).Unix(), "tier": []string{"free", "paid"}[n(2)],
		})
		p.licenses = append(p.licenses, jws)
		p.store.Import(jws)
	}},
	{"logout", func(p *past, _ func(int) int) { p.store.Forget() }},
	{"time passes", func(p *past, n func(int) int) {
		p.now = p.now.Add(time.Duration(n([]int{40, 70, 600}[n(3)])) * time.Minute)
	}},
	{"time is turned back", func(p *past, n func(int) int) { p.now = p.now.Add(-time.Duration(n(300)) * time.Minute) }},
	{"rotation", func(p *past, _ func(int) int) {
		if p.steps++; p.steps%2 == 1 {
			p.ring = append(p.ring, newSigner(fmt.Sprint("camp-", p.steps)))
		} else {
			p.ring = p.ring[1:]
			p.now = p.now.Add(24 * time.Hour)
		}
	}},
}

func (p *past) refreshes(n func(int) int) {
	change := claimed{"tier": []string{"free", "paid", "paid", "basic"}[n(4)]}
	var grants []any
	for i := range n(4) {
		g := claimed{"key": fmt.Sprint("feature-", (i+n(2))%4)}
		if n(3) == 0 {
			g["expires_at"] = p.now.Add(time.Duration(n(40)) * time.Hour).Unix()
		}
		grants = append(grants, g)
	}
	change["entitlements"] = grants
	at := p.now
	if n(3) == 0 { // served again by the platform, and valid for long
		at = p.now.Add(-time.Duration(n(30*60)) * time.Minute)
		change["exp"] = p.now.Add(time.Hour).Unix()
	}
	p.camp.set, p.camp.tokenErr = jwks(p.ring...), nil
	p.camp.token = p.ring[len(p.ring)-1].token(at, change)
	p.tokens = append(p.tokens, p.camp.token)
	p.refresh()
}

// happen lets an event happen, and looks at the home after it.
func (p *past) happen(i int, n func(int) int) {
	events[i].run(p, n)
	p.restart().Load()
	p.shots = append(p.shots, p.shoot())
}

func newPast(tb rapid.TB) *past {
	p := &past{site: newSite(tb), ring: []signer{key1}}
	p.shots = append(p.shots, p.shoot())
	return p
}

// edits are what may be done to a file.
var edits = []string{"intact", "deleted", "truncated", "one byte", "a member", "an older one", "the attacker's"}

// edit does it to file i of what there is.
func (p *past) edit(kind string, i int, now shot, n func(int) int) string {
	content := now[i]
	switch kind {
	case "deleted":
		return gone
	case "truncated":
		return content[:n(len(content)+1)]
	case "one byte":
		b := []byte(content)
		b[n(len(b))] ^= byte(1 << n(8))
		return string(b)
	case "a member":
		return p.member(i, content, n)
	case "an older one":
		return p.shots[n(len(p.shots))][i]
	case "the attacker's":
		var file any
		switch i {
		case 0:
			file = &cacheFile{V: 1, Token: rogueKey.token(p.now, claimed{"entitlements": granting("feature-0", "feature-1", "feature-2", "feature-3")}), FetchedAt: p.now}
		case 1:
			set, err := ParseKeySet(jwks(rogueKey, key1))
			if err != nil {
				p.tb.Fatal(err)
			}
			file = newPin(set, p.o.URL, today).file()
		case 2:
			file = &clockFile{V: 1, Mark: today}
		}
		data, err := private.FormatJSON(file)
		if err != nil {
			p.tb.Fatal(err)
		}
		return string(data)
	}
	return content
}

// member changes a member of a file for what an attacker would like.
func (p *past) member(i int, content string, n func(int) int) string {
	var m map[string]any
	if json.Unmarshal([]byte(content), &m) != nil {
		m = map[string]any{"v": 1}
	}
	ahead := p.now.Add(time.Duration(n(3000)-1000) * time.Minute).Format(time.RFC3339Nano)
	switch i {
	case 0:
		switch n(4) {
		case 0:
			m["fetched_at"] = ahead
		case 1:
			delete(m, "ended")
		case 2:
			others := append(slices.Clone(p.tokens), key1.token(p.now, claimed{"entitlements": granting("feature-0", "feature-1", "feature-2", "feature-3")}))
			m["token"] = others[n(len(others))]
			if m["fetched_at"] == nil {
				m["fetched_at"] = ahead
			}
		case 3:
			others := append(slices.Clone(p.licenses), rootKey.license(longAgo, claimed{"exp": p.now.Add(2000 * time.Hour).Unix()}))
			m["license"], m["imported_at"] = others[n(len(others))], ahead
		}
	case 1:
		keys, _ := m["keys"].([]any)
		for _, k := range keys {
			k := k.(map[string]any)
			switch n(3) {
			case 0:
				delete(k, "removed_at")
			case 1:
				k["x"] = rogueKey.x()
			}
		}
		if n(2) == 0 {
			m["keys"] = append(keys, map[string]any{"kid": rogueKey.kid, "x": rogueKey.x(), "added_at": ahead})
		}
	case 2:
		m["mark"] = ahead
		if n(3) == 0 {
			m["mark"] = []string{"0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"}[n(3)]
		}
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		p.tb.Fatal(err)
	}
	return string(data)
}

// combine edits the files in every combination, and looks from several times: no
// combination may be better than the untouched home at the same time. It
// returns how many were tried, and how many of them granted something. Of the
// combinations one in sample is tried.
func (p *past) combine(sample int, n func(int) int) (tried, granted int) {
	now, witness := p.shoot(), p.get(p.o.Files.Witness)
	times := []time.Time{p.now, p.now.Add(-time.Duration(n(2000)) * time.Minute), p.now.Add(time.Duration(n(2000)) * time.Minute)}
	store := p.restart()
	untouched := store.read()
	var before [3]State
	for i, at := range times {
		before[i] = store.rules.evaluate(untouched, at)
	}
	check := func(what ...any) {
		f := store.read()
		for i, at := range times {
			state := store.rules.evaluate(f, at)
			if tried++; state.Granting() != nil {
				granted++
			}
			if why := better(state, before[i]); why != "" {
				p.tb.Fatalf("%v at %v: %s\nuntouched %q\nedited %q\nwitness %s", what, at, why, now, p.shoot(), witness)
			}
		}
	}
	for _, a := range edits {
		cache := p.edit(a, 0, now, n)
		p.put(p.o.Files.Cache, cache)
		for _, b := range edits {
			pin := p.edit(b, 1, now, n)
			p.put(p.o.Files.Pin, pin)
			for _, c := range edits {
				if n(sample) > 0 {
					continue
				}
				clock := p.edit(c, 2, now, n)
				p.put(p.o.Files.Clock, clock)
				check("cache", a, "pin", b, "clock", c)
				if n(16) > 0 {
					continue
				}
				// Now and then the home is used as it was edited, and put back.
				p.now = times[n(len(times))]
				store.Load()
				p.camp.tokenErr = fault.New(fault.EntitlementsNetworkUnavailable, "none")
				p.refresh()
				p.restore(now)
				check("cache", a, "pin", b, "clock", c, "used at", p.now, "and put back")
				p.restore(shot{cache, pin, clock})
				check("cache", a, "pin", b, "clock", c, "used at", p.now)
				p.now = times[0]
				p.put(p.o.Files.Witness, witness)
			}
		}
	}
	p.restore(now)
	return tried, granted
}

// TestEdits is the property that no change of the three files raises anything.
func TestEdits(t *testing.T) {
	tried, granted := 0, 0
	statuses := map[Status]int{}
	rapid.Check(t, func(rt *rapid.T) {
		p := newPast(rt)
		seed := rapid.Uint64().Draw(rt, "seed")
		n := rand.New(rand.NewPCG(seed, 0)).IntN
		for range rapid.IntRange(1, 10).Draw(rt, "length") {
			p.happen(rapid.IntRange(0, len(events)-1).Draw(rt, "event"), n)
		}
		statuses[p.store.Look().Status]++
		a, b := p.combine(3, n)
		tried, granted = tried+a, granted+b
	})
	if t.Failed() {
		return
	}
	for _, s := range []Status{Fresh, Stale, Grace, Expired, Missing, License} {
		if statuses[s] == 0 {
			t.Logf("no history ended with %s", s)
		}
	}
	if granted == 0 || len(statuses) < 4 {
		t.Errorf("of %d homes %d granted something, statuses %v", tried, granted, statuses)
	}
}

// TestEditsOfALongHistory edits one home after every event of a history that has
// all of them.
func TestEditsOfALongHistory(t *testing.T) {
	p := newPast(t)
	n := rand.New(rand.NewPCG(7, 0)).IntN
	for i := range events {
		p.happen(0, n)
		p.happen(i, n)
		p.combine(1, n)
	}
}

// TestAnAttackersPairCountsForNothing replaces pin and cache by a pair that fits
// together, with every clock.
func TestAnAttackersPairCountsForNothing(t *testing.T) {
	s := newSite(t)
	s.login(claimed{"tier": "free"})
	forged := newSite(t) // a home of the attacker's own
	forged.from(rogueKey)
	forged.accepted()
	for _, clock := range []string{s.get(s.o.Files.Clock), forged.get(forged.o.Files.Clock), gone} {
		s.put(s.o.Files.Cache, forged.get(forged.o.Files.Cache))
		s.put(s.o.Files.Pin, forged.get(forged.o.Files.Pin))
		s.put(s.o.Files.Clock, clock)
		for _, state := range []State{s.restart().Look(), s.store.Load(), s.store.Load()} {
			if state.Granting() != nil || state.Pin != nil || state.Token != nil {
				t.Errorf("%+v", state)
			}
		}
		s.camp.requests()
		s.from(rogueKey)
		_, err := s.refresh()
		code(t, err, fault.EntitlementsJWKSStale)
		s.asked(0, 0)
	}
}

// TestRemovalsRaiseNothing removes every set of the four files, the witness
// among them.
func TestRemovalsRaiseNothing(t *testing.T) {
	for _, license := range []bool{false, true} {
		for _, age := range []time.Duration{0, 30 * time.Minute, 2 * time.Hour, 30 * time.Hour} {
			for set := range 16 {
				s := newSite(t)
				s.login(claimed{"tier": "free", "entitlements": granting("a")})
				if license {
					s.importLicense(claimed{"tier": "free"})
				}
				s.now = s.now.Add(age)
				untouched := s.restart().Look()
				files := s.o.Files
				for i, path := range []string{files.Cache, files.Pin, files.Clock, files.Witness} {
					if set&(1<<i) != 0 {
						s.put(path, gone)
					}
				}
				for _, state := range []State{s.restart().Look(), s.store.Load(), s.store.Load()} {
					if why := better(state, untouched); why != "" {
						t.Errorf("%04b at age %v: %s", set, age, why)
					}
					if set&8 != 0 && state.Granting() != nil {
						t.Errorf("%04b at age %v grants without its witness", set, age)
					}
				}
			}
		}
	}
}
