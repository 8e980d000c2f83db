/* Models of the dot-product instructions, so that the kernels written for them run and are tested on
 * every machine. Sources: Intel SDM, VDPBF16PS and the AMX chapter; measured on hardware.      */
#ifndef TN_OPS_CPU_SOFTMODEL_H
#define TN_OPS_CPU_SOFTMODEL_H
#include "ops/bf16.h"
#include <string.h>

static inline float soft_low(uint32_t pair) {
    uint32_t u = pair << 16;
    float x;
    memcpy(&x, &u, 4);
    return tn_bf16_flush(x);
}
static inline float soft_high(uint32_t pair) { return soft_low(pair >> 16); }

#ifdef TN_SOFT_BF16
typedef struct { float lane[16]; } acc16;
typedef struct { uint32_t lane[16]; } pairs16;

static inline acc16 ZERO(void) { return (acc16){{0}}; }
static inline pairs16 LOAD(const uint32_t *p) {
    pairs16 v;
    memcpy(v.lane, p, sizeof v.lane);
    return v;
}
static inline pairs16 SPREAD(uint32_t u) {
    pairs16 v;
    for (int i = 0; i < 16; i++) v.lane[i] = u;
    return v;
}
static inline acc16 LOAD_ACC(const float *p) {
    acc16 v;
    memcpy(v.lane, p, sizeof v.lane);
    return v;
}
static inline void STORE(float *p, acc16 v) { memcpy(p, v.lane, sizeof v.lane); }
/* VDPBF16PS */
static inline acc16 DOT(acc16 c, pairs16 x, pairs16 y) {
    for (int i = 0; i < 16; i++) {
        float odd = tn_bf16_fma(soft_high(x.lane[i]), soft_high(y.lane[i]), c.lane[i]);
        c.lane[i] = tn_bf16_fma(soft_low(x.lane[i]), soft_low(y.lane[i]), odd);
    }
    return c;
}
#endif

#ifdef TN_SOFT_AMX
/* Eight tiles of 16 rows of 16 units, a set for each thread. */
typedef uint32_t soft_tile[16][16];
static _Thread_local soft_tile soft_tiles[8];

static inline void soft_rows(void *to, size_t to_stride, const void *from, size_t stride) {
    for (size_t r = 0; r < 16; r++) memcpy((char *)to + r * to_stride, (const char *)from + r * stride, 64);
}
/* TDPBF16PS */
static inline void soft_dot(soft_tile c, soft_tile a, soft_tile b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float even = 0, odd = 0, acc;
            for (int k = 0; k < 16; k++) {
                even = tn_bf16_fma(soft_low(a[m][k]), soft_low(b[k][n]), even);
                odd = tn_bf16_fma(soft_high(a[m][k]), soft_high(b[k][n]), odd);
            }
            memcpy(&acc, &c[m][n], 4);
            acc = tn_bf16_flush(tn_bf16_flush(acc) + tn_bf16_flush(even + odd));
            memcpy(&c[m][n], &acc, 4);
        }
}
#define TILE_ZERO(t) memset(soft_tiles[t], 0, sizeof(soft_tile))
#define TILE_LOAD(t, p, stride) soft_rows(soft_tiles[t], 64, (p), (stride))
#define TILE_STORE(t, p, stride) soft_rows((p), (stride), soft_tiles[t], 64)
#define TILE_DOT(c, a, b) soft_dot(soft_tiles[c], soft_tiles[a], soft_tiles[b])
#endif
#endif
