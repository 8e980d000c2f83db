/* Dealing examples to lanes, the tree over a rank's own lanes, and the sums of all lanes. */
#include "model/live.h"
#include "train/lanes_int.h"
#include <string.h>

static bool power_of_two(int n) { return n > 0 && (n & (n - 1)) == 0; }

tn_status tn_lanes_check(int ranks, int lanes, tn_err *e) {
    if (!power_of_two(ranks))
        return tn_fail(
            e, TN_ARG,
            "%d ranks: lanes are shared out evenly, so the number of ranks must be a power of two",
            ranks);
    if (!power_of_two(lanes) || lanes > 1 << TN_LANE_LEVELS)
        return tn_fail(e, TN_ARG, "--grad-lanes %d: expected a power of two up to %d", lanes,
                       1 << TN_LANE_LEVELS);
    if (ranks > lanes)
        return tn_fail(
            e, TN_ARG,
            "%d ranks have no work with %d gradient lane%s; start fewer, or give --grad-lanes %d "
            "(the order of sums, so the last bits of results, depends on it)",
            ranks, lanes, lanes == 1 ? "" : "s", ranks);
    return TN_OK;
}

int tn_lanes_spare(int ranks, int lanes) {
    int n = 0;
    while (ranks << n < lanes) n++;
    return n;
}

/* ---- making ---- */

static tn_status make_spares(tn_lanes *l, tn_err *e) {
    for (int i = 0; i < l->spares; i++)
        for (int k = 0; k < l->n_store; k++) {
            size_t bytes = l->store[k]->n * l->model->be->elem;
            l->spare[i][k] = tn_big_alloc(bytes);
            if (!l->spare[i][k])
                return tn_fail(
                    e, TN_NOMEM,
                    "%.2f GB for one more gradient cannot be had: %d lanes on this rank keep %d; "
                    "fewer --grad-lanes, or more ranks",
                    (double)bytes / 1e9, l->own, l->spares + 1);
            tn_big_by_pages(l->spare[i][k], l->store[k]->n_live * l->model->be->elem);
            l->resting[i] = true;
        }
    return TN_OK;
}

static tn_status make(tn_lanes *l, tn_err *e) {
    size_t n = (size_t)l->n, own = (size_t)l->own;
    TN_TRY(tn_model_trainable_shard(l->model, l->comm->rank, l->comm->size, e));
    tn_trained t[TN_TRAINED_MAX];
    l->n_store = tn_model_trained(l->model, t);
    for (int k = 0; k < l->n_store; k++) {
        l->store[k] = t[k].store;
        l->main[k] = t[k].store->grad;
    }
    l->key = tn_calloc(l->cap, sizeof *l->key);
    l->lane_of = tn_calloc(l->cap, sizeof *l->lane_of);
    l->load = tn_calloc(n, sizeof *l->load);
    l->sum = tn_calloc(n, sizeof *l->sum);
    bool ok = l->key && l->lane_of && l->load && l->sum;
    for (int w = 0; w < TN_LANE_BATCHES; w++) {
        l->batch[w].ex = tn_calloc(l->cap, sizeof *l->batch[w].ex);
        l->batch[w].start = tn_calloc(n + 1, sizeof *l->batch[w].start);
        l->batch[w].result = tn_calloc(own, sizeof *l->batch[w].result);
        ok = ok && l->batch[w].ex && l->batch[w].start && l->batch[w].result;
    }
    if (!ok) return tn_fail(e, TN_NOMEM, "out of memory for %d gradient lanes", l->n);
    TN_TRY(make_spares(l, e));
    return tn_lanes_shards(l, e);
}

tn_status tn_lanes_new(tn_lanes **out, tn_comm *c, int lanes, tn_model *m, size_t examples,
                       tn_err *e) {
    *out = NULL;
    TN_TRY(tn_lanes_check(c->size, lanes, e));
    if (lanes == 1) return tn_model_trainable(m, e);
    tn_lanes *l = tn_calloc(1, sizeof *l);
    if (!l) return tn_fail(e, TN_NOMEM, "out of memory");
    l->comm = c, l->model = m, l->n = lanes, l->cap = examples;
    l->own = lanes / c->size;
    l->first = l->own * c->rank;
    l->spares = tn_lanes_spare(c->size, lanes);
    tn_status st = make(l, e);
    if (st != TN_OK) {
        tn_lanes_free(l);
        return st;
    }
    *out = l;
    return TN_OK;
}

