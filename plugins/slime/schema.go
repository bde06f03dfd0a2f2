package main

import (
	"strings"

	"carl.camp/carl/sdk/json"
)

const (
	dialect    = "https://json-schema.org/draft/2020-12/schema"
	pythonPath = `^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$`
	rewardForm = `^(boxed_)?(deepscaler|dapo|math|f1|gpqa|ifbench|random)$|^remote_rm$`
	rewardHere = `^(boxed_)?(deepscaler|dapo|math|f1|gpqa|ifbench|random)$|^(remote_rm|per_sample)$`
	variable   = `^[A-Za-z_][A-Za-z0-9_]*$`
)

// A form writes JSON Schemas.
type form struct {
	json.Object
	// config is set for the schema of a config, where some values may be
	// written in more ways than they have in the arguments.
	config bool
}

// argsSchema is the JSON Schema of the arguments, made of the table of flags.
// It has no flag whose value is a credential.
func argsSchema() string {
	s := &form{Object: json.NewObject(make([]byte, 0, 1<<17))}
	docs := map[string]string{}
	describe(&config, docs)
	s.Open()
	s.String("$schema", dialect)
	s.String("$id", "https://carl.camp/schemas/slime-args-1.json")
	s.String("title", "Arguments of a training run of slime")
	s.String("description", "A property is a flag without its dashes, in snake_case.")
	s.String("type", "object")
	s.Bool("additionalProperties", false)
	s.Raw("required", `["slime_args_version","entrypoint","args","megatron","sglang","router"]`)
	s.Key("properties")
	s.Open()
	s.Raw("slime_args_version", `{"const":1}`)
	s.Raw("entrypoint", `{"enum":["train.py","train_async.py"]}`)
	for i := range len(groups) {
		s.Key(groupName(groups[i]))
		s.Open()
		s.String("type", "object")
		s.Bool("additionalProperties", false)
		s.Key("properties")
		s.Open()
		for e := range entries() {
			if e.mark[0] != groups[i] {
				continue
			}
			if f := e.flag(); !f.secret {
				s.Key(f.name)
				s.Open()
				s.flag(f)
				s.initially(f)
				if doc := docs[f.name]; doc != "" {
					s.String("description", doc)
				}
				s.Close()
			}
		}
		s.Close()
		s.Close()
	}
	s.Close()
	s.Raw("allOf", `[{"if":{"properties":{"entrypoint":{"const":"train_async.py"}}},"then":{"properties":{"args":{"properties":{"colocate":{"const":false}}}}}}]`)
	s.Close()
	return string(s.Bytes())
}

// describe collects what the members of a config say about their flags.
func describe(f *field, docs map[string]string) {
	for i := range f.sub {
		m := &f.sub[i]
		if m.flag != "" && m.conv != inverse && docs[m.flag] == "" {
			docs[m.flag] = m.doc
		}
		describe(m, docs)
	}
}

// flag writes what a flag takes, into an open object.
func (s *form) flag(f *flag) {
	switch f.kind {
	case "flag", "switch", "retired", "bool":
		s.String("type", "boolean")
	case "int", "float":
		s.numbers(f)
	case "text", "python":
		s.texts(f)
	case "optional":
		s.Raw("anyOf", `[{"type":"string"},{"const":true}]`)
	case "json":
		object := `"type":"object"`
		if f.name == "train_env_vars" {
			object += `,"additionalProperties":{"type":"string"},"propertyNames":{"pattern":"` + variable + `"}`
		}
		if s.config {
			s.Raw("anyOf", `[{`+object+`},{"type":"string","description":"The text of a JSON object."}]`)
			return
		}
		s.Members([]byte(object))
	case "freq":
		if s.config {
			s.Raw("anyOf", `[{"type":["integer","string"]},{"type":"array","items":{"type":"integer"}}]`)
			return
		}
		s.Raw("type", `["integer","string"]`)
	case "tuple":
		if s.config {
			s.Raw("anyOf", `[{"type":"string"},{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":2}]`)
			return
		}
		s.String("type", "string")
	case "signal":
		s.Raw("type", `["integer","string"]`)
	default:
		s.String("type", "array")
		s.Key("items")
		s.Open()
		switch {
		case f.of("ints"), f.of("floats"):
			s.numbers(f)
		case f.kind == "groups":
			s.Raw("anyOf", `[{"type":"string"},{"type":"array","items":{"type":"string"},"minItems":1}]`)
		default:
			s.texts(f)
		}
		s.Close()
		switch {
		case f.kind == "ints3":
			s.Raw("minItems", "3")
			s.Raw("maxItems", "3")
		case !strings.HasSuffix(f.kind, "*"):
			s.Raw("minItems", "1")
		}
	}
}

