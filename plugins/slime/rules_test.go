package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A change is what a test sets in a config: JSON Pointers and values, nil to
// leave a member out. A pointer without a slash is a flag of slime, and of
// Megatron or SGLang where that has it.
type change map[string]any

func (c change) apply(config map[string]any) map[string]any {
	for pointer, value := range c {
		if !strings.HasPrefix(pointer, "/") {
			pointer = flagPlace(pointer)
		}
		put(config, pointer, value)
	}
	return config
}

func flagPlace(name string) string {
	return "/extra/" + extraName(flagNamed(name).group) + "/" + name
}

// ruleTests has for each rule what breaks it, in the flags and where a
// section says it, and what keeps it though it comes near.
var ruleTests = []struct {
	rule string
	// breaks is on top of base, and refused at the flag at.
	breaks change
	at     string
	keeps  change
	// warns is set where the rule warns and does not refuse.
	warns bool
}{
	{rule: "model is named", breaks: change{"hf_checkpoint": nil}, keeps: change{"hf_checkpoint": "x"}},
	{rule: "prompts are named", breaks: change{"prompt_data": nil}, keeps: change{"prompt_data": nil, "load_debug_rollout_data": "/x"}},
	{rule: "prompts are named", breaks: change{"prompt_data": nil}, keeps: change{"prompt_data": nil, "data_source_path": "a.b"}},
	{rule: "prompts are named", breaks: change{"prompt_data": nil}, keeps: change{"prompt_data": nil, "disable_rollout_global_dataset": true}},
	{rule: "rollout batch is given", breaks: change{"rollout_batch_size": nil}, keeps: change{"rollout_batch_size": 16}},
	{rule: "eval sets are pairs", breaks: change{"eval_prompt_data": []any{"a", "b", "c"}}, at: "eval_prompt_data", keeps: change{"eval_prompt_data": []any{"a", "b", "c", "d"}}},
	{rule: "eval sets are pairs", breaks: change{"eval_prompt_data": []any{"a"}}, at: "eval_prompt_data", keeps: change{"eval_prompt_data": []any{"a", "b"}}, warns: true},
	{rule: "eval sets are pairs", breaks: change{"eval_prompt_data": []any{"a", "b"}, "eval_config": "c"}, at: "eval_prompt_data", keeps: change{"eval_config": "c"}, warns: true},
	{rule: "KL needs a reference", breaks: change{"use_kl_loss": true, "ref_load": nil}, at: "use_kl_loss", keeps: change{"use_kl_loss": true}},
	{rule: "KL needs a reference", breaks: change{"kl_coef": 0.1, "ref_load": nil}, at: "kl_coef", keeps: change{"kl_coef": json.Number("0.00"), "ref_load": nil}},
	{rule: "distillation names its teacher", breaks: change{"use_opd": true}, at: "use_opd", keeps: change{"use_opd": true, "opd_type": "sglang"}},
	{rule: "distillation names its teacher", breaks: change{"use_opd": true, "opd_type": "megatron"}, at: "opd_type", keeps: change{"use_opd": true, "opd_type": "megatron", "opd_teacher_load": "/t"}},
	{rule: "distillation names its teacher", breaks: change{"use_opd": true, "opd_type": "sglang", "opd_teacher_load": "/t"}, at: "opd_teacher_load", keeps: change{"opd_type": "sglang"}},
	{rule: "distillation names its teacher", breaks: change{"opd_teacher_load": "/t"}, at: "opd_teacher_load", keeps: change{"opd_kl_coef": 1}},
	{rule: "evaluation needs sets", breaks: change{"eval_interval": 5}, at: "eval_interval", keeps: change{"eval_interval": 5, "eval_config": "/e"}},
	{rule: "evaluation needs sets", breaks: change{"eval_interval": 5}, at: "eval_interval", keeps: change{"eval_interval": 5, "eval_prompt_data": []any{"a", "b"}}},
	{rule: "saving needs a folder", breaks: change{"save_interval": 5}, at: "save_interval", keeps: change{"save_interval": 5, "save": "/s"}},
	{rule: "KL counts once", breaks: change{"kl_coef": 0.1, "kl_loss_coef": 0.1}, at: "kl_loss_coef", keeps: change{"kl_coef": 0.1, "kl_loss_coef": json.Number("0.0")}},
	{rule: "REINFORCE++ normalizes", breaks: change{"advantage_estimator": "reinforce_plus_plus"}, at: "advantage_estimator", keeps: change{"advantage_estimator": "reinforce_plus_plus", "normalize_advantages": true}},
	{rule: "REINFORCE++ normalizes", breaks: change{"advantage_estimator": "reinforce_plus_plus_baseline", "normalize_advantages": false}, at: "advantage_estimator", keeps: change{"advantage_estimator": "gspo"}},
	{rule: "rollout log-probabilities exclude TIS", breaks: change{"use_rollout_logprobs": true, "use_tis": true}, at: "use_tis", keeps: change{"use_rollout_logprobs": true, "use_tis": false}},
	{rule: "mismatch metrics need a function", breaks: change{"get_mismatch_metrics": true}, at: "get_mismatch_metrics", keeps: change{"get_mismatch_metrics": true, "custom_tis_function_path": "a.b"}},
	{rule: "dynamic batches need a budget", breaks: change{"use_dynamic_batch_size": true}, at: "use_dynamic_batch_size", keeps: change{"use_dynamic_batch_size": true, "max_tokens_per_gpu": 9216}},
	{rule: "balance by FLOPs needs dynamic batches", breaks: change{"balance_by_flops": true}, at: "balance_by_flops", keeps: change{"balance_by_flops": true, "use_dynamic_batch_size": true, "max_tokens_per_gpu": 9216}},
	{rule: "CISPO clips widely", breaks: change{"advantage_estimator": "cispo", "eps_clip": 0.2}, at: "eps_clip", keeps: change{"advantage_estimator": "cispo", "eps_clip": 1}, warns: true},
	{rule: "CISPO clips widely", breaks: change{"advantage_estimator": "cispo"}, at: "advantage_estimator", keeps: change{"eps_clip": 0.2}, warns: true},
	{rule: "dumps have files of their own", breaks: change{"save_debug_train_data": "/x", "save_debug_rollout_data": "/x"}, at: "save_debug_train_data", keeps: change{"save_debug_train_data": "/x", "save_debug_rollout_data": "/y"}},
	{rule: "debugging is of one side", breaks: change{"debug_rollout_only": true, "debug_train_only": true}, at: "debug_train_only", keeps: change{"debug_rollout_only": true}},
	{rule: "debugging is of one side", breaks: change{"debug_rollout_only": true, "load_debug_rollout_data": "/x"}, at: "load_debug_rollout_data", keeps: change{"debug_train_only": true, "load_debug_rollout_data": "/x"}},
	{rule: "steps and samples agree", breaks: change{"num_steps_per_rollout": 2}, at: "global_batch_size", keeps: change{"num_steps_per_rollout": 2, "global_batch_size": 16}},
	{rule: "steps and samples agree", breaks: change{"num_steps_per_rollout": 3, "global_batch_size": nil}, at: "num_steps_per_rollout", keeps: change{"num_steps_per_rollout": 4, "global_batch_size": nil}},
	{rule: "batches divide", breaks: change{"global_batch_size": 24}, at: "global_batch_size", keeps: change{"global_batch_size": 16}},
	{rule: "batches divide", breaks: change{"global_batch_size": 64}, at: "global_batch_size", keeps: change{"global_batch_size": 64, "n_samples_per_prompt": 8}},
	{rule: "over-sampling is more", breaks: change{"over_sampling_batch_size": 7}, at: "over_sampling_batch_size", keeps: change{"over_sampling_batch_size": 8}},
	{rule: "the run has an end", breaks: change{"num_rollout": nil}, keeps: change{"num_rollout": nil, "num_epoch": 1}},
	{rule: "the run has an end", breaks: change{"num_rollout": nil, "num_epoch": 1, "disable_rollout_global_dataset": true}, at: "num_epoch", keeps: change{"disable_rollout_global_dataset": true}},
	{rule: "the run has an end", breaks: change{"num_epoch": 1}, at: "num_epoch", keeps: change{"num_epoch": 1, "num_rollout": nil}, warns: true},
	{rule: "MTP is trained with layers", breaks: change{"enable_mtp_training": true}, at: "enable_mtp_training", keeps: change{"enable_mtp_training": true, "mtp_num_layers": 1}},
	{rule: "prompts leave room", breaks: change{"rollout_max_context_len": 1024, "rollout_max_prompt_len": 1024}, at: "rollout_max_prompt_len", keeps: change{"rollout_max_context_len": 1024, "rollout_max_prompt_len": 1023}},
	{rule: "parameters are chosen one way", breaks: change{"only_train_params_name_list": []any{"a"}, "freeze_params_name_list": []any{"b"}}, at: "freeze_params_name_list", keeps: change{"only_train_params_name_list": []any{"a"}, "freeze_params_name_list": []any{}}},
	{rule: "disk transport needs a folder", breaks: change{"update_weight_transport": "disk"}, at: "update_weight_transport", keeps: change{"update_weight_transport": "disk", "update_weight_disk_dir": "/w"}},
	{rule: "a released trainer comes back", breaks: change{"release_train": true, "update_weight_transport": "disk", "update_weight_disk_dir": "/w"}, at: "release_train",
		keeps: change{"release_train": true, "save": "/s", "update_weight_transport": "disk", "update_weight_disk_dir": "/w"}},
	{rule: "a released trainer comes back", breaks: change{"release_train": true, "save": "/s"}, at: "release_train", keeps: change{"save": "/s"}},
	{rule: "a released trainer comes back", breaks: change{"release_train": true, "save": "/s", "update_weight_transport": "disk", "update_weight_disk_dir": "/w", "advantage_estimator": "ppo"}, at: "release_train",
		keeps: change{"advantage_estimator": "ppo"}},
	{rule: "a released trainer comes back", breaks: change{"release_train": true, "save": "/s", "update_weight_transport": "disk", "update_weight_disk_dir": "/w", "keep_old_actor": true}, at: "release_train",
		keeps: change{"keep_old_actor": true}},
	{rule: "a released trainer comes back", breaks: change{"release_train": true, "save": "/s", "update_weight_transport": "disk", "update_weight_disk_dir": "/w", "update_weight_mode": "delta",
		"update_weight_local_checkpoint_dir": "/l", "colocate": false, "rollout_num_gpus": 8}, at: "update_weight_mode",
		keeps: change{"release_train": true, "save": "/s", "update_weight_transport": "disk", "update_weight_disk_dir": "/w", "update_weight_mode": "full"}},
	{rule: "deltas go over a disk", breaks: change{"update_weight_mode": "delta", "colocate": false, "rollout_num_gpus": 8, "update_weight_local_checkpoint_dir": "/l"}, at: "update_weight_mode",
		keeps: change{"update_weight_mode": "delta", "colocate": false, "rollout_num_gpus": 8, "update_weight_local_checkpoint_dir": "/l", "update_weight_transport": "disk", "update_weight_disk_dir": "/w"}},
	{rule: "deltas go over a disk", breaks: change{"update_weight_mode": "delta", "update_weight_local_checkpoint_dir": "/l", "update_weight_transport": "disk", "update_weight_disk_dir": "/w"}, at: "update_weight_mode",
		keeps: change{"update_weight_mode": "full"}},
	{rule: "deltas go over a disk", breaks: change{"update_weight_mode": "delta", "colocate": false, "rollout_num_gpus": 8, "update_weight_transport": "disk", "update_weight_disk_dir": "/w"}, at: "update_weight_mode",
		keeps: change{"update_weight_mode": "full"}},
	{rule: "async excludes colocate", breaks: change{"/entrypoint": "train_async.py"}, at: "colocate", keeps: change{"/entrypoint": "train_async.py", "colocate": false, "rollout_num_gpus": 8}},
	{rule: "engines have GPUs", breaks: change{"colocate": false}, keeps: change{"colocate": false, "rollout_num_gpus": 8}},
	{rule: "engines have GPUs", breaks: change{"colocate": nil}, keeps: change{"colocate": nil, "debug_train_only": true}},
	{rule: "engines have GPUs", breaks: change{"colocate": nil}, keeps: change{"colocate": nil, "rollout_external_engine_addrs": []any{"h:1"}}},
	{rule: "one stage has no first and last", breaks: change{"decoder_last_pipeline_num_layers": 3}, at: "decoder_last_pipeline_num_layers", keeps: change{"decoder_last_pipeline_num_layers": 3, "pipeline_model_parallel_size": 2}},
	{rule: "one stage has no first and last", breaks: change{"decoder_first_pipeline_num_layers": 3, "pipeline_model_parallel_size": 1}, at: "decoder_first_pipeline_num_layers", keeps: change{"decoder_first_pipeline_num_layers": 3, "pipeline_model_parallel_size": 4}},
	{rule: "trainer's GPUs divide", breaks: change{"tensor_model_parallel_size": 3}, at: "tensor_model_parallel_size", keeps: change{"tensor_model_parallel_size": 4}},
	{rule: "trainer's GPUs divide", breaks: change{"context_parallel_size": 16}, at: "context_parallel_size", keeps: change{"context_parallel_size": 16, "actor_num_nodes": 2}},
	{rule: "layers divide", breaks: change{"num_layers": 47, "pipeline_model_parallel_size": 2}, at: "pipeline_model_parallel_size", keeps: change{"num_layers": 47, "pipeline_model_parallel_size": 2, "decoder_last_pipeline_num_layers": 23}},
	{rule: "layers divide", breaks: change{"num_layers": 78, "pipeline_model_parallel_size": 4, "decoder_last_pipeline_num_layers": 17}, at: "pipeline_model_parallel_size", keeps: change{"num_layers": 78, "pipeline_model_parallel_size": 4, "decoder_last_pipeline_num_layers": 18}},
	{rule: "experts divide", breaks: change{"expert_model_parallel_size": 8, "num_experts": 12}, at: "expert_model_parallel_size", keeps: change{"expert_model_parallel_size": 4, "num_experts": 12}},
	{rule: "experts divide", breaks: change{"expert_model_parallel_size": 8}, at: "expert_model_parallel_size", keeps: change{"expert_model_parallel_size": 1}},
	{rule: "ranks have samples", breaks: change{"global_batch_size": 4}, at: "global_batch_size", keeps: change{"global_batch_size": 4, "tensor_model_parallel_size": 2}},
	{rule: "ranks have samples", breaks: change{"micro_batch_size": 8}, at: "global_batch_size", keeps: change{"micro_batch_size": 4}},
	{rule: "engine stages divide", breaks: change{"sglang_pipeline_parallel_size": 2, "rollout_num_gpus_per_engine": 3}, at: "sglang_pipeline_parallel_size", keeps: change{"sglang_pipeline_parallel_size": 2, "rollout_num_gpus_per_engine": 4}},
	{rule: "engine ranks need attention", breaks: change{"sglang_data_parallel_size": 8}, at: "sglang_data_parallel_size", keeps: change{"sglang_data_parallel_size": 8, "sglang_enable_dp_attention": true}},
	{rule: "engines are described once", breaks: change{"sglang_config": "/c", "prefill_num_servers": 1}, at: "prefill_num_servers", keeps: change{"sglang_config": "/c"}},
	{rule: "engines are described once", breaks: change{"sglang_config": "/c", "rollout_external_engine_addrs": []any{"h:1"}}, at: "rollout_external_engine_addrs", keeps: change{"prefill_num_servers": 1}},
	{rule: "engines are described once", breaks: change{"prefill_num_servers": 1, "rollout_external_engine_addrs": []any{"h:1"}}, at: "rollout_external_engine_addrs", keeps: change{"rollout_external_engine_addrs": []any{"h:1"}}},
	{rule: "group rewards exclude evaluation", breaks: change{"group_rm": true, "eval_interval": 5, "eval_config": "/e"}, at: "group_rm", keeps: change{"group_rm": true}},
	{rule: "the reward is known", breaks: change{"rm_type": "mathh"}, at: "rm_type", keeps: change{"rm_type": "boxed_deepscaler"}},
	{rule: "the reward is known", breaks: change{"rm_type": "remote_rm"}, at: "rm_type", keeps: change{"rm_type": "remote_rm", "rm_url": "http://h/score"}},
	{rule: "the reward is known", breaks: change{"rm_type": "boxed_remote_rm", "rm_url": "http://h"}, at: "rm_type", keeps: change{"rm_type": "random"}},
	{rule: "there is a reward", breaks: change{"rm_type": nil}, keeps: change{"rm_type": nil, "custom_rm_path": "a.b"}},
	{rule: "there is a reward", breaks: change{"rm_type": ""}, keeps: change{"rm_type": nil, "loss_type": "sft_loss"}},
	{rule: "there is a reward", breaks: change{"rm_type": nil, "rollout_function_path": "slime.rollout.sglang_rollout.generate_rollout"}, keeps: change{"rm_type": nil, "rollout_function_path": "a.b"}},
	{rule: "there is a reward", breaks: change{"rm_type": nil}, keeps: change{"rm_type": nil, "custom_generate_function_path": "a.b"}},
	{rule: "there is a reward", breaks: change{"rm_type": nil}, keeps: change{"rm_type": nil, "/reward": "per_sample"}},
	{rule: "a custom loss has a function", breaks: change{"loss_type": "custom_loss"}, at: "loss_type", keeps: change{"loss_type": "custom_loss", "custom_loss_function_path": "a.b"}},
	{rule: "micro-batches are used", breaks: change{"micro_batch_size": 2, "use_dynamic_batch_size": true, "max_tokens_per_gpu": 1}, at: "micro_batch_size", keeps: change{"micro_batch_size": 2}, warns: true},
	{rule: "nothing is set for nothing", breaks: change{"sglang_tensor_parallel_size": 2}, at: "sglang_tensor_parallel_size", keeps: change{}, warns: true},
	{rule: "nothing is set for nothing", breaks: change{"custom_config_path": "/c"}, at: "custom_config_path", keeps: change{}, warns: true},
	{rule: "nothing is set for nothing", breaks: change{"sglang_prefill_round_robin_balance": true}, at: "sglang_prefill_round_robin_balance", keeps: change{"sglang_prefill_round_robin_balance": false}, warns: true},
}

