/* Row operations of the cpu backend: how each one is cut over threads. Outputs are cut, by rows
 * or, where a sum over tokens is formed, by columns; a sum is never shared between threads. */
#include "ops/bf16.h"
#include "ops/cpu/rows.h"
#include <string.h>

/* Waking the threads costs some microseconds: about what this much work takes. */
#define WORTH_THREADS 32768.0
#define COLUMNS 16 /* columns are cut at multiples of this */

void tn_cpu_run(tn_backend *b, size_t n, size_t grain, double work, tn_pool_fn *fn, void *ctx) {
    if (work < WORTH_THREADS || n <= grain) {
        if (n) fn(ctx, 0, n, 0);
    } else {
        tn_pool_deal(b->pool, n, grain, fn, ctx);
    }
}

/* Ranges of columns, which every row of tokens is read for: as wide as they can be. */
static void run_columns(tn_backend *b, size_t n, double work, tn_pool_fn *fn, void *ctx) {
    if (work < WORTH_THREADS || n <= COLUMNS) fn(ctx, 0, n, 0);
    else tn_pool_run(b->pool, n, COLUMNS, fn, ctx);
}

static size_t zu(int n) { return (size_t)n; }

/* One set of arguments for all: each operation uses what it needs. */
typedef struct job {
    const tn_cpu_rows *k;
    float *y;
    const float *x, *w, *dy, *cos, *sin;
    float *rstd;
    const float *rstd_in;
    double *out;
    const double *d_out;
    const int32_t *ids;
    size_t ldy, ldx, lddy;
    int T, R, D, groups, n, sign, rest;
    bool half;     /* operand rows are bf16 */
    size_t bytes;  /* of an element */
    tn_mode mode;
    tn_act act;
    float value;
} job;

/* Operand rows: bf16, or floats. */
static bool is_half(const tn_backend *b) { return b->operand != b->elem; }
static void *row_at(bool half, void *p, size_t i) { return (char *)p + i * (half ? sizeof(uint16_t) : sizeof(float)); }
static const void *row_cat(bool half, const void *p, size_t i) {
    return (const char *)p + i * (half ? sizeof(uint16_t) : sizeof(float));
}

static void gather(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    size_t row = zu(j->D) * j->bytes, from = j->ldx * j->bytes;
    for (size_t t = begin; t < end; t++) memcpy((char *)j->y + t * row, (const char *)j->x + zu(j->ids[t]) * from, row);
}

void tn_cpu_gather(tn_backend *b, void *y, const void *x, int ld, const int32_t *rows, int R, int D, size_t bytes) {
    job j = {.y = y, .x = x, .ids = rows, .ldx = zu(ld), .D = D, .bytes = bytes};
    tn_cpu_run(b, zu(R), 4, (double)R * D, gather, &j);
}

static void widen(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    const uint16_t *table = (const uint16_t *)(const void *)j->x;
    for (size_t t = begin; t < end; t++)
        for (size_t i = 0, row = zu(j->ids[t]) * zu(j->D); i < zu(j->D); i++) j->y[t * zu(j->D) + i] = tn_bf16_float(table[row + i]);
}

void tn_cpu_embed(tn_backend *b, void *y, const void *table, bool half, const int32_t *ids, int T, int D) {
    if (!half) {
        tn_cpu_gather(b, y, table, D, ids, T, D, sizeof(float));
        return;
    }
    job j = {.y = y, .x = table, .ids = ids, .D = D};
    tn_cpu_run(b, zu(T), 4, (double)T * D, widen, &j);
}

/* Columns of y[ids[t]] += x[t]. */
static void scatter(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    for (int t = 0; t < j->T; t++)
        j->k->add(j->y + zu(j->ids[t]) * j->ldy + begin, j->x + zu(t) * zu(j->D) + begin, end - begin);
}

void tn_cpu_embed_bwd(tn_backend *b, void *dtable, const void *dy, const int32_t *ids, int T, int D) {
    job j = {.k = tn_cpu_kernels(b), .y = dtable, .x = dy, .ids = ids, .ldy = zu(D), .T = T, .D = D};
    run_columns(b, zu(D), (double)T * D, scatter, &j);
}

void tn_cpu_scatter_add(tn_backend *b, void *x, int ld, const void *y, const int32_t *rows, int R, int D) {
    job j = {.k = tn_cpu_kernels(b), .y = x, .x = y, .ids = rows, .ldy = zu(ld), .T = R, .D = D};
    run_columns(b, zu(D), (double)R * D, scatter, &j);
}

