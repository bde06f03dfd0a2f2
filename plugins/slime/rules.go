package main

import (
	"math"
	"strconv"
	"strings"
)

// A rule is something that slime, Megatron or SGLang holds the flags against
// all together, or that they should hold them against and do not. What one
// flag alone may be stands in [flagTable].
type rule struct {
	name  string
	check func(*translation)
}

func (t *translation) rules() {
	for _, r := range rules {
		r.check(t)
	}
}

// rules is in the order of slime's own checks.
var rules = []rule{
	{"model is named", func(t *translation) {
		if !t.has("hf_checkpoint") {
			t.missing("model", "hf_checkpoint", "which model is missing")
		}
	}},
	{"prompts are named", func(t *translation) {
		if !t.has("prompt_data") && !t.on("disable_rollout_global_dataset") && !t.has("data_source_path") && !t.replayed() {
			t.missing("data", "prompt_data", "the prompts are missing")
		}
	}},
	{"rollout batch is given", func(t *translation) {
		if !t.has("rollout_batch_size") {
			t.missing("rollout", "rollout_batch_size", "how many prompts make a rollout is missing")
		}
	}},
	{"eval sets are pairs", func(t *translation) {
		s := t.get("eval_prompt_data")
		if s == nil {
			return
		}
		n := 0
		for range items(s.text) {
			n++
		}
		switch {
		case n == 1:
			t.warnings.add(s.at, `a single path is taken for the set "aime"`, "give pairs of a name and a path")
		case n%2 == 1:
			t.errors.add(s.at, strconv.Itoa(n)+" items are no pairs of a name and a path", "")
		case t.has("eval_config"):
			t.warnings.add(s.at, "eval_config is used in place of these sets", "leave one of them out")
		}
	}},
	{"KL needs a reference", func(t *translation) {
		if t.has("ref_load") {
			return
		}
		hint := "set " + t.say("ref_load")
		if s := t.get("kl_coef"); s != nil && float(s.text) != 0 {
			t.errors.add(s.at, "a distance from the reference needs a reference", hint)
		} else if t.on("use_kl_loss") {
			t.errors.add(t.at("use_kl_loss"), "a distance from the reference needs a reference", hint)
		}
	}},
	{"distillation names its teacher", func(t *translation) {
		kind, teacher := t.text1("opd_type"), t.get("opd_teacher_load")
		switch {
		case !t.on("use_opd"):
			if teacher != nil {
				t.errors.add(teacher.at, "a teacher without distillation", "set "+t.say("use_opd"))
			}
		case !t.has("opd_type"):
			t.errors.add(t.at("use_opd"), "distillation needs to know where the teacher is", "set "+t.say("opd_type")+" to sglang or megatron")
		case kind == "megatron" && teacher == nil:
			t.errors.add(t.at("opd_type"), "a teacher in Megatron needs a checkpoint", "set "+t.say("opd_teacher_load"))
		case kind == "sglang" && teacher != nil:
			t.errors.add(teacher.at, "a teacher in SGLang takes no checkpoint of Megatron", "leave it out, or let the teacher be in megatron")
		}
	}},
	{"evaluation needs sets", func(t *translation) {
		if s := t.get("eval_interval"); s != nil && !t.has("eval_prompt_data") && !t.has("eval_config") {
			t.errors.add(s.at, "an evaluation needs sets", "set "+t.say("eval_prompt_data")+" or "+t.say("eval_config"))
		}
	}},
	{"saving needs a folder", func(t *translation) {
		if s := t.get("save_interval"); s != nil && !t.has("save") {
			t.errors.add(s.at, "saving needs a folder", "set "+t.say("save"))
		}
	}},
	{"KL counts once", func(t *translation) {
		a, b := t.get("kl_coef"), t.get("kl_loss_coef")
		if a != nil && b != nil && float(a.text) != 0 && float(b.text) != 0 {
			t.errors.add(b.at, "the distance from the reference counts in the reward, by "+a.at.pointer()+", and in the loss", "let one of kl_coef and kl_loss_coef be 0")
		}
	}},
	{"REINFORCE++ normalizes", func(t *translation) {
		if e := t.text1("advantage_estimator"); strings.HasPrefix(e, "reinforce_plus_plus") && !t.on("normalize_advantages") {
			t.errors.add(t.at("advantage_estimator"), e+" needs normalized advantages", "set "+t.say("normalize_advantages")+" to true")
		}
	}},
	{"rollout log-probabilities exclude TIS", func(t *translation) {
		if t.on("use_rollout_logprobs") && t.on("use_tis") {
			t.errors.add(t.at("use_tis"), "truncated importance sampling has nothing to correct where "+t.at("use_rollout_logprobs").pointer()+" takes the engine's log-probabilities", "leave one of them out")
		}
	}},
	{"mismatch metrics need a function", func(t *translation) {
		if t.on("get_mismatch_metrics") && !t.has("custom_tis_function_path") {
			t.errors.add(t.at("get_mismatch_metrics"), "the metrics of a mismatch need a function of the weights", "set "+t.say("custom_tis_function_path"))
		}
	}},
	{"dynamic batches need a budget", func(t *translation) {
		if t.on("use_dynamic_batch_size") && !t.has("max_tokens_per_gpu") {
			t.errors.add(t.at("use_dynamic_batch_size"), "dynamic batches need a token budget", "set "+t.say("max_tokens_per_gpu"))
		}
	}},
	{"balance by FLOPs needs dynamic batches", func(t *translation) {
		if t.on("balance_by_flops") && !t.on("use_dynamic_batch_size") {
			t.errors.add(t.at("balance_by_flops"), "balance by FLOPs needs dynamic batches", "set "+t.say("max_tokens_per_gpu")+" and use_dynamic_batch_size")
		}
	}},
	{"CISPO clips widely", func(t *translation) {
		if t.text1("advantage_estimator") != "cispo" {
			return
		}
		s := t.get("eps_clip")
		if s == nil {
			s = t.get("advantage_estimator")
		} else if float(s.text) >= 1 {
			return
		}
		t.warnings.add(s.at, "cispo expects a clip of 1 or more", "set "+t.say("eps_clip"))
	}},
	{"dumps have files of their own", func(t *translation) {
		a, b := t.get("save_debug_train_data"), t.get("save_debug_rollout_data")
		if a != nil && b != nil && token(a.text) == token(b.text) {
			t.errors.add(a.at, "train batches would be written over the rollouts of "+b.at.pointer(), "name another path")
		}
	}},
	{"debugging is of one side", func(t *translation) {
		if !t.on("debug_rollout_only") {
			return
		}
		if t.on("debug_train_only") {
			t.errors.add(t.at("debug_train_only"), "only the training excludes only the rollouts, of "+t.at("debug_rollout_only").pointer(), "leave one of them out")
		} else if s := t.get("load_debug_rollout_data"); s != nil {
			t.errors.add(s.at, "training from written rollouts excludes only the rollouts, of "+t.at("debug_rollout_only").pointer(), "leave one of them out")
		}
	}},
	{"steps and samples agree", func(t *translation) {
		steps, prompts, n, ok := t.rollout()
		if !ok || steps == 0 {
			return
		}
		samples := mul(prompts, n)
		s := t.get("num_steps_per_rollout")
		if samples%steps != 0 {
			t.errors.add(s.at, itoa(prompts)+" prompts of "+itoa(n)+" samples are "+itoa(samples)+", which "+itoa(steps)+" steps do not divide: slime would drop the rest without a word", "")
		} else if batch, ok := t.count("global_batch_size", 0); ok && batch > 0 && batch != samples/steps {
			t.errors.add(t.at("global_batch_size"), "with "+itoa(steps)+" steps a rollout of "+itoa(samples)+" samples a step takes "+itoa(samples/steps)+", and this says "+itoa(batch), "leave one of them out")
		}
	}},
	{"batches divide", func(t *translation) {
		steps, prompts, n, ok := t.rollout()
		batch, known := t.count("global_batch_size", 0)
		if !ok || !known || batch == 0 || steps != 0 || t.on("debug_rollout_only") {
			return
		}
		samples := mul(prompts, n)
		each := itoa(prompts) + " prompts of " + itoa(n) + " samples are " + itoa(samples)
		switch {
		case samples < batch:
			t.errors.add(t.at("global_batch_size"), each+", less than one batch of "+itoa(batch), "")
		case samples%batch != 0:
			t.errors.add(t.at("global_batch_size"), each+", which batches of "+itoa(batch)+" do not divide: slime would drop the rest without a word", "")
		}
	}},
	{"over-sampling is more", func(t *translation) {
		over, a := t.count("over_sampling_batch_size", 0)
		prompts, b := t.count("rollout_batch_size", 0)
		if a && b && over > 0 && over < prompts {
			t.errors.add(t.at("over_sampling_batch_size"), itoa(over)+" is less than the "+itoa(prompts)+" prompts of a rollout", "")
		}
	}},
	{"the run has an end", func(t *translation) {
		switch epochs := t.get("num_epoch"); {
		case t.has("num_rollout"):
			if epochs != nil {
				t.warnings.add(epochs.at, "the count of rollouts wins over the epochs", "leave one of them out")
			}
		case epochs == nil:
			t.missing("rollout", "num_rollout", "how long to train is missing")
		case t.on("disable_rollout_global_dataset"):
			t.errors.add(epochs.at, "epochs need the prompt set that "+t.at("disable_rollout_global_dataset").pointer()+" does without", "set "+t.say("num_rollout"))
		}
	}},
	{"MTP is trained with layers", func(t *translation) {
		if t.on("enable_mtp_training") && !t.has("mtp_num_layers") {
			t.errors.add(t.at("enable_mtp_training"), "training multi-token prediction needs its layers", "set "+t.say("mtp_num_layers"))
		}
	}},
	{"prompts leave room", func(t *translation) {
		context, a := t.count("rollout_max_context_len", 0)
		prompt, b := t.count("rollout_max_prompt_len", 0)
		if a && b && context > 0 && prompt > context-1 {
			t.errors.add(t.at("rollout_max_prompt_len"), "a prompt of "+itoa(prompt)+" tokens leaves no room in a context of "+itoa(context), "at most "+itoa(context-1))
		}
	}},
	{"parameters are chosen one way", func(t *translation) {
		a, b := t.get("only_train_params_name_list"), t.get("freeze_params_name_list")
		if a != nil && b != nil && a.text != "[]" && b.text != "[]" {
			t.errors.add(b.at, "what to freeze excludes what to train only, of "+a.at.pointer(), "leave one of them out")
		}
	}},
	{"disk transport needs a folder", func(t *translation) {
		if t.text1("update_weight_transport") == "disk" && !t.has("update_weight_disk_dir") {
			t.errors.add(t.at("update_weight_transport"), "weights that go over a disk need a folder", "set "+t.say("update_weight_disk_dir"))
		}
	}},
	{"a released trainer comes back", func(t *translation) {
		if !t.on("release_train") {
			return
		}
		s := t.get("release_train")
		switch {
		case t.text1("advantage_estimator") == "ppo":
			t.errors.add(s.at, "a trainer with a critic cannot be released", "choose another algorithm than ppo")
		case t.on("keep_old_actor"):
			t.errors.add(s.at, "a trainer that keeps the old actor, as "+t.at("keep_old_actor").pointer()+" says, cannot be released", "")
		case !t.has("save"):
			t.errors.add(s.at, "a released trainer comes back from a checkpoint", "set "+t.say("save"))
		case t.text1("update_weight_mode") == "delta":
			t.errors.add(t.at("update_weight_mode"), "a released trainer sends all weights, not what changed", "")
		case t.text1("update_weight_transport") != "disk":
			t.errors.add(s.at, "the weights of a released trainer go over a disk", "set "+t.say("update_weight_transport")+" to disk")
		}
	}},
	{"deltas go over a disk", func(t *translation) {
		if t.text1("update_weight_mode") != "delta" {
			return
		}
		at := t.at("update_weight_mode")
		switch {
		case t.text1("update_weight_transport") != "disk":
			t.errors.add(at, "what changed goes over a disk", "set "+t.say("update_weight_transport")+" to disk")
		case t.on("colocate"):
			t.errors.add(at, "sending what changed excludes sharing GPUs, as "+t.at("colocate").pointer()+" says", "")
		case !t.has("update_weight_local_checkpoint_dir"):
			t.errors.add(at, "engines that get what changed need a checkpoint of their own", "set "+t.say("update_weight_local_checkpoint_dir"))
		}
	}},
	{"async excludes colocate", func(t *translation) {
		if t.program == "train_async.py" && t.on("colocate") {
			t.errors.add(t.at("colocate"), "train_async.py cannot share GPUs", "use train.py, or GPUs of their own for the engines")
		}
	}},
	{"engines have GPUs", func(t *translation) {
		if !t.has("colocate") && !t.has("rollout_num_gpus") && !t.has("rollout_external_engine_addrs") &&
			!t.on("debug_train_only") && !t.has("load_debug_rollout_data") {
			t.missing("resources", "rollout_num_gpus", "how many GPUs the engines have is missing, and they do not share those of the trainer")
		}
	}},
	{"one stage has no first and last", func(t *translation) {
		if pipeline, ok := t.count("pipeline_model_parallel_size", 1); !ok || pipeline != 1 {
			return
		}
		for _, name := range []string{"decoder_first_pipeline_num_layers", "decoder_last_pipeline_num_layers"} {
			if s := t.get(name); s != nil {
				t.errors.add(s.at, "a pipeline of one stage has no other stages", "set "+t.say("pipeline_model_parallel_size"))
			}
		}
	}},
	{"trainer's GPUs divide", func(t *translation) {
		gpus, size, ok := t.layout()
		if !ok || gpus%size == 0 || t.on("debug_rollout_only") {
			return
		}
		s := t.first("tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size")
		t.errors.add(s.at, "the model is spread over "+itoa(size)+" GPUs (tensor × pipeline × context), which does not divide the trainer's "+itoa(gpus), "")
	}},
	{"layers divide", func(t *translation) {
		layers, a := t.count("num_layers", 0)
		stages, b := t.count("pipeline_model_parallel_size", 1)
		if !a || !b || layers == 0 || stages < 2 || t.has("pipeline_model_parallel_layout") ||
			t.on("account_for_embedding_in_pipeline_split") || t.on("account_for_loss_in_pipeline_split") {
			return
		}
		rest, among := layers, stages
		for _, name := range []string{"decoder_first_pipeline_num_layers", "decoder_last_pipeline_num_layers"} {
			if n, ok := t.count(name, 0); !ok {
				return
			} else if t.has(name) {
				rest, among = rest-n, among-1
			}
		}
		if rest < 0 || among > 0 && rest%among != 0 || among == 0 && rest != 0 {
			t.errors.add(t.at("pipeline_model_parallel_size"), itoa(stages)+" stages cannot share "+itoa(layers)+" layers evenly", "set "+t.say("decoder_last_pipeline_num_layers")+" so that the others can")
		}
	}},
	{"experts divide", func(t *translation) {
		size, a := t.count("expert_model_parallel_size", 1)
		experts, b := t.count("num_experts", 0)
		if a && b && size > 1 && (experts == 0 || experts%size != 0) {
			what := itoa(experts) + " experts"
			if experts == 0 {
				what = "a model without experts"
			}
			t.errors.add(t.at("expert_model_parallel_size"), what+" cannot be spread over "+itoa(size)+" groups", "")
		}
	}},
	{"ranks have samples", func(t *translation) {
		gpus, size, ok := t.layout()
		batch, known := t.batchSize()
		if !ok || !known || gpus%size != 0 || t.on("debug_rollout_only") {
			return
		}
		ranks := gpus / size
		s := t.first("global_batch_size", "num_steps_per_rollout")
		if batch < ranks {
			t.errors.add(s.at, "a step of "+itoa(batch)+" samples leaves some of "+itoa(ranks)+" data-parallel ranks without one", "")
			return
		}
		if micro, ok := t.count("micro_batch_size", 1); ok && micro > 0 && !t.on("use_dynamic_batch_size") && batch%mul(ranks, micro) != 0 {
			t.errors.add(s.at, "a step of "+itoa(batch)+" samples is not divided by "+itoa(ranks)+" data-parallel ranks with micro-batches of "+itoa(micro), "set "+t.say("max_tokens_per_gpu")+", or another size")
		}
	}},
	{"engine stages divide", func(t *translation) {
		stages, a := t.count("sglang_pipeline_parallel_size", 1)
		gpus, b := t.count("rollout_num_gpus_per_engine", 1)
		if a && b && stages > 1 && gpus%stages != 0 {
			t.errors.add(t.at("sglang_pipeline_parallel_size"), itoa(stages)+" pipeline stages do not divide the "+itoa(gpus)+" GPUs of an engine", "set "+t.say("rollout_num_gpus_per_engine"))
		}
	}},
	{"engine ranks need attention", func(t *translation) {
		if n, ok := t.count("sglang_data_parallel_size", 1); ok && n > 1 && !t.on("sglang_enable_dp_attention") {
			t.errors.add(t.at("sglang_data_parallel_size"), "data-parallel ranks need data-parallel attention", "set "+t.say("sglang_enable_dp_attention")+" to true")
		}
	}},
	{"engines are described once", func(t *translation) {
		names := []string{"sglang_config", "prefill_num_servers", "rollout_external_engine_addrs"}
		var first *setting
		for _, name := range names {
			s := t.get(name)
			switch {
			case s == nil:
			case first == nil:
				first = s
			default:
				t.errors.add(s.at, "the engines are described by "+first.at.pointer()+" already", "leave one of them out")
			}
		}
	}},
	{"group rewards exclude evaluation", func(t *translation) {
		if t.on("group_rm") && t.has("eval_interval") {
			t.errors.add(t.at("group_rm"), "scoring all samples of a prompt at once cannot be used together with an evaluation, of "+t.at("eval_interval").pointer(), "leave one of them out")
		}
	}},
	{"the reward is known", func(t *translation) {
		s := t.get("rm_type")
		if s == nil {
			return
		}
		name := token(s.text)
		bare := strings.TrimPrefix(name, "boxed_")
		for i, known := range rewards {
			if bare == known && (i > 0 || name == bare) {
				if i == 0 && !t.has("rm_url") {
					t.errors.add(s.at, "remote_rm needs an address", "set "+t.say("rm_url"))
				}
				return
			}
		}
		hint := nearestOf(bare, rewards).hint()
		if hint == "" {
			hint = "known are " + strings.Join(rewards, ", ") + ", all but the first also with boxed_"
		}
		t.errors.add(s.at, "slime has no reward "+quote(name), hint)
	}},
	{"there is a reward", func(t *translation) {
		if t.has("rm_type") || t.has("custom_rm_path") || t.perSample || t.text1("loss_type") == "sft_loss" ||
			t.has("custom_generate_function_path") || t.ownRollout() || t.on("debug_train_only") || t.replayed() {
			return
		}
		t.missing("reward", "rm_type", "no reward: a sample would fail when it is scored")
	}},
	{"a custom loss has a function", func(t *translation) {
		if t.text1("loss_type") == "custom_loss" && !t.has("custom_loss_function_path") {
			t.errors.add(t.at("loss_type"), "custom_loss needs a function", "set "+t.say("custom_loss_function_path"))
		}
	}},
	{"micro-batches are used", func(t *translation) {
		if s := t.get("micro_batch_size"); s != nil && t.on("use_dynamic_batch_size") {
			t.warnings.add(s.at, "a token budget makes the micro-batches, and this size is not used", "leave one of them out")
		}
	}},
	{"nothing is set for nothing", func(t *translation) {
		if s := t.get("sglang_tensor_parallel_size"); s != nil {
			t.warnings.add(s.at, "slime sets this itself, from rollout_num_gpus_per_engine and sglang_pipeline_parallel_size", "leave it out")
		}
		if s := t.get("custom_config_path"); s != nil {
			t.warnings.add(s.at, "what that file sets is not checked here", "")
		}
		for i := range t.settings {
			if s := &t.settings[i]; s.flag.kind == "retired" && s.text == "true" {
				t.warnings.add(s.at, "SGLang has retired this flag, and may refuse it", "leave it out")
			}
		}
	}},
}

