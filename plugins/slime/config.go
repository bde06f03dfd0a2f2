package main

// This file is the language of a config: which member stands for which flag.
// The translation, the schema for editors and the reference in README.md are
// all made of this one table.

// A conv says how a member becomes flags.
type conv uint8

const (
	plain       conv = iota // its value is the flag's
	inverse                 // true or false, and the flag is passed for false
	section                 // a mapping of members
	held                    // read by the section that it stands in
	backendName             // slime
	program                 // train.py or train_async.py
	architect               // a preset, or a mapping of flags
	template                // true, or keyword arguments
	algorithm               // an advantage estimator, or sft
	batch                   // N samples, or N steps
	tokens                  // a token budget, which makes batches dynamic
	balanced                // true, or flops
	warm                    // a fraction, or N steps
	betas                   // two numbers
	offloaded               // true or false for what stands beside
	allOf                   // a mapping; true is all of it
	placement               // colocated, separate or async
	dataSets                // a mapping from name to path
	filter                  // a Python path, or a short name
	resumed                 // true, or masked
	graphs                  // the largest batch, the batches, or false
	attentionDP             // data-parallel ranks, with attention when more than one
	ownLoss                 // a Python path
	precision               // bf16 or fp16
	replay                  // true, or rollout
	typed                   // a mapping of flags of one group
)

// A field is one member of a config.
type field struct {
	name string
	// flag is what the member sets. A section's flag is set by the section
	// being there at all, and by true in its place.
	flag string
	conv conv
	doc  string
	// initial is the value, as JSON, when the section is there and the member
	// is not. Such a member also takes the word default: the flag is not
	// passed, and the backend decides.
	initial string
	// short names the member that a section's value stands for when it is no mapping.
	short string
	sub   []field
}

