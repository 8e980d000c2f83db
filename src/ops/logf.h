/* log of positive normal floats (N10): one polynomial in FMA form, the same bits in every variant.
 *
 *   x = 2^e m, sqrt(1/2) <= m < sqrt(2)       from the bits
 *   f = m - 1                                 exact
 *   log m = f - f^2/2 + f^3 P(f)              P of degree 8 (Cephes' logf, Moshier)
 *   log x = e ln2_hi + (f + (-f^2/2 + (f^3 P(f) + e ln2_lo)))      ln2_hi has 9 bits: its product is exact
 *
 * Error <= 1 ulp (tests/unit/test_ops_exp.c scans it); log 1 = 0. Other arguments give some float, the same everywhere. */
#ifndef TN_OPS_LOGF_H
#define TN_OPS_LOGF_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#define TN_LOGF_ROOT 0x3f3504f3 /* bits of sqrt(1/2) */
#define TN_LOGF_LN2_HI 0x1.63p-1f
#define TN_LOGF_LN2_LO -2.12194440e-4f
/* P, from the highest power on */
#define TN_LOGF_POLY(first, next)                                                                                     \
    first(7.0376836292e-2f) next(-1.1514610310e-1f) next(1.1676998740e-1f) next(-1.2420140846e-1f)                    \
    next(1.4249322787e-1f) next(-1.6668057665e-1f) next(2.0000714765e-1f) next(-2.4999993993e-1f) next(3.3333331174e-1f)

static inline float tn_op_logf(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    int32_t e = (int32_t)(bits - TN_LOGF_ROOT) >> 23;
    bits -= (uint32_t)e << 23;
    float m, n = (float)e;
    memcpy(&m, &bits, 4);
    float f = m - 1.0f, f2 = f * f;
#define FIRST_(c) float p = c;
#define NEXT_(c) p = fmaf(p, f, c);
    TN_LOGF_POLY(FIRST_, NEXT_)
#undef FIRST_
#undef NEXT_
    float y = fmaf(p * f, f2, n * TN_LOGF_LN2_LO);
    y = f + fmaf(-0.5f, f2, y);
    return fmaf(n, TN_LOGF_LN2_HI, y);
}

#ifdef __AVX2__
#include <immintrin.h>
static inline __m256 tn_op_logf_avx2(__m256 x) {
    __m256i bits = _mm256_castps_si256(x);
    __m256i e = _mm256_srai_epi32(_mm256_sub_epi32(bits, _mm256_set1_epi32(TN_LOGF_ROOT)), 23);
    __m256 m = _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(e, 23))), n = _mm256_cvtepi32_ps(e);
    __m256 f = _mm256_sub_ps(m, _mm256_set1_ps(1.0f)), f2 = _mm256_mul_ps(f, f);
#define FIRST_(c) __m256 p = _mm256_set1_ps(c);
#define NEXT_(c) p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(c));
    TN_LOGF_POLY(FIRST_, NEXT_)
#undef FIRST_
#undef NEXT_
    __m256 y = _mm256_fmadd_ps(_mm256_mul_ps(p, f), f2, _mm256_mul_ps(n, _mm256_set1_ps(TN_LOGF_LN2_LO)));
    y = _mm256_add_ps(f, _mm256_fmadd_ps(_mm256_set1_ps(-0.5f), f2, y));
    return _mm256_fmadd_ps(n, _mm256_set1_ps(TN_LOGF_LN2_HI), y);
}
#endif

#ifdef __AVX512F__
static inline __m512 tn_op_logf_avx512(__m512 x) {
    __m512i bits = _mm512_castps_si512(x);
    __m512i e = _mm512_srai_epi32(_mm512_sub_epi32(bits, _mm512_set1_epi32(TN_LOGF_ROOT)), 23);
    __m512 m = _mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(e, 23))), n = _mm512_cvtepi32_ps(e);
    __m512 f = _mm512_sub_ps(m, _mm512_set1_ps(1.0f)), f2 = _mm512_mul_ps(f, f);
#define FIRST_(c) __m512 p = _mm512_set1_ps(c);
#define NEXT_(c) p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(c));
    TN_LOGF_POLY(FIRST_, NEXT_)
#undef FIRST_
#undef NEXT_
    __m512 y = _mm512_fmadd_ps(_mm512_mul_ps(p, f), f2, _mm512_mul_ps(n, _mm512_set1_ps(TN_LOGF_LN2_LO)));
    y = _mm512_add_ps(f, _mm512_fmadd_ps(_mm512_set1_ps(-0.5f), f2, y));
    return _mm512_fmadd_ps(n, _mm512_set1_ps(TN_LOGF_LN2_HI), y);
}
#endif
#endif
