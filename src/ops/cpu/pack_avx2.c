/* Packing with AVX2: 16 x 16 units as four 8 x 8 transposes in registers. */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#define PACK(name) name##_avx2

static inline void transpose8(uint32_t *dst, size_t ldd, const uint32_t *src, size_t lds) {
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps((const float *)src + i * lds);
    for (int i = 0; i < 8; i += 2) { /* pairs of rows */
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) { /* fours of rows */
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int j = 0; j < 4; j++) { /* halves */
        _mm256_storeu_ps((float *)dst + j * ldd, _mm256_permute2f128_ps(r[j], r[j + 4], 0x20));
        _mm256_storeu_ps((float *)dst + (j + 4) * ldd, _mm256_permute2f128_ps(r[j], r[j + 4], 0x31));
    }
}

static inline void transpose16(uint32_t *dst, size_t ldd, const uint32_t *src, size_t lds) {
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 16; j += 8) transpose8(dst + (size_t)j * ldd + i, ldd, src + (size_t)i * lds + j, lds);
}
#define TRANSPOSE transpose16
#include "ops/cpu/pack_body.h"
