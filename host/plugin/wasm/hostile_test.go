package wasm

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/plugin/wasm/internal/wat"
	"carl.camp/carl/host/step"
	"carl.camp/carl/host/world"
)

// none is the code of a guest that harms nobody but itself.
const none fault.Code = ""

// hostile says, for each file of testdata/hostile, what becomes of it, and
// words of the message. The beginning of a file's name says where it is
// stopped: what begins with load is never instantiated.
var hostile = map[string]struct {
	code  fault.Code
	words string
}{
	"load-import-http.wat":        {fault.PluginBadModule, `"carl:plugin/http@0.1.0" "send"`},
	"load-import-files.wat":       {fault.PluginBadModule, `"carl:plugin/files@0.1.0" "append"`},
	"load-import-env.wat":         {fault.PluginBadModule, `"env" "system"`},
	"load-import-field.wat":       {fault.PluginBadModule, `"carl:plugin/log@0.1.0" "read"`},
	"load-import-version.wat":     {fault.PluginBadModule, `"carl:plugin/log@0.2.0" "write"`},
	"load-import-type.wat":        {fault.PluginBadModule, "(i32 i32) -> ()"},
	"load-import-result.wat":      {fault.PluginBadModule, "(i32) -> (i32)"},
	"load-import-global.wat":      {fault.PluginBadModule, "a global"},
	"load-import-table.wat":       {fault.PluginBadModule, "a table"},
	"load-import-memory.wat":      {fault.PluginBadModule, "a memory"},
	"load-import-meter.wat":       {fault.PluginBadModule, "carl:meter"},
	"load-export-meter.wat":       {fault.PluginBadModule, "carl:meter/state"},
	"load-no-memory.wat":          {fault.PluginBadModule, `"memory"`},
	"load-memory-is-function.wat": {fault.PluginBadModule, `"memory"`},
	"load-no-realloc.wat":         {fault.PluginBadModule, `"cabi_realloc"`},
	"load-realloc-type.wat":       {fault.PluginBadModule, `"cabi_realloc"`},
	"load-no-function.wat":        {fault.PluginBadModule, "map-steps"},
	"load-function-type.wat":      {fault.PluginBadModule, "map-steps"},
	"load-function-is-global.wat": {fault.PluginBadModule, "map-steps"},
	"load-other-world.wat":        {fault.PluginBadModule, "map-steps"},
	"load-post-type.wat":          {fault.PluginBadModule, "cabi_post_"},
	"load-initialize-type.wat":    {fault.PluginBadModule, "_initialize"},
	"load-memory-too-large.wat":   {fault.PluginBadModule, "4096 pages"},
	"load-memory-shared.wat":      {fault.PluginBadModule, ""},
	"load-memory-two.wat":         {fault.PluginBadModule, ""},
	"load-table-huge.wat":         {fault.PluginBadModule, ""},
	"load-tables.wat":             {fault.PluginBadModule, ""},
	"load-tail-call.wat":          {fault.PluginBadModule, ""},
	"load-nesting.wat":            {fault.PluginBadModule, ""},
	"load-locals.hex":             {fault.PluginBadModule, "locals"},
	"load-locals-sum.hex":         {fault.PluginBadModule, "locals"},
	"load-counts.hex":             {fault.PluginBadModule, ""},
	"load-functions.hex":          {fault.PluginBadModule, ""},
	"load-section-cut.hex":        {fault.PluginBadModule, ""},
	"load-not-typed.hex":          {fault.PluginBadModule, "does not compile"},
	"load-component.hex":          {fault.PluginBadModule, "is a component"},
	"load-nothing.hex":            {fault.PluginBadModule, ""},
	"load-text.hex":               {fault.PluginBadModule, ""},

	"fuel-loop.wat":           {fault.PluginFuelExhausted, ""},
	"fuel-loop-memory.wat":    {fault.PluginFuelExhausted, ""},
	"fuel-loop-branches.wat":  {fault.PluginFuelExhausted, ""},
	"fuel-calls.wat":          {fault.PluginFuelExhausted, ""},
	"fuel-calls-indirect.wat": {fault.PluginFuelExhausted, ""},
	"fuel-fill.wat":           {fault.PluginFuelExhausted, ""},
	"fuel-copy.wat":           {fault.PluginFuelExhausted, ""},
	"fuel-table-fill.wat":     {fault.PluginFuelExhausted, ""},
	"fuel-grow.wat":           {fault.PluginFuelExhausted, ""},
	"fuel-realloc.wat":        {fault.PluginFuelExhausted, ""},
	"fuel-post.wat":           {fault.PluginFuelExhausted, ""},
	"fuel-start.wat":          {fault.PluginFuelExhausted, ""},
	"fuel-initialize.wat":     {fault.PluginFuelExhausted, ""},
	"fuel-log.wat":            {fault.PluginFuelExhausted, ""},
	"fuel-log-empty.wat":      {fault.PluginFuelExhausted, ""},
	"fuel-stdout.wat":         {fault.PluginFuelExhausted, ""},
	"fuel-clock.wat":          {fault.PluginFuelExhausted, ""},
	"fuel-random.wat":         {fault.PluginFuelExhausted, ""},
	"fuel-poll.wat":           {fault.PluginFuelExhausted, ""},
	"fuel-simd.wat":           {fault.PluginFuelExhausted, ""},

	"trap-unreachable.wat":       {fault.PluginTrapped, "map-steps: unreachable"},
	"trap-divide.wat":            {fault.PluginTrapped, "divide"},
	"trap-load.wat":              {fault.PluginTrapped, "out of bounds memory access"},
	"trap-null-call.wat":         {fault.PluginTrapped, ""},
	"trap-recursion.wat":         {fault.PluginTrapped, "nested too deep"},
	"trap-recursion-frames.wat":  {fault.PluginTrapped, "nested too deep"},
	"trap-recursion-mutual.wat":  {fault.PluginTrapped, "nested too deep"},
	"trap-recursion-realloc.wat": {fault.PluginTrapped, "nested too deep"},
	"trap-table-grow.wat":        {fault.PluginTrapped, "unreachable"},
	"fuel-table-grow-once.wat":   {fault.PluginFuelExhausted, ""},
	"trap-own-maximum.wat":       {fault.PluginTrapped, "unreachable"},
	"trap-data.wat":              {fault.PluginTrapped, "data"},
	"harmless-element.wat":       {none, ""},
	"trap-start.wat":             {fault.PluginTrapped, "start"},
	"trap-start-recursion.wat":   {fault.PluginTrapped, "nested too deep"},
	"trap-initialize.wat":        {fault.PluginTrapped, "_initialize"},
	"trap-exit.wat":              {fault.PluginTrapped, "exited with code 3"},
	"trap-exit-zero.wat":         {fault.PluginTrapped, "exited with code 0"},
	"trap-realloc.wat":           {fault.PluginTrapped, "cabi_realloc"},
	"trap-realloc-logs.wat":      {fault.PluginTrapped, "log.write from cabi_realloc"},
	"trap-post.wat":              {fault.PluginTrapped, "cabi_post_"},
	"trap-post-logs.wat":         {fault.PluginTrapped, "log.write from its post-return"},
	"trap-post-recursion.wat":    {fault.PluginTrapped, "nested too deep"},

	"memory-bomb.wat":            {fault.PluginOutOfMemory, "8 MiB"},
	"memory-bomb-once.wat":       {fault.PluginOutOfMemory, "8 MiB"},
	"memory-bomb-initialize.wat": {fault.PluginOutOfMemory, "8 MiB"},
	"memory-bomb-start.wat":      {fault.PluginOutOfMemory, "8 MiB"},
	"memory-bomb-realloc.wat":    {fault.PluginOutOfMemory, "8 MiB"},

	"lie-result-outside.wat":          {fault.PluginBadOutput, "result"},
	"lie-result-edge.wat":             {fault.PluginBadOutput, "result"},
	"lie-result-negative.wat":         {fault.PluginBadOutput, "result"},
	"lie-result-misaligned.wat":       {fault.PluginBadOutput, "aligned"},
	"lie-result-case.wat":             {fault.PluginBadOutput, "discriminant"},
	"lie-error-outside.wat":           {fault.PluginBadOutput, "error"},
	"lie-error-utf8.wat":              {fault.PluginBadOutput, "UTF-8"},
	"lie-error-huge.wat":              {fault.PluginBadOutput, "error"},
	"lie-list-outside.wat":            {fault.PluginBadOutput, "list"},
	"lie-list-edge.wat":               {fault.PluginBadOutput, "list"},
	"lie-list-misaligned.wat":         {fault.PluginBadOutput, "aligned"},
	"lie-list-empty-misaligned.wat":   {fault.PluginBadOutput, "aligned"},
	"lie-list-empty-outside.wat":      {fault.PluginBadOutput, "list"},
	"lie-list-huge.wat":               {fault.PluginBadOutput, "4294967295 elements"},
	"lie-list-wraps.wat":              {fault.PluginBadOutput, "elements"},
	"lie-step.wat":                    {fault.PluginBadOutput, "step 2 of 2"},
	"lie-type-outside.wat":            {fault.PluginBadOutput, "type"},
	"lie-type-huge.wat":               {fault.PluginBadOutput, "type"},
	"lie-type-wraps.wat":              {fault.PluginBadOutput, "type"},
	"lie-type-empty-outside.wat":      {fault.PluginBadOutput, "type"},
	"lie-type-utf8.wat":               {fault.PluginBadOutput, "UTF-8"},
	"lie-type-utf8-cut.wat":           {fault.PluginBadOutput, "UTF-8"},
	"lie-type-utf8-surrogate.wat":     {fault.PluginBadOutput, "UTF-8"},
	"lie-type-utf8-overlong.wat":      {fault.PluginBadOutput, "UTF-8"},
	"lie-type-utf8-beyond.wat":        {fault.PluginBadOutput, "UTF-8"},
	"lie-subject-case.wat":            {fault.PluginBadOutput, "discriminant"},
	"lie-subject-outside.wat":         {fault.PluginBadOutput, "subject"},
	"lie-subject-utf8.wat":            {fault.PluginBadOutput, "UTF-8"},
	"lie-data-outside.wat":            {fault.PluginBadOutput, "data"},
	"lie-data-utf8.wat":               {fault.PluginBadOutput, "UTF-8"},
	"lie-amplified.wat":               {fault.PluginBadOutput, "larger than"},
	"lie-count.wat":                   {fault.PluginBadOutput, "1000 elements"},
	"lie-realloc-outside.wat":         {fault.PluginBadOutput, "cabi_realloc"},
	"lie-realloc-edge.wat":            {fault.PluginBadOutput, "cabi_realloc"},
	"lie-realloc-negative.wat":        {fault.PluginBadOutput, "cabi_realloc"},
	"lie-realloc-misaligned.wat":      {fault.PluginBadOutput, "aligned"},
	"lie-realloc-null.wat":            {none, ""},
	"lie-realloc-itself.wat":          {none, ""},
	"lie-realloc-result.wat":          {fault.PluginBadOutput, "discriminant"},
	"lie-log-outside.wat":             {fault.PluginBadOutput, "log.write"},
	"lie-log-level.wat":               {fault.PluginBadOutput, "level 5"},
	"lie-log-utf8.wat":                {fault.PluginBadOutput, "UTF-8"},
	"lie-log-start.wat":               {fault.PluginBadOutput, "log.write"},
	"harmless-wasi.wat":               {none, ""},
	"harmless-log-flood.wat":          {none, ""},
	"forwarder-few.wat":               {fault.PluginBadOutput, "1 outcomes for 2"},
	"forwarder-many.wat":              {fault.PluginBadOutput, "3 elements"},
	"forwarder-huge.wat":              {fault.PluginBadOutput, "elements"},
	"forwarder-result-misaligned.wat": {fault.PluginBadOutput, "aligned"},
	"forwarder-result-case.wat":       {fault.PluginBadOutput, "discriminant 255"},
	"forwarder-outcome-case.wat":      {fault.PluginBadOutput, "discriminant 5"},
	"forwarder-receipt-case.wat":      {fault.PluginBadOutput, "receipt"},
	"forwarder-reason-outside.wat":    {fault.PluginBadOutput, "outcome"},
	"forwarder-reason-utf8.wat":       {fault.PluginBadOutput, "UTF-8"},
	"forwarder-failure-kind.wat":      {fault.PluginBadOutput, "failure"},
	"forwarder-failure-outside.wat":   {fault.PluginBadOutput, "failure"},
	"forwarder-failure-retry.wat":     {fault.PluginBadOutput, "retry-after-ms"},
	"forwarder-open-case.wat":         {fault.PluginBadOutput, "open"},
	"forwarder-open-spins.wat":        {fault.PluginFuelExhausted, ""},
	"forwarder-sleeps.wat":            {fault.PluginTimeout, ""},
	"http-method-outside.wat":         {fault.PluginBadOutput, "method"},
	"http-url-utf8.wat":               {fault.PluginBadOutput, "UTF-8"},
	"http-headers-outside.wat":        {fault.PluginBadOutput, "headers"},
	"http-headers-misaligned.wat":     {fault.PluginBadOutput, "aligned"},
	"http-headers-huge.wat":           {fault.PluginBadOutput, "elements"},
	"http-headers-amplified.wat":      {fault.PluginBadOutput, "header"},
	"http-header-outside.wat":         {fault.PluginBadOutput, "value of a header"},
	"http-body-outside.wat":           {fault.PluginBadOutput, "body"},
	"http-body-huge.wat":              {fault.PluginBadOutput, "body"},
	"http-timeout-case.wat":           {fault.PluginBadOutput, "timeout"},
	"http-return-outside.wat":         {fault.PluginBadOutput, "place of the result"},
	"http-return-misaligned.wat":      {fault.PluginBadOutput, "aligned"},
	"http-from-realloc.wat":           {fault.PluginTrapped, "http.send from cabi_realloc"},
	"http-nested.wat":                 {fault.PluginTrapped, "http.send from cabi_realloc"},
	"http-from-start.wat":             {fault.PluginTrapped, "http.send while it started"},
	"http-realloc-lies.wat":           {fault.PluginBadOutput, "cabi_realloc"},
	"http-realloc-spins.wat":          {fault.PluginFuelExhausted, ""},
	"http-realloc-traps.wat":          {fault.PluginTrapped, "cabi_realloc"},
	"files-path-outside.wat":          {fault.PluginBadOutput, "path"},
	"files-path-utf8.wat":             {fault.PluginBadOutput, "UTF-8"},
	"files-data-outside.wat":          {fault.PluginBadOutput, "data"},
	"files-return-outside.wat":        {fault.PluginBadOutput, "place of the result"},
	"files-return-misaligned.wat":     {fault.PluginBadOutput, "aligned"},

	"translator-schema-outside.wat":   {fault.PluginBadOutput, "config-schema"},
	"translator-schema-not-json.wat":  {fault.PluginBadOutput, "args-schema"},
	"translator-schema-empty.wat":     {fault.PluginBadOutput, "not JSON"},
	"translator-schema-result.wat":    {fault.PluginBadOutput, "config-schema"},
	"translator-case.wat":             {fault.PluginBadOutput, "discriminant"},
	"translator-args-not-object.wat":  {fault.PluginBadOutput, "not a JSON object"},
	"translator-args-duplicate.wat":   {fault.PluginBadOutput, "not JSON"},
	"translator-argv-huge.wat":        {fault.PluginBadOutput, "argv"},
	"translator-argv-outside.wat":     {fault.PluginBadOutput, "argv"},
	"translator-entrypoint.wat":       {fault.PluginBadOutput, "entrypoint"},
	"translator-warnings.wat":         {fault.PluginBadOutput, "diagnostics"},
	"translator-hint-case.wat":        {fault.PluginBadOutput, "hint"},
	"translator-no-reason.wat":        {fault.PluginBadOutput, "without a diagnostic"},
	"translator-diagnostics-huge.wat": {fault.PluginBadOutput, "diagnostics"},
}

