package redact

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/step"
)

// alphabet is walked by a fixed stride, so that fakes are mixed, long and the
// same every time. Secrets are put together here and never stand in source.
const alphabet = "a7Bq2ZkX9mWd4RtY1nPc6LsV0hGf3JxE8uQb5Ni"

// fake makes a token of a head and n letters and digits.
func fake(head string, n int) string {
	var b strings.Builder
	b.WriteString(head)
	for i := range n {
		b.WriteByte(alphabet[(i*7+len(head))%len(alphabet)])
	}
	return b.String()
}

func fakeOf(head, letters string, n int) string {
	var b strings.Builder
	b.WriteString(head)
	for i := range n {
		b.WriteByte(letters[(i*5+3)%len(letters)])
	}
	return b.String()
}

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func pem(label string) string {
	return "-----BEGIN " + label + "-----\n" + fake("", 64) + "\n" + fake("x", 63) + "+/==\n-----END " + label + "-----"
}

// literals are what testRedactor knows.
var literals = []string{"correct-horse-battery", `quo"te\back` + "\nline", "percent & slash/é", "20457813", "hunter2hunter2"}

func testRedactor() *Redactor { return New(Options{Literals: literals}) }

const (
	hexDigits = "0123456789abcdef"
	upperOnly = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"
)

