// Guest for the meter's tests: C as clang compiles it, without a libc.
// clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--export-dynamic -msimd128 -mbulk-memory
#define EXPORT __attribute__((visibility("default")))
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

static u8 heap[1 << 20];

// A loop of a few instructions.
EXPORT u64 tight(u32 n) {
	u64 x = 88172645463325252ull;
	for (u32 i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

// Calls without a loop.
EXPORT u32 fib(u32 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

// Loads and stores: a sieve.
EXPORT u32 sieve(u32 n) {
	if (n > sizeof heap) n = sizeof heap;
	for (u32 i = 0; i < n; i++) heap[i] = 1;
	u32 count = 0;
	for (u32 i = 2; i < n; i++) {
		if (!heap[i]) continue;
		count++;
		for (u32 j = i * 2; j < n; j += i) heap[j] = 0;
	}
	return count;
}

// Branches: a state machine over generated text, as a tokenizer is.
EXPORT u32 tokens(u32 n) {
	u32 seed = 1, state = 0, words = 0, numbers = 0, depth = 0;
	for (u32 i = 0; i < n; i++) {
		seed = seed * 1103515245 + 12345;
		u32 c = (seed >> 16) % 96 + 32;
		switch (state) {
		case 0:
			if (c >= '0' && c <= '9') { state = 1; numbers++; }
			else if (c >= 'a' && c <= 'z') { state = 2; words++; }
			else if (c == '"') state = 3;
			else if (c == '{' || c == '[') depth++;
			else if ((c == '}' || c == ']') && depth) depth--;
			break;
		case 1:
			if (c < '0' || c > '9') state = 0;
			break;
		case 2:
			if (!(c >= 'a' && c <= 'z') && c != '_') state = 0;
			break;
		case 3:
			if (c == '"') state = 0;
			else if (c == '\\') state = 4;
			break;
		case 4:
			state = 3;
			break;
		}
	}
	return words * 31 + numbers * 7 + depth;
}

// Calls through a table.
static u32 add(u32 a, u32 b) { return a + b; }
static u32 sub(u32 a, u32 b) { return a - b; }
static u32 mul(u32 a, u32 b) { return a * b; }
static u32 mix(u32 a, u32 b) { return (a ^ b) * 2654435761u; }
static u32 (*volatile const table[4])(u32, u32) = {add, sub, mul, mix};

EXPORT u32 dispatch(u32 n) {
	u32 x = 1;
	for (u32 i = 0; i < n; i++) x = table[(x >> 3) & 3](x, i);
	return x;
}

// Vectors and floats.
EXPORT double floats(u32 n) {
	static float a[1024], b[1024];
	for (u32 i = 0; i < 1024; i++) { a[i] = i * 0.5f; b[i] = 1024 - i; }
	double sum = 0;
	for (u32 r = 0; r < n; r++) {
		for (u32 i = 0; i < 1024; i++) a[i] = a[i] * 0.99f + b[i] * 0.01f;
		sum += a[r & 1023];
	}
	return sum;
}

// memory.copy and memory.fill of many lengths.
EXPORT u32 copies(u32 n) {
	u32 sum = 0;
	for (u32 i = 0; i < n; i++) {
		u32 len = (i * 37) & 1023;
		__builtin_memset(heap + 4096, (int)i, len);
		__builtin_memcpy(heap + 8192 + (i & 63), heap + 4096, len);
		sum = sum * 31 + heap[8192 + ((i * 7) & 511)];
	}
	return sum;
}

// Recursion with a frame.
EXPORT u32 hanoi(u32 n, u32 from, u32 to, u32 via) {
	if (n == 0) return 0;
	return hanoi(n - 1, from, via, to) + 1 + hanoi(n - 1, via, to, from);
}
