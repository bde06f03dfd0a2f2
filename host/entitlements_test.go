package host_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"carl.camp/carl/host"
	"carl.camp/carl/host/camp/standin"
	"carl.camp/carl/host/entitle"
	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/tier"
)

// member is a home of somebody who is logged in to a stand-in of the platform.
type member struct {
	t        *testing.T
	dir      string
	environ  []string
	platform *standin.Server
}

func newMember(t *testing.T, paidFor string) *member {
	t.Helper()
	dir, _ := localHome(t)
	server, err := standin.New(standin.Options{Tier: paidFor})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	url, err := server.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &member{t, dir, []string{"CARL_CAMP_URL=" + url, "CARL_CAMP_TOKEN=" + server.Token()}, server}
}

// declare writes the tier that config.yaml declares.
func (m *member) declare(tier string) {
	m.t.Helper()
	file := filepath.Join(m.dir, "config.yaml")
	config, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(config, "tier: "+tier+"\n"...), 0o600)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) open(o host.Options, with ...host.Option) *host.Host {
	m.t.Helper()
	o.Home, o.Environ = m.dir, m.environ
	return open(m.t, o, with...)
}

// asked is how often the platform was asked for entitlements.
func (m *member) asked() int { return m.platform.Summary().Entitlements }

// gates holds a decision against what is expected, "" for denied with a code.
func gates(t *testing.T, d tier.Decision, by tier.By, code fault.Code) {
	t.Helper()
	if d.Allowed != (code == "") || d.By != by || d.Code != code {
		t.Errorf("%+v, want by %q, code %q", d, by, code)
	}
	if fault.CodeOf(d.Err()) != code {
		t.Errorf("the error of %+v is %v", d, d.Err())
	}
}

// TestGrace walks the ladder of somebody whose config declares nothing.
func TestGrace(t *testing.T) {
	m := newMember(t, "paid")
	var seen []step.Step
	h := m.open(host.Options{OnStep: func(s step.Step) error {
		seen = append(seen, s.Clone())
		return nil
	}})
	gates(t, h.Check(tier.TrainLocal), tier.ByLocal, "")
	gates(t, h.CheckRemote(tier.TrainLocal), tier.ByLocal, "")
	gates(t, h.CheckRemote(tier.TrainManaged), "", fault.GateTierDenied)
	gates(t, h.CheckRemote("no.such"), "", fault.GateUnknownFeature)
	if m.asked() != 0 || len(seen) != 0 {
		t.Fatalf("%d requests, %d steps", m.asked(), len(seen))
	}

	state, err := h.RefreshEntitlements(t.Context())
	if err != nil || state.Status != entitle.Fresh || state.Current().Tier != "paid" {
		t.Fatalf("%+v, %v", state, err)
	}
	gates(t, h.LookRemote(tier.TrainManaged), tier.ByGrace, "")
	gates(t, h.Check(tier.TrainManaged), "", fault.GateTierDenied)
	if len(seen) != 0 {
		t.Errorf("looking recorded %d steps", len(seen))
	}
	gates(t, h.CheckRemote(tier.TrainManaged), tier.ByGrace, "")
	if len(seen) != 1 || seen[0].Action != step.Gate || seen[0].Name != "tier_remote_grace" ||
		!strings.Contains(string(seen[0].Metadata), `"feature":"train.slime.managed"`) || !strings.Contains(string(seen[0].Metadata), `"by":"grace"`) {
		t.Errorf("%+v", seen)
	}
	if got := steps(t, m.dir); !slices.Equal(got, []string{"tier_remote_grace"}) {
		t.Errorf("the spool holds %q", got)
	}

	// The platform is gone, and another program of this user goes on.
	m.platform.Close()
	gates(t, m.open(host.Options{}).CheckRemote(tier.TrainManaged), tier.ByGrace, "")
	state, err = h.RefreshEntitlements(t.Context())
	if fault.CodeOf(err) != fault.EntitlementsNetworkUnavailable || state.Status != entitle.Fresh {
		t.Errorf("%+v, %v", state.Status, err)
	}
	gates(t, h.CheckRemote(tier.TrainManaged), tier.ByGrace, "")

	// Logging out ends it.
	if err := h.ForgetEntitlements(); err != nil {
		t.Fatal(err)
	}
	gates(t, h.CheckRemote(tier.TrainManaged), "", fault.GateTierDenied)
}

