/* 16-bit floats of files: exact widening, rounding to nearest even. */
#ifndef TN_MODEL_HALF_H
#define TN_MODEL_HALF_H
#include <stdint.h>
#include <string.h>

static inline float tn_bits_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline uint32_t tn_f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static inline float tn_bf16_to_f32(uint16_t h) { return tn_bits_f32((uint32_t)h << 16); }

/* A NaN stays a NaN (quiet), whatever its payload. */
static inline uint16_t tn_f32_to_bf16(float f) {
    uint32_t u = tn_f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static inline float tn_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 1023;
    if (exp == 31) return tn_bits_f32(sign | 0x7f800000u | man << 13);
    if (exp) return tn_bits_f32(sign | (exp + 112) << 23 | man << 13);
    float v = (float)man * 0x1p-24f; /* subnormal or zero: exact */
    return sign ? -v : v;
}
#endif
