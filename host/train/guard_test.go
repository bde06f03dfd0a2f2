package train

import (
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
)

// Tokens are made at run time, so that nobody who looks for tokens in this file
// finds one.
var (
	letters = strings.Repeat("aB3dE5", 6)[:34]
	user    = "hf" + "_" + letters
	org     = "api" + "_org_" + letters
	oauth   = "hf" + "_oauth_" + letters + ".x-y"
)

func quoted(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestGuardFinds hides tokens where a config or a plugin could put them.
func TestGuardFinds(t *testing.T) {
	g := NewGuard([]string{"HF_TOKEN=my own secret, of no shape"})
	own := "my own secret, of no shape"
	base := base64.StdEncoding.EncodeToString
	for what, c := range map[string]struct{ doc, pointer string }{
		"a value":                   {`{"a":{"b":["x",` + quoted(user) + `]}}`, "/a/b/1"},
		"an organisation's":         {`{"a":` + quoted("x "+org+" y") + `}`, "/a"},
		"by OAuth":                  {`{"a":` + quoted(oauth) + `}`, "/a"},
		"behind a letter":           {`{"a":` + quoted("x"+user) + `}`, "/a"},
		"a name":                    {`{"a":{` + quoted("x-"+user) + `:1}}`, "/a"},
		"the outermost name":        {`{` + quoted(user) + `:1}`, ""},
		"escaped":                   {`{"a":"\u0068` + user[1:] + `"}`, "/a"},
		"an own one":                {`{"a":` + quoted("x"+own+"y") + `}`, "/a"},
		"an own one in a name":      {`{"b":[{` + quoted(own) + `:null}]}`, "/b/0"},
		"in the user of a URL":      {`{"a":` + quoted("https://me:"+user+"@huggingface.co/x") + `}`, "/a"},
		"percent-encoded":           {`{"a":` + quoted("https://x/?t="+strings.ReplaceAll(url.QueryEscape(user), "_", "%5F")) + `}`, "/a"},
		"percent-encoded twice":     {`{"a":` + quoted("https://x/?t="+strings.ReplaceAll(user, "_", "%255f")) + `}`, "/a"},
		"all of it percent-encoded": {`{"a":` + quoted("https://x/"+everyByte(user)) + `}`, "/a"},
		"beside bad encoding":       {`{"a":` + quoted("100% https://x/"+everyByte(user)+"%zz") + `}`, "/a"},
		"an own one encoded":        {`{"a":` + quoted(everyByte(own)) + `}`, "/a"},
		"base64":                    {`{"a":` + quoted(base([]byte(user))) + `}`, "/a"},
		"base64 of a pair":          {`{"a":` + quoted("Basic "+base([]byte("me:"+user))) + `}`, "/a"},
		"base64 for URLs":           {`{"a":` + quoted("https://x/"+base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe"+user+"\xff"))) + `}`, "/a"},
		"base64 behind a letter":    {`{"a":` + quoted("x"+base([]byte(user))) + `}`, "/a"},
		"base64, percent-encoded":   {`{"a":` + quoted(url.QueryEscape(base([]byte(user+"==?")))) + `}`, "/a"},
		"base64 twice":              {`{"a":` + quoted(base([]byte(base([]byte(user))))) + `}`, "/a"},
		"an own one in base64":      {`{"a":` + quoted(base([]byte(own))) + `}`, "/a"},
		"JSON in a text":            {`{"a":` + quoted(`{"b":["\u0068`+user[1:]+`"]}`) + `}`, "/a"},
		"a name in JSON in a text":  {`{"a":` + quoted(`{"hf_token":"x"}`) + `}`, "/a"},
		"a member":                  {`{"a":{"hf_token":"x"}}`, "/a/hf_token"},
		"a member without a value":  {`{"hf_token":null}`, "/hf_token"},
		"a variable":                {`{"env":{"HF_TOKEN":"x"}}`, "/env/HF_TOKEN"},
		"another variable":          {`{"env":{"HUGGING_FACE_HUB_TOKEN":"x"}}`, "/env/HUGGING_FACE_HUB_TOKEN"},
		"the hub's":                 {`{"env":{"HUGGINGFACEHUB_API_TOKEN":"x"}}`, "/env/HUGGINGFACEHUB_API_TOKEN"},
		"in capitals":               {`{"HuggingFaceToken":1}`, "/HuggingFaceToken"},
		"with a dash":               {`{"huggingface-token":1}`, "/huggingface-token"},
		"a key":                     {`{"hf_api_key":1}`, "/hf_api_key"},
		"an assignment":             {`{"a":"python x.py hf_token=abc"}`, "/a"},
		"an assignment in YAML":     {`{"a":"x: 1\nHF_TOKEN: abc"}`, "/a"},
		"an assignment in JSON":     {`{"a":"'huggingface_token': 'abc'"}`, "/a"},
		"a name with a slash":       {`{"a/b":{"hf_token":1}}`, "/a~1b/hf_token"},
	} {
		err := g.Check([]byte(c.doc), nil)
		if fault.CodeOf(err) != fault.HFTokenLeak || fault.ExitOf(err) != fault.ExitTrust {
			t.Errorf("%s: %v", what, err)
			continue
		}
		pointer, _ := g.find([]byte(c.doc))
		if pointer != c.pointer {
			t.Errorf("%s: found at %q, want %q", what, pointer, c.pointer)
		}
		for _, secret := range []string{user, org, oauth, own, letters} {
			if strings.Contains(err.Error()+fault.HintOf(err), secret) {
				t.Errorf("%s: the error has it: %v", what, err)
			}
		}
	}
}

// everyByte percent-encodes all of a text.
func everyByte(s string) string {
	const hex = "0123456789aBcDeF"
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + string(hex[s[i]>>4]) + string(hex[s[i]&15]))
	}
	return b.String()
}

// TestGuardLetsPass has what looks like a token to who looks badly.
func TestGuardLetsPass(t *testing.T) {
	g := NewGuard([]string{"HF_TOKEN=" + user, "HUGGING_FACE_HUB_TOKEN=short"})
	for _, doc := range []string{
		`{}`, `[]`, `"x"`, `1`,
		`{"hf_checkpoint":"/root/hf_models/Qwen3-4B","hf_config":"hf_x"}`,
		`{"model":{"hf":"Qwen/Qwen3-4B"},"hf_tokenizer":"x","hf_token_path":"~/x","tokens":1}`,
		`{"a":"hf_` + strings.Repeat("checkpoint_", 9) + `"}`,
		`{"a":"short"}`,
		`{"a":"` + base64.StdEncoding.EncodeToString([]byte("this is only a longer text about hf_checkpoint and nothing else")) + `"}`,
		`{"a":"100% of api_org_chart: hf_model"}`,
		`{"stop":["<|hf|>","token: "],"max_tokens_per_gpu":9216}`,
		`{"a":"` + strings.Repeat("0123456789abcdef", 200) + `"}`,
	} {
		if err := g.Check([]byte(doc), nil); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
	if err := g.CheckTexts("argv", []string{"--hf-checkpoint", "/x", "--max-tokens-per-gpu", "9216", "-", "hf_token", ""}); err != nil {
		t.Error(err)
	}
	if err := g.CheckLines("a: 1\nb: hf_checkpoint\n", "c.yaml"); err != nil {
		t.Error(err)
	}
}

// TestGuardReadsTokens finds the user's token where the libraries do.
func TestGuardReadsTokens(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for what, c := range map[string]struct {
		environ []string
		secret  string
	}{
		"HF_TOKEN":                 {[]string{"HF_TOKEN= secret number one \n"}, "secret number one"},
		"HUGGING_FACE_HUB_TOKEN":   {[]string{"HUGGING_FACE_HUB_TOKEN=secret number two"}, "secret number two"},
		"HUGGINGFACEHUB_API_TOKEN": {[]string{"HUGGINGFACEHUB_API_TOKEN=secret number three"}, "secret number three"},
		"HF_TOKEN_PATH":            {[]string{"HF_TOKEN_PATH=" + write("path/token", "secret number four\n")}, "secret number four"},
		"HF_HOME":                  {[]string{"HF_HOME=" + filepath.Dir(write("hf/token", "secret number five"))}, "secret number five"},
		"XDG_CACHE_HOME":           {[]string{"XDG_CACHE_HOME=" + filepath.Dir(filepath.Dir(write("xdg/huggingface/token", "secret number six\r\n")))}, "secret number six"},
		"the default":              {[]string{"HOME=" + filepath.Join(dir, "me")}, "secret number seven"},
		"with an equals sign":      {[]string{"HF_TOKEN_PATH=" + write("equals/token", "c2VjcmV0bnVtYmVy=\n")}, "c2VjcmV0bnVtYmVy="},
		"in brackets":              {[]string{"HF_TOKEN_PATH=" + write("brackets/token", "[secret number ten]\n")}, "[secret number ten]"},
		"beside HF_TOKEN_PATH":     {[]string{"HF_TOKEN_PATH=" + filepath.Join(filepath.Dir(write("beside/stored_tokens", "hf_token = secret number eleven\n")), "none")}, "secret number eleven"},
		"a home of one's own":      {[]string{"HOME=" + filepath.Dir(filepath.Dir(write("own/dir/token", "secret number twelve"))), "HF_TOKEN_PATH=~/dir/token"}, "secret number twelve"},
		"a variable in a path":     {[]string{"D=" + filepath.Dir(write("variable/token", "secret number thirteen")), "HF_HOME=$D"}, "secret number thirteen"},
		"stored tokens":            {[]string{"HF_HOME=" + filepath.Dir(write("stored/stored_tokens", "[one]\nhf_token = secret number eight\n\n[two]\nhf_token=secret number nine\n"))}, "secret number nine"},
	} {
		write("me/.cache/huggingface/token", "secret number seven")
		err := NewGuard(c.environ).Check([]byte(`{"a":"x `+c.secret+`"}`), nil)
		if fault.CodeOf(err) != fault.HFTokenLeak {
			t.Errorf("%s: %v", what, err)
		}
		if err := NewGuard(nil).Check([]byte(`{"a":"x `+c.secret+`"}`), nil); err != nil {
			t.Errorf("%s: without it: %v", what, err)
		}
	}
	// Of two places both count, and of homes the one that is named.
	named := filepath.Dir(write("named/token", "secret number fourteen"))
	g := NewGuard([]string{"HF_HOME=" + named, "XDG_CACHE_HOME=" + filepath.Join(dir, "xdg"), "HOME=" + filepath.Join(dir, "me")})
	for secret, found := range map[string]bool{"secret number fourteen": true, "secret number six": false, "secret number seven": false} {
		if err := g.Check([]byte(`{"a":"`+secret+`"}`), nil); (err != nil) != found {
			t.Errorf("%s: %v", secret, err)
		}
	}
	two := NewGuard([]string{"HF_TOKEN_PATH=" + write("two/token", "first secret line\nsecond secret line\n")})
	for _, secret := range []string{"first secret line", "second secret line"} {
		if err := two.Check([]byte(`{"a":"`+secret+`"}`), nil); err == nil {
			t.Errorf("%s was not seen", secret)
		}
	}
	// ~ is this user's alone, and a path of nothing names nothing.
	if g := NewGuard([]string{"HOME=" + dir, "HF_TOKEN_PATH=~me/.cache/huggingface/token", "HF_HOME="}); g.holds("secret number seven") {
		t.Error("another user's home was read")
	}
	if g := NewGuard([]string{"HOME=" + filepath.Join(dir, "two", "token"), "HF_TOKEN_PATH=~"}); !g.holds("first secret line") {
		t.Error("~ alone was not read")
	}
	// A token has eight characters at least, and its file 64 KiB at most.
	for secret, found := range map[string]bool{"8chars!!": true, "7chars!": false} {
		if NewGuard([]string{"HF_TOKEN=" + secret}).holds("x"+secret+"x") != found {
			t.Errorf("%q: want %v", secret, found)
		}
	}
	for size, found := range map[int]bool{maxTokenFile: true, maxTokenFile + 1: false} {
		g := NewGuard([]string{"HF_TOKEN_PATH=" + write("large/token", "large secret\n"+strings.Repeat("\n", size-13))})
		if g.holds("large secret") != found {
			t.Errorf("a file of %d bytes: want %v", size, found)
		}
	}
	// What cannot be read is passed over: a folder, a pipe, a huge file.
	NewGuard([]string{"HF_TOKEN_PATH=" + dir, "HF_HOME=/dev/zero"})
	NewGuard([]string{"HF_TOKEN_PATH=/dev/zero"})
}

// TestGuardTexts looks at command lines.
func TestGuardTexts(t *testing.T) {
	g := NewGuard(nil)
	for _, argv := range [][]string{
		{"--x", user}, {"--hf-token", "x"}, {"--hf_token=x"}, {"--hf-token"}, {"+trainer.hf_token=x"}, {"a", "b", "x" + user},
	} {
		err := g.CheckTexts("an argument", argv)
		if fault.CodeOf(err) != fault.HFTokenLeak || strings.Contains(err.Error(), letters) {
			t.Errorf("%q: %v", argv, err)
		}
	}
}

// TestGuardSaysWhere names the place, and never the token.
func TestGuardSaysWhere(t *testing.T) {
	g := NewGuard(nil)
	doc := []byte(`{"a":["x",` + quoted(user) + `]}`)
	for want, err := range map[string]error{
		`c.yaml:3:4: "/a/1" holds`:                          g.Check(doc, func(pointer string) string { return "c.yaml:3:4" }),
		`of what the translator made of it, "/a/1" holds`:   g.Check(doc, nil),
		`the backend holds`:                                 g.CheckTexts("the backend", []string{user}),
		`argument 2 holds`:                                  g.CheckTexts("argument", []string{"x", user}),
		`c.yaml:2: this line holds`:                         g.CheckLines("a: 1\nb: "+user+"\n", "c.yaml"),
		`of what the translator made of it, "" holds`:       g.Check([]byte(`{"a":}`+user), nil),
		`of what the translator made of it, "/b" holds`:     g.Check([]byte(`{"a":{"a":[1,{}]},"b":`+quoted(user)+`}`), nil),
		`of what the translator made of it, "/a/0/b" holds`: g.Check([]byte(`{"a":[{"b":`+quoted(user)+`}]}`), nil),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), letters) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// FuzzGuard hides a token in any text, and wants it found as long as it stands there
// as it is; and never wants a panic, or a secret in an error.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"", "x", `{"a":1}`, "%", "%41", "====", "[", `{"hf_token":1}`, "aGVsbG8", strings.Repeat("A", 300), "\x00\ufffd"} {
		f.Add(s, s)
	}
	g := NewGuard([]string{"HF_TOKEN=" + user})
	f.Fuzz(func(t *testing.T, before, after string) {
		text := strings.ToValidUTF8(before, "") + user + strings.ToValidUTF8(after, "")
		doc := `{"a":[` + quoted(text) + `]}`
		if err := g.Check([]byte(doc), nil); fault.CodeOf(err) != fault.HFTokenLeak || strings.Contains(err.Error(), letters) {
			t.Fatalf("%q: %v", text, err)
		}
		g.Check([]byte(before), nil)
		if err := g.CheckTexts("x", []string{before, after}); err != nil && fault.CodeOf(err) != fault.HFTokenLeak {
			t.Fatal(err)
		}
	})
}
