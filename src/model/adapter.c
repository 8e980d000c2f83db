/* Adapters: layout, packed forms, initialisation, copies, merging.
 *
 * In the store, for each layer and fused matrix: the A's of its adapted modules one under the other (one
 * product gives all their u), then their B's. ops.h (tn_lora) has the formula. */
#include "base/rng.h"
#include "model/params.h"
#include <math.h>
#include <string.h>

const char *const tn_module_names[TN_MODULES] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                 "gate_proj", "up_proj", "down_proj"};

/* ---------------- layout ---------------- */

/* A module's place: fused matrix, columns of its product, width of its input. */
typedef struct place {
    tn_matrix matrix;
    int col, out, in;
} place;

static place place_of(const tn_desc *d, tn_module k) {
    int D = d->hidden, F = d->ffn, q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    switch (k) {
    case TN_Q_PROJ:
        return (place){TN_QKV, 0, q, D};
    case TN_K_PROJ:
        return (place){TN_QKV, q, kv, D};
    case TN_V_PROJ:
        return (place){TN_QKV, q + kv, kv, D};
    case TN_O_PROJ:
        return (place){TN_O, 0, D, q};
    case TN_GATE_PROJ:
        return (place){TN_GATE_UP, 0, F, D};
    case TN_UP_PROJ:
        return (place){TN_GATE_UP, F, F, D};
    default:
        return (place){TN_DOWN, 0, D, F};
    }
}

static bool adapted(const tn_lora_spec *s, int module) { return s->modules >> module & 1; }

/* The layout is walked twice: to know the store's size, and when it exists. */
typedef struct cursor {
    tn_adapter *a;
    const tn_desc *d;
    const tn_backend *be;
    size_t at;
    int layer;
} cursor;

/* Appends a tensor; returns its elements, NULL on the first walk. */
static const void *add(cursor *c, int module, char which, int rows, int cols) {
    tn_adapter *a = c->a;
    tn_tensor *t = &a->tensor[a->n_tensor++];
    snprintf(t->name, sizeof t->name, "base_model.model.model.layers.%d.%s.%s.lora_%c.weight",
             c->layer, module < TN_GATE_PROJ ? "self_attn" : "mlp", tn_module_names[module], which);
    t->rows = rows;
    t->cols = cols;
    t->off = c->at;
    t->store = a->store;
    c->at += (size_t)rows * (size_t)cols;
    return a->store->data ? tn_cat(c->be, a->store->data, t->off) : NULL;
}

static void align(cursor *c) { c->at = (c->at + 15) & ~(size_t)15; }

static void lay_matrix(cursor *c, tn_matrix m) {
    const tn_lora_spec *s = &c->a->spec;
    tn_lora w = {.rank = s->rank};
    w.scale = s->alpha / (s->rslora ? sqrt((double)s->rank) : (double)s->rank);
    align(c);
    for (int k = 0; k < TN_MODULES; k++) {
        place p = place_of(c->d, (tn_module)k);
        if (!adapted(s, k) || p.matrix != m) continue;
        const void *a = add(c, k, 'A', w.rank, p.in);
        if (w.parts == 0) w.a = (tn_weight){.in = p.in, .master = a};
        w.a.out += w.rank;
        w.b[w.parts] = (tn_weight){.out = p.out, .in = w.rank};
        w.col[w.parts++] = p.col;
    }
    for (int k = 0, part = 0; k < TN_MODULES; k++) {
        place p = place_of(c->d, (tn_module)k);
        if (!adapted(s, k) || p.matrix != m) continue;
        align(c);
        w.b[part++].master = add(c, k, 'B', p.out, w.rank);
    }
    align(c);
    c->a->layer[c->layer][m] = w;
}

static size_t lay(tn_adapter *a, const tn_desc *d, const tn_backend *be) {
    cursor c = {.a = a, .d = d, .be = be};
    a->n_tensor = 0;
    for (; c.layer < d->layers; c.layer++)
        for (int m = 0; m < TN_MATRICES; m++) lay_matrix(&c, (tn_matrix)m);
    return c.at;
}

/* f(w) for every A and B. */
typedef void each_fn(void *ctx, tn_weight *w);
static void each(tn_adapter *a, int layers, each_fn *f, void *ctx) {
    for (int i = 0; i < layers * TN_MATRICES; i++) {
        tn_lora *w = &a->layer[i / TN_MATRICES][i % TN_MATRICES];
        if (w->parts) f(ctx, &w->a);
        for (int p = 0; p < w->parts; p++) f(ctx, &w->b[p]);
    }
}

/* ---------------- packed forms ---------------- */

typedef struct packing {
    tn_backend *be;
    char *at; /* NULL: sizes only */
    size_t bytes;
} packing;

