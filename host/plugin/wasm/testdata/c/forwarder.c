// A forwarder in C. Its settings name what open does: "refuse", or anything
// else. Deliver answers each event as its type says, and asks the host's
// imports for what "http", "append" and "sleep" need.
#include "plugin.h"

typedef struct { uint8_t err; union { struct { outcome *ptr; uint32_t len; } ok; failure failure; }; } forward_result;
_Static_assert(sizeof(forward_result) == 40, "result");
typedef struct { uint16_t status; struct { header *ptr; uint32_t len; } headers; str body; } response;
typedef struct { uint8_t kind; str text; } http_error;
typedef struct { uint8_t err; union { response response; http_error error; }; } http_result;
_Static_assert(sizeof(http_result) == 24, "http result");
typedef struct { uint8_t err; str error; } append_result;

IMPORT("carl:plugin/http@0.1.0", "send")
void http_send(const char *method, uint32_t method_len, const char *url, uint32_t url_len, header *headers, uint32_t headers_len,
	const char *body, uint32_t body_len, uint32_t has_timeout, uint32_t timeout_ms, http_result *ret);
IMPORT("carl:plugin/files@0.1.0", "append")
void files_append(const char *path, uint32_t path_len, const char *data, uint32_t data_len, append_result *ret);

static forward_result result;
static uint32_t opens, delivered;
static text texts[64];
static uint32_t ntexts;

static int is(str s, const char *p, uint32_t n) {
	if (s.len != n) return 0;
	for (uint32_t i = 0; i < n; i++) if (s.ptr[i] != p[i]) return 0;
	return 1;
}
#define IS(s, lit) is(s, lit, sizeof(lit) - 1)

static str kept(text t) { texts[ntexts++] = t; return done(&t); }

EXPORT("carl:plugin/forwarder@0.1.0#open") void *open(const char *settings, uint32_t len) {
	opens++;
	log_write(2, settings, len);
	str s = {settings, len};
	result.err = 0;
	if (IS(s, "\"refuse\"")) {
		result.err = 1;
		result.failure = (failure){3, LIT("these settings will not do"), {0}};
	}
	release(settings, len);
	return &result;
}

static str asked(event *e) {
	header headers[] = {{LIT("Content-Type"), LIT("application/json")}, {LIT("X-Id"), e->id}};
	http_result r;
	http_send("POST", 4, e->subject.value.ptr, e->subject.value.len, headers, 2, e->body.ptr, e->body.len, 1, 1500, &r);
	text t = {0};
	if (r.err) {
		put(&t, "error ", 6);
		put_u64(&t, r.error.kind);
		if (r.error.kind == 0 || r.error.kind == 3) {
			put(&t, " ", 1);
			put_str(&t, r.error.text);
			release(r.error.text.ptr, r.error.text.len);
		}
		return kept(t);
	}
	put_u64(&t, r.response.status);
	for (uint32_t i = 0; i < r.response.headers.len; i++) {
		header *h = &r.response.headers.ptr[i];
		put(&t, " ", 1); put_str(&t, h->name); put(&t, "=", 1); put_str(&t, h->value);
		release(h->name.ptr, h->name.len); release(h->value.ptr, h->value.len);
	}
	put(&t, " ", 1); put_str(&t, r.response.body);
	release(r.response.headers.ptr, r.response.headers.len);
	release(r.response.body.ptr, r.response.body.len);
	return kept(t);
}

static str appended(event *e) {
	append_result r;
	files_append(e->subject.value.ptr, e->subject.value.len, e->body.ptr, e->body.len, &r);
	text t = {0};
	put(&t, r.err ? "no: " : "ok", r.err ? 4 : 2);
	if (r.err) { put_str(&t, r.error); release(r.error.ptr, r.error.len); }
	return kept(t);
}

EXPORT("carl:plugin/forwarder@0.1.0#deliver") void *deliver(uint32_t topic, event *events, uint32_t n) {
	outcome *out = alloc(n * sizeof(outcome));
	result.err = 0;
	result.ok.ptr = out;
	result.ok.len = n;
	for (uint32_t i = 0; i < n; i++) {
		event *e = &events[i];
		outcome *o = &out[i];
		if (IS(e->type, "accepted")) *o = (outcome){.kind = 0, .receipt = {e->subject.some, e->subject.value}};
		else if (IS(e->type, "duplicate")) *o = (outcome){.kind = 1};
		else if (IS(e->type, "rejected")) *o = (outcome){.kind = 2, .text = LIT("not\nthat one")};
		else if (IS(e->type, "conflict")) *o = (outcome){.kind = 4, .text = LIT("abc123")};
		else if (IS(e->type, "http")) *o = (outcome){.kind = 3, .text = asked(e)};
		else if (IS(e->type, "append")) *o = (outcome){.kind = 3, .text = appended(e)};
		else if (IS(e->type, "unavailable")) {
			result.err = 1;
			result.failure = (failure){0, LIT("come back later"), {1, 2500}};
			return &result;
		} else if (IS(e->type, "trap")) __builtin_trap();
		else if (IS(e->type, "count")) {
			text t = {0};
			put_u64(&t, opens); put(&t, " ", 1); put_u64(&t, delivered); put(&t, " ", 1); put_u64(&t, topic); put(&t, " ", 1); put_u64(&t, e->time);
			*o = (outcome){.kind = 3, .text = kept(t)};
		}
	}
	delivered++;
	return &result;
}

EXPORT("cabi_post_carl:plugin/forwarder@0.1.0#deliver") void deliver_post(void *ret) {
	for (uint32_t i = 0; i < ntexts; i++) release(texts[i].ptr, texts[i].cap);
	ntexts = 0;
}
