package train

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/world"
)

// small is a translator of three members: `batch`, which doubles to the argument
// global_batch_size, `model.hf` and `flags`.
type small struct {
	schema string
	made   func(*world.Translation)
	err    error
}

const smallSchema = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,` +
	`"required":["global_batch_size"],"properties":{"global_batch_size":{"type":"integer","minimum":1},"hf_checkpoint":{"type":"string"},"flags":{"type":"array","items":{"type":"string"}}}}`

func (s small) ConfigSchema(context.Context) ([]byte, error) { return []byte(`{"type":"object"}`), nil }

func (s small) ArgsSchema(context.Context) ([]byte, error) {
	if s.schema != "" {
		return []byte(s.schema), nil
	}
	return []byte(smallSchema), nil
}

func (s small) Translate(_ context.Context, config []byte) (world.Translation, []world.Diagnostic, error) {
	if s.err != nil {
		return world.Translation{}, nil, s.err
	}
	var c struct {
		Backend string         `json:"backend"`
		Batch   jsontext.Value `json:"batch"`
		Model   struct {
			HF string `json:"hf"`
		} `json:"model"`
		Flags []string       `json:"flags"`
		Extra jsontext.Value `json:"extra"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return world.Translation{}, []world.Diagnostic{{Message: err.Error()}}, nil
	}
	var refused []world.Diagnostic
	if c.Batch == nil {
		refused = append(refused, world.Diagnostic{Path: "/batch", Message: "is missing", Hint: "give a number"})
	}
	if c.Model.HF == "" {
		refused = append(refused, world.Diagnostic{Path: "/model/hf", Message: "is missing"})
	}
	if len(refused) > 0 {
		return world.Translation{}, refused, nil
	}
	var n int
	if err := json.Unmarshal(c.Batch, &n); err != nil {
		return world.Translation{}, []world.Diagnostic{{Path: "/batch", Message: "is no number"}}, nil
	}
	args, _ := json.Marshal(map[string]any{"global_batch_size": 2 * n, "hf_checkpoint": c.Model.HF, "flags": append([]string{"x"}, c.Flags...)}, json.Deterministic(true))
	t := world.Translation{Args: args, Argv: []string{"--hf", c.Model.HF}, Entrypoint: "train.py",
		Warnings: []world.Diagnostic{{Path: "/flags/1", Message: "what a flag"}}}
	if s.made != nil {
		s.made(&t)
	}
	return t, nil, nil
}

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), "c.yaml", "", NewGuard(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const good = "model: {hf: /m}\nbatch: 16\nflags:\n  - a\n  - b\n"

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "c.yaml:1:1",
		"- a":                       "c.yaml:1:1: want a mapping",
		"backend: 3\nx: 1":          "c.yaml:1:10: backend",
		"backend: ''":               "c.yaml:1:10: backend",
		"a: &x 1":                   "c.yaml:1:4",
		"a: 1\na: 2":                "c.yaml:2:1",
		"a:\n\t- b":                 "c.yaml:2:1",
		"<<: {a: 1}":                "c.yaml:1:1",
		"a: *x":                     "c.yaml:1:4",
		"a: 0x10":                   "c.yaml:1:4",
		"a: [":                      "c.yaml:1",
		strings.Repeat("x", 10<<20): "c.yaml",
		strings.Repeat("[", 9999):   "c.yaml:1",
	} {
		c, err := Parse([]byte(text), "c.yaml", "", NewGuard(nil))
		if fault.CodeOf(err) != fault.TrainConfigInvalid || fault.ExitOf(err) != fault.ExitUsage || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was sent") {
			t.Errorf("%.40q: %+v, %v; want %s", text, c, err, want)
		}
	}
	c := parse(t, "lr: 1e-6\nn: 9007199254740993\nk: 0.10\nbackend: acme.dev/verl\n")
	if got := string(c.JSON()); got != `{"lr":1e-6,"n":9007199254740993,"k":0.10,"backend":"acme.dev/verl"}` || c.Backend() != "acme.dev/verl" {
		t.Error(got, c.Backend())
	}
	if parse(t, "a: 1").Backend() != "slime" {
		t.Error("no backend is slime's")
	}
	// Who names another backend gets it, and the translator is told of none.
	for named, want := range map[string]string{"slime": `{"a":1}`, "acme.dev/verl": `{"backend":"acme.dev/verl","a":1}`} {
		c, err := Parse([]byte("backend: acme.dev/verl\na: 1"), "c.yaml", named, NewGuard(nil))
		if err != nil || c.Backend() != named || string(c.JSON()) != want {
			t.Errorf("%s: %s, %v", named, c.JSON(), err)
		}
	}
}

