package entitle

import (
	"crypto/ed25519"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/private"
)

// fuzzed is a home of which one file is exchanged for any bytes.
type fuzzed struct {
	*site
	path      string
	whole     map[string]string
	untouched []State // at each of times
	times     []time.Time
}

// newFuzzed makes a home in which something happened: a token that was replaced
// by a lower one, a licence, a key that was withdrawn, a clock that moved.
func newFuzzed(tb testing.TB, path func(Files) string) *fuzzed {
	s := newSite(tb)
	s.from(key1, key2)
	s.accepted()
	s.now = s.now.Add(24 * time.Hour)
	s.from(key2, key3)
	s.accepted()
	s.importLicense(claimed{"tier": "free", "entitlements": granting("a")})
	s.now = s.now.Add(time.Minute)
	s.camp.token = key3.token(s.now, claimed{"tier": "free", "entitlements": granting("b")})
	s.now = s.now.Add(time.Minute)
	s.camp.token = key2.token(s.now, claimed{"tier": "free", "entitlements": granting("b")})
	s.accepted()
	f := &fuzzed{site: s, path: path(s.o.Files), whole: s.all()}
	for _, d := range []time.Duration{0, 30 * time.Minute, 20 * time.Hour, -20 * time.Hour, 300 * 24 * time.Hour} {
		f.times = append(f.times, s.now.Add(d))
		f.untouched = append(f.untouched, s.store.rules.evaluate(s.store.read(), s.now.Add(d)))
	}
	return f
}

// mend puts everything back.
func (f *fuzzed) mend() {
	for name := range f.all() {
		if _, ok := f.whole[name]; !ok {
			f.put("/home/"+name, gone)
		}
	}
	for name, content := range f.whole {
		f.put("/home/"+name, content)
	}
}

// check exchanges the file, looks at the home from every time, uses it and looks
// again. vouched has the witness know the file: then it need not count for
// less, but what it grants must still be signed.
func (f *fuzzed) check(t *testing.T, data []byte, vouched bool) {
	f.site.tb = t
	f.mend()
	now := f.now
	defer func() { f.now = now }()
	if vouched {
		w := *f.store.read().witness.content
		w.Cache, w.Pin = append(w.Cache, hash(data)), append(w.Pin, hash(data))
		if err := f.store.write(f.o.Files.Witness, &w); err != nil {
			t.Fatal(err)
		}
	}
	if err := private.WriteFileOn(f.o.FS, f.path, data); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		files := f.store.read()
		for i, at := range f.times {
			state := f.store.rules.evaluate(files, at)
			if !vouched {
				if why := better(state, f.untouched[i]); why != "" {
					t.Fatalf("at %v: %s", at, why)
				}
			}
			f.signed(t, files, state)
			if later := state.At(at.Add(time.Hour)); later.Granting() != nil && state.Granting() == nil {
				t.Fatalf("an hour later it grants %v", later.Granting())
			}
		}
		f.now = f.times[2]
		f.store.Load()
	}
	// Whatever it is, a token that the platform signs with a pinned key and a
	// person's word bring the home back.
	f.from(key2, key3)
	if _, err := f.refresh(); err == nil {
		if s := f.store.Look(); s.TokenStatus() != Fresh {
			t.Fatalf("after a refresh: %s, %v", s.TokenStatus(), s.Err)
		}
	}
}

// signed holds what a state grants against the keys, without package entitle's help.
func (f *fuzzed) signed(t *testing.T, files *files, s State) {
	t.Helper()
	verify := func(jws string, keys []ed25519.PublicKey) bool {
		head, sig, _ := cutLast(jws)
		raw, err := base64.RawURLEncoding.DecodeString(sig)
		return err == nil && slices.ContainsFunc(keys, func(k ed25519.PublicKey) bool { return ed25519.Verify(k, []byte(head), raw) })
	}
	if s.License != nil && !verify(files.cache.content.License, []ed25519.PublicKey{rootKey.public()}) {
		t.Fatal("a licence that nobody signed")
	}
	if s.Token != nil {
		var keys []ed25519.PublicKey
		for _, k := range s.Pin.Keys {
			if k.Active() {
				keys = append(keys, k.Public)
			}
		}
		if !verify(files.cache.content.Token, keys) {
			t.Fatal("a token that nobody signed")
		}
	}
}

