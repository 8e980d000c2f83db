/* Parameters: allocation, packed forms, copies, views, initialisation. */
#include "model/params.h"
#include "base/rng.h"
#include "model/live.h"
#include <math.h>
#include <string.h>

void *tn_tensor_data(const tn_tensor *t, const tn_backend *be) {
    return tn_at(be, t->store->data, t->off);
}
void *tn_tensor_grad(const tn_tensor *t, const tn_backend *be) {
    return t->store->grad ? tn_at(be, t->store->grad, t->off) : NULL;
}

/* ---------------- stores ---------------- */

tn_status tn_store_new(tn_store **s, tn_err *e) {
    *s = tn_calloc(1, sizeof **s);
    if (!*s) return tn_fail(e, TN_NOMEM, "out of memory");
    (*s)->refs = 1;
    return TN_OK;
}

void tn_store_free(tn_store *s, size_t elem) {
    if (!s || --s->refs > 0) return;
    size_t bytes = s->n * elem;
    tn_big_free(s->data, bytes);
    tn_big_free(s->grad, bytes);
    tn_big_free(s->m, s->moment_bytes);
    tn_big_free(s->v, s->moment_bytes);
    tn_free(s->live);
    tn_free(s);
}

tn_status tn_store_alloc(tn_store *s, size_t elem, const char *what, tn_err *e) {
    s->data = tn_big_alloc(s->n * elem);
    if (!s->data)
        return tn_fail(e, TN_NOMEM, "%.2f GB for %s cannot be had", (double)(s->n * elem) / 1e9,
                       what);
    return TN_OK;
}

static void point_weights(tn_model *m) {
    for (int i = 0; i < m->desc.layers; i++) {
        tn_layer *l = &m->layer[i];
        l->qkv.master = tn_at(m->be, m->trunk->data, l->qkv_off);
        l->o.master = tn_at(m->be, m->trunk->data, l->o_off);
        l->gate_up.master = tn_at(m->be, m->trunk->data, l->gate_up_off);
        l->down.master = tn_at(m->be, m->trunk->data, l->down_off);
    }
    m->lm_head.master =
        m->lm_head_off == TN_NONE ? NULL : tn_at(m->be, m->trunk->data, m->lm_head_off);
}

tn_status tn_model_alloc(tn_model **out, const tn_desc *d, tn_backend *be, bool score_bias,
                         tn_err *e) {
    *out = NULL;
    tn_model *m = tn_calloc(1, sizeof *m);
    if (!m) return tn_fail(e, TN_NOMEM, "out of memory");
    m->desc = *d;
    m->be = be;
    m->score_sd = 1;
    tn_status st = tn_model_layout(m, score_bias, e);
    if (st == TN_OK) st = tn_store_alloc(m->trunk, be->elem, "the model's parameters", e);
    if (st == TN_OK && m->head) st = tn_store_alloc(m->head, be->elem, "the score head", e);
    if (st != TN_OK) {
        tn_model_free(m);
        return st;
    }
    point_weights(m);
    *out = m;
    return TN_OK;
}

void tn_model_free(tn_model *m) {
    if (!m) return;
    size_t elem = m->be->elem;
    for (int i = 0; i < m->n_adapter; i++) tn_adapter_free(m->adapter[i], elem);
    tn_store_free(m->trunk, elem);
    tn_store_free(m->head, elem);
    if (!m->packs_shared) tn_big_free(m->packed, m->packed_bytes);
    tn_free(m->tensor);
    tn_free(m->layer);
    json_decref(m->config);
    tn_free(m);
}

/* ---------------- packed forms ---------------- */

/* The model's matrices in order: four a layer, then the LM head if this model has one. */
static tn_weight *matrix(tn_model *m, int i) {
    tn_layer *l = &m->layer[i / 4 < m->desc.layers ? i / 4 : 0];
    if (i >= 4 * m->desc.layers) return &m->lm_head;
    switch (i % 4) {
    case 0: return &l->qkv;
    case 1: return &l->o;
    case 2: return &l->gate_up;
    default: return &l->down;
    }
}
static int n_matrix(const tn_model *m) { return 4 * m->desc.layers + !m->no_lm_head; }

static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

/* A tied embedding stays: its rows are looked up. */
static void drop_master(tn_model *m, const tn_weight *w) {
    if (w->master == tn_at(m->be, m->trunk->data, m->embed)) return;
    tn_big_drop((void *)(uintptr_t)w->master, (size_t)w->out * (size_t)w->in * m->be->elem);
}

