/* Probabilities of sampling rows, the definition: floats in both references (rows are f32). */
#ifndef TN_OPS_REF_SAMPLE_H
#define TN_OPS_REF_SAMPLE_H
#include "ops/expf.h"
#include "ops/ops.h"

static void tn_ref_exp_rows(tn_backend *b, float *p, const float *z, const double *lse, int R, int V) {
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) {
            size_t i = (size_t)r * (size_t)V + (size_t)v;
            p[i] = tn_op_expf(z[i] - (float)lse[r]);
        }
}
#endif
