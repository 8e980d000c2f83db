/* The machine's own ceilings: multiply-adds from registers, reading memory. */
#include "bench.h"
#include "base/mem.h"
#include "base/os.h"
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

double bench_seconds(void (*fn)(void *), void *ctx) {
    for (int calls = 1;;) {
        double t0 = tn_now();
        for (int i = 0; i < calls; i++) fn(ctx);
        double t = tn_now() - t0;
        if (t >= 0.02) return t / calls;
        calls = t > 0.002 ? (int)(calls * 0.025 / t) + 1 : calls * 8;
    }
}

/* ---- peak ---- */

static volatile float sink; /* keeps results alive */

#define CHAINS 12 /* enough to hide the latency */
#define ROUNDS (1 << 19) /* a millisecond or more: dispatching it costs nothing */
/* CHAINS accumulators, ROUNDS times: acc = STEP(acc). */
#define LOOP(type, start, STEP, first)                                            \
    type acc[CHAINS];                                                             \
    for (int i = 0; i < CHAINS; i++) acc[i] = (start);                            \
    for (int r = 0; r < ROUNDS; r++) {                                            \
        _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++) acc[i] = STEP;  \
    }                                                                             \
    float sum = 0;                                                                \
    for (int i = 0; i < CHAINS; i++) sum += first;                                \
    sink = sum

typedef struct peak_kernel {
    const char *kernels; /* of the backend; the last stands for every other */
    tn_dtype dtype;
    double flop; /* of one call */
    void (*fn)(void);
} peak_kernel;

#ifdef __x86_64__
__attribute__((target("avx512f"))) static void peak_avx512(void) {
    __m512 x = _mm512_set1_ps(0.5f);
    LOOP(__m512, x, _mm512_fmadd_ps(acc[i], x, x), _mm512_cvtss_f32(acc[i]));
}
__attribute__((target("avx512f,avx512bf16"))) static void peak_avx512bf16(void) {
    __m512 x = _mm512_set1_ps(0.5f);
    __m512bh h = (__m512bh)_mm512_set1_epi32(0x3f003f00); /* 0.5, 0.5 */
    LOOP(__m512, x, _mm512_dpbf16_ps(acc[i], h, h), _mm512_cvtss_f32(acc[i]));
}
__attribute__((target("avx2,fma"))) static void peak_avx2(void) {
    __m256 x = _mm256_set1_ps(0.5f);
    LOOP(__m256, x, _mm256_fmadd_ps(acc[i], x, x), _mm256_cvtss_f32(acc[i]));
}
/* Four accumulators of 16 x 16, two tiles of each operand: what a kernel can have. */
static const struct { uint8_t palette, row, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; } tiles
    __attribute__((aligned(64))) = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                    .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
__attribute__((target("amx-tile,amx-bf16"))) static void peak_amx(void) {
    _tile_loadconfig(&tiles);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4); /* operands stay zero: no value is special */
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int r = 0; r < ROUNDS; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}
#endif
static void peak_scalar(void) {
    float x = 0.5f;
    LOOP(float, x, __builtin_fmaf(acc[i], x, x), acc[i]);
}

static const peak_kernel peaks[] = {
#ifdef __x86_64__
    {"amx", TN_BF16, 4.0 * ROUNDS * 2 * 16 * 16 * 32, peak_amx},
    {"avx512bf16", TN_BF16, 64.0 * CHAINS * ROUNDS, peak_avx512bf16},
    {"avx512", TN_F32, 32.0 * CHAINS * ROUNDS, peak_avx512},
    {"avx512", TN_BF16, 32.0 * CHAINS * ROUNDS, peak_avx512},
    {"avx2", TN_F32, 16.0 * CHAINS * ROUNDS, peak_avx2},
    {"avx2", TN_BF16, 16.0 * CHAINS * ROUNDS, peak_avx2},
#endif
    {"", TN_F32, 2.0 * CHAINS * ROUNDS, peak_scalar}};

typedef struct ceiling {
    tn_pool *pool;
    const peak_kernel *k;
    const char *p;
    size_t n;
} ceiling;

static void peak_share(void *ctx, size_t begin, size_t end, int thread) { ((ceiling *)ctx)->k->fn(); }
static void peak_all(void *ctx) {
    ceiling *c = ctx;
    tn_pool_run(c->pool, (size_t)tn_pool_threads(c->pool), 1, peak_share, c);
}
double bench_peak(tn_backend *b) {
    const peak_kernel *k = peaks;
    while (*k->kernels && (strcmp(k->kernels, b->kernels) != 0 || k->dtype != b->dtype)) k++;
    ceiling c = {.pool = b->pool, .k = k};
    return k->flop * tn_pool_threads(b->pool) / bench_seconds(peak_all, &c);
}

/* ---- reading ---- */

#define READ(type, load, xor)                                                     \
    type s0 = load(p), s1 = s0, s2 = s0, s3 = s0;                                 \
    for (size_t i = 0; i + 4 * sizeof s0 <= n; i += 4 * sizeof s0) {              \
        s0 = xor(s0, load(p + i)), s1 = xor(s1, load(p + i + sizeof s0));         \
        s2 = xor(s2, load(p + i + 2 * sizeof s0)), s3 = xor(s3, load(p + i + 3 * sizeof s0)); \
    }                                                                             \
    s0 = xor(xor(s0, s1), xor(s2, s3));                                           \
    memcpy(out, &s0, sizeof *out)

static uint64_t load64(const char *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static uint64_t xor64(uint64_t a, uint64_t b) { return a ^ b; }
static void read_plain(const char *p, size_t n, uint64_t *out) { READ(uint64_t, load64, xor64); }
#ifdef __x86_64__
#define LOAD512(q) _mm512_loadu_si512(q)
#define LOAD256(q) _mm256_loadu_si256((const __m256i *)(const void *)(q))
__attribute__((target("avx512f"))) static void read_avx512(const char *p, size_t n, uint64_t *out) {
    READ(__m512i, LOAD512, _mm512_xor_si512);
}
__attribute__((target("avx2"))) static void read_avx2(const char *p, size_t n, uint64_t *out) {
    READ(__m256i, LOAD256, _mm256_xor_si256);
}
#endif

static void read_share(void *ctx, size_t begin, size_t end, int thread) {
    const ceiling *c = ctx;
    uint64_t v;
    void (*fn)(const char *, size_t, uint64_t *) = read_plain;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) fn = read_avx512;
    else if (__builtin_cpu_supports("avx2")) fn = read_avx2;
#endif
    fn(c->p + begin, end - begin, &v);
    sink = (float)v;
}
static void read_all(void *ctx) {
    ceiling *c = ctx;
    tn_pool_run(c->pool, c->n, 4096, read_share, c);
}
double bench_read(tn_backend *b, size_t bytes) {
    static char *buffer;
    static size_t have;
    if (bytes > have) {
        tn_big_free(buffer, have);
        buffer = tn_big_alloc(bytes);
        have = buffer ? bytes : 0;
        if (buffer) memset(buffer, 1, bytes);
    }
    if (!buffer) return NAN;
    ceiling c = {.pool = b->pool, .p = buffer, .n = bytes};
    read_all(&c);
    return (double)bytes / bench_seconds(read_all, &c);
}
