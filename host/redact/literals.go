package redact

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// environLiterals returns the values of the variables whose names are a
// secret's, and the passwords in values that are URLs.
func environLiterals(environ []string) []string {
	var out []string
	for _, e := range environ {
		name, value, ok := strings.Cut(e, "=")
		if !ok || value == "" {
			continue
		}
		if isSecretVariable(name) {
			out = append(out, value)
		}
		if u, err := url.Parse(value); err == nil && u.User != nil && u.Host != "" {
			if password, ok := u.User.Password(); ok {
				out = append(out, password)
			}
		}
	}
	return out
}

// shellVariables are set by every shell: PWD is the working directory, which a
// step may well name, and no password.
var shellVariables = []string{"_", "PWD", "OLDPWD"}

// isSecretVariable reports whether an environment variable's name says that
// its value is secret: the rules for members, and PASS as its last word, which
// in a member may as well be a test that passed.
func isSecretVariable(name string) bool {
	if slices.Contains(shellVariables, name) {
		return false
	}
	if judge([]byte(name)) != harmless {
		return true
	}
	upper := strings.ToUpper(name)
	return strings.HasSuffix(upper, "_PASS") || strings.HasSuffix(upper, "PGPASS")
}

// dull are values of settings: whoever names a variable PASSWORD_LOGIN=disabled
// wants to read the word again.
var dull = []string{"enabled", "disabled", "default", "required", "optional", "prompt", "always"}

// spellings returns the values and how else they may stand in a text whose own
// escapes are undone: escaped once or twice more as JSON, or in a URL. Longest first,
// each once.
func spellings(values []string) []string {
	var out []string
	add := func(s string) {
		// What is not UTF-8 stands in no step, and half a letter is not to be cut out of one.
		if len(s) >= MinLiteral && utf8.ValidString(s) && !slices.Contains(dull, strings.ToLower(s)) {
			out = append(out, s)
		}
	}
	for _, v := range values {
		for _, v := range []string{v, strings.TrimSpace(v)} {
			add(v)
			if len(v) < MinLiteral {
				continue
			}
			quoted := v
			for range 2 {
				b, err := jsontext.AppendQuote(nil, quoted)
				if err != nil {
					break
				}
				quoted = string(b[1 : len(b)-1])
				add(quoted)
			}
			add(url.QueryEscape(v))
			add(url.PathEscape(v))
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	out = slices.Compact(out)
	return out[:min(len(out), maxLiterals)]
}
