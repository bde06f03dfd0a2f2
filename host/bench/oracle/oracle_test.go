// Package oracle holds carl's redaction against gitleaks: of each of its rules
// it makes secrets, plants them in steps, redacts these, and asks gitleaks
// what is left.
package oracle

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lucasjones/reggen"
	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/logging"

	"carl.camp/carl/host/redact"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/step/steptest"
)

// outOfReach are the rules whose secrets carl leaves, and why. What is named
// here and found all the same fails the test, so that the list stays true.
var outOfReach = map[string]string{
	"1password-secret-key":               "upper-case words joined by dashes, behind two letters",
	"authress-service-client-access-key": "no head: words, points and a slash",
	"clickhouse-cloud-api-secret-key":    "the head is two hex digits, as in any digest",
	"curl-auth-header":                   "any header whose name ends in Key or Token, of any value",
	"curl-auth-user":                     "user and password quoted apart",
	"flutterwave-public-key":             "public",
	"harness-api-key":                    "the head is `pat.`, as in any method call",
	"maxmind-license-key":                "told by its tail alone",
	"vault-service-token":                "the head of the old form is `s.`, as in any sentence",
	"artifactory-reference-token":        "carl knows what such tokens really begin with; the rule takes any base64 that begins alike",
	"jwt":                                "carl knows what a header can begin with; the rule takes any two words in ey",
	"jwt-base64":                         "the rule takes line ends and backslashes inside",
	"slack-app-token":                    "the rule takes tokens of a few digits",
	"slack-legacy-token":                 "the same",
	"slack-legacy-workspace-token":       "the same",
	"square-access-token":                "the rule takes 22 letters behind EAAA, as base64 of zeros has them",
	"sendgrid-api-token":                 "the rule takes `=` inside, which no token has",
	"aws-access-token":                   "the rule takes A3T and any letter, long out of use",
	"huggingface-access-token":           "folding makes the rule take the long s, which is no letter of a token",
	"huggingface-organization-api-token": "the same",
}

// beside marks rules that tell a secret by its vendor's name beside it, not by
// its shape: "adafruit … = 32 letters". carl goes by the names of members
// instead, and leaves a value under a name that says nothing.
const beside = `(?i)[\w.-]{0,50}?(?:`

// simpler makes of a rule's expression one that a generator of strings can
// follow and that yields the plain form of the secret.
var simpler = strings.NewReplacer(`\b`, "", `(?i)`, "", `(?:[\x60'"\s;]|\\[nr]|$)`, `"`)

// samples of each rule, of which at least one must be found by gitleaks itself
// for the rule to count as tried.
const samples = 5

func oracle(t *testing.T) *detect.Detector {
	t.Helper()
	logging.Logger = zerolog.Nop()
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// left returns the secrets that gitleaks sees in text, markers aside.
func left(d *detect.Detector, text string) (rules []string) {
	for _, f := range d.DetectString(text) {
		if !strings.Contains(f.Secret, "[redacted:") {
			rules = append(rules, f.RuleID)
		}
	}
	return rules
}

// made returns secrets of a rule that gitleaks finds when they stand alone.
func made(t *testing.T, d *detect.Detector, rule config.Rule) (out []string) {
	t.Helper()
	g, err := reggen.NewGenerator(simpler.Replace(rule.Regex.String()))
	if err != nil {
		t.Fatalf("%s: %v", rule.RuleID, err)
	}
	g.SetSeed(1)
	for range 40 {
		s := strings.ToValidUTF8(g.Generate(5), "")
		if len(out) < samples && slices.Contains(left(d, s), rule.RuleID) {
			out = append(out, s)
		}
	}
	return out
}

// texts returns the strings of a JSON text, names too, escapes undone, a line each.
func texts(t *testing.T, text []byte) string {
	t.Helper()
	var out []string
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		token, err := dec.ReadToken()
		if err == io.EOF {
			return strings.Join(out, "\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		if token.Kind() == '"' {
			out = append(out, token.String())
		}
	}
}

func TestNothingIsLeftThatGitleaksKnows(t *testing.T) {
	d := oracle(t)
	r := redact.New(redact.Options{})
	tried, contextual := 0, 0
	for id, rule := range d.Config.Rules {
		if rule.Regex == nil {
			continue
		}
		if strings.HasPrefix(rule.Regex.String(), beside) || strings.HasPrefix(rule.Regex.String(), `[\w.-]{0,50}?`) {
			contextual++
			continue
		}
		secrets := made(t, d, rule)
		if len(secrets) == 0 {
			t.Logf("%s: no secret of this rule could be made", id)
			continue
		}
		tried++
		var found []string
		for _, s := range secrets {
			quoted, err := jsontext.AppendQuote(nil, "see "+s+" there")
			if err != nil {
				t.Fatal(err)
			}
			line := append([]byte(`{"action":"TOOL_CALL","name":"n","input":{"text":`), quoted...)
			st, err := step.Decode(append(line, "}}"...))
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			r.Step(&st)
			if plain := texts(t, st.Input); len(left(d, plain)) > 0 {
				found = append(found, plain)
			}
		}
		why, excused := outOfReach[id]
		switch {
		case len(found) > 0 && !excused:
			t.Errorf("%s: gitleaks still finds %d of %d, such as %.120q", id, len(found), len(secrets), found[0])
		case len(found) == 0 && excused:
			t.Errorf("%s is named as out of reach (%s), and nothing is left of it", id, why)
		}
	}
	t.Logf("%d rules tried, %d left out that go by a vendor's name beside the secret", tried, contextual)
	if tried < 80 {
		t.Errorf("only %d rules were tried", tried)
	}
}

// The other way round: where gitleaks finds nothing, neither does carl.
func TestCleanStepsAreCleanForBoth(t *testing.T) {
	d := oracle(t)
	r := redact.New(redact.Options{})
	text := steptest.File(300, 3)
	if shared, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "shared", "data", "steps", "swe.jsonl")); err == nil {
		text = append(text, shared...)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, step.MaxLine)
	n := 0
	for lines.Scan() {
		n++
		if rules := left(d, lines.Text()); len(rules) > 0 {
			t.Errorf("line %d: gitleaks finds %v", n, rules)
		}
		if got := r.JSON(lines.Bytes()); string(got) != lines.Text() {
			t.Errorf("line %d: carl finds something:\n%s", n, got)
		}
	}
	if n < 300 {
		t.Errorf("only %d lines were read", n)
	}
}
