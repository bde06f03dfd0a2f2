package standin

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

const jwksPath = "/.well-known/carl-camp-jwks.json"

// published is one key of the key set, read by this test's own means.
type published struct{ kid, x, endorsement string }

// public is the key itself; keySet looked at its form.
func (k published) public() ed25519.PublicKey {
	x, _ := base64.RawURLEncoding.DecodeString(k.x)
	return x
}

// jkt is the thumbprint, computed as RFC 7638 words it: the required members,
// sorted, without white space.
func (k published) jkt() string {
	text, err := stdjson.Marshal(map[string]string{"x": k.x, "kty": "OKP", "crv": "Ed25519"})
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func withoutToken(r *http.Request) { r.Header.Del("Authorization") }

// keySet asks for the key set without a token.
func (p *platform) keySet(t testing.TB) []published {
	t.Helper()
	resp, text := p.do(t, "GET", jwksPath, "", "", withoutToken)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the key set: %d %s", resp.StatusCode, text)
	}
	var doc struct {
		Keys []struct {
			KTY, CRV, KID, X, Use, Alg, Endorsement string
		}
	}
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true), json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	var keys []published
	for _, k := range doc.Keys {
		x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize || k.KTY != "OKP" || k.CRV != "Ed25519" || k.Use != "sig" || k.Alg != "EdDSA" || k.KID == "" {
			t.Fatalf("key %+v, %v", k, err)
		}
		keys = append(keys, published{k.KID, k.X, k.Endorsement})
	}
	return keys
}

func kids(keys []published) string {
	var out []string
	for _, k := range keys {
		out = append(out, k.kid)
	}
	return strings.Join(out, " ")
}

// opened is a compact JWS whose signature was verified.
type opened struct{ header, payload string }

// open verifies a compact JWS with one public key, or fails.
func open(jws string, public ed25519.PublicKey) (o opened, ok bool) {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		return o, false
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return o, false
		}
	}
	return opened{string(raw[0]), string(raw[1])}, ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), raw[2])
}

// The example of RFC 8037 appendix A.3, whose key is that of RFC 8032 §7.1, TEST 1.
func TestThumbprint(t *testing.T) {
	seed, err := hex.DecodeString("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	if err != nil {
		t.Fatal(err)
	}
	x := public(seed)
	if x.String() != "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" {
		t.Fatalf("the public key is %s", x)
	}
	if got := thumbprint(x); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("the thumbprint is %s", got)
	}
}

func TestKeySetNeedsNoToken(t *testing.T) {
	p := start(t, Options{})
	_, text := p.do(t, "GET", jwksPath, "", "", withoutToken)
	keys := p.keySet(t)
	want := `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"camp-1","x":"` + keys[0].x + `","use":"sig","alg":"EdDSA"}]}` + "\n"
	if text != want {
		t.Errorf("answered %s, want %s", text, want)
	}
	for name, change := range map[string]func(*http.Request){
		"a wrong token":  func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") },
		"another scheme": func(r *http.Request) { r.Header.Set("Authorization", "Basic x") },
		"the token":      func(*http.Request) {},
	} {
		if resp, _ := p.do(t, "GET", jwksPath, "", "", change); resp.StatusCode != 200 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	if resp, _ := p.do(t, "HEAD", jwksPath, "", "", withoutToken); resp.StatusCode != 200 {
		t.Errorf("HEAD: %d", resp.StatusCode)
	}
	resp, text := p.do(t, "POST", jwksPath, "", "", withoutToken)
	if resp.StatusCode != 405 || refusal(t, text).Code != "method_not_allowed" || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %s", resp.StatusCode, text)
	}
	// Two for the first two looks, three with Authorization fields, and HEAD.
	if s := p.Summary(); s.JWKS != 6 || s.Entitlements != 0 || s.Tokens != 0 {
		t.Errorf("summary %+v", s)
	}
}

