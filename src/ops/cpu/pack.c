/* Packing in plain C. */
#include <stddef.h>
#include <stdint.h>
#define PACK(name) name##_portable
static inline void transpose16(uint32_t *dst, size_t ldd, const uint32_t *src, size_t lds) {
    for (int j = 0; j < 16; j++)
        for (int i = 0; i < 16; i++) dst[j * ldd + i] = src[i * lds + j];
}
#define TRANSPOSE transpose16
#include "ops/cpu/pack_body.h"
