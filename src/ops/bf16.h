/* bf16 dot products of the numeric contract (N3), in scalar form: the definition.
 * Operands are floats rounded to bf16 and kept as floats. */
#ifndef TN_OPS_BF16_H
#define TN_OPS_BF16_H
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Denormal -> zero of the same sign. */
static inline float tn_bf16_flush(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    if (!(u & 0x7f800000u)) u &= 0x80000000u;
    memcpy(&x, &u, 4);
    return x;
}

/* Upper 16 bits of a float's bits after flushing and rounding to nearest, ties to even; NaNs stay NaNs. Without
 * branches. */
static inline uint32_t tn_bf16_of(uint32_t u) {
    uint32_t r = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    r = u & 0x7f800000u ? r : u >> 31 << 15;
    return (u & 0x7fffffffu) > 0x7f800000u ? u >> 16 | 0x40u : r;
}
static inline uint16_t tn_bf16_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return (uint16_t)tn_bf16_of(u);
}

static inline float tn_bf16_float(uint16_t bits) {
    uint32_t u = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}
static inline float tn_bf16_round(float x) { return tn_bf16_float(tn_bf16_bits(x)); }

/* fma(a, b, c), flushed when the result is tiny after rounding to 24 bits without a limit on the
 * exponent (the rule of VDPBF16PS and of FTZ). Only 2^-126 itself can be a denormal rounded up:
 * there the same sum is formed 64 binades higher. */
static inline float tn_bf16_fma(float a, float b, float c) {
    float r = fmaf(a, b, c);
    if (fabsf(r) == 0x1p-126f) {
        float big = fabsf(a) < fabsf(b) ? fmaf(a * 0x1p64f, b, c * 0x1p64f) : fmaf(a, b * 0x1p64f, c * 0x1p64f);
        return fabsf(big) < 0x1p-62f ? copysignf(0, r) : r;
    }
    return tn_bf16_flush(r);
}

/* The products of k more elements of strided, unrounded operands, after acc; k is padded with zeros to a
 * multiple of 2 or 32. */
static inline float tn_bf16_more_pair(float acc, const float *a, size_t sa, const float *b, size_t sb, int k) {
    for (int j = 0; j < k; j += 2) {
        float a0 = tn_bf16_round(a[j * sa]), b0 = tn_bf16_round(b[j * sb]), a1 = 0, b1 = 0;
        if (j + 1 < k) {
            a1 = tn_bf16_round(a[(j + 1) * sa]);
            b1 = tn_bf16_round(b[(j + 1) * sb]);
        }
        acc = tn_bf16_fma(a0, b0, tn_bf16_fma(a1, b1, acc));
    }
    return acc;
}

static inline float tn_bf16_more_32(float acc, const float *a, size_t sa, const float *b, size_t sb, int k) {
    for (int j = 0; j < k; j += 32) {
        float half[2] = {0, 0}; /* even k, odd k */
        for (int i = 0; i < 32; i++) {
            float x = 0, y = 0;
            if (j + i < k) {
                x = tn_bf16_round(a[(j + i) * sa]);
                y = tn_bf16_round(b[(j + i) * sb]);
            }
            half[i & 1] = tn_bf16_fma(x, y, half[i & 1]);
        }
        acc = tn_bf16_flush(acc + tn_bf16_flush(half[0] + half[1]));
    }
    return acc;
}
#endif
