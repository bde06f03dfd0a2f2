package main

// flagTable is every name that slime's parsers know at the commit this plugin
// is for, sorted by its bytes, a line each, its columns parted by tabs:
//
//	NAME GROUP TYPE [default=D] [in=CHOICE,…] [min=N] [above=N] [max=N] [neg=NAME] [secret] [url]
//	NAME @ NAME    another spelling of a flag
//	NAME ~ NAME    the spelling that turns a flag to the contrary
//	NAME . NAME    what the flag is called inside Python, for a hint
//	NAME !         an SGLang flag that slime sets itself and does not expose
//
// Groups: s slime (with the Megatron flags whose default slime sets), m
// Megatron, g SGLang, r the router. The types are those of [flag.kind].
const flagTable = `
account_for_embedding_in_pipeline_split	m	flag
account_for_loss_in_pipeline_split	m	flag
accumulate_allreduce_grads_in_fp32	m	flag
activation_func_clamp_value	m	float
actor_num_gpus_per_node	s	int	default=8	min=0
actor_num_nodes	s	int	default=1	min=0
adam_beta1	m	float	default=0.9
adam_beta2	m	float	default=0.999
adam_eps	m	float	default=1e-08
add_bias_linear	.	disable_bias_linear
add_position_embedding	.	no_position_embedding
add_qkv_bias	m	flag
adlr_autoresume	m	flag
adlr_autoresume_interval	m	int	default=1000
advantage_estimator	s	text	default=grpo	in=grpo,gspo,cispo,reinforce_plus_plus,reinforce_plus_plus_baseline,ppo
align_grad_reduce	.	no_align_grad_reduce
align_param_gather	.	no_align_param_gather
allgather_cp	s	flag
allow_ambiguous_pad_tokens	m	flag
app_tag_run_name	m	text
app_tag_run_version	m	text	default=0.0.0
apply_chat_template	s	flag
apply_chat_template_kwargs	s	json
apply_layernorm_1p	m	flag
apply_query_key_layer_scaling	m	flag
apply_residual_connection_post_layernorm	m	flag
apply_rope_fusion	.	no_rope_fusion
apply_wd_to_qk_layernorm	m	flag
async_save	s	flag
async_tensor_model_parallel_allreduce	.	disable_async_tensor_model_parallel_allreduce
attention_backend	m	text	default=auto	in=flash,fused,unfused,local,auto
attention_dropout	m	float	default=0.1
attention_output_gate	m	flag
attention_softmax_in_fp32	m	flag
auto_detect_ckpt_format	m	flag
balance_by_flops	s	flag
balance_data	s	flag
barrier_with_L1_time	.	no_barrier_with_level_1_timing
batch_invariant_mode	m	flag
batch_size	m	int
bert_binary_head	.	bert_no_binary_head
bert_embedder_type	m	text	default=megatron	in=megatron,huggingface
bert_load	m	text
bert_no_binary_head	m	flag
bf16	m	flag
bias_dropout_fusion	.	no_bias_dropout_fusion
bias_gelu_fusion	.	no_bias_gelu_fusion
bias_swiglu_fusion	.	no_bias_swiglu_fusion
biencoder_projection_dim	m	int	default=0
biencoder_shared_query_context_model	m	flag
block_data_path	m	text
buffer_filter_path	s	python
cache_mla_latents	m	flag
calc_ft_timeouts	m	flag
calculate_per_token_loss	s	flag
check_for_large_grads	m	flag
check_for_nan_in_loss_and_grad	.	no_check_for_nan_in_loss_and_grad
check_for_spiky_loss	m	flag
check_weight_hash_across_dp_replicas_interval	m	int
check_weight_update_equal	s	flag
checkpoint_activations	m	flag
ci_disable_kl_checker	s	flag
ci_load_grad_norm	s	text
ci_save_grad_norm	s	text
ci_test	s	flag
ci_train_rollout_logprob_abs_diff_threshold	s	float	default=0.1
ckpt_assume_constant_structure	m	flag
ckpt_convert_format	m	text	in=torch,torch_dist
ckpt_convert_save	m	text
ckpt_convert_update_legacy_dist_opt_format	m	flag
ckpt_format	m	text	default=torch_dist	in=torch,torch_dist,torch_dcp,fsdp_dtensor
ckpt_fully_parallel_load	m	flag
ckpt_fully_parallel_save	m	flag
ckpt_fully_parallel_save_deprecated	.	ckpt_fully_parallel_save
ckpt_step	m	int
classes_fraction	m	float	default=1.0
clip_grad	s	float	default=1.0
clone_scatter_output_in_embedding	.	disable_clone_scatter_output_in_embedding
colocate	s	flag
compute_advantages_and_returns	.	disable_compute_advantages_and_returns
config_logger_dir	m	text	default=
context_parallel_size	m	int	default=1
cp_comm_type	m	texts	default=["p2p"]
cpu_offloading_num_layers	m	int	default=0
create_all_gather_group	m	flag
create_attention_mask_in_dataloader	.	no_create_attention_mask_in_dataloader
cross_entropy_fusion_impl	m	text	default=native	in=native,te,linear
cross_entropy_loss_fusion	m	flag
cuda_graph_impl	m	text	default=none	in=none,local,transformer_engine
cuda_graph_scope	m	texts
cuda_graph_warmup_steps	m	int	default=3
custom_advantage_function_path	s	python
custom_config_path	s	text
custom_convert_samples_to_train_data_path	s	python
custom_eval_rollout_log_function_path	s	python
custom_generate_function_path	s	python
custom_loss_function_path	s	python
custom_megatron_before_log_prob_hook_path	s	python
custom_megatron_before_train_step_hook_path	s	python
custom_megatron_init_path	s	python
custom_model_provider_path	s	python
custom_pg_loss_reducer_function_path	s	python
custom_reward_post_process_path	s	python
custom_rm_path	s	python
custom_rollout_log_function_path	s	python
custom_tis_function_path	s	python
custom_update_weight_post_write_path	s	python
data_args_path	m	text
data_cache_path	m	text
data_pad_size_multiplier	s	int	default=128
data_parallel_random_init	m	flag
data_parallel_sharding_strategy	m	text	default=no_shard	in=no_shard,optim,optim_grads,optim_grads_params
data_path	m	texts*
data_per_class_fraction	m	float	default=1.0
data_sharding	.	no_data_sharding
data_source_path	s	python	default=slime.rollout.data_source.RolloutDataSourceWithBuffer
dataloader_defer_npy_index_mmap	m	flag
dataloader_fast_cache_load	m	flag
dataloader_type	m	text	in=single,cyclic,external
ddp_average_in_collective	m	flag
ddp_bucket_size	m	int
ddp_num_buckets	m	int
ddp_pad_buckets_for_high_nccl_busbw	m	flag
ddp_reduce_scatter_with_fp32_accumulation	m	flag
debug_rollout_only	s	flag
debug_train_only	s	flag
decode_only_cuda_graphs	m	flag
decoder_first_pipeline_num_layers	m	int
decoder_last_pipeline_num_layers	m	int
decoder_num_layers	m	int
decoder_seq_length	m	int
decoupled_lr	m	float
decoupled_min_lr	m	float
decrease_batch_size_if_needed	m	flag
defer_embedding_wgrad_compute	m	flag
delay_wgrad_compute	m	flag
deprecated_use_mcore_models	.	use_mcore_models
deterministic_mode	m	flag
dino_bottleneck_size	m	int	default=256
dino_freeze_last_layer	m	float	default=1
dino_head_hidden_size	m	int	default=2048
dino_local_crops_number	m	int	default=10
dino_local_img_size	m	int	default=96
dino_norm_last_layer	m	flag
dino_teacher_temp	m	float	default=0.07
dino_warmup_teacher_temp	m	float	default=0.04
dino_warmup_teacher_temp_epochs	m	int	default=30
disable_async_tensor_model_parallel_allreduce	m	flag
disable_bf16_reduced_precision_matmul	m	flag
disable_bias_linear	m	flag
disable_chunked_prefill	m	flag
disable_ckpt_fully_parallel_save	m	flag
disable_clone_scatter_output_in_embedding	m	flag
disable_compute_advantages_and_returns	s	flag
disable_fp8_wgrad	m	flag
disable_gloo_process_groups	m	flag
disable_grpo_std_normalization	s	flag
disable_jit_fuser	m	flag
disable_log_loss_scale_to_tensorboard	m	flag
disable_mamba_mem_eff_path	m	flag
disable_manual_gc_eval	m	flag
disable_msc	m	flag
disable_rewards_normalization	s	flag
disable_rollout_global_dataset	s	flag
disable_straggler_on_startup	m	flag
disable_strict_fsdp_dtensor_load	m	flag
disable_symmetric_registration	m	flag
disable_tp_comm_bulk_dgrad	m	flag
disable_tp_comm_bulk_wgrad	m	flag
disable_tp_comm_overlap_ag	m	flag
disable_tp_comm_overlap_rs	m	flag
disable_tp_comm_split_ag	m	flag
disable_tp_comm_split_rs	m	flag
disable_use_tokenizer_model_from_checkpoint_args	m	flag
disable_wandb_random_suffix	s	flag
dist_ckpt_format	m	text
dist_ckpt_format_deprecated	.	dist_ckpt_format
dist_ckpt_optim_fully_reshardable	m	flag
dist_ckpt_save_pre_mcore_014	m	flag
dist_ckpt_strictness	m	text	default=assume_ok_unexpected	in=assume_ok_unexpected,log_unexpected,log_all,raise_unexpected,raise_all,return_unexpected,return_all,ignore_all
distrib_optim_fully_reshardable_mem_efficient	m	flag
distribute_saved_activations	m	flag
distributed_backend	s	text	default=nccl	in=nccl,gloo
distributed_timeout_minutes	s	int	default=10
distributed_timeout_seconds_after_init	m	int
dsa_indexer_head_dim	m	int
dsa_indexer_loss_coeff	m	float
dsa_indexer_n_heads	m	int
dsa_indexer_topk	m	int
dsa_indexer_use_sparse_loss	m	flag
dump_details	s	text
dump_param_to_param_group_map	m	text
dynamic_sampling_filter_path	s	python
embedding_init_method_std	m	float
embedding_path	m	text
empty_unused_memory_level	m	int	default=0	in=0,1,2
enable_chunked_prefill	m	flag
enable_cuda_graph	m	flag
enable_experimental	m	flag
enable_ft_package	m	flag
enable_full_sharding_in_hsdp	m	flag
enable_gloo_process_groups	.	disable_gloo_process_groups
enable_msc	.	disable_msc
enable_mtp_training	s	flag
enable_one_logger	.	no_one_logger
encoder_num_layers	m	int
encoder_seq_length	m	int
end_weight_decay	m	float
entropy_coef	s	float	default=0.0
eod_mask_loss	m	flag
ep_overlap_early_attn_memory_release	m	flag
eps_clip	s	float	default=0.2
eps_clip_c	s	float
eps_clip_high	s	float
error_injection_rate	m	int	default=0
error_injection_type	m	text	default=transient_error	in=correct_result,transient_error,persistent_error
eval_config	s	text
eval_function_path	s	python
eval_input_key	s	text
eval_interval	s	int	min=1
eval_iters	m	int	default=100
eval_label_key	s	text
eval_max_context_len	s	int
eval_max_prompt_len	s	int
eval_max_response_len	s	int
eval_min_new_tokens	s	int
eval_prompt_data	s	texts
eval_reward_key	s	text
eval_temperature	s	float
eval_tool_key	s	text
eval_top_k	s	int
eval_top_p	s	float	max=1	above=0
evidence_data_path	m	text
exit_duration_in_mins	m	int
exit_interval	m	int
exit_on_missing_checkpoint	m	flag
exit_signal	m	signal	default=15	in=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,34,64
exit_signal_handler	m	flag
exit_signal_handler_for_dataloader	m	flag
exp_avg_dtype	m	text	default=fp32	in=fp32,fp16,bf16,fp8
exp_avg_sq_dtype	m	text	default=fp32	in=fp32,fp16,bf16,fp8
experimental_attention_variant	m	text	in=gated_delta_net,dsa
expert_model_parallel_size	m	int	default=1
expert_tensor_parallel_size	m	int
external_cuda_graph	m	flag
fake_process_group	m	flag
fallback_to_eager_attn	m	flag
fetch_trajectory_retry_times	s	int	default=-1
ffn_hidden_size	m	int
fim_data	m	flag
fim_eod_token	m	text	default=<|endoftext|>
fim_fragment_rate	m	float
fim_middle_token	m	text	default=<fim_middle>
fim_no_prefix	m	text
fim_pad_token	m	text	default=<fim_pad>
fim_prefix_token	m	text	default=<fim_prefix>
fim_rate	m	float	default=0.5
fim_split_sample	m	text
fim_spm_rate	m	float	default=0.5
fim_suffix_token	m	text	default=<fim_suffix>
fine_grained_activation_offloading	m	flag
finetune	m	flag
first_last_layers_bf16	m	flag
flash_decode	m	flag
fp16	m	flag
fp16_lm_cross_entropy	m	flag
fp32_residual_connection	m	flag
fp4	.	fp4_format
fp4_format	m	text	in=e2m1
fp4_param	.	fp4_param_gather
fp4_param_gather	m	flag
fp4_quantizer_factory	m	text
fp4_recipe	m	text	default=nvfp4	in=nvfp4,custom
fp8	.	fp8_format
fp8_amax_compute_algo	m	text	default=most_recent	in=most_recent,max
fp8_amax_history_len	m	int	default=1
fp8_format	m	text	in=e4m3,hybrid
fp8_interval	m	int	default=1
fp8_margin	m	int	default=0
fp8_param_gather	m	flag
fp8_quantizer_factory	m	text
fp8_recipe	m	text	default=delayed	in=tensorwise,delayed,mxfp8,blockwise,custom
fp8_wgrad	.	disable_fp8_wgrad
freeze_indexer	s	flag
freeze_params_name_list	s	texts*
fsdp_double_buffer	m	flag
fsdp_manual_registration	m	flag
ft_num_warmup_iters	m	int	default=5
full_validation	m	flag
gamma	s	float	default=1.0
get_mismatch_metrics	s	flag
global_batch_size	s	int	min=1
glu_linear_offset	m	float	default=0.0
grad_reduce_in_bf16	m	flag
gradient_accumulation_fusion	.	no_gradient_accumulation_fusion
gradient_reduce_div_fusion	.	no_gradient_reduce_div_fusion
group_query_attention	m	flag
group_rm	s	flag
grpo_clamp_eps_lower	m	float	default=0.01
grpo_clamp_eps_upper	m	float	default=0.01
grpo_entropy_term_weight	m	float	default=0.0
grpo_filter_groups_with_same_reward	m	flag
grpo_group_size	m	int	default=2
grpo_iterations	m	int	default=2
grpo_kl_beta	m	float	default=0.001
grpo_prompts_per_step	m	int	default=32
grpo_std_normalization	.	disable_grpo_std_normalization
head_lr_mult	m	float	default=1.0
heterogeneous_layers_config_encoded_json	m	text
heterogeneous_layers_config_path	m	text
hf_checkpoint	s	text
hidden_dropout	m	float	default=0.1
hidden_size	m	int
hierarchical_context_parallel_sizes	m	ints
high_priority_stream_groups	m	texts*
http_proxy	s	text	url
hybrid_attention_ratio	m	float	default=0.0
hybrid_context_parallel	m	flag
hybrid_mlp_ratio	m	float	default=0.0
hybrid_override_pattern	m	text
hysteresis	m	int	default=2
ict_head_size	m	int
ict_load	m	text
img_h	m	int	default=224
img_w	m	int	default=224
indexer_batch_size	m	int	default=128
indexer_log_interval	m	int	default=1000
inference_batch_times_seqlen_threshold	m	int	default=-1
inference_coordinator_port	m	int	default=12346
inference_dynamic_batching	m	flag
inference_dynamic_batching_block_size	m	int	default=256
inference_dynamic_batching_buffer_size_gb	m	float	default=40.0
inference_dynamic_batching_cuda_graph_max_tokens	m	int	default=16384
inference_dynamic_batching_cuda_graph_mixed_prefill_count	m	int	default=16
inference_dynamic_batching_max_requests	m	int
inference_dynamic_batching_max_tokens	m	int
inference_dynamic_batching_num_cuda_graphs	m	int	default=16
inference_dynamic_batching_paused_buffer_size_gb	m	float
inference_dynamic_batching_track_paused_request_events	m	flag
inference_dynamic_batching_unified_memory_level	m	int	default=0	in=0,1
inference_fuse_tp_communication	m	flag
inference_logging_step_interval	m	int	default=0
inference_max_batch_size	m	int
inference_max_requests	m	int	default=8
inference_max_seq_length	m	int	default=2560
inference_rng_tracker	m	flag
inference_wandb_logging	~	no_inference_wandb_logging
init_method_std	m	float	default=0.02
init_method_xavier_uniform	m	flag
init_model_with_meta_device	m	flag
initial_loss_scale	m	float	default=4294967296
inprocess_active_world_size	m	int	default=1
inprocess_barrier_timeout	m	float	default=120
inprocess_completion_timeout	m	float	default=120
inprocess_empty_cuda_cache	m	flag
inprocess_granularity	m	text	default=node	in=node,rank
inprocess_hard_timeout	m	float	default=90
inprocess_heartbeat_interval	m	float	default=30
inprocess_heartbeat_timeout	m	float	default=60
inprocess_last_call_wait	m	float	default=1
inprocess_max_iterations	m	int
inprocess_monitor_process_interval	m	float	default=1.0
inprocess_monitor_thread_interval	m	float	default=1.0
inprocess_progress_watchdog_interval	m	float	default=1.0
inprocess_restart	m	flag
inprocess_soft_timeout	m	float	default=60
inprocess_termination_grace_time	m	float	default=1
input_key	s	text	default=input
is_hybrid_model	m	flag
iter_per_epoch	m	int	default=1250
iterations_to_skip	m	ints
keep_fp8_transpose_cache	m	flag
keep_old_actor	s	flag
kitchen_attention_backend	m	text	default=sdpa	in=sdpa,fa
kl_coef	s	float	default=0.0
kl_loss_coef	s	float	default=0.0
kl_loss_type	s	text	default=k1	in=k1,k2,k3,low_var_kl
kv_channels	m	int
kv_lora_rank	m	int	default=32
label_key	s	text
lambd	s	float	default=1.0
langrl_env_config	m	text
langrl_external_server	~	no_langrl_external_server
langrl_inference_server_conversation_template	m	text
langrl_inference_server_type	m	text	default=inplace_megatron	in=inplace_megatron,inplace_megatron_chat
layernorm_epsilon	.	norm_epsilon
layernorm_zero_centered_gamma	.	apply_layernorm_1p
lazy_mpu_init	m	bool
legacy_tokenizer	m	flag
linear_attention_freq	m	freq
linear_attention_type	m	text
linear_conv_kernel_dim	m	int	default=4
linear_key_head_dim	m	int	default=128
linear_num_key_heads	m	int	default=16
linear_num_value_heads	m	int	default=32
linear_value_head_dim	m	int	default=128
load	s	text
load_debug_rollout_data	s	text
load_debug_rollout_data_subsample	s	float
load_forge_rollout_data	s	text
load_main_params_from_ckpt	m	flag
local_rank	m	int	default=0
log_correct_samples	s	flag
log_device_memory_used	m	flag
log_energy	m	flag
log_interval	m	int	default=100
log_loss_scale_to_tensorboard	.	disable_log_loss_scale_to_tensorboard
log_max_attention_logit	m	flag
log_memory_interval	m	int
log_memory_to_tensorboard	m	flag
log_multi_turn	s	flag
log_num_zeros_in_grad	m	flag
log_params_norm	m	flag
log_passrate	s	flag
log_probs_chunk_size	s	int	default=-1
log_probs_max_tokens_per_gpu	s	int
log_progress	m	flag
log_reward_category	s	text
log_straggler	m	flag
log_throughput	m	flag
log_timers_to_tensorboard	m	flag
log_validation_ppl_to_tensorboard	m	flag
log_world_size_to_tensorboard	m	flag
logging_level	m	int
loss_mask_type	s	text	default=qwen	in=qwen,qwen3,qwen3_5,distill_qwen
loss_scale	m	float
loss_scale_window	m	float	default=1000
loss_type	s	text	default=policy_loss	in=policy_loss,sft_loss,custom_loss
lr	s	float	above=0
lr_decay_iters	m	int
lr_decay_samples	m	int
lr_decay_style	m	text	default=linear	in=constant,linear,cosine,inverse-square-root,WSD
lr_warmup_fraction	m	float
lr_warmup_init	m	float	default=0.0
lr_warmup_iters	m	int	default=0
lr_warmup_samples	m	int	default=0
lr_wsd_decay_iters	m	int
lr_wsd_decay_samples	m	int
lr_wsd_decay_style	m	text	default=exponential	in=exponential,linear,cosine,minus_sqrt
main_grads_dtype	m	text	default=fp32	in=fp32,bf16
main_params_dtype	m	text	default=fp32	in=fp32,fp16
make_vocab_size_divisible_by	m	int	default=128
mamba_head_dim	m	int	default=64
mamba_num_groups	m	int	default=8
mamba_num_heads	m	int
mamba_state_dim	m	int	default=128
manual_gc	m	flag
manual_gc_eval	.	disable_manual_gc_eval
manual_gc_interval	m	int	default=0
mask_factor	m	float	default=1.0
mask_offpolicy_in_partial_rollout	s	flag
mask_prob	m	float	default=0.15
mask_type	m	text	default=random	in=random,row
masked_softmax_fusion	.	no_masked_softmax_fusion
max_position_embeddings	m	int
max_seqlen_per_dp_cp_rank	m	int
max_tokens_per_gpu	s	int	min=1
max_tokens_to_oom	m	int	default=12000
megatron_config_path	s	text
megatron_deepgemm_forward_layers	s	ints
megatron_deepgemm_forward_modules	s	texts
megatron_deepgemm_moe_forward_layers	s	ints
megatron_deepgemm_moe_forward_modules	s	texts
memory_recorder	s	text	default=torch	in=torch,memray
memory_snapshot_dir	s	text	default=.
memory_snapshot_num_steps	s	int
memory_snapshot_path	m	text	default=snapshot.pickle
merge_file	m	text
metadata_key	s	text	default=metadata
micro_batch_size	s	int	min=1
microbatch_group_size_per_virtual_pipeline_stage	m	int
microbatch_group_size_per_vp_stage	.	microbatch_group_size_per_virtual_pipeline_stage
mid_level_dataset_surplus	m	float	default=0.005
min_batch_collection_ratio	s	float	default=1
min_loss_scale	m	float	default=1.0
min_lr	m	float	default=0.0
min_offloaded_tensor_size	m	int	default=1048576
mlp_chunks_for_prefill	m	int	default=1
mmap_bin_files	.	no_mmap_bin_files
mock_data	m	flag
model_name	s	text
model_parallel_size	m	int
moe_apply_probs_on_input	m	flag
moe_aux_loss_coeff	m	floats	default=0.0
moe_deepep_num_sms	m	int	default=20
moe_enable_deepep	m	flag
moe_enable_routing_replay	m	flag
moe_expert_capacity_factor	m	float
moe_extended_tp	m	flag
moe_ffn_hidden_size	m	int
moe_flex_dispatcher_backend	m	text	default=deepep	in=deepep,hybridep
moe_grouped_gemm	m	flag
moe_hybridep_num_sms	m	int	default=16
moe_input_jitter_eps	m	float
moe_latent_size	m	int
moe_layer_freq	m	freq	default=1
moe_layer_recompute	m	flag
moe_pad_expert_input_to_capacity	m	flag
moe_pad_experts_for_cuda_graph_inference	m	flag
moe_per_layer_logging	m	flag
moe_permute_fusion	m	flag
moe_router_bias_update_rate	m	float	default=0.001
moe_router_dtype	m	text	in=fp32,fp64
moe_router_enable_expert_bias	m	flag
moe_router_force_biased	m	float
moe_router_force_load_balancing	m	flag
moe_router_fusion	m	flag
moe_router_group_topk	m	int
moe_router_load_balancing_type	m	texts	default=aux_loss	in=aux_loss,seq_aux_loss,global_aux_loss,sinkhorn,none
moe_router_num_groups	m	int
moe_router_padding_for_fp8	m	flag
moe_router_padding_for_quantization	m	flag
moe_router_pre_softmax	m	flag
moe_router_score_function	m	text	default=softmax	in=softmax,sigmoid
moe_router_topk	m	int	default=2
moe_router_topk_scaling_factor	m	float
moe_shared_expert_gate	m	flag
moe_shared_expert_intermediate_size	m	int
moe_shared_expert_overlap	m	flag
moe_token_dispatcher_type	m	text	default=allgather	in=allgather,alltoall,flex
moe_token_drop_policy	m	text	default=probs	in=probs,position
moe_upcycling_granularity	m	int	default=1
moe_use_legacy_grouped_gemm	m	flag
moe_use_upcycling	m	flag
moe_z_loss_coeff	m	float
mrope_section	m	ints
mscale	m	float	default=1.0
mscale_all_dim	m	float	default=0.0
mtp_loss_scaling_factor	s	float	default=0.1
mtp_num_layers	s	int
mtp_standalone	m	flag
multi_latent_attention	m	flag
multimodal_keys	s	json
multiple_validation_sets	m	flag
muon_extra_scale_factor	m	float	default=1.0
muon_fp32_matmul_prec	m	text	default=medium	in=low,medium,high
muon_momentum	m	float	default=0.9
muon_no_split_qkv	m	flag
muon_num_ns_steps	m	int	default=5
muon_scale_mode	m	text	default=spectral	in=spectral,unit_rms_norm,shape_scaling
muon_split_qkv	.	muon_no_split_qkv
muon_tp_mode	m	text	default=blockwise	in=blockwise,duplicated,distributed
muon_use_nesterov	m	flag
n_samples_per_eval_prompt	s	int	default=1	min=1
n_samples_per_prompt	s	int	default=1	min=1
nccl_all_reduce_for_prefill	m	flag
nccl_communicator_config_path	m	text
nccl_ub	.	use_nccl_ub
no_align_grad_reduce	m	flag
no_align_param_gather	m	flag
no_async_tensor_model_parallel_allreduce	@	disable_async_tensor_model_parallel_allreduce
no_barrier_with_level_1_timing	m	flag
no_bias_dropout_fusion	m	flag
no_bias_gelu_fusion	m	flag
no_bias_swiglu_fusion	m	flag
no_check_for_nan_in_loss_and_grad	m	flag
no_ckpt_fully_parallel_save	@	disable_ckpt_fully_parallel_save
no_clone_scatter_output_in_embedding	@	disable_clone_scatter_output_in_embedding
no_create_attention_mask_in_dataloader	m	flag
no_data_sharding	m	flag
no_fp8_wgrad	@	disable_fp8_wgrad
no_gradient_accumulation_fusion	m	flag
no_gradient_reduce_div_fusion	m	flag
no_inference_wandb_logging	m	switch	default=false	neg=inference_wandb_logging
no_initialization	m	flag
no_langrl_external_server	m	switch	default=false	neg=langrl_external_server
no_load_optim	m	flag
no_load_rng	m	flag
no_log_loss_scale_to_tensorboard	@	disable_log_loss_scale_to_tensorboard
no_manual_gc_eval	@	disable_manual_gc_eval
no_masked_softmax_fusion	m	flag
no_mmap_bin_files	m	flag
no_offload_rollout	~	offload_rollout
no_offload_train	~	offload_train
no_one_logger	m	flag
no_overlap_p2p_communication	m	flag
no_persist_layer_norm	m	flag
no_pin_cpu_grads	m	flag
no_pin_cpu_params	m	flag
no_position_embedding	m	flag
no_rl_calculate_intra_group_similarity	m	switch	default=false	neg=rl_calculate_intra_group_similarity
no_rl_inference_logprobs_is_correction	m	switch	default=false	neg=rl_inference_logprobs_is_correction
no_rl_offload_inference_model_weights_when_idle	m	switch	default=false	neg=rl_offload_inference_model_weights_when_idle
no_rl_offload_kv_cache_during_training	m	switch	default=false	neg=rl_offload_kv_cache_during_training
no_rl_partial_rollouts	m	switch	default=false	neg=rl_partial_rollouts
no_rl_remove_kv_cache_during_training	m	switch	default=false	neg=rl_remove_kv_cache_during_training
no_rl_reset_cuda_graphs	m	switch	default=false	neg=rl_reset_cuda_graphs
no_rl_skip_bos_token	m	switch	default=false	neg=rl_skip_bos_token
no_rl_training_cuda_graphs	m	switch	default=false	neg=rl_training_cuda_graphs
no_rl_use_sequence_packing	m	switch	default=false	neg=rl_use_sequence_packing
no_rl_verify_model_weights_swap	m	switch	default=false	neg=rl_verify_model_weights_swap
no_rope_freq	m	freq
no_rope_fusion	m	flag
no_save_optim	s	flag
no_save_rng	m	flag
no_scatter_gather_tensors_in_pipeline	m	flag
no_strict_fsdp_dtensor_load	@	disable_strict_fsdp_dtensor_load
no_tp_comm_bulk_dgrad	@	disable_tp_comm_bulk_dgrad
no_tp_comm_bulk_wgrad	@	disable_tp_comm_bulk_wgrad
no_tp_comm_overlap_ag	@	disable_tp_comm_overlap_ag
no_tp_comm_overlap_rs	@	disable_tp_comm_overlap_rs
no_tp_comm_split_ag	@	disable_tp_comm_split_ag
no_tp_comm_split_rs	@	disable_tp_comm_split_rs
no_use_tokenizer_model_from_checkpoint_args	@	disable_use_tokenizer_model_from_checkpoint_args
no_weight_decay_cond_type	m	text	in=apply_wd_to_qk_layernorm
non_persistent_ckpt_type	m	text	in=global,local,in_memory
non_persistent_global_ckpt_dir	m	text
non_persistent_local_ckpt_algo	m	text	default=fully_parallel	in=fully_parallel,atomic
non_persistent_local_ckpt_dir	m	text
non_persistent_save_interval	m	int
norm_epsilon	m	float	default=1e-05
normalization	m	text	default=LayerNorm	in=LayerNorm,RMSNorm
normalize_advantages	s	flag
num_attention_heads	m	int
num_channels	m	int	default=3
num_classes	m	int	default=1000
num_critic_only_steps	s	int	default=0
num_dataset_builder_threads	m	int	default=1
num_distributed_optimizer_instances	m	int	default=1
num_epoch	s	int	min=1
num_experts	m	int
num_gpus_per_node	s	int	default=8	min=1
num_layers	m	int
num_layers_at_end_in_bf16	m	int	default=1
num_layers_at_start_in_bf16	m	int	default=1
num_layers_per_virtual_pipeline_stage	m	int
num_query_groups	m	int	default=1
num_rollout	s	int	min=0
num_steps_per_rollout	s	int	min=1
num_virtual_stages_per_pipeline_rank	m	int
num_workers	m	int	default=2
object_storage_cache_path	m	text
offload	s	flag
offload_modules	m	texts
offload_optimizer_states	m	flag
offload_rollout	s	switch	neg=no_offload_rollout
offload_train	s	switch	neg=no_offload_train
one_logger_async	m	flag
one_logger_project	m	text	default=megatron-lm
one_logger_run_name	m	text
only_train_params_name_list	s	texts*
onnx_safe	m	bool
opd_kl_coef	s	float	default=1.0
opd_teacher_ckpt_step	s	int
opd_teacher_load	s	text
opd_type	s	text	in=sglang,megatron
openai_gelu	m	flag
opsm_delta	s	float	default=0.0001
optimizer	m	text	default=adam	in=adam,sgd,muon,dist_muon
optimizer_cpu_offload	m	flag
optimizer_offload_fraction	m	float	default=1.0
outer_dp_sharding_strategy	m	text	default=no_shard	in=no_shard,optim
output_bert_embeddings	m	flag
over_sampling_batch_size	s	int	min=1
overlap_cpu_optimizer_d2h_h2d	m	flag
overlap_grad_reduce	m	flag
overlap_moe_expert_parallel_comm	m	flag
overlap_p2p_comm	.	no_overlap_p2p_communication
overlap_p2p_comm_warmup_flush	.	overlap_p2p_communication_warmup_flush
overlap_p2p_communication_warmup_flush	m	flag
overlap_param_gather	m	flag
overlap_param_gather_with_optimizer_step	m	flag
override_opt_param_scheduler	m	flag
padded_vocab_size	s	int
partial_rollout	s	flag
patch_dim	m	int	default=16
per_dataset_sequences_path	m	text
per_split_data_args_path	m	text
perform_initialization	.	no_initialization
perform_rl_step	m	flag
persistent_save_interval	@	save_interval
phase_transition_iterations	m	text
pin_cpu_grads	.	no_pin_cpu_grads
pin_cpu_params	.	no_pin_cpu_params
pipeline_model_parallel_comm_backend	m	text	in=nccl,ucc
pipeline_model_parallel_layout	m	text
pipeline_model_parallel_size	m	int	default=1
position_embedding_type	m	text	default=learned_absolute	in=learned_absolute,rope,mrope,relative,none
post_mlp_layernorm	m	flag
post_self_attn_layernorm	m	flag
prefill_num_servers	s	int
pretrained_checkpoint	m	text
profile	m	flag
profile_ranks	m	ints	default=[0]
profile_step_end	m	int	default=12
profile_step_start	m	int	default=10
profile_target	s	texts	default=["train_overall"]	in=train_overall,train_actor,train_log_probs
prompt_data	s	text
q_lora_rank	m	int
qk_clip	m	flag
qk_clip_alpha	m	float	default=0.5
qk_clip_threshold	m	float	default=100
qk_head_dim	m	int	default=128
qk_l2_norm	m	flag
qk_layernorm	m	flag
qk_pos_emb_head_dim	m	int	default=64
query_in_block_prob	m	float	default=0.1
quick_geglu	m	flag
qwen_gdn_backend	s	text	default=fla	in=fla,flashqla
rampup_batch_size	m	ints3
recompute_activations	m	flag
recompute_granularity	m	text	in=full,selective
recompute_loss_function	s	flag
recompute_method	m	text	in=uniform,block
recompute_modules	m	texts
recompute_num_layers	m	int
record_memory_history	s	flag
ref_ckpt_step	s	int
ref_load	s	text
ref_update_interval	s	int
refit_method	m	text	default=gloo	in=nccl,gloo
relative_attention_max_distance	m	int	default=128
relative_attention_num_buckets	m	int	default=32
release_train	s	flag
replication	m	flag
replication_factor	m	int	default=2
replication_jump	m	int
rerun_mode	m	text	default=validate_results	in=disabled,validate_results,report_stats
reset_attention_mask	m	flag
reset_optimizer_states	s	flag
reset_position_ids	m	flag
result_rejected_tracker_filename	m	text
retriever_report_topk_accuracies	m	ints
retriever_score_scaling	m	flag
reuse_grad_buf_for_mxfp8_param_ag	m	flag
reward_key	s	text
rewards_normalization	.	disable_rewards_normalization
rl_calculate_intra_group_similarity	~	no_rl_calculate_intra_group_similarity
rl_default_temperature	m	float	default=1.0
rl_default_top_k	m	int	default=-1
rl_default_top_p	m	float	default=0
rl_importance_sampling_truncation_coef	m	float
rl_inference_expert_model_parallel_size	m	int
rl_inference_expert_tensor_model_parallel_size	m	int
rl_inference_logprobs_is_correction	~	no_rl_inference_logprobs_is_correction
rl_inference_model_unified_memory_level	m	int	default=0	in=0,1
rl_inference_pipeline_model_parallel_size	m	int
rl_inference_tensor_model_parallel_size	m	int
rl_offload_inference_model_weights_when_idle	~	no_rl_offload_inference_model_weights_when_idle
rl_offload_kv_cache_during_training	~	no_rl_offload_kv_cache_during_training
rl_offload_optimizer_during_inference	m	flag
rl_parallel_generation_tasks	m	int	default=512
rl_partial_rollouts	~	no_rl_partial_rollouts
rl_prompts_per_eval	m	int	default=32
rl_remove_kv_cache_during_training	~	no_rl_remove_kv_cache_during_training
rl_reset_cuda_graphs	~	no_rl_reset_cuda_graphs
rl_sequence_packing_algo	m	text	default=fifo	in=fifo,round-robin
rl_sequence_packing_max_sequences_per_bin	m	int	default=50
rl_skip_bos_token	~	no_rl_skip_bos_token
rl_training_cuda_graphs	~	no_rl_training_cuda_graphs
rl_use_sequence_packing	~	no_rl_use_sequence_packing
rl_verify_model_weights_swap	~	no_rl_verify_model_weights_swap
rm_type	s	text
rm_url	s	text	url
rollout_all_samples_process_path	s	python
rollout_batch_size	s	int	min=1
rollout_buffer_url	s	text	url
rollout_data_postprocess_path	s	python
rollout_data_transport	s	text	default=object-store	in=object-store,nixl
rollout_external_engine_addrs	s	texts
rollout_function_path	s	python	default=slime.rollout.sglang_rollout.generate_rollout
rollout_global_dataset	.	disable_rollout_global_dataset
rollout_health_check_first_wait	s	float	default=0
rollout_health_check_interval	s	float	default=30.0
rollout_health_check_timeout	s	float	default=30.0
rollout_max_context_len	s	int	min=2
rollout_max_prompt_len	s	int	min=1
rollout_max_response_len	s	int	min=1
rollout_num_gpus	s	int	min=0
rollout_num_gpus_per_engine	s	int	default=1	min=1
rollout_sample_filter_path	s	python
rollout_sample_hook_path	s	pythons
rollout_seed	s	int	default=42
rollout_shuffle	s	flag
rollout_skip_special_tokens	s	flag
rollout_stop	s	texts
rollout_stop_token_ids	s	ints
rollout_task_type	s	text	default=math
rollout_temperature	s	float	default=1.0	above=0
rollout_top_k	s	int	default=-1
rollout_top_p	s	float	default=1.0	max=1	above=0
rope_scaling_factor	m	float	default=8.0
rope_type	m	text	in=rope,yarn
rotary_base	m	int	default=10000
rotary_interleaved	m	flag
rotary_percent	m	float	default=1.0
rotary_scaling_factor	m	float	default=1.0
rotary_seq_len_interpolation_factor	m	int
router_api_key	r	text	secret
router_assignment_mode	r	text	default=random	in=random,min_load,min_group
router_backend	r	text	default=sglang	in=sglang,openai
router_balance_abs_threshold	r	int	default=10
router_balance_rel_threshold	r	float	default=1.2
router_bucket_adjust_interval_secs	r	int	default=5
router_ca_cert_paths	r	texts*
router_cache_threshold	r	float	default=0.3
router_cb_failure_threshold	r	int	default=10
router_cb_success_threshold	r	int	default=3
router_cb_timeout_duration_secs	r	int	default=60
router_cb_window_duration_secs	r	int	default=120
router_chat_template	r	text
router_client_cert_path	r	text
router_client_key_path	r	text
router_control_plane_api_keys	r	texts*	secret
router_control_plane_audit_enabled	r	flag
router_cors_allowed_origins	r	texts*
router_decode	r	repeat
router_decode_policy	r	text	in=random,round_robin,cache_aware,power_of_two,manual,consistent_hashing,prefix_hash
router_decode_selector	r	texts
router_disable_circuit_breaker	r	flag
router_disable_health_check	r	flag
router_disable_retries	r	flag
router_dp_aware	r	flag
router_enable_igw	r	flag
router_enable_trace	r	flag
router_eviction_interval_secs	r	int	default=60
router_health_check_endpoint	r	text	default=/health
router_health_check_interval_secs	r	int	default=60
router_health_check_timeout_secs	r	int	default=5
router_health_failure_threshold	r	int	default=3
router_health_success_threshold	r	int	default=2
router_history_backend	r	text	default=memory	in=memory,none,oracle,postgres,redis
router_jwt_audience	r	text
router_jwt_issuer	r	text
router_jwt_jwks_uri	r	text
router_jwt_role_mapping	r	texts*
router_log_dir	r	text
router_log_level	r	text	default=warn	in=debug,info,warn,error
router_max_concurrent_requests	r	int	default=-1
router_max_idle_secs	r	int	default=14400
router_max_payload_size	r	int	default=536870912
router_max_tree_size	r	int	default=67108864
router_mcp_config_path	r	text
router_mini_lb	r	flag
router_model_path	r	text
router_oracle_connect_descriptor	r	text
router_oracle_password	r	text	secret
router_oracle_pool_max	r	int	default=16
router_oracle_pool_min	r	int	default=1
router_oracle_pool_timeout_secs	r	int	default=30
router_oracle_tns_alias	r	text
router_oracle_username	r	text
router_oracle_wallet_path	r	text
router_otlp_traces_endpoint	r	text	default=localhost:4317
router_pd_disaggregation	r	flag
router_policy	r	text	default=cache_aware	in=random,round_robin,cache_aware,power_of_two,manual,consistent_hashing,prefix_hash
router_postgres_db_url	r	text	secret
router_postgres_pool_max	r	int	default=16
router_prefill	r	groups
router_prefill_policy	r	text	in=random,round_robin,cache_aware,power_of_two,manual,bucket,consistent_hashing,prefix_hash
router_prefill_selector	r	texts
router_prometheus_duration_buckets	r	floats
router_prometheus_host	r	text	default=0.0.0.0
router_prometheus_port	r	int	default=29000
router_queue_size	r	int	default=100
router_queue_timeout_secs	r	int	default=60
router_rate_limit_tokens_per_second	r	int
router_reasoning_parser	r	text
router_redis_pool_max	r	int	default=16
router_redis_retention_days	r	int	default=30
router_redis_url	r	text	secret
router_request_id_headers	r	texts*
router_request_timeout_secs	r	int	default=1800
router_retry_backoff_multiplier	r	float	default=1.5
router_retry_initial_backoff_ms	r	int	default=50
router_retry_jitter_factor	r	float	default=0.2
router_retry_max_backoff_ms	r	int	default=30000
router_retry_max_retries	r	int	default=5
router_selector	r	texts
router_service_discovery	r	flag
router_service_discovery_namespace	r	text
router_service_discovery_port	r	int	default=80
router_shutdown_grace_period_secs	r	int	default=180
router_test_external_dp_routing	r	flag
router_tls_cert_path	r	text
router_tls_key_path	r	text
router_tokenizer_cache_enable_l0	r	flag
router_tokenizer_cache_enable_l1	r	flag
router_tokenizer_cache_l0_max_entries	r	int	default=10000
router_tokenizer_cache_l1_max_memory	r	int	default=52428800
router_tokenizer_path	r	text
router_tool_call_parser	r	text
router_worker_startup_check_interval	r	int	default=30
router_worker_startup_timeout_secs	r	int	default=1800
run_workload_inspector_server	m	flag
sample_rate	m	float	default=1.0
save	s	text
save_debug_rollout_data	s	text
save_debug_train_data	s	text
save_dgrads_interval	m	int
save_hf	s	text
save_interval	s	int	min=1
save_retain_interval	m	int
save_wgrads_interval	m	int
scatter_gather_tensors_in_pipeline	.	no_scatter_gather_tensors_in_pipeline
seed	s	int	default=1234
seq_length	m	int
sequence_parallel	m	flag
sft	m	flag
sft_tokenizer_prompt_format	m	text	default=nemotron-h-aligned
sgd_momentum	m	float	default=0.9
sglang_abort_on_priority_when_disabled	g	flag
sglang_admin_api_key	g	text	secret
sglang_allow_auto_truncate	g	flag
sglang_api_key	g	text	secret
sglang_attention_backend	g	text	in=triton,torch_native,flex_attention,nsa,compressed,cutlass_mla,fa3,fa4,flashinfer,flashmla,trtllm_mla,trtllm_mha,dual_chunk_flash_attn,aiter,wave,intel_amx,ascend,intel_xpu
sglang_attention_context_parallel_size	g	int	default=1
sglang_attn_cp_size	@	sglang_attention_context_parallel_size
sglang_base_gpu_id	!
sglang_bucket_e2e_request_latency	g	floats
sglang_bucket_inter_token_latency	g	floats
sglang_bucket_time_to_first_token	g	floats
sglang_chat_template	g	text
sglang_checkpoint_engine_wait_weights_before_ready	g	flag
sglang_chunked_prefill_size	g	int
sglang_collect_tokens_histogram	g	flag
sglang_completion_template	g	text
sglang_config	s	text
sglang_constrained_json_disable_any_whitespace	g	flag
sglang_constrained_json_whitespace_pattern	g	text
sglang_context_length	g	int
sglang_cpu_offload_gb	g	int	default=0
sglang_crash_dump_folder	g	text
sglang_cuda_graph_bs	g	ints
sglang_cuda_graph_max_bs	g	int
sglang_custom_sigquit_handler	g	text
sglang_custom_weight_loader	g	texts*
sglang_data_parallel_size	g	int	default=1
sglang_debug_tensor_dump_inject	g	text	default=false
sglang_debug_tensor_dump_input_file	g	text
sglang_debug_tensor_dump_layers	g	ints
sglang_debug_tensor_dump_output_folder	g	text
sglang_decode_attention_backend	g	text	in=triton,torch_native,flex_attention,nsa,compressed,cutlass_mla,fa3,fa4,flashinfer,flashmla,trtllm_mla,trtllm_mha,dual_chunk_flash_attn,aiter,wave,intel_amx,ascend,intel_xpu
sglang_decode_log_interval	g	int	default=40
sglang_decrypted_config_file	g	text
sglang_decrypted_draft_config_file	g	text
sglang_deepep_config	g	text
sglang_deepep_mode	g	text	default=auto	in=normal,low_latency,auto
sglang_delete_ckpt_after_loading	g	flag
sglang_device	g	text
sglang_disable_chunked_prefix_cache	g	flag
sglang_disable_cuda_graph	g	flag
sglang_disable_cuda_graph_padding	g	flag
sglang_disable_custom_all_reduce	g	flag
sglang_disable_fast_image_processor	g	flag
sglang_disable_flashinfer_autotune	g	flag
sglang_disable_flashinfer_cutlass_moe_fp4_allgather	g	flag
sglang_disable_hicache_numa_detect	g	flag
sglang_disable_hybrid_swa_memory	g	flag
sglang_disable_outlines_disk_cache	g	flag
sglang_disable_overlap_schedule	g	flag
sglang_disable_radix_cache	g	flag
sglang_disable_shared_experts_fusion	g	flag
sglang_disable_tokenizer_batch_decode	g	flag
sglang_disaggregation_bootstrap_port	g	int	default=8998
sglang_disaggregation_decode_dp	g	int
sglang_disaggregation_decode_enable_offload_kvcache	g	flag
sglang_disaggregation_decode_polling_interval	g	int	default=1
sglang_disaggregation_decode_tp	g	int
sglang_disaggregation_ib_device	g	text
sglang_disaggregation_mode	g	text	default=null	in=null,prefill,decode
sglang_disaggregation_prefill_pp	g	int	default=1
sglang_disaggregation_transfer_backend	g	text	default=mooncake	in=mooncake,nixl,ascend,fake,mori
sglang_dist_init_addr	!
sglang_dist_timeout	g	int
sglang_dllm_algorithm	g	text
sglang_dllm_algorithm_config	g	text
sglang_download_dir	g	text
sglang_dp_size	@	sglang_data_parallel_size
sglang_ds_channel_config_path	g	text
sglang_ds_heavy_channel_num	g	int	default=32
sglang_ds_heavy_channel_type	g	text	default=qk
sglang_ds_heavy_token_num	g	int	default=256
sglang_ds_sparse_decode_threshold	g	int	default=4096
sglang_dtype	g	text	default=auto	in=auto,half,float16,bfloat16,float,float32
sglang_dynamic_batch_tokenizer_batch_size	g	int	default=32
sglang_dynamic_batch_tokenizer_batch_timeout	g	float	default=0.002
sglang_elastic_ep_backend	g	text	in=none,mooncake
sglang_enable_aiter_allreduce_fusion	g	flag
sglang_enable_attn_tp_input_scattered	g	flag
sglang_enable_broadcast_mm_inputs_process	g	flag
sglang_enable_cache_report	g	flag
sglang_enable_cudagraph_gc	g	flag
sglang_enable_custom_logit_processor	g	flag
sglang_enable_deterministic_inference	g	flag
sglang_enable_double_sparsity	g	flag
sglang_enable_dp_attention	g	flag
sglang_enable_dp_lm_head	g	flag
sglang_enable_draft_weights_cpu_backup	g	flag
sglang_enable_dynamic_batch_tokenizer	g	flag
sglang_enable_dynamic_chunking	g	flag
sglang_enable_eplb	g	flag
sglang_enable_expert_distribution_metrics	g	flag
sglang_enable_flashinfer_allreduce_fusion	g	flag
sglang_enable_fp32_lm_head	g	flag
sglang_enable_fused_qk_norm_rope	g	flag
sglang_enable_hierarchical_cache	g	flag
sglang_enable_hisparse	g	flag
sglang_enable_layerwise_nvtx_marker	g	flag
sglang_enable_lmcache	g	flag
sglang_enable_lora	g	flag
sglang_enable_lora_overlap_loading	g	flag
sglang_enable_memory_saver	!
sglang_enable_metrics	g	flag
sglang_enable_metrics_for_all_schedulers	g	flag
sglang_enable_mixed_chunk	g	flag
sglang_enable_mm_global_cache	g	flag
sglang_enable_mscclpp	g	flag
sglang_enable_multi_layer_eagle	g	flag
sglang_enable_multimodal	g	flag
sglang_enable_nan_detection	g	flag
sglang_enable_nccl_nvls	g	flag
sglang_enable_nsa_prefill_context_parallel	g	flag
sglang_enable_p2p_check	g	flag
sglang_enable_pdmux	g	flag
sglang_enable_piecewise_cuda_graph	g	flag
sglang_enable_precise_embedding_interpolation	g	flag
sglang_enable_prefill_delayer	g	flag
sglang_enable_prefix_mm_cache	g	flag
sglang_enable_priority_scheduling	g	flag
sglang_enable_profile_cuda_graph	g	flag
sglang_enable_request_time_stats_logging	g	flag
sglang_enable_return_hidden_states	g	flag
sglang_enable_return_indexer_topk	g	flag
sglang_enable_return_routed_experts	!
sglang_enable_single_batch_overlap	g	flag
sglang_enable_symm_mem	g	flag
sglang_enable_tokenizer_batch_encode	g	flag
sglang_enable_torch_compile	g	flag
sglang_enable_torch_compile_debug_mode	g	flag
sglang_enable_torch_symm_mem	g	flag
sglang_enable_trace	g	flag
sglang_enable_two_batch_overlap	g	flag
sglang_enable_weights_cpu_backup	g	flag
sglang_encoder_only	g	flag
sglang_encoder_transfer_backend	g	text	default=zmq_to_scheduler	in=zmq_to_scheduler,zmq_to_tokenizer,mooncake
sglang_encoder_urls	g	texts
sglang_ep	@	sglang_expert_parallel_size
sglang_ep_dispatch_algorithm	g	text
sglang_ep_num_redundant_experts	g	int	default=0
sglang_ep_size	@	sglang_expert_parallel_size
sglang_eplb_algorithm	g	text	default=auto
sglang_eplb_min_rebalancing_utilization_threshold	g	float	default=1.0
sglang_eplb_rebalance_layers_per_chunk	g	int
sglang_eplb_rebalance_num_iterations	g	int	default=1000
sglang_expert_distribution_recorder_buffer_size	g	int
sglang_expert_distribution_recorder_mode	g	text
sglang_expert_parallel_size	g	int	default=1
sglang_export_metrics_to_file	g	flag
sglang_export_metrics_to_file_dir	g	text
sglang_extra_metric_labels	g	json
sglang_fastapi_root_path	g	text	default=
sglang_file_storage_path	g	text	default=sglang_storage
sglang_flashinfer_mla_disable_ragged	g	flag
sglang_flashinfer_mxfp4_moe_precision	g	text	default=default	in=default,bf16
sglang_forward_hooks	g	text
sglang_fp4_gemm_backend	g	text	default=flashinfer_cutlass	in=auto,flashinfer_cudnn,flashinfer_cutlass,flashinfer_trtllm
sglang_fp4_gemm_runner_backend	.	sglang_fp4_gemm_backend
sglang_fp8_gemm_backend	g	text	default=auto	in=auto,deep_gemm,flashinfer_trtllm,flashinfer_deepgemm,cutlass,triton,aiter
sglang_fp8_gemm_runner_backend	.	sglang_fp8_gemm_backend
sglang_gc_warning_threshold_secs	g	float	default=0.0
sglang_generation_tokens_buckets	g	texts
sglang_gpu_id_step	!
sglang_grammar_backend	g	text	in=xgrammar,outlines,llguidance,none
sglang_grpc_mode	g	flag
sglang_hf_chat_template_name	g	text
sglang_hicache_io_backend	g	text	default=kernel	in=direct,kernel,kernel_ascend
sglang_hicache_mem_layout	g	text	default=layer_first	in=layer_first,page_first,page_first_direct,page_first_kv_split,page_head
sglang_hicache_ratio	g	float	default=2.0
sglang_hicache_size	g	int	default=0
sglang_hicache_storage_backend	g	text	in=file,mooncake,hf3fs,nixl,aibrix,dynamic,eic
sglang_hicache_storage_backend_extra_config	g	text
sglang_hicache_storage_prefetch_policy	g	text	default=best_effort	in=best_effort,wait_complete,timeout
sglang_hicache_write_policy	g	text	default=write_through	in=write_back,write_through,write_through_selective
sglang_hierarchical_sparse_attention_extra_config	g	text
sglang_hisparse_config	g	text
sglang_host	g	text	default=127.0.0.1
sglang_hybrid_kvcache_ratio	g	retired
sglang_init_expert_location	g	text	default=trivial
sglang_is_embedding	g	flag
sglang_json_model_override_args	g	text	default={}
sglang_keep_mm_feature_on_device	g	flag
sglang_kt_cpuinfer	g	int
sglang_kt_enable_dynamic_expert_update	g	flag
sglang_kt_expert_lora_path	g	text
sglang_kt_expert_placement_strategy	g	text	default=uniform	in=frequency,front-loading,uniform,random
sglang_kt_gpu_experts_ratio	g	float
sglang_kt_gpu_prefill_token_threshold	g	int
sglang_kt_lora_path	g	text
sglang_kt_max_deferred_experts_per_token	g	int
sglang_kt_method	g	text	default=AMXINT4
sglang_kt_num_gpu_experts	g	int
sglang_kt_numa_nodes	g	ints
sglang_kt_threadpool_count	g	int	default=2
sglang_kt_weight_path	g	text
sglang_kv_cache_dtype	g	text	default=auto	in=auto,fp8_e5m2,fp8_e4m3,bf16,bfloat16,fp4_e2m1
sglang_kv_events_config	g	text
sglang_language_only	g	flag
sglang_limit_mm_data_per_request	g	json
sglang_linear_attn_backend	g	text	default=triton	in=triton,cutedsl
sglang_linear_attn_decode_backend	g	text	in=triton,cutedsl
sglang_linear_attn_prefill_backend	g	text	in=triton,cutedsl
sglang_load_balance_method	g	text	default=auto	in=auto,round_robin,follow_bootstrap_room,total_requests,total_tokens
sglang_load_format	g	text	default=auto	in=auto,pt,safetensors,npcache,dummy,sharded_state,gguf,bitsandbytes,layered,flash_rl,remote,remote_instance,fastsafetensors,private
sglang_log_level	g	text	default=info
sglang_log_level_http	g	text
sglang_log_requests	g	flag
sglang_log_requests_format	g	text	default=text	in=text,json
sglang_log_requests_level	g	int	default=2	in=0,1,2,3
sglang_log_requests_target	g	texts
sglang_lora_backend	g	text	default=csgmv	in=triton,csgmv,ascend,torch_native
sglang_lora_eviction_policy	g	text	default=lru	in=lru,fifo
sglang_lora_paths	g	texts*
sglang_lora_target_modules	g	texts*	in=q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj,all
sglang_mamba_backend	g	text	default=triton	in=triton,flashinfer
sglang_mamba_full_memory_ratio	g	float	default=0.9
sglang_mamba_scheduler_strategy	g	text	default=auto	in=auto,no_buffer,extra_buffer
sglang_mamba_ssm_dtype	g	text	in=float32,bfloat16,float16
sglang_mamba_track_interval	g	int	default=256
sglang_max_loaded_loras	g	int
sglang_max_lora_chunk_size	g	int	default=16	in=16,32,64,128
sglang_max_lora_rank	g	int
sglang_max_loras_per_batch	g	int	default=8
sglang_max_mamba_cache_size	g	int
sglang_max_prefill_tokens	g	int	default=16384
sglang_max_queued_requests	g	int
sglang_max_running_requests	g	int
sglang_max_total_tokens	g	int
sglang_mem_fraction_static	g	float
sglang_mm_attention_backend	g	text	in=sdpa,fa3,fa4,triton_attn,ascend_attn,aiter_attn,flashinfer_cudnn
sglang_mm_enable_dp_encoder	g	flag
sglang_mm_max_concurrent_calls	g	int	default=32
sglang_mm_per_request_timeout	g	int	default=10.0
sglang_mm_process_config	g	json
sglang_model_checksum	g	optional
sglang_model_impl	g	text	default=auto
sglang_model_loader_extra_config	g	text	default={}
sglang_model_path	!
sglang_modelopt_checkpoint_restore_path	g	text
sglang_modelopt_checkpoint_save_path	g	text
sglang_modelopt_export_path	g	text
sglang_modelopt_quant	g	text
sglang_moe_a2a_backend	g	text	default=none	in=none,deepep,mooncake,mori,ascend_fuseep,flashinfer
sglang_moe_data_parallel_size	g	int	default=1
sglang_moe_dense_tp_size	g	int
sglang_moe_dp_size	@	sglang_moe_data_parallel_size
sglang_moe_runner_backend	g	text	default=auto	in=auto,deep_gemm,triton,triton_kernel,flashinfer_trtllm,flashinfer_cutlass,flashinfer_mxfp4,flashinfer_cutedsl,cutlass
sglang_mooncake_ib_device	g	text
sglang_multi_item_scoring_delimiter	g	int
sglang_nccl_port	!
sglang_nnodes	!
sglang_node_rank	!
sglang_nsa_decode_backend	g	text	in=flashmla_sparse,flashmla_kv,flashmla_auto,fa3,tilelang,aiter,trtllm
sglang_nsa_prefill_backend	g	text	in=flashmla_sparse,flashmla_kv,flashmla_auto,fa3,tilelang,aiter,trtllm
sglang_nsa_prefill_cp_mode	g	text	default=round-robin-split	in=in-seq-split,round-robin-split
sglang_num_continuous_decode_steps	g	int	default=1
sglang_num_reserved_decode_tokens	g	int	default=512
sglang_numa_node	g	ints
sglang_offload_group_size	g	int	default=-1
sglang_offload_mode	g	text	default=cpu
sglang_offload_num_in_group	g	int	default=1
sglang_offload_prefetch_step	g	int	default=1
sglang_otlp_traces_endpoint	g	text	default=localhost:4317
sglang_page_size	g	int
sglang_pdmux_config_path	g	text
sglang_piecewise_cuda_graph_compiler	g	text	default=eager	in=eager,inductor
sglang_piecewise_cuda_graph_max_tokens	g	int
sglang_piecewise_cuda_graph_tokens	g	ints
sglang_pipeline_parallel_size	g	int	default=1
sglang_port	!
sglang_pp_async_batch_depth	g	int	default=0
sglang_pp_max_micro_batch_size	g	int
sglang_pp_size	@	sglang_pipeline_parallel_size
sglang_preferred_sampling_params	g	json
sglang_prefill_attention_backend	g	text	in=triton,torch_native,flex_attention,nsa,compressed,cutlass_mla,fa3,fa4,flashinfer,flashmla,trtllm_mla,trtllm_mha,dual_chunk_flash_attn,aiter,wave,intel_amx,ascend,intel_xpu
sglang_prefill_delayer_forward_passes_buckets	g	floats
sglang_prefill_delayer_max_delay_passes	g	int	default=30
sglang_prefill_delayer_token_usage_low_watermark	g	float
sglang_prefill_delayer_wait_seconds_buckets	g	floats
sglang_prefill_max_requests	g	int
sglang_prefill_round_robin_balance	g	retired
sglang_priority_scheduling_preemption_threshold	g	int	default=10
sglang_prompt_tokens_buckets	g	texts
sglang_quantization	g	text	in=awq,fp8,mxfp8,gptq,marlin,gptq_marlin,awq_marlin,bitsandbytes,gguf,modelopt,modelopt_fp8,modelopt_fp4,petit_nvfp4,w8a8_int8,w8a8_fp8,moe_wna16,qoq,w4afp8,mxfp4,auto-round,compressed-tensors,modelslim,quark_int4fp8_moe
sglang_quantization_param_path	g	text
sglang_quantize_and_serve	g	flag
sglang_radix_eviction_policy	g	text	default=lru	in=lru,lfu
sglang_random_seed	!
sglang_reasoning_parser	g	text
sglang_record_kt_gpu_expert_distribution	g	flag
sglang_remote_instance_weight_loader_backend	g	text	default=nccl	in=transfer_engine,nccl
sglang_remote_instance_weight_loader_seed_instance_ip	g	text
sglang_remote_instance_weight_loader_seed_instance_service_port	g	int
sglang_remote_instance_weight_loader_send_weights_group_ports	g	text
sglang_remote_instance_weight_loader_start_seed_via_transfer_engine	g	flag
sglang_revision	g	text
sglang_rl_on_policy_target	g	text	in=fsdp
sglang_rl_quant_profile	g	text
sglang_router_ip	s	text
sglang_router_port	s	int
sglang_router_request_timeout_secs	s	int	default=14400
sglang_sampling_backend	g	text	in=flashinfer,pytorch,ascend
sglang_sampling_defaults	g	text	default=model	in=openai,model
sglang_schedule_conservativeness	g	float	default=1.0
sglang_schedule_low_priority_values_first	g	flag
sglang_schedule_policy	g	text	default=fcfs	in=lpm,random,fcfs,dfs-weight,lof,priority,routing-key
sglang_scheduler_recv_interval	g	int	default=1
sglang_served_model_name	g	text
sglang_server_concurrency	s	int	default=512
sglang_show_time_cost	g	flag
sglang_skip_server_warmup	!
sglang_skip_tokenizer_init	g	flag
sglang_sleep_on_idle	g	flag
sglang_sm_group_num	g	int	default=8
sglang_soft_watchdog_timeout	g	float
sglang_speculative_accept_threshold_acc	g	float	default=1.0
sglang_speculative_accept_threshold_single	g	float	default=1.0
sglang_speculative_algorithm	g	text	in=EAGLE,EAGLE3,NEXTN,STANDALONE,NGRAM
sglang_speculative_attention_mode	g	text	default=prefill	in=prefill,decode
sglang_speculative_draft_attention_backend	g	text
sglang_speculative_draft_load_format	g	text	in=auto,pt,safetensors,npcache,dummy,sharded_state,gguf,bitsandbytes,layered,flash_rl,remote,remote_instance,fastsafetensors,private
sglang_speculative_draft_model	@	sglang_speculative_draft_model_path
sglang_speculative_draft_model_path	g	text
sglang_speculative_draft_model_quantization	g	text	in=awq,fp8,mxfp8,gptq,marlin,gptq_marlin,awq_marlin,bitsandbytes,gguf,modelopt,modelopt_fp8,modelopt_fp4,petit_nvfp4,w8a8_int8,w8a8_fp8,moe_wna16,qoq,w4afp8,mxfp4,auto-round,compressed-tensors,modelslim,quark_int4fp8_moe,unquant
sglang_speculative_draft_model_revision	g	text
sglang_speculative_eagle_topk	g	int
sglang_speculative_moe_a2a_backend	g	text	in=none,deepep,mooncake,mori,ascend_fuseep,flashinfer
sglang_speculative_moe_runner_backend	g	text	in=auto,deep_gemm,triton,triton_kernel,flashinfer_trtllm,flashinfer_cutlass,flashinfer_mxfp4,flashinfer_cutedsl,cutlass
sglang_speculative_ngram_branch_length	g	int	default=18
sglang_speculative_ngram_capacity	g	int	default=10000000
sglang_speculative_ngram_match_type	g	text	default=BFS	in=BFS,PROB
sglang_speculative_ngram_max_bfs_breadth	g	int	default=10
sglang_speculative_ngram_max_match_window_size	g	int	default=12
sglang_speculative_ngram_min_bfs_breadth	g	int	default=1
sglang_speculative_ngram_min_match_window_size	g	int	default=1
sglang_speculative_num_draft_tokens	g	int
sglang_speculative_num_steps	g	int
sglang_speculative_token_map	g	text
sglang_stream_interval	g	int	default=1
sglang_stream_output	g	flag
sglang_swa_full_tokens_ratio	g	float	default=0.8
sglang_tbo_token_distribution_threshold	g	float	default=0.48
sglang_tensor_parallel_size	g	int	default=1
sglang_tokenizer_metrics_allowed_custom_labels	g	texts
sglang_tokenizer_metrics_custom_labels_header	g	text	default=x-custom-labels
sglang_tokenizer_mode	g	text	default=auto	in=auto,slow
sglang_tokenizer_path	g	text
sglang_tokenizer_worker_num	g	int	default=1
sglang_tool_call_parser	g	text
sglang_tool_server	g	text
sglang_torch_compile_max_bs	g	int	default=32
sglang_torchao_config	g	text	default=
sglang_tp_size	!
sglang_triton_attention_num_kv_splits	g	int	default=8
sglang_triton_attention_reduce_in_fp32	g	flag
sglang_triton_attention_split_tile_size	g	int
sglang_trust_remote_code	!
sglang_uvicorn_access_log_exclude_prefixes	g	texts*
sglang_warmups	g	text
sglang_watchdog_timeout	g	float	default=300
sglang_weight_loader_disable_mmap	g	flag
sglang_weight_version	g	text	default=default
sharp_enabled_group	m	text	in=dp,dp_replica
short_seq_prob	m	float	default=0.1
skip_eval_before_train	s	flag
skip_train	m	flag
softmax_type	m	text	default=vanilla	in=vanilla,off-by-one,learnable
spec	m	texts*
split	m	text
squared_relu	m	flag
start_rollout_id	s	int
start_weight_decay	m	float
straggler_ctrlr_port	m	int	default=65535
straggler_minmax_count	m	int	default=1
strict_fsdp_dtensor_load	.	disable_strict_fsdp_dtensor_load
suggested_communication_unit_size	m	int
swiglu	m	flag
swin_backbone_type	m	text	default=tiny	in=tiny,base,h3
symmetric_ar_type	m	text	in=two_shot,one_shot,multimem_all_reduce
tb_experiment_name	s	text
tb_project_name	s	text
te_precision_config_file	m	text
te_rng_tracker	m	flag
tensor_model_parallel_size	m	int	default=1
tensorboard_dir	m	text
tensorboard_log_interval	m	int	default=1
tensorboard_queue_size	m	int	default=1000
test_data_path	m	texts*
test_mode	m	flag
tiktoken_num_special_tokens	m	int	default=1000
tiktoken_pattern	m	text
tiktoken_special_tokens	m	texts
timing_log_level	m	int	default=0	in=0,1,2
timing_log_option	m	text	default=minmax	in=max,minmax,all
tis_clip	s	float	default=2.0
tis_clip_low	s	float	default=0
titles_data_path	m	text
tokenizer_hf_include_special_tokens	m	flag
tokenizer_hf_use_fast	m	flag
tokenizer_metadata	m	text
tokenizer_model	m	text
tokenizer_sentencepiece_legacy	m	flag
tokenizer_special_tokens	m	texts
tokenizer_type	m	text	in=BertWordPieceLowerCase,BertWordPieceCase,GPT2BPETokenizer,SentencePieceTokenizer,GPTSentencePieceTokenizer,HuggingFaceTokenizer,Llama2Tokenizer,TikTokenizer,MultimodalTokenizer,NullTokenizer,NullMultimodalTokenizer,SFTTokenizer
tool_key	s	text	default=tools
torch_fsdp2_no_reshard_after_forward	m	flag
torch_fsdp2_reshard_after_forward	.	torch_fsdp2_no_reshard_after_forward
tp_comm_bootstrap_backend	m	text	default=nccl	in=nccl,mpi,gloo
tp_comm_bulk_dgrad	.	disable_tp_comm_bulk_dgrad
tp_comm_bulk_wgrad	.	disable_tp_comm_bulk_wgrad
tp_comm_overlap	m	flag
tp_comm_overlap_ag	.	disable_tp_comm_overlap_ag
tp_comm_overlap_cfg	m	text
tp_comm_overlap_rs	.	disable_tp_comm_overlap_rs
tp_comm_overlap_rs_dgrad	m	flag
tp_comm_split_ag	.	disable_tp_comm_split_ag
tp_comm_split_rs	.	disable_tp_comm_split_rs
train_backend	s	text	default=megatron	in=megatron
train_data_path	m	texts*
train_env_vars	s	json
train_iters	m	int
train_samples	m	int
train_sync_interval	m	int
transformer_impl	m	text	default=transformer_engine	in=local,transformer_engine,inference_optimized
trust_remote_code	m	flag
untie_embeddings_and_output_weights	m	flag
update_weight_buffer_size	s	int	default=536870912
update_weight_delta_checksum	s	text	default=xxh3-128	in=xxh3-128,blake3,adler32
update_weight_delta_encoding	s	text	default=xor	in=xor,overwrite
update_weight_disk_dir	s	text
update_weight_disk_keep_files	s	flag
update_weight_local_checkpoint_dir	s	text
update_weight_mode	s	text	default=full	in=full,delta
update_weight_transport	s	text	default=nccl	in=nccl,disk
update_weights_interval	s	int	default=1
use_checkpoint_args	m	flag
use_checkpoint_opt_param_scheduler	m	flag
use_cpu_initialization	m	flag
use_dist_ckpt	m	flag
use_dist_ckpt_deprecated	.	use_dist_ckpt
use_distributed_optimizer	m	flag
use_distributed_post	s	flag
use_dynamic_batch_size	s	flag
use_fault_tolerance	s	flag
use_flash_attn	m	flag
use_fused_weighted_squared_relu	m	flag
use_gated_attention	m	flag
use_kitchen_attention	m	flag
use_kl_loss	s	flag
use_legacy_models	m	flag
use_legacy_static_engine	m	flag
use_mamba_mem_eff_path	.	disable_mamba_mem_eff_path
use_mcore_models	m	flag
use_megatron_fsdp	m	flag
use_mp_args_from_checkpoint_args	m	flag
use_nccl_ub	m	flag
use_one_sent_docs	m	flag
use_opd	s	flag
use_opsm	s	flag
use_persistent_ckpt_worker	m	flag
use_precision_aware_optimizer	m	flag
use_pytorch_profiler	m	flag
use_ring_exchange_p2p	m	flag
use_rollout_entropy	s	flag
use_rollout_logprobs	s	flag
use_rollout_routing_replay	s	flag
use_rope_scaling	m	flag
use_rotary_position_embeddings	m	flag
use_routing_replay	s	flag
use_sharp	m	flag
use_stateless_adam	s	flag
use_te_activation_func	m	flag
use_tensorboard	s	flag
use_tis	s	flag
use_tokenizer_model_from_checkpoint_args	.	disable_use_tokenizer_model_from_checkpoint_args
use_torch_fsdp2	m	flag
use_torch_optimizer_for_cpu_offload	m	flag
use_tp_pp_dp_mapping	m	flag
use_unbiased_kl	s	flag
use_wandb	s	flag
v_head_dim	m	int	default=128
valid_data_path	m	texts*
value_clip	s	float	default=0.2
vision_backbone_type	m	text	default=vit	in=vit,mit,swin
vision_pretraining	m	flag
vision_pretraining_type	m	text	default=classify	in=classify,inpaint,dino
vocab_extra_ids	m	int	default=0
vocab_file	m	text
vocab_size	m	int
wandb_always_use_train_step	s	flag
wandb_dir	s	text
wandb_entity	m	text
wandb_exp_name	m	text
wandb_group	s	text
wandb_host	s	text	url
wandb_key	s	text	secret
wandb_mode	s	text	in=online,offline,disabled
wandb_project	s	text
wandb_random_suffix	.	disable_wandb_random_suffix
wandb_run_id	s	text
wandb_save_dir	m	text
wandb_team	s	text
warmup	m	int
weight_decay	m	float	default=0.01
weight_decay_incr_style	m	text	default=constant	in=constant,linear,cosine
wgrad_deferral_limit	m	int	default=0
window_attn_skip_freq	m	freq
window_size	m	tuple
worker_urls	r	texts*
yaml_cfg	m	text
`
