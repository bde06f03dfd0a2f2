package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHostile is about configs that nobody means well with.
func TestHostile(t *testing.T) {
	many := func(n int, member func(i int) string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = member(i)
		}
		return strings.Join(list, ",")
	}
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, text := range map[string]string{
		"nothing":            "",
		"no JSON":            "{",
		"null":               "null",
		"a list":             "[]",
		"text":               `"train"`,
		"empty":              "{}",
		"too deep":           deep(1000),
		"deep":               deep(100),
		"deep arguments":     `{"data":{"chat_template":` + deep(100) + `}}`,
		"huge text":          `{"model":{"hf":"` + strings.Repeat("x", 1<<20) + `"}}`,
		"huge name":          `{"` + strings.Repeat("x", 1<<20) + `":1}`,
		"huge flag":          `{"extra":{"slime":{"` + strings.Repeat("x", 1<<20) + `":1}}}`,
		"huge number":        `{"rollout":{"count":` + strings.Repeat("9", 1<<20) + `}}`,
		"huge exponent":      `{"rollout":{"temperature":1e999999999}}`,
		"beyond all":         `{"x":"` + strings.Repeat("x", maxConfig) + `"}`,
		"unknown members":    `{"rollout":{` + many(50_000, func(i int) string { return `"promts` + strconv.Itoa(i) + `":1` }) + `}}`,
		"unknown flags":      `{"extra":{"slime":{` + many(40_000, func(i int) string { return `"rollout_batch_sise` + strconv.Itoa(i) + `":1` }) + `}}}`,
		"a member again":     `{"rollout":{` + many(50_000, func(int) string { return `"prompts":1` }) + `}}`,
		"a section again":    `{` + many(50_000, func(int) string { return `"rollout":{}` }) + `}`,
		"a flag again":       `{"extra":{"slime":{` + many(40_000, func(int) string { return `"num_rollout":1` }) + `}}}`,
		"a set again":        `{"eval":{"data":{` + many(40_000, func(int) string { return `"a":"/a"` }) + `}}}`,
		"a variable again":   `{"training":{"env":{` + many(40_000, func(int) string { return `"A":"/a"` }) + `}}}`,
		"bad variables":      `{"training":{"env":{` + many(40_000, func(i int) string { return `"A` + strconv.Itoa(i) + `":1` }) + `}}}`,
		"bad items":          `{"rollout":{"stop":[` + many(200_000, func(int) string { return `1` }) + `]}}`,
		"a preset again":     `{"model":{"architecture":{` + many(40_000, func(int) string { return `"preset":"kimi-k2"` }) + `}}}`,
		"an empty name":      `{"":{"":1},"extra":{"slime":{"":1}}}`,
		"a name of slashes":  `{"a/b~c":1}`,
		"half a surrogate":   `{"model":{"hf":"\ud800"}}`,
		"a NUL":              `{"model":{"hf":"a\u0000b"}}`,
		"a newline":          `{"extra":{"slime":{"a\nb":1}}}`,
		"sizes beyond":       `{"extra":{"slime":{"rollout_batch_size":9223372036854775807,"n_samples_per_prompt":9223372036854775807,"global_batch_size":99999999999999999999999}}}`,
		"a pattern of code":  `{"extra":{"megatron":{"moe_layer_freq":"__import__('os').system('true')"}}}`,
		"members of nothing": `{"model":null,"data":[],"reward":{},"algorithm":1,"rollout":"x","training":true,"resources":null,"eval":1,"extra":1}`,
	} {
		start := time.Now()
		_, refused := translate(text)
		if len(refused) == 0 || len(refused) > maxRemarks+1 {
			t.Errorf("%s: %d remarks", name, len(refused))
		}
		for _, d := range refused {
			if len(d.Message) > 1000 || len(d.Hint) > 1000 || d.Message == "" || strings.ContainsAny(d.Message+d.Hint, "\n\x00") {
				t.Errorf("%s: %.200q, %.200q", name, d.Message, d.Hint)
			}
			if d.Path != "" && d.Path[0] != '/' {
				t.Errorf("%s: %q is no pointer", name, d.Path)
			}
		}
		if len(refused) > maxRemarks && !strings.HasPrefix(refused[maxRemarks].Message, "and ") {
			t.Errorf("%s ends with %+v", name, refused[maxRemarks])
		}
		t.Logf("%s: %d remarks in %v", name, len(refused), time.Since(start).Round(time.Millisecond))
	}
}

