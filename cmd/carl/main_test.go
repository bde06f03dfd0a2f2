package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"carl.camp/carl/host/camp/standin"
	"carl.camp/carl/plugins"
)

// testdata is the folder of fixtures; scripts run elsewhere.
var testdata = func() string {
	dir, err := filepath.Abs("testdata")
	if err != nil {
		panic(err)
	}
	return dir
}()

// asCommand in the environment makes the test binary the real command.
const asCommand = "CARL_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"carl": main})
}

// requireBundled fails a test that needs the bundled plugins in a build that
// lacks them: to skip would be to pass.
func requireBundled(t *testing.T) {
	t.Helper()
	for _, b := range plugins.Manifests() {
		if !plugins.Has(b.Name) {
			t.Fatalf("%s is not built: run `make plugins` first", b.Name)
		}
	}
}

// TestScripts runs every script of testdata/script with the real command.
func TestScripts(t *testing.T) {
	requireBundled(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("CARL_HOME", home)
			env.Setenv("CARL_BACKGROUND", "off")
			env.Setenv("HOME", filepath.Join(env.WorkDir, "user"))
			env.Setenv("VERIFY_LEDGER", filepath.Join(testdata, "..", "..", "..", "examples", "verify-ledger", "verify.mjs"))
			env.Values[platformKey{}] = new(*standin.Server)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"platform": platform,
			"dev":      dev,
			"jkt":      jkt,
			"requests": requests,
			"runs":     runs,
			"failing":  failing,
			"lines":    lines,
			"wat":      wat,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// wat assembles a module: wat SOURCE TARGET. A source that the script does not
// hold is one of testdata.
func wat(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: wat SOURCE TARGET")
	}
	source := ts.MkAbs(args[0])
	if _, err := os.Stat(source); err != nil {
		source = filepath.Join(testdata, args[0])
	}
	out, err := exec.Command("wat2wasm", source, "-o", ts.MkAbs(args[1])).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		ts.Fatalf("wat2wasm is missing: apt-get install wabt")
	}
	if err != nil {
		ts.Fatalf("wat2wasm: %v\n%s", err, out)
	}
}

// platformKey is where a script's stand-in is among its values.
type platformKey struct{}

func current(ts *testscript.TestScript) *standin.Server {
	s := *ts.Value(platformKey{}).(**standin.Server)
	if s == nil {
		ts.Fatalf("no platform was started")
	}
	return s
}

// platform starts a stand-in for the rest of the script: platform [faults]. It
// sets CARL_CAMP_URL and PLATFORM_TOKEN, and keeps its data in $WORK/platform.
// `! platform` stops it.
func platform(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Check(current(ts).Close())
		return
	}
	o := standin.Options{DataDir: ts.MkAbs("platform"), Token: "dev-" + strings.Repeat("t", 30), Seed: 1, Slow: 10 * time.Millisecond}
	if len(args) > 0 {
		f, err := standin.ParseFaults(args[0])
		ts.Check(err)
		o.Faults = f
	}
	s, err := standin.New(o)
	ts.Check(err)
	url, err := s.Start("127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	*ts.Value(platformKey{}).(**standin.Server) = s
	ts.Setenv("CARL_CAMP_URL", url)
	ts.Setenv("PLATFORM_TOKEN", s.Token())
}

// dev makes one of the stand-in's admin calls, as curl would: dev PATH [FILE].
// The answer goes to the file.
func dev(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: dev PATH [FILE]")
	}
	req, err := http.NewRequest("POST", ts.Getenv("CARL_CAMP_URL")+"/dev/"+args[0], nil)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+ts.Getenv("PLATFORM_TOKEN"))
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if (resp.StatusCode == 200) == neg {
		ts.Fatalf("dev %s: %s: %s", args[0], resp.Status, body)
	}
	if len(args) == 2 {
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), body, 0o600))
	}
}

// jkt sets variables to the thumbprint of the stand-in's signing key, and to
// its offline root key: jkt JKT [ROOT]
func jkt(ts *testscript.TestScript, neg bool, args []string) {
	for _, k := range current(ts).Keys() {
		if k.Signing {
			ts.Setenv(args[0], k.JKT)
		}
	}
	if len(args) > 1 {
		ts.Setenv(args[1], current(ts).OfflineRoot())
	}
}

// requests checks how many requests for entitlements and for keys the stand-in
// has answered: requests ENTITLEMENTS KEYS
func requests(ts *testscript.TestScript, neg bool, args []string) {
	s := current(ts).Summary()
	if got := []string{fmt.Sprint(s.Entitlements), fmt.Sprint(s.JWKS)}; slices.Equal(got, args) == neg {
		ts.Fatalf("the platform answered %v", got)
	}
}

// runs checks how many training runs the stand-in has: runs N
func runs(ts *testscript.TestScript, neg bool, args []string) {
	if got := fmt.Sprint(len(current(ts).Runs())); (got == args[0]) == neg {
		ts.Fatalf("the platform has %s runs", got)
	}
}

// failing ends the run of a JSON file, as carl printed it, for want of memory.
func failing(ts *testscript.TestScript, neg bool, args []string) {
	_, id, _ := strings.Cut(ts.ReadFile(args[0]), `"run_id":"`)
	ts.Check(current(ts).SetRunState(id[:36], "failed", "out of memory"))
}

// lines checks how many lines a file has: lines FILE N
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	n := strings.Count(ts.ReadFile(args[0]), "\n")
	if (fmt.Sprint(n) == args[1]) == neg {
		ts.Fatalf("%s has %d lines", args[0], n)
	}
}
