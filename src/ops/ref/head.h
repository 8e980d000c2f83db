/* Reference language-model head: ops.h N8, word for word. */
#include "ops/ref/head_pair.h"

typedef struct head_stat { real m, s, w, a, q; } head_stat;

static head_stat head_tile(const real *z, const real *a, int n) {
    head_stat t = {z[0], 0, 0, row_sum(a, n), 0};
    real s[LANES] = {0}, w[LANES] = {0}, q[LANES] = {0};
    for (int v = 1; v < n; v++)
        if (z[v] > t.m) t.m = z[v];
    for (int v = 0; v < n; v++) {
        real e = EXP(z[v] - t.m);
        s[v % LANES] = s[v % LANES] + e;
        w[v % LANES] = FMA(e, z[v], w[v % LANES]);
        q[v % LANES] = FMA(e, e, q[v % LANES]);
    }
    t.s = lanes_sum(s);
    t.w = lanes_sum(w);
    t.q = lanes_sum(q);
    return t;
}

static head_stat head_merge(head_stat x, head_stat t) {
    real m = x.m > t.m ? x.m : t.m, c = EXP(x.m - m), ct = EXP(t.m - m);
    head_stat y = {m, FMA(t.s, ct, x.s * c), FMA(t.w, ct, x.w * c), x.a + t.a, FMA(t.q, ct * ct, x.q * (c * c))};
    return y;
}

static void head_row(tn_backend *b, const tn_head *h, int row) {
    const real *x = (const real *)h->x + (size_t)row * h->w->in, *w = h->w->packed;
    int V = h->w->out, in = h->w->in, target = h->target ? h->target[row] : -1, best = 0;
    real z[TN_HEAD_TILE], a[TN_HEAD_TILE], zt = 0, top = 0;
    head_stat all = {0, 0, 0, 0, 0};
    for (int v0 = 0; v0 < V; v0 += TN_HEAD_TILE) {
        int n = tile_width(V, v0);
        for (int v = 0; v < n; v++) {
            a[v] = dot(b, x, 1, w + (size_t)(v0 + v) * in, 1, in);
            z[v] = a[v] * (real)h->inv_temp;
            if (v0 + v == target) zt = z[v];
            if (v0 + v == 0 || z[v] > top) {
                top = z[v];
                best = v0 + v;
            }
            if (h->z) h->z[(size_t)row * V + v0 + v] = (float)z[v];
        }
        head_stat t = head_tile(z, a, n);
        all = v0 ? head_merge(all, t) : t;
    }
    real lse = (real)((double)all.m + tn_log((double)all.s)), share = all.w / all.s;
    if (h->lse) h->lse[row] = lse;
    if (h->logp) h->logp[row] = target >= 0 ? (real)(zt - lse) : 0;
    if (h->entropy) h->entropy[row] = (real)(lse - share);
    if (h->mean_logit) h->mean_logit[row] = (real)(all.a / (real)V);
    if (h->top1) h->top1[row] = target >= 0 && best == target;
    if (h->log_sum_sq) h->log_sum_sq[row] = (real)(tn_log((double)all.q) - 2 * tn_log((double)all.s));
}

static void ref_head(tn_backend *b, const tn_head *h) {
    for (int r = 0; r < h->rows; r++) head_row(b, h, r);
}

/* dz of one row over the n columns from v0. */
static void head_dz(tn_backend *b, const tn_head_bwd *h, int row, int v0, int n, real *dz) {
    const real *x = (const real *)h->x + (size_t)row * h->w->in, *w = h->w->packed;
    int in = h->w->in, target = h->target ? h->target[row] : -1;
    real temp = (real)h->inv_temp, lse = (real)h->lse[row];
    real dlogp = h->d_logp && target >= 0 ? (real)h->d_logp[row] : 0;
    real c = (h->d_lse ? (real)h->d_lse[row] : 0) - dlogp;
    for (int v = 0; v < n; v++) {
        real u = dot(b, x, 1, w + (size_t)(v0 + v) * in, 1, in) * temp - lse, p = EXP(u), g = c;
        if (h->d_entropy) g = c - (real)h->d_entropy[row] * (u + (real)h->entropy[row]);
        real q = h->pair ? pair_share(b, h, row, v0 + v, u, p, g) : p * g;
        if (v0 + v == target) q = q + dlogp;
        dz[v] = q * temp;
    }
}

/* One tile of columns of one block of rows: dz [R][n] is there. */
static void head_tile_bwd(tn_backend *b, const tn_head_bwd *h, int r0, int R, int v0, int n, const real *dz) {
    int in = h->w->in;
    const real *w = (const real *)h->w->packed + (size_t)v0 * in;
    real *dx = h->dx;
    for (int r = 0; dx && r < R; r++)
        for (int i = 0; i < in; i++) {
            real acc = dot(b, dz + (size_t)r * n, 1, w + i, in, n), *at = dx + (size_t)(r0 + r) * in + i;
            *at = v0 ? *at + acc : acc;
        }
    if (h->dw)
        gemm_dw_of(b, (real *)h->dw + (size_t)v0 * in, elements(dz, n), elements((const real *)h->x + (size_t)r0 * in, in),
                   R, n, in);
}

static void ref_head_bwd(tn_backend *b, const tn_head_bwd *h) {
    real *dz = tn_backend_scratch(b, (size_t)TN_HEAD_ROWS * TN_HEAD_TILE * sizeof(real));
    for (int r0 = 0; dz && r0 < h->rows; r0 += TN_HEAD_ROWS) {
        int R = h->rows - r0 < TN_HEAD_ROWS ? h->rows - r0 : TN_HEAD_ROWS;
        for (int v0 = 0; v0 < h->w->out; v0 += TN_HEAD_TILE) {
            int n = tile_width(h->w->out, v0);
            for (int r = 0; r < R; r++) head_dz(b, h, r0 + r, v0, n, dz + (size_t)r * n);
            head_tile_bwd(b, h, r0, R, v0, n, dz);
        }
    }
}
