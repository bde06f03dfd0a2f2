package main

import (
	"iter"
	"slices"
	"strings"

	"carl.camp/carl/sdk/json"
	"carl.camp/carl/sdk/translator"
)

// argsVersion is the version of the form that the arguments have.
const argsVersion = 1

// groups is the order of the maps in the arguments, and of the command line.
const groups = "smgr"

// result writes what is set, sorted by group and name, so that two configs
// that say the same give the same bytes.
func (t *translation) result() (translator.Translation, []translator.Diagnostic) {
	passed := make([]*setting, 0, len(t.settings))
	for i := range t.settings {
		if s := &t.settings[i]; s.text != "false" || s.flag.kind != "flag" && s.flag.kind != "retired" {
			passed = append(passed, s)
		}
	}
	slices.SortFunc(passed, func(a, b *setting) int {
		if a.flag.group != b.flag.group {
			return strings.IndexByte(groups, a.flag.group) - strings.IndexByte(groups, b.flag.group)
		}
		return strings.Compare(a.flag.name, b.flag.name)
	})
	size := 128
	for _, s := range passed {
		size += len(s.flag.name) + len(s.text) + 4
	}
	o := json.NewObject(make([]byte, 0, size))
	argv := make([]string, 0, 2*len(passed)+16)
	o.Open()
	o.Int("slime_args_version", argsVersion)
	o.String("entrypoint", t.program)
	for i := range len(groups) {
		o.Key(groupName(groups[i]))
		o.Open()
		for len(passed) > 0 && passed[0].flag.group == groups[i] {
			s := passed[0]
			o.Raw(s.flag.name, s.text)
			argv = s.appendTo(argv)
			passed = passed[1:]
		}
		o.Close()
	}
	o.Close()
	return translator.Translation{
		Args:       string(o.Bytes()),
		Argv:       argv,
		Entrypoint: t.program,
		Warnings:   t.warnings.all(),
	}, nil
}

// appendTo adds the setting to a command line.
func (s *setting) appendTo(argv []string) []string {
	f := s.flag
	name := option(f.name)
	switch f.kind {
	case "flag", "retired":
		return append(argv, name)
	case "switch":
		if s.text == "false" {
			name = option(f.neg)
		}
		return append(argv, name)
	case "bool":
		// argparse makes a bool of any text, and only the empty one is false.
		if s.text == "false" {
			return append(argv, name, "")
		}
		return append(argv, name, "true")
	case "json":
		return append(argv, name, s.text)
	case "optional":
		if s.text == "true" {
			return append(argv, name)
		}
	case "repeat", "pythons", "groups":
		for item := range items(s.text) {
			if item[0] == '[' {
				argv = appendList(argv, name, item)
			} else {
				argv = appendToken(argv, name, token(item))
			}
		}
		return argv
	case "ints", "ints3", "floats", "texts", "ints*", "floats*", "texts*":
		return appendList(argv, name, s.text)
	}
	return appendToken(argv, name, token(s.text))
}

// appendList adds a flag with the items of a list.
func appendList(argv []string, name, list string) []string {
	first := len(argv)
	argv = append(argv, name)
	for item := range items(list) {
		argv = append(argv, token(item))
	}
	if len(argv) == first+2 && looksLikeFlag(argv[first+1]) {
		argv = appendToken(argv[:first], name, argv[first+1])
	}
	return argv
}

func appendToken(argv []string, name, value string) []string {
	if looksLikeFlag(value) {
		return append(argv, name+"="+value)
	}
	return append(argv, name, value)
}

// items ranges over the elements of a JSON array that stands in the arguments:
// it has been checked, and has no space between its tokens.
func items(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		depth, start := 0, 1
		for i := 1; i < len(list); i++ {
			switch c := list[i]; {
			case c == '"':
				for i++; list[i] != '"'; i++ {
					if list[i] == '\\' {
						i++
					}
				}
			case c == '[':
				depth++
			case c == ']' && depth > 0:
				depth--
			case (c == ',' || c == ']') && depth == 0:
				if i > start && !yield(list[start:i]) {
					return
				}
				start = i + 1
			}
		}
	}
}
