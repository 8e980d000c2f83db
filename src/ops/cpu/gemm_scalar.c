/* Portable kernels: the definitions of ops.h N2 and N3 over packed operands, and the registry. */
#include "ops/bf16.h"
#include "ops/cpu/gemm.h"

static float as_float(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static float low(uint32_t pair) { return as_float(pair << 16); }            /* even k */
static float high(uint32_t pair) { return as_float(pair & 0xffff0000u); }  /* odd k */

static void tile_f32(const tn_tile *t) {
    for (int i = 0; i < t->m; i++) {
        float acc[TN_NR] = {0}, *c = t->c + i * t->ldc;
        if (t->more) memcpy(acc, c, sizeof acc);
        for (int k = 0; k < t->units; k++)
            for (int j = 0; j < TN_NR; j++)
                acc[j] = fmaf(as_float(t->a[i * t->lda + k]), as_float(t->b[(size_t)k * TN_NR + j]), acc[j]);
        memcpy(c, acc, sizeof acc);
    }
}

static void tile_pair(const tn_tile *t) {
    for (int i = 0; i < t->m; i++) {
        float acc[TN_NR] = {0}, *c = t->c + i * t->ldc;
        if (t->more) memcpy(acc, c, sizeof acc);
        for (int k = 0; k < t->units; k++)
            for (int j = 0; j < TN_NR; j++) {
                uint32_t x = t->a[i * t->lda + k], y = t->b[(size_t)k * TN_NR + j];
                acc[j] = tn_bf16_fma(low(x), low(y), tn_bf16_fma(high(x), high(y), acc[j]));
            }
        memcpy(c, acc, sizeof acc);
    }
}

static void tile_dot32(const tn_tile *t) {
    for (int i = 0; i < t->m; i++) {
        float acc[TN_NR] = {0}, *c = t->c + i * t->ldc;
        if (t->more) memcpy(acc, c, sizeof acc);
        for (int k = 0; k < t->units; k += 16)
            for (int j = 0; j < TN_NR; j++) {
                float even = 0, odd = 0;
                for (int u = k; u < k + 16; u++) {
                    uint32_t x = t->a[i * t->lda + u], y = t->b[(size_t)u * TN_NR + j];
                    even = tn_bf16_fma(low(x), low(y), even);
                    odd = tn_bf16_fma(high(x), high(y), odd);
                }
                acc[j] = tn_bf16_flush(acc[j] + tn_bf16_flush(even + odd));
            }
        memcpy(c, acc, sizeof acc);
    }
}

const tn_kernel tn_kern_f32_scalar = {
    .name = "scalar", .profile = "f32", .form = TN_FORM_F32, .pad = 1, .mr = 4, .grain = 1,
    .tile = tile_f32, .pack = &tn_pack_portable, .head = &tn_head_portable};
const tn_kernel tn_kern_pair_scalar = {
    .name = "scalar", .profile = "bf16-pair", .form = TN_FORM_BF16, .pad = 1, .mr = 4, .grain = 1,
    .tile = tile_pair, .pack = &tn_pack_portable, .head = &tn_head_portable};
const tn_kernel tn_kern_dot32_scalar = {
    .name = "scalar-dot32", .profile = "bf16-dot32", .form = TN_FORM_BF16, .pad = 16, .mr = 4, .grain = 1,
    .tile = tile_dot32, .pack = &tn_pack_portable, .head = &tn_head_portable};

static const struct {
    tn_dtype dtype;
    const tn_kernel *kern;
} kernels[] = {
#ifdef __x86_64__
    {TN_F32, &tn_kern_f32_avx512},
    {TN_F32, &tn_kern_f32_avx2},
    {TN_BF16, &tn_kern_dot32_amx},
    {TN_BF16, &tn_kern_pair_avx512bf16},
    {TN_BF16, &tn_kern_pair_avx512},
    {TN_BF16, &tn_kern_pair_avx2},
#endif
    {TN_F32, &tn_kern_f32_scalar},
    {TN_BF16, &tn_kern_pair_scalar},
    {TN_BF16, &tn_kern_dot32_scalar},
    {TN_BF16, &tn_kern_pair_avx512bf16_model},
    {TN_BF16, &tn_kern_dot32_amx_model},
};

const struct tn_cpu_mm *tn_cpu_mm_pick(tn_dtype dtype, const char *name, const char **profile) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (kernels[i].dtype == dtype && strcmp(kernels[i].kern->name, name) == 0) {
            if (profile) *profile = kernels[i].kern->profile;
            return kernels[i].kern;
        }
    return NULL;
}
