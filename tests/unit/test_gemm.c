/* Matrix products of the cpu backend: every kernel this machine can run, and the software models,
 * equal the float reference to the bit, for every shape of edge, mode, stride and thread count. */
#include "unit/gemm_case.h"
#include "ops/bf16.h"

/* Numbers as operand rows, and operand rows as floats; the caller's to free. */
static void *operands(const tn_backend *b, const float *x, size_t n) {
    char *p = tn_malloc(n * b->operand + 4);
    for (size_t i = 0; i < n; i++) {
        uint16_t half = tn_bf16_bits(x[i]);
        memcpy(p + i * b->operand, b->operand == 2 ? (const void *)&half : (const void *)(x + i), b->operand);
    }
    return p;
}
static float *floats(const tn_backend *b, const void *rows, size_t n) {
    float *p = tn_malloc(n * 4 + 4);
    for (size_t i = 0; i < n; i++) p[i] = b->operand == 2 ? tn_bf16_float(((const uint16_t *)rows)[i]) : ((const float *)rows)[i];
    return p;
}

/* One shape: y = x W^T, dx = dy W, dw += dy^T x against the reference, with gaps in the strides; y also rounded. */
static void products(kernels k, tn_backend *c, tn_backend *r, int T, int out, int in, int kind, tn_mode mode, bool bias) {
    int ldx = in + (in % 2 ? 3 : 2), ldy = out + (out % 2 ? 5 : 4); /* odd ones and even ones */
    size_t nx = (size_t)T * ldx, ny = (size_t)T * ldy, nw = (size_t)out * in;
    float *fx = numbers(nx, kind), *fdy = numbers(ny, kind), *m = numbers(nw, kind), *bv = numbers((size_t)out, kind);
    float *y0 = numbers(ny, kind), *dx0 = numbers(nx, kind), *dw0 = numbers(nw, kind);
    float *y1 = tn_malloc(ny * 4), *dx1 = tn_malloc(nx * 4), *dw1 = tn_malloc(nw * 4);
    void *x = operands(r, fx, nx), *dy = operands(r, fdy, ny), *h0 = operands(r, y0, ny), *h1 = operands(r, y0, ny);
    tn_mode rounded = mode == TN_SET ? TN_ROUND : TN_ADD_ROUND;
    memcpy(y1, y0, ny * 4);
    memcpy(dx1, dx0, nx * 4);
    memcpy(dw1, dw0, nw * 4);
    tn_weight wr = weight(r, out, in, m), wc = weight(c, out, in, m);
    r->op->gemm(r, mode, y0, ldy, x, ldx, &wr, bias ? bv : NULL, T);
    tn_cpu_gemm(c, mode, y1, ldy, x, ldx, &wc, bias ? bv : NULL, T);
    r->op->gemm(r, rounded, h0, ldy, x, ldx, &wr, bias ? bv : NULL, T);
    tn_cpu_gemm(c, rounded, h1, ldy, x, ldx, &wc, bias ? bv : NULL, T);
    r->op->gemm_dx(r, mode, dx0, ldx, dy, ldy, &wr, T);
    tn_cpu_gemm_dx(c, mode, dx1, ldx, dy, ldy, &wc, T);
    r->op->gemm_dw(r, dw0, dy, ldy, x, ldx, T, out, in);
    tn_cpu_gemm_dw(c, dw1, dy, ldy, x, ldx, T, out, in);
    float *f0 = floats(r, h0, ny), *f1 = floats(c, h1, ny);
    const char *f = "%s: %s, T=%d out=%d in=%d kind=%d mode=%d bias=%d threads=%d";
    int th = tn_pool_threads(c->pool);
    CHECK_MSG(same(y0, y1, ny), f, "gemm", k.name, T, out, in, kind, mode, bias, th);
    CHECK_MSG(same(f0, f1, ny), f, "gemm, rounded", k.name, T, out, in, kind, mode, bias, th);
    CHECK_MSG(same(dx0, dx1, nx), f, "gemm_dx", k.name, T, out, in, kind, mode, bias, th);
    CHECK_MSG(same(dw0, dw1, nw), f, "gemm_dw", k.name, T, out, in, kind, mode, bias, th);
    weight_free(&wr);
    weight_free(&wc);
    void *all[] = {fx, fdy, m, bv, y0, dx0, dw0, y1, dx1, dw1, x, dy, h0, h1, f0, f1};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tn_free(all[i]);
}

static void edges(kernels k, tn_backend *c, tn_backend *r) {
    static const int rows[] = {1, 2, 5, 13, 14, 15, 17, 33}, widths[] = {1, 2, 15, 31, 32, 33, 64, 67};
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            products(k, c, r, rows[i], widths[j], widths[(i * 3 + j * 5) % 8], NORMAL, (tn_mode)((i + j) % 3), i % 4 == 0);
}
TEST(gemm_edges_equal_the_reference) { every_kernel(edges, 1); }

static void threads3(kernels k, tn_backend *c, tn_backend *r) {
    products(k, c, r, 61, 97, 130, NORMAL, TN_SET, false);
    products(k, c, r, 3, 300, 40, NORMAL, TN_ADD, true);
    products(k, c, r, 128, 33, 48, NORMAL, TN_SET, true);
}
TEST(gemm_threads_do_not_change_the_bits) {
    every_kernel(threads3, 2);
    every_kernel(threads3, 3);
}

/* K of dW in pieces: 3 for float operands, 2 for bf16. */
static void long_sums(kernels k, tn_backend *c, tn_backend *r) {
    products(k, c, r, 2085, 19, 35, NORMAL, TN_SET, false);
}
TEST(gemm_dw_over_many_tokens) { every_kernel(long_sums, 2); }