static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

static void place_packed(void *ctx, tn_weight *w) {
    packing *p = ctx;
    size_t n = round64(p->be->op->weight_bytes(p->be, w->out, w->in));
    if (p->at) w->packed = p->at + p->bytes;
    p->bytes += n;
}

static void pack_one(void *ctx, tn_weight *w) {
    tn_backend *be = ctx;
    be->op->weight_pack(be, w);
}
void tn_adapter_pack(tn_adapter *a, int layers, tn_backend *be) { each(a, layers, pack_one, be); }

/* ---------------- making and hanging ---------------- */

static tn_status check_spec(const tn_desc *d, const tn_lora_spec *s, tn_err *e) {
    int most = d->ffn > d->hidden ? d->ffn : d->hidden;
    if (s->rank < 1 || s->rank > most)
        return tn_fail(e, TN_ARG, "a LoRA rank of %d: 1 to %d make sense for this model", s->rank,
                       most);
    if (!(s->alpha > 0) || !isfinite(s->alpha))
        return tn_fail(e, TN_ARG, "a LoRA alpha of %g: it must be positive", s->alpha);
    if (!s->modules || s->modules > TN_ALL_LINEAR)
        return tn_fail(e, TN_ARG, "an adapter needs at least one target module");
    return TN_OK;
}

tn_status tn_adapter_new(tn_adapter **out, const tn_desc *d, const tn_lora_spec *s, tn_backend *be,
                         tn_err *e) {
    *out = NULL;
    TN_TRY(check_spec(d, s, e));
    size_t layers = (size_t)d->layers;
    tn_adapter *a = tn_calloc(1, sizeof *a);
    if (!a) return tn_fail(e, TN_NOMEM, "out of memory for an adapter");
    a->spec = *s;
    a->tensor = tn_calloc(layers * TN_MODULES * 2, sizeof *a->tensor);
    a->layer = tn_calloc(layers, sizeof *a->layer);
    tn_status st = TN_OK;
    if (!a->tensor || !a->layer) TN_GO(tn_fail(e, TN_NOMEM, "out of memory for an adapter"), done);
    TN_GO(tn_store_new(&a->store, e), done);
    a->store->n = lay(a, d, be);
    TN_GO(tn_store_alloc(a->store, be->elem, "an adapter", e), done);
    lay(a, d, be);
    packing p = {.be = be};
    each(a, d->layers, place_packed, &p);
    a->packed_bytes = p.bytes;
    a->packed = tn_big_alloc(p.bytes);
    if (!a->packed)
        TN_GO(tn_fail(e, TN_NOMEM, "%zu MB for an adapter cannot be had", p.bytes >> 20), done);
    p = (packing){.be = be, .at = a->packed};
    each(a, d->layers, place_packed, &p);
    *out = a;
    return TN_OK;
done:
    tn_adapter_free(a, be->elem);
    return st;
}

tn_adapter_sizes tn_adapter_size(const tn_desc *d, const tn_lora_spec *s, const tn_backend *be) {
    tn_adapter_sizes z = {0};
    int parts[TN_MATRICES] = {0}, in[TN_MATRICES] = {0};
    packing p = {.be = (tn_backend *)be};
    for (int k = 0; k < TN_MODULES; k++) {
        place q = place_of(d, (tn_module)k);
        if (!adapted(s, k)) continue;
        parts[q.matrix]++;
        in[q.matrix] = q.in;
        z.n += (size_t)s->rank * (size_t)(q.in + q.out);
        place_packed(&p, &(tn_weight){.out = q.out, .in = s->rank});
    }
    for (int m = 0; m < TN_MATRICES; m++) {
        int rows = parts[m] * s->rank;
        if (rows) place_packed(&p, &(tn_weight){.out = rows, .in = in[m]});
        if (rows > z.width) z.width = rows;
    }
    z.n *= (size_t)d->layers;
    z.packed = p.bytes * (size_t)d->layers;
    return z;
}

void tn_adapter_free(tn_adapter *a, size_t elem) {
    if (!a) return;
    tn_store_free(a->store, elem);
    tn_big_free(a->packed, a->packed_bytes);
    tn_free(a->tensor);
    tn_free(a->layer);
    tn_free(a);
}

tn_status tn_model_hang(tn_model *m, tn_adapter *a, tn_err *e) {
    if (m->n_adapter == TN_MAX_ADAPTERS || m->trunk->grad) {
        tn_adapter_free(a, m->be->elem);
        if (m->trunk->grad)
            return tn_fail(e, TN_STATE, "a model that is trained itself cannot take an adapter");
        return tn_fail(e, TN_ARG, "a model holds at most %d adapters", TN_MAX_ADAPTERS);
    }
    tn_adapter_pack(a, m->desc.layers, m->be);
    m->adapter[m->n_adapter++] = a;
    return TN_OK;
}

