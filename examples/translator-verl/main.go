// Command translator-verl is a translator for verl, a framework that trains
// language models by reinforcement learning, as its makers might write it: it
// takes the config that carl's own translator takes for slime, and makes of it
// the overrides of Hydra that verl is started with.
//
//	table.go    which member of a config is which key of verl
//	convert.go  what becomes of a value on the way, and what must fit together
//	hydra.go    how a value is written on the command line
//	schema.go   the schemas, made of the table
package main

import (
	"slices"
	"strings"

	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/json"
	"carl.camp/carl/sdk/translator"
)

// entrypoint is the module verl.trainer.main_ppo, as a file of verl's source:
// carl runs files.
const entrypoint = "verl/trainer/main_ppo.py"

func init() { translator.Register(verl{}) }

func main() { sdk.Main() }

type verl struct{}

func (verl) ConfigSchema() string { return configSchema() }

func (verl) ArgsSchema() string { return argsSchema() }

func (verl) Translate(config string) (translator.Translation, []translator.Diagnostic) {
	root, err := json.Parse(config)
	if err != nil {
		return translator.Translation{}, []translator.Diagnostic{{Message: err.Error()}}
	}
	t := &translation{members: map[string]json.Value{}}
	t.read("", root)
	if len(t.members) > 0 { // a config of nothing but extra is complete
		for _, r := range table {
			t.apply(r)
		}
		t.fit()
	}
	for _, s := range silent {
		t.leaveOut(s)
	}
	if len(t.errors) > 0 {
		return translator.Translation{}, t.errors
	}
	made := translator.Translation{Entrypoint: entrypoint, Warnings: t.warnings}
	var args json.Object
	args.Open()
	args.Int("verl_args_version", 1)
	args.String("entrypoint", entrypoint)
	for i, list := range [][]setting{t.settings, t.extra} {
		args.Key([]string{"overrides", "extra"}[i])
		args.Open()
		for _, s := range list {
			args.Raw(s.key, s.value)
			made.Argv = append(made.Argv, s.key+"="+hydra(s.value))
		}
		args.Close()
	}
	args.Close()
	made.Args = string(args.Bytes())
	return made, nil
}

// A translation is one config on its way to overrides.
type translation struct {
	members          map[string]json.Value // sections too, by path
	settings, extra  []setting
	errors, warnings []translator.Diagnostic
}

// shorts is which members a value stands for where a section may stand too.
var shorts = map[string][]string{
	"reward": {"builtin"}, "algorithm": {"name"}, "algorithm.clip": {"low"}, "training.recompute": {"granularity"},
	"resources.offload": {"training", "rollout"}, "training.optimizer.offload": {"cpu"},
}

// A setting is a key of verl, its value as JSON, and the path that it is from:
// names of the config with dots between them.
type setting struct{ key, value, from string }

// read notes the members below a path, and refuses those that nobody knows.
func (t *translation) read(path string, v json.Value) {
	if v.Kind() != json.Obj {
		t.wrong(path, "a mapping", v)
	}
	for name, value := range v.Members() {
		p := sub(path, name)
		isKnown, names := slices.Contains(known, p), below(p)
		switch {
		case t.is(p):
			t.refuse(p, "this member occurs twice", "")
		case p == "backend":
			words("acme.dev/verl>").make(t, p, value)
		case p == "entrypoint": // slime's train.py waits for each rollout, as verl does
			words("train.py> "+entrypoint+">").make(t, p, value)
		case p == "extra":
			t.passThrough(value)
		case !isKnown && len(names) == 0:
			t.refuse(p, "unknown member "+brief(quote(name)), "known are "+strings.Join(below(path), ", "))
		default:
			t.members[p] = value
			plain := value.Kind() == json.Bool || value.Kind() == json.Number || value.Kind() == json.String
			switch {
			case len(names) == 0 || isKnown && value.Kind() == json.Bool:
			case shorts[p] != nil && plain:
				for _, name := range shorts[p] {
					t.members[sub(p, name)] = value
				}
			default:
				t.read(p, value)
			}
		}
	}
}

// passThrough takes the keys of extra.verl as they are.
func (t *translation) passThrough(extra json.Value) {
	for group, keys := range extra.Members() {
		at := sub("extra", group)
		switch group {
		case "verl":
		case "slime", "megatron", "sglang", "router":
			t.refuse(at, "verl takes no flags of "+group, "say it in a section, or by verl's own key under extra.verl")
			continue
		default:
			t.refuse(at, "unknown member "+brief(quote(group)), "known is verl")
			continue
		}
		if keys.Kind() != json.Obj {
			t.wrong(at, "a mapping from verl's keys to values", keys)
		}
		for key, value := range keys.Members() {
			switch p := sub(at, key); {
			case !isKey(key):
				t.refuse(p, "this is no key of Hydra's", "such as trainer.log_val_generations, or with + before it where verl's config does not have it")
			case value.Kind() == json.Obj:
				t.refuse(p, "expected a value, and this is a mapping", "write each of its members as KEY.MEMBER")
			case find(t.extra, key) != nil:
				t.refuse(p, "this key is set twice", "")
			default:
				t.extra = append(t.extra, setting{key, value.Text(), p})
			}
		}
	}
}