/* In place: element i moves to where i/2 was. Weights that have been trained since they came stay as they are. */
static void halve_embedding(tn_model *m) {
    size_t n = (size_t)m->desc.vocab * (size_t)m->desc.hidden;
    if (!m->desc.half_embed || m->be->elem != sizeof(float)) return;
    uint32_t bits, lost = 0;
    char *from = tn_at(m->be, m->trunk->data, m->embed);
    uint16_t *to = (uint16_t *)(void *)from;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, from + i * sizeof bits, sizeof bits);
        lost |= bits & 0xffff;
    }
    if (lost) return;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, from + i * sizeof bits, sizeof bits);
        to[i] = (uint16_t)(bits >> 16);
    }
    tn_big_drop(to + n, n * sizeof *to);
    m->trunk->half_embed = true;
}

static void pack_trunk(tn_model *m) {
    for (int i = 0; i < n_matrix(m); i++) m->be->op->weight_pack(m->be, matrix(m, i));
}

/* Room for the packed forms, in place of what there was. */
static tn_status alloc_packed(tn_model *m, tn_err *e) {
    tn_backend *b = m->be;
    size_t bytes = 0;
    for (int i = 0; i < n_matrix(m); i++) {
        const tn_weight *w = matrix(m, i);
        bytes += round64(b->op->weight_bytes(b, w->out, w->in));
    }
    char *p = tn_big_alloc(bytes);
    if (!p)
        return tn_fail(e, TN_NOMEM, "%.2f GB for the packed weights cannot be had",
                       (double)bytes / 1e9);
    if (m->packed && !m->packs_shared) tn_big_free(m->packed, m->packed_bytes);
    m->packed = p;
    m->packed_bytes = bytes;
    m->packs_shared = false;
    for (int i = 0; i < n_matrix(m); i++) {
        tn_weight *w = matrix(m, i);
        w->packed = p;
        p += round64(b->op->weight_bytes(b, w->out, w->in));
    }
    return TN_OK;
}

tn_status tn_model_pack_new(tn_model *m, tn_err *e) {
    TN_TRY(tn_model_has_masters(m, e));
    TN_TRY(alloc_packed(m, e));
    pack_trunk(m);
    return TN_OK;
}

tn_status tn_model_pack_frozen(tn_model *m, tn_fill_fn *fill, const void *from, tn_err *e) {
    TN_TRY(alloc_packed(m, e));
    for (int i = 0; i < n_matrix(m); i++) {
        const tn_weight *w = matrix(m, i);
        size_t off = (size_t)((const char *)w->master - (const char *)m->trunk->data) / m->be->elem;
        if (off != m->embed) fill(m, from, off, off + (size_t)w->out * (size_t)w->in);
        m->be->op->weight_pack(m->be, w);
        drop_master(m, w);
    }
    m->trunk->dropped = true;
    halve_embedding(m);
    return TN_OK;
}

void tn_model_pack(tn_model *m) {
    for (int i = 0; i < m->n_adapter; i++)
        tn_adapter_pack(m->adapter[i], m->desc.layers, m->be);
    if (!m->n_adapter && !m->packs_shared) pack_trunk(m);
}

void tn_model_drop_masters(tn_model *m) {
    if (m->trunk->dropped || !m->packed || (m->trainable && !m->n_adapter)) return;
    m->trunk->dropped = true;
    for (int i = 0; i < n_matrix(m); i++) drop_master(m, matrix(m, i));
    halve_embedding(m);
}

tn_status tn_model_park(tn_model *m, tn_park *k, tn_err *e) {
    tn_store *s = m->trunk;
    if (!s->dropped || s->refs > 1 || m->packs_shared) return tn_fail(e, TN_BUG, "a model that is written or shared was to be parked");
    size_t table = (size_t)m->desc.vocab * (size_t)m->desc.hidden * (s->half_embed ? 2 : m->be->elem);
    TN_TRY(tn_park_add(k, m->packed, m->packed_bytes, e));
    return tn_park_add(k, tn_at(m->be, s->data, m->embed), table, e);
}

/* Refuses what reads them. */
tn_status tn_model_has_masters(const tn_model *m, tn_err *e) {
    return m->trunk->dropped ? tn_fail(e, TN_BUG, "the matrices of a frozen model were given back") : TN_OK;
}

/* ---------------- training state ---------------- */

static void zero_part(void *ctx, size_t begin, size_t end, int thread) {
    memset(*(char **)ctx + begin, 0, end - begin);
}

