package main

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestRandomConfigs makes configs of members and flags at random, most with
// the values that they take. What is accepted must be what the schema of the
// arguments accepts, and the command line must say the same; what is refused
// must be refused at places that are there, or that hold what is missing.
func TestRandomConfigs(t *testing.T) {
	asArgs := schema(t, argsSchema())
	type member struct {
		pointer string
		flag    *flag
	}
	var members []member
	var walk func(f *field, path string)
	walk = func(f *field, path string) {
		for i := range f.sub {
			m := &f.sub[i]
			if m.conv == plain {
				members = append(members, member{path + "/" + m.name, flagNamed(m.flag)})
			}
			walk(m, path+"/"+m.name)
		}
	}
	walk(&config, "")
	for e := range entries() {
		if e.isFlag() {
			f := e.flag()
			members = append(members, member{"/extra/" + extraName(f.group) + "/" + f.name, f})
		}
	}
	r := rand.New(rand.NewPCG(20, 26))
	accepted, refusals := 0, 0
	for range 4000 {
		config := parse(t, friendly)
		for range r.IntN(6) {
			m := members[r.IntN(len(members))]
			value, _ := legal(m.flag)
			if r.IntN(8) == 0 {
				bad := illegal(m.flag)
				value = bad[r.IntN(len(bad))]
			}
			// A member of a section that is written in short makes it a mapping.
			put(config, m.pointer, value)
		}
		text := encode(t, config)
		got, refused := translate(text)
		if len(refused) > 0 {
			refusals++
			for _, d := range refused {
				if !exists(config, d.Path) {
					t.Errorf("%+v is nowhere in %s", d, text)
				}
			}
			continue
		}
		accepted++
		if err := asArgs(got.Args); err != nil {
			t.Errorf("%s\nbecame %s: %v", text, got.Args, err)
		}
		have := args(t, got.Args)
		again := (launch{"", got.Entrypoint, got.Argv}).flags(t)
		for name, value := range have {
			switch flagNamed(name).kind {
			case "repeat", "pythons", "groups", "json", "signal", "freq", "tuple", "bool", "ints3":
				delete(again, name) // read otherwise than launch reads them
				continue
			}
			if !same(value, again[name]) {
				t.Errorf("%s is %v, and %v on the command line, of %s", name, value, again[name], text)
			}
			delete(again, name)
		}
		if len(again) > 0 {
			t.Errorf("the command line has %v beside the arguments, of %s", again, text)
		}
	}
	if accepted < 500 || refusals < 500 {
		t.Errorf("%d accepted, %d refused", accepted, refusals)
	}
}

// exists reports whether a pointer leads to something in the config.
func exists(config any, pointer string) bool {
	if pointer == "" {
		return true
	}
	first, rest, more := strings.Cut(pointer[1:], "/")
	if more {
		rest = "/" + rest
	}
	switch at := config.(type) {
	case map[string]any:
		next, ok := at[first]
		return ok && exists(next, rest)
	case []any:
		return true
	}
	return false
}
