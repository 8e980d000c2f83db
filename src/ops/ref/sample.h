/* Probabilities of a sampling row, the definition: floats in both references (rows are f32). */
#ifndef TN_OPS_REF_SAMPLE_H
#define TN_OPS_REF_SAMPLE_H
#include "ops/expf.h"
#include "ops/ops.h"

static void tn_ref_exp_row(const tn_backend *b, float *p, double *sum, const float *z, double lse, int V) {
    for (int at = 0; at < V; at += TN_EXP_BLOCK) {
        double lane[16] = {0};
        for (int i = 0; i < TN_EXP_BLOCK && at + i < V; i++) {
            p[at + i] = tn_op_expf(z[at + i] - (float)lse);
            lane[i % 16] = lane[i % 16] + (double)p[at + i];
        }
        for (int w = 8; w > 0; w /= 2)
            for (int l = 0; l < w; l++) lane[l] = lane[l] + lane[l + w];
        *sum++ = lane[0];
    }
}
#endif
