/* Operand rows beside vec.h's floats (ops.h N12): 16 lanes from bf16, and rounded to bf16 as ops/bf16.h rounds. */
#ifndef TN_OPS_CPU_VEC_HALF_H
#define TN_OPS_CPU_VEC_HALF_H
#include "ops/bf16.h"
#include "ops/cpu/vec_int.h"

/* Bits of the bf16 nearest to each lane, ties to even; denormals become zeros of their sign, NaNs stay NaNs. */
#if defined __AVX512BF16__ /* an instruction, below */
#elif defined __AVX512F__
static inline vi vi_bf16(vf x) {
    vi u = vi_bits(x), top = vi_right(u, 16);
    vi r = vi_right(vi_add(vi_add(u, vi_set(0x7fff)), vi_and(top, vi_set(1))), 16);
    r = _mm512_mask_and_epi32(r, _mm512_testn_epi32_mask(u, vi_set(0x7f800000u)), top, vi_set(0x8000));
    return _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), top, vi_set(0x40));
}
#elif defined __AVX2__
static inline __m256i vi_bf16_half(__m256 x) {
    __m256i u = _mm256_castps_si256(x), top = _mm256_srli_epi32(u, 16), exponent = _mm256_set1_epi32(0x7f800000);
    __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    __m256i r = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd), 16);
    __m256i tiny = _mm256_cmpeq_epi32(_mm256_and_si256(u, exponent), _mm256_setzero_si256());
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(r, _mm256_and_si256(top, _mm256_set1_epi32(0x8000)), tiny);
    return _mm256_blendv_epi8(r, _mm256_or_si256(top, _mm256_set1_epi32(0x40)), nan);
}
static inline vi vi_bf16(vf x) { return (vi){vi_bf16_half(x.a), vi_bf16_half(x.b)}; }
#else
static inline vi vi_bf16(vf x) {
    vi u = vi_bits(x);
    VI_LANES(r, tn_bf16_of(u.v[l]));
}
#endif

#ifdef __AVX512BF16__
static inline void vf_round(uint16_t *p, vf x) { _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(x)); }
#else
static inline void vf_round(uint16_t *p, vf x) { vi_put_16(p, vi_bf16(x)); }
#endif

/* All of 16 lanes, or the first n. */
static inline vf vf_get_half(const uint16_t *p, int n) {
    uint16_t part[VF] = {0};
    if (n < VF) {
        memcpy(part, p, (size_t)n * sizeof *p);
        p = part;
    }
    return vi_as_float(vi_left(vi_get_u16(p), 16));
}
static inline void vf_put_half(uint16_t *p, vf x, int n) {
    if (n >= VF) {
        vf_round(p, x);
        return;
    }
    uint16_t part[VF];
    vf_round(part, x);
    memcpy(p, part, (size_t)n * sizeof *p);
}

/* Element i of operand rows on, or of floats: `half` is a constant where these are used. */
static inline vf vf_get_of(const bool half, const void *p, size_t i, int n) {
    return half ? vf_get_half((const uint16_t *)p + i, n) : vf_get((const float *)p + i, n);
}
static inline void vf_put_of(const bool half, void *p, size_t i, vf x, int n) {
    if (half) vf_put_half((uint16_t *)p + i, x, n);
    else vf_put((float *)p + i, x, n);
}
#endif
