/* A run: one slab with every buffer of forward, heads and backward, laid out once. */
#include "model/run.h"
#include "model/budget.h"
#include <string.h>

#define ALIGN 64

/* Walks the layout: with base NULL it only adds sizes up. */
typedef struct carve {
    char *base;
    size_t used;
} carve;
static size_t aligned(size_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }
static void *take(carve *c, size_t bytes) {
    size_t at = c->used;
    c->used += aligned(bytes);
    return c->base ? c->base + at : NULL;
}

/* The rows of the layers; what a layer does not have for itself is the first one's. */
static void carve_layers(carve *c, tn_run *r, const tn_desc *d, size_t el, size_t half, size_t T) {
    size_t H = (size_t)d->heads, G = (size_t)d->kv_heads, hd = (size_t)d->head_dim;
    size_t D = (size_t)d->hidden, F = (size_t)d->ffn;
    tn_saved first = {0};
    for (int l = 0; l < d->layers; l++) {
        tn_saved s = first;
        if (l == 0 || r->keep) s.x = take(c, T * D * el);
        if (l == 0 || r->keep == TN_KEEP_ALL || r->keep == TN_KEEP_CHEAP) {
            s.mid = r->keep ? take(c, T * D * el) : s.x;
            s.qkv = take(c, T * (H + 2 * G) * hd * half);
            if (d->qk_norm) {
                s.qk = take(c, T * (H + G) * hd * el);
                s.q_rstd = take(c, T * H * el);
                s.k_rstd = take(c, T * G * el);
            }
            s.att = take(c, T * H * hd * half);
            if (r->keep) s.lse = take(c, T * H * el);
        }
        if (l == 0 || r->keep == TN_KEEP_ALL) s.gu = take(c, T * 2 * F * half);
        if (l == 0) first = s;
        if (r->saved) r->saved[l] = s;
    }
    void *last = r->keep ? take(c, T * D * el) : first.x;
    if (r->saved) r->saved[d->layers].x = last;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* datt, in whose place dqkv_operand comes where it is not dqkv itself. */
static size_t datt_row(size_t I, size_t Q, size_t el, size_t half) { return half < el ? larger(I * el, Q * half) : I * el; }

/* What needs the memory behind h, at most, for T rows: attention has q, k, v before they are rounded, and then copies of
 * rows that are read; backward h and dh, which are done with when attention's gradients begin. */
static size_t shared_bytes(const tn_run *r, size_t T, size_t D, size_t I, size_t Q, size_t F, size_t el, size_t half) {
    size_t forward = T * larger(larger(F * half, half < el ? Q * el : 0), D * el + I * half);
    if (!r->keep) return forward;
    return larger(forward, larger(aligned(T * F * half) + T * F * el, aligned(T * datt_row(I, Q, el, half)) + T * Q * el));
}

static void carve_run(carve *c, tn_run *r, const tn_desc *d, size_t el, size_t half) {
    size_t T = (size_t)r->max_tok, R = (size_t)r->max_rows, P = (size_t)r->max_pos;
    size_t H = (size_t)d->heads, G = (size_t)d->kv_heads, hd = (size_t)d->head_dim;
    size_t D = (size_t)d->hidden, F = (size_t)d->ffn, rot = (size_t)d->rope.rot_dim / 2;
    size_t I = H * hd, Q = (H + 2 * G) * hd;
    carve_layers(c, r, d, el, half, T);
    r->cos = take(c, P * rot * el);
    r->sin = take(c, P * rot * el);
    r->xn = take(c, T * D * half);
    r->h = take(c, shared_bytes(r, T, D, I, Q, F, el, half));
    r->lu = take(c, T * (size_t)r->max_lora * el);
    r->rstd = take(c, (T > R ? T : R) * el);
    r->rx = take(c, R * D * el);
    r->rn = take(c, R * D * el);
    r->row_id = take(c, R * sizeof(int32_t));
    r->target = take(c, R * sizeof(int32_t));
    r->iota = take(c, T * sizeof(int32_t));
    r->read = take(c, T * sizeof(int32_t));
    r->place = take(c, T * sizeof(int32_t));
    r->at = take(c, R * sizeof(int32_t));
    r->read_seg = take(c, T * sizeof *r->read_seg);
    if (!r->keep) return;
    r->dx = take(c, T * D * el);
    r->dxn = take(c, T * D * el);
    r->lv = take(c, T * (size_t)r->max_lora * el);
    r->rdx = take(c, R * D * el);
    r->rdn = take(c, R * D * el);
    for (int i = 0; i < TN_HEAD_COEFS; i++) r->coef[i] = take(c, R * sizeof(double));
    if (!c->base) return;
    r->dh = (char *)r->h + aligned(T * F * half);
    r->datt = r->h;
    r->dqkv = (char *)r->h + aligned(T * datt_row(I, Q, el, half));
    r->dqkv_operand = half < el ? r->h : r->dqkv; /* datt is done with */
}

size_t tn_budget_run_bytes(const tn_desc *d, const tn_backend *be, int max_tok, int max_rows,
                           int max_pos, int blocks, tn_keep keep) {
    tn_run r = {.max_tok = max_tok, .max_rows = max_rows, .max_pos = max_pos, .keep = keep};
    carve c = {0};
    carve_run(&c, &r, d, be->elem, be->operand);
    return c.used + be->op->kv_block_bytes(be, d->kv_heads, d->head_dim) * (size_t)blocks;
}

static tn_status fill_rope(tn_run *r, const tn_desc *d, tn_err *e) {
    size_t n = (size_t)r->max_pos * (size_t)(d->rope.rot_dim / 2);
    double *t = tn_malloc(2 * n * sizeof *t);
    if (!t)
        return tn_fail(e, TN_NOMEM, "no memory for the rotary tables of %d positions", r->max_pos);
    tn_status st = tn_rope_tables(d, r->max_pos, r->max_pos, t, t + n, e);
    for (size_t i = 0; st == TN_OK && i < n; i++) {
        if (r->be->elem == sizeof(double)) {
            ((double *)r->cos)[i] = t[i];
            ((double *)r->sin)[i] = t[n + i];
        } else {
            ((float *)r->cos)[i] = (float)t[i];
            ((float *)r->sin)[i] = (float)t[n + i];
        }
    }
    tn_free(t);
    return st;
}

tn_status tn_run_new(tn_run **out, const tn_model *m, int max_tok, int max_rows, int max_pos,
                     tn_keep keep, tn_err *e) {
    *out = NULL;
    if (max_tok < 1 || max_rows < 1 || max_pos < 1)
        return tn_fail(e, TN_ARG, "a run needs room for tokens, rows and positions, not %d, %d, %d",
                       max_tok, max_rows, max_pos);
    const tn_desc *d = &m->desc;
    tn_run *r = tn_calloc(1, sizeof *r);
    if (!r) return tn_fail(e, TN_NOMEM, "no memory for a run");
    *r = (tn_run){.be = m->be,
                  .vocab = d->vocab,
                  .hidden = d->hidden,
                  .layers = d->layers,
                  .heads = d->heads,
                  .kv_heads = d->kv_heads,
                  .head_dim = d->head_dim,
                  .ffn = d->ffn,
                  .max_tok = max_tok,
                  .max_rows = max_rows,
                  .max_pos = max_pos,
                  .max_lora = tn_adapt_width(m),
                  .keep = keep};
    carve c = {0};
    carve_run(&c, r, d, m->be->elem, m->be->operand);
    r->slab_bytes = c.used;
    r->slab = tn_big_alloc(r->slab_bytes);
    r->saved = tn_calloc((size_t)d->layers + 1, sizeof *r->saved);
    tn_status st = TN_OK;
    if (!r->slab || !r->saved) {
        st = tn_fail(e, TN_NOMEM, "no memory for the activations of %d tokens: %zu MB needed; take "
                     "smaller micro-batches", max_tok, r->slab_bytes >> 20);
        goto done;
    }
    c = (carve){.base = r->slab};
    carve_run(&c, r, d, m->be->elem, m->be->operand);
    for (int i = 0; i < max_tok; i++) r->iota[i] = i;
    st = fill_rope(r, d, e);
done:
    if (st != TN_OK) {
        tn_run_free(r);
        return st;
    }
    *out = r;
    return TN_OK;
}

void tn_run_free(tn_run *r) {
    if (!r) return;
    tn_big_free(r->slab, r->slab_bytes);
    tn_big_free(r->pool, r->pool_bytes);
    tn_free(r->saved);
    tn_free(r);
}

tn_status tn_run_check(const tn_run *r, const tn_model *m, tn_err *e) {
    const tn_desc *d = &m->desc;
    if (r->be == m->be && r->hidden == d->hidden && r->layers == d->layers &&
        r->heads == d->heads && r->kv_heads == d->kv_heads && r->head_dim == d->head_dim &&
        r->ffn == d->ffn) {
        if (tn_adapt_width(m) <= r->max_lora) return TN_OK;
        return tn_fail(e, TN_BUG, "a run made before the model had its adapters cannot serve it");
    }
    return tn_fail(e, TN_BUG,
                   "a run for %d layers of width %d cannot serve a model with %d of width %d",
                   r->layers, r->hidden, d->layers, d->hidden);
}

bool tn_run_serves(const tn_run *r, const tn_model *m) { return tn_run_check(r, m, NULL) == TN_OK; }

tn_status tn_run_hidden(tn_run *r, const tn_model *m, int l, void *out, tn_err *e) {
    TN_TRY(tn_run_check(r, m, e));
    if (l < 0 || l > r->layers + 1)
        return tn_fail(e, TN_ARG,
                       "no hidden state %d: 0 is the embedding, %d the last layer, %d after the "
                       "final norm",
                       l, r->layers, r->layers + 1);
    if (r->n_tok == 0) return tn_fail(e, TN_STATE, "hidden states asked for before a forward");
    if (!r->kept && l < r->layers)
        return tn_fail(e, TN_STATE, "hidden state %d was not kept: only the last layer's is", l);
    if (l >= r->layers && r->n_read < r->n_tok)
        return tn_fail(e, TN_STATE, "the forward was told to finish %d of its %d rows", r->n_read, r->n_tok);
    int D = r->hidden;
    const void *x = r->saved[l > r->layers ? r->layers : l].x;
    if (l <= r->layers) memcpy(out, x, (size_t)r->n_tok * (size_t)D * r->be->elem);
    else r->be->op->rms_norm(r->be, TN_SET, out, D, NULL, x, D, tn_param(m, m->final_norm), r->n_tok, 1, D,
                             m->desc.norm_eps);
    return TN_OK;
}
