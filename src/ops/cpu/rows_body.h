/* Row and optimiser kernels, written once over 16-lane vectors; included by rows_scalar.c,
 * rows_avx2.c and rows_avx512.c. The formulas and their FMAs are those of src/ops/ref. */
#include "ops/cpu/attn_bf16.h"
#include "ops/cpu/rows.h"
#include "ops/cpu/vec.h"

static inline int left(int n, int i) { return n - i < VF ? n - i : VF; }

/* N4 dot product. */
static inline float row_dot(const float *x, const float *y, int n) {
    vf p = vf_zero();
    int i = 0;
    for (; i + VF <= n; i += VF) p = vf_fma(vf_load(x + i), vf_load(y + i), p);
    if (i < n) p = vf_keepn(vf_fma(vf_loadn(x + i, n - i), vf_loadn(y + i, n - i), p), p, n - i);
    return vf_sum(p);
}

static void norm(float *yv, size_t ldy, float *rstd, const float *xv, size_t ldx, const float *w, int T,
                 int groups, int n, float eps) {
    for (int t = 0; t < T; t++)
        for (int g = 0; g < groups; g++) {
            const float *x = xv + (size_t)t * ldx + (size_t)g * n;
            float *y = yv + (size_t)t * ldy + (size_t)g * n;
            float r = 1 / sqrtf(row_dot(x, x, n) / (float)n + eps);
            if (rstd) rstd[(size_t)t * groups + g] = r;
            vf rv = vf_set(r);
            for (int i = 0; i < n; i += VF) {
                int k = left(n, i);
                vf_put(y + i, vf_mul(vf_mul(vf_get(x + i, k), rv), vf_get(w + i, k)), k);
            }
        }
}

static void norm_dx(tn_mode mode, float *dxv, size_t lddx, const float *dyv, size_t lddy, const float *xv,
                    size_t ldx, const float *rstd, const float *w, int T, int groups, int n) {
    for (int t = 0; t < T; t++)
        for (int g = 0; g < groups; g++) {
            const float *x = xv + (size_t)t * ldx + (size_t)g * n, *dy = dyv + (size_t)t * lddy + (size_t)g * n;
            float *dx = dxv + (size_t)t * lddx + (size_t)g * n;
            vf r = vf_set(rstd[(size_t)t * groups + g]), p = vf_zero();
            for (int i = 0; i < n; i += VF) {
                int k = left(n, i);
                vf h = vf_mul(vf_get(x + i, k), r), u = vf_mul(vf_get(dy + i, k), vf_get(w + i, k));
                vf q = vf_fma(u, h, p);
                p = k < VF ? vf_keepn(q, p, k) : q;
            }
            vf c = vf_set(vf_sum(p) / (float)n);
            for (int i = 0; i < n; i += VF) {
                int k = left(n, i);
                vf h = vf_mul(vf_get(x + i, k), r), u = vf_mul(vf_get(dy + i, k), vf_get(w + i, k));
                vf d = vf_mul(r, vf_fnma(h, c, u));
                vf_put(dx + i, mode == TN_ADD ? vf_add(vf_get(dx + i, k), d) : d, k);
            }
        }
}

static void norm_dw(float *dw, const float *dyv, size_t lddy, const float *xv, size_t ldx, const float *rstd,
                    int T, int groups, int n, int cols) {
    for (int t = 0; t < T; t++)
        for (int g = 0; g < groups; g++) {
            const float *x = xv + (size_t)t * ldx + (size_t)g * n, *dy = dyv + (size_t)t * lddy + (size_t)g * n;
            vf r = vf_set(rstd[(size_t)t * groups + g]);
            for (int i = 0; i < cols; i += VF) {
                int k = left(cols, i);
                vf h = vf_mul(vf_get(x + i, k), r);
                vf_put(dw + i, vf_fma(vf_get(dy + i, k), h, vf_get(dw + i, k)), k);
            }
        }
}

static void rope(float *xv, size_t ld, const int32_t *pos, const float *cosv, const float *sinv, int T, int heads,
                 int d, int half, int sign) {
    for (int t = 0; t < T; t++)
        for (int i = 0; i < half; i += VF) {
            int k = left(half, i);
            vf c = vf_get(cosv + (size_t)pos[t] * half + i, k), s = vf_get(sinv + (size_t)pos[t] * half + i, k);
            if (sign < 0) s = vf_mul(s, vf_set(-1));
            for (int h = 0; h < heads; h++) {
                float *x = xv + (size_t)t * ld + (size_t)h * d + i;
                vf x0 = vf_get(x, k), x1 = vf_get(x + half, k);
                vf_put(x, vf_fms(x0, c, vf_mul(x1, s)), k);
                vf_put(x + half, vf_fma(x1, c, vf_mul(x0, s)), k);
            }
        }
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

static inline void act_rows(tn_act act, float *hv, const float *gu, int T, int F) {
    for (int t = 0; t < T; t++) {
        const float *g = gu + (size_t)t * 2 * F, *u = g + F;
        float *h = hv + (size_t)t * F;
        for (int i = 0; i < F; i += VF) {
            int k = left(F, i);
            vf x = vf_get(g + i, k);
            vf_put(h + i, vf_mul(vf_mul(x, act_sigmoid(act, x)), vf_get(u + i, k)), k);
        }
    }
}

static void act_fwd(tn_act act, float *h, const float *gu, int T, int F) {
    if (act == TN_SILU) act_rows(TN_SILU, h, gu, T, F);
    else act_rows(TN_GELU_TANH, h, gu, T, F);
}

static inline void act_rows_bwd(tn_act act, float *dgu, const float *dhv, const float *gu, int T, int F) {
    for (int t = 0; t < T; t++) {
        const float *g = gu + (size_t)t * 2 * F, *u = g + F, *dh = dhv + (size_t)t * F;
        float *dg = dgu + (size_t)t * 2 * F, *du = dg + F;
        for (int i = 0; i < F; i += VF) {
            int k = left(F, i);
            vf x = vf_get(g + i, k), d = vf_get(dh + i, k), s = act_sigmoid(act, x);
            vf_put(dg + i, vf_mul(vf_mul(d, vf_get(u + i, k)), act_slope(act, x, s)), k);
            vf_put(du + i, vf_mul(d, vf_mul(x, s)), k);
        }
    }
}

static void act_bwd(tn_act act, float *dgu, const float *dh, const float *gu, int T, int F) {
    if (act == TN_SILU) act_rows_bwd(TN_SILU, dgu, dh, gu, T, F);
    else act_rows_bwd(TN_GELU_TANH, dgu, dh, gu, T, F);
}

static inline int chunk(size_t n, size_t i) { return n - i < VF ? (int)(n - i) : VF; }

static void add(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += VF) {
        int k = chunk(n, i);
        vf_put(y + i, vf_add(vf_get(y + i, k), vf_get(x + i, k)), k);
    }
}