// TestRules breaks each rule, and nothing but that rule.
func TestRules(t *testing.T) {
	tried := map[string]int{}
	for _, test := range ruleTests {
		tried[test.rule]++
		want := ""
		if test.at != "" {
			want = flagPlace(test.at)
		}
		config := encode(t, test.breaks.apply(base()))
		got, refused := translate(config)
		if test.warns {
			if len(refused) > 0 {
				t.Errorf("%s: refused with %+v", test.rule, refused)
			}
			refused = got.Warnings
		}
		if len(refused) != 1 || refused[0].Path != want || refused[0].Message == "" {
			t.Errorf("%s: %v\ngave %+v, want one at %q", test.rule, test.breaks, refused, want)
		}
		got, refused = translate(encode(t, test.keeps.apply(base())))
		if len(refused) > 0 {
			t.Errorf("%s: %v\nis refused with %+v", test.rule, test.keeps, refused)
		}
		for _, w := range got.Warnings {
			if test.warns {
				t.Errorf("%s: %v\nwarns of %+v", test.rule, test.keeps, w)
			}
		}
	}
	for _, r := range rules {
		if tried[r.name] == 0 {
			t.Errorf("the rule %q is not tried", r.name)
		}
		delete(tried, r.name)
	}
	for name := range tried {
		t.Errorf("there is no rule %q", name)
	}
	if got := good(t, encode(t, base())); len(got.Warnings) > 0 {
		t.Errorf("the base warns of %+v", got.Warnings)
	}
}

