/* Forward: tokens of a forest to residual rows.
 *
 * T tokens, D hidden, H query heads, G key/value heads, d head_dim, F feed-forward, Q = (H+2G)d.
 * backward.c is the mirror image of trunk_layer, block by block, and makes parts of it again.
 *
 * The residual is updated in place when nothing is kept, and written to the layer's own buffer when
 * it is; both give the same bits because x + y and y + x are the same number.                    */
#include "model/run.h"

tn_attn tn_attn_of(const tn_forest *f, const tn_desc *d) {
    return (tn_attn){.n_tok = f->n_tok, .n_seg = f->n_seg, .seg = f->seg, .chain = f->chain,
                     .row_block = f->row_block, .row_slot = f->row_slot, .desc_off = f->desc_off,
                     .desc = f->desc, .heads = d->heads, .kv_heads = d->kv_heads,
                     .head_dim = d->head_dim};
}

/* out = x + in W^T + bias, where out may be x. */
static void residual(tn_backend *be, void *out, const void *x, const void *in, const tn_weight *w,
                     const void *bias, int T) {
    int D = w->out, I = w->in;
    be->op->gemm(be, out == x ? TN_ADD : TN_SET, out, D, in, I, w, bias, T);
    if (out != x) be->op->add(be, out, x, (size_t)T * (size_t)D);
}

/* xn = rms_norm(x) */
static void norm(tn_run *r, const tn_model *m, size_t weight, const void *x, int T) {
    int D = m->desc.hidden;
    m->be->op->rms_norm(m->be, TN_ROUND, r->xn, D, NULL, x, D, tn_param(m, weight), T, 1, D,
                        m->desc.norm_eps);
}

/* Each head of q and k through its norm, in place; the rows before it go to s->qk. */
static void qk_norm(tn_run *r, const tn_model *m, const tn_layer *w, const tn_saved *s, void *q, int T) {
    tn_backend *be = m->be;
    int H = m->desc.heads, G = m->desc.kv_heads, hd = m->desc.head_dim;
    int Q = (H + 2 * G) * hd, K = (H + G) * hd;
    double eps = m->desc.norm_eps;
    const void *qw = tn_param(m, w->q_norm), *kw = tn_param(m, w->k_norm);
    void *k = tn_at(be, q, (size_t)(H * hd)), *k0 = tn_at(be, s->qk, (size_t)(H * hd));
    be->op->gather(be, s->qk, q, Q, r->iota, T, K, be->elem);                     /* [T,(H+G)d] */
    be->op->rms_norm(be, TN_SET, q, Q, s->q_rstd, s->qk, K, qw, T, H, hd, eps);
    be->op->rms_norm(be, TN_SET, k, Q, s->k_rstd, k0, K, kw, T, G, hd, eps);
}

/* x to att */
static void attention(tn_run *r, const tn_model *m, int l, const int32_t *pos, const tn_attn *a, void *pool,
                      bool keep) {
    tn_backend *be = m->be;
    const tn_ops *op = be->op;
    const tn_desc *d = &m->desc;
    const tn_layer *w = &m->layer[l];
    tn_saved *s = &r->saved[l];
    int T = a->n_tok, D = d->hidden, H = d->heads, G = d->kv_heads, hd = d->head_dim, Q = (H + 2 * G) * hd;
    void *q = be->operand == be->elem ? s->qkv : r->h; /* elements, which rope makes operands */
    norm(r, m, w->in_norm, s->x, T);                                                  /* [T,D] */
    op->gemm(be, TN_SET, q, Q, r->xn, D, &w->qkv, tn_param(m, w->qkv_bias), T);       /* [T,Q] */
    tn_adapt(r, m, l, TN_QKV, q, r->xn);
    if (d->qk_norm) qk_norm(r, m, w, s, q, T);
    op->rope(be, TN_ROUND, s->qkv, Q, q, Q, pos, r->cos, r->sin, T, H + G, G, hd, d->rope.rot_dim, +1);
    op->kv_write(be, pool, s->qkv, Q, a);
    op->attn(be, s->att, H * hd, keep ? s->lse : NULL, s->qkv, Q, pool, a);           /* [T,Hd] */
}