// TestDigest is of what a config says, not of how it is written.
func TestDigest(t *testing.T) {
	one := parse(t, "a: 1e-6 # small\nb: {c: [1, 2]}").Digest()
	if two := parse(t, "b:\n  c:\n  - 1\n  - 2\na: 1e-6").Digest(); one != two || len(one) != 64 {
		t.Error(one, two)
	}
	for _, other := range []string{"a: 1e-7\nb: {c: [1, 2]}", "a: 0.000001\nb: {c: [1, 2]}", "a: 1e-6\nb: {c: [2, 1]}", "a: '1e-6'\nb: {c: [1, 2]}"} {
		if parse(t, other).Digest() == one {
			t.Error(other)
		}
	}
	if parse(t, "a: 9007199254740993").Digest() == parse(t, "a: 9007199254740992").Digest() {
		t.Error("two numbers are one")
	}
}

func TestTranslate(t *testing.T) {
	p, err := Translate(t.Context(), small{}, parse(t, good), NewGuard(nil))
	if err != nil {
		t.Fatal(err)
	}
	if string(p.Args) != `{"flags":["x","a","b"],"global_batch_size":32,"hf_checkpoint":"/m"}` || p.Entrypoint != "train.py" || len(p.ConfigDigest) != 64 {
		t.Errorf("%+v, %s", p, p.Args)
	}
	if w := p.Warnings; len(w) != 1 || w[0].Line != 5 || w[0].Column != 5 {
		t.Errorf("%+v", w)
	}
	if got, want := string(p.Payload()), `{"args":`+string(p.Args)+`,"argv":["--hf","/m"],"backend":"slime","config_digest":"`+p.ConfigDigest+`"}`; got != want {
		t.Errorf("%s", got)
	}
	_, err = Translate(t.Context(), small{}, parse(t, "model: {}\n"), NewGuard(nil))
	var refused *RefusedError
	if !errors.As(err, &refused) || fault.CodeOf(err) != fault.TrainConfigInvalid || len(refused.Problems) != 2 {
		t.Fatalf("%v", err)
	}
	if p := refused.Problems[0]; p.Line != 1 || p.Pointer != "/batch" || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	if p := refused.Problems[1]; p.Line != 1 || p.Column != 8 {
		t.Errorf("%+v", p)
	}
	trap := fault.New(fault.PluginTrapped, "x")
	if _, err := Translate(t.Context(), small{err: trap}, parse(t, good), NewGuard(nil)); !errors.Is(err, trap) {
		t.Error(err)
	}
}

