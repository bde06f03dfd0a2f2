package standin

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

const entitlementsPath = "/api/platform/entitlements"

// hand is a clock that is set by hand.
type hand struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func newHand() *hand { return &hand{now: time.Date(2026, 11, 23, 1, 2, 3, 456, time.UTC)} }

func (h *hand) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hand) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// entitlements asks for the entitlements, which must be answered.
func (p *platform) entitlements(t testing.TB) entitlements {
	t.Helper()
	resp, text := p.do(t, "GET", entitlementsPath, "", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the entitlements: %d %s", resp.StatusCode, text)
	}
	var doc entitlements
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if !doc.OK || doc.ExpiresIn != 900 || len(doc.Token) > 8<<10 {
		t.Fatalf("the entitlements: %s", text)
	}
	return doc
}

// verified verifies a token with the one key of the key set that it names.
func (p *platform) verified(t testing.TB, token string) (payload, kid string) {
	t.Helper()
	for _, k := range p.keySet(t) {
		if o, ok := open(token, k.public()); ok {
			if want := `{"alg":"EdDSA","kid":"` + k.kid + `","typ":"JWT"}`; o.header != want {
				t.Fatalf("the header is %s, want %s", o.header, want)
			}
			return o.payload, k.kid
		}
	}
	t.Fatalf("no published key verifies %s", token)
	return "", ""
}

// claims verifies a token and reads its claims, and nothing else.
func (p *platform) claims(t testing.TB, token string) claims {
	t.Helper()
	payload, _ := p.verified(t, token)
	return readClaims(t, payload)
}

func readClaims(t testing.TB, payload string) claims {
	t.Helper()
	var c claims
	if err := json.Unmarshal([]byte(payload), &c, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v in %s", err, payload)
	}
	return c
}

func TestEntitlements(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	since := h.clock().Unix()
	h.pass(time.Hour)
	doc := p.entitlements(t)
	if doc.Tier != "paid" || doc.TierLabel != "Pro" {
		t.Errorf("the envelope says %+v", doc)
	}
	payload, _ := p.verified(t, doc.Token)
	c := readClaims(t, payload)
	now := h.clock().Unix()
	want := fmt.Sprintf(`{"iss":"https://carl.camp","aud":"carl","sub":"acct-standin","jti":"%s","iat":%d,"nbf":%d,"exp":%d,"tier":"paid","tier_label":"Pro",`+
		`"entitlements":[{"key":"train.slime.managed","granted_at":%d}]}`, c.Jti, now, now, now+900, since)
	if payload != want {
		t.Errorf("the claims are %s, want %s", payload, want)
	}
	seen := map[string]bool{c.Jti: true}
	for range 20 {
		again := p.claims(t, p.entitlements(t).Token)
		if seen[again.Jti] || again.Jti == "" {
			t.Fatalf("the jti %q is there twice", again.Jti)
		}
		seen[again.Jti] = true
	}
	if s := p.Summary(); s.Entitlements != 21 || s.Tokens != 21 || s.Tier != "paid" {
		t.Errorf("summary %+v", s)
	}
}

func TestFreeTierIsGrantedNothing(t *testing.T) {
	p := start(t, Options{})
	doc := p.entitlements(t)
	payload, _ := p.verified(t, doc.Token)
	if c := readClaims(t, payload); doc.Tier != "free" || doc.TierLabel != "Free" || c.Tier != "free" || c.TierLabel != "Free" || !strings.HasSuffix(payload, `"entitlements":[]}`) {
		t.Errorf("%+v: %s", doc, payload)
	}
}

func TestIssuerOption(t *testing.T) {
	p := start(t, Options{Issuer: "http://127.0.0.1:8080"})
	if c := p.claims(t, p.entitlements(t).Token); c.Iss != "http://127.0.0.1:8080" {
		t.Errorf("iss is %q", c.Iss)
	}
	o, _ := open(p.License(LicenseOptions{}), unb64(t, p.OfflineRoot()))
	if c := readClaims(t, o.payload); c.Iss != "http://127.0.0.1:8080" {
		t.Errorf("iss of a licence is %q", c.Iss)
	}
	for _, iss := range []string{"two words", "https://caf\u00e9", "x\n", strings.Repeat("x", 257)} {
		if _, err := New(Options{Issuer: iss}); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", iss, err)
		}
	}
}

