package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"platform": platform,
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

// platform starts a stand-in for the rest of the script: platform [faults]. It
// sets CARL_CAMP_URL and PLATFORM_TOKEN, and keeps its data in $WORK/platform.
func platform(ts *testscript.TestScript, neg bool, args []string) {
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
	ts.Setenv("CARL_CAMP_URL", url)
	ts.Setenv("PLATFORM_TOKEN", s.Token())
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