// TestTranslatorsAreNotBelieved has translators return what cannot be run.
func TestTranslatorsAreNotBelieved(t *testing.T) {
	for what, s := range map[string]small{
		"a member more":        {made: func(t *world.Translation) { t.Args = []byte(`{"global_batch_size":1,"x":"secret value"}`) }},
		"a member less":        {made: func(t *world.Translation) { t.Args = []byte(`{}`) }},
		"another type":         {made: func(t *world.Translation) { t.Args = []byte(`{"global_batch_size":"secret value"}`) }},
		"out of range":         {made: func(t *world.Translation) { t.Args = []byte(`{"global_batch_size":0}`) }},
		"no object":            {made: func(t *world.Translation) { t.Args = []byte(`[1]`) }},
		"no JSON":              {made: func(t *world.Translation) { t.Args = []byte(`{"a":}`) }},
		"a member twice":       {made: func(t *world.Translation) { t.Args = []byte(`{"global_batch_size":1,"global_batch_size":2}`) }},
		"no entrypoint":        {made: func(t *world.Translation) { t.Entrypoint = "" }},
		"two lines":            {made: func(t *world.Translation) { t.Entrypoint = "a\nb" }},
		"a long one":           {made: func(t *world.Translation) { t.Entrypoint = strings.Repeat("a", maxEntrypoint+1) }},
		"a line end ahead":     {made: func(t *world.Translation) { t.Entrypoint = "\na" }},
		"a delete":             {made: func(t *world.Translation) { t.Entrypoint = "a\x7f" }},
		"another line end":     {made: func(t *world.Translation) { t.Entrypoint = "a\u2028b" }},
		"and another":          {made: func(t *world.Translation) { t.Entrypoint = "a\u2029b" }},
		"a zero byte":          {made: func(t *world.Translation) { t.Argv = []string{"a\x00b"} }},
		"megabytes":            {made: func(t *world.Translation) { t.Argv = []string{strings.Repeat("a", maxPayload-len(t.Args)+1)} }},
		"a schema elsewhere":   {schema: `{"$ref":"http://127.0.0.1:1/x"}`},
		"a schema in a file":   {schema: `{"$ref":"file:///etc/passwd"}`},
		"a schema of no sense": {schema: `{"type":"nothing"}`},
		"a schema of nothing":  {schema: `false`},
		"a schema without end": {schema: doubling()},
	} {
		p, err := Translate(t.Context(), s, parse(t, good), NewGuard(nil))
		if fault.CodeOf(err) != fault.PluginBadOutput || p != nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
}

// doubling is a schema that takes 2^60 steps for any value.
func doubling() string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/d0","$defs":{`)
	for i := range 60 {
		fmt.Fprintf(&b, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	return b.String() + `"d60":true}}`
}

// TestBounds makes what is as long as it may be.
func TestBounds(t *testing.T) {
	p, err := Translate(t.Context(), small{made: func(t *world.Translation) {
		t.Entrypoint = strings.Repeat("a", maxEntrypoint)
		t.Argv = []string{strings.Repeat("b", maxPayload-len(t.Args))}
	}}, parse(t, good), NewGuard(nil))
	if err != nil || len(p.Entrypoint) != maxEntrypoint {
		t.Errorf("%v", err)
	}
}

// refusing refuses every config with these remarks.
type refusing struct {
	small
	remarks []world.Diagnostic
}

func (r refusing) Translate(context.Context, []byte) (world.Translation, []world.Diagnostic, error) {
	return world.Translation{}, r.remarks, nil
}

// TestProblems are in the order of the file, at the name where that is unknown, and
// about the whole of it at the end.
func TestProblems(t *testing.T) {
	c := parse(t, "a:\n  b: 1\nc:\n  d:\n    e: 2\n")
	_, err := Translate(t.Context(), refusing{remarks: []world.Diagnostic{
		{Path: "", Message: "one is missing"}, {Path: "/c/d/e", Message: "bad"}, {Path: "/c/d", Message: "unknown member \"d\""},
		{Path: "", Message: "another is missing"}, {Path: "/a/b", Message: "worse"}, {Path: "/c/d", Message: "not so"},
	}}, c, NewGuard(nil))
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "c.yaml has 6 problems") || refused.File != "c.yaml" {
		t.Fatal(err)
	}
	var got []string
	for _, p := range refused.Problems {
		got = append(got, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Message))
	}
	want := "2:6 worse|4:3 unknown member \"d\"|5:5 not so|5:8 bad|1:1 one is missing|1:1 another is missing"
	if strings.Join(got, "|") != want {
		t.Errorf("%s, want %s", strings.Join(got, "|"), want)
	}
	if _, err := Translate(t.Context(), refusing{remarks: []world.Diagnostic{{Message: "x"}}}, c, NewGuard(nil)); !strings.Contains(err.Error(), "c.yaml has 1 problem ") {
		t.Error(err)
	}
}

