package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestEveryMember gives each plain member of the language a legal value and
// illegal ones, and looks for its flag.
func TestEveryMember(t *testing.T) {
	n := 0
	var walk func(f *field, path string)
	walk = func(f *field, path string) {
		for i := range f.sub {
			m := &f.sub[i]
			pointer := path + "/" + m.name
			walk(m, pointer)
			if m.conv != plain && m.conv != inverse {
				continue
			}
			n++
			f := flagNamed(m.flag)
			value, _ := legal(f)
			bad := illegal(f)
			if m.conv == inverse {
				value, bad = false, []any{"false", 0}
			}
			_, refused := translate(encode(t, put(parse(t, friendly), pointer, value)))
			for _, d := range refused {
				// Rules may speak up; the value itself is right.
				if d.Path == pointer && strings.Contains(d.Message, "expected") {
					t.Errorf("%s: %v: %+v", pointer, value, d)
				}
			}
			if len(refused) == 0 {
				got := good(t, encode(t, put(parse(t, friendly), pointer, value)))
				if _, ok := args(t, got.Args)[m.flag]; !ok {
					t.Errorf("%s: %s is not in %s", pointer, m.flag, got.Args)
				}
				if m.conv == inverse {
					got := good(t, encode(t, put(parse(t, friendly), pointer, true)))
					if slices.Contains(got.Argv, option(m.flag)) {
						t.Errorf("%s: true passes %s", pointer, m.flag)
					}
				}
			}
			for _, value := range append(bad, nil) {
				config := put(parse(t, friendly), pointer, value)
				text := encode(t, config)
				if value == nil {
					text = strings.Replace(encode(t, put(config, pointer, "NULL")), `"NULL"`, "null", 1)
				}
				_, refused := translate(text)
				if !slices.ContainsFunc(refused, func(d diagnostic) bool { return strings.HasPrefix(d.Path, pointer) }) {
					t.Errorf("%s: %v: %+v", pointer, value, refused)
				}
			}
		}
	}
	walk(&config, "")
	if n < 180 {
		t.Errorf("%d members were tried", n)
	}
}

