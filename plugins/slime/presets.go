package main

import "strings"

// presets are the architectures of models that slime is launched with, as
// Megatron's flags. A preset that begins with @NAME is that one and more.
// In a pattern of layers, [0x1,1x60] stands for one 0 and sixty 1.
var presets = []struct{ name, flags string }{
	{"qwen2.5-0.5B", `add_qkv_bias disable_bias_linear ffn_hidden_size=4864 group_query_attention hidden_size=896
		norm_epsilon=1e-6 normalization=RMSNorm num_attention_heads=14 num_layers=24 num_query_groups=2
		rotary_base=1000000 swiglu use_rotary_position_embeddings vocab_size=151936`},
	{"qwen2.5-3B", `@qwen2.5-0.5B ffn_hidden_size=11008 hidden_size=2048 num_attention_heads=16 num_layers=36`},
	{"qwen3-4B", `disable_bias_linear ffn_hidden_size=9728 group_query_attention hidden_size=2560 kv_channels=128
		norm_epsilon=1e-6 normalization=RMSNorm num_attention_heads=32 num_layers=36 num_query_groups=8
		qk_layernorm rotary_base=1000000 swiglu use_rotary_position_embeddings vocab_size=151936`},
	{"qwen3-4B-instruct-2507", `@qwen3-4B rotary_base=5000000`},
	{"qwen3-8B", `@qwen3-4B ffn_hidden_size=12288 hidden_size=4096 untie_embeddings_and_output_weights`},
	{"qwen3-30B-A3B", `disable_bias_linear ffn_hidden_size=6144 group_query_attention hidden_size=2048 kv_channels=128
		moe_aux_loss_coeff=0 moe_ffn_hidden_size=768 moe_grouped_gemm moe_layer_freq=[1x48]
		moe_permute_fusion moe_router_dtype=fp32 moe_router_score_function=softmax moe_router_topk=8
		moe_token_dispatcher_type=alltoall moe_token_drop_policy=probs norm_epsilon=1e-6
		normalization=RMSNorm num_attention_heads=32 num_experts=128 num_layers=48 num_query_groups=4
		position_embedding_type=rope qk_layernorm rotary_base=1000000 rotary_percent=1.0 swiglu
		untie_embeddings_and_output_weights vocab_size=151936`},
	{"qwen3-235B-A22B", `@qwen3-30B-A3B ffn_hidden_size=12288 hidden_size=4096 moe_ffn_hidden_size=1536 moe_layer_freq=[1x94]
		num_attention_heads=64 num_layers=94`},
	{"qwen3.5-0.8B", `apply_layernorm_1p attention_output_gate disable_bias_linear ffn_hidden_size=3584
		group_query_attention hidden_size=1024 kv_channels=256 norm_epsilon=1e-6 normalization=RMSNorm
		num_attention_heads=8 num_layers=24 num_query_groups=2 position_embedding_type=rope qk_layernorm
		rotary_base=10000000 rotary_percent=0.25 spec=slime_plugins.models.qwen3_5,get_qwen3_5_spec swiglu
		use_gated_attention vocab_size=248320`},
	{"qwen3.5-9B", `@qwen3.5-0.8B ffn_hidden_size=12288 hidden_size=4096 num_attention_heads=16 num_layers=32
		num_query_groups=4 untie_embeddings_and_output_weights`},
	{"qwen3.5-27B", `@qwen3.5-9B ffn_hidden_size=17408 hidden_size=5120 num_attention_heads=24 num_layers=64`},
	{"glm4-9B", `add_qkv_bias disable_bias_linear ffn_hidden_size=13696 group_query_attention hidden_size=4096
		no_rope_fusion norm_epsilon=1e-5 normalization=RMSNorm num_attention_heads=32 num_layers=40
		num_query_groups=2 post_mlp_layernorm post_self_attn_layernorm rotary_base=10000 rotary_interleaved
		rotary_percent=0.5 spec=slime_plugins.models.glm4,get_glm_spec swiglu
		untie_embeddings_and_output_weights use_rotary_position_embeddings vocab_size=151552`},
	{"glm4.7-30B-A3B", `add_qkv_bias disable_bias_linear ffn_hidden_size=10240 hidden_size=2048 kv_channels=192
		kv_lora_rank=512 make_vocab_size_divisible_by=64 moe_aux_loss_coeff=0 moe_ffn_hidden_size=1536
		moe_grouped_gemm moe_layer_freq=[0]*1+[1]*46 moe_permute_fusion moe_router_bias_update_rate=0
		moe_router_dtype=fp32 moe_router_enable_expert_bias moe_router_load_balancing_type=seq_aux_loss
		moe_router_pre_softmax moe_router_score_function=sigmoid moe_router_topk=4
		moe_router_topk_scaling_factor=1.8 moe_shared_expert_intermediate_size=1536 multi_latent_attention
		no_position_embedding no_rope_fusion normalization=RMSNorm num_attention_heads=20 num_experts=64
		num_layers=47 position_embedding_type=rope q_lora_rank=768 qk_head_dim=192 qk_layernorm
		qk_pos_emb_head_dim=64 rotary_base=1000000 swiglu untie_embeddings_and_output_weights v_head_dim=256
		vocab_size=154880`},
	{"glm5-744B-A40B", `allgather_cp disable_bias_linear enable_experimental ffn_hidden_size=12288 hidden_size=6144
		kv_channels=192 kv_lora_rank=512 make_vocab_size_divisible_by=16 moe_aux_loss_coeff=0
		moe_ffn_hidden_size=2048 moe_grouped_gemm moe_layer_freq=[0]*3+[1]*75 moe_permute_fusion
		moe_router_bias_update_rate=0 moe_router_dtype=fp32 moe_router_enable_expert_bias
		moe_router_load_balancing_type=seq_aux_loss moe_router_pre_softmax moe_router_score_function=sigmoid
		moe_router_topk=8 moe_router_topk_scaling_factor=2.5 moe_shared_expert_intermediate_size=2048
		multi_latent_attention no_position_embedding normalization=RMSNorm num_attention_heads=64
		num_experts=256 num_layers=78 position_embedding_type=rope q_lora_rank=2048 qk_head_dim=192
		qk_layernorm qk_pos_emb_head_dim=64 rotary_base=1000000
		spec=slime_plugins.models.glm5.glm5,get_glm5_spec swiglu untie_embeddings_and_output_weights
		v_head_dim=256 vocab_size=154880`},
	{"kimi-k2", `attention_softmax_in_fp32 disable_bias_linear ffn_hidden_size=18432 hidden_size=7168 kv_channels=64
		kv_lora_rank=512 moe_aux_loss_coeff=0 moe_ffn_hidden_size=2048 moe_grouped_gemm
		moe_layer_freq=[0x1,1x60] moe_permute_fusion moe_router_bias_update_rate=0 moe_router_dtype=fp32
		moe_router_enable_expert_bias moe_router_group_topk=1 moe_router_load_balancing_type=seq_aux_loss
		moe_router_num_groups=1 moe_router_pre_softmax moe_router_score_function=sigmoid moe_router_topk=8
		moe_router_topk_scaling_factor=2.827 moe_shared_expert_intermediate_size=2048
		moe_token_dispatcher_type=alltoall mscale=1.0 mscale_all_dim=1.0 multi_latent_attention
		no_rope_fusion norm_epsilon=1e-6 normalization=RMSNorm num_attention_heads=64 num_experts=384
		num_layers=61 position_embedding_type=rope q_lora_rank=1536 qk_head_dim=128 qk_layernorm
		qk_pos_emb_head_dim=64 rotary_base=50000 rotary_scaling_factor=32.0 swiglu
		untie_embeddings_and_output_weights v_head_dim=128 vocab_size=163840`},
	{"kimi-k2-thinking", `@kimi-k2 norm_epsilon=1e-5 rotary_scaling_factor=64.0`},
	{"moonlight-16B-A3B", `attention_softmax_in_fp32 disable_bias_linear ffn_hidden_size=11264 hidden_size=2048 kv_channels=128
		kv_lora_rank=512 moe_aux_loss_coeff=0 moe_ffn_hidden_size=1408 moe_grouped_gemm
		moe_layer_freq=[0x1,1x26] moe_permute_fusion moe_router_bias_update_rate=0 moe_router_dtype=fp32
		moe_router_enable_expert_bias moe_router_group_topk=1 moe_router_load_balancing_type=seq_aux_loss
		moe_router_num_groups=1 moe_router_pre_softmax moe_router_score_function=sigmoid moe_router_topk=6
		moe_router_topk_scaling_factor=2.446 moe_shared_expert_intermediate_size=2816
		moe_token_dispatcher_type=alltoall moe_token_drop_policy=probs mscale=1.0 mscale_all_dim=1.0
		multi_latent_attention no_masked_softmax_fusion no_rope_fusion norm_epsilon=1e-5
		normalization=RMSNorm num_attention_heads=16 num_experts=64 num_layers=27
		position_embedding_type=rope qk_head_dim=128 qk_layernorm qk_pos_emb_head_dim=64 rotary_base=50000
		rotary_percent=1.0 rotary_scaling_factor=1 swiglu untie_embeddings_and_output_weights v_head_dim=128
		vocab_size=163840`},
	{"minimax-m2", `attention_softmax_in_fp32 disable_bias_linear ffn_hidden_size=1536 group_query_attention
		hidden_size=3072 kv_channels=128 moe_aux_loss_coeff=0 moe_ffn_hidden_size=1536 moe_grouped_gemm
		moe_layer_freq=[1]*62 moe_permute_fusion moe_router_dtype=fp32 moe_router_enable_expert_bias
		moe_router_load_balancing_type=none moe_router_pre_softmax moe_router_score_function=sigmoid
		moe_router_topk=8 moe_token_dispatcher_type=alltoall no_rope_fusion norm_epsilon=1e-6
		normalization=RMSNorm num_attention_heads=48 num_experts=256 num_layers=62 num_query_groups=8
		position_embedding_type=rope qk_layernorm rotary_base=5000000 rotary_percent=0.5
		spec=slime_plugins.models.minimax_m2,get_minimax_m2_layer_spec swiglu
		untie_embeddings_and_output_weights vocab_size=200064`},
}

// preset calls set for each flag of a preset with its value in the spelling
// of a command line; what is set later replaces what was set before. It
// reports whether there is a preset of that name.
func preset(name string, set func(f *flag, value string)) bool {
	for _, p := range presets {
		if p.name != name {
			continue
		}
		for token := range strings.FieldsSeq(p.flags) {
			if base, ok := strings.CutPrefix(token, "@"); ok {
				preset(base, set)
				continue
			}
			flagName, value, _ := strings.Cut(token, "=")
			set(flagNamed(flagName), value)
		}
		return true
	}
	return false
}

func presetNames() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// layers writes [0x1,1x60] out.
func layers(pattern string) string {
	if !strings.Contains(pattern, "x") {
		return pattern
	}
	var out strings.Builder
	out.WriteByte('[')
	for run := range strings.SplitSeq(strings.Trim(pattern, "[]"), ",") {
		value, times, _ := strings.Cut(run, "x")
		n := 0
		for _, c := range []byte(times) {
			n = n*10 + int(c-'0')
		}
		for range n {
			if out.Len() > 1 {
				out.WriteByte(',')
			}
			out.WriteString(value)
		}
	}
	out.WriteByte(']')
	return out.String()
}
