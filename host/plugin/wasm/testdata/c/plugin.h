// What a C guest without any library needs: the records of the contract, an
// allocator that frees, and texts that grow.
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

typedef struct { const char *ptr; uint32_t len; } str;
typedef struct { uint8_t some; str value; } opt_str;
typedef struct { uint8_t some, value; } opt_bool;
typedef struct { uint8_t some; double value; } opt_f64;
typedef struct { uint8_t some; uint64_t value; } opt_u64;

typedef struct {
	str id, action, name;
	uint64_t time;
	opt_str session, trace, parent;
	opt_bool success;
	opt_f64 duration_ms, phi, kuramoto_r;
	opt_str channel_coherence, input, output, metadata;
} step;
typedef struct { uint32_t step; str type; opt_str subject; str data; } signal;
typedef struct { str id, type; opt_str subject; uint64_t time; str body; } event;
typedef struct { uint8_t kind; union { opt_str receipt; str text; }; } outcome;
typedef struct { uint8_t kind; str message; opt_u64 retry_after_ms; } failure;
typedef struct { str name, value; } header;

_Static_assert(sizeof(step) == 168 && _Alignof(step) == 8, "step");
_Static_assert(sizeof(signal) == 32 && _Alignof(signal) == 4, "signal");
_Static_assert(sizeof(event) == 48 && _Alignof(event) == 8, "event");
_Static_assert(sizeof(outcome) == 16 && _Alignof(outcome) == 4, "outcome");
_Static_assert(sizeof(failure) == 32 && _Alignof(failure) == 8, "failure");

IMPORT("carl:plugin/log@0.1.0", "write") void log_write(uint32_t level, const char *ptr, uint32_t len);

void *memcpy(void *to, const void *from, unsigned long n) { __builtin_memcpy(to, from, n); return to; }
void *memset(void *to, int c, unsigned long n) { __builtin_memset(to, c, n); return to; }

// An allocator that insists on being used as the contract says: every block
// carries its size, is freed once, and live counts what is not. A host that
// carved several strings out of one block would trip it.
extern unsigned char __heap_base;
typedef struct block { struct block *next; uint32_t size, mark; uint32_t pad; } block;
enum { LIVE = 0x4c495645, FREE = 0x46524545 };
static uint32_t top, live;
static block *frees;

static void *alloc(uint32_t size) {
	size = (size + 15) & ~15u;
	if (size == 0) size = 16;
	for (block **at = &frees; *at; at = &(*at)->next) {
		block *b = *at;
		if (b->size >= size) {
			*at = b->next;
			b->mark = LIVE;
			live++;
			return b + 1;
		}
	}
	if (top == 0) top = ((uint32_t)&__heap_base + 15) & ~15u;
	uint32_t end = top + sizeof(block) + size;
	uint32_t have = __builtin_wasm_memory_size(0) << 16;
	if (end > have && __builtin_wasm_memory_grow(0, ((end - have) >> 16) + 1) == (unsigned long)-1) __builtin_trap();
	block *b = (block *)top;
	top = end;
	b->size = size;
	b->mark = LIVE;
	live++;
	return b + 1;
}

static void release(const void *p, uint32_t len) {
	if (len == 0) return; // wit-bindgen's C frees no empty lists
	block *b = (block *)p - 1;
	if (b->mark != LIVE || b->size < len) __builtin_trap();
	b->mark = FREE;
	b->next = frees;
	frees = b;
	live--;
}

EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
	if (align > 16 || (align & (align - 1))) __builtin_trap();
	if (size == 0) return (void *)align;
	void *p = alloc(size);
	if (old_size) { __builtin_memcpy(p, old, old_size); release(old, old_size); }
	return p;
}

#define LIT(s) ((str){s, sizeof(s) - 1})

typedef struct { char *ptr; uint32_t len, cap; } text;

static void put(text *t, const char *p, uint32_t n) {
	if (t->len + n > t->cap) {
		uint32_t cap = (t->len + n) * 2;
		char *more = alloc(cap);
		__builtin_memcpy(more, t->ptr, t->len);
		if (t->cap) release(t->ptr, t->cap);
		t->ptr = more;
		t->cap = cap;
	}
	__builtin_memcpy(t->ptr + t->len, p, n);
	t->len += n;
}
static void put_str(text *t, str s) { put(t, s.ptr, s.len); }
static void put_u64(text *t, uint64_t v) {
	char b[20];
	int i = 20;
	do b[--i] = '0' + v % 10; while (v /= 10);
	put(t, b + i, 20 - i);
}
static str done(text *t) { return (str){t->ptr, t->len}; }
