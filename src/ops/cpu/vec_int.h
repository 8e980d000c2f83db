/* 16 lanes of 32-bit integers beside vec.h's floats: what rounded moments need. */
#ifndef TN_OPS_CPU_VEC_INT_H
#define TN_OPS_CPU_VEC_INT_H
#include "ops/cpu/vec.h"

#if defined __AVX512F__
typedef __m512i vi;
static inline vi vi_set(uint32_t x) { return _mm512_set1_epi32((int)x); }
static inline vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
static inline vi vi_mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
static inline vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
static inline vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
static inline vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
#define vi_right(a, n) _mm512_srli_epi32((a), (n))
#define vi_left(a, n) _mm512_slli_epi32((a), (n))
static inline vi vi_bits(vf a) { return _mm512_castps_si512(a); }
static inline vf vi_as_float(vi a) { return _mm512_castsi512_ps(a); }
static inline vf vi_float(vi a) { return _mm512_cvtepi32_ps(a); }
static inline vi vi_cut(vf a) { return _mm512_cvttps_epi32(a); }
static inline vi vi_lanes(void) { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
static inline vi vi_get_u16(const uint16_t *p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}
static inline vi vi_get_u8(const uint8_t *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline vi vi_get_i8(const uint8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline void vi_put_16(uint16_t *p, vi a) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(a)); }
static inline void vi_put_8(uint8_t *p, vi a) { _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a)); }

#elif defined __AVX2__
typedef struct { __m256i a, b; } vi;
#define VI_BOTH(op, x, y) ((vi){op((x).a, (y).a), op((x).b, (y).b)})
static inline vi vi_set(uint32_t x) { return (vi){_mm256_set1_epi32((int)x), _mm256_set1_epi32((int)x)}; }
static inline vi vi_add(vi x, vi y) { return VI_BOTH(_mm256_add_epi32, x, y); }
static inline vi vi_mul(vi x, vi y) { return VI_BOTH(_mm256_mullo_epi32, x, y); }
static inline vi vi_and(vi x, vi y) { return VI_BOTH(_mm256_and_si256, x, y); }
static inline vi vi_or(vi x, vi y) { return VI_BOTH(_mm256_or_si256, x, y); }
static inline vi vi_xor(vi x, vi y) { return VI_BOTH(_mm256_xor_si256, x, y); }
#define vi_right(x, n) ((vi){_mm256_srli_epi32((x).a, (n)), _mm256_srli_epi32((x).b, (n))})
#define vi_left(x, n) ((vi){_mm256_slli_epi32((x).a, (n)), _mm256_slli_epi32((x).b, (n))})
static inline vi vi_bits(vf x) { return (vi){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
static inline vf vi_as_float(vi x) { return (vf){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
static inline vf vi_float(vi x) { return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
static inline vi vi_cut(vf x) { return (vi){_mm256_cvttps_epi32(x.a), _mm256_cvttps_epi32(x.b)}; }
static inline vi vi_lanes(void) {
    return (vi){_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
}
static inline vi vi_get_u16(const uint16_t *p) {
    return (vi){_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)),
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 8)))};
}
static inline vi vi_get_u8(const uint8_t *p) {
    return (vi){_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)),
                _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8)))};
}
static inline vi vi_get_i8(const uint8_t *p) {
    return (vi){_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)),
                _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8)))};
}
static inline void vi_put_16(uint16_t *p, vi x) {
    __m256i low = _mm256_set1_epi32(0xffff);
    __m256i t = _mm256_packus_epi32(_mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low)); /* in fours: a b a b */
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(t, 0xd8));
}
static inline void vi_put_8(uint8_t *p, vi x) {
    int32_t t[16];
    _mm256_storeu_si256((__m256i *)t, x.a);
    _mm256_storeu_si256((__m256i *)(t + 8), x.b);
    for (int l = 0; l < VF; l++) p[l] = (uint8_t)t[l];
}

#else
typedef struct { uint32_t v[VF]; } vi;
#define VI_LANES(r, expr)                                                            \
    vi r;                                                                            \
    for (int l = 0; l < VF; l++) r.v[l] = (expr);                                    \
    return r
static inline vi vi_set(uint32_t x) { VI_LANES(r, x); }
static inline vi vi_add(vi a, vi b) { VI_LANES(r, a.v[l] + b.v[l]); }
static inline vi vi_mul(vi a, vi b) { VI_LANES(r, a.v[l] * b.v[l]); }
static inline vi vi_and(vi a, vi b) { VI_LANES(r, a.v[l] & b.v[l]); }
static inline vi vi_or(vi a, vi b) { VI_LANES(r, a.v[l] | b.v[l]); }
static inline vi vi_xor(vi a, vi b) { VI_LANES(r, a.v[l] ^ b.v[l]); }
static inline vi vi_right(vi a, int n) { VI_LANES(r, a.v[l] >> n); }
static inline vi vi_left(vi a, int n) { VI_LANES(r, a.v[l] << n); }
static inline vi vi_bits(vf a) {
    vi r;
    memcpy(r.v, a.v, sizeof r.v);
    return r;
}
static inline vf vi_as_float(vi a) {
    vf r;
    memcpy(r.v, a.v, sizeof r.v);
    return r;
}
static inline vf vi_float(vi a) { VF_LANES(r, (float)(int32_t)a.v[l]); }
static inline vi vi_cut(vf a) { VI_LANES(r, (uint32_t)(int32_t)a.v[l]); }
static inline vi vi_lanes(void) { VI_LANES(r, (uint32_t)l); }
static inline vi vi_get_u16(const uint16_t *p) { VI_LANES(r, p[l]); }
static inline vi vi_get_u8(const uint8_t *p) { VI_LANES(r, p[l]); }
static inline vi vi_get_i8(const uint8_t *p) { VI_LANES(r, (uint32_t)(int8_t)p[l]); }
static inline void vi_put_16(uint16_t *p, vi a) {
    for (int l = 0; l < VF; l++) p[l] = (uint16_t)a.v[l];
}
static inline void vi_put_8(uint8_t *p, vi a) {
    for (int l = 0; l < VF; l++) p[l] = (uint8_t)a.v[l];
}
#endif
#endif