// get returns a flag that is set to something, or nil.
func (t *translation) get(name string) *setting {
	i, ok := t.index[name]
	if !ok {
		return nil
	}
	s := &t.settings[i]
	if s.text == refused || s.text == `""` || s.text == "false" && s.flag.kind == "flag" {
		return nil
	}
	return s
}

// has reports whether a flag is set to something, be it refused: what is wrong
// with a value has been said, and that it is missing is not true.
func (t *translation) has(name string) bool {
	i, ok := t.index[name]
	return ok && t.settings[i].text == refused || t.get(name) != nil
}

func (t *translation) on(name string) bool {
	s := t.get(name)
	return s != nil && s.text == "true"
}

// at is where a flag was set, which it must have been.
func (t *translation) at(name string) *place {
	if s := t.get(name); s != nil {
		return s.at
	}
	return nil
}

// first returns the first of these flags that is set, or an empty setting.
func (t *translation) first(names ...string) *setting {
	for _, name := range names {
		if s := t.get(name); s != nil {
			return s
		}
	}
	return &setting{}
}

// text1 returns a flag's text, or "".
func (t *translation) text1(name string) string {
	if s := t.get(name); s != nil {
		return token(s.text)
	}
	return ""
}

// maxCount bounds the numbers that are reckoned with, so that a product of two
// fits. None of what is counted comes near it.
const maxCount = math.MaxInt32

