package main

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"carl.camp/carl/sdk/json"
)

// A conv makes the value of a key, JSON, or "" for none. What is wrong with the
// member it says to t.
type conv struct {
	schema string // of what it makes
	make   func(t *translation, path string, v json.Value) string
}

var (
	text     = conv{`{"type":"string"}`, literal}
	whole    = between(`"type":"integer","minimum":0`, "a whole number", 0, math.MaxInt32)
	positive = between(`"type":"integer","minimum":1`, "a whole number from 1 on", 1, math.MaxInt32)
	topK     = between(`"type":"integer","minimum":-1`, "a whole number, or -1 for none", -1, math.MaxInt32)
	number   = between(`"type":"number"`, "a number", math.Inf(-1), math.Inf(1))
	atLeast0 = between(`"type":"number","minimum":0`, "a number from 0 on", 0, math.Inf(1))
	above0   = between(`"type":"number","exclusiveMinimum":0`, "a number above 0", math.SmallestNonzeroFloat64, math.Inf(1))
	above1   = between(`"type":"number","exclusiveMinimum":1`, "a number above 1", math.Nextafter(1, 2), math.Inf(1))
	share    = between(`"type":"number","minimum":0,"maximum":1`, "a number from 0 to 1", 0, 1)

	module   = python(func(module, _ string) string { return "pkg://" + module })
	function = python(func(_, function string) string { return function })

	truth    = words("true>true false>false")
	opposite = words("true>false false>true")
	average  = words("true>token-mean false>seq-mean-token-mean")
	balance  = words("true>true flops>true false>false")
	klType   = words("k1>k1 k2>k2 k3>k3 low_var_kl>low_var_kl")
	inLoss   = words("loss>true reward>false")
	inReward = words("loss>false reward>true")

	managers   = words("deepscaler>naive math>naive per_sample>naive dapo>dapo")
	estimators = words("grpo>grpo gspo>grpo cispo>grpo ppo>gae reinforce_plus_plus>reinforce_plus_plus reinforce_plus_plus_baseline>reinforce_plus_plus_baseline")
	losses     = words("grpo>vanilla gspo>gspo cispo>cispo ppo>vanilla reinforce_plus_plus>vanilla reinforce_plus_plus_baseline>vanilla")
	precisions = words("bf16>bfloat16 fp16>float16")
	optimizers = words("adam>AdamW")
	schedules  = words("constant>constant cosine>cosine")
)

// between takes a number as it is written.
func between(schema, want string, least, most float64) conv {
	return conv{"{" + schema + "}", func(t *translation, path string, v json.Value) string {
		x, ok := v.Float()
		if _, isInt := v.Int(); !ok || x < least || x > most || strings.Contains(schema, "integer") && !isInt {
			t.wrong(path, want, v)
			return ""
		}
		return v.Text()
	}}
}

// words takes each of its words for another: "theirs>verl's".
func words(pairs string) conv {
	var from, to []string
	for _, pair := range strings.Fields(pairs) {
		theirs, ours, _ := strings.Cut(pair, ">")
		from, to = append(from, theirs), append(to, asJSON(ours))
	}
	return conv{`{"enum":[` + strings.Join(to, ",") + `]}`, func(t *translation, path string, v json.Value) string {
		for i, word := range from {
			if v.Text() == asJSON(word) {
				return to[i]
			}
		}
		t.wrong(path, strings.Join(from, " or "), v)
		return ""
	}}
}

func asJSON(word string) string {
	if word == "true" || word == "false" {
		return word
	}
	return quote(word)
}

func quote(s string) string { return string(json.AppendString(nil, s)) }

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// always sets the key to one value where the member is there.
func always(value string) conv {
	return conv{`{"const":` + value + `}`, func(*translation, string, json.Value) string { return value }}
}

// literal takes text as it is written, which Hydra would not do with ${…}.
func literal(t *translation, path string, v json.Value) string {
	s, _ := v.Str()
	switch {
	case s == "":
		t.wrong(path, "text", v)
	case strings.Contains(s, "${"):
		t.refuse(path, "verl would read ${…} as a reference into its config", "write it out, or set the key under extra.verl, where references are meant")
	default:
		return v.Text()
	}
	return ""
}

// template takes keyword arguments; verl has the template itself on in any case.
var template = conv{`{"type":"object"}`, func(t *translation, path string, v json.Value) string {
	if v.Kind() != json.Obj {
		words("true>").make(t, path, v)
		return ""
	}
	for name, value := range v.Members() {
		if !isName(name) || value.Kind() == json.Obj {
			t.wrong(sub(path, name), "a name of letters, digits and _, and a value that is no mapping", value)
		}
	}
	return v.Text()
}}

