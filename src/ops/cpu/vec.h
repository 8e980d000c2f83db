/* Vectors of 16 floats for kernels written once: one AVX-512 register, two AVX2 registers, or
 * plain C, by the instruction set the file is compiled for. Lane l is lane l of ops.h N4. All
 * three give the same bits.
 *
 * vf_loadn, vf_storen, vf_keepn take the first n lanes (0 <= n <= 16): loads give 0 beyond them,
 * stores touch nothing beyond, keepn takes `old` beyond. */
#ifndef TN_OPS_CPU_VEC_H
#define TN_OPS_CPU_VEC_H
#include "ops/expf.h"
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF 16 /* lanes */

#if defined __AVX512F__
#include "ops/cpu/transpose_avx512.h"
#ifdef __AVX512BF16__
#define VF_SUFFIX(name) name##_avx512bf16
#else
#define VF_SUFFIX(name) name##_avx512
#endif
typedef __m512 vf;
static inline __mmask16 vf_mask(int n) { return (__mmask16)((1u << n) - 1); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf vf_loadn(const float *p, int n) { return _mm512_maskz_loadu_ps(vf_mask(n), p); }
static inline void vf_storen(float *p, vf a, int n) { _mm512_mask_storeu_ps(p, vf_mask(n), a); }
static inline vf vf_keepn(vf a, vf old, int n) { return _mm512_mask_mov_ps(old, vf_mask(n), a); }
static inline vf vf_set(float x) { return _mm512_set1_ps(x); }
static inline vf vf_zero(void) { return _mm512_setzero_ps(); }
static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); } /* b for a NaN */
static inline vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
static inline vf vf_fms(vf a, vf b, vf c) { return _mm512_fmsub_ps(a, b, c); }   /* a b - c */
static inline vf vf_exp(vf a) { return tn_op_expf_avx512(a); }
/* Lanes whose bit of `bits` is set from a, the others from `old`. */
static inline vf vf_pick(vf a, vf old, uint32_t bits) { return _mm512_mask_mov_ps(old, (__mmask16)bits, a); }
/* Denormals become 0. */
static inline vf vf_flush(vf a) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_abs_ps(a), _mm512_set1_ps(0x1p-126f), _CMP_NLT_UQ), a);
}
static inline __m256 vf_low8(vf a) { return _mm512_castps512_ps256(a); }
static inline __m256 vf_high8(vf a) { return _mm512_extractf32x8_ps(a, 1); }

/* dst[j][i] = src[i][j], 16 x 16. */
static inline void vf_transpose(const float *src, size_t lds, float *dst, size_t ldd) {
    transpose16((uint32_t *)dst, ldd, (const uint32_t *)src, lds);
}

typedef struct { __m512d a, b; } vd; /* 16 doubles */
static inline vd vd_zero(void) { return (vd){_mm512_setzero_pd(), _mm512_setzero_pd()}; }
static inline vd vd_add(vf x, vd c) {
    return (vd){_mm512_add_pd(c.a, _mm512_cvtps_pd(vf_low8(x))), _mm512_add_pd(c.b, _mm512_cvtps_pd(vf_high8(x)))};
}
static inline vd vd_fma_square(vf x, vd c) {
    __m512d a = _mm512_cvtps_pd(vf_low8(x)), b = _mm512_cvtps_pd(vf_high8(x));
    return (vd){_mm512_fmadd_pd(a, a, c.a), _mm512_fmadd_pd(b, b, c.b)};
}
static inline double vd_sum(vd x) {
    __m512d s = _mm512_add_pd(x.a, x.b);
    __m256d t = _mm256_add_pd(_mm512_castpd512_pd256(s), _mm512_extractf64x4_pd(s, 1));
    __m128d u = _mm_add_pd(_mm256_castpd256_pd128(t), _mm256_extractf128_pd(t, 1));
    return _mm_cvtsd_f64(_mm_add_sd(u, _mm_unpackhi_pd(u, u)));
}

