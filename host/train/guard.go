package train

import (
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
)

const (
	// minSecret is the shortest token of the user that is looked for by its value:
	// what is shorter occurs by chance.
	minSecret = 8
	// maxTokenFile bounds the files in which a token is looked for.
	maxTokenFile = 64 << 10
	// maxUnwrap is how many layers of encoding are taken off a text.
	maxUnwrap = 4
	// minEncoded is the shortest text that a token of 30 characters can be in
	// base64.
	minEncoded = 40
)

// tokenShape is what a token of Hugging Face looks like: for users, for
// organisations, and as OAuth gives them out. hf_checkpoint is no token.
var tokenShape = regexp.MustCompile(`hf_[A-Za-z0-9]{30}|hf_oauth_[A-Za-z0-9._-]{20}|api_org_[A-Za-z0-9]{30}`)

// tokenName is a name that stands for such a token, once letter case and
// separators are gone from it.
var tokenName = regexp.MustCompile(`^(hf|huggingface)(hub|api|hubapi|access|user|auth|write|read)*(token|tokens|apikey|key|secret|password)$`)

// tokenAssignment is such a name with a value behind it, in the middle of a text.
var tokenAssignment = regexp.MustCompile(`(?i)(?:^|[^A-Za-z0-9])(?:hf|hugging[_-]?face)[_-]?(?:(?:hub|api|access|user|auth|write|read)[_-]?)*(?:token|api[_-]?key)["']?\s*[=:]`)

// standardAlphabet turns base64url (RFC 4648 §5) into base64 (§4).
var standardAlphabet = strings.NewReplacer("-", "+", "_", "/")

// Guard keeps a user's Hugging Face token on this machine: the platform trains with
// its own. It may be used from several goroutines.
type Guard struct{ secrets []string }

// NewGuard reads the user's token from where the libraries of Hugging Face do: the
// environment, and the files of their cache. What cannot be read cannot be used by
// anybody either, and is passed over.
func NewGuard(environ []string) *Guard {
	env := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	g := &Guard{}
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN", "HUGGINGFACE_TOKEN", "HUGGINGFACE_HUB_TOKEN"} {
		g.add(env[name])
	}
	path := func(name string) string {
		p := os.Expand(env[name], func(name string) string { return env[name] })
		if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || rest[0] == '/') {
			p = env["HOME"] + rest
		}
		return p
	}
	home := path("HF_HOME")
	if cache := path("XDG_CACHE_HOME"); home == "" && cache != "" {
		home = filepath.Join(cache, "huggingface")
	} else if home == "" && env["HOME"] != "" {
		home = filepath.Join(env["HOME"], ".cache", "huggingface")
	}
	var tokens []string
	if p := path("HF_TOKEN_PATH"); p != "" {
		tokens = append(tokens, p)
	}
	if home != "" {
		tokens = append(tokens, filepath.Join(home, "token"))
	}
	for _, file := range tokens {
		text := readToken(file)
		g.add(text)
		for line := range strings.Lines(text) {
			g.add(line)
		}
		for line := range strings.Lines(readToken(filepath.Join(filepath.Dir(file), "stored_tokens"))) {
			if _, value, ok := strings.Cut(line, "="); ok {
				g.add(value)
			}
		}
	}
	return g
}

