/* Backward: the mirror image of forward.c, block by block in reverse order.
 *
 * Enters with dx = d loss / d (final residual), put there by the head backwards. Each block adds
 * its share to dx through its norm; matrices, norms and biases add to the gradient slab. Normed
 * rows, the gated product and whatever else forward did not keep (run.h) are computed again, to the same bits.
 *
 * With adapters the trunk is frozen: only A, B and what leads to them are computed, down to the lowest
 * adapted matrix of layer 0. */
#include "model/live.h"
#include "model/run.h"
#include <string.h>

/* Through y = x W^T + b (and adapters) for matrix k of layer l: dx = dy W (NULL: not wanted), dW += dy^T x,
 * db += column sums of dy. */
static void matrix_bwd(tn_run *r, const tn_model *m, int l, tn_matrix k, void *dx, const void *dy,
                       const void *x, int T) {
    const tn_ops *op = m->be->op;
    size_t bias;
    const tn_weight *w = tn_layer_matrix(&m->layer[l], k, &bias);
    if (dx) op->gemm_dx(m->be, TN_SET, dx, w->in, dy, w->out, w, T);
    tn_adapt_backward(r, m, l, k, dx, dy, x);
    if (!tn_trunk_trained(m)) return;
    op->gemm_dw(m->be, tn_weight_grad(m, w), dy, w->out, x, w->in, T, w->out, w->in);
    if (bias != TN_NONE) op->bias_bwd(m->be, tn_param_grad(m, bias), dy, w->out, T, w->out);
}

/* The residual's gradient as operand rows: where they are not elements, in the place of the normed rows. */
static const void *dx_operand(tn_run *r, const tn_model *m, int T) {
    if (m->be->operand == m->be->elem) return r->dx;
    m->be->op->round(m->be, r->xn, r->dx, (size_t)T * (size_t)m->desc.hidden);
    return r->xn;
}

/* The lowest matrix of layer 0 whose gradient is wanted; everything below it is left out. */
static tn_matrix lowest(const tn_model *m) {
    for (int k = 0; k < TN_MATRICES && m->n_adapter; k++)
        if (m->adapter[0]->layer[0][k].parts) return (tn_matrix)k;
    return TN_QKV;
}

/* xn and rstd of rms_norm(x), as forward had them. */
static void norm_again(tn_run *r, const tn_model *m, size_t norm, const void *x, int T) {
    int D = m->desc.hidden;
    m->be->op->rms_norm(m->be, TN_ROUND, r->xn, D, r->rstd, x, D, tn_param(m, norm), T, 1, D,
                        m->desc.norm_eps);
}

/* dx += through y = rms_norm(x), given dy = d loss / d y; rstd as norm_again left it. */
static void norm_bwd(tn_run *r, const tn_model *m, size_t norm, const void *x, int T) {
    int D = m->desc.hidden;
    m->be->op->rms_norm_bwd(m->be, TN_ADD, r->dx, D, tn_param_grad(m, norm), r->dxn, D, x, D,
                            r->rstd, tn_param(m, norm), T, 1, D);
}

/* Through the norms of q and k, in place, and rounded. */
static void qk_norm_bwd(tn_run *r, const tn_model *m, const tn_layer *w, const tn_saved *s, int T) {
    tn_backend *be = m->be;
    int H = m->desc.heads, G = m->desc.kv_heads, hd = m->desc.head_dim;
    int Q = (H + 2 * G) * hd, K = (H + G) * hd;
    void *dq = r->dqkv, *dk = tn_at(be, dq, (size_t)(H * hd));
    const void *q = s->qk, *k = tn_cat(be, q, (size_t)(H * hd));
    be->op->rms_norm_bwd(be, TN_SET, dq, Q, tn_param_grad(m, w->q_norm), dq, Q, q, K, s->q_rstd,
                         tn_param(m, w->q_norm), T, H, hd);
    be->op->rms_norm_bwd(be, TN_SET, dk, Q, tn_param_grad(m, w->k_norm), dk, Q, k, K, s->k_rstd,
                         tn_param(m, w->k_norm), T, G, hd);
    if (r->dqkv_operand != dq) be->op->round(be, r->dqkv_operand, dq, (size_t)T * (size_t)Q);
}

/* `end`: the last matrix to visit, and dx of its input is not wanted (layer 0 of a frozen trunk); -1: all,
 * down to dx of the layer's input. */