// FuzzTranslate holds what the translator promises of any text: it is refused
// with reasons, or becomes arguments that are JSON without repeated members.
func FuzzTranslate(f *testing.F) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzTranslate/*")
	if err != nil || len(seeds) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	asArgs := schema(f, argsSchema())
	f.Add(friendly)
	f.Add(encode(f, base()))
	f.Fuzz(func(t *testing.T, text string) {
		got, refused := translate(text)
		if len(refused) > 0 {
			if len(refused) > maxRemarks+1 {
				t.Fatalf("%d remarks", len(refused))
			}
			for _, d := range refused {
				if d.Message == "" || d.Path != "" && d.Path[0] != '/' {
					t.Fatalf("%+v", d)
				}
			}
			return
		}
		if !json.Valid([]byte(got.Args)) {
			t.Fatalf("%s became %s", text, got.Args)
		}
		if err := asArgs(got.Args); err != nil {
			t.Fatalf("%s became %s: %v", text, got.Args, err)
		}
		if _, twice, repeated := compact(got.Args); repeated {
			t.Fatalf("%s became %s, which has %q twice", text, got.Args, twice)
		}
		if got.Entrypoint != "train.py" && got.Entrypoint != "train_async.py" {
			t.Fatalf("%s runs %q", text, got.Entrypoint)
		}
		if len(got.Argv) == 0 || !strings.HasPrefix(got.Argv[0], "--") {
			t.Fatalf("%s runs with %q", text, got.Argv)
		}
		again, refused := translate(text)
		if len(refused) > 0 || again.Args != got.Args || strings.Join(again.Argv, "\x00") != strings.Join(got.Argv, "\x00") {
			t.Fatalf("%s gives another outcome the second time", text)
		}
	})
}

// large is a config of five thousand lines.
func large() string {
	var out strings.Builder
	out.WriteString(`{"model":{"hf":"/m","reference":"/r","architecture":"glm5-744B-A40B"},"data":{"prompts":"/d"},"reward":"math","algorithm":"grpo",
		"rollout":{"count":1,"prompts":64,"samples_per_prompt":8},"training":{"train_batch":"512 samples","tokens_per_gpu":9216,"env":{`)
	for i := range 2500 {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(`"VARIABLE_` + strconv.Itoa(i) + `":"value ` + strconv.Itoa(i) + `"`)
	}
	out.WriteString(`}},"resources":{"mode":"colocated"},"eval":{"every":1,"data":{`)
	for i := range 2500 {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString(`"set-` + strconv.Itoa(i) + `":"/data/sets/` + strconv.Itoa(i) + `.jsonl"`)
	}
	out.WriteString(`}}}`)
	return out.String()
}

func TestLarge(t *testing.T) {
	got := good(t, large())
	if len(got.Argv) < 5000 {
		t.Errorf("%d tokens", len(got.Argv))
	}
}

func BenchmarkTranslate(b *testing.B) {
	configs := map[string]string{"small": friendly, "5000-lines": large()}
	if data, err := os.ReadFile("testdata/fuzz/FuzzTranslate/glm5"); err == nil {
		_, line, _ := strings.Cut(string(data), "\n")
		text, err := strconv.Unquote(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "string("), ")"))
		if err != nil {
			b.Fatal(err)
		}
		configs["largest-launch"] = text
	}
	for name, config := range configs {
		good(b, config)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(config)))
			for b.Loop() {
				translate(config)
			}
		})
	}
}