/* x and att to mid */
static void output(tn_run *r, const tn_model *m, int l, const void *x, const void *att, int T) {
    const tn_layer *w = &m->layer[l];
    void *mid = r->saved[l].mid;
    residual(m->be, mid, x, att, &w->o, tn_param(m, w->o_bias), T);                   /* [T,D] */
    tn_adapt(r, m, l, TN_O, mid, att);
}

void tn_trunk_attention(tn_run *r, const tn_model *m, int l, const int32_t *pos, const tn_attn *a, void *pool,
                        bool keep) {
    attention(r, m, l, pos, a, pool, keep);
    output(r, m, l, r->saved[l].x, r->saved[l].att, a->n_tok);
}

/* The same where only some rows go on. */
static void narrow_attention(tn_run *r, const tn_model *m, int l, const int32_t *pos, const tn_attn *a, void *pool,
                             bool keep) {
    tn_backend *be = m->be;
    const tn_saved *s = &r->saved[l];
    int D = m->desc.hidden, I = m->desc.heads * m->desc.head_dim, R = r->n_read;
    attention(r, m, l, pos, a, pool, keep);
    void *x = r->h, *att = tn_at(be, x, (size_t)R * (size_t)D);
    be->op->gather(be, att, s->att, I, r->read, R, I, be->operand);                   /* [R,Hd] */
    be->op->gather(be, x, s->x, D, r->read, R, D, be->elem);
    be->op->gather(be, s->mid, x, D, r->iota, R, D, be->elem);                        /* mid may be x */
    r->seg = r->read_seg;
    output(r, m, l, s->mid, att, R);                                                  /* [R,D] */
}

void tn_trunk_gate_up(tn_run *r, const tn_model *m, int l, int T) {
    const tn_layer *w = &m->layer[l];
    tn_saved *s = &r->saved[l];
    int D = m->desc.hidden, F = m->desc.ffn;
    const void *bias = tn_param(m, w->gate_up_bias);
    norm(r, m, w->post_norm, s->mid, T);                                              /* [T,D] */
    m->be->op->gemm(m->be, TN_ROUND, s->gu, 2 * F, r->xn, D, &w->gate_up, bias, T);   /* [T,2F] */
    tn_adapt(r, m, l, TN_GATE_UP, s->gu, r->xn);
}

static void trunk_layer(tn_run *r, const tn_model *m, int l, const int32_t *pos, const tn_attn *a,
                        void *pool, bool keep) {
    tn_backend *be = m->be;
    const tn_layer *w = &m->layer[l];
    tn_saved *s = &r->saved[l];
    void *out = r->saved[l + 1].x;
    int T = a->n_tok;
    if (l == m->desc.layers - 1 && r->n_read < T) {
        T = r->n_read;
        narrow_attention(r, m, l, pos, a, pool, keep);
        if (T == 0) return;
    } else {
        tn_trunk_attention(r, m, l, pos, a, pool, keep);
    }
    tn_trunk_gate_up(r, m, l, T);
    be->op->act_gate(be, m->desc.act, r->h, s->gu, T, m->desc.ffn);                   /* [T,F] */
    residual(be, out, s->mid, r->h, &w->down, tn_param(m, w->down_bias), T);          /* [T,D] */
    tn_adapt(r, m, l, TN_DOWN, out, r->h);
}

/* Segments of the rows that are read: those of the rows, without the rows that are not. */
static void read_segments(tn_run *r, const tn_attn *a) {
    for (int s = 0, at = 0; s < a->n_seg; s++) {
        int first = at, end = a->seg[s].start + a->seg[s].len;
        while (at < r->n_read && r->read[at] < end) at++;
        r->read_seg[s] = (tn_aseg){.start = first, .len = at - first};
    }
}

