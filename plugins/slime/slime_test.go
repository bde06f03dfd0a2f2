package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"carl.camp/carl/sdk/translator"
)

// facts is where the facts about slime are that the table was made of. They
// are not part of this repository, and its tests pass without them.
const facts = "../../../shared/data/slime"

func fact(t testing.TB, name string, into any) bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(facts, name))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
	return true
}

// base is a config that is complete in its flags alone.
func base() map[string]any {
	return map[string]any{"extra": map[string]any{
		"slime": map[string]any{
			"hf_checkpoint": "/m", "ref_load": "/r", "prompt_data": "/d.jsonl", "rm_type": "math",
			"num_rollout": 10, "rollout_batch_size": 8, "n_samples_per_prompt": 4, "global_batch_size": 32,
			"actor_num_nodes": 1, "actor_num_gpus_per_node": 8, "colocate": true,
		},
		"megatron": map[string]any{}, "sglang": map[string]any{}, "router": map[string]any{},
	}}
}

// friendly is a config that is complete in its sections.
const friendly = `{"model":{"hf":"/m","reference":"/r"},"data":{"prompts":"/d.jsonl"},"reward":"math",
	"algorithm":"grpo","rollout":{"count":10,"prompts":8,"samples_per_prompt":4},
	"training":{"train_batch":"32 samples"},"resources":{"mode":"colocated"}}`

func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// put sets what stands at a JSON Pointer, and makes the objects on the way.
func put(config map[string]any, pointer string, value any) map[string]any {
	parts := strings.Split(pointer, "/")[1:]
	at := config
	for _, part := range parts[:len(parts)-1] {
		next, ok := at[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[part] = next
		}
		at = next
	}
	if last := parts[len(parts)-1]; value == nil {
		delete(at, last)
	} else {
		at[last] = value
	}
	return config
}

