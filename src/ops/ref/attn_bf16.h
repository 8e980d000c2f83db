/* Reference attention of the bf16 profiles (ops.h N11).
 *
 * dot(a, b) is a product of N3 over the head's d elements; more(acc, a, b) goes on from acc over 32 keys, or over 32
 * rows, of which the masked and the absent have a zero in a: for one query row and head, over the blocks
 * of its chain that have a visible key, in order,
 *
 *   s_j = dot(q, k_j) * scale;  m' = max(m, max s_j);  p_j = exp(s_j - m'), 0 for masked keys;  b = sum of p (N4)
 *   first block:  l = b;  acc[i] = more(0, p, v[i])
 *   others:       c = exp(m - m');  l = fma(l, c, b);  acc[i] = more(flush(acc[i] * c), p, v[i])
 *   at the end:   out[i] = acc[i] / l + 0, rounded (N12);  lse = m + log(l) (double, rounded once)
 *
 * Backward, with s as above:
 *   p_j = exp(s_j - lse);  D = sum_i dO[i] O[i] (N4, dO float, O as rounded);  ds_j = p_j (dot(dO, v_j) - D);  both 0 for masked keys
 *   dq[i] = chain of more(acc, ds, k[i]) over the blocks * scale + 0
 *   dk_j[i] = chain of more(acc, ds_j, q[i]) * scale + 0;  dv_j[i] = chain of more(acc, p_j, dO[i]) + 0: over the heads
 *     of the group ascending, the segments that see the key in the order of `desc`, and pieces of 32 of
 *     their rows, counted from the segment's first                                          */

#define BF16_DIM 512 /* largest head_dim */

/* s_j of the visible keys; the largest of them and `max`. */
static real bf16_scores(const tn_backend *b, real *s, real max, const real *q, const real *kt, const tn_attn *a,
                        const tn_kblock *k, int qpos) {
    for (int j = 0; j < TN_KV_BLOCK; j++) {
        if (!key_visible(a, k, j, qpos)) continue;
        s[j] = dot(b, q, 1, kt + j, TN_KV_BLOCK, a->head_dim) * (real)a->scale;
        if (s[j] > max) max = s[j];
    }
    return max;
}

/* A row's state before its first block: m = -inf, l = 0, acc = 0. */
static void bf16_block(const tn_backend *b, attn_row *r, real *acc, const real *q, const real *kt, const tn_attn *a,
                       const tn_kblock *k, int qpos) {
    int d = a->head_dim;
    real s[TN_KV_BLOCK], p[TN_KV_BLOCK] = {0}, max = bf16_scores(b, s, r->m, q, kt, a, k, qpos);
    for (int j = 0; j < TN_KV_BLOCK; j++)
        if (key_visible(a, k, j, qpos)) p[j] = EXP(s[j] - max);
    real c = EXP(r->m - max);
    r->l = FMA(r->l, c, row_sum(p, TN_KV_BLOCK));
    r->m = max;
    for (int i = 0; i < d; i++)
        acc[i] = more(b, FLUSH(acc[i] * c), p, 1, kt + (size_t)d * TN_KV_BLOCK + i, (size_t)d, TN_KV_BLOCK);
}

/* A head's operands as floats, which rounding leaves as they are. */
static void bf16_floats(const tn_backend *b, real *x, const void *rows, size_t at, int d) {
    for (int i = 0; i < d; i++) x[i] = operand(b, rows, at + i);
}

static void bf16_attn(tn_backend *b, void *outv, int ldo, void *lsev, const void *qkv, int ld, const void *pool,
                      const tn_attn *a) {
    int d = a->head_dim, H = a->heads, group = H / a->kv_heads;
    for (int s = 0; s < a->n_seg; s++) {
        const tn_aseg *seg = &a->seg[s];
        for (int t = seg->start; t < seg->start + seg->len; t++)
            for (int h = 0; h < H; h++) {
                real q[BF16_DIM], out[BF16_DIM];
                bf16_floats(b, q, qkv, (size_t)t * ld + (size_t)h * d, d);
                int qpos = seg->pos + t - seg->start;
                attn_row r = {(real)-INFINITY, 0, false};
                for (int i = 0; i < d; i++) out[i] = 0;
                for (int c = seg->chain; c < seg->chain + seg->n_chain; c++)
                    if (block_visible(a, &a->chain[c], qpos))
                        bf16_block(b, &r, out, q, block_head(b, pool, a->chain[c].block, a, h / group), a, &a->chain[c],
                                   qpos);
                for (int i = 0; i < d; i++) operand_put(b, outv, (size_t)t * ldo + (size_t)h * d + i, out[i] / r.l + 0);
                if (lsev) ((real *)lsev)[(size_t)t * H + h] = (real)((double)r.m + tn_log((double)r.l));
            }
    }
}

/* One query row and head in the backward pass: q and dO as floats. */
typedef struct bf16_row { real q[BF16_DIM], dout[BF16_DIM], lse, D; int pos; } bf16_row;

/* p and ds of a visible key. */
static void bf16_key(const tn_backend *b, const tn_attn *a, const bf16_row *g, const real *kt, int j, real *p, real *ds) {
    size_t d = (size_t)a->head_dim;
    const real *v = kt + d * TN_KV_BLOCK + (size_t)j * d;
    *p = EXP(dot(b, g->q, 1, kt + j, TN_KV_BLOCK, a->head_dim) * (real)a->scale - g->lse);
    *ds = *p * (dot(b, g->dout, 1, v, 1, a->head_dim) - g->D);
}