// TestSchemaSaysWhere names the place that does not fit, and not what stands there.
func TestSchemaSaysWhere(t *testing.T) {
	const schema = `{"type":"object","additionalProperties":false,"required":["r"],"properties":{"r":{"type":"integer"},"o":{"type":"object","properties":{"a/b":{"type":"array","items":{"maximum":3}}}}}}`
	for args, want := range map[string]string{
		`{"r":1,"o":{"a/b":[1,9]}}`: "/o/a~1b/1 does not fit",
		`{"r":"secret"}`:            "/r is string, not integer",
		`{}`:                        "the whole misses r",
		`{"r":1,"x":1}`:             "the whole has members that are not in it",
		`[]`:                        errNotObject.Error(),
		`{"r":1,"r":2}`:             errNotObject.Error(),
		`{"r":1e9999}`:              "hundreds of digits",
	} {
		if err := validate([]byte(schema), []byte(args)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
	if err := validate([]byte(schema), []byte(`{"r":1,"o":{"a/b":[1]}}`)); err != nil {
		t.Error(err)
	}
}

// TestTrace finds the places of arguments, whatever the translator calls them.
func TestTrace(t *testing.T) {
	c := parse(t, good)
	p, err := Translate(t.Context(), small{}, c, NewGuard(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := Trace(t.Context(), small{}, c, p, []string{"/args/global_batch_size", "/args/hf_checkpoint", "/args/flags/1", "/args/flags/0", "/args/nothing", "/backend", "nonsense", ""})
	want := map[string]string{"/args/global_batch_size": "/batch", "/args/hf_checkpoint": "/model/hf", "/args/flags/1": "/flags"}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	for field, place := range want {
		if got[field] != place {
			t.Errorf("%s is from %q, want %q", field, got[field], place)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Trace(ended, small{}, c, p, []string{"/args/global_batch_size"}); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestNoTokenIsShown has configs and translators that would have an error show one.
func TestNoTokenIsShown(t *testing.T) {
	const own = "an own token of no shape"
	g := NewGuard([]string{"HF_TOKEN=" + own})
	for _, token := range []string{user, own} {
		for what, text := range map[string]string{
			"a name twice": "\"" + token + "\": 1\n\"" + token + "\": 2\n", "an alias": "x: 1\na: *" + strings.ReplaceAll(token, " ", "_") + " # " + token,
			"a backend": "backend: \"" + token + "\"", "a backend of a name": "backend: acme.dev/" + token, "bad YAML": "a: [" + token, "a comment in bad YAML": "# " + token + "\na: [",
		} {
			_, err := Parse([]byte(text), "c.yaml", "", g)
			if fault.CodeOf(err) != fault.HFTokenLeak || strings.Contains(err.Error(), token) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := Parse([]byte(good), "c.yaml", "acme.dev/"+token, g); fault.CodeOf(err) != fault.HFTokenLeak || strings.Contains(err.Error(), token) {
			t.Errorf("%v", err)
		}
		c, err := Parse([]byte(good), "c.yaml", "", g)
		if err != nil {
			t.Fatal(err)
		}
		for what, made := range map[string]func(*world.Translation){
			"args":       func(t *world.Translation) { t.Args = []byte(`{"global_batch_size":1,"hf_checkpoint":"` + token + `"}`) },
			"argv":       func(t *world.Translation) { t.Argv = []string{"a", token} },
			"entrypoint": func(t *world.Translation) { t.Entrypoint = token },
			"a warning":  func(t *world.Translation) { t.Warnings[0].Message = token },
			"a hint":     func(t *world.Translation) { t.Warnings[0].Hint = "x" + token },
		} {
			_, err := Translate(t.Context(), small{made: made}, c, g)
			if fault.CodeOf(err) != fault.HFTokenLeak || strings.Contains(err.Error(), token) {
				t.Errorf("%s: %v", what, err)
			}
			if what == "argv" && !strings.Contains(err.Error(), "argument 2 ") {
				t.Error(err)
			}
		}
	}
}
