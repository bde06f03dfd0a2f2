package entitle

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

var (
	kA, kB, kC = newSigner("a"), newSigner("b"), newSigner("c")
	tomorrow   = today.AddDate(0, 0, 1)
)

// pinned makes a pin: active keys, and withdrawn ones.
func pinned(active, buried []signer) *Pin {
	p := &Pin{URL: ownIssuer, PinnedAt: today.AddDate(0, -1, 0), CheckedAt: today.AddDate(0, 0, -1)}
	for _, s := range buried {
		p.Keys = append(p.Keys, PinnedKey{s.kid, s.public(), today.AddDate(0, -1, 0), today.AddDate(0, 0, -1)})
	}
	for _, s := range active {
		p.Keys = append(p.Keys, PinnedKey{ID: s.kid, Public: s.public(), AddedAt: today.AddDate(0, -1, 0)})
	}
	return p
}

// keysOf says which keys a pin has, active ones first: a, then -b for a
// tombstone; a key under a kid that is not its own as kid=key.
func keysOf(p *Pin, signers ...signer) string {
	var active, buried []string
	for _, k := range p.Keys {
		name := k.ID
		if own := newSigner(k.ID); !bytes.Equal(own.public(), k.Public) {
			name += "=" + nameOf(k.Public, signers)
		}
		if k.Active() {
			active = append(active, name)
		} else {
			buried = append(buried, "-"+name)
		}
	}
	slices.Sort(active)
	slices.Sort(buried)
	return strings.Join(append(active, buried...), " ")
}

func nameOf(public []byte, signers []signer) string {
	for _, s := range append(signers, kA, kB, kC) {
		if bytes.Equal(s.public(), public) {
			return s.kid
		}
	}
	return "?"
}

// clonePin is deep, so that a change of what is shared shows.
func clonePin(p *Pin) *Pin {
	c := *p
	c.Keys = slices.Clone(p.Keys)
	for i := range c.Keys {
		c.Keys[i].Public = bytes.Clone(c.Keys[i].Public)
	}
	return &c
}

func samePin(a, b *Pin) bool {
	return a.URL == b.URL && a.PinnedAt.Equal(b.PinnedAt) && a.CheckedAt.Equal(b.CheckedAt) &&
		slices.EqualFunc(a.Keys, b.Keys, func(a, b PinnedKey) bool {
			return a.ID == b.ID && a.Public.Equal(b.Public) && a.AddedAt.Equal(b.AddedAt) && a.RemovedAt.Equal(b.RemovedAt)
		})
}

func samePinnedKey(a, b PinnedKey) bool { return a.ID == b.ID && a.Public.Equal(b.Public) }

