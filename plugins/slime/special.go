package main

import (
	"slices"
	"strconv"
	"strings"

	"carl.camp/carl/sdk/json"
)

// This file holds the members that are more than one flag's value.

// Sections that read some of their members together, or know a word for them.
var (
	rewardMembers    = config.at("reward")
	klMembers        = config.at("algorithm").at("kl")
	trainingMembers  = config.at("training")
	recomputeMembers = trainingMembers.at("recompute")
)

func (t *translation) special(f *field, v json.Value, at *place, rank uint8) {
	switch f.conv {
	case architect:
		t.architecture(v, at)
	case template:
		t.template(f, v, at)
	case algorithm:
		t.algorithm(f, v, at)
	case batch:
		t.batch(v, at)
	case tokens:
		t.set(f.flag, v, at, rank)
		t.setTo("use_dynamic_batch_size", "true", at, implied)
	case balanced:
		t.boolOrWord(f, v, at, "flops", "balance_by_flops")
	case resumed:
		if v.Text() == `"masked"` {
			t.setTo("partial_rollout", "true", at, rank)
		}
		t.boolOrWord(f, v, at, "masked", "mask_offpolicy_in_partial_rollout")
	case replay:
		t.boolOrWord(f, v, at, "rollout", "use_rollout_routing_replay")
	case warm:
		t.warmup(f, v, at)
	case betas:
		t.betas(v, at, rank)
	case placement:
		t.placement(v, at)
	case dataSets:
		t.dataSets(v, at)
	case filter:
		for _, known := range filters {
			if v.Text() == strconv.Quote(known.name) {
				t.setTo(f.flag, strconv.Quote(known.path), at, rank)
				return
			}
		}
		t.set(f.flag, v, at, rank)
	case graphs:
		t.graphs(f, v, at)
	case attentionDP:
		t.set(f.flag, v, at, rank)
		if n, ok := v.Int(); ok && n > 1 {
			t.setTo("sglang_enable_dp_attention", "true", at, implied)
		}
	case ownLoss:
		t.set(f.flag, v, at, rank)
		t.setTo("loss_type", `"custom_loss"`, at, implied)
	case precision:
		s, ok := v.Str()
		switch {
		case s == "bf16" || s == "fp16":
			t.setTo(s, "true", at, rank)
		case !ok:
			t.mistyped(&flag{}, v, at, "text")
		default:
			t.errors.add(at, quote(s)+" is none of bf16 or fp16", "")
		}
	}
}

// boolOrWord sets the member's own flag by true or false, and another by a word.
func (t *translation) boolOrWord(f *field, v json.Value, at *place, word, other string) {
	if v.Text() == strconv.Quote(word) {
		t.setTo(other, "true", at, given)
		return
	}
	if b, ok := t.boolean(v, at, "true, false or "+word); ok {
		t.setTo(f.flag, boolText(b), at, given)
	}
}

// architecture sets Megatron's flags by name; what stands beside a preset
// replaces what the preset says.
func (t *translation) architecture(v json.Value, at *place) {
	switch v.Kind() {
	case json.String:
		t.preset(v, at)
		return
	case json.Obj:
	default:
		t.mistyped(&flag{}, v, at, "the name of a preset, or a mapping of Megatron's flags")
		return
	}
	seen := false
	for name, value := range v.Members() {
		if name != "preset" {
			if f, contrary := t.resolveArchitecture(name, at); f != nil {
				t.flagValue(f, contrary, value, at.to(name), given)
			}
			continue
		}
		if seen {
			t.twice(at.to(name))
			continue
		}
		seen = true
		t.preset(value, at.to(name))
	}
}

// resolveArchitecture takes Megatron's flags, and those of slime that belong
// to a model as much.
func (t *translation) resolveArchitecture(name string, at *place) (*flag, bool) {
	if slices.Contains(modelFlags, name) {
		return flagNamed(name), false
	}
	return t.resolve("megatron", name, at)
}

