#include "train/pooled.h"
#include "base/rng.h"
#include <string.h>

/* ---- set-up ---- */

void tn_pooled_wants(const tn_pooled_head *h, const void *opt, tn_load *how) {
    tn_pooled_part part[TN_POOLED_PARTS];
    how->n_part = h->parts(opt, part);
    for (int i = 0; i < how->n_part; i++) {
        tn_head_part *to = &how->part[i];
        snprintf(to->name, sizeof to->name, TN_HEAD_PREFIX "%s.weight", part[i].name);
        to->rows = part[i].rows, to->cols = part[i].cols;
    }
}

/* Doubles a response takes, and all of them. */
static size_t per_row(const tn_pooled_head *h, const void *opt, int width) {
    return 2 * (size_t)width + (size_t)(h->noise ? h->noise(opt) : 0) + 2 * (size_t)tn_pooled_extra(h, opt);
}
size_t tn_pooled_bytes(const tn_pooled_head *h, const void *opt, int width, int seqs) {
    return (2 * h->params(opt, width) + (size_t)width + (size_t)seqs * per_row(h, opt, width)) * sizeof(double);
}

tn_status tn_pooled_new(tn_pooled_run **out, const tn_pooled_head *h, const void *opt, int width, int seqs,
                        uint64_t seed, tn_err *e) {
    TN_TRY(h->check(opt, width, e));
    tn_pooled_run *p = *out = tn_calloc(1, sizeof *p);
    if (!p) return tn_fail(e, TN_NOMEM, "out of memory");
    size_t W = (size_t)width, n = (size_t)seqs;
    *p = (tn_pooled_run){.head = h, .opt = opt, .seed = seed, .width = width, .cap = n};
    p->n_extra = tn_pooled_extra(h, opt);
    p->n_noise = h->noise ? h->noise(opt) : 0;
    p->n_param = h->params(opt, width);
    p->w = tn_calloc(tn_pooled_bytes(h, opt, width, seqs) / sizeof(double), sizeof(double));
    if (!p->w) return tn_fail(e, TN_NOMEM, "out of memory for the head of %d responses", seqs);
    p->dw = p->w + p->n_param;
    p->fold = p->dw + p->n_param;
    p->x = p->fold + W;
    p->dx = p->x + n * W;
    p->noise = p->dx + n * W;
    p->extra = p->noise + n * (size_t)p->n_noise;
    p->d_extra = p->extra + n * (size_t)p->n_extra;
    return TN_OK;
}

void tn_pooled_free(tn_pooled_run *p) {
    if (!p) return;
    tn_pooled_free_step(p);
    tn_free(p->w);
    tn_free(p);
}

/* ---- elements of the store and doubles ---- */

static void widen(const tn_backend *be, const void *from, size_t n, double *to) {
    for (size_t i = 0; i < n; i++)
        to[i] = be->elem == sizeof *to ? ((const double *)from)[i] : (double)((const float *)from)[i];
}
static void add_to(const tn_backend *be, void *to, const double *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (be->elem == sizeof *v) ((double *)to)[i] += v[i];
        else ((float *)to)[i] += (float)v[i];
    }
}
static void read_parts(tn_pooled_run *p, const tn_model *m) {
    widen(m->be, tn_cat(m->be, m->head->data, m->head_parts), p->n_param, p->w);
}
static void add_gradient(tn_pooled_run *p, tn_model *m) {
    add_to(m->be, tn_at(m->be, m->head->grad, m->head_parts), p->dw, p->n_param);
}

/* ---- a micro-batch ---- */

static tn_pooled rows_of(const tn_pooled_run *p, const tn_batch *b, bool noisy) {
    return (tn_pooled){b->n_seq, p->width, p->x, p->w, noisy ? p->noise : NULL};
}

static void draw(tn_pooled_run *p, const tn_batch *b) {
    for (int s = 0; s < b->n_seq; s++)
        tn_pooled_noise(p->seed, tn_mix((uint64_t)p->step) + (uint64_t)b->number[s], p->n_noise,
                        p->noise + (size_t)s * (size_t)p->n_noise);
}

tn_status tn_pooled_forward(tn_pooled_run *p, tn_run *r, const tn_model *m, tn_batch *b, bool train, tn_err *e) {
    if ((size_t)b->n_seq > p->cap)
        return tn_fail(e, TN_BUG, "a head made for %zu responses got %d", p->cap, b->n_seq);
    read_parts(p, m);
    TN_TRY(tn_hidden_rows(r, m, b->score_row, b->n_seq, p->x, e));
    if (train) draw(p, b);
    tn_pooled rows = rows_of(p, b, train && p->n_noise);
    p->head->forward(p->opt, &rows, b->score, p->extra);
    return TN_OK;
}

void tn_pooled_obs(tn_pooled_run *p, const tn_batch *b, tn_obs *x, tn_grad *g) {
    x->n_extra = p->n_extra;
    x->extra = p->extra;
    g->extra = p->d_extra;
    memset(p->d_extra, 0, (size_t)b->n_seq * (size_t)p->n_extra * sizeof *p->d_extra);
}

tn_status tn_pooled_backward(tn_pooled_run *p, tn_run *r, tn_model *m, const tn_batch *b, const tn_grad *g,
                             tn_err *e) {
    tn_pooled rows = rows_of(p, b, p->n_noise > 0);
    tn_pooled_grad to = {g->score, g->extra, p->dx, p->dw};
    memset(p->dx, 0, (size_t)b->n_seq * (size_t)p->width * sizeof *p->dx);
    memset(p->dw, 0, p->n_param * sizeof *p->dw);
    p->head->backward(p->opt, &rows, &to);
    add_gradient(p, m);
    return tn_hidden_rows_backward(r, m, b->score_row, b->n_seq, p->dx, e);
}

double tn_pooled_penalty(tn_pooled_run *p, tn_model *m, bool train) {
    if (!p->head->penalty) return 0;
    read_parts(p, m);
    memset(p->dw, 0, p->n_param * sizeof *p->dw);
    double loss = p->head->penalty(p->opt, p->width, p->w, train ? p->dw : NULL);
    if (train) add_gradient(p, m);
    return loss;
}

void tn_pooled_fold(tn_pooled_run *p, tn_model *m) {
    read_parts(p, m);
    p->head->fold(p->opt, p->width, p->w, p->fold);
    void *to = tn_at(m->be, m->head->data, m->score);
    memset(to, 0, (size_t)p->width * m->be->elem);
    add_to(m->be, to, p->fold, (size_t)p->width);
}
