package main

import (
	"math"
	"strings"

	"carl.camp/carl/sdk/json"
)

// kindOf says what a value is, for a message.
func kindOf(v json.Value) string {
	switch v.Kind() {
	case json.Null:
		return "nothing"
	case json.Bool:
		return v.Text()
	case json.Number:
		if len(v.Text()) <= 32 {
			return "the number " + v.Text()
		}
		return "a number"
	case json.String:
		return "text"
	case json.Array:
		return "a list"
	case json.Obj:
		return "a mapping"
	}
	return "nothing"
}

// value checks v against what f takes and returns it as it stands in the
// arguments: a JSON text, numbers in the spelling that they have. What is
// wrong is reported at the place.
func (t *translation) value(f *flag, v json.Value, at *place) (string, bool) {
	switch f.kind {
	case "flag", "switch", "retired", "bool":
		if v.Kind() != json.Bool {
			return t.mistyped(f, v, at, "true or false")
		}
		return v.Text(), true
	case "int", "float":
		return t.number(f, v, at)
	case "text", "python":
		return t.text(f, v, at)
	case "optional":
		if v.Text() == "true" {
			return "true", true
		}
		return t.text(f, v, at)
	case "json":
		return t.object(f, v, at)
	case "freq":
		return t.pattern(f, v, at)
	case "tuple":
		return t.tuple(f, v, at)
	case "signal":
		if v.Kind() == json.String {
			if s, _ := v.Str(); strings.HasPrefix(s, "SIG") && isWord(s) {
				return v.Text(), true
			}
		} else if v.Kind() == json.Number && hasChoice(f.choices, v.Text()) {
			return v.Text(), true
		}
		return t.mistyped(f, v, at, "a signal's number or its name, such as SIGTERM")
	}
	return t.list(f, v, at)
}

// mistyped says what was expected. It returns what [translation.value] returns.
func (t *translation) mistyped(f *flag, v json.Value, at *place, expected string) (string, bool) {
	if t.errors.enough() {
		return "", false
	}
	hint := ""
	switch {
	case v.Kind() == json.Null:
		hint = "leave the line out where nothing is to be set"
	case v.Kind() == json.String && isBare(v, expected):
		hint = "write it without quotes"
	case f.kind == "flag" && strings.HasPrefix(f.name, "no_"), f.kind == "flag" && strings.HasPrefix(f.name, "disable_"):
		hint = "true passes " + option(f.name)
	case expected == "text" && (v.Kind() == json.Number || v.Kind() == json.Bool):
		hint = "quote it"
	case strings.HasPrefix(expected, "a list") && v.Kind() != json.Obj && v.Kind() != json.Array:
		hint = "write it as a list of one: [" + clip(v.Text()) + "]"
	}
	t.errors.add(at, "expected "+expected+", and this is "+kindOf(v), hint)
	return "", false
}

// isBare reports whether a text is what was expected but for its quotes.
func isBare(v json.Value, expected string) bool {
	s, _ := v.Str()
	inner, err := json.Parse(s)
	return err == nil && (inner.Kind() == json.Bool && strings.HasPrefix(expected, "true") ||
		inner.Kind() == json.Number && strings.Contains(expected, "number"))
}

// clip keeps a foreign JSON text short in a hint.
func clip(s string) string {
	if len(s) > 40 {
		return "…"
	}
	return s
}

func (t *translation) number(f *flag, v json.Value, at *place) (string, bool) {
	expected := "a number"
	if f.of("int") {
		expected = "a whole number"
	}
	text := v.Text()
	if v.Kind() != json.Number || expected == "a whole number" && strings.ContainsAny(text, ".eE") {
		return t.mistyped(f, v, at, expected)
	}
	if !isReckoned(text) {
		t.errors.add(at, "a number beyond what slime can reckon with", "")
		return "", false
	}
	if f.choices != "" && !hasChoice(f.choices, text) {
		t.errors.add(at, "expected "+choicesOf(f.choices)+", and this is "+clip(text), "")
		return "", false
	}
	if bound := outOf(f, v); bound != "" {
		t.errors.add(at, clip(text)+" is out of range: expected "+bound, "")
		return "", false
	}
	return text, true
}

// maxDigits bounds a number's spelling, and its exponent has three digits at
// most: what checks arguments against a schema reckons exactly, and would write
// 1e999999999 out.
const maxDigits = 64

// isReckoned reports whether a number is one that programs can work with.
func isReckoned(text string) bool {
	if len(text) > maxDigits {
		return false
	}
	if e := strings.IndexAny(text, "eE"); e >= 0 && len(strings.TrimLeft(text[e+1:], "+-0")) > 3 {
		return false
	}
	return !math.IsInf(float(text), 0)
}