func (t *translation) preset(v json.Value, at *place) {
	name, ok := v.Str()
	if !ok {
		t.mistyped(&flag{}, v, at, "the name of a preset")
		return
	}
	ok = preset(name, func(f *flag, value string) {
		text := value
		switch {
		case f.noValue():
			text = "true"
		case f.kind == "text":
			text = strconv.Quote(value)
		case f.kind == "freq":
			text = strconv.Quote(layers(value))
		case f.of("texts"):
			text = `["` + strings.ReplaceAll(value, ",", `","`) + `"]`
		case f.of("floats"):
			text = "[" + value + "]"
		}
		t.put(f, text, at, implied)
	})
	if !ok {
		hint := nearestOf(name, presetNames()).hint()
		if hint == "" {
			hint = "known are " + strings.Join(presetNames(), ", ")
		}
		t.errors.add(at, "no preset is called "+quote(name), hint)
	}
}

func (t *translation) template(f *field, v json.Value, at *place) {
	if v.Kind() == json.Obj {
		t.setTo(f.flag, "true", at, given)
		t.set("apply_chat_template_kwargs", v, at, given)
		return
	}
	if b, ok := t.boolean(v, at, "true, false or a mapping of keyword arguments"); ok {
		t.setTo(f.flag, boolText(b), at, given)
	}
}

func (t *translation) algorithm(f *field, v json.Value, at *place) {
	if v.Text() != `"sft"` {
		estimator := flagNamed(f.flag)
		s, ok := v.Str()
		if ok && !hasChoice(estimator.choices, s) {
			names := append(strings.Split(estimator.choices, ","), "sft")
			t.errors.add(at, quote(s)+" is no algorithm: expected "+enumerate(names), nearestOf(s, names).hint())
			return
		}
		t.set(f.flag, v, at, given)
		return
	}
	for _, s := range sftFlags {
		t.setTo(s.flag, s.value, at, implied)
	}
}

// amount reads N unit, as in 256 samples.
func amount(s string) (n, unit string) {
	n, unit, _ = strings.Cut(strings.TrimSpace(s), " ")
	unit = strings.TrimSpace(unit)
	if !isWhole(n) {
		return "", ""
	}
	// The command line has the number without leading zeros, as JSON has.
	digits := strings.TrimLeft(n, "0")
	if digits == "" {
		digits = "0"
	}
	return digits, unit
}

func (t *translation) batch(v json.Value, at *place) {
	s, ok := v.Str()
	if !ok {
		hint := ""
		if v.Kind() == json.Number {
			hint = "name the unit: " + clip(v.Text()) + " samples, or 4 steps"
		}
		t.errors.add(at, `expected "N samples" or "N steps", and this is `+kindOf(v), hint)
		return
	}
	name := ""
	n, unit := amount(s)
	switch {
	case n == "":
	case unit == "samples" || unit == "sample":
		name = "global_batch_size"
	case unit == "steps" || unit == "step":
		name = "num_steps_per_rollout"
	}
	if name == "" {
		t.errors.add(at, quote(s)+` is neither "N samples" nor "N steps"`, "samples are those of one optimizer step; steps are the optimizer steps of one rollout")
		return
	}
	t.setNumber(name, n, at)
}

// setNumber sets a flag to a number that was written inside a text.
func (t *translation) setNumber(name, n string, at *place) {
	v, err := json.Parse(n)
	if err != nil {
		t.errors.add(at, quote(n)+" is no number", "")
		return
	}
	t.set(name, v, at, given)
}

func (t *translation) warmup(f *field, v json.Value, at *place) {
	s, ok := v.Str()
	if !ok {
		if v.Kind() != json.Number {
			t.mistyped(&flag{}, v, at, `a fraction of all steps, or text such as "10 steps"`)
			return
		}
		if x := float(v.Text()); x < 0 || x > 1 {
			t.errors.add(at, clip(v.Text())+" is no fraction", `write "`+clip(v.Text())+` steps" for a number of steps`)
			return
		}
		t.set(f.flag, v, at, given)
		return
	}
	n, unit := amount(s)
	switch {
	case n != "" && (unit == "steps" || unit == "step"):
		t.setNumber("lr_warmup_iters", n, at)
	case n != "" && (unit == "samples" || unit == "sample"):
		t.setNumber("lr_warmup_samples", n, at)
	default:
		t.errors.add(at, quote(s)+` is neither a fraction nor "N steps"`, "")
	}
}

func (t *translation) betas(v json.Value, at *place, rank uint8) {
	names := []string{"adam_beta1", "adam_beta2"}
	var list []json.Value
	for item := range v.Elements() {
		if list = append(list, item); len(list) > len(names) {
			break
		}
	}
	if len(list) != len(names) {
		t.errors.add(at, "expected a list of two numbers", "such as [0.9, 0.98]")
		return
	}
	for i, name := range names {
		t.set(name, list[i], at.item(i), rank)
	}
}