// TestMismatch: what config.yaml declares allows at once, and a later call
// heeds what the platform said meanwhile.
func TestMismatch(t *testing.T) {
	m := newMember(t, "free")
	m.declare("paid")
	h := m.open(host.Options{}, host.BackgroundSync())
	gates(t, h.CheckRemote(tier.TrainManaged), tier.ByLocal, "")
	deadline := time.Now().Add(30 * time.Second)
	for h.CheckRemote(tier.TrainManaged).Allowed && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	gates(t, h.CheckRemote(tier.TrainManaged), "", fault.GateTierRemoteMismatch)
	gates(t, h.Check(tier.TrainManaged), tier.ByLocal, "")
	if m.asked() != 1 {
		t.Errorf("the platform was asked %d times", m.asked())
	}

	// It was paid for since.
	if err := m.platform.SetTier("paid"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.RefreshEntitlements(t.Context()); err != nil {
		t.Fatal(err)
	}
	gates(t, h.CheckRemote(tier.TrainManaged), tier.ByLocal, "")
}

// TestRefreshIsLeftToSync: a program without a goroutine for it, such as the
// command, leaves the refresh to the next sync of any process.
func TestRefreshIsLeftToSync(t *testing.T) {
	m := newMember(t, "paid")
	h := m.open(host.Options{})
	if _, err := h.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.Check(tier.TrainManaged); m.asked() != 0 || h.RefreshAsked() {
		t.Errorf("asked %d times, and %v", m.asked(), h.RefreshAsked())
	}
	for range 3 {
		gates(t, h.CheckRemote(tier.TrainManaged), "", fault.GateTierDenied)
	}
	if m.asked() != 0 || !h.RefreshAsked() {
		t.Errorf("asked %d times, and %v", m.asked(), h.RefreshAsked())
	}
	other := m.open(host.Options{})
	if _, err := other.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m.asked() != 1 {
		t.Errorf("asked %d times", m.asked())
	}
	gates(t, other.CheckRemote(tier.TrainManaged), tier.ByGrace, "")
	if other.RefreshAsked() {
		t.Error("a refresh is asked for while the entitlements are fresh")
	}
	if _, err := other.Sync(t.Context()); err != nil || m.asked() != 1 {
		t.Errorf("asked %d times, %v", m.asked(), err)
	}
}

// TestNobodyToAsk: without a login, and offline, nothing is asked for and
// nothing is made.
func TestNobodyToAsk(t *testing.T) {
	m := newMember(t, "paid")
	m.dir = filepath.Join(t.TempDir(), "home")
	out := m.open(host.Options{Offline: true})
	out.CheckRemote(tier.TrainManaged)
	_, err := out.RefreshEntitlements(t.Context())
	if fault.CodeOf(err) != fault.EntitlementsNetworkUnavailable {
		t.Errorf("offline: %v", err)
	}
	m.environ = m.environ[:1]
	nobody := m.open(host.Options{})
	nobody.CheckRemote(tier.TrainManaged)
	if _, err := nobody.RefreshEntitlements(t.Context()); fault.CodeOf(err) != fault.CampUnauthorized {
		t.Errorf("logged out: %v", err)
	}
	if out.RefreshAsked() || nobody.RefreshAsked() || m.asked() != 0 {
		t.Errorf("%v, %v, %d requests", out.RefreshAsked(), nobody.RefreshAsked(), m.asked())
	}
	if _, err := os.Lstat(filepath.Join(m.dir, "cache")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a mark was left: %v", err)
	}
}

// TestLoggedOutIsNoRefusal: that nobody is logged in here is not the platform's
// word, and ends no grace.
func TestLoggedOutIsNoRefusal(t *testing.T) {
	m := newMember(t, "paid")
	if _, err := m.open(host.Options{}).RefreshEntitlements(t.Context()); err != nil {
		t.Fatal(err)
	}
	in := m.environ
	m.environ = in[:1]
	if state, err := m.open(host.Options{}).RefreshEntitlements(t.Context()); fault.CodeOf(err) != fault.CampUnauthorized || state.Status != entitle.Fresh {
		t.Errorf("%v, %v", state.Status, err)
	}
	m.environ = append(in[:1:1], "CARL_CAMP_TOKEN=another")
	if state, err := m.open(host.Options{}).RefreshEntitlements(t.Context()); fault.CodeOf(err) != fault.CampUnauthorized || state.Status != entitle.Expired || state.EndedBy != fault.CampUnauthorized {
		t.Errorf("%v, %v", state.Status, err)
	}
}

// TestOneRefreshAtATime starts many, from many hosts. Those that waited take
// what one of them brought.
func TestOneRefreshAtATime(t *testing.T) {
	m := newMember(t, "paid")
	var mu gosync.Mutex
	var wg gosync.WaitGroup
	var failed []error
	for range 8 {
		h := m.open(host.Options{})
		wg.Go(func() {
			state, err := h.RefreshEntitlements(t.Context())
			if err == nil && state.Status != entitle.Fresh {
				err = errors.New(string(state.Status))
			}
			if err != nil {
				mu.Lock()
				failed = append(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(failed) > 0 {
		t.Errorf("%v", failed)
	}
	if m.platform.Summary().JWKS != 1 {
		t.Errorf("the keys were asked for %d times", m.platform.Summary().JWKS)
	}
}

// TestGateTouchesNoNetwork holds a black hole where the platform should be.
func TestGateTouchesNoNetwork(t *testing.T) {
	m := newMember(t, "paid")
	if _, err := m.open(host.Options{}).RefreshEntitlements(t.Context()); err != nil {
		t.Fatal(err)
	}
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.environ[0] = "CARL_CAMP_URL=http://" + hole.Addr().String()
	h := m.open(host.Options{})
	gates(t, h.CheckRemote(tier.TrainManaged), tier.ByGrace, "")
	gates(t, h.Check(tier.TrainLocal), tier.ByLocal, "")
	h.Entitlements()
	host.Doctor(t.Context(), host.Options{Home: m.dir, Environ: m.environ})
	h.Close()
	// Whoever dialled is in the queue of the listener, which now is asked once.
	hole.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond))
	if conn, err := hole.Accept(); err == nil {
		conn.Close()
		t.Error("somebody dialled")
	}
}

// TestDoctorOnEntitlements holds doctor's rows against what was done.
func TestDoctorOnEntitlements(t *testing.T) {
	m := newMember(t, "paid")
	row := func(name string) home.Check {
		t.Helper()
		d := host.Doctor(t.Context(), host.Options{Home: m.dir, Environ: m.environ})
		i := slices.IndexFunc(d.Checks, func(c home.Check) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("no row %q in %+v", name, d.Checks)
		}
		return d.Checks[i]
	}
	if c := row("entitlements"); c.Status != home.OK || !strings.Contains(c.Detail, "none are cached") {
		t.Errorf("%+v", c)
	}
	h := m.open(host.Options{})
	refresh := func() {
		t.Helper()
		if _, err := h.RefreshEntitlements(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	if c := row("entitlements"); c.Status != home.OK || !strings.Contains(c.Detail, "tier paid, signed with camp-1") {
		t.Errorf("%+v", c)
	}
	if err := m.platform.RotateKeys(standin.AddKey); err != nil {
		t.Fatal(err)
	}
	refresh()
	if c := row("entitlement keys"); c.Status != home.OK || !strings.Contains(c.Detail, "the platform added camp-2") {
		t.Errorf("%+v", c)
	}
	if err := m.platform.IssuedAgo(25 * time.Hour); err != nil {
		t.Fatal(err)
	}
	refresh()
	if c := row("entitlements"); c.Status != home.Warn || !strings.Contains(c.Detail, "count for nothing") || !strings.Contains(c.Fix, "--refresh") {
		t.Errorf("%+v", c)
	}
	if err := os.Remove(filepath.Join(m.dir, "jwks_pin.json")); err != nil {
		t.Fatal(err)
	}
	if c := row("entitlements"); c.Status != home.Fail || !strings.Contains(c.Detail, "jwks_pin.json is missing") {
		t.Errorf("%+v", c)
	}
}
