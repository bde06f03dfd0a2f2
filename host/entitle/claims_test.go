package entitle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// raw is JSON text in the change of claimsAt.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

// claimRow is one payload, and what it is refused by; "" is accepted.
type claimRow struct {
	name, payload string
	want          Check
}

func runClaims(t *testing.T, rows []claimRow) {
	t.Helper()
	v := campVerifier(t)
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.Verify(platform.sign(platform.header(), c.payload), today)
			if c.want != "" {
				wantRefusal(t, err, c.want)
			} else if err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// with is a payload with one claim changed, to a value or to JSON text.
func with(name string, value any) string {
	return claimsAt(today, map[string]any{name: value})
}

func TestRequiredClaims(t *testing.T) {
	var rows []claimRow
	for name, check := range map[string]struct {
		null  Check
		wrong []string
	}{
		"iss":  {CheckClaims, []string{`1`, `true`, `[]`, `{}`, `["https://carl.camp"]`, `""`}},
		"sub":  {CheckClaims, []string{`1`, `true`, `[]`, `{}`, `["u1"]`, `""`}},
		"tier": {CheckClaims, []string{`1`, `true`, `[]`, `{}`, `["paid"]`, `""`}},
		"aud":  {CheckAudience, []string{`1`, `true`, `{}`, `{"carl":1}`, `""`}},
		"iat":  {CheckClaims, []string{`"1"`, `true`, `[]`, `{}`, `[1]`, `""`}},
		"exp":  {CheckClaims, []string{`"9999999999"`, `true`, `[]`, `{}`, `[9999999999]`, `""`}},
	} {
		rows = append(rows,
			claimRow{name + " missing", with(name, omit), CheckClaims},
			claimRow{name + " null", with(name, nil), check.null},
		)
		for _, value := range check.wrong {
			rows = append(rows, claimRow{name + " " + value, with(name, raw(value)), check.null})
		}
		upper := strings.ToUpper(name)
		whole := with("n", 1)
		rows = append(rows,
			claimRow{upper, strings.Replace(whole, `"`+name+`"`, `"`+upper+`"`, 1), CheckClaims},
			claimRow{upper + " beside", strings.Replace(whole, `"n":1`, `"`+upper+`":null`, 1), ""},
			claimRow{name + " escaped", strings.Replace(whole, `"`+name+`"`, fmt.Sprintf(`"\u%04x%s"`, name[0], name[1:]), 1), ""},
			claimRow{name + " twice", strings.Replace(whole, `"n":1`, `"`+name+`":1`, 1), CheckClaims},
			claimRow{name + " twice, escaped", strings.Replace(whole, `"n":1`, fmt.Sprintf(`"\u%04x%s":1`, name[0], name[1:]), 1), CheckClaims},
		)
	}
	if len(rows) < 6*(2+5+5) {
		t.Fatalf("%d rows", len(rows))
	}
	runClaims(t, rows)
}

func TestOptionalClaims(t *testing.T) {
	long, tooLong := strings.Repeat("x", 256), strings.Repeat("x", 257)
	var rows []claimRow
	for _, name := range []string{"nbf", "jti", "tier_label", "install_id", "entitlements"} {
		rows = append(rows,
			claimRow{name + " missing", with(name, omit), ""},
			claimRow{name + " null", with(name, nil), ""},
			claimRow{name + " true", with(name, true), CheckClaims},
			claimRow{name + " object", with(name, raw(`{}`)), CheckClaims},
			claimRow{name + " twice", strings.Replace(with("z", 1), `"z":1`, `"n":1,"`+name+`":null,"`+name+`":null`, 1), CheckClaims},
		)
		if name != "nbf" {
			rows = append(rows, claimRow{name + " number", with(name, 1), CheckClaims})
		}
		if name != "entitlements" {
			rows = append(rows, claimRow{name + " list", with(name, raw(`[]`)), CheckClaims})
		}
	}
	for _, name := range []string{"sub", "tier", "jti", "tier_label", "install_id"} {
		rows = append(rows,
			claimRow{name + " of 256 bytes", with(name, long), ""},
			claimRow{name + " of 257 bytes", with(name, tooLong), CheckClaims},
			claimRow{name + " of 257 bytes, escaped", with(name, raw(`"`+strings.Repeat(`\u0078`, 257)+`"`)), CheckClaims},
			claimRow{name + " of 256 bytes, escaped", with(name, raw(`"`+strings.Repeat(`\u0078`, 256)+`"`)), ""},
		)
	}
	rows = append(rows,
		claimRow{"jti empty", with("jti", ""), CheckClaims},
		claimRow{"install_id empty", with("install_id", ""), CheckClaims},
		claimRow{"tier_label empty", with("tier_label", ""), ""},
		claimRow{"tier that nobody knows", with("tier", "platinum"), ""},
		claimRow{"iss of 257 bytes", with("iss", tooLong), CheckClaims},
		claimRow{"iss of 256 bytes", with("iss", long), CheckIssuer},
		claimRow{"long unknown claim", with("z", strings.Repeat("x", 4000)), ""},
		claimRow{"unknown claims", with("z", raw(`[null,{"a":[{}]},1e400,-0]`)), ""},
	)
	runClaims(t, rows)
}

func TestPayload(t *testing.T) {
	whole := with("n", 1)
	flat := fmt.Sprintf(`["iss","https://carl.camp","aud","carl","sub","u1","tier","paid","iat",%d,"exp",%d]`, today.Unix(), today.Unix())
	nested := func(open, shut string, n int) string { return strings.Repeat(open, n) + strings.Repeat(shut, n) }
	runClaims(t, []claimRow{
		{"whole", whole, ""},
		{"white space", " \n" + whole + "\t ", ""},
		{"empty object", `{}`, CheckClaims},
		{"list", `[` + whole + `]`, CheckClaims},
		{"list of names and values", flat, CheckClaims},
		{"null", `null`, CheckClaims},
		{"text", `"carl"`, CheckClaims},
		{"number", `1`, CheckClaims},
		{"not JSON", `iss=https://carl.camp`, CheckClaims},
		{"white space alone", ` `, CheckClaims},
		{"cut", whole[:len(whole)-1], CheckClaims},
		{"trailing brace", whole + `}`, CheckClaims},
		{"trailing object", whole + `{"tier":"paid"}`, CheckClaims},
		{"two lines", whole + "\n" + whole, CheckClaims},
		{"trailing NUL", whole + "\x00", CheckClaims},
		{"trailing comma", whole + ",", CheckClaims},
		{"comma before the end", whole[:len(whole)-1] + ",}", CheckClaims},
		{"byte order mark", "\ufeff" + whole, CheckClaims},
		{"invalid UTF-8 in a claim", strings.Replace(whole, "u1", "u\xff", 1), CheckClaims},
		{"invalid UTF-8 in a name", strings.Replace(whole, `"n"`, "\"\xff\"", 1), CheckClaims},
		{"half a surrogate pair", strings.Replace(whole, "u1", `\udc00`, 1), CheckClaims},
		{"control character", strings.Replace(whole, "u1", "u\n", 1), CheckClaims},
		{"unknown claim twice", strings.Replace(whole, `"n":1`, `"n":1,"n":1`, 1), CheckClaims},
		{"twice further down", with("n", raw(`{"a":{"b":1,"b":1}}`)), CheckClaims},
		{"twice in a grant", with("entitlements", raw(`[{"key":"a","key":"b"}]`)), CheckClaims},
		{"twice in a grant, escaped", with("entitlements", raw(`[{"key":"a","k\u0065y":"b"}]`)), CheckClaims},
		{"twice in a grant's unknown member", with("entitlements", raw(`[{"key":"a","n":{"a":1,"a":1}}]`)), CheckClaims},
		{"deep lists", with("n", raw(nested("[", "]", 2700))), ""},
		{"deep lists that never end", strings.Replace(whole, `"n":1`, `"n":`+strings.Repeat("[", 5000), 1), CheckClaims},
		{"deep objects", with("n", raw(strings.Repeat(`{"":`, 1000)+"0"+strings.Repeat("}", 1000))), ""},
		{"deep aud", with("aud", raw(nested("[", "]", 2700))), CheckAudience},
		{"deep entitlements", with("entitlements", raw(nested("[", "]", 2700))), CheckClaims},
		{"deep exp", with("exp", raw(nested("[", "]", 2700))), CheckClaims},
		{"many members", strings.Replace(whole, `"n":1`, manyMembers(500), 1), ""},
	})
}

func manyMembers(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"m%d":0`, i))
	}
	return strings.Join(list, ",")
}

func TestAudienceAndIssuer(t *testing.T) {
	runClaims(t, []claimRow{
		{"aud carl", with("aud", "carl"), ""},
		{"aud list", with("aud", raw(`["carl"]`)), ""},
		{"aud escaped", with("aud", raw(`"c\u0061rl"`)), ""},
		{"aud list with others", with("aud", raw(`["a","carl","b"]`)), ""},
		{"aud list with it twice", with("aud", raw(`["carl","carl"]`)), ""},
		{"aud other", with("aud", "other"), CheckAudience},
		{"aud Carl", with("aud", "Carl"), CheckAudience},
		{"aud with a space", with("aud", "carl "), CheckAudience},
		{"aud as a list in a text", with("aud", "carl other"), CheckAudience},
		{"aud empty list", with("aud", raw(`[]`)), CheckAudience},
		{"aud list without it", with("aud", raw(`["a","b"]`)), CheckAudience},
		{"aud list with a number", with("aud", raw(`["carl",1]`)), CheckAudience},
		{"aud list with a number before", with("aud", raw(`[1,"carl"]`)), CheckAudience},
		{"aud list with null", with("aud", raw(`["carl",null]`)), CheckAudience},
		{"aud list in a list", with("aud", raw(`[["carl"]]`)), CheckAudience},
		{"aud list with an object", with("aud", raw(`["carl",{}]`)), CheckAudience},

		{"iss the platform's", with("iss", "https://carl.camp"), ""},
		{"iss configured", with("iss", ownIssuer), ""},
		{"iss escaped", with("iss", raw(`"https:\/\/carl.camp"`)), ""},
		{"iss with a slash", with("iss", "https://carl.camp/"), CheckIssuer},
		{"iss in other case", with("iss", "https://Carl.camp"), CheckIssuer},
		{"iss with a port", with("iss", "https://carl.camp:443"), CheckIssuer},
		{"iss configured, without its port", with("iss", "https://camp.example"), CheckIssuer},
		{"iss by http", with("iss", "http://carl.camp"), CheckIssuer},
		{"iss the host alone", with("iss", "carl.camp"), CheckIssuer},
		{"iss of a longer name", with("iss", "https://carl.camp.evil.example"), CheckIssuer},
		{"iss of a user", with("iss", "https://carl.camp@evil.example"), CheckIssuer},
		{"iss with a path", with("iss", "https://carl.camp/evil"), CheckIssuer},
		{"iss with a space", with("iss", " https://carl.camp"), CheckIssuer},
		{"iss of look-alikes", with("iss", "https://c\u0430rl.camp"), CheckIssuer},
	})
}

func TestNumericDate(t *testing.T) {
	v := campVerifier(t)
	sec := today.Unix()
	for _, c := range []struct {
		text string
		want int64 // -1 is refused
	}{
		{"0", 0}, {"1", 1}, {"1e3", 1000}, {"1E3", 1000}, {"1.5e3", 1500}, {"1.999", 1}, {"0.999", 0}, {"15e-1", 1},
		{"1e0", 1}, {"1e-400", 0}, {"-0", 0}, {"1.0", 1}, {fmt.Sprint(sec), sec}, {fmt.Sprint(sec) + ".9999", sec},
		{"-1", -1}, {"-0.5", -1}, {"-1e3", -1}, {"-1e400", -1}, {"1e400", -1}, {"1e300", -1}, {"1e18", -1},
		{"9223372036854775807", -1}, {"9223372036854775808", -1}, {"18446744073709551616", -1}, {"-9223372036854775809", -1},
		{"253402300800", -1}, {"253402300799.5", -1}, {strings.Repeat("9", 400), -1},
		{`"1"`, -1}, {`""`, -1}, {`"1970-01-01T00:00:01Z"`, -1}, {"true", -1}, {"null", -1}, {"[1]", -1}, {"{}", -1},
	} {
		t.Run(c.text[:min(len(c.text), 30)], func(t *testing.T) {
			got, err := v.Verify(platform.sign(platform.header(), with("iat", raw(c.text))), today)
			if c.want < 0 {
				wantRefusal(t, err, CheckClaims)
				return
			}
			if err != nil || got.IssuedAt != time.Unix(c.want, 0).UTC() {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	for _, last := range []string{"253402300799", "253402300799.0", "253402300799e0", "2.53402300799e11"} {
		got, err := v.Verify(platform.token(today, map[string]any{"exp": raw(last), "nbf": 0}), today)
		if err != nil || got.ExpiresAt.Format(time.RFC3339) != "9999-12-31T23:59:59Z" || got.NotBefore.IsZero() {
			t.Errorf("%s: %+v, %v", last, got, err)
		}
	}
}

// The tolerance is five minutes, inclusive, in whole seconds: what is left of
// the clock's second does not matter.
func TestClockSkew(t *testing.T) {
	v := campVerifier(t)
	sec := today.Unix()
	for _, fraction := range []time.Duration{0, 1, 500 * time.Millisecond, time.Second - 1} {
		for _, c := range []struct {
			name, claim string
			value       any
			want        Check
		}{
			{"exp in a second", "exp", sec + 1, ""},
			{"exp now", "exp", sec, ""},
			{"exp a second ago", "exp", sec - 1, ""},
			{"exp 299 s ago", "exp", sec - 299, ""},
			{"exp 300 s ago", "exp", sec - 300, ""},
			{"exp 301 s ago", "exp", sec - 301, CheckExpired},
			{"exp 300 s ago and a half", "exp", raw(fmt.Sprint(sec-300) + ".5"), ""},
			{"exp 301 s ago but a half", "exp", raw(fmt.Sprint(sec-301) + ".5"), CheckExpired},
			{"exp in 1970", "exp", 0, CheckExpired},
			{"exp at the end of time", "exp", int64(253402300799), ""},
			{"nbf now", "nbf", sec, ""},
			{"nbf in 300 s", "nbf", sec + 300, ""},
			{"nbf in 301 s", "nbf", sec + 301, CheckNotYet},
			{"nbf in 300 s and a half", "nbf", raw(fmt.Sprint(sec+300) + ".5"), ""},
			{"nbf in 1970", "nbf", 0, ""},
			{"nbf at the end of time", "nbf", int64(253402300799), CheckNotYet},
			{"iat now", "iat", sec, ""},
			{"iat in 300 s", "iat", sec + 300, ""},
			{"iat in 301 s", "iat", sec + 301, CheckNotYet},
			{"iat in 1970", "iat", 0, ""},
			{"iat at the end of time", "iat", int64(253402300799), CheckNotYet},
		} {
			t.Run(fmt.Sprintf("%s, clock at +%v", c.name, fraction), func(t *testing.T) {
				token := platform.sign(platform.header(), with(c.claim, c.value))
				now := today.Add(fraction)
				_, err := v.Verify(token, now)
				if c.want != "" {
					wantRefusal(t, err, c.want)
				} else if err != nil {
					t.Error(err)
				}
				// Of a cached token all but exp is checked.
				if _, err = v.verifyCached(token, now); c.want != "" && c.want != CheckExpired {
					wantRefusal(t, err, c.want)
				} else if err != nil {
					t.Errorf("cached: %v", err)
				}
			})
		}
	}
}

func TestGrants(t *testing.T) {
	many := func(n int) json.RawMessage {
		return raw("[" + strings.Repeat(`{"key":"a"},`, n-1) + `{"key":"b"}]`)
	}
	e := func(text string) string { return with("entitlements", raw(text)) }
	runClaims(t, []claimRow{
		{"none", e(`[]`), ""},
		{"one", e(`[{"key":"a"}]`), ""},
		{"one key twice", e(`[{"key":"a"},{"key":"a"}]`), ""},
		{"unknown members", e(`[{"key":"a","quota":5,"Key":"b","nested":[{}]}]`), ""},
		{"256", with("entitlements", many(256)), ""},
		{"257", with("entitlements", many(257)), CheckClaims},
		{"no list", e(`{"key":"a"}`), CheckClaims},
		{"text", e(`"train.slime.managed"`), CheckClaims},
		{"list of texts", e(`["train.slime.managed"]`), CheckClaims},
		{"list of names and values", e(`[["key","a"]]`), CheckClaims},
		{"element null", e(`[null]`), CheckClaims},
		{"element null behind", e(`[{"key":"a"},null]`), CheckClaims},
		{"element list", e(`[[{"key":"a"}]]`), CheckClaims},
		{"key missing", e(`[{}]`), CheckClaims},
		{"key missing behind", e(`[{"key":"a"},{"expires_at":null}]`), CheckClaims},
		{"Key", e(`[{"Key":"a"}]`), CheckClaims},
		{"key empty", e(`[{"key":""}]`), CheckClaims},
		{"key null", e(`[{"key":null}]`), CheckClaims},
		{"key number", e(`[{"key":1}]`), CheckClaims},
		{"key of 256 bytes", e(`[{"key":"` + strings.Repeat("k", 256) + `"}]`), ""},
		{"key of 257 bytes", e(`[{"key":"` + strings.Repeat("k", 257) + `"}]`), CheckClaims},
		{"times null", e(`[{"key":"a","granted_at":null,"expires_at":null}]`), ""},
		{"expires_at number", e(`[{"key":"a","expires_at":1764230400}]`), ""},
		{"expires_at RFC 3339", e(`[{"key":"a","expires_at":"2026-11-23T12:00:00.25+02:00"}]`), ""},
		{"expires_at in 1970", e(`[{"key":"a","expires_at":"1970-01-01T00:00:00Z"}]`), ""},
		{"expires_at before 1970", e(`[{"key":"a","expires_at":"1969-12-31T23:59:59Z"}]`), CheckClaims},
		{"expires_at in the year 1", e(`[{"key":"a","expires_at":"0001-01-01T00:00:00Z"}]`), CheckClaims},
		{"granted_at in the year 1", e(`[{"key":"a","granted_at":"0001-01-01T00:00:00Z"}]`), CheckClaims},
		{"expires_at empty", e(`[{"key":"a","expires_at":""}]`), CheckClaims},
		{"expires_at a day", e(`[{"key":"a","expires_at":"2026-11-23"}]`), CheckClaims},
		{"expires_at without a zone", e(`[{"key":"a","expires_at":"2026-11-23T12:00:00"}]`), CheckClaims},
		{"expires_at never", e(`[{"key":"a","expires_at":"never"}]`), CheckClaims},
		{"expires_at number in a text", e(`[{"key":"a","expires_at":"1764230400"}]`), CheckClaims},
		{"expires_at negative", e(`[{"key":"a","expires_at":-1}]`), CheckClaims},
		{"expires_at huge", e(`[{"key":"a","expires_at":1e400}]`), CheckClaims},
		{"expires_at true", e(`[{"key":"a","expires_at":true}]`), CheckClaims},
		{"expires_at list", e(`[{"key":"a","expires_at":[]}]`), CheckClaims},
		{"granted_at never", e(`[{"key":"a","granted_at":"never"}]`), CheckClaims},
		{"granted_at true", e(`[{"key":"a","granted_at":true}]`), CheckClaims},
		{"granted_at in the future", e(`[{"key":"a","granted_at":9999999999}]`), ""},
	})
}

func TestGrantIsLive(t *testing.T) {
	v := campVerifier(t)
	sec := today.Unix()
	for _, c := range []struct {
		name, expires string
		want          bool
	}{
		{"never", "null", true},
		{"in a second", fmt.Sprint(sec + 1), true},
		{"now", fmt.Sprint(sec), false},
		{"a second ago", fmt.Sprint(sec - 1), false},
		{"in 1970", "0", false},
		{"in a second, in words", quote(today.Add(time.Second).Format(time.RFC3339)), true},
		{"now, in words", quote(today.Format(time.RFC3339)), false},
		{"now, in another zone", quote(today.In(time.FixedZone("", 7200)).Format(time.RFC3339)), false},
		{"a second ago, in words", quote(today.Add(-time.Second).Format(time.RFC3339)), false},
		{"in the year 1970, in words", `"1970-01-01T00:00:00Z"`, false},
		// Go's zero time is a moment that has passed, and not a missing one.
		{"in the year 1", `"0001-01-01T00:00:00Z"`, false},
		{"in the year 1, in another zone", `"0001-01-01T02:00:00+02:00"`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := v.Verify(platform.sign(platform.header(), with("entitlements",
				raw(`[{"key":"other"},{"key":"a","expires_at":`+c.expires+`}]`))), today)
			if err != nil {
				if !c.want && isRejection(err, CheckClaims) {
					return // as good: nothing is granted
				}
				t.Fatal(err)
			}
			if g, ok := token.Grant("a", today); ok != c.want || ok && g.Key != "a" || !ok && g != (Grant{}) {
				t.Errorf("%+v, %v", g, ok)
			}
			if _, ok := token.Grant("other", today); !ok {
				t.Error("the other grant is gone")
			}
			for _, key := range []string{"", "A", "b"} {
				if _, ok := token.Grant(key, today); ok {
					t.Errorf("a grant of %q", key)
				}
			}
		})
	}
	// Of a key that is there twice the one that holds counts.
	token, err := v.Verify(platform.sign(platform.header(), with("entitlements",
		raw(`[{"key":"a","expires_at":1},{"key":"a","expires_at":9999999999}]`))), today)
	if err != nil {
		t.Fatal(err)
	}
	if g, ok := token.Grant("a", today); !ok || g.ExpiresAt.Unix() != 9999999999 {
		t.Errorf("%+v, %v", g, ok)
	}
	if !slices.Equal(token.Grants, []Grant{{Key: "a", ExpiresAt: time.Unix(1, 0).UTC()}, {Key: "a", ExpiresAt: time.Unix(9999999999, 0).UTC()}}) {
		t.Errorf("%+v", token.Grants)
	}
}
