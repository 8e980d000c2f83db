/* What bf16 attention does between its products, written once over 16-lane vectors; included by
 * attn_bf16_scalar.c, attn_bf16_avx2.c and attn_bf16_avx512.c.                          */
#include "ops/bf16.h"
#include "ops/cpu/attn_bf16.h"
#include "ops/cpu/vec_half.h"

#define B TN_KV_BLOCK

/* Keys [lo, hi) as bits. */
static inline uint32_t span(int lo, int hi) {
    return lo < hi ? (uint32_t)((((uint64_t)1 << hi) - 1) & ~(((uint64_t)1 << lo) - 1)) : 0;
}

static void softmax(int n, float scale, const int *lo, const int *hi, float *s, float *max, float *sum, float *acc,
                    size_t width) {
    const vf times = vf_set(scale), none = vf_set(-INFINITY);
    for (int v = 0; v < n; v++, s += B, acc += width) {
        uint32_t bits = span(lo[v], hi[v]);
        if (!bits) {
            vf_store(s, vf_zero());
            vf_store(s + VF, vf_zero());
            continue;
        }
        vf x = vf_mul(vf_load(s), times), y = vf_mul(vf_load(s + VF), times);
        if (bits != UINT32_MAX) {
            x = vf_pick(x, none, bits & 0xffff);
            y = vf_pick(y, none, bits >> 16);
        }
        float top = vf_top(vf_max(x, y)), c = 1;
        if (top > max[v]) { /* else the factor is 1 and changes nothing */
            c = tn_op_expf(max[v] - top);
            max[v] = top;
            for (size_t i = 0; i < width; i += VF)
                vf_store(acc + i, vf_flush(vf_mul(vf_load(acc + i), vf_set(c))));
        }
        vf m = vf_set(max[v]);
        x = vf_exp(vf_sub(x, m));
        y = vf_exp(vf_sub(y, m));
        sum[v] = fmaf(sum[v], c, vf_sum(vf_add(x, y)));
        vf_store(s, x);
        vf_store(s + VF, y);
    }
}

static void grad(int n, float scale, const int *lo, const int *hi, const float *lse, const float *D, float *s, float *ds) {
    const vf times = vf_set(scale), zero = vf_zero();
    for (int v = 0; v < n; v++, s += B, ds += B) {
        uint32_t bits = span(lo[v], hi[v]);
        for (int i = 0; i < B; i += VF, bits >>= 16) {
            vf p = vf_exp(vf_sub(vf_mul(vf_load(s + i), times), vf_set(lse[v])));
            vf d = vf_mul(p, vf_sub(vf_load(ds + i), vf_set(D[v])));
            if ((bits & 0xffff) != 0xffff) {
                p = vf_pick(p, zero, bits & 0xffff);
                d = vf_pick(d, zero, bits & 0xffff);
            }
            vf_store(s + i, p);
            vf_store(ds + i, d);
        }
    }
}

static void divide(uint16_t *y, const float *x, float by, int n) {
    for (int i = 0; i < n; i += VF) vf_put_half(y + i, vf_add(vf_div(vf_get(x + i, n - i), vf_set(by)), vf_zero()), n - i);
}

static void row_D(const tn_attn_job *j, size_t row, float *D) {
    int d = j->a->head_dim;
    for (int h = 0; h < j->a->heads; h++) {
        const float *dout = j->dout + row * (size_t)j->lddo + (size_t)h * (size_t)d;
        const uint16_t *out = j->out_half_in + row * (size_t)j->ldo + (size_t)h * (size_t)d;
        vf sum = vf_zero();
        for (int i = 0; i < d; i += VF) {
            vf y = vf_fma(vf_get(dout + i, d - i), vf_get_half(out + i, d - i), sum);
            sum = d - i < VF ? vf_keepn(y, sum, d - i) : y;
        }
        D[h] = vf_sum(sum);
    }
}

static void times(float *y, const float *x, float by, int n) {
    for (int i = 0; i < n; i += VF) vf_put(y + i, vf_add(vf_mul(vf_get(x + i, n - i), vf_set(by)), vf_zero()), n - i);
}

static void turn(float *y, size_t ldy, const float *x, int d) {
    for (int i = 0; i < d; i += VF)
        for (int r = 0; r < B; r += VF) vf_transpose(x + i * B + r, B, y + (size_t)r * ldy + i, ldy);
}

static void expand(tn_form f, float *y, size_t ld, const uint32_t *panel, int units) {
    for (int u = 0; u < units; u++, panel += TN_NR) {
        if (f == TN_FORM_SWAP) {
            memcpy(y + (size_t)(u ^ 1) * ld, panel, TN_NR * sizeof *panel);
            continue;
        }
        uint32_t low[TN_NR], high[TN_NR];
        for (int i = 0; i < TN_NR; i++) low[i] = panel[i] << 16, high[i] = panel[i] & 0xffff0000u;
        memcpy(y + (size_t)(2 * u) * ld, low, sizeof low);
        memcpy(y + (size_t)(2 * u + 1) * ld, high, sizeof high);
    }
}

static void value(tn_form f, uint32_t *panel, int slot, const uint16_t *v, int n) {
    if (f == TN_FORM_SWAP) {
        panel += (size_t)(slot ^ 1) * TN_NR;
        for (int i = 0; i < n; i++) panel[i] = (uint32_t)v[i] << 16;
        return;
    }
    panel += (size_t)(slot / 2) * TN_NR;
    if (slot % 2)
        for (int i = 0; i < n; i++) panel[i] = (panel[i] & 0xffffu) | (uint32_t)v[i] << 16;
    else
        for (int i = 0; i < n; i++) panel[i] = (panel[i] & 0xffff0000u) | v[i];
}

const tn_attn_bf16_rows VF_SUFFIX(tn_attn_bf16) = {
    .softmax = softmax, .grad = grad, .divide = divide, .times = times, .turn = turn, .expand = expand, .value = value,
    .row_D = row_D};
