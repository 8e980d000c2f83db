/* Low-rank adapters: cpu equals ref to the bit, ref is near double, gradients are those of the forward,
 * and B = 0 leaves every bit alone. */
#include "ops_case.h"
#include <math.h>

#define OP c->be->op
static size_t zu(int a, int b) { return (size_t)a * (size_t)b; }

/* An adapter on columns of a matrix [sum of out, in]; the middle part of three is left out when parts = 2. */
static tn_lora oc_lora(oc *c, int in, int rank, int parts, int out, double scale) {
    tn_lora w = {.parts = parts, .rank = rank, .scale = scale, .a = oc_weight(c, parts * rank, in, 1 / sqrt(in))};
    for (int p = 0; p < parts; p++) {
        w.b[p] = oc_weight(c, out + p, rank, 0.5);
        w.col[p] = p * (parts == 2 ? 2 : 1) * (out + 3);
    }
    return w;
}
static int lora_width(const tn_lora *w) { return w->col[w->parts - 1] + w->b[w->parts - 1].out + 2; }

/* p: T in rank parts out extra columns, scale in quarters */
static void case_lora(oc *c, const int *p) {
    int T = p[0], in = p[1], r = p[2], n = p[3], ldx = in + p[5];
    tn_lora w = oc_lora(c, in, r, n, p[4], p[6] / 4.0);
    int ldy = lora_width(&w) + p[5];
    void *x = oc_operands(c, zu(T, ldx), 1);
    OP->lora(c->be, TN_ADD_ROUND, oc_out_operands(c, "y rounded", zu(T, ldy)), ldy, oc_out(c, "u", zu(T, n * r)), x, ldx, &w, T);
    OP->lora(c->be, TN_ADD_NONZERO, oc_out(c, "y", zu(T, ldy)), ldy, oc_out(c, "u", zu(T, n * r)), x, ldx, &w, T);
    OP->lora(c->be, TN_ADD_NONZERO, NULL, 0, oc_out(c, "u alone", zu(T, n * r)), x, ldx, &w, T);
}
static void case_lora_bwd(oc *c, const int *p) {
    int T = p[0], in = p[1], r = p[2], n = p[3], ldx = in + p[5];
    tn_lora w = oc_lora(c, in, r, n, p[4], p[6] / 4.0);
    int ldy = lora_width(&w) + p[5];
    void *x = oc_operands(c, zu(T, ldx), 1), *dy = oc_operands(c, zu(T, ldy), 1), *u = oc_zero(c, zu(T, n * r) * 8);
    OP->lora(c->be, TN_ADD_NONZERO, NULL, 0, u, x, ldx, &w, T);
    tn_lora_grad g = {.a = oc_out(c, "dA", zu(n * r, in))};
    static const char *const name[] = {"dB 0", "dB 1", "dB 2"};
    for (int k = 0; k < n; k++) g.b[k] = oc_out(c, name[k], zu(w.b[k].out, r));
    OP->lora_bwd(c->be, oc_out(c, "dx", zu(T, ldx)), ldx, &g, dy, ldy, u, oc_out(c, "v", zu(T, n * r)), x, ldx, &w, T);
    OP->lora_bwd(c->be, oc_out(c, "dx frozen", zu(T, ldx)), ldx, NULL, dy, ldy, u, oc_zero(c, zu(T, n * r) * 8), x, ldx,
                 &w, T);
    OP->lora_bwd(c->be, NULL, 0, &g, dy, ldy, u, oc_zero(c, zu(T, n * r) * 8), x, ldx, &w, T);
}
static const int shapes[][OC_PARAMS] = {
    {1, 5, 1, 1, 3, 0, 4},    {3, 17, 2, 3, 9, 3, 8},    {33, 64, 16, 3, 32, 0, 8}, {100, 100, 8, 2, 50, 1, 5},
    {40, 576, 16, 1, 70, 0, 8}, {13, 512, 33, 2, 31, 0, 3}, {65, 30, 64, 3, 33, 7, 1}};
TEST(ops_lora) { OC_ALL(case_lora, shapes, 2e-6); }
TEST(ops_lora_bwd) { OC_ALL(case_lora_bwd, shapes, 3e-6); }
TEST(ops_lora_bf16) { OC_ALL_BF16(case_lora, shapes); }
TEST(ops_lora_bwd_bf16) { OC_ALL_BF16(case_lora_bwd, shapes); }

/* A row's numbers do not depend on the others. */
static void case_lora_rows(oc *c, const int *p) {
    int T = 30, in = 40, r = 8;
    tn_lora w = oc_lora(c, in, r, 3, 21, 2);
    int ldy = lora_width(&w);
    void *x = oc_operands(c, zu(T, in), 1), *y = oc_in(c, zu(T, ldy), 1), *u = oc_zero(c, zu(T, 3 * r) * 8);
    void *all = oc_out_set(c, "all", zu(T, ldy), 0), *one = oc_out_set(c, "one", zu(T, ldy), 0);
    memcpy(all, y, zu(T, ldy) * c->be->elem);
    memcpy(one, y, zu(T, ldy) * c->be->elem);
    OP->lora(c->be, TN_ADD_NONZERO, all, ldy, u, x, in, &w, T);
    for (int t = 0; t < T; t++)
        OP->lora(c->be, TN_ADD_NONZERO, tn_at(c->be, one, zu(t, ldy)), ldy, u, tn_operand_at(c->be, x, zu(t, in)), in, &w, 1);
    CHECK_MSG(memcmp(all, one, zu(T, ldy) * c->be->elem) == 0, "%s %s: rows alone differ", c->be->name, c->be->kernels);
}
TEST(ops_lora_rows_are_independent) {
    static const int any[][OC_PARAMS] = {{0}};
    OC_ALL(case_lora_rows, any, 2e-6);
    OC_ALL_BF16(case_lora_rows, any);
}

