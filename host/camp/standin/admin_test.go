package standin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

// changed makes a change with an empty body, as curl -X POST does.
func (p *platform) changed(t testing.TB, path string) account {
	t.Helper()
	resp, text := p.do(t, "POST", path, "", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %s", path, resp.StatusCode, text)
	}
	var doc account
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return doc
}

func TestChangesAnswerTheNewState(t *testing.T) {
	h := newHand()
	p := start(t, Options{Clock: h.clock})
	now := h.clock().Unix()
	managed := grant{Key: "train.slime.managed", GrantedAt: now}
	other := grant{Key: "x.y_z-1", GrantedAt: now, ExpiresAt: now + 5400}
	for _, c := range []struct {
		path string
		want account
	}{
		{"/dev/tier/paid", account{"paid", "Pro", []grant{managed}, 200, "0s"}},
		{"/dev/tier/paid", account{"paid", "Pro", []grant{managed}, 200, "0s"}},
		{"/dev/grant/x.y_z-1?for=1h30m", account{"paid", "Pro", []grant{managed, other}, 200, "0s"}},
		{"/dev/tier/free", account{"free", "Free", []grant{other}, 200, "0s"}},
		{"/dev/grant/train.slime.managed", account{"free", "Free", []grant{managed, other}, 200, "0s"}},
		{"/dev/revoke/x.y_z-1", account{"free", "Free", []grant{managed}, 200, "0s"}},
		{"/dev/revoke/train.slime.managed", account{"free", "Free", []grant{}, 200, "0s"}},
		{"/dev/entitlements/403", account{"free", "Free", []grant{}, 403, "0s"}},
		{"/dev/issued/24h", account{"free", "Free", []grant{}, 403, "24h0m0s"}},
		{"/dev/entitlements/200", account{"free", "Free", []grant{}, 200, "24h0m0s"}},
		{"/dev/issued/0s", account{"free", "Free", []grant{}, 200, "0s"}},
	} {
		got := p.changed(t, c.path)
		if got.Tier != c.want.Tier || got.TierLabel != c.want.TierLabel || got.Status != c.want.Status || got.IssuedAgo != c.want.IssuedAgo || !slices.Equal(got.Entitlements, c.want.Entitlements) {
			t.Errorf("%s answered %+v, want %+v", c.path, got, c.want)
		}
		if got.Status == 200 {
			// What was answered is what a token says.
			doc := p.entitlements(t)
			claims := p.claims(t, doc.Token)
			ago, err := time.ParseDuration(got.IssuedAgo)
			if err != nil || claims.Tier != got.Tier || !slices.Equal(claims.Entitlements, got.Entitlements) || claims.Iat != now-int64(ago.Seconds()) {
				t.Errorf("%s answered %+v, and the token says %+v", c.path, got, claims)
			}
		}
		if s := p.Summary(); s.Tier != got.Tier {
			t.Errorf("%s: the summary says %q", c.path, s.Tier)
		}
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	p := start(t, Options{Tier: "paid"})
	if err := p.Grant("held", time.Hour); err != nil {
		t.Fatal(err)
	}
	before, keys := p.issuer.account(), p.Keys()
	for _, c := range []struct{ path, legal string }{
		{"/dev/tier/gold", "free and paid"},
		{"/dev/tier/Paid", "free and paid"},
		{"/dev/tier/free?for=1h", "takes no query"},
		{"/dev/grant/Big", "a-z, 0-9"},
		{"/dev/grant/a%20b", "a-z, 0-9"},
		{"/dev/grant/caf%C3%A9", "a-z, 0-9"},
		{"/dev/grant/" + strings.Repeat("x", 129), "1 to 128"},
		{"/dev/grant/x?for=0s", "after 1s"},
		{"/dev/grant/x?for=999ms", "after 1s"},
		{"/dev/grant/x?for=-1h", "after 1s"},
		{"/dev/grant/x?for=", "such as 15m"},
		{"/dev/grant/x?for=soon", "such as 15m"},
		{"/dev/grant/x?for=1", "such as 15m"},
		{"/dev/grant/x?for=87601h", "at most 87600h"},
		{"/dev/grant/x?for=1h&for=2h", "twice"},
		{"/dev/grant/x?until=1h", "it takes for"},
		{"/dev/grant/x?for=%zz", "query"},
		{"/dev/revoke/never-granted", "not granted"},
		{"/dev/revoke/train.slime.managed", "comes with the tier"},
		{"/dev/revoke/held?for=1h", "takes no query"},
		{"/dev/entitlements/ok", "not a status"},
		{"/dev/entitlements/0200", "not a status"},
		{"/dev/entitlements/+402", "not a status"},
		{"/dev/entitlements/204", "400 to 599"},
		{"/dev/entitlements/600", "400 to 599"},
		{"/dev/entitlements/99999999999999999999", "not a status"},
		{"/dev/issued/yesterday", "such as 15m"},
		{"/dev/issued/-1s", "from 0s"},
		{"/dev/issued/87601h", "at most 87600h"},
		{"/dev/issued/9999999999999h", "at most 87600h"},
		{"/dev/keys/add?n=2", "takes no query"},
		{"/dev/license?tier=gold", "free and paid"},
		{"/dev/license?tier=", "free and paid"},
		{"/dev/license?for=forever", "such as 15m"},
		{"/dev/license?for=87601h", "at most 87600h"},
		{"/dev/license?issued=today", "such as 15m"},
		{"/dev/license?issued=-2h&for=1h", "before it was issued"},
		{"/dev/license?issued=-1h&for=1h", "before it was issued"},
		{"/dev/license?install_id=", "32 lowercase hex"},
		{"/dev/license?install_id=4BE0643F4BE0643F4BE0643F4BE0643F", "32 lowercase hex"},
		{"/dev/license?install=x", "tier, for, issued, install_id"},
	} {
		resp, text := p.do(t, "POST", c.path, "", "")
		if e := refusal(t, text); resp.StatusCode != 422 || e.Code != "invalid_value" || !strings.Contains(e.Message, c.legal) {
			t.Errorf("%s: %d %s, want a refusal that says %q", c.path, resp.StatusCode, text, c.legal)
		}
	}
	for _, path := range []string{"/dev/tier/free", "/dev/grant/x", "/dev/revoke/held", "/dev/entitlements/402", "/dev/issued/1h", "/dev/keys/add", "/dev/license"} {
		resp, text := p.do(t, "POST", path, "application/json", `{}`)
		if e := refusal(t, text); resp.StatusCode != 422 || !strings.Contains(e.Message, "no body") {
			t.Errorf("%s with a body: %d %s", path, resp.StatusCode, text)
		}
		if resp, _ := p.do(t, "POST", path, "", "", withoutToken); resp.StatusCode != 401 {
			t.Errorf("%s without the token: %d", path, resp.StatusCode)
		}
		if resp, text := p.do(t, "PUT", path, "", ""); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
			t.Errorf("PUT %s: %d %s", path, resp.StatusCode, text)
		}
	}
	for path, want := range map[string]int{"/dev/tier": 404, "/dev/tier/": 404, "/dev/tier/a/b": 404, "/dev/grant/": 404, "/dev/license/x": 404} {
		if resp, text := p.do(t, "POST", path, "", ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	if after := p.issuer.account(); fmt.Sprint(after) != fmt.Sprint(before) || !slices.Equal(p.Keys(), keys) {
		t.Errorf("what was refused changed %+v to %+v", before, after)
	}
}

func TestChangesFromGoAreChecked(t *testing.T) {
	p := start(t, Options{})
	for name, err := range map[string]error{
		"tier":          p.SetTier("gold"),
		"no tier":       p.SetTier(""),
		"key":           p.Grant("A", 0),
		"no key":        p.Grant("", 0),
		"ended":         p.Grant("a", -time.Hour),
		"at once":       p.Grant("a", time.Millisecond),
		"far":           p.Grant("a", maxSpan+1),
		"not granted":   p.Revoke("a"),
		"status":        p.AnswerEntitlements(302),
		"in the future": p.IssuedAgo(-time.Hour),
		"rotation":      p.RotateKeys("turn"),
	} {
		if fault.CodeOf(err) != fault.Usage || !strings.HasPrefix(err.Error(), "stand-in: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGrantsAreBounded(t *testing.T) {
	h := newHand()
	p := start(t, Options{Clock: h.clock})
	for i := range maxGrants {
		if err := p.Grant(fmt.Sprintf("g.%02d", i), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if resp, text := p.do(t, "POST", "/dev/grant/one.more", "", ""); resp.StatusCode != 422 || !strings.Contains(text, "64 grants") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	// One that is there can be replaced, and those that have ended make room.
	p.changed(t, "/dev/grant/g.00")
	if n := len(p.claims(t, p.entitlements(t).Token).Entitlements); n != maxGrants {
		t.Errorf("%d grants", n)
	}
	h.pass(time.Hour)
	if got := p.changed(t, "/dev/grant/one.more").Entitlements; len(got) != 2 {
		t.Errorf("granted are %+v", got)
	}

	long := start(t, Options{Issuer: "https://" + strings.Repeat("i", maxIssuer-len("https://"))})
	n := 0
	for ; n < maxGrants; n++ {
		if err := long.Grant(fmt.Sprintf("%0128d", n), time.Hour); err != nil {
			if fault.CodeOf(err) != fault.Usage {
				t.Fatal(err)
			}
			break
		}
	}
	if n == maxGrants || n < 10 {
		t.Errorf("%d grants with long keys fit", n)
	}
	long.SetTier("paid")
	long.entitlements(t) // holds the token to its bound
	if l := long.License(LicenseOptions{Tier: "paid", InstallID: strings.Repeat("a", 32)}); len(l) > 8<<10 {
		t.Errorf("a licence of %d bytes", len(l))
	}
}

// The calls work as curl sends them: with an empty body, with or without its length.
func TestChangesTakeWhatCurlSends(t *testing.T) {
	p := start(t, Options{})
	for name, change := range map[string]func(*http.Request){
		"no body":      func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 },
		"empty chunks": func(r *http.Request) { r.ContentLength = -1 },
		"a form":       func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") },
	} {
		if resp, text := p.do(t, "POST", "/dev/tier/paid", "", "", change); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
}
