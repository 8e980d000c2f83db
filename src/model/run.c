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
static void *take(carve *c, size_t bytes) {
    size_t at = c->used;
    c->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return c->base ? c->base + at : NULL;
}

static void carve_layer(carve *c, tn_saved *s, const tn_desc *d, size_t el, size_t T, bool keep) {
    size_t H = (size_t)d->heads, G = (size_t)d->kv_heads, hd = (size_t)d->head_dim;
    size_t D = (size_t)d->hidden, F = (size_t)d->ffn;
    s->x = take(c, T * D * el);
    s->mid = keep ? take(c, T * D * el) : s->x;
    s->qkv = take(c, T * (H + 2 * G) * hd * el);
    if (d->qk_norm) {
        s->qk = take(c, T * (H + G) * hd * el);
        s->q_rstd = take(c, T * H * el);
        s->k_rstd = take(c, T * G * el);
    }
    s->att = take(c, T * H * hd * el);
    if (keep) s->lse = take(c, T * H * el);
    s->gu = take(c, T * 2 * F * el);
}

static void carve_run(carve *c, tn_run *r, const tn_desc *d, size_t el) {
    size_t T = (size_t)r->max_tok, R = (size_t)r->max_rows, P = (size_t)r->max_pos;
    size_t H = (size_t)d->heads, G = (size_t)d->kv_heads, hd = (size_t)d->head_dim;
    size_t D = (size_t)d->hidden, F = (size_t)d->ffn, rot = (size_t)d->rope.rot_dim / 2;
    tn_saved one = {0}, *s = r->saved ? r->saved : &one;
    for (int l = 0; l < d->layers; l++) {
        if (r->keep) carve_layer(c, r->saved ? &s[l] : s, d, el, T, true);
        else if (l == 0) carve_layer(c, s, d, el, T, false);
        else if (r->saved) s[l] = s[0];
    }
    void *last = r->keep ? take(c, T * D * el) : s[0].x;
    if (r->saved) s[d->layers].x = last;
    r->cos = take(c, P * rot * el);
    r->sin = take(c, P * rot * el);
    r->xn = take(c, T * D * el);
    r->h = take(c, T * F * el);
    r->lu = take(c, T * (size_t)r->max_lora * el);
    r->rstd = take(c, (T > R ? T : R) * el);
    r->rx = take(c, R * D * el);
    r->rn = take(c, R * D * el);
    r->row_id = take(c, R * sizeof(int32_t));
    r->target = take(c, R * sizeof(int32_t));
    r->iota = take(c, T * sizeof(int32_t));
    if (!r->keep) return;
    r->dx = take(c, T * D * el);
    r->dxn = take(c, T * D * el);
    r->dh = take(c, T * F * el);
    r->lv = take(c, T * (size_t)r->max_lora * el);
    r->dgu = take(c, T * 2 * F * el);
    r->dqkv = take(c, T * (H + 2 * G) * hd * el);
    r->datt = take(c, T * H * hd * el);
    r->rdx = take(c, R * D * el);
    r->rdn = take(c, R * D * el);
    for (int i = 0; i < 5; i++) r->coef[i] = take(c, R * sizeof(double));
}

static size_t pool_size(const tn_desc *d, const tn_backend *be, int blocks, bool keep) {
    size_t one = be->op->kv_block_bytes(be, d->kv_heads, d->head_dim);
    return one * (size_t)blocks * (size_t)(keep ? d->layers : 1);
}

size_t tn_budget_run_bytes(const tn_desc *d, const tn_backend *be, int max_tok, int max_rows,
                           int max_pos, int blocks, bool keep) {
    tn_run r = {.max_tok = max_tok, .max_rows = max_rows, .max_pos = max_pos, .keep = keep};
    carve c = {0};
    carve_run(&c, &r, d, be->elem);
    return c.used + pool_size(d, be, blocks, keep);
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
                     bool keep, tn_err *e) {
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
    carve_run(&c, r, d, m->be->elem);
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
    carve_run(&c, r, d, m->be->elem);
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
    int D = r->hidden;
    const void *x = r->saved[l > r->layers ? r->layers : l].x;
    if (l <= r->layers) memcpy(out, x, (size_t)r->n_tok * (size_t)D * r->be->elem);
    else r->be->op->rms_norm(r->be, out, D, NULL, x, D, tn_param(m, m->final_norm), r->n_tok, 1, D,
                             m->desc.norm_eps);
    return TN_OK;
}
