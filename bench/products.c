/* Part gemm: matrix products at the shapes of layers and heads.
 *
 * Bound: the measured peak, or for few rows the packed weight's bytes at the measured read bandwidth of
 * a buffer of that size. torch: `linear` and the two products of its backward, operands of the type. */
#include "bench.h"
#include "base/rng.h"
#include <string.h>

typedef enum kind { FORWARD, DX, DW, KINDS } kind;
static const char *const kind_name[] = {"forward", "dX", "dW"};

typedef struct product {
    bench *b;
    tn_backend *be;
    kind kind;
    int m, in, out;
    tn_weight w;
    float *x, *y, *dw;     /* [m, in], [m, out], [out, in] */
    void *x_rows, *y_rows; /* x and y as operand rows */
    size_t bytes;
} product;

static float *filled(size_t n) {
    float *p = tn_big_alloc(n * sizeof *p);
    for (size_t i = 0; p && i < n; i++) p[i] = (float)(tn_unit_of(tn_mix(i)) - 0.5);
    return p;
}

static void call(void *ctx) {
    product *p = ctx;
    const tn_ops *op = p->be->op;
    if (p->kind == FORWARD) op->gemm(p->be, TN_SET, p->y, p->out, p->x_rows, p->in, &p->w, NULL, p->m);
    else if (p->kind == DX) op->gemm_dx(p->be, TN_SET, p->x, p->in, p->y_rows, p->out, &p->w, p->m);
    else op->gemm_dw(p->be, p->dw, p->y_rows, p->out, p->x_rows, p->in, p->m, p->out, p->in);
}

static double flop(const product *p) { return 2.0 * p->m * p->in * p->out; }
static double gflops(const product *p, double seconds) { return flop(p) / seconds * 1e-9; }

static double own(void *ctx) { return gflops(ctx, bench_seconds(call, ctx)); }

static double bound(void *ctx) {
    const product *p = ctx;
    double peak = bench_peak(p->be) * 1e-9;
    if (p->kind == DW || p->m >= 256) return peak;
    double read = bench_read(p->be, p->bytes), fed = gflops(p, (double)p->bytes / read);
    return fed < peak ? fed : peak;
}

static double torch(void *ctx) {
    const product *p = ctx;
    double s = bench_ask_number(
        p->b, json_pack("{s:s,s:s,s:s,s:i,s:i,s:i}", "do", "gemm", "kind", kind_name[p->kind], "dtype",
                        p->be->dtype == TN_BF16 ? "bfloat16" : "float32", "m", p->m, "in", p->in, "out", p->out));
    return gflops(p, s);
}

static bool product_new(product *p) {
    size_t in = (size_t)p->in, out = (size_t)p->out, m = (size_t)p->m;
    p->bytes = p->be->op->weight_bytes(p->be, p->out, p->in);
    p->w = (tn_weight){.out = p->out, .in = p->in, .master = filled(out * in), .packed = tn_big_alloc(p->bytes)};
    p->x = filled(m * in), p->y = filled(m * out), p->dw = p->kind == DW ? filled(out * in) : NULL;
    p->x_rows = tn_big_alloc(m * in * p->be->operand), p->y_rows = tn_big_alloc(m * out * p->be->operand);
    if (!p->w.master || !p->w.packed || !p->x || !p->y || !p->x_rows || !p->y_rows) return false;
    p->be->op->round(p->be, p->x_rows, p->x, m * in);
    p->be->op->round(p->be, p->y_rows, p->y, m * out);
    p->be->op->weight_pack(p->be, &p->w);
    return true;
}

static void product_free(product *p) {
    size_t in = (size_t)p->in, out = (size_t)p->out, m = (size_t)p->m;
    tn_big_free((void *)(uintptr_t)p->w.master, out * in * 4);
    tn_big_free(p->w.packed, p->bytes);
    tn_big_free(p->x, m * in * 4);
    tn_big_free(p->y, m * out * 4);
    tn_big_free(p->x_rows, m * in * p->be->operand);
    tn_big_free(p->y_rows, m * out * p->be->operand);
    if (p->dw) tn_big_free(p->dw, out * in * 4);
}

static tn_status one(bench *b, tn_dtype dtype, kind k, int m, int in, int out, tn_err *e) {
    product p = {.b = b, .be = dtype == TN_BF16 ? b->bf16 : b->f32, .kind = k, .m = m, .in = in, .out = out};
    bench_case c = bench_begin("GFLOP/s", "%s %s %dx%d M=%d", dtype == TN_BF16 ? "bf16" : "f32", kind_name[k], in, out, m);
    if (!bench_wanted(b, &c)) return TN_OK;
    c.plot = dtype == TN_BF16 && m == 1024 && (k == FORWARD || out < 16384);
    if (!product_new(&p)) return tn_fail(e, TN_NOMEM, "no memory for a product of %d x %d", in, out);
    bench_add(&c, "tenet", own, &p);
    bench_add(&c, "bound", bound, &p);
    if (b->worker) bench_add(&c, "torch", torch, &p);
    /* a call of a second gives a fair sample by itself */
    bench_measure(b, &c, flop(&p) > 5e10 && b->o.repeats > 3 ? 3 : b->o.repeats, true);
    bench_end(b, &c);
    product_free(&p);
    return TN_OK;
}

tn_status bench_products(bench *b, tn_err *e) {
    static const int shape[][2] = {{288, 768},   {768, 288},   {576, 1536},   {1536, 576},   {2048, 8192},
                                   {8192, 2048}, {288, 32000}, {576, 49152}, {576, 131072}};
    static const int rows[] = {1, 16, 64, 1024};
    for (int d = 0; d < 2; d++)
        for (size_t s = 0; s < sizeof shape / sizeof *shape; s++)
            for (kind k = FORWARD; k < KINDS; k++)
                for (int r = 0; r < 4; r++) {
                    int m = rows[r];
                    bool training = m >= 64, bf16 = d == 0, head = shape[s][1] > 16384;
                    /* backward has many rows; float32 is for checks: its full batches are enough */
                    if ((k != FORWARD && !training) || (!bf16 && (m < 1024 || (head && k != FORWARD)))) continue;
                    if (b->o.quick && (s % 2 || s > 6 || (m != 1 && m != 1024))) continue;
                    TN_TRY(one(b, bf16 ? TN_BF16 : TN_F32, k, m, shape[s][0], shape[s][1], e));
                }
    return TN_OK;
}
