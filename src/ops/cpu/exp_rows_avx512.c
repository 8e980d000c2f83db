#include "ops/cpu/exp_rows.h"
#include "ops/expf.h"

void tn_exp_span_avx512(float *x, float c, size_t n) {
    __m512 vc = _mm512_set1_ps(c);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) _mm512_storeu_ps(x + i, tn_op_expf_avx512(_mm512_sub_ps(_mm512_loadu_ps(x + i), vc)));
    for (; i < n; i++) x[i] = tn_op_expf(x[i] - c);
}
