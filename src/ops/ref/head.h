/* Reference language-model head (N8).
 *
 * z_v = (x . W_v) inv_temp.  Per tile of 1024 columns: m_t = max z;  s_t = sum exp(z - m_t);
 *   u_t = sum exp(z - m_t) (z - m_t) (lanes of N4 with FMAs);  r_t = sum of z before inv_temp.
 * Tiles are merged in order (the first is taken as it is): m' = max(m, m_t), f = exp(m - m'), f_t = exp(m_t - m'):
 *   s' = s f + s_t f_t      as fma(s_t, f_t, s f)
 *   u' = (u + s (m - m')) f + (u_t + s_t (m_t - m')) f_t, each bracket one fma, the sum an fma like s'
 *   r' = r + r_t
 * lse = m + log s and entropy = log s - u / s in double, rounded once to the element (this is
 * lse - sum p z without its cancellation);  logp = z[target] - lse;  mean_logit = r / V;
 * top1 = 1 when the target is the first of the largest logits, else 0. logp and top1 are 0 for target -1.
 *
 * Backward: l = z - lse, p = exp(l), c = d_lse - d_logp;
 *   dz_v = inv_temp * (p fma(-d_entropy, l + entropy, c) + (v == target ? d_logp : 0))
 * (a target of -1 has no d_logp);  dx = dz W and dW += dz^T x are matrix products (N2, N3).       */

typedef struct head_stat { real m, s, u, r; } head_stat;

static head_stat head_tile(const real *z, const real *raw, int n) {
    head_stat t = {z[0], 0, 0, row_sum(raw, n)};
    real ps[LANES] = {0}, pu[LANES] = {0};
    for (int v = 1; v < n; v++)
        if (z[v] > t.m) t.m = z[v];
    for (int v = 0; v < n; v++) {
        real l = z[v] - t.m, p = EXP(l);
        ps[v % LANES] = ps[v % LANES] + p;
        pu[v % LANES] = FMA(p, l, pu[v % LANES]);
    }
    t.s = lanes_sum(ps);
    t.u = lanes_sum(pu);
    return t;
}

static head_stat head_merge(head_stat a, head_stat t) {
    real m = a.m > t.m ? a.m : t.m, fa = EXP(a.m - m), ft = EXP(t.m - m);
    real ua = FMA(a.s, a.m - m, a.u), ut = FMA(t.s, t.m - m, t.u);
    head_stat x = {m, FMA(t.s, ft, a.s * fa), FMA(ut, ft, ua * fa), a.r + t.r};
    return x;
}

static void head_row(tn_backend *b, const tn_head *h, int row) {
    const real *x = (const real *)h->x + (size_t)row * h->w->in, *w = h->w->packed;
    int V = h->w->out, in = h->w->in, target = h->target ? h->target[row] : -1, best = 0;
    real z[TN_HEAD_TILE], raw[TN_HEAD_TILE], zt = 0, top = 0;
    head_stat all = {0, 0, 0, 0};
    for (int v0 = 0; v0 < V; v0 += TN_HEAD_TILE) {
        int n = V - v0 < TN_HEAD_TILE ? V - v0 : TN_HEAD_TILE;
        for (int v = 0; v < n; v++) {
            raw[v] = dot(b, x, 1, w + (size_t)(v0 + v) * in, 1, in);
            z[v] = raw[v] * (real)h->inv_temp;
            if (v0 + v == target) zt = z[v];
            if (v0 + v == 0 || z[v] > top) {
                top = z[v];
                best = v0 + v;
            }
            if (h->z) h->z[(size_t)row * V + v0 + v] = (float)z[v];
        }
        head_stat t = head_tile(z, raw, n);
        all = v0 ? head_merge(all, t) : t;
    }
    double logs = tn_log((double)all.s);
    real lse = (real)((double)all.m + logs);
    if (h->lse) h->lse[row] = lse;
    if (h->logp) h->logp[row] = target >= 0 ? (real)(zt - lse) : 0;
    if (h->entropy) h->entropy[row] = (real)(logs - (double)(all.u / all.s));
    if (h->mean_logit) h->mean_logit[row] = all.r / (real)V;
    if (h->top1) h->top1[row] = target >= 0 && best == target;
}

static void ref_head(tn_backend *b, const tn_head *h) {
    for (int r = 0; r < h->rows; r++) head_row(b, h, r);
}

static void head_dz(tn_backend *b, const tn_head_bwd *h, int row, real *dz) {
    const real *x = (const real *)h->x + (size_t)row * h->w->in, *w = h->w->packed;
    int V = h->w->out, in = h->w->in, target = h->target ? h->target[row] : -1;
    real temp = (real)h->inv_temp, lse = (real)h->lse[row];
    real dlogp = h->d_logp && target >= 0 ? (real)h->d_logp[row] : 0;
    real dent = h->d_entropy ? (real)h->d_entropy[row] : 0, H = h->d_entropy ? (real)h->entropy[row] : 0;
    real c = (h->d_lse ? (real)h->d_lse[row] : 0) - dlogp;
    for (int v = 0; v < V; v++) {
        real l = dot(b, x, 1, w + (size_t)v * in, 1, in) * temp - lse, p = EXP(l);
        real g = p * FMA(-dent, l + H, c);
        if (v == target) g = g + dlogp;
        dz[v] = g * temp;
    }
}

static void ref_head_bwd(tn_backend *b, const tn_head_bwd *h) {
    int V = h->w->out, in = h->w->in, R = h->rows;
    const real *w = h->w->packed_t;
    real *dx = h->dx, *dz = tn_backend_scratch(b, (size_t)R * (size_t)V * sizeof(real));
    if (!dz) { /* the caller finds the NaNs */
        for (size_t i = 0; dx && i < (size_t)R * in; i++) dx[i] = NAN;
        if (h->dw && V * in > 0) ((real *)h->dw)[0] = NAN;
        return;
    }
    for (int r = 0; r < R; r++) head_dz(b, h, r, dz + (size_t)r * V);
    for (int r = 0; dx && r < R; r++)
        for (int i = 0; i < in; i++) dx[(size_t)r * in + i] = dot(b, dz + (size_t)r * V, 1, w + i, in, V);
    if (h->dw) ref_gemm_dw(b, h->dw, dz, V, h->x, in, R, V, in);
}