// resume goes on from the folder that the run saves to, which is verl's way.
var resume = conv{`{"const":"auto"}`, func(t *translation, path string, v json.Value) string {
	load, _ := v.Str()
	save, _ := t.members["checkpoint.save"].Str()
	if load == "" || strings.TrimRight(load, "/") != strings.TrimRight(save, "/") {
		t.refuse(path, "verl cannot start from a checkpoint of Megatron", "it goes on from checkpoint.save: name that folder, or leave the line out")
		return ""
	}
	return `"auto"`
}}

var file = conv{text.schema, func(t *translation, path string, v json.Value) string {
	s, _ := v.Str()
	switch {
	case strings.Contains(s, "@["):
		t.refuse(path, "verl takes no slice of a file", "write the records to a file of their own")
	case s != "" && !strings.HasSuffix(s, ".parquet") && !strings.HasSuffix(s, ".json"):
		t.warn(path, "verl reads .parquet and .json files, with records of its own form", "convert the file: see Data in the translator's README")
	}
	return literal(t, path, v)
}}

var files = conv{`{"type":["array","string"],"items":{"type":"string"},"minItems":1}`, func(t *translation, path string, v json.Value) string {
	var list []string
	for name, v := range v.Members() {
		list = append(list, file.make(t, sub(path, name), v))
	}
	if len(list) == 0 {
		t.wrong(path, "a mapping from the name of a set to its file", v)
	}
	return "[" + strings.Join(list, ",") + "]"
}}

// python takes one of the two parts of module.function.
func python(part func(module, function string) string) conv {
	return conv{text.schema, func(t *translation, path string, v json.Value) string {
		s, _ := v.Str()
		i := strings.LastIndexByte(s, '.')
		if i < 1 || i == len(s)-1 || !all(s, "_.") {
			t.wrong(path, "module.function", v)
			return ""
		}
		t.warn(path, "verl calls the function with data_source, solution_str, ground_truth and extra_info", "")
		return quote(part(s[:i], s[i+1:]))
	}}
}

// miniBatch makes prompts of a step of samples of a step, or of steps of a rollout.
var miniBatch = conv{positive.schema, func(t *translation, path string, v json.Value) string {
	s, _ := v.Str()
	digits, unit, _ := strings.Cut(s, " ")
	n, _ := strconv.ParseInt(digits, 10, 32)
	unit = strings.TrimSuffix(unit, "s")
	prompts, each := t.count("rollout.prompts", 0), t.count("rollout.samples_per_prompt", 1)
	switch {
	case n < 1 || unit != "sample" && unit != "step":
		t.wrong(path, "N samples or N steps", v)
	case prompts < 1 || t.is("rollout.samples_per_prompt") && t.count("rollout.samples_per_prompt", 0) < 1: // said there
	case unit == "step" && prompts%n != 0:
		t.refuse(path, decimal(prompts)+" prompts do not divide into "+decimal(n)+" steps", "")
	case unit == "step":
		return decimal(max(prompts/n, 1))
	case n%each != 0:
		t.refuse(path, "verl counts prompts, and "+decimal(n)+" samples are no whole number of prompts with "+decimal(each)+" samples each", "")
	case prompts%(n/each) != 0:
		t.refuse(path, decimal(prompts)+" prompts do not divide into steps of "+decimal(n/each), "")
	default:
		return decimal(n / each)
	}
	return ""
}}

var betas = conv{`{"type":"array","items":{"type":"number"},"minItems":2,"maxItems":2}`, func(t *translation, path string, v json.Value) string {
	var kinds []json.Kind
	for item := range v.Elements() {
		kinds = append(kinds, item.Kind())
	}
	if !slices.Equal(kinds, []json.Kind{json.Number, json.Number}) {
		t.wrong(path, "a list of two numbers", v)
	}
	return v.Text()
}}

var isPositive = conv{truth.schema, func(_ *translation, _ string, v json.Value) string {
	x, _ := v.Float()
	return strconv.FormatBool(x > 0)
}}

var loggers = conv{`{"type":"array","items":{"type":"string"}}`, func(t *translation, _ string, _ json.Value) string {
	list := `["console"`
	for _, name := range []string{"wandb", "tensorboard"} {
		if path := "logging." + name; t.is(path) && t.members[path].Text() != "false" {
			list += "," + quote(name)
		}
	}
	return list + "]"
}}