// look reads GET /dev/keys, or the answer of a rotation.
func (p *platform) look(t testing.TB, method, path string) (keys []Key, offlineRoot string) {
	t.Helper()
	resp, text := p.do(t, method, path, "", "")
	if resp.StatusCode != 200 {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	var doc struct {
		Keys        []Key  `json:"keys"`
		OfflineRoot string `json:"offline_root"`
		ReceiptKey  string `json:"receipt_key"`
	}
	if err := json.Unmarshal([]byte(text), &doc, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return doc.Keys, doc.OfflineRoot
}

// rotated changes the keys and holds what /dev/keys says against the key set.
func (p *platform) rotated(t testing.TB, how string) []published {
	t.Helper()
	answered, root := p.look(t, "POST", "/dev/keys/"+how)
	looked, rootAgain := p.look(t, "GET", "/dev/keys")
	if !slices.Equal(answered, looked) || !slices.Equal(looked, p.Keys()) || root != rootAgain || root != p.OfflineRoot() {
		t.Fatalf("%s answered %+v, then %+v", how, answered, looked)
	}
	var want []string
	for i, k := range looked {
		if k.Signing != (i == len(looked)-1) || k.Signing && !k.Published {
			t.Errorf("%s: %+v", how, looked)
		}
		if k.Published {
			want = append(want, k.KID+" "+k.JKT)
		}
	}
	var got []string
	set := p.keySet(t)
	for _, k := range set {
		got = append(got, k.kid+" "+k.jkt())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the key set is %q, and /dev/keys says %q", how, got, want)
	}
	return set
}

func TestAddedKeyIsEndorsed(t *testing.T) {
	p := start(t, Options{})
	before := p.keySet(t)
	token := p.entitlements(t).Token
	root := p.OfflineRoot()
	if before[0].endorsement != "" {
		t.Error("the first key is endorsed, and there is nobody to do that")
	}
	for n := 2; n <= 4; n++ {
		set := p.rotated(t, "add")
		last, old := set[len(set)-1], set[len(set)-2]
		if len(set) != n || last.kid != fmt.Sprintf("camp-%d", n) || set[0] != before[0] {
			t.Fatalf("after %d keys the set is %+v", n, set)
		}
		o, ok := open(last.endorsement, old.public())
		if !ok || o.header != fmt.Sprintf(`{"alg":"EdDSA","kid":"%s","typ":"carl-key+jwt"}`, old.kid) ||
			o.payload != fmt.Sprintf(`{"kid":"%s","jkt":"%s"}`, last.kid, last.jkt()) {
			t.Errorf("the endorsement says %+v, verified: %v", o, ok)
		}
		if _, kid := p.verified(t, p.entitlements(t).Token); kid != last.kid {
			t.Errorf("%s signs, after %s was added", kid, last.kid)
		}
		// What was signed before still stands.
		if _, kid := p.verified(t, token); kid != "camp-1" {
			t.Errorf("the first token is by %s", kid)
		}
	}
	if p.OfflineRoot() != root {
		t.Error("a rotation changed the offline root")
	}
}

func TestRetire(t *testing.T) {
	p := start(t, Options{})
	first := p.keySet(t)
	// With one key there is nothing to retire.
	if set := p.rotated(t, "retire"); !slices.Equal(set, first) {
		t.Errorf("the set is %+v", set)
	}
	added := p.rotated(t, "add")
	set := p.rotated(t, "retire")
	if len(set) != 1 || set[0] != added[1] {
		t.Errorf("the set is %+v", set)
	}
	if keys := p.Keys(); len(keys) != 2 || keys[0].Published || keys[0].KID != "camp-1" || keys[0].JKT != first[0].jkt() {
		t.Errorf("keys %+v", keys)
	}
	if set := p.rotated(t, "add"); kids(set) != "camp-2 camp-3" {
		t.Errorf("the set is %s", kids(set))
	}
}

func TestReplace(t *testing.T) {
	p := start(t, Options{})
	p.rotated(t, "add")
	token := p.entitlements(t).Token
	set := p.rotated(t, "replace")
	if kids(set) != "camp-3" || set[0].endorsement != "" {
		t.Errorf("the set is %+v", set)
	}
	if _, ok := open(token, set[0].public()); ok {
		t.Error("a token of before is by the new key")
	}
	if _, kid := p.verified(t, p.entitlements(t).Token); kid != "camp-3" {
		t.Errorf("%s signs", kid)
	}
}

func TestSwap(t *testing.T) {
	p := start(t, Options{})
	before := p.rotated(t, "add")
	token := p.entitlements(t).Token
	set := p.rotated(t, "swap")
	if kids(set) != "camp-1 camp-2" || set[0] != before[0] || set[1].x == before[1].x || set[1].endorsement != "" {
		t.Errorf("the set was %+v, and is %+v", before, set)
	}
	if _, ok := open(token, set[1].public()); ok {
		t.Error("a token of before is by the new key")
	}
	if _, kid := p.verified(t, p.entitlements(t).Token); kid != "camp-2" {
		t.Errorf("%s signs", kid)
	}
	if set := p.rotated(t, "add"); kids(set) != "camp-1 camp-2 camp-3" {
		t.Errorf("the set is %s", kids(set))
	}
}

func TestKeysAreBounded(t *testing.T) {
	p := start(t, Options{})
	for range maxPublished - 1 {
		p.rotated(t, "add")
	}
	for range 2 {
		resp, text := p.do(t, "POST", "/dev/keys/add", "", "")
		if resp.StatusCode != 422 || refusal(t, text).Code != "invalid_value" {
			t.Fatalf("one key too many: %d %s", resp.StatusCode, text)
		}
	}
	if err := p.RotateKeys(AddKey); fault.CodeOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
	if set := p.keySet(t); len(set) != maxPublished {
		t.Fatalf("%d keys are published", len(set))
	}
	for range maxRetired + 5 {
		if err := p.RotateKeys(SwapKey); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.RotateKeys(RetireKeys); err != nil {
		t.Fatal(err)
	}
	keys := p.Keys()
	if len(keys) != maxRetired+1 || keys[len(keys)-1].KID != "camp-16" {
		t.Errorf("%d keys: %+v", len(keys), keys)
	}
	for _, k := range keys[:maxRetired] {
		if k.Published || k.KID != "camp-16" {
			t.Errorf("of the keys that were published once, the oldest are to go first: %+v", keys)
			break
		}
	}
}

func TestRotationsThatAreNone(t *testing.T) {
	p := start(t, Options{})
	before := p.keySet(t)
	for _, how := range []string{"Add", "remove", "add2", "%20add"} {
		resp, text := p.do(t, "POST", "/dev/keys/"+how, "", "")
		if e := refusal(t, text); resp.StatusCode != 422 || !strings.Contains(e.Message, "add, retire, replace and swap") {
			t.Errorf("%q: %d %s", how, resp.StatusCode, text)
		}
	}
	if err := p.RotateKeys(""); fault.CodeOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
	if set := p.keySet(t); !slices.Equal(set, before) {
		t.Errorf("the key set changed to %+v", set)
	}
	st := p.issuer.current().clone()
	st.Keys[0].KID = fmt.Sprint(kidPrefix, maxKID)
	if err := st.rotate(AddKey); err == nil {
		t.Errorf("after the last kid there is %s", st.signing().KID)
	}
}