// TestMembers is for the members that are more than one flag's value: what
// they set beside what friendly sets.
func TestMembers(t *testing.T) {
	plain := args(t, good(t, friendly).Args)
	asConfig, asArgs := schema(t, configSchema()), schema(t, argsSchema())
	for _, test := range []struct{ pointer, value, want string }{
		{"/data/chat_template", `true`, `apply_chat_template=true`},
		{"/data/chat_template", `false`, ``},
		{"/data/chat_template", `{"enable_thinking": false}`, `apply_chat_template=true apply_chat_template_kwargs={"enable_thinking":false}`},
		{"/data/shared", `false`, `disable_rollout_global_dataset=true`},
		{"/data/shared", `true`, ``},
		{"/reward", `{"builtin":"math","boxed":true}`, `rm_type="boxed_math"`},
		{"/reward", `{"builtin":"boxed_math","boxed":true}`, `rm_type="boxed_math"`},
		{"/reward", `{"builtin":"math","boxed":false}`, ``},
		{"/reward", `{"url":"http://h/s"}`, `rm_type="remote_rm" rm_url="http://h/s"`},
		{"/reward", `{"url":"http://h/s","python":"a.b"}`, `-rm_type rm_url="http://h/s" custom_rm_path="a.b"`},
		{"/reward", `"per_sample"`, `-rm_type`},
		{"/algorithm", `"gspo"`, `advantage_estimator="gspo"`},
		{"/algorithm", `"sft"`, `-advantage_estimator loss_type="sft_loss" rollout_function_path="slime.rollout.sft_rollout.generate_rollout" calculate_per_token_loss=true disable_compute_advantages_and_returns=true debug_train_only=true`},
		{"/algorithm", `{"name":"sft","per_token_loss":false}`, `-advantage_estimator loss_type="sft_loss" rollout_function_path="slime.rollout.sft_rollout.generate_rollout" disable_compute_advantages_and_returns=true debug_train_only=true`},
		{"/algorithm", `{"kl":{"where":"loss","coef":0.00,"type":"k3"}}`, `-advantage_estimator use_kl_loss=true kl_loss_coef=0.00 kl_loss_type="k3"`},
		{"/algorithm", `{"kl":{"where":"reward","coef":1e-3}}`, `-advantage_estimator kl_coef=1e-3`},
		{"/algorithm", `{"clip":0.2}`, `-advantage_estimator eps_clip=0.2`},
		{"/algorithm", `{"clip":{"low":0.2,"high":0.28,"dual":3}}`, `-advantage_estimator eps_clip=0.2 eps_clip_high=0.28 eps_clip_c=3`},
		{"/algorithm", `{"loss":"a.b"}`, `-advantage_estimator loss_type="custom_loss" custom_loss_function_path="a.b"`},
		{"/algorithm", `{"tis":true}`, `-advantage_estimator use_tis=true`},
		{"/algorithm", `{"tis":{"high":2.0,"function":"a.b"}}`, `-advantage_estimator use_tis=true tis_clip=2.0 custom_tis_function_path="a.b"`},
		{"/algorithm", `{"opsm":{"delta":1e-4}}`, `-advantage_estimator use_opsm=true opsm_delta=1e-4`},
		{"/algorithm", `{"routing_replay":"rollout"}`, `-advantage_estimator use_rollout_routing_replay=true`},
		{"/algorithm", `{"routing_replay":true}`, `-advantage_estimator use_routing_replay=true`},
		{"/algorithm", `{"distillation":{"from":"megatron","teacher":"/t","coef":1.0}}`, `-advantage_estimator use_opd=true opd_type="megatron" opd_teacher_load="/t" opd_kl_coef=1.0`},
		{"/algorithm", `{"std_normalization":false}`, `-advantage_estimator disable_grpo_std_normalization=true`},
		{"/rollout/filter", `"reward_nonzero_std"`, `dynamic_sampling_filter_path="slime.rollout.filter_hub.dynamic_sampling_filters.check_reward_nonzero_std"`},
		{"/rollout/filter", `"a.b"`, `dynamic_sampling_filter_path="a.b"`},
		{"/rollout/partial", `true`, `partial_rollout=true`},
		{"/rollout/partial", `"masked"`, `partial_rollout=true mask_offpolicy_in_partial_rollout=true`},
		{"/rollout/fault_tolerance", `true`, `use_fault_tolerance=true`},
		{"/rollout/fault_tolerance", `{"interval":5}`, `use_fault_tolerance=true rollout_health_check_interval=5`},
		{"/rollout/fault_tolerance", `false`, ``},
		{"/rollout/engine/data_parallel", `8`, `sglang_data_parallel_size=8 sglang_enable_dp_attention=true`},
		{"/rollout/engine/data_parallel", `1`, `sglang_data_parallel_size=1`},
		{"/rollout/engine/cuda_graph", `16`, `sglang_cuda_graph_max_bs=16`},
		{"/rollout/engine/cuda_graph", `[1,2]`, `sglang_cuda_graph_bs=[1,2]`},
		{"/rollout/engine/cuda_graph", `false`, `sglang_disable_cuda_graph=true`},
		{"/training/train_batch", `"4 steps"`, `-global_batch_size num_steps_per_rollout=4`},
		{"/training/train_batch", `"1 step"`, `-global_batch_size num_steps_per_rollout=1`},
		{"/training/train_batch", `" 016  samples "`, `global_batch_size=16`},
		{"/training/tokens_per_gpu", `9216`, `use_dynamic_batch_size=true max_tokens_per_gpu=9216`},
		{"/training/balance", `true`, `balance_data=true`},
		{"/training/precision", `"fp16"`, `fp16=true`},
		{"/training/attention", `"default"`, `-attention_backend`},
		{"/training/attention", `"fused"`, `attention_backend="fused"`},
		{"/training/dropout", `{"hidden":"default","attention":0.1}`, `-hidden_dropout attention_dropout=0.1`},
		{"/training/fp32/softmax", `"default"`, `-attention_softmax_in_fp32`},
		{"/training/fp32/softmax", `false`, `-attention_softmax_in_fp32`},
		{"/training/dropout", `"default"`, `-hidden_dropout -attention_dropout`},
		{"/training/fp32", `"default"`, `-attention_softmax_in_fp32 -accumulate_allreduce_grads_in_fp32`},
		{"/training/optimizer/betas", `[0.9,0.95]`, `adam_beta2=0.95`},
		{"/training/optimizer/betas", `"default"`, `-adam_beta1 -adam_beta2`},
		{"/training/optimizer/warmup", `0.1`, `lr_warmup_fraction=0.1`},
		{"/training/optimizer/warmup", `"10 steps"`, `lr_warmup_iters=10`},
		{"/training/optimizer/warmup", `"10 samples"`, `lr_warmup_samples=10`},
		{"/training/optimizer/offload", `true`, `optimizer_cpu_offload=true overlap_cpu_optimizer_d2h_h2d=true use_precision_aware_optimizer=true`},
		{"/training/optimizer/offload", `{"cpu":true}`, `optimizer_cpu_offload=true`},
		{"/training/optimizer/offload", `false`, ``},
		{"/training/parallel/sequence", `"default"`, `-sequence_parallel`},
		{"/training/recompute", `"full"`, `recompute_granularity="full" recompute_method="uniform" recompute_num_layers=1`},
		{"/training/recompute", `"selective"`, `recompute_granularity="selective"`},
		{"/training/recompute", `{"granularity":"full","method":"block","layers":4}`, `recompute_granularity="full" recompute_method="block" recompute_num_layers=4`},
		{"/training/check_nan", `false`, `no_check_for_nan_in_loss_and_grad=true`},
		{"/training/env", `{"A":"1"}`, `train_env_vars={"A":"1"}`},
		{"/resources/offload", `true`, `offload=true`},
		{"/resources/offload", `false`, `offload_train=false offload_rollout=false`},
		{"/resources/offload", `{"rollout":true}`, `offload_rollout=true`},
		{"/resources", `{"mode":"separate","rollout_gpus":8}`, `-colocate rollout_num_gpus=8`},
		{"/resources", `{"mode":"async","rollout_gpus":8}`, `-colocate rollout_num_gpus=8`},
		{"/eval/data", `{"b":"/b","a":"/a"}`, `eval_prompt_data=["b","/b","a","/a"]`},
		{"/checkpoint/optimizer", `false`, `no_save_optim=true`},
		{"/logging/wandb", `true`, `use_wandb=true`},
		{"/logging/wandb", `{"project":"p","random_suffix":false}`, `use_wandb=true wandb_project="p" disable_wandb_random_suffix=true`},
		{"/logging/tensorboard", `false`, ``},
		{"/model/architecture", `{"num_layers":2,"moe_layer_freq":[0,1]}`, `num_layers=2 moe_layer_freq="[0,1]"`},
		{"/model/architecture", `{"spec":["a","b"],"allgather_cp":true}`, `spec=["a","b"] allgather_cp=true`},
		{"/extra/slime/train_env_vars", `"{\"A\": \"1\"}"`, `train_env_vars={"A":"1"}`},
		{"/extra/megatron/attention_backend", `"local"`, `attention_backend="local"`},
		{"/extra/megatron/moe_layer_freq", `2`, `moe_layer_freq=2`},
		{"/extra/megatron/window_size", `[128,0]`, `window_size="(128,0)"`},
		{"/extra/megatron/persistent_save_interval", `5`, `save_interval=5`},
		{"/extra/megatron/override_opt_param_scheduler", `true`, `override_opt_param_scheduler=true`},
		{"/extra/sglang/sglang_ep_size", `8`, `sglang_expert_parallel_size=8`},
		{"/extra/sglang/sglang_model_checksum", `true`, `sglang_model_checksum=true`},
		{"/extra/slime/no_offload_train", `true`, `offload_train=false`},
		{"/extra/megatron/exit_signal", `15`, `exit_signal=15`},
		{"/extra/megatron/onnx_safe", `false`, `onnx_safe=false`},
		{"/extra/router/worker_urls", `[]`, `worker_urls=[]`},
	} {
		config := parse(t, friendly)
		if strings.Contains(test.want, "save_interval") {
			put(config, "/checkpoint/save", "/s")
		}
		text := strings.Replace(encode(t, put(config, test.pointer, "HERE")), `"HERE"`, test.value, 1)
		got := good(t, text)
		if err := asConfig(text); err != nil {
			t.Errorf("%s: %s: %v", test.pointer, test.value, err)
		}
		if err := asArgs(got.Args); err != nil {
			t.Errorf("%s: %s: %v", test.pointer, test.value, err)
		}
		have, want := args(t, got.Args), maps.Clone(plain)
		delete(have, "save")
		for item := range strings.SplitSeq(test.want, " ") {
			name, value, ok := strings.Cut(item, "=")
			if !ok {
				delete(want, strings.TrimPrefix(name, "-"))
				continue
			}
			var v any
			d := json.NewDecoder(strings.NewReader(value))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				t.Fatal(test.want, err)
			}
			want[name] = v
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s: %s\nhas  %v\nwant %v", test.pointer, test.value, have, want)
		}
		if entry := map[bool]string{true: "train_async.py", false: "train.py"}[strings.Contains(test.value, "async")]; got.Entrypoint != entry {
			t.Errorf("%s: %s runs %s", test.pointer, test.value, got.Entrypoint)
		}
	}
}