// tokens is one secret for each shape, under the name of the rule that is to find it.
func tokens() []struct{ rule, secret string } {
	jwt := encoded(`{"alg":"EdDSA","kid":"1"}`) + "." + encoded(`{"sub":"x","exp":1}`) + "." + fake("", 86)
	list := []struct{ rule, secret string }{
		{"hf-token", fake("hf"+"_", 34)}, {"hf-token", fakeOf("hf"+"_", "abcdefXYZ", 34)},
		{"hf-token", fake("hf"+"_", 18)},
		{"hf-token", fake("api"+"_org_", 34)}, {"hf-token", fake("hf"+"_oauth_", 30) + ".x-" + fake("", 5)},
		{"anthropic-key", fake("sk"+"-ant-api03-", 40) + "-_" + fake("", 30) + "AA"},
		{"sk-key", fake("sk"+"-", 48)}, {"sk-key", fake("sk"+"-proj-", 40) + "_" + fake("", 20)}, {"sk-key", fakeOf("sk"+"-or-v1-", hexDigits, 64)},
		{"sk-key", fake("sk"+"-svcacct-", 60)}, {"sk-key", "sk" + "-1234567890abcdef"},
		{"github-token", fake("ghp"+"_", 36)}, {"github-token", fake("gho"+"_", 36)}, {"github-token", fake("ghu"+"_", 36)},
		{"github-token", fake("ghs"+"_", 36)}, {"github-token", fake("ghr"+"_", 36)},
		{"github-token", fake("github"+"_pat_", 22) + "_" + fake("", 59)},
		{"gitlab-token", fake("glpat"+"-", 20)}, {"gitlab-token", fake("glrt"+"-", 20)},
		{"aws-key-id", fakeOf("AKI"+"A", upperOnly, 16)}, {"aws-key-id", fakeOf("ASI"+"A", upperOnly, 16)},
		{"slack-token", fakeOf("xox"+"b-", "0123456789", 11) + "-" + fake("", 24)}, {"slack-token", fakeOf("xox"+"p-", "0123456789", 11) + "-" + fake("", 24)},
		{"slack-token", fake("xapp"+"-1-", 40)},
		{"slack-webhook", "hooks.slack" + ".com/services/T" + fake("", 8) + "/B" + fake("", 8) + "/" + fake("", 24)},
		{"discord-webhook", "discord.com" + "/api/webhooks/1234567890/" + fake("", 60)},
		{"google-key", fake("AIz"+"a", 35)}, {"google-key", fake("GOCSPX"+"-", 28)}, {"google-key", fake("ya29"+".", 40)},
		{"npm-token", fake("npm"+"_", 36)},
		{"pypi-token", fake("pypi"+"-AgEIcHlwaS5vcmc", 50)},
		{"stripe-key", fake("sk"+"_live_", 24)}, {"stripe-key", fake("rk"+"_live_", 24)}, {"stripe-key", fake("sk"+"_test_", 24)}, {"stripe-key", fake("whsec"+"_", 32)},
		{"sendgrid-key", fake("SG"+".", 22) + "." + fake("", 43)},
		{"twilio-key", fakeOf("S"+"K", hexDigits, 32)},
		{"telegram-token", "123456789:" + "AA" + fake("", 33)},
		{"jwt", jwt}, {"jwt", encoded(`{"alg":"dir","enc":"A256GCM"}`) + ".." + fake("", 16)},
		{"private-key", pem("PRIVATE " + "KEY")}, {"private-key", pem("RSA PRIVATE " + "KEY")}, {"private-key", pem("OPENSSH PRIVATE " + "KEY")},
		{"private-key", pem("PGP PRIVATE " + "KEY BLOCK")}, {"private-key", strings.ReplaceAll(pem("EC PRIVATE "+"KEY"), "\n", `\n`)},
		{"private-key", "-----BEGIN PRIVATE " + "KEY-----\n" + fake("", 64)},
		{"private-key", base64.StdEncoding.EncodeToString([]byte(pem("RSA PRIVATE " + "KEY")))},
		{"age-key", fakeOf("AGE-SECRET"+"-KEY-1", upperOnly, 58)},
		{"ledger-key", "PRIVATE" + "+KEY+carl.camp+1a2b3c4d+" + fake("", 44)},
		{"digitalocean-token", fakeOf("dop"+"_v1_", hexDigits, 64)}, {"shopify-token", fakeOf("shpat"+"_", hexDigits, 32)},
		{"vault-token", fake("hvs"+".", 90)}, {"groq-key", fake("gsk"+"_", 52)}, {"replicate-token", fake("r8"+"_", 37)},
		{"nvidia-key", fake("nvapi"+"-", 64)}, {"perplexity-key", fake("pplx"+"-", 48)}, {"xai-key", fake("xai"+"-", 80)},
		{"tailscale-key", fake("tskey"+"-auth-", 30)}, {"docker-token", fake("dckr"+"_pat_", 27)}, {"linear-key", fake("lin"+"_api_", 40)},
		{"figma-token", fake("figd"+"_", 40)}, {"notion-token", fake("ntn"+"_", 46)}, {"square-token", fake("sq0atp"+"-", 22)},
		{"atlassian-token", fake("ATATT3"+"xFf", 180) + "=1A2B3C4D"}, {"grafana-token", fake("glsa"+"_", 32) + "_1a2b3c4d"},
		{"newrelic-key", fakeOf("NRAK"+"-", upperOnly, 27)}, {"postman-key", fakeOf("PMAK"+"-", hexDigits, 24) + "-" + fakeOf("", hexDigits, 34)},
		{"rubygems-key", fakeOf("rubygems"+"_", hexDigits, 48)}, {"sentry-token", fake("sntrys"+"_", 60)}, {"supabase-key", fakeOf("sbp"+"_", hexDigits, 40)},
		{"planetscale-token", fake("pscale"+"_tkn_", 43)}, {"doppler-token", fake("dp"+".pt.", 43)}, {"wandb-key", fake("wandb"+"_v1_", 40)},
		{"1password-token", fake("ops"+"_eyJ", 200)}, {"adobe-secret", fakeOf("p8e"+"-", hexDigits, 32)}, {"alibaba-key-id", fake("LTA"+"I", 20)},
		{"artifactory-key", fake("AKC"+"p", 69)}, {"artifactory-key", fake("cmVmd"+"Gtu", 56)}, {"azure-secret", "x.X" + "9Q~" + fake("", 34)},
		{"bedrock-key", fake("ABS"+"K", 120) + "="}, {"bedrock-key", fake("bedrock"+"-api-key-", 60)},
		{"brevo-key", fakeOf("xkeysib"+"-", hexDigits, 64) + "-" + fake("", 16)}, {"clojars-token", fakeOf("CLOJARS"+"_", hexDigits, 60)},
		{"cloudflare-key", fakeOf("v1"+".0-", hexDigits, 24) + "-" + fakeOf("", hexDigits, 146)}, {"dropbox-token", fake("sl"+".", 140)},
		{"duffel-token", fake("duffel"+"_test_", 43)}, {"dynatrace-token", fakeOf("dt0"+"c01.", upperOnly, 24) + "." + fakeOf("", upperOnly, 64)},
		{"easypost-key", fake("EZA"+"K", 54)}, {"facebook-token", fake("EAA"+"M", 120)}, {"flutterwave-key", fakeOf("FLWSECK"+"_TEST-", hexDigits, 32) + "-X"},
		{"fly-token", fake("fo1"+"_", 43)}, {"frameio-token", fake("fio"+"-u-", 64)}, {"gitlab-token", fake("GR1348"+"941", 20)},
		{"gitlab-token", fakeOf("_gitlab"+"_session=", hexDigits, 32)}, {"grafana-token", fake("eyJr"+"Ijoi", 80)}, {"heroku-key", fake("HRKU"+"-AA", 58)},
		{"infracost-key", fake("ico"+"-", 32)}, {"intra42-secret", fakeOf("s-s4"+"t2ud-", hexDigits, 64)}, {"jwt", base64.StdEncoding.EncodeToString([]byte(jwt))},
		{"jwt", encoded("{\n  \"alg\": \"none\"\n}") + "." + encoded(`{"sub":"someone"}`) + "."}, {"mailgun-key", fakeOf("key"+"-", hexDigits, 32)},
		{"newrelic-key", fake("NRII"+"-", 32)}, {"octopus-key", fakeOf("API"+"-", upperOnly, 26)}, {"openshift-token", fake("sha256"+"~", 43)},
		{"planetscale-token", fake("pscale"+"_oauth_", 40)}, {"prefect-key", fake("pnu"+"_", 36)}, {"readme-key", fake("rdme"+"_", 70)},
		{"scalingo-token", fake("tk"+"-us-", 48)}, {"settlemint-token", fake("sm"+"_pat_", 16)}, {"shippo-token", fakeOf("shippo"+"_live_", hexDigits, 40)},
		{"sourcegraph-token", fakeOf("sgp"+"_", hexDigits, 40)}, {"square-token", fake("EAA"+"A", 60)}, {"stripe-key", fake("sk"+"_prod_", 24)},
		{"teams-webhook", "webhook.office" + ".com/webhookb2/" + fake("", 80)}, {"terraform-token", ".atlas" + "v1." + fake("", 67)},
		{"airtable-token", fake("pa"+"t", 14) + "." + fakeOf("", hexDigits, 64)}, {"twilio-key", fakeOf("S"+"K", "0123456789abcdefABCDEF", 32)},
		{"databricks-token", fakeOf("dap"+"i", hexDigits, 32)}, {"pulumi-token", fakeOf("pul"+"-", hexDigits, 40)},
	}
	return list
}