// config is the whole language.
var config = field{conv: section, doc: "A training run of slime.", sub: []field{
	{name: "backend", conv: backendName, doc: "The backend: slime, or carl.camp/slime."},
	{name: "entrypoint", conv: program, doc: "slime's program. It follows from resources.mode when it is left out."},
	{name: "model", conv: section, doc: "What is trained.", sub: []field{
		{name: "hf", flag: "hf_checkpoint", doc: "Hugging Face id or path: the tokenizer, the config and the engines' first weights."},
		{name: "reference", flag: "ref_load", doc: "Megatron checkpoint of the reference model, and the first weights where load has none."},
		{name: "reference_step", flag: "ref_ckpt_step", doc: "Step of the reference checkpoint."},
		{name: "load", flag: "load", doc: "Megatron checkpoint to go on from."},
		{name: "architecture", conv: architect, doc: "A preset, or a mapping of Megatron's flags with an optional preset that they change."},
		{name: "name", flag: "model_name", doc: "Model family, where the conversion of weights cannot tell it from the config."},
		{name: "provider", flag: "custom_model_provider_path", doc: "Python function that builds the Megatron model."},
	}},
	{name: "data", conv: section, doc: "The prompts.", sub: []field{
		{name: "prompts", flag: "prompt_data", doc: "JSON Lines or Parquet file; a slice may follow, as in file.jsonl@[0:1000]."},
		{name: "input", flag: "input_key", doc: "Member of a record that holds the prompt."},
		{name: "label", flag: "label_key", doc: "Member that holds the answer."},
		{name: "tools", flag: "tool_key", doc: "Member that holds the tools."},
		{name: "metadata", flag: "metadata_key", doc: "Member that holds a sample's metadata."},
		{name: "multimodal", flag: "multimodal_keys", doc: "From a kind of media to the member that holds it."},
		{name: "chat_template", flag: "apply_chat_template", conv: template, doc: "Write the prompt with the tokenizer's chat template; a mapping is its keyword arguments."},
		{name: "shuffle", flag: "rollout_shuffle", doc: "Shuffle the prompts."},
		{name: "seed", flag: "rollout_seed", doc: "Seed of the shuffling and the sampling."},
		{name: "loss_mask", flag: "loss_mask_type", doc: "Chat format by which the turns of SFT are masked."},
		{name: "max_prompt", flag: "rollout_max_prompt_len", doc: "Longest prompt in tokens; longer ones are left out."},
		{name: "source", flag: "data_source_path", doc: "Python class that supplies the prompts."},
		{name: "shared", flag: "disable_rollout_global_dataset", conv: inverse, doc: "Whether slime builds the prompt set; false when the source does."},
		{name: "start", flag: "start_rollout_id", doc: "Index of the first rollout."},
	}},
	{name: "reward", conv: section, short: "builtin", doc: "What is rewarded. A value alone is the builtin.", sub: []field{
		{name: "builtin", flag: "rm_type", conv: held, doc: "Built-in reward: remote_rm, deepscaler, dapo, math, f1, gpqa, ifbench, random; per_sample when the samples name theirs in metadata.rm_type."},
		{name: "boxed", conv: held, doc: "Take the answer out of \\boxed{} first."},
		{name: "url", flag: "rm_url", doc: "Address that scores samples. With neither builtin nor python, the builtin is remote_rm."},
		{name: "python", flag: "custom_rm_path", doc: "Python function that scores samples."},
		{name: "post_process", flag: "custom_reward_post_process_path", doc: "Python function in place of the normalization of rewards."},
		{name: "key", flag: "reward_key", doc: "Member to take where a reward is a mapping."},
		{name: "eval_key", flag: "eval_reward_key", doc: "The same in evaluation."},
		{name: "group", flag: "group_rm", doc: "Score all samples of a prompt at once."},
		{name: "normalize", flag: "disable_rewards_normalization", conv: inverse, doc: "Whether rewards are normalized."},
	}},
	{name: "algorithm", conv: section, short: "name", doc: "How it is trained. A value alone is the name.", sub: []field{
		{name: "name", flag: "advantage_estimator", conv: algorithm, doc: "An advantage estimator, or sft: supervised fine-tuning (sft_loss averaged over tokens, slime's SFT rollout, no advantages, no engines)."},
		{name: "kl", conv: section, doc: "Distance from the reference.", sub: []field{
			{name: "where", conv: held, doc: "loss: a term of the loss (use_kl_loss, kl_loss_coef); reward: taken off the reward (kl_coef)."},
			{name: "coef", conv: held, doc: "Its weight."},
			{name: "type", flag: "kl_loss_type", doc: "Estimator."},
			{name: "unbiased", flag: "use_unbiased_kl", doc: "Use the unbiased estimate."},
		}},
		{name: "clip", conv: section, short: "low", doc: "Bounds of the policy ratio. A number alone is the lower, and the upper too.", sub: []field{
			{name: "low", flag: "eps_clip", doc: "Lower bound."},
			{name: "high", flag: "eps_clip_high", doc: "Upper bound."},
			{name: "dual", flag: "eps_clip_c", doc: "Bound of dual-clip PPO."},
		}},
		{name: "entropy", flag: "entropy_coef", doc: "Weight of the entropy bonus."},
		{name: "gamma", flag: "gamma", doc: "Discount."},
		{name: "lambda", flag: "lambd", doc: "Lambda of GAE."},
		{name: "normalize_advantages", flag: "normalize_advantages", doc: "Whiten the advantages of a batch."},
		{name: "std_normalization", flag: "disable_grpo_std_normalization", conv: inverse, doc: "Whether GRPO divides by the group's standard deviation; false is Dr. GRPO."},
		{name: "per_token_loss", flag: "calculate_per_token_loss", doc: "Average the loss over tokens, not over samples."},
		{name: "loss", flag: "custom_loss_function_path", conv: ownLoss, doc: "Python function of a loss of one's own (loss_type custom_loss)."},
		{name: "advantages", flag: "custom_advantage_function_path", doc: "Python function in place of the advantages."},
		{name: "reducer", flag: "custom_pg_loss_reducer_function_path", doc: "Python function that reduces the policy-gradient loss."},
		{name: "reference_every", flag: "ref_update_interval", doc: "Renew the reference every N rollouts."},
		{name: "rollout_logprobs", flag: "use_rollout_logprobs", doc: "Take the engine's log-probabilities for the ratio."},
		{name: "mismatch_metrics", flag: "get_mismatch_metrics", doc: "Report how far training and engine log-probabilities are apart."},
		{name: "routing_replay", flag: "use_routing_replay", conv: replay, doc: "Route to the experts of the old policy's pass; rollout: to those that the engine recorded."},
		{name: "tis", flag: "use_tis", conv: section, doc: "Truncated importance sampling: true, or its bounds.", sub: []field{
			{name: "high", flag: "tis_clip", doc: "Upper bound of a weight."},
			{name: "low", flag: "tis_clip_low", doc: "Lower bound of a weight."},
			{name: "function", flag: "custom_tis_function_path", doc: "Python function of the weights."},
		}},
		{name: "opsm", flag: "use_opsm", conv: section, doc: "Mask sequences that are far off the policy: true, or a mapping.", sub: []field{
			{name: "delta", flag: "opsm_delta", doc: "How far is too far."},
		}},
		{name: "critic", conv: section, doc: "The critic of PPO.", sub: []field{
			{name: "warmup", flag: "num_critic_only_steps", doc: "Steps in which only the critic is trained."},
			{name: "config", flag: "megatron_config_path", doc: "YAML file of Megatron's flags by role."},
			{name: "clip", flag: "value_clip", doc: "Clip range of the value loss."},
		}},
		{name: "distillation", flag: "use_opd", conv: section, doc: "On-policy distillation.", sub: []field{
			{name: "from", flag: "opd_type", doc: "Where the teacher's log-probabilities come from."},
			{name: "coef", flag: "opd_kl_coef", doc: "Weight of the distance from the teacher."},
			{name: "teacher", flag: "opd_teacher_load", doc: "Megatron checkpoint of the teacher (from: megatron)."},
			{name: "teacher_step", flag: "opd_teacher_ckpt_step", doc: "Step of the teacher's checkpoint."},
		}},
	}},
	{name: "rollout", conv: section, doc: "How samples are made.", sub: []field{
		{name: "count", flag: "num_rollout", doc: "Rollouts in all. It wins over epochs."},
		{name: "epochs", flag: "num_epoch", doc: "Passes over the prompts."},
		{name: "prompts", flag: "rollout_batch_size", doc: "Prompts a rollout."},
		{name: "samples_per_prompt", flag: "n_samples_per_prompt", doc: "Responses a prompt."},
		{name: "max_response", flag: "rollout_max_response_len", doc: "Most new tokens of a response."},
		{name: "max_context", flag: "rollout_max_context_len", doc: "Most tokens of prompt and response together."},
		{name: "temperature", flag: "rollout_temperature", doc: "Sampling temperature."},
		{name: "top_p", flag: "rollout_top_p", doc: "Nucleus sampling."},
		{name: "top_k", flag: "rollout_top_k", doc: "Top-k sampling; -1 is off."},
		{name: "stop", flag: "rollout_stop", doc: "Texts that end a response."},
		{name: "stop_token_ids", flag: "rollout_stop_token_ids", doc: "Tokens that end a response."},
		{name: "skip_special_tokens", flag: "rollout_skip_special_tokens", doc: "Leave special tokens out of the text."},
		{name: "over_sample", flag: "over_sampling_batch_size", doc: "Prompts sampled at a time, at least as many as prompts."},
		{name: "filter", flag: "dynamic_sampling_filter_path", conv: filter, doc: "Which groups are kept: a Python function, or reward_nonzero_std for groups whose rewards differ (DAPO)."},
		{name: "sample_filter", flag: "rollout_sample_filter_path", doc: "Python function that takes samples out of the loss."},
		{name: "buffer_filter", flag: "buffer_filter_path", doc: "Python function that chooses from the buffer."},
		{name: "all_samples", flag: "rollout_all_samples_process_path", doc: "Python function that sees all samples, filtered ones too."},
		{name: "hooks", flag: "rollout_sample_hook_path", doc: "Python functions that see each sample before its reward."},
		{name: "function", flag: "rollout_function_path", doc: "Python function that makes a whole rollout."},
		{name: "generate", flag: "custom_generate_function_path", doc: "Python function that makes one sample: several turns, tools."},
		{name: "convert", flag: "custom_convert_samples_to_train_data_path", doc: "Python function that makes train batches of samples."},
		{name: "post_process", flag: "rollout_data_postprocess_path", doc: "Python function that runs when the log-probabilities are there."},
		{name: "partial", flag: "partial_rollout", conv: resumed, doc: "Keep unfinished samples for the next rollout; masked: and leave their earlier tokens out of the loss."},
		{name: "transport", flag: "rollout_data_transport", doc: "What carries samples to the trainer."},
		{name: "buffer_url", flag: "rollout_buffer_url", doc: "Address of a rollout buffer."},
		{name: "fault_tolerance", flag: "use_fault_tolerance", conv: section, doc: "Start failed engines again: true, or a mapping.", sub: []field{
			{name: "interval", flag: "rollout_health_check_interval", doc: "Seconds between probes."},
			{name: "timeout", flag: "rollout_health_check_timeout", doc: "Seconds until a probe has failed."},
			{name: "first_wait", flag: "rollout_health_check_first_wait", doc: "Seconds before the first probe."},
		}},
		{name: "engine", conv: section, doc: "The SGLang engines.", sub: []field{
			{name: "gpus", flag: "rollout_num_gpus_per_engine", doc: "GPUs an engine: its tensor-parallel size times its pipeline-parallel size."},
			{name: "memory", flag: "sglang_mem_fraction_static", doc: "Share of GPU memory for weights and cache."},
			{name: "data_parallel", flag: "sglang_data_parallel_size", conv: attentionDP, doc: "Data-parallel ranks; more than one turn dp_attention on."},
			{name: "dp_attention", flag: "sglang_enable_dp_attention", doc: "Data-parallel attention."},
			{name: "dp_lm_head", flag: "sglang_enable_dp_lm_head", doc: "Data-parallel output layer."},
			{name: "expert_parallel", flag: "sglang_expert_parallel_size", doc: "Expert-parallel size."},
			{name: "pipeline_parallel", flag: "sglang_pipeline_parallel_size", doc: "Pipeline-parallel size."},
			{name: "moe_dense_tensor_parallel", flag: "sglang_moe_dense_tp_size", doc: "Tensor-parallel size of the dense layers of a mixture of experts."},
			{name: "all_to_all", flag: "sglang_moe_a2a_backend", doc: "Exchange between experts."},
			{name: "deepep_mode", flag: "sglang_deepep_mode", doc: "Mode of DeepEP."},
			{name: "attention", flag: "sglang_attention_backend", doc: "Attention kernels."},
			{name: "max_requests", flag: "sglang_max_running_requests", doc: "Requests that run at once."},
			{name: "concurrency", flag: "sglang_server_concurrency", doc: "Requests that are sent to a server at once."},
			{name: "cuda_graph", flag: "sglang_cuda_graph_max_bs", conv: graphs, doc: "Largest batch that is captured, or the list of batches, or false for none."},
			{name: "page_size", flag: "sglang_page_size", doc: "Tokens a page of the cache."},
			{name: "prefill_chunk", flag: "sglang_chunked_prefill_size", doc: "Tokens a chunk of prefill."},
			{name: "context", flag: "sglang_context_length", doc: "Context length in tokens."},
			{name: "watchdog", flag: "sglang_watchdog_timeout", doc: "Seconds until a hanging engine is ended."},
			{name: "metrics", flag: "sglang_enable_metrics", doc: "Serve Prometheus metrics."},
			{name: "log_level", flag: "sglang_log_level", doc: "Log level."},
			{name: "config", flag: "sglang_config", doc: "YAML file of groups of servers."},
			{name: "prefill_servers", flag: "prefill_num_servers", doc: "Servers that only prefill."},
			{name: "addresses", flag: "rollout_external_engine_addrs", doc: "Addresses of engines that run already."},
			{name: "speculative", conv: section, doc: "Speculative decoding.", sub: []field{
				{name: "algorithm", flag: "sglang_speculative_algorithm", doc: "Algorithm."},
				{name: "steps", flag: "sglang_speculative_num_steps", doc: "Draft steps."},
				{name: "topk", flag: "sglang_speculative_eagle_topk", doc: "Branches a step."},
				{name: "draft_tokens", flag: "sglang_speculative_num_draft_tokens", doc: "Draft tokens that are verified at once."},
				{name: "draft_model", flag: "sglang_speculative_draft_model_path", doc: "Path of the draft model."},
			}},
			{name: "router", conv: section, doc: "The router before the engines.", sub: []field{
				{name: "ip", flag: "sglang_router_ip", doc: "Address of a router that runs already."},
				{name: "port", flag: "sglang_router_port", doc: "Its port."},
				{name: "timeout", flag: "sglang_router_request_timeout_secs", doc: "Seconds until a request has failed."},
				{name: "policy", flag: "router_policy", doc: "How requests are spread."},
			}},
		}},
		{name: "debug", conv: section, doc: "Rollouts by themselves.", sub: []field{
			{name: "only", flag: "debug_rollout_only", doc: "Make rollouts and do not train."},
			{name: "save", flag: "save_debug_rollout_data", doc: "Where to write rollouts; {rollout_id} is its number."},
			{name: "load", flag: "load_debug_rollout_data", doc: "Train from written rollouts, without engines."},
			{name: "subsample", flag: "load_debug_rollout_data_subsample", doc: "Share of the written rollouts to use."},
		}},
	}},
	{name: "training", conv: section, doc: "How the weights change. What all launches of slime pass has an initial value here; the word default in its place leaves it to the backend.", sub: []field{
		{name: "train_batch", flag: "global_batch_size", conv: batch, doc: "What an optimizer step sees: N samples; or N steps, how many make up a rollout."},
		{name: "tokens_per_gpu", flag: "max_tokens_per_gpu", conv: tokens, doc: "Token budget of a GPU; micro-batches are then made by it."},
		{name: "micro_batch", flag: "micro_batch_size", doc: "Samples a micro-batch, without a token budget."},
		{name: "logprob_tokens_per_gpu", flag: "log_probs_max_tokens_per_gpu", doc: "Token budget of the log-probability passes."},
		{name: "logprob_chunk", flag: "log_probs_chunk_size", doc: "Tokens a chunk of log-probabilities; -1 is all."},
		{name: "pad_multiple", flag: "data_pad_size_multiplier", doc: "Pad packed sequences to a multiple of this."},
		{name: "balance", flag: "balance_data", conv: balanced, doc: "Even out the work of the ranks; flops: and the micro-batches, by estimated FLOPs."},
		{name: "seed", flag: "seed", doc: "Random seed."},
		{name: "attention", flag: "attention_backend", initial: `"flash"`, doc: "Attention kernels."},
		{name: "dropout", conv: section, doc: "Dropout.", sub: []field{
			{name: "attention", flag: "attention_dropout", initial: "0.0", doc: "Of the attention."},
			{name: "hidden", flag: "hidden_dropout", initial: "0.0", doc: "Of the hidden layers."},
		}},
		{name: "fp32", conv: section, doc: "What is computed in full precision.", sub: []field{
			{name: "gradients", flag: "accumulate_allreduce_grads_in_fp32", initial: "true", doc: "Sums of gradients."},
			{name: "softmax", flag: "attention_softmax_in_fp32", initial: "true", doc: "The softmax of the attention."},
		}},
		{name: "precision", flag: "bf16", conv: precision, doc: "Of the weights: bf16, which slime assumes, or fp16."},
		{name: "fp8", conv: section, doc: "Training in 8 bits.", sub: []field{
			{name: "format", flag: "fp8_format", doc: "Number format."},
			{name: "recipe", flag: "fp8_recipe", doc: "How values are scaled."},
		}},
		{name: "transformer", flag: "transformer_impl", doc: "Implementation of the transformer layer."},
		{name: "optimizer", conv: section, doc: "The optimizer.", sub: []field{
			{name: "name", flag: "optimizer", initial: `"adam"`, doc: "Which."},
			{name: "lr", flag: "lr", doc: "Learning rate."},
			{name: "schedule", flag: "lr_decay_style", initial: `"constant"`, doc: "How the learning rate decays."},
			{name: "min_lr", flag: "min_lr", doc: "Where the decay ends."},
			{name: "warmup", flag: "lr_warmup_fraction", conv: warm, doc: "A fraction of all steps, or N steps."},
			{name: "weight_decay", flag: "weight_decay", initial: "0.1", doc: "Weight decay."},
			{name: "betas", flag: "adam_beta1", conv: betas, initial: "[0.9,0.98]", doc: "Adam's two betas."},
			{name: "eps", flag: "adam_eps", doc: "Adam's epsilon."},
			{name: "clip_grad", flag: "clip_grad", doc: "Largest norm of a gradient."},
			{name: "offload", conv: allOf, doc: "Keep the optimizer's state on the CPU: true for all that stands below, or a mapping.", sub: []field{
				{name: "cpu", flag: "optimizer_cpu_offload", doc: "The state is on the CPU."},
				{name: "overlap", flag: "overlap_cpu_optimizer_d2h_h2d", doc: "Copies overlap with the step."},
				{name: "precision_aware", flag: "use_precision_aware_optimizer", doc: "The precision-aware optimizer, which it needs."},
			}},
			{name: "reset", flag: "reset_optimizer_states", doc: "Forget the moments after each rollout."},
			{name: "stateless", flag: "use_stateless_adam", doc: "Adam without kept moments."},
		}},
		{name: "parallel", conv: section, doc: "How the model is spread.", sub: []field{
			{name: "tensor", flag: "tensor_model_parallel_size", initial: "1", doc: "Tensor-parallel size."},
			{name: "pipeline", flag: "pipeline_model_parallel_size", initial: "1", doc: "Pipeline-parallel size."},
			{name: "context", flag: "context_parallel_size", initial: "1", doc: "Context-parallel size."},
			{name: "expert", flag: "expert_model_parallel_size", initial: "1", doc: "Expert-parallel size."},
			{name: "expert_tensor", flag: "expert_tensor_parallel_size", initial: "1", doc: "Tensor-parallel size of the experts."},
			{name: "sequence", flag: "sequence_parallel", initial: "true", doc: "Sequence parallelism; Megatron drops it when tensor is 1."},
			{name: "first_stage_layers", flag: "decoder_first_pipeline_num_layers", doc: "Layers of the first pipeline stage."},
			{name: "last_stage_layers", flag: "decoder_last_pipeline_num_layers", doc: "Layers of the last pipeline stage."},
			{name: "timeout", flag: "distributed_timeout_minutes", doc: "Minutes until a collective has failed."},
		}},
		{name: "recompute", conv: section, short: "granularity", doc: "Compute activations again instead of keeping them. The word full alone is {granularity: full, method: uniform, layers: 1}.", sub: []field{
			{name: "granularity", flag: "recompute_granularity", doc: "What is computed again."},
			{name: "method", flag: "recompute_method", doc: "In which pieces."},
			{name: "layers", flag: "recompute_num_layers", doc: "Layers a piece."},
			{name: "modules", flag: "recompute_modules", doc: "Modules, for selective."},
			{name: "loss", flag: "recompute_loss_function", doc: "The loss too."},
		}},
		{name: "moe", conv: section, doc: "Mixture of experts.", sub: []field{
			{name: "dispatcher", flag: "moe_token_dispatcher_type", doc: "How tokens reach the experts."},
			{name: "deepep", flag: "moe_enable_deepep", doc: "Through DeepEP."},
			{name: "permute_fusion", flag: "moe_permute_fusion", doc: "Fused permutation."},
			{name: "aux_loss", flag: "moe_aux_loss_coeff", doc: "Weights of the auxiliary losses."},
		}},
		{name: "mtp", conv: section, doc: "Multi-token prediction.", sub: []field{
			{name: "layers", flag: "mtp_num_layers", doc: "Layers."},
			{name: "train", flag: "enable_mtp_training", doc: "Train them."},
			{name: "scale", flag: "mtp_loss_scaling_factor", doc: "Weight of their loss."},
		}},
		{name: "only", flag: "only_train_params_name_list", doc: "Patterns of the parameters to train; all others stay."},
		{name: "freeze", flag: "freeze_params_name_list", doc: "Patterns of the parameters that stay."},
		{name: "check_nan", flag: "no_check_for_nan_in_loss_and_grad", conv: inverse, doc: "Whether loss and gradients are looked at for NaN."},
		{name: "fuse_gradients", flag: "no_gradient_accumulation_fusion", conv: inverse, doc: "Whether the accumulation of gradients is fused."},
		{name: "env", flag: "train_env_vars", doc: "Environment variables of the trainer; no credentials."},
		{name: "hooks", conv: section, doc: "Python functions of one's own.", sub: []field{
			{name: "init", flag: "custom_megatron_init_path", doc: "After Megatron has started."},
			{name: "before_logprobs", flag: "custom_megatron_before_log_prob_hook_path", doc: "Before a log-probability pass."},
			{name: "before_step", flag: "custom_megatron_before_train_step_hook_path", doc: "Before a step."},
		}},
		{name: "debug", conv: section, doc: "Training by itself.", sub: []field{
			{name: "only", flag: "debug_train_only", doc: "Train without engines."},
			{name: "save", flag: "save_debug_train_data", doc: "Where to write train batches."},
		}},
	}},
	{name: "resources", conv: section, doc: "What it runs on.", sub: []field{
		{name: "nodes", flag: "actor_num_nodes", doc: "Nodes of the trainer."},
		{name: "gpus_per_node", flag: "actor_num_gpus_per_node", doc: "GPUs of the trainer on each node."},
		{name: "mode", flag: "colocate", conv: placement, doc: "colocated: trainer and engines share GPUs; separate: they do not; async: nor do they wait for each other (train_async.py)."},
		{name: "rollout_gpus", flag: "rollout_num_gpus", doc: "GPUs of all engines; colocated, those of the trainer."},
		{name: "physical_gpus_per_node", flag: "num_gpus_per_node", doc: "GPUs that a node has."},
		{name: "offload", flag: "offload", conv: offloaded, doc: "Give the GPUs up while the other side works: true, false, or each side.", sub: []field{
			{name: "training", flag: "offload_train", doc: "The trainer."},
			{name: "rollout", flag: "offload_rollout", doc: "The engines."},
		}},
		{name: "release", flag: "release_train", doc: "End the trainer while rollouts are made, and start it again."},
	}},
	{name: "eval", conv: section, doc: "Evaluation.", sub: []field{
		{name: "every", flag: "eval_interval", doc: "Evaluate every N rollouts."},
		{name: "data", flag: "eval_prompt_data", conv: dataSets, doc: "From the name of a set to its file."},
		{name: "config", flag: "eval_config", doc: "YAML file of sets, in place of data."},
		{name: "samples", flag: "n_samples_per_eval_prompt", doc: "Responses a prompt."},
		{name: "max_response", flag: "eval_max_response_len", doc: "Most new tokens of a response."},
		{name: "max_prompt", flag: "eval_max_prompt_len", doc: "Longest prompt."},
		{name: "max_context", flag: "eval_max_context_len", doc: "Most tokens of both."},
		{name: "min_response", flag: "eval_min_new_tokens", doc: "Fewest new tokens."},
		{name: "temperature", flag: "eval_temperature", doc: "Sampling temperature."},
		{name: "top_p", flag: "eval_top_p", doc: "Nucleus sampling."},
		{name: "top_k", flag: "eval_top_k", doc: "Top-k sampling."},
		{name: "input", flag: "eval_input_key", doc: "Member that holds the prompt."},
		{name: "label", flag: "eval_label_key", doc: "Member that holds the answer."},
		{name: "tools", flag: "eval_tool_key", doc: "Member that holds the tools."},
		{name: "skip_first", flag: "skip_eval_before_train", doc: "Do not evaluate before the first step."},
		{name: "function", flag: "eval_function_path", doc: "Python function that evaluates."},
	}},
	{name: "checkpoint", conv: section, doc: "What is kept.", sub: []field{
		{name: "save", flag: "save", doc: "Folder of the checkpoints."},
		{name: "every", flag: "save_interval", doc: "Save every N rollouts."},
		{name: "hf", flag: "save_hf", doc: "Where to write Hugging Face weights; {rollout_id} is the number."},
		{name: "async", flag: "async_save", doc: "Write while training goes on."},
		{name: "optimizer", flag: "no_save_optim", conv: inverse, doc: "Whether the optimizer's state is kept."},
	}},
	{name: "logging", conv: section, doc: "Where figures go.", sub: []field{
		{name: "wandb", flag: "use_wandb", conv: section, doc: "Weights & Biases: true, or a mapping. The key is read from WANDB_API_KEY.", sub: []field{
			{name: "project", flag: "wandb_project", doc: "Project."},
			{name: "group", flag: "wandb_group", doc: "Group, and the stem of the run's name."},
			{name: "team", flag: "wandb_team", doc: "Entity."},
			{name: "mode", flag: "wandb_mode", doc: "Online or not."},
			{name: "dir", flag: "wandb_dir", doc: "Folder of its files."},
			{name: "host", flag: "wandb_host", doc: "Address of the server."},
			{name: "run", flag: "wandb_run_id", doc: "Run to go on with."},
			{name: "random_suffix", flag: "disable_wandb_random_suffix", conv: inverse, doc: "Whether the run's name ends at random."},
			{name: "train_step_axis", flag: "wandb_always_use_train_step", doc: "Count everything by train steps."},
		}},
		{name: "tensorboard", flag: "use_tensorboard", conv: section, doc: "TensorBoard: true, or a mapping.", sub: []field{
			{name: "project", flag: "tb_project_name", doc: "Project folder."},
			{name: "experiment", flag: "tb_experiment_name", doc: "Run name."},
		}},
		{name: "multi_turn", flag: "log_multi_turn", doc: "Figures of several turns."},
		{name: "pass_rate", flag: "log_passrate", doc: "Pass@n."},
		{name: "correct_samples", flag: "log_correct_samples", doc: "Figures of the correct samples."},
		{name: "reward_category", flag: "log_reward_category", doc: "Member of a reward whose categories are counted."},
		{name: "rollout", flag: "custom_rollout_log_function_path", doc: "Python function that logs rollouts."},
		{name: "eval", flag: "custom_eval_rollout_log_function_path", doc: "Python function that logs evaluations."},
		{name: "details", flag: "dump_details", doc: "Folder for everything that passes."},
	}},
	{name: "weights", conv: section, doc: "How weights reach the engines.", sub: []field{
		{name: "mode", flag: "update_weight_mode", doc: "All of them, or what changed."},
		{name: "transport", flag: "update_weight_transport", doc: "By NCCL, or over a shared disk."},
		{name: "dir", flag: "update_weight_disk_dir", doc: "Shared folder of the disk transport."},
		{name: "local_dir", flag: "update_weight_local_checkpoint_dir", doc: "Folder of a host where its engines keep a checkpoint."},
		{name: "keep_files", flag: "update_weight_disk_keep_files", doc: "Keep what was written for earlier rollouts."},
		{name: "buffer", flag: "update_weight_buffer_size", doc: "Bytes a chunk."},
		{name: "every", flag: "update_weights_interval", doc: "Every N rollouts (async)."},
		{name: "encoding", flag: "update_weight_delta_encoding", doc: "Of what changed."},
		{name: "checksum", flag: "update_weight_delta_checksum", doc: "Of each tensor of what changed."},
		{name: "post_write", flag: "custom_update_weight_post_write_path", doc: "Python function between writing and reading."},
		{name: "keep_old_actor", flag: "keep_old_actor", doc: "Keep the policy of the rollout in the trainer."},
	}},
	{name: "extra", conv: section, doc: "Any flag by its name, typed, for what the sections do not say.", sub: []field{
		{name: "slime", conv: typed, doc: "slime's flags, and Megatron's whose default slime sets."},
		{name: "megatron", conv: typed, doc: "Megatron's flags."},
		{name: "sglang", conv: typed, doc: "SGLang's flags, with their prefix sglang_."},
		{name: "router", conv: typed, doc: "The router's flags, with their prefix router_."},
	}},
}}