func cutLast(jws string) (head, sig string, ok bool) {
	i := strings.LastIndexByte(jws, '.')
	if i < 0 {
		return "", "", false
	}
	return jws[:i], jws[i+1:], true
}

// fuzzFile fuzzes one of the files, from what it was, what it is, and more.
func fuzzFile(f *testing.F, path func(Files) string, more ...string) {
	home := newFuzzed(f, path)
	if s := home.untouched[0]; s.License == nil || s.Current() == nil {
		f.Fatalf("the home grants nothing: %+v", s)
	}
	whole := home.get(home.path)
	corpus := [][]byte{[]byte(whole), {}, []byte("null"), []byte(`{"v":1}`), []byte(`{"v":2,"carl":"9.9"}`), []byte(whole[:len(whole)/2])}
	for _, m := range more {
		corpus = append(corpus, []byte(m))
	}
	corpus = append(corpus, []byte(strings.Replace(whole, "2026", "2027", 1)), []byte(strings.Replace(whole, "2026", "2025", 1)))
	seed(f, corpus)
	if len(corpus) < 10 {
		f.Fatalf("%d seeds", len(corpus))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		home.check(t, data, false)
		home.check(t, data, true)
	})
}

func FuzzCache(f *testing.F) {
	file := func(c cacheFile) string {
		c.V = 1
		data, err := private.FormatJSON(&c)
		if err != nil {
			f.Fatal(err)
		}
		return string(data)
	}
	day := today.Add(24 * time.Hour)
	fuzzFile(f, func(files Files) string { return files.Cache },
		file(cacheFile{Token: key2.token(day, nil), FetchedAt: day}),
		file(cacheFile{Token: key1.token(today, nil), FetchedAt: today}),
		file(cacheFile{Token: rogueKey.token(day, nil), FetchedAt: day}),
		file(cacheFile{License: rootKey.license(today, nil), ImportedAt: day}),
		file(cacheFile{License: rogueKey.license(today, nil), ImportedAt: day, Token: key3.token(day, nil), FetchedAt: day}),
		file(cacheFile{Token: key2.token(day, nil), FetchedAt: day, Ended: &ended{At: day, Code: "carl.camp.unauthorized"}}),
	)
}

func FuzzPinFile(f *testing.F) {
	line := func(s signer, removed string) string {
		return `{"kid":` + quote(s.kid) + `,"x":"` + s.x() + `","added_at":"2026-11-23T12:00:00Z"` + removed + `}`
	}
	file := func(lines ...string) string {
		return `{"v":1,"url":"https://camp.test","pinned_at":"2026-11-23T12:00:00Z","checked_at":"2026-11-24T12:00:00Z","keys":[` + strings.Join(lines, ",") + `]}`
	}
	const removed = `,"removed_at":"2026-11-24T12:00:00Z"`
	fuzzFile(f, func(files Files) string { return files.Pin },
		file(line(key1, ""), line(key2, ""), line(key3, "")), file(line(key1, removed), line(key2, "")), file(line(key1, removed)),
		file(line(rogueKey, "")), file(line(newSignerFrom("camp-2", "rogue"), ""), line(key2, "")), file())
}

func FuzzClock(f *testing.F) {
	mark := func(t string) string { return `{"v":1,"mark":"` + t + `"}` }
	fuzzFile(f, func(files Files) string { return files.Clock },
		mark("2026-11-24T12:02:00Z"), mark("0001-01-01T00:00:00Z"), mark("9999-12-31T23:59:59.999999999Z"), mark("2026-11-24T12:02:00+23:59"), `{"v":1,"mark":null}`)
}

func FuzzWitness(f *testing.F) {
	home := newFuzzed(f, func(files Files) string { return files.Witness })
	w := *home.store.read().witness.content
	file := func(change func(*witnessFile)) string {
		c := w
		change(&c)
		data, err := private.FormatJSON(&c)
		if err != nil {
			f.Fatal(err)
		}
		return string(data)
	}
	fuzzFile(f, func(files Files) string { return files.Witness },
		file(func(w *witnessFile) { w.Mark = time.Time{} }), file(func(w *witnessFile) { w.Cache = nil }), file(func(w *witnessFile) { w.Pin = nil }),
		file(func(w *witnessFile) { w.Cache = append(w.Pin, w.Cache...) }), `{"v":1,"cache":null,"pin":null,"mark":null}`)
}
