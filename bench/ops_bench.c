/* Speed of the operations against this machine's ceilings, measured in the same run.
 *
 *   build/bench/ops_bench [threads [kernels [filter]]]
 *
 * Rows: GB/s of what an operation must read and write, against a plain copy of the same size.
 * Attention: GFLOP/s of its products (masked halves not counted) against the f32 FMA peak. */
#include "base/mem.h"
#include "ops/ops.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

static tn_backend *be;
static const char *filter;
static double peak;
static volatile double sink; /* keeps results alive */

/* One thread: its own CPU time, which other programs hardly disturb; more: the clock on the wall. */
static double now(void) {
    struct timespec t;
    clock_gettime(tn_pool_threads(be->pool) == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best time of a call. */
static double best(void (*fn)(void *), void *ctx) {
    double least = 1e9, start = now();
    for (int i = 0; i < 5 || (now() - start < 0.3 && i < 2000); i++) {
        double t = now();
        fn(ctx);
        t = now() - t;
        if (t < least) least = t;
    }
    return least;
}

#ifdef __x86_64__
#define CHAIN 10 /* enough to hide the latency */
__attribute__((target("avx512f"))) static void peak512(void) {
    __m512 a[CHAIN], x = _mm512_set1_ps(0.5f);
    for (int i = 0; i < CHAIN; i++) a[i] = x;
    for (int r = 0; r < 100000; r++) {
#pragma GCC unroll 10
        for (int i = 0; i < CHAIN; i++) a[i] = _mm512_fmadd_ps(a[i], x, x);
    }
    for (int i = 0; i < CHAIN; i++) sink += _mm512_cvtss_f32(a[i]);
}
__attribute__((target("avx2,fma"))) static void peak2(void) {
    __m256 a[CHAIN], x = _mm256_set1_ps(0.5f);
    for (int i = 0; i < CHAIN; i++) a[i] = x;
    for (int r = 0; r < 100000; r++) {
#pragma GCC unroll 10
        for (int i = 0; i < CHAIN; i++) a[i] = _mm256_fmadd_ps(a[i], x, x);
    }
    for (int i = 0; i < CHAIN; i++) sink += _mm256_cvtss_f32(a[i]);
}
static void peak_part(void *ctx, size_t begin, size_t end, int thread) {
    if (*(bool *)ctx) peak512();
    else peak2();
}
static void peak_all(void *ctx) { tn_pool_run(be->pool, (size_t)tn_pool_threads(be->pool), 1, peak_part, ctx); }
static double peak_gflops(void) {
    bool wide = __builtin_cpu_supports("avx512f");
    double flop = (wide ? 32.0 : 16.0) * CHAIN * 100000 * tn_pool_threads(be->pool);
    return flop / best(peak_all, &wide) * 1e-9;
}
#else
static double peak_gflops(void) { return 0; }
#endif

typedef struct copy { char *to; const char *from; } copy;
static void copy_part(void *ctx, size_t begin, size_t end, int thread) {
    copy *c = ctx;
    memcpy(c->to + begin, c->from + begin, end - begin);
}
typedef struct copy_all { copy c; size_t n; } copy_all;
static void copy_run(void *ctx) {
    copy_all *c = ctx;
    tn_pool_run(be->pool, c->n, 4096, copy_part, &c->c);
}
/* GB/s of a copy that moves `bytes` in all. */
static double copy_speed(size_t bytes) {
    copy_all c = {{tn_big_alloc(bytes / 2 + 64), tn_big_alloc(bytes / 2 + 64)}, bytes / 2};
    double t = best(copy_run, &c);
    tn_big_free(c.c.to, bytes / 2 + 64);
    tn_big_free((void *)(uintptr_t)c.c.from, bytes / 2 + 64);
    return (double)bytes / t * 1e-9;
}

static float *fill(size_t n) {
    float *p = tn_big_alloc(n * sizeof *p + 64);
    if (!p) {
        fprintf(stderr, "ops_bench: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < n; i++) p[i] = (float)((i * 2654435761u >> 8 & 0xffff) / 65536.0 - 0.5);
    return p;
}

/* Shared arguments of the timed calls. */
typedef struct args {
    int T, D, F, heads;
    float *a, *b, *c, *w, *r, *m;
    int32_t *ids;
    tn_attn at;
    float *pool, *out, *lse, *dq;
    int ld;
    size_t n;
} args;
static args A;

static void rows(const char *name, void (*fn)(void *), double bytes) {
    if (filter && !strstr(name, filter)) return;
    double t = best(fn, NULL), g = bytes / t * 1e-9, c = copy_speed((size_t)bytes);
    printf("%-34s %9.1f us %8.1f GB/s   copy %6.1f GB/s   %5.1f %%\n", name, t * 1e6, g, c, 100 * g / c);
}
static void flops(const char *name, void (*fn)(void *), double flop) {
    if (filter && !strstr(name, filter)) return;
    double t = best(fn, NULL), g = flop / t * 1e-9;
    printf("%-34s %9.1f us %8.1f GFLOP/s peak %6.1f         %5.1f %%\n", name, t * 1e6, g, peak, 100 * g / peak);
}

static void norm(void *v) { be->op->rms_norm(be, A.b, A.D, A.r, A.a, A.D, A.w, A.T, 1, A.D, 1e-5); }
static void norm_bwd(void *v) {
    be->op->rms_norm_bwd(be, TN_SET, A.c, A.D, A.m, A.b, A.D, A.a, A.D, A.r, A.w, A.T, 1, A.D);
}
static void rope(void *v) {
    be->op->rope(be, A.a, A.heads * 64, A.ids, A.m, A.m, A.T, A.heads, 64, 64, 1);
}
static void act(void *v) { be->op->act_gate(be, TN_SILU, A.b, A.a, A.T, A.F); }
static void gelu(void *v) { be->op->act_gate(be, TN_GELU_TANH, A.b, A.a, A.T, A.F); }
static void act_bwd(void *v) { be->op->act_gate_bwd(be, TN_SILU, A.c, A.b, A.a, A.T, A.F); }
static void add(void *v) { be->op->add(be, A.b, A.a, A.n); }
static void embed(void *v) { be->op->embed(be, A.b, A.a, A.ids, A.T, A.D); }
static void embed_bwd(void *v) { be->op->embed_bwd(be, A.a, A.b, A.ids, A.T, A.D); }
static void bias(void *v) { be->op->bias_bwd(be, A.m, A.b, A.D, A.T, A.D); }
static void adamw(void *v) {
    be->op->adamw(be, A.a, A.b, A.c, A.m, A.n, 1e-4, 0.9, 0.999, 1e-8, 0.01, 10, 1);
}
static void sumsq(void *v) {
    static double block[4096];
    be->op->sumsq(be, A.a, A.n < sizeof block / 8 * TN_NORM_BLOCK ? A.n : 0, block);
}
static void finite_all(void *v) { sink = be->op->finite(be, A.a, A.n); }

static void bench_rows(int T) {
    char name[64];
    A.T = T;
    double x = 4.0 * T * A.D, f = 4.0 * T * A.F;
#define NAME(what) (snprintf(name, sizeof name, what " T=%d", T), name)
    rows(NAME("rms_norm"), norm, 2 * x);
    rows(NAME("rms_norm_bwd"), norm_bwd, 5 * x);
    rows(NAME("rope"), rope, 2.0 * 4 * T * A.heads * 64);
    rows(NAME("silu gate"), act, 3 * f);
    rows(NAME("gelu gate"), gelu, 3 * f);
    rows(NAME("silu gate bwd"), act_bwd, 5 * f);
    rows(NAME("embed"), embed, 2 * x);
    rows(NAME("embed_bwd"), embed_bwd, 3 * x);
    rows(NAME("bias_bwd"), bias, x);
    A.n = (size_t)T * (size_t)A.D;
    rows(NAME("add"), add, 3 * x);
}

static void attn(void *v) { be->op->attn(be, A.out, A.heads * 64, A.lse, A.a, A.ld, A.pool, &A.at); }
static void attn_bwd(void *v) {
    be->op->attn_bwd(be, A.dq, A.ld, A.c, A.heads * 64, A.out, A.heads * 64, A.lse, A.a, A.ld, A.pool, &A.at);
}
static void kv_write(void *v) { be->op->kv_write(be, A.pool, A.a, A.ld, &A.at); }

/* `segs` segments of `len` rows; rows > 0: only that many last rows of each are queries (decoding). */
static void bench_attn(int segs, int len, int rows_only, int H, int G) {
    int d = 64, blocks = (len + 31) / 32, T = segs * len, q = rows_only ? rows_only : len;
    tn_aseg *seg = calloc((size_t)segs, sizeof *seg);
    tn_kblock *chain = calloc((size_t)(segs * blocks), sizeof *chain);
    int32_t *rb = calloc((size_t)T, 4), *rs = calloc((size_t)T, 4), *off = calloc((size_t)segs + 1, 4),
            *desc = calloc((size_t)segs, 4);
    for (int s = 0; s < segs; s++) {
        seg[s] = (tn_aseg){s * q, q, len - q, s * blocks, blocks, 0};
        for (int i = 0; i < blocks; i++)
            chain[s * blocks + i] = (tn_kblock){s * blocks + i, 32 * i, len - 32 * i < 32 ? len - 32 * i : 32};
        for (int i = 0; i < len; i++) {
            rb[s * len + i] = s * blocks + i / 32;
            rs[s * len + i] = i % 32;
        }
        off[s + 1] = s + 1;
        desc[s] = s;
    }
    A.heads = H;
    A.ld = (H + 2 * G) * d;
    A.at = (tn_attn){T, segs, seg, chain, rb, rs, off, desc, H, G, d, 0, 0.125};
    size_t pool_bytes = (size_t)(segs * blocks) * be->op->kv_block_bytes(be, G, d);
    A.pool = tn_big_alloc(pool_bytes);
    A.a = fill((size_t)T * (size_t)A.ld);
    A.c = fill((size_t)T * (size_t)(H * d));
    A.out = fill((size_t)T * (size_t)(H * d));
    A.lse = fill((size_t)T * (size_t)H);
    A.dq = fill((size_t)T * (size_t)A.ld);
    char name[64];
    snprintf(name, sizeof name, "kv_write %dx%d", segs, len);
    rows(name, kv_write, 4.0 * T * 4 * G * d);
    double pairs = 0;
    for (int i = len - q; i < len; i++) pairs += i + 1;
    pairs *= (double)segs * H;
    snprintf(name, sizeof name, "attn %dx%d H=%d G=%d%s", segs, len, H, G, rows_only ? " decode" : "");
    if (rows_only) {
        rows(name, attn, (double)pool_bytes);
    } else {
        flops(name, attn, pairs * d * 4);
        snprintf(name, sizeof name, "attn_bwd %dx%d H=%d G=%d", segs, len, H, G);
        flops(name, attn_bwd, pairs * d * 10); /* 5 products */
    }
    tn_big_free(A.pool, pool_bytes);
    free(seg), free(chain), free(rb), free(rs), free(off), free(desc);
}

int main(int argc, char **argv) {
    tn_err e = {0};
    const char *kernels = argc > 2 && strcmp(argv[2], "best") != 0 ? argv[2] : NULL;
    filter = argc > 3 ? argv[3] : NULL;
    if (tn_backend_open(&be, "cpu", TN_F32, kernels, argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0, &e) != TN_OK) {
        fprintf(stderr, "ops_bench: %s\n", e.msg);
        return 1;
    }
    peak = peak_gflops();
    printf("kernels %s, %d threads, f32 FMA peak %.1f GFLOP/s, copy of 256 MB %.1f GB/s\n", be->kernels,
           tn_pool_threads(be->pool), peak, copy_speed(256u << 20));
    A.D = 576;
    A.F = 1536;
    A.heads = 9;
    size_t n = 2048u * 2 * 1536;
    A.a = fill(n), A.b = fill(n), A.c = fill(n), A.w = fill(4096), A.r = fill(4096), A.m = fill(n);
    A.ids = calloc(4096, sizeof *A.ids);
    for (int i = 0; i < 4096; i++) A.ids[i] = (int32_t)((unsigned)i * 7919u % 2048u);
    bench_rows(512);
    bench_rows(2048);
    A.n = 6000000;
    rows("adamw 6M", adamw, 28.0 * 6e6);
    rows("sumsq 6M", sumsq, 4.0 * 6e6);
    rows("finite 6M", finite_all, 4.0 * 6e6);
    bench_attn(4, 512, 0, 9, 3);
    bench_attn(1, 2048, 0, 8, 8);
    bench_attn(16, 64, 0, 9, 3);
    bench_attn(64, 512, 1, 9, 3);
    bench_attn(1, 2048, 1, 9, 3);
    bench_attn(1, 100, 1, 9, 3);
    tn_backend_free(be);
    return 0;
}