func (t *translation) placement(v json.Value, at *place) {
	modes := []string{"colocated", "separate", "async"}
	s, ok := v.Str()
	switch s {
	case "colocated":
		t.setTo("colocate", "true", at, given)
	case "separate":
		t.setTo("colocate", "false", at, given)
	case "async":
		t.setTo("colocate", "false", at, given)
		t.async = at
	default:
		t.meant("colocate", at)
		if !ok {
			t.mistyped(&flag{}, v, at, "text")
			return
		}
		t.errors.add(at, quote(s)+" is none of "+enumerate(modes), nearestOf(s, modes).hint())
	}
}

// dataSets makes a list of names and paths of a mapping.
func (t *translation) dataSets(v json.Value, at *place) {
	if v.Kind() != json.Obj {
		t.mistyped(&flag{}, v, at, "a mapping from the name of a set to its file")
		return
	}
	f := flagNamed("eval_prompt_data")
	var names members
	out := []byte{'['}
	good := true
	for name, path := range v.Members() {
		if names.has(name) {
			t.twice(at.to(name))
			good = false
			continue
		}
		if looksLikeFlag(name) {
			t.errors.add(at.to(name), "the command line would take a name that begins with - for a flag", "")
			good = false
			continue
		}
		s, ok := path.Str()
		if !ok || looksLikeFlag(s) || s == "" {
			t.mistyped(f, path, at.to(name), "the path of a file")
			good = false
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = json.AppendString(out, name)
		out = append(out, ',')
		out = append(out, path.Text()...)
	}
	switch {
	case len(out) == 1 && good:
		t.errors.add(at, "no set", "leave the line out")
	case good:
		t.put(f, string(append(out, ']')), at, given)
	}
}

func (t *translation) graphs(f *field, v json.Value, at *place) {
	switch {
	case v.Kind() == json.Array:
		t.set("sglang_cuda_graph_bs", v, at, given)
	case v.Text() == "false":
		t.setTo("sglang_disable_cuda_graph", "true", at, given)
	case v.Kind() == json.Number:
		t.set(f.flag, v, at, given)
	default:
		t.mistyped(&flag{}, v, at, "the largest batch, a list of batches, or false")
	}
}

// reward reads the builtin, which stands at the place named, together with
// what changes its name.
func (t *translation) reward(f *field, values []json.Value, named, at *place) {
	get := func(name string) json.Value { return values[f.find(name)] }
	builtin, box := get("builtin"), false
	if boxed := get("boxed"); boxed.Kind() != json.Absent {
		b, ok := t.boolean(boxed, at.to("boxed"), "true or false")
		box = ok && b
	}
	s, ok := builtin.Str()
	switch {
	case builtin.Kind() == json.Absent && box:
		t.errors.add(at.to("boxed"), "there is no builtin whose answer could be boxed", "add builtin")
	case builtin.Kind() == json.Absent:
		if get("url").Kind() == json.String && get("python").Kind() == json.Absent {
			t.setTo("rm_type", `"remote_rm"`, at.to("url"), implied)
		}
	case s == perSample && !box:
		t.perSample = true
	case ok && box && !strings.HasPrefix(s, "boxed_"):
		t.setTo("rm_type", string(json.AppendString(nil, "boxed_"+s)), named, given)
	default:
		t.set("rm_type", builtin, named, given)
	}
}

// kl says where the distance from the reference goes.
func (t *translation) kl(f *field, values []json.Value, at *place) {
	where, coef := values[f.find("where")], values[f.find("coef")]
	s, ok := where.Str()
	name := ""
	switch {
	case s == "loss":
		name = "kl_loss_coef"
		t.setTo("use_kl_loss", "true", at.to("where"), given)
	case s == "reward":
		name = "kl_coef"
	case where.Kind() == json.Absent:
		if coef.Kind() != json.Absent {
			t.errors.add(at, "where the coefficient counts is missing", "add where: loss, or where: reward")
		}
		return
	case !ok:
		t.mistyped(&flag{}, where, at.to("where"), "text")
		return
	default:
		t.errors.add(at.to("where"), quote(s)+" is none of loss or reward", "")
		return
	}
	if coef.Kind() != json.Absent {
		t.set(name, coef, at.to("coef"), given)
	}
}