func encode(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// args are the arguments as flags and values, whatever their group.
func args(t testing.TB, text string) map[string]any {
	t.Helper()
	all := map[string]any{}
	v := parse(t, text)
	for _, group := range []string{"args", "megatron", "sglang", "router"} {
		for name, value := range v[group].(map[string]any) {
			all[name] = value
		}
	}
	return all
}

// good translates a config that must be accepted.
func good(t testing.TB, config string) translator.Translation {
	t.Helper()
	got, refused := translate(config)
	if len(refused) > 0 {
		t.Fatalf("refused with %+v\n%s", refused, config)
	}
	return got
}

// TestTable holds the table of flags against itself.
func TestTable(t *testing.T) {
	previous := ""
	n := 0
	for e := range entries() {
		if e.name <= previous {
			t.Errorf("%q stands behind %q", e.name, previous)
		}
		previous = e.name
		n++
		if found, ok := find(e.name); !ok || found != e {
			t.Errorf("find(%q) = %+v, %v", e.name, found, ok)
		}
		if _, ok := find(e.name + "x"); ok {
			t.Errorf("%q is found", e.name+"x")
		}
		if e.mark == "@" || e.mark == "~" || e.mark == "." {
			if to, ok := find(e.rest); !ok || !to.isFlag() {
				t.Errorf("%q leads to %q, which is no flag", e.name, e.rest)
			}
		}
	}
	if n < 1400 {
		t.Errorf("%d lines", n)
	}
	for _, name := range []string{"", "a", "zzz", "\n", "\t", "sglang", "-"} {
		if e, ok := find(name); ok {
			t.Errorf("find(%q) = %+v", name, e)
		}
	}
}

// TestLanguage holds the table of members against that of flags.
func TestLanguage(t *testing.T) {
	members := 0
	var walk func(f *field, path string)
	walk = func(f *field, path string) {
		names := map[string]bool{}
		if len(f.sub) > 64 {
			t.Errorf("%s has %d members", path, len(f.sub))
		}
		for i := range f.sub {
			m := &f.sub[i]
			members++
			if names[m.name] {
				t.Errorf("%s%s occurs twice", path, m.name)
			}
			names[m.name] = true
			if m.flag != "" {
				f := flagNamed(m.flag)
				if m.conv == inverse && f.kind != "flag" {
					t.Errorf("%s%s turns %s round", path, m.name, m.flag)
				}
			}
			if m.doc == "" || !strings.HasSuffix(m.doc, ".") {
				t.Errorf("%s%s says %q", path, m.name, m.doc)
			}
			if (m.conv == plain || m.conv == inverse) && m.flag == "" {
				t.Errorf("%s%s stands for no flag", path, m.name)
			}
			walk(m, path+m.name+".")
		}
	}
	walk(&config, "")
	if members < 200 {
		t.Errorf("%d members", members)
	}
	for _, s := range sftFlags {
		flagNamed(s.flag)
	}
	for _, p := range presets {
		if !preset(p.name, func(*flag, string) {}) {
			t.Error(p.name)
		}
	}
}

type describedFlag struct {
	Name, Dest, Type, Action string
	Aliases                  []string
	Nargs                    any
	Default                  any
	Choices                  []any
	Secret                   bool
	Negation                 string
}

type describedFlags struct {
	Args        []describedFlag
	SGLang      []describedFlag `json:"sglang_flags"`
	Megatron    []describedFlag `json:"megatron_flags"`
	Passthrough struct {
		SGLang struct {
			NotExposed []string `json:"not_exposed"`
		}
	}
}

func snake(flag string) string {
	return strings.ReplaceAll(strings.TrimLeft(flag, "-"), "-", "_")
}

// TestTableAgainstFacts holds the table against every flag that is described.
func TestTableAgainstFacts(t *testing.T) {
	var d describedFlags
	if !fact(t, "slime_args.json", &d) {
		t.Skip("the facts are not here")
	}
	seen := map[string]bool{}
	check := func(list []describedFlag, group func(name string) byte) {
		for _, a := range list {
			name := snake(a.Name)
			if seen[name] || name == "persistent_save_interval" {
				continue // slime's own description comes first
			}
			seen[name] = true
			e, ok := find(name)
			if !ok || !e.isFlag() {
				t.Errorf("%s is missing", name)
				continue
			}
			f := e.flag()
			if f.group != group(name) || f.secret != a.Secret {
				t.Errorf("%s: %+v", name, f)
			}
			var choices []string
			for _, c := range a.Choices {
				if s, ok := c.(string); ok {
					choices = append(choices, s)
				} else {
					choices = append(choices, string(c.(json.Number)))
				}
			}
			if f.choices != strings.Join(choices, ",") {
				t.Errorf("%s takes %s, want %v", name, f.choices, choices)
			}
			alone := a.Nargs == json.Number("0") || strings.HasPrefix(a.Action, "store_") || a.Action == "boolean_optional"
			if f.noValue() != alone {
				t.Errorf("%s is a %s, want %v", name, f.kind, a)
			}
			switch a.Type {
			case "int", "float":
				if f.kind != a.Type && f.kind != a.Type+"s3" {
					t.Errorf("%s is a %s, want %s", name, f.kind, a.Type)
				}
			case "list[int]", "list[float]":
				if !strings.HasPrefix(f.kind, a.Type[5:len(a.Type)-1]+"s") {
					t.Errorf("%s is a %s, want %s", name, f.kind, a.Type)
				}
			case "json":
				if f.kind != "json" {
					t.Errorf("%s is a %s", name, f.kind)
				}
			}
			others := a.Aliases
			if a.Negation != "" {
				others = append(others, a.Negation)
			}
			for _, other := range others {
				if snake(other) == name {
					continue
				}
				e, ok := find(snake(other))
				if snake(other) == "sglang_tp_size" {
					ok, e.rest = e.mark == "!", name // slime hides this one
				}
				if !ok || e.rest != name {
					t.Errorf("%s leads to %+v, want %s", other, e, name)
				}
			}
			if f.kind != "flag" && f.kind != "retired" && a.Default != nil {
				want, isText := a.Default.(string)
				if !isText {
					want = encode(t, a.Default)
				}
				if want != "[]" && want != "{}" && strings.ReplaceAll(f.initial, " ", "") != strings.ReplaceAll(want, " ", "") {
					t.Errorf("%s: default %q, want %q", name, f.initial, want)
				}
			}
		}
	}
	check(d.Args, func(string) byte { return 's' })
	check(d.Megatron, func(string) byte { return 'm' })
	check(d.SGLang, func(name string) byte {
		if strings.HasPrefix(name, "sglang_") {
			return 'g'
		}
		return 'r'
	})
	for _, name := range d.Passthrough.SGLang.NotExposed {
		if name == "config" {
			continue // slime has a flag of its own that is called so
		}
		if e, ok := find("sglang_" + snake(name)); !ok || e.mark != "!" {
			t.Errorf("%s is exposed", name)
		}
	}
	for e := range entries() {
		if e.isFlag() && !seen[e.name] {
			t.Errorf("%s is of no parser", e.name)
		}
	}
	if len(seen) < 1290 {
		t.Errorf("%d flags were compared", len(seen))
	}
}

type launch struct {
	Name, Entrypoint string
	Argv             []string
}

func launches(t testing.TB) []launch {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(facts, "launches", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the launches are not here")
	}
	var list []launch
	for _, file := range files {
		var l launch
		fact(t, filepath.Join("launches", filepath.Base(file)), &l)
		list = append(list, l)
	}
	return list
}

var isOption = regexp.MustCompile(`^--[a-z]`)

// flags reads a command line as argparse would: the last of a repeated flag
// counts, other spellings are the flag's, and credentials are left out.
func (l launch) flags(t testing.TB) map[string]any {
	t.Helper()
	all := map[string]any{}
	for i := 0; i < len(l.Argv); {
		name := snake(l.Argv[i])
		end := i + 1
		for end < len(l.Argv) && !isOption.MatchString(l.Argv[end]) {
			end++
		}
		values := l.Argv[i+1 : end]
		i = end
		e, _ := find(name)
		contrary := e.mark == "~"
		for e.mark == "@" || e.mark == "~" {
			e, _ = find(e.rest)
		}
		if !e.isFlag() {
			t.Fatalf("%s: no flag %s", l.Name, name)
		}
		f := e.flag()
		if f.secret {
			continue
		}
		var value any
		switch {
		case f.noValue():
			value = !contrary
		case f.kind == "int" || f.kind == "float":
			value = json.Number(values[0])
		case strings.HasPrefix(f.kind, "ints") || strings.HasPrefix(f.kind, "floats"):
			list := []any{}
			for _, v := range values {
				list = append(list, json.Number(v))
			}
			value = list
		case strings.HasPrefix(f.kind, "texts"):
			list := []any{}
			for _, v := range values {
				list = append(list, v)
			}
			value = list
		default:
			value = values[0]
		}
		all[f.name] = value
	}
	return all
}

// same compares values, numbers by what they are and not by their spelling.
func same(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		n, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, okX := new(big.Rat).SetString(string(a))
		y, okY := new(big.Rat).SetString(string(n))
		return okX && okY && x.Cmp(y) == 0
	case []any:
		list, ok := b.([]any)
		return ok && slices.EqualFunc(a, list, same)
	case map[string]any:
		return false
	}
	return a == b
}

