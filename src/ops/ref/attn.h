/* Reference attention over key/value blocks of 32: f32 and f64 (bf16: attn_bf16.h).
 *
 * A block holds, for each of the G key/value heads, K^T [d][32] and then V [32][d].
 * Head h reads key/value head h / (H/G). For one query row and head, over the blocks of its
 * segment's chain in order, j over the block's visible keys (a block without any is skipped):
 *
 *   s_j = (chain of fma(q[i], k_j[i]) over i from 0) * scale
 *   m'  = max(m, max_j s_j)
 *   p_j = exp(s_j - m'), 0 for masked keys;  b = sum of the 32 p (N4)
 *   first block:  l = b;  acc[i] = chain of fma(p_j, v_j[i]) over visible j ascending, from 0
 *   others:       c = exp(m - m');  l = fma(l, c, b);  the chain continues from acc[i] * c
 *   at the end:   out[i] = acc[i] / l;  lse = m + log(l) (double, rounded once)
 *
 * Backward, with s as above:
 *   p_j = exp(s_j - lse);  D = sum_i dO[i] O[i] (N4);  dp_j = chain of fma(dO[i], v_j[i]) from 0
 *   ds_j = p_j (dp_j - D)
 *   dq[i] = scale * chain of fma(ds_j, k_j[i]) over the chain's visible keys in order
 *   dk_j[i] = scale * chain of fma(ds_j, q[i]);  dv_j[i] = chain of fma(p_j, dO[i]),
 *     both over the heads of the group ascending, the segments that see the key in the order of
 *     `desc`, and their rows ascending                                                        */

static size_t ref_kv_block_bytes(const tn_backend *b, int kv_heads, int head_dim) {
    return (size_t)kv_heads * 2 * TN_KV_BLOCK * (size_t)head_dim * sizeof(real);
}

/* K^T of a block's head; V follows at d * 32. */
static real *block_head(const tn_backend *b, const void *pool, int32_t block, const tn_attn *a, int g) {
    size_t bytes = ref_kv_block_bytes(b, a->kv_heads, a->head_dim);
    return (real *)((char *)(uintptr_t)pool + (size_t)block * bytes) +
           (size_t)g * 2 * TN_KV_BLOCK * (size_t)a->head_dim;
}

static void ref_kv_write(tn_backend *b, void *pool, const void *qkv, int ld, const tn_attn *a) {
    int d = a->head_dim, H = a->heads, G = a->kv_heads;
    for (int t = 0; t < a->n_tok; t++) {
        int slot = a->row_slot[t];
        if (slot == 0)
            memset(block_head(b, pool, a->row_block[t], a, 0), 0, ref_kv_block_bytes(b, G, d));
        for (int g = 0; g < G; g++) {
            size_t k = (size_t)t * ld + (size_t)(H + g) * d, v = k + (size_t)G * d;
            real *kt = block_head(b, pool, a->row_block[t], a, g), *vb = kt + (size_t)d * TN_KV_BLOCK;
            for (int i = 0; i < d; i++) {
                kt[(size_t)i * TN_KV_BLOCK + slot] = operand(b, qkv, k + i);
                vb[(size_t)slot * d + i] = operand(b, qkv, v + i);
            }
        }
    }
}

static bool key_visible(const tn_attn *a, const tn_kblock *k, int j, int qpos) {
    int p = k->pos + j;
    return j < k->n && p <= qpos && (a->window == 0 || p > qpos - a->window);
}

static bool block_visible(const tn_attn *a, const tn_kblock *k, int qpos) {
    for (int j = 0; j < k->n; j++)
        if (key_visible(a, k, j, qpos)) return true;
    return false;
}

static real key_dot(const real *q, const real *kt, int j, int d) {
    real acc = 0;
    for (int i = 0; i < d; i++) acc = FMA(q[i], kt[(size_t)i * TN_KV_BLOCK + j], acc);
    return acc;
}

typedef struct attn_row { real m, l; bool any; } attn_row;

static void attn_block(attn_row *r, real *acc, const real *q, const real *kt, const tn_attn *a,
                       const tn_kblock *k, int qpos) {
    int d = a->head_dim;
    const real *v = kt + (size_t)d * TN_KV_BLOCK;
    real s[TN_KV_BLOCK], p[TN_KV_BLOCK] = {0}, max = (real)-INFINITY;
    for (int j = 0; j < TN_KV_BLOCK; j++)
        if (key_visible(a, k, j, qpos)) {
            s[j] = key_dot(q, kt, j, d) * (real)a->scale;
            if (s[j] > max) max = s[j];
        }
    if (r->any && r->m > max) max = r->m;
    for (int j = 0; j < TN_KV_BLOCK; j++)
        if (key_visible(a, k, j, qpos)) p[j] = EXP(s[j] - max);
    real sum = row_sum(p, TN_KV_BLOCK);
    if (r->any) {
        real c = EXP(r->m - max);
        r->l = FMA(r->l, c, sum);
        for (int i = 0; i < d; i++) acc[i] = acc[i] * c;
    } else {
        r->l = sum;
        for (int i = 0; i < d; i++) acc[i] = 0;
    }
    r->m = max;
    r->any = true;
    for (int j = 0; j < TN_KV_BLOCK; j++)
        if (key_visible(a, k, j, qpos))
            for (int i = 0; i < d; i++) acc[i] = FMA(p[j], v[(size_t)j * d + i], acc[i]);
}