func (s *form) numbers(f *flag) {
	if f.of("int") {
		s.String("type", "integer")
	} else {
		s.String("type", "number")
	}
	for _, bound := range []struct{ name, value string }{{"minimum", f.min}, {"exclusiveMinimum", f.above}, {"maximum", f.max}} {
		if bound.value != "" {
			s.Raw(bound.name, bound.value)
		}
	}
	if f.choices != "" {
		s.Raw("enum", "["+f.choices+"]")
	}
}

func (s *form) texts(f *flag) {
	s.String("type", "string")
	switch {
	case f.choices != "":
		s.enum(strings.Split(f.choices, ","))
	case f.of("python"):
		s.String("pattern", pythonPath)
	case f.name == "rm_type":
		s.String("pattern", rewardForm)
	}
}

func (s *form) enum(list []string) {
	out := []byte{'['}
	for i, item := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = json.AppendString(out, item)
	}
	s.Raw("enum", string(append(out, ']')))
}

// initially writes what the parser has when the flag is not passed.
func (s *form) initially(f *flag) {
	switch {
	case f.initial == "":
	case f.kind == "text" || f.kind == "python":
		s.String("default", f.initial)
	case f.kind == "int" || f.kind == "float" || f.initial[0] == '[':
		s.Raw("default", f.initial)
	}
}

// configSchema is the JSON Schema of a config, for editors.
func configSchema() string {
	s := &form{Object: json.NewObject(make([]byte, 0, 1<<17)), config: true}
	s.Open()
	s.String("$schema", dialect)
	s.String("$id", "https://carl.camp/schemas/slime-config-1.json")
	s.String("title", "A training run of slime")
	s.section(&config)
	s.Key("$defs")
	s.Open()
	for i := range len(groups) {
		s.Key(extraName(groups[i]))
		s.Open()
		s.Key("properties")
		s.Open()
		for e := range entries() {
			target, _, _ := follow(e.name)
			group := target.mark[0]
			if e.name == "persistent_save_interval" {
				group = 'm'
			}
			if !target.isFlag() || group != groups[i] {
				continue
			}
			if f := target.flag(); !f.secret {
				s.Key(e.name)
				s.Open()
				s.flag(f)
				s.Close()
			}
		}
		s.Close()
		s.Close()
	}
	s.Close()
	s.Close()
	return string(s.Bytes())
}

// section writes the members of a mapping.
func (s *form) section(f *field) {
	s.String("type", "object")
	s.Bool("additionalProperties", false)
	s.Key("properties")
	s.Open()
	for i := range f.sub {
		m := &f.sub[i]
		s.Key(m.name)
		s.Open()
		s.String("description", m.doc)
		if m.initial != "" {
			s.Raw("default", m.initial)
		}
		if m.takesDefault() {
			s.either(func() { s.member(m) }, s.is("default"))
		} else {
			s.member(m)
		}
		s.Close()
	}
	s.Close()
}