func TestTierOption(t *testing.T) {
	for _, tier := range []string{"gold", "Paid", "free ", "pro"} {
		if _, err := New(Options{Tier: tier}); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "free and paid") {
			t.Errorf("%q: %v", tier, err)
		}
	}
	for _, tier := range Tiers() {
		if s := start(t, Options{Tier: tier}).Summary(); s.Tier != tier {
			t.Errorf("%q: %+v", tier, s)
		}
	}
}

func TestEntitlementsNeedTheToken(t *testing.T) {
	p := start(t, Options{})
	resp, text := p.do(t, "GET", entitlementsPath, "", "", withoutToken)
	if resp.StatusCode != 401 || refusal(t, text).Code != "unauthorized" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if s := p.Summary(); s.Entitlements != 1 || s.Tokens != 0 {
		t.Errorf("summary %+v", s)
	}
	if resp, _ := p.do(t, "POST", entitlementsPath, "", ""); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func grantsOf(c claims) string {
	var out []string
	for _, g := range c.Entitlements {
		out = append(out, g.Key)
	}
	return strings.Join(out, " ")
}

func TestGrantsEnd(t *testing.T) {
	h := newHand()
	p := start(t, Options{Clock: h.clock})
	at := h.clock().Unix()
	for key, ends := range map[string]time.Duration{"b.hour": time.Hour, "a.good": 0, "c.minute": time.Minute} {
		if err := p.Grant(key, ends); err != nil {
			t.Fatal(err)
		}
	}
	payload, _ := p.verified(t, p.entitlements(t).Token)
	want := fmt.Sprintf(`"entitlements":[{"key":"a.good","granted_at":%d},{"key":"b.hour","granted_at":%[1]d,"expires_at":%[2]d},{"key":"c.minute","granted_at":%[1]d,"expires_at":%[3]d}]}`, at, at+3600, at+60)
	if !strings.HasSuffix(payload, want) {
		t.Errorf("the claims are %s, want %s at their end", payload, want)
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{59 * time.Second, "a.good b.hour c.minute"}, {time.Second, "a.good b.hour"}, {time.Hour, "a.good"}} {
		h.pass(c.after)
		if got := grantsOf(p.claims(t, p.entitlements(t).Token)); got != c.want {
			t.Errorf("granted are %q, want %q", got, c.want)
		}
	}
	if err := p.Revoke("b.hour"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("what has ended was revoked: %v", err)
	}
}

// A grant of one's own stands before what the tier brings, and the tier's is
// there again after it.
func TestGrantBesideTheTier(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	ends := func() int64 {
		t.Helper()
		c := p.claims(t, p.entitlements(t).Token)
		if grantsOf(c) != "train.slime.managed" {
			t.Fatalf("granted are %q", grantsOf(c))
		}
		return c.Entitlements[0].ExpiresAt
	}
	if err := p.Revoke(paidBrings); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "comes with the tier") {
		t.Errorf("what the tier brings was revoked: %v", err)
	}
	for range 2 {
		if err := p.Grant(paidBrings, time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := ends(); got != h.clock().Unix()+3600 {
			t.Errorf("it ends at %d", got)
		}
		h.pass(time.Minute)
	}
	if err := p.Revoke(paidBrings); err != nil || ends() != 0 {
		t.Errorf("after it was revoked: %v", err)
	}
	if err := p.Grant(paidBrings, time.Hour); err != nil {
		t.Fatal(err)
	}
	h.pass(time.Hour)
	if ends() != 0 {
		t.Error("after it ended, the tier's is not there")
	}
}

func TestTierIsGrantedFromItsDayOn(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	first := h.clock().Unix()
	granted := func() int64 {
		t.Helper()
		return p.claims(t, p.entitlements(t).Token).Entitlements[0].GrantedAt
	}
	h.pass(time.Hour)
	p.SetTier("paid")
	if granted() != first {
		t.Error("a tier that stays begins anew")
	}
	p.SetTier("free")
	h.pass(time.Hour)
	p.SetTier("paid")
	if granted() != h.clock().Unix() {
		t.Error("a tier that comes back began before that")
	}
}

func TestIssuedAgo(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	now := h.clock().Unix()
	for _, ago := range []time.Duration{15 * time.Minute, time.Hour, 25 * time.Hour, 0} {
		if err := p.IssuedAgo(ago); err != nil {
			t.Fatal(err)
		}
		c := p.claims(t, p.entitlements(t).Token)
		then := now - int64(ago.Seconds())
		if c.Iat != then || c.Nbf != then || c.Exp != now+900 || c.Entitlements[0].GrantedAt != then {
			t.Errorf("%v: %+v", ago, c)
		}
	}
	for _, d := range []time.Duration{-1, maxSpan + 1} {
		if err := p.IssuedAgo(d); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%v: %v", d, err)
		}
	}
}

