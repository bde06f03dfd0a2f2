// A mapper in C. For each step it gives one signal whose data names every
// field of the step as it was read from memory; numbers as the bits of the
// f64. It frees what the host handed over, string by string, and traps when
// anything is left at the end of a call.
#include "plugin.h"

static struct { uint8_t err; union { struct { signal *ptr; uint32_t len; } ok; str error; }; } result;

static void field(text *t, const char *name, uint32_t n) {
	put(t, t->len > 1 ? ",\"" : "\"", t->len > 1 ? 2 : 1);
	put(t, name, n);
	put(t, "\":", 2);
}
static void quoted(text *t, str s) { put(t, "\"", 1); put_str(t, s); put(t, "\"", 1); }
#define FIELD(name) field(&t, name, sizeof(name) - 1)
#define STRING(name, s) { FIELD(name); quoted(&t, s); }
#define OPT(name, o, how) if ((o).some) { FIELD(name); how(&t, (o).value); }
#define BITS(name, o) if ((o).some) { uint64_t v; __builtin_memcpy(&v, &(o).value, 8); FIELD(name); put(&t, "\"", 1); put_u64(&t, v); put(&t, "\"", 1); }

static void release_opt(opt_str o) { if (o.some) release(o.value.ptr, o.value.len); }

EXPORT("carl:plugin/mapper@0.1.0#map-steps") void *map_steps(step *steps, uint32_t n) {
	signal *out = alloc(n * sizeof(signal));
	for (uint32_t i = 0; i < n; i++) {
		step *s = &steps[i];
		text t = {0};
		put(&t, "{", 1);
		STRING("id", s->id) STRING("action", s->action) STRING("name", s->name)
		FIELD("time"); put_u64(&t, s->time);
		OPT("session", s->session, quoted) OPT("trace", s->trace, quoted) OPT("parent", s->parent, quoted)
		if (s->success.some) { FIELD("success"); put_str(&t, s->success.value ? LIT("true") : LIT("false")); }
		BITS("duration", s->duration_ms) BITS("phi", s->phi) BITS("r", s->kuramoto_r)
		OPT("coherence", s->channel_coherence, put_str) OPT("input", s->input, put_str)
		OPT("output", s->output, put_str) OPT("metadata", s->metadata, put_str)
		put(&t, "}", 1);
		out[i] = (signal){.step = i, .type = LIT("coherence.update"), .subject = {s->trace.some, LIT("traced")}, .data = done(&t)};
		release(s->id.ptr, s->id.len); release(s->action.ptr, s->action.len); release(s->name.ptr, s->name.len);
		release_opt(s->session); release_opt(s->trace); release_opt(s->parent); release_opt(s->channel_coherence);
		release_opt(s->input); release_opt(s->output); release_opt(s->metadata);
	}
	release(steps, n * sizeof(step));
	result.err = 0;
	result.ok.ptr = out;
	result.ok.len = n;
	return &result;
}

EXPORT("cabi_post_carl:plugin/mapper@0.1.0#map-steps") void map_steps_post(void *ret) {
	if (ret != &result) __builtin_trap();
	for (uint32_t i = 0; i < result.ok.len; i++) release(result.ok.ptr[i].data.ptr, result.ok.ptr[i].data.len);
	release(result.ok.ptr, 1);
	if (live != 0) __builtin_trap();
}
