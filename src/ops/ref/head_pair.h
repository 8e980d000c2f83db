/* Reference divergences between two models' distributions: ops.h N10, word for word. */

static int tile_width(int V, int v0) { return V - v0 < TN_HEAD_TILE ? V - v0 : TN_HEAD_TILE; }

/* Log-prob of column v in a row of R. */
static real column(tn_backend *b, const void *x, const tn_weight *w, double inv_temp, const double *lse, int row,
                   int v) {
    const real *a = (const real *)x + (size_t)row * w->in, *c = (const real *)w->packed + (size_t)v * w->in;
    return dot(b, a, 1, c, 1, w->in) * (real)inv_temp - (real)lse[row];
}

/* n: the mixture's log-prob. */
static real mixture(real u, real w, double beta) {
    real b = (real)beta, c = 1 - b, t = u > w ? u : w;
    return t + LOG(FMA(b, EXP(w - t), c * EXP(u - t)));
}

static void ref_head_pair(tn_backend *b, const tn_head_pair *h) {
    real beta = (real)h->beta;
    for (int r = 0; r < h->rows; r++) {
        real sum[4] = {0};
        for (int v0 = 0; v0 < h->w->out; v0 += TN_HEAD_TILE) {
            real lane[4][LANES] = {{0}};
            for (int i = 0; i < tile_width(h->w->out, v0); i++) {
                real u = column(b, h->x, h->w, h->inv_temp, h->lse, r, v0 + i), p = EXP(u);
                real w = column(b, h->x2, h->w2, h->inv_temp, h->lse2, r, v0 + i), q = EXP(w);
                real n = h->jsd || h->kl_mix ? mixture(u, w, h->beta) : 0;
                real with[4][2] = {{p, u - w}, {q, w - u}, {p, u - n}, {q, w - n}};
                for (int k = 0; k < 4; k++) lane[k][i % LANES] = FMA(with[k][0], with[k][1], lane[k][i % LANES]);
            }
            for (int k = 0; k < 4; k++) sum[k] = sum[k] + lanes_sum(lane[k]);
        }
        if (h->kl) h->kl[r] = sum[0];
        if (h->rkl) h->rkl[r] = sum[1];
        if (h->kl_mix) h->kl_mix[r] = sum[2];
        if (h->jsd) h->jsd[r] = FMA(beta, sum[3], (1 - beta) * sum[2]);
    }
}

/* s of a column, before what the target adds; u, p, g as N8 has them. */
static real pair_share(tn_backend *b, const tn_head_bwd *h, int row, int v, real u, real p, real g) {
    const tn_head_pair *a = h->pair;
    real w = column(b, a->x2, a->w2, h->inv_temp, a->lse2, row, v), d_rkl = h->d_rkl ? (real)h->d_rkl[row] : 0;
    if (h->d_kl) g = g + (real)h->d_kl[row] * ((u - w) - (real)a->kl[row]);
    if (h->d_jsd)
        g = g + ((real)h->d_jsd[row] * (1 - (real)a->beta)) * ((u - mixture(u, w, a->beta)) - (real)a->kl_mix[row]);
    if (!h->d_rkl) return p * g;
    real s = p * (g + d_rkl);
    return s - d_rkl * EXP(w);
}