/* K of y and dx in pieces, which few rows are not: through y, and through scratch with modes, bias and edges. */
static void wide(kernels k, tn_backend *c, tn_backend *r) {
    products(k, c, r, 17, 64, 2150, NORMAL, TN_SET, false);
    products(k, c, r, 15, 33, 2150, NORMAL, TN_ADD, true);
    products(k, c, r, 9, 4200, 5, NORMAL, TN_ADD_NONZERO, false);
    products(k, c, r, 3, 32, 2150, NORMAL, TN_SET, false);
}
TEST(gemm_wide_layers) { every_kernel(wide, 2); }

/* Panels of W for dx that do not fit into the scratch of one turn, the last turn narrower; K in pieces, too. */
static void turned_twice(kernels k, tn_backend *c, tn_backend *r) {
    if (strstr(k.name, "scalar") || strstr(k.name, "model")) return;
    products(k, c, r, 9, 2200, 3010, NORMAL, TN_SET, false);
    products(k, c, r, 2, 2200, 3010, NORMAL, TN_ADD, false);
}
TEST(gemm_dx_in_several_turns) { every_kernel(turned_twice, 2); }

/* More unfinished rows than are kept at once: equal to the same rows four by four, which need no pieces. */
static void wide_alone(kernels k, tn_backend *c, tn_backend *r) {
    enum { T = 90, OUT = 13000, IN = 2200 };
    if (strstr(k.name, "scalar") || strstr(k.name, "model")) return;
    float *fx = numbers((size_t)T * IN, NORMAL), *m = numbers((size_t)OUT * IN, NORMAL);
    char *x = operands(c, fx, (size_t)T * IN);
    float *y = numbers((size_t)T * OUT, NORMAL), *one = tn_malloc((size_t)T * OUT * 4);
    memcpy(one, y, (size_t)T * OUT * 4);
    tn_weight w = weight(c, OUT, IN, m);
    tn_cpu_gemm(c, TN_ADD, y, OUT, x, IN, &w, NULL, T);
    for (int t = 0; t < T; t += 4)
        tn_cpu_gemm(c, TN_ADD, one + (size_t)t * OUT, OUT, x + (size_t)t * IN * c->operand, IN, &w, NULL, T - t < 4 ? T - t : 4);
    CHECK_MSG(same(one, y, (size_t)T * OUT), "%s", k.name);
    weight_free(&w);
    void *all[] = {fx, x, m, y, one};
    for (int i = 0; i < 5; i++) tn_free(all[i]);
}
TEST(gemm_wide_layers_of_many_rows) { every_kernel(wide_alone, 2); }

static void denormals(kernels k, tn_backend *c, tn_backend *r) {
    for (int in = 1; in < 80; in += 26) products(k, c, r, 16, 40, in, TINY, TN_SET, false);
}
TEST(gemm_denormals) { every_kernel(denormals, 1); }

static void specials(kernels k, tn_backend *c, tn_backend *r) {
    for (int in = 1; in < 80; in += 26) products(k, c, r, 16, 40, in, SPECIAL, TN_ADD, true);
}
TEST(gemm_infinities_and_nans) { every_kernel(specials, 1); }

/* Directed: a result one rounding below, at and above the smallest normal number. */
TEST(gemm_tiny_after_rounding) {
    for (int i = 0; i < N_ALL; i++) {
        tn_backend *c = open_cpu(ALL[i], 1);
        if (!c) continue;
        /* 2^-126 - 2^-(126+s): below 2^-126 for s <= 24, rounds up to it for s >= 25 */
        for (int s = 20; s < 30; s++) {
            const float x[4] = {0x1p-60f, 0, -0x1p-100f, 0}, m[4] = {0x1p-66f, 0, ldexpf(1, -26 - s), 0};
            float y, exact = fmaf(x[2], m[2], x[0] * m[0]);
            tn_weight w = weight(c, 1, 4, m);
            void *rows = operands(c, x, 4);
            tn_cpu_gemm(c, TN_SET, &y, 1, rows, 4, &w, NULL, 1);
            tn_free(rows);
            float want = ALL[i].dtype == TN_BF16 && s <= 24 ? 0 : exact;
            CHECK_MSG(memcmp(&y, &want, 4) == 0, "%s s=%d: %a, expected %a", ALL[i].name, s, (double)y, (double)want);
            weight_free(&w);
        }
        tn_backend_free(c);
    }
}

/* A row's bits do not depend on how many rows there are. */
static void rows_alone(kernels k, tn_backend *c, tn_backend *r) {
    enum { T = 40, OUT = 70, IN = 50 };
    float *fx = numbers(T * IN, NORMAL), *m = numbers(OUT * IN, NORMAL), y[T * OUT], one[OUT];
    char *x = operands(c, fx, T * IN);
    tn_weight w = weight(c, OUT, IN, m);
    tn_cpu_gemm(c, TN_SET, y, OUT, x, IN, &w, NULL, T);
    for (int t = 0; t < T; t++) {
        tn_cpu_gemm(c, TN_SET, one, OUT, x + (size_t)t * IN * c->operand, IN, &w, NULL, 1);
        CHECK_MSG(memcmp(one, y + t * OUT, sizeof one) == 0, "%s: row %d of %d", k.name, t, T);
    }
    weight_free(&w);
    tn_free(fx);
    tn_free(x);
    tn_free(m);
}
TEST(gemm_rows_are_independent) { every_kernel(rows_alone, 1); }