static void full_attn(tn_backend *b, void *outv, int ldo, void *lsev, const void *qkv, int ld, const void *pool,
                      const tn_attn *a) {
    int d = a->head_dim, H = a->heads, group = H / a->kv_heads;
    for (int s = 0; s < a->n_seg; s++) {
        const tn_aseg *seg = &a->seg[s];
        for (int t = seg->start; t < seg->start + seg->len; t++)
            for (int h = 0; h < H; h++) {
                const real *q = (const real *)qkv + (size_t)t * ld + (size_t)h * d;
                real *out = (real *)outv + (size_t)t * ldo + (size_t)h * d;
                int qpos = seg->pos + t - seg->start;
                attn_row r = {0, 0, false};
                for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
                    const tn_kblock *k = &a->chain[c];
                    if (block_visible(a, k, qpos))
                        attn_block(&r, out, q, block_head(b, pool, k->block, a, h / group), a, k, qpos);
                }
                for (int i = 0; i < d; i++) out[i] = out[i] / r.l;
                if (lsev) ((real *)lsev)[(size_t)t * H + h] = (real)((double)r.m + tn_log((double)r.l));
            }
    }
}

/* One query row and head in the backward pass. */
typedef struct attn_grad { const real *q, *dout; real lse, D; int pos; } attn_grad;

static attn_grad grad_row(const tn_attn *a, const tn_aseg *seg, int t, int h, const real *qkv, int ld,
                          const real *dout, int lddo, const real *out, int ldo, const real *lse) {
    size_t col = (size_t)h * a->head_dim;
    attn_grad g = {qkv + (size_t)t * ld + col, dout + (size_t)t * lddo + col,
                   lse[(size_t)t * a->heads + h], 0, seg->pos + t - seg->start};
    g.D = row_dot(g.dout, out + (size_t)t * ldo + col, a->head_dim);
    return g;
}

/* p and ds of one key. */
static void grad_key(const tn_attn *a, const attn_grad *g, const real *kt, int j, real *p, real *ds) {
    int d = a->head_dim;
    const real *v = kt + (size_t)d * TN_KV_BLOCK + (size_t)j * d;
    real dp = 0;
    for (int i = 0; i < d; i++) dp = FMA(g->dout[i], v[i], dp);
    *p = EXP(key_dot(g->q, kt, j, d) * (real)a->scale - g->lse);
    *ds = *p * (dp - g->D);
}

static void attn_grad_query(tn_backend *b, real *dq, const attn_grad *g, const void *pool,
                            const tn_attn *a, const tn_aseg *seg, int kv_head) {
    int d = a->head_dim;
    for (int i = 0; i < d; i++) dq[i] = 0;
    for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
        const tn_kblock *k = &a->chain[c];
        const real *kt = block_head(b, pool, k->block, a, kv_head);
        for (int j = 0; j < k->n; j++) {
            if (!key_visible(a, k, j, g->pos)) continue;
            real p, ds;
            grad_key(a, g, kt, j, &p, &ds);
            for (int i = 0; i < d; i++) dq[i] = FMA(ds, kt[(size_t)i * TN_KV_BLOCK + j], dq[i]);
        }
    }
    for (int i = 0; i < d; i++) dq[i] = dq[i] * (real)a->scale;
}

static void full_attn_bwd(tn_backend *b, void *dqkvv, int lddq, const void *dout, int lddo, const void *out, int ldo,
                          const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a) {
    int d = a->head_dim, H = a->heads, G = a->kv_heads, group = H / G;
    real *dqkv = dqkvv;
    for (int s = 0; s < a->n_seg; s++) {
        const tn_aseg *seg = &a->seg[s];
        for (int t = seg->start; t < seg->start + seg->len; t++)
            for (int h = 0; h < H; h++) {
                attn_grad g = grad_row(a, seg, t, h, qkv, ld, dout, lddo, out, ldo, lse);
                attn_grad_query(b, dqkv + (size_t)t * lddq + (size_t)h * d, &g, pool, a, seg, h / group);
            }
        for (int t = seg->start; t < seg->start + seg->len; t++)
            for (int kv = 0; kv < G; kv++) {
                int own = t - seg->start, j = own % TN_KV_BLOCK;
                const tn_kblock *k = &a->chain[seg->chain + seg->own + own / TN_KV_BLOCK];
                const real *kt = block_head(b, pool, k->block, a, kv);
                real *dk = dqkv + (size_t)t * lddq + (size_t)(H + kv) * d, *dv = dk + (size_t)G * d;
                for (int i = 0; i < d; i++) dk[i] = dv[i] = 0;
                for (int h = kv * group; h < (kv + 1) * group; h++)
                    for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++) {
                        const tn_aseg *see = &a->seg[a->desc[e]];
                        for (int r = see->start; r < see->start + see->len; r++) {
                            attn_grad g = grad_row(a, see, r, h, qkv, ld, dout, lddo, out, ldo, lse);
                            if (!key_visible(a, k, j, g.pos)) continue;
                            real p, ds;
                            grad_key(a, &g, kt, j, &p, &ds);
                            for (int i = 0; i < d; i++) {
                                dk[i] = FMA(ds, g.q[i], dk[i]);
                                dv[i] = FMA(p, g.dout[i], dv[i]);
                            }
                        }
                    }
                for (int i = 0; i < d; i++) dk[i] = dk[i] * (real)a->scale;
            }
    }
}
