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
#endif