void tn_lanes_free(tn_lanes *l) {
    if (!l) return;
    for (int k = 0; k < l->n_store; k++) {
        size_t bytes = l->store[k]->n * l->model->be->elem;
        for (int i = 0; i < l->spares; i++) tn_big_free(l->spare[i][k], bytes);
        tn_free(l->elem_at[k]);
        tn_free(l->block_at[k]);
        tn_free(l->block[k]);
    }
    for (int w = 0; w < TN_LANE_BATCHES; w++) {
        tn_free(l->batch[w].ex);
        tn_free(l->batch[w].start);
        tn_free(l->batch[w].result);
    }
    void *p[] = {l->key, l->lane_of, l->load, l->sum, l->out, l->in, l->received, l->live};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    tn_free(l);
}

void tn_lanes_rest(tn_lanes *l) {
    for (int i = 0; l && i < l->spares; i++) {
        for (int k = 0; k < l->n_store; k++) tn_big_clear(l->spare[i][k], l->store[k]->n * l->model->be->elem);
        l->resting[i] = true;
    }
}

tn_comm *tn_lanes_comm(const tn_lanes *l) { return l ? l->comm : tn_comm_self(); }

/* ---- dealing ---- */

/* Ascending, in place and without memory: heap sort. */
static void sift(uint64_t *a, size_t i, size_t n) {
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && a[child + 1] > a[child]) child++;
        if (a[i] >= a[child]) return;
        uint64_t t = a[i];
        a[i] = a[child], a[child] = t;
    }
}
static void sort(uint64_t *a, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift(a, i, n);
    for (size_t end = n; end-- > 1;) {
        uint64_t t = a[0];
        a[0] = a[end], a[end] = t;
        sift(a, 0, end);
    }
}

/* The dearest example first, each to the lane with the least so far (the lowest of equals): no lane is more
 * than 4/3 of the best possible (Graham 1969). Within a lane examples keep the batch's order. */
tn_status tn_lanes_deal(tn_lanes *l, int w, tn_example *const *ex, int n, const tn_batch_options *o,
                        tn_err *e) {
    int *start = l->batch[w].start;
    if (w >= TN_LANE_BATCHES || (size_t)n > l->cap)
        return tn_fail(e, TN_BUG, "batch %d of %d examples for lanes made for %d of %zu", w, n,
                       TN_LANE_BATCHES, l->cap);
    for (int i = 0; i < n; i++) /* descending cost, then ascending number */
        l->key[i] = (uint64_t)(INT32_MAX - tn_batch_cost(ex[i], o)) << 32 | (uint32_t)i;
    sort(l->key, (size_t)n);
    memset(l->load, 0, (size_t)l->n * sizeof *l->load);
    memset(start, 0, ((size_t)l->n + 1) * sizeof *start);
    memset(l->batch[w].result, 0, (size_t)l->own * sizeof *l->batch[w].result);
    for (int k = 0; k < n; k++) {
        int i = (int)(uint32_t)l->key[k], to = 0;
        for (int a = 1; a < l->n; a++)
            if (l->load[a] < l->load[to]) to = a;
        l->load[to] += tn_batch_cost(ex[i], o);
        l->lane_of[i] = to;
        start[to + 1]++;
    }
    for (int a = 0; a < l->n; a++) start[a + 1] += start[a];
    for (int i = n; i-- > 0;) /* fills lanes from their ends; start moves to the lane's first */
        l->batch[w].ex[--start[l->lane_of[i] + 1]] = ex[i];
    for (int a = 0; a < l->n; a++) start[a] = start[a + 1];
    start[l->n] = n;
    return TN_OK;
}

int tn_lanes_own(const tn_lanes *l) { return l->own; }
bool tn_lanes_first(const tn_lanes *l, int i) { return l->first + i == 0; }
tn_step_result *tn_lanes_result(tn_lanes *l, int w, int i) { return &l->batch[w].result[i]; }
tn_example *const *tn_lanes_examples(const tn_lanes *l, int w, int i, int *n) {
    const int *start = l->batch[w].start + l->first + i;
    *n = start[1] - start[0];
    return l->batch[w].ex + start[0];
}

