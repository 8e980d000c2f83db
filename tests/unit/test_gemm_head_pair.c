/* Divergences of the cpu backend, forward and backward, against the float reference: equal bits for every kernel,
 * thread count and number of rows. */
#include "unit/gemm_case.h"

#define ROWS 320
typedef struct shape { int R, V, in, in2; double inv_temp, beta; int kind; } shape;
typedef struct sums { double kl[ROWS], rkl[ROWS], jsd[ROWS], kl_mix[ROWS]; } sums;

static bool same_doubles(const double *a, const double *b, int n) {
    for (int i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return false;
    return true;
}

/* Two models over one vocabulary, and what both heads gave. */
typedef struct two {
    shape s;
    float *x, *x2, *m, *m2;
    tn_weight r, r2, c, c2; /* of the reference and of the cpu */
    double lse[ROWS], lse2[ROWS], entropy[ROWS];
    int32_t target[ROWS];
    tn_head_pair pair;      /* with the reference's weights */
} two;

static two *two_new(tn_backend *c, tn_backend *r, shape s) {
    two *t = tn_calloc(1, sizeof *t);
    t->s = s;
    t->x = numbers((size_t)s.R * s.in, s.kind), t->m = numbers((size_t)s.V * s.in, s.kind);
    t->x2 = numbers((size_t)s.R * s.in2, s.kind), t->m2 = numbers((size_t)s.V * s.in2, s.kind);
    t->r = weight(r, s.V, s.in, t->m), t->r2 = weight(r, s.V, s.in2, t->m2);
    t->c = weight(c, s.V, s.in, t->m), t->c2 = weight(c, s.V, s.in2, t->m2);
    for (int i = 0; i < s.R; i++) t->target[i] = i % 5 == 4 ? -1 : (int)((i * 7919u + 3) % (unsigned)s.V);
    tn_head h = {.rows = s.R, .x = t->x, .w = &t->r, .inv_temp = s.inv_temp, .lse = t->lse, .entropy = t->entropy};
    tn_head h2 = {.rows = s.R, .x = t->x2, .w = &t->r2, .inv_temp = s.inv_temp, .lse = t->lse2};
    r->op->head(r, &h);
    r->op->head(r, &h2);
    t->pair = (tn_head_pair){.rows = s.R, .x = t->x, .x2 = t->x2, .w = &t->r, .w2 = &t->r2, .inv_temp = s.inv_temp,
                             .beta = s.beta, .lse = t->lse, .lse2 = t->lse2};
    return t;
}

static void two_free(two *t) {
    tn_weight *w[] = {&t->r, &t->r2, &t->c, &t->c2};
    for (int i = 0; i < 4; i++) weight_free(w[i]);
    void *all[] = {t->x, t->x2, t->m, t->m2, t};
    for (int i = 0; i < 5; i++) tn_free(all[i]);
}

static tn_head_pair of_cpu(const two *t) {
    tn_head_pair p = t->pair;
    p.w = &t->c, p.w2 = &t->c2;
    return p;
}

static void ask(tn_head_pair *p, sums *s, bool mixture) {
    p->kl = s->kl, p->rkl = s->rkl;
    if (mixture) p->jsd = s->jsd, p->kl_mix = s->kl_mix;
}

static void forward_case(kernels k, tn_backend *c, tn_backend *r, shape s) {
    two *t = two_new(c, r, s);
    sums *a = tn_calloc(2, sizeof *a), *b = a + 1;
    int th = tn_pool_threads(c->pool);
    for (int mixture = 0; mixture < 2; mixture++) {
        tn_head_pair cpu = of_cpu(t);
        ask(&t->pair, a, mixture);
        ask(&cpu, b, mixture);
        r->op->head_pair(r, &t->pair);
        tn_cpu_head_pair(c, &cpu);
        const char *f = "%s R=%d V=%d in=%d in2=%d kind=%d threads=%d: %s";
#define SAME(field) CHECK_MSG(same_doubles(a->field, b->field, s.R), f, k.name, s.R, s.V, s.in, s.in2, s.kind, th, #field)
        SAME(kl);
        SAME(rkl);
        SAME(jsd);
        SAME(kl_mix);
    }
    /* the last row alone */
    double kl;
    tn_head_pair one = of_cpu(t);
    size_t last = (size_t)s.R - 1;
    one.rows = 1, one.kl = &kl, one.lse += last, one.lse2 += last;
    one.x = t->x + last * s.in, one.x2 = t->x2 + last * s.in2;
    tn_cpu_head_pair(c, &one);
    CHECK_MSG(same_doubles(&kl, b->kl + last, 1), "%s R=%d V=%d: the last row alone", k.name, s.R, s.V);
    tn_free(a);
    two_free(t);
}

static double *doubles(int n) {
    double *d = tn_malloc((size_t)n * sizeof *d);
    for (int i = 0; i < n; i++) d[i] = number(NORMAL);
    return d;
}

/* which: bits of d_kl, d_rkl, d_jsd, d_logp, d_entropy and d_lse. */
static void backward_case(kernels k, tn_backend *c, tn_backend *r, shape s, int which) {
    two *t = two_new(c, r, s);
    size_t nx = (size_t)s.R * s.in, nw = (size_t)s.V * s.in;
    float *dx0 = numbers(nx, NORMAL), *dw0 = numbers(nw, NORMAL), *dx1 = tn_malloc(nx * 4), *dw1 = tn_malloc(nw * 4);
    memcpy(dx1, dx0, nx * 4);
    memcpy(dw1, dw0, nw * 4);
    double *d[6];
    for (int i = 0; i < 6; i++) d[i] = doubles(s.R);
    sums *a = tn_calloc(1, sizeof *a);
    ask(&t->pair, a, true);
    r->op->head_pair(r, &t->pair);
    tn_head_bwd g = {.rows = s.R, .x = t->x, .w = &t->r, .inv_temp = s.inv_temp, .target = t->target, .lse = t->lse,
                     .entropy = t->entropy, .dx = dx0, .dw = dw0, .pair = &t->pair, .d_kl = which & 1 ? d[0] : NULL,
                     .d_rkl = which & 2 ? d[1] : NULL, .d_jsd = which & 4 ? d[2] : NULL, .d_logp = which & 8 ? d[3] : NULL,
                     .d_entropy = which & 16 ? d[4] : NULL, .d_lse = which & 32 ? d[5] : NULL};
    r->op->head_bwd(r, &g);
    tn_head_pair cpu = of_cpu(t);
    g.w = &t->c, g.pair = &cpu, g.dx = dx1, g.dw = dw1;
    tn_cpu_head_bwd(c, &g);
    const char *f = "%s R=%d V=%d in=%d which=%d threads=%d: %s";
    int th = tn_pool_threads(c->pool);
    CHECK_MSG(same(dx0, dx1, nx), f, k.name, s.R, s.V, s.in, which, th, "dx");
    CHECK_MSG(same(dw0, dw1, nw), f, k.name, s.R, s.V, s.in, which, th, "dw");
    void *all[] = {dx0, dw0, dx1, dw1, d[0], d[1], d[2], d[3], d[4], d[5], a};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tn_free(all[i]);
    two_free(t);
}

static void forward_small(kernels k, tn_backend *c, tn_backend *r) {
    forward_case(k, c, r, (shape){1, 40, 7, 9, 1, 0.5, NORMAL});
    forward_case(k, c, r, (shape){3, 329, 33, 12, 1 / 0.7, 0.1, NORMAL});
    forward_case(k, c, r, (shape){130, 50, 16, 40, 1, 0.9, NORMAL});
    forward_case(k, c, r, (shape){5, 20, 9, 3, 1, 0.3, SPECIAL});
    forward_case(k, c, r, (shape){6, 64, 30, 30, 40, 0.5, NORMAL}); /* peaked: most probabilities are 0 */
}
TEST(gemm_pair_equals_the_reference) { every_kernel(forward_small, 1); }

static void forward_tiles(kernels k, tn_backend *c, tn_backend *r) {
    forward_case(k, c, r, (shape){17, 2 * TN_HEAD_TILE + 37, 5, 8, 3, 0.5, NORMAL});
    forward_case(k, c, r, (shape){TN_HEAD_ROWS + 3, 33, 12, 6, 1, 0.25, NORMAL});
}
TEST(gemm_pair_over_tiles_blocks_and_threads) {
    every_kernel(forward_tiles, 1);
    every_kernel(forward_tiles, 3);
}

static void backward_small(kernels k, tn_backend *c, tn_backend *r) {
    for (int which = 0; which < 8; which++)
        backward_case(k, c, r, (shape){3 + 5 * which, 45 + which, 19, 11, 1 / 0.9, 0.4, NORMAL}, which | (which & 3) << 3);
    backward_case(k, c, r, (shape){9, 50, 10, 20, 1, 0.7, NORMAL}, 63);
}
TEST(gemm_pair_gradient_equals_the_reference) { every_kernel(backward_small, 1); }

static void backward_blocks(kernels k, tn_backend *c, tn_backend *r) {
    backward_case(k, c, r, (shape){TN_HEAD_ROWS + 31, 60, 10, 5, 1, 0.5, NORMAL}, 15);
    backward_case(k, c, r, (shape){11, TN_HEAD_TILE + 70, 18, 7, 1, 0.5, NORMAL}, 12);
}
TEST(gemm_pair_gradient_over_blocks_and_threads) {
    every_kernel(backward_blocks, 1);
    every_kernel(backward_blocks, 3);
}