// count returns a flag's number, or the one that holds when it is not set; ok
// is false for one that is beyond reckoning.
func (t *translation) count(name string, otherwise int64) (n int64, ok bool) {
	s := t.get(name)
	if s == nil {
		return otherwise, !t.has(name)
	}
	n, err := strconv.ParseInt(s.text, 10, 64)
	return n, err == nil && n >= 0 && n <= maxCount
}

// mul multiplies without going over.
func mul(a, b int64) int64 {
	if a != 0 && b > math.MaxInt64/a {
		return math.MaxInt64
	}
	return a * b
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// float reads a number that has been checked to be one.
func float(text string) float64 {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(x, 0) {
		return math.NaN()
	}
	return x
}

// rollout returns the sizes of a rollout, as far as they are given.
func (t *translation) rollout() (steps, prompts, samples int64, ok bool) {
	steps, a := t.count("num_steps_per_rollout", 0)
	prompts, b := t.count("rollout_batch_size", 0)
	samples, c := t.count("n_samples_per_prompt", 1)
	return steps, prompts, samples, a && b && c && prompts > 0 && samples > 0
}

// batchSize returns the samples of an optimizer step.
func (t *translation) batchSize() (int64, bool) {
	if n, ok := t.count("global_batch_size", 0); !ok || n > 0 {
		return n, ok
	}
	steps, prompts, samples, ok := t.rollout()
	if !ok || steps == 0 || mul(prompts, samples)%steps != 0 {
		return 0, false
	}
	return mul(prompts, samples) / steps, true
}

// layout returns the trainer's GPUs, and over how many of them one copy of the
// model is spread.
func (t *translation) layout() (gpus, size int64, ok bool) {
	size = 1
	for _, name := range []string{"tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"} {
		n, ok := t.count(name, 1)
		if !ok || n == 0 {
			return 0, 0, false
		}
		size = mul(size, n)
	}
	nodes, a := t.count("actor_num_nodes", 1)
	each, b := t.count("actor_num_gpus_per_node", 8)
	gpus = mul(nodes, each)
	return gpus, size, a && b && gpus > 0
}

// replayed reports whether the samples were made before.
func (t *translation) replayed() bool {
	return t.has("load_debug_rollout_data") || t.has("load_forge_rollout_data")
}

// ownRollout reports whether rollouts are made by another function than slime's.
func (t *translation) ownRollout() bool {
	s := t.get("rollout_function_path")
	return s != nil && token(s.text) != s.flag.initial
}

// missing reports a flag that is not set, at the section that it belongs to.
func (t *translation) missing(section, name, message string) {
	var at *place
	if t.sections[section] {
		at = at.to(section)
	}
	t.errors.add(at, message, "set "+t.say(name))
}

// say names a flag the way that the config at hand would set it.
func (t *translation) say(name string) string {
	for section := range t.sections {
		if section != "extra" && section != "entrypoint" && section != "backend" {
			return fieldOf(name, flagNamed(name).group)
		}
	}
	return "extra." + extraName(flagNamed(name).group) + "." + name
}