func find(list []setting, key string) *setting {
	for i := range list {
		if bare(list[i].key) == bare(key) {
			return &list[i]
		}
	}
	return nil
}

// apply sets the key of one row.
func (t *translation) apply(r row) {
	if r.when != nil && !r.when(t) {
		return
	}
	from, v := r.from, t.members[r.from]
	inExtra := find(t.extra, r.to)
	if v.Kind() == json.Absent || isDefault(from, v) && r.unset == needed {
		other, isOther := strings.CutPrefix(r.unset, "@")
		switch {
		case r.unset == "" || inExtra != nil:
			return
		case r.unset == needed:
			t.refuse(from, from+" is missing, and verl needs it", "")
			return
		case isOther:
			other, otherwise, _ := strings.Cut(other, " ")
			if from, v = other, t.members[other]; v.Kind() == json.Absent {
				v, _ = json.Parse(otherwise)
			}
		default:
			v, _ = json.Parse(r.unset)
		}
	}
	if v.Kind() == json.Absent || isDefault(from, v) {
		return
	}
	made := setting{r.to, r.as.make(t, from, v), from}
	before := find(t.settings, r.to)
	switch {
	case made.value == "":
	case inExtra != nil:
		t.refuse(inExtra.from, "this is what "+pointer(from)+" sets", "leave one of them out")
	case before == nil:
		t.settings = append(t.settings, made)
	case before.value != made.value:
		t.refuse(from, made.key+" is set twice: here and at "+pointer(before.from), "")
	}
}

// leaveOut says of members that verl has no word for what is lost with them.
func (t *translation) leaveOut(s silence) {
	for _, name := range strings.Fields(s.members) {
		path := sub(s.section, name)
		v := t.members[path]
		but := s.but
		if other, ok := strings.CutPrefix(but, "@"); ok {
			but = t.members[other].Text()
		}
		isSection := v.Kind() == json.Obj && len(below(path)) > 0
		switch {
		case v.Kind() == json.Absent || v.Text() == but || isDefault(path, v) || isSection:
		case s.but == "" && (v.Text() == "false" || v.Text() == "0" || v.Text() == "0.0"): // it asks for nothing
		case s.lost == harmless:
			t.warn(path, "left out: "+s.why, "")
		case s.lost == training:
			t.refuse(path, "verl has no word for this, and would train something else: "+s.why, "leave it out, or set a key of verl's under extra.verl")
		}
	}
}

// isDefault is the word that leaves a member of training to the backend.
func isDefault(path string, v json.Value) bool {
	return v.Text() == `"default"` && strings.HasPrefix(path, "training.")
}

// sub is the path of a member. A dot in its name is not one between names.
func sub(path, name string) string {
	return strings.TrimPrefix(path+"."+strings.ReplaceAll(name, ".", "\x00"), ".")
}

var escapes = strings.NewReplacer("~", "~0", "/", "~1", ".", "/", "\x00", ".")

// pointer is a path as a JSON Pointer (RFC 6901).
func pointer(path string) string {
	if path == "" {
		return ""
	}
	return "/" + escapes.Replace(path)
}

func (t *translation) is(path string) bool { return t.members[path].Kind() != json.Absent }

func (t *translation) refuse(path, message, hint string) { say(&t.errors, path, message, hint) }

func (t *translation) warn(path, message, hint string) { say(&t.warnings, path, message, hint) }

// maxRemarks bounds what one config is told: who has mended a hundred lines runs
// it again.
const maxRemarks = 100

// say adds a remark once: two rows may read one member.
func say(list *[]translator.Diagnostic, path, message, hint string) {
	d := translator.Diagnostic{Path: pointer(path), Message: message, Hint: hint}
	if len(*list) < maxRemarks && !slices.Contains(*list, d) {
		*list = append(*list, d)
	}
}

// wrong says what was expected, and what is there.
func (t *translation) wrong(path, want string, v json.Value) {
	was := v.Kind().String()
	if v.Kind() != json.Obj && v.Kind() != json.Array {
		was = brief(v.Text())
	}
	t.refuse(path, "expected "+want+", and this is "+was, "")
}

// brief keeps what somebody wrote short enough for a message.
func brief(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}
