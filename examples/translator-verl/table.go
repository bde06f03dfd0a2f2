package main

// The parts of verl's config that most keys stand in.
const (
	actor   = "actor_rollout_ref.actor."
	model   = "actor_rollout_ref.model."
	ref     = "actor_rollout_ref.ref."
	rollout = "actor_rollout_ref.rollout."
)

// A row says that a member of the config sets a key of verl.
type row struct {
	from string
	// to is the key. With ++ it is set whether verl's own config has it or not.
	to string
	as conv
	// unset is what counts where the member is not there: JSON, [needed], or @
	// and another member, and what counts where that is not there either. It stands where verl's default trains differently
	// from what the config means, or does not train at all.
	unset string
	// when, if it is there, says whether the row counts.
	when func(*translation) bool
}

const needed = "!"

var table = []row{
	// verl reads the architecture from the model itself.
	{from: "model.hf", to: model + "path", as: text, unset: needed},
	{from: "model.hf", to: "critic.model.path", as: text, when: isPPO},
	{from: "model.load", to: "trainer.resume_mode", as: resume},

	{from: "data.prompts", to: "data.train_files", as: file, unset: needed},
	{from: "eval.data", to: "data.val_files", as: files},
	{to: "data.val_files", as: text, unset: "@data.prompts", when: noEval}, // verl opens some in any case
	{from: "data.input", to: "data.prompt_key", as: text, unset: `"input"`},
	{from: "data.chat_template", to: "++data.apply_chat_template_kwargs", as: template},
	{from: "data.shuffle", to: "data.shuffle", as: truth, unset: "false"},
	{from: "data.seed", to: "data.seed", as: whole},
	{from: "data.max_prompt", to: "data.max_prompt_length", as: positive},
	{from: "data.max_prompt", to: "data.filter_overlong_prompts", as: always("true")},

	{from: "reward.builtin", to: "reward_manager.name", as: managers},
	{from: "reward.python", to: "custom_reward_function.path", as: module},
	{from: "reward.python", to: "custom_reward_function.name", as: function},

	{from: "algorithm.name", to: "algorithm.adv_estimator", as: estimators, unset: `"grpo"`},
	{from: "algorithm.name", to: actor + "policy_loss.loss_mode", as: losses},
	{from: "algorithm.kl.where", to: actor + "use_kl_loss", as: inLoss, unset: needed, when: hasKL},
	{from: "algorithm.kl.where", to: "algorithm.use_kl_in_reward", as: inReward, when: hasKL},
	{from: "algorithm.kl.coef", to: actor + "kl_loss_coef", as: atLeast0, unset: "0.0", when: klInLoss},
	{from: "algorithm.kl.coef", to: "algorithm.kl_ctrl.kl_coef", as: atLeast0, unset: "0.0", when: klInReward},
	{from: "algorithm.kl.type", to: actor + "kl_loss_type", as: klType, unset: `"k1"`, when: klInLoss},
	{from: "algorithm.kl.type", to: "algorithm.kl_penalty", as: klType, unset: `"k1"`, when: klInReward},
	{from: "algorithm.clip.low", to: actor + "clip_ratio_low", as: atLeast0},
	{from: "algorithm.clip.high", to: actor + "clip_ratio_high", as: atLeast0, unset: "@algorithm.clip.low"},
	{from: "algorithm.clip.dual", to: actor + "clip_ratio_c", as: above1, unset: "1e9"}, // verl's own is 3: on
	{from: "algorithm.entropy", to: actor + "entropy_coeff", as: number},
	{from: "algorithm.gamma", to: "algorithm.gamma", as: share},
	{from: "algorithm.lambda", to: "algorithm.lam", as: share},
	{from: "algorithm.std_normalization", to: "algorithm.norm_adv_by_std_in_grpo", as: truth},
	{from: "algorithm.per_token_loss", to: actor + "loss_agg_mode", as: average, unset: "false"}, // verl's own is by token
	{from: "algorithm.rollout_logprobs", to: "algorithm.rollout_correction.bypass_mode", as: truth},
	{from: "algorithm.rollout_logprobs", to: rollout + "calculate_log_probs", as: truth},
	{from: "algorithm.mismatch_metrics", to: rollout + "calculate_log_probs", as: truth},
	{from: "algorithm.critic.warmup", to: "trainer.critic_warmup", as: whole, when: isPPO},
	{from: "algorithm.critic.clip", to: "critic.cliprange_value", as: atLeast0, unset: "0.2", when: isPPO},

	{from: "rollout.count", to: "trainer.total_training_steps", as: positive},
	{from: "rollout.count", to: "trainer.total_epochs", as: positive}, // or the epochs, 30, would end it first
	{from: "rollout.epochs", to: "trainer.total_epochs", as: positive, when: noCount},
	{from: "rollout.prompts", to: "data.train_batch_size", as: positive, unset: needed},
	{from: "rollout.samples_per_prompt", to: rollout + "n", as: positive},
	{from: "rollout.max_response", to: "data.max_response_length", as: positive, unset: needed},
	{from: "rollout.max_context", to: rollout + "max_model_len", as: positive},
	{from: "rollout.temperature", to: rollout + "temperature", as: above0},
	{from: "rollout.top_p", to: rollout + "top_p", as: share},
	{from: "rollout.top_k", to: rollout + "top_k", as: topK},
	{to: rollout + "name", as: text, unset: `"sglang"`}, // verl has no default
	{from: "rollout.engine.gpus", to: rollout + "tensor_model_parallel_size", as: positive, unset: "1"},
	{from: "rollout.engine.memory", to: rollout + "gpu_memory_utilization", as: share},
	{from: "rollout.engine.max_requests", to: rollout + "max_num_seqs", as: positive},

	{from: "training.train_batch", to: actor + "ppo_mini_batch_size", as: miniBatch, unset: needed},
	{from: "training.tokens_per_gpu", to: actor + "use_dynamic_bsz", as: always("true")},
	{from: "training.tokens_per_gpu", to: actor + "ppo_max_token_len_per_gpu", as: positive},
	{from: "training.tokens_per_gpu", to: "critic.ppo_max_token_len_per_gpu", as: positive, when: isPPO},
	{from: "training.logprob_tokens_per_gpu", to: ref + "log_prob_max_token_len_per_gpu", as: positive},
	{from: "training.logprob_tokens_per_gpu", to: rollout + "log_prob_max_token_len_per_gpu", as: positive},
	{from: "training.micro_batch", to: actor + "ppo_micro_batch_size_per_gpu", as: positive, unset: "1", when: isStatic},
	{from: "training.micro_batch", to: ref + "log_prob_micro_batch_size_per_gpu", as: positive, unset: "1", when: isStatic},
	{from: "training.micro_batch", to: rollout + "log_prob_micro_batch_size_per_gpu", as: positive, unset: "1", when: isStatic},
	{from: "training.micro_batch", to: "critic.ppo_micro_batch_size_per_gpu", as: positive, unset: "1", when: isStaticPPO},
	{from: "training.balance", to: "trainer.balance_batch", as: balance},
	{from: "training.seed", to: actor + "data_loader_seed", as: whole},
	{from: "training.seed", to: actor + "fsdp_config.seed", as: whole},
	{from: "training.precision", to: actor + "fsdp_config.dtype", as: precisions},
	{from: "training.precision", to: ref + "fsdp_config.dtype", as: precisions},
	{from: "training.precision", to: rollout + "dtype", as: precisions},
	{from: "training.optimizer.name", to: actor + "optim.optimizer", as: optimizers},
	{from: "training.optimizer.lr", to: actor + "optim.lr", as: above0},
	{from: "training.optimizer.lr", to: "critic.optim.lr", as: above0, unset: "1e-6", when: isPPO},
	{from: "training.optimizer.schedule", to: actor + "optim.lr_scheduler_type", as: schedules},
	{from: "training.optimizer.warmup", to: actor + "optim.lr_warmup_steps_ratio", as: share},
	{from: "training.optimizer.weight_decay", to: actor + "optim.weight_decay", as: atLeast0, unset: "0.1"},
	{from: "training.optimizer.betas", to: actor + "optim.betas", as: betas, unset: "[0.9,0.98]"},
	{from: "training.optimizer.eps", to: "++" + actor + "optim.override_optimizer_config.eps", as: above0},
	{from: "training.optimizer.clip_grad", to: actor + "grad_clip", as: above0},
	{from: "training.optimizer.clip_grad", to: actor + "optim.clip_grad", as: above0},
	{from: "training.optimizer.offload.cpu", to: actor + "fsdp_config.optimizer_offload", as: truth},
	{from: "training.parallel.context", to: actor + "ulysses_sequence_parallel_size", as: positive},
	{from: "training.parallel.context", to: "critic.ulysses_sequence_parallel_size", as: positive, when: isPPO},
	{from: "training.recompute.granularity", to: model + "enable_gradient_checkpointing", as: always("true")},

	// Trainer and engines share the GPUs: verl's default, and main_ppo's only way.
	{from: "resources.nodes", to: "trainer.nnodes", as: positive},
	{from: "resources.gpus_per_node", to: "trainer.n_gpus_per_node", as: positive},
	{from: "resources.offload.training", to: actor + "fsdp_config.param_offload", as: truth},
	{from: "resources.offload.training", to: actor + "fsdp_config.optimizer_offload", as: truth},
	{from: "resources.offload.training", to: ref + "fsdp_config.param_offload", as: truth},
	{from: "resources.offload.rollout", to: rollout + "free_cache_engine", as: truth},

	{from: "eval.every", to: "trainer.test_freq", as: positive},
	{from: "eval.skip_first", to: "trainer.val_before_train", as: opposite},
	{to: "trainer.val_before_train", as: truth, unset: "false", when: noEval},
	{from: "eval.samples", to: rollout + "val_kwargs.n", as: positive},
	{from: "eval.temperature", to: rollout + "val_kwargs.do_sample", as: isPositive, unset: "@rollout.temperature 1.0", when: hasEval},
	{from: "eval.temperature", to: rollout + "val_kwargs.temperature", as: atLeast0, unset: "@rollout.temperature 1.0", when: hasEval},
	{from: "eval.top_p", to: rollout + "val_kwargs.top_p", as: share, unset: "@rollout.top_p", when: hasEval},
	{from: "eval.top_k", to: rollout + "val_kwargs.top_k", as: topK, unset: "@rollout.top_k", when: hasEval},

	{from: "checkpoint.save", to: "trainer.default_local_dir", as: text},
	{from: "checkpoint.every", to: "trainer.save_freq", as: positive},

	{from: "logging", to: "trainer.logger", as: loggers, unset: "{}"}, // verl's own needs an account
	{from: "logging.wandb.project", to: "trainer.project_name", as: text},
	{from: "logging.wandb.group", to: "trainer.experiment_name", as: text},
	{from: "logging.tensorboard.project", to: "trainer.project_name", as: text},
	{from: "logging.tensorboard.experiment", to: "trainer.experiment_name", as: text},
	{from: "logging.details", to: "trainer.rollout_data_dir", as: text},
}