#elif defined __AVX2__
#define VF_SUFFIX(name) name##_avx2
typedef struct { __m256 a, b; } vf;
static inline __m256i vf_mask8(int n) { /* first n of 8 */
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    n = n < 0 ? 0 : n > 8 ? 8 : n;
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - n));
}
static inline vf vf_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline void vf_store(float *p, vf x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static inline vf vf_loadn(const float *p, int n) {
    vf r = {_mm256_maskload_ps(p, vf_mask8(n)), _mm256_setzero_ps()};
    if (n > 8) r.b = _mm256_maskload_ps(p + 8, vf_mask8(n - 8));
    return r;
}
static inline void vf_storen(float *p, vf x, int n) {
    _mm256_maskstore_ps(p, vf_mask8(n), x.a);
    if (n > 8) _mm256_maskstore_ps(p + 8, vf_mask8(n - 8), x.b);
}
static inline vf vf_keepn(vf x, vf old, int n) {
    return (vf){_mm256_blendv_ps(old.a, x.a, _mm256_castsi256_ps(vf_mask8(n))),
                _mm256_blendv_ps(old.b, x.b, _mm256_castsi256_ps(vf_mask8(n - 8)))};
}
static inline vf vf_set(float x) { return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline vf vf_zero(void) { return (vf){_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline vf vf_add(vf x, vf y) { return (vf){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static inline vf vf_sub(vf x, vf y) { return (vf){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static inline vf vf_mul(vf x, vf y) { return (vf){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static inline vf vf_div(vf x, vf y) { return (vf){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static inline vf vf_max(vf x, vf y) { return (vf){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
static inline vf vf_min(vf x, vf y) { return (vf){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
static inline vf vf_sqrt(vf x) { return (vf){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
static inline vf vf_fma(vf x, vf y, vf z) {
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline vf vf_fnma(vf x, vf y, vf z) {
    return (vf){_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
static inline vf vf_fms(vf x, vf y, vf z) {
    return (vf){_mm256_fmsub_ps(x.a, y.a, z.a), _mm256_fmsub_ps(x.b, y.b, z.b)};
}
static inline vf vf_exp(vf x) { return (vf){tn_op_expf_avx2(x.a), tn_op_expf_avx2(x.b)}; }
static inline __m256 vf_bits8(uint32_t bits) { /* lane l all ones when bit l is set */
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i x = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(x, lane));
}
static inline vf vf_pick(vf x, vf old, uint32_t bits) {
    return (vf){_mm256_blendv_ps(old.a, x.a, vf_bits8(bits)), _mm256_blendv_ps(old.b, x.b, vf_bits8(bits >> 8))};
}
static inline __m256 vf_flush8(__m256 a) {
    __m256 abs = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
    return _mm256_and_ps(a, _mm256_cmp_ps(abs, _mm256_set1_ps(0x1p-126f), _CMP_NLT_UQ));
}
static inline vf vf_flush(vf x) { return (vf){vf_flush8(x.a), vf_flush8(x.b)}; }
static inline __m256 vf_low8(vf x) { return x.a; }
static inline __m256 vf_high8(vf x) { return x.b; }

static inline void vf_transpose8(const float *src, size_t lds, float *dst, size_t ldd) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(src + (size_t)i * lds);
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int h = 0; h < 2; h++) {
            __m256d x = _mm256_castps_pd(t[4 * i + h]), y = _mm256_castps_pd(t[4 * i + 2 + h]);
            r[4 * i + 2 * h] = _mm256_castpd_ps(_mm256_unpacklo_pd(x, y));
            r[4 * i + 2 * h + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(x, y));
        }
    for (int c = 0; c < 4; c++) {
        _mm256_storeu_ps(dst + (size_t)c * ldd, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
        _mm256_storeu_ps(dst + (size_t)(c + 4) * ldd, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
    }
}
static inline void vf_transpose(const float *src, size_t lds, float *dst, size_t ldd) {
    for (size_t i = 0; i < 16; i += 8)
        for (size_t j = 0; j < 16; j += 8) vf_transpose8(src + i * lds + j, lds, dst + j * ldd + i, ldd);
}

typedef struct { __m256d q[4]; } vd;
static inline vd vd_zero(void) {
    __m256d z = _mm256_setzero_pd();
    return (vd){{z, z, z, z}};
}
static inline vd vd_add(vf x, vd c) {
    return (vd){{_mm256_add_pd(c.q[0], _mm256_cvtps_pd(_mm256_castps256_ps128(x.a))),
                 _mm256_add_pd(c.q[1], _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1))),
                 _mm256_add_pd(c.q[2], _mm256_cvtps_pd(_mm256_castps256_ps128(x.b))),
                 _mm256_add_pd(c.q[3], _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1)))}};
}
static inline vd vd_fma_square(vf x, vd c) {
    __m256d v[4] = {_mm256_cvtps_pd(_mm256_castps256_ps128(x.a)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1)),
                    _mm256_cvtps_pd(_mm256_castps256_ps128(x.b)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1))};
    for (int i = 0; i < 4; i++) c.q[i] = _mm256_fmadd_pd(v[i], v[i], c.q[i]);
    return c;
}
static inline double vd_sum(vd x) {
    __m256d t = _mm256_add_pd(_mm256_add_pd(x.q[0], x.q[2]), _mm256_add_pd(x.q[1], x.q[3]));
    __m128d u = _mm_add_pd(_mm256_castpd256_pd128(t), _mm256_extractf128_pd(t, 1));
    return _mm_cvtsd_f64(_mm_add_sd(u, _mm_unpackhi_pd(u, u)));
}

#else
#define VF_SUFFIX(name) name##_scalar
typedef struct { float v[VF]; } vf;
#define VF_LANES(r, expr)                                                            \
    vf r;                                                                            \
    for (int l = 0; l < VF; l++) r.v[l] = (expr);                                    \
    return r
static inline vf vf_load(const float *p) { VF_LANES(r, p[l]); }
static inline void vf_store(float *p, vf a) { memcpy(p, a.v, sizeof a.v); }
static inline vf vf_loadn(const float *p, int n) { VF_LANES(r, l < n ? p[l] : 0); }
static inline void vf_storen(float *p, vf a, int n) { memcpy(p, a.v, (size_t)n * sizeof(float)); }
static inline vf vf_keepn(vf a, vf old, int n) { VF_LANES(r, l < n ? a.v[l] : old.v[l]); }
static inline vf vf_set(float x) { VF_LANES(r, x); }
static inline vf vf_zero(void) { VF_LANES(r, 0); }
static inline vf vf_add(vf a, vf b) { VF_LANES(r, a.v[l] + b.v[l]); }
static inline vf vf_sub(vf a, vf b) { VF_LANES(r, a.v[l] - b.v[l]); }
static inline vf vf_mul(vf a, vf b) { VF_LANES(r, a.v[l] * b.v[l]); }
static inline vf vf_div(vf a, vf b) { VF_LANES(r, a.v[l] / b.v[l]); }
static inline vf vf_max(vf a, vf b) { VF_LANES(r, a.v[l] > b.v[l] ? a.v[l] : b.v[l]); }
static inline vf vf_min(vf a, vf b) { VF_LANES(r, a.v[l] < b.v[l] ? a.v[l] : b.v[l]); }
static inline vf vf_sqrt(vf a) { VF_LANES(r, sqrtf(a.v[l])); }
static inline vf vf_fma(vf a, vf b, vf c) { VF_LANES(r, fmaf(a.v[l], b.v[l], c.v[l])); }
static inline vf vf_fnma(vf a, vf b, vf c) { VF_LANES(r, fmaf(-a.v[l], b.v[l], c.v[l])); }
static inline vf vf_fms(vf a, vf b, vf c) { VF_LANES(r, fmaf(a.v[l], b.v[l], -c.v[l])); }
static inline vf vf_exp(vf a) { VF_LANES(r, tn_op_expf(a.v[l])); }
static inline vf vf_pick(vf a, vf old, uint32_t bits) { VF_LANES(r, bits >> l & 1 ? a.v[l] : old.v[l]); }
static inline vf vf_flush(vf a) { VF_LANES(r, fabsf(a.v[l]) < 0x1p-126f ? 0 : a.v[l]); }

static inline void vf_transpose(const float *src, size_t lds, float *dst, size_t ldd) {
    for (size_t i = 0; i < VF; i++)
        for (size_t j = 0; j < VF; j++) dst[j * ldd + i] = src[i * lds + j];
}

typedef struct { double v[VF]; } vd;
static inline vd vd_zero(void) { return (vd){{0}}; }
static inline vd vd_add(vf x, vd c) {
    for (int l = 0; l < VF; l++) c.v[l] = c.v[l] + (double)x.v[l];
    return c;
}
static inline vd vd_fma_square(vf x, vd c) {
    for (int l = 0; l < VF; l++) c.v[l] = fma((double)x.v[l], (double)x.v[l], c.v[l]);
    return c;
}
static inline double vd_sum(vd x) {
    for (int w = VF / 2; w > 0; w /= 2)
        for (int l = 0; l < w; l++) x.v[l] = x.v[l] + x.v[l + w];
    return x.v[0];
}
static inline float vf_sum(vf x) {
    for (int w = VF / 2; w > 0; w /= 2)
        for (int l = 0; l < w; l++) x.v[l] = x.v[l] + x.v[l + w];
    return x.v[0];
}
static inline float vf_top(vf x) {
    float m = x.v[0];
    for (int l = 1; l < VF; l++) m = x.v[l] > m ? x.v[l] : m;
    return m;
}
#endif

#ifdef __AVX2__
/* The tree of N4: lanes l and l+8, then l+4, l+2, l+1. */
static inline float vf_sum(vf x) {
    __m256 s = _mm256_add_ps(vf_low8(x), vf_high8(x));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_shuffle_ps(t, t, 1)));
}
/* Largest lane. */
static inline float vf_top(vf x) {
    __m256 s = _mm256_max_ps(vf_low8(x), vf_high8(x));
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_shuffle_ps(t, t, 1)));
}
#endif

/* All of 16 lanes, or the first n. */
static inline vf vf_get(const float *p, int n) { return n >= VF ? vf_load(p) : vf_loadn(p, n); }
static inline void vf_put(float *p, vf a, int n) {
    if (n >= VF) vf_store(p, a);
    else vf_storen(p, a, n);
}
#endif
