/* Rows of the head with AVX2: 16 lanes in two registers. */
#include "ops/expf.h"
#include "ops/logf.h"
#define HEAD(name) name##_avx2

typedef struct { __m256 lo, hi; } v16;
static inline v16 LOAD(const float *p) { return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline v16 SET(float x) { return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline void STORE(float *p, v16 v) {
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}
static inline v16 ADD(v16 a, v16 b) { return (v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
static inline v16 SUB(v16 a, v16 b) { return (v16){_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
static inline v16 MUL(v16 a, v16 b) { return (v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
static inline v16 MAX(v16 a, v16 b) { return (v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
static inline v16 FMA(v16 a, v16 b, v16 c) {
    return (v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
static inline v16 EXP(v16 a) { return (v16){tn_op_expf_avx2(a.lo), tn_op_expf_avx2(a.hi)}; }
static inline v16 LOG(v16 a) { return (v16){tn_op_logf_avx2(a.lo), tn_op_logf_avx2(a.hi)}; }
static inline __m256 below(int n, int from) {
    const __m256 lane = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmp_ps(lane, _mm256_set1_ps((float)(n - from)), _CMP_LT_OQ);
}
static inline v16 FIRST(int n, v16 a, v16 b) {
    return (v16){_mm256_blendv_ps(b.lo, a.lo, below(n, 0)), _mm256_blendv_ps(b.hi, a.hi, below(n, 8))};
}
#include "ops/cpu/head_body.h"
