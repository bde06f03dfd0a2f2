package redact

import (
	"slices"
	"strings"
)

// rule says what stands behind a head that makes a secret.
type rule struct {
	// name stands in the marker: [redacted:name].
	name  string
	heads []string
	// class is what the rest of the token consists of.
	class class
	// min is from which length the rest is a token whatever it holds, and
	// loose from which length it is one when it holds a digit and a letter;
	// 0 for never.
	min, loose int
	// apart says that the head must not follow a letter or a digit: for heads
	// that words end with, such as sk- in task-.
	apart bool
	// find names what does the work of the fields above where a token is more
	// than a run of one class.
	find finder
}

// finder names a method of state that finds secrets behind a head.
type finder uint8

const (
	byRun finder = iota
	byDashed
	bySlack
	byTelegram
	byJWT
	byAzure
	byAirtable
	byCurl
	byPEM
	byEncodedPEM
	byBearer
	byBasic
	byUserinfo
	byQuery
	byAssignment
)

// class is a set of bytes that tokens consist of.
type class uint8

const (
	alnum      class = iota // A-Z a-z 0-9
	upperAlnum              // A-Z 0-9
	hexLower                // 0-9 a-f
	hexAny                  // 0-9 a-f A-F
	word                    // alnum _
	base64url               // alnum _ -
	dotted                  // base64url .
	token68                 // RFC 7235: alnum - . _ ~ + / and = at the end
	pemBody                 // base64, white space, and the \n of an escaped one
	urlPath                 // dotted / %
	authority               // what may stand between :// and the path
	queryValue              // what may stand between = and &
	bareValue               // what may stand behind = outside of quotes
	lineValue               // everything up to a quote or the end of the line
	classes
)

// members is the table of all classes: bit c of members[b] says that b is in c.
var members = func() (t [256]uint32) {
	set := func(c class, s string) {
		for _, b := range []byte(s) {
			t[b] |= 1 << c
		}
	}
	const digits = "0123456789"
	const upper, lower = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
	for _, c := range []class{alnum, word, base64url, dotted, token68, pemBody, urlPath} {
		set(c, digits+upper+lower)
	}
	set(upperAlnum, digits+upper)
	set(hexLower, digits+"abcdef")
	set(hexAny, digits+"abcdefABCDEF")
	set(word, "_")
	set(base64url, "_-")
	set(dotted, "_-.")
	set(token68, "-._~+/=")
	set(pemBody, "+/=\\ \t\r\n:,-")
	set(urlPath, "_-./%")
	for b := range 256 {
		c := byte(b)
		visible := c > ' ' && c != 0x7f && !strings.ContainsRune("\"<>`\\", rune(c))
		if visible && !strings.ContainsRune("/?#'", rune(c)) {
			t[b] |= 1 << authority
		}
		if visible && !strings.ContainsRune("&#;'", rune(c)) {
			t[b] |= 1 << queryValue
		}
		if visible && !strings.ContainsRune(";',)]}", rune(c)) {
			t[b] |= 1 << bareValue
		}
		if !strings.ContainsRune("\n\r\"'`\\", rune(c)) {
			t[b] |= 1 << lineValue
		}
	}
	return t
}()

func in(c class, b byte) bool { return members[b]&(1<<c) != 0 }

// The names of what is not found by its shape.
const (
	literalName  = "literal"
	keyName      = "key"
	oversizeName = "oversize"
)