/* From the last row upwards: a row never goes to one that is still needed. */
static void spread(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    size_t bytes = (end - begin) * sizeof(float);
    for (int t = j->T - 1, i = j->R - 1; t >= 0; t--) {
        float *y = j->y + zu(t) * zu(j->D) + begin;
        if (i < 0 || j->ids[i] != t) memset(y, 0, bytes);
        else if (i-- != t) memcpy(y, j->y + zu(i + 1) * zu(j->D) + begin, bytes);
    }
}

void tn_cpu_spread(tn_backend *b, void *x, const int32_t *rows, int R, int T, int D) {
    job j = {.y = x, .ids = rows, .R = R, .T = T, .D = D};
    run_columns(b, zu(D), (double)T * D, spread, &j);
}

static void bias(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    for (int t = 0; t < j->T; t++) {
        const void *row = row_cat(j->half, j->x, zu(t) * j->ldx + begin);
        if (j->half) j->k->add_half(j->y + begin, row, end - begin);
        else j->k->add(j->y + begin, row, end - begin);
    }
}

void tn_cpu_bias_bwd(tn_backend *b, void *db, const void *dy, int ld, int T, int n) {
    job j = {.k = tn_cpu_kernels(b), .y = db, .x = dy, .ldx = zu(ld), .T = T, .half = is_half(b)};
    run_columns(b, zu(n), (double)T * n, bias, &j);
}

static void norm(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->norm(j->half, row_at(j->half, j->y, begin * j->ldy), j->ldy, j->rstd ? j->rstd + begin * zu(j->groups) : NULL,
               j->x + begin * j->ldx, j->ldx, j->w, (int)(end - begin), j->groups, j->n, j->value);
}

void tn_cpu_rms_norm(tn_backend *b, tn_mode mode, void *y, int ldy, void *rstd, const void *x, int ldx, const void *w,
                     int T, int groups, int n, double eps) {
    job j = {.k = tn_cpu_kernels(b), .y = y, .x = x, .w = w, .rstd = rstd, .ldy = zu(ldy), .ldx = zu(ldx),
             .groups = groups, .n = n, .value = (float)eps, .half = mode == TN_ROUND && is_half(b)};
    tn_cpu_run(b, zu(T), 4, (double)T * groups * n, norm, &j);
}

static void norm_dw(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->norm_dw(j->y + begin, j->dy + begin, j->lddy, j->x + begin, j->ldx, j->rstd_in, j->T, j->groups, j->n,
                  (int)(end - begin));
}

static void norm_dx(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->norm_dx(j->mode, j->y + begin * j->ldy, j->ldy, j->dy + begin * j->lddy, j->lddy,
                  j->x + begin * j->ldx, j->ldx, j->rstd_in + begin * zu(j->groups), j->w, (int)(end - begin),
                  j->groups, j->n);
}

void tn_cpu_rms_norm_bwd(tn_backend *b, tn_mode mode, void *dx, int lddx, void *dw, const void *dy, int lddy,
                         const void *x, int ldx, const void *rstd, const void *w, int T, int groups, int n) {
    job j = {.k = tn_cpu_kernels(b), .mode = mode, .y = dw, .dy = dy, .x = x, .rstd_in = rstd, .w = w,
             .ldy = zu(lddx), .lddy = zu(lddy), .ldx = zu(ldx), .T = T, .groups = groups, .n = n};
    double work = (double)T * groups * n;
    if (dw) run_columns(b, zu(n), work, norm_dw, &j); /* first: dx may overwrite dy */
    j.y = dx;
    tn_cpu_run(b, zu(T), 4, work, norm_dx, &j);
}

static void rope(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->rope(j->half, row_at(j->half, j->y, begin * j->ldy), j->ldy, j->x + begin * j->ldx, j->ldx, j->ids + begin, j->cos,
               j->sin, (int)(end - begin), j->groups, j->rest, j->D, j->n, j->sign);
}

void tn_cpu_rope(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const int32_t *pos, const void *cos,
                 const void *sin, int T, int heads, int rest, int d, int d_rot, int sign) {
    job j = {.k = tn_cpu_kernels(b), .y = y, .ldy = zu(ldy), .x = x, .ldx = zu(ldx), .ids = pos, .cos = cos, .sin = sin,
             .groups = heads, .rest = rest, .D = d, .n = d_rot / 2, .sign = sign, .half = mode == TN_ROUND && is_half(b)};
    tn_cpu_run(b, zu(T), 4, (double)T * (heads + rest) * d, rope, &j);
}