// outOf returns the bound that a number is beyond, or "".
func outOf(f *flag, v json.Value) string {
	if f.min == "" && f.max == "" && f.above == "" {
		return ""
	}
	x := float(v.Text())
	bound := ""
	switch {
	case f.min != "" && !(x >= float(f.min)):
		bound = "at least " + f.min
	case f.above != "" && !(x > float(f.above)):
		bound = "more than " + f.above
	case f.max != "" && !(x <= float(f.max)):
		bound = "at most " + f.max
	}
	if bound != "" && f.above != "" && f.max != "" {
		bound = "more than " + f.above + " and at most " + f.max
	}
	return bound
}

func (t *translation) text(f *flag, v json.Value, at *place) (string, bool) {
	s, ok := v.Str()
	if !ok {
		return t.mistyped(f, v, at, "text")
	}
	switch {
	case strings.IndexByte(s, 0) >= 0:
		t.errors.add(at, "a NUL character, which no command line can hold", "")
	case f.choices != "" && !hasChoice(f.choices, s):
		t.errors.add(at, quote(s)+" is none of "+choicesOf(f.choices), nearestOf(s, strings.Split(f.choices, ",")).hint())
	case (f.kind == "python" || f.kind == "pythons") && !isDotted(s):
		t.errors.add(at, quote(s)+" is no dotted path of Python", "write package.module.function")
	case f.url && hasCredential(s):
		t.errors.add(at, "an address with a user or a password in it", "leave the part before the @ out, and give the credential to the process in its environment")
	default:
		return v.Text(), true
	}
	return "", false
}

func (t *translation) object(f *flag, v json.Value, at *place) (string, bool) {
	if s, ok := v.Str(); ok {
		inner, err := json.Parse(s)
		if err != nil {
			t.errors.add(at, "expected a mapping, or the text of a JSON object, and this is "+err.Error(), "")
			return "", false
		}
		v = inner
	}
	if v.Kind() != json.Obj {
		return t.mistyped(f, v, at, "a mapping, or the text of a JSON object")
	}
	text, twice, repeated := compact(v.Text())
	if repeated {
		t.errors.add(at, "the member "+quote(twice)+" occurs twice", "")
		return "", false
	}
	if f.name == "train_env_vars" {
		return text, t.environment(v, at)
	}
	return text, true
}

// environment checks the environment of a process.
func (t *translation) environment(v json.Value, at *place) bool {
	good := true
	for name, value := range v.Members() {
		problem, hint := "", ""
		s, ok := value.Str()
		switch {
		case !isVariable(name):
			problem = quote(name) + " is no name of an environment variable"
		case !ok:
			problem, hint = "expected text, and this is "+kindOf(value), "quote it"
		case strings.IndexByte(s, 0) >= 0:
			problem = "a NUL character, which no environment can hold"
		case isCredential(name):
			problem, hint = quote(name)+" is named like a credential, and credentials are no part of a config", "set it in the environment that the run is started in"
		default:
			continue
		}
		t.errors.add(at.to(name), problem, hint)
		good = false
	}
	return good
}

// pattern takes a pattern of layers. Megatron evaluates the text as Python, so
// nothing but numbers and what makes lists of them gets there.
func (t *translation) pattern(f *flag, v json.Value, at *place) (string, bool) {
	const expected = "a pattern of layers: text such as [0]*3+[1]*75, a whole number, or a list of them"
	switch v.Kind() {
	case json.Number:
		if !strings.ContainsAny(v.Text(), ".eE") && isReckoned(v.Text()) {
			return v.Text(), true
		}
	case json.String:
		if s, _ := v.Str(); s != "" && strings.Trim(s, "0123456789[]+*(), ") == "" {
			return v.Text(), true
		}
	case json.Array:
		out := []byte(`"[`)
		for item := range v.Elements() {
			if item.Kind() != json.Number || strings.ContainsAny(item.Text(), ".eE") {
				return t.mistyped(f, item, at, expected)
			}
			if len(out) > 2 {
				out = append(out, ',')
			}
			out = append(out, item.Text()...)
		}
		return string(append(out, `]"`...)), true
	}
	return t.mistyped(f, v, at, expected)
}

func (t *translation) tuple(f *flag, v json.Value, at *place) (string, bool) {
	const expected = "a pair of whole numbers: text such as (128,0), or a list"
	s, _ := v.Str()
	if v.Kind() == json.Array {
		s, _, _ = compact(v.Text())
		s = "(" + strings.Trim(s, "[]") + ")"
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(s, "("), ")")
	a, b, ok := strings.Cut(inner, ",")
	if !ok || !isWhole(strings.TrimSpace(a)) || !isWhole(strings.TrimSpace(b)) {
		return t.mistyped(f, v, at, expected)
	}
	return string(json.AppendString(nil, s)), true
}