tn_status tn_run_read(tn_run *r, const int32_t *rows, int n, int n_tok, tn_err *e) {
    r->n_read = n_tok;
    if (n < 0) return TN_OK;
    for (int t = 0; t < n_tok; t++) r->place[t] = -1;
    for (int i = 0; i < n; i++) {
        if (rows[i] < 0 || rows[i] >= n_tok)
            return tn_fail(e, TN_BUG, "row %d is to be read, and the forward has %d", rows[i], n_tok);
        r->place[rows[i]] = 0;
    }
    r->n_read = 0;
    for (int t = 0; t < n_tok; t++)
        if (r->place[t] == 0) r->read[r->place[t] = r->n_read++] = t;
    if (8 * r->n_read > 7 * n_tok) r->n_read = n_tok; /* not worth the copies */
    return TN_OK;
}

void tn_trunk_forward(tn_run *r, const tn_model *m, const int32_t *ids, const int32_t *pos,
                      const tn_attn *a, const int32_t *adapter, char *pool, size_t pool_stride,
                      bool keep) {
    const tn_desc *d = &m->desc;
    tn_attn view = *a;
    r->n_seg = a->n_seg;
    r->seg = a->seg;
    r->adapter = adapter;
    view.scale = 1.0 / __builtin_sqrt((double)d->head_dim);
    int T = a->n_tok, D = d->hidden;
    if (r->n_read < T) read_segments(r, a);
    m->be->op->embed(m->be, r->saved[0].x, tn_param(m, m->embed), m->trunk->half_embed, ids, T, D);         /* [T,D] */
    for (int l = 0; l < d->layers; l++) {
        view.window = tn_desc_window(d, l);
        trunk_layer(r, m, l, pos, &view, pool + (size_t)l * pool_stride, keep);
    }
    r->n_tok = a->n_tok;
    r->kept = keep;
    r->dx_ready = false;
}

tn_status tn_run_reserve(tn_run *r, const tn_model *m, int n, tn_err *e) {
    if (n <= r->cap_block) return TN_OK;
    size_t one = m->be->op->kv_block_bytes(m->be, r->kv_heads, r->head_dim);
    size_t bytes = one * (size_t)n;
    char *p = tn_big_alloc(bytes);
    if (!p)
        return tn_fail(e, TN_NOMEM, "no memory for %d blocks of keys and values (%zu MB)", n,
                       bytes >> 20);
    tn_big_free(r->pool, r->pool_bytes);
    r->pool = p;
    r->pool_bytes = bytes;
    r->cap_block = n;
    return TN_OK;
}

tn_status tn_forward(tn_run *r, const tn_model *m, const tn_forest *f, tn_err *e) {
    return tn_forward_rows(r, m, f, NULL, -1, e);
}

tn_status tn_forward_rows(tn_run *r, const tn_model *m, const tn_forest *f, const int32_t *rows, int n, tn_err *e) {
    TN_TRY(tn_run_check(r, m, e));
    r->n_tok = 0;
    if (f->n_tok < 1) return tn_fail(e, TN_ARG, "a forward needs at least one token");
    if (f->n_tok > r->max_tok)
        return tn_fail(e, TN_BUG, "%d tokens in a run made for %d", f->n_tok, r->max_tok);
    for (int i = 0; i < f->n_tok; i++) {
        if (f->ids[i] < 0 || f->ids[i] >= m->desc.vocab)
            return tn_fail(e, TN_ARG,
                           "token id %d (row %d) is outside the model's vocabulary of %d",
                           f->ids[i], i, m->desc.vocab);
        if (f->pos[i] < 0 || f->pos[i] >= r->max_pos)
            return tn_fail(e, TN_ARG, "position %d is beyond the %d positions of this run",
                           f->pos[i], r->max_pos);
    }
    TN_TRY(tn_adapt_check(m, f->adapter, f->n_seg, e));
    TN_TRY(tn_run_read(r, rows, n, f->n_tok, e));
    if (f->n_block > r->cap_block) TN_TRY(tn_run_reserve(r, m, f->n_block + f->n_block / 4, e));
    tn_attn a = tn_attn_of(f, &m->desc);
    tn_trunk_forward(r, m, f->ids, f->pos, &a, f->adapter, r->pool, 0, r->keep != TN_KEEP_NOTHING);
    return tn_backend_check(m->be, e);
}
