package main

import (
	"strconv"
	"strings"

	"carl.camp/carl/sdk/json"
	"carl.camp/carl/sdk/translator"
)

// maxSearches bounds how often the table of flags is searched for the nearest
// name, which takes a millisecond in the sandbox.
const maxSearches = 25

// maxConfig bounds a config. carl reads files of one megabyte at most; JSON
// takes a little more room than YAML.
const maxConfig = 4 << 20

// The ranks of a setting: a lower one gives way to a higher.
const (
	initially uint8 = iota // because its section is there
	implied                // by a preset, or by a name that stands for several flags
	given                  // by the config itself
)

// refused is the text of a setting whose value was refused.
const refused = ""

// A setting is one flag that is set.
type setting struct {
	flag *flag
	// text is the value as it stands in the arguments, or [refused].
	text string
	at   *place
	rank uint8
}

// A translation is one config on its way to arguments.
type translation struct {
	errors, warnings remarks
	settings         []setting
	index            map[string]int // into settings, by the flag's name
	// program is the entrypoint that the config names, or that follows.
	program   string
	programAt *place
	async     *place // where the mode says async
	// perSample is set where the samples name their rewards.
	perSample bool
	searches  int // for the nearest flag
	// sections is what of the config's first level is there.
	sections map[string]bool
}

func translate(text string) (translator.Translation, []translator.Diagnostic) {
	t := &translation{
		settings: make([]setting, 0, 160),
		index:    make(map[string]int, 160),
		sections: make(map[string]bool, len(config.sub)),
	}
	if len(text) > maxConfig {
		t.errors.add(nil, "the config is "+strconv.Itoa(len(text))+" bytes long; "+strconv.Itoa(maxConfig)+" are read", "")
		return translator.Translation{}, t.errors.all()
	}
	root, err := json.Parse(text)
	if err != nil {
		t.errors.add(nil, err.Error(), "")
		return translator.Translation{}, t.errors.all()
	}
	t.member(&config, root, nil, given)
	t.entrypoint()
	t.rules()
	if len(t.errors.list) > 0 {
		return translator.Translation{}, t.errors.all()
	}
	return t.result()
}

// entrypoint decides which program runs.
func (t *translation) entrypoint() {
	switch {
	case t.program == "" && t.async != nil:
		t.program, t.programAt = "train_async.py", t.async
	case t.program == "":
		t.program = "train.py"
	case t.program == "train.py" && t.async != nil:
		t.errors.add(t.programAt, "train.py waits for each rollout, and "+t.async.pointer()+" says async", "leave the entrypoint out")
	}
}

// put sets a flag.
func (t *translation) put(f *flag, text string, at *place, rank uint8) {
	i, ok := t.index[f.name]
	if !ok {
		t.index[f.name] = len(t.settings)
		t.settings = append(t.settings, setting{f, text, at, rank})
		return
	}
	s := &t.settings[i]
	switch {
	case rank < s.rank:
	case rank == given && s.rank == given:
		if t.errors.enough() {
			return
		}
		t.errors.add(at, option(f.name)+" is set twice: here and at "+s.at.pointer(), "leave one of them out")
	default:
		*s = setting{f, text, at, rank}
	}
}

// setTo sets a flag of this package's own choosing.
func (t *translation) setTo(name, text string, at *place, rank uint8) {
	t.put(flagNamed(name), text, at, rank)
}

// set checks a value and sets a flag to it.
func (t *translation) set(name string, v json.Value, at *place, rank uint8) {
	t.flagValue(flagNamed(name), false, v, at, rank)
}