// TestDefaultsAreOfTheSection shows that nothing is added where nothing is said.
func TestDefaultsAreOfTheSection(t *testing.T) {
	config := encode(t, base())
	if have := args(t, good(t, config).Args); len(have) != 11 {
		t.Errorf("a config of flags alone has %v", have)
	}
	with := args(t, good(t, encode(t, put(base(), "/training", map[string]any{}))).Args)
	for name, value := range map[string]string{
		"attention_dropout": "0.0", "hidden_dropout": "0.0", "accumulate_allreduce_grads_in_fp32": "true", "attention_softmax_in_fp32": "true",
		"attention_backend": "flash", "optimizer": "adam", "lr_decay_style": "constant", "weight_decay": "0.1", "adam_beta1": "0.9", "adam_beta2": "0.98",
		"tensor_model_parallel_size": "1", "pipeline_model_parallel_size": "1", "context_parallel_size": "1", "expert_model_parallel_size": "1",
		"expert_tensor_parallel_size": "1", "sequence_parallel": "true",
	} {
		if fmt.Sprint(with[name]) != value {
			t.Errorf("%s is %v, want %s", name, with[name], value)
		}
		delete(with, name)
	}
	if len(with) != 11 {
		t.Errorf("the section adds %v", with)
	}
}

// TestPrecedence shows which of several settings counts.
func TestPrecedence(t *testing.T) {
	for _, test := range []struct {
		change change
		flag   string
		want   string // "" for a refusal
	}{
		{change{"/extra/megatron/weight_decay": 0.5}, "weight_decay", "0.5"},                                                    // over what the section has at first
		{change{"/training/optimizer": map[string]any{"weight_decay": 0.2}, "/extra/megatron/weight_decay": 0.5}, "", ""},       // twice
		{change{"/model/architecture": "kimi-k2", "/training/moe/dispatcher": "flex"}, "moe_token_dispatcher_type", "flex"},     // over a preset
		{change{"/model/architecture": "kimi-k2", "/extra/megatron/rotary_base": 7}, "rotary_base", "7"},                        // over a preset
		{change{"/model/architecture": map[string]any{"preset": "kimi-k2", "rotary_base": 7}}, "rotary_base", "7"},              // over its own preset
		{change{"/model/architecture": map[string]any{"rotary_base": 7}, "/extra/megatron/rotary_base": 7}, "", ""},             // twice
		{change{"/model/architecture": "minimax-m2", "/training/fp32/softmax": "default"}, "attention_softmax_in_fp32", "true"}, // the preset's own
		{change{"/extra/sglang/sglang_ep_size": 2, "/extra/sglang/sglang_expert_parallel_size": 2}, "", ""},                     // twice, by two spellings
		{change{"/extra/sglang/sglang_ep_size": 2, "/extra/sglang/sglang_ep": 2}, "", ""},
		{change{"/data/shuffle": false, "/extra/slime/rollout_shuffle": true}, "", ""},
		{change{"/extra/slime/offload_train": true, "/extra/slime/no_offload_train": true}, "", ""},
		{change{"/algorithm": "sft", "/rollout/function": "a.b"}, "rollout_function_path", "a.b"},
	} {
		got, refused := translate(encode(t, test.change.apply(parse(t, friendly))))
		switch {
		case test.want == "":
			if len(refused) != 1 || !strings.Contains(refused[0].Message, "twice") || !strings.Contains(refused[0].Message, " at /") {
				t.Errorf("%v: %+v", test.change, refused)
			}
		case len(refused) > 0:
			t.Errorf("%v: %+v", test.change, refused)
		case fmt.Sprint(args(t, got.Args)[test.flag]) != test.want:
			t.Errorf("%v: %s is %v, want %s", test.change, test.flag, args(t, got.Args)[test.flag], test.want)
		}
	}
}