// sftFlags is what the name sft stands for.
var sftFlags = []struct{ flag, value string }{
	{"rollout_function_path", `"slime.rollout.sft_rollout.generate_rollout"`},
	{"loss_type", `"sft_loss"`},
	{"calculate_per_token_loss", "true"},
	{"disable_compute_advantages_and_returns", "true"},
	{"debug_train_only", "true"},
}

// filters are the short names of rollout.filter.
var filters = []struct{ name, path string }{
	{"reward_nonzero_std", "slime.rollout.filter_hub.dynamic_sampling_filters.check_reward_nonzero_std"},
}

// rewards are the rewards that slime brings along. All but the first can be
// preceded by boxed_.
var rewards = []string{"remote_rm", "deepscaler", "dapo", "math", "f1", "gpqa", "ifbench", "random"}

// perSample in place of a reward says that the samples name theirs.
const perSample = "per_sample"

// elsewhereNamed is what other frameworks call a member of this language.
var elsewhereNamed = []struct{ name, member string }{
	{"async", "resources.mode: async"},
	{"colocate", "resources.mode: colocated"},
	{"learning_rate", "training.optimizer.lr"},
	{"warmup_ratio", "training.optimizer.warmup"},
	{"lr_scheduler_type", "training.optimizer.schedule"},
	{"max_grad_norm", "training.optimizer.clip_grad"},
	{"batch_size", "rollout.prompts, or training.train_batch"},
	{"train_batch_size", "training.train_batch"},
	{"num_generations", "rollout.samples_per_prompt"},
	{"max_new_tokens", "rollout.max_response"},
	{"max_completion_length", "rollout.max_response"},
	{"beta", "algorithm.kl.coef"},
	{"steps", "rollout.count"},
	{"seed", "training.seed, or data.seed"},
	{"api_key", "an environment variable of the run"},
	{"token", "an environment variable of the run"},
}
