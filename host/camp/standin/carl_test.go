package standin

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
)

// asked is a stand-in as carl's own verification asks it.
type asked struct {
	t testing.TB
	p *platform
}

func (a asked) Token(context.Context) (string, error) { return a.p.entitlements(a.t).Token, nil }

func (a asked) Keys(context.Context) ([]byte, error) {
	_, text := a.p.do(a.t, "GET", jwksPath, "", "", withoutToken)
	return []byte(text), nil
}

// TestCarlVerifiesWhatIsSigned holds tokens, key sets, endorsements and
// licences against what carl makes of them.
func TestCarlVerifiesWhatIsSigned(t *testing.T) {
	h := newHand()
	p := start(t, Options{Tier: "paid", Clock: h.clock})
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	root, err := entitle.ParseOfflineRoot(p.OfflineRoot())
	if err != nil {
		t.Fatal(err)
	}
	store := entitle.New(entitle.Options{
		Files:  entitle.Files{Cache: at("cache"), Pin: at("pin"), Clock: at("clock"), Witness: at("witness"), Lock: at("lock"), Refreshing: at("refreshing")},
		URL:    p.url,
		Strict: true,
		// The stand-in's times are by its own clock.
		Clock:       h.clock,
		OfflineRoot: root,
		Lower:       func(tier, than string) bool { return tier == tierFree && than == tierPaid },
	})
	refresh := func() (entitle.State, error) {
		// No key set is asked for twice within five minutes.
		h.pass(10 * time.Minute)
		return store.Refresh(t.Context(), asked{t, p})
	}

	state, err := refresh()
	if err != nil || state.Status != entitle.Fresh || state.Token.Tier != "paid" || state.Token.KeyID != "camp-1" || len(state.Token.Grants) != 1 || state.Token.Grants[0].Key != "train.slime.managed" {
		t.Fatalf("%+v, %v", state, err)
	}
	for _, c := range []struct {
		ago  time.Duration
		want entitle.Status
	}{{16 * time.Minute, entitle.Stale}, {2 * time.Hour, entitle.Grace}, {25 * time.Hour, entitle.Expired}, {0, entitle.Fresh}} {
		p.IssuedAgo(c.ago)
		if state, err := refresh(); err != nil || state.Status != c.want {
			t.Errorf("issued %v ago: %s, %v", c.ago, state.Status, err)
		}
	}
	for i, how := range []Rotation{AddKey, AddKey, RetireKeys, AddKey} {
		if err := p.RotateKeys(how); err != nil {
			t.Fatal(err)
		}
		keys := p.Keys()
		state, err := refresh()
		if err != nil || state.Status != entitle.Fresh || state.Token.KeyID != keys[len(keys)-1].KID {
			t.Errorf("rotation %d, %s: %s, %v", i, how, state.Status, err)
		}
	}
	for query, want := range map[LicenseOptions]fault.Code{
		{Tier: "paid"}:                     "",
		{Tier: "paid", For: -time.Hour}:    fault.EntitlementsLicenseRefused,
		{Tier: "paid", InstallID: "other"}: fault.EntitlementsLicenseRefused,
	} {
		if state, err := store.Import(p.License(query)); fault.CodeOf(err) != want || want == "" && state.License.Tier != "paid" {
			t.Errorf("%+v: %v", query, err)
		}
	}
	for _, how := range []Rotation{SwapKey, ReplaceKeys} {
		if err := p.RotateKeys(how); err != nil {
			t.Fatal(err)
		}
		if _, err := refresh(); fault.CodeOf(err) != fault.EntitlementsJWKSStale {
			t.Errorf("%s: %v", how, err)
		}
	}
}
