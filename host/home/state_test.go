package home_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func asides(t *testing.T, h *home.Home) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(h.Paths.Dir, "*.corrupt-*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestConsent(t *testing.T) {
	h := fresh(t)
	state := func(environ ...string) home.ConsentState {
		t.Helper()
		s, err := h.Consent().State(environ)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := state(); s.Granted || s.Epoch != 0 {
		t.Fatalf("consent by default: %+v", s)
	}
	if err := h.Consent().Revoke(home.Telemetry); err != nil {
		t.Fatal(err)
	}
	if s := state(); s.Granted || s.Epoch != 0 || s.RevokedAt.IsZero() {
		t.Fatalf("revoked before it was granted: %+v", s)
	}
	for epoch := uint32(1); epoch <= 3; epoch++ {
		for range 2 { // a second grant changes nothing
			if err := h.Consent().Grant(home.Telemetry); err != nil {
				t.Fatal(err)
			}
		}
		if s := state(); !s.Granted || !s.Stored || s.Epoch != epoch || s.GrantedAt.IsZero() {
			t.Fatalf("granted: %+v, want epoch %d", s, epoch)
		}
		if err := h.Consent().Revoke(home.Telemetry); err != nil {
			t.Fatal(err)
		}
		if s := state(); s.Granted || s.Epoch != epoch {
			t.Fatalf("revoked: %+v, want epoch %d", s, epoch)
		}
	}
	if err := h.Consent().Grant("everything"); fault.CodeOf(err) != fault.ConsentUnknown {
		t.Errorf("%v", err)
	}
	if got := mode(t, h.Paths.Consent); got != 0o600 {
		t.Errorf("mode %04o", got)
	}
}

func TestConsentIsOverridden(t *testing.T) {
	h := fresh(t)
	if err := h.Consent().Grant(home.Telemetry); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ environ, by string }{
		{"", ""},
		{"AXON_FORWARD_DISABLED=1", "AXON_FORWARD_DISABLED"},
		{"DO_NOT_TRACK=1", "DO_NOT_TRACK"},
		{"DO_NOT_TRACK=true", "DO_NOT_TRACK"},
		{"DO_NOT_TRACK=", ""},
		{"DO_NOT_TRACK=0", ""},
		{"DO_NOT_TRACK=false", ""},
		{"AXON_FORWARD_DISABLED=1 DO_NOT_TRACK=1", "AXON_FORWARD_DISABLED"},
		{"AXON_FORWARD_DISABLEDX=1", ""},
	} {
		s, err := h.Consent().State(strings.Fields(c.environ))
		if err != nil || s.OverriddenBy != c.by || s.Granted != (c.by == "") || !s.Stored || s.Epoch != 1 {
			t.Errorf("%q: %+v, %v", c.environ, s, err)
		}
	}
}

// damaged is what every JSON file of the home must refuse.
var damaged = []string{
	"", "nonsense", "[]", "null", "{}", `{"v":0}`, `{"v":"1"}`, `{"v":1.5}`, `{"v":1`, `{"v":1,"v":1}`,
	`{"v":1,"surplus":true}`, `{"v":1} {"v":1}`, "{\"v\":1,\"token\":\"\xff\"}", `{"V":1}`,
	strings.Repeat(" ", 5<<20) + `{"v":1}`,
}

func TestDamagedConsentCountsAsNone(t *testing.T) {
	for i, text := range damaged {
		h := fresh(t)
		put(t, h.Paths.Consent, text)
		s, err := h.Consent().State(nil)
		if err == nil || s.Granted || s.Stored {
			t.Errorf("%d: %+v, %v", i, s, err)
			continue
		}
		if len(text) > 1<<20 { // not read at all
			continue
		}
		if fault.CodeOf(err) != fault.HomeCorrupt || !strings.Contains(err.Error(), "consent counts as not given; the file was left as it is") ||
			!strings.Contains(fault.HintOf(err), "carl consent grant telemetry") {
			t.Errorf("%d: %v, hint %s", i, err, fault.HintOf(err))
		}
		if got := get(t, h.Paths.Consent); got != text {
			t.Errorf("%d: reading changed the file", i)
		}
		if err := h.Consent().Grant(home.Telemetry); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		s, err = h.Consent().State(nil)
		if err != nil || !s.Granted || s.Epoch < 1_600_000_000 {
			t.Errorf("%d: an epoch that may have been used before: %+v, %v", i, s, err)
		}
		if list := asides(t, h); len(list) != 1 || get(t, list[0]) != text {
			t.Errorf("%d: the damaged file was not kept: %v", i, list)
		}
	}
}