// TestLaunchesAsFlags translates each launch as a config of nothing but flags.
func TestLaunchesAsFlags(t *testing.T) {
	for _, l := range launches(t) {
		want := l.flags(t)
		config := map[string]any{"entrypoint": l.Entrypoint}
		for name, value := range want {
			put(config, "/extra/"+extraName(flagNamed(name).group)+"/"+name, value)
		}
		got := good(t, encode(t, config))
		have := args(t, got.Args)
		for name, value := range want {
			if !same(value, have[name]) {
				t.Errorf("%s: %s is %v, want %v", l.Name, name, have[name], value)
			}
		}
		if len(have) != len(want) || got.Entrypoint != l.Entrypoint {
			t.Errorf("%s: %d flags for %s, want %d for %s", l.Name, len(have), got.Entrypoint, len(want), l.Entrypoint)
		}
		// The command line says the same as the arguments.
		if again := (launch{l.Name, l.Entrypoint, got.Argv}).flags(t); len(again) != len(want) {
			t.Errorf("%s: the command line has %d flags, want %d", l.Name, len(again), len(want))
		} else {
			for name, value := range want {
				if !same(value, again[name]) {
					t.Errorf("%s: on the command line %s is %v, want %v", l.Name, name, again[name], value)
				}
			}
		}
	}
}