// places are texts that a secret may stand in; %s is where.
var places = []string{
	"%s", " %s ", "say %s, he said", "(%s)", "x=%s;", "<%s>", "'%s'", "line\n%s\nline", "\t%s", "語%s語", "`%s`", "a %s b", "=%s", "/%s/", "{%s}",
	"--flag %s", "[%s]",
}

// gone fails when any of the secret is left: the secret itself, or its second half.
func gone(t *testing.T, what, got, secret string) {
	t.Helper()
	half := secret[len(secret)/2:]
	if strings.Contains(got, secret) || len(half) >= 8 && strings.Contains(got, half) {
		t.Errorf("%s: the secret %q is left in %q", what, secret, got)
	}
}

func TestShapes(t *testing.T) {
	r := testRedactor()
	tried := map[string]bool{}
	for _, c := range tokens() {
		tried[c.rule] = true
		for _, p := range places {
			text := fmt.Sprintf(p, c.secret)
			got := r.String(text)
			gone(t, c.rule, got, c.secret)
			if want := fmt.Sprintf(p, "[redacted:"+c.rule+"]"); got != want && p != "x=%s;" && p != "/%s/" && !strings.HasPrefix(c.secret, cutKey) {
				t.Errorf("%s: %q became %q, want %q", c.rule, text, got, want)
			}
			for _, j := range []string{
				`{"a":` + quote(text) + `}`, `[[` + everyEscaped(text) + `]]`, `{` + quote(text) + `:1}`,
				`{"s":` + quote(`{"deep":[`+quote(text)+`]}`) + `}`, quote(quote(quote(text))),
			} {
				out := string(r.JSON([]byte(j)))
				gone(t, c.rule+" in JSON", out, c.secret)
				gone(t, c.rule+" in JSON", unquoted(out), c.secret)
				if !jsontext.Value(out).IsValid() {
					t.Errorf("%s: not valid JSON: %s", c.rule, out)
				}
			}
		}
	}
	// The rules whose secrets have a test of their own.
	for _, name := range []string{"bearer", "basic", "url-password", "query", "assignment", "curl-user"} {
		tried[name] = true
	}
	for _, rule := range rules {
		if n := markerLen(markerOpen + rule.name + "]"); len(rule.name) > longestName || n != len(markerOpen)+len(rule.name)+1 {
			t.Errorf("the marker of %s is not known again", rule.name)
		}
		if !tried[rule.name] {
			t.Errorf("no secret tries the rule %s", rule.name)
		}
	}
}

