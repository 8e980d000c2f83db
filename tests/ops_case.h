/* One line a case for the operations' tests.
 *
 * A case is a function that makes its inputs, calls operations and names its outputs; it is run on
 * several backends with the same numbers, and the outputs are compared:
 *
 *   static void case_add(oc *c, const int *p) {
 *       void *y = oc_out(c, "y", p[0]);            // prefilled, the same everywhere
 *       c->be->op->add(c->be, y, oc_in(c, p[0], 1), p[0]);
 *   }
 *   static const int sizes[][8] = {{1}, {33}, {1000}};
 *   TEST(ops_add) { OC_ALL(case_add, sizes, 1e-6); }
 *
 * Outputs are compared whole, gaps of strided rows included, so stray writes are found.        */
#ifndef TN_OPS_CASE_H
#define TN_OPS_CASE_H
#include "ops/ops.h"
#include "test.h"

#define OC_PARAMS 8
#define OC_MAX 96
typedef struct oc {
    tn_backend *be;
    uint64_t seed, draws;  /* inputs are a function of the seed and of the order of the calls */
    struct { void *p; size_t n, elem; const char *name; } out[OC_MAX];
    int n_out, n_mem;
    void *mem[OC_MAX];
} oc;
typedef void oc_fn(oc *c, const int *p);

/* Elements of the backend's type, mean 0, deviation `scale`, exact floats. */
void *oc_in(oc *c, size_t n, double scale);
void *oc_operands(oc *c, size_t n, double scale);      /* the same numbers as operand rows */
double *oc_in_double(oc *c, size_t n, double scale);
int32_t *oc_ids(oc *c, size_t n, int below);
void *oc_zero(oc *c, size_t bytes);                    /* zeroed memory that lives as long as the case */
void *oc_out(oc *c, const char *name, size_t n);       /* elements, prefilled at random */
void *oc_out_operands(oc *c, const char *name, size_t n);
void *oc_out_set(oc *c, const char *name, size_t n, double value);
double *oc_out_double(oc *c, const char *name, size_t n);
float *oc_out_float(oc *c, const char *name, size_t n);
tn_weight oc_weight(oc *c, int out, int in, double scale); /* random, packed */
double oc_get(const tn_backend *b, const void *p, size_t i);
void oc_set(const tn_backend *b, void *p, size_t i, double v);
void oc_set_operand(const tn_backend *b, void *p, size_t i, double v);

void oc_run(oc *c, tn_backend *be, oc_fn *fn, const int *p); /* then look at c->out; oc_done frees */
void oc_done(oc *c);
/* Same bits on both backends / relative error of the norm of each output <= tol. */
void oc_equal(const char *what, oc_fn *fn, const int *p, tn_backend *a, tn_backend *b);
void oc_near(const char *what, oc_fn *fn, const int *p, tn_backend *f32, tn_backend *f64, double tol);
/* ref32 near ref64 (tol > 0) and every cpu kernel, 1 and 3 (or 2) threads, equal to ref32; for bf16, each
 * profile's kernels equal to the reference with that profile. */
void oc_all(const char *what, oc_fn *fn, const int (*shapes)[OC_PARAMS], int n, double tol, tn_dtype dtype);
#define OC_ALL(fn, shapes, tol) oc_all(#fn, fn, shapes, (int)(sizeof(shapes) / sizeof *(shapes)), tol, TN_F32)
#define OC_ALL_BF16(fn, shapes) oc_all(#fn, fn, shapes, (int)(sizeof(shapes) / sizeof *(shapes)), 0, TN_BF16)

/* Backends by name, opened once and kept; NULL when this machine cannot run the kernels. */
tn_backend *oc_backend(const char *name, tn_dtype dtype, const char *kernels, int threads);
#define OC_REF32 oc_backend("ref", TN_F32, NULL, 1)
#define OC_REF64 oc_backend("ref64", TN_F64, NULL, 1)

/* Gradient of loss(ctx) with respect to x[n] against 4-point differences, per coordinate:
 * |d - g| <= rel * max(|g|, the largest |g|). */
void oc_grad(const char *what, double *x, size_t n, const double *grad, double (*loss)(void *), void *ctx,
             double rel);

/* A forest of segments for attention: parent[i] < i or -1; blocks are numbered out of order. */
typedef struct oc_forest {
    tn_attn a;
    int n_block;
    int32_t *pos;  /* [n_tok] */
} oc_forest;
oc_forest oc_forest_new(oc *c, const int *parent, const int *len, int n_seg, int heads, int kv_heads,
                        int head_dim, int window);
#endif
