/* exp of the numeric contract (N5): one polynomial in FMA form, the same bits in every variant.
 *
 *   x clamped to [-104, 89]           below: 0 to the last bit, above: infinity; NaN passes through
 *   n = round(x / ln 2)               by adding and subtracting 1.5 * 2^23
 *   r = x - n ln 2                    in two FMAs (the first is exact), |r| <= 0.3467
 *   e^r = 1 + r + r^2 (c2 + ... c6 r^4)   minimax, relative error 3.2e-9
 *   e^x = 2^n e^r                     rounded once, denormals included
 *
 * Error <= 1 ulp over all floats (tests/unit/test_ops_exp.c scans them).
 * gelu_tanh and silu need nothing else: 0.5 (1 + tanh u) = 1 / (1 + e^{-2u}).                */
#ifndef TN_OPS_EXPF_H
#define TN_OPS_EXPF_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#define TN_EXPF_LO (-104.0f)
#define TN_EXPF_HI 89.0f
#define TN_EXPF_LOG2E 0x1.715476p+0f
#define TN_EXPF_SHIFT 0x1.8p+23f
#define TN_EXPF_LN2_HI 0x1.62e430p-1f
#define TN_EXPF_LN2_LO (-0x1.05c610p-29f)
#define TN_EXPF_C2 0x1.fffffcp-2f
#define TN_EXPF_C3 0x1.555492p-3f
#define TN_EXPF_C4 0x1.5558b2p-5f
#define TN_EXPF_C5 0x1.12398ep-7f
#define TN_EXPF_C6 0x1.6a4b36p-10f

static inline float tn_op_expf(float x) {
    x = x > TN_EXPF_HI ? TN_EXPF_HI : x;
    x = x < TN_EXPF_LO ? TN_EXPF_LO : x;
    float z = fmaf(x, TN_EXPF_LOG2E, TN_EXPF_SHIFT), n = z - TN_EXPF_SHIFT;
    float r = fmaf(n, -TN_EXPF_LN2_HI, x);
    r = fmaf(n, -TN_EXPF_LN2_LO, r);
    float p = fmaf(TN_EXPF_C6, r, TN_EXPF_C5);
    p = fmaf(p, r, TN_EXPF_C4);
    p = fmaf(p, r, TN_EXPF_C3);
    p = fmaf(p, r, TN_EXPF_C2);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    /* 2^n in two factors of normal size: the first product is exact, the second rounds */
    const float shift = TN_EXPF_SHIFT;
    uint32_t zi, si;
    memcpy(&zi, &z, 4);
    memcpy(&si, &shift, 4);
    int32_t k = (int32_t)(zi - si);
    if (k < -160 || k > 160) k = 0; /* z is a NaN: p is, too */
    int32_t k1 = k >> 1, k2 = k - k1;
    uint32_t b1 = (uint32_t)(k1 + 127) << 23, b2 = (uint32_t)(k2 + 127) << 23;
    float s1, s2;
    memcpy(&s1, &b1, 4);
    memcpy(&s2, &b2, 4);
    return p * s1 * s2;
}

#ifdef __AVX2__
#include <immintrin.h>
static inline __m256 tn_op_expf_avx2(__m256 x) {
    /* min and max give their second operand when one is a NaN */
    x = _mm256_min_ps(_mm256_set1_ps(TN_EXPF_HI), x);
    x = _mm256_max_ps(_mm256_set1_ps(TN_EXPF_LO), x);
    const __m256 shift = _mm256_set1_ps(TN_EXPF_SHIFT), one = _mm256_set1_ps(1.0f);
    __m256 z = _mm256_fmadd_ps(x, _mm256_set1_ps(TN_EXPF_LOG2E), shift);
    __m256 n = _mm256_sub_ps(z, shift);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-TN_EXPF_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-TN_EXPF_LN2_LO), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(TN_EXPF_C6), r, _mm256_set1_ps(TN_EXPF_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(TN_EXPF_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(TN_EXPF_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(TN_EXPF_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    __m256i k = _mm256_sub_epi32(_mm256_castps_si256(z), _mm256_castps_si256(shift));
    __m256i k1 = _mm256_srai_epi32(k, 1), k2 = _mm256_sub_epi32(k, k1), bias = _mm256_set1_epi32(127);
    __m256 s1 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(k1, bias), 23));
    __m256 s2 = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(k2, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, s1), s2);
}
#endif

#ifdef __AVX512F__
static inline __m512 tn_op_expf_avx512(__m512 x) {
    x = _mm512_min_ps(_mm512_set1_ps(TN_EXPF_HI), x);
    x = _mm512_max_ps(_mm512_set1_ps(TN_EXPF_LO), x);
    const __m512 shift = _mm512_set1_ps(TN_EXPF_SHIFT), one = _mm512_set1_ps(1.0f);
    __m512 z = _mm512_fmadd_ps(x, _mm512_set1_ps(TN_EXPF_LOG2E), shift);
    __m512 n = _mm512_sub_ps(z, shift);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-TN_EXPF_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-TN_EXPF_LN2_LO), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(TN_EXPF_C6), r, _mm512_set1_ps(TN_EXPF_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(TN_EXPF_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(TN_EXPF_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(TN_EXPF_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);
    return _mm512_scalef_ps(p, n); /* one rounding, as above */
}
#endif
#endif