// The members that verl's main_ppo has no word for, and what is said of each
// that asks for something: none does that is false or 0.
type silence struct {
	lost    loss
	section string
	members string // apart by spaces
	why     string
	but     string // a value that asks for nothing either, JSON
}

// A loss is what is lost where a member is left out.
type loss uint8

const (
	nothing  loss = iota // verl does it by itself
	harmless             // not the training, so a warning
	training             // another training, so it is refused
)

var silent = []silence{
	{nothing, "model", "architecture name", "", ""},
	{harmless, "model", "reference", "verl's reference is model.hf: the same where the checkpoint was made of it", ""},
	{training, "model", "reference_step provider", "verl trains the model of model.hf as it is there", ""},
	{harmless, "data", "label", "verl reads the answer from reward_model.ground_truth of a record", ""},
	{harmless, "data", "metadata", "verl hands extra_info of a record to the reward", ""},
	{training, "data", "tools multimodal loss_mask source start", "verl takes them from records and files of its own form", ""},
	{training, "data", "shared", "verl builds the prompt set itself", "true"},
	{training, "reward", "url post_process key eval_key group", "verl scores by reward.python, or by the data_source of a record", ""},
	{nothing, "reward", "boxed", "", ""}, // see fit
	{training, "reward", "normalize", "verl's estimators normalize rewards in any case", "true"},
	{nothing, "algorithm", "normalize_advantages", "", ""}, // see fit
	{training, "algorithm", "loss advantages reducer reference_every routing_replay tis opsm distillation", "main_ppo does it otherwise or not at all", ""},
	{training, "algorithm.kl", "unbiased", "verl has other estimators for that", ""},
	{training, "algorithm.critic", "config", "verl reads no file of Megatron's flags", ""},
	{training, "rollout", "stop stop_token_ids over_sample filter sample_filter buffer_filter all_samples hooks function generate convert post_process partial buffer_url debug",
		"main_ppo does it otherwise or not at all", ""},
	{training, "rollout", "skip_special_tokens", "verl leaves them out before it scores", "true"},
	{harmless, "rollout", "transport fault_tolerance", "Ray does that in verl", ""},
	{harmless, "rollout.fault_tolerance", "interval timeout first_wait", "Ray does that in verl", ""},
	{harmless, "rollout.engine", "data_parallel dp_attention dp_lm_head expert_parallel moe_dense_tensor_parallel all_to_all deepep_mode attention concurrency " +
		"cuda_graph page_size prefill_chunk context watchdog metrics log_level config prefill_servers addresses", engineWord, ""},
	{harmless, "rollout.engine.speculative", "algorithm steps topk draft_tokens draft_model", engineWord, ""},
	{harmless, "rollout.engine.router", "ip port timeout policy", engineWord, ""},
	{training, "rollout.engine", "pipeline_parallel", "gpus is then no tensor-parallel size", "1"},
	{harmless, "training", "logprob_chunk pad_multiple transformer check_nan fuse_gradients", fsdpWord, ""},
	{harmless, "training.moe", "dispatcher deepep permute_fusion", fsdpWord, ""},
	{training, "training.moe", "aux_loss", "verl has no auxiliary loss", ""},
	{training, "training", "env", "main_ppo takes +ray_kwargs.ray_init.runtime_env.env_vars.NAME", ""},
	{harmless, "training", "attention", fsdpWord, `"flash"`},
	{training, "training.dropout", "attention hidden", "verl trains without dropout", ""},
	{harmless, "training.fp32", "gradients softmax", fsdpWord, "true"},
	{training, "training", "fp8 mtp only freeze hooks debug", "main_ppo does it otherwise or not at all", ""},
	{training, "training.optimizer", "min_lr reset stateless", "verl's optimizer has no such thing", ""},
	{nothing, "training.optimizer.offload", "overlap precision_aware", "", ""},
	{harmless, "training.parallel", "tensor pipeline expert expert_tensor", fsdpWord, "1"},
	{harmless, "training.parallel", "first_stage_layers last_stage_layers timeout", fsdpWord, ""},
	{nothing, "training.parallel", "sequence", "", ""},
	{nothing, "training.recompute", "method layers modules loss", "", ""},
	{training, "resources", "mode", "main_ppo shares the GPUs; verl's other ways are programs of their own", `"colocated"`},
	{nothing, "resources", "rollout_gpus physical_gpus_per_node", "", ""}, // see fit
	{harmless, "resources", "release", "verl keeps its trainer", ""},
	{harmless, "eval", "max_response", "verl evaluates with rollout.max_response", "@rollout.max_response"},
	{harmless, "eval", "max_prompt", "verl evaluates with data.max_prompt", "@data.max_prompt"},
	{harmless, "eval", "max_context min_response tools", "verl evaluates as it trains", ""},
	{harmless, "eval", "label", "verl reads the answer from reward_model.ground_truth of a record", ""},
	{training, "eval", "input", "verl reads the prompts of all files by data.input", "@data.input"},
	{training, "eval", "config function", "verl evaluates the files of eval.data alone", ""},
	{harmless, "checkpoint", "hf", "set actor_rollout_ref.actor.checkpoint.save_contents under extra.verl", ""},
	{harmless, "checkpoint", "async", "verl does that with Megatron alone", ""},
	{harmless, "checkpoint", "optimizer", "set actor_rollout_ref.actor.checkpoint.save_contents under extra.verl", "true"},
	{nothing, "logging", "wandb tensorboard", "", ""}, // see loggers
	{harmless, "logging", "multi_turn pass_rate correct_samples reward_category rollout eval", "verl has figures of its own", ""},
	{harmless, "logging.wandb", "team mode dir host run random_suffix train_step_axis", "verl leaves it to the environment, as WANDB_ENTITY and the like", ""},
	{harmless, "weights", "mode transport dir local_dir keep_files buffer encoding checksum", "trainer and engines share the GPUs in main_ppo", ""},
	{training, "weights", "every", "main_ppo renews the engines after each rollout", "1"},
	{training, "weights", "post_write keep_old_actor", "main_ppo does it otherwise or not at all", ""},
}

const (
	engineWord = "verl starts its engines its own way; it takes an option of theirs as +actor_rollout_ref.rollout.engine_kwargs.sglang.NAME under extra.verl"
	fsdpWord   = "verl's trainer is FSDP, which does this its own way, with the same result"
)