/* Written now, but for what may never be in use: the plan's numbers are the process's, and no step waits for pages. */
static void moment_ready(tn_model *m, const tn_store *s, void *moment) {
    size_t table = tn_live_moment_bytes(m, s);
    char *rest = (char *)moment + table;
    tn_big_by_pages(moment, table);
    tn_pool_run(m->be->pool, s->moment_bytes - table, 1 << 16, zero_part, &rest);
}

/* Gradient, and the moments of elements [first, last). */
static tn_status store_trainable(tn_model *m, tn_store *s, size_t first, size_t last, tn_err *e) {
    size_t bytes = s->n * m->be->elem;
    if (!s->m) {
        s->first = first, s->last = last;
        s->moment_bytes = tn_model_moment_bytes(m, s, last) - tn_model_moment_bytes(m, s, first);
    }
    if (s == m->trunk && tn_live_kept(&m->desc, m->no_lm_head))
        TN_TRY(tn_live_new(s, (size_t)m->desc.vocab * (size_t)m->desc.hidden, e));
    bool fresh = !s->v, first_grad = !s->grad;
    if (!s->grad) s->grad = tn_big_alloc(bytes);
    if (!s->m) s->m = tn_big_alloc(s->moment_bytes);
    if (!s->v) s->v = tn_big_alloc(s->moment_bytes);
    if (!s->grad || !s->m || !s->v)
        return tn_fail(e, TN_NOMEM, "%.2f GB for gradients and AdamW moments cannot be had",
                       ((double)bytes + 2 * (double)s->moment_bytes) / 1e9);
    if (first_grad) {
        tn_big_by_pages(s->grad, s->n_live * m->be->elem);
        s->resting = true;
    }
    if (fresh) moment_ready(m, s, s->m), moment_ready(m, s, s->v);
    return TN_OK;
}

tn_status tn_model_trainable(tn_model *m, tn_err *e) { return tn_model_trainable_shard(m, 0, 1, e); }

tn_status tn_model_trainable_shard(tn_model *m, int k, int n, tn_err *e) {
    if (m->packs_shared && !m->n_adapter)
        return tn_fail(e, TN_STATE, "a view of another model cannot be trained without an adapter; "
                                    "make a copy");
    if (!m->n_adapter) TN_TRY(tn_model_has_masters(m, e));
    tn_trained t[TN_TRAINED_MAX];
    for (int i = 0, stores = tn_model_trained(m, t); i < stores; i++)
        TN_TRY(store_trainable(m, t[i].store, tn_model_shard(m, t[i].store, k, n, NULL),
                               tn_model_shard(m, t[i].store, k + 1, n, NULL), e));
    m->trainable = true;
    return TN_OK;
}

int tn_model_trained(const tn_model *m, tn_trained t[TN_TRAINED_MAX]) {
    t[0] = m->n_adapter ? (tn_trained){"adapter", m->adapter[0]->store}
                        : (tn_trained){"trunk", m->trunk};
    t[1] = (tn_trained){"head", m->head};
    return m->head ? 2 : 1;
}

const tn_tensor *tn_model_param(const tn_model *m, int i) {
    int n = m->n_adapter ? m->adapter[0]->n_tensor : 0;
    if (i < n) return &m->adapter[0]->tensor[i];
    if (n) /* behind them the head's, which are the last of the model's own */
        i += m->n_tensor - n - (m->score != TN_NONE) - (m->score_bias != TN_NONE) - m->desc.n_part;
    return i < m->n_tensor ? &m->tensor[i] : NULL;
}

static void zero_grad(tn_model *m, bool whole) {
    tn_trained t[TN_TRAINED_MAX];
    int n = tn_model_trained(m, t);
    for (int i = 0; i < n; i++) {
        const tn_store *s = t[i].store;
        if (whole && s->resting) tn_big_clear(s->grad, s->n * m->be->elem);
        else if (s->grad) tn_live_zero(m->be, s, s->grad, whole);
    }
}
void tn_model_rest_grad(tn_model *m) {
    tn_trained t[TN_TRAINED_MAX];
    for (int i = 0, n = tn_model_trained(m, t); i < n; i++) {
        tn_big_clear(t[i].store->grad, t[i].store->n * m->be->elem);
        t[i].store->resting = true;
    }
}

void tn_model_wake_grad(tn_model *m) {
    tn_trained t[TN_TRAINED_MAX];
    for (int i = 0, n = tn_model_trained(m, t); i < n; i++) {
        if (t[i].store->resting && t[i].store->grad) tn_live_touch(m->be, t[i].store, t[i].store->grad);
        t[i].store->resting = false;
    }
}

