/* 16 x 16 units of 4 bytes, dst[j*ldd + i] = src[i*lds + j], in registers: by pairs, fours, then
 * 128-bit blocks. */
#ifndef TN_OPS_CPU_TRANSPOSE_AVX512_H
#define TN_OPS_CPU_TRANSPOSE_AVX512_H
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

static inline void transpose16(uint32_t *dst, size_t ldd, const uint32_t *src, size_t lds) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(src + i * lds);
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* r[4g + j]: column j + 4q of rows 4g .. 4g+3 in block q */
    for (int j = 0; j < 4; j++) {
        __m512i a = _mm512_shuffle_i32x4(r[j], r[j + 4], 0x88), b = _mm512_shuffle_i32x4(r[j], r[j + 4], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0x88);
        __m512i d = _mm512_shuffle_i32x4(r[j + 8], r[j + 12], 0xdd);
        _mm512_storeu_si512(dst + j * ldd, _mm512_shuffle_i32x4(a, c, 0x88));
        _mm512_storeu_si512(dst + (j + 4) * ldd, _mm512_shuffle_i32x4(b, d, 0x88));
        _mm512_storeu_si512(dst + (j + 8) * ldd, _mm512_shuffle_i32x4(a, c, 0xdd));
        _mm512_storeu_si512(dst + (j + 12) * ldd, _mm512_shuffle_i32x4(b, d, 0xdd));
    }
}
#endif