// legal returns a value that a flag takes, and what it is on a command line.
func legal(f *flag) (value any, argv []string) {
	name := option(f.name)
	number := json.Number("1")
	if f.min != "" {
		number = json.Number(f.min)
	}
	word, _, _ := strings.Cut(f.choices, ",")
	if word == "" {
		word = "a word"
	}
	switch f.kind {
	case "flag", "switch", "retired":
		return true, []string{name}
	case "bool":
		return true, []string{name, "true"}
	case "int", "float":
		if f.choices != "" {
			number = json.Number(word)
		}
		return number, []string{name, string(number)}
	case "text":
		if f.name == "rm_type" {
			word = "boxed_math"
		}
		return word, []string{name, word}
	case "optional":
		return word, []string{name, word}
	case "python":
		return "a.b_c.d", []string{name, "a.b_c.d"}
	case "pythons":
		return []any{"a.b", "c.d"}, []string{name, "a.b", name, "c.d"}
	case "json":
		return map[string]any{"a": "b"}, []string{name, `{"a":"b"}`}
	case "freq":
		return "[0]*3+[1]*75", []string{name, "[0]*3+[1]*75"}
	case "tuple":
		return "(128,0)", []string{name, "(128,0)"}
	case "signal":
		return "SIGTERM", []string{name, "SIGTERM"}
	case "ints3":
		return []any{1, 2, 3}, []string{name, "1", "2", "3"}
	case "groups":
		return []any{"a", []any{"b", "c"}}, []string{name, "a", name, "b", "c"}
	case "repeat":
		return []any{"a", "b"}, []string{name, "a", name, "b"}
	}
	if strings.HasPrefix(f.kind, "texts") {
		return []any{word, word}, []string{name, word, word}
	}
	return []any{1, 2}, []string{name, "1", "2"}
}

// illegal returns a value of another kind.
func illegal(f *flag) []any {
	switch {
	case f.noValue() || f.kind == "bool":
		return []any{"true", 1, []any{}, map[string]any{}}
	case f.kind == "int":
		return []any{"1", json.Number("1.0"), json.Number("1e3"), true, []any{1}}
	case f.kind == "float":
		return []any{"1", true, []any{1}}
	case f.kind == "text" || f.kind == "python" || f.kind == "optional":
		return []any{1, false, []any{"a"}, map[string]any{}}
	case f.kind == "json":
		return []any{"[1]", "{", 1, []any{}}
	case f.kind == "freq":
		return []any{"__import__", json.Number("1.5"), true, []any{"1"}, ""}
	case f.kind == "tuple":
		return []any{"128", 128, []any{1}, "(a,b)"}
	case f.kind == "signal":
		return []any{"TERM", 0, true}
	}
	return []any{"a", 1, map[string]any{}, []any{map[string]any{}}, []any{nil}}
}

