package main

import (
	"strings"

	"carl.camp/carl/sdk/json"
)

// hydra writes a JSON value as Hydra's grammar of overrides reads it back.
func hydra(value string) string {
	v, _ := json.Parse(value)
	switch v.Kind() {
	case json.String:
		s, _ := v.Str()
		return word(s)
	case json.Array:
		var items []string
		for item := range v.Elements() {
			items = append(items, hydra(item.Text()))
		}
		return "[" + strings.Join(items, ",") + "]"
	case json.Obj:
		var members []string
		for name, value := range v.Members() {
			members = append(members, name+":"+hydra(value.Text()))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	return value // null, true, false and numbers are written alike
}

// word leaves a plain word or path as it is, and quotes all else: what would be
// of another type, and what the grammar has a meaning for.
func word(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "inf", "nan":
	default:
		if s != "" && (s[0] == '/' || isLetter(s[0])) && all(s, "-._/") {
			return s
		}
	}
	// A backslash stands for itself, except in a row that ends at a quote, be it
	// the closing one: there each is written twice.
	parts := strings.Split(s, "'")
	for i, part := range parts {
		row := len(part) - len(strings.TrimRight(part, `\`))
		parts[i] = part + strings.Repeat(`\`, row)
	}
	return "'" + strings.Join(parts, `\'`) + "'"
}

func isLetter(c byte) bool { return 'a' <= c|' ' && c|' ' <= 'z' }

// all reports whether s is letters, digits and the other characters alone.
func all(s, others string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && (s[i] < '0' || s[i] > '9') && strings.IndexByte(others, s[i]) < 0 {
			return false
		}
	}
	return true
}

// isName reports whether Hydra takes s for one name of a key.
func isName(s string) bool { return s != "" && (isLetter(s[0]) || s[0] == '_') && all(s, "-_") }

// isKey reports whether s can stand before the = of an override: names with dots
// between them, and before them nothing, + to add the key, or ++ to set it in
// any case.
func isKey(s string) bool {
	for name := range strings.SplitSeq(bare(s), ".") {
		if !isName(name) {
			return false
		}
	}
	return !strings.HasPrefix(s, "+++")
}

// bare is a key without its + or ++.
func bare(key string) string { return strings.TrimLeft(key, "+") }
