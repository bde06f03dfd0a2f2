package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"carl.camp/carl/host/yamltree"
	"carl.camp/carl/sdk/translator"
)

// base is a config that verl takes without a warning.
const base = `
model: {hf: /m}
data: {prompts: /d.parquet, input: prompt, max_prompt: 1024}
algorithm: {name: grpo}
rollout: {count: 100, prompts: 32, samples_per_prompt: 8, max_response: 4096}
training: {train_batch: 128 samples, tokens_per_gpu: 8192, optimizer: {lr: 1e-6}}
resources: {nodes: 1, gpus_per_node: 8, mode: colocated}
`

// toJSON is the config as carl hands it over.
func toJSON(t *testing.T, text string) string {
	t.Helper()
	root, err := yamltree.Parse([]byte(text), "config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(root.AppendJSON(nil))
}

// with is the base with other lines in it. A line `a.b: value` sets a member, and
// one without a value takes it out.
func with(t *testing.T, lines string) string {
	t.Helper()
	config := parsed(t, toJSON(t, base))
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		path, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		path = strings.TrimSuffix(path, ":")
		names := strings.Split(path, ".")
		at := config
		for _, name := range names[:len(names)-1] {
			next, ok := at[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[name] = next
			}
			at = next
		}
		if last := names[len(names)-1]; value == "" {
			delete(at, last)
		} else {
			at[last] = parsed(t, toJSON(t, "v: "+value))["v"]
		}
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// accepted translates a config that must be taken, and holds what is made
// against the schema.
func accepted(t *testing.T, config string) translator.Translation {
	t.Helper()
	made, refused := verl{}.Translate(config)
	if len(refused) > 0 {
		t.Fatalf("refused: %+v", refused)
	}
	if err := validate(t, argsSchema(), made.Args); err != nil {
		t.Fatalf("%v\nin %s", err, made.Args)
	}
	return made
}

func validate(t *testing.T, schema, text string) error {
	t.Helper()
	if compiled[schema] == nil {
		compiled[schema] = compile(t, schema)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return compiled[schema].Validate(value)
}

var compiled = map[string]*jsonschema.Schema{}

func compile(t *testing.T, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func placesOf(list []translator.Diagnostic) []string {
	var out []string
	for _, d := range list {
		out = append(out, d.Path)
	}
	return out
}

// slimeReadme is where the config is described that both translators take.
const slimeReadme = "../../plugins/slime/README.md"

// example is the first config of slime's README, without its backend: carl
// takes that out when another is named.
func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(slimeReadme)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	config, _, ok := strings.Cut(rest, "```")
	config, named := strings.CutPrefix(config, "backend: slime\n")
	if !ok || !named {
		t.Fatal("slime's README does not begin with a config of slime")
	}
	return config
}

const exampleOverrides = `actor_rollout_ref.model.path=/root/Qwen3-4B
trainer.resume_mode=auto
data.train_files=/root/dapo-math-17k/dapo-math-17k.jsonl
data.val_files=[/root/aime-2024/aime-2024.jsonl]
data.prompt_key=prompt
data.shuffle=true
reward_manager.name=naive
algorithm.adv_estimator=grpo
actor_rollout_ref.actor.policy_loss.loss_mode=vanilla
actor_rollout_ref.actor.use_kl_loss=true
algorithm.use_kl_in_reward=false
actor_rollout_ref.actor.kl_loss_coef=0.00
actor_rollout_ref.actor.kl_loss_type=low_var_kl
actor_rollout_ref.actor.clip_ratio_low=0.2
actor_rollout_ref.actor.clip_ratio_high=0.28
actor_rollout_ref.actor.clip_ratio_c=1e9
actor_rollout_ref.actor.entropy_coeff=0.00
actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean
trainer.total_training_steps=3000
trainer.total_epochs=3000
data.train_batch_size=32
actor_rollout_ref.rollout.n=8
data.max_response_length=8192
actor_rollout_ref.rollout.temperature=1
actor_rollout_ref.rollout.name=sglang
actor_rollout_ref.rollout.tensor_model_parallel_size=2
actor_rollout_ref.rollout.gpu_memory_utilization=0.7
actor_rollout_ref.actor.ppo_mini_batch_size=32
actor_rollout_ref.actor.use_dynamic_bsz=true
actor_rollout_ref.actor.ppo_max_token_len_per_gpu=9216
trainer.balance_batch=true
actor_rollout_ref.actor.optim.lr=1e-6
actor_rollout_ref.actor.optim.weight_decay=0.1
actor_rollout_ref.actor.optim.betas=[0.9,0.98]
actor_rollout_ref.model.enable_gradient_checkpointing=true
trainer.nnodes=1
trainer.n_gpus_per_node=8
trainer.test_freq=20
actor_rollout_ref.rollout.val_kwargs.n=16
actor_rollout_ref.rollout.val_kwargs.do_sample=true
actor_rollout_ref.rollout.val_kwargs.temperature=1
actor_rollout_ref.rollout.val_kwargs.top_p=1
trainer.default_local_dir=/root/Qwen3-4B_slime/
trainer.save_freq=20
trainer.logger=[console]
`

// The config that slime's README begins with becomes these overrides, all of
// them, in this order. 256 samples of 8 a prompt are 32 prompts.
func TestExample(t *testing.T) {
	made := accepted(t, toJSON(t, example(t)))
	if got := strings.Join(made.Argv, "\n") + "\n"; got != exampleOverrides {
		t.Errorf("the overrides are\n%s", got)
	}
	if made.Entrypoint != "verl/trainer/main_ppo.py" {
		t.Errorf("the entrypoint is %q", made.Entrypoint)
	}
	want := []string{"/data/prompts", "/eval/data/aime", "/data", "/reward/builtin", "/model/reference", "/data/label", "/training/parallel/tensor", "/eval/max_response"}
	if got := placesOf(made.Warnings); !slices.Equal(got, want) {
		t.Errorf("warnings at %q\n want at %q", got, want)
	}
	args := parsed(t, made.Args)
	if args["overrides"].(map[string]any)["data.train_batch_size"] != json.Number("32") || args["entrypoint"] != made.Entrypoint {
		t.Errorf("the arguments are %s", made.Args)
	}
}

// Each case changes the base, and names the overrides that then are there, and
// with a minus those that are not.
func TestOverrides(t *testing.T) {
	if w := accepted(t, toJSON(t, base)).Warnings; len(w) > 0 {
		t.Fatalf("the base has warnings: %+v", w)
	}
	a, r := actor, rollout
	for _, c := range []struct {
		name, change string
		want         []string
	}{
		{"samples are prompts in verl", "training.train_batch: 256 samples", []string{a + "ppo_mini_batch_size=32"}},
		{"steps are prompts in verl", "training.train_batch: 4 steps", []string{a + "ppo_mini_batch_size=8"}},
		{"a step", "training.train_batch: 1 step", []string{a + "ppo_mini_batch_size=32"}},
		{"no distance", "model.name: x", []string{"-" + a + "use_kl_loss=", "-algorithm.use_kl_in_reward="}},
		{"distance in the reward", "algorithm.kl: {where: reward, coef: 0.01, type: k2}", []string{
			"algorithm.use_kl_in_reward=true", "algorithm.kl_ctrl.kl_coef=0.01", "algorithm.kl_penalty=k2",
			a + "use_kl_loss=false", "-" + a + "kl_loss_coef=", "-" + a + "kl_loss_type="}},
		{"distance in the loss, and what slime takes for its type", "algorithm.kl: {where: loss, coef: 0.001}", []string{
			a + "use_kl_loss=true", a + "kl_loss_coef=0.001", a + "kl_loss_type=k1", "algorithm.use_kl_in_reward=false", "-algorithm.kl_ctrl.kl_coef="}},
		{"one clip is both", "algorithm.clip: 0.25", []string{a + "clip_ratio_low=0.25", a + "clip_ratio_high=0.25", a + "clip_ratio_c=1e9"}},
		{"three clips", "algorithm.clip: {low: 0.2, high: 0.3, dual: 3.5}", []string{a + "clip_ratio_low=0.2", a + "clip_ratio_high=0.3", a + "clip_ratio_c=3.5"}},
		{"the mean over tokens", "algorithm.per_token_loss: true", []string{a + "loss_agg_mode=token-mean"}},
		{"an algorithm alone", "algorithm: gspo", []string{"algorithm.adv_estimator=grpo", a + "policy_loss.loss_mode=gspo"}},
		{"cispo", "algorithm: {name: cispo, std_normalization: false}", []string{a + "policy_loss.loss_mode=cispo", "algorithm.norm_adv_by_std_in_grpo=false"}},
		{"ppo has a critic", "algorithm: {name: ppo, lambda: 0.95, critic: {warmup: 5}}", []string{"algorithm.adv_estimator=gae", "algorithm.lam=0.95",
			"critic.model.path=/m", "critic.optim.lr=1e-6", "critic.ppo_max_token_len_per_gpu=8192", "critic.cliprange_value=0.2", "trainer.critic_warmup=5"}},
		{"the architecture is the model's own", "model.architecture: qwen3-4B", []string{"-architecture"}},
		{"the learning rate's schedule by its name", "training.optimizer: {lr: 2e-6, schedule: cosine, warmup: 0.1, eps: 1e-7, clip_grad: 0.5}", []string{
			a + "optim.lr=2e-6", a + "optim.lr_scheduler_type=cosine", a + "optim.lr_warmup_steps_ratio=0.1",
			"++" + a + "optim.override_optimizer_config.eps=1e-7", a + "grad_clip=0.5", a + "optim.clip_grad=0.5"}},
		{"what all launches of slime pass", "model.name: x", []string{a + "optim.weight_decay=0.1", a + "optim.betas=[0.9,0.98]"}},
		{"which the word default leaves to verl", "training.optimizer: {weight_decay: default, betas: default}", []string{"-" + a + "optim."}},
		{"micro-batches by count", "training.tokens_per_gpu:\ntraining.micro_batch: 2", []string{a + "ppo_micro_batch_size_per_gpu=2",
			ref + "log_prob_micro_batch_size_per_gpu=2", r + "log_prob_micro_batch_size_per_gpu=2", "-" + a + "use_dynamic_bsz=", "-critic."}},
		{"micro-batches of one", "training.tokens_per_gpu:", []string{a + "ppo_micro_batch_size_per_gpu=1"}},
		{"micro-batches by tokens", "training.logprob_tokens_per_gpu: 16384", []string{a + "use_dynamic_bsz=true", a + "ppo_max_token_len_per_gpu=8192",
			ref + "log_prob_max_token_len_per_gpu=16384", "-" + a + "ppo_micro_batch_size_per_gpu="}},
		{"nothing is evaluated", "model.name: x", []string{"data.val_files=/d.parquet", "trainer.val_before_train=false", "-trainer.test_freq=", "-" + r + "val_kwargs."}},
		{"evaluation samples as the rollout does", "eval: {every: 5, data: {a: /a.parquet, b: /b c.parquet}, skip_first: true}\nrollout.top_p: 0.9", []string{
			"data.val_files=[/a.parquet,'/b c.parquet']", "trainer.test_freq=5", "trainer.val_before_train=false",
			r + "val_kwargs.do_sample=true", r + "val_kwargs.temperature=1.0", r + "val_kwargs.top_p=0.9"}},
		{"a greedy evaluation", "eval: {every: 5, data: {a: /a.parquet}, temperature: 0}", []string{r + "val_kwargs.do_sample=false", r + "val_kwargs.temperature=0"}},
		{"by epochs", "rollout.count:\nrollout.epochs: 3", []string{"trainer.total_epochs=3", "-trainer.total_training_steps="}},
		{"rollouts outlast verl's 30 epochs", "rollout.count: 500", []string{"trainer.total_training_steps=500", "trainer.total_epochs=500"}},
		{"the order of the data is slime's", "model.name: x", []string{"data.shuffle=false"}},
		{"the prompt's member is slime's", "data.input:", []string{"data.prompt_key=input"}},
		{"long prompts are left out", "data.max_prompt: 2000", []string{"data.max_prompt_length=2000", "data.filter_overlong_prompts=true"}},
		{"keyword arguments of the template", "data.chat_template: {enable_thinking: false, effort: very high}", []string{
			"++data.apply_chat_template_kwargs={effort:'very high',enable_thinking:false}"}},
		{"the template is on", "data.chat_template: true", []string{"-data.apply_chat_template_kwargs"}},
		{"a reward alone", "reward: dapo", []string{"reward_manager.name=dapo"}},
		{"a function", "reward.python: my_pkg.rewards.score", []string{"custom_reward_function.path='pkg://my_pkg.rewards'", "custom_reward_function.name=score"}},
		{"figures to the console", "model.name: x", []string{"trainer.logger=[console]"}},
		{"figures to an account", "logging: {wandb: {project: my project, group: qwen3}, tensorboard: true}", []string{
			"trainer.logger=[console,wandb,tensorboard]", "trainer.project_name='my project'", "trainer.experiment_name=qwen3"}},
		{"figures to no account", "logging.wandb: false", []string{"trainer.logger=[console]"}},
		{"engines", "rollout.engine: {gpus: 4, memory: 0.6, max_requests: 64}", []string{r + "tensor_model_parallel_size=4", r + "gpu_memory_utilization=0.6", r + "max_num_seqs=64"}},
		{"an engine has a GPU", "model.name: x", []string{r + "tensor_model_parallel_size=1", r + "name=sglang"}},
		{"sampling", "rollout.temperature: 0.8\nrollout.top_p: 0.95\nrollout.top_k: -1\nrollout.max_context: 6000", []string{
			r + "temperature=0.8", r + "top_p=0.95", r + "top_k=-1", r + "max_model_len=6000"}},
		{"what is offloaded", "resources.offload: true", []string{a + "fsdp_config.param_offload=true", ref + "fsdp_config.param_offload=true", r + "free_cache_engine=true"}},
		{"each side of it", "resources.offload: {rollout: false}", []string{r + "free_cache_engine=false", "-" + a + "fsdp_config.param_offload="}},
		{"half precision", "training.precision: fp16", []string{a + "fsdp_config.dtype=float16", r + "dtype=float16"}},
		{"going on", "model.load: /run\ncheckpoint: {save: /run/, every: 10}", []string{"trainer.resume_mode=auto", "trainer.default_local_dir=/run/", "trainer.save_freq=10"}},
		{"more nodes", "resources.nodes: 4\nrollout.prompts: 64\ntraining.train_batch: 512 samples", []string{"trainer.nnodes=4", "trainer.n_gpus_per_node=8", a + "ppo_mini_batch_size=64"}},
		{"anything else", `extra.verl: {trainer.log_val_generations: 5, +reward_model.x: [a, "b c", 1], trainer.default_hdfs_dir: null}`, []string{
			"trainer.log_val_generations=5", "+reward_model.x=[a,'b c',1]", "trainer.default_hdfs_dir=null"}},
		{"instead of what is not said", "extra.verl: {actor_rollout_ref.rollout.name: vllm, data.val_files: /v.parquet}", []string{r + "name=vllm", "data.val_files=/v.parquet", "-" + r + "name=sglang"}},
		{"slime's name of the program", "entrypoint: train.py\nbackend: acme.dev/verl", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			made := accepted(t, with(t, c.change))
			for _, want := range c.want {
				absent, isAbsent := strings.CutPrefix(want, "-")
				found := slices.ContainsFunc(made.Argv, func(arg string) bool {
					return arg == want || isAbsent && strings.HasPrefix(arg, absent)
				})
				if found == isAbsent {
					t.Errorf("%s: the overrides are\n%s", want, strings.Join(made.Argv, "\n"))
				}
			}
		})
	}
}

// Each case is refused, for that reason and no other.
func TestRefusals(t *testing.T) {
	for _, c := range []struct{ change, at, says string }{
		{"training.train_batch: 100 samples", "/training/train_batch", "no whole number of prompts"},
		{"training.train_batch: 120 samples", "/training/train_batch", "do not divide into steps of 15"},
		{"training.train_batch: 5 steps", "/training/train_batch", "32 prompts do not divide into 5 steps"},
		{"training.train_batch: 128", "/training/train_batch", "expected N samples or N steps"},
		{"training.train_batch: 0 samples", "/training/train_batch", "expected N samples or N steps"},
		{"training.train_batch:", "/training/train_batch", "missing"},
		{"training.train_batch: default", "/training/train_batch", "missing"},
		{"rollout.prompts: 3\ntraining.train_batch: 24 samples\nresources.gpus_per_node: 5", "/training/train_batch", "24 samples do not divide among 5 ranks"},
		{"training.tokens_per_gpu:\ntraining.micro_batch: 3", "/training/train_batch", "micro-batches of 3"},
		{"training.micro_batch: 2", "/training/micro_batch", "training.tokens_per_gpu makes"},
		{"training.tokens_per_gpu: 5000", "/training/tokens_per_gpu", "5120 tokens"},
		{"rollout.engine.gpus: 3", "/rollout/engine/gpus", "engines of 3"},
		{"training.parallel.context: 3", "/training/parallel/context", "do not divide by 3"},
		{"resources.rollout_gpus: 4", "/resources/rollout_gpus", "all 8 GPUs"},
		{"resources.mode: async", "/resources/mode", "programs of their own"},
		{"resources.mode: separate", "/resources/mode", "programs of their own"},
		{"entrypoint: train_async.py", "/entrypoint", "expected train.py or verl/trainer/main_ppo.py"},
		{"backend: slime", "/backend", "expected acme.dev/verl"},
		{"model.hf:", "/model/hf", "missing"},
		{"rollout.count:", "/rollout/count", "how long to train"},
		{"rollout.prompts: 0", "/rollout/prompts", "from 1 on, and this is 0"},
		{"rollout.samples_per_prompt: 0", "/rollout/samples_per_prompt", "from 1 on"},
		{"rollout.temperature: 0", "/rollout/temperature", "above 0"},
		{"rollout.top_p: 1.5", "/rollout/top_p", "from 0 to 1"},
		{"rollout.max_response: 4096.5", "/rollout/max_response", "a whole number"},
		{"algorithm.kl: {coef: 0.1}", "/algorithm/kl/where", "missing"},
		{"algorithm.kl: {where: both}", "/algorithm/kl/where", "expected loss or reward"},
		{"algorithm.kl: {where: loss, coef: a}", "/algorithm/kl/coef", "a number from 0 on"},
		{"algorithm.name: sft", "/algorithm/name", `expected grpo or gspo`},
		{"algorithm.normalize_advantages: true", "/algorithm/normalize_advantages", "no other"},
		{"algorithm: {name: ppo, normalize_advantages: false}", "/algorithm/normalize_advantages", "no other"},
		{"algorithm.clip.dual: 1", "/algorithm/clip/dual", "above 1"},
		{"training.optimizer.schedule: linear", "/training/optimizer/schedule", "expected constant or cosine"},
		{"training.optimizer.warmup: 10 steps", "/training/optimizer/warmup", "from 0 to 1"},
		{"training.optimizer.betas: [0.9]", "/training/optimizer/betas", "two numbers"},
		{"training.optimizer.name: sgd", "/training/optimizer/name", "expected adam"},
		{"training.dropout.hidden: 0.1", "/training/dropout/hidden", "would train something else"},
		{"training.moe: {aux_loss: 0.001}", "/training/moe/aux_loss", "would train something else"},
		{"model.load: /other\ncheckpoint.save: /run", "/model/load", "checkpoint of Megatron"},
		{"data.prompts: /d.jsonl@[0:100]", "/data/prompts", "no slice"},
		{"data.prompts: 5", "/data/prompts", "expected text, and this is 5"},
		{"data.chat_template: false", "/data/chat_template", "expected true, and this is false"},
		{"data.chat_template: {a b: 1}", "/data/chat_template/a b", "letters, digits"},
		{"reward: f1", "/reward/builtin", "expected deepscaler or math"},
		{"reward.url: http://x", "/reward/url", "would train something else"},
		{"reward: {builtin: dapo, boxed: true}", "/reward/boxed", "dapo"},
		{"reward.python: score", "/reward/python", "expected module.function"},
		{"rollout.filter: reward_nonzero_std", "/rollout/filter", "would train something else"},
		{"rollout.generate: a.b", "/rollout/generate", "would train something else"},
		{"rollout.debug: {only: true}", "/rollout/debug", "would train something else"},
		{"eval: {data: {a: /a.parquet}, input: other}", "/eval/input", "would train something else"},
		{"eval.data: {}", "/eval/data", "a mapping from the name"},
		{"eval.data: {a.b/c: 1}", "/eval/data/a.b~1c", "expected text"},
		{"logging: {wandb: {project: a}, tensorboard: {project: b}}", "/logging/tensorboard/project", "set twice: here and at /logging/wandb/project"},
		{"logging.wandb: yes please", "/logging/wandb", "expected a mapping"},
		{"checkpoint.save: 'a/${trainer.project_name}'", "/checkpoint/save", "reference"},
		{"logging: [1]", "/logging", "expected a mapping"},
		{"extra.slime: {lr: 1}", "/extra/slime", "no flags of slime"},
		{"extra.megatron: {}", "/extra/megatron", "no flags of megatron"},
		{"extra.sglang: {}", "/extra/sglang", "no flags of sglang"},
		{"extra.router: {}", "/extra/router", "no flags of router"},
		{"extra.trl: {}", "/extra/trl", "unknown member"},
		{"extra.verl: 5", "/extra/verl", "a mapping from verl's keys"},
		{"extra.verl: {--config-name: x}", "/extra/verl/--config-name", "no key of Hydra's"},
		{"extra.verl: {'a=b/c': x}", "/extra/verl/a=b~1c", "no key of Hydra's"},
		{"extra.verl: {a.b: {c: 1}}", "/extra/verl/a.b", "this is a mapping"},
		{"extra.verl: {a.b: 1, +a.b: 1}", "/extra/verl/a.b", "set twice"},
		{"extra.verl: {data.train_batch_size: 4}", "/extra/verl/data.train_batch_size", "this is what /rollout/prompts sets"},
		{"rollout.promts: 5", "/rollout/promts", "unknown member"},
		{"rollout.engine.speculative: {step: 5}", "/rollout/engine/speculative/step", "unknown member"},
		{"modle: {}", "/modle", "unknown member"},
	} {
		_, refused := verl{}.Translate(with(t, c.change))
		if len(refused) != 1 || refused[0].Path != c.at || !strings.Contains(refused[0].Message, c.says) {
			t.Errorf("%s\n  refused with %+v\n  want one at %s that says %q", c.change, refused, c.at, c.says)
		}
	}
}

// A dot in a name, which is not one between names, cannot pass for a path.
func TestNamesWithDots(t *testing.T) {
	for name, at := range map[string]string{"clip.low": "/algorithm/clip.low", "a.b~/": "/algorithm/a.b~0~1"} {
		_, refused := verl{}.Translate(strings.Replace(toJSON(t, base), `"name":`, `"`+name+`":5,"name":`, 1))
		if got := placesOf(refused); !slices.Equal(got, []string{at}) {
			t.Errorf("%s: refused at %q", name, got)
		}
	}
	twice := strings.Replace(toJSON(t, base), `"name":`, `"name":"ppo","name":`, 1)
	if _, refused := (verl{}).Translate(twice); len(refused) != 1 || refused[0].Path != "/algorithm/name" {
		t.Errorf("a member that occurs twice is refused with %+v", refused)
	}
}

// Whatever stands under whichever member, the config is refused at a place, or
// what is made of it fits the schema.
func TestAnyValueAnywhere(t *testing.T) {
	values := []string{`null`, `true`, `false`, `0`, `1`, `-1`, `0.5`, `2147483647`, `1e300`, `""`, `"x"`, `"default"`, `"4 steps"`, `[]`, `["a"]`, `{}`, `{"a":{}}`, `{"a":"/a.json"}`}
	taken, refusals := 0, 0
	for _, path := range append(slices.Clone(known), below("")...) {
		for _, value := range values {
			config := with(t, "eval.every: 1\neval.data: {a: /a.json}")
			if path != "" {
				config = with(t, "eval.data: {a: /a.json}\n"+path+": "+value)
			}
			made, refused := verl{}.Translate(config)
			if len(refused) > 0 {
				refusals++
				continue
			}
			taken++
			if err := validate(t, argsSchema(), made.Args); err != nil {
				t.Errorf("%s: %s\n%v", path, value, err)
			}
		}
	}
	if taken < 500 || refusals < 1000 {
		t.Fatalf("%d were taken and %d refused", taken, refusals)
	}
}

func TestAllAtOnce(t *testing.T) {
	_, refused := verl{}.Translate(with(t, "training.train_batch: 100 samples\nresources.mode: async\nextra.slime: {}\nrollout.promts: 1\nmodel.hf: ''"))
	want := []string{"/extra/slime", "/model/hf", "/resources/mode", "/rollout/promts", "/training/train_batch"}
	got := placesOf(refused)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("refused at %q, want at %q", got, want)
	}
	crowd := `{"a":1` + strings.Repeat(`,"`+strings.Repeat("é", 100)+`":1`, 2000) + "}"
	if _, refused := (verl{}).Translate(crowd); len(refused) > 100 {
		t.Errorf("%d remarks", len(refused))
	}
	for _, text := range []string{"", "{", "[]", "5"} {
		if _, refused := (verl{}).Translate(text); len(refused) != 1 {
			t.Errorf("%q is refused with %+v", text, refused)
		}
	}
}

// What verl has no word for, and what is not the training, is warned about, and
// what asks for nothing is not.
func TestWarnings(t *testing.T) {
	for change, at := range map[string]string{
		"model.reference: /r":    "/model/reference",
		"data.label: answer":     "/data/label",
		"data.prompts: /d.jsonl": "/data/prompts",
		"data.max_prompt:":       "/data",
		"reward: math":           "/reward/builtin",
		"reward.python: a.b":     "/reward/python",
		"algorithm: ppo":         "/algorithm/name",
		"algorithm: {name: ppo, normalize_advantages: true}": "",
		"rollout.epochs: 2":                                 "/rollout/epochs",
		"rollout.engine.attention: fa3":                     "/rollout/engine/attention",
		"rollout.fault_tolerance: true":                     "/rollout/fault_tolerance",
		"rollout.fault_tolerance: {interval: 5}":            "/rollout/fault_tolerance/interval",
		"training.parallel: {tensor: 2}":                    "/training/parallel/tensor",
		"training.attention: fused":                         "/training/attention",
		"training.fp32: {softmax: false}":                   "/training/fp32/softmax",
		"eval: {data: {a: /a.parquet}, max_prompt: 5}":      "/eval/max_prompt",
		"logging.wandb: {mode: offline}":                    "/logging/wandb/mode",
		"checkpoint.hf: /hf":                                "/checkpoint/hf",
		"weights.buffer: 1":                                 "/weights/buffer",
		"model.architecture: qwen3-4B":                      "",
		"training.parallel: {tensor: 1}":                    "",
		"training.attention: flash":                         "",
		"training.fp32: {softmax: true}":                    "",
		"training.dropout: {attention: 0.0, hidden: 0}":     "",
		"rollout.fault_tolerance: false":                    "",
		"rollout.partial: false":                            "",
		"reward.normalize: true":                            "",
		"data.shared: true":                                 "",
		"data.chat_template: true":                          "",
		"eval: {data: {a: /a.parquet}, max_response: 4096}": "",
	} {
		got := placesOf(accepted(t, with(t, change)).Warnings)
		if want := strings.Fields(at); !slices.Equal(got, want) {
			t.Errorf("%s: warned at %q, want at %q", change, got, want)
		}
	}
	for _, change := range []string{"reward.normalize: false", "data.shared: false", "rollout.skip_special_tokens: false"} {
		if _, refused := (verl{}).Translate(with(t, change)); len(refused) != 1 {
			t.Errorf("%s: refused with %+v", change, refused)
		}
	}
}

// A config of nothing but extra is complete, and nothing is added to it.
func TestExtraAlone(t *testing.T) {
	made := accepted(t, `{"backend":"acme.dev/verl","extra":{"verl":{"data.train_batch_size":7}}}`)
	if !slices.Equal(made.Argv, []string{"data.train_batch_size=7"}) {
		t.Errorf("the overrides are %q", made.Argv)
	}
}

func TestQuoting(t *testing.T) {
	for value, want := range map[string]string{
		`null`: `null`, `true`: `true`, `1e-6`: `1e-6`, `0.00`: `0.00`, `-1`: `-1`,
		`"null"`: `'null'`, `"True"`: `'True'`, `"1e-6"`: `'1e-6'`, `"5"`: `'5'`, `"NaN"`: `'NaN'`, `""`: `''`, `"-x"`: `'-x'`,
		`"/root/Qwen3-4B_x.parquet"`: `/root/Qwen3-4B_x.parquet`, `"Qwen/Qwen3-4B"`: `Qwen/Qwen3-4B`, `"_x"`: `'_x'`, `"~/data"`: `'~/data'`,
		`"a b"`: `'a b'`, `"a,b"`: `'a,b'`, `"a=b"`: `'a=b'`, `"a:b"`: `'a:b'`, `"[a]"`: `'[a]'`, `"{a}"`: `'{a}'`, `"é"`: `'é'`, `"$x"`: `'$x'`,
		`"it's"`: `'it\'s'`, `"a\\b"`: `'a\b'`, `"a\\"`: `'a\\'`, `"a\\'b"`: `'a\\\'b'`, `"\""`: `'"'`, `"'"`: `'\''`, `"''"`: `'\'\''`,
		`[]`: `[]`, `["a","b c",1,null,["x"]]`: `[a,'b c',1,null,[x]]`, `{"a":"b","c_d":[1.5]}`: `{a:b,c_d:[1.5]}`,
	} {
		if got := hydra(value); got != want {
			t.Errorf("%s becomes %s, want %s", value, got, want)
		}
	}
}

// Hydra reads back what was quoted: a row of backslashes before a quote is
// halved, every other backslash stands for itself.
func TestQuotedTextReadsBack(t *testing.T) {
	escaped := regexp.MustCompile(`\\+('|$)`)
	unquote := func(s string) string {
		s, ok := strings.CutPrefix(strings.TrimSuffix(s, "'"), "'")
		if !ok {
			return s
		}
		return escaped.ReplaceAllStringFunc(s, func(row string) string {
			var b strings.Builder
			for i := 1; i < len(row); i += 2 {
				b.WriteByte(row[i])
			}
			return b.String()
		})
	}
	// Every text of up to five of these.
	letters := []string{`\`, `'`, `a`, ` `}
	texts := []string{""}
	for from, n := 0, 0; n < 5; n++ {
		end := len(texts)
		for _, s := range texts[from:end] {
			for _, l := range letters {
				texts = append(texts, s+l)
			}
		}
		from = end
	}
	for _, s := range texts {
		if got := unquote(word(s)); got != s {
			t.Errorf("%q becomes %s, which reads as %q", s, word(s), got)
		}
	}
	if len(texts) != 1365 {
		t.Fatalf("tried %d texts", len(texts))
	}
}

func TestSchemas(t *testing.T) {
	good := accepted(t, with(t, "extra.verl: {a.b: [1]}")).Args
	for _, bad := range []string{
		`{}`,
		strings.Replace(good, `"verl_args_version":1`, `"verl_args_version":2`, 1),
		strings.Replace(good, `"overrides":{`, `"overrides":{"data.unknown":1,`, 1),
		strings.Replace(good, `"data.train_batch_size":32`, `"data.train_batch_size":"32"`, 1),
		strings.Replace(good, `"data.train_batch_size":32`, `"data.train_batch_size":0`, 1),
		strings.Replace(good, `"a.b":[1]`, `"a=b":1`, 1),
		strings.Replace(good, `"a.b":[1]`, `"a.b":{}`, 1),
		strings.Replace(good, `{`, `{"more":1,`, 1),
	} {
		if bad == good {
			t.Fatal("a case changes nothing")
		}
		if validate(t, argsSchema(), bad) == nil {
			t.Errorf("the schema allows %s", bad)
		}
	}
	for _, config := range []string{toJSON(t, base), toJSON(t, example(t)), with(t, "extra.verl: {a.b: 1}\nalgorithm: grpo\nreward: dapo")} {
		if err := validate(t, configSchema(), config); err != nil {
			t.Error(err)
		}
	}
	for _, change := range []string{"modle: 1", "rollout.promts: 5", "extra.slime: {}"} {
		if validate(t, configSchema(), with(t, change)) == nil {
			t.Errorf("the schema allows %s", change)
		}
	}
}

// Every member that slime's translator documents is known here, be it that
// verl has no word for it: none is called unknown.
func TestEveryMemberIsKnown(t *testing.T) {
	text, err := os.ReadFile(slimeReadme)
	if err != nil {
		t.Fatal(err)
	}
	_, reference, _ := strings.Cut(string(text), "## Reference")
	section, seen := "", 0
	for line := range strings.Lines(reference) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			section = strings.TrimSpace(name)
		}
		cell, ok := strings.CutPrefix(line, "| `")
		if !ok || section == "extra" {
			continue
		}
		name, _, _ := strings.Cut(cell, "`")
		path := section + "." + name
		seen++
		if !slices.ContainsFunc(known, func(k string) bool {
			return k == path || strings.HasPrefix(path, k+".") && k != section || strings.HasPrefix(k, path+".")
		}) {
			t.Errorf("%s is unknown", path)
		}
	}
	if seen < 200 {
		t.Fatalf("slime's README lists %d members", seen)
	}
}

// No key stands in the table by mistake: it is one of Hydra's, and every
// reference to another member is to one that is there.
func TestTable(t *testing.T) {
	for _, r := range table {
		other, ok := strings.CutPrefix(r.unset, "@")
		other, _, _ = strings.Cut(other, " ")
		if !isKey(r.to) || ok && !slices.Contains(known, other) || r.from == "" && r.unset == "" {
			t.Errorf("the row of %s and %s", r.from, r.to)
		}
	}
	for _, s := range silent {
		if other, ok := strings.CutPrefix(s.but, "@"); ok && !slices.Contains(known, other) || s.lost != nothing && s.why == "" {
			t.Errorf("the members %s of %s", s.members, s.section)
		}
	}
}