// TestRefusals is about what a person is told.
func TestRefusals(t *testing.T) {
	for _, test := range []struct{ pointer, value, at, message, hint string }{
		{"/modell", `{}`, "/modell", `unknown member "modell"`, `the nearest is "model"`},
		{"/rollout/promts", `8`, "/rollout/promts", `unknown member`, `the nearest is "prompts"`},
		{"/rollout/rollout_batch_size", `8`, "/rollout/rollout_batch_size", `unknown member`, "it is rollout.prompts"},
		{"/rollout/mem_fraction_static", `8`, "/rollout/mem_fraction_static", `unknown member`, "it is rollout.engine.memory"},
		{"/rollout/hidden_size", `8`, "/rollout/hidden_size", `unknown member`, "it is extra.megatron.hidden_size"},
		{"/training/lr", `1`, "/training/lr", `unknown member`, "it is training.optimizer.lr"},
		{"/logging/wandb_key", `"s3cr3t"`, "/logging/wandb_key", "credential", "WANDB_API_KEY"},
		{"/logging/wandb", `{"key":"s3cr3t"}`, "/logging/wandb/key", "unknown", "environment"},
		{"/extra/slime/wandb_key", `"s3cr3t"`, "/extra/slime/wandb_key", "credential", "WANDB_API_KEY"},
		{"/extra/router/router_api_key", `"s3cr3t"`, "/extra/router/router_api_key", "credential", "environment"},
		{"/extra/sglang/sglang_tp_size", `2`, "/extra/sglang/sglang_tp_size", "does not expose", "rollout_num_gpus_per_engine"},
		{"/extra/sglang/sglang_port", `2`, "/extra/sglang/sglang_port", "does not expose", "sets it itself"},
		{"/extra/slime/sglang_tp_size", `2`, "/extra/slime/sglang_tp_size", "does not expose", ""},
		{"/extra/sglang/mem_fraction_static", `2`, "/extra/sglang/mem_fraction_static", "no parser", `"sglang_mem_fraction_static"`},
		{"/extra/sglang/sglang-mem-fraction-static", `0.7`, "/extra/sglang/sglang-mem-fraction-static", "no parser", `"sglang_mem_fraction_static"`},
		{"/extra/slime/~1~0", `2`, "/extra/slime/~1~0", "no parser", ""},
		{"/extra/slime/sglang_mem_fraction_static", `0.7`, "/extra/slime/sglang_mem_fraction_static", "no flag of extra.slime", "extra.sglang"},
		{"/extra/megatron/lr", `1`, "/extra/megatron/lr", "no flag of extra.megatron", "extra.slime"},
		{"/extra/slime/save_intervall", `1`, "/extra/slime/save_intervall", "no parser", `"save_interval"`},
		{"/extra/slime/rollout_global_dataset", `1`, "/extra/slime/rollout_global_dataset", "no parser", "disable_rollout_global_dataset"},
		{"/extra/mgatron", `{}`, "/extra/mgatron", "unknown member", `"megatron"`},
		{"/model/hf", `7`, "/model/hf", "expected text, and this is the number 7", "quote it"},
		{"/rollout/count", `"7"`, "/rollout/count", "expected a whole number, and this is text", "without quotes"},
		{"/rollout/count", `"seven"`, "/rollout/count", "expected a whole number, and this is text", ""},
		{"/rollout/count", `1e3`, "/rollout/count", "expected a whole number, and this is the number 1e3", ""},
		{"/data/chat_template", `{"":1,"":2}`, "/data/chat_template", `"" occurs twice`, ""},
		{"/data/chat_template", `{"a\"":1,"a\u0022":2}`, "/data/chat_template", "occurs twice", ""},
		{"/training/precision", `"fp8"`, "/training/precision", "none of", ""},
		{"/training/precision", `8`, "/training/precision", "expected text", "quote it"},
		{"/training/optimizer/warmup", `true`, "/training/optimizer/warmup", "a fraction", ""},
		{"/training/optimizer/warmup", `"ten steps"`, "/training/optimizer/warmup", "neither", ""},
		{"/training/optimizer/betas", `[0.9,0.9,0.9]`, "/training/optimizer/betas", "two numbers", ""},
		{"/training/env", `{"A":"\u0000"}`, "/training/env/A", "NUL", ""},
		{"/training/seed", `"1` + strings.Repeat("0", 90) + `"`, "/training/seed", "and this is text", "without quotes"},
		{"/training/seed", `true`, "/training/seed", "and this is true", ""},
		{"/resources/mode", `1`, "/resources/mode", "expected text", ""},
		{"/resources/offload", `"yes"`, "/resources/offload", "true, false or a mapping", ""},
		{"/rollout/engine/cuda_graph", `"all"`, "/rollout/engine/cuda_graph", "the largest batch", ""},
		{"/algorithm", `{"kl":{"where":1}}`, "/algorithm/kl/where", "expected text", ""},
		{"/algorithm", `{"clip":[]}`, "/algorithm/clip", "a number or a mapping", ""},
		{"/algorithm", `[]`, "/algorithm", "text or a mapping", ""},
		{"/model/architecture", `7`, "/model/architecture", "a preset", ""},
		{"/model/architecture", `{"preset":7}`, "/model/architecture/preset", "a preset", ""},
		{"/model/architecture", `{"preset":"kimi-k2","preset":"kimi-k2"}`, "/model/architecture/preset", "occurs twice", ""},
		{"/backend", `1`, "/backend", "expected text", ""},
		{"/entrypoint", `1`, "/entrypoint", "expected text", ""},
		{"/extra", `[]`, "/extra", "a mapping", ""},
		{"/extra/slime", `[]`, "/extra/slime", "a mapping of flags", ""},
		{"/extra/sglang/sglang_model_path", `"/m"`, "/extra/sglang/sglang_model_path", "does not expose", "hf_checkpoint"},
		{"/extra/sglang/sglang_random_seed", `1`, "/extra/sglang/sglang_random_seed", "does not expose", "rollout_seed"},
		{"/extra/sglang/sglang_log_requests_level", `9`, "/extra/sglang/sglang_log_requests_level", "0, 1, 2 or 3", ""},
		{"/extra/megatron/rampup_batch_size", `[1,2]`, "/extra/megatron/rampup_batch_size", "three", ""},
		{"/extra/slime/zzz_zzz", `[1,2]`, "/extra/slime/zzz_zzz", "no parser", "carl slime-schema"},
		{"/extra/sglang/api_key", `"s3cr3t"`, "/extra/sglang/api_key", "no parser", "environment"},
		{"/extra/sglang/model-path", `"/m"`, "/extra/sglang/model-path", "no parser", "does not expose"},
		{"/extra/sglang/ep_size", `8`, "/extra/sglang/ep_size", "no parser", `"sglang_ep_size"`},
		{"/rollout/ep_size", `8`, "/rollout/ep_size", "unknown member", "rollout.engine.expert_parallel"},
		{"/rollout/count", strings.Repeat("9", 65), "/rollout/count", "beyond", ""},
		{"/rollout/temperature", `1e999`, "/rollout/temperature", "beyond", ""},
		{"/rollout/temperature", `1e-9999`, "/rollout/temperature", "beyond", ""},
		{"/rollout/generate", `"ü.b"`, "/rollout/generate", "no dotted path", ""},
		{"/training", `"default"`, "/training", "expected a mapping", ""},
		{"/training/recompute", `"default"`, "/training/recompute", "none of", ""},
		{"/rollout/stop", `"a"`, "/rollout/stop", "a list", `["a"]`},
		{"/rollout/stop", `["a",1]`, "/rollout/stop/1", "expected text", "quote it"},
		{"/rollout/stop", `[]`, "/rollout/stop", "empty list", "leave"},
		{"/rollout/stop", `["a","-x"]`, "/rollout/stop/1", "begins with -", ""},
		{"/rollout/temperature", `null`, "/rollout/temperature", "this is nothing", "leave the line out"},
		{"/rollout/generate", `"generate"`, "/rollout/generate", "no dotted path", "package.module.function"},
		{"/rollout/buffer_url", `"http://u:p@h/x"`, "/rollout/buffer_url", "a user or a password", "environment"},
		{"/training/train_batch", `256`, "/training/train_batch", "N samples", "name the unit: 256 samples"},
		{"/training/train_batch", `"256"`, "/training/train_batch", "neither", ""},
		{"/training/train_batch", `"0 samples"`, "/training/train_batch", "at least 1", ""},
		{"/training/train_batch", `"-4 steps"`, "/training/train_batch", "", ""},
		{"/training/optimizer/warmup", `10`, "/training/optimizer/warmup", "no fraction", "10 steps"},
		{"/training/optimizer/betas", `[0.9]`, "/training/optimizer/betas", "two numbers", ""},
		{"/training/optimizer/betas", `[0.9,"x"]`, "/training/optimizer/betas/1", "a number", ""},
		{"/training/env", `{"WANDB_API_KEY":"s3cr3t"}`, "/training/env/WANDB_API_KEY", "credential", "environment"},
		{"/training/env", `{"A":1}`, "/training/env/A", "expected text", "quote it"},
		{"/training/env", `{"A B":"1"}`, "/training/env/A B", "no name", ""},
		{"/training/env", `{"A":"1","A":"2"}`, "/training/env", "occurs twice", ""},
		{"/data/chat_template", `{"a":{"b":1,"b":2}}`, "/data/chat_template", `"b" occurs twice`, ""},
		{"/eval/data", `{"a":"/a","a":"/b"}`, "/eval/data/a", "occurs twice", ""},
		{"/eval/data", `["a","/a"]`, "/eval/data", "a mapping", ""},
		{"/eval/data", `{"a":1}`, "/eval/data/a", "the path of a file", ""},
		{"/eval/data", `{}`, "/eval/data", "no set", ""},
		{"/model/architecture", `"qwen3-4b"`, "/model/architecture", "no preset", `"qwen3-4B"`},
		{"/model/architecture", `"gpt-5"`, "/model/architecture", "no preset", "known are"},
		{"/model/architecture", `{"preset":"x","num_layer":3}`, "", "", ""},
		{"/model/architecture", `{"num_layer":3}`, "/model/architecture/num_layer", "no parser", `"num_layers"`},
		{"/algorithm", `"grop"`, "/algorithm", "no algorithm", `"grpo"`},
		{"/algorithm", `{"kl":{"coef":1}}`, "/algorithm/kl", "missing", "where: loss"},
		{"/algorithm", `{"kl":{"where":"los"}}`, "/algorithm/kl/where", "none of", ""},
		{"/reward", `{"boxed":true,"python":"a.b"}`, "/reward/boxed", "no builtin", "add builtin"},
		{"/resources/mode", `"colocate"`, "/resources/mode", "none of", `"colocated"`},
		{"/backend", `"verl"`, "/backend", "verl", ""},
		{"/entrypoint", `"main.py"`, "/entrypoint", "no program", ""},
		{"/training", `[]`, "/training", "expected a mapping, and this is a list", ""},
		{"/extra/slime/train_backend", `"fsdp"`, "/extra/slime/train_backend", "none of megatron", ""},
		{"/extra/megatron/exit_signal", `99`, "/extra/megatron/exit_signal", "signal", ""},
		{"/resources/async", `true`, "/resources/async", "unknown member", "resources.mode: async"},
		{"/training/learning_rate", `1`, "/training/learning_rate", "unknown member", "training.optimizer.lr"},
		{"/rollout/every", `1`, "/rollout/every", "unknown member", "there is"},
	} {
		config := parse(t, friendly)
		text := strings.Replace(encode(t, put(config, strings.ReplaceAll(test.pointer, "~1~0", "HERE/"), "HERE")), `"HERE"`, test.value, 1)
		if strings.Contains(test.pointer, "~1~0") {
			text = strings.Replace(friendly, `{"model"`, `{"extra":{"slime":{"/~":2}},"model"`, 1)
		}
		_, refused := translate(text)
		if test.at == "" {
			if len(refused) != 2 {
				t.Errorf("%s: %s: %+v", test.pointer, test.value, refused)
			}
			continue
		}
		if len(refused) != 1 || refused[0].Path != test.at || !strings.Contains(refused[0].Message, test.message) || !strings.Contains(refused[0].Hint, test.hint) {
			t.Errorf("%s: %s\ngave %+v\nwant one at %s of %q, %q", test.pointer, test.value, refused, test.at, test.message, test.hint)
		}
		if strings.Contains(fmt.Sprint(refused), "s3cr3t") {
			t.Errorf("%s: the value is repeated: %+v", test.pointer, refused)
		}
	}
}

