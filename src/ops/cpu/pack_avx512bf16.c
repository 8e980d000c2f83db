/* Packing with AVX-512 and its conversion to bf16, which rounds to nearest even, takes denormals as
 * zero and keeps NaNs, as ops/bf16.h does. */
#include "ops/cpu/transpose_avx512.h"
#define PACK(name) name##_avx512bf16
#define TRANSPOSE transpose16

static inline __m512i round_pair(const uint32_t *low, const uint32_t *high) {
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps((const float *)high), _mm512_loadu_ps((const float *)low));
}
#define BF16_ALONG_K(dst, src) _mm512_storeu_si512((dst), round_pair((src), (src) + 16))

/* lane i of the first half below lane i of the second */
static inline __m512i interleave(__m512i v) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, v);
}
#define BF16_ALONG_M(dst, p0, p1) _mm512_storeu_si512((dst), interleave(round_pair((p0), (p1))))
#define BF16_WEAVE(dst, p0, p1) _mm512_storeu_si512((dst), weave((p0), (p1)))
static inline __m512i weave(const uint16_t *low, const uint16_t *high) {
    __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)low));
    __m512i b = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)high));
    return _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
}
/* n <= 32 */
#define BF16_ROW(dst, src, n) round_row((dst), (src), (n))
static inline void round_row(uint16_t *dst, const float *src, int n) {
    for (int i = 0; i < n; i += 16) {
        __mmask16 some = (__mmask16)(n - i >= 16 ? 0xffffu : (1u << (n - i)) - 1);
        __m256i y = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, src + i));
        _mm256_mask_storeu_epi16(dst + i, some, y);
    }
}
#include "ops/cpu/pack_body.h"