void tn_model_zero_grad(tn_model *m) { zero_grad(m, false); }
void tn_model_fresh_grad(tn_model *m) { zero_grad(m, true); }

/* ---------------- copies and views ---------------- */

typedef struct tn_copy {
    char *to;
    const char *from;
} tn_copy;
static void copy_part(void *ctx, size_t begin, size_t end, int thread) {
    const tn_copy *c = ctx;
    memcpy(c->to + begin, c->from + begin, end - begin);
}
void tn_copy_elements(tn_backend *b, void *to, const void *from, size_t n) {
    tn_copy c = {to, from};
    tn_pool_run(b->pool, n * b->elem, 1 << 16, copy_part, &c);
}

static void copy_tensor(tn_model *m, const tn_tensor *t, const tn_tensor *from) {
    tn_copy_elements(m->be, tn_tensor_data(t, m->be), tn_tensor_data(from, m->be), (size_t)t->rows * (size_t)t->cols);
}

static void copy_facts(tn_model *m, const tn_model *from) {
    m->config = json_incref(from->config);
    memcpy(m->dir, from->dir, sizeof m->dir);
}

static void copy_score_norm(tn_model *m, const tn_model *from) {
    m->score_mean = from->score_mean;
    m->score_sd = from->score_sd;
    m->score_is_cost = from->score_is_cost;
}

tn_status tn_model_copy(tn_model **out, const tn_model *from, bool score, tn_err *e) {
    tn_desc d = from->desc;
    if (from->n_adapter) return tn_fail(e, TN_BUG, "a model with adapters is not copied");
    TN_TRY(tn_model_has_masters(from, e));
    if (score) d.num_labels = 1;
    tn_model *m;
    TN_TRY(tn_model_alloc(&m, &d, from->be, score || from->score_bias != TN_NONE, e));
    tn_status st = TN_OK;
    for (int i = 0; i < m->n_tensor; i++) {
        tn_tensor *t = &m->tensor[i];
        if (score && t->store == m->head) continue; /* stays zero */
        const tn_tensor *src = tn_model_tensor(from, t->name);
        if (!src) TN_GO(tn_fail(e, TN_STATE, "the copied model has no tensor %s", t->name), fail);
        copy_tensor(m, t, src);
    }
    copy_facts(m, from);
    if (!score) copy_score_norm(m, from);
    TN_GO(tn_model_pack_new(m, e), fail);
    *out = m;
    return TN_OK;
fail:
    tn_model_free(m);
    return st;
}

bool tn_tensor_stays(const tn_model *m, const tn_tensor *t) {
    return t->store != m->trunk || tn_tensor_is_vector(t) || t->off == m->embed;
}

tn_status tn_model_copy_frozen(tn_model **out, const tn_model *from, tn_err *e) {
    if (from->n_adapter) return tn_fail(e, TN_BUG, "a model with adapters is not copied");
    TN_TRY(tn_model_has_masters(from, e));
    tn_model *m;
    TN_TRY(tn_model_alloc(&m, &from->desc, from->be, from->score_bias != TN_NONE, e));
    tn_status st = alloc_packed(m, e);
    if (st != TN_OK) {
        tn_model_free(m);
        return st;
    }
    for (int i = 0; i < n_matrix(m); i++) drop_master(m, matrix(m, i)); /* so that no large page begins in a norm and ends there */
    for (int i = 0; i < m->n_tensor; i++) /* the same layout */
        if (tn_tensor_stays(m, &m->tensor[i])) copy_tensor(m, &m->tensor[i], &from->tensor[i]);
    tn_copy c = {m->packed, from->packed};
    tn_pool_run(m->be->pool, m->packed_bytes, 1 << 16, copy_part, &c);
    copy_facts(m, from);
    copy_score_norm(m, from);
    m->trunk->dropped = true;
    halve_embedding(m);
    *out = m;
    return TN_OK;
}