/* ---- the tree at home ---- */

/* Sums of subtrees wait in a stack: before lane i there are as many as i has bits set, the k-th of them in
 * the model's gradient (k = 0) or in spare k-1. After lane i, whose trailing ones count the subtrees that it
 * completes, that many of them are added. */
static int waiting(int i) { return __builtin_popcount((unsigned)i); }
static void *sum_at(const tn_lanes *l, int depth, int k) {
    return depth ? l->spare[depth - 1][k] : l->main[k];
}

void tn_lanes_open(tn_lanes *l, int i) {
    int depth = waiting(i);
    for (int k = 0; k < l->n_store; k++) l->store[k]->grad = sum_at(l, depth, k);
    if (depth && l->resting[depth - 1]) {
        for (int k = 0; k < l->n_store; k++) tn_live_touch(l->model->be, l->store[k], l->store[k]->grad);
        l->resting[depth - 1] = false;
    } else if (depth) tn_model_zero_grad(l->model);
}

void tn_lanes_shut(tn_lanes *l, int i) {
    tn_backend *b = l->model->be;
    int depth = waiting(i);
    for (; i & 1; i >>= 1, depth--)
        for (int k = 0; k < l->n_store; k++)
            tn_live_add(b, l->store[k], sum_at(l, depth - 1, k), sum_at(l, depth, k));
    for (int k = 0; k < l->n_store; k++) l->store[k]->grad = l->main[k];
}

/* ---- sums of all lanes ---- */

static tn_status pack(tn_lane_sum *s, const tn_step_result *r, tn_err *e) {
    s->loss = r->loss, s->tokens = r->tokens, s->micro_batches = r->micro_batches;
    s->n = r->metrics.n;
    for (int i = 0; i < r->metrics.n; i++) {
        const char *name = r->metrics.v[i].name;
        if (strlen(name) >= TN_METRIC_NAME)
            return tn_fail(e, TN_BUG, "the metric name \"%s\" is longer than %d bytes", name,
                           TN_METRIC_NAME - 1);
        memset(s->v[i].name, 0, TN_METRIC_NAME);
        memcpy(s->v[i].name, name, strlen(name));
        s->v[i].kind = r->metrics.v[i].kind;
        s->v[i].sum = r->metrics.v[i].sum, s->v[i].count = r->metrics.v[i].count;
    }
    return TN_OK;
}

/* Metrics point at their names: a name gets one address, which stays as long as the lanes. */
static const char *address_of(tn_lanes *l, const char *name) {
    for (int i = 0; i < l->n_name; i++)
        if (strcmp(l->name[i], name) == 0) return l->name[i];
    if (l->n_name == TN_METRICS_MAX)
        return l->name[0]; /* a table of metrics holds no more either */
    memcpy(l->name[l->n_name], name, TN_METRIC_NAME);
    return l->name[l->n_name++];
}

static void add(tn_lanes *l, const tn_lane_sum *s, tn_step_result *r) {
    tn_metrics m;
    tn_metrics_clear(&m);
    m.n = (int)s->n;
    for (int i = 0; i < m.n; i++) {
        m.v[i].name = address_of(l, s->v[i].name);
        m.v[i].kind = (tn_metric_kind)s->v[i].kind;
        m.v[i].sum = s->v[i].sum, m.v[i].count = s->v[i].count;
    }
    r->loss += s->loss;
    r->tokens += (long)s->tokens;
    r->micro_batches += (int)s->micro_batches;
    tn_metrics_merge(&r->metrics, &m);
}

tn_status tn_lanes_collect(tn_lanes *l, int w, tn_step_result *r, tn_err *e) {
    for (int i = 0; i < l->own; i++) TN_TRY(pack(&l->sum[l->first + i], &l->batch[w].result[i], e));
    TN_TRY(tn_comm_all_gather_even(l->comm, l->sum, (size_t)l->own * sizeof *l->sum, e));
    for (int i = 0; i < l->n; i++) add(l, &l->sum[i], r);
    return TN_OK;
}