static void bf16_grad_query(const tn_backend *b, real *dq, const bf16_row *g, const void *pool, const tn_attn *a,
                            const tn_aseg *seg, int kv_head) {
    int d = a->head_dim;
    for (int i = 0; i < d; i++) dq[i] = 0;
    for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
        const tn_kblock *k = &a->chain[c];
        const real *kt = block_head(b, pool, k->block, a, kv_head);
        real p, ds[TN_KV_BLOCK] = {0};
        for (int j = 0; j < TN_KV_BLOCK; j++)
            if (key_visible(a, k, j, g->pos)) bf16_key(b, a, g, kt, j, &p, &ds[j]);
        for (int i = 0; i < d; i++) dq[i] = more(b, dq[i], ds, 1, kt + (size_t)i * TN_KV_BLOCK, 1, TN_KV_BLOCK);
    }
    for (int i = 0; i < d; i++) dq[i] = dq[i] * (real)a->scale + 0;
}

/* The arguments of attn_bwd. */
typedef struct bf16_bwd {
    tn_backend *b;
    const tn_attn *a;
    real *dqkv;
    const real *dout, *lse;
    const void *out, *qkv;
    int lddq, lddo, ldo, ld;
    const void *pool;
} bf16_bwd;

static void bf16_row_of(const bf16_bwd *w, bf16_row *g, const tn_aseg *seg, int t, int h) {
    int d = w->a->head_dim;
    size_t col = (size_t)h * d;
    real out[BF16_DIM];
    bf16_floats(w->b, g->q, w->qkv, (size_t)t * w->ld + col, d);
    bf16_floats(w->b, out, w->out, (size_t)t * w->ldo + col, d);
    memcpy(g->dout, w->dout + (size_t)t * w->lddo + col, (size_t)d * sizeof(real));
    g->lse = w->lse[(size_t)t * w->a->heads + h];
    g->D = row_dot(g->dout, out, d);
    g->pos = seg->pos + t - seg->start;
}

/* What n <= 32 rows of a segment, from row t on, give to key j of a block. */
static void bf16_piece(const bf16_bwd *w, real *dk, real *dv, const tn_aseg *see, int t, int n, int h,
                       const tn_kblock *k, const real *kt, int j) {
    int d = w->a->head_dim;
    real p[TN_KV_BLOCK] = {0}, ds[TN_KV_BLOCK] = {0};
    static _Thread_local bf16_row g[TN_KV_BLOCK];
    for (int r = 0; r < n; r++) {
        bf16_row_of(w, &g[r], see, t + r, h);
        if (key_visible(w->a, k, j, g[r].pos)) bf16_key(w->b, w->a, &g[r], kt, j, &p[r], &ds[r]);
    }
    size_t row = sizeof *g / sizeof(real);
    for (int i = 0; i < d; i++) {
        dk[i] = more(w->b, dk[i], ds, 1, g[0].q + i, row, n);
        dv[i] = more(w->b, dv[i], p, 1, g[0].dout + i, row, n);
    }
}

/* dk and dv of own row `own` of segment s. */
static void bf16_grad_key(const bf16_bwd *w, int s, int own, int kv) {
    const tn_attn *a = w->a;
    const tn_aseg *seg = &a->seg[s];
    int d = a->head_dim, H = a->heads, G = a->kv_heads, group = H / G, j = own % TN_KV_BLOCK;
    const tn_kblock *k = &a->chain[seg->chain + seg->own + own / TN_KV_BLOCK];
    const real *kt = block_head(w->b, w->pool, k->block, a, kv);
    real *dk = w->dqkv + (size_t)(seg->start + own) * w->lddq + (size_t)(H + kv) * d, *dv = dk + (size_t)G * d;
    for (int i = 0; i < d; i++) dk[i] = dv[i] = 0;
    for (int h = kv * group; h < (kv + 1) * group; h++)
        for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++) {
            const tn_aseg *see = &a->seg[a->desc[e]];
            for (int r = 0; r < see->len; r += TN_KV_BLOCK)
                bf16_piece(w, dk, dv, see, see->start + r, see->len - r < TN_KV_BLOCK ? see->len - r : TN_KV_BLOCK, h, k,
                           kt, j);
        }
    for (int i = 0; i < d; i++) {
        dk[i] = dk[i] * (real)a->scale + 0;
        dv[i] = dv[i] + 0;
    }
}

static void bf16_attn_bwd(const bf16_bwd *w) {
    const tn_attn *a = w->a;
    int H = a->heads, G = a->kv_heads;
    for (int s = 0; s < a->n_seg; s++) {
        const tn_aseg *seg = &a->seg[s];
        for (int i = 0; i < seg->len; i++) {
            for (int h = 0; h < H; h++) {
                bf16_row g;
                bf16_row_of(w, &g, seg, seg->start + i, h);
                real *dq = w->dqkv + (size_t)(seg->start + i) * w->lddq + (size_t)h * a->head_dim;
                bf16_grad_query(w->b, dq, &g, w->pool, a, seg, h / (H / G));
            }
            for (int kv = 0; kv < G; kv++) bf16_grad_key(w, s, i, kv);
        }
    }
}

/* ---- by the backend's profile ---- */
static void ref_attn(tn_backend *b, void *out, int ldo, void *lse, const void *qkv, int ld, const void *pool,
                     const tn_attn *a) {
    if (b->dtype == TN_BF16) bf16_attn(b, out, ldo, lse, qkv, ld, pool, a);
    else full_attn(b, out, ldo, lse, qkv, ld, pool, a);
}

static void ref_attn_bwd(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo, const void *out, int ldo,
                         const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a) {
    if (b->dtype == TN_BF16)
        bf16_attn_bwd(&(bf16_bwd){b, a, dqkv, dout, lse, out, qkv, lddq, lddo, ldo, ld, pool});
    else full_attn_bwd(b, dqkv, lddq, dout, lddo, out, ldo, lse, qkv, ld, pool, a);
}