func hostileModule(t testing.TB, file string) []byte {
	t.Helper()
	path := filepath.Join("testdata/hostile", file)
	if strings.HasSuffix(file, ".wat") {
		return wat.Assemble(t, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		bytes, _, _ := strings.Cut(line, ";;")
		digits.WriteString(strings.Join(strings.Fields(bytes), ""))
	}
	module, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return module
}

func hostileWorld(file string) World {
	switch {
	case strings.HasPrefix(file, "forwarder-"), strings.HasPrefix(file, "http-"), strings.HasPrefix(file, "files-"):
		return EventForwarder
	case strings.HasPrefix(file, "translator-"):
		return ArgsTranslator
	}
	return SignalMapper
}

// exercise calls every function of a plugin's world, until one fails.
func exercise(p *Plugin) error {
	switch p.cfg.World {
	case SignalMapper:
		_, err := p.Mapper().Map(ctx, []step.Step{{ID: "aabbccddeeff", Action: "X", Name: "a"}, {ID: "aabbccddeef0", Action: "Y", Name: "b", Session: "s"}}, false)
		return err
	case EventForwarder:
		if err := p.Forwarder().Open(ctx, []byte("{}")); err != nil {
			return err
		}
		_, err := p.Forwarder().Deliver(ctx, world.Signals, []world.Event{{ID: "1", Type: "t"}, {ID: "2", Type: "t", Body: []byte("{}")}})
		return err
	}
	tr := p.Translator()
	if _, err := tr.ConfigSchema(ctx); err != nil {
		return err
	}
	if _, err := tr.ArgsSchema(ctx); err != nil {
		return err
	}
	_, _, err := tr.Translate(ctx, []byte("{}"))
	return err
}

// resident is the memory that the process holds, in bytes, 0 where it cannot be told.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// TestHostile takes every hostile guest to where it is stopped, twice on one
// plugin, and sees to it that the host neither grows nor is changed by it.
func TestHostile(t *testing.T) {
	entries, err := os.ReadDir("testdata/hostile")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, e := range entries {
		files = append(files, e.Name())
		if _, ok := hostile[e.Name()]; !ok {
			t.Errorf("the table does not say what becomes of %s", e.Name())
		}
	}
	for file := range hostile {
		if !slices.Contains(files, file) {
			t.Errorf("the table lists %s, which is not there", file)
		}
	}
	healthy := load(t, wat.Assemble(t, "testdata/mapper.wat"), Config{World: SignalMapper})
	// What one guest may make the host hold: its memory, its stack with the copy
	// that growing it takes, what the compiler leaves, what the Go heap keeps.
	const bound = 96 << 20
	for _, file := range files {
		want := hostile[file]
		t.Run(file, func(t *testing.T) {
			module := hostileModule(t, file)
			debug.FreeOSMemory()
			before := resident()
			lines := 0
			p, err := Load(ctx, module, Config{
				Name: "evil", World: hostileWorld(file), MemoryMiB: 8, Fuel: 20_000_000, Timeout: hostileTimeout(file),
				Log: func(world.LogLevel, string) { lines++ }, HTTP: &network{}, Files: &folder{},
			})
			if strings.HasPrefix(file, "load-") {
				wantCode(t, err, want.code, want.words)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(ctx)
			for range 2 {
				err := exercise(p)
				wantCode(t, err, want.code)
				if err != nil && !strings.Contains(err.Error(), want.words) {
					t.Errorf("%q does not say %q", err, want.words)
				}
				if len(p.pool.idle) > 0 && err != nil && want.code != fault.PluginFailed {
					t.Error("the instance is still in the pool")
				}
			}
			if lines > 2*(maxLog/logLineCost+1) {
				t.Errorf("%d lines were logged", lines)
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > bound {
				t.Errorf("the heap holds %d MiB", m.HeapAlloc>>20)
			}
			if after := resident(); after-before > bound {
				t.Errorf("the process grew by %d MiB", (after-before)>>20)
			}
			if _, err := healthy.Mapper().Map(ctx, madeSteps(4), false); err != nil {
				t.Errorf("another plugin fails beside it: %v", err)
			}
		})
	}
}

// hostileTimeout is long enough for fuel to run out first, where fuel is what ends a guest.
func hostileTimeout(file string) time.Duration {
	if file == "forwarder-sleeps.wat" {
		return 50 * time.Millisecond
	}
	return time.Minute
}

// TestHostileLogIsBounded looks at what a flood leaves in the log.
func TestHostileLogIsBounded(t *testing.T) {
	total, last := 0, ""
	p := load(t, hostileModule(t, "harmless-log-flood.wat"), Config{World: SignalMapper, Fuel: 1_000_000_000, Log: func(_ world.LogLevel, m string) {
		total += len(m)
		last = m
	}})
	for range 2 {
		total = 0
		if err := exercise(p); err != nil {
			t.Fatal(err)
		}
		if total > maxLog+1000 || total < maxLog/2 {
			t.Errorf("%d bytes were logged", total)
		}
		if !strings.Contains(last, "lines") || !strings.Contains(last, "dropped") {
			t.Errorf("the last line is %q", last)
		}
	}
}

// TestRunawayStopsNobody lets a guest spin with fuel for hours, and works
// beside it: collections, which stop every goroutine, get through, and the
// guest is ended by its context. Were it to block them, this test would end
// by the guest's own limits, and with another code.
func TestRunawayStopsNobody(t *testing.T) {
	for _, procs := range []int{1, runtime.GOMAXPROCS(0)} {
		for _, file := range []string{"fuel-loop.wat", "fuel-calls.wat", "fuel-fill.wat", "fuel-random.wat", "fuel-poll.wat"} {
			t.Run(file+"/"+strconv.Itoa(procs), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				p := load(t, hostileModule(t, file), Config{World: SignalMapper, Fuel: 1 << 60, Timeout: time.Minute})
				ctx, cancel := context.WithCancel(ctx)
				done := make(chan error, 1)
				go func() {
					_, err := p.Mapper().Map(ctx, madeSteps(1), false)
					done <- err
				}()
				for range 20 {
					runtime.GC()
				}
				cancel()
				wantCode(t, <-done, fault.Interrupted, "interrupted")
			})
		}
	}
}

// TestHostileBytes loads truncations and single changes of a real guest: each
// is refused or runs, and none harms the host.
func TestHostileBytes(t *testing.T) {
	module := wat.Assemble(t, "testdata/mapper.wat")
	loaded := 0
	try := func(m []byte) {
		p, err := Load(ctx, m, Config{Name: "broken", World: SignalMapper, MemoryMiB: 1, Fuel: 1_000_000})
		if err != nil {
			wantCode(t, err, fault.PluginBadModule)
			return
		}
		loaded++
		exercise(p) // whatever comes of it
		p.Close(ctx)
	}
	for i := range module {
		try(module[:i])
		for _, x := range []byte{0x01, 0x80, 0xff} {
			m := bytes.Clone(module)
			m[i] ^= x
			try(m)
		}
	}
	if loaded == 0 {
		t.Error("not one of them was loaded: the test sees nothing of what runs")
	}
}
