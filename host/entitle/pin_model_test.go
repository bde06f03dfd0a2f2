package entitle

import (
	"crypto/ed25519"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

// offer is one element of a set that a platform serves: under a kid, the key
// made of a seed, or what cannot be used.
type offer struct {
	kid, seed string
	bad       string // "weak", "rsa" or "enc"; "" for a key that can be used
	by        signer // of the endorsement; no kid for none
	says      signer // whom the endorsement speaks of
}

func (e offer) jwk(weak string) string {
	s := modelSigner(e.kid, e.seed)
	var extra string
	if e.by.kid != "" {
		extra = `,"endorsement":"` + e.by.endorse(e.says) + `"`
	}
	switch e.bad {
	case "weak":
		return `{"kty":"OKP","crv":"Ed25519","kid":"` + e.kid + `","x":"` + weak + `"}`
	case "rsa":
		return `{"kty":"RSA","kid":"` + e.kid + `","n":"AQAB","e":"AQAB"}`
	case "enc":
		return s.jwk(`,"use":"enc"`)
	}
	return s.jwk(extra)
}

// pinModel is what was promised about pinning, and nothing else: the seed of
// each kid that stands, and which kids and seeds were withdrawn together.
type pinModel struct {
	live map[string]string
	dead map[[2]string]bool
}

func (m pinModel) clone() pinModel { return pinModel{maps.Clone(m.live), maps.Clone(m.dead)} }

func (m pinModel) tombstones() [][2]string {
	return slices.SortedFunc(maps.Keys(m.dead), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
}

// withdrawn reports whether a kid or a seed is one of a tombstone.
func (m pinModel) withdrawn(kid, seed string) bool {
	for pair := range m.dead {
		if pair[1] == seed || pair[0] == kid && m.live[kid] == "" {
			return true
		}
	}
	return false
}

// follow tells whether the platform's set is a silent swap or a replacement,
// and otherwise what comes after and who was not let in.
func (m pinModel) follow(set []offer, strict bool) (next pinModel, refused []string, stale bool) {
	next = m.clone()
	for kid, seed := range m.live {
		i := slices.IndexFunc(set, func(e offer) bool { return e.kid == kid })
		switch {
		case i < 0:
			delete(next.live, kid)
			next.dead[[2]string{kid, seed}] = true
		case set[i].bad != "" || set[i].seed != seed:
			return m, nil, true // another key under a known kid
		}
	}
	if len(next.live) == 0 {
		return m, nil, true // none of the pinned keys is left
	}
	for _, e := range set {
		if e.bad != "" || next.live[e.kid] != "" {
			continue
		}
		by := m.live[e.by.kid]
		endorsed := by != "" && e.by.public().Equal(modelSigner("", by).public()) &&
			e.says.kid == e.kid && e.says.public().Equal(modelSigner("", e.seed).public())
		if next.withdrawn(e.kid, e.seed) || strict && !endorsed {
			refused = append(refused, e.kid)
			continue
		}
		next.live[e.kid] = e.seed
	}
	return next, refused, false
}

// repin tells what stands once a person vouched for the keys of some seeds.
func (m pinModel) repin(set []offer, expect []string, strict bool) (next pinModel, ok bool) {
	next = pinModel{map[string]string{}, map[[2]string]bool{}}
	served := map[string]bool{}
	for _, e := range set {
		if e.bad != "" {
			continue
		}
		served[e.seed] = true
		if slices.Contains(expect, e.seed) || !strict && !m.withdrawn(e.kid, e.seed) {
			next.live[e.kid] = e.seed
		}
	}
	for _, seed := range expect {
		if !served[seed] {
			return m, false
		}
	}
	for kid, seed := range m.live {
		next.dead[[2]string{kid, seed}] = true
	}
	maps.Copy(next.dead, m.dead)
	for kid, seed := range next.live {
		delete(next.dead, [2]string{kid, seed})
	}
	return next, true
}

var (
	modelKids  = []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	modelSeeds = []string{"1", "2", "3", "4", "5", "6", "7", "8"}
	modelKeys  = func() map[string]ed25519.PrivateKey {
		keys := map[string]ed25519.PrivateKey{}
		for _, seed := range modelSeeds {
			keys[seed] = newSignerFrom("", seed).private
		}
		return keys
	}()
)

// modelSigner is newSignerFrom for the seeds of the model, made once.
func modelSigner(kid, seed string) signer { return signer{kid, modelKeys[seed]} }

// mutate draws what the platform serves next: mostly what it served before.
func mutate(t *rapid.T, set []offer, m pinModel) []offer {
	set = slices.Clone(set)
	kid := func() string { return rapid.SampledFrom(modelKids).Draw(t, "kid") }
	seed := func() string { return rapid.SampledFrom(modelSeeds).Draw(t, "seed") }
	put := func(e offer) {
		set = slices.DeleteFunc(set, func(o offer) bool { return o.kid == e.kid })
		set = slices.Insert(set, rapid.IntRange(0, len(set)).Draw(t, "at"), e)
	}
	anyOf := func(name string) (offer, bool) {
		if len(set) == 0 {
			return offer{}, false
		}
		return rapid.SampledFrom(set).Draw(t, name), true
	}
	for range rapid.IntRange(1, 2).Draw(t, "changes") {
		switch rapid.SampledFrom([]string{"add", "add", "remove", "swap", "spoil", "mend", "return", "endorse", "endorse", "endorse", "endorse", "shuffle"}).Draw(t, "change") {
		case "add":
			put(offer{kid: kid(), seed: seed()})
		case "remove":
			if e, ok := anyOf("removed"); ok {
				set = slices.DeleteFunc(set, func(o offer) bool { return o.kid == e.kid })
			}
		case "swap":
			if e, ok := anyOf("swapped"); ok {
				put(offer{kid: e.kid, seed: seed()})
			}
		case "spoil":
			if e, ok := anyOf("spoilt"); ok {
				e.bad = rapid.SampledFrom([]string{"weak", "rsa", "enc"}).Draw(t, "how")
				put(e)
			}
		case "mend": // serve again just what is pinned
			for _, k := range modelKids {
				if m.live[k] != "" {
					put(offer{kid: k, seed: m.live[k]})
				}
			}
		case "return":
			if list := m.tombstones(); len(list) > 0 {
				pair := rapid.SampledFrom(list).Draw(t, "tombstone")
				put(offer{kid: rapid.SampledFrom([]string{pair[0], kid()}).Draw(t, "returns as"), seed: rapid.SampledFrom([]string{pair[1], seed()}).Draw(t, "with")})
			}
		case "endorse":
			e := offer{kid: kid(), seed: seed()}
			for _, k := range modelKids { // mostly one that is new
				if m.live[k] == "" && rapid.IntRange(0, 3).Draw(t, "new") > 0 {
					e.kid = k
					break
				}
			}
			e.says = modelSigner(e.kid, e.seed)
			by := rapid.SampledFrom(slices.Sorted(maps.Keys(m.live))).Draw(t, "by")
			e.by = modelSigner(by, m.live[by])
			switch rapid.IntRange(0, 9).Draw(t, "of") {
			case 0:
				e.says = modelSigner(kid(), e.seed)
			case 1:
				e.says = modelSigner(e.kid, seed())
			case 2:
				e.by = modelSigner(e.kid, e.seed)
			case 3:
				e.by = modelSigner(by, seed())
			case 4:
				if list := m.tombstones(); len(list) > 0 {
					pair := rapid.SampledFrom(list).Draw(t, "by the tombstone")
					e.by = modelSigner(pair[0], pair[1])
				}
			}
			put(e)
		case "shuffle":
			set = rapid.Permutation(set).Draw(t, "order")
		}
	}
	return set
}

// Whatever a platform serves, one set after another, the pin is what the model
// says, and what follows from it by logic.
func TestPinFollowsModel(t *testing.T) {
	weak := b64(smallOrder(t)[3])
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		set := []offer{{kid: "a", seed: "1"}, {kid: "b", seed: "2"}, {kid: "c", seed: "3"}}[:rapid.IntRange(1, 3).Draw(t, "at first")]
		m := pinModel{map[string]string{}, map[[2]string]bool{}}
		for _, e := range set {
			m.live[e.kid] = e.seed
		}
		pin := newPin(parseOffers(t, set, weak), "https://camp.test", today)
		for step := range rapid.IntRange(4, 16).Draw(t, "steps") {
			now := today.Add(time.Duration(step+1) * time.Hour)
			strict := rapid.Bool().Draw(t, "strict")
			set = mutate(t, set, m)
			parsed := parseOffers(t, set, weak)
			if parsed == nil {
				seen["no key"]++
				continue
			}
			before := clonePin(pin)
			if rapid.IntRange(0, 7).Draw(t, "repin") == 0 {
				expect := []string{rapid.SampledFrom(set).Draw(t, "vouched").seed}
				if rapid.Bool().Draw(t, "and another") {
					expect = append(expect, rapid.SampledFrom(modelSeeds).Draw(t, "vouched too"))
				}
				var thumbprints []string
				for _, s := range expect {
					thumbprints = append(thumbprints, modelSigner("", s).thumbprint())
				}
				wantNext, ok := m.repin(set, expect, strict)
				next, err := pin.repin(parsed, thumbprints, strict, pin.URL, now)
				if !samePin(pin, before) || ok != (err == nil) || ok != (next != nil) {
					t.Fatalf("repinned: %+v, %v; want %v", next, err, ok)
				}
				if ok {
					seen["repinned"]++
					m, pin = wantNext, reread(t, next)
					checkPin(t, pin, m)
				}
				continue
			}
			wantNext, wantRefused, wantStale := m.follow(set, strict)
			next, refused, err := pin.follow(parsed, strict, now)
			if !samePin(pin, before) {
				t.Fatal("the pin itself was changed")
			}
			if wantStale {
				seen["stale"]++
				// So that most histories go on: what a platform serves by mistake it mends.
				set = nil
				for _, k := range modelKids {
					if m.live[k] != "" {
						set = append(set, offer{kid: k, seed: m.live[k]})
					}
				}
				if fault.CodeOf(err) != fault.EntitlementsJWKSStale || next != nil {
					t.Fatalf("%+v follows, %v; want it stale", next, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%v, want %+v", err, wantNext)
			}
			if !slices.Equal(refused, wantRefused) {
				t.Fatalf("refused %q, want %q", refused, wantRefused)
			}
			if len(refused) > 0 {
				seen["refused"]++
			}
			if len(next.Keys) > len(pin.Keys) {
				seen["added"]++
				if strict {
					seen["endorsed"]++
				}
			}
			for pair := range m.dead {
				if wantNext.live[pair[0]] == pair[1] || !wantNext.dead[pair] {
					t.Fatalf("the model lets %q come back", pair)
				}
			}
			m, pin = wantNext, reread(t, next)
			checkPin(t, pin, m)
			seen["withdrawn"] += len(m.dead)

			// And what a token makes of it.
			s := modelSigner(rapid.SampledFrom(modelKids).Draw(t, "kid of a token"), rapid.SampledFrom(modelSeeds).Draw(t, "key of a token"))
			v := Verifier{Issuers: issued, keys: pin.find}
			_, err = v.Verify(s.token(now, nil), now)
			if good := m.live[s.kid] != "" && s.public().Equal(modelSigner("", m.live[s.kid]).public()); good != (err == nil) {
				t.Fatalf("a token under %q: %v", s.kid, err)
			} else if good {
				seen["verified"]++
			}
		}
	})
	for _, what := range []string{"stale", "refused", "added", "endorsed", "withdrawn", "repinned", "verified"} {
		if seen[what] == 0 {
			t.Errorf("no history had a step with %q", what)
		}
	}
}

func parseOffers(t *rapid.T, set []offer, weak string) *KeySet {
	var elements []string
	usable := false
	for _, e := range set {
		elements = append(elements, e.jwk(weak))
		usable = usable || e.bad == ""
	}
	parsed, err := ParseKeySet(setOf(elements...))
	if usable != (err == nil) || !usable && !isRejection(err, CheckNoKey) {
		t.Fatalf("%s: %v", strings.Join(elements, "\n"), err)
	}
	return parsed
}

// reread is the pin as the next run finds it.
func reread(t *rapid.T, p *Pin) *Pin {
	data, err := private.FormatJSON(p.file())
	if err != nil {
		t.Fatal(err)
	}
	var f pinFile
	if err := private.ParseJSON(data, &f); err != nil {
		t.Fatal(err)
	}
	again, ok := f.pin()
	if !ok || !samePin(again, p) {
		t.Fatalf("read again: %+v, was %+v", again, p)
	}
	return again
}

// checkPin holds a pin against the model.
func checkPin(t *rapid.T, p *Pin, m pinModel) {
	if len(p.Keys) != len(m.live)+len(m.dead) {
		t.Fatalf("%d keys, want %v and %v", len(p.Keys), m.live, m.dead)
	}
	has := func(kid, seed string, active bool) bool {
		public := modelSigner("", seed).public()
		return slices.ContainsFunc(p.Keys, func(k PinnedKey) bool { return k.ID == kid && k.Active() == active && k.Public.Equal(public) })
	}
	for kid, seed := range m.live {
		if !has(kid, seed, true) || !p.find(kid).Equal(modelSigner("", seed).public()) {
			t.Fatalf("%q does not stand: %+v", kid, p)
		}
	}
	for pair := range m.dead {
		if !has(pair[0], pair[1], false) {
			t.Fatalf("%q is no tombstone: %+v", pair, p)
		}
	}
	for _, kid := range modelKids {
		if m.live[kid] == "" && p.find(kid) != nil {
			t.Fatalf("%q is found", kid)
		}
	}
}

func TestPinFileRefuses(t *testing.T) {
	good := `{"v":1,"url":"https://carl.camp","pinned_at":"2026-11-23T12:00:00Z","checked_at":"2026-11-23T12:00:00Z","keys":[` +
		`{"kid":"a","x":"` + kA.x() + `","added_at":"2026-11-23T12:00:00Z"},` +
		`{"kid":"b","x":"` + kB.x() + `","added_at":"2026-11-23T12:00:00Z","removed_at":"2026-11-23T13:00:00Z"}]}`
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	line := func(kid string) string {
		return `{"kid":"` + kid + `","x":"` + kA.x() + `","added_at":"2026-11-23T12:00:00Z"},`
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(strings.Repeat("k", i+2)))
		}
		return strings.Replace(good, `{"kid":"a"`, b.String()+`{"kid":"a"`, 1)
	}
	odd, _ := nonCanonical(t)
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"good", good, true},
		{"64 keys", many(62), true},
		{"one key under two ids", swap(`{"kid":"a"`, line("c")+`{"kid":"a"`), true},
		{"65 keys", many(63), false},
		{"empty", "", false},
		{"cut", good[:100], false},
		{"no version", swap(`"v":1,`, ``), false},
		{"a later version", swap(`"v":1`, `"v":2`), false},
		{"unknown member", swap(`"v":1`, `"v":1,"strict":false`), false},
		{"unknown member of a key", swap(`"kid":"a"`, `"kid":"a","trusted":true`), false},
		{"member twice", swap(`"kid":"a"`, `"kid":"a","kid":"a"`), false},
		{"name in other case", swap(`"kid":"a"`, `"KID":"a"`), false},
		{"trailing data", good + "{}", false},
		{"no keys", swap(good[strings.Index(good, `"keys"`):], `"keys":[]}`), false},
		{"keys missing", swap(good[strings.Index(good, `,"keys"`):], `}`), false},
		{"keys null", swap(good[strings.Index(good, `"keys"`):], `"keys":null}`), false},
		{"tombstones alone", swap(kA.x()+`",`, kA.x()+`","removed_at":"2026-11-23T12:00:00Z",`), false},
		{"kid twice, one of them withdrawn", swap(`"kid":"b"`, `"kid":"a"`), true},
		{"kid twice, and active", swap(`{"kid":"a"`, line("a")+`{"kid":"a"`), false},
		{"kid twice, and active, with two keys", swap(`{"kid":"a"`, strings.Replace(line("a"), kA.x(), kC.x(), 1)+`{"kid":"a"`), false},
		{"kid twice, and active, behind a tombstone", swap(`"removed_at":"2026-11-23T13:00:00Z"}`, `"removed_at":"2026-11-23T13:00:00Z"},`+
			strings.TrimSuffix(strings.Replace(line("a"), kA.x(), kC.x(), 1), ",")), false},
		{"key that stands and is withdrawn", swap(`{"kid":"a"`, strings.Replace(line("a"), `"},`, `","removed_at":"2026-11-23T13:00:00Z"},`, 1)+`{"kid":"a"`), false},
		{"kid empty", swap(`"kid":"a"`, `"kid":""`), false},
		{"kid missing", swap(`"kid":"a",`, ``), false},
		{"kid with a space", swap(`"kid":"a"`, `"kid":"a b"`), false},
		{"kid with a line feed", swap(`"kid":"a"`, `"kid":"a\n"`), false},
		{"kid of 129 bytes", swap(`"kid":"a"`, `"kid":"`+strings.Repeat("k", 129)+`"`), false},
		{"tombstone's kid with a space", swap(`"kid":"b"`, `"kid":"b b"`), false},
		{"x missing", swap(`"x":"`+kA.x()+`",`, ``), false},
		{"x short", swap(kA.x(), "AQ"), false},
		{"x padded", swap(kA.x(), kA.x()+"="), false},
		{"x of small order", swap(kA.x(), weakX(t)), false},
		{"x not canonical", swap(kA.x(), b64(odd[len(odd)-1])), false},
		{"x no point", swap(kA.x(), b64(noPoint(t))), false},
		{"x of a tombstone short", swap(kB.x(), "AQ"), false},
		{"time that is none", swap(`"removed_at":"2026-11-23T13:00:00Z"`, `"removed_at":"soon"`), false},
		{"time that is a number", swap(`"removed_at":"2026-11-23T13:00:00Z"`, `"removed_at":0`), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f pinFile
			err := private.ParseJSON([]byte(c.text), &f)
			ok := err == nil
			if ok {
				_, ok = f.pin()
			}
			if ok != c.want {
				t.Errorf("taken: %v, %v", ok, err)
			}
		})
	}
}

func weakX(t testing.TB) string { return b64(smallOrder(t)[1]) }