func mustParse(t testing.TB, elements ...string) *KeySet {
	t.Helper()
	set, err := ParseKeySet(setOf(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestNewPin(t *testing.T) {
	p := newPin(mustParse(t, kA.jwk(), `{"kty":"RSA","kid":"r"}`, kB.jwk()), ownIssuer, today)
	if keysOf(p) != "a b" || p.URL != ownIssuer || p.PinnedAt != today || p.CheckedAt != today || p.Keys[0].AddedAt != today {
		t.Errorf("%+v", p)
	}
}

func TestFollow(t *testing.T) {
	as := func(kid string, s signer) signer { return signer{kid, s.private} }
	weak := func(kid string) string {
		return `{"kty":"OKP","crv":"Ed25519","kid":"` + kid + `","x":"` + b64(smallOrder(t)[1]) + `"}`
	}
	rsa := func(kid string) string { return `{"kty":"RSA","kid":"` + kid + `","n":"AQAB","e":"AQAB"}` }
	endorsed := func(s, by signer) string { return s.jwk(`,"endorsement":"` + by.endorse(s) + `"`) }
	list := func(s ...signer) []signer { return s }
	swapped, none := "another key under the pinned id", "none of the pinned keys"
	type row struct {
		name           string
		active, buried []signer
		served         []string
		strict         bool
		want           string // of keysOf; "" is an error
		refused        string
		err            string
	}
	rows := []row{
		{"the same", list(kA), nil, served(kA), false, "a", "", ""},
		{"the same, strict", list(kA), nil, served(kA), true, "a", "", ""},
		{"another order", list(kA, kB), nil, served(kB, kA), false, "a b", "", ""},
		{"swap", list(kA), nil, served(as("a", kB)), false, "", "", swapped},
		{"swap beside another", list(kA, kB), nil, served(as("a", kC), kB), false, "", "", swapped},
		{"swap of two with each other", list(kA, kB), nil, served(as("a", kB), as("b", kA)), false, "", "", swapped},
		{"swap and the old one under a new id", list(kA), nil, served(as("a", kB), as("c", kA)), false, "", "", swapped},
		{"swap for one that cannot be used", list(kA, kB), nil, []string{weak("a"), kB.jwk()}, false, "", "", swapped},
		{"swap for another type", list(kA, kB), nil, []string{kB.jwk(), rsa("a")}, false, "", "", swapped},
		{"the same key for another use", list(kA, kB), nil, []string{kA.jwk(`,"use":"enc"`), kB.jwk()}, false, "", "", swapped},
		{"swap with an endorsement", list(kA, kB), nil, []string{endorsed(as("a", kC), kA), kB.jwk()}, true, "", "", swapped},
		{"all others", list(kA), nil, served(kB), false, "", "", none},
		{"all others, endorsed", list(kA), nil, []string{endorsed(kB, kA)}, true, "", "", none},
		{"all of two", list(kA, kB), nil, served(kC), false, "", "", none},
		{"renamed", list(kA), nil, served(as("b", kA)), false, "", "", none},
		{"tombstone alone", list(kA), list(kB), served(kB), false, "", "", none},

		{"one more", list(kA), nil, served(kA, kB), false, "a b", "", ""},
		{"two more", list(kA), nil, served(kC, kA, kB), false, "a b c", "", ""},
		{"one more and one less", list(kA, kB), nil, served(kB, kC), false, "b c -a", "", ""},
		{"one less", list(kA, kB), nil, served(kA), false, "a -b", "", ""},
		{"all less but one", list(kA, kB, kC), nil, served(kC), false, "c -a -b", "", ""},
		{"one less, strict", list(kA, kB), nil, served(kA), true, "a -b", "", ""},
		{"what cannot be used beside", list(kA), nil, []string{kA.jwk(), rsa("r"), weak("w")}, false, "a", "", ""},
		{"a second id for an active key", list(kA), nil, served(kA, as("b", kA)), false, "a b=a", "", ""},

		{"tombstone comes back", list(kA), list(kB), served(kA, kB), false, "a -b", "b", ""},
		{"tombstone comes back, first in the set", list(kA), list(kB), served(kB, kA), false, "a -b", "b", ""},
		{"tombstone comes back with another key", list(kA), list(kB), served(kA, as("b", kC)), false, "a -b", "b", ""},
		{"tombstone comes back under a new id", list(kA), list(kB), served(kA, as("c", kB)), false, "a -b", "c", ""},
		{"tombstone comes back, endorsed", list(kA), list(kB), []string{kA.jwk(), endorsed(kB, kA)}, true, "a -b", "b", ""},
		{"tombstone comes back under a new id, endorsed", list(kA), list(kB), []string{kA.jwk(), endorsed(as("c", kB), kA)}, true, "a -b", "c", ""},
		{"tombstone's id for what cannot be used", list(kA), list(kB), []string{kA.jwk(), rsa("b")}, false, "a -b", "", ""},
		{"renamed while it goes", list(kA, kB), nil, served(kA, as("c", kB)), false, "a -b", "c", ""},
		{"tombstone beside one more", list(kA), list(kB), served(kB, kC, kA), false, "a c -b", "b", ""},
		{"two tombstones come back", list(kA), list(kB, kC), served(kC, kA, kB), false, "a -b -c", "c b", ""},

		{"kid that was given another key by hand", list(as("a", kB)), list(kA), served(as("a", kB)), false, "a=b -a", "", ""},
		{"kid that was given another key by hand goes back", list(as("a", kB)), list(kA), served(kA), false, "", "", swapped},
		{"kid that was given another key by hand, and the old key", list(as("a", kB)), list(kA), served(as("a", kB), as("c", kA)), false, "a=b -a", "c", ""},
		{"kid that was given another key by hand goes", list(as("a", kB), kC), list(kA), served(kC), false, "c -a -a=b", "", ""},
		{"kid that was given another key by hand comes back", list(kC), list(kA, as("a", kB)), served(as("a", kB), kC), false, "c -a -a=b", "a", ""},

		{"strict, without a word", list(kA), nil, served(kA, kB), true, "a", "b", ""},
		{"strict, endorsed", list(kA), nil, []string{kA.jwk(), endorsed(kB, kA)}, true, "a b", "", ""},
		{"strict, endorsed by one of two", list(kA, kB), nil, []string{kA.jwk(), kB.jwk(), endorsed(kC, kB)}, true, "a b c", "", ""},
		{"strict, endorsed by one that goes", list(kA, kB), nil, []string{kB.jwk(), endorsed(kC, kA)}, true, "b c -a", "", ""},
		{"strict, one of two endorsed", list(kA), nil, []string{kA.jwk(), kB.jwk(), endorsed(kC, kA)}, true, "a c", "b", ""},
		{"strict, endorsed by one that only comes", list(kA), nil, []string{kA.jwk(), endorsed(kB, kA), endorsed(kC, kB)}, true, "a b", "c", ""},
		{"strict, endorsed by itself", list(kA), nil, []string{kA.jwk(), endorsed(kB, kB)}, true, "a", "b", ""},
		{"strict, endorsed by itself in the name of another", list(kA), nil, []string{kA.jwk(), endorsed(kB, as("a", kB))}, true, "a", "b", ""},
		{"strict, endorsed by a stranger", list(kA), nil, []string{kA.jwk(), endorsed(kB, newSigner("stranger"))}, true, "a", "b", ""},
		{"strict, endorsed by a tombstone", list(kA), list(kC), []string{kA.jwk(), endorsed(kB, kC)}, true, "a -c", "b", ""},
		{"strict, endorsed by a tombstone in the name of another", list(kA), list(kC), []string{kA.jwk(), endorsed(kB, as("a", kC))}, true, "a -c", "b", ""},
	}
	// What an endorsement can have wrong.
	typ := `,"typ":"carl-key+jwt"`
	said := func(kid, jkt string) string { return `{"kid":"` + kid + `","jkt":"` + jkt + `"}` }
	right := said("b", kB.thumbprint())
	for _, c := range []struct{ name, endorsement string }{
		{"empty", ""},
		{"no token", "yes"},
		{"for another id", kA.sign(kA.header(typ), said("c", kB.thumbprint()))},
		{"for another key", kA.sign(kA.header(typ), said("b", kC.thumbprint()))},
		{"for the endorsing key", kA.sign(kA.header(typ), said("b", kA.thumbprint()))},
		{"without a kid", kA.sign(kA.header(typ), `{"jkt":"`+kB.thumbprint()+`"}`)},
		{"without a jkt", kA.sign(kA.header(typ), `{"kid":"b"}`)},
		{"with a kid that is no text", kA.sign(kA.header(typ), `{"kid":["b"],"jkt":"`+kB.thumbprint()+`"}`)},
		{"with a jkt that is no text", kA.sign(kA.header(typ), `{"kid":"b","jkt":null}`)},
		{"with a jkt twice", kA.sign(kA.header(typ), right[:len(right)-1]+`,"jkt":"`+kB.thumbprint()+`"}`)},
		{"with trailing data", kA.sign(kA.header(typ), right+"{}")},
		{"as a list", kA.sign(kA.header(typ), "["+right+"]")},
		{"in capitals", kA.sign(kA.header(typ), strings.ToUpper(right))},
		{"with a padded jkt", kA.sign(kA.header(typ), said("b", kB.thumbprint()+"="))},
		{"with x for jkt", kA.sign(kA.header(typ), said("b", kB.x()))},
		{"of no typ", kA.sign(kA.header(), right)},
		{"of typ JWT", kA.sign(kA.header(`,"typ":"JWT"`), right)},
		{"of a licence's typ", kA.sign(kA.header(`,"typ":"carl-offline+jwt"`), right)},
		{"of alg none", kA.sign(`{"alg":"none","kid":"a","typ":"carl-key+jwt"}`, right)},
		{"of no kid", kA.sign(`{"alg":"EdDSA","typ":"carl-key+jwt"}`, right)},
		{"with a jwk", kA.sign(kA.header(typ, `,"jwk":`+kA.jwk()), right)},
		{"with a line feed", kA.endorse(kB) + `\n`},
		{"with a bad signature", strings.TrimRight(kA.endorse(kB), "AQgw") + "A"},
		{"of more than 8 KiB", kA.sign(kA.header(typ), right[:len(right)-1]+`,"pad":"`+strings.Repeat("p", 8000)+`"}`)},
	} {
		rows = append(rows, row{"strict, endorsement " + c.name, list(kA), nil,
			[]string{kA.jwk(), kB.jwk(`,"endorsement":"` + c.endorsement + `"`)}, true, "a", "b", ""})
	}
	rows = append(rows,
		row{"strict, endorsement that says more", list(kA), nil,
			[]string{kA.jwk(), kB.jwk(`,"endorsement":"` + kA.sign(kA.header(typ), right[:len(right)-1]+`,"iat":1}`) + `"`)}, true, "a b", "", ""},
		row{"strict, endorsement that is an object", list(kA), nil,
			[]string{kA.jwk(), kB.jwk(`,"endorsement":{}`)}, true, "a", "", ""},
		row{"strict, as a token for the platform", list(kA), nil,
			[]string{kA.jwk(), kB.jwk(`,"endorsement":"` + kA.token(today, map[string]any{"kid": "b", "jkt": kB.thumbprint()}) + `"`)}, true, "a", "b", ""},
	)
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			p := pinned(c.active, c.buried)
			before := clonePin(p)
			next, refused, err := p.follow(mustParse(t, c.served...), c.strict, tomorrow)
			if !samePin(p, before) {
				t.Errorf("the pin was changed: %+v, was %+v", p, before)
			}
			if c.want == "" {
				if fault.CodeOf(err) != fault.EntitlementsJWKSStale || !strings.Contains(err.Error(), c.err) || next != nil || refused != nil {
					t.Errorf("%+v, %q, %v", next, refused, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := keysOf(next); got != c.want {
				t.Errorf("keys %q, want %q", got, c.want)
			}
			if got := strings.Join(refused, " "); got != c.refused {
				t.Errorf("refused %q, want %q", got, c.refused)
			}
			if next.URL != p.URL || next.PinnedAt != p.PinnedAt || next.CheckedAt != tomorrow {
				t.Errorf("%+v", next)
			}
			for _, k := range next.Keys {
				old := slices.IndexFunc(before.Keys, func(o PinnedKey) bool { return samePinnedKey(o, k) })
				switch {
				case old < 0 && (k.AddedAt != tomorrow || !k.Active()):
					t.Errorf("new: %+v", k)
				case old >= 0 && k.AddedAt != before.Keys[old].AddedAt:
					t.Errorf("added at another time: %+v", k)
				case old >= 0 && !before.Keys[old].Active() && k.RemovedAt != before.Keys[old].RemovedAt:
					t.Errorf("withdrawn at another time: %+v", k)
				case old >= 0 && before.Keys[old].Active() && !k.Active() && k.RemovedAt != tomorrow:
					t.Errorf("withdrawn: %+v", k)
				}
				if found := next.find(k.ID); k.Public.Equal(found) != k.Active() {
					t.Errorf("%q found: %x", k.ID, found)
				}
			}
			roundTrip(t, next)
		})
	}
}

// served is the elements of a set.
func served(signers ...signer) []string {
	var elements []string
	for _, s := range signers {
		elements = append(elements, s.jwk())
	}
	return elements
}

func TestFollowHasRoomFor64Keys(t *testing.T) {
	var buried []signer
	for i := range 61 {
		buried = append(buried, newSigner("t"+strconv.Itoa(i)))
	}
	p := pinned([]signer{kA}, buried) // 62
	next, _, err := p.follow(mustParse(t, served(kA, kB, kC)...), false, today)
	if err != nil || len(next.Keys) != 64 {
		t.Fatalf("%+v, %v", next, err)
	}
	roundTrip(t, next)
	full := clonePin(next)
	if _, _, err := next.follow(mustParse(t, served(kA, kB, kC)...), false, today); err != nil {
		t.Errorf("the same set once more: %v", err)
	}
	more, _, err := next.follow(mustParse(t, served(kA, kB, kC, newSigner("d"))...), false, today)
	if fault.CodeOf(err) != fault.EntitlementsJWKSStale || more != nil || !strings.Contains(err.Error(), "more than 64 keys") {
		t.Errorf("%+v, %v", more, err)
	}
	if !samePin(next, full) {
		t.Error("the pin was changed")
	}
	// What is refused does not count.
	if got, refused, err := next.follow(mustParse(t, served(kA, newSigner("d"))...), true, today); err != nil || len(got.Keys) != 64 || len(refused) != 1 {
		t.Errorf("%+v, %q, %v", got, refused, err)
	}
}

func TestPinRepin(t *testing.T) {
	as := func(kid string, s signer) signer { return signer{kid, s.private} }
	list := func(s ...signer) []signer { return s }
	jkt := func(s ...signer) (l []string) {
		for _, s := range s {
			l = append(l, s.thumbprint())
		}
		return l
	}
	for _, c := range []struct {
		name           string
		active, buried []signer
		served         []string
		expect         []string
		strict         bool
		want           string
	}{
		{"no pin", nil, nil, served(kA), jkt(kA), false, "a"},
		{"no pin, the whole set", nil, nil, served(kA, kB), jkt(kA), false, "a b"},
		{"no pin, strict", nil, nil, served(kA, kB), jkt(kA), true, "a"},
		{"no pin, both", nil, nil, served(kA, kB), jkt(kA, kB), true, "a b"},
		{"no pin, one twice", nil, nil, served(kA), jkt(kA, kA), true, "a"},
		{"no pin, another", nil, nil, served(kA), jkt(kB), false, ""},
		{"no pin, one of two is not served", nil, nil, served(kA), jkt(kA, kB), false, ""},
		{"no pin, garbage", nil, nil, served(kA), []string{"garbage"}, false, ""},
		{"no pin, empty", nil, nil, served(kA), []string{""}, false, ""},
		{"no pin, x", nil, nil, served(kA), []string{kA.x()}, false, ""},
		{"no pin, kid", nil, nil, served(kA), []string{"a"}, false, ""},
		{"no pin, in other case", nil, nil, served(kA), []string{strings.ToLower(kA.thumbprint())}, false, ""},
		{"the same", list(kA), nil, served(kA), jkt(kA), false, "a"},
		{"replaced", list(kA), nil, served(kB), jkt(kB), false, "b -a"},
		{"replaced by two of which one is named", list(kA), nil, served(kB, kC), jkt(kB), false, "b c -a"},
		{"replaced, strict", list(kA), nil, served(kB, kC), jkt(kB), true, "b -a"},
		{"strict keeps of the old what is vouched for", list(kA, kB), nil, served(kA, kB, kC), jkt(kA, kC), true, "a c -b"},
		{"the old one is served but not named", list(kA), nil, served(kA, kB), jkt(kB), false, "a b"},
		{"the old one is served but not named, strict", list(kA), nil, served(kA, kB), jkt(kB), true, "b -a"},
		{"tombstones stay", list(kA), list(kC), served(kB), jkt(kB), false, "b -a -c"},
		{"tombstone is served", list(kA), list(kC), served(kA, kC), jkt(kA), false, "a -c"},
		{"tombstone is served, strict", list(kA), list(kC), served(kA, kC), jkt(kA), true, "a -c"},
		{"tombstone's id is served", list(kA), list(kC), served(kA, as("c", kB)), jkt(kA), false, "a -c"},
		{"tombstone's key is served under a new id", list(kA), list(kC), served(kA, as("b", kC)), jkt(kA), false, "a -c"},
		{"tombstone is vouched for", list(kA), list(kC), served(kA, kC), jkt(kA, kC), false, "a c"},
		{"tombstone is vouched for alone, strict", list(kA), list(kC), served(kA, kC), jkt(kC), true, "c -a"},
		{"tombstone's key is vouched for under a new id", list(kA), list(kC), served(kA, as("b", kC)), jkt(kA, kC), false, "a b=c -c"},
		{"swapped, and the new one vouched for", list(kA), nil, served(as("a", kB)), jkt(kB), false, "a=b -a"},
		{"wrong", list(kA), list(kC), served(kA, kB), jkt(kC), false, ""},
		{"one right, one wrong", list(kA), nil, served(kA, kB), []string{kA.thumbprint(), kC.thumbprint()}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p, before *Pin
			if c.active != nil {
				p = pinned(c.active, c.buried)
				before = clonePin(p)
			}
			next, err := p.repin(mustParse(t, c.served...), c.expect, c.strict, "https://new.example", tomorrow)
			if p != nil && !samePin(p, before) {
				t.Errorf("the pin was changed: %+v, was %+v", p, before)
			}
			if c.want == "" {
				if fault.CodeOf(err) != fault.EntitlementsJWKSStale || !strings.Contains(err.Error(), "no key with the thumbprint") || next != nil {
					t.Errorf("%+v, %v", next, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := keysOf(next); got != c.want {
				t.Errorf("keys %q, want %q", got, c.want)
			}
			if next.URL != "https://new.example" || next.PinnedAt != tomorrow || next.CheckedAt != tomorrow {
				t.Errorf("%+v", next)
			}
			for _, k := range next.Keys {
				withdrawn := tomorrow // or earlier, which stays so
				if before != nil {
					if i := slices.IndexFunc(before.Keys, func(o PinnedKey) bool { return samePinnedKey(o, k) && !o.Active() }); i >= 0 {
						withdrawn = before.Keys[i].RemovedAt
					}
				}
				if k.Active() && k.AddedAt != tomorrow || !k.Active() && k.RemovedAt != withdrawn {
					t.Errorf("%+v", k)
				}
			}
			roundTrip(t, next)
		})
	}
}

// Nobody vouches for anything by naming no key.
func TestRepinWithoutThumbprint(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %v", strict), func(t *testing.T) {
			next, err := pinned([]signer{kA}, nil).repin(mustParse(t, served(kB)...), nil, strict, "", tomorrow)
			if err == nil || next != nil {
				t.Errorf("pinned %q", keysOf(next))
			}
		})
	}
}

// A key that a person replaced under its own id is withdrawn all the same.
func TestRepinBuriesKeyWhoseIDWasTaken(t *testing.T) {
	set := mustParse(t, served(signer{"a", kB.private})...)
	next, err := pinned([]signer{kA}, nil).repin(set, []string{kB.thumbprint()}, false, "", tomorrow)
	if err != nil {
		t.Fatal(err)
	}
	after, refused, err := next.follow(mustParse(t, served(signer{"a", kB.private}, signer{"c", kA.private})...), false, tomorrow)
	if err != nil || !slices.Equal(refused, []string{"c"}) || after.find("c") != nil {
		t.Errorf("the key that was replaced by hand came back: %q, refused %q, %v", keysOf(after), refused, err)
	}
}

func TestRepinHasRoomFor64Keys(t *testing.T) {
	var buried []signer
	for i := range 63 {
		buried = append(buried, newSigner("t"+strconv.Itoa(i)))
	}
	p := pinned([]signer{kA}, buried)
	next, err := p.repin(mustParse(t, served(kA, kB)...), []string{kB.thumbprint()}, false, "", tomorrow)
	if err != nil || len(next.Keys) != 64 || next.find("a") == nil || next.find("b") == nil {
		t.Fatalf("%+v, %v", next, err)
	}
	roundTrip(t, next)
	// What must be forgotten is what was withdrawn first, and of equals what
	// came first.
	if next.knows("t0") || !next.knows("t1") || !next.knows("t62") {
		t.Errorf("forgotten: t0 %v, t1 %v, t62 %v", !next.knows("t0"), !next.knows("t1"), !next.knows("t62"))
	}
	p.Keys[0].RemovedAt = today
	next, err = p.repin(mustParse(t, served(kA, kB)...), []string{kB.thumbprint()}, false, "", tomorrow)
	if err != nil || !next.knows("t0") || next.knows("t1") || !next.knows("t62") {
		t.Errorf("%v, forgotten: t0 %v, t1 %v, t62 %v", err, !next.knows("t0"), !next.knows("t1"), !next.knows("t62"))
	}
	// The keys that were active until now are withdrawn last of all.
	next, err = p.repin(mustParse(t, served(kB)...), []string{kB.thumbprint()}, false, "", tomorrow)
	if err != nil || len(next.Keys) != 64 || !next.knows("a") || !next.knows("t0") || next.knows("t1") {
		t.Errorf("%v, forgotten: a %v, t0 %v, t1 %v", err, !next.knows("a"), !next.knows("t0"), !next.knows("t1"))
	}
}

// roundTrip writes a pin as the store does, and reads it again.
func roundTrip(t testing.TB, p *Pin) {
	t.Helper()
	data, err := private.FormatJSON(p.file())
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > maxFile {
		t.Errorf("the file of a pin has %d bytes", len(data))
	}
	var f pinFile
	if err := private.ParseJSON(data, &f); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if again, ok := f.pin(); !ok || !samePin(again, p) {
		t.Errorf("read again: %v %+v, was %+v", ok, again, p)
	}
}

func TestLargestPinFile(t *testing.T) {
	p := &Pin{URL: "https://" + strings.Repeat("u", 2000), PinnedAt: today, CheckedAt: today}
	zone := time.FixedZone("", -(12*3600 + 34*60))
	for i := range maxPinned {
		// Signs that JSON escapes, as many as a kid has.
		kid := strings.Repeat(`"`, 125) + fmt.Sprintf("%03d", i)
		at := time.Date(2026, 11, 23, 12, 0, 0, 123456789, zone)
		p.Keys = append(p.Keys, PinnedKey{kid, newSigner(kid).public(), at, at})
	}
	p.Keys[0].RemovedAt = time.Time{}
	roundTrip(t, p)
}