// schema compiles a schema, and returns what holds a JSON text against it.
func schema(t testing.TB, text string) func(text string) error {
	t.Helper()
	read := func(text string) any {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://carl.test/schema.json", read(text)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://carl.test/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(text string) error { return s.Validate(read(text)) }
}

// TestEveryFlag gives each flag of the table a legal value and illegal ones.
func TestEveryFlag(t *testing.T) {
	n := 0
	asConfig, asArgs := schema(t, configSchema()), schema(t, argsSchema())
	for e := range entries() {
		if !e.isFlag() {
			continue
		}
		f := e.flag()
		pointer := "/extra/" + extraName(f.group) + "/" + f.name
		value, argv := legal(f)
		if f.secret {
			_, refused := translate(encode(t, put(base(), pointer, value)))
			if len(refused) != 1 || refused[0].Path != pointer || !strings.Contains(refused[0].Message, "credential") || refused[0].Hint == "" {
				t.Errorf("%s: %+v", f.name, refused)
			}
			if asConfig(encode(t, put(base(), pointer, value))) == nil || strings.Contains(argsSchema(), `"`+f.name+`":`) {
				t.Errorf("a schema takes %s", f.name)
			}
			continue
		}
		n++
		config := base()
		switch f.name {
		case "num_epoch":
			put(config, "/extra/slime/num_rollout", nil)
		case "num_steps_per_rollout":
			put(config, "/extra/slime/global_batch_size", nil)
		}
		// What the flag cannot do without.
		for flag, needs := range map[string]map[string]any{
			"eval_interval": {"eval_config": "/e.yaml"}, "save_interval": {"save": "/s"}, "use_dynamic_batch_size": {"max_tokens_per_gpu": 1},
			"balance_by_flops": {"use_dynamic_batch_size": true, "max_tokens_per_gpu": 1}, "enable_mtp_training": {"mtp_num_layers": 1},
			"get_mismatch_metrics": {"custom_tis_function_path": "a.b"}, "use_opd": {"opd_type": "sglang"},
			"opd_teacher_load": {"use_opd": true, "opd_type": "megatron"}, "release_train": {"save": "/s", "update_weight_transport": "disk", "update_weight_disk_dir": "/w"},
			"over_sampling_batch_size": {"rollout_batch_size": 1, "global_batch_size": 4, "actor_num_gpus_per_node": 4},
			"rollout_batch_size":       {"global_batch_size": 4, "actor_num_gpus_per_node": 4}, "global_batch_size": {"actor_num_gpus_per_node": 1},
			"n_samples_per_prompt": {"global_batch_size": 8},
		} {
			if flag == f.name {
				for name, value := range needs {
					put(config, "/extra/slime/"+name, value)
				}
			}
		}
		if strings.HasPrefix(f.name, "decoder_") && strings.HasSuffix(f.name, "_pipeline_num_layers") {
			put(config, "/extra/megatron/pipeline_model_parallel_size", 2)
		}
		if f.name == "actor_num_nodes" || f.name == "micro_batch_size" || f.name == "rollout_max_context_len" {
			value, argv = 4, []string{option(f.name), "4"}
		}
		got, refused := translate(encode(t, put(config, pointer, value)))
		if len(refused) > 0 {
			t.Errorf("%s: refused with %+v", f.name, refused)
			continue
		}
		if err := asArgs(got.Args); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if err := asConfig(encode(t, config)); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if !containsRun(got.Argv, argv) {
			t.Errorf("%s: %q is not in %q", f.name, argv, got.Argv)
		}
		if _, ok := parse(t, got.Args)[groupName(f.group)].(map[string]any)[f.name]; !ok {
			t.Errorf("%s is not in %s", f.name, got.Args)
		}
		for _, value := range illegal(f) {
			config := encode(t, put(base(), pointer, value))
			// What a text must look like, a schema leaves to the translator.
			if _, text := value.(string); !text && value != json.Number("1.0") && value != json.Number("1e3") && f.kind != "tuple" && f.kind != "signal" && asConfig(config) == nil {
				t.Errorf("%s: the schema takes %v", f.name, value)
			}
			_, refused := translate(config)
			ok := false
			for _, d := range refused {
				ok = ok || strings.HasPrefix(d.Path, pointer) && d.Message != ""
			}
			if !ok {
				t.Errorf("%s: %v: %+v", f.name, value, refused)
			}
		}
		if f.choices != "" && f.kind == "text" {
			_, refused := translate(encode(t, put(base(), pointer, "no-such-choice")))
			if len(refused) == 0 || refused[0].Path != pointer {
				t.Errorf("%s takes anything: %+v", f.name, refused)
			}
		}
		if f.noValue() && f.kind != "switch" {
			config := put(base(), pointer, false)
			if f.name == "colocate" {
				put(config, "/extra/slime/rollout_num_gpus", 8)
			}
			got := good(t, encode(t, config))
			if slices.Contains(got.Argv, option(f.name)) {
				t.Errorf("%s: false is passed", f.name)
			}
		}
		if f.kind == "switch" {
			for name, value := range map[string]bool{f.name: false, f.neg: true} {
				pointer := "/extra/" + extraName(f.group) + "/" + name
				if got := good(t, encode(t, put(base(), pointer, value))); !slices.Contains(got.Argv, option(f.neg)) {
					t.Errorf("%s: %v gives %q", name, value, got.Argv)
				}
			}
		}
	}
	if n < 1280 {
		t.Errorf("%d flags were tried", n)
	}
}

func containsRun(list, run []string) bool {
	for i := range list {
		if i+len(run) <= len(list) && slices.Equal(list[i:i+len(run)], run) {
			return true
		}
	}
	return false
}

type diagnostic = translator.Diagnostic