func TestEntitlementsAnswerWhatWasAskedFor(t *testing.T) {
	p := start(t, Options{RetryAfter: 7 * time.Second})
	for _, status := range []int{400, 401, 402, 403, 429, 500, 503, 599} {
		if err := p.AnswerEntitlements(status); err != nil {
			t.Fatal(err)
		}
		resp, text := p.do(t, "GET", entitlementsPath, "", "")
		refusal(t, text)
		if resp.StatusCode != status || strings.Contains(text, "token\":") {
			t.Errorf("%d: %d %s", status, resp.StatusCode, text)
		}
		if got := resp.Header.Get("Retry-After"); (got == "7") != (status == 429 || status == 503) {
			t.Errorf("%d: Retry-After %q", status, got)
		}
		if got := resp.Header.Get("Www-Authenticate"); (got != "") != (status == 401) {
			t.Errorf("%d: Www-Authenticate %q", status, got)
		}
		// Nothing else is meant.
		p.keySet(t)
		p.post(t, batch())
	}
	if err := p.AnswerEntitlements(200); err != nil {
		t.Fatal(err)
	}
	p.entitlements(t)
	if s := p.Summary(); s.Entitlements != 9 || s.Tokens != 1 || len(s.Faults) != 0 {
		t.Errorf("summary %+v", s)
	}
	for _, status := range []int{0, -1, 199, 201, 204, 302, 399, 600} {
		if err := p.AnswerEntitlements(status); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// Faults meet the key set and the entitlements as they meet every call of the
// platform, and the calls under /dev/ never.
func TestFaultsOfKeysAndEntitlements(t *testing.T) {
	for _, path := range []string{jwksPath, entitlementsPath} {
		tokens := 0
		if path == entitlementsPath {
			tokens = 1
		}
		for name, want := range map[string]int{"503": 503, "402": 402, "slow": 200} {
			p := start(t, Options{Faults: mustFaults(t, name+":1"), Slow: time.Millisecond})
			if resp, text := p.do(t, "GET", path, "", ""); resp.StatusCode != want {
				t.Errorf("%s %s: %d %s", path, name, resp.StatusCode, text)
			}
			signed := 0
			if want == 200 {
				signed = tokens
			}
			if s := p.Summary(); s.Faults[name] != 1 || s.Tokens != signed || s.Entitlements+s.JWKS != 1 {
				t.Errorf("%s %s: %+v", path, name, s)
			}
			if keys, _ := p.look(t, "POST", "/dev/keys/add"); len(keys) != 2 {
				t.Errorf("keys %+v", keys)
			}
		}
		for name, signed := range map[string]int{"reset": 0, "lost": tokens} {
			p := start(t, Options{Faults: mustFaults(t, name+":1")})
			if resp, _, err := p.try("GET", path, "", ""); err == nil {
				t.Errorf("%s %s: answered %d", path, name, resp.StatusCode)
			}
			if s := p.Summary(); s.Tokens != signed {
				t.Errorf("%s %s: %+v", path, name, s)
			}
		}
	}
	p := start(t, Options{Faults: mustFaults(t, "500:1")})
	if resp, _ := p.do(t, "GET", jwksPath, "", "", withoutToken); resp.StatusCode != 500 {
		t.Errorf("the key set without a token: %d", resp.StatusCode)
	}
	if resp, _ := p.do(t, "GET", entitlementsPath, "", "", withoutToken); resp.StatusCode != 401 || p.draws.drawn() != 1 {
		t.Errorf("the entitlements without a token: %d, after %d draws", resp.StatusCode, p.draws.drawn())
	}
}

func TestLiesOfKeysAndEntitlements(t *testing.T) {
	for _, path := range []string{jwksPath, entitlementsPath} {
		kinds := map[string]bool{}
		for seed := uint64(1); seed < 40; seed++ {
			p := start(t, Options{Faults: mustFaults(t, "lie:1"), Seed: seed})
			resp, text := p.do(t, "GET", path, "", "")
			var doc map[string]any
			err := json.Unmarshal([]byte(text), &doc)
			switch {
			case resp.StatusCode == 204 && text == "":
				kinds["empty"] = true
			case resp.StatusCode != 200:
				t.Errorf("answered %d", resp.StatusCode)
			case strings.HasPrefix(text, "<"):
				kinds["not JSON"] = true
			case err != nil:
				kinds["cut off"] = true
			case len(text) > endless:
				kinds["endless"] = true
			default:
				t.Errorf("an answer that looks honest: %s", text)
			}
			p.Close()
		}
		want := []string{"cut off", "empty", "endless", "not JSON"}
		if got := slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
			t.Errorf("%s: lies that were told: %v, want %v", path, got, want)
		}
	}
}

// Many ask while others change everything: each answer is one that was true at
// some moment.
func TestEntitlementsWhileTheyChange(t *testing.T) {
	p := start(t, Options{})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 10 {
				resp, text, err := p.try("GET", entitlementsPath, "", "")
				if err != nil {
					t.Error(err)
					return
				}
				if resp.StatusCode == 402 {
					continue
				}
				var doc entitlements
				if err := json.Unmarshal([]byte(text), &doc); err != nil || resp.StatusCode != 200 {
					t.Errorf("%d %s", resp.StatusCode, text)
					return
				}
				// The key may be gone from the set by now, and is in the list.
				found := false
				for _, k := range p.issuer.current().Keys {
					o, ok := open(doc.Token, []byte(k.X))
					if found = found || ok; ok {
						if c := readClaims(t, o.payload); c.Tier != doc.Tier || c.TierLabel != doc.TierLabel {
							t.Errorf("the envelope says %+v, the token %+v", doc, c)
						}
					}
				}
				if !found {
					t.Error("no key verifies a token")
				}
			}
		})
		wg.Go(func() {
			for i := range 3 {
				for _, path := range []string{
					"/dev/tier/" + Tiers()[i%2], fmt.Sprintf("/dev/grant/g.%d.%d", n, i), "/dev/issued/1h", "/dev/issued/0s", "/dev/license",
					"/dev/entitlements/402", "/dev/entitlements/200", "/dev/keys/" + []string{"add", "retire", "swap"}[i],
				} {
					if resp, text, err := p.try("POST", path, "", ""); err != nil || resp.StatusCode != http.StatusOK {
						t.Errorf("%s: %v, %v %s", path, err, resp, text)
					}
				}
				p.Keys()
				p.Summary()
				p.License(LicenseOptions{})
			}
		})
	}
	wg.Wait()
	if got := len(p.issuer.account().Entitlements); got < 12 {
		t.Errorf("%d grants of 12", got)
	}
}