// readToken reads a file in which a token may be, "" where there is none.
func readToken(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxTokenFile {
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}

func (g *Guard) add(secret string) {
	if secret = strings.TrimSpace(secret); len(secret) >= minSecret {
		g.secrets = append(g.secrets, secret)
	}
}

// Check refuses a JSON text in which a token stands, or a member that is named like
// one, whatever its value. The error is carl.slime.hf_token_leak with the JSON
// Pointer, and never the value; place tells where in a file that is, and is nil for
// what a translator made.
func (g *Guard) Check(doc []byte, place func(pointer string) string) error {
	pointer, found := g.find(doc)
	if !found {
		return nil
	}
	at := "of what the translator made of it, " + strconv.Quote(pointer)
	if place != nil {
		at = place(pointer) + ": " + strconv.Quote(pointer)
	}
	return leak("%s holds a Hugging Face token, or is named like one", at)
}

// CheckLines refuses a text that could not be read otherwise, by the line in which a
// token stands.
func (g *Guard) CheckLines(text, file string) error {
	n := 0
	for line := range strings.Lines(text) {
		if n++; g.holds(line) {
			return leak("%s:%d: this line holds a Hugging Face token, or what is named like one", file, n)
		}
	}
	return nil
}

// CheckTexts refuses texts, such as a command line, in the same way; what says what
// they are.
func (g *Guard) CheckTexts(what string, texts []string) error {
	for i, s := range texts {
		name, _, _ := strings.Cut(strings.TrimLeft(s, "-+"), "=")
		if strings.HasPrefix(s, "-") && named(name) || g.holds(s) {
			if len(texts) > 1 {
				what += " " + strconv.Itoa(i+1)
			}
			return leak("%s holds a Hugging Face token, or is named like one", what)
		}
	}
	return nil
}

func leak(format string, args ...any) error {
	return fault.New(fault.HFTokenLeak, format, args...).WithKept("nothing was sent or run").
		WithHint("take it out: the platform trains with a token of its own, and a run on this machine inherits HF_TOKEN from the environment")
}

// find walks a JSON text and returns the pointer to the first token. Where it is a
// name that holds one, that is the pointer to the object.
func (g *Guard) find(doc []byte) (pointer string, found bool) {
	d := jsontext.NewDecoder(strings.NewReader(string(doc)))
	for {
		token, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return "", false
		}
		if err != nil {
			return "", g.holds(string(doc)) // no JSON that anybody reads
		}
		if token.Kind() != '"' {
			continue
		}
		kind, n := d.StackIndex(d.StackDepth())
		isName := kind == '{' && n%2 == 1
		at := string(d.StackPointer())
		s := token.String()
		switch {
		case isName && g.holds(s):
			return at[:max(0, strings.LastIndexByte(at, '/'))], true
		case isName && named(s), !isName && g.holds(s):
			return at, true
		}
	}
}

// named reports whether a member's name stands for a token.
func named(name string) bool {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z':
			return r
		case r >= '0' && r <= '9', r > 0x7f:
			return r
		}
		return -1
	}, name)
	return tokenName.MatchString(plain)
}

// holds reports whether a token stands in a text, as it is or under layers of
// percent-encoding, base64 and JSON.
func (g *Guard) holds(text string) bool { return g.unwrap(text, maxUnwrap) }

func (g *Guard) unwrap(text string, layers int) bool {
	if tokenShape.MatchString(text) || strings.ContainsAny(text, "=:") && tokenAssignment.MatchString(text) {
		return true
	}
	for _, secret := range g.secrets {
		if strings.Contains(text, secret) {
			return true
		}
	}
	if layers == 0 {
		return false
	}
	if strings.ContainsRune(text, '%') {
		if plain := percentDecoded(text); plain != text && g.unwrap(plain, layers-1) {
			return true
		}
	}
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		if v := jsontext.Value(trimmed); v.IsValid(jsontext.AllowDuplicateNames(true)) {
			if g.inJSON(v, layers-1) {
				return true
			}
		}
	}
	return g.inBase64(text, layers-1)
}

// inJSON looks at the names and texts of JSON within a text.
func (g *Guard) inJSON(v jsontext.Value, layers int) bool {
	d := jsontext.NewDecoder(strings.NewReader(string(v)), jsontext.AllowDuplicateNames(true))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return false
		}
		if token.Kind() != '"' {
			continue
		}
		kind, n := d.StackIndex(d.StackDepth())
		if s := token.String(); kind == '{' && n%2 == 1 && named(s) || g.unwrap(s, layers) {
			return true
		}
	}
}

// percentDecoded takes percent-encoding off wherever it is legal.
func percentDecoded(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// inBase64 looks behind every run of characters of base64, in both alphabets, that
// is long enough, wherever in it the encoding begins.
func (g *Guard) inBase64(text string, layers int) bool {
	shortest := g.shortestEncoded()
	for start := 0; start < len(text); {
		if !isBase64(text[start]) {
			start++
			continue
		}
		end := start
		for end < len(text) && isBase64(text[end]) {
			end++
		}
		run := text[start:end]
		start = end
		if len(run) < shortest {
			continue
		}
		run = standardAlphabet.Replace(run)
		for offset := range 4 {
			part := run[min(offset, len(run)):]
			part = part[:len(part)-len(part)%4+base64Rest(len(part)%4)]
			raw, err := base64.RawStdEncoding.DecodeString(part)
			if err == nil && g.unwrap(string(raw), layers) {
				return true
			}
		}
	}
	return false
}

// base64Rest is how many of the last characters, beyond groups of four, count.
func base64Rest(n int) int {
	if n == 1 {
		return 0
	}
	return n
}

// shortestEncoded is the length of the shortest text that a token can be in base64:
// one by its shape, or one of the user's.
func (g *Guard) shortestEncoded() int {
	shortest := minEncoded
	for _, secret := range g.secrets {
		shortest = min(shortest, base64.RawStdEncoding.EncodedLen(len(secret)))
	}
	return shortest
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}
