/* AdamW over a model's trained tensors, the norm of its gradients, and how ranks share both. */
#include "base/rng.h"
#include "model/params.h"

static size_t count(const tn_tensor *t) { return (size_t)t->rows * (size_t)t->cols; }
static size_t blocks(const tn_tensor *t) { return (count(t) + TN_NORM_BLOCK - 1) / TN_NORM_BLOCK; }
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Of the part of t from element `at` on, a block's first: which blocks are in use; NULL: all. */
static const uint8_t *live_of(const tn_tensor *t, size_t at) {
    return t->store->live && t->off == 0 ? t->store->live + at / TN_MOMENT_BLOCK : NULL;
}

/* ---- norm ---- */

double tn_model_grad_sumsq(tn_model *m) {
    enum { AT_ONCE = 512 };
    double sum = 0, part[AT_ONCE];
    const tn_tensor *t;
    for (int i = 0; (t = tn_model_param(m, i)); i++) {
        double of_tensor = 0;
        for (size_t at = 0, n; at < count(t); at += n) {
            n = smaller(count(t) - at, AT_ONCE * TN_NORM_BLOCK);
            m->be->op->sumsq(m->be, tn_at(m->be, tn_tensor_grad(t, m->be), at), n, live_of(t, at), part);
            for (size_t b = 0; b * TN_NORM_BLOCK < n; b++) of_tensor = of_tensor + part[b];
        }
        sum += of_tensor;
    }
    return sum;
}

size_t tn_model_blocks(const tn_model *m, const tn_store *s) {
    size_t n = 0;
    const tn_tensor *t;
    for (int i = 0; (t = tn_model_param(m, i)); i++)
        if (t->store == s) n += blocks(t);
    return n;
}

/* Blocks of `t` that begin before element `end` of its store. */
static size_t blocks_before(const tn_tensor *t, size_t end) {
    if (end <= t->off) return 0;
    return smaller(blocks(t), (end - t->off + TN_NORM_BLOCK - 1) / TN_NORM_BLOCK);
}

void tn_model_block_sums(tn_model *m, const tn_store *s, size_t begin, size_t end, double *sum) {
    const tn_tensor *t;
    for (int i = 0; (t = tn_model_param(m, i)); i++) {
        if (t->store != s) continue;
        size_t from = blocks_before(t, begin), to = blocks_before(t, end), at = from * TN_NORM_BLOCK;
        if (from < to)
            m->be->op->sumsq(m->be, tn_at(m->be, tn_tensor_grad(t, m->be), at),
                             smaller(to * TN_NORM_BLOCK, count(t)) - at, live_of(t, at), sum + from);
        sum += blocks(t);
    }
}

double tn_model_sum_blocks(const tn_model *m, const double *const sum[TN_TRAINED_MAX]) {
    const double *next[TN_TRAINED_MAX];
    tn_trained s[TN_TRAINED_MAX];
    const tn_tensor *t;
    double all = 0;
    int n = tn_model_trained(m, s);
    for (int k = 0; k < n; k++) next[k] = sum[k];
    for (int i = 0; (t = tn_model_param(m, i)); i++)
        for (int k = 0; k < n; k++) {
            if (t->store != s[k].store) continue;
            double of_tensor = 0;
            for (size_t b = blocks(t); b > 0; b--) of_tensor = of_tensor + *next[k]++;
            all += of_tensor;
        }
    return all;
}

/* ---- shards ---- */

size_t tn_model_shard(const tn_model *m, const tn_store *s, int k, int n, size_t *block) {
    size_t skip = tn_model_blocks(m, s) * (size_t)k / (size_t)n;
    if (block) *block = skip;
    const tn_tensor *t;
    if (k == 0) return 0;
    for (int i = 0; k < n && (t = tn_model_param(m, i)); i++) {
        if (t->store != s) continue;
        if (skip < blocks(t)) return t->off + skip * TN_NORM_BLOCK;
        skip -= blocks(t);
    }
    return s->n;
}

/* ---- AdamW ---- */

void tn_model_moments(tn_model *m, tn_moment_kind kind, uint64_t seed) {
    m->moments = kind;
    m->moments_seed = seed;
}

/* Of one tensor: what is small stays exact and costs nothing. */
tn_moment_kind tn_moment_kind_of(tn_moment_kind kind, size_t n, bool vector) {
    return vector || n < TN_NORM_BLOCK ? TN_MOMENTS_FULL : kind;
}

size_t tn_model_moment_bytes(const tn_model *m, const tn_store *s, size_t end) {
    size_t bytes = 0, elem = m->be->elem;
    const tn_tensor *t;
    if (m->moments == TN_MOMENTS_FULL) return end * elem;
    for (int i = 0; (t = tn_model_param(m, i)); i++)
        if (t->store == s && end > t->off)
            bytes += tn_moment_bytes(tn_moment_kind_of(m->moments, count(t), tn_tensor_is_vector(t)),
                                     smaller(end - t->off, count(t)), elem);
    return bytes;
}

void tn_model_adamw(tn_model *m, double lr, double beta1, double beta2, double eps, double wd,
                    bool decay_all, long step, double gscale) {
    tn_backend *b = m->be;
    uint64_t stream = tn_rng_stream(m->moments_seed, TN_RNG_MOMENTS, (uint64_t)step).key;
    tn_adamw how = {lr, beta1, beta2, eps, 0, gscale, step, TN_MOMENTS_FULL, 0, 0, NULL};
    const tn_tensor *t;
    for (int i = 0; (t = tn_model_param(m, i)); i++) {
        tn_store *s = t->store;
        size_t from = larger(t->off, s->first), to = smaller(t->off + count(t), s->last);
        if (from >= to) continue;
        size_t at = tn_model_moment_bytes(m, s, from) - tn_model_moment_bytes(m, s, s->first);
        how.wd = decay_all || !tn_tensor_is_vector(t) ? wd : 0;
        how.moments = tn_moment_kind_of(m->moments, count(t), tn_tensor_is_vector(t));
        how.first = from - t->off;
        how.live = live_of(t, how.first);
        how.key = (uint32_t)tn_mix(stream + (uint64_t)i);
        b->op->adamw(b, tn_at(b, s->data, from), tn_cat(b, s->grad, from), (char *)s->m + at,
                     (char *)s->v + at, to - from, &how);
    }
}
