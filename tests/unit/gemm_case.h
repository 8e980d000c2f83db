/* What the tests of the cpu backend's matrix products share: the list of kernels, numbers, weights. */
#ifndef TN_TEST_GEMM_CASE_H
#define TN_TEST_GEMM_CASE_H
#include "base/mem.h"
#include "base/rng.h"
#include "ops/cpu/cpu.h"
#include "test.h"
#include <math.h>
#include <stdlib.h>

typedef struct kernels { tn_dtype dtype; const char *name, *order; } kernels;
static const kernels ALL[] = {
    {TN_F32, "scalar", NULL}, {TN_F32, "avx2", NULL}, {TN_F32, "avx512", NULL},
    {TN_BF16, "scalar", "pair"}, {TN_BF16, "avx2", "pair"}, {TN_BF16, "avx512", "pair"},
    {TN_BF16, "avx512bf16", "pair"}, {TN_BF16, "avx512bf16-model", "pair"},
    {TN_BF16, "scalar-dot32", "dot32"}, {TN_BF16, "amx", "dot32"}, {TN_BF16, "amx-model", "dot32"},
};
#define N_ALL ((int)(sizeof ALL / sizeof *ALL))

/* A cpu backend with the named kernels, or NULL when the machine lacks them. */
static tn_backend *open_cpu(kernels k, int threads) {
    const char *profile;
    const struct tn_cpu_mm *mm = tn_cpu_mm_pick(k.dtype, k.name, &profile);
    if (!mm || !tn_cpu_has(k.name)) return NULL;
    tn_backend *b = tn_calloc(1, sizeof *b);
    tn_cpu *priv = tn_calloc(1, sizeof *priv);
    priv->mm = mm;
    *b = (tn_backend){.name = "cpu", .profile = profile, .kernels = k.name, .elem = 4,
                      .operand = k.dtype == TN_BF16 ? 2 : 4, .dtype = k.dtype, .priv = priv};
    CHECK_OK(tn_pool_new(&b->pool, threads, e));
    return b;
}

static tn_backend *open_ref(kernels k) {
    tn_backend *b = NULL;
    CHECK_OK(tn_backend_open(&b, "ref", k.dtype, k.order, 1, e));
    return b;
}

enum { NORMAL, TINY, SPECIAL };
static uint64_t numbers_made;
static float number(int kind) {
    uint64_t r = tn_mix(++numbers_made * TN_RNG_GAMMA);
    float x = (float)((double)(r >> 40) / (1 << 24) - 0.5);
    if (kind == TINY) return ldexpf(x, -(int)(r % 130));   /* products and sums around 2^-126 */
    if (kind == SPECIAL && r % 53 == 0) return INFINITY;
    if (kind == SPECIAL && r % 53 == 1) return NAN;
    if (kind == SPECIAL && r % 53 < 9) return ldexpf(x, 127);
    return x;
}
static float *numbers(size_t n, int kind) {
    float *p = tn_malloc(n * 4 + 4);
    for (size_t i = 0; i < n; i++) p[i] = number(kind);
    return p;
}

/* Equal bits, except that a NaN may be any NaN. */
static bool same(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, 4) != 0 && !(isnan(a[i]) && isnan(b[i]))) return false;
    return true;
}

static tn_weight weight(tn_backend *b, int out, int in, const float *master) {
    tn_weight w = {.out = out, .in = in, .master = master};
    size_t n = b->op ? b->op->weight_bytes(b, out, in) : tn_cpu_weight_bytes(b, out, in);
    w.packed = aligned_alloc(64, (n + 63) / 64 * 64);
    if (b->op) b->op->weight_pack(b, &w);
    else tn_cpu_weight_pack(b, &w);
    return w;
}
static void weight_free(tn_weight *w) { free(w->packed); }

static void every_kernel(void (*fn)(kernels, tn_backend *, tn_backend *), int threads) {
    for (int i = 0; i < N_ALL; i++) {
        tn_backend *c = open_cpu(ALL[i], threads);
        if (!c) continue;
        tn_backend *r = open_ref(ALL[i]);
        fn(ALL[i], c, r);
        tn_backend_free(c);
        tn_backend_free(r);
    }
}
#endif
