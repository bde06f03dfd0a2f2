package redact

import (
	"bytes"
	"encoding/base64"
)

// window bounds how far behind a head a rule looks for what tells a token; the
// token itself goes on to its end. pemWindow is that of a private key in PEM,
// the largest of which have some 12 KiB.
const (
	window    = 4 << 10
	pemWindow = 64 << 10
)

// exact reports whether the head stands at start as the rule spells it, and
// not behind a letter or a digit.
func exact(b []byte, start, end int, text string) bool {
	return string(b[start:end]) == text && (start == 0 || !isAlnum(b[start-1]))
}

// findDashed finds sk-… and sk-ant-…, whose tokens hold dashes like words
// joined by them: at least one part must be long and mixed.
func (st *state) findDashed(b []byte, start, end int, r *rule) {
	if !exact(b, start, end, r.heads[0]) || r.name == "sk-key" && bytes.HasPrefix(b[end:], []byte("ant-")) {
		return
	}
	to := st.run(b, end, base64url)
	if to-end < 16 {
		return
	}
	near := b[end:min(to, end+probe)]
	for from := 0; from < len(near); from++ {
		part := from
		for part < len(near) && isAlnum(near[part]) {
			part++
		}
		if n := part - from; n >= 30 || n >= 10 && mixed(near[from:part]) {
			st.add(b, start, to, r.name)
			return
		}
		from = part
	}
}

// findSlack finds xoxb-…, xoxp-… and their kin.
func (st *state) findSlack(b []byte, start, end int, r *rule) {
	if !exact(b, start, end, r.heads[0]) || len(b) < end+2 || !isLower(b[end]) || b[end+1] != '-' && b[end+1] != '.' {
		return
	}
	to := st.run(b, end+1, dotted)
	if n := to - end; n >= 12 && mixed(b[end+1:to]) || n >= 20 {
		st.add(b, start, to, r.name)
	}
}

// findTelegram finds the token of a bot: 8 to 10 digits, ":AA" and the rest.
func (st *state) findTelegram(b []byte, start, end int, r *rule) {
	from := start
	for from > 0 && start-from < 11 && isDigit(b[from-1]) {
		from--
	}
	if start-from < 8 || string(b[start:end]) != r.heads[0] {
		return
	}
	if to := st.run(b, end, base64url); to-end >= 30 {
		st.add(b, from, to, r.name)
	}
}

// findJWT finds a token in the compact form of JWS and JWE (RFC 7515, RFC
// 7516): a header, which as base64url of a JSON object begins with eyJ or, with
// white space in it, with one of a few others, and one to four more parts.
func (st *state) findJWT(b []byte, start, end int, h *head) {
	if !exact(b, start, end, h.text) {
		return
	}
	to := st.run(b, end, base64url)
	if to-end < 10 {
		return
	}
	parts := 1
	for parts < 5 && to < len(b) && b[to] == '.' {
		next := st.run(b, to+1, base64url)
		// The second part may be empty: a JWE without an encrypted key, a JWS
		// with a detached payload.
		empty := next == to+1 && next < len(b) && b[next] == '.'
		if parts == 1 && next-to < 10 && !empty {
			break
		}
		to = next
		parts++
	}
	if parts > 1 {
		st.add(b, start, to, h.rule.name)
	}
}

// findAzure finds the secret of an Entra application: three characters and a
// digit before "Q~", some 34 behind.
func (st *state) findAzure(b []byte, start, end int, r *rule) {
	const before = 4
	if string(b[start:end]) != r.heads[0] || start < before || !isDigit(b[start-1]) {
		return
	}
	for _, c := range b[start-before : start] {
		if !in(token68, c) {
			return
		}
	}
	if to := st.run(b, end, token68); to-end >= 31 {
		st.add(b, start-before, to, r.name)
	}
}

// findAirtable finds a personal access token: "pat", 14 letters and digits, a
// point and 64 hex digits.
func (st *state) findAirtable(b []byte, start, end int, r *rule) {
	const id, rest = 14, 64
	if !exact(b, start, end, r.heads[0]) || st.run(b, end, alnum) != end+id || end+id >= len(b) || b[end+id] != '.' {
		return
	}
	if to := st.run(b, end+id+1, hexLower); to-end-id-1 >= rest {
		st.add(b, start, to, r.name)
	}
}

// findCurl finds the password behind -u or --user of a curl command.
func (st *state) findCurl(b []byte, end int, r *rule) {
	const reach = 512
	line := b[end:min(len(b), end+reach)]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	for _, flag := range []string{"-u", "--user"} {
		i := bytes.Index(line, []byte(flag))
		if i < 0 || i > 0 && line[i-1] != ' ' || i+len(flag) >= len(line) || line[i+len(flag)] != ' ' && line[i+len(flag)] != '=' {
			continue
		}
		from, _ := openingQuote(b, end+i+len(flag)+1)
		to := st.run(b, from, bareValue)
		colon := bytes.IndexByte(b[from:min(to, from+window)], ':')
		if password := from + colon + 1; colon > 0 && password < to && markerLen(b[password:to]) != to-password {
			for to > password && (b[to-1] == '\'' || b[to-1] == ';') {
				to--
			}
			st.add(b, password, to, r.name)
		}
	}
}

