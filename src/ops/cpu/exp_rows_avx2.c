#include "ops/cpu/exp_rows.h"
#include "ops/expf.h"

void tn_exp_span_avx2(float *x, float c, size_t n) {
    __m256 vc = _mm256_set1_ps(c);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, tn_op_expf_avx2(_mm256_sub_ps(_mm256_loadu_ps(x + i), vc)));
    for (; i < n; i++) x[i] = tn_op_expf(x[i] - c);
}