static void act(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    size_t F = zu(j->D);
    j->k->act(j->half, j->act, row_at(j->half, j->y, begin * F), row_cat(j->half, j->x, begin * 2 * F), (int)(end - begin), j->D);
}

void tn_cpu_act_gate(tn_backend *b, tn_act how, void *h, const void *gu, int T, int F) {
    job j = {.k = tn_cpu_kernels(b), .act = how, .y = h, .x = gu, .D = F, .half = is_half(b)};
    tn_cpu_run(b, zu(T), 2, 4.0 * T * F, act, &j);
}

static void act_bwd(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    size_t F = zu(j->D);
    j->k->act_bwd(j->half, j->act, row_at(j->half, j->y, begin * 2 * F), j->dy + begin * F,
                  row_cat(j->half, j->x, begin * 2 * F), (int)(end - begin), j->D);
}

void tn_cpu_act_gate_bwd(tn_backend *b, tn_act how, void *dgu, const void *dh, const void *gu, int T, int F) {
    job j = {.k = tn_cpu_kernels(b), .act = how, .y = dgu, .dy = dh, .x = gu, .D = F, .half = is_half(b)};
    tn_cpu_run(b, zu(T), 2, 6.0 * T * F, act_bwd, &j);
}

static void round_some(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->round((uint16_t *)(void *)j->y + begin, j->x + begin, end - begin);
}

void tn_cpu_round(tn_backend *b, void *y, const void *x, size_t n) {
    job j = {.k = tn_cpu_kernels(b), .y = y, .x = x};
    if (is_half(b)) tn_cpu_run(b, n, 1024, (double)n, round_some, &j);
    else if (y != x) memcpy(y, x, n * sizeof(float));
}

static void add(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->add(j->y + begin, j->x + begin, end - begin);
}

void tn_cpu_add(tn_backend *b, void *y, const void *x, size_t n) {
    job j = {.k = tn_cpu_kernels(b), .y = y, .x = x};
    tn_cpu_run(b, n, 1024, (double)n, add, &j);
}

static void scale(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->scale(j->y + begin, j->value, end - begin);
}

void tn_cpu_scale(tn_backend *b, void *y, double s, size_t n) {
    job j = {.k = tn_cpu_kernels(b), .y = y, .value = (float)s};
    tn_cpu_run(b, n, 1024, (double)n, scale, &j);
}

void tn_cpu_exp_row(const tn_backend *b, float *p, double *sum, const float *z, double lse, int V) {
    const tn_cpu_rows *k = tn_cpu_kernels(b);
    for (int v = 0; v < V; v += TN_EXP_BLOCK)
        *sum++ = k->exp_sum(p + v, z + v, (float)lse, zu(V - v < TN_EXP_BLOCK ? V - v : TN_EXP_BLOCK));
}

static void rowdot(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->rowdot(j->out + begin, j->x + begin * zu(j->D), j->w, (int)(end - begin), j->D);
}

void tn_cpu_rowdot(tn_backend *b, double *out, const void *x, const void *w, int R, int D) {
    job j = {.k = tn_cpu_kernels(b), .out = out, .x = x, .w = w, .D = D};
    tn_cpu_run(b, zu(R), 4, (double)R * D, rowdot, &j);
}

static void rowdot_dx(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->rowdot_dx(j->y + begin * zu(j->D), j->d_out + begin, j->w, (int)(end - begin), j->D);
}

static void rowdot_dw(void *c, size_t begin, size_t end, int thread) {
    const job *j = c;
    j->k->rowdot_dw(j->y + begin, j->d_out, j->x + begin, j->T, j->D, (int)(end - begin));
}

void tn_cpu_rowdot_bwd(tn_backend *b, void *dx, void *dw, const double *d_out, const void *x, const void *w,
                       int R, int D) {
    job j = {.k = tn_cpu_kernels(b), .y = dw, .d_out = d_out, .x = x, .w = w, .T = R, .D = D};
    run_columns(b, zu(D), (double)R * D, rowdot_dw, &j);
    j.y = dx;
    tn_cpu_run(b, zu(R), 4, (double)R * D, rowdot_dx, &j);
}