// TestRulesInSections shows that a rule points at the member that set a flag.
func TestRulesInSections(t *testing.T) {
	for _, test := range []struct {
		change change
		want   string
	}{
		{change{"/model/hf": nil}, "/model"},
		{change{"/model": nil}, ""},
		{change{"/model/reference": nil, "/algorithm": map[string]any{"name": "grpo", "kl": map[string]any{"where": "loss", "coef": 0}}}, "/algorithm/kl/where"},
		{change{"/model/reference": nil, "/algorithm": map[string]any{"kl": map[string]any{"where": "reward", "coef": 0.5}}}, "/algorithm/kl/coef"},
		{change{"/training/train_batch": "24 samples"}, "/training/train_batch"},
		{change{"/training/train_batch": "3 steps"}, "/training/train_batch"},
		{change{"/rollout/over_sample": 4}, "/rollout/over_sample"},
		{change{"/rollout/count": nil}, "/rollout"},
		{change{"/reward": "mathh"}, "/reward"},
		{change{"/reward": map[string]any{"builtin": "mathh", "boxed": true}}, "/reward/builtin"},
		{change{"/reward": nil}, ""},
		{change{"/reward": map[string]any{"key": "score"}}, "/reward"},
		{change{"/resources/mode": "separate"}, "/resources"},
		{change{"/entrypoint": "train_async.py"}, "/resources/mode"},
		{change{"/entrypoint": "train.py", "/resources/mode": "async", "/resources/rollout_gpus": 8}, "/entrypoint"},
		{change{"/checkpoint/every": 5}, "/checkpoint/every"},
		{change{"/eval/every": 5}, "/eval/every"},
		{change{"/eval/every": 5, "/eval/config": "/e", "/reward": map[string]any{"builtin": "math", "group": true}}, "/reward/group"},
		{change{"/training/parallel/tensor": 3}, "/training/parallel/tensor"},
		{change{"/training/parallel/last_stage_layers": 3}, "/training/parallel/last_stage_layers"},
		{change{"/training/parallel/expert": 2}, "/training/parallel/expert"},
		{change{"/model/architecture": "glm4.7-30B-A3B", "/training/parallel/pipeline": 2}, "/training/parallel/pipeline"},
		{change{"/rollout/engine/data_parallel": 4, "/rollout/engine/dp_attention": false}, "/rollout/engine/data_parallel"},
		{change{"/training/balance": "flops"}, "/training/balance"},
		{change{"/training/mtp/train": true}, "/training/mtp/train"},
		{change{"/weights/transport": "disk"}, "/weights/transport"},
		{change{"/algorithm": "reinforce_plus_plus"}, "/algorithm"},
		{change{"/algorithm": map[string]any{"tis": true, "rollout_logprobs": true}}, "/algorithm/tis"},
		{change{"/algorithm": map[string]any{"distillation": true}}, "/algorithm/distillation"},
	} {
		_, refused := translate(encode(t, test.change.apply(parse(t, friendly))))
		if len(refused) != 1 || refused[0].Path != test.want {
			t.Errorf("%v gave %+v, want one at %q", test.change, refused, test.want)
		}
	}
	if got := good(t, friendly); len(got.Warnings) > 0 {
		t.Errorf("warns of %+v", got.Warnings)
	}
}