tn_status tn_model_view(tn_model **out, tn_model *from, tn_err *e) {
    tn_model *m = tn_malloc(sizeof *m);
    if (!m) return tn_fail(e, TN_NOMEM, "out of memory");
    *m = *from;
    m->n_adapter = 0;
    m->tensor = tn_malloc((size_t)(m->n_tensor + 2 + TN_HEAD_PARTS) * sizeof *m->tensor); /* tn_model_own_head */
    m->layer = tn_malloc((size_t)m->desc.layers * sizeof *m->layer);
    if (!m->tensor || !m->layer) {
        tn_free(m->tensor);
        tn_free(m->layer);
        tn_free(m);
        return tn_fail(e, TN_NOMEM, "out of memory");
    }
    memcpy(m->tensor, from->tensor, (size_t)m->n_tensor * sizeof *m->tensor);
    memcpy(m->layer, from->layer, (size_t)m->desc.layers * sizeof *m->layer);
    m->trunk->refs++;
    if (m->head) m->head->refs++;
    json_incref(m->config);
    m->packs_shared = true;
    m->trainable = false;
    *out = m;
    return TN_OK;
}

/* The tensor list loses what belongs to heads and gets a new score head behind it. */
tn_status tn_model_own_head(tn_model *m, const tn_model *from, bool bias, tn_err *e) {
    int n = 0;
    for (int i = 0; i < m->n_tensor; i++)
        if (m->tensor[i].store == m->trunk && strcmp(m->tensor[i].name, "lm_head.weight") != 0)
            m->tensor[n++] = m->tensor[i];
    m->n_tensor = n;
    tn_store_free(m->head, m->be->elem);
    m->head = NULL;
    m->desc.num_labels = from ? from->desc.num_labels : 1;
    m->no_lm_head = true;
    m->score_mean = from ? from->score_mean : 0;
    m->score_sd = from ? from->score_sd : 1;
    TN_TRY(tn_model_layout_head(m, from ? from->score_bias != TN_NONE : bias, e));
    TN_TRY(tn_store_alloc(m->head, m->be->elem, "the score head", e));
    if (from) tn_copy_elements(m->be, m->head->data, from->head->data, m->head->n);
    return TN_OK;
}

/* ---------------- fresh models ---------------- */

typedef struct tn_init {
    tn_backend *be;
    void *p;
    uint64_t key;
    double sd;
} tn_init;

static void init_part(void *ctx, size_t begin, size_t end, int thread) {
    const tn_init *c = ctx;
    for (size_t i = begin; i < end; i++) {
        tn_rng r = {c->key, 2 * i}; /* a normal takes two draws */
        float v = (float)(tn_rng_normal(&r) * c->sd);
        if (c->be->elem == 4) ((float *)c->p)[i] = v;
        else ((double *)c->p)[i] = (double)v;
    }
}

static double init_sd(const tn_model *m, const tn_tensor *t) {
    if (t->off == m->embed && t->store == m->trunk) return 0.02;
    double sd = 1 / sqrt((double)t->cols);
    bool residual = strstr(t->name, "o_proj") || strstr(t->name, "down_proj");
    return residual ? sd / sqrt(2.0 * m->desc.layers) : sd;
}

static void init_normal(const tn_model *m, int i, uint64_t seed, double sd) {
    const tn_tensor *t = &m->tensor[i];
    tn_init c = {m->be, tn_tensor_data(t, m->be),
                 tn_rng_stream(seed, TN_RNG_INIT, (uint64_t)i).key, sd};
    tn_pool_run(m->be->pool, (size_t)t->rows * (size_t)t->cols, 1024, init_part, &c);
}

void tn_model_init_score(tn_model *m, double sd, uint64_t seed) {
    for (int i = 0; i < m->n_tensor; i++)
        if (m->tensor[i].store == m->head && !tn_tensor_is_vector(&m->tensor[i]))
            init_normal(m, i, seed, sd);
    m->fresh_score = false;
}

tn_status tn_model_new(tn_model **out, const tn_desc *d, uint64_t seed, tn_backend *be, tn_err *e) {
    tn_model *m;
    TN_TRY(tn_model_alloc(&m, d, be, false, e));
    for (int i = 0; i < m->n_tensor; i++) {
        const tn_tensor *t = &m->tensor[i];
        size_t n = (size_t)t->rows * (size_t)t->cols;
        if (t->store == m->head) continue;
        if (!tn_tensor_is_vector(t)) {
            init_normal(m, i, seed, init_sd(m, t));
        } else if (strstr(t->name, "norm")) {
            for (size_t k = 0; k < n; k++) {
                if (be->elem == 4) ((float *)tn_tensor_data(t, be))[k] = 1;
                else ((double *)tn_tensor_data(t, be))[k] = 1;
            }
        }
    }
    tn_status st = tn_model_pack_new(m, e);
    if (st != TN_OK) {
        tn_model_free(m);
        return st;
    }
    *out = m;
    return TN_OK;
}