// cutKey begins a private key whose end is missing: it takes what follows along.
const cutKey = "-----BEGIN PRIVATE " + "KEY-----\na"

// quote writes a JSON string; everyEscaped writes one with every ASCII letter as \u.
func quote(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func everyEscaped(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r < 0x80 {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// unquoted undoes the escapes of all strings in a JSON text, level by level,
// as someone does who looks for a secret.
func unquoted(s string) string {
	for range 4 {
		s = string(unescape(nil, []byte(s)))
	}
	return s
}

func TestCleanTextsStay(t *testing.T) {
	r := testRedactor()
	for _, text := range []string{
		"", "hello", "hf_checkpoint", "hf_checkpoint_path", "hf_model_and_tokenizer_loader_for_training", "api_org_name",
		"sk-learn", "scikit-learn", "sk-learn-pipeline-with-many-words-in-a-row", "task-1234567890abcdef0", "risk-assessment-2024-01-02-report",
		"the tokenizer has max_tokens=4096 and a keyboard for the monkey", "tokenizer = AutoTokenizer.from_pretrained(name)",
		"key: value", "the key: it depends", "primary_key=True", "foreign_key = ForeignKey('a.b')", "for key, value in items:", `d["key"] = 1`, "key=lambda x: x[0]",
		"token = next(stream)", "next token: the", "if token == 'x1':", "token_ids = [1, 2, 3]", "tokens: 123456", "total_tokens=123456789012345",
		"password: str", "password=None", "password = getpass.getpass()", `password = os.environ["PW"]`, "the password is wrong", "def login(user, password):",
		"private: true", "a private method: see below", "cookie: yes", "the authorization: who may do what", "secret: none", "secretary: Anna1234567",
		"bearer of bad news", "Bearer authentication", "basic authentication", "Basic auth", "Basic training2024",
		"https://example.org/a?page=2&lang=en#top", "ssh://git@github.com/x.git", "git@github.com:x/y.git", "http://localhost:8080/@scope/pkg",
		"https://example.org/?max_tokens=512", "see http://[::1]:80/", "postgres://localhost/db", "a?b=c", "x ? key : y", "SELECT a FROM b WHERE c=?",
		"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
		"AKIA", "AKIAstudio", "eyJ", "eyJhbGciOi", "xoxo", "xoxo-love", "npm_config_registry", "npm_package_dependencies_version", "AIzawa", "SG.1", "SKU12345",
		"ghp_example", "glpat-xyz", "age-secret", "[redacted:hf-token]", "[redacted:key] and [redacted:literal]", "&nbsp;&amp;", "dapifoo", "pul-ley",
		"curl -u me https://x.org", "export API_KEY=$OTHER_VARIABLE", "API_KEY=<your-key>", "TOKEN=${TOKEN}", "API_KEY = lettersonly", "MAX_TOKENS=123456", "token=a&mask", "curl is not -under: it", "pattern.match", "path.to.pattern", "sl.run()", "slope", "EAAAA", "v1.0-rc1", "keyed-in", "key-value store", "API-first", "API-Gateway", "sha256~", "icon-set", "ewok",
		"3f2a9c1b7d8e4f60a1b2c3d4e5f60718", "550e8400-e29b-41d4-a716-446655440000", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"cache_key: 9f86d081884c7d659a2feaa0c55ad015", "--input-key messages --label-key label1234567890123", "KeyError: 'abc'", "keys=['a','b']",
		`logger.info("token count: %d", n)`, "kwargs['key'] = value", "event.key === 'Enter'",
	} {
		if got := r.String(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
		j := []byte(`{"text":` + quote(text) + `,"list":[` + quote(text) + `]}`)
		if got := r.JSON(j); &got[0] != &j[0] {
			t.Errorf("%s became %s", j, got)
		}
	}
}

// The recordings of real agents and the sample hold no secrets, and not one
// byte of them may go.
func TestCleanStepsStay(t *testing.T) {
	r := testRedactor()
	lines := 0
	for set, all := range lineSets(t) {
		for i, l := range all {
			if got := r.JSON(l); &got[0] != &l[0] {
				t.Errorf("%s line %d changed:\n%s\n%s", set, i+1, l, got)
			}
			s, err := step.Decode(l)
			if err != nil {
				t.Fatal(err)
			}
			before := s.AppendJSON(nil)
			if r.Step(&s); !bytes.Equal(before, s.AppendJSON(nil)) {
				t.Errorf("%s line %d: the step changed", set, i+1)
			}
			lines++
		}
	}
	if lines < 500 {
		t.Errorf("only %d lines were seen", lines)
	}
}

func TestBearerBasicAndHeaders(t *testing.T) {
	r := testRedactor()
	secret := fake("", 24)
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + "pass-word"))
	for _, c := range []struct{ text, want string }{
		{"Bearer " + secret, "Bearer [redacted:bearer]"},
		{"bearer  " + secret + ".", "bearer  [redacted:bearer]"},
		{"BEARER " + fake("", 8) + ", then", "BEARER [redacted:bearer], then"},
		{"Basic " + basic, "Basic [redacted:basic]"},
		{"Authorization: Bearer " + secret, "Authorization: [redacted:assignment]"},
		{`curl -H "Authorization: token ` + secret + `" https://x.org`, `curl -H "Authorization: [redacted:assignment]" https://x.org`},
		{"authorization: " + secret + "\nAccept: */*", "authorization: [redacted:assignment]\nAccept: */*"},
		{"Authorization: Digest username=\"a\", response=\"" + secret + `"`, ""},
		{"Authorization: AWS4-HMAC-SHA256 Credential=a/b, Signature=" + secret, "Authorization: [redacted:assignment]"},
		{"Cookie: a=1; sid=" + secret + "\r\nHost: x", "Cookie: [redacted:assignment]\r\nHost: x"},
		{"Set-Cookie: sid=" + secret + "; Path=/", "Set-Cookie: [redacted:assignment]"},
		{"X-Api-Key: " + secret, "X-Api-Key: [redacted:assignment]"},
		{"export OPENAI_API_KEY=" + secret, "export OPENAI_API_KEY=[redacted:assignment]"},
		{`WANDB_API_KEY="` + secret + `"`, `WANDB_API_KEY="[redacted:assignment]"`},
		{"aws_secret_access_key = " + fake("", 20) + "/" + fake("", 19), "aws_secret_access_key = [redacted:assignment]"},
		{`{"db_password": "` + secret + `", not json`, `{"db_password": "[redacted:assignment]", not json`},
		{`log: {\"api_key\": \"` + secret + `\"} end`, `log: {\"api_key\": \"[redacted:assignment]\"} end`},
		{"DB_PASSWORD=s3cr3tpw", "DB_PASSWORD=[redacted:assignment]"},
		{"password: 's3cr3tpw'", "password: '[redacted:assignment]'"},
		{"mysql --password=s3cr3tpw -u x", "mysql --password=[redacted:assignment] -u x"},
		{"tool --api-token " + secret + " -v", "tool --api-token [redacted:assignment] -v"},
		{"client_secret=abc&grant_type=x", "client_secret=[redacted:assignment]&grant_type=x"},
		{"password=[redacted:assignment]&user=x", "password=[redacted:assignment]&user=x"},
		{"export DB_PASSWORD=correcthorse; run", "export DB_PASSWORD=[redacted:assignment]; run"},
		{"API_TOKEN='lettersonly' x", "API_TOKEN='[redacted:assignment]' x"},
		{"curl -s -u me:s3cret https://x.org", "curl -s -u me:[redacted:curl-user] https://x.org"},
		{"curl --user 'me:pass-word' https://x.org", "curl --user 'me:[redacted:curl-user]' https://x.org"},
		{"AccountKey=" + fake("", 86) + "==;EndpointSuffix=core", "AccountKey=[redacted:assignment];EndpointSuffix=core"},
	} {
		got := r.String(c.text)
		if c.want != "" && got != c.want {
			t.Errorf("%q became\n%q, want\n%q", c.text, got, c.want)
		}
		if again := r.String(got); again != got {
			t.Errorf("%q became %q the second time", got, again)
		}
	}
}

func TestURLs(t *testing.T) {
	r := testRedactor()
	token := fake("hf"+"_", 34)
	for _, c := range []struct{ text, want string }{
		{"https://user:pw@host/x", "https://user:[redacted:url-password]@host/x"},
		{"postgres://u:p%40ss@db:5432/x?sslmode=off", "postgres://u:[redacted:url-password]@db:5432/x?sslmode=off"},
		{"redis://:pw@host", "redis://:[redacted:url-password]@host"},
		{"https://" + fake("", 20) + "@host/x", "https://[redacted:url-password]@host/x"},
		{"HTTPS://tok@host", "HTTPS://[redacted:url-password]@host"},
		{"https://a:b@c@host/", "https://a:[redacted:url-password]@host/"},
		{"https://user:" + token + "@huggingface.co/m", "https://user:[redacted:url-password]@huggingface.co/m"},
		{"https://h/?api_key=1&page=2", "https://h/?api_key=[redacted:query]&page=2"},
		{"https://h/?page=2&access_token=abc#x", "https://h/?page=2&access_token=[redacted:query]#x"},
		{"GET /cb?api%5Fkey=abc HTTP/1.1", "GET /cb?api%5Fkey=[redacted:query] HTTP/1.1"},
		{"/cb#id_token=abc&x=1", "/cb#id_token=[redacted:query]&x=1"},
		{"https://h/?sig=abc%2F&se=1", "https://h/?sig=[redacted:query]&se=1"},
		{"https://h/?X-Amz-Signature=abc&X-Amz-Credential=def", "https://h/?X-Amz-Signature=[redacted:query]&X-Amz-Credential=[redacted:query]"},
		{"https://h/?q=" + strings.Replace(token, "_", "%5F", 1), "https://h/?q=[redacted:query]"},
		{"https://h/?q=" + token + "&r=1", "https://h/?q=[redacted:hf-token]&r=1"},
		{"https://h/?max_tokens=12&sort_key=a&key_id=b", "https://h/?max_tokens=12&sort_key=a&key_id=b"},
	} {
		got := r.String(c.text)
		if got != c.want {
			t.Errorf("%q became\n%q, want\n%q", c.text, got, c.want)
		}
		if again := r.String(got); again != got {
			t.Errorf("%q became %q the second time", got, again)
		}
	}
}

func TestMembers(t *testing.T) {
	r := testRedactor()
	for _, c := range []struct{ text, want string }{
		{`{"api_key":"x"}`, `{"api_key":"[redacted:key]"}`},
		{`{"password":{"a":[1,2]},"b":1}`, `{"password":"[redacted:key]","b":1}`},
		{`{"tokens":["a","b"],"secret":12}`, `{"tokens":"[redacted:key]","secret":"[redacted:key]"}`},
		{`{"a\u0070i_\u006bey":"x"}`, `{"a\u0070i_\u006bey":"[redacted:key]"}`},
		{`{"headers":{"Authorization":"x","Accept":"y"}}`, `{"headers":{"Authorization":"[redacted:key]","Accept":"y"}}`},
		{`{"total_tokens":12,"prompt_tokens":3.5,"max_token":1,"token":7}`, `{"total_tokens":12,"prompt_tokens":3.5,"max_token":1,"token":"[redacted:key]"}`},
		{`{"max_tokens":"twelve"}`, `{"max_tokens":"[redacted:key]"}`},
		{`{"private":true,"token":null,"key":"","keys":[ ],"secrets":{ }}`, `{"private":true,"token":null,"key":"","keys":[ ],"secrets":{ }}`},
		{`{"arguments":"{\"api_key\": \"x\", \"n\": 1}"}`, `{"arguments":"{\"api_key\":\"[redacted:key]\",\"n\":1}"}`},
		{`{"a":"[\"{\\\"password\\\":\\\"x\\\"}\"]"}`, `{"a":"[\"{\\\"password\\\":\\\"[redacted:key]\\\"}\"]"}`},
		{`{"` + fake("ghp"+"_", 36) + `":1}`, `{"[redacted:github-token]":1}`},
		{`{"` + fake("ghp"+"_", 36) + `":1,"` + fake("gho"+"_", 36) + `":2,"[redacted:github-token]":3}`,
			`{"[redacted:github-token]":1,"[redacted:github-token]#2":2,"[redacted:github-token]#3":3}`},
		{`{"[redacted:private-key]":"stays"}`, `{"[redacted:private-key]":"stays"}`},
		{`{"password":"[redacted:key]"}`, `{"password":"[redacted:key]"}`},
		{`{"password":"[redacted:hunter2]"}`, `{"password":"[redacted:key]"}`},
		{`{"pin":20457813,"pi":3.14}`, `{"pin":"[redacted:literal]","pi":3.14}`},
		{`{"max_tokens":20457813}`, `{"max_tokens":"[redacted:literal]"}`},
	} {
		got := string(r.JSON([]byte(c.text)))
		if got != c.want {
			t.Errorf("%s became\n%s, want\n%s", c.text, got, c.want)
		}
		if again := string(r.JSON([]byte(got))); again != got {
			t.Errorf("%s became %s the second time", got, again)
		}
	}
}

func TestNotJSONIsSearchedAsText(t *testing.T) {
	r := testRedactor()
	token := fake("ghp"+"_", 36)
	for _, text := range []string{token, `{"a":` + token, `"` + token, `{"a":"b" "` + token + `"}`, "\"\n" + token + `" "x`} {
		gone(t, "broken JSON", string(r.JSON([]byte(text))), token)
	}
}

func TestEnvironment(t *testing.T) {
	values := map[string]string{
		"HF_TOKEN": "value-of-hf", "OPENAI_API_KEY": "value-of-openai", "DB_PASSWORD": "value-of-db", "SMTP_PASS": "value-of-smtp",
		"my_secret": "value-of-mine", "AWS_SECRET_ACCESS_KEY": "value-of-aws", "DATABASE_URL": "postgres://u:value-of-url@h/db",
		"CARL_SECRET_LAKE": "value-of-lake",
	}
	var environ, secrets []string
	for name, value := range values {
		environ = append(environ, name+"="+value)
	}
	environ = append(environ, "HOME=/home/someone", "PWD=/srv/here", "OLDPWD=/srv/there", "PUBLIC_KEY=public-value",
		"TOKENIZERS_PARALLELISM=harmless", "AWS_ACCESS_KEY_ID=some-key-id", "SHORT_TOKEN=abc", "LOGIN_PASSWORD=disabled", "broken", "=x")
	secrets = append(secrets, "value-of-hf", "value-of-openai", "value-of-db", "value-of-smtp", "value-of-mine", "value-of-aws", "value-of-url", "value-of-lake", "value-of-carl")
	r := FromEnviron(environ, "value-of-carl")
	for _, s := range secrets {
		if got := r.String("a" + s + "b"); got != "a[redacted:literal]b" {
			t.Errorf("%q became %q", s, got)
		}
	}
	for _, s := range []string{"/home/someone", "/srv/here", "/srv/there", "public-value", "harmless", "some-key-id", "abc", "disabled", "postgres"} {
		if got := r.String(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestLiteralsInOtherSpellings(t *testing.T) {
	r := testRedactor()
	for _, text := range []string{
		literals[1], quote(literals[1]), "pre" + quote(quote(literals[1])) + "post", "percent+%26+slash%2F%C3%A9", "percent%20&%20slash%2F%C3%A9",
		"xhunter2hunter2x", "hunter2hunter2hunter2hunter2",
	} {
		got := r.String(text)
		for _, part := range []string{"quo", "back", "percent", "slash", "hunter"} {
			if strings.Contains(got, part) {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

func TestStepKeepsItsRules(t *testing.T) {
	r := New(Options{Literals: []string{"abcdef012345", "204.5781", "0.123456", "channel-secret"}})
	f := func(v float64) *float64 { return &v }
	yes := true
	s := step.Step{
		ID: "abcdef012345", Parent: "abcdef012345", Action: fakeOf("AKI"+"A", upperOnly, 16), Name: strings.Repeat(fake("ghp"+"_", 36)+" ", 6),
		Time: time.Unix(1, 0).UTC(), Session: fake("hf"+"_", 34), Trace: "t", Success: &yes, DurationMS: f(204.5781), Phi: f(0.123456), KuramotoR: f(0.5),
		ChannelCoherence: []byte(`{"channel-secret":1,"key":0.25,"x":0.123456}`), Input: []byte(`"` + fake("npm"+"_", 36) + `"`),
		Output: []byte(`{"token":"x"}`), Metadata: []byte(`[]`),
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	input := bytes.Clone(s.Input)
	alias := s.Input
	r.Step(&s)
	if err := s.Validate(); err != nil {
		t.Errorf("the redacted step is not legal: %v", err)
	}
	if !bytes.Equal(alias, input) {
		t.Error("what the step aliased was written to")
	}
	if s.ID == "abcdef012345" || s.ID != s.Parent || s.Action != "REDACTED" || s.DurationMS != nil || s.Phi != nil || *s.KuramotoR != 0.5 {
		t.Errorf("fields: %+v", s)
	}
	if got, want := string(s.ChannelCoherence), `{"[redacted:literal]":1,"key":0.25,"x":0}`; got != want {
		t.Errorf("channel_coherence is %s, want %s", got, want)
	}
	if string(s.Input) != `"[redacted:npm-token]"` || string(s.Output) != `{"token":"[redacted:key]"}` || string(s.Metadata) != `[]` || s.Session != "[redacted:hf-token]" {
		t.Errorf("members: %s %s %s %s", s.Input, s.Output, s.Metadata, s.Session)
	}
	before := s.AppendJSON(nil)
	if r.Step(&s); !bytes.Equal(before, s.AppendJSON(nil)) {
		t.Errorf("changed the second time:\n%s\n%s", before, s.AppendJSON(nil))
	}
}

func TestStepStaysWithinItsLine(t *testing.T) {
	r := testRedactor()
	many := func(n int) string { return strings.Repeat("?key=1 ", n/7) }
	for name, s := range map[string]step.Step{
		"input":   {Input: []byte(`"` + many(step.MaxLine-1000) + `"`), Output: []byte(`"small"`)},
		"all":     {Input: []byte(`"` + many(step.MaxLine/3) + `"`), Output: []byte(`"` + many(step.MaxLine/3) + `"`), Metadata: []byte(`"` + many(step.MaxLine/3-1000) + `"`)},
		"session": {Session: many(step.MaxLine - 1000), Output: []byte(`"small"`)},
		"names":   {ChannelCoherence: []byte(`{"` + many(step.MaxLine-1000) + `":1}`), Output: []byte(`"small"`)},
	} {
		s.Action, s.Name = step.External, "n"
		if err := s.Validate(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s.Complete(time.Now())
		r.Step(&s)
		line := s.AppendJSON(nil)
		if _, err := step.Decode(line); err != nil {
			t.Errorf("%s: the step of %d bytes cannot be read again: %v", name, len(line), err)
		}
		if name != "all" && string(s.Output) != `"small"` {
			t.Errorf("%s: what was small is %s", name, s.Output)
		}
	}
}

func TestNumbersAreLeftAlone(t *testing.T) {
	r := New(Options{Literals: []string{"not a number"}})
	v := math.Pi
	s := step.Step{Action: step.External, Name: "n", Phi: &v}
	if r.Step(&s); s.Phi != &v {
		t.Error("a number was touched for nothing")
	}
}