/* B = 0: y keeps its bits, zeros of both signs, denormals and infinities among them. */
static void case_lora_zero(oc *c, const int *p) {
    static const float odd[] = {0.0f, -0.0f, 0x1p-149f, -0x1p-149f, INFINITY, -INFINITY, 1.5f, -3e38f};
    int T = 24, in = 35, r = 7;
    tn_lora w = oc_lora(c, in, r, 3, 33, p[0] ? -2 : 2);
    for (int k = 0; k < 3; k++) {
        for (size_t i = 0; i < zu(w.b[k].out, r); i++)
            oc_set(c->be, (void *)(uintptr_t)w.b[k].master, i, p[0] && i % 3 == 0 ? -0.0 : 0.0);
        OP->weight_pack(c->be, &w.b[k]);
    }
    int ldy = lora_width(&w);
    size_t n = zu(T, ldy);
    void *x = oc_operands(c, zu(T, in), 1e3), *y = oc_out_set(c, "y", n, 0), *was = oc_zero(c, n * c->be->elem);
    for (size_t i = 0; i < n; i++) oc_set(c->be, y, i, (double)odd[i % 8]);
    memcpy(was, y, n * c->be->elem);
    OP->lora(c->be, TN_ADD_NONZERO, y, ldy, oc_zero(c, zu(T, 3 * r) * 8), x, in, &w, T);
    CHECK_MSG(memcmp(y, was, n * c->be->elem) == 0, "%s %s: B = 0 changed bits", c->be->name, c->be->kernels);
    void *rows = oc_zero(c, n * c->be->operand); /* denormals are not in operand rows */
    for (size_t i = 0; i < n; i++) oc_set_operand(c->be, rows, i, (double)odd[i % 8]);
    memcpy(was, rows, n * c->be->operand);
    OP->lora(c->be, TN_ADD_ROUND, rows, ldy, oc_zero(c, zu(T, 3 * r) * 8), x, in, &w, T);
    CHECK_MSG(memcmp(rows, was, n * c->be->operand) == 0, "%s %s: B = 0 changed rows", c->be->name, c->be->kernels);
}
TEST(ops_lora_at_zero_changes_nothing) {
    static const int signs[][OC_PARAMS] = {{0}, {1}};
    OC_ALL(case_lora_zero, signs, 0);
    OC_ALL_BF16(case_lora_zero, signs);
    for (int k = 0; k < 2; k++) { /* in double */
        static oc x;
        oc_run(&x, OC_REF64, case_lora_zero, signs[k]);
        oc_done(&x);
    }
}

/* Against differences of the forward, in double. */
typedef struct job {
    oc c;
    tn_lora w;
    int T, in, ldy;
    double *x, *y, *u, *dy;
} job;

static double lora_loss(void *v) {
    job *j = v;
    tn_backend *be = j->c.be;
    be->op->weight_pack(be, &j->w.a);
    for (int p = 0; p < j->w.parts; p++) be->op->weight_pack(be, &j->w.b[p]);
    memset(j->y, 0, zu(j->T, j->ldy) * 8);
    be->op->lora(be, TN_ADD_NONZERO, j->y, j->ldy, j->u, j->x, j->in, &j->w, j->T);
    double s = 0;
    for (size_t i = 0; i < zu(j->T, j->ldy); i++) s += j->y[i] * j->dy[i];
    return s;
}

TEST(ops_grad_lora) {
    for (int parts = 1; parts <= 3; parts++) {
        static job j;
        memset(&j, 0, sizeof j);
        j.c.be = OC_REF64;
        j.T = 5, j.in = 7;
        j.w = oc_lora(&j.c, j.in, 3, parts, 4, 1.7);
        j.ldy = lora_width(&j.w);
        size_t nx = zu(j.T, j.in), ny = zu(j.T, j.ldy), nu = zu(j.T, 3 * parts);
        j.x = oc_in(&j.c, nx, 1), j.dy = oc_in(&j.c, ny, 1);
        j.y = oc_zero(&j.c, ny * 8), j.u = oc_zero(&j.c, nu * 8);
        double *dx = oc_zero(&j.c, nx * 8), *da = oc_zero(&j.c, zu(3 * parts, j.in) * 8);
        tn_lora_grad g = {.a = da};
        for (int p = 0; p < parts; p++) g.b[p] = oc_zero(&j.c, zu(j.w.b[p].out, 3) * 8);
        lora_loss(&j);
        OC_REF64->op->lora_bwd(OC_REF64, dx, j.in, &g, j.dy, j.ldy, j.u, oc_zero(&j.c, nu * 8), j.x, j.in, &j.w, j.T);
        oc_grad("lora dx", j.x, nx, dx, lora_loss, &j, 1e-7);
        oc_grad("lora dA", (double *)(uintptr_t)j.w.a.master, zu(3 * parts, j.in), da, lora_loss, &j, 1e-7);
        for (int p = 0; p < parts; p++)
            oc_grad("lora dB", (double *)(uintptr_t)j.w.b[p].master, zu(j.w.b[p].out, 3), g.b[p], lora_loss, &j, 1e-7);
        oc_done(&j.c);
    }
}