static void scale(float *y, float s, size_t n) {
    for (size_t i = 0; i < n; i += VF) {
        int k = chunk(n, i);
        vf_put(y + i, vf_mul(vf_get(y + i, k), vf_set(s)), k);
    }
}

static double exp_sum(float *y, const float *x, float c, size_t n) {
    vd sum = vd_zero();
    for (size_t i = 0; i < n; i += VF) {
        int k = chunk(n, i);
        vf e = vf_exp(vf_sub(vf_get(x + i, k), vf_set(c)));
        vf_put(y + i, e, k);
        sum = vd_add(k < VF ? vf_get(y + i, k) : e, sum);
    }
    return vd_sum(sum);
}

static void rowdot(double *out, const float *x, const float *w, int R, int D) {
    for (int r = 0; r < R; r++) out[r] = row_dot(x + (size_t)r * D, w, D);
}

static void rowdot_dx(float *dx, const double *d_out, const float *w, int R, int D) {
    for (int r = 0; r < R; r++)
        for (int i = 0; i < D; i += VF) {
            int k = left(D, i);
            vf_put(dx + (size_t)r * D + i, vf_mul(vf_set((float)d_out[r]), vf_get(w + i, k)), k);
        }
}

static void rowdot_dw(float *dw, const double *d_out, const float *x, int R, int D, int cols) {
    for (int r = 0; r < R; r++)
        for (int i = 0; i < cols; i += VF) {
            int k = left(cols, i);
            vf_put(dw + i, vf_fma(vf_set((float)d_out[r]), vf_get(x + (size_t)r * D + i, k), vf_get(dw + i, k)), k);
        }
}

static void adamw(const tn_adam *c, float *p, const float *g, float *m, float *v, size_t n) {
    vf gs = vf_set(c->gscale), keep = vf_set(c->keep), root = vf_set(c->root), eps = vf_set(c->eps);
    vf step = vf_set(c->step), a1 = vf_set(c->a1), a2 = vf_set(c->a2), b2 = vf_set(c->b2);
    for (size_t i = 0; i < n; i += VF) {
        int k = chunk(n, i);
        vf gi = vf_mul(vf_get(g + i, k), gs), mi = vf_get(m + i, k), vi = vf_get(v + i, k), pi = vf_get(p + i, k);
        mi = vf_fma(a1, vf_sub(gi, mi), mi);
        vi = vf_fma(vf_mul(a2, gi), gi, vf_mul(b2, vi));
        pi = vf_fnma(step, vf_div(mi, vf_add(vf_div(vf_sqrt(vi), root), eps)), vf_mul(pi, keep));
        vf_put(m + i, mi, k);
        vf_put(v + i, vi, k);
        vf_put(p + i, pi, k);
    }
}

#include "ops/cpu/moments_body.h"

static double sumsq(const float *x, size_t n) {
    vd p = vd_zero();
    for (size_t i = 0; i < n; i += VF) p = vd_fma_square(vf_get(x + i, chunk(n, i)), p);
    return vd_sum(p);
}

static bool finite_range(const float *x, size_t n) { /* 0 x is a NaN for infinities and NaNs */
    vf acc = vf_zero();
    for (size_t i = 0; i < n; i += VF) acc = vf_fma(vf_get(x + i, chunk(n, i)), vf_zero(), acc);
    return vf_sum(acc) == 0;
}

const tn_cpu_rows VF_SUFFIX(tn_rows) = {
    .norm = norm, .norm_dx = norm_dx, .norm_dw = norm_dw, .rope = rope, .act = act_fwd,
    .act_bwd = act_bwd, .add = add, .scale = scale, .exp_sum = exp_sum, .rowdot = rowdot, .rowdot_dx = rowdot_dx,
    .rowdot_dw = rowdot_dw, .adamw = adamw, .adamw_kept = adamw_kept, .sumsq = sumsq, .finite = finite_range,
    .attn = &VF_SUFFIX(tn_attn), .attn_bf16 = &VF_SUFFIX(tn_attn_bf16),
};
