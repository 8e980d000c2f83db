/* Optimiser operations of the cpu backend, cut over threads. */
#include "base/mathx.h"
#include "ops/cpu/rows.h"
#include <math.h>
#include <string.h>

typedef struct job {
    const tn_cpu_rows *k;
    tn_adam c;
    const tn_adamw *how;
    float *p;
    char *m, *v;
    const float *g;
    size_t n;
    const uint8_t *live; /* NULL: all */
    double *sum;
    bool *ok;
} job;

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* ---- live units: as many blocks of TN_MOMENT_BLOCK as one has ---- */

typedef struct map {
    const uint8_t *live;
    size_t blocks, each; /* of the map; of a unit */
} map;
static map map_of(const job *j, size_t each) {
    return (map){j->live, (j->n + TN_MOMENT_BLOCK - 1) / TN_MOMENT_BLOCK, each};
}
static size_t units(const map *x) { return (x->blocks + x->each - 1) / x->each; }
static bool lives(const map *x, size_t unit) {
    for (size_t b = unit * x->each, end = smaller(b + x->each, x->blocks); b < end; b++)
        if (x->live[b]) return true;
    return false;
}
/* The first live unit at or behind `unit` that has `skip` live ones before it, counted from there. */
static size_t seek(const map *x, size_t unit, size_t skip) {
    while (unit < units(x) && (!lives(x, unit) || skip-- > 0)) unit++;
    return unit;
}
static size_t count(const map *x) {
    size_t n = 0;
    for (size_t u = 0; u < units(x); u++) n += lives(x, u);
    return n;
}

/* ---- AdamW ---- */

static void update(const job *j, size_t begin, size_t n) {
    size_t byte = tn_moment_bytes(j->how->moments, begin, sizeof(float));
    float *p = j->p + begin;
    const float *g = j->g + begin;
    char *m = j->m + byte, *v = j->v + byte;
    if (j->how->moments == TN_MOMENTS_FULL) j->k->adamw(&j->c, p, g, (float *)m, (float *)v, n);
    else j->k->adamw_kept(&j->c, j->how->moments, p, g, m, v, n, j->how->key, (uint32_t)(j->how->first + begin));
}

static void adamw(void *ctx, size_t begin, size_t end, int thread) { update(ctx, begin, end - begin); }

/* Live blocks number [begin, end), runs of them at once. */
static void adamw_live(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    map x = map_of(j, 1);
    for (size_t at = seek(&x, 0, begin), to; begin < end; begin += to - at, at = seek(&x, to, 0)) {
        to = at;
        while (to - at < end - begin && to < x.blocks && x.live[to]) to++;
        update(j, at * TN_MOMENT_BLOCK, smaller(to * TN_MOMENT_BLOCK, j->n) - at * TN_MOMENT_BLOCK);
    }
}

static void decay_rest(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t b = begin; b < end; b++) {
        size_t at = b * TN_MOMENT_BLOCK;
        if (!j->live[b]) j->k->scale(j->p + at, j->c.keep, smaller(TN_MOMENT_BLOCK, j->n - at));
    }
}

void tn_cpu_adamw(tn_backend *b, void *p, const void *g, void *m, void *v, size_t n, const tn_adamw *s) {
    double c1 = 1 - tn_pow(s->beta1, (double)s->step), c2 = 1 - tn_pow(s->beta2, (double)s->step);
    job j = {.k = tn_cpu_kernels(b), .p = p, .g = g, .m = m, .v = v, .n = n, .how = s, .live = s->live,
             .c = {(float)(1 - s->lr * s->wd), (float)s->beta1, (float)(1 - s->beta1), (float)s->beta2,
                   (float)(1 - s->beta2), (float)sqrt(c2), (float)(s->lr / c1), (float)s->eps, (float)s->gscale}};
    if (!j.live || j.c.eps == 0) { /* 0/0 */
        tn_cpu_run(b, n, TN_NORM_BLOCK, 4.0 * (double)n, adamw, &j);
        return;
    }
    map x = map_of(&j, 1);
    size_t live = count(&x);
    tn_cpu_run(b, live, 16, 4.0 * TN_MOMENT_BLOCK * (double)live, adamw_live, &j);
    if (j.c.keep != 1) tn_cpu_run(b, x.blocks, 16, (double)n, decay_rest, &j);
}

/* ---- norm ---- */

static void sum_block(const job *j, size_t i) {
    size_t at = i * TN_NORM_BLOCK;
    j->sum[i] = j->k->sumsq(j->g + at, smaller(TN_NORM_BLOCK, j->n - at));
}
static void sumsq(void *ctx, size_t begin, size_t end, int thread) {
    for (size_t i = begin; i < end; i++) sum_block(ctx, i);
}
static void sumsq_live(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    map x = map_of(j, TN_NORM_BLOCK / TN_MOMENT_BLOCK);
    for (size_t i = seek(&x, 0, begin); begin < end; begin++, i = seek(&x, i + 1, 0)) sum_block(j, i);
}

void tn_cpu_sumsq(tn_backend *b, const void *x, size_t n, const uint8_t *live, double *block) {
    job j = {.k = tn_cpu_kernels(b), .g = x, .n = n, .live = live, .sum = block};
    size_t blocks = (n + TN_NORM_BLOCK - 1) / TN_NORM_BLOCK;
    map some = map_of(&j, TN_NORM_BLOCK / TN_MOMENT_BLOCK);
    if (!live) {
        tn_cpu_run(b, blocks, 1, (double)n, sumsq, &j);
        return;
    }
    memset(block, 0, blocks * sizeof *block);
    size_t alive = count(&some);
    tn_cpu_run(b, alive, 1, (double)alive * TN_NORM_BLOCK, sumsq_live, &j);
}

#define PARTS 512

static void finite_part(void *ctx, size_t begin, size_t end, int thread) {
    const job *j = ctx;
    for (size_t i = begin; i < end; i++) {
        size_t len = (j->n + PARTS - 1) / PARTS, at = i * len;
        if (at < j->n) j->ok[i] = j->k->finite(j->g + at, j->n - at < len ? j->n - at : len);
    }
}

bool tn_cpu_finite(tn_backend *b, const void *x, size_t n) {
    bool ok[PARTS], all = true;
    for (int i = 0; i < PARTS; i++) ok[i] = true;
    job j = {.k = tn_cpu_kernels(b), .g = x, .n = n, .ok = ok};
    tn_cpu_run(b, PARTS, 16, (double)n, finite_part, &j);
    for (int i = 0; i < PARTS; i++) all = all && ok[i];
    return all;
}
