package redact

// secretWords are the words that make the value of a member a secret. They are
// matched as whole words of the name, in any case and in the plural.
var secretWords = []string{
	"key", "token", "secret", "password", "authorization", "bearer",
	"credential", "cookie", "private", "passwd", "pwd",
	// The same, as they are written without a joint.
	"apikey", "apitoken", "accesskey", "accesstoken", "authkey", "authtoken",
	"refreshtoken", "sessiontoken", "secretkey", "privatekey", "clientsecret",
	"passphrase", "passcode", "jwt",
}

// exceptions are names that hold a secret word and no secret, word by word and
// in the singular. The first that fits at a place counts, and takes only the
// words it names: input_key_password is still a password.
var exceptions = []string{
	// A member, a column or a place in a store that is called key.
	"input key", "output key", "label key", "metadata key", "tool key", "reward key", "multimodal key",
	"primary key", "foreign key", "candidate key", "natural key", "surrogate key", "composite key", "unique key",
	"partition key", "sort key", "range key", "hash key", "shard key", "index key", "row key", "join key", "group key",
	"cache key", "idempotency key", "dedup key", "deduplication key", "routing key", "object key", "lookup key", "map key",
	"answer key", "arrow key", "hot key", "shortcut key", "attention key",
	"public key", "verification key", "verify key", "host key",
	// What is said about a key.
	"key id", "key name", "key type", "key size", "key length", "key bit", "key alg", "key algorithm", "key usage", "key op",
	"key path", "key file", "key field", "key column", "key fingerprint", "key expiry", "key version", "key value",
	"key press", "key code", "key down", "key up", "key event", "key frame", "key point", "key word", "key head",
	"key error", "key layer", "key count",
	// What is said about a token, or counted in tokens.
	"token type", "token count", "token usage", "token limit", "token budget", "token detail", "token id", "token index",
	"token position", "token embedding", "token length", "token file", "token path", "token url", "token uri",
	"token endpoint", "token dispatcher", "token drop", "token map", "token latency", "token loss", "token ratio",
	"token bucket", "token histogram", "token threshold", "token level", "token per", "per token", "token distribution",
	"bos token", "eos token", "eod token", "pad token", "unk token", "cls token", "sep token", "mask token",
	"prefix token", "suffix token", "middle token", "stop token", "special token", "image token", "draft token",
	// Others.
	"password policy", "password hint", "password length", "secret name", "secret version",
	"application credential", "credential type", "credential source", "credential id",
	"cookie consent", "cookie policy", "private network", "private ip", "private endpoint", "is private",
}

// usageWords make a number under a name with "token" a count.
var usageWords = []string{
	"total", "max", "min", "num", "n", "count", "limit", "budget", "usage", "used", "remaining", "sent", "received",
	"input", "output", "prompt", "completion", "cached", "reasoning", "generated", "per", "rate", "size", "length", "avg", "mean",
}

// naming is what a name says of its value.
type naming uint8

const (
	harmless naming = iota
	secret
	// counting is secret but for numbers: max_tokens.
	counting
)

// maxWords bounds the words of a name that are looked at one by one; a name of
// more is no name, and counts as one that holds the word.
const maxWords = 64

// judge says what a member's name means for its value. Parts of the name that
// were redacted say nothing.
func judge(name []byte) naming { return new(nameWords).judge(name) }

func (words *nameWords) judge(name []byte) naming {
	if !words.split(name) {
		return secret
	}
	if !words.anySecret() {
		return harmless
	}
	var covered [maxWords]bool
	for i := range words.n {
		first := words.at(i)[0]
		for _, e := range exceptions {
			// Most exceptions fall at their first letter.
			if e[0] != first {
				continue
			}
			if n := words.match(i, e); n > 0 {
				for j := i; j < i+n; j++ {
					covered[j] = true
				}
				break
			}
		}
	}
	found, onlyTokens, usage := false, true, false
	for i := range words.n {
		w := words.at(i)
		one := singular(w)
		switch {
		case contains(usageWords, w):
			usage = true
		case covered[i]:
		case string(one) == "token":
			found = true
			usage = usage || len(w) > len(one)
		case contains(secretWords, one), string(w) == "pass" && i+1 < words.n && contains(passwordTails, singular(words.at(i+1))):
			found, onlyTokens = true, false
		}
	}
	switch {
	case !found:
		return harmless
	case onlyTokens && usage:
		return counting
	}
	return secret
}

// anySecret reports whether there is anything that exceptions could excuse.
func (words *nameWords) anySecret() bool {
	for i := range words.n {
		if w := words.at(i); contains(secretWords, singular(w)) || string(w) == "pass" {
			return true
		}
	}
	return false
}

// passwordTails make a secret word of a "pass" that is written apart.
var passwordTails = []string{"word", "phrase", "code"}

func contains(list []string, w []byte) bool {
	for _, l := range list {
		if l == string(w) {
			return true
		}
	}
	return false
}

// match returns how many words of the phrase, all of them, stand from word i
// on, or 0.
func (words *nameWords) match(i int, phrase string) int {
	for n := 1; ; n++ {
		w := words.at(i)
		if !beginsWith(phrase, w) {
			if w = singular(w); !beginsWith(phrase, w) {
				return 0
			}
		}
		if len(phrase) == len(w) {
			return n
		}
		phrase = phrase[len(w)+1:]
		if i++; i == words.n {
			return 0
		}
	}
}

// beginsWith reports whether w is the first word of the phrase.
func beginsWith(phrase string, w []byte) bool {
	return len(phrase) >= len(w) && phrase[:len(w)] == string(w) && (len(phrase) == len(w) || phrase[len(w)] == ' ')
}

// singular takes the plural off a word.
func singular(w []byte) []byte {
	if len(w) > 2 && w[len(w)-1] == 's' && w[len(w)-2] != 's' {
		return w[:len(w)-1]
	}
	return w
}

// nameWords is a name cut into words. It is used again and again.
type nameWords struct {
	lower []byte
	ends  [maxWords][2]int
	n     int
}

func (words *nameWords) at(i int) []byte { return words.lower[words.ends[i][0]:words.ends[i][1]] }

// split finds the words of a name, in lower case: runs of letters, cut where
// camelCase cuts (apiKey, HFToken). It reports whether they fit.
func (words *nameWords) split(name []byte) bool {
	words.lower, words.n = append(words.lower[:0], name...), 0
	for i := 0; i < len(name); {
		if n := markerLen(name[i:]); n > 0 {
			i += n
			continue
		}
		if !isLetter(name[i]) {
			i++
			continue
		}
		start := i
		for i++; i < len(name) && isLetter(name[i]) && !humps(name, i); i++ {
		}
		if words.n == maxWords {
			return false
		}
		words.ends[words.n] = [2]int{start, i}
		words.n++
	}
	for i, c := range words.lower {
		words.lower[i] = fold(c)
	}
	return true
}

// humps reports whether a word of a camelCase name begins at i.
func humps(name []byte, i int) bool {
	switch {
	case !isUpper(name[i]):
		return false
	case !isUpper(name[i-1]):
		return true
	case i+1 == len(name) || !isLower(name[i+1]):
		return false
	}
	// The s of APIKEYs is a plural, not the second letter of a word.
	plural := name[i+1] == 's' && (i+2 == len(name) || !isLower(name[i+2]))
	return !plural
}

func isUpper(c byte) bool  { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool  { return 'a' <= c && c <= 'z' }
func isLetter(c byte) bool { return isUpper(c) || isLower(c) }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isAlnum(c byte) bool  { return isLetter(c) || isDigit(c) }
