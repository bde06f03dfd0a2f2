package standin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/private"
)

func TestKeysOutlastARestart(t *testing.T) {
	h := newHand()
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, Options{DataDir: dir, Clock: h.clock})
	root, set := p.OfflineRoot(), p.keySet(t)
	restart := func(o Options) {
		t.Helper()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		o.DataDir, o.Clock = dir, h.clock
		p = start(t, o)
	}
	restart(Options{})
	if !slices.Equal(p.keySet(t), set) || p.OfflineRoot() != root || p.Summary().Tier != "free" {
		t.Fatal("the keys are others")
	}
	token, license := p.entitlements(t).Token, p.License(LicenseOptions{})

	// Every change, and a restart after each.
	for i, change := range []func(){
		func() { p.SetTier("paid") },
		func() { p.Grant("x", time.Hour) },
		func() { p.RotateKeys(AddKey) },
		func() { p.Grant("y", 0) },
		func() { p.Revoke("x") },
		func() { p.RotateKeys(SwapKey) },
		func() { p.RotateKeys(AddKey) },
		func() { p.RotateKeys(RetireKeys) },
		func() { p.RotateKeys(ReplaceKeys) },
		func() { p.SetTier("free") },
	} {
		before, beforeKeys := p.issuer.account(), p.Keys()
		change()
		account, keys, set := p.issuer.account(), p.Keys(), p.keySet(t)
		if fmt.Sprint(before, beforeKeys) == fmt.Sprint(account, keys) {
			t.Fatalf("change %d changed nothing", i)
		}
		h.pass(time.Second)
		restart(Options{})
		if got := p.issuer.account(); fmt.Sprint(got) != fmt.Sprint(account) {
			t.Errorf("change %d: after the restart %+v, before it %+v", i, got, account)
		}
		if !slices.Equal(p.Keys(), keys) || !slices.Equal(p.keySet(t), set) || p.OfflineRoot() != root {
			t.Errorf("change %d: after the restart the keys are others", i)
		}
		p.verified(t, p.entitlements(t).Token)
		p.license(t, license)
		if i == 2 {
			p.verified(t, token)
		}
	}

	// What makes it fail on request ends with the process.
	p.AnswerEntitlements(402)
	p.IssuedAgo(time.Hour)
	restart(Options{})
	if a := p.issuer.account(); a.Status != 200 || a.IssuedAgo != "0s" {
		t.Errorf("after the restart: %+v", a)
	}
	// A tier that is given stands before the one that is kept, and is kept.
	restart(Options{Tier: "paid"})
	if p.Summary().Tier != "paid" {
		t.Error("the tier that was given is not the one in use")
	}
	since := p.issuer.current().TierSince
	h.pass(time.Hour)
	restart(Options{Tier: "paid"})
	restart(Options{})
	if p.Summary().Tier != "paid" || p.issuer.current().TierSince != since {
		t.Error("the tier that was given is not kept")
	}
	info, err := os.Stat(filepath.Join(dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 && os.PathSeparator == '/' {
		t.Errorf("keys.json has mode %v", got)
	}
}

// keysFile is the content of keys.json after some rotations.
func keysFile(t testing.TB) []byte {
	t.Helper()
	st := newState(tierPaid, 1795478400)
	now := time.Unix(1795478400, 0)
	for _, err := range []error{
		st.grant("a", time.Hour, now), st.grant("b", 0, now),
		st.rotate(AddKey), st.rotate(SwapKey), st.rotate(AddKey), st.rotate(RetireKeys), st.rotate(AddKey),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := private.FormatJSON(st)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDamagedKeysAreRefused(t *testing.T) {
	whole := string(keysFile(t))
	st, err := parseState([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	seed, root, x := st.signing().Seed.String(), st.OfflineRoot.String(), st.signing().X.String()
	other := newKey(9)
	// change replaces old, which must be there, once.
	change := func(old, new string) string {
		t.Helper()
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in %s", old, whole)
		}
		return strings.Replace(whole, old, new, 1)
	}
	edit := func(f func(*state)) string {
		t.Helper()
		c := st.clone()
		f(&c)
		data, err := private.FormatJSON(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if edit(func(*state) {}) != whole {
		t.Fatal("what is read is written in another form")
	}
	damaged := map[string]string{
		"empty":                  "",
		"not JSON":               "hello",
		"cut off":                whole[:len(whole)/2],
		"without its line end":   strings.TrimSuffix(whole, "\n"),
		"something after":        whole + "x",
		"another version":        change(`"v": 1`, `"v": 2`),
		"no version":             change(`"v": 1`, `"v": 0`),
		"another member":         change(`"tier":`, `"x": 1, "tier":`),
		"doubled member":         change(`"tier": "paid"`, `"tier": "paid", "tier": "paid"`),
		"member in capitals":     change(`"tier":`, `"Tier":`),
		"white space":            change(`"tier": "paid"`, `"tier":  "paid"`),
		"a null":                 change(`"tier": "paid"`, `"tier": null`),
		"another tier":           change(`"paid"`, `"gold"`),
		"no root":                change(root, ""),
		"short root":             change(root, root[:20]),
		"root in another code":   change(root, root+"="),
		"no seed":                change(seed, ""),
		"another seed":           change(seed, other.Seed.String()),
		"another key":            change(x, other.X.String()),
		"sloppy last character":  change(x, x[:len(x)-1]+sloppy(x[len(x)-1])),
		"grants not in order":    edit(func(s *state) { slices.Reverse(s.Grants) }),
		"a grant twice":          edit(func(s *state) { s.Grants[1] = s.Grants[0] }),
		"a grant without a key":  edit(func(s *state) { s.Grants[0].Key = "" }),
		"too many grants":        edit(func(s *state) { s.Grants = slices.Repeat(s.Grants, maxGrants) }),
		"no keys":                edit(func(s *state) { s.Keys = nil }),
		"keys not in order":      edit(func(s *state) { slices.Reverse(s.Keys[:len(s.Keys)-1]) }),
		"a foreign kid":          edit(func(s *state) { s.signing().KID = "other-9" }),
		"kid number 0":           edit(func(s *state) { s.Keys[0].KID = "camp-0" }),
		"kid with a zero":        edit(func(s *state) { s.Keys[0].KID = "camp-01" }),
		"kid beyond the bound":   edit(func(s *state) { s.signing().KID = fmt.Sprint(kidPrefix, maxKID+1) }),
		"two of one kid":         edit(func(s *state) { s.Keys[len(s.Keys)-2].KID = s.signing().KID }),
		"a second seed":          edit(func(s *state) { s.Keys[0].Seed = newSeed() }),
		"the last not published": edit(func(s *state) { s.signing().Published = false }),
		"a short key":            edit(func(s *state) { s.Keys[0].X = s.Keys[0].X[:31] }),
		"too many published": edit(func(s *state) {
			s.Keys = s.Keys[len(s.Keys)-1:]
			s.Keys[0].Endorsement = ""
			for n := number(s.Keys[0].KID); len(s.Keys) <= maxPublished; n++ {
				s.Keys[len(s.Keys)-1].Seed = nil
				s.Keys = append(s.Keys, newKey(n+1))
			}
		}),
		"too many retired":          edit(func(s *state) { s.Keys = append(slices.Repeat(s.Keys[:1], maxRetired+1), s.Keys...) }),
		"endorsed, and retired":     edit(func(s *state) { s.Keys[0].Endorsement = s.signing().Endorsement }),
		"endorsed as another":       edit(func(s *state) { s.Keys[len(s.Keys)-2].Endorsement = s.signing().Endorsement }),
		"endorsed by itself":        edit(func(s *state) { s.signing().Endorsement = endorse(*s.signing(), *s.signing()) }),
		"endorsed by nobody":        edit(func(s *state) { s.signing().Endorsement = endorse(key{Seed: newSeed(), KID: "x"}, *s.signing()) }),
		"endorsed in another type":  edit(func(s *state) { s.signing().Endorsement = strings.Replace(s.signing().Endorsement, "e", "f", 1) }),
		"endorsed without an end":   edit(func(s *state) { e := &s.signing().Endorsement; *e = (*e)[:len(*e)-2] }),
		"endorsed in one part":      edit(func(s *state) { s.signing().Endorsement = "x" }),
		"larger than it can be":     strings.Repeat(" ", maxStateFile) + whole,
		"nothing but a large space": strings.Repeat(" ", maxStateFile+1),
	}
	for name, text := range damaged {
		if text == whole {
			t.Fatalf("%s: is whole", name)
		}
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "keys.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{DataDir: dir, Tier: "free"})
		if fault.CodeOf(err) != fault.IO || !strings.Contains(err.Error(), "keys.json") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && len(text) > 0 && (strings.Contains(err.Error(), seed) || strings.Contains(err.Error(), root)) {
			t.Errorf("%s: the error holds a seed: %v", name, err)
		}
		if s != nil {
			s.Close()
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != text {
			t.Errorf("%s: the file was changed", name)
		}
		// The folder is free again, and takes the file that was brought back.
		if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
			t.Fatal(err)
		}
		back := start(t, Options{DataDir: dir})
		if keys := back.Keys(); keys[len(keys)-1].JKT != thumbprint(st.signing().X) {
			t.Errorf("%s: keys %+v", name, keys)
		}
	}
	if len(damaged) < 40 {
		t.Error("most kinds of damage are gone")
	}
}

// sloppy is another character that decodes to the same bytes at the end of 32:
// the last two of its six bits count for nothing.
func sloppy(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1:][:1]
}

// A change that cannot be kept is not made.
func TestChangesThatCannotBeKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, Options{DataDir: dir})
	before, keys := p.issuer.account(), p.Keys()
	// Nothing can be renamed over a folder.
	file := filepath.Join(dir, "keys.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(file), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/tier/paid", "/dev/grant/x", "/dev/keys/add", "/dev/keys/swap"} {
		resp, text := p.do(t, "POST", path, "", "")
		if e := refusal(t, text); resp.StatusCode != 500 || e.Code != "storage" || strings.Contains(text, dir) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	if err := p.SetTier("paid"); err == nil || fault.CodeOf(err) == fault.Usage {
		t.Errorf("got %v", err)
	}
	if after := p.issuer.account(); fmt.Sprint(after) != fmt.Sprint(before) || !slices.Equal(p.Keys(), keys) {
		t.Errorf("what was not kept changed %+v to %+v", before, after)
	}
	p.verified(t, p.entitlements(t).Token)
	if err := errors.Join(os.Remove(file), os.WriteFile(file, whole, 0o600)); err != nil {
		t.Fatal(err)
	}
	if a := p.changed(t, "/dev/tier/paid"); a.Tier != "paid" {
		t.Errorf("afterwards: %+v", a)
	}

	// Another process may have the folder after Close.
	p.Close()
	for name, err := range map[string]error{"tier": p.SetTier("free"), "grant": p.Grant("x", 0), "revoke": p.Revoke("x"), "keys": p.RotateKeys(AddKey)} {
		if fault.CodeOf(err) != fault.IO {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// FuzzParseState holds that what is read as keys.json is what would be
// written, that it signs, and that every change to it can be read again.
func FuzzParseState(f *testing.F) {
	whole := keysFile(f)
	if _, err := parseState(whole); err != nil {
		f.Fatal(err)
	}
	first, err := private.FormatJSON(newState(tierFree, 0))
	if err != nil {
		f.Fatal(err)
	}
	for _, data := range [][]byte{whole, first, whole[:len(whole)/2], bytes.Replace(whole, []byte("camp-1"), []byte("camp-9"), 1), bytes.Replace(whole, []byte("true"), []byte("false"), 1), []byte(`{"v":1}`), []byte(`{"v":2}`)} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		st, err := parseState(data)
		if err != nil {
			var damaged *private.DamagedError
			var later *private.TooNewError
			if !errors.As(err, &damaged) && !errors.As(err, &later) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again, err := private.FormatJSON(st)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q is written as %q, %v", data, again, err)
		}
		token := st.token(st.claims("x", st.Tier, 0, 0, 0))
		if _, ok := open(token, []byte(st.signing().X)); !ok {
			t.Fatal("its last key does not verify what it signs")
		}
		for _, how := range []Rotation{AddKey, SwapKey, RetireKeys, ReplaceKeys} {
			changed := st.clone()
			if changed.rotate(how) != nil {
				continue
			}
			data, err := private.FormatJSON(changed)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseState(data); err != nil {
				t.Fatalf("after %s: %v in %s", how, err, data)
			}
		}
		if after, err := private.FormatJSON(st); err != nil || !bytes.Equal(after, data) {
			t.Fatal("a change to a copy changed the state")
		}
	})
}
