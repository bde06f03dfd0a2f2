package plugins_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	commandline "flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"carl.camp/carl/host/plugin/wasm"
	"carl.camp/carl/host/yamltree"
)

var updateSlime = commandline.Bool("update-slime", false, "write the digests of slime/testdata/launches.sha256 anew")

// slimeFacts is where the launches are that the configs of slime/testdata say
// again. They are not part of this repository.
const slimeFacts = "../../shared/data/slime"

func slimeConfigs(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("slime/testdata/launches/*.yaml")
	if err != nil || len(files) != 29 {
		t.Fatalf("%d configs, %v", len(files), err)
	}
	configs := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := yamltree.Parse(text, file)
		if err != nil {
			t.Fatal(err)
		}
		configs[strings.TrimSuffix(filepath.Base(file), ".yaml")] = string(tree.AppendJSON(nil))
	}
	return configs
}

// TestSlimeLaunches translates slime's own launches, as people would write
// them, and holds the outcome against digests, and against the launches
// themselves where they are at hand.
func TestSlimeLaunches(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/slime"), host{})
	configSchema := compileSchema(t, in.schema("config-schema"))
	argsSchema := compileSchema(t, in.schema("args-schema"))
	configs := slimeConfigs(t)
	var digests strings.Builder
	for _, name := range sortedKeys(configs) {
		got, refused := in.translate(configs[name])
		if refused != nil {
			t.Errorf("%s: refused with %+v", name, refused)
			continue
		}
		if again, _ := in.translate(configs[name]); again == nil || again.args != got.args || !slices.Equal(again.argv, got.argv) {
			t.Errorf("%s: another outcome the second time", name)
		}
		for what, check := range map[string]struct {
			schema *jsonschema.Schema
			text   string
		}{"config": {configSchema, configs[name]}, "arguments": {argsSchema, got.args}} {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(check.text))
			if err == nil {
				err = check.schema.Validate(v)
			}
			if err != nil {
				t.Errorf("%s: its %s: %v", name, what, err)
			}
		}
		sum := sha256.Sum256([]byte(got.args + "\n" + strings.Join(got.argv, "\n") + "\n"))
		digests.WriteString(hex.EncodeToString(sum[:]) + "  " + name + "\n")
		compareLaunch(t, name, got)
	}
	const file = "slime/testdata/launches.sha256"
	if *updateSlime {
		if err := os.WriteFile(file, []byte(digests.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if digests.String() != string(want) {
		t.Errorf("the digests are not those of %s; they are\n%s", file, digests.String())
	}
}

// TestSlimeReadme shows that the example of the README is slime's own launch.
func TestSlimeReadme(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/slime"), host{})
	want, refused := in.translate(slimeConfigs(t)["run-qwen3-4B"])
	if refused != nil {
		t.Fatal(refused)
	}
	examples := snippets(t, "slime/README.md", "yaml")
	if len(examples) != 2 {
		t.Fatalf("%d examples", len(examples))
	}
	tree, err := yamltree.Parse([]byte(examples[0]), "README.md")
	if err != nil {
		t.Fatal(err)
	}
	if got, refused := in.translate(string(tree.AppendJSON(nil))); refused != nil || got.args != want.args {
		t.Errorf("the example is refused with %+v, or is not the launch: %+v", refused, got)
	}
	// The second is of flags by name, and takes the place of what is set by none.
	tree, err = yamltree.Parse([]byte(examples[0]+examples[1]), "README.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, refused := in.translate(string(tree.AppendJSON(nil))); refused != nil {
		t.Errorf("the second example is refused with %+v", refused)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func compileSchema(t testing.TB, text string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("https://carl.test/schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("https://carl.test/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// slimeFlags says, from the facts and not from the plugin's own table, which
// spellings are one flag, and which flags hold credentials.
type slimeFlags struct {
	canonical map[string]string
	contrary  map[string]string
	secret    map[string]bool
}

func readSlimeFlags(t testing.TB) *slimeFlags {
	t.Helper()
	type described struct {
		Name, Negation string
		Aliases        []string
		Secret         bool
	}
	var d struct {
		Args     []described
		SGLang   []described `json:"sglang_flags"`
		Megatron []described `json:"megatron_flags"`
	}
	data, err := os.ReadFile(filepath.Join(slimeFacts, "slime_args.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	f := &slimeFlags{map[string]string{}, map[string]string{}, map[string]bool{}}
	for _, a := range slices.Concat(d.Args, d.SGLang, d.Megatron) {
		if f.canonical[a.Name] == "" {
			f.canonical[a.Name] = a.Name
		}
		for _, alias := range a.Aliases {
			if f.canonical[alias] == "" {
				f.canonical[alias] = a.Name
			}
		}
		if a.Negation != "" {
			f.contrary[a.Negation] = a.Name
		}
		f.secret[a.Name] = a.Secret
	}
	return f
}

var slimeOption = regexp.MustCompile(`^--[a-z]`)

// read makes a map from flag to values of a command line.
func (f *slimeFlags) read(t testing.TB, argv []string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for i := 0; i < len(argv); {
		name, value, joined := strings.Cut(argv[i], "=")
		end := i + 1
		for end < len(argv) && !slimeOption.MatchString(argv[end]) {
			end++
		}
		values := argv[i+1 : end]
		if joined {
			values = append([]string{value}, values...)
		}
		i = end
		if positive := f.contrary[name]; positive != "" {
			name, values = positive, []string{"no"}
		}
		if name = f.canonical[name]; name == "" {
			t.Errorf("unknown flag in %q", argv)
		} else if !f.secret[name] {
			all[name] = values
		}
	}
	return all
}

// compareLaunch compares with the launch that a config says again.
func compareLaunch(t *testing.T, name string, got *translation) {
	t.Helper()
	flags := readSlimeFlags(t)
	if flags == nil {
		return
	}
	data, err := os.ReadFile(filepath.Join(slimeFacts, "launches", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var launch struct {
		Entrypoint string
		Argv       []string
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&launch); err != nil {
		t.Fatal(err)
	}
	want, have := flags.read(t, launch.Argv), flags.read(t, got.argv)
	for flag, values := range want {
		if v, ok := have[flag]; !ok || !slices.EqualFunc(v, values, sameToken) {
			t.Errorf("%s: %s is %q, want %q", name, flag, v, values)
		}
	}
	for flag, values := range have {
		if _, ok := want[flag]; !ok {
			t.Errorf("%s: %s %q is too much", name, flag, values)
		}
	}
	if got.entrypoint != launch.Entrypoint {
		t.Errorf("%s: entrypoint %s, want %s", name, got.entrypoint, launch.Entrypoint)
	}
}

// sameToken compares numbers exactly, by their value.
func sameToken(a, b string) bool {
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	if okX && okY {
		return x.Cmp(y) == 0
	}
	return a == b
}

// TestSlimeRefuses looks at a refusal from outside the sandbox.
func TestSlimeRefuses(t *testing.T) {
	in := instantiate(t, module(t, "./plugins/slime"), host{})
	text := "model: {hf: /m, reference: /r}\ndata: {prompts: /d, shufle: true}\nreward: math\nrollout: {count: 1, prompts: 0}\n" +
		"training: {train_batch: 256, optimizer: {lr: 1e-6}}\nresources: {mode: colocated}\n"
	tree, err := yamltree.Parse([]byte(text), "run.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, refused := in.translate(string(tree.AppendJSON(nil)))
	want := map[string]string{"/data/shufle": "2:29", "/rollout/prompts": "4:30", "/training/train_batch": "5:25"}
	if got != nil || len(refused) != len(want) {
		t.Fatalf("translated to %+v, refused with %+v", got, refused)
	}
	for _, d := range refused {
		node, ok := tree.At(d.path)
		if at := fmt.Sprintf("%d:%d", node.Line, node.Column); !ok || want[d.path] != at {
			t.Errorf("%+v stands at %s, want %s", d, at, want[d.path])
		}
	}
	// What was refused leaves nothing behind.
	for _, config := range slimeConfigs(t) {
		if _, refused := in.translate(config); refused != nil {
			t.Errorf("refused with %+v", refused)
		}
	}
	if size := in.mod.Memory().Size(); size > 16<<20 {
		t.Errorf("the memory grew to %d bytes", size)
	}
}

// TestSlimeWithinFuel shows that a megabyte of ill will is answered, by carl's
// own loader and within a translator's budget.
func TestSlimeWithinFuel(t *testing.T) {
	p, err := wasm.Load(t.Context(), module(t, "./plugins/slime"), wasm.Config{Name: "carl.camp/slime", World: wasm.ArgsTranslator})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	many := func(head, member, tail string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; b.Len() < 1<<20; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, member, i)
		}
		b.WriteString(tail)
		return b.String()
	}
	for name, config := range map[string]string{
		"unknown flags":   many(`{"extra":{"slime":{`, `"rollout_batch_sise%d":1`, `}}}`),
		"unknown members": many(`{"rollout":{`, `"promts%d":1`, `}}`),
		"variables":       many(`{"training":{"env":{`, `"VARIABLE_%d":"1"`, `}}}`),
		"sets":            many(`{"eval":{"data":{`, `"set%d":"/d"`, `}}}`),
		"items":           many(`{"rollout":{"stop":[`, `%d`, `]}}`),
		"arguments":       many(`{"data":{"chat_template":{`, `"a%d":[{}]`, `}}}`),
	} {
		_, refused, err := p.Translator().Translate(t.Context(), []byte(config))
		if err != nil || len(refused) == 0 {
			t.Errorf("%s: %v, %d remarks", name, err, len(refused))
		}
		t.Logf("%s: %+v", name, p.Usage())
	}
}

// BenchmarkSlime translates the largest launch, and a config of five thousand
// lines, in the sandbox.
func BenchmarkSlime(b *testing.B) {
	in := instantiate(b, module(b, "./plugins/slime"), host{})
	var large strings.Builder
	large.WriteString("model: {hf: /m, architecture: qwen3-4B}\ndata: {prompts: /d}\nreward: math\nrollout: {count: 1, prompts: 32, samples_per_prompt: 8}\n" +
		"training:\n  train_batch: 256 samples\n  tokens_per_gpu: 9216\n  env:\n")
	for i := range 2500 {
		fmt.Fprintf(&large, "    VARIABLE_%d: value %d\n", i, i)
	}
	large.WriteString("resources: {mode: colocated}\neval:\n  every: 1\n  data:\n")
	for i := range 2500 {
		fmt.Fprintf(&large, "    set-%d: /data/sets/%d.jsonl\n", i, i)
	}
	tree, err := yamltree.Parse([]byte(large.String()), "run.yaml")
	if err != nil {
		b.Fatal(err)
	}
	for name, config := range map[string]string{
		"largest-launch": slimeConfigs(b)["run-glm5-744B-A40B"],
		"5000-lines":     string(tree.AppendJSON(nil)),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(config)))
			for b.Loop() {
				if _, refused := in.translate(config); refused != nil {
					b.Fatalf("%+v", refused)
				}
			}
			b.ReportMetric(float64(in.mod.Memory().Size())/(1<<20), "MiB")
		})
	}
	b.Run("schemas", func(b *testing.B) {
		for b.Loop() {
			in.schema("config-schema")
			in.schema("args-schema")
		}
	})
}
