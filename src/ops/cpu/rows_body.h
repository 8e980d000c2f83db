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
#include "ops/cpu/operand_body.h"

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

#ifdef __AVX512BF16__ /* for bf16 profiles alone */
#define VF_F32_ATTN NULL
#else
#define VF_F32_ATTN &VF_SUFFIX(tn_attn)
#endif
const tn_cpu_rows VF_SUFFIX(tn_rows) = {
    .norm = norm, .norm_dx = norm_dx, .norm_dw = norm_dw, .rope = rope, .act = act_fwd,
    .act_bwd = act_bwd, .add = add, .add_half = add_half, .round = round_span, .scale = scale,
    .exp_sum = exp_sum, .rowdot = rowdot, .rowdot_dx = rowdot_dx,
    .rowdot_dw = rowdot_dw, .adamw = adamw, .adamw_kept = adamw_kept, .sumsq = sumsq, .finite = finite_range,
    .attn = VF_F32_ATTN, .attn_bf16 = &VF_SUFFIX(tn_attn_bf16),
};