// rules are tried in this order where several have a head at the same place.
// The shapes are what the issuers document, or what their tokens are seen to
// be; shorter ones than documented count when they mix letters and digits, as
// older and cut tokens do.
var rules = []rule{
	{name: "hf-token", heads: []string{"hf_", "api_org_"}, class: alnum, min: 30, loose: 16, apart: true},
	{name: "hf-token", heads: []string{"hf_oauth_"}, class: dotted, min: 20, apart: true},
	{name: "anthropic-key", heads: []string{"sk-ant-"}, find: byDashed},
	{name: "sk-key", heads: []string{"sk-"}, find: byDashed},
	{name: "github-token", heads: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, class: word, min: 30, loose: 16},
	{name: "github-token", heads: []string{"github_pat_"}, class: word, min: 20},
	{name: "gitlab-token", heads: []string{"glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glsoat-", "gloas-", "glffct-"}, class: dotted, min: 20, loose: 16},
	{name: "aws-key-id", heads: []string{"AKIA", "ASIA", "ABIA", "ACCA"}, class: upperAlnum, min: 16, apart: true},
	{name: "slack-token", heads: []string{"xox"}, find: bySlack},
	{name: "slack-token", heads: []string{"xapp-"}, class: base64url, min: 20, loose: 12, apart: true},
	{name: "slack-webhook", heads: []string{"hooks.slack.com/"}, class: urlPath, min: 20},
	{name: "discord-webhook", heads: []string{"discord.com/api/webhooks/", "discordapp.com/api/webhooks/"}, class: urlPath, min: 20},
	{name: "google-key", heads: []string{"AIza"}, class: base64url, min: 30, loose: 24},
	{name: "google-key", heads: []string{"ya29.", "GOCSPX-"}, class: base64url, min: 20, apart: true},
	{name: "npm-token", heads: []string{"npm_"}, class: alnum, min: 30, loose: 20, apart: true},
	{name: "pypi-token", heads: []string{"pypi-AgE"}, class: base64url, min: 16},
	{name: "stripe-key", heads: []string{"sk_live_", "rk_live_", "sk_test_", "rk_test_"}, class: alnum, min: 16, loose: 10, apart: true},
	{name: "stripe-key", heads: []string{"whsec_"}, class: token68, min: 24, apart: true},
	{name: "sendgrid-key", heads: []string{"SG."}, class: dotted, min: 50, loose: 40, apart: true},
	{name: "twilio-key", heads: []string{"SK"}, class: hexAny, min: 32, apart: true},
	{name: "telegram-token", heads: []string{":AA"}, find: byTelegram},
	{name: "jwt", heads: []string{"eyJ", "eyAi", "ewog", "ewoJ", "ewoi"}, find: byJWT},
	{name: "private-key", heads: []string{"-----BEGIN"}, find: byPEM},
	{name: "private-key", heads: []string{"LS0tLS1CRUdJTi"}, find: byEncodedPEM},
	{name: "age-key", heads: []string{"AGE-SECRET-KEY-", "age-secret-key-"}, class: base64url, min: 20},
	{name: "ledger-key", heads: []string{"PRIVATE+KEY+"}, class: token68, min: 20},
	{name: "digitalocean-token", heads: []string{"dop_v1_", "doo_v1_", "dor_v1_"}, class: alnum, min: 32},
	{name: "shopify-token", heads: []string{"shpat_", "shpca_", "shppa_", "shpss_"}, class: alnum, min: 24},
	{name: "vault-token", heads: []string{"hvs.", "hvb.", "hvr."}, class: base64url, min: 24, apart: true},
	{name: "groq-key", heads: []string{"gsk_"}, class: alnum, min: 32, loose: 20, apart: true},
	{name: "replicate-token", heads: []string{"r8_"}, class: alnum, min: 32, loose: 24, apart: true},
	{name: "nvidia-key", heads: []string{"nvapi-"}, class: base64url, min: 32, apart: true},
	{name: "perplexity-key", heads: []string{"pplx-"}, class: alnum, min: 32, apart: true},
	{name: "xai-key", heads: []string{"xai-"}, class: alnum, min: 40, apart: true},
	{name: "tailscale-key", heads: []string{"tskey-"}, class: base64url, min: 24, loose: 16, apart: true},
	{name: "docker-token", heads: []string{"dckr_pat_", "dckr_oat_"}, class: base64url, min: 20},
	{name: "linear-key", heads: []string{"lin_api_"}, class: alnum, min: 30},
	{name: "figma-token", heads: []string{"figd_"}, class: base64url, min: 30},
	{name: "notion-token", heads: []string{"ntn_"}, class: alnum, min: 30, apart: true},
	{name: "square-token", heads: []string{"sq0atp-", "sq0csp-"}, class: base64url, min: 20},
	{name: "atlassian-token", heads: []string{"ATATT3", "ATCTT3"}, class: token68, min: 40, apart: true},
	{name: "grafana-token", heads: []string{"glsa_", "glc_"}, class: token68, min: 32, apart: true},
	{name: "newrelic-key", heads: []string{"NRAK-", "NRJS-"}, class: alnum, min: 19, apart: true},
	{name: "postman-key", heads: []string{"PMAK-"}, class: base64url, min: 32, apart: true},
	{name: "rubygems-key", heads: []string{"rubygems_"}, class: hexLower, min: 32},
	{name: "sentry-token", heads: []string{"sntrys_", "sntryu_"}, class: token68, min: 32},
	{name: "supabase-key", heads: []string{"sbp_"}, class: hexLower, min: 32, apart: true},
	{name: "planetscale-token", heads: []string{"pscale_tkn_", "pscale_pw_"}, class: dotted, min: 20},
	{name: "doppler-token", heads: []string{"dp.pt.", "dp.st."}, class: dotted, min: 30, apart: true},
	{name: "wandb-key", heads: []string{"wandb_v1_"}, class: word, min: 24},
	{name: "databricks-token", heads: []string{"dapi"}, class: hexLower, min: 32, apart: true},
	{name: "pulumi-token", heads: []string{"pul-"}, class: hexLower, min: 32, apart: true},
	{name: "1password-token", heads: []string{"ops_eyJ"}, class: token68, min: 60, apart: true},
	{name: "adobe-secret", heads: []string{"p8e-"}, class: alnum, min: 32, apart: true},
	{name: "alibaba-key-id", heads: []string{"LTAI"}, class: alnum, min: 20, loose: 12, apart: true},
	{name: "artifactory-key", heads: []string{"AKCp"}, class: alnum, min: 60, apart: true},
	{name: "artifactory-key", heads: []string{"cmVmdGtu"}, class: alnum, min: 50, apart: true},
	{name: "azure-secret", heads: []string{"Q~"}, find: byAzure},
	{name: "bedrock-key", heads: []string{"ABSK"}, class: token68, min: 90, apart: true},
	{name: "bedrock-key", heads: []string{"bedrock-api-key-"}, class: token68, min: 24},
	{name: "brevo-key", heads: []string{"xkeysib-"}, class: base64url, min: 60},
	{name: "clojars-token", heads: []string{"CLOJARS_"}, class: alnum, min: 50},
	{name: "cloudflare-key", heads: []string{"v1.0-"}, class: base64url, min: 160, apart: true},
	{name: "dropbox-token", heads: []string{"sl."}, class: base64url, min: 120, apart: true},
	{name: "duffel-token", heads: []string{"duffel_live_", "duffel_test_"}, class: token68, min: 32},
	{name: "dynatrace-token", heads: []string{"dt0c01.", "dt0s16."}, class: dotted, min: 60, apart: true},
	{name: "easypost-key", heads: []string{"EZAK", "EZTK"}, class: alnum, min: 50, apart: true},
	{name: "facebook-token", heads: []string{"EAAM", "EAAC"}, class: alnum, min: 80, apart: true},
	{name: "flutterwave-key", heads: []string{"FLWSECK-", "FLWSECK_TEST-"}, class: base64url, min: 12},
	{name: "fly-token", heads: []string{"fo1_", "fm1_", "fm1a_", "fm1r_", "fm2_"}, class: token68, min: 40, apart: true},
	{name: "frameio-token", heads: []string{"fio-u-"}, class: token68, min: 60, apart: true},
	{name: "gitlab-token", heads: []string{"GR1348941"}, class: base64url, min: 20},
	{name: "gitlab-token", heads: []string{"_gitlab_session="}, class: alnum, min: 24},
	{name: "grafana-token", heads: []string{"eyJrIjoi"}, class: token68, min: 60, apart: true},
	{name: "heroku-key", heads: []string{"HRKU-AA"}, class: base64url, min: 50},
	{name: "infracost-key", heads: []string{"ico-"}, class: alnum, min: 32, apart: true},
	{name: "intra42-secret", heads: []string{"s-s4t2ud-", "s-s4t2af-"}, class: hexLower, min: 60},
	{name: "jwt", heads: []string{"ZXlK"}, class: token68, min: 100, apart: true},
	{name: "mailgun-key", heads: []string{"key-"}, class: hexLower, min: 32, apart: true},
	{name: "newrelic-key", heads: []string{"NRII-"}, class: base64url, min: 32, apart: true},
	{name: "octopus-key", heads: []string{"API-"}, class: upperAlnum, min: 26, apart: true},
	{name: "openshift-token", heads: []string{"sha256~"}, class: base64url, min: 40},
	{name: "planetscale-token", heads: []string{"pscale_oauth_"}, class: dotted, min: 30},
	{name: "prefect-key", heads: []string{"pnu_"}, class: alnum, min: 36, apart: true},
	{name: "readme-key", heads: []string{"rdme_"}, class: alnum, min: 60, apart: true},
	{name: "scalingo-token", heads: []string{"tk-us-"}, class: base64url, min: 40, apart: true},
	{name: "settlemint-token", heads: []string{"sm_aat_", "sm_pat_", "sm_sat_"}, class: alnum, min: 16, apart: true},
	{name: "shippo-token", heads: []string{"shippo_live_", "shippo_test_"}, class: alnum, min: 40},
	{name: "sourcegraph-token", heads: []string{"sgp_"}, class: word, min: 40, apart: true},
	{name: "square-token", heads: []string{"EAAA"}, class: base64url, min: 60, apart: true},
	{name: "stripe-key", heads: []string{"sk_prod_", "rk_prod_"}, class: alnum, min: 16, loose: 10, apart: true},
	{name: "teams-webhook", heads: []string{"webhook.office.com/webhookb2/"}, class: urlPath, min: 36},
	{name: "terraform-token", heads: []string{".atlasv1."}, class: token68, min: 60},
	{name: "airtable-token", heads: []string{"pat"}, find: byAirtable},
	{name: "curl-user", heads: []string{"curl "}, find: byCurl},
	{name: "bearer", heads: []string{"bearer"}, find: byBearer},
	{name: "basic", heads: []string{"basic"}, find: byBasic},
	{name: "url-password", heads: []string{"://"}, find: byUserinfo},
	{name: "query", heads: []string{"?", "&", "#", ";"}, find: byQuery},
	{name: "assignment", heads: []string{
		"key", "token", "secret", "password", "passwd", "passphrase", "passcode", "pass_word", "pwd",
		"authorization", "credential", "cookie", "private", "jwt",
	}, find: byAssignment},
}

// markerName returns the constant among the names of rules that b is, or "".
func markerName(b []byte) string {
	switch string(b) {
	case literalName:
		return literalName
	case keyName:
		return keyName
	case oversizeName:
		return oversizeName
	}
	i := slices.IndexFunc(rules, func(r rule) bool { return r.name == string(b) })
	if i < 0 {
		return ""
	}
	return rules[i].name
}

const (
	markerOpen = "[redacted:"
	// longestName bounds the name in a marker.
	longestName = 24
)

// markerLen returns the length of the marker that b begins with, or 0. Only
// markers that carl writes count: a secret must not pass for one.
func markerLen[T ~string | ~[]byte](b T) int {
	if len(b) <= len(markerOpen) || string(b[:len(markerOpen)]) != markerOpen {
		return 0
	}
	for i := len(markerOpen); i < len(b) && i <= len(markerOpen)+longestName; i++ {
		if b[i] == ']' {
			if markerName([]byte(b[len(markerOpen):i])) != "" {
				return i + 1
			}
			return 0
		}
	}
	return 0
}