// TestBounds tries what one flag alone may be.
func TestBounds(t *testing.T) {
	for name, bad := range map[string][]string{
		"n_samples_per_prompt": {"0", "-1"},
		"rollout_batch_size":   {"0", "-8"},
		"global_batch_size":    {"0"},
		"micro_batch_size":     {"0"},
		"rollout_top_p":        {"0", "-0.1", "1.01", "2", "1e300"},
		"eval_top_p":           {"0.0", "1.5"},
		"rollout_temperature":  {"0", "0.0", "-1", "-1e-300"},
		"lr":                   {"0", "-1e-6"},
		"num_rollout":          {"-1"},
		"max_tokens_per_gpu":   {"0"},
	} {
		for _, text := range bad {
			_, refused := translate(encode(t, change{name: json.Number(text)}.apply(base())))
			if len(refused) != 1 || refused[0].Path != flagPlace(name) || !strings.Contains(refused[0].Message, "range") {
				t.Errorf("%s: %s: %+v", name, text, refused)
			}
		}
	}
	for name, text := range map[string]string{"rollout_top_p": "1", "eval_top_p": "1.0", "rollout_temperature": "1e-3", "lr": "1E-6", "num_rollout": "0", "rollout_top_k": "-1"} {
		got := good(t, encode(t, change{name: json.Number(text)}.apply(base())))
		if !slices.Contains(got.Argv, text) {
			t.Errorf("%s: %s is not in %q", name, text, got.Argv)
		}
	}
}