// either writes anyOf with a schema for each of the functions.
func (s *form) either(schemas ...func()) {
	// The SDK's writer knows objects alone, so the list is put together here.
	outer := s.Object
	list := []byte{'['}
	for i, schema := range schemas {
		if i > 0 {
			list = append(list, ',')
		}
		s.Object = json.Object{}
		s.Open()
		schema()
		s.Close()
		list = append(list, s.Bytes()...)
	}
	s.Object = outer
	s.Raw("anyOf", string(append(list, ']')))
}

func (s *form) boolean() { s.String("type", "boolean") }

func (s *form) is(word string) func() { return func() { s.String("const", word) } }

func (s *form) shape(pattern string) func() {
	return func() {
		s.String("type", "string")
		s.String("pattern", pattern)
	}
}

// member writes what a member takes.
func (s *form) member(f *field) {
	flagOf := func() { s.flag(flagNamed(f.flag)) }
	switch f.conv {
	case plain, tokens, attentionDP, ownLoss:
		flagOf()
	case inverse:
		s.boolean()
	case section, offloaded, allOf:
		switch {
		case f.conv != section || f.flag != "":
			s.either(s.boolean, func() { s.section(f) })
		case f.short != "":
			s.either(func() { s.member(f.at(f.short)) }, func() { s.section(f) })
		default:
			s.section(f)
		}
	case held:
		switch f.name {
		case "builtin":
			s.shape(rewardHere)()
		case "where":
			s.enum([]string{"loss", "reward"})
		case "coef":
			s.String("type", "number")
		default:
			s.boolean()
		}
	case backendName:
		s.enum([]string{"slime", "carl.camp/slime"})
	case program:
		s.enum([]string{"train.py", "train_async.py"})
	case architect:
		s.either(func() { s.enum(presetNames()) }, s.architecture)
	case template:
		s.Raw("type", `["boolean","object"]`)
	case algorithm:
		s.enum(append(strings.Split(flagNamed(f.flag).choices, ","), "sft"))
	case batch:
		s.shape(`^\s*[0-9]+ +(samples?|steps?)\s*$`)()
	case warm:
		s.either(func() { s.Raw("type", `"number","minimum":0,"maximum":1`) }, s.shape(`^\s*[0-9]+ +(samples?|steps?)\s*$`))
	case betas:
		s.Raw("type", `"array","items":{"type":"number"},"minItems":2,"maxItems":2`)
	case balanced:
		s.either(s.boolean, s.is("flops"))
	case resumed:
		s.either(s.boolean, s.is("masked"))
	case replay:
		s.either(s.boolean, s.is("rollout"))
	case placement:
		s.enum([]string{"colocated", "separate", "async"})
	case dataSets:
		s.Raw("type", `"object","minProperties":1,"additionalProperties":{"type":"string"}`)
	case filter:
		short := make([]string, len(filters))
		for i, known := range filters {
			short[i] = known.name
		}
		s.either(func() { s.enum(short) }, flagOf)
	case graphs:
		s.either(flagOf, func() { s.flag(flagNamed("sglang_cuda_graph_bs")) }, func() { s.Raw("const", "false") })
	case precision:
		s.enum([]string{"bf16", "fp16"})
	case typed:
		s.String("type", "object")
		s.String("$ref", "#/$defs/"+f.name)
		s.Bool("unevaluatedProperties", false)
	}
}

// modelFlags are those of slime that belong to an architecture as much as
// Megatron's do.
var modelFlags = []string{"allgather_cp", "mtp_num_layers", "padded_vocab_size"}

func (s *form) architecture() {
	s.String("type", "object")
	s.String("$ref", "#/$defs/megatron")
	s.Key("properties")
	s.Open()
	s.Key("preset")
	s.Open()
	s.enum(presetNames())
	s.Close()
	for _, name := range modelFlags {
		s.Key(name)
		s.Open()
		s.flag(flagNamed(name))
		s.Close()
	}
	s.Close()
	s.Bool("unevaluatedProperties", false)
}