func isWhole(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func (t *translation) list(f *flag, v json.Value, at *place) (string, bool) {
	expected := "a list of texts"
	switch {
	case f.of("ints"):
		expected = "a list of whole numbers"
	case f.of("floats"):
		expected = "a list of numbers"
	case f.kind == "pythons":
		expected = "a list of Python paths"
	}
	if v.Kind() != json.Array {
		return t.mistyped(f, v, at, expected)
	}
	apart := f.kind == "repeat" || f.kind == "pythons" || f.kind == "groups"
	out := []byte{'['}
	n, good := 0, true
	dashed := -1
	for item := range v.Elements() {
		text, ok := "", false
		switch {
		case f.of("ints"), f.of("floats"):
			text, ok = t.number(f, item, at.item(n))
		case f.kind == "groups" && item.Kind() == json.Array:
			text, ok = t.list(&flag{name: f.name, kind: "texts"}, item, at.item(n))
		default:
			text, ok = t.text(f, item, at.item(n))
		}
		if ok && dashed < 0 && looksLikeFlag(token(text)) {
			dashed = n
		}
		good = good && ok
		if n > 0 {
			out = append(out, ',')
		}
		out = append(out, text...)
		n++
	}
	switch {
	case !good:
	case n == 0 && !strings.HasSuffix(f.kind, "*"):
		t.errors.add(at, "an empty list, where "+option(f.name)+" takes one item or more", "leave the line out")
		good = false
	case f.kind == "ints3" && n != 3:
		t.errors.add(at, "expected three whole numbers", "")
		good = false
	case n > 1 && dashed >= 0 && !apart:
		t.errors.add(at.item(dashed), "the command line would take an item that begins with - for a flag", "")
		good = false
	}
	return string(append(out, ']')), good
}

// token is a value of the arguments as one token of a command line.
func token(text string) string {
	if text == "" || text[0] != '"' {
		return text
	}
	if strings.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	v, err := json.Parse(text)
	if err != nil {
		return ""
	}
	s, _ := v.Str()
	return s
}

// looksLikeFlag reports whether argparse would take a token for a flag. It
// knows -1 and -.5 as numbers, and not -1e-6.
func looksLikeFlag(s string) bool {
	if s == "" || s[0] != '-' {
		return false
	}
	whole, fraction, pointed := strings.Cut(s[1:], ".")
	if !pointed {
		return whole == "" || strings.Trim(whole, "0123456789") != ""
	}
	return fraction == "" || strings.Trim(whole+fraction, "0123456789") != ""
}

func hasChoice(choices, s string) bool {
	for choice := range strings.SplitSeq(choices, ",") {
		if choice == s {
			return true
		}
	}
	return false
}

func choicesOf(choices string) string { return enumerate(strings.Split(choices, ",")) }

// isWord reports whether s is letters, digits and _ alone, of ASCII.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}

func isDotted(s string) bool {
	parts := 0
	for part := range strings.SplitSeq(s, ".") {
		if !isVariable(part) {
			return false
		}
		parts++
	}
	return parts > 1
}

func isVariable(s string) bool { return isWord(s) && (s[0] < '0' || s[0] > '9') }

// isCredential reports whether a variable is named like one that holds a credential.
func isCredential(name string) bool {
	for _, end := range []string{"API_KEY", "TOKEN", "PASSWORD", "PASSWD", "SECRET", "ACCESS_KEY", "SECRET_KEY", "PRIVATE_KEY", "CREDENTIALS"} {
		if at := len(name) - len(end); at >= 0 && strings.EqualFold(name[at:], end) && (at == 0 || name[at-1] == '_') {
			return true
		}
	}
	return false
}

// hasCredential reports whether an address has a user in it.
func hasCredential(s string) bool {
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		rest = s
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	return strings.IndexByte(authority, '@') >= 0
}

// compact takes the space out of a JSON text that has been parsed. It also
// returns the first name that an object repeats, since two readers of such an
// object read two things.
func compact(text string) (out, twice string, repeated bool) {
	buf := make([]byte, 0, len(text))
	var open []*members // nil for an array
	named := false      // a name comes next
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
			continue
		case '"':
			end := i + 1
			for ; text[end] != '"'; end++ {
				if text[end] == '\\' {
					end++
				}
			}
			if named && !repeated {
				name := token(text[i : end+1])
				if open[len(open)-1].has(name) {
					twice, repeated = name, true
				}
			}
			named = false
			buf = append(buf, text[i:end+1]...)
			i = end
			continue
		case '{':
			open = append(open, &members{})
			named = true
		case '[':
			open = append(open, nil)
			named = false
		case '}', ']':
			open = open[:len(open)-1]
			named = false
		case ',':
			named = open[len(open)-1] != nil
		}
		buf = append(buf, text[i])
	}
	return string(buf), twice, repeated
}

// members remembers the names of an object's members: a few in a list, many
// in a map.
type members struct {
	few  []string
	many map[string]struct{}
}

// has reports whether the name was there before.
func (m *members) has(name string) bool {
	if m.many != nil {
		_, ok := m.many[name]
		m.many[name] = struct{}{}
		return ok
	}
	for _, other := range m.few {
		if other == name {
			return true
		}
	}
	const few = 16
	if m.few = append(m.few, name); len(m.few) > few {
		m.many = make(map[string]struct{}, 4*few)
		for _, other := range m.few {
			m.many[other] = struct{}{}
		}
	}
	return false
}
