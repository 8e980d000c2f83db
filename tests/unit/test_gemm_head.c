/* Head of the cpu backend, forward and backward, against the float reference: equal bits for every
 * kernel, thread count and number of rows. */
#include "unit/gemm_case.h"

typedef struct results { double logp[320], lse[320], entropy[320], mean[320], top1[320], sum_sq[320]; float *z; } results;

static void ask(tn_head *h, results *r) {
    h->logp = r->logp;
    h->lse = r->lse;
    h->entropy = r->entropy;
    h->mean_logit = r->mean;
    h->top1 = r->top1;
    h->log_sum_sq = r->sum_sq;
    h->z = r->z;
}

typedef struct shape { int R, V, in; double inv_temp; int kind; } shape;

static int32_t *targets(int R, int V) {
    int32_t *t = tn_malloc((size_t)R * sizeof *t);
    for (int i = 0; i < R; i++) t[i] = i % 5 == 4 ? -1 : (int)((i * 7919u + 3) % (unsigned)V);
    return t;
}

static bool same_doubles(const double *a, const double *b, int n) {
    for (int i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return false;
    return true;
}

static void forward_case(kernels k, tn_backend *c, tn_backend *r, shape s) {
    float *x = numbers((size_t)s.R * s.in, s.kind), *m = numbers((size_t)s.V * s.in, s.kind);
    int32_t *t = targets(s.R, s.V);
    for (int i = 0; i < s.in; i++) m[(size_t)(s.V - 1) * s.in + i] = m[(size_t)(s.V / 2) * s.in + i]; /* ties */
    tn_weight wr = weight(r, s.V, s.in, m), wc = weight(c, s.V, s.in, m);
    results *a = tn_calloc(1, sizeof *a), *b = tn_calloc(1, sizeof *b);
    a->z = tn_calloc((size_t)s.R * s.V, 4);
    b->z = tn_calloc((size_t)s.R * s.V, 4);
    tn_head h = {.rows = s.R, .x = x, .w = &wr, .inv_temp = s.inv_temp, .target = t};
    ask(&h, a);
    r->op->head(r, &h);
    h.w = &wc;
    ask(&h, b);
    tn_cpu_head(c, &h);
    const char *f = "%s R=%d V=%d in=%d kind=%d threads=%d: %s";
    int th = tn_pool_threads(c->pool);
#define SAME(field) CHECK_MSG(same_doubles(a->field, b->field, s.R), f, k.name, s.R, s.V, s.in, s.kind, th, #field)
    SAME(logp);
    SAME(lse);
    SAME(entropy);
    SAME(mean);
    SAME(sum_sq);
    if (s.kind == NORMAL) SAME(top1);
    CHECK_MSG(same(a->z, b->z, (size_t)s.R * s.V), f, k.name, s.R, s.V, s.in, s.kind, th, "z");
    /* only one answer asked for, one row, no targets */
    double lse;
    tn_head one = {.rows = 1, .x = x + (size_t)(s.R - 1) * s.in, .w = &wc, .inv_temp = s.inv_temp, .lse = &lse};
    tn_cpu_head(c, &one);
    CHECK_MSG(same_doubles(&lse, b->lse + s.R - 1, 1), f, k.name, s.R, s.V, s.in, s.kind, th, "lse of the last row alone");
    one.lse = NULL, one.log_sum_sq = &lse;
    tn_cpu_head(c, &one);
    CHECK_MSG(same_doubles(&lse, b->sum_sq + s.R - 1, 1), f, k.name, s.R, s.V, s.in, s.kind, th, "sum of squares alone");
    weight_free(&wr);
    weight_free(&wc);
    void *all[] = {x, m, t, a->z, b->z, a, b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tn_free(all[i]);
}

static double *doubles(int n) {
    double *d = tn_malloc((size_t)n * sizeof *d);
    for (int i = 0; i < n; i++) d[i] = number(NORMAL);
    return d;
}

static void backward_case(kernels k, tn_backend *c, tn_backend *r, shape s, int which) {
    size_t nx = (size_t)s.R * s.in, nw = (size_t)s.V * s.in;
    float *x = numbers(nx, NORMAL), *m = numbers(nw, NORMAL), *dx0 = numbers(nx, NORMAL), *dw0 = numbers(nw, NORMAL);
    float *dx1 = tn_malloc(nx * 4), *dw1 = tn_malloc(nw * 4);
    memcpy(dx1, dx0, nx * 4);
    memcpy(dw1, dw0, nw * 4);
    int32_t *t = targets(s.R, s.V);
    double *dl = doubles(s.R), *de = doubles(s.R), *ds = doubles(s.R);
    tn_weight wr = weight(r, s.V, s.in, m), wc = weight(c, s.V, s.in, m);
    results *a = tn_calloc(1, sizeof *a);
    tn_head h = {.rows = s.R, .x = x, .w = &wr, .inv_temp = s.inv_temp, .target = t};
    ask(&h, a);
    r->op->head(r, &h);
    tn_head_bwd g = {.rows = s.R, .x = x, .w = &wr, .inv_temp = s.inv_temp, .target = t, .lse = a->lse,
                     .entropy = a->entropy, .d_logp = which & 1 ? dl : NULL, .d_entropy = which & 2 ? de : NULL,
                     .d_lse = which & 4 ? ds : NULL, .dx = which & 8 ? NULL : dx0, .dw = which & 16 ? NULL : dw0};
    r->op->head_bwd(r, &g);
    g.w = &wc;
    if (g.dx) g.dx = dx1;
    if (g.dw) g.dw = dw1;
    tn_cpu_head_bwd(c, &g);
    const char *f = "%s R=%d V=%d in=%d which=%d threads=%d: %s";
    int th = tn_pool_threads(c->pool);
    CHECK_MSG(same(dx0, dx1, nx), f, k.name, s.R, s.V, s.in, which, th, "dx");
    CHECK_MSG(same(dw0, dw1, nw), f, k.name, s.R, s.V, s.in, which, th, "dw");
    weight_free(&wr);
    weight_free(&wc);
    void *all[] = {x, m, dx0, dw0, dx1, dw1, t, dl, de, ds, a};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tn_free(all[i]);
}

static void forward_small(kernels k, tn_backend *c, tn_backend *r) {
    forward_case(k, c, r, (shape){1, 40, 7, 1, NORMAL});
    forward_case(k, c, r, (shape){3, 329, 33, 1 / 0.7, NORMAL});
    forward_case(k, c, r, (shape){130, 50, 16, 1, NORMAL});
    forward_case(k, c, r, (shape){5, 20, 9, 1, SPECIAL});
}
TEST(gemm_head_statistics_equal_the_reference) { every_kernel(forward_small, 1); }

static void forward_tiles(kernels k, tn_backend *c, tn_backend *r) {
    forward_case(k, c, r, (shape){17, 2 * TN_HEAD_TILE + 37, 5, 3, NORMAL});
    forward_case(k, c, r, (shape){2, TN_HEAD_TILE + 1, 12, 1, NORMAL});
}
TEST(gemm_head_statistics_over_tiles_and_threads) {
    every_kernel(forward_tiles, 1);
    every_kernel(forward_tiles, 3);
}

static void backward_small(kernels k, tn_backend *c, tn_backend *r) {
    for (int which = 0; which < 8; which++)
        backward_case(k, c, r, (shape){3 + 5 * which, 45 + which, 19, 1 / 0.9, NORMAL}, which);
    backward_case(k, c, r, (shape){9, 50, 10, 1, NORMAL}, 1 | 8);
    backward_case(k, c, r, (shape){9, 50, 10, 1, NORMAL}, 1 | 16);
}
TEST(gemm_head_gradient_equals_the_reference) { every_kernel(backward_small, 1); }

static void backward_blocks(kernels k, tn_backend *c, tn_backend *r) {
    backward_case(k, c, r, (shape){TN_HEAD_ROWS + 31, 60, 10, 1, NORMAL}, 7);
    backward_case(k, c, r, (shape){11, TN_HEAD_TILE + 70, 18, 1, NORMAL}, 3);
}
TEST(gemm_head_gradient_over_blocks_and_threads) {
    every_kernel(backward_blocks, 1);
    every_kernel(backward_blocks, 3);
}
