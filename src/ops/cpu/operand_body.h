/* Kernels that write or read operand rows (ops.h N12): floats, or bf16 (half); a part of rows_body.h. */
#include "ops/cpu/vec_half.h"

/* Loops over rows of either kind are compiled once for each. */
#define INLINE static inline __attribute__((always_inline))

INLINE void norm_rows(const bool half, void *y, size_t ldy, float *rstd, const float *xv, size_t ldx, const float *w, int T,
                      int groups, int n, float eps) {
    for (int t = 0; t < T; t++)
        for (int g = 0; g < groups; g++) {
            const float *x = xv + (size_t)t * ldx + (size_t)g * n;
            size_t at = (size_t)t * ldy + (size_t)g * n;
            float r = 1 / sqrtf(row_dot(x, x, n) / (float)n + eps);
            if (rstd) rstd[(size_t)t * groups + g] = r;
            vf rv = vf_set(r);
            for (int i = 0; i < n; i += VF) {
                int k = left(n, i);
                vf_put_of(half, y, at + i, vf_mul(vf_mul(vf_get(x + i, k), rv), vf_get(w + i, k)), k);
            }
        }
}

static void norm(bool half, void *y, size_t ldy, float *rstd, const float *x, size_t ldx, const float *w, int T, int groups,
                 int n, float eps) {
    if (half) norm_rows(true, y, ldy, rstd, x, ldx, w, T, groups, n, eps);
    else norm_rows(false, y, ldy, rstd, x, ldx, w, T, groups, n, eps);
}

static inline void round_span(uint16_t *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += VF) {
        int k = n - i < VF ? (int)(n - i) : VF;
        vf_put_half(y + i, vf_get(x + i, k), k);
    }
}

/* Elements [at, at + n) of a row. */
INLINE void copy_span(const bool half, void *y, size_t to, const float *x, size_t at, int n) {
    for (int i = 0; i < n; i += VF) vf_put_of(half, y, to + at + (size_t)i, vf_get(x + at + i, left(n, i)), left(n, i));
}

/* What does not turn is copied, unless it is there. */
INLINE void rope_rows(const bool half, void *y, size_t ldy, const float *xv, size_t ldx, const int32_t *pos, const float *cosv,
                      const float *sinv, int T, int heads, int rest, int d, int pairs, int sign) {
    for (int t = 0; t < T; t++) {
        const float *row = xv + (size_t)t * ldx;
        size_t to = (size_t)t * ldy;
        for (int i = 0; i < pairs; i += VF) {
            int k = left(pairs, i);
            vf c = vf_get(cosv + (size_t)pos[t] * pairs + i, k), s = vf_get(sinv + (size_t)pos[t] * pairs + i, k);
            if (sign < 0) s = vf_mul(s, vf_set(-1));
            for (int h = 0; h < heads; h++) {
                size_t at = (size_t)h * d + i;
                vf x0 = vf_get(row + at, k), x1 = vf_get(row + at + pairs, k);
                vf_put_of(half, y, to + at, vf_fms(x0, c, vf_mul(x1, s)), k);
                vf_put_of(half, y, to + at + pairs, vf_fma(x1, c, vf_mul(x0, s)), k);
            }
        }
        if (!half && y == xv) continue;
        for (int h = 0; 2 * pairs < d && h < heads; h++) copy_span(half, y, to, row, (size_t)(h * d + 2 * pairs), d - 2 * pairs);
        copy_span(half, y, to, row, (size_t)(heads * d), rest * d);
    }
}

static void rope(bool half, void *y, size_t ldy, const float *x, size_t ldx, const int32_t *pos, const float *cosv,
                 const float *sinv, int T, int heads, int rest, int d, int pairs, int sign) {
    if (half) rope_rows(true, y, ldy, x, ldx, pos, cosv, sinv, T, heads, rest, d, pairs, sign);
    else rope_rows(false, y, ldy, x, ldx, pos, cosv, sinv, T, heads, rest, d, pairs, sign);
}

#define GELU_A ((float)1.5957691216057308)
#define GELU_B ((float)0.071354816272600248)
static inline vf act_sigmoid(tn_act act, vf x) {
    vf one = vf_set(1), v = x;
    if (act == TN_GELU_TANH) v = vf_mul(x, vf_fma(vf_set(GELU_B), vf_mul(x, x), vf_set(GELU_A)));
    return vf_div(one, vf_add(one, vf_exp(vf_mul(v, vf_set(-1)))));
}

static inline vf act_slope(tn_act act, vf x, vf s) {
    vf k = vf_sub(vf_set(1), s);
    if (act == TN_GELU_TANH) k = vf_mul(k, vf_fma(vf_set(3 * GELU_B), vf_mul(x, x), vf_set(GELU_A)));
    return vf_fma(vf_mul(x, s), k, s);
}

INLINE void act_rows(const bool half, tn_act act, void *h, const void *gu, int T, int F) {
    for (int t = 0; t < T; t++)
        for (int i = 0; i < F; i += VF) {
            int k = left(F, i);
            size_t g = (size_t)t * 2 * F + i, u = g + F;
            vf x = vf_get_of(half, gu, g, k);
            vf_put_of(half, h, (size_t)t * F + i, vf_mul(vf_mul(x, act_sigmoid(act, x)), vf_get_of(half, gu, u, k)), k);
        }
}

static void act_fwd(bool half, tn_act act, void *h, const void *gu, int T, int F) {
    if (act == TN_SILU && half) act_rows(true, TN_SILU, h, gu, T, F);
    else if (act == TN_SILU) act_rows(false, TN_SILU, h, gu, T, F);
    else if (half) act_rows(true, TN_GELU_TANH, h, gu, T, F);
    else act_rows(false, TN_GELU_TANH, h, gu, T, F);
}

INLINE void act_rows_bwd(const bool half, tn_act act, void *dgu, const float *dh, const void *gu, int T, int F) {
    for (int t = 0; t < T; t++, dh += F)
        for (int i = 0; i < F; i += VF) {
            int k = left(F, i);
            size_t g = (size_t)t * 2 * F + i, u = g + F;
            vf x = vf_get_of(half, gu, g, k), y = vf_get_of(half, gu, u, k), d = vf_get(dh + i, k), s = act_sigmoid(act, x);
            vf_put_of(half, dgu, g, vf_mul(vf_mul(d, y), act_slope(act, x, s)), k);
            vf_put_of(half, dgu, u, vf_mul(d, vf_mul(x, s)), k);
        }
}

static void act_bwd(bool half, tn_act act, void *dgu, const float *dh, const void *gu, int T, int F) {
    if (act == TN_SILU && half) act_rows_bwd(true, TN_SILU, dgu, dh, gu, T, F);
    else if (act == TN_SILU) act_rows_bwd(false, TN_SILU, dgu, dh, gu, T, F);
    else if (half) act_rows_bwd(true, TN_GELU_TANH, dgu, dh, gu, T, F);
    else act_rows_bwd(false, TN_GELU_TANH, dgu, dh, gu, T, F);
}

static void add_half(float *y, const uint16_t *x, size_t n) {
    for (size_t i = 0; i < n; i += VF) {
        int k = chunk(n, i);
        vf_put(y + i, vf_add(vf_get(y + i, k), vf_get_half(x + i, k)), k);
    }
}