func isPPO(t *translation) bool       { return t.members["algorithm.name"].Text() == `"ppo"` }
func hasKL(t *translation) bool       { return t.is("algorithm.kl") }
func klInLoss(t *translation) bool    { return t.members["algorithm.kl.where"].Text() == `"loss"` }
func klInReward(t *translation) bool  { return t.members["algorithm.kl.where"].Text() == `"reward"` }
func hasEval(t *translation) bool     { return t.is("eval.data") }
func noEval(t *translation) bool      { return !t.is("eval.data") }
func noCount(t *translation) bool     { return !t.is("rollout.count") }
func isStatic(t *translation) bool    { return !t.is("training.tokens_per_gpu") }
func isStaticPPO(t *translation) bool { return isPPO(t) && isStatic(t) }

// count is a whole number of the config, or another where there is none.
func (t *translation) count(path string, otherwise int64) int64 {
	if n, ok := t.members[path].Int(); ok && 0 < n && n <= math.MaxInt32 {
		return n
	}
	return otherwise
}

// fit holds members against each other where verl would stop, or train
// something else than the config says.
func (t *translation) fit() {
	refuse := func(bad bool, path, message, hint string) {
		if bad {
			t.refuse(path, message, hint)
		}
	}
	refuse(noCount(t) && !t.is("rollout.epochs"), "rollout.count", "rollout.count is missing, or rollout.epochs: how long to train", "")
	refuse(!isStatic(t) && t.is("training.micro_batch"), "training.micro_batch", "training.tokens_per_gpu makes the micro-batches", "leave one of them out")

	whitens := isPPO(t) || strings.Contains(t.members["algorithm.name"].Text(), "reinforce")
	asked, said := t.members["algorithm.normalize_advantages"].Bool()
	refuse(said && asked != whitens, "algorithm.normalize_advantages", "verl whitens the advantages of ppo and reinforce_plus_plus, and of no other", "")
	boxed, _ := t.members["reward.boxed"].Bool()
	refuse(boxed && t.members["reward.builtin"].Text() == `"dapo"`, "reward.boxed", `verl's scorer of dapo looks for no \boxed{}`, "use math, or a function as reward.python")

	gpus := t.count("resources.nodes", 1) * t.count("resources.gpus_per_node", 8)
	engine, parts := t.count("rollout.engine.gpus", 1), t.count("training.parallel.context", 1)
	refuse(t.count("resources.rollout_gpus", gpus) != gpus, "resources.rollout_gpus", "main_ppo gives the engines all "+decimal(gpus)+" GPUs", "leave the line out")
	refuse(gpus%engine != 0, "rollout.engine.gpus", decimal(gpus)+" GPUs do not divide into engines of "+decimal(engine), "")
	refuse(gpus%parts != 0, "training.parallel.context", decimal(gpus)+" GPUs do not divide by "+decimal(parts), "")

	ranks, micro := max(gpus/parts, 1), t.count("training.micro_batch", 1)
	samples := int64(0)
	if s := find(t.settings, actor+"ppo_mini_batch_size"); s != nil {
		prompts, _ := strconv.ParseInt(s.value, 10, 64)
		samples = prompts * t.count("rollout.samples_per_prompt", 1)
	}
	refuse(samples%ranks != 0 || samples/ranks%micro != 0, "training.train_batch", decimal(samples)+" samples do not divide among "+decimal(ranks)+" ranks, in micro-batches of "+decimal(micro), "")
	longest := t.count("data.max_prompt", 512) + t.count("rollout.max_response", 0)
	refuse(t.count("training.tokens_per_gpu", longest)*parts < longest, "training.tokens_per_gpu", "verl pads to the longest prompt and response, "+decimal(longest)+" tokens, and stops where they do not fit", "")

	if !t.is("data.max_prompt") && find(t.extra, "data.max_prompt_length") == nil {
		t.warn("data", "verl stops at a prompt of more than 512 tokens", "give max_prompt: longer ones are then left out")
	}
	if t.is("reward.builtin") && !t.is("reward.python") {
		t.warn("reward.builtin", "verl chooses the scorer of a record by its data_source", "see Data in the translator's README")
	}
	if whitens && !said {
		t.warn("algorithm.name", "verl whitens the advantages of this one", "")
	}
	if t.is("rollout.epochs") && t.is("rollout.count") {
		t.warn("rollout.epochs", "left out: rollout.count wins", "")
	}
}
