package main

import (
	"iter"
	"strings"
	"sync"
)

// A flag is one flag of slime's parsers, as [flagTable] has it.
type flag struct {
	// name is the flag without its dashes, in snake_case.
	name string
	// group is s, m, g or r: whose parser it is of.
	group byte
	// kind is what the flag takes:
	//
	//	flag      nothing: it is passed or it is not
	//	switch    nothing; a flag of the contrary name says no
	//	retired   nothing, and SGLang no longer wants it
	//	bool      true or false, as a word
	//	int, float, text
	//	python    text, a dotted path of Python
	//	json      an object
	//	ints, floats, texts    a list of one or more; with * also of none
	//	ints3     a list of three
	//	repeat    a list, each item passed with the flag's name
	//	pythons   the same, of dotted paths
	//	groups    the same, of lists
	//	optional  text, or true for the flag alone
	//	freq      a pattern of layers: [0]*3+[1]*75, a number or a list
	//	tuple     (A,B), or a list
	//	signal    a signal's number or name
	kind    string
	initial string // what the parser has when the flag is not passed, "" for nothing
	choices string // separated by commas
	min     string // bounds, as written in the table; "" for none
	above   string
	max     string
	neg     string // a switch: the flag that says no
	secret  bool   // its value is a credential
	url     bool   // its value is an address, which may hold a credential
}

// entry is a line of [flagTable] that is found under a name.
type entry struct {
	name, mark, rest string
}

// lines are the offsets of the table's lines. They are what of the table is
// read ahead: no more is parsed than what is asked for.
var lines = sync.OnceValue(func() []int32 {
	list := make([]int32, 0, 1500)
	for at := 1; at < len(flagTable); at += strings.IndexByte(flagTable[at:], '\n') + 1 {
		list = append(list, int32(at))
	}
	return list
})

// find looks a name up by bisecting the table.
func find(name string) (entry, bool) {
	list := lines()
	for len(list) > 0 {
		middle := len(list) / 2
		line := flagTable[list[middle]:]
		// A name ends in a tab, which is less than what names are made of.
		head := line[:min(len(name), len(line))]
		switch {
		case head == name && len(line) > len(name) && line[len(name)] == '\t':
			return parseEntry(line[:strings.IndexByte(line, '\n')]), true
		case head < name:
			list = list[middle+1:]
		default:
			list = list[:middle]
		}
	}
	return entry{}, false
}

func parseEntry(line string) entry {
	name, rest, _ := strings.Cut(line, "\t")
	mark, rest, _ := strings.Cut(rest, "\t")
	return entry{name, mark, rest}
}

// follow finds a name, and what it leads to where it is another spelling of a
// flag, or the one that says the contrary.
func follow(name string) (e entry, contrary, ok bool) {
	e, ok = find(name)
	for ok && (e.mark == "@" || e.mark == "~") {
		contrary = e.mark == "~"
		e, ok = find(e.rest)
	}
	return e, contrary, ok
}

// entries ranges over the whole table.
func entries() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for line := range strings.SplitSeq(flagTable[1:len(flagTable)-1], "\n") {
			if !yield(parseEntry(line)) {
				return
			}
		}
	}
}

// isFlag reports whether the entry is a flag, and not a name that leads to one.
func (e entry) isFlag() bool { return e.mark >= "a" && e.mark <= "z" }

func (e entry) flag() *flag {
	f := &flag{name: e.name, group: e.mark[0]}
	f.kind, e.rest, _ = strings.Cut(e.rest, "\t")
	for e.rest != "" {
		var column string
		column, e.rest, _ = strings.Cut(e.rest, "\t")
		key, value, _ := strings.Cut(column, "=")
		switch key {
		case "default":
			f.initial = value
		case "in":
			f.choices = value
		case "min":
			f.min = value
		case "above":
			f.above = value
		case "max":
			f.max = value
		case "neg":
			f.neg = value
		case "secret":
			f.secret = true
		case "url":
			f.url = true
		}
	}
	return f
}

// flagNamed returns a flag by the very name that the table has. It is for
// names that stand in this package's own tables.
func flagNamed(name string) *flag {
	e, ok := find(name)
	if !ok || !e.isFlag() {
		panic("slime: the table has no flag " + name)
	}
	return e.flag()
}

// noValue reports whether the flag stands alone on a command line.
func (f *flag) noValue() bool { return f.kind == "flag" || f.kind == "switch" || f.kind == "retired" }

// of reports whether the flag's kind begins so: int is also of ints, ints3 and ints*.
func (f *flag) of(kind string) bool { return strings.HasPrefix(f.kind, kind) }

// option is the flag as it is passed.
func option(name string) string { return "--" + strings.ReplaceAll(name, "_", "-") }

// groupName is the map of the arguments that a flag's value goes into; in a
// config's extra, slime's own are called slime.
func groupName(group byte) string {
	switch group {
	case 's':
		return "args"
	case 'm':
		return "megatron"
	case 'g':
		return "sglang"
	}
	return "router"
}

func extraName(group byte) string {
	if group == 's' {
		return "slime"
	}
	return groupName(group)
}