// findPEM finds a private key in PEM (RFC 7468), up to its END line, or as much
// of it as there is.
func (st *state) findPEM(b []byte, start, end int, r *rule) {
	if string(b[start:end]) != r.heads[0] {
		return
	}
	const longestLabel = 64
	label := b[end:min(len(b), end+longestLabel)]
	i := bytes.Index(label, []byte("-----"))
	if i < 0 || !bytes.Contains(label[:i], []byte("PRIVATE KEY")) {
		return
	}
	body := end + i + len("-----")
	const last = "-----END"
	if body >= st.endFrom && st.endMark < body {
		st.endFrom, st.endMark = body, len(b)
		if j := bytes.Index(b[body:], []byte(last)); j >= 0 {
			st.endMark = body + j
		}
	}
	if st.endMark < len(b) && st.endMark-body <= pemWindow {
		to := st.endMark + len(last)
		if j := bytes.Index(b[to:min(len(b), to+longestLabel)], []byte("-----")); j >= 0 {
			to += j + len("-----")
		}
		st.add(b, start, to, r.name)
		return
	}
	st.add(b, start, st.run(b, body, pemBody), r.name)
}

// findEncodedPEM finds a private key in PEM that is in base64 as a whole.
func (st *state) findEncodedPEM(b []byte, start, end int, r *rule) {
	if string(b[start:end]) != r.heads[0] {
		return
	}
	to := st.run(b, end, token68)
	// The label lies within the first 60 bytes, which are 80 in base64.
	text := b[start : start+min(to-start, 80)/4*4]
	var plain [60]byte
	n, _ := base64.StdEncoding.Decode(plain[:], text)
	if bytes.Contains(plain[:n], []byte("PRIVATE KEY")) {
		st.add(b, start, to, r.name)
	}
}

// findBearer finds the credentials behind "Bearer" (RFC 6750), and tells them
// from the words of a sentence.
func (st *state) findBearer(b []byte, start, end int, r *rule) {
	if start > 0 && isAlnum(b[start-1]) {
		return
	}
	from := end
	for from < len(b) && from-end < 8 && b[from] == ' ' {
		from++
	}
	if from == end {
		return
	}
	to := st.run(b, from, token68)
	n := to - from
	if n >= 8 && mixed(b[from:to]) || n >= 24 {
		st.add(b, from, to, r.name)
	}
}

// findBasic finds the credentials behind "Basic" (RFC 7617): base64 of
// user:password.
func (st *state) findBasic(b []byte, start, end int, r *rule) {
	if start > 0 && isAlnum(b[start-1]) || end >= len(b) || b[end] != ' ' {
		return
	}
	from := end + 1
	to := st.run(b, from, token68)
	text := bytes.TrimRight(b[from:min(to, from+window)], "=")
	if len(text) < 4 {
		return
	}
	var room [probe]byte
	near := text[:min(len(text), probe)]
	n, err := base64.RawStdEncoding.Decode(room[:], near)
	if err == nil && bytes.IndexByte(room[:n], ':') >= 0 && bytes.IndexFunc(room[:n], func(r rune) bool { return r < ' ' }) < 0 {
		st.add(b, from, to, r.name)
	}
}

// findUserinfo finds the password between "://" and "@" (RFC 3986, section
// 3.2.1), or the user when there is none and the scheme is http, where a token
// stands in its place.
func (st *state) findUserinfo(b []byte, start, end int, r *rule) {
	to := st.run(b, end, authority)
	near := b[end:min(to, end+window)]
	at := bytes.LastIndexByte(near, '@')
	if at <= 0 {
		return
	}
	from := 0
	if colon := bytes.IndexByte(near[:at], ':'); colon >= 0 {
		from = colon + 1
	} else {
		scheme := bytes.ToLower(b[max(0, start-5):start])
		if !bytes.HasSuffix(scheme, []byte("http")) && !bytes.HasSuffix(scheme, []byte("https")) {
			return
		}
	}
	if at > from && markerLen(near[from:at]) != at-from {
		st.add(b, end+from, end+at, r.name)
	}
}

// queryNames are names of parameters that hold credentials without saying so.
var queryNames = []string{"sig", "signature", "auth", "pass", "x-amz-signature", "x-goog-signature"}

// longestParameter bounds the name of a parameter or of an assignment.
const longestParameter = 64

// findQuery finds the values of parameters with secret names, and those that
// hold secrets once their percent-encoding is undone.
func (st *state) findQuery(b []byte, start, end int, r *rule) {
	eq := end
	for eq < len(b) && eq-end < longestParameter && (in(dotted, b[eq]) || b[eq] == '%' || b[eq] == '[' || b[eq] == ']') {
		eq++
	}
	if eq == end || eq >= len(b) || b[eq] != '=' {
		return
	}
	from := eq + 1
	to := st.run(b, from, queryValue)
	// An assignment in code ends in what no value of a query does.
	if to == from || markerLen(b[from:to]) == to-from || b[from] == '=' {
		return
	}
	var room [longestParameter]byte
	name := unpercent(room[:0], b[end:eq])
	if what := st.words.judge(name); what != harmless || isQueryName(name) {
		if what == counting && allDigits(b[from:to]) {
			return
		}
		st.add(b, from, to, r.name)
		return
	}
	if st.nesting == 0 && to-from <= window && bytes.IndexByte(b[from:to], '%') >= 0 {
		if st.hides(unpercent(nil, b[from:to])) {
			st.add(b, from, to, r.name)
		}
	}
}

func isQueryName(name []byte) bool {
	for _, q := range queryNames {
		if len(q) == len(name) && holds(name, q) {
			return true
		}
	}
	return false
}

// hides reports whether a part of a text, decoded, holds a secret.
func (st *state) hides(plain []byte) bool {
	inner := state{r: st.r, nesting: st.nesting + 1}
	inner.search(plain)
	return len(inner.spans) > 0
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// unpercent appends b with its percent-encoding undone; what is not a legal
// escape stays.
func unpercent(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			high, ok1 := hexDigit(b[i+1])
			low, ok2 := hexDigit(b[i+2])
			if ok1 && ok2 {
				dst = append(dst, high<<4|low)
				i += 2
				continue
			}
		}
		dst = append(dst, b[i])
	}
	return dst
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