typedef struct init {
    tn_backend *be;
    void *p;
    uint64_t key;
    double bound;
} init;
static void init_part(void *ctx, size_t begin, size_t end, int thread) {
    const init *c = ctx;
    for (size_t i = begin; i < end; i++) {
        tn_rng r = {c->key, i};
        float v = (float)((2 * tn_rng_unit(&r) - 1) * c->bound);
        if (c->be->elem == 4)
            ((float *)c->p)[i] = v;
        else
            ((double *)c->p)[i] = (double)v;
    }
}

tn_status tn_model_adapt(tn_model *m, const tn_lora_spec *s, uint64_t seed, tn_err *e) {
    tn_adapter *a;
    TN_TRY(tn_adapter_new(&a, &m->desc, s, m->be, e));
    for (int i = 0; i < a->n_tensor; i++) {
        const tn_tensor *t = &a->tensor[i];
        if (!strstr(t->name, ".lora_A.")) continue;
        /* kaiming_uniform(a): bound = sqrt(6 / ((1 + a^2) in)), a = sqrt 5 */
        init c = {m->be, tn_tensor_data(t, m->be),
                  tn_rng_stream(seed, TN_RNG_ADAPTER, (uint64_t)i).key, 1 / sqrt((double)t->cols)};
        tn_pool_run(m->be->pool, (size_t)t->rows * (size_t)t->cols, 1024, init_part, &c);
    }
    return tn_model_hang(m, a, e);
}

tn_status tn_model_adapt_copy(tn_model *m, const tn_adapter *from, tn_err *e) {
    tn_adapter *a;
    TN_TRY(tn_adapter_new(&a, &m->desc, &from->spec, m->be, e));
    if (a->store->n != from->store->n) {
        tn_adapter_free(a, m->be->elem);
        return tn_fail(e, TN_BUG, "an adapter was made for a model of another shape");
    }
    tn_copy_elements(m->be, a->store->data, from->store->data, a->store->n);
    return tn_model_hang(m, a, e);
}

/* ---------------- merging ---------------- */

typedef struct merging {
    const tn_model *m;
    char *w; /* master of the module's first row */
    const tn_lora *lora;
    int part;
} merging;

static double get(const tn_backend *be, const void *p, size_t i) {
    return be->elem == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

/* Rows [begin, end) of one module. */
static void merge_rows(void *ctx, size_t begin, size_t end, int thread) {
    const merging *g = ctx;
    const tn_backend *be = g->m->be;
    size_t r = (size_t)g->lora->rank, in = (size_t)g->lora->a.in;
    const void *A = tn_cat(be, g->lora->a.master, (size_t)g->part * r * in);
    const void *B = g->lora->b[g->part].master;
    for (size_t o = begin; o < end; o++)
        for (size_t i = 0; i < in; i++) {
            double sum = 0, v;
            for (size_t k = 0; k < r; k++) sum += get(be, B, o * r + k) * get(be, A, k * in + i);
            v = get(be, g->w, o * in + i) + g->lora->scale * sum;
            if (be->elem == 8)
                ((double *)(void *)g->w)[o * in + i] = v;
            else
                ((float *)(void *)g->w)[o * in + i] = (float)v;
        }
}

tn_status tn_model_merge(tn_model *m, tn_err *e) {
    if (!m->n_adapter) return tn_fail(e, TN_STATE, "there is no adapter to merge");
    TN_TRY(tn_model_has_masters(m, e));
    if (m->packs_shared || m->trunk->refs > 1)
        return tn_fail(e, TN_STATE, "a trunk that other models share cannot take an adapter up");
    for (int i = 0; i < m->desc.layers * TN_MATRICES; i++) {
        const tn_layer *l = &m->layer[i / TN_MATRICES];
        const size_t off[TN_MATRICES] = {l->qkv_off, l->o_off, l->gate_up_off, l->down_off};
        merging g = {.m = m, .lora = &m->adapter[0]->layer[i / TN_MATRICES][i % TN_MATRICES]};
        for (g.part = 0; g.part < g.lora->parts; g.part++) {
            size_t row = off[i % TN_MATRICES] + (size_t)g.lora->col[g.part] * (size_t)g.lora->a.in;
            g.w = tn_at(m->be, m->trunk->data, row);
            tn_pool_run(m->be->pool, (size_t)g.lora->b[g.part].out, 4, merge_rows, &g);
        }
    }
    for (int i = 0; i < m->n_adapter; i++) tn_adapter_free(m->adapter[i], m->be->elem);
    m->n_adapter = 0;
    tn_model_pack(m);
    return TN_OK;
}