static void trunk_layer_backward(tn_run *r, tn_model *m, int l, const int32_t *pos,
                                 const tn_attn *a, void *pool, int end) {
    tn_backend *be = m->be;
    const tn_ops *op = be->op;
    const tn_desc *d = &m->desc;
    const tn_layer *w = &m->layer[l];
    const tn_saved *s = &r->saved[l];
    int T = a->n_tok, H = d->heads, G = d->kv_heads, hd = d->head_dim, F = d->ffn;
    int Q = (H + 2 * G) * hd, I = H * hd;

    bool narrow = l == d->layers - 1 && r->n_read < T; /* as forward left it: some rows have a mid */
    int R = narrow ? r->n_read : T;
    const void *att = s->att;

    if (l < d->layers - 1) {
        if (r->keep == TN_KEEP_LAYER) tn_trunk_attention(r, m, l, pos, a, pool, true);
        else op->kv_write(be, pool, s->qkv, Q, a);
        if (r->keep != TN_KEEP_ALL) tn_trunk_gate_up(r, m, l, T);
    }

    /* feed-forward */
    if (narrow) r->seg = r->read_seg;
    op->act_gate(be, d->act, r->h, s->gu, R, F);                             /* again: [R,F] */
    matrix_bwd(r, m, l, TN_DOWN, end == TN_DOWN ? NULL : r->dh, dx_operand(r, m, R), r->h, R); /* [R,F] */
    if (end == TN_DOWN) return;
    op->act_gate_bwd(be, d->act, s->gu, r->dh, s->gu, R, F);                 /* in place: [R,2F] */
    norm_again(r, m, w->post_norm, s->mid, R);                               /* [R,D] */
    matrix_bwd(r, m, l, TN_GATE_UP, end == TN_GATE_UP ? NULL : r->dxn, s->gu, r->xn, R); /* [R,D] */
    if (end == TN_GATE_UP) return;
    norm_bwd(r, m, w->post_norm, s->mid, R);                                 /* dx of mid */

    /* attention */
    if (narrow) op->gather(be, r->dqkv, att, I, r->read, R, I, be->operand), att = r->dqkv; /* not needed yet: [R,Hd] */
    matrix_bwd(r, m, l, TN_O, end == TN_O ? NULL : r->datt, dx_operand(r, m, R), att, R); /* [R,Hd] */
    if (end == TN_O) return;
    if (narrow) {
        op->spread(be, r->datt, r->read, R, T, I);                           /* [T,Hd] */
        op->spread(be, r->dx, r->read, R, T, d->hidden);                     /* [T,D] */
        r->seg = a->seg;
    }
    op->attn_bwd(be, r->dqkv, Q, r->datt, I, s->att, I, s->lse, s->qkv, Q, pool, a); /* [T,Q] */
    op->rope(be, d->qk_norm ? TN_SET : TN_ROUND, d->qk_norm ? r->dqkv : r->dqkv_operand, Q, r->dqkv, Q, pos, r->cos,
             r->sin, T, H + G, G, hd, d->rope.rot_dim, -1);
    if (d->qk_norm) qk_norm_bwd(r, m, w, s, T);
    norm_again(r, m, w->in_norm, s->x, T);                                   /* [T,D] */
    matrix_bwd(r, m, l, TN_QKV, end == TN_QKV ? NULL : r->dxn, r->dqkv_operand, r->xn, T); /* [T,D] */
    if (end == TN_QKV) return;
    norm_bwd(r, m, w->in_norm, s->x, T);                                     /* dx of x */
}

/* torch's nn.Embedding gives the row of pad_token_id no gradient, and so do checkpoints trained
 * with it. */
static void skip_pad(tn_run *r, const tn_model *m, const tn_forest *f) {
    size_t row = (size_t)m->desc.hidden * m->be->elem;
    for (int i = 0; i < f->n_tok; i++)
        if (f->ids[i] == m->desc.pad) memset((char *)r->dx + (size_t)i * row, 0, row);
}

tn_status tn_backward(tn_run *r, tn_model *m, const tn_forest *f, tn_err *e) {
    TN_TRY(tn_run_check(r, m, e));
    if (!r->kept || f->n_tok != r->n_tok)
        return tn_fail(e, TN_STATE,
                       "backward without a forward of the same forest that kept its activations");
    if (!m->trainable)
        return tn_fail(e, TN_STATE, "backward on a model that was not made trainable");
    if (!r->dx_ready) return TN_OK; /* no head had a gradient: every gradient is zero */
    r->n_seg = f->n_seg;
    r->seg = f->seg;
    r->adapter = f->adapter;
    tn_attn a = tn_attn_of(f, &m->desc);
    a.scale = 1.0 / __builtin_sqrt((double)m->desc.head_dim);
    for (int l = m->desc.layers - 1; l >= 0; l--) {
        a.window = tn_desc_window(&m->desc, l);
        trunk_layer_backward(r, m, l, f->pos, &a, r->pool, l || tn_trunk_trained(m) ? -1 : (int)lowest(m));
    }
    if (tn_trunk_trained(m)) {
        skip_pad(r, m, f);
        if (m->trunk->live) tn_live_mark(m->trunk->live, m->desc.hidden, f->ids, (size_t)f->n_tok, m->desc.pad);
        m->be->op->embed_bwd(m->be, tn_param_grad(m, m->embed), r->dx, f->ids, f->n_tok,
                             m->desc.hidden);
    }
    r->kept = false; /* dx is spent */
    r->n_tok = 0;
    return tn_backend_check(m->be, e);
}