func TestRevokingDamagedConsent(t *testing.T) {
	h := fresh(t)
	put(t, h.Paths.Consent, "nonsense")
	if err := h.Consent().Revoke(home.Telemetry); err != nil {
		t.Fatal(err)
	}
	if s, err := h.Consent().State(nil); err != nil || s.Granted || s.RevokedAt.IsZero() {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestFilesOfALaterVersion(t *testing.T) {
	h := fresh(t)
	for _, c := range []struct {
		path string
		read func() error
	}{
		{h.Paths.Consent, func() error { _, err := h.Consent().State(nil); return err }},
		{h.Paths.Consent, func() error { return h.Consent().Grant(home.Telemetry) }},
		{h.Paths.Credentials, func() error { _, err := h.Credentials().Token(nil); return err }},
		{h.Paths.Credentials, func() error { return h.Credentials().SetToken("abc") }},
		{h.Paths.Install, func() error { _, err := h.InstallID(); return err }},
		{h.Paths.Secrets, func() error { _, err := h.Secrets().Get("a", nil); return err }},
		{h.Paths.Secrets, func() error { return h.Secrets().Set("a", "b") }},
	} {
		for text, use := range map[string]string{
			`{"v":2,"carl":"3.1.0","what":["ever"]}`: "use carl 3.1.0 or later",
			`{"v":7}`:                                "use the version of carl that wrote it, or a later one",
			`{"v":2,"carl":"\u001b[31m"}`:            "use the version of carl that wrote it, or a later one",
		} {
			put(t, c.path, text)
			err := c.read()
			if fault.CodeOf(err) != fault.HomeTooNew || !strings.Contains(err.Error(), use) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s: %v", filepath.Base(c.path), err)
			}
			if got := get(t, c.path); got != text {
				t.Errorf("%s was changed", filepath.Base(c.path))
			}
		}
		if err := os.Remove(c.path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCredentials(t *testing.T) {
	h := fresh(t)
	if err := h.Credentials().SetToken("  the-token\r\n"); err != nil {
		t.Fatal(err)
	}
	token, err := h.Credentials().Token(nil)
	if err != nil || token.Value != "the-token" || token.Source != h.Paths.Credentials || token.SavedAt.IsZero() {
		t.Fatalf("%+v, %v", token, err)
	}
	if got := mode(t, h.Paths.Credentials); got != 0o600 {
		t.Errorf("mode %04o", got)
	}
	token, err = h.Credentials().Token([]string{"CARL_CAMP_TOKEN=from-env"})
	if err != nil || token.Value != "from-env" || token.Source != "CARL_CAMP_TOKEN" {
		t.Errorf("%+v, %v", token, err)
	}
	if token, err := h.Credentials().Token([]string{"CARL_CAMP_TOKEN="}); err != nil || token.Value != "the-token" {
		t.Errorf("an empty variable: %+v, %v", token, err)
	}
	if _, err := h.Credentials().Token([]string{"CARL_CAMP_TOKEN=a b"}); fault.CodeOf(err) != fault.CampTokenInvalid || !strings.Contains(fault.HintOf(err), "CARL_CAMP_TOKEN") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", " \n", "aaa bbb", "two\nlines", "tab\there", "ünicode", "nul\x00", strings.Repeat("x", 8<<10+1)} {
		err := h.Credentials().SetToken(bad)
		if fault.CodeOf(err) != fault.CampTokenInvalid || !strings.Contains(err.Error(), "the stored token, if any, was kept") {
			t.Errorf("%.20q: %v", bad, err)
		}
		if bad != "" && strings.TrimSpace(bad) != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("the refusal shows the token: %v", err)
		}
	}
	if token, err := h.Credentials().Token(nil); err != nil || token.Value != "the-token" {
		t.Errorf("a refused token replaced the stored one: %+v, %v", token, err)
	}
	for _, want := range []bool{true, false} {
		if dropped, err := h.Credentials().Drop(); err != nil || dropped != want {
			t.Errorf("%v, %v", dropped, err)
		}
	}
	if token, err := h.Credentials().Token(nil); err != nil || token.Value != "" {
		t.Errorf("%+v, %v", token, err)
	}
}

func TestDamagedCredentials(t *testing.T) {
	const secret = "s3cr3t-in-a-broken-file"
	for i, text := range append(slices.Clone(damaged), `{"v":1,"token":"`+secret+`","x"`, `{"v":1,"token":"`+secret+` "}`, `{"v":1,"token":""}`, `{"v":1,"`+secret+`":1}`) {
		h := fresh(t)
		put(t, h.Paths.Credentials, text)
		token, err := h.Credentials().Token(nil)
		if err == nil || token.Value != "" || strings.Contains(err.Error(), secret) {
			t.Errorf("%d: %+v, %v", i, token, err)
			continue
		}
		if len(text) > 1<<20 {
			continue
		}
		if fault.CodeOf(err) != fault.HomeCorrupt || !strings.Contains(err.Error(), "carl counts as not logged in") || !strings.Contains(fault.HintOf(err), "carl camp login") {
			t.Errorf("%d: %v", i, err)
		}
		if token, err := h.Credentials().Token([]string{"CARL_CAMP_TOKEN=e"}); err != nil || token.Value != "e" {
			t.Errorf("%d: the environment does not need the file: %v", i, err)
		}
		if err := h.Credentials().SetToken("new"); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if token, err := h.Credentials().Token(nil); err != nil || token.Value != "new" {
			t.Errorf("%d: %+v, %v", i, token, err)
		}
		if list := asides(t, h); len(list) != 1 || mode(t, list[0]) != 0o600 {
			t.Errorf("%d: %v", i, list)
		}
	}
}

func TestForeignFilesAreNotRead(t *testing.T) {
	needsModes(t)
	for _, c := range []struct {
		name, want string
		spoil      func(t *testing.T, path string) error
	}{
		{"writable by others", "can be written by others (mode 0666)", func(t *testing.T, path string) error { return os.Chmod(path, 0o666) }},
		{"a symlink", "is a symlink", func(t *testing.T, path string) error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		}},
		{"a folder", "is not a regular file", func(t *testing.T, path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		}},
		{"a FIFO", "is not a regular file", func(t *testing.T, path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return mkfifo(path)
		}},
		{"someone else's", "belongs to another user", func(t *testing.T, path string) error {
			if os.Geteuid() != 0 {
				t.Skip("needs root to give a file away")
			}
			return os.Chown(path, 65534, 65534)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fresh(t)
			if err := h.Credentials().SetToken("the-token"); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(t, h.Paths.Credentials); err != nil {
				t.Fatal(err)
			}
			token, err := h.Credentials().Token(nil)
			if fault.CodeOf(err) != fault.HomeUnusable || token.Value != "" || !strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "" {
				t.Errorf("%+v, %v", token, err)
			}
		})
	}
}

var hex32 = regexp.MustCompile(`^[0-9a-f]{32}$`)

func TestInstallID(t *testing.T) {
	h := fresh(t)
	first, err := h.InstallID()
	if err != nil || !hex32.MatchString(first) {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := h.InstallID(); err != nil || again != first {
		t.Fatalf("%q, %v", again, err)
	}
	for i, text := range append(slices.Clone(damaged[:len(damaged)-1]), `{"v":1,"install_id":"`+strings.ToUpper(first)+`"}`, `{"v":1,"install_id":"12"}`) {
		put(t, h.Paths.Install, text)
		id, err := h.InstallID()
		if err != nil || !hex32.MatchString(id) || id == first {
			t.Errorf("%d: %q, %v", i, id, err)
		}
		if again, err := h.InstallID(); err != nil || again != id {
			t.Errorf("%d: %q, %v", i, again, err)
		}
	}
	if len(asides(t, h)) == 0 {
		t.Error("the damaged files were not kept")
	}
}

func TestInstallIDOfSeveralProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	ids := together(t, 6, "install-id", dir)
	for _, id := range ids {
		if !hex32.MatchString(id) || id != ids[0] {
			t.Fatalf("ids differ: %q", ids)
		}
	}
}

func TestSecrets(t *testing.T) {
	h := fresh(t)
	s := h.Secrets()
	if _, err := s.Get("splunk-token", nil); fault.CodeOf(err) != fault.SecretNotFound || !strings.Contains(err.Error(), "CARL_SECRET_SPLUNK_TOKEN") {
		t.Errorf("%v", err)
	}
	if err := s.Set("splunk-token", "stored value\n"); err != nil {
		t.Fatal(err)
	}
	if err := s.Set("another", "x"); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get("splunk-token", nil); err != nil || v != "stored value" {
		t.Errorf("%q, %v", v, err)
	}
	environ := []string{"CARL_SECRET_SPLUNK_TOKEN=from env"}
	if v, err := s.Get("splunk-token", environ); err != nil || v != "from env" {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := s.Get("splunk-token", []string{"CARL_SECRET_SPLUNK_TOKEN=two\nlines"}); fault.CodeOf(err) != fault.SecretInvalid {
		t.Errorf("%v", err)
	}
	list, err := s.List(environ)
	if err != nil || !slices.Equal(list, []home.SecretInfo{{Name: "another", Source: h.Paths.Secrets}, {Name: "splunk-token", Source: "CARL_SECRET_SPLUNK_TOKEN"}}) {
		t.Errorf("%v, %v", list, err)
	}
	if values, err := s.Values(); err != nil || len(values) != 2 {
		t.Errorf("%v, %v", values, err)
	}
	if got := mode(t, h.Paths.Secrets); got != 0o600 {
		t.Errorf("mode %04o", got)
	}
	if err := s.Remove("another"); err != nil {
		t.Error(err)
	}
	if err := s.Remove("another"); fault.CodeOf(err) != fault.SecretNotFound {
		t.Errorf("%v", err)
	}
	before := get(t, h.Paths.Secrets)
	for _, c := range []struct{ name, value string }{
		{"", "v"}, {"Upper", "v"}, {"under_score", "v"}, {"-x", "v"}, {"a/b", "v"}, {"..", "v"}, {strings.Repeat("a", 65), "v"},
		{"a", ""}, {"a", "\n"}, {"a", "two\nlines"}, {"a", " x"}, {"a", "x\t"}, {"a", "ü"}, {"a", strings.Repeat("x", 8<<10+1)},
		{"camp-token", "v"},
	} {
		err := s.Set(c.name, c.value)
		if fault.CodeOf(err) != fault.SecretInvalid {
			t.Errorf("Set(%.20q, %.20q): %v", c.name, c.value, err)
		}
	}
	if get(t, h.Paths.Secrets) != before {
		t.Error("a refused secret changed the file")
	}
	for i := range 300 {
		if err = s.Set(fmt.Sprintf("n-%d", i), "v"); err != nil {
			break
		}
	}
	if fault.CodeOf(err) != fault.SecretInvalid || !strings.Contains(err.Error(), "256") {
		t.Errorf("secrets without end: %v", err)
	}
}

// Damaged secrets are not replaced: nobody else has them.
func TestDamagedSecretsAreKept(t *testing.T) {
	const secret = "s3cr3t"
	for i, text := range append(slices.Clone(damaged[:len(damaged)-1]), `{"v":1,"secrets":{"A":"`+secret+`"}}`, `{"v":1,"secrets":{"a":"`+secret+`\n"}}`, `{"v":1,"secrets":{"a":"`+secret+`","a":"x"}}`) {
		h := fresh(t)
		put(t, h.Paths.Secrets, text)
		err := h.Secrets().Set("a", "b")
		if fault.CodeOf(err) != fault.HomeCorrupt || strings.Contains(err.Error(), secret) || !strings.Contains(fault.HintOf(err), "carl secret set") {
			t.Errorf("%d: %v", i, err)
		}
		if got := get(t, h.Paths.Secrets); got != text || len(asides(t, h)) != 0 {
			t.Errorf("%d: the file was touched", i)
		}
		if v, err := h.Secrets().Get("a", []string{"CARL_SECRET_A=e"}); err != nil || v != "e" {
			t.Errorf("%d: the environment does not need the file: %v", i, err)
		}
	}
}

func TestSecretsOfSeveralProcesses(t *testing.T) {
	h := fresh(t)
	const processes = 4
	together(t, processes, "secrets", h.Paths.Dir)
	list, err := h.Secrets().List(nil)
	if err != nil || len(list) != processes*10 {
		t.Fatalf("%d of %d secrets are left, %v", len(list), processes*10, err)
	}
}

func TestKilledWritersLoseNothingThatTheyAcknowledged(t *testing.T) {
	h := fresh(t)
	for round := range 8 {
		acknowledged := make(map[string]int)
		for _, line := range killed(t, 1+round*3, "secrets until killed", h.Paths.Dir) {
			var name string
			var i int
			if n, err := fmt.Sscan(line, &name, &i); err != nil || n != 2 {
				t.Fatalf("%q: %v", line, err)
			}
			acknowledged[name] = i
		}
		for name, i := range acknowledged {
			// The one write that was under way may have happened too, and
			// every name has had one value at least.
			v, err := h.Secrets().Get(name, nil)
			if err != nil || v != fmt.Sprintf("value-%d", i) && v != fmt.Sprintf("value-%d", i+100) {
				t.Fatalf("round %d: %s was acknowledged with value-%d and is %q, %v", round, name, i, v, err)
			}
		}
	}
	// The lock of a killed process holds up nobody, and the next writer
	// removes what was left half written.
	if err := h.Secrets().Set("after", "x"); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(h.Paths.Dir, ".carl-tmp-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestConsentOfSeveralProcesses(t *testing.T) {
	h := fresh(t)
	together(t, 3, "consent", h.Paths.Dir)
	s, err := h.Consent().State(nil)
	// Grants of different processes may fall together; each process ends revoked.
	if err != nil || s.Granted || s.Epoch < 10 || s.Epoch > 30 {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestChecks(t *testing.T) {
	needsModes(t)
	row := func(h *home.Home, name string, environ ...string) home.Check {
		t.Helper()
		for _, c := range h.Checks(environ) {
			if c.Name == name {
				return c
			}
		}
		t.Fatalf("no check %q", name)
		return home.Check{}
	}
	h := fresh(t)
	if err := h.Credentials().SetToken("the-token"); err != nil {
		t.Fatal(err)
	}
	if err := h.Consent().Grant(home.Telemetry); err != nil {
		t.Fatal(err)
	}
	if err := h.Secrets().Set("a", "hush-hush"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.InstallID(); err != nil {
		t.Fatal(err)
	}
	for _, c := range h.Checks(nil) {
		if c.Status != home.OK || c.Fix != "" || strings.Contains(c.Detail, "the-token") || strings.Contains(c.Detail, "hush-hush") {
			t.Errorf("%+v", c)
		}
	}
	if c := row(h, "consent", "DO_NOT_TRACK=1"); c.Status != home.Warn || !strings.Contains(c.Detail, "DO_NOT_TRACK") {
		t.Errorf("%+v", c)
	}
	for _, c := range []struct {
		name, want string
		status     home.Status
		spoil      func(h *home.Home) error
	}{
		{"home", "others can look into", home.Warn, func(h *home.Home) error { return os.Chmod(h.Paths.Dir, 0o755) }},
		{"home", "can be written by others", home.Fail, func(h *home.Home) error { return os.Chmod(h.Paths.Dir, 0o777) }},
		{"permissions", "can be read by others (mode 0644)", home.Fail, func(h *home.Home) error { return os.Chmod(h.Paths.Credentials, 0o644) }},
		{"permissions", "can be written by others", home.Fail, func(h *home.Home) error {
			if err := os.Mkdir(h.Paths.Spool, 0o700); err != nil {
				return err
			}
			return os.Chmod(h.Paths.Spool, 0o770)
		}},
		{"permissions", "is a symlink", home.Fail, func(h *home.Home) error { return os.Symlink("/tmp", h.Paths.Spool) }},
		{"config", "config.yaml:1:1: unknown member", home.Fail, func(h *home.Home) error { return os.WriteFile(h.Paths.Config, []byte("teir: free"), 0o600) }},
		{"config", "no destination", home.Warn, func(h *home.Home) error { return os.WriteFile(h.Paths.Config, []byte("destinations: {}"), 0o600) }},
		{"consent", "is damaged", home.Fail, func(h *home.Home) error { return os.WriteFile(h.Paths.Consent, []byte("x"), 0o600) }},
		{"credentials", "is damaged", home.Fail, func(h *home.Home) error { return os.WriteFile(h.Paths.Credentials, []byte("x"), 0o600) }},
		{"credentials", "not logged in", home.Warn, func(h *home.Home) error { _, err := h.Credentials().Drop(); return err }},
		{"install id", "is damaged", home.Fail, func(h *home.Home) error { return os.WriteFile(h.Paths.Install, []byte("x"), 0o600) }},
		{"secrets", "has version 2", home.Fail, func(h *home.Home) error { return os.WriteFile(h.Paths.Secrets, []byte(`{"v":2}`), 0o600) }},
	} {
		h := fresh(t)
		if err := h.Credentials().SetToken("the-token"); err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(h); err != nil {
			t.Fatal(err)
		}
		if got := row(h, c.name); got.Status != c.status || !strings.Contains(got.Detail, c.want) || got.Fix == "" {
			t.Errorf("%s: got %+v, want %s", c.name, got, c.want)
		}
	}
}

func FuzzStateFiles(f *testing.F) {
	for _, seed := range append([]string{
		`{"v":1,"granted":true,"epoch":3,"granted_at":"2026-01-02T03:04:05Z","revoked_at":"2026-01-02T03:04:05Z"}`,
		`{"v":1,"token":"abc","saved_at":"2026-01-02T03:04:05Z"}`,
		`{"v":1,"install_id":"0123456789abcdef0123456789abcdef"}`,
		`{"v":1,"secrets":{"a":"b"}}`, `{"v":2,"carl":"1.0.0"}`,
	}, damaged[:len(damaged)-1]...) {
		f.Add([]byte(seed))
	}
	dir, err := os.MkdirTemp("", "carl-fuzz-")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	h, err := home.Open(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, path := range []string{h.Paths.Consent, h.Paths.Credentials, h.Paths.Secrets} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := h.Consent().State(nil); err != nil && (s.Granted || s.Epoch != 0) {
			t.Fatalf("consent out of a damaged file: %+v", s)
		}
		if token, err := h.Credentials().Token(nil); (err != nil) != (token.Value == "") {
			t.Fatalf("%+v, %v", token, err)
		}
		if values, err := h.Secrets().Values(); err == nil {
			for _, v := range values {
				if v == "" || strings.ContainsAny(v, "\r\n") {
					t.Fatalf("an illegal secret passed: %q", v)
				}
			}
		}
	})
}
