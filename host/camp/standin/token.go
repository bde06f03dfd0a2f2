package standin

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// shape is how a credential of one kind looks: what it starts with, and how
// many characters of a token follow at least.
type shape struct {
	kind, head string
	least      int
	// plain shapes go on in letters and digits only.
	plain bool
	// digit shapes have a digit in them, which tells them from words.
	digit bool
}

// shapes are credentials that must never arrive here. They are fewer and
// narrower than the rules by which carl redacts: whatever is refused here,
// carl should have taken out.
var shapes = []shape{
	{kind: "Hugging Face", head: "hf_", least: 30, plain: true},
	{kind: "Hugging Face", head: "api_org_", least: 30, plain: true},
	{kind: "OpenAI or Anthropic", head: "sk-", least: 32, digit: true},
	{kind: "GitHub", head: "ghp_", least: 36, plain: true},
	{kind: "GitHub", head: "gho_", least: 36, plain: true},
	{kind: "GitHub", head: "ghs_", least: 36, plain: true},
	{kind: "GitHub", head: "github_pat_", least: 40},
	{kind: "GitLab", head: "glpat-", least: 20},
	{kind: "Google", head: "AIza", least: 35},
	{kind: "npm", head: "npm_", least: 36, plain: true},
	{kind: "Slack", head: "xoxb-", least: 20, digit: true},
	{kind: "Slack", head: "xoxp-", least: 20, digit: true},
	{kind: "carl.camp", head: "camp_dev_", least: 40, plain: true},
}

// findToken looks for a credential in the names and texts of a JSON value and
// says of which kind it is, or "". own is the caller's own bearer token.
func findToken(body []byte, own string) string {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return ""
		}
		if token.Kind() != '"' {
			continue
		}
		if kind := tokenIn(token.String(), own, false); kind != "" {
			return kind
		}
	}
}

// tokenIn says which kind of credential is in s, or "". One that is not looked
// for anywhere is not at the end of a word.
func tokenIn(s, own string, anywhere bool) string {
	if strings.Contains(s, own) {
		return "the bearer token of the request"
	}
	if strings.Contains(s, "PRIVATE KEY-----") && strings.Contains(s, "-----BEGIN ") {
		return "a private key"
	}
	if hasJWT(s, anywhere) {
		return "JWT"
	}
	for i := range shapes {
		if shapes[i].in(s, anywhere) {
			return shapes[i].kind
		}
	}
	return ""
}

func (sh *shape) in(s string, anywhere bool) bool {
	for at := 0; ; {
		i := strings.Index(s[at:], sh.head)
		if i < 0 {
			return false
		}
		start := at + i
		at = start + len(sh.head)
		if !anywhere && start > 0 && isAlnum(s[start-1]) {
			continue // the end of a word, as in task-
		}
		n, digits := 0, 0
		for ; at+n < len(s) && (isAlnum(s[at+n]) || !sh.plain && (s[at+n] == '-' || s[at+n] == '_')); n++ {
			if s[at+n] <= '9' && s[at+n] >= '0' {
				digits++
			}
		}
		if n >= sh.least && (!sh.digit || digits > 0) {
			return true
		}
		// What starts later in the same run has no more of it.
		at += n
	}
}

// minJWTPart is the least length of each part: an empty header alone has 20.
const minJWTPart = 16

// hasJWT looks for three parts of base64url of which the first two begin as an
// encoded JSON object does.
func hasJWT(s string, anywhere bool) bool {
	for at := 0; ; {
		i := strings.Index(s[at:], "eyJ")
		if i < 0 {
			return false
		}
		start := at + i
		at = start + len("eyJ")
		if !anywhere && start > 0 && isAlnum(s[start-1]) {
			continue
		}
		first := run(s[start:])
		second := run(after(s[start:], first))
		third := run(after(s[start+first:], 1+second))
		if first >= minJWTPart && second >= minJWTPart && third >= minJWTPart && strings.HasPrefix(s[start+first+1:], "eyJ") {
			return true
		}
		at = start + first
	}
}

// run is how many characters of base64url s starts with.
func run(s string) int {
	n := 0
	for n < len(s) && (isAlnum(s[n]) || s[n] == '-' || s[n] == '_') {
		n++
	}
	return n
}

// after is what follows n bytes and a point, or "" when there is no point.
func after(s string, n int) string {
	if n >= len(s) || s[n] != '.' {
		return ""
	}
	return s[n+1:]
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
