/* Block formats of ggml -> float, with ggml's roundings: every product and sum is one float
 * operation.
 *
 * d, m: float16 scales of a block; q: small integers. 32-element blocks: Q4_0 d(q-8), Q4_1 dq+m,
 * Q5_0 d(q-16), Q5_1 dq+m, Q8_0 qd. 256-element blocks hold groups with scales of their own:
 * Q2_K, Q4_K, Q5_K (d s)q - (dmin m), Q3_K, Q6_K (d s)q.                                        */
#include "model/gguf.h"
#include "model/half.h"
#include <string.h>

static float half_at(const uint8_t *p) { return tn_f16_to_f32((uint16_t)(p[0] | p[1] << 8)); }

static void f32_unpack(const uint8_t *p, float *out) { memcpy(out, p, 4); }
static void f16_unpack(const uint8_t *p, float *out) { *out = half_at(p); }
static void bf16_unpack(const uint8_t *p, float *out) {
    *out = tn_bf16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* Element i of 32 nibbles: low halves first. */
static int nibble(const uint8_t *qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }
static int bit(const uint8_t *bits, int i) { return bits[i / 8] >> (i % 8) & 1; }

static void q4_0_unpack(const uint8_t *p, float *out) {
    float d = half_at(p);
    for (int i = 0; i < 32; i++) out[i] = d * (float)(nibble(p + 2, i) - 8);
}
static void q4_1_unpack(const uint8_t *p, float *out) {
    float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 32; i++) out[i] = d * (float)nibble(p + 4, i) + m;
}
static void q5_0_unpack(const uint8_t *p, float *out) {
    float d = half_at(p);
    for (int i = 0; i < 32; i++) out[i] = d * (float)((nibble(p + 6, i) | bit(p + 2, i) << 4) - 16);
}
static void q5_1_unpack(const uint8_t *p, float *out) {
    float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 32; i++) out[i] = d * (float)(nibble(p + 8, i) | bit(p + 4, i) << 4) + m;
}
static void q8_0_unpack(const uint8_t *p, float *out) {
    float d = half_at(p);
    for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)p[2 + i] * d;
}

/* 2-bit field of element i: four planes of 32 in each half of the block. */
static int pair_bits(const uint8_t *qs, int i) {
    return qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
}

static void q2_k_unpack(const uint8_t *p, float *out) {
    const uint8_t *scales = p, *qs = p + 16;
    float d = half_at(p + 80), dmin = half_at(p + 82);
    for (int i = 0; i < 256; i++) {
        float dl = d * (float)(scales[i / 16] & 15), ml = dmin * (float)(scales[i / 16] >> 4);
        out[i] = dl * (float)pair_bits(qs, i) - ml;
    }
}

static void q3_k_unpack(const uint8_t *p, float *out) {
    const uint8_t *hmask = p, *qs = p + 32, *s = p + 96;
    float d = half_at(p + 108);
    for (int i = 0; i < 256; i++) {
        int g = i / 16;
        int low = g < 8 ? s[g] & 15 : s[g - 8] >> 4, high = s[8 + g % 4] >> (2 * (g / 4)) & 3;
        float dl = d * (float)((low | high << 4) - 32);
        int q = pair_bits(qs, i) - ((hmask[i % 32] >> (i / 32) & 1) ? 0 : 4);
        out[i] = dl * (float)q;
    }
}

/* 6-bit scale and minimum of group g out of 8. */
static void scale_min(const uint8_t *s, int g, int *scale, int *min) {
    if (g < 4) {
        *scale = s[g] & 63;
        *min = s[4 + g] & 63;
    } else {
        *scale = (s[4 + g] & 15) | (s[g - 4] >> 2 & 0x30);
        *min = s[4 + g] >> 4 | (s[g] >> 2 & 0x30);
    }
}

/* Nibble of element i: planes of 32, two a byte. */
static int plane(const uint8_t *qs, int i) {
    return qs[i / 64 * 32 + i % 32] >> (4 * (i / 32 % 2)) & 15;
}

static void q4_k_unpack(const uint8_t *p, float *out) {
    float d = half_at(p), dmin = half_at(p + 2);
    for (int i = 0; i < 256; i++) {
        int s, m;
        scale_min(p + 4, i / 32, &s, &m);
        float ds = d * (float)s, dm = dmin * (float)m;
        out[i] = ds * (float)plane(p + 16, i) - dm;
    }
}

static void q5_k_unpack(const uint8_t *p, float *out) {
    const uint8_t *qh = p + 16;
    float d = half_at(p), dmin = half_at(p + 2);
    for (int i = 0; i < 256; i++) {
        int s, m;
        scale_min(p + 4, i / 32, &s, &m);
        float ds = d * (float)s, dm = dmin * (float)m;
        out[i] = ds * (float)(plane(p + 48, i) | (qh[i % 32] >> (i / 32) & 1) << 4) - dm;
    }
}

static void q6_k_unpack(const uint8_t *p, float *out) {
    const uint8_t *ql = p, *qh = p + 128, *scales = p + 192;
    float d = half_at(p + 208);
    for (int i = 0; i < 256; i++) {
        int low = ql[i / 128 * 64 + i % 64] >> (4 * (i / 64 % 2)) & 15;
        float ds = d * (float)(int8_t)scales[i / 16];
        out[i] = ds * (float)((low | pair_bits(qh, i) << 4) - 32);
    }
}

static const tn_gguf_type types[] = {
    {0, "F32", 1, 4, f32_unpack},        {1, "F16", 1, 2, f16_unpack},
    {30, "BF16", 1, 2, bf16_unpack},     {2, "Q4_0", 32, 18, q4_0_unpack},
    {3, "Q4_1", 32, 20, q4_1_unpack},    {6, "Q5_0", 32, 22, q5_0_unpack},
    {7, "Q5_1", 32, 24, q5_1_unpack},    {8, "Q8_0", 32, 34, q8_0_unpack},
    {10, "Q2_K", 256, 84, q2_k_unpack},  {11, "Q3_K", 256, 110, q3_k_unpack},
    {12, "Q4_K", 256, 144, q4_k_unpack}, {13, "Q5_K", 256, 176, q5_k_unpack},
    {14, "Q6_K", 256, 210, q6_k_unpack},
};

const tn_gguf_type *tn_gguf_type_find(uint32_t id) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].id == id) return &types[i];
    return NULL;
}

void tn_gguf_unpack(const tn_gguf_type *t, const uint8_t *p, size_t n, float *out) {
    for (size_t i = 0; i < n; i += (size_t)t->block, p += t->bytes) t->unpack(p, out + i);
}
