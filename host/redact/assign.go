package redact

import (
	"bytes"
	"math"
)

// What the value of an assignment in running text must be to count. Inside
// JSON the name alone decides; in prose and source code "token: the next one"
// is no secret, and something about the value must say that it is one.
const (
	shortestPassword = 6
	shortestToken    = 12
	// shortestBare is for values without quotes, and shortestLone for names
	// that are nothing but "key" or "token".
	shortestBare = 16
	shortestLone = 20
	// leastEntropy is in bits a byte: English words and identifiers of that
	// length have less, random letters and digits more.
	leastEntropy = 3.0
)

// maxBlanks bounds the blanks around the sign of an assignment.
const maxBlanks = 4

// findAssignment finds NAME=value, name: "value", \"name\": \"value\", --name
// value and header lines in text, where the name is a secret's and the value
// can be one.
func (st *state) findAssignment(b []byte, start, end int, r *rule) {
	if start < st.assigned {
		return
	}
	from, to := start, end
	for from > 0 && start-from < longestParameter && (in(word, b[from-1]) || b[from-1] == '-') {
		from--
	}
	for to < len(b) && to-end < longestParameter && (in(word, b[to]) || b[to] == '-') {
		to++
	}
	st.assigned = to
	name := b[from:to]
	i, signed := sign(b, to, bytes.HasPrefix(name, []byte("--")))
	if !signed || i >= len(b) {
		return
	}
	what := st.words.judge(name)
	if what == harmless {
		return
	}
	i, quoted := openingQuote(b, i)
	if holds(name, "authorization") || holds(name, "cookie") {
		st.findHeader(b, i, holds(name, "cookie"), r)
		return
	}
	c := bareValue
	if quoted {
		c = lineValue
	}
	valueEnd := st.run(b, i, c)
	value := b[i:valueEnd]
	if len(value) == 0 || markerLen(value) == len(value) || what == counting && allDigits(value) {
		return
	}
	adjacent := b[to] == '=' && (i == to+1 || quoted && i == to+2)
	if adjacent && !quoted && st.findForm(b, i, what, r) {
		return
	}
	if adjacent && isShell(name, value) || st.isCredential(name, value, quoted) {
		st.add(b, i, valueEnd, r.name)
	}
}

// findForm finds the value at i of the first member of a form (name=value&…),
// where no head of a query stands before.
func (st *state) findForm(b []byte, i int, what naming, r *rule) bool {
	to := st.run(b, i, queryValue)
	if to == i || to >= len(b) || b[to] != '&' {
		return false
	}
	next := to + 1
	for next < len(b) && next-to < longestParameter && in(dotted, b[next]) {
		next++
	}
	if next == to+1 || next >= len(b) || b[next] != '=' {
		return false
	}
	if markerLen(b[i:to]) != to-i && !(what == counting && allDigits(b[i:to])) {
		st.add(b, i, to, r.name)
	}
	return true
}

// isShell reports whether name and value are those of an environment variable
// as a shell or a .env file sets it: with such a name, any word is a secret.
func isShell(name, value []byte) bool {
	for _, c := range name {
		if isLower(c) || c == '-' {
			return false
		}
	}
	return len(value) >= shortestPassword && !bytes.ContainsAny(value[:min(len(value), probe)], "$<>{}()*[]%| \t")
}

// sign reads what stands between a name and its value: a closing quote,
// blanks, one of = : := =>, blanks; for a flag, blanks alone. It returns where
// the value begins.
func sign(b []byte, i int, flag bool) (int, bool) {
	i, quoted := openingQuote(b, i)
	blanks := i
	for i < len(b) && i-blanks < maxBlanks && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	if i >= len(b) {
		return i, false
	}
	switch c := b[i]; {
	case c == '=' || c == ':':
		i++
		if i < len(b) && (b[i] == '=' && c == '=' || b[i] == ':') {
			return i, false
		}
		if i < len(b) && (b[i] == '=' || b[i] == '>') {
			i++
		}
	case flag && !quoted && i > blanks && b[i] != '-':
		return i, true
	default:
		return i, false
	}
	for blanks = i; i < len(b) && i-blanks < maxBlanks && (b[i] == ' ' || b[i] == '\t'); i++ {
	}
	return i, true
}

// openingQuote skips one quote, escaped or not.
func openingQuote(b []byte, i int) (int, bool) {
	j := i
	for j < len(b) && j-i < 4 && b[j] == '\\' {
		j++
	}
	if j < len(b) && (b[j] == '"' || b[j] == '\'' || b[j] == '`') {
		return j + 1, true
	}
	return i, false
}

// findHeader finds the credentials in the value of an Authorization or a
// Cookie header that begins at i.
func (st *state) findHeader(b []byte, i int, cookie bool, r *rule) {
	line := b[i:st.run(b, i, lineValue)]
	near := line[:min(len(line), window)]
	equals := bytes.IndexByte(near, '=')
	if cookie {
		if equals > 0 && equals < longestParameter && !bytes.HasPrefix(line, []byte(markerOpen)) {
			st.add(b, i, i+len(line), r.name)
		}
		return
	}
	scheme, rest, _ := bytes.Cut(near, []byte(" "))
	first, _, _ := bytes.Cut(rest, []byte(" "))
	switch {
	case bytes.HasPrefix(scheme, []byte(markerOpen)) || bytes.HasPrefix(first, []byte(markerOpen)):
	case len(first) > 0 && bytes.IndexByte(rest, '=') > 0 && bytes.IndexByte(rest, ',') > 0:
		// Parameters, as of Digest and AWS4-HMAC-SHA256: they go to the end of the line.
		st.add(b, i, i+len(line), r.name)
	case len(first) >= 8 && mixed(first) || len(first) >= 24:
		to := i + len(scheme) + 1 + len(first)
		st.add(b, i, max(to, min(i+len(line), st.run(b, to, token68))), r.name)
	case len(scheme) >= shortestToken && mixed(scheme):
		st.add(b, i, max(i+len(scheme), st.run(b, i, token68)), r.name)
	}
}

// isCredential reports whether the value can be what the name says.
func (st *state) isCredential(name, value []byte, quoted bool) bool {
	near := value[:min(len(value), probe)]
	if bytes.ContainsAny(near, " \t") {
		return false
	}
	for _, w := range []string{"pass", "pwd", "secret", "credential"} {
		if !holds(name, w) {
			continue
		}
		if quoted && len(value) >= shortestPassword && !bytes.ContainsAny(near, "{}<>$()") {
			return true
		}
		if len(value) >= shortestPassword && mixed(near) && !bytes.ContainsAny(near, "([{$<\\") {
			return true
		}
	}
	for _, c := range near {
		if !in(token68, c) {
			return false
		}
	}
	least := shortestToken
	if !quoted {
		least = shortestBare
	}
	if st.words.split(name) && st.words.n == 1 {
		least = shortestLone
	}
	return len(value) >= least && mixed(near) && entropy(near) >= leastEntropy
}

// holds reports whether the name holds the word, given in lower case, somewhere.
func holds(name []byte, word string) bool {
	for i := 0; i+len(word) <= len(name); i++ {
		j := 0
		for j < len(word) && fold(name[i+j]) == word[j] {
			j++
		}
		if j == len(word) {
			return true
		}
	}
	return false
}

// entropy returns the Shannon entropy of b's bytes, in bits a byte.
func entropy(b []byte) float64 {
	var counts [256]int
	for _, c := range b {
		counts[c]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(b))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
