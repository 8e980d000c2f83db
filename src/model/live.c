#include "model/live.h"
#include "model/params.h"
#include <string.h>

enum { PAGE = 4096, LARGE_PAGE = 512 }; /* bytes; pages */

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

bool tn_live_kept(const tn_desc *d, bool score) { return !d->tied || score || d->num_labels > 0; }

void tn_live_mark(uint8_t *live, int D, const int32_t *ids, size_t n, int pad) {
    for (size_t i = 0; i < n; i++) {
        size_t row = (size_t)ids[i] * (size_t)D, from = row / TN_MOMENT_BLOCK;
        if (ids[i] != pad) memset(live + from, 1, tn_live_blocks(row + (size_t)D) - from);
    }
}

size_t tn_live_bytes(const uint8_t *live, size_t n, tn_moment_kind kind, size_t elem) {
    size_t pages = 0, counted = 0; /* pages before `counted` are done with */
    for (size_t b = 0; b * TN_MOMENT_BLOCK < n; b++) {
        if (!live[b]) continue;
        size_t first = tn_moment_bytes(kind, b * TN_MOMENT_BLOCK, elem) / PAGE;
        size_t end = (tn_moment_bytes(kind, smaller((b + 1) * TN_MOMENT_BLOCK, n), elem) + PAGE - 1) / PAGE;
        if (first < counted) first = counted;
        if (end <= first) continue;
        pages += end - first;
        counted = end;
    }
    return pages * PAGE;
}

tn_status tn_live_new(tn_store *s, size_t n, tn_err *e) {
    if (s->live) return TN_OK;
    s->live = tn_calloc(tn_live_blocks(n), 1);
    s->n_live = n;
    return s->live ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

void tn_live_all(tn_store *s) {
    if (s->live) memset(s->live, 1, tn_live_blocks(s->n_live));
}

/* Calls of f for every run of live blocks, as elements of the store. */
typedef void on_run(void *ctx, size_t at, size_t n);
static void each_run(const tn_store *s, size_t block, size_t end, on_run *f, void *ctx) {
    for (size_t to; block < end; block = to) {
        to = block;
        while (to < end && s->live[to] == s->live[block]) to++;
        size_t at = block * TN_MOMENT_BLOCK;
        if (s->live[block]) f(ctx, at, smaller(to * TN_MOMENT_BLOCK, s->n_live) - at);
    }
}

/* ---- zero ---- */

typedef struct wipe {
    const tn_store *s;
    char *p;
    size_t elem;
} wipe;
static void wipe_run(void *ctx, size_t at, size_t n) {
    const wipe *w = ctx;
    memset(w->p + at * w->elem, 0, n * w->elem);
}
static void wipe_blocks(void *ctx, size_t begin, size_t end, int thread) {
    each_run(((const wipe *)ctx)->s, begin, end, wipe_run, ctx);
}
static void wipe_bytes(void *ctx, size_t begin, size_t end, int thread) {
    memset(((const wipe *)ctx)->p + begin, 0, end - begin);
}

void tn_live_zero(tn_backend *b, const tn_store *s, void *grad, bool whole) {
    wipe w = {s, grad, b->elem};
    size_t rest = s->live && !whole ? s->n_live : 0;
    if (rest) tn_pool_run(b->pool, tn_live_blocks(rest), 16, wipe_blocks, &w);
    w.p += rest * b->elem;
    tn_pool_run(b->pool, (s->n - rest) * b->elem, 1 << 16, wipe_bytes, &w);
}

static void touch_pages(void *ctx, size_t begin, size_t end, int thread) {
    volatile char *p = *(char **)ctx;
    for (size_t i = begin; i < end; i++) p[i * PAGE] = 0;
}

void tn_live_touch(tn_backend *b, const tn_store *s, void *grad) {
    size_t rest = s->live ? s->n_live : 0;
    char *p = (char *)grad + rest * b->elem;
    tn_pool_run(b->pool, ((s->n - rest) * b->elem + PAGE - 1) / PAGE, LARGE_PAGE, touch_pages, &p);
}

/* ---- sums ---- */

typedef struct sum {
    tn_backend *b;
    void *to, *from;
} sum;
static void sum_run(void *ctx, size_t at, size_t n) {
    const sum *x = ctx;
    x->b->op->add(x->b, tn_at(x->b, x->to, at), tn_at(x->b, x->from, at), n);
}

void tn_live_add(tn_backend *b, const tn_store *s, void *to, void *from) {
    sum x = {b, to, from};
    size_t rest = s->live ? s->n_live : 0;
    if (rest) each_run(s, 0, tn_live_blocks(rest), sum_run, &x);
    sum_run(&x, rest, s->n - rest);
}

/* ---- moments ---- */

static tn_moment_kind kind_of(const tn_model *m, const tn_store *s) { return tn_moment_kind_of(m->moments, s->n_live, false); }

size_t tn_live_moment_bytes(const tn_model *m, const tn_store *s) {
    size_t end = smaller(s->n_live, s->last), elem = m->be->elem;
    if (!s->live || s->first >= end) return 0;
    return tn_moment_bytes(kind_of(m, s), end, elem) - tn_moment_bytes(kind_of(m, s), s->first, elem);
}

static bool all_zero(const char *p, size_t n) {
    size_t i = 0;
    while (i < n && p[i] == 0) i++;
    return i == n;
}

void tn_live_read(const tn_model *m, tn_store *s, void *moment, const void *from) {
    size_t table = tn_live_moment_bytes(m, s), at = 0, block = s->first / TN_MOMENT_BLOCK;
    char *to = moment;
    const char *is = from;
    for (size_t n; at < table; at += n, block++) {
        n = smaller(tn_moment_bytes(kind_of(m, s), TN_MOMENT_BLOCK, m->be->elem), table - at);
        if (!all_zero(is + at, n)) s->live[block] = 1;
        if (s->live[block]) memcpy(to + at, is + at, n);
    }
    memcpy(to + table, is + table, s->moment_bytes - table);
}