// TestSpelling shows that numbers keep theirs from the config to the command line.
func TestSpelling(t *testing.T) {
	for flag, values := range map[string][]string{
		"kl_loss_coef":              {"1e-6", "0.00", "1E-06", "0.1000", "4e-4", "1.0"},
		"update_weight_buffer_size": {"2147483648", "9007199254740993", "123456789012345678901234567890", strings.Repeat("9", 64)},
		"rollout_top_k":             {"-1", "-0"},
	} {
		for _, value := range values {
			text := strings.Replace(encode(t, put(base(), "/extra/slime/"+flag, "HERE")), `"HERE"`, value, 1)
			got := good(t, text)
			if !strings.Contains(got.Args, `"`+flag+`":`+value) || !containsRun(got.Argv, []string{option(flag), value}) {
				t.Errorf("%s %s: %s, %q", flag, value, got.Args, got.Argv)
			}
		}
	}
}

// TestDashes is about values that argparse would take for flags.
func TestDashes(t *testing.T) {
	for _, test := range []struct {
		pointer string
		value   any
		want    []string
	}{
		{"/extra/slime/wandb_group", "-x", []string{"--wandb-group=-x"}},
		{"/extra/slime/wandb_group", "--", []string{"--wandb-group=--"}},
		{"/extra/slime/wandb_group", "-1", []string{"--wandb-group", "-1"}},
		{"/extra/slime/wandb_group", "-1.5", []string{"--wandb-group", "-1.5"}},
		{"/extra/slime/wandb_group", "", []string{"--wandb-group", ""}},
		{"/extra/slime/wandb_group", "a b=c\n\"", []string{"--wandb-group", "a b=c\n\""}},
		{"/extra/slime/kl_loss_coef", json.Number("-1e-6"), []string{"--kl-loss-coef=-1e-6"}},
		{"/extra/megatron/onnx_safe", false, []string{"--onnx-safe", ""}},
		{"/extra/slime/rollout_stop", []any{"a\"],[\\", "<\n>,", "]"}, []string{"--rollout-stop", "a\"],[\\", "<\n>,", "]"}},
		{"/extra/slime/apply_chat_template_kwargs", map[string]any{"a\"": "{ \\"}, []string{"--apply-chat-template-kwargs", `{"a\"":"{ \\"}`}},
		{"/extra/slime/rollout_stop", []any{"-x"}, []string{"--rollout-stop=-x"}},
		{"/extra/slime/rollout_stop", []any{"-1", "b"}, []string{"--rollout-stop", "-1", "b"}},
		{"/extra/router/router_prefill", []any{"-x", []any{"a", "1"}}, []string{"--router-prefill=-x", "--router-prefill", "a", "1"}},
	} {
		if got := good(t, encode(t, put(base(), test.pointer, test.value))); !containsRun(got.Argv, test.want) {
			t.Errorf("%s: %v: %q is not in %q", test.pointer, test.value, test.want, got.Argv)
		}
	}
}