// boolean reads true or false.
func (t *translation) boolean(v json.Value, at *place, expected string) (b, ok bool) {
	if b, ok = v.Bool(); !ok {
		t.mistyped(&flag{}, v, at, expected)
	}
	return b, ok
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// member translates what stands under one field of the language.
func (t *translation) member(f *field, v json.Value, at *place, rank uint8) {
	if v.Text() == `"default"` && f.takesDefault() {
		return
	}
	switch f.conv {
	case plain:
		t.set(f.flag, v, at, rank)
	case inverse:
		if b, ok := t.boolean(v, at, "true or false"); ok {
			t.setTo(f.flag, boolText(!b), at, rank)
		}
	case section, offloaded, allOf:
		t.section(f, v, at, rank)
	case backendName:
		if s, ok := v.Str(); !ok {
			t.mistyped(&flag{}, v, at, "text")
		} else if s != "slime" && s != "carl.camp/slime" {
			t.errors.add(at, "this is the translator of slime, and the config is for "+quote(s), "")
		}
	case program:
		s, ok := v.Str()
		if s == "train.py" || s == "train_async.py" {
			t.program, t.programAt = s, at
		} else if !ok {
			t.mistyped(&flag{}, v, at, "text")
		} else {
			t.errors.add(at, quote(s)+" is no program of slime: expected train.py or train_async.py", "")
		}
	case typed:
		t.extra(f.name, v, at)
	default:
		t.special(f, v, at, rank)
	}
}

// section translates a mapping, member by member in the language's order.
func (t *translation) section(f *field, v json.Value, at *place, rank uint8) {
	if v.Kind() != json.Obj {
		t.shortForm(f, v, at, rank)
		return
	}
	var room [32]json.Value
	values := room[:]
	if len(f.sub) > len(room) {
		values = make([]json.Value, len(f.sub))
	}
	for name, value := range v.Members() {
		i := f.find(name)
		switch {
		case i < 0:
			t.unknown(f, name, at)
		case values[i].Kind() != json.Absent:
			t.twice(at.to(name))
		default:
			values[i] = value
			if f == &config {
				t.sections[name] = true
			}
		}
	}
	if f.conv == section && f.flag != "" {
		t.setTo(f.flag, "true", at, rank)
	}
	switch f {
	case rewardMembers:
		t.reward(f, values, at.to("builtin"), at)
	case klMembers:
		t.kl(f, values, at)
	}
	for i := range f.sub {
		m := &f.sub[i]
		switch {
		case m.conv == held:
		case values[i].Kind() != json.Absent:
			t.member(m, values[i], at.to(m.name), rank)
		case m.initial != "":
			initial, _ := json.Parse(m.initial)
			t.member(m, initial, at, initially)
		case f != &config && m.conv == section && m.hasInitial():
			t.section(m, emptyMapping, at, initially)
		}
	}
}

var emptyMapping, _ = json.Parse("{}")

func (t *translation) twice(at *place) {
	t.errors.add(at, "this member occurs twice", "leave one of them out")
}

// shortForm translates a value where a mapping may stand too.
func (t *translation) shortForm(f *field, v json.Value, at *place, rank uint8) {
	b, isBool := v.Bool()
	switch {
	case isBool && f.conv == offloaded:
		// One flag says yes for both sides, and none says no.
		if b {
			t.setTo(f.flag, "true", at, rank)
			return
		}
		for i := range f.sub {
			t.setTo(f.sub[i].flag, "false", at, rank)
		}
	case isBool && f.conv == allOf:
		for i := range f.sub {
			t.setTo(f.sub[i].flag, boolText(b), at, rank)
		}
	case isBool && f.flag != "":
		t.setTo(f.flag, boolText(b), at, rank)
	case f.short != "" && v.Kind() != json.Array && v.Kind() != json.Null:
		if f == recomputeMembers && v.Text() == `"full"` {
			t.setTo("recompute_method", `"uniform"`, at, implied)
			t.setTo("recompute_num_layers", "1", at, implied)
		}
		m := &f.sub[f.find(f.short)]
		if m.conv == held {
			values := make([]json.Value, len(f.sub))
			values[f.find(f.short)] = v
			t.reward(f, values, at, at)
			return
		}
		t.member(m, v, at, rank)
	default:
		expected := "a mapping"
		switch {
		case f.conv == offloaded || f.conv == allOf || f.flag != "":
			expected = "true, false or a mapping"
		case f.short == "low":
			expected = "a number or a mapping"
		case f.short != "":
			expected = "text or a mapping"
		}
		t.mistyped(&flag{}, v, at, expected)
	}
}

func (f *field) find(name string) int {
	for i := range f.sub {
		if f.sub[i].name == name {
			return i
		}
	}
	return -1
}

// at returns the member of a section by its name.
func (f *field) at(name string) *field { return &f.sub[f.find(name)] }

func (f *field) hasInitial() bool {
	for i := range f.sub {
		m := &f.sub[i]
		if m.initial != "" || m.conv == section && m.hasInitial() {
			return true
		}
	}
	return false
}

// takesDefault reports whether the word default may stand for a member: it has
// an initial value, or stands in a section of some and has some itself.
func (f *field) takesDefault() bool {
	return f.initial != "" || f.conv == section && f != trainingMembers && f != &config && f.hasInitial()
}

// extra translates a mapping of flags.
func (t *translation) extra(group string, v json.Value, at *place) {
	if v.Kind() != json.Obj {
		t.mistyped(&flag{}, v, at, "a mapping of flags")
		return
	}
	for name, value := range v.Members() {
		f, contrary := t.resolve(group, name, at)
		if f != nil {
			t.flagValue(f, contrary, value, at.to(name), given)
		}
	}
}

// flagValue sets a flag under its own name, or under the one that says no.
func (t *translation) flagValue(f *flag, contrary bool, v json.Value, at *place, rank uint8) {
	text, ok := t.value(f, v, at)
	switch {
	case !ok:
		text = refused
	case contrary:
		text = boolText(text == "false")
	}
	t.put(f, text, at, rank)
}

// resolve finds the flag of a name under extra. Where there is none it says
// why and returns nil.
func (t *translation) resolve(group, name string, at *place) (f *flag, contrary bool) {
	e, contrary, ok := follow(name)
	if ok && e.isFlag() {
		f = e.flag()
		// What slime sets a default of is in both places the same flag, and
		// only one of them is the one that the arguments have it in.
		right := extraName(f.group) == group || group == "megatron" && name == "persistent_save_interval"
		if right && !f.secret {
			return f, contrary
		}
	}
	if t.errors.enough() {
		return nil, false
	}
	at = at.to(name)
	switch {
	case f != nil && f.secret:
		t.secret(f, at)
	case f != nil:
		t.errors.add(at, quote(name)+" is no flag of extra."+group, "it belongs under extra."+extraName(f.group))
	case ok && e.mark == "!":
		t.hidden(name, at)
	default:
		hint, name := t.flagHint(group, name, e, ok)
		t.errors.add(at, "no parser of slime knows the flag "+quote(at.name), hint)
		t.meant(name, at)
	}
	return nil, false
}

// meant notes a flag that somebody has probably misspelt, so that it is not
// said to be missing as well.
func (t *translation) meant(name string, at *place) {
	if e, ok := find(name); ok && e.isFlag() {
		t.put(e.flag(), refused, at, initially)
	}
}

// secret refuses a flag whose value is a credential, without its value.
func (t *translation) secret(f *flag, at *place) {
	hint := "give it to the process in its environment, not in a config"
	if f.name == "wandb_key" {
		hint = "set WANDB_API_KEY in the environment that the run is started in"
	}
	t.errors.add(at, option(f.name)+" carries a credential, and credentials are no part of a config", hint)
}

// hidden refuses an SGLang flag that slime does not expose.
func (t *translation) hidden(name string, at *place) {
	hint := "slime sets it itself"
	switch name {
	case "sglang_tp_size":
		hint = "it follows from rollout_num_gpus_per_engine and sglang_pipeline_parallel_size"
	case "sglang_model_path":
		hint = "it is hf_checkpoint"
	case "sglang_random_seed":
		hint = "it follows from rollout_seed"
	}
	t.errors.add(at, "slime does not expose SGLang's "+option(strings.TrimPrefix(name, "sglang_")), hint)
}

// flagHint says which flag somebody may have meant, and returns its name.
func (t *translation) flagHint(group, name string, e entry, found bool) (hint, meant string) {
	if found && e.mark == "." {
		return "Python's name; the flag is " + quote(e.rest) + " under extra." + extraName(flagNamed(e.rest).group), e.rest
	}
	tidy := strings.ToLower(strings.ReplaceAll(strings.TrimLeft(name, "-"), "-", "_"))
	for _, prefix := range []string{"", "sglang_", "router_"} {
		if prefix == "" && tidy == name {
			continue
		}
		e, _, ok := follow(prefix + tidy)
		switch {
		case ok && e.mark == "!":
			return "slime sets SGLang's " + option(tidy) + " itself, and does not expose it", ""
		case !ok || !e.isFlag():
		case e.flag().secret:
			return "credentials are no part of a config; set them in the environment that the run is started in", ""
		default:
			return "write it as " + quote(prefix+tidy) + " under extra." + extraName(e.mark[0]), e.name
		}
	}
	if t.searches++; t.searches > maxSearches {
		return "", ""
	}
	same, other := near(tidy), near(tidy)
	for e := range entries() {
		switch {
		case e.isFlag() && extraName(e.mark[0]) == group:
			same.offer(e.name)
		case e.mark != "!" && e.mark != ".":
			other.offer(e.name)
		}
	}
	if same.best == "" || other.best != "" && other.slips < same.slips {
		same = other
	}
	if same.best == "" {
		return "carl slime-schema prints all flags", ""
	}
	return same.hint(), same.best
}

// unknown refuses a member that the language does not have.
func (t *translation) unknown(f *field, name string, at *place) {
	if t.errors.enough() {
		return
	}
	e, _, ok := follow(name)
	if ok && e.isFlag() {
		if flag := e.flag(); flag.secret {
			t.secret(flag, at.to(name))
			return
		}
	}
	if !ok {
		e, _, ok = follow("sglang_" + name)
	}
	hint := ""
	n := near(name)
	for i := range f.sub {
		n.offer(f.sub[i].name)
	}
	switch {
	case n.best != "":
		hint = n.hint()
		t.meant(f.at(n.best).flag, at)
	case ok && e.isFlag():
		hint = "it is " + fieldOf(e.name, e.mark[0])
	case isCredential(name) || name == "key" && f.flag == "use_wandb":
		hint = "credentials are no part of a config; set them in the environment that the run is started in"
	default:
		for _, other := range elsewhereNamed {
			if other.name == name {
				hint = "it is " + other.member
			}
		}
		if hint != "" {
			break
		}
		if path := elsewhere(&config, name, ""); path != "" {
			hint = "there is " + path
		} else {
			names := make([]string, len(f.sub))
			for i := range f.sub {
				names[i] = f.sub[i].name
			}
			hint = "known are " + strings.Join(names, ", ")
		}
	}
	t.errors.add(at.to(name), "unknown member "+quote(name), hint)
}

// elsewhere finds a member of that name in another section.
func elsewhere(f *field, name, path string) string {
	for i := range f.sub {
		m := &f.sub[i]
		if m.name == name && path != "" {
			return path + m.name
		}
		if found := elsewhere(m, name, path+m.name+"."); found != "" {
			return found
		}
	}
	return ""
}

// fieldOf is how a config says a flag: the member for it, or its place in extra.
func fieldOf(name string, group byte) string {
	if path := pathOf(&config, name, ""); path != "" {
		return path
	}
	return "extra." + extraName(group) + "." + name
}

func pathOf(f *field, flag, path string) string {
	for i := range f.sub {
		m := &f.sub[i]
		if m.flag == flag {
			return path + m.name
		}
		if found := pathOf(m, flag, path+m.name+"."); found != "" {
			return found
		}
	}
	return ""
}
